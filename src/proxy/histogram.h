/*
 * Durations in buckets whose bounds are powers of two of microseconds: 1 µs, 2, 4 … 67 s, and beyond. One writer adds
 * with a plain add; readers of other threads see each bucket whole. Adding costs a count of leading zeros and one add.
 */
#ifndef MOSAIC_PROXY_HISTOGRAM_H
#define MOSAIC_PROXY_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 28 }; /* the last is what took longer than 2^26 µs */

struct histogram {
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* The bucket of a duration: the first i with us <= 2^i. */
static inline unsigned histogram_bucket(uint64_t us)
{
    unsigned i = us <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(us - 1);
    return i < HISTOGRAM_BUCKETS - 1 ? i : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add(struct histogram *histogram, uint64_t us)
{
    _Atomic uint64_t *bucket = &histogram->buckets[histogram_bucket(us)];
    atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1, memory_order_relaxed);
}

#endif
