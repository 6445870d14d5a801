#include "catalog/homeward.h"

#include "base/control_point.h"
#include "catalog/adopt.h"
#include "catalog/homeward_steps.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- which tables ---- */

static bool is_table(const struct table_facts *facts)
{
    return facts->kind == 'r' || facts->kind == 'p';
}

void homeward_find(const struct apply *apply, struct shard_facts *const *facts)
{
    struct shard_facts *home = facts[apply->catalog_shard];
    for (size_t at = apply->model->table_count; home && at < apply->name_count; at++)
        for (size_t i = 0; i < apply->model->shard_count; i++)
            if (i != apply->catalog_shard && facts[i] && facts[i]->tables[at].exists)
                home->tables[at].returns = is_table(&home->tables[at]);
}

/* Its number among those taken out; the count of these: it does not come home. */
static size_t find_taken(const struct difference_input *input, const char *schema, const char *name)
{
    const struct shard_facts *home = input->facts[input->catalog_shard];
    for (size_t i = 0; home && i < input->taken_count; i++)
        if (strcmp(input->taken[i].schema, schema) == 0 && strcmp(input->taken[i].name, name) == 0 &&
            home->tables[input->model->table_count + i].returns)
            return i;
    return input->taken_count;
}

bool homeward_names(const struct difference_input *input, const char *schema, const char *name)
{
    return find_taken(input, schema, name) < input->taken_count;
}

void homeward_plan(const struct difference_input *input, const struct catalog_table *table, struct buffer *plan)
{
    size_t at = find_taken(input, table->schema, table->name);
    char shards[1024] = "", rows[64] = "";
    double estimated = 0;
    if (at == input->taken_count)
        return;
    for (size_t i = 0; i < input->model->shard_count; i++) {
        size_t used = strlen(shards);
        const struct table_facts *facts =
            input->facts[i] ? &input->facts[i]->tables[input->model->table_count + at] : NULL;
        if (i == input->catalog_shard || !facts || !facts->exists)
            continue;
        snprintf(shards + used, sizeof shards - used, "%s%s", used ? ", " : "", input->facts[i]->shard);
        estimated = facts->estimated_rows < 0 || estimated < 0 ? -1 : estimated + facts->estimated_rows;
    }
    const char *home = input->model->shards[input->catalog_shard].name, *display = input->taken[at].display;
    if (estimated >= 0)
        snprintf(rows, sizeof rows, "%.0f (estimated) ", estimated);
    if (table->kind == TABLE_SHARDED)
        buffer_format(plan,
                      "~ table %s: its %srows on %s move to home shard %s, and the table is dropped there; meanwhile it"
                      " is neither read nor written to\n",
                      display, rows, shards, home);
    else
        buffer_format(plan,
                      "~ table %s: its copies on %s are compared with home shard %s's, and dropped; meanwhile it is"
                      " not written to\n",
                      display, shards, home);
}

bool homeward_has(const struct apply *apply)
{
    const struct apply_shard *home = &apply->shards[apply->catalog_shard];
    for (size_t at = apply->model->table_count; home->status == MOSAIC_OK && at < apply->name_count; at++)
        if (home->facts.tables[at].returns)
            return true;
    return false;
}

mosaic_status homeward_check(struct apply *apply, mosaic_error *error)
{
    mosaic_status status = homeward_check_tables(apply, error);
    for (size_t i = 0; i < apply->model->shard_count && status == MOSAIC_OK; i++)
        if (apply->shards[i].status == MOSAIC_OK)
            status = grow_check_sessions(apply, i, error);
    return status;
}

/* ---- what the steps share ---- */

const struct table_facts *homeward_facts(const struct grow *grow, size_t shard, const struct growing *growing)
{
    const struct apply *apply = grow->apply;
    return &apply->shards[shard].facts.tables[growing->facts - apply->shards[grow->home].facts.tables];
}

