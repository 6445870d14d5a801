/*
 * The schema `mosaic`: where the map lives, versioned, with history.
 *
 * The catalog database is the first shard's. Each shard also has `mosaic.epoch` (its own copy of the epoch, so that a
 * stale router is found out) and `mosaic.decision` (outcomes of two-phase commits). sql/catalog.sql has the
 * definitions.
 */
#ifndef MOSAIC_CATALOG_CATALOG_H
#define MOSAIC_CATALOG_CATALOG_H

#include "core/model.h"
#include "pq/pq.h"

/*
 * Completes a model that came from the config with what the catalog says: epoch, and for each table its types, rule and
 * map. `catalog` is a connection to the first shard. A table of the config that was never applied keeps map == NULL;
 * where the config contradicts what was applied (another key, function, kind) the call fails with MOSAIC_STALE and the
 * hint to run apply. MOSAIC_PREFLIGHT if there is no schema mosaic (nothing was ever applied).
 */
MOSAIC_MUST_CHECK mosaic_status catalog_complete(struct model *model, PGconn *catalog, int64_t deadline,
                                                 mosaic_error *error);
/*
 * Where the catalog is: it stays on the shard of the first apply, wherever the config lists that. `first` is a
 * connection to the model's first shard. *shard is the catalog's shard; *opened is a new connection to it (PQfinish
 * it), or NULL when it is the first. MOSAIC_STALE when the database says that it is another shard than the config calls
 * it.
 */
MOSAIC_MUST_CHECK mosaic_status catalog_find(const struct model *model, PGconn *first, int64_t deadline,
                                             struct arena *arena, PGconn **opened, size_t *shard, mosaic_error *error);
/* Makes rule.bounds from rule.bound_texts, once rule.types are known; bounds are in the model's arena. */
MOSAIC_MUST_CHECK mosaic_status catalog_fill_bounds(struct model *model, struct table *table, mosaic_error *error);
/*
 * Does the config have every shard that owns buckets? What asks all shards would else leave rows out without a word.
 * `first` is a connection to the model's first shard. MOSAIC_STALE names the one that is missing; MOSAIC_OK while
 * nothing was applied.
 */
MOSAIC_MUST_CHECK mosaic_status catalog_check_owners(struct model *model, PGconn *first, int64_t deadline,
                                                     mosaic_error *error);
/*
 * Is the database behind the connection this shard of the model's cluster? *epoch is the one that it has for itself; 0
 * if nothing was applied to it. MOSAIC_STALE when it says that it is another shard, or of another cluster, and when it
 * says nothing although the model has an epoch: a conninfo that leads astray would otherwise be found out only by rows
 * that are missing, or never.
 */
MOSAIC_MUST_CHECK mosaic_status catalog_check_shard(const struct model *model, size_t shard, PGconn *connection,
                                                    int64_t deadline, uint64_t *epoch, mosaic_error *error);
/* The judgement of it alone. `cluster` and `shard` are what the database says, NULL for nothing. */
MOSAIC_MUST_CHECK mosaic_status catalog_judge_shard(const struct model *model, size_t at, const char *cluster,
                                                    const char *shard, mosaic_error *error);

#endif
