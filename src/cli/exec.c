/*
 * pgmosaic exec: SQL on one shard, on the shard of a key, or on all.
 *
 * Statement by statement: sent to every shard, so that all work at once; then the answers are read in shard order, row
 * by row, so that memory is bounded and the output is the same each time. All of it is one transaction, committed in
 * two phases.
 */
#include "cli/exec.h"

#include "catalog/parallel.h"
#include "catalog/twophase.h"
#include "cli/context.h"
#include "cli/output.h"
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COMMIT_MS = 30000 };

static const struct option_spec exec_options[] = {
    {"file", 'f', "FILE", "read the SQL from a file; - is standard input", NULL},
    {"all", 'a', NULL, "run it on all shards, in one transaction", NULL},
    {"shard", 's', "NAME", "run it on this shard", NULL},
    {"table", 't', "TABLE", "with --key: run it on the shard that owns this key of the table", NULL},
    {"key", 'k', "KEY", "the sharding key, as PostgreSQL reads it; of several columns as CSV: 5,abc", NULL},
    {"format", 0, "F", "how rows are printed: table on a terminal, else csv", "table|csv|json"},
    {"no-transaction", 0, NULL, "each statement by itself, shard after shard (VACUUM, CREATE INDEX CONCURRENTLY)",
     NULL},
    {"timeout", 0, "SECONDS", "give up, and roll back, after so long; 0 (the default): never", NULL},
    {"quiet", 'q', NULL, "rows and errors only", NULL},
    {NULL},
};

/* ---- running ------------------------------------------------------------------------------------------ */

static void print_notice(void *context, const PGresult *result)
{
    const struct target *target = context;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    fprintf(stderr, "%s on %s: %s\n", severity ? severity : "NOTICE", target->name, text ? text : "");
}

static void connect_one(void *context, size_t at)
{
    struct exec *exec = context;
    struct target *target = &exec->targets[at];
    uint64_t epoch;
    target->status = exec_connect(exec, target->shard, &target->connection, &target->error);
    if (target->status == MOSAIC_OK)
        target->status =
            engine_of(exec->model.engine)
                ->check_shard(&exec->model, target->shard, target->connection, exec->deadline, &epoch, &target->error);
}

static mosaic_status fail_as(const struct exec *exec, const struct target *target)
{
    *exec->error = target->error;
    return target->status;
}

static mosaic_status connect_all(struct exec *exec)
{
    parallel_run(exec->count, connect_one, exec);
    for (size_t i = 0; i < exec->count; i++) {
        if (exec->targets[i].status != MOSAIC_OK)
            return fail_as(exec, &exec->targets[i]);
        if (!exec->quiet)
            PQsetNoticeReceiver(exec->targets[i].connection, print_notice, &exec->targets[i]);
    }
    if (!invocation_has(exec->invocation, "all"))
        return MOSAIC_OK;
    return engine_of(exec->model.engine)
        ->check_owners(&exec->model, exec->targets[0].connection, exec->deadline, exec->error);
}

static mosaic_status statement_failed(const struct exec *exec, struct target *target, const struct statement *statement,
                                      const PGresult *result)
{
    target->status = pq_result_error(target->connection, result, target->name, &target->error);
    const char *position = result ? PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION) : NULL;
    size_t at = position ? strtoul(position, NULL, 10) : 0;
    if (exec->file)
        error_prefix(&target->error, "%s:%zu", exec->file, statement_line(statement, at));
    if (!strcmp(target->error.sqlstate, "25001") && exec->transaction)
        error_hint(&target->error, "it cannot run in a transaction block: give --no-transaction, which runs it on one "
                                   "shard after the other");
    return target->status;
}

static mosaic_status copy_refused(const struct exec *exec, struct target *target, const struct statement *statement)
{
    target->status = error_set(&target->error, MOSAIC_UNSUPPORTED, "COPY to and from the client cannot be run by exec");
    if (exec->file)
        error_prefix(&target->error, "%s:%zu", exec->file, statement->line);
    error_hint(&target->error, "use pgmosaic export and pgmosaic load, or SELECT with --format csv");
    return error_shard(&target->error, target->name);
}

