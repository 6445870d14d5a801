/* The SQL side of making a lab: its one role and database on each server. */
#ifndef MOSAIC_LAB_ROLE_H
#define MOSAIC_LAB_ROLE_H

#include "base/error.h"

#include <libpq-fe.h>
#include <stdbool.h>

/* True if the superuser can log in and run a statement through the socket in that directory. */
bool role_superuser_answers(const char *socket_directory, int port);
/*
 * As the superuser of that conninfo: makes the role (LOGIN, member of pg_monitor and pg_signal_backend, no superuser
 * unless asked for) with this password, of which only the SCRAM verifier leaves this process, and the database, owned
 * by it.
 */
MOSAIC_MUST_CHECK mosaic_status role_make(const char *conninfo, const char *shard, const char *user,
                                          const char *database, const char *password, bool superuser,
                                          mosaic_error *error);
/*
 * As the same superuser: the database <database>_coordinator, owned by the role, in which the role may do all that
 * apply needs for a coordinator.
 */
MOSAIC_MUST_CHECK mosaic_status role_make_coordinator(const char *conninfo, const char *shard, const char *user,
                                                      const char *database, mosaic_error *error);
/* A connection with that conninfo, to be ended by PQfinish; NULL on failure. */
PGconn *role_connect(const char *conninfo, const char *shard, mosaic_error *error);
/* Runs one statement on a connection of its own. */
MOSAIC_MUST_CHECK mosaic_status role_run(const char *conninfo, const char *shard, const char *sql, mosaic_error *error);
/* Logs in with the lab's own conninfo and runs a statement. */
MOSAIC_MUST_CHECK mosaic_status role_check(const char *conninfo, const char *shard, mosaic_error *error);

#endif
