/*
 * Rows: one COPY reads them on the home shard, each with the number of its owner before it; one COPY on each other
 * shard takes what it is to have. As text, because binary forms of types of the user's hold OIDs, which differ.
 */
#include "catalog/grow_steps.h"
#include "core/sqlexpr.h"
#include "pq/process.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_BYTES = 64 * 1024, SAY_MS = 5000 };

struct copying {
    struct grow *grow;
    struct growing *growing;
    struct grow_target *targets; /* of each shard; the home one's is not used */
    uint16_t part_of_shard[SHARDS_MOST];
    long long said_at;
    mosaic_error *error;
};

/* ---- SQL ---- */

/* The part of the map that a row is in, as its number; 0 for a table whose rows go everywhere. */
static void add_part(struct buffer *sql, const struct table *table)
{
    const char *columns[KEY_COLUMNS_MAX];
    struct buffer names[KEY_COLUMNS_MAX];
    if (table->kind != TABLE_SHARDED) {
        buffer_char(sql, '0');
        return;
    }
    for (size_t i = 0; i < table->column_count; i++) {
        names[i] = BUFFER_INIT(4096);
        sql_identifier(&names[i], table->columns[i]);
        columns[i] = buffer_string(&names[i]);
    }
    sql_part(sql, &table->rule, columns, table->map);
    for (size_t i = 0; i < table->column_count; i++)
        buffer_free(&names[i]);
}

static void add_copy_out(struct buffer *sql, const struct grow *grow, const struct growing *growing)
{
    buffer_text(sql, "COPY (SELECT ");
    add_part(sql, growing->table);
    buffer_text(sql, ", ");
    facts_add_columns(sql, growing->facts);
    buffer_text(sql, " FROM ");
    grow_add_name(sql, growing->table);
    if (growing->owners)
        buffer_format(sql, " WHERE (%s) IS NOT TRUE", growing->owners[grow->home]->expression);
    buffer_text(sql, ") TO STDOUT");
}

static void add_copy_in(struct buffer *sql, const struct growing *growing)
{
    buffer_text(sql, "COPY ");
    grow_add_name(sql, growing->table);
    buffer_text(sql, " (");
    facts_add_columns(sql, growing->facts);
    buffer_text(sql, ") FROM STDIN");
}

/* ---- one row after the other ---- */

static mosaic_status flush(struct grow_target *target, mosaic_error *error)
{
    int left;
    while ((left = PQflush(target->connection)) > 0) {
        mosaic_status status = pq_wait(target->connection, true, pq_deadline(GROW_SILENT_MS), "sending rows", error);
        if (status != MOSAIC_OK)
            return error_shard(error, target->name);
        if (!PQconsumeInput(target->connection))
            left = -1;
        if (left < 0)
            break;
    }
    target->unflushed = 0;
    return left < 0 ? pq_result_error(target->connection, NULL, target->name, error) : MOSAIC_OK;
}

