/* pgmosaic rebalance: Citus's own, started, watched, stopped. */
#include "cli/context.h"
#include "cli/coordinator.h"
#include "cli/output.h"
#include "cli/watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct option_spec rebalance_options[] = {
    {"dry-run", 0, NULL, "show the moves and what speaks against them, start nothing", NULL},
    {"no-wait", 0, NULL, "start it and return; it goes on in the server", NULL},
    {"status", 0, NULL, "show once what the last one does or came to, start nothing", NULL},
    {"stop", 0, NULL, "stop the one that runs; what it has moved stays", NULL},
    {"mode", 0, "MODE",
     "auto: by logical replication, refused where a table has no replica identity (the default); force_logical: "
     "updates and deletes on such a table fail meanwhile; block_writes: writes to a shard wait while it moves",
     "auto|force_logical|block_writes"},
    {NULL},
};

struct rebalancing {
    const struct invocation *invocation;
    struct coordinator coordinator;
    struct arena arena;
    struct rebalance_job job;
    struct watch watch;
    enum move_mode mode;
    mosaic_error error;
};

static mosaic_status read_options(struct rebalancing *work)
{
    static const char *const exclusive[] = {"dry-run", "no-wait", "status", "stop"};
    const char *mode = invocation_option(work->invocation, "mode"), *first = NULL;
    for (size_t i = 0; i < sizeof exclusive / sizeof *exclusive; i++) {
        if (!invocation_has(work->invocation, exclusive[i]))
            continue;
        if (first)
            return error_set(&work->error, MOSAIC_USAGE, "--%s and --%s do not go together", first, exclusive[i]);
        first = exclusive[i];
    }
    work->mode = MOVE_AUTO;
    while (mode && strcmp(mode, move_mode_name(work->mode)) != 0)
        work->mode++;
    return MOSAIC_OK;
}

static mosaic_status look(struct rebalancing *work)
{
    return rebalance_look(work->coordinator.connection, pq_deadline(COORDINATOR_ASK_MS), &work->arena, &work->job,
                          &work->error);
}

static bool all_answer(const struct move_facts *facts)
{
    for (size_t i = 0; i < facts->node_count; i++)
        if (!facts->nodes[i].active || !facts->nodes[i].reachable)
            return false;
    return true;
}

/* Without all nodes Citus cannot plan, and what is said then is that they are missing. */
static mosaic_status plan(struct rebalancing *work, struct arena *arena, struct move_facts *facts)
{
    struct planned_move *moves;
    size_t count;
    if (!all_answer(facts))
        return MOSAIC_OK;
    mosaic_status status = rebalance_plan(work->coordinator.connection, pq_deadline(COORDINATOR_ASK_MS), arena, &moves,
                                          &count, &work->error);
    if (status == MOSAIC_OK)
        rebalance_heed_plan(facts, moves, count);
    return status;
}

/* Shows what speaks against it; MOSAIC_PREFLIGHT when something does. */
static mosaic_status check(struct rebalancing *work)
{
    struct arena arena = ARENA_INIT;
    struct findings findings = {.arena = &arena};
    struct move_facts facts;
    mosaic_status status =
        rebalance_facts(work->coordinator.connection, pq_deadline(COORDINATOR_ASK_MS), &arena, &facts, &work->error);
    if (status == MOSAIC_OK && facts.takers && facts.foreign_count == 0)
        status = plan(work, &arena, &facts);
    if (status == MOSAIC_OK) {
        rebalance_check(&facts, work->mode, &findings);
        if (!coordinator_show(&findings))
            status = error_set(&work->error, MOSAIC_PREFLIGHT, "the rebalance cannot start, for what stands above");
    }
    arena_free(&arena);
    return status;
}

/* ---- --dry-run ---- */

static void print_plan(const struct planned_move *moves, size_t count)
{
    struct output_table *table = output_table_new(5, "rlllr");
    static const char *const heads[] = {"shard", "table", "from", "to", "size"};
    char text[32];
    for (size_t i = 0; i < 5; i++)
        output_table_cell(table, heads[i]);
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%" PRId64, moves[i].shard);
        output_table_cell(table, text);
        output_table_cell(table, moves[i].table);
        output_table_cell(table, moves[i].from);
        output_table_cell(table, moves[i].to);
        output_table_cell(table, moves[i].bytes < 0 ? "?" : output_bytes((uint64_t)moves[i].bytes, text));
    }
    output_table_print(table, stdout);
}

