#include "cli/explain_source.h"

#include "base/buffer.h"
#include "catalog/assume.h"
#include "catalog/schema_read.h"
#include "cli/context.h"
#include "plan/hint.h"
#include "sql/schema_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { TIMEOUT_MS = 30000, FILE_MOST = 16 * 1024 * 1024, CACHE_BYTES = 64 * 1024 * 1024, PATH_MOST = 64 };

static mosaic_status read_file(const char *path, struct buffer *content, mosaic_error *error)
{
    FILE *stream = fopen(path, "r");
    if (!stream)
        return error_set(error, MOSAIC_NOT_FOUND, "cannot read %s: %s", path, strerror(errno));
    char *room;
    size_t got;
    while ((room = buffer_reserve(content, 65536)) && (got = fread(room, 1, 65536, stream)) > 0)
        buffer_added(content, got);
    bool broken = ferror(stream);
    fclose(stream);
    if (broken)
        return error_set(error, MOSAIC_IO, "cannot read %s", path);
    if (buffer_failed(content))
        return error_set(error, MOSAIC_LIMIT, "%s is larger than %d MiB", path, FILE_MOST / 1024 / 1024);
    return MOSAIC_OK;
}

static mosaic_status open_files(struct explain_source *source, const char *path, mosaic_error *error)
{
    struct buffer content = BUFFER_INIT(FILE_MOST);
    source->assumed = true;
    mosaic_status status = read_file(path, &content, error);
    if (status == MOSAIC_OK)
        status = schema_from_sql(buffer_string(&content), content.size, path, &source->model, &source->schema, error);
    if (status == MOSAIC_OK)
        status = catalog_assume(&source->model, &source->schema, error);
    buffer_free(&content);
    return status;
}

static mosaic_status open_servers(struct explain_source *source, mosaic_error *error)
{
    if (source->model.engine == ENGINE_CITUS) {
        error_set(error, MOSAIC_UNSUPPORTED, "cluster %s is Citus's: its coordinator takes every statement",
                  source->model.name);
        return error_hint(error, "EXPLAIN on the coordinator says what it does with one");
    }
    return schema_read_cluster(&source->model, "pgmosaic explain", pq_deadline(TIMEOUT_MS), &source->schema, NULL,
                               error);
}

/* pg_catalog comes first unless it is named. */
static mosaic_status set_path(struct explain_source *source, const char *given, mosaic_error *error)
{
    const char **path = arena_zeroed(&source->arena, PATH_MOST, sizeof *path);
    size_t count = 0;
    if (!path)
        return error_memory(error);
    if (!strstr(given, "pg_catalog"))
        path[count++] = "pg_catalog";
    while (*given && count < PATH_MOST) {
        size_t size = strcspn(given, ", ");
        if (size && !(path[count++] = arena_copy(&source->arena, given, size)))
            return error_memory(error);
        given += size + (given[size] != '\0');
    }
    source->context = (struct sql_context){.schema = &source->schema, .path = path, .path_count = count};
    return MOSAIC_OK;
}

mosaic_status explain_source_open(struct explain_source *source, const struct invocation *invocation,
                                  mosaic_error *error)
{
    const char *file = invocation_option(invocation, "schema"), *path = invocation_option(invocation, "search-path");
    *source = (struct explain_source){0};
    mosaic_status status = context_model(invocation, &source->model, error);
    if (status != MOSAIC_OK)
        return status;
    status = file ? open_files(source, file, error) : open_servers(source, error);
    if (status == MOSAIC_OK)
        status = set_path(source, path ? path : "public", error);
    if (status != MOSAIC_OK)
        return status;
    source->schema.version = 1;
    source->cache = plan_cache_new(CACHE_BYTES, 0);
    source->context_id = plan_cache_context(&source->context, 0);
    return source->cache ? MOSAIC_OK : error_memory(error);
}

void explain_source_close(struct explain_source *source)
{
    if (source->cache)
        plan_cache_free(source->cache);
    schema_free(&source->schema);
    model_free(&source->model);
    arena_free(&source->arena);
}

