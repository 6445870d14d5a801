/*
 * Batches: keyed statements, grouped by shard, each group a pipeline (client/pipeline.h), all driven at once.
 *
 * A run has two halves. First every shard concerned gives a connection, and the keys are looked up again if one of them
 * knew a newer map: up to here a failure means that nothing was done. Then all pipelines run to their ends, whatever
 * happens to one of them, so that what is committed depends on the statements and not on which shard was first.
 */
#include "base/memory.h"
#include "client/acquire.h"
#include "client/call.h"
#include "client/pipeline.h"
#include "client/statement.h"

#include <string.h>

enum {
    BATCH_MOST = 64 << 20, /* bytes of statements */
    ENTRY_COST = 64,       /* of messages around a statement, roughly */
    MOVES_MOST = 8,
};

struct mosaic_batch {
    mosaic_cluster *cluster;
    struct arena arena;
    struct entry *first, *last;
    size_t count, bytes;
    uint64_t epoch; /* of the map by which all entries have their shard; 0: of several */
};

mosaic_status mosaic_batch_new(mosaic_cluster *cluster, mosaic_batch **made, mosaic_error *error)
{
    if (!cluster || !made)
        return error_set(error, MOSAIC_USAGE, "mosaic_batch_new: a cluster and a place for the batch are needed");
    mosaic_batch *batch = memory_zeroed(1, sizeof *batch);
    *made = batch;
    if (!batch)
        return error_memory(error);
    batch->cluster = cluster;
    return MOSAIC_OK;
}

static void empty(mosaic_batch *batch)
{
    arena_free(&batch->arena);
    batch->first = batch->last = NULL;
    batch->count = batch->bytes = 0;
    batch->epoch = 0;
}

void mosaic_batch_free(mosaic_batch *batch)
{
    if (!batch)
        return;
    empty(batch);
    memory_free(batch);
}

/* ---- adding ----------------------------------------------------------------------------------------- */

static size_t size_of(const mosaic_statement *statement)
{
    size_t size = ENTRY_COST + sizeof(struct entry) + strlen(statement->sql);
    for (int i = 0; i < statement->count; i++) {
        bool binary = statement->formats && statement->formats[i] == 1;
        if (statement->values[i])
            size += binary ? (size_t)statement->lengths[i] : strlen(statement->values[i]);
    }
    return size;
}

static mosaic_status check(const mosaic_batch *batch, const mosaic_statement *statement, mosaic_error *error)
{
    mosaic_status status = statement_check(statement, error);
    if (status != MOSAIC_OK)
        return status;
    if (statement_kind(statement->sql) == STATEMENT_BOUNDARY) {
        error_set(error, MOSAIC_USAGE,
                  "statements that begin, prepare or end transactions or savepoints cannot stand in a batch");
        error_hint(error, "each shard's part of a batch is one transaction already");
        return MOSAIC_USAGE;
    }
    size_t size = size_of(statement);
    if (size <= BATCH_MOST && batch->bytes <= BATCH_MOST - size)
        return MOSAIC_OK;
    error_set(error, MOSAIC_LIMIT, "the batch would exceed %d MiB", BATCH_MOST >> 20);
    error_hint(error, "run it, and go on with an empty one");
    return MOSAIC_LIMIT;
}

static mosaic_status locate_entry(const struct model *model, struct entry *entry, mosaic_error *error)
{
    mosaic_place place;
    mosaic_status status = cluster_locate(model, entry->table, entry->key, &place, error);
    if (status == MOSAIC_OK)
        entry->shard = place.shard;
    return status;
}

static struct entry *copy_entry(struct arena *arena, const struct entry *given)
{
    struct entry *entry = arena_zeroed(arena, 1, sizeof *entry);
    if (!entry)
        return NULL;
    *entry = *given;
    entry->table = arena_string(arena, given->table);
    bool copied = entry->table && statement_copy(arena, &given->statement, &entry->statement) &&
                  statement_copy_key(arena, given->key, &entry->key);
    return copied ? entry : NULL;
}

