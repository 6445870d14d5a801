/*
 * COPY's binary format: a file header, tuples, a trailer (src/backend/commands/copyfromparse.c:
 * ReceiveCopyBinaryHeader, NextCopyFrom).
 */
#ifndef MOSAIC_COPY_BINARY_H
#define MOSAIC_COPY_BINARY_H

#include "copy/splitter.h"

/* The header that every stream begins with, without extension, and the trailer that ends it. */
extern const unsigned char binary_header[19];
extern const unsigned char binary_trailer[2];

/* copy_split for the binary format. */
enum copy_result binary_split(struct copy_splitter *splitter, const unsigned char *bytes, size_t size, bool at_end,
                              struct copy_rows *rows, size_t *consumed);

#endif