bool homeward_add_names(struct buffer *sql, const struct grow *grow, size_t shard)
{
    bool any = false;
    for (size_t i = 0; i < grow->table_count; i++) {
        if (!homeward_facts(grow, shard, &grow->tables[i])->exists)
            continue;
        buffer_text(sql, any ? ", " : "");
        grow_add_name(sql, grow->tables[i].table);
        any = true;
    }
    return any;
}

/* Does `table` have a foreign key to `other`? */
static bool references(const struct growing *table, const struct growing *other)
{
    for (size_t i = 0; i < table->facts->constraint_count; i++) {
        const struct constraint_facts *constraint = &table->facts->constraints[i];
        if (constraint->type == 'f' && strcmp(constraint->foreign_schema, other->table->schema) == 0 &&
            strcmp(constraint->foreign_table, other->table->name) == 0)
            return true;
    }
    return false;
}

/* Those that others reference come first: foreign keys are looked at while rows come. */
static void sort_tables(struct grow *grow)
{
    for (size_t done = 0; done < grow->table_count; done++) {
        size_t next = done;
        for (size_t i = done; i < grow->table_count; i++) {
            bool waits = false;
            for (size_t j = done; j < grow->table_count; j++)
                waits |= i != j && references(&grow->tables[i], &grow->tables[j]);
            if (!waits) {
                next = i;
                break;
            }
        }
        struct growing first = grow->tables[next];
        grow->tables[next] = grow->tables[done];
        grow->tables[done] = first;
    }
}

static mosaic_status start(struct grow *grow, struct apply *apply, mosaic_error *error)
{
    struct apply_shard *home = &apply->shards[apply->catalog_shard];
    size_t most = apply->name_count - apply->model->table_count;
    *grow = (struct grow){.apply = apply, .home = apply->catalog_shard, .connection = home->connection};
    grow->tables = arena_zeroed(&apply->arena, most, sizeof *grow->tables);
    grow->made = arena_zeroed(&apply->arena, apply->model->shard_count, sizeof *grow->made);
    if (!grow->tables || !grow->made)
        return error_memory(error);
    for (size_t at = apply->model->table_count; at < apply->name_count; at++) {
        const struct table_name *name = &apply->names[at];
        if (!home->facts.tables[at].returns)
            continue;
        struct table *table = arena_zeroed(&apply->arena, 1, sizeof *table);
        struct growing *growing = &grow->tables[grow->table_count++];
        *growing = (struct growing){table, &home->facts.tables[at], NULL, NULL, 0};
        growing->sums = arena_zeroed(&apply->arena, apply->model->shard_count, sizeof *growing->sums);
        if (!growing->sums || !table)
            return error_memory(error);
        *table = (struct table){.schema = name->schema, .name = name->name, .display = name->display};
        table->kind = state_table(&apply->state, name->schema, name->name)->kind;
    }
    sort_tables(grow);
    return MOSAIC_OK;
}

/* ---- locks ---- */

static void add_lock(struct buffer *sql, const struct grow *grow, size_t shard)
{
    struct buffer names = BUFFER_INIT(GROW_SQL_MOST);
    if (shard == grow->home) {
        for (size_t i = 0; i < grow->table_count; i++) {
            buffer_text(sql, "LOCK TABLE ");
            grow_add_name(sql, grow->tables[i].table);
            buffer_format(sql, " IN %s MODE; ",
                          grow->tables[i].table->kind == TABLE_SHARDED ? "ACCESS EXCLUSIVE" : "SHARE ROW EXCLUSIVE");
        }
    } else if (homeward_add_names(&names, grow, shard)) {
        buffer_format(sql, "LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE; ", buffer_string(&names));
    }
    buffer_free(&names);
}

static mosaic_status lock_shard(struct grow *grow, size_t shard)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    buffer_format(&sql, "BEGIN; SET LOCAL lock_timeout = %d; ", GROW_LOCK_MS);
    add_lock(&sql, grow, shard);
    buffer_text(&sql, "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0;"
                      " SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL row_security = off; ");
    buffer_text(&sql, checksum_settings);
    return grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL);
}

