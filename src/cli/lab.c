/*
 * pgmosaic lab: throwaway clusters on this machine. Thin: src/lab does the work.
 */
#include "lab/lab.h"

#include "base/buffer.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/output.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char default_name[] = "demo";

static void print_step(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "%s\n", line);
}

static const char *argument(const struct invocation *invocation, size_t at, const char *otherwise)
{
    return invocation->argument_count > at ? invocation->arguments[at] : otherwise;
}

static json_t *text_json(const char *text)
{
    json_t *value = json_string(text);

    return value ? value : json_null(); /* a path that is not UTF-8 */
}

static json_t *lab_json(const struct lab *lab)
{
    json_t *shards = json_array();

    for (size_t i = 0; i < lab->shard_count; i++)
        json_array_append_new(shards, json_pack("{s:s, s:i, s:o, s:b}", "name", lab->shards[i].name, "port",
                                                lab->shards[i].port, "conninfo", text_json(lab->shards[i].conninfo),
                                                "running", lab->shards[i].running));
    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:s, s:s, s:o, s:o, s:o, s:o}", "name", lab->name, "provider",
                     lab_provider_name(lab->provider), "engine", lab_engine_name(lab->engine), "up", lab->up,
                     "half_made", lab->half_made, "database", lab->database, "user", lab->user, "directory",
                     text_json(lab->directory), "config", text_json(lab->config_path), "passfile",
                     text_json(lab->passfile), "shards", shards);
}

/* ---- up and down ------------------------------------------------------------------------------------ */

static int print_up(const struct invocation *invocation, const char *name)
{
    struct arena arena = ARENA_INIT;
    struct lab lab;
    mosaic_error error;
    int code = EXIT_CODE_OK;

    if (lab_find(&arena, name, &lab, &error) != MOSAIC_OK)
        code = command_fail(&error);
    else if (invocation->json)
        output_json_document(stdout, lab_json(&lab));
    else {
        if (lab.engine == LAB_CITUS)
            printf("lab %s is up: Citus with %zu worker%s,", name, lab.shard_count - 1,
                   lab.shard_count == 2 ? "" : "s");
        else
            printf("lab %s is up: %zu shard%s,", name, lab.shard_count, lab.shard_count == 1 ? "" : "s");
        for (size_t i = 0; i < lab.shard_count; i++)
            printf(" %s on %d%s", lab.shards[i].name, lab.shards[i].port, i + 1 < lab.shard_count ? "," : "\n");
        printf("config: %s\n", lab.config_path);
    }
    arena_free(&arena);
    return code;
}

/* Which engine is meant, and how many servers: --workers and --shard-count say Citus too. */
static mosaic_status read_engine(const struct invocation *invocation, struct lab_options *options, mosaic_error *error)
{
    const char *engine = invocation_option(invocation, "engine");
    long shards, workers, shard_count;
    mosaic_status status = invocation_number(invocation, "shards", 1, LAB_MOST_SHARDS, 0, &shards, error);

    if (status == MOSAIC_OK)
        status = invocation_number(invocation, "workers", 1, LAB_MOST_SHARDS - 1, 0, &workers, error);
    if (status == MOSAIC_OK)
        status = invocation_number(invocation, "shard-count", 1, LAB_MOST_CITUS_SHARDS, 0, &shard_count, error);
    if (status != MOSAIC_OK)
        return status;
    options->engine =
        (engine && strcmp(engine, "citus") == 0) || (!engine && (workers || shard_count)) ? LAB_CITUS : LAB_POSTGRES;
    options->engine_given = engine || options->engine == LAB_CITUS || shards;
    if (options->engine == LAB_CITUS && shards) {
        error_set(error, MOSAIC_USAGE, "--shards belongs to --engine postgres");
        return error_hint(error, "of Citus give the servers by --workers, the shards of a table by --shard-count");
    }
    if (options->engine == LAB_POSTGRES && (workers || shard_count))
        return error_set(error, MOSAIC_USAGE, "--workers and --shard-count belong to --engine citus");
    options->servers = options->engine == LAB_CITUS && workers ? (size_t)workers + 1 : (size_t)shards;
    options->shard_count = (int)shard_count;
    return MOSAIC_OK;
}

static int run_up(const struct invocation *invocation)
{
    struct lab_options options = {.name = argument(invocation, 0, default_name), .interrupted = &context_interrupted};
    const char *with = invocation_option(invocation, "with");
    mosaic_error error;

    if (read_engine(invocation, &options, &error) != MOSAIC_OK)
        return command_fail(&error);
    options.image = invocation_option(invocation, "image");
    options.postgres = invocation_option(invocation, "postgres");
    options.provider_given = with || options.image || options.postgres;
    options.provider = (with && strcmp(with, "docker") == 0) || (!with && options.image) ? LAB_DOCKER : LAB_LOCAL;
    if (options.provider == LAB_LOCAL && options.image) {
        error_set(&error, MOSAIC_USAGE, "--image belongs to --with docker");
        return command_fail(&error);
    }
    if (options.provider == LAB_DOCKER && options.postgres) {
        error_set(&error, MOSAIC_USAGE, "--postgres belongs to --with local");
        return command_fail(&error);
    }
    if (lab_up(&options, print_step, NULL, &error) != MOSAIC_OK)
        return command_fail(&error);
    return print_up(invocation, options.name);
}

