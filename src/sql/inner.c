/* The statement within PREPARE, DECLARE or EXPLAIN: where in the text it begins. */
#include "sql/analysis.h"

struct words {
    const struct analysis *analysis;
    size_t at, start; /* of the word: start..at-1 */
};

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
           (unsigned char)c >= 0x80;
}

static size_t skip_blanks(const struct analysis *analysis, size_t at)
{
    const char *text = analysis->text;
    size_t size = analysis->size;
    while (at < size) {
        if (strchr(" \t\n\r\f", text[at])) {
            at++;
        } else if (at + 1 < size && text[at] == '-' && text[at + 1] == '-') {
            while (at < size && text[at] != '\n' && text[at] != '\r')
                at++;
        } else if (at + 1 < size && text[at] == '/' && text[at + 1] == '*') {
            int depth = 0;
            do {
                bool opens = text[at] == '/' && at + 1 < size && text[at + 1] == '*';
                bool closes = text[at] == '*' && at + 1 < size && text[at + 1] == '/';
                depth += opens - closes;
                at += opens || closes ? 2 : 1;
            } while (depth && at < size);
        } else {
            break;
        }
    }
    return at;
}

/* A word, a quoted identifier, or one other character; false at the end. */
static bool next_word(struct words *words)
{
    const char *text = words->analysis->text;
    size_t size = words->analysis->size, at = skip_blanks(words->analysis, words->at);
    words->start = at;
    if (at >= size)
        return false;
    if (text[at] == '"') {
        for (at++; at < size && (text[at] != '"' || (at + 1 < size && text[at + 1] == '"')); at++)
            at += text[at] == '"';
        at++;
    } else if (is_word_byte(text[at])) {
        while (at < size && is_word_byte(text[at]))
            at++;
    } else {
        at++;
    }
    words->at = at;
    return true;
}

static bool word_is(const struct words *words, const char *word)
{
    size_t size = words->at - words->start;
    return size == strlen(word) && strncasecmp(words->analysis->text + words->start, word, size) == 0;
}

/* The rest of a group in parentheses whose first one was just read. */
static void skip_group(struct words *words)
{
    for (int depth = 1; depth && next_word(words);)
        depth += word_is(words, "(") - word_is(words, ")");
}

void inner_note(struct analysis *analysis, const char *until, bool options)
{
    struct facts *facts = analysis->facts;
    struct words words = {analysis, (size_t)facts->start, 0};
    (void)next_word(&words);
    if (until) {
        while (next_word(&words) && !word_is(&words, until))
            if (word_is(&words, "("))
                skip_group(&words);
        (void)next_word(&words);
    } else {
        while (next_word(&words)) {
            if (options && word_is(&words, "("))
                options = false, skip_group(&words);
            else if (!word_is(&words, "ANALYZE") && !word_is(&words, "ANALYSE") && !word_is(&words, "VERBOSE"))
                break;
        }
    }
    facts->inner_start = (int)words.start;
    facts->inner_length = facts->length ? facts->start + facts->length - facts->inner_start : 0;
    for (size_t i = 0; i < analysis->scan->count; i++)
        facts->text_bound |= analysis->scan->literals[i].start < words.start;
}

/* The literal that begins here, or NULL. */
static const struct scan_literal *literal_at(const struct analysis *analysis, size_t at)
{
    for (size_t i = 0; i < analysis->scan->count; i++)
        if (analysis->scan->literals[i].start == at)
            return &analysis->scan->literals[i];
    return NULL;
}

void inner_note_group(struct analysis *analysis)
{
    struct facts *facts = analysis->facts;
    struct words words = {analysis, (size_t)facts->start, 0};
    while (next_word(&words) && !word_is(&words, "("))
        ;
    size_t start = words.at, end = start;
    for (int depth = 1; depth && next_word(&words);) {
        const struct scan_literal *literal = literal_at(analysis, words.start);
        if (literal)
            words.at = literal->start + literal->length;
        else
            depth += word_is(&words, "(") - word_is(&words, ")");
        end = words.start;
    }
    facts->inner_start = (int)start;
    facts->inner_length = (int)(end - start);
    facts->text_bound = true; /* where they are depends on how long its literals are */
}

bool inner_is_old_style(const struct analysis *analysis)
{
    struct words words = {analysis, (size_t)analysis->facts->start, 0};
    bool has_second = next_word(&words) && next_word(&words); /* NOLINT(misc-redundant-expression): each moves on */
    return has_second && !word_is(&words, "(");
}
