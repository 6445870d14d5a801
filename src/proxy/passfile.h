/*
 * A password file as libpq reads it (https://www.postgresql.org/docs/current/libpq-pgpass.html): lines of
 * host:port:database:user:password, where * matches anything and a backslash protects : and itself; the first line that
 * matches counts.
 */
#ifndef MOSAIC_PROXY_PASSFILE_H
#define MOSAIC_PROXY_PASSFILE_H

#include "base/memory.h"

/* Pure: looks in a file's text. NULL where no line matches, or memory is out. A Unix socket's host is "localhost". */
const char *passfile_find(struct arena *arena, const char *text, const char *host, const char *port,
                          const char *database, const char *user);

#endif
