/* Parameters and arrays as values of keys (src/plan/value.c). */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct world world;

struct row {
    const char *text;
    uint32_t type; /* as Parse gave it */
    struct plan_value value;
    const char *expected;
};

#define TEXT(data)                   \
    {                                \
        data, sizeof(data) - 1, 0, 0 \
    }
#define BINARY(data)                 \
    {                                \
        data, sizeof(data) - 1, 1, 0 \
    }

static void parameters(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM t WHERE id = $1", 0, TEXT("5"), "s1"},
        {"SELECT * FROM t WHERE id = $1", 20, TEXT("5"), "s1"},
        {"SELECT * FROM t WHERE id = $1", 20, BINARY("\0\0\0\0\0\0\0\6"), "s2"},
        {"SELECT * FROM t WHERE id = $1", 23, BINARY("\0\0\0\7"), "s3"},
        {"SELECT * FROM t WHERE id = $1", 21, BINARY("\0\5"), "s1"},
        {"SELECT * FROM t WHERE id = $1", 1700, TEXT("5.0"), "s1"},
        {"SELECT * FROM t WHERE id = $1", 1700, TEXT("5.5"), "any"},
        {"SELECT * FROM t WHERE id = $1", 1700, TEXT("NaN"), "any"},
        {"SELECT * FROM t WHERE id = $1", 1700, TEXT("-9223372036854775808"), "s0"},
        {"SELECT * FROM t WHERE id = $1", 1700, TEXT("9223372036854775808"), "any"},
        {"SELECT * FROM t WHERE id = $1", 701, TEXT("5"), "refused"},
        {"SELECT * FROM t WHERE id = $1", 25, TEXT("5"), "refused"},
        {"SELECT * FROM t WHERE id = $1::bigint", 25, TEXT("5"), "s1"},
        {"SELECT * FROM t WHERE id = $1::bigint", 25, BINARY("12345678"), "s2"},
        {"SELECT * FROM t WHERE id = $1::bigint", 0, TEXT("5"), "s1"},
        {"SELECT * FROM i WHERE id = $1::int", 1043, BINARY("1235"), "s3"},
        {"SELECT * FROM uu WHERE id = $1::uuid", 25, BINARY("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), "s0"},
        {"SELECT * FROM t WHERE id = $1::int", 20, TEXT("5"), "s1"},
        {"SELECT * FROM t WHERE id = $1::int", 20, TEXT("5000000000"), "refused"},
        {"SELECT * FROM t WHERE id = $1", 0, {NULL, -1, 0, 0}, "any"},
        {"SELECT * FROM t WHERE id IS NOT DISTINCT FROM $1", 0, TEXT("5"), "s1"},
        {"SELECT * FROM t WHERE id IS NOT DISTINCT FROM $1", 0, {NULL, -1, 0, 0}, "refused"},
        {"SELECT * FROM t WHERE id = $1", 0, TEXT("x"), "refused"},
        {"SELECT * FROM t WHERE id = $1", 0, BINARY("\0\0\0\5"), "refused"},
        {"SELECT * FROM t WHERE id = ANY($1)", 0, TEXT("{1,5}"), "s1"},
        {"SELECT * FROM t WHERE id = ANY($1)", 0, TEXT(" [0:1]={1 , \"5\"} "), "s1"},
        {"SELECT * FROM t WHERE id = ANY($1)", 0, TEXT("{{1,5},{9,NULL}}"), "s1"},
        {"SELECT * FROM t WHERE id = ANY($1)", 0, TEXT("{1,2}"), "refused"},
        {"SELECT * FROM t WHERE id = ANY($1)", 0, TEXT("{1,"), "refused"},
        {"SELECT * FROM t WHERE id = ANY($1)", 0, TEXT("{}"), "any"},
        {"SELECT * FROM t WHERE id = ANY($1)", 0, {NULL, -1, 0, 0}, "any"},
        {"SELECT * FROM t WHERE id = ANY($1)", 1007,
         BINARY("\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\2\0\0\0\1\0\0\0\4\0\0\0\2\0\0\0\4\0\0\0\6"), "s2"},
        {"SELECT * FROM t WHERE id = ANY($1)", 1007, BINARY("\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\2\0\0\0\1\0\0\0\4"),
         "refused"},
        {"SELECT * FROM t WHERE id = ANY($1)", 1022, TEXT("{1,5}"), "refused"},
        {"SELECT * FROM t WHERE id = ANY($1::bigint[])", 1231, TEXT("{1.5}"), "refused"},
        {"SELECT * FROM t WHERE id = ANY($1::bigint[])", 1009, TEXT("{1,5}"), "s1"},
        {"SELECT * FROM t WHERE id = ANY($1::bigint[])", 1007, TEXT("{1,5}"), "s1"},
        {"SELECT * FROM t WHERE id = ANY($1::int[])", 1016, TEXT("{5000000000}"), "refused"},
        {"SELECT * FROM t WHERE id = ANY($1::bigint[])", 1009,
         BINARY("\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\1\0\0\0\1\0\0\0\10"
                "12345678"),
         "s2"},
        {"SELECT * FROM uu WHERE id = ANY($1::uuid[])", 1009, TEXT("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"), "s0"},
        {"SELECT * FROM w WHERE name = ANY($1)", 1009, TEXT("{a,\"a\"}"), "s2"},
        {"SELECT * FROM w WHERE name = ANY($1)", 0, TEXT("{\"a\\\\b\"}"), "s0"},
        {"SELECT * FROM w WHERE name = ANY($1)", 0, TEXT("{NULL}"), "s2"}, /* a text under array_nulls = off */
        {"SELECT * FROM w WHERE name = ANY($1)", 0, TEXT("{null,\"null\"}"), "s0"},
        {"SELECT * FROM w WHERE name = $1", 1043, TEXT("a"), "s2"},
        {"SELECT * FROM w WHERE name = $1", 1042, TEXT("a"), "refused"},
        {"SELECT * FROM bp WHERE code = $1", 25, TEXT("a"), "s2"},
        {"SELECT * FROM nn WHERE n = $1", 23, TEXT("5"), "s1"},
        {"SELECT * FROM uu WHERE id = $1", 2950,
         BINARY("\xa0\xee\xbc\x99\x9c\x0b\x4e\xf8\xbb\x6d\x6b\xb9\xbd\x38\x0a\x11"), "s0"},
        {"INSERT INTO t (id) VALUES ($1)", 0, TEXT("5"), "s1"},
        {"INSERT INTO t (id) VALUES ($1)", 23, BINARY("\0\0\0\5"), "s1"},
        {"INSERT INTO t (id) VALUES ($1)", 25, TEXT("5"), "refused"},
        {"INSERT INTO t (id) VALUES ($1)", 0, {NULL, -1, 0, 0}, "refused"},
        {"INSERT INTO t (id) SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM u WHERE tid = 5)", 20, TEXT("9"), "s1"},
        {"UPDATE t SET id = $1 WHERE id = $1", 20, TEXT("9"), "s1"},
    };
    int wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct plan_value value = rows[i].value;
        value.type = rows[i].type;
        world.context.types = &rows[i].type;
        world.context.type_count = 1;
        if (!world_expect(&world, rows[i].text, &value, 1, rows[i].expected, NULL)) {
            wrong++;
            print_error("    with $1 of type %u: %s\n", (unsigned)rows[i].type, value.data ? value.data : "NULL");
        }
    }
    assert_int_equal(wrong, 0);
}