mosaic_status grow_take_result(PGconn *connection, const char *name, mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_status status = pq_finish_statement(connection, name, pq_deadline(PQ_SCAN_MS), &result, error);
    if (status == MOSAIC_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        status = pq_result_error(connection, result, name, error);
    PQclear(result);
    return status;
}

mosaic_status grow_put(struct grow_target *target, const char *row, size_t size, mosaic_error *error)
{
    if (PQputCopyData(target->connection, row, (int)size) != 1) {
        mosaic_status status = grow_take_result(target->connection, target->name, error);
        return status != MOSAIC_OK ? status
                                   : error_set(error, MOSAIC_INTERNAL, "shard %s has ended a COPY early", target->name);
    }
    target->rows++;
    target->unflushed += size;
    return target->unflushed < FLUSH_BYTES ? MOSAIC_OK : flush(target, error);
}

static mosaic_status put_row(struct copying *copying, const char *piece, size_t size)
{
    const struct grow *grow = copying->grow;
    const char *rest = memchr(piece, '\t', size);
    mosaic_status status = MOSAIC_OK;
    size_t taken = 0;
    if (!rest || *piece == '\\')
        return error_set(copying->error, MOSAIC_DATA, "a row of table %s has no owner",
                         copying->growing->table->display);
    size_t head = (size_t)(++rest - piece);
    long part = strtol(piece, NULL, 10);
    for (size_t i = 0; i < grow->apply->model->shard_count && status == MOSAIC_OK; i++) {
        if (i == grow->home || (copying->growing->owners && copying->part_of_shard[i] != part))
            continue;
        status = grow_put(&copying->targets[i], rest, size - head, copying->error);
        taken++;
    }
    if (status == MOSAIC_OK && !taken)
        return error_set(copying->error, MOSAIC_INTERNAL, "a row of table %s has no shard",
                         copying->growing->table->display);
    copying->growing->rows++;
    return status;
}

static void say_progress(struct copying *copying)
{
    const struct growing *growing = copying->growing;
    if (growing->rows % 1024 || process_clock() - copying->said_at < SAY_MS)
        return;
    copying->said_at = process_clock();
    if (growing->facts->estimated_rows > 0)
        grow_say(copying->grow->apply, "table %s: %" PRIu64 " rows on their way, of about %.0f in all",
                 growing->table->display, growing->rows, growing->facts->estimated_rows);
    else
        grow_say(copying->grow->apply, "table %s: %" PRIu64 " rows on their way", growing->table->display,
                 growing->rows);
}

static mosaic_status copy_rows(struct copying *copying)
{
    struct grow *grow = copying->grow;
    const char *name = grow->apply->model->shards[grow->home].name;
    for (;;) {
        char *piece = NULL;
        int got = PQgetCopyData(grow->connection, &piece, 1);
        mosaic_status status = MOSAIC_OK;
        if (got > 0)
            status = put_row(copying, piece, (size_t)got);
        else if (got == 0)
            status = pq_wait(grow->connection, false, pq_deadline(GROW_SILENT_MS), "reading rows", copying->error);
        PQfreemem(piece);
        if (got == 0 && status == MOSAIC_OK && !PQconsumeInput(grow->connection))
            status = pq_result_error(grow->connection, NULL, name, copying->error);
        if (status != MOSAIC_OK)
            return status;
        if (got < 0)
            return grow_take_result(grow->connection, name, copying->error);
        say_progress(copying);
    }
}

/* ---- one table after the other ---- */

mosaic_status grow_put_begin(struct grow *grow, const struct growing *growing, size_t shard, struct grow_target *target)
{
    mosaic_error *error = &grow->apply->shards[shard].error;
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    *target = (struct grow_target){grow->apply->shards[shard].connection, grow->apply->model->shards[shard].name, 0, 0};
    add_copy_in(&sql, growing);
    mosaic_status status = grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL);
    if (status == MOSAIC_OK && PQsetnonblocking(target->connection, 1) != 0)
        status = pq_result_error(target->connection, NULL, target->name, error);
    return status;
}

static mosaic_status start_copies(struct copying *copying)
{
    struct grow *grow = copying->grow;
    struct buffer out = BUFFER_INIT(GROW_SQL_MOST);
    mosaic_status status = MOSAIC_OK;
    size_t failed = grow->home;
    for (size_t i = 0; i < grow->apply->model->shard_count && status == MOSAIC_OK; i++)
        if (i != grow->home)
            status = grow_put_begin(grow, copying->growing, failed = i, &copying->targets[i]);
    if (status == MOSAIC_OK) {
        failed = grow->home;
        add_copy_out(&out, grow, copying->growing);
        status = grow_run_buffer(grow, grow->home, &out, GROW_STEP_MS, NULL);
    }
    if (status != MOSAIC_OK)
        *copying->error = grow->apply->shards[failed].error;
    return status;
}

mosaic_status grow_put_end(struct grow_target *target, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    if (PQputCopyEnd(target->connection, NULL) != 1)
        status = pq_result_error(target->connection, NULL, target->name, error);
    if (status == MOSAIC_OK)
        status = flush(target, error);
    if (status == MOSAIC_OK)
        status = grow_take_result(target->connection, target->name, error);
    if (status == MOSAIC_OK && PQsetnonblocking(target->connection, 0) != 0)
        status = pq_result_error(target->connection, NULL, target->name, error);
    return status;
}

static mosaic_status end_copies(struct copying *copying)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < copying->grow->apply->model->shard_count && status == MOSAIC_OK; i++)
        if (i != copying->grow->home)
            status = grow_put_end(&copying->targets[i], copying->error);
    return status;
}

