#include "proxy/console_run.h"

#include "base/memory.h"
#include "proxy/log.h"
#include "proxy/operation.h"
#include "proxy/proxy.h"
#include "proxy/reload.h"
#include "proxy/server.h"
#include "proxy/view.h"

#include <string.h>

enum { EVERY = -1 }; /* all shards */

/* ---- SHOW ---- */

mosaic_status console_show(struct console *console, const struct snapshot *snapshot, struct admin_table *table,
                           mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct admin_view view;
    struct worker *worker = console->worker;
    for (size_t i = 0; snapshot && i < snapshot->count; i++)
        if (snapshot->parts[i].failed)
            return error_memory(error);
    mosaic_status status = view_make(worker->proxy, worker->world, worker->config, snapshot, &arena, &view, error);
    view.table = console->session.run.argument;
    if (status == MOSAIC_OK)
        status = admin_show(console->session.run.command, &view, table, error);
    arena_free(&arena);
    return status;
}

static unsigned wants_of(enum admin_command command)
{
    switch (command) {
    case ADMIN_SHOW_POOLS:
    case ADMIN_SHOW_LISTS:
        return SNAPSHOT_POOLS;
    case ADMIN_SHOW_CLIENTS:
        return SNAPSHOT_CLIENTS;
    case ADMIN_SHOW_SERVERS:
        return SNAPSHOT_SERVERS;
    case ADMIN_SHOW_PLANS:
    case ADMIN_SHOW_MEM:
        return SNAPSHOT_PLANS;
    default:
        return 0;
    }
}

/* ---- orders to all threads ---- */

struct order {
    struct message message; /* first */
    int slot;               /* of a shard, or EVERY */
};

static bool send_orders(struct proxy *proxy, void (*handle)(struct worker *, struct message *), int slot)
{
    for (unsigned i = 0; i < proxy->worker_count; i++) {
        struct order *order = memory_zeroed(1, sizeof *order);
        if (!order)
            return false;
        *order = (struct order){.message.handle = handle, .slot = slot};
        worker_post(&proxy->workers[i], &order->message);
    }
    return true;
}

static void each_pool(struct worker *worker, int slot, void (*act)(struct pool *pool))
{
    for (struct list *node = worker->users.next; node != &worker->users; node = node->next) {
        struct user *user = LIST_OWNER(struct user, node, node);
        for (size_t i = 0; i < user->pool_count; i++)
            if (user->pools[i] && (slot == EVERY || (size_t)slot == i))
                act(user->pools[i]);
    }
}

static void renew(struct worker *worker, struct message *message)
{
    each_pool(worker, LIST_OWNER(struct order, message, message)->slot, pool_renew);
}

static void resume(struct worker *worker, struct message *message)
{
    each_pool(worker, LIST_OWNER(struct order, message, message)->slot, pool_tend);
}

static void kill_servers(struct list *servers)
{
    mosaic_error error;
    struct list *node;
    (void)!error_set(&error, MOSAIC_INTERRUPTED, "the connection was ended by KILL");
    error_sqlstate(&error, "57P01");
    while ((node = list_first(servers))) {
        struct server *server = LIST_OWNER(struct server, node, node);
        struct client *client = server->client ? server->client : server->keeper;
        if (client)
            client_close(client, &error);
        if (server->state != SERVER_CLOSED)
            server_close(server, &error);
    }
}

static void kill_pool(struct pool *pool)
{
    kill_servers(&pool->idle);
    kill_servers(&pool->active);
    kill_servers(&pool->kept);
    kill_servers(&pool->connecting);
}

static void kill_all(struct worker *worker, struct message *message)
{
    int slot = LIST_OWNER(struct order, message, message)->slot;
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_INTERRUPTED, "the connection was ended by KILL");
    error_sqlstate(&error, "57P01");
    for (struct list *node = worker->clients.next, *next; slot == EVERY && node != &worker->clients; node = next) {
        struct client *client = LIST_OWNER(struct client, node, node);
        next = node->next;
        if (!client->is_admin)
            client_close(client, &error);
    }
    each_pool(worker, slot, kill_pool);
}

/* KILL_CLIENT goes to the thread that the number names, and comes back with what it found. */
struct kill_answer {
    struct message message; /* first */
    struct console *console;
    uint64_t id;
    bool is_found;
};
struct kill_order {
    struct message message; /* first */
    struct kill_answer *answer;
};

static void client_killed(struct worker *worker, struct message *message)
{
    const struct kill_answer *answer = LIST_OWNER(struct kill_answer, message, message);
    mosaic_error error;
    (void)worker;
    if (!console_returned(answer->console))
        return;
    (void)!error_set(&error, MOSAIC_NOT_FOUND, "there is no client %llu", (unsigned long long)answer->id);
    error_hint(&error, "SHOW CLIENTS has their numbers, in the column id");
    console_done(answer->console, answer->is_found ? MOSAIC_OK : error.status, &error);
}

