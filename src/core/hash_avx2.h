/*
 * The batches of hash.h, eight keys at a time, for machines with AVX2. Each returns how many keys from the start it has
 * done; the caller does the rest. Without AVX2 (or not on x86-64) they do none.
 */
#ifndef MOSAIC_CORE_HASH_AVX2_H
#define MOSAIC_CORE_HASH_AVX2_H

#include "core/rule.h"

size_t hash_avx2_int64(const int64_t *keys, size_t count, uint32_t mask, uint32_t *buckets);
size_t hash_avx2_bytes(const struct key_slice *keys, size_t count, uint32_t mask, uint32_t *buckets);

#endif
