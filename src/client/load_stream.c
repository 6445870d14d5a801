#include "client/load_stream.h"

#include "copy/binary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { WAIT_SLICE_MS = 200, CHUNK = 64 * 1024 };

/* ---- one stream --------------------------------------------------------------------------------------- */

static void flush(struct load_stream *stream)
{
    int left = PQflush(stream->connection);
    stream->flushing = left > 0;
    if (left < 0)
        stream->lost = true;
}

static void put(struct load_stream *stream, const void *bytes, size_t size)
{
    if (PQputCopyData(stream->connection, bytes, (int)size) < 0)
        stream->lost = true;
    else
        flush(stream);
}

static void end_copy(struct load_stream *stream)
{
    if (stream->binary)
        put(stream, binary_trailer, sizeof binary_trailer);
    if (PQputCopyEnd(stream->connection, NULL) < 0)
        stream->lost = true;
    stream->state = STREAM_ENDING;
    flush(stream);
}

static void send_some(struct load_stream *stream)
{
    while (stream->state == STREAM_COPYING && !stream->flushing && !stream->lost) {
        size_t left = stream->size - stream->sent;
        if (left == 0 && !stream->closing)
            return;
        if (left == 0) {
            end_copy(stream);
        } else {
            size_t size = left < CHUNK ? left : CHUNK;
            put(stream, stream->data + stream->sent, size);
            stream->sent += size;
        }
    }
}

/*
 * In COPY the server speaks only when it has refused something (notices are switched off), but libpq does not look at
 * it before we have ended the COPY.
 */
static void heed_refusal(struct load_stream *stream)
{
    if (PQputCopyEnd(stream->connection, "the server has refused a row") < 0)
        stream->lost = true;
    stream->closing = false;
    stream->state = STREAM_ENDING;
    flush(stream);
}

/*
 * Has the server refused something? 'E' is ErrorResponse; what else may come (a setting that was reloaded) is libpq's
 * to read. Inside TLS nobody can tell, and it is taken for one: at worst the load fails.
 */
static bool is_refusal(const struct load_stream *stream)
{
    char first;
    if (PQsslInUse(stream->connection))
        return true;
    ssize_t got = recv(PQsocket(stream->connection), &first, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got == 1 && first == 'E') || (got < 0 && errno != EAGAIN && errno != EINTR);
}

static void take_results(struct load_stream *stream)
{
    while (!PQisBusy(stream->connection)) {
        PGresult *result = PQgetResult(stream->connection);
        if (!result) {
            stream->state = STREAM_IDLE;
            stream->ended = true;
            return;
        }
        ExecStatusType kind = PQresultStatus(result);
        if (kind == PGRES_COPY_IN) {
            PQclear(result);
            stream->state = STREAM_COPYING;
            if (stream->binary)
                put(stream, binary_header, sizeof binary_header);
            return;
        }
        stream->stored += strtoull(PQcmdTuples(result), NULL, 10); /* "" but for COPY */
        if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK && !stream->failure) {
            stream->failure = result;
            result = NULL;
        }
        PQclear(result);
        if (PQstatus(stream->connection) == CONNECTION_BAD) {
            stream->lost = true;
            return;
        }
    }
}

static void take_on(struct load_stream *stream, bool readable)
{
    if (stream->state == STREAM_IDLE)
        return;
    bool refused = readable && stream->state == STREAM_COPYING && is_refusal(stream);
    bool alive = !readable || PQconsumeInput(stream->connection);
    if (stream->flushing && alive)
        flush(stream);
    if (stream->state == STREAM_COPYING && (refused || !alive || stream->lost))
        heed_refusal(stream);
    if (stream->state == STREAM_STARTING || stream->state == STREAM_ENDING)
        take_results(stream);
    send_some(stream);
    if (!alive)
        stream->lost = true;
    if (stream->lost && stream->state != STREAM_IDLE) {
        stream->state = STREAM_IDLE;
        stream->ended = true;
    }
}

mosaic_status stream_begin(struct load_stream *stream, const char *sql, mosaic_error *error)
{
    PQclear(stream->failure);
    stream->failure = NULL;
    stream->sent = 0;
    if (PQsetnonblocking(stream->connection, 1) != 0 || !PQsendQuery(stream->connection, sql))
        return pq_result_error(stream->connection, NULL, stream->name, error);
    stream->state = STREAM_STARTING;
    flush(stream);
    return MOSAIC_OK;
}

mosaic_status stream_error(const struct load_stream *stream, mosaic_error *error)
{
    if (stream->failure || stream->lost)
        return pq_result_error(stream->connection, stream->failure, stream->name, error);
    error_set(error, MOSAIC_INTERNAL, "the server ended the COPY before all rows were sent");
    return error_shard(error, stream->name);
}

bool stream_misnames_line(const struct load_stream *stream)
{
    /* The heap's place for a row (hio.c) is looked for when a batch is stored; the line is still that of the last row.
     */
    const char *function = stream->failure ? PQresultErrorField(stream->failure, PG_DIAG_SOURCE_FUNCTION) : NULL;
    return function && strcmp(function, "RelationGetBufferForTuple") == 0;
}

