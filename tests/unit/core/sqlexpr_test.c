/* That the expressions give the buckets which C gives is shown on PostgreSQL: tests/integration/test_hash.py. */
#include "../random.h"
#include "core/sqlexpr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const columns[] = {"id", "\"Name\"", "c"};

static void expect_owned(const struct rule *rule, const struct map *map, uint32_t shard, const char *expected)
{
    struct buffer sql = BUFFER_INIT(1 << 20);
    sql_owned(&sql, rule, columns, map, shard);
    assert_string_equal(buffer_string(&sql), expected);
    buffer_free(&sql);
}

static void expect_bucket(const struct rule *rule, const char *expected)
{
    struct buffer sql = BUFFER_INIT(1 << 20);
    sql_bucket(&sql, rule, columns);
    assert_string_equal(buffer_string(&sql), expected);
    buffer_free(&sql);
}

/* What stands in constraints on shards: a change here makes doctor report every one of them as different. */
static void the_constraints_of_a_fresh_cluster(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct rule rule = {.function = FUNCTION_MODULO, .buckets = 1024, .columns = 1, .types = {KEY_INT8}};
    const struct map *four = map_initial(&arena, 1024, 4, 1), *three = map_initial(&arena, 1536, 3, 1);
    expect_owned(&rule, four, 2, "id IS NOT NULL AND (id & 3) = 2");
    expect_bucket(&rule, "(id & 1023)");
    rule.buckets = 1536;
    expect_owned(&rule, three, 2, "id IS NOT NULL AND ((id % 3 + 3) % 3) = 2");
    rule.function = FUNCTION_HASH, rule.buckets = 4096;
    four = map_initial(&arena, 4096, 4, 1);
    expect_owned(&rule, four, 0, "id IS NOT NULL AND (hashint8extended(id, 8816678312871386365) & 3) = 1");
    expect_bucket(&rule, "(((hashint8extended(id, 8816678312871386365) & 4095) + 2275) & 4095)");
    rule.columns = 2, rule.types[1] = KEY_TEXT;
    three = map_initial(&arena, 4096, 1, 1);
    expect_owned(&rule, three, 0, "id IS NOT NULL AND \"Name\" IS NOT NULL");
    expect_owned(&rule, three, 1, "id IS NOT NULL AND \"Name\" IS NOT NULL AND false");
    arena_free(&arena);
}

static void a_moved_map_is_a_bitmap(void **state)
{
    (void)state;
    const uint16_t owner[10] = {0, 1, 1, 0, 0, 0, 0, 0, 1, 0};
    struct map map = {.epoch = 2, .buckets = 10, .shards = 2, .owner = owner};
    struct rule rule = {.function = FUNCTION_MODULO, .buckets = 10, .columns = 1, .types = {KEY_INT8}};
    expect_owned(&rule, &map, 1, "id IS NOT NULL AND get_bit(E'\\\\x0601'::bytea, ((id % 10 + 10) % 10)) = 1");
}

static void ranges_and_lists_say_their_bounds(void **state)
{
    (void)state;
    static const char *const texts[] = {"10", "20", "it's"};
    struct rule rule = {
        .function = FUNCTION_RANGE, .buckets = 3, .columns = 1, .types = {KEY_INT4}, .bound_texts = texts};
    const uint16_t owner[3] = {0, 1, 0};
    struct map map = {.epoch = 1, .buckets = 3, .shards = 2, .owner = owner};
    expect_bucket(&rule, "width_bucket(id, ARRAY['10', '20']::integer[])");
    expect_owned(&rule, &map, 0, "id IS NOT NULL AND (id < '10' OR id >= '20')");
    expect_owned(&rule, &map, 1, "id IS NOT NULL AND (id >= '10' AND id < '20')");
    rule.types[0] = KEY_TEXT;
    expect_owned(&rule, &map, 1, "id IS NOT NULL AND (id COLLATE \"C\" >= '10' AND id COLLATE \"C\" < '20')");
    rule.function = FUNCTION_LIST;
    expect_bucket(&rule, "(array_position(ARRAY['10', '20', 'it''s']::text[], id) - 1)");
    expect_owned(&rule, &map, 0, "id IS NOT NULL AND id IN ('10', 'it''s')");
    rule.types[0] = KEY_BPCHAR;
    expect_bucket(&rule, "(array_position(ARRAY['10', '20', 'it''s']::bpchar[], id) - 1)");
}

