#include "sql/parse.h"

#include <pg_query.h>
#include <stdlib.h>
#include <string.h>

#include "sql/nodes.h"

/* What parser.o (scripts/parser-object) exports. */
struct parse_result {
    List *tree;
    char *stderr_buffer;
    PgQueryError *error;
};
struct parse_result pg_query_raw_parse(const char *input);
void pg_query_free_error(PgQueryError *error);
MemoryContext pg_query_enter_memory_context(void);
void pg_query_exit_memory_context(MemoryContext context);

/* What a text is refused with before the parser sees it. */
static const char *refused_unseen(const char *text, size_t size)
{
    if (size > PARSE_BYTES_MOST)
        return "the text is too long";
    return memchr(text, '\0', size) ? "invalid byte sequence for encoding \"UTF8\": 0x00" : NULL;
}

/* Parses in the open context. *error is malloc'ed by the parser. */
static mosaic_status raw_parse(const char *text, size_t size, const void **statements, PgQueryError **refused,
                               mosaic_error *error)
{
    char *copy = memory_allocate(size + 1);
    if (!copy)
        return error_memory(error);
    memcpy(copy, text, size), copy[size] = '\0';
    struct parse_result result = pg_query_raw_parse(copy);
    memory_free(copy);
    free(result.stderr_buffer);
    *statements = result.error ? NULL : result.tree;
    *refused = result.error;
    return MOSAIC_OK;
}

mosaic_status parse_open(struct parse *parse, const char *text, size_t size, mosaic_error *error)
{
    *parse = (struct parse){.refused = refused_unseen(text, size)};
    if (parse->refused)
        return MOSAIC_OK;
    parse->context = pg_query_enter_memory_context();
    PgQueryError *refused = NULL;
    mosaic_status status = raw_parse(text, size, &parse->statements, &refused, error);
    parse->error = refused;
    if (refused)
        parse->refused = refused->message, parse->refused_at = refused->cursorpos;
    return status;
}

const void *parse_more(struct parse *parse, const char *text, size_t size)
{
    const void *statements = NULL;
    PgQueryError *refused = NULL;
    if (!parse->context || refused_unseen(text, size) ||
        raw_parse(text, size, &statements, &refused, NULL) != MOSAIC_OK)
        return NULL;
    if (refused)
        pg_query_free_error(refused);
    return statements;
}

void parse_close(struct parse *parse)
{
    if (parse->error)
        pg_query_free_error(parse->error);
    if (parse->context)
        pg_query_exit_memory_context(parse->context);
    *parse = (struct parse){0};
}
