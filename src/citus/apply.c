#include "citus/apply.h"

#include "base/control_point.h"
#include "citus/nodes.h"
#include "citus/steps.h"
#include "core/sqlexpr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A step writes tables anew: it has all the time there is, and can be interrupted. */
enum { STEP_MS = INT32_MAX };

struct citus_apply {
    struct arena arena;
    struct apply_options options;
    struct model *model;
    PGconn *connection;
    struct table_name *names;
    struct shard_facts facts;
    struct citus_table *tables;
    int64_t *rows;
    struct citus_answers answers;
    uint32_t default_shards;
    struct findings findings;
    struct citus_steps steps;
    struct buffer plan;
};

static const char *coordinator(const struct citus_apply *apply)
{
    return apply->model->shards[0].name;
}

/* One statement's only value, as text in the arena; NULL when it has none. */
static mosaic_status ask(struct citus_apply *apply, const char *sql, const char **value, mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_status status =
        pq_exec(apply->connection, coordinator(apply), sql, pq_deadline(apply->options.look_ms), &result, error);
    *value = NULL;
    if (status == MOSAIC_OK && PQntuples(result) && !PQgetisnull(result, 0, 0)) {
        *value = arena_string(&apply->arena, PQgetvalue(result, 0, 0));
        status = *value ? MOSAIC_OK : error_memory(error);
    }
    PQclear(result);
    return status;
}

static mosaic_status take_lock(struct citus_apply *apply, mosaic_error *error)
{
    const char *taken;
    mosaic_status status =
        ask(apply, "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('pgmosaic apply'), 1)", &taken, error);
    if (status != MOSAIC_OK || (taken && *taken == 't'))
        return status;
    error_set(error, MOSAIC_PREFLIGHT, "another apply is running on this cluster");
    error_hint(error, "wait until it is done, then run apply again");
    return error_shard(error, coordinator(apply));
}

/* Rows of tables that are to be distributed, for the plan. A table that can't be read is found out by its step. */
static mosaic_status count_rows(struct citus_apply *apply, mosaic_error *error)
{
    for (size_t i = 0; i < apply->model->table_count; i++) {
        const struct table_facts *facts = &apply->facts.tables[i];
        struct buffer sql = BUFFER_INIT(4096);
        const char *count = NULL;
        apply->rows[i] = -1;
        if (!apply->options.read_rows || apply->tables[i].distributed || !facts->exists || !strchr("rp", facts->kind))
            continue;
        buffer_text(&sql, "SELECT count(*) FROM ");
        sql_qualified(&sql, apply->model->tables[i].schema, apply->model->tables[i].name);
        mosaic_status status =
            buffer_failed(&sql) ? error_memory(error) : ask(apply, buffer_string(&sql), &count, error);
        buffer_free(&sql);
        if (status != MOSAIC_OK && status != MOSAIC_SERVER)
            return status;
        if (status == MOSAIC_OK && count)
            apply->rows[i] = atoll(count);
    }
    return MOSAIC_OK;
}

static mosaic_status read_cluster(struct citus_apply *apply, mosaic_error *error)
{
    const struct model *model = apply->model;
    const char *shards = NULL;
    mosaic_status status = citus_read(apply->model, apply->connection, pq_deadline(apply->options.look_ms),
                                      &apply->arena, &apply->tables, error);
    for (size_t i = 0; i < model->table_count; i++)
        apply->names[i] = (struct table_name){model->tables[i].schema, model->tables[i].name, model->tables[i].display};
    if (status == MOSAIC_OK)
        status = introspect_shard(apply->connection, "", apply->names, model->table_count,
                                  pq_deadline(apply->options.look_ms), &apply->arena, &apply->facts, error);
    if (status == MOSAIC_OK)
        status = ask(apply, "SHOW citus.shard_count", &shards, error);
    if (status == MOSAIC_OK && shards)
        apply->default_shards = (uint32_t)atol(shards);
    return status == MOSAIC_OK ? count_rows(apply, error) : status;
}