uint64_t stream_failure_line(const struct load_stream *stream, const char *table)
{
    if (stream_misnames_line(stream))
        return 0;
    const char *context = stream->failure ? PQresultErrorField(stream->failure, PG_DIAG_CONTEXT) : NULL;
    size_t name = strlen(table);
    while (context) {
        const char *end = strchr(context, '\n');
        /* "COPY users, line 12, column id: …"; the word for "line" depends on lc_messages */
        if (strncmp(context, "COPY ", 5) == 0 && strncmp(context + 5, table, name) == 0 && context[5 + name] == ',') {
            const char *rest = context + 5 + name + 1;
            size_t skip = strcspn(rest, "0123456789,:\n");
            return strtoull(rest + skip, NULL, 10);
        }
        context = end ? end + 1 : NULL;
    }
    return 0;
}

/* ---- all of them -------------------------------------------------------------------------------------- */

mosaic_status streams_interrupted(const struct load_streams *streams, mosaic_error *error)
{
    if (streams->interrupted && *streams->interrupted)
        return error_set(error, MOSAIC_INTERRUPTED, "interrupted while loading");
    return pq_interrupted("loading", error);
}

static mosaic_status report_end(struct load_streams *streams, struct load_stream *stream, mosaic_error *error)
{
    if (!stream->ended)
        return MOSAIC_OK;
    stream->ended = false;
    return streams->ended(streams->context, stream, error);
}

static mosaic_status stalled(const struct load_streams *streams, mosaic_error *error)
{
    const struct load_stream *slow = NULL;
    for (size_t i = 0; i < streams->count && !slow; i++)
        if (streams->streams[i].state != STREAM_IDLE &&
            (streams->streams[i].flushing || streams->streams[i].state != STREAM_COPYING))
            slow = &streams->streams[i];
    error_set(error, MOSAIC_TIMEOUT, "shard %s has taken nothing for %g seconds", slow ? slow->name : "?",
              streams->timeout_ms / 1000.0);
    error_hint(error, "something may hold a lock on the table (pg_stat_activity, pg_locks); or allow more time with "
                      "a longer timeout");
    return error_shard(error, slow ? slow->name : "");
}

/* Fills the poll set; false when no stream has anything to wait for. */
static bool expect_events(struct load_streams *streams)
{
    bool any = false;
    for (size_t i = 0; i < streams->count; i++) {
        struct load_stream *stream = &streams->streams[i];
        bool waits = stream->state != STREAM_IDLE && !stream->lost;
        streams->ready[i] = (struct pollfd){.fd = waits ? PQsocket(stream->connection) : -1, .events = POLLIN};
        if (stream->flushing)
            streams->ready[i].events |= POLLOUT;
        any = any || waits;
    }
    return any;
}

mosaic_status streams_wait(struct load_streams *streams, mosaic_error *error)
{
    mosaic_status status = streams_interrupted(streams, error);
    if (status != MOSAIC_OK)
        return status;
    int left = pq_left_ms(streams->deadline), count = 0;
    if (expect_events(streams))
        count = poll(streams->ready, streams->count, left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS);
    if (count < 0 && errno != EINTR)
        return error_errno(error, "cannot wait for the shards");
    if (count > 0)
        streams->deadline = pq_deadline(streams->timeout_ms);
    for (size_t i = 0; i < streams->count && status == MOSAIC_OK; i++) {
        struct load_stream *stream = &streams->streams[i];
        take_on(stream, count > 0 && (streams->ready[i].revents & (POLLIN | POLLHUP | POLLERR)));
        status = report_end(streams, stream, error);
    }
    if (status == MOSAIC_OK && count == 0 && left == 0)
        status = stalled(streams, error);
    return status;
}

/* The queue was copied by libpq: it is free again. */
static bool has_room(struct load_stream *stream)
{
    if (stream->sent == stream->size)
        stream->size = stream->sent = 0;
    return stream->size < stream->capacity;
}

mosaic_status stream_put(struct load_streams *streams, struct load_stream *stream, const char *bytes, size_t size,
                         mosaic_error *error)
{
    bool waited = false;
    while (size > 0) {
        if (!has_room(stream)) {
            send_some(stream);
            if (stream->lost || stream->sent < stream->size) {
                if (!waited)
                    streams->deadline = pq_deadline(streams->timeout_ms);
                waited = true;
                mosaic_status status = streams_wait(streams, error);
                if (status != MOSAIC_OK)
                    return status;
            }
            continue;
        }
        size_t room = stream->capacity - stream->size, part = size < room ? size : room;
        memcpy(stream->queue + stream->size, bytes, part);
        stream->size += part;
        bytes += part;
        size -= part;
    }
    return MOSAIC_OK;
}

mosaic_status streams_finish(struct load_streams *streams, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    bool busy = true;
    for (size_t i = 0; i < streams->count; i++) {
        streams->streams[i].closing = true;
        if (!streams->streams[i].report)
            send_some(&streams->streams[i]);
    }
    streams->deadline = pq_deadline(streams->timeout_ms);
    while (busy && status == MOSAIC_OK) {
        busy = false;
        for (size_t i = 0; i < streams->count; i++)
            busy = busy || streams->streams[i].state != STREAM_IDLE;
        if (busy)
            status = streams_wait(streams, error);
    }
    return status;
}