static void send_to(const struct exec *exec, struct target *target)
{
    target->status = MOSAIC_OK;
    target->rows = false;
    target->tag[0] = '\0';
    PQsetnonblocking(target->connection, 1);
    if (!PQsendQuery(target->connection, buffer_string(&exec->sql)) || !PQsetSingleRowMode(target->connection))
        target->status = pq_result_error(target->connection, NULL, target->name, &target->error);
}

/* One result of a statement; rows are printed. */
static mosaic_status take_result(struct exec *exec, struct target *target, const struct statement *statement,
                                 const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_SINGLE_TUPLE:
    case PGRES_TUPLES_OK:
        target->rows = true;
        rows_begin(exec->rows, result);
        for (int row = 0; row < PQntuples(result); row++)
            rows_add(exec->rows, target->name, result, row);
        break;
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
        break;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        return copy_refused(exec, target, statement);
    default:
        return statement_failed(exec, target, statement, result);
    }
    snprintf(target->tag, sizeof target->tag, "%s", PQcmdStatus((PGresult *)result));
    return MOSAIC_OK;
}

static mosaic_status receive_from(struct exec *exec, struct target *target, const struct statement *statement)
{
    PGresult *result = NULL;
    mosaic_status failed = target->status;
    while (failed == MOSAIC_OK || failed == MOSAIC_SERVER || failed == MOSAIC_OWNERSHIP) {
        mosaic_error later;
        mosaic_status status = pq_next_result(target->connection, target->name, exec->deadline, &result, &later);
        if (status == MOSAIC_OK && !result)
            break;
        if (status == MOSAIC_OK) {
            status = failed == MOSAIC_OK ? take_result(exec, target, statement, result) : MOSAIC_OK;
            PQclear(result);
        } else {
            target->error = later;
        }
        if (status == MOSAIC_OK && ferror(stdout)) {
            target->error = (mosaic_error){0};
            status = error_set(&target->error, MOSAIC_IO, "the output could not be written");
        }
        failed = status != MOSAIC_OK ? status : failed;
    }
    target->status = failed;
    if (failed == MOSAIC_OK)
        PQsetnonblocking(target->connection, 0);
    return failed;
}

static void print_tags(const struct exec *exec, size_t first, size_t count)
{
    bool same = true;
    if (exec->targets[first].rows && exec->invocation->json == false)
        return;
    for (size_t i = 1; i < count; i++)
        same = same && !strcmp(exec->targets[first].tag, exec->targets[first + i].tag);
    if (exec->quiet || !*exec->targets[first].tag || exec->targets[first].rows)
        return;
    if (count == 1)
        fprintf(stderr, "%s on %s\n", exec->targets[first].tag, exec->targets[first].name);
    else if (same)
        fprintf(stderr, "%s on each of %zu shards\n", exec->targets[first].tag, count);
    for (size_t i = 0; i < count && !same; i++)
        fprintf(stderr, "%s on %s\n", exec->targets[first + i].tag, exec->targets[first + i].name);
}

static mosaic_status run_statement(struct exec *exec, const struct statement *statement, size_t first, size_t count)
{
    const struct target *failed = NULL;
    buffer_clear(&exec->sql);
    buffer_add(&exec->sql, statement->text, statement->size);
    if (buffer_failed(&exec->sql))
        return error_memory(exec->error);
    for (size_t i = first; i < first + count; i++)
        send_to(exec, &exec->targets[i]);
    for (size_t i = first; i < first + count && !failed; i++)
        if (receive_from(exec, &exec->targets[i], statement) != MOSAIC_OK)
            failed = &exec->targets[i];
    rows_end(exec->rows);
    if (failed)
        return fail_as(exec, failed);
    if (!rows_are_whole(exec->rows))
        return error_memory(exec->error);
    print_tags(exec, first, count);
    return MOSAIC_OK;
}

static mosaic_status run_script(struct exec *exec, size_t first, size_t count)
{
    struct script script = exec->script;
    struct statement statement;
    for (;;) {
        mosaic_status status = script_next(&script, &statement, exec->error);
        if (status != MOSAIC_OK || statement.size == 0)
            return status;
        status = run_statement(exec, &statement, first, count);
        if (status != MOSAIC_OK)
            return status;
    }
}