mosaic_status mosaic_batch_add(mosaic_batch *batch, const char *table, mosaic_key key,
                               const mosaic_statement *statement, mosaic_error *error)
{
    if (!batch || !table)
        return error_set(error, MOSAIC_USAGE, "mosaic_batch_add: a batch and a table are needed");
    mosaic_status status = check(batch, statement, error);
    if (status != MOSAIC_OK)
        return status;
    struct entry given = {
        .index = batch->count, .bytes = size_of(statement), .statement = *statement, .table = table, .key = key};
    struct snapshot *snapshot = cluster_snapshot(batch->cluster);
    uint64_t epoch = snapshot->model.epoch;
    status = locate_entry(&snapshot->model, &given, error);
    snapshot_release(snapshot);
    if (status != MOSAIC_OK)
        return status;
    struct entry *entry = copy_entry(&batch->arena, &given);
    if (!entry)
        return error_memory(error);
    if (batch->last)
        batch->last->next = entry;
    else
        batch->first = entry;
    batch->last = entry;
    batch->epoch = batch->count == 0 || batch->epoch == epoch ? epoch : 0;
    batch->count++;
    batch->bytes += entry->bytes;
    return MOSAIC_OK;
}

/* ---- running ---------------------------------------------------------------------------------------- */

struct run {
    mosaic_batch *batch;
    struct pipeline *pipelines; /* one a shard; those without entries are not used */
    mosaic_io *io;
    size_t shards;
    int64_t deadline;
    mosaic_error *error; /* never NULL */
};

static mosaic_status locate_again(mosaic_batch *batch, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    struct snapshot *snapshot = cluster_snapshot(batch->cluster);
    if (batch->epoch != snapshot->model.epoch)
        for (struct entry *entry = batch->first; entry && status == MOSAIC_OK; entry = entry->next)
            status = locate_entry(&snapshot->model, entry, error);
    batch->epoch = snapshot->model.epoch;
    snapshot_release(snapshot);
    return status;
}

static void group(struct run *run)
{
    memset(run->pipelines, 0, run->shards * sizeof *run->pipelines);
    for (struct entry *entry = run->batch->first; entry; entry = entry->next) {
        struct pipeline *pipeline = &run->pipelines[entry->shard];
        entry->then = NULL;
        if (pipeline->last)
            pipeline->last->then = entry;
        else
            pipeline->first = entry;
        pipeline->last = entry;
    }
    for (size_t i = 0; i < run->shards; i++) {
        if (run->pipelines[i].first)
            claim_start(&run->pipelines[i].claim, run->batch->cluster, i);
        else
            run->pipelines[i].state = PIPELINE_DONE;
    }
}

static void abandon(struct run *run)
{
    for (size_t i = 0; i < run->shards; i++)
        if (run->pipelines[i].state != PIPELINE_DONE)
            pipeline_abandon(&run->pipelines[i]);
}

/* Steps the claims, in the order of the shards as client/call.h explains. AGAIN while one is not there yet. */
static mosaic_status step_claims(struct run *run, size_t *io_count, int64_t *wake)
{
    mosaic_status all = MOSAIC_OK;
    for (size_t i = 0; i < run->shards; i++) {
        struct pipeline *pipeline = &run->pipelines[i];
        if (pipeline->state != PIPELINE_NEW || pipeline->lease)
            continue;
        mosaic_status status = claim_step(&pipeline->claim, run->error);
        if (status == MOSAIC_OK)
            pipeline->lease = claim_take(&pipeline->claim);
        else if (status != MOSAIC_AGAIN)
            return status;
        else
            all = MOSAIC_AGAIN;
        if (status == MOSAIC_AGAIN) {
            int64_t wanted = claim_wake(&pipeline->claim);
            *wake = wanted < *wake ? wanted : *wake;
            *io_count += claim_io(&pipeline->claim, &run->io[*io_count]);
            if (!claim_has_place(&pipeline->claim))
                break;
        }
    }
    return all;
}

static mosaic_status wait(struct run *run, size_t io_count, int64_t wake, const char *doing)
{
    if (pq_now_ms() >= run->deadline)
        return call_timeout(doing, NULL, run->error);
    return acquire_poll(run->io, io_count, wake, run->error);
}

