#include "proxy/share.h"

#include "base/memory.h"
#include "proxy/client.h"
#include "proxy/proxy.h"
#include "proxy/server.h"

static unsigned share_of(const struct pool *pool)
{
    unsigned share = (unsigned)pool->worker->settings->pool_size / pool->worker->proxy->worker_count;
    return share ? share : 1;
}

static atomic_int *wanted_of(const struct pool *pool)
{
    return &pool->user->account->shard_wanted[pool->slot];
}

/* It lacks its share, or who waits keeps others waiting meanwhile. */
bool share_may_ask(const struct pool *pool)
{
    return pool->waiting_count && (pool_count(pool) < share_of(pool) || pool_first_waiting(pool)->holds);
}

void share_ask(struct pool *pool)
{
    if (pool->worker->proxy->worker_count == 1 || !share_may_ask(pool))
        return;
    int nobody = WANTED_NOT;
    if (pool_count(pool) < share_of(pool))
        atomic_store_explicit(wanted_of(pool), WANTED, memory_order_relaxed);
    else if (!atomic_compare_exchange_strong(wanted_of(pool), &nobody, WANTED_UNUSED))
        return; /* who lacks his share comes first */
    pool->has_asked = true;
}

/* It has what it asked for, or does not want it any more. Another one that does asks again by itself. */
void share_ask_no_more(struct pool *pool)
{
    if (!pool->has_asked)
        return;
    pool->has_asked = false;
    atomic_store_explicit(wanted_of(pool), WANTED_NOT, memory_order_relaxed);
}

/* What another waits for is not to be taken by who has his share. */
bool share_must_be_left(const struct pool *pool)
{
    int wanted = atomic_load_explicit(wanted_of(pool), memory_order_relaxed);
    return !pool->has_asked && (wanted == WANTED || wanted == WANTED_GIVEN) && pool_count(pool) >= share_of(pool);
}

/* Does another worker lack what this one can spare? */
bool share_is_wanted(const struct pool *pool)
{
    int wanted = atomic_load_explicit(wanted_of(pool), memory_order_relaxed);
    if (__builtin_expect(wanted == WANTED_NOT || wanted == WANTED_GIVEN, 1))
        return false;
    return list_empty(&pool->waiting) || (wanted == WANTED && pool_count(pool) > share_of(pool));
}

static void look_again(struct worker *worker, struct message *message)
{
    (void)message;
    for (struct list *node = worker->users.next; node != &worker->users; node = node->next) {
        struct user *user = LIST_OWNER(struct user, node, node);
        for (size_t i = 0; i < user->pool_count; i++)
            if (user->pools[i] && user->pools[i]->waiting_count)
                pool_tend(user->pools[i]);
    }
}

/* Closes it, so that another worker may open one. */
void share_give(struct server *server)
{
    struct worker *worker = server->worker;
    struct proxy *proxy = worker->proxy;
    atomic_store_explicit(wanted_of(server->pool), WANTED_GIVEN, memory_order_relaxed);
    server->pool->has_asked = false; /* or it would take it again */
    server_close(server, NULL);
    for (unsigned i = 0; i < proxy->worker_count; i++) {
        struct message *message = &proxy->workers[i] == worker ? NULL : memory_zeroed(1, sizeof *message);
        if (!message)
            continue;
        message->handle = look_again;
        worker_post(&proxy->workers[i], message);
    }
}
