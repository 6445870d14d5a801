#include "proxy/auth_lines.h"

#include "base/buffer.h"

#include <string.h>

enum { WORD_MOST = 4096 };

struct auth_reader auth_reader_start(const char *path, const char *text, size_t size)
{
    return (struct auth_reader){text, text + size, path, 1};
}

static mosaic_status wrong(const struct auth_reader *reader, mosaic_error *error, const char *what)
{
    return error_set(error, MOSAIC_CONFIG, "%s:%u: %s", reader->path, reader->number, what);
}

/* At the end of a line that goes on in the next? */
static bool is_continued(const struct auth_reader *reader)
{
    size_t left = (size_t)(reader->end - reader->at);
    return (left >= 2 && memcmp(reader->at, "\\\n", 2) == 0) || (left >= 3 && memcmp(reader->at, "\\\r\n", 3) == 0);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* Over blanks, commas, comments and continued line ends; what comes then is a word, a newline, or the end. */
static void skip_blanks(struct auth_reader *reader)
{
    while (reader->at < reader->end) {
        if (is_continued(reader)) {
            reader->at = (const char *)memchr(reader->at, '\n', (size_t)(reader->end - reader->at)) + 1;
            reader->number++;
        } else if (*reader->at == '#') {
            const char *newline = memchr(reader->at, '\n', (size_t)(reader->end - reader->at));
            reader->at = newline ? newline : reader->end;
        } else if (is_blank(*reader->at) || *reader->at == ',') {
            reader->at++;
        } else {
            return;
        }
    }
}

/* Takes one word into `text`. */
static mosaic_status take_word(struct auth_reader *reader, struct buffer *text, bool *quoted, mosaic_error *error)
{
    bool inside = false;
    *quoted = *reader->at == '"';
    for (; reader->at < reader->end && *reader->at != '\n' && !is_continued(reader); reader->at++) {
        char c = *reader->at;
        if (!inside && (is_blank(c) || c == ',' || c == '#'))
            break;
        if (c == '\0')
            return wrong(reader, error, "a zero byte");
        if (c == '"' && inside && reader->at + 1 < reader->end && reader->at[1] == '"')
            buffer_char(text, *reader->at++);
        else if (c == '"')
            inside = !inside;
        else
            buffer_char(text, c);
    }
    if (inside)
        return wrong(reader, error, "a quote is not closed");
    if (buffer_failed(text))
        return text->size == text->maximum ? wrong(reader, error, "a word is too long") : error_memory(error);
    return MOSAIC_OK;
}

static mosaic_status take_field(struct auth_reader *reader, struct arena *arena, struct auth_field *field,
                                struct buffer *text, mosaic_error *error)
{
    size_t capacity = 0;
    struct auth_word *words = NULL;
    bool comma = true;
    for (field->count = 0; comma; field->count++) {
        struct auth_word word;
        skip_blanks(reader);
        if (field->count > 0 && (reader->at == reader->end || *reader->at == '\n'))
            break;
        if (field->count == AUTH_WORDS_MOST)
            return wrong(reader, error, "a list of more than 1000 words");
        buffer_clear(text);
        mosaic_status status = take_word(reader, text, &word.quoted, error);
        if (status)
            return status;
        if (field->count == capacity) {
            capacity = capacity ? 4 * capacity : 1;
            struct auth_word *grown = arena_allocate(arena, capacity * sizeof *grown);
            if (!grown)
                return error_memory(error);
            if (field->count)
                memcpy(grown, words, field->count * sizeof *grown);
            words = grown;
        }
        word.text = arena_copy(arena, buffer_string(text), text->size);
        if (!word.text)
            return error_memory(error);
        words[field->count] = word;
        comma = reader->at < reader->end && *reader->at == ',';
    }
    field->words = words;
    return MOSAIC_OK;
}

static mosaic_status take_line(struct auth_reader *reader, struct arena *arena, struct auth_line *line,
                               struct buffer *text, mosaic_error *error)
{
    line->count = 0;
    while (line->count == 0 && reader->at < reader->end) {
        skip_blanks(reader);
        line->number = reader->number;
        while (reader->at < reader->end && *reader->at != '\n') {
            if (line->count == AUTH_FIELDS_MOST)
                return wrong(reader, error, "more than 32 fields");
            mosaic_status status = take_field(reader, arena, &line->fields[line->count], text, error);
            if (status)
                return status;
            line->count++;
            skip_blanks(reader);
        }
        if (reader->at < reader->end) {
            reader->at++;
            reader->number++;
        }
    }
    return MOSAIC_OK;
}

mosaic_status auth_lines_next(struct auth_reader *reader, struct arena *arena, struct auth_line *line,
                              mosaic_error *error)
{
    struct buffer text = BUFFER_INIT(WORD_MOST);
    mosaic_status status = take_line(reader, arena, line, &text, error);
    buffer_free(&text);
    return status;
}

bool auth_word_is(const struct auth_word *word, const char *keyword)
{
    return !word->quoted && strcmp(word->text, keyword) == 0;
}
