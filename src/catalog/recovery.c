/*
 * Recovery: every prepared part that stands on a shard is settled by the word of its decider; then rows of
 * mosaic.decision that nobody needs any more are dropped. Any number of these may run at once, beside commits under
 * way.
 */
#include "catalog/decision.h"
#include "catalog/twophase.h"

#include <stdio.h>
#include <string.h>

enum {
    CONNECT_MS = 5000, /* at most, for one shard: the others are to be settled too */
    GRACE_MS = 3000,   /* for a commit under way to finish by itself */
};

struct session {
    PGconn *connection;
    mosaic_error why; /* where there is none */
};

struct recovery {
    const struct model *model;
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

/* On failure the session has no connection, and the reason. */
static mosaic_status open_session(struct recovery *recovery, size_t shard, int64_t deadline)
{
    struct session *session = &recovery->sessions[shard];
    const struct shard *known = &recovery->model->shards[shard];
    mosaic_status status = decision_connect(known, deadline, &session->connection, &session->why);
    if (status != MOSAIC_OK)
        return status;
    status = decision_check_identity(session->connection, known->name, deadline, &session->why);
    if (status == MOSAIC_OK)
        return status;
    recovery->misnamed |= status == MOSAIC_STALE;
    PQfinish(session->connection);
    session->connection = NULL;
    return status;
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
    if (session->connection && PQstatus(session->connection) == CONNECTION_BAD) {
        PQfinish(session->connection);
        session->connection = NULL;
        mosaic_status again = open_session(recovery, shard, pq_deadline(CONNECT_MS));
        (void)again; /* on failure the connection is NULL */
    }
    if (!session->connection) {
        *why = session->why;
        error_prefix(why, "shard %s", name);
    }
    return session->connection;
}

/* ---- prepared parts ------------------------------------------------------------------------------------ */

static mosaic_status settle_part(struct recovery *recovery, size_t shard, const char *name)
{
    struct gid gid;
    char own[SHARD_NAME_SIZE];
    mosaic_error why;
    enum outcome outcome = OUTCOME_ABORTED;
    bool found = false;
    const char *shard_name = recovery->model->shards[shard].name;
    if (!gid_parse(name, &gid, own)) {
        error_set(&why, MOSAIC_DATA, "the name is not one that pgmosaic gives");
        error_hint(&why, "whoever made it finishes it by COMMIT PREPARED or ROLLBACK PREPARED");
        return add_entry(recovery, name, shard, false, &why);
    }
    if (*own && strcmp(own, shard_name) != 0) {
        recovery->misnamed = true;
        error_set(&why, MOSAIC_STALE, "it was prepared as a part of shard %s, but the config calls this database %s",
                  own, shard_name);
        error_hint(&why, "correct the names of the shards in the config");
        return add_entry(recovery, name, shard, false, &why);
    }
    PGconn *decider = session_of(recovery, gid.decider, &why);
    if (!decider || decision_ask(decider, &gid, recovery->grace, recovery->deadline, &outcome, &why) != MOSAIC_OK) {
        /* In the time between, its coordinator or another doctor may have finished it and dropped the decision. */
        PGconn *connection = recovery->sessions[shard].connection;
        const char *still[] = {name};
        PGresult *result;
        if (pq_exec_params(connection, shard_name,
                           "SELECT 1 FROM pg_catalog.pg_prepared_xacts WHERE gid OPERATOR(pg_catalog.=) $1", 1, still,
                           recovery->deadline, &result, NULL) == MOSAIC_OK) {
            bool gone = PQntuples(result) == 0;
            PQclear(result);
            if (gone)
                return MOSAIC_OK;
        }
        return add_entry(recovery, name, shard, false, &why);
    }
    PGconn *connection = session_of(recovery, shard_name, &why);
    if (!connection ||
        decision_finish_part(connection, shard_name, name, outcome, recovery->deadline, &found, &why) != MOSAIC_OK)
        return add_entry(recovery, name, shard, outcome == OUTCOME_COMMITTED, &why);
    return found ? add_entry(recovery, name, shard, outcome == OUTCOME_COMMITTED, NULL) : MOSAIC_OK;
}

static mosaic_status settle_shard(struct recovery *recovery, size_t shard)
{
    mosaic_error why;
    PGresult *result;
    const char *name = recovery->model->shards[shard].name;
    PGconn *connection = session_of(recovery, name, &why);
    if (!connection)
        return add_entry(recovery, "", shard, false, &recovery->sessions[shard].why);
    if (pq_exec(
            connection, name,
            "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE pg_catalog.starts_with(gid, 'mosaic:') AND database "
            "OPERATOR(pg_catalog.=) pg_catalog.current_database() ORDER BY prepared",
            recovery->deadline, &result, &why) != MOSAIC_OK)
        return add_entry(recovery, "", shard, false, &why);
    mosaic_status status = MOSAIC_OK;
    recovery->grace = pq_deadline(GRACE_MS); /* for all of them together */
    for (int row = 0; row < PQntuples(result) && status == MOSAIC_OK; row++) {
        status = pq_interrupted("settling transactions in doubt", recovery->error);
        if (status == MOSAIC_OK)
            status = settle_part(recovery, shard, PQgetvalue(result, row, 0));
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
    bool found;
    PGconn *connection = session_of(recovery, participant, why);
    if (!connection)
        return false;
    if (!gid_part_name(gid, participant, part)) {
        error_set(why, MOSAIC_DATA, "the decision names a participant that cannot be");
        return false;
    }
    return decision_finish_part(connection, participant, part, OUTCOME_COMMITTED, recovery->deadline, &found, why) ==
           MOSAIC_OK;
}

static bool has_entry(const struct recovery *recovery, const char *shard)
{
    for (size_t i = 0; i < recovery->count; i++)
        if (!recovery->found[i].resolved && !strcmp(recovery->found[i].shard, shard))
            return true;
    return false;
}

/* Each row is one participant of a committed decision; a decision without participants has one row with NULL. */
static mosaic_status drop_committed(struct recovery *recovery, size_t shard, PGconn *decider, const PGresult *rows)
{
    mosaic_status status = MOSAIC_OK;
    int row = 0;
    while (row < PQntuples(rows) && status == MOSAIC_OK) {
        struct gid gid;
        char own[SHARD_NAME_SIZE];
        mosaic_error why;
        const char *text = PQgetvalue(rows, row, 0);
        /* A row about another decider's commit was not written by us here: it is left. */
        bool all = gid_parse(text, &gid, own) && !strcmp(gid.decider, recovery->model->shards[shard].name), known = all;
        for (; row < PQntuples(rows) && !strcmp(PQgetvalue(rows, row, 0), text); row++)
            if (all && !PQgetisnull(rows, row, 1) && !is_acknowledged(recovery, &gid, PQgetvalue(rows, row, 1), &why)) {
                all = false;
                /* A shard that is down stands in the list once already. */
                known = !has_entry(recovery, PQgetvalue(rows, row, 1));
            }
        if (all)
            all = decision_drop_committed(decider, &gid, recovery->deadline, &why) == MOSAIC_OK;
        if (!all && known)
            status = add_entry(recovery, text, shard, true, &why);
    }
    return status;
}

static mosaic_status clean_decisions(struct recovery *recovery, size_t shard)
{
    mosaic_error why;
    PGresult *result;
    const char *name = recovery->model->shards[shard].name;
    PGconn *connection = session_of(recovery, name, &why);
    if (!connection)
        return MOSAIC_OK;
    mosaic_status status = decision_drop_all_aborted(connection, name, recovery->deadline, &why);
    if (status == MOSAIC_OK)
        status = pq_exec(connection, name,
                         "SELECT d.gid, p.name FROM mosaic.decision d LEFT JOIN LATERAL "
                         "pg_catalog.unnest(d.participants) AS p(name) ON true WHERE d.outcome OPERATOR(pg_catalog.=) "
                         "'committed' ORDER BY d.created, d.gid",
                         recovery->deadline, &result, &why);
    if (status == MOSAIC_SERVER && (!strcmp(why.sqlstate, "42P01") || !strcmp(why.sqlstate, "3F000")))
        return MOSAIC_OK; /* nothing was ever decided here */
    if (status != MOSAIC_OK)
        return add_entry(recovery, "", shard, false, &why);
    status = drop_committed(recovery, shard, connection, result);
    PQclear(result);
    return status;
}

mosaic_status twophase_recover(const struct model *model, int64_t deadline, struct arena *arena, struct settled **found,
                               size_t *count, mosaic_error *error)
{
    struct recovery recovery = {.model = model, .deadline = deadline, .arena = arena, .error = error};
    *found = NULL;
    *count = 0;
    recovery.sessions = memory_zeroed(model->shard_count, sizeof *recovery.sessions);
    if (!recovery.sessions)
        return error_memory(error);
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < model->shard_count && status == MOSAIC_OK; i++) {
        int64_t until = pq_deadline(CONNECT_MS);
        mosaic_status reached = open_session(&recovery, i, until < deadline ? until : deadline);
        status = reached == MOSAIC_INTERRUPTED ? pq_interrupted("connecting to the shards", error) : MOSAIC_OK;
    }
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
