#include "cli/rows.h"

#include "base/memory.h"
#include "cli/output.h"

#include <stdlib.h>
#include <string.h>

enum {
    HELD_ROWS = 200,          /* that decide how wide the columns of a table are */
    HELD_BYTES = 1024 * 1024, /* at most */
};

struct rows {
    FILE *stream;
    enum rows_format format;
    bool tagged, open, whole;
    int columns;        /* with the tag */
    struct arena names; /* of the set: names, right, widths */
    const char **name;
    bool *right;
    size_t *width;
    unsigned *types;
    struct arena held; /* cells of the rows held back */
    const char **cell[HELD_ROWS];
    size_t held_rows;
    bool header_printed;
    uint64_t count;
};

struct rows *rows_new(FILE *stream, enum rows_format format, bool tagged)
{
    struct rows *rows = memory_zeroed(1, sizeof *rows);
    if (!rows)
        return NULL;
    rows->stream = stream;
    rows->format = format;
    rows->tagged = tagged || format == ROWS_JSON;
    rows->whole = true;
    return rows;
}

/* ---- the set -------------------------------------------------------------------------------------------- */

static bool has_same_columns(const struct rows *rows, const PGresult *result)
{
    int shift = rows->tagged;
    if (!rows->open || rows->columns != PQnfields(result) + shift)
        return false;
    for (int i = 0; i < PQnfields(result); i++)
        if (rows->types[i + shift] != PQftype(result, i) || strcmp(rows->name[i + shift], PQfname(result, i)) != 0)
            return false;
    return true;
}

static bool is_number(unsigned type)
{
    static const unsigned numbers[] = {20, 21, 23, 26, 700, 701, 1700}; /* src/include/catalog/pg_type.dat */
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (type == numbers[i])
            return true;
    return false;
}

/* JSON objects need names that differ: shard, id, id_2. */
static const char *unique_name(struct rows *rows, int column, const char *name)
{
    const char *wanted = name;
    for (int number = 2, i = 0; wanted && i < column; i++)
        if (!strcmp(rows->name[i], wanted)) {
            wanted = arena_format(&rows->names, "%s_%d", name, number++);
            i = -1;
        }
    return wanted;
}

static bool set_columns(struct rows *rows, const PGresult *result)
{
    size_t count = (size_t)rows->columns;
    rows->name = arena_zeroed(&rows->names, count + 1, sizeof *rows->name);
    rows->right = arena_zeroed(&rows->names, count + 1, sizeof *rows->right);
    rows->width = arena_zeroed(&rows->names, count + 1, sizeof *rows->width);
    rows->types = arena_zeroed(&rows->names, count + 1, sizeof *rows->types);
    if (!rows->name || !rows->right || !rows->width || !rows->types)
        return false;
    int shift = rows->tagged;
    rows->name[0] = "shard";
    for (int i = 0; i < PQnfields(result); i++) {
        const char *name = arena_string(&rows->names, PQfname(result, i));
        if (name && rows->format == ROWS_JSON)
            name = unique_name(rows, i + shift, name);
        if (!name)
            return false;
        rows->name[i + shift] = name;
        rows->types[i + shift] = PQftype(result, i);
        rows->right[i + shift] = is_number(PQftype(result, i));
    }
    return true;
}

static void print_csv(struct rows *rows, const char *text)
{
    if (text && *text && !strpbrk(text, "\",\r\n") && strcmp(text, "\\.") != 0) {
        fputs(text, rows->stream);
        return;
    }
    if (!text)
        return; /* NULL is nothing, an empty text is "" */
    fputc('"', rows->stream);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', rows->stream);
        fputc(*text, rows->stream);
    }
    fputc('"', rows->stream);
}

void rows_begin(struct rows *rows, const PGresult *result)
{
    if (has_same_columns(rows, result))
        return;
    rows_end(rows);
    rows->columns = PQnfields(result) + rows->tagged;
    if (!set_columns(rows, result)) {
        rows->whole = false;
        return;
    }
    rows->open = true;
    for (int i = 0; i < rows->columns && rows->format == ROWS_CSV; i++) {
        if (i)
            fputc(',', rows->stream);
        print_csv(rows, rows->name[i]);
    }
    if (rows->format == ROWS_CSV)
        fputc('\n', rows->stream);
}

/* ---- tables --------------------------------------------------------------------------------------------- */

