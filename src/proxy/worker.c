#define _GNU_SOURCE
#include "proxy/worker.h"

#include "base/memory.h"
#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/listener.h"
#include "proxy/own_schema.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"
#include "proxy/starve.h"
#include "proxy/timeout.h"
#include "proxy/waiting.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { HOUSEKEEPING_MS = 200, TURN_MS = 10000, BATCH_MOST = 1 << 30, LOCAL_MOST = 1 << 24 };

/* ---- inbox ---- */

static void handle_inbox(struct source *source)
{
    struct worker *worker = LIST_OWNER(struct worker, inbox, source);
    struct list taken, *node;
    pthread_mutex_lock(&worker->inbox_mutex);
    list_take(&worker->inbox_list, &taken);
    pthread_mutex_unlock(&worker->inbox_mutex);
    while ((node = list_first(&taken))) {
        struct message *message = LIST_OWNER(struct message, node, node);
        list_remove(node);
        message->handle(worker, message);
        memory_free(message);
    }
}

static void inbox_ready(struct source *source, uint32_t events)
{
    struct worker *worker = LIST_OWNER(struct worker, inbox, source);
    uint64_t count;
    (void)events;
    while (read(worker->inbox_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    handle_inbox(source);
}

void worker_post(struct worker *worker, struct message *message)
{
    uint64_t one = 1;
    list_init(&message->node);
    pthread_mutex_lock(&worker->inbox_mutex);
    list_append(&worker->inbox_list, &message->node);
    pthread_mutex_unlock(&worker->inbox_mutex);
    while (write(worker->inbox_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* ---- what is shared ---- */

static void each_pool(struct worker *worker, void (*act)(struct pool *pool))
{
    for (struct list *node = worker->users.next; node != &worker->users; node = node->next) {
        struct user *user = LIST_OWNER(struct user, node, node);
        for (size_t i = 0; i < user->pool_count; i++)
            if (user->pools[i])
                act(user->pools[i]);
    }
}

/* Another map or schema, other settings: taken over between two turns. */
static void take_world(struct worker *worker)
{
    struct proxy *proxy = worker->proxy;
    uint64_t readings = atomic_load_explicit(&proxy->readings, memory_order_acquire);
    if (atomic_load_explicit(&proxy->config, memory_order_relaxed) != worker->config) {
        bool traced = worker->settings->trace;
        config_release(worker->config);
        worker->config = proxy_config(proxy);
        worker->settings = &worker->config->settings;
        if (traced && !worker->settings->trace) /* no later session sees an id of before */
            each_pool(worker, pool_renew);
    }
    if (atomic_load_explicit(&proxy->world, memory_order_relaxed) != worker->world) {
        struct world *before = worker->world;
        worker->world = proxy_world(proxy);
        worker_world_changed(worker, before);
        atomic_store(&worker->world_version, worker->world->version);
        world_release(before);
    }
    if (readings != worker->readings) {
        worker->readings = readings;
        clients_world_changed(worker);
    }
}

/* ---- housekeeping ---- */

static void housekeep(struct timer *timer)
{
    struct worker *worker = LIST_OWNER(struct worker, housekeeping, timer);
    each_pool(worker, pool_tend);
    timeouts_look(worker);
    waiting_look(worker);
    starve_look(worker);
    timer_set(&worker->loop.timers, timer, worker->loop.now + HOUSEKEEPING_MS);
}

/* ---- life ---- */

mosaic_status worker_init(struct worker *worker, struct proxy *proxy, unsigned number, mosaic_error *error)
{
    uint64_t seed;
    *worker = (struct worker){.proxy = proxy, .number = number, .inbox_fd = -1};
    list_init(&worker->clients);
    list_init(&worker->cancellers);
    list_init(&worker->users);
    list_init(&worker->inbox_list);
    pthread_mutex_init(&worker->inbox_mutex, NULL);
    worker->loop.epoll = -1;
    mosaic_status status = loop_init(&worker->loop, error);
    if (status != MOSAIC_OK)
        return status;
    worker->inbox_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    source_init(&worker->inbox, inbox_ready, handle_inbox, NULL);
    if (worker->inbox_fd < 0 || !loop_add(&worker->loop, &worker->inbox, worker->inbox_fd, EPOLLIN))
        return error_errno(error, "cannot make a worker's inbox");
    worker->world = proxy_world(proxy);
    atomic_init(&worker->world_version, worker->world->version);
    worker->config = proxy_config(proxy);
    worker->settings = &worker->config->settings;
    worker->to_client.made = worker->to_server.made = BUFFER_INIT(BATCH_MOST);
    worker->local = BUFFER_INIT(LOCAL_MOST);
    memcpy(&seed, proxy->secret, sizeof seed);
    worker->space = memory_allocate(WORKER_SPACE);
    worker->shards = memory_zeroed(SHARDS_MOST, sizeof *worker->shards);
    worker->errors = memory_zeroed(1, sizeof *worker->errors);
    if (!worker->space || !worker->shards || !worker->errors || !settings_table_init(&worker->settings_table, seed) ||
        !prepared_table_init(&worker->prepared_table, seed))
        return error_memory(error);
    timer_init(&worker->housekeeping, housekeep);
    timer_set(&worker->loop.timers, &worker->housekeeping, worker->loop.now + HOUSEKEEPING_MS);
    return MOSAIC_OK;
}

static void *run(void *context)
{
    struct worker *worker = context;
    while (!worker->stopping || !list_empty(&worker->clients) || (worker->commits && !worker->at_once)) {
        take_world(worker);
        loop_turn(&worker->loop, TURN_MS);
    }
    atomic_store(&worker->has_ended, true);
    return NULL;
}

mosaic_status worker_start(struct worker *worker, mosaic_error *error)
{
    char name[16];
    int code = pthread_create(&worker->thread, NULL, run, worker);
    if (code != 0) {
        errno = code;
        return error_errno(error, "cannot start a thread");
    }
    worker->is_started = true;
    snprintf(name, sizeof name, "worker %u", worker->number);
    pthread_setname_np(worker->thread, name);
    return MOSAIC_OK;
}

static void drop_inbox(struct worker *worker)
{
    struct list *node;
    while ((node = list_first(&worker->inbox_list))) {
        list_remove(node);
        memory_free(LIST_OWNER(struct message, node, node));
    }
}

void worker_free(struct worker *worker)
{
    struct list *node;
    while ((node = list_first(&worker->clients)))
        client_close(LIST_OWNER(struct client, node, node), NULL);
    worker_free_users(worker);
    cancel_end(worker);
    drop_inbox(worker);
    loop_free(&worker->loop);
    if (worker->inbox_fd >= 0)
        close(worker->inbox_fd);
    settings_table_free(&worker->settings_table);
    prepared_table_free(&worker->prepared_table);
    plan_cache_free(worker->plans);
    own_schemas_free_dropped(worker);
    buffer_free(&worker->to_client.made);
    buffer_free(&worker->to_server.made);
    buffer_free(&worker->local);
    arena_free(&worker->scratch);
    memory_free(worker->space);
    memory_free(worker->shards);
    memory_free(worker->errors);
    memory_free(worker->slots);
    world_release(worker->world);
    config_release(worker->config);
    pthread_mutex_destroy(&worker->inbox_mutex);
}

/* ---- stopping ---- */

struct stop_message {
    struct message message; /* first */
    bool at_once;
};

static void stop(struct worker *worker, struct message *message)
{
    bool at_once = LIST_OWNER(struct stop_message, message, message)->at_once;
    worker->stopping = true;
    worker->at_once |= at_once;
    if (worker->number == 0)
        listeners_close(worker->proxy);
    for (struct list *node = worker->clients.next, *next; node != &worker->clients; node = next) {
        struct client *client = LIST_OWNER(struct client, node, node);
        next = node->next;
        if (at_once || !client_is_busy(client))
            client_stop(client);
    }
}

void worker_stop(struct worker *worker, bool at_once)
{
    struct stop_message *message = memory_zeroed(1, sizeof *message);
    if (!message)
        return;
    message->message.handle = stop;
    message->at_once = at_once;
    worker_post(worker, &message->message);
}
