/* pgmosaic status: one screen that tells how a cluster is. */
#include "base/memory.h"
#include "catalog/health.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/output.h"
#include "cli/status_citus.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CONNECT_MS = 3000, LOOK_MS = 10000, SHARD_COLUMNS_MOST = 8 };

/* ---- JSON ---- */

static json_t *json_shard(const struct health *health, size_t at)
{
    const struct shard *shard = &health->model->shards[at];
    const struct health_shard *found = &health->shards[at];
    char *conninfo = pq_conninfo_masked(shard->conninfo);
    json_t *object =
        json_pack("{s:s, s:s?, s:b}", "name", shard->name, "conninfo", conninfo, "reachable", found->reachable);
    memory_free(conninfo);
    if (!found->reachable) {
        json_object_set_new(object, "version", json_null());
        json_object_set_new(object, "bytes", json_null());
        json_object_set_new(object, "epoch", json_null());
        json_object_set_new(object, "error", json_string(found->error.message));
        return object;
    }
    json_object_set_new(object, "version", json_string(found->facts->version));
    json_object_set_new(object, "bytes", json_integer((json_int_t)found->facts->bytes));
    json_object_set_new(object, "epoch",
                        found->facts->mosaic.present ? json_integer((json_int_t)found->facts->mosaic.epoch)
                                                     : json_null());
    json_object_set_new(object, "in_doubt", json_integer((json_int_t)found->facts->prepared));
    return object;
}

static json_t *json_key(const struct table *table)
{
    if (table->kind == TABLE_REFERENCE)
        return json_null();
    if (table->column_count == 1)
        return json_string(table->columns[0]);
    json_t *columns = json_array();
    for (size_t i = 0; i < table->column_count; i++)
        json_array_append_new(columns, json_string(table->columns[i]));
    return columns;
}

static json_t *json_table(const struct health *health, size_t at)
{
    const struct table *table = &health->model->tables[at];
    bool sharded = table->kind == TABLE_SHARDED, estimated = false;
    json_t *rows = json_object(), *object = json_object();
    for (size_t i = 0; i < health->model->shard_count; i++) {
        const struct health_rows *found = health_rows(health, at, i);
        estimated |= found->estimated;
        json_object_set_new(rows, health->model->shards[i].name,
                            found->rows < 0 ? json_null() : json_integer(found->rows));
    }
    json_object_set_new(object, "name", json_string(table->display));
    json_object_set_new(object, "kind", json_string(table_kind_name(table->kind)));
    json_object_set_new(object, "key", json_key(table));
    json_object_set_new(object, "function", sharded ? json_string(function_name(table->rule.function)) : json_null());
    json_object_set_new(object, "buckets",
                        sharded && table->rule.buckets ? json_integer(table->rule.buckets) : json_null());
    json_object_set_new(object, "rows", rows);
    json_object_set_new(object, "estimated", json_boolean(estimated));
    return object;
}

static json_t *json_coordinator(const struct health *health)
{
    const struct coordinator_look *look = health->coordinator;
    const char *conninfo = health->model->coordinator;
    char *masked = conninfo ? pq_conninfo_masked(conninfo) : NULL;
    json_t *object = json_pack("{s:s?, s:s, s:s, s:s}", "conninfo", masked, "state",
                               coordinator_state_name(look->state), "why", look->why, "fix", look->fix);
    memory_free(masked);
    return object;
}

static void print_json(const struct health *health)
{
    json_t *shards = json_array(), *tables = json_array(), *problems = json_array();
    for (size_t i = 0; i < health->model->shard_count; i++)
        json_array_append_new(shards, json_shard(health, i));
    for (size_t i = 0; i < health->model->table_count; i++)
        json_array_append_new(tables, json_table(health, i));
    for (size_t i = 0; i < health->problems.count; i++) {
        const struct finding *problem = &health->problems.list[i];
        json_array_append_new(problems, json_pack("{s:s, s:s, s:s, s:s}", "shard", problem->shard, "table",
                                                  problem->table, "what", problem->what, "fix", problem->fix));
    }
    output_json_document(stdout,
                         json_pack("{s:s, s:s, s:I, s:b, s:o, s:o, s:o, s:o}", "cluster", health->model->name, "engine",
                                   engine_name(health->model->engine), "epoch", (json_int_t)health->epoch, "healthy",
                                   health->problems.count == 0, "shards", shards, "coordinator",
                                   json_coordinator(health), "tables", tables, "problems", problems));
}