static void kill_client(struct worker *worker, struct message *message)
{
    struct kill_answer *answer = LIST_OWNER(struct kill_order, message, message)->answer;
    struct worker *asker = answer->console->worker;
    mosaic_error error;
    for (struct list *node = worker->clients.next, *next; node != &worker->clients; node = next) {
        struct client *client = LIST_OWNER(struct client, node, node);
        next = node->next;
        if (client->number != answer->id)
            continue;
        (void)!error_set(&error, MOSAIC_INTERRUPTED, "the connection was ended by KILL_CLIENT");
        error_sqlstate(&error, "57P01");
        client_close(client, &error);
        answer->is_found = true;
    }
    worker_post(asker, &answer->message);
}

/* ---- commands ---- */

/* The shard that the argument names; EVERY for none and for the cluster's name. False: there is none such. */
static bool find_shard(const struct console *console, int *shard, mosaic_error *error)
{
    const struct model *model = &console->worker->world->model;
    const char *name = console->session.run.argument;
    *shard = EVERY;
    if (!name || strcmp(name, model->name) == 0)
        return true;
    for (size_t i = 0; i < model_places(model); i++)
        if (strcmp(model->shards[i].name, name) == 0)
            *shard = (int)i;
    if (*shard != EVERY)
        return true;
    (void)!error_set(error, MOSAIC_NOT_FOUND, "there is no shard %.100s", name);
    error_hint(error, "SHOW SHARDS has their names");
    return false;
}

static bool covers(int shard, size_t i)
{
    return shard == EVERY || (size_t)shard == i;
}

static void set_paused(const struct console *console, int shard, bool paused)
{
    struct operation *operation = console->worker->proxy->operation;
    const struct world *world = console->worker->world;
    for (size_t i = 0; i < model_places(&world->model); i++)
        if (covers(shard, i)) {
            atomic_store(&operation->emptied[world->slots[i]], false);
            atomic_store(&operation->paused[world->slots[i]], paused);
        }
}

static void set_emptied(const struct console *console, int shard)
{
    const struct world *world = console->worker->world;
    for (size_t i = 0; i < model_places(&world->model); i++)
        if (covers(shard, i))
            atomic_store(&console->worker->proxy->operation->emptied[world->slots[i]], true);
}

static bool order_all(const struct console *console, int shard)
{
    enum admin_command command = console->session.run.command;
    return send_orders(console->worker->proxy,
                       command == ADMIN_KILL     ? kill_all
                       : command == ADMIN_RESUME ? resume
                                                 : renew,
                       shard == EVERY ? EVERY : (int)console->worker->world->slots[shard]);
}

/* PAUSE, KILL, RECONNECT, RESUME and WAIT_CLOSE. */
static void run_on_shards(struct console *console)
{
    enum admin_command command = console->session.run.command;
    mosaic_error error;
    int shard;
    if (!find_shard(console, &shard, &error)) {
        console_done(console, error.status, &error);
        return;
    }
    if (command == ADMIN_WAIT_CLOSE) {
        console->waits_for = CONSOLE_CLOSED;
        console_gather(console, SNAPSHOT_SERVERS);
        return;
    }
    if (command == ADMIN_RECONNECT) {
        console->ticket = reload_ask(console->worker->proxy->reload, false);
        console_wait(console, CONSOLE_FOUND);
        return;
    }
    set_paused(console, shard, command != ADMIN_RESUME);
    if (!order_all(console, shard))
        console_done(console, error_memory(&error), &error);
    else if (command == ADMIN_RESUME)
        console_done(console, MOSAIC_OK, NULL);
    else
        console_wait(console, CONSOLE_PAUSED);
}

static void run_kill_client(struct console *console)
{
    struct proxy *proxy = console->worker->proxy;
    uint64_t id = console->session.run.id, thread = id >> 32;
    struct kill_order *order = memory_zeroed(1, sizeof *order);
    struct kill_answer *answer = memory_zeroed(1, sizeof *answer);
    mosaic_error error;
    if (!order || !answer) {
        memory_free(order);
        memory_free(answer);
        console_done(console, error_memory(&error), &error);
        return;
    }
    *answer = (struct kill_answer){.message.handle = client_killed, .console = console, .id = id};
    *order = (struct kill_order){.message.handle = kill_client, .answer = answer};
    console->is_away = true;
    /* A number that no thread gives is nobody's on any. */
    worker_post(&proxy->workers[thread < proxy->worker_count ? thread : 0], &order->message);
}

