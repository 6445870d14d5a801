/*
 * How many keys a second go to their buckets, on one core. Prints lines "name value unit bar"; the best of several
 * runs, since anything else that runs on the machine can only make one slower.
 */
#include "core/rule.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    KEYS = 1 << 14 /* as large as a batch of load; fits the second-level cache */,
    ROUNDS = 10,
    RUNS = 200,
    TEXT_SIZE = 24
};

static int64_t integers[KEYS];
static char texts[KEYS][TEXT_SIZE + 1], mixed_texts[KEYS][TEXT_SIZE + 1];
static struct key_slice slices[KEYS], mixed[KEYS];
static uint32_t buckets[KEYS];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double million_per_second(const struct rule *rule, const struct key_slice *keys)
{
    double best = 1e9;
    for (int run = 0; run < RUNS; run++) {
        double start = now();
        for (int round = 0; round < ROUNDS; round++) {
            if (keys)
                rule_buckets_bytes(rule, keys, KEYS, buckets);
            else
                rule_buckets_int8(rule, integers, KEYS, buckets);
            __asm__ volatile("" : : "r"(buckets) : "memory"); /* the results count as used */
        }
        double took = now() - start;
        best = took < best ? took : best;
    }
    return (double)KEYS * ROUNDS / best / 1e6;
}

static void make_keys(void)
{
    uint64_t state = 1;
    for (int i = 0; i < KEYS; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        integers[i] = (int64_t)state;
        snprintf(texts[i], sizeof texts[i], "@user%08u:matrix.org", (unsigned)(state >> 33) % 100000000);
        size_t size = 8 + (size_t)(state >> 60);
        snprintf(mixed_texts[i], sizeof mixed_texts[i], "%024" PRIu64, state);
        slices[i] = (struct key_slice){(const unsigned char *)texts[i], TEXT_SIZE};
        mixed[i] = (struct key_slice){(const unsigned char *)mixed_texts[i], size};
    }
}

int main(void)
{
    make_keys();
    struct rule hash = {.function = FUNCTION_HASH, .buckets = 4096, .columns = 1, .types = {KEY_INT8}};
    struct rule modulo = {.function = FUNCTION_MODULO, .buckets = 1536, .columns = 1, .types = {KEY_INT8}};
    struct rule text = {.function = FUNCTION_HASH, .buckets = 4096, .columns = 1, .types = {KEY_TEXT}};
    printf("hash_int8 %.0f million_keys/s >=200\n", million_per_second(&hash, NULL));
    printf("hash_text_24 %.0f million_keys/s >=60\n", million_per_second(&text, slices));
    printf("hash_text_8_to_23 %.0f million_keys/s -\n", million_per_second(&text, mixed));
    printf("modulo_int8_1536 %.0f million_keys/s -\n", million_per_second(&modulo, NULL));
    modulo.buckets = 1024;
    printf("modulo_int8_1024 %.0f million_keys/s -\n", million_per_second(&modulo, NULL));
    return 0;
}
