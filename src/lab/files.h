/*
 * Files and directories of a lab: whole or not there, and removed without following a link.
 */
#ifndef MOSAIC_LAB_FILES_H
#define MOSAIC_LAB_FILES_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Makes the directory and those above it that are missing. One that is there keeps its mode. */
MOSAIC_MUST_CHECK mosaic_status files_make_directories(const char *path, mode_t mode, mosaic_error *error);
/* Replaces the file by rename, flushed to disk before and after: a reader sees the old text or the new. */
MOSAIC_MUST_CHECK mosaic_status files_replace(const char *path, const char *text, mode_t mode, mosaic_error *error);
/* Appends the file's content to the buffer. MOSAIC_NOT_FOUND if there is none. Follows no link at the end of the path.
 */
MOSAIC_MUST_CHECK mosaic_status files_read(const char *path, struct buffer *content, mosaic_error *error);
/* Removes the file or the whole tree, never following a link. Nothing there is fine. */
MOSAIC_MUST_CHECK mosaic_status files_remove(const char *path, mosaic_error *error);
/*
 * Takes the lock file, made when missing; waits for a holder, up to ten minutes, and ends early when *interrupted is
 * not 0 (may be NULL). waiting, if not NULL, is called once when somebody else holds it. The lock ends with the process
 * too.
 */
MOSAIC_MUST_CHECK mosaic_status files_lock(const char *path, const volatile int *interrupted,
                                           void (*waiting)(void *context), void *context, int *lock,
                                           mosaic_error *error);
/* Gives it back and removes the lock file. */
void files_unlock(const char *path, int lock);

#endif
