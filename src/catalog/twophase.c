/*
 * Two-phase commit. docs/design/two-phase.md has the interleavings; the order of the steps here is what makes them
 * safe: no word of the decider before every other part is prepared, no COMMIT PREPARED before the decider's word is
 * durable, and the word stays until every part has acknowledged.
 */
#include "catalog/twophase.h"

#include "base/buffer.h"
#include "base/control_point.h"
#include "catalog/commit.h"
#include "catalog_sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MOST = 256 * 1024 /* the names of all participants stand in one statement */ };

/* ---- the steps ---------------------------------------------------------------------------------------- */

static void copy_text(char *to, size_t size, const char *from)
{
    size_t length = strnlen(from, size - 1);
    memcpy(to, from, length);
    to[length] = '\0';
}

/* Learns who has written, and sees that each commits under synchronous_commit = on at least. */
static mosaic_status look(struct commit *commit)
{
    char sql[640];
    mosaic_status status = gid_draw(commit->hex, commit->error);
    if (status != MOSAIC_OK)
        return status;
    snprintf(sql, sizeof sql,
             "SELECT pg_catalog.pg_current_xact_id_if_assigned(), pg_catalog.clock_timestamp(), "
             "pg_catalog.to_regclass('mosaic.decision'), "
             "pg_catalog.pg_advisory_xact_lock(%" PRId64 "), pg_catalog.set_config('synchronous_commit', CASE WHEN "
             "pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) ANY "
             "('{off,local,remote_write}') THEN 'on' ELSE pg_catalog.current_setting('synchronous_commit') END, true)",
             gid_lock_key(commit->hex));
    for (size_t i = 0; i < commit->count; i++)
        part_send(&commit->parts[i], sql);
    const struct part *failed = NULL;
    for (size_t i = 0; i < commit->count; i++) {
        struct part *part = &commit->parts[i];
        if (part_receive(part, NULL, commit->deadline) != MOSAIC_OK && !failed)
            failed = part;
        copy_text(part->xid, sizeof part->xid, part->answer.first);
        copy_text(part->looked, sizeof part->looked, part->answer.second);
        part->can_decide = *part->answer.third;
        if (*part->xid)
            commit->decider = part; /* the last one that has written */
    }
    return failed ? commit_fail_with(commit, failed) : MOSAIC_OK;
}

static bool is_weak(const char *synchronous_commit)
{
    return !strcmp(synchronous_commit, "off") || !strcmp(synchronous_commit, "local") ||
           !strcmp(synchronous_commit, "remote_write");
}

static bool is_prepared_kind(const struct commit *commit, const struct part *part)
{
    return *part->xid && part != commit->decider;
}

static void hint_at_prepare(const struct part *failed, mosaic_error *error)
{
    if (!strcmp(failed->answer.error.sqlstate, "55000"))
        error_hint(error,
                   "a commit over several shards needs prepared transactions: set max_prepared_transactions (for "
                   "example to max_connections) on shard %s and restart its server",
                   failed->shard->name);
}

static mosaic_status prepare(struct commit *commit)
{
    const struct part *failed = NULL;
    control_point("twophase.before_prepare");
    for (size_t i = 0; i < commit->count; i++) {
        struct part *part = &commit->parts[i];
        char sql[2 * GID_SIZE + 128];
        if (!is_prepared_kind(commit, part))
            continue;
        char *quoted = PQescapeLiteral(part->connection, part->name, strlen(part->name));
        if (!quoted)
            return error_memory(commit->error);
        /* Afterwards the session's own setting shows again. */
        snprintf(sql, sizeof sql, "PREPARE TRANSACTION %s; SELECT pg_catalog.current_setting('synchronous_commit')",
                 quoted);
        PQfreemem(quoted);
        part_send(part, sql);
        part->state = PART_PREPARED;
    }
    for (size_t i = 0; i < commit->count; i++) {
        struct part *part = &commit->parts[i];
        if (part->state != PART_PREPARED)
            continue;
        if (part_receive(part, "PREPARE TRANSACTION", commit->deadline) != MOSAIC_OK) {
            failed = failed ? failed : part;
            if (part_was_refused(part))
                part->state = PART_OPEN; /* rolled back by the server, or to be */
        }
        copy_text(part->setting, sizeof part->setting, part->answer.first);
        part->weak = is_weak(part->setting);
        control_point("twophase.prepared_one");
    }
    if (failed) {
        mosaic_status status = commit_fail_with(commit, failed);
        hint_at_prepare(failed, commit->error);
        return status;
    }
    control_point("twophase.prepared");
    return MOSAIC_OK;
}

