/*
 * Recovery: every prepared part that stands on a shard is settled by the word of its decider; then rows of
 * mosaic.decision that nobody needs any more are dropped. Any number of these may run at once, beside commits under
 * way.
 */
#include "catalog/decision.h"
#include "catalog/parallel.h"
#include "catalog/twophase.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    CONNECT_MS = 5000, /* at most, for one shard: the others are to be settled too */
    GRACE_MS = 3000,   /* for a commit under way to finish by itself */
    PART_MS = 5000,    /* for one part, of a recovery with a patience */
    OVERDUE = 10,      /* times the patience: then a decider that still runs is ended */
    SQL_MOST = 1024,
    CONDITION_SIZE = 256,
};

struct session {
    PGconn *connection;
    mosaic_error why; /* where there is none */
    bool misnamed;    /* the database says that it is another shard */
};

struct recovery {
    const struct model *model;
    const struct patience *patience; /* NULL: none */
    struct session *sessions;
    int64_t deadline;
    int64_t grace; /* until then commits that are under way on the shard being settled may finish by themselves */
    struct arena *arena;
    struct settled *found;
    size_t count, capacity;
    bool misnamed; /* the config gives a shard's name to another database: no decision may be dropped */
    mosaic_error *error;
};

static mosaic_status add_entry(struct recovery *recovery, const char *gid, size_t shard, bool committed,
                               const mosaic_error *why)
{
    if (recovery->count == recovery->capacity) {
        size_t capacity = recovery->capacity ? 2 * recovery->capacity : 16;
        struct settled *larger = arena_allocate(recovery->arena, capacity * sizeof *larger);
        if (!larger)
            return error_memory(recovery->error);
        if (recovery->count)
            memcpy(larger, recovery->found, recovery->count * sizeof *larger);
        recovery->found = larger;
        recovery->capacity = capacity;
    }
    char reason[sizeof why->message + sizeof why->hint + 4] = "";
    if (why)
        snprintf(reason, sizeof reason, "%s%s%s", why->message, *why->hint ? "; " : "", why->hint);
    struct settled *entry = &recovery->found[recovery->count];
    *entry = (struct settled){.gid = arena_string(recovery->arena, gid),
                              .shard = recovery->model->shards[shard].name,
                              .committed = committed,
                              .resolved = !why,
                              .reason = arena_string(recovery->arena, reason)};
    if (!entry->gid || !entry->reason)
        return error_memory(recovery->error);
    recovery->count++;
    return MOSAIC_OK;
}

static size_t shard_index(const struct model *model, const char *name)
{
    size_t i = 0;
    while (i < model->shard_count && strcmp(model->shards[i].name, name) != 0)
        i++;
    return i;
}

/* On failure the session has no connection, and the reason. Several at once, of different shards. */
static void open_session(void *context, size_t shard)
{
    struct recovery *recovery = context;
    struct session *session = &recovery->sessions[shard];
    const struct shard *known = &recovery->model->shards[shard];
    int64_t until = pq_deadline(CONNECT_MS);
    int64_t deadline = until < recovery->deadline ? until : recovery->deadline;
    session->misnamed = false;
    mosaic_status status = decision_connect(known, deadline, &session->connection, &session->why);
    if (status != MOSAIC_OK)
        return;
    status = decision_check_identity(session->connection, known->name, deadline, &session->why);
    if (status == MOSAIC_OK)
        return;
    session->misnamed = status == MOSAIC_STALE;
    PQfinish(session->connection);
    session->connection = NULL;
}

