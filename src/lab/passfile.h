/* The one password of a lab's role, and the file of mode 0600 where it stands, as libpq reads it. */
#ifndef MOSAIC_LAB_PASSFILE_H
#define MOSAIC_LAB_PASSFILE_H

#include "lab/state.h"

enum { PASSWORD_BYTES = 24, PASSWORD_SIZE = 2 * PASSWORD_BYTES + 1 };

/* A new one: random bytes as hexadecimal digits. */
MOSAIC_MUST_CHECK mosaic_status password_make(char password[PASSWORD_SIZE], mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status passfile_write(const struct state *state, const char *password, mosaic_error *error);
/* The password that stands there: servers that are added get the same. */
MOSAIC_MUST_CHECK mosaic_status passfile_read(const struct state *state, char password[PASSWORD_SIZE],
                                              mosaic_error *error);

#endif
