/*
 * pgmosaic export: the rows of all shards as one file.
 *
 *     COPY (SELECT …) TO STDOUT on every shard at once ──> whole rows, as they arrive ──> one header, one file
 *
 * The server sends a row in each CopyData message (src/backend/commands/copyto.c), so rows of several shards can be
 * mixed without being looked at. Each shard has a snapshot of its own. Memory: what libpq has read and not handed out,
 * and one buffer of the output.
 */
#include "base/buffer.h"
#include "base/control_point.h"
#include "citus/metadata.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/copy_options.h"
#include "cli/output.h"
#include "copy/binary.h"
#include "core/sqlexpr.h"
#include "engine/engine.h"
#include "pq/pq.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CONNECT_MS = 10000,
    DEFAULT_SECONDS = 30,
    CITUS_SECONDS = 600, /* the coordinator sends the first row when it has them all */
    SQL_MOST = 512 * 1024,
    OUTPUT_BUFFER = 256 * 1024,
    ROWS_A_TURN = 1000, /* of one shard before another has its turn */
    WAIT_SLICE_MS = 200,
    BINARY_HEADER = 19
};

static const struct option_spec export_options[] = {
    COPY_OPTIONS,
    {"no-header", 0, NULL, "csv: no names of the columns in the first row", NULL},
    {"with-shard", 0, NULL, "the name of the shard (of Citus: its number) as the first column", NULL},
    {"timeout", 0, "SECONDS", "give up when no shard sends anything for so long (30; Citus: 600)", NULL},
    {NULL},
};

struct source {
    PGconn *connection;
    const char *name;
    struct buffer prefix; /* of each row, with --with-shard */
    bool begun, ended;
    uint64_t rows;
};

struct exporting {
    const struct invocation *invocation;
    struct arena arena;
    struct model model;
    bool has_model;
    const struct table *table;
    struct copy_format format;
    const char **columns;
    size_t column_count;
    bool with_shard;
    bool shard_is_selected; /* on Citus, where the shard of a row is not the server it comes from */
    struct source *sources;
    struct pollfd *ready;
    size_t count;
    FILE *file;
    const char *path; /* NULL: standard output */
    bool remove;      /* a file of ours that is not whole */
    int timeout_ms;
    uint64_t rows, bytes;
    struct output_progress progress;
    bool shows_progress;
    mosaic_error *error;
};

/* ---- writing ------------------------------------------------------------------------------------------ */

static void put(struct exporting *exporting, const void *bytes, size_t size)
{
    exporting->bytes += fwrite(bytes, 1, size, exporting->file);
}

static mosaic_status check_output(const struct exporting *exporting)
{
    if (!ferror(exporting->file))
        return MOSAIC_OK;
    return error_errno(exporting->error, "cannot write %s", exporting->path ? exporting->path : "standard output");
}

/* A value as COPY TO writes it in this format. */
static void add_value(const struct copy_format *format, struct buffer *out, const char *value)
{
    bool quoted = format->kind == MOSAIC_CSV &&
                  (strcmp(value, format->null_text) == 0 || strpbrk(value, "\r\n") ||
                   strchr(value, format->delimiter) || strchr(value, format->quote) || strcmp(value, "\\.") == 0);
    if (quoted)
        buffer_char(out, format->quote);
    for (const char *c = value; *c; c++) {
        if (quoted && (*c == format->quote || *c == format->escape))
            buffer_char(out, format->escape);
        if (format->kind == MOSAIC_TEXT && (*c == '\\' || *c == format->delimiter))
            buffer_char(out, '\\');
        buffer_char(out, *c);
    }
    if (quoted)
        buffer_char(out, format->quote);
}

static void add_number(struct buffer *out, uint32_t number, int bytes)
{
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
        buffer_char(out, (char)(number >> shift & 0xFF));
}

static mosaic_status put_header(struct exporting *exporting)
{
    if (exporting->format.kind == MOSAIC_BINARY)
        put(exporting, binary_header, BINARY_HEADER);
    if (exporting->format.kind != MOSAIC_CSV || invocation_has(exporting->invocation, "no-header"))
        return MOSAIC_OK;
    struct buffer header = BUFFER_INIT(SQL_MOST);
    if (exporting->with_shard)
        add_value(&exporting->format, &header, "shard");
    for (size_t i = 0; i < exporting->column_count; i++) {
        if (i > 0 || exporting->with_shard)
            buffer_char(&header, exporting->format.delimiter);
        add_value(&exporting->format, &header, exporting->columns[i]);
    }
    buffer_char(&header, '\n');
    bool failed = buffer_failed(&header);
    if (!failed)
        put(exporting, buffer_string(&header), header.size);
    buffer_free(&header);
    return failed ? error_memory(exporting->error) : MOSAIC_OK;
}

