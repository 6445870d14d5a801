#include "proxy/admin_show.h"

#include "core/map.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECOND INT64_C(1000000)

static void add_time(struct admin_table *table, int64_t us)
{
    char text[40];
    struct tm parts;
    time_t seconds = (time_t)(us / SECOND);
    if (us <= 0 || !gmtime_r(&seconds, &parts) || !strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts))
        admin_null(table);
    else
        admin_text(table, text);
}

static void add_wait(struct admin_table *table, int64_t us)
{
    admin_number(table, us / SECOND);
    admin_number(table, us % SECOND);
}

static void add_link(struct admin_table *table, uint64_t id)
{
    if (id)
        admin_number(table, (int64_t)id);
    else
        admin_null(table);
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static const char *pool_mode_name(enum pool_mode mode)
{
#define X(identifier, name) name,
    static const char *const names[] = { POOL_MODE_LIST(X) };
#undef X
    return names[mode];
}

/* ---- what needs no state ---- */

static void show_help(struct admin_table *table)
{
    static const char *const arguments[] = {"", " [SHARD]", " [TABLE]", " ID", " NAME = VALUE"};
    const struct admin_info *info;
    for (unsigned i = 0; (info = admin_info((enum admin_command)i)); i++) {
        char words[80];
        snprintf(words, sizeof words, "%s%s", info->words, arguments[info->argument]);
        admin_row(table);
        admin_text(table, words);
        admin_text(table, info->help);
        admin_text(table, info->shows ? "stats_users, admin_users" : "admin_users");
        admin_row_end(table);
    }
}

static void show_version(struct admin_table *table)
{
    char text[60];
    snprintf(text, sizeof text, "pgmosaic %s", mosaic_version());
    admin_row(table);
    admin_text(table, text);
    admin_row_end(table);
}

static mosaic_status show_config(const struct admin_view *view, struct admin_table *table, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    for (size_t i = 0; i < settings_count(); i++) {
        const struct proxy_setting_info *info = settings_info(i);
        admin_row(table);
        admin_text(table, info->name);
        admin_text(table, settings_value(&arena, view->settings, i));
        admin_text(table, settings_value(&arena, view->defaults, i));
        admin_text(table, info->reloads ? "yes" : "no");
        admin_row_end(table);
    }
    arena_free(&arena);
    return buffer_failed(table->out) ? error_memory(error) : MOSAIC_OK;
}

/* ---- what the threads have open ---- */

static mosaic_status show_pools(const struct admin_view *view, struct admin_table *table, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct pool_row *pools = NULL;
    size_t count = 0;
    mosaic_status status = snapshot_pools(view->snapshot, &arena, &pools, &count, error);
    for (size_t i = 0; i < count; i++) {
        const struct pool_row *pool = &pools[i];
        const uint32_t numbers[] = {pool->cl_active,         pool->cl_waiting, pool->cl_active_cancel,
                                    pool->cl_waiting_cancel, pool->sv_active,  pool->sv_active_cancel,
                                    pool->sv_being_canceled, pool->sv_idle,    pool->sv_used,
                                    pool->sv_tested,         pool->sv_login};
        admin_row(table);
        admin_text(table, view->model->name);
        admin_text(table, pool->user);
        for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++)
            admin_number(table, numbers[at]);
        add_wait(table, pool->maxwait);
        admin_text(table, pool_mode_name(view->settings->pool_mode));
        admin_text(table, or_empty(pool->shard));
        admin_row_end(table);
    }
    arena_free(&arena);
    return status;
}

static void show_client(const struct client_row *client, unsigned thread, struct admin_table *table)
{
    admin_row(table);
    admin_text(table, "C");
    admin_text(table, client->user);
    admin_text(table, client->database);
    admin_text(table, client->state);
    admin_text(table, client->address);
    admin_number(table, client->port);
    admin_text(table, client->local_address);
    admin_number(table, client->local_port);
    add_time(table, client->connected_at);
    add_time(table, client->requested_at);
    add_wait(table, client->waited);
    add_link(table, client->link);
    admin_number(table, client->pid);
    admin_text(table, or_empty(client->tls));
    admin_text(table, or_empty(client->application_name));
    admin_number(table, client->prepared);
    admin_number(table, (int64_t)client->id);
    admin_text(table, or_empty(client->shard));
    admin_number(table, thread);
    admin_row_end(table);
}

