/*
 * Cancel requests. A client's key is its own: a number that names worker and slot, and random bytes. What reaches a
 * shard is the key of the server that the client is linked to at that moment, and that server serves nobody else until
 * the request has ended: so a cancel never hits another client's query. A key that is nobody's here may be one of a
 * client that the process before this one still serves: it is passed on to that one.
 */
#ifndef MOSAIC_PROXY_CANCEL_H
#define MOSAIC_PROXY_CANCEL_H

#include "proxy/client.h"

struct server;

/* Gives the client a slot and a key. False when memory is out. */
MOSAIC_MUST_CHECK bool cancel_register(struct client *client);
void cancel_unregister(struct client *client);
uint32_t cancel_pid(const struct client *client);
/* A CancelRequest came in; from any thread. */
void cancel_request(struct proxy *proxy, uint32_t pid, const unsigned char *key, uint32_t size);
/*
 * Cancels what the server runs, if anything: over TLS where its own connection is; where a transaction is being opened
 * for it, behind that. False: it could not be tried.
 */
bool cancel_server(struct server *server);
/* The server is about to be freed: requests on their way to it end without it. */
void cancel_forget(struct server *server);
/* The worker ends, and with it those requests. */
void cancel_end(struct worker *worker);

#endif
