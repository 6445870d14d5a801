#include "lab/passfile.h"

#include "base/buffer.h"
#include "lab/files.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

mosaic_status password_make(char password[PASSWORD_SIZE], mosaic_error *error)
{
    unsigned char bytes[PASSWORD_BYTES];

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return error_errno(error, "cannot get random bytes for the password");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(password + 2 * i, 3, "%02x", bytes[i]);
    return MOSAIC_OK;
}

mosaic_status passfile_write(const struct state *state, const char *password, mosaic_error *error)
{
    const char *line = arena_format(state->arena, "*:*:*:%s:%s\n", state->user, password);

    return line ? files_replace(state->passfile, line, 0600, error) : error_memory(error);
}

mosaic_status passfile_read(const struct state *state, char password[PASSWORD_SIZE], mosaic_error *error)
{
    struct buffer text = BUFFER_INIT(4096);
    const char *prefix = arena_format(state->arena, "*:*:*:%s:", state->user), *found = NULL;
    mosaic_status status = prefix ? files_read(state->passfile, &text, error) : error_memory(error);

    if (status == MOSAIC_OK)
        found = strstr(buffer_string(&text), prefix);
    if (found)
        snprintf(password, PASSWORD_SIZE, "%.*s", (int)strspn(found + strlen(prefix), "0123456789abcdef"),
                 found + strlen(prefix));
    if (status == MOSAIC_OK && (!found || !*password))
        status = error_set(error, MOSAIC_CONFIG, "%s has no line \"%s…\" with the password of this lab's role",
                           state->passfile, prefix);
    buffer_free(&text);
    return status;
}
