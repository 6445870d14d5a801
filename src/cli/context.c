#include "cli/context.h"

#include "config/config.h"

#include <stdlib.h>
#include <unistd.h>

volatile int context_interrupted;

mosaic_status context_config_path(const struct invocation *invocation, struct arena *arena, const char **path,
                                  mosaic_error *error)
{
    const char *named = invocation->config ? invocation->config : getenv("PGMOSAIC_CONFIG");
    if (!named || !*named)
        named = access("mosaic.yaml", R_OK) == 0 ? "mosaic.yaml" : NULL;
    if (!named) {
        error_set(error, MOSAIC_CONFIG, "there is no config");
        error_hint(error, "name one with -c FILE or $PGMOSAIC_CONFIG, or make a lab: pgmosaic lab up");
        return MOSAIC_CONFIG;
    }
    *path = arena_string(arena, named);
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
