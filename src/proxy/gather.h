/*
 * A snapshot of all threads: each worker is sent a message, fills its own part, and the last one says that it is whole.
 *
 *     gather_start(proxy, SNAPSHOT_POOLS, done, context);      from any thread
 *     done(gather)                                             on the last worker's thread: gather->snapshot
 *     gather_free(gather)                                      by whom done has given it to
 */
#ifndef MOSAIC_PROXY_GATHER_H
#define MOSAIC_PROXY_GATHER_H

#include "proxy/proxy.h"
#include "proxy/snapshot.h"

struct gather {
    struct snapshot snapshot;
    unsigned wants; /* of enum snapshot_want */
    atomic_uint left;
    void (*done)(struct gather *gather);
    void *context;
};

/* False when memory is out: nothing will be called. */
MOSAIC_MUST_CHECK bool gather_start(struct proxy *proxy, unsigned wants, void (*done)(struct gather *), void *context);
/* Waits for it: only for threads that are no workers. NULL when memory is out, or after ten seconds. */
struct gather *gather_wait(struct proxy *proxy, unsigned wants);
void gather_free(struct gather *gather);

#endif
