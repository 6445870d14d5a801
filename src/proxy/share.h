/*
 * Shares: a pool's limits are over all workers, and none may keep all connections. One that lacks its share, or whose
 * client keeps others waiting meanwhile (starve.h), asks for one; another one that can spare it closes it, and leaves
 * it to who asked. It stands in account->shard_wanted, enum wanted.
 */
#ifndef MOSAIC_PROXY_SHARE_H
#define MOSAIC_PROXY_SHARE_H

#include "proxy/pool.h"

/* May it ask for one? */
bool share_may_ask(const struct pool *pool);
/* The limit is reached: another worker is asked, if it may. */
void share_ask(struct pool *pool);
/* It has what it asked for, or does not want it any more. Another one that does asks again by itself. */
void share_ask_no_more(struct pool *pool);
/* Is what is free now another's, who waits for it? */
bool share_must_be_left(const struct pool *pool);
/* Does another worker lack what this one can spare? */
bool share_is_wanted(const struct pool *pool);
/* Closes it, so that another worker may open one. */
void share_give(struct server *server);

#endif
