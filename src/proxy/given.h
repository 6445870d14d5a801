/*
 * INSERT of a query's rows where COPY lacks what it has (plan/stream.h): its rows, once they are read, are dealt out by
 * their keys, and bound to each shard's INSERT as arrays, one of each column, behind the client's own parameters.
 *
 *     spool ──> rows ──> the shard of each row ──> its arrays ──> Bind
 *
 * One statement of each shard has all of its rows, since what ON CONFLICT sees is one statement's. So they are kept in
 * memory: no more of them than scatter_memory.
 */
#ifndef MOSAIC_PROXY_GIVEN_H
#define MOSAIC_PROXY_GIVEN_H

#include "proxy/leg.h"

struct given;

/* Of a write whose plan has arrays; `bind`: the client's, NULL. NULL: memory is out. */
struct given *given_new(struct scatter *scatter, const struct plan_write *write, const struct wire_bind *bind);
void given_free(struct given *given); /* NULL is nothing */
/* All rows are in the scatter's spool, which is then gone: what its legs are asked is made of them. */
MOSAIC_MUST_CHECK mosaic_status given_take(struct scatter *scatter, mosaic_error *error);

#endif
