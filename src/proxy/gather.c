#include "proxy/gather.h"

#include "base/memory.h"
#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/server.h"
#include "proxy/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PLANS_MOST = 200, PLAN_TEXT_MOST = 500, WAIT_S = 10 };

/* ---- one worker's part ---- */

struct clocks {
    int64_t loop_us, day_us; /* the same moment by both */
};

static struct clocks clocks_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (struct clocks){loop_clock_us(), (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000};
}

static int64_t day_of(struct clocks clocks, int64_t loop_ms)
{
    return loop_ms ? clocks.day_us - (clocks.loop_us - loop_ms * 1000) : 0;
}

/* An address as text; "unix" for a Unix socket. */
static const char *address_text(struct snapshot_part *part, const struct sockaddr_storage *address, uint16_t *port)
{
    char text[INET6_ADDRSTRLEN] = "unix";
    *port = 0;
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        *port = ntohs(in->sin_port);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)address;
        inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text);
        *port = ntohs(in->sin6_port);
    }
    return snapshot_text(part, text);
}

static const char *local_text(struct snapshot_part *part, int fd, uint16_t *port)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        address.ss_family = AF_UNIX;
    return address_text(part, &address, port);
}

static const char *remote_text(struct snapshot_part *part, int fd, uint16_t *port)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (fd < 0 || getpeername(fd, (struct sockaddr *)&address, &size) != 0)
        address.ss_family = AF_UNIX;
    return address_text(part, &address, port);
}

static const char *shard_name(const struct worker *worker, size_t shard)
{
    const struct model *model = &worker->world->model;
    return shard < model_places(model) ? model->shards[shard].name : "?";
}

/* "TLSv1.3/TLS_AES_256_GCM_SHA384" */
static const char *tls_text(struct snapshot_part *part, const struct tls *tls)
{
    char text[100];
    if (!tls || !tls_is_ready(tls))
        return NULL;
    snprintf(text, sizeof text, "%s/%s", tls_version(tls), tls_cipher(tls));
    return snapshot_text(part, text);
}

static const char *client_state_name(const struct client *client)
{
    if (client->waits)
        return "waiting";
    if (client->state != CLIENT_READY)
        return "login";
    return client->server || client->scatter || client->fetching ? "active" : "idle";
}

static void take_client(struct snapshot_part *part, const struct client *client, struct clocks clocks)
{
    const struct worker *worker = client->worker;
    struct client_row *row = snapshot_client(part);
    if (!row)
        return;
    row->id = client->number;
    row->pid = (int32_t)cancel_pid(client);
    row->user = snapshot_text(part, client->user ? client->user->account->name : NULL);
    row->database = snapshot_text(part, client->is_admin ? "pgmosaic" : worker->world->model.name);
    row->application_name = snapshot_text(part, client->application_name);
    row->state = client_state_name(client);
    row->tls = tls_text(part, client->channel.tls);
    row->address = remote_text(part, client->channel.fd, &row->port);
    row->local_address = local_text(part, client->channel.fd, &row->local_port);
    row->connected_at = day_of(clocks, client->connected_at);
    row->requested_at = day_of(clocks, client->since);
    row->waited = client->waits ? clocks.loop_us - client->since * 1000 : 0;
    row->prepared = (uint32_t)client->statements.count;
    if (!client->server)
        return;
    row->link = client->server->number;
    row->shard = snapshot_text(part, shard_name(worker, client->server->pool->shard));
}

static const char *server_state_name(const struct server *server)
{
    switch (server->state) {
    case SERVER_IDLE:
        return "idle";
    case SERVER_ACTIVE:
        return "active";
    case SERVER_KEPT:
        return "used";
    case SERVER_RESETTING:
        return "tested";
    default:
        return "new";
    }
}

static void take_server(struct snapshot_part *part, const struct server *server, struct clocks clocks)
{
    const struct worker *worker = server->worker;
    const struct client *client = server->client ? server->client : server->keeper;
    struct server_row *row = snapshot_server(part);
    if (!row)
        return;
    row->id = server->number;
    row->user = snapshot_text(part, server->pool->user->account->name);
    row->database = snapshot_text(part, server->pool->shard < model_places(&worker->world->model)
                                            ? worker->world->targets[server->pool->shard].database
                                            : NULL);
    row->shard = snapshot_text(part, shard_name(worker, server->pool->shard));
    row->application_name = snapshot_text(part, client ? client->application_name : NULL);
    row->state = server_state_name(server);
    row->tls = tls_text(part, server->channel.tls);
    row->address = remote_text(part, server->channel.fd, &row->port);
    row->local_address = local_text(part, server->channel.fd, &row->local_port);
    row->connected_at = day_of(clocks, server->connected_at);
    row->requested_at = day_of(clocks, server->used_at);
    row->close_needed = server->unfit;
    row->link = client ? client->number : 0;
    row->pid = (int32_t)server->pid;
    row->prepared = (uint32_t)server->statements.count;
}

