/* pgmosaic node: the nodes of a Citus cluster, listed, taken in, emptied, let go. */
#include "citus/candidate.h"
#include "cli/context.h"
#include "cli/coordinator.h"
#include "cli/output.h"
#include "cli/watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What every subcommand has: the cluster, its nodes, and the one that is meant. */
struct noding {
    const struct invocation *invocation;
    struct coordinator coordinator;
    struct arena arena; /* of members and names */
    struct arena job_arena;
    struct members members;
    const char *host, *name;
    int port;
    const struct member *member; /* NULL: no node has this address */
    struct rebalance_job job;
    mosaic_error error;
};

static const struct option_spec no_options[] = {{NULL}};

static int64_t asking(void)
{
    return pq_deadline(COORDINATOR_ASK_MS);
}

static mosaic_status begin(struct noding *work, const struct invocation *invocation)
{
    work->invocation = invocation;
    mosaic_status status = MOSAIC_OK;
    if (invocation->argument_count) {
        status = membership_address(&work->arena, invocation->arguments[0], &work->host, &work->port, &work->error);
        work->name = status == MOSAIC_OK ? arena_format(&work->arena, "%s:%d", work->host, work->port) : NULL;
        if (status == MOSAIC_OK && !work->name)
            status = error_memory(&work->error);
    }
    if (status == MOSAIC_OK)
        status = coordinator_open(invocation, &work->coordinator, &work->error);
    if (status == MOSAIC_OK)
        status = membership_read(work->coordinator.connection, asking(), &work->arena, &work->members, &work->error);
    if (status == MOSAIC_OK && work->name)
        work->member = membership_find(&work->members, work->host, work->port);
    return status;
}

static int end(struct noding *work, mosaic_status status)
{
    int code = status == MOSAIC_OK ? EXIT_CODE_OK : command_fail(&work->error);
    coordinator_close(&work->coordinator);
    arena_free(&work->arena);
    arena_free(&work->job_arena);
    return code;
}

/* For subcommands whose node must be known. */
static mosaic_status begin_known(struct noding *work, const struct invocation *invocation)
{
    mosaic_status status = begin(work, invocation);
    if (status != MOSAIC_OK || work->member)
        return status;
    error_set(&work->error, MOSAIC_NOT_FOUND, "the cluster has no node %s", work->name);
    return error_hint(&work->error, "see pgmosaic node list; the name is the one that the coordinator knows it by");
}

static mosaic_status look(struct noding *work)
{
    return rebalance_look(work->coordinator.connection, asking(), &work->job_arena, &work->job, &work->error);
}

/* ---- list ---- */

static const char *role_of(const struct member *member)
{
    return member->group == 0 ? "coordinator" : "worker";
}

static const char *state_of(const struct member *member)
{
    if (!member->active)
        return "inactive";
    if (!member->reachable)
        return "down";
    if (member->has_shards || member->group == 0)
        return "up";
    return member->shards ? "to be drained" : "drained";
}

static json_t *json_member(const struct member *member)
{
    bool up = member->reachable;
    return json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:b, s:b, s:b, s:I, s:o, s:o, s:o, s:o}", "name", member->name,
                     "host", member->host, "port", member->port, "id", member->id, "role", role_of(member), "state",
                     state_of(member), "active", member->active, "has_shards", member->has_shards, "reachable", up,
                     "shards", (json_int_t)member->shards, "bytes", up ? json_integer(member->bytes) : json_null(),
                     "citus", up ? json_string(member->extension) : json_null(), "postgres",
                     up ? json_string(member->server) : json_null(), "error",
                     up ? json_null() : json_string(member->failure));
}

