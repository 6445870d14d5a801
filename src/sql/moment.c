#include "sql/moment.h"

#include "base/buffer.h"
#include "sql/words.h"

#include <stdint.h>
#include <string.h>

static const struct {
    const char *name;
    bool is_call;       /* behind it stands () */
    bool has_precision; /* a number in parentheses may */
    const char *type;   /* that the moment is cast to; NULL: it is one already */
} moments[] = {
    {"now", true, false, NULL},
    {"transaction_timestamp", true, false, NULL},
    {"current_timestamp", false, true, "timestamptz"},
    {"current_date", false, false, "date"},
    {"current_time", false, true, "timetz"},
    {"localtime", false, true, "time"},
    {"localtimestamp", false, true, "timestamp"},
};
enum { MOMENTS = sizeof moments / sizeof *moments };

struct found {
    size_t kind, start, end;
    struct word precision; /* size 0: none */
};

struct reader {
    const char *text;
    size_t size, at;
    struct word last, before;
};

static bool is_sign(const struct word *word, char sign)
{
    return word->kind == WORD_SIGN && word->size && *word->text == sign;
}

/* The parentheses behind a name. False: they are not what belongs there. */
static bool read_behind(const struct reader *reader, struct found *found)
{
    size_t at = reader->at;
    struct word word;
    bool opens = words_next(reader->text, reader->size, &at, &word) && is_sign(&word, '(');
    found->end = reader->at;
    if (!opens || (!moments[found->kind].is_call && !moments[found->kind].has_precision))
        return !moments[found->kind].is_call;
    if (!words_next(reader->text, reader->size, &at, &word))
        return false;
    if (!moments[found->kind].is_call) {
        found->precision = word;
        if (word.kind != WORD_NUMBER || !words_next(reader->text, reader->size, &at, &word))
            return false;
    }
    found->end = at;
    return is_sign(&word, ')');
}

/* The word that was read last but one stands before a dot; AS makes a name of anything. */
static bool is_moment(const struct reader *reader, const struct word *word, struct found *found)
{
    bool is_qualified = is_sign(&reader->last, '.');
    *found = (struct found){.start = (size_t)(word->text - reader->text)};
    while (found->kind < MOMENTS && !word_is(word, moments[found->kind].name))
        found->kind++;
    if (found->kind == MOMENTS || word_is(&reader->last, "as"))
        return false;
    if (is_qualified && (!moments[found->kind].is_call || !word_is(&reader->before, "pg_catalog")))
        return false;
    if (is_qualified)
        found->start = (size_t)(reader->before.text - reader->text);
    return read_behind(reader, found);
}

static bool next(struct reader *reader, struct found *found)
{
    struct word word;
    while (words_next(reader->text, reader->size, &reader->at, &word)) {
        bool is_one = is_moment(reader, &word, found);
        reader->before = reader->last, reader->last = word;
        if (is_one)
            return true;
    }
    return false;
}

size_t moment_count(const char *text, size_t size)
{
    struct reader reader = {.text = text, .size = size};
    struct found found;
    size_t count = 0;
    while (next(&reader, &found))
        count++;
    return count;
}

bool moment_names(const char *name)
{
    for (size_t i = 0; name && i < MOMENTS; i++)
        if (strcmp(name, moments[i].name) == 0)
            return true;
    return false;
}

char *moment_fill(struct arena *arena, const char *text, size_t size, const char *moment, size_t *filled)
{
    struct reader reader = {.text = text, .size = size};
    struct buffer out = BUFFER_INIT(SIZE_MAX / 2);
    struct found found;
    size_t at = 0;
    while (next(&reader, &found)) {
        const char *type = moments[found.kind].type;
        buffer_add(&out, text + at, found.start - at);
        buffer_format(&out, "('%s'::pg_catalog.timestamptz", moment);
        if (type)
            buffer_format(&out, "::pg_catalog.%s", type);
        if (found.precision.size)
            buffer_format(&out, "(%.*s)", (int)found.precision.size, found.precision.text);
        buffer_text(&out, ")");
        at = found.end;
    }
    buffer_add(&out, text + at, size - at);
    char *made = buffer_failed(&out) ? NULL : arena_allocate(arena, out.size + 1);
    if (made) {
        memcpy(made, buffer_string(&out), out.size);
        made[out.size] = '\0';
        *filled = out.size;
    }
    buffer_free(&out);
    return made;
}
