/*
 * What the coordinator's database has besides definitions, so that a value is computed and shown as on a shard.
 */
#ifndef MOSAIC_CATALOG_COORDINATOR_SETTLE_H
#define MOSAIC_CATALOG_COORDINATOR_SETTLE_H

#include "base/buffer.h"
#include "pq/pq.h"

/*
 * In the transaction that `coordinator` is in, behind all its definitions: the settings that the home shard's database
 * has (for everybody, and for roles in it), no JIT and no asynchronous scans, and SQL functions that are not inlined.
 * What the role may not do and a query may not do without is a line in `lacks`.
 */
MOSAIC_MUST_CHECK mosaic_status coordinator_settle(PGconn *home, PGconn *coordinator, int64_t deadline,
                                                   struct buffer *lacks, mosaic_error *error);

#endif
