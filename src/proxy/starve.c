#include "proxy/starve.h"

#include "base/memory.h"
#include "proxy/branch.h"
#include "proxy/proxy.h"
#include "proxy/record.h"
#include "proxy/scatter.h"
#include "proxy/server.h"

#include <stdlib.h>

enum { LONG_WAIT = 2 }; /* times deadlock_check_interval */

/* One that waits. Its worker's: no other removes it. */
struct starving {
    struct list node; /* of starvation->list */
    uint64_t number;  /* never another's */
    struct client *client;
    const struct client *owner; /* whose transaction it is */
    const struct account *account;
    struct worker *worker;
    const struct pool *pool; /* that it waits for */
    struct pool_limits limits;
    int64_t began;    /* the transaction */
    int64_t long_at;  /* then it has waited for long; INT64_MAX: never */
    bool may_go_back; /* to a savepoint: to end it lets go of nothing */
    bool is_told;     /* its worker is to do something about it */
    bool is_stuck;    /* as far as the search has come */
    size_t wanted;    /* slot */
    size_t count;
    size_t held[]; /* slots, one for each connection */
};

struct starvation {
    pthread_mutex_t mutex;
    struct list list;
    uint64_t last;      /* number */
    int64_t quiet_till; /* what the last end of one that was suspected has let go is to be seen first */
};

struct starvation *starvation_new(void)
{
    struct starvation *starvation = memory_zeroed(1, sizeof *starvation);
    if (!starvation)
        return NULL;
    pthread_mutex_init(&starvation->mutex, NULL);
    list_init(&starvation->list);
    return starvation;
}

void starvation_free(struct starvation *starvation)
{
    if (!starvation)
        return;
    pthread_mutex_destroy(&starvation->mutex);
    memory_free(starvation);
}

/* ---- the search: under the mutex ---- */

/* account NULL: of any; slot: SHARDS_MOST: any. */
static int64_t blocked(const struct proxy *proxy, const struct account *account, size_t slot)
{
    int64_t sum = 0;
    if (slot < SHARDS_MOST)
        return atomic_load(account ? &account->shard_blocked[slot] : &proxy->shard_blocked[slot]);
    for (size_t i = 0; i < SHARDS_MOST; i++)
        sum += atomic_load(&account->shard_blocked[i]);
    return sum;
}

/* Do those that are stuck, with `others` that may be, have all connections that the limit counts? As above. */
static bool have_all(const struct starvation *starvation, const atomic_int *counter, int64_t most,
                     const struct account *account, size_t slot, int64_t others)
{
    int64_t have = others, count = atomic_load(counter);
    if (most == 0 || count < most)
        return false;
    for (struct list *node = starvation->list.next; node != &starvation->list; node = node->next) {
        const struct starving *each = LIST_OWNER(struct starving, node, node);
        if (!each->is_stuck || (account && each->account != account))
            continue;
        for (size_t i = 0; i < each->count; i++)
            have += slot == SHARDS_MOST || each->held[i] == slot;
    }
    return have >= count;
}

static bool is_at_limit(const struct starvation *starvation, const struct starving *starving, bool suspects)
{
    const struct account *account = starving->account;
    const struct proxy *proxy = starving->worker->proxy;
    size_t slot = starving->wanted;
    const struct pool_limits *limits = &starving->limits;
    return have_all(starvation, &account->shard_connections[slot], limits->pool, account, slot,
                    suspects ? blocked(proxy, account, slot) : 0) ||
           have_all(starvation, &account->connections, limits->user, account, SHARDS_MOST,
                    suspects && limits->user ? blocked(proxy, account, SHARDS_MOST) : 0) ||
           have_all(starvation, &proxy->shard_connections[slot], limits->shard, NULL, slot,
                    suspects ? blocked(proxy, NULL, slot) : 0);
}

/* Leaves those stuck whom nobody else but they themselves could give a connection; suspect_at: or who waits for an
 * answer, of those that have waited for long by then; 0: that is not asked. */
