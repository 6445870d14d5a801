/*
 * Rolling a commit over several shards back, also where a connection or an answer was lost.
 */
#include "catalog/commit.h"

mosaic_status commit_fail_with(struct commit *commit, const struct part *part)
{
    if (commit->error)
        *commit->error = part->answer.error;
    return part->answer.status;
}

mosaic_status commit_reconnect(const struct shard *shard, int64_t deadline, PGconn **connection, mosaic_error *error)
{
    for (;;) {
        mosaic_status status = decision_connect(shard, deadline, connection, error);
        if (status != MOSAIC_UNREACHABLE || pq_left_ms(deadline) < COMMIT_RETRY_MS)
            return status;
        decision_sleep_ms(COMMIT_RETRY_MS);
    }
}

/*
 * The answer to PREPARE was lost: the part may be prepared, running still, or gone. Settles it, so that no locks stay
 * behind.
 */
static bool undo_lost_part(const struct commit *commit, const struct part *part, int64_t deadline)
{
    PGconn *connection;
    const char *shard = part->shard->name;
    bool found = false, running = true;
    if (commit_reconnect(part->shard, deadline, &connection, NULL) != MOSAIC_OK)
        return false;
    mosaic_status status = MOSAIC_OK;
    while (status == MOSAIC_OK && !found && running && pq_left_ms(deadline) > 0) {
        status = decision_terminate(connection, shard, &commit->gid, deadline, NULL);
        if (status ==
            MOSAIC_OK) /* in this order: one that does not run any more is prepared by now, or never will be */
            status = decision_is_running(connection, shard, &commit->gid, deadline, &running, NULL);
        if (status == MOSAIC_OK)
            status = decision_finish_part(connection, shard, part->name, OUTCOME_ABORTED, deadline, &found, NULL);
        if (status == MOSAIC_OK && !found && running)
            decision_sleep_ms(COMMIT_RETRY_MS / 5);
    }
    PQfinish(connection);
    return status == MOSAIC_OK && (found || !running);
}

static bool undo_prepared(const struct commit *commit, const struct part *part, int64_t deadline)
{
    bool found;
    return (PQtransactionStatus(part->connection) == PQTRANS_IDLE &&
            decision_finish_part(part->connection, part->shard->name, part->name, OUTCOME_ABORTED, deadline, &found,
                                 NULL) == MOSAIC_OK) ||
           undo_lost_part(commit, part, deadline);
}

void commit_undo(struct commit *commit)
{
    int64_t grace = pq_deadline(COMMIT_CLEANUP_MS); /* a server that is down now is not waited for */
    for (size_t i = 0; i < commit->count; i++) {
        struct part *part = &commit->parts[i];
        PGTransactionStatusType state = PQtransactionStatus(part->connection);
        if (part->state == PART_OPEN && (state == PQTRANS_INTRANS || state == PQTRANS_INERROR))
            part_run(part, "ROLLBACK", NULL, grace); /* a failure is a lost connection, which rolls back too */
    }
    for (size_t i = 0; i < commit->count; i++) {
        struct part *part = &commit->parts[i];
        if (part->state == PART_PREPARED && !undo_prepared(commit, part, grace))
            error_hint(
                commit->error,
                "everything was rolled back, but shard %s could not be told: its part is kept prepared, with its "
                "locks, until `pgmosaic doctor` is run when the shard is up",
                part->shard->name);
        part->state = PART_ENDED;
    }
}
