#include "transfer/transfer.h"

#include "base/control_point.h"
#include "catalog/preflight.h"

#include <stdlib.h>
#include <string.h>

enum { LOOK_MS = 60000 };

/* ---- which tables ---------------------------------------------------------------------------------------- */

static bool is_chosen(const struct transfer *transfer, const struct table *table)
{
    if (!transfer->options.table_count)
        return true;
    for (size_t i = 0; i < transfer->options.table_count; i++)
        if (model_table(transfer->to, transfer->options.tables[i]) == table)
            return true;
    return false;
}

static mosaic_status check_names(const struct transfer *transfer, mosaic_error *error)
{
    for (size_t i = 0; i < transfer->options.table_count; i++) {
        const char *typed = transfer->options.tables[i];
        if (model_table(transfer->to, typed))
            continue;
        error_set(error, MOSAIC_NOT_FOUND, "%s has no table %s", transfer->to->source, typed);
        return error_hint(error, "name it below tables: there: the copy spreads it as that config says");
    }
    return MOSAIC_OK;
}

static const struct table *table_of_source(const struct transfer *transfer, const struct table *table)
{
    for (size_t i = 0; i < transfer->from->table_count; i++)
        if (strcmp(transfer->from->tables[i].schema, table->schema) == 0 &&
            strcmp(transfer->from->tables[i].name, table->name) == 0)
            return &transfer->from->tables[i];
    return NULL;
}

/* A table that no rule spreads is whole on a source of one database; on one of several it is anybody's guess. */
static void judge_source(struct transfer *transfer, const struct table *table, const struct table *source)
{
    bool one = transfer->source_count == 1;
    if (source && (source->map || source->kind == TABLE_REFERENCE || one))
        return;
    if (!source && one)
        return;
    finding_add(&transfer->findings, true, "", table->display, "add it there and run pgmosaic apply, or leave it out",
                "%s does not say how it is spread over the %zu shards there", transfer->from->source,
                transfer->source_count);
}

/* ---- looking ---------------------------------------------------------------------------------------------- */

static mosaic_status read_facts(struct transfer *transfer, PGconn *connection, const char *name,
                                struct shard_facts *facts, mosaic_error *error)
{
    const struct model *to = transfer->to;
    struct table_name *names = arena_zeroed(&transfer->arena, to->table_count, sizeof *names);
    if (!names)
        return error_memory(error);
    for (size_t i = 0; i < to->table_count; i++)
        names[i] = (struct table_name){to->tables[i].schema, to->tables[i].name, to->tables[i].display};
    return introspect_shard(connection, name, names, to->table_count, pq_deadline(LOOK_MS), &transfer->arena, facts,
                            error);
}

static bool same_columns(const struct table_facts *a, const struct table_facts *b)
{
    if (a->column_count != b->column_count)
        return false;
    for (size_t i = 0; i < a->column_count; i++) {
        const struct column_facts *other = facts_column(b, a->columns[i].name);
        if (!other || strcmp(other->type, a->columns[i].type) != 0 || other->generated != a->columns[i].generated)
            return false;
    }
    return true;
}

/* What the target has of the table: nothing, or an empty one like the source's, on all shards alike. */
static mosaic_status judge_target(struct transfer *transfer, struct transfer_table *table, size_t at,
                                  const struct shard_facts *targets, mosaic_error *error)
{
    const struct table *to = table->table;
    const char *name = transfer_name(transfer, to);
    size_t there = 0;
    if (!name)
        return error_memory(error);
    for (size_t i = 0; i < transfer->to->shard_count; i++) {
        const struct table_facts *facts = &targets[i].tables[at];
        const char *shard = transfer->to->shards[i].name;
        bool rows = false;
        if (!facts->exists)
            continue;
        there++;
        mosaic_status status = transfer_has_rows(transfer, i, name, &rows, error);
        if (status != MOSAIC_OK)
            return status;
        if (rows)
            finding_add(&transfer->findings, true, shard, to->display, "empty it, or leave it out: copy never mixes",
                        "the target's table has rows");
        else if (!same_columns(table->facts, facts))
            finding_add(&transfer->findings, true, shard, to->display, "drop it: copy makes it as it is on the source",
                        "the target's table has other columns than the source's");
    }
    table->creates = there == 0;
    if (there && there < transfer->to->shard_count)
        finding_add(&transfer->findings, true, "", to->display, "drop it there, or make it on all shards",
                    "only %zu of the target's %zu shards have it", there, transfer->to->shard_count);
    return MOSAIC_OK;
}

