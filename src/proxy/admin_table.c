#include "proxy/admin_table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { OID_INT8 = 20, OID_TEXT = 25 };

struct admin_table admin_table_start(struct buffer *out, const struct admin_column *columns, uint16_t count,
                                     const char *formats, uint16_t format_count)
{
    return (struct admin_table){
        .out = out, .columns = columns, .count = count, .formats = formats, .format_count = format_count};
}

/* None: text; one: for all; else each its own. */
static bool is_binary(const struct admin_table *table, uint16_t column)
{
    uint16_t at = table->format_count == 1 ? 0 : column;
    return at < table->format_count && table->formats[2 * at + 1] == 1;
}

void admin_table_describe(const struct admin_table *table)
{
    size_t began = wire_begin(table->out, WIRE_B_ROW_DESCRIPTION);
    wire_16(table->out, table->count);
    for (uint16_t i = 0; i < table->count; i++) {
        bool number = table->columns[i].number;
        wire_text(table->out, table->columns[i].name);
        wire_32(table->out, 0); /* of no table */
        wire_16(table->out, 0); /* and no column */
        wire_32(table->out, number ? OID_INT8 : OID_TEXT);
        wire_16(table->out, number ? 8 : UINT16_MAX); /* size: -1 is any */
        wire_32(table->out, UINT32_MAX);              /* no modifier */
        wire_16(table->out, is_binary(table, i));
    }
    wire_end(table->out, began);
}

void admin_row(struct admin_table *table)
{
    table->row = wire_begin(table->out, WIRE_B_DATA_ROW);
    wire_16(table->out, table->count);
    table->column = 0;
    table->rows++;
}

void admin_null(struct admin_table *table)
{
    assert(table->column < table->count);
    table->column++;
    wire_32(table->out, UINT32_MAX);
}

void admin_bytes(struct admin_table *table, const char *text, size_t size)
{
    assert(table->column < table->count && !table->columns[table->column].number);
    table->column++;
    wire_32(table->out, (uint32_t)size);
    buffer_add(table->out, text, size);
}

void admin_text(struct admin_table *table, const char *text)
{
    if (text)
        admin_bytes(table, text, strlen(text));
    else
        admin_null(table);
}

void admin_number(struct admin_table *table, int64_t number)
{
    char text[24];
    assert(table->column < table->count && table->columns[table->column].number);
    if (is_binary(table, table->column)) {
        wire_32(table->out, 8);
        wire_32(table->out, (uint32_t)((uint64_t)number >> 32));
        wire_32(table->out, (uint32_t)number);
    } else {
        int size = snprintf(text, sizeof text, "%" PRId64, number);
        wire_32(table->out, (uint32_t)size);
        buffer_add(table->out, text, (size_t)size);
    }
    table->column++;
}

void admin_row_end(struct admin_table *table)
{
    assert(table->column == table->count);
    wire_end(table->out, table->row);
}
