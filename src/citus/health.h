/*
 * How a Citus cluster is: its nodes, what apply would change, how many rows stand on each node, and whether a job of
 * its own is stuck. Changes nothing.
 */
#ifndef MOSAIC_CITUS_HEALTH_H
#define MOSAIC_CITUS_HEALTH_H

#include "citus/apply.h"
#include "citus/nodes.h"

struct citus_rows {
    int64_t rows;  /* -1: not known, since the node does not answer */
    bool at_least; /* a shard there has more than was counted */
};

struct citus_health {
    struct arena arena;
    struct citus_apply *apply;
    const struct model *model;
    struct citus_answers answers; /* of the nodes */
    struct citus_rows *rows;      /* of table t on node n: rows[t * model->node_count + n] */
    uint32_t *placements;         /* of each node: shards of the config's tables, without copies of reference tables */
    struct findings problems;
};

/* MOSAIC_UNREACHABLE and the like when the coordinator cannot be asked. citus_health_free in any case. */
MOSAIC_MUST_CHECK mosaic_status citus_health_look(struct model *model, int connect_ms, int look_ms,
                                                  struct citus_health *health, mosaic_error *error);
void citus_health_free(struct citus_health *health);

#endif
