/* The log of lines, against a plain array of everything that was added. */
#include "client/load_lines.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void finds_rows(void **state)
{
    (void)state;
    struct line_log log;
    assert_true(line_log_start(&log, 1024));
    line_log_add(&log, 2, 1);
    line_log_add(&log, 5, 3); /* lines 2 to 4 of the stream */
    line_log_add(&log, 1000000, 1);
    assert_int_equal(line_log_find(&log, 0), 0);
    assert_int_equal(line_log_find(&log, 1), 2);
    assert_int_equal(line_log_find(&log, 2), 5);
    assert_int_equal(line_log_find(&log, 4), 5);
    assert_int_equal(line_log_find(&log, 5), 1000000);
    assert_int_equal(line_log_find(&log, 6), 0);
    line_log_free(&log);
}

static void like_an_array(void **state)
{
    (void)state;
    enum { ROWS = 20000 };
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("SEED=%u\n", seed);
    srand(seed);
    struct line_log log;
    uint64_t *line_of = calloc((size_t)ROWS * 400, sizeof *line_of), line = 1, stream = 0;
    assert_non_null(line_of);
    assert_true(line_log_start(&log, 4096));
    for (int i = 0; i < ROWS; i++) {
        uint32_t count = rand() % 10 ? 1 : 1 + (uint32_t)rand() % 300;
        line += (uint64_t)(rand() % 50 ? rand() % 4 : rand() % 100000);
        line_log_add(&log, line, count);
        while (count--)
            line_of[++stream] = line;
    }
    size_t known = 0;
    for (uint64_t at = 1; at <= stream; at += 1 + (uint64_t)(stream - at > 20000 ? rand() % 500 : 0)) {
        uint64_t found = line_log_find(&log, at);
        assert_true(found == line_of[at] || (found == 0 && known == 0)); /* only the oldest are forgotten */
        known += found != 0;
    }
    assert_true(known > 500);
    assert_int_equal(line_log_find(&log, stream), line);
    free(line_of);
    line_log_free(&log);
}

static void lines_as_postgresql_counts_them(void **state)
{
    (void)state;
    struct copy_format csv = {.kind = MOSAIC_CSV}, text = {.kind = MOSAIC_TEXT};
    const char row[] = "1,\"a\nb\r\nc\"";
    size_t size = sizeof row - 1;
    assert_int_equal(line_count_of_row(&csv, COPY_NEWLINE_LF, row, size, false), 3);
    assert_int_equal(line_count_of_row(&csv, COPY_NEWLINE_LF, row, size, true), 2);
    assert_int_equal(line_count_of_row(&csv, COPY_NEWLINE_CRLF, row, size, false), 2);
    assert_int_equal(line_count_of_row(&csv, COPY_NEWLINE_CR, row, size, false), 2);
    assert_int_equal(line_count_of_row(&text, COPY_NEWLINE_LF, row, size, false), 1);
    assert_int_equal(line_count_of_row(&csv, COPY_NEWLINE_LF, row, 0, false), 1);
}

static void failed_allocation(void **state)
{
    (void)state;
    struct line_log log;
    memory_fail_after(0);
    bool fine = line_log_start(&log, 1024);
    memory_fail_after(-1);
    assert_false(fine);
    line_log_free(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_rows),
        cmocka_unit_test(like_an_array),
        cmocka_unit_test(lines_as_postgresql_counts_them),
        cmocka_unit_test(failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
