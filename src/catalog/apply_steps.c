#include "catalog/apply_steps.h"

#include "base/control_point.h"
#include "catalog/ids.h"
#include "catalog/parallel.h"
#include "catalog_sql.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    STEP_MS = 60000,
    LOCK_MS = 200,         /* how long one attempt may make others wait behind it */
    LOCK_TRIES_MS = 60000, /* how long attempts are repeated */
    PAUSE_MS = 300,
    EXAMPLES = 5,
    SQL_MOST = 16 * 1024 * 1024,
};

/* The first failure of a parallel step. */
static mosaic_status first_failure(struct apply *apply, mosaic_error *error)
{
    for (size_t i = 0; i < apply->model->shard_count; i++)
        if (apply->shards[i].status != MOSAIC_OK) {
            if (error)
                *error = apply->shards[i].error;
            return apply->shards[i].status;
        }
    return MOSAIC_OK;
}

static void add_table(struct buffer *sql, const char *schema, const char *name)
{
    sql_qualified(sql, schema, name);
}

static void add_text(struct buffer *sql, const char *text)
{
    sql_literal(sql, text, strlen(text));
}

/* Runs what the buffer holds on a shard, and frees the buffer. */
static mosaic_status run(struct apply_shard *shard, const char *name, struct buffer *sql, int timeout_ms,
                         PGresult **result)
{
    mosaic_status status = buffer_failed(sql) ? error_memory(&shard->error)
                                              : pq_exec(shard->connection, name, buffer_string(sql),
                                                        pq_deadline(timeout_ms), result, &shard->error);
    buffer_free(sql);
    return status;
}

/* ---- rows that stand where they may not ---- */

struct rows {
    struct apply *apply;
    uint64_t *wrong;       /* of each work */
    const char **examples; /* of each work, in the shard's arena */
};

static void add_row_source(struct buffer *sql, const struct owner_work *item)
{
    buffer_text(sql, " FROM ");
    add_table(sql, item->schema, item->name);
    buffer_format(sql, " WHERE (%s) IS NOT TRUE", item->condition);
}

static mosaic_status count_wrong(struct apply_shard *shard, const char *name, const struct owner_work *item,
                                 uint64_t *wrong, const char **examples)
{
    PGresult *result = NULL;
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_text(&sql, "SELECT count(*)");
    add_row_source(&sql, item);
    mosaic_status status = run(shard, name, &sql, PQ_SCAN_MS, &result);
    *wrong = status == MOSAIC_OK ? strtoull(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    PQclear(result);
    if (status != MOSAIC_OK || !*wrong)
        return status;
    buffer_text(&sql, "SELECT string_agg(k, ', ') FROM (SELECT ");
    for (size_t i = 0; i < item->table->column_count; i++) {
        buffer_text(&sql, i ? " || '/' || coalesce(" : "coalesce(");
        sql_identifier(&sql, item->table->columns[i]);
        buffer_text(&sql, "::text, 'NULL')");
    }
    buffer_text(&sql, " AS k");
    add_row_source(&sql, item);
    buffer_format(&sql, " LIMIT %d) x", EXAMPLES);
    status = run(shard, name, &sql, PQ_SCAN_MS, &result);
    if (status == MOSAIC_OK && !(*examples = arena_string(&shard->arena, PQgetvalue(result, 0, 0))))
        status = error_memory(&shard->error);
    PQclear(result);
    return status;
}

static mosaic_status make_functions(struct apply_shard *shard, const char *name, const struct owner_work *item)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    sql_support_functions(&sql, &item->table->rule);
    if (!sql.size && !buffer_failed(&sql))
        return MOSAIC_OK;
    return run(shard, name, &sql, STEP_MS, NULL);
}

