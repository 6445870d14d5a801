#include "proxy/passfile.h"

#include <stdbool.h>
#include <string.h>

/* Compares the field at *at with a value and moves behind its colon. A `*` alone matches. */
static bool field_matches(const char **at, const char *value)
{
    const char *text = *at;
    bool matches = true;
    if (text[0] == '*' && text[1] == ':') {
        *at = text + 2;
        return true;
    }
    while (*text && *text != ':' && *text != '\n') {
        if (*text == '\\' && text[1] && text[1] != '\n')
            text++;
        matches = matches && *value && *value == *text;
        if (matches)
            value++;
        text++;
    }
    matches = matches && *value == '\0' && *text == ':';
    *at = *text == ':' ? text + 1 : text;
    return matches;
}

static const char *copy_password(struct arena *arena, const char *at)
{
    size_t size = strcspn(at, "\r\n"), used = 0;
    char *password = arena_copy(arena, at, size);
    if (!password)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        if (at[i] == '\\' && i + 1 < size)
            i++;
        password[used++] = at[i];
    }
    password[used] = '\0';
    return password;
}

const char *passfile_find(struct arena *arena, const char *text, const char *host, const char *port,
                          const char *database, const char *user)
{
    const char *const wanted[] = {host, port, database, user};
    while (*text) {
        const char *at = text;
        bool matches = *text != '#';
        for (size_t i = 0; i < 4 && matches; i++)
            matches = field_matches(&at, wanted[i]);
        if (matches)
            return copy_password(arena, at);
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    return NULL;
}
