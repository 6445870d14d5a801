#include "citus/rebalance.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char where[] = "coordinator"; /* all statements go there */

const char *move_mode_name(enum move_mode mode)
{
    static const char *const names[] = {
#define X(identifier, name) name,
        MOVE_MODE_LIST(X)
#undef X
    };
    return names[mode];
}

/* ---- facts --------------------------------------------------------------------------------------------- */

/* The command runs on each node as the session's role; a node that is down answers success = false and why. */
static const char nodes_sql[] =
    "WITH lacking AS (SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_node n, pg_catalog.pg_dist_partition p"
    " JOIN pg_catalog.pg_dist_shard s USING (logicalrelid) WHERE p.partmethod = 'n' AND p.repmodel = 't'"
    " AND n.isactive AND n.noderole = 'primary' AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_placement q"
    " WHERE q.shardid = s.shardid AND q.groupid = n.groupid)) AS any)"
    " SELECT n.nodename || ':' || n.nodeport, n.isactive, coalesce(a.success, false), coalesce(a.result, ''),"
    " (n.groupid = 0 AND lacking.any) OR EXISTS (SELECT FROM pg_catalog.pg_dist_placement q"
    " JOIN pg_catalog.pg_dist_shard s USING (shardid) WHERE q.groupid = n.groupid AND s.shardminvalue IS NOT NULL),"
    " n.shouldhaveshards"
    " FROM pg_catalog.pg_dist_node n CROSS JOIN lacking LEFT JOIN pg_catalog.run_command_on_all_nodes($$"
    "SELECT pg_catalog.current_setting('wal_level') || ' ' || (SELECT count(*) FROM pg_catalog.pg_replication_slots)"
    " || ' ' || pg_catalog.current_setting('max_replication_slots')$$) a USING (nodeid)"
    " WHERE n.noderole = 'primary' ORDER BY n.groupid";

/*
 * Tables that an update or delete could not be replicated of, as Citus sees it (RelationCanPublishAllModifications in
 * its shard_transfer.c), and tables of others. Partitions count, their parents do not hold rows.
 */
static const char tables_sql[] =
    "SELECT c.oid::pg_catalog.regclass::text,"
    " c.relkind <> 'p' AND (p.repmodel <> 't' OR EXISTS (SELECT FROM pg_catalog.pg_dist_node n,"
    " pg_catalog.pg_dist_shard s WHERE s.logicalrelid = p.logicalrelid AND n.isactive AND n.noderole = 'primary'"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_placement q WHERE q.shardid = s.shardid"
    " AND q.groupid = n.groupid))) AND NOT CASE c.relreplident"
    " WHEN 'f' THEN true"
    " WHEN 'd' THEN EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)"
    " WHEN 'i' THEN EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident)"
    " ELSE false END,"
    " NOT pg_catalog.pg_has_role(c.relowner, 'USAGE'), current_user, p.repmodel = 't'"
    " FROM pg_catalog.pg_dist_partition p JOIN pg_catalog.pg_class c ON c.oid = p.logicalrelid"
    " WHERE p.partmethod IN ('h', 'n')"
    " ORDER BY 1";

static const char *kept(struct arena *arena, const PGresult *result, int row, int column, bool *failed)
{
    const char *text = arena_string(arena, PQgetvalue(result, row, column));
    *failed |= !text;
    return text;
}

static bool yes(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column)[0] == 't';
}

static bool take_node(const PGresult *result, int row, struct arena *arena, struct move_node *node)
{
    bool failed = false;
    const char *answer = PQgetvalue(result, row, 3);
    node->name = kept(arena, result, row, 0, &failed);
    node->active = yes(result, row, 1);
    node->reachable = yes(result, row, 2);
    node->gives = yes(result, row, 4);
    node->failure = arena_copy(arena, answer, strcspn(answer, "\n"));
    char level[32] = "";
    if (node->reachable && sscanf(answer, "%31s %d %d", level, &node->slots, &node->most_slots) == 3)
        node->logical = strcmp(level, "logical") == 0;
    return !failed && node->failure;
}