static void take_servers(struct snapshot_part *part, const struct list *servers, struct clocks clocks)
{
    for (const struct list *node = servers->next; node != servers; node = node->next)
        take_server(part, LIST_OWNER(const struct server, node, node), clocks);
}

static void take_pool(struct snapshot_part *part, const struct pool *pool, struct clocks clocks)
{
    struct pool_row *row = snapshot_pool(part);
    if (!row)
        return;
    row->user = snapshot_text(part, pool->user->account->name);
    row->shard = snapshot_text(part, shard_name(pool->worker, pool->shard));
    row->cl_waiting = pool->waiting_count;
    row->sv_idle = pool->idle_count;
    row->sv_used = pool->kept_count;
    row->sv_login = pool->connecting_count;
    for (const struct list *node = pool->active.next; node != &pool->active; node = node->next) {
        const struct server *server = LIST_OWNER(const struct server, node, node);
        row->cl_active_cancel += server->cancels;
        row->sv_being_canceled += server->cancels && !server->client;
        row->sv_tested += !server->client && !server->cancels;
        row->sv_active += server->client != NULL;
    }
    row->cl_active = row->sv_active;
    const struct client *longest = pool_waits_longest(pool);
    if (longest)
        row->maxwait = clocks.loop_us - longest->since * 1000;
}

/* Clients that use no server connection, and wait for none. */
static void take_idle(struct snapshot_part *part, const struct user *user, uint32_t busy)
{
    struct pool_row *row = user->clients > busy ? snapshot_pool(part) : NULL;
    if (!row)
        return;
    row->user = snapshot_text(part, user->account->name);
    row->cl_active = user->clients - busy;
}

static uint32_t linked(const struct pool *pool)
{
    uint32_t count = 0;
    for (const struct list *node = pool->active.next; node != &pool->active; node = node->next)
        count += LIST_OWNER(const struct server, node, node)->client != NULL;
    return count;
}

static void take_user(struct snapshot_part *part, const struct user *user, struct clocks clocks)
{
    uint32_t busy = 0;
    for (size_t i = 0; i < user->pool_count; i++) {
        const struct pool *pool = user->pools[i];
        if (!pool || pool->shard == POOL_GONE)
            continue;
        busy += linked(pool) + pool->waiting_count;
        if (part->wants & SNAPSHOT_POOLS)
            take_pool(part, pool, clocks);
        if (!(part->wants & SNAPSHOT_SERVERS))
            continue;
        take_servers(part, &pool->connecting, clocks);
        take_servers(part, &pool->idle, clocks);
        take_servers(part, &pool->active, clocks);
        take_servers(part, &pool->kept, clocks);
    }
    if (part->wants & SNAPSHOT_POOLS)
        take_idle(part, user, busy);
}

/* What the first statement of a text is, and the tables that it names. */
static const char *plan_text(struct snapshot_part *part, const struct facts_list *list)
{
    const struct facts *facts = list->count ? &list->facts[0] : NULL;
    char text[300];
    if (!facts)
        return "empty";
    int used = snprintf(text, sizeof text, "%s%s", list->count > 1 ? "several, first: " : "",
                        facts->refusal ? facts->refusal->message : statement_class_name(facts->class));
    for (size_t i = 0; i < facts->relation_count && !facts->refusal && used > 0 && (size_t)used < sizeof text; i++) {
        const struct fact_relation *relation = &facts->relations[i];
        used += snprintf(text + used, sizeof text - (size_t)used, "%s %s%s", i ? "," : ":", relation->relation->name,
                         relation->is_bound  ? " by its key"
                         : relation->missing ? " without its key"
                                             : "");
    }
    return snapshot_text(part, text);
}

static void take_plan(void *context, const char *text, size_t size, const struct facts_list *list, uint64_t uses)
{
    struct snapshot_part *part = context;
    struct plan_row *row = part->plan_count < PLANS_MOST ? snapshot_plan(part) : NULL;
    if (!row)
        return;
    if (size > PLAN_TEXT_MOST)
        for (size = PLAN_TEXT_MOST; size && ((unsigned char)text[size] & 0xC0) == 0x80;)
            size--; /* not within a character */
    char *copy = arena_copy(&part->arena, text, size);
    part->failed |= !copy;
    row->text = copy;
    row->plan = plan_text(part, list);
    row->uses = uses;
}