/* What stands before each row of a shard. In binary the row's own number of fields is replaced (put_row). */
static mosaic_status make_prefix(struct exporting *exporting, struct source *source)
{
    source->prefix = BUFFER_INIT(SQL_MOST);
    if (!exporting->with_shard || exporting->shard_is_selected)
        return MOSAIC_OK;
    if (exporting->format.kind == MOSAIC_BINARY) {
        add_number(&source->prefix, (uint32_t)exporting->column_count + 1, 2);
        add_number(&source->prefix, (uint32_t)strlen(source->name), 4);
        buffer_text(&source->prefix, source->name);
    } else {
        add_value(&exporting->format, &source->prefix, source->name);
        buffer_char(&source->prefix, exporting->format.delimiter);
    }
    return buffer_failed(&source->prefix) ? error_memory(exporting->error) : MOSAIC_OK;
}

static void put_row(struct exporting *exporting, struct source *source, const char *row, size_t size)
{
    if (exporting->format.kind == MOSAIC_BINARY) {
        if (!source->begun && size >= BINARY_HEADER) { /* the file header comes with the first row */
            row += BINARY_HEADER;
            size -= BINARY_HEADER;
        }
        source->begun = true;
        if (size < 2 || memcmp(row, binary_trailer, 2) == 0)
            return;
    }
    put(exporting, buffer_string(&source->prefix), source->prefix.size);
    size_t replaced = exporting->format.kind == MOSAIC_BINARY && source->prefix.size ? 2 : 0;
    put(exporting, row + replaced, size - replaced);
    source->rows++;
    exporting->rows++;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

/* The COPY has sent its last row: did it end well? */
static mosaic_status end_source(struct exporting *exporting, struct source *source)
{
    source->ended = true;
    return pq_finish_statement(source->connection, source->name, pq_deadline(exporting->timeout_ms), NULL,
                               exporting->error);
}

static mosaic_status take_rows(struct exporting *exporting, struct source *source, bool *more)
{
    char *row;
    for (int i = 0; i < ROWS_A_TURN; i++) {
        int size = PQgetCopyData(source->connection, &row, 1);
        if (size == 0)
            return MOSAIC_OK;
        if (size < 0)
            return end_source(exporting, source);
        put_row(exporting, source, row, (size_t)size);
        PQfreemem(row);
    }
    *more = true;
    return MOSAIC_OK;
}

static mosaic_status stalled(const struct exporting *exporting)
{
    const struct source *slow = NULL;
    for (size_t i = 0; i < exporting->count && !slow; i++)
        slow = exporting->sources[i].ended ? NULL : &exporting->sources[i];
    error_set(exporting->error, MOSAIC_TIMEOUT, "shard %s has sent nothing for %d seconds", slow ? slow->name : "?",
              exporting->timeout_ms / 1000);
    error_hint(exporting->error, "allow more time with --timeout, or see what it waits for in pg_stat_activity");
    return error_shard(exporting->error, slow ? slow->name : "");
}

/* Waits until a shard has sent something, and reads it. *open: shards that are not through. */
static mosaic_status wait_for_shards(struct exporting *exporting, int64_t deadline, bool *arrived)
{
    mosaic_status status = pq_interrupted("exporting", exporting->error);
    int left = pq_left_ms(deadline);
    for (size_t i = 0; i < exporting->count; i++) {
        struct source *source = &exporting->sources[i];
        exporting->ready[i] =
            (struct pollfd){.fd = source->ended ? -1 : PQsocket(source->connection), .events = POLLIN};
    }
    if (status != MOSAIC_OK)
        return status;
    int count = poll(exporting->ready, exporting->count, left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS);
    *arrived = count > 0;
    for (size_t i = 0; i < exporting->count && count > 0; i++)
        if (exporting->ready[i].revents && !PQconsumeInput(exporting->sources[i].connection))
            return pq_result_error(exporting->sources[i].connection, NULL, exporting->sources[i].name,
                                   exporting->error);
    return count == 0 && left == 0 ? stalled(exporting) : MOSAIC_OK;
}

static mosaic_status copy_rows(struct exporting *exporting)
{
    int64_t deadline = pq_deadline(exporting->timeout_ms);
    mosaic_status status = MOSAIC_OK;
    for (;;) {
        bool more = false, open = false, arrived = false;
        for (size_t i = 0; i < exporting->count && status == MOSAIC_OK; i++) {
            if (!exporting->sources[i].ended)
                status = take_rows(exporting, &exporting->sources[i], &more);
            open = open || !exporting->sources[i].ended;
        }
        control_point("export.rows");
        if (status == MOSAIC_OK)
            status = check_output(exporting);
        if (status != MOSAIC_OK || !open)
            return status;
        if (exporting->shows_progress)
            output_progress_update(&exporting->progress, exporting->rows, exporting->bytes);
        if (!more)
            status = wait_for_shards(exporting, deadline, &arrived);
        else
            status = pq_interrupted("exporting", exporting->error);
        if (status != MOSAIC_OK)
            return status;
        if (more || arrived)
            deadline = pq_deadline(exporting->timeout_ms);
    }
}

/* ---- starting ----------------------------------------------------------------------------------------- */

static void add_table(const struct exporting *exporting, struct buffer *sql)
{
    sql_qualified(sql, exporting->table->schema, exporting->table->name);
}

/* All columns of the table, or those that were named, which must be there. */
static mosaic_status choose_columns(struct exporting *exporting)
{
    const struct source *first = &exporting->sources[0];
    struct buffer name = BUFFER_INIT(1024);
    PGresult *found = NULL;
    add_table(exporting, &name);
    const char *values[] = {buffer_string(&name)};
    mosaic_status status = pq_exec_params(first->connection, first->name,
                                          "SELECT attname FROM pg_catalog.pg_attribute"
                                          " WHERE attrelid = pg_catalog.to_regclass($1) AND attnum > 0"
                                          " AND NOT attisdropped ORDER BY attnum",
                                          1, values, pq_deadline(exporting->timeout_ms), &found, exporting->error);
    buffer_free(&name);
    if (status == MOSAIC_OK)
        status = copy_options_columns(exporting->invocation, &exporting->arena, &exporting->columns,
                                      &exporting->column_count, exporting->error);
    if (status == MOSAIC_OK && PQntuples(found) == 0) {
        error_set(exporting->error, MOSAIC_NOT_FOUND, "shard %s has no table %s", first->name,
                  exporting->table->display);
        status = error_shard(exporting->error, first->name);
    }
    for (size_t i = 0; status == MOSAIC_OK && i < exporting->column_count; i++) {
        int at = 0;
        while (at < PQntuples(found) && strcmp(PQgetvalue(found, at, 0), exporting->columns[i]) != 0)
            at++;
        if (at == PQntuples(found))
            status = error_set(exporting->error, MOSAIC_NOT_FOUND, "table %s has no column \"%s\"",
                               exporting->table->display, exporting->columns[i]);
    }
    if (status == MOSAIC_OK && !exporting->columns) {
        exporting->column_count = (size_t)PQntuples(found);
        exporting->columns = arena_zeroed(&exporting->arena, exporting->column_count, sizeof *exporting->columns);
        for (size_t i = 0; exporting->columns && i < exporting->column_count; i++)
            exporting->columns[i] = arena_string(&exporting->arena, PQgetvalue(found, (int)i, 0));
        if (!exporting->columns || !exporting->columns[exporting->column_count - 1])
            status = error_memory(exporting->error);
    }
    PQclear(found);
    return status;
}

static mosaic_status start_copy(struct exporting *exporting, const char *sql)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < exporting->count && status == MOSAIC_OK; i++) {
        struct source *source = &exporting->sources[i];
        if (PQsetnonblocking(source->connection, 1) != 0 || !PQsendQuery(source->connection, sql))
            status = pq_result_error(source->connection, NULL, source->name, exporting->error);
    }
    for (size_t i = 0; i < exporting->count && status == MOSAIC_OK; i++) {
        struct source *source = &exporting->sources[i];
        PGresult *result = NULL;
        status = pq_next_result(source->connection, source->name, pq_deadline(exporting->timeout_ms), &result,
                                exporting->error);
        if (status == MOSAIC_OK && (!result || PQresultStatus(result) != PGRES_COPY_OUT))
            status = pq_result_error(source->connection, result, source->name, exporting->error);
        PQclear(result);
        if (status == MOSAIC_OK)
            status = make_prefix(exporting, source);
    }
    return status;
}