/* Ends a transaction that only looked. Its failure counts where nothing failed before. */
static mosaic_status roll_back(struct apply_shard *shard, const char *name, mosaic_status status)
{
    mosaic_error error;
    if (pq_exec(shard->connection, name, "ROLLBACK", pq_deadline(STEP_MS), NULL, &error) == MOSAIC_OK ||
        status != MOSAIC_OK)
        return status;
    shard->error = error;
    return error.status;
}

/*
 * Inside a transaction that is rolled back: a rule may need functions of schema mosaic, which are not there before the
 * first apply. So nothing changes, in a dry run too.
 */
static mosaic_status count_on_shard(struct rows *rows, size_t at)
{
    struct apply *apply = rows->apply;
    struct apply_shard *shard = &apply->shards[at];
    const char *name = apply->model->shards[at].name;
    const struct difference *difference = &apply->difference;
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < difference->work_count && status == MOSAIC_OK; i++) {
        const struct owner_work *item = &difference->works[i];
        const struct table_facts *facts = item->table ? &shard->facts.tables[item->table - apply->model->tables] : NULL;
        if (item->shard != at || !facts || (facts->kind != 'r' && facts->kind != 'p'))
            continue;
        struct buffer functions = BUFFER_INIT(SQL_MOST), begin = BUFFER_INIT(SQL_MOST);
        sql_support_functions(&functions, &item->table->rule);
        buffer_text(&begin, functions.size ? "BEGIN; CREATE SCHEMA IF NOT EXISTS mosaic" : "BEGIN READ ONLY");
        bool needs = functions.size;
        buffer_free(&functions);
        status = run(shard, name, &begin, STEP_MS, NULL);
        if (status == MOSAIC_OK && needs)
            status = make_functions(shard, name, item);
        if (status == MOSAIC_OK)
            status = count_wrong(shard, name, item, &rows->wrong[i], &rows->examples[i]);
        status = roll_back(shard, name, status);
    }
    return status;
}

static void check_rows(void *context, size_t at)
{
    struct rows *rows = context;
    struct apply_shard *shard = &rows->apply->shards[at];
    if (shard->status == MOSAIC_OK)
        shard->status = count_on_shard(rows, at);
}

mosaic_status steps_check_rows(struct apply *apply, mosaic_error *error)
{
    size_t count = apply->difference.work_count;
    struct rows rows = {apply, arena_zeroed(&apply->arena, count, sizeof *rows.wrong),
                        arena_zeroed(&apply->arena, count, sizeof *rows.examples)};
    if (!rows.wrong || !rows.examples)
        return error_memory(error);
    parallel_run(apply->model->shard_count, check_rows, &rows);
    for (size_t i = 0; i < count; i++) {
        const struct owner_work *item = &apply->difference.works[i];
        if (rows.wrong[i] && item->grows)
            finding_add(&apply->findings, true, apply->model->shards[item->shard].name, item->display,
                        "give them a key, or delete them", "%" PRIu64 " rows have no key that a shard owns; keys: %s%s",
                        rows.wrong[i], rows.examples[i], rows.wrong[i] > EXAMPLES ? " …" : "");
        else if (rows.wrong[i])
            finding_add(&apply->findings, true, apply->model->shards[item->shard].name, item->display,
                        "move them to their shards: export them, delete them here, pgmosaic load them after apply",
                        "%" PRIu64 " rows do not belong on this shard; keys: %s%s", rows.wrong[i], rows.examples[i],
                        rows.wrong[i] > EXAMPLES ? " …" : "");
    }
    return MOSAIC_OK;
}

/* ---- copies that differ ---- */

/* Count and checksum of a reference table on every shard, under settings that make equal rows equal texts. */
struct copies {
    struct apply *apply;
    size_t table;
    const char **sums; /* of each shard, in its arena: "count/sum"; NULL where it was not read */
};

