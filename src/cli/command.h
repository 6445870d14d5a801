/*
 * The command `pgmosaic`: subcommands and options as data. Help, usage errors, shell completion and man pages come from
 * these tables.
 *
 * A command file, src/cli/load.c say, defines one `const struct command load_command`; src/cli/commands.h lists them
 * all.
 */
#ifndef MOSAIC_CLI_COMMAND_H
#define MOSAIC_CLI_COMMAND_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Exit codes: X(identifier, code, meaning); the man page lists them. */
#define EXIT_CODE_LIST(X)                                                           \
    X(OK, 0, "done")                                                                \
    X(FAILED, 1, "it failed: the message says what, where and what to do next")     \
    X(USAGE, 2, "the command line or the config is not usable; nothing was done")   \
    X(UNHEALTHY, 3, "it ran, and what it checked is not well (status, doctor)")     \
    X(REJECTED, 4, "done, but some rows were rejected (load --on-error=report)")    \
    X(IN_DOUBT, 5, "a commit over several shards is in doubt: run pgmosaic doctor") \
    X(INTERRUPTED, 130, "interrupted; nothing was left half done")

enum exit_code {
#define X(identifier, code, meaning) EXIT_CODE_##identifier = code,
    EXIT_CODE_LIST(X)
#undef X
};

struct option_spec {
    const char *name;     /* long name without dashes */
    char letter;          /* short form, or 0 */
    const char *argument; /* name of its value in help, e.g. "N"; NULL for a flag */
    const char *help;     /* one line, lower case, no final full stop */
    const char *values;   /* allowed values, "csv|text|binary", checked by the parser; or NULL */
};

enum { OPTIONS_MOST = 32 };

/* A parsed command line. */
struct invocation {
    const struct command *command; /* the subcommand where there is one; NULL for `pgmosaic --help` */
    const struct command *parent;  /* `lab` for `lab up`; else NULL */
    /* Parallel to command->options; NULL: not given; "" for a flag that is given. */
    const char *option_values[OPTIONS_MOST];
    const char **arguments; /* positional, NULL-terminated */
    size_t argument_count;
    const char *config; /* -c FILE, or NULL */
    bool json;
};

struct command {
    const char *name;
    const char *usage;       /* what follows the name: "TABLE [FILE]" */
    const char *summary;     /* one line for the list of commands */
    const char *description; /* paragraphs for --help and the man page; plain text, blank lines between */
    const char *examples;    /* lines to paste, each "command\n"; or NULL */
    /* Ends at a NULL name; at most OPTIONS_MOST. -c, --json, -h are added to every command that wants them. */
    const struct option_spec *options;
    bool takes_config, takes_json;
    size_t least_arguments, most_arguments;          /* (size_t)-1: any number */
    const struct command *const *subcommands;        /* NULL-terminated (lab), or NULL */
    int (*run)(const struct invocation *invocation); /* returns an exit code */
    bool hidden;                                     /* from help, man pages and completion */
};

/* The value of an option: NULL when not given, "" for a flag. Aborts in debug builds for a name not in the table. */
const char *invocation_option(const struct invocation *invocation, const char *name);
bool invocation_has(const struct invocation *invocation, const char *name);
/* An option as a whole number in [least, most]; `otherwise` when not given. MOSAIC_USAGE names option and bounds. */
MOSAIC_MUST_CHECK mosaic_status invocation_number(const struct invocation *invocation, const char *name, long least,
                                                  long most, long otherwise, long *number, mosaic_error *error);

enum parse_outcome {
    PARSE_RUN,
    PARSE_HELP,    /* --help: of invocation->command, or of pgmosaic when that is NULL */
    PARSE_VERSION, /* --version */
    PARSE_FAILED   /* MOSAIC_USAGE or MOSAIC_MEMORY in error, with the hint to see --help */
};

/*
 * Parses the words after the program's name. `commands` ends at NULL. Options may stand anywhere behind the command
 * until "--"; a word that begins with a minus and a digit is an argument, so that a negative key needs no "--". Words
 * are not copied. Free the invocation by invocation_free whatever the outcome.
 */
enum parse_outcome command_parse(const struct command *const *commands, const char *const *words, size_t count,
                                 struct invocation *invocation, mosaic_error *error);
void invocation_free(struct invocation *invocation);

/* The one of `commands` with this name; NULL if there is none. */
const struct command *command_find(const struct command *const *commands, const char *name);
/* All commands, NULL-terminated, as src/cli/commands.h lists them. */
extern const struct command *const command_table[];

/* Prints the error to stderr ("pgmosaic: [shard s1] message", DETAIL, HINT); returns the exit code of its status. */
int command_fail(const mosaic_error *error);
/* Prints "WARNING: ..." to stderr: it is done, and somebody has to see to something. Nothing for "". */
void command_warn(const char *text);

#endif
