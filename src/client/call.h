/*
 * A statement in flight on one shard or on all: what every statement of the library runs on, but for batches.
 *
 * A call is a number of parts, one a shard, each on its way CLAIMING → SENDING → READING → DONE. A step moves every
 * part as far as it goes without blocking; a blocking call is a loop of poll() and step (call_run).
 *
 * Places in the pools are taken in the order of the shards, each part waiting until those before it have theirs: two
 * calls over all shards can't hold what the other waits for. Where rows are merged, a part whose row still waits for
 * its turn does not read on, so that memory stays bounded whatever the shards send.
 *
 * A keyed call looks again where its key lives when the map has changed while it waited for a connection.
 */
#ifndef MOSAIC_CLIENT_CALL_H
#define MOSAIC_CLIENT_CALL_H

#include "client/claim.h"
#include "client/scatter.h"

/* May the pointers of the statement be kept until the call ends (it blocks), or must they be copied? */
enum call_lifetime { CALL_COPIES, CALL_BORROWS };

MOSAIC_MUST_CHECK mosaic_status call_new_keyed(mosaic_cluster *cluster, const char *table, mosaic_key key,
                                               const mosaic_statement *statement, int timeout_ms,
                                               enum call_lifetime lifetime, mosaic_call **call, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status call_new_shard(mosaic_cluster *cluster, size_t shard, const mosaic_statement *statement,
                                               int timeout_ms, enum call_lifetime lifetime, mosaic_call **call,
                                               mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status call_new_all(mosaic_cluster *cluster, const mosaic_statement *statement,
                                             const mosaic_scatter *scatter, enum call_lifetime lifetime,
                                             mosaic_call **call, mosaic_error *error);
/* Steps the call to its end, blocking. */
MOSAIC_MUST_CHECK mosaic_status call_run(mosaic_call *call, mosaic_error *error);

/* Fills error for a deadline that passed while `doing` something for a shard (name may be NULL). MOSAIC_TIMEOUT. */
mosaic_status call_timeout(const char *doing, const char *shard, mosaic_error *error);

#endif
