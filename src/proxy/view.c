#include "proxy/view.h"

#include "proxy/operation.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int64_t least_limit(int64_t most, int64_t limit)
{
    return limit && limit < most ? limit : most;
}

int64_t view_budget(const struct proxy_settings *settings, size_t users)
{
    int64_t each = least_limit(settings->pool_size + settings->reserve_pool_size, settings->max_user_connections);
    return least_limit(each * (int64_t)users, settings->max_shard_connections);
}

size_t view_users(struct proxy *proxy)
{
    size_t count = 0;
    pthread_mutex_lock(&proxy->accounts.mutex);
    for (struct list *node = proxy->accounts.list.next; node != &proxy->accounts.list; node = node->next)
        count++;
    pthread_mutex_unlock(&proxy->accounts.mutex);
    return count;
}

void view_process(uint64_t *cpu_us, uint64_t *memory)
{
    struct rusage used;
    unsigned long pages = 0;
    *cpu_us = 0;
    if (getrusage(RUSAGE_SELF, &used) == 0)
        *cpu_us = (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
                  (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    FILE *file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    *memory = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Hosts, or ports, of a shard's addresses: each name once, by commas. */
static const char *joined(struct arena *arena, const struct target *target, bool ports)
{
    char text[512] = "";
    const char *before = NULL;
    for (size_t i = 0; i < target->endpoint_count; i++) {
        const char *each = ports ? target->endpoints[i].port : target->endpoints[i].host;
        size_t used = strlen(text);
        if (before && strcmp(before, each) == 0)
            continue;
        before = each;
        snprintf(text + used, sizeof text - used, "%s%s", used ? "," : "", each);
    }
    return arena_string(arena, text);
}

static bool fill_shards(struct proxy *proxy, const struct world *world, const struct config *config, size_t users,
                        struct arena *arena, struct admin_view *view)
{
    const struct operation *operation = proxy->operation;
    struct shard_view *shards = arena_zeroed(arena, model_places(&world->model), sizeof *shards);
    view->shards = shards;
    view->paused = world->model.shard_count > 0;
    for (size_t i = 0; i < model_places(&world->model) && shards; i++) {
        size_t slot = world->slots[i];
        shards[i] = (struct shard_view){.host = joined(arena, &world->targets[i], false),
                                        .port = joined(arena, &world->targets[i], true),
                                        .database = world->targets[i].database,
                                        .state = atomic_load(&operation->failing[slot]) ? "down" : "active",
                                        .is_home = i == world->home,
                                        .is_coordinator = i == world->model.shard_count,
                                        .is_paused = operation_paused(operation, slot),
                                        .connections = atomic_load(&proxy->shard_connections[slot]),
                                        .budget = view_budget(&config->settings, users),
                                        .server_max = atomic_load(&operation->allowed[slot])};
        view->paused = view->paused && shards[i].is_paused;
        if (!shards[i].host || !shards[i].port)
            return false;
    }
    return shards != NULL;
}

static bool fill_users(struct proxy *proxy, struct arena *arena, struct admin_view *view)
{
    struct user_view *users = NULL;
    size_t count = 0, most;
    most = view_users(proxy);
    users = arena_zeroed(arena, most + 1, sizeof *users);
    if (!users)
        return false;
    pthread_mutex_lock(&proxy->accounts.mutex);
    for (struct list *node = proxy->accounts.list.next; node != &proxy->accounts.list && count < most;
         node = node->next) {
        const struct account *account = LIST_OWNER(struct account, node, node);
        users[count++] =
            (struct user_view){account->name, atomic_load(&account->connections), atomic_load(&account->clients)};
    }
    pthread_mutex_unlock(&proxy->accounts.mutex);
    view->users = users;
    view->user_count = count;
    return true;
}

/* What SHOW LISTS counts beyond the lists of shared state comes from the snapshot. */
static bool fill_lists(struct proxy *proxy, const struct world *world, struct arena *arena, struct admin_view *view)
{
    int64_t pools = 0, waiting = 0, servers = 0;
    for (size_t i = 0; view->snapshot && i < view->snapshot->count; i++) {
        const struct snapshot_part *part = &view->snapshot->parts[i];
        for (size_t at = 0; at < part->pool_count; at++) {
            pools += part->pools[at].shard != NULL;
            waiting += part->pools[at].cl_waiting;
        }
    }
    for (size_t i = 0; i < model_places(&world->model); i++)
        servers += view->shards[i].connections;
    const struct list_view lists[] = {{"databases", 1},
                                      {"shards", (int64_t)world->model.shard_count},
                                      {"tables", (int64_t)world->model.table_count},
                                      {"users", (int64_t)view->user_count},
                                      {"pools", pools},
                                      {"threads", proxy->worker_count},
                                      {"used_clients", view->clients},
                                      {"waiting_clients", waiting},
                                      {"used_servers", servers}};
    view->list_count = sizeof lists / sizeof *lists;
    struct list_view *copy = arena_allocate(arena, sizeof lists);
    view->lists = copy;
    if (copy)
        memcpy(copy, lists, sizeof lists);
    return copy != NULL;
}

static bool fill_memory(struct arena *arena, struct admin_view *view)
{
    uint64_t cpu, resident, plans = 0;
    view_process(&cpu, &resident);
    for (size_t i = 0; view->snapshot && i < view->snapshot->count; i++)
        plans += view->snapshot->parts[i].plan_counts.bytes;
    struct list_view *memory = arena_zeroed(arena, 2, sizeof *memory);
    if (!memory)
        return false;
    memory[0] = (struct list_view){"process", (int64_t)resident};
    memory[1] = (struct list_view){"plan_caches", (int64_t)plans};
    view->memory = memory;
    view->memory_count = 2;
    return true;
}

mosaic_status view_make(struct proxy *proxy, const struct world *world, const struct config *config,
                        const struct snapshot *snapshot, struct arena *arena, struct admin_view *view,
                        mosaic_error *error)
{
    struct proxy_settings *defaults = arena_allocate(arena, sizeof *defaults);
    struct totals *totals = arena_zeroed(arena, 1, sizeof *totals);
    *view = (struct admin_view){.settings = &config->settings,
                                .defaults = defaults,
                                .model = &world->model,
                                .snapshot = snapshot,
                                .totals = totals,
                                .clients = atomic_load(&proxy->client_count),
                                .disabled = atomic_load(&proxy->operation->disabled),
                                .stopping = atomic_load(&proxy->stopping)};
    if (!defaults || !totals || !fill_users(proxy, arena, view) ||
        !fill_shards(proxy, world, config, view->user_count, arena, view) || !fill_lists(proxy, world, arena, view) ||
        !fill_memory(arena, view))
        return error_memory(error);
    mosaic_status status = settings_default(arena, defaults, error);
    if (status == MOSAIC_OK)
        status = operation_totals(proxy->operation, world, arena, totals, error);
    return status;
}
