/*
 * Texts in UTF-8 by characters, as PostgreSQL counts them in the places of its errors. Nothing here looks whether a
 * text is UTF-8: a byte that does not continue a character begins one.
 */
#ifndef MOSAIC_BASE_UTF8_H
#define MOSAIC_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Is it a byte within a character, not its first? */
static inline bool utf8_continues(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* How many characters begin in these bytes. */
size_t utf8_count(const char *text, size_t size);
/* Where the character begins that has so many before it; size: there are no more. */
size_t utf8_offset(const char *text, size_t size, size_t count);
/* `most` bytes of the text, or fewer, so that no character is cut; all of it, where it is not longer. */
size_t utf8_cut(const char *text, size_t size, size_t most);

#endif