/* The session of a shard by name, or NULL with the reason. */
static PGconn *session_of(struct recovery *recovery, const char *name, mosaic_error *why)
{
    size_t shard = shard_index(recovery->model, name);
    if (shard == recovery->model->shard_count) {
        error_set(why, MOSAIC_NOT_FOUND, "the config has no shard %s, which took part in it", name);
        error_hint(why, "put shard %s back into the config, under this name, until this is settled", name);
        return NULL;
    }
    struct session *session = &recovery->sessions[shard];
    /* Lost, or in the middle of a statement that lasted too long. */
    if (session->connection && (PQstatus(session->connection) == CONNECTION_BAD ||
                                PQtransactionStatus(session->connection) == PQTRANS_ACTIVE)) {
        PQfinish(session->connection);
        session->connection = NULL;
        open_session(recovery, shard);
        recovery->misnamed |= session->misnamed;
    }
    if (!session->connection) {
        *why = session->why;
        error_prefix(why, "shard %s", name);
    }
    return session->connection;
}

/* The SQL condition that a time is so long ago. Without an age nothing hangs on the server's clock. */
static const char *older_than(const char *column, int64_t age_ms, char sql[CONDITION_SIZE])
{
    if (age_ms == 0)
        return "true";
    snprintf(sql, CONDITION_SIZE,
             "%s OPERATOR(pg_catalog.<=) (pg_catalog.now() OPERATOR(pg_catalog.-) "
             "pg_catalog.make_interval(secs => %" PRId64 ".%03d))",
             column, age_ms / 1000, (int)(age_ms % 1000));
    return sql;
}

/* Of one part. A recovery that runs by itself comes back; in a round each has its turn. */
static int64_t part_deadline(const struct recovery *recovery)
{
    int64_t until = pq_deadline(PART_MS);
    return recovery->patience && until < recovery->deadline ? until : recovery->deadline;
}

/* ---- prepared parts ------------------------------------------------------------------------------------ */

/* Is it a part of a commit of ours, and of this shard? False with the reason why it is left. */
static bool is_ours(struct recovery *recovery, const char *shard, const char *name, struct gid *gid, mosaic_error *why)
{
    char own[SHARD_NAME_SIZE];
    if (!gid_parse(name, gid, own)) {
        error_set(why, MOSAIC_DATA, "the name is not one that pgmosaic gives");
        error_hint(why, "whoever made it finishes it by COMMIT PREPARED or ROLLBACK PREPARED");
        return false;
    }
    if (!*own || !strcmp(own, shard))
        return true;
    recovery->misnamed = true;
    error_set(why, MOSAIC_STALE, "it was prepared as a part of shard %s, but the config calls this database %s", own,
              shard);
    error_hint(why, "correct the names of the shards in the config");
    return false;
}

/* In the time between, its coordinator or another recovery may have finished it and dropped the decision. */
static bool is_gone(struct recovery *recovery, size_t shard, const char *name)
{
    PGresult *result;
    if (pq_exec_params(recovery->sessions[shard].connection, recovery->model->shards[shard].name,
                       "SELECT 1 FROM pg_catalog.pg_prepared_xacts WHERE gid OPERATOR(pg_catalog.=) $1", 1, &name,
                       recovery->deadline, &result, NULL) != MOSAIC_OK)
        return false;
    bool gone = PQntuples(result) == 0;
    PQclear(result);
    return gone;
}

/* The commit may yet finish by itself: its decider waits, for a standby perhaps. */
static bool is_let_alone(const struct recovery *recovery, PGconn *decider, const struct gid *gid, bool overdue,
                         int64_t deadline)
{
    bool running = false;
    return recovery->patience && !overdue &&
           decision_is_running(decider, gid->decider, gid, deadline, &running, NULL) == MOSAIC_OK && running;
}

