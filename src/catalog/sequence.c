#include "catalog/sequence.h"

#include "catalog/grow_steps.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WIDTH = 1024,         /* as many as there can be shards */
    WIDTH_LEAST = 16,     /* of an integer, which has no room for more */
    VALUES_LEAST = 10000, /* that each shard must have */
    LOCK_MS = 200,
    LOCK_TRIES_MS = 60000,
    PAUSE_MS = 300,
};

struct planning {
    const struct difference_input *input;
    struct arena *arena;
    struct difference *difference;
    struct findings *findings;
    mosaic_error *error;
};

/* ---- what is to be done ---- */

/* Do they give different values on every shard: by residues of one increment, or by disjoint ranges? */
static bool differ(const struct sequence_facts *list, size_t count)
{
    bool residues = true, ranges = true;
    for (size_t i = 0; i < count; i++) {
        residues &= list[i].increment == list[0].increment && list[i].increment >= (int64_t)count;
        for (size_t j = 0; j < i; j++) {
            residues &= residues && (list[i].start - list[j].start) % list[i].increment != 0;
            ranges &= list[i].most < list[j].least || list[j].most < list[i].least;
        }
    }
    return residues || ranges;
}

static int64_t most_of(const struct column_facts *column)
{
    int64_t most = column->sequence.most;
    if (strcmp(column->type, "smallint") == 0 && most > INT16_MAX)
        return INT16_MAX;
    return strcmp(column->type, "integer") == 0 && most > INT32_MAX ? INT32_MAX : most;
}

static int64_t width_for(const struct planning *planning, int64_t most)
{
    int64_t width = most > INT32_MAX ? WIDTH : WIDTH_LEAST;
    for (size_t i = 0; i < planning->difference->wanted.shard_count; i++)
        while (width <= planning->difference->wanted.shards[i].id)
            width *= 2;
    return width;
}

/* Why it cannot be made unique; NULL: it can. */
static const char *hindrance(const struct sequence_facts *sequence, int64_t width, int64_t most, const char **fix)
{
    if (sequence->cycles) {
        *fix = "ALTER SEQUENCE … NO CYCLE on every shard";
        return "cycles: its values come again";
    }
    if (sequence->increment < 0) {
        *fix = "make it count up, or drop the default";
        return "counts down";
    }
    *fix = "give the column a wider type, or drop the default";
    return most / width < VALUES_LEAST ? "has too few values for all shards" : NULL;
}

static mosaic_status add_work(struct planning *planning, struct sequence_work work)
{
    struct difference *difference = planning->difference;
    struct sequence_work *more = arena_zeroed(planning->arena, difference->sequence_count + 1, sizeof *more);
    if (!more)
        return error_memory(planning->error);
    if (difference->sequence_count)
        memcpy(more, difference->sequences, difference->sequence_count * sizeof *more);
    more[difference->sequence_count++] = work;
    difference->sequences = more;
    return MOSAIC_OK;
}

static mosaic_status plan_column(struct planning *planning, size_t at, const struct column_facts *column, bool grows)
{
    const struct model *model = planning->input->model;
    const struct table *table = &model->tables[at];
    const char *why, *fix;
    struct sequence_work work = {.table = table, .column = column->name, .grows = grows};
    struct sequence_facts *list = arena_zeroed(planning->arena, model->shard_count, sizeof *list);
    size_t count = 0;
    work.names = arena_zeroed(planning->arena, model->shard_count, sizeof *work.names);
    if (!list || !work.names)
        return error_memory(planning->error);
    for (size_t shard = 0; shard < model->shard_count; shard++) {
        const struct shard_facts *facts = planning->input->facts[shard];
        const struct column_facts *here = facts ? facts_column(&facts->tables[at], column->name) : NULL;
        if (here && here->sequence.name)
            list[count++] = here->sequence;
        work.names[shard] = here ? here->sequence.name : grows && facts ? column->sequence.name : NULL;
    }
    if (!grows && (count < 2 || differ(list, count)))
        return MOSAIC_OK;
    work.most = most_of(column);
    work.width = width_for(planning, work.most);
    why = hindrance(&column->sequence, work.width, work.most, &fix);
    if (why) {
        finding_add(planning->findings, true, "", table->display, fix,
                    "column %s takes its values from sequence %s, which %s: it cannot be unique over the shards",
                    column->name, column->sequence.name, why);
        return MOSAIC_OK;
    }
    buffer_format(&planning->difference->plan,
                  "~ sequence %s of %s.%s: steps of %" PRId64 ", each shard's its own, behind every value there is\n",
                  column->sequence.name, table->display, column->name, work.width);
    return add_work(planning, work);
}

static bool is_key(const struct table *table, const char *name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (strcmp(table->columns[i], name) == 0)
            return true;
    return false;
}

