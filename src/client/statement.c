#define _GNU_SOURCE /* strcasestr */
#include "client/statement.h"

#include "client/called.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { PARAMETERS_MOST = 65535 /* the protocol counts them in 16 bits */ };

static const struct {
    const char *word;
    enum statement_kind kind;
} words[] = {
#define X(identifier, word, kind) {word, STATEMENT_##kind},
    STATEMENT_WORD_LIST(X)
#undef X
};

/* Comments in SQL nest. */
static const char *skip_block_comment(const char *at)
{
    int depth = 0;
    do {
        if (at[0] == '/' && at[1] == '*') {
            depth++;
            at += 2;
        } else if (at[0] == '*' && at[1] == '/') {
            depth--;
            at += 2;
        } else {
            at++;
        }
    } while (depth && *at);
    return at;
}

static const char *skip_to_word(const char *at)
{
    for (;;) {
        while (isspace((unsigned char)*at) || *at == '(' || *at == ';')
            at++;
        if (at[0] == '-' && at[1] == '-')
            at += strcspn(at, "\r\n");
        else if (at[0] == '/' && at[1] == '*')
            at = skip_block_comment(at);
        else
            return at;
    }
}

enum statement_kind statement_kind(const char *sql)
{
    const char *word = skip_to_word(sql);
    size_t size = 0;
    while (isalnum((unsigned char)word[size]) || word[size] == '_')
        size++;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i].word) == size && strncasecmp(words[i].word, word, size) == 0)
            return words[i].kind;
    return STATEMENT_OTHER;
}

bool statement_marks_session(const char *sql)
{
    /* What a data statement can still do: SELECT INTO TEMP, and whatever a function does that it calls. */
    return statement_kind(sql) != STATEMENT_DATA || strcasestr(sql, "temp") || !called_is_harmless(sql);
}

static bool names_byte_collation(const char *at)
{
    static const char *const names[] = {"\"C\"", "\"POSIX\"", "ucs_basic", "\"ucs_basic\""};
    at = skip_to_word(at);
    if (strncasecmp(at, "pg_catalog.", 11) == 0)
        at += 11;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(at, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

size_t statement_byte_collations(const char *sql)
{
    size_t count = 0;
    for (const char *at = sql; (at = strcasestr(at, "collate"));) {
        at += strlen("collate");
        count += names_byte_collation(at);
    }
    return count;
}

mosaic_status statement_check(const mosaic_statement *statement, mosaic_error *error)
{
    if (!statement || !statement->sql)
        return error_set(error, MOSAIC_USAGE, "no statement given");
    if (statement->count < 0 || statement->count > PARAMETERS_MOST)
        return error_set(error, MOSAIC_USAGE, "the statement has %d parameters: 0 to %d are possible", statement->count,
                         PARAMETERS_MOST);
    if (statement->count && !statement->values)
        return error_set(error, MOSAIC_USAGE, "the statement has %d parameters but no values", statement->count);
    if (statement->result_format != 0 && statement->result_format != 1)
        return error_set(error, MOSAIC_USAGE, "the result format is %d: 0 is text, 1 binary", statement->result_format);
    for (int i = 0; statement->formats && i < statement->count; i++) {
        int format = statement->formats[i];
        if (format != 0 && format != 1)
            return error_set(error, MOSAIC_USAGE, "the format of parameter $%d is %d: 0 is text, 1 binary", i + 1,
                             format);
        if (format == 1 && statement->values[i] && (!statement->lengths || statement->lengths[i] < 0))
            return error_set(error, MOSAIC_USAGE, "the binary parameter $%d has no length", i + 1);
    }
    return MOSAIC_OK;
}

static const char *copy_value(struct arena *arena, const mosaic_statement *statement, int i)
{
    const char *value = statement->values[i];
    bool binary = statement->formats && statement->formats[i] == 1;
    return arena_copy(arena, value, binary ? (size_t)statement->lengths[i] : strlen(value));
}

static const void *copy_array(struct arena *arena, const void *array, size_t size)
{
    return array && size ? arena_copy(arena, array, size) : NULL;
}

bool statement_copy(struct arena *arena, const mosaic_statement *statement, mosaic_statement *copy)
{
    size_t count = (size_t)statement->count;
    const char **values = arena_zeroed(arena, count, sizeof *values);
    *copy = *statement;
    copy->sql = arena_string(arena, statement->sql);
    copy->values = values;
    copy->types = copy_array(arena, statement->types, count * sizeof *copy->types);
    copy->lengths = copy_array(arena, statement->lengths, count * sizeof *copy->lengths);
    copy->formats = copy_array(arena, statement->formats, count * sizeof *copy->formats);
    if (!copy->sql || !values)
        return false;
    if (count && ((statement->types && !copy->types) || (statement->lengths && !copy->lengths) ||
                  (statement->formats && !copy->formats)))
        return false;
    for (int i = 0; i < statement->count; i++)
        if (statement->values[i] && !(values[i] = copy_value(arena, statement, i)))
            return false;
    return true;
}

static bool copy_parts(struct arena *arena, mosaic_key key, mosaic_key *copy)
{
    const mosaic_key *parts = key.data;
    mosaic_key *copies = arena_zeroed(arena, key.size, sizeof *copies);
    if (!copies)
        return false;
    for (size_t i = 0; i < key.size; i++)
        if (parts[i].kind == MOSAIC_KEY_COMPOSITE || !statement_copy_key(arena, parts[i], &copies[i]))
            return false;
    copy->data = copies;
    return true;
}

bool statement_copy_key(struct arena *arena, mosaic_key key, mosaic_key *copy)
{
    *copy = key;
    if (!key.data)
        return true;
    switch (key.kind) {
    case MOSAIC_KEY_INT64:
        return true;
    case MOSAIC_KEY_COMPOSITE:
        return copy_parts(arena, key, copy);
    case MOSAIC_KEY_UUID:
        return (copy->data = arena_copy(arena, key.data, 16)) != NULL;
    default:
        return (copy->data = arena_copy(arena, key.data, key.size)) != NULL;
    }
}