static mosaic_status take_nodes(const PGresult *result, struct arena *arena, struct move_facts *facts,
                                mosaic_error *error)
{
    facts->node_count = (size_t)PQntuples(result);
    struct move_node *nodes = arena_zeroed(arena, facts->node_count + 1, sizeof *nodes);
    if (!nodes)
        return error_memory(error);
    facts->nodes = nodes;
    for (int row = 0; row < PQntuples(result); row++) {
        if (!take_node(result, row, arena, &nodes[row]))
            return error_memory(error);
        facts->takers += nodes[row].active && yes(result, row, 5);
    }
    return MOSAIC_OK;
}

static mosaic_status take_tables(const PGresult *result, struct arena *arena, struct move_facts *facts,
                                 mosaic_error *error)
{
    size_t count = (size_t)PQntuples(result);
    struct unmarked_table *unmarked = arena_zeroed(arena, count + 1, sizeof *unmarked);
    const char **foreign = arena_zeroed(arena, count + 1, sizeof *foreign);
    if (!unmarked || !foreign)
        return error_memory(error);
    bool failed = false;
    facts->role = "";
    for (int row = 0; row < (int)count; row++) {
        const char *name = kept(arena, result, row, 0, &failed);
        if (yes(result, row, 1))
            unmarked[facts->unmarked_count++] = (struct unmarked_table){name, yes(result, row, 4)};
        if (yes(result, row, 2))
            foreign[facts->foreign_count++] = name;
        facts->role = kept(arena, result, row, 3, &failed);
    }
    facts->unmarked = unmarked;
    facts->foreign = foreign;
    return failed ? error_memory(error) : MOSAIC_OK;
}

mosaic_status rebalance_facts(PGconn *coordinator, int64_t deadline, struct arena *arena, struct move_facts *facts,
                              mosaic_error *error)
{
    PGresult *result = NULL;
    *facts = (struct move_facts){0};
    mosaic_status status = pq_exec(coordinator, where, nodes_sql, deadline, &result, error);
    if (status == MOSAIC_OK)
        status = take_nodes(result, arena, facts, error);
    PQclear(result);
    result = NULL;
    if (status == MOSAIC_OK)
        status = pq_exec(coordinator, where, tables_sql, deadline, &result, error);
    if (status == MOSAIC_OK)
        status = take_tables(result, arena, facts, error);
    PQclear(result);
    return status;
}

/* ---- judgement ----------------------------------------------------------------------------------------- */

static void check_node(const struct move_node *node, enum move_mode mode, struct findings *findings)
{
    if (!node->active) {
        finding_add(findings, true, node->name, "", "SELECT citus_activate_node(…), or pgmosaic node remove",
                    "the node is not active");
    } else if (!node->reachable) {
        finding_add(findings, true, node->name, "", "start it, or let the coordinator reach it",
                    "the node does not answer the coordinator: %s", node->failure);
    } else if (mode != MOVE_BLOCK_WRITES && node->gives && !node->logical) {
        finding_add(findings, true, node->name, "",
                    "ALTER SYSTEM SET wal_level = logical there and restart it; or --mode block_writes",
                    "wal_level is not logical, so shards cannot leave the node while they are written");
    } else if (mode != MOVE_BLOCK_WRITES && node->gives && node->slots >= node->most_slots) {
        finding_add(findings, true, node->name, "",
                    "drop those that nobody uses there (pg_replication_slots, pg_drop_replication_slot), or raise "
                    "max_replication_slots and restart it; or --mode block_writes",
                    "no replication slot is free on the node: all %d of max_replication_slots are taken",
                    node->most_slots);
    }
}

