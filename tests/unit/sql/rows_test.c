#include "sql/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;

struct example {
    const char *text;
    int words;        /* -1: it is no INSERT … VALUES */
    const char *rows; /* those that are found, with a blank between; NULL: none */
    const char *parameters;
};

static const char *found_rows(const char *text, const struct rows *rows, char *to)
{
    *to = '\0';
    for (size_t i = 0; i < rows->count; i++)
        sprintf(to + strlen(to), "%s%.*s/%u", i ? " " : "", (int)(rows->list[i].end - rows->list[i].start),
                text + rows->list[i].start, rows->list[i].values);
    return to;
}

static const char *found_parameters(const struct rows *rows, char *to)
{
    *to = '\0';
    for (size_t i = 0; i < rows->parameter_count; i++)
        sprintf(to + strlen(to), "%s%u@%u", i ? " " : "", rows->parameters[i].number, rows->parameters[i].start);
    return to;
}

static void expect(const struct example *example)
{
    const char *text = example->text, *name = strstr(text, " t");
    size_t size = strlen(text), words = 0, count = 0;
    char got[500];
    struct rows rows;
    bool found = rows_words(text, size, 0, name ? (size_t)(name + 1 - text) : 0, &words);
    if (found != (example->words >= 0) || (found && words != (size_t)example->words)) {
        fprintf(stderr, "%s: %d words, expected %d\n", text, found ? (int)words : -1, example->words);
        fail();
    }
    if (!found)
        return;
    for (const char *at = example->rows; at && (at = strchr(at, '/')); at++)
        count++;
    enum rows_outcome outcome = rows_read(text, size, 0, words, count, &arena, &rows);
    assert_int_equal(outcome, example->rows ? ROWS_FOUND : ROWS_OTHER);
    if (!example->rows)
        return;
    assert_string_equal(found_rows(text, &rows, got), example->rows);
    assert_string_equal(found_parameters(&rows, got), example->parameters ? example->parameters : "");
    assert_int_equal(rows_read(text, size, 0, words, count + 1, &arena, &rows), ROWS_OTHER);
    assert_int_equal(rows_read(text, size, 0, words, count - 1, &arena, &rows), ROWS_OTHER);
    assert_int_equal(rows_read(text, size, 0, words + 1, count, &arena, &rows), ROWS_OTHER);
}

static void rows_are_found_by_words(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"INSERT INTO t VALUES (1)", 3, "(1)/1", NULL},
        {"INSERT INTO t VALUES (1),(2,3)", 3, "(1)/1 (2,3)/2", NULL},
        {"insert into t(a,b)values(1,f(2,3)),( $12 ,'a,)')on conflict do nothing;", 4, "(1,f(2,3))/2 ( $12 ,'a,)')/2",
         "12@37"},
        {"INSERT INTO t AS \"values\" (a) OVERRIDING SYSTEM VALUE VALUES (ARRAY[1,2], $$)$$) RETURNING $1 + $2", 9,
         "(ARRAY[1,2], $$)$$)/2", "1@91 2@96"},
        {"INSERT INTO t.u VALUES /* (0), */ (1), -- )\n(2)", 5, "(1)/1 (2)/1", NULL},
        {"WITH x AS (VALUES (1), (2)) INSERT INTO t VALUES (1)", 7, "(1)/1", NULL},
        {"INSERT INTO t SELECT 1", -1, NULL, NULL},
        {"INSERT INTO t (VALUES (1))", -1, NULL, NULL},
        {"INSERT INTO t DEFAULT VALUES", -1, NULL, NULL},
        {"INSERT INTO t (a) (VALUES (1))", -1, NULL, NULL},
        {"INSERT INTO t", -1, NULL, NULL},
        {"INSERT INTO t VALUES", 3, NULL, NULL},
        {"INSERT INTO t VALUES (1", 3, NULL, NULL},
        {"INSERT INTO t VALUES (1))", 3, NULL, NULL},
        {"INSERT INTO t VALUES 1", 3, NULL, NULL},
        {"INSERT INTO t VALUES (1),", 3, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++)
        expect(&examples[i]);
    arena_free(&arena);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    static const char text[] = "INSERT INTO t VALUES ($1), ($2)";
    for (int failed = 0; failed < 2; failed++) {
        struct arena small = ARENA_INIT;
        struct rows rows;
        small.limit = 1;
        assert_int_equal(rows_read(text, sizeof text - 1, 0, 3, 2, &small, &rows), ROWS_MEMORY);
        arena_free(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_found_by_words),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
