/*
 * One COPY FROM STDIN to each shard, all driven by one thread with poll().
 *
 *     IDLE ── stream_begin ──> STARTING ── COPY is on ──> COPYING ── all sent and closing ──> ENDING ──> IDLE
 *                                   └────────── refused ──────┴───────────────────────────────────────>┘ failure set
 *
 * Nothing blocks but streams_wait. Memory: a shard that takes nothing holds its queue and as much again in libpq.
 */
#ifndef MOSAIC_CLIENT_LOAD_STREAM_H
#define MOSAIC_CLIENT_LOAD_STREAM_H

#include "client/load_lines.h"
#include "core/model.h"
#include "pq/pq.h"

#include <poll.h>

enum stream_state { STREAM_IDLE, STREAM_STARTING, STREAM_COPYING, STREAM_ENDING };

struct load_stream {
    PGconn *connection;
    const char *name; /* of the shard */
    size_t shard;
    enum stream_state state;
    bool binary;       /* header and trailer are put around the rows */
    bool flushing;     /* libpq has bytes that the socket did not take */
    bool closing;      /* nothing comes behind data[0, size) */
    bool ended;        /* the statement is over: `ended` of the streams is to be called */
    PGresult *failure; /* the first result of the statement that was a failure, until it is over */
    bool lost;         /* the connection is broken */
    const char *data;  /* rows being sent: the queue, or a batch of somebody else */
    size_t size, sent;
    char *queue;
    size_t capacity;
    uint64_t rows;   /* that were sent, and are kept when this commits */
    uint64_t stored; /* of them, as the server counts: a trigger may leave some out */
    struct line_log lines;
    struct report *report; /* with report mode */
};

struct load_streams {
    struct load_stream *streams;
    size_t count;
    struct pollfd *ready; /* count */
    int timeout_ms;
    int64_t deadline; /* moved by every sign of life */
    const volatile int *interrupted;
    /* A statement is over; `failure` and `lost` say how. A failure returned here ends the load. */
    mosaic_status (*ended)(void *context, struct load_stream *stream, mosaic_error *error);
    void *context;
};

/* Sends a statement that has one COPY FROM STDIN in it. */
MOSAIC_MUST_CHECK mosaic_status stream_begin(struct load_stream *stream, const char *sql, mosaic_error *error);
/* Queues bytes of rows, waiting for room if there is none. */
MOSAIC_MUST_CHECK mosaic_status stream_put(struct load_streams *streams, struct load_stream *stream, const char *bytes,
                                           size_t size, mosaic_error *error);
/* Waits until something has happened on some stream and takes it on; calls `ended`. */
MOSAIC_MUST_CHECK mosaic_status streams_wait(struct load_streams *streams, mosaic_error *error);
/* Ends the COPY of every stream that is not in report mode, and waits until all are IDLE. */
MOSAIC_MUST_CHECK mosaic_status streams_finish(struct load_streams *streams, mosaic_error *error);
/* What went wrong in a stream's statement. Returns the status. */
mosaic_status stream_error(const struct load_stream *stream, mosaic_error *error);
/* Is it about a row that is too big? Which one that is the server does not say, but the line of another. */
bool stream_misnames_line(const struct load_stream *stream);
/* The line of its stream that the failure names, or 0. `table` is the bare name of the table. */
uint64_t stream_failure_line(const struct load_stream *stream, const char *table);
/* MOSAIC_INTERRUPTED once a flag is set. */
MOSAIC_MUST_CHECK mosaic_status streams_interrupted(const struct load_streams *streams, mosaic_error *error);

#endif
