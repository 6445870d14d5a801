#include "config/pgbouncer_ini.h"

#include "base/buffer.h"

#include <string.h>

enum { LINE_MOST = 65536 };

mosaic_status ini_refuse(const struct ini_reader *reader, int line, const char *what)
{
    (void)!error_set(reader->error, MOSAIC_CONFIG, "%s:%d: %s", reader->source, line, what);
    return error_hint(reader->error, "as in https://www.pgbouncer.org/config.html");
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static const char *trimmed(const struct ini_reader *reader, const char *from, const char *end)
{
    while (from < end && is_blank(*from))
        from++;
    while (end > from && is_blank(end[-1]))
        end--;
    return arena_copy(reader->arena, from, (size_t)(end - from));
}

/* The name before =, which in [databases] may be in double quotes. */
static const char *take_name(const struct ini_reader *reader, const char **at, const char *end)
{
    const char *from = *at, *equals = memchr(from, '=', (size_t)(end - from));
    if (*from != '"') {
        *at = equals ? equals + 1 : end;
        const char *name = equals ? trimmed(reader, from, equals) : "";
        return name && (!*name || name[strcspn(name, " \t")]) ? "" : name;
    }
    struct buffer name = BUFFER_INIT(LINE_MOST);
    for (from++; from < end && (*from != '"' || (from + 1 < end && from[1] == '"')); from++) {
        from += *from == '"';
        buffer_char(&name, *from);
    }
    equals = from < end ? memchr(from, '=', (size_t)(end - from)) : NULL;
    *at = equals ? equals + 1 : end;
    const char *kept = equals ? arena_string(reader->arena, buffer_string(&name)) : "";
    buffer_free(&name);
    return kept;
}

static mosaic_status take_line(const struct ini_reader *reader, const char *from, const char *end, int line,
                               const char **section)
{
    while (from < end && is_blank(*from))
        from++;
    if (from == end || *from == ';' || *from == '#')
        return MOSAIC_OK;
    if (memchr(from, '\0', (size_t)(end - from)))
        return ini_refuse(reader, line, "a zero byte");
    if (*from == '%') {
        const char *directive = trimmed(reader, from, end);
        if (!directive)
            return error_memory(reader->error);
        reader->directive(reader->context, directive);
        return MOSAIC_OK;
    }
    if (*from == '[') {
        const char *close = memchr(from, ']', (size_t)(end - from));
        *section = close ? trimmed(reader, from + 1, close) : "";
        if (close && !*section)
            return error_memory(reader->error);
        return close ? MOSAIC_OK : ini_refuse(reader, line, "a section that is not closed by ]");
    }
    struct ini_entry entry = {.line = line, .name = take_name(reader, &from, end)};
    entry.value = trimmed(reader, from, end);
    if (!entry.name || !entry.value)
        return error_memory(reader->error);
    if (!*entry.name)
        return ini_refuse(reader, line, "neither a [section] nor name = value");
    return reader->take(reader->context, *section, &entry);
}

mosaic_status ini_read(const struct ini_reader *reader, const char *text, size_t size)
{
    const char *section = "", *end = text + size;
    mosaic_status status = MOSAIC_OK;
    for (int line = 1; text < end && status == MOSAIC_OK; line++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        if (!stop)
            stop = end;
        status = stop - text > LINE_MOST ? ini_refuse(reader, line, "the line is too long")
                                         : take_line(reader, text, stop, line, &section);
        text = stop < end ? stop + 1 : end;
    }
    return status;
}

bool ini_pair(struct arena *arena, const char **at, const char **name, const char **value, bool *bad)
{
    while (is_blank(**at))
        ++*at;
    if (!**at)
        return false;
    size_t size = strcspn(*at, "= \t");
    *name = arena_copy(arena, *at, size);
    *value = "";
    *at += size;
    while (is_blank(**at))
        ++*at;
    *bad = **at != '=' || !size;
    if (*bad)
        return false;
    for (++*at; is_blank(**at);)
        ++*at;
    char *to = arena_allocate(arena, strlen(*at) + 1);
    *value = to;
    bool quoted = **at == '\'';
    for (*at += quoted; to && **at && (quoted ? **at != '\'' || (*at)[1] == '\'' : !is_blank(**at)); ++*at) {
        *at += quoted && **at == '\'';
        *to++ = **at;
    }
    if (to)
        *to = '\0';
    *bad = !*name || !to || (quoted && **at != '\'');
    *at += quoted && **at == '\'';
    return !*bad;
}
