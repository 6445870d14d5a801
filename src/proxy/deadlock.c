#define _GNU_SOURCE
#include "proxy/deadlock.h"

#include "base/memory.h"
#include "catalog/blocked.h"
#include "core/waits.h"
#include "proxy/log.h"
#include "proxy/proxy.h"
#include "proxy/until.h"
#include "proxy/waiting.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHARD_MS = 2000, /* of a round, for one shard: those that answer are enough for most cycles */
    RETRY_MS = 5000, /* how long one that does not is left alone */
    IDLE_MS = 10000, /* how long sessions stay when nothing waits */
    PAUSE_LEAST_MS = 50,
};

struct session {
    PGconn *connection; /* NULL: none */
    int64_t retry;      /* pq_now_ms: not before */
    uint64_t *told;     /* the keys that it tells */
    size_t told_count;
    bool has_failed; /* which was logged */
};

struct deadlock {
    struct proxy *proxy;
    pthread_t thread;
    pthread_mutex_t mutex; /* of those below */
    pthread_cond_t changed;
    struct waiting_report *reports[WORKERS_MOST];
    bool is_started, stops;
    struct session *sessions; /* by slot; the thread's own, as what is below */
    uint64_t version;         /* of the world whose shards they are of */
};

/* What a round is about. */
struct round {
    struct deadlock *deadlock;
    struct world *world;
    struct arena arena;
    struct waiting_server *servers;
    size_t count;
    const char **names; /* of shards, by slot */
    struct waits first, second;
};

/* ---- sessions ---- */

static void close_session(struct session *session)
{
    PQfinish(session->connection);
    memory_free(session->told);
    session->connection = NULL;
    session->told = NULL;
    session->told_count = 0;
}

static void close_sessions(struct deadlock *deadlock)
{
    for (size_t i = 0; deadlock->sessions && i < SHARDS_MOST; i++)
        if (deadlock->sessions[i].connection)
            close_session(&deadlock->sessions[i]);
}

static void session_failed(const struct round *round, struct session *session, const mosaic_error *why)
{
    close_session(session);
    session->retry = pq_deadline(RETRY_MS);
    if (!session->has_failed && why->status != MOSAIC_INTERRUPTED)
        log_event(round->deadlock->proxy->log, EVENT_PROBLEM, -1, &(struct log_entry){.error = why});
    session->has_failed = true;
}

