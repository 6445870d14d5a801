/*
 * The COMMIT of a transaction over several shards: all of them, or none. It is what docs/design/two-phase.md says,
 * with the steps of catalog/twophase.h, asked of servers that the client had parked.
 *
 *     LOOKS ─> PREPARES ─> DECIDES ─> FINISHES (─> FORGETS) ─> over
 *       └────────┴───────────┴──> UNDOES ─> over
 *
 * A client that goes meanwhile does not stop it.
 */
#ifndef MOSAIC_PROXY_COMMIT_H
#define MOSAIC_PROXY_COMMIT_H

#include "proxy/client.h"

struct commit_part;

/* Begins it, with every parked server of the client's transaction, which is linked to none. False: memory is out. */
MOSAIC_MUST_CHECK bool commit_begin(struct client *client);
/* Every parked server is rolled back, and is then its client's own again, where that is pinned. It ends as one that
 * failed: when all have let go of their locks, or are closed. */
MOSAIC_MUST_CHECK bool commit_begin_undo(struct client *client);
/* Was it to commit, rather than begun to undo? */
bool commit_was_wanted(const struct client *client);
/* Does it wait for answers to ROLLBACK? */
bool commit_undoes(const struct client *client);
/* What may still fail of it is told to stop. True: something was that had not been yet. */
bool commit_cancel(struct client *client);
/* Servers that have not answered, though they were told to stop, are closed; what is decided by then stands, and the
 * rest goes on, for as long again. */
void commit_give_up(struct client *client);
/* By the loop's clock. */
int64_t commit_began(const struct client *client);
/* Does the client have to wait for it? Then it is called again (loop_again) when it need no more. */
bool commit_is_busy(const struct client *client);
/* It has ended, and is the client's no more. False: *error says why the transaction is rolled back, or that its outcome
 * is not known (08007). */
MOSAIC_MUST_CHECK bool commit_end(struct client *client, mosaic_error *error);
/* The client is gone. */
void commit_leave(struct client *client);

/* ---- for servers that take part ---- */

/* Whose commit it is: the client, or, where that is gone, another address. *number: transaction.number. */
const void *commit_owner(const struct commit_part *part, uint64_t **number);

/* A message of the answer, but for its last one and errors. */
void commit_take(struct commit_part *part, const char *message, const struct wire_frame *frame);
/* Its last one: server->status is told, and server->error where server->ours_failed. */
void commit_answered(struct commit_part *part);
/* No cancel request is on its way to its server any more. */
void commit_cancel_ended(struct commit_part *part);
/* Its server is gone. */
void commit_part_lost(struct commit_part *part, const mosaic_error *why);

#endif