/* ---- a screen ---- */

static void print_shards(const struct health *health)
{
    struct output_table *table = output_table_new(6, "lllrrl");
    static const char *const heads[] = {"shard", "address", "version", "size", "epoch", "state"};
    char text[400];
    for (size_t i = 0; i < 6; i++)
        output_table_cell(table, heads[i]);
    for (size_t i = 0; i < health->model->shard_count; i++) {
        const struct shard_facts *facts = health->shards[i].facts;
        output_table_cell(table, health->model->shards[i].name);
        pq_conninfo_address(health->model->shards[i].conninfo, text, sizeof text);
        output_table_cell(table, text);
        snprintf(text, sizeof text, "%.*s", facts ? (int)strcspn(facts->version, " ") : 1,
                 facts ? facts->version : "-");
        output_table_cell(table, text);
        output_table_cell(table, facts ? output_bytes(facts->bytes, text) : "-");
        snprintf(text, sizeof text, "%" PRIu64, facts ? facts->mosaic.epoch : 0);
        output_table_cell(table, facts && facts->mosaic.present ? text : "-");
        snprintf(text, sizeof text, "%" PRIu64 " in doubt", facts ? facts->prepared : 0);
        output_table_cell(table, !facts ? "unreachable" : facts->prepared ? text : "up");
    }
    output_table_print(table, stdout);
}

/* One line: where it is, how it is, and what to do. */
static void print_coordinator(const struct health *health)
{
    const struct coordinator_look *look = health->coordinator;
    char address[400] = "";
    if (health->model->shard_count == 1 && look->state == COORDINATOR_NONE)
        return;
    if (health->model->coordinator)
        pq_conninfo_address(health->model->coordinator, address, sizeof address);
    printf("\ncoordinator  %s%s%s", address, *address ? "  " : "", coordinator_state_name(look->state));
    if (*look->why)
        printf(": %s", look->why);
    printf("\n");
    if (*look->fix)
        printf("    fix: %s\n", look->fix);
}

static void cell_rows(struct output_table *table, int64_t rows, bool estimated)
{
    char count[32], text[40];
    snprintf(text, sizeof text, "%s%s", estimated ? "~" : "", rows < 0 ? "?" : output_count((uint64_t)rows, count));
    output_table_cell(table, text);
}

static void describe_rule(const struct table *table, char *text, size_t size)
{
    if (table->kind == TABLE_REFERENCE) {
        snprintf(text, size, "reference");
        return;
    }
    snprintf(text, size, "%s(", function_name(table->rule.function));
    for (size_t i = 0; i < table->column_count; i++) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%s", i ? ", " : "", table->columns[i]);
    }
    size_t used = strlen(text);
    if (table->rule.buckets)
        snprintf(text + used, size - used, "), %u buckets", table->rule.buckets);
    else
        snprintf(text + used, size - used, ")");
}

struct sums {
    int64_t total, least, most;
    bool estimated, unknown;
};

static struct sums sum_rows(const struct health *health, size_t at)
{
    struct sums sums = {.least = INT64_MAX};
    for (size_t i = 0; i < health->model->shard_count; i++) {
        const struct health_rows *found = health_rows(health, at, i);
        sums.estimated |= found->estimated;
        sums.unknown |= found->rows < 0;
        if (found->rows < 0)
            continue;
        sums.total += found->rows;
        sums.least = found->rows < sums.least ? found->rows : sums.least;
        sums.most = found->rows > sums.most ? found->rows : sums.most;
    }
    if (sums.least == INT64_MAX)
        sums.least = 0;
    return sums;
}

/* Skew: the fullest shard against the mean; 1.00 is even. */
static void cell_skew(struct output_table *table, const struct health *health, size_t at, const struct sums *sums)
{
    char text[32] = "";
    double mean = (double)sums->total / (double)health->model->shard_count;
    if (health->model->tables[at].kind == TABLE_SHARDED && sums->total && !sums->unknown)
        snprintf(text, sizeof text, "%.2f", (double)sums->most / mean);
    output_table_cell(table, text);
}

