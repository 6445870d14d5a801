#include "../random.h"
#include "core/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *read_text(const char *text, struct arena *arena, struct key_value *value)
{
    *value = (struct key_value){.type = KEY_NUMERIC};
    return numeric_from_text(text, strlen(text), arena, value);
}

static void digits_are_aligned_to_the_point(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int count, weight;
        bool negative;
        int16_t digits[4];
    } cases[] = {
        {"0", 0, 0, false, {0}},
        {"-0.00", 0, 0, false, {0}},
        {"1", 1, 0, false, {1}},
        {"-1.50", 2, 0, true, {1, 5000}},
        {"10000", 1, 1, false, {1}},
        {"12345", 2, 1, false, {1, 2345}},
        {"0.0001", 1, -1, false, {1}},
        {".00001", 1, -2, false, {1000}},
        {"1e-20", 1, -5, false, {1}},
        {"+1E5", 1, 1, false, {10}},
        {" 00012.5000 ", 2, 0, false, {12, 5000}},
        {"5.", 1, 0, false, {5}},
        {"0e5", 0, 0, false, {0}},
        {"123456e-3", 2, 0, false, {123, 4560}},
    };
    struct arena arena = ARENA_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct key_value value;
        assert_null(read_text(cases[i].text, &arena, &value));
        assert_int_equal(value.numeric.count, cases[i].count);
        assert_int_equal(value.numeric.weight, cases[i].weight);
        assert_int_equal(value.numeric.negative, cases[i].negative);
        for (int d = 0; d < value.numeric.count; d++)
            assert_int_equal(value.numeric.digits[d], cases[i].digits[d]);
    }
    arena_free(&arena);
}

static void limits_and_malformed_texts(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "",     " ",     ".",       "e1",       "1e",       "1e+",  "1e 5",
        "1..2", "1.2.3", "- 1",     "1 2",      "1_0",      "0x10", "0b1",
        "-nan", "na",    "infinit", "1e131072", "1e-16384", "++1",  "1e999999999999999999999",
        "١",    "1e5.5", "--1",     "0x",       "inf1"};
    static const char *const taken[] = {"1e131071", "1e-16383", "0e200000", "NaN", "-iNf", "+infinity", "\t1\n"};
    struct arena arena = ARENA_INIT;
    struct key_value value;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (!read_text(refused[i], &arena, &value))
            fail_msg("'%s' was taken", refused[i]);
    }
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        if (read_text(taken[i], &arena, &value))
            fail_msg("'%s' was refused", taken[i]);
    }
    arena_free(&arena);
}

static void order_is_as_numeric_cmp(void **state)
{
    (void)state;
    static const char *const ascending[] = {"-Infinity", "-1e10", "-10000", "-2",       "-1.5", "-0.1",
                                            "0",         "1e-10", "0.1",    "0.11",     "1",    "1.5",
                                            "9999",      "10000", "1e10",   "Infinity", "NaN"};
    enum { COUNT = sizeof ascending / sizeof ascending[0] };
    struct arena arena = ARENA_INIT;
    struct key_value values[COUNT];
    for (int i = 0; i < COUNT; i++)
        assert_null(read_text(ascending[i], &arena, &values[i]));
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COUNT; j++) {
            int order = numeric_compare(&values[i], &values[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    }
    arena_free(&arena);
}

static void binary_forms(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct key_value value, expected;
    const unsigned char one_and_a_half[] = {0, 2, 0, 0, 0x40, 0, 0, 2, 0, 1, 0x13, 0x88};
    assert_null(numeric_from_binary(one_and_a_half, sizeof one_and_a_half, &arena, &value));
    assert_null(read_text("-1.5", &arena, &expected));
    assert_int_equal(numeric_compare(&value, &expected), 0);
    /* 1.2345 with a display scale of 2: numeric_recv cuts the rest off */
    const unsigned char hidden[] = {0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x09, 0x29};
    assert_null(numeric_from_binary(hidden, sizeof hidden, &arena, &value));
    assert_null(read_text("1.23", &arena, &expected));
    assert_int_equal(numeric_compare(&value, &expected), 0);
    const unsigned char below[] = {0, 1, 0xFF, 0xFE, 0, 0, 0, 2, 0, 1};
    assert_null(numeric_from_binary(below, sizeof below, &arena, &value));
    assert_int_equal(value.numeric.count, 0);
    const unsigned char nan[] = {0, 0, 0, 0, 0xC0, 0, 0, 0}, infinity[] = {0, 0, 0, 0, 0xF0, 0, 0, 0};
    assert_null(numeric_from_binary(nan, 8, &arena, &value));
    assert_true(value.numeric.special);
    assert_null(numeric_from_binary(infinity, 8, &arena, &value));
    assert_true(value.numeric.special && value.numeric.negative);
    const unsigned char bad_digit[] = {0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10}, bad_sign[] = {0, 0, 0, 0, 0x12, 0, 0, 0};
    const unsigned char bad_scale[] = {0, 0, 0, 0, 0, 0, 0x40, 0};
    assert_non_null(numeric_from_binary(bad_digit, sizeof bad_digit, &arena, &value));
    assert_non_null(numeric_from_binary(bad_sign, 8, &arena, &value));
    assert_non_null(numeric_from_binary(bad_scale, 8, &arena, &value));
    assert_non_null(numeric_from_binary(nan, 7, &arena, &value));
    assert_non_null(numeric_from_binary(one_and_a_half, 10, &arena, &value));
    arena_free(&arena);
}

/* The model: a value m * 10^e with m below 10^6 has many spellings, which must all be one value. */
static void every_spelling_is_one_value(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 5000; round++) {
        struct arena arena = ARENA_INIT;
        int mantissa = (int)random_below(&random, 1000000), exponent = (int)random_below(&random, 60) - 30;
        int shift = (int)random_below(&random, 20);
        char plain[64], shifted[128];
        struct key_value first, second;
        snprintf(plain, sizeof plain, "%de%d", mantissa, exponent);
        snprintf(shifted, sizeof shifted, "%s%d%.*s%se%d", random_below(&random, 2) ? "000" : "+", mantissa, shift,
                 "00000000000000000000", random_below(&random, 2) ? ".000" : "", exponent - shift);
        assert_null(read_text(plain, &arena, &first));
        assert_null(read_text(shifted, &arena, &second));
        assert_int_equal(numeric_compare(&first, &second), 0);
        assert_int_equal(first.numeric.count, second.numeric.count);
        assert_int_equal(first.numeric.weight, second.numeric.weight);
        assert_true(first.numeric.count == 0 || first.numeric.digits[first.numeric.count - 1] != 0);
        arena_free(&arena);
    }
}

static void failed_allocations_are_told_apart(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct key_value value;
    const unsigned char one[] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 1};
    memory_fail_after(0);
    const char *why = read_text("12.5", &arena, &value), *binary = numeric_from_binary(one, sizeof one, &arena, &value);
    memory_fail_after(-1);
    assert_ptr_equal(why, parse_memory);
    assert_ptr_equal(binary, parse_memory);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_are_aligned_to_the_point), cmocka_unit_test(limits_and_malformed_texts),
        cmocka_unit_test(order_is_as_numeric_cmp),         cmocka_unit_test(binary_forms),
        cmocka_unit_test(every_spelling_is_one_value),     cmocka_unit_test(failed_allocations_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
