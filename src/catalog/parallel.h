/*
 * The same piece of work for each shard, at once: what waits for servers takes as long as the slowest one.
 */
#ifndef MOSAIC_CATALOG_PARALLEL_H
#define MOSAIC_CATALOG_PARALLEL_H

#include <stddef.h>

/* Called once for each number below count, from several threads; what it writes must be its own. */
typedef void (*parallel_fn)(void *context, size_t at);

/* Returns when all calls have. Runs at most 32 at a time; where no thread can be had, it works with those it has. */
void parallel_run(size_t count, parallel_fn work, void *context);

#endif
