#include "client/pool.h"

#include "base/memory.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    CANCEL_TRIES = 4,
    CANCEL_WAIT_MS = 250, /* after each */
    DRAIN_MS = 20, /* a statement that was stopped may end by itself within this, which is cheaper than a cancel */
};

int pool_backoff_ms(unsigned failures, int base, int most)
{
    int wait = base < most ? base : most;
    for (unsigned i = 1; i < failures && wait < most; i++)
        wait = wait > most / 2 ? most : wait * 2;
    return failures ? wait : 0;
}

void pool_init(struct pool *pool, size_t shard, const char *name, const char *conninfo, const mosaic_options *settings,
               struct background *reaper)
{
    *pool = (struct pool){
        .shard = shard,
        .name = name,
        .conninfo = conninfo,
        .size = settings->pool_size,
        .retry_base_ms = settings->retry_base_ms,
        .retry_max_ms = settings->retry_max_ms,
        .reaper = reaper,
    };
    pthread_mutex_init(&pool->mutex, NULL);
}

void pool_close(struct pool *pool)
{
    while (pool->idle) {
        struct lease *lease = pool->idle;
        pool->idle = lease->next;
        PQfinish(lease->connection);
        memory_free(lease);
    }
    pthread_mutex_destroy(&pool->mutex);
}

/* ---- taking ----------------------------------------------------------------------------------------- */

/* With the mutex held: an idle one, or a free place. *full: there is neither. */
static struct lease *take_now(struct pool *pool, bool *full)
{
    struct lease *lease = pool->idle;
    *full = false;
    if (lease) {
        pool->idle = lease->next;
        lease->next = NULL;
        return lease;
    }
    *full = pool->open >= pool->size;
    if (*full)
        return NULL;
    lease = memory_zeroed(1, sizeof *lease);
    if (lease) {
        lease->pool = pool;
        pool->open++;
    }
    return lease;
}

static void queue(struct pool *pool, struct waiter *waiter)
{
    waiter->next = NULL;
    waiter->queued = true;
    if (pool->last)
        pool->last->next = waiter;
    else
        pool->first = waiter;
    pool->last = waiter;
}

mosaic_status pool_take(struct pool *pool, struct waiter *waiter, struct lease **lease, mosaic_error *error)
{
    bool full;
    pthread_mutex_lock(&pool->mutex);
    *lease = take_now(pool, &full);
    if (!*lease && full && waiter) {
        waiter->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (waiter->event >= 0)
            queue(pool, waiter);
    }
    pthread_mutex_unlock(&pool->mutex);
    if (*lease)
        return MOSAIC_OK;
    if (!full)
        return error_memory(error);
    if (waiter && waiter->event < 0)
        return error_errno(error, "cannot wait for a connection to shard %s", pool->name);
    return MOSAIC_AGAIN;
}

struct lease *pool_granted(struct pool *pool, struct waiter *waiter)
{
    pthread_mutex_lock(&pool->mutex);
    struct lease *lease = waiter->granted;
    waiter->granted = NULL;
    pthread_mutex_unlock(&pool->mutex);
    return lease;
}

static void unqueue(struct pool *pool, struct waiter *waiter)
{
    struct waiter *before = NULL;
    for (struct waiter *at = pool->first; at != waiter; at = at->next)
        before = at;
    if (before)
        before->next = waiter->next;
    else
        pool->first = waiter->next;
    if (pool->last == waiter)
        pool->last = before;
    waiter->queued = false;
}

void pool_leave(struct pool *pool, struct waiter *waiter)
{
    pthread_mutex_lock(&pool->mutex);
    if (waiter->queued)
        unqueue(pool, waiter);
    struct lease *lease = waiter->granted;
    waiter->granted = NULL;
    pthread_mutex_unlock(&pool->mutex);
    if (lease)
        pool_give(lease);
    if (waiter->event >= 0)
        close(waiter->event);
    waiter->event = -1;
}

/* ---- giving back ------------------------------------------------------------------------------------ */

static void ignore_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

