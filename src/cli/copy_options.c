#include "cli/copy_options.h"

#include <string.h>

static mosaic_status character(const struct invocation *invocation, const char *name, char *value, mosaic_error *error)
{
    const char *text = invocation_option(invocation, name);
    if (!text)
        return MOSAIC_OK;
    *value = strcmp(text, "\\t") == 0 ? '\t' : text[0];
    if (!*value || (text[1] && *value != '\t'))
        return error_set(error, MOSAIC_USAGE, "--%s takes one character", name);
    return MOSAIC_OK;
}

mosaic_status copy_options_format(const struct invocation *invocation, struct copy_format *format, mosaic_error *error)
{
    const char *name = invocation_option(invocation, "format");
    *format = (struct copy_format){.null_text = invocation_option(invocation, "null")};
    if (name)
        format->kind = strcmp(name, "csv") == 0 ? MOSAIC_CSV : strcmp(name, "text") == 0 ? MOSAIC_TEXT : MOSAIC_BINARY;
    mosaic_status status = character(invocation, "delimiter", &format->delimiter, error);
    if (status == MOSAIC_OK)
        status = character(invocation, "quote", &format->quote, error);
    if (status == MOSAIC_OK)
        status = character(invocation, "escape", &format->escape, error);
    struct copy_format filled = *format;
    return status == MOSAIC_OK ? copy_format_check(&filled, error) : status;
}

mosaic_status copy_options_columns(const struct invocation *invocation, struct arena *arena, const char ***columns,
                                   size_t *count, mosaic_error *error)
{
    const char *list = invocation_option(invocation, "columns");
    struct copy_format csv = {.kind = MOSAIC_CSV};
    size_t next = 0, start, end, size = list ? strlen(list) : 0;
    *columns = NULL;
    *count = 0;
    if (!list)
        return MOSAIC_OK;
    mosaic_status status = copy_format_check(&csv, error);
    *columns = arena_zeroed(arena, size + 1, sizeof **columns);
    if (status != MOSAIC_OK || !*columns)
        return status == MOSAIC_OK ? error_memory(error) : status;
    while (copy_field_next(&csv, list, size, &next, &start, &end)) {
        const char *value;
        size_t value_size;
        bool is_null;
        if (!copy_field_value(&csv, list + start, end - start, arena, &value, &value_size, &is_null))
            return error_memory(error);
        if (value_size == 0)
            return error_set(error, MOSAIC_USAGE, "--columns has an empty name in it");
        (*columns)[*count] = arena_copy(arena, value, value_size);
        if (!(*columns)[(*count)++])
            return error_memory(error);
    }
    return MOSAIC_OK;
}
