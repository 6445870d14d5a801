/*
 * mosaic.next_id(), on every shard: ids that are unique over all shards, sorted by time, made without asking anybody.
 * sql/catalog.sql has the functions; here stands which shard they speak for.
 */
#ifndef MOSAIC_CATALOG_IDS_H
#define MOSAIC_CATALOG_IDS_H

#include "catalog/difference.h"

/* Marks the shards that have no mosaic.next_id(), or one of another version or shard, as changing; adds to the plan. */
MOSAIC_MUST_CHECK mosaic_status ids_plan(const struct difference_input *input, struct arena *arena,
                                         struct difference *difference, mosaic_error *error);
/* Appends the statements that make it on the shard of that number (mosaic.shard.id). They may run again at any time. */
void ids_sql(struct buffer *sql, int number);

#endif
