/* Tier 4: the statement's text with conditions by which the coordinator asks only the shards of its keys. */
#ifndef MOSAIC_PLAN_PRUNE_H
#define MOSAIC_PLAN_PRUNE_H

#include "plan/keys.h"

/* Where facts->pruning is; *text in the arena, NULL where a key cannot be read: then nothing is pruned. KEYS_MEMORY. */
enum keys_outcome prune_plan(const struct keys_input *input, const char **text);

#endif
