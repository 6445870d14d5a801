#include "proxy/client.h"

#include "base/memory.h"
#include "proxy/cancel.h"
#include "proxy/client_copy.h"
#include "proxy/client_scatter.h"
#include "proxy/commit.h"
#include "proxy/console.h"
#include "proxy/effect.h"
#include "proxy/lasting.h"
#include "proxy/login_server.h"
#include "proxy/placement.h"
#include "proxy/proxy.h"
#include "proxy/record.h"
#include "proxy/reported.h"
#include "proxy/scatter.h"
#include "proxy/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STREAMED_LEAST = 65536 };

/* ---- life ---- */

static void client_ready(struct source *source, uint32_t events)
{
    struct client *client = LIST_OWNER(struct client, channel.source, source);
    bool was_stuck = channel_stuck(&client->channel);
    channel_event(&client->channel, events);
    client_run(client);
    /* What it had not read kept its servers from being read. */
    if (!was_stuck || client->state == CLIENT_CLOSED || channel_stuck(&client->channel))
        return;
    if (client->server)
        loop_again(client->channel.loop, &client->server->channel.source);
    server_wake_kept(client);
}

static void client_again(struct source *source)
{
    client_run(LIST_OWNER(struct client, channel.source, source));
}

static void client_freed(struct source *source)
{
    memory_free(LIST_OWNER(struct client, channel.source, source));
}

static void timer_fired(struct timer *timer)
{
    struct client *client = LIST_OWNER(struct client, timer, timer);
    client_timeout(client);
}

static void keep_address(struct client *client, const struct sockaddr *address, bool is_unix)
{
    client->is_unix = is_unix;
    client->family = (uint8_t)address->sa_family;
    if (is_unix)
        return;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        memcpy(client->address, &in->sin_addr, 4);
        client->port = ntohs(in->sin_port);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)address;
        memcpy(client->address, &in->sin6_addr, 16);
        client->port = ntohs(in->sin6_port);
    }
}

bool client_new(struct worker *worker, int fd, const struct sockaddr *address, bool is_unix)
{
    int one = 1;
    struct client *client = memory_zeroed(1, sizeof *client);
    if (!client)
        return false;
    channel_init(&client->channel, &worker->loop, fd);
    source_init(&client->channel.source, client_ready, client_again, client_freed);
    client->worker = worker;
    client->number = (uint64_t)worker->number << 32 | ++worker->clients_made;
    client->status = 'I';
    client->connected_at = client->since = worker->loop.now;
    list_init(&client->kept);
    list_init(&client->wait_node);
    timer_init(&client->timer, timer_fired);
    keep_address(client, address, is_unix);
    if (!is_unix)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!channel_watch(&client->channel, false)) {
        memory_free(client);
        return false;
    }
    list_append(&worker->clients, &client->node);
    atomic_fetch_add(&worker->client_count, 1);
    atomic_fetch_add(&worker->proxy->client_count, 1);
    COUNT(&worker->counters, clients_accepted, 1);
    if (worker->settings->client_login_timeout)
        timer_set(&worker->loop.timers, &client->timer, worker->loop.now + worker->settings->client_login_timeout);
    return true;
}

static void free_session(struct client *client)
{
    scatter_drop(client->scatter);
    client->scatter = client->fetching = NULL;
    client_startup_free(client);
    client_held_clear(client);
    client_portals_clear(client);
    client_statements_clear(&client->statements);
    client_unnamed_settle(client, false);
    prepared_release(client->unnamed);
    client->unnamed = NULL;
    settings_release(transaction_end(&client->transaction));
    settings_release(client->session);
    settings_release(client->startup);
    client->session = client->startup = NULL;
    effects_free(client);
    memory_free(client->tally);
    client->tally = NULL;
    client_forget_temporary(client);
    lasting_clear(client);
    reported_free(client);
    memory_free(client->tentative);
    client->tentative = NULL;
    memory_free(client->failure);
    client->failure = NULL;
}

static void leave_servers(struct client *client)
{
    struct list *node;
    if (client->server) {
        if (client->in_segment && !client->is_fresh)
            server_close(client->server, NULL);
        else
            server_unlink(client->server);
    }
    while ((node = list_first(&client->kept)))
        server_release_kept(LIST_OWNER(struct server, kept_node, node));
}

static void tell_fatal(struct client *client, const mosaic_error *why)
{
    COUNT(client->worker->errors, from_proxy[error_class(why->sqlstate)], 1);
    struct buffer fatal = BUFFER_INIT(8192);
    wire_error_response(&fatal, "FATAL", why->sqlstate, why->message, why->detail, why->hint);
    if (!buffer_failed(&fatal))
        channel_send(&client->channel, fatal.data, fatal.size);
    buffer_free(&fatal);
}

