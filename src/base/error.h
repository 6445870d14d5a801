/*
 * Errors: filling the caller's mosaic_error.
 *
 *     return error_set(error, MOSAIC_KEY, "key %s of table %s is NULL", column, table);
 *     return error_hint(error, "give a value for it"), MOSAIC_KEY;
 *
 * A message is one line that names what and where; detail says more; hint says what to do next. Text that does not fit
 * is cut at a character boundary. Every function accepts error == NULL.
 */
#ifndef MOSAIC_BASE_ERROR_H
#define MOSAIC_BASE_ERROR_H

#include "pgmosaic.h"

#define PRINTF_LIKE(at, first) __attribute__((__format__(__printf__, at, first)))

/* Starts a new error: clears shard, detail and hint; takes the status's own SQLSTATE. Returns status. */
mosaic_status error_set(mosaic_error *error, mosaic_status status, const char *format, ...) PRINTF_LIKE(3, 4);
/* Each of these adds one part and returns the error's status (MOSAIC_INTERNAL for NULL). */
mosaic_status error_detail(mosaic_error *error, const char *format, ...) PRINTF_LIKE(2, 3);
mosaic_status error_hint(mosaic_error *error, const char *format, ...) PRINTF_LIKE(2, 3);
mosaic_status error_shard(mosaic_error *error, const char *shard);
mosaic_status error_sqlstate(mosaic_error *error, const char *sqlstate);
/* Puts "where: " before the message. Returns the error's status. */
mosaic_status error_prefix(mosaic_error *error, const char *format, ...) PRINTF_LIKE(2, 3);
/* The error for a failed allocation. Always returns MOSAIC_MEMORY. */
mosaic_status error_memory(mosaic_error *error);
/* An MOSAIC_IO error with strerror(errno) appended to the message. Always returns MOSAIC_IO. */
mosaic_status error_errno(mosaic_error *error, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
