/*
 * pgmosaic exec: which shards the SQL is for.
 */
#include "cli/context.h"
#include "cli/exec.h"
#include "cli/router.h"
#include "engine/engine.h"

#include <string.h>

enum { CONNECT_MS = 10000 };

static mosaic_status set_targets(struct exec *exec, size_t first, size_t count)
{
    exec->targets = memory_zeroed(count, sizeof *exec->targets);
    if (!exec->targets)
        return error_memory(exec->error);
    exec->count = count;
    for (size_t i = 0; i < count; i++) {
        exec->targets[i].shard = first + i;
        exec->targets[i].name = exec->model.shards[first + i].name;
    }
    return MOSAIC_OK;
}

mosaic_status exec_connect(const struct exec *exec, size_t shard, PGconn **connection, mosaic_error *error)
{
    int64_t deadline = pq_deadline(CONNECT_MS);
    return pq_connect(exec->model.shards[shard].conninfo, exec->model.shards[shard].name, "pgmosaic exec",
                      deadline < exec->deadline ? deadline : exec->deadline, connection, error);
}

static mosaic_status key_table(struct exec *exec, const char *name, const struct table **found)
{
    PGconn *catalog;
    mosaic_status status = exec_connect(exec, 0, &catalog, exec->error);
    if (status != MOSAIC_OK)
        return status;
    status = engine_of(exec->model.engine)->complete(&exec->model, catalog, exec->deadline, exec->error);
    PQfinish(catalog);
    if (status != MOSAIC_OK)
        return status;
    const struct table *table = *found = model_table(&exec->model, name);
    if (!table) {
        error_set(exec->error, MOSAIC_NOT_FOUND, "%s has no table %s", exec->model.source, name);
        error_hint(exec->error, "name it below tables: there, then run pgmosaic apply");
        return MOSAIC_NOT_FOUND;
    }
    if (table->kind == TABLE_REFERENCE)
        return error_set(exec->error, MOSAIC_USAGE, "%s is a reference table and has no key: use --all, or --shard",
                         table->display);
    if (table->map)
        return MOSAIC_OK;
    error_set(exec->error, MOSAIC_PREFLIGHT, "table %s has no map yet", table->display);
    error_hint(exec->error, "run pgmosaic apply");
    return MOSAIC_PREFLIGHT;
}

static mosaic_status target_of_key(struct exec *exec, const char *table_name, const char *key)
{
    const struct table *table;
    uint32_t bucket;
    mosaic_status status = key_table(exec, table_name, &table);
    if (status != MOSAIC_OK)
        return status;
    struct router router = {.rule = &table->rule};
    struct key_slice slice = {(const unsigned char *)key, strlen(key)};
    for (size_t i = 0; i < table->column_count; i++)
        router.columns[i] = table->columns[i];
    status = router_bucket(&router, &slice, &bucket, exec->error);
    arena_free(&router.scratch);
    return status == MOSAIC_OK ? set_targets(exec, table->map->owner[bucket], 1) : status;
}

static mosaic_status target_named(struct exec *exec, const char *name)
{
    size_t shard = model_shard(&exec->model, name);
    if (shard != SIZE_MAX)
        return set_targets(exec, shard, 1);
    error_set(exec->error, MOSAIC_NOT_FOUND, "%s has no shard %s", exec->model.source, name);
    error_hint(exec->error, "pgmosaic status lists the shards");
    return MOSAIC_NOT_FOUND;
}

mosaic_status exec_choose_targets(struct exec *exec)
{
    const struct invocation *invocation = exec->invocation;
    const char *shard = invocation_option(invocation, "shard"), *table = invocation_option(invocation, "table");
    const char *key = invocation_option(invocation, "key");
    bool all = invocation_has(invocation, "all");
    if (all + (shard != NULL) + (table || key) != 1 || !table != !key) {
        error_set(exec->error, MOSAIC_USAGE, "say where to run it: --table TABLE --key KEY, --shard NAME, or --all");
        error_hint(exec->error,
                   "--key runs it on the shard that owns the key, --shard on the one named, --all on every one");
        return MOSAIC_USAGE;
    }
    mosaic_status status = context_model(invocation, &exec->model, exec->error);
    if (status != MOSAIC_OK)
        return status;
    exec->has_model = true;
    return all     ? set_targets(exec, 0, exec->model.shard_count)
           : shard ? target_named(exec, shard)
                   : target_of_key(exec, table, key);
}
