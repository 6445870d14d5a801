/*
 * Transactions that starve each other: each has connections of some shards' pools, and waits for one of a pool whose
 * connections all belong to others of them. No shard sees it, since nobody waits for a lock.
 *
 *     pool of s0, full:  A's          pool of s1, full:  B's           A waits for s1, B for s0
 *
 * Who waits so is listed here, over all workers, with what it has meanwhile; so the list is true at every moment at
 * which its mutex is held. As soon as nobody of a set of those can go on, one connection more is opened for one of
 * them, or, where the limits forbid it, the youngest is ended by 40P01. docs/design/deadlocks.md.
 *
 * Waits for locks may be part of a cycle, which nobody sees whole. Where no connection more may be opened, that is not
 * waited for until query_wait_timeout: the youngest of those who may be in one is ended as well.
 */
#ifndef MOSAIC_PROXY_STARVE_H
#define MOSAIC_PROXY_STARVE_H

#include "proxy/pool.h"

struct starvation;

/* NULL when memory is out. */
struct starvation *starvation_new(void);
/* NULL is fine. When no worker runs any more. */
void starvation_free(struct starvation *starvation);

/* The client, in the queue of client->pool, has connections of other shards, or does not: client->holds says so
 * afterwards. Without memory it waits as one that is not listed. */
void starve_begin(struct client *client);
/* It does not wait any more. */
void starve_end(struct client *client);
/*
 * Each housekeeping, in case limits have changed meanwhile. Who has waited for long is looked for a second time, with
 * the connections of transactions that wait for an answer (waiting.h), maybe for a lock, as if they were stuck as well.
 */
void starve_look(struct worker *worker);

#endif
