/*
 * Local servers of a lab: one data directory, port and set of processes for each shard.
 *
 *     <lab>/s0/         data directory, of the user servers run as; 0700
 *     <lab>/s0.conf     its settings (ours, root's where we are root: a server cannot make us write elsewhere)
 *     <lab>/hba.conf, <lab>/ident.conf   who may log in; shared
 *
 * The superuser is `postgres`, without a password, and reachable only through the Unix socket by the user servers run
 * as and by root. The socket's directory is /tmp/pgmosaic-<hash>, 0700, since the path of a socket is limited to 107
 * bytes.
 */
#ifndef MOSAIC_LAB_LOCAL_H
#define MOSAIC_LAB_LOCAL_H

#include "lab/state.h"

#include <sys/types.h>

/* What follows asks the system, and needs no installation. The table of functions is provider_local (lab/provider.h).
 */

/* The process id of the shard's postmaster, 0 when it does not run. */
pid_t local_postmaster(const struct state *state, size_t shard);
/* The port it was started with, as its postmaster.pid says; 0 when it does not run. */
int local_running_port(const struct state *state, size_t shard);
/* Ends the server as a crash would (no checkpoint); not running is fine. */
MOSAIC_MUST_CHECK mosaic_status local_crash(const struct state *state, size_t shard, mosaic_error *error);

#endif
