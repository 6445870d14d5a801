#include "proxy/pool.h"

#include "base/memory.h"
#include "proxy/branch.h"
#include "proxy/client.h"
#include "proxy/pause.h"
#include "proxy/proxy.h"
#include "proxy/route.h"
#include "proxy/scatter.h"
#include "proxy/server.h"
#include "proxy/share.h"
#include "proxy/starve.h"

#include <string.h>

enum { WELCOME_MOST = 65536, ASK_ANEW_MS = 5000 };

/* ---- users and pools ---- */

struct user *user_get(struct worker *worker, const char *name)
{
    for (struct list *node = worker->users.next; node != &worker->users; node = node->next) {
        struct user *user = LIST_OWNER(struct user, node, node);
        if (strcmp(user->account->name, name) == 0)
            return user;
    }
    struct account *account = account_get(&worker->proxy->accounts, name);
    struct user *user = account ? memory_zeroed(1, sizeof *user) : NULL;
    if (!user)
        return NULL;
    user->worker = worker;
    user->account = account;
    list_append(&worker->users, &user->node);
    return user;
}

static bool make_room(struct user *user, size_t count)
{
    if (count <= user->pool_count)
        return true;
    struct pool **pools = memory_resize(user->pools, count * sizeof(struct pool *));
    if (!pools)
        return false;
    memset(pools + user->pool_count, 0, (count - user->pool_count) * sizeof(struct pool *));
    user->pools = pools;
    user->pool_count = count;
    return true;
}

struct pool *pool_get(struct user *user, size_t shard)
{
    size_t slot = user->worker->world->slots[shard];
    struct pool *pool = pool_find(user, shard);
    if (pool)
        return pool;
    pool = make_room(user, slot + 1) ? memory_zeroed(1, sizeof *pool) : NULL;
    if (!pool)
        return NULL;
    pool->slot = slot;
    pool->user = user;
    pool->worker = user->worker;
    pool->shard = shard;
    list_init(&pool->connecting);
    list_init(&pool->idle);
    list_init(&pool->active);
    list_init(&pool->kept);
    list_init(&pool->waiting);
    pool->welcome = BUFFER_INIT(WELCOME_MOST);
    user->pools[slot] = pool;
    return pool;
}

const char *pool_shard_name(const struct pool *pool)
{
    return pool->worker->proxy->slot_names[pool->slot];
}

unsigned pool_count(const struct pool *pool)
{
    return pool->connecting_count + pool->idle_count + pool->active_count + pool->kept_count;
}

static void close_all(struct list *servers)
{
    struct list *node;
    while ((node = list_first(servers)))
        server_close(LIST_OWNER(struct server, node, node), NULL);
}

void user_forget_paths(struct user *user)
{
    struct worker *worker = user->worker;
    for (struct list *node = worker->clients.next; node != &worker->clients; node = node->next) {
        struct client *client = LIST_OWNER(struct client, node, node);
        if (client->user == user)
            client->path = NULL;
    }
    route_free_paths(user);
}

void worker_free_users(struct worker *worker)
{
    struct list *node;
    while ((node = list_first(&worker->users))) {
        struct user *user = LIST_OWNER(struct user, node, node);
        for (size_t i = 0; i < user->pool_count; i++) {
            struct pool *pool = user->pools[i];
            if (!pool)
                continue;
            close_all(&pool->connecting);
            close_all(&pool->idle);
            close_all(&pool->active);
            close_all(&pool->kept);
            buffer_free(&pool->welcome);
            memory_free(pool->given);
            memory_free(pool);
        }
        list_remove(node);
        route_free_paths(user);
        memory_free(user->pools);
        memory_free(user);
    }
}

/* ---- limits over all workers ---- */

static bool take_one(atomic_int *counter, int64_t most)
{
    if (atomic_fetch_add(counter, 1) < most || most == 0)
        return true;
    atomic_fetch_sub(counter, 1);
    return false;
}

