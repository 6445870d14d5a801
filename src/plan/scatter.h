/* Tier 2's plan: which shards are asked, and LIMIT and OFFSET as numbers. */
#ifndef MOSAIC_PLAN_SCATTER_H
#define MOSAIC_PLAN_SCATTER_H

#include "plan/keys.h"

/*
 * Makes the plan of a statement whose facts have a scatter: PLAN_SCATTER, or PLAN_SHARD and PLAN_ANY where the driver's
 * keys are all of one shard, or of none. The plan stays as it is where values forbid it (a negative LIMIT, 'now' as a
 * parameter). KEYS_REFUSED is that, too.
 */
enum keys_outcome scatter_plan(const struct keys_input *input, struct plan *plan);
/* The shards that own one of the relation's keys or, where it is not bound, a bucket of its table; ascending. */
enum keys_outcome scatter_shards(const struct keys_input *input, const struct fact_relation *driver,
                                 const uint16_t **shards, size_t *count);

#endif