static void print_list(const struct members *members)
{
    static const char *const heads[] = {"node", "role", "state", "shards", "size", "citus", "postgres"};
    struct output_table *table = output_table_new(7, "lllrrll");
    char text[32];
    for (size_t i = 0; i < 7; i++)
        output_table_cell(table, heads[i]);
    for (size_t i = 0; i < members->count; i++) {
        const struct member *member = &members->list[i];
        output_table_cell(table, member->name);
        output_table_cell(table, role_of(member));
        output_table_cell(table, state_of(member));
        snprintf(text, sizeof text, "%zu", member->shards);
        output_table_cell(table, text);
        output_table_cell(table, member->reachable ? output_bytes((uint64_t)member->bytes, text) : "-");
        output_table_cell(table, member->reachable ? member->extension : "-");
        output_table_cell(table, member->reachable ? member->server : "-");
    }
    output_table_print(table, stdout);
    for (size_t i = 0; i < members->count; i++)
        if (!members->list[i].reachable && members->list[i].active)
            printf("%s: %s\n", members->list[i].name, members->list[i].failure);
    if (!members->registered)
        printf("the coordinator is not on its own list: SELECT citus_set_coordinator_host('HOST', PORT)\n");
}

static int run_list(const struct invocation *invocation)
{
    struct noding work = {0};
    mosaic_status status = begin(&work, invocation);
    if (status == MOSAIC_OK && invocation->json) {
        json_t *nodes = json_array();
        for (size_t i = 0; i < work.members.count; i++)
            json_array_append_new(nodes, json_member(&work.members.list[i]));
        output_json_document(stdout, json_pack("{s:s, s:o}", "cluster", work.coordinator.model.name, "nodes", nodes));
    } else if (status == MOSAIC_OK) {
        print_list(&work.members);
    }
    return end(&work, status);
}

/* ---- add ---- */

static mosaic_status refuse_known(struct noding *work)
{
    const struct member *member = work->member;
    error_set(&work->error, MOSAIC_PREFLIGHT, "%s is a node of the cluster already (%s)", work->name, state_of(member));
    if (!member->active)
        return error_hint(&work->error, "make it active: SELECT citus_activate_node('%s', %d)", work->host, work->port);
    if (member->group == 0)
        return error_hint(&work->error, "it is the coordinator");
    if (!member->has_shards)
        return error_hint(&work->error, "let it hold shards again: pgmosaic node drain %s --cancel", work->name);
    return error_hint(&work->error, "give it its share of the shards: pgmosaic rebalance");
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0;
}

/*
 * The other nodes must reach the coordinator by the address that it has on its list. The address that we reach it by
 * serves, unless it means another machine over there.
 */
static mosaic_status register_coordinator(struct noding *work)
{
    PGconn *connection = work->coordinator.connection;
    const char *host = PQhost(connection);
    if (work->members.registered)
        return MOSAIC_OK;
    if (!host || !*host || *host == '/' || (is_loopback(host) && !is_loopback(work->host))) {
        error_set(&work->error, MOSAIC_PREFLIGHT,
                  "the coordinator does not know the address by which its nodes reach it");
        return error_hint(&work->error,
                          "run on it, with the name that the other machines know it by: SELECT "
                          "citus_set_coordinator_host('HOST', %s)",
                          PQport(connection));
    }
    fprintf(stderr, "the coordinator is put on its own list as %s:%s\n", host, PQport(connection));
    return membership_register(connection, host, atoi(PQport(connection)), asking(), &work->error);
}

static mosaic_status check_candidate(struct noding *work)
{
    struct candidate candidate;
    struct findings findings = {.arena = &work->arena};
    const struct shard *coordinator = &work->coordinator.model.shards[0];
    mosaic_status status = candidate_look(coordinator->conninfo, work->coordinator.connection, &work->members,
                                          work->host, work->port, asking(), &work->arena, &candidate, &work->error);
    if (status != MOSAIC_OK)
        return status;
    candidate_check(&candidate, &findings);
    if (!coordinator_show(&findings))
        return error_set(&work->error, MOSAIC_PREFLIGHT, "%s cannot become a node, for what stands above", work->name);
    return MOSAIC_OK;
}

