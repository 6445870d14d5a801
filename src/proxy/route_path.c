/*
 * Search paths: what a server said of one is kept for all sessions of the user that have the same settings, until the
 * world changes.
 */
#include "base/memory.h"
#include "catalog/schema_read.h"
#include "proxy/route.h"
#include "proxy/server.h"

#include <stdlib.h>
#include <string.h>

enum { PATHS_MOST = 256 };

struct session_path {
    struct session_path *next;    /* of user->paths */
    struct settings_state *state; /* held; NULL: of one transaction alone */
    uint64_t version;             /* of the world */
    size_t count;
    uint64_t context; /* plan_cache_context without temporary tables; 0: not computed */
    const char *names[];
};

static void free_path(struct session_path *path)
{
    settings_release(path->state);
    memory_free(path);
}

void route_free_paths(struct user *user)
{
    while (user->paths) {
        struct session_path *path = user->paths;
        user->paths = path->next;
        free_path(path);
    }
    user->path_count = 0;
}

size_t route_path_names(const struct session_path *path, const char *const **names)
{
    *names = path ? path->names : NULL;
    return path ? path->count : 0;
}

const struct session_path *route_path(struct client *client)
{
    uint64_t version = client->worker->world->version;
    if (client->path && client->path->version == version)
        return client->path;
    client->path = NULL;
    if (client->path_is_local || client->is_pinned)
        return NULL; /* what is set is more than the state says */
    for (struct session_path *path = client->user->paths; path; path = path->next)
        if (path->state == client->session && path->version == version)
            return client->path = path;
    return NULL;
}

uint64_t route_path_context(const struct session_path *path, const struct sql_context *context, uint64_t seed)
{
    struct session_path *kept = context->temporary_count ? NULL : (struct session_path *)path;
    if (kept && kept->context)
        return kept->context;
    uint64_t id = plan_cache_context(context, seed);
    if (kept)
        kept->context = id;
    return id;
}

/* The names of {a,"b c"}, one after the other, each with a zero; returns their number, SIZE_MAX: malformed. */
static size_t split_array(const char *text, char *names)
{
    size_t count = 0;
    if (*text++ != '{')
        return SIZE_MAX;
    while (*text && *text != '}') {
        bool quoted = *text == '"';
        text += quoted;
        while (*text && (quoted ? *text != '"' : *text != ',' && *text != '}')) {
            if (*text == '\\' && text[1])
                text++;
            *names++ = *text++;
        }
        *names++ = '\0';
        text += quoted && *text == '"';
        text += *text == ',';
        count++;
    }
    return *text == '}' ? count : SIZE_MAX;
}

/* May its answer be compared with the world? Not within transactions, nor of a connection that the client keeps. */
static bool is_comparable(const struct client *client)
{
    return !client->path_is_local && !client->is_pinned && client->status == 'I' && client->is_fresh &&
           server_is_clean(client->server);
}

void route_path_question(const struct client *client, struct buffer *sql)
{
    const struct world *world = client->worker->world;
    buffer_text(sql, "SELECT pg_catalog.concat(pg_catalog.current_schemas(true)");
    if (client->server->pool->shard == world->home && world->schema && world->schema->sight && is_comparable(client))
        buffer_format(sql, ", ' ', %s", schema_sight_query());
    buffer_char(sql, ')');
}

bool route_path_agrees(const struct client *client, const char *text)
{
    const char *end = strrchr(text, '}');
    bool is_told = end && end[1] == ' ';
    return !is_comparable(client) ||
           (!client->server->unfit && (!is_told || strtoll(end + 2, NULL, 10) == client->worker->world->schema->sight));
}

bool route_learn_path(struct client *client, const char *text)
{
    struct user *user = client->user;
    size_t size = strlen(text) + 1, most = 1;
    for (const char *at = text; *at; at++)
        most += *at == ',';
    struct session_path *path = memory_zeroed(1, sizeof *path + most * sizeof(char *) + size);
    if (!path)
        return false;
    char *names = (char *)(path->names + most);
    path->count = split_array(text, names);
    if (path->count == SIZE_MAX || path->count > most) {
        memory_free(path);
        return false;
    }
    /* A connection on which somebody had temporary tables names its schema for them; what this session has is known. */
    size_t kept = 0;
    for (size_t i = 0; i < path->count; i++) {
        if (strncmp(names, "pg_temp_", 8) != 0)
            path->names[kept++] = names;
        names += strlen(names) + 1;
    }
    path->count = kept;
    path->version = client->worker->world->version;
    client->path_tries = 0;
    bool is_old = client->server && client->server->unfit; /* it may have started with another one */
    if (!client->path_is_local && !client->is_pinned && !is_old)
        path->state = settings_hold(client->session);
    if (user->path_count >= PATHS_MOST)
        user_forget_paths(user);
    path->next = user->paths;
    user->paths = path;
    user->path_count++;
    client->path = path;
    return true;
}
