/*
 * Definitions, by pg_dump: its first part (tables, defaults, sequences) before the rows, its last (indexes,
 * constraints, triggers) behind them. What is the source cluster's own, the constraint mosaic_owner, is left out.
 */
#include "base/control_point.h"
#include "catalog/parallel.h"
#include "core/script.h"
#include "core/sqlexpr.h"
#include "engine/engine.h"
#include "pq/dump.h"
#include "transfer/transfer.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DUMP_MOST = 64 * 1024 * 1024, DUMP_MS = 600000, OPTIONS_MOST = 20 };

/* ---- asking pg_dump ----------------------------------------------------------------------------------- */

/* A pattern of pg_dump that matches this table alone. */
static const char *pattern(struct transfer *transfer, const struct table *table)
{
    return arena_format(&transfer->arena, "\"%s\".\"%s\"", table->schema, table->name);
}

static mosaic_status dump(struct transfer *transfer, const char *section, struct buffer *text, mosaic_error *error)
{
    const char **options = arena_zeroed(&transfer->arena, OPTIONS_MOST + 2 * transfer->table_count, sizeof *options);
    size_t count = 0, wanted = 0;
    if (!options)
        return error_memory(error);
    options[count++] = "--no-owner";
    options[count++] = "--no-privileges";
    options[count++] = "--no-publications";
    options[count++] = "--no-subscriptions";
    options[count++] = "--no-tablespaces";
    options[count++] = "--section";
    options[count++] = section;
    options[count++] = "--snapshot";
    options[count++] = transfer->snapshot;
    for (size_t i = 0; i < transfer->table_count; i++) {
        if (!transfer->tables[i].creates)
            continue;
        wanted++;
        options[count++] = "--table";
        options[count++] = pattern(transfer, transfer->tables[i].table);
        if (!options[count - 1])
            return error_memory(error);
    }
    if (!wanted)
        return MOSAIC_OK;
    return pq_dump(transfer->from->shards[0].conninfo, options, DUMP_MS, transfer->options.interrupted, text, error);
}

/* ---- what it says, made fit for the target --------------------------------------------------------------- */

static bool begins(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

/* The constraint as pg_dump writes it, one line within CREATE TABLE; and its comment. */
static bool is_ours(const char *line)
{
    return begins(line, "    CONSTRAINT mosaic_owner CHECK ") || begins(line, "COMMENT ON CONSTRAINT mosaic_owner ON ");
}

/* Of psql, not of SQL: since 15.14 a dump begins and ends with one. */
static bool is_of_psql(const char *line)
{
    return begins(line, "\\restrict ") || begins(line, "\\unrestrict ");
}

static mosaic_status fit(const struct buffer *dumped, struct buffer *sql, mosaic_error *error)
{
    const char *text = buffer_string(dumped);
    size_t kept = 0; /* size of sql before the newline of the last line that was kept */
    while (*text) {
        size_t size = strcspn(text, "\n");
        bool newline = text[size] == '\n';
        if (is_ours(text) && begins(text, "    ") && text[size - 1] != ',' && kept && sql->data[kept - 1] == ',') {
            /* it was the last of its list */
            sql->size = kept - 1;
            buffer_char(sql, '\n');
        } else if (!is_ours(text) && !is_of_psql(text)) {
            buffer_add(sql, text, size);
            kept = sql->size;
            buffer_char(sql, '\n');
        }
        text += size + newline;
    }
    return buffer_failed(sql) ? error_memory(error) : MOSAIC_OK;
}

/* ---- running it on the target ---------------------------------------------------------------------------- */

struct running {
    struct transfer *transfer;
    const struct buffer *sql;
    mosaic_status *statuses; /* of each shard */
    mosaic_error *errors;
};

/*
 * One statement after the other: Citus hands a change on to its workers as the text that came, and that may hold one
 * statement only. Of a dump's settings search_path would stay and hide the tables from what comes behind.
 */
static void run_on_target(void *context, size_t at)
{
    struct running *running = context;
    struct transfer *transfer = running->transfer;
    struct script script = script_start(buffer_string(running->sql), running->sql->size);
    struct statement statement;
    mosaic_status status;
    int timeout_ms = transfer->options.timeout_ms;
    const char *shard = transfer->to->shards[at].name;
    while ((status = script_next(&script, &statement, &running->errors[at])) == MOSAIC_OK && statement.size) {
        struct buffer text = BUFFER_INIT(DUMP_MOST);
        buffer_add(&text, statement.text, statement.size);
        status = buffer_failed(&text) ? error_memory(&running->errors[at])
                                      : pq_exec(transfer->targets[at], shard, buffer_string(&text),
                                                pq_deadline(timeout_ms), NULL, &running->errors[at]);
        buffer_free(&text);
        if (status != MOSAIC_OK)
            break;
    }
    if (status == MOSAIC_OK)
        status =
            pq_exec(transfer->targets[at], shard, "RESET ALL", pq_deadline(timeout_ms), NULL, &running->errors[at]);
    running->statuses[at] = status;
}

static mosaic_status run_on_targets(struct transfer *transfer, const struct buffer *sql, mosaic_error *error)
{
    size_t count = transfer->to->shard_count;
    struct running running = {
        .transfer = transfer,
        .sql = sql,
        .statuses = arena_zeroed(&transfer->arena, count, sizeof *running.statuses),
        .errors = arena_zeroed(&transfer->arena, count, sizeof *running.errors),
    };
    if (!running.statuses || !running.errors)
        return error_memory(error);
    parallel_run(count, run_on_target, &running);
    for (size_t i = 0; i < count; i++)
        if (running.statuses[i] != MOSAIC_OK) {
            if (error)
                *error = running.errors[i];
            return running.statuses[i];
        }
    return MOSAIC_OK;
}

static mosaic_status run_dump(struct transfer *transfer, const char *section, mosaic_error *error)
{
    struct buffer dumped = BUFFER_INIT(DUMP_MOST), sql = BUFFER_INIT(DUMP_MOST);
    mosaic_status status = dump(transfer, section, &dumped, error);
    /* Citus changes shards in parallel unless told; foreign keys to reference tables forbid that. */
    if (status == MOSAIC_OK && transfer->to->engine == ENGINE_CITUS && strstr(buffer_string(&dumped), "FOREIGN KEY"))
        buffer_text(&sql, "SET citus.multi_shard_modify_mode = 'sequential';\n");
    if (status == MOSAIC_OK)
        status = fit(&dumped, &sql, error);
    if (status == MOSAIC_OK)
        status = run_on_targets(transfer, &sql, error);
    buffer_free(&sql);
    buffer_free(&dumped);
    return status;
}

/* ---- the steps ------------------------------------------------------------------------------------------ */

static mosaic_status refuse_findings(const struct findings *findings, mosaic_error *error)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        if (!finding->fatal)
            continue;
        error_set(error, MOSAIC_PREFLIGHT, "the target cannot spread table %s: %s", finding->table, finding->what);
        return error_hint(error, "%s", finding->fix);
    }
    return MOSAIC_OK;
}

