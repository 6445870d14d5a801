/* Options of COPY, and the values of single fields. */
#include "copy/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct copy_format checked(struct copy_format format)
{
    mosaic_error error;
    assert_int_equal(copy_format_check(&format, &error), MOSAIC_OK);
    return format;
}

static void has_value(struct copy_format format, const char *raw, const char *wanted)
{
    struct arena arena = ARENA_INIT;
    const char *value;
    size_t size;
    bool is_null;
    assert_true(copy_field_value(&format, raw, strlen(raw), &arena, &value, &size, &is_null));
    assert_int_equal(is_null, wanted == NULL);
    if (wanted) {
        assert_int_equal(size, strlen(wanted));
        assert_memory_equal(value, wanted, size);
    }
    arena_free(&arena);
}

static void values_of_csv(void **state)
{
    (void)state;
    struct copy_format csv = checked((struct copy_format){.kind = MOSAIC_CSV});
    has_value(csv, "abc", "abc");
    has_value(csv, "", NULL);
    has_value(csv, "\"\"", "");
    has_value(csv, "\"a\"\"b\"", "a\"b");
    has_value(csv, "a\"b,c\"d", "ab,cd");
    has_value(csv, "\"\"\"\"", "\"");
    has_value(csv, "a\\nb", "a\\nb");
    struct copy_format escape = checked((struct copy_format){.kind = MOSAIC_CSV, .escape = '\\', .null_text = "NULL"});
    has_value(escape, "NULL", NULL);
    has_value(escape, "\"NULL\"", "NULL");
    has_value(escape, "\"a\\\"b\\\\c\\d\"", "a\"b\\c\\d");
    has_value(escape, "a\\b", "a\\b");
}

static void values_of_text(void **state)
{
    (void)state;
    struct copy_format text = checked((struct copy_format){.kind = MOSAIC_TEXT});
    has_value(text, "\\N", NULL);
    has_value(text, "\\\\N", "\\N");
    has_value(text, "", "");
    has_value(text, "a\\tb\\nc\\rd\\be\\ff\\vg", "a\tb\nc\rd\be\ff\vg");
    has_value(text, "\\101\\x42\\x4g\\8\\q\\x", "AB\x04g8qx");
    has_value(text, "\\60x\\1234", "0xS4");
    has_value(text, "a\\", "a");
}

static void fields_of_a_row(void **state)
{
    (void)state;
    struct copy_format csv = checked((struct copy_format){.kind = MOSAIC_CSV});
    const char row[] = "1,\"a,b\",";
    size_t next = 0, start, end;
    assert_true(copy_field_next(&csv, row, strlen(row), &next, &start, &end));
    assert_int_equal(start, 0);
    assert_int_equal(end, 1);
    assert_true(copy_field_next(&csv, row, strlen(row), &next, &start, &end));
    assert_int_equal(start, 2);
    assert_int_equal(end, 7);
    assert_true(copy_field_next(&csv, row, strlen(row), &next, &start, &end));
    assert_int_equal(start, 8);
    assert_int_equal(end, 8);
    assert_false(copy_field_next(&csv, row, strlen(row), &next, &start, &end));
}

static void options_are_checked(void **state)
{
    (void)state;
    const struct copy_format wrong[] = {
        {.kind = MOSAIC_CSV, .delimiter = '\n'},
        {.kind = MOSAIC_CSV, .delimiter = '"'},
        {.kind = MOSAIC_CSV, .quote = '\r'},
        {.kind = MOSAIC_CSV, .null_text = "a,b"},
        {.kind = MOSAIC_CSV, .null_text = "\"\""},
        {.kind = MOSAIC_CSV, .null_text = "\n"},
        {.kind = MOSAIC_CSV, .delimiter = (char)0xE4},
        {.kind = MOSAIC_TEXT, .delimiter = 'a'},
        {.kind = MOSAIC_TEXT, .delimiter = '\\'},
        {.kind = MOSAIC_TEXT, .quote = '"'},
        {.kind = MOSAIC_BINARY, .delimiter = ','},
        {.kind = (mosaic_format)7},
        {.kind = MOSAIC_CSV, .row_limit = (size_t)1 << 40},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct copy_format format = wrong[i];
        mosaic_error error;
        assert_int_equal(copy_format_check(&format, &error), MOSAIC_USAGE);
        assert_int_not_equal(error.message[0], '\0');
    }
}

static void options_in_sql(void **state)
{
    (void)state;
    struct buffer sql = BUFFER_INIT(1000);
    struct copy_format csv = checked((struct copy_format){.kind = MOSAIC_CSV, .quote = '\'', .escape = '\\'});
    copy_format_sql(&csv, &sql);
    assert_string_equal(buffer_string(&sql), "(FORMAT csv, DELIMITER E',', NULL E'', QUOTE E'''', ESCAPE E'\\\\')");
    buffer_clear(&sql);
    struct copy_format binary = checked((struct copy_format){.kind = MOSAIC_BINARY});
    copy_format_sql(&binary, &sql);
    assert_string_equal(buffer_string(&sql), "(FORMAT binary)");
    buffer_free(&sql);
}

static void failed_allocation(void **state)
{
    (void)state;
    struct copy_format csv = checked((struct copy_format){.kind = MOSAIC_CSV});
    struct arena arena = ARENA_INIT;
    const char *value;
    size_t size;
    bool is_null;
    memory_fail_after(0);
    bool fine = copy_field_value(&csv, "\"a\"", 3, &arena, &value, &size, &is_null);
    memory_fail_after(-1);
    assert_false(fine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_csv),       cmocka_unit_test(values_of_text), cmocka_unit_test(fields_of_a_row),
        cmocka_unit_test(options_are_checked), cmocka_unit_test(options_in_sql), cmocka_unit_test(failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
