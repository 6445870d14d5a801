#include "catalog/grow.h"

#include "base/control_point.h"
#include "catalog/adopt.h"
#include "catalog/grow_steps.h"
#include "catalog/parallel.h"
#include "catalog/sequence.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- which tables ---- */

static bool may_grow(const struct model *model, size_t at, size_t home, struct shard_facts *const *facts)
{
    const struct table *table = &model->tables[at];
    size_t others = 0;
    if (!facts[home] || (facts[home]->tables[at].kind != 'r' && facts[home]->tables[at].kind != 'p'))
        return false;
    for (size_t i = 0; i < model->shard_count; i++) {
        if (i == home || !facts[i])
            continue;
        if (facts[i]->tables[at].exists && !facts_arrival(facts[i], table->schema, table->name))
            return false;
        others++;
    }
    return others > 0;
}

void grow_find(const struct model *model, const struct catalog_state *state, size_t home,
               struct shard_facts *const *facts)
{
    for (size_t at = 0; at < model->table_count; at++) {
        const struct table *table = &model->tables[at];
        if ((state && state_table(state, table->schema, table->name)) || !may_grow(model, at, home, facts))
            continue;
        for (size_t i = 0; i < model->shard_count; i++)
            if (i == home)
                facts[i]->tables[at].grows = true;
            else if (facts[i])
                facts[i]->tables[at] = (struct table_facts){.arrives = true, .rules = "", .policies = ""};
    }
}

bool grow_has(const struct apply *apply)
{
    const struct apply_shard *home = &apply->shards[apply->catalog_shard];
    for (size_t at = 0; home->status == MOSAIC_OK && at < apply->model->table_count; at++)
        if (home->facts.tables[at].grows)
            return true;
    return false;
}

void grow_plan(const struct difference_input *input, size_t at, struct buffer *plan)
{
    const struct model *model = input->model;
    const struct table *table = &model->tables[at];
    const struct shard_facts *home = input->facts[input->catalog_shard];
    char rows[64] = "its rows";
    if (!home || !home->tables[at].grows)
        return;
    if (home->tables[at].estimated_rows >= 0)
        snprintf(rows, sizeof rows, "%.0f rows (estimated)", home->tables[at].estimated_rows);
    buffer_format(plan, "~ table %s: %s %s from home shard %s", table->display, rows,
                  table->kind == TABLE_SHARDED ? "move" : "are copied", home->shard);
    for (size_t i = 0; i < table->column_count; i++)
        buffer_format(plan, "%s%s", i ? ", " : " by ", table->columns[i]);
    buffer_text(plan, "; meanwhile it is not written to\n");
}

void grow_plan_leftovers(const struct difference_input *input, struct difference *difference)
{
    for (size_t i = 0; i < input->model->shard_count; i++) {
        const struct shard_facts *facts = input->facts[i];
        for (size_t a = 0; facts && a < facts->arrival_count; a++) {
            const struct table_name *name = &facts->arrivals[a];
            difference->shard_changes[i] = true;
            bool wanted = state_table(&difference->wanted, name->schema, name->name) != NULL;
            bool applied = input->state && state_table(input->state, name->schema, name->name);
            if (!wanted && !applied)
                buffer_format(&difference->plan, "- table %s on %s: left by an apply that was cut off\n", name->display,
                              facts->shard);
            else if (wanted && applied)
                buffer_format(&difference->plan, "~ table %s on %s: it stays\n", name->display, facts->shard);
        }
    }
}

/* ---- what speaks against it ---- */

/* Keys that refer to the table, or to a partition of it; a partition's own key is its root's. */
static const char references_sql[] =
    "SELECT n.nspname, c.relname, k.conname, rn.nspname, r.relname FROM pg_catalog.pg_constraint k"
    " JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_class r ON r.oid = coalesce(pg_catalog.pg_partition_root(c.oid), c.oid)"
    " JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace WHERE k.contype = 'f' AND k.conparentid = 0"
    " AND k.confrelid IN (SELECT $1::regclass UNION SELECT p.relid FROM pg_catalog.pg_partition_tree($1::regclass) p)"
    " ORDER BY 1, 2, 3";

static bool is_of_model(const struct model *model, const char *schema, const char *name)
{
    for (size_t i = 0; i < model->table_count; i++)
        if (strcmp(model->tables[i].schema, schema) == 0 && strcmp(model->tables[i].name, name) == 0)
            return true;
    return false;
}

