/*
 * Lines of pg_hba.conf and pg_ident.conf as fields of words (src/backend/libpq/hba.c, next_token): blanks part fields,
 * a comma behind a word continues its field, "…" quotes (with "" for a quote), # begins a comment, a backslash at the
 * end continues a line. Files included by @ are not read.
 */
#ifndef MOSAIC_PROXY_AUTH_LINES_H
#define MOSAIC_PROXY_AUTH_LINES_H

#include "base/error.h"
#include "base/memory.h"

struct auth_word {
    const char *text;
    bool quoted; /* a quoted word is no keyword */
};

enum { AUTH_FIELDS_MOST = 32, AUTH_WORDS_MOST = 1000 };

struct auth_field {
    const struct auth_word *words;
    size_t count;
};

struct auth_line {
    struct auth_field fields[AUTH_FIELDS_MOST];
    size_t count;
    unsigned number; /* of its first line in the file, from 1 */
};

struct auth_reader {
    const char *at, *end;
    const char *path; /* for errors */
    unsigned number;
};

struct auth_reader auth_reader_start(const char *path, const char *text, size_t size);
/* The next line that has a field; line->count is 0 at the end. MOSAIC_CONFIG names file and line. */
MOSAIC_MUST_CHECK mosaic_status auth_lines_next(struct auth_reader *reader, struct arena *arena, struct auth_line *line,
                                                mosaic_error *error);
/* Is it that keyword (and so not quoted)? */
bool auth_word_is(const struct auth_word *word, const char *keyword);

#endif
