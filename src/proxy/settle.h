/*
 * How a commit over several shards ended, whose decider's answer to COMMIT was lost: asked of the decider, and of the
 * other shards, by a thread of its own (catalog/outcome.h), again and again until settle_timeout. No worker waits.
 *
 *     settle_ask(proxy, &settlement)     on its worker's thread
 *     settlement.done(&settlement)       on the same, later; the answer is in it
 */
#ifndef MOSAIC_PROXY_SETTLE_H
#define MOSAIC_PROXY_SETTLE_H

#include "catalog/decision.h"
#include "proxy/worker.h"

enum settlement_outcome {
    SETTLED_COMMITTED, /* every part that is prepared is to be committed: by whom asked, else by recovery */
    SETTLED_ABORTED,   /* rolled back; the decider can no longer commit */
    SETTLED_UNKNOWN,   /* not known before settle_timeout, or the proxy ends: `error` is what the client is told */
};

/* A part that was prepared, or may be: neither the decider's nor one that has only read. */
struct settlement_part {
    char shard[SHARD_NAME_SIZE];
    char xid[24]; /* of its transaction, xid8 in decimal */
};

/* The caller's, with its parts, until done is called; done may free it. */
struct settlement {
    struct gid gid;
    const struct settlement_part *parts;
    size_t part_count;
    struct worker *worker;
    void (*done)(struct settlement *settlement);
    enum settlement_outcome outcome;
    mosaic_error error; /* of SETTLED_UNKNOWN: MOSAIC_IN_DOUBT, with detail and hint */
};

struct settle;

struct settle *settle_new(struct proxy *proxy);
/*
 * Ends the thread and frees it; NULL is fine. After the workers' threads have ended: what is not answered yet is done
 * on the caller's, as SETTLED_UNKNOWN.
 */
void settle_free(struct settle *settle);

/*
 * False when memory or threads are out, or settle_free was called: done will not be called, and the outcome is not
 * known.
 */
MOSAIC_MUST_CHECK bool settle_ask(struct proxy *proxy, struct settlement *settlement);
/*
 * A decided commit could not be told to all its parts: recovery makes a round at once (recover.h). Not when
 * recovery_interval is 0. From any thread.
 */
void settle_soon(struct proxy *proxy);

#endif
