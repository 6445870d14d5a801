#include "../random.h"
#include "base/error.h"
#include "core/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static mosaic_status read_sized(enum key_type type, const char *text, size_t size, struct arena *arena,
                                struct key_value *value, mosaic_error *error)
{
    return key_from_text(type, "id", text, size, arena, value, error);
}

static void integers(void **state)
{
    (void)state;
    static const struct {
        enum key_type type;
        const char *text;
        int64_t value;
    } taken[] = {
        {KEY_INT2, "32767", 32767},
        {KEY_INT2, "-32768", -32768},
        {KEY_INT4, " \t\n\v\f\r+5 ", 5},
        {KEY_INT4, "-2147483648", INT32_MIN},
        {KEY_INT8, "9223372036854775807", INT64_MAX},
        {KEY_INT8, "-9223372036854775808", INT64_MIN},
        {KEY_INT8, "0000000000000000000000000000007", 7},
        {KEY_INT8, "-0", 0},
    };
    static const struct {
        enum key_type type;
        const char *text, *why;
    } refused[] = {
        {KEY_INT2, "32768", "out of the type's range"},
        {KEY_INT4, "2147483648", "out of the type's range"},
        {KEY_INT8, "9223372036854775808", "out of the type's range"},
        {KEY_INT8, "-9223372036854775809", "out of the type's range"},
        {KEY_INT8, "0x1F", "PostgreSQL 16"},
        {KEY_INT8, "-0o17", "PostgreSQL 16"},
        {KEY_INT8, "0B1", "PostgreSQL 16"},
        {KEY_INT8, "1_000", "PostgreSQL 16"},
        {KEY_INT8, "_1", "not an integer"},
        {KEY_INT8, "0x", "not an integer"},
        {KEY_INT8, "", "not an integer"},
        {KEY_INT8, "-", "not an integer"},
        {KEY_INT8, "1 2", "not an integer"},
        {KEY_INT8, "1.0", "not an integer"},
        {KEY_INT8,
         "\xc2\xa0"
         "1",
         "not an integer"},
    };
    struct arena arena = ARENA_INIT;
    struct key_value value;
    mosaic_error error;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        assert_int_equal(read_sized(taken[i].type, taken[i].text, strlen(taken[i].text), &arena, &value, &error),
                         MOSAIC_OK);
        assert_true(value.integer == taken[i].value);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(read_sized(refused[i].type, refused[i].text, strlen(refused[i].text), &arena, &value, &error),
                         MOSAIC_KEY);
        if (!strstr(error.message, refused[i].why) || !strstr(error.message, "key id: \""))
            fail_msg("%s: %s", refused[i].text, error.message);
    }
    assert_int_equal(read_sized(KEY_INT8, "1\0", 2, &arena, &value, &error), MOSAIC_KEY);
    arena_free(&arena);
}

static void expect_bytes(enum key_type type, const char *text, const void *bytes, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct key_value value;
    mosaic_error error;
    if (read_sized(type, text, strlen(text), &arena, &value, &error) != MOSAIC_OK)
        fail_msg("%s", error.message);
    assert_int_equal(value.bytes.size, size);
    if (size)
        assert_memory_equal(value.bytes.data, bytes, size);
    arena_free(&arena);
}

static void expect_refused(enum key_type type, const char *text, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct key_value value;
    mosaic_error error;
    if (read_sized(type, text, size, &arena, &value, &error) != MOSAIC_KEY)
        fail_msg("'%s' was taken", text);
    arena_free(&arena);
}

static void texts(void **state)
{
    (void)state;
    expect_bytes(KEY_TEXT, "a  ", "a  ", 3);
    expect_bytes(KEY_VARCHAR, "a  ", "a  ", 3);
    expect_bytes(KEY_BPCHAR, "a  ", "a", 1);
    expect_bytes(KEY_BPCHAR, "  ", "", 0);
    expect_bytes(KEY_BPCHAR, " a\t ", " a\t", 3);
    expect_bytes(KEY_TEXT, "", "", 0);
    expect_refused(KEY_TEXT, "a\0b", 3);
    expect_refused(KEY_TEXT, "\xff", 1);
}

static void utf8(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "abcdefghi",
                                       "é",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "12345678é12345678"};
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xc3",         "\xe6\x97",         "1234567\xc3",      "12345678\xff\x31\x32\x33\x34\x35\x36\x37"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(key_is_utf8((const unsigned char *)good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(key_is_utf8((const unsigned char *)bad[i], strlen(bad[i])));
    assert_false(key_is_utf8((const unsigned char *)"1234\0"
                                                    "567",
                             8));
}