/* On all shards, or, where one is in use, on none meanwhile: who has a lock there may wait for another here. */
static mosaic_status lock(struct grow *grow, mosaic_error *error)
{
    int64_t deadline = pq_deadline(GROW_LOCK_TRIES_MS);
    for (;;) {
        size_t shards = grow->apply->model->shard_count, failed = 0;
        mosaic_status status = MOSAIC_OK;
        for (size_t i = 0; i < shards && status == MOSAIC_OK; i++)
            status = lock_shard(grow, failed = i);
        if (status == MOSAIC_OK)
            return MOSAIC_OK;
        bool again = grow_is_lock_timeout(grow, failed);
        (void)!grow_fail(grow, failed, error);
        for (size_t i = 0; i < shards && again; i++)
            again = grow_roll_back(grow, i) == MOSAIC_OK;
        if (!again)
            return status;
        if (!pq_left_ms(deadline))
            return grow_in_use(grow, failed, error);
        grow_pause();
    }
}

/* ---- the fence of the other shards ---- */

/*
 * By a session of its own, committed at once: a router of the old map that connects from now on is refused. The row in
 * mosaic.arrival tells the next apply what to do with the table: the catalog decides.
 */
static mosaic_status raise_epoch(struct grow *grow, size_t shard)
{
    struct apply *apply = grow->apply;
    mosaic_error *error = &apply->shards[shard].error;
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    PGconn *connection = NULL;
    for (size_t i = 0; i < grow->table_count; i++) {
        const struct table *table = grow->tables[i].table;
        if (!homeward_facts(grow, shard, &grow->tables[i])->exists)
            continue;
        buffer_text(&sql, "INSERT INTO mosaic.arrival (schema_name, table_name) VALUES (");
        sql_literal(&sql, table->schema, strlen(table->schema));
        buffer_text(&sql, ", ");
        sql_literal(&sql, table->name, strlen(table->name));
        buffer_text(&sql, ") ON CONFLICT DO NOTHING; ");
    }
    buffer_format(&sql, "UPDATE mosaic.epoch SET epoch = %" PRIu64, apply->difference.wanted.epoch);
    mosaic_status status = buffer_failed(&sql) ? error_memory(error) : apply_connect(apply, shard, &connection);
    grow->made[shard] = true;
    if (status == MOSAIC_OK)
        status = pq_exec(connection, apply->model->shards[shard].name, buffer_string(&sql), pq_deadline(GROW_STEP_MS),
                         NULL, error);
    PQfinish(connection);
    buffer_free(&sql);
    control_point("homeward.raised_one");
    return status;
}

/* Who came in before the epoch was raised, or not through a router, may have the table: he is ended. */
static mosaic_status drop(struct grow *grow, size_t shard)
{
    int64_t deadline = pq_deadline(GROW_LOCK_TRIES_MS);
    mosaic_error *error = &grow->apply->shards[shard].error;
    struct buffer names = BUFFER_INIT(GROW_SQL_MOST);
    mosaic_status status = MOSAIC_OK;
    bool any = homeward_add_names(&names, grow, shard), done = false;
    while (status == MOSAIC_OK && any && !done) {
        struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
        buffer_format(&sql, "SAVEPOINT homeward; SET LOCAL lock_timeout = %d; DROP TABLE ", GROW_LOCK_MS);
        buffer_add(&sql, names.data, names.size);
        buffer_text(&sql, "; SET LOCAL lock_timeout = 0; RELEASE homeward; DELETE FROM mosaic.arrival");
        done = (status = grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL)) == MOSAIC_OK;
        if (done || !grow_is_lock_timeout(grow, shard))
            break;
        status = grow_run(grow, shard, "ROLLBACK TO homeward; RELEASE homeward", GROW_STEP_MS, NULL);
        if (status == MOSAIC_OK && !pq_left_ms(deadline))
            status = grow_in_use(grow, shard, error);
        if (status == MOSAIC_OK)
            status =
                grow_end_sessions(grow->apply->shards[shard].connection, grow->apply->model->shards[shard].name, error);
        grow_pause();
    }
    buffer_free(&names);
    return status;
}