/* Rows of a table that stays on the home shard, or cascades from it, would meet what has moved away. */
static mosaic_status check_references(struct apply *apply, size_t at, mosaic_error *error)
{
    const struct model *model = apply->model;
    const struct table *table = &model->tables[at];
    struct apply_shard *home = &apply->shards[apply->catalog_shard];
    struct buffer name = BUFFER_INIT(4096);
    PGresult *result = NULL;
    grow_add_name(&name, table);
    const char *text = buffer_string(&name);
    mosaic_status status = buffer_failed(&name)
                               ? error_memory(error)
                               : pq_exec_params(home->connection, home->facts.shard, references_sql, 1, &text,
                                                pq_deadline(apply->options.look_ms), &result, error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++)
        if (!is_of_model(model, PQgetvalue(result, row, 3), PQgetvalue(result, row, 4)))
            finding_add(&apply->findings, true, home->facts.shard, table->display,
                        "list that table in the config, too, or drop the foreign key",
                        "foreign key %s of %s.%s, which stays on the home shard, references it",
                        PQgetvalue(result, row, 2), PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
    PQclear(result);
    buffer_free(&name);
    return status;
}

mosaic_status grow_check(struct apply *apply, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    const struct shard_facts *home = &apply->shards[apply->catalog_shard].facts;
    for (size_t at = 0; at < apply->model->table_count && status == MOSAIC_OK; at++) {
        const struct table *table = &apply->model->tables[at];
        if (home->tables[at].grows && table->kind == TABLE_SHARDED)
            status = check_references(apply, at, error);
        if (home->tables[at].grows && status == MOSAIC_OK)
            status = grow_check_beside(apply, table, error);
    }
    if (status == MOSAIC_OK)
        status = grow_check_roles(apply, error);
    return status == MOSAIC_OK ? grow_check_sessions(apply, apply->catalog_shard, error) : status;
}

static mosaic_status has_rows(struct apply *apply, size_t shard, const struct catalog_table *table, bool *has,
                              mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(16 * 1024);
    PGresult *result = NULL;
    mosaic_error why;
    buffer_text(&sql, "SELECT EXISTS (SELECT FROM ");
    sql_qualified(&sql, table->schema, table->name);
    buffer_char(&sql, ')');
    mosaic_status status = buffer_failed(&sql)
                               ? error_memory(&why)
                               : pq_exec(apply->shards[shard].connection, apply->model->shards[shard].name,
                                         buffer_string(&sql), pq_deadline(apply->options.look_ms), &result, &why);
    *has = status == MOSAIC_OK && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    buffer_free(&sql);
    /* undefined_table, invalid_schema_name: it is gone */
    if (status == MOSAIC_OK || strcmp(why.sqlstate, "42P01") == 0 || strcmp(why.sqlstate, "3F000") == 0)
        return MOSAIC_OK;
    if (error)
        *error = why;
    return status;
}

static bool comes_home(const struct apply *apply, const struct catalog_table *table)
{
    const struct apply_shard *home = &apply->shards[apply->catalog_shard];
    for (size_t at = apply->model->table_count; home->status == MOSAIC_OK && at < apply->name_count; at++)
        if (strcmp(apply->names[at].schema, table->schema) == 0 && strcmp(apply->names[at].name, table->name) == 0)
            return home->facts.tables[at].returns;
    return false;
}

mosaic_status grow_check_taken(struct apply *apply, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; apply->has_state && i < apply->state.table_count; i++) {
        const struct catalog_table *table = &apply->state.tables[i];
        const char *display = model_display_name(&apply->arena, table->schema, table->name);
        if (!display)
            return error_memory(error);
        if (table->kind != TABLE_SHARDED || model_table(apply->model, display) || comes_home(apply, table))
            continue;
        for (size_t shard = 0; shard < apply->model->shard_count && status == MOSAIC_OK; shard++) {
            bool has = false;
            if (shard == apply->catalog_shard || apply->shards[shard].status != MOSAIC_OK)
                continue;
            status = has_rows(apply, shard, table, &has, error);
            if (has)
                finding_add(&apply->findings, true, apply->model->shards[shard].name, display,
                            "put it back; or pgmosaic export it, empty it on every shard, apply, and load it at home",
                            "it is not in the config any more, so it would be read on the home shard alone; it has "
                            "rows here");
        }
    }
    return status;
}

/* ---- small things that all steps share ---- */

void grow_say(struct apply *apply, const char *format, ...)
{
    char line[1024];
    if (!apply->say)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    apply->say(apply->say_context, line);
}

void grow_add_name(struct buffer *sql, const struct table *table)
{
    sql_qualified(sql, table->schema, table->name);
}

