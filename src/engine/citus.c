/* Citus: not there yet. Every entry says so, so that no command works on a Citus cluster as if it were our own shards.
 */
#include "catalog/catalog.h"
#include "engine/engine.h"

static mosaic_status look(struct model *model, const struct apply_options *options, struct apply **apply,
                          mosaic_error *error)
{
    (void)options;
    *apply = NULL;
    return catalog_check_engine(model, error);
}

static mosaic_status carry_out(struct apply *apply, apply_say_fn say, void *context, mosaic_error *error)
{
    (void)apply;
    (void)say;
    (void)context;
    return error_set(error, MOSAIC_UNSUPPORTED, "engine citus cannot apply yet");
}

static mosaic_status health(struct model *model, int connect_ms, int look_ms, struct health *health,
                            mosaic_error *error)
{
    (void)connect_ms;
    (void)look_ms;
    *health = (struct health){0};
    return catalog_check_engine(model, error);
}

const struct engine engine_citus = {.kind = ENGINE_CITUS, .look = look, .carry_out = carry_out, .health = health};
