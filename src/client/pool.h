/*
 * The pool of one shard: at most pool_size connections, handed out one by one, first come first served.
 *
 * What a taker gets is a lease. Its connection is open and idle, or NULL: then it is a free place, and the taker
 * connects (client/claim.h does). Who finds neither queues up as a waiter; what comes free is handed to the first in
 * the queue, and an eventfd tells it, so that blocking callers and event loops wait alike, by poll().
 *
 *     lease = pool_take(pool)  →  use lease->connection  →  pool_give(lease)      it may be in any state
 *                                                        →  pool_reap(lease)      a statement still runs on it
 *
 * Invariant: open == leases that are idle, in use, connecting, or being reaped; open <= size. With a waiter in the
 * queue nothing is idle and open == size.
 */
#ifndef MOSAIC_CLIENT_POOL_H
#define MOSAIC_CLIENT_POOL_H

#include "client/background.h"
#include "pq/pq.h"

struct pool;

struct lease {
    struct job job;     /* of reaping it */
    PGconn *connection; /* NULL: a free place */
    struct pool *pool;
    uint64_t epoch;     /* of the shard, when it was asked last */
    int64_t idle_since; /* pq_now_ms */
    bool dirty; /* its session may have been changed (SET, temporary tables …): DISCARD ALL before the next use */
    bool hurry; /* reaping: cancel at once */
    struct lease *next; /* of the idle ones, or of those handed out to the program */
};

/* One that waits for a lease. */
struct waiter {
    int event; /* eventfd, readable once `granted` is set; -1 while there is none */
    bool queued;
    struct lease *granted;
    struct waiter *next;
};

#define WAITER_INIT ((struct waiter){.event = -1})

struct pool {
    pthread_mutex_t mutex; /* of everything below the settings */
    size_t shard;
    const char *name, *conninfo;
    int size, retry_base_ms, retry_max_ms;
    struct background *reaper;
    struct lease *idle; /* the one used last comes first */
    int open;
    struct waiter *first, *last;
    unsigned failures; /* to connect, in a row */
    int64_t retry_at;  /* pq_now_ms; before it no connection is tried */
    mosaic_error failure;
};

/* `settings`: pool_size, retry_base_ms and retry_max_ms of it are used. Name and conninfo must outlive the pool. */
void pool_init(struct pool *pool, size_t shard, const char *name, const char *conninfo, const mosaic_options *settings,
               struct background *reaper);
/* Closes the idle connections. All leases must be back. */
void pool_close(struct pool *pool);

/*
 * A lease, or AGAIN: then the waiter is in the queue (unless it is NULL), and waiter->granted will be set, and its
 * event be readable. Read it by pool_granted.
 */
MOSAIC_MUST_CHECK mosaic_status pool_take(struct pool *pool, struct waiter *waiter, struct lease **lease,
                                          mosaic_error *error);
/* What a queued waiter was granted, or NULL. */
struct lease *pool_granted(struct pool *pool, struct waiter *waiter);
/* Leaves the queue, gives back what was granted meanwhile, closes the event. */
void pool_leave(struct pool *pool, struct waiter *waiter);

/* Back to the pool. A connection that is not idle and healthy is closed here. */
void pool_give(struct lease *lease);
/*
 * Back to the pool, in the background: what the statement still sends is thrown away for a moment, and when it does not
 * end, or with `hurry`, it is cancelled and the connection closed. Never blocks.
 */
void pool_reap(struct lease *lease, bool hurry);

/* May a connection be tried now? Otherwise fills error with the failure of the last attempt. */
bool pool_may_connect(struct pool *pool, mosaic_error *error);
void pool_connect_failed(struct pool *pool, const mosaic_error *error);
void pool_connected(struct pool *pool);

/* How long to wait after so many failures in a row: base, doubled with each further one, at most `most`. */
int pool_backoff_ms(unsigned failures, int base, int most);

#endif
