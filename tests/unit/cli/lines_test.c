#include "base/memory.h"
#include "cli/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static mosaic_error error;

/* A file with these bytes, read from its start. */
static FILE *file_of(const void *bytes, size_t size)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
    return file;
}

/* Reads all lines and joins them again, each followed by '|'. The caller frees it. */
static char *joined(const void *bytes, size_t size, size_t capacity, size_t *out_size, mosaic_status *status)
{
    FILE *file = file_of(bytes, size);
    struct lines lines;
    struct key_slice slices[8];
    char *out = malloc(size + 2);
    *out_size = 0;
    *status = lines_open(&lines, fileno(file), &error);
    uint64_t number = 1;
    while (*status == MOSAIC_OK) {
        size_t count = lines_take(&lines, slices, capacity);
        if (count)
            assert_int_equal(lines_number(&lines, count), number);
        number += count;
        for (size_t i = 0; i < count; i++) {
            memcpy(out + *out_size, slices[i].data, slices[i].size);
            *out_size += slices[i].size;
            out[(*out_size)++] = '|';
        }
        if (count == 0 && lines.ended)
            break;
        if (count == 0)
            *status = lines_fill(&lines, &error);
    }
    lines_close(&lines);
    fclose(file);
    return out;
}

static void check_lines(const char *input, size_t size, const char *expected, size_t expected_size)
{
    for (size_t capacity = 1; capacity <= 8; capacity++) {
        size_t got;
        mosaic_status status;
        char *out = joined(input, size, capacity, &got, &status);
        assert_int_equal(status, MOSAIC_OK);
        assert_int_equal(got, expected_size);
        assert_memory_equal(out, expected, got);
        free(out);
    }
}

static void every_byte_but_the_end_belongs_to_a_line(void **state)
{
    (void)state;
    check_lines("", 0, "", 0);
    check_lines("a", 1, "a|", 2);
    check_lines("a\n", 2, "a|", 2);
    check_lines("\n\n", 2, "||", 2);
    check_lines("a\r\n\0\xff\n\nb", 8, "a\r|\0\xff||b|", 9);
}

static void a_line_may_have_the_limit_and_no_more(void **state)
{
    (void)state;
    char *input = malloc(LINE_LIMIT + 3), *out;
    size_t got;
    mosaic_status status;
    memset(input, 'x', LINE_LIMIT + 3);
    out = joined(input, LINE_LIMIT, 4, &got, &status);
    assert_int_equal(status, MOSAIC_OK);
    assert_int_equal(got, LINE_LIMIT + 1);
    free(out);
    input[0] = '\n';
    out = joined(input, LINE_LIMIT + 2, 4, &got, &status);
    assert_int_equal(status, MOSAIC_LIMIT);
    assert_string_equal(error.message, "line 2 is longer than 1048576 bytes");
    free(out);
    input[LINE_LIMIT + 2] = '\n';
    out = joined(input, LINE_LIMIT + 3, 4, &got, &status);
    assert_int_equal(status, MOSAIC_LIMIT);
    assert_int_equal(got, 1); /* the empty line before it was handed out */
    free(out);
    free(input);
}

static void random_bytes_come_out_as_they_went_in(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("SEED=%u\n", seed);
    srand(seed);
    for (int round = 0; round < 20; round++) {
        size_t size = (size_t)rand() % (5 * LINE_LIMIT) + 1, got;
        char *input = malloc(size), *out;
        int gap = round % 2 ? 10 : 50000;
        for (size_t i = 0; i < size; i++)
            input[i] = rand() % gap ? (char)('a' + i % 26) : '\n';
        mosaic_status status;
        out = joined(input, size, 8, &got, &status);
        assert_int_equal(status, MOSAIC_OK);
        assert_int_equal(got, size + (input[size - 1] != '\n'));
        for (size_t i = 0; i < size; i++)
            assert_int_equal(out[i], input[i] == '\n' ? '|' : input[i]);
        free(out);
        free(input);
    }
}

static void failures_are_reported(void **state)
{
    (void)state;
    struct lines lines;
    struct key_slice slice;
    memory_fail_after(0);
    assert_int_equal(lines_open(&lines, 0, &error), MOSAIC_MEMORY);
    memory_fail_after(-1);
    assert_int_equal(lines_open(&lines, -1, &error), MOSAIC_OK);
    assert_int_equal(lines_take(&lines, &slice, 1), 0);
    assert_int_equal(lines_fill(&lines, &error), MOSAIC_IO);
    assert_non_null(strstr(error.message, "line 1"));
    lines_close(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_but_the_end_belongs_to_a_line),
        cmocka_unit_test(a_line_may_have_the_limit_and_no_more),
        cmocka_unit_test(random_bytes_come_out_as_they_went_in),
        cmocka_unit_test(failures_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
