#include "../random.h"
#include "core/rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static uint32_t place(const struct rule *rule, enum key_type type, const char *text)
{
    struct arena arena = ARENA_INIT;
    struct key_value value;
    uint32_t bucket = UINT32_MAX;
    mosaic_error error;
    if (key_from_text(type, "k", text, strlen(text), &arena, &value, &error) != MOSAIC_OK ||
        rule_bucket(rule, &value, &bucket, &error) != MOSAIC_OK)
        fail_msg("%s", error.message);
    arena_free(&arena);
    return bucket;
}

static void modulo_is_mathematical(void **state)
{
    (void)state;
    struct rule rule = {.function = FUNCTION_MODULO, .buckets = 4, .columns = 1, .types = {KEY_INT8}};
    assert_int_equal(place(&rule, KEY_INT8, "-1"), 3);
    assert_int_equal(place(&rule, KEY_INT8, "-4"), 0);
    assert_int_equal(place(&rule, KEY_INT8, "7"), 3);
    rule.buckets = 1536;
    assert_int_equal(place(&rule, KEY_INT8, "-9223372036854775808"), 1024); /* -2^63 mod 1536, by bc */
    assert_int_equal(place(&rule, KEY_INT8, "9223372036854775807"), 511);
}

static void sha256_is_the_rule_of_synapse(void **state)
{
    (void)state;
    static const uint32_t shards[5] = {2, 3, 4, 5, 16};
    static const struct {
        const char *key;
        uint32_t buckets[5];
    } golden[] = {
        {"@user:matrix.org", {0, 0, 0, 4, 4}},
        {"@alice:matrix.org", {1, 1, 1, 1, 5}},
        {"@bob:example.com", {1, 0, 3, 1, 7}},
    };
    struct rule rule = {.function = FUNCTION_SHA256, .columns = 1, .types = {KEY_TEXT}};
    for (int k = 0; k < 3; k++) {
        for (int n = 0; n < 5; n++) {
            rule.buckets = shards[n];
            assert_int_equal(place(&rule, KEY_TEXT, golden[k].key), golden[k].buckets[n]);
            /* and through buckets */
            rule.buckets = rule_default_buckets(FUNCTION_SHA256, shards[n]);
            assert_int_equal(place(&rule, KEY_TEXT, golden[k].key) % shards[n], golden[k].buckets[n]);
        }
    }
}

/* Buckets that satisfies_hash_partition (PostgreSQL 15) confirmed. */
static void hash_is_the_partition_hash(void **state)
{
    (void)state;
    struct rule rule = {
        .function = FUNCTION_HASH, .buckets = 4096, .columns = 2, .types = {KEY_INT8, KEY_TEXT, KEY_UUID}};
    static const unsigned char uuid[16] = {0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8,
                                           0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x11};
    struct key_value values[3] = {
        {.type = KEY_INT8, .integer = 42},
        {.type = KEY_TEXT, .bytes = {(const unsigned char *)"@user:matrix.org", 16}},
        {.type = KEY_UUID, .bytes = {uuid, 16}},
    };
    uint32_t bucket;
    assert_int_equal(rule_bucket(&rule, values, &bucket, NULL), MOSAIC_OK);
    assert_int_equal(bucket, 3950);
    rule.columns = 3;
    assert_int_equal(rule_bucket(&rule, values, &bucket, NULL), MOSAIC_OK);
    assert_int_equal(bucket, 2976);
}