static int run_down(const struct invocation *invocation)
{
    mosaic_error error;

    if (lab_down(argument(invocation, 0, default_name), print_step, NULL, &error) != MOSAIC_OK)
        return command_fail(&error);
    return EXIT_CODE_OK;
}

static int run_stop(const struct invocation *invocation)
{
    const char *name = invocation->arguments[0], *shard = invocation->arguments[1];
    mosaic_error error;

    if (lab_stop_shard(name, shard, &error) != MOSAIC_OK)
        return command_fail(&error);
    printf("lab %s: %s is stopped, as by a crash; start it: pgmosaic lab start %s %s\n", name, shard, name, shard);
    return EXIT_CODE_OK;
}

static int run_start(const struct invocation *invocation)
{
    const char *name = invocation->arguments[0], *shard = invocation->arguments[1];
    mosaic_error error;

    if (lab_start_shard(name, shard, &error) != MOSAIC_OK)
        return command_fail(&error);
    printf("lab %s: %s is started and answers\n", name, shard);
    return EXIT_CODE_OK;
}

/* ---- list ------------------------------------------------------------------------------------------- */

static const char *ports_text(const struct lab *lab, struct buffer *text)
{
    buffer_clear(text);
    for (size_t i = 0; i < lab->shard_count; i++)
        buffer_format(text, "%s%d%s", i ? "," : "", lab->shards[i].port, lab->shards[i].running ? "" : " (down)");
    return buffer_string(text);
}

static void print_table(const struct lab *labs, size_t count)
{
    static const char *const header[] = {"lab", "engine", "with", "servers", "state", "ports", "config"};
    struct output_table *table = output_table_new(7, "lllrlll");
    struct buffer text = BUFFER_INIT(8192);

    for (size_t i = 0; i < 7; i++)
        output_table_cell(table, header[i]);
    for (size_t i = 0; i < count; i++) {
        char shards[24];
        size_t running = 0;

        for (size_t s = 0; s < labs[i].shard_count; s++)
            running += labs[i].shards[s].running;
        snprintf(shards, sizeof shards, "%zu", labs[i].shard_count);
        output_table_cell(table, labs[i].name);
        output_table_cell(table, lab_engine_name(labs[i].engine));
        output_table_cell(table, lab_provider_name(labs[i].provider));
        output_table_cell(table, shards);
        output_table_cell(table, labs[i].half_made ? "half made" : labs[i].up ? "up" : running ? "partly up" : "down");
        output_table_cell(table, ports_text(&labs[i], &text));
        output_table_cell(table, labs[i].config_path);
    }
    output_table_print(table, stdout);
    buffer_free(&text);
}

static int run_list(const struct invocation *invocation)
{
    struct arena arena = ARENA_INIT;
    struct lab *labs;
    size_t count;
    mosaic_error error;
    int code = EXIT_CODE_OK;

    if (lab_list(&arena, &labs, &count, &error) != MOSAIC_OK)
        code = command_fail(&error);
    else if (invocation->json) {
        json_t *list = json_array();

        for (size_t i = 0; i < count; i++)
            json_array_append_new(list, lab_json(&labs[i]));
        output_json_document(stdout, list);
    } else if (count > 0)
        print_table(labs, count);
    else
        printf("this checkout has no labs; make one: pgmosaic lab up\n");
    arena_free(&arena);
    return code;
}

/* ---- psql and env ----------------------------------------------------------------------------------- */

