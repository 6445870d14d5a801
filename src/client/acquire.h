/*
 * Blocking: a connection of a shard, or of a key's shard, and the public calls that block.
 */
#ifndef MOSAIC_CLIENT_ACQUIRE_H
#define MOSAIC_CLIENT_ACQUIRE_H

#include "client/claim.h"

/* A connection of the shard, open and idle; it goes back by pool_give or pool_reap. */
MOSAIC_MUST_CHECK mosaic_status acquire_shard(mosaic_cluster *cluster, size_t shard, int64_t deadline,
                                              struct lease **lease, mosaic_error *error);
/* The same for the shard that owns a key, by the map as it is once the connection is there. */
MOSAIC_MUST_CHECK mosaic_status acquire_key(mosaic_cluster *cluster, const char *table, mosaic_key key,
                                            int64_t deadline, struct lease **lease, mosaic_error *error);

/*
 * Waits until one of the entries is ready or `wake` (pq_now_ms) has come; may return earlier. MOSAIC_INTERRUPTED as of
 * pq_interrupt_flag.
 */
MOSAIC_MUST_CHECK mosaic_status acquire_poll(const mosaic_io *io, size_t count, int64_t wake, mosaic_error *error);

/* MOSAIC_NOT_FOUND for an index that is none of a shard. */
MOSAIC_MUST_CHECK mosaic_status acquire_check_shard(const mosaic_cluster *cluster, size_t shard, mosaic_error *error);

#endif