const struct client *pool_first_waiting(const struct pool *pool)
{
    return list_empty(&pool->waiting) ? NULL : LIST_OWNER(struct client, wait_node, pool->waiting.next);
}

struct client *pool_waits_longest(const struct pool *pool)
{
    struct client *longest = NULL;
    for (struct list *node = pool->waiting.next; node != &pool->waiting; node = node->next) {
        struct client *client = LIST_OWNER(struct client, wait_node, node);
        if (!longest || client->since < longest->since)
            longest = client;
        if (!client->holds)
            break; /* those behind have waited for less */
    }
    return longest;
}

struct pool_limits pool_limits(const struct pool *pool)
{
    const struct proxy_settings *settings = pool->worker->settings;
    return (struct pool_limits){settings->pool_size + settings->reserve_pool_size, settings->max_user_connections,
                                settings->max_shard_connections};
}

/* May one more connection be made, up to `most` of this pool's (0: whatever its size)? Then it is counted. */
static bool reserve_of(struct pool *pool, int64_t most)
{
    const struct proxy_settings *settings = pool->worker->settings;
    struct account *account = pool->user->account;
    if (!take_one(&account->shard_connections[pool->slot], most))
        return false;
    if (take_one(&account->connections, settings->max_user_connections)) {
        if (take_one(&pool->worker->proxy->shard_connections[pool->slot], settings->max_shard_connections))
            return true;
        atomic_fetch_sub(&account->connections, 1);
    }
    atomic_fetch_sub(&account->shard_connections[pool->slot], 1);
    return false;
}

static void unreserve(struct pool *pool)
{
    struct account *account = pool->user->account;
    atomic_fetch_sub(&account->shard_connections[pool->slot], 1);
    atomic_fetch_sub(&account->connections, 1);
    atomic_fetch_sub(&pool->worker->proxy->shard_connections[pool->slot], 1);
}

/* The reserve is for those that have waited for long, and at once for who keeps others waiting meanwhile. */
static bool reserve(struct pool *pool)
{
    const struct proxy_settings *settings = pool->worker->settings;
    const struct client *longest = pool_waits_longest(pool);
    bool is_urgent = longest && (pool_first_waiting(pool)->holds ||
                                 pool->worker->loop.now - longest->since >= settings->reserve_pool_timeout);
    return reserve_of(pool, settings->pool_size + (is_urgent ? settings->reserve_pool_size : 0));
}

/* ---- opening ---- */

/* Opens connections for those who wait and have none on its way. */
static void open_more(struct pool *pool)
{
    if (pool->worker->loop.now < pool->retry_at || pool->shard == POOL_GONE)
        return;
    while (pool->connecting_count < pause_lets_through(pool)) {
        if (share_must_be_left(pool) || !reserve(pool)) {
            share_ask(pool);
            return;
        }
        share_ask_no_more(pool);
        if (server_open(pool))
            continue;
        unreserve(pool);
        return;
    }
}

bool pool_exceed(struct pool *pool)
{
    if (pool->worker->loop.now < pool->retry_at || !pause_lets_through(pool) || pool->shard == POOL_GONE ||
        !reserve_of(pool, 0))
        return false;
    pool->exceeds = true;
    if (server_open(pool))
        return true;
    pool->exceeds = false;
    unreserve(pool);
    return false;
}

/* Who has waited so long behind who waits for a lock, which it may itself have on another shard: nobody sees both. */
static void help_first(struct pool *pool)
{
    const struct client *first = pool_first_waiting(pool);
    int64_t patience = pool->worker->settings->deadlock_check_interval;
    if (first && first->holds && patience && !pool->exceeds && !pool->connecting_count &&
        pool->worker->loop.now - first->since >= patience)
        (void)pool_exceed(pool);
}

/* ---- giving and taking ---- */