void client_close(struct client *client, const mosaic_error *why)
{
    struct worker *worker = client->worker;
    if (client->is_leg) {
        leg_closed(client);
        return;
    }
    if (client->state == CLIENT_CLOSED)
        return;
    if (why)
        tell_fatal(client, why);
    record_end(client, why);
    console_close(client);
    if (client->state == CLIENT_READY) {
        client->user->clients--;
        atomic_fetch_sub(&client->user->account->clients, 1);
    }
    client->state = CLIENT_CLOSED;
    commit_leave(client);
    placement_leave(client);
    pool_forget(client);
    leave_servers(client);
    timer_cancel(&client->timer);
    cancel_unregister(client);
    free_session(client);
    list_remove(&client->node);
    atomic_fetch_sub(&worker->client_count, 1);
    atomic_fetch_sub(&worker->proxy->client_count, 1);
    channel_close(&client->channel);
    loop_bury(&worker->loop, &client->channel.source);
}

/* ---- answers of our own ---- */

struct buffer *client_answer(struct client *client)
{
    buffer_clear(&client->worker->local);
    return &client->worker->local;
}

bool client_answered(struct client *client)
{
    struct buffer *local = &client->worker->local;
    struct server *server = client->server;
    if (buffer_failed(local))
        return false;
    if (!server || server->expect.count == 0) {
        buffer_add(batch_make(&client->worker->to_client), buffer_string(local), local->size);
        return true;
    }
    char *copy = memory_allocate(local->size + 1);
    if (!copy)
        return false;
    memcpy(copy, buffer_string(local), local->size);
    if (expect_add(&server->expect, EXPECT_HERE, (uint32_t)local->size, copy))
        return true;
    memory_free(copy);
    return false;
}

bool client_flush(struct client *client)
{
    struct worker *worker = client->worker;
    struct server *server = client->server;
    if (!batch_empty(&worker->to_server)) {
        if (server)
            COUNT(&worker->shards[server->pool->slot], bytes_sent, batch_size(&worker->to_server));
        if (!server || !batch_send(&worker->to_server, &server->channel)) {
            batch_drop(&worker->to_server);
            if (server && !server->channel.hung_up)
                server->channel.readable = true;
            if (server)
                loop_again(&worker->loop, &server->channel.source); /* it will see the end */
        }
    }
    if (batch_send(&worker->to_client, &client->channel))
        return true;
    client_close(client, NULL);
    return false;
}

enum taken client_out_of_memory(struct client *client)
{
    mosaic_error error;
    error_memory(&error);
    client_close(client, &error);
    return TAKEN_CLOSED;
}

/* The server's own transaction fails with our error, so that its status is what PostgreSQL's would be. */
static enum taken fail_at_server(struct client *client, const char *bytes, size_t size)
{
    static const char text[] = "pgmosaic refused this statement";
    struct server *server = client->server;
    char *copy = memory_allocate(size);
    if (!copy)
        return client_out_of_memory(client);
    memcpy(copy, bytes, size);
    if (!expect_add(&server->expect, EXPECT_REFUSED, (uint32_t)size, copy)) {
        memory_free(copy);
        return client_out_of_memory(client);
    }
    struct buffer *out = batch_make(&client->worker->to_server);
    if (client->in_segment) {
        wire_parse(out, "mosaic_refused", text, sizeof text - 1, NULL, 0);
        client->skips = true;
        return TAKEN;
    }
    wire_query(out, text);
    client->awaits_ready = true;
    return expect_add(&server->expect, EXPECT_QUERY, 0, NULL) ? TAKEN : client_out_of_memory(client);
}

/* Puts the field P into the ErrorResponse that is all of the answer. */
static void add_position(struct client *client, struct buffer *answer)
{
    if (buffer_failed(answer) || answer->size < WIRE_HEADER + 1)
        return;
    answer->size--; /* the zero at its end */
    buffer_format(answer, "P%u", client->error_position);
    buffer_add(answer, "\0", 2);
    wire_end(answer, 0);
    client->error_position = 0;
}

enum taken client_refuse(struct client *client, const mosaic_error *error, bool fails)
{
    COUNT(client->worker->errors, from_proxy[error_class(error->sqlstate)], 1);
    record_client(client, EVENT_REFUSED, error);
    struct buffer *answer = client_answer(client);
    bool on_server = client->server && !client->is_fresh;
    wire_error_response(answer, "ERROR", error->sqlstate, error->message, error->detail, error->hint);
    if (client->error_position)
        add_position(client, answer);
    if (buffer_failed(answer))
        return client_out_of_memory(client);
    if (fails && on_server && (client->status == 'T' || client->in_segment))
        return fail_at_server(client, answer->data, answer->size);
    if (fails && client->status != 'I')
        client->transaction.has_failed = true;
    if (client->status != 'I' && client->transaction.has_failed)
        client->status = 'E';
    if (client->in_segment) {
        client->skips = true;
        return client_answered(client) ? TAKEN : client_out_of_memory(client);
    }
    if (client->server && client->is_fresh && client->status == 'I')
        server_unlink(client->server);
    wire_ready(answer, client->status);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

/* ---- messages ---- */

void client_violates(struct client *client, const char *what)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_DATA, "%s", what);
    error_sqlstate(&error, "08P01");
    if (client_flush(client))
        client_close(client, &error);
}

