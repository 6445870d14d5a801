#include "catalog/health.h"

#include "catalog/apply_steps.h"
#include "catalog/copies.h"
#include "catalog/parallel.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MOST = 64 * 1024 };

struct counting {
    struct health *health;
    int look_ms;
};

/* Stops counting at the most that is counted: the time does not grow with the table. */
static mosaic_status count_rows(PGconn *connection, const struct table *table, const char *shard, int64_t deadline,
                                int64_t *rows, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    PGresult *result = NULL;
    buffer_text(&sql, "SELECT count(*) FROM (SELECT FROM ");
    sql_qualified(&sql, table->schema, table->name);
    buffer_format(&sql, " LIMIT %d) x", HEALTH_COUNTED_MOST + 1);
    mosaic_status status = buffer_failed(&sql)
                               ? error_memory(error)
                               : pq_exec(connection, shard, buffer_string(&sql), deadline, &result, error);
    if (status == MOSAIC_OK)
        *rows = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    buffer_free(&sql);
    return status;
}

static void count_on_shard(void *context, size_t at)
{
    const struct counting *counting = context;
    struct health *health = counting->health;
    struct apply_shard *shard = &health->apply->shards[at];
    int64_t deadline = pq_deadline(counting->look_ms);
    for (size_t i = 0; i < health->model->table_count && shard->status == MOSAIC_OK; i++) {
        const struct table_facts *facts = &shard->facts.tables[i];
        struct health_rows *rows = &health->rows[i * health->model->shard_count + at];
        int64_t estimate = facts->estimated_rows < 0 ? -1 : (int64_t)facts->estimated_rows;
        mosaic_error error;
        if (!facts->exists || (facts->kind != 'r' && facts->kind != 'p'))
            continue;
        *rows = (struct health_rows){estimate, true};
        int64_t counted = 0;
        mosaic_status status = count_rows(shard->connection, &health->model->tables[i], health->model->shards[at].name,
                                          deadline, &counted, &error);
        if (status == MOSAIC_OK && counted <= HEALTH_COUNTED_MOST)
            *rows = (struct health_rows){counted, false};
        else if (status == MOSAIC_OK && estimate < counted)
            rows->rows = counted; /* at least so many */
        else if (status != MOSAIC_OK && status != MOSAIC_SERVER)
            return; /* the deadline passed: what is left stays estimated */
    }
}

static void find_epoch(struct health *health)
{
    const struct apply *apply = health->apply;
    health->has_catalog_shard = apply->shards[apply->catalog_shard].status == MOSAIC_OK;
    health->applied = apply->has_state;
    health->epoch = apply->has_state ? apply->state.epoch : 0;
    for (size_t i = 0; !apply->has_state && i < health->model->shard_count; i++) {
        const struct shard_identity *identity = &apply->shards[i].identity;
        health->applied |= identity->present && identity->epoch;
        if (identity->present && identity->epoch > health->epoch)
            health->epoch = identity->epoch;
    }
}

static void find_problems(struct health *health)
{
    const struct findings *findings = apply_findings(health->apply);
    const struct difference *difference = apply_difference(health->apply);
    for (size_t i = 0; i < findings->count; i++)
        if (findings->list[i].fatal)
            finding_add(&health->problems, true, findings->list[i].shard, findings->list[i].table,
                        findings->list[i].fix, "%s", findings->list[i].what);
    if (!health->applied && health->has_catalog_shard)
        finding_add(&health->problems, true, "", "", "pgmosaic apply", "nothing was applied yet");
    const char *line = health->applied ? buffer_string(&difference->plan) : "";
    while (*line) {
        size_t size = strcspn(line, "\n");
        finding_add(&health->problems, true, "", "", "pgmosaic apply", "not applied: %.*s", (int)size, line);
        line += size + 1;
    }
    for (size_t i = 0; i < health->model->shard_count; i++) {
        const struct shard_facts *facts = health->shards[i].facts;
        if (facts && facts->prepared_old)
            finding_add(&health->problems, true, facts->shard, "", "pgmosaic doctor",
                        "%" PRIu64 " transactions are in doubt for more than a minute", facts->prepared_old);
    }
}

mosaic_status health_look(struct model *model, int connect_ms, int look_ms, struct health *health, mosaic_error *error)
{
    const struct apply_options options = {
        .coordinator = APPLY_COORDINATOR_LOOK, .connect_ms = connect_ms, .look_ms = look_ms};
    *health = (struct health){.model = model};
    health->problems.arena = &health->arena;
    health->shards = arena_zeroed(&health->arena, model->shard_count, sizeof *health->shards);
    health->rows = arena_zeroed(&health->arena, model->shard_count * model->table_count, sizeof *health->rows);
    if (!health->shards || !health->rows)
        return error_memory(error);
    for (size_t i = 0; i < model->shard_count * model->table_count; i++)
        health->rows[i].rows = -1;
    mosaic_status status = apply_look(model, &options, &health->apply, error);
    if (status != MOSAIC_OK)
        return status;
    parallel_run(model->shard_count, count_on_shard, &(struct counting){health, look_ms});
    for (size_t i = 0; i < model->shard_count; i++) {
        const struct apply_shard *shard = &health->apply->shards[i];
        bool reachable = shard->status == MOSAIC_OK;
        health->shards[i] = (struct health_shard){reachable, reachable ? &shard->facts : NULL, shard->error};
    }
    health->coordinator = apply_coordinator(health->apply);
    find_epoch(health);
    find_problems(health);
    copies_compare(health, look_ms);
    return health->problems.failed ? error_memory(error) : MOSAIC_OK;
}

const struct health_rows *health_rows(const struct health *health, size_t table, size_t shard)
{
    return &health->rows[table * health->model->shard_count + shard];
}

void health_free(struct health *health)
{
    apply_close(health->apply);
    arena_free(&health->arena);
    *health = (struct health){0};
}
