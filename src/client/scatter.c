#include "client/scatter.h"

#include "client/compare.h"
#include "client/statement.h"

#include <string.h>

enum { ORDER_COLUMNS_MOST = 64 };

/* ---- the order of two rows -------------------------------------------------------------------------- */

static bool nulls_first(const mosaic_order *order)
{
    return order->nulls == MOSAIC_NULLS_FIRST || (order->nulls == MOSAIC_NULLS_DEFAULT && order->descending);
}

static struct field field_of(const PGresult *row, int column)
{
    return (struct field){.data = PQgetvalue(row, 0, column), .size = (size_t)PQgetlength(row, 0, column)};
}

static int compare_rows(struct scatter *scatter, const PGresult *one, const PGresult *two)
{
    for (size_t i = 0; i < scatter->asked.order_count; i++) {
        const mosaic_order *order = &scatter->asked.order[i];
        int column = order->column, found = 0;
        bool null_one = PQgetisnull(one, 0, column), null_two = PQgetisnull(two, 0, column);
        if (null_one || null_two) {
            if (null_one && null_two)
                continue;
            return null_one == nulls_first(order) ? -1 : 1;
        }
        if (!compare_fields(scatter->types[i], scatter->binary, field_of(one, column), field_of(two, column), &found)) {
            scatter->unreadable = true;
            return 0;
        }
        if (found)
            return order->descending ? (found > 0 ? -1 : 1) : found;
    }
    return 0;
}

static int compare_streams(void *context, uint32_t one, uint32_t two)
{
    struct scatter *scatter = context;
    return compare_rows(scatter, scatter->streams[one].row, scatter->streams[two].row);
}

/* ---- starting --------------------------------------------------------------------------------------- */

static mosaic_status check_order(const mosaic_scatter *asked, mosaic_error *error)
{
    if (asked->order_count && !asked->order)
        return error_set(error, MOSAIC_USAGE, "%zu columns of order but no order given", asked->order_count);
    if (asked->order_count > ORDER_COLUMNS_MOST)
        return error_set(error, MOSAIC_LIMIT, "rows are merged by %zu columns: at most %d", asked->order_count,
                         ORDER_COLUMNS_MOST);
    for (size_t i = 0; i < asked->order_count; i++)
        if (asked->order[i].column < 0)
            return error_set(error, MOSAIC_USAGE, "column %d of the order: columns count from 0",
                             asked->order[i].column);
    return MOSAIC_OK;
}

static bool allocate(struct scatter *scatter, struct arena *arena)
{
    size_t columns = scatter->asked.order_count;
    scatter->streams = arena_zeroed(arena, scatter->count, sizeof *scatter->streams);
    if (!columns)
        return scatter->streams;
    scatter->asked.order =
        (const mosaic_order *)arena_copy(arena, scatter->asked.order, columns * sizeof(mosaic_order));
    scatter->types = arena_zeroed(arena, columns, sizeof *scatter->types);
    scatter->heap.streams = arena_zeroed(arena, scatter->count, sizeof *scatter->heap.streams);
    return scatter->streams && scatter->asked.order && scatter->types && scatter->heap.streams;
}

mosaic_status scatter_init(struct scatter *scatter, struct arena *arena, const mosaic_scatter *asked,
                           const mosaic_statement *statement, size_t shards, mosaic_error *error)
{
    *scatter = (struct scatter){
        .count = shards,
        .awaited = shards,
        .columns = -1,
        .collations = statement_byte_collations(statement->sql),
        .binary = statement->result_format == 1,
        .heap = {.compare = compare_streams, .context = scatter},
    };
    if (asked)
        scatter->asked = *asked;
    mosaic_status status = check_order(&scatter->asked, error);
    if (status != MOSAIC_OK)
        return status;
    return allocate(scatter, arena) ? MOSAIC_OK : error_memory(error);
}

void scatter_free(struct scatter *scatter)
{
    for (size_t i = 0; scatter->streams && i < scatter->count; i++) {
        PQclear(scatter->streams[i].row);
        PQclear(scatter->streams[i].previous);
        scatter->streams[i].row = scatter->streams[i].previous = NULL;
    }
}

/* ---- the shape of the rows -------------------------------------------------------------------------- */

static mosaic_status not_merged(mosaic_error *error, const char *name)
{
    error_shard(error, name);
    if (error)
        error->status = MOSAIC_UNSUPPORTED;
    return MOSAIC_UNSUPPORTED;
}

static mosaic_status check_order_column(struct scatter *scatter, size_t i, const PGresult *result, const char *name,
                                        mosaic_error *error)
{
    int column = scatter->asked.order[i].column;
    if (column >= PQnfields(result))
        return error_set(error, MOSAIC_USAGE, "column %d of the order: the result has %d columns, counted from 0",
                         column, PQnfields(result));
    unsigned type = PQftype(result, column);
    if (!compare_knows(type)) {
        error_set(error, MOSAIC_UNSUPPORTED, "rows cannot be merged by column %d (%s), whose type has OID %u", column,
                  PQfname(result, column), type);
        error_hint(error,
                   "order by integers, numeric, float, bool, date, timestamp, uuid, bytea, or text COLLATE \"C\"");
        return not_merged(error, name);
    }
    if (scatter->types[i] && scatter->types[i] != type) {
        error_set(error, MOSAIC_UNSUPPORTED,
                  "column %d (%s) has another type than on the shards before (OID %u, not %u)", column,
                  PQfname(result, column), type, scatter->types[i]);
        error_hint(error, "make the tables equal on all shards; pgmosaic doctor shows what differs");
        return not_merged(error, name);
    }
    scatter->types[i] = type;
    return MOSAIC_OK;
}

