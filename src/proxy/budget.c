#include "proxy/budget.h"

#include "pq/pq.h"
#include "proxy/log.h"
#include "proxy/operation.h"
#include "proxy/view.h"

#include <stdlib.h>

enum { ASK_MS = 3000 };

/* max_connections less those kept for superusers and, since PostgreSQL 16, for pg_use_reserved_connections; at most the
 * database's and the role's own limits. -1: not known. */
static int ask(const struct shard *shard)
{
    static const char sql[] =
        "SELECT least(sum(CASE WHEN name = 'max_connections' THEN 1 ELSE -1 END * setting::int), "
        "(SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())) FROM pg_settings WHERE "
        "name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')";
    PGconn *connection;
    PGresult *result = NULL;
    mosaic_error error;
    int64_t deadline = pq_deadline(ASK_MS);
    int allowed = -1;
    if (pq_connect(shard->conninfo, shard->name, "pgmosaic proxy", deadline, &connection, &error) != MOSAIC_OK)
        return -1;
    if (pq_exec(connection, shard->name, sql, deadline, &result, &error) == MOSAIC_OK && PQntuples(result) == 1)
        allowed = atoi(PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(connection);
    return allowed;
}

static void warn(struct proxy *proxy, const struct proxy_settings *settings, const char *shard, size_t users,
                 int allowed)
{
    int64_t budget = view_budget(settings, users), each = allowed / (int64_t)users;
    mosaic_error error;
    if (budget <= allowed)
        return;
    (void)!error_set(&error, MOSAIC_LIMIT,
                     "the pools of %zu user%s may open %lld connections to shard %s, which allows %d", users,
                     users == 1 ? "" : "s", (long long)budget, shard, allowed);
    error_detail(&error, "pool_size %lld and reserve_pool_size %lld for each user and shard; others use the shard too",
                 (long long)settings->pool_size, (long long)settings->reserve_pool_size);
    error_hint(&error,
               "set max_shard_connections to %d or less, or pool_size to %lld or less, or raise max_connections "
               "there",
               allowed, (long long)(each < 1 ? 1 : each));
    error_shard(&error, shard);
    log_event(proxy->log, EVENT_BUDGET, -1, &(struct log_entry){.error = &error});
}

void budget_check(struct proxy *proxy)
{
    struct world *world = proxy_world(proxy);
    struct config *config = proxy_config(proxy);
    size_t users = view_users(proxy);
    for (size_t i = 0; i < world->model.shard_count; i++) {
        int allowed = ask(&world->model.shards[i]);
        if (allowed < 0)
            continue;
        atomic_store(&proxy->operation->allowed[world->slots[i]], allowed);
        warn(proxy, &config->settings, world->model.shards[i].name, users ? users : 1, allowed);
    }
    config_release(config);
    world_release(world);
}