static mosaic_status sum_copy(struct copies *copies, size_t at)
{
    struct apply *apply = copies->apply;
    struct apply_shard *shard = &apply->shards[at];
    const struct table_facts *facts = &shard->facts.tables[copies->table];
    const char *name = apply->model->shards[at].name;
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    PGresult *result = NULL;
    buffer_text(&sql, "BEGIN READ ONLY; SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 1; SET LOCAL "
                      "bytea_output = hex; SET LOCAL intervalstyle = iso_8601; SELECT count(*) || '/' || "
                      "coalesce(sum(hashtextextended(ROW(");
    for (size_t i = 0; i < facts->column_count; i++) {
        buffer_text(&sql, i ? ", c." : "c.");
        sql_identifier(&sql, facts->columns[i].name);
    }
    buffer_text(&sql, ")::text COLLATE \"C\", 0)::numeric), 0) FROM ");
    add_table(&sql, apply->names[copies->table].schema, apply->names[copies->table].name);
    buffer_text(&sql, " c");
    mosaic_status status = run(shard, name, &sql, PQ_SCAN_MS, &result);
    if (status == MOSAIC_OK && !(copies->sums[at] = arena_string(&shard->arena, PQgetvalue(result, 0, 0))))
        status = error_memory(&shard->error);
    PQclear(result);
    return roll_back(shard, name, status);
}

static void check_copy(void *context, size_t at)
{
    struct copies *copies = context;
    struct apply_shard *shard = &copies->apply->shards[at];
    if (shard->status != MOSAIC_OK)
        return;
    char kind = shard->facts.tables[copies->table].kind;
    if (kind == 'r' || kind == 'p')
        shard->status = sum_copy(copies, at);
}

static void compare_copies(struct copies *copies)
{
    const struct model *model = copies->apply->model;
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < model->shard_count; i++) {
        if (!copies->sums[i])
            continue;
        if (first == SIZE_MAX)
            first = i;
        else if (strcmp(copies->sums[i], copies->sums[first]) != 0)
            finding_add(
                &copies->apply->findings, true, model->shards[i].name, copies->apply->names[copies->table].display,
                "make the copies equal: empty them and run pgmosaic load after apply, or copy the rows over",
                "its %.*s rows differ from the %.*s on shard %s", (int)strcspn(copies->sums[i], "/"), copies->sums[i],
                (int)strcspn(copies->sums[first], "/"), copies->sums[first], model->shards[first].name);
    }
}

mosaic_status steps_check_copies(struct apply *apply, mosaic_error *error)
{
    for (size_t table = 0; table < apply->model->table_count; table++) {
        if (apply->model->tables[table].kind != TABLE_REFERENCE)
            continue;
        struct copies copies = {apply, table,
                                arena_zeroed(&apply->arena, apply->model->shard_count, sizeof *copies.sums)};
        if (!copies.sums)
            return error_memory(error);
        parallel_run(apply->model->shard_count, check_copy, &copies);
        compare_copies(&copies);
    }
    return MOSAIC_OK;
}

/* ---- schema mosaic ---- */

static mosaic_status make_schema(struct apply *apply, size_t at)
{
    struct apply_shard *shard = &apply->shards[at];
    const struct model *model = apply->model;
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    if (!apply->difference.shard_changes[at])
        return MOSAIC_OK;
    if (!shard->facts.has_schema)
        buffer_text(&sql, catalog_sql_schema);
    buffer_text(&sql, catalog_sql_shard);
    buffer_text(&sql, catalog_sql_decision);
    ids_sql(&sql, apply->difference.wanted.shards[at].id);
    if (at == apply->catalog_shard)
        buffer_text(&sql, catalog_sql_catalog);
    buffer_format(&sql, "INSERT INTO mosaic.epoch (schema_version, cluster, shard, catalog, epoch) VALUES (%d, ",
                  CATALOG_SCHEMA_VERSION);
    add_text(&sql, model->name);
    buffer_text(&sql, ", ");
    add_text(&sql, model->shards[at].name);
    buffer_text(&sql, ", ");
    add_text(&sql, model->shards[apply->catalog_shard].name);
    buffer_text(&sql, ", 0) ON CONFLICT DO NOTHING");
    return run(shard, model->shards[at].name, &sql, STEP_MS, NULL);
}

