/* pg_dump: finding the program, and running it. */
#ifndef MOSAIC_PQ_DUMP_H
#define MOSAIC_PQ_DUMP_H

#include "base/buffer.h"
#include "base/error.h"

/*
 * Appends what pg_dump says of a database, as SQL. `options` is a list that ends with NULL, without those that say
 * where and what to write. A password goes by the program's environment. MOSAIC_NOT_FOUND with a hint where this
 * machine has no pg_dump. interrupted: as in pq/process.h.
 */
MOSAIC_MUST_CHECK mosaic_status pq_dump(const char *conninfo, const char *const *options, int timeout_ms,
                                        const volatile int *interrupted, struct buffer *text, mosaic_error *error);

#endif
