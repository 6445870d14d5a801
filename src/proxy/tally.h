/*
 * What is noted of a statement when it goes to its shards: the log has it, and its client is warned where it should be.
 */
#ifndef MOSAIC_PROXY_TALLY_H
#define MOSAIC_PROXY_TALLY_H

#include "proxy/record.h"
#include "proxy/route.h"

/* Of one that goes to the coordinator. */
MOSAIC_MUST_CHECK bool tally_coordinator(struct client *client, const struct route *route);
/* A statement is about to be sent to the linked server. False: memory is out. */
MOSAIC_MUST_CHECK static inline bool tally_begin(struct client *client, const char *text, size_t size,
                                                 const struct route *route)
{
    record_statement(client, text, size, route);
    return __builtin_expect(!route->tier, 1) || tally_coordinator(client, route);
}

#endif
