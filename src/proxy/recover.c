#define _GNU_SOURCE
#include "proxy/recover.h"

#include "base/memory.h"
#include "catalog/twophase.h"
#include "proxy/log.h"
#include "proxy/proxy.h"
#include "proxy/until.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { ROUND_MS = 60000, SOON_MS = 1000 };

/* What a round could not settle, by gid and shard, so that it is logged once. */
struct troubles {
    struct arena arena;
    struct settled *list;
    size_t count;
};

struct recover {
    struct proxy *proxy;
    pthread_t thread;
    pthread_mutex_t mutex; /* of is_asked and stops */
    pthread_cond_t changed;
    bool is_asked, stops, is_started;
    int64_t last;             /* pq_now_ms of the last round's begin; the thread's own, as what is below */
    struct troubles troubles; /* of the last round */
    atomic_uint_fast64_t committed, rolled_back, in_doubt;
};

/* ---- what is told ---- */

static bool is_among(const struct settled *list, size_t count, const struct settled *wanted)
{
    for (size_t i = 0; i < count; i++)
        if (!list[i].resolved && strcmp(list[i].gid, wanted->gid) == 0 && strcmp(list[i].shard, wanted->shard) == 0)
            return true;
    return false;
}

static void tell_settled(struct recover *recover, const struct settled *settled)
{
    char message[400];
    atomic_fetch_add(settled->committed ? &recover->committed : &recover->rolled_back, 1);
    snprintf(message, sizeof message, "transaction %s was in doubt and is %s now", settled->gid,
             settled->committed ? "committed" : "rolled back");
    log_event(recover->proxy->log, EVENT_RECOVERY, -1,
              &(struct log_entry){.message = message, .shard = settled->shard});
}

static void tell_trouble(struct recover *recover, const struct settled *trouble)
{
    char message[2048];
    if (*trouble->gid)
        snprintf(message, sizeof message, "transaction %s: %s", trouble->gid, trouble->reason);
    else
        snprintf(message, sizeof message, "it cannot be asked for prepared transactions: %s", trouble->reason);
    log_event(recover->proxy->log, EVENT_IN_DOUBT, -1,
              &(struct log_entry){.message = message, .shard = trouble->shard});
}

/* Each trouble once, when it comes; a shard also when it can be asked again. */
static void tell(struct recover *recover, const struct settled *found, size_t count)
{
    const struct troubles *before = &recover->troubles;
    size_t in_doubt = 0;
    for (size_t i = 0; i < count; i++) {
        in_doubt += !found[i].resolved && *found[i].gid;
        if (found[i].resolved)
            tell_settled(recover, &found[i]);
        else if (!is_among(before->list, before->count, &found[i]))
            tell_trouble(recover, &found[i]);
    }
    for (size_t i = 0; i < before->count; i++)
        if (!before->list[i].resolved && !*before->list[i].gid && !is_among(found, count, &before->list[i]))
            log_event(recover->proxy->log, EVENT_RECOVERY, -1,
                      &(struct log_entry){.message = "it is asked for prepared transactions again",
                                          .shard = before->list[i].shard});
    atomic_store(&recover->in_doubt, in_doubt);
}

/* ---- a round ---- */

/* The names in what was found are the world's: they are copied, what may fail; then it is told again. */
static void keep(struct recover *recover, struct troubles *found)
{
    for (size_t i = 0; i < found->count; i++) {
        const char *shard = arena_string(&found->arena, found->list[i].shard);
        found->list[i].shard = shard ? shard : "";
    }
    arena_free(&recover->troubles.arena);
    recover->troubles = *found;
}

/* MOSAIC_INTERRUPTED: the proxy ends, and what is left is no news. */
static void settle(struct recover *recover, const struct world *world, const struct patience *patience)
{
    struct troubles found = {.arena = ARENA_INIT};
    mosaic_error error;
    mosaic_status status = twophase_recover(&world->model, patience, pq_deadline(ROUND_MS), &found.arena, &found.list,
                                            &found.count, &error);
    if (status == MOSAIC_OK) {
        tell(recover, found.list, found.count);
        keep(recover, &found);
        return;
    }
    for (size_t i = 0; i < found.count; i++)
        if (found.list[i].resolved)
            tell_settled(recover, &found.list[i]);
    if (status != MOSAIC_INTERRUPTED)
        log_event(recover->proxy->log, EVENT_PROBLEM, -1, &(struct log_entry){.error = &error});
    arena_free(&found.arena);
}

