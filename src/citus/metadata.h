/*
 * What Citus knows of a cluster, from its tables pg_dist_*: nodes, distributed tables, the range of hashes of each
 * shard and the node it stands on. That is the catalog of a Citus cluster; there is no schema mosaic.
 */
#ifndef MOSAIC_CITUS_METADATA_H
#define MOSAIC_CITUS_METADATA_H

#include "base/buffer.h"
#include "core/model.h"
#include "pq/pq.h"

/* One shard of a table: the hashes from least to most, both included. */
struct citus_range {
    int32_t least, most;
    int64_t shard;
    uint16_t node; /* index into model->nodes */
};

/* What the cluster has of a table of the config. */
struct citus_table {
    bool distributed;     /* it is in pg_dist_partition; all below is said of such a table only */
    bool hash, reference; /* neither: a local table that Citus manages, or a single-shard one */
    const char *key;      /* of a table distributed by hash, else "" */
    unsigned type_oid;    /* of the key */
    int colocation;
    uint32_t asked_shards;      /* when its group was made; splits do not change it */
    const char *other_members;  /* of its group, that are not in the config: "a, b"; "" for none */
    struct citus_range *ranges; /* sorted */
    uint32_t count;
};

/*
 * Reads it all at one moment: nodes into the model, tables (parallel to model->tables) into the arena. Fails as
 * citus_check_coordinator where the database is no coordinator.
 */
MOSAIC_MUST_CHECK mosaic_status citus_read(struct model *model, PGconn *coordinator, int64_t deadline,
                                           struct arena *arena, struct citus_table **tables, mosaic_error *error);
/*
 * Completes a model that came from a config of engine citus: nodes, and for each table that is distributed type, rule,
 * map and shards, by citus_read. A table that is not distributed keeps map == NULL; one that is distributed
 * otherwise than the config says (kind, key) fails with MOSAIC_STALE and the hint to run apply.
 */
MOSAIC_MUST_CHECK mosaic_status citus_complete(struct model *model, PGconn *coordinator, int64_t deadline,
                                               mosaic_error *error);
/* Asks for the group of the node that answers; the coordinator's is 0. */
#define CITUS_GROUP_QUESTION "SELECT groupid FROM pg_catalog.pg_dist_local_group"
/* Judges its answer; NULL: there is no such table, for want of the extension. As citus_check_coordinator. */
MOSAIC_MUST_CHECK mosaic_status citus_judge_group(const struct model *model, const PGresult *answer,
                                                  mosaic_error *error);
/* Appends schema.table as a literal, to be read as regclass. */
void citus_add_relation(struct buffer *sql, const struct table *table);
/* Is it a coordinator? MOSAIC_PREFLIGHT for a database without the extension, and for a worker. */
MOSAIC_MUST_CHECK mosaic_status citus_check_coordinator(const struct model *model, PGconn *connection, int64_t deadline,
                                                        mosaic_error *error);

#endif
