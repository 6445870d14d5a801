/*
 * What apply has to call on a Citus cluster, and what speaks against it: config against the coordinator's tables,
 * without a server.
 */
#ifndef MOSAIC_CITUS_STEPS_H
#define MOSAIC_CITUS_STEPS_H

#include "catalog/finding.h"
#include "catalog/introspect.h"
#include "citus/metadata.h"

struct citus_step {
    const struct table *table;
    const char *sql;  /* one statement */
    const char *line; /* what it does, for a person */
    bool creates;     /* it distributes a table that was local: rows it had are left behind on the coordinator */
};

struct citus_steps {
    struct citus_step *list;
    size_t count;
};

struct citus_input {
    struct model *model;              /* key types are filled in */
    const struct citus_table *tables; /* parallel to the model's */
    const struct shard_facts *facts;  /* of the coordinator */
    const int64_t *rows;              /* of each table that is not distributed yet; -1: not counted */
    uint32_t default_shards;          /* citus.shard_count */
};

/* Steps in the order in which they are to be done: reference tables, tables with a group of their own, the rest. */
MOSAIC_MUST_CHECK mosaic_status citus_steps_make(const struct citus_input *input, struct arena *arena,
                                                 struct citus_steps *steps, struct findings *findings,
                                                 mosaic_error *error);

#endif
