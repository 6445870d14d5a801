#include "client/claim.h"

#include "engine/engine.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

static const struct engine *engine(const struct claim *claim)
{
    return engine_of(claim->cluster->first->model.engine);
}

void claim_start(struct claim *claim, mosaic_cluster *cluster, size_t shard)
{
    *claim = (struct claim){.cluster = cluster, .pool = &cluster->pools[shard], .waiter = WAITER_INIT};
}

struct lease *claim_take(struct claim *claim)
{
    struct lease *lease = claim->lease;
    claim->lease = NULL;
    claim->state = CLAIM_NEW;
    return lease;
}

void claim_abandon(struct claim *claim)
{
    if (claim->pool)
        pool_leave(claim->pool, &claim->waiter);
    struct lease *lease = claim_take(claim);
    if (!lease)
        return;
    PGconn *connection = lease->connection;
    if (connection && PQtransactionStatus(connection) != PQTRANS_IDLE) {
        PQfinish(connection); /* half connected, or half greeted: nothing runs there that is worth a cancel */
        lease->connection = NULL;
    }
    pool_give(lease);
}

static mosaic_status fail(struct claim *claim, mosaic_status status)
{
    claim_abandon(claim);
    claim->state = CLAIM_FAILED;
    return status;
}

static mosaic_status ready(struct claim *claim)
{
    claim->state = CLAIM_READY;
    return MOSAIC_OK;
}

/* ---- connecting ------------------------------------------------------------------------------------- */

static mosaic_status connect_failed(struct claim *claim, mosaic_status status, mosaic_error *error)
{
    error_shard(error, claim->pool->name);
    if (status != MOSAIC_MEMORY)
        pool_connect_failed(claim->pool, error);
    return fail(claim, status);
}

static mosaic_status begin_connecting(struct claim *claim, mosaic_error *error)
{
    struct lease *lease = claim->lease;
    if (!pool_may_connect(claim->pool, error))
        return fail(claim, error->status);
    lease->connection = pq_connect_start(claim->pool->conninfo, claim->cluster->options.application_name, error);
    if (!lease->connection)
        return connect_failed(claim, error->status, error);
    lease->dirty = false;
    claim->fresh = true;
    claim->polling = PGRES_POLLING_WRITING;
    claim->deadline = pq_deadline(claim->cluster->options.connect_timeout_ms);
    claim->state = CLAIM_CONNECTING;
    if (PQstatus(lease->connection) == CONNECTION_BAD)
        return connect_failed(claim, pq_connect_failure(lease->connection, claim->pool->name, error), error);
    return MOSAIC_AGAIN;
}

static mosaic_status unanswered(struct claim *claim, mosaic_error *error)
{
    char address[200];
    pq_conninfo_address(claim->pool->conninfo, address, sizeof address);
    error_set(error, MOSAIC_UNREACHABLE, "%s did not answer within %d ms", address,
              claim->cluster->options.connect_timeout_ms);
    error_hint(error, "is the host of shard %s up, and does no firewall drop the packets?", claim->pool->name);
    return connect_failed(claim, MOSAIC_UNREACHABLE, error);
}

/* PQconnectPoll takes its call as proof that the socket is ready, so it must be. */
static bool is_ready(PGconn *connection, PostgresPollingStatusType polling)
{
    struct pollfd ready_for = {.fd = PQsocket(connection),
                               .events = polling == PGRES_POLLING_READING ? POLLIN : POLLOUT};
    return ready_for.fd < 0 || poll(&ready_for, 1, 0) > 0;
}

/* ---- greeting --------------------------------------------------------------------------------------- */

/* With the first that is needed, from `greeting` on. */
static mosaic_status greet(struct claim *claim, enum greeting greeting)
{
    PGconn *connection = claim->lease->connection;
    const char *sql[] = {"DISCARD ALL", pq_session_settings, engine(claim)->question};
    if (greeting == GREETING_CLEAN && !claim->lease->dirty)
        greeting = GREETING_SET;
    if (greeting == GREETING_SET && pq_session_is_set(connection))
        greeting = GREETING_ASK;
    claim->state = CLAIM_GREETING;
    claim->deadline = pq_deadline(claim->cluster->options.connect_timeout_ms);
    claim->greeting = greeting;
    claim->failed_greeting = PQsetnonblocking(connection, 1) != 0 || !PQsendQuery(connection, sql[greeting]);
    claim->answer = 0;
    return MOSAIC_AGAIN;
}

