#include "merge/aggregate.h"
#include "rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../memory_out.h"

enum { VALUES_MOST = 4 };

/* A value's binary form, from its text. */
static void value_add(struct buffer *out, uint32_t type, const char *text)
{
    if (type == NUMERIC) {
        numeric_text(out, text);
    } else if (type == TEXT) {
        buffer_text(out, text);
    } else if (type == BOOL) {
        wire_8(out, *text == 't');
    } else {
        int64_t number = strtoll(text, NULL, 10);
        for (int i = type == INT8 ? 7 : type == INT4 ? 3 : 1; i >= 0; i--)
            buffer_char(out, (char)(number >> 8 * i));
    }
}

static mosaic_status add(struct aggregate *aggregate, const char *text, mosaic_error *error)
{
    struct buffer binary = BUFFER_INIT(MUCH);
    struct aggregate_value null = {NULL, -1};
    if (!text)
        return aggregate_add(aggregate, null, null, error);
    value_add(&binary, aggregate->type, text);
    struct aggregate_value value = {buffer_string(&binary), (int32_t)binary.size};
    struct aggregate_value visible =
        aggregate->is_binary ? value : (struct aggregate_value){text, (int32_t)strlen(text)};
    mosaic_status status = buffer_failed(&binary) ? MOSAIC_MEMORY : aggregate_add(aggregate, value, visible, error);
    buffer_free(&binary);
    return status;
}

static void values_are_combined(void **state)
{
    (void)state;
    static const struct {
        enum fact_aggregate function;
        uint32_t type;
        size_t count;
        const char *values[VALUES_MOST], *wanted;
    } cases[] = {
        {AGGREGATE_COUNT, INT8, 3, {"1", "0", "41"}, "42"},
        {AGGREGATE_COUNT, INT8, 1, {NULL}, "0"},
        {AGGREGATE_COUNT, INT8, 2, {"9223372036854775807", "0"}, "9223372036854775807"},
        {AGGREGATE_SUM, INT8, 3, {"-5", NULL, "3"}, "-2"},
        {AGGREGATE_SUM, INT8, 2, {NULL, NULL}, NULL},
        {AGGREGATE_SUM, NUMERIC, 3, {"1.10", NULL, "-2"}, "-0.90"},
        {AGGREGATE_SUM, NUMERIC, 1, {NULL}, NULL},
        {AGGREGATE_MIN, INT4, 4, {NULL, "7", "-7", "0"}, "-7"},
        {AGGREGATE_MAX, INT4, 4, {"3", NULL, "7", "-7"}, "7"},
        {AGGREGATE_MIN, TEXT, 3, {"b", "", "a"}, ""},
        {AGGREGATE_MAX, TEXT, 3, {"b", "bb", NULL}, "bb"},
        {AGGREGATE_MIN, NUMERIC, 3, {"2.0", "1.00", "1.0"}, "1.00"}, /* of equal ones the first stays */
        {AGGREGATE_MAX, NUMERIC, 3, {"Infinity", "NaN", "5"}, "NaN"},
        {AGGREGATE_MAX, TEXT, 2, {NULL, NULL}, NULL},
        {AGGREGATE_BOOL_AND, BOOL, 3, {"t", NULL, "t"}, "t"},
        {AGGREGATE_BOOL_AND, BOOL, 3, {"t", "f", "t"}, "f"},
        {AGGREGATE_BOOL_OR, BOOL, 3, {"f", "t", "f"}, "t"},
        {AGGREGATE_BOOL_OR, BOOL, 2, {"f", "f"}, "f"},
        {AGGREGATE_BOOL_OR, BOOL, 2, {NULL, NULL}, NULL},
        {AGGREGATE_BIT_AND, INT2, 3, {"-1", NULL, "6"}, "6"},
        {AGGREGATE_BIT_AND, INT4, 2, {"12", "10"}, "8"},
        {AGGREGATE_BIT_OR, INT4, 2, {"12", "10"}, "14"},
        {AGGREGATE_BIT_OR, INT2, 2, {"-32768", "1"}, "-32767"},
        {AGGREGATE_BIT_XOR, INT8, 3, {"12", "10", "-1"}, "-7"},
        {AGGREGATE_BIT_XOR, INT8, 2, {NULL, "5"}, "5"},
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        const char *wanted = cases[i / 2].wanted;
        struct aggregate aggregate;
        struct buffer out = BUFFER_INIT(MUCH), wanted_field = BUFFER_INIT(MUCH), binary = BUFFER_INIT(MUCH);
        assert_true(
            aggregate_start(&aggregate, &(struct fact_combine){cases[i / 2].function, true}, cases[i / 2].type, i % 2));
        for (size_t v = 0; v < cases[i / 2].count; v++)
            assert_int_equal(add(&aggregate, cases[i / 2].values[v], NULL), MOSAIC_OK);
        assert_int_equal(aggregate_finish(&aggregate, &out, NULL), MOSAIC_OK);
        if (wanted && i % 2)
            value_add(&binary, cases[i / 2].type, wanted);
        if (wanted && i % 2)
            field_add(&wanted_field, buffer_string(&binary), binary.size);
        else
            field_text(&wanted_field, wanted);
        assert_int_equal(out.size, wanted_field.size);
        assert_memory_equal(out.data, wanted_field.data, out.size);
        buffer_free(&binary);
        buffer_free(&wanted_field);
        buffer_free(&out);
        aggregate_free(&aggregate);
    }
}