static void find_stuck(struct starvation *starvation, int64_t suspect_at)
{
    bool more = true;
    for (struct list *node = starvation->list.next; node != &starvation->list; node = node->next) {
        struct starving *each = LIST_OWNER(struct starving, node, node);
        bool counts = !suspect_at || suspect_at >= each->long_at;
        each->is_stuck = counts && !each->is_told && !atomic_load(&each->pool->exceeds);
    }
    while (more) {
        more = false;
        for (struct list *node = starvation->list.next; node != &starvation->list; node = node->next) {
            struct starving *each = LIST_OWNER(struct starving, node, node);
            if (each->is_stuck && !is_at_limit(starvation, each, suspect_at)) {
                each->is_stuck = false;
                more = true;
            }
        }
    }
}

/* May one connection more be opened for it? */
static bool may_exceed(const struct starving *starving)
{
    const struct pool_limits *limits = &starving->limits;
    size_t slot = starving->wanted;
    return (!limits->user || atomic_load(&starving->account->connections) < limits->user) &&
           (!limits->shard || atomic_load(&starving->worker->proxy->shard_connections[slot]) < limits->shard);
}

/* The oldest that may have one more; else the youngest of those whose end lets go of something. */
static struct starving *choose(const struct starvation *starvation, bool *exceeds)
{
    struct starving *chosen = NULL;
    *exceeds = false;
    for (struct list *node = starvation->list.next; node != &starvation->list; node = node->next) {
        struct starving *each = LIST_OWNER(struct starving, node, node);
        bool may = may_exceed(each);
        if (!each->is_stuck)
            continue;
        if (!chosen || (may && (!*exceeds || each->began < chosen->began)) ||
            (!may && !*exceeds &&
             (each->may_go_back != chosen->may_go_back ? chosen->may_go_back : each->began >= chosen->began))) {
            chosen = each;
            *exceeds = may;
        }
    }
    return chosen;
}

/* ---- what is done about it: by its worker ---- */

struct starve_message {
    struct message message; /* first */
    uint64_t number;
    bool exceeds, suspects;
};

static struct starving *find(struct starvation *starvation, uint64_t number)
{
    struct starving *found = NULL;
    pthread_mutex_lock(&starvation->mutex);
    for (struct list *node = starvation->list.next; node != &starvation->list; node = node->next)
        if (LIST_OWNER(struct starving, node, node)->number == number)
            found = LIST_OWNER(struct starving, node, node);
    pthread_mutex_unlock(&starvation->mutex);
    return found;
}

static void end_wait(struct worker *worker, const struct starving *starving, bool suspects)
{
    static const char proved[] = "Transactions that have all connections to it wait for connections to other shards, "
                                 "which this one, and others that wait, have.";
    static const char suspected[] = "Transactions that have all connections to it have waited for long, for "
                                    "connections, or for answers, maybe for locks that this one has.";
    struct client *client = starving->client;
    const char *shard = worker->world->model.shards[client->pool->shard].name;
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_LIMIT, "deadlock of connection pools detected: no connection to shard %s", shard);
    error_sqlstate(&error, "40P01");
    error_detail(&error, "%s", suspects ? suspected : proved);
    error_hint(&error, "run the transaction again; with larger pool_size, max_user_connections or "
                       "max_shard_connections it becomes rare");
    error_shard(&error, shard);
    COUNT(&worker->counters, deadlocks, 1);
    record_client(starving->owner, EVENT_DEADLOCK, &error);
    pool_refuse(client, &error);
}

static void act(struct worker *worker, struct message *message)
{
    const struct starve_message *told = LIST_OWNER(struct starve_message, message, message);
    struct starvation *starvation = worker->proxy->starvation;
    struct starving *starving = find(starvation, told->number);
    if (!starving)
        return; /* it waits no more */
    if (!told->exceeds) {
        end_wait(worker, starving, told->suspects);
        return;
    }
    (void)pool_exceed(starving->client->pool);
    pthread_mutex_lock(&starvation->mutex);
    starving->is_told = false; /* housekeeping looks again */
    pthread_mutex_unlock(&starvation->mutex);
}

