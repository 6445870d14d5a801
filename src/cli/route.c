/*
 * pgmosaic route: where keys live, without asking the shards about rows.
 *
 *     key ── rule ──> bucket ── map ──> shard
 *
 * The rule comes from the catalog (route TABLE) or from the options alone (route --function). Keys of one column that
 * are whole numbers or text take the batch functions of the rule; all others go one by one through key_from_text.
 */
#include "cli/command.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "cli/context.h"
#include "cli/lines.h"
#include "cli/route_check.h"
#include "cli/router.h"
#include "engine/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_MS = 30000 };

static const struct option_spec route_options[] = {
    {"function", 'f', "F", "no cluster: the sharding function", "modulo|hash|sha256"},
    {"shards", 'n', "N", "no cluster: how many shards there are", NULL},
    {"type", 't', "T", "no cluster: type of the key, or of its columns: int8,text", NULL},
    {"buckets", 'b', "B", "no cluster: how many buckets there are", NULL},
    {"check", 0, NULL, "engine citus: compare each answer with Citus's own", NULL},
    {NULL},
};

/* int8 for modulo, text for the others; or the types of --type. */
static mosaic_status set_types(const struct invocation *invocation, struct rule *rule, mosaic_error *error)
{
    const char *types = invocation_option(invocation, "type");
    if (!types)
        types = rule->function == FUNCTION_MODULO ? "int8" : "text";
    for (;;) {
        size_t size = strcspn(types, ",");
        if (rule->columns == KEY_COLUMNS_MAX)
            return error_set(error, MOSAIC_USAGE, "--type: a key has at most %d columns", (int)KEY_COLUMNS_MAX);
        if (!type_by_name(types, size, &rule->types[rule->columns])) {
            (void)!error_set(error, MOSAIC_USAGE, "--type: \"%.*s\" is no type of a sharding key", (int)size, types);
            return error_hint(error, "one of int2, int4, int8, text, varchar, bpchar, uuid, bytea, date, timestamp, "
                                     "timestamptz, numeric; several for a composite key: int8,text");
        }
        rule->columns++;
        if (!types[size])
            return MOSAIC_OK;
        types += size + 1;
    }
}

static mosaic_status open_offline(const struct invocation *invocation, struct router *router, mosaic_error *error)
{
    if (invocation_has(invocation, "check"))
        return error_set(error, MOSAIC_USAGE, "--check asks a cluster: name one of its tables instead of --function");
    struct rule *rule = arena_zeroed(&router->arena, 1, sizeof *rule);
    long shards, buckets;
    if (!rule)
        return error_memory(error);
    function_by_name(invocation_option(invocation, "function"), &rule->function);
    if (!invocation_has(invocation, "shards")) {
        (void)!error_set(error, MOSAIC_USAGE, "--function needs --shards N too");
        return error_hint(error, "see pgmosaic route --help");
    }
    mosaic_status status = invocation_number(invocation, "shards", 1, SHARDS_MOST, 0, &shards, error);
    if (status == MOSAIC_OK)
        status = invocation_number(invocation, "buckets", 1, BUCKETS_MOST, 0, &buckets, error);
    if (status == MOSAIC_OK)
        status = set_types(invocation, rule, error);
    if (status != MOSAIC_OK)
        return status;
    rule->buckets = buckets ? (uint32_t)buckets : rule_default_buckets(rule->function, (size_t)shards);
    status = rule_check(rule, (size_t)shards, error);
    if (status != MOSAIC_OK)
        return status;
    router->rule = rule;
    router->map = map_initial(&router->arena, rule->buckets, (uint32_t)shards, 1);
    return router->map ? MOSAIC_OK : error_memory(error);
}

/* What the config alone tells of the table, before any server is asked. */
static mosaic_status check_table(const struct model *model, const char *name, mosaic_error *error)
{
    const struct table *table = model_table(model, name);
    if (!table) {
        (void)!error_set(error, MOSAIC_NOT_FOUND, "%s has no table %s", model->source, name);
        return error_hint(error, "name it below tables: there, then run pgmosaic apply");
    }
    if (table->kind == TABLE_REFERENCE)
        return error_set(error, MOSAIC_USAGE, "%s is a reference table: every shard has all of its rows",
                         table->display);
    return MOSAIC_OK;
}

static mosaic_status use_table(struct router *router, const char *name, mosaic_error *error)
{
    const struct model *model = &router->model;
    const struct table *table = model_table(model, name);
    if (!table || !table->map) {
        (void)!error_set(error, MOSAIC_PREFLIGHT, "table %s was not applied yet", name);
        return error_hint(error, "run pgmosaic apply");
    }
    router->rule = &table->rule;
    router->map = table->map;
    router->shards = model->shards;
    router->citus = table->citus;
    for (size_t i = 0; i < table->column_count; i++)
        router->columns[i] = table->columns[i];
    return MOSAIC_OK;
}

