/*
 * The commit of a transaction that has written on one shard: a plain COMMIT, and the question after a lost answer.
 */
#include "catalog/commit.h"

#include <stdio.h>
#include <string.h>

/*
 * "committed", "aborted", "in progress", or "" when it cannot be told. A server that crashed may have given the xid to
 * another transaction; its statistics begin anew then (src/backend/access/transam/xlog.c, StartupXLOG), after the time
 * at which we looked.
 */
static mosaic_status plain_outcome(PGconn *connection, const struct part *part, int64_t deadline, char outcome[16],
                                   mosaic_error *why)
{
    const char *values[] = {part->xid, part->looked};
    PGresult *result;
    mosaic_status status =
        pq_exec_params(connection, part->shard->name,
                       "SELECT pg_catalog.pg_xact_status($1::pg_catalog.xid8), stats_reset OPERATOR(pg_catalog.<) "
                       "$2::pg_catalog.timestamptz FROM pg_catalog.pg_stat_bgwriter",
                       2, values, deadline, &result, why);
    if (status == MOSAIC_SERVER && !strcmp(why->sqlstate, "22023")) { /* an xid of the future: lost in a crash */
        snprintf(outcome, 16, "aborted");
        return MOSAIC_OK;
    }
    if (status != MOSAIC_OK)
        return status;
    snprintf(outcome, 16, "%s", PQgetvalue(result, 0, 0));
    if (!strcmp(outcome, "committed") && PQgetvalue(result, 0, 1)[0] != 't') {
        outcome[0] = '\0';
        error_set(why, MOSAIC_IN_DOUBT, "the server has crashed and recovered since the transaction began");
    }
    PQclear(result);
    return MOSAIC_OK;
}

/* The answer to a plain COMMIT was lost; mostly PostgreSQL can still say what became of the transaction. */
static mosaic_status ask_plain(struct commit *commit)
{
    struct part *part = commit->decider;
    int64_t grace = pq_deadline(COMMIT_CLEANUP_MS);
    int64_t deadline = commit->deadline > grace ? commit->deadline : grace;
    char outcome[16] = "in progress";
    mosaic_error why = part->answer.error;
    PGconn *connection = NULL;
    mosaic_status status = MOSAIC_OK;
    while (!strcmp(outcome, "in progress") && pq_left_ms(deadline) > 0) {
        status = connection ? MOSAIC_OK : commit_reconnect(part->shard, deadline, &connection, &why);
        if (status == MOSAIC_OK)
            status = decision_terminate(connection, part->shard->name, &commit->gid, deadline, &why);
        if (status == MOSAIC_OK)
            status = plain_outcome(connection, part, deadline, outcome, &why);
        if (status != MOSAIC_OK) {
            PQfinish(connection);
            connection = NULL;
            if (status != MOSAIC_UNREACHABLE)
                break;
        }
        if (!strcmp(outcome, "in progress"))
            decision_sleep_ms(COMMIT_RETRY_MS / 5);
    }
    PQfinish(connection);
    if (!strcmp(outcome, "committed"))
        return MOSAIC_OK;
    if (!strcmp(outcome, "aborted"))
        return commit_fail_with(commit, part);
    error_set(commit->error, MOSAIC_IN_DOUBT, "shard %s did not say whether it committed", part->shard->name);
    error_detail(commit->error, "%s", why.message);
    error_hint(commit->error, "only shard %s took part, so nothing is half done: look there whether the rows stand",
               part->shard->name);
    error_shard(commit->error, part->shard->name);
    return MOSAIC_IN_DOUBT;
}

mosaic_status commit_plain(struct commit *commit)
{
    struct part *part = commit->decider;
    if (!part)
        return MOSAIC_OK;
    mosaic_status status = gid_make(&commit->gid, commit->hex, part->shard->name, part->xid, commit->error);
    if (status != MOSAIC_OK || part_run(part, "COMMIT", "COMMIT", commit->deadline) == MOSAIC_OK)
        return status;
    if (part_was_refused(part))
        return commit_fail_with(commit, part);
    return ask_plain(commit);
}
