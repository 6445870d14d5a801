/*
 * The database `pgmosaic`: a client of it is an ordinary client that has logged in, whose messages come here
 * (admin_session.h) instead of going to a shard.
 *
 * A command that must ask all threads, or wait (PAUSE until every connection is closed), leaves the client waiting: its
 * next message is taken when the answer was given. The client may go meanwhile; the command goes on, but for RECONNECT,
 * which has done nothing before it is known where the shards are.
 */
#ifndef MOSAIC_PROXY_CONSOLE_H
#define MOSAIC_PROXY_CONSOLE_H

#include "proxy/client.h"

struct console;

#define CONSOLE_DATABASE "pgmosaic"

/* May the user enter? Who is in admin_users or stats_users, and the user of the shards' conninfos. */
bool console_may_enter(const struct worker *worker, const char *user);
/* And change things? Who is in admin_users, and the user of the shards' conninfos. */
bool console_may_change(const struct worker *worker, const char *user);
/* The client has logged in: greets it. False: it was closed. */
bool console_open(struct client *client);
/* The client goes. */
void console_close(struct client *client);
enum taken console_message(struct client *client, const char *message, const struct wire_frame *frame);
/* Its command has not ended: no message is taken. */
bool console_is_busy(const struct client *client);

#endif
