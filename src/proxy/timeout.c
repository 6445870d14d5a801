#include "proxy/timeout.h"

#include "proxy/branch.h"
#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/client_portal.h"
#include "proxy/commit.h"
#include "proxy/console.h"
#include "proxy/pool.h"
#include "proxy/proxy.h"
#include "proxy/route.h"
#include "proxy/scatter.h"
#include "proxy/server.h"
#include "proxy/tally.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_LEAST = 1000 }; /* ms: with a server that was told to stop */

static void look_at_waiting(struct pool *pool, int64_t now)
{
    int64_t most = pool->worker->settings->query_wait_timeout;
    struct client *client;
    while (most && (client = pool_waits_longest(pool))) {
        mosaic_error error;
        if (now - client->since <= most)
            return;
        (void)!error_set(&error, MOSAIC_TIMEOUT, "no server connection to shard %s was free within query_wait_timeout",
                         pool->worker->world->model.shards[pool->shard].name);
        error_sqlstate(&error, "53300");
        error_hint(&error, "raise pool_size, or let transactions be shorter; SHOW POOLS tells who waits");
        COUNT(&pool->worker->counters, wait_timeouts, 1);
        pool_refuse(client, &error);
    }
}

/* Answers are on their way, though the client has not said Sync. */
static bool is_owed(const struct client *client)
{
    return client->server && client->server->expect.count;
}

static const char own_timeout[] = "idle_in_transaction_session_timeout";

/* As PostgreSQL reads a time: ms, where no unit is named. */
static int64_t read_ms(const char *text)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"us", 0.001}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end;
    double factor = 1, number = strtod(text, &end);
    end += strspn(end, " ");
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strncmp(end, units[i].name, strlen(units[i].name)) == 0)
            factor = units[i].ms;
    return number > 0 && number * factor < INT_MAX ? (int64_t)(number * factor) : 0;
}

/* The least that a shard gives the role; 0: none. */
static int64_t least_given(const struct user *user)
{
    int64_t least = 0;
    for (size_t i = 0; i < user->pool_count; i++) {
        int64_t given = user->pools[i] ? user->pools[i]->idle_timeout : 0;
        least = given && (!least || given < least) ? given : least;
    }
    return least;
}

bool timeout_take_over(struct client *client)
{
    static const char none[] = "SET LOCAL idle_in_transaction_session_timeout = 0";
    const char *set = route_setting(client, own_timeout);
    int64_t most = set ? read_ms(set) : least_given(client->user);
    if (!most)
        return true;
    client->transaction.idle_timeout = most;
    client->worker->has_own_timeouts = true;
    return transaction_keep(&client->transaction, none, sizeof none - 1, true);
}

/* How long its transaction may do nothing; 0: for ever. */
static int64_t idle_most(const struct client *client)
{
    int64_t most = client->worker->settings->idle_transaction_timeout, own = client->transaction.idle_timeout;
    return own && (!most || own < most) ? own : most;
}

static bool is_idle_in_transaction(const struct client *client)
{
    return client->status != 'I' && !client->awaits_ready && !client->waits && !client->commit && !is_owed(client) &&
           !client_awaits_reading(client) && client->state == CLIENT_READY;
}

/* ms: since it was heard of last, or was told something, as the end of what it had asked. */
static int64_t idle_for(const struct client *client)
{
    int64_t heard = client->since, told = client->channel.told_at;
    return client->worker->loop.now - (heard > told ? heard : told);
}

static void end_idle_transaction(struct client *client)
{
    mosaic_error error;
    bool is_own = idle_most(client) != client->worker->settings->idle_transaction_timeout;
    (void)!error_set(&error, MOSAIC_TIMEOUT, "terminating connection due to idle-in-transaction timeout");
    error_sqlstate(&error, "25P03");
    error_hint(&error, "%s is the setting", is_own ? own_timeout : "idle_transaction_timeout");
    COUNT(&client->worker->counters, idle_timeouts, 1);
    client_close(client, &error);
}

