/*
 * RESET of what the startup packet has set: the value is the client's, of which its server, that other clients use too,
 * knows nothing. It is sent SET to that value instead, and its answer is RESET's.
 */
#ifndef MOSAIC_PROXY_RESET_H
#define MOSAIC_PROXY_RESET_H

#include "proxy/expect.h"
#include "proxy/route.h"

/* Of a statement by itself: sets route->pruned where it is such a one. False when memory is out. */
MOSAIC_MUST_CHECK bool reset_route(struct client *client, const struct facts *only, struct route *route);
/* Is the answer with this tag that of one that was sent so? It takes the place of the head's. */
bool reset_is_answered(const struct expect_entry *head, const char *tag);
/* The tag that the client is to be told of it; before effect_complete. */
const char *reset_tag(const struct client *client, const struct expect_entry *head);

#endif
