/*
 * Two-phase commit over shards, and its recovery, as docs/design/two-phase.md tells it.
 *
 *     participants in shard order, the last one decides
 *     PREPARE on all but the decider            a failure: ROLLBACK everywhere, nothing stays
 *     on the decider: INSERT INTO mosaic.decision (gid, 'committed', participants); COMMIT     the moment of truth
 *     COMMIT PREPARED on the others
 *     drop the decision once all have acknowledged
 *
 * The gid is 'mosaic:' || 32 hex digits || ':' || decider's name || ':' || decider's xid; a prepared part is named
 * gid || ':' || shard.
 */
#ifndef MOSAIC_CATALOG_TWOPHASE_H
#define MOSAIC_CATALOG_TWOPHASE_H

#include "core/model.h"
#include "pq/pq.h"

/* A connection inside an open transaction. One that has written nothing takes no part in the vote: it is just
 * committed. */
struct participant {
    PGconn *connection;
    size_t shard;
};

/*
 * Commits the transactions of all participants, all or none. With one participant it is a plain COMMIT. On return no
 * participant is in a transaction, unless its connection is broken. MOSAIC_IN_DOUBT when the decider's COMMIT was sent,
 * its answer was lost, and the decider could not be asked again before the deadline. On MOSAIC_OK error->hint says
 * which shard has yet to finish its part (`pgmosaic doctor` does it, or it may stay until the shard is up again); it is
 * "" otherwise. Interrupts are held. A clean-up after a failure may take two seconds more than the deadline.
 */
MOSAIC_MUST_CHECK mosaic_status twophase_commit(const struct model *model, struct participant *participants,
                                                size_t count, int64_t deadline, mosaic_error *error);

/* Makes mosaic.decision where it is missing; twophase_commit does it by itself. Not inside a transaction. */
MOSAIC_MUST_CHECK mosaic_status twophase_ensure_table(PGconn *connection, const char *shard, int64_t deadline,
                                                      mosaic_error *error);

/* One prepared transaction that was found and settled, or could not be. */
struct settled {
    const char *gid; /* "" for a shard that could not be asked */
    const char *shard;
    bool committed;     /* else rolled back */
    bool resolved;      /* false: still in doubt, `reason` says why */
    const char *reason; /* "" when resolved */
};

/* What a recovery lets alone that runs by itself, since commits are under way beside it. Milliseconds. */
struct patience {
    int64_t part; /* parts prepared later; and up to ten times as long, those of a decider that still runs */
    int64_t word; /* committed decisions made later */
};

/*
 * Settles every transaction in doubt on all shards: asks its decider (first making sure that it can no longer commit by
 * itself), then COMMIT PREPARED or ROLLBACK PREPARED. Transactions that are still running their commit are waited for,
 * or with a patience let alone; NULL: none. *found and its texts are in the arena. An unreachable shard is an entry
 * with resolved false, not a failure.
 */
MOSAIC_MUST_CHECK mosaic_status twophase_recover(const struct model *model, const struct patience *patience,
                                                 int64_t deadline, struct arena *arena, struct settled **found,
                                                 size_t *count, mosaic_error *error);

#endif
