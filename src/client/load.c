/*
 * mosaic_load_table: from the caller's bytes to a committed transaction on every shard, or to nothing.
 *
 *     read ──> split into rows ──> buckets ──> shards ──> one COPY to each, in one transaction each ──> twophase_commit
 *
 * Rows go to the shards byte by byte as they came. The ownership constraint of each shard makes sure that an old map
 * cannot put a row where it does not belong; the epoch is compared before the first row, so that this is rare.
 */
#include "base/control_point.h"
#include "base/memory.h"
#include "catalog/twophase.h"
#include "client/cluster.h"
#include "client/load_job.h"
#include "core/turn.h"
#include "engine/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    ALL_QUEUES = 8 * 1024 * 1024,
    QUEUE_MOST = 256 * 1024,
    QUEUE_LEAST = 8 * 1024,
    ALL_LOGS = 8 * 1024 * 1024,
    LOG_MOST = 1024 * 1024,
    LOG_LEAST = 4 * 1024,
    TELL_EVERY_MS = 100,
    CLOSE_MS = 1000,
};

mosaic_status job_where(const struct load_job *job, uint64_t line, mosaic_error *error)
{
    const char *unit = job->splitter.format.kind == MOSAIC_BINARY ? "row " : "";
    return error_prefix(error, "%s:%s%llu", job->source, unit, (unsigned long long)line);
}

mosaic_status job_bad_row(struct load_job *job, uint64_t line, const char *row, size_t size, mosaic_error *error)
{
    job->done.bad_rows++;
    if (!job_reports(job))
        return job_where(job, line, error);
    job->options->bad_row(job->options->callback_context, line, row, size, error);
    return MOSAIC_OK;
}

static void tell_progress(struct load_job *job, bool last)
{
    int64_t now = pq_now_ms();
    job->done.bytes = job->input.read - (job->input.end - job->input.start);
    if (!job->options->progress || (!last && now - job->told < TELL_EVERY_MS))
        return;
    job->told = now;
    job->options->progress(job->options->callback_context, &job->done);
}

/* ---- streams ------------------------------------------------------------------------------------------ */

static size_t share(size_t all, size_t count, size_t least, size_t most)
{
    size_t each = all / count;
    return each < least ? least : each > most ? most : each;
}

static size_t power_of_two(size_t size)
{
    size_t power = 1;
    while (power * 2 <= size)
        power *= 2;
    return power;
}

static bool uses_report(const struct load_job *job, size_t shard)
{
    return job_reports(job) && (job->table->kind != TABLE_REFERENCE || shard == 0);
}

/* Shard after shard, as turns are taken; however long who has one works. */
static mosaic_status begin_transaction(const struct load_job *job, const struct load_stream *stream, int64_t deadline,
                                       mosaic_error *error)
{
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT pg_catalog.pg_advisory_xact_lock(%d, %" PRIu32 ")", TURN_LOCK,
             turn_of_table(job->table));
    mosaic_status status = pq_exec(stream->connection, stream->name, "BEGIN", deadline, NULL, error);
    if (status == MOSAIC_OK && job->table->kind == TABLE_REFERENCE)
        status = pq_exec(stream->connection, stream->name, sql, pq_deadline(PQ_SCAN_MS), NULL, error);
    return status;
}

static mosaic_status open_stream(struct load_job *job, const mosaic_cluster *cluster, size_t shard, mosaic_error *error)
{
    struct load_stream *stream = &job->streams.streams[shard];
    const struct shard *of = &job->model->shards[shard];
    int64_t deadline = pq_deadline(job->streams.timeout_ms), most = pq_deadline(cluster->options.connect_timeout_ms);
    uint64_t epoch = 0;
    stream->name = of->name;
    stream->shard = shard;
    stream->binary = job->splitter.format.kind == MOSAIC_BINARY;
    mosaic_status status = pq_connect(of->conninfo, of->name, cluster->options.application_name,
                                      deadline < most ? deadline : most, &stream->connection, error);
    if (status == MOSAIC_OK)
        status =
            engine_of(job->model->engine)->check_shard(job->model, shard, stream->connection, deadline, &epoch, error);
    if (status == MOSAIC_OK && epoch != job->model->epoch) {
        error_set(error, MOSAIC_STALE, "shard %s has epoch %llu of the map, and this load began with %llu", of->name,
                  (unsigned long long)epoch, (unsigned long long)job->model->epoch);
        error_hint(error, "run it again; if that does not help, run pgmosaic doctor");
        status = error_shard(error, of->name);
    }
    /* Notices would look like refusals (load_stream.c), and one shard may have to wait for the others. */
    if (status == MOSAIC_OK)
        status = pq_exec(stream->connection, of->name,
                         "SET client_min_messages = error; SET statement_timeout = 0;"
                         " SET idle_in_transaction_session_timeout = 0",
                         deadline, NULL, error);
    return status == MOSAIC_OK ? begin_transaction(job, stream, deadline, error) : status;
}