static void range_and_list(void **state)
{
    (void)state;
    struct key_value bounds[] = {{.type = KEY_INT4, .integer = 10}, {.type = KEY_INT4, .integer = 20}};
    struct rule rule = {.function = FUNCTION_RANGE, .buckets = 3, .columns = 1, .types = {KEY_INT4}, .bounds = bounds};
    assert_int_equal(rule_check(&rule, 3, NULL), MOSAIC_OK);
    assert_int_equal(place(&rule, KEY_INT4, "-5"), 0);
    assert_int_equal(place(&rule, KEY_INT4, "9"), 0);
    assert_int_equal(place(&rule, KEY_INT4, "10"), 1);
    assert_int_equal(place(&rule, KEY_INT4, "19"), 1);
    assert_int_equal(place(&rule, KEY_INT4, "20"), 2);
    rule.function = FUNCTION_LIST, rule.buckets = 2;
    assert_int_equal(rule_check(&rule, 3, NULL), MOSAIC_OK);
    assert_int_equal(place(&rule, KEY_INT4, "20"), 1);
    struct key_value other = {.type = KEY_INT4, .integer = 11};
    uint32_t bucket;
    mosaic_error error;
    assert_int_equal(rule_bucket(&rule, &other, &bucket, &error), MOSAIC_KEY);
    assert_non_null(strstr(error.message, "no entry"));
}

/* Golden: the hash functions of the types' default operator classes, from PostgreSQL 15. A range of one hash has it. */
static void citus_finds_the_range_of_the_hash(void **state)
{
    (void)state;
    static const struct {
        enum key_type type;
        const char *key;
        int32_t hash;
    } golden[] = {
        {KEY_INT8, "42", 1509752520},
        {KEY_INT8, "-5", 1412886042},
        {KEY_INT8, "9223372036854775807", -1524351049},
        {KEY_INT4, "42", 1509752520},
        {KEY_INT4, "-5", 1412886042},
        {KEY_INT2, "7", -978793473},
        {KEY_TEXT, "@user:matrix.org", 1124712591},
        {KEY_TEXT, "", -1477818771},
        {KEY_UUID, "0123456789abcdef0123456789abcdef", -273596085},
    };
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        const int32_t lowest[] = {INT32_MIN, golden[i].hash, golden[i].hash + 1};
        struct rule rule = {
            .function = FUNCTION_CITUS, .buckets = 3, .columns = 1, .types = {golden[i].type}, .lowest = lowest};
        assert_int_equal(place(&rule, golden[i].type, golden[i].key), 1);
        rule.buckets = 1;
        assert_int_equal(place(&rule, golden[i].type, golden[i].key), 0);
    }
}

static void default_buckets(void **state)
{
    (void)state;
    assert_int_equal(rule_default_buckets(FUNCTION_MODULO, 4), 1024);
    assert_int_equal(rule_default_buckets(FUNCTION_MODULO, 3), 1536);
    assert_int_equal(rule_default_buckets(FUNCTION_SHA256, 5), 1280);
    assert_int_equal(rule_default_buckets(FUNCTION_MODULO, 1), 1024);
    assert_int_equal(rule_default_buckets(FUNCTION_MODULO, 1024), 1024);
    assert_int_equal(rule_default_buckets(FUNCTION_HASH, 5), 4096);
    assert_int_equal(rule_default_buckets(FUNCTION_RANGE, 5), 0);
    assert_int_equal(rule_default_buckets(FUNCTION_LIST, 5), 0);
}

static void expect_unusable(struct rule rule, size_t shards, const char *why)
{
    mosaic_error error = {.message = ""};
    assert_int_equal(rule_check(&rule, shards, &error), MOSAIC_CONFIG);
    if (!strstr(error.message, why))
        fail_msg("expected '%s', got '%s'", why, error.message);
}

