#include "client/acquire.h"

#include "base/memory.h"
#include "client/call.h"

#include <errno.h>
#include <poll.h>

enum {
    POLL_SLICE_MS = 200, /* a signal may reach another thread than the one in poll() */
    FEW = 8,             /* entries of a poll without an allocation */
    MOVES_MOST = 8,      /* a key that moves more often meanwhile is not worth following */
};

mosaic_status acquire_poll(const mosaic_io *io, size_t count, int64_t wake, mosaic_error *error)
{
    struct pollfd few[FEW];
    struct pollfd *entries = count <= FEW ? few : memory_allocate(count * sizeof *entries);
    if (!entries)
        return error_memory(error);
    for (size_t i = 0; i < count; i++)
        entries[i] = (struct pollfd){
            .fd = io[i].fd, .events = (short)((io[i].want_read ? POLLIN : 0) | (io[i].want_write ? POLLOUT : 0))};
    int left = pq_left_ms(wake);
    int found = poll(entries, (nfds_t)count, left < POLL_SLICE_MS ? left : POLL_SLICE_MS);
    mosaic_status status = MOSAIC_OK;
    if (found < 0 && errno != EINTR && errno != EAGAIN)
        status = error_errno(error, "cannot wait for the shards");
    if (entries != few)
        memory_free(entries);
    return status == MOSAIC_OK ? pq_interrupted("waiting for the shards", error) : status;
}

mosaic_status acquire_check_shard(const mosaic_cluster *cluster, size_t shard, mosaic_error *error)
{
    if (shard < mosaic_shard_count(cluster))
        return MOSAIC_OK;
    return error_set(error, MOSAIC_NOT_FOUND, "there is no shard %zu: the cluster has %zu, counted from 0", shard,
                     mosaic_shard_count(cluster));
}

static mosaic_status wait_for(const struct claim *claim, int64_t deadline, mosaic_error *error)
{
    mosaic_io io;
    int64_t wake = claim_wake(claim);
    size_t count = claim_io(claim, &io) ? 1 : 0;
    return acquire_poll(&io, count, wake < deadline ? wake : deadline, error);
}

mosaic_status acquire_shard(mosaic_cluster *cluster, size_t shard, int64_t deadline, struct lease **lease,
                            mosaic_error *error)
{
    struct claim claim;
    mosaic_error ignored;
    error = error ? error : &ignored;
    mosaic_status status = acquire_check_shard(cluster, shard, error);
    if (status != MOSAIC_OK)
        return status;
    claim_start(&claim, cluster, shard);
    while ((status = claim_step(&claim, error)) == MOSAIC_AGAIN) {
        if (pq_now_ms() >= deadline)
            status = call_timeout(claim_doing(&claim), claim.pool->name, error);
        else
            status = wait_for(&claim, deadline, error);
        if (status != MOSAIC_OK) {
            claim_abandon(&claim);
            return status;
        }
    }
    if (status == MOSAIC_OK)
        *lease = claim_take(&claim);
    return status;
}

static mosaic_status locate(mosaic_cluster *cluster, const char *table, mosaic_key key, size_t *shard, uint64_t *epoch,
                            mosaic_error *error)
{
    mosaic_place place = {0};
    struct snapshot *snapshot = cluster_snapshot(cluster);
    mosaic_status status = cluster_locate(&snapshot->model, table, key, &place, error);
    *epoch = snapshot->model.epoch;
    snapshot_release(snapshot);
    *shard = place.shard;
    return status;
}

mosaic_status acquire_key(mosaic_cluster *cluster, const char *table, mosaic_key key, int64_t deadline,
                          struct lease **lease, mosaic_error *error)
{
    size_t shard, now;
    uint64_t epoch;
    mosaic_status status = locate(cluster, table, key, &shard, &epoch, error);
    for (int moves = 0; status == MOSAIC_OK && moves <= MOVES_MOST; moves++) {
        status = acquire_shard(cluster, shard, deadline, lease, error);
        if (status != MOSAIC_OK || epoch == mosaic_epoch(cluster))
            return status;
        status = locate(cluster, table, key, &now, &epoch, error);
        if (status == MOSAIC_OK && now == shard)
            return MOSAIC_OK;
        pool_give(*lease);
        shard = now;
    }
    if (status != MOSAIC_OK)
        return status;
    return error_set(error, MOSAIC_STALE, "the key moved %d times while a connection was made", MOVES_MOST);
}

/* ---- connections for the program -------------------------------------------------------------------- */

static size_t chain_of(const PGconn *connection)
{
    return ((uintptr_t)connection >> 6) % LEASE_CHAINS;
}

/* The program may do anything with it: when it comes back, its session is cleaned before the next use. */
static PGconn *hand_out(mosaic_cluster *cluster, struct lease *lease)
{
    PGconn *connection = lease->connection;
    size_t chain = chain_of(connection);
    lease->dirty = true;
    PQsetnonblocking(connection, 0);
    pthread_mutex_lock(&cluster->mutex);
    lease->next = cluster->handed_out[chain];
    cluster->handed_out[chain] = lease;
    pthread_mutex_unlock(&cluster->mutex);
    return connection;
}

