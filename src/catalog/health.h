/*
 * How a cluster is: what apply sees without changing or scanning anything, and how many rows stand where.
 */
#ifndef MOSAIC_CATALOG_HEALTH_H
#define MOSAIC_CATALOG_HEALTH_H

#include "catalog/apply.h"

/* A table with more rows than this on a shard is estimated from the planner's statistics. */
enum { HEALTH_COUNTED_MOST = 1000000 };

struct health_rows {
    int64_t rows; /* -1: not known */
    bool estimated;
};

struct health_shard {
    bool reachable;
    const struct shard_facts *facts; /* NULL when not reachable */
    mosaic_error error;              /* why not */
};

struct health {
    struct arena arena;
    struct apply *apply;
    const struct model *model;
    struct health_shard *shards;
    struct health_rows *rows; /* of table t on shard s: rows[t * model->shard_count + s] */
    bool applied;             /* there is a catalog */
    bool has_catalog_shard;   /* the catalog's shard answered */
    uint64_t epoch;           /* of the catalog; the shards' highest where it does not answer */
    const struct coordinator_look *coordinator;
    struct findings problems; /* what makes it unhealthy */
};

/* Asks every shard at once; one that is dead costs connect_ms, one that is slow three times look_ms. health_free in any
 * case.
 */
MOSAIC_MUST_CHECK mosaic_status health_look(struct model *model, int connect_ms, int look_ms, struct health *health,
                                            mosaic_error *error);
const struct health_rows *health_rows(const struct health *health, size_t table, size_t shard);
void health_free(struct health *health);

#endif
