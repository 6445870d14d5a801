#include "client/pipeline.h"

#include "client/statement.h"

#include <string.h>

enum { AHEAD_BYTES = 64 * 1024 /* handed to libpq before the socket is asked to take them */ };

static mosaic_status lost(struct pipeline *pipeline, mosaic_error *error)
{
    mosaic_status status = pq_result_error(pipeline->lease->connection, NULL, pipeline->lease->pool->name, error);
    if (pipeline->sent_commit)
        error_detail(error, "COMMIT was on its way to shard %s: its part may have been committed",
                     pipeline->lease->pool->name);
    return status;
}

static bool send_plain(PGconn *connection, const char *sql)
{
    return PQsendQueryParams(connection, sql, 0, NULL, NULL, NULL, NULL, 0);
}

mosaic_status pipeline_start(struct pipeline *pipeline, mosaic_error *error)
{
    PGconn *connection = pipeline->lease->connection;
    pipeline->state = PIPELINE_RUNNING;
    pipeline->to_send = pipeline->to_receive = pipeline->first;
    if (!PQenterPipelineMode(connection) || !send_plain(connection, "BEGIN"))
        return lost(pipeline, error);
    return MOSAIC_OK;
}

/* ---- sending ---------------------------------------------------------------------------------------- */

static bool send_entry(PGconn *connection, const mosaic_statement *statement)
{
    return PQsendQueryParams(connection, statement->sql, statement->count, statement->types, statement->values,
                             statement->lengths, statement->formats, statement->result_format);
}

static bool send_some(struct pipeline *pipeline)
{
    PGconn *connection = pipeline->lease->connection;
    for (size_t ahead = 0; pipeline->to_send && ahead < AHEAD_BYTES; pipeline->to_send = pipeline->to_send->then) {
        if (!send_entry(connection, &pipeline->to_send->statement))
            return false;
        ahead += pipeline->to_send->bytes;
    }
    if (pipeline->to_send || pipeline->sent_commit)
        return true;
    pipeline->sent_commit = send_plain(connection, "COMMIT") && PQpipelineSync(connection);
    return pipeline->sent_commit;
}

static mosaic_status send_ahead(struct pipeline *pipeline, mosaic_error *error)
{
    PGconn *connection = pipeline->lease->connection;
    do {
        if (!pipeline->flushing && !send_some(pipeline))
            return lost(pipeline, error);
        int left = PQflush(connection);
        if (left < 0)
            return lost(pipeline, error);
        pipeline->flushing = left > 0;
    } while (!pipeline->flushing && pipeline->to_send);
    return MOSAIC_OK;
}

/* ---- receiving -------------------------------------------------------------------------------------- */

static bool is_failure(const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        return false;
    default:
        return true;
    }
}

static mosaic_status failed(struct pipeline *pipeline, const PGresult *result, mosaic_error *error)
{
    const char *name = pipeline->lease->pool->name;
    ExecStatusType kind = PQresultStatus(result);
    mosaic_status status;
    if (kind == PGRES_COPY_IN || kind == PGRES_COPY_OUT || kind == PGRES_COPY_BOTH) {
        status = error_set(error, MOSAIC_UNSUPPORTED, "COPY cannot run in a batch");
        error_shard(error, name);
    } else {
        status = pq_result_error(pipeline->lease->connection, result, name, error);
    }
    const char *part = pipeline->began && pipeline->to_receive ? NULL : pipeline->began ? "COMMIT" : "BEGIN";
    if (part)
        error_prefix(error, "%s of the batch", part);
    else
        error_prefix(error, "statement %zu of the batch", pipeline->to_receive->index);
    return status;
}

/* The answers come in the order of the questions: BEGIN, the statements, COMMIT. */
static mosaic_status take_answer(struct pipeline *pipeline, const PGresult *result, mosaic_batch_fn done, void *context,
                                 mosaic_error *error)
{
    bool failure = is_failure(result);
    mosaic_status status = failure ? failed(pipeline, result, error) : MOSAIC_OK;
    struct entry *entry = pipeline->to_receive;
    if (!pipeline->began) {
        pipeline->began = true;
    } else if (entry) {
        if (done)
            done(context, entry->index, entry->shard, result);
        pipeline->to_receive = entry->then;
    } else if (!failure) {
        pipeline->committed = strcmp(PQcmdStatus((PGresult *)result), "COMMIT") == 0;
        if (!pipeline->committed) {
            status = error_set(error, MOSAIC_USAGE, "a statement of the batch ended its transaction");
            error_shard(error, pipeline->lease->pool->name);
        }
    }
    return status;
}

static mosaic_status finish(struct pipeline *pipeline)
{
    struct lease *lease = pipeline->lease;
    for (const struct entry *entry = pipeline->first; entry; entry = entry->then)
        lease->dirty |= statement_marks_session(entry->statement.sql);
    pipeline->lease = NULL;
    pipeline->state = PIPELINE_DONE;
    pool_give(lease);
    return MOSAIC_OK;
}

static mosaic_status receive(struct pipeline *pipeline, mosaic_batch_fn done, void *context, mosaic_error *error)
{
    PGconn *connection = pipeline->lease->connection;
    while (!PQisBusy(connection)) {
        PGresult *result = PQgetResult(connection);
        if (!result) {
            /* Between two statements; when nothing more was sent, libpq is not busy and has nothing either. */
            if (pipeline->committed || PQstatus(connection) == CONNECTION_OK) {
                if (PQisBusy(connection))
                    return MOSAIC_AGAIN;
                result = PQgetResult(connection);
            }
            if (!result)
                return PQstatus(connection) == CONNECTION_OK ? MOSAIC_AGAIN : lost(pipeline, error);
        }
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            return finish(pipeline);
        }
        mosaic_status status = take_answer(pipeline, result, done, context, error);
        PQclear(result);
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_AGAIN;
}

mosaic_status pipeline_step(struct pipeline *pipeline, mosaic_batch_fn done, void *context, mosaic_error *error)
{
    if (pipeline->state == PIPELINE_DONE)
        return pipeline->status;
    mosaic_status status = send_ahead(pipeline, error);
    if (status == MOSAIC_OK && !PQconsumeInput(pipeline->lease->connection))
        status = lost(pipeline, error);
    if (status == MOSAIC_OK)
        status = receive(pipeline, done, context, error);
    if (status != MOSAIC_AGAIN) {
        pipeline_abandon(pipeline);
        pipeline->status = status;
    }
    return status;
}

bool pipeline_io(const struct pipeline *pipeline, mosaic_io *io)
{
    if (pipeline->state != PIPELINE_RUNNING)
        return false;
    *io = (mosaic_io){.fd = PQsocket(pipeline->lease->connection), .want_read = true, .want_write = pipeline->flushing};
    return io->fd >= 0;
}

void pipeline_abandon(struct pipeline *pipeline)
{
    if (pipeline->claim.pool)
        claim_abandon(&pipeline->claim);
    if (pipeline->lease)
        pool_reap(pipeline->lease, true);
    pipeline->lease = NULL;
    pipeline->state = PIPELINE_DONE;
}
