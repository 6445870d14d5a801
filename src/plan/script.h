/*
 * A text of several changes of the schema: each shard is told those that are for it, in one piece and in their order,
 * within one transaction. The home shard is told all of them, and what it says is what the client is told.
 */
#ifndef MOSAIC_PLAN_SCRIPT_H
#define MOSAIC_PLAN_SCRIPT_H

#include "plan/plan.h"

/*
 * PLAN_WRITE, where all statements are such changes and one is for every shard; else the plan stays as it is. One that
 * needs what an earlier one makes, to know where it belongs, is none. `input` has the text.
 */
MOSAIC_MUST_CHECK mosaic_status script_plan(const struct facts *facts, size_t count, const struct plan_input *input,
                                            struct arena *arena, struct plan *plan, mosaic_error *error);

#endif
