/*
 * The coordinator after a change of the schema, without an apply: the definitions are made anew from the home shard's.
 * Nothing else is: what the map or the addresses of shards ask for is for apply, which looks at all the rest as well.
 */
#ifndef MOSAIC_CATALOG_COORDINATOR_FOLLOW_H
#define MOSAIC_CATALOG_COORDINATOR_FOLLOW_H

#include "core/model.h"
#include "pq/pq.h"

/*
 * MOSAIC_OK: it is in step, or was already. MOSAIC_STALE: it is not, and only apply mends it; the message says why.
 * MOSAIC_PREFLIGHT: an apply, or another who follows, is at work. All else may be different the next time.
 *
 * The model is completed; it holds the lock of applies meanwhile, and waits for it a few seconds. No table's lock on
 * the home shard is waited for so long that it could end somebody else's transaction as a deadlock; a view's is, by
 * pg_dump, until *interrupted is set.
 */
MOSAIC_MUST_CHECK mosaic_status coordinator_follow(const struct model *model, size_t home, int64_t deadline,
                                                   const volatile int *interrupted, mosaic_error *error);

#endif
