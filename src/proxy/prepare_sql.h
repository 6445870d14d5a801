/*
 * PREPARE and EXECUTE as SQL, in a simple query: the same statements as those of the extended protocol, under the same
 * names, as PostgreSQL has it. A server gets the statement by Parse, and EXECUTE under the proxy's name for it.
 */
#ifndef MOSAIC_PROXY_PREPARE_SQL_H
#define MOSAIC_PROXY_PREPARE_SQL_H

#include "proxy/client.h"
#include "proxy/route.h"

/* The one statement of the text is PREPARE or EXECUTE. `route` is its own: facts and literals. */
/* `asked`: the message is given again, because a server had to be asked. */
enum taken prepare_sql(struct client *client, const struct route *route, const char *text, size_t size, bool asked);
/* The server that was asked has answered by an error, which the client has: ends the cycle. */
enum taken prepare_sql_failed(struct client *client);

#endif
