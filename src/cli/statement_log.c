#define _GNU_SOURCE /* memmem */
#include "cli/statement_log.h"

#include "base/error.h"

#include <string.h>

enum {
    TEXT_MOST = 16 * 1024 * 1024,
    PARAMETERS_MOST = 65535,
    CSV_MESSAGE = 13, /* fields of csvlog, from 0 */
    CSV_DETAIL = 14,
};

/* ---- messages ---- */

static bool skip(const char **at, const char *end, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(end - *at) < size || memcmp(*at, word, size) != 0)
        return false;
    *at += size;
    return true;
}

static const char *find(const char *from, const char *end, const char *word)
{
    return from < end ? memmem(from, (size_t)(end - from), word, strlen(word)) : NULL;
}

bool statement_log_message(const char *message, size_t size, const char **text, size_t *text_size)
{
    const char *at = message, *end = message + size;
    if (skip(&at, end, "duration: ")) {
        const char *unit = find(at, end, " ms  ");
        if (!unit)
            return false;
        at = unit + strlen(" ms  ");
    }
    if (!skip(&at, end, "statement: ")) {
        const char *colon = skip(&at, end, "execute ") ? find(at, end, ": ") : NULL;
        if (!colon)
            return false;
        at = colon + 2;
    }
    *text = at;
    *text_size = (size_t)(end - at);
    return true;
}

/* '…' with '' for a quote. */
static bool take_quoted(const char **at, const char *end, struct arena *arena, struct plan_value *value)
{
    char *data = arena_allocate(arena, (size_t)(end - *at) + 1);
    size_t size = 0;
    for (const char *c = *at + 1; data && c < end; c++) {
        if (*c == '\'' && (c + 1 == end || c[1] != '\'')) {
            *value = (struct plan_value){.data = data, .size = (int32_t)size};
            *at = c + 1;
            return true;
        }
        c += *c == '\'';
        data[size++] = *c;
    }
    return false;
}

const struct plan_value *statement_log_parameters(const char *text, size_t size, struct arena *arena, size_t *count)
{
    const char *at = text, *end = text + size;
    struct plan_value *values = NULL;
    size_t capacity = 0;
    *count = 0;
    if (!skip(&at, end, "parameters: ") && !skip(&at, end, "Parameters: "))
        return arena_allocate(arena, 1);
    while (at < end && *at == '$' && *count < PARAMETERS_MOST) {
        const char *equals = find(at, end, " = ");
        struct plan_value value = {.size = -1};
        if (!equals)
            break;
        at = equals + 3;
        if (at < end && *at == '\'' ? !take_quoted(&at, end, arena, &value) : !skip(&at, end, "NULL"))
            break;
        if (*count == capacity) {
            struct plan_value *more = arena_allocate(arena, (capacity * 2 + 8) * sizeof *more);
            if (!more)
                return NULL;
            if (capacity)
                memcpy(more, values, capacity * sizeof *more);
            values = more, capacity = capacity * 2 + 8;
        }
        values[(*count)++] = value;
        if (!skip(&at, end, ", "))
            break;
    }
    return values ? values : arena_allocate(arena, 1);
}

/* ---- lines ---- */

static mosaic_status peek(struct statement_log *log, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    while (status == MOSAIC_OK && !log->has_slice) {
        if (lines_take(&log->lines, &log->slice, 1)) {
            log->has_slice = true;
            log->slice_line = lines_number(&log->lines, 1);
        } else if (log->lines.ended) {
            break;
        } else {
            status = lines_fill(&log->lines, error);
        }
    }
    return status;
}

