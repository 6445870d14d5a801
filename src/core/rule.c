#include "core/rule.h"

#include "base/error.h"
#include "core/hash.h"

/*
 * The one-shot calls of OpenSSL 1.1: since 3.0 they are deprecated for EVP, which looks its implementation up by name
 * and takes memory for each digest. These do neither, cannot fail, and use the same assembler.
 */
#define OPENSSL_API_COMPAT 0x10100000L
#include <openssl/sha.h>
#include <string.h>

static const struct {
    const char *name, *versioned;
} functions[] = {
#define X(identifier, name, versioned) {name, versioned},
    SHARDING_FUNCTION_LIST(X)
#undef X
};

const char *function_name(enum sharding_function function)
{
    return functions[function].name;
}

const char *function_versioned_name(enum sharding_function function)
{
    return functions[function].versioned;
}

bool function_by_name(const char *name, enum sharding_function *function)
{
    for (int i = 0; i < FUNCTION_COUNT; i++) {
        if (strcmp(functions[i].name, name) == 0 || strcmp(functions[i].versioned, name) == 0)
            return *function = (enum sharding_function)i, true;
    }
    return false;
}

uint32_t rule_default_buckets(enum sharding_function function, size_t shards)
{
    if (function == FUNCTION_HASH)
        return BUCKETS_DEFAULT_HASH;
    bool counted = function == FUNCTION_MODULO || function == FUNCTION_SHA256;
    if (!counted || shards == 0 || shards > BUCKETS_MOST)
        return 0;
    uint32_t buckets = (uint32_t)shards;
    while (buckets < BUCKETS_LEAST)
        buckets *= 2;
    return buckets;
}

/* ---- checks ------------------------------------------------------------------------------------------ */

static bool takes_type(const struct rule *rule, enum key_type type)
{
    switch (rule->function) {
    case FUNCTION_MODULO:
        return type_is_integer(type);
    case FUNCTION_SHA256:
        return type_is_text(type);
    default:
        return true;
    }
}

static const char *taken_types(enum sharding_function function)
{
    return function == FUNCTION_MODULO ? "smallint, integer and bigint" : "text, character varying and character";
}

static mosaic_status check_types(const struct rule *rule, mosaic_error *error)
{
    const char *name = function_name(rule->function);
    if (rule->columns == 0 || rule->columns > KEY_COLUMNS_MAX)
        return error_set(error, MOSAIC_CONFIG, "a sharding key has 1 to %d columns, not %zu", KEY_COLUMNS_MAX,
                         rule->columns);
    if (rule->columns > 1 && rule->function != FUNCTION_HASH) {
        error_set(error, MOSAIC_CONFIG, "function %s takes one key column, not %zu", name, rule->columns);
        error_hint(error, "use function hash for a key of several columns");
        return MOSAIC_CONFIG;
    }
    for (size_t i = 0; i < rule->columns; i++) {
        if (takes_type(rule, rule->types[i]))
            continue;
        error_set(error, MOSAIC_CONFIG, "function %s does not take a key of type %s", name, type_name(rule->types[i]));
        error_hint(error, "it takes %s; function hash takes every type", taken_types(rule->function));
        return MOSAIC_CONFIG;
    }
    return MOSAIC_OK;
}

static mosaic_status check_buckets(const struct rule *rule, size_t shards, mosaic_error *error)
{
    const char *name = function_name(rule->function);
    if (rule->buckets == 0 || rule->buckets > BUCKETS_MOST)
        return error_set(error, MOSAIC_CONFIG, "buckets must be from 1 to %d, not %u", BUCKETS_MOST, rule->buckets);
    bool is_power = (rule->buckets & (rule->buckets - 1)) == 0;
    if (rule->function == FUNCTION_HASH && !is_power)
        return error_set(error, MOSAIC_CONFIG, "buckets of function hash must be a power of two, not %u",
                         rule->buckets);
    /* The SQL form would need more than the 64 bits that a bigint has. */
    if (rule->function == FUNCTION_HASH && rule->columns == 8 && rule->buckets > 4096)
        return error_set(error, MOSAIC_CONFIG, "a hash key of 8 columns has at most 4096 buckets, not %u",
                         rule->buckets);
    bool multiple = rule->function == FUNCTION_MODULO || rule->function == FUNCTION_SHA256;
    if (multiple && shards && rule->buckets % shards != 0) {
        error_set(error, MOSAIC_CONFIG, "buckets of function %s must be a multiple of the %zu shards, not %u", name,
                  shards, rule->buckets);
        error_hint(error, "leave out buckets: %u are taken then", rule_default_buckets(rule->function, shards));
        return MOSAIC_CONFIG;
    }
    return MOSAIC_OK;
}

static const char *bound_text(const struct rule *rule, size_t i)
{
    return rule->bound_texts ? rule->bound_texts[i] : "?";
}

static mosaic_status check_range(const struct rule *rule, mosaic_error *error)
{
    for (uint32_t i = 0; i + 1 < rule->buckets; i++) {
        if (rule->bounds[i].type != rule->types[0])
            return error_set(error, MOSAIC_CONFIG, "bound %s is not of type %s", bound_text(rule, i),
                             type_name(rule->types[0]));
        if (i && key_compare(&rule->bounds[i - 1], &rule->bounds[i]) >= 0)
            return error_set(error, MOSAIC_CONFIG, "bounds must ascend, but %s does not come before %s",
                             bound_text(rule, i - 1), bound_text(rule, i));
    }
    return MOSAIC_OK;
}

enum { LIST_MOST = 4096 /* entries are searched one after the other */ };

