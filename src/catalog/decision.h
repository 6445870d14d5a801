/*
 * The parts that two-phase commit and its recovery share: names of prepared transactions, and the table
 * mosaic.decision, where a shard that decides keeps what it decided. docs/design/two-phase.md tells why this is safe.
 *
 *     gid of a commit            mosaic:<32 hex digits>:<decider>:<decider's xid>
 *     name of a prepared part    <gid>:<shard>     (names are unique per server, and two shards may be databases of one
 * server)
 */
#ifndef MOSAIC_CATALOG_DECISION_H
#define MOSAIC_CATALOG_DECISION_H

#include "core/model.h"
#include "pq/pq.h"

enum {
    SHARD_NAME_SIZE = 64,
    GID_HEX_SIZE = 33,
    GID_SIZE = 200, /* PostgreSQL's GIDSIZE (src/include/access/xact.h), with the final zero */
};

/*
 * While a commit is under way each of its transactions holds the transaction-level advisory lock of the gid, and so the
 * decider's backend is known. Its xid would not do: a server that crashed may give an xid that was not yet in its log
 * to another one.
 */
struct gid {
    char base[GID_SIZE]; /* key in mosaic.decision */
    char decider[SHARD_NAME_SIZE];
    char xid[24]; /* of the decider's transaction, xid8 in decimal */
};

/* The random part of a gid, which also gives its lock. */
MOSAIC_MUST_CHECK mosaic_status gid_draw(char hex[GID_HEX_SIZE], mosaic_error *error);
/* The key of the advisory lock. */
int64_t gid_lock_key(const char hex[GID_HEX_SIZE]);
/* Makes a gid. MOSAIC_UNSUPPORTED for a shard name that cannot stand in it. */
MOSAIC_MUST_CHECK mosaic_status gid_make(struct gid *gid, const char hex[GID_HEX_SIZE], const char *decider,
                                         const char *xid, mosaic_error *error);
/* The name of a shard's prepared part. False when the name cannot stand in it. */
bool gid_part_name(const struct gid *gid, const char *shard, char name[GID_SIZE]);
/* Reads a gid, or the name of a part (then *shard is the part's, else ""). False when it is none of ours. */
bool gid_parse(const char *text, struct gid *gid, char shard[SHARD_NAME_SIZE]);

/* A session of its own for settling: autocommit, READ COMMITTED, synchronous_commit never weaker than on. */
MOSAIC_MUST_CHECK mosaic_status decision_connect(const struct shard *shard, int64_t deadline, PGconn **connection,
                                                 mosaic_error *error);

/*
 * A config that calls another database by this shard's name must not settle anything: `apply` wrote each shard's own
 * name. MOSAIC_STALE then.
 */
MOSAIC_MUST_CHECK mosaic_status decision_check_identity(PGconn *connection, const char *shard, int64_t deadline,
                                                        mosaic_error *error);

enum outcome { OUTCOME_ABORTED, OUTCOME_COMMITTED };

/*
 * Makes the decider say how a commit ended, for good: when it has no word on it, "aborted" is written first, after
 * which its transaction cannot commit any more. A transaction still running may finish by itself until grace. A
 * failure says why the outcome cannot be known now.
 */
MOSAIC_MUST_CHECK mosaic_status decision_ask(PGconn *decider, const struct gid *gid, int64_t grace, int64_t deadline,
                                             enum outcome *outcome, mosaic_error *error);
/*
 * COMMIT PREPARED or ROLLBACK PREPARED of a shard's part, as the role that prepared it. *found is false when there is
 * none (any more). Also on a session whose own synchronous_commit is weaker.
 */
MOSAIC_MUST_CHECK mosaic_status decision_finish_part(PGconn *connection, const char *shard, const char *part,
                                                     enum outcome outcome, int64_t deadline, bool *found,
                                                     mosaic_error *error);
/* Drops the row of a commit that every participant has acknowledged. */
MOSAIC_MUST_CHECK mosaic_status decision_drop_committed(PGconn *decider, const struct gid *gid, int64_t deadline,
                                                        mosaic_error *error);
/* Drops an "aborted" row if the decider's transaction is over; leaves it otherwise. */
MOSAIC_MUST_CHECK mosaic_status decision_drop_aborted(PGconn *decider, const struct gid *gid, int64_t deadline,
                                                      mosaic_error *error);
/* Drops all such rows of a shard. */
MOSAIC_MUST_CHECK mosaic_status decision_drop_all_aborted(PGconn *decider, const char *shard, int64_t deadline,
                                                          mosaic_error *error);
/* Is a backend of this database in a transaction of the commit? A prepared part does not count. */
MOSAIC_MUST_CHECK mosaic_status decision_is_running(PGconn *connection, const char *shard, const struct gid *gid,
                                                    int64_t deadline, bool *running, mosaic_error *error);
/* Ends that backend, if there is one and the role may. */
MOSAIC_MUST_CHECK mosaic_status decision_terminate(PGconn *connection, const char *shard, const struct gid *gid,
                                                   int64_t deadline, mosaic_error *error);
void decision_sleep_ms(int milliseconds);

#endif
