/*
 * The inner loop of the csv and text splitter: 64 bytes at a time, as bit masks.
 *
 *     bytes        5,"a\n,b",c\n6,…
 *     quote        ..1......1......
 *     inside       ..1111111.......      the prefix xor of quote: where quotes are open
 *     delimiter    .1.......1......      without those inside
 *     end          ............1...      newlines outside quotes: the ends of rows
 *
 * Bits of delimiter and end are walked up to the last key field; from there to the end of the row only ends are, and
 * the fields are counted by population count. A block with anything unusual (zero bytes, bytes above 127, a carriage
 * return of the wrong kind) marks its rows as suspect, and those are looked at again byte by byte (verdict.h): what is
 * rare costs only where it is.
 */
#ifndef MOSAIC_COPY_SCAN_H
#define MOSAIC_COPY_SCAN_H

#include "copy/splitter.h"

/* How a scan went on: rows were added to rows, all of them before `row_start`. */
struct scan_end {
    size_t row_start; /* where the row begins that was not finished */
    bool marker;      /* the row at row_start is the end marker, which ends at marker_end */
    size_t marker_end;
};

/* Scans whole rows of bytes [0, size); the newline style is known. */
typedef void (*scan_function)(struct copy_splitter *splitter, const unsigned char *bytes, size_t size,
                              struct copy_rows *rows, struct scan_end *end);

/* The best one for this machine and format. */
scan_function scan_choose(const struct copy_format *format);

#endif
