/*
 * Random numbers for model-based tests: the seed is printed, and taken from the environment variable SEED when that is
 * set.
 */
#ifndef MOSAIC_TESTS_UNIT_RANDOM_H
#define MOSAIC_TESTS_UNIT_RANDOM_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct random {
    uint64_t state;
};

static inline struct random random_start(void)
{
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();
    printf("SEED=%" PRIu64 "\n", seed);
    return (struct random){seed * 2 + 1};
}

/* splitmix64 */
static inline uint64_t random_bits(struct random *random)
{
    uint64_t z = random->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* 0 ≤ result < limit */
static inline uint32_t random_below(struct random *random, uint32_t limit)
{
    return (uint32_t)(random_bits(random) % limit);
}

#endif
