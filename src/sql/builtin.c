/*
 * Reads builtin.inc: a line a thing, words parted by one blank.
 *
 *     r schema name oid kind {column number type modifier not_null}…
 *     t schema name oid kind category base base_modifier element array relation
 *     f schema name oid kind volatility returns_set is_strict result argument…
 *
 * schema: p pg_catalog, i information_schema. The text is ours: it is counted, not checked.
 */
#include "sql/builtin.h"

#include "base/error.h"

#include <string.h>

static const char builtin_facts[] =
#include "builtin.inc"
    ;

struct reader {
    struct arena *arena;
    struct builtin *builtin;
    char *at; /* in a copy of the facts, whose blanks become zeros */
};

/* By hand, since the sanitizers look at the whole text behind what strcspn, strtol and strchr are given. */

static const char *word(struct reader *reader)
{
    const char *start = reader->at;
    while (*reader->at != ' ' && *reader->at != '\n')
        reader->at++;
    if (*reader->at == ' ')
        *reader->at++ = '\0';
    return start;
}

static uint32_t number(struct reader *reader)
{
    const char *at = word(reader);
    bool negative = *at == '-';
    uint32_t value = 0;
    for (at += negative; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint32_t)(*at - '0');
    return negative ? -value : value;
}

static char letter(struct reader *reader)
{
    return word(reader)[0];
}

static const char *namespace(struct reader *reader)
{
    return letter(reader) == 'p' ? "pg_catalog" : "information_schema";
}

static size_t words_left(const struct reader *reader)
{
    size_t count = 0;
    for (const char *at = reader->at; *at != '\n'; at++)
        count += *at == ' ' || !count;
    return count;
}

static bool read_relation(struct reader *reader)
{
    struct schema_relation *relation = &reader->builtin->relations[reader->builtin->relation_count++];
    relation->schema = namespace(reader);
    relation->name = word(reader);
    relation->oid = number(reader);
    relation->kind = letter(reader);
    relation->placement = PLACE_SYSTEM;
    size_t count = words_left(reader) / 5;
    struct schema_column *columns = arena_zeroed(reader->arena, count, sizeof *columns);
    if (!columns)
        return false;
    for (size_t i = 0; i < count; i++) {
        columns[i].name = word(reader);
        columns[i].number = (int16_t)number(reader);
        columns[i].type = number(reader);
        columns[i].modifier = (int32_t)number(reader);
        columns[i].not_null = letter(reader) == 't';
        columns[i].deterministic = true;
    }
    relation->columns = columns;
    relation->column_count = count;
    return true;
}

static bool read_type(struct reader *reader)
{
    struct schema_type *type = &reader->builtin->types[reader->builtin->type_count++];
    type->schema = namespace(reader);
    type->name = word(reader);
    type->oid = number(reader);
    type->kind = letter(reader);
    type->category = letter(reader);
    type->base = number(reader);
    type->base_modifier = (int32_t)number(reader);
    type->element = number(reader);
    type->array = number(reader);
    type->relation = number(reader);
    return true;
}

static bool read_function(struct reader *reader)
{
    struct schema_function *function = &reader->builtin->functions[reader->builtin->function_count++];
    function->schema = namespace(reader);
    function->name = word(reader);
    function->oid = number(reader);
    function->kind = letter(reader);
    function->volatility = letter(reader);
    function->returns_set = letter(reader) == 't';
    function->is_strict = letter(reader) == 't';
    function->is_system = strcmp(function->schema, "pg_catalog") == 0;
    function->result = number(reader);
    size_t count = words_left(reader);
    if (!count)
        return true;
    uint32_t *arguments = arena_allocate(reader->arena, count * sizeof *arguments);
    if (!arguments)
        return false;
    for (size_t i = 0; i < count; i++)
        arguments[i] = number(reader);
    function->arguments = arguments;
    function->argument_count = count;
    return true;
}

static size_t count_lines(char kind)
{
    size_t count = builtin_facts[0] == kind;
    for (size_t i = 1; i < sizeof builtin_facts; i++)
        count += builtin_facts[i - 1] == '\n' && builtin_facts[i] == kind;
    return count;
}

mosaic_status builtin_read(struct arena *arena, struct builtin *builtin, mosaic_error *error)
{
    struct reader reader = {arena, builtin, arena_copy(arena, builtin_facts, sizeof builtin_facts - 1)};
    *builtin = (struct builtin){
        .relations = arena_zeroed(arena, count_lines('r'), sizeof *builtin->relations),
        .types = arena_zeroed(arena, count_lines('t'), sizeof *builtin->types),
        .functions = arena_zeroed(arena, count_lines('f'), sizeof *builtin->functions),
    };
    if (!reader.at || !builtin->relations || !builtin->types || !builtin->functions)
        return error_memory(error);
    while (*reader.at) {
        char kind = letter(&reader);
        if (!(kind == 'r' ? read_relation : kind == 't' ? read_type : read_function)(&reader))
            return error_memory(error);
        *reader.at++ = '\0'; /* the line's end */
    }
    return MOSAIC_OK;
}
