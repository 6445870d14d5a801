#include "../random.h"
#include "base/error.h"
#include "plan/hint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct table tables[] = {
    {.schema = "public", .name = "users", .display = "users", .columns = {"id"}, .column_count = 1},
    {.schema = "public", .name = "codes", .display = "codes", .kind = TABLE_REFERENCE},
};
static struct shard shards[] = {{.name = "s0"}, {.name = "s1"}};
static const struct model model = {.tables = tables, .table_count = 2, .shards = shards, .shard_count = 2};

static struct arena arena;

static int reset(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct plan_hint read_text(const char *text)
{
    struct plan_hint hint;
    mosaic_error error;
    assert_int_equal(hint_from_text(text, strlen(text), &arena, &hint, &error), MOSAIC_OK);
    return hint;
}

static void the_leading_comment_is_read(void **state)
{
    (void)state;
    assert_string_equal(read_text("/* mosaic: shard=s1 */ SELECT 1").shard, "s1");
    struct plan_hint hint =
        read_text(" \n-- first\n/* other */\t/*mosaic:  KEY='a ''b' table=\"x.\"\"Y\"\"\" */SELECT 1");
    assert_string_equal(hint.key, "a 'b");
    assert_string_equal(hint.table, "x.\"Y\"");
    assert_null(hint.shard);
    assert_string_equal(read_text("/* mosaic: key=5,abc*/").key, "5,abc");
    hint = read_text("/* mosaic: scatter=allow */ SELECT 1");
    assert_string_equal(hint.scatter, "allow");
    assert_true(hint_is_empty(&hint)); /* it names no place */
    hint = read_text("/* mosaic: scatter=deny key=4 */ SELECT 1");
    assert_string_equal(hint.scatter, "deny");
    assert_string_equal(hint.key, "4");
}

static void other_comments_and_places_are_not(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "SELECT 1",
                                        "SELECT '/* mosaic: shard=s1 */'",
                                        "SELECT 1 /* mosaic: shard=s1 */",
                                        "'' /* mosaic: shard=s1 */",
                                        "-- mosaic: shard=s1\nSELECT 1",
                                        "/* about mosaic: shard=s1 */ SELECT 1",
                                        "/* /* mosaic: shard=s1 */ */ SELECT 1",
                                        "/* mosaic: shard=s1",
                                        "/",
                                        "/*",
                                        "(/* mosaic: shard=s1 */ SELECT 1)",
                                        "/* x */; /* mosaic: shard=s1 */ SELECT 1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct plan_hint hint = read_text(texts[i]);
        assert_true(hint_is_empty(&hint));
    }
}

static void what_begins_like_a_hint_and_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "/* mosaic: */ SELECT 1",       "/* mosaic: shard */",       "/* mosaic: shard= */",
        "/* mosaic: shard = s1 */",     "/* mosaic: shards=s1 */",   "/* mosaic: shard=s1 shard=s0 */",
        "/* mosaic: shard=s1 key=4 */", "/* mosaic: table=users */", "/* mosaic: key='4 */",
        "/* mosaic: key='' */",         "/* mosaic: scatter= */",    "/* mosaic: scatter=allow table=users */"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct plan_hint hint;
        mosaic_error error;
        assert_int_equal(hint_from_text(texts[i], strlen(texts[i]), &arena, &hint, &error), MOSAIC_USAGE);
        assert_string_equal(error.sqlstate, "22023");
        assert_non_null(strstr(error.hint, "/* mosaic: shard=NAME */"));
    }
}

