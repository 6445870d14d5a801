/* pgmosaic proxy: PostgreSQL's protocol on one address, each statement to the shard that owns it. */
#include "cli/command.h"

#include "cli/context.h"
#include "proxy/listener.h"
#include "proxy/proxy.h"
#include "proxy/service.h"

#include <stdio.h>
#include <string.h>

enum { LISTEN_MOST = 16 };

static const struct option_spec proxy_options[] = {
    {"listen", 'l', "HOST:PORT", "address to listen on instead of the config's; several, parted by commas", NULL},
    {"threads", 't', "N", "threads; 0: one for each processor", NULL},
    {"takeover", 0, NULL, "take the sockets of the proxy that runs with this config, which then ends", NULL},
    {NULL},
};

/* "a,b" into a list; its texts are in the arena. */
static const char *const *split(struct arena *arena, const char *given)
{
    const char **list = arena_zeroed(arena, LISTEN_MOST + 1, sizeof *list);
    for (size_t i = 0; list && given && *given && i < LISTEN_MOST; i++) {
        size_t size = strcspn(given, ",");
        list[i] = arena_copy(arena, given, size);
        given += size + (given[size] == ',');
    }
    return list;
}

static void say_ready(struct proxy *proxy)
{
    struct world *world = proxy_world(proxy);
    fprintf(stderr, "pgmosaic: proxy of cluster %s (%zu shard%s, epoch %llu), %u thread%s, listens on",
            world->model.name, world->model.shard_count, world->model.shard_count == 1 ? "" : "s",
            (unsigned long long)world->model.epoch, proxy->worker_count, proxy->worker_count == 1 ? "" : "s");
    for (struct list *node = proxy->listeners.next; node != &proxy->listeners; node = node->next)
        fprintf(stderr, " %s", LIST_OWNER(struct listener, node, node)->address);
    fprintf(stderr, "\n");
    world_release(world);
}

static int proxy_run(const struct invocation *invocation)
{
    struct arena arena = ARENA_INIT;
    struct service_options options = {.takeover = invocation_has(invocation, "takeover"), .ready = say_ready};
    mosaic_error error;
    long threads = 0;
    mosaic_status status = context_config_path(invocation, &arena, &options.config_path, &error);
    if (status == MOSAIC_OK)
        status = invocation_number(invocation, "threads", 0, WORKERS_MOST, 0, &threads, &error);
    options.threads = (int)threads;
    if (status == MOSAIC_OK && invocation_has(invocation, "listen")) {
        options.listen = split(&arena, invocation_option(invocation, "listen"));
        if (!options.listen)
            status = error_memory(&error);
    }
    if (status == MOSAIC_OK)
        status = service_run(&options, &error);
    arena_free(&arena);
    return status == MOSAIC_OK ? EXIT_CODE_OK : command_fail(&error);
}

const struct command proxy_command = {
    .name = "proxy",
    .usage = "",
    .summary = "serve PostgreSQL's protocol: each statement goes to the shard that owns it",
    .description =
        "Listens on 127.0.0.1:6432 and a Unix socket in /tmp, unless the config's proxy: section or --listen say "
        "otherwise, and serves any PostgreSQL client: the database to connect to is the cluster's name. Each statement "
        "goes to the shard that is proved to own all it needs; what is not proved is refused, with the reason. Server "
        "connections are pooled, for each user and shard.\n\n"
        "The settings stand in mosaic.yaml below proxy:, docs/reference/proxy-settings.md lists them. The database "
        "pgmosaic is for operators: psql, then SHOW HELP. SIGHUP reads the config again, as pgmosaic reload and RELOAD "
        "do. SIGTERM and SIGINT stop it: transactions that are open may end within shutdown_timeout; a second signal "
        "stops at once. With --takeover a new process takes the listening sockets of the running one, so that no "
        "client "
        "is refused in between; the old one serves its clients until they have gone, or shutdown_timeout.",
    .examples = "pgmosaic proxy\npgmosaic proxy --listen 127.0.0.1:5433 --threads 2\npgmosaic proxy --takeover\n",
    .options = proxy_options,
    .takes_config = true,
    .run = proxy_run,
};