static void fill(struct worker *worker, struct snapshot_part *part)
{
    struct clocks clocks = clocks_now();
    for (struct list *node = worker->users.next; node != &worker->users; node = node->next)
        take_user(part, LIST_OWNER(struct user, node, node), clocks);
    if (part->wants & SNAPSHOT_CLIENTS)
        for (struct list *node = worker->clients.next; node != &worker->clients; node = node->next)
            take_client(part, LIST_OWNER(struct client, node, node), clocks);
    if (!(part->wants & SNAPSHOT_PLANS) || !worker->plans)
        return;
    plan_cache_count(worker->plans, &part->plan_counts);
    plan_cache_each(worker->plans, take_plan, part);
}

/* ---- all of them ---- */

struct gather_message {
    struct message message; /* first */
    struct gather *gather;
    unsigned number;
};

static void handle(struct worker *worker, struct message *message)
{
    const struct gather_message *mine = LIST_OWNER(struct gather_message, message, message);
    struct gather *gather = mine->gather;
    fill(worker, &gather->snapshot.parts[mine->number]);
    if (atomic_fetch_sub(&gather->left, 1) == 1)
        gather->done(gather);
}

bool gather_start(struct proxy *proxy, unsigned wants, void (*done)(struct gather *), void *context)
{
    unsigned count = proxy->worker_count;
    struct gather *gather = memory_zeroed(1, sizeof *gather);
    struct snapshot_part *parts = memory_zeroed(count, sizeof *parts);
    struct gather_message **messages = memory_zeroed(count, sizeof *messages);
    bool whole = gather && parts && messages;
    for (unsigned i = 0; i < count && whole; i++) {
        messages[i] = memory_zeroed(1, sizeof **messages);
        whole = messages[i] != NULL;
    }
    if (!whole) {
        for (unsigned i = 0; messages && i < count; i++)
            memory_free(messages[i]);
        memory_free(messages);
        memory_free(parts);
        memory_free(gather);
        return false;
    }
    gather->snapshot = (struct snapshot){parts, count};
    gather->wants = wants;
    gather->done = done;
    gather->context = context;
    atomic_init(&gather->left, count);
    for (unsigned i = 0; i < count; i++) {
        parts[i].wants = wants;
        parts[i].thread = i;
        *messages[i] = (struct gather_message){.message.handle = handle, .gather = gather, .number = i};
        worker_post(&proxy->workers[i], &messages[i]->message);
    }
    memory_free(messages);
    return true;
}

void gather_free(struct gather *gather)
{
    if (!gather)
        return;
    for (size_t i = 0; i < gather->snapshot.count; i++)
        snapshot_part_free(&gather->snapshot.parts[i]);
    memory_free(gather->snapshot.parts);
    memory_free(gather);
}

/* ---- waiting ---- */

struct waiting {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct gather *gather; /* when it is whole */
    bool left;             /* nobody waits any more */
};

static void waiting_free(struct waiting *waiting)
{
    pthread_mutex_destroy(&waiting->mutex);
    pthread_cond_destroy(&waiting->changed);
    memory_free(waiting);
}

static void tell(struct gather *gather)
{
    struct waiting *waiting = gather->context;
    pthread_mutex_lock(&waiting->mutex);
    waiting->gather = gather;
    bool left = waiting->left;
    pthread_cond_signal(&waiting->changed);
    pthread_mutex_unlock(&waiting->mutex);
    if (!left)
        return;
    gather_free(gather);
    waiting_free(waiting);
}

struct gather *gather_wait(struct proxy *proxy, unsigned wants)
{
    struct timespec until;
    struct waiting *waiting = memory_zeroed(1, sizeof *waiting);
    if (!waiting)
        return NULL;
    pthread_mutex_init(&waiting->mutex, NULL);
    pthread_cond_init(&waiting->changed, NULL);
    if (!gather_start(proxy, wants, tell, waiting)) {
        waiting_free(waiting);
        return NULL;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&waiting->mutex);
    while (!waiting->gather && pthread_cond_timedwait(&waiting->changed, &waiting->mutex, &until) != ETIMEDOUT)
        ;
    struct gather *gather = waiting->gather;
    waiting->left = !gather;
    pthread_mutex_unlock(&waiting->mutex);
    if (gather)
        waiting_free(waiting);
    return gather;
}
