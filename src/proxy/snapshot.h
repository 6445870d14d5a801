/*
 * What the threads have open at one moment, as plain values: SHOW POOLS, CLIENTS, SERVERS and PLANS read it, nobody
 * walks another thread's lists. Each thread fills a part of its own, in an arena of its own, when a message asks it to
 * (admin.h); only what `wants` names is filled in.
 */
#ifndef MOSAIC_PROXY_SNAPSHOT_H
#define MOSAIC_PROXY_SNAPSHOT_H

#include "base/memory.h"
#include "plan/cache.h"

#include <stdbool.h>
#include <stdint.h>

enum snapshot_want {
    SNAPSHOT_POOLS = 1,
    SNAPSHOT_CLIENTS = 2,
    SNAPSHOT_SERVERS = 4,
    SNAPSHOT_PLANS = 8,
};

/* All times are in µs; of a clock that shows the time of day where a name ends in _at, else durations. */
struct client_row {
    uint64_t id;
    const char *user, *database, *application_name, *state, *tls; /* NULL: none */
    const char *address, *local_address;                          /* "unix" for a Unix socket */
    uint16_t port, local_port;
    int64_t connected_at, requested_at, waited;
    uint64_t link;     /* id of the server connection it uses; 0: none */
    const char *shard; /* where that is; NULL: none */
    int32_t pid;       /* of its process, for a Unix socket; as its cancel key has it */
    uint32_t prepared;
};

struct server_row {
    uint64_t id;
    const char *user, *database, *shard, *application_name, *state, *tls, *address, *local_address;
    uint16_t port, local_port;
    int64_t connected_at, requested_at;
    bool close_needed;
    uint64_t link; /* id of the client that uses it; 0: none */
    int32_t pid;   /* of the backend */
    uint32_t prepared;
};

/* Of one user at one shard; shard NULL: his clients that use no server connection at the moment. */
struct pool_row {
    const char *user, *shard;
    uint32_t cl_active, cl_waiting, cl_active_cancel, cl_waiting_cancel;
    uint32_t sv_active, sv_active_cancel, sv_being_canceled, sv_idle, sv_used, sv_tested, sv_login;
    int64_t maxwait;
};

struct plan_row {
    const char *text; /* its beginning */
    const char *plan; /* what was found of it */
    uint64_t uses;
};

struct snapshot_part {
    struct arena arena;
    unsigned wants, thread;
    struct client_row *clients;
    struct server_row *servers;
    struct pool_row *pools;
    struct plan_row *plans;
    size_t client_count, server_count, pool_count, plan_count;
    struct plan_cache_counts plan_counts;
    bool failed; /* memory was out: it is not whole */
};

struct snapshot {
    struct snapshot_part *parts; /* one a thread */
    size_t count;
};

/* A new row, all zero, valid until the next one of its kind; NULL when memory is out, which the part remembers. */
struct client_row *snapshot_client(struct snapshot_part *part);
struct server_row *snapshot_server(struct snapshot_part *part);
struct pool_row *snapshot_pool(struct snapshot_part *part);
struct plan_row *snapshot_plan(struct snapshot_part *part);
/* A text that lives as long as the part; NULL stays NULL. */
const char *snapshot_text(struct snapshot_part *part, const char *text);
/* The pools of all parts added up, one for each user and shard, in order of user, then shard; into the arena. */
MOSAIC_MUST_CHECK mosaic_status snapshot_pools(const struct snapshot *snapshot, struct arena *arena,
                                               struct pool_row **pools, size_t *count, mosaic_error *error);
void snapshot_part_free(struct snapshot_part *part);

#endif