static enum taken dispatch(struct client *client, const char *message, const struct wire_frame *frame)
{
    if (client->state != CLIENT_READY)
        return client_login_message(client, message, frame);
    if (client->is_admin)
        return console_message(client, message, frame);
    switch (frame->type) {
    case WIRE_QUERY:
    case WIRE_FUNCTION_CALL:
        return client->skips && !client->asks_shape ? TAKEN : client_query(client, message, frame);
    case WIRE_PARSE:
    case WIRE_BIND:
    case WIRE_DESCRIBE:
    case WIRE_EXECUTE:
    case WIRE_CLOSE:
    case WIRE_FLUSH:
    case WIRE_SYNC:
        return client_extended(client, message, frame);
    case WIRE_TERMINATE:
        client_close(client, NULL);
        return TAKEN_CLOSED;
    default:
        break;
    }
    char text[64];
    snprintf(text, sizeof text, "invalid frontend message type %d", (unsigned char)frame->type);
    client_violates(client, text);
    return TAKEN_CLOSED;
}

/* The most that a message may have before its client is known to be welcome, and after. */
static bool fits(const struct client *client, const struct wire_frame *frame)
{
    int64_t most = client->state == CLIENT_READY ? client->worker->settings->max_packet_size : 4096;
    return frame->size - 1 <= most;
}

/* More of a message than is analysed will not be waited for. */
static bool refuse_size(struct client *client, const struct wire_frame *frame, size_t size, size_t *used)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_LIMIT, "a message of %u bytes is larger than max_analysed_size (%lld)", frame->size,
                     (long long)client->worker->settings->max_analysed_size);
    if (frame->type == WIRE_BIND)
        error_detail(&error, "Its first %zu bytes do not say to which shard it belongs.", size);
    error_hint(&error, "raise max_analysed_size, or send large values by COPY, or behind the key");
    client->passing = 'x';
    client->passing_size = frame->size - (uint32_t)size;
    *used = size;
    return client_refuse(client, &error, true) == TAKEN;
}

/* A message that is not whole yet. A large Bind goes on as soon as the values at hand say where. */
static bool step_part(struct client *client, const char *data, const struct wire_frame *frame, size_t size,
                      size_t *used)
{
    size_t most = (size_t)client->worker->settings->max_analysed_size;
    bool streams =
        frame->type == WIRE_BIND && frame->size > STREAMED_LEAST && client->state == CLIENT_READY && !client->is_admin;
    if (streams) {
        arena_reset(&client->worker->scratch);
        client->behind_size = 0;
        enum taken taken = client_bind_begun(client, data, frame, size);
        client->worker->text = NULL;
        if (taken == TAKEN) {
            client->passing_size = frame->size - (uint32_t)size;
            *used = size;
        }
        if (taken != TAKEN_MORE)
            return taken == TAKEN;
    }
    if (frame->size > most && (!streams || size >= most))
        return refuse_size(client, frame, size, used);
    if (!channel_expect(&client->channel, frame->size < most ? frame->size : most))
        (void)client_out_of_memory(client);
    return false;
}

static bool awaits_scatter(const struct client *client)
{
    return client->fetching || (client->scatter && scatter_is_busy(client->scatter));
}

/* Makes one message; *used says how much of it was. False: stop here. */
static bool step(struct client *client, const char *data, size_t size, size_t *used)
{
    struct wire_frame frame;
    *used = 0;
    if (client->passing_size) {
        *used = client_take_piece(client, data, size);
        return true;
    }
    if (client->state == CLIENT_STARTUP)
        return client_startup(client, data, size, used) == TAKEN;
    enum wire_state found = wire_peek(data, size, &frame);
    if (found == WIRE_MORE)
        return false;
    if (found == WIRE_BAD || !fits(client, &frame)) {
        client_violates(client,
                        found == WIRE_BAD ? "invalid message length" : "message is larger than max_packet_size");
        return false;
    }
    bool copies = frame.type == WIRE_COPY_DATA || frame.type == WIRE_COPY_DONE || frame.type == WIRE_COPY_FAIL;
    struct scatter *scatter = client_copy_taker(client);
    if (copies && client->state == CLIENT_READY) {
        size_t here = frame.size < size ? frame.size : size;
        *used = client_take_copy(client, data, &frame, here);
        return *used > 0;
    }
    if (scatter)
        return client_beside_copy(client, &frame, size, used);
    if (client->awaits_ready || client->state == CLIENT_WELCOME || awaits_scatter(client))
        return false;
    if (frame.size > size)
        return step_part(client, data, &frame, size, used);
    arena_reset(&client->worker->scratch);
    client->behind = data + frame.size;
    client->behind_size = size - frame.size;
    enum taken taken = dispatch(client, data, &frame);
    client->worker->text = NULL;
    if (taken == TAKEN)
        *used = frame.size;
    return taken == TAKEN;
}

