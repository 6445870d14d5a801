/*
 * Engines: what shards the data. `postgres` is our own shards, any PostgreSQL; `citus` is an existing distributed
 * PostgreSQL. One table of functions each; what works on a cluster asks engine_of and calls through it.
 */
#ifndef MOSAIC_ENGINE_ENGINE_H
#define MOSAIC_ENGINE_ENGINE_H

#include "catalog/apply.h"

/* What an apply found and would do, for whoever shows it; lives as long as the apply. */
struct apply_view {
    const struct findings *findings;
    const char *place;                  /* what a finding's shard is called: "shard", "node" */
    const char *plan;                   /* a line a change */
    bool is_empty;                      /* nothing would change */
    uint64_t epoch_before, epoch_after; /* both 0 where the engine has no epoch */
};

struct engine {
    enum engine_kind kind;
    /* catalog_complete, catalog_check_shard and catalog_check_owners of this engine: the same meaning and failures. */
    mosaic_status (*complete)(struct model *model, PGconn *first, int64_t deadline, mosaic_error *error);
    mosaic_status (*check_shard)(const struct model *model, size_t shard, PGconn *connection, int64_t deadline,
                                 uint64_t *epoch, mosaic_error *error);
    mosaic_status (*check_owners)(struct model *model, PGconn *first, int64_t deadline, mosaic_error *error);
    /*
     * check_shard in two halves, for who waits for the answer himself: the statement, and the judgement of its result
     * (NULL: the server has no such table).
     */
    const char *question;
    mosaic_status (*judge)(const struct model *model, size_t shard, const PGresult *answer, uint64_t *epoch,
                           mosaic_error *error);
    /* apply_look, apply_do and apply_close of this engine: the same meaning, ownership and failures. *apply is the
     * engine's own. */
    mosaic_status (*look)(struct model *model, const struct apply_options *options, void **apply, mosaic_error *error);
    void (*view)(const void *apply, struct apply_view *view);
    mosaic_status (*carry_out)(void *apply, apply_say_fn say, void *context, mosaic_error *error);
    void (*close)(void *apply);
};

extern const struct engine engine_postgres, engine_citus;

/* The engine of a model's kind; never NULL. */
const struct engine *engine_of(enum engine_kind kind);

#endif
