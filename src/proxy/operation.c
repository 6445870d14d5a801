#include "proxy/operation.h"

#include "base/memory.h"
#include "proxy/proxy.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

mosaic_status operation_new(struct proxy *proxy, struct operation **made, mosaic_error *error)
{
    struct timespec now;
    struct operation *operation = memory_zeroed(1, sizeof *operation);
    if (!operation)
        return error_memory(error);
    clock_gettime(CLOCK_REALTIME, &now);
    operation->proxy = proxy;
    operation->started_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    operation->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&operation->mutex, NULL);
    for (size_t i = 0; i < SHARDS_MOST; i++)
        atomic_init(&operation->allowed[i], -1);
    for (size_t i = 0; i < 2; i++)
        operation->samples[i] = memory_zeroed(SHARDS_MOST, sizeof **operation->samples);
    if (operation->wake >= 0 && operation->samples[0] && operation->samples[1]) {
        *made = operation;
        return MOSAIC_OK;
    }
    mosaic_status status = operation->wake < 0 ? error_errno(error, "cannot make an eventfd") : error_memory(error);
    operation_free(operation);
    return status;
}

void operation_free(struct operation *operation)
{
    if (!operation)
        return;
    if (operation->wake >= 0)
        close(operation->wake);
    memory_free(operation->samples[0]);
    memory_free(operation->samples[1]);
    pthread_mutex_destroy(&operation->mutex);
    memory_free(operation);
}

