#include "sql/words.h"

#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c);
}

/* Begins a name, or goes on with it: letters of any script. */
static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool starts(const char *text, size_t size, size_t at, const char *with)
{
    size_t length = strlen(with);
    return size - at >= length && memcmp(text + at, with, length) == 0;
}

/* Behind a comment; they nest. */
static size_t skip_comment(const char *text, size_t size, size_t at)
{
    size_t depth = 0;
    while (at < size) {
        bool opens = starts(text, size, at, "/*"), closes = starts(text, size, at, "*/");
        depth = opens ? depth + 1 : closes ? depth - 1 : depth;
        at += opens || closes ? 2 : 1;
        if (closes && !depth)
            break;
    }
    return at;
}

size_t words_skip(const char *text, size_t size, size_t at)
{
    while (at < size) {
        if (is_blank(text[at])) {
            at++;
        } else if (starts(text, size, at, "--")) {
            while (at < size && text[at] != '\n' && text[at] != '\r')
                at++;
        } else if (starts(text, size, at, "/*")) {
            at = skip_comment(text, size, at);
        } else {
            break;
        }
    }
    return at;
}

/* Behind what `quote` opens at `at`; two of it within are one. */
static size_t skip_quoted(const char *text, size_t size, size_t at, char quote, bool escapes)
{
    for (at++; at < size; at++) {
        if (escapes && text[at] == '\\')
            at++;
        else if (text[at] == quote && (at + 1 == size || text[at + 1] != quote))
            return at + 1;
        else if (text[at] == quote)
            at++;
    }
    return size;
}

/* The size of a tag like $body$ or $$ at `at`; 0 if it is none. */
static size_t dollar_tag(const char *text, size_t size, size_t at)
{
    size_t end = at + 1;
    while (end < size && (is_letter(text[end]) || (end > at + 1 && is_digit(text[end]))))
        end++;
    return end < size && text[end] == '$' ? end + 1 - at : 0;
}

static size_t skip_dollars(const char *text, size_t size, size_t at, size_t tag)
{
    for (size_t end = at + tag; end + tag <= size; end++)
        if (text[end] == '$' && memcmp(text + end, text + at, tag) == 0)
            return end + tag;
    return size;
}

static size_t skip_name(const char *text, size_t size, size_t at)
{
    while (at < size && (is_letter(text[at]) || is_digit(text[at]) || text[at] == '$'))
        at++;
    return at;
}

static size_t skip_number(const char *text, size_t size, size_t at)
{
    while (at < size && (is_letter(text[at]) || is_digit(text[at]) || text[at] == '.'))
        at++;
    return at;
}

/* The kind of the word at `at`, and where it ends. */
static size_t end_of(const char *text, size_t size, size_t at, enum word_kind *kind)
{
    char c = text[at];
    size_t tag = c == '$' ? dollar_tag(text, size, at) : 0;
    bool prefixed = strchr("eEbBxXnN", c) && at + 1 < size && text[at + 1] == '\'';
    *kind = WORD_STRING;
    if (tag)
        return skip_dollars(text, size, at, tag);
    if (c == '\'' || (c && prefixed))
        return skip_quoted(text, size, at + (c != '\''), '\'', c == 'e' || c == 'E');
    *kind = WORD_QUOTED;
    if (c == '"')
        return skip_quoted(text, size, at, '"', false);
    *kind = is_digit(c) ? WORD_NUMBER : is_letter(c) || c == '$' ? WORD_NAME : WORD_SIGN;
    if (*kind == WORD_NUMBER)
        return skip_number(text, size, at);
    return *kind == WORD_NAME ? skip_name(text, size, at + 1) : at + 1;
}

bool words_next(const char *text, size_t size, size_t *at, struct word *word)
{
    size_t start = words_skip(text, size, *at);
    *at = start;
    if (start == size)
        return false;
    *at = end_of(text, size, start, &word->kind);
    word->text = text + start;
    word->size = *at - start;
    return true;
}

static bool is_one_of(const struct word *word, char sign, char other)
{
    return word->kind == WORD_SIGN && (*word->text == sign || *word->text == other);
}

bool words_token(const char *text, size_t size, size_t *at, struct token *token)
{
    struct word word;
    if (!words_next(text, size, at, &token->word))
        return false;
    token->start = (size_t)(token->word.text - text);
    token->is_group = is_one_of(&token->word, '(', '[');
    for (size_t depth = token->is_group; depth && words_next(text, size, at, &word);)
        depth += (size_t)is_one_of(&word, '(', '[') - (size_t)is_one_of(&word, ')', ']');
    token->end = *at;
    return true;
}

bool word_is(const struct word *word, const char *name)
{
    if (word->kind != WORD_NAME || word->size != strlen(name))
        return false;
    for (size_t i = 0; i < word->size; i++)
        if ((word->text[i] | (word->text[i] >= 'A' && word->text[i] <= 'Z' ? 0x20 : 0)) != name[i])
            return false;
    return true;
}

bool words_name_moment(const char *text, size_t size)
{
    static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
    for (size_t at = 0; at < size; at++)
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            size_t end = at + strlen(words[i]);
            bool begins = at == 0 || !is_alphanumeric(text[at - 1]);
            if (begins && end <= size && strncasecmp(text + at, words[i], end - at) == 0 &&
                (end == size || !is_alphanumeric(text[end])))
                return true;
        }
    return false;
}
