/*
 * The scan of scan.h for one instruction set. Included by scan.c once for each, with defined before:
 *
 *     SCAN(name)       the name of a function for this instruction set
 *     SCAN_TARGET      the function attribute that allows its instructions
 *
 * and SCAN(masks), SCAN(prefix) as functions. A template rather than function pointers: all must be inlined into one
 * loop.
 */

SCAN_TARGET static inline __attribute__((always_inline)) uint64_t
SCAN(plain)(enum scan_mode mode, const struct copy_format *format, const unsigned char *bytes, size_t count,
            const struct masks *masks, struct scan_state *state)
{
    if (mode == SCAN_CSV) {
        uint64_t inside = SCAN(prefix)(masks->special) ^ state->inside;
        state->inside = (uint64_t)((int64_t)inside >> 63);
        return ~inside;
    }
    if (mode == SCAN_CSV_ESCAPE)
        return state->walk.quoted || masks->special ? scan_plain_escape(format, bytes, count, &state->walk) : ~0ULL;
    return masks->special || state->escaped ? scan_plain_text(bytes, count, masks->special, state) : ~0ULL;
}

/* Which bytes mean something. */
SCAN_TARGET static inline __attribute__((always_inline)) struct marks
SCAN(classify)(enum scan_mode mode, const struct copy_splitter *splitter, const struct needles *needles,
               const unsigned char *bytes, size_t count, struct scan_state *state)
{
    struct masks masks;
    unsigned char padded[64];
    uint64_t valid = ~0ULL;
    const unsigned char *source = bytes;
    if (__builtin_expect(count < 64, 0)) {
        memset(padded, 0, sizeof padded);
        memcpy(padded, bytes, count);
        source = padded;
        valid = (1ULL << count) - 1;
    }
    SCAN(masks)(source, needles, &masks);
    masks.special &= valid;
    state->odd = 0;
    uint64_t plain = SCAN(plain)(mode, &splitter->format, source, count, &masks, state) & valid;
    uint64_t newline = masks.newline & plain, carriage = masks.carriage & plain;
    struct marks marks = {.delimiter = masks.delimiter & plain, .end = newline};
    uint64_t stray = carriage;
    marks.line = masks.newline & valid;
    if (splitter->newline == COPY_NEWLINE_CRLF) {
        stray = newline ^ (carriage << 1 | state->carriage);
        state->carriage = carriage >> 63;
    } else if (splitter->newline == COPY_NEWLINE_CR) {
        stray = newline;
        marks.end = carriage;
        marks.line = masks.carriage & valid;
    }
    marks.odd = stray | (masks.odd & valid) | state->odd;
    return marks;
}

SCAN_TARGET static inline __attribute__((always_inline)) void SCAN(run)(enum scan_mode mode,
                                                                        struct copy_splitter *splitter,
                                                                        const unsigned char *bytes, size_t size,
                                                                        struct copy_rows *rows, struct scan_end *end)
{
    const struct needles needles = scan_needles(&splitter->format);
    const size_t key_count = splitter->key_count, newline_size = splitter->newline == COPY_NEWLINE_CRLF ? 2 : 1;
    const uint16_t *key_fields = splitter->key_fields;
    struct scan_state state = {0};
    struct cursor at = {.line = splitter->line, .keys = rows->keys + rows->count * key_count};

    for (size_t base = 0; base < size; base += 64) {
        size_t count = size - base < 64 ? size - base : 64;
        struct marks marks = SCAN(classify)(mode, splitter, &needles, bytes + base, count, &state);
        uint64_t ahead = ~0ULL; /* bits not walked yet */
        for (;;) {
            uint64_t wanted = (at.key < key_count ? marks.delimiter | marks.end : marks.end) & ahead;
            if (!wanted)
                break;
            unsigned bit = (unsigned)__builtin_ctzll(wanted);
            uint64_t here = 1ULL << bit, before = here - 1;
            uint32_t position = (uint32_t)(base + bit);
            ahead = ~(before | here);
            if (marks.delimiter & here) {
                if (at.field == key_fields[at.key])
                    at.keys[splitter->key_slots[at.key++]] = (struct copy_slice){at.field_start, position};
                at.field++;
                at.field_start = position + 1;
                continue;
            }
            uint64_t delimiters = at.delimiters + (uint64_t)__builtin_popcountll(marks.delimiter & before);
            uint64_t line = at.line + (uint64_t)__builtin_popcountll(marks.line & (before | here));
            if (at.key < key_count)
                cursor_last_field(&at, splitter, position, (uint32_t)newline_size - 1);
            struct copy_row *row = &rows->rows[rows->count];
            *row = (struct copy_row){.start = at.row_start,
                                     .size = position + 1 - at.row_start,
                                     .fields = (uint32_t)(delimiters - at.row_delimiters + 1),
                                     .newline = (uint16_t)newline_size,
                                     .line = splitter->line + 1,
                                     .bad_line = splitter->line + 1};
            bool odd = at.odd || (marks.odd & (before | here));
            if (__builtin_expect(odd || row->fields != splitter->fields || bytes[at.row_start] == '\\' ||
                                     row->size > splitter->format.row_limit,
                                 0) &&
                scan_look_again(splitter, bytes, row, odd)) {
                *end = (struct scan_end){at.row_start, true, position + 1};
                return;
            }
            splitter->line = line;
            marks.odd &= ahead;
            at = (struct cursor){.row_start = position + 1,
                                 .field_start = position + 1,
                                 .delimiters = at.delimiters,
                                 .row_delimiters = delimiters,
                                 .line = at.line,
                                 .keys = at.keys + key_count};
            if (++rows->count == rows->capacity) {
                *end = (struct scan_end){.row_start = at.row_start};
                return;
            }
        }
        at.odd = at.odd || marks.odd;
        at.delimiters += (uint64_t)__builtin_popcountll(marks.delimiter);
        at.line += (uint64_t)__builtin_popcountll(marks.line);
    }
    *end = (struct scan_end){.row_start = at.row_start};
}

SCAN_TARGET static void SCAN(scan_csv)(struct copy_splitter *splitter, const unsigned char *bytes, size_t size,
                                       struct copy_rows *rows, struct scan_end *end)
{
    SCAN(run)(SCAN_CSV, splitter, bytes, size, rows, end);
}

SCAN_TARGET static void SCAN(scan_csv_escape)(struct copy_splitter *splitter, const unsigned char *bytes, size_t size,
                                              struct copy_rows *rows, struct scan_end *end)
{
    SCAN(run)(SCAN_CSV_ESCAPE, splitter, bytes, size, rows, end);
}

SCAN_TARGET static void SCAN(scan_text)(struct copy_splitter *splitter, const unsigned char *bytes, size_t size,
                                        struct copy_rows *rows, struct scan_end *end)
{
    SCAN(run)(SCAN_TEXT, splitter, bytes, size, rows, end);
}
