/*
 * One load in progress: what its parts share.
 *
 *     load_input.c   bytes of the caller ──> rows, header           load_route.c   rows ──> buckets ──> shards
 *     load_plan.c    columns, key fields, the COPY statement        load_report.c  rows under savepoints, bad ones told
 *     load_stream.c  COPY to each shard                             load.c         the order of it all, and the commit
 */
#ifndef MOSAIC_CLIENT_LOAD_JOB_H
#define MOSAIC_CLIENT_LOAD_JOB_H

#include "client/load_stream.h"
#include "copy/router.h"
#include "core/model.h"

enum { LOAD_ROWS = 8192 /* at most in one go */ };

struct load_input {
    char *bytes;
    size_t capacity, start, end; /* bytes[start, end) are not split yet */
    bool at_end;
    uint64_t read; /* bytes, ever */
};

struct load_job {
    const struct model *model;
    const struct table *table;
    const mosaic_load *options;
    const char *source;
    struct copy_splitter splitter;
    struct load_input input;
    struct copy_rows rows;

    struct arena arena; /* lives as long as the job */
    const char **columns;
    size_t column_count;
    size_t key_fields[KEY_COLUMNS_MAX]; /* field of each key column */
    int key_modifiers[KEY_COLUMNS_MAX]; /* pg_attribute.atttypmod of each */
    const char *copy_sql;               /* COPY … FROM STDIN … */
    const char *truncate_sql;           /* for options->replace */

    struct copy_router router;
    uint32_t *buckets; /* LOAD_ROWS of them; UINT32_MAX: a bad row */

    struct load_streams streams;
    uint32_t last_shard; /* of the row that was routed last: where its missing newline goes */
    mosaic_progress done;
    int64_t told; /* when progress was, last */
};

/* Puts "users.csv:12: " before the error's message. Returns the status. */
mosaic_status job_where(const struct load_job *job, uint64_t line, mosaic_error *error);
/* Tells the caller of a bad row, and MOSAIC_OK; or without report mode says where it is, and returns the status. */
MOSAIC_MUST_CHECK mosaic_status job_bad_row(struct load_job *job, uint64_t line, const char *row, size_t size,
                                            mosaic_error *error);
/* Is this job in report mode? */
static inline bool job_reports(const struct load_job *job)
{
    return job->options->bad_row != NULL;
}

/* load_input.c. Reads until the buffer is full or the input ends; makes it larger when nothing was taken from it. */
MOSAIC_MUST_CHECK mosaic_status input_fill(struct load_job *job, mosaic_error *error);
/* The header's names, in the job's arena; *count 0 for an empty input. Also refuses a byte order mark without a header.
 */
MOSAIC_MUST_CHECK mosaic_status input_header(struct load_job *job, bool wanted, const char ***names, size_t *count,
                                             mosaic_error *error);
/* The next rows, into job->rows; none at the end. They are valid until the next call. */
MOSAIC_MUST_CHECK mosaic_status input_rows(struct load_job *job, mosaic_error *error);

/* load_plan.c. Columns, key fields and COPY statement; `connection` is to any shard. */
MOSAIC_MUST_CHECK mosaic_status plan_columns(struct load_job *job, PGconn *connection, const char *shard,
                                             const char *const *names, size_t name_count, mosaic_error *error);

/* load_route.c. job->buckets of job->rows. Malformed rows and bad keys are told, or fail. */
MOSAIC_MUST_CHECK mosaic_status route_rows(struct load_job *job, mosaic_error *error);

/* load_report.c */
MOSAIC_MUST_CHECK mosaic_status report_start(struct load_job *job, struct load_stream *stream, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status report_add(struct load_job *job, struct load_stream *stream, const char *bytes,
                                           size_t size, size_t newline, uint64_t line, mosaic_error *error);
/* A statement of a stream in report mode is over. */
MOSAIC_MUST_CHECK mosaic_status report_ended(struct load_job *job, struct load_stream *stream, mosaic_error *error);
/* Sends what is left and waits until every row was taken or told. */
MOSAIC_MUST_CHECK mosaic_status report_finish(struct load_job *job, mosaic_error *error);
void report_free(struct load_stream *stream);

/* load.c: one whole row, newline and all, to a stream that is not in report mode. */
MOSAIC_MUST_CHECK mosaic_status job_put(struct load_job *job, struct load_stream *stream, const char *bytes,
                                        size_t size, size_t newline, uint64_t line, mosaic_error *error);

#endif
