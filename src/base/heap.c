#include "base/heap.h"

static bool before(const struct heap *heap, uint32_t one, uint32_t two)
{
    int order = heap->compare(heap->context, one, two);
    return order < 0 || (order == 0 && one < two);
}

void heap_push(struct heap *heap, uint32_t stream)
{
    size_t at = heap->count++;
    while (at && before(heap, stream, heap->streams[(at - 1) / 2])) {
        heap->streams[at] = heap->streams[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->streams[at] = stream;
}

/* Puts the stream where the first one was, and as far down as it belongs. */
static void sift(struct heap *heap, uint32_t stream)
{
    size_t at = 0, child;
    while ((child = 2 * at + 1) < heap->count) {
        if (child + 1 < heap->count && before(heap, heap->streams[child + 1], heap->streams[child]))
            child++;
        if (!before(heap, heap->streams[child], stream))
            break;
        heap->streams[at] = heap->streams[child];
        at = child;
    }
    heap->streams[at] = stream;
}

uint32_t heap_take(struct heap *heap)
{
    uint32_t least = heap->streams[0];
    sift(heap, heap->streams[--heap->count]);
    return least;
}

void heap_settle(struct heap *heap)
{
    sift(heap, heap->streams[0]);
}

bool heap_validate(const struct heap *heap)
{
    for (size_t at = 1; at < heap->count; at++)
        if (before(heap, heap->streams[at], heap->streams[(at - 1) / 2]))
            return false;
    return true;
}