static mosaic_status continue_connecting(struct claim *claim, mosaic_error *error)
{
    PGconn *connection = claim->lease->connection;
    if (is_ready(connection, claim->polling)) {
        claim->polling = PQconnectPoll(connection);
        if (claim->polling == PGRES_POLLING_OK) {
            pq_connected(connection);
            return greet(claim, GREETING_CLEAN);
        }
    }
    if (claim->polling == PGRES_POLLING_FAILED)
        return connect_failed(claim, pq_connect_failure(connection, claim->pool->name, error), error);
    return pq_now_ms() >= claim->deadline ? unanswered(claim, error) : MOSAIC_AGAIN;
}

/* A connection that broke while it was idle says nothing about the shard: make a new one. */
static mosaic_status greeting_failed(struct claim *claim, mosaic_status status, mosaic_error *error)
{
    if (claim->fresh)
        return connect_failed(claim, status, error);
    PQfinish(claim->lease->connection);
    claim->lease->connection = NULL;
    return begin_connecting(claim, error);
}

static bool says_no_table(const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return sqlstate && (strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "3F000") == 0);
}

/* A conninfo that leads to another database would give its rows for this shard's. NULL: it has no such table. */
static mosaic_status take_epoch(struct claim *claim, const PGresult *result, mosaic_error *error)
{
    return engine(claim)->judge(&claim->cluster->first->model, claim->pool->shard, result, &claim->answer, error);
}

static mosaic_status take_answer(struct claim *claim, const PGresult *result, mosaic_error *error)
{
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
        return take_epoch(claim, result, error);
    case PGRES_COMMAND_OK:
        return MOSAIC_OK;
    default:
        if (says_no_table(result))
            return take_epoch(claim, NULL, error);
        return pq_result_error(claim->lease->connection, result, claim->pool->name, error);
    }
}

static mosaic_status greeted(struct claim *claim)
{
    struct lease *lease = claim->lease;
    if (claim->greeting == GREETING_CLEAN)
        lease->dirty = false;
    if (claim->greeting != GREETING_ASK)
        return greet(claim, claim->greeting + 1);
    lease->epoch = claim->answer;
    pool_connected(claim->pool);
    if (lease->epoch <= atomic_load(&claim->cluster->epoch))
        return ready(claim);
    claim->ticket = cluster_refresh_begin(claim->cluster);
    claim->state = CLAIM_REFRESHING;
    return MOSAIC_AGAIN;
}

static mosaic_status continue_greeting(struct claim *claim, mosaic_error *error)
{
    PGconn *connection = claim->lease->connection;
    if (claim->failed_greeting || PQflush(connection) < 0 || !PQconsumeInput(connection))
        return greeting_failed(claim, pq_result_error(connection, NULL, claim->pool->name, error), error);
    while (!PQisBusy(connection)) {
        PGresult *result = PQgetResult(connection);
        if (!result)
            return greeted(claim);
        mosaic_status status = take_answer(claim, result, error);
        PQclear(result);
        if (status != MOSAIC_OK)
            return greeting_failed(claim, status, error);
    }
    if (pq_now_ms() < claim->deadline)
        return MOSAIC_AGAIN;
    return claim->fresh ? unanswered(claim, error) : greeting_failed(claim, MOSAIC_UNREACHABLE, error);
}

static mosaic_status continue_refreshing(struct claim *claim, mosaic_error *error)
{
    mosaic_status status = cluster_refreshed(claim->cluster, claim->ticket, error);
    uint64_t theirs = claim->lease->epoch, ours = atomic_load(&claim->cluster->epoch);
    if (ours >= theirs)
        return ready(claim);
    if (status == MOSAIC_AGAIN)
        return status;
    if (status != MOSAIC_OK) {
        error_prefix(error, "shard %s has a newer map (epoch %llu), which could not be read", claim->pool->name,
                     (unsigned long long)theirs);
        return fail(claim, status);
    }
    error_set(error, MOSAIC_STALE, "shard %s has epoch %llu, the catalog %llu", claim->pool->name,
              (unsigned long long)theirs, (unsigned long long)ours);
    error_hint(error, "a change of the map is under way: try again in a moment; if it stays so, run pgmosaic doctor");
    error_shard(error, claim->pool->name);
    return fail(claim, MOSAIC_STALE);
}