static mosaic_status check_list(const struct rule *rule, mosaic_error *error)
{
    if (rule->buckets > LIST_MOST) {
        error_set(error, MOSAIC_CONFIG, "a list has at most %d entries, not %u", LIST_MOST, rule->buckets);
        error_hint(error, "use function hash, or range");
        return MOSAIC_CONFIG;
    }
    for (uint32_t i = 0; i < rule->buckets; i++) {
        if (rule->bounds[i].type != rule->types[0])
            return error_set(error, MOSAIC_CONFIG, "value %s is not of type %s", bound_text(rule, i),
                             type_name(rule->types[0]));
        for (uint32_t j = 0; j < i; j++) {
            if (key_compare(&rule->bounds[i], &rule->bounds[j]) == 0)
                return error_set(error, MOSAIC_CONFIG, "value %s is listed twice", bound_text(rule, i));
        }
    }
    return MOSAIC_OK;
}

mosaic_status rule_check(const struct rule *rule, size_t shards, mosaic_error *error)
{
    mosaic_status status = check_types(rule, error);
    if (status == MOSAIC_OK)
        status = check_buckets(rule, shards, error);
    bool bounded = rule->function == FUNCTION_LIST || (rule->function == FUNCTION_RANGE && rule->buckets > 1);
    if (status == MOSAIC_OK && bounded && !rule->bounds)
        return error_set(error, MOSAIC_CONFIG, "function %s needs its bounds", function_name(rule->function));
    if (status == MOSAIC_OK && rule->function == FUNCTION_RANGE)
        status = check_range(rule, error);
    if (status == MOSAIC_OK && rule->function == FUNCTION_LIST)
        status = check_list(rule, error);
    return status;
}

/* ---- key → bucket ------------------------------------------------------------------------------------ */

static uint32_t modulo(int64_t key, uint32_t buckets)
{
    int64_t rest = key % (int64_t)buckets;
    return (uint32_t)(rest < 0 ? rest + buckets : rest);
}

/* The digest is one little-endian integer: Horner's rule from its last 32-bit word. */
static uint32_t sha256_bucket(const struct key_value *key, uint32_t buckets)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, key->bytes.data, key->bytes.size);
    SHA256_Final(digest, &context);
    uint64_t rest = 0;
    for (int i = SHA256_DIGEST_LENGTH - 4; i >= 0; i -= 4) {
        uint32_t word = (uint32_t)digest[i] | (uint32_t)digest[i + 1] << 8 | (uint32_t)digest[i + 2] << 16 |
                        (uint32_t)digest[i + 3] << 24;
        rest = (rest << 32 | word) % buckets;
    }
    return (uint32_t)rest;
}

static uint32_t range_bucket(const struct rule *rule, const struct key_value *key)
{
    uint32_t low = 0, high = rule->buckets - 1; /* the first bound above the key is in low..high */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (key_compare(key, &rule->bounds[middle]) < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static mosaic_status list_bucket(const struct rule *rule, const struct key_value *key, uint32_t *bucket,
                                 mosaic_error *error)
{
    for (uint32_t i = 0; i < rule->buckets; i++) {
        if (key_compare(key, &rule->bounds[i]) == 0)
            return *bucket = i, MOSAIC_OK;
    }
    error_set(error, MOSAIC_KEY, "no entry of the list names this key");
    error_hint(error, "add its value to the table's list in the config and apply it");
    return MOSAIC_KEY;
}

/* The last range that does not begin above the hash. */
static uint32_t citus_bucket(const struct rule *rule, uint32_t hash)
{
    int32_t wanted = (int32_t)hash;
    uint32_t low = 0, high = rule->buckets - 1;
    while (low < high) {
        uint32_t middle = high - (high - low) / 2;
        if (rule->lowest[middle] <= wanted)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

mosaic_status rule_bucket(const struct rule *rule, const struct key_value *values, uint32_t *bucket,
                          mosaic_error *error)
{
    switch (rule->function) {
    case FUNCTION_MODULO:
        *bucket = modulo(values[0].integer, rule->buckets);
        return MOSAIC_OK;
    case FUNCTION_HASH:
        *bucket = (uint32_t)hash_of_row(values, rule->columns) & (rule->buckets - 1);
        return MOSAIC_OK;
    case FUNCTION_SHA256:
        *bucket = sha256_bucket(&values[0], rule->buckets);
        return MOSAIC_OK;
    case FUNCTION_RANGE:
        *bucket = range_bucket(rule, &values[0]);
        return MOSAIC_OK;
    case FUNCTION_CITUS:
        *bucket = citus_bucket(rule, hash32_of_value(&values[0]));
        return MOSAIC_OK;
    default:
        return list_bucket(rule, &values[0], bucket, error);
    }
}

void rule_buckets_int8(const struct rule *rule, const int64_t *keys, size_t count, uint32_t *buckets)
{
    uint32_t mask = rule->buckets - 1;
    if (rule->function == FUNCTION_HASH) {
        hash_buckets_int64(keys, count, mask, buckets);
    } else if (rule->function == FUNCTION_CITUS) {
        for (size_t i = 0; i < count; i++)
            buckets[i] = citus_bucket(rule, hash32_of_int64(keys[i]));
    } else if ((rule->buckets & mask) == 0) {
        for (size_t i = 0; i < count; i++)
            buckets[i] = (uint32_t)keys[i] & mask;
    } else {
        for (size_t i = 0; i < count; i++)
            buckets[i] = modulo(keys[i], rule->buckets);
    }
}

void rule_buckets_bytes(const struct rule *rule, const struct key_slice *keys, size_t count, uint32_t *buckets)
{
    if (rule->function != FUNCTION_CITUS) {
        hash_buckets_bytes(keys, count, rule->buckets - 1, buckets);
        return;
    }
    for (size_t i = 0; i < count; i++)
        buckets[i] = citus_bucket(rule, hash32_of_bytes(keys[i].data, keys[i].size));
}
