/*
 * INSERT of a query's rows that are not where they belong (plan/stream.h): a scatter that reads, and behind it one that
 * writes, as COPY FROM does (copy_in.h), of the same transaction.
 *
 *     reads ── spool ──┐      all of it, to the end
 *                      └──> writes ──> the shard of each row
 *
 * Reading ends, and its servers have come back, before the first shard is told of the COPY: so nothing that the INSERT
 * writes, its triggers' rows included, is there while its query is read, and a shard that reads and writes does both on
 * one server, one after the other. What is read is the transaction's own, as far as its servers read it. Where COPY
 * does not do, the second one is an INSERT that is given the rows (given.h).
 */
#ifndef MOSAIC_PROXY_STREAM_H
#define MOSAIC_PROXY_STREAM_H

#include "proxy/leg.h"

/* Both, of a write with a source; the one that reads. NULL: *error says why. */
struct scatter *stream_new(struct client *client, const struct scatter_order *order, mosaic_error *error);
/* Does it read what another one is to write? */
static inline bool stream_reads(const struct scatter *scatter)
{
    return scatter->next != NULL;
}
/* Does it copy what another one has read, or will? */
static inline bool stream_writes(const struct scatter *scatter)
{
    return scatter->spool != NULL;
}
/* Does the client's own text have to be parsed before what is written, since no shard has when the rows were read? */
static inline bool stream_checks(const struct scatter *scatter)
{
    return scatter->checked && !scatter->next;
}
/* Its rows are read, from HELD on: scatter_fetch. */
void stream_fetch(struct scatter *scatter);
/* What was put together of its rows is kept. */
void stream_keep(struct scatter *scatter);
/* The one that has read to the end is dropped, and the one that writes started. */
struct scatter *stream_go_on(struct scatter *scatter);
/* Does it write what was read, and has it more? */
bool stream_has_rows(const struct scatter *scatter);
/* Gives rows to the shards, as long as they take them, or for a while: then the client is called again. */
void stream_pass(struct scatter *scatter);

#endif