static int run_add(const struct invocation *invocation)
{
    struct noding work = {0};
    int id = 0;
    mosaic_status status = begin(&work, invocation);
    if (status == MOSAIC_OK && work.member)
        status = refuse_known(&work);
    if (status == MOSAIC_OK)
        status = check_candidate(&work);
    if (status == MOSAIC_OK)
        status = register_coordinator(&work);
    if (status == MOSAIC_OK)
        status = membership_add(work.coordinator.connection, work.host, work.port, asking(), &id, &work.error);
    if (status == MOSAIC_OK && invocation->json)
        output_json_document(stdout, json_pack("{s:s, s:i, s:b}", "node", work.name, "id", id, "added", true));
    else if (status == MOSAIC_OK)
        printf("%s is a node now; it has no shards until: pgmosaic rebalance\n", work.name);
    return end(&work, status);
}

/* ---- remove ---- */

static mosaic_status refuse_while_moving(struct noding *work)
{
    mosaic_status status = look(work);
    if (status != MOSAIC_OK || !rebalance_is_open(rebalance_judge(&work->job)))
        return status;
    error_set(&work->error, MOSAIC_PREFLIGHT, "job %" PRId64 " is moving shards", work->job.id);
    return error_hint(&work->error, "wait for its end (pgmosaic rebalance), or stop it (pgmosaic rebalance --stop)");
}

static int run_remove(const struct invocation *invocation)
{
    struct noding work = {0};
    mosaic_status status = begin_known(&work, invocation);
    if (status == MOSAIC_OK)
        status = membership_may_leave(work.member, &work.error);
    if (status == MOSAIC_OK)
        status = refuse_while_moving(&work);
    if (status == MOSAIC_OK)
        status = membership_remove(work.coordinator.connection, work.member, asking(), &work.error);
    if (status == MOSAIC_OK && invocation->json)
        output_json_document(stdout, json_pack("{s:s, s:b}", "node", work.name, "removed", true));
    else if (status == MOSAIC_OK)
        printf("%s is no node any more; its database keeps empty tables of the distributed ones' names\n", work.name);
    return end(&work, status);
}

/* ---- drain ---- */

static const struct option_spec drain_options[] = {
    {"cancel", 0, NULL, "stop draining: the node may hold shards again, what has left it stays away", NULL},
    {"no-wait", 0, NULL, "start it and return; it goes on in the server", NULL},
    {"mode", 0, "MODE", "as of pgmosaic rebalance (default: auto)", "auto|force_logical|block_writes"},
    {NULL},
};

static enum move_mode mode_of(const struct invocation *invocation)
{
    const char *text = invocation_option(invocation, "mode");
    enum move_mode mode = MOVE_AUTO;
    while (text && strcmp(text, move_mode_name(mode)) != 0)
        mode++;
    return mode;
}

static mosaic_status check_moves(struct noding *work, enum move_mode mode)
{
    struct findings findings = {.arena = &work->arena};
    struct move_facts facts;
    mosaic_status status = rebalance_facts(work->coordinator.connection, asking(), &work->arena, &facts, &work->error);
    if (status != MOSAIC_OK)
        return status;
    rebalance_check(&facts, mode, &findings);
    if (!coordinator_show(&findings))
        return error_set(&work->error, MOSAIC_PREFLIGHT, "%s cannot be drained, for what stands above", work->name);
    return MOSAIC_OK;
}

/* A job that runs is this node's draining when the node may hold no shards; else it is in the way. */
static mosaic_status start_drain(struct noding *work, int64_t *id)
{
    enum move_mode mode = mode_of(work->invocation);
    *id = 0;
    mosaic_status status = look(work);
    if (status != MOSAIC_OK)
        return status;
    if (rebalance_is_open(rebalance_judge(&work->job)) && !work->member->has_shards) {
        *id = work->job.id;
        fprintf(stderr, "job %" PRId64 " runs already: this is about it\n", *id);
        return MOSAIC_OK;
    }
    status = refuse_while_moving(work);
    if (status == MOSAIC_OK)
        status = membership_may_drain(&work->members, work->member, &work->error);
    if (status == MOSAIC_OK && work->member->shards)
        status = check_moves(work, mode);
    if (status == MOSAIC_OK)
        status = membership_drain(work->coordinator.connection, work->member, mode, asking(), id, &work->error);
    return status == MOSAIC_OK && *id ? look(work) : status;
}

