/*
 * Cursors WITH HOLD, which outlast their transaction: each is on the server that has declared it, one of the session's
 * own, and its name is taken on all of them.
 */
#ifndef MOSAIC_PROXY_LASTING_H
#define MOSAIC_PROXY_LASTING_H

#include "proxy/client.h"
#include "sql/facts.h"

/* DECLARE was answered by the linked server. False when memory is out. */
MOSAIC_MUST_CHECK bool lasting_declared(struct client *client, const struct facts *facts);
/* CLOSE was, of this name; NULL: of all. */
void lasting_closed(struct client *client, const char *name);
/* The transaction is committed, and about to be ended: what it has declared WITH HOLD stays. */
void lasting_keep(struct client *client);
/* Has the transaction declared one on this server (server.number)? */
bool lasting_is_declared_on(const struct client *client, uint64_t server);
/* None is left, nor is any server that had one. */
void lasting_clear(struct client *client);
/*
 * The shard of the cursors that a text is about, where all it does is of cursors and of the transaction; SIZE_MAX: it
 * does not matter, or is for the text to say.
 */
size_t lasting_shard(const struct client *client, const struct facts_list *list);
/* False: the text declares one whose name is taken on another server, or says CLOSE ALL of several servers'. */
MOSAIC_MUST_CHECK bool lasting_allows(const struct client *client, const struct facts_list *list, mosaic_error *error);

#endif
