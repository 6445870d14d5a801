/*
 * INSERT of a query's rows that are not where they belong: they are read first, then given to their shards.
 *
 *     INSERT INTO t (a, b) SELECT x, y FROM u …
 *     1. SELECT r1::type of a, r2::type of b FROM (SELECT x, y FROM u …) AS rows (r1, r2)    a read, planned as any
 *     2. COPY t (a, b) FROM STDIN (FORMAT binary)                                            a write, planned as any
 *
 * Where nothing else of the query has what its list gives (no DISTINCT, ORDER BY, LIMIT …), the casts stand in the list
 * itself: SELECT (x)::type of a, … FROM u.
 *
 * COPY knows no ON CONFLICT, RETURNING and OVERRIDING. An INSERT with one of these takes its rows as arrays instead, a
 * column each, which are parameters behind the client's own; what it is allowed is what is proved of rows of VALUES:
 *
 *     INSERT INTO t (a, b) SELECT x, y FROM u … ON CONFLICT (a) DO NOTHING RETURNING a
 *     2. INSERT INTO t (a, b) SELECT r1, r2 FROM ROWS FROM (unnest($1::type of a[]), unnest($2::type of b[]))
 *            AS rows (r1, r2) ON CONFLICT (a) DO NOTHING RETURNING a
 *
 * Each half is proved by what proves such a statement; both are of one transaction. What comes out is what one
 * PostgreSQL stores, since
 *   - all is read before the first row is written: nothing that the INSERT does is seen by its own query, triggers and
 *     all, as little as by one snapshot;
 *   - PostgreSQL is given the client's own text to parse first: what may not be assigned is refused by itself. What may
 *     be is converted by the function that an explicit cast has as well. A cast to a type without its modifier cuts
 *     nothing, and COPY reads a value with the column's modifier as an assignment has it: too long is an error;
 *   - a literal of the query's own list, which INSERT reads by the column's type, becomes a text and is read so then;
 *   - defaults, generated columns, constraints and triggers of rows are COPY's as they are INSERT's; where they are not
 *     (rules, row security, OVERRIDING) sql/stream.c says so.
 */
#ifndef MOSAIC_PLAN_STREAM_H
#define MOSAIC_PLAN_STREAM_H

#include "plan/keys.h"

/* Of facts that have a stream: PLAN_WRITE with write->source. KEYS_REFUSED: the error says why not. */
enum keys_outcome stream_plan(const struct keys_input *input, struct plan *plan);

#endif
