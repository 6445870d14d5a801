#include "base/error.h"
#include "catalog/assume.h"
#include "config/config.h"
#include "plan/cache.h"
#include "plan/explain.h"
#include "sql/schema_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char config[] =
    "cluster: shop\nshards:\n - {name: s0, conninfo: 'host=a'}\n - {name: s1, conninfo: 'host=b'}"
    "\ntables:\n - {name: users, key: id, function: modulo}\n"
    " - {name: visits, key: [user_id, day], function: hash}\n"
    " - {name: codes, kind: reference}\n";
static const char ddl[] = "CREATE TABLE users (id bigint PRIMARY KEY, name text);"
                          "CREATE TABLE visits (user_id bigint, day int, what text, PRIMARY KEY (user_id, day));"
                          "CREATE TABLE codes (code text PRIMARY KEY); CREATE TABLE notes (id bigint);";

static struct model model;
static struct schema schema;
static struct plan_cache *cache;
static struct arena arena;
static const char *const path[] = {"pg_catalog", "public"};
static struct sql_context context = {.schema = &schema, .path = path, .path_count = 2};

static int set_up(void **state)
{
    (void)state;
    mosaic_error error;
    assert_int_equal(config_parse(config, sizeof config - 1, "mosaic.yaml", &model, &error), MOSAIC_OK);
    assert_int_equal(schema_from_sql(ddl, sizeof ddl - 1, "a.sql", &model, &schema, &error), MOSAIC_OK);
    assert_int_equal(catalog_assume(&model, &schema, &error), MOSAIC_OK);
    cache = plan_cache_new(1 << 20, 1);
    return cache ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    plan_cache_free(cache);
    schema_free(&schema);
    model_free(&model);
    arena_free(&arena);
    return 0;
}

static bool has_scatter, has_writes;

static struct explanation explain(const char *text, const struct plan_value *parameters, size_t count,
                                  const struct plan_hint *hint)
{
    struct plan_cached found;
    struct explanation explanation;
    mosaic_error error;
    assert_int_equal(
        plan_cache_find(cache, &context, plan_cache_context(&context, 1), text, strlen(text), 0, &found, &error),
        MOSAIC_OK);
    assert_int_equal(found.list->count, 1);
    struct plan_input values = {&schema, found.literals, found.literal_count, parameters,
                                count,   hint,           has_scatter,         has_writes};
    struct explain_input input = {found.list->facts, &values, text, strlen(text)};
    assert_int_equal(explain_make(&input, &arena, &explanation, &error), MOSAIC_OK);
    return explanation;
}

static void expect(struct explanation explanation, const char *lines)
{
    char all[4096];
    size_t size = 0;
    for (size_t i = 0; i < explanation.line_count; i++)
        size += (size_t)snprintf(all + size, sizeof all - size, "%s\n", explanation.lines[i]);
    assert_string_equal(all, lines);
}

static void one_shard_says_what_proved_it(void **state)
{
    (void)state;
    struct explanation explanation = explain("SELECT * FROM users u, codes WHERE u.id = -3", NULL, 0, NULL);
    assert_int_equal(explanation.way, EXPLAIN_SHARD);
    assert_int_equal(explanation.tier, 1);
    expect(explanation, "tier 1: one shard, s1\n"
                        "  bucket 1021 of 1024, by modulo of users\n"
                        "  users: sharded by id; bound by id = -3\n"
                        "  codes: reference table, whole on every shard\n");
    expect(explain("SELECT * FROM users WHERE id IN (1, 3, 5, 7, 9, 11, 13)", NULL, 0, NULL),
           "tier 1: one shard, s1\n  users: sharded by id; bound by id IN (1, 3, 5, 7, 9, \xe2\x80\xa6 7 in all)\n");
    explanation = explain("SELECT * FROM visits WHERE user_id = 1 AND day = '2'", NULL, 0, NULL);
    assert_string_equal(explanation.lines[2],
                        "  visits: sharded by (user_id, day); bound by (user_id, day) = (1, '2')");
}

