/*
 * pgmosaic load: a file, or standard input, onto the shards of a table. The library does the work.
 */
#include "cli/bad_rows.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/copy_options.h"
#include "cli/output.h"

#include "base/buffer.h"
#include "pq/pq.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct option_spec load_options[] = {
    COPY_OPTIONS,
    {"no-header", 0, NULL, "csv: the first row is data, not the names of the columns", NULL},
    {"replace", 0, NULL, "empty the table first, in the same transaction; a load that fails leaves the old rows", NULL},
    {"row-limit", 0, "BYTES", "a row may have so many at most (33554432)", NULL},
    {"on-error", 0, "WHAT", "stop: nothing is kept (the default); report: good rows are kept, bad ones reported",
     "stop|report"},
    {"bad-file", 0, "FILE", "--on-error=report: where bad rows go (TABLE.bad.csv)", NULL},
    {"timeout", 0, "SECONDS", "give up when a shard takes nothing for so long (30)", NULL},
    {NULL},
};

struct loading {
    const struct invocation *invocation;
    struct arena arena;
    mosaic_load load;
    const char *table, *path; /* path NULL: standard input */
    int file;
    int read_failure; /* errno */
    struct output_progress progress;
    bool shows_progress;
    uint64_t total; /* bytes, 0: not known */
    struct bad_rows bad_rows;
    mosaic_error *error;
};

/* ---- reading ------------------------------------------------------------------------------------------ */

static ptrdiff_t read_input(void *context, void *buffer, size_t size)
{
    struct loading *loading = context;
    for (;;) {
        ssize_t got = read(loading->file, buffer, size);
        if (got >= 0)
            return got;
        if (errno == EINTR && !context_interrupted)
            continue;
        loading->read_failure = errno;
        return -1;
    }
}

static mosaic_status open_input(struct loading *loading)
{
    const char *path = loading->invocation->argument_count > 1 ? loading->invocation->arguments[1] : "-";
    struct stat about;
    loading->file = STDIN_FILENO;
    loading->load.source = "standard input";
    if (strcmp(path, "-") != 0) {
        loading->path = path;
        loading->load.source = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        loading->file = open(path, O_RDONLY | O_CLOEXEC);
        if (loading->file < 0 && errno == ENOENT)
            return error_set(loading->error, MOSAIC_NOT_FOUND, "there is no file %s", path);
        if (loading->file < 0)
            return error_errno(loading->error, "cannot open %s", path);
    }
    if (fstat(loading->file, &about) == 0 && S_ISDIR(about.st_mode))
        return error_set(loading->error, MOSAIC_USAGE, "%s is a directory", path);
    if (fstat(loading->file, &about) == 0 && S_ISREG(about.st_mode))
        loading->total = (uint64_t)about.st_size;
    return MOSAIC_OK;
}

/* ---- bad rows ------------------------------------------------------------------------------------------ */

static void write_bad_row(void *context, uint64_t line, const char *row, size_t size, const mosaic_error *why)
{
    struct loading *loading = context;
    bad_rows_add(&loading->bad_rows, line, row, size, why);
}

static mosaic_status close_bad_file(struct loading *loading, mosaic_error *error)
{
    bool sorted;
    mosaic_status status = bad_rows_close(&loading->bad_rows, &sorted, error);
    if (!sorted)
        fprintf(stderr, "pgmosaic: the rows in %s are not in the order of lines\n", loading->bad_rows.path);
    return status;
}

/* ---- options -------------------------------------------------------------------------------------------- */

static mosaic_status read_options(struct loading *loading)
{
    const struct invocation *invocation = loading->invocation;
    struct copy_format format;
    long row_limit, seconds;
    size_t count;
    const char **columns;
    mosaic_status status = copy_options_format(invocation, &format, loading->error);
    if (status == MOSAIC_OK)
        status = copy_options_columns(invocation, &loading->arena, &columns, &count, loading->error);
    if (status == MOSAIC_OK)
        status = invocation_number(invocation, "row-limit", 1, COPY_ROW_LIMIT_MOST, COPY_ROW_LIMIT, &row_limit,
                                   loading->error);
    if (status == MOSAIC_OK)
        status = invocation_number(invocation, "timeout", 1, 7 * 24 * 3600 / 2, 30, &seconds, loading->error);
    if (status != MOSAIC_OK)
        return status;
    mosaic_load *load = &loading->load;
    load->format = format.kind;
    load->delimiter = format.delimiter;
    load->quote = format.quote;
    load->escape = format.escape;
    load->null_text = format.null_text;
    load->columns = (const char *const *)columns;
    load->column_count = count;
    load->row_limit = (size_t)row_limit;
    load->timeout_ms = (int)seconds * 1000;
    load->no_header = invocation_has(invocation, "no-header");
    load->replace = invocation_has(invocation, "replace");
    return MOSAIC_OK;
}

static mosaic_status read_report_options(struct loading *loading)
{
    const struct invocation *invocation = loading->invocation;
    const char *what = invocation_option(invocation, "on-error");
    loading->bad_rows.path = invocation_option(invocation, "bad-file");
    if (!what || strcmp(what, "report") != 0) {
        if (loading->bad_rows.path)
            return error_set(loading->error, MOSAIC_USAGE, "--bad-file goes with --on-error=report");
        return MOSAIC_OK;
    }
    loading->load.bad_row = write_bad_row;
    loading->bad_rows.binary = loading->load.format == MOSAIC_BINARY;
    if (loading->bad_rows.path)
        return MOSAIC_OK;
    char *path = arena_format(&loading->arena, "%s.bad.csv", loading->table);
    if (!path)
        return error_memory(loading->error);
    for (char *c = path; *c; c++)
        if (*c == '/')
            *c = '_';
    loading->bad_rows.path = path;
    return MOSAIC_OK;
}

