/* pgmosaic status on a Citus cluster. */
#include "cli/status_citus.h"

#include "base/memory.h"
#include "citus/health.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CONNECT_MS = 3000, LOOK_MS = 10000, NODE_COLUMNS_MOST = 8 };

static const struct citus_rows *rows_of(const struct citus_health *health, size_t table, size_t node)
{
    return &health->rows[table * health->model->node_count + node];
}

static bool holds_rows(const struct table *table, const struct citus_node *node)
{
    return table->kind == TABLE_SHARDED || node->active;
}

static const char *role(const struct citus_node *node)
{
    return node->group == 0 ? "coordinator" : "worker";
}

/* ---- JSON ---- */

static json_t *json_node(const struct citus_health *health, size_t at)
{
    const struct citus_node *node = &health->model->nodes[at];
    const struct citus_answer *answer = &health->answers.list[at];
    json_t *object = json_pack("{s:s, s:s, s:b, s:b, s:b, s:i}", "name", node->name, "role", role(node), "active",
                               node->active, "has_shards", node->has_shards, "reachable", answer->reachable, "shards",
                               (int)health->placements[at]);
    json_object_set_new(object, "version", answer->reachable ? json_string(answer->server) : json_null());
    json_object_set_new(object, "citus", answer->reachable ? json_string(answer->extension) : json_null());
    json_object_set_new(object, "bytes", answer->reachable ? json_integer((json_int_t)answer->bytes) : json_null());
    if (!answer->reachable)
        json_object_set_new(object, "error", json_string(answer->failure));
    return object;
}

static json_t *json_table(const struct citus_health *health, size_t at)
{
    const struct table *table = &health->model->tables[at];
    json_t *rows = json_object();
    bool at_least = false;
    for (size_t node = 0; table->citus && node < health->model->node_count; node++) {
        const struct citus_rows *found = rows_of(health, at, node);
        at_least |= found->at_least;
        if (holds_rows(table, &health->model->nodes[node]))
            json_object_set_new(rows, health->model->nodes[node].name,
                                found->rows < 0 ? json_null() : json_integer(found->rows));
    }
    bool sharded = table->kind == TABLE_SHARDED;
    return json_pack(
        "{s:s, s:s, s:o, s:b, s:o, s:o, s:o, s:b}", "name", table->display, "kind", table_kind_name(table->kind), "key",
        sharded ? json_string(table->columns[0]) : json_null(), "distributed", table->citus != NULL, "shard_count",
        table->citus ? json_integer(table->citus->count) : json_null(), "colocation",
        table->citus ? json_integer(table->citus->colocation) : json_null(), "rows", rows, "at_least", at_least);
}

static void print_json(const struct citus_health *health)
{
    const struct model *model = health->model;
    json_t *nodes = json_array(), *tables = json_array(), *problems = json_array();
    for (size_t i = 0; i < model->node_count; i++)
        json_array_append_new(nodes, json_node(health, i));
    for (size_t i = 0; i < model->table_count; i++)
        json_array_append_new(tables, json_table(health, i));
    for (size_t i = 0; i < health->problems.count; i++) {
        const struct finding *problem = &health->problems.list[i];
        json_array_append_new(problems, json_pack("{s:s, s:s, s:s, s:s}", "node", problem->shard, "table",
                                                  problem->table, "what", problem->what, "fix", problem->fix));
    }
    output_json_document(stdout, json_pack("{s:s, s:s, s:b, s:o, s:o, s:o}", "cluster", model->name, "engine", "citus",
                                           "healthy", health->problems.count == 0, "nodes", nodes, "tables", tables,
                                           "problems", problems));
}

/* ---- a screen ---- */

static void print_nodes(const struct citus_health *health)
{
    static const char *const heads[] = {"node", "role", "version", "citus", "size", "shards", "state"};
    struct output_table *table = output_table_new(7, "llllrrl");
    char text[64];
    for (size_t i = 0; i < 7; i++)
        output_table_cell(table, heads[i]);
    for (size_t i = 0; i < health->model->node_count; i++) {
        const struct citus_node *node = &health->model->nodes[i];
        const struct citus_answer *answer = &health->answers.list[i];
        output_table_cell(table, node->name);
        output_table_cell(table, role(node));
        snprintf(text, sizeof text, "%.*s", answer->reachable ? (int)strcspn(answer->server, " ") : 1,
                 answer->reachable ? answer->server : "-");
        output_table_cell(table, text);
        output_table_cell(table, answer->reachable ? answer->extension : "-");
        output_table_cell(table, answer->reachable ? output_bytes(answer->bytes, text) : "-");
        snprintf(text, sizeof text, "%" PRIu32, health->placements[i]);
        output_table_cell(table, text);
        output_table_cell(table, !answer->reachable                     ? "unreachable"
                                 : !node->active                        ? "not active"
                                 : !node->has_shards && node->group > 0 ? "up, takes no shards"
                                                                        : "up");
    }
    output_table_print(table, stdout);
}

