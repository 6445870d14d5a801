/*
 * A k-way merge: which of many ordered streams has the next row? A binary heap of stream numbers. Pure.
 *
 *     push every stream that has a row; take the least; push it again once it has its next row …
 *
 * Streams with equal rows come in the order of their numbers, so that the result depends on nothing but the rows.
 */
#ifndef MOSAIC_CLIENT_MERGE_H
#define MOSAIC_CLIENT_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* < 0, 0, > 0: how the rows at hand of two streams compare. */
typedef int (*merge_compare)(void *context, uint32_t one, uint32_t two);

struct merge {
    uint32_t *heap; /* the caller's room for as many as there are streams */
    size_t count;
    merge_compare compare;
    void *context;
};

void merge_push(struct merge *merge, uint32_t stream);
/* The stream with the least row, taken out. count must not be 0. */
uint32_t merge_take(struct merge *merge);
/* Is every parent before its children? */
bool merge_validate(const struct merge *merge);

#endif