/* The source's columns must be alike on all of its nodes: rows are read as the first one says. */
static mosaic_status compare_sources(struct transfer *transfer, const struct shard_facts *first, mosaic_error *error)
{
    for (size_t i = 1; i < transfer->source_count; i++) {
        struct shard_facts facts;
        mosaic_status status =
            read_facts(transfer, transfer->sources[i].connection, transfer->sources[i].name, &facts, error);
        if (status != MOSAIC_OK)
            return status;
        for (size_t t = 0; t < transfer->table_count; t++) {
            size_t at = (size_t)(transfer->tables[t].table - transfer->to->tables);
            if (!same_columns(&first->tables[at], &facts.tables[at]))
                finding_add(&transfer->findings, true, transfer->sources[i].name, transfer->tables[t].table->display,
                            "make them alike: pgmosaic exec --all", "its columns are others than on shard %s",
                            transfer->sources[0].name);
        }
    }
    return MOSAIC_OK;
}

/* Could the source's tables, with all their constraints, be spread as the target's config says? */
static mosaic_status judge_tables(struct transfer *transfer, const struct shard_facts *source, mosaic_error *error)
{
    struct model *to = transfer->to;
    const struct shard_facts **facts = arena_zeroed(&transfer->arena, to->shard_count, sizeof *facts);
    bool *known = arena_zeroed(&transfer->arena, to->table_count, sizeof *known);
    struct findings all = {.arena = &transfer->arena};
    if (!facts || !known)
        return error_memory(error);
    facts[0] = source;
    preflight_tables(to, facts, known, &all);
    for (size_t i = 0; i < all.count; i++)
        for (size_t t = 0; t < transfer->table_count; t++)
            if (strcmp(all.list[i].table, transfer->tables[t].table->display) == 0)
                finding_add(&transfer->findings, all.list[i].fatal, "", all.list[i].table, all.list[i].fix,
                            "on the source: %s", all.list[i].what);
    return MOSAIC_OK;
}

static mosaic_status choose_tables(struct transfer *transfer, const struct shard_facts *source, mosaic_error *error)
{
    struct model *to = transfer->to;
    transfer->tables = arena_zeroed(&transfer->arena, to->table_count, sizeof *transfer->tables);
    if (!transfer->tables)
        return error_memory(error);
    for (size_t i = 0; i < to->table_count; i++) {
        const struct table *table = &to->tables[i], *there = table_of_source(transfer, table);
        bool named = transfer->options.table_count > 0;
        if (!is_chosen(transfer, table) || (!source->tables[i].exists && !named && !there))
            continue;
        if (!source->tables[i].exists) {
            finding_add(&transfer->findings, true, "", table->display, "correct its name, or leave it out",
                        "the source has no such table");
            continue;
        }
        judge_source(transfer, table, there);
        transfer->tables[transfer->table_count++] = (struct transfer_table){
            .table = table,
            .facts = &source->tables[i],
            .everywhere = there && there->kind == TABLE_REFERENCE,
        };
    }
    if (!transfer->table_count && !transfer->findings.fatal)
        finding_add(&transfer->findings, true, "", "", "name the tables in the target's config",
                    "%s and %s have no table in common", transfer->from->source, to->source);
    return MOSAIC_OK;
}

mosaic_status transfer_look(struct transfer *transfer, mosaic_error *error)
{
    const struct model *to = transfer->to;
    struct shard_facts source, *targets = arena_zeroed(&transfer->arena, to->shard_count, sizeof *targets);
    transfer->findings.arena = &transfer->arena;
    if (!targets)
        return error_memory(error);
    mosaic_status status = check_names(transfer, error);
    if (status == MOSAIC_OK)
        status = transfer_open_sources(transfer, error);
    if (status == MOSAIC_OK)
        status = transfer_open_targets(transfer, error);
    if (status == MOSAIC_OK)
        status = read_facts(transfer, transfer->sources[0].connection, transfer->sources[0].name, &source, error);
    for (size_t i = 0; i < to->shard_count && status == MOSAIC_OK; i++)
        status = read_facts(transfer, transfer->targets[i], to->shards[i].name, &targets[i], error);
    if (status == MOSAIC_OK)
        status = choose_tables(transfer, &source, error);
    if (status == MOSAIC_OK)
        status = compare_sources(transfer, &source, error);
    if (status == MOSAIC_OK)
        status = judge_tables(transfer, &source, error);
    if (status == MOSAIC_OK)
        status = marker_find(transfer, error);
    for (size_t i = 0; i < transfer->table_count && status == MOSAIC_OK && !transfer->unfinished; i++)
        status = judge_target(transfer, &transfer->tables[i], (size_t)(transfer->tables[i].table - to->tables), targets,
                              error);
    finding_merge(&transfer->findings);
    return status == MOSAIC_OK && transfer->findings.failed ? error_memory(error) : status;
}

