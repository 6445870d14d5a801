#include "base/memory.h"
#include "core/sqlexpr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect_identifier(const char *name, const char *expected)
{
    struct buffer sql = BUFFER_INIT(1000);
    sql_identifier(&sql, name);
    assert_string_equal(buffer_string(&sql), expected);
    buffer_free(&sql);
}

static void identifiers_are_quoted_where_quote_ident_does(void **state)
{
    (void)state;
    expect_identifier("users", "users");
    expect_identifier("_a1", "_a1");
    expect_identifier("1a", "\"1a\"");
    expect_identifier("Users", "\"Users\"");
    expect_identifier("a b", "\"a b\"");
    expect_identifier("a\"b", "\"a\"\"b\"");
    expect_identifier("größe", "\"größe\"");
    expect_identifier("a$", "\"a$\"");
    expect_identifier("", "\"\"");
    /* first, last and middle of the sorted list of keywords, and one that is unreserved */
    expect_identifier("all", "\"all\"");
    expect_identifier("xmltable", "\"xmltable\"");
    expect_identifier("order", "\"order\"");
    expect_identifier("user", "\"user\"");
    expect_identifier("name", "name");
}

static void literals_are_quoted(void **state)
{
    (void)state;
    struct buffer sql = BUFFER_INIT(1000);
    sql_literal(&sql, "it's", 4);
    sql_literal(&sql, "", 0);
    sql_literal(&sql, "a\\'", 3);
    assert_string_equal(buffer_string(&sql), "'it''s'''E'a\\\\'''");
    buffer_free(&sql);
}

static void a_failure_sticks(void **state)
{
    (void)state;
    struct buffer sql = BUFFER_INIT(1000);
    memory_fail_after(0);
    sql_identifier(&sql, "Users");
    memory_fail_after(-1);
    sql_literal(&sql, "x", 1);
    assert_true(buffer_failed(&sql));
    buffer_free(&sql);
}

static void constants_are_told_from_what_is_worked_out(void **state)
{
    (void)state;
    static const char *const constants[] = {
        "7",
        "-7",
        "1.5",
        "NULL",
        "true",
        "false",
        "'new'::text",
        "'it''s'::character varying",
        "'-1'::integer",
        "''",
        "'{}'::jsonb",
        "NULL::character varying",
        "ARRAY[]::text[]",
        "'a (b)'::text",
        "'x'::my.\"type\"",
    };
    static const char *const others[] = {
        "",
        "now()",
        "CURRENT_TIMESTAMP",
        "gen_random_uuid()",
        "nextval('s'::regclass)",
        "('now'::text)::date",
        "'now'::text::date",
        "(1 + 2)",
        "'a'::text || now()",
        "'a",
        "-",
        "NULLIF(a, b)",
        "true AND f()",
        "'a''",
        "x",
        "CURRENT_USER",
        "ARRAY[now()]",
        "'a'::text + 1",
        "7::t(now())",
        "trueish",
    };
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        if (!sql_is_constant(constants[i]))
            fail_msg("%s is a constant", constants[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (sql_is_constant(others[i]))
            fail_msg("%s is no constant", others[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_are_told_from_what_is_worked_out),
        cmocka_unit_test(identifiers_are_quoted_where_quote_ident_does),
        cmocka_unit_test(literals_are_quoted),
        cmocka_unit_test(a_failure_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
