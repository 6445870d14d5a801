/*
 * Report mode: good rows are kept, refused ones told.
 *
 * A stream gathers rows in one batch while the one before is sent. A batch is sent in segments, each a COPY under a
 * savepoint:
 *
 *     rows     |-------------- batch --------------|
 *              |  taken  | segment |x|   to come   |      x: refused
 *
 * When the server refuses a segment and says which line (most do), what stands before that row is sent again, the row
 * is told, and it goes on behind it. Where it does not say (a deferred trigger, a foreign key), the segment is halved
 * until one row is left. Segments grow while all goes well and shrink after refusals, so that many bad rows don't cost
 * the square of their number.
 *
 * A reference table must be the same everywhere: the first shard judges, and what it has taken goes to the others,
 * where any refusal fails the load.
 */
#include "base/memory.h"
#include "client/load_job.h"

#include <string.h>

enum {
    BATCH_ROWS = 4096,
    ALL_BATCHES = 12 * 1024 * 1024,
    BATCH_BYTES_MOST = 512 * 1024,
    BATCH_BYTES_LEAST = 16 * 1024
};

static const size_t NO_ROW = SIZE_MAX;

struct batch_row {
    uint32_t start, size;
    uint64_t line;
    uint16_t newline;
    bool told; /* it was refused: segments leave it out */
};

struct batch {
    char *bytes;
    size_t size, capacity;
    struct batch_row rows[BATCH_ROWS];
    size_t count;
};

struct report {
    struct batch *filling, *sending;
    size_t batch_bytes; /* a batch is full with so many, unless one row has more */
    size_t at, end;     /* segment [at, end) of sending */
    size_t most;        /* rows of the next segment */
    bool savepoint;     /* there is one */
    bool failed;        /* the transaction has failed since: ROLLBACK TO before anything else */
    bool busy;          /* sending is not through */
};

mosaic_status report_start(struct load_job *job, struct load_stream *stream, mosaic_error *error)
{
    struct report *report = memory_zeroed(1, sizeof *report);
    if (!report)
        return error_memory(error);
    stream->report = report;
    size_t bytes = ALL_BATCHES / 2 / job->streams.count;
    report->batch_bytes = bytes > BATCH_BYTES_MOST    ? BATCH_BYTES_MOST
                          : bytes < BATCH_BYTES_LEAST ? BATCH_BYTES_LEAST
                                                      : bytes;
    report->most = BATCH_ROWS;
    report->filling = memory_zeroed(1, sizeof *report->filling);
    report->sending = memory_zeroed(1, sizeof *report->sending);
    return report->filling && report->sending ? MOSAIC_OK : error_memory(error);
}

static void free_batch(struct batch *batch)
{
    if (batch)
        memory_free(batch->bytes);
    memory_free(batch);
}

void report_free(struct load_stream *stream)
{
    if (!stream->report)
        return;
    free_batch(stream->report->filling);
    free_batch(stream->report->sending);
    memory_free(stream->report);
    stream->report = NULL;
}

/* ---- segments ----------------------------------------------------------------------------------------- */

static mosaic_status next_segment(struct load_job *job, struct load_stream *stream, mosaic_error *error)
{
    struct report *report = stream->report;
    const struct batch *batch = report->sending;
    while (report->at < batch->count && batch->rows[report->at].told)
        report->at++;
    if (report->at >= batch->count) {
        report->busy = false;
        return MOSAIC_OK;
    }
    size_t most = batch->count - report->at > report->most ? report->at + report->most : batch->count;
    report->end = report->at + 1;
    while (report->end < most && !batch->rows[report->end].told)
        report->end++;
    const struct batch_row *last = &batch->rows[report->end - 1];
    stream->data = batch->bytes + batch->rows[report->at].start;
    stream->size = last->start + last->size - batch->rows[report->at].start;
    stream->closing = true;
    struct buffer sql = BUFFER_INIT(1024 * 1024);
    buffer_text(&sql, report->failed ? "ROLLBACK TO SAVEPOINT mosaic_rows; " : "SAVEPOINT mosaic_rows; ");
    buffer_text(&sql, job->copy_sql);
    buffer_text(&sql, "; RELEASE SAVEPOINT mosaic_rows");
    report->savepoint = true;
    mosaic_status status = buffer_failed(&sql) ? error_memory(error) : stream_begin(stream, buffer_string(&sql), error);
    buffer_free(&sql);
    return status;
}

/* The row of the segment that the server's line means; NO_ROW if it names none. */
static size_t refused_row(const struct load_job *job, const struct load_stream *stream)
{
    const struct report *report = stream->report;
    uint64_t wanted = stream_failure_line(stream, job->table->name), line = 0;
    for (size_t i = report->at; wanted && i < report->end; i++) {
        const struct batch_row *row = &report->sending->rows[i];
        line += line_count_of_row(&job->splitter.format, job->splitter.newline, report->sending->bytes + row->start,
                                  row->size - row->newline, i == report->at);
        if (wanted <= line)
            return i;
    }
    return NO_ROW;
}

/*
 * A Citus coordinator hands on what a worker said with XX000 for its SQLSTATE (ReportCopyError in multi_copy.c), so
 * that only the words tell a violated constraint from a full disk. Where they are not English the load ends.
 */
static bool is_violation_on_worker(const struct load_job *job, const PGresult *failure, const char *sqlstate)
{
    const char *message = PQresultErrorField(failure, PG_DIAG_MESSAGE_PRIMARY);
    return job->model->engine == ENGINE_CITUS && strcmp(sqlstate, "XX000") == 0 && message &&
           strstr(message, " violates ");
}

