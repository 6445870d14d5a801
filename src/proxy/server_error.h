/* A server's errors, as its client is to see them. */
#ifndef MOSAIC_PROXY_SERVER_ERROR_H
#define MOSAIC_PROXY_SERVER_ERROR_H

#include "proxy/server.h"
#include "wire/wire.h"

enum { SERVER_ERROR_MOST = 1 << 20 }; /* bytes of an error or a notice; what is behind them is told to nobody */

/* FATAL or PANIC: the server is about to close. */
bool server_error_is_fatal(const char *message, const struct wire_frame *frame);
void server_error_count(struct server *server, const char *message, const struct wire_frame *frame);
/*
 * An error of a server whose statement is ended because of a deadlock. If it says that, its client is to be told of the
 * deadlock instead: that message, until the worker's scratch is reset, and *frame is its; else the given ones.
 */
const char *server_error_replace(struct server *server, const char *message, struct wire_frame *frame);
/*
 * One that is longer, and begins with SERVER_ERROR_MOST bytes here: a message of what these say, until the worker's
 * scratch is reset, and *frame is its. NULL: memory is out.
 */
const char *server_error_cut(struct server *server, const char *message, struct wire_frame *frame);
/* Passes it to the client, with names and places of what it sent; head: whose answer it is. */
void server_error_pass(struct server *server, const char *message, const struct wire_frame *frame,
                       const struct expect_entry *head);

#endif
