/*
 * hash.c's arithmetic on eight lanes of 32 bits, one key a lane.
 *
 * Keys of bytes have unequal sizes. They are copied ("staged") into rows of 64 bytes, padded with zeros, and the rows
 * are transposed: word j of all eight keys is one vector then. Every lane runs as many rounds as the longest key needs,
 * and a lane whose key has ended keeps its state. Several groups are staged before the first is hashed, because a load
 * of bytes that were just stored in other pieces would stall.
 *
 * The instruction set is chosen at run time by __builtin_cpu_supports: ifunc resolvers (target_clones) run before a
 * sanitizer's runtime is set up.
 */
#include "core/hash_avx2.h"

#include "core/hash.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

enum {
    LANES = 8,
    HALF = 32,
    ROW = 64,      /* bytes of a staged key */
    ROW_MOST = 59, /* its size: four rounds of 12 bytes and an unfinished one */
    GROUPS = 8,    /* staged at once */
    WORDS = ROW / 4,
};

struct lanes {
    __m256i a, b, c;
};

AVX2 static inline __m256i add(__m256i x, __m256i y)
{
    return _mm256_add_epi32(x, y);
}

AVX2 static inline __m256i subtract(__m256i x, __m256i y)
{
    return _mm256_sub_epi32(x, y);
}

AVX2 static inline __m256i xor (__m256i x, __m256i y) { return _mm256_xor_si256(x, y); }

    AVX2 static inline __m256i all(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}

#define ROTATE(x, k) _mm256_or_si256(_mm256_slli_epi32(x, k), _mm256_srli_epi32(x, 32 - (k)))

AVX2 static inline struct lanes stir(struct lanes s)
{
    s.a = xor(subtract(s.a, s.c), ROTATE(s.c, 4)), s.c = add(s.c, s.b);
    s.b = xor(subtract(s.b, s.a), ROTATE(s.a, 6)), s.a = add(s.a, s.c);
    s.c = xor(subtract(s.c, s.b), ROTATE(s.b, 8)), s.b = add(s.b, s.a);
    s.a = xor(subtract(s.a, s.c), ROTATE(s.c, 16)), s.c = add(s.c, s.b);
    s.b = xor(subtract(s.b, s.a), ROTATE(s.a, 19)), s.a = add(s.a, s.c);
    s.c = xor(subtract(s.c, s.b), ROTATE(s.b, 4)), s.b = add(s.b, s.a);
    return s;
}

/* The low 32 bits of the hash. */
AVX2 static inline __m256i finish(struct lanes s)
{
    s.c = subtract(xor(s.c, s.b), ROTATE(s.b, 14));
    s.a = subtract(xor(s.a, s.c), ROTATE(s.c, 11));
    s.b = subtract(xor(s.b, s.a), ROTATE(s.a, 25));
    s.c = subtract(xor(s.c, s.b), ROTATE(s.b, 16));
    s.a = subtract(xor(s.a, s.c), ROTATE(s.c, 4));
    s.b = subtract(xor(s.b, s.a), ROTATE(s.a, 14));
    return subtract(xor(s.c, s.b), ROTATE(s.b, 24));
}

AVX2 static inline struct lanes begin(__m256i sizes)
{
    __m256i start = add(sizes, all(HASH_START));
    return stir(
        (struct lanes){add(start, all((uint32_t)(HASH_SEED >> 32))), add(start, all((uint32_t)HASH_SEED)), start});
}

AVX2 static inline __m256i to_buckets(__m256i hash, uint32_t mask)
{
    return _mm256_and_si256(add(hash, all((uint32_t)HASH_COMBINE)), all(mask));
}

AVX2 static size_t int64_lanes(const int64_t *keys, size_t count, uint32_t mask, uint32_t *buckets)
{
    size_t i = 0;
    const struct lanes seeded = begin(all(sizeof(uint32_t)));
    for (; i + LANES <= count; i += LANES) {
        __m256 first = _mm256_loadu_ps((const float *)(keys + i));
        __m256 second = _mm256_loadu_ps((const float *)(keys + i + 4));
        /* The low and the high halves, both in the order 0 1 4 5 2 3 6 7 of the keys. */
        __m256i low = _mm256_castps_si256(_mm256_shuffle_ps(first, second, 0x88));
        __m256i high = _mm256_castps_si256(_mm256_shuffle_ps(first, second, 0xDD));
        __m256i folded = xor(low, xor(high, _mm256_srai_epi32(high, 31)));
        struct lanes s = seeded;
        s.a = add(s.a, folded);
        __m256i result = _mm256_permute4x64_epi64(to_buckets(finish(s), mask), 0xD8);
        _mm256_storeu_si256((__m256i *)(buckets + i), result);
    }
    return i;
}

