/*
 * What an operator changes while the proxy runs, and what is measured for him over all threads. Any thread reads and
 * sets it; a worker looks at one atomic flag.
 */
#ifndef MOSAIC_PROXY_OPERATION_H
#define MOSAIC_PROXY_OPERATION_H

#include "core/map.h"
#include "proxy/totals.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct proxy;
struct world;

/* How the proxy is to end; a later request only makes it faster. */
enum stop_kind {
    STOP_NOT,
    STOP_CLIENTS, /* when the last client has gone */
    STOP_SERVERS, /* when the transactions have ended, at most after shutdown_timeout */
    STOP_AT_ONCE
};

struct operation {
    struct proxy *proxy;
    atomic_bool disabled; /* no new logins */
    /* By slot (world.h): a shard keeps what is its own when a reload puts it elsewhere. */
    atomic_bool paused[SHARDS_MOST];  /* no server connections */
    atomic_bool emptied[SHARDS_MOST]; /* the PAUSE was answered: there are none, and will be none */
    atomic_int allowed[SHARDS_MOST];  /* connections that a shard allows; -1: not known */
    atomic_bool failing[SHARDS_MOST]; /* the last connection to it failed */
    atomic_int stop;                  /* enum stop_kind */
    int wake;                         /* eventfd: the main thread is to look at `stop` */
    int64_t started_us;               /* time of day */
    pthread_mutex_t mutex;            /* of the samples */
    struct shard_totals *samples[2];  /* the same; SHARDS_MOST each: the one before last, and the last */
    int64_t sampled_us[2];            /* loop_clock_us; 0: none */
};

MOSAIC_MUST_CHECK mosaic_status operation_new(struct proxy *proxy, struct operation **operation, mosaic_error *error);
void operation_free(struct operation *operation);
void operation_stop(struct operation *operation, enum stop_kind kind);
static inline bool operation_paused(const struct operation *operation, size_t slot)
{
    return atomic_load_explicit(&operation->paused[slot], memory_order_relaxed);
}

/* Takes a sample: to be called each stats_period. */
void operation_sample(struct operation *operation, int64_t now_us);
/* Fills totals with all counters of now, and with what grew between the last two samples, by the shards of this world;
 * arrays into the arena. */
MOSAIC_MUST_CHECK mosaic_status operation_totals(struct operation *operation, const struct world *world,
                                                 struct arena *arena, struct totals *totals, mosaic_error *error);
/* Errors by SQLSTATE class over all threads; arrays of ERROR_CLASSES. */
void operation_errors(struct operation *operation, uint64_t *from_shards, uint64_t *from_proxy);

#endif