/* Citus's number of the row's shard, found by each worker for its own rows. */
static void add_shard_column(const struct exporting *exporting, struct buffer *sql)
{
    buffer_text(sql, "pg_catalog.get_shard_id_for_distribution_column(");
    citus_add_relation(sql, exporting->table);
    buffer_text(sql, "::pg_catalog.regclass, ");
    sql_identifier(sql, exporting->table->columns[0]);
    buffer_text(sql, ")::pg_catalog.text, ");
}

static mosaic_status start_sources(struct exporting *exporting)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_text(&sql, "COPY (SELECT ");
    if (exporting->shard_is_selected)
        add_shard_column(exporting, &sql);
    for (size_t i = 0; i < exporting->column_count; i++) {
        buffer_text(&sql, i ? ", " : "");
        sql_identifier(&sql, exporting->columns[i]);
    }
    buffer_text(&sql, " FROM ");
    add_table(exporting, &sql);
    buffer_text(&sql, ") TO STDOUT ");
    copy_format_sql(&exporting->format, &sql);
    mosaic_status status =
        buffer_failed(&sql) ? error_memory(exporting->error) : start_copy(exporting, buffer_string(&sql));
    buffer_free(&sql);
    return status;
}

static mosaic_status find_table(struct exporting *exporting, PGconn *first)
{
    const char *name = exporting->invocation->arguments[0];
    mosaic_status status =
        engine_of(exporting->model.engine)
            ->complete(&exporting->model, first, pq_deadline(exporting->timeout_ms), exporting->error);
    if (status != MOSAIC_OK)
        return status;
    exporting->table = model_table(&exporting->model, name);
    if (!exporting->table) {
        error_set(exporting->error, MOSAIC_NOT_FOUND, "%s has no table %s", exporting->model.source, name);
        error_hint(exporting->error, "name it below tables: there, then run pgmosaic apply");
        return MOSAIC_NOT_FOUND;
    }
    if (exporting->table->kind == TABLE_REFERENCE && exporting->with_shard)
        return error_set(exporting->error, MOSAIC_USAGE, "%s is a reference table: its rows are on every shard",
                         exporting->table->display);
    if (exporting->model.engine == ENGINE_CITUS && !invocation_has(exporting->invocation, "timeout"))
        exporting->timeout_ms = CITUS_SECONDS * 1000;
    exporting->shard_is_selected = exporting->with_shard && exporting->model.engine == ENGINE_CITUS;
    if (exporting->shard_is_selected && !exporting->table->citus) {
        error_set(exporting->error, MOSAIC_PREFLIGHT, "table %s is not distributed: it has no shards",
                  exporting->table->display);
        return error_hint(exporting->error, "run pgmosaic apply, or leave out --with-shard");
    }
    return MOSAIC_OK;
}