static mosaic_status fence(struct grow *grow, size_t shard)
{
    struct apply_shard *at = &grow->apply->shards[shard];
    mosaic_status status = raise_epoch(grow, shard);
    if (status == MOSAIC_OK)
        status = grow_end_sessions(at->connection, grow->apply->model->shards[shard].name, &at->error);
    return status == MOSAIC_OK ? drop(grow, shard) : status;
}

/* ---- all together ---- */

static mosaic_status prepare(struct grow *grow, mosaic_error *error)
{
    mosaic_status status = lock(grow, error);
    control_point("homeward.locked");
    if (status == MOSAIC_OK)
        status = grow_on_others(grow, grow_look_again, error);
    if (status == MOSAIC_OK && grow_look_again(grow, grow->home) != MOSAIC_OK)
        return grow_fail(grow, grow->home, error);
    if (status == MOSAIC_OK)
        status = homeward_sum(grow, error);
    if (status == MOSAIC_OK)
        status = homeward_gather(grow, error);
    control_point("homeward.gathered");
    if (status == MOSAIC_OK)
        status = homeward_verify(grow, error);
    control_point("homeward.verified");
    if (status == MOSAIC_OK)
        status = grow_on_others(grow, fence, error);
    control_point("homeward.dropped");
    if (status == MOSAIC_OK)
        status = grow_fence(grow, error);
    control_point("homeward.fenced");
    if (status == MOSAIC_OK)
        status = adopt_compare(grow->apply, error);
    if (status == MOSAIC_OK)
        status = steps_catalog(grow->apply, error);
    return status == MOSAIC_OK ? steps_epoch_of(grow->apply, grow->home, error) : status;
}

static void undo_shard(struct grow *grow, size_t shard)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    if (grow_roll_back(grow, shard) != MOSAIC_OK || !grow->made[shard])
        return;
    buffer_format(&sql, "DELETE FROM mosaic.arrival; UPDATE mosaic.epoch SET epoch = %" PRIu64,
                  grow->apply->difference.epoch_before);
    (void)!grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL);
}

/* Until the home shard's commit was sent all can be undone. */
static void undo(struct grow *grow)
{
    grow_undo(grow, undo_shard);
}

static mosaic_status commit(struct grow *grow, size_t shard)
{
    mosaic_status status = grow_commit(grow, shard);
    if (shard != grow->home)
        control_point("homeward.gone_one");
    return status;
}

static mosaic_status finish(struct grow *grow, mosaic_error *error)
{
    mosaic_status status = grow_on_others(grow, commit, error);
    if (status != MOSAIC_OK)
        error_hint(error, "the tables are the home shard's now: run pgmosaic apply again, which drops what is left");
    for (size_t i = 0; i < grow->table_count; i++) {
        const struct growing *growing = &grow->tables[i];
        grow->apply->moved += growing->rows;
        if (growing->table->kind == TABLE_SHARDED)
            grow_say(grow->apply, "table %s: %" PRIu64 " rows moved to the home shard, compared",
                     growing->table->display, growing->rows);
        else
            grow_say(grow->apply, "table %s: its copies were alike, and are dropped", growing->table->display);
    }
    return status;
}

mosaic_status homeward_tables(struct apply *apply, mosaic_error *error)
{
    struct grow grow;
    mosaic_error local;
    error = error ? error : &local;
    mosaic_status status = start(&grow, apply, error);
    if (status == MOSAIC_OK)
        status = prepare(&grow, error);
    if (status != MOSAIC_OK) {
        undo(&grow);
        return status;
    }
    pq_hold_interrupts(true);
    status = commit(&grow, grow.home);
    control_point("homeward.moved");
    status = status == MOSAIC_OK ? finish(&grow, error) : grow_judge_commit(&grow, undo, error);
    pq_hold_interrupts(false);
    return status;
}