/* Of those that are stuck one is told what is done about it. False: none is. */
static bool help_one(struct starvation *starvation, int64_t suspect_at)
{
    bool exceeds;
    find_stuck(starvation, suspect_at);
    struct starving *chosen = choose(starvation, &exceeds);
    struct starve_message *message = chosen ? memory_zeroed(1, sizeof *message) : NULL;
    if (!message)
        return false;
    chosen->is_told = true;
    message->message.handle = act;
    message->number = chosen->number;
    message->exceeds = exceeds;
    message->suspects = suspect_at != 0;
    worker_post(chosen->worker, &message->message);
    return true;
}

static void look(struct starvation *starvation)
{
    while (help_one(starvation, 0))
        ;
}

void starve_look(struct worker *worker)
{
    struct starvation *starvation = worker->proxy->starvation;
    int64_t now = worker->loop.now;
    pthread_mutex_lock(&starvation->mutex);
    look(starvation);
    if (now >= starvation->quiet_till && help_one(starvation, now))
        starvation->quiet_till = now + worker->settings->deadlock_check_interval;
    pthread_mutex_unlock(&starvation->mutex);
}

/* ---- who waits ---- */

/* The servers of the owner's transaction: parked ones, and those at which a statement of it is. NULL: none of them. */
static struct starving *list_held(const struct client *client, const struct client *owner)
{
    size_t most = client->is_leg ? leg_linked(client, NULL) : 0;
    for (struct list *node = owner->kept.next; node != &owner->kept; node = node->next)
        most++;
    struct starving *starving = most ? memory_zeroed(1, sizeof *starving + most * sizeof *starving->held) : NULL;
    if (!starving)
        return NULL;
    starving->count = client->is_leg ? leg_linked(client, starving->held) : 0;
    for (struct list *node = owner->kept.next; node != &owner->kept; node = node->next) {
        const struct server *server = LIST_OWNER(struct server, kept_node, node);
        if (server->status != 'I')
            starving->held[starving->count++] = server->pool->slot;
    }
    if (starving->count)
        return starving;
    memory_free(starving);
    return NULL;
}

void starve_begin(struct client *client)
{
    const struct client *owner = client->is_leg ? leg_owner(client) : client;
    struct starvation *starvation = client->worker->proxy->starvation;
    struct starving *starving = owner ? list_held(client, owner) : NULL;
    client->holds = starving != NULL;
    if (!starving)
        return;
    if (owner->is_pinned) { /* to end its transaction would not free its connections */
        memory_free(starving);
        return;
    }
    starving->client = client;
    starving->owner = owner;
    starving->account = client->user->account;
    starving->worker = client->worker;
    starving->pool = client->pool;
    starving->limits = pool_limits(client->pool);
    starving->began = owner->transaction.began;
    int64_t interval = client->worker->settings->deadlock_check_interval;
    starving->long_at = interval ? client->since + LONG_WAIT * interval : INT64_MAX;
    starving->may_go_back = owner->transaction.savepoints != NULL;
    starving->wanted = client->pool->slot;
    client->starving = starving;
    client->starved++;
    if (client->is_leg)
        leg_owner(client)->starved++;
    pthread_mutex_lock(&starvation->mutex);
    starving->number = ++starvation->last;
    list_append(&starvation->list, &starving->node);
    look(starvation);
    pthread_mutex_unlock(&starvation->mutex);
}

void starve_end(struct client *client)
{
    struct starving *starving = client->starving;
    struct starvation *starvation = client->worker->proxy->starvation;
    if (!starving)
        return;
    struct client *owner = client->is_leg ? leg_owner(client) : NULL;
    client->starving = NULL;
    client->starved--;
    if (owner)
        owner->starved--;
    pthread_mutex_lock(&starvation->mutex);
    list_remove(&starving->node);
    pthread_mutex_unlock(&starvation->mutex);
    memory_free(starving);
}