/* Shard after shard, in the order of all loads, so that two that replace one table cannot wait for each other. */
static mosaic_status empty_table(struct load_job *job, size_t shard, mosaic_error *error)
{
    const struct load_stream *stream = &job->streams.streams[shard];
    return pq_exec(stream->connection, stream->name, job->truncate_sql, pq_deadline(job->streams.timeout_ms), NULL,
                   error);
}

static mosaic_status begin_stream(struct load_job *job, size_t shard, mosaic_error *error)
{
    struct load_stream *stream = &job->streams.streams[shard];
    if (uses_report(job, shard))
        return report_start(job, stream, error);
    size_t count = job->streams.count;
    stream->capacity = share(ALL_QUEUES, count, QUEUE_LEAST, QUEUE_MOST);
    stream->queue = memory_allocate(stream->capacity);
    stream->data = stream->queue;
    if (!stream->queue || !line_log_start(&stream->lines, power_of_two(share(ALL_LOGS, count, LOG_LEAST, LOG_MOST))))
        return error_memory(error);
    return stream_begin(stream, job->copy_sql, error);
}

static void close_streams(struct load_job *job)
{
    for (size_t i = 0; i < job->streams.count && job->streams.streams; i++) {
        struct load_stream *stream = &job->streams.streams[i];
        PQclear(stream->failure);
        if (stream->connection && stream->state != STREAM_IDLE && !stream->lost)
            pq_cancel(stream->connection); /* else the server would go on with what it has before it sees the end */
        PQfinish(stream->connection);
        memory_free(stream->queue);
        line_log_free(&stream->lines);
        report_free(stream);
    }
    memory_free(job->streams.streams);
    memory_free(job->streams.ready);
}

/* ---- what the servers say ------------------------------------------------------------------------------ */

static mosaic_status stream_ended(void *context, struct load_stream *stream, mosaic_error *error)
{
    struct load_job *job = context;
    if (stream->report)
        return report_ended(job, stream, error);
    if (!stream->failure && !stream->lost && stream->closing)
        return MOSAIC_OK;
    mosaic_status status = stream_error(stream, error);
    uint64_t line = line_log_find(&stream->lines, stream_failure_line(stream, job->table->name));
    if (line > 0 && (status == MOSAIC_SERVER || status == MOSAIC_OWNERSHIP))
        job_where(job, line, error);
    if (line == 0 && status == MOSAIC_SERVER && job->model->engine == ENGINE_CITUS)
        error_hint(error, "of what a worker refuses Citus does not say the row; --on-error report finds it");
    else if (stream_misnames_line(stream))
        error_hint(error, "of a row that is too big PostgreSQL does not say which it is; --on-error report finds it");
    if (status == MOSAIC_SERVER && job->table->kind == TABLE_REFERENCE && job_reports(job))
        error_hint(error, "the first shard took this row: are the copies of the reference table the same everywhere?");
    return status;
}

