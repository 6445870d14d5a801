/*
 * PAUSE of a shard: who waits in its pools is given nothing until RESUME. But PAUSE itself waits until the shard's
 * connections are closed, and these belong to transactions, which may need more to come to their end:
 *
 *     T has s0, PAUSE, T needs s1                  PAUSE waits for T
 *     T has s0, PAUSE s1, U has s1, T needs s1     PAUSE waits for U, who may wait for what T has locked on s0
 *
 * So those who wait are let through where they have connections of paused shards themselves, and where they have others
 * and a transaction that has some of this shard stands still. Once all are closed nobody is.
 */
#ifndef MOSAIC_PROXY_PAUSE_H
#define MOSAIC_PROXY_PAUSE_H

#include "proxy/operation.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"

static inline bool pool_is_paused(const struct pool *pool)
{
    return operation_paused(pool->worker->proxy->operation, pool->slot);
}

/* A client that waits in the pool is looked at: client->is_let_in. */
void pause_look_at(const struct pool *pool, struct client *client);
/* Each housekeeping: all of them. */
void pause_look(const struct pool *pool);
/* May it not be given a server now? */
bool pause_holds_back(const struct pool *pool, const struct client *client);
/* How many of those who wait may be. */
unsigned pause_lets_through(const struct pool *pool);

#endif
