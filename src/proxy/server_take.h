/*
 * A message of a server: held against what is expected (expect.h), passed to the client, and what it ends.
 */
#ifndef MOSAIC_PROXY_SERVER_TAKE_H
#define MOSAIC_PROXY_SERVER_TAKE_H

#include "proxy/server.h"
#include "wire/wire.h"

/* Must a message of this type be whole before it is looked at? */
bool server_needs_whole(const struct server *server, char type);
/* One message, of which `here` bytes are at hand. False: the server is closed. */
MOSAIC_MUST_CHECK bool server_take(struct server *server, const char *message, const struct wire_frame *frame,
                                   size_t here);
/* The same of an answer that a leg of a scatter takes. */
MOSAIC_MUST_CHECK bool server_take_of_leg(struct server *server, const char *message, const struct wire_frame *frame,
                                          size_t here);
/* Closes it, as one that does not speak the protocol. */
void server_violates(struct server *server, const char *what);

#endif
