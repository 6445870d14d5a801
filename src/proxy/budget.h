/*
 * The connection budget: what the pools may open at each shard, against what the shard allows.
 */
#ifndef MOSAIC_PROXY_BUDGET_H
#define MOSAIC_PROXY_BUDGET_H

#include "proxy/proxy.h"

/* Asks every shard for its limits (blocks), keeps them for SHOW SHARDS, and logs a warning with numbers and what to set
 * for each shard that the pools of the known users could fill. A shard that does not answer keeps its last number. */
void budget_check(struct proxy *proxy);

#endif
