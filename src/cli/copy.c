/* pgmosaic copy: tables from one cluster to another, of any engine. */
#include "cli/command.h"
#include "cli/context.h"
#include "cli/output.h"
#include "config/config.h"
#include "transfer/transfer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct option_spec copy_options[] = {
    {"from", 0, "FILE", "config of the cluster that has the tables", NULL},
    {"to", 0, "FILE", "config of the cluster that gets them, and how they are spread there", NULL},
    {"dry-run", 'n', NULL, "say what would be copied and what speaks against it, change nothing", NULL},
    {"verify", 0, NULL, "copy nothing: compare the tables of both sides", NULL},
    {"abort", 0, NULL, "copy nothing: remove what a copy that was cut off has made on the target", NULL},
    {"timeout", 0, "SECONDS", "give up when a server gives no sign of life for so long (600)", NULL},
    {NULL},
};

struct copying {
    const struct invocation *invocation;
    struct model from, to;
    bool has_from, has_to, has_looked, showing;
    struct transfer transfer;
    struct output_progress progress;
    json_t *tables, *lines;
};

static void say(void *context, const char *line)
{
    struct copying *copying = context;
    if (copying->invocation->json)
        json_array_append_new(copying->lines, json_string(line));
    else
        printf("%s\n", line), fflush(stdout);
}

static void show_progress(void *context, const char *table, uint64_t rows, uint64_t bytes, bool done)
{
    struct copying *copying = context;
    char count[32], size[32];
    if (!copying->invocation->json && !copying->showing)
        output_progress_start(&copying->progress, stderr, table, 0);
    copying->showing = !done;
    if (copying->invocation->json && done)
        json_array_append_new(copying->tables, json_pack("{s:s, s:I, s:I}", "name", table, "rows", (json_int_t)rows,
                                                         "bytes", (json_int_t)bytes));
    else if (!copying->invocation->json && done)
        printf("%s: %s rows, %s\n", table, output_count(rows, count), output_bytes(bytes, size));
    else if (!copying->invocation->json)
        output_progress_update(&copying->progress, rows, bytes);
}

static mosaic_status look(struct copying *copying, mosaic_error *error)
{
    const struct invocation *invocation = copying->invocation;
    long seconds;
    mosaic_status status = invocation_number(invocation, "timeout", 1, 86400, 600, &seconds, error);
    if (status != MOSAIC_OK)
        return status;
    copying->transfer = (struct transfer){
        .arena = ARENA_INIT,
        .from = &copying->from,
        .to = &copying->to,
        .from_path = invocation_option(invocation, "from"),
        .to_path = invocation_option(invocation, "to"),
        .options = {.tables = (const char *const *)invocation->arguments,
                    .table_count = invocation->argument_count,
                    .timeout_ms = (int)seconds * 1000,
                    .say = say,
                    .progress = show_progress,
                    .context = copying,
                    .interrupted = &context_interrupted},
    };
    copying->has_looked = true;
    return transfer_look(&copying->transfer, error);
}

static mosaic_status read_configs(struct copying *copying, mosaic_error *error)
{
    const char *from = invocation_option(copying->invocation, "from");
    const char *to = invocation_option(copying->invocation, "to");
    if (!from || !to) {
        (void)!error_set(error, MOSAIC_USAGE, "--%s FILE is missing", from ? "to" : "from");
        return error_hint(error, "both sides are named by their configs: --from a.yaml --to b.yaml");
    }
    mosaic_status status = config_read(from, &copying->from, error);
    copying->has_from = status == MOSAIC_OK;
    if (status == MOSAIC_OK) {
        status = config_read(to, &copying->to, error);
        copying->has_to = status == MOSAIC_OK;
    }
    return status;
}

/* Back to before a look: both models are completed anew. */
static mosaic_status look_again(struct copying *copying, mosaic_error *error)
{
    transfer_close(&copying->transfer);
    copying->has_looked = false;
    model_free(&copying->from);
    model_free(&copying->to);
    copying->has_from = copying->has_to = false;
    mosaic_status status = read_configs(copying, error);
    return status == MOSAIC_OK ? look(copying, error) : status;
}

static bool print_findings(const struct copying *copying)
{
    const struct findings *findings = &copying->transfer.findings;
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->list[i];
        fprintf(stderr, "%s%s%s", finding->fatal ? "error" : "warning", *finding->table ? ": table " : "",
                finding->table);
        if (*finding->shard)
            fprintf(stderr, " on %s", finding->shard);
        fprintf(stderr, ": %s\n", finding->what);
        if (*finding->fix)
            fprintf(stderr, "    fix: %s\n", finding->fix);
    }
    if (findings->fatal)
        fprintf(stderr, "pgmosaic: %zu reason%s against it; nothing was changed\n", findings->fatal,
                findings->fatal == 1 ? "" : "s");
    return findings->fatal > 0;
}

