/* What another number of shards would move. */
#include "client/cluster.h"

#include <string.h>

static mosaic_status plan(const struct table *table, size_t shards, uint16_t *owners, size_t capacity,
                          mosaic_error *error)
{
    if (table->listed_owners)
        return error_set(error, MOSAIC_UNSUPPORTED, "table %s: the config names the shard of each %s of it itself",
                         table->display, function_name(table->rule.function));
    struct arena arena = ARENA_INIT;
    size_t known = shards > table->map->shards ? shards : table->map->shards;
    uint32_t *weights = arena_zeroed(&arena, known, sizeof *weights);
    for (size_t shard = 0; weights && shard < shards; shard++)
        weights[shard] = 1;
    const struct map *after = weights ? map_rebalance(&arena, table->map, (uint32_t)known, weights) : NULL;
    if (after)
        memcpy(owners, after->owner, (capacity < after->buckets ? capacity : after->buckets) * sizeof *owners);
    arena_free(&arena);
    return after ? MOSAIC_OK : error_memory(error);
}

mosaic_status mosaic_plan_shards(mosaic_cluster *cluster, const char *table_name, size_t shards, uint16_t *owners,
                                 size_t capacity, size_t *buckets, mosaic_error *error)
{
    if (!cluster || !buckets || (capacity && !owners))
        return error_set(error, MOSAIC_USAGE, "mosaic_plan_shards: a cluster and room for the answer are needed");
    if (shards == 0 || shards > SHARDS_MOST)
        return error_set(error, MOSAIC_USAGE, "a cluster has 1 to %d shards, not %zu", SHARDS_MOST, shards);
    struct snapshot *snapshot = cluster_snapshot(cluster);
    const struct table *table = NULL;
    mosaic_status status = cluster_sharded_table(&snapshot->model, table_name, &table, error);
    if (status == MOSAIC_OK)
        *buckets = table->map->buckets;
    if (status == MOSAIC_OK && capacity)
        status = plan(table, shards, owners, capacity, error);
    snapshot_release(snapshot);
    return status;
}