/* ---- the command ------------------------------------------------------------------------------------------ */

static void show_progress(void *context, const mosaic_progress *progress)
{
    struct loading *loading = context;
    if (loading->shows_progress)
        output_progress_update(&loading->progress, progress->rows, progress->bytes);
}

static int print_done(const struct loading *loading, const mosaic_progress *done, double seconds)
{
    char rows[32], bytes[32], bad[32], time[32];
    if (loading->invocation->json) {
        output_json_document(stdout, json_pack("{s:s, s:I, s:I, s:I, s:f, s:s?}", "table", loading->table, "rows",
                                               (json_int_t)done->rows, "bytes", (json_int_t)done->bytes, "bad_rows",
                                               (json_int_t)done->bad_rows, "seconds", seconds, "bad_file",
                                               done->bad_rows ? loading->bad_rows.path : NULL));
    } else {
        printf("%s: %s rows, %s in %s\n", loading->table, output_count(done->rows, rows),
               output_bytes(done->bytes, bytes), output_duration(seconds, time));
    }
    if (done->bad_rows == 0)
        return EXIT_CODE_OK;
    fprintf(stderr, "pgmosaic: %s bad row%s left out: see %s\n", output_count(done->bad_rows, bad),
            done->bad_rows == 1 ? " was" : "s were", loading->bad_rows.path);
    return EXIT_CODE_REJECTED;
}

static mosaic_status load_table(struct loading *loading, mosaic_cluster *cluster, mosaic_progress *done)
{
    mosaic_status status = mosaic_load_table(cluster, loading->table, &loading->load, done, loading->error);
    bool again = status == MOSAIC_STALE && loading->path && lseek(loading->file, 0, SEEK_SET) == 0;
    if (again) { /* the map moved meanwhile; nothing was kept, and a file can be read once more */
        fprintf(stderr, "pgmosaic: %s: loading again by the new map\n", loading->error->message);
        bad_rows_restart(&loading->bad_rows);
        status = mosaic_load_table(cluster, loading->table, &loading->load, done, loading->error);
    }
    if (status == MOSAIC_IO && loading->read_failure) {
        errno = loading->read_failure;
        status = error_errno(loading->error, "cannot read %s", loading->path ? loading->path : "standard input");
    }
    return status;
}

static int load_into(struct loading *loading, mosaic_cluster *cluster)
{
    mosaic_progress done = {0};
    int64_t started = pq_now_ms();
    loading->shows_progress = !loading->invocation->json;
    if (loading->shows_progress)
        output_progress_start(&loading->progress, stderr, loading->table, loading->total);
    mosaic_status status = load_table(loading, cluster, &done);
    double seconds = (double)(pq_now_ms() - started) / 1000.0;
    if (loading->shows_progress)
        output_progress_end(&loading->progress, done.rows, done.bytes);
    if (status != MOSAIC_OK) {
        mosaic_error ignored;
        (void)!close_bad_file(loading, &ignored);
        return command_fail(loading->error);
    }
    command_warn(loading->error->hint); /* committed, and a shard has yet to hear of it */
    status = close_bad_file(loading, loading->error);
    int code = print_done(loading, &done, seconds);
    return status == MOSAIC_OK ? code : command_fail(loading->error);
}

static int run_load(const struct invocation *invocation)
{
    mosaic_error error = {0};
    mosaic_cluster *cluster = NULL;
    struct loading loading = {.invocation = invocation, .table = invocation->arguments[0], .file = -1, .error = &error};
    loading.load.read = read_input;
    loading.load.context = &loading;
    loading.load.progress = show_progress;
    loading.load.callback_context = &loading;
    loading.load.interrupted = &context_interrupted;
    int code;
    mosaic_status status = read_options(&loading);
    if (status == MOSAIC_OK)
        status = read_report_options(&loading);
    if (status == MOSAIC_OK)
        status = open_input(&loading);
    if (status == MOSAIC_OK)
        status = context_cluster(invocation, &cluster, &error);
    if (status == MOSAIC_OK)
        code = load_into(&loading, cluster);
    else
        code = command_fail(&error);
    mosaic_close(cluster);
    if (loading.file > STDIN_FILENO)
        close(loading.file);
    arena_free(&loading.arena);
    return code;
}

const struct command load_command = {
    .name = "load",
    .usage = "TABLE [FILE]",
    .summary = "split rows by key and load them onto all shards, all or nothing",
    .description =
        "Reads a file, or standard input (no FILE, or -), splits it by the sharding key and streams the rows to all "
        "shards at once. A reference table is loaded on every shard.\n\n"
        "All or nothing: the transactions of all shards end in one two-phase commit. With --on-error=report good rows "
        "are kept, bad ones go to a file, in the order of lines, with their line, the reason and the row, and the exit "
        "code is 4. With "
        "--replace "
        "the table is emptied on every shard in the same transactions: it has the new rows, or still the old ones.\n\n"
        "Formats are those of PostgreSQL's COPY. csv has a header unless --no-header is given, and its names say which "
        "columns the fields are.",
    .examples = "pgmosaic load users users.csv\n"
                "zcat users.csv.gz | pgmosaic load users --on-error=report\n"
                "pgmosaic load countries countries.csv --replace\n"
                "pgmosaic load events events.tsv --format text --columns id,at,payload\n",
    .options = load_options,
    .takes_config = true,
    .takes_json = true,
    .least_arguments = 1,
    .most_arguments = 2,
    .run = run_load,
};
