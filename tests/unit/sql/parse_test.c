#include "sql/parse.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool reads(const char *text, size_t size)
{
    struct parse parse;
    assert_int_equal(parse_open(&parse, text, size, NULL), MOSAIC_OK);
    bool read = !parse.refused;
    parse_close(&parse);
    return read;
}

static void texts(void **state)
{
    (void)state;
    assert_true(reads("SELECT 1", 8));
    assert_true(reads("SELECT 1; SELECT 2garbage", 17));
    assert_true(reads("", 0));
    assert_false(reads("SELEC 1", 7));
    assert_false(reads("SELECT ?", 8));
    assert_false(reads("SELECT 1\0", 9));
    assert_false(reads("SELECT U&'\\d800'", 16));
    struct parse parse;
    assert_int_equal(parse_open(&parse, "SELECT * FROM", 13, NULL), MOSAIC_OK);
    assert_string_equal(parse.refused, "syntax error at end of input");
    assert_int_equal(parse.refused_at, 14);
    parse_close(&parse);
}

static void more_in_the_same_memory(void **state)
{
    (void)state;
    struct parse parse;
    assert_int_equal(parse_open(&parse, "SELECT 1", 8, NULL), MOSAIC_OK);
    assert_non_null(parse_more(&parse, "SELECT 2", 8));
    assert_null(parse_more(&parse, "SELEC", 5));
    assert_non_null(parse_more(&parse, "SELECT 3", 8));
    parse_close(&parse);
}

/* Long and deep texts give an answer on a small stack. */
static void *long_texts(void *unused)
{
    (void)unused;
    size_t size = 3 << 20;
    char *text = malloc(size);
    static const char *const pieces[] = {"1+", "(", "a.", "NOT ", "x[", "SELECT 1 UNION ", "- ", "'", "$a$", "CASE "};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        size_t at = 7, length = strlen(pieces[i]);
        memcpy(text, "SELECT ", at);
        for (; at + length < size; at += length)
            memcpy(text + at, pieces[i], length);
        (void)reads(text, at);
        memcpy(text + at - length, "1", 1);
        (void)reads(text, at - length + 1);
    }
    free(text);
    return NULL;
}

static void small_stacks(void **state)
{
    (void)state;
    pthread_attr_t attributes;
    pthread_t threads[2];
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 256 << 10), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], &attributes, long_texts, NULL), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    pthread_attr_destroy(&attributes);
}

static void too_long(void **state)
{
    (void)state;
    size_t size = 64 << 20;
    char *text = malloc(size);
    memset(text, ' ', size);
    assert_false(reads(text, size));
    free(text);
}

static void memory_runs_out(void **state)
{
    (void)state;
    struct parse parse;
    memory_fail_after(0);
    mosaic_error error;
    assert_int_equal(parse_open(&parse, "SELECT 1", 8, &error), MOSAIC_MEMORY);
    memory_fail_after(-1);
    parse_close(&parse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),    cmocka_unit_test(more_in_the_same_memory), cmocka_unit_test(small_stacks),
        cmocka_unit_test(too_long), cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
