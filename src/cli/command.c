/*
 * The parser of command lines. It reads the tables and prints nothing, except for command_fail.
 */
#include "cli/command.h"

#include "base/memory.h"
#include "base/nearest.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What every command takes beside its own options; see option_applies. */
static const struct option_spec common_options[] = {
    {"config", 'c', "FILE", NULL, NULL},
    {"json", 0, NULL, NULL, NULL},
    {"help", 'h', NULL, NULL, NULL},
    {NULL},
};

enum { COMMON_CONFIG, COMMON_JSON, COMMON_HELP };

/* The state of one parse. */
struct parse {
    const char *const *words;
    size_t count, at; /* at: the next word */
    struct invocation *invocation;
    mosaic_error *error;
    bool help;
};

const struct command *command_find(const struct command *const *commands, const char *name)
{
    for (; *commands; commands++) {
        if (strcmp((*commands)->name, name) == 0)
            return *commands;
    }
    return NULL;
}

static mosaic_status hint_help(const struct invocation *invocation, mosaic_error *error)
{
    if (!invocation->command)
        return error_hint(error, "see pgmosaic --help");
    if (invocation->parent)
        return error_hint(error, "see pgmosaic %s %s --help", invocation->parent->name, invocation->command->name);
    return error_hint(error, "see pgmosaic %s --help", invocation->command->name);
}

static bool common_applies(const struct command *command, size_t which)
{
    return which == COMMON_HELP || (which == COMMON_CONFIG && command->takes_config) ||
           (which == COMMON_JSON && command->takes_json);
}

/* Does one of the values of "csv|text|binary" equal this one? */
static bool value_allowed(const char *values, const char *value)
{
    size_t size = strlen(value);
    for (;;) {
        const char *end = values + strcspn(values, "|");
        if ((size_t)(end - values) == size && memcmp(values, value, size) == 0)
            return true;
        if (!*end)
            return false;
        values = end + 1;
    }
}

/* Stores an option that was found; `own` is its index in the command's table, or SIZE_MAX for a common one. */
static mosaic_status store(struct parse *parse, const struct option_spec *option, size_t own, const char *value)
{
    struct invocation *invocation = parse->invocation;
    if (option->values && !value_allowed(option->values, value))
        return error_set(parse->error, MOSAIC_USAGE, "--%s takes one of %s, not \"%s\"", option->name, option->values,
                         value);
    const char **place = own != (size_t)-1                          ? &invocation->option_values[own]
                         : option == &common_options[COMMON_CONFIG] ? &invocation->config
                                                                    : NULL;
    if (!place) {
        if (option == &common_options[COMMON_JSON])
            invocation->json = true;
        else
            parse->help = true;
        return MOSAIC_OK;
    }
    if (*place && option->argument)
        return error_set(parse->error, MOSAIC_USAGE, "--%s is given twice", option->name);
    *place = value;
    return MOSAIC_OK;
}

static bool same_name(const struct option_spec *option, const char *name, size_t size)
{
    return strlen(option->name) == size && memcmp(option->name, name, size) == 0;
}

/* Finds an option by long name, or by letter when name is NULL. */
static const struct option_spec *find_option(const struct command *command, const char *name, size_t size, char letter,
                                             size_t *own)
{
    for (size_t i = 0; command->options && command->options[i].name; i++) {
        const struct option_spec *option = &command->options[i];
        if (name ? same_name(option, name, size) : option->letter == letter) {
            *own = i;
            return option;
        }
    }
    *own = (size_t)-1;
    for (size_t i = 0; common_options[i].name; i++) {
        const struct option_spec *option = &common_options[i];
        if (common_applies(command, i) && (name ? same_name(option, name, size) : option->letter == letter))
            return option;
    }
    return NULL;
}

static mosaic_status unknown_long(struct parse *parse, const struct command *command, const char *word, size_t size)
{
    struct nearest nearest = nearest_start(word, size);
    for (size_t i = 0; command->options && command->options[i].name; i++)
        nearest_offer(&nearest, command->options[i].name);
    for (size_t i = 0; common_options[i].name; i++) {
        if (common_applies(command, i))
            nearest_offer(&nearest, common_options[i].name);
    }
    if (nearest.best)
        return error_set(parse->error, MOSAIC_USAGE, "no option --%.*s: did you mean --%s?", (int)size, word,
                         nearest.best);
    return error_set(parse->error, MOSAIC_USAGE, "no option --%.*s", (int)size, word);
}

