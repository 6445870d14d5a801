/*
 * Deadlocks over several shards: where transactions wait long (waiting.h), a thread of its own asks the shards who
 * waits for whom (catalog/blocked.h), finds cycles (core/waits.h), and has those victims ended that are this proxy's.
 * Other proxies, which find the same, end theirs. docs/design/deadlocks.md.
 *
 * While nothing waits so long the thread sleeps, and is not even started before.
 */
#ifndef MOSAIC_PROXY_DEADLOCK_H
#define MOSAIC_PROXY_DEADLOCK_H

#include "proxy/worker.h"

/* A server that a transaction has. */
struct waiting_server {
    struct worker *worker;
    size_t slot; /* of its shard: world.h */
    uint32_t pid;
    uint64_t number;      /* of the transaction */
    int64_t silent_since; /* server.silent_since */
    bool waits;           /* that is deadlock_check_interval ago */
};

struct waiting_report {
    size_t count;
    struct waiting_server servers[];
};

struct deadlock;

struct deadlock *deadlock_new(struct proxy *proxy);
/* Ends the thread and frees it; NULL is fine. A round ends at once where interrupt_waits was called (interrupt.h). */
void deadlock_free(struct deadlock *deadlock);
/* What of a worker's waits now, in place of what it said before; NULL: nothing. Taken over. From that worker's thread.
 */
void deadlock_report(struct proxy *proxy, unsigned worker, struct waiting_report *report);

#endif