static struct facts facts_of(struct arena *arena, const char *text)
{
    struct facts_list list;
    mosaic_error error;
    struct sql_context context = world.context;
    context.type_count = 0;
    assert_int_equal(facts_find(&context, text, strlen(text), arena, &list, &error), MOSAIC_OK);
    return list.facts[0];
}

static void types_of_parameters(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct facts facts = facts_of(&arena, "SELECT * FROM t WHERE id = $1 AND name = $2 AND v = $3::smallint");
    assert_int_equal(facts.parameter_count, 3);
    assert_int_equal(facts.parameter_types[0], 20);
    assert_int_equal(facts.parameter_types[1], 25);
    assert_int_equal(facts.parameter_types[2], 21);
    assert_int_equal(facts.untyped_count, 0);
    /* What else uses it decides, too: a server must be asked. */
    facts = facts_of(&arena, "SELECT lower($1) FROM t WHERE id = $1");
    assert_int_equal(facts.untyped_count, 1);
    assert_int_equal(facts.untyped[0], 1);
    facts = facts_of(&arena, "SELECT * FROM t WHERE v = $1 AND id = $1");
    assert_int_equal(facts.untyped_count, 1);
    facts = facts_of(&arena, "INSERT INTO t (v, id) VALUES ($1, $2)");
    assert_int_equal(facts.parameter_types[0], 23);
    assert_int_equal(facts.parameter_types[1], 20);
    facts = facts_of(&arena, "SELECT * FROM t WHERE id = ANY($1)");
    assert_int_equal(facts.parameter_types[0], 1016);
    arena_free(&arena);
}

