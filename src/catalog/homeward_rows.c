/* Rows that come home: one COPY into the home table, and into it one from each other shard after the other. */
#include "catalog/homeward_steps.h"
#include "core/sqlexpr.h"
#include "pq/process.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SAY_MS = 5000 };

struct coming {
    struct grow *grow;
    struct growing *growing;
    struct grow_target target;
    long long said_at;
    mosaic_error *error;
};

/* ---- sums ---- */

static mosaic_status sum(struct grow *grow, size_t shard, const struct growing *growing, struct checksum *sums)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    PGresult *result = NULL;
    *sums = (struct checksum){0};
    grow_add_sums(&sql, growing, false);
    mosaic_status status = grow_run_buffer(grow, shard, &sql, PQ_SCAN_MS, &result);
    if (status == MOSAIC_OK)
        checksum_add_up(sums, result, 0, 1);
    PQclear(result);
    return status;
}

static mosaic_status sum_shard(struct grow *grow, size_t shard)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < grow->table_count && status == MOSAIC_OK; i++)
        if (homeward_facts(grow, shard, &grow->tables[i])->exists)
            status = sum(grow, shard, &grow->tables[i], &grow->tables[i].sums[shard]);
    return status;
}

mosaic_status homeward_sum(struct grow *grow, mosaic_error *error)
{
    mosaic_status status = grow_on_others(grow, sum_shard, error);
    if (status == MOSAIC_OK && sum_shard(grow, grow->home) != MOSAIC_OK)
        return grow_fail(grow, grow->home, error);
    return status;
}

static mosaic_status differ(const struct grow *grow, const struct growing *growing, size_t shard,
                            const struct checksum *has, const struct checksum *wants, mosaic_error *error)
{
    error_set(error, MOSAIC_DATA, "table %s: %" PRIu64 " rows on shard %s, and %" PRIu64 " that it is to have%s",
              growing->table->display, (uint64_t)has->rows, grow->apply->model->shards[shard].name,
              (uint64_t)wants->rows, has->rows == wants->rows ? ", with other values" : "");
    error_detail(error, "Nothing was changed.");
    if (growing->table->kind == TABLE_REFERENCE)
        error_hint(error, "make the copies equal, then run apply again");
    return error_shard(error, grow->apply->model->shards[shard].name);
}

static mosaic_status verify(struct grow *grow, struct growing *growing, mosaic_error *error)
{
    struct checksum all = growing->sums[grow->home], found;
    bool is_reference = growing->table->kind == TABLE_REFERENCE;
    for (size_t i = 0; i < grow->apply->model->shard_count; i++) {
        if (i == grow->home || !homeward_facts(grow, i, growing)->exists)
            continue;
        if (is_reference && !checksum_same(&growing->sums[i], &all))
            return differ(grow, growing, i, &growing->sums[i], &all, error);
        all.rows += is_reference ? 0 : growing->sums[i].rows;
        all.first += is_reference ? 0 : growing->sums[i].first;
        all.second += is_reference ? 0 : growing->sums[i].second;
    }
    if (is_reference)
        return MOSAIC_OK;
    if (sum(grow, grow->home, growing, &found) != MOSAIC_OK)
        return grow_fail(grow, grow->home, error);
    return checksum_same(&found, &all) ? MOSAIC_OK : differ(grow, growing, grow->home, &found, &all, error);
}

mosaic_status homeward_verify(struct grow *grow, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < grow->table_count && status == MOSAIC_OK; i++)
        status = verify(grow, &grow->tables[i], error);
    return status;
}

/* ---- rows ---- */

static void say_progress(struct coming *coming)
{
    if (coming->target.rows % 1024 || process_clock() - coming->said_at < SAY_MS)
        return;
    coming->said_at = process_clock();
    grow_say(coming->grow->apply, "table %s: %" PRIu64 " rows on their way", coming->growing->table->display,
             coming->target.rows);
}

static mosaic_status take_rows(struct coming *coming, size_t shard)
{
    PGconn *connection = coming->grow->apply->shards[shard].connection;
    const char *name = coming->grow->apply->model->shards[shard].name;
    for (;;) {
        char *row = NULL;
        int got = PQgetCopyData(connection, &row, 1);
        mosaic_status status = MOSAIC_OK;
        if (got > 0)
            status = grow_put(&coming->target, row, (size_t)got, coming->error);
        else if (got == 0)
            status = pq_wait(connection, false, pq_deadline(GROW_SILENT_MS), "reading rows", coming->error);
        PQfreemem(row);
        if (got == 0 && status == MOSAIC_OK && !PQconsumeInput(connection))
            status = pq_result_error(connection, NULL, name, coming->error);
        if (status != MOSAIC_OK)
            return status;
        if (got < 0)
            return grow_take_result(connection, name, coming->error);
        say_progress(coming);
    }
}

