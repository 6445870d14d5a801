#include "catalog/outcome.h"

#include "catalog/commit.h"

#include <string.h>

mosaic_status outcome_in_doubt(const struct gid *gid, const mosaic_error *why, mosaic_error *error)
{
    error_set(error, MOSAIC_IN_DOUBT,
              "the outcome of transaction %s is not known yet: its decider, shard %s, answered neither COMMIT nor the "
              "question after it",
              gid->base, gid->decider);
    error_detail(error, "%s", why->message);
    error_hint(error, "run `pgmosaic doctor` when shard %s is up: it settles it one way for all shards", gid->decider);
    error_shard(error, gid->decider);
    return MOSAIC_IN_DOUBT;
}

static mosaic_status ask_part(const struct outcome_part *part, bool *committed, mosaic_error *error)
{
    PGconn *connection;
    PGresult *result;
    mosaic_status status = commit_reconnect(part->shard, pq_deadline(COMMIT_CLEANUP_MS), &connection, error);
    if (status != MOSAIC_OK)
        return status;
    status = pq_exec_params(connection, part->shard->name, "SELECT pg_catalog.pg_xact_status($1::pg_catalog.xid8)", 1,
                            &part->xid, pq_deadline(COMMIT_CLEANUP_MS), &result, error);
    if (status == MOSAIC_OK) {
        *committed = !strcmp(PQgetvalue(result, 0, 0), "committed");
        PQclear(result);
    }
    PQfinish(connection);
    return status;
}

/*
 * The decider has no word, or "aborted". But had it said "committed", a recovery beside us could have finished every
 * part and dropped the row before we asked. Then each part's own transaction says so: its xid is safe in the log since
 * PREPARE.
 */
static mosaic_status was_committed_by_others(const struct outcome_part *parts, size_t count, bool *committed,
                                             mosaic_error *error)
{
    mosaic_status status = error_set(error, MOSAIC_INTERNAL, "no shard is known that took part");
    for (size_t i = 0; i < count && status != MOSAIC_OK; i++)
        status = ask_part(&parts[i], committed, error);
    return status;
}

mosaic_status outcome_ask(const struct shard *decider, const struct gid *gid, const struct outcome_part *parts,
                          size_t count, int64_t deadline, PGconn **connection, enum outcome *outcome,
                          mosaic_error *error)
{
    bool committed = false;
    mosaic_status status = decision_connect(decider, deadline, connection, error);
    if (status != MOSAIC_OK)
        return status;
    status = decision_ask(*connection, gid, 0, deadline, outcome, error);
    if (status == MOSAIC_OK && *outcome == OUTCOME_ABORTED)
        status = was_committed_by_others(parts, count, &committed, error);
    if (committed)
        *outcome = OUTCOME_COMMITTED;
    if (status != MOSAIC_OK) {
        PQfinish(*connection);
        *connection = NULL;
    }
    return status;
}

mosaic_status outcome_find(const struct shard *decider, const struct gid *gid, const struct outcome_part *parts,
                           size_t count, int64_t deadline, PGconn **connection, enum outcome *outcome,
                           mosaic_error *error)
{
    mosaic_error why;
    for (;;) {
        mosaic_status status = outcome_ask(decider, gid, parts, count, deadline, connection, outcome, &why);
        if (status == MOSAIC_OK)
            return MOSAIC_OK;
        if (status != MOSAIC_UNREACHABLE || pq_left_ms(deadline) < COMMIT_RETRY_MS)
            return outcome_in_doubt(gid, &why, error);
        decision_sleep_ms(COMMIT_RETRY_MS);
    }
}
