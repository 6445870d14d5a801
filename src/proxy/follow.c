#define _GNU_SOURCE
#include "proxy/follow.h"

#include "base/memory.h"
#include "catalog/coordinator_follow.h"
#include "proxy/log.h"
#include "proxy/reload.h"
#include "proxy/until.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum {
    QUIET_MS = 1000,   /* behind the last change, where no client waits: changes seldom come alone */
    FIRST_MS = 10000,  /* an attempt that clients wait for */
    AGAIN_MS = 100,    /* within it, behind a failure that passes */
    LATER_MS = 120000, /* one that nobody does */
    PAUSE_LEAST_MS = 1000,
    PAUSE_MOST_MS = 60000,
};

enum state { IDLE, AT_WORK, DONE };

struct follow {
    struct proxy *proxy;
    pthread_t thread;
    atomic_int state; /* enum state */
    volatile int interrupted;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t changed;
    bool is_started, stops;
    struct world *wanted; /* a reference; NULL: nothing is asked for */
    int64_t begin;        /* on it, pq_now_ms */
    /* Of the last attempt: */
    char tried[COORDINATOR_FINGERPRINT_SIZE];
    mosaic_error error;
    int64_t due; /* of the next one, pq_now_ms; 0: none */
    int pause_ms;
};

struct follow *follow_new(struct proxy *proxy)
{
    struct follow *follow = memory_zeroed(1, sizeof *follow);
    if (!follow)
        return NULL;
    follow->proxy = proxy;
    atomic_init(&follow->state, IDLE);
    pthread_mutex_init(&follow->mutex, NULL);
    until_init(&follow->changed);
    return follow;
}

void follow_stop(struct follow *follow)
{
    if (!follow)
        return;
    pthread_mutex_lock(&follow->mutex);
    follow->stops = true;
    __atomic_store_n(&follow->interrupted, 1, __ATOMIC_RELAXED);
    pthread_cond_signal(&follow->changed);
    pthread_mutex_unlock(&follow->mutex);
    if (follow->is_started)
        pthread_join(follow->thread, NULL);
}

void follow_free(struct follow *follow)
{
    if (!follow)
        return;
    world_release(follow->wanted);
    pthread_cond_destroy(&follow->changed);
    pthread_mutex_destroy(&follow->mutex);
    memory_free(follow);
}

/* ---- the thread ---- */

static bool is_due(const struct follow *follow)
{
    int64_t now = pq_now_ms();
    return follow->wanted ? follow->begin <= now : follow->due && follow->due <= now;
}

/* The world whose coordinator is to be brought up to date, with a reference; NULL: the thread is to end. */
static struct world *next(struct follow *follow, bool *asked)
{
    struct world *world = NULL;
    pthread_mutex_lock(&follow->mutex);
    while (!follow->stops && !is_due(follow)) {
        int64_t due = follow->wanted ? follow->begin : follow->due;
        until_wait(&follow->changed, &follow->mutex, due ? due : INT64_MAX);
    }
    *asked = follow->wanted != NULL;
    if (!follow->stops)
        world = *asked ? follow->wanted : proxy_world(follow->proxy);
    if (*asked && !follow->stops)
        follow->wanted = NULL;
    pthread_mutex_unlock(&follow->mutex);
    return world;
}

static bool may_pass(mosaic_status status)
{
    return status != MOSAIC_OK && status != MOSAIC_STALE && status != MOSAIC_NOT_FOUND && status != MOSAIC_INTERRUPTED;
}

/* *is_news: the error is another one than the last. False: there is more to do before it is worth a reading. */
static bool note(struct follow *follow, const struct world *world, mosaic_status status, const mosaic_error *error,
                 bool *is_news)
{
    bool again = may_pass(status);
    pthread_mutex_lock(&follow->mutex);
    *is_news = strcmp(follow->error.message, error->message) != 0;
    memcpy(follow->tried, world->coordinator_fingerprint, sizeof follow->tried);
    follow->error = *error;
    follow->error.status = status;
    follow->pause_ms = !again ? 0 : follow->pause_ms ? follow->pause_ms * 2 : PAUSE_LEAST_MS;
    if (follow->pause_ms > PAUSE_MOST_MS)
        follow->pause_ms = PAUSE_MOST_MS;
    follow->due = again ? pq_deadline(follow->pause_ms) : 0;
    bool ends = !follow->wanted;
    if (ends && atomic_load(&follow->state) == AT_WORK)
        atomic_store(&follow->state, DONE);
    pthread_mutex_unlock(&follow->mutex);
    return ends;
}

