/*
 * Sharding rules: key → bucket.
 *
 * A rule is a sharding function with its bucket count and key types. The functions, and what each is exactly, are
 * listed once below; each has a version in its name, and golden vectors in tests/unit/core. Once released it never
 * changes.
 *
 *   modulo  bucket = key mod B, mathematical (−1 mod 4 is 3)
 *   hash    PostgreSQL's partition hash: hash_combine64 over the columns of <type>extended(key, HASH_PARTITION_SEED),
 * mod B, B a power of two (src/backend/partitioning/partbounds.c, compute_partition_hash_value) sha256  the sha256 of
 * the key's UTF-8 text, read as one little-endian integer, mod B (the rule of Synapse's workers) range   the number of
 * the first bound above the key list    the number of the entry that names the key citus   Citus's: the number of the
 * shard whose range holds the type's 32-bit hash (get_shard_id_for_distribution_column; FindShardInterval in
 * src/backend/distributed/utils/shardinterval_utils.c of Citus)
 */
#ifndef MOSAIC_CORE_RULE_H
#define MOSAIC_CORE_RULE_H

#include "core/key.h"

#include <stdint.h>

/* X(identifier, name in the config, name with version as stored in the catalog) */
#define SHARDING_FUNCTION_LIST(X)   \
    X(MODULO, "modulo", "modulo.1") \
    X(HASH, "hash", "hash.1")       \
    X(SHA256, "sha256", "sha256.1") \
    X(RANGE, "range", "range.1")    \
    X(LIST, "list", "list.1")       \
    X(CITUS, "citus", "citus.1")

enum sharding_function {
#define X(identifier, name, versioned) FUNCTION_##identifier,
    SHARDING_FUNCTION_LIST(X)
#undef X
        FUNCTION_COUNT
};

enum {
    BUCKETS_LEAST = 1024,        /* of modulo and sha256: N·2^k, the smallest that is not below */
    BUCKETS_DEFAULT_HASH = 4096, /* of hash */
    BUCKETS_MOST = 65536,
};

struct rule {
    enum sharding_function function;
    uint32_t buckets; /* B */
    size_t columns;   /* > 1 for hash only */
    enum key_type types[KEY_COLUMNS_MAX];
    /*
     * range: buckets - 1 upper bounds, ascending, each exclusive: bucket b holds bounds[b - 1] <= key < bounds[b].
     * list: buckets' values: bucket b holds the keys equal to bounds[b]. Owned by the model's arena.
     */
    const struct key_value *bounds;
    const char *const *bound_texts; /* the same as written in the config, for SQL */
    const int32_t *lowest;          /* citus: the lowest hash of each bucket, ascending from INT32_MIN */
};

const char *function_name(enum sharding_function function);
const char *function_versioned_name(enum sharding_function function);
bool function_by_name(const char *name, enum sharding_function *function); /* with or without version */

/* B for a rule of this function over `shards` shards when the config gives none; 0 for range, list and citus. */
uint32_t rule_default_buckets(enum sharding_function function, size_t shards);
/*
 * Is this rule usable: types that the function takes, B in bounds (hash: a power of two; modulo and sha256: a multiple
 * of `shards`), bounds ascending and of the type? range over text compares bytes (the column must be COLLATE "C").
 */
MOSAIC_MUST_CHECK mosaic_status rule_check(const struct rule *rule, size_t shards, mosaic_error *error);

/* The bucket of a key. Fails only for list, where no entry names the key (MOSAIC_KEY). */
MOSAIC_MUST_CHECK mosaic_status rule_bucket(const struct rule *rule, const struct key_value *values, uint32_t *bucket,
                                            mosaic_error *error);

/* A text or bytea key of a batch. */
struct key_slice {
    const unsigned char *data;
    size_t size;
};

/* The buckets of many keys at once, for rules with one column of int8 (int4, int2 widened) and modulo, hash or
 * citus. */
void rule_buckets_int8(const struct rule *rule, const int64_t *keys, size_t count, uint32_t *buckets);
/* The same for text, varchar, bytea and uuid with hash or citus. */
void rule_buckets_bytes(const struct rule *rule, const struct key_slice *keys, size_t count, uint32_t *buckets);

#endif