static mosaic_status copy_from(struct coming *coming, size_t shard)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    buffer_text(&sql, "COPY (SELECT ");
    facts_add_columns(&sql, coming->growing->facts);
    buffer_text(&sql, " FROM ");
    grow_add_name(&sql, coming->growing->table);
    buffer_text(&sql, ") TO STDOUT");
    if (grow_run_buffer(coming->grow, shard, &sql, GROW_STEP_MS, NULL) != MOSAIC_OK)
        return grow_fail(coming->grow, shard, coming->error);
    return take_rows(coming, shard);
}

static mosaic_status copy_table(struct grow *grow, struct growing *growing, mosaic_error *error)
{
    struct coming coming = {.grow = grow, .growing = growing, .said_at = process_clock(), .error = error};
    if (grow_put_begin(grow, growing, grow->home, &coming.target) != MOSAIC_OK)
        return grow_fail(grow, grow->home, error);
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < grow->apply->model->shard_count && status == MOSAIC_OK; i++)
        if (i != grow->home && homeward_facts(grow, i, growing)->exists)
            status = copy_from(&coming, i);
    if (status == MOSAIC_OK)
        status = grow_put_end(&coming.target, error);
    growing->rows = coming.target.rows;
    return status;
}

/* ---- what changes with them ---- */

/*
 * A column's sequence goes on behind every value there is: a key's values may have come from anywhere. It keeps its
 * step, so that values that other shards once gave do not come again.
 */
static mosaic_status advance(struct grow *grow, const struct growing *growing, const struct column_facts *column)
{
    const struct sequence_facts *sequence = &column->sequence;
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    PGresult *result = NULL;
    buffer_text(&sql, "SELECT s.last_value, coalesce((SELECT max(t.");
    sql_identifier(&sql, column->name);
    buffer_text(&sql, ") FROM ");
    grow_add_name(&sql, growing->table);
    buffer_format(&sql, " t)::text, '0') FROM %s s", sequence->name);
    mosaic_status status = grow_run_buffer(grow, grow->home, &sql, PQ_SCAN_MS, &result);
    if (status != MOSAIC_OK)
        return status;
    int64_t last = strtoll(PQgetvalue(result, 0, 0), NULL, 10), most = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    PQclear(result);
    if (most < last || most > sequence->most - sequence->increment)
        return MOSAIC_OK;
    buffer_format(&sql, "ALTER SEQUENCE %s RESTART WITH %" PRId64, sequence->name,
                  last + ((most - last) / sequence->increment + 1) * sequence->increment);
    return grow_run_buffer(grow, grow->home, &sql, GROW_STEP_MS, NULL);
}

static mosaic_status advance_all(struct grow *grow, const struct growing *growing)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < growing->facts->column_count && status == MOSAIC_OK; i++) {
        const struct sequence_facts *sequence = &growing->facts->columns[i].sequence;
        if (sequence->name && sequence->increment > 0 && !sequence->cycles)
            status = advance(grow, growing, &growing->facts->columns[i]);
    }
    return status;
}

/* The user's triggers are not told of rows that move; mosaic_owner would refuse them. */
static mosaic_status set_guards(struct grow *grow, bool enable)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    for (size_t i = 0; i < grow->table_count; i++) {
        const struct growing *growing = &grow->tables[i];
        if (growing->table->kind != TABLE_SHARDED)
            continue;
        if (!enable) {
            buffer_text(&sql, "ALTER TABLE ");
            grow_add_name(&sql, growing->table);
            buffer_text(&sql, " DROP CONSTRAINT IF EXISTS " OWNER_CONSTRAINT "; ");
        }
        grow_set_triggers(&sql, growing, enable);
    }
    return sql.size ? grow_run_buffer(grow, grow->home, &sql, GROW_STEP_MS, NULL) : MOSAIC_OK;
}

mosaic_status homeward_gather(struct grow *grow, mosaic_error *error)
{
    if (set_guards(grow, false) != MOSAIC_OK)
        return grow_fail(grow, grow->home, error);
    for (size_t i = 0; i < grow->table_count; i++) {
        struct growing *growing = &grow->tables[i];
        if (growing->table->kind != TABLE_SHARDED)
            continue;
        mosaic_status status = copy_table(grow, growing, error);
        if (status != MOSAIC_OK) {
            error_prefix(error, "table %s", growing->table->display);
            return status;
        }
        if (advance_all(grow, growing) != MOSAIC_OK)
            return grow_fail(grow, grow->home, error);
    }
    if (grow_run(grow, grow->home, "SET CONSTRAINTS ALL IMMEDIATE", PQ_SCAN_MS, NULL) != MOSAIC_OK ||
        set_guards(grow, true) != MOSAIC_OK)
        return grow_fail(grow, grow->home, error);
    return MOSAIC_OK;
}
