/*
 * Puts the answers of several shards to one statement together: as they come, in order, or as aggregates. Each shard,
 * a leg, answers scatter->text (sql/facts.h): rows of the result's columns and, behind them, hidden ones in binary.
 *
 *     merge_new(scatter, limit, offset, legs)
 *     merge_describe(merge, body)    the RowDescription of the first leg to have one, then of the others
 *     MERGE_AS_THEY_COME             merge_admit for each row of whatever leg
 *     MERGE_IN_ORDER                 merge_offer(leg, row), merge_end(leg); merge_next → whose row is the next
 *     MERGE_AGGREGATES               the same, until MERGE_DONE; then merge_aggregates
 *     merge_row(row)                 the row that the client gets
 *
 * A row is a DataRow's body: a count, then length and bytes of each field. Memory: some hundred bytes a leg, whatever
 * the rows are; of aggregates the values that they keep. Nothing is allocated for a row.
 *
 * What cannot be merged to one PostgreSQL's answer is MOSAIC_UNSUPPORTED, before the first row. Texts are ordered here
 * by their bytes as they come: client_encoding must be the encoding of the database.
 */
#ifndef MOSAIC_MERGE_MERGE_H
#define MOSAIC_MERGE_MERGE_H

#include "base/buffer.h"
#include "pgmosaic.h"
#include "sql/facts.h"

enum { MERGE_LEGS_MOST = 65535 };

enum merge_way { MERGE_AS_THEY_COME, MERGE_IN_ORDER, MERGE_AGGREGATES };

struct merge;

/* limit UINT64_MAX: none. legs: 1 to MERGE_LEGS_MOST. NULL: memory is out. `scatter` lives at least as long. */
struct merge *merge_new(const struct fact_scatter *scatter, uint64_t limit, uint64_t offset, size_t legs);
void merge_free(struct merge *merge); /* NULL is fine */
enum merge_way merge_way(const struct merge *merge);

/*
 * The columns' types and formats, visible and hidden, from the body of a RowDescription that a portal (or a simple
 * Query) has: that of a prepared statement does not know formats yet. OIDs are those of the home shard. Called again,
 * it checks that another leg has the same columns.
 *
 * MOSAIC_UNSUPPORTED: the error names the column and its type, which cannot be merged exactly; then nothing was done,
 * and another tier may take the statement. Or, called again: the columns differ. MOSAIC_DATA: malformed, or another
 * number of columns.
 */
MOSAIC_MUST_CHECK mosaic_status merge_describe(struct merge *merge, const char *body, size_t size, mosaic_error *error);
/* Appends the client's RowDescription message, without the hidden columns. The body was described before. */
void merge_describe_row(const struct merge *merge, const char *body, size_t size, struct buffer *out);

enum merge_verdict { MERGE_SKIP, MERGE_PASS, MERGE_FULL };
/* Rows as they come: OFFSET and LIMIT count. FULL: this row and all others are not wanted. */
enum merge_verdict merge_admit(struct merge *merge);
/* So many more rows would all be passed on: OFFSET is over, and LIMIT not reached. Then as many as that were. */
uint64_t merge_admits(const struct merge *merge);
void merge_admitted(struct merge *merge, uint64_t rows);
/* How many rows more are to be admitted, or skipped, until LIMIT is reached; UINT64_MAX: there is none. */
uint64_t merge_lacks(const struct merge *merge);
/* LIMIT is reached. */
bool merge_is_full(const struct merge *merge);

/*
 * A leg's next row. In order it must stay where it is until merge_next has named its leg; of aggregates the values are
 * copied. Not for a leg that has a row already, or has ended. MOSAIC_DATA: malformed, not in the order of the
 * statement, or (aggregates) a second row or a sum out of range (22003). After a failure the merge can only be freed.
 */
MOSAIC_MUST_CHECK mosaic_status merge_offer(struct merge *merge, size_t leg, const char *row, size_t size,
                                            mosaic_error *error);
/* A leg has no more rows than it has given; one that waits is still to be named. */
void merge_end(struct merge *merge, size_t leg);

enum merge_step {
    MERGE_NEEDS, /* *leg has neither a row nor an end: offer or end it (any other leg that has none may come first) */
    MERGE_ROW,   /* in order: *leg's row is the next, OFFSET was counted: pass it on, then offer the leg's next one */
    MERGE_DROP,  /* in order: *leg's row is skipped by OFFSET; offer the next */
    MERGE_DONE,  /* no more rows, or LIMIT is reached. Aggregates: all legs have ended */
};
enum merge_step merge_next(struct merge *merge, size_t *leg);

/* Appends the DataRow message for a client: the row without its hidden columns. The row was offered, or admitted; what
 * is malformed makes `out` fail. */
void merge_row(const struct merge *merge, const char *row, size_t size, struct buffer *out);

/*
 * The one DataRow of aggregates, once, after MERGE_DONE, in the formats that merge_describe saw. *has_row false: LIMIT
 * or OFFSET leaves it out. MOSAIC_DATA: a leg has ended without its row, or a sum overflows (22003).
 */
MOSAIC_MUST_CHECK mosaic_status merge_aggregates(struct merge *merge, struct buffer *out, bool *has_row,
                                                 mosaic_error *error);
/* Rows passed on so far: for the tag, SELECT n. */
uint64_t merge_rows(const struct merge *merge);

#endif
