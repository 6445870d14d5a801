#include "proxy/expect.h"

#include "base/memory.h"

#include <string.h>

enum { FIRST_CAPACITY = 8, KEPT_CAPACITY = 64 };

bool expect_grow(struct expect *expect)
{
    uint32_t capacity = expect->capacity ? expect->capacity * 2 : FIRST_CAPACITY;
    struct expect_entry *entries = memory_allocate(capacity * sizeof *entries);
    if (!entries)
        return false;
    for (uint32_t i = 0; i < expect->count; i++)
        entries[i] = *expect_at(expect, i);
    memory_free(expect->entries);
    expect->entries = entries;
    expect->first = 0;
    expect->capacity = capacity;
    return true;
}

void expect_shrink(struct expect *expect, bool all)
{
    if (!all && (expect->count || expect->capacity <= KEPT_CAPACITY))
        return;
    memory_free(expect->entries);
    *expect = (struct expect){0};
}
