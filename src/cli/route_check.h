/* Does Citus place keys where we say? Its own function is asked, and its list of placements: `route --check`. */
#ifndef MOSAIC_CLI_ROUTE_CHECK_H
#define MOSAIC_CLI_ROUTE_CHECK_H

#include "core/model.h"
#include "pq/pq.h"

struct route_check {
    const struct model *model; /* NULL: nothing is checked */
    const struct table *table; /* of it, distributed */
    PGconn *coordinator;       /* the caller's to close */
    uint64_t keys;             /* that were found equal so far */
};

/*
 * A router_check_fn, its context a struct route_check. Fails with MOSAIC_STALE at the first key whose shard or node is
 * another; the keys of a batch that holds a NUL byte cannot be asked for (MOSAIC_KEY).
 */
MOSAIC_MUST_CHECK mosaic_status route_check(void *check, const struct key_slice *keys, const uint32_t *buckets,
                                            size_t count, size_t *good, mosaic_error *error);

#endif
