/*
 * Who a client is: TLS, the rule for him, his secret (auth_file, a shard's conninfo, auth_query), and the proof.
 *
 * Who is not known costs no account: names are free for anybody to invent.
 */
#define _GNU_SOURCE
#include "base/memory.h"
#include "proxy/client.h"
#include "proxy/login_server.h"
#include "proxy/lookup.h"
#include "proxy/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static enum taken refuse_memory(struct client *client)
{
    mosaic_error error;
    error_memory(&error);
    return client_refuse_login(client, &error);
}

/* ---- TLS -------------------------------------------------------------------------------------------- */

static enum taken start_tls(struct client *client, const char *data, size_t size)
{
    struct tls *tls = tls_new(client->worker->config->access.tls, client->channel.fd, NULL);
    if (!tls || !tls_feed(tls, data, size)) {
        tls_free(tls);
        return refuse_memory(client);
    }
    channel_start_tls(&client->channel, tls);
    return TAKEN;
}

enum taken client_ask_tls(struct client *client, size_t behind)
{
    struct buffer *out = batch_make(&client->worker->to_client);
    mosaic_error error;
    bool can = client->worker->config->access.tls && !client->is_unix && !client->channel.tls;
    buffer_char(out, can ? 'S' : 'N');
    if (!can)
        return TAKEN;
    /* What came with the request is not encrypted: whoever is between could have put it there. */
    if (behind) {
        (void)!error_set(&error, MOSAIC_DATA, "received unencrypted data after SSL request");
        error_sqlstate(&error, "08P01");
        batch_drop(&client->worker->to_client);
        return client_refuse_login(client, &error);
    }
    if (!client_flush(client))
        return TAKEN_CLOSED;
    return start_tls(client, NULL, 0);
}

enum taken client_direct_tls(struct client *client, const char *data, size_t size, size_t *used)
{
    mosaic_error error;
    *used = size;
    if (client->worker->config->access.tls && !client->is_unix && !client->channel.tls) {
        client->is_direct_tls = true;
        return start_tls(client, data, size);
    }
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "TLS is not enabled (client_tls_sslmode)");
    return client_refuse_login(client, &error);
}

/* ---- who it is -------------------------------------------------------------------------------------- */

static bool count_client(struct client *client, mosaic_error *error)
{
    const struct proxy_settings *settings = client->worker->settings;
    if (settings->max_user_client_connections &&
        atomic_load(&client->user->account->clients) >= settings->max_user_client_connections) {
        (void)!error_set(error, MOSAIC_LIMIT,
                         "no more connections allowed for user \"%s\" "
                         "(max_user_client_connections)",
                         client->user->account->name);
        error_sqlstate(error, "53300");
        return false;
    }
    return true;
}

static enum taken logged_in(struct client *client)
{
    struct worker *worker = client->worker;
    mosaic_error error;
    if (!client->user) /* trust, or a certificate: nothing was known of him before */
        client->user = user_get(worker, client->login_name);
    if (!client->user)
        return refuse_memory(client);
    if (!count_client(client, &error))
        return client_refuse_login(client, &error);
    return client_logged_in(client);
}

static enum taken go_on(struct client *client, enum login_answer answer, const mosaic_error *error)
{
    if (answer == LOGIN_DONE)
        return logged_in(client);
    return answer == LOGIN_MORE ? TAKEN : client_refuse_login(client, error);
}

/* His secret, if he has one, is in his account: asks for the proof. */
static enum taken ask_proof(struct client *client)
{
    struct worker *worker = client->worker;
    mosaic_error error;
    client->login =
        login_server_new(client->login_name, client->user ? client->user->account : NULL, worker->proxy->secret);
    if (!client->login)
        return refuse_memory(client);
    return go_on(client,
                 login_server_start(client->login, client->login_method, client->channel.tls,
                                    batch_make(&worker->to_client), &error),
                 &error);
}

/* Takes over what a file or query says of him. */
static enum taken learn(struct client *client, const struct auth_user *known)
{
    client->user = user_get(client->worker, client->login_name);
    if (!client->user)
        return refuse_memory(client);
    account_learn(client->user->account, known);
    return ask_proof(client);
}

static enum taken secret_found(struct client *client, const struct lookup_question *question)
{
    struct proxy *proxy = client->worker->proxy;
    struct auth_user known;
    mosaic_error error;
    if (question->is_found) {
        known = auth_user_of(client->login_name, question->secret);
        return learn(client, &known);
    }
    if (!question->error.status)
        return ask_proof(client);
    /* The home shard is out of reach: what it said last counts. */
    if (account_find(&proxy->accounts, client->login_name)) {
        client->user = user_get(client->worker, client->login_name);
        return client->user ? ask_proof(client) : refuse_memory(client);
    }
    (void)!error_set(&error, MOSAIC_UNREACHABLE, "the secret of user \"%s\" cannot be asked for at the moment",
                     client->login_name);
    return client_refuse_login(client, &error);
}

