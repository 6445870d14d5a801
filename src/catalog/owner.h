/*
 * The constraint mosaic_owner: what it must be on each shard, and what has to be done to get there.
 */
#ifndef MOSAIC_CATALOG_OWNER_H
#define MOSAIC_CATALOG_OWNER_H

#include "catalog/difference.h"

/*
 * Adds to the difference, and to its plan, what is to be done for every table of the model that has a map, and drops
 * what stands on tables that are not in the model.
 */
MOSAIC_MUST_CHECK mosaic_status owner_works(const struct difference_input *input, struct arena *arena,
                                            struct difference *difference, mosaic_error *error);
/*
 * The comment of the constraint that the table must have on a shard: rule and ownership, exactly. PostgreSQL shows a
 * CHECK rewritten, so the comment is how an equal one is recognised. NULL when memory is out.
 */
const char *owner_comment(struct arena *arena, const struct table *table, size_t shard);
/* What it checks. NULL when memory is out. */
const char *owner_expression(struct arena *arena, const struct table *table, size_t shard);
/* The statement that says so of a table that was just made. NULL when memory is out. */
const char *owner_comment_sql(struct arena *arena, const struct table *table, size_t shard);

#endif