/* Those who only read commit before the decision: in SERIALIZABLE even that can fail, and then nothing may have been
 * done. */
static mosaic_status commit_readers(struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++)
        if (!*commit->parts[i].xid)
            part_send(&commit->parts[i], "COMMIT");
    const struct part *failed = NULL;
    for (size_t i = 0; i < commit->count; i++) {
        struct part *part = &commit->parts[i];
        if (!*part->xid && part_receive(part, "COMMIT", commit->deadline) != MOSAIC_OK && !failed)
            failed = part;
    }
    return failed ? commit_fail_with(commit, failed) : MOSAIC_OK;
}

/* "INSERT INTO mosaic.decision …; COMMIT": one message, so that no time passes between the two. */
static mosaic_status decision_sql(const struct commit *commit, struct buffer *sql)
{
    PGconn *connection = commit->decider->connection;
    char *gid = PQescapeLiteral(connection, commit->gid.base, strlen(commit->gid.base));
    buffer_format(
        sql,
        "INSERT INTO mosaic.decision (gid, outcome, decider_xid, participants) VALUES (%s, 'committed', '%s', "
        "ARRAY[",
        gid ? gid : "", commit->gid.xid);
    const char *comma = "";
    for (size_t i = 0; i < commit->count; i++) {
        const char *name = commit->parts[i].shard->name;
        if (!is_prepared_kind(commit, &commit->parts[i]))
            continue;
        char *quoted = PQescapeLiteral(connection, name, strlen(name));
        buffer_format(sql, "%s%s", comma, quoted ? quoted : "");
        sql->failed |= !quoted;
        PQfreemem(quoted);
        comma = ", ";
    }
    buffer_text(sql, "]::pg_catalog.text[]); COMMIT");
    sql->failed |= !gid;
    PQfreemem(gid);
    return buffer_failed(sql) ? error_memory(commit->error) : MOSAIC_OK;
}

/* The answer to the decider's COMMIT was lost: asks it, and where it has no word, those who were prepared. */
static mosaic_status ask_again(struct commit *commit, PGconn **decider, enum outcome *outcome)
{
    int64_t grace = pq_deadline(COMMIT_CLEANUP_MS);
    size_t count = 0;
    for (size_t i = 0; i < commit->count; i++)
        if (commit->parts[i].state == PART_PREPARED)
            commit->prepared[count++] = (struct outcome_part){commit->parts[i].shard, commit->parts[i].xid};
    return outcome_find(commit->decider->shard, &commit->gid, commit->prepared, count,
                        commit->deadline > grace ? commit->deadline : grace, decider, outcome, commit->error);
}

/* *decider: a connection of its own when the caller's was lost, else NULL. MOSAIC_OK: it is committed. */
static mosaic_status decide(struct commit *commit, PGconn **decider)
{
    struct part *part = commit->decider;
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    bool sent = false;
    mosaic_status status = decision_sql(commit, &sql);
    if (status == MOSAIC_OK) {
        control_point("twophase.before_decision");
        sent = true;
        status = part_run(part, buffer_string(&sql), "COMMIT", commit->deadline);
    }
    buffer_free(&sql);
    if (status == MOSAIC_OK || !sent)
        return status;
    if (part_was_refused(part))
        return commit_fail_with(commit, part); /* not committed */
    enum outcome outcome = OUTCOME_ABORTED;
    status = ask_again(commit, decider, &outcome);
    if (status != MOSAIC_OK || outcome == OUTCOME_COMMITTED)
        return status;
    part->state = PART_ENDED;
    return commit_fail_with(commit, part);
}

/* ---- after the decision ------------------------------------------------------------------------------- */

