#include "copy/binary.h"

#include <string.h>

enum { SIGNATURE = 11, EXTENSION_MOST = 64 * 1024 };

const unsigned char binary_header[19] = "PGCOPY\n\377\r\n";
const unsigned char binary_trailer[2] = {0xFF, 0xFF};

static uint32_t number32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static enum copy_result broken(struct copy_splitter *splitter, const char *why)
{
    splitter->broken = why;
    return COPY_BROKEN;
}

/* The file header. COPY_MORE without `started` when there are not enough bytes. */
static enum copy_result read_header(struct copy_splitter *splitter, const unsigned char *bytes, size_t size,
                                    bool at_end, size_t *consumed)
{
    size_t known = size < SIGNATURE ? size : SIGNATURE;
    if (memcmp(bytes, binary_header, known) != 0)
        return broken(splitter, "the signature PGCOPY of the binary format is missing");
    if (size >= 15 && (number32(bytes + 11) & 0xFFFF0000) != 0)
        return broken(splitter, "flags in the header of the binary format that are not supported");
    if (size >= 19 && number32(bytes + 15) > EXTENSION_MOST)
        return broken(splitter, "a header extension of the binary format that is too long");
    if (size < 19 || size - 19 < number32(bytes + 15))
        return at_end ? broken(splitter, "the header of the binary format is cut off") : COPY_MORE;
    *consumed = 19 + number32(bytes + 15);
    splitter->started = true;
    return COPY_MORE;
}

enum tuple { TUPLE_WHOLE, TUPLE_CUT, TUPLE_TRAILER, TUPLE_BROKEN };

/* One tuple at bytes; its size and key fields. */
static enum tuple read_tuple(const struct copy_splitter *splitter, const unsigned char *bytes, size_t size,
                             uint32_t offset, struct copy_row *row, struct copy_slice *keys)
{
    if (size < 2)
        return TUPLE_CUT;
    uint32_t fields = (uint32_t)bytes[0] << 8 | bytes[1];
    if (fields == 0xFFFF)
        return TUPLE_TRAILER;
    if (fields > INT16_MAX)
        return TUPLE_BROKEN;
    size_t at = 2, key = 0;
    for (uint32_t field = 0; field < fields; field++) {
        if (size - at < 4)
            return TUPLE_CUT;
        uint32_t length = number32(bytes + at);
        bool null = length == UINT32_MAX;
        at += 4;
        if (!null && length > INT32_MAX)
            return TUPLE_BROKEN;
        if (key < splitter->key_count && splitter->key_fields[key] == field) {
            uint32_t start = offset + (uint32_t)at;
            keys[splitter->key_slots[key++]] = (struct copy_slice){start, null ? start - 1 : start + length};
        }
        if (!null && size - at < length)
            return TUPLE_CUT;
        at += null ? 0 : length;
    }
    while (key < splitter->key_count)
        keys[splitter->key_slots[key++]] = (struct copy_slice){UINT32_MAX, UINT32_MAX};
    row->size = (uint32_t)at;
    row->fields = fields;
    return TUPLE_WHOLE;
}

static enum copy_bad judge(const struct copy_splitter *splitter, const struct copy_row *row)
{
    if (row->size > splitter->format.row_limit)
        return COPY_BAD_LONG;
    if (splitter->fields && row->fields != splitter->fields)
        return row->fields < splitter->fields ? COPY_BAD_FEW : COPY_BAD_MANY;
    return COPY_BAD_NONE;
}

/* The bytes end inside a tuple, before the trailer. */
static enum copy_result cut_off(struct copy_splitter *splitter, size_t left, bool at_end)
{
    if (at_end)
        return broken(splitter, left ? "the input ends in the middle of a row"
                                     : "the input ends without the trailer of the binary format");
    /* a length that is wrong would otherwise ask for gigabytes */
    if (left > splitter->format.row_limit + COPY_FIELDS_MOST * 4)
        return broken(splitter, copy_bad_meaning(COPY_BAD_LONG));
    return COPY_MORE;
}

enum copy_result binary_split(struct copy_splitter *splitter, const unsigned char *bytes, size_t size, bool at_end,
                              struct copy_rows *rows, size_t *consumed)
{
    if (!splitter->started) {
        enum copy_result result = read_header(splitter, bytes, size, at_end, consumed);
        if (!splitter->started)
            return result;
    }
    for (;;) {
        if (rows->count == rows->capacity)
            return COPY_FULL;
        struct copy_row *row = &rows->rows[rows->count];
        *row =
            (struct copy_row){.start = (uint32_t)*consumed, .line = splitter->line + 1, .bad_line = splitter->line + 1};
        enum tuple tuple = read_tuple(splitter, bytes + *consumed, size - *consumed, (uint32_t)*consumed, row,
                                      rows->keys + rows->count * splitter->key_count);
        if (tuple == TUPLE_CUT)
            return cut_off(splitter, size - *consumed, at_end);
        if (tuple == TUPLE_BROKEN)
            return broken(splitter, "a length or number of fields below zero");
        if (tuple == TUPLE_TRAILER) {
            *consumed += 2;
            splitter->ended = true;
            return COPY_END;
        }
        row->bad = judge(splitter, row);
        rows->count++;
        *consumed += row->size;
        splitter->line++;
    }
}
