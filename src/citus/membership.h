/*
 * Who is in a Citus cluster: its nodes with what stands on them, and the calls that take one in, empty it, let it go.
 */
#ifndef MOSAIC_CITUS_MEMBERSHIP_H
#define MOSAIC_CITUS_MEMBERSHIP_H

#include "citus/rebalance.h"

struct member {
    const char *name, *host; /* name is host:port */
    int port, id, group;     /* group 0: the coordinator */
    bool active, has_shards; /* pg_dist_node.isactive, shouldhaveshards */
    size_t shards;           /* placements of distributed tables; copies of reference tables do not count */
    bool reachable;          /* from the coordinator; what follows is known only then */
    const char *failure, *server, *extension;
    int64_t bytes; /* of the database */
};

struct members {
    const struct member *list; /* the coordinator first, where it is registered */
    size_t count;
    bool registered; /* the coordinator is on its own list */
};

/* Asks every node. All in the arena. */
MOSAIC_MUST_CHECK mosaic_status membership_read(PGconn *coordinator, int64_t deadline, struct arena *arena,
                                                struct members *members, mosaic_error *error);
/* NULL if no node has this host and port. */
const struct member *membership_find(const struct members *members, const char *host, int port);
/* How many other nodes could take its shards. */
size_t membership_takers(const struct members *members, const struct member *leaving);
/*
 * Splits HOST:PORT ([v6]:PORT too); *host is in the arena. MOSAIC_USAGE for anything else. Pure.
 */
MOSAIC_MUST_CHECK mosaic_status membership_address(struct arena *arena, const char *typed, const char **host, int *port,
                                                   mosaic_error *error);

/* May the node be removed? MOSAIC_PREFLIGHT with what to do first. Pure. */
MOSAIC_MUST_CHECK mosaic_status membership_may_leave(const struct member *member, mosaic_error *error);
/* May it be drained? MOSAIC_PREFLIGHT where no other node can take its shards. Pure. */
MOSAIC_MUST_CHECK mosaic_status membership_may_drain(const struct members *members, const struct member *member,
                                                     mosaic_error *error);

/* citus_add_node; *id is its nodeid. */
MOSAIC_MUST_CHECK mosaic_status membership_add(PGconn *coordinator, const char *host, int port, int64_t deadline,
                                               int *id, mosaic_error *error);
/* citus_set_coordinator_host */
MOSAIC_MUST_CHECK mosaic_status membership_register(PGconn *coordinator, const char *host, int port, int64_t deadline,
                                                    mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status membership_remove(PGconn *coordinator, const struct member *member, int64_t deadline,
                                                  mosaic_error *error);
/*
 * In one transaction: the node may hold no shards from now on, and a job that moves away what it has; *job is 0 where
 * it has none. On failure nothing is changed.
 */
MOSAIC_MUST_CHECK mosaic_status membership_drain(PGconn *coordinator, const struct member *member, enum move_mode mode,
                                                 int64_t deadline, int64_t *job, mosaic_error *error);
/* The node may hold shards again. */
MOSAIC_MUST_CHECK mosaic_status membership_keep(PGconn *coordinator, const struct member *member, int64_t deadline,
                                                mosaic_error *error);

#endif
