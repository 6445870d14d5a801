/*
 * Sequences that give columns of sharded tables their values (serial, identity, nextval as default): apply makes them
 * unique over the shards. Each shard's goes on in steps of one width from its own number, behind every value that any
 * shard has: shard 3 of steps of 1,024 gives 5123, 6147, 7171 …
 *
 * Those of the user's that differ already, by residues of one increment or by ranges, stay as they are. A key column's
 * are left alone: whose values it gives is decided by the key, and equal keys meet on one shard.
 */
#ifndef MOSAIC_CATALOG_SEQUENCE_H
#define MOSAIC_CATALOG_SEQUENCE_H

#include "catalog/difference.h"

struct apply;
struct grow;

struct sequence_work {
    const struct table *table;
    const char *column;
    const char **names; /* of the sequence on each shard, as SQL; NULL: there is none */
    int64_t width;      /* of a step: more than the highest number of a shard */
    int64_t most;       /* the highest value that sequence and column can have */
    bool grows;         /* with its table (grow.h) */
};

/* Adds works, their lines of the plan, and findings where a column cannot be made unique. */
MOSAIC_MUST_CHECK mosaic_status sequence_plan(const struct difference_input *input, struct arena *arena,
                                              struct difference *difference, struct findings *findings,
                                              mosaic_error *error);
/* As findings: who makes tables without their rows cannot tell behind which values to begin. */
void sequence_refuse(const struct difference *difference, struct findings *findings);
/* Does the works of tables that do not grow. */
MOSAIC_MUST_CHECK mosaic_status sequence_step(struct apply *apply, mosaic_error *error);
/* Those of tables that grow, in the transactions of the move, while all rows are on the home shard. */
MOSAIC_MUST_CHECK mosaic_status sequence_grow(struct grow *grow, mosaic_error *error);

#endif