/* A column for each shard while they fit on a screen, else the least and the most. */
static void print_tables(const struct health *health)
{
    size_t shards = health->model->shard_count;
    bool each = shards <= SHARD_COLUMNS_MOST;
    size_t columns = 4 + (each ? shards : 2);
    struct output_table *table = output_table_new(columns, "llrrrrrrrrrrrr");
    output_table_cell(table, "table");
    output_table_cell(table, "rule");
    for (size_t i = 0; each && i < shards; i++)
        output_table_cell(table, health->model->shards[i].name);
    if (!each) {
        output_table_cell(table, "least");
        output_table_cell(table, "most");
    }
    output_table_cell(table, "rows");
    output_table_cell(table, "skew");
    for (size_t at = 0; at < health->model->table_count; at++) {
        const struct table *model = &health->model->tables[at];
        struct sums sums = sum_rows(health, at);
        char rule[700];
        describe_rule(model, rule, sizeof rule);
        output_table_cell(table, model->display);
        output_table_cell(table, rule);
        for (size_t i = 0; each && i < shards; i++)
            cell_rows(table, health_rows(health, at, i)->rows, health_rows(health, at, i)->estimated);
        if (!each) {
            cell_rows(table, sums.least, sums.estimated);
            cell_rows(table, sums.most, sums.estimated);
        }
        cell_rows(table, model->kind == TABLE_REFERENCE ? sums.most : sums.total, sums.estimated || sums.unknown);
        cell_skew(table, health, at, &sums);
    }
    output_table_print(table, stdout);
}

static void print_screen(const struct health *health)
{
    const struct model *model = health->model;
    printf("%scluster %s%s  engine %s  epoch %" PRIu64 "  %zu shard%s\n\n", output_colour(stdout, COLOUR_BOLD),
           model->name, output_colour(stdout, COLOUR_NONE), engine_name(model->engine), health->epoch,
           model->shard_count, model->shard_count == 1 ? "" : "s");
    print_shards(health);
    print_coordinator(health);
    if (model->table_count) {
        printf("\n");
        print_tables(health);
    }
    printf("\n");
    for (size_t i = 0; i < health->problems.count; i++) {
        const struct finding *problem = &health->problems.list[i];
        printf("%sproblem%s", output_colour(stdout, COLOUR_RED), output_colour(stdout, COLOUR_NONE));
        if (*problem->table)
            printf(": table %s", problem->table);
        if (*problem->shard)
            printf(": shard %s", problem->shard);
        printf(": %s\n", problem->what);
        if (*problem->fix)
            printf("    fix: %s\n", problem->fix);
    }
    if (!health->problems.count)
        printf("%shealthy%s\n", output_colour(stdout, COLOUR_GREEN), output_colour(stdout, COLOUR_NONE));
}

static int status_run(const struct invocation *invocation)
{
    struct model model;
    struct health health;
    mosaic_error error;
    if (context_model(invocation, &model, &error) != MOSAIC_OK)
        return command_fail(&error);
    pq_interrupt_flag(&context_interrupted);
    int code = EXIT_CODE_OK;
    if (model.engine == ENGINE_CITUS) {
        code = status_citus(invocation, &model);
        model_free(&model);
        return code;
    }
    if (health_look(&model, CONNECT_MS, LOOK_MS, &health, &error) != MOSAIC_OK) {
        code = command_fail(&error);
    } else {
        if (invocation->json)
            print_json(&health);
        else
            print_screen(&health);
        if (health.problems.count)
            code = EXIT_CODE_UNHEALTHY;
    }
    health_free(&health);
    model_free(&model);
    return code;
}

const struct command status_command = {
    .name = "status",
    .usage = "",
    .summary = "one screen: shards, tables, rows, skew, epoch, problems",
    .description =
        "Asks every shard at once and shows whether it answers, its version, size and epoch; for each table "
        "of the config how many rows "
        "stand on each shard (counted exactly up to a million a shard, above that the planner's estimate, "
        "marked ~) and the skew: the "
        "fullest shard against the mean. Of the coordinator, which answers what is not for one shard, whether it is in "
        "step; while it is not, nothing else is hindered.\n\n"
        "On a Citus cluster: its nodes, how many shards and rows stand on each, and Citus's jobs that are stuck.\n\n"
        "Exits 3 when something is not well: a shard that does not answer, a constraint that is missing or "
        "differs, an epoch that is behind, "
        "copies of a reference table that differ (up to 100,000 rows and 64 MiB by what stands in them, larger ones by "
        "their number of rows), transactions in doubt for more than a minute, or a config "
        "that is not applied.",
    .examples = "pgmosaic status\npgmosaic status --json | jq .tables\n",
    .takes_config = true,
    .takes_json = true,
    .run = status_run,
};