static void settings_are_checked_and_taken_back(void **state)
{
    (void)state;
    struct plan_hint hint = {0};
    mosaic_error error;
    assert_int_equal(hint_set(&model, "Mosaic.Shard", "s1", &arena, &hint, &error), MOSAIC_OK);
    assert_string_equal(hint.shard, "s1");
    assert_int_equal(hint_set(&model, "mosaic.shard", "s7", &arena, &hint, &error), MOSAIC_USAGE);
    assert_string_equal(error.message, "the hint names shard \"s7\", which the cluster does not have");
    assert_string_equal(error.hint, "its shards are s0, s1");
    assert_string_equal(hint.shard, "s1"); /* as it was */
    assert_int_equal(hint_set(&model, "mosaic.shard", NULL, &arena, &hint, &error), MOSAIC_OK);
    assert_true(hint_is_empty(&hint));
    assert_int_equal(hint_set(&model, "mosaic.table", "codes", &arena, &hint, &error), MOSAIC_USAGE);
    assert_string_equal(error.hint, "the sharded tables are users");
    assert_int_equal(hint_set(&model, "mosaic.key", "42", &arena, &hint, &error), MOSAIC_OK);
    assert_int_equal(hint_set(&model, "mosaic.table", "public.users", &arena, &hint, &error), MOSAIC_OK);
    assert_string_equal(hint.table, "public.users");
    assert_int_equal(hint_set(&model, "mosaic.scatter", "Warn", &arena, &hint, &error), MOSAIC_OK);
    assert_int_equal(hint_set(&model, "mosaic.scatter", "maybe", &arena, &hint, &error), MOSAIC_USAGE);
    assert_string_equal(error.message, "the hint says scatter=maybe, which is no choice");
    assert_string_equal(error.sqlstate, "22023");
    assert_string_equal(hint.scatter, "Warn");
    assert_int_equal(hint_set(&model, "mosaic.partial_results", "On", &arena, &hint, &error), MOSAIC_OK);
    assert_int_equal(hint_set(&model, "mosaic.partial_results", "some", &arena, &hint, &error), MOSAIC_USAGE);
    assert_string_equal(error.message, "the hint says partial_results=some, which is no choice");
    assert_int_equal(hint_set(&model, "mosaic.shards", "s1", &arena, &hint, &error), MOSAIC_USAGE);
    assert_string_equal(error.sqlstate, "42704");
}

static void a_long_list_is_cut(void **state)
{
    (void)state;
    static struct shard many[500];
    struct model large = {.shards = many, .shard_count = 500};
    struct plan_hint hint = {.shard = "x"};
    mosaic_error error;
    for (size_t i = 0; i < 500; i++)
        many[i].name = "a_shard";
    assert_int_equal(hint_check(&large, &hint, &error), MOSAIC_USAGE);
    assert_true(strlen(error.hint) < 340);
    assert_string_equal(error.hint + strlen(error.hint) - 3, "\xe2\x80\xa6");
}

static void any_text_is_a_hint_or_none_or_refused(void **state)
{
    (void)state;
    struct random random = random_start();
    static const char *const pieces[] = {"/*", "*/", "mosaic:", "shard", "key", "=", "'", "\"", " ", "s1", "--", "\n"};
    for (int round = 0; round < 20000; round++) {
        char text[256];
        size_t size = 0;
        for (uint32_t i = random_below(&random, 14); i > 0; i--) {
            const char *piece = pieces[random_below(&random, 12)];
            memcpy(text + size, piece, strlen(piece)), size += strlen(piece);
        }
        char *exact = malloc(size ? size : 1); /* so that a sanitizer sees a read behind it */
        memcpy(exact, text, size);
        struct plan_hint hint;
        mosaic_error error;
        mosaic_status status = hint_from_text(exact, size, &arena, &hint, &error);
        assert_true(status == MOSAIC_OK || status == MOSAIC_USAGE);
        free(exact);
        arena_reset(&arena);
    }
}

static void memory_may_run_out(void **state)
{
    (void)state;
    struct plan_hint hint = {0};
    struct arena small = ARENA_INIT;
    mosaic_error error;
    memory_fail_after(0);
    assert_int_not_equal(hint_from_text("/* mosaic: key=1 */", 19, &small, &hint, &error), MOSAIC_OK);
    assert_int_equal(hint_set(&model, "mosaic.key", "1", &small, &hint, &error), MOSAIC_MEMORY);
    memory_fail_after(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_leading_comment_is_read, reset),
        cmocka_unit_test_teardown(other_comments_and_places_are_not, reset),
        cmocka_unit_test_teardown(what_begins_like_a_hint_and_is_none_is_refused, reset),
        cmocka_unit_test_teardown(settings_are_checked_and_taken_back, reset),
        cmocka_unit_test_teardown(a_long_list_is_cut, reset),
        cmocka_unit_test_teardown(any_text_is_a_hint_or_none_or_refused, reset),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
