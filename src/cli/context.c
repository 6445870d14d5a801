#include "cli/context.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "config/config.h"
#include "lab/lab.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

volatile int context_interrupted;

static const char default_config[] = "mosaic.yaml";
static const char default_lab[] = "demo";

/* "demo (4 shards, up), matrix (3 shards, stopped)" */
static void describe_labs(const struct lab *labs, size_t count, struct buffer *text)
{
    for (size_t i = 0; i < count; i++)
        buffer_format(text, "%s%s (%zu shard%s, %s)", i ? ", " : "", labs[i].name, labs[i].shard_count,
                      labs[i].shard_count == 1 ? "" : "s", labs[i].up ? "up" : "stopped");
}

static mosaic_status refuse(const struct lab *labs, size_t count, mosaic_error *error)
{
    struct buffer text = BUFFER_INIT(sizeof error->detail - 1);
    (void)!error_set(error, MOSAIC_CONFIG, "which cluster? There is no -c FILE, $PGMOSAIC_CONFIG or ./%s",
                     default_config);
    if (count == 0) {
        error_hint(error, "write a %s, or make a lab: pgmosaic lab up", default_config);
    } else {
        describe_labs(labs, count, &text);
        error_detail(error, "Labs of this checkout: %s", buffer_string(&text));
        error_hint(error, "choose one: eval \"$(pgmosaic lab env %s)\"", labs[0].name);
    }
    buffer_free(&text);
    return MOSAIC_CONFIG;
}

static mosaic_status lab_config(struct arena *arena, const char **path, mosaic_error *error)
{
    struct lab *labs;
    size_t count, up = 0;
    mosaic_status status = lab_list(arena, &labs, &count, error);
    if (status != MOSAIC_OK)
        return status;
    const struct lab *chosen = NULL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(labs[i].name, default_lab) == 0) {
            *path = labs[i].config_path;
            return MOSAIC_OK;
        }
        if (labs[i].up && ++up == 1)
            chosen = &labs[i];
    }
    if (up != 1)
        return refuse(labs, count, error);
    *path = chosen->config_path;
    return MOSAIC_OK;
}

mosaic_status context_config_path(const struct invocation *invocation, struct arena *arena, const char **path,
                                  mosaic_error *error)
{
    const char *environment = getenv("PGMOSAIC_CONFIG"), *found = NULL;
    if (invocation->config)
        found = invocation->config;
    else if (environment && *environment)
        found = environment;
    else if (access(default_config, F_OK) == 0)
        found = default_config;
    if (!found)
        return lab_config(arena, path, error);
    *path = arena_string(arena, found);
    return *path ? MOSAIC_OK : error_memory(error);
}

mosaic_status context_model(const struct invocation *invocation, struct model *model, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    const char *path;
    mosaic_status status = context_config_path(invocation, &arena, &path, error);
    if (status == MOSAIC_OK)
        status = config_read(path, model, error);
    arena_free(&arena);
    return status;
}

mosaic_status context_cluster(const struct invocation *invocation, mosaic_cluster **cluster, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    const char *path;
    mosaic_status status = context_config_path(invocation, &arena, &path, error);
    if (status == MOSAIC_OK)
        status = mosaic_open(path, NULL, cluster, error);
    arena_free(&arena);
    return status;
}