static void statements_tell_what_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum statement_class class;
        const char *name, *value, *inner;
    } rows[] = {
        {"BEGIN", STATEMENT_BEGIN, NULL, NULL, NULL},
        {"START TRANSACTION READ ONLY", STATEMENT_BEGIN, NULL, NULL, NULL},
        {"COMMIT AND CHAIN", STATEMENT_COMMIT, NULL, NULL, NULL},
        {"ABORT", STATEMENT_ROLLBACK, NULL, NULL, NULL},
        {"SAVEPOINT \"A\"", STATEMENT_SAVEPOINT, "A", NULL, NULL},
        {"RELEASE a", STATEMENT_RELEASE, "a", NULL, NULL},
        {"ROLLBACK TO a", STATEMENT_ROLLBACK_TO, "a", NULL, NULL},
        {"PREPARE TRANSACTION 'g'", STATEMENT_TWO_PHASE, NULL, NULL, NULL},
        {"SET Work_Mem = '4MB'", STATEMENT_SET, "work_mem", "4MB", NULL},
        {"SET search_path TO a, \"B c\", \"$user\"", STATEMENT_SET, "search_path", "a, \"B c\", \"$user\"", NULL},
        {"SET x.y = -1.5", STATEMENT_SET, "x.y", "-1.5", NULL},
        {"SET enable_seqscan = off", STATEMENT_SET, "enable_seqscan", "off", NULL},
        {"SET TIME ZONE 'UTC'", STATEMENT_SET, "timezone", "UTC", NULL},
        {"SET TimeZone TO DEFAULT", STATEMENT_SET, "timezone", NULL, NULL},
        {"RESET ALL", STATEMENT_SET, NULL, NULL, NULL},
        {"RESET work_mem", STATEMENT_SET, "work_mem", NULL, NULL},
        {"SET SESSION AUTHORIZATION joe", STATEMENT_SET, "session_authorization", "joe", NULL},
        {"SET ROLE none", STATEMENT_SET, "role", "none", NULL},
        {"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", STATEMENT_SET_TRANSACTION, "transaction", NULL, NULL},
        {"SET CONSTRAINTS ALL DEFERRED", STATEMENT_CONSTRAINTS, NULL, NULL, NULL},
        {"SET CONSTRAINTS s.\"A\", b IMMEDIATE", STATEMENT_CONSTRAINTS, "A", NULL, NULL},
        {"SELECT set_config('App.User', 'a, b', true)", STATEMENT_SET, "app.user", "a, b", NULL},
        {"SELECT pg_catalog.set_config('x.y', '', false) AS n", STATEMENT_SET, "x.y", "", NULL},
        {"SELECT set_config('x.y', NULL, false)", STATEMENT_SELECT, NULL, NULL, NULL},
        {"SELECT set_config('x.y', v::text, false) FROM t WHERE id = 1", STATEMENT_SELECT, NULL, NULL, NULL},
        {"SELECT set_config('x.y', '1', false), 1", STATEMENT_SELECT, NULL, NULL, NULL},
        {"SELECT set_config('x.y', '1', false) WHERE false", STATEMENT_SELECT, NULL, NULL, NULL},
        {"SELECT public.set_config('x.y', '1', false)", STATEMENT_SELECT, NULL, NULL, NULL},
        {"SHOW server_version", STATEMENT_SHOW, "server_version", NULL, NULL},
        {"DISCARD ALL", STATEMENT_DISCARD, "all", NULL, NULL},
        {"PREPARE p (int, text) AS /* AS */ SELECT $1", STATEMENT_PREPARE, "p", NULL, "SELECT $1"},
        {"PREPARE \"as\" AS SELECT 1", STATEMENT_PREPARE, "as", NULL, "SELECT 1"},
        {"EXECUTE p (1, 'a')", STATEMENT_EXECUTE, "p", NULL, NULL},
        {"DEALLOCATE PREPARE p", STATEMENT_DEALLOCATE, "p", NULL, NULL},
        {"DEALLOCATE ALL", STATEMENT_DEALLOCATE, NULL, NULL, NULL},
        {"EXPLAIN ANALYZE VERBOSE (SELECT 1)", STATEMENT_EXPLAIN, NULL, NULL, "(SELECT 1)"},
        {"EXPLAIN (MOSAIC, COSTS off) SELECT 1", STATEMENT_EXPLAIN, NULL, NULL, "SELECT 1"},
        {"EXPLAIN (SELECT 1)", STATEMENT_EXPLAIN, NULL, NULL, "(SELECT 1)"},
        {"DECLARE c SCROLL CURSOR FOR SELECT 1", STATEMENT_DECLARE, "c", NULL, "SELECT 1"},
        {"FETCH 5 FROM c", STATEMENT_CURSOR, "c", NULL, NULL},
        {"CLOSE ALL", STATEMENT_CURSOR, NULL, NULL, NULL},
        {"UNLISTEN *", STATEMENT_LISTEN, NULL, NULL, NULL},
        {"CREATE TEMP TABLE tt (x int)", STATEMENT_DDL, "tt", NULL, NULL},
        {"", STATEMENT_EMPTY, NULL, NULL, NULL},
        {"-- nothing", STATEMENT_EMPTY, NULL, NULL, NULL},
        {"SELEC", STATEMENT_UNREADABLE, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena arena = ARENA_INIT;
        struct facts facts = facts_of(&arena, rows[i].text);
        const char *name = facts.name ? facts.name : "", *expected = rows[i].name ? rows[i].name : "";
        const char *inner = facts.inner_start ? rows[i].text + facts.inner_start : "";
        if (facts.class != rows[i].class || strcmp(name, expected) != 0 ||
            strcmp(facts.value ? facts.value : "", rows[i].value ? rows[i].value : "") != 0 ||
            strcmp(inner, rows[i].inner ? rows[i].inner : "") != 0) {
            print_error("%s: %s, name %s, value %s, inner %s\n", rows[i].text, statement_class_name(facts.class), name,
                        facts.value, inner);
            fail();
        }
        assert_int_equal(facts.explain_mosaic, strstr(rows[i].text, "MOSAIC") != NULL);
        arena_free(&arena);
    }
}

static void a_copied_query_ends_with_its_parentheses(void **state)
{
    (void)state;
    static const char inner[] = "SELECT ')', E'\\')', $$)$$, (1), \")\" -- )\n";
    struct arena arena = ARENA_INIT;
    const char *text = arena_format(&arena, "COPY /* ( */ (%s FROM t) TO STDOUT (FORMAT binary)", inner);
    struct facts facts = facts_of(&arena, text);
    assert_int_equal(facts.class, STATEMENT_COPY_TO);
    assert_int_equal(facts.inner_start, strlen("COPY /* ( */ ("));
    assert_int_equal(facts.inner_length, strlen(inner) + strlen(" FROM t"));
    arena_free(&arena);
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
        cmocka_unit_test(parameters),
        cmocka_unit_test(types_of_parameters),
        cmocka_unit_test(statements_tell_what_they_are),
        cmocka_unit_test(a_copied_query_ends_with_its_parentheses),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
