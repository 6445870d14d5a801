#include "../random.h"
#include "core/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void names_are_folded_and_unquoted(void **state)
{
    (void)state;
    static const struct {
        const char *typed, *schema, *name;
    } cases[] = {
        {"users", "public", "users"},
        {"Users", "public", "users"},
        {"\"Users\"", "public", "Users"},
        {"shop.users", "shop", "users"},
        {"Shop.\"a.b\"\"c\"", "shop", "a.b\"c"},
        {"_a$1", "public", "_a$1"},
        {"größe", "public", "größe"},
    };
    struct arena arena = ARENA_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *schema, *name;
        assert_int_equal(model_table_name(&arena, cases[i].typed, &schema, &name, NULL), MOSAIC_OK);
        assert_string_equal(schema, cases[i].schema);
        assert_string_equal(name, cases[i].name);
    }
    arena_free(&arena);
}

static void malformed_names_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",       ".",
        "a.",     ".a",
        "a.b.c",  "a b",
        "1a",     "a-b",
        "\"a",    "\"\"",
        "a\"b\"", "\"a\"b",
        "a;",     "a123456789012345678901234567890123456789012345678901234567890123",
    };
    struct arena arena = ARENA_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *schema, *name;
        mosaic_error error;
        assert_int_equal(model_table_name(&arena, cases[i], &schema, &name, &error), MOSAIC_USAGE);
        assert_non_null(strstr(error.message, "is not a table name"));
    }
    arena_free(&arena);
}

static void tables_and_shards_are_found(void **state)
{
    (void)state;
    struct table tables[] = {{.schema = "public", .name = "users"}, {.schema = "Shop", .name = "users"}};
    struct shard shards[] = {{.name = "s0"}, {.name = "1"}, {.name = "s2"}};
    struct model model = {.tables = tables, .table_count = 2, .shards = shards, .shard_count = 3};
    assert_ptr_equal(model_table(&model, "users"), &tables[0]);
    assert_ptr_equal(model_table(&model, "PUBLIC.Users"), &tables[0]);
    assert_ptr_equal(model_table(&model, "\"Shop\".users"), &tables[1]);
    assert_null(model_table(&model, "shop.users"));
    assert_null(model_table(&model, "user s"));
    assert_int_equal(model_shard(&model, "s2"), 2);
    assert_int_equal(model_shard(&model, "2"), 2);
    assert_int_equal(model_shard(&model, "1"), 1);
    assert_true(model_shard(&model, "3") == SIZE_MAX);
    assert_true(model_shard(&model, "") == SIZE_MAX);
    assert_true(model_shard(&model, "99999999999999999999") == SIZE_MAX);
    assert_true(model_shard(&model, "-1") == SIZE_MAX);
}

/* What is displayed can be typed, and means the same. */
static void random_names_survive_display_and_typing(void **state)
{
    (void)state;
    struct random random = random_start();
    static const char characters[] = "abzAZ_09$.\" \\'é";
    for (int round = 0; round < 5000; round++) {
        struct arena arena = ARENA_INIT;
        char names[2][20] = {"", ""};
        const char *schema, *name;
        for (int n = 0; n < 2; n++) {
            uint32_t size = 1 + random_below(&random, 6);
            for (uint32_t i = 0; i < size; i++)
                names[n][i] = characters[random_below(&random, sizeof characters - 1)];
        }
        const char *display = model_display_name(&arena, random_below(&random, 2) ? names[0] : "public", names[1]);
        assert_non_null(display);
        assert_int_equal(model_table_name(&arena, display, &schema, &name, NULL), MOSAIC_OK);
        assert_true(strcmp(schema, names[0]) == 0 || strcmp(schema, "public") == 0);
        assert_string_equal(name, names[1]);
        arena_free(&arena);
    }
    struct arena arena = ARENA_INIT;
    assert_string_equal(model_display_name(&arena, "public", "users"), "users");
    assert_string_equal(model_display_name(&arena, "shop", "Order"), "shop.\"Order\"");
    arena_free(&arena);
}

static void failed_allocations_are_reported(void **state)
{
    (void)state;
    const char *schema, *name;
    mosaic_error error;
    for (long allowed = 0;; allowed++) {
        struct arena arena = ARENA_INIT;
        memory_fail_after(allowed);
        mosaic_status status = model_table_name(&arena, "a.b", &schema, &name, &error);
        const char *display = model_display_name(&arena, "a", "b");
        memory_fail_after(-1);
        arena_free(&arena);
        assert_true(status == MOSAIC_OK || status == MOSAIC_MEMORY);
        if (status == MOSAIC_OK && display)
            break;
        assert_true(allowed < 10);
    }
    struct model model = {.name = "x"};
    assert_non_null(arena_allocate(&model.arena, 10));
    model_free(&model);
    model_free(NULL);
    assert_null(model.name);
}

static void lists_have_their_names(void **state)
{
    (void)state;
    assert_string_equal(engine_name(ENGINE_POSTGRES), "postgres");
    assert_string_equal(table_kind_name(TABLE_REFERENCE), "reference");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_folded_and_unquoted),   cmocka_unit_test(malformed_names_are_refused),
        cmocka_unit_test(tables_and_shards_are_found),     cmocka_unit_test(random_names_survive_display_and_typing),
        cmocka_unit_test(failed_allocations_are_reported), cmocka_unit_test(lists_have_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
