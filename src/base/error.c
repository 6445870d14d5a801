#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifndef MOSAIC_VERSION
#error "MOSAIC_VERSION comes from meson.build"
#endif

static const struct {
    const char *name, *sqlstate, *meaning;
} statuses[] = {
#define X(name, sqlstate, meaning) {#name, sqlstate, meaning},
    MOSAIC_STATUS_LIST(X)
#undef X
};

enum { STATUS_COUNT = sizeof statuses / sizeof statuses[0] };

const char *mosaic_status_name(mosaic_status status)
{
    return (unsigned)status < STATUS_COUNT ? statuses[status].name : "?";
}

const char *mosaic_status_meaning(mosaic_status status)
{
    return (unsigned)status < STATUS_COUNT ? statuses[status].meaning : "?";
}

const char *mosaic_version(void)
{
    return MOSAIC_VERSION;
}

/* Cuts a UTF-8 text that was truncated to `size - 1` bytes back to a whole character. */
static void cut_at_character(char *text, size_t size, size_t wanted)
{
    if (wanted < size)
        return;
    size_t end = size - 1;
    while (end > 0 && ((unsigned char)text[end - 1] & 0xC0) == 0x80)
        end--;
    if (end > 0 && (unsigned char)text[end - 1] >= 0xC0)
        end--;
    else
        end = size - 1; /* it ended on a one-byte character */
    text[end] = '\0';
}

static void format_text(char *text, size_t size, const char *format, va_list arguments)
{
    int wanted = vsnprintf(text, size, format, arguments);
    if (wanted >= 0)
        cut_at_character(text, size, (size_t)wanted);
}

mosaic_status error_set(mosaic_error *error, mosaic_status status, const char *format, ...)
{
    if (!error)
        return status;
    va_list arguments;
    va_start(arguments, format);
    error->status = status;
    snprintf(error->sqlstate, sizeof error->sqlstate, "%s", statuses[status].sqlstate);
    error->shard[0] = error->detail[0] = error->hint[0] = '\0';
    format_text(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return status;
}

#define DEFINE_PART(part)                                                    \
    mosaic_status error_##part(mosaic_error *error, const char *format, ...) \
    {                                                                        \
        if (!error)                                                          \
            return MOSAIC_INTERNAL;                                          \
        va_list arguments;                                                   \
        va_start(arguments, format);                                         \
        format_text(error->part, sizeof error->part, format, arguments);     \
        va_end(arguments);                                                   \
        return error->status;                                                \
    }
DEFINE_PART(detail)
DEFINE_PART(hint)

mosaic_status error_shard(mosaic_error *error, const char *shard)
{
    if (!error)
        return MOSAIC_INTERNAL;
    snprintf(error->shard, sizeof error->shard, "%s", shard ? shard : "");
    return error->status;
}

mosaic_status error_sqlstate(mosaic_error *error, const char *sqlstate)
{
    if (!error)
        return MOSAIC_INTERNAL;
    snprintf(error->sqlstate, sizeof error->sqlstate, "%s", sqlstate);
    return error->status;
}

mosaic_status error_prefix(mosaic_error *error, const char *format, ...)
{
    if (!error)
        return MOSAIC_INTERNAL;
    char rest[sizeof error->message];
    memcpy(rest, error->message, sizeof rest);
    va_list arguments;
    va_start(arguments, format);
    format_text(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    size_t used = strlen(error->message);
    int wanted = snprintf(error->message + used, sizeof error->message - used, ": %s", rest);
    if (wanted >= 0)
        cut_at_character(error->message, sizeof error->message, used + (size_t)wanted);
    return error->status;
}

mosaic_status error_memory(mosaic_error *error)
{
    return error_set(error, MOSAIC_MEMORY, "out of memory");
}

mosaic_status error_errno(mosaic_error *error, const char *format, ...)
{
    int saved = errno;
    char what[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return error_set(error, MOSAIC_IO, "%s: %s", what, strerror(saved));
}
