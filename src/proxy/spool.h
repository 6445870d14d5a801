/*
 * Rows that are read to their end before the first of them goes on: DataRow messages go in, the bodies come out, in
 * order. Beyond `most` bytes they are in a temporary file without a name: in TMPDIR, else /tmp.
 */
#ifndef MOSAIC_PROXY_SPOOL_H
#define MOSAIC_PROXY_SPOOL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct spool;

/* NULL: memory is out. */
struct spool *spool_new(size_t most);
void spool_free(struct spool *spool);
/* Bytes of messages, cut anywhere. Not behind the first spool_take. */
MOSAIC_MUST_CHECK mosaic_status spool_add(struct spool *spool, const char *bytes, size_t size, mosaic_error *error);
/* The next bytes of bodies, some of them: they are the caller's until the next call. *size 0: there are no more. */
MOSAIC_MUST_CHECK mosaic_status spool_take(struct spool *spool, const char **bytes, size_t *size, mosaic_error *error);

#endif
