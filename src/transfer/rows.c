/*
 * Rows: from each source node COPY binary, into the target by mosaic_load_table, all nodes at once. Each load is all or
 * nothing by itself; that the copy as a whole is, the marker sees to.
 */
#include "catalog/parallel.h"
#include "transfer/transfer.h"

#include <pthread.h>
#include <string.h>

enum { SQL_MOST = 256 * 1024 };

struct copying {
    struct transfer *transfer;
    struct transfer_table *table;
    mosaic_cluster *target;
    const char **columns;
    size_t column_count;
    struct reader *readers;
    pthread_mutex_t mutex; /* of the caller's progress */
};

/* What one node has sent and the load has not taken yet. */
struct reader {
    struct copying *copying;
    const struct transfer_source *source;
    char *piece; /* PQfreemem */
    size_t size, taken;
    bool ended;
    mosaic_progress done;
    mosaic_status status;
    mosaic_error error, read_error;
};

/* The next piece of the COPY; false at its end, or when it failed: then read_error says why. */
static bool next_piece(struct reader *reader)
{
    PGconn *connection = reader->source->connection;
    int64_t deadline = pq_deadline(reader->copying->transfer->options.timeout_ms);
    PQfreemem(reader->piece);
    reader->piece = NULL;
    int got;
    while ((got = PQgetCopyData(connection, &reader->piece, 1)) == 0) {
        if (pq_wait(connection, false, deadline, "reading rows", &reader->read_error) != MOSAIC_OK)
            return false;
        if (!PQconsumeInput(connection))
            break;
    }
    reader->size = got > 0 ? (size_t)got : 0;
    reader->taken = 0;
    if (got > 0)
        return true;
    if (got == -1) {
        PGresult *result = NULL, *last = NULL;
        mosaic_status status;
        while ((status = pq_next_result(connection, reader->source->name, deadline, &result, &reader->read_error)) ==
                   MOSAIC_OK &&
               result) {
            PQclear(last);
            last = result;
        }
        reader->ended = status == MOSAIC_OK && PQresultStatus(last) == PGRES_COMMAND_OK;
        if (status == MOSAIC_OK && !reader->ended)
            (void)pq_result_error(connection, last, reader->source->name, &reader->read_error);
        PQclear(last);
        return false;
    }
    (void)pq_result_error(connection, NULL, reader->source->name, &reader->read_error);
    return false;
}

static ptrdiff_t read_rows(void *context, void *buffer, size_t size)
{
    struct reader *reader = context;
    char *out = buffer;
    size_t used = 0;
    while (used < size && !reader->ended) {
        if (reader->taken == reader->size && !next_piece(reader))
            break;
        size_t some = reader->size - reader->taken < size - used ? reader->size - reader->taken : size - used;
        memcpy(out + used, reader->piece + reader->taken, some);
        reader->taken += some;
        used += some;
    }
    return used || reader->ended ? (ptrdiff_t)used : -1;
}

static void show_progress(void *context, const mosaic_progress *progress)
{
    struct reader *reader = context;
    struct copying *copying = reader->copying;
    const struct transfer_options *options = &copying->transfer->options;
    uint64_t rows = 0, bytes = 0;
    pthread_mutex_lock(&copying->mutex);
    reader->done = *progress;
    for (size_t i = 0; i < copying->transfer->source_count; i++) {
        rows += copying->readers[i].done.rows;
        bytes += copying->readers[i].done.bytes;
    }
    if (options->progress)
        options->progress(options->context, copying->table->table->display, rows, bytes, false);
    pthread_mutex_unlock(&copying->mutex);
}

static mosaic_status begin_copy(struct reader *reader)
{
    const struct transfer_table *table = reader->copying->table;
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    PGresult *result = NULL;
    buffer_text(&sql, "COPY (SELECT ");
    facts_add_columns(&sql, table->facts);
    buffer_text(&sql, " FROM ");
    transfer_add_name(&sql, table->table);
    buffer_text(&sql, ") TO STDOUT (FORMAT binary)");
    mosaic_status status =
        buffer_failed(&sql)
            ? error_memory(&reader->error)
            : pq_exec(reader->source->connection, reader->source->name, buffer_string(&sql),
                      pq_deadline(reader->copying->transfer->options.timeout_ms), &result, &reader->error);
    PQclear(result);
    buffer_free(&sql);
    return status;
}