/* Ends what still runs: the server would go on with it until it notices that nobody listens. */
static void abandon(struct exec *exec)
{
    for (size_t i = 0; i < exec->count; i++) {
        struct target *target = &exec->targets[i];
        if (target->connection && PQtransactionStatus(target->connection) == PQTRANS_ACTIVE)
            pq_cancel(target->connection);
    }
}

static mosaic_status commit(struct exec *exec)
{
    struct participant *participants = memory_zeroed(exec->count, sizeof *participants);
    if (!participants)
        return error_memory(exec->error);
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < exec->count && status == MOSAIC_OK; i++) {
        struct target *target = &exec->targets[i];
        participants[i] = (struct participant){target->connection, target->shard};
        if (PQtransactionStatus(target->connection) == PQTRANS_IDLE) {
            status = error_set(exec->error, MOSAIC_UNSUPPORTED, "the SQL ended its transaction by itself");
            error_shard(exec->error, target->name);
        }
    }
    int64_t least = pq_deadline(COMMIT_MS);
    if (status == MOSAIC_OK)
        status = pq_interrupted("running the SQL", exec->error);
    if (status == MOSAIC_OK)
        status = twophase_commit(&exec->model, participants, exec->count,
                                 exec->deadline < least ? exec->deadline : least, exec->error);
    if (status == MOSAIC_OK)
        command_warn(exec->error->hint);
    memory_free(participants);
    return status;
}

static mosaic_status run_together(struct exec *exec)
{
    /* A shard that is done with a statement waits for the others. */
    static const char begin[] = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0";
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < exec->count && status == MOSAIC_OK; i++)
        status = pq_exec(exec->targets[i].connection, exec->targets[i].name, begin, exec->deadline, NULL, exec->error);
    if (status == MOSAIC_OK)
        status = run_script(exec, 0, exec->count);
    if (status == MOSAIC_OK)
        return commit(exec);
    abandon(exec);
    if (exec->count > 1) {
        char detail[sizeof exec->error->detail];
        memcpy(detail, exec->error->detail, sizeof detail);
        error_detail(exec->error, "%.900s%snothing was changed on any shard", detail, *detail ? "; " : "");
    }
    return status;
}

static void add_name(struct buffer *names, const char *name)
{
    buffer_format(names, "%s%s", names->size ? ", " : "", name);
}

/* Shard after shard, each statement by itself; a shard that fails does not stop the others. */
static mosaic_status run_apart(struct exec *exec)
{
    struct buffer good = BUFFER_INIT(65536), bad = BUFFER_INIT(65536);
    mosaic_error first = {0};
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < exec->count && status != MOSAIC_INTERRUPTED; i++) {
        mosaic_status one = run_script(exec, i, 1);
        if (one == MOSAIC_OK && PQtransactionStatus(exec->targets[i].connection) != PQTRANS_IDLE) {
            one = error_set(exec->error, MOSAIC_UNSUPPORTED, "the SQL left a transaction open, which is rolled back");
            error_shard(exec->error, exec->targets[i].name);
        }
        add_name(one == MOSAIC_OK ? &good : &bad, exec->targets[i].name);
        if (one != MOSAIC_OK && status == MOSAIC_OK)
            first = *exec->error;
        else if (one != MOSAIC_OK)
            command_fail(exec->error);
        status = one != MOSAIC_OK ? one : status;
    }
    if (status != MOSAIC_OK) {
        status = first.status;
        *exec->error = first;
        abandon(exec);
        if (exec->count > 1)
            error_detail(exec->error, "done on: %s; failed on: %s; each statement before the failing one stays done",
                         good.size ? buffer_string(&good) : "no shard", buffer_string(&bad));
    }
    buffer_free(&good);
    buffer_free(&bad);
    return status;
}

/* ---- the command -------------------------------------------------------------------------------------- */