static void only_sha256_of_other_bucket_counts_needs_a_function(void **state)
{
    (void)state;
    struct buffer sql = BUFFER_INIT(1 << 20);
    struct rule rule = {.function = FUNCTION_SHA256, .buckets = 1024, .columns = 1, .types = {KEY_TEXT}};
    sql_support_functions(&sql, &rule);
    assert_string_equal(buffer_string(&sql), "");
    rule.buckets = 1536;
    sql_support_functions(&sql, &rule);
    assert_non_null(strstr(buffer_string(&sql), "CREATE OR REPLACE FUNCTION mosaic.sha256_bucket("));
    expect_bucket(&rule, "mosaic.sha256_bucket(id, 1536)");
    buffer_free(&sql);
}

/* Parentheses are balanced and the expression is bounded, whatever the rule and map. */
static void random_rules_give_bounded_expressions(void **state)
{
    (void)state;
    struct random random = random_start();
    static const char *const names[KEY_COLUMNS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (int round = 0; round < 300; round++) {
        struct arena arena = ARENA_INIT;
        struct rule rule = {.function = FUNCTION_HASH, .buckets = 1u << random_below(&random, 13)};
        rule.columns = 1 + random_below(&random, KEY_COLUMNS_MAX);
        for (size_t i = 0; i < rule.columns; i++)
            rule.types[i] = (enum key_type)random_below(&random, KEY_TYPE_COUNT);
        uint32_t shards = 1 + random_below(&random, rule.buckets < 20 ? rule.buckets : 20);
        const uint32_t weights[21] = {[20] = 1};
        const struct map *map = map_initial(&arena, rule.buckets, shards, 1);
        if (random_below(&random, 2))
            map = map_rebalance(&arena, map, 21, weights);
        struct buffer sql = BUFFER_INIT(64 * 1024);
        sql_owned(&sql, &rule, names, map, random_below(&random, 21));
        sql_bucket(&sql, &rule, names);
        assert_false(buffer_failed(&sql));
        int depth = 0;
        for (const char *at = buffer_string(&sql); *at; at++) {
            depth += (*at == '(') - (*at == ')');
            assert_true(depth >= 0);
        }
        assert_int_equal(depth, 0);
        buffer_free(&sql);
        arena_free(&arena);
    }
}

static void failed_allocations_stick(void **state)
{
    (void)state;
    struct rule rule = {.function = FUNCTION_HASH, .buckets = 4096, .columns = 1, .types = {KEY_INT8}};
    struct buffer sql = BUFFER_INIT(1 << 20);
    memory_fail_after(0);
    sql_bucket(&sql, &rule, columns);
    memory_fail_after(-1);
    assert_true(buffer_failed(&sql));
    buffer_free(&sql);
}

static void expect_part(const struct rule *rule, const struct map *map, const char *expected)
{
    struct buffer sql = BUFFER_INIT(1 << 20);
    sql_part(&sql, rule, columns, map);
    assert_string_equal(buffer_string(&sql), expected);
    buffer_free(&sql);
}

/* Shards in another order are the same parts: two configs need not list them alike. */
static void parts_do_not_depend_on_the_order_of_shards(void **state)
{
    (void)state;
    const struct rule rule = {.function = FUNCTION_MODULO, .buckets = 6, .columns = 1, .types = {KEY_INT8}};
    static const uint16_t in_turn[] = {0, 1, 2, 0, 1, 2}, turned[] = {2, 0, 1, 2, 0, 1}, moved[] = {1, 0, 2, 1, 1, 0};
    uint16_t part_of_shard[SHARDS_MOST];
    expect_part(&rule, &(struct map){1, 6, 3, in_turn}, "(((id % 6 + 6) % 6)) % 3");
    expect_part(&rule, &(struct map){1, 6, 3, turned}, "(((id % 6 + 6) % 6)) % 3");
    expect_part(&rule, &(struct map){1, 6, 4, moved},
                "get_byte(E'\\\\x000102000001'::bytea, (((id % 6 + 6) % 6))::integer)");
    assert_int_equal(map_parts(&(struct map){1, 6, 4, moved}, part_of_shard), 3);
    assert_int_equal(part_of_shard[1], 0);
    assert_int_equal(part_of_shard[0], 1);
    assert_int_equal(part_of_shard[2], 2);
    assert_int_equal(part_of_shard[3], MAP_NO_PART);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_constraints_of_a_fresh_cluster),
        cmocka_unit_test(a_moved_map_is_a_bitmap),
        cmocka_unit_test(parts_do_not_depend_on_the_order_of_shards),
        cmocka_unit_test(ranges_and_lists_say_their_bounds),
        cmocka_unit_test(only_sha256_of_other_bucket_counts_needs_a_function),
        cmocka_unit_test(random_rules_give_bounded_expressions),
        cmocka_unit_test(failed_allocations_stick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