static void copy_node(void *context, size_t at)
{
    struct copying *copying = context;
    struct reader *reader = &copying->readers[at];
    const mosaic_load load = {
        .read = read_rows,
        .context = reader,
        .format = MOSAIC_BINARY,
        .columns = copying->columns,
        .column_count = copying->column_count,
        .row_limit = 1024 * 1024 * 1024,
        .source = reader->source->name,
        .timeout_ms = copying->transfer->options.timeout_ms,
        .progress = show_progress,
        .callback_context = reader,
        .interrupted = copying->transfer->options.interrupted,
    };
    mosaic_progress done = {0};
    reader->status = begin_copy(reader);
    if (reader->status == MOSAIC_OK)
        reader->status =
            mosaic_load_table(copying->target, copying->table->table->display, &load, &done, &reader->error);
    /* The load only knows that reading failed. */
    if (reader->status != MOSAIC_OK && reader->read_error.status != MOSAIC_OK) {
        reader->error = reader->read_error;
        reader->status = reader->read_error.status;
    }
    reader->done = done;
    PQfreemem(reader->piece);
}

static mosaic_status name_columns(struct copying *copying, struct arena *arena, mosaic_error *error)
{
    const struct table_facts *facts = copying->table->facts;
    copying->columns = arena_zeroed(arena, facts->column_count + 1, sizeof *copying->columns);
    if (!copying->columns)
        return error_memory(error);
    for (size_t i = 0; i < facts->column_count; i++)
        if (!facts->columns[i].generated)
            copying->columns[copying->column_count++] = facts->columns[i].name;
    return MOSAIC_OK;
}

static mosaic_status copy_table(struct transfer *transfer, struct transfer_table *table, mosaic_cluster *target,
                                mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    size_t count = table->everywhere ? 1 : transfer->source_count;
    struct copying copying = {.transfer = transfer, .table = table, .target = target};
    mosaic_status status = name_columns(&copying, &arena, error);
    copying.readers = arena_zeroed(&arena, transfer->source_count, sizeof *copying.readers);
    if (status == MOSAIC_OK && !copying.readers)
        status = error_memory(error);
    if (status == MOSAIC_OK) {
        pthread_mutex_init(&copying.mutex, NULL);
        for (size_t i = 0; i < transfer->source_count; i++)
            copying.readers[i] = (struct reader){.copying = &copying, .source = &transfer->sources[i]};
        /* Of a reference table one load waits for the other (core/turn.h), longer perhaps than it may. */
        bool in_turn = table->table->kind == TABLE_REFERENCE;
        for (size_t i = 0; i < count && in_turn; i++)
            copy_node(&copying, i);
        if (!in_turn)
            parallel_run(count, copy_node, &copying);
        pthread_mutex_destroy(&copying.mutex);
    }
    uint64_t bytes = 0;
    for (size_t i = 0; status == MOSAIC_OK && i < count; i++) {
        table->rows += copying.readers[i].done.rows;
        bytes += copying.readers[i].done.bytes;
        status = copying.readers[i].status;
        if (status != MOSAIC_OK && error) {
            *error = copying.readers[i].error;
            error_prefix(error, "table %s", table->table->display);
        }
    }
    if (status == MOSAIC_OK && transfer->options.progress)
        transfer->options.progress(transfer->options.context, table->table->display, table->rows, bytes, true);
    arena_free(&arena);
    return status;
}

mosaic_status rows_copy(struct transfer *transfer, mosaic_error *error)
{
    mosaic_cluster *target = NULL;
    mosaic_status status = mosaic_open(transfer->to_path, NULL, &target, error);
    for (size_t i = 0; i < transfer->table_count && status == MOSAIC_OK; i++)
        status = copy_table(transfer, &transfer->tables[i], target, error);
    mosaic_close(target);
    return status;
}
