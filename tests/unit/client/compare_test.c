#include "../random.h"
#include "client/compare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct field text(const char *zero_terminated)
{
    return (struct field){.data = zero_terminated, .size = strlen(zero_terminated)};
}

/* Texts in ascending order: each pair must compare so, both ways round; "=" before a text: equal to the one before. */
static void check_ascending(unsigned type, const char *const *texts)
{
    for (size_t i = 0; texts[i]; i++)
        for (size_t j = i; texts[j]; j++) {
            int order = 7, reversed = 7;
            bool equal = true;
            for (size_t k = i + 1; k <= j; k++)
                equal &= texts[k][0] == '=';
            struct field one = text(texts[i] + (texts[i][0] == '=')), two = text(texts[j] + (texts[j][0] == '='));
            if (!compare_fields(type, false, one, two, &order) || !compare_fields(type, false, two, one, &reversed))
                fail_msg("type %u: %s or %s is unreadable", type, one.data, two.data);
            if (equal ? order || reversed : order >= 0 || reversed <= 0)
                fail_msg("type %u: %s and %s compare as %d, %d", type, one.data, two.data, order, reversed);
        }
}

static void examples_are_in_order(void **state)
{
    (void)state;
    check_ascending(COMPARE_INT8, (const char *[]){"-9223372036854775808", "-9223372036854775807", "-10", "-9", "0",
                                                   "9", "10", "9223372036854775807", NULL});
    check_ascending(COMPARE_OID, (const char *[]){"0", "2147483648", "4294967295", NULL});
    check_ascending(COMPARE_BOOL, (const char *[]){"f", "t", NULL});
    check_ascending(COMPARE_NUMERIC, (const char *[]){"-Infinity", "-1000",
                                                      "-999.9",    "-1",
                                                      "-0.10",     "=-0.1",
                                                      "-0.099",    "0",
                                                      "=0.000",    "0.0000000001",
                                                      "0.1",       "=0.1000",
                                                      "0.11",      "1",
                                                      "=1.0",      "9.99",
                                                      "10",        "100000000000000000000000000000",
                                                      "Infinity",  "NaN",
                                                      "=NaN",      NULL});
    check_ascending(COMPARE_FLOAT8,
                    (const char *[]){"-Infinity", "-1e+300", "-1", "-5e-324", "0", "=-0", "5e-324", "0.3",
                                     "0.30000000000000004", "1e+300", "Infinity", "NaN", "=NaN", NULL});
    check_ascending(COMPARE_DATE, (const char *[]){"-infinity", "4713-01-01 BC", "0044-03-15 BC", "0001-12-31 BC",
                                                   "0001-01-01", "1999-12-31", "2000-02-29", "2000-03-01",
                                                   "10000-01-01", "5874897-12-31", "infinity", NULL});
    check_ascending(COMPARE_TIMESTAMP, (const char *[]){"-infinity", "4713-01-01 00:00:00 BC", "2000-01-01 00:00:00",
                                                        "2000-01-01 00:00:00.000001", "2000-01-01 00:00:00.1",
                                                        "=2000-01-01 00:00:00.100000", "2000-01-01 00:00:01",
                                                        "294276-12-31 23:59:59.999999", "infinity", NULL});
    check_ascending(COMPARE_TIMESTAMPTZ,
                    (const char *[]){"-infinity", "2000-01-01 12:00:00+14", "2000-01-01 00:00:00+00",
                                     "=2000-01-01 05:45:00+05:45", "=1999-12-31 12:00:00-12",
                                     "=1999-12-31 23:06:32-00:53:28", "2000-01-01 00:00:00.5+00",
                                     "2000-01-01 00:00:00-12", "294277-01-01 13:59:59.999999+14", "infinity", NULL});
    check_ascending(COMPARE_UUID,
                    (const char *[]){"00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-00000000000a",
                                     "a0000000-0000-0000-0000-000000000000", NULL});
    check_ascending(COMPARE_BYTEA, (const char *[]){"\\x", "\\x00", "\\x0000", "\\x7f", "\\x80", "\\xff", NULL});
    check_ascending(COMPARE_TEXT, (const char *[]){"", " ", "A", "B", "a", "a ", "aa", "\xc3\xa9", NULL});
    check_ascending(COMPARE_BPCHAR, (const char *[]){"", "=   ", "a", "=a  ", "a b", "b", NULL});
}