mosaic_status job_put(struct load_job *job, struct load_stream *stream, const char *bytes, size_t size, size_t newline,
                      uint64_t line, mosaic_error *error)
{
    uint32_t lines =
        line_count_of_row(&job->splitter.format, job->splitter.newline, bytes, size - newline, stream->rows == 0);
    line_log_add(&stream->lines, line, lines);
    stream->rows++;
    return stream_put(&job->streams, stream, bytes, size, error);
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

/* The last row of the input, which may have no newline. */
static mosaic_status put_last_row(struct load_job *job, struct load_stream *stream, const struct copy_row *row,
                                  mosaic_error *error)
{
    static const char *const newlines[] = {"\n", "\n", "\r\n", "\r"};
    const char *newline = newlines[job->splitter.newline];
    size_t size = row->size + strlen(newline);
    char *whole = memory_allocate(size);
    if (!whole)
        return error_memory(error);
    memcpy(whole, job->input.bytes + row->start, row->size);
    memcpy(whole + row->size, newline, strlen(newline));
    mosaic_status status = stream->report ? report_add(job, stream, whole, size, strlen(newline), row->line, error)
                                          : job_put(job, stream, whole, size, strlen(newline), row->line, error);
    memory_free(whole);
    return status;
}

static mosaic_status put_row(struct load_job *job, size_t shard, const struct copy_row *row, mosaic_error *error)
{
    struct load_stream *stream = &job->streams.streams[shard];
    if (row->newline == 0 && !stream->binary)
        return put_last_row(job, stream, row, error);
    const char *bytes = job->input.bytes + row->start;
    if (stream->report)
        return report_add(job, stream, bytes, row->size, row->newline, row->line, error);
    return job_put(job, stream, bytes, row->size, row->newline, row->line, error);
}

/* To its shard; of a reference table to all of them, or to the one that judges. */
static mosaic_status place_row(struct load_job *job, size_t i, mosaic_error *error)
{
    const struct copy_row *row = &job->rows.rows[i];
    control_point("load.row");
    job->done.rows++;
    if (job->table->kind == TABLE_SHARDED)
        return put_row(job, job->table->map->owner[job->buckets[i]], row, error);
    mosaic_status status = put_row(job, 0, row, error);
    for (size_t shard = 1; shard < job->streams.count && status == MOSAIC_OK && !job_reports(job); shard++)
        status = put_row(job, shard, row, error);
    return status;
}

static mosaic_status place_rows(struct load_job *job, mosaic_error *error)
{
    mosaic_status status;
    while ((status = input_rows(job, error)) == MOSAIC_OK && job->rows.count > 0) {
        status = route_rows(job, error);
        for (size_t i = 0; i < job->rows.count && status == MOSAIC_OK; i++)
            if (job->buckets[i] != UINT32_MAX)
                status = place_row(job, i, error);
        if (status != MOSAIC_OK)
            return status;
        tell_progress(job, false);
    }
    return status;
}

static mosaic_status commit(struct load_job *job, mosaic_error *error)
{
    struct participant *participants = arena_zeroed(&job->arena, job->streams.count, sizeof *participants);
    size_t count = 0;
    if (!participants)
        return error_memory(error);
    for (size_t i = 0; i < job->streams.count; i++) {
        const struct load_stream *stream = &job->streams.streams[i];
        PQsetnonblocking(stream->connection, 0);
        if (stream->rows > 0 || job->options->replace)
            participants[count++] = (struct participant){stream->connection, stream->shard};
    }
    control_point("load.before_prepare");
    if (count == 0) {
        error_set(error, MOSAIC_OK, "nothing to commit");
        return MOSAIC_OK;
    }
    return twophase_commit(job->model, participants, count, pq_deadline(job->streams.timeout_ms), error);
}

/* As PostgreSQL's own COPY does. */
static void count_kept(struct load_job *job)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < job->streams.count; i++)
        if (i == 0 || job->table->kind == TABLE_SHARDED)
            rows += job->streams.streams[i].stored;
    job->done.rows = rows;
}

/* ---- a whole load -------------------------------------------------------------------------------------- */

static mosaic_status prepare_memory(struct load_job *job, mosaic_error *error)
{
    size_t count = job->model->shard_count;
    job->rows.capacity = LOAD_ROWS;
    job->rows.rows = arena_allocate(&job->arena, LOAD_ROWS * sizeof *job->rows.rows);
    job->rows.keys = arena_allocate(&job->arena, LOAD_ROWS * KEY_COLUMNS_MAX * sizeof *job->rows.keys);
    job->buckets = arena_allocate(&job->arena, LOAD_ROWS * sizeof *job->buckets);
    bool routes = copy_router_init(&job->router, &job->table->rule, (const char *const *)job->table->columns,
                                   job->key_modifiers, &job->splitter.format, LOAD_ROWS, &job->arena);
    job->streams.streams = memory_zeroed(count, sizeof *job->streams.streams);
    job->streams.ready = memory_zeroed(count, sizeof *job->streams.ready);
    job->streams.count = count;
    bool fine =
        job->rows.rows && job->rows.keys && job->buckets && routes && job->streams.streams && job->streams.ready;
    return fine ? MOSAIC_OK : error_memory(error);
}

static mosaic_status choose_columns(struct load_job *job, mosaic_error *error)
{
    const mosaic_load *options = job->options;
    bool header = options->format == MOSAIC_CSV && !options->no_header;
    const char **names = NULL;
    size_t count = 0;
    mosaic_status status = input_header(job, header, &names, &count, error);
    if (status != MOSAIC_OK)
        return status;
    const struct load_stream *first = &job->streams.streams[0];
    if (!options->columns)
        return plan_columns(job, first->connection, first->name, (const char *const *)names, count, error);
    if (header && count > 0 && count != options->column_count) {
        error_set(error, MOSAIC_DATA, "the header has %zu columns, and %zu were named", count, options->column_count);
        return job_where(job, 1, error);
    }
    return plan_columns(job, first->connection, first->name, options->columns, options->column_count, error);
}

