#include "catalog/decision.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { RANDOM_BYTES = 16, LOCK_TRY_MS = 1000, POLL_MS = 20 };

static const char prefix[] = "mosaic:";

void decision_sleep_ms(int milliseconds)
{
    struct timespec pause = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

/* ---- names ------------------------------------------------------------------------------------------ */

static bool fits_in_gid(const char *shard)
{
    return *shard && strlen(shard) < SHARD_NAME_SIZE && !strchr(shard, ':');
}

mosaic_status gid_draw(char hex[GID_HEX_SIZE], mosaic_error *error)
{
    unsigned char random[RANDOM_BYTES];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return error_errno(error, "cannot get random bytes");
    for (int i = 0; i < RANDOM_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", random[i]);
    return MOSAIC_OK;
}

int64_t gid_lock_key(const char hex[GID_HEX_SIZE])
{
    char first[17];
    memcpy(first, hex, 16);
    first[16] = '\0';
    return (int64_t)strtoull(first, NULL, 16);
}

mosaic_status gid_make(struct gid *gid, const char hex[GID_HEX_SIZE], const char *decider, const char *xid,
                       mosaic_error *error)
{
    if (!fits_in_gid(decider))
        return error_set(
            error, MOSAIC_UNSUPPORTED,
            "shard name %s cannot stand in the name of a transaction: it has a colon or more than %d bytes", decider,
            SHARD_NAME_SIZE - 1);
    snprintf(gid->base, sizeof gid->base, "%s%s:%s:%s", prefix, hex, decider, xid);
    snprintf(gid->decider, sizeof gid->decider, "%s", decider);
    snprintf(gid->xid, sizeof gid->xid, "%s", xid);
    return MOSAIC_OK;
}

bool gid_part_name(const struct gid *gid, const char *shard, char name[GID_SIZE])
{
    return fits_in_gid(shard) && snprintf(name, GID_SIZE, "%s:%s", gid->base, shard) < GID_SIZE;
}

/* Copies up to the next colon or the end; returns what is behind, NULL when it is empty or does not fit. */
static const char *take_field(const char *text, char *field, size_t size)
{
    size_t length = strcspn(text, ":");
    if (length == 0 || length >= size)
        return NULL;
    memcpy(field, text, length);
    field[length] = '\0';
    return text + length;
}

bool gid_parse(const char *text, struct gid *gid, char shard[SHARD_NAME_SIZE])
{
    char hex[2 * RANDOM_BYTES + 1];
    shard[0] = '\0';
    if (strncmp(text, prefix, strlen(prefix)) != 0 || strlen(text) >= GID_SIZE)
        return false;
    const char *at = take_field(text + strlen(prefix), hex, sizeof hex);
    if (!at || strlen(hex) != 2 * RANDOM_BYTES || strspn(hex, "0123456789abcdef") != strlen(hex) || *at != ':')
        return false;
    at = take_field(at + 1, gid->decider, sizeof gid->decider);
    if (!at || *at != ':')
        return false;
    at = take_field(at + 1, gid->xid, sizeof gid->xid);
    if (!at || strspn(gid->xid, "0123456789") != strlen(gid->xid) || strlen(gid->xid) > 20)
        return false;
    snprintf(gid->base, sizeof gid->base, "%.*s", (int)(at - text), text);
    if (!*at)
        return true;
    at = take_field(at + 1, shard, SHARD_NAME_SIZE);
    return at && !*at;
}

/* ---- sessions --------------------------------------------------------------------------------------- */

mosaic_status decision_connect(const struct shard *shard, int64_t deadline, PGconn **connection, mosaic_error *error)
{
    static const char settings[] =
        "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; "
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; " PQ_DURABLE;
    return pq_connect_with(shard->conninfo, shard->name, "pgmosaic recovery", settings, deadline, connection, error);
}

/* The first value of a statement with one parameter; "" for no row or NULL. */
static mosaic_status ask_value(PGconn *connection, const char *shard, const char *sql, const char *parameter,
                               int64_t deadline, char *value, size_t size, mosaic_error *error)
{
    PGresult *result;
    mosaic_status status = pq_exec_params(connection, shard, sql, 1, &parameter, deadline, &result, error);
    if (status != MOSAIC_OK)
        return status;
    snprintf(value, size, "%s", PQntuples(result) ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    return MOSAIC_OK;
}

static mosaic_status run_with(PGconn *connection, const char *shard, const char *sql, const char *parameter,
                              int64_t deadline, mosaic_error *error)
{
    return pq_exec_params(connection, shard, sql, parameter ? 1 : 0, &parameter, deadline, NULL, error);
}

/* ---- what the decider knows ------------------------------------------------------------------------- */

/* The advisory lock of a gid as pg_locks shows it (src/backend/utils/adt/lockfuncs.c, SET_LOCKTAG_INT64). */
#define HOLDS_LOCK_OF(gid)                                                                                          \
    "locktype OPERATOR(pg_catalog.=) 'advisory' AND objsubid OPERATOR(pg_catalog.=) 1 AND granted AND pid IS NOT "  \
    "NULL AND "                                                                                                     \
    "database OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) " \
    "pg_catalog.current_database()) AND classid OPERATOR(pg_catalog.=) "                                            \
    "('x' OPERATOR(pg_catalog.||) pg_catalog.substr(" gid ", 8, 8))::bit(32)::pg_catalog.int8::pg_catalog.oid "     \
    "AND objid OPERATOR(pg_catalog.=) "                                                                             \
    "('x' OPERATOR(pg_catalog.||) pg_catalog.substr(" gid ", 16, 8))::bit(32)::pg_catalog.int8::pg_catalog.oid"

mosaic_status decision_is_running(PGconn *connection, const char *shard, const struct gid *gid, int64_t deadline,
                                  bool *running, mosaic_error *error)
{
    char value[16] = "";
    mosaic_status status = ask_value(
        connection, shard, "SELECT 'running' FROM pg_catalog.pg_locks WHERE " HOLDS_LOCK_OF("$1::pg_catalog.text"),
        gid->base, deadline, value, sizeof value, error);
    *running = *value;
    return status;
}

mosaic_status decision_terminate(PGconn *connection, const char *shard, const struct gid *gid, int64_t deadline,
                                 mosaic_error *error)
{
    mosaic_status status =
        run_with(connection, shard,
                 "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks WHERE " HOLDS_LOCK_OF(
                     "$1::pg_catalog.text"),
                 gid->base, deadline, error);
    /* Of a role that we may not end: its transaction fails by itself, at the latest when it wants to commit. */
    return status == MOSAIC_SERVER && error && !strcmp(error->sqlstate, "42501") ? MOSAIC_OK : status;
}

/* The word of the decider: "committed", "aborted", or "" for none yet. */
static mosaic_status read_outcome(PGconn *decider, const struct gid *gid, int64_t deadline, char outcome[16],
                                  mosaic_error *error)
{
    mosaic_status status =
        ask_value(decider, gid->decider, "SELECT outcome FROM mosaic.decision WHERE gid OPERATOR(pg_catalog.=) $1",
                  gid->base, deadline, outcome, 16, error);
    if (status == MOSAIC_SERVER && error && (!strcmp(error->sqlstate, "42P01") || !strcmp(error->sqlstate, "3F000"))) {
        error_set(error, MOSAIC_PREFLIGHT, "shard %s has no table mosaic.decision: it is not the database that decided",
                  gid->decider);
        error_hint(error, "correct the conninfo of shard %s in the config", gid->decider);
        return MOSAIC_PREFLIGHT;
    }
    return status;
}

/* Lets a commit that is under way finish by itself: it is rude, though correct, to abort it. */
static mosaic_status give_grace(PGconn *decider, const struct gid *gid, int64_t until, int64_t deadline,
                                char outcome[16], mosaic_error *error)
{
    for (;;) {
        bool running = false;
        mosaic_status status = decision_is_running(decider, gid->decider, gid, deadline, &running, error);
        if (status == MOSAIC_OK) /* in this order: one that was not running then can say nothing later */
            status = read_outcome(decider, gid, deadline, outcome, error);
        if (status != MOSAIC_OK || *outcome || !running || pq_left_ms(until) == 0)
            return status;
        decision_sleep_ms(POLL_MS);
    }
}

/*
 * Writes "aborted" unless there is a word already. Waits for a transaction that has written its own word and not
 * committed yet; after LOCK_TRY_MS that transaction's backend is ended, which makes the wait end one way or the other.
 */
static mosaic_status write_aborted(PGconn *decider, const struct gid *gid, int64_t deadline, mosaic_error *error)
{
    const char *values[] = {gid->base, gid->xid};
    mosaic_status status = pq_exec(decider, gid->decider, "SET lock_timeout = 1000", deadline, NULL, error);
    while (status == MOSAIC_OK) {
        status = pq_exec_params(decider, gid->decider,
                                "INSERT INTO mosaic.decision (gid, outcome, participants, decider_xid) "
                                "VALUES ($1, 'aborted', '{}', $2::pg_catalog.xid8) ON CONFLICT (gid) DO NOTHING",
                                2, values, deadline, NULL, error);
        if (status != MOSAIC_SERVER || !error || strcmp(error->sqlstate, "55P03") != 0)
            break;
        status = decision_terminate(decider, gid->decider, gid, deadline, error);
    }
    return status;
}

/*
 * A decision that was read may not yet be on the synchronous standbys (its backend could still wait for them, or was
 * ended while it did). A write of our own, committed, waits for all WAL before it.
 */
static mosaic_status make_durable(PGconn *decider, const struct gid *gid, int64_t deadline, mosaic_error *error)
{
    return run_with(decider, gid->decider,
                    "UPDATE mosaic.decision SET outcome = outcome WHERE gid OPERATOR(pg_catalog.=) $1 AND "
                    "pg_catalog.current_setting('synchronous_standby_names') OPERATOR(pg_catalog.<>) ''",
                    gid->base, deadline, error);
}

/* After "aborted" stands, the decider's transaction is doomed: end it, so that it holds no locks any more. */
static mosaic_status end_doomed(PGconn *decider, const struct gid *gid, int64_t deadline, mosaic_error *error)
{
    bool running = true;
    mosaic_status status = decision_is_running(decider, gid->decider, gid, deadline, &running, error);
    if (status == MOSAIC_OK && running)
        status = decision_terminate(decider, gid->decider, gid, deadline, error);
    for (int tries = 0; status == MOSAIC_OK && running && tries < LOCK_TRY_MS / POLL_MS; tries++) {
        decision_sleep_ms(POLL_MS);
        status = decision_is_running(decider, gid->decider, gid, deadline, &running, error);
    }
    return status;
}

mosaic_status decision_check_identity(PGconn *connection, const char *shard, int64_t deadline, mosaic_error *error)
{
    char name[SHARD_NAME_SIZE];
    mosaic_error ignored;
    error = error ? error : &ignored;
    mosaic_status status =
        ask_value(connection, shard, "SELECT shard FROM mosaic.epoch WHERE $1::pg_catalog.text IS NOT NULL", shard,
                  deadline, name, sizeof name, error);
    if (status == MOSAIC_SERVER && (!strcmp(error->sqlstate, "42P01") || !strcmp(error->sqlstate, "3F000")))
        return MOSAIC_OK; /* nothing was applied yet */
    if (status != MOSAIC_OK || !*name || !strcmp(name, shard))
        return status;
    error_set(error, MOSAIC_STALE, "the config calls this database shard %s, but it was applied as shard %s", shard,
              name);
    error_hint(error, "correct the names and connection strings of the shards in the config");
    return MOSAIC_STALE;
}

mosaic_status decision_ask(PGconn *decider, const struct gid *gid, int64_t grace, int64_t deadline,
                           enum outcome *outcome, mosaic_error *error)
{
    char word[16] = "";
    mosaic_error ignored;
    error = error ? error : &ignored; /* the SQLSTATE is needed */
    mosaic_status status = decision_check_identity(decider, gid->decider, deadline, error);
    if (status == MOSAIC_OK)
        status = give_grace(decider, gid, grace < deadline ? grace : deadline, deadline, word, error);
    if (status == MOSAIC_OK && !*word) {
        status = write_aborted(decider, gid, deadline, error);
        if (status == MOSAIC_OK)
            status = read_outcome(decider, gid, deadline, word, error);
    }
    if (status != MOSAIC_OK)
        return status;
    /* No row: another recovery has dropped it, which had seen the transaction end without a word. */
    *outcome = !strcmp(word, "committed") ? OUTCOME_COMMITTED : OUTCOME_ABORTED;
    return *outcome == OUTCOME_COMMITTED ? make_durable(decider, gid, deadline, error)
                                         : end_doomed(decider, gid, deadline, error);
}

mosaic_status decision_drop_committed(PGconn *decider, const struct gid *gid, int64_t deadline, mosaic_error *error)
{
    return run_with(decider, gid->decider,
                    "DELETE FROM mosaic.decision WHERE gid OPERATOR(pg_catalog.=) $1 AND outcome "
                    "OPERATOR(pg_catalog.=) 'committed'",
                    gid->base, deadline, error);
}

mosaic_status decision_drop_aborted(PGconn *decider, const struct gid *gid, int64_t deadline, mosaic_error *error)
{
    /* While the transaction runs it could still write "committed": the row must stand in its way. */
    return run_with(
        decider, gid->decider,
        "DELETE FROM mosaic.decision WHERE gid OPERATOR(pg_catalog.=) $1 AND outcome OPERATOR(pg_catalog.=) "
        "'aborted' AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE " HOLDS_LOCK_OF("gid") ")",
        gid->base, deadline, error);
}

mosaic_status decision_drop_all_aborted(PGconn *decider, const char *shard, int64_t deadline, mosaic_error *error)
{
    return run_with(decider, shard,
                    "DELETE FROM mosaic.decision WHERE outcome OPERATOR(pg_catalog.=) 'aborted' AND NOT EXISTS "
                    "(SELECT FROM pg_catalog.pg_locks WHERE " HOLDS_LOCK_OF("gid") ")",
                    NULL, deadline, error);
}

/* ---- parts ------------------------------------------------------------------------------------------ */

static mosaic_status finish_as(PGconn *connection, const char *shard, const char *part, enum outcome outcome,
                               int64_t deadline, mosaic_error *error)
{
    char sql[GID_SIZE + 100];
    char *quoted = PQescapeLiteral(connection, part, strlen(part));
    if (!quoted)
        return error_memory(error);
    snprintf(sql, sizeof sql, "%s PREPARED %s", outcome == OUTCOME_COMMITTED ? "COMMIT" : "ROLLBACK", quoted);
    PQfreemem(quoted);
    return pq_exec(connection, shard, sql, deadline, NULL, error);
}

static mosaic_status set_role(PGconn *connection, const char *shard, const char *role, int64_t deadline,
                              mosaic_error *error)
{
    char sql[256];
    char *quoted = PQescapeIdentifier(connection, role, strlen(role));
    if (!quoted)
        return error_memory(error);
    snprintf(sql, sizeof sql, "SET ROLE %s", quoted);
    PQfreemem(quoted);
    return pq_exec(connection, shard, sql, deadline, NULL, error);
}

/* Only the role that prepared may finish, or a superuser (src/backend/access/transam/twophase.c, LockGXact). */
static mosaic_status finish_as_owner(PGconn *connection, const char *shard, const char *part, const char *owner,
                                     enum outcome outcome, int64_t deadline, mosaic_error *error)
{
    mosaic_status status = set_role(connection, shard, owner, deadline, error);
    if (status == MOSAIC_OK) {
        status = finish_as(connection, shard, part, outcome, deadline, error);
        mosaic_status reset = pq_exec(connection, shard, "RESET ROLE", deadline, NULL, NULL);
        return status != MOSAIC_OK ? status : reset;
    }
    if (status == MOSAIC_SERVER) {
        error_set(error, MOSAIC_AUTH, "role %s prepared it, and only that role or a superuser may finish it", owner);
        error_hint(error, "run pgmosaic doctor as role %s, or grant that role to the one in the config", owner);
        error_shard(error, shard);
        return MOSAIC_AUTH;
    }
    return status;
}

/* One try. MOSAIC_AGAIN while another session is finishing it. */
static mosaic_status try_finish(PGconn *connection, const char *shard, const char *part, enum outcome outcome,
                                int64_t deadline, bool *found, mosaic_error *error)
{
    char owner[128];
    mosaic_status status =
        ask_value(connection, shard,
                  "SELECT owner FROM pg_catalog.pg_prepared_xacts WHERE gid OPERATOR(pg_catalog.=) $1 AND database "
                  "OPERATOR(pg_catalog.=) pg_catalog.current_database()",
                  part, deadline, owner, sizeof owner, error);
    *found = status != MOSAIC_OK || *owner;
    if (!*found || status != MOSAIC_OK)
        return status;
    status = finish_as(connection, shard, part, outcome, deadline, error);
    if (status == MOSAIC_SERVER && !strcmp(error->sqlstate, "42501"))
        status = finish_as_owner(connection, shard, part, owner, outcome, deadline, error);
    if (status == MOSAIC_SERVER && (!strcmp(error->sqlstate, "42704") || !strcmp(error->sqlstate, "55000")))
        return MOSAIC_AGAIN; /* finished by another in between, or "is busy" */
    return status;
}

mosaic_status decision_finish_part(PGconn *connection, const char *shard, const char *part, enum outcome outcome,
                                   int64_t deadline, bool *found, mosaic_error *error)
{
    mosaic_error ignored;
    error = error ? error : &ignored;
    for (;;) {
        mosaic_status status = try_finish(connection, shard, part, outcome, deadline, found, error);
        if (status != MOSAIC_AGAIN)
            return status;
        if (pq_left_ms(deadline) == 0)
            return error->status;
        decision_sleep_ms(POLL_MS);
    }
}
