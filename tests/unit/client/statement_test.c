#include "client/statement.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_first_word_tells_the_kind(void **state)
{
    (void)state;
    static const struct {
        const char *sql;
        enum statement_kind kind;
    } cases[] = {
        {"SELECT 1", STATEMENT_DATA},
        {"  \n\tinsert into t values (1)", STATEMENT_DATA},
        {"((select 1))", STATEMENT_DATA},
        {"with x as (select 1) select * from x", STATEMENT_DATA},
        {"-- a comment\nUPDATE t SET a = 1", STATEMENT_DATA},
        {"/* a /* nested */ comment */ COMMIT", STATEMENT_BOUNDARY},
        {"/* open", STATEMENT_OTHER},
        {"; ;begin", STATEMENT_BOUNDARY},
        {"RollBack to x", STATEMENT_BOUNDARY},
        {"prepare transaction 'x'", STATEMENT_BOUNDARY},
        {"END", STATEMENT_BOUNDARY},
        {"ENDING", STATEMENT_OTHER},
        {"selector", STATEMENT_OTHER},
        {"SET x = 1", STATEMENT_OTHER},
        {"CALL p()", STATEMENT_OTHER},
        {"DO $$ $$", STATEMENT_OTHER},
        {"", STATEMENT_OTHER},
        {"--", STATEMENT_OTHER},
        {"/", STATEMENT_OTHER},
        {"/*", STATEMENT_OTHER},
        {"/**", STATEMENT_OTHER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (statement_kind(cases[i].sql) != cases[i].kind)
            fail_msg("\"%s\" is of kind %d", cases[i].sql, statement_kind(cases[i].sql));
}

static void what_may_stay_in_a_session_is_marked(void **state)
{
    (void)state;
    assert_false(statement_marks_session("SELECT name FROM users WHERE id = 1"));
    assert_false(statement_marks_session("INSERT INTO users VALUES (1)"));
    assert_true(statement_marks_session("SET search_path = x"));
    assert_true(statement_marks_session("select SET_CONFIG('a', 'b', false)"));
    assert_true(statement_marks_session("SELECT pg_advisory_lock(1)"));
    assert_true(statement_marks_session("SELECT 1 INTO TEMP t"));
    assert_true(statement_marks_session("LISTEN x"));
    assert_true(statement_marks_session("CALL p()"));
}

/* A function of somebody's may set, lock or make anything. */
static void an_unknown_function_marks_its_session(void **state)
{
    (void)state;
    static const char *const harmless[] = {
        "INSERT INTO app.\"Users\" (id, name) VALUES ($1, upper($2)) ON CONFLICT (id) DO UPDATE SET (name) = ROW ($2)",
        "select abs(x), pg_catalog.Width_Bucket(x, 1, 2, 3), mosaic.next_id() from t where id in (1, 2) and (a or (b))",
        "SELECT count(*) FILTER (WHERE a) OVER (PARTITION BY b), x::numeric(10, 2) FROM t WHERE EXISTS (SELECT 1)",
        "SELECT 'login(1)', E'\\'login(1)', $$login(1)$$ /* login(1) */ FROM t -- login(1)",
        "SELECT $1(1), 2.(1), (login) (1)",
    };
    static const char *const others[] = {
        "SELECT login('bob')",
        "SELECT login /* */ ('bob')",
        "SELECT app.login('bob')",
        "SELECT app . abs(1)",
        "SELECT \"login\"('bob')",
        "SELECT \"set_config\"('a', 'b', false)",
        "SELECT '''', login('bob')",
        "SELECT * FROM t WHERE seen(id)",
        "INSERT INTO t (a) VALUES (login('bob'))",
        "SELECT pg_catalog.set_config('a', 'b', false)",
        "SELECT currval('s')",
        "SELECT dblink_connect('')",
    };
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++)
        if (statement_marks_session(harmless[i]))
            fail_msg("\"%s\" is said to leave something", harmless[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (!statement_marks_session(others[i]))
            fail_msg("\"%s\" is said to leave nothing", others[i]);
}

static void collations_of_bytes_are_counted(void **state)
{
    (void)state;
    assert_int_equal(statement_byte_collations("SELECT a FROM t ORDER BY a"), 0);
    assert_int_equal(statement_byte_collations("ORDER BY a COLLATE \"C\""), 1);
    assert_int_equal(statement_byte_collations("ORDER BY a collate\n\"POSIX\", b COLLATE pg_catalog.\"C\""), 2);
    assert_int_equal(statement_byte_collations("ORDER BY a COLLATE ucs_basic"), 1);
    assert_int_equal(statement_byte_collations("ORDER BY a COLLATE \"C.UTF-8\", b COLLATE \"de-x-icu\""), 0);
    assert_int_equal(statement_byte_collations("ORDER BY a COLLATE"), 0);
}

static void unusable_arguments_are_named(void **state)
{
    (void)state;
    mosaic_error error;
    const char *values[] = {"a", NULL, "b"};
    assert_int_equal(statement_check(NULL, &error), MOSAIC_USAGE);
    assert_int_equal(statement_check(&(mosaic_statement){0}, &error), MOSAIC_USAGE);
    assert_int_equal(statement_check(&(mosaic_statement){.sql = "x", .count = 1}, &error), MOSAIC_USAGE);
    assert_int_equal(statement_check(&(mosaic_statement){.sql = "x", .count = 65536, .values = values}, &error),
                     MOSAIC_USAGE);
    assert_int_equal(statement_check(&(mosaic_statement){.sql = "x", .count = -1}, &error), MOSAIC_USAGE);
    assert_int_equal(statement_check(&(mosaic_statement){.sql = "x", .result_format = 2}, &error), MOSAIC_USAGE);
    mosaic_statement binary = {.sql = "x", .count = 3, .values = values, .formats = (int[]){0, 1, 1}};
    assert_int_equal(statement_check(&binary, &error), MOSAIC_USAGE);
    assert_non_null(strstr(error.message, "$3"));
    binary.lengths = (int[]){0, 0, 1};
    assert_int_equal(statement_check(&binary, &error), MOSAIC_OK);
}

static void copies_are_deep(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    char text[] = "text", bytes[] = {0, 1, 0}, sql[] = "SELECT";
    mosaic_key parts[] = {mosaic_key_int64(7), mosaic_key_text(text)}, key;
    mosaic_statement copy, given = {.sql = sql,
                                    .count = 3,
                                    .values = (const char *[]){text, bytes, NULL},
                                    .lengths = (int[]){0, 3, 0},
                                    .formats = (int[]){0, 1, 0}};
    assert_true(statement_copy(&arena, &given, &copy));
    assert_true(statement_copy_key(&arena, mosaic_key_composite(parts, 2), &key));
    memset(text, 'x', 4), memset(bytes, 'x', 3), memset(sql, 'x', 6), memset(parts, 0, sizeof parts);
    assert_string_equal(copy.sql, "SELECT");
    assert_string_equal(copy.values[0], "text");
    assert_memory_equal(copy.values[1], "\0\1\0", 3);
    assert_null(copy.values[2]);
    assert_int_equal(copy.formats[1], 1);
    const mosaic_key *copied = key.data;
    assert_int_equal(copied[0].integer, 7);
    assert_memory_equal(copied[1].data, "text", 4);
    mosaic_key nested = mosaic_key_composite(&key, 1);
    assert_false(statement_copy_key(&arena, nested, &key));
    arena_free(&arena);
}

static void a_copy_without_memory_fails(void **state)
{
    (void)state;
    char large[3000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    mosaic_statement copy, given = {.sql = large,
                                    .count = 2,
                                    .values = (const char *[]){large, large},
                                    .types = (unsigned[]){25, 25},
                                    .lengths = (int[]){5, 5},
                                    .formats = (int[]){1, 0}};
    int failures = 0;
    for (long after = 0;; after++) {
        struct arena arena = ARENA_INIT;
        memory_fail_after(after);
        bool copied = statement_copy(&arena, &given, &copy);
        memory_fail_after(-1);
        arena_free(&arena);
        if (copied)
            break;
        failures++;
    }
    assert_true(failures >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_word_tells_the_kind),         cmocka_unit_test(what_may_stay_in_a_session_is_marked),
        cmocka_unit_test(an_unknown_function_marks_its_session), cmocka_unit_test(collations_of_bytes_are_counted),
        cmocka_unit_test(unusable_arguments_are_named),          cmocka_unit_test(copies_are_deep),
        cmocka_unit_test(a_copy_without_memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
