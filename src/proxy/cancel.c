#include "proxy/cancel.h"

#include "base/memory.h"
#include "proxy/commit.h"
#include "proxy/control.h"
#include "proxy/placement.h"
#include "proxy/proxy.h"
#include "proxy/scatter.h"
#include "proxy/server.h"
#include "proxy/tls.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum { SLOT_BITS = 20, FIRST_SLOTS = 64, REQUEST_MOST = 300 };

/* ---- keys ---- */

static bool grow(struct worker *worker)
{
    uint32_t count = worker->slot_count ? worker->slot_count * 2 : FIRST_SLOTS;
    if (count > 1u << SLOT_BITS)
        return false;
    struct client **slots = memory_resize(worker->slots, count * sizeof(struct client *));
    if (!slots)
        return false;
    memset(slots + worker->slot_count, 0, (count - worker->slot_count) * sizeof(struct client *));
    worker->slots = slots;
    worker->slot_free_hint = worker->slot_count ? worker->slot_count : 1; /* slot 0 is none */
    worker->slot_count = count;
    return true;
}

bool cancel_register(struct client *client)
{
    struct worker *worker = client->worker;
    uint32_t slot = worker->slot_free_hint;
    while (slot < worker->slot_count && (slot == 0 || worker->slots[slot]))
        slot++;
    if (slot >= worker->slot_count) {
        if (!grow(worker))
            return false;
        slot = worker->slot_free_hint;
    }
    worker->slots[slot] = client;
    worker->slot_free_hint = slot + 1;
    client->slot = slot;
    proxy_random(client->key, sizeof client->key);
    return true;
}

void cancel_unregister(struct client *client)
{
    struct worker *worker = client->worker;
    if (!client->slot)
        return;
    worker->slots[client->slot] = NULL;
    if (client->slot < worker->slot_free_hint)
        worker->slot_free_hint = client->slot;
    client->slot = 0;
}

uint32_t cancel_pid(const struct client *client)
{
    return client->worker->number << SLOT_BITS | client->slot;
}

/* ---- the request to the shard ---- */

enum canceller_state {
    CANCELLER_CONNECTING,
    CANCELLER_ASKING, /* for TLS */
    CANCELLER_SENT
};

struct canceller {
    struct channel channel; /* first */
    struct server *server;  /* NULL: it is gone */
    struct list node;       /* of server->cancellers */
    struct list sibling;    /* of worker->cancellers */
    struct worker *worker;
    struct timer timer;
    enum canceller_state state;
    struct tls *tls; /* the request goes over TLS: until it is asked for */
    struct buffer request;
};

/* Its channel is closed. */
static void canceller_free(struct source *source)
{
    struct canceller *canceller = LIST_OWNER(struct canceller, channel.source, source);
    tls_free(canceller->tls);
    buffer_free(&canceller->request);
    memory_free(canceller);
}

static void canceller_end(struct canceller *canceller)
{
    struct server *server = canceller->server;
    if (canceller->channel.source.buried)
        return;
    timer_cancel(&canceller->timer);
    channel_close(&canceller->channel);
    loop_bury(&canceller->worker->loop, &canceller->channel.source);
    list_remove(&canceller->node);
    list_remove(&canceller->sibling);
    if (server)
        server_cancel_ended(server);
}

void cancel_forget(struct server *server)
{
    struct list *node;
    while ((node = list_first(&server->cancellers))) {
        list_remove(node);
        LIST_OWNER(struct canceller, node, node)->server = NULL;
    }
}

void cancel_end(struct worker *worker)
{
    struct list *node;
    while ((node = list_first(&worker->cancellers)))
        canceller_end(LIST_OWNER(struct canceller, sibling, node));
}

static void send_request(struct canceller *canceller)
{
    canceller->state = CANCELLER_SENT;
    channel_send(&canceller->channel, canceller->request.data, canceller->request.size);
}

static void connected(struct canceller *canceller)
{
    struct buffer ask = BUFFER_INIT(REQUEST_MOST);
    if (!canceller->tls) {
        send_request(canceller);
        return;
    }
    canceller->state = CANCELLER_ASKING;
    wire_ssl_request(&ask);
    if (!buffer_failed(&ask))
        channel_send(&canceller->channel, ask.data, ask.size);
    buffer_free(&ask);
}

/* The server's answer, which must be one byte. Without TLS the key does not leave: it is a secret. */
static bool start_tls(struct canceller *canceller, const char *answer, size_t size)
{
    if (size != 1 || *answer != 'S')
        return false;
    channel_start_tls(&canceller->channel, canceller->tls);
    canceller->tls = NULL;
    send_request(canceller);
    return true;
}

static void canceller_again(struct source *source)
{
    struct canceller *canceller = LIST_OWNER(struct canceller, channel.source, source);
    struct channel *channel = &canceller->channel;
    char *data;
    while (channel->readable && !channel->broken) {
        ssize_t size = channel_read(channel, canceller->worker->space, 64, &data);
        if (size == CHANNEL_DEAD || !channel_keep(channel, data, 0) ||
            (size > 0 && canceller->state == CANCELLER_ASKING && !start_tls(canceller, data, (size_t)size))) {
            canceller_end(canceller);
            return;
        }
    }
    /* The postmaster closes the connection when the signal was sent. */
    if (channel->broken || channel->hung_up)
        canceller_end(canceller);
}