static void schema_on_shard(void *context, size_t at)
{
    struct apply *apply = context;
    apply->shards[at].status = make_schema(apply, at);
    control_point("apply.schema");
}

mosaic_status steps_schema(struct apply *apply, mosaic_error *error)
{
    parallel_run(apply->model->shard_count, schema_on_shard, apply);
    return first_failure(apply, error);
}

/* ---- constraints ---- */

static void add_alter(struct buffer *sql, const struct owner_work *item)
{
    buffer_text(sql, "ALTER TABLE ");
    add_table(sql, item->schema, item->name);
    buffer_char(sql, ' ');
}

/* What takes a lock that readers or writers wait behind is tried for a moment, again and again. */
static mosaic_status run_with_lock(struct apply_shard *shard, const char *name, const struct owner_work *item,
                                   const char *statements)
{
    int64_t deadline = pq_deadline(LOCK_TRIES_MS);
    for (;;) {
        struct buffer sql = BUFFER_INIT(SQL_MOST);
        buffer_format(&sql, "BEGIN; SET LOCAL lock_timeout = %d; ", LOCK_MS);
        buffer_text(&sql, statements);
        buffer_text(&sql, "; COMMIT");
        mosaic_status status = run(shard, name, &sql, STEP_MS, NULL);
        if (status == MOSAIC_OK)
            return status;
        mosaic_error ignored;
        if (pq_exec(shard->connection, name, "ROLLBACK", pq_deadline(STEP_MS), NULL, &ignored) != MOSAIC_OK ||
            strcmp(shard->error.sqlstate, "55P03") != 0)
            return status;
        if (!pq_left_ms(deadline)) {
            error_set(&shard->error, MOSAIC_TIMEOUT, "table %s is in use: no lock on it within %d s", item->display,
                      LOCK_TRIES_MS / 1000);
            error_hint(&shard->error, "end long transactions on it, then run apply again; what is done stays done");
            error_shard(&shard->error, name);
            return MOSAIC_TIMEOUT;
        }
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
    }
}

static mosaic_status run_item(struct apply_shard *shard, const char *name, const struct owner_work *item,
                              struct buffer *sql)
{
    mosaic_status status =
        buffer_failed(sql) ? error_memory(&shard->error) : run_with_lock(shard, name, item, buffer_string(sql));
    buffer_free(sql);
    return status;
}

void steps_add_owner(struct buffer *sql, const struct owner_work *item)
{
    if (item->action == OWNER_REPLACE) {
        add_alter(sql, item);
        buffer_text(sql, "DROP CONSTRAINT " OWNER_CONSTRAINT "; ");
    }
    add_alter(sql, item);
    buffer_format(sql, "ADD CONSTRAINT " OWNER_CONSTRAINT " CHECK (%s) NOT VALID; ", item->expression);
    buffer_text(sql, "COMMENT ON CONSTRAINT " OWNER_CONSTRAINT " ON ");
    add_table(sql, item->schema, item->name);
    buffer_text(sql, " IS ");
    add_text(sql, item->comment);
    buffer_text(sql, "; ");
}

static mosaic_status add_owner(struct apply_shard *shard, const char *name, const struct owner_work *item)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    steps_add_owner(&sql, item);
    return run_item(shard, name, item, &sql);
}

/* VALIDATE takes SHARE UPDATE EXCLUSIVE, behind which neither readers nor writers wait; only the scan is long. */
static mosaic_status validate_owner(struct apply_shard *shard, const char *name, const struct owner_work *item)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    add_alter(&sql, item);
    buffer_text(&sql, "VALIDATE CONSTRAINT " OWNER_CONSTRAINT);
    mosaic_status status = run(shard, name, &sql, PQ_SCAN_MS, NULL);
    if (status == MOSAIC_SERVER || status == MOSAIC_OWNERSHIP) {
        error_prefix(&shard->error, "table %s", item->display);
        error_hint(&shard->error, "rows were written while apply ran: run it again, it will say which");
    }
    return status;
}

