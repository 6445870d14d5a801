/*
 * PostgreSQL's own raw parser (libpg_query): text → raw parse tree.
 *
 *     struct parse parse;
 *     if ((status = parse_open(&parse, text, size, error)) == MOSAIC_OK) {
 *         const List *statements = parse.statements; // of RawStmt: include "sql/nodes.h" to walk it
 *         ...
 *     }
 *     parse_close(&parse);
 *
 * The tree lives in the parser's own memory until parse_close; copy what shall outlive it. A thread has at most one
 * parse open (its globals are the thread's own); parse_more reads a further text, a view's, into the same one.
 *
 * Nothing else of libpg_query is used: its protobuf, normalize and fingerprint recurse without a limit. The raw parser
 * does not recurse, but the tree may be as deep as the text is long: a walker needs a depth limit of its own. Its lexer
 * takes quadratic time for nested comments and long runs of operator characters: texts of strangers go through scan.h
 * first, which refuses them.
 */
#ifndef MOSAIC_SQL_PARSE_H
#define MOSAIC_SQL_PARSE_H

#include "base/error.h"
#include "base/memory.h"

/* Longer texts are not parsed: a tree takes some 100 bytes for each token. */
enum { PARSE_BYTES_MOST = 16 * 1024 * 1024 };

struct parse {
    const void *statements; /* List of RawStmt; NULL: empty, or refused */
    const char *refused;    /* what PostgreSQL says of a text it cannot read; NULL: it can. In the parser's memory */
    int refused_at;         /* character from 1, 0: unknown */
    void *context, *error;  /* the parser's */
};

/*
 * Parses a text (UTF-8; it need not end in a zero byte). A text that is no SQL sets `refused` and is MOSAIC_OK. Fails
 * only for want of memory. parse_close in any case.
 */
MOSAIC_MUST_CHECK mosaic_status parse_open(struct parse *parse, const char *text, size_t size, mosaic_error *error);
/* One more text, in the same memory: its statements; NULL where it is empty or cannot be read. While parse is open. */
const void *parse_more(struct parse *parse, const char *text, size_t size);
void parse_close(struct parse *parse);

#endif
