/*
 * The file of the rows that load --on-error=report has left out: csv with line, SQLSTATE, reason and the row, in the
 * order of lines. Shards refuse rows at their own pace, so the rows are written as they come, and put in order at the
 * end: a load that is killed leaves what it has found so far.
 */
#ifndef MOSAIC_CLI_BAD_ROWS_H
#define MOSAIC_CLI_BAD_ROWS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* More than this stay in the order in which they came: what is remembered of each takes memory. */
enum { BAD_ROWS_SORTED_MOST = 1000000 };

struct bad_row_place {
    uint64_t line;
    int64_t offset;
};

struct bad_rows {
    const char *path;
    bool binary; /* rows are shown as \x and hex digits */
    FILE *file;  /* NULL until the first one: a clean load leaves no file and touches none */
    int failure; /* errno */
    struct bad_row_place *places;
    size_t count, capacity;
    uint64_t last;  /* line */
    bool is_device; /* a pipe, say: it takes rows as they come */
    bool forgot, in_order;
};

/* As mosaic_load's bad_row; what fails is told at the end. */
void bad_rows_add(struct bad_rows *rows, uint64_t line, const char *row, size_t size, const mosaic_error *why);
/* Forgets all, as a load that begins again does. */
void bad_rows_restart(struct bad_rows *rows);
/* Puts the file in order and closes it. *sorted says whether it is in order: there may have been too many. */
MOSAIC_MUST_CHECK mosaic_status bad_rows_close(struct bad_rows *rows, bool *sorted, mosaic_error *error);

#endif