bool client_awaits_reading(const struct client *client)
{
    return client->needs_reading > client->worker->readings;
}

/* Is there a reason to leave its input alone for now? */
static bool is_held_up(const struct client *client)
{
    const struct server *server = client->server;
    if (client->waits || client->replays || client->question || channel_stuck(&client->channel) ||
        commit_is_busy(client) || placement_is_busy(client))
        return true;
    if (awaits_scatter(client) && !(client_copy_taker(client) && scatter_has_room(client_copy_taker(client))))
        return true;
    if (client->is_admin && console_is_busy(client))
        return true;
    if (server && channel_stuck(&server->channel))
        return true;
    if (server && server->expect.count &&
        (client->is_opening || client->asks || client->asks_types || client->asks_shape || client->left_sync))
        return true;
    const struct worker *worker = client->worker;
    if (client_awaits_reading(client) ||
        atomic_load_explicit(&worker->proxy->readings_due, memory_order_relaxed) > worker->readings)
        return true;
    /* Behind the end of a cycle one piece of input is kept, and no more is read. */
    return client->awaits_ready && client->channel.in_size && !(server && server->sees_copy) &&
           !client_copy_taker(client);
}

/* What the shards say may go on. False: the client is gone. */
static bool resume_scatter(struct client *client)
{
    if (client->channel.hung_up || client->channel.broken) {
        client_close(client, NULL);
        return false;
    }
    scatter_resume(client->fetching ? client->fetching : client->scatter);
    return client->state != CLIENT_CLOSED;
}

void client_run(struct client *client)
{
    struct worker *worker = client->worker;
    char *data;
    size_t at = 0, used;
    if (client->commit && client->awaits_ready && !commit_is_busy(client) && !client_awaits_reading(client))
        client_scatter_committed(client);
    if (client->state == CLIENT_CLOSED || (awaits_scatter(client) && !resume_scatter(client)) || is_held_up(client))
        return;
    if (client->state == CLIENT_WELCOME) {
        client_welcome(client);
        if (client->state != CLIENT_READY)
            return;
    }
    ssize_t size = channel_read(&client->channel, worker->space, READ_MOST, &data);
    if (size == CHANNEL_DEAD) {
        client_close(client, NULL);
        return;
    }
    COUNT(&worker->counters, bytes_from_clients, size);
    client->since = worker->loop.now;
    while (at < (size_t)size && step(client, data + at, (size_t)size - at, &used))
        at += used;
    if (client->state != CLIENT_CLOSED && client_copy_taker(client))
        scatter_pass_data(client_copy_taker(client));
    if (client->state == CLIENT_CLOSED) {
        batch_drop(&worker->to_client);
        batch_drop(&worker->to_server);
        return;
    }
    if (!client_flush(client))
        return;
    if (!channel_keep(&client->channel, data + at, (size_t)size - at)) {
        (void)client_out_of_memory(client);
        return;
    }
    if (__builtin_expect(worker->stopping, 0) && !client_is_busy(client)) {
        client_stop(client); /* its transaction ended, which no shard had */
        return;
    }
    if (client->channel.readable && !is_held_up(client))
        loop_again(&worker->loop, &client->channel.source);
}

bool client_is_busy(const struct client *client)
{
    return client->state == CLIENT_READY && (client->status != 'I' || client->awaits_ready || client->in_segment ||
                                             client->waits || client->scatter || client->placement);
}

void client_stop(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_INTERRUPTED, "the proxy is shutting down");
    error_sqlstate(&error, "57P01");
    client_close(client, &error);
}

/* ---- time ---- */

void client_timeout(struct client *client)
{
    struct worker *worker = client->worker;
    mosaic_error error;
    if (client->state == CLIENT_STARTUP || client->state == CLIENT_LOGIN || client->state == CLIENT_WELCOME) {
        (void)!error_set(&error, MOSAIC_TIMEOUT, "the login took longer than client_login_timeout");
        error_sqlstate(&error, "08006");
        client_close(client, &error);
        return;
    }
    (void)worker;
}
