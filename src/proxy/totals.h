/*
 * Counters of all threads added up, and what they grew by over the last stats_period.
 *
 * The threads only count (stats.h); who asks adds up. A sample is taken once each stats_period (totals_sample), so an
 * average is over a whole period, as PgBouncer's are.
 */
#ifndef MOSAIC_PROXY_TOTALS_H
#define MOSAIC_PROXY_TOTALS_H

#include "proxy/stats.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum shard_counter {
#define X(name, help) SHARD_COUNT_##name,
    SHARD_COUNTER_LIST(X)
#undef X
        SHARD_COUNTER_COUNT
};

enum tier_counter {
#define X(name, help) TIER_COUNT_##name,
    TIER_COUNTER_LIST(X)
#undef X
        TIER_COUNTER_COUNT
};

/* By tier; the first is of what was refused, of which statements alone are counted. */
struct tier_totals {
    uint64_t counts[TIER_COUNTER_COUNT];
};

struct shard_totals {
    uint64_t counts[SHARD_COUNTER_COUNT];
    uint64_t latency[HISTOGRAM_BUCKETS]; /* of transactions */
};

struct totals {
    const char *const *names, *const *helps; /* of the proxy's counters */
    const uint64_t *counts;
    size_t count;
    const struct shard_totals *shards; /* since the start */
    /* What they grew by between the last two samples, and the microseconds between those; 0: no two samples yet. */
    const struct shard_totals *grown;
    int64_t period_us;
    size_t shard_count;
    const struct tier_totals *tiers; /* TIER_MOST + 1 */
};

/* Is a counter of a tier's known? Rows that one shard gives are not counted, nor which shards the coordinator asks. */
bool totals_tier_knows(unsigned tier, enum tier_counter counter);
/* "1" … "4", "refused". */
const char *totals_tier_name(unsigned tier);

/* A counter's growth in a second; and the mean of one that adds up durations. */
int64_t totals_rate(const struct totals *totals, size_t shard, enum shard_counter counter);
int64_t totals_mean(const struct totals *totals, size_t shard, enum shard_counter sum, enum shard_counter count);

#endif
