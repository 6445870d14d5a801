/*
 * A client's beginning: its first packet, who it is, and what a new session is told.
 */
#include "base/memory.h"
#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/console.h"
#include "proxy/effect.h"
#include "proxy/operation.h"
#include "proxy/proxy.h"
#include "proxy/record.h"
#include "proxy/server.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { SETTING_MOST = 16384, NAME_MOST = 64 }; /* NAME_MOST: NAMEDATALEN */

/* What is needed until the client is ready. */
struct startup {
    struct settings_state *wanted; /* the startup packet's settings; held */
    size_t shard;                  /* asked for a new session's settings; the home shard first */
    size_t tried;
    bool is_replayed; /* on the linked server, from a new session's settings */
};

void client_startup_free(struct client *client)
{
    client_login_free(client);
    if (client->start)
        settings_release(client->start->wanted);
    memory_free(client->start);
    client->start = NULL;
}

enum taken client_refuse_login(struct client *client, const mosaic_error *error)
{
    COUNT(&client->worker->counters, clients_refused, 1);
    record_client(client, EVENT_LOGIN_FAILED, error);
    client_close(client, error);
    return TAKEN_CLOSED;
}

static enum taken refuse(struct client *client, const mosaic_error *error)
{
    return client_refuse_login(client, error);
}

static enum taken refuse_memory(struct client *client)
{
    mosaic_error error;
    error_memory(&error);
    return refuse(client, &error);
}

/* ---- settings of the startup packet ---- */

static bool want(struct client *client, const char *name, const char *value)
{
    struct startup *start = client->start;
    struct buffer replay = BUFFER_INIT(SETTING_MOST);
    char lower[64];
    size_t size = strlen(name);
    if (size >= sizeof lower)
        return false;
    for (size_t i = 0; i <= size; i++)
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    buffer_text(&replay, "SELECT pg_catalog.set_config(");
    settings_quote_text(&replay, lower);
    buffer_text(&replay, ",");
    settings_quote_text(&replay, value);
    buffer_text(&replay, ",false)");
    struct settings_state *next =
        buffer_failed(&replay) ? NULL : settings_with(start->wanted, lower, replay.data, value);
    buffer_free(&replay);
    if (!next)
        return false;
    settings_release(start->wanted);
    start->wanted = next;
    return true;
}

/* One word of `options`, with its backslashes undone, into word. Returns where the next one begins; NULL: none. */
static const char *next_word(const char *at, char *word, size_t size)
{
    size_t used = 0;
    while (*at == ' ' || (*at >= '\t' && *at <= '\r'))
        at++;
    if (!*at)
        return NULL;
    while (*at && *at != ' ' && !(*at >= '\t' && *at <= '\r')) {
        if (*at == '\\' && at[1])
            at++;
        if (used + 1 < size)
            word[used++] = *at;
        at++;
    }
    word[used] = '\0';
    return at;
}

/* "-c name=value --name=value": the forms that name a setting. (pg_split_opts, process_postgres_switches.) */
static bool want_options(struct client *client, const char *options, mosaic_error *error)
{
    char word[4096];
    for (const char *at = options; (at = next_word(at, word, sizeof word));) {
        char *setting = NULL;
        if (strcmp(word, "-c") == 0) {
            at = next_word(at, word, sizeof word);
            setting = at ? word : NULL;
        } else if (strncmp(word, "-c", 2) == 0 || strncmp(word, "--", 2) == 0) {
            setting = word + 2;
        }
        char *equals = setting ? strchr(setting, '=') : NULL;
        if (!equals) {
            (void)!error_set(error, MOSAIC_UNSUPPORTED, "unsupported startup option: %s", word);
            error_hint(error, "options may have -c name=value and --name=value");
            return false;
        }
        *equals = '\0';
        for (char *each = setting; *each; each++)
            if (*each == '-')
                *each = '_';
        if (!effect_is_allowed(&client->worker->world->model, setting, equals + 1, error))
            return false;
        if (!want(client, setting, equals + 1)) {
            error_memory(error);
            return false;
        }
        if (!at)
            break;
    }
    return true;
}

struct parameters {
    const char *user, *database;
    const char *unknown[16]; /* _pq_.… */
    size_t unknown_count;
};