static mosaic_status check_collations(const struct scatter *scatter, const char *name, mosaic_error *error)
{
    size_t collated = 0;
    for (size_t i = 0; i < scatter->asked.order_count; i++)
        collated += compare_is_collated(scatter->types[i]);
    if (collated <= scatter->collations)
        return MOSAIC_OK;
    error_set(error, MOSAIC_UNSUPPORTED,
              "rows are merged by text, but the statement does not say COLLATE \"C\" for it");
    error_hint(error, "write ORDER BY column COLLATE \"C\": the order of other collations is the server's alone");
    return not_merged(error, name);
}

/* Every result of every shard must have the same shape. */
static mosaic_status check_shape(struct scatter *scatter, struct stream *stream, const PGresult *result,
                                 mosaic_error *error)
{
    if (stream->shaped)
        return MOSAIC_OK;
    stream->shaped = true;
    int columns = PQnfields(result);
    if (scatter->columns >= 0 && scatter->columns != columns) {
        error_set(error, MOSAIC_UNSUPPORTED, "the rows have %d columns, on the shards before %d", columns,
                  scatter->columns);
        error_hint(error, "name the columns in the statement, or make the tables equal on all shards");
        return not_merged(error, stream->name);
    }
    scatter->columns = columns;
    for (size_t i = 0; i < scatter->asked.order_count; i++) {
        mosaic_status status = check_order_column(scatter, i, result, stream->name, error);
        if (status != MOSAIC_OK)
            return status;
    }
    return scatter->asked.order_count ? check_collations(scatter, stream->name, error) : MOSAIC_OK;
}

/* ---- rows ------------------------------------------------------------------------------------------- */

static mosaic_status hand_out(struct scatter *scatter, const struct stream *stream, const PGresult *row)
{
    scatter->handed_out++;
    bool stop = scatter->asked.row && scatter->asked.row(scatter->asked.context, stream->shard, row, 0);
    return stop || scatter_is_full(scatter) ? MOSAIC_STOPPED : MOSAIC_OK;
}

static mosaic_status unreadable(const char *name, mosaic_error *error)
{
    error_set(error, MOSAIC_UNSUPPORTED, "a value of the columns that rows are merged by could not be read");
    error_hint(error, "leave DateStyle at ISO and bytea_output at hex, or ask for binary results");
    return not_merged(error, name);
}

static mosaic_status check_previous(struct scatter *scatter, const struct stream *stream, mosaic_error *error)
{
    bool before = stream->previous && compare_rows(scatter, stream->row, stream->previous) < 0;
    if (scatter->unreadable)
        return unreadable(stream->name, error);
    if (!before)
        return MOSAIC_OK;
    error_set(error, MOSAIC_UNSUPPORTED, "the rows of shard %s do not come in the order that they are merged by",
              stream->name);
    error_hint(error, "let the ORDER BY of the statement say the same columns, directions, NULLS FIRST or LAST, and "
                      "COLLATE \"C\" for text");
    return not_merged(error, stream->name);
}

/* While every stream that has not ended has a row at hand, the least one goes out. */
static mosaic_status merge_rows(struct scatter *scatter, mosaic_error *error)
{
    while (!scatter->awaited && scatter->heap.count) {
        struct stream *stream = &scatter->streams[heap_take(&scatter->heap)];
        if (scatter->unreadable)
            return unreadable(stream->name, error);
        PQclear(stream->previous);
        stream->previous = stream->row;
        stream->row = NULL;
        if (!stream->ended)
            scatter->awaited++;
        mosaic_status status = hand_out(scatter, stream, stream->previous);
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}

mosaic_status scatter_row(struct scatter *scatter, size_t number, PGresult *row, mosaic_error *error)
{
    struct stream *stream = &scatter->streams[number];
    mosaic_status status = check_shape(scatter, stream, row, error);
    if (status != MOSAIC_OK || !scatter->asked.order_count) {
        if (status == MOSAIC_OK)
            status = hand_out(scatter, stream, row);
        PQclear(row);
        return status;
    }
    stream->row = row;
    status = check_previous(scatter, stream, error);
    if (status != MOSAIC_OK)
        return status;
    heap_push(&scatter->heap, (uint32_t)number);
    scatter->awaited--;
    return merge_rows(scatter, error);
}

mosaic_status scatter_end(struct scatter *scatter, size_t number, const PGresult *last, mosaic_error *error)
{
    struct stream *stream = &scatter->streams[number];
    mosaic_status status = MOSAIC_OK;
    if (PQresultStatus(last) == PGRES_TUPLES_OK)
        status = check_shape(scatter, stream, last, error);
    else if (scatter->asked.order_count) {
        error_set(error, MOSAIC_USAGE, "an order was asked for, but the statement gives no rows");
        status = MOSAIC_USAGE;
    }
    if (status != MOSAIC_OK)
        return status;
    stream->ended = true;
    scatter->awaited--;
    if (scatter->asked.end)
        scatter->asked.end(scatter->asked.context, stream->shard, last);
    return scatter->asked.order_count ? merge_rows(scatter, error) : MOSAIC_OK;
}
