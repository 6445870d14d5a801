#include "merge/order.h"
#include "rows.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VALUES_MOST = 32 };

/* Values in ascending order; some are equal. */
struct list {
    struct buffer values[VALUES_MOST];
    int ranks[VALUES_MOST]; /* equal values have the same */
    size_t count;
};

static struct buffer *list_add(struct list *list, bool is_equal)
{
    assert_true(list->count < VALUES_MOST);
    size_t at = list->count++;
    list->values[at] = BUFFER_INIT(MUCH);
    list->ranks[at] = at == 0 ? 0 : list->ranks[at - 1] + !is_equal;
    return &list->values[at];
}

static void list_bytes(struct list *list, bool is_equal, const void *bytes, size_t size)
{
    buffer_add(list_add(list, is_equal), bytes, size);
}

static void list_number(struct list *list, bool is_equal, int64_t number, size_t size)
{
    struct buffer *value = list_add(list, is_equal);
    for (size_t i = size; i--;)
        buffer_char(value, (char)((uint64_t)number >> 8 * i));
}

/* Every pair, in both directions, in memory of its own; and NULLs at either end. */
static void check(uint32_t type, struct list *list)
{
    for (int way = 0; way < 4; way++) {
        struct order order;
        struct order_key keys[VALUES_MOST], null;
        char *copies[VALUES_MOST];
        assert_true(order_find(type, true, &order));
        order.descending = way & 1;
        order.nulls_first = way & 2;
        assert_true(order_read(&order, NULL, -1, &null));
        assert_int_equal(order_compare(&order, &null, &null), 0);
        for (size_t i = 0; i < list->count; i++) {
            size_t size = list->values[i].size;
            copies[i] = malloc(size + !size);
            memcpy(copies[i], buffer_string(&list->values[i]), size);
            assert_true(order_read(&order, copies[i], (int32_t)size, &keys[i]));
            assert_int_equal(order_compare(&order, &null, &keys[i]) < 0, order.nulls_first);
            assert_int_equal(order_compare(&order, &keys[i], &null) > 0, order.nulls_first);
        }
        for (size_t i = 0; i < list->count; i++) {
            for (size_t j = 0; j < list->count; j++) {
                int wanted = (list->ranks[i] > list->ranks[j]) - (list->ranks[i] < list->ranks[j]);
                int got = order_compare(&order, &keys[i], &keys[j]);
                if (((got > 0) - (got < 0)) != (order.descending ? -wanted : wanted))
                    fail_msg("type %u, way %d: value %zu against value %zu is %d", type, way, i, j, got);
            }
        }
        for (size_t i = 0; i < list->count; i++)
            free(copies[i]);
    }
    for (size_t i = 0; i < list->count; i++)
        buffer_free(&list->values[i]);
    *list = (struct list){0};
}

static void integers(void **state)
{
    (void)state;
    static const int64_t numbers[] = {INT64_MIN, INT64_MIN + 1, INT32_MIN, INT16_MIN, -256,     -1, 0,
                                      1,         255,           INT16_MAX, INT32_MAX, INT64_MAX};
    static const struct {
        uint32_t type;
        size_t size;
    } types[] = {{INT8, 8}, {INT4, 4}, {INT2, 2}, {DATE, 4}, {TIMESTAMPTZ, 8}, {MONEY, 8}};
    struct list list = {0};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        int64_t most = types[t].size == 8 ? INT64_MAX : types[t].size == 4 ? INT32_MAX : INT16_MAX;
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
            if (numbers[i] >= -most - 1 && numbers[i] <= most)
                list_number(&list, false, numbers[i], types[t].size);
        check(types[t].type, &list);
    }
    list_number(&list, false, 0, 4);
    list_number(&list, false, INT32_MAX, 4);
    list_number(&list, false, INT32_MIN, 4); /* 2^31 */
    list_number(&list, false, -1, 4);
    check(OID, &list);
    list_number(&list, false, 0, 1);
    list_number(&list, false, 1, 1);
    check(BOOL, &list);
    list_bytes(&list, false, "", 1);
    list_bytes(&list, false, "A", 1);
    list_bytes(&list, false, "a", 1);
    list_bytes(&list, false, "\xE9", 1);
    check(CHAR, &list);
}

