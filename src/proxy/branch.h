/*
 * Branches: a transaction that is open on several shards has one server of each.
 *
 *     client ── linked: s1       in its turn
 *            ── parked: s0, s3   in the transaction, each with what it has been told of it so far (server.told)
 *
 * The client is linked to one of them at a time. Its SAVEPOINTs, and what it SETs, go to that one alone and are kept
 * (transaction.h); a branch that is used again, or joins, or is to commit, is told first what it lacks. That is as if
 * all had been told at once: what a branch did not do in between needs no savepoint before, and is not undone behind.
 *
 * What ends the transaction ends it on all of them: commit.h, or branches_roll_back.
 */
#ifndef MOSAIC_PROXY_BRANCH_H
#define MOSAIC_PROXY_BRANCH_H

#include "proxy/client.h"

struct server;

/* How a transaction that has written on several shards ends: mosaic.commit. */
enum commit_way { COMMIT_TWO_PHASE, COMMIT_ONE_SHARD, COMMIT_BEST_EFFORT };
#define BRANCH_ONE_SHARD "mosaic.commit is one_shard_only."
enum commit_way branch_commit_way(const struct client *client);
/* May the transaction go on on this shard as well? NULL: it may; else why not, a sentence. */
const char *branch_why_not(const struct client *client, size_t shard);
/* Is a server parked that is in the client's transaction? */
bool branch_is_parked(const struct client *client);
/* The shard of one of them, else of one that is kept; not the coordinator. SIZE_MAX: there is none. */
size_t branch_any(const struct client *client);
/* The client's own server of this shard, parked or kept; NULL: it has none. */
struct server *branch_of(const struct client *client, size_t shard);
/*
 * The linked server is parked. REACHED: the client is linked to none. TAKEN_LATER: what the segment did there is being
 * ended first. TAKEN: that had failed, and so has the transaction.
 */
enum taken branch_park(struct client *client);
/* By its number; NULL: the client has none such parked. */
struct server *branch_by_number(const struct client *client, uint64_t number);
/* The linked server's cycle has ended in a failed transaction: what comes next is answered here, and where it may go on
 * (ROLLBACK TO) it goes where it belongs. */
void branch_park_failed(struct client *client);
/* More than is kept was to be told the branches: the transaction cannot go on. */
void branch_overflow(struct client *client);
/* A parked or kept server is linked again. */
void branch_link(struct client *client, struct server *server);
/* What the linked server has not been told of the transaction, each with its semicolon; "": nothing. */
const char *branch_untold(const struct client *client);
/* The transaction ends by being undone: every server of it is rolled back, and then serves others. */
void branches_roll_back(struct client *client);
/* The same for those that are parked: the linked one stays as it is. */
void branches_leave(struct client *client);
/* The same where its client is to end it still: it cannot go back to a savepoint either. */
void branches_break(struct client *client);
/*
 * A statement of the client's has failed as a deadlock's victim, or for want of a server: the transaction lets go of
 * what it has locked on other shards at once, as on one PostgreSQL; not where a savepoint may bring it back.
 * `scatters`: when the statement, of several shards, has ended. NULL: there is no client any more.
 */
void branch_yield(struct client *client, bool scatters);
/* A parked server is gone, and with it what the transaction did there: it has failed, as whatever comes next is told.
 */
void branch_lost(struct client *client, const mosaic_error *why);

#endif
