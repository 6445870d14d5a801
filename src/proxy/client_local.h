/*
 * What is answered without a server: a transaction that no shard has yet, what comes after a transaction failed by our
 * hand. And what is asked of a server before a statement can be planned.
 */
#ifndef MOSAIC_PROXY_CLIENT_LOCAL_H
#define MOSAIC_PROXY_CLIENT_LOCAL_H

#include "proxy/client.h"
#include "sql/facts.h"

struct route;

/* `text`: BEGIN as the client wrote it, or as it would have been. False when memory is out. */
bool local_begin(struct client *client, const char *text, size_t size);
/* Is this statement, the only one of its text, to be answered here in the client's present state? */
bool local_applies(const struct client *client, const struct facts *facts);
/* Has the transaction failed here, so that no shard knows? */
bool local_has_failed(const struct client *client);
/*
 * Does it, and writes CommandComplete, or an error. *failed: an error was written, the statement has failed. False:
 * memory is out.
 */
bool local_carry_out(struct client *client, const struct facts *facts, const char *text, size_t size,
                     struct buffer *answer, bool *failed);
/*
 * The end of a transaction that is open on several shards. REACHED: they have committed, or it is to be rolled back:
 * local_carry_out does and says so. TAKEN: it could not be committed, and the client was told.
 */
enum taken local_end_branches(struct client *client, const struct facts *facts);
/* The transaction is over, wherever it was: what it set stays, or is undone, and with it what shards have done. */
void local_forget(struct client *client, bool committed);
/*
 * The end, at Sync, of a transaction that nobody has begun: of what several shards have written. REACHED: it is
 * committed, or was not, as the client was told.
 */
enum taken local_end_implicit(struct client *client);
/* In a transaction that no shard has yet: is it run on a shard that is then rolled back, and kept to be replayed? */
bool local_is_tentative(const struct client *client, const struct facts *facts);
/* Is it of those that can be? */
bool local_is_tried(const struct facts *facts);
/*
 * In such a transaction: may any server answer it, beside the transaction (client_reach_beside, transaction_read)? What
 * it says is the same within and without; and READ COMMITTED has no snapshot that it would take for later statements.
 */
bool local_is_beside(struct client *client, const struct facts *facts);
/* Asks a server for the session's search_path, or for ids_wanted ids. TAKEN_LATER: the message is to be given again;
 * REACHED: it is known now. */
enum taken local_ask_path(struct client *client);
/* The route of a prepared text by itself, with what must be known for it asked first. REACHED: it is in *route. */
enum taken local_route(struct client *client, struct prepared *prepared, struct route *route);

#endif
