/*
 * A claim: on its way to a connection of one shard, ready for a statement, without ever blocking.
 *
 *     WAITING      in the queue of the pool
 *     CONNECTING   libpq connects
 *     GREETING     the shard is asked for its epoch: after connecting, and after a long idle time (which is the health
 * check) REFRESHING   the shard knows a newer map than we: the catalog is read again in the background READY `lease` is
 * the caller's FAILED       nothing is held
 */
#ifndef MOSAIC_CLIENT_CLAIM_H
#define MOSAIC_CLIENT_CLAIM_H

#include "client/cluster.h"

enum claim_state {
    CLAIM_NEW,
    CLAIM_WAITING,
    CLAIM_CONNECTING,
    CLAIM_GREETING,
    CLAIM_REFRESHING,
    CLAIM_READY,
    CLAIM_FAILED
};

/* What a shard is told and asked, in this order; what is not needed is left out. */
enum greeting {
    GREETING_CLEAN, /* DISCARD ALL */
    GREETING_SET,   /* pq_session_settings */
    GREETING_ASK    /* the epoch */
};

struct claim {
    mosaic_cluster *cluster;
    struct pool *pool;
    enum claim_state state;
    struct waiter waiter;
    struct lease *lease;
    PostgresPollingStatusType polling;
    int64_t deadline;       /* of connecting and greeting */
    bool fresh;             /* the connection was made by this claim: a failure is the shard's, not the pool's age */
    enum greeting greeting; /* GREETING: what runs */
    bool failed_greeting;
    uint64_t answer; /* GREETING: the epoch that the shard said */
    uint64_t ticket; /* REFRESHING */
};

void claim_start(struct claim *claim, mosaic_cluster *cluster, size_t shard);
/* AGAIN, or OK (READY), or why it FAILED. `error` must not be NULL. */
MOSAIC_MUST_CHECK mosaic_status claim_step(struct claim *claim, mosaic_error *error);
/* True once the claim has a place in the pool: it will not wait for other users of it any more. */
bool claim_has_place(const struct claim *claim);
/* What it waits for; false if only for time. */
bool claim_io(const struct claim *claim, mosaic_io *io);
/* pq_now_ms at which it wants to be stepped at the latest; INT64_MAX: whenever. */
int64_t claim_wake(const struct claim *claim);
/* What it is at, for messages: "connecting". */
const char *claim_doing(const struct claim *claim);
/* Takes the lease out of a READY claim, which is then over. */
struct lease *claim_take(struct claim *claim);
/* Ends it in any state. */
void claim_abandon(struct claim *claim);

#endif
