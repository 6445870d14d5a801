#define _GNU_SOURCE /* memmem */
#include "proxy/log_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const struct {
    const char *name;
    enum log_level level;
} events[] = {
#define X(identifier, name, level, setting, what) {name, LOG_LEVEL_##level},
    LOG_EVENT_LIST(X)
#undef X
};

const char *log_event_name(enum log_event event)
{
    return events[event].name;
}

enum log_level log_event_level(enum log_event event)
{
    return events[event].level;
}

/* ---- what must not be seen ---- */

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The end of a dollar-quoted text that begins at `at`; NULL: none begins there. */
static const char *dollar_end(const char *at, const char *end)
{
    const char *tag = at + 1;
    while (tag < end && is_word(*tag))
        tag++;
    if (at == end || *at != '$' || tag == end || *tag != '$')
        return NULL;
    size_t size = (size_t)(tag + 1 - at);
    const char *close = memmem(tag + 1, (size_t)(end - tag - 1), at, size);
    return close ? close + size : end;
}

/* The end of the literal that begins at `at`, '…', E'…' or $…$; NULL: none does. */
static const char *literal_end(const char *at, const char *end)
{
    const char *dollar = dollar_end(at, end);
    if (dollar)
        return dollar;
    bool escapes = at + 1 < end && (*at == 'E' || *at == 'e') && at[1] == '\'';
    at += escapes;
    if (at == end || *at != '\'')
        return NULL;
    for (at++; at < end; at++) {
        if ((*at == '\'' && at + 1 < end && at[1] == '\'') || (*at == '\\' && escapes))
            at++;
        else if (*at == '\'')
            return at + 1;
    }
    return end;
}

/* The end of a value of a connection string: in quotes, or a word. */
static const char *value_end(const char *at, const char *end)
{
    const char *literal = literal_end(at, end);
    if (literal)
        return literal;
    while (at < end && !is_blank(*at) && !strchr(",;)&'\"", *at))
        at++;
    return at;
}

static const char word_password[] = "password";

/* Does the word "password" (also PGPASSWORD, sslpassword) end at `at`? */
static bool ends_in_password(const char *start, const char *at)
{
    size_t size = sizeof word_password - 1;
    return (size_t)(at - start) >= size && strncasecmp(at - size, word_password, size) == 0;
}

/* user:secret@ behind ://; returns where the secret begins and sets *to its end, or NULL. */
static const char *uri_secret(const char *at, const char *end, const char **to)
{
    const char *colon = NULL;
    for (; at < end && !is_blank(*at) && *at != '/' && *at != '\'' && *at != '"'; at++) {
        if (*at == ':' && !colon)
            colon = at;
        if (*at == '@' && colon) {
            *to = at;
            return colon + 1;
        }
    }
    return NULL;
}

/* The value behind `=` at `at`, blanks between; NULL: there is none. */
static const char *assigned_value(const char *at, const char *end)
{
    while (at < end && is_blank(*at))
        at++;
    if (at == end || *at != '=')
        return NULL;
    for (at++; at < end && is_blank(*at);)
        at++;
    return at < end ? at : NULL;
}

void log_mask(struct buffer *out, const char *text, size_t size, bool is_statement)
{
    const char *end = text + size, *copied = text;
    bool named = false; /* a password was: from here on, any literal may be one */
    for (const char *at = text; at < end;) {
        const char *secret = NULL, *to = NULL;
        if (end - at > 3 && memcmp(at, "://", 3) == 0) {
            secret = uri_secret(at + 3, end, &to);
            at += 3;
        } else if (is_statement && named && (to = literal_end(at, end))) {
            secret = at++;
        } else if (ends_in_password(text, ++at) && !(at < end && is_word(*at))) {
            named = true;
            secret = assigned_value(at, end);
            to = secret ? value_end(secret, end) : NULL;
        }
        if (!secret || to <= secret)
            continue;
        buffer_add(out, copied, (size_t)(secret - copied));
        buffer_text(out, "***");
        at = copied = to;
    }
    buffer_add(out, copied, (size_t)(end - copied));
}