static mosaic_status prepare(struct exec *exec)
{
    const struct invocation *invocation = exec->invocation;
    const char *format = invocation_option(invocation, "format");
    long seconds;
    mosaic_status status = invocation_number(invocation, "timeout", 0, 1000000, 0, &seconds, exec->error);
    if (status != MOSAIC_OK)
        return status;
    exec->deadline = seconds ? pq_deadline((int)seconds * 1000) : INT64_MAX / 2;
    exec->quiet = invocation_has(invocation, "quiet");
    exec->transaction = !invocation_has(invocation, "no-transaction");
    enum rows_format chosen = isatty(STDOUT_FILENO) ? ROWS_TABLE : ROWS_CSV;
    if (format)
        chosen = !strcmp(format, "table") ? ROWS_TABLE : !strcmp(format, "csv") ? ROWS_CSV : ROWS_JSON;
    exec->rows = rows_new(stdout, invocation->json ? ROWS_JSON : chosen, invocation_has(invocation, "all"));
    return exec->rows ? MOSAIC_OK : error_memory(exec->error);
}

static int run_exec(const struct invocation *invocation)
{
    mosaic_error error;
    struct exec exec = {
        .invocation = invocation, .text = BUFFER_INIT(SCRIPT_MOST), .sql = BUFFER_INIT(SCRIPT_MOST), .error = &error};
    pq_interrupt_flag(&context_interrupted);
    mosaic_status status = prepare(&exec);
    if (status == MOSAIC_OK)
        status = exec_choose_targets(&exec);
    if (status == MOSAIC_OK)
        status = exec_read_script(&exec);
    if (status == MOSAIC_OK)
        status = connect_all(&exec);
    if (status == MOSAIC_OK)
        status = exec.transaction ? run_together(&exec) : run_apart(&exec);
    for (size_t i = 0; i < exec.count; i++)
        PQfinish(exec.targets[i].connection);
    memory_free(exec.targets);
    buffer_free(&exec.text);
    buffer_free(&exec.sql);
    rows_free(exec.rows);
    if (exec.has_model)
        model_free(&exec.model);
    fflush(stdout);
    return status == MOSAIC_OK ? EXIT_CODE_OK : command_fail(&error);
}

const struct command exec_command = {
    .name = "exec",
    .usage = "(--all | --shard NAME | --table TABLE --key KEY) (SQL | -f FILE)",
    .summary = "run SQL on one shard, on the shard of a key, or on all shards",
    .description =
        "Runs one or more statements. Where they run has to be said: --all is every shard of the config, --shard one "
        "of "
        "them, --table with --key the one that owns the key. The statements go to the shards as they are: exec does "
        "not "
        "look for the right shard by itself, and does not merge; with --all each shard answers for its own rows, and "
        "the "
        "first column of the output, shard, says which.\n\n"
        "All of it is one transaction. With --all it is committed on every shard or on none, by two-phase commit: the "
        "servers need max_prepared_transactions > 0 when there is something to write on more than one of them. BEGIN, "
        "COMMIT and ROLLBACK are therefore refused; SAVEPOINT is not.\n\n"
        "Statements that cannot run in a transaction, such as VACUUM and CREATE INDEX CONCURRENTLY, need "
        "--no-transaction: "
        "then the statements run by themselves, on one shard after the other, and what was done and where is reported "
        "when one fails. A single statement on a single shard needs no flag.\n\n"
        "exec does not look which tables the SQL writes, so it does not keep others from a reference table meanwhile, "
        "as load and the proxy do: while others write one, its copies may come to differ.\n\n"
        "exec works before anything was applied, so that the tables can be made with it; only --key needs the catalog. "
        "Commands of psql, which begin with a backslash, and COPY FROM STDIN are refused (see pgmosaic load).\n\n"
        "Rows go to standard output as they arrive: aligned on a terminal, else CSV with a header for each statement. "
        "With --json each row is an object with shard and the columns; integers and booleans are numbers and booleans "
        "there, everything else is text. What the other statements answer goes to standard error.",
    .examples = "pgmosaic exec --all -f schema.sql\n"
                "pgmosaic exec --all 'SELECT count(*) FROM users'\n"
                "pgmosaic exec --table users --key 42 'SELECT * FROM users WHERE id = 42'\n"
                "pgmosaic exec --shard s0 'SELECT version()'\n"
                "pgmosaic exec --all --no-transaction 'CREATE INDEX CONCURRENTLY ON users (name)'\n",
    .options = exec_options,
    .takes_config = true,
    .takes_json = true,
    .most_arguments = 1,
    .run = run_exec,
};
