/*
 * What a client was told of its session's parameters (ParameterStatus), beside what its welcome said: a server tells
 * what its ROLLBACK undoes; where that is answered here, or by several servers that the client does not hear, it is
 * told from this.
 *
 * Each value has the number of savepoints that its transaction had made: going back to one of them undoes what was told
 * behind it.
 */
#ifndef MOSAIC_PROXY_REPORTED_H
#define MOSAIC_PROXY_REPORTED_H

#include "base/buffer.h"
#include "proxy/client.h"
#include "wire/wire.h"

/* A server's ParameterStatus goes on to the client. */
void reported_note(struct client *client, const char *message, const struct wire_frame *frame);
/* A transaction begins: none of it is undone any more. */
void reported_settle(struct client *client);
/* The transaction is about to end here: adds to `answer` what that undoes; of a COMMIT it is SET LOCAL. */
void reported_undo(struct client *client, bool committed, struct buffer *answer);
/* It is about to go back to a savepoint. */
void reported_undo_to(struct client *client, const char *savepoint, struct buffer *answer);
void reported_free(struct client *client);

#endif
