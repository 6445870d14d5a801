/*
 * What several shards answer at once, as a client has it: a simple query, or a portal.
 *
 * A message that begins a scatter is not taken until a shard has described the result: so what it cannot merge still
 * goes elsewhere, and an error comes as the answer to the message that it is one of.
 */
#ifndef MOSAIC_PROXY_CLIENT_SCATTER_H
#define MOSAIC_PROXY_CLIENT_SCATTER_H

#include "proxy/client.h"

struct route;
struct scatter;

/* A Query of route ROUTE_SCATTER. */
enum taken client_scatter_query(struct client *client, const char *text, size_t size, const struct route *route);
/* The same again, with the scatter that it began settled. REACHED: it is to be routed anew. */
enum taken client_scatter_queried(struct client *client);
/* A Bind. */
enum taken client_scatter_bind(struct client *client, const struct wire_bind *bind, struct prepared *prepared,
                               const struct route *route);
enum taken client_scatter_bound(struct client *client, const struct wire_bind *bind, struct prepared *prepared);
/* Describe, Execute or Close of such a portal. */
enum taken client_scatter_portal(struct client *client, const struct bound *bound, const struct wire_named *named,
                                 enum expect_kind kind);

/* A failed one is told, and its portal is gone. */
enum taken client_scatter_failed(struct client *client, struct scatter *scatter);
/* The write of a simple query, which was in no transaction, is committed, or is not. */
void client_scatter_committed(struct client *client);
/* It has given what was asked of it, or has failed: the end of the answer. */
void client_scatter_over(struct client *client, struct scatter *scatter);

#endif