static mosaic_status connect_source(struct exporting *exporting, size_t i)
{
    struct source *source = &exporting->sources[i];
    source->name = exporting->model.shards[i].name;
    exporting->count = i + 1;
    mosaic_status status = pq_connect(exporting->model.shards[i].conninfo, source->name, "pgmosaic export",
                                      pq_deadline(CONNECT_MS), &source->connection, exporting->error);
    if (status == MOSAIC_OK && i == 0)
        status = find_table(exporting, source->connection);
    uint64_t epoch;
    if (status == MOSAIC_OK)
        status = engine_of(exporting->model.engine)
                     ->check_shard(&exporting->model, i, source->connection, pq_deadline(exporting->timeout_ms), &epoch,
                                   exporting->error);
    return status;
}

static mosaic_status connect_all(struct exporting *exporting)
{
    size_t shards = exporting->model.shard_count;
    exporting->sources = arena_zeroed(&exporting->arena, shards, sizeof *exporting->sources);
    exporting->ready = arena_zeroed(&exporting->arena, shards, sizeof *exporting->ready);
    if (!exporting->sources || !exporting->ready)
        return error_memory(exporting->error);
    mosaic_status status = connect_source(exporting, 0);
    for (size_t i = 1; i < shards && status == MOSAIC_OK && exporting->table->kind == TABLE_SHARDED; i++)
        status = connect_source(exporting, i);
    return status;
}

/* ---- the command --------------------------------------------------------------------------------------- */

static mosaic_status open_output(struct exporting *exporting)
{
    const struct invocation *invocation = exporting->invocation;
    const char *path = invocation->argument_count > 1 ? invocation->arguments[1] : "-";
    struct stat about;
    exporting->file = stdout;
    if (strcmp(path, "-") == 0)
        return MOSAIC_OK;
    exporting->path = path;
    exporting->file = fopen(path, "we");
    if (!exporting->file)
        return error_errno(exporting->error, "cannot write %s", path);
    exporting->remove = fstat(fileno(exporting->file), &about) == 0 && S_ISREG(about.st_mode);
    setvbuf(exporting->file, NULL, _IOFBF, OUTPUT_BUFFER);
    return MOSAIC_OK;
}

