/*
 * The marker: mosaic.copy on the target's first shard says which tables a copy makes or fills, before it does: a row
 * for each table of each shard. It is removed by the copy's end, whatever the end is. Who finds one, and the copy's
 * lock free, knows that it was cut off.
 *
 * A name is not enough to remove a table by: somebody may have dropped ours and made his own. So its OID is written
 * down before rows come into it. A table whose OID is not known yet is ours only if it is empty.
 */
#include "catalog/state.h"
#include "catalog/twophase.h"
#include "core/sqlexpr.h"
#include "transfer/transfer.h"

#include <string.h>

enum { SQL_MOST = 16 * 1024 * 1024 };

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
    status =
        run(transfer, "SELECT min(began)::timestamptz(0)::text FROM mosaic.copy HAVING count(*) > 0", &result, error);
    if (status == MOSAIC_OK && PQntuples(result))
        transfer->unfinished = arena_string(&transfer->arena, PQgetvalue(result, 0, 0));
    bool failed = status == MOSAIC_OK && PQntuples(result) && !transfer->unfinished;
    PQclear(result);
    return failed ? error_memory(error) : status;
}

/* Runs it on the first shard, and frees it. */
static mosaic_status run_buffer(struct transfer *transfer, struct buffer *sql, PGresult **result, mosaic_error *error)
{
    mosaic_status status = buffer_failed(sql) ? error_memory(error) : run(transfer, buffer_string(sql), result, error);
    buffer_free(sql);
    return status;
}

static void add_text(struct buffer *sql, const char *text)
{
    sql_literal(sql, text, strlen(text));
}

mosaic_status marker_write(struct transfer *transfer, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    const char *separator = "";
    buffer_text(&sql,
                "CREATE SCHEMA IF NOT EXISTS mosaic; CREATE TABLE IF NOT EXISTS mosaic.copy (began timestamptz NOT"
                " NULL DEFAULT now(), shard text, name text, created boolean NOT NULL, oid oid,"
                " PRIMARY KEY (shard, name)); INSERT INTO mosaic.copy (shard, name, created) VALUES ");
    for (size_t i = 0; i < transfer->to->shard_count; i++)
        for (size_t t = 0; t < transfer->table_count; t++) {
            const char *name = transfer_name(transfer, transfer->tables[t].table);
            if (!name) {
                buffer_free(&sql);
                return error_memory(error);
            }
            buffer_format(&sql, "%s(", separator);
            add_text(&sql, transfer->to->shards[i].name);
            buffer_text(&sql, ", ");
            add_text(&sql, name);
            buffer_text(&sql, transfer->tables[t].creates ? ", true)" : ", false)");
            separator = ", ";
        }
    return run_buffer(transfer, &sql, NULL, error);
}

/* The OID of the table of a name on a shard, as text of the arena; *oid is NULL where there is none. */
static mosaic_status ask_oid(struct transfer *transfer, size_t shard, const char *name, const char **oid,
                             mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    PGresult *result = NULL;
    *oid = NULL;
    buffer_text(&sql, "SELECT pg_catalog.to_regclass(");
    add_text(&sql, name);
    buffer_text(&sql, ")::oid");
    mosaic_status status =
        buffer_failed(&sql) ? error_memory(error)
                            : pq_exec(transfer->targets[shard], transfer->to->shards[shard].name, buffer_string(&sql),
                                      pq_deadline(transfer->options.timeout_ms), &result, error);
    bool there = status == MOSAIC_OK && !PQgetisnull(result, 0, 0);
    if (there && !(*oid = arena_string(&transfer->arena, PQgetvalue(result, 0, 0))))
        status = error_memory(error);
    PQclear(result);
    buffer_free(&sql);
    return status;
}

mosaic_status marker_note(struct transfer *transfer, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < transfer->to->shard_count; i++)
        for (size_t t = 0; t < transfer->table_count && status == MOSAIC_OK; t++) {
            const char *name = transfer_name(transfer, transfer->tables[t].table), *oid = NULL;
            status = name ? ask_oid(transfer, i, name, &oid, error) : error_memory(error);
            if (!oid)
                continue;
            buffer_format(&sql, "UPDATE mosaic.copy SET oid = %s WHERE shard = ", oid);
            add_text(&sql, transfer->to->shards[i].name);
            buffer_text(&sql, " AND name = ");
            add_text(&sql, name);
            buffer_text(&sql, "; ");
        }
    if (status == MOSAIC_OK && sql.size)
        return run_buffer(transfer, &sql, NULL, error);
    buffer_free(&sql);
    return status;
}

