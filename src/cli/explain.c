/*
 * pgmosaic explain: where statements would go, and why. It never runs them.
 *
 *     text ── plan cache ──> facts ── plan/explain.h ──> lines, or an object of JSON, or a line in the report of a log
 */
#include "cli/command.h"

#include "cli/context.h"
#include "cli/explain_report.h"
#include "cli/explain_source.h"
#include "cli/output.h"
#include "cli/statement_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct option_spec explain_options[] = {
    {"file", 'f', "LOG", "a log of statements instead of one; - is standard input", NULL},
    {"each", 'e', NULL, "of a log: each statement for itself instead of the sums", NULL},
    {"schema", 's', "FILE", "no server: the schema is that of this DDL, e.g. of pg_dump --schema-only", NULL},
    {"param", 'p', "VALUES", "values of $1, $2 …, as a line of CSV: 42,abc", NULL},
    {"search-path", 0, "SCHEMAS", "schemas that unqualified names are looked up in; by default public", NULL},
    {NULL},
};

struct explaining {
    struct explain_source source;
    struct explain_report report;
    struct arena scratch; /* of one text */
    bool json, each;
    uint64_t line; /* of a log, 0: there is none */
    uint64_t printed;
};

/* ---- one statement ---- */

static json_t *relation_json(struct explaining *explaining, const struct fact_relation *relation,
                             const struct plan_input *values)
{
    static const char *const placements[] = {"home", "sharded", "reference", "system"};
    const struct schema_relation *named = relation->relation;
    bool sharded = named->placement == PLACE_SHARDED;
    return json_pack("{s:s?, s:s, s:b, s:s?, s:s?, s:s?}", "name",
                     model_display_name(&explaining->scratch, named->schema, named->name), "placement",
                     placements[named->placement], "written", relation->is_written, "bound_by",
                     sharded && relation->is_bound ? explain_condition(relation, values, &explaining->scratch) : NULL,
                     "missing", sharded && !relation->is_bound ? relation->missing : NULL, "to_prove",
                     sharded && !relation->is_bound ? relation->remedy : NULL);
}

static json_t *error_json(const struct explanation *explanation)
{
    const mosaic_error *error = explanation->plan.error;
    if (explanation->way != EXPLAIN_REFUSED || !error)
        return json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:o}", "sqlstate", error->sqlstate, "message", error->message,
                     "detail", error->detail, "hint", error->hint, "to_prove", explanation->remedy, "location",
                     explanation->location < 0 ? json_null() : json_integer(explanation->location));
}

/* The shards of a write on several; NULL: it is none. */
static json_t *writes_on(const struct explaining *explaining, const struct explanation *explanation)
{
    json_t *names = explanation->way == EXPLAIN_WRITES ? json_array() : NULL;
    for (size_t i = 0; names && i < explanation->plan.write->part_count; i++)
        json_array_append_new(
            names, json_string(explaining->source.model.shards[explanation->plan.write->parts[i].shard].name));
    return names;
}

static bool has_shard(const struct explanation *explanation)
{
    return explanation->way == EXPLAIN_SHARD || explanation->way == EXPLAIN_HOME;
}

static void print_json(struct explaining *explaining, const struct explain_input *input,
                       const struct explanation *explanation)
{
    const struct model *model = &explaining->source.model;
    bool has_bucket = has_shard(explanation) && explanation->plan.bucket != PLAN_NO_BUCKET;
    json_t *relations = json_array();
    for (size_t i = 0; i < input->facts->relation_count; i++)
        json_array_append_new(relations, relation_json(explaining, &input->facts->relations[i], input->values));
    const struct fact_scatter *scatter = explanation->tier == 3 ? explanation->plan.scatter : NULL;
    json_t *object = json_pack(
        "{s:o*, s:s, s:o, s:s, s:s?, s:o, s:o, s:s?, s:s?, s:s?, s:o*, s:o, s:I, s:b}", "line",
        explaining->line ? json_integer((json_int_t)explaining->line) : NULL, "statement",
        statement_class_name(input->facts->class), "tier",
        explanation->tier ? json_integer(explanation->tier) : json_null(), "way", explain_way_name(explanation->way),
        "shard", has_shard(explanation) ? model->shards[explanation->plan.shard].name : NULL, "bucket",
        has_bucket ? json_integer(explanation->plan.bucket) : json_null(), "relations", relations, "why_not_one_shard",
        explanation->tier > 1 ? explanation->reason : NULL, "why_not_every_shard",
        explanation->tier == 4 ? input->facts->scatter_cannot : NULL, "why_not_merged",
        scatter ? scatter->why_combined : NULL, "writes_on", writes_on(explaining, explanation), "error",
        error_json(explanation), "epoch", (json_int_t)model->epoch, "map_is_assumed", explaining->source.assumed);
    output_json_line(stdout, object);
}

