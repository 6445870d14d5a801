/*
 * A client's parameters for a text that was made of his: one that the text does not refer to any more is a NULL of
 * type text, since PostgreSQL wants a type of each.
 */
#ifndef MOSAIC_PROXY_BOUND_VALUES_H
#define MOSAIC_PROXY_BOUND_VALUES_H

#include "base/error.h"
#include "base/memory.h"
#include "wire/wire.h"

struct bound_values {
    uint16_t count;
    uint32_t *types;               /* the home shard's OIDs; 0: not said */
    struct buffer formats, values; /* as Bind has them, without their counts */
};

/* `bind`: NULL where there are none. `types`: as Parse gave them. False when memory is out. Frees nothing. */
MOSAIC_MUST_CHECK bool bound_values_take(struct bound_values *bound, struct arena *arena, const char *text,
                                         const uint32_t *types, uint16_t type_count, const struct wire_bind *bind);
/* Some of them, by their numbers, from 1: those that $1, $2 … of the text are. */
MOSAIC_MUST_CHECK bool bound_values_pick(struct bound_values *bound, struct arena *arena, const uint32_t *types,
                                         uint16_t type_count, const struct wire_bind *bind, const uint16_t *numbers,
                                         uint16_t count);
void bound_values_free(struct bound_values *bound);

#endif
