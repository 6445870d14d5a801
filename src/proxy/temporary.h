/* A file without a name for what memory is too small for: in TMPDIR, else /tmp; gone when it is closed. */
#ifndef MOSAIC_PROXY_TEMPORARY_H
#define MOSAIC_PROXY_TEMPORARY_H

#include "base/error.h"

#include <stddef.h>
#include <sys/types.h>

/* The caller closes *file. It fails with 58030, as all of these do; but 53100 where the disk is full. */
MOSAIC_MUST_CHECK mosaic_status temporary_open(int *file, mosaic_error *error);
/* All bytes, at *end, which moves on by what was written. */
MOSAIC_MUST_CHECK mosaic_status temporary_write(int file, off_t *end, const char *bytes, size_t size,
                                                mosaic_error *error);
/* At most `size` bytes that stand at `at`, before the end: *got of them, at least one. */
MOSAIC_MUST_CHECK mosaic_status temporary_read(int file, off_t at, char *bytes, size_t size, size_t *got,
                                               mosaic_error *error);

#endif
