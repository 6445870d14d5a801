/*
 * A worker's side of deadlocks over several shards: which of its clients' transactions wait, for longer than
 * deadlock_check_interval, and have servers of several shards; and the end of one that is a victim. deadlock.h finds
 * these.
 *
 * A transaction is told to others by a number: by when it began, so that the larger is the younger one's, and random
 * bits below. It is drawn when the transaction is first seen waiting so long.
 */
#ifndef MOSAIC_PROXY_WAITING_H
#define MOSAIC_PROXY_WAITING_H

#include "proxy/worker.h"

/*
 * Each housekeeping: reports what waits, or that nothing does any more. Counts in shard_blocked of accounts and proxy
 * the servers of transactions that wait so, of one shard or of several, but not of those that wait for a connection.
 */
void waiting_look(struct worker *worker);
/*
 * From any thread: this server of the worker's, which has owed its answer since then, is cancelled, and its client told
 * of a deadlock. It is not where the server has said something meanwhile.
 */
void waiting_end(struct worker *worker, size_t slot, uint32_t pid, int64_t silent_since, const char *detail);

#endif