/* A field of CSV into the value; moves behind it. */
static mosaic_status take_field(struct arena *arena, const char **at, struct plan_value *value, mosaic_error *error)
{
    char *data = arena_allocate(arena, strlen(*at) + 1);
    size_t size = 0;
    bool quoted = **at == '"';
    if (!data)
        return error_memory(error);
    for (*at += quoted; **at && (quoted || **at != ','); ++*at) {
        if (quoted && **at == '"' && (*at)[1] != '"')
            break;
        *at += quoted && **at == '"';
        data[size++] = **at;
    }
    data[size] = '\0';
    if (quoted && **at != '"')
        return error_set(error, MOSAIC_USAGE, "--param: a quote is not closed");
    *at += quoted;
    if (**at && **at != ',')
        return error_set(error, MOSAIC_USAGE, "--param: a comma is missing before \"%s\"", *at);
    *value = (struct plan_value){.data = data, .size = !quoted && strcmp(data, "NULL") == 0 ? -1 : (int32_t)size};
    return MOSAIC_OK;
}

mosaic_status explain_parameters(struct arena *arena, const char *text, const struct plan_value **values, size_t *count,
                                 mosaic_error *error)
{
    struct plan_value *made = arena_zeroed(arena, strlen(text) + 1, sizeof *made);
    *values = made;
    *count = 0;
    if (!made)
        return error_memory(error);
    for (const char *at = text;; at++) {
        mosaic_status status = take_field(arena, &at, &made[*count], error);
        if (status != MOSAIC_OK)
            return status;
        ++*count;
        if (!*at)
            return MOSAIC_OK;
    }
}

static mosaic_status explain_facts(struct explain_source *source, const struct plan_cached *found, size_t at,
                                   const struct explain_text *text, const struct plan_hint *hint, struct arena *arena,
                                   explain_each_fn each, void *context, mosaic_error *error)
{
    struct plan_input values = {.schema = &source->schema,
                                .literals = found->literals,
                                .literal_count = found->literal_count,
                                .parameters = text->parameters,
                                .parameter_count = text->parameter_count,
                                .has_scatter = true,
                                .has_writes = true,
                                .has_streams = true,
                                .context = &source->context,
                                .has_coordinator = source->model.coordinator != NULL,
                                .hint = hint_is_empty(hint) ? NULL : hint};
    struct explain_input input = {&found->list->facts[at], &values, text->text, text->size};
    struct explanation explanation;
    mosaic_status status = explain_make(&input, arena, &explanation, error);
    return status == MOSAIC_OK ? each(context, &input, &explanation, error) : status;
}

static bool is_prepare(const struct facts_list *list)
{
    return list->count == 1 && list->facts[0].class == STATEMENT_PREPARE && list->facts[0].inner_start > 0;
}

mosaic_status explain_text(struct explain_source *source, const struct explain_text *text, struct arena *arena,
                           explain_each_fn each, void *context, mosaic_error *error)
{
    struct plan_hint hint;
    struct plan_cached found;
    mosaic_status status = hint_from_text(text->text, text->size, arena, &hint, error);
    if (status == MOSAIC_OK)
        status = hint_check(&source->model, &hint, error);
    if (status == MOSAIC_OK)
        status = plan_cache_find(source->cache, &source->context, source->context_id, text->text, text->size, 0, &found,
                                 error);
    if (status != MOSAIC_OK)
        return status;
    if (is_prepare(found.list)) {
        const struct facts *facts = &found.list->facts[0];
        size_t size = facts->inner_length ? (size_t)facts->inner_length : text->size - (size_t)facts->inner_start;
        struct explain_text inner = {text->text + facts->inner_start, size, text->parameters, text->parameter_count};
        return explain_text(source, &inner, arena, each, context, error);
    }
    for (size_t i = 0; status == MOSAIC_OK && i < found.list->count; i++)
        status = explain_facts(source, &found, i, text, &hint, arena, each, context, error);
    return status;
}
