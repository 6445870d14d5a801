#include "client/merge.h"

static bool before(const struct merge *merge, uint32_t one, uint32_t two)
{
    int order = merge->compare(merge->context, one, two);
    return order < 0 || (order == 0 && one < two);
}

void merge_push(struct merge *merge, uint32_t stream)
{
    size_t at = merge->count++;
    while (at && before(merge, stream, merge->heap[(at - 1) / 2])) {
        merge->heap[at] = merge->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    merge->heap[at] = stream;
}

uint32_t merge_take(struct merge *merge)
{
    uint32_t least = merge->heap[0], last = merge->heap[--merge->count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < merge->count) {
        if (child + 1 < merge->count && before(merge, merge->heap[child + 1], merge->heap[child]))
            child++;
        if (!before(merge, merge->heap[child], last))
            break;
        merge->heap[at] = merge->heap[child];
        at = child;
    }
    merge->heap[at] = last;
    return least;
}

bool merge_validate(const struct merge *merge)
{
    for (size_t at = 1; at < merge->count; at++)
        if (before(merge, merge->heap[at], merge->heap[(at - 1) / 2]))
            return false;
    return true;
}