/* application_name_add_host: "app - 127.0.0.1:5555"; the name is cut rather than the address. */
static const char *with_host(const struct client *client, const char *name, char text[NAME_MOST])
{
    char host[RECORD_ADDRESS_MOST];
    if (!client->worker->settings->application_name_add_host)
        return name;
    const char *address = record_address(client, host);
    snprintf(text, NAME_MOST, "%.*s - %s", NAME_MOST - 4 - (int)strlen(address), name, address);
    return text;
}

static bool take_parameter(struct client *client, struct parameters *found, const char *name, const char *value,
                           mosaic_error *error)
{
    char named[NAME_MOST];
    if (strcmp(name, "application_name") == 0)
        value = with_host(client, value, named);
    if (strcmp(name, "user") == 0) {
        found->user = value;
    } else if (strcmp(name, "database") == 0) {
        found->database = value;
    } else if (strcmp(name, "options") == 0) {
        return want_options(client, value, error);
    } else if (strcmp(name, "replication") == 0) {
        if (strcasecmp(value, "false") == 0 || strcasecmp(value, "off") == 0 || strcasecmp(value, "no") == 0 ||
            strcmp(value, "0") == 0)
            return true;
        (void)!error_set(error, MOSAIC_UNSUPPORTED, "the proxy does not speak the replication protocol");
        error_hint(error, "connect to the shard itself");
        return false;
    } else if (strncmp(name, "_pq_.", 5) == 0) {
        if (found->unknown_count < 16)
            found->unknown[found->unknown_count++] = name;
    } else if (strcmp(name, "client_encoding") == 0) {
        return effect_is_allowed(&client->worker->world->model, name, value, error);
    } else if (!effect_is_allowed(&client->worker->world->model, name, value, error)) {
        return false;
    } else if (!want(client, name, value)) {
        (void)!error_set(error, MOSAIC_USAGE, "startup parameter \"%.60s\" cannot be kept", name);
        return false;
    }
    if (strcmp(name, "application_name") == 0)
        snprintf(client->application_name, sizeof client->application_name, "%s", value);
    return true;
}

/* ---- who it is ---- */

/* What becomes of a client that has shown who it is, whatever it came for. */
static void count_login(struct client *client)
{
    client->state = CLIENT_READY;
    client->user->clients++;
    atomic_fetch_add(&client->user->account->clients, 1);
    COUNT(&client->worker->counters, clients_logged_in, 1);
    timer_cancel(&client->timer);
    client->since = client->worker->loop.now;
    record_client(client, EVENT_LOGIN, NULL);
}

static enum taken admin_logged_in(struct client *client)
{
    mosaic_error error;
    const char *name = client->user->account->name;
    client_startup_free(client);
    wire_authentication(batch_make(&client->worker->to_client), 0, NULL, 0);
    if (!console_may_enter(client->worker, name)) {
        (void)!error_set(&error, MOSAIC_AUTH, "user \"%s\" may not use the database pgmosaic", name);
        error_sqlstate(&error, "42501");
        error_hint(&error, "name him in admin_users or stats_users, then RELOAD");
        return refuse(client, &error);
    }
    if (!console_open(client))
        return TAKEN_CLOSED;
    count_login(client);
    return TAKEN;
}

enum taken client_logged_in(struct client *client)
{
    if (client->is_admin)
        return admin_logged_in(client);
    client->state = CLIENT_WELCOME;
    client_login_free(client);
    wire_authentication(batch_make(&client->worker->to_client), WIRE_AUTH_OK, NULL, 0);
    loop_again(&client->worker->loop, &client->channel.source);
    return TAKEN;
}

static enum taken identify(struct client *client, const struct parameters *found)
{
    struct worker *worker = client->worker;
    const char *cluster = worker->world->model.name;
    const char *database = found->database && *found->database ? found->database : found->user;
    mosaic_error error;
    if (!found->user || !*found->user) {
        (void)!error_set(&error, MOSAIC_AUTH, "no PostgreSQL user name specified in startup packet");
        return refuse(client, &error);
    }
    if (strlen(found->user) > 63) {
        (void)!error_set(&error, MOSAIC_AUTH, "user name is longer than 63 bytes");
        return refuse(client, &error);
    }
    client->is_admin = strcmp(database, CONSOLE_DATABASE) == 0;
    if (!client->is_admin && strcmp(database, cluster) != 0) {
        (void)!error_set(&error, MOSAIC_NOT_FOUND, "database \"%.200s\" does not exist", database);
        error_sqlstate(&error, "3D000");
        error_hint(&error, "connect to \"%s\": a cluster is reached by its name", cluster);
        return refuse(client, &error);
    }
    if (!client->is_admin && atomic_load(&worker->proxy->operation->disabled)) {
        (void)!error_set(&error, MOSAIC_LIMIT, "logins are disabled");
        error_sqlstate(&error, "57P03");
        error_hint(&error, "an operator has given DISABLE; ENABLE in the database pgmosaic ends it");
        return refuse(client, &error);
    }
    if (atomic_load(&worker->proxy->client_count) > worker->settings->max_client_conn) {
        (void)!error_set(&error, MOSAIC_LIMIT, "no more connections allowed (max_client_conn)");
        error_sqlstate(&error, "53300");
        return refuse(client, &error);
    }
    return client_identify(client, found->user, database);
}