static json_t *json_plan(const struct planned_move *moves, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s, s:o}", "shard", (json_int_t)moves[i].shard, "table",
                                              moves[i].table, "from", moves[i].from, "to", moves[i].to, "bytes",
                                              moves[i].bytes < 0 ? json_null() : json_integer(moves[i].bytes)));
    return json_pack("{s:o}", "moves", list);
}

static mosaic_status dry_run(struct rebalancing *work)
{
    struct planned_move *moves;
    size_t count;
    mosaic_status status = check(work);
    if (status == MOSAIC_OK)
        status = rebalance_plan(work->coordinator.connection, pq_deadline(COORDINATOR_ASK_MS), &work->arena, &moves,
                                &count, &work->error);
    if (status != MOSAIC_OK)
        return status;
    if (work->invocation->json)
        output_json_document(stdout, json_plan(moves, count));
    else if (count)
        print_plan(moves, count);
    else
        printf("nothing to do: balanced\n");
    return MOSAIC_OK;
}

/* ---- --status ---- */

static int show_status(struct rebalancing *work)
{
    static const char *const words[] = {
        [REBALANCE_NONE] = "no rebalance was ever started",
        [REBALANCE_MOVING] = "moving",
        [REBALANCE_STUCK] = "stuck",
        [REBALANCE_STOPPING] = "stopping",
        [REBALANCE_FINISHED] = "finished",
        [REBALANCE_FAILED] = "failed",
        [REBALANCE_CANCELLED] = "stopped",
    };
    char line[600], time[32];
    if (look(work) != MOSAIC_OK)
        return command_fail(&work->error);
    const struct rebalance_job *job = &work->job;
    enum rebalance_outcome outcome = rebalance_judge(job);
    if (work->invocation->json)
        output_json_document(stdout, watch_json(job));
    else if (!job->id)
        printf("%s\n", words[outcome]);
    else
        printf("job %" PRId64 ": %s, %s, %s\n", job->id, words[outcome], watch_line(job, line, sizeof line),
               output_duration(job->seconds, time));
    if (outcome == REBALANCE_STUCK)
        watch_complain(job);
    if (outcome == REBALANCE_FAILED && watch_verdict(&work->watch, job, &work->error) != MOSAIC_OK)
        (void)command_fail(&work->error);
    return outcome == REBALANCE_STUCK || outcome == REBALANCE_FAILED ? EXIT_CODE_UNHEALTHY : EXIT_CODE_OK;
}

/* ---- --stop ---- */

static mosaic_status stop(struct rebalancing *work)
{
    mosaic_status status = look(work);
    bool open = status == MOSAIC_OK && rebalance_is_open(rebalance_judge(&work->job));
    if (open)
        status = watch_stop(work->coordinator.connection, &work->arena, &work->job, &work->error);
    if (status != MOSAIC_OK)
        return status;
    if (work->invocation->json)
        output_json_document(stdout, watch_json(&work->job));
    else if (!open)
        printf("no rebalance runs\n");
    else
        printf("stopped after %zu of %zu steps; what was moved stays, and pgmosaic rebalance goes on with the rest\n",
               work->job.done, work->job.total);
    return MOSAIC_OK;
}

/* ---- starting and watching ---- */

/* Starts one unless one runs. *nothing: there is nothing to move. */
static mosaic_status start(struct rebalancing *work, bool *nothing)
{
    int64_t id;
    *nothing = false;
    mosaic_status status = look(work);
    if (status != MOSAIC_OK)
        return status;
    if (rebalance_is_open(rebalance_judge(&work->job))) {
        fprintf(stderr, "job %" PRId64 " runs already: this is about it%s\n", work->job.id,
                invocation_has(work->invocation, "mode") ? ", and it keeps the mode that it was started with" : "");
        return MOSAIC_OK;
    }
    status = check(work);
    if (status == MOSAIC_OK)
        status = rebalance_start(work->coordinator.connection, false, work->mode, pq_deadline(COORDINATOR_ASK_MS), &id,
                                 &work->error);
    *nothing = status == MOSAIC_OK && id == 0;
    return status == MOSAIC_OK && id ? look(work) : status;
}

