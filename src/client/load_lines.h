/*
 * From a line of what one shard was sent to the line of the input.
 *
 * A server names the line of its own stream when it refuses a row; by then we may be far ahead of it. The log keeps the
 * last rows in a ring of bytes, mostly one byte a row, and forgets the oldest.
 */
#ifndef MOSAIC_CLIENT_LOAD_LINES_H
#define MOSAIC_CLIENT_LOAD_LINES_H

#include "copy/splitter.h"

struct line_log {
    unsigned char *ring;
    size_t capacity;                /* a power of two */
    uint64_t head, tail;            /* bytes written and forgotten, ever */
    uint64_t old_stream, old_input; /* after the last row that was forgotten: lines of the stream; line of the input */
    uint64_t new_input;             /* line of the newest row */
};

/* `capacity`: a power of two, at least 64. False when memory is out. */
bool line_log_start(struct line_log *log, size_t capacity);
/* The next row of the stream: begins at `line` of the input, not below that of the row before, and counts as `count`
 * lines. */
void line_log_add(struct line_log *log, uint64_t line, uint32_t count);
/* Where the row begins in the input that has line `stream_line` (from 1) of the stream; 0 if that is forgotten or not
 * there. */
uint64_t line_log_find(const struct line_log *log, uint64_t stream_line);
void line_log_free(struct line_log *log);

/*
 * How many lines PostgreSQL counts for a row (its bytes without the newline): CopyReadLineText in
 * src/backend/commands/copyfromparse.c. The first row of a COPY is counted before its newline style is known.
 */
uint32_t line_count_of_row(const struct copy_format *format, enum copy_newline newline, const char *row, size_t size,
                           bool first);

#endif
