/*
 * The way back: a table that was applied and that the config does not name any more is a home table again. Where it
 * stands on the home shard and on others, apply brings its rows home; these are its steps:
 *
 *     all     lock           others: SHARE ROW EXCLUSIVE; home: ACCESS EXCLUSIVE where rows come; are the tables as
 *                            they were?
 *     both    gather         the rows of the other shards by COPY, under the home table's own constraints; of a
 *                            reference table nothing: its copies are compared
 *     both    verify         count and sums of what the shards had, and of what is at home now
 *     others  fence          a row in mosaic.arrival and the epoch to come, committed: routers of the old map refuse;
 *                            then every session is ended, and the table is dropped, not yet committed
 *     home    cut over       as in grow.h
 *     home    commit         rows, constraint, catalog and epoch in one transaction: the moment of truth
 *     others  commit         the table is gone
 *
 * Until the home shard's commit nothing has changed but the epoch of shards that are fenced, which is put back, by the
 * next apply at the latest. After it what still stands on other shards is read by nobody: it is in mosaic.arrival, and
 * not in the catalog, so the next apply drops it (grow_drop_leftovers).
 */
#ifndef MOSAIC_CATALOG_HOMEWARD_H
#define MOSAIC_CATALOG_HOMEWARD_H

#include "catalog/difference.h"

struct apply;

/* Marks in the home shard's facts the tables that come home. facts[i] may be NULL. */
void homeward_find(const struct apply *apply, struct shard_facts *const *facts);
/* Does a table of this name come home? */
bool homeward_names(const struct difference_input *input, const char *schema, const char *name);
/* Adds to the plan what moves, if the table comes home. */
void homeward_plan(const struct difference_input *input, const struct catalog_table *table, struct buffer *plan);

/* Is there a table that comes home? */
bool homeward_has(const struct apply *apply);
/* Asks the servers what speaks against it. Adds findings. */
MOSAIC_MUST_CHECK mosaic_status homeward_check(struct apply *apply, mosaic_error *error);
/* Does it, the catalog included, for all tables that come home. On failure nothing is changed, or, when the answer to
 * the home shard's commit was lost, all may be; the message says so. */
MOSAIC_MUST_CHECK mosaic_status homeward_tables(struct apply *apply, mosaic_error *error);

#endif