static void describe(const struct table *table, char *text, size_t size)
{
    if (!table->citus)
        snprintf(text, size, "not distributed");
    else if (table->kind == TABLE_REFERENCE)
        snprintf(text, size, "reference");
    else
        snprintf(text, size, "hash(%s), %" PRIu32 " shards, group %d", table->columns[0], table->citus->count,
                 table->citus->colocation);
}

static void cell_rows(struct output_table *table, int64_t rows, bool at_least)
{
    char count[32], text[40];
    snprintf(text, sizeof text, "%s%s", rows >= 0 && at_least ? ">" : "",
             rows < 0 ? "?" : output_count((uint64_t)rows, count));
    output_table_cell(table, text);
}

/* The fullest node that takes shards against their mean; 1.00 is even. */
static void cell_skew(struct output_table *table, const struct citus_health *health, size_t at)
{
    int64_t most = 0, total = 0, nodes = 0;
    char text[32] = "";
    for (size_t i = 0; i < health->model->node_count; i++) {
        const struct citus_rows *rows = rows_of(health, at, i);
        if (rows->rows < 0 || rows->at_least)
            total = INT64_MIN / 2;
        if (health->model->nodes[i].has_shards || rows->rows > 0)
            nodes++;
        total += rows->rows;
        most = rows->rows > most ? rows->rows : most;
    }
    if (health->model->tables[at].kind == TABLE_SHARDED && total > 0)
        snprintf(text, sizeof text, "%.2f", (double)most * (double)nodes / (double)total);
    output_table_cell(table, text);
}

static void print_tables(const struct citus_health *health)
{
    const struct model *model = health->model;
    bool each = model->node_count <= NODE_COLUMNS_MOST;
    struct output_table *table = output_table_new(4 + (each ? model->node_count : 0), "llrrrrrrrrrrrr");
    output_table_cell(table, "table");
    output_table_cell(table, "rule");
    for (size_t i = 0; each && i < model->node_count; i++)
        output_table_cell(table, model->nodes[i].name);
    output_table_cell(table, "rows");
    output_table_cell(table, "skew");
    for (size_t at = 0; at < model->table_count; at++) {
        bool reference = model->tables[at].kind == TABLE_REFERENCE, at_least = false;
        int64_t total = 0;
        char rule[700];
        describe(&model->tables[at], rule, sizeof rule);
        output_table_cell(table, model->tables[at].display);
        output_table_cell(table, rule);
        for (size_t i = 0; i < model->node_count; i++) {
            const struct citus_rows *rows = rows_of(health, at, i);
            if (each && (!reference || rows->rows))
                cell_rows(table, rows->rows, rows->at_least);
            else if (each)
                output_table_cell(table, "");
            at_least |= rows->at_least || (rows->rows < 0 && !reference);
            if (!reference)
                total += rows->rows > 0 ? rows->rows : 0;
            else if (rows->rows > total) /* every node has all of them */
                total = rows->rows;
        }
        cell_rows(table, total, at_least);
        cell_skew(table, health, at);
    }
    output_table_print(table, stdout);
}

static void print_screen(const struct citus_health *health)
{
    const struct model *model = health->model;
    printf("%scluster %s%s  engine citus  %zu node%s\n\n", output_colour(stdout, COLOUR_BOLD), model->name,
           output_colour(stdout, COLOUR_NONE), model->node_count, model->node_count == 1 ? "" : "s");
    print_nodes(health);
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
            printf(": node %s", problem->shard);
        printf(": %s\n", problem->what);
        if (*problem->fix)
            printf("    fix: %s\n", problem->fix);
    }
    if (!health->problems.count)
        printf("%shealthy%s\n", output_colour(stdout, COLOUR_GREEN), output_colour(stdout, COLOUR_NONE));
}

int status_citus(const struct invocation *invocation, struct model *model)
{
    struct citus_health health;
    mosaic_error error;
    int code = EXIT_CODE_OK;
    if (citus_health_look(model, CONNECT_MS, LOOK_MS, &health, &error) != MOSAIC_OK) {
        code = command_fail(&error);
        if (error.status == MOSAIC_UNREACHABLE || error.status == MOSAIC_TIMEOUT)
            code = EXIT_CODE_UNHEALTHY;
    } else {
        if (invocation->json)
            print_json(&health);
        else
            print_screen(&health);
        if (health.problems.count)
            code = EXIT_CODE_UNHEALTHY;
    }
    citus_health_free(&health);
    return code;
}