void rebalance_check(const struct move_facts *facts, enum move_mode mode, struct findings *findings)
{
    for (size_t i = 0; i < facts->node_count; i++)
        check_node(&facts->nodes[i], mode, findings);
    if (facts->takers == 0)
        finding_add(findings, true, "", "", "pgmosaic node add HOST:PORT", "no node may hold shards");
    for (size_t i = 0; mode == MOVE_AUTO && i < facts->unmarked_count; i++)
        finding_add(findings, true, "", facts->unmarked[i].name,
                    finding_text(findings,
                                 "ALTER TABLE %s REPLICA IDENTITY FULL, or a primary key; or --mode "
                                 "block_writes",
                                 facts->unmarked[i].name),
                    "it has neither primary key nor replica identity, so updates and deletes during a move could not "
                    "be followed");
    for (size_t i = 0; i < facts->foreign_count; i++)
        finding_add(findings, true, "", facts->foreign[i],
                    "connect as its owner, or as a superuser (the config's coordinator:)",
                    "role %s does not own it, and may not move its shards", facts->role);
}

/* ---- plan ---------------------------------------------------------------------------------------------- */

/* The plan's own sizes are 0 unless its strategy looks at them. */
static const char plan_sql[] =
    "SELECT p.shardid, coalesce(s.shard_size, -1), p.table_name::text,"
    " p.sourcename || ':' || p.sourceport, p.targetname || ':' || p.targetport"
    " FROM pg_catalog.get_rebalance_table_shards_plan() WITH ORDINALITY p(table_name, shardid, shard_size, sourcename,"
    " sourceport, targetname, targetport, at)"
    " LEFT JOIN pg_catalog.citus_shards s ON s.shardid = p.shardid AND s.nodename = p.sourcename"
    " AND s.nodeport = p.sourceport ORDER BY p.at";

mosaic_status rebalance_plan(PGconn *coordinator, int64_t deadline, struct arena *arena, struct planned_move **moves,
                             size_t *count, mosaic_error *error)
{
    PGresult *result = NULL;
    *count = 0;
    mosaic_status status = pq_exec(coordinator, where, plan_sql, deadline, &result, error);
    if (status != MOSAIC_OK) {
        error_hint(error, "%s", rebalance_advice(error ? error->message : ""));
        return status;
    }
    bool failed = false;
    *moves = arena_zeroed(arena, (size_t)PQntuples(result) + 1, sizeof **moves);
    for (int row = 0; *moves && row < PQntuples(result); row++)
        (*moves)[(*count)++] = (struct planned_move){
            .shard = strtoll(PQgetvalue(result, row, 0), NULL, 10),
            .bytes = strtoll(PQgetvalue(result, row, 1), NULL, 10),
            .table = kept(arena, result, row, 2, &failed),
            .from = kept(arena, result, row, 3, &failed),
            .to = kept(arena, result, row, 4, &failed),
        };
    PQclear(result);
    return failed || !*moves ? error_memory(error) : MOSAIC_OK;
}

void rebalance_heed_plan(struct move_facts *facts, const struct planned_move *moves, size_t count)
{
    size_t kept_count = 0;
    for (size_t i = 0; i < facts->unmarked_count; i++) {
        bool moves_it = facts->unmarked[i].reference;
        for (size_t at = 0; at < count && !moves_it; at++)
            moves_it = strcmp(moves[at].table, facts->unmarked[i].name) == 0;
        if (moves_it)
            facts->unmarked[kept_count++] = facts->unmarked[i];
    }
    facts->unmarked_count = kept_count;
}

/* ---- the job ------------------------------------------------------------------------------------------- */

