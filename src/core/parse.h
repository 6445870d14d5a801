/*
 * The readers behind key.h, one a family of types. Each reads (text, size) and answers NULL, or why not as a static
 * text, to be put behind "… is no value of type …: ". A text starts and ends with its first and last byte: blanks
 * around it are the reader's.
 */
#ifndef MOSAIC_CORE_PARSE_H
#define MOSAIC_CORE_PARSE_H

#include "core/key.h"

extern const char parse_memory[]; /* the one answer that means that memory is out */

/* PostgreSQL's isspace in the C locale. */
static inline bool parse_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}
/* Cuts blanks at both ends. */
static inline void parse_trim(const char **text, size_t *size)
{
    while (*size && parse_blank(**text))
        ++*text, --*size;
    while (*size && parse_blank((*text)[*size - 1]))
        --*size;
}
static inline bool parse_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* numeric_in and numeric_recv (src/backend/utils/adt/numeric.c). */
const char *numeric_from_text(const char *text, size_t size, struct arena *arena, struct key_value *value);
const char *numeric_from_binary(const unsigned char *bytes, size_t size, struct arena *arena, struct key_value *value);
/* Keeps `digits` (base 10000, weight of the first), without zeros at the ends. Returns why not, or NULL. */
const char *numeric_set_digits(struct key_value *value, bool negative, const int16_t *digits, int count, int weight);
/* As numeric_cmp. */
int numeric_compare(const struct key_value *a, const struct key_value *b);

/* ISO 8601 as date_in, timestamp_in and timestamptz_in read it under every DateStyle and TimeZone (datetime.c there).
 */
const char *datetime_from_text(const char *text, size_t size, struct key_value *value);
/* Is value->integer in the range of its type, or an infinity? As date_recv and timestamp_recv check. */
bool datetime_in_range(const struct key_value *value);

#endif