static mosaic_status settle_part(struct recovery *recovery, size_t shard, const char *name, bool overdue)
{
    struct gid gid;
    mosaic_error why;
    enum outcome outcome = OUTCOME_ABORTED;
    bool found = false;
    const char *shard_name = recovery->model->shards[shard].name;
    int64_t deadline = part_deadline(recovery);
    if (!is_ours(recovery, shard_name, name, &gid, &why))
        return add_entry(recovery, name, shard, false, &why);
    PGconn *decider = session_of(recovery, gid.decider, &why);
    if (decider && is_let_alone(recovery, decider, &gid, overdue, deadline))
        return MOSAIC_OK;
    if (!decider || decision_ask(decider, &gid, recovery->grace, deadline, &outcome, &why) != MOSAIC_OK)
        return is_gone(recovery, shard, name) ? MOSAIC_OK : add_entry(recovery, name, shard, false, &why);
    PGconn *connection = session_of(recovery, shard_name, &why);
    if (!connection || decision_finish_part(connection, shard_name, name, outcome, deadline, &found, &why) != MOSAIC_OK)
        return add_entry(recovery, name, shard, outcome == OUTCOME_COMMITTED, &why);
    return found ? add_entry(recovery, name, shard, outcome == OUTCOME_COMMITTED, NULL) : MOSAIC_OK;
}

static mosaic_status settle_shard(struct recovery *recovery, size_t shard)
{
    mosaic_error why;
    PGresult *result;
    char sql[SQL_MOST], old[CONDITION_SIZE], overdue[CONDITION_SIZE];
    const char *name = recovery->model->shards[shard].name;
    int64_t age = recovery->patience ? recovery->patience->part : 0;
    PGconn *connection = session_of(recovery, name, &why);
    if (!connection)
        return add_entry(recovery, "", shard, false, &recovery->sessions[shard].why);
    snprintf(sql, sizeof sql,
             "SELECT gid, %s FROM pg_catalog.pg_prepared_xacts WHERE pg_catalog.starts_with(gid, 'mosaic:') AND "
             "database OPERATOR(pg_catalog.=) pg_catalog.current_database() AND %s ORDER BY prepared",
             older_than("prepared", age * OVERDUE, overdue), older_than("prepared", age, old));
    if (pq_exec(connection, name, sql, recovery->deadline, &result, &why) != MOSAIC_OK)
        return add_entry(recovery, "", shard, false, &why);
    mosaic_status status = MOSAIC_OK;
    recovery->grace = pq_deadline(GRACE_MS); /* for all of them together */
    for (int row = 0; row < PQntuples(result) && status == MOSAIC_OK; row++) {
        status = pq_interrupted("settling transactions in doubt", recovery->error);
        if (status == MOSAIC_OK)
            status = settle_part(recovery, shard, PQgetvalue(result, row, 0), *PQgetvalue(result, row, 1) == 't');
    }
    PQclear(result);
    return status;
}

/* ---- decisions ----------------------------------------------------------------------------------------- */

/* Commits a participant's part if it is still there. False, with the reason, when that cannot be made sure. */
static bool is_acknowledged(struct recovery *recovery, const struct gid *gid, const char *participant,
                            mosaic_error *why)
{
    char part[GID_SIZE];
    bool found = false;
    PGconn *connection = session_of(recovery, participant, why);
    if (!connection)
        return false;
    if (!gid_part_name(gid, participant, part)) {
        error_set(why, MOSAIC_DATA, "the decision names a participant that cannot be");
        return false;
    }
    if (decision_finish_part(connection, participant, part, OUTCOME_COMMITTED, part_deadline(recovery), &found, why) !=
        MOSAIC_OK)
        return false;
    *why = (mosaic_error){.status = MOSAIC_OK};
    return !found || add_entry(recovery, part, shard_index(recovery->model, participant), true, NULL) == MOSAIC_OK;
}

static bool has_entry(const struct recovery *recovery, const char *shard)
{
    for (size_t i = 0; i < recovery->count; i++)
        if (!recovery->found[i].resolved && !strcmp(recovery->found[i].shard, shard))
            return true;
    return false;
}

