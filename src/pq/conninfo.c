/*
 * Connection strings: what may be shown of them, and what we add to them.
 */
#include "pq/conninfo.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "pq/pq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNINFO_MOST = 64 * 1024 };

PQconninfoOption *conninfo_parse(const char *conninfo, mosaic_error *error)
{
    char *why = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &why);
    if (options)
        return options;
    if (!why) {
        error_memory(error);
        return NULL;
    }
    error_set(error, MOSAIC_CONFIG, "the connection string of a shard is malformed");
    /* libpq's text quotes the part that it stumbles over, which can be a piece of a password. */
    if (!strstr(conninfo, "pass") && !strstr(conninfo, "://")) {
        why[strcspn(why, "\r\n")] = '\0';
        error_detail(error, "%s", why);
    }
    error_hint(error, "write conninfo as keyword=value pairs, values with blanks in 'quotes': "
                      "host=127.0.0.1 port=5432 dbname=shop user=shop");
    PQfreemem(why);
    return NULL;
}

const char *conninfo_value(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val && *options->val ? options->val : NULL;
    return NULL;
}

static bool is_secret(const PQconninfoOption *option)
{
    return strcmp(option->keyword, "password") == 0 || strcmp(option->keyword, "sslpassword") == 0;
}

static void add_quoted(struct buffer *text, const char *value)
{
    bool plain = *value && !strpbrk(value, " \t\r\n\v\f'\\=");
    if (plain) {
        buffer_text(text, value);
        return;
    }
    buffer_char(text, '\'');
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\')
            buffer_char(text, '\\');
        buffer_char(text, *value);
    }
    buffer_char(text, '\'');
}

static char *masked(const PQconninfoOption *options)
{
    struct buffer text = BUFFER_INIT(CONNINFO_MOST);
    for (; options->keyword; options++) {
        if (!options->val)
            continue;
        buffer_format(&text, "%s%s=", text.size ? " " : "", options->keyword);
        add_quoted(&text, is_secret(options) ? "****" : options->val);
    }
    buffer_text(&text, "");
    if (buffer_failed(&text)) {
        buffer_free(&text);
        return NULL;
    }
    return text.data;
}

static char *copied(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_allocate(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

char *pq_conninfo_masked(const char *conninfo)
{
    mosaic_error error;
    PQconninfoOption *options = conninfo_parse(conninfo, &error);
    if (!options)
        return error.status == MOSAIC_MEMORY ? NULL : copied("(malformed connection string)");
    bool secret = false;
    for (PQconninfoOption *option = options; option->keyword; option++)
        secret |= option->val && is_secret(option);
    /* Without a secret it stays as it was written, so that it can be pasted. */
    char *text = secret ? masked(options) : copied(conninfo);
    PQconninfoFree(options);
    return text;
}

char *pq_conninfo_at(const char *conninfo, const char *host, int port)
{
    PQconninfoOption *options = conninfo_parse(conninfo, NULL);
    struct buffer text = BUFFER_INIT(CONNINFO_MOST);
    if (!options)
        return NULL;
    for (const PQconninfoOption *option = options; option->keyword; option++) {
        bool place = strcmp(option->keyword, "host") == 0 || strcmp(option->keyword, "hostaddr") == 0 ||
                     strcmp(option->keyword, "port") == 0;
        if (!option->val || place)
            continue;
        buffer_format(&text, "%s=", option->keyword);
        add_quoted(&text, option->val);
        buffer_char(&text, ' ');
    }
    PQconninfoFree(options);
    buffer_text(&text, "host=");
    add_quoted(&text, host);
    buffer_format(&text, " port=%d", port);
    if (buffer_failed(&text)) {
        buffer_free(&text);
        return NULL;
    }
    return text.data;
}

static const char *first_of(const char *one, const char *two, const char *otherwise)
{
    return one && *one ? one : two && *two ? two : otherwise;
}

void pq_conninfo_address(const char *conninfo, char *text, size_t size)
{
    PQconninfoOption *options = conninfo_parse(conninfo, NULL);
    if (!options) {
        snprintf(text, size, "(malformed connection string)");
        return;
    }
    const char *service = conninfo_value(options, "service");
    const char *host = first_of(conninfo_value(options, "host"), conninfo_value(options, "hostaddr"), NULL);
    if (service && !host) {
        snprintf(text, size, "service %s", service);
    } else {
        const char *user = first_of(conninfo_value(options, "user"), getenv("PGUSER"), "");
        snprintf(text, size, "%s:%s/%s", first_of(host, getenv("PGHOST"), "socket"),
                 first_of(conninfo_value(options, "port"), getenv("PGPORT"), "5432"),
                 first_of(conninfo_value(options, "dbname"), getenv("PGDATABASE"), user));
    }
    PQconninfoFree(options);
}

/* Takes part in every session: backslashes plain whatever the server's setting. */
static const char session_options[] = "-c standard_conforming_strings=on";

static char *joined_options(const char *given)
{
    struct buffer text = BUFFER_INIT(CONNINFO_MOST);
    if (given)
        buffer_format(&text, "%s ", given);
    buffer_text(&text, session_options);
    if (buffer_failed(&text)) {
        buffer_free(&text);
        return NULL;
    }
    return text.data;
}

mosaic_status conninfo_parameters(const PQconninfoOption *options, const char *application_name,
                                  struct conninfo_parameters *parameters, mosaic_error *error)
{
    const char *given = conninfo_value(options, "options");
    *parameters = (struct conninfo_parameters){.options = joined_options(given ? given : getenv("PGOPTIONS"))};
    size_t count = 0;
    if (!parameters->options)
        return error_memory(error);
    for (; options->keyword; options++) {
        if (!options->val || strcmp(options->keyword, "options") == 0 ||
            strcmp(options->keyword, "client_encoding") == 0)
            continue;
        if (count + 5 >= CONNINFO_PARAMETERS_MOST)
            return error_set(error, MOSAIC_INTERNAL, "libpq has more connection parameters than expected");
        if (strcmp(options->keyword, "application_name") == 0)
            application_name = NULL; /* the config's wins */
        parameters->keywords[count] = options->keyword;
        parameters->values[count++] = options->val;
    }
    parameters->keywords[count] = "options";
    parameters->values[count++] = parameters->options;
    parameters->keywords[count] = "client_encoding";
    parameters->values[count++] = "UTF8";
    if (application_name) {
        parameters->keywords[count] = "application_name";
        parameters->values[count++] = application_name;
    }
    return MOSAIC_OK;
}
