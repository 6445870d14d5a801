/*
 * Where the rows of INSERT … VALUES stand in a text, by its words alone: so that a text whose shape is known need not
 * be parsed to be split.
 *
 *     INSERT INTO t (a, b) VALUES ($1, 2), ($2, f('x'))  ON CONFLICT (a) DO UPDATE SET b = $3
 *                          |      ~~~~~~~  ~~~~~~~~~~~~                                    ~~
 *                          words  rows                                             parameters
 *
 * A row is a group in parentheses; between rows stands a comma. `words` counts what stands outside of all parentheses
 * before VALUES, a group being one; no literal is among them, so texts of one shape have the same number.
 */
#ifndef MOSAIC_SQL_ROWS_H
#define MOSAIC_SQL_ROWS_H

#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>

struct row_piece {
    uint32_t start, end; /* bytes of the text, with the parentheses */
    uint32_t values;     /* by the commas between them */
};

struct row_parameter {
    uint32_t start, end; /* of $n */
    uint32_t number;
};

struct rows {
    struct row_piece *list;
    size_t count;
    struct row_parameter *parameters; /* of the whole text, in order */
    size_t parameter_count;
};

enum rows_outcome {
    ROWS_FOUND,
    ROWS_OTHER, /* the text is not of this form, or has not `count` rows */
    ROWS_MEMORY,
};

/*
 * How many words stand before VALUES, in a statement that begins at `start` and whose table's name begins at `name`.
 * False: it is not INSERT INTO name [AS alias] [(columns)] [OVERRIDING … VALUE] VALUES.
 */
bool rows_words(const char *text, size_t size, size_t start, size_t name, size_t *words);
/* The rows of a text that scan.h understands, `count` of them. They are in the arena. */
enum rows_outcome rows_read(const char *text, size_t size, size_t start, size_t words, size_t count,
                            struct arena *arena, struct rows *rows);

#endif
