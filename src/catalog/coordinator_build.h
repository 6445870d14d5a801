/*
 * Building the coordinator: its definitions are made anew, all in one transaction. Who reads meanwhile sees the old
 * ones or the new ones; a build that was cut off leaves the old ones.
 */
#ifndef MOSAIC_CATALOG_COORDINATOR_BUILD_H
#define MOSAIC_CATALOG_COORDINATOR_BUILD_H

#include "base/buffer.h"
#include "core/model.h"
#include "pq/pq.h"

struct coordinator_build {
    const struct model *model; /* completed, and with the epoch that the coordinator shall have */
    size_t home;               /* number of the home shard */
    PGconn *const *shards;     /* a connection to each; none is in a transaction */
    PGconn *coordinator;
    int64_t deadline;
    /* How long pg_dump may wait for each table's lock, ms: shorter than deadlock_timeout, so that nobody is ended
     * because of it; 0: to the deadline. */
    int dump_lock_ms;
    const volatile int *interrupted; /* ends pg_dump; may be NULL */
    /* Filled: what no query may do without, and rights that were not carried; a line each. Free both. */
    struct buffer lacks, notes;
};

/* MOSAIC_OK also where something is lacking: coordinator_check then says so. */
MOSAIC_MUST_CHECK mosaic_status coordinator_build(struct coordinator_build *build, mosaic_error *error);

#endif
