/*
 * The home shard's transaction: locks, the deletion of what moves, and the fence.
 *
 * The fence: a router that has not seen the new map takes the table for a home table and would read what is left of it.
 * So before the commit every session of the home database and of the coordinator's is ended. Who connects anew asks
 * mosaic.epoch, as every router does; that is locked here, and answers with the new epoch after the commit.
 */
#include "base/control_point.h"
#include "catalog/grow_steps.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

enum { PAUSE_MS = 300, END_TRIES_MS = 10000 };

/* Other sessions of this database; of another role's session only the name is shown to who has no pg_monitor. */
#define SESSIONS                                                                    \
    "pg_catalog.pg_stat_activity a WHERE a.datname = pg_catalog.current_database()" \
    " AND a.pid <> pg_catalog.pg_backend_pid() AND a.usesysid IS NOT NULL"          \
    " AND coalesce(a.backend_type, 'client backend') = 'client backend'"

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

void grow_pause(void)
{
    pause_ms(PAUSE_MS);
}

mosaic_status grow_fail(const struct grow *grow, size_t shard, mosaic_error *error)
{
    *error = grow->apply->shards[shard].error;
    return error->status;
}

/* ---- may it be done? ---- */

/* pg_terminate_backend's rule: src/backend/storage/ipc/signalfuncs.c. */
mosaic_status grow_check_sessions(struct apply *apply, size_t shard, mosaic_error *error)
{
    PGconn *connection = apply->shards[shard].connection;
    const char *name = apply->model->shards[shard].name;
    static const char sql[] =
        "SELECT DISTINCT a.usename, current_user FROM " SESSIONS
        " AND NOT (SELECT m.rolsuper FROM pg_catalog.pg_roles m WHERE m.rolname = current_user)"
        " AND NOT pg_catalog.pg_has_role(a.usesysid, 'USAGE') AND (NOT pg_catalog.pg_has_role('pg_signal_backend', "
        "'USAGE') OR coalesce((SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.oid = a.usesysid), false))";
    PGresult *result = NULL;
    mosaic_status status = pq_exec(connection, name, sql, pq_deadline(apply->options.look_ms), &result, error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++)
        finding_add(&apply->findings, true, name, "",
                    finding_text(&apply->findings, "GRANT pg_signal_backend TO %s; end a superuser's sessions yourself",
                                 PQgetvalue(result, row, 1)),
                    "role %s may not end the sessions of role %s, which could take a table that moves for one of the "
                    "home shard",
                    PQgetvalue(result, row, 1), PQgetvalue(result, row, 0));
    PQclear(result);
    return status;
}

/* ---- locks ---- */

mosaic_status grow_in_use(const struct grow *grow, size_t shard, mosaic_error *error)
{
    struct buffer names = BUFFER_INIT(GROW_SQL_MOST);
    grow_add_names(&names, grow);
    error_set(error, MOSAIC_TIMEOUT, "in use: no lock on %s within %d s", buffer_string(&names),
              GROW_LOCK_TRIES_MS / 1000);
    error_detail(error, "Nothing was changed.");
    error_hint(error, "end long transactions on it, then run apply again");
    buffer_free(&names);
    return error_shard(error, grow->apply->model->shards[shard].name);
}

bool grow_is_lock_timeout(const struct grow *grow, size_t shard)
{
    const char *state = grow->apply->shards[shard].error.sqlstate;
    return strcmp(state, "55P03") == 0 || strcmp(state, "40P01") == 0;
}

/* In a transaction whose locks are given back when it fails; settings make rows the same texts on every shard. */
mosaic_status grow_lock(struct grow *grow, mosaic_error *error)
{
    int64_t deadline = pq_deadline(GROW_LOCK_TRIES_MS);
    for (;;) {
        struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
        buffer_format(&sql, "BEGIN; SET LOCAL lock_timeout = %d; LOCK TABLE ", GROW_LOCK_MS);
        grow_add_names(&sql, grow);
        buffer_text(&sql, " IN SHARE ROW EXCLUSIVE MODE; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0;"
                          " SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL row_security = off; ");
        for (size_t i = 0; i < grow->table_count; i++)
            if (grow->tables[i].owners)
                sql_support_functions(&sql, &grow->tables[i].table->rule);
        buffer_text(&sql, checksum_settings);
        if (grow_run_buffer(grow, grow->home, &sql, GROW_STEP_MS, NULL) == MOSAIC_OK)
            return MOSAIC_OK;
        mosaic_error why = grow->apply->shards[grow->home].error;
        bool again = grow_is_lock_timeout(grow, grow->home);
        if (grow_run(grow, grow->home, "ROLLBACK", GROW_STEP_MS, NULL) != MOSAIC_OK || !again) {
            *error = why;
            return why.status;
        }
        if (!pq_left_ms(deadline))
            return grow_in_use(grow, grow->home, error);
        grow_pause();
    }
}

