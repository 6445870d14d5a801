/*
 * Growing out of one database: a table that stands on the home shard alone, with its rows, and that the config now
 * spreads, is brought to the other shards. Apply does it, and these are its steps:
 *
 *     home    lock           SHARE ROW EXCLUSIVE: others read, and wait with writing; are the tables as they were?
 *     others  make           one transaction on each shard: the definitions by pg_dump, and a row in mosaic.arrival
 *     both    copy           one pass over the table, each row to its owner, by COPY; then indexes, foreign keys …
 *     both    verify         count and sums of the rows of each shard, on the home shard and on theirs
 *     home    delete         what the others have; what is left is verified too
 *     home    cut over       ACCESS EXCLUSIVE, and an end to every session that could still take it for a home table
 *     others  commit
 *     home    commit         deletion, constraint, catalog and epoch in one transaction: the moment of truth
 *
 * The catalog is in the home shard's database, so until its commit nothing has changed: the rows are all on the home
 * shard, and what the others may have is in mosaic.arrival, looked up by nobody, and made anew by the next apply.
 * After it all is done but the epoch of the other shards, which the next apply brings up to date.
 */
#ifndef MOSAIC_CATALOG_GROW_H
#define MOSAIC_CATALOG_GROW_H

#include "catalog/difference.h"

struct apply;

/*
 * Marks in the facts the tables that grow: not applied, on the home shard, and on no other but as what an apply that
 * was cut off has made. facts[i] may be NULL. state: NULL when nothing was applied.
 */
void grow_find(const struct model *model, const struct catalog_state *state, size_t home,
               struct shard_facts *const *facts);
/* Adds to the plan what moves, if table `at` of the model grows. */
void grow_plan(const struct difference_input *input, size_t at, struct buffer *plan);
/* Adds to the plan the tables of applies that were cut off, which are dropped. */
void grow_plan_leftovers(const struct difference_input *input, struct difference *difference);

/* Is there a table that grows? */
bool grow_has(const struct apply *apply);
/* Asks the servers what speaks against it. Adds findings. */
MOSAIC_MUST_CHECK mosaic_status grow_check(struct apply *apply, mosaic_error *error);
/*
 * Does it, the catalog included, for all tables that grow. On failure nothing is changed, or, when the answer to the
 * last commit was lost, all is; the message says so.
 */
MOSAIC_MUST_CHECK mosaic_status grow_tables(struct apply *apply, mosaic_error *error);
/*
 * A sharded table that the config does not name any more is a home table to routers, which read the home shard alone:
 * as long as other shards have rows of it that is a finding.
 */
MOSAIC_MUST_CHECK mosaic_status grow_check_taken(struct apply *apply, mosaic_error *error);
/* Drops what an apply that was cut off has made of tables that are not to grow any more. */
MOSAIC_MUST_CHECK mosaic_status grow_drop_leftovers(struct apply *apply, mosaic_error *error);

#endif
