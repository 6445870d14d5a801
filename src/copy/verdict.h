/*
 * One row, byte by byte: what the fast scan leaves open.
 */
#ifndef MOSAIC_COPY_VERDICT_H
#define MOSAIC_COPY_VERDICT_H

#include "copy/splitter.h"

/* Where a walk over csv or text stands. */
struct walk {
    bool quoted, escaped; /* escaped: the next byte has no meaning of its own */
};

/* Moves over one byte. True where the byte can be a delimiter or line end: outside quotes and not escaped. */
static inline bool walk_byte(struct walk *walk, const struct copy_format *format, unsigned char byte)
{
    if (walk->escaped) {
        walk->escaped = false;
        /* csv: only quote and escape can be escaped, and neither is a delimiter or line end */
        if (format->kind == MOSAIC_TEXT || byte == (unsigned char)format->quote ||
            byte == (unsigned char)format->escape)
            return false;
    }
    if (format->kind == MOSAIC_TEXT) {
        walk->escaped = byte == '\\';
        return true;
    }
    if (walk->quoted && byte == (unsigned char)format->escape && format->escape != format->quote) {
        walk->escaped = true;
        return false;
    }
    if (byte == (unsigned char)format->quote)
        walk->quoted = !walk->quoted;
    return !walk->quoted;
}

/* The newline style by the first line end of the input, if there is one in sight; at_end says that a \r is followed by
 * nothing. */
enum copy_newline verdict_newline(const struct copy_format *format, const unsigned char *bytes, size_t size,
                                  bool at_end);
/* What is wrong with the bytes of a whole row without its newline, apart from the number of its fields. */
enum copy_bad verdict_row(const struct copy_splitter *splitter, const unsigned char *row, size_t size);
/* The last row, which has no newline: completes its fields, bad, and keys. */
void verdict_last_row(struct copy_splitter *splitter, const unsigned char *bytes, struct copy_row *row,
                      struct copy_slice *keys);

#endif
