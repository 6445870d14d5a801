/*
 * The marker: mosaic.copy on the target's first shard says which tables a copy makes, before it makes them. It is
 * removed by the copy's end, whatever the end is. Who finds one, and the copy's lock free, knows that it was cut off.
 */
#include "catalog/state.h"
#include "catalog/twophase.h"
#include "core/sqlexpr.h"
#include "transfer/transfer.h"

#include <string.h>

enum { SQL_MOST = 4 * 1024 * 1024 };

static mosaic_status run(struct transfer *transfer, const char *sql, PGresult **result, mosaic_error *error)
{
    return pq_exec(transfer->targets[0], transfer->to->shards[0].name, sql, pq_deadline(transfer->options.timeout_ms),
                   result, error);
}

static mosaic_status take_lock(struct transfer *transfer, mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_status status = run(
        transfer, "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('pgmosaic copy'), 1)", &result, error);
    bool taken = status == MOSAIC_OK && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    if (status != MOSAIC_OK || taken)
        return status;
    error_set(error, MOSAIC_PREFLIGHT, "another copy into this cluster is running");
    error_hint(error, "wait until it is done; of one that was just killed the server may not know yet");
    return error_shard(error, transfer->to->shards[0].name);
}

mosaic_status marker_find(struct transfer *transfer, mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_status status = take_lock(transfer, error);
    if (status == MOSAIC_OK)
        status = run(transfer, "SELECT pg_catalog.to_regclass('mosaic.copy') IS NOT NULL", &result, error);
    bool there = status == MOSAIC_OK && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    if (!there)
        return status;
    result = NULL;
    status = run(transfer, "SELECT began::timestamptz(0)::text FROM mosaic.copy", &result, error);
    if (status == MOSAIC_OK && PQntuples(result))
        transfer->unfinished = arena_string(&transfer->arena, PQgetvalue(result, 0, 0));
    bool failed = status == MOSAIC_OK && PQntuples(result) && !transfer->unfinished;
    PQclear(result);
    return failed ? error_memory(error) : status;
}

static void add_list(const struct transfer *transfer, bool creates, struct buffer *sql)
{
    bool first = true;
    buffer_text(sql, "ARRAY[");
    for (size_t i = 0; i < transfer->table_count; i++) {
        struct buffer name = BUFFER_INIT(1024);
        if (transfer->tables[i].creates != creates)
            continue;
        transfer_add_name(&name, transfer->tables[i].table);
        buffer_text(sql, first ? "" : ",");
        sql_literal(sql, buffer_string(&name), name.size);
        buffer_free(&name);
        first = false;
    }
    buffer_text(sql, "]::text[]");
}

mosaic_status marker_write(struct transfer *transfer, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_text(&sql, "CREATE SCHEMA IF NOT EXISTS mosaic; CREATE TABLE IF NOT EXISTS mosaic.copy (singleton boolean"
                      " PRIMARY KEY DEFAULT true CHECK (singleton), began timestamptz NOT NULL DEFAULT now(),"
                      " created text[] NOT NULL, filled text[] NOT NULL);"
                      " INSERT INTO mosaic.copy (created, filled) VALUES (");
    add_list(transfer, true, &sql);
    buffer_text(&sql, ", ");
    add_list(transfer, false, &sql);
    buffer_char(&sql, ')');
    mosaic_status status = buffer_failed(&sql) ? error_memory(error) : run(transfer, buffer_string(&sql), NULL, error);
    buffer_free(&sql);
    return status;
}

/* Parts of loads that were cut off hold locks on the tables until they are settled. */
static mosaic_status settle(struct transfer *transfer, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct settled *found;
    size_t count = 0;
    mosaic_status status = MOSAIC_OK;
    if (transfer->to->engine == ENGINE_POSTGRES)
        status = twophase_recover(transfer->to, NULL, pq_deadline(transfer->options.timeout_ms), &arena, &found, &count,
                                  error);
    for (size_t i = 0; i < count && status == MOSAIC_OK; i++)
        if (!found[i].resolved) {
            error_set(error, MOSAIC_IN_DOUBT, "a part of an earlier load is in doubt: %s", found[i].reason);
            error_hint(error, "start every shard, then run it again");
            status = error_shard(error, found[i].shard);
        }
    arena_free(&arena);
    return status;
}

/* All tables in one statement: foreign keys between them are no hindrance. */
static mosaic_status remove_tables(struct transfer *transfer, const char *verb, const char *const *names, size_t count,
                                   mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_text(&sql, verb);
    for (size_t i = 0; i < count; i++)
        buffer_format(&sql, "%s%s", i ? ", " : " ", names[i]);
    mosaic_status status = count == 0            ? MOSAIC_OK
                           : buffer_failed(&sql) ? error_memory(error)
                                                 : transfer_on_targets(transfer, buffer_string(&sql), error);
    buffer_free(&sql);
    return status;
}

mosaic_status marker_undo(struct transfer *transfer, mosaic_error *error)
{
    PGresult *result = NULL;
    const char *const *created, *const *filled;
    size_t created_count, filled_count;
    mosaic_status status = settle(transfer, error);
    if (status == MOSAIC_OK)
        status = run(transfer, "SELECT created::text, filled::text FROM mosaic.copy", &result, error);
    if (status == MOSAIC_OK && PQntuples(result)) {
        if (!state_split_array(&transfer->arena, PQgetvalue(result, 0, 0), &created, &created_count) ||
            !state_split_array(&transfer->arena, PQgetvalue(result, 0, 1), &filled, &filled_count))
            status = error_memory(error);
        if (status == MOSAIC_OK)
            status = remove_tables(transfer, "DROP TABLE IF EXISTS", created, created_count, error);
        if (status == MOSAIC_OK)
            status = remove_tables(transfer, "TRUNCATE", filled, filled_count, error);
    }
    PQclear(result);
    return status == MOSAIC_OK ? marker_remove(transfer, error) : status;
}

mosaic_status marker_remove(struct transfer *transfer, mosaic_error *error)
{
    mosaic_error ignored;
    mosaic_status status = run(transfer, "DROP TABLE IF EXISTS mosaic.copy", NULL, error);
    /* On a cluster without a catalog of ours the schema was made for the marker; elsewhere it is not empty. */
    if (status == MOSAIC_OK && run(transfer, "DROP SCHEMA mosaic", NULL, &ignored) != MOSAIC_OK &&
        ignored.status != MOSAIC_SERVER)
        return error ? (*error = ignored, ignored.status) : ignored.status;
    return status;
}