/* One key to its row, with zeros behind it. Overlapping copies, so that no byte outside of the key is read. */
AVX2 static inline void stage(unsigned char *row, const unsigned char *key, size_t size, bool wide)
{
    _mm256_store_si256((__m256i *)row, _mm256_setzero_si256());
    if (wide)
        _mm256_store_si256((__m256i *)(row + HALF), _mm256_setzero_si256());
    if (size >= 32) {
        _mm256_storeu_si256((__m256i *)row, _mm256_loadu_si256((const __m256i *)key));
        _mm256_storeu_si256((__m256i *)(row + size - 32), _mm256_loadu_si256((const __m256i *)(key + size - 32)));
    } else if (size >= 16) {
        _mm_storeu_si128((__m128i *)row, _mm_loadu_si128((const __m128i *)key));
        _mm_storeu_si128((__m128i *)(row + size - 16), _mm_loadu_si128((const __m128i *)(key + size - 16)));
    } else if (size >= 8) {
        memcpy(row, key, 8);
        memcpy(row + size - 8, key + size - 8, 8);
    } else {
        for (size_t i = 0; i < size; i++)
            row[i] = key[i];
    }
}

/* words[j] = word j of each of the eight rows, for the eight words from byte `from` on. */
AVX2 static inline void transpose(const unsigned char *rows, size_t from, __m256i words[LANES])
{
    __m256i r[LANES], t[LANES];
    for (int i = 0; i < LANES; i++)
        r[i] = _mm256_load_si256((const __m256i *)(rows + i * ROW + from));
    for (int i = 0; i < LANES; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4) {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < LANES / 2; i++) {
        words[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
        words[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
    }
}

/* Where `take` is set, y, else x. */
AVX2 static inline __m256i choose(__m256i x, __m256i y, __m256i take)
{
    return _mm256_blendv_epi8(x, y, take);
}

/* A round of 12 bytes for the lanes whose key goes on behind it; for those whose last, unfinished round this is, the
 * end. */
AVX2 static inline struct lanes round_of(struct lanes s, const __m256i *words, __m256i rounds_left)
{
    __m256i zero = _mm256_setzero_si256();
    struct lanes more = stir((struct lanes){add(s.a, words[0]), add(s.b, words[1]), add(s.c, words[2])});
    struct lanes last = {add(s.a, words[0]), add(s.b, words[1]), add(s.c, _mm256_slli_epi32(words[2], 8))};
    __m256i goes_on = _mm256_cmpgt_epi32(rounds_left, zero), ends = _mm256_cmpeq_epi32(rounds_left, zero);
    s.a = choose(choose(s.a, more.a, goes_on), last.a, ends);
    s.b = choose(choose(s.b, more.b, goes_on), last.b, ends);
    s.c = choose(choose(s.c, more.c, goes_on), last.c, ends);
    return s;
}

/* Words 0 to 3 * (longest / 12) + 2 of eight rows. */
AVX2 static inline void load_words(const unsigned char *rows, uint32_t longest, __m256i words[WORDS])
{
    transpose(rows, 0, words);
    if (longest > HALF)
        transpose(rows, HALF, words + LANES);
    else
        words[LANES] = _mm256_setzero_si256(); /* the third round's last word */
}

AVX2 static void hash_group(const unsigned char *rows, const uint32_t *sizes, uint32_t longest, uint32_t mask,
                            uint32_t *buckets)
{
    __m256i words[WORDS];
    load_words(rows, longest, words);
    __m256i size = _mm256_loadu_si256((const __m256i *)sizes);
    /* size / 12, exact for sizes below 2^15 */
    __m256i rounds = _mm256_srli_epi32(_mm256_mullo_epi32(size, all(43691)), 19);
    struct lanes s = begin(size);
    for (uint32_t i = 0; i <= longest / 12; i++)
        s = round_of(s, words + (size_t)3 * i, subtract(rounds, all(i)));
    _mm256_storeu_si256((__m256i *)buckets, to_buckets(finish(s), mask));
}

/* The same for keys of one size: no lane has to wait, and `seeded` is the same for each group. */
AVX2 static void hash_even_group(const unsigned char *rows, uint32_t size, struct lanes seeded, uint32_t mask,
                                 uint32_t *buckets)
{
    __m256i words[WORDS];
    load_words(rows, size, words);
    struct lanes s = seeded;
    const __m256i *at = words;
    for (; size >= 12; size -= 12, at += 3)
        s = stir((struct lanes){add(s.a, at[0]), add(s.b, at[1]), add(s.c, at[2])});
    s = (struct lanes){add(s.a, at[0]), add(s.b, at[1]), add(s.c, _mm256_slli_epi32(at[2], 8))};
    _mm256_storeu_si256((__m256i *)buckets, to_buckets(finish(s), mask));
}

struct staged {
    _Alignas(32) unsigned char rows[GROUPS][LANES * ROW];
    uint32_t sizes[GROUPS][LANES];
    uint32_t shortest[GROUPS], longest[GROUPS];
};

AVX2 static void stage_group(struct staged *staged, size_t group, const struct key_slice *keys)
{
    uint32_t longest = 0, shortest = ROW_MOST + 1;
    for (int i = 0; i < LANES; i++) {
        uint32_t size = keys[i].size > ROW_MOST ? ROW_MOST + 1 : (uint32_t)keys[i].size;
        staged->sizes[group][i] = size;
        longest = size > longest ? size : longest;
        shortest = size < shortest ? size : shortest;
    }
    for (int i = 0; i < LANES && longest <= ROW_MOST; i++)
        stage(staged->rows[group] + (size_t)i * ROW, keys[i].data, keys[i].size, longest > HALF);
    staged->longest[group] = longest;
    staged->shortest[group] = shortest;
}

AVX2 static size_t bytes_lanes(const struct key_slice *keys, size_t count, uint32_t mask, uint32_t *buckets)
{
    struct staged staged;
    size_t done = 0;
    uint32_t seeded_size = 0;
    struct lanes seeded = begin(all(seeded_size));
    while (count - done >= LANES) {
        size_t groups = (count - done) / LANES < GROUPS ? (count - done) / LANES : GROUPS;
        for (size_t g = 0; g < groups; g++)
            stage_group(&staged, g, keys + done + g * LANES);
        for (size_t g = 0; g < groups; g++, done += LANES) {
            uint32_t longest = staged.longest[g];
            if (longest == staged.shortest[g] && longest <= ROW_MOST) {
                if (longest != seeded_size)
                    seeded = begin(all(seeded_size = longest));
                hash_even_group(staged.rows[g], longest, seeded, mask, buckets + done);
            } else if (longest <= ROW_MOST) {
                hash_group(staged.rows[g], staged.sizes[g], longest, mask, buckets + done);
            } else {
                hash_each_bytes(keys + done, LANES, mask, buckets + done);
            }
        }
    }
    return done;
}

static int machine_has_it(void)
{
    return __builtin_cpu_supports("avx2");
}

size_t hash_avx2_int64(const int64_t *keys, size_t count, uint32_t mask, uint32_t *buckets)
{
    return machine_has_it() ? int64_lanes(keys, count, mask, buckets) : 0;
}

size_t hash_avx2_bytes(const struct key_slice *keys, size_t count, uint32_t mask, uint32_t *buckets)
{
    return machine_has_it() ? bytes_lanes(keys, count, mask, buckets) : 0;
}

#else

size_t hash_avx2_int64(const int64_t *keys, size_t count, uint32_t mask, uint32_t *buckets)
{
    (void)keys, (void)count, (void)mask, (void)buckets;
    return 0;
}

size_t hash_avx2_bytes(const struct key_slice *keys, size_t count, uint32_t mask, uint32_t *buckets)
{
    (void)keys, (void)count, (void)mask, (void)buckets;
    return 0;
}

#endif
