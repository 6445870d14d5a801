/*
 * Result sets of the admin console, as messages: RowDescription and DataRows, in text or binary as the client asked.
 *
 *     struct admin_table table = admin_table_start(out, columns, column_count, formats, format_count);
 *     admin_row(&table); admin_text(&table, "s0"); admin_number(&table, 5); admin_row_end(&table);
 *
 * Columns are text or whole numbers (int8): a driver that asks for binary (pgx, asyncpg) gets eight bytes.
 */
#ifndef MOSAIC_PROXY_ADMIN_TABLE_H
#define MOSAIC_PROXY_ADMIN_TABLE_H

#include "wire/wire.h"

struct admin_column {
    const char *name;
    bool number;
};

struct admin_table {
    struct buffer *out;
    const struct admin_column *columns;
    uint16_t count;
    const char *formats; /* of a Bind: format_count times 2 bytes, big endian */
    uint16_t format_count;
    uint16_t column; /* of the row being made */
    size_t row;      /* where it began */
    uint64_t rows;
};

struct admin_table admin_table_start(struct buffer *out, const struct admin_column *columns, uint16_t count,
                                     const char *formats, uint16_t format_count);
/* The RowDescription. */
void admin_table_describe(const struct admin_table *table);

/* A row has exactly one value for each column, in order. NULL text is NULL. */
void admin_row(struct admin_table *table);
void admin_text(struct admin_table *table, const char *text);
void admin_bytes(struct admin_table *table, const char *text, size_t size);
void admin_number(struct admin_table *table, int64_t number);
void admin_null(struct admin_table *table);
void admin_row_end(struct admin_table *table);

#endif
