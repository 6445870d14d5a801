#include "../random.h"
#include "core/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* <type>extended(text, 8816678312871386365), as PostgreSQL 15 answers. Once released these never change. */
static const struct {
    enum key_type type;
    const char *text;
    int64_t hash;
} golden[] = {
    {KEY_INT2, "0", -4403592609991167795},
    {KEY_INT4, "0", -4403592609991167795},
    {KEY_INT8, "0", -4403592609991167795},
    {KEY_INT8, "-1", -5017072347659237694},
    {KEY_INT8, "4294967296", 5968994663651403477},
    {KEY_INT8, "-9223372036854775808", -6050265599104649060},
    {KEY_TEXT, "", -5700645584453517373},
    {KEY_TEXT, "a", -6705225459120232837},
    {KEY_TEXT, "abcdefghijk", -2046435308545367432},
    {KEY_VARCHAR, "abcdefghijkl", -7876791541613377658},
    {KEY_TEXT, "@user:matrix.org", -4372796457422117003},
    {KEY_TEXT, "日本語", -8050275759738715173},
    {KEY_BPCHAR, "ab  ", 596009030900183869},
    {KEY_UUID, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", 424513190990560493},
    {KEY_BYTEA, "\\x00ff", -8033047086852914586},
    {KEY_DATE, "2024-02-29", -7425094147693931516},
    {KEY_TIMESTAMP, "2024-02-29 12:34:56.789", 3499541906658409207},
    {KEY_TIMESTAMPTZ, "2024-02-29 12:34:56.789+02", 4706598610684475961},
    {KEY_NUMERIC, "0", 8816678312871386364},
    {KEY_NUMERIC, "1.50", 1234047083305210387},
    {KEY_NUMERIC, "-123456789.0001", 5018628489161497900},
    {KEY_NUMERIC, "NaN", 8816678312871386365},
    {KEY_NUMERIC, "1e-20", 3231555093127941541},
};

static void golden_vectors(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        struct key_value value;
        const char *text = golden[i].text;
        assert_int_equal(key_from_text(golden[i].type, "k", text, strlen(text), &arena, &value, NULL), MOSAIC_OK);
        if ((int64_t)hash_of_value(&value) != golden[i].hash)
            fail_msg("%s '%s' hashes to %" PRId64, type_name(golden[i].type), text, (int64_t)hash_of_value(&value));
    }
    arena_free(&arena);
}

static void a_row_of_one_column_adds_the_constant(void **state)
{
    (void)state;
    struct key_value value = {.type = KEY_INT8, .integer = 42};
    assert_true(hash_of_row(&value, 1) == hash_of_int64(42) + HASH_COMBINE);
}

/* Batches of any size and alignment give what one key at a time gives. */
enum { BATCH_MOST = 300 };

static void integer_batches_agree_with_single_keys(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 300; round++) {
        int64_t keys[BATCH_MOST];
        uint32_t buckets[BATCH_MOST + 1];
        uint32_t count = random_below(&random, BATCH_MOST), mask = (1u << random_below(&random, 17)) - 1;
        for (uint32_t i = 0; i < count; i++)
            keys[i] = (int64_t)random_bits(&random) >> random_below(&random, 64);
        buckets[count] = 12345;
        hash_buckets_int64(keys, count, mask, buckets);
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(buckets[i], (uint32_t)(hash_of_int64(keys[i]) + HASH_COMBINE) & mask);
        assert_int_equal(buckets[count], 12345);
    }
}

/* Each key lies at the very end of a block of its own, so that a sanitizer sees a read past it. */
static void text_batches_agree_with_single_keys(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 300; round++) {
        struct key_slice keys[BATCH_MOST];
        uint32_t buckets[BATCH_MOST + 1];
        uint32_t count = random_below(&random, BATCH_MOST), mask = (1u << random_below(&random, 17)) - 1;
        uint32_t longest = 1 + random_below(&random, round % 2 ? 30 : 100), fixed = random_below(&random, 2);
        for (uint32_t i = 0; i < count; i++) {
            keys[i].size = fixed ? longest : random_below(&random, longest + 1);
            unsigned char *data = malloc(keys[i].size ? keys[i].size : 1);
            for (size_t j = 0; j < keys[i].size; j++)
                data[j] = (unsigned char)random_bits(&random);
            keys[i].data = data;
        }
        buckets[count] = 12345;
        hash_buckets_bytes(keys, count, mask, buckets);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t hash = hash_of_bytes(keys[i].data, keys[i].size);
            assert_int_equal(buckets[i], (uint32_t)(hash + HASH_COMBINE) & mask);
            free((void *)(uintptr_t)keys[i].data);
        }
        assert_int_equal(buckets[count], 12345);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_vectors),
        cmocka_unit_test(a_row_of_one_column_adds_the_constant),
        cmocka_unit_test(integer_batches_agree_with_single_keys),
        cmocka_unit_test(text_batches_agree_with_single_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
