/*
 * The coordinator's connections to the shards: a foreign server and a user mapping each.
 */
#ifndef MOSAIC_CATALOG_COORDINATOR_SERVER_H
#define MOSAIC_CATALOG_COORDINATOR_SERVER_H

#include "base/buffer.h"
#include "core/model.h"
#include "pq/pq.h"

/* CREATE SERVER and CREATE USER MAPPING for a shard, from how `connection` reached it. Holds a password. */
void coordinator_server_sql(struct buffer *sql, const struct model *model, size_t shard, const PGconn *connection,
                            int coordinator_version);
/* Do the coordinator's servers lead where these connections lead, with the same login? shards[i]: of shard i. */
MOSAIC_MUST_CHECK mosaic_status coordinator_servers_match(PGconn *coordinator, const struct model *model,
                                                          PGconn *const *shards, int64_t deadline, bool *match,
                                                          mosaic_error *error);

#endif
