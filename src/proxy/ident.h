/*
 * User maps in the form of pg_ident.conf: which names of certificates may log in as which users.
 *
 *     # map     name in the certificate   user
 *     staff     anna.schmidt              anna
 *     staff     /^(.*)@example\.org$      \1
 *
 * A name that begins with a slash is a regular expression (POSIX extended; what PostgreSQL's has beyond, such as \d, is
 * refused), and \1 in the user's name is what its first group matched.
 */
#ifndef MOSAIC_PROXY_IDENT_H
#define MOSAIC_PROXY_IDENT_H

#include "base/error.h"
#include "base/memory.h"

struct ident_line;

struct ident {
    struct ident_line *lines;
    size_t count;
};

/* Into the arena. Regular expressions are held outside of it: ident_free frees them. MOSAIC_CONFIG: file and line. */
MOSAIC_MUST_CHECK mosaic_status ident_parse(struct arena *arena, const char *path, const char *text, size_t size,
                                            struct ident *ident, mosaic_error *error);
void ident_free(struct ident *ident);
/* May the owner of that name log in as user? map NULL: when the names are equal. */
bool ident_allows(const struct ident *ident, const char *map, const char *name, const char *user);
bool ident_has_map(const struct ident *ident, const char *map);

#endif