/* Is it the row that is refused, rather than that the server cannot go on? By class: src/backend/utils/errcodes.txt. */
static bool is_about_a_row(const struct load_job *job, const struct load_stream *stream, mosaic_status status)
{
    static const char *const classes[] = {"21", "22", "23", "44", "54", "P0"};
    const char *sqlstate = stream->failure ? PQresultErrorField(stream->failure, PG_DIAG_SQLSTATE) : NULL;
    if (stream->lost || status != MOSAIC_SERVER || !sqlstate)
        return false;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (strncmp(sqlstate, classes[i], 2) == 0)
            return true;
    return is_violation_on_worker(job, stream->failure, sqlstate);
}

static mosaic_status tell_row(struct load_job *job, const struct report *report, size_t i, mosaic_error *why)
{
    const struct batch_row *row = &report->sending->rows[i];
    return job_bad_row(job, row->line, report->sending->bytes + row->start, row->size - row->newline, why);
}

static mosaic_status segment_refused(struct load_job *job, struct load_stream *stream, mosaic_error *error)
{
    struct report *report = stream->report;
    mosaic_error why;
    mosaic_status status = stream_error(stream, &why);
    size_t row = refused_row(job, stream), count = report->end - report->at;
    if (!is_about_a_row(job, stream, status)) {
        if (error)
            *error = why;
        return row == NO_ROW ? status : job_where(job, report->sending->rows[row].line, error);
    }
    report->failed = true;
    if (row == NO_ROW && count == 1)
        row = report->at;
    if (row == NO_ROW) {
        report->most = count / 2;
        return next_segment(job, stream, error);
    }
    status = tell_row(job, report, row, &why);
    report->sending->rows[row].told = true;
    if (row == report->at)
        report->most = report->most / 2 < 16 ? 16 : report->most / 2;
    return status == MOSAIC_OK ? next_segment(job, stream, error) : status;
}

/* A reference table: what the first shard has taken goes to the others. */
static mosaic_status pass_on(struct load_job *job, const struct report *report, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = report->at; i < report->end; i++) {
        const struct batch_row *row = &report->sending->rows[i];
        for (size_t shard = 1; shard < job->streams.count && status == MOSAIC_OK; shard++)
            status = job_put(job, &job->streams.streams[shard], report->sending->bytes + row->start, row->size,
                             row->newline, row->line, error);
    }
    return status;
}

mosaic_status report_ended(struct load_job *job, struct load_stream *stream, mosaic_error *error)
{
    struct report *report = stream->report;
    if (stream->failure || stream->lost)
        return segment_refused(job, stream, error);
    mosaic_status status = MOSAIC_OK;
    report->failed = false;
    stream->rows += report->end - report->at;
    if (job->table->kind == TABLE_REFERENCE)
        status = pass_on(job, report, error);
    report->at = report->end;
    report->most = report->most * 2 > BATCH_ROWS ? BATCH_ROWS : report->most * 2;
    return status == MOSAIC_OK ? next_segment(job, stream, error) : status;
}

/* ---- batches ------------------------------------------------------------------------------------------ */

static mosaic_status send_batch(struct load_job *job, struct load_stream *stream, mosaic_error *error)
{
    struct report *report = stream->report;
    job->streams.deadline = pq_deadline(job->streams.timeout_ms);
    while (report->busy) {
        mosaic_status status = streams_wait(&job->streams, error);
        if (status != MOSAIC_OK)
            return status;
    }
    struct batch *full = report->filling;
    report->filling = report->sending;
    report->sending = full;
    report->filling->size = report->filling->count = 0;
    report->at = 0;
    report->busy = true;
    return next_segment(job, stream, error);
}

static bool grow(struct batch *batch, size_t size)
{
    if (batch->capacity - batch->size >= size)
        return true;
    size_t capacity = batch->size + size;
    char *bytes = memory_resize(batch->bytes, capacity);
    if (!bytes)
        return false;
    batch->bytes = bytes;
    batch->capacity = capacity;
    return true;
}

mosaic_status report_add(struct load_job *job, struct load_stream *stream, const char *bytes, size_t size,
                         size_t newline, uint64_t line, mosaic_error *error)
{
    struct batch *batch = stream->report->filling;
    size_t most = stream->report->batch_bytes;
    if (batch->count == BATCH_ROWS || (batch->count > 0 && batch->size + size > most)) {
        mosaic_status status = send_batch(job, stream, error);
        if (status != MOSAIC_OK)
            return status;
        batch = stream->report->filling;
    }
    if (!grow(batch, batch->capacity < most && size < most ? most : size))
        return error_memory(error);
    memcpy(batch->bytes + batch->size, bytes, size);
    batch->rows[batch->count++] =
        (struct batch_row){(uint32_t)batch->size, (uint32_t)size, line, (uint16_t)newline, false};
    batch->size += size;
    return MOSAIC_OK;
}

mosaic_status report_finish(struct load_job *job, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < job->streams.count && status == MOSAIC_OK; i++) {
        struct report *report = job->streams.streams[i].report;
        if (report && report->filling->count > 0)
            status = send_batch(job, &job->streams.streams[i], error);
    }
    for (size_t i = 0; i < job->streams.count; i++) {
        struct load_stream *stream = &job->streams.streams[i];
        while (status == MOSAIC_OK && stream->report && stream->report->busy)
            status = streams_wait(&job->streams, error);
        if (status == MOSAIC_OK && stream->report && stream->report->failed)
            status = pq_exec(stream->connection, stream->name,
                             "ROLLBACK TO SAVEPOINT mosaic_rows; RELEASE SAVEPOINT mosaic_rows",
                             pq_deadline(job->streams.timeout_ms), NULL, error);
    }
    return status;
}