/* ---- the first packet ---- */

/* Protocols 3.0 and 3.2 are spoken (3.1 was never used); a newer one is negotiated down. */
static void negotiate(struct client *client, const struct wire_startup *packet, const struct parameters *found)
{
    client->minor = packet->minor >= 2 ? 2 : 0;
    if (packet->minor != client->minor || found->unknown_count)
        wire_negotiate(batch_make(&client->worker->to_client), 3u << 16 | client->minor, found->unknown,
                       found->unknown_count);
}

static enum taken take_startup(struct client *client, const struct wire_startup *packet)
{
    struct parameters found = {0};
    mosaic_error error;
    if (packet->major != 3) {
        (void)!error_set(&error, MOSAIC_UNSUPPORTED,
                         "unsupported frontend protocol %u.%u: the proxy speaks 3.0 and 3.2", packet->major,
                         packet->minor);
        return refuse(client, &error);
    }
    client->start = memory_zeroed(1, sizeof *client->start);
    if (!client->start)
        return refuse_memory(client);
    client->start->wanted = settings_hold(client->worker->settings_table.empty);
    client->start->shard = client->worker->world->home;
    const char *at = packet->parameters, *name, *value;
    while (wire_startup_next(&at, &name, &value))
        if (!take_parameter(client, &found, name, value, &error))
            return refuse(client, &error);
    negotiate(client, packet, &found);
    return identify(client, &found);
}

enum taken client_startup(struct client *client, const char *data, size_t size, size_t *used)
{
    struct wire_startup packet;
    mosaic_error error;
    switch (wire_startup_read(data, size, &packet)) {
    case WIRE_MORE:
        return TAKEN_LATER;
    case WIRE_BAD:
        (void)!error_set(&error, MOSAIC_DATA, "invalid length of startup packet");
        error_sqlstate(&error, "08P01");
        return refuse(client, &error);
    default:
        break;
    }
    *used = packet.size;
    switch (packet.kind) {
    case WIRE_SSL_REQUEST:
        return client_ask_tls(client, size - packet.size);
    case WIRE_GSSENC_REQUEST:
        buffer_char(batch_make(&client->worker->to_client), 'N');
        return TAKEN;
    case WIRE_CANCEL_REQUEST:
        cancel_request(client->worker->proxy, packet.pid, packet.key, packet.key_size);
        client_close(client, NULL);
        return TAKEN_CLOSED;
    case WIRE_STARTUP:
        return take_startup(client, &packet);
    default:
        return client_direct_tls(client, data, size, used);
    }
}

/* ---- welcome ---- */

/* ParameterStatus messages of the pool's welcome, but for those that `other` has; then other's. */
static void add_welcome(struct buffer *out, const struct buffer *welcome, const char *other, size_t other_size)
{
    for (size_t at = 0; at < welcome->size;) {
        struct wire_frame frame, override;
        if (wire_peek(welcome->data + at, welcome->size - at, &frame) != WIRE_MESSAGE)
            return;
        const char *name = welcome->data + at + WIRE_HEADER;
        bool hidden = false;
        for (size_t i = 0; i < other_size && !hidden; i += override.size) {
            if (wire_peek(other + i, other_size - i, &override) != WIRE_MESSAGE)
                return;
            hidden = strcmp(other + i + WIRE_HEADER, name) == 0;
        }
        if (!hidden)
            buffer_add(out, welcome->data + at, frame.size);
        at += frame.size;
    }
    buffer_add(out, other, other_size);
}

