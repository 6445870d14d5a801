/*
 * Keys: text and binary forms of every type. What is accepted must be hashed, compared and placed without a fault, be
 * equal to itself, and be the same value when read again.
 *
 * Input: one byte for the type, one for the form (even: text), then the key.
 */
#include "base/memory.h"
#include "core/hash.h"
#include "core/key.h"
#include "core/rule.h"
#include "fuzz.h"

#include <string.h>

static mosaic_status read_key(const uint8_t *data, size_t size, struct arena *arena, struct key_value *value,
                              mosaic_error *error)
{
    enum key_type type = (enum key_type)(data[0] % KEY_TYPE_COUNT);
    if (data[1] % 2 == 0)
        return key_from_text(type, "k", (const char *)data + 2, size - 2, arena, value, error);
    return key_from_binary(type, "k", data + 2, size - 2, arena, value, error);
}

static void check_value(const struct key_value *value, const struct key_value *again)
{
    FUZZ_REQUIRE(key_compare(value, again) == 0);
    FUZZ_REQUIRE(hash_of_value(value) == hash_of_value(again));
    struct rule rule = {.function = FUNCTION_HASH, .buckets = 4096, .columns = 1, .types = {value->type}};
    uint32_t bucket = UINT32_MAX;
    FUZZ_REQUIRE(rule_bucket(&rule, value, &bucket, NULL) == MOSAIC_OK && bucket < rule.buckets);
    if (!type_is_text(value->type))
        return;
    FUZZ_REQUIRE(key_is_utf8(value->bytes.data, value->bytes.size));
    rule.function = FUNCTION_SHA256, rule.buckets = 1536;
    FUZZ_REQUIRE(rule_bucket(&rule, value, &bucket, NULL) == MOSAIC_OK && bucket < rule.buckets);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct arena arena = ARENA_INIT;
    struct key_value value, again;
    mosaic_error error = {.message = ""};
    mosaic_status status = read_key(data, size, &arena, &value, &error);
    FUZZ_REQUIRE(status == MOSAIC_OK || (status == MOSAIC_KEY && error.message[0]));
    FUZZ_REQUIRE(read_key(data, size, &arena, &again, &error) == status);
    if (status == MOSAIC_OK)
        check_value(&value, &again);
    arena_free(&arena);
    return 0;
}
