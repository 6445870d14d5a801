#define _GNU_SOURCE /* memmem */
#include "proxy/trace.h"

#include "proxy/client.h"
#include "proxy/proxy.h"
#include "proxy/server.h"

#include <string.h>

enum {
    NAME_MOST = 63,       /* of application_name: NAMEDATALEN less one */
    TEXT_MOST = 4096,     /* of each end of a text where the comment is looked for */
    PARENT_MOST = 2 + 55, /* quote or equals sign, and 00-TRACE-PARENT-FLAGS */
    SQL_MOST = 512
};

static bool is_hex(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
            return false;
    return true;
}

/* 00-32 digits-16 digits-2 digits; an id of zeros is none. */
static bool take_parent(const char *at, char id[TRACE_ID + 1])
{
    static const char zeros[TRACE_ID + 1] = "00000000000000000000000000000000";
    if (at[2] != '-' || at[35] != '-' || at[52] != '-' || !is_hex(at, 2) || !is_hex(at + 3, TRACE_ID) ||
        !is_hex(at + 36, 16) || !is_hex(at + 53, 2) || memcmp(at, "ff", 2) == 0 || memcmp(at + 3, zeros, TRACE_ID) == 0)
        return false;
    memcpy(id, at + 3, TRACE_ID);
    id[TRACE_ID] = '\0';
    return true;
}

static bool find(const char *text, size_t size, char id[TRACE_ID + 1])
{
    static const char word[] = "traceparent=";
    const char *end = text + size, *at = text;
    while ((at = memmem(at, (size_t)(end - at), word, sizeof word - 1))) {
        at += sizeof word - 1;
        if (end - at >= PARENT_MOST && *at == '\'' && take_parent(at + 1, id))
            return true;
    }
    return false;
}

bool trace_find(const char *text, size_t size, char id[TRACE_ID + 1])
{
    if (size <= 2 * TEXT_MOST)
        return find(text, size, id);
    return find(text + size - TEXT_MOST, TEXT_MOST, id) || find(text, TEXT_MOST, id);
}

void trace_statement(struct buffer *sql, const char *name, const char *id)
{
    char value[NAME_MOST + 1];
    size_t size = strlen(name), most = NAME_MOST - TRACE_ID - 1;
    for (; size > most || (size && ((unsigned char)name[size] & 0xC0) == 0x80); size--)
        ; /* not within a character */
    memcpy(value, name, size);
    if (size)
        value[size++] = ' ';
    memcpy(value + size, id, TRACE_ID + 1);
    buffer_text(sql, "SET application_name = ");
    settings_quote_text(sql, value);
}

static void make_id(char id[TRACE_ID + 1])
{
    unsigned char bytes[TRACE_ID / 2];
    proxy_random(bytes, sizeof bytes);
    for (size_t i = 0; i < TRACE_ID; i++)
        id[i] = "0123456789abcdef"[i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4];
    id[TRACE_ID] = '\0';
}

bool trace_begin(struct client *client)
{
    struct worker *worker = client->worker;
    struct server *server = client->server;
    const struct setting *name = client->session ? settings_lookup(client->session, "application_name") : NULL;
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    if (!worker->text || !trace_find(worker->text, worker->text_size, client->trace))
        make_id(client->trace);
    trace_statement(&sql, name && name->value ? name->value : "", client->trace);
    bool added = !buffer_failed(&sql) && expect_add(&server->expect, EXPECT_OURS, EXPECT_UNREPORTED, NULL);
    if (added)
        wire_query(batch_make(&worker->to_server), buffer_string(&sql));
    buffer_free(&sql);
    server->unnamed = 0; /* a simple query ends it */
    return added;
}