/* The severity in a log's line, and what follows it: "LOG", "DETAIL" … NULL where the line has none. */
static const char *severity_of(const struct key_slice *line, const char **message, size_t *size)
{
    static const char *const severities[] = {"LOG",     "DETAIL", "STATEMENT", "ERROR", "FATAL", "PANIC",    "WARNING",
                                             "CONTEXT", "HINT",   "NOTICE",    "INFO",  "DEBUG", "LOCATION", "QUERY"};
    const char *text = (const char *)line->data, *end = text + line->size;
    for (const char *at = text; (at = find(at, end, ":  ")) != NULL; at += 3) {
        for (size_t i = 0; i < sizeof severities / sizeof *severities; i++) {
            size_t length = strlen(severities[i]);
            if ((size_t)(at - text) < length || memcmp(at - length, severities[i], length) != 0)
                continue;
            *message = at + 3;
            *size = (size_t)(end - *message);
            return severities[i];
        }
    }
    return NULL;
}

static enum statement_log_kind kind_of(const struct key_slice *line)
{
    const char *message, *text = (const char *)line->data, *end = text + line->size;
    size_t size;
    bool dated = line->size > 20 && text[0] >= '1' && text[0] <= '2' && text[4] == '-' && text[7] == '-';
    const char *comma = dated ? find(text, end, ",") : NULL;
    if (comma && comma - text < 40 && !find(text, comma, ":  "))
        return LOG_OF_CSV;
    return severity_of(line, &message, &size) ? LOG_OF_SERVER : LOG_OF_STATEMENTS;
}

static void cut_return(struct key_slice *line)
{
    if (line->size && line->data[line->size - 1] == '\r')
        line->size--;
}

static mosaic_status take_plain(struct statement_log *log, struct logged_statement *statement, mosaic_error *error)
{
    for (;;) {
        mosaic_status status = peek(log, error);
        if (status != MOSAIC_OK || !log->has_slice)
            return status;
        log->has_slice = false;
        cut_return(&log->slice);
        if (!log->slice.size)
            continue;
        statement->text = (const char *)log->slice.data;
        statement->size = log->slice.size;
        statement->line = log->slice_line;
        return MOSAIC_OK;
    }
}

/* The lines that go on with what began: a log writes them with a tab in front. */
static mosaic_status take_further(struct statement_log *log, struct buffer *text, mosaic_error *error)
{
    mosaic_status status;
    while ((status = peek(log, error)) == MOSAIC_OK && log->has_slice && log->slice.size &&
           log->slice.data[0] == '\t') {
        log->has_slice = false;
        buffer_char(text, '\n');
        buffer_add(text, log->slice.data + 1, log->slice.size - 1);
    }
    return status == MOSAIC_OK && buffer_failed(text) ? error_memory(error) : status;
}

static mosaic_status take_detail(struct statement_log *log, struct logged_statement *statement, mosaic_error *error)
{
    const char *message;
    size_t size;
    mosaic_status status = peek(log, error);
    if (status != MOSAIC_OK || !log->has_slice)
        return status;
    const char *severity = severity_of(&log->slice, &message, &size);
    if (!severity || strcmp(severity, "DETAIL") != 0)
        return MOSAIC_OK;
    log->has_slice = false;
    buffer_clear(&log->record);
    buffer_add(&log->record, message, size);
    status = take_further(log, &log->record, error);
    if (status != MOSAIC_OK)
        return status;
    statement->parameters = statement_log_parameters(buffer_string(&log->record), log->record.size, &log->arena,
                                                     &statement->parameter_count);
    return statement->parameters ? MOSAIC_OK : error_memory(error);
}

static mosaic_status take_server(struct statement_log *log, struct logged_statement *statement, mosaic_error *error)
{
    for (;;) {
        const char *message, *text, *severity;
        size_t size, text_size;
        mosaic_status status = peek(log, error);
        if (status != MOSAIC_OK || !log->has_slice)
            return status;
        log->has_slice = false;
        severity = severity_of(&log->slice, &message, &size);
        if (!severity || strcmp(severity, "LOG") != 0 || !statement_log_message(message, size, &text, &text_size))
            continue;
        statement->line = log->slice_line;
        buffer_clear(&log->text);
        buffer_add(&log->text, text, text_size);
        status = take_further(log, &log->text, error);
        if (status == MOSAIC_OK)
            status = take_detail(log, statement, error);
        statement->text = buffer_string(&log->text);
        statement->size = log->text.size;
        return status;
    }
}

