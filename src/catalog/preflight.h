/*
 * The preflight: judges, without a server, what introspect_shard read. Says everything that speaks against sharding
 * these tables at once, each with its fix.
 */
#ifndef MOSAIC_CATALOG_PREFLIGHT_H
#define MOSAIC_CATALOG_PREFLIGHT_H

#include "catalog/finding.h"
#include "catalog/introspect.h"

/* Servers and databases: versions, encodings, collations, rights, settings, one database listed twice. facts[i] is NULL
 * for a shard that could not be asked. */
void preflight_shards(const struct model *model, const struct shard_facts *const *facts, struct findings *findings);
/*
 * The tables of the config. facts[i]->tables is parallel to model->tables for its first model->table_count entries.
 * Tables' rules need not be known; the types of key columns are found here: on return types_known[t] says whether table
 * t's rule.types were filled. rule.buckets and map are not used.
 */
void preflight_tables(struct model *model, const struct shard_facts *const *facts, bool *types_known,
                      struct findings *findings);

#endif
