#include "../random.h"
#include "merge/total.h"
#include "pgmosaic.h"
#include "rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../memory_out.h"

static enum total_result add(struct total *total, const char *text)
{
    struct buffer value = BUFFER_INIT(MUCH);
    numeric_text(&value, text);
    enum total_result result = total_add(total, value.data, value.size);
    buffer_free(&value);
    return result;
}

/* The finished sum in both forms. */
static void check(struct total *total, const char *wanted)
{
    struct buffer text = BUFFER_INIT(MUCH), binary = BUFFER_INIT(MUCH), wanted_binary = BUFFER_INIT(MUCH);
    assert_true(total_finish(total));
    total_text(total, &text);
    assert_string_equal(buffer_string(&text), wanted);
    total_binary(total, &binary);
    numeric_text(&wanted_binary, wanted);
    assert_int_equal(binary.size, wanted_binary.size);
    assert_memory_equal(binary.data, wanted_binary.data, binary.size);
    buffer_free(&text);
    buffer_free(&binary);
    buffer_free(&wanted_binary);
    total_free(total);
}

static void sums(void **state)
{
    (void)state;
    static const struct {
        const char *values[4], *sum;
    } cases[] = {
        {{"0"}, "0"},
        {{"0.00", "0.0"}, "0.00"},
        {{"1.5", "1.50", "-3"}, "0.00"},
        {{"9999", "1"}, "10000"},
        {{"99999999", "0.0001"}, "99999999.0001"},
        {{"-99999999", "-1"}, "-100000000"},
        {{"10000", "-1"}, "9999"},
        {{"1", "-10000"}, "-9999"},
        {{"0.0001", "-1"}, "-0.9999"},
        {{"0.1", "0.02", "0.003", "0.00045"}, "0.12345"},
        {{"-0.5", "0.25"}, "-0.25"},
        {{"12345678901234567890", "0.00000000000000000001"}, "12345678901234567890.00000000000000000001"},
        {{"100000000", "-100000000", "7"}, "7"},
        {{"5000", "5000.0"}, "10000.0"},
        {{"NaN", "1"}, "NaN"},
        {{"Infinity", "-5.5"}, "Infinity"},
        {{"-Infinity", "-Infinity"}, "-Infinity"},
        {{"Infinity", "-Infinity"}, "NaN"},
        {{"-Infinity", "1", "Infinity", "Infinity"}, "NaN"},
        {{"NaN", "Infinity"}, "NaN"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct total total = {0};
        for (size_t v = 0; v < 4 && cases[i].values[v]; v++)
            assert_int_equal(add(&total, cases[i].values[v]), TOTAL_OK);
        check(&total, cases[i].sum);
    }
}

/* All that a merge can have: 65535 values, of the largest digits. */
static void as_many_as_there_are_shards(void **state)
{
    (void)state;
    for (int sign = 0; sign < 2; sign++) {
        struct total total = {0};
        for (int i = 0; i < 65535; i++)
            assert_int_equal(add(&total, sign ? "-99999999.9999" : "99999999.9999"), TOTAL_OK);
        check(&total, sign ? "-6553499999993.4465" : "6553499999993.4465");
    }
}

static void the_format_overflows(void **state)
{
    (void)state;
    static const char greatest[] = "\0\1\x7F\xFF\0\0\0\0\x27\x0F", one[] = "\0\1\x7F\xFF\0\0\0\0\0\1";
    struct total total = {0};
    assert_int_equal(total_add(&total, greatest, 10), TOTAL_OK);
    assert_true(total_finish(&total));
    struct buffer text = BUFFER_INIT(MUCH);
    total_text(&total, &text);
    assert_int_equal(text.size, 4 * 32768);
    assert_int_equal(strspn(text.data + 4, "0"), 4 * 32767);
    buffer_free(&text);
    total_free(&total);
    assert_int_equal(total_add(&total, greatest, 10), TOTAL_OK);
    assert_int_equal(total_add(&total, one, 10), TOTAL_OK);
    assert_false(total_finish(&total));
    total_free(&total);
    assert_int_equal(total_add(&total, greatest, 10), TOTAL_OK);
    assert_int_equal(total_add(&total, one, 10), TOTAL_OK);
    assert_int_equal(add(&total, "NaN"), TOTAL_OK);
    check(&total, "NaN");
}

static void malformed_values(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "\0\1\0\0\0\1\0\0\0\1",     /* sign */
        "\0\1\0\0\0\0\0\0\x27\x10", /* a digit of 10000 */
        "\0\2\0\0\0\0\0\0\0\1",     /* size */
        "\0\1\0\0\0\0\x40\0\0\1",   /* scale */
        "\0\1\xFF\xFF\0\0\0\3\0\1", /* 0.0001, but three digits are shown */
        "\0\1\xFF\xFF\0\0\0\0\0\1",
    };
    struct total total = {0};
    struct buffer value = BUFFER_INIT(MUCH);
    numeric_text(&value, "12345.678");
    for (size_t size = 0; size < value.size; size++) {
        char *cut = malloc(size + !size);
        memcpy(cut, value.data, size);
        assert_int_equal(total_add(&total, cut, size), TOTAL_MALFORMED);
        free(cut);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(total_add(&total, cases[i], 10), TOTAL_MALFORMED);
    buffer_free(&value);
    check(&total, "0");
}

static __int128 power_of_ten(int exponent)
{
    __int128 power = 1;
    while (exponent--)
        power *= 10;
    return power;
}

/* value * 10^-scale as text. */
static void decimal_text(__int128 value, int scale, char *text, size_t room)
{
    unsigned __int128 left = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
    uint64_t billion = 1000000000, fraction = (uint64_t)(left % (unsigned __int128)power_of_ten(scale));
    left /= (unsigned __int128)power_of_ten(scale);
    int size = left >= billion ? snprintf(text, room, "%s%" PRIu64 "%09" PRIu64, value < 0 ? "-" : "",
                                          (uint64_t)(left / billion), (uint64_t)(left % billion))
                               : snprintf(text, room, "%s%" PRIu64, value < 0 ? "-" : "", (uint64_t)left);
    if (scale)
        snprintf(text + size, room - (size_t)size, ".%0*" PRIu64, scale, fraction);
}

/* The model: fixed point in 128 bits, of 12 digits behind the point. */
static void sums_are_those_of_the_model(void **state)
{
    (void)state;
    enum { SCALE = 12 };
    struct random random = random_start();
    for (int round = 0; round < 3000; round++) {
        struct total total = {0};
        __int128 sum = 0;
        int most = 0;
        char text[80];
        for (uint32_t values = 1 + random_below(&random, 20); values; values--) {
            int scale = (int)random_below(&random, SCALE + 1);
            int64_t value = (int64_t)(random_bits(&random) >> (1 + random_below(&random, 62)));
            if (random_below(&random, 2))
                value = -value;
            decimal_text(value, scale, text, sizeof text);
            assert_int_equal(add(&total, text), TOTAL_OK);
            sum += value * power_of_ten(SCALE - scale);
            most = scale > most ? scale : most;
        }
        decimal_text(sum / power_of_ten(SCALE - most), most, text, sizeof text);
        check(&total, text);
    }
}

static mosaic_status two_values(struct arena *arena, mosaic_error *error)
{
    static const char one[] = "\0\1\0\0\0\0\0\0\0\1", large[] = "\0\1\0\x20\0\0\0\0\0\1";
    (void)arena;
    (void)error;
    struct total total = {0};
    enum total_result result = total_add(&total, one, 10);
    if (result == TOTAL_OK) {
        result = total_add(&total, large, 10);
        assert_int_equal(total.digits[0], 1); /* a failure leaves what was there */
    }
    total_free(&total);
    return result == TOTAL_OK ? MOSAIC_OK : MOSAIC_MEMORY;
}

static void failed_allocations(void **state)
{
    (void)state;
    memory_out_each(two_values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums),
        cmocka_unit_test(as_many_as_there_are_shards),
        cmocka_unit_test(the_format_overflows),
        cmocka_unit_test(malformed_values),
        cmocka_unit_test(sums_are_those_of_the_model),
        cmocka_unit_test(failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
