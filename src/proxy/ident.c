#include "proxy/ident.h"

#include "proxy/auth_lines.h"

#include <ctype.h>
#include <regex.h>
#include <string.h>

enum { GROUPS = 2, NAME_MOST = 1024 };

struct ident_line {
    const char *map, *name;
    struct auth_word user;
    regex_t *pattern; /* NULL: the name itself */
    unsigned number;
};

/* Does the pattern use what POSIX has not, and would it thus mean something else here than in PostgreSQL? */
static bool is_beyond_posix(const char *pattern)
{
    if (strncmp(pattern, "***", 3) == 0 || strstr(pattern, "(?"))
        return true;
    for (const char *at = strchr(pattern, '\\'); at && at[1]; at = strchr(at + 2, '\\'))
        if (isalnum((unsigned char)at[1]))
            return true;
    for (const char *at = pattern; (at = strpbrk(at, "*+?}")); at++)
        if (at[1] == '?') /* not greedy */
            return true;
    return false;
}

/*
 * a*+ and the like: PostgreSQL refuses them, the C library takes them and needs time and stack that double with each.
 * Within [ ] and behind a backslash they are characters.
 */
static bool has_stacked_quantifiers(const char *pattern)
{
    bool in_brackets = false, was_quantifier = false;
    for (const char *at = pattern; *at; at++) {
        bool is_quantifier = !in_brackets && strchr("*+?{", *at);
        if (is_quantifier && was_quantifier)
            return true;
        was_quantifier = is_quantifier || (!in_brackets && *at == '}');
        if (*at == '{' && !in_brackets && strchr(at, '}'))
            at = strchr(at, '}');
        else if (*at == '\\' && at[1] && !in_brackets)
            at++;
        else if (*at == '[' || *at == ']')
            in_brackets = *at == '[' || (in_brackets && (at[-1] == '[' || (at[-1] == '^' && at[-2] == '[')));
    }
    return false;
}

static mosaic_status line_compile(struct arena *arena, const char *path, struct ident_line *line, mosaic_error *error)
{
    const char *pattern = line->name + 1;
    if (is_beyond_posix(pattern)) {
        error_set(error, MOSAIC_CONFIG, "%s:%u: the regular expression \"%s\" has what only PostgreSQL's have", path,
                  line->number, pattern);
        return error_hint(error, "Write it with POSIX's means: [0-9] for \\d, [[:alnum:]_] for \\w.");
    }
    if (has_stacked_quantifiers(pattern)) {
        error_set(error, MOSAIC_CONFIG, "%s:%u: the regular expression \"%s\" has one quantifier upon another", path,
                  line->number, pattern);
        return error_hint(error, "Say what is meant by one, or group the inner: (a+)*.");
    }
    line->pattern = arena_allocate(arena, sizeof *line->pattern);
    if (!line->pattern)
        return error_memory(error);
    int code = regcomp(line->pattern, pattern, REG_EXTENDED);
    if (code == 0) {
        if (line->pattern->re_nsub == 0 && strstr(line->user.text, "\\1")) {
            regfree(line->pattern);
            line->pattern = NULL;
            return error_set(error, MOSAIC_CONFIG, "%s:%u: the user has \\1, but the regular expression no group", path,
                             line->number);
        }
        return MOSAIC_OK;
    }
    char why[200];
    regerror(code, line->pattern, why, sizeof why);
    line->pattern = NULL;
    return error_set(error, MOSAIC_CONFIG, "%s:%u: the regular expression \"%s\" can't be read: %s", path, line->number,
                     pattern, why);
}

