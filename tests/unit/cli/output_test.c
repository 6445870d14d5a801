#include "cli/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char text[256];

static void counts_are_grouped(void **state)
{
    (void)state;
    assert_string_equal(output_count(0, text), "0");
    assert_string_equal(output_count(999, text), "999");
    assert_string_equal(output_count(1000, text), "1,000");
    assert_string_equal(output_count(12345678, text), "12,345,678");
    assert_string_equal(output_count(UINT64_MAX, text), "18,446,744,073,709,551,615");
}

static void bytes_have_units(void **state)
{
    (void)state;
    assert_string_equal(output_bytes(0, text), "0 B");
    assert_string_equal(output_bytes(1023, text), "1023 B");
    assert_string_equal(output_bytes(1024, text), "1.0 KiB");
    assert_string_equal(output_bytes(1024 * 1024 - 1, text), "1.0 MiB");
    assert_string_equal(output_bytes(5ull << 40, text), "5.0 TiB");
    assert_string_equal(output_bytes(UINT64_MAX, text), "16.0 EiB");
}

static void durations_read_as_a_person_says_them(void **state)
{
    (void)state;
    assert_string_equal(output_duration(-1, text), "0.0 s");
    assert_string_equal(output_duration(3.21, text), "3.2 s");
    assert_string_equal(output_duration(59.96, text), "1:00 min");
    assert_string_equal(output_duration(65, text), "1:05 min");
    assert_string_equal(output_duration(3600, text), "1:00 h");
    assert_non_null(strstr(output_duration(1e300, text), " h"));
}

static void bars_have_eighths(void **state)
{
    (void)state;
    assert_string_equal(output_bar(0, 4, text), "    ");
    assert_string_equal(output_bar(1, 4, text), "████");
    assert_string_equal(output_bar(0.5, 4, text), "██  ");
    assert_string_equal(output_bar(0.125 / 4, 4, text), "▏   ");
    assert_string_equal(output_bar(2, 2, text), "██");
    assert_string_equal(output_bar(-1, 2, text), "  ");
    assert_string_equal(output_bar(0.0 / 0.0, 2, text), "  ");
}

/* What a table prints. The caller frees it. */
static char *printed(struct output_table *table)
{
    char *out = NULL;
    size_t size;
    FILE *stream = tmpfile();
    assert_non_null(stream);
    output_table_print(table, stream);
    long end = ftell(stream);
    rewind(stream);
    size = (size_t)end;
    out = calloc(size + 1, 1);
    assert_int_equal(fread(out, 1, size, stream), size);
    fclose(stream);
    return out;
}

static void tables_are_aligned_by_characters(void **state)
{
    (void)state;
    struct output_table *table = output_table_new(3, "lrl");
    const char *cells[] = {"shard", "rows", "bar", "s0", "1", "█", "süd", "12,345", ""};
    for (size_t i = 0; i < 9; i++)
        output_table_cell(table, cells[i]);
    char *out = printed(table);
    assert_string_equal(out, "shard    rows  bar\n"
                             "s0          1  █\n"
                             "süd    12,345  \n");
    free(out);
}

static void json_keeps_its_order(void **state)
{
    (void)state;
    FILE *stream = tmpfile();
    assert_true(output_json_line(stream, json_pack("{s:i,s:s}", "z", 1, "a", "ü")));
    rewind(stream);
    assert_non_null(fgets(text, sizeof text, stream));
    assert_string_equal(text, "{\"z\":1,\"a\":\"ü\"}\n");
    assert_false(output_json_line(stream, NULL));
    fclose(stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_grouped),
        cmocka_unit_test(bytes_have_units),
        cmocka_unit_test(durations_read_as_a_person_says_them),
        cmocka_unit_test(bars_have_eighths),
        cmocka_unit_test(tables_are_aligned_by_characters),
        cmocka_unit_test(json_keeps_its_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