static mosaic_status print_one(void *context, const struct explain_input *input, const struct explanation *explanation,
                               mosaic_error *error)
{
    (void)error;
    struct explaining *explaining = context;
    if (explaining->json) {
        print_json(explaining, input, explanation);
        return MOSAIC_OK;
    }
    if (explaining->printed++)
        printf("\n");
    if (explaining->line)
        printf("line %llu\n", (unsigned long long)explaining->line);
    for (size_t i = 0; i < explanation->line_count; i++)
        printf("%s\n", explanation->lines[i]);
    return MOSAIC_OK;
}

static mosaic_status explain_one(struct explaining *explaining, const struct invocation *invocation,
                                 mosaic_error *error)
{
    const char *parameters = invocation_option(invocation, "param");
    struct explain_text text = {.text = invocation->arguments[0], .size = strlen(invocation->arguments[0])};
    mosaic_status status = MOSAIC_OK;
    if (parameters)
        status = explain_parameters(&explaining->scratch, parameters, &text.parameters, &text.parameter_count, error);
    if (status == MOSAIC_OK)
        status = explain_text(&explaining->source, &text, &explaining->scratch, print_one, explaining, error);
    return status;
}

/* ---- a log ---- */

static mosaic_status count_one(void *context, const struct explain_input *input, const struct explanation *explanation,
                               mosaic_error *error)
{
    struct explaining *explaining = context;
    if (explaining->each)
        return print_one(context, input, explanation, error);
    return explain_report_add(&explaining->report, input, explanation, explaining->line, error);
}

static void print_refused_hint(struct explaining *explaining, const mosaic_error *error)
{
    if (explaining->json)
        output_json_line(stdout, json_pack("{s:I, s:n, s:s, s:{s:s, s:s, s:s}}", "line", (json_int_t)explaining->line,
                                           "tier", "way", explain_way_name(EXPLAIN_REFUSED), "error", "sqlstate",
                                           error->sqlstate, "message", error->message, "hint", error->hint));
    else
        printf("%sline %llu\nrefused (%s): %s\n  hint: %s\n", explaining->printed++ ? "\n" : "",
               (unsigned long long)explaining->line, error->sqlstate, error->message, error->hint);
}

static mosaic_status explain_logged(struct explaining *explaining, const struct logged_statement *statement,
                                    mosaic_error *error)
{
    struct explain_text text = {statement->text, statement->size, statement->parameters, statement->parameter_count};
    explaining->line = statement->line;
    mosaic_status status = explain_text(&explaining->source, &text, &explaining->scratch, count_one, explaining, error);
    if (status == MOSAIC_USAGE && explaining->each) {
        print_refused_hint(explaining, error);
        status = MOSAIC_OK;
    } else if (status == MOSAIC_USAGE) /* a hint that is none is refused like any statement */
        status = explain_report_refuse(&explaining->report, error->message, error->hint, text.text, text.size,
                                       explaining->line, error);
    arena_reset(&explaining->scratch);
    return status;
}