void grow_add_names(struct buffer *sql, const struct grow *grow)
{
    for (size_t i = 0; i < grow->table_count; i++) {
        buffer_text(sql, i ? ", " : "");
        grow_add_name(sql, grow->tables[i].table);
    }
}

mosaic_status grow_run(struct grow *grow, size_t shard, const char *sql, int timeout_ms, PGresult **result)
{
    struct apply_shard *at = &grow->apply->shards[shard];
    return pq_exec(at->connection, grow->apply->model->shards[shard].name, sql, pq_deadline(timeout_ms), result,
                   &at->error);
}

mosaic_status grow_run_buffer(struct grow *grow, size_t shard, struct buffer *sql, int timeout_ms, PGresult **result)
{
    mosaic_status status = buffer_failed(sql) ? error_memory(&grow->apply->shards[shard].error)
                                              : grow_run(grow, shard, buffer_string(sql), timeout_ms, result);
    buffer_free(sql);
    return status;
}

mosaic_status grow_commit(struct grow *grow, size_t shard)
{
    PGresult *result = NULL;
    mosaic_status status = grow_run(grow, shard, "COMMIT", GROW_STEP_MS, &result);
    if (status == MOSAIC_OK && strcmp(PQcmdStatus(result), "COMMIT") != 0)
        status = error_set(&grow->apply->shards[shard].error, MOSAIC_INTERNAL, "the commit was a rollback");
    PQclear(result);
    return status;
}

mosaic_status grow_judge_commit(struct grow *grow, void (*undo)(struct grow *grow), mosaic_error *error)
{
    mosaic_error why = grow->apply->shards[grow->home].error;
    if (PQstatus(grow->connection) == CONNECTION_OK && PQtransactionStatus(grow->connection) == PQTRANS_IDLE) {
        undo(grow);
        *error = why;
        return why.status;
    }
    error_set(error, MOSAIC_IN_DOUBT, "the answer to the home shard's commit was lost: %s", why.message);
    error_hint(error, "run pgmosaic apply again: it finds out, and finishes the move or begins it anew");
    return error_shard(error, grow->apply->model->shards[grow->home].name);
}

void grow_undo(struct grow *grow, void (*step)(struct grow *grow, size_t shard))
{
    pq_hold_interrupts(true);
    for (size_t i = 0; i < grow->apply->model->shard_count; i++) {
        PGconn **connection = &grow->apply->shards[i].connection;
        if (*connection && PQtransactionStatus(*connection) == PQTRANS_ACTIVE) {
            pq_cancel(*connection);
            PQfinish(*connection);
            *connection = NULL;
        }
        if (*connection)
            step(grow, i);
    }
    grow_lower_coordinator(grow);
    pq_hold_interrupts(false);
}

mosaic_status grow_roll_back(struct grow *grow, size_t shard)
{
    if (PQtransactionStatus(grow->apply->shards[shard].connection) == PQTRANS_IDLE)
        return MOSAIC_OK;
    return grow_run(grow, shard, "ROLLBACK", GROW_STEP_MS, NULL);
}

struct on_others {
    struct grow *grow;
    grow_fn step;
};

static void run_on_other(void *context, size_t at)
{
    const struct on_others *on = context;
    struct apply_shard *shard = &on->grow->apply->shards[at];
    shard->status = at == on->grow->home ? MOSAIC_OK : on->step(on->grow, at);
}

mosaic_status grow_on_others(struct grow *grow, grow_fn step, mosaic_error *error)
{
    struct apply *apply = grow->apply;
    parallel_run(apply->model->shard_count, run_on_other, &(struct on_others){grow, step});
    for (size_t i = 0; i < apply->model->shard_count; i++)
        if (apply->shards[i].status != MOSAIC_OK) {
            if (error)
                *error = apply->shards[i].error;
            return apply->shards[i].status;
        }
    return MOSAIC_OK;
}

/* ---- doing ---- */