static mosaic_status needs_value(struct parse *parse, const struct option_spec *option)
{
    return error_set(parse->error, MOSAIC_USAGE, "--%s needs a value: --%s %s", option->name, option->name,
                     option->argument);
}

/* --name, --name=value, --name value */
static mosaic_status parse_long(struct parse *parse, const struct command *command, const char *word)
{
    const char *end = word + strcspn(word, "=");
    size_t size = (size_t)(end - word), own;
    const struct option_spec *option = find_option(command, word, size, 0, &own);
    if (!option)
        return unknown_long(parse, command, word, size);
    if (!option->argument) {
        if (*end)
            return error_set(parse->error, MOSAIC_USAGE, "--%s takes no value", option->name);
        return store(parse, option, own, "");
    }
    if (*end)
        return store(parse, option, own, end + 1);
    if (parse->at == parse->count)
        return needs_value(parse, option);
    return store(parse, option, own, parse->words[parse->at++]);
}

/* -n4, -n 4, -qv */
static mosaic_status parse_short(struct parse *parse, const struct command *command, const char *letters)
{
    for (; *letters; letters++) {
        size_t own;
        const struct option_spec *option = find_option(command, NULL, 0, *letters, &own);
        if (!option)
            return error_set(parse->error, MOSAIC_USAGE, "no option -%c", *letters);
        mosaic_status status;
        if (!option->argument) {
            status = store(parse, option, own, "");
            if (status != MOSAIC_OK)
                return status;
            continue;
        }
        if (letters[1])
            return store(parse, option, own, letters + 1);
        if (parse->at == parse->count)
            return needs_value(parse, option);
        return store(parse, option, own, parse->words[parse->at++]);
    }
    return MOSAIC_OK;
}

/* "-" is a file name; -5 and -.5 are keys. */
static bool is_argument(const char *word)
{
    if (word[0] != '-' || !word[1])
        return true;
    const char *digit = word[1] == '.' ? word + 2 : word + 1;
    return *digit >= '0' && *digit <= '9';
}