static void uuids(void **state)
{
    (void)state;
    const unsigned char bytes[16] = {0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8,
                                     0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11};
    expect_bytes(KEY_UUID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", bytes, 16);
    expect_bytes(KEY_UUID, "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}", bytes, 16);
    expect_bytes(KEY_UUID, "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", bytes, 16);
    static const char *const refused[] = {"",
                                          "{}",
                                          "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                                          "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
                                          " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                                          "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11",
                                          "a0eebc999c0b4ef8bb6d6bb9bd380a11-",
                                          "a0-eebc999c0b4ef8bb6d6bb9bd380a11",
                                          "g0eebc999c0b4ef8bb6d6bb9bd380a11",
                                          "a0eebc999c0b4ef8bb6d6bb9bd380a1"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        expect_refused(KEY_UUID, refused[i], strlen(refused[i]));
}

static void byteas(void **state)
{
    (void)state;
    expect_bytes(KEY_BYTEA, "\\x", "", 0);
    expect_bytes(KEY_BYTEA, "\\xDE ad\nBE\tef ", "\xde\xad\xbe\xef", 4);
    expect_bytes(KEY_BYTEA, "a\\\\b\\001\\377", "a\\b\x01\xff", 5);
    expect_bytes(KEY_BYTEA, "é", "\xc3\xa9", 2);
    static const char *const refused[] = {"\\x1", "\\x1 2", "\\xgg", "\\", "\\8", "\\400", "\\00", "a\\x00"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        expect_refused(KEY_BYTEA, refused[i], strlen(refused[i]));
}

static void binary_forms(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct key_value value;
    mosaic_error error;
    const unsigned char minus_two[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe};
    static const struct {
        enum key_type type;
        size_t size;
    } sizes[] = {{KEY_INT2, 2}, {KEY_INT4, 4}, {KEY_INT8, 8}, {KEY_DATE, 4}, {KEY_TIMESTAMP, 8}, {KEY_TIMESTAMPTZ, 8}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(
            key_from_binary(sizes[i].type, "id", minus_two + 8 - sizes[i].size, sizes[i].size, &arena, &value, &error),
            MOSAIC_OK);
        assert_true(value.integer == -2);
        assert_int_equal(key_from_binary(sizes[i].type, "id", minus_two, sizes[i].size - 1, &arena, &value, &error),
                         MOSAIC_KEY);
    }
    assert_int_equal(key_from_binary(KEY_BPCHAR, "id", "ab ", 3, &arena, &value, &error), MOSAIC_OK);
    assert_int_equal(value.bytes.size, 2);
    assert_int_equal(key_from_binary(KEY_BYTEA, "id", "a\0", 2, &arena, &value, &error), MOSAIC_OK);
    assert_int_equal(value.bytes.size, 2);
    assert_int_equal(key_from_binary(KEY_TEXT, "id", "a\0", 2, &arena, &value, &error), MOSAIC_KEY);
    assert_int_equal(key_from_binary(KEY_UUID, "id", "0123456789abcdef", 16, &arena, &value, &error), MOSAIC_OK);
    assert_int_equal(key_from_binary(KEY_UUID, "id", "0123456789abcde", 15, &arena, &value, &error), MOSAIC_KEY);
    const unsigned char far[4] = {0x7f, 0xff, 0xff, 0xfe};
    assert_int_equal(key_from_binary(KEY_DATE, "id", far, 4, &arena, &value, &error), MOSAIC_KEY);
    assert_non_null(strstr(error.message, "out of the type's range"));
    arena_free(&arena);
}

static mosaic_key part(mosaic_key_kind kind, const void *data, size_t size, int64_t integer)
{
    return (mosaic_key){.kind = kind, .data = data, .size = size, .integer = integer};
}

static void public_forms(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct key_value values[2];
    mosaic_error error;
    const char *const names[] = {"id", "name"};
    enum key_type types[] = {KEY_INT2, KEY_TEXT};
    mosaic_key parts[] = {part(MOSAIC_KEY_INT64, NULL, 0, 7), part(MOSAIC_KEY_TEXT, "x", 1, 0)};
    mosaic_key both = part(MOSAIC_KEY_COMPOSITE, parts, 2, 0);
    assert_int_equal(key_from_public(types, names, 2, both, &arena, values, &error), MOSAIC_OK);
    assert_true(values[0].integer == 7 && values[1].bytes.size == 1);
    assert_int_equal(key_from_public(types, names, 1, parts[0], &arena, values, &error), MOSAIC_OK);
    assert_int_equal(key_from_public(types, names, 1, part(MOSAIC_KEY_TEXT, "-3", 2, 0), &arena, values, &error),
                     MOSAIC_OK);
    assert_true(values[0].integer == -3);
    static const unsigned char zeros[16];
    enum key_type others[] = {KEY_UUID, KEY_BYTEA};
    mosaic_key raw[] = {part(MOSAIC_KEY_UUID, zeros, 16, 0), part(MOSAIC_KEY_BYTES, NULL, 0, 0)};
    both = part(MOSAIC_KEY_COMPOSITE, raw, 2, 0);
    assert_int_equal(key_from_public(others, names, 2, both, &arena, values, &error), MOSAIC_OK);
    assert_int_equal(values[0].bytes.size, 16);

    const mosaic_key refused[] = {
        part(MOSAIC_KEY_INT64, NULL, 0, 40000), part(MOSAIC_KEY_UUID, zeros, 16, 0),
        part(MOSAIC_KEY_BYTES, "a", 1, 0),      part(MOSAIC_KEY_TEXT, NULL, 0, 0),
        part(MOSAIC_KEY_TEXT, "x", 1, 0),       part(MOSAIC_KEY_COMPOSITE, parts, 2, 0),
        part(MOSAIC_KEY_COMPOSITE, NULL, 1, 0), part(MOSAIC_KEY_COMPOSITE, &both, 1, 0),
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_int_equal(key_from_public(types, names, 1, refused[i], &arena, values, &error), MOSAIC_KEY);
        assert_true(error.message[0] != '\0');
    }
    assert_int_equal(key_from_public(types, names, 2, parts[0], &arena, values, &error), MOSAIC_KEY);
    assert_int_equal(key_from_public(&types[1], names, 1, parts[0], &arena, values, &error), MOSAIC_KEY);
    assert_non_null(strstr(error.message, "can't be given as an integer"));
    arena_free(&arena);
}

static void messages_show_the_text_safely(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct key_value value;
    mosaic_error error;
    char longer[1000];
    memset(longer, 'x', sizeof longer);
    assert_int_equal(read_sized(KEY_INT8, longer, sizeof longer, &arena, &value, &error), MOSAIC_KEY);
    assert_non_null(strstr(error.message, "xxx...\""));
    assert_true(strlen(error.message) < 200);
    assert_int_equal(read_sized(KEY_TEXT, "a\xff\n", 3, &arena, &value, &error), MOSAIC_KEY);
    assert_non_null(strstr(error.message, "\"a\\xff\\x0a\""));
    arena_free(&arena);
}

static void values_are_ordered(void **state)
{
    (void)state;
    struct key_value one = {.type = KEY_INT8, .integer = -1}, two = {.type = KEY_INT8, .integer = 1};
    assert_true(key_compare(&one, &two) < 0 && key_compare(&two, &one) > 0 && key_compare(&one, &one) == 0);
    struct key_value a = {.type = KEY_TEXT, .bytes = {(const unsigned char *)"a", 1}};
    struct key_value ab = {.type = KEY_TEXT, .bytes = {(const unsigned char *)"ab", 2}};
    struct key_value high = {.type = KEY_TEXT, .bytes = {(const unsigned char *)"\xc3\xa9", 2}};
    assert_true(key_compare(&a, &ab) < 0 && key_compare(&ab, &high) < 0 && key_compare(&high, &a) > 0);
}

/* The model: a number printed in any way is read as itself; its two's complement too. */
static void random_integers_are_read_as_printed(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 20000; round++) {
        struct arena arena = ARENA_INIT;
        int64_t number = (int64_t)random_bits(&random) >> random_below(&random, 64);
        char text[64];
        struct key_value value;
        snprintf(text, sizeof text, "%*" PRId64 "%*s", (int)random_below(&random, 30), number,
                 (int)random_below(&random, 4), "");
        enum key_type type = (enum key_type)(KEY_INT2 + random_below(&random, 3));
        int64_t most = type == KEY_INT2 ? INT16_MAX : type == KEY_INT4 ? INT32_MAX : INT64_MAX;
        mosaic_status expected = number > most || number < -most - 1 ? MOSAIC_KEY : MOSAIC_OK;
        assert_int_equal(read_sized(type, text, strlen(text), &arena, &value, NULL), expected);
        assert_true(expected != MOSAIC_OK || value.integer == number);
        unsigned char bytes[8];
        for (int i = 0; i < 8; i++)
            bytes[i] = (unsigned char)((uint64_t)number >> (56 - 8 * i));
        assert_int_equal(key_from_binary(KEY_INT8, "id", bytes, 8, &arena, &value, NULL), MOSAIC_OK);
        assert_true(value.integer == number);
        arena_free(&arena);
    }
}

static void failed_allocations_are_reported(void **state)
{
    (void)state;
    static const struct {
        enum key_type type;
        const char *text;
    } cases[] = {{KEY_UUID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}, {KEY_BYTEA, "\\x00"}, {KEY_NUMERIC, "1.5"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena = ARENA_INIT;
        struct key_value value;
        mosaic_error error;
        memory_fail_after(0);
        mosaic_status status = read_sized(cases[i].type, cases[i].text, strlen(cases[i].text), &arena, &value, &error);
        memory_fail_after(-1);
        assert_int_equal(status, MOSAIC_MEMORY);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(texts),
        cmocka_unit_test(utf8),
        cmocka_unit_test(uuids),
        cmocka_unit_test(byteas),
        cmocka_unit_test(binary_forms),
        cmocka_unit_test(public_forms),
        cmocka_unit_test(messages_show_the_text_safely),
        cmocka_unit_test(values_are_ordered),
        cmocka_unit_test(random_integers_are_read_as_printed),
        cmocka_unit_test(failed_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