static void become_ready(struct client *client, const struct pool *pool)
{
    struct worker *worker = client->worker;
    struct startup *start = client->start;
    struct buffer *out = batch_make(&worker->to_client);
    if (!cancel_register(client)) {
        (void)refuse_memory(client);
        return;
    }
    add_welcome(out, &pool->welcome, start->wanted->reported, start->wanted->reported_size);
    wire_backend_key(out, cancel_pid(client), client->key, client->minor >= 2 ? 32 : 4);
    wire_ready(out, 'I');
    client->session = settings_hold(start->wanted);
    client->startup = settings_hold(start->wanted);
    client_startup_free(client);
    count_login(client);
    client->is_pinned = worker->settings->pool_mode == POOL_SESSION;
    if (client->server && server_is_clean(client->server))
        server_unlink(client->server);
    if (!batch_send(&worker->to_client, &client->channel)) {
        client_close(client, NULL);
        return;
    }
    client->since = worker->loop.now;
}

/* Another shard may tell as well; when all have failed, the last one's reason is told. */
static void try_next_shard(struct client *client)
{
    struct startup *start = client->start;
    mosaic_error error = *client->failure;
    size_t count = client->worker->world->model.shard_count;
    memory_free(client->failure);
    client->failure = NULL;
    start->tried++;
    bool is_down = error.status == MOSAIC_UNREACHABLE;
    if (!is_down || start->tried >= count) {
        (void)refuse(client, &error);
        return;
    }
    start->shard = (start->shard + 1) % count;
    client_welcome(client);
}

/* An application's name of plain characters is told as it was given: no server need be asked. */
static void report_plain_name(struct settings_state *wanted)
{
    struct buffer reported = BUFFER_INIT(256);
    const char *value = wanted->count == 1 ? wanted->settings[0].value : NULL;
    if (!value || wanted->reported || strcmp(wanted->settings[0].name, "application_name") != 0 || strlen(value) > 63)
        return;
    for (const char *each = value; *each; each++)
        if (*each < 32 || *each > 126)
            return;
    wire_parameter_status(&reported, "application_name", value);
    if (buffer_failed(&reported)) {
        buffer_free(&reported);
        return;
    }
    wanted->reported = reported.data;
    wanted->reported_size = reported.size;
}

/* Takes the server from the settings it has to others; its answer calls client_welcome again. */
static void replay(struct client *client, struct settings_state *to)
{
    struct server *server = client->server;
    struct buffer sql = BUFFER_INIT(SETTING_MOST * 4);
    settings_difference(server->session, to, &sql);
    settings_release(server->session_next);
    server->session_next = settings_hold(to);
    buffer_clear(&server->failure);
    client->replays = sql.size && !buffer_failed(&sql) && server_ask(server, sql.data);
    buffer_free(&sql);
    if (!client->replays)
        server_close(server, NULL);
}

static void keep_reported(struct settings_state *wanted, const struct server *server)
{
    char *copy = memory_zeroed(1, server->failure.size + 1);
    if (!copy)
        return;
    memcpy(copy, buffer_string(&server->failure), server->failure.size);
    memory_free(wanted->reported);
    wanted->reported = copy;
    wanted->reported_size = server->failure.size;
}

void client_welcome(struct client *client)
{
    struct startup *start = client->start;
    struct settings_state *empty = client->worker->settings_table.empty;
    mosaic_error error;
    if (client->failure) {
        try_next_shard(client);
        return;
    }
    if (start->shard >= client->worker->world->model.shard_count) /* a reload took it away */
        start->shard = client->worker->world->home;
    struct pool *pool = pool_get(client->user, start->shard);
    if (!pool) {
        (void)refuse_memory(client);
        return;
    }
    report_plain_name(start->wanted);
    if (pool->welcome.size && (start->wanted->count == 0 || start->wanted->reported)) {
        become_ready(client, pool);
        return;
    }
    if (!client->server) {
        enum pool_answer answer = pool_assign(pool, client, &error);
        if (answer == POOL_FAILED)
            client_server_refused(client, &error);
        if (answer != POOL_LINKED)
            return;
    }
    struct server *server = client->server;
    if (start->wanted->count == 0) {
        become_ready(client, pool);
    } else if (start->is_replayed && server->session == start->wanted) {
        keep_reported(start->wanted, server);
        become_ready(client, pool);
    } else {
        /* From the settings of a new connection to those wanted: what changes is told. */
        start->is_replayed = server->session == empty;
        replay(client, start->is_replayed ? start->wanted : empty);
    }
}
