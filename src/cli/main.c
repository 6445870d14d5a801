/*
 * The command `pgmosaic`: finds the subcommand, runs it, and makes sure that what it printed arrived.
 */
#include "cli/commands.h"
#include "cli/context.h"
#include "cli/help.h"
#include "cli/output.h"
#include "pq/pq.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* The first signal asks the command to stop; a second one kills. */
static void interrupt(int signal_number)
{
    if (context_interrupted) {
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    context_interrupted = 1;
}

static void install_signals(void)
{
    struct sigaction action = {.sa_handler = interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    /* A reader that goes away is a write error like any other: it must not kill a load between its two phases. */
    signal(SIGPIPE, SIG_IGN);
    pq_interrupt_flag(&context_interrupted);
}

/* What was printed must have arrived: a full disk is a failure; a reader that went away ends us as SIGPIPE would have.
 */
static int close_output(int code)
{
    errno = 0;
    bool failed = ferror(stdout) != 0;
    failed = fflush(stdout) != 0 || failed;
    int reason = errno;
    failed = fclose(stdout) != 0 || failed;
    if (!failed)
        return code;
    if (reason == EPIPE || output_reader_gone()) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    if (code != EXIT_CODE_OK && reason == 0)
        return code; /* the command has said so itself */
    fprintf(stderr, "pgmosaic: cannot write standard output: %s\n", reason ? strerror(reason) : "is the disk full?");
    return code == EXIT_CODE_OK ? EXIT_CODE_FAILED : code;
}

int main(int argc, char **argv)
{
    struct invocation invocation;
    mosaic_error error;
    int code = EXIT_CODE_OK;

    install_signals();
    size_t count = argc > 0 ? (size_t)argc - 1 : 0;
    switch (command_parse(command_table, (const char *const *)argv + 1, count, &invocation, &error)) {
    case PARSE_RUN:
        code = invocation.command->run(&invocation);
        break;
    case PARSE_HELP:
        if (invocation.command)
            help_one(stdout, invocation.parent, invocation.command);
        else
            help_overview(stdout);
        break;
    case PARSE_VERSION:
        printf("pgmosaic %s\n", mosaic_version());
        break;
    case PARSE_FAILED:
        code = command_fail(&error);
        break;
    }
    invocation_free(&invocation);
    return close_output(code);
}