static mosaic_status claim_all(struct run *run)
{
    for (;;) {
        size_t io_count = 0;
        int64_t wake = run->deadline;
        mosaic_status status = step_claims(run, &io_count, &wake);
        if (status != MOSAIC_AGAIN)
            return status;
        status = wait(run, io_count, wake, "getting connections for a batch");
        if (status != MOSAIC_OK)
            return status;
    }
}

/* Connections to all shards concerned, as the newest map has them. */
static mosaic_status prepare(struct run *run)
{
    for (int moves = 0; moves <= MOVES_MOST; moves++) {
        mosaic_status status = locate_again(run->batch, run->error);
        if (status != MOSAIC_OK)
            return status;
        group(run);
        status = claim_all(run);
        if (status == MOSAIC_OK && run->batch->epoch == mosaic_epoch(run->batch->cluster))
            return MOSAIC_OK;
        for (size_t i = 0; i < run->shards; i++) {
            struct pipeline *pipeline = &run->pipelines[i];
            if (pipeline->lease) /* nothing runs there */
                pool_give(pipeline->lease);
            pipeline->lease = NULL;
        }
        abandon(run);
        if (status != MOSAIC_OK)
            return status;
    }
    return error_set(run->error, MOSAIC_STALE, "the map changed %d times while a batch was made ready", MOVES_MOST);
}

/* Keeps the first failure; the shard's own news of a newer map make us read it, for the next run. */
static void note(struct run *run, mosaic_status status, const mosaic_error *error, mosaic_status *first)
{
    if (status == MOSAIC_OK || status == MOSAIC_AGAIN)
        return;
    if (*first == MOSAIC_OK) {
        *first = status;
        *run->error = *error;
    }
    if (status == MOSAIC_OWNERSHIP)
        cluster_refresh_begin(run->batch->cluster);
}

static mosaic_status drive(struct run *run, mosaic_batch_fn done, void *context)
{
    mosaic_status first = MOSAIC_OK;
    mosaic_error error;
    for (size_t i = 0; i < run->shards; i++) {
        if (run->pipelines[i].state != PIPELINE_NEW)
            continue;
        mosaic_status status = pipeline_start(&run->pipelines[i], &error);
        if (status != MOSAIC_OK)
            pipeline_abandon(&run->pipelines[i]);
        note(run, status, &error, &first);
    }
    for (;;) {
        size_t io_count = 0;
        bool running = false;
        for (size_t i = 0; i < run->shards; i++) {
            struct pipeline *pipeline = &run->pipelines[i];
            if (pipeline->state != PIPELINE_RUNNING)
                continue;
            note(run, pipeline_step(pipeline, done, context, &error), &error, &first);
            running |= pipeline->state == PIPELINE_RUNNING;
            io_count += pipeline_io(pipeline, &run->io[io_count]);
        }
        if (!running)
            return first;
        mosaic_error *kept = run->error;
        run->error = &error;
        mosaic_status status = wait(run, io_count, run->deadline, "waiting for the answers to a batch");
        run->error = kept;
        if (status != MOSAIC_OK) {
            abandon(run);
            note(run, status, &error, &first);
            return first;
        }
    }
}

mosaic_status mosaic_batch_run(mosaic_batch *batch, mosaic_batch_fn done, void *context, int timeout_ms,
                               mosaic_error *error)
{
    mosaic_error ignored;
    if (!batch)
        return error_set(error, MOSAIC_USAGE, "no batch given");
    struct run run = {.batch = batch, .shards = batch->cluster->shard_count, .error = error ? error : &ignored};
    mosaic_status status = cluster_deadline(batch->cluster, timeout_ms, &run.deadline, run.error);
    if (status != MOSAIC_OK)
        return status;
    run.pipelines = arena_zeroed(&batch->arena, run.shards, sizeof *run.pipelines);
    run.io = arena_zeroed(&batch->arena, run.shards, sizeof *run.io);
    status = run.pipelines && run.io ? MOSAIC_OK : error_memory(run.error);
    if (status == MOSAIC_OK && batch->count)
        status = prepare(&run);
    if (status == MOSAIC_OK && batch->count)
        status = drive(&run, done, context);
    empty(batch);
    return status;
}
