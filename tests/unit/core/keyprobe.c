/*
 * The C functions for tests in other languages. Reads lines of tab-separated fields and answers each with one line.
 *
 *     bucket FUNCTION TYPE[,TYPE…] B KEY…          → the bucket, or "error: …"
 *     bucket range:BOUND|BOUND TYPE 0 KEY          (B follows from the bounds; list:VALUE|VALUE likewise)
 *     sql FUNCTION TYPE[,TYPE…] B COLUMN…          → sql_bucket
 *     owned FUNCTION TYPE[,TYPE…] B N SHARD MOVED COLUMN…   → sql_owned; MOVED: initial, or owners as o,o,o,… repeated
 * over B support FUNCTION TYPE[,TYPE…] B              → sql_support_functions
 *
 * A field is escaped as in COPY text: \t, \n, \r, \\. Answers are escaped likewise.
 */
#include "base/buffer.h"
#include "base/error.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELDS_MOST = 32 };

struct request {
    char *fields[FIELDS_MOST];
    size_t sizes[FIELDS_MOST];
    int count;
    struct rule rule;
    struct arena arena;
};

static size_t unescape(char *field)
{
    char *to = field;
    for (const char *from = field; *from; from++) {
        char c = *from;
        if (c == '\\' && from[1]) {
            from++;
            c = *from == 't' ? '\t' : *from == 'n' ? '\n' : *from == 'r' ? '\r' : *from;
        }
        *to++ = c;
    }
    *to = '\0';
    return (size_t)(to - field);
}

static void split(struct request *request, char *line)
{
    line[strcspn(line, "\n")] = '\0';
    request->count = 0;
    while (line && request->count < FIELDS_MOST) {
        char *next = strchr(line, '\t');
        if (next)
            *next++ = '\0';
        request->sizes[request->count] = unescape(line);
        request->fields[request->count++] = line;
        line = next;
    }
}

static bool read_types(struct rule *rule, char *types)
{
    for (char *next; types; types = next) {
        next = strchr(types, ',');
        size_t size = next ? (size_t)(next++ - types) : strlen(types);
        if (rule->columns == KEY_COLUMNS_MAX || !type_by_name(types, size, &rule->types[rule->columns++]))
            return false;
    }
    return true;
}

static bool read_bounds(struct request *request, char *texts, mosaic_error *error)
{
    const char **bound_texts = arena_allocate(&request->arena, sizeof *bound_texts * 64);
    struct key_value *bounds = arena_allocate(&request->arena, sizeof *bounds * 64);
    uint32_t count = 0;
    for (char *next; texts && count < 64; texts = next, count++) {
        next = strchr(texts, '|');
        if (next)
            *next++ = '\0';
        bound_texts[count] = texts;
        if (key_from_text(request->rule.types[0], "bound", texts, strlen(texts), &request->arena, &bounds[count],
                          error))
            return false;
    }
    request->rule.buckets = request->rule.function == FUNCTION_RANGE ? count + 1 : count;
    request->rule.bounds = bounds;
    request->rule.bound_texts = bound_texts;
    return true;
}

static bool read_rule(struct request *request, mosaic_error *error)
{
    struct rule *rule = &request->rule;
    *rule = (struct rule){0};
    char *bounds = strchr(request->fields[1], ':');
    if (bounds)
        *bounds++ = '\0';
    error_set(error, MOSAIC_USAGE, "bad request");
    if (request->count < 4 || !function_by_name(request->fields[1], &rule->function) ||
        !read_types(rule, request->fields[2]))
        return false;
    rule->buckets = (uint32_t)strtoul(request->fields[3], NULL, 10);
    if (bounds && !read_bounds(request, bounds, error))
        return false;
    return rule_check(rule, 0, error) == MOSAIC_OK;
}

static mosaic_status answer_bucket(struct request *request, struct buffer *answer, mosaic_error *error)
{
    struct key_value values[KEY_COLUMNS_MAX];
    for (size_t i = 0; i < request->rule.columns; i++) {
        mosaic_status status = key_from_text(request->rule.types[i], "k", request->fields[4 + i], request->sizes[4 + i],
                                             &request->arena, &values[i], error);
        if (status != MOSAIC_OK)
            return status;
    }
    uint32_t bucket;
    mosaic_status status = rule_bucket(&request->rule, values, &bucket, error);
    if (status == MOSAIC_OK)
        buffer_format(answer, "%" PRIu32, bucket);
    return status;
}

static void answer_owned(struct request *request, struct buffer *answer)
{
    uint32_t shards = (uint32_t)strtoul(request->fields[4], NULL, 10), buckets = request->rule.buckets;
    uint32_t shard = (uint32_t)strtoul(request->fields[5], NULL, 10);
    uint16_t *owner = arena_allocate(&request->arena, buckets * sizeof *owner);
    uint16_t pattern[64];
    uint32_t count = 0;
    bool initial = strcmp(request->fields[6], "initial") == 0;
    for (char *at = request->fields[6]; !initial && *at && count < 64; at += *at == ',')
        pattern[count++] = (uint16_t)strtoul(at, &at, 10);
    for (uint32_t b = 0; b < buckets; b++)
        owner[b] = initial ? (uint16_t)(b % shards) : pattern[b % count];
    struct map map = {.epoch = 1, .buckets = buckets, .shards = shards, .owner = owner};
    sql_owned(answer, &request->rule, (const char *const *)request->fields + 7, &map, shard);
}

static mosaic_status answer_request(struct request *request, struct buffer *answer, mosaic_error *error)
{
    if (!read_rule(request, error))
        return error->status;
    const char *verb = request->fields[0];
    if (strcmp(verb, "bucket") == 0)
        return answer_bucket(request, answer, error);
    if (strcmp(verb, "sql") == 0)
        sql_bucket(answer, &request->rule, (const char *const *)request->fields + 4);
    else if (strcmp(verb, "owned") == 0)
        answer_owned(request, answer);
    else
        sql_support_functions(answer, &request->rule);
    return buffer_failed(answer) ? error_memory(error) : MOSAIC_OK;
}

static void print_escaped(const char *text)
{
    for (; *text; text++) {
        const char *escape = *text == '\n'   ? "\\n"
                             : *text == '\t' ? "\\t"
                             : *text == '\r' ? "\\r"
                             : *text == '\\' ? "\\\\"
                                             : NULL;
        if (escape)
            fputs(escape, stdout);
        else
            putchar(*text);
    }
    putchar('\n');
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    struct buffer answer = BUFFER_INIT(1 << 20);
    struct request request = {.arena = ARENA_INIT};
    while (getline(&line, &capacity, stdin) > 0) {
        mosaic_error error = {.message = ""};
        split(&request, line);
        mosaic_status status = answer_request(&request, &answer, &error);
        if (status != MOSAIC_OK)
            printf("error: ");
        print_escaped(status == MOSAIC_OK ? buffer_string(&answer) : error.message);
        buffer_clear(&answer);
        arena_reset(&request.arena);
    }
    free(line);
    buffer_free(&answer);
    arena_free(&request.arena);
    return 0;
}
