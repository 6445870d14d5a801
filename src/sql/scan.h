/*
 * The scanner: where the literals of a text are, as PostgreSQL's lexer (src/backend/parser/scan.l, version 15, with
 * standard_conforming_strings on) sees them, and the text's shape.
 *
 *     SELECT * FROM t WHERE id = 42 AND name = 'a''b' -- 7
 *     shape: the same bytes, each literal replaced by one byte that is its class
 *
 * It agrees with that lexer or says "cannot": what it cannot be sure of (U&'', strings continued on the next line, junk
 * after a number, nothing that closes a quote), and what costs PostgreSQL's lexer quadratic time (comments nested
 * deeply, long runs of operator characters). A text that it can scan may still be no SQL.
 *
 * Two texts of one shape differ in the values of literals alone: no byte below 0x20 but blanks stands outside of quotes
 * and comments, so a shape can be read only one way.
 */
#ifndef MOSAIC_SQL_SCAN_H
#define MOSAIC_SQL_SCAN_H

#include "base/buffer.h"

#include <stdint.h>

/* X(identifier, what it is) The order is that of the bytes in a shape, from 1; none is a blank. */
#define LITERAL_CLASS_LIST(X)                                               \
    X(INTEGER, "42: an integer, or a bigint or numeric where it is larger") \
    X(DECIMAL, "42.0 or 4e2: numeric")                                      \
    X(STRING, "'42': of unknown type; '' within is one quote")              \
    X(ESCAPED, "E'42'")                                                     \
    X(DOLLAR, "$$42$$")                                                     \
    X(BITS, "b'101' or x'2a'")                                              \
    X(NATIONAL, "N'42': of type character")

enum literal_class {
    LITERAL_NONE,
#define X(identifier, what) LITERAL_##identifier,
    LITERAL_CLASS_LIST(X)
#undef X
};

struct scan_literal {
    uint32_t start, length; /* bytes of the token in the text, with its quotes */
    enum literal_class class;
};

struct scan {
    struct scan_literal *literals;
    size_t count, capacity;
    char *shape;
    size_t shape_size, shape_capacity;
    size_t tokens;      /* at least so many */
    const char *cannot; /* why not; NULL: it can */
    size_t cannot_at;
    bool cannot_is_costly; /* PostgreSQL's lexer must not be tried either: it would take too long */
};

#define SCAN_INIT ((struct scan){0})

enum { SCAN_BYTES_MOST = 16 * 1024 * 1024, SCAN_TOKENS_MOST = 500 * 1000 };

/*
 * Scans a text; `scan` keeps its memory for the next one. False when memory is out; what the scanner cannot do is no
 * failure: `cannot` says it, and literals and shape are then not to be used.
 */
bool scan_text(struct scan *scan, const char *text, size_t size) __attribute__((warn_unused_result));
void scan_free(struct scan *scan);

/*
 * The content of a string literal or the digits of a number: *data points into the text, or into the arena where quotes
 * or escapes had to be undone. False where it cannot be known (an escape for a character that is none, bits) or memory
 * is out.
 */
struct arena;
bool scan_content(const struct scan_literal *literal, const char *text, struct arena *arena, const char **data,
                  size_t *size) __attribute__((warn_unused_result));

#endif
