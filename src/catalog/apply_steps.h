/*
 * The steps of apply, each on all shards it concerns at once. difference.h tells their order and why.
 */
#ifndef MOSAIC_CATALOG_APPLY_STEPS_H
#define MOSAIC_CATALOG_APPLY_STEPS_H

#include "catalog/apply.h"
#include "catalog/definition.h"

/* One shard during an apply; one thread at a time works on it. */
struct apply_shard {
    PGconn *connection; /* NULL where it could not be reached */
    struct arena arena;
    struct shard_identity identity;
    struct shard_facts facts;
    struct definition *definitions; /* of each name, not newer than the facts; NULL where nothing is to be done */
    mosaic_status status;           /* of the last parallel step */
    mosaic_error error;
    bool reported; /* its failure is a finding already */
};

struct apply {
    struct arena arena;
    struct apply_options options;
    struct model *model;
    struct apply_shard *shards;
    struct table_name *names; /* of the model's tables, and behind them of those that were taken out of the config */
    size_t name_count;
    size_t catalog_shard;
    struct catalog_state state;
    bool has_state;
    struct findings findings;
    struct difference difference;
    struct coordinator_look coordinator;
    uint64_t moved; /* rows of tables that were spread or brought home */
    apply_say_fn say;
    void *say_context;
};

/*
 * Connects to a shard; what it fails with is the shard's error. A step that a shard has committed is counted on by the
 * others, which may drop rows because of it: so none of its commits may be lost in a crash.
 */
MOSAIC_MUST_CHECK mosaic_status apply_connect(struct apply *apply, size_t at, PGconn **connection);
/* Preflight: copies of reference tables that differ between shards. Adds findings. */
MOSAIC_MUST_CHECK mosaic_status steps_check_copies(struct apply *apply, mosaic_error *error);
/* Preflight: rows that stand where they may not, by the constraints that are to be added; changes nothing. Adds
 * findings. */
MOSAIC_MUST_CHECK mosaic_status steps_check_rows(struct apply *apply, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status steps_schema(struct apply *apply, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status steps_owners(struct apply *apply, mosaic_error *error);
/* Appends the statements that make a constraint, not valid yet. */
void steps_add_owner(struct buffer *sql, const struct owner_work *item);
/* Validates one. What it fails with is the shard's error. */
MOSAIC_MUST_CHECK mosaic_status steps_validate(struct apply *apply, const struct owner_work *item);
/* The epoch of one shard. */
MOSAIC_MUST_CHECK mosaic_status steps_epoch_of(struct apply *apply, size_t at, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status steps_catalog(struct apply *apply, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status steps_epoch(struct apply *apply, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status steps_drop(struct apply *apply, mosaic_error *error);

#endif