static void send_commit_prepared(struct part *part, int64_t deadline)
{
    char sql[2 * GID_SIZE + 64];
    char *quoted = PQescapeLiteral(part->connection, part->name, strlen(part->name));
    if (part->weak) /* it would be lost in a failover although it was acknowledged, and the decision dropped */
        part_run(part, "SET synchronous_commit = on", NULL, deadline);
    snprintf(sql, sizeof sql, "COMMIT PREPARED %s", quoted ? quoted : "''");
    PQfreemem(quoted);
    part_send(part, sql);
}

/* A part whose connection failed, or that somebody else has finished: looks again on a new connection. */
static bool commit_lost_part(const struct part *part, int64_t deadline)
{
    PGconn *connection;
    bool found;
    if (commit_reconnect(part->shard, deadline, &connection, NULL) != MOSAIC_OK)
        return false;
    mosaic_status status =
        decision_finish_part(connection, part->shard->name, part->name, OUTCOME_COMMITTED, deadline, &found, NULL);
    PQfinish(connection);
    return status == MOSAIC_OK;
}

static void restore_setting(struct part *part, int64_t deadline)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SET synchronous_commit = %s", part->setting);
    part_run(part, sql, NULL, deadline);
}

static void commit_prepared(struct commit *commit)
{
    int64_t grace = pq_deadline(COMMIT_CLEANUP_MS);
    int64_t deadline = commit->deadline > grace ? commit->deadline : grace;
    for (size_t i = 0; i < commit->count; i++)
        if (commit->parts[i].state == PART_PREPARED)
            send_commit_prepared(&commit->parts[i], deadline);
    for (size_t i = 0; i < commit->count; i++) {
        struct part *part = &commit->parts[i];
        if (part->state != PART_PREPARED)
            continue;
        part->state = PART_ENDED;
        mosaic_status status = part_receive(part, "COMMIT PREPARED", deadline);
        if (status != MOSAIC_OK && !commit_lost_part(part, grace))
            commit->left = part;
        if (part->weak && (status == MOSAIC_OK || part_was_refused(part)))
            restore_setting(part, deadline);
        control_point("twophase.committed_one");
    }
}

/* A part that is left is committed all the same: the decision stays, and `doctor` finishes the part when its shard is
 * back. */
static void finish(struct commit *commit, PGconn *decider)
{
    control_point("twophase.decided");
    commit_prepared(commit);
    if (!commit->left) {
        /* Should it fail, recovery finds the row and drops it. */
        mosaic_error ignored;
        mosaic_status dropped = decision_drop_committed(decider ? decider : commit->decider->connection, &commit->gid,
                                                        pq_deadline(COMMIT_CLEANUP_MS), &ignored);
        (void)dropped;
    }
    control_point("twophase.done");
}

/* ---- all together ------------------------------------------------------------------------------------- */

static size_t count_prepared_kind(const struct commit *commit)
{
    size_t count = 0;
    for (size_t i = 0; i < commit->count; i++)
        count += is_prepared_kind(commit, &commit->parts[i]);
    return count;
}

static mosaic_status name_parts(struct commit *commit)
{
    mosaic_status status =
        gid_make(&commit->gid, commit->hex, commit->decider->shard->name, commit->decider->xid, commit->error);
    for (size_t i = 0; status == MOSAIC_OK && i < commit->count; i++) {
        struct part *part = &commit->parts[i];
        if (!gid_part_name(&commit->gid, part->shard->name, part->name))
            status = error_set(commit->error, MOSAIC_UNSUPPORTED,
                               "shard name %s cannot stand in the name of a transaction", part->shard->name);
        for (size_t j = 0; status == MOSAIC_OK && j < i; j++)
            if (part->shard == commit->parts[j].shard)
                status =
                    error_set(commit->error, MOSAIC_USAGE, "shard %s is given twice for one commit", part->shard->name);
    }
    return status;
}

/* The row with which ask_again made sure of the abort; should this fail, recovery drops it. */
static void drop_aborted(const struct commit *commit, PGconn *decider)
{
    mosaic_error ignored;
    if (!decider)
        return;
    mosaic_status status = decision_drop_aborted(decider, &commit->gid, pq_deadline(COMMIT_CLEANUP_MS), &ignored);
    (void)status;
}

/*
 * A cluster to which nothing was applied yet (the schema is being made by this very commit) has no table for the
 * decision. It is made in a transaction of its own, so that it stands before anything is prepared.
 */
