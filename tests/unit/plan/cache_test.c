#include "../random.h"
#include "plan/cache.h"
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct world world;

static struct plan_cached look_up(struct plan_cache *cache, const char *text)
{
    struct plan_cached found;
    mosaic_error error;
    uint64_t id = plan_cache_context(&world.context, 1);
    assert_int_equal(plan_cache_find(cache, &world.context, id, text, strlen(text), 0, &found, &error), MOSAIC_OK);
    return found;
}

static const char *shard_of(struct plan_cache *cache, const char *text)
{
    struct plan_cached found = look_up(cache, text);
    struct arena arena = ARENA_INIT;
    struct plan_input input = {
        .schema = &world.schema, .literals = found.literals, .literal_count = found.literal_count};
    struct plan plan;
    mosaic_error error;
    assert_int_equal(plan_make(&found.list->facts[0], &input, &arena, &plan, &error), MOSAIC_OK);
    const char *name = plan.kind == PLAN_SHARD ? world_shards[plan.shard].name
                       : plan.kind == PLAN_ANY ? "any"
                                               : "refused";
    arena_free(&arena);
    return name;
}

static void two_levels(void **state)
{
    (void)state;
    struct plan_cache *cache = plan_cache_new(1 << 20, 7);
    struct plan_cache_counts counts;
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 5"), "s1");
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 5"), "s1");
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 1234567890123"), "s3");
    plan_cache_count(cache, &counts);
    assert_int_equal(counts.analysed, 1);
    assert_int_equal(counts.by_text, 1);
    assert_int_equal(counts.by_shape, 1);
    /* A text of a known shape is kept when it comes again. */
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 1234567890123"), "s3");
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 1234567890123"), "s3");
    plan_cache_count(cache, &counts);
    assert_int_equal(counts.by_shape, 2);
    assert_int_equal(counts.by_text, 2);
    /* Other classes are other shapes. */
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 6.0"), "s2");
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = '7'"), "s3");
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = -1"), "s3");
    plan_cache_count(cache, &counts);
    assert_int_equal(counts.analysed, 4);
    plan_cache_clear(cache);
    plan_cache_count(cache, &counts);
    assert_int_equal(counts.entries, 0);
    assert_int_equal(counts.bytes, 0);
    plan_cache_free(cache);
}

static void a_hash_may_be_kept(void **state)
{
    (void)state;
    static const char text[] = "SELECT * FROM t WHERE id = $1";
    struct plan_cache *cache = plan_cache_new(1 << 20, 7);
    struct plan_cached found;
    struct plan_cache_counts counts;
    struct sql_context typed = world.context;
    mosaic_error error;
    uint32_t types[] = {20};
    uint64_t id = plan_cache_context(&world.context, 1),
             hash = plan_cache_hash(cache, &typed, id, text, sizeof text - 1);
    typed.types = types, typed.type_count = 1;
    assert_int_not_equal(plan_cache_hash(cache, &typed, id, text, sizeof text - 1), hash);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            plan_cache_find(cache, &world.context, id, text, sizeof text - 1, i ? hash : 0, &found, &error), MOSAIC_OK);
    plan_cache_count(cache, &counts);
    assert_int_equal(counts.by_text, 2);
    plan_cache_free(cache);
}

static void what_else_decides(void **state)
{
    (void)state;
    struct plan_cache *cache = plan_cache_new(1 << 20, 7);
    const char *const other[] = {"pg_catalog", "other", "public"}, *const temporary[] = {"t"};
    struct sql_context before = world.context;
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 5"), "s1");
    world.context.path = other, world.context.path_count = 3;
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 5"), "s0");
    world.context = before;
    world.context.temporary = temporary, world.context.temporary_count = 1;
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 5"), "s0");
    world.context = before;
    const uint32_t types[] = {701};
    assert_int_equal(look_up(cache, "SELECT * FROM t WHERE id = $1").list->facts[0].relations[0].is_bound, true);
    world.context.types = types, world.context.type_count = 1;
    assert_int_equal(look_up(cache, "SELECT * FROM t WHERE id = $1").list->facts[0].relations[0].is_bound, false);
    world.context = before;
    plan_cache_free(cache);
}

