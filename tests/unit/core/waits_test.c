#include "../random.h"
#include "core/waits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const shards[] = {"s0", "s1", "s2", "s3"};

static void edge(struct waits *waits, size_t shard, uint64_t waiter, uint64_t blocker)
{
    waits_add_edge(waits, &(struct waits_edge){.waiter = {shard, waiter},
                                               .blocker = {shard, blocker},
                                               .since = 7,
                                               .what = "ShareLock on transaction 733"});
}

static void name(struct waits *waits, size_t shard, uint64_t process, uint64_t number)
{
    waits_add_name(waits, (struct waits_process){shard, process}, WAITS_NUMBER, number);
}

static size_t find(const struct waits *waits, struct arena *arena, struct waits_victim **victims)
{
    size_t count;
    assert_true(waits_find(waits, waits, shards, arena, victims, &count));
    return count;
}

/* Ends the look. */
static void expect_victims(struct waits *waits, const uint64_t *numbers, size_t count)
{
    struct arena arena = ARENA_INIT;
    struct waits_victim *victims;
    assert_int_equal(find(waits, &arena, &victims), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(victims[i].number, numbers[i]);
    arena_free(&arena);
    waits_free(waits);
}

/* 1 has 12 on s0 and 17 on s1; 2 has 31 and 44. */
static struct waits two(void)
{
    struct waits waits = WAITS_INIT;
    edge(&waits, 0, 12, 31);
    edge(&waits, 1, 44, 17);
    name(&waits, 0, 12, 1);
    name(&waits, 1, 17, 1);
    name(&waits, 0, 31, 2);
    name(&waits, 1, 44, 2);
    return waits;
}

static void the_younger_of_two_is_ended(void **state)
{
    (void)state;
    struct waits waits = two();
    struct arena arena = ARENA_INIT;
    struct waits_victim *victims;
    assert_int_equal(find(&waits, &arena, &victims), 1);
    assert_int_equal(victims->number, 2);
    assert_int_equal(victims->process.shard, 1);
    assert_int_equal(victims->process.id, 44);
    assert_string_equal(victims->detail,
                        "Process 44 of shard s1, of the same transaction as process 31 of shard s0, waits for "
                        "ShareLock on transaction 733; blocked by process 17 of shard s1.\n"
                        "Process 12 of shard s0, of the same transaction as process 17 of shard s1, waits for "
                        "ShareLock on transaction 733; blocked by process 31 of shard s0.");
    arena_free(&arena);
    waits_free(&waits);
}

static void who_is_not_named_is_not_ended(void **state)
{
    (void)state;
    struct waits waits = WAITS_INIT;
    edge(&waits, 0, 12, 31);
    edge(&waits, 1, 44, 17);
    name(&waits, 0, 12, 1);
    name(&waits, 1, 17, 1);
    expect_victims(&waits, NULL, 0); /* nobody says that 31 and 44 are one */
}

static void what_one_look_has_not_does_not_count(void **state)
{
    (void)state;
    struct waits first = two(), second = two();
    struct arena arena = ARENA_INIT;
    struct waits_victim *victims;
    size_t count;
    second.edges[0].since++; /* it waits again */
    assert_true(waits_find(&first, &second, shards, &arena, &victims, &count));
    assert_int_equal(count, 0);
    second.edges[0].since--;
    second.edge_count--;
    assert_true(waits_find(&first, &second, shards, &arena, &victims, &count));
    assert_int_equal(count, 0);
    second.edge_count++;
    assert_true(waits_find(&first, &second, shards, &arena, &victims, &count));
    assert_int_equal(count, 1);
    arena_free(&arena);
    waits_free(&first);
    waits_free(&second);
}

static void a_cycle_within_a_shard_is_left_alone(void **state)
{
    (void)state;
    struct waits waits = WAITS_INIT;
    edge(&waits, 0, 12, 31);
    edge(&waits, 0, 31, 12);
    name(&waits, 0, 12, 1);
    name(&waits, 1, 17, 1);
    name(&waits, 0, 31, 2);
    expect_victims(&waits, NULL, 0);
}

static void a_way_through_others_is_a_cycle(void **state)
{
    (void)state;
    struct waits waits = two();
    waits.edges[0].blocker.id = 99; /* which nobody knows, and waits for 31 */
    edge(&waits, 0, 99, 31);
    expect_victims(&waits, (const uint64_t[]){2}, 1);
}

static void a_transaction_that_waits_for_itself(void **state)
{
    (void)state;
    struct waits waits = WAITS_INIT;
    edge(&waits, 0, 12, 31);
    name(&waits, 0, 12, 5);
    name(&waits, 0, 31, 5);
    expect_victims(&waits, (const uint64_t[]){5}, 1);
}

static void two_cycles_have_two_victims_and_a_common_one_is_enough(void **state)
{
    (void)state;
    struct waits apart = two(), common = two();
    edge(&apart, 2, 50, 60);
    edge(&apart, 3, 61, 51);
    for (uint64_t i = 0; i < 2; i++) {
        name(&apart, 2 + i, 50 + i, 3);
        name(&apart, 2 + i, 60 + i, 4);
    }
    expect_victims(&apart, (const uint64_t[]){2, 4}, 2);
    edge(&common, 0, 70, 31); /* 0 waits for 2, and 2 for 0 */
    edge(&common, 2, 32, 71);
    name(&common, 0, 70, 900);
    name(&common, 2, 71, 900);
    name(&common, 2, 32, 2);
    /* The youngest first; the other cycle still stands. */
    expect_victims(&common, (const uint64_t[]){900, 2}, 2);
}

static void who_commits_is_ended_last(void **state)
{
    (void)state;
    struct waits waits = WAITS_INIT;
    /* 9 is prepared on s0, and decides on s1, where it waits for 2. */
    edge(&waits, 0, 12, 0);
    waits.edges[0].blocker = (struct waits_process){WAITS_PREPARED, 77};
    edge(&waits, 1, 44, 17);
    waits_add_name(&waits, (struct waits_process){1, 44}, WAITS_COMMIT, 77);
    name(&waits, 0, 12, 2);
    name(&waits, 1, 17, 2);
    name(&waits, 1, 44, 9);
    expect_victims(&waits, (const uint64_t[]){2}, 1);
}

/* ---- against a model ---- */

enum { PROCESSES = 7, NUMBERS = 9 };

/* Transaction t has process t on each shard. Does `from` wait for `to`, directly or by others that are there? */
static bool waits_for(const struct waits *waits, const bool *is_gone, uint64_t from, uint64_t to)
{
    bool reached[NUMBERS] = {false};
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < waits->edge_count; i++) {
            uint64_t a = waits->edges[i].waiter.id, b = waits->edges[i].blocker.id;
            if (is_gone[a] || is_gone[b] || reached[b] || (a != from && !reached[a]))
                continue;
            reached[b] = more = true;
        }
    }
    return reached[to];
}

