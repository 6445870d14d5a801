/* Citus: rows are spread by the coordinator, which is the one shard that statements go to. The work is src/citus's. */
#include "citus/apply.h"
#include "citus/metadata.h"
#include "engine/engine.h"

static mosaic_status check_shard(const struct model *model, size_t shard, PGconn *connection, int64_t deadline,
                                 uint64_t *epoch, mosaic_error *error)
{
    (void)shard;
    *epoch = 0;
    return citus_check_coordinator(model, connection, deadline, error);
}

/* The coordinator knows where every row is. */
static mosaic_status check_owners(struct model *model, PGconn *first, int64_t deadline, mosaic_error *error)
{
    (void)model;
    (void)first;
    (void)deadline;
    (void)error;
    return MOSAIC_OK;
}

static mosaic_status judge(const struct model *model, size_t shard, const PGresult *answer, uint64_t *epoch,
                           mosaic_error *error)
{
    (void)shard;
    *epoch = 0;
    return citus_judge_group(model, answer, error);
}

static mosaic_status look(struct model *model, const struct apply_options *options, void **apply, mosaic_error *error)
{
    struct citus_apply *looked = NULL;
    mosaic_status status = citus_apply_look(model, options, &looked, error);
    *apply = looked;
    return status;
}

static void view(const void *apply, struct apply_view *view)
{
    const char *plan = citus_apply_plan(apply);
    *view =
        (struct apply_view){.findings = citus_apply_findings(apply), .place = "node", .plan = plan, .is_empty = !*plan};
}

static mosaic_status carry_out(void *apply, apply_say_fn say, void *context, mosaic_error *error)
{
    return citus_apply_do(apply, say, context, error);
}

static void close_apply(void *apply)
{
    citus_apply_close(apply);
}

const struct engine engine_citus = {.kind = ENGINE_CITUS,
                                    .complete = citus_complete,
                                    .check_shard = check_shard,
                                    .check_owners = check_owners,
                                    .question = CITUS_GROUP_QUESTION,
                                    .judge = judge,
                                    .look = look,
                                    .view = view,
                                    .carry_out = carry_out,
                                    .close = close_apply};
