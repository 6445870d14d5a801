/*
 * pgmosaic reload: asks the running proxy to read its config again, over its control socket, and waits for the outcome.
 */
#include "cli/command.h"

#include "cli/context.h"
#include "proxy/control.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static mosaic_status find(const struct invocation *invocation, char path[CONTROL_PATH_MOST], mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    const char *config;
    mosaic_status status = context_config_path(invocation, &arena, &config, error);
    if (status == MOSAIC_OK)
        status = control_find(config, path, error);
    arena_free(&arena);
    return status;
}

/* "ok", or "error MESSAGE", a tab, and the hint. */
static mosaic_status read_answer(int fd, mosaic_error *error)
{
    char line[CONTROL_LINE_MOST];
    mosaic_status status = control_read(fd, line, NULL, error);
    if (status != MOSAIC_OK || strcmp(line, "ok") == 0)
        return status;
    const char *message = strncmp(line, "error ", 6) == 0 ? line + 6 : line;
    size_t size = strcspn(message, "\t");
    (void)!error_set(error, MOSAIC_CONFIG, "%.*s", (int)size, message);
    error_detail(error, "The proxy goes on with what was in force before.");
    if (message[size])
        error_hint(error, "%s", message + size + 1);
    return error->status;
}

static int run_reload(const struct invocation *invocation)
{
    char path[CONTROL_PATH_MOST];
    mosaic_error error;
    int fd = -1;
    mosaic_status status = find(invocation, path, &error);
    if (status == MOSAIC_OK)
        status = control_connect(path, &fd, &error);
    if (status == MOSAIC_OK)
        status = control_write(fd, "reload", -1, &error);
    if (status == MOSAIC_OK)
        status = read_answer(fd, &error);
    if (fd >= 0)
        close(fd);
    if (status != MOSAIC_OK)
        return command_fail(&error);
    puts("reloaded");
    return EXIT_CODE_OK;
}

static const struct option_spec no_options[] = {{NULL}};

const struct command reload_command = {
    .name = "reload",
    .usage = "",
    .summary = "let the running proxy read its config, users and certificates again",
    .description =
        "Asks the proxy that runs with this config to read it again, and waits until that is done. A config that is "
        "wrong changes nothing, and is a failure here. The log says what has changed, and which settings need a "
        "restart (pgmosaic proxy --takeover).\n\n"
        "It reaches the proxy by its control socket, so run it as the proxy's user, or root. From elsewhere: RELOAD in "
        "the database pgmosaic.",
    .examples = "pgmosaic reload\n",
    .options = no_options,
    .takes_config = true,
    .run = run_reload,
};