static void make_round(struct recover *recover, bool at_once)
{
    struct world *world = proxy_world(recover->proxy);
    struct config *config = proxy_config(recover->proxy);
    int64_t age = config->settings.recovery_age;
    config_release(config);
    recover->last = pq_now_ms();
    if (world->model.engine == ENGINE_POSTGRES && world->model.shard_count > 1)
        settle(recover, world, &(struct patience){.part = age, .word = at_once ? 0 : age});
    world_release(world);
}

/* ---- the thread ---- */

/* pq_now_ms of the next round; INT64_MAX: none. */
static int64_t next_round(const struct recover *recover)
{
    struct config *config = proxy_config(recover->proxy);
    int64_t interval = config->settings.recovery_interval;
    config_release(config);
    if (!interval)
        return INT64_MAX;
    return recover->last + (recover->is_asked && interval > SOON_MS ? SOON_MS : interval);
}

/* Waits for it. False: the thread is to end. */
static bool wait(struct recover *recover, bool *at_once)
{
    int64_t due;
    pthread_mutex_lock(&recover->mutex);
    while (!recover->stops && (due = next_round(recover)) > pq_now_ms())
        until_wait(&recover->changed, &recover->mutex, due);
    *at_once = recover->is_asked;
    recover->is_asked = false;
    bool goes_on = !recover->stops;
    pthread_mutex_unlock(&recover->mutex);
    return goes_on;
}

static void *run(void *context)
{
    struct recover *recover = context;
    bool at_once;
    while (wait(recover, &at_once))
        make_round(recover, at_once);
    return NULL;
}

struct recover *recover_new(struct proxy *proxy)
{
    struct recover *recover = memory_zeroed(1, sizeof *recover);
    if (!recover)
        return NULL;
    recover->proxy = proxy;
    recover->last = INT64_MIN / 2; /* the first round is at once */
    recover->troubles.arena = ARENA_INIT;
    pthread_mutex_init(&recover->mutex, NULL);
    until_init(&recover->changed);
    return recover;
}

mosaic_status recover_start(struct recover *recover, mosaic_error *error)
{
    errno = pthread_create(&recover->thread, NULL, run, recover);
    if (errno != 0)
        return error_errno(error, "cannot start a thread");
    pthread_setname_np(recover->thread, "recover");
    recover->is_started = true;
    return MOSAIC_OK;
}

void recover_free(struct recover *recover)
{
    if (!recover)
        return;
    pthread_mutex_lock(&recover->mutex);
    recover->stops = true;
    pthread_cond_signal(&recover->changed);
    pthread_mutex_unlock(&recover->mutex);
    if (recover->is_started)
        pthread_join(recover->thread, NULL);
    arena_free(&recover->troubles.arena);
    pthread_cond_destroy(&recover->changed);
    pthread_mutex_destroy(&recover->mutex);
    memory_free(recover);
}

void recover_soon(struct recover *recover)
{
    pthread_mutex_lock(&recover->mutex);
    recover->is_asked = true;
    pthread_cond_signal(&recover->changed);
    pthread_mutex_unlock(&recover->mutex);
}

void recover_wake(struct recover *recover)
{
    if (!recover)
        return;
    pthread_mutex_lock(&recover->mutex);
    pthread_cond_signal(&recover->changed);
    pthread_mutex_unlock(&recover->mutex);
}

void recover_count(const struct recover *recover, struct recover_totals *totals)
{
    totals->committed = atomic_load_explicit(&recover->committed, memory_order_relaxed);
    totals->rolled_back = atomic_load_explicit(&recover->rolled_back, memory_order_relaxed);
    totals->in_doubt = atomic_load_explicit(&recover->in_doubt, memory_order_relaxed);
}
