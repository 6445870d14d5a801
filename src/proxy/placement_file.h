/*
 * The config's file, replaced as a whole: read; the new text beside it, as NAME.new; in its place, in one step. Other
 * processes may do the same with this file: who has NAME.new has it locked until it is in place or gone.
 *
 *     struct placement_file file = {.config_path = path};
 *     placement_file_read … placement_file_write … placement_file_use, or placement_file_drop; placement_file_free
 */
#ifndef MOSAIC_PROXY_PLACEMENT_FILE_H
#define MOSAIC_PROXY_PLACEMENT_FILE_H

#include "base/buffer.h"
#include "base/error.h"

#include <limits.h>
#include <sys/stat.h>

struct placement_file {
    const char *config_path;
    char path[PATH_MAX]; /* of the file itself, where that is a link */
    char made[PATH_MAX]; /* the new one; "": there is none */
    int fd;              /* of it, locked */
    struct stat was;
    char *text;
    size_t size;
};

/* Refused with SQLSTATE 55000 where it cannot be written, or may not: a mode that lets nobody write counts for root. */
MOSAIC_MUST_CHECK mosaic_status placement_file_read(struct placement_file *file, mosaic_error *error);
/* Refused where another process has the new one, or the old one is not as it was read any more. */
MOSAIC_MUST_CHECK mosaic_status placement_file_write(struct placement_file *file, const struct buffer *text,
                                                     mosaic_error *error);
/* The old one must be as it was read. On failure the new one stays beside it, and the error says so. */
MOSAIC_MUST_CHECK mosaic_status placement_file_use(struct placement_file *file, mosaic_error *error);
void placement_file_drop(struct placement_file *file);
/* A new one that is neither in place nor dropped stays. */
void placement_file_free(struct placement_file *file);

#endif