static void show_server(const struct server_row *server, unsigned thread, struct admin_table *table)
{
    admin_row(table);
    admin_text(table, "S");
    admin_text(table, server->user);
    admin_text(table, server->database);
    admin_text(table, server->state);
    admin_text(table, server->address);
    admin_number(table, server->port);
    admin_text(table, server->local_address);
    admin_number(table, server->local_port);
    add_time(table, server->connected_at);
    add_time(table, server->requested_at);
    admin_number(table, server->close_needed);
    add_link(table, server->link);
    admin_number(table, server->pid);
    admin_text(table, or_empty(server->tls));
    admin_text(table, or_empty(server->application_name));
    admin_number(table, server->prepared);
    admin_number(table, (int64_t)server->id);
    admin_text(table, server->shard);
    admin_number(table, thread);
    admin_row_end(table);
}

static void show_plan(const struct plan_row *plan, unsigned thread, struct admin_table *table)
{
    admin_row(table);
    admin_number(table, (int64_t)plan->uses);
    admin_text(table, plan->plan);
    admin_text(table, plan->text);
    admin_number(table, thread);
    admin_row_end(table);
}

static void show_parts(enum admin_command command, const struct snapshot *snapshot, struct admin_table *table)
{
    for (size_t i = 0; i < snapshot->count; i++) {
        const struct snapshot_part *part = &snapshot->parts[i];
        for (size_t at = 0; command == ADMIN_SHOW_CLIENTS && at < part->client_count; at++)
            show_client(&part->clients[at], part->thread, table);
        for (size_t at = 0; command == ADMIN_SHOW_SERVERS && at < part->server_count; at++)
            show_server(&part->servers[at], part->thread, table);
        for (size_t at = 0; command == ADMIN_SHOW_PLANS && at < part->plan_count; at++)
            show_plan(&part->plans[at], part->thread, table);
    }
}

/* ---- counters ---- */

static void add_totals(const struct totals *totals, size_t shard, struct admin_table *table)
{
    for (size_t i = 0; i < SHARD_COUNTER_COUNT; i++)
        admin_number(table, (int64_t)totals->shards[shard].counts[i]);
}

static void add_averages(const struct totals *totals, size_t shard, struct admin_table *table)
{
    for (unsigned i = 0; i < SHARD_COUNTER_COUNT; i++) {
        if (i == SHARD_COUNT_transaction_us)
            admin_number(table, totals_mean(totals, shard, i, SHARD_COUNT_transactions));
        else if (i == SHARD_COUNT_wait_us)
            admin_number(table, totals_mean(totals, shard, i, SHARD_COUNT_assignments));
        else
            admin_number(table, totals_rate(totals, shard, i));
    }
}

static void show_stats(enum admin_command command, const struct admin_view *view, struct admin_table *table)
{
    for (size_t i = 0; i < view->totals->shard_count; i++) {
        admin_row(table);
        admin_text(table, view->model->name);
        admin_text(table, view->model->shards[i].name);
        if (command != ADMIN_SHOW_STATS_AVERAGES)
            add_totals(view->totals, i, table);
        if (command != ADMIN_SHOW_STATS_TOTALS)
            add_averages(view->totals, i, table);
        admin_row_end(table);
    }
}

static void show_totals(const struct totals *totals, struct admin_table *table)
{
    for (size_t i = 0; i < totals->count; i++) {
        admin_row(table);
        admin_text(table, totals->names[i]);
        admin_number(table, (int64_t)totals->counts[i]);
        admin_text(table, totals->helps[i]);
        admin_row_end(table);
    }
}

static void add_count(const struct totals *totals, unsigned tier, enum tier_counter counter, struct admin_table *table)
{
    if (totals_tier_knows(tier, counter))
        admin_number(table, (int64_t)totals->tiers[tier].counts[counter]);
    else
        admin_null(table);
}