/* ---- csvlog ---- */

/* A record may go over lines: until its quotes are even. */
static mosaic_status take_record(struct statement_log *log, uint64_t *line, mosaic_error *error)
{
    size_t quotes = 0;
    buffer_clear(&log->record);
    *line = 0;
    do {
        mosaic_status status = peek(log, error);
        if (status != MOSAIC_OK || !log->has_slice)
            return status;
        log->has_slice = false;
        cut_return(&log->slice);
        if (!*line)
            *line = log->slice_line;
        else
            buffer_char(&log->record, '\n');
        buffer_add(&log->record, log->slice.data, log->slice.size);
        for (size_t i = 0; i < log->slice.size; i++)
            quotes += log->slice.data[i] == '"';
    } while (quotes % 2);
    return buffer_failed(&log->record) ? error_memory(error) : MOSAIC_OK;
}

/* Takes a field into the buffer and moves behind its comma; false at the record's end. */
static bool take_field(const char **at, const char *end, struct buffer *field)
{
    bool quoted = false;
    if (*at > end)
        return false;
    buffer_clear(field);
    for (; *at < end && (quoted || **at != ','); ++*at) {
        if (**at != '"') {
            buffer_char(field, **at);
        } else if (quoted && *at + 1 < end && (*at)[1] == '"') {
            buffer_char(field, '"');
            ++*at;
        } else {
            quoted = !quoted;
        }
    }
    ++*at;
    return true;
}

static mosaic_status take_csv(struct statement_log *log, struct logged_statement *statement, mosaic_error *error)
{
    struct buffer field = BUFFER_INIT(TEXT_MOST);
    mosaic_status status = MOSAIC_OK;
    while (!statement->text && (status = take_record(log, &statement->line, error)) == MOSAIC_OK && statement->line) {
        const char *at = buffer_string(&log->record), *end = at + log->record.size, *text;
        size_t size;
        for (int i = 0; i <= CSV_DETAIL && take_field(&at, end, &field); i++) {
            if (i == CSV_MESSAGE && statement_log_message(buffer_string(&field), field.size, &text, &size)) {
                buffer_clear(&log->text);
                buffer_add(&log->text, text, size);
                statement->text = buffer_string(&log->text), statement->size = log->text.size;
            }
            if (i == CSV_DETAIL && statement->text)
                statement->parameters = statement_log_parameters(buffer_string(&field), field.size, &log->arena,
                                                                 &statement->parameter_count);
        }
    }
    if (buffer_failed(&field) || buffer_failed(&log->text))
        status = error_memory(error);
    buffer_free(&field);
    return status;
}

/* ---- all kinds ---- */

mosaic_status statement_log_open(struct statement_log *log, int fd, mosaic_error *error)
{
    *log = (struct statement_log){.text = BUFFER_INIT(TEXT_MOST), .record = BUFFER_INIT(TEXT_MOST)};
    return lines_open(&log->lines, fd, error);
}

mosaic_status statement_log_next(struct statement_log *log, struct logged_statement *statement, mosaic_error *error)
{
    *statement = (struct logged_statement){0};
    arena_reset(&log->arena);
    if (!log->begun) {
        mosaic_status status = peek(log, error);
        if (status != MOSAIC_OK)
            return status;
        log->begun = true;
        if (log->has_slice)
            log->kind = kind_of(&log->slice);
    }
    return (log->kind == LOG_OF_CSV      ? take_csv
            : log->kind == LOG_OF_SERVER ? take_server
                                         : take_plain)(log, statement, error);
}

void statement_log_close(struct statement_log *log)
{
    lines_close(&log->lines);
    buffer_free(&log->text);
    buffer_free(&log->record);
    arena_free(&log->arena);
}
