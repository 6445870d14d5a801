/*
 * Splits COPY input (csv, text, binary) into rows, and finds the key fields in them, without touching a byte.
 *
 *     struct copy_splitter splitter = {.format = format};
 *     copy_splitter_columns(&splitter, fields, key_fields, keys);
 *     while (more input) {
 *         result = copy_split(&splitter, bytes, size, at_end, &rows, &consumed);
 *         use rows.rows[0 .. rows.count), which point into bytes by offset
 *         drop `consumed` bytes
 *     }
 *
 * Rows are those of PostgreSQL's CopyReadLineText (src/backend/commands/copyfromparse.c): csv quotes may open in the
 * middle of a field, the first line end outside quotes decides the newline style, the line \. ends the data. Stricter
 * than PostgreSQL, so that nothing is lost silently: data behind the end marker is refused, and so is a binary file
 * without its trailer.
 *
 * Malformed rows are handed out like good ones with `bad` saying why; the split goes on behind them where it can.
 */
#ifndef MOSAIC_COPY_SPLITTER_H
#define MOSAIC_COPY_SPLITTER_H

#include "copy/format.h"
#include "core/key.h"

#include <stdint.h>

/* X(identifier, what is wrong with the row) */
#define COPY_BAD_LIST(X)                                                    \
    X(NONE, "nothing")                                                      \
    X(FEW, "too few columns")                                               \
    X(MANY, "too many columns")                                             \
    X(ZERO, "a zero byte, which PostgreSQL's text cannot hold")             \
    X(NEWLINE, "an unquoted line end of another kind than those before it") \
    X(MARKER, "the end marker \\. which is not alone on its line")          \
    X(ENCODING, "bytes that are not valid UTF-8")                           \
    X(LONG, "more bytes than the row limit")                                \
    X(QUOTE, "a quote that is never closed")                                \
    X(BACKSLASH, "a lone backslash at the end of the input")

enum copy_bad {
#define X(identifier, meaning) COPY_BAD_##identifier,
    COPY_BAD_LIST(X)
#undef X
        COPY_BAD_COUNT
};

const char *copy_bad_meaning(enum copy_bad bad);

struct copy_row {
    uint32_t start, size; /* in the bytes given; size counts the newline */
    uint32_t fields;      /* how many there are; unreliable in a row that is bad for another reason than their number */
    uint16_t newline;     /* bytes of it: 0 (last row), 1, 2 */
    uint16_t bad;         /* enum copy_bad */
    uint64_t line;        /* of the input where it begins, from 1; binary: the number of the row */
    uint64_t bad_line;    /* COPY_BAD_QUOTE: where the quote opened; else the same as line */
};

/* A raw field: bytes given [start, end). In binary its content; start > end: NULL there, start == end == UINT32_MAX:
 * missing. */
struct copy_slice {
    uint32_t start, end;
};

/* Room for the rows of one call, of the caller. */
struct copy_rows {
    struct copy_row *rows;
    struct copy_slice *keys; /* capacity * key_count, row by row, in the order of the key columns */
    size_t capacity, count;
};

/* Fields that are looked for in each row: those of the key, and others. */
enum { COPY_WATCHED_MOST = 32 };

enum copy_newline { COPY_NEWLINE_UNKNOWN, COPY_NEWLINE_LF, COPY_NEWLINE_CRLF, COPY_NEWLINE_CR };

/* X(identifier, meaning): how a call to copy_split ended */
#define COPY_RESULT_LIST(X)                                                                     \
    X(MORE, "every whole row was taken: give what was not consumed again, with more behind it") \
    X(FULL, "there is no room for more rows: take them and call again with the rest")           \
    X(END, "the end marker or trailer was read, or the last row")                               \
    X(BROKEN, "the input cannot be split any further: splitter.broken says why")

enum copy_result {
#define X(identifier, meaning) COPY_##identifier,
    COPY_RESULT_LIST(X)
#undef X
};

struct copy_splitter {
    struct copy_format format; /* checked by copy_format_check */
    /* set by copy_splitter_columns */
    size_t fields; /* of each row; 0: any */
    size_t key_count;
    uint16_t key_fields[COPY_WATCHED_MOST]; /* ascending */
    uint8_t key_slots[COPY_WATCHED_MOST];   /* which key column that is */
    /* how far it is; begins as zero */
    enum copy_newline newline;
    uint64_t line; /* lines (binary: rows) before the next byte */
    bool skipping; /* inside a row that was over the limit and is reported already */
    bool skip_quoted, skip_escaped;
    uint64_t skip_lines[2]; /* \n and \r in it so far */
    bool started;           /* binary: the file header was read */
    bool ended;
    const char *broken; /* static text */
};

/*
 * Rows have `fields` fields; key column i is field key_fields[i], all of them different, COPY_WATCHED_MOST at most. May be called again between two calls to copy_split
 * (after a header row was read without key fields).
 */
void copy_splitter_columns(struct copy_splitter *splitter, size_t fields, const size_t *key_fields, size_t key_count);
/*
 * Splits bytes [0, size), size < 2^31, which begin where the last call ended. at_end: no byte follows them. With at_end
 * all is consumed unless the result is COPY_FULL or COPY_BROKEN. A row may be as long as the row limit, so `size` must
 * grow until it is larger than that, or something is consumed; a caller that doubles its buffer pays for a long row
 * only once more.
 */
enum copy_result copy_split(struct copy_splitter *splitter, const char *bytes, size_t size, bool at_end,
                            struct copy_rows *rows, size_t *consumed);
/* "avx2", "sse2" or "portable": how csv and text are scanned on this machine. */
const char *copy_scan_name(void);
/* Tests only: scans with the named method, or the best one for NULL; false if this machine lacks it. */
bool copy_scan_choose(const char *name);

#endif