static mosaic_status start(struct grow *grow, struct apply *apply, mosaic_error *error)
{
    const struct model *model = apply->model;
    struct apply_shard *home = &apply->shards[apply->catalog_shard];
    *grow = (struct grow){.apply = apply,
                          .home = apply->catalog_shard,
                          .connection = home->connection,
                          .others = BUFFER_INIT(GROW_SQL_MOST),
                          .before = BUFFER_INIT(GROW_SQL_MOST),
                          .behind = BUFFER_INIT(GROW_SQL_MOST)};
    grow->tables = arena_zeroed(&apply->arena, model->table_count, sizeof *grow->tables);
    grow->made = arena_zeroed(&apply->arena, model->shard_count, sizeof *grow->made);
    if (!grow->tables || !grow->made)
        return error_memory(error);
    for (size_t at = 0; at < model->table_count; at++) {
        if (!home->facts.tables[at].grows)
            continue;
        const struct table *table = &model->tables[at];
        const struct owner_work **owners = arena_zeroed(&apply->arena, model->shard_count, sizeof *owners);
        struct growing *growing = &grow->tables[grow->table_count++];
        *growing = (struct growing){table, &home->facts.tables[at], NULL, NULL, 0};
        growing->sums = arena_zeroed(&apply->arena, model->shard_count, sizeof *growing->sums);
        if (!growing->sums || !owners)
            return error_memory(error);
        for (size_t i = 0; i < apply->difference.work_count; i++)
            if (apply->difference.works[i].table == table)
                owners[apply->difference.works[i].shard] = &apply->difference.works[i];
        growing->owners = table->kind == TABLE_SHARDED ? owners : NULL;
    }
    return MOSAIC_OK;
}

static mosaic_status commit(struct grow *grow, size_t shard)
{
    mosaic_status status = grow_commit(grow, shard);
    grow->made[shard] = true; /* whatever the answer is: it may have been */
    control_point("grow.made_one");
    return status;
}

/* Definitions, rows and proof: all that can be done while others read the tables. */
static mosaic_status prepare(struct grow *grow, mosaic_error *error)
{
    mosaic_status status = grow_lock(grow, error);
    control_point("grow.locked");
    if (status == MOSAIC_OK && grow_look_again(grow, grow->home) != MOSAIC_OK)
        return grow_fail(grow, grow->home, error);
    if (status == MOSAIC_OK)
        status = grow_dump(grow, error);
    if (status == MOSAIC_OK)
        status = grow_roles(grow, error);
    if (status == MOSAIC_OK)
        status = grow_on_others(grow, grow_make, error);
    control_point("grow.created");
    if (status == MOSAIC_OK)
        status = grow_copy(grow, error);
    control_point("grow.copied");
    if (status == MOSAIC_OK)
        status = grow_on_others(grow, grow_finish, error);
    if (status == MOSAIC_OK)
        status = sequence_grow(grow, error);
    if (status == MOSAIC_OK)
        status = grow_verify(grow, error);
    control_point("grow.verified");
    if (status == MOSAIC_OK)
        status = grow_delete(grow, error);
    if (status == MOSAIC_OK)
        status = grow_verify_home(grow, error);
    control_point("grow.deleted");
    return status;
}

/* What the home shard's transaction says last. */
static mosaic_status decide(struct grow *grow, mosaic_error *error)
{
    struct apply *apply = grow->apply;
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    for (size_t i = 0; i < grow->table_count; i++) {
        const struct growing *growing = &grow->tables[i];
        if (growing->owners)
            steps_add_owner(&sql, growing->owners[grow->home]);
    }
    if (sql.size && grow_run_buffer(grow, grow->home, &sql, GROW_STEP_MS, NULL) != MOSAIC_OK)
        return grow_fail(grow, grow->home, error);
    buffer_free(&sql);
    mosaic_status status = steps_catalog(apply, error);
    if (status == MOSAIC_OK)
        status = steps_epoch_of(apply, grow->home, error);
    return status;
}

static void undo_shard(struct grow *grow, size_t shard)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    struct grow_drop drop = GROW_DROP_INIT;
    (void)!grow_roll_back(grow, shard);
    if (!grow->made[shard] || shard == grow->home)
        return;
    for (size_t i = 0; i < grow->table_count; i++)
        grow_drop_add(&drop, grow->tables[i].table->schema, grow->tables[i].table->name);
    grow_drop_end(&sql, &drop);
    buffer_text(&sql, "DELETE FROM mosaic.arrival");
    (void)!grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL);
}

/* Until the last commit was sent all can be undone; what the shards have committed is dropped. */
static void undo(struct grow *grow)
{
    grow_undo(grow, undo_shard);
}

static mosaic_status validate(struct grow *grow, mosaic_error *error)
{
    for (size_t i = 0; i < grow->table_count; i++) {
        const struct growing *growing = &grow->tables[i];
        mosaic_status status = growing->owners ? steps_validate(grow->apply, growing->owners[grow->home]) : MOSAIC_OK;
        if (status != MOSAIC_OK)
            return grow_fail(grow, grow->home, error);
        grow_say(grow->apply, "table %s: %" PRIu64 " rows %s, compared", growing->table->display, growing->rows,
                 growing->owners ? "moved to other shards" : "copied to every shard");
        grow->apply->moved += growing->rows;
    }
    return MOSAIC_OK;
}

