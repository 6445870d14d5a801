/* The plan of a write on several shards: which ones, and what each is told. */
#ifndef MOSAIC_PLAN_WRITE_H
#define MOSAIC_PLAN_WRITE_H

#include "plan/keys.h"

/*
 * Makes the plan of a statement whose facts have a write: PLAN_WRITE, or PLAN_SHARD where all of it is of one shard.
 * KEYS_REFUSED: the plan stays as it is, and the error says why.
 */
enum keys_outcome write_plan(const struct keys_input *input, struct plan *plan);
/* Of facts that have a write: all of it but what each shard is told, whose texts get the moment. False: memory is out.
 */
MOSAIC_MUST_CHECK bool write_fill(const struct keys_input *input, struct plan_write *write);

#endif