/* The lab of that name; for NULL: demo, else the only one there is. */
static mosaic_status find_lab(struct arena *arena, const char *name, struct lab *lab, mosaic_error *error)
{
    struct lab *labs;
    size_t count;
    mosaic_status status;

    if (name)
        return lab_find(arena, name, lab, error);
    status = lab_list(arena, &labs, &count, error);
    if (status != MOSAIC_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        if (strcmp(labs[i].name, default_name) == 0)
            return lab_find(arena, default_name, lab, error);
    return lab_find(arena, count == 1 ? labs[0].name : default_name, lab, error);
}

/* By name, or, where they are s0, s1 …, by its number. */
static const struct lab_shard *find_shard(const struct lab *lab, const char *wanted, mosaic_error *error)
{
    for (size_t i = 0; i < lab->shard_count; i++)
        if (strcmp(lab->shards[i].name, wanted) == 0 ||
            (lab->engine == LAB_POSTGRES && strcmp(lab->shards[i].name + 1, wanted) == 0))
            return &lab->shards[i];
    error_set(error, MOSAIC_NOT_FOUND, "lab %s has no %s %s", lab->name, lab->engine == LAB_CITUS ? "node" : "shard",
              wanted);
    if (lab->engine == LAB_CITUS)
        error_hint(error, "its nodes are coordinator and w1 to w%zu", lab->shard_count - 1);
    else
        error_hint(error, "its shards are s0 to s%zu", lab->shard_count - 1);
    return NULL;
}

static mosaic_status exec_psql(struct arena *arena, const struct lab_shard *shard, const struct invocation *invocation,
                               mosaic_error *error)
{
    size_t more = invocation->argument_count > 1 ? invocation->argument_count - 1 : 0;
    const char **argv = arena_zeroed(arena, more + 3, sizeof *argv);

    if (!argv)
        return error_memory(error);
    argv[0] = "psql";
    argv[1] = shard->conninfo;
    for (size_t i = 0; i < more; i++)
        argv[2 + i] = invocation->arguments[1 + i];
    fflush(stdout);
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], (char *const *)(const void *)argv);
    if (errno != ENOENT)
        return error_errno(error, "cannot run psql");
    error_set(error, MOSAIC_NOT_FOUND, "there is no program psql");
    return error_hint(error, "install it (Debian: apt-get install postgresql-client)");
}

static int run_psql(const struct invocation *invocation)
{
    struct arena arena = ARENA_INIT;
    const struct lab_shard *shard;
    struct lab lab;
    mosaic_error error;
    mosaic_status status = find_lab(&arena, invocation_option(invocation, "lab"), &lab, &error);

    if (status == MOSAIC_OK) {
        shard = find_shard(&lab, argument(invocation, 0, lab.shards[0].name), &error);
        status = shard ? exec_psql(&arena, shard, invocation, &error) : error.status;
    }
    arena_free(&arena);
    return status == MOSAIC_OK ? EXIT_CODE_OK : command_fail(&error);
}

/* For a POSIX shell: in single quotes unless every character is plain. */
static void print_export(const char *name, const char *value)
{
    const char *plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+,:@";

    printf("export %s=", name);
    if (*value && strspn(value, plain) == strlen(value)) {
        printf("%s\n", value);
        return;
    }
    putchar('\'');
    for (; *value; value++)
        if (*value == '\'')
            fputs("'\\''", stdout);
        else
            putchar(*value);
    puts("'");
}

static int run_env(const struct invocation *invocation)
{
    struct arena arena = ARENA_INIT;
    struct lab lab;
    mosaic_error error;
    mosaic_status status = find_lab(&arena, argument(invocation, 0, NULL), &lab, &error);

    if (status == MOSAIC_OK) {
        char port[16];

        print_export("PGMOSAIC_CONFIG", lab.config_path);
        if (lab.engine == LAB_CITUS) { /* one server answers for the cluster: psql finds it */
            snprintf(port, sizeof port, "%d", lab.shards[0].port);
            print_export("PGHOST", "127.0.0.1");
            print_export("PGPORT", port);
        }
        print_export("PGDATABASE", lab.database);
        print_export("PGUSER", lab.user);
        print_export("PGPASSFILE", lab.passfile);
    }
    arena_free(&arena);
    return status == MOSAIC_OK ? EXIT_CODE_OK : command_fail(&error);
}

/* ---- the tables ------------------------------------------------------------------------------------- */

static const struct option_spec no_options[] = {{NULL}};

static const struct option_spec up_options[] = {
    {"shards", 'n', "N", "how many servers, 1 to 64; more than before adds some (default: 4)", NULL},
    {"engine", 0, "ENGINE", "who spreads the rows: pgmosaic, or Citus (default: postgres)", "postgres|citus"},
    {"workers", 0, "N", "citus: how many workers, 1 to 63; more than before adds some (default: 2)", NULL},
    {"shard-count", 0, "N", "citus: shards of a table that does not say how many (default: Citus's own, 32)", NULL},
    {"with", 0, "PROVIDER", "servers on this machine, or containers (default: local, of Citus where it is installed)",
     "local|docker"},
    {"image", 0, "IMAGE",
     "docker: image that obeys the official one's environment (default: postgres, citusdata/citus)", NULL},
    {"postgres", 0, "DIR", "local: where initdb and postgres are (default: the newest of 13 to 18)", NULL},
    {NULL},
};