/* A new config with one value changed; it stands until the next RELOAD. */
static void run_set(struct console *console)
{
    const struct admin_read *run = &console->session.run;
    struct config *config;
    mosaic_error error;
    size_t at = settings_find(run->argument);
    if (at != SIZE_MAX && !settings_info(at)->reloads) {
        (void)!error_set(&error, MOSAIC_UNSUPPORTED, "%s cannot be changed while the proxy runs", run->argument);
        error_sqlstate(&error, "55P02");
        error_hint(&error, "set it in mosaic.yaml, then restart: pgmosaic proxy --takeover drops no client");
        console_done(console, error.status, &error);
        return;
    }
    mosaic_status status = reload_change(console->worker->config, run->argument, run->value, &config, &error);
    if (status == MOSAIC_OK)
        status = reload_use(console->worker->proxy, config, &error);
    console_done(console, status, &error);
}

void console_run(struct console *console)
{
    struct proxy *proxy = console->worker->proxy;
    struct operation *operation = proxy->operation;
    enum admin_command command = console->session.run.command;
    switch (command) {
    case ADMIN_PAUSE:
    case ADMIN_KILL:
    case ADMIN_RESUME:
    case ADMIN_RECONNECT:
    case ADMIN_WAIT_CLOSE:
        run_on_shards(console);
        return;
    case ADMIN_KILL_CLIENT:
        run_kill_client(console);
        return;
    case ADMIN_SET:
        run_set(console);
        return;
    case ADMIN_RELOAD:
        console->ticket = reload_ask(proxy->reload, true);
        console_wait(console, CONSOLE_RELOADED);
        return;
    case ADMIN_DISABLE:
    case ADMIN_ENABLE:
        atomic_store(&operation->disabled, command == ADMIN_DISABLE);
        break;
    case ADMIN_SHUTDOWN:
        operation_stop(operation, STOP_AT_ONCE);
        break;
    case ADMIN_SHUTDOWN_WAIT_FOR_CLIENTS:
        operation_stop(operation, STOP_CLIENTS);
        break;
    case ADMIN_SHUTDOWN_WAIT_FOR_SERVERS:
        operation_stop(operation, STOP_SERVERS);
        break;
    default:
        if (wants_of(command)) {
            console_gather(console, wants_of(command));
            return;
        }
    }
    console_done(console, MOSAIC_OK, NULL);
}

/* ---- waiting ---- */

static bool all_closed(const struct console *console, int shard)
{
    const struct world *world = console->worker->world;
    for (size_t i = 0; i < model_places(&world->model); i++)
        if (covers(shard, i) && atomic_load(&console->worker->proxy->shard_connections[world->slots[i]]) > 0)
            return false;
    return true;
}

static bool none_to_close(const struct console *console, const struct snapshot *snapshot, int shard)
{
    const struct model *model = &console->worker->world->model;
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct snapshot_part *part = &snapshot->parts[i];
        for (size_t at = 0; at < part->server_count; at++)
            if (part->servers[at].close_needed &&
                (shard == EVERY || strcmp(model->shards[shard].name, part->servers[at].shard) == 0))
                return false;
    }
    return true;
}

/* The reading has ended, and each thread connects by it from now on; where it has failed, which *error says, by the one
 * before. */
static bool is_found(const struct console *console, mosaic_status *status, mosaic_error *error)
{
    struct proxy *proxy = console->worker->proxy;
    if (!reload_is_done(proxy->reload, console->ticket, error) || !proxy_world_is_everywhere(proxy))
        return false;
    *status = error->status;
    if (error->status != MOSAIC_OK)
        error_prefix(error, "the connections are renewed, but where the shards are was not found out");
    return true;
}

void console_look(struct console *console, const struct snapshot *snapshot)
{
    mosaic_error error = {.status = MOSAIC_OK};
    int shard;
    if (console->waits_for == CONSOLE_CLOSED && !snapshot) {
        console_gather(console, SNAPSHOT_SERVERS);
        return;
    }
    bool over = false;
    mosaic_status status = MOSAIC_OK;
    if (console->waits_for == CONSOLE_RELOADED) {
        over = reload_is_done(console->worker->proxy->reload, console->ticket, &error);
        status = error.status;
    } else if (!find_shard(console, &shard, &error)) {
        over = true; /* RELOAD has taken it away meanwhile */
        status = error.status;
    } else if (console->waits_for == CONSOLE_CLOSED) {
        over = none_to_close(console, snapshot, shard);
    } else if (console->waits_for == CONSOLE_FOUND) {
        over = is_found(console, &status, &error);
        if (over && !order_all(console, shard))
            status = error_memory(&error);
    } else {
        over = all_closed(console, shard);
        if (over)
            set_emptied(console, shard);
    }
    if (over)
        console_done(console, status, &error);
    else
        console_wait(console, console->waits_for);
}
