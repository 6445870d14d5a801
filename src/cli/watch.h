/*
 * Watching Citus's background rebalance: a bar on a terminal, plain lines elsewhere. The job belongs to the server: who
 * stops watching does not stop it.
 */
#ifndef MOSAIC_CLI_WATCH_H
#define MOSAIC_CLI_WATCH_H

#include "citus/rebalance.h"

#include <jansson.h>

struct watch {
    const char *label; /* "rebalance", "drain 10.0.0.2:5432" */
    const char *again; /* the command that watches on, or goes on with what is left */
    const char *stop;  /* the command that stops it */
    bool quiet;        /* no progress: JSON is wanted */
};

/*
 * Looks until the job has ended; *job is its end, in the arena. MOSAIC_INTERRUPTED says in the hint how to watch again
 * or to stop it; so does a lost connection. A job that is stuck is said on stderr, and watched on.
 */
MOSAIC_MUST_CHECK mosaic_status watch_job(const struct watch *watch, PGconn *coordinator, struct arena *arena,
                                          struct rebalance_job *job, mosaic_error *error);
/* MOSAIC_OK for a job that is finished, else MOSAIC_SERVER with what it came to, why, and what to do. */
MOSAIC_MUST_CHECK mosaic_status watch_verdict(const struct watch *watch, const struct rebalance_job *job,
                                              mosaic_error *error);
/* Stops the job and waits until it has; MOSAIC_TIMEOUT after two minutes. *job is its end, in the arena. */
MOSAIC_MUST_CHECK mosaic_status watch_stop(PGconn *coordinator, struct arena *arena, struct rebalance_job *job,
                                           mosaic_error *error);
/* The job as an object of JSON. */
json_t *watch_json(const struct rebalance_job *job);
/* What stops it from going on, and what to do, on stderr; nothing for a job that moves. */
void watch_complain(const struct rebalance_job *job);
/* "3 of 7 done, shard 102014 of users, …" into text; returns text. */
const char *watch_line(const struct rebalance_job *job, char *text, size_t size);

#endif
