/*
 * Changes of the schema, told among the proxies of a cluster: each keeps one connection to the home shard, which
 * listens there and has an advisory lock, together with the others.
 *
 *     writer   commits · NOTIFY · has the lock alone for a moment · reads the schema · its client is answered
 *     another            hears of it: clients wait · lets go of the lock, and has it again · reads the schema
 *
 * So whoever hears from a client that the change is made, finds it through any proxy that has the lock. One that does
 * not let go within CONFIRM_MS is not waited for. What is of the home shard alone is told, and not waited for. An apply
 * tells of a new map in the same way, and waits for nobody: who has the old one is refused by the shards.
 *
 * It is the reload thread's alone. Where a server cannot listen (a standby, a pooler in between) the connection still
 * serves to ask whether anything has changed.
 */
#ifndef MOSAIC_PROXY_ANNOUNCE_H
#define MOSAIC_PROXY_ANNOUNCE_H

#include "core/model.h"
#include "pq/pq.h"

enum announced {
    ANNOUNCED_NOTHING,
    ANNOUNCED_HOME, /* objects of the home shard alone */
    ANNOUNCED_ALL,  /* of all shards */
};

struct announce {
    PGconn *home;   /* NULL: there is none */
    char *conninfo; /* of it */
    bool listens;
};

/* There is a connection to this shard. What was announced before it was made is to be looked for. */
MOSAIC_MUST_CHECK mosaic_status announce_open(struct announce *announce, const struct shard *home, int64_t deadline,
                                              mosaic_error *error);
/* Closes one to another shard. */
void announce_keep(struct announce *announce, const struct shard *home);
/* After it a zeroed struct; NULL connections are fine. */
void announce_close(struct announce *announce);
/* For poll; -1: there is no connection. */
int announce_socket(const struct announce *announce);
/* What others have said since. Closes a connection that is lost. */
enum announced announce_hear(struct announce *announce);
/* What others have announced holds clients now: who has said so may go on. */
void announce_confirm(struct announce *announce, int64_t deadline);
/* Best effort: who does not hear of it looks every schema_check_interval. */
void announce_tell(struct announce *announce, enum announced what, int64_t deadline);

#endif
