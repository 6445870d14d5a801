#include "sql/rows.h"

#include "sql/words.h"

#include <string.h>

static bool is_sign(const struct word *word, char sign)
{
    return word->kind == WORD_SIGN && *word->text == sign;
}

static bool is_name(const struct word *word)
{
    return word->kind == WORD_NAME || word->kind == WORD_QUOTED;
}

/* ---- before VALUES ---- */

struct head {
    const char *text;
    size_t size, at;
    struct word word; /* of a group, its parenthesis */
    size_t words;     /* behind this one */
    bool ended;
};

static size_t place(const struct head *head)
{
    return (size_t)(head->word.text - head->text);
}

static void next(struct head *head)
{
    struct word word;
    head->ended = !words_next(head->text, head->size, &head->at, &head->word);
    if (head->ended) {
        head->word = (struct word){WORD_SIGN, "", 0};
        return;
    }
    head->words++;
    for (size_t depth = is_sign(&head->word, '('); depth && words_next(head->text, head->size, &head->at, &word);)
        depth += (size_t)is_sign(&word, '(') - (size_t)is_sign(&word, ')');
}

/* Behind what is a name, or names with dots; false: it is none. */
static bool skip_name(struct head *head)
{
    while (is_name(&head->word)) {
        next(head);
        if (!is_sign(&head->word, '.'))
            return true;
        next(head);
    }
    return false;
}

bool rows_words(const char *text, size_t size, size_t start, size_t name, size_t *words)
{
    struct head head = {.text = text, .size = size, .at = start};
    do
        next(&head);
    while (!head.ended && place(&head) < name);
    if (head.ended || place(&head) != name || !skip_name(&head))
        return false;
    if (word_is(&head.word, "as")) {
        next(&head);
        if (!skip_name(&head))
            return false;
    }
    if (is_sign(&head.word, '('))
        next(&head);
    if (word_is(&head.word, "overriding")) {
        next(&head);
        next(&head);
        if (!word_is(&head.word, "value"))
            return false;
        next(&head);
    }
    *words = head.words - 1;
    return word_is(&head.word, "values");
}

/* ---- rows ---- */

enum part { PART_HEAD, PART_ROW, PART_BETWEEN, PART_TAIL };

struct reader {
    const char *text;
    struct arena *arena;
    struct rows *rows;
    size_t most;            /* rows */
    size_t before;          /* words before VALUES that are still to come */
    size_t depth, capacity; /* of parentheses; of the parameters */
    enum part part;
    enum rows_outcome outcome;
};

static void add_parameter(struct reader *reader, const struct word *word, uint32_t start)
{
    struct rows *rows = reader->rows;
    if (rows->parameter_count == reader->capacity) {
        size_t capacity = reader->capacity ? 2 * reader->capacity : 16;
        struct row_parameter *larger = arena_allocate(reader->arena, capacity * sizeof *larger);
        if (!larger) {
            reader->outcome = ROWS_MEMORY;
            return;
        }
        if (rows->parameter_count)
            memcpy(larger, rows->parameters, rows->parameter_count * sizeof *larger);
        rows->parameters = larger, reader->capacity = capacity;
    }
    uint32_t number = 0;
    for (size_t i = 1; i < word->size && number < 100000; i++)
        number = number * 10 + (uint32_t)(word->text[i] - '0');
    rows->parameters[rows->parameter_count++] = (struct row_parameter){start, start + (uint32_t)word->size, number};
}

/* A word outside of all parentheses, a group's first one included. */
static void read_outside(struct reader *reader, const struct word *word, uint32_t start)
{
    struct rows *rows = reader->rows;
    bool opens = is_sign(word, '(');
    switch (reader->part) {
    case PART_HEAD:
        if (reader->before)
            reader->before--;
        else if (word_is(word, "values"))
            reader->part = PART_ROW;
        else
            reader->outcome = ROWS_OTHER;
        break;
    case PART_ROW:
        if (opens && rows->count < reader->most)
            rows->list[rows->count] = (struct row_piece){.start = start, .values = 1};
        else
            reader->outcome = ROWS_OTHER;
        break;
    case PART_BETWEEN:
        reader->part = is_sign(word, ',') ? PART_ROW : PART_TAIL;
        break;
    case PART_TAIL:
        break;
    }
}

static void read_word(struct reader *reader, const struct word *word)
{
    struct rows *rows = reader->rows;
    uint32_t start = (uint32_t)(word->text - reader->text);
    if (!reader->depth)
        read_outside(reader, word, start);
    if (word->kind == WORD_NAME && *word->text == '$')
        add_parameter(reader, word, start);
    if (word->kind != WORD_SIGN)
        return;
    if (*word->text == ',' && reader->depth == 1 && reader->part == PART_ROW)
        rows->list[rows->count].values++;
    /* Brackets open no row, but hide commas. */
    reader->depth += *word->text == '(' || *word->text == '[';
    if (*word->text != ')' && *word->text != ']')
        return;
    if (!reader->depth) {
        reader->outcome = ROWS_OTHER;
        return;
    }
    if (!--reader->depth && reader->part == PART_ROW) {
        rows->list[rows->count++].end = start + 1;
        reader->part = PART_BETWEEN;
    }
}

enum rows_outcome rows_read(const char *text, size_t size, size_t start, size_t words, size_t count,
                            struct arena *arena, struct rows *rows)
{
    struct reader reader = {.text = text, .arena = arena, .rows = rows, .most = count, .before = words};
    struct word word;
    *rows = (struct rows){.list = arena_allocate(arena, (count + 1) * sizeof *rows->list)};
    if (!rows->list)
        return ROWS_MEMORY;
    for (size_t at = start; reader.outcome == ROWS_FOUND && words_next(text, size, &at, &word);)
        read_word(&reader, &word);
    bool whole = rows->count == count && !reader.depth && (reader.part == PART_BETWEEN || reader.part == PART_TAIL);
    return reader.outcome == ROWS_FOUND && !whole ? ROWS_OTHER : reader.outcome;
}
