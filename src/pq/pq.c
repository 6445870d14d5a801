/*
 * libpq with deadlines. Every wait is a poll() on the connection's socket; no libpq call that blocks is made, except
 * the name look-up inside PQconnectStartParams.
 *
 * SIGPIPE: libpq 15 sends with MSG_NOSIGNAL, or blocks the signal around OpenSSL (fe-secure.c); PQcancel does neither,
 * and it blocks while it connects: it runs in a thread of its own with all signals blocked.
 */
#include "pq/pq.h"

#include "base/memory.h"
#include "pq/conninfo.h"
#include "pq/process.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WAIT_SLICE_MS = 200, /* a signal may reach another thread than the one in poll() */
    CANCEL_WAIT_MS = 1000,
};

static const volatile int *interrupt_flag;
static _Thread_local struct pq_interrupts own_interrupts;

int64_t pq_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t pq_deadline(int timeout_ms)
{
    return pq_now_ms() + timeout_ms;
}

int pq_left_ms(int64_t deadline)
{
    int64_t left = deadline - pq_now_ms();
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

void pq_interrupt_flag(const volatile int *flag)
{
    interrupt_flag = flag;
}

void pq_hold_interrupts(bool hold)
{
    own_interrupts.held += hold ? 1 : -1;
}

void pq_interrupt_thread(const volatile int *flag)
{
    own_interrupts.flag = flag;
}

struct pq_interrupts pq_interrupts_of_thread(void)
{
    return own_interrupts;
}

void pq_interrupts_take(struct pq_interrupts interrupts)
{
    own_interrupts = interrupts;
}

mosaic_status pq_interrupted(const char *what, mosaic_error *error)
{
    if (own_interrupts.held == 0 && (interrupt_is_set(interrupt_flag) || interrupt_is_set(own_interrupts.flag)))
        return error_set(error, MOSAIC_INTERRUPTED, "interrupted while %s", what);
    return MOSAIC_OK;
}

mosaic_status pq_wait(PGconn *connection, bool for_write, int64_t deadline, const char *what, mosaic_error *error)
{
    struct pollfd ready = {.fd = PQsocket(connection), .events = (short)(POLLIN | (for_write ? POLLOUT : 0))};
    if (ready.fd < 0)
        return error_set(error, MOSAIC_UNREACHABLE, "the connection was lost while %s", what);
    for (;;) {
        mosaic_status status = pq_interrupted(what, error);
        if (status != MOSAIC_OK)
            return status;
        int left = pq_left_ms(deadline);
        int slice = left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS;
        int count = poll(&ready, 1, interrupt_flag || own_interrupts.flag ? slice : left);
        if (count > 0)
            return MOSAIC_OK;
        if (count < 0 && errno != EINTR && errno != EAGAIN)
            return error_errno(error, "cannot wait for a server while %s", what);
        if (count == 0 && left == 0) {
            error_set(error, MOSAIC_TIMEOUT, "the deadline passed while %s", what);
            error_hint(error, "try again; if it happens again, see what the server is doing (pg_stat_activity), or "
                              "allow more time");
            return MOSAIC_TIMEOUT;
        }
    }
}

static void ignore_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

PGconn *pq_connect_start(const char *conninfo, const char *application_name, mosaic_error *error)
{
    struct conninfo_parameters parameters = {0};
    PGconn *connection = NULL;
    PQconninfoOption *options = conninfo_parse(conninfo, error);
    if (!options)
        return NULL;
    if (conninfo_parameters(options, application_name, &parameters, error) == MOSAIC_OK) {
        connection = PQconnectStartParams(parameters.keywords, parameters.values, 0);
        if (!connection)
            error_memory(error);
    }
    if (connection) {
        /* The only way in libpq 15 to learn the SQLSTATE of a login that failed; pq_connected sets it back. */
        PQsetErrorVerbosity(connection, PQERRORS_VERBOSE);
        PQsetNoticeProcessor(connection, ignore_notice, NULL);
    }
    memory_free(parameters.options);
    PQconninfoFree(options);
    return connection;
}

void pq_connected(PGconn *connection)
{
    PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
}

const char pq_session_settings[] = "SET DateStyle = ISO";

bool pq_session_is_set(const PGconn *connection)
{
    const char *dates = PQparameterStatus(connection, "DateStyle");
    return dates && strncmp(dates, "ISO", 3) == 0;
}

/* connect_timeout of a conninfo counts too: libpq heeds it only when it blocks. */
static int64_t connect_deadline(PGconn *connection, int64_t deadline)
{
    PQconninfoOption *options = PQconninfo(connection);
    const char *text = options ? conninfo_value(options, "connect_timeout") : NULL;
    long seconds = text ? strtol(text, NULL, 10) : 0;
    PQconninfoFree(options);
    if (seconds <= 0 || seconds > INT_MAX / 1000)
        return deadline;
    int64_t own = pq_deadline((int)seconds * 1000);
    return own < deadline ? own : deadline;
}

mosaic_status pq_connect_wait(PGconn *connection, const char *shard, const char *address, int64_t deadline,
                              mosaic_error *error)
{
    PostgresPollingStatusType state =
        PQstatus(connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    char what[200];
    snprintf(what, sizeof what, "connecting to %s", address);
    while (state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING) {
        /* While connecting, only the event that libpq asks for: a socket not yet connected polls as readable. */
        struct pollfd ready = {.fd = PQsocket(connection), .events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        mosaic_status status = pq_interrupted(what, error);
        int left = pq_left_ms(deadline);
        if (status == MOSAIC_OK && left == 0) {
            status = error_set(error, MOSAIC_TIMEOUT, "%s did not answer before the deadline", address);
            error_hint(error, "is the host of shard %s up, and does no firewall drop the packets?", shard);
        }
        if (status != MOSAIC_OK) {
            error_shard(error, shard);
            return status;
        }
        int slice = left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS;
        if (ready.fd < 0 || poll(&ready, 1, slice) > 0)
            state = PQconnectPoll(connection);
    }
    return state == PGRES_POLLING_OK ? MOSAIC_OK : pq_connect_failure(connection, shard, error);
}

mosaic_status pq_connect(const char *conninfo, const char *shard, const char *application_name, int64_t deadline,
                         PGconn **connection, mosaic_error *error)
{
    char address[160];
    *connection = NULL;
    mosaic_error ignored;
    if (!error)
        error = &ignored; /* the status is needed even where nobody asks for the text */
    PGconn *started = pq_connect_start(conninfo, application_name, error);
    if (!started)
        return error_shard(error, shard);
    pq_conninfo_address(conninfo, address, sizeof address);
    mosaic_status status = pq_connect_wait(started, shard, address, connect_deadline(started, deadline), error);
    if (status == MOSAIC_OK) {
        pq_connected(started);
        if (!pq_session_is_set(started))
            status = pq_exec(started, shard, pq_session_settings, deadline, NULL, error);
    }
    if (status != MOSAIC_OK) {
        PQfinish(started);
        return status;
    }
    *connection = started;
    return MOSAIC_OK;
}

/* ---- statements ------------------------------------------------------------------------------------- */

static mosaic_status flush_out(PGconn *connection, const char *shard, int64_t deadline, mosaic_error *error)
{
    for (;;) {
        int left = PQflush(connection);
        if (left == 0)
            return MOSAIC_OK;
        if (left < 0)
            return pq_result_error(connection, NULL, shard, error);
        mosaic_status status = pq_wait(connection, true, deadline, "sending a statement", error);
        if (status != MOSAIC_OK)
            return status;
        /* A server that has sent much, and is not read, would not read either. */
        if (!PQconsumeInput(connection))
            return pq_result_error(connection, NULL, shard, error);
    }
}

mosaic_status pq_next_result(PGconn *connection, const char *shard, int64_t deadline, PGresult **result,
                             mosaic_error *error)
{
    *result = NULL;
    mosaic_status status = flush_out(connection, shard, deadline, error);
    while (status == MOSAIC_OK && PQisBusy(connection)) {
        status = pq_wait(connection, false, deadline, "waiting for the answer to a statement", error);
        if (status == MOSAIC_OK && !PQconsumeInput(connection))
            status = pq_result_error(connection, NULL, shard, error);
    }
    if (status == MOSAIC_OK)
        *result = PQgetResult(connection);
    else if (status == MOSAIC_TIMEOUT || status == MOSAIC_INTERRUPTED)
        error_shard(error, shard);
    return status;
}

static bool is_failure(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE || status == PGRES_NONFATAL_ERROR;
}

static bool starts_copy(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

mosaic_status pq_finish_statement(PGconn *connection, const char *shard, int64_t deadline, PGresult **result,
                                  mosaic_error *error)
{
    PGresult *last = NULL, *next = NULL;
    mosaic_status status;
    while ((status = pq_next_result(connection, shard, deadline, &next, error)) == MOSAIC_OK && next) {
        if (last && is_failure(last)) {
            PQclear(next); /* the first failure tells most */
        } else {
            PQclear(last);
            last = next;
        }
        if (PQstatus(connection) == CONNECTION_BAD || starts_copy(last))
            break;
    }
    if (status == MOSAIC_TIMEOUT || status == MOSAIC_INTERRUPTED)
        pq_cancel(connection);
    if (status == MOSAIC_OK && (!last || is_failure(last)))
        status = pq_result_error(connection, last, shard, error);
    if (status == MOSAIC_OK && result) {
        *result = last;
        return MOSAIC_OK;
    }
    PQclear(last);
    return status;
}

static mosaic_status run(PGconn *connection, int sent, const char *shard, int64_t deadline, PGresult **result,
                         int was_nonblocking, mosaic_error *error)
{
    mosaic_status status = sent ? pq_finish_statement(connection, shard, deadline, result, error)
                                : pq_result_error(connection, NULL, shard, error);
    if (!was_nonblocking && status != MOSAIC_TIMEOUT && status != MOSAIC_INTERRUPTED)
        PQsetnonblocking(connection, 0); /* everything was sent: does not block */
    return status;
}

mosaic_status pq_exec(PGconn *connection, const char *shard, const char *sql, int64_t deadline, PGresult **result,
                      mosaic_error *error)
{
    if (result)
        *result = NULL;
    int was_nonblocking = PQisnonblocking(connection);
    PQsetnonblocking(connection, 1);
    return run(connection, PQsendQuery(connection, sql), shard, deadline, result, was_nonblocking, error);
}

mosaic_status pq_exec_params(PGconn *connection, const char *shard, const char *sql, int count,
                             const char *const *values, int64_t deadline, PGresult **result, mosaic_error *error)
{
    if (result)
        *result = NULL;
    int was_nonblocking = PQisnonblocking(connection);
    PQsetnonblocking(connection, 1);
    int sent = PQsendQueryParams(connection, sql, count, NULL, values, NULL, NULL, 0);
    return run(connection, sent, shard, deadline, result, was_nonblocking, error);
}

/* ---- cancelling ------------------------------------------------------------------------------------- */

/* Shared by the thread that cancels and the one that waits for it; the last of the two to leave frees it. */
struct cancelling {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    PGcancel *cancel;
    bool done, abandoned;
};

static void free_cancelling(struct cancelling *work)
{
    PQfreeCancel(work->cancel);
    pthread_cond_destroy(&work->changed);
    pthread_mutex_destroy(&work->mutex);
    memory_free(work);
}

static void *cancel_thread(void *context)
{
    struct cancelling *work = context;
    char ignored[256];
    PQcancel(work->cancel, ignored, sizeof ignored);
    pthread_mutex_lock(&work->mutex);
    work->done = true;
    bool abandoned = work->abandoned;
    pthread_cond_signal(&work->changed);
    pthread_mutex_unlock(&work->mutex);
    if (abandoned)
        free_cancelling(work);
    return NULL;
}

static void wait_for_cancel(struct cancelling *work)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += CANCEL_WAIT_MS / 1000;
    pthread_mutex_lock(&work->mutex);
    while (!work->done && pthread_cond_timedwait(&work->changed, &work->mutex, &until) == 0)
        continue;
    work->abandoned = !work->done;
    bool done = work->done;
    pthread_mutex_unlock(&work->mutex);
    if (done)
        free_cancelling(work);
}

void pq_cancel(PGconn *connection)
{
    PGcancel *cancel = PQgetCancel(connection);
    struct cancelling *work = cancel ? memory_zeroed(1, sizeof *work) : NULL;
    if (!work) {
        PQfreeCancel(cancel);
        return;
    }
    work->cancel = cancel;
    pthread_mutex_init(&work->mutex, NULL);
    pthread_cond_init(&work->changed, NULL);
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it: SIGPIPE can't end the program */
    bool started = pthread_create(&thread, NULL, cancel_thread, work) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!started) {
        free_cancelling(work);
        return;
    }
    pthread_detach(thread);
    wait_for_cancel(work);
}

mosaic_status pq_connect_with(const char *conninfo, const char *shard, const char *application_name,
                              const char *settings, int64_t deadline, PGconn **connection, mosaic_error *error)
{
    mosaic_status status = pq_connect(conninfo, shard, application_name, deadline, connection, error);
    if (status != MOSAIC_OK)
        return status;
    status = pq_exec(*connection, shard, settings, deadline, NULL, error);
    if (status != MOSAIC_OK) {
        PQfinish(*connection);
        *connection = NULL;
    }
    return status;
}