static const struct table_name *name_of(const struct grow *grow, const struct growing *growing)
{
    const struct apply *apply = grow->apply;
    return &apply->names[growing->facts - apply->shards[grow->home].facts.tables];
}

static mosaic_status compare_definitions(struct grow *grow, size_t shard, const struct definition *now)
{
    struct apply_shard *at = &grow->apply->shards[shard];
    for (size_t i = 0; i < grow->table_count; i++) {
        const struct table_name *name = name_of(grow, &grow->tables[i]);
        if (strcmp(now[i].digest, at->definitions[name - grow->apply->names].digest) == 0)
            continue;
        error_set(&at->error, MOSAIC_PREFLIGHT, "table %s is not as it was when apply looked at it", name->display);
        error_detail(&at->error, "Nothing was changed.");
        error_hint(&at->error, "run apply again");
        return error_shard(&at->error, grow->apply->model->shards[shard].name);
    }
    return MOSAIC_OK;
}

mosaic_status grow_look_again(struct grow *grow, size_t shard)
{
    struct apply_shard *at = &grow->apply->shards[shard];
    struct table_name *names = arena_zeroed(&at->arena, grow->table_count, sizeof *names);
    struct definition *now = arena_zeroed(&at->arena, grow->table_count, sizeof *now);
    if (!names || !now)
        return error_memory(&at->error);
    for (size_t i = 0; i < grow->table_count; i++)
        names[i] = *name_of(grow, &grow->tables[i]);
    mosaic_status status = definition_read(at->connection, grow->apply->model->shards[shard].name, names,
                                           grow->table_count, pq_deadline(GROW_STEP_MS), now, &at->error);
    return status == MOSAIC_OK ? compare_definitions(grow, shard, now) : status;
}

/*
 * Who waits for our lock with a lock of his own on a table (he has read it, and now wants to write) would wait for
 * ever, as we would for him. The fence would end him anyway.
 */
static mosaic_status end_waiting(struct grow *grow)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST), names = BUFFER_INIT(GROW_SQL_MOST);
    buffer_text(&sql, "SELECT pg_catalog.pg_terminate_backend(l.pid) FROM pg_catalog.pg_locks l"
                      " JOIN pg_catalog.pg_class c ON c.oid = l.relation WHERE l.granted AND l.locktype = 'relation'"
                      " AND l.pid <> pg_catalog.pg_backend_pid() AND c.oid = ANY (ARRAY[");
    for (size_t i = 0; i < grow->table_count; i++) {
        buffer_clear(&names);
        grow_add_name(&names, grow->tables[i].table);
        buffer_text(&sql, i ? "," : "");
        sql_literal(&sql, buffer_string(&names), names.size);
    }
    buffer_text(&sql, "]::regclass[]) AND pg_catalog.pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids(l.pid))");
    buffer_free(&names);
    return grow_run_buffer(grow, grow->home, &sql, GROW_STEP_MS, NULL);
}

static mosaic_status lock_all(struct grow *grow, mosaic_error *error)
{
    int64_t deadline = pq_deadline(GROW_LOCK_TRIES_MS);
    for (;;) {
        struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
        buffer_format(&sql, "SAVEPOINT grow; SET LOCAL lock_timeout = %d; LOCK TABLE ", GROW_LOCK_MS);
        grow_add_names(&sql, grow);
        buffer_text(&sql, " IN ACCESS EXCLUSIVE MODE; LOCK TABLE mosaic.epoch IN ACCESS EXCLUSIVE MODE;"
                          " RELEASE grow; SET LOCAL lock_timeout = 0");
        if (grow_run_buffer(grow, grow->home, &sql, GROW_STEP_MS, NULL) == MOSAIC_OK)
            return MOSAIC_OK;
        mosaic_error why = grow->apply->shards[grow->home].error;
        bool again = grow_is_lock_timeout(grow, grow->home);
        if (!again || grow_run(grow, grow->home, "ROLLBACK TO grow; RELEASE grow", GROW_STEP_MS, NULL) != MOSAIC_OK) {
            *error = why;
            return why.status;
        }
        if (!pq_left_ms(deadline))
            return grow_in_use(grow, grow->home, error);
        if (end_waiting(grow) != MOSAIC_OK)
            return grow_fail(grow, grow->home, error);
        grow_pause();
    }
}