/* Has the connection nothing of its last user in it? What a program may have set on a PGconn is set back. */
static bool is_reusable(PGconn *connection)
{
    if (PQstatus(connection) != CONNECTION_OK || PQtransactionStatus(connection) != PQTRANS_IDLE)
        return false;
    if (PQpipelineStatus(connection) != PQ_PIPELINE_OFF && !PQexitPipelineMode(connection))
        return false;
    PQsetNoticeProcessor(connection, ignore_notice, NULL);
    PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
    PQuntrace(connection);
    return PQsetnonblocking(connection, 1) == 0;
}

/* To the first in the queue, else to the idle ones; a free place that nobody wants is no more. */
void pool_give(struct lease *lease)
{
    struct pool *pool = lease->pool;
    if (lease->connection && !is_reusable(lease->connection)) {
        PQfinish(lease->connection);
        lease->connection = NULL;
    }
    lease->idle_since = pq_now_ms();
    pthread_mutex_lock(&pool->mutex);
    struct waiter *waiter = pool->first;
    if (waiter) {
        unqueue(pool, waiter);
        waiter->granted = lease;
        uint64_t one = 1;
        /* Under the mutex, since the waiter may be gone right after; the counter of an eventfd can't be full here. */
        if (write(waiter->event, &one, sizeof one) < 0)
            errno = 0;
    } else if (lease->connection) {
        lease->next = pool->idle;
        pool->idle = lease;
    } else {
        pool->open--;
    }
    bool unused = !waiter && !lease->connection;
    pthread_mutex_unlock(&pool->mutex);
    if (unused)
        memory_free(lease);
}

/* Throws away what still comes. True when the statement has ended and the connection is idle. */
static bool drain(PGconn *connection, int timeout_ms)
{
    int64_t deadline = pq_deadline(timeout_ms);
    PGresult *result = NULL;
    /* A server that always has more would never let pq_next_result wait, and so find the deadline. */
    while (pq_now_ms() < deadline && pq_next_result(connection, "", deadline, &result, NULL) == MOSAIC_OK) {
        if (!result)
            return PQtransactionStatus(connection) == PQTRANS_IDLE;
        ExecStatusType status = PQresultStatus(result);
        PQclear(result);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH ||
            status == PGRES_BAD_RESPONSE)
            return false;
    }
    return false;
}

/* A cancel that is there before the server has begun with the statement cancels nothing: it is said again. */
static void cancel_until_ended(PGconn *connection)
{
    for (int tries = 0; tries < CANCEL_TRIES && PQstatus(connection) == CONNECTION_OK; tries++) {
        pq_cancel(connection);
        if (drain(connection, CANCEL_WAIT_MS))
            return;
    }
}

static void reap(struct job *job)
{
    struct lease *lease = (struct lease *)job;
    PGconn *connection = lease->connection;
    if (PQstatus(connection) == CONNECTION_OK && (lease->hurry || !drain(connection, DRAIN_MS))) {
        /* Not reused: a cancel may still be on its way, through a pooler say, and would hit the next statement. */
        cancel_until_ended(connection);
        PQfinish(connection);
        lease->connection = NULL;
    }
    pool_give(lease);
}

void pool_reap(struct lease *lease, bool hurry)
{
    lease->hurry = hurry || PQpipelineStatus(lease->connection) != PQ_PIPELINE_OFF;
    lease->job.run = reap;
    if (background_add(lease->pool->reaper, &lease->job))
        return;
    PQfinish(lease->connection);
    lease->connection = NULL;
    pool_give(lease);
}

/* ---- backoff ---------------------------------------------------------------------------------------- */

bool pool_may_connect(struct pool *pool, mosaic_error *error)
{
    pthread_mutex_lock(&pool->mutex);
    bool may = !pool->failures || pq_now_ms() >= pool->retry_at;
    if (!may && error)
        *error = pool->failure;
    pthread_mutex_unlock(&pool->mutex);
    return may;
}

void pool_connect_failed(struct pool *pool, const mosaic_error *error)
{
    int64_t now = pq_now_ms();
    pthread_mutex_lock(&pool->mutex);
    /* Attempts that were under way together count as one. */
    if (!pool->failures || now >= pool->retry_at) {
        pool->failures++;
        pool->retry_at = now + pool_backoff_ms(pool->failures, pool->retry_base_ms, pool->retry_max_ms);
    }
    pool->failure = *error;
    pthread_mutex_unlock(&pool->mutex);
}

void pool_connected(struct pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pool->failures = 0;
    pthread_mutex_unlock(&pool->mutex);
}