static struct lease *take_back(mosaic_cluster *cluster, const PGconn *connection)
{
    pthread_mutex_lock(&cluster->mutex);
    struct lease **at = &cluster->handed_out[chain_of(connection)];
    while (*at && (*at)->connection != connection)
        at = &(*at)->next;
    struct lease *lease = *at;
    if (lease) {
        *at = lease->next;
        lease->next = NULL;
    }
    pthread_mutex_unlock(&cluster->mutex);
    return lease;
}

mosaic_status mosaic_acquire(mosaic_cluster *cluster, size_t shard, int timeout_ms, PGconn **connection,
                             mosaic_error *error)
{
    if (!cluster || !connection)
        return error_set(error, MOSAIC_USAGE, "mosaic_acquire: a cluster and a place for the connection are needed");
    int64_t deadline;
    struct lease *lease;
    *connection = NULL;
    mosaic_status status = cluster_deadline(cluster, timeout_ms, &deadline, error);
    if (status == MOSAIC_OK)
        status = acquire_shard(cluster, shard, deadline, &lease, error);
    if (status == MOSAIC_OK)
        *connection = hand_out(cluster, lease);
    return status;
}

mosaic_status mosaic_acquire_key(mosaic_cluster *cluster, const char *table, mosaic_key key, int timeout_ms,
                                 PGconn **connection, mosaic_error *error)
{
    if (!cluster || !connection)
        return error_set(error, MOSAIC_USAGE,
                         "mosaic_acquire_key: a cluster and a place for the connection are needed");
    int64_t deadline;
    struct lease *lease;
    *connection = NULL;
    mosaic_status status = cluster_deadline(cluster, timeout_ms, &deadline, error);
    if (status == MOSAIC_OK)
        status = acquire_key(cluster, table, key, deadline, &lease, error);
    if (status == MOSAIC_OK)
        *connection = hand_out(cluster, lease);
    return status;
}

void mosaic_release(mosaic_cluster *cluster, PGconn *connection)
{
    struct lease *lease = cluster && connection ? take_back(cluster, connection) : NULL;
    if (!lease)
        return;
    if (PQtransactionStatus(connection) == PQTRANS_ACTIVE)
        pool_reap(lease, true); /* a statement still runs there: nobody waits for it any more */
    else
        pool_give(lease);
}

/* ---- statements ------------------------------------------------------------------------------------- */

static mosaic_status run_for_result(mosaic_call *call, PGresult **result, mosaic_error *error)
{
    mosaic_status status = call_run(call, error);
    PGresult *got = mosaic_call_take_result(call);
    mosaic_call_free(call);
    if (result)
        *result = got;
    else
        PQclear(got);
    return status;
}

mosaic_status mosaic_exec(mosaic_cluster *cluster, const char *table, mosaic_key key, const mosaic_statement *statement,
                          int timeout_ms, PGresult **result, mosaic_error *error)
{
    mosaic_call *call;
    if (result)
        *result = NULL;
    mosaic_status status = call_new_keyed(cluster, table, key, statement, timeout_ms, CALL_BORROWS, &call, error);
    return status == MOSAIC_OK ? run_for_result(call, result, error) : status;
}

mosaic_status mosaic_exec_shard(mosaic_cluster *cluster, size_t shard, const mosaic_statement *statement,
                                int timeout_ms, PGresult **result, mosaic_error *error)
{
    mosaic_call *call;
    if (result)
        *result = NULL;
    mosaic_status status = call_new_shard(cluster, shard, statement, timeout_ms, CALL_BORROWS, &call, error);
    return status == MOSAIC_OK ? run_for_result(call, result, error) : status;
}

mosaic_status mosaic_exec_all(mosaic_cluster *cluster, const mosaic_statement *statement, const mosaic_scatter *scatter,
                              mosaic_error *error)
{
    mosaic_call *call;
    mosaic_status status = call_new_all(cluster, statement, scatter, CALL_BORROWS, &call, error);
    if (status != MOSAIC_OK)
        return status;
    status = call_run(call, error);
    mosaic_call_free(call);
    return status;
}

/* ---- for event loops -------------------------------------------------------------------------------- */

mosaic_status mosaic_call_exec(mosaic_cluster *cluster, const char *table, mosaic_key key,
                               const mosaic_statement *statement, int timeout_ms, mosaic_call **call,
                               mosaic_error *error)
{
    if (call)
        *call = NULL;
    return call_new_keyed(cluster, table, key, statement, timeout_ms, CALL_COPIES, call, error);
}

mosaic_status mosaic_call_exec_all(mosaic_cluster *cluster, const mosaic_statement *statement,
                                   const mosaic_scatter *scatter, mosaic_call **call, mosaic_error *error)
{
    if (call)
        *call = NULL;
    return call_new_all(cluster, statement, scatter, CALL_COPIES, call, error);
}
