#include "copy/format.h"

#include "base/error.h"

#include <string.h>

static mosaic_status check_character(const char *name, char character, mosaic_error *error)
{
    if (character == '\n' || character == '\r' || (unsigned char)character >= 0x80)
        return error_set(error, MOSAIC_USAGE, "the %s must be one ASCII character that is no line end", name);
    return MOSAIC_OK;
}

static mosaic_status check_csv(const struct copy_format *format, mosaic_error *error)
{
    mosaic_status status = check_character("quote", format->quote, error);
    if (status == MOSAIC_OK)
        status = check_character("escape", format->escape, error);
    if (status != MOSAIC_OK)
        return status;
    if (format->quote == format->delimiter)
        return error_set(error, MOSAIC_USAGE, "delimiter and quote must differ");
    if (strchr(format->null_text, format->quote))
        return error_set(error, MOSAIC_USAGE, "the quote must not stand in the NULL text");
    return MOSAIC_OK;
}

static void fill_defaults(struct copy_format *format)
{
    bool csv = format->kind == MOSAIC_CSV;
    if (!format->delimiter)
        format->delimiter = csv ? ',' : '\t';
    if (!format->null_text)
        format->null_text = csv ? "" : "\\N";
    if (csv && !format->quote)
        format->quote = '"';
    if (csv && !format->escape)
        format->escape = format->quote;
    if (!format->row_limit)
        format->row_limit = COPY_ROW_LIMIT;
}

mosaic_status copy_format_check(struct copy_format *format, mosaic_error *error)
{
    bool csv = format->kind == MOSAIC_CSV;
    if ((unsigned)format->kind > MOSAIC_BINARY)
        return error_set(error, MOSAIC_USAGE, "no such format: %d", (int)format->kind);
    if (!csv && (format->quote || format->escape))
        return error_set(error, MOSAIC_USAGE, "quote and escape belong to the csv format");
    if (format->kind == MOSAIC_BINARY && (format->delimiter || format->null_text))
        return error_set(error, MOSAIC_USAGE, "the binary format has no delimiter and no NULL text");
    fill_defaults(format);
    if (format->row_limit > COPY_ROW_LIMIT_MOST)
        return error_set(error, MOSAIC_USAGE, "the row limit is at most %d bytes", COPY_ROW_LIMIT_MOST);
    if (format->kind == MOSAIC_BINARY)
        return MOSAIC_OK;
    mosaic_status status = check_character("delimiter", format->delimiter, error);
    if (status != MOSAIC_OK)
        return status;
    if (!csv && strchr("\\.abcdefghijklmnopqrstuvwxyz0123456789", format->delimiter))
        return error_set(error, MOSAIC_USAGE, "the delimiter of the text format cannot be \"%c\"", format->delimiter);
    if (strpbrk(format->null_text, "\r\n") || strchr(format->null_text, format->delimiter))
        return error_set(error, MOSAIC_USAGE, "the NULL text must have no delimiter and no line end");
    return csv ? check_csv(format, error) : MOSAIC_OK;
}

/* An E'' literal of a short text; quotes and backslashes doubled. */
static void add_literal(struct buffer *sql, const char *name, const char *text, size_t size)
{
    buffer_format(sql, ", %s E'", name);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\'' || text[i] == '\\')
            buffer_char(sql, text[i]);
        buffer_char(sql, text[i]);
    }
    buffer_char(sql, '\'');
}

void copy_format_sql(const struct copy_format *format, struct buffer *sql)
{
    static const char *const names[] = {[MOSAIC_CSV] = "csv", [MOSAIC_TEXT] = "text", [MOSAIC_BINARY] = "binary"};
    buffer_format(sql, "(FORMAT %s", names[format->kind]);
    if (format->kind != MOSAIC_BINARY) {
        add_literal(sql, "DELIMITER", &format->delimiter, 1);
        add_literal(sql, "NULL", format->null_text, strlen(format->null_text));
    }
    if (format->kind == MOSAIC_CSV) {
        add_literal(sql, "QUOTE", &format->quote, 1);
        add_literal(sql, "ESCAPE", &format->escape, 1);
    }
    buffer_char(sql, ')');
}

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that stands after the backslash at raw[-1]; *at moves behind it. */
static char text_escape(const char *raw, size_t size, size_t *at)
{
    char c = raw[(*at)++];
    if (is_octal(c)) {
        int value = c - '0';
        for (int more = 0; more < 2 && *at < size && is_octal(raw[*at]); more++)
            value = value * 8 + (raw[(*at)++] - '0');
        return (char)(value & 0xFF);
    }
    if (c == 'x' && *at < size && hex_digit(raw[*at]) >= 0) {
        int value = hex_digit(raw[(*at)++]);
        if (*at < size && hex_digit(raw[*at]) >= 0)
            value = value * 16 + hex_digit(raw[(*at)++]);
        return (char)value;
    }
    static const char letters[] = "bfnrtv", meanings[] = "\b\f\n\r\t\v";
    const char *letter = c ? strchr(letters, c) : NULL;
    return letter ? meanings[letter - letters] : c;
}

static size_t decode_text(const char *raw, size_t size, char *out)
{
    size_t used = 0, at = 0;
    while (at < size) {
        char c = raw[at++];
        if (c == '\\') {
            if (at == size)
                break; /* PostgreSQL drops a backslash that nothing follows */
            c = text_escape(raw, size, &at);
        }
        out[used++] = c;
    }
    return used;
}

static size_t decode_csv(const struct copy_format *format, const char *raw, size_t size, char *out)
{
    size_t used = 0;
    bool inside = false;
    for (size_t at = 0; at < size; at++) {
        char c = raw[at];
        if (inside && c == format->escape && at + 1 < size &&
            (raw[at + 1] == format->escape || raw[at + 1] == format->quote))
            out[used++] = raw[++at];
        else if (c == format->quote)
            inside = !inside;
        else
            out[used++] = c;
    }
    return used;
}

bool copy_field_value(const struct copy_format *format, const char *raw, size_t size, struct arena *arena,
                      const char **value, size_t *value_size, bool *is_null)
{
    bool csv = format->kind == MOSAIC_CSV;
    bool coded = size && memchr(raw, csv ? format->quote : '\\', size);
    *value = raw;
    *value_size = size;
    /* csv: a NULL text has no quote in it, so equal means that it was not quoted */
    *is_null = size == strlen(format->null_text) && (size == 0 || memcmp(raw, format->null_text, size) == 0);
    if (*is_null || !coded)
        return true;
    char *out = arena_allocate(arena, size + 1);
    if (!out)
        return false;
    *value = out;
    *value_size = csv ? decode_csv(format, raw, size, out) : decode_text(raw, size, out);
    return true;
}

bool copy_field_next(const struct copy_format *format, const char *row, size_t size, size_t *next, size_t *start,
                     size_t *end)
{
    if (*next > size)
        return false;
    bool csv = format->kind == MOSAIC_CSV, inside = false;
    size_t at = *next;
    *start = at;
    for (; at < size; at++) {
        char c = row[at];
        if (!inside && c == format->delimiter)
            break;
        bool escapes = csv ? inside && c == format->escape && format->escape != format->quote : c == '\\';
        if (escapes)
            at++;
        else if (csv && c == format->quote)
            inside = !inside;
    }
    *end = at < size ? at : size;
    *next = *end + 1;
    return true;
}