/* ---- one line ---- */

/* How many bytes the UTF-8 character at `at` has; 0: it is none. */
static size_t character_size(const unsigned char *at, const unsigned char *end)
{
    size_t size = *at < 0x80                  ? 1
                  : *at >= 0xC2 && *at < 0xE0 ? 2
                  : *at >= 0xE0 && *at < 0xF0 ? 3
                  : *at >= 0xF0 && *at < 0xF5 ? 4
                                              : 0;
    if (!size || (size_t)(end - at) < size)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((*at == 0xE0 && at[1] < 0xA0) || (*at == 0xED && at[1] > 0x9F) || (*at == 0xF0 && at[1] < 0x90) ||
        (*at == 0xF4 && at[1] > 0x8F))
        return 0;
    return size;
}

/* Control characters as \n or \u001b; with `json` also what JSON escapes; bytes that are no UTF-8 as U+FFFD. */
static void add_escaped(struct buffer *out, const char *text, size_t size, bool json)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + size;
    while (at < end) {
        size_t length = character_size(at, end);
        if (!length) {
            buffer_text(out, "\xEF\xBF\xBD");
            at++;
            continue;
        }
        if (*at == '\n' || *at == '\r' || *at == '\t')
            buffer_text(out, *at == '\n' ? "\\n" : *at == '\r' ? "\\r" : "\\t");
        else if (*at < 0x20 || *at == 0x7F)
            buffer_format(out, "\\u%04x", *at);
        else if (json && (*at == '"' || *at == '\\'))
            buffer_format(out, "\\%c", *at);
        else
            buffer_add(out, at, length);
        at += length;
    }
}

static void add_masked(struct buffer *out, const char *text, size_t size, bool json, bool is_statement)
{
    struct buffer masked = BUFFER_INIT(LOG_STATEMENT_MOST + 4096);
    bool cut = size > LOG_STATEMENT_MOST;
    log_mask(&masked, text, cut ? LOG_STATEMENT_MOST : size, is_statement);
    if (buffer_failed(&masked))
        buffer_text(out, "***");
    else
        add_escaped(out, buffer_string(&masked), masked.size, json);
    if (cut)
        buffer_text(out, "…");
    buffer_free(&masked);
}

static void json_text(struct buffer *out, const char *name, const char *text)
{
    if (!text || !*text)
        return;
    buffer_format(out, ",\"%s\":\"", name);
    add_masked(out, text, strlen(text), true, false);
    buffer_char(out, '"');
}

static void json_number(struct buffer *out, const char *name, int64_t number)
{
    if (number)
        buffer_format(out, ",\"%s\":%" PRId64, name, number);
}

static void add_time(struct buffer *out, int64_t us, const char *form, const char *zone)
{
    struct tm parts;
    time_t seconds = (time_t)(us / 1000000);
    char text[40];
    if (gmtime_r(&seconds, &parts) && strftime(text, sizeof text, form, &parts))
        buffer_format(out, "%s.%03d%s", text, (int)(us % 1000000 / 1000), zone);
}

#define X(identifier, name) name,
static const char *const level_names[] = {LOG_LEVEL_LIST(X)};
#undef X

