/*
 * How a commit over several shards ended, when the decider's answer to its COMMIT was lost: asks as recovery does, so
 * that the answer is for good. Who holds parts of it then commits them or rolls them back.
 */
#ifndef MOSAIC_CATALOG_OUTCOME_H
#define MOSAIC_CATALOG_OUTCOME_H

#include "catalog/decision.h"

/* A part that was prepared, or may be. */
struct outcome_part {
    const struct shard *shard;
    const char *xid; /* of its transaction, in decimal */
};

/*
 * One try. On MOSAIC_OK *connection is a session with the decider, the caller's to end: decision_drop_… may use it.
 * MOSAIC_UNREACHABLE: try it again, the server may be starting.
 */
MOSAIC_MUST_CHECK mosaic_status outcome_ask(const struct shard *decider, const struct gid *gid,
                                            const struct outcome_part *parts, size_t count, int64_t deadline,
                                            PGconn **connection, enum outcome *outcome, mosaic_error *error);
/* Tries until the deadline. MOSAIC_IN_DOUBT when it could not be found out; there is no connection then. */
MOSAIC_MUST_CHECK mosaic_status outcome_find(const struct shard *decider, const struct gid *gid,
                                             const struct outcome_part *parts, size_t count, int64_t deadline,
                                             PGconn **connection, enum outcome *outcome, mosaic_error *error);
/* Makes of why it is not known the MOSAIC_IN_DOUBT that a person is told; error may be NULL. */
mosaic_status outcome_in_doubt(const struct gid *gid, const mosaic_error *why, mosaic_error *error);

#endif