static void say_done(const struct rebalancing *work)
{
    char time[32];
    if (work->invocation->json)
        output_json_document(stdout, watch_json(&work->job));
    else
        printf("rebalanced: %zu step%s in %s\n", work->job.done, work->job.done == 1 ? "" : "s",
               output_duration(work->job.seconds, time));
}

static mosaic_status start_and_watch(struct rebalancing *work)
{
    bool nothing;
    mosaic_status status = start(work, &nothing);
    if (status != MOSAIC_OK)
        return status;
    if (nothing) {
        if (work->invocation->json)
            output_json_document(stdout,
                                 json_pack("{s:n, s:s, s:i, s:i}", "job", "state", "balanced", "total", 0, "done", 0));
        else
            printf("nothing to do: balanced\n");
        return MOSAIC_OK;
    }
    if (invocation_has(work->invocation, "no-wait")) {
        if (work->invocation->json)
            output_json_document(stdout, watch_json(&work->job));
        else
            printf("job %" PRId64 " runs in the server: %zu steps; watch it by pgmosaic rebalance, stop it by pgmosaic "
                   "rebalance --stop\n",
                   work->job.id, work->job.total);
        return MOSAIC_OK;
    }
    status = watch_job(&work->watch, work->coordinator.connection, &work->arena, &work->job, &work->error);
    if (status == MOSAIC_OK)
        status = watch_verdict(&work->watch, &work->job, &work->error);
    if (status == MOSAIC_OK)
        say_done(work);
    return status;
}

static int run_rebalance(const struct invocation *invocation)
{
    struct rebalancing work = {
        .invocation = invocation,
        .watch = {.label = "rebalance",
                  .again = "pgmosaic rebalance",
                  .stop = "pgmosaic rebalance --stop",
                  .quiet = invocation->json},
    };
    int code = EXIT_CODE_OK;
    mosaic_status status = read_options(&work);
    if (status == MOSAIC_OK)
        status = coordinator_open(invocation, &work.coordinator, &work.error);
    if (status == MOSAIC_OK && invocation_has(invocation, "status"))
        code = show_status(&work);
    else if (status == MOSAIC_OK && invocation_has(invocation, "stop"))
        status = stop(&work);
    else if (status == MOSAIC_OK && invocation_has(invocation, "dry-run"))
        status = dry_run(&work);
    else if (status == MOSAIC_OK)
        status = start_and_watch(&work);
    if (status != MOSAIC_OK)
        code = command_fail(&work.error);
    coordinator_close(&work.coordinator);
    arena_free(&work.arena);
    return code;
}

const struct command rebalance_command = {
    .name = "rebalance",
    .usage = "",
    .summary = "engine citus: spread the shards evenly over the nodes, in the background",
    .description =
        "Starts Citus's own rebalance and watches it: a bar on a terminal, plain lines elsewhere. It runs in the "
        "server: Ctrl-C (exit code 130) ends the watching only. While one runs, pgmosaic rebalance watches it; after a "
        "stop or a failure it goes on with what is left. A step is the move of a shard with its colocated ones, or "
        "the copying of reference tables to a node that lacks them.\n\n"
        "Before it starts it looks for what would stop it, and says all of it with the fix: tables without primary key "
        "or replica identity, wal_level, nodes that are down, replication slots that are all taken, tables of another "
        "role. One that cannot get on later is said to be stuck, by what, and what to do; it is tried again by the "
        "server.\n\n"
        "--status exits 3 when the last one is stuck or failed.",
    .examples = "pgmosaic rebalance --dry-run\npgmosaic rebalance\npgmosaic rebalance --no-wait\n"
                "pgmosaic rebalance --status --json\npgmosaic rebalance --stop\n",
    .options = rebalance_options,
    .takes_config = true,
    .takes_json = true,
    .run = run_rebalance,
};