/* In characters; a line end or a tab would break the table and is shown as a blank. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static void print_cell(struct rows *rows, int column, const char *text)
{
    size_t width = text_width(text);
    int blanks = width < rows->width[column] ? (int)(rows->width[column] - width) : 0;
    bool last = column + 1 == rows->columns;
    if (column)
        fputs("  ", rows->stream);
    if (rows->right[column])
        fprintf(rows->stream, "%*s", blanks, "");
    for (; *text; text++)
        fputc((unsigned char)*text < 0x20 || *text == 0x7F ? ' ' : *text, rows->stream);
    if (!rows->right[column] && !last)
        fprintf(rows->stream, "%*s", blanks, "");
}

static void print_row(struct rows *rows, const char **cells)
{
    for (int i = 0; i < rows->columns; i++)
        print_cell(rows, i, cells[i] ? cells[i] : "");
    fputc('\n', rows->stream);
}

static void release_held(struct rows *rows)
{
    if (!rows->header_printed) {
        for (int i = 0; i < rows->columns; i++) {
            rows->width[i] = text_width(rows->name[i]);
            for (size_t row = 0; row < rows->held_rows; row++) {
                size_t width = rows->cell[row][i] ? text_width(rows->cell[row][i]) : 0;
                rows->width[i] = width > rows->width[i] ? width : rows->width[i];
            }
        }
        fputs(output_colour(rows->stream, COLOUR_BOLD), rows->stream);
        for (int i = 0; i < rows->columns; i++)
            print_cell(rows, i, rows->name[i]);
        fprintf(rows->stream, "%s\n", output_colour(rows->stream, COLOUR_NONE));
        rows->header_printed = true;
    }
    for (size_t row = 0; row < rows->held_rows; row++)
        print_row(rows, rows->cell[row]);
    rows->held_rows = 0;
    arena_reset(&rows->held);
}

static const char *value_at(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

static void hold_row(struct rows *rows, const char *shard, const PGresult *result, int row)
{
    const char **cells = arena_zeroed(&rows->held, (size_t)rows->columns + 1, sizeof *cells);
    if (!cells) {
        rows->whole = false;
        return;
    }
    if (rows->tagged)
        cells[0] = shard;
    for (int i = rows->tagged; i < rows->columns; i++) {
        const char *value = value_at(result, row, i - rows->tagged);
        cells[i] = value ? arena_string(&rows->held, value) : NULL;
        rows->whole = rows->whole && (!value || cells[i]);
    }
    rows->cell[rows->held_rows++] = cells;
    if (rows->header_printed || rows->held_rows == HELD_ROWS || rows->held.total > HELD_BYTES)
        release_held(rows);
}

/* ---- rows ----------------------------------------------------------------------------------------------- */

static void add_csv(struct rows *rows, const char *shard, const PGresult *result, int row)
{
    if (rows->tagged)
        print_csv(rows, shard);
    for (int i = 0; i < PQnfields(result); i++) {
        if (i || rows->tagged)
            fputc(',', rows->stream);
        print_csv(rows, value_at(result, row, i));
    }
    fputc('\n', rows->stream);
}

static json_t *json_value(unsigned type, const char *value)
{
    if (!value)
        return json_null();
    if (type == 20 || type == 21 || type == 23 || type == 26)
        return json_integer(strtoll(value, NULL, 10));
    if (type == 16)
        return json_boolean(*value == 't');
    return json_string(value); /* numeric and float too: a number of JSON would lose digits */
}

static void add_json(struct rows *rows, const char *shard, const PGresult *result, int row)
{
    json_t *object = json_object();
    json_object_set_new(object, "shard", json_string(shard));
    for (int i = 0; i < PQnfields(result); i++)
        if (json_object_set_new(object, rows->name[i + 1], json_value(PQftype(result, i), value_at(result, row, i))) !=
            0)
            rows->whole = false;
    output_json_line(rows->stream, object);
}

void rows_add(struct rows *rows, const char *shard, const PGresult *result, int row)
{
    if (!rows->open)
        return;
    rows->count++;
    if (rows->format == ROWS_TABLE)
        hold_row(rows, shard, result, row);
    else if (rows->format == ROWS_CSV)
        add_csv(rows, shard, result, row);
    else
        add_json(rows, shard, result, row);
}

void rows_end(struct rows *rows)
{
    if (rows->open && rows->format == ROWS_TABLE) {
        release_held(rows);
        fprintf(rows->stream, "(%llu row%s)\n", (unsigned long long)rows->count, rows->count == 1 ? "" : "s");
    }
    rows->open = rows->header_printed = false;
    rows->count = 0;
    arena_free(&rows->names);
}

bool rows_are_whole(const struct rows *rows)
{
    return rows->whole;
}

void rows_free(struct rows *rows)
{
    if (!rows)
        return;
    arena_free(&rows->names);
    arena_free(&rows->held);
    memory_free(rows);
}