static void floats(void **state)
{
    (void)state;
    static const double numbers[] = {-INFINITY, -1e300, -1.5, -1.25, -5e-324, -0.0, 0.0, 5e-324, 1, 1e300, INFINITY};
    static const float singles[] = {-INFINITY, -1e30F, -1.5F, -1e-45F, -0.0F, 0.0F, 1e-45F, 1, 1e30F, INFINITY};
    struct list list = {0};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int64_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        list_number(&list, i == 6, bits, 8);
    }
    list_number(&list, false, INT64_C(0x7FF8000000000000), 8);
    list_number(&list, true, INT64_C(0x7FF0000000000001), 8);
    list_number(&list, true, (int64_t)UINT64_C(0xFFF8000000000000), 8);
    check(FLOAT8, &list);
    for (size_t i = 0; i < sizeof singles / sizeof singles[0]; i++) {
        int32_t bits;
        memcpy(&bits, &singles[i], sizeof bits);
        list_number(&list, i == 5, bits, 4);
    }
    list_number(&list, false, INT64_C(0x7FC00000), 4);
    list_number(&list, true, INT64_C(0xFFC00000), 4);
    check(FLOAT4, &list);
}

static void add_span(struct list *list, bool is_equal, int64_t time, int32_t days, int32_t months)
{
    struct buffer *value = list_add(list, is_equal);
    for (size_t i = 8; i--;)
        buffer_char(value, (char)((uint64_t)time >> 8 * i));
    wire_32(value, (uint32_t)days);
    wire_32(value, (uint32_t)months);
}

static void add_timetz(struct list *list, bool is_equal, int64_t time, int32_t zone)
{
    struct buffer *value = list_add(list, is_equal);
    for (size_t i = 8; i--;)
        buffer_char(value, (char)((uint64_t)time >> 8 * i));
    wire_32(value, (uint32_t)zone);
}

static void intervals_and_times_with_zones(void **state)
{
    (void)state;
    static const int64_t hour = INT64_C(3600000000);
    struct list list = {0};
    add_span(&list, false, INT64_MIN, INT32_MIN, INT32_MIN); /* -infinity, from PostgreSQL 17 on */
    add_span(&list, false, 0, 0, INT32_MIN);
    add_span(&list, false, 0, -30, 0);
    add_span(&list, true, 0, 0, -1);
    add_span(&list, false, -hour, 0, 0);
    add_span(&list, false, 0, 0, 0);
    add_span(&list, true, -24 * hour, 1, 0);
    add_span(&list, false, 0, 0, 1);
    add_span(&list, true, 0, 30, 0);
    add_span(&list, true, 24 * 30 * hour, 0, 0);
    add_span(&list, false, 1, 30, 0);
    add_span(&list, false, INT64_MAX, 0, 0);
    add_span(&list, false, 0, 0, INT32_MAX);
    add_span(&list, false, INT64_MAX, INT32_MAX, INT32_MAX); /* infinity */
    check(INTERVAL, &list);
    /* the zone counts seconds west of Greenwich */
    add_timetz(&list, false, 0, -14 * 3600);
    add_timetz(&list, false, 12 * hour, -3600);
    add_timetz(&list, false, 11 * hour, 0); /* the same moment, but another zone */
    add_timetz(&list, false, 10 * hour, 3600);
    add_timetz(&list, false, 11 * hour, 3600);
    add_timetz(&list, false, 24 * hour, 0);
    check(TIMETZ, &list);
}

