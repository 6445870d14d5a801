/*
 * pgmosaic doctor: settles what a crash left in doubt, and says what is not well.
 */
#include "catalog/decision.h"
#include "catalog/health.h"
#include "catalog/twophase.h"
#include "citus/health.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CONNECT_MS = 5000, LOOK_MS = 15000 };

static const struct option_spec doctor_options[] = {
    {"dry-run", 0, NULL, "only look: settle nothing", NULL},
    {"timeout", 0, "SECONDS", "how long settling may take [60]", NULL},
    {NULL},
};

struct report {
    bool json, dry_run;
    size_t unwell;
    json_t *transactions, *problems;
};

static void colour_line(enum colour colour, const char *word)
{
    printf("%s%s%s ", output_colour(stdout, colour), word, output_colour(stdout, COLOUR_NONE));
}

static void report_finding(struct report *report, const struct finding *finding)
{
    report->unwell += finding->fatal;
    if (report->json) {
        json_array_append_new(report->problems,
                              json_pack("{s:s, s:s, s:s, s:s, s:s}", "severity", finding->fatal ? "error" : "warning",
                                        "shard", finding->shard, "table", finding->table, "what", finding->what, "fix",
                                        finding->fix));
        return;
    }
    colour_line(finding->fatal ? COLOUR_RED : COLOUR_YELLOW, finding->fatal ? "problem" : "warning");
    if (*finding->shard)
        printf("shard%s %s: ", strchr(finding->shard, ',') ? "s" : "", finding->shard);
    if (*finding->table)
        printf("table %s: ", finding->table);
    printf("%s%s%s\n", finding->what, *finding->fix ? ": " : "", finding->fix);
}

/* ---- transactions in doubt ---------------------------------------------------------------------------- */

static void report_settled(struct report *report, const struct settled *settled)
{
    const char *outcome = settled->committed ? "committed" : "rolled back";
    report->unwell += !settled->resolved;
    if (!*settled->gid) {
        struct finding finding = {.fatal = false,
                                  .shard = settled->shard,
                                  .table = "",
                                  .fix = settled->reason,
                                  .what = "it could not be asked for prepared transactions"};
        report_finding(report, &finding);
    } else if (report->json) {
        json_array_append_new(report->transactions,
                              json_pack("{s:s, s:s, s:b, s:o, s:o}", "gid", settled->gid, "shard", settled->shard,
                                        "resolved", settled->resolved, "outcome",
                                        settled->resolved ? json_string(outcome) : json_null(), "reason",
                                        settled->resolved ? json_null() : json_string(settled->reason)));
    } else if (settled->resolved) {
        colour_line(COLOUR_GREEN, "settled");
        printf("shard %s: transaction %s was in doubt and is %s now\n", settled->shard, settled->gid, outcome);
    } else {
        colour_line(COLOUR_RED, "in doubt");
        printf("shard %s: transaction %s: %s\n", settled->shard, settled->gid, settled->reason);
    }
}

static mosaic_status settle(struct report *report, const struct model *model, int64_t deadline, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct settled *found;
    size_t count;
    mosaic_status status = twophase_recover(model, NULL, deadline, &arena, &found, &count, error);
    for (size_t i = 0; i < count; i++)
        report_settled(report, &found[i]);
    arena_free(&arena);
    return status;
}

/* ---- --dry-run ---------------------------------------------------------------------------------------- */

static void list_one(struct report *report, const char *shard, const char *gid, const char *outcome, const char *said)
{
    report->unwell++;
    if (report->json) {
        json_array_append_new(report->transactions,
                              json_pack("{s:s, s:s, s:b, s:s?, s:s}", "gid", gid, "shard", shard, "resolved", false,
                                        "outcome", outcome, "reason", "dry run: nothing was settled"));
        return;
    }
    colour_line(COLOUR_YELLOW, "in doubt");
    printf("shard %s: transaction %s, %s: run pgmosaic doctor to settle it\n", shard, gid, said);
}

#define AGE_OF(column) \
    "pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) " column ")::pg_catalog.int8"

