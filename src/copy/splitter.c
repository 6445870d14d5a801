#include "copy/splitter.h"

#include "copy/binary.h"
#include "copy/scan.h"
#include "copy/verdict.h"

#include <string.h>

static const char *const bad_meanings[] = {
#define X(identifier, meaning) [COPY_BAD_##identifier] = meaning,
    COPY_BAD_LIST(X)
#undef X
};

const char *copy_bad_meaning(enum copy_bad bad)
{
    return (unsigned)bad < COPY_BAD_COUNT ? bad_meanings[bad] : "?";
}

void copy_splitter_columns(struct copy_splitter *splitter, size_t fields, const size_t *key_fields, size_t key_count)
{
    splitter->fields = fields;
    splitter->key_count = key_count;
    for (size_t i = 0; i < key_count; i++) { /* insertion sort: there are few */
        size_t at = i;
        for (; at > 0 && splitter->key_fields[at - 1] > key_fields[i]; at--) {
            splitter->key_fields[at] = splitter->key_fields[at - 1];
            splitter->key_slots[at] = splitter->key_slots[at - 1];
        }
        splitter->key_fields[at] = (uint16_t)key_fields[i];
        splitter->key_slots[at] = (uint8_t)i;
    }
}

/* Learns the newline style at the first line end outside quotes. False when the byte behind a \r is not there yet. */
static bool learn_newline(struct copy_splitter *splitter, const unsigned char *bytes, size_t left)
{
    if (splitter->newline != COPY_NEWLINE_UNKNOWN)
        return true;
    if (bytes[0] == '\r' && left < 2)
        return false;
    splitter->newline = bytes[0] == '\n' ? COPY_NEWLINE_LF : bytes[1] == '\n' ? COPY_NEWLINE_CRLF : COPY_NEWLINE_CR;
    return true;
}

/* The end of a row that was over the limit: its bytes are dropped up to the newline. False when it isn't in sight. */
static bool skip_row(struct copy_splitter *splitter, const unsigned char *bytes, size_t size, size_t *consumed)
{
    struct walk walk = {splitter->skip_quoted, splitter->skip_escaped};
    size_t i = 0;
    for (; i < size && splitter->skipping; i++) {
        struct walk before = walk;
        bool plain = walk_byte(&walk, &splitter->format, bytes[i]);
        if (bytes[i] != '\n' && bytes[i] != '\r')
            continue;
        if (plain && !learn_newline(splitter, bytes + i, size - i)) {
            walk = before;
            break;
        }
        /* which of the two counts is known once the style is: at the end of the row at the latest */
        splitter->skip_lines[bytes[i] == '\r']++;
        if (plain && (bytes[i] == '\r') == (splitter->newline == COPY_NEWLINE_CR)) {
            splitter->line += splitter->skip_lines[splitter->newline == COPY_NEWLINE_CR];
            splitter->skipping = false;
        }
    }
    splitter->skip_quoted = walk.quoted;
    splitter->skip_escaped = walk.escaped;
    *consumed += i;
    return !splitter->skipping;
}

/* What the last bytes of a call are: a row that must grow, is over the limit, or is the last one. */
static enum copy_result take_rest(struct copy_splitter *splitter, const unsigned char *bytes, size_t size, bool at_end,
                                  struct copy_rows *rows, size_t *consumed)
{
    size_t start = *consumed, left = size - start;
    bool too_long = left > splitter->format.row_limit + (at_end ? 0 : 2); /* a newline may be in sight */
    if (left == 0)
        return at_end ? COPY_END : COPY_MORE;
    if (!at_end && !too_long)
        return COPY_MORE;
    if (rows->count == rows->capacity)
        return COPY_FULL;
    struct copy_row *row = &rows->rows[rows->count];
    *row = (struct copy_row){.start = (uint32_t)start,
                             .size = (uint32_t)left,
                             .line = splitter->line + 1,
                             .bad_line = splitter->line + 1,
                             .bad = COPY_BAD_LONG};
    struct copy_slice *keys = rows->keys + rows->count * splitter->key_count;
    if (!too_long)
        verdict_last_row(splitter, bytes, row, keys);
    rows->count++;
    if (at_end) {
        *consumed = size;
        splitter->line++;
        return COPY_END;
    }
    splitter->skipping = true;
    splitter->skip_quoted = splitter->skip_escaped = false;
    splitter->skip_lines[0] = splitter->skip_lines[1] = 0;
    (void)skip_row(splitter, bytes + start, left, consumed);
    return COPY_MORE;
}

static enum copy_result broken(struct copy_splitter *splitter, const char *why)
{
    splitter->broken = why;
    return COPY_BROKEN;
}

static enum copy_result split_text(struct copy_splitter *splitter, const unsigned char *bytes, size_t size, bool at_end,
                                   struct copy_rows *rows, size_t *consumed)
{
    if (splitter->skipping && !skip_row(splitter, bytes, size, consumed))
        return at_end ? COPY_END : COPY_MORE;
    if (splitter->newline == COPY_NEWLINE_UNKNOWN)
        splitter->newline = verdict_newline(&splitter->format, bytes + *consumed, size - *consumed, at_end);
    if (splitter->newline != COPY_NEWLINE_UNKNOWN) {
        struct scan_end end;
        size_t base = *consumed, first = rows->count;
        scan_choose (&splitter->format)(splitter, bytes + base, size - base, rows, &end);
        for (size_t i = first; base && i < rows->count; i++)
            rows->rows[i].start += (uint32_t)base;
        for (size_t i = first * splitter->key_count; base && i < rows->count * splitter->key_count; i++)
            if (rows->keys[i].start != UINT32_MAX)
                rows->keys[i] =
                    (struct copy_slice){rows->keys[i].start + (uint32_t)base, rows->keys[i].end + (uint32_t)base};
        *consumed = base + (end.marker ? end.marker_end : end.row_start);
        splitter->ended = end.marker;
        if (end.marker) {
            splitter->line++;
            return COPY_END;
        }
        if (rows->count == rows->capacity)
            return COPY_FULL;
    }
    return take_rest(splitter, bytes, size, at_end, rows, consumed);
}

enum copy_result copy_split(struct copy_splitter *splitter, const char *bytes, size_t size, bool at_end,
                            struct copy_rows *rows, size_t *consumed)
{
    rows->count = 0;
    *consumed = 0;
    if (splitter->broken)
        return COPY_BROKEN;
    if (splitter->ended)
        return size ? broken(splitter, "data behind the end of the rows") : COPY_END;
    if (splitter->format.kind == MOSAIC_BINARY)
        return binary_split(splitter, (const unsigned char *)bytes, size, at_end, rows, consumed);
    return split_text(splitter, (const unsigned char *)bytes, size, at_end, rows, consumed);
}