static mosaic_status close_output(struct exporting *exporting)
{
    if (exporting->format.kind == MOSAIC_BINARY)
        put(exporting, binary_trailer, sizeof binary_trailer);
    int failed = fflush(exporting->file);
    if (failed == 0 && exporting->path) {
        failed = fclose(exporting->file);
        exporting->file = NULL;
    }
    if (failed != 0)
        return error_errno(exporting->error, "cannot write %s", exporting->path ? exporting->path : "standard output");
    exporting->remove = false;
    return MOSAIC_OK;
}

static mosaic_status export_table(struct exporting *exporting)
{
    mosaic_status status = context_model(exporting->invocation, &exporting->model, exporting->error);
    exporting->has_model = status == MOSAIC_OK;
    if (status == MOSAIC_OK)
        status = connect_all(exporting);
    if (status == MOSAIC_OK)
        status = choose_columns(exporting);
    if (status == MOSAIC_OK)
        status = start_sources(exporting);
    if (status == MOSAIC_OK)
        status = open_output(exporting);
    if (status == MOSAIC_OK)
        status = put_header(exporting);
    exporting->shows_progress = exporting->path && !exporting->invocation->json;
    if (status == MOSAIC_OK && exporting->shows_progress)
        output_progress_start(&exporting->progress, stderr, exporting->table->display, 0);
    bool started = status == MOSAIC_OK && exporting->shows_progress;
    if (status == MOSAIC_OK)
        status = copy_rows(exporting);
    if (status == MOSAIC_OK)
        status = close_output(exporting);
    if (started)
        output_progress_end(&exporting->progress, exporting->rows, exporting->bytes);
    return status;
}

static void clean_up(struct exporting *exporting)
{
    for (size_t i = 0; i < exporting->count; i++) {
        PQfinish(exporting->sources[i].connection);
        buffer_free(&exporting->sources[i].prefix);
    }
    if (exporting->path && exporting->file)
        fclose(exporting->file);
    if (exporting->path && exporting->remove)
        unlink(exporting->path);
    if (exporting->has_model)
        model_free(&exporting->model);
    arena_free(&exporting->arena);
}

static void print_done(const struct exporting *exporting)
{
    char rows[32], bytes[32];
    FILE *stream = exporting->path ? stdout : stderr; /* the rows may be on standard output */
    if (exporting->invocation->json)
        output_json_document(stream, json_pack("{s:s, s:I, s:I}", "table", exporting->table->display, "rows",
                                               (json_int_t)exporting->rows, "bytes", (json_int_t)exporting->bytes));
    else if (exporting->path)
        printf("%s: %s rows, %s to %s\n", exporting->table->display, output_count(exporting->rows, rows),
               output_bytes(exporting->bytes, bytes), exporting->path);
}

static int run_export(const struct invocation *invocation)
{
    mosaic_error error;
    struct exporting exporting = {.invocation = invocation, .error = &error};
    long seconds = DEFAULT_SECONDS;
    exporting.with_shard = invocation_has(invocation, "with-shard");
    pq_interrupt_flag(&context_interrupted);
    mosaic_status status = copy_options_format(invocation, &exporting.format, &error);
    if (status == MOSAIC_OK)
        status = copy_format_check(&exporting.format, &error);
    if (status == MOSAIC_OK)
        status = invocation_number(invocation, "timeout", 1, 7 * 24 * 3600 / 2, DEFAULT_SECONDS, &seconds, &error);
    exporting.timeout_ms = (int)seconds * 1000;
    if (status == MOSAIC_OK)
        status = export_table(&exporting);
    if (status == MOSAIC_OK)
        print_done(&exporting);
    bool enough = !exporting.path && status == MOSAIC_IO && output_reader_gone(); /* `| head` has what it wanted */
    clean_up(&exporting);
    if (enough)
        return EXIT_CODE_FAILED;
    return status == MOSAIC_OK ? EXIT_CODE_OK : command_fail(&error);
}

const struct command export_command = {
    .name = "export",
    .usage = "TABLE [FILE]",
    .summary = "write the rows of all shards to one file",
    .description =
        "Reads the table from all shards at once and writes one file, or standard output (no FILE, or -), with one "
        "header. Rows are whole and in no order. A reference table is read from the first shard.\n\n"
        "Each shard has a snapshot of its own: a transaction over several shards that commits meanwhile may be seen on "
        "one and not on another. If a shard fails, so does the export, and an unfinished FILE is removed.",
    .examples = "pgmosaic export users users.csv\n"
                "pgmosaic export users --with-shard | head\n",
    .options = export_options,
    .takes_config = true,
    .takes_json = true,
    .least_arguments = 1,
    .most_arguments = 2,
    .run = run_export,
};
