#include "../random.h"
#include "core/map.h"
#include "core/rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void the_initial_map_is_bucket_mod_shards(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    const struct map *map = map_initial(&arena, 1024, 4, 1);
    uint32_t shards = 0;
    assert_true(map_validate(map));
    assert_int_equal(map->owner[1023], 3);
    assert_int_equal(map_count(map, 2), 256);
    assert_true(map_is_initial(map, &shards));
    assert_int_equal(shards, 4);
    arena_free(&arena);
}

static void a_fifth_shard_takes_a_fifth(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    const uint32_t weights[5] = {1, 1, 1, 1, 1};
    const struct map *before = map_initial(&arena, 4096, 4, 7);
    const struct map *after = map_rebalance(&arena, before, 5, weights);
    struct map_move first;
    uint32_t shards;
    assert_true(map_validate(after));
    assert_int_equal(after->epoch, 8);
    assert_int_equal(after->shards, 5);
    /* 4096 / 5 = 819.2: one shard has 820, by the tie the first */
    assert_int_equal(map_count(after, 0), 820);
    assert_int_equal(map_count(after, 4), 819);
    assert_int_equal(map_diff(before, after, &first, 1), 819);
    assert_int_equal(first.to, 4);
    assert_int_equal(before->owner[first.bucket], first.from);
    assert_false(map_is_initial(after, &shards));
    arena_free(&arena);
}

static void a_shard_of_weight_0_is_emptied(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    const uint32_t weights[3] = {1, 0, 3}, none[3] = {0};
    const struct map *before = map_initial(&arena, 12, 3, 1);
    const struct map *after = map_rebalance(&arena, before, 3, weights);
    assert_int_equal(map_count(after, 0), 3);
    assert_int_equal(map_count(after, 1), 0);
    assert_int_equal(map_count(after, 2), 9);
    assert_null(map_rebalance(&arena, before, 3, none));
    arena_free(&arena);
}

static void what_a_catalog_could_say_wrong_is_found(void **state)
{
    (void)state;
    const uint16_t owner[4] = {0, 1, 2, 1};
    struct map map = {.epoch = 1, .buckets = 4, .shards = 3, .owner = owner};
    uint32_t shards;
    assert_true(map_validate(&map));
    assert_false(map_is_initial(&map, &shards));
    map.shards = 2;
    assert_false(map_validate(&map));
    map.shards = 3, map.epoch = 0;
    assert_false(map_validate(&map));
    map.epoch = 1, map.buckets = 0;
    assert_false(map_validate(&map));
    map.buckets = BUCKETS_MOST + 1;
    assert_false(map_validate(&map));
    map.buckets = 4, map.shards = SHARDS_MOST + 1;
    assert_false(map_validate(&map));
}

/* ---- the model: largest remainder said another way, and the fewest moves as the sum of what is missing
 * ------------------ */

enum { MODEL_SHARDS = 12 };

/* A shard gets one more than its whole part when fewer than `left` shards have a better claim. */
static void model_quotas(uint32_t *quota, uint32_t buckets, uint32_t shards, const uint32_t *weights)
{
    uint64_t total = 0, left = buckets;
    for (uint32_t s = 0; s < shards; s++)
        total += weights[s];
    for (uint32_t s = 0; s < shards; s++)
        left -= quota[s] = (uint32_t)((uint64_t)buckets * weights[s] / total);
    for (uint32_t s = 0; s < shards; s++) {
        uint64_t mine = (uint64_t)buckets * weights[s] % total, better = 0;
        for (uint32_t o = 0; o < shards; o++) {
            uint64_t theirs = (uint64_t)buckets * weights[o] % total;
            better += theirs > mine || (theirs == mine && o < s);
        }
        quota[s] += better < left;
    }
}

static void check_against_model(const struct map *before, const struct map *after, const uint32_t *weights)
{
    uint32_t quota[MODEL_SHARDS], fewest = 0;
    static struct map_move moves[2048];
    model_quotas(quota, before->buckets, after->shards, weights);
    for (uint32_t s = 0; s < after->shards; s++) {
        uint32_t had = map_count(before, s);
        assert_int_equal(map_count(after, s), quota[s]);
        fewest += quota[s] > had ? quota[s] - had : 0;
    }
    size_t count = map_diff(before, after, moves, 2048);
    assert_int_equal(count, fewest);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(moves[i].from, before->owner[moves[i].bucket]);
        assert_int_equal(moves[i].to, after->owner[moves[i].bucket]);
        assert_true(i == 0 || moves[i].bucket > moves[i - 1].bucket);
        assert_true(map_count(before, moves[i].from) > quota[moves[i].from]);
    }
}

static void random_changes_agree_with_the_model(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 200; round++) {
        struct arena arena = ARENA_INIT;
        uint32_t shards = 1 + random_below(&random, 4);
        const struct map *map = map_initial(&arena, shards * (1 + random_below(&random, 500)), shards, 1);
        for (int step = 0; step < 5; step++) {
            uint32_t weights[MODEL_SHARDS];
            shards += random_below(&random, MODEL_SHARDS - shards + 1);
            for (uint32_t s = 0; s < shards; s++)
                weights[s] = random_below(&random, 4) ? random_below(&random, 5) : UINT32_MAX;
            weights[random_below(&random, shards)] = 1;
            const struct map *after = map_rebalance(&arena, map, shards, weights);
            assert_true(map_validate(after));
            assert_int_equal(after->epoch, map->epoch + 1);
            check_against_model(map, after, weights);
            map = after;
        }
        arena_free(&arena);
    }
}

static void failed_allocations_give_no_map(void **state)
{
    (void)state;
    const uint32_t weights[2] = {1, 2};
    for (long allowed = 0; allowed < 100; allowed++) {
        struct arena arena = ARENA_INIT;
        memory_fail_after(allowed);
        const struct map *map = map_initial(&arena, 65536, 2, 1);
        const struct map *after = map ? map_rebalance(&arena, map, 2, weights) : NULL;
        memory_fail_after(-1);
        arena_free(&arena);
        if (after) {
            assert_true(allowed > 1);
            return;
        }
    }
    fail_msg("100 allocations were not enough");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_initial_map_is_bucket_mod_shards),
        cmocka_unit_test(a_fifth_shard_takes_a_fifth),
        cmocka_unit_test(a_shard_of_weight_0_is_emptied),
        cmocka_unit_test(what_a_catalog_could_say_wrong_is_found),
        cmocka_unit_test(random_changes_agree_with_the_model),
        cmocka_unit_test(failed_allocations_give_no_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