mosaic_status sequence_plan(const struct difference_input *input, struct arena *arena, struct difference *difference,
                            struct findings *findings, mosaic_error *error)
{
    struct planning planning = {input, arena, difference, findings, error};
    mosaic_status status = MOSAIC_OK;
    for (size_t at = 0; at < input->model->table_count; at++) {
        const struct table *table = &input->model->tables[at];
        const struct table_facts *first = NULL;
        for (size_t shard = 0; shard < input->model->shard_count; shard++)
            if (input->facts[shard] && input->facts[shard]->tables[at].exists &&
                (!first || input->facts[shard]->tables[at].grows))
                first = &input->facts[shard]->tables[at];
        if (!first || table->kind != TABLE_SHARDED)
            continue;
        for (size_t i = 0; i < first->column_count && status == MOSAIC_OK; i++)
            if (first->columns[i].sequence.name && !is_key(table, first->columns[i].name))
                status = plan_column(&planning, at, &first->columns[i], first->grows);
    }
    return status;
}

void sequence_refuse(const struct difference *difference, struct findings *findings)
{
    for (size_t i = 0; i < difference->sequence_count; i++) {
        const struct sequence_work *work = &difference->sequences[i];
        const char *name = NULL;
        for (size_t shard = 0; !name; shard++)
            name = work->names[shard];
        finding_add(findings, true, "", work->table->display,
                    "make the table on every shard of the target, and run pgmosaic apply there, before the copy",
                    "column %s takes its values from sequence %s, which gives the same values on every shard",
                    work->column, name);
    }
}

/* ---- SQL ---- */

static void add_alter(struct buffer *sql, const struct sequence_work *work, size_t shard)
{
    buffer_format(sql, "ALTER SEQUENCE %s INCREMENT BY %" PRId64 "; ", work->names[shard], work->width);
}

/* The last value given, and the highest that stands in the column: two columns, never NULL. */
static void add_question(struct buffer *sql, const struct sequence_work *work, size_t shard)
{
    buffer_text(sql, "SELECT s.last_value, coalesce((SELECT max(t.");
    sql_identifier(sql, work->column);
    buffer_text(sql, ") FROM ");
    grow_add_name(sql, work->table);
    buffer_format(sql, " t)::text, '0') FROM %s s", work->names[shard]);
}

static void take_answer(const PGresult *result, int64_t *highest)
{
    for (int column = 0; column < 2; column++) {
        int64_t value = strtoll(PQgetvalue(result, 0, column), NULL, 10);
        *highest = value > *highest ? value : *highest;
    }
}

/* Two columns may share a sequence, so the highest value is that of all works of its name. */
static bool same_sequence(const struct sequence_work *a, const struct sequence_work *b, size_t shard)
{
    return a->names[shard] && b->names[shard] && strcmp(a->names[shard], b->names[shard]) == 0;
}

static void add_restart(struct buffer *sql, const struct apply *apply, const struct sequence_work *work, size_t shard,
                        int64_t highest)
{
    int64_t start = (highest / work->width + 1) * work->width + apply->difference.wanted.shards[shard].id;
    buffer_format(sql, "ALTER SEQUENCE %s INCREMENT BY %" PRId64 " START WITH %" PRId64 " RESTART WITH %" PRId64 "; ",
                  work->names[shard], work->width, start, start);
}

static mosaic_status check_room(const struct sequence_work *work, int64_t highest, mosaic_error *error)
{
    if (highest < work->most - work->width * VALUES_LEAST)
        return MOSAIC_OK;
    error_set(error, MOSAIC_PREFLIGHT, "column %s of table %s has reached %" PRId64 ": too few values are left",
              work->column, work->table->display, highest);
    return error_hint(error, "give it a wider type, or drop its default");
}

/* ---- tables that stand on every shard ---- */

static mosaic_status run(struct apply *apply, size_t shard, struct buffer *sql, int timeout_ms, PGresult **result)
{
    struct apply_shard *at = &apply->shards[shard];
    mosaic_status status = buffer_failed(sql)
                               ? error_memory(&at->error)
                               : pq_exec(at->connection, apply->model->shards[shard].name, buffer_string(sql),
                                         pq_deadline(timeout_ms), result, &at->error);
    buffer_free(sql);
    return status;
}

/* From here to the end of the transactions nobody takes a value. */
static mosaic_status lock(struct apply *apply, const struct sequence_work *work, size_t shard, int64_t *highest)
{
    struct buffer begin = BUFFER_INIT(GROW_SQL_MOST), question = BUFFER_INIT(GROW_SQL_MOST);
    PGresult *result = NULL;
    buffer_format(&begin, "BEGIN; SET LOCAL lock_timeout = %d; ", LOCK_MS);
    add_alter(&begin, work, shard);
    add_question(&question, work, shard);
    mosaic_status status = run(apply, shard, &begin, GROW_STEP_MS, NULL);
    if (status == MOSAIC_OK)
        status = run(apply, shard, &question, PQ_SCAN_MS, &result);
    buffer_free(&question);
    if (status == MOSAIC_OK)
        take_answer(result, highest);
    PQclear(result);
    return status;
}