static void link_to(struct pool *pool, struct server *server, struct client *client)
{
    list_remove(&server->node);
    list_append(&pool->active, &server->node);
    pool->active_count++;
    COUNT(&pool->worker->shards[pool->slot], assignments, 1);
    server_link(server, client);
}

static const struct settings_state *wanted_by(const struct client *client)
{
    return client->transaction.is_lazy ? client->transaction.before : client->session;
}

/* Can it be given the client's settings? Not what cannot be taken from it again. A client that logs in has none. */
static bool fits(const struct server *server, const struct client *client)
{
    const struct settings_state *wanted = wanted_by(client);
    return !wanted || settings_can_become(server->session, wanted);
}

/*
 * An idle server that has the client's settings; else one that knows of the same names that no RESET makes unknown,
 * so that those which know none stay fit for all; else one that can be given them.
 */
static struct server *choose(const struct pool *pool, const struct client *client)
{
    const struct settings_state *wanted = wanted_by(client);
    struct server *alike = NULL, *possible = NULL;
    for (struct list *node = pool->idle.next; node != &pool->idle; node = node->next) {
        struct server *server = LIST_OWNER(struct server, node, node);
        if (!wanted || server->session == wanted)
            return server;
        if ((alike && possible) || !fits(server, client))
            continue;
        if (!possible)
            possible = server;
        if (!alike && settings_can_become(wanted, server->session))
            alike = server;
    }
    return alike ? alike : possible;
}

/* None of those that are idle fits who waits, and no more may be opened: the one used least makes room. */
static void free_a_place(struct pool *pool)
{
    if (!list_empty(&pool->idle) && pool->connecting_count < pool->waiting_count && !pool_is_paused(pool))
        server_close(LIST_OWNER(struct server, node, pool->idle.previous), NULL);
}

/* Who keeps others from the servers of other shards meanwhile comes before who holds none. */
static void queue(struct pool *pool, struct client *client)
{
    struct list *place = pool->waiting.next;
    starve_begin(client);
    while (client->holds && place != &pool->waiting && LIST_OWNER(struct client, wait_node, place)->holds)
        place = place->next;
    list_insert_before(client->holds ? place : &pool->waiting, &client->wait_node);
    pool->waiting_count++;
}

enum pool_answer pool_assign(struct pool *pool, struct client *client, mosaic_error *error)
{
    struct server *server = pool_is_paused(pool) ? NULL : choose(pool, client);
    if (server) {
        pool->idle_count--;
        link_to(pool, server, client);
        return POOL_LINKED;
    }
    if (pool->worker->loop.now < pool->retry_at && pool_count(pool) == 0) {
        *error = pool->error;
        return POOL_FAILED;
    }
    client->waits = true;
    client->pool = pool;
    client->since = pool->worker->loop.now;
    queue(pool, client);
    pause_look_at(pool, client);
    COUNT(&pool->worker->counters, waits, 1);
    open_more(pool);
    /* It may have failed at once: then the client was told. */
    if (client->waits)
        free_a_place(pool);
    return POOL_WAITS;
}

void pool_forget(struct client *client)
{
    if (!client->waits)
        return;
    client->waits = false;
    starve_end(client);
    list_remove(&client->wait_node);
    client->pool->waiting_count--;
    client->pool = NULL;
}

void pool_refuse(struct client *client, const mosaic_error *error)
{
    pool_forget(client);
    if (!client->is_leg) /* else when it is told: leg_again */
        branch_yield(client, true);
    client_server_refused(client, error);
}

/* There are more connections than the pool's size, which was passed for transactions that have others. */
static bool is_beyond(const struct pool *pool)
{
    return atomic_load(&pool->user->account->shard_connections[pool->slot]) > pool_limits(pool).pool;
}

/* Whom it is given: the first, or, while another connection is on its way to him whom it does not fit, the
 * first whom it does. NULL: nobody. */
