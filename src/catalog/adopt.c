#include "catalog/adopt.h"

#include "base/control_point.h"
#include "catalog/grow.h"
#include "catalog/grow_steps.h"
#include "catalog/homeward.h"

/* ---- which tables ---- */

static bool is_new(const struct apply *apply, size_t at)
{
    const struct table *table = &apply->model->tables[at];
    const struct table_facts *home = &apply->shards[apply->catalog_shard].facts.tables[at];
    return home->exists && !home->grows &&
           !(apply->has_state && state_table(&apply->state, table->schema, table->name));
}

bool adopt_has(const struct apply *apply)
{
    if (apply->shards[apply->catalog_shard].status != MOSAIC_OK ||
        apply->options.coordinator == APPLY_COORDINATOR_NOT || !apply->has_state || apply->model->shard_count < 2)
        return false;
    for (size_t at = 0; at < apply->model->table_count; at++)
        if (is_new(apply, at))
            return true;
    return false;
}

mosaic_status adopt_check(struct apply *apply, mosaic_error *error)
{
    if (grow_has(apply) || homeward_has(apply))
        return MOSAIC_OK; /* they have asked */
    return grow_check_sessions(apply, apply->catalog_shard, error);
}

static mosaic_status start(struct grow *grow, struct apply *apply, bool copies_only, mosaic_error *error)
{
    const struct model *model = apply->model;
    struct apply_shard *home = &apply->shards[apply->catalog_shard];
    *grow = (struct grow){.apply = apply, .home = apply->catalog_shard, .connection = home->connection};
    grow->tables = arena_zeroed(&apply->arena, model->table_count, sizeof *grow->tables);
    if (!grow->tables)
        return error_memory(error);
    for (size_t at = 0; at < model->table_count; at++) {
        if (!is_new(apply, at) || (copies_only && model->tables[at].kind != TABLE_REFERENCE))
            continue;
        struct checksum *sums = arena_zeroed(&apply->arena, model->shard_count, sizeof *sums);
        if (!sums)
            return error_memory(error);
        grow->tables[grow->table_count++] =
            (struct growing){.table = &model->tables[at], .facts = &home->facts.tables[at], .sums = sums};
    }
    return MOSAIC_OK;
}

/* ---- copies ---- */

mosaic_status adopt_compare(struct apply *apply, mosaic_error *error)
{
    struct grow copies;
    mosaic_status status = start(&copies, apply, true, error);
    if (status == MOSAIC_OK)
        status = grow_verify(&copies, error);
    if (status == MOSAIC_DATA)
        error_hint(error, "make the copies equal, then run apply again");
    return status;
}

static mosaic_status begin(struct grow *grow, size_t shard)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    buffer_text(&sql, "BEGIN READ ONLY; SET LOCAL statement_timeout = 0; SET LOCAL row_security = off; ");
    buffer_text(&sql, checksum_settings);
    return grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL);
}

static mosaic_status compare(struct grow *grow, mosaic_error *error)
{
    mosaic_status status = grow_on_others(grow, begin, error);
    if (status == MOSAIC_OK)
        status = adopt_compare(grow->apply, error);
    return status == MOSAIC_OK ? grow_on_others(grow, grow_roll_back, error) : status;
}

/* ---- all together ---- */

static mosaic_status prepare(struct grow *grow, mosaic_error *error)
{
    struct apply *apply = grow->apply;
    mosaic_status status = grow_lock(grow, error);
    control_point("adopt.locked");
    if (status == MOSAIC_OK && grow_look_again(grow, grow->home) != MOSAIC_OK)
        return grow_fail(grow, grow->home, error);
    if (status == MOSAIC_OK)
        status = compare(grow, error);
    if (status == MOSAIC_OK)
        status = grow_fence(grow, error);
    control_point("adopt.fenced");
    if (status == MOSAIC_OK)
        status = steps_catalog(apply, error);
    return status == MOSAIC_OK ? steps_epoch_of(apply, grow->home, error) : status;
}

static void undo_shard(struct grow *grow, size_t shard)
{
    (void)!grow_roll_back(grow, shard);
}

static void undo(struct grow *grow)
{
    grow_undo(grow, undo_shard);
}

mosaic_status adopt_tables(struct apply *apply, mosaic_error *error)
{
    struct grow grow;
    mosaic_error local;
    error = error ? error : &local;
    mosaic_status status = start(&grow, apply, false, error);
    if (status == MOSAIC_OK)
        status = prepare(&grow, error);
    if (status != MOSAIC_OK) {
        undo(&grow);
        return status;
    }
    pq_hold_interrupts(true);
    status = grow_commit(&grow, grow.home);
    if (status != MOSAIC_OK)
        status = grow_judge_commit(&grow, undo, error);
    pq_hold_interrupts(false);
    return status;
}
