#include "proxy/timeout.h"

#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/pool.h"
#include "proxy/server.h"
#include "proxy/tally.h"

/* Who waits longest comes first. */
static void look_at_waiting(struct pool *pool, int64_t now)
{
    int64_t most = pool->worker->settings->query_wait_timeout;
    struct list *node;
    while (most && (node = list_first(&pool->waiting))) {
        struct client *client = LIST_OWNER(struct client, wait_node, node);
        mosaic_error error;
        if (now - client->since <= most)
            return;
        (void)!error_set(&error, MOSAIC_TIMEOUT, "no server connection to shard %s was free within query_wait_timeout",
                         pool->worker->world->model.shards[pool->shard].name);
        error_sqlstate(&error, "53300");
        error_hint(&error, "raise pool_size, or let transactions be shorter; SHOW POOLS tells who waits");
        COUNT(&pool->worker->counters, wait_timeouts, 1);
        pool_forget(client);
        client_server_refused(client, &error);
    }
}

static bool is_idle_in_transaction(const struct client *client)
{
    return client->status != 'I' && !client->awaits_ready && !client->waits && client->state == CLIENT_READY;
}

static void end_idle_transaction(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_TIMEOUT, "terminating connection due to idle-in-transaction timeout");
    error_sqlstate(&error, "25P03");
    error_hint(&error, "idle_transaction_timeout is the setting");
    COUNT(&client->worker->counters, idle_timeouts, 1);
    client_close(client, &error);
}

static void look_at_active(struct pool *pool, int64_t now)
{
    const struct proxy_settings *settings = pool->worker->settings;
    for (struct list *node = pool->active.next, *next; node != &pool->active; node = next) {
        struct server *server = LIST_OWNER(struct server, node, node);
        struct client *client = server->client;
        next = node->next;
        if (!client)
            continue;
        int64_t passed = now - client->since;
        tally_look(server);
        if (settings->query_timeout && client->awaits_ready && passed > settings->query_timeout &&
            server->cancels == 0) {
            COUNT(&pool->worker->counters, query_timeouts, 1);
            cancel_server(server); /* PostgreSQL says so: 57014 */
        } else if (settings->idle_transaction_timeout && is_idle_in_transaction(client) &&
                   passed > settings->idle_transaction_timeout) {
            end_idle_transaction(client);
        }
    }
}

static void look_at_clients(struct worker *worker, int64_t now)
{
    int64_t most = worker->settings->client_idle_timeout;
    for (struct list *node = worker->clients.next, *next; most && node != &worker->clients; node = next) {
        struct client *client = LIST_OWNER(struct client, node, node);
        mosaic_error error;
        next = node->next;
        if (client->state != CLIENT_READY || client->server || client->waits || client->scatter ||
            now - client->since <= most)
            continue;
        (void)!error_set(&error, MOSAIC_TIMEOUT, "the connection was idle for longer than client_idle_timeout");
        error_sqlstate(&error, "57P05");
        COUNT(&worker->counters, idle_timeouts, 1);
        client_close(client, &error);
    }
}

void timeouts_look(struct worker *worker)
{
    int64_t now = worker->loop.now;
    for (struct list *node = worker->users.next; node != &worker->users; node = node->next) {
        struct user *user = LIST_OWNER(struct user, node, node);
        for (size_t i = 0; i < user->pool_count; i++) {
            if (!user->pools[i])
                continue;
            look_at_waiting(user->pools[i], now);
            look_at_active(user->pools[i], now);
        }
    }
    look_at_clients(worker, now);
}