static void show_tier(const struct totals *totals, unsigned tier, struct admin_table *table)
{
    const uint64_t *counts = totals->tiers[tier].counts;
    uint64_t statements = counts[TIER_COUNT_statements];
    char shards[32];
    snprintf(shards, sizeof shards, "%.1f", statements ? (double)counts[TIER_COUNT_shards] / (double)statements : 0.0);
    admin_row(table);
    admin_text(table, totals_tier_name(tier));
    admin_number(table, (int64_t)statements);
    admin_text(table, statements && totals_tier_knows(tier, TIER_COUNT_shards) ? shards : NULL);
    add_count(totals, tier, TIER_COUNT_rows, table);
    add_count(totals, tier, TIER_COUNT_bytes, table);
    add_count(totals, tier, TIER_COUNT_duration_us, table);
    if (statements && totals_tier_knows(tier, TIER_COUNT_duration_us))
        admin_number(table, (int64_t)(counts[TIER_COUNT_duration_us] / statements));
    else
        admin_null(table);
    admin_row_end(table);
}

/* Those that are answered first. */
static void show_tiers(const struct totals *totals, struct admin_table *table)
{
    for (unsigned tier = 1; tier <= TIER_MOST; tier++)
        show_tier(totals, tier, table);
    show_tier(totals, 0, table);
}

/* ---- the cluster ---- */

static void show_shards(const struct admin_view *view, struct admin_table *table)
{
    for (size_t i = 0; i < model_places(view->model); i++) {
        const struct shard_view *shard = &view->shards[i];
        admin_row(table);
        admin_text(table, view->model->shards[i].name);
        admin_text(table, shard->host);
        admin_text(table, shard->port);
        admin_text(table, shard->database);
        admin_text(table, shard->is_paused ? "paused" : shard->state);
        admin_number(table, shard->connections);
        admin_number(table, view->settings->max_shard_connections);
        admin_number(table, shard->budget);
        if (shard->server_max < 0)
            admin_null(table);
        else
            admin_number(table, shard->server_max);
        admin_number(table, shard->server_max >= 0 && shard->budget > shard->server_max);
        admin_text(table, shard->is_home ? "home" : shard->is_coordinator ? "coordinator" : "");
        admin_row_end(table);
    }
}

static void add_key(const struct table *from, struct admin_table *table)
{
    char key[512] = "";
    for (size_t i = 0; i < from->column_count; i++) {
        size_t used = strlen(key);
        snprintf(key + used, sizeof key - used, "%s%s", i ? ", " : "", from->columns[i]);
    }
    admin_text(table, key);
}

static void show_owner(const struct admin_view *view, const struct table *from, size_t shard, uint32_t buckets,
                       uint32_t first, struct admin_table *table)
{
    char share[16];
    snprintf(share, sizeof share, "%.1f", 100.0 * buckets / from->map->buckets);
    admin_row(table);
    admin_text(table, from->display);
    admin_text(table, function_name(from->rule.function));
    add_key(from, table);
    admin_text(table, view->model->shards[shard].name);
    admin_number(table, buckets);
    admin_text(table, share);
    admin_number(table, first);
    admin_number(table, (int64_t)view->model->epoch);
    admin_row_end(table);
}

static mosaic_status show_map(const struct admin_view *view, struct admin_table *table, mosaic_error *error)
{
    const struct model *model = view->model;
    const struct table *only = view->table ? model_table(model, view->table) : NULL;
    if (view->table && !only) {
        (void)!error_set(error, MOSAIC_NOT_FOUND, "there is no table %s in %s", view->table, model->source);
        return error_hint(error, "SHOW MAP without a name shows all");
    }
    for (size_t i = 0; i < model->table_count; i++) {
        const struct table *from = &model->tables[i];
        if (!from->map || from->kind != TABLE_SHARDED || (only && only != from))
            continue;
        for (size_t shard = 0; shard < model->shard_count; shard++) {
            uint32_t buckets = 0, first = 0;
            for (uint32_t bucket = from->map->buckets; bucket-- > 0;)
                if (from->map->owner[bucket] == shard) {
                    buckets++;
                    first = bucket;
                }
            if (buckets)
                show_owner(view, from, shard, buckets, first, table);
        }
    }
    return MOSAIC_OK;
}