static void at_random(void **state)
{
    struct random random = random_start();
    (void)state;
    for (int turn = 0; turn < 20000; turn++) {
        struct waits waits = WAITS_INIT;
        struct arena arena = ARENA_INIT;
        struct waits_victim *victims;
        bool is_gone[NUMBERS] = {false};
        for (uint32_t i = random_below(&random, 10); i > 0; i--) {
            uint64_t waiter = 1 + random_below(&random, PROCESSES), blocker = 1 + random_below(&random, PROCESSES);
            size_t shard = waiter % 4; /* each waits on one shard alone: no cycle is within a shard, but of equals */
            if (waiter % 4 != blocker % 4)
                edge(&waits, shard, waiter, blocker);
        }
        for (size_t shard = 0; shard < 4; shard++)
            for (uint64_t i = 1; i <= PROCESSES; i++)
                name(&waits, shard, i, i);
        size_t count = find(&waits, &arena, &victims);
        for (size_t i = 0; i < count; i++) {
            assert_true(waits_for(&waits, is_gone, victims[i].number, victims[i].number));
            for (uint64_t other = victims[i].number + 1; other <= PROCESSES; other++) /* none younger in its cycles */
                assert_false(waits_for(&waits, is_gone, victims[i].number, other) &&
                             waits_for(&waits, is_gone, other, victims[i].number));
            is_gone[victims[i].number] = true;
        }
        for (uint64_t i = 1; i <= PROCESSES; i++)
            assert_false(!is_gone[i] && waits_for(&waits, is_gone, i, i));
        arena_free(&arena);
        waits_free(&waits);
    }
}

static void memory_may_be_out(void **state)
{
    (void)state;
    bool done = false;
    for (long after = 0; !done; after++) {
        struct arena arena = ARENA_INIT;
        struct waits_victim *victims;
        size_t count;
        memory_fail_after(after);
        struct waits waits = two();
        done = !waits.failed && waits_find(&waits, &waits, shards, &arena, &victims, &count) && count == 1;
        memory_fail_after(-1);
        waits_free(&waits);
        arena_free(&arena);
        assert_true(after < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_younger_of_two_is_ended),
        cmocka_unit_test(who_is_not_named_is_not_ended),
        cmocka_unit_test(what_one_look_has_not_does_not_count),
        cmocka_unit_test(a_cycle_within_a_shard_is_left_alone),
        cmocka_unit_test(a_way_through_others_is_a_cycle),
        cmocka_unit_test(a_transaction_that_waits_for_itself),
        cmocka_unit_test(two_cycles_have_two_victims_and_a_common_one_is_enough),
        cmocka_unit_test(who_commits_is_ended_last),
        cmocka_unit_test(at_random),
        cmocka_unit_test(memory_may_be_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