static void print_plan(struct copying *copying)
{
    const struct transfer *transfer = &copying->transfer;
    for (size_t i = 0; i < transfer->table_count; i++) {
        const struct transfer_table *table = &transfer->tables[i];
        char line[1024];
        snprintf(line, sizeof line, "%s: from %zu node%s, %s, %s", table->table->display,
                 table->everywhere ? 1 : transfer->source_count,
                 table->everywhere || transfer->source_count == 1 ? "" : "s",
                 table->creates ? "made on the target" : "into the target's empty table",
                 table->table->kind == TABLE_REFERENCE ? "a copy everywhere" : "spread by its key");
        say(copying, line);
    }
}

static int end(struct copying *copying, bool ok, bool verified)
{
    if (copying->invocation->json)
        output_json_document(stdout, json_pack("{s:b, s:b, s:O, s:O}", "copied", ok && !verified, "equal", ok, "tables",
                                               copying->tables, "messages", copying->lines));
    else if (ok)
        printf("%s\n", verified ? "equal" : "copied and verified");
    return ok ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

static int abort_copy(struct copying *copying)
{
    bool removed;
    mosaic_error error;
    if (transfer_abort(&copying->transfer, &removed, &error) != MOSAIC_OK)
        return command_fail(&error);
    say(copying, removed ? "what the copy that was cut off had made is removed" : "there is no copy that was cut off");
    return end(copying, true, true);
}

static int work(struct copying *copying)
{
    mosaic_error error;
    const struct invocation *invocation = copying->invocation;
    bool verify = invocation_has(invocation, "verify"), equal;
    if (read_configs(copying, &error) != MOSAIC_OK || look(copying, &error) != MOSAIC_OK)
        return command_fail(&error);
    if (invocation_has(invocation, "abort"))
        return abort_copy(copying);
    if (verify) {
        if (transfer_verify(&copying->transfer, &equal, &error) != MOSAIC_OK)
            return command_fail(&error);
        return end(copying, equal, true);
    }
    if (copying->transfer.unfinished && !invocation_has(invocation, "dry-run")) {
        bool removed;
        char line[200];
        snprintf(line, sizeof line, "a copy that began %s was cut off: what it had made is removed first",
                 copying->transfer.unfinished);
        say(copying, line);
        if (transfer_abort(&copying->transfer, &removed, &error) != MOSAIC_OK ||
            look_again(copying, &error) != MOSAIC_OK)
            return command_fail(&error);
    }
    if (print_findings(copying))
        return EXIT_CODE_FAILED;
    print_plan(copying);
    if (invocation_has(invocation, "dry-run"))
        return copying->invocation->json ? end(copying, true, true) : EXIT_CODE_OK;
    if (transfer_do(&copying->transfer, &error) != MOSAIC_OK)
        return command_fail(&error);
    return end(copying, true, false);
}

static int run_copy(const struct invocation *invocation)
{
    struct copying copying = {.invocation = invocation, .tables = json_array(), .lines = json_array()};
    pq_interrupt_flag(&context_interrupted);
    int code = work(&copying);
    if (copying.has_looked)
        transfer_close(&copying.transfer);
    if (copying.has_from)
        model_free(&copying.from);
    if (copying.has_to)
        model_free(&copying.to);
    json_decref(copying.tables);
    json_decref(copying.lines);
    return code;
}

const struct command copy_command = {
    .name = "copy",
    .usage = "--from FILE --to FILE [TABLE...]",
    .summary = "copy tables to another cluster, of any engine, and verify them",
    .description =
        "Copies tables between any two clusters: shards to Citus, Citus to shards, one PostgreSQL to either, N shards "
        "to M. Without TABLE, all that the target's config names and the source has. Tables are made on the target as "
        "they are on the source, spread as the target's config says, filled, and only then get their indexes and "
        "constraints. Both sides then count and sum up their rows; where they differ, keys are named.\n\n"
        "Rows are those of one moment on each source node. What is written to the source during the copy is not "
        "carried over. Owners, grants, publications and types are not copied: make types and extensions on the target "
        "first.\n\n"
        "A copy that fails or is interrupted removes what it has made. One that was killed, or whose target is down, "
        "is removed by the next copy, or by --abort. What the target had before is never touched.\n\n"
        "A source that is one PostgreSQL needs nothing but a config with its one shard.",
    .examples = "pgmosaic copy --from shards.yaml --to citus.yaml\n"
                "pgmosaic copy --from old.yaml --to new.yaml users orders --dry-run\n"
                "pgmosaic copy --from old.yaml --to new.yaml --verify\n",
    .options = copy_options,
    .takes_json = true,
    .most_arguments = (size_t)-1,
    .run = run_copy,
};