/* Each row is one participant of a committed decision; a decision without participants has one row with NULL. */
static mosaic_status drop_committed(struct recovery *recovery, size_t shard, const PGresult *rows)
{
    const char *name = recovery->model->shards[shard].name;
    mosaic_status status = MOSAIC_OK;
    int row = 0;
    while (row < PQntuples(rows) && status == MOSAIC_OK) {
        struct gid gid;
        char own[SHARD_NAME_SIZE];
        mosaic_error why;
        const char *text = PQgetvalue(rows, row, 0);
        /* A row about another decider's commit was not written by us here: it is left. */
        bool all = gid_parse(text, &gid, own) && !strcmp(gid.decider, name), known = all;
        for (; row < PQntuples(rows) && !strcmp(PQgetvalue(rows, row, 0), text); row++)
            if (all && !PQgetisnull(rows, row, 1) && !is_acknowledged(recovery, &gid, PQgetvalue(rows, row, 1), &why)) {
                all = false;
                /* A shard that is down stands in the list once already. */
                known = !has_entry(recovery, PQgetvalue(rows, row, 1));
            }
        PGconn *decider = all ? session_of(recovery, name, &why) : NULL;
        if (all)
            all = decider && decision_drop_committed(decider, &gid, recovery->deadline, &why) == MOSAIC_OK;
        status = pq_interrupted("dropping decisions", recovery->error);
        if (status == MOSAIC_OK && !all && known)
            status = add_entry(recovery, text, shard, true, &why);
    }
    return status;
}

static mosaic_status clean_decisions(struct recovery *recovery, size_t shard)
{
    mosaic_error why;
    PGresult *result;
    char sql[SQL_MOST], old[CONDITION_SIZE];
    const char *name = recovery->model->shards[shard].name;
    PGconn *connection = session_of(recovery, name, &why);
    if (!connection)
        return MOSAIC_OK;
    snprintf(sql, sizeof sql,
             "SELECT d.gid, p.name FROM mosaic.decision d LEFT JOIN LATERAL pg_catalog.unnest(d.participants) AS "
             "p(name) ON true WHERE d.outcome OPERATOR(pg_catalog.=) 'committed' AND %s ORDER BY d.created, d.gid",
             older_than("d.created", recovery->patience ? recovery->patience->word : 0, old));
    mosaic_status status = pq_interrupted("dropping decisions", recovery->error);
    if (status != MOSAIC_OK)
        return status;
    status = decision_drop_all_aborted(connection, name, recovery->deadline, &why);
    if (status == MOSAIC_OK)
        status = pq_exec(connection, name, sql, recovery->deadline, &result, &why);
    if (status == MOSAIC_SERVER && (!strcmp(why.sqlstate, "42P01") || !strcmp(why.sqlstate, "3F000")))
        return MOSAIC_OK; /* nothing was ever decided here */
    if (status != MOSAIC_OK)
        return add_entry(recovery, "", shard, false, &why);
    status = drop_committed(recovery, shard, result);
    PQclear(result);
    return status;
}

mosaic_status twophase_recover(const struct model *model, const struct patience *patience, int64_t deadline,
                               struct arena *arena, struct settled **found, size_t *count, mosaic_error *error)
{
    struct recovery recovery = {
        .model = model, .patience = patience, .deadline = deadline, .arena = arena, .error = error};
    *found = NULL;
    *count = 0;
    recovery.sessions = memory_zeroed(model->shard_count, sizeof *recovery.sessions);
    if (!recovery.sessions)
        return error_memory(error);
    parallel_run(model->shard_count, open_session, &recovery);
    for (size_t i = 0; i < model->shard_count; i++)
        recovery.misnamed |= recovery.sessions[i].misnamed;
    mosaic_status status = pq_interrupted("connecting to the shards", error);
    for (size_t i = 0; i < model->shard_count && status == MOSAIC_OK; i++)
        status = settle_shard(&recovery, i);
    for (size_t i = 0; i < model->shard_count && status == MOSAIC_OK && !recovery.misnamed; i++)
        status = clean_decisions(&recovery, i);
    for (size_t i = 0; i < model->shard_count; i++)
        PQfinish(recovery.sessions[i].connection);
    memory_free(recovery.sessions);
    *found = recovery.found;
    *count = recovery.count;
    return status;
}