/* What stands prepared on a shard. */
static mosaic_status list_prepared(struct report *report, PGconn *connection, const char *shard, int64_t deadline,
                                   mosaic_error *error)
{
    PGresult *result;
    char said[256];
    mosaic_status status =
        pq_exec(connection, shard,
                "SELECT gid, owner, " AGE_OF(
                    "prepared") " FROM pg_catalog.pg_prepared_xacts WHERE "
                                "pg_catalog.starts_with(gid, 'mosaic:') AND database OPERATOR(pg_catalog.=) "
                                "pg_catalog.current_database() ORDER BY prepared",
                deadline, &result, error);
    if (status != MOSAIC_OK)
        return status;
    for (int row = 0; row < PQntuples(result); row++) {
        snprintf(said, sizeof said, "prepared by role %s %s s ago", PQgetvalue(result, row, 1),
                 PQgetvalue(result, row, 2));
        list_one(report, shard, PQgetvalue(result, row, 0), NULL, said);
    }
    PQclear(result);
    return MOSAIC_OK;
}

/* What a shard has decided for others, and still keeps: somebody may not have heard of it. */
static mosaic_status list_decisions(struct report *report, PGconn *connection, const char *shard, int64_t deadline,
                                    mosaic_error *error)
{
    PGresult *result;
    mosaic_error why;
    char said[256];
    mosaic_status status = pq_exec(connection, shard,
                                   "SELECT gid, outcome, pg_catalog.array_to_string(participants, ', '), " AGE_OF(
                                       "created") " FROM mosaic.decision ORDER BY created, gid",
                                   deadline, &result, &why);
    if (status == MOSAIC_SERVER && (!strcmp(why.sqlstate, "42P01") || !strcmp(why.sqlstate, "3F000")))
        return MOSAIC_OK; /* nothing was ever decided here */
    if (status != MOSAIC_OK) {
        *error = why;
        return status;
    }
    for (int row = 0; row < PQntuples(result); row++) {
        const char *outcome = !strcmp(PQgetvalue(result, row, 1), "committed") ? "committed" : "rolled back";
        const char *others = PQgetvalue(result, row, 2);
        snprintf(said, sizeof said, "decided here as %s %s s ago%s%s", outcome, PQgetvalue(result, row, 3),
                 *others ? ", for " : "", others);
        list_one(report, shard, PQgetvalue(result, row, 0), outcome, said);
    }
    PQclear(result);
    return MOSAIC_OK;
}

static mosaic_status list_shard(struct report *report, const struct shard *shard, mosaic_error *error)
{
    PGconn *connection;
    mosaic_error why;
    int64_t deadline = pq_deadline(CONNECT_MS);
    mosaic_status status = decision_connect(shard, deadline, &connection, &why);
    if (status != MOSAIC_OK) /* that it is down is told by what compares the shards */
        return status == MOSAIC_INTERRUPTED ? pq_interrupted("looking at the shards", error) : MOSAIC_OK;
    status = list_prepared(report, connection, shard->name, deadline, error);
    if (status == MOSAIC_OK)
        status = list_decisions(report, connection, shard->name, deadline, error);
    PQfinish(connection);
    return status;
}

/* ---- what differs ------------------------------------------------------------------------------------- */

/* Without it tier 4 is not available, and nothing else is hindered. */
static void report_coordinator(struct report *report, const struct coordinator_look *look)
{
    char what[700];
    struct finding finding = {.fatal = false, .shard = "", .table = "", .fix = look->fix, .what = what};
    if (look->state == COORDINATOR_UNKNOWN || look->state == COORDINATOR_NONE || look->state == COORDINATOR_IN_STEP)
        return;
    snprintf(what, sizeof what, "the coordinator is %s: %s", coordinator_state_name(look->state), look->why);
    report_finding(report, &finding);
}

