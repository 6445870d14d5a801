#include "core/script.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { WORDS_KEPT = 4, WORD_SIZE = 24 };

/* What is known of the statement that is being read. */
struct reading {
    struct script *script;
    size_t start;
    bool started;
    char words[WORDS_KEPT][WORD_SIZE]; /* the first ones, in capitals */
    size_t word_count;
    char last[WORD_SIZE];
    bool from_stdin;
    int parentheses, begins;
};

struct script script_start(const char *text, size_t size)
{
    return (struct script){.text = text, .size = size, .line = 1};
}

static char look(const struct script *script, size_t ahead)
{
    return script->at + ahead < script->size ? script->text[script->at + ahead] : '\0';
}

static void step(struct script *script)
{
    if (script->text[script->at++] == '\n')
        script->line++;
}

static bool is_word_start(char c)
{
    return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_word(char c)
{
    return is_word_start(c) || isdigit((unsigned char)c) || c == '$';
}

/* A string or a quoted name; with backslashes in E'…'. A doubled quote reads as two strings, which is as good. */
static void skip_quoted(struct script *script, char quote, bool backslashes)
{
    step(script);
    while (script->at < script->size && look(script, 0) != quote) {
        if (backslashes && look(script, 0) == '\\' && script->at + 1 < script->size)
            step(script);
        step(script);
    }
    if (script->at < script->size)
        step(script);
}

static void skip_line_comment(struct script *script)
{
    while (script->at < script->size && look(script, 0) != '\n')
        step(script);
}

static void skip_block_comment(struct script *script)
{
    int depth = 0;
    do {
        bool opens = look(script, 0) == '/' && look(script, 1) == '*';
        bool closes = look(script, 0) == '*' && look(script, 1) == '/';
        depth += opens - closes;
        if (opens || closes)
            step(script);
        step(script);
    } while (depth > 0 && script->at < script->size);
}

/* $$ or $tag$: its whole length; 0 when it is none. */
static size_t dollar_tag(const struct script *script)
{
    size_t size = 1;
    if (isdigit((unsigned char)look(script, 1)))
        return 0;
    while (is_word(look(script, size)) && look(script, size) != '$')
        size++;
    return look(script, size) == '$' ? size + 1 : 0;
}

static void skip_dollar_quoted(struct script *script, size_t tag_size)
{
    const char *tag = script->text + script->at;
    for (size_t i = 0; i < tag_size; i++)
        step(script);
    while (script->at < script->size) {
        if (script->size - script->at >= tag_size && memcmp(script->text + script->at, tag, tag_size) == 0) {
            script->at += tag_size; /* a tag has no line end */
            return;
        }
        step(script);
    }
}

/* A function with a body in SQL: psql follows BEGIN, CASE and END in CREATE [OR REPLACE] FUNCTION and PROCEDURE alone.
 */
static bool makes_routine(const struct reading *reading)
{
    size_t at = !strcmp(reading->words[1], "OR") ? 3 : 1;
    return !strcmp(reading->words[0], "CREATE") &&
           (!strcmp(reading->words[at], "FUNCTION") || !strcmp(reading->words[at], "PROCEDURE"));
}

static void take_word(struct reading *reading, const char *text, size_t size)
{
    char word[WORD_SIZE] = "";
    for (size_t i = 0; i < size && i + 1 < WORD_SIZE; i++)
        word[i] = (char)toupper((unsigned char)text[i]);
    if (reading->word_count < WORDS_KEPT)
        memcpy(reading->words[reading->word_count++], word, WORD_SIZE);
    if (!strcmp(reading->last, "FROM") && !strcmp(word, "STDIN"))
        reading->from_stdin = true;
    memcpy(reading->last, word, WORD_SIZE);
    if (reading->parentheses == 0 && makes_routine(reading)) {
        if (!strcmp(word, "BEGIN") || (reading->begins && !strcmp(word, "CASE")))
            reading->begins++;
        else if (reading->begins && !strcmp(word, "END"))
            reading->begins--;
    }
}

static bool controls_transaction(const struct reading *reading)
{
    static const char *const enders[] = {"BEGIN", "START", "COMMIT", "END", "ABORT", "ROLLBACK"};
    const char(*words)[WORD_SIZE] = reading->words;
    if (!strcmp(words[0], "PREPARE"))
        return !strcmp(words[1], "TRANSACTION");
    if (!strcmp(words[0], "ROLLBACK") && (!strcmp(words[1], "TO") || !strcmp(words[2], "TO")))
        return false;
    for (size_t i = 0; i < sizeof enders / sizeof *enders; i++)
        if (!strcmp(words[0], enders[i]))
            return true;
    return false;
}

/* Blank and comment; false when there is something else. */
static bool skip_blank(struct script *script)
{
    char c = look(script, 0);
    if (isspace((unsigned char)c))
        step(script);
    else if (c == '-' && look(script, 1) == '-')
        skip_line_comment(script);
    else if (c == '/' && look(script, 1) == '*')
        skip_block_comment(script);
    else
        return false;
    return true;
}

/* A string; false when there is something else. */
static bool skip_text(struct script *script)
{
    char c = look(script, 0);
    size_t tag = c == '$' ? dollar_tag(script) : 0;
    bool escapes = (c == 'e' || c == 'E') && look(script, 1) == '\'';
    if (tag)
        skip_dollar_quoted(script, tag);
    else if (c != '\'' && !escapes)
        return false;
    else {
        if (escapes)
            step(script);
        skip_quoted(script, '\'', escapes);
    }
    return true;
}

enum script_token script_token(struct script *script)
{
    char c = look(script, 0);
    if (skip_blank(script))
        return SCRIPT_BLANK;
    if (skip_text(script))
        return SCRIPT_TEXT;
    if (c == '"') {
        skip_quoted(script, c, false);
        return SCRIPT_NAME;
    }
    step(script);
    if (!is_word(c) || c == '$')
        return SCRIPT_SIGN;
    bool is_number = isdigit((unsigned char)c);
    while (is_word(look(script, 0)) || (is_number && look(script, 0) == '.'))
        step(script);
    return is_number ? SCRIPT_NUMBER : SCRIPT_WORD;
}

static void take_token(struct reading *reading)
{
    struct script *script = reading->script;
    const char *text = script->text + script->at;
    switch (script_token(script)) {
    case SCRIPT_WORD:
        take_word(reading, text, (size_t)(script->text + script->at - text));
        break;
    case SCRIPT_SIGN:
        reading->parentheses += (*text == '(') - (*text == ')' && reading->parentheses > 0);
        break;
    default:
        break;
    }
}

static mosaic_status refuse(const struct script *script, mosaic_error *error)
{
    if (look(script, 0) == '\0')
        return error_set(error, MOSAIC_DATA, "line %zu: a zero byte, which no SQL has", script->line);
    size_t size = 0;
    while (size < 20 && look(script, size) && !isspace((unsigned char)look(script, size)))
        size++;
    error_set(error, MOSAIC_DATA, "line %zu: %.*s is a command of psql, not SQL", script->line, (int)size,
              script->text + script->at);
    error_hint(error, "leave it out; what it includes or sets has to stand in the file itself");
    return MOSAIC_DATA;
}

mosaic_status script_next(struct script *script, struct statement *statement, mosaic_error *error)
{
    struct reading reading = {.script = script};
    *statement = (struct statement){.text = script->text + script->size, .line = script->line};
    while (script->at < script->size) {
        char c = look(script, 0);
        if (skip_blank(script))
            continue;
        if (c == '\\' || c == '\0')
            return refuse(script, error);
        if (c == ';' && reading.parentheses == 0 && reading.begins == 0) {
            if (reading.started)
                break;
            step(script); /* an empty statement */
            continue;
        }
        if (!reading.started) {
            reading.started = true;
            reading.start = script->at;
            statement->line = script->line;
        }
        take_token(&reading);
    }
    if (!reading.started)
        return MOSAIC_OK;
    statement->text = script->text + reading.start;
    statement->size = script->at - reading.start;
    statement->ends_transaction = controls_transaction(&reading);
    /* Inside quotes: libpq would end the statement there, and the server would run the first half. */
    if (memchr(statement->text, '\0', statement->size))
        return error_set(error, MOSAIC_DATA, "line %zu: a zero byte in the statement that begins here",
                         statement->line);
    statement->copies_stdin = !strcmp(reading.words[0], "COPY") && reading.from_stdin;
    if (script->at < script->size)
        step(script); /* the semicolon */
    return MOSAIC_OK;
}

size_t statement_line(const struct statement *statement, size_t position)
{
    size_t line = statement->line, character = 0;
    for (size_t i = 0; i < statement->size; i++) {
        bool begins = ((unsigned char)statement->text[i] & 0xC0) != 0x80;
        character += begins;
        if (character >= position)
            break;
        line += statement->text[i] == '\n';
    }
    return line;
}