static mosaic_status explain_log(struct explaining *explaining, const char *path, mosaic_error *error)
{
    struct statement_log log;
    struct logged_statement statement;
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(error, MOSAIC_NOT_FOUND, "cannot read %s: %s", path, strerror(errno));
    mosaic_status status = statement_log_open(&log, fd, error);
    while (status == MOSAIC_OK && (status = statement_log_next(&log, &statement, error)) == MOSAIC_OK && statement.text)
        status = explain_logged(explaining, &statement, error);
    statement_log_close(&log);
    if (!standard)
        close(fd);
    if (status == MOSAIC_OK && !explaining->each)
        explain_report_print(&explaining->report, explaining->json, stdout);
    return status;
}

/* ---- the command ---- */

static mosaic_status check_usage(const struct invocation *invocation, mosaic_error *error)
{
    bool file = invocation_has(invocation, "file");
    if (file == (invocation->argument_count == 1)) {
        (void)!error_set(error, MOSAIC_USAGE,
                         file ? "a statement and -f LOG exclude each other" : "a statement, or -f LOG, is missing");
        return error_hint(error, "see pgmosaic explain --help");
    }
    if (!file && invocation_has(invocation, "each"))
        return error_set(error, MOSAIC_USAGE, "--each goes with -f LOG");
    if (file && invocation_has(invocation, "param"))
        return error_set(error, MOSAIC_USAGE, "--param goes with one statement: a log has the values of its own");
    return MOSAIC_OK;
}

static int run_explain(const struct invocation *invocation)
{
    static struct explaining explaining; /* its list of reasons is too large for the stack */
    mosaic_error error;
    explaining.json = invocation->json;
    explaining.each = invocation_has(invocation, "each");
    mosaic_status status = check_usage(invocation, &error);
    if (status == MOSAIC_OK)
        status = explain_source_open(&explaining.source, invocation, &error);
    if (status == MOSAIC_OK && explaining.source.assumed)
        fprintf(stderr, "no server was asked: the map is the one that a first apply makes\n");
    if (status == MOSAIC_OK)
        status = invocation_has(invocation, "file")
                     ? explain_log(&explaining, invocation_option(invocation, "file"), &error)
                     : explain_one(&explaining, invocation, &error);
    explain_report_free(&explaining.report);
    explain_source_close(&explaining.source);
    arena_free(&explaining.scratch);
    if (status == MOSAIC_OK || ferror(stdout)) /* main says what became of the output */
        return EXIT_CODE_OK;
    return command_fail(&error);
}

const struct command explain_command = {
    .name = "explain",
    .usage = "SQL | -f LOG",
    .summary = "say where statements go, and what proves it",
    .description =
        "Analyses statements as the proxy does, and runs none: tier, shard, bucket, the condition that proves each "
        "sharded table; or the part that could not be proved, where it stands, and what would prove it.\n\n"
        "Schema and map come from the cluster's servers. With --schema FILE no server is asked: the schema is what the "
        "DDL in FILE makes, the config says how it is sharded, and the map is the one that a first apply makes.\n\n"
        "Parameters $1, $2 … need no value for the proof; with --param the shard is known too. A word NULL is NULL, "
        "\"NULL\" in quotes is the text.\n\n"
        "-f LOG counts: how many statements go which way, and the commonest reasons of those that are refused. LOG is "
        "a file of statements, one a line, or PostgreSQL's own log (log_statement or log_min_duration_statement; "
        "stderr or csvlog format), with the parameters that it has.\n\n"
        "With --json each statement is an object on a line of its own; a log is one document, with --each again an "
        "object "
        "a statement, that has the line in the log.",
    .examples = "pgmosaic explain \"SELECT * FROM users WHERE id = 42\"\n"
                "pgmosaic explain --param 42 'SELECT * FROM users WHERE id = $1'\n"
                "pgmosaic explain --schema schema.sql 'SELECT count(*) FROM users'\n"
                "pgmosaic explain -f /var/log/postgresql/postgresql-15-main.log\n",
    .options = explain_options,
    .takes_config = true,
    .takes_json = true,
    .most_arguments = 1,
    .run = run_explain,
};
