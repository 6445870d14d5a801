/*
 * Bodies of RowDescription and DataRow for the tests of src/merge, and values in PostgreSQL's binary forms.
 */
#ifndef MOSAIC_TESTS_UNIT_MERGE_ROWS_H
#define MOSAIC_TESTS_UNIT_MERGE_ROWS_H

#include "wire/wire.h"

enum {
    MUCH = 1 << 20, /* bytes of a buffer */
    BOOL = 16,
    BYTEA = 17,
    CHAR = 18,
    NAME = 19,
    INT8 = 20,
    INT2 = 21,
    INT4 = 23,
    TEXT = 25,
    OID = 26,
    FLOAT4 = 700,
    FLOAT8 = 701,
    MONEY = 790,
    BPCHAR = 1042,
    VARCHAR = 1043,
    DATE = 1082,
    TIMESTAMPTZ = 1184,
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

/* The binary form of a plain decimal, NaN or an infinity. */
static inline void numeric_text(struct buffer *out, const char *text)
{
    const char *special[] = {"NaN", "Infinity", "-Infinity"};
    const uint16_t signs[] = {0xC000, 0xD000, 0xF000};
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, special[i]) == 0) {
            wire_32(out, 0);
            wire_16(out, signs[i]);
            wire_16(out, i ? 32 : 0);
            return;
        }
    }
    uint16_t sign = *text == '-' ? 0x4000 : 0, digits[64] = {0};
    text += sign ? 1 : 0;
    size_t whole = strcspn(text, "."), scale = text[whole] ? strlen(text + whole + 1) : 0;
    size_t places = (whole + 3) / 4, count = places + (scale + 3) / 4, first = 0;
    for (size_t i = 0; i < 4 * count; i++) { /* decimals at both ends that are not there count as 0 */
        size_t at = i + whole - 4 * places, decimal = i < 4 * places ? at : at + 1;
        bool is_there = i < 4 * places ? i >= 4 * places - whole : i < 4 * places + scale;
        digits[i / 4] = (uint16_t)(digits[i / 4] * 10 + (is_there ? text[decimal] - '0' : 0));
    }
    while (first < count && digits[first] == 0)
        first++;
    while (count > first && digits[count - 1] == 0)
        count--;
    wire_16(out, (uint16_t)(count - first));
    wire_16(out, count > first ? (uint16_t)(places - 1 - first) : 0);
    wire_16(out, count > first ? sign : 0);
    wire_16(out, (uint16_t)scale);
    for (; first < count; first++)
        wire_16(out, digits[first]);
}

/* One visible column, named v, in text; then hidden ones, named h. */
static inline void describe_body(struct buffer *body, const uint32_t *types, size_t hidden)
{
    *body = BUFFER_INIT(MUCH);
    wire_16(body, (uint16_t)(1 + hidden));
    column_add(body, "v", TEXT, 0);
    for (size_t i = 0; i < hidden; i++)
        column_add(body, "h", types[i], 1);
}

/* A row of a visible text and one hidden integer of 8 bytes. */
static inline struct buffer integer_row(const char *text, int64_t value)
{
    struct buffer row = BUFFER_INIT(MUCH);
    wire_16(&row, 2);
    field_text(&row, text);
    field_integer(&row, value, 8);
    return row;
}

#endif
