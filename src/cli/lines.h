/*
 * Lines of a file, many at a time, from a buffer of bounded size.
 *
 *     struct lines lines;
 *     status = lines_open(&lines, STDIN_FILENO, error);
 *     while (status == MOSAIC_OK) {
 *         size_t count = lines_take(&lines, slices, 4096);
 *         if (count)
 *             ...slices are valid until the next lines_fill; the first one is line lines_number(&lines, count)...
 *         else if (lines.ended)
 *             break;
 *         else
 *             status = lines_fill(&lines, error);
 *     }
 *     lines_close(&lines);
 *
 * A line ends at '\n', which is not part of it; every other byte is. The last line needs no end.
 */
#ifndef MOSAIC_CLI_LINES_H
#define MOSAIC_CLI_LINES_H

#include "core/rule.h"

enum { LINE_LIMIT = 1024 * 1024 }; /* bytes of one line */

struct lines {
    int fd;
    char *data;
    size_t start, end; /* of what was read and not yet taken */
    size_t scanned;    /* no line ends between start and here */
    bool ended;        /* nothing more comes, and everything was taken */
    bool at_end_of_file;
    uint64_t taken; /* lines handed out so far */
};

MOSAIC_MUST_CHECK mosaic_status lines_open(struct lines *lines, int fd, mosaic_error *error);
/* Hands out up to `capacity` whole lines that are there; 0: fill, or ended. */
size_t lines_take(struct lines *lines, struct key_slice *slices, size_t capacity);
/*
 * Waits for more bytes. Call it only after lines_take answered 0. MOSAIC_LIMIT for a line over LINE_LIMIT, MOSAIC_IO,
 * and MOSAIC_INTERRUPTED when a signal asked the command to stop; the message names the line.
 */
MOSAIC_MUST_CHECK mosaic_status lines_fill(struct lines *lines, mosaic_error *error);
/* The number, from 1, of the first of the `count` lines that were taken last. */
uint64_t lines_number(const struct lines *lines, size_t count);
void lines_close(struct lines *lines);

#endif