/* ---- what moves goes ---- */

/* Triggers that the user made are not told of rows that move. What is said of one goes to those made from it on
 * partitions, which come behind it. */
void grow_set_triggers(struct buffer *sql, const struct growing *growing, bool enable)
{
    for (size_t i = 0; i < growing->facts->trigger_count; i++) {
        const struct trigger_facts *trigger = &growing->facts->triggers[i];
        bool off = trigger->enabled == 'D';
        if (off && !(enable && trigger->parent))
            continue;
        buffer_text(sql, "ALTER TABLE ");
        sql_qualified(sql, trigger->schema, trigger->table);
        buffer_text(sql, !enable || off            ? " DISABLE TRIGGER "
                         : trigger->enabled == 'R' ? " ENABLE REPLICA TRIGGER "
                         : trigger->enabled == 'A' ? " ENABLE ALWAYS TRIGGER "
                                                   : " ENABLE TRIGGER ");
        sql_identifier(sql, trigger->name);
        buffer_text(sql, "; ");
    }
}

/* One statement for all tables: a foreign key between two of them is looked at when both have lost their rows. */
static void add_deletion(struct buffer *sql, const struct grow *grow)
{
    size_t count = 0;
    for (size_t i = 0; i < grow->table_count; i++) {
        const struct growing *growing = &grow->tables[i];
        if (!growing->owners)
            continue;
        buffer_format(sql, "%s d%zu AS (DELETE FROM ", count ? "," : "WITH", count);
        grow_add_name(sql, growing->table);
        buffer_format(sql, " WHERE (%s) IS NOT TRUE)", growing->owners[grow->home]->expression);
        count++;
    }
    if (count)
        buffer_text(sql, " SELECT 1; ");
}

mosaic_status grow_delete(struct grow *grow, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    for (size_t i = 0; i < grow->table_count; i++)
        if (grow->tables[i].owners)
            grow_set_triggers(&sql, &grow->tables[i], false);
    add_deletion(&sql, grow);
    buffer_text(&sql, "SET CONSTRAINTS ALL IMMEDIATE; ");
    for (size_t i = 0; i < grow->table_count; i++)
        if (grow->tables[i].owners)
            grow_set_triggers(&sql, &grow->tables[i], true);
    return grow_run_buffer(grow, grow->home, &sql, PQ_SCAN_MS, NULL) == MOSAIC_OK ? MOSAIC_OK
                                                                                  : grow_fail(grow, grow->home, error);
}

/* ---- the fence ---- */

mosaic_status grow_end_sessions(PGconn *connection, const char *name, mosaic_error *error)
{
    PGresult *result = NULL;
    int64_t deadline = pq_deadline(END_TRIES_MS);
    mosaic_status status =
        pq_exec(connection, name, "SELECT coalesce(pg_catalog.array_agg(a.pid), '{}')::text FROM " SESSIONS, deadline,
                &result, error);
    while (status == MOSAIC_OK) {
        const char *pids = PQgetvalue(result, 0, 0);
        PGresult *left = NULL;
        status =
            pq_exec_params(connection, name,
                           "SELECT count(pg_catalog.pg_terminate_backend(a.pid)),"
                           " pg_catalog.pg_stat_clear_snapshot()::text FROM " SESSIONS " AND a.pid = ANY ($1::int[])",
                           1, &pids, deadline, &left, error);
        bool gone = status == MOSAIC_OK && strcmp(PQgetvalue(left, 0, 0), "0") == 0;
        PQclear(left);
        if (gone)
            break;
        if (status == MOSAIC_OK && !pq_left_ms(deadline)) {
            error_set(error, MOSAIC_TIMEOUT, "sessions of shard %s do not end", name);
            status = error_shard(error, name);
        }
        pause_ms(20);
    }
    PQclear(result);
    if (status == MOSAIC_SERVER && strcmp(error->sqlstate, "42501") == 0)
        error_hint(error, "grant pg_signal_backend to the role of apply; end sessions of superusers yourself");
    return status;
}

