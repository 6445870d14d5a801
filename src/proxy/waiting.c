#include "proxy/waiting.h"

#include "base/memory.h"
#include "proxy/branch.h"
#include "proxy/cancel.h"
#include "proxy/commit.h"
#include "proxy/deadlock.h"
#include "proxy/proxy.h"
#include "proxy/record.h"
#include "proxy/scatter.h"
#include "proxy/server.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RANDOM_BITS = 22, SECONDS_BITS = 20 };

/* ---- whose servers are whose ---- */

struct owner {
    const void *who;  /* a client, or a commit whose client is gone; NULL: nobody */
    uint64_t *number; /* its transaction's */
    int64_t began;
    bool starves; /* it waits for a connection */
};

static struct owner owner_of(const struct server *server)
{
    struct client *client = server->client ? server->client : server->keeper;
    struct owner owner = {0};
    if (client && client->is_leg)
        client = leg_owner(client);
    if (client)
        return (struct owner){client, &client->transaction.number, client->transaction.began, client->starved > 0};
    if (server->part)
        owner.who = commit_owner(server->part, &owner.number);
    return owner;
}

/* Of each server that belongs to somebody. */
static void each_owned(struct worker *worker, void (*act)(struct server *server, void *context), void *context)
{
    for (struct list *node = worker->users.next; node != &worker->users; node = node->next) {
        struct user *user = LIST_OWNER(struct user, node, node);
        for (size_t i = 0; i < user->pool_count; i++) {
            struct pool *pool = user->pools[i];
            for (struct list *at = pool ? pool->active.next : NULL; pool && at != &pool->active; at = at->next)
                act(LIST_OWNER(struct server, node, at), context);
            for (struct list *at = pool ? pool->kept.next : NULL; pool && at != &pool->kept; at = at->next)
                act(LIST_OWNER(struct server, node, at), context);
        }
    }
}

/* ---- who waits ---- */

static bool has_waited(const struct server *server)
{
    const struct worker *worker = server->worker;
    return server->silent_since && worker->loop.now - server->silent_since >= worker->settings->deadlock_check_interval;
}

/* A leg whose rows nobody takes now waits for nobody but its client. */
static bool is_asked(const struct server *server)
{
    const struct client *client = server->client;
    if (client && client->is_leg && (leg_is_held(client) || !leg_is_awaited(client)))
        return false;
    return server->expect.count > 0;
}

struct count {
    size_t servers, waiting;
};

static void count(struct server *server, void *context)
{
    struct count *count = context;
    if (!is_asked(server))
        server->silent_since = 0;
    else if (!server->silent_since)
        server->silent_since = server->worker->loop.now;
    count->servers++;
    count->waiting += has_waited(server);
}

struct owned {
    const void *who;
    struct server *server;
    struct owner owner;
};

struct owned_list {
    struct owned *list;
    size_t count;
};

static void collect(struct server *server, void *context)
{
    struct owned_list *all = context;
    struct owner owner = owner_of(server);
    if (owner.who)
        all->list[all->count++] = (struct owned){owner.who, server, owner};
}

static int by_owner(const void *left, const void *right)
{
    const struct owned *a = left, *b = right;
    return ((uintptr_t)a->who > (uintptr_t)b->who) - ((uintptr_t)a->who < (uintptr_t)b->who);
}

/* Seconds since 1970 when it began, as far as they matter, and random bits. */
static uint64_t draw_number(const struct worker *worker, int64_t began)
{
    int64_t age = began ? (worker->loop.now - began) / 1000 : 0;
    uint64_t seconds = (uint64_t)(time(NULL) - age) & ((1u << SECONDS_BITS) - 1);
    uint32_t random;
    proxy_random(&random, sizeof random);
    return seconds << RANDOM_BITS | (random & ((1u << RANDOM_BITS) - 1)) | 1;
}

static void add_group(struct worker *worker, const struct owned *group, size_t size, struct waiting_report *report)
{
    bool waits = false;
    for (size_t i = 0; i < size; i++)
        waits |= has_waited(group[i].server);
    for (size_t i = 0; waits && !group->owner.starves && i < size; i++)
        group[i].server->pool->blocked++;
    if (size < 2 || !waits)
        return;
    if (!*group->owner.number)
        *group->owner.number = draw_number(worker, group->owner.began);
    for (size_t i = 0; i < size; i++) {
        const struct server *server = group[i].server;
        report->servers[report->count++] = (struct waiting_server){.worker = worker,
                                                                   .slot = server->pool->slot,
                                                                   .pid = server->pid,
                                                                   .number = *group->owner.number,
                                                                   .silent_since = server->silent_since,
                                                                   .waits = has_waited(server)};
    }
}

