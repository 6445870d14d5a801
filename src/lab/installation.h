/* Which PostgreSQL a local lab uses. */
#ifndef MOSAIC_LAB_INSTALLATION_H
#define MOSAIC_LAB_INSTALLATION_H

#include "base/error.h"
#include "base/memory.h"

#include <stdbool.h>

enum { POSTGRES_OLDEST = 13, POSTGRES_NEWEST = 18 };

/*
 * The directory with initdb and postgres, and its major version. forced: only there (or in its bin/); else
 * /usr/lib/postgresql/N/bin, /usr/pgsql-N/bin and PATH, the newest of 13 to 18; major != 0: that version only.
 * with_citus: only one that has the extension. MOSAIC_NOT_FOUND with the way to install one.
 */
MOSAIC_MUST_CHECK mosaic_status installation_find(struct arena *arena, const char *forced, int wanted_major,
                                                  bool with_citus, const char **directory, int *major,
                                                  mosaic_error *error);

#endif
