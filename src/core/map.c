#include "core/map.h"

#include "core/rule.h"

#include <string.h>

static struct map *new_map(struct arena *arena, uint32_t buckets, uint32_t shards, uint64_t epoch, uint16_t **owner)
{
    struct map *map = arena_allocate(arena, sizeof *map);
    *owner = arena_allocate(arena, (size_t)buckets * sizeof **owner);
    if (!map || !*owner)
        return NULL;
    *map = (struct map){.epoch = epoch, .buckets = buckets, .shards = shards, .owner = *owner};
    return map;
}

const struct map *map_initial(struct arena *arena, uint32_t buckets, uint32_t shards, uint64_t epoch)
{
    uint16_t *owner;
    struct map *map = new_map(arena, buckets, shards, epoch, &owner);
    if (!map)
        return NULL;
    for (uint32_t b = 0; b < buckets; b++)
        owner[b] = (uint16_t)(b % shards);
    return map;
}

bool map_is_initial(const struct map *map, uint32_t *shards_with_buckets)
{
    uint32_t count = 0;
    while (count < map->buckets && map->owner[count] == count)
        count++;
    if (count == 0)
        return false;
    for (uint32_t b = count; b < map->buckets; b++) {
        if (map->owner[b] != b % count)
            return false;
    }
    *shards_with_buckets = count;
    return true;
}

bool map_validate(const struct map *map)
{
    if (map->epoch == 0 || map->buckets == 0 || map->buckets > BUCKETS_MOST)
        return false;
    if (map->shards == 0 || map->shards > SHARDS_MOST || !map->owner)
        return false;
    for (uint32_t b = 0; b < map->buckets; b++) {
        if (map->owner[b] >= map->shards)
            return false;
    }
    return true;
}

uint32_t map_parts(const struct map *map, uint16_t part_of_shard[SHARDS_MOST])
{
    uint16_t parts = 0;
    for (size_t shard = 0; shard < SHARDS_MOST; shard++)
        part_of_shard[shard] = MAP_NO_PART;
    for (uint32_t b = 0; b < map->buckets; b++)
        if (part_of_shard[map->owner[b]] == MAP_NO_PART)
            part_of_shard[map->owner[b]] = parts++;
    return parts;
}

uint32_t map_count(const struct map *map, uint32_t shard)
{
    uint32_t count = 0;
    for (uint32_t b = 0; b < map->buckets; b++)
        count += map->owner[b] == shard;
    return count;
}

size_t map_diff(const struct map *before, const struct map *after, struct map_move *moves, size_t capacity)
{
    size_t count = 0;
    for (uint32_t b = 0; b < before->buckets && b < after->buckets; b++) {
        if (before->owner[b] == after->owner[b])
            continue;
        if (count < capacity)
            moves[count] = (struct map_move){.bucket = b, .from = before->owner[b], .to = after->owner[b]};
        count++;
    }
    return count;
}

/*
 * How many buckets each shard shall own: the whole part of its proportion, then one more for the largest remainders,
 * ties to the lower index (Hamilton's method). Remainders are exact: buckets * weight fits 64 bits.
 */
static void quotas(uint32_t *quota, uint64_t *remainder, uint32_t buckets, uint32_t shards, const uint32_t *weights,
                   uint64_t total)
{
    uint32_t given = 0;
    for (uint32_t s = 0; s < shards; s++) {
        uint64_t share = (uint64_t)buckets * weights[s];
        quota[s] = (uint32_t)(share / total);
        remainder[s] = share % total;
        given += quota[s];
    }
    for (; given < buckets; given++) {
        uint32_t best = 0;
        for (uint32_t s = 1; s < shards; s++) {
            if (remainder[s] > remainder[best])
                best = s;
        }
        quota[best]++;
        remainder[best] = 0;
    }
}

/* Gives each bucket of a shard that has too many to the first shard that has too few. */
static void move_surplus(uint16_t *owner, uint32_t buckets, uint32_t *quota)
{
    uint32_t needy = 0;
    for (uint32_t b = 0; b < buckets; b++) {
        if (quota[owner[b]] > 0)
            quota[owner[b]]--;
        else
            owner[b] = UINT16_MAX;
    }
    for (uint32_t b = 0; b < buckets; b++) {
        if (owner[b] != UINT16_MAX)
            continue;
        while (quota[needy] == 0)
            needy++;
        quota[needy]--;
        owner[b] = (uint16_t)needy;
    }
}

const struct map *map_rebalance(struct arena *arena, const struct map *before, uint32_t shards, const uint32_t *weights)
{
    uint32_t room = shards > before->shards ? shards : before->shards;
    uint64_t total = 0;
    for (uint32_t s = 0; s < shards; s++)
        total += weights[s];
    if (total == 0)
        return NULL;
    uint16_t *owner;
    struct map *after = new_map(arena, before->buckets, shards, before->epoch + 1, &owner);
    uint32_t *quota = arena_zeroed(arena, room, sizeof *quota);
    uint64_t *remainder = arena_zeroed(arena, room, sizeof *remainder);
    if (!after || !quota || !remainder)
        return NULL;
    memcpy(owner, before->owner, before->buckets * sizeof *owner);
    quotas(quota, remainder, before->buckets, shards, weights, total);
    move_surplus(owner, before->buckets, quota);
    return after;
}
