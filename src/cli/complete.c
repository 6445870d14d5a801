/*
 * pgmosaic complete bash|zsh|fish: the completion script of a shell, from the command tables.
 */
#include "cli/commands.h"
#include "cli/help.h"

#include <stdio.h>
#include <string.h>

/* Calls `each` for every option that the command takes, its own and the common ones. */
static void each_option(const struct command *parent, const struct command *command,
                        void (*each)(const struct command *, const struct command *, const struct option_spec *))
{
    for (const struct option_spec *option = command->options; option && option->name; option++)
        each(parent, command, option);
    for (const struct option_spec *option = help_common_options; option->name; option++) {
        if (help_takes(command, option))
            each(parent, command, option);
    }
}

/* Calls `leaf` for every command that takes options: subcommands with their parent, others with NULL. */
static void each_leaf(void (*leaf)(const struct command *parent, const struct command *command))
{
    for (const struct command *const *command = command_table; *command; command++) {
        if ((*command)->hidden)
            continue;
        if (!(*command)->subcommands)
            leaf(NULL, *command);
        for (const struct command *const *sub = (*command)->subcommands; sub && *sub; sub++) {
            if (!(*sub)->hidden)
                leaf(*command, *sub);
        }
    }
}

static void print_names(const struct command *const *commands)
{
    const char *before = "";
    for (; *commands; commands++) {
        if (!(*commands)->hidden) {
            printf("%s%s", before, (*commands)->name);
            before = " ";
        }
    }
}

/* "route", or "lab up" */
static void print_path(const struct command *parent, const struct command *command)
{
    printf("%s%s%s", parent ? parent->name : "", parent ? " " : "", command->name);
}

/* "csv|text" as "csv text" */
static void print_values(const char *values)
{
    for (; *values; values++)
        putchar(*values == '|' ? ' ' : *values);
}

/* Inside of single quotes; `special` characters get a backslash. */
static void print_quoted(const char *text, const char *special)
{
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'\\''", stdout);
            continue;
        }
        if (strchr(special, *text))
            putchar('\\');
        putchar(*text);
    }
}

/* ---- bash ---- */

static void bash_values(const struct command *parent, const struct command *command, const struct option_spec *option)
{
    if (!option->argument)
        return;
    fputs("    \"", stdout);
    print_path(parent, command);
    printf(" --%s\"", option->name);
    if (option->letter) {
        fputs(" | \"", stdout);
        print_path(parent, command);
        printf(" -%c\"", option->letter);
    }
    if (option->values) {
        fputs(") mapfile -t COMPREPLY < <(compgen -W \"", stdout);
        print_values(option->values);
        fputs("\" -- \"$word\"); return ;;\n", stdout);
    } else {
        fputs(") mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n", stdout);
    }
}

static void bash_name(const struct command *parent, const struct command *command, const struct option_spec *option)
{
    (void)parent, (void)command;
    printf(" --%s", option->name);
}

static void bash_leaf_values(const struct command *parent, const struct command *command)
{
    each_option(parent, command, bash_values);
}

static void bash_leaf(const struct command *parent, const struct command *command)
{
    fputs("    \"", stdout);
    print_path(parent, command);
    fputs("\") options=\"", stdout);
    each_option(parent, command, bash_name);
    fputs("\" ;;\n", stdout);
}

static void bash(void)
{
    fputs("# bash completion of pgmosaic, made by `pgmosaic complete bash`\n"
          "_pgmosaic()\n"
          "{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local command=${COMP_WORDS[1]} options=\"\" names=\"\"\n"
          "    if ((COMP_CWORD == 1)); then\n"
          "        names=\"",
          stdout);
    print_names(command_table);
    fputs(" --help --version\"\n"
          "    elif ((COMP_CWORD == 2)); then\n"
          "        case $command in\n",
          stdout);
    for (const struct command *const *command = command_table; *command; command++) {
        if (!(*command)->hidden && (*command)->subcommands) {
            printf("        %s) names=\"", (*command)->name);
            print_names((*command)->subcommands);
            fputs(" --help\" ;;\n", stdout);
        }
    }
    fputs("        help) names=\"", stdout);
    print_names(command_table);
    fputs("\" ;;\n"
          "        esac\n"
          "    fi\n"
          "    if [[ $names ]]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"$names\" -- \"$word\")\n"
          "        return\n"
          "    fi\n"
          "    case $command in\n",
          stdout);
    for (const struct command *const *command = command_table; *command; command++) {
        if (!(*command)->hidden && (*command)->subcommands)
            printf("    %s) command=\"$command ${COMP_WORDS[2]}\" ;;\n", (*command)->name);
    }
    fputs("    *) ;;\n    esac\n    case \"$command $before\" in\n", stdout);
    each_leaf(bash_leaf_values);
    fputs("    *) ;;\n    esac\n    case $command in\n", stdout);
    each_leaf(bash_leaf);
    fputs("    *) ;;\n"
          "    esac\n"
          "    if [[ $word == -* ]]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
          "    else\n"
          "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
          "    fi\n"
          "}\n"
          "complete -o filenames -F _pgmosaic pgmosaic\n",
          stdout);
}

/* ---- zsh ---- */

static void zsh_names(const struct command *const *commands)
{
    for (; *commands; commands++) {
        if ((*commands)->hidden)
            continue;
        printf(" '%s:", (*commands)->name);
        print_quoted((*commands)->summary, "");
        putchar('\'');
    }
}