static void say_drained(const struct noding *work)
{
    char time[32];
    if (work->invocation->json) {
        json_t *object = watch_json(&work->job);
        json_object_set_new(object, "node", json_string(work->name));
        output_json_document(stdout, object);
    } else {
        printf("%s is drained: %zu step%s in %s; it may go: pgmosaic node remove %s\n", work->name, work->job.done,
               work->job.done == 1 ? "" : "s", output_duration(work->job.seconds, time), work->name);
    }
}

/* A job that ended well, but was another's (a rebalance that began before), can leave shards here. */
static mosaic_status check_drained(struct noding *work)
{
    mosaic_status status =
        membership_read(work->coordinator.connection, asking(), &work->arena, &work->members, &work->error);
    if (status != MOSAIC_OK)
        return status;
    const struct member *member = membership_find(&work->members, work->host, work->port);
    if (!member || member->shards == 0)
        return MOSAIC_OK;
    error_set(&work->error, MOSAIC_SERVER, "job %" PRId64 " is done, and %s still has %zu shards", work->job.id,
              work->name, member->shards);
    return error_hint(&work->error, "go on: pgmosaic node drain %s", work->name);
}

static mosaic_status watch_drain(struct noding *work)
{
    struct watch watch = {
        .label = arena_format(&work->arena, "drain %s", work->name),
        .again = arena_format(&work->arena, "pgmosaic node drain %s", work->name),
        .stop = arena_format(&work->arena, "pgmosaic node drain %s --cancel", work->name),
        .quiet = work->invocation->json,
    };
    if (!watch.label || !watch.again || !watch.stop)
        return error_memory(&work->error);
    mosaic_status status = watch_job(&watch, work->coordinator.connection, &work->job_arena, &work->job, &work->error);
    if (status != MOSAIC_OK)
        return status;
    status = watch_verdict(&watch, &work->job, &work->error);
    if (status != MOSAIC_OK) {
        char hint[sizeof work->error.hint];
        snprintf(hint, sizeof hint, "%s", work->error.hint);
        return error_hint(&work->error, "%.300s. The node gets no shards until: %s", hint, watch.stop);
    }
    return check_drained(work);
}

static mosaic_status drain(struct noding *work)
{
    int64_t id;
    mosaic_status status = start_drain(work, &id);
    if (status != MOSAIC_OK)
        return status;
    if (!id) {
        if (work->invocation->json)
            output_json_document(stdout, json_pack("{s:n, s:s, s:i, s:i, s:s}", "job", "state", "drained", "total", 0,
                                                   "done", 0, "node", work->name));
        else
            printf("%s is drained: it has no shards and gets none; it may go: pgmosaic node remove %s\n", work->name,
                   work->name);
        return MOSAIC_OK;
    }
    if (!invocation_has(work->invocation, "no-wait")) {
        status = watch_drain(work);
        if (status == MOSAIC_OK)
            say_drained(work);
        return status;
    }
    if (work->invocation->json)
        say_drained(work);
    else
        printf("job %" PRId64 " runs in the server: %zu steps; watch it by pgmosaic node drain %s, undo it by pgmosaic "
               "node drain %s --cancel\n",
               id, work->job.total, work->name, work->name);
    return status;
}

