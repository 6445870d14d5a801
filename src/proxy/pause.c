#include "proxy/pause.h"

#include "proxy/client.h"
#include "proxy/scatter.h"
#include "proxy/server.h"

/* A leg's server is its client's; NULL: that is gone. */
static const struct client *owner_of(const struct client *client)
{
    return client && client->is_leg ? leg_owner(client) : client;
}

static bool has_one_of(const struct client *owner, const struct list *servers)
{
    for (struct list *node = servers->next; node != servers; node = node->next) {
        const struct server *server = LIST_OWNER(struct server, node, node);
        if (owner_of(server->client ? server->client : server->keeper) == owner)
            return true;
    }
    return false;
}

static bool is_emptied(const struct pool *pool)
{
    return atomic_load(&pool->worker->proxy->operation->emptied[pool->slot]);
}

/* Does a PAUSE wait for servers of his? */
static bool has_paused(const struct client *owner)
{
    const struct user *user = owner->user;
    for (size_t i = 0; i < user->pool_count; i++) {
        const struct pool *pool = user->pools[i];
        if (pool && pool_is_paused(pool) && !is_emptied(pool) &&
            (has_one_of(owner, &pool->active) || has_one_of(owner, &pool->kept)))
            return true;
    }
    return false;
}

/* A transaction that has a connection to it waits for an answer, maybe for what others have locked: waiting.h, which
 * takes a while to say that none does any more. */
static bool stands_still(const struct pool *pool)
{
    const struct proxy *proxy = pool->worker->proxy;
    return atomic_load(&proxy->shard_connections[pool->slot]) > 0 && atomic_load(&proxy->shard_blocked[pool->slot]) > 0;
}

void pause_look_at(const struct pool *pool, struct client *client)
{
    const struct client *owner = owner_of(client);
    client->is_let_in = pool_is_paused(pool) && !is_emptied(pool) && owner &&
                        ((client->holds && stands_still(pool)) || has_paused(owner));
}

void pause_look(const struct pool *pool)
{
    if (!pool_is_paused(pool))
        return;
    for (struct list *node = pool->waiting.next; node != &pool->waiting; node = node->next)
        pause_look_at(pool, LIST_OWNER(struct client, wait_node, node));
}

bool pause_holds_back(const struct pool *pool, const struct client *client)
{
    return pool_is_paused(pool) && !client->is_let_in;
}

unsigned pause_lets_through(const struct pool *pool)
{
    unsigned count = 0;
    if (!pool_is_paused(pool))
        return pool->waiting_count;
    for (struct list *node = pool->waiting.next; node != &pool->waiting; node = node->next)
        count += LIST_OWNER(struct client, wait_node, node)->is_let_in;
    return count;
}
