/*
 * A k-way merge: which of many ordered streams has the next row? A binary heap of stream numbers.
 *
 *     push every stream that has a row; the first is the least; settle once that stream has its next row, or take it …
 *
 * Streams with equal rows come in the order of their numbers, so that the result depends on nothing but the rows.
 */
#ifndef MOSAIC_BASE_HEAP_H
#define MOSAIC_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* < 0, 0, > 0: how the rows at hand of two streams compare. */
typedef int (*heap_order)(void *context, uint32_t one, uint32_t two);

struct heap {
    uint32_t *streams; /* the caller's room for as many as there are streams; the first has the least row */
    size_t count;
    heap_order compare;
    void *context;
};

void heap_push(struct heap *heap, uint32_t stream);
/* The stream with the least row, taken out; its row is not looked at. count must not be 0. */
uint32_t heap_take(struct heap *heap);
/* The first stream has another row now, not before its last one. count must not be 0. */
void heap_settle(struct heap *heap);
/* Is every parent before its children? */
bool heap_validate(const struct heap *heap);

#endif
