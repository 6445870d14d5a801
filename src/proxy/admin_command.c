#include "proxy/admin_command.h"

#include "base/nearest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WORDS_MOST = 64 };

static const struct admin_info infos[] = {
#define X(identifier, words, argument, shows, help) {words, help, ADMIN_##argument, shows},
    ADMIN_COMMAND_LIST(X)
#undef X
};

enum { INFO_COUNT = sizeof infos / sizeof *infos };

/* Parameters that drivers set when they connect: each client has its own, and nothing here depends on them. */
static const char *const driver_parameters[] = {
    "application_name",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "search_path",
    "characteristics",
    "statement_timeout",
    "timezone",
    "standard_conforming_strings",
};

const struct admin_info *admin_info(enum admin_command command)
{
    return (unsigned)command < INFO_COUNT ? &infos[command] : NULL;
}

const char *admin_tag(enum admin_command command)
{
    static const char *const others[] = {"", "BEGIN", "COMMIT", "ROLLBACK", "SET"};
    if (command >= ADMIN_EMPTY)
        return others[command - ADMIN_EMPTY];
    if (strncmp(infos[command].words, "SHOW ", 5) == 0)
        return "SHOW";
    return strncmp(infos[command].words, "SHUTDOWN", 8) == 0 ? "SHUTDOWN" : infos[command].words;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* Blanks and comments of SQL: a person's \watch, an ORM's marks. */
static const char *skip(const char *at)
{
    for (;;) {
        while (is_blank(*at))
            at++;
        const char *end = NULL;
        if (at[0] == '-' && at[1] == '-')
            end = at + strcspn(at, "\n");
        else if (at[0] == '/' && at[1] == '*' && (end = strstr(at + 2, "*/")))
            end += 2;
        if (!end)
            return at;
        at = end;
    }
}

static bool ends_word(char c)
{
    return !c || is_blank(c) || c == ';' || c == '=';
}

/* Do the words stand at *at, in any case, with any blanks between? Moves *at behind them. */
static bool take_words(const char **at, const char *words)
{
    const char *from = *at;
    while (*words) {
        size_t size = strcspn(words, " ");
        if (strncasecmp(from, words, size) != 0 || !ends_word(from[size]))
            return false;
        from = skip(from + size);
        words += size;
        while (*words == ' ')
            words++;
    }
    *at = from;
    return true;
}

/* A bare word up to a blank, ; or =, or what stands in quotes ('' and "" within stand for one). NULL: malformed. */
static const char *take_value(struct arena *arena, const char **at, bool *memory)
{
    const char *from = *at;
    char quote = *from == '\'' || *from == '"' ? *from : '\0', *to = arena_allocate(arena, strlen(from) + 1);
    const char *value = to;
    *memory = !to;
    if (!to)
        return NULL;
    if (quote) {
        for (from++; *from && (*from != quote || from[1] == quote); from++) {
            from += *from == quote;
            *to++ = *from;
        }
        if (*from++ != quote || !(ends_word(*from) || *from == ','))
            return NULL;
    } else {
        while (!ends_word(*from))
            *to++ = *from++;
        if (to == value)
            return NULL;
    }
    *to = '\0';
    *at = skip(from);
    return value;
}

static mosaic_status refuse(mosaic_error *error, const char *sqlstate, const char *message, const char *hint)
{
    (void)!error_set(error, MOSAIC_USAGE, "%s", message);
    error_sqlstate(error, sqlstate);
    return error_hint(error, "%s", hint);
}

static const char help_hint[] = "SHOW HELP lists the commands of this database";

static mosaic_status refuse_unknown(const char *text, mosaic_error *error)
{
    char typed[WORDS_MOST] = "";
    size_t size = 0;
    for (const char *at = text; *at && *at != ';' && size + 1 < sizeof typed; at++) {
        bool blank = is_blank(*at);
        if (!blank || (size && typed[size - 1] != ' '))
            typed[size++] = blank ? ' ' : *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
    }
    while (size && typed[size - 1] == ' ')
        size--;
    struct nearest nearest = nearest_start(typed, size);
    for (size_t i = 0; i < INFO_COUNT; i++)
        nearest_offer(&nearest, infos[i].words);
    (void)!error_set(error, MOSAIC_USAGE, "there is no command \"%.*s\" in this database%s%s%s", (int)size, typed,
                     nearest.best ? ": did you mean " : "", nearest.best ? nearest.best : "", nearest.best ? "?" : "");
    error_sqlstate(error, "42601");
    return error_hint(error, "%s", help_hint);
}

/* name = value, name TO value; several values by commas are one text. */
static mosaic_status read_assignment(struct arena *arena, const char **at, struct admin_read *read, mosaic_error *error)
{
    bool memory = false;
    const char *end;
    read->argument = take_value(arena, at, &memory);
    if (read->argument && (**at == '=' || strncasecmp(*at, "to ", 3) == 0)) {
        *at = skip(*at + (**at == '=' ? 1 : 2));
        end = *at + strlen(*at);
        while (end > *at && (is_blank(end[-1]) || end[-1] == ';'))
            end--;
        if (**at == '\'') {
            read->value = take_value(arena, at, &memory);
        } else { /* bare, it may hold blanks, so it goes to the end: listen = a:1, b:2 */
            read->value = arena_copy(arena, *at, (size_t)(end - *at));
            memory = !read->value;
            *at = skip(end);
        }
    }
    if (memory)
        return error_memory(error);
    return read->value ? MOSAIC_OK
                       : refuse(error, "42601", "SET needs a setting and a value", "as in SET pool_size = 30");
}

static mosaic_status read_id(const char *text, struct admin_read *read, mosaic_error *error)
{
    char *end;
    errno = 0;
    read->id = strtoull(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9')
        return refuse(error, "22023", "KILL_CLIENT takes the number of a client",
                      "SHOW CLIENTS has it in its column id");
    return MOSAIC_OK;
}

static mosaic_status read_argument(struct arena *arena, const char **at, struct admin_read *read, mosaic_error *error)
{
    const struct admin_info *info = &infos[read->command];
    bool memory = false;
    if (info->argument == ADMIN_ASSIGNMENT)
        return read_assignment(arena, at, read, error);
    if (info->argument == ADMIN_NOTHING || !**at || **at == ';')
        return info->argument == ADMIN_ID ? read_id("", read, error) : MOSAIC_OK;
    read->argument = take_value(arena, at, &memory);
    if (memory)
        return error_memory(error);
    if (!read->argument)
        return refuse(error, "42601", "the name behind the command is malformed", help_hint);
    return info->argument == ADMIN_ID ? read_id(read->argument, read, error) : MOSAIC_OK;
}

/* What drivers say when they connect, and around statements. */
static bool read_driver(const char *at, struct admin_read *read)
{
    static const struct {
        const char *words;
        enum admin_command command;
    } known[] = {
        {"BEGIN", ADMIN_BEGIN},
        {"START TRANSACTION", ADMIN_BEGIN},
        {"COMMIT", ADMIN_COMMIT},
        {"END", ADMIN_COMMIT},
        {"ROLLBACK", ADMIN_ROLLBACK},
        {"ABORT", ADMIN_ROLLBACK},
        {"DISCARD ALL", ADMIN_SET_DRIVER},
        {"RESET ALL", ADMIN_SET_DRIVER},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (take_words(&at, known[i].words)) {
            read->command = known[i].command;
            return true;
        }
    }
    if (!take_words(&at, "SET"))
        return false;
    (void)take_words(&at, "SESSION");
    for (size_t i = 0; i < sizeof driver_parameters / sizeof *driver_parameters; i++) {
        if (take_words(&at, driver_parameters[i])) {
            read->command = ADMIN_SET_DRIVER;
            return true;
        }
    }
    return false;
}

mosaic_status admin_read(struct arena *arena, const char *text, struct admin_read *read, mosaic_error *error)
{
    const char *at = skip(text);
    *read = (struct admin_read){.command = ADMIN_EMPTY};
    while (*at == ';')
        at = skip(at + 1);
    if (!*at || read_driver(at, read))
        return MOSAIC_OK;
    const char *command = at;
    size_t found = 0;
    while (found < INFO_COUNT && !take_words(&at, infos[found].words))
        found++;
    if (found == INFO_COUNT)
        return refuse_unknown(command, error);
    read->command = (enum admin_command)found;
    mosaic_status status = read_argument(arena, &at, read, error);
    if (status != MOSAIC_OK)
        return status;
    while (*at == ';')
        at = skip(at + 1);
    if (!*at)
        return MOSAIC_OK;
    (void)!error_set(error, MOSAIC_USAGE, "%s is followed by more than it takes: \"%.40s\"", infos[found].words, at);
    error_sqlstate(error, "42601");
    return error_hint(error, "one command at a time; %s", help_hint);
}
