#define _GNU_SOURCE
#include "plan/hint.h"

#include "base/buffer.h"
#include "base/error.h"
#include "config/settings.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

enum { LIST_BYTES_MOST = 300 };

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct cursor {
    const char *at, *end;
};

static void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->end && is_blank(*cursor->at))
        cursor->at++;
}

static bool skip_text(struct cursor *cursor, const char *text)
{
    size_t size = strlen(text);
    if ((size_t)(cursor->end - cursor->at) < size || memcmp(cursor->at, text, size) != 0)
        return false;
    cursor->at += size;
    return true;
}

/* Moves behind a comment, which may nest, and gives what stands in it; false where none begins or none ends. */
static bool take_comment(struct cursor *cursor, struct cursor *inside)
{
    if (!skip_text(cursor, "/*"))
        return false;
    inside->at = cursor->at;
    for (size_t depth = 1; cursor->at < cursor->end;) {
        if (skip_text(cursor, "/*")) {
            depth++;
        } else if (skip_text(cursor, "*/")) {
            inside->end = cursor->at - 2;
            if (!--depth)
                return true;
        } else {
            cursor->at++;
        }
    }
    return false;
}

static void skip_line(struct cursor *cursor)
{
    while (cursor->at < cursor->end && *cursor->at != '\n')
        cursor->at++;
}

static mosaic_status malformed(mosaic_error *error, const char *where, const struct cursor *rest)
{
    int size = rest->end - rest->at > 40 ? 40 : (int)(rest->end - rest->at);
    error_set(error, MOSAIC_USAGE, "the hint cannot be read %s \"%.*s\"", where, size, rest->at);
    return error_hint(error, "write /* mosaic: shard=NAME */ or /* mosaic: key=VALUE table=NAME */");
}

/* A word, or what is in quotes. NULL when memory is out or the quote does not close. */
static const char *take_value(struct cursor *cursor, struct arena *arena)
{
    const char quote = cursor->at < cursor->end ? *cursor->at : '\0';
    if (quote != '\'' && quote != '"') {
        const char *start = cursor->at;
        while (cursor->at < cursor->end && !is_blank(*cursor->at))
            cursor->at++;
        return arena_copy(arena, start, (size_t)(cursor->at - start));
    }
    char *value = arena_allocate(arena, (size_t)(cursor->end - cursor->at) + 1);
    size_t size = 0;
    while (value && ++cursor->at < cursor->end) {
        if (*cursor->at == quote && (cursor->at + 1 == cursor->end || cursor->at[1] != quote)) {
            cursor->at++;
            value[size] = '\0';
            return value;
        }
        cursor->at += *cursor->at == quote;
        value[size++] = *cursor->at;
    }
    return NULL;
}

/* X(name, may a comment say it, the choices where it is one of them) */
#define MEMBER_LIST(X)                            \
    X(shard, true, NULL)                          \
    X(key, true, NULL)                            \
    X(table, true, NULL)                          \
    X(scatter, true, "allow, warn or deny")       \
    X(partial_results, true, switches)            \
    X(clock, false, "one or shard")               \
    X(allow_per_shard_snapshots, false, switches) \
    X(commit, false, "two_phase, one_shard_only or best_effort")

static const char switches[] = "on or off";

static const struct member {
    const char *name;
    size_t offset;
    bool may_be_said;
    const char *choices;
} members[] = {
#define X(name, may_be_said, choices) {#name, offsetof(struct plan_hint, name), may_be_said, choices},
    MEMBER_LIST(X)
#undef X
};
enum { MEMBER_COUNT = sizeof members / sizeof *members };

static const char **value_of(struct plan_hint *hint, const struct member *member)
{
    return (const char **)(void *)((char *)hint + member->offset);
}

static const char **member_of(struct plan_hint *hint, const char *name, size_t size, bool is_comment)
{
    for (size_t i = 0; i < MEMBER_COUNT; i++)
        if ((members[i].may_be_said || !is_comment) && strlen(members[i].name) == size &&
            strncasecmp(members[i].name, name, size) == 0)
            return value_of(hint, &members[i]);
    return NULL;
}

/* Is it one of "a, b or c"? Of "on or off", what PostgreSQL takes for either. */
static bool is_choice(const char *choices, const char *value)
{
    bool flag;
    size_t size = strlen(value);
    if (choices == switches)
        return settings_bool(value, &flag);
    for (const char *at = choices; (at = strcasestr(at, value)); at++)
        if ((at == choices || at[-1] == ' ') && strchr(", ", at[size]) && strncmp(at, "or ", 3) != 0)
            return true;
    return false;
}