static void add_coordinator(struct buffer *sql, const struct grow *grow)
{
    buffer_text(sql, " WHERE shard = '" COORDINATOR_NAME "' AND cluster = ");
    sql_literal(sql, grow->apply->model->name, strlen(grow->apply->model->name));
}

/* A config may name a database that is none, or another cluster's: nobody reads there, and it is left alone. */
static mosaic_status is_coordinator(const struct grow *grow, bool *is, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(64 * 1024);
    PGresult *result = NULL;
    buffer_text(&sql, "SELECT FROM mosaic.epoch");
    add_coordinator(&sql, grow);
    mosaic_status status = buffer_failed(&sql)
                               ? error_memory(error)
                               : pq_exec(grow->apply->coordinator.connection, COORDINATOR_NAME, buffer_string(&sql),
                                         pq_deadline(GROW_STEP_MS), &result, error);
    *is = status == MOSAIC_OK && PQntuples(result) == 1;
    PQclear(result);
    buffer_free(&sql);
    /* undefined_table, invalid_schema_name, insufficient_privilege */
    if (status != MOSAIC_OK && status != MOSAIC_MEMORY &&
        (strcmp(error->sqlstate, "42P01") == 0 || strcmp(error->sqlstate, "3F000") == 0 ||
         strcmp(error->sqlstate, "42501") == 0))
        return MOSAIC_OK;
    return status;
}

static void add_epoch(struct buffer *sql, const struct grow *grow, uint64_t epoch)
{
    buffer_format(sql, "UPDATE mosaic.epoch SET epoch = %" PRIu64, epoch);
    add_coordinator(sql, grow);
}

/* It reads home tables by connections of its own, which no router checks: it must refuse who is behind. */
static mosaic_status fence_coordinator(struct grow *grow, mosaic_error *error)
{
    PGconn *connection = grow->apply->coordinator.connection;
    struct buffer sql = BUFFER_INIT(64 * 1024);
    mosaic_error ignored;
    bool is;
    if (!connection)
        return MOSAIC_OK;
    mosaic_status status = is_coordinator(grow, &is, error);
    if (!is)
        return status;
    buffer_text(&sql, "BEGIN; LOCK TABLE mosaic.epoch IN ACCESS EXCLUSIVE MODE; ");
    add_epoch(&sql, grow, grow->apply->difference.wanted.epoch);
    status = buffer_failed(&sql)
                 ? error_memory(error)
                 : pq_exec(connection, COORDINATOR_NAME, buffer_string(&sql), pq_deadline(GROW_STEP_MS), NULL, error);
    buffer_free(&sql);
    if (status == MOSAIC_OK)
        status = grow_end_sessions(connection, COORDINATOR_NAME, error);
    grow->coordinator_raised = status == MOSAIC_OK; /* whatever the answer to COMMIT is */
    if (status == MOSAIC_OK)
        return pq_exec(connection, COORDINATOR_NAME, "COMMIT", pq_deadline(GROW_STEP_MS), NULL, error);
    (void)!pq_exec(connection, COORDINATOR_NAME, "ROLLBACK", pq_deadline(GROW_STEP_MS), NULL, &ignored);
    return status;
}

void grow_lower_coordinator(struct grow *grow)
{
    struct buffer sql = BUFFER_INIT(64 * 1024);
    mosaic_error ignored;
    if (!grow->coordinator_raised)
        return;
    add_epoch(&sql, grow, grow->apply->difference.epoch_before);
    if (!buffer_failed(&sql))
        (void)!pq_exec(grow->apply->coordinator.connection, COORDINATOR_NAME, buffer_string(&sql),
                       pq_deadline(GROW_STEP_MS), NULL, &ignored);
    grow->coordinator_raised = false;
    buffer_free(&sql);
}

mosaic_status grow_fence(struct grow *grow, mosaic_error *error)
{
    mosaic_status status = lock_all(grow, error);
    control_point("grow.cut");
    if (status == MOSAIC_OK)
        status = fence_coordinator(grow, error);
    return status == MOSAIC_OK ? grow_end_sessions(grow->connection, grow->apply->model->shards[grow->home].name, error)
                               : status;
}