static mosaic_status run(struct load_job *job, const mosaic_cluster *cluster, mosaic_error *error)
{
    mosaic_status status = prepare_memory(job, error);
    control_point("load.begin");
    for (size_t i = 0; i < job->streams.count && status == MOSAIC_OK; i++)
        status = open_stream(job, cluster, i, error);
    if (status == MOSAIC_OK)
        status = choose_columns(job, error);
    for (size_t i = 0; i < job->streams.count && status == MOSAIC_OK && job->options->replace; i++)
        status = empty_table(job, i, error);
    for (size_t i = 0; i < job->streams.count && status == MOSAIC_OK; i++)
        status = begin_stream(job, i, error);
    if (status == MOSAIC_OK)
        status = place_rows(job, error);
    if (status == MOSAIC_OK && job_reports(job))
        status = report_finish(job, error);
    control_point("load.copied");
    if (status == MOSAIC_OK)
        status = streams_finish(&job->streams, error);
    if (status == MOSAIC_OK)
        status = commit(job, error);
    if (status == MOSAIC_OK)
        count_kept(job);
    tell_progress(job, true);
    close_streams(job);
    return status;
}

static mosaic_status find_table(struct load_job *job, const char *name, mosaic_error *error)
{
    job->table = model_table(job->model, name);
    if (!job->table) {
        error_set(error, MOSAIC_NOT_FOUND, "there is no table %s in %s", name, job->model->source);
        error_hint(error, "name it below tables: there, then run pgmosaic apply");
        return MOSAIC_NOT_FOUND;
    }
    if (job->table->kind == TABLE_SHARDED && !job->table->map) {
        error_set(error, MOSAIC_PREFLIGHT, "table %s was never applied: it has no map yet", job->table->display);
        error_hint(error, "run pgmosaic apply");
        return MOSAIC_PREFLIGHT;
    }
    return MOSAIC_OK;
}

static mosaic_status start(struct load_job *job, const mosaic_cluster *cluster, const char *table, mosaic_error *error)
{
    const mosaic_load *options = job->options;
    job->splitter.format = (struct copy_format){.kind = options->format,
                                                .delimiter = options->delimiter,
                                                .quote = options->quote,
                                                .escape = options->escape,
                                                .null_text = options->null_text,
                                                .row_limit = options->row_limit};
    job->source = options->source ? options->source : "input";
    job->streams.timeout_ms = options->timeout_ms ? options->timeout_ms : cluster->options.default_timeout_ms;
    job->streams.interrupted = options->interrupted;
    job->streams.ended = stream_ended;
    job->streams.context = job;
    mosaic_status status = copy_format_check(&job->splitter.format, error);
    if (status != MOSAIC_OK)
        return status;
    return find_table(job, table, error);
}

static mosaic_status load_once(mosaic_cluster *cluster, const char *table, const mosaic_load *options,
                               mosaic_progress *done, bool *touched, mosaic_error *error)
{
    struct snapshot *snapshot = cluster_snapshot(cluster);
    struct load_job *job = memory_zeroed(1, sizeof *job);
    if (!job) {
        snapshot_release(snapshot);
        return error_memory(error);
    }
    job->model = &snapshot->model;
    job->options = options;
    mosaic_status status = start(job, cluster, table, error);
    if (status == MOSAIC_OK)
        status = run(job, cluster, error);
    *done = job->done;
    *touched = job->input.read > 0;
    memory_free(job->input.bytes);
    copy_router_free(&job->router);
    arena_free(&job->arena);
    memory_free(job);
    snapshot_release(snapshot);
    return status;
}

/* A row stood where the map no longer wants it. The caller's bytes are gone, so the new map serves the next load. */
static mosaic_status stale_or_broken(mosaic_cluster *cluster, uint64_t before, mosaic_error *error)
{
    mosaic_error ignored;
    mosaic_status status = mosaic_refresh(cluster, &ignored);
    if (status == MOSAIC_OK && mosaic_epoch(cluster) != before) {
        char detail[sizeof error->detail];
        memcpy(detail, error->message, sizeof error->message);
        error_set(error, MOSAIC_STALE, "the map has changed while rows were loaded; nothing was kept");
        error_detail(error, "%s", detail);
        error_hint(error, "run it again");
        return MOSAIC_STALE;
    }
    return error_hint(error, "the constraint mosaic_owner of this shard does not fit the map: run pgmosaic doctor");
}

mosaic_status mosaic_load_table(mosaic_cluster *cluster, const char *table, const mosaic_load *load,
                                mosaic_progress *done, mosaic_error *error)
{
    mosaic_progress ignored;
    mosaic_error unseen;
    bool touched = false;
    if (!error)
        error = &unseen;
    if (!cluster || !table || !load || !load->read || load->timeout_ms < 0)
        return error_set(error, MOSAIC_USAGE, "mosaic_load_table: a cluster, a table and a way to read are needed");
    done = done ? done : &ignored;
    uint64_t before = mosaic_epoch(cluster);
    mosaic_status status = load_once(cluster, table, load, done, &touched, error);
    if (status == MOSAIC_STALE && !touched && mosaic_refresh(cluster, NULL) == MOSAIC_OK)
        status = load_once(cluster, table, load, done, &touched, error);
    if (status == MOSAIC_OWNERSHIP)
        status = stale_or_broken(cluster, before, error);
    return status;
}