static mosaic_status parse_words(struct parse *parse)
{
    struct invocation *invocation = parse->invocation;
    bool options_over = false;
    while (parse->at < parse->count) {
        const char *word = parse->words[parse->at++];
        mosaic_status status = MOSAIC_OK;
        if (options_over || is_argument(word))
            invocation->arguments[invocation->argument_count++] = word;
        else if (strcmp(word, "--") == 0)
            options_over = true;
        else if (word[1] == '-')
            status = parse_long(parse, invocation->command, word + 2);
        else
            status = parse_short(parse, invocation->command, word + 1);
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}

static mosaic_status check_count(const struct parse *parse)
{
    const struct invocation *invocation = parse->invocation;
    const struct command *command = invocation->command;
    size_t count = invocation->argument_count;
    if (count >= command->least_arguments && count <= command->most_arguments)
        return MOSAIC_OK;
    if (count > command->most_arguments)
        return error_set(parse->error, MOSAIC_USAGE, "one argument too many: \"%s\"",
                         invocation->arguments[command->most_arguments]);
    return error_set(parse->error, MOSAIC_USAGE, "an argument is missing: pgmosaic %s%s%s %s",
                     invocation->parent ? invocation->parent->name : "", invocation->parent ? " " : "", command->name,
                     command->usage);
}

/* Takes the next word as the name of one of `commands`. */
static mosaic_status choose(struct parse *parse, const struct command *const *commands, const char *what)
{
    struct invocation *invocation = parse->invocation;
    const char *name = parse->words[parse->at++];
    const struct command *command = command_find(commands, name);
    if (command) {
        invocation->parent = invocation->command;
        invocation->command = command;
        return MOSAIC_OK;
    }
    if (name[0] == '-')
        return error_set(parse->error, MOSAIC_USAGE, "%s comes first, then its options: not \"%s\"", what, name);
    struct nearest nearest = nearest_start(name, strlen(name));
    for (const struct command *const *each = commands; *each; each++)
        nearest_offer(&nearest, (*each)->name);
    if (nearest.best)
        return error_set(parse->error, MOSAIC_USAGE, "no %s \"%s\": did you mean \"%s\"?", what, name, nearest.best);
    return error_set(parse->error, MOSAIC_USAGE, "no %s \"%s\"", what, name);
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static mosaic_status parse_names(struct parse *parse, const struct command *const *commands)
{
    if (parse->count == 0)
        return error_set(parse->error, MOSAIC_USAGE, "a command is missing");
    mosaic_status status = choose(parse, commands, "command");
    const struct command *const *subcommands = status == MOSAIC_OK ? parse->invocation->command->subcommands : NULL;
    if (!subcommands)
        return status;
    if (parse->at == parse->count)
        return error_set(parse->error, MOSAIC_USAGE, "a subcommand is missing: pgmosaic %s %s",
                         parse->invocation->command->name, parse->invocation->command->usage);
    if (is_help(parse->words[parse->at])) {
        parse->help = true;
        return MOSAIC_OK;
    }
    return choose(parse, subcommands, "subcommand");
}

enum parse_outcome command_parse(const struct command *const *commands, const char *const *words, size_t count,
                                 struct invocation *invocation, mosaic_error *error)
{
    struct parse parse = {.words = words, .count = count, .invocation = invocation, .error = error};
    *invocation = (struct invocation){0};
    if (count > 0 && is_help(words[0]))
        return PARSE_HELP;
    if (count > 0 && (strcmp(words[0], "--version") == 0 || strcmp(words[0], "-V") == 0))
        return PARSE_VERSION;
    invocation->arguments = memory_zeroed(count + 1, sizeof *invocation->arguments);
    if (!invocation->arguments) {
        (void)!error_memory(error);
        return PARSE_FAILED;
    }
    mosaic_status status = parse_names(&parse, commands);
    if (status == MOSAIC_OK && parse.help)
        return PARSE_HELP;
    if (status == MOSAIC_OK)
        status = parse_words(&parse);
    if (parse.help)
        return PARSE_HELP;
    if (status == MOSAIC_OK)
        status = check_count(&parse);
    if (status == MOSAIC_OK)
        return PARSE_RUN;
    hint_help(invocation, error);
    return PARSE_FAILED;
}

void invocation_free(struct invocation *invocation)
{
    memory_free(invocation->arguments);
    *invocation = (struct invocation){0};
}

const char *invocation_option(const struct invocation *invocation, const char *name)
{
    for (size_t i = 0; invocation->command->options[i].name; i++) {
        if (strcmp(invocation->command->options[i].name, name) == 0)
            return invocation->option_values[i];
    }
    assert(!"an option that is not in the command's table");
    return NULL;
}

bool invocation_has(const struct invocation *invocation, const char *name)
{
    return invocation_option(invocation, name) != NULL;
}

mosaic_status invocation_number(const struct invocation *invocation, const char *name, long least, long most,
                                long otherwise, long *number, mosaic_error *error)
{
    const char *text = invocation_option(invocation, name);
    *number = otherwise;
    if (!text)
        return MOSAIC_OK;
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    bool digits = *text == '-' || (*text >= '0' && *text <= '9');
    if (digits && end != text && !*end && errno == 0 && value >= least && value <= most) {
        *number = value;
        return MOSAIC_OK;
    }
    (void)!error_set(error, MOSAIC_USAGE, "--%s takes a whole number from %ld to %ld, not \"%s\"", name, least, most,
                     text);
    hint_help(invocation, error);
    return MOSAIC_USAGE;
}

static int exit_code_of(mosaic_status status)
{
    switch (status) {
    case MOSAIC_OK:
        return EXIT_CODE_OK;
    case MOSAIC_USAGE:
    case MOSAIC_CONFIG:
        return EXIT_CODE_USAGE;
    case MOSAIC_IN_DOUBT:
        return EXIT_CODE_IN_DOUBT;
    case MOSAIC_INTERRUPTED:
        return EXIT_CODE_INTERRUPTED;
    default:
        return EXIT_CODE_FAILED;
    }
}

int command_fail(const mosaic_error *error)
{
    fflush(stdout);
    fputs("pgmosaic: ", stderr);
    if (error->shard[0])
        fprintf(stderr, "[shard %s] ", error->shard);
    fprintf(stderr, "%s\n", error->message);
    if (error->detail[0])
        fprintf(stderr, "DETAIL: %s\n", error->detail);
    if (error->hint[0])
        fprintf(stderr, "HINT: %s\n", error->hint);
    return exit_code_of(error->status);
}

void command_warn(const char *text)
{
    fflush(stdout);
    if (*text)
        fprintf(stderr, "WARNING: %s\n", text);
}
