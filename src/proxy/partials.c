#define _GNU_SOURCE
#include "proxy/partials.h"

#include "base/memory.h"
#include "proxy/temporary.h"
#include "wire/wire.h"

#include <unistd.h>

enum {
    COLUMN_MOST = 512 << 20, /* bytes of an array: PostgreSQL's own limit for a value is 1 GB */
    TOTAL_MOST = 900 << 20,  /* of all: a message is less than 1 GB */
    PIECE = 1 << 16,
    ARRAY_HEADER = 20, /* dimensions, flags, element's type, length, lower bound */
    EMPTY_HEADER = 12,
};

enum {
    INT8 = 20,
    INT2 = 21,
    INT4 = 23,
    FLOAT8 = 701,
    NUMERIC = 1700,
};

struct extent { /* of the file */
    off_t at;
    size_t size;
};

struct column {
    uint32_t type, modifier;
    bool has_null;
    size_t size; /* of its elements, in file and memory */
    struct buffer kept;
    struct extent *extents;
    size_t extent_count, extent_capacity;
};

struct partials {
    size_t most, kept, total; /* bytes: in memory; in all */
    uint32_t rows;
    int file; /* -1: none */
    off_t file_size;
    /* Of partials_write: where it is. */
    size_t column, extent, done;
    bool has_header;
    size_t column_count;
    struct column columns[];
};

struct partials *partials_new(size_t columns, size_t most)
{
    struct partials *made = memory_zeroed(1, sizeof *made + columns * sizeof(struct column));
    if (!made)
        return NULL;
    made->column_count = columns;
    made->most = most;
    made->file = -1;
    for (size_t i = 0; i < columns; i++)
        made->columns[i].kept = BUFFER_INIT(COLUMN_MOST);
    return made;
}

void partials_free(struct partials *partials)
{
    if (!partials)
        return;
    for (size_t i = 0; i < partials->column_count; i++) {
        buffer_free(&partials->columns[i].kept);
        memory_free(partials->columns[i].extents);
    }
    if (partials->file >= 0)
        close(partials->file);
    memory_free(partials);
}

uint32_t partials_type(const struct partials *partials, size_t column)
{
    return partials->columns[column].type;
}

uint32_t partials_modifier(const struct partials *partials, size_t column)
{
    return partials->columns[column].modifier;
}

/* ---- types ---- */

/* May arrays have it as an element, in binary, which unnest then gives back as it was? */
static bool is_element(const struct schema *schema, const struct schema_type *type)
{
    if (!type || !type->array || type->category == 'A' || type->text_alone)
        return false;
    if (type->kind != 'r')
        return type->kind == 'b' || type->kind == 'e';
    const struct schema_type *within = schema_type_by_oid(schema, schema_base_type(schema, type->within, NULL));
    return within && !within->text_alone;
}

static bool is_wanted(const struct schema_type *type, enum fact_partial want)
{
    switch (want) {
    case PARTIAL_NUMBER:
        return type->oid == INT2 || type->oid == INT4 || type->oid == INT8 || type->oid == NUMERIC ||
               type->oid == FLOAT8;
    case PARTIAL_UNCOLLATED:
        return type->category != 'S' && type->kind != 'r';
    default:
        return true;
    }
}

mosaic_status partials_describe(struct partials *partials, const char *body, size_t size, const struct schema *schema,
                                const enum fact_partial *wants, mosaic_error *error)
{
    struct wire_reader reader = {body, body + size, false};
    if (wire_read16(&reader) != partials->column_count)
        return error_set(error, MOSAIC_DATA, "a shard's answer has another number of columns");
    for (size_t i = 0; i < partials->column_count; i++) {
        const char *name, *field = wire_next_column(&reader, &name);
        if (!field)
            return error_set(error, MOSAIC_DATA, "a malformed RowDescription");
        const struct schema_type *type = schema_type_by_oid(schema, wire_get32(field + WIRE_COLUMN_TYPE));
        if (!is_element(schema, type) || !is_wanted(type, wants[i]))
            return MOSAIC_UNSUPPORTED;
        partials->columns[i].type = type->oid;
        partials->columns[i].modifier = wire_get32(field + WIRE_COLUMN_MODIFIER);
    }
    return MOSAIC_OK;
}

/* ---- rows ---- */

static bool add_extent(struct column *column, off_t at, size_t size)
{
    if (column->extent_count == column->extent_capacity) {
        size_t capacity = column->extent_capacity ? column->extent_capacity * 2 : 8;
        struct extent *extents = memory_resize(column->extents, capacity * sizeof *extents);
        if (!extents)
            return false;
        column->extents = extents;
        column->extent_capacity = capacity;
    }
    column->extents[column->extent_count++] = (struct extent){at, size};
    return true;
}