static mosaic_status restart(struct apply *apply, const struct sequence_work *work, size_t shard, int64_t highest)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    add_restart(&sql, apply, work, shard, highest);
    return run(apply, shard, &sql, GROW_STEP_MS, NULL);
}

static mosaic_status end(struct apply *apply, size_t shard, const char *how)
{
    struct buffer sql = BUFFER_INIT(64);
    buffer_text(&sql, how);
    return run(apply, shard, &sql, GROW_STEP_MS, NULL);
}

/* On every shard that has one: `step` of three, so that all are locked before any begins anew. */
static mosaic_status attempt(struct apply *apply, const struct sequence_work *work, mosaic_error *error)
{
    int64_t highest = 0;
    mosaic_status status = MOSAIC_OK;
    size_t shards = apply->model->shard_count;
    mosaic_error *why = NULL, room;
    for (int step = 0; step < 3; step++) {
        for (size_t i = 0; i < shards && status == MOSAIC_OK; i++) {
            if (!work->names[i])
                continue;
            status = step == 0   ? lock(apply, work, i, &highest)
                     : step == 1 ? restart(apply, work, i, highest)
                                 : end(apply, i, "COMMIT");
            why = &apply->shards[i].error;
        }
        if (step == 0 && status == MOSAIC_OK && (status = check_room(work, highest, &room)) != MOSAIC_OK)
            why = &room;
    }
    if (status == MOSAIC_OK)
        return MOSAIC_OK;
    *error = *why;
    for (size_t i = 0; i < shards; i++)
        if (work->names[i] && PQtransactionStatus(apply->shards[i].connection) != PQTRANS_IDLE)
            (void)!end(apply, i, "ROLLBACK");
    return status;
}

mosaic_status sequence_step(struct apply *apply, mosaic_error *error)
{
    mosaic_error local;
    error = error ? error : &local;
    for (size_t i = 0; i < apply->difference.sequence_count; i++) {
        const struct sequence_work *work = &apply->difference.sequences[i];
        int64_t deadline = pq_deadline(LOCK_TRIES_MS);
        if (work->grows)
            continue;
        for (;;) {
            mosaic_status status = attempt(apply, work, error);
            if (status == MOSAIC_OK)
                break;
            if (status != MOSAIC_SERVER || strcmp(error->sqlstate, "55P03") != 0 || !pq_left_ms(deadline))
                return status;
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
        }
    }
    return MOSAIC_OK;
}

/* ---- tables that grow ---- */

static mosaic_status grow_one(struct grow *grow, const struct sequence_work *work, int64_t highest)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < grow->apply->model->shard_count && status == MOSAIC_OK; i++) {
        struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
        if (!work->names[i])
            continue;
        add_restart(&sql, grow->apply, work, i, highest);
        status = grow_run_buffer(grow, i, &sql, GROW_STEP_MS, NULL);
        if (status != MOSAIC_OK && i != grow->home)
            grow->apply->shards[grow->home].error = grow->apply->shards[i].error;
    }
    return status;
}

/* What the home shard fails with is its error. */
static mosaic_status ask_home(struct grow *grow, const struct sequence_work *work, int64_t *highest)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST), question = BUFFER_INIT(GROW_SQL_MOST);
    PGresult *result = NULL;
    add_alter(&sql, work, grow->home);
    add_question(&question, work, grow->home);
    mosaic_status status = grow_run_buffer(grow, grow->home, &sql, GROW_STEP_MS, NULL);
    if (status == MOSAIC_OK)
        status = grow_run_buffer(grow, grow->home, &question, PQ_SCAN_MS, &result);
    buffer_free(&question);
    if (status == MOSAIC_OK)
        take_answer(result, highest);
    PQclear(result);
    return status;
}

mosaic_status sequence_grow(struct grow *grow, mosaic_error *error)
{
    const struct difference *difference = &grow->apply->difference;
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < difference->sequence_count && status == MOSAIC_OK; i++) {
        const struct sequence_work *work = &difference->sequences[i];
        int64_t highest = 0;
        if (!work->grows)
            continue;
        for (size_t j = 0; j < difference->sequence_count && status == MOSAIC_OK; j++)
            if (same_sequence(work, &difference->sequences[j], grow->home))
                status = ask_home(grow, &difference->sequences[j], &highest);
        if (status == MOSAIC_OK)
            status = check_room(work, highest, &grow->apply->shards[grow->home].error);
        if (status == MOSAIC_OK)
            status = grow_one(grow, work, highest);
    }
    if (status != MOSAIC_OK)
        *error = grow->apply->shards[grow->home].error;
    return status;
}