mosaic_status grow_tables(struct apply *apply, mosaic_error *error)
{
    struct grow grow;
    mosaic_error local;
    error = error ? error : &local;
    mosaic_status status = start(&grow, apply, error);
    if (status == MOSAIC_OK)
        status = prepare(&grow, error);
    if (status == MOSAIC_OK)
        status = grow_fence(&grow, error);
    control_point("grow.fenced");
    if (status == MOSAIC_OK)
        status = adopt_compare(apply, error);
    if (status == MOSAIC_OK)
        status = decide(&grow, error);
    if (status == MOSAIC_OK)
        status = grow_on_others(&grow, commit, error);
    control_point("grow.made");
    if (status != MOSAIC_OK) {
        undo(&grow);
    } else {
        pq_hold_interrupts(true);
        status = commit(&grow, grow.home);
        pq_hold_interrupts(false);
        control_point("grow.moved");
        status = status == MOSAIC_OK ? validate(&grow, error) : grow_judge_commit(&grow, undo, error);
    }
    buffer_free(&grow.others);
    buffer_free(&grow.before);
    buffer_free(&grow.behind);
    return status;
}

/* ---- what was cut off ---- */

/* Only where the home shard has the table: else it might be the last copy of it. */
static mosaic_status is_at_home(struct apply *apply, const struct table_name *name, mosaic_error *error)
{
    struct apply_shard *home = &apply->shards[apply->catalog_shard];
    struct buffer sql = BUFFER_INIT(16 * 1024), quoted = BUFFER_INIT(4096);
    PGresult *result = NULL;
    sql_qualified(&quoted, name->schema, name->name);
    buffer_text(&sql, "SELECT pg_catalog.to_regclass(");
    sql_literal(&sql, buffer_string(&quoted), quoted.size);
    buffer_text(&sql, ") IS NOT NULL");
    mosaic_status status = buffer_failed(&sql) ? error_memory(error)
                                               : pq_exec(home->connection, home->facts.shard, buffer_string(&sql),
                                                         pq_deadline(GROW_STEP_MS), &result, error);
    if (status == MOSAIC_OK && PQgetvalue(result, 0, 0)[0] != 't') {
        status = error_set(error, MOSAIC_PREFLIGHT,
                           "table %s, left on other shards by an apply that was cut off, is gone from the home shard",
                           name->display);
        error_hint(error, "restore it there, or drop it on the other shards yourself, with its row of mosaic.arrival");
    }
    PQclear(result);
    buffer_free(&sql);
    buffer_free(&quoted);
    return status;
}

static mosaic_status drop_on_shard(struct apply *apply, struct apply_shard *shard, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST), notes = BUFFER_INIT(GROW_SQL_MOST);
    struct grow_drop drop = GROW_DROP_INIT;
    mosaic_status status = MOSAIC_OK;
    for (size_t a = 0; a < shard->facts.arrival_count && status == MOSAIC_OK; a++) {
        const struct table_name *name = &shard->facts.arrivals[a];
        /* What is applied and not wanted any more comes home: homeward.h. */
        if (state_table(&apply->difference.wanted, name->schema, name->name) ||
            (apply->has_state && state_table(&apply->state, name->schema, name->name)))
            continue;
        grow_drop_add(&drop, name->schema, name->name);
        buffer_text(&notes, "DELETE FROM mosaic.arrival WHERE schema_name = ");
        sql_literal(&notes, name->schema, strlen(name->schema));
        buffer_text(&notes, " AND table_name = ");
        sql_literal(&notes, name->name, strlen(name->name));
        buffer_text(&notes, "; ");
        status = is_at_home(apply, name, error);
    }
    bool any = grow_drop_end(&sql, &drop);
    buffer_add(&sql, notes.data, notes.size);
    if (status == MOSAIC_OK && buffer_failed(&sql))
        status = error_memory(error);
    if (status == MOSAIC_OK && any)
        status =
            pq_exec(shard->connection, shard->facts.shard, buffer_string(&sql), pq_deadline(GROW_STEP_MS), NULL, error);
    buffer_free(&sql);
    buffer_free(&notes);
    return status;
}

mosaic_status grow_drop_leftovers(struct apply *apply, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < apply->model->shard_count && status == MOSAIC_OK; i++)
        status = drop_on_shard(apply, &apply->shards[i], error);
    return status;
}
