/*
 * What speaks against applying a config, collected so that a person sees all of it at once.
 */
#ifndef MOSAIC_CATALOG_FINDING_H
#define MOSAIC_CATALOG_FINDING_H

#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>

struct finding {
    bool fatal;        /* else a warning: it is shown, and apply goes on */
    const char *shard; /* "" when it is about all of them */
    const char *table; /* as displayed; "" when it is about a whole shard */
    const char *what, *fix;
};

struct findings {
    struct arena *arena;
    struct finding *list;
    size_t count, capacity, fatal;
    bool failed; /* memory was out: the list is not whole */
};

/* Adds one. `fix` may be "". What is the same but for the shard is added once, for the first shard, by finding_merge.
 */
void finding_add(struct findings *findings, bool fatal, const char *shard, const char *table, const char *fix,
                 const char *format, ...) __attribute__((format(printf, 6, 7)));
/* Text for a fix, in the findings' arena; "" when memory is out. */
const char *finding_text(struct findings *findings, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Joins findings that differ in the shard only: their shards become "s0, s1". */
void finding_merge(struct findings *findings);

#endif