/* As citus_rebalance_status() puts it together (Citus's udfs/citus_job_status), with the sizes as numbers. */
static const char look_sql[] =
    "WITH job AS (SELECT * FROM pg_catalog.pg_dist_background_job WHERE job_type = 'rebalance'"
    " ORDER BY job_id DESC LIMIT 1),"
    " task AS (SELECT t.*, pg_catalog.regexp_match(command, 'citus_move_shard_placement\\((\\d+),(\\d+),(\\d+)')"
    "::bigint[] AS move FROM pg_catalog.pg_dist_background_task t JOIN job USING (job_id)),"
    " counts AS (SELECT count(*) AS total, count(*) FILTER (WHERE status = 'done') AS done,"
    " count(*) FILTER (WHERE status = 'error') AS failed, count(*) FILTER (WHERE status = 'running') AS running,"
    " count(*) FILTER (WHERE status IN ('blocked', 'runnable')) AS waiting,"
    " count(*) FILTER (WHERE status IN ('cancelled', 'cancelling', 'unscheduled')) AS cancelled FROM task),"
    " moved AS (SELECT sessionid, sum(source_shard_size) AS source, sum(target_shard_size) AS target,"
    " max(status) AS phase, max(source_lsn) - min(target_lsn) AS lag"
    " FROM pg_catalog.get_rebalance_progress() WHERE (SELECT finished_at IS NULL FROM job) GROUP BY sessionid),"
    " shown AS (SELECT * FROM task WHERE status = 'running' OR status = 'error' OR (status = 'runnable' AND"
    " retry_count > 0) ORDER BY status <> 'running', task_id LIMIT 64)"
    " SELECT job.job_id, job.state, extract(epoch FROM coalesce(job.finished_at, pg_catalog.clock_timestamp())"
    " - coalesce(job.started_at, pg_catalog.clock_timestamp())), counts.total, counts.done, counts.failed,"
    " counts.running, counts.waiting, counts.cancelled,"
    " t.task_id, t.status = 'running', coalesce(t.move[1], 0), coalesce(s.logicalrelid::pg_catalog.regclass::text, ''),"
    " coalesce(f.nodename || ':' || f.nodeport, ''), coalesce(o.nodename || ':' || o.nodeport, ''),"
    " coalesce(moved.phase, ''), coalesce(moved.source, 0), coalesce(moved.target, 0), coalesce(moved.lag, -1),"
    " coalesce(t.retry_count, 0), coalesce(extract(epoch FROM t.not_before - pg_catalog.clock_timestamp()), -1),"
    " coalesce(t.message, '')"
    " FROM job CROSS JOIN counts LEFT JOIN shown t ON true"
    " LEFT JOIN pg_catalog.pg_dist_shard s ON s.shardid = t.move[1]"
    " LEFT JOIN pg_catalog.pg_dist_node f ON f.nodeid = t.move[2]"
    " LEFT JOIN pg_catalog.pg_dist_node o ON o.nodeid = t.move[3]"
    " LEFT JOIN moved ON moved.sessionid = t.pid AND t.status = 'running'"
    " ORDER BY t.status <> 'running', t.task_id";

enum look_column {
    LOOK_JOB,
    LOOK_STATE,
    LOOK_SECONDS,
    LOOK_TOTAL,
    LOOK_DONE,
    LOOK_FAILED,
    LOOK_RUNNING,
    LOOK_WAITING,
    LOOK_CANCELLED,
    LOOK_TASK,
    LOOK_TASK_RUNNING,
    LOOK_SHARD,
    LOOK_TABLE,
    LOOK_FROM,
    LOOK_TO,
    LOOK_PHASE,
    LOOK_SOURCE,
    LOOK_TARGET,
    LOOK_LAG,
    LOOK_RETRIES,
    LOOK_NEXT,
    LOOK_MESSAGE,
};

static int64_t whole(const PGresult *result, int row, enum look_column column)
{
    return strtoll(PQgetvalue(result, row, column), NULL, 10);
}

/* "ERROR: ERROR: all replication slots are in use", several lines: one line, one ERROR. */
static const char *one_line(struct arena *arena, const char *message)
{
    static const char mark[] = "ERROR:";
    while (*message == ' ' || strncmp(message, mark, sizeof mark - 1) == 0)
        message += *message == ' ' ? 1 : sizeof mark - 1;
    char *copy = arena_string(arena, message);
    for (char *at = copy; at && *at; at++)
        if (*at == '\n' || *at == '\r' || *at == '\t')
            *at = ' ';
    return copy;
}

