/* Base64 (RFC 4648, with padding), strict: each value has one text. */
#ifndef MOSAIC_WIRE_BASE64_H
#define MOSAIC_WIRE_BASE64_H

#include "base/buffer.h"

void base64_write(const void *bytes, size_t size, struct buffer *text);
/* At most `most` bytes into `bytes`; false for what is no base64, or is more. */
bool base64_read(const char *text, size_t text_size, void *bytes, size_t most, size_t *size);

#endif