/* What a quoted literal says of COPY's form, and which setting set_config sets, another one does not. */
static void words_that_literals_say(void **state)
{
    (void)state;
    struct plan_cache *cache = plan_cache_new(1 << 20, 7);
    assert_false(look_up(cache, "COPY (SELECT v FROM c2 WHERE a = 1 AND b = 2) TO STDOUT (FORMAT 'text')")
                     .list->facts[0]
                     .copies_binary);
    assert_true(look_up(cache, "COPY (SELECT v FROM c2 WHERE a = 1 AND b = 2) TO STDOUT (FORMAT 'binary')")
                    .list->facts[0]
                    .copies_binary);
    assert_null(look_up(cache, "COPY t TO STDOUT (FORMAT 'binary')").list->facts[0].scatter);
    assert_non_null(look_up(cache, "COPY t TO STDOUT (FORMAT 'csv')").list->facts[0].scatter);
    assert_int_equal(look_up(cache, "SELECT set_config('', 'x', false)").list->facts[0].class, STATEMENT_SELECT);
    assert_int_equal(look_up(cache, "SELECT set_config('search_path', 'x', false)").list->facts[0].class,
                     STATEMENT_SET);
    plan_cache_free(cache);
}

static void texts_that_bind(void **state)
{
    (void)state;
    struct plan_cache *cache = plan_cache_new(1 << 20, 7);
    assert_string_equal(look_up(cache, "SET a.b = 'x'").list->facts[0].value, "x");
    assert_string_equal(look_up(cache, "SET a.b = 'y'").list->facts[0].value, "y");
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 2147483647 + 1"), "refused");
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 3 + 2"), "s1");
    assert_string_equal(shard_of(cache, "SELECT * FROM t WHERE id = 3 + 3"), "s2");
    int length = look_up(cache, "SELECT 1; SELECT 'abc' ").list->facts[1].length;
    assert_int_equal(look_up(cache, "SELECT 1; SELECT 'abcdef' ").list->facts[1].length, length + 3);
    plan_cache_free(cache);
}

/* A cache gives what analysis without one gives, however small it is. */
static void model(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "SELECT * FROM t WHERE id = %u",
        "SELECT * FROM t WHERE id = '%u'",
        "SELECT * FROM t WHERE id IN (%u, 8.0)",
        "INSERT INTO t VALUES (%u)",
        "UPDATE t SET v = 1 WHERE id = -%u",
        "SELECT * FROM t WHERE id = ANY('{%u}')",
        "SELECT * FROM u WHERE tid = %u AND w = E'x\\'y'",
        "SET x.y = %u",
    };
    struct random random = random_start();
    struct plan_cache *cache = plan_cache_new(40000, 7);
    for (int round = 0; round < 20000; round++) {
        char text[200];
        snprintf(text, sizeof text, forms[random_below(&random, sizeof forms / sizeof *forms)],
                 random_below(&random, 200));
        struct arena arena = ARENA_INIT;
        struct facts facts;
        struct plan plan;
        assert_string_equal(shard_of(cache, text), world_plan(&world, text, NULL, 0, &arena, &facts, &plan));
        arena_free(&arena);
    }
    struct plan_cache_counts counts;
    plan_cache_count(cache, &counts);
    assert_true(counts.bytes < 60000 && counts.by_text && counts.by_shape && counts.analysed);
    plan_cache_free(cache);
}

static void memory_runs_out(void **state)
{
    (void)state;
    for (long after = 0; after < 40; after++) {
        memory_fail_after(after);
        struct plan_cache *cache = plan_cache_new(1 << 20, 7);
        struct plan_cached found;
        mosaic_error error;
        mosaic_status status = MOSAIC_MEMORY;
        static const char text[] = "SELECT * FROM t JOIN u ON u.tid = t.id WHERE id = 5";
        if (cache)
            status = plan_cache_find(cache, &world.context, 1, text, sizeof text - 1, 0, &found, &error);
        memory_fail_after(-1);
        assert_true(status == MOSAIC_OK || status == MOSAIC_MEMORY);
        plan_cache_free(cache);
    }
}

static int open_world(void **state)
{
    (void)state;
    world_open(&world);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_levels),
        cmocka_unit_test(a_hash_may_be_kept),
        cmocka_unit_test(what_else_decides),
        cmocka_unit_test(texts_that_bind),
        cmocka_unit_test(words_that_literals_say),
        cmocka_unit_test(model),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
