/*
 * SQL scripts: cutting a text into statements, as psql does, and seeing what in it could not be run by `pgmosaic exec`.
 * Pure.
 *
 * A statement ends at a semicolon outside of quotes, comments, parentheses and a body BEGIN ATOMIC … END. What is not
 * closed at the end of the text stays in the last statement: the server says what is wrong with it.
 */
#ifndef MOSAIC_CORE_SCRIPT_H
#define MOSAIC_CORE_SCRIPT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct statement {
    const char *text;      /* into the script, from the first word on, without the semicolon */
    size_t size;           /* 0: the script is at its end */
    size_t line;           /* of the first word, from 1 */
    bool ends_transaction; /* BEGIN, COMMIT, ROLLBACK … (not ROLLBACK TO) */
    bool copies_stdin;     /* COPY … FROM STDIN */
};

struct script {
    const char *text;
    size_t size, at, line; /* line: of `at` */
};

struct script script_start(const char *text, size_t size);
/* The next statement. MOSAIC_DATA for a backslash command of psql or a zero byte; the message names the line. */
MOSAIC_MUST_CHECK mosaic_status script_next(struct script *script, struct statement *statement, mosaic_error *error);

enum script_token {
    SCRIPT_BLANK, /* one, or a comment */
    SCRIPT_WORD,
    SCRIPT_NAME, /* in quotes; a doubled quote within reads as two of them */
    SCRIPT_TEXT, /* a string in quotes or dollars */
    SCRIPT_NUMBER,
    SCRIPT_SIGN, /* one other character */
};

/* Past what stands at script->at, which is not the end. */
enum script_token script_token(struct script *script);

/* The line of a character of a statement, counted from 1 in UTF-8 characters as PostgreSQL does; its first line for 0.
 */
size_t statement_line(const struct statement *statement, size_t position);

#endif