static mosaic_status cancel(struct noding *work)
{
    mosaic_status status = look(work);
    bool stops = status == MOSAIC_OK && !work->member->has_shards && rebalance_is_open(rebalance_judge(&work->job));
    if (stops)
        status = watch_stop(work->coordinator.connection, &work->job_arena, &work->job, &work->error);
    if (status == MOSAIC_OK && !work->member->has_shards)
        status = membership_keep(work->coordinator.connection, work->member, asking(), &work->error);
    if (status != MOSAIC_OK)
        return status;
    if (work->invocation->json)
        output_json_document(stdout,
                             json_pack("{s:s, s:b, s:b}", "node", work->name, "has_shards", true, "stopped", stops));
    else if (work->member->has_shards)
        printf("%s is not being drained\n", work->name);
    else
        printf("%s%s may hold shards again; for an even share: pgmosaic rebalance\n", stops ? "stopped: " : "",
               work->name);
    return MOSAIC_OK;
}

static int run_drain(const struct invocation *invocation)
{
    struct noding work = {0};
    mosaic_status status = begin_known(&work, invocation);
    if (status == MOSAIC_OK)
        status = invocation_has(invocation, "cancel") ? cancel(&work) : drain(&work);
    return end(&work, status);
}

/* ---- the commands ---- */

static const struct command list_command = {
    .name = "list",
    .usage = "",
    .summary = "the nodes, and what stands on each",
    .description = "Shows every node as the coordinator knows it: whether it answers, how many shards of distributed "
                   "tables it holds (copies of reference tables do not count), the size of its database, and the "
                   "versions. A node that is to be drained still has shards but gets no new ones; a drained one has "
                   "none and may be removed.",
    .examples = "pgmosaic node list\npgmosaic node list --json | jq '.nodes[] | select(.state == \"down\")'\n",
    .options = no_options,
    .takes_config = true,
    .takes_json = true,
    .run = run_list,
};

static const struct command add_command = {
    .name = "add",
    .usage = "HOST:PORT",
    .summary = "take a server into the cluster",
    .description = "HOST:PORT is the address by which the other nodes reach the server. Before anything is changed it "
                   "is checked: login from here (as in the config's coordinator:), every node's login to it and its "
                   "login to them, the same major version of PostgreSQL and the same version of Citus, that it is no "
                   "standby and of no other cluster, and that it has no table of the name of a distributed one, which "
                   "Citus would replace.\n\n"
                   "The new node holds no shards until pgmosaic rebalance.",
    .examples = "pgmosaic node add 10.0.0.4:5432\npgmosaic rebalance\n",
    .options = no_options,
    .takes_config = true,
    .takes_json = true,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run_add,
};

static const struct command drain_command = {
    .name = "drain",
    .usage = "HOST:PORT",
    .summary = "move all shards off a node",
    .description = "Marks the node as one that may hold no shards and moves away what it has, in the background of the "
                   "server, shown as by pgmosaic rebalance. Both at once or neither: what cannot start changes "
                   "nothing.\n\n"
                   "Ctrl-C (exit code 130) ends the watching only. The same command again watches it, or goes on after "
                   "a failure; --cancel undoes it.",
    .examples = "pgmosaic node drain 10.0.0.4:5432\npgmosaic node drain 10.0.0.4:5432 --cancel\n",
    .options = drain_options,
    .takes_config = true,
    .takes_json = true,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run_drain,
};

static const struct command remove_command = {
    .name = "remove",
    .usage = "HOST:PORT",
    .summary = "take a drained node off the cluster",
    .description = "Refused while the node holds shards, which stand nowhere else. The server itself is not touched: "
                   "its database keeps empty tables of the distributed ones' names, and it can be added again.",
    .examples = "pgmosaic node drain 10.0.0.4:5432\npgmosaic node remove 10.0.0.4:5432\n",
    .options = no_options,
    .takes_config = true,
    .takes_json = true,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run_remove,
};

static const struct command *const subcommands[] = {&list_command, &add_command, &drain_command, &remove_command, NULL};

const struct command node_command = {
    .name = "node",
    .usage = "COMMAND",
    .summary = "engine citus: the nodes of the cluster: list, add, drain, remove",
    .description = "The nodes of a Citus cluster. Each is named HOST:PORT, as the coordinator knows it.",
    .examples = "pgmosaic node list\npgmosaic node add 10.0.0.4:5432\n",
    .options = no_options,
    .subcommands = subcommands,
};