mosaic_status steps_validate(struct apply *apply, const struct owner_work *item)
{
    return validate_owner(&apply->shards[item->shard], apply->model->shards[item->shard].name, item);
}

static mosaic_status make_owner(struct apply *apply, size_t at, const struct owner_work *item)
{
    struct apply_shard *shard = &apply->shards[at];
    const char *name = apply->model->shards[at].name;
    mosaic_status status = make_functions(shard, name, item);
    if (status == MOSAIC_OK && item->action != OWNER_VALIDATE)
        status = add_owner(shard, name, item);
    control_point("apply.constraint");
    if (status == MOSAIC_OK)
        status = validate_owner(shard, name, item);
    control_point("apply.validated");
    return status;
}

static void owners_on_shard(void *context, size_t at)
{
    struct apply *apply = context;
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < apply->difference.work_count && status == MOSAIC_OK; i++) {
        const struct owner_work *item = &apply->difference.works[i];
        if (item->shard == at && item->action != OWNER_DROP && !item->grows)
            status = make_owner(apply, at, item);
    }
    apply->shards[at].status = status;
}

mosaic_status steps_owners(struct apply *apply, mosaic_error *error)
{
    parallel_run(apply->model->shard_count, owners_on_shard, apply);
    return first_failure(apply, error);
}

static mosaic_status drop_owner(struct apply_shard *shard, const char *name, const struct owner_work *item)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    add_alter(&sql, item);
    buffer_text(&sql, "DROP CONSTRAINT IF EXISTS " OWNER_CONSTRAINT);
    control_point("apply.drop");
    return run_item(shard, name, item, &sql);
}

static void drops_on_shard(void *context, size_t at)
{
    struct apply *apply = context;
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < apply->difference.work_count && status == MOSAIC_OK; i++) {
        const struct owner_work *item = &apply->difference.works[i];
        if (item->shard == at && item->action == OWNER_DROP)
            status = drop_owner(&apply->shards[at], apply->model->shards[at].name, item);
    }
    apply->shards[at].status = status;
}

mosaic_status steps_drop(struct apply *apply, mosaic_error *error)
{
    parallel_run(apply->model->shard_count, drops_on_shard, apply);
    return first_failure(apply, error);
}

/* ---- the shards' epoch ---- */

/* What has arrived is in the catalog by now. */
static mosaic_status set_epoch(struct apply *apply, size_t at)
{
    struct apply_shard *shard = &apply->shards[at];
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_format(
        &sql, "UPDATE mosaic.epoch SET changed = now(), epoch = %" PRIu64 ", shard = ", apply->difference.wanted.epoch);
    add_text(&sql, apply->model->shards[at].name);
    buffer_text(&sql, ", catalog = ");
    add_text(&sql, apply->model->shards[apply->catalog_shard].name);
    buffer_text(&sql, "; DELETE FROM mosaic.arrival");
    return run(shard, apply->model->shards[at].name, &sql, STEP_MS, NULL);
}

mosaic_status steps_epoch_of(struct apply *apply, size_t at, mosaic_error *error)
{
    mosaic_status status = set_epoch(apply, at);
    if (status != MOSAIC_OK && error)
        *error = apply->shards[at].error;
    return status;
}

static void epoch_on_shard(void *context, size_t at)
{
    struct apply *apply = context;
    struct apply_shard *shard = &apply->shards[at];
    shard->status = MOSAIC_OK;
    if (!apply->difference.shard_changes[at])
        return;
    control_point("apply.epoch");
    shard->status = set_epoch(apply, at);
}

mosaic_status steps_epoch(struct apply *apply, mosaic_error *error)
{
    parallel_run(apply->model->shard_count, epoch_on_shard, apply);
    return first_failure(apply, error);
}
