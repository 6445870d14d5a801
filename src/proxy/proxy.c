#include "proxy/proxy.h"

#include "base/memory.h"
#include "core/map.h"
#include "proxy/deadlock.h"
#include "proxy/follow.h"
#include "proxy/listener.h"
#include "proxy/log.h"
#include "proxy/lookup.h"
#include "proxy/operation.h"
#include "proxy/placement.h"
#include "proxy/recover.h"
#include "proxy/reload.h"
#include "proxy/settle.h"
#include "proxy/starve.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

void proxy_random(void *bytes, size_t size)
{
    char *at = bytes;
    while (size) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0)
            continue; /* a signal: there is no other reason for so few bytes */
        at += got;
        size -= (size_t)got;
    }
}

/* ---- what is shared ---- */

struct world *proxy_world(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->swap);
    struct world *world = world_hold(proxy->world);
    pthread_mutex_unlock(&proxy->swap);
    return world;
}

struct config *proxy_config(struct proxy *proxy)
{
    pthread_mutex_lock(&proxy->swap);
    struct config *config = proxy->config;
    atomic_fetch_add(&config->references, 1);
    pthread_mutex_unlock(&proxy->swap);
    return config;
}

void config_release(struct config *config)
{
    if (!config || atomic_fetch_sub(&config->references, 1) != 1)
        return;
    access_free(&config->access);
    arena_free(&config->arena);
    memory_free(config);
}

/* Workers look between two turns: one that sleeps is woken. */
static void nothing(struct worker *worker, struct message *message)
{
    (void)worker;
    (void)message;
}

void proxy_wake(struct proxy *proxy)
{
    for (unsigned i = 0; i < proxy->worker_count; i++) {
        struct message *message = memory_zeroed(1, sizeof *message);
        if (!message)
            return;
        message->handle = nothing;
        worker_post(&proxy->workers[i], message);
    }
}

/* NULL: no number is left, or no memory. */
static size_t *number_of(struct proxy *proxy, const char *name, size_t *number)
{
    size_t count = atomic_load(&proxy->slot_count);
    for (*number = 0; *number < count; ++*number)
        if (strcmp(proxy->slot_names[*number], name) == 0)
            return number;
    if (count == SHARDS_MOST || !(proxy->slot_names[count] = strdup(name)))
        return NULL;
    atomic_store(&proxy->slot_count, count + 1);
    return number;
}

mosaic_status proxy_number_shards(struct proxy *proxy, struct world *world, mosaic_error *error)
{
    world->slots = arena_zeroed(&world->arena, model_places(&world->model), sizeof *world->slots);
    if (!world->slots)
        return error_memory(error);
    for (size_t i = 0; i < model_places(&world->model); i++)
        if (!number_of(proxy, world->model.shards[i].name, &world->slots[i])) {
            (void)!error_set(error, MOSAIC_LIMIT, "the proxy has had %d shards of different names since its start",
                             SHARDS_MOST);
            return error_hint(error, "start it anew: pgmosaic proxy --takeover drops no client");
        }
    return MOSAIC_OK;
}

void proxy_set_world(struct proxy *proxy, struct world *world)
{
    pthread_mutex_lock(&proxy->swap);
    struct world *before = proxy->world;
    proxy->world = world;
    pthread_mutex_unlock(&proxy->swap);
    world_release(before);
    proxy_wake(proxy);
}

void proxy_set_config(struct proxy *proxy, struct config *config)
{
    pthread_mutex_lock(&proxy->swap);
    struct config *before = proxy->config;
    proxy->config = config;
    pthread_mutex_unlock(&proxy->swap);
    config_release(before);
    proxy_wake(proxy);
    recover_wake(proxy->recover);
}

bool proxy_world_is_everywhere(struct proxy *proxy)
{
    struct world *world = proxy_world(proxy);
    bool all = true;
    for (unsigned i = 0; i < proxy->worker_count; i++) {
        const struct worker *worker = &proxy->workers[i];
        all &= atomic_load(&worker->has_ended) || atomic_load(&worker->world_version) >= world->version;
    }
    world_release(world);
    return all;
}

uint64_t proxy_ask_reload(struct proxy *proxy)
{
    return reload_ask(proxy->reload, false);
}

uint64_t proxy_schema_changed(struct proxy *proxy, bool of_all_shards)
{
    return reload_ask_and_tell(proxy->reload, of_all_shards ? ANNOUNCED_ALL : ANNOUNCED_HOME);
}

void proxy_hold_for_reading(struct proxy *proxy, uint64_t reading)
{
    uint64_t due = atomic_load_explicit(&proxy->readings_due, memory_order_relaxed);
    while (due < reading && !atomic_compare_exchange_weak(&proxy->readings_due, &due, reading))
        ;
}

/* ---- life ---- */

static unsigned thread_count(const struct proxy *proxy, const struct proxy_options *options)
{
    int64_t threads = options->threads ? options->threads : atomic_load(&proxy->config)->settings.threads;
    if (threads == 0)
        threads = sysconf(_SC_NPROCESSORS_ONLN);
    return threads < 1 ? 1 : threads > WORKERS_MOST ? WORKERS_MOST : (unsigned)threads;
}