static void answered(struct worker *worker, struct message *message)
{
    struct lookup_question *question = LIST_OWNER(struct lookup_question, message, message);
    struct client *client = question->client;
    if (client) {
        client->question = NULL;
        if (secret_found(client, question) == TAKEN && client_flush(client))
            loop_again(&worker->loop, &client->channel.source);
        else
            batch_drop(&worker->to_client);
    }
    explicit_bzero(question->secret, sizeof question->secret);
}

static enum taken find_secret(struct client *client)
{
    struct worker *worker = client->worker;
    const struct auth_user *known = auth_users_find(&worker->config->access.users, client->login_name);
    const char *password = known ? NULL : world_password(worker->world, client->login_name);
    if (known)
        return learn(client, known);
    if (password) {
        struct auth_user own = {.name = client->login_name, .secret = password, .kind = SECRET_PLAIN};
        return learn(client, &own);
    }
    if (!worker->settings->auth_query || client->login_method == HBA_TRUST || client->login_method == HBA_CERT)
        return ask_proof(client);
    client->question = lookup_ask(worker->proxy->lookup, client, client->login_name, answered);
    return client->question ? TAKEN : refuse_memory(client);
}

static struct sockaddr_storage address_of(const struct client *client)
{
    struct sockaddr_storage address = {.ss_family = client->family};
    if (client->family == AF_INET)
        memcpy(&((struct sockaddr_in *)(void *)&address)->sin_addr, client->address, 4);
    else if (client->family == AF_INET6)
        memcpy(&((struct sockaddr_in6 *)(void *)&address)->sin6_addr, client->address, 16);
    return address;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    static const unsigned char one[16] = {[15] = 1}, mapped[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
    const unsigned char *v6 = (const unsigned char *)&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (address->ss_family == AF_INET)
        return *(const unsigned char *)&((const struct sockaddr_in *)(const void *)address)->sin_addr == 127;
    return address->ss_family == AF_INET6 &&
           (memcmp(v6, one, sizeof one) == 0 || memcmp(v6, mapped, sizeof mapped) == 0);
}

static char *copied(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_allocate(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

enum taken client_identify(struct client *client, const char *user, const char *database)
{
    struct worker *worker = client->worker;
    struct sockaddr_storage theirs = address_of(client), ours = {0};
    socklen_t size = sizeof ours;
    struct hba_rule rule;
    mosaic_error error;
    if (client->is_direct_tls && !tls_has_alpn(client->channel.tls)) {
        (void)!error_set(&error, MOSAIC_DATA,
                         "received direct SSL connection request without ALPN protocol negotiation");
        error_sqlstate(&error, "08P01");
        return client_refuse_login(client, &error);
    }
    getsockname(client->channel.fd, (struct sockaddr *)&ours, &size);
    struct access_request request = {.auth_type = worker->settings->auth_type,
                                     .where = {client->channel.tls, (const struct sockaddr *)&theirs,
                                               (const struct sockaddr *)&ours, database, user},
                                     .tls = client->channel.tls,
                                     .is_unix = client->is_unix,
                                     .is_loopback = is_loopback(&theirs)};
    const struct access *access = &worker->config->access;
    if (access_rule(access, &request, &rule, &error) != MOSAIC_OK ||
        access_certificate(access, &request, &rule, &error) != MOSAIC_OK)
        return client_refuse_login(client, &error);
    client->login_name = copied(user);
    if (!client->login_name)
        return refuse_memory(client);
    client->login_method = rule.method;
    client->state = CLIENT_LOGIN;
    return find_secret(client);
}

void client_login_free(struct client *client)
{
    if (client->question)
        client->question->client = NULL;
    client->question = NULL;
    login_server_free(client->login);
    client->login = NULL;
    memory_free(client->login_name);
    client->login_name = NULL;
}

enum taken client_login_message(struct client *client, const char *message, const struct wire_frame *frame)
{
    mosaic_error error;
    if (frame->type != WIRE_PASSWORD) {
        (void)!error_set(&error, MOSAIC_DATA, "expected a password response, got message type %d",
                         (unsigned char)frame->type);
        error_sqlstate(&error, "08P01");
        return client_refuse_login(client, &error);
    }
    return go_on(client,
                 login_server_message(client->login, message, frame, batch_make(&client->worker->to_client), &error),
                 &error);
}