static mosaic_status look(struct report *report, struct model *model, mosaic_error *error)
{
    struct health health;
    mosaic_status status = health_look(model, CONNECT_MS, LOOK_MS, &health, error);
    for (size_t i = 0; status == MOSAIC_OK && i < health.problems.count; i++)
        report_finding(report, &health.problems.list[i]);
    if (status == MOSAIC_OK && health.applied)
        report_coordinator(report, health.coordinator);
    health_free(&health);
    return status;
}

/* Citus settles its own transactions in doubt, every minute (citus.recover_2pc_interval). */
static mosaic_status look_citus(struct report *report, struct model *model, mosaic_error *error)
{
    struct citus_health health;
    mosaic_status status = citus_health_look(model, CONNECT_MS, LOOK_MS, &health, error);
    for (size_t i = 0; status == MOSAIC_OK && i < health.problems.count; i++)
        report_finding(report, &health.problems.list[i]);
    citus_health_free(&health);
    return status;
}

/* ---- the command -------------------------------------------------------------------------------------- */

static mosaic_status examine(struct report *report, struct model *model, int64_t deadline, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    if (model->engine == ENGINE_CITUS)
        return look_citus(report, model, error);
    if (report->dry_run)
        for (size_t i = 0; i < model->shard_count && status == MOSAIC_OK; i++)
            status = list_shard(report, &model->shards[i], error);
    else
        status = settle(report, model, deadline, error);
    return status == MOSAIC_OK ? look(report, model, error) : status;
}

static void print_end(const struct report *report, const struct model *model)
{
    if (report->json) {
        output_json_document(stdout,
                             json_pack("{s:s, s:b, s:O, s:O}", "cluster", model->name, "healthy", report->unwell == 0,
                                       "transactions", report->transactions, "problems", report->problems));
    } else if (report->unwell == 0) {
        colour_line(COLOUR_GREEN, "well");
        bool citus = model->engine == ENGINE_CITUS;
        size_t places = citus ? model->node_count : model->shard_count;
        printf("cluster %s: %zu %s%s, nothing in doubt, nothing that speaks against it\n", model->name, places,
               citus ? "node" : "shard", places == 1 ? "" : "s");
    }
}

static int run_doctor(const struct invocation *invocation)
{
    mosaic_error error;
    struct model model;
    long seconds;
    struct report report = {.json = invocation->json, .dry_run = invocation_has(invocation, "dry-run")};
    pq_interrupt_flag(&context_interrupted);
    mosaic_status status = invocation_number(invocation, "timeout", 1, 86400, 60, &seconds, &error);
    if (status == MOSAIC_OK)
        status = context_model(invocation, &model, &error);
    if (status != MOSAIC_OK)
        return command_fail(&error);
    report.transactions = json_array();
    report.problems = json_array();
    status = examine(&report, &model, pq_deadline((int)seconds * 1000), &error);
    if (status == MOSAIC_OK)
        print_end(&report, &model);
    json_decref(report.transactions);
    json_decref(report.problems);
    model_free(&model);
    if (status != MOSAIC_OK)
        return command_fail(&error);
    return report.unwell ? EXIT_CODE_UNHEALTHY : EXIT_CODE_OK;
}

const struct command doctor_command = {
    .name = "doctor",
    .usage = "[--dry-run]",
    .summary = "settle transactions in doubt, and say what differs between shards",
    .description =
        "First, transactions that a crash left prepared on some shards are settled, one way on all of them: the shard "
        "that "
        "decides says how (docs/operating.md). It may be run at any time, also beside writing programs and another "
        "doctor; "
        "a commit that is just under way is given three seconds to finish by itself.\n\n"
        "Then settings, versions, collations, tables and ownership constraints are compared with the config, with the "
        "catalog and between shards. One line says what was found and what to do.\n\n"
        "On a Citus cluster nodes, tables and jobs are looked at; Citus settles its transactions itself.\n\n"
        "The exit code is 3 when something remains that is not well, for instance a transaction whose decider is down.",
    .examples = "pgmosaic doctor\npgmosaic doctor --dry-run --json\n",
    .options = doctor_options,
    .takes_config = true,
    .takes_json = true,
    .run = run_doctor,
};
