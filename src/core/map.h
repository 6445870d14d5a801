/*
 * The map: bucket → shard, with an epoch that grows at each change. A value: made in an arena, never changed
 * afterwards.
 */
#ifndef MOSAIC_CORE_MAP_H
#define MOSAIC_CORE_MAP_H

#include "base/memory.h"
#include "pgmosaic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHARDS_MOST = 1024 };

struct map {
    uint64_t epoch;
    uint32_t buckets;
    uint32_t shards;       /* how many there are; owner[b] < shards */
    const uint16_t *owner; /* of each bucket: the shard's index */
};

/* bucket mod shards: the textbook's rule, and PostgreSQL's own MODULUS for a power of two. NULL when memory is out. */
const struct map *map_initial(struct arena *arena, uint32_t buckets, uint32_t shards, uint64_t epoch);
/* True when every bucket b is owned by b mod shards_with_buckets, the first shards_with_buckets shards. */
bool map_is_initial(const struct map *map, uint32_t *shards_with_buckets);
/* Is every owner in range, the epoch > 0, the bucket count in bounds? For debug builds, tests, and what a catalog says.
 */
bool map_validate(const struct map *map);
/* How many buckets the shard owns. */
uint32_t map_count(const struct map *map, uint32_t shard);

enum { MAP_NO_PART = 0xFFFF };
/*
 * The parts of a map: all buckets of one owner are a part, numbered in the order of their lowest bucket, so that the
 * order of the shards does not matter. part_of_shard gets the number of each shard's part, MAP_NO_PART for a shard
 * without buckets. Returns how many parts there are.
 */
uint32_t map_parts(const struct map *map, uint16_t part_of_shard[SHARDS_MOST]);

/* A bucket that changes its owner. */
struct map_move {
    uint32_t bucket;
    uint16_t from, to;
};

/* The moves from one map to another of the same bucket count, ascending by bucket. Returns how many; writes up to
 * capacity. */
size_t map_diff(const struct map *before, const struct map *after, struct map_move *moves, size_t capacity);
/*
 * The map after a change of shards and weights, by the fewest moves: shard s shall own buckets in proportion to
 * weights[s] (0: none), by largest remainder, ties to the lower index. A bucket moves only from a shard that has too
 * many. Deterministic. Its epoch is one higher. `shards` may be larger than before; a shard is removed by weight 0.
 * NULL when memory is out or every weight is 0.
 */
const struct map *map_rebalance(struct arena *arena, const struct map *before, uint32_t shards,
                                const uint32_t *weights);

#endif
