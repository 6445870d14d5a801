#include "cli/help.h"

#include "cli/commands.h"

#include <string.h>

enum { OPTION_COLUMN = 26 };

const struct option_spec help_common_options[] = {
    {"config", 'c', "FILE", "config of the cluster, instead of searching for one", NULL},
    {"json", 0, NULL, "print JSON", NULL},
    {"help", 'h', NULL, "show this help", NULL},
    {NULL},
};

const char help_configs[] =
    "The config is the file of -c, $PGMOSAIC_CONFIG, ./mosaic.yaml, that of this checkout's lab "
    "\"demo\", or that of the only lab that is up.";

bool help_takes(const struct command *command, const struct option_spec *common)
{
    switch (common->name[0]) {
    case 'c':
        return command->takes_config;
    case 'j':
        return command->takes_json;
    default:
        return true;
    }
}

/* Prints text in lines of at most HELP_WIDTH columns; the first word goes where the cursor is, at column `indent`. */
static void wrap(FILE *stream, const char *text, size_t text_size, int indent)
{
    const char *end = text + text_size;
    int column = indent;
    bool first = true;
    while (text < end) {
        size_t size = strcspn(text, " \n");
        if (size > (size_t)(end - text))
            size = (size_t)(end - text);
        if (!first && column + 1 + (int)size > HELP_WIDTH) {
            fprintf(stream, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        fprintf(stream, "%s%.*s", first ? "" : " ", (int)size, text);
        column += (int)size + !first;
        first = false;
        text += size;
        while (text < end && (*text == ' ' || *text == '\n'))
            text++;
    }
    fputc('\n', stream);
}

/* Paragraphs are wrapped; a paragraph whose line begins with a blank is printed as it is. */
static void paragraphs(FILE *stream, const char *text)
{
    while (*text) {
        const char *end = strstr(text, "\n\n");
        size_t size = end ? (size_t)(end - text) : strlen(text);
        if (text[0] == ' ')
            fprintf(stream, "%.*s\n", (int)size, text);
        else
            wrap(stream, text, size, 0);
        text += size;
        while (*text == '\n')
            text++;
        if (*text)
            fputc('\n', stream);
    }
}

static void option_line(FILE *stream, const struct option_spec *option)
{
    char left[80], help[512];
    char letter[8] = "    ";
    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    int width = snprintf(left, sizeof left, "  %s--%s%s%s", letter, option->name, option->argument ? " " : "",
                         option->argument ? option->argument : "");
    snprintf(help, sizeof help, "%s%s%s%s", option->help, option->values ? " (" : "",
             option->values ? option->values : "", option->values ? ")" : "");
    if (width + 2 > OPTION_COLUMN)
        fprintf(stream, "%s\n%*s", left, OPTION_COLUMN, "");
    else
        fprintf(stream, "%-*s", OPTION_COLUMN, left);
    wrap(stream, help, strlen(help), OPTION_COLUMN);
}

static void command_line(FILE *stream, const struct command *command)
{
    fprintf(stream, "  %-10s ", command->name);
    wrap(stream, command->summary, strlen(command->summary), 13);
}

void help_overview(FILE *stream)
{
    fputs("Usage: pgmosaic COMMAND [options] [arguments]\n\n"
          "Many PostgreSQL databases that behave as one.\n\nCommands:\n",
          stream);
    for (const struct command *const *command = command_table; *command; command++) {
        if (!(*command)->hidden)
            command_line(stream, *command);
    }
    fputs("\nOptions:\n"
          "  -h, --help              show this help, or that of pgmosaic COMMAND\n"
          "  -V, --version           show the version\n\n",
          stream);
    paragraphs(stream, help_configs);
}

static void subcommands(FILE *stream, const struct command *command)
{
    fputs("\nSubcommands:\n", stream);
    for (const struct command *const *each = command->subcommands; *each; each++) {
        if (!(*each)->hidden)
            command_line(stream, *each);
    }
    fprintf(stream, "\nOptions of each: pgmosaic %s SUBCOMMAND --help\n", command->name);
}

void help_one(FILE *stream, const struct command *parent, const struct command *command)
{
    fprintf(stream, "Usage: pgmosaic %s%s%s%s%s\n\n", parent ? parent->name : "", parent ? " " : "", command->name,
            command->usage[0] ? " " : "", command->usage);
    paragraphs(stream, command->description);
    if (command->subcommands) {
        subcommands(stream, command);
    } else {
        fputs("\nOptions:\n", stream);
        for (const struct option_spec *option = command->options; option && option->name; option++)
            option_line(stream, option);
        for (const struct option_spec *option = help_common_options; option->name; option++) {
            if (help_takes(command, option))
                option_line(stream, option);
        }
    }
    if (!command->examples)
        return;
    fputs("\nExamples:\n", stream);
    for (const char *line = command->examples; *line;) {
        size_t size = strcspn(line, "\n");
        fprintf(stream, "  %.*s\n", (int)size, line);
        line += size + (line[size] == '\n');
    }
}

static int run_help(const struct invocation *invocation)
{
    if (invocation->argument_count == 0) {
        help_overview(stdout);
        return EXIT_CODE_OK;
    }
    /* `help lab up` is `lab up --help`, so that names are found and misspellings answered in one place. */
    const char *words[3] = {invocation->arguments[0], "--help", NULL};
    size_t count = 2;
    if (invocation->argument_count == 2) {
        words[1] = invocation->arguments[1];
        words[2] = "--help";
        count = 3;
    }
    struct invocation asked;
    mosaic_error error;
    int code = EXIT_CODE_OK;
    if (command_parse(command_table, words, count, &asked, &error) == PARSE_HELP && asked.command)
        help_one(stdout, asked.parent, asked.command);
    else
        code = command_fail(&error);
    invocation_free(&asked);
    return code;
}

static const struct option_spec no_options[] = {{NULL}};

const struct command help_command = {
    .name = "help",
    .usage = "[COMMAND [SUBCOMMAND]]",
    .summary = "show help about a command",
    .description = "Shows what a command does and which options it takes, as COMMAND --help does.",
    .options = no_options,
    .most_arguments = 2,
    .run = run_help,
};