mosaic_status grow_copy(struct grow *grow, mosaic_error *error)
{
    struct copying copying = {.grow = grow, .error = error, .said_at = process_clock()};
    mosaic_status status = MOSAIC_OK;
    copying.targets = arena_zeroed(&grow->apply->arena, grow->apply->model->shard_count, sizeof *copying.targets);
    if (!copying.targets)
        return error_memory(error);
    for (size_t i = 0; i < grow->table_count && status == MOSAIC_OK; i++) {
        copying.growing = &grow->tables[i];
        if (copying.growing->owners)
            map_parts(copying.growing->table->map, copying.part_of_shard);
        status = start_copies(&copying);
        if (status == MOSAIC_OK)
            status = copy_rows(&copying);
        if (status == MOSAIC_OK)
            status = end_copies(&copying);
        if (status != MOSAIC_OK)
            error_prefix(error, "table %s", copying.growing->table->display);
    }
    return status;
}

/* ---- sums ---- */

void grow_add_sums(struct buffer *sql, const struct growing *growing, bool by_part)
{
    buffer_text(sql, by_part ? "SELECT p, " : "SELECT 0, ");
    checksum_add_sums(sql, growing->facts);
    buffer_text(sql, " FROM (SELECT ");
    checksum_add_form(sql, growing->facts);
    if (by_part) {
        buffer_text(sql, ", ");
        add_part(sql, growing->table);
        buffer_text(sql, " AS p");
    }
    buffer_text(sql, " FROM ");
    grow_add_name(sql, growing->table);
    buffer_text(sql, by_part ? ") x GROUP BY p" : ") x");
}

/* What each shard is to have, from the rows as they stand on the home shard. */
static mosaic_status sum_source(struct grow *grow, struct growing *growing, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    PGresult *result = NULL;
    uint16_t part_of_shard[SHARDS_MOST] = {0};
    size_t shards = grow->apply->model->shard_count;
    if (growing->owners)
        map_parts(growing->table->map, part_of_shard);
    grow_add_sums(&sql, growing, growing->owners != NULL);
    mosaic_status status = grow_run_buffer(grow, grow->home, &sql, PQ_SCAN_MS, &result);
    if (status != MOSAIC_OK) {
        *error = grow->apply->shards[grow->home].error;
        return status;
    }
    memset(growing->sums, 0, shards * sizeof *growing->sums);
    for (int row = 0; row < PQntuples(result); row++)
        for (size_t i = 0; i < shards; i++)
            if (atoi(PQgetvalue(result, row, 0)) == part_of_shard[i])
                checksum_add_up(&growing->sums[i], result, row, 1);
    PQclear(result);
    return MOSAIC_OK;
}

static mosaic_status compare(struct grow *grow, size_t shard, const struct growing *growing)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    struct checksum found = {0};
    PGresult *result = NULL;
    mosaic_error *error = &grow->apply->shards[shard].error;
    grow_add_sums(&sql, growing, false);
    mosaic_status status = grow_run_buffer(grow, shard, &sql, PQ_SCAN_MS, &result);
    if (status == MOSAIC_OK)
        checksum_add_up(&found, result, 0, 1);
    PQclear(result);
    if (status != MOSAIC_OK || checksum_same(&found, &growing->sums[shard]))
        return status;
    error_set(error, MOSAIC_DATA, "table %s: %" PRIu64 " rows on shard %s, and %" PRIu64 " that it is to have%s",
              growing->table->display, (uint64_t)found.rows, grow->apply->model->shards[shard].name,
              (uint64_t)growing->sums[shard].rows,
              found.rows == growing->sums[shard].rows ? ", with other values" : "");
    error_detail(error, "Nothing was changed.");
    return error_shard(error, grow->apply->model->shards[shard].name);
}

static mosaic_status compare_all(struct grow *grow, size_t shard)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < grow->table_count && status == MOSAIC_OK; i++)
        status = compare(grow, shard, &grow->tables[i]);
    return status;
}

mosaic_status grow_verify(struct grow *grow, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < grow->table_count && status == MOSAIC_OK; i++)
        status = sum_source(grow, &grow->tables[i], error);
    return status == MOSAIC_OK ? grow_on_others(grow, compare_all, error) : status;
}

mosaic_status grow_verify_home(struct grow *grow, mosaic_error *error)
{
    mosaic_status status = compare_all(grow, grow->home);
    if (status != MOSAIC_OK)
        *error = grow->apply->shards[grow->home].error;
    return status;
}