static const struct command up_command = {
    .name = "up",
    .usage = "[NAME]",
    .summary = "make a lab, or repair and start the one that is there",
    .description =
        "Makes a throwaway cluster of real PostgreSQL servers (NAME: demo) and waits until each answers. Every server "
        "has "
        "its own data directory, port and processes, listens on 127.0.0.1 and a Unix socket only, and outlives this "
        "command. One role and one password serve all shards of a lab; the password stands in a passfile that only you "
        "can read.\n\n"
        "What is there already is kept: servers that are down are started, and a larger --shards adds servers, and "
        "lines "
        "to mosaic.yaml. An interrupted call leaves nothing, or what the next one repairs.\n\n"
        "Labs belong to a checkout: the nearest directory above the current one that holds .git, else the current one. "
        "Their state is under $XDG_STATE_HOME/pgmosaic (~/.local/state/pgmosaic), for root under /var/lib/pgmosaic; "
        "PGMOSAIC_STATE, an absolute path, overrides both. PostgreSQL refuses root: for root, servers run as the user "
        "postgres, or the one that PGMOSAIC_RUN_AS names.\n\n"
        "--engine citus makes a coordinator and workers (nodes coordinator, w1, w2 …) and registers them: of the "
        "newest "
        "PostgreSQL on this machine that has the extension, else, unless --with says otherwise, in containers. The "
        "lab's role is a superuser there, and the nodes log in to each other with its password.",
    .examples =
        "pgmosaic lab up\npgmosaic lab up shop --shards 8\npgmosaic lab up shop --with docker --image postgres:16\n"
        "pgmosaic lab up big --engine citus --workers 3 --shard-count 16\n",
    .options = up_options,
    .takes_json = true,
    .most_arguments = 1,
    .run = run_up,
};

static const struct command down_command = {
    .name = "down",
    .usage = "[NAME]",
    .summary = "stop a lab's servers and remove everything of it",
    .description = "Stops the lab's servers (NAME: demo), whoever is connected, and removes their data, config and "
                   "passfile. Nothing of it is left.",
    .examples = "pgmosaic lab down\npgmosaic lab down shop\n",
    .options = no_options,
    .most_arguments = 1,
    .run = run_down,
};

static const struct command list_command = {
    .name = "list",
    .usage = "",
    .summary = "list the labs of this checkout",
    .description =
        "Lists the labs of this checkout: engine, provider, servers, ports, whether they are up, and the config.",
    .examples = "pgmosaic lab list\npgmosaic lab list --json\n",
    .options = no_options,
    .takes_json = true,
    .run = run_list,
};

static const struct option_spec psql_options[] = {
    {"lab", 0, "NAME", "which lab (default: demo, else the only one)", NULL},
    {NULL},
};

static const struct command psql_command = {
    .name = "psql",
    .usage = "[SHARD [-- PSQL-OPTION…]]",
    .summary = "open psql on one shard",
    .description = "Runs psql on a shard of a lab, by name or number (default: s0), as the lab's role.",
    .examples = "pgmosaic lab psql\npgmosaic lab psql s2 --lab shop\npgmosaic lab psql s0 -- -c 'SELECT version()'\n",
    .options = psql_options,
    .most_arguments = (size_t)-1,
    .run = run_psql,
};

static const struct command env_command = {
    .name = "env",
    .usage = "[NAME]",
    .summary = "print the environment that points programs at a lab",
    .description =
        "Prints PGMOSAIC_CONFIG, PGDATABASE, PGUSER and PGPASSFILE, of Citus also the coordinator's PGHOST and PGPORT, "
        "one export per line, for a shell to read (default: demo, else the only lab).",
    .examples = "eval \"$(pgmosaic lab env)\"\n",
    .options = no_options,
    .most_arguments = 1,
    .run = run_env,
};

static const struct command stop_command = {
    .name = "stop",
    .usage = "NAME SHARD",
    .summary = "stop one server of a lab, as a crash would",
    .description = "Ends one server at once, without a checkpoint: to see who is affected and who is not.",
    .examples = "pgmosaic lab stop demo s2\n",
    .options = no_options,
    .least_arguments = 2,
    .most_arguments = 2,
    .run = run_stop,
};

static const struct command start_command = {
    .name = "start",
    .usage = "NAME SHARD",
    .summary = "start one server of a lab again",
    .description = "Starts one server that was stopped, and waits until it has recovered and answers.",
    .examples = "pgmosaic lab start demo s2\n",
    .options = no_options,
    .least_arguments = 2,
    .most_arguments = 2,
    .run = run_start,
};

static const struct command *const subcommands[] = {&up_command,  &down_command, &list_command,  &psql_command,
                                                    &env_command, &stop_command, &start_command, NULL};

const struct command lab_command = {
    .name = "lab",
    .usage = "COMMAND",
    .summary = "throwaway clusters on this machine, made by one command",
    .description = "Makes, starts, stops and removes throwaway clusters of PostgreSQL servers on this machine.",
    .examples = "pgmosaic lab up\npgmosaic lab psql s0\npgmosaic lab down\n",
    .options = no_options,
    .subcommands = subcommands,
};