static void json_line(struct buffer *out, enum log_event event, int64_t us, int thread, const struct log_entry *entry)
{
    const mosaic_error *error = entry->error;
    buffer_text(out, "{\"time\":\"");
    add_time(out, us, "%Y-%m-%dT%H:%M:%S", "Z");
    buffer_format(out, "\",\"level\":\"%s\",\"event\":\"%s\"", level_names[events[event].level], events[event].name);
    if (thread >= 0)
        buffer_format(out, ",\"thread\":%d", thread);
    json_number(out, "client", (int64_t)entry->client);
    json_number(out, "server", (int64_t)entry->server);
    json_text(out, "user", entry->user);
    json_text(out, "database", entry->database);
    json_text(out, "address", entry->address);
    json_text(out, "application_name", entry->application_name);
    json_text(out, "shard", entry->shard ? entry->shard : error ? error->shard : NULL);
    json_text(out, "message", entry->message);
    json_text(out, "sqlstate", error ? error->sqlstate : NULL);
    json_text(out, "error", error ? error->message : NULL);
    json_text(out, "detail", error ? error->detail : NULL);
    json_text(out, "hint", error ? error->hint : NULL);
    json_number(out, "duration_us", entry->duration_us);
    json_text(out, "trace", entry->trace);
    json_text(out, "plan", entry->plan);
    json_number(out, "tier", entry->tier);
    json_number(out, "shards", (int64_t)entry->shards);
    if (entry->has_rows)
        buffer_format(out, ",\"rows\":%" PRIu64, entry->rows);
    if (entry->statement) {
        buffer_text(out, ",\"statement\":\"");
        add_masked(out, entry->statement, entry->statement_size, true, true);
        buffer_char(out, '"');
    }
    buffer_text(out, "}\n");
}

static void add_part(struct buffer *out, const char *before, const char *text)
{
    if (!text || !*text)
        return;
    buffer_text(out, before);
    add_masked(out, text, strlen(text), false, false);
}

/* Who: "client 12 ann@shop 127.0.0.1:5555 (app), shard s1". */
static void add_who(struct buffer *out, const struct log_entry *entry)
{
    if (entry->client)
        buffer_format(out, " client %" PRIu64, entry->client);
    if (entry->server)
        buffer_format(out, " server %" PRIu64, entry->server);
    add_part(out, " ", entry->user);
    add_part(out, "@", entry->database);
    add_part(out, " ", entry->address);
    if (entry->application_name && *entry->application_name) {
        add_part(out, " (", entry->application_name);
        buffer_char(out, ')');
    }
    const char *shard = entry->shard ? entry->shard : entry->error ? entry->error->shard : NULL;
    add_part(out, " shard ", shard);
}

static void text_line(struct buffer *out, bool journal, enum log_event event, int64_t us, int thread,
                      const struct log_entry *entry)
{
    static const int priorities[] = {7, 6, 4, 3}; /* of syslog: debug, info, warning, err */
    static const char *const shown[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
    const mosaic_error *error = entry->error;
    if (journal)
        buffer_format(out, "<%d>", priorities[events[event].level]);
    else
        add_time(out, us, "%Y-%m-%d %H:%M:%S", " UTC ");
    if (thread >= 0)
        buffer_format(out, "[%d] ", thread);
    buffer_text(out, shown[events[event].level]);
    add_who(out, entry);
    buffer_text(out, ": ");
    buffer_text(out, events[event].name);
    add_part(out, ": ", entry->message);
    if (error) {
        add_part(out, ": ", error->message);
        buffer_format(out, " [%s]", error->sqlstate);
        add_part(out, "; ", error->detail);
        add_part(out, "; hint: ", error->hint);
    }
    if (entry->duration_us)
        buffer_format(out, "; %" PRId64 ".%03d ms", entry->duration_us / 1000, (int)(entry->duration_us % 1000));
    add_part(out, "; trace ", entry->trace);
    add_part(out, "; plan: ", entry->plan);
    if (entry->has_rows)
        buffer_format(out, "; %" PRIu64 " rows", entry->rows);
    if (entry->statement) {
        buffer_text(out, "; statement: ");
        add_masked(out, entry->statement, entry->statement_size, false, true);
    }
    buffer_char(out, '\n');
}

void log_line(struct buffer *out, enum log_format format, bool journal, enum log_event event, int64_t us, int thread,
              const struct log_entry *entry)
{
    if (format == LOG_JSON)
        json_line(out, event, us, thread, entry);
    else
        text_line(out, journal, event, us, thread, entry);
}
