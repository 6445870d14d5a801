#include "config/pgbouncer.h"

#include <string.h>

enum { LINE_MOST = 65536 };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* A text in double quotes, "" within; false: none is at *at. */
static bool take_quoted(const char **at, const char *end, struct buffer *text)
{
    const char *from = *at;
    buffer_clear(text);
    if (from == end || *from != '"')
        return false;
    for (from++; from < end && (*from != '"' || (from + 1 < end && from[1] == '"')); from++) {
        from += *from == '"';
        buffer_char(text, *from);
    }
    *at = from + 1;
    return from < end;
}

enum { MD5_SIZE = 35 };

static void note_user(struct buffer *notes, const char *user, const char *secret)
{
    bool md5 = strncmp(secret, "md5", 3) == 0 && strlen(secret) == MD5_SIZE;
    if (strncmp(secret, "SCRAM-SHA-256$", 14) == 0)
        return;
    buffer_text(notes, "#   user ");
    for (; *user; user++)
        buffer_char(notes, (unsigned char)*user < ' ' ? ' ' : *user);
    buffer_text(notes, !*secret ? " has no password: he cannot log in\n"
                       : md5    ? " has an md5 hash: it serves auth_type md5 alone, and shards that ask for md5\n"
                                : " has a plain password: take the verifier from pg_authid.rolpassword instead\n");
}

mosaic_status pgbouncer_userlist(const char *text, size_t size, const char *source, struct buffer *notes,
                                 mosaic_error *error)
{
    struct buffer user = BUFFER_INIT(LINE_MOST), secret = BUFFER_INIT(LINE_MOST);
    const char *end = text + size;
    mosaic_status status = MOSAIC_OK;
    unsigned users = 0;
    for (int line = 1; text < end && status == MOSAIC_OK; line++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text)), *at = text;
        if (!stop)
            stop = end;
        while (at < stop && is_blank(*at))
            at++;
        text = stop < end ? stop + 1 : end;
        if (at == stop || *at == ';' || *at == '#')
            continue;
        bool good = take_quoted(&at, stop, &user);
        while (at < stop && is_blank(*at))
            at++;
        if (!good || !take_quoted(&at, stop, &secret)) {
            (void)!error_set(error, MOSAIC_CONFIG, "%s:%d: not \"user\" \"password\"", source, line);
            status = error_hint(error, "a line has a name and a secret, each in double quotes");
            break;
        }
        users++;
        note_user(notes, buffer_string(&user), buffer_string(&secret));
    }
    if (status == MOSAIC_OK)
        buffer_format(notes, "#   %u users: the file is taken as it is, as auth_file\n", users);
    if (status == MOSAIC_OK && (buffer_failed(notes) || buffer_failed(&user) || buffer_failed(&secret)))
        status = error_memory(error);
    if (secret.data)
        explicit_bzero(secret.data, secret.capacity);
    buffer_free(&user);
    buffer_free(&secret);
    return status;
}