/* What is kept in memory goes to the file. */
static mosaic_status spill(struct partials *partials, mosaic_error *error)
{
    if (partials->file < 0 && temporary_open(&partials->file, error) != MOSAIC_OK)
        return error->status;
    for (size_t i = 0; i < partials->column_count; i++) {
        struct column *column = &partials->columns[i];
        if (!column->kept.size)
            continue;
        if (!add_extent(column, partials->file_size, column->kept.size))
            return error_memory(error);
        mosaic_status status =
            temporary_write(partials->file, &partials->file_size, column->kept.data, column->kept.size, error);
        if (status != MOSAIC_OK)
            return status;
        buffer_clear(&column->kept);
    }
    partials->kept = 0;
    return MOSAIC_OK;
}

mosaic_status partials_add(struct partials *partials, const char *row, size_t size, mosaic_error *error)
{
    struct wire_reader reader = {row, row + size, false};
    bool fails = wire_read16(&reader) != partials->column_count;
    for (size_t i = 0; i < partials->column_count && !fails; i++) {
        struct column *column = &partials->columns[i];
        const char *field = reader.at;
        uint32_t length = wire_read32(&reader);
        bool is_null = length == UINT32_MAX;
        if (!is_null)
            (void)wire_read_bytes(&reader, length);
        fails = reader.failed;
        if (fails)
            break;
        size_t added = (size_t)(reader.at - field);
        column->has_null |= is_null;
        column->size += added;
        partials->kept += added;
        partials->total += added;
        if (column->size > COLUMN_MOST || partials->total > TOTAL_MOST)
            return MOSAIC_LIMIT;
        buffer_add(&column->kept, field, added);
        if (buffer_failed(&column->kept))
            return error_memory(error);
    }
    if (fails)
        return error_set(error, MOSAIC_DATA, "a malformed row");
    partials->rows++;
    return partials->kept > partials->most ? spill(partials, error) : MOSAIC_OK;
}

/* ---- arrays ---- */

size_t partials_finish(struct partials *partials)
{
    size_t size = 0;
    for (size_t i = 0; i < partials->column_count; i++)
        size += 4 + (partials->rows ? ARRAY_HEADER : EMPTY_HEADER) + partials->columns[i].size;
    return size;
}

/* array_recv of src/backend/utils/adt/arrayfuncs.c. */
static void write_header(const struct partials *partials, const struct column *column, uint32_t type,
                         struct buffer *out)
{
    bool any = partials->rows > 0;
    wire_32(out, (uint32_t)((any ? ARRAY_HEADER : EMPTY_HEADER) + column->size));
    wire_32(out, any);
    wire_32(out, column->has_null);
    wire_32(out, type);
    if (!any)
        return;
    wire_32(out, partials->rows);
    wire_32(out, 1);
}

/* A piece of an extent. */
static mosaic_status read_piece(struct partials *partials, const struct extent *extent, struct buffer *out,
                                mosaic_error *error)
{
    size_t left = extent->size - partials->done, size = left < PIECE ? left : PIECE;
    char *to = buffer_reserve(out, size);
    if (!to)
        return error_memory(error);
    size_t got;
    mosaic_status status = temporary_read(partials->file, extent->at + (off_t)partials->done, to, size, &got, error);
    if (status != MOSAIC_OK)
        return status;
    buffer_added(out, got);
    partials->done += got;
    if (partials->done == extent->size) {
        partials->extent++;
        partials->done = 0;
    }
    return MOSAIC_OK;
}

static void write_kept(struct partials *partials, const struct column *column, struct buffer *out)
{
    size_t left = column->kept.size - partials->done, size = left < PIECE ? left : PIECE;
    if (size)
        buffer_add(out, column->kept.data + partials->done, size);
    partials->done += size;
    if (partials->done < column->kept.size)
        return;
    partials->column++;
    partials->extent = partials->done = 0;
    partials->has_header = false;
}

mosaic_status partials_write(struct partials *partials, const uint32_t *types, struct buffer *out, bool *more,
                             mosaic_error *error)
{
    size_t before = out->size;
    while (partials->column < partials->column_count && out->size - before < PIECE) {
        struct column *column = &partials->columns[partials->column];
        if (!partials->has_header) {
            write_header(partials, column, types[partials->column], out);
            partials->has_header = true;
        }
        if (partials->extent == column->extent_count) {
            write_kept(partials, column, out);
        } else {
            mosaic_status status = read_piece(partials, &column->extents[partials->extent], out, error);
            if (status != MOSAIC_OK)
                return status;
        }
    }
    *more = partials->column < partials->column_count;
    return buffer_failed(out) ? error_memory(error) : MOSAIC_OK;
}
