/*
 * pgmosaic config from-pgbouncer: a mosaic.yaml from a pgbouncer.ini, on standard output.
 */
#include "cli/command.h"

#include "base/memory.h"
#include "config/config.h"
#include "config/pgbouncer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FILE_MOST = 4 * 1024 * 1024, NAMES_MOST = 1024 };

/* The file's bytes, to be freed by memory_free. */
static mosaic_status read_file(const char *path, char **text, size_t *size, mosaic_error *error)
{
    FILE *file = fopen(path, "rb");
    if (!file && errno == ENOENT)
        return error_set(error, MOSAIC_NOT_FOUND, "there is no file %s", path);
    if (!file)
        return error_errno(error, "%s", path);
    *text = memory_allocate(FILE_MOST + 1);
    *size = *text ? fread(*text, 1, FILE_MOST + 1, file) : 0;
    mosaic_status status = !*text         ? error_memory(error)
                           : ferror(file) ? error_errno(error, "%s", path)
                           : *size > FILE_MOST
                               ? error_set(error, MOSAIC_LIMIT, "%s is larger than %d MiB", path, FILE_MOST >> 20)
                               : MOSAIC_OK;
    fclose(file);
    if (status == MOSAIC_OK)
        return status;
    memory_free(*text);
    return status;
}

/* a,b,c → names; `list` is cut up. */
static void split(char *list, const char **names)
{
    size_t count = 0;
    for (char *name = strtok(list, ","); name && count < NAMES_MOST; name = strtok(NULL, ","))
        names[count++] = name;
    names[count] = NULL;
}

static mosaic_status add_userlist(const char *path, struct buffer *yaml, mosaic_error *error)
{
    char *text;
    size_t size;
    mosaic_status status = read_file(path, &text, &size, error);
    if (status != MOSAIC_OK)
        return status;
    buffer_format(yaml, "\n# Users of %s:\n", path);
    status = pgbouncer_userlist(text, size, path, yaml, error);
    explicit_bzero(text, size);
    memory_free(text);
    return status;
}

/* What was made must read as a config: else it is ours to mend, not the person's. */
static mosaic_status check(const struct buffer *yaml, mosaic_error *error)
{
    struct model model;
    mosaic_error problem;
    if (config_parse(buffer_string(yaml), yaml->size, "mosaic.yaml", &model, &problem) == MOSAIC_OK) {
        model_free(&model);
        return MOSAIC_OK;
    }
    if (problem.status == MOSAIC_MEMORY)
        return error_memory(error);
    (void)!error_set(error, MOSAIC_CONFIG, "what came of it is no config: %.300s", problem.message);
    return error_hint(error, "%s", problem.hint[0] ? problem.hint : "correct pgbouncer.ini there, and try again");
}

static int run_from_pgbouncer(const struct invocation *invocation)
{
    const char *path = invocation->arguments[0], *userlist = invocation_option(invocation, "userlist");
    const char *databases = invocation_option(invocation, "databases");
    const char *names[NAMES_MOST + 1];
    struct arena arena = ARENA_INIT;
    struct buffer yaml = BUFFER_INIT(FILE_MOST);
    mosaic_error error;
    char *text = NULL, *list = databases ? arena_string(&arena, databases) : NULL;
    size_t size = 0;
    struct pgbouncer_options options = {path, invocation_option(invocation, "cluster"), list ? names : NULL};
    if (list)
        split(list, names);
    mosaic_status status = databases && !list ? error_memory(&error) : read_file(path, &text, &size, &error);
    if (status == MOSAIC_OK) {
        status = pgbouncer_convert(text, size, &options, &yaml, &error);
        explicit_bzero(text, size);
        memory_free(text);
    }
    if (status == MOSAIC_OK && userlist)
        status = add_userlist(userlist, &yaml, &error);
    if (status == MOSAIC_OK)
        status = check(&yaml, &error);
    if (status == MOSAIC_OK)
        fputs(buffer_string(&yaml), stdout);
    buffer_free(&yaml);
    arena_free(&arena);
    return status == MOSAIC_OK ? EXIT_CODE_OK : command_fail(&error);
}

static const struct option_spec from_pgbouncer_options[] = {
    {"databases", 'd', "A,B", "the database, or those that become shards, where the file has several", NULL},
    {"cluster", 0, "NAME", "name of the cluster, as clients ask for it; else that of the database", NULL},
    {"userlist", 0, "FILE", "look through this auth_file too, and say what of it needs care", NULL},
    {NULL},
};

static const struct command from_pgbouncer_command = {
    .name = "from-pgbouncer",
    .usage = "FILE",
    .summary = "a mosaic.yaml from a pgbouncer.ini",
    .description =
        "Prints a mosaic.yaml with a section proxy: that does what pgbouncer.ini did. Each setting is taken over, "
        "under its "
        "own or another name; or it stands in a comment at the end, with the reason why not. Where PgBouncer's default "
        "is another than pgmosaic's, PgBouncer's is written.\n\n"
        "A cluster is one database to clients. A file with one database makes a cluster of one shard; of several, "
        "--databases names the one, or those that are the shards of one cluster.\n\n"
        "Passwords are not taken over: put them into a passfile. The file of users (auth_file) has the same form, and "
        "is used as it is.",
    .examples = "pgmosaic config from-pgbouncer /etc/pgbouncer/pgbouncer.ini > mosaic.yaml\n"
                "pgmosaic config from-pgbouncer pgbouncer.ini --databases shop0,shop1 --cluster shop\n",
    .options = from_pgbouncer_options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run_from_pgbouncer,
};

static const struct command *const subcommands[] = {&from_pgbouncer_command, NULL};

const struct command config_command = {
    .name = "config",
    .usage = "SUBCOMMAND",
    .summary = "make a mosaic.yaml from another program's config",
    .description = "Makes a mosaic.yaml from what is there.",
    .subcommands = subcommands,
};
