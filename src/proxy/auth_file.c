#include "proxy/auth_file.h"

#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

enum { SECRET_MOST = 2048 };

struct cursor {
    const char *at, *end, *path;
    unsigned line;
};

static mosaic_status wrong(const struct cursor *cursor, mosaic_error *error, const char *what)
{
    error_set(error, MOSAIC_CONFIG, "%s:%u: %s", cursor->path, cursor->line, what);
    return error_hint(error, "A line is \"name\" \"verifier or password\", with quotes around both.");
}

struct auth_user auth_user_of(const char *name, const char *secret)
{
    struct auth_user user = {.name = name, .secret = secret, .kind = SECRET_PLAIN};
    if (scram_verifier_read(secret, &user.verifier))
        user.kind = SECRET_SCRAM;
    else if (md5_is_verifier(secret))
        user.kind = SECRET_MD5;
    return user;
}

static void skip_blanks(struct cursor *cursor)
{
    while (cursor->at < cursor->end && (*cursor->at == ' ' || *cursor->at == '\t' || *cursor->at == '\r'))
        cursor->at++;
}

/* NULL after an error. */
static const char *take_quoted(struct cursor *cursor, struct arena *arena, struct buffer *text, mosaic_error *error)
{
    bool closed = false;
    buffer_clear(text);
    if (cursor->at == cursor->end || *cursor->at != '"') {
        (void)!wrong(cursor, error, "no quote where a name or a secret should begin");
        return NULL;
    }
    for (cursor->at++; cursor->at < cursor->end && *cursor->at != '\n' && *cursor->at != '\0' && !closed;
         cursor->at++) {
        bool quote = *cursor->at == '"';
        closed = quote && (cursor->at + 1 == cursor->end || cursor->at[1] != '"');
        if (!closed)
            buffer_char(text, *cursor->at);
        if (quote && !closed)
            cursor->at++;
    }
    bool too_long = buffer_failed(text) && text->size == text->maximum;
    if (!closed || too_long) {
        (void)!wrong(cursor, error, closed ? "a secret is longer than 2048 bytes" : "a quote is not closed");
        return NULL;
    }
    const char *copy = buffer_failed(text) ? NULL : arena_copy(arena, buffer_string(text), text->size);
    if (!copy)
        (void)!error_memory(error);
    return copy;
}

static mosaic_status take_user(struct cursor *cursor, struct arena *arena, struct auth_user *user, mosaic_error *error)
{
    struct buffer text = BUFFER_INIT(SECRET_MOST);
    const char *name = take_quoted(cursor, arena, &text, error), *secret = NULL;
    if (name) {
        skip_blanks(cursor);
        secret = take_quoted(cursor, arena, &text, error);
    }
    if (text.data)
        secret_forget(text.data, text.capacity);
    buffer_free(&text);
    if (!secret)
        return error ? error->status : MOSAIC_CONFIG;
    *user = auth_user_of(name, secret);
    user->line = cursor->line;
    return MOSAIC_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct auth_user *)a)->name, ((const struct auth_user *)b)->name);
}

static mosaic_status check_twins(const struct auth_user *users, size_t count, const char *path, mosaic_error *error)
{
    for (size_t i = 1; i < count; i++)
        if (strcmp(users[i - 1].name, users[i].name) == 0)
            return error_set(error, MOSAIC_CONFIG, "%s: user \"%s\" stands there twice: lines %u and %u", path,
                             users[i].name, users[i - 1].line, users[i].line);
    return MOSAIC_OK;
}

static size_t count_lines(const char *text, size_t size)
{
    size_t count = 1;
    for (size_t i = 0; i < size; i++)
        count += text[i] == '\n';
    return count;
}

mosaic_status auth_file_parse(struct arena *arena, const char *path, const char *text, size_t size,
                              struct auth_users *users, mosaic_error *error)
{
    struct cursor cursor = {text, text + size, path, 1};
    size_t count = 0;
    *users = (struct auth_users){0};
    struct auth_user *all = arena_zeroed(arena, count_lines(text, size), sizeof *all);
    if (!all)
        return error_memory(error);
    for (; cursor.at < cursor.end; cursor.line++) {
        skip_blanks(&cursor);
        if (cursor.at < cursor.end && *cursor.at != '\n' && *cursor.at != ';') {
            mosaic_status status = take_user(&cursor, arena, &all[count++], error);
            if (status)
                return status;
        }
        const char *newline = cursor.at < cursor.end ? memchr(cursor.at, '\n', (size_t)(cursor.end - cursor.at)) : NULL;
        cursor.at = newline ? newline + 1 : cursor.end;
    }
    qsort(all, count, sizeof *all, compare_names);
    *users = (struct auth_users){all, count};
    return check_twins(all, count, path, error);
}

const struct auth_user *auth_users_find(const struct auth_users *users, const char *name)
{
    struct auth_user wanted = {.name = name};
    if (users->count == 0)
        return NULL;
    return bsearch(&wanted, users->users, users->count, sizeof wanted, compare_names);
}
