#include "proxy/share.h"

#include "base/memory.h"
#include "proxy/client.h"
#include "proxy/proxy.h"
#include "proxy/server.h"

enum { WISH_BITS = 2 }; /* of enum wanted */

static unsigned share_of(const struct pool *pool)
{
    unsigned share = (unsigned)pool->worker->settings->pool_size / pool->worker->proxy->worker_count;
    return share ? share : 1;
}

static atomic_int *wanted_of(const struct pool *pool)
{
    return &pool->user->account->shard_wanted[pool->slot];
}

/* Who asks stands above what it asks for: nobody else's wish is taken for one's own. */
static int wish_of(const struct pool *pool, enum wanted wanted)
{
    return (int)(pool->worker->number << WISH_BITS | wanted);
}

static enum wanted wanted_by(int wish)
{
    return (enum wanted)(wish & ((1 << WISH_BITS) - 1));
}

static bool is_own(const struct pool *pool, int wish)
{
    return wish == wish_of(pool, wanted_by(wish));
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
    bool lacks = pool_count(pool) < share_of(pool);
    int wish = atomic_load_explicit(wanted_of(pool), memory_order_relaxed);
    /* Who lacks his share comes first. One that stands behind another asks again with each housekeeping. */
    if (wanted_by(wish) == WANTED_NOT || is_own(pool, wish) || (lacks && wanted_by(wish) == WANTED_UNUSED))
        (void)atomic_compare_exchange_strong(wanted_of(pool), &wish, wish_of(pool, lacks ? WANTED : WANTED_UNUSED));
}

void share_ask_no_more(struct pool *pool)
{
    int wish = atomic_load_explicit(wanted_of(pool), memory_order_relaxed);
    if (__builtin_expect(wanted_by(wish) != WANTED_NOT && is_own(pool, wish), 0))
        (void)atomic_compare_exchange_strong(wanted_of(pool), &wish, WANTED_NOT);
}

bool share_must_be_left(const struct pool *pool)
{
    int wish = atomic_load_explicit(wanted_of(pool), memory_order_relaxed);
    enum wanted wanted = wanted_by(wish);
    return (wanted == WANTED || wanted == WANTED_GIVEN) && !is_own(pool, wish) && pool_count(pool) >= share_of(pool);
}

static bool may_spare(const struct pool *pool, int wish)
{
    enum wanted wanted = wanted_by(wish);
    if (__builtin_expect(wanted == WANTED_NOT || wanted == WANTED_GIVEN, 1) || is_own(pool, wish))
        return false;
    return list_empty(&pool->waiting) || (wanted == WANTED && pool_count(pool) > share_of(pool));
}

bool share_is_wanted(const struct pool *pool)
{
    return may_spare(pool, atomic_load_explicit(wanted_of(pool), memory_order_relaxed));
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

void share_give(struct server *server)
{
    struct worker *worker = server->worker;
    struct proxy *proxy = worker->proxy;
    atomic_int *wanted = wanted_of(server->pool);
    int wish = atomic_load_explicit(wanted, memory_order_relaxed);
    if (may_spare(server->pool, wish)) /* else it was taken back just now, and asked for anew at the worst */
        (void)atomic_compare_exchange_strong(wanted, &wish, (wish & ~((1 << WISH_BITS) - 1)) | WANTED_GIVEN);
    server_close(server, NULL);
    for (unsigned i = 0; i < proxy->worker_count; i++) {
        struct message *message = &proxy->workers[i] == worker ? NULL : memory_zeroed(1, sizeof *message);
        if (!message)
            continue;
        message->handle = look_again;
        worker_post(&proxy->workers[i], message);
    }
}
