#define _GNU_SOURCE
#include "proxy/announce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIRM_MS = 3000 };

/* A turn (core/turn.h) of which 0 is no table's. */
#define LOCK "(7881700, 0)"
#define SHARE "pg_catalog.pg_advisory_lock_shared" LOCK
#define LET_GO "pg_catalog.pg_advisory_unlock_shared" LOCK

static const char wait_sql[] = "SELECT pg_catalog.set_config('lock_timeout', '%d', false)";
/* On the second one apply tells of a new map. */
static const char listen_sql[] = "LISTEN mosaic_schema; LISTEN mosaic";
static const char share_sql[] = "SELECT " SHARE;
static const char confirm_sql[] = "SELECT " LET_GO ", " SHARE;
/* Two writers at a time: neither waits for the other's share. */
static const char alone_sql[] =
    "SELECT " LET_GO ", pg_catalog.pg_advisory_lock" LOCK ", pg_catalog.pg_advisory_unlock" LOCK ", " SHARE;
static const char tell_home_sql[] = "NOTIFY mosaic_schema, 'home'";
static const char tell_all_sql[] = "NOTIFY mosaic_schema, 'all'";

void announce_close(struct announce *announce)
{
    PQfinish(announce->home);
    free(announce->conninfo);
    *announce = (struct announce){NULL};
}

void announce_keep(struct announce *announce, const struct shard *home)
{
    if (announce->home &&
        (PQstatus(announce->home) != CONNECTION_OK || strcmp(announce->conninfo, home->conninfo) != 0))
        announce_close(announce);
}

mosaic_status announce_open(struct announce *announce, const struct shard *home, int64_t deadline, mosaic_error *error)
{
    mosaic_error ignored;
    announce_keep(announce, home);
    if (announce->home)
        return MOSAIC_OK;
    announce->conninfo = strdup(home->conninfo);
    if (!announce->conninfo)
        return error_memory(error);
    mosaic_status status = pq_connect(home->conninfo, home->name, "pgmosaic proxy", deadline, &announce->home, error);
    if (status != MOSAIC_OK) {
        announce_close(announce);
        return status;
    }
    char wait[sizeof wait_sql + 16];
    snprintf(wait, sizeof wait, wait_sql, CONFIRM_MS);
    announce->listens = pq_exec(announce->home, home->name, wait, deadline, NULL, &ignored) == MOSAIC_OK &&
                        pq_exec(announce->home, home->name, listen_sql, deadline, NULL, &ignored) == MOSAIC_OK &&
                        pq_exec(announce->home, home->name, share_sql, deadline, NULL, &ignored) == MOSAIC_OK;
    return MOSAIC_OK;
}

int announce_socket(const struct announce *announce)
{
    return announce->home ? PQsocket(announce->home) : -1;
}

enum announced announce_hear(struct announce *announce)
{
    enum announced heard = ANNOUNCED_NOTHING;
    PGnotify *said;
    if (!announce->home)
        return heard;
    bool is_lost = !PQconsumeInput(announce->home);
    while ((said = PQnotifies(announce->home))) {
        enum announced what = strcmp(said->extra, "home") == 0 ? ANNOUNCED_HOME : ANNOUNCED_ALL;
        if (said->be_pid != PQbackendPID(announce->home) && what > heard)
            heard = what;
        PQfreemem(said);
    }
    if (is_lost)
        announce_close(announce);
    return heard;
}

/* A connection whose lock is not certain is made anew. False: it is closed. */
static bool run(struct announce *announce, const char *sql, int64_t deadline)
{
    mosaic_error ignored;
    if (!announce->home)
        return false;
    bool done = pq_exec(announce->home, "", sql, deadline, NULL, &ignored) == MOSAIC_OK;
    if (!done)
        announce_close(announce);
    return done;
}

void announce_confirm(struct announce *announce, int64_t deadline)
{
    (void)run(announce, confirm_sql, deadline);
}

void announce_tell(struct announce *announce, enum announced what, int64_t deadline)
{
    const char *sql = what == ANNOUNCED_HOME ? tell_home_sql : tell_all_sql;
    if (announce->listens && run(announce, sql, deadline) && what == ANNOUNCED_ALL)
        (void)run(announce, alone_sql, deadline);
}
