#include "../random.h"
#include "core/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *read_text(enum key_type type, const char *text, int64_t *integer)
{
    struct key_value value = {.type = type};
    const char *why = datetime_from_text(text, strlen(text), &value);
    *integer = value.integer;
    return why;
}

#define SECONDS INT64_C(1000000)
#define DAYS (86400 * SECONDS)

static void examples(void **state)
{
    (void)state;
    static const struct {
        enum key_type type;
        const char *text;
        int64_t expected;
    } cases[] = {
        {KEY_DATE, "2000-01-01", 0},
        {KEY_DATE, " 2024-02-29 ", 8825},
        {KEY_DATE, "2024-2-9", 8805},
        {KEY_DATE, "0044-03-15 BC", -746117},
        {KEY_DATE, "4714-11-24 bc", -2451545},
        {KEY_DATE, "5874897-12-31", 2145031948},
        {KEY_DATE, "infinity", INT32_MAX},
        {KEY_DATE, "-Infinity", INT32_MIN},
        {KEY_TIMESTAMP, "2024-02-29 12:34:56.789", 762525296789000},
        {KEY_TIMESTAMP, "2024-02-29T12:34:56.789+05", 762525296789000},
        {KEY_TIMESTAMP, "0044-03-15 12:00 BC", -64464465600000000},
        {KEY_TIMESTAMP, "2000-01-01", 0},
        {KEY_TIMESTAMP, "2000-01-01 24:00:00", DAYS},
        {KEY_TIMESTAMP, "2000-01-01 00:00:60", 60 * SECONDS},
        {KEY_TIMESTAMP, "2000-01-01 23:59:59.9999999", DAYS},
        {KEY_TIMESTAMP, "2000-01-01 00:00:00.0000004", 0},
        {KEY_TIMESTAMP, "infinity", INT64_MAX},
        {KEY_TIMESTAMPTZ, "2000-01-01 00:00Z", 0},
        {KEY_TIMESTAMPTZ, "2000-01-01 02:00+02", 0},
        {KEY_TIMESTAMPTZ, "2000-01-01 05:30 +0530", 0},
        {KEY_TIMESTAMPTZ, "1999-12-31 20:29:45-03:30:15", 0},
        {KEY_TIMESTAMPTZ, "1999-12-31 19:00-5", 0},
        {KEY_TIMESTAMPTZ, "1999-12-31 18:30-530", 0},
        {KEY_TIMESTAMPTZ, "-infinity", INT64_MIN},
        {KEY_TIMESTAMPTZ, "294276-12-31 23:59:59.999999+00", INT64_C(9223371331199999999)},
        {KEY_TIMESTAMPTZ, "4714-11-24 00:00:00Z BC", INT64_C(-211813488000000000)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t got;
        const char *why = read_text(cases[i].type, cases[i].text, &got);
        if (why || got != cases[i].expected)
            fail_msg("%s: %s, %" PRId64, cases[i].text, why ? why : "taken", got);
    }
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        enum key_type type;
        const char *text;
    } cases[] = {
        {KEY_DATE, ""},
        {KEY_DATE, "01/02/2024"},
        {KEY_DATE, "24-01-02"},
        {KEY_DATE, "20240102"},
        {KEY_DATE, "2023-02-29"},
        {KEY_DATE, "1900-02-29"},
        {KEY_DATE, "2024-13-01"},
        {KEY_DATE, "2024-00-01"},
        {KEY_DATE, "2024-01-00"},
        {KEY_DATE, "0000-01-01"},
        {KEY_DATE, "5874898-01-01"},
        {KEY_DATE, "4714-11-23 BC"},
        {KEY_DATE, "99999999-01-01"},
        {KEY_DATE, "2024-01-01BC"},
        {KEY_DATE, "2024-01-01 10:00"},
        {KEY_DATE, "now"},
        {KEY_DATE, "+infinity"},
        {KEY_DATE, "-"},
        {KEY_TIMESTAMP, "2024-01-01 10"},
        {KEY_TIMESTAMP, "2024-01-01 10:00:00."},
        {KEY_TIMESTAMP, "2024-01-01 24:00:01"},
        {KEY_TIMESTAMP, "2024-01-01 23:60"},
        {KEY_TIMESTAMP, "2024-01-01 23:59:61"},
        {KEY_TIMESTAMP, "294277-01-01"},
        {KEY_TIMESTAMP, "5874897-12-31"},
        {KEY_TIMESTAMP, "2024-01-01T"},
        {KEY_TIMESTAMP, "2024-01-01 10:00 Mars"},
        {KEY_TIMESTAMPTZ, "2024-01-01"},
        {KEY_TIMESTAMPTZ, "2024-01-01 10:00"},
        {KEY_TIMESTAMPTZ, "2024-01-01 10:00 UTC"},
        {KEY_TIMESTAMPTZ, "2024-01-01 10:00+16"},
        {KEY_TIMESTAMPTZ, "2024-01-01 10:00+01:60"},
        {KEY_TIMESTAMPTZ, "2024-01-01 10:00+053015"},
        {KEY_TIMESTAMPTZ, "294276-12-31 23:59:59-01"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t got;
        if (!read_text(cases[i].type, cases[i].text, &got))
            fail_msg("'%s' was taken as %" PRId64, cases[i].text, got);
    }
}

/* The model: a calendar that counts day by day from 0001-01-01. */
static void days_follow_one_another(void **state)
{
    (void)state;
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t expected = -730119; /* 0001-01-01 */
    for (int year = 1; year <= 2500; year++) {
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 1; month <= 12; month++) {
            int count = days[month - 1] + (month == 2 && leap);
            for (int day = 1; day <= count; day++, expected++) {
                char text[32];
                int64_t got;
                snprintf(text, sizeof text, "%04d-%02d-%02d", year, month, day);
                assert_null(read_text(KEY_DATE, text, &got));
                assert_int_equal(got, expected);
            }
        }
    }
}

static void random_offsets_agree_with_the_sum(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 5000; round++) {
        char text[64];
        int64_t got;
        int hour = (int)random_below(&random, 24), minute = (int)random_below(&random, 60),
            micro = (int)random_below(&random, 1000000);
        int offset_hour = (int)random_below(&random, 16), offset_minute = (int)random_below(&random, 60);
        int sign = random_below(&random, 2) ? 1 : -1;
        snprintf(text, sizeof text, "2000-01-02 %d:%02d:00.%06d%c%02d%s%02d", hour, minute, micro, sign > 0 ? '+' : '-',
                 offset_hour, random_below(&random, 2) ? ":" : "", offset_minute);
        int64_t minutes = hour * 60 + minute - sign * (offset_hour * 60 + offset_minute);
        assert_null(read_text(KEY_TIMESTAMPTZ, text, &got));
        assert_int_equal(got, DAYS + minutes * 60 * SECONDS + micro);
    }
}

static void binary_ranges(void **state)
{
    (void)state;
    struct key_value value = {.type = KEY_DATE, .integer = -2451546};
    assert_false(datetime_in_range(&value));
    value.integer = 2145031949;
    assert_false(datetime_in_range(&value));
    value.integer = INT32_MIN;
    assert_true(datetime_in_range(&value));
    value = (struct key_value){.type = KEY_TIMESTAMP, .integer = INT64_C(9223371331200000000)};
    assert_false(datetime_in_range(&value));
    value.integer--;
    assert_true(datetime_in_range(&value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(refused),
        cmocka_unit_test(days_follow_one_another),
        cmocka_unit_test(random_offsets_agree_with_the_sum),
        cmocka_unit_test(binary_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
