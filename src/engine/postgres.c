/* Our own shards: any PostgreSQL, without an extension. The work is src/catalog's. */
#include "catalog/catalog.h"
#include "engine/engine.h"

#include <stdlib.h>

static mosaic_status judge(const struct model *model, size_t shard, const PGresult *answer, uint64_t *epoch,
                           mosaic_error *error)
{
    bool present = answer && PQntuples(answer) == 1;
    *epoch = present ? strtoull(PQgetvalue(answer, 0, 0), NULL, 10) : 0;
    return catalog_judge_shard(model, shard, present ? PQgetvalue(answer, 0, 2) : NULL,
                               present ? PQgetvalue(answer, 0, 1) : NULL, error);
}

static mosaic_status look(struct model *model, const struct apply_options *options, void **apply, mosaic_error *error)
{
    struct apply *looked = NULL;
    mosaic_status status = apply_look(model, options, &looked, error);
    *apply = looked;
    return status;
}

static void view(const void *apply, struct apply_view *view)
{
    const struct difference *difference = apply_difference(apply);
    *view = (struct apply_view){apply_findings(apply),
                                "shard",
                                buffer_string(&difference->plan),
                                difference_is_empty(difference),
                                difference->epoch_before,
                                difference->wanted.epoch};
}

static mosaic_status carry_out(void *apply, apply_say_fn say, void *context, mosaic_error *error)
{
    return apply_do(apply, say, context, error);
}

static void close_apply(void *apply)
{
    apply_close(apply);
}

const struct engine engine_postgres = {
    .kind = ENGINE_POSTGRES,
    .complete = catalog_complete,
    .check_shard = catalog_check_shard,
    .check_owners = catalog_check_owners,
    /* One row; sql/catalog.sql. A shard that was never applied to has no such table: its epoch is 0. */
    .question = "SELECT epoch, shard, cluster FROM mosaic.epoch",
    .judge = judge,
    .look = look,
    .view = view,
    .carry_out = carry_out,
    .close = close_apply,
};