/* ---- doing ------------------------------------------------------------------------------------------------- */

/* All nodes begin as close together as can be; each is consistent in itself. pg_dump sees what the first one sees.
 * Rows that a policy hides from this role are an error, as they are for pg_dump: they would be missing unseen. */
static mosaic_status take_snapshots(struct transfer *transfer, mosaic_error *error)
{
    static const char sql[] = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0;"
                              " SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL row_security = off;"
                              " SELECT pg_catalog.now()";
    PGresult *result = NULL;
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < transfer->source_count && status == MOSAIC_OK; i++)
        status = pq_exec(transfer->sources[i].connection, transfer->sources[i].name, sql,
                         pq_deadline(transfer->options.timeout_ms), NULL, error);
    if (status == MOSAIC_OK)
        status = pq_exec(transfer->sources[0].connection, transfer->sources[0].name,
                         "SELECT pg_catalog.pg_export_snapshot()", pq_deadline(LOOK_MS), &result, error);
    if (status == MOSAIC_OK) {
        transfer->snapshot = arena_string(&transfer->arena, PQgetvalue(result, 0, 0));
        status = transfer->snapshot ? MOSAIC_OK : error_memory(error);
    }
    PQclear(result);
    return status;
}

static mosaic_status copy(struct transfer *transfer, mosaic_error *error)
{
    bool equal = true;
    control_point("copy.marked");
    transfer_say(transfer, "definitions: by pg_dump, spread as %s says", transfer->to->source);
    mosaic_status status = take_snapshots(transfer, error);
    if (status == MOSAIC_OK)
        status = schema_create(transfer, error);
    control_point("copy.created");
    if (status == MOSAIC_OK)
        status = rows_copy(transfer, error);
    control_point("copy.rows");
    if (status == MOSAIC_OK) {
        transfer_say(transfer, "indexes, constraints, sequences");
        status = schema_finish(transfer, error);
    }
    control_point("copy.finished");
    if (status == MOSAIC_OK) {
        transfer_say(transfer, "verifying");
        status = transfer_verify(transfer, &equal, error);
    }
    if (status == MOSAIC_OK && !equal) {
        error_set(error, MOSAIC_DATA, "the target's rows are not the source's");
        error_hint(error, "did somebody write to the target meanwhile? what was copied is removed: copy again");
        status = MOSAIC_DATA;
    }
    return status;
}

/* Removes what was made, on new connections: the old ones may be in the middle of anything. */
static void undo(struct transfer *transfer, mosaic_error *error)
{
    mosaic_error second = {0};
    pq_hold_interrupts(true);
    for (size_t i = 0; i < transfer->to->shard_count; i++)
        PQfinish(transfer->targets[i]);
    mosaic_status status = transfer_open_targets(transfer, &second);
    if (status == MOSAIC_OK)
        status = marker_undo(transfer, &second);
    pq_hold_interrupts(false);
    if (!error)
        return;
    if (status == MOSAIC_OK)
        error_detail(error, "what the copy had made on the target is removed");
    else
        error_detail(error, "what the copy had made on the target could not be removed yet: %s", second.message);
    if (status != MOSAIC_OK)
        error_hint(error, "once the target is up, run the copy again, or with --abort: it is removed then");
}

mosaic_status transfer_do(struct transfer *transfer, mosaic_error *error)
{
    mosaic_status status = marker_write(transfer, error);
    if (status != MOSAIC_OK)
        return status;
    status = copy(transfer, error);
    if (status == MOSAIC_OK)
        return marker_remove(transfer, error);
    undo(transfer, error);
    return status;
}

mosaic_status transfer_abort(struct transfer *transfer, bool *removed, mosaic_error *error)
{
    *removed = transfer->unfinished != NULL;
    return *removed ? marker_undo(transfer, error) : MOSAIC_OK;
}

void transfer_close(struct transfer *transfer)
{
    for (size_t i = 0; i < transfer->source_count; i++)
        PQfinish(transfer->sources[i].connection);
    for (size_t i = 0; transfer->targets && i < transfer->to->shard_count; i++)
        PQfinish(transfer->targets[i]);
    arena_free(&transfer->arena);
}
