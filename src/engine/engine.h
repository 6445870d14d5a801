/*
 * Engines: what shards the data. `postgres` is our own shards, any PostgreSQL; `citus` is an existing distributed
 * PostgreSQL, whose place is kept here. One table of functions each; what works on a cluster asks engine_of and calls
 * through it.
 */
#ifndef MOSAIC_ENGINE_ENGINE_H
#define MOSAIC_ENGINE_ENGINE_H

#include "catalog/health.h"

struct engine {
    enum engine_kind kind;
    /* apply_look, apply_do and health_look of this engine: the same meaning, ownership and failures. */
    mosaic_status (*look)(struct model *model, const struct apply_options *options, struct apply **apply,
                          mosaic_error *error);
    mosaic_status (*carry_out)(struct apply *apply, apply_say_fn say, void *context, mosaic_error *error);
    mosaic_status (*health)(struct model *model, int connect_ms, int look_ms, struct health *health,
                            mosaic_error *error);
};

extern const struct engine engine_postgres, engine_citus;

/* The engine of a model's kind; never NULL. */
const struct engine *engine_of(enum engine_kind kind);

#endif
