/*
 * Failed allocations, one after another: what is tried must say MOSAIC_MEMORY each time, and in the end succeed. Leaks
 * are found by the sanitizer.
 */
#ifndef MOSAIC_TESTS_UNIT_MEMORY_OUT_H
#define MOSAIC_TESTS_UNIT_MEMORY_OUT_H

#include "base/memory.h"

/* `attempt` allocates in the arena, frees what is not in it, and is called once more than it allocates. */
static inline void memory_out_each(mosaic_status (*attempt)(struct arena *arena, mosaic_error *error))
{
    mosaic_status status = MOSAIC_MEMORY;
    for (long after = 0; status != MOSAIC_OK; after++) {
        struct arena arena = ARENA_INIT;
        mosaic_error error;
        memory_fail_after(after);
        status = attempt(&arena, &error);
        memory_fail_after(-1);
        assert_true(status == MOSAIC_OK || (status == MOSAIC_MEMORY && after < 1000));
        arena_free(&arena);
    }
}

#endif
