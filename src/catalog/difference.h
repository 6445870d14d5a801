/*
 * What apply has to change: config and shards against the catalog, without a server.
 *
 * The order in which apply.c carries it out, and why no moment of it is wrong:
 *
 *     1 schema mosaic on every shard, with its name         nothing reads it yet
 *     2 constraints, NOT VALID, then VALIDATE               no router knows a new table yet; an old one keeps its
 * owners 3 the catalog, in one transaction, epoch + 1          from here routers see the new tables, every row of which
 * is owned 4 the epoch on every shard                            routers that have the old map find out 5 constraints
 * of removed tables are dropped           no router knows them any more
 *
 * Each step finds out by itself whether it is done, so a run that was killed is finished by running it again.
 */
#ifndef MOSAIC_CATALOG_DIFFERENCE_H
#define MOSAIC_CATALOG_DIFFERENCE_H

#include "catalog/finding.h"
#include "catalog/introspect.h"

/* X(identifier, verb in the plan) */
#define OWNER_ACTION_LIST(X) \
    X(ADD, "add")            \
    X(REPLACE, "replace")    \
    X(VALIDATE, "validate")  \
    X(DROP, "drop")
enum owner_action {
#define X(identifier, verb) OWNER_##identifier,
    OWNER_ACTION_LIST(X)
#undef X
};

/* The constraint mosaic_owner of one table on one shard. */
struct owner_work {
    enum owner_action action;
    size_t shard;
    const char *schema, *name, *display;
    const struct table *table; /* NULL for DROP */
    const char *expression;    /* of the CHECK; NULL for DROP */
    const char *comment;       /* names rule and ownership exactly, so that equal constraints are recognised */
    bool grows;                /* made when the table grows (grow.h), not by the step of the others */
    const char *condition;     /* of the rows that may stand there now; NULL for DROP */
};

struct difference {
    struct catalog_state wanted; /* shards parallel to model->shards */
    uint64_t epoch_before;
    bool catalog_changes; /* step 3 has work: epoch + 1 */
    bool *shard_changes;  /* of each shard: steps 1 or 4 have work */
    struct owner_work *works;
    size_t work_count, work_capacity;
    struct sequence_work *sequences; /* sequence.h */
    size_t sequence_count;
    struct buffer plan; /* what a person reads; "" when nothing changes */
};

struct difference_input {
    struct model *model;                    /* tables' rules and maps are completed */
    const struct catalog_state *state;      /* NULL: nothing was applied yet */
    size_t catalog_shard;                   /* index in the model */
    const struct shard_facts *const *facts; /* NULL for a shard that could not be asked */
    const bool *types_known;                /* of each table, from preflight_tables */
    const struct table_name *taken; /* applied, and not in the model; their facts are behind those of the model's */
    size_t taken_count;
};

/* Findings are what forbids it. The plan is to be freed by buffer_free; everything else is in the arena. */
MOSAIC_MUST_CHECK mosaic_status difference_make(const struct difference_input *input, struct arena *arena,
                                                struct difference *difference, struct findings *findings,
                                                mosaic_error *error);
bool difference_is_empty(const struct difference *difference);

#endif
