#include "cli/bad_rows.h"

#include "../random.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static mosaic_error why = {.sqlstate = "22P02", .message = "no \"number\""};
static char directory[] = "/tmp/bad_rows.XXXXXX";
static char path[128];

static int make_directory(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/bad.csv", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory); /* fails where anything is left beside the file */
}

static char *contents(void)
{
    static char text[256 * 1024];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void add(struct bad_rows *rows, uint64_t line, const char *row)
{
    bad_rows_add(rows, line, row, strlen(row), &why);
}

static void test_rows_are_in_the_order_of_lines(void **state)
{
    (void)state;
    struct bad_rows rows = {.path = path};
    mosaic_error error;
    bool sorted = false;
    add(&rows, 7, "a,\"two\nlines\"");
    add(&rows, 3, "say \"\"");
    add(&rows, 5, "");
    assert_int_equal(bad_rows_close(&rows, &sorted, &error), MOSAIC_OK);
    assert_true(sorted);
    assert_string_equal(contents(), "line,sqlstate,reason,row\n"
                                    "3,22P02,\"no \"\"number\"\"\",\"say \"\"\"\"\"\n"
                                    "5,22P02,\"no \"\"number\"\"\",\"\"\n"
                                    "7,22P02,\"no \"\"number\"\"\",\"a,\"\"two\nlines\"\"\"\n");
}

static void test_random_orders(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 30; round++) {
        enum { MOST = 2000 };
        uint64_t lines[MOST];
        size_t count = random_below(&random, MOST) + 1, at = 0;
        struct bad_rows rows = {.path = path, .binary = round % 2 == 1};
        mosaic_error error;
        bool sorted;
        for (size_t i = 0; i < count; i++)
            lines[i] = i + 2;
        for (size_t i = count; i-- > 1;) {
            size_t other = random_below(&random, (uint32_t)i + 1);
            uint64_t line = lines[i];
            lines[i] = lines[other];
            lines[other] = line;
        }
        for (size_t i = 0; i < count; i++)
            add(&rows, lines[i], lines[i] % 3 ? "x" : "\n\"");
        assert_int_equal(bad_rows_close(&rows, &sorted, &error), MOSAIC_OK);
        assert_true(sorted);
        for (const char *text = strstr(contents(), ",22P02,"); text; text = strstr(text + 1, ",22P02,")) {
            const char *number = text;
            while (number[-1] >= '0' && number[-1] <= '9')
                number--;
            assert_int_equal(strtoull(number, NULL, 10), 2 + at++);
        }
        assert_int_equal(at, count);
    }
}

static void test_a_clean_load_touches_no_file(void **state)
{
    (void)state;
    struct bad_rows rows = {.path = path};
    mosaic_error error;
    bool sorted;
    unlink(path);
    assert_int_equal(bad_rows_close(&rows, &sorted, &error), MOSAIC_OK);
    assert_int_equal(access(path, F_OK), -1);
}

static void test_a_load_that_begins_again_begins_the_file_again(void **state)
{
    (void)state;
    struct bad_rows rows = {.path = path};
    mosaic_error error;
    bool sorted;
    add(&rows, 9, "old");
    bad_rows_restart(&rows);
    add(&rows, 4, "new");
    assert_int_equal(bad_rows_close(&rows, &sorted, &error), MOSAIC_OK);
    assert_null(strstr(contents(), "old"));
    assert_non_null(strstr(contents(), "4,22P02"));
}

static void test_mode_and_link_of_the_file_stay(void **state)
{
    (void)state;
    struct stat about;
    char target[160];
    struct bad_rows rows = {.path = path};
    mosaic_error error;
    bool sorted;
    snprintf(target, sizeof target, "%s.target", path);
    unlink(path);
    fclose(fopen(target, "w"));
    assert_int_equal(chmod(target, 0640), 0);
    assert_int_equal(symlink(target, path), 0);
    add(&rows, 9, "b");
    add(&rows, 4, "a");
    assert_int_equal(bad_rows_close(&rows, &sorted, &error), MOSAIC_OK);
    assert_int_equal(lstat(path, &about), 0);
    assert_true(S_ISLNK(about.st_mode));
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0640);
    assert_non_null(strstr(contents(), "row\n4,"));
    unlink(path);
    unlink(target);
}

static void test_what_cannot_be_written_is_told_at_the_end(void **state)
{
    (void)state;
    struct bad_rows rows = {.path = "/nowhere/at/all"}, full = {.path = "/dev/full"};
    mosaic_error error;
    bool sorted;
    add(&rows, 1, "x");
    assert_int_equal(bad_rows_close(&rows, &sorted, &error), MOSAIC_IO);
    assert_non_null(strstr(error.message, "/nowhere/at/all"));
    add(&full, 2, "x");
    add(&full, 1, "x");
    assert_int_equal(bad_rows_close(&full, &sorted, &error), MOSAIC_IO);
    assert_non_null(strstr(error.message, "/dev/full"));
}

static void test_without_memory_they_stay_as_they_came(void **state)
{
    (void)state;
    struct bad_rows rows = {.path = path};
    mosaic_error error;
    bool sorted;
    memory_fail_after(0);
    add(&rows, 2, "b");
    memory_fail_after(-1);
    add(&rows, 1, "a");
    assert_int_equal(bad_rows_close(&rows, &sorted, &error), MOSAIC_OK);
    assert_false(sorted);
    assert_non_null(strstr(contents(), "row\n2,"));
    assert_non_null(strstr(contents(), "\n1,"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_in_the_order_of_lines),
        cmocka_unit_test(test_random_orders),
        cmocka_unit_test(test_a_clean_load_touches_no_file),
        cmocka_unit_test(test_a_load_that_begins_again_begins_the_file_again),
        cmocka_unit_test(test_mode_and_link_of_the_file_stay),
        cmocka_unit_test(test_what_cannot_be_written_is_told_at_the_end),
        cmocka_unit_test(test_without_memory_they_stay_as_they_came),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
