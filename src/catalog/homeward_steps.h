/*
 * Between the files of the way back (homeward.h). A struct grow here has the tables that come home; growing->owners is
 * NULL, growing->facts are the home shard's, and sums[i] of what shard i had before.
 */
#ifndef MOSAIC_CATALOG_HOMEWARD_STEPS_H
#define MOSAIC_CATALOG_HOMEWARD_STEPS_H

#include "catalog/grow_steps.h"

/* What a shard has of the table. */
const struct table_facts *homeward_facts(const struct grow *grow, size_t shard, const struct growing *growing);
/* The tables that this shard has, a comma between two. False: there is none. */
bool homeward_add_names(struct buffer *sql, const struct grow *grow, size_t shard);

/* homeward_check.c */
MOSAIC_MUST_CHECK mosaic_status homeward_check_tables(struct apply *apply, mosaic_error *error);

/* homeward_rows.c */
/* Sums of what each shard has. */
MOSAIC_MUST_CHECK mosaic_status homeward_sum(struct grow *grow, mosaic_error *error);
/* The rows come, under the home table's constraints but its mosaic_owner. */
MOSAIC_MUST_CHECK mosaic_status homeward_gather(struct grow *grow, mosaic_error *error);
/* Is at home what the shards had? */
MOSAIC_MUST_CHECK mosaic_status homeward_verify(struct grow *grow, mosaic_error *error);

#endif
