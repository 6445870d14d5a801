/*
 * Recovery by the proxy itself: each recovery_interval a thread of its own looks on all shards for transactions that a
 * commit over several shards has left prepared, and settles those that are older than recovery_age
 * (catalog/twophase.h). Beside it other proxies and `pgmosaic doctor` may do the same.
 */
#ifndef MOSAIC_PROXY_RECOVER_H
#define MOSAIC_PROXY_RECOVER_H

#include "base/error.h"

#include <stdint.h>

struct proxy;
struct recover;

/* Of prepared transactions: how many were settled since the start, and could not be in the last round. */
struct recover_totals {
    uint64_t committed, rolled_back, in_doubt;
};

/* NULL: memory is out. */
struct recover *recover_new(struct proxy *proxy);
/* Starts the thread, which begins with a round. */
MOSAIC_MUST_CHECK mosaic_status recover_start(struct recover *recover, mosaic_error *error);
/* Ends the thread and frees it; NULL is fine. A round ends at once where interrupt_waits was called (interrupt.h). */
void recover_free(struct recover *recover);
/*
 * A round at once, but not more than one a second, which also does for decided commits what is younger than
 * recovery_age. From any thread.
 */
void recover_soon(struct recover *recover);
/* The settings have changed: it looks how long it may wait. From any thread; NULL is fine. */
void recover_wake(struct recover *recover);
void recover_count(const struct recover *recover, struct recover_totals *totals);

#endif
