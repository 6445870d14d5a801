/*
 * Signals while the proxy starts: its main thread waits for shards then, for as long as half a minute. A thread of its
 * own hears SIGINT and SIGTERM, and ends those waits.
 *
 *     interrupt_watch(signals, &watch, error) … interrupt_end(&watch)
 */
#ifndef MOSAIC_PROXY_INTERRUPT_H
#define MOSAIC_PROXY_INTERRUPT_H

#include "base/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct interrupt {
    pthread_t thread;
    int signals; /* signalfd */
    int over;    /* eventfd: the start has ended */
    atomic_bool came;
};

/* From now on, until interrupt_end, the thread reads the signals. */
MOSAIC_MUST_CHECK mosaic_status interrupt_watch(int signals, struct interrupt *watch, mosaic_error *error);
/* True: SIGINT or SIGTERM came meanwhile. */
bool interrupt_end(struct interrupt *watch);
/* Every wait for a shard ends with MOSAIC_INTERRUPTED: the proxy ends. */
void interrupt_waits(void);

#endif
