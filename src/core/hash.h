/*
 * PostgreSQL's hash functions with a 64-bit seed, at the one seed that partitioning uses.
 *
 * hash_of_bytes is hash_bytes_extended and hash_of_uint32 is hash_bytes_uint32_extended of src/common/hashfn.c (Bob
 * Jenkins' lookup3 with other rotations), on a little-endian machine: the on-disk placement of a table partitioned by
 * hash depends on them, so they never change there either.
 *
 * Since bucket counts are powers of two up to 65536, batches compute the low 32 bits only.
 */
#ifndef MOSAIC_CORE_HASH_H
#define MOSAIC_CORE_HASH_H

#include "core/rule.h"

#include <stddef.h>
#include <stdint.h>

/* HASH_PARTITION_SEED (src/include/catalog/partition.h) and the constant of hash_combine64
 * (src/include/common/hashfn.h). */
#define HASH_SEED UINT64_C(0x7A5B22367996DCFD)
#define HASH_COMBINE UINT64_C(0x49A0F4DD15E5A8E3)
/* What the state starts with, before the key's size is added: lookup3's golden ratio and PostgreSQL's own addend. */
#define HASH_START (UINT32_C(0x9e3779b9) + 3923095)

uint64_t hash_of_bytes(const void *bytes, size_t size);
uint64_t hash_of_uint32(uint32_t value);
/* hashint8extended: equal for equal values of all integer types (src/backend/access/hash/hashfunc.c). */
uint64_t hash_of_int64(int64_t value);
/* hash_numeric_extended (src/backend/utils/adt/numeric.c). */
uint64_t hash_of_numeric(const struct key_value *value);
/* <type>extended(value, HASH_SEED). */
uint64_t hash_of_value(const struct key_value *value);
/* compute_partition_hash_value (src/backend/partitioning/partbounds.c). */
uint64_t hash_of_row(const struct key_value *values, size_t count);

/*
 * The types' 32-bit hash functions (hashint8, hashtext, uuid_hash, hash_numeric …), by which Citus distributes: the low
 * half of the extended ones with seed 0.
 */
uint32_t hash32_of_int64(int64_t value);
uint32_t hash32_of_bytes(const void *bytes, size_t size);
uint32_t hash32_of_value(const struct key_value *value);

/* bucket = hash_combine64(0, hash) & mask, for many keys; by AVX2 where the machine has it. */
void hash_buckets_int64(const int64_t *keys, size_t count, uint32_t mask, uint32_t *buckets);
void hash_buckets_bytes(const struct key_slice *keys, size_t count, uint32_t mask, uint32_t *buckets);
/* The same one key after the other. */
void hash_each_bytes(const struct key_slice *keys, size_t count, uint32_t mask, uint32_t *buckets);

#endif