static void sums_out_of_range(void **state)
{
    (void)state;
    static const char greatest[] = "9223372036854775807", least[] = "-9223372036854775808";
    struct aggregate aggregate;
    mosaic_error error;
    assert_true(aggregate_start(&aggregate, &(struct fact_combine){.function = AGGREGATE_COUNT}, INT8, false));
    assert_int_equal(add(&aggregate, greatest, NULL), MOSAIC_OK);
    assert_int_equal(add(&aggregate, "1", &error), MOSAIC_DATA);
    assert_string_equal(error.sqlstate, "22003");
    assert_string_equal(error.message, "bigint out of range");
    assert_true(aggregate_start(&aggregate, &(struct fact_combine){.function = AGGREGATE_SUM}, INT8, false));
    assert_int_equal(add(&aggregate, least, NULL), MOSAIC_OK);
    assert_int_equal(add(&aggregate, "-1", &error), MOSAIC_DATA);
    assert_string_equal(error.sqlstate, "22003");
    static const char huge[] = "\0\1\x7F\xFF\0\0\0\0\x27\x0F";
    struct buffer out = BUFFER_INIT(MUCH);
    assert_true(aggregate_start(&aggregate, &(struct fact_combine){.function = AGGREGATE_SUM}, NUMERIC, false));
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            aggregate_add(&aggregate, (struct aggregate_value){huge, 10}, (struct aggregate_value){"", 0}, NULL),
            MOSAIC_OK);
    assert_int_equal(aggregate_finish(&aggregate, &out, &error), MOSAIC_DATA);
    assert_string_equal(error.sqlstate, "22003");
    assert_string_equal(error.message, "value overflows numeric format");
    buffer_free(&out);
    aggregate_free(&aggregate);
}

static void only_exact_types_are_taken(void **state)
{
    (void)state;
    static const struct {
        enum fact_aggregate function;
        uint32_t type;
        bool bytewise, is_taken;
    } cases[] = {
        {AGGREGATE_COUNT, INT8, false, true},    {AGGREGATE_COUNT, INT4, false, false},
        {AGGREGATE_SUM, INT8, false, true},      {AGGREGATE_SUM, NUMERIC, false, true},
        {AGGREGATE_SUM, FLOAT8, true, false},    {AGGREGATE_SUM, FLOAT4, true, false},
        {AGGREGATE_SUM, MONEY, true, false},     {AGGREGATE_SUM, INTERVAL, true, false},
        {AGGREGATE_MIN, TEXT, false, false},     {AGGREGATE_MIN, TEXT, true, true},
        {AGGREGATE_MAX, FLOAT8, false, true},    {AGGREGATE_MAX, JSONB, true, false},
        {AGGREGATE_MAX, USER_TYPE, true, false}, {AGGREGATE_BOOL_AND, BOOL, false, true},
        {AGGREGATE_BOOL_OR, INT4, false, false}, {AGGREGATE_BIT_AND, INT2, false, true},
        {AGGREGATE_BIT_OR, INT4, false, true},   {AGGREGATE_BIT_XOR, INT8, false, true},
        {AGGREGATE_BIT_AND, 1560, false, false}, {AGGREGATE_BIT_XOR, BOOL, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct aggregate aggregate;
        const struct fact_combine combine = {cases[i].function, cases[i].bytewise};
        assert_int_equal(aggregate_start(&aggregate, &combine, cases[i].type, false), cases[i].is_taken);
    }
}

static void malformed_values(void **state)
{
    (void)state;
    static const struct {
        enum fact_aggregate function;
        uint32_t type;
        int32_t size;
    } cases[] = {
        {AGGREGATE_COUNT, INT8, 7},    {AGGREGATE_SUM, INT8, 9},     {AGGREGATE_SUM, NUMERIC, 7},
        {AGGREGATE_MIN, INT4, 8},      {AGGREGATE_BOOL_OR, BOOL, 0}, {AGGREGATE_BIT_AND, INT2, 4},
        {AGGREGATE_BOOL_AND, BOOL, 1}, /* 9 is neither */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct aggregate aggregate;
        const struct aggregate_value value = {"\x9\0\0\0\0\0\0\0\0", cases[i].size}, null = {NULL, -1};
        assert_true(
            aggregate_start(&aggregate, &(struct fact_combine){.function = cases[i].function}, cases[i].type, false));
        assert_int_equal(aggregate_add(&aggregate, value, value, NULL), MOSAIC_DATA);
        assert_int_equal(aggregate_add(&aggregate, null, value, NULL), MOSAIC_DATA);
        assert_int_equal(aggregate_add(&aggregate, value, null, NULL), MOSAIC_DATA);
        aggregate_free(&aggregate);
    }
}

static mosaic_status least_and_sum(struct arena *arena, mosaic_error *error)
{
    (void)arena;
    struct aggregate least, sum;
    struct buffer out = BUFFER_INIT(MUCH);
    aggregate_start(&least, &(struct fact_combine){AGGREGATE_MIN, true}, TEXT, false);
    aggregate_start(&sum, &(struct fact_combine){AGGREGATE_SUM, false}, NUMERIC, false);
    mosaic_status status = add(&least, "text", error);
    if (status == MOSAIC_OK)
        status = add(&sum, "12", error);
    if (status == MOSAIC_OK)
        status = aggregate_finish(&least, &out, error);
    if (status == MOSAIC_OK)
        status = aggregate_finish(&sum, &out, error);
    buffer_free(&out);
    aggregate_free(&least);
    aggregate_free(&sum);
    return status;
}

static void failed_allocations(void **state)
{
    (void)state;
    memory_out_each(least_and_sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_combined),        cmocka_unit_test(sums_out_of_range),
        cmocka_unit_test(only_exact_types_are_taken), cmocka_unit_test(malformed_values),
        cmocka_unit_test(failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
