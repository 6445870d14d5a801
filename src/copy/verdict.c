#include "copy/verdict.h"

#include <string.h>

enum copy_newline verdict_newline(const struct copy_format *format, const unsigned char *bytes, size_t size,
                                  bool at_end)
{
    struct walk walk = {0};
    for (size_t i = 0; i < size; i++) {
        bool plain = walk_byte(&walk, format, bytes[i]);
        if (!plain || (bytes[i] != '\n' && bytes[i] != '\r'))
            continue;
        if (bytes[i] == '\n')
            return COPY_NEWLINE_LF;
        if (i + 1 == size)
            return at_end ? COPY_NEWLINE_CR : COPY_NEWLINE_UNKNOWN;
        return bytes[i + 1] == '\n' ? COPY_NEWLINE_CRLF : COPY_NEWLINE_CR;
    }
    return COPY_NEWLINE_UNKNOWN;
}

enum copy_bad verdict_row(const struct copy_splitter *splitter, const unsigned char *row, size_t size)
{
    struct walk walk = {0};
    bool high = false;
    for (size_t i = 0; i < size; i++) {
        bool after_backslash = walk.escaped;
        bool plain = walk_byte(&walk, &splitter->format, row[i]);
        if (row[i] == 0)
            return COPY_BAD_ZERO;
        if (plain && (row[i] == '\n' || row[i] == '\r'))
            return COPY_BAD_NEWLINE;
        if (splitter->format.kind == MOSAIC_TEXT && after_backslash && row[i] == '.')
            return COPY_BAD_MARKER;
        high = high || row[i] >= 0x80;
    }
    if (splitter->format.kind == MOSAIC_TEXT && walk.escaped)
        return COPY_BAD_BACKSLASH;
    return high && !key_is_utf8(row, size) ? COPY_BAD_ENCODING : COPY_BAD_NONE;
}

/* The line on which the quote opened that is still open at the end of the row. */
static uint64_t open_quote_line(const struct copy_splitter *splitter, const unsigned char *row, size_t size)
{
    struct walk walk = {0};
    uint64_t line = splitter->line + 1, opened = line;
    char line_end = splitter->newline == COPY_NEWLINE_CR ? '\r' : '\n';
    for (size_t i = 0; i < size; i++) {
        bool before = walk.quoted;
        (void)walk_byte(&walk, &splitter->format, row[i]);
        if (walk.quoted && !before)
            opened = line;
        if (row[i] == (unsigned char)line_end)
            line++;
    }
    return opened;
}

static void find_fields(const struct copy_splitter *splitter, const unsigned char *bytes, struct copy_row *row,
                        struct copy_slice *keys)
{
    size_t next = 0, start, end, key = 0;
    row->fields = 0;
    while (copy_field_next(&splitter->format, (const char *)bytes + row->start, row->size, &next, &start, &end)) {
        if (key < splitter->key_count && splitter->key_fields[key] == row->fields)
            keys[splitter->key_slots[key++]] =
                (struct copy_slice){row->start + (uint32_t)start, row->start + (uint32_t)end};
        row->fields++;
    }
    while (key < splitter->key_count)
        keys[splitter->key_slots[key++]] = (struct copy_slice){UINT32_MAX, UINT32_MAX};
}

void verdict_last_row(struct copy_splitter *splitter, const unsigned char *bytes, struct copy_row *row,
                      struct copy_slice *keys)
{
    const unsigned char *text = bytes + row->start;
    struct walk walk = {0};
    for (size_t i = 0; i < row->size; i++)
        (void)walk_byte(&walk, &splitter->format, text[i]);
    find_fields(splitter, bytes, row, keys);
    row->bad = verdict_row(splitter, text, row->size);
    row->bad_line = row->line;
    if (row->bad)
        return;
    if (splitter->format.kind == MOSAIC_CSV && walk.quoted) {
        row->bad = COPY_BAD_QUOTE;
        row->bad_line = open_quote_line(splitter, text, row->size);
    } else if (row->size == 2 && memcmp(text, "\\.", 2) == 0) {
        row->bad = COPY_BAD_MARKER;
    } else if (splitter->fields && row->fields != splitter->fields) {
        row->bad = row->fields < splitter->fields ? COPY_BAD_FEW : COPY_BAD_MANY;
    }
}