static struct client *next_waiting(const struct pool *pool, const struct server *server)
{
    for (struct list *node = pool->waiting.next; node != &pool->waiting; node = node->next) {
        struct client *client = LIST_OWNER(struct client, wait_node, node);
        if (pause_holds_back(pool, client))
            continue;
        if (fits(server, client))
            return client;
        if (!pool->connecting_count)
            return NULL;
    }
    return NULL;
}

/*
 * What fits none of those who wait is closed, so that another one may be opened. What is beyond the pool's size is not
 * given away: to close it makes no room for another worker, and whom it was opened for would be without it each time.
 */
void pool_return(struct server *server)
{
    struct pool *pool = server->pool;
    struct client *client = next_waiting(pool, server);
    if (server->state < SERVER_IDLE)
        pool->exceeds = false;
    if (server->unfit || (pool_is_paused(pool) && !client) || (is_beyond(pool) && !(client && client->holds)) ||
        (!client && pool->waiting_count > pool->connecting_count)) {
        server_close(server, NULL);
        return;
    }
    if (!is_beyond(pool) && share_is_wanted(pool)) {
        share_give(server);
        return;
    }
    /* Counted anew below; a server that is closed above was still counted as what it was. */
    if (server->state < SERVER_IDLE)
        pool->connecting_count--;
    else
        pool->active_count--;
    server->used_at = pool->worker->loop.now;
    if (!client) {
        server->state = SERVER_IDLE;
        list_remove(&server->node);
        list_push(&pool->idle, &server->node);
        pool->idle_count++;
        return;
    }
    pool_forget(client);
    COUNT(&pool->worker->shards[pool->slot], wait_us, (pool->worker->loop.now - client->since) * 1000);
    link_to(pool, server, client);
    loop_again(&pool->worker->loop, &client->channel.source);
}

void pool_lost(struct pool *pool)
{
    unreserve(pool);
    open_more(pool);
}

/* NULL: nobody waits whom no PAUSE holds back. */
static struct client *first_served(const struct pool *pool)
{
    for (struct list *node = pool->waiting.next; node != &pool->waiting; node = node->next)
        if (!pause_holds_back(pool, LIST_OWNER(struct client, wait_node, node)))
            return LIST_OWNER(struct client, wait_node, node);
    return NULL;
}

void pool_failed(struct pool *pool, const mosaic_error *error)
{
    struct client *client = first_served(pool);
    pool->error = *error;
    COUNT(&pool->worker->counters, server_login_failures, 1);
    if (pool->exceeds && client) /* nothing else would help it */
        pool_refuse(client, error);
    pool->exceeds = false;
    if (pool_count(pool) > pool->connecting_count)
        return; /* those who wait will be served by what there is */
    while ((client = first_served(pool))) {
        pool_forget(client);
        client_server_refused(client, error);
    }
}

/* ---- time ---- */

static bool is_old(const struct server *server, const struct proxy_settings *settings, int64_t now)
{
    return server->unfit || (settings->server_idle_timeout && now - server->used_at > settings->server_idle_timeout) ||
           (settings->server_lifetime && now - server->connected_at > settings->server_lifetime);
}

void pool_tend(struct pool *pool)
{
    const struct proxy_settings *settings = pool->worker->settings;
    int64_t now = pool->worker->loop.now;
    bool keep_least = pool->user->clients > 0 && pool->shard != POOL_GONE;
    for (struct list *node = pool->idle.previous, *before; node != &pool->idle; node = before) {
        struct server *server = LIST_OWNER(struct server, node, node);
        before = node->previous;
        if (is_old(server, settings, now) &&
            (server->unfit || !keep_least || pool_count(pool) > settings->min_pool_size))
            server_close(server, NULL);
    }
    if (!share_may_ask(pool))
        share_ask_no_more(pool);
    if (!list_empty(&pool->idle) && share_is_wanted(pool))
        share_give(LIST_OWNER(struct server, node, pool->idle.previous));
    pause_look(pool);
    open_more(pool);
    help_first(pool);
    while (keep_least && !pool_is_paused(pool) && pool_count(pool) < settings->min_pool_size && now >= pool->retry_at &&
           reserve(pool)) {
        if (server_open(pool))
            continue;
        unreserve(pool);
        return;
    }
}

