#include "core/script.h"
#include "random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static mosaic_error error;

/* Cuts the text and compares: the statements joined by '|'. */
static void cuts_into(const char *text, const char *expected)
{
    struct script script = script_start(text, strlen(text));
    struct statement statement;
    char joined[4096] = "";
    size_t used = 0;
    for (;;) {
        assert_int_equal(script_next(&script, &statement, &error), MOSAIC_OK);
        if (!statement.size)
            break;
        used += (size_t)snprintf(joined + used, sizeof joined - used, "%s%.*s", used ? "|" : "", (int)statement.size,
                                 statement.text);
    }
    assert_string_equal(joined, expected);
}

static void statements_end_at_semicolons(void **state)
{
    (void)state;
    cuts_into("", "");
    cuts_into(" ; ;; -- nothing\n /* no; */ ", "");
    cuts_into("a;b", "a|b");
    cuts_into("a ;\n b;", "a |b");
    cuts_into("select 1", "select 1");
}

static void semicolons_inside_are_no_ends(void **state)
{
    (void)state;
    cuts_into("a ';' b; c", "a ';' b|c");
    cuts_into("a 'it''s;' ; c", "a 'it''s;' |c");
    cuts_into("a E'\\';' ; c", "a E'\\';' |c");
    cuts_into("a '\\' ; c", "a '\\' |c");
    cuts_into("a \"x;\"; c", "a \"x;\"|c");
    cuts_into("a $$;$$; c", "a $$;$$|c");
    cuts_into("a $x$ $$;$y$ $x$; c", "a $x$ $$;$y$ $x$|c");
    cuts_into("a$b$;c$b$", "a$b$|c$b$"); /* a dollar inside a name quotes nothing */
    cuts_into("select $1; c", "select $1|c");
    cuts_into("a -- ;\n; c", "a -- ;\n|c");
    cuts_into("a /* ; /* ; */ ; */; c", "a /* ; /* ; */ ; */|c");
    cuts_into("create rule r as on insert to t do (select 1; select 2); c",
              "create rule r as on insert to t do (select 1; select 2)|c");
}

static void sql_bodies_are_whole(void **state)
{
    (void)state;
    cuts_into("create function f() returns int begin atomic select 1; select case when true then 2 end; end; c",
              "create function f() returns int begin atomic select 1; select case when true then 2 end; end|c");
    cuts_into("create or replace procedure f() begin atomic select 1; end; c",
              "create or replace procedure f() begin atomic select 1; end|c");
    cuts_into("begin; select 1; end; c", "begin|select 1|end|c");
}

static void what_is_not_closed_stays_whole(void **state)
{
    (void)state;
    cuts_into("a 'b; c", "a 'b; c");
    cuts_into("a $$ b; c", "a $$ b; c");
    cuts_into("a /* b; c", "a /* b; c");
    cuts_into("a (b; c", "a (b; c");
    cuts_into("a E'\\", "a E'\\");
}

static struct statement first_of(const char *text)
{
    struct script script = script_start(text, strlen(text));
    struct statement statement;
    assert_int_equal(script_next(&script, &statement, &error), MOSAIC_OK);
    return statement;
}

static void transactions_and_copies_are_seen(void **state)
{
    (void)state;
    static const char *const enders[] = {"begin",
                                         "START TRANSACTION",
                                         "commit",
                                         "end",
                                         "abort",
                                         "rollback",
                                         "/* x */ Rollback work",
                                         "prepare transaction 'x'",
                                         "commit prepared 'x'"};
    static const char *const others[] = {"rollback to a", "rollback work to savepoint a",
                                         "savepoint a",   "prepare x as select 1",
                                         "select begin",  "release a",
                                         "beginning"};
    for (size_t i = 0; i < sizeof enders / sizeof *enders; i++)
        assert_true(first_of(enders[i]).ends_transaction);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(first_of(others[i]).ends_transaction);
    assert_true(first_of("copy t (a, b) from stdin with (format csv)").copies_stdin);
    assert_false(first_of("copy t from '/tmp/stdin'").copies_stdin);
    assert_false(first_of("select 1 from stdin").copies_stdin);
}

static void lines_are_counted(void **state)
{
    (void)state;
    struct script script = script_start("a;\n\n-- x\nb\n\xC3\xA9 c\n d;", 20);
    struct statement statement;
    assert_int_equal(script_next(&script, &statement, &error), MOSAIC_OK);
    assert_int_equal(statement.line, 1);
    assert_int_equal(script_next(&script, &statement, &error), MOSAIC_OK);
    assert_int_equal(statement.line, 4);
    assert_int_equal(statement_line(&statement, 0), 4);
    assert_int_equal(statement_line(&statement, 1), 4);
    assert_int_equal(statement_line(&statement, 3), 5); /* é */
    assert_int_equal(statement_line(&statement, 5), 5); /* c, the fifth character */
    assert_int_equal(statement_line(&statement, 8), 6);
}

static void what_is_no_sql_is_refused(void **state)
{
    (void)state;
    struct script script = script_start("\n\\dt users\n", 11);
    struct statement statement;
    assert_int_equal(script_next(&script, &statement, &error), MOSAIC_DATA);
    assert_non_null(strstr(error.message, "line 2: \\dt is a command of psql"));
    script = script_start("a\0b", 3);
    assert_int_equal(script_next(&script, &statement, &error), MOSAIC_DATA);
    assert_non_null(strstr(error.message, "zero byte"));
    script = script_start("a;\nb '\0'", 8);
    assert_int_equal(script_next(&script, &statement, &error), MOSAIC_OK);
    assert_int_equal(script_next(&script, &statement, &error), MOSAIC_DATA);
    assert_non_null(strstr(error.message, "line 2: a zero byte"));
    assert_int_equal(first_of("select '\\d'").size, 11); /* inside a string it is none */
}

/* Whatever the bytes: it comes to an end, and statements lie in the text, in order. */
static void any_bytes_end(void **state)
{
    (void)state;
    static const char alphabet[] = "ae'\"$;\\-/*( )\nE1begin end ";
    struct random random = random_start();
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t size = random_below(&random, sizeof text);
        for (size_t i = 0; i < size; i++)
            text[i] = alphabet[random_below(&random, sizeof alphabet - 1)];
        struct script script = script_start(text, size);
        struct statement statement;
        const char *end = text;
        while (script_next(&script, &statement, &error) == MOSAIC_OK && statement.size) {
            assert_true(statement.text >= end && statement.text + statement.size <= text + size);
            end = statement.text + statement.size;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_end_at_semicolons),
        cmocka_unit_test(semicolons_inside_are_no_ends),
        cmocka_unit_test(sql_bodies_are_whole),
        cmocka_unit_test(what_is_not_closed_stays_whole),
        cmocka_unit_test(transactions_and_copies_are_seen),
        cmocka_unit_test(lines_are_counted),
        cmocka_unit_test(what_is_no_sql_is_refused),
        cmocka_unit_test(any_bytes_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