static void places_that_need_no_key(void **state)
{
    (void)state;
    expect(explain("SELECT 1", NULL, 0, NULL), "tier 1: any shard, each gives the same answer\n");
    expect(explain("SELECT * FROM notes", NULL, 0, NULL),
           "tier 1: the home shard, s0\n  notes: on the home shard, s0, alone\n");
    assert_int_equal(explain("BEGIN", NULL, 0, NULL).way, EXPLAIN_SESSION);
}

static void parameters_may_be_unknown(void **state)
{
    (void)state;
    static const char text[] = "SELECT * FROM users WHERE id = $1";
    const struct plan_value value = {.data = "4", .size = 1};
    expect(explain(text, NULL, 0, NULL), "tier 1: one shard, if the values of the parameters are of one\n"
                                         "  users: sharded by id; bound by id = $1\n");
    struct explanation explanation = explain(text, &value, 1, NULL);
    assert_int_equal(explanation.way, EXPLAIN_SHARD);
    assert_int_equal(explanation.plan.shard, 0);
    assert_int_equal(explanation.plan.bucket, 4);
}

static void a_refusal_shows_the_place(void **state)
{
    (void)state;
    struct explanation explanation = explain("SELECT *\nFROM users\nWHERE name = 'a'", NULL, 0, NULL);
    assert_int_equal(explanation.way, EXPLAIN_REFUSED);
    assert_int_equal(explanation.tier, 0);
    assert_int_equal(explanation.location, 14);
    assert_non_null(explanation.remedy);
    assert_non_null(strstr(explanation.lines[0], "refused (0A000): "));
    assert_string_equal(explanation.lines[1], "  FROM users");
    assert_string_equal(explanation.lines[2], "       ^");
    assert_non_null(strstr(explanation.lines[4], "  to prove it: "));
    explanation = explain("SELEC 1", NULL, 0, NULL);
    expect(explanation, "refused (42601): syntax error at or near \"SELEC\"\n  SELEC 1\n  ^\n");
}

static void every_shard_is_told_what_it_is_asked(void **state)
{
    (void)state;
    has_scatter = true;
    struct explanation explanation = explain("SELECT *\nFROM users ORDER BY id LIMIT $1 OFFSET 3", NULL, 0, NULL);
    assert_int_equal(explanation.way, EXPLAIN_SCATTER);
    assert_int_equal(explanation.tier, 2);
    expect(explanation,
           "tier 2: all 2 shards, merged here\n"
           "  asks each shard: SELECT *, (\"id\") AS \"mosaic:1\" FROM users ORDER BY id LIMIT $1::bigint "
           "OPERATOR(pg_catalog.+) 3\n"
           "  merge: in order, by 1 hidden column; OFFSET 3; LIMIT $1\n"
           "  why not one shard: it is not proved that one shard has all the statement needs of users\n"
           "  FROM users ORDER BY id LIMIT $1 OFFSET 3\n"
           "       ^\n"
           "  no condition id = \xe2\x80\xa6 that holds for every row of users that matters\n"
           "  to lower the tier: Add AND id = \xe2\x80\xa6 to the WHERE that filters users, or tie it to a key by an "
           "equality.\n"
           "  users: sharded by id; not bound\n");
    explanation = explain("SELECT count(*) FROM users WHERE id IN (1, 2)", NULL, 0, NULL);
    assert_string_equal(explanation.lines[2], "  merge: one row of all, its aggregates put together");
    has_scatter = false;
    assert_int_equal(explain("SELECT * FROM users", NULL, 0, NULL).way, EXPLAIN_REFUSED);
}