static void mark(struct list *servers)
{
    for (struct list *node = servers->next; node != servers; node = node->next)
        LIST_OWNER(struct server, node, node)->unfit = true;
}

void pool_renew(struct pool *pool)
{
    mark(&pool->connecting);
    mark(&pool->active);
    mark(&pool->kept);
    close_all(&pool->idle);
    memory_free(pool->given); /* of before; until it says what is given now nobody differs from it */
    pool->given = NULL;
}

void pool_ask_anew(struct pool *pool)
{
    int64_t now = pool->worker->loop.now;
    if (pool_is_paused(pool) || (pool->asked_at && now - pool->asked_at < ASK_ANEW_MS))
        return;
    pool->asked_at = now;
    if (!reserve(pool))
        pool_renew(pool);
    else if (!server_open(pool))
        unreserve(pool);
}

/* Where a shard of this slot stands in a world; POOL_GONE: nowhere. */
static size_t place_of(const struct world *world, size_t slot)
{
    for (size_t i = 0; i < model_places(&world->model); i++)
        if (world->slots[i] == slot)
            return i;
    return POOL_GONE;
}

/* The shard is in the config no more. */
static void give_up(struct pool *pool)
{
    const char *name = pool_shard_name(pool);
    mosaic_error error;
    struct list *lists[] = {&pool->connecting, &pool->idle, &pool->active, &pool->kept}, *node;
    (void)!error_set(&error, MOSAIC_UNREACHABLE, "shard %s was taken out of the config", name);
    error_shard(&error, name);
    while ((node = list_first(&pool->waiting))) {
        struct client *client = LIST_OWNER(struct client, wait_node, node);
        pool_forget(client);
        client_server_refused(client, &error);
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        while ((node = list_first(lists[i])))
            server_close(LIST_OWNER(struct server, node, node), &error);
}

/* Where it leads, or as whom, has changed: what was begun is begun anew. */
static void lead_elsewhere(struct pool *pool)
{
    struct list begun, *node;
    pool->endpoint = 0;
    pool_renew(pool);
    list_take(&pool->connecting, &begun);
    while ((node = list_first(&begun)))
        server_close(LIST_OWNER(struct server, node, node), NULL);
}

/* May new connections start with other settings, search_path among them, than those that there are? */
static bool starts_otherwise(const struct world *before, const struct world *now)
{
    return before->schema && now->schema && before->schema->defaults != now->schema->defaults;
}

static void move_pool(struct pool *pool, const struct world *before, const struct world *now)
{
    const struct shard *was = pool->shard == POOL_GONE ? NULL : &before->model.shards[pool->shard];
    pool->shard = place_of(now, pool->slot);
    if (!was)
        return; /* it had no connections */
    if (pool->shard == POOL_GONE)
        give_up(pool);
    else if (strcmp(was->conninfo, now->model.shards[pool->shard].conninfo) != 0)
        lead_elsewhere(pool);
    else if (before->model.epoch != now->model.epoch || pool->shard == now->model.shard_count ||
             starts_otherwise(before, now))
        pool_renew(pool); /* types of a coordinator that was made anew have other OIDs */
}

void worker_world_changed(struct worker *worker, const struct world *before)
{
    for (struct list *node = worker->users.next; node != &worker->users; node = node->next) {
        struct user *user = LIST_OWNER(struct user, node, node);
        for (size_t i = 0; i < user->pool_count; i++)
            if (user->pools[i])
                move_pool(user->pools[i], before, worker->world);
        user_forget_paths(user);
    }
    if (worker->plans)
        plan_cache_clear(worker->plans);
}