static mosaic_status ensure_table(struct commit *commit)
{
    const struct shard *shard = commit->decider->shard;
    PGconn *connection;
    if (commit->decider->can_decide)
        return MOSAIC_OK;
    mosaic_status status = decision_connect(shard, commit->deadline, &connection, commit->error);
    if (status != MOSAIC_OK)
        return status;
    /* What the caller's transaction has locked must not stop us both for ever. */
    status = pq_exec(connection, shard->name, "SET lock_timeout = 2000", commit->deadline, NULL, commit->error);
    if (status == MOSAIC_OK)
        status = twophase_ensure_table(connection, shard->name, commit->deadline, commit->error);
    PQfinish(connection);
    if (status != MOSAIC_OK) {
        error_prefix(commit->error, "making the table mosaic.decision for a commit over several shards");
        error_hint(commit->error, "run pgmosaic apply first, as a role that may create the schema mosaic");
    }
    return status;
}

static mosaic_status commit_all(struct commit *commit)
{
    PGconn *decider = NULL;
    mosaic_status status = look(commit);
    bool plain = status == MOSAIC_OK && count_prepared_kind(commit) == 0;
    if (status == MOSAIC_OK && !plain)
        status = ensure_table(commit);
    if (status == MOSAIC_OK && !plain)
        status = name_parts(commit);
    if (status == MOSAIC_OK && !plain)
        status = prepare(commit);
    if (status == MOSAIC_OK)
        status = commit_readers(commit);
    if (status == MOSAIC_OK && plain)
        return commit_plain(commit); /* MOSAIC_IN_DOUBT leaves nothing to undo either */
    if (status == MOSAIC_OK)
        status = decide(commit, &decider);
    if (status == MOSAIC_OK)
        finish(commit, decider);
    if (status != MOSAIC_OK && status != MOSAIC_IN_DOUBT) {
        commit_undo(commit);
        drop_aborted(commit, decider);
    }
    PQfinish(decider);
    return status;
}

static int by_shard(const void *left, const void *right)
{
    const struct part *a = left, *b = right;
    return (a->index > b->index) - (a->index < b->index);
}

mosaic_status twophase_commit(const struct model *model, struct participant *participants, size_t count,
                              int64_t deadline, mosaic_error *error)
{
    error_set(error, MOSAIC_OK, "committed");
    if (count == 0)
        return MOSAIC_OK;
    struct commit commit = {.count = count, .deadline = deadline, .error = error};
    commit.parts = memory_zeroed(count, sizeof *commit.parts);
    commit.prepared = memory_zeroed(count, sizeof *commit.prepared);
    if (!commit.parts || !commit.prepared) {
        memory_free(commit.parts);
        memory_free(commit.prepared);
        return error_memory(error);
    }
    for (size_t i = 0; i < count; i++)
        commit.parts[i] = (struct part){.connection = participants[i].connection,
                                        .index = participants[i].shard,
                                        .shard = &model->shards[participants[i].shard]};
    qsort(commit.parts, count, sizeof *commit.parts, by_shard);
    pq_hold_interrupts(true);
    mosaic_status status = commit_all(&commit);
    pq_hold_interrupts(false);
    if (status == MOSAIC_OK) {
        error_set(error, MOSAIC_OK, "committed");
        if (commit.left)
            error_hint(error,
                       "committed, but shard %s could not be told yet: its part stays prepared, with its locks, until "
                       "`pgmosaic doctor` is run when the shard is up",
                       commit.left->shard->name);
    }
    memory_free(commit.parts);
    memory_free(commit.prepared);
    return status;
}

mosaic_status twophase_ensure_table(PGconn *connection, const char *shard, int64_t deadline, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    /* The lock keeps two programs that do this at once from failing. */
    buffer_text(&sql, "SET client_min_messages = warning; SELECT pg_catalog.pg_advisory_xact_lock(7881699, 1); ");
    buffer_text(&sql, catalog_sql_schema);
    buffer_text(&sql, catalog_sql_decision);
    buffer_text(&sql, "RESET client_min_messages");
    mosaic_status status = buffer_failed(&sql) ? error_memory(error)
                                               : pq_exec(connection, shard, buffer_string(&sql), deadline, NULL, error);
    buffer_free(&sql);
    return status;
}