static void writes_name_their_shards(void **state)
{
    (void)state;
    has_writes = true;
    struct explanation explanation = explain("DELETE FROM users", NULL, 0, NULL);
    assert_int_equal(explanation.way, EXPLAIN_WRITES);
    assert_int_equal(explanation.tier, 2);
    assert_string_equal(explanation.lines[0], "tier 2: writes on all 2 shards: s0, s1");
    assert_string_equal(explanation.lines[1], "  tells each shard: DELETE FROM users");
    expect(explain("INSERT INTO users VALUES (1),\n (2), (3) RETURNING id", NULL, 0, NULL),
           "tier 2: writes on all 2 shards: s0, s1\n"
           "  tells s0: INSERT INTO users VALUES (2) RETURNING id\n"
           "  tells s1: INSERT INTO users VALUES (1), (3) RETURNING id\n"
           "  rows of RETURNING: in the order of VALUES\n"
           "  why not one shard: the statement's keys are on more than one shard: s1 and s0\n"
           "  users decided for s1, a key of users is on s0.\n"
           "  to lower the tier: split it into one statement for each key\n"
           "  users: sharded by id; bound by id IN (1, 2, 3)\n");
    expect(explain("UPDATE codes SET code = now() RETURNING *", NULL, 0, NULL),
           "tier 2: writes on all 2 shards: s0, s1\n"
           "  tells each shard: UPDATE codes SET code = now() RETURNING *\n"
           "  rows of RETURNING: one shard's\n"
           "  the moment is one, which each of them is told\n"
           "  each copy comes out the same\n"
           "  codes: reference table, whole on every shard\n");
    explanation = explain("UPDATE users SET id = id + 1", NULL, 0, NULL);
    assert_int_equal(explanation.way, EXPLAIN_REFUSED);
    assert_string_equal(explanation.remedy, "Delete the rows and insert them with their new keys.");
    has_writes = false;
}

static void a_hint_is_named(void **state)
{
    (void)state;
    const struct plan_hint hint = {.shard = "s1"};
    struct explanation explanation = explain("SELECT count(*) FROM users", NULL, 0, &hint);
    assert_string_equal(explanation.lines[0], "tier 1: one shard, s1: a hint says so");
}

static void expect_caret(const char *text, size_t location, size_t width, const char *line, const char *caret)
{
    const char *const *lines = explain_caret(text, strlen(text), location, width, &arena);
    assert_non_null(lines);
    assert_string_equal(lines[0], line);
    assert_string_equal(lines[1], caret);
}

static void the_caret_stands_below_its_character(void **state)
{
    (void)state;
    expect_caret("SELECT 1", 7, 80, "SELECT 1", "       ^");
    expect_caret("a\n\tb\r\nc", 3, 80, " b", " ^");
    expect_caret("SELECT '\xc3\xa4\xc3\xa4' x", 14, 80, "SELECT '\xc3\xa4\xc3\xa4' x", "            ^");
    expect_caret("abc", 3, 80, "abc", "   ^");
    expect_caret("abc", 9, 80, "abc", "   ^");
    expect_caret("", 0, 80, "", "^");
    expect_caret("0123456789abcdefghij", 10, 6,
                 "\xe2\x80\xa6"
                 "789abc\xe2\x80\xa6",
                 "    ^");
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static const char text[] = "SELECT * FROM users, notes WHERE name = 'a'";
    struct plan_cached found;
    mosaic_error error;
    assert_int_equal(
        plan_cache_find(cache, &context, plan_cache_context(&context, 1), text, strlen(text), 0, &found, &error),
        MOSAIC_OK);
    struct plan_input values = {&schema, found.literals, found.literal_count, NULL, 0, NULL};
    struct explain_input input = {found.list->facts, &values, text, strlen(text)};
    long failed = 0;
    for (mosaic_status status = MOSAIC_MEMORY; status != MOSAIC_OK; failed++) {
        struct arena small = ARENA_INIT;
        struct explanation explanation;
        memory_fail_after(failed);
        status = explain_make(&input, &small, &explanation, &error);
        memory_fail_after(-1);
        assert_true(status == MOSAIC_OK || status == MOSAIC_MEMORY);
        arena_free(&small);
    }
    assert_true(failed > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_shard_says_what_proved_it),
        cmocka_unit_test(places_that_need_no_key),
        cmocka_unit_test(parameters_may_be_unknown),
        cmocka_unit_test(a_refusal_shows_the_place),
        cmocka_unit_test(every_shard_is_told_what_it_is_asked),
        cmocka_unit_test(writes_name_their_shards),
        cmocka_unit_test(a_hint_is_named),
        cmocka_unit_test(the_caret_stands_below_its_character),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
