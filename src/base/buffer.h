/*
 * A buffer that grows, with a maximum and a sticky failure flag: build first, check once.
 *
 *     struct buffer sql = BUFFER_INIT(64 * 1024);
 *     buffer_format(&sql, "SELECT %d", 1);
 *     if (buffer_failed(&sql)) ...
 *     buffer_free(&sql);
 *
 * Invariants: size < capacity whenever data is set, and data[size] == '\0'. After a failure nothing more is added.
 */
#ifndef MOSAIC_BASE_BUFFER_H
#define MOSAIC_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data; /* NULL while nothing was added */
    size_t size, capacity;
    size_t maximum; /* of size */
    bool failed;    /* memory or the maximum was out */
};

#define BUFFER_INIT(most) ((struct buffer){.maximum = (most)})

void buffer_add(struct buffer *buffer, const void *bytes, size_t size);
void buffer_text(struct buffer *buffer, const char *zero_terminated);
void buffer_char(struct buffer *buffer, char character);
void buffer_format(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for `size` more bytes at the end, to be written by the caller and counted by buffer_added; NULL on failure. */
char *buffer_reserve(struct buffer *buffer, size_t size);
void buffer_added(struct buffer *buffer, size_t size);
/* The content as a string; "" while empty. */
const char *buffer_string(const struct buffer *buffer);
static inline bool buffer_failed(const struct buffer *buffer)
{
    return buffer->failed;
}
/* Empties it and clears the failure, keeping the memory. */
void buffer_clear(struct buffer *buffer);
void buffer_free(struct buffer *buffer);

#endif