static void show_users(const struct admin_view *view, struct admin_table *table)
{
    const struct proxy_settings *settings = view->settings;
    for (size_t i = 0; i < view->user_count; i++) {
        admin_row(table);
        admin_text(table, view->users[i].name);
        admin_number(table, settings->pool_size);
        admin_number(table, settings->reserve_pool_size);
        admin_text(table, pool_mode_name(settings->pool_mode));
        admin_number(table, settings->max_user_connections);
        admin_number(table, view->users[i].connections);
        admin_number(table, settings->max_user_client_connections);
        admin_number(table, view->users[i].clients);
        admin_row_end(table);
    }
}

static void show_databases(const struct admin_view *view, struct admin_table *table)
{
    const struct proxy_settings *settings = view->settings;
    const struct shard_view *home = view->shards;
    int64_t connections = 0;
    for (size_t i = 0; i < model_places(view->model); i++) {
        connections += view->shards[i].connections;
        if (view->shards[i].is_home)
            home = &view->shards[i];
    }
    admin_row(table);
    admin_text(table, view->model->name);
    admin_text(table, home->host);
    admin_text(table, home->port);
    admin_text(table, home->database);
    admin_null(table);
    admin_number(table, settings->pool_size);
    admin_number(table, settings->min_pool_size);
    admin_number(table, settings->reserve_pool_size);
    admin_text(table, pool_mode_name(settings->pool_mode));
    admin_number(table, settings->max_shard_connections);
    admin_number(table, connections);
    admin_number(table, settings->max_client_conn);
    admin_number(table, view->clients);
    admin_number(table, view->paused);
    admin_number(table, view->disabled);
    admin_number(table, (int64_t)view->model->shard_count);
    admin_row_end(table);
}

static void show_list(const struct list_view *list, size_t count, struct admin_table *table)
{
    for (size_t i = 0; i < count; i++) {
        admin_row(table);
        admin_text(table, list[i].name);
        admin_number(table, list[i].items);
        admin_row_end(table);
    }
}

static void show_state(const struct admin_view *view, struct admin_table *table)
{
    const struct {
        const char *name;
        bool is;
    } states[] = {{"active", !view->paused && !view->stopping}, {"paused", view->paused}, {"stopping", view->stopping}};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        admin_row(table);
        admin_text(table, states[i].name);
        admin_text(table, states[i].is ? "yes" : "no");
        admin_row_end(table);
    }
}

mosaic_status admin_show(enum admin_command command, const struct admin_view *view, struct admin_table *table,
                         mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    switch (command) {
    case ADMIN_SHOW_HELP:
        show_help(table);
        break;
    case ADMIN_SHOW_VERSION:
        show_version(table);
        break;
    case ADMIN_SHOW_CONFIG:
        status = show_config(view, table, error);
        break;
    case ADMIN_SHOW_POOLS:
        status = show_pools(view, table, error);
        break;
    case ADMIN_SHOW_CLIENTS:
    case ADMIN_SHOW_SERVERS:
    case ADMIN_SHOW_PLANS:
        show_parts(command, view->snapshot, table);
        break;
    case ADMIN_SHOW_STATS:
    case ADMIN_SHOW_STATS_TOTALS:
    case ADMIN_SHOW_STATS_AVERAGES:
        show_stats(command, view, table);
        break;
    case ADMIN_SHOW_TOTALS:
        show_totals(view->totals, table);
        break;
    case ADMIN_SHOW_TIERS:
        show_tiers(view->totals, table);
        break;
    case ADMIN_SHOW_SHARDS:
        show_shards(view, table);
        break;
    case ADMIN_SHOW_MAP:
        status = show_map(view, table, error);
        break;
    case ADMIN_SHOW_USERS:
        show_users(view, table);
        break;
    case ADMIN_SHOW_DATABASES:
        show_databases(view, table);
        break;
    case ADMIN_SHOW_LISTS:
        show_list(view->lists, view->list_count, table);
        break;
    case ADMIN_SHOW_MEM:
        show_list(view->memory, view->memory_count, table);
        break;
    case ADMIN_SHOW_STATE:
        show_state(view, table);
        break;
    default:
        return error_set(error, MOSAIC_INTERNAL, "%s shows nothing", admin_tag(command));
    }
    return status == MOSAIC_OK && buffer_failed(table->out)
               ? error_set(error, MOSAIC_LIMIT, "%s: the answer is too large", admin_tag(command))
               : status;
}