static mosaic_status take_pair(struct cursor *cursor, struct arena *arena, struct plan_hint *hint, mosaic_error *error)
{
    const struct cursor start = *cursor;
    while (cursor->at < cursor->end && *cursor->at != '=' && !is_blank(*cursor->at))
        cursor->at++;
    const char **member = member_of(hint, start.at, (size_t)(cursor->at - start.at), true);
    if (!member || *member || cursor->at == cursor->end || *cursor->at != '=')
        return malformed(error, "at", &start);
    cursor->at++;
    *member = take_value(cursor, arena);
    if (!*member || !**member)
        return malformed(error, "at", &start);
    return MOSAIC_OK;
}

static mosaic_status read_hint(struct cursor inside, struct arena *arena, struct plan_hint *hint, mosaic_error *error)
{
    const struct cursor whole = inside;
    skip_blanks(&inside);
    while (inside.at < inside.end) {
        mosaic_status status = take_pair(&inside, arena, hint, error);
        if (status != MOSAIC_OK)
            return status;
        skip_blanks(&inside);
    }
    bool is_place = !hint_is_empty(hint);
    bool is_other = hint->scatter || hint->partial_results;
    if ((!is_place && (!is_other || hint->table)) || (hint->shard && (hint->key || hint->table)))
        return malformed(error, "as one place:", &whole);
    return MOSAIC_OK;
}

mosaic_status hint_from_text(const char *text, size_t size, struct arena *arena, struct plan_hint *hint,
                             mosaic_error *error)
{
    struct cursor cursor = {text, text + size}, inside = {NULL, NULL};
    *hint = (struct plan_hint){0};
    for (;;) {
        skip_blanks(&cursor);
        if (cursor.end - cursor.at > 1 && cursor.at[0] == '-' && cursor.at[1] == '-') {
            skip_line(&cursor);
            continue;
        }
        if (!take_comment(&cursor, &inside))
            return MOSAIC_OK;
        skip_blanks(&inside);
        if (skip_text(&inside, "mosaic:"))
            return read_hint(inside, arena, hint, error);
    }
}

mosaic_status hint_set(const struct model *model, const char *name, const char *value, struct arena *arena,
                       struct plan_hint *hint, mosaic_error *error)
{
    static const char prefix[] = "mosaic.";
    struct plan_hint changed = *hint;
    const char *short_name = strncasecmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : "";
    const char **member = member_of(&changed, short_name, strlen(short_name), false);
    if (!member) {
        error_set(error, MOSAIC_USAGE, "unrecognized configuration parameter \"%s\"", name);
        struct buffer names = BUFFER_INIT(2 * LIST_BYTES_MOST);
        for (size_t i = 0; i < MEMBER_COUNT; i++)
            buffer_format(&names, "%smosaic.%s", i == 0 ? "" : i + 1 < MEMBER_COUNT ? ", " : " and ", members[i].name);
        error_hint(error, "there are %s", buffer_string(&names));
        buffer_free(&names);
        return error_sqlstate(error, "42704");
    }
    *member = value && *value ? arena_string(arena, value) : NULL;
    if (value && *value && !*member)
        return error_memory(error);
    mosaic_status status = hint_check(model, &changed, error);
    if (status == MOSAIC_OK)
        *hint = changed;
    return status;
}

/* ", "-separated, as many as fit. */
static void list_name(struct buffer *list, const char *name)
{
    if (list->size + strlen(name) > LIST_BYTES_MOST) {
        if (list->size < 3 || strcmp(list->data + list->size - 3, "\xe2\x80\xa6") != 0)
            buffer_text(list, ", \xe2\x80\xa6");
        return;
    }
    buffer_format(list, "%s%s", list->size ? ", " : "", name);
}

mosaic_status hint_check(const struct model *model, const struct plan_hint *hint, mosaic_error *error)
{
    struct buffer names = BUFFER_INIT(LIST_BYTES_MOST + 300);
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        const char *value = *value_of((struct plan_hint *)hint, &members[i]);
        if (!value || !members[i].choices || is_choice(members[i].choices, value))
            continue;
        (void)!error_set(error, MOSAIC_USAGE, "the hint says %s=%.100s, which is no choice", members[i].name, value);
        return error_hint(error, "it is %s", members[i].choices);
    }
    if (hint->shard && model_shard(model, hint->shard) == SIZE_MAX) {
        for (size_t i = 0; i < model->shard_count; i++)
            list_name(&names, model->shards[i].name);
        status =
            error_set(error, MOSAIC_USAGE, "the hint names shard \"%s\", which the cluster does not have", hint->shard);
        error_hint(error, "its shards are %s", buffer_string(&names));
    } else if (hint->table) {
        const struct table *table = model_table(model, hint->table);
        if (!table || table->kind != TABLE_SHARDED) {
            for (size_t i = 0; i < model->table_count; i++)
                if (model->tables[i].kind == TABLE_SHARDED)
                    list_name(&names, model->tables[i].display);
            status =
                error_set(error, MOSAIC_USAGE, "the hint names table \"%s\", which is no sharded table", hint->table);
            error_hint(error, "the sharded tables are %s", buffer_string(&names));
        }
    }
    buffer_free(&names);
    return status;
}