/* ---- taking from the pool --------------------------------------------------------------------------- */

/* An idle connection has nothing to say: if it is readable, then its end, or something that nobody expects. */
static bool is_quiet(PGconn *connection)
{
    struct pollfd readable = {.fd = PQsocket(connection), .events = POLLIN};
    return PQstatus(connection) == CONNECTION_OK && readable.fd >= 0 && poll(&readable, 1, 0) == 0;
}

static mosaic_status got_place(struct claim *claim, mosaic_error *error)
{
    struct lease *lease = claim->lease;
    if (lease->connection && !is_quiet(lease->connection)) {
        PQfinish(lease->connection);
        lease->connection = NULL;
    }
    claim->fresh = false;
    if (!lease->connection)
        return begin_connecting(claim, error);
    int64_t idle = pq_now_ms() - lease->idle_since;
    if (lease->dirty || idle >= claim->cluster->options.idle_check_ms ||
        lease->epoch > atomic_load(&claim->cluster->epoch))
        return greet(claim, GREETING_CLEAN);
    return ready(claim);
}

mosaic_status claim_step(struct claim *claim, mosaic_error *error)
{
    mosaic_status status;
    switch (claim->state) {
    case CLAIM_NEW:
        status = pool_take(claim->pool, &claim->waiter, &claim->lease, error);
        if (status == MOSAIC_OK)
            return got_place(claim, error);
        claim->state = status == MOSAIC_AGAIN ? CLAIM_WAITING : CLAIM_FAILED;
        return status;
    case CLAIM_WAITING:
        claim->lease = pool_granted(claim->pool, &claim->waiter);
        if (!claim->lease)
            return MOSAIC_AGAIN;
        pool_leave(claim->pool, &claim->waiter);
        return got_place(claim, error);
    case CLAIM_CONNECTING:
        return continue_connecting(claim, error);
    case CLAIM_GREETING:
        return continue_greeting(claim, error);
    case CLAIM_REFRESHING:
        return continue_refreshing(claim, error);
    case CLAIM_READY:
        return MOSAIC_OK;
    case CLAIM_FAILED:
        break;
    }
    return error_set(error, MOSAIC_INTERNAL, "a claim that failed was stepped again");
}

bool claim_has_place(const struct claim *claim)
{
    return claim->state > CLAIM_WAITING;
}

bool claim_io(const struct claim *claim, mosaic_io *io)
{
    PGconn *connection = claim->lease ? claim->lease->connection : NULL;
    switch (claim->state) {
    case CLAIM_WAITING:
        *io = (mosaic_io){.fd = claim->waiter.event, .want_read = true};
        return true;
    case CLAIM_CONNECTING:
        *io = (mosaic_io){.fd = PQsocket(connection),
                          .want_read = claim->polling == PGRES_POLLING_READING,
                          .want_write = claim->polling != PGRES_POLLING_READING};
        return io->fd >= 0;
    case CLAIM_GREETING:
        /* The question is a few bytes: it has left, or the connection is broken, which reads as its end. */
        *io = (mosaic_io){.fd = PQsocket(connection), .want_read = true};
        return io->fd >= 0 && !claim->failed_greeting;
    default:
        return false;
    }
}

int64_t claim_wake(const struct claim *claim)
{
    switch (claim->state) {
    case CLAIM_WAITING:
        return INT64_MAX;
    case CLAIM_CONNECTING:
        return claim->deadline;
    case CLAIM_GREETING:
        return claim->failed_greeting ? 0 : claim->deadline;
    case CLAIM_REFRESHING:
        return pq_now_ms() + REFRESH_LOOK_MS;
    default:
        return 0;
    }
}

const char *claim_doing(const struct claim *claim)
{
    switch (claim->state) {
    case CLAIM_NEW:
    case CLAIM_WAITING:
        return "waiting for a free connection of the pool";
    case CLAIM_CONNECTING:
        return "connecting";
    case CLAIM_REFRESHING:
        return "reading the map again";
    default:
        return "preparing a connection";
    }
}