static void texts_and_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } values[] = {{"", 0},         {"\0", 1},          {"\0\0", 2},     {"A", 1},          {"a", 1},
                  {"a\0", 2},      {"a ", 2},          {"aaaaaaaa", 8}, {"aaaaaaaa\0", 9}, {"aaaaaaaab", 9},
                  {"aaaaaaab", 8}, {"aaaaaaab12", 10}, {"\x7F", 1},     {"\xC3\xA9", 2},   {"\xFF", 1}};
    static const uint32_t types[] = {BYTEA, TEXT, VARCHAR, NAME};
    struct list list = {0};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
            list_bytes(&list, false, values[i].bytes, values[i].size);
        check(types[t], &list);
    }
    list_bytes(&list, false, "", 0);
    list_bytes(&list, true, "    ", 4);
    list_bytes(&list, false, "a", 1); /* below "a\1", where a blank would have been above */
    list_bytes(&list, true, "a ", 2);
    list_bytes(&list, true, "a              ", 15);
    list_bytes(&list, false, "a\1", 2);
    list_bytes(&list, false, "a b", 3);
    check(BPCHAR, &list);
    list_bytes(&list, false, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    list_bytes(&list, false, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    list_bytes(&list, false, "\0\0\0\0\0\0\0\0\xFF\0\0\0\0\0\0\0", 16);
    list_bytes(&list, false, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0", 16);
    list_bytes(&list, false, "\xFF\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    check(UUID, &list);
}

static void numerics(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_equal;
    } values[] = {
        {"-Infinity", false},
        {"-100000000000000000000", false},
        {"-123412341234.5", false},
        {"-123412341234", false},
        {"-123412341234.000", true},
        {"-10000", false},
        {"-1.5", false},
        {"-1.50", true},
        {"-0.0001", false},
        {"0", false},
        {"0.000", true},
        {"0.00000001", false},
        {"0.0001", false},
        {"1", false},
        {"1.00000", true},
        {"1.00000000000000001", false},
        {"9999", false},
        {"9999.9999", false},
        {"10000", false},
        {"123412341234.99999998", false},
        {"123412341234.99999999", false},
        {"123412341234.999999990000", true},
        {"100000000000000000000", false},
        {"Infinity", false},
        {"NaN", false},
    };
    struct list list = {0};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        numeric_text(list_add(&list, values[i].is_equal), values[i].text);
    check(NUMERIC, &list);
    static const char least[] = "\0\1\x80\0\0\0\0\0\0\1", greatest[] = "\0\1\x7F\xFF\0\0\0\0\0\1";
    list_bytes(&list, false, least, 10);
    numeric_text(list_add(&list, false), "1");
    list_bytes(&list, false, greatest, 10);
    check(NUMERIC, &list);
}

static void values_that_are_none(void **state)
{
    (void)state;
    static const uint32_t sized[] = {BOOL, CHAR, INT2, INT4, INT8, OID, FLOAT4, FLOAT8, DATE, INTERVAL, TIMETZ, UUID};
    static const int32_t sizes[] = {1, 1, 2, 4, 8, 4, 4, 8, 4, 16, 12, 16};
    static const char *const numerics_not[] = {
        "\0\1\0\0\0\1\0\0\0\1",     /* sign */
        "\0\1\0\0\0\0\0\0\x27\x10", /* a digit of 10000 */
        "\0\2\0\0\0\0\0\0\0\1",     /* size */
        "\0\0\0\0\0\0\0\0\0\1",
    };
    char bytes[20] = {0};
    struct order order;
    struct order_key key;
    for (size_t t = 0; t < sizeof sized / sizeof sized[0]; t++) {
        assert_true(order_find(sized[t], false, &order));
        for (int32_t size = 0; size <= 20; size++)
            assert_int_equal(order_read(&order, bytes, size, &key), size == sizes[t]);
    }
    assert_true(order_find(NUMERIC, false, &order));
    for (size_t i = 0; i < sizeof numerics_not / sizeof numerics_not[0]; i++)
        assert_false(order_read(&order, numerics_not[i], 10, &key));
    for (int32_t size = 0; size < 8; size++)
        assert_false(order_read(&order, bytes, size, &key));
    assert_true(order_find(TIMETZ, false, &order));
    assert_false(order_read(&order, "\xFF\0\0\0\0\0\0\0\0\0\0\0", 12, &key));
    assert_false(order_read(&order, "\0\0\0\0\0\0\0\0\x7F\xFF\0\0", 12, &key));
}

static void types_without_an_order_here(void **state)
{
    (void)state;
    static const uint32_t never[] = {0, 705, 114, JSONB, 869, USER_TYPE, 1009 /* text[] */, 2249 /* record */};
    static const uint32_t texts[] = {TEXT, VARCHAR, BPCHAR, NAME};
    struct order order;
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        assert_false(order_find(never[i], true, &order));
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_false(order_find(texts[i], false, &order));
        assert_true(order_find(texts[i], true, &order));
    }
    assert_string_equal(order_type_name(TIMETZ), "time with time zone");
    assert_null(order_type_name(USER_TYPE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(floats),
        cmocka_unit_test(intervals_and_times_with_zones),
        cmocka_unit_test(texts_and_bytes),
        cmocka_unit_test(numerics),
        cmocka_unit_test(values_that_are_none),
        cmocka_unit_test(types_without_an_order_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