static mosaic_status spread(struct transfer *transfer, enum apply_coordinator coordinator, mosaic_error *error)
{
    const struct engine *engine = engine_of(transfer->to->engine);
    const struct apply_options look = {
        .coordinator = coordinator, .lock = true, .connect_ms = 10000, .look_ms = transfer->options.timeout_ms};
    struct apply_view view;
    void *apply = NULL;
    mosaic_status status = engine->look(transfer->to, &look, &apply, error);
    if (status != MOSAIC_OK)
        return status;
    engine->view(apply, &view);
    status = refuse_findings(view.findings, error);
    if (status == MOSAIC_OK && !view.is_empty)
        status = engine->carry_out(apply, NULL, NULL, error);
    engine->close(apply);
    return status;
}

mosaic_status schema_create(struct transfer *transfer, mosaic_error *error)
{
    struct buffer schemas = BUFFER_INIT(1024 * 1024);
    for (size_t i = 0; i < transfer->table_count; i++) {
        const char *schema = transfer->tables[i].table->schema;
        if (!transfer->tables[i].creates || strcmp(schema, "public") == 0)
            continue;
        buffer_text(&schemas, "CREATE SCHEMA IF NOT EXISTS ");
        sql_identifier(&schemas, schema);
        buffer_char(&schemas, ';');
    }
    mosaic_status status = buffer_failed(&schemas) ? error_memory(error)
                           : schemas.size          ? transfer_on_targets(transfer, buffer_string(&schemas), error)
                                                   : MOSAIC_OK;
    buffer_free(&schemas);
    if (status == MOSAIC_OK)
        status = run_dump(transfer, "pre-data", error);
    control_point("copy.made");
    if (status == MOSAIC_OK)
        status = marker_note(transfer, error);
    return status == MOSAIC_OK ? spread(transfer, APPLY_COORDINATOR_NOT, error) : status;
}

mosaic_status schema_finish(struct transfer *transfer, mosaic_error *error)
{
    mosaic_status status = run_dump(transfer, "post-data", error);
    if (status == MOSAIC_OK)
        status = sequences_set(transfer, error);
    /* Constraints that came with the last part are judged as those of any table are. */
    return status == MOSAIC_OK ? spread(transfer, APPLY_COORDINATOR_PLAN, error) : status;
}