/* Nothing newer is asked for, and the proxy goes on. */
static bool is_current(struct follow *follow)
{
    pthread_mutex_lock(&follow->mutex);
    bool current = !follow->wanted && !follow->stops;
    pthread_mutex_unlock(&follow->mutex);
    return current;
}

/* Was it interrupted by a change of the schema, not by the end? */
static bool gives_way(struct follow *follow, mosaic_status status)
{
    pthread_mutex_lock(&follow->mutex);
    bool gives = status == MOSAIC_INTERRUPTED && !follow->stops;
    if (gives)
        __atomic_store_n(&follow->interrupted, 0, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&follow->mutex);
    return gives;
}

static mosaic_status bring_up(struct follow *follow, const struct world *world, bool asked, mosaic_error *error)
{
    int64_t deadline = pq_deadline(asked ? FIRST_MS : LATER_MS);
    for (;;) {
        mosaic_status status = coordinator_follow(&world->model, world->home, deadline, &follow->interrupted, error);
        if (gives_way(follow, status))
            status = error_set(error, MOSAIC_TIMEOUT, "changes of the schema interrupted bringing it up to date");
        if (!may_pass(status) || status == MOSAIC_UNREACHABLE || !pq_left_ms(deadline) || !is_current(follow))
            return status;
        nanosleep(&(struct timespec){.tv_nsec = AGAIN_MS * 1000000L}, NULL);
    }
}

static void attempt(struct follow *follow, const struct world *world, bool asked)
{
    mosaic_error error = {.message = ""};
    int64_t began = pq_now_ms();
    bool is_news;
    mosaic_status status = world->has_coordinator ? MOSAIC_OK : bring_up(follow, world, asked, &error);
    bool ends = note(follow, world, status, &error, &is_news);
    if (status == MOSAIC_OK)
        log_message(follow->proxy->log, EVENT_MAP, "the coordinator was brought up to date in %lld ms",
                    (long long)(pq_now_ms() - began));
    else if (status != MOSAIC_INTERRUPTED && is_news)
        log_event(follow->proxy->log, EVENT_COORDINATOR, -1, &(struct log_entry){.error = &error});
    if (ends)
        (void)reload_ask(follow->proxy->reload, false);
}

static void *run(void *context)
{
    struct follow *follow = context;
    struct world *world;
    bool asked;
    pq_interrupt_thread(&follow->interrupted);
    while ((world = next(follow, &asked))) {
        attempt(follow, world, asked);
        world_release(world);
    }
    return NULL;
}

/* ---- the reload thread's ---- */

void follow_ask(struct follow *follow, struct world *world)
{
    pthread_mutex_lock(&follow->mutex);
    bool is_new = !follow->stops && strcmp(follow->tried, world->coordinator_fingerprint) != 0;
    if (is_new && !follow->is_started && pthread_create(&follow->thread, NULL, run, follow) == 0) {
        pthread_setname_np(follow->thread, "follow");
        follow->is_started = true;
    }
    if (is_new && follow->is_started) {
        world_release(follow->wanted);
        follow->wanted = world_hold(world);
        follow->begin = pq_deadline(QUIET_MS);
        follow->pause_ms = 0;
        atomic_store(&follow->state, AT_WORK);
        pthread_cond_signal(&follow->changed);
    }
    pthread_mutex_unlock(&follow->mutex);
}

/* An apply that is cut off may leave it behind without another definition. */
void follow_found(struct follow *follow)
{
    pthread_mutex_lock(&follow->mutex);
    *follow->tried = '\0';
    pthread_mutex_unlock(&follow->mutex);
}

bool follow_begin(struct follow *follow)
{
    return atomic_load(&follow->state) == DONE;
}

void follow_read(struct follow *follow, bool began)
{
    int done = DONE;
    if (began)
        atomic_compare_exchange_strong(&follow->state, &done, IDLE);
}

const char *follow_failure(struct follow *follow, const char *fingerprint, struct arena *arena)
{
    const char *why = NULL;
    pthread_mutex_lock(&follow->mutex);
    if (strcmp(follow->tried, fingerprint) == 0 && follow->error.status != MOSAIC_OK)
        why = arena_string(arena, follow->error.message);
    pthread_mutex_unlock(&follow->mutex);
    return why;
}

bool follow_hurry(struct follow *follow)
{
    if (atomic_load(&follow->state) == IDLE)
        return false;
    pthread_mutex_lock(&follow->mutex);
    follow->begin = 0;
    pthread_cond_signal(&follow->changed);
    pthread_mutex_unlock(&follow->mutex);
    return true;
}

void follow_give_way(struct follow *follow)
{
    if (atomic_load(&follow->state) == AT_WORK)
        __atomic_store_n(&follow->interrupted, 1, __ATOMIC_RELAXED);
}
