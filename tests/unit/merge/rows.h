/*
 * Bodies of RowDescription and DataRow for the tests of src/merge, and values in PostgreSQL's binary forms.
 */
#ifndef MOSAIC_TESTS_UNIT_MERGE_ROWS_H
#define MOSAIC_TESTS_UNIT_MERGE_ROWS_H

#include "wire/wire.h"

enum {
    BOOL = 16,
    BYTEA = 17,
    INT8 = 20,
    INT2 = 21,
    INT4 = 23,
    TEXT = 25,
    FLOAT4 = 700,
    FLOAT8 = 701,
    BPCHAR = 1042,
    DATE = 1082,
    INTERVAL = 1186,
    TIMETZ = 1266,
    NUMERIC = 1700,
    UUID = 2950,
    JSONB = 3802,
    USER_TYPE = 16400,
};

static inline void column_add(struct buffer *body, const char *name, uint32_t type, uint16_t format)
{
    wire_text(body, name);
    wire_32(body, 0);
    wire_16(body, 0);
    wire_32(body, type);
    wire_16(body, 8);
    wire_32(body, (uint32_t)-1);
    wire_16(body, format);
}

/* A field of a row; NULL: NULL. */
static inline void field_add(struct buffer *row, const void *bytes, size_t size)
{
    wire_32(row, bytes ? (uint32_t)size : UINT32_MAX);
    if (bytes)
        buffer_add(row, bytes, size);
}

static inline void field_text(struct buffer *row, const char *text)
{
    field_add(row, text, text ? strlen(text) : 0);
}

/* An integer of so many bytes. */
static inline void field_integer(struct buffer *row, int64_t value, size_t size)
{
    char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)((uint64_t)value >> 8 * (size - 1 - i));
    field_add(row, bytes, size);
}

/* mantissa * 10000^-places, with a scale of 4 digits a place. `padded`: zeros at both ends, as no server sends them. */
static inline void numeric_add(struct buffer *out, int64_t mantissa, int places, bool padded)
{
    uint64_t left = mantissa < 0 ? -(uint64_t)mantissa : (uint64_t)mantissa;
    uint16_t digits[8];
    uint16_t count = 0, zeros = padded ? 1 : 0;
    for (; left; left /= 10000)
        digits[count++] = (uint16_t)(left % 10000);
    wire_16(out, (uint16_t)(count + 2 * zeros));
    wire_16(out, (uint16_t)(count - 1 - places + zeros));
    wire_16(out, mantissa < 0 ? 0x4000 : 0);
    wire_16(out, (uint16_t)(4 * places));
    if (padded)
        wire_16(out, 0);
    while (count--)
        wire_16(out, digits[count]);
    if (padded)
        wire_16(out, 0);
}

#endif
