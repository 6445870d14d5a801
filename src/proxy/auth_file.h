/*
 * The users of auth_file, in the form of PgBouncer's userlist.txt:
 *
 *     ; a comment
 *     "anna" "SCRAM-SHA-256$4096:…"       a verifier, as pg_authid.rolpassword has it
 *     "bob"  "md5132ecbcbfa11be529b63…"   an md5 verifier
 *     "carl" "his password"               plain
 *
 * A quote within a name or secret is doubled. What follows the secret on its line is ignored.
 */
#ifndef MOSAIC_PROXY_AUTH_FILE_H
#define MOSAIC_PROXY_AUTH_FILE_H

#include "base/memory.h"
#include "wire/secret.h"

enum secret_kind { SECRET_PLAIN, SECRET_MD5, SECRET_SCRAM };

/* What is known of a user's password: a row of auth_file, or of auth_query. */
struct auth_user {
    const char *name, *secret;
    enum secret_kind kind;
    struct scram_verifier verifier; /* of SCRAM */
    unsigned line;
};

/* Immutable, sorted by name. */
struct auth_users {
    const struct auth_user *users;
    size_t count;
};

MOSAIC_MUST_CHECK mosaic_status auth_file_parse(struct arena *arena, const char *path, const char *text, size_t size,
                                                struct auth_users *users, mosaic_error *error);
/* NULL where there is none. */
const struct auth_user *auth_users_find(const struct auth_users *users, const char *name);
/* Sees of what kind a secret is; `secret` is not copied. */
struct auth_user auth_user_of(const char *name, const char *secret);

#endif