static void zsh_option(const struct command *parent, const struct command *command, const struct option_spec *option)
{
    (void)parent, (void)command;
    if (option->letter)
        printf(" \\\n            '(-%c --%s)'{-%c,--%s}'[", option->letter, option->name, option->letter, option->name);
    else
        printf(" \\\n            '--%s[", option->name);
    print_quoted(option->help, "[]:");
    putchar(']');
    if (option->argument) {
        putchar(':');
        print_quoted(option->argument, ":");
        putchar(':');
        if (option->values) {
            putchar('(');
            print_values(option->values);
            putchar(')');
        } else {
            fputs("_files", stdout);
        }
    }
    putchar('\'');
}

static void zsh_leaf(const struct command *parent, const struct command *command)
{
    fputs("    '", stdout);
    print_path(parent, command);
    fputs("') _arguments", stdout);
    each_option(parent, command, zsh_option);
    fputs(" \\\n            '*:argument:_files' ;;\n", stdout);
}

static void zsh(void)
{
    fputs("#compdef pgmosaic\n"
          "# zsh completion of pgmosaic, made by `pgmosaic complete zsh`\n"
          "_pgmosaic() {\n"
          "    local -a names\n"
          "    local command=$words[2]\n"
          "    if (( CURRENT == 2 )); then\n"
          "        names=(",
          stdout);
    zsh_names(command_table);
    fputs(")\n        _describe command names\n        return\n    fi\n    case $command in\n", stdout);
    for (const struct command *const *command = command_table; *command; command++) {
        if ((*command)->hidden || !(*command)->subcommands)
            continue;
        printf("    %s)\n        if (( CURRENT == 3 )); then\n            names=(", (*command)->name);
        zsh_names((*command)->subcommands);
        fputs(")\n            _describe subcommand names\n            return\n        fi\n"
              "        command=\"$words[2] $words[3]\"\n"
              "        shift words\n        (( CURRENT-- )) ;;\n",
              stdout);
    }
    fputs("    esac\n    shift words\n    (( CURRENT-- ))\n    case $command in\n", stdout);
    each_leaf(zsh_leaf);
    fputs("    esac\n}\n_pgmosaic \"$@\"\n", stdout);
}

/* ---- fish ---- */

/* The condition under which a line counts, e.g. for `lab up`. */
static void fish_condition(const struct command *parent, const struct command *command)
{
    fputs("complete -c pgmosaic -n '", stdout);
    if (parent)
        printf("__fish_seen_subcommand_from %s; and ", parent->name);
    printf("__fish_seen_subcommand_from %s'", command->name);
}

static void fish_option(const struct command *parent, const struct command *command, const struct option_spec *option)
{
    fish_condition(parent, command);
    printf(" -l %s", option->name);
    if (option->letter)
        printf(" -s %c", option->letter);
    if (option->values) {
        fputs(" -x -a '", stdout);
        print_values(option->values);
        putchar('\'');
    } else if (option->argument) {
        fputs(" -r", stdout);
    }
    fputs(" -d '", stdout);
    print_quoted(option->help, "");
    fputs("'\n", stdout);
}

static void fish_leaf(const struct command *parent, const struct command *command)
{
    each_option(parent, command, fish_option);
}

static void fish_names(const char *condition, const struct command *const *commands)
{
    for (; *commands; commands++) {
        if ((*commands)->hidden)
            continue;
        printf("complete -c pgmosaic -f -n '%s' -a %s -d '", condition, (*commands)->name);
        print_quoted((*commands)->summary, "");
        fputs("'\n", stdout);
    }
}

static void fish(void)
{
    fputs("# fish completion of pgmosaic, made by `pgmosaic complete fish`\n", stdout);
    fish_names("__fish_use_subcommand", command_table);
    for (const struct command *const *command = command_table; *command; command++) {
        char condition[128];
        snprintf(condition, sizeof condition, "__fish_seen_subcommand_from %s", (*command)->name);
        if (!(*command)->hidden && (*command)->subcommands)
            fish_names(condition, (*command)->subcommands);
    }
    each_leaf(fish_leaf);
}

/* ---- the command ---- */

static int run_complete(const struct invocation *invocation)
{
    const char *shell = invocation->arguments[0];
    if (strcmp(shell, "bash") == 0) {
        bash();
    } else if (strcmp(shell, "zsh") == 0) {
        zsh();
    } else if (strcmp(shell, "fish") == 0) {
        fish();
    } else {
        mosaic_error error;
        (void)!error_set(&error, MOSAIC_USAGE, "no completion for \"%s\": there are bash, zsh and fish", shell);
        return command_fail(&error);
    }
    return EXIT_CODE_OK;
}

static const struct option_spec complete_options[] = {{NULL}};

const struct command complete_command = {
    .name = "complete",
    .usage = "bash|zsh|fish",
    .summary = "print the completion script of a shell",
    .description =
        "Prints the script that makes the shell complete commands, options and their values. make install puts "
        "all three where the shells look for them.",
    .examples = "eval \"$(pgmosaic complete bash)\"\n"
                "pgmosaic complete fish > ~/.config/fish/completions/pgmosaic.fish\n",
    .options = complete_options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run_complete,
};