/* How long what was told to stop may go on. */
static int64_t patience_of(const struct proxy_settings *settings)
{
    return settings->cancel_wait_timeout > PATIENCE_LEAST ? settings->cancel_wait_timeout : PATIENCE_LEAST;
}

/* It was told to stop, and says nothing, though what it says would be read. */
static bool is_dumb(const struct server *server, int64_t passed)
{
    const struct client *client = server->client;
    const struct proxy_settings *settings = server->worker->settings;
    bool is_read = client->is_leg ? !leg_is_held(client) : !channel_stuck(&client->channel);
    return is_read && passed > settings->query_timeout + patience_of(settings);
}

static void end_dumb(struct server *server)
{
    const char *name = server->worker->world->model.shards[server->pool->shard].name;
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNREACHABLE, "shard %s did not end a statement that was over query_timeout", name);
    error_shard(&error, name);
    server_close(server, &error);
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
        if (client->is_leg)
            leg_cancel_again(client);
        bool is_over = settings->query_timeout && passed > settings->query_timeout && client->awaits_ready &&
                       (!client->is_leg || leg_is_awaited(client));
        if (is_over && is_dumb(server, passed)) {
            end_dumb(server);
            next = pool->active.next; /* its client may have had another one here */
        } else if (is_over && server->cancels == 0) {
            COUNT(&pool->worker->counters, query_timeouts, 1);
            cancel_server(server); /* PostgreSQL says so: 57014 */
        } else if (idle_most(client) && is_idle_in_transaction(client) && idle_for(client) > idle_most(client)) {
            end_idle_transaction(client);
            next = pool->active.next;
        }
    }
}

/* No server is linked to it, but a portal has some, or its transaction. */
static bool is_idle_beside(const struct client *client)
{
    return is_idle_in_transaction(client) && !client->server && !client->fetching && !client->scatter &&
           (portal_has_scatter(client) || branch_is_parked(client));
}

static bool is_idle(const struct client *client)
{
    return client->state == CLIENT_READY && !client->server && !client->waits && !client->scatter &&
           !client->fetching && !client->commit && !client->placement && !console_is_busy(client);
}

/* ROLLBACK is quick: who does not say so within the time of a cancel is not waited for, without query_timeout too. */
static void look_at_commit(struct client *client, int64_t most)
{
    struct worker *worker = client->worker;
    if ((!most && !commit_undoes(client)) || !commit_is_busy(client) || worker->loop.now - commit_began(client) <= most)
        return;
    if (worker->loop.now - commit_began(client) > most + patience_of(worker->settings))
        commit_give_up(client);
    else if (commit_cancel(client))
        COUNT(&worker->counters, query_timeouts, 1);
}

static void look_at_client(struct client *client, const struct proxy_settings *settings)
{
    mosaic_error error;
    int64_t passed = idle_for(client);
    look_at_commit(client, settings->query_timeout);
    if (idle_most(client) && passed > idle_most(client) && is_idle_beside(client)) {
        end_idle_transaction(client);
        return;
    }
    if (!settings->client_idle_timeout || passed <= settings->client_idle_timeout || !is_idle(client))
        return;
    (void)!error_set(&error, MOSAIC_TIMEOUT, "the connection was idle for longer than client_idle_timeout");
    error_sqlstate(&error, "57P05");
    COUNT(&client->worker->counters, idle_timeouts, 1);
    client_close(client, &error);
}

static void look_at_clients(struct worker *worker)
{
    const struct proxy_settings *settings = worker->settings;
    if (!settings->client_idle_timeout && !settings->idle_transaction_timeout && !worker->has_own_timeouts &&
        !worker->commits)
        return;
    for (struct list *node = worker->clients.next, *next; node != &worker->clients; node = next) {
        struct client *client = LIST_OWNER(struct client, node, node);
        next = node->next;
        look_at_client(client, settings);
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
    look_at_clients(worker);
}
