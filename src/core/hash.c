#include "core/hash.h"

#include "core/hash_avx2.h"

#include <string.h>

struct state {
    uint32_t a, b, c;
};

static inline uint32_t rotate(uint32_t x, int k)
{
    return (x << k) | (x >> (32 - k));
}

static inline void stir(struct state *s)
{
    s->a = (s->a - s->c) ^ rotate(s->c, 4), s->c += s->b;
    s->b = (s->b - s->a) ^ rotate(s->a, 6), s->a += s->c;
    s->c = (s->c - s->b) ^ rotate(s->b, 8), s->b += s->a;
    s->a = (s->a - s->c) ^ rotate(s->c, 16), s->c += s->b;
    s->b = (s->b - s->a) ^ rotate(s->a, 19), s->a += s->c;
    s->c = (s->c - s->b) ^ rotate(s->b, 4), s->b += s->a;
}

static inline void finish(struct state *s)
{
    s->c = (s->c ^ s->b) - rotate(s->b, 14);
    s->a = (s->a ^ s->c) - rotate(s->c, 11);
    s->b = (s->b ^ s->a) - rotate(s->a, 25);
    s->c = (s->c ^ s->b) - rotate(s->b, 16);
    s->a = (s->a ^ s->c) - rotate(s->c, 4);
    s->b = (s->b ^ s->a) - rotate(s->a, 14);
    s->c = (s->c ^ s->b) - rotate(s->b, 24);
}

/* The state after the seed, which depends on the key's size alone. Seed 0 is not stirred in. */
static inline struct state begin(uint32_t size, bool seeded)
{
    uint32_t start = HASH_START + size;
    if (!seeded)
        return (struct state){start, start, start};
    struct state s = {start + (uint32_t)(HASH_SEED >> 32), start + (uint32_t)HASH_SEED, start};
    stir(&s);
    return s;
}

static inline uint64_t result(const struct state *s)
{
    return (uint64_t)s->b << 32 | s->c;
}

static inline uint32_t word(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t bytes_hash(const void *bytes, size_t size, bool seeded)
{
    const unsigned char *at = bytes;
    struct state s = begin((uint32_t)size, seeded);
    for (; size >= 12; at += 12, size -= 12) {
        s.a += word(at), s.b += word(at + 4), s.c += word(at + 8);
        stir(&s);
    }
    unsigned char tail[12] = {0};
    if (size)
        memcpy(tail, at, size);
    /* The lowest byte of c is kept free of the key. */
    s.a += word(tail), s.b += word(tail + 4), s.c += word(tail + 8) << 8;
    finish(&s);
    return result(&s);
}

static inline uint64_t uint32_hash(uint32_t value, bool seeded)
{
    struct state s = begin(sizeof value, seeded);
    s.a += value;
    finish(&s);
    return result(&s);
}

uint64_t hash_of_bytes(const void *bytes, size_t size)
{
    return bytes_hash(bytes, size, true);
}

uint64_t hash_of_uint32(uint32_t value)
{
    return uint32_hash(value, true);
}

/* The high half is folded in so that a value hashes alike in int2, int4 and int8. */
static inline uint32_t fold(int64_t value)
{
    uint32_t low = (uint32_t)value, high = (uint32_t)((uint64_t)value >> 32);
    return low ^ (value >= 0 ? high : ~high);
}

uint64_t hash_of_int64(int64_t value)
{
    return hash_of_uint32(fold(value));
}

uint64_t hash_of_numeric(const struct key_value *value)
{
    if (value->numeric.special)
        return HASH_SEED;
    if (value->numeric.count == 0)
        return HASH_SEED - 1;
    uint64_t digits = hash_of_bytes(value->numeric.digits, (size_t)value->numeric.count * sizeof(int16_t));
    return digits ^ (uint64_t)(int64_t)value->numeric.weight;
}

uint64_t hash_of_value(const struct key_value *value)
{
    switch (value->type) {
    case KEY_INT2:
    case KEY_INT4:
    case KEY_INT8:
    case KEY_DATE:
    case KEY_TIMESTAMP:
    case KEY_TIMESTAMPTZ:
        return hash_of_int64(value->integer);
    case KEY_NUMERIC:
        return hash_of_numeric(value);
    default:
        return hash_of_bytes(value->bytes.data, value->bytes.size);
    }
}

uint32_t hash32_of_int64(int64_t value)
{
    return (uint32_t)uint32_hash(fold(value), false);
}

uint32_t hash32_of_bytes(const void *bytes, size_t size)
{
    return (uint32_t)bytes_hash(bytes, size, false);
}

static uint32_t hash32_of_numeric(const struct key_value *value)
{
    if (value->numeric.special)
        return 0;
    if (value->numeric.count == 0)
        return UINT32_MAX;
    uint32_t digits = hash32_of_bytes(value->numeric.digits, (size_t)value->numeric.count * sizeof(int16_t));
    return digits ^ (uint32_t)(int32_t)value->numeric.weight;
}

uint32_t hash32_of_value(const struct key_value *value)
{
    switch (value->type) {
    case KEY_INT2:
    case KEY_INT4:
    case KEY_INT8:
    case KEY_DATE:
    case KEY_TIMESTAMP:
    case KEY_TIMESTAMPTZ:
        return hash32_of_int64(value->integer);
    case KEY_NUMERIC:
        return hash32_of_numeric(value);
    default:
        return hash32_of_bytes(value->bytes.data, value->bytes.size);
    }
}

uint64_t hash_of_row(const struct key_value *values, size_t count)
{
    uint64_t row = 0;
    for (size_t i = 0; i < count; i++)
        row ^= hash_of_value(&values[i]) + HASH_COMBINE + (row << 54) + (row >> 7);
    return row;
}

static inline uint32_t bucket_of(uint64_t hash, uint32_t mask)
{
    return (uint32_t)(hash + HASH_COMBINE) & mask;
}

void hash_buckets_int64(const int64_t *keys, size_t count, uint32_t mask, uint32_t *buckets)
{
    for (size_t i = hash_avx2_int64(keys, count, mask, buckets); i < count; i++)
        buckets[i] = bucket_of(hash_of_int64(keys[i]), mask);
}

void hash_each_bytes(const struct key_slice *keys, size_t count, uint32_t mask, uint32_t *buckets)
{
    for (size_t i = 0; i < count; i++)
        buckets[i] = bucket_of(hash_of_bytes(keys[i].data, keys[i].size), mask);
}

void hash_buckets_bytes(const struct key_slice *keys, size_t count, uint32_t mask, uint32_t *buckets)
{
    size_t done = hash_avx2_bytes(keys, count, mask, buckets);
    hash_each_bytes(keys + done, count - done, mask, buckets + done);
}
