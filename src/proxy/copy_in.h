/*
 * COPY FROM STDIN into a table that is on several shards: a write (scatter.h) whose rows come from the client once all
 * shards take them.
 *
 *     CopyData ──> input ──> rows ──> the queue of each row's shard ──> CopyData
 *
 * Each shard runs the client's own statement, with a header of its own if there is one. Rows go on byte by byte as they
 * came; a shard that takes no more keeps the client from being read, so that the queues stay at some 64 KiB, or one
 * row.
 *
 * PostgreSQL shall say what is wrong with a row. One whose shard cannot be told (it is malformed, its key is NULL or no
 * value) is given to some shard as the last of its rows, and nothing of the statement can succeed any more. When a row
 * was refused, the other shards are told to fail behind what they have already: of all that they then refuse the row
 * that the client sent first is told, with the client's number of its line.
 */
#ifndef MOSAIC_PROXY_COPY_IN_H
#define MOSAIC_PROXY_COPY_IN_H

#include "proxy/leg.h"

struct copy_in;

/* `write` is copied as far as it is needed. `any_moment`: 'now' may be each shard's own. NULL: memory is out. */
struct copy_in *copy_in_new(struct scatter *scatter, const struct plan_write *write, bool any_moment);
void copy_in_free(struct copy_in *copy);

/* ---- of its legs ---- */

/* CopyInResponse. */
void copy_in_begun(struct leg *leg, const char *message, const struct wire_frame *frame);
/* May the others be asked, which of a reference table wait for the first? */
bool copy_in_has_begun(const struct leg *leg);
/* An ErrorResponse, as the client is to have it, of a row on this line of the client's (0: not known). */
void copy_in_refused(struct leg *leg, const char *message, size_t size, uint64_t line);
/* Something of it was answered: if it has failed, and this was the last, it is told. */
void copy_in_settle(struct scatter *scatter);
/* The leg is not wanted any more. */
void copy_in_stop(struct leg *leg);
/*
 * The line of the client's that an error's context is about: "COPY users, line 12, column id: …"; 0: none is named, or
 * it is not known any more. *start, *end: where the number stands.
 */
uint64_t copy_in_line(const struct leg *leg, const char *context, size_t *start, size_t *end);
/* Have the rows all been sent? Then what the shards say is the end. */
bool copy_in_is_sent(const struct copy_in *copy);

#endif