/* NULL: nobody waits who has servers of several shards, or memory is out. */
static struct waiting_report *make_report(struct worker *worker, size_t most)
{
    struct owned_list all = {.list = memory_zeroed(most, sizeof *all.list)};
    struct waiting_report *report = memory_zeroed(1, sizeof *report + most * sizeof *report->servers);
    if (all.list && report) {
        each_owned(worker, collect, &all);
        qsort(all.list, all.count, sizeof *all.list, by_owner);
        for (size_t i = 0, end; i < all.count; i = end) {
            for (end = i; end < all.count && all.list[end].who == all.list[i].who;)
                end++;
            add_group(worker, &all.list[i], end - i, report);
        }
    }
    memory_free(all.list);
    if (report && report->count)
        return report;
    memory_free(report);
    return NULL;
}

static void each_pool(struct worker *worker, void (*act)(struct pool *pool))
{
    for (struct list *node = worker->users.next; node != &worker->users; node = node->next) {
        struct user *user = LIST_OWNER(struct user, node, node);
        for (size_t i = 0; i < user->pool_count; i++)
            if (user->pools[i])
                act(user->pools[i]);
    }
}

static void forget_blocked(struct pool *pool)
{
    pool->blocked = 0;
}

static void tell_blocked(struct pool *pool)
{
    int more = pool->blocked - pool->blocked_told;
    if (!more)
        return;
    pool->blocked_told = pool->blocked;
    atomic_fetch_add(&pool->user->account->shard_blocked[pool->slot], more);
    atomic_fetch_add(&pool->worker->proxy->shard_blocked[pool->slot], more);
}

void waiting_look(struct worker *worker)
{
    const struct model *model = &worker->world->model;
    struct count found = {0};
    struct waiting_report *report = NULL;
    each_pool(worker, forget_blocked);
    if (worker->settings->deadlock_check_interval && model->engine == ENGINE_POSTGRES && model->shard_count > 1)
        each_owned(worker, count, &found);
    if (found.waiting)
        report = make_report(worker, found.servers);
    each_pool(worker, tell_blocked);
    if (report || worker->reports)
        deadlock_report(worker->proxy, worker->number, report);
    worker->reports = report != NULL;
}

/* ---- a victim ---- */

struct end_message {
    struct message message; /* first */
    size_t slot;
    uint32_t pid;
    int64_t silent_since;
    char detail[];
};

static void tell_log(const struct server *server, const mosaic_error *error)
{
    const struct worker *worker = server->worker;
    const struct client *client = server->client && server->client->is_leg ? leg_owner(server->client) : server->client;
    if (client)
        record_client(client, EVENT_DEADLOCK, error);
    else
        log_event(worker->proxy->log, EVENT_DEADLOCK, (int)worker->number,
                  &(struct log_entry){.server = server->number, .error = error});
}

static void end_server(struct server *server, void *context)
{
    const struct end_message *wanted = context;
    mosaic_error error;
    if (server->pool->slot != wanted->slot || server->pid != wanted->pid || !wanted->silent_since ||
        server->silent_since != wanted->silent_since || !is_asked(server) || server->deadlock)
        return;
    server->deadlock = memory_allocate(strlen(wanted->detail) + 1);
    if (!server->deadlock)
        return; /* the next round finds it again */
    memcpy(server->deadlock, wanted->detail, strlen(wanted->detail) + 1);
    if (!cancel_server(server)) {
        server_forget_deadlock(server);
        return;
    }
    COUNT(&server->worker->counters, deadlocks, 1);
    (void)!error_set(&error, MOSAIC_SERVER, "deadlock detected");
    error_sqlstate(&error, "40P01");
    error_detail(&error, "%s", wanted->detail);
    error_shard(&error, server->worker->world->model.shards[server->pool->shard].name);
    tell_log(server, &error);
}

static void end(struct worker *worker, struct message *message)
{
    each_owned(worker, end_server, LIST_OWNER(struct end_message, message, message));
}

void waiting_end(struct worker *worker, size_t slot, uint32_t pid, int64_t silent_since, const char *detail)
{
    struct end_message *message = memory_zeroed(1, sizeof *message + strlen(detail) + 1);
    if (!message)
        return;
    message->message.handle = end;
    message->slot = slot;
    message->pid = pid;
    message->silent_since = silent_since;
    memcpy(message->detail, detail, strlen(detail) + 1);
    worker_post(worker, &message->message);
}