/* ---- removing -------------------------------------------------------------------------------------------- */

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

/* A table of a shard, as the marker has it. */
struct leftover {
    const char *name, *oid; /* the OID is NULL until it was written down */
    bool created;           /* by the copy; else it was there, empty */
};

/* What one shard is told. All tables in one statement: foreign keys between them are no hindrance. */
struct removal {
    struct buffer drop, empty;
};

static mosaic_status refuse_other(struct transfer *transfer, size_t shard, const char *name, mosaic_error *error)
{
    error_set(error, MOSAIC_PREFLIGHT, "table %s is not the one of the copy that was cut off: it was made since", name);
    error_hint(error,
               "drop or rename it, and run it again; or, to keep it and all else that the copy has left, DROP TABLE "
               "mosaic.copy on shard %s",
               transfer->to->shards[0].name);
    return error_shard(error, transfer->to->shards[shard].name);
}

/* Is it still what the copy has made or filled? A table that is gone is nobody's. */
static mosaic_status judge(struct transfer *transfer, size_t shard, const struct leftover *leftover, bool *ours,
                           mosaic_error *error)
{
    const char *oid;
    bool rows = false;
    *ours = false;
    mosaic_status status = ask_oid(transfer, shard, leftover->name, &oid, error);
    if (status != MOSAIC_OK || !oid || (!leftover->oid && !leftover->created))
        return status;
    if (!leftover->oid)
        status = transfer_has_rows(transfer, shard, leftover->name, &rows, error);
    if (status == MOSAIC_OK && (leftover->oid ? strcmp(leftover->oid, oid) != 0 : rows))
        return refuse_other(transfer, shard, leftover->name, error);
    *ours = status == MOSAIC_OK;
    return status;
}

static mosaic_status plan_removal(struct transfer *transfer, size_t shard, struct removal *removal, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    PGresult *result = NULL;
    buffer_text(&sql, "SELECT name, oid, created FROM mosaic.copy WHERE shard = ");
    add_text(&sql, transfer->to->shards[shard].name);
    mosaic_status status = run_buffer(transfer, &sql, &result, error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++) {
        const struct leftover leftover = {
            .name = PQgetvalue(result, row, 0),
            .oid = PQgetisnull(result, row, 1) ? NULL : PQgetvalue(result, row, 1),
            .created = PQgetvalue(result, row, 2)[0] == 't',
        };
        struct buffer *list = leftover.created ? &removal->drop : &removal->empty;
        bool ours;
        status = judge(transfer, shard, &leftover, &ours, error);
        if (ours)
            buffer_format(list, "%s%s",
                          list->size         ? ", "
                          : leftover.created ? "DROP TABLE "
                                             : "TRUNCATE ",
                          leftover.name);
    }
    PQclear(result);
    return status;
}

static mosaic_status run_on(struct transfer *transfer, size_t shard, const struct buffer *sql, mosaic_error *error)
{
    if (buffer_failed(sql))
        return error_memory(error);
    return sql->size ? pq_exec(transfer->targets[shard], transfer->to->shards[shard].name, buffer_string(sql),
                               pq_deadline(transfer->options.timeout_ms), NULL, error)
                     : MOSAIC_OK;
}

static mosaic_status remove_tables(struct transfer *transfer, mosaic_error *error)
{
    size_t count = transfer->to->shard_count;
    struct removal *removals = arena_zeroed(&transfer->arena, count, sizeof *removals);
    mosaic_status status = removals ? MOSAIC_OK : error_memory(error);
    for (size_t i = 0; i < count && removals; i++)
        removals[i] = (struct removal){BUFFER_INIT(SQL_MOST), BUFFER_INIT(SQL_MOST)};
    for (size_t i = 0; i < count && status == MOSAIC_OK; i++)
        status = plan_removal(transfer, i, &removals[i], error);
    for (size_t i = 0; i < count && status == MOSAIC_OK; i++)
        status = run_on(transfer, i, &removals[i].drop, error);
    for (size_t i = 0; i < count && status == MOSAIC_OK; i++)
        status = run_on(transfer, i, &removals[i].empty, error);
    for (size_t i = 0; i < count && removals; i++) {
        buffer_free(&removals[i].drop);
        buffer_free(&removals[i].empty);
    }
    return status;
}

mosaic_status marker_undo(struct transfer *transfer, mosaic_error *error)
{
    mosaic_status status = settle(transfer, error);
    if (status == MOSAIC_OK)
        status = remove_tables(transfer, error);
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