static mosaic_status line_read(struct arena *arena, const char *path, const struct auth_line *from,
                               struct ident_line *line, mosaic_error *error)
{
    *line = (struct ident_line){.number = from->number};
    bool single = from->count == 3;
    for (size_t i = 0; i < from->count; i++)
        single = single && from->fields[i].count == 1;
    if (!single)
        return error_set(error, MOSAIC_CONFIG, "%s:%u: a line has a map, a name and a user; this one is different",
                         path, from->number);
    line->map = from->fields[0].words[0].text;
    line->name = from->fields[1].words[0].text;
    line->user = from->fields[2].words[0];
    if (!line->user.quoted && (line->user.text[0] == '+' || line->user.text[0] == '/'))
        return error_set(error, MOSAIC_CONFIG,
                         "%s:%u: \"%s\": members of a role, and expressions for users, are not "
                         "supported: the proxy knows names only",
                         path, from->number, line->user.text);
    return line->name[0] == '/' ? line_compile(arena, path, line, error) : MOSAIC_OK;
}

mosaic_status ident_parse(struct arena *arena, const char *path, const char *text, size_t size, struct ident *ident,
                          mosaic_error *error)
{
    struct auth_reader reader = auth_reader_start(path, text, size);
    size_t capacity = 0;
    *ident = (struct ident){0};
    for (;;) {
        struct auth_line from;
        mosaic_status status = auth_lines_next(&reader, arena, &from, error);
        if (!status && from.count == 0)
            return MOSAIC_OK;
        if (!status && ident->count == capacity) {
            capacity = capacity ? 2 * capacity : 8;
            struct ident_line *grown = arena_zeroed(arena, capacity, sizeof *grown);
            if (grown && ident->count)
                memcpy(grown, ident->lines, ident->count * sizeof *grown);
            ident->lines = grown ? grown : ident->lines;
            status = grown ? MOSAIC_OK : error_memory(error);
        }
        if (!status)
            status = line_read(arena, path, &from, &ident->lines[ident->count], error);
        if (status) {
            ident_free(ident);
            return status;
        }
        ident->count++;
    }
}

void ident_free(struct ident *ident)
{
    for (size_t i = 0; i < ident->count; i++)
        if (ident->lines[i].pattern)
            regfree(ident->lines[i].pattern);
    *ident = (struct ident){0};
}

/* The user with \1 replaced by what the group matched; false when that is too long. */
static bool expand(const struct auth_word *user, const char *name, const regmatch_t *group, char *text, size_t most)
{
    const char *place = strstr(user->text, "\\1");
    size_t before = place ? (size_t)(place - user->text) : strlen(user->text);
    size_t inside = place && group->rm_so >= 0 ? (size_t)(group->rm_eo - group->rm_so) : 0;
    size_t after = place ? strlen(place + 2) : 0;
    if (before + inside + after >= most)
        return false;
    memcpy(text, user->text, before);
    if (inside)
        memcpy(text + before, name + group->rm_so, inside);
    if (place)
        memcpy(text + before + inside, place + 2, after);
    text[before + inside + after] = '\0';
    return true;
}

static bool line_allows(const struct ident_line *line, const char *name, const char *user)
{
    regmatch_t groups[GROUPS];
    char expanded[NAME_MOST];
    if (!line->pattern)
        return strcmp(line->name, name) == 0 &&
               (auth_word_is(&line->user, "all") || strcmp(line->user.text, user) == 0);
    if (strlen(name) >= NAME_MOST || regexec(line->pattern, name, GROUPS, groups, 0) != 0)
        return false;
    if (auth_word_is(&line->user, "all"))
        return true;
    return expand(&line->user, name, &groups[1], expanded, sizeof expanded) && strcmp(expanded, user) == 0;
}

bool ident_allows(const struct ident *ident, const char *map, const char *name, const char *user)
{
    if (!map)
        return strcmp(name, user) == 0;
    for (size_t i = 0; i < ident->count; i++)
        if (strcmp(ident->lines[i].map, map) == 0 && line_allows(&ident->lines[i], name, user))
            return true;
    return false;
}

bool ident_has_map(const struct ident *ident, const char *map)
{
    for (size_t i = 0; i < ident->count; i++)
        if (strcmp(ident->lines[i].map, map) == 0)
            return true;
    return false;
}
