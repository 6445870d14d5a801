/*
 * Statements out of a file: one a line, or PostgreSQL's own log, plain (stderr) or csvlog.
 *
 *     statement_log_open(&log, fd, error);
 *     while ((status = statement_log_next(&log, &statement, error)) == MOSAIC_OK && statement.text)
 *         …
 *     statement_log_close(&log);
 *
 * Of a log, what log_statement and log_min_duration_statement write counts ("statement: …", "execute NAME: …"), with
 * the parameters of its DETAIL; a text may go over several lines. Which kind of file it is, its first line says.
 */
#ifndef MOSAIC_CLI_STATEMENT_LOG_H
#define MOSAIC_CLI_STATEMENT_LOG_H

#include "base/buffer.h"
#include "base/memory.h"
#include "cli/lines.h"
#include "plan/plan.h"

struct logged_statement {
    const char *text; /* NULL: there are no more */
    size_t size;
    uint64_t line; /* on which it begins, from 1 */
    const struct plan_value *parameters;
    size_t parameter_count;
};

enum statement_log_kind { LOG_OF_STATEMENTS, LOG_OF_SERVER, LOG_OF_CSV };

struct statement_log {
    struct lines lines;
    enum statement_log_kind kind;
    bool begun;
    struct key_slice slice; /* a line that was read and not yet used */
    uint64_t slice_line;
    bool has_slice;
    struct buffer text, record;
    struct arena arena; /* of the parameters */
};

MOSAIC_MUST_CHECK mosaic_status statement_log_open(struct statement_log *log, int fd, mosaic_error *error);
/* The next one, valid until the next call. */
MOSAIC_MUST_CHECK mosaic_status statement_log_next(struct statement_log *log, struct logged_statement *statement,
                                                   mosaic_error *error);
void statement_log_close(struct statement_log *log);

/*
 * The values of "parameters: $1 = '42', $2 = NULL", as the DETAIL of a log has them, in the arena. Stops at what it
 * cannot read. NULL when memory is out.
 */
const struct plan_value *statement_log_parameters(const char *text, size_t size, struct arena *arena, size_t *count);
/* The statement in a log's message, "duration: 1 ms  execute a: SELECT 1"; false where it has none. */
bool statement_log_message(const char *message, size_t size, const char **text, size_t *text_size);

#endif
