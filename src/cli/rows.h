/*
 * Rows of query results as they arrive, for a person (aligned) or a program (CSV, JSON lines), in bounded memory.
 *
 *     struct rows *rows = rows_new(stdout, ROWS_CSV, true);
 *     rows_begin(rows, result);                the columns; again for each statement or when they change
 *     rows_add(rows, "s0", result, 0); …
 *     rows_end(rows);                          what is still held back
 *     rows_free(rows);
 */
#ifndef MOSAIC_CLI_ROWS_H
#define MOSAIC_CLI_ROWS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdio.h>

enum rows_format { ROWS_TABLE, ROWS_CSV, ROWS_JSON };

struct rows;

/* tagged: the first column is `shard` (in JSON always). NULL when memory is out. */
struct rows *rows_new(FILE *stream, enum rows_format format, bool tagged);
/* Starts a set of rows with the columns of result; nothing happens when the set that is open has the same. */
void rows_begin(struct rows *rows, const PGresult *result);
void rows_add(struct rows *rows, const char *shard, const PGresult *result, int row);
/* Ends the set that is open, if any. */
void rows_end(struct rows *rows);
/* False when memory was out at some point and a row is missing. */
bool rows_are_whole(const struct rows *rows);
void rows_free(struct rows *rows);

#endif
