/*
 * In a transaction, what needs more than one shard is answered beside it. That is the transaction's own answer while it
 * is READ COMMITTED, no shard has it, and its clock is not asked.
 */
#ifndef MOSAIC_PROXY_BESIDE_H
#define MOSAIC_PROXY_BESIDE_H

#include "proxy/route.h"

/* A text that is routed: what it says of the transaction's isolation is remembered. */
void beside_note_isolation(struct client *client, const struct facts_list *list, const char *text, size_t size);
#define BESIDE_CLOCK_HINT \
    "give the time as a value; or SET mosaic.clock = 'shard': each shard has its own, some milliseconds apart"

/* A route to the coordinator, or to several shards: route->aside, or refused with the reason. */
void beside_check(struct client *client, const char *text, size_t size, const struct route_parameters *parameters,
                  struct route *route);

#endif
