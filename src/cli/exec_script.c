/*
 * pgmosaic exec: the SQL, from the command line or a file.
 */
#include "cli/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static mosaic_status read_file(struct exec *exec)
{
    const char *name = exec->file;
    bool standard = !strcmp(name, "-");
    int fd = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        error_set(exec->error, MOSAIC_NOT_FOUND, "there is no file %s", name);
        return error_hint(exec->error, "the path is read from the directory in which pgmosaic was started");
    }
    if (fd < 0)
        return error_errno(exec->error, "cannot read %s", name);
    mosaic_status status = MOSAIC_OK;
    for (ssize_t size = 1; size > 0 && status == MOSAIC_OK;) {
        char *end = buffer_reserve(&exec->text, 65536);
        size = end ? read(fd, end, 65536) : 0;
        if (!end)
            status = error_set(exec->error, MOSAIC_LIMIT, "%s is larger than %d MiB, or memory is out: cut it up", name,
                               SCRIPT_MOST / 1024 / 1024);
        else if (size > 0)
            buffer_added(&exec->text, (size_t)size);
        else if (size < 0 && errno == EINTR && pq_interrupted("reading", NULL) == MOSAIC_OK)
            size = 1;
        else if (size < 0)
            status = error_errno(exec->error, "cannot read %s", name);
    }
    if (!standard)
        close(fd);
    return status;
}

static void say_where(const struct exec *exec, size_t line)
{
    if (exec->file)
        error_prefix(exec->error, "%s:%zu", exec->file, line);
}

static mosaic_status check_statement(const struct exec *exec, const struct statement *statement)
{
    if (statement->copies_stdin) {
        error_set(exec->error, MOSAIC_UNSUPPORTED, "COPY FROM STDIN cannot be run by exec: it has no data to send");
        say_where(exec, statement->line);
        error_hint(exec->error, "load rows with pgmosaic load TABLE FILE, which also finds each row's shard");
        return MOSAIC_UNSUPPORTED;
    }
    if (statement->ends_transaction && exec->transaction) {
        error_set(exec->error, MOSAIC_UNSUPPORTED,
                  "BEGIN, COMMIT and ROLLBACK cannot stand here: exec makes one transaction of everything");
        say_where(exec, statement->line);
        error_hint(exec->error,
                   "leave them out, or give --no-transaction and have them run as they stand on each shard");
        return MOSAIC_UNSUPPORTED;
    }
    return MOSAIC_OK;
}

/* Everything is looked at before anything is run. */
static mosaic_status check_script(struct exec *exec, size_t *statements)
{
    struct script script = exec->script;
    struct statement statement;
    *statements = 0;
    for (;;) {
        mosaic_status status = script_next(&script, &statement, exec->error);
        if (status != MOSAIC_OK && exec->file)
            error_prefix(exec->error, "%s", exec->file);
        if (status == MOSAIC_OK && statement.size == 0)
            return MOSAIC_OK;
        if (status == MOSAIC_OK)
            status = check_statement(exec, &statement);
        if (status != MOSAIC_OK)
            return status;
        ++*statements;
    }
}

mosaic_status exec_read_script(struct exec *exec)
{
    const struct invocation *invocation = exec->invocation;
    exec->file = invocation_option(invocation, "file");
    if ((exec->file != NULL) + (invocation->argument_count > 0) != 1) {
        error_set(exec->error, MOSAIC_USAGE, "give the SQL as one argument, or a file with -f");
        return error_hint(exec->error, "see pgmosaic exec --help");
    }
    if (!exec->file)
        buffer_text(&exec->text, invocation->arguments[0]);
    mosaic_status status = exec->file ? read_file(exec) : MOSAIC_OK;
    if (status != MOSAIC_OK)
        return status;
    if (buffer_failed(&exec->text))
        return error_memory(exec->error);
    exec->script = script_start(buffer_string(&exec->text), exec->text.size);
    size_t statements;
    status = check_script(exec, &statements);
    if (status == MOSAIC_OK && statements == 0) {
        error_set(exec->error, MOSAIC_USAGE, "there is no SQL in %s", exec->file ? exec->file : "the argument");
        return error_hint(exec->error, "give at least one statement");
    }
    /* One statement on one shard is a transaction anyway: then even VACUUM runs. */
    if (exec->count == 1 && statements == 1)
        exec->transaction = false;
    return status;
}
