#include "../random.h"
#include "core/modifier.h"
#include "core/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int numeric_modifier(int precision, int scale)
{
    return (precision << 16 | (scale & 0x7FF)) + 4;
}

static void read_key(enum key_type type, const char *text, struct arena *arena, struct key_value *value)
{
    mosaic_error error;
    assert_int_equal(key_from_text(type, "k", text, strlen(text), arena, value, &error), MOSAIC_OK);
}

/* After the modifier, `given` is the same key as `stored`. */
static void expect(enum key_type type, int modifier, const char *given, const char *stored)
{
    struct arena arena = ARENA_INIT;
    struct key_value a, b;
    read_key(type, given, &arena, &a);
    read_key(type, stored, &arena, &b);
    assert_true(modifier_apply(modifier, &arena, &a));
    if (key_compare(&a, &b) != 0)
        fail_msg("%s with modifier %d is not %s", given, modifier, stored);
    arena_free(&arena);
}

static void numeric_is_rounded_half_away_from_zero(void **state)
{
    (void)state;
    static const struct {
        int scale;
        const char *given, *stored;
    } cases[] = {
        {2, "1.005", "1.01"},
        {2, "-1.005", "-1.01"},
        {2, "1.00499", "1"},
        {0, "0.5", "1"},
        {0, "0.49999", "0"},
        {2, "9999.995", "10000"},
        {0, "99999999.5", "1e8"},
        {4, "0.00005", "0.0001"},
        {4, "0.000049", "0"},
        {2, "0.00001", "0"},
        {-2, "150", "200"},
        {-2, "49.9", "0"},
        {-3, "-5000", "-5000"},
        {-4, "5000", "10000"},
        {-4, "4999", "0"},
        {-9, "5000", "0"},
        {2, "NaN", "NaN"},
        {2, "-infinity", "-infinity"},
        {2, "12.5", "12.5"},
        {2, "0", "0"},
        {5, "1.23456789", "1.23457"},
        {6, "1.99999950", "2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect(KEY_NUMERIC, numeric_modifier(20, cases[i].scale), cases[i].given, cases[i].stored);
    expect(KEY_NUMERIC, -1, "1.005", "1.005");
}

static void numeric_agrees_with_whole_numbers(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 20000; round++) {
        int digits = (int)random_below(&random, 9), scale = (int)random_below(&random, 9);
        int64_t number = (int64_t)(random_bits(&random) >> (24 + random_below(&random, 38))), unit = 1;
        for (int i = scale; i < digits; i++)
            unit *= 10;
        int64_t rounded = (number + unit / 2) / unit * unit;
        char given[64], stored[64];
        const char *sign = random_below(&random, 2) ? "-" : "";
        snprintf(given, sizeof given, "%s%" PRId64 "e-%d", sign, number, digits);
        snprintf(stored, sizeof stored, "%s%" PRId64 "e-%d", sign, unit == 1 ? number : rounded, digits);
        expect(KEY_NUMERIC, numeric_modifier(30, scale), given, stored);
    }
}

static void timestamps_are_rounded(void **state)
{
    (void)state;
    expect(KEY_TIMESTAMP, 0, "2021-05-05 12:00:00.5", "2021-05-05 12:00:01");
    expect(KEY_TIMESTAMP, 0, "2021-05-05 12:00:00.499999", "2021-05-05 12:00:00");
    expect(KEY_TIMESTAMP, 0, "1999-12-31 23:59:58.5", "1999-12-31 23:59:58"); /* before 2000: away from zero is down */
    expect(KEY_TIMESTAMP, 3, "2021-05-05 12:00:00.1235", "2021-05-05 12:00:00.124");
    expect(KEY_TIMESTAMP, 6, "2021-05-05 12:00:00.123456", "2021-05-05 12:00:00.123456");
    expect(KEY_TIMESTAMP, 0, "infinity", "infinity");
    expect(KEY_TIMESTAMP, 0, "-infinity", "-infinity");
    expect(KEY_TIMESTAMPTZ, 1, "2021-05-05 12:00:00.15+02", "2021-05-05 10:00:00.2Z");
    expect(KEY_TIMESTAMP, -1, "2021-05-05 12:00:00.5", "2021-05-05 12:00:00.5");
}

static void blanks_beyond_varchar_are_cut(void **state)
{
    (void)state;
    expect(KEY_VARCHAR, 7, "abc   ", "abc");
    expect(KEY_VARCHAR, 7, "a     ", "a  ");
    expect(KEY_VARCHAR, 7, "ab ", "ab ");
    expect(KEY_VARCHAR, 7, "é€𝄞 ", "é€𝄞");
    expect(KEY_VARCHAR, 7, "abc  d", "abc  d"); /* the server refuses it */
    expect(KEY_VARCHAR, 7, "", "");
    expect(KEY_VARCHAR, -1, "abc   ", "abc   ");
    expect(KEY_TEXT, 7, "abc   ", "abc   ");
}

static void memory_may_be_out(void **state)
{
    (void)state;
    struct arena keys = ARENA_INIT, arena = ARENA_INIT;
    struct key_value value;
    read_key(KEY_NUMERIC, "1.005", &keys, &value);
    memory_fail_after(0);
    bool done = modifier_apply(numeric_modifier(10, 2), &arena, &value);
    memory_fail_after(-1);
    assert_false(done);
    arena_free(&arena);
    arena_free(&keys);
}

static void modifiers_are_written(void **state)
{
    (void)state;
    /* As pg_attribute.atttypmod has them on PostgreSQL 15. */
    static const struct {
        unsigned type;
        int modifier;
        const char *text;
    } cases[] = {
        {1700, 786438, "(12,2)"},
        {1700, 329730, "(5,-2)"},
        {1700, 655364, "(10,0)"},
        {1700, -1, ""},
        {1043, 24, "(20)"},
        {1042, 5, "(1)"},
        {25, -1, ""},
        {1114, 0, "(0)"},
        {1184, 3, "(3)"},
        {1083, 6, "(6)"},
        {1266, 1, "(1)"},
        {1560, 3, "(3)"},
        {1562, 64, "(64)"},
        {1186, 2147418114, "(32767,2)"},
        {1186, 8, "(0,8)"},
        {1186, 524287, "(7)"},
        {16500, 7, ""},
    };
    struct buffer out = BUFFER_INIT(100);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buffer_clear(&out);
        modifier_write(cases[i].type, cases[i].modifier, &out);
        assert_string_equal(buffer_string(&out), cases[i].text);
    }
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numeric_is_rounded_half_away_from_zero),
        cmocka_unit_test(numeric_agrees_with_whole_numbers),
        cmocka_unit_test(timestamps_are_rounded),
        cmocka_unit_test(blanks_beyond_varchar_are_cut),
        cmocka_unit_test(memory_may_be_out),
        cmocka_unit_test(modifiers_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