static void canceller_ready(struct source *source, uint32_t events)
{
    struct canceller *canceller = LIST_OWNER(struct canceller, channel.source, source);
    channel_event(&canceller->channel, events);
    if (canceller->state == CANCELLER_CONNECTING && !canceller->channel.wants_room && !canceller->channel.broken)
        connected(canceller);
    canceller_again(source);
}

static void canceller_timeout(struct timer *timer)
{
    struct canceller *canceller = LIST_OWNER(struct canceller, timer, timer);
    /* The signal may still come: the server cannot serve others any more. */
    if (canceller->server)
        canceller->server->unfit = true;
    canceller_end(canceller);
}

/* One that the loop does not know yet. */
static void canceller_drop(struct canceller *canceller)
{
    channel_close(&canceller->channel);
    canceller_free(&canceller->channel.source);
}

/* To the address that the server itself is at, and over TLS if it is. */
static struct canceller *canceller_new(struct server *server)
{
    struct canceller *canceller = memory_zeroed(1, sizeof *canceller);
    if (!canceller)
        return NULL;
    int fd = socket(server->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    channel_init(&canceller->channel, &server->worker->loop, fd);
    source_init(&canceller->channel.source, canceller_ready, canceller_again, canceller_free);
    timer_init(&canceller->timer, canceller_timeout);
    canceller->server = server;
    canceller->worker = server->worker;
    canceller->request = BUFFER_INIT(REQUEST_MOST);
    wire_cancel_request(&canceller->request, server->pid, server->key, server->key_size);
    if (fd >= 0 && server->channel.tls)
        canceller->tls = tls_again(server->channel.tls, fd);
    if (fd >= 0 && !buffer_failed(&canceller->request) && !server->channel.tls == !canceller->tls)
        return canceller;
    canceller_drop(canceller);
    return NULL;
}

/* BEGIN is on its way: were it cancelled, what is sent behind it would be carried out, and committed, by itself. */
static bool is_beginning(const struct server *server)
{
    return server->status == 'I' && server->expect.count > 1 && expect_head(&server->expect)->kind == EXPECT_OURS;
}

bool cancel_server(struct server *server)
{
    struct worker *worker = server->worker;
    server->cancel_due = is_beginning(server);
    if (server->cancel_due)
        return true;
    struct canceller *canceller = server->key_size ? canceller_new(server) : NULL;
    if (!canceller)
        return false;
    int fd = canceller->channel.fd;
    if ((connect(fd, (const struct sockaddr *)&server->address, server->address_size) != 0 && errno != EINPROGRESS) ||
        !channel_watch(&canceller->channel, true)) {
        canceller_drop(canceller);
        return false;
    }
    list_append(&server->cancellers, &canceller->node);
    list_append(&worker->cancellers, &canceller->sibling);
    server->cancels++;
    COUNT(&worker->counters, cancels, 1);
    timer_set(&worker->loop.timers, &canceller->timer, worker->loop.now + worker->settings->cancel_wait_timeout);
    return true;
}

/* ---- the request of a client ---- */

enum { KEY_MOST = 32 };

struct cancel_message {
    struct message message; /* first */
    uint32_t pid, key_size;
    unsigned char key[KEY_MOST];
};

static void pass_on(struct proxy *proxy, uint32_t pid, const unsigned char *key, uint32_t size)
{
    int elder = atomic_load(&proxy->elder);
    if (elder >= 0)
        control_cancel(elder, pid, key, size);
}

static void carry_out(struct worker *worker, struct message *message)
{
    const struct cancel_message *request = LIST_OWNER(struct cancel_message, message, message);
    uint32_t slot = request->pid & ((1u << SLOT_BITS) - 1);
    struct client *client = slot < worker->slot_count ? worker->slots[slot] : NULL;
    if (!client || request->key_size != (client->minor >= 2 ? 32u : 4u) ||
        !secret_equal(request->key, client->key, request->key_size)) {
        pass_on(worker->proxy, request->pid, request->key, request->key_size);
        return;
    }
    if (client->waits) {
        mosaic_error error;
        pool_forget(client);
        (void)!error_set(&error, MOSAIC_INTERRUPTED, "canceling statement due to user request");
        client_server_refused(client, &error);
    } else if (client->placement) {
        placement_cancel(client);
    } else if (client->commit) { /* also that of a scatter, which has ended before */
        (void)commit_cancel(client);
    } else if (client->scatter || client->fetching) {
        scatter_cancel(client->scatter ? client->scatter : client->fetching);
    } else if (client->server && !server_is_clean(client->server)) {
        cancel_server(client->server);
    }
}

void cancel_request(struct proxy *proxy, uint32_t pid, const unsigned char *key, uint32_t size)
{
    uint32_t number = pid >> SLOT_BITS;
    if (size > KEY_MOST)
        return;
    if (number >= proxy->worker_count) {
        pass_on(proxy, pid, key, size);
        return;
    }
    struct cancel_message *request = memory_zeroed(1, sizeof *request);
    if (!request)
        return;
    *request = (struct cancel_message){.message.handle = carry_out, .pid = pid, .key_size = size};
    memcpy(request->key, key, size);
    worker_post(&proxy->workers[number], &request->message);
}
