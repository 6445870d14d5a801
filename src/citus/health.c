#include "citus/health.h"

#include "citus/metadata.h"
#include "core/sqlexpr.h"

#include <stdlib.h>
#include <string.h>

enum { COUNTED_MOST = 1000000, SQL_MOST = 16 * 1024 };

static struct citus_rows *rows_of(const struct citus_health *health, size_t table, size_t node)
{
    return &health->rows[table * health->model->node_count + node];
}

static size_t node_of(const struct model *model, const char *host, int port)
{
    for (size_t i = 0; i < model->node_count; i++)
        if (model->nodes[i].port == port && strcmp(model->nodes[i].host, host) == 0)
            return i;
    return SIZE_MAX;
}

/* Each placement counts itself, up to a bound: the time does not grow with the table. */
static mosaic_status count_table(struct citus_health *health, size_t at, PGconn *coordinator, int64_t deadline,
                                 mosaic_error *error)
{
    const struct table *table = &health->model->tables[at];
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    PGresult *result = NULL;
    buffer_text(&sql, "SELECT nodename, nodeport, success, result FROM pg_catalog.run_command_on_placements(");
    citus_add_relation(&sql, table);
    buffer_format(&sql, "::regclass, 'SELECT count(*) FROM (SELECT FROM %%s LIMIT %d) x')", COUNTED_MOST + 1);
    mosaic_status status = buffer_failed(&sql) ? error_memory(error)
                                               : pq_exec(coordinator, health->model->shards[0].name,
                                                         buffer_string(&sql), deadline, &result, error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++) {
        size_t node = node_of(health->model, PQgetvalue(result, row, 0), atoi(PQgetvalue(result, row, 1)));
        struct citus_rows *rows = node == SIZE_MAX ? NULL : rows_of(health, at, node);
        int64_t counted = atoll(PQgetvalue(result, row, 3));
        if (!rows)
            continue;
        if (PQgetvalue(result, row, 2)[0] != 't')
            rows->rows = -1;
        else if (rows->rows >= 0)
            rows->rows += counted > COUNTED_MOST ? COUNTED_MOST : counted;
        rows->at_least |= counted > COUNTED_MOST;
    }
    PQclear(result);
    buffer_free(&sql);
    return status;
}

/* Placements and rows of the tables that are distributed as the config says. */
static mosaic_status count(struct citus_health *health, PGconn *coordinator, int look_ms, mosaic_error *error)
{
    const struct model *model = health->model;
    health->rows = arena_zeroed(&health->arena, model->table_count * model->node_count + 1, sizeof *health->rows);
    health->placements = arena_zeroed(&health->arena, model->node_count + 1, sizeof *health->placements);
    if (!health->rows || !health->placements)
        return error_memory(error);
    for (size_t at = 0; at < model->table_count; at++) {
        const struct table *table = &model->tables[at];
        mosaic_error ignored;
        if (!table->citus)
            continue;
        for (uint32_t i = 0; i < table->citus->count && table->kind == TABLE_SHARDED; i++)
            health->placements[table->citus->nodes[i]]++;
        mosaic_status status = count_table(health, at, coordinator, pq_deadline(look_ms), &ignored);
        if (status == MOSAIC_INTERRUPTED || status == MOSAIC_MEMORY)
            return error ? (*error = ignored, status) : status;
        for (size_t node = 0; status != MOSAIC_OK && node < model->node_count; node++)
            rows_of(health, at, node)->rows = -1;
    }
    return MOSAIC_OK;
}

/* A move that Citus tries again and again. */
static const char stuck_sql[] =
    "SELECT t.job_id, t.retry_count, coalesce(t.message, ''), coalesce(t.not_before::timestamptz(0)::text, 'now')"
    " FROM pg_catalog.pg_dist_background_task t JOIN pg_catalog.pg_dist_background_job j USING (job_id)"
    " WHERE j.state IN ('scheduled', 'running') AND t.status = 'runnable' AND t.retry_count > 0 ORDER BY t.task_id "
    "LIMIT 1";