static void unusable_rules_are_refused(void **state)
{
    (void)state;
    struct rule hash = {.function = FUNCTION_HASH, .buckets = 4096, .columns = 1, .types = {KEY_TEXT}};
    struct rule modulo = {.function = FUNCTION_MODULO, .buckets = 1024, .columns = 1, .types = {KEY_INT4}};
    struct rule changed = hash;
    assert_int_equal(rule_check(&hash, 3, NULL), MOSAIC_OK);
    assert_int_equal(rule_check(&modulo, 4, NULL), MOSAIC_OK);
    assert_int_equal(rule_check(&modulo, 0, NULL), MOSAIC_OK);
    changed.buckets = 1000, expect_unusable(changed, 1, "power of two");
    changed.buckets = 0, expect_unusable(changed, 1, "buckets must be from");
    changed.buckets = 131072, expect_unusable(changed, 1, "buckets must be from");
    changed = hash, changed.columns = 9, expect_unusable(changed, 1, "1 to 8 columns");
    changed.columns = 0, expect_unusable(changed, 1, "1 to 8 columns");
    changed.columns = 8, changed.buckets = 8192, expect_unusable(changed, 1, "8 columns");
    expect_unusable(modulo, 3, "multiple of the 3 shards");
    changed = modulo, changed.types[0] = KEY_TEXT, expect_unusable(changed, 4, "type text");
    changed = modulo, changed.columns = 2, expect_unusable(changed, 4, "one key column");
    changed = modulo, changed.function = FUNCTION_SHA256, expect_unusable(changed, 4, "type integer");
    struct key_value bounds[] = {{.type = KEY_INT4, .integer = 20}, {.type = KEY_INT4, .integer = 20}};
    struct rule range = {.function = FUNCTION_RANGE, .buckets = 3, .columns = 1, .types = {KEY_INT4}, .bounds = bounds};
    expect_unusable(range, 2, "ascend");
    range.types[0] = KEY_INT8, expect_unusable(range, 2, "not of type");
    range.bounds = NULL, expect_unusable(range, 2, "bounds");
    struct rule list = {.function = FUNCTION_LIST, .buckets = 2, .columns = 1, .types = {KEY_INT4}, .bounds = bounds};
    expect_unusable(list, 2, "twice");
    list.buckets = 4097, expect_unusable(list, 2, "at most 4096 entries");
}

static void names(void **state)
{
    (void)state;
    enum sharding_function function;
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        assert_true(function_by_name(function_name((enum sharding_function)i), &function));
        assert_int_equal(function, i);
        assert_true(function_by_name(function_versioned_name((enum sharding_function)i), &function));
        assert_int_equal(function, i);
    }
    assert_false(function_by_name("hash.2", &function));
    assert_false(function_by_name("", &function));
}

/* Batches against single keys, range against a walk over all bounds. */
static void random_keys_agree(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 500; round++) {
        enum { COUNT = 50 };
        int64_t keys[COUNT];
        uint32_t buckets[COUNT], bucket, below = 0;
        struct rule rule = {.columns = 1, .types = {KEY_INT8}};
        rule.function = round % 2 ? FUNCTION_HASH : FUNCTION_MODULO;
        rule.buckets = round % 2 ? 1u << random_below(&random, 17) : 1 + random_below(&random, 65536);
        struct key_value bounds[20];
        for (int i = 0; i < 20; i++)
            bounds[i] = (struct key_value){.type = KEY_INT8, .integer = i * 100 - 1000};
        struct rule range = {
            .function = FUNCTION_RANGE, .buckets = 21, .columns = 1, .types = {KEY_INT8}, .bounds = bounds};
        for (int i = 0; i < COUNT; i++)
            keys[i] = (int64_t)random_bits(&random) >> random_below(&random, 64);
        rule_buckets_int8(&rule, keys, COUNT, buckets);
        for (int i = 0; i < COUNT; i++, below = 0) {
            struct key_value value = {.type = KEY_INT8, .integer = keys[i]};
            assert_int_equal(rule_bucket(&rule, &value, &bucket, NULL), MOSAIC_OK);
            assert_int_equal(bucket, buckets[i]);
            assert_true(bucket < rule.buckets);
            assert_int_equal(rule_bucket(&range, &value, &bucket, NULL), MOSAIC_OK);
            for (int b = 0; b < 20; b++)
                below += bounds[b].integer <= keys[i];
            assert_int_equal(bucket, below);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modulo_is_mathematical),
        cmocka_unit_test(sha256_is_the_rule_of_synapse),
        cmocka_unit_test(hash_is_the_partition_hash),
        cmocka_unit_test(range_and_list),
        cmocka_unit_test(citus_finds_the_range_of_the_hash),
        cmocka_unit_test(default_buckets),
        cmocka_unit_test(unusable_rules_are_refused),
        cmocka_unit_test(names),
        cmocka_unit_test(random_keys_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