static int by_key(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* What is to be told at a shard: which of its backends are of one transaction. */
static size_t keys_of(const struct round *round, size_t slot, uint64_t *keys)
{
    size_t count = 0;
    for (size_t i = 0; i < round->count; i++)
        if (round->servers[i].slot == slot &&
            blocked_key(round->servers[i].pid, round->servers[i].number, &keys[count]))
            count++;
    qsort(keys, count, sizeof *keys, by_key);
    return count;
}

static mosaic_status tell(const struct round *round, const struct shard *shard, size_t slot, struct session *session,
                          int64_t deadline, mosaic_error *error)
{
    uint64_t *keys = memory_zeroed(round->count + 1, sizeof *keys);
    if (!keys)
        return error_memory(error);
    size_t count = keys_of(round, slot, keys);
    if (count == session->told_count && (!count || !memcmp(keys, session->told, count * sizeof *keys))) {
        memory_free(keys);
        return MOSAIC_OK;
    }
    memory_free(session->told);
    session->told = keys;
    session->told_count = count;
    return blocked_tell(session->connection, shard->name, keys, count, deadline, error);
}

/* False: the shard does not answer. */
static bool look_at(const struct round *round, size_t at, struct waits *waits)
{
    const struct shard *shard = &round->world->model.shards[at];
    size_t slot = round->world->slots[at];
    struct session *session = &round->deadlock->sessions[slot];
    int64_t deadline = pq_deadline(SHARD_MS);
    mosaic_status status = MOSAIC_OK;
    mosaic_error error;
    if (!session->connection && pq_left_ms(session->retry) > 0)
        return false;
    if (!session->connection)
        status = blocked_connect(shard, deadline, &session->connection, &error);
    if (status == MOSAIC_OK)
        status = tell(round, shard, slot, session, deadline, &error);
    if (status == MOSAIC_OK)
        status = blocked_look(session->connection, shard->name, slot, deadline, waits, &error);
    if (status != MOSAIC_OK)
        session_failed(round, session, &error);
    else
        session->has_failed = false;
    return status == MOSAIC_OK;
}

/* ---- a round ---- */

static bool is_concerned(const struct round *round, size_t slot)
{
    for (size_t i = 0; i < round->count; i++)
        if (round->servers[i].slot == slot && round->servers[i].waits)
            return true;
    return false;
}

static void look(const struct round *round, bool concerned, struct waits *waits)
{
    for (size_t at = 0; at < round->world->model.shard_count; at++)
        if (is_concerned(round, round->world->slots[at]) == concerned)
            (void)look_at(round, at, waits);
}

static const struct waiting_server *server_of(const struct round *round, struct waits_process process)
{
    for (size_t i = 0; i < round->count; i++)
        if (round->servers[i].waits && round->servers[i].slot == process.shard && round->servers[i].pid == process.id)
            return &round->servers[i];
    return NULL;
}

/* Does what waits here for its answer wait for a lock? */
static bool is_blocked(const struct round *round)
{
    for (size_t i = 0; i < round->first.edge_count; i++)
        if (server_of(round, round->first.edges[i].waiter))
            return true;
    return false;
}

static bool find(struct round *round, const struct waits *second, struct waits_victim **victims, size_t *count)
{
    mosaic_error error;
    if (waits_find(&round->first, second, round->names, &round->arena, victims, count))
        return *count > 0;
    error_memory(&error);
    log_event(round->deadlock->proxy->log, EVENT_PROBLEM, -1, &(struct log_entry){.error = &error});
    return false;
}

/* Most waits are no deadlocks: shards where nobody of ours waits are asked when one of ours waits for a lock, and all
 * of them a second time when there is a cycle. */
static void make_round(struct round *round)
{
    struct waits_victim *victims;
    size_t count;
    look(round, true, &round->first);
    if (!is_blocked(round))
        return;
    look(round, false, &round->first);
    if (!find(round, &round->first, &victims, &count))
        return;
    look(round, true, &round->second);
    look(round, false, &round->second);
    if (!find(round, &round->second, &victims, &count))
        return;
    for (size_t i = 0; i < count; i++) {
        const struct waiting_server *server = server_of(round, victims[i].process);
        if (server && server->number == victims[i].number)
            waiting_end(server->worker, server->slot, server->pid, server->silent_since, victims[i].detail);
    }
}

static bool take_reports(struct round *round)
{
    struct deadlock *deadlock = round->deadlock;
    size_t count = 0;
    pthread_mutex_lock(&deadlock->mutex);
    for (unsigned i = 0; i < WORKERS_MOST; i++)
        count += deadlock->reports[i] ? deadlock->reports[i]->count : 0;
    round->servers = arena_allocate(&round->arena, (count + 1) * sizeof *round->servers);
    for (unsigned i = 0; round->servers && i < WORKERS_MOST; i++) {
        const struct waiting_report *report = deadlock->reports[i];
        if (report)
            memcpy(round->servers + round->count, report->servers, report->count * sizeof *report->servers);
        round->count += report ? report->count : 0;
    }
    pthread_mutex_unlock(&deadlock->mutex);
    return round->count > 0;
}

static bool prepare(struct round *round)
{
    struct deadlock *deadlock = round->deadlock;
    const struct world *world = round->world;
    if (!deadlock->sessions)
        deadlock->sessions = memory_zeroed(SHARDS_MOST, sizeof *deadlock->sessions);
    round->names = arena_zeroed(&round->arena, SHARDS_MOST, sizeof *round->names);
    if (!deadlock->sessions || !round->names)
        return false;
    if (deadlock->version != world->version)
        close_sessions(deadlock); /* their conninfos may be others */
    deadlock->version = world->version;
    for (size_t i = 0; i < world->model.shard_count; i++)
        round->names[world->slots[i]] = world->model.shards[i].name;
    return world->model.shard_count > 1;
}

static void look_for_deadlocks(struct deadlock *deadlock)
{
    struct round round = {.deadlock = deadlock, .arena = ARENA_INIT, .first = WAITS_INIT, .second = WAITS_INIT};
    round.world = proxy_world(deadlock->proxy);
    if (take_reports(&round) && prepare(&round))
        make_round(&round);
    waits_free(&round.first);
    waits_free(&round.second);
    arena_free(&round.arena);
    world_release(round.world);
}

/* ---- the thread ---- */

static bool has_report(const struct deadlock *deadlock)
{
    for (unsigned i = 0; i < WORKERS_MOST; i++)
        if (deadlock->reports[i])
            return true;
    return false;
}

/* Until something waits, and not before `due`. False: the thread is to end. */
static bool wait(struct deadlock *deadlock, int64_t due)
{
    int64_t idle = pq_deadline(IDLE_MS);
    pthread_mutex_lock(&deadlock->mutex);
    while (!deadlock->stops && (!has_report(deadlock) || pq_now_ms() < due)) {
        if (has_report(deadlock)) {
            until_wait(&deadlock->changed, &deadlock->mutex, due);
        } else if (pq_now_ms() < idle) {
            until_wait(&deadlock->changed, &deadlock->mutex, idle);
        } else {
            close_sessions(deadlock);
            pthread_cond_wait(&deadlock->changed, &deadlock->mutex);
        }
    }
    bool goes_on = !deadlock->stops;
    pthread_mutex_unlock(&deadlock->mutex);
    return goes_on;
}

static int64_t pause_ms(const struct deadlock *deadlock)
{
    struct config *config = proxy_config(deadlock->proxy);
    int64_t interval = config->settings.deadlock_check_interval;
    config_release(config);
    return interval > PAUSE_LEAST_MS ? interval : PAUSE_LEAST_MS;
}

static void *run(void *context)
{
    struct deadlock *deadlock = context;
    for (int64_t due = 0; wait(deadlock, due); due = pq_now_ms() + pause_ms(deadlock))
        look_for_deadlocks(deadlock);
    return NULL;
}

struct deadlock *deadlock_new(struct proxy *proxy)
{
    struct deadlock *deadlock = memory_zeroed(1, sizeof *deadlock);
    if (!deadlock)
        return NULL;
    deadlock->proxy = proxy;
    pthread_mutex_init(&deadlock->mutex, NULL);
    until_init(&deadlock->changed);
    return deadlock;
}

void deadlock_free(struct deadlock *deadlock)
{
    if (!deadlock)
        return;
    pthread_mutex_lock(&deadlock->mutex);
    deadlock->stops = true;
    pthread_cond_signal(&deadlock->changed);
    pthread_mutex_unlock(&deadlock->mutex);
    if (deadlock->is_started)
        pthread_join(deadlock->thread, NULL);
    close_sessions(deadlock);
    memory_free(deadlock->sessions);
    for (unsigned i = 0; i < WORKERS_MOST; i++)
        memory_free(deadlock->reports[i]);
    pthread_cond_destroy(&deadlock->changed);
    pthread_mutex_destroy(&deadlock->mutex);
    memory_free(deadlock);
}

void deadlock_report(struct proxy *proxy, unsigned worker, struct waiting_report *report)
{
    struct deadlock *deadlock = proxy->deadlock;
    pthread_mutex_lock(&deadlock->mutex);
    memory_free(deadlock->reports[worker]);
    deadlock->reports[worker] = report;
    if (report && !deadlock->is_started && pthread_create(&deadlock->thread, NULL, run, deadlock) == 0) {
        pthread_setname_np(deadlock->thread, "deadlock");
        deadlock->is_started = true;
    }
    pthread_cond_signal(&deadlock->changed);
    pthread_mutex_unlock(&deadlock->mutex);
}