/* Reference tables that lack a copy on an active node; the next rebalance makes them. */
static const char missing_sql[] =
    "SELECT s.logicalrelid::text, n.nodename || ':' || n.nodeport"
    " FROM pg_catalog.pg_dist_partition p JOIN pg_catalog.pg_dist_shard s USING (logicalrelid)"
    " CROSS JOIN pg_catalog.pg_dist_node n WHERE p.partmethod = 'n' AND p.repmodel = 't' AND n.isactive"
    " AND n.noderole = 'primary' AND n.shouldhaveshards AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_placement l"
    " WHERE l.shardid = s.shardid AND l.groupid = n.groupid) ORDER BY 1, 2 LIMIT 20";

static mosaic_status check_jobs(struct citus_health *health, PGconn *coordinator, int look_ms, mosaic_error *error)
{
    struct findings *problems = &health->problems;
    const char *shard = health->model->shards[0].name;
    PGresult *result = NULL;
    mosaic_status status = pq_exec(coordinator, shard, stuck_sql, pq_deadline(look_ms), &result, error);
    if (status == MOSAIC_OK && PQntuples(result)) {
        const char *message = PQgetvalue(result, 0, 2);
        finding_add(problems, true, "", "", "remove the cause, or stop it: pgmosaic rebalance --stop",
                    "background job %s is stuck: tried %s times, next at %s: %.*s", PQgetvalue(result, 0, 0),
                    PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 3), (int)strcspn(message, "\n"), message);
    }
    PQclear(result);
    if (status != MOSAIC_OK)
        return status;
    status = pq_exec(coordinator, shard, missing_sql, pq_deadline(look_ms), &result, error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++)
        finding_add(problems, true, finding_text(problems, "%s", PQgetvalue(result, row, 1)),
                    finding_text(problems, "%s", PQgetvalue(result, row, 0)), "pgmosaic rebalance",
                    "the reference table has no copy there yet");
    PQclear(result);
    return status;
}

static void take_findings(struct citus_health *health)
{
    const struct findings *findings = citus_apply_findings(health->apply);
    struct findings *problems = &health->problems;
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        finding_add(problems, finding->fatal, finding->shard, finding->table, finding->fix, "%s", finding->what);
    }
    if (*citus_apply_plan(health->apply))
        finding_add(problems, true, "", "", "pgmosaic apply --dry-run shows it, pgmosaic apply does it",
                    "the config is not applied");
}

mosaic_status citus_health_look(struct model *model, int connect_ms, int look_ms, struct citus_health *health,
                                mosaic_error *error)
{
    const struct apply_options options = {.connect_ms = connect_ms, .look_ms = look_ms};
    mosaic_error ignored;
    *health = (struct citus_health){.arena = ARENA_INIT, .model = model};
    health->problems.arena = &health->arena;
    mosaic_status status = citus_apply_look(model, &options, &health->apply, error);
    if (status != MOSAIC_OK)
        return status;
    PGconn *coordinator = citus_apply_connection(health->apply);
    health->answers = *citus_apply_answers(health->apply);
    take_findings(health);
    /* What differs from the config is a finding already. */
    status = citus_complete(model, coordinator, pq_deadline(look_ms), &ignored);
    if (status == MOSAIC_INTERRUPTED || status == MOSAIC_MEMORY)
        return error ? (*error = ignored, status) : status;
    status = count(health, coordinator, look_ms, error);
    if (status == MOSAIC_OK)
        status = check_jobs(health, coordinator, look_ms, error);
    finding_merge(&health->problems);
    return status == MOSAIC_OK && health->problems.failed ? error_memory(error) : status;
}

void citus_health_free(struct citus_health *health)
{
    citus_apply_close(health->apply);
    arena_free(&health->arena);
}