/* Each client and each server has a descriptor: as many as are allowed. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static mosaic_status start_workers(struct proxy *proxy, const struct proxy_options *options, mosaic_error *error)
{
    unsigned count = thread_count(proxy, options);
    proxy->workers = memory_zeroed(count, sizeof *proxy->workers);
    if (!proxy->workers)
        return error_memory(error);
    for (unsigned i = 0; i < count; i++) {
        mosaic_status status = worker_init(&proxy->workers[i], proxy, i, error);
        proxy->worker_count = i + 1;
        if (status != MOSAIC_OK)
            return status;
    }
    mosaic_status status = listeners_open(proxy, options, error);
    for (unsigned i = 0; i < count && status == MOSAIC_OK; i++)
        status = worker_start(&proxy->workers[i], error);
    return status;
}

mosaic_status proxy_start(const struct proxy_options *options, struct proxy **made, mosaic_error *error)
{
    struct config *config;
    struct proxy *proxy = memory_zeroed(1, sizeof *proxy);
    if (!proxy)
        return error_memory(error);
    *made = proxy;
    pthread_mutex_init(&proxy->swap, NULL);
    atomic_init(&proxy->elder, -1);
    accounts_init(&proxy->accounts);
    list_init(&proxy->listeners);
    proxy_random(proxy->secret, sizeof proxy->secret);
    proxy->started = loop_clock();
    proxy->lookup = lookup_new(proxy);
    proxy->recover = recover_new(proxy);
    proxy->settle = settle_new(proxy);
    proxy->deadlock = deadlock_new(proxy);
    proxy->starvation = starvation_new();
    proxy->placer = placer_new(proxy);
    proxy->follow = follow_new(proxy);
    proxy->config_path = strdup(options->config_path);
    proxy->shard_connections = memory_zeroed(SHARDS_MOST, sizeof *proxy->shard_connections);
    proxy->shard_blocked = memory_zeroed(SHARDS_MOST, sizeof *proxy->shard_blocked);
    proxy->slot_names = memory_zeroed(SHARDS_MOST, sizeof *proxy->slot_names);
    mosaic_status status = MOSAIC_OK;
    if (!proxy->config_path || !proxy->lookup || !proxy->recover || !proxy->settle || !proxy->deadlock ||
        !proxy->starvation || !proxy->placer || !proxy->follow || !proxy->shard_connections || !proxy->shard_blocked ||
        !proxy->slot_names)
        status = error_memory(error);
    raise_descriptors();
    if (status == MOSAIC_OK)
        status = reload_read_config(proxy->config_path, &config, error);
    if (status == MOSAIC_OK)
        proxy_set_config(proxy, config);
    if (status == MOSAIC_OK)
        status = settings_check(&config->settings, error);
    if (status == MOSAIC_OK)
        status = access_load(&config->settings, &config->access, error);
    if (status == MOSAIC_OK)
        status = log_open(&config->settings, &proxy->log, error);
    if (status == MOSAIC_OK)
        status = operation_new(proxy, &proxy->operation, error);
    if (status == MOSAIC_OK)
        status = reload_start(proxy, error);
    if (status == MOSAIC_OK)
        status = start_workers(proxy, options, error);
    if (status == MOSAIC_OK)
        status = recover_start(proxy->recover, error);
    if (status != MOSAIC_OK) {
        proxy_stop(proxy, true);
        proxy_wait(proxy);
        proxy_free(proxy);
        *made = NULL;
    }
    return status;
}

void proxy_stop(struct proxy *proxy, bool at_once)
{
    atomic_store(&proxy->stopping, true);
    for (unsigned i = 0; i < proxy->worker_count; i++)
        if (proxy->workers[i].is_started)
            worker_stop(&proxy->workers[i], at_once);
}

static void close_listeners(struct worker *worker, struct message *message)
{
    (void)message;
    listeners_close(worker->proxy);
}

void proxy_close_listeners(struct proxy *proxy)
{
    struct message *message = memory_zeroed(1, sizeof *message);
    if (!message)
        return;
    message->handle = close_listeners;
    worker_post(&proxy->workers[0], message);
}

void proxy_wait(struct proxy *proxy)
{
    for (unsigned i = 0; i < proxy->worker_count; i++) {
        if (!proxy->workers[i].is_started)
            continue;
        pthread_join(proxy->workers[i].thread, NULL);
        proxy->workers[i].is_started = false;
    }
}

void proxy_free(struct proxy *proxy)
{
    if (!proxy)
        return;
    placer_stop(proxy->placer);
    follow_stop(proxy->follow);
    reload_stop(proxy->reload);
    follow_free(proxy->follow);
    recover_free(proxy->recover);
    lookup_free(proxy->lookup);
    settle_free(proxy->settle);
    proxy->recover = NULL; /* workers may yet lose servers that are in a commit */
    proxy->settle = NULL;
    deadlock_free(proxy->deadlock);
    if (proxy->worker_count)
        listeners_free(proxy);
    for (unsigned i = 0; i < proxy->worker_count; i++)
        worker_free(&proxy->workers[i]);
    placer_free(proxy->placer);
    starvation_free(proxy->starvation);
    memory_free(proxy->workers);
    world_release(proxy->world);
    config_release(proxy->config);
    accounts_free(&proxy->accounts);
    memory_free(proxy->shard_connections);
    memory_free(proxy->shard_blocked);
    for (size_t i = 0; i < atomic_load(&proxy->slot_count); i++)
        free(proxy->slot_names[i]);
    memory_free(proxy->slot_names);
    operation_free(proxy->operation);
    log_close(proxy->log);
    pthread_mutex_destroy(&proxy->swap);
    free(proxy->config_path);
    memory_free(proxy);
}
