#include "proxy/agree.h"

#include "catalog/session_settings.h"
#include "proxy/pool.h"

#include <string.h>

const char agree_question[] = "pg_catalog.concat_ws(E'\\n'"
#define X(name) ", pg_catalog.current_setting('" #name "')"
    SESSION_SETTING_LIST(X)
#undef X
        ")";

static const char *const names[] = {
#define X(name) #name,
    SESSION_SETTING_LIST(X)
#undef X
};

/* The first lines that differ are those of one setting. */
static void say_difference(const struct server *server, const char *given, const char *home, mosaic_error *error)
{
    const struct world *world = server->worker->world;
    size_t i = 0, size = strcspn(given, "\n"), wanted = strcspn(home, "\n");
    while (i + 1 < sizeof names / sizeof *names && given[size] && home[wanted] && size == wanted &&
           memcmp(given, home, size) == 0) {
        given += size + 1;
        home += wanted + 1;
        size = strcspn(given, "\n");
        wanted = strcspn(home, "\n");
        i++;
    }
    const char *name = world->model.shards[server->pool->shard].name;
    (void)!error_set(error, MOSAIC_UNSUPPORTED, "%s of a new session is \"%.*s\" on shard %s, and \"%.*s\" on shard %s",
                     names[i], (int)size, given, name, (int)wanted, home, world->model.shards[world->home].name);
    error_shard(error, name);
    error_detail(error, "One value would be read, shown or found in two ways.");
    error_hint(error,
               "give the role's sessions the same there: ALTER DATABASE or ROLE … SET; pgmosaic status tells where");
}

bool agree_check(struct server *server, const char *given, mosaic_error *error)
{
    const struct world *world = server->worker->world;
    struct pool *pool = server->pool, *home = pool_find(pool->user, world->home);
    if (pool == home || pool->shard >= world->model.shard_count || !home || !home->given || !given ||
        strcmp(home->given, given) == 0)
        return true;
    say_difference(server, given, home->given, error);
    pool_ask_anew(home);
    return false;
}