static bool take_task(const PGresult *result, int row, struct arena *arena, struct rebalance_task *task)
{
    bool failed = false;
    *task = (struct rebalance_task){
        .running = yes(result, row, LOOK_TASK_RUNNING),
        .shard = whole(result, row, LOOK_SHARD),
        .table = kept(arena, result, row, LOOK_TABLE, &failed),
        .from = kept(arena, result, row, LOOK_FROM, &failed),
        .to = kept(arena, result, row, LOOK_TO, &failed),
        .phase = kept(arena, result, row, LOOK_PHASE, &failed),
        .source_bytes = whole(result, row, LOOK_SOURCE),
        .bytes = whole(result, row, LOOK_TARGET),
        .lag_bytes = whole(result, row, LOOK_LAG),
        .retries = (int)whole(result, row, LOOK_RETRIES),
        .next_seconds = strtod(PQgetvalue(result, row, LOOK_NEXT), NULL),
        .message = one_line(arena, PQgetvalue(result, row, LOOK_MESSAGE)),
    };
    return !failed && task->message;
}

static mosaic_status take_job(const PGresult *result, struct arena *arena, struct rebalance_job *job,
                              mosaic_error *error)
{
    int rows = PQntuples(result);
    if (rows == 0)
        return MOSAIC_OK;
    bool failed = false;
    struct rebalance_task *tasks = arena_zeroed(arena, (size_t)rows, sizeof *tasks);
    *job = (struct rebalance_job){
        .id = whole(result, 0, LOOK_JOB),
        .state = kept(arena, result, 0, LOOK_STATE, &failed),
        .seconds = strtod(PQgetvalue(result, 0, LOOK_SECONDS), NULL),
        .total = (size_t)whole(result, 0, LOOK_TOTAL),
        .done = (size_t)whole(result, 0, LOOK_DONE),
        .failed = (size_t)whole(result, 0, LOOK_FAILED),
        .running = (size_t)whole(result, 0, LOOK_RUNNING),
        .waiting = (size_t)whole(result, 0, LOOK_WAITING),
        .cancelled = (size_t)whole(result, 0, LOOK_CANCELLED),
        .tasks = tasks,
    };
    for (int row = 0; tasks && row < rows && !PQgetisnull(result, row, LOOK_TASK); row++)
        failed |= !take_task(result, row, arena, &tasks[job->task_count++]);
    return failed || !tasks ? error_memory(error) : MOSAIC_OK;
}

mosaic_status rebalance_look(PGconn *coordinator, int64_t deadline, struct arena *arena, struct rebalance_job *job,
                             mosaic_error *error)
{
    PGresult *result = NULL;
    *job = (struct rebalance_job){.state = ""};
    mosaic_status status = pq_exec(coordinator, where, look_sql, deadline, &result, error);
    if (status == MOSAIC_OK)
        status = take_job(result, arena, job, error);
    PQclear(result);
    return status;
}

mosaic_status rebalance_start(PGconn *coordinator, bool drain, enum move_mode mode, int64_t deadline, int64_t *id,
                              mosaic_error *error)
{
    PGresult *result = NULL;
    const char *values[] = {drain ? "true" : "false", move_mode_name(mode)};
    *id = 0;
    mosaic_status status = pq_exec_params(coordinator, where,
                                          "SELECT pg_catalog.citus_rebalance_start(drain_only => $1::boolean, "
                                          "shard_transfer_mode => $2::citus.shard_transfer_mode)",
                                          2, values, deadline, &result, error);
    if (status == MOSAIC_OK && !PQgetisnull(result, 0, 0))
        *id = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    if (status == MOSAIC_SERVER)
        error_hint(error, "%s", rebalance_advice(error ? error->message : ""));
    return status;
}

mosaic_status rebalance_stop(PGconn *coordinator, int64_t deadline, mosaic_error *error)
{
    return pq_exec(coordinator, where, "SELECT pg_catalog.citus_rebalance_stop()", deadline, NULL, error);
}