static void what_is_no_value_is_unreadable(void **state)
{
    (void)state;
    static const struct {
        unsigned type;
        const char *text;
    } cases[] = {
        {COMPARE_INT8, ""},
        {COMPARE_INT8, "-"},
        {COMPARE_INT8, "1x"},
        {COMPARE_INT8, "9223372036854775808"},
        {COMPARE_INT8, "99999999999999999999"},
        {COMPARE_BOOL, "true"},
        {COMPARE_NUMERIC, ""},
        {COMPARE_NUMERIC, "."},
        {COMPARE_NUMERIC, "1e5"},
        {COMPARE_NUMERIC, "1.2.3"},
        {COMPARE_NUMERIC, "nan"},
        {COMPARE_FLOAT8, ""},
        {COMPARE_FLOAT8, "inf"},
        {COMPARE_FLOAT8, "0x10"},
        {COMPARE_FLOAT8, "1,5"},
        {COMPARE_FLOAT8, "--1"},
        {COMPARE_DATE, "01/02/2000"},
        {COMPARE_DATE, "31.12.2000"},
        {COMPARE_DATE, "2000-13-01"},
        {COMPARE_DATE, "2000-01-01 AD"},
        {COMPARE_DATE, "2000-01-01 00:00:00"},
        {COMPARE_TIMESTAMP, "2000-01-01"},
        {COMPARE_TIMESTAMP, "Sat Jan 01 00:00:00 2000"},
        {COMPARE_TIMESTAMPTZ, "2000-01-01 00:00:00"},
        {COMPARE_TIMESTAMPTZ, "2000-01-01 00:00:00 CET"},
        {COMPARE_UUID, "0"},
        {COMPARE_UUID, "G0000000-0000-0000-0000-000000000000"},
        {COMPARE_BYTEA, "abc"},
        {COMPARE_BYTEA, ""},
        {1186 /* interval */, "1 day"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int order;
        if (compare_fields(cases[i].type, false, text(cases[i].text), text(cases[i].text), &order))
            fail_msg("type %u: \"%s\" was read", cases[i].type, cases[i].text);
    }
    int order;
    for (unsigned type = 0; type < 3000; type++)
        if (compare_knows(type) && type != COMPARE_TEXT && type != COMPARE_VARCHAR && type != COMPARE_BPCHAR &&
            type != COMPARE_NAME && type != COMPARE_BYTEA)
            assert_false(compare_fields(type, true, text("abc"), text("abc"), &order));
    assert_false(compare_knows(1186));
    assert_true(compare_is_collated(COMPARE_VARCHAR) && !compare_is_collated(COMPARE_NAME) &&
                !compare_is_collated(1186));
}

/* A decimal as the text of an integer, with a point put in, against the integers themselves. */
static void numeric_is_like_scaled_integers(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int i = 0; i < 100000; i++) {
        long long values[2];
        char texts[2][64];
        for (int j = 0; j < 2; j++) {
            values[j] = (long long)random_below(&random, i % 2 ? 2000 : 2000000000) - (i % 2 ? 1000 : 1000000000);
            long long whole = llabs(values[j]) / 1000, part = llabs(values[j]) % 1000;
            int zeros = (int)random_below(&random, 3);
            snprintf(texts[j], sizeof texts[j], "%s%lld.%03lld%.*s", values[j] < 0 ? "-" : "", whole, part, zeros,
                     "00");
        }
        int order, expected = (values[0] > values[1]) - (values[0] < values[1]);
        assert_true(compare_fields(COMPARE_NUMERIC, false, text(texts[0]), text(texts[1]), &order));
        order = (order > 0) - (order < 0);
        if (order != expected)
            fail_msg("%s and %s compare as %d", texts[0], texts[1], order);
    }
}

static struct field binary(char *room, uint64_t bits, size_t size)
{
    for (size_t i = 0; i < size; i++)
        room[i] = (char)(bits >> 8 * (size - 1 - i));
    return (struct field){.data = room, .size = size};
}

static void binary_integers_and_times(void **state)
{
    (void)state;
    struct random random = random_start();
    const struct {
        unsigned type;
        size_t size;
    } kinds[] = {{COMPARE_INT2, 2}, {COMPARE_INT4, 4}, {COMPARE_INT8, 8}, {COMPARE_DATE, 4}, {COMPARE_TIMESTAMPTZ, 8}};
    for (int i = 0; i < 20000; i++) {
        char one[8], two[8];
        size_t kind = random_below(&random, 5), size = kinds[kind].size;
        int unused = 64 - 8 * (int)size, order;
        int64_t a = (int64_t)(random_bits(&random) << unused) >> unused;
        int64_t b = (int64_t)(random_bits(&random) << unused) >> unused;
        assert_true(compare_fields(kinds[kind].type, true, binary(one, (uint64_t)a, size),
                                   binary(two, (uint64_t)b, size), &order));
        assert_int_equal(order, (a > b) - (a < b));
    }
    char one[4], two[4];
    int order;
    assert_true(compare_fields(COMPARE_OID, true, binary(one, 0x80000000u, 4), binary(two, 1, 4), &order));
    assert_true(order > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_are_in_order),
        cmocka_unit_test(what_is_no_value_is_unreadable),
        cmocka_unit_test(numeric_is_like_scaled_integers),
        cmocka_unit_test(binary_integers_and_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