static mosaic_status open_table(const struct invocation *invocation, struct router *router, struct route_check *check,
                                mosaic_error *error)
{
    static const char *const offline_only[] = {"shards", "type", "buckets"};
    for (size_t i = 0; i < 3; i++) {
        if (invocation_has(invocation, offline_only[i]))
            return error_set(error, MOSAIC_USAGE, "--%s goes with --function: a table has its own", offline_only[i]);
    }
    if (invocation->argument_count == 0) {
        (void)!error_set(error, MOSAIC_USAGE, "a table, or --function, is missing");
        return error_hint(error, "see pgmosaic route --help");
    }
    mosaic_status status = context_model(invocation, &router->model, error);
    if (status != MOSAIC_OK)
        return status;
    router->has_model = true;
    status = check_table(&router->model, invocation->arguments[0], error);
    if (status != MOSAIC_OK)
        return status;
    if (invocation_has(invocation, "check") && router->model.engine != ENGINE_CITUS)
        return error_set(error, MOSAIC_USAGE, "--check compares with Citus, and %s is of engine %s",
                         router->model.source, engine_name(router->model.engine));
    int64_t deadline = pq_deadline(TIMEOUT_MS);
    const struct shard *first = &router->model.shards[0];
    status = pq_connect(first->conninfo, first->name, "pgmosaic route", deadline, &check->coordinator, error);
    if (status != MOSAIC_OK)
        return status;
    status = engine_of(router->model.engine)->complete(&router->model, check->coordinator, deadline, error);
    if (status == MOSAIC_OK)
        status = use_table(router, invocation->arguments[0], error);
    if (status == MOSAIC_OK && invocation_has(invocation, "check")) {
        check->model = &router->model;
        check->table = model_table(&router->model, invocation->arguments[0]);
        router->check = route_check;
        router->check_context = check;
    }
    return status;
}

static mosaic_status route_arguments(struct router *router, const char *const *keys, size_t count, mosaic_error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct key_slice slice = {(const unsigned char *)keys[i], strlen(keys[i])};
        size_t good;
        mosaic_status status = router_add(router, &slice, 1, &good, error);
        if (status == MOSAIC_OK)
            status = router_flush(router, error);
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}

/* One key a line. What was found before a bad line is printed before the error. */
static mosaic_status route_lines(struct router *router, mosaic_error *error)
{
    static struct key_slice slices[ROUTER_BATCH];
    struct lines lines;
    mosaic_status status = lines_open(&lines, STDIN_FILENO, error);
    while (status == MOSAIC_OK) {
        size_t count = lines_take(&lines, slices, ROUTER_BATCH), good;
        if (count) {
            status = router_add(router, slices, count, &good, error);
            if (status != MOSAIC_OK && status != MOSAIC_IO)
                error_prefix(error, "line %" PRIu64, lines_number(&lines, count) + good);
            continue;
        }
        if (lines.ended)
            break;
        /* Before waiting: whoever types, or feeds a pipe, sees the answers so far. */
        status = router_flush(router, error);
        if (status == MOSAIC_OK)
            status = lines_fill(&lines, error);
    }
    lines_close(&lines);
    if (status == MOSAIC_OK)
        return router_flush(router, error);
    mosaic_error second;
    (void)!router_flush(router, &second);
    return status;
}

static int run_route(const struct invocation *invocation)
{
    struct router router;
    mosaic_error error;
    struct route_check check = {0};
    bool offline = invocation_has(invocation, "function");
    size_t skipped = offline ? 0 : 1;
    router_init(&router, stdout, invocation->json);
    mosaic_status status =
        offline ? open_offline(invocation, &router, &error) : open_table(invocation, &router, &check, &error);
    if (status == MOSAIC_OK)
        status = router_prepare(&router, &error);
    if (status == MOSAIC_OK && invocation->argument_count > skipped)
        status =
            route_arguments(&router, invocation->arguments + skipped, invocation->argument_count - skipped, &error);
    else if (status == MOSAIC_OK)
        status = route_lines(&router, &error);
    if (status == MOSAIC_OK && check.model && !invocation->json)
        fprintf(stderr, "%" PRIu64 " key%s checked: Citus says the same\n", check.keys, check.keys == 1 ? "" : "s");
    PQfinish(check.coordinator);
    router_free(&router);
    if (status == MOSAIC_OK || ferror(stdout)) /* main says what became of the output */
        return EXIT_CODE_OK;
    return command_fail(&error);
}

const struct command route_command = {
    .name = "route",
    .usage = "TABLE [KEY...] | --function F --shards N [KEY...]",
    .summary = "say which bucket and shard a key belongs to",
    .description =
        "Prints one line a key: the key, the sharding function, the bucket and the shard, separated by tabs. No row is "
        "read: a table's rule and map come from the catalog.\n\n"
        "With --function no cluster is needed: the map is the initial one (bucket mod shards) and shards are numbered "
        "from 0. The type is int8 for modulo and text for hash and sha256 unless --type says another.\n\n"
        "Without a KEY, keys are read from standard input, one a line of at most 1 MiB. Every byte of a line belongs "
        "to "
        "the key; an empty line is an empty text. The order of the answers is that of the keys. At the first key that "
        "is none, the answers before it are printed, its line is named, and the exit code is 1.\n\n"
        "A key of several columns is one line of CSV: 5,abc or 5,\"a,b\". A key of one column is taken as it is, "
        "without "
        "quotes.\n\n"
        "On a Citus cluster the line has the key, citus, the number of the table's shard, and the node that it stands "
        "on, computed from the ranges in pg_dist_shard. --check asks the coordinator too "
        "(get_shard_id_for_distribution_column), and ends with exit code 1 at the first key that it places "
        "otherwise.\n\n"
        "With --json each line is an object with key (as it was given), function, bucket and shard; on Citus with key, "
        "function, shard and node.",
    .examples = "pgmosaic route users 42 -5\n"
                "pgmosaic route --function modulo --shards 4 42\n"
                "pgmosaic route --function sha256 --shards 4 @user:matrix.org\n"
                "pgmosaic route --function hash --shards 3 --type int8,text 5,abc\n"
                "seq 1000000 | pgmosaic route --function hash --type int8 --shards 4\n"
                "seq 10000 | pgmosaic route users --check\n",
    .options = route_options,
    .takes_config = true,
    .takes_json = true,
    .most_arguments = (size_t)-1,
    .run = run_route,
};
