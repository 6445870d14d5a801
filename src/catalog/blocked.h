/*
 * What a shard knows of who waits for whom (core/waits.h), asked by a session that also tells others which of its
 * backends are of one transaction: for each such backend it holds a shared advisory lock, whose key has the process
 * number and the transaction's. So transactions need tell nothing themselves, and those that do not wait cost nothing.
 */
#ifndef MOSAIC_CATALOG_BLOCKED_H
#define MOSAIC_CATALOG_BLOCKED_H

#include "core/model.h"
#include "core/waits.h"
#include "pq/pq.h"

/* Of a key's 64 bits: the process number's are above the transaction's. */
enum { BLOCKED_NUMBER_BITS = 42, BLOCKED_PID_BITS = 22 };

MOSAIC_MUST_CHECK mosaic_status blocked_connect(const struct shard *shard, int64_t deadline, PGconn **connection,
                                                mosaic_error *error);
/* False: no key can say it. */
bool blocked_key(uint32_t pid, uint64_t number, uint64_t *key);
/* Tells these keys, and no others any more. */
MOSAIC_MUST_CHECK mosaic_status blocked_tell(PGconn *connection, const char *shard, const uint64_t *keys, size_t count,
                                             int64_t deadline, mosaic_error *error);
/*
 * Adds what this database knows: its waits, what all sessions of this kind and this role tell, and the keys of commits
 * (catalog/decision.h). `number`: of the shard.
 */
MOSAIC_MUST_CHECK mosaic_status blocked_look(PGconn *connection, const char *shard, size_t number, int64_t deadline,
                                             struct waits *waits, mosaic_error *error);

#endif