static mosaic_status look(struct citus_apply *apply, mosaic_error *error)
{
    const struct shard *shard = &apply->model->shards[0];
    mosaic_status status = pq_connect(shard->conninfo, shard->name, "pgmosaic apply",
                                      pq_deadline(apply->options.connect_ms), &apply->connection, error);
    if (status == MOSAIC_OK)
        status = citus_check_coordinator(apply->model, apply->connection, pq_deadline(apply->options.look_ms), error);
    if (status == MOSAIC_OK && apply->options.lock)
        status = take_lock(apply, error);
    if (status == MOSAIC_OK)
        status = read_cluster(apply, error);
    if (status != MOSAIC_OK)
        return status;
    const struct citus_input input = {apply->model, apply->tables, &apply->facts, apply->rows, apply->default_shards};
    status = citus_steps_make(&input, &apply->arena, &apply->steps, &apply->findings, error);
    if (status == MOSAIC_OK)
        status = citus_ask_nodes(apply->model, apply->connection, pq_deadline(apply->options.look_ms), &apply->arena,
                                 &apply->answers, error);
    /* Every change of a table's distribution is made on all nodes. */
    if (status == MOSAIC_OK)
        citus_judge_nodes(apply->model, &apply->answers, apply->steps.count > 0, &apply->findings);
    for (size_t i = 0; i < apply->steps.count; i++)
        buffer_format(&apply->plan, "%s\n", apply->steps.list[i].line);
    bool failed = apply->findings.failed || buffer_failed(&apply->plan);
    return status == MOSAIC_OK && failed ? error_memory(error) : status;
}

mosaic_status citus_apply_look(struct model *model, const struct apply_options *options, struct citus_apply **result,
                               mosaic_error *error)
{
    struct citus_apply *apply = memory_zeroed(1, sizeof *apply);
    *result = NULL;
    if (!apply)
        return error_memory(error);
    apply->options = *options;
    apply->model = model;
    apply->findings.arena = &apply->arena;
    apply->plan = (struct buffer)BUFFER_INIT(16 * 1024 * 1024);
    apply->names = arena_zeroed(&apply->arena, model->table_count, sizeof *apply->names);
    apply->rows = arena_zeroed(&apply->arena, model->table_count, sizeof *apply->rows);
    mosaic_status status = apply->names && apply->rows ? look(apply, error) : error_memory(error);
    if (status == MOSAIC_OK)
        *result = apply;
    else
        citus_apply_close(apply);
    return status;
}

const struct findings *citus_apply_findings(const struct citus_apply *apply)
{
    return &apply->findings;
}

const char *citus_apply_plan(const struct citus_apply *apply)
{
    return buffer_string(&apply->plan);
}

PGconn *citus_apply_connection(const struct citus_apply *apply)
{
    return apply->connection;
}

const struct citus_answers *citus_apply_answers(const struct citus_apply *apply)
{
    return &apply->answers;
}

/* ---- doing -------------------------------------------------------------------------------------------- */

/* The old rows still take room on the coordinator, where no query sees them. Citus refuses to drop them where a foreign
 * key of a local table needs them: then they stay. */
static void drop_old_rows(struct citus_apply *apply, const struct citus_step *step, apply_say_fn say, void *context)
{
    int64_t rows = apply->rows[step->table - apply->model->tables];
    struct buffer sql = BUFFER_INIT(8192), line = BUFFER_INIT(8192);
    mosaic_error ignored;
    if (!step->creates || rows == 0)
        return;
    /* The step's own argument: SELECT pg_catalog.create_…_table('schema.name' … */
    const char *name = strchr(step->sql, '(') + 1;
    size_t size = strcspn(name, ",)");
    buffer_format(&sql, "SELECT pg_catalog.truncate_local_data_after_distributing_table(%.*s)", (int)size, name);
    if (!buffer_failed(&sql) && pq_exec(apply->connection, coordinator(apply), buffer_string(&sql),
                                        pq_deadline(STEP_MS), NULL, &ignored) != MOSAIC_OK) {
        buffer_format(&line, "%s: its rows as they were before still take disk on the coordinator: %s",
                      step->table->display, ignored.message);
        if (say && !buffer_failed(&line))
            say(context, buffer_string(&line));
    }
    buffer_free(&line);
    buffer_free(&sql);
}

mosaic_status citus_apply_do(struct citus_apply *apply, apply_say_fn say, void *context, mosaic_error *error)
{
    for (size_t i = 0; i < apply->steps.count; i++) {
        const struct citus_step *step = &apply->steps.list[i];
        control_point("citus.apply.step");
        mosaic_status status =
            pq_exec(apply->connection, coordinator(apply), step->sql, pq_deadline(STEP_MS), NULL, error);
        if (status != MOSAIC_OK) {
            if (error) {
                error_prefix(error, "table %s", step->table->display);
                if (!*error->hint)
                    error_hint(error, "%s; apply goes on with what is left when it is run again",
                               i ? "the steps before it are done and stay" : "nothing was changed");
            }
            return status;
        }
        if (say)
            say(context, step->line);
        drop_old_rows(apply, step, say, context);
    }
    return MOSAIC_OK;
}

void citus_apply_close(struct citus_apply *apply)
{
    if (!apply)
        return;
    PQfinish(apply->connection);
    buffer_free(&apply->plan);
    arena_free(&apply->arena);
    memory_free(apply);
}
