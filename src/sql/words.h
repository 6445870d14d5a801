/*
 * SQL as a row of words, for those who look at a text without parsing it: where a view's query begins, where a log's
 * line ends. Comments and blanks are passed over, quotes and dollar quotes are one piece.
 *
 *     for (size_t at = 0; words_next(text, size, &at, &word);)
 *         if (word_is(&word, "as")) …
 */
#ifndef MOSAIC_SQL_WORDS_H
#define MOSAIC_SQL_WORDS_H

#include <stdbool.h>
#include <stddef.h>

enum word_kind {
    WORD_NAME,   /* a keyword or an unquoted name, $1 too */
    WORD_QUOTED, /* "…" */
    WORD_STRING, /* '…', $tag$…$tag$, and what prefixes it: E'…' */
    WORD_NUMBER,
    WORD_SIGN, /* any other byte, one by one */
};

struct word {
    enum word_kind kind;
    const char *text; /* into the text */
    size_t size;
};

/*
 * The next word from *at on, which is moved behind it; false at the end. An unclosed quote or comment ends with the
 * text. standard_conforming_strings is on.
 */
bool words_next(const char *text, size_t size, size_t *at, struct word *word);
/* A word outside of all parentheses and brackets, or a group in them, of which it has the sign that opens it. */
struct token {
    struct word word;
    size_t start, end; /* bytes of the text */
    bool is_group;
};
/* The next one, in the same way; a group that is not closed ends with the text. */
bool words_token(const char *text, size_t size, size_t *at, struct token *token);
/* Is it this name (lower case), in any case? */
bool word_is(const struct word *word, const char *name);
/* Is it this name, and no group? */
static inline bool token_is(const struct token *token, const char *name)
{
    return !token->is_group && token->word.kind == WORD_NAME && word_is(&token->word, name);
}
/* Is one of the words in it that date and time types read as a moment: now, today, tomorrow, yesterday? */
bool words_name_moment(const char *text, size_t size);
/* Behind blanks and comments from `at` on: where the next word begins, or size. */
size_t words_skip(const char *text, size_t size, size_t at);

#endif
