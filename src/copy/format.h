/*
 * The options of PostgreSQL's COPY formats, and single fields.
 *
 * Rules are those of src/backend/commands/copy.c (ProcessCopyOptions) and copyfromparse.c (CopyReadAttributesText,
 * CopyReadAttributesCSV).
 */
#ifndef MOSAIC_COPY_FORMAT_H
#define MOSAIC_COPY_FORMAT_H

#include "base/buffer.h"
#include "base/memory.h"
#include "pgmosaic.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    COPY_FIELDS_MOST = 1600,                  /* as PostgreSQL's MaxTupleAttributeNumber is below it */
    COPY_ROW_LIMIT = 32 * 1024 * 1024,        /* default */
    COPY_ROW_LIMIT_MOST = 1024 * 1024 * 1024, /* PostgreSQL can hold no longer line */
};

struct copy_format {
    mosaic_format kind;
    char delimiter, quote, escape; /* quote and escape: csv only */
    const char *null_text;         /* not owned */
    size_t row_limit;
};

/*
 * Fills the format's own values in for what is 0 or NULL and checks the rest as COPY does. MOSAIC_USAGE names the
 * option.
 */
MOSAIC_MUST_CHECK mosaic_status copy_format_check(struct copy_format *format, mosaic_error *error);
/* Appends "(FORMAT csv, DELIMITER ',' …)", all options of the format said, as COPY FROM and TO take them. */
void copy_format_sql(const struct copy_format *format, struct buffer *sql);

/*
 * The value of a raw field of csv or text. *value points into `raw` or, where quotes or escapes had to be taken away,
 * into the arena. *is_null: the field is SQL NULL. False when memory is out.
 */
MOSAIC_MUST_CHECK bool copy_field_value(const struct copy_format *format, const char *raw, size_t size,
                                        struct arena *arena, const char **value, size_t *value_size, bool *is_null);
/*
 * Finds the next raw field of a row of csv or text, which must be a whole row without its newline: [*start, *end).
 * Begin with *next = 0; false when there are no more. An unclosed quote ends with the row.
 */
bool copy_field_next(const struct copy_format *format, const char *row, size_t size, size_t *next, size_t *start,
                     size_t *end);

#endif