void operation_stop(struct operation *operation, enum stop_kind kind)
{
    uint64_t one = 1;
    int before = atomic_load(&operation->stop);
    while (before < (int)kind && !atomic_compare_exchange_weak(&operation->stop, &before, (int)kind))
        ;
    while (write(operation->wake, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* Adds what one worker counted of a shard. */
static void add_shard(struct shard_totals *totals, const struct shard_counters *counters)
{
#define X(name, help) totals->counts[SHARD_COUNT_##name] += COUNTED(counters, name);
    SHARD_COUNTER_LIST(X)
#undef X
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        totals->latency[i] += COUNTED(&counters->latency, buckets[i]);
}

static void add_all(const struct proxy *proxy, struct shard_totals *totals, size_t slot)
{
    for (unsigned i = 0; i < proxy->worker_count; i++)
        add_shard(totals, &proxy->workers[i].shards[slot]);
}

void operation_sample(struct operation *operation, int64_t now_us)
{
    size_t slots = atomic_load(&operation->proxy->slot_count);
    pthread_mutex_lock(&operation->mutex);
    struct shard_totals *oldest = operation->samples[0];
    operation->samples[0] = operation->samples[1];
    operation->sampled_us[0] = operation->sampled_us[1];
    operation->samples[1] = oldest;
    operation->sampled_us[1] = now_us;
    memset(oldest, 0, slots * sizeof *oldest);
    for (size_t slot = 0; slot < slots; slot++)
        add_all(operation->proxy, &oldest[slot], slot);
    pthread_mutex_unlock(&operation->mutex);
}

static void subtract(struct shard_totals *from, const struct shard_totals *what)
{
    for (unsigned i = 0; i < SHARD_COUNTER_COUNT; i++)
        from->counts[i] -= what->counts[i];
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        from->latency[i] -= what->latency[i];
}

static const char *const names[] = {
#define X(name, help) #name,
    PROXY_COUNTER_LIST(X)
#undef X
};
static const char *const helps[] = {
#define X(name, help) help,
    PROXY_COUNTER_LIST(X)
#undef X
};
enum { NAME_COUNT = sizeof names / sizeof *names };

static void add_counters(const struct proxy *proxy, uint64_t *counts)
{
    for (unsigned i = 0; i < proxy->worker_count; i++) {
        const struct counters *counters = &proxy->workers[i].counters;
        size_t at = 0;
#define X(name, help) counts[at++] += COUNTED(counters, name);
        PROXY_COUNTER_LIST(X)
#undef X
    }
}

static void add_tiers(const struct proxy *proxy, struct tier_totals *tiers, uint64_t legs[3])
{
    for (unsigned i = 0; i < proxy->worker_count; i++) {
        const struct worker *worker = &proxy->workers[i];
        for (unsigned tier = 2; tier <= TIER_MOST; tier++) {
#define X(name, help) tiers[tier].counts[TIER_COUNT_##name] += COUNTED(&worker->tiers[tier], name);
            TIER_COUNTER_LIST(X)
#undef X
        }
        tiers[0].counts[TIER_COUNT_statements] += COUNTED(&worker->counters, refusals);
        legs[0] += COUNTED(&worker->legs, queries);
        legs[1] += COUNTED(&worker->legs, bytes);
        legs[2] += COUNTED(&worker->legs, duration_us);
    }
}

static uint64_t less(uint64_t all, uint64_t part)
{
    return all > part ? all - part : 0; /* they were not read at one moment */
}

/* Of tier 1 is what all shards there have been did, but for their parts of the other tiers' statements. */
static void fill_tiers(const struct proxy *proxy, const struct world *world, struct tier_totals *tiers)
{
    const struct model *model = &world->model;
    size_t slots = atomic_load(&proxy->slot_count);
    size_t coordinator = model_places(model) > model->shard_count ? world->slots[model->shard_count] : SIZE_MAX;
    struct shard_totals all = {0};
    uint64_t legs[3] = {0};
    add_tiers(proxy, tiers, legs);
    for (size_t slot = 0; slot < slots; slot++)
        if (slot != coordinator)
            add_all(proxy, &all, slot);
    uint64_t *counts = tiers[1].counts;
    counts[TIER_COUNT_statements] = counts[TIER_COUNT_shards] = less(all.counts[SHARD_COUNT_queries], legs[0]);
    counts[TIER_COUNT_bytes] = less(all.counts[SHARD_COUNT_bytes_received], legs[1]);
    counts[TIER_COUNT_duration_us] = less(all.counts[SHARD_COUNT_transaction_us], legs[2]);
}

mosaic_status operation_totals(struct operation *operation, const struct world *world, struct arena *arena,
                               struct totals *totals, mosaic_error *error)
{
    size_t shards = model_places(&world->model);
    uint64_t *counts = arena_zeroed(arena, NAME_COUNT, sizeof *counts);
    struct shard_totals *since = arena_zeroed(arena, shards, sizeof *since);
    struct shard_totals *grown = arena_zeroed(arena, shards, sizeof *grown);
    struct tier_totals *tiers = arena_zeroed(arena, TIER_MOST + 1, sizeof *tiers);
    if (!counts || !since || !grown || !tiers)
        return error_memory(error);
    add_counters(operation->proxy, counts);
    fill_tiers(operation->proxy, world, tiers);
    for (size_t i = 0; i < shards; i++)
        add_all(operation->proxy, &since[i], world->slots[i]);
    pthread_mutex_lock(&operation->mutex);
    bool both = operation->sampled_us[0] != 0;
    for (size_t i = 0; i < shards && both; i++) {
        grown[i] = operation->samples[1][world->slots[i]];
        subtract(&grown[i], &operation->samples[0][world->slots[i]]);
    }
    int64_t period = both ? operation->sampled_us[1] - operation->sampled_us[0] : 0;
    pthread_mutex_unlock(&operation->mutex);
    *totals = (struct totals){names, helps, counts, NAME_COUNT, since, grown, period, shards, tiers};
    return MOSAIC_OK;
}

void operation_errors(struct operation *operation, uint64_t *from_shards, uint64_t *from_proxy)
{
    memset(from_shards, 0, ERROR_CLASSES * sizeof *from_shards);
    memset(from_proxy, 0, ERROR_CLASSES * sizeof *from_proxy);
    for (unsigned i = 0; i < operation->proxy->worker_count; i++) {
        const struct error_counters *errors = operation->proxy->workers[i].errors;
        for (unsigned class = 0; class < ERROR_CLASSES; class ++) {
            from_shards[class] += COUNTED(errors, from_shards[class]);
            from_proxy[class] += COUNTED(errors, from_proxy[class]);
        }
    }
}
