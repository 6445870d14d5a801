#include "base/error.h"
#include "cli/statement_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* All statements of a file: "line: text [parameters]\n" each. */
static const char *statements_of(const char *content)
{
    static char out[4096];
    FILE *file = tmpfile();
    struct statement_log log;
    struct logged_statement statement;
    mosaic_error error;
    size_t size = 0;
    out[0] = '\0';
    assert_non_null(file);
    fwrite(content, 1, strlen(content), file);
    rewind(file);
    assert_int_equal(statement_log_open(&log, fileno(file), &error), MOSAIC_OK);
    for (;;) {
        assert_int_equal(statement_log_next(&log, &statement, &error), MOSAIC_OK);
        if (!statement.text)
            break;
        size += (size_t)snprintf(out + size, sizeof out - size, "%d: %.*s", (int)statement.line, (int)statement.size,
                                 statement.text);
        for (size_t i = 0; i < statement.parameter_count; i++)
            size += (size_t)snprintf(out + size, sizeof out - size, " [%.*s]",
                                     statement.parameters[i].size < 0 ? 4 : statement.parameters[i].size,
                                     statement.parameters[i].size < 0 ? "NULL" : statement.parameters[i].data);
        size += (size_t)snprintf(out + size, sizeof out - size, "\n");
    }
    statement_log_close(&log);
    fclose(file);
    return out;
}

static void one_statement_a_line(void **state)
{
    (void)state;
    assert_string_equal(statements_of("SELECT 1\r\n\nSELECT 'LOG';\n"), "1: SELECT 1\n3: SELECT 'LOG';\n");
    assert_string_equal(statements_of(""), "");
    assert_string_equal(statements_of("SELECT 1"), "1: SELECT 1\n");
}

static void a_server_s_log(void **state)
{
    (void)state;
    assert_string_equal(
        statements_of("2026-01-01 10:00:00 UTC [7] LOG:  database system is ready\n"
                      "2026-01-01 10:00:00 UTC [7] a@b LOG:  statement: SELECT 1\n\tFROM t -- LOG:  x\n"
                      "2026-01-01 10:00:00 UTC [7] a@b ERROR:  relation \"x\" does not exist at character 15\n"
                      "2026-01-01 10:00:00 UTC [7] a@b STATEMENT:  SELECT * FROM x\n"
                      "2026-01-01 10:00:01 UTC [7] a@b LOG:  duration: 0.1 ms  parse a: SELECT $1\n"
                      "2026-01-01 10:00:01 UTC [7] a@b LOG:  duration: 0.1 ms  execute a: SELECT $1, $2, $3\n"
                      "2026-01-01 10:00:01 UTC [7] a@b DETAIL:  parameters: $1 = '4''2', $2 = NULL, $3 = 'a\n\tb'\n"
                      "2026-01-01 10:00:02 UTC [7] a@b LOG:  duration: 3.25 ms\n"
                      "2026-01-01 10:00:02 UTC [7] a@b LOG:  execute <unnamed>: SELECT 2"),
        "2: SELECT 1\nFROM t -- LOG:  x\n7: SELECT $1, $2, $3 [4'2] [NULL] [a\nb]\n11: SELECT 2\n");
}

static void a_log_as_csv(void **state)
{
    (void)state;
    static const char head[] =
        "2026-01-01 10:00:00.000 UTC,\"a\",\"b\",7,\"::1:1\",6.7,1,\"SELECT\",2026-01-01 10:00:00 UTC,"
        "3/4,0,LOG,00000,";
    char content[2048];
    snprintf(content, sizeof content,
             "%s\"statement: SELECT \"\"a\"\",\n 'b'\",,,,,,,,,\"psql\",\"client backend\",,0\n"
             "%s\"connection authorized: user=a\",,,,,,,,,\"psql\",\"client backend\",,0\n"
             "%s\"execute s: SELECT $1\",\"parameters: $1 = '1,2'\",,,,,,,,\"psql\",\"client backend\",,0\n"
             "%sstatement: SELECT 2,,,,,,,,,\"psql\",\"client backend\",,0\n",
             head, head, head, head);
    assert_string_equal(statements_of(content), "1: SELECT \"a\",\n 'b'\n4: SELECT $1 [1,2]\n5: SELECT 2\n");
}

static void parameters_stop_at_what_cannot_be_read(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    static const struct {
        const char *text;
        size_t count;
    } cases[] = {{"", 0},
                 {"parameters: ", 0},
                 {"parameters: $1", 0},
                 {"parameters: $1 = ", 0},
                 {"parameters: $1 = '", 0},
                 {"parameters: $1 = 'a', $2 = 'b", 1},
                 {"parameters: $1 = NULL", 1},
                 {"parameters: $1 = 'a', ", 1},
                 {"nothing: $1 = 'a'", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t count, size = strlen(cases[i].text);
        char *exact = malloc(size ? size : 1);
        memcpy(exact, cases[i].text, size);
        assert_non_null(statement_log_parameters(exact, size, &arena, &count));
        assert_int_equal(count, cases[i].count);
        free(exact);
    }
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_statement_a_line),
        cmocka_unit_test(a_server_s_log),
        cmocka_unit_test(a_log_as_csv),
        cmocka_unit_test(parameters_stop_at_what_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
