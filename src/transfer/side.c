/* The two sides of a copy: connections, snapshots, and the small SQL that all steps share. */
#include "catalog/catalog.h"
#include "core/sqlexpr.h"
#include "engine/engine.h"
#include "transfer/transfer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CONNECT_MS = 10000, LOOK_MS = 60000, NAME_MOST = 1024 };

void transfer_say(const struct transfer *transfer, const char *format, ...)
{
    char line[2048];
    va_list arguments;
    if (!transfer->options.say)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    transfer->options.say(transfer->options.context, line);
}

void transfer_add_name(struct buffer *sql, const struct table *table)
{
    sql_qualified(sql, table->schema, table->name);
}

const char *transfer_name(struct transfer *transfer, const struct table *table)
{
    struct buffer name = BUFFER_INIT(NAME_MOST);
    transfer_add_name(&name, table);
    const char *text = buffer_failed(&name) ? NULL : arena_string(&transfer->arena, buffer_string(&name));
    buffer_free(&name);
    return text;
}

mosaic_status transfer_has_rows(struct transfer *transfer, size_t shard, const char *name, bool *rows,
                                mosaic_error *error)
{
    /* Citus reads the subquery before it looks: it must have a column, and end at the first row. */
    const char *sql =
        arena_format(&transfer->arena, "SET LOCAL row_security = off; SELECT EXISTS (SELECT 1 FROM %s LIMIT 1)", name);
    PGresult *result = NULL;
    if (!sql)
        return error_memory(error);
    mosaic_status status =
        pq_exec(transfer->targets[shard], transfer->to->shards[shard].name, sql, pq_deadline(LOOK_MS), &result, error);
    if (status == MOSAIC_OK)
        *rows = PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    return status;
}

mosaic_status transfer_on_targets(struct transfer *transfer, const char *sql, mosaic_error *error)
{
    for (size_t i = 0; i < transfer->to->shard_count; i++) {
        mosaic_status status = pq_exec(transfer->targets[i], transfer->to->shards[i].name, sql,
                                       pq_deadline(transfer->options.timeout_ms), NULL, error);
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}

/*
 * One PostgreSQL that nothing was ever applied to is a source as it stands. Of several nothing would be known: a row
 * may stand on two of them, or a shard may be missing from the config.
 */
static mosaic_status complete_source(struct transfer *transfer, mosaic_error *error)
{
    struct model *from = transfer->from;
    PGconn *first = transfer->sources[0].connection;
    mosaic_error local;
    mosaic_status status = engine_of(from->engine)->complete(from, first, pq_deadline(LOOK_MS), &local);
    if (status == MOSAIC_PREFLIGHT && from->engine == ENGINE_POSTGRES && from->shard_count == 1)
        return MOSAIC_OK;
    if (status == MOSAIC_OK)
        return engine_of(from->engine)->check_owners(from, first, pq_deadline(LOOK_MS), error);
    if (error)
        *error = local;
    return status;
}

mosaic_status transfer_open_sources(struct transfer *transfer, mosaic_error *error)
{
    struct model *from = transfer->from;
    transfer->sources = arena_zeroed(&transfer->arena, from->shard_count, sizeof *transfer->sources);
    if (!transfer->sources)
        return error_memory(error);
    for (size_t i = 0; i < from->shard_count; i++) {
        struct transfer_source *source = &transfer->sources[i];
        uint64_t epoch;
        source->name = from->shards[i].name;
        mosaic_status status = pq_connect(from->shards[i].conninfo, source->name, "pgmosaic copy",
                                          pq_deadline(CONNECT_MS), &source->connection, error);
        if (status != MOSAIC_OK)
            return status;
        transfer->source_count = i + 1;
        if (i == 0)
            status = complete_source(transfer, error);
        if (status == MOSAIC_OK && (from->epoch || from->engine == ENGINE_CITUS))
            status =
                engine_of(from->engine)->check_shard(from, i, source->connection, pq_deadline(LOOK_MS), &epoch, error);
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}

mosaic_status transfer_open_targets(struct transfer *transfer, mosaic_error *error)
{
    const struct model *to = transfer->to;
    transfer->targets = arena_zeroed(&transfer->arena, to->shard_count, sizeof *transfer->targets);
    if (!transfer->targets)
        return error_memory(error);
    for (size_t i = 0; i < to->shard_count; i++) {
        mosaic_status status = pq_connect(to->shards[i].conninfo, to->shards[i].name, "pgmosaic copy",
                                          pq_deadline(CONNECT_MS), &transfer->targets[i], error);
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}
