/*
 * libpq with deadlines and full errors. What every part that talks to a server shares; knows nothing of shards' maps.
 *
 * A deadline is an absolute time of pq_now_ms (monotonic milliseconds).
 */
#ifndef MOSAIC_PQ_PQ_H
#define MOSAIC_PQ_PQ_H

#include "base/error.h"

#include <libpq-fe.h>
#include <stdint.h>

/* ms: for a statement that reads whole tables, or waits for whoever does; an interrupt ends it. */
enum { PQ_SCAN_MS = 24 * 3600 * 1000 };

int64_t pq_now_ms(void);
/* now + timeout_ms. */
int64_t pq_deadline(int timeout_ms);
/* Milliseconds left, at least 0, at most INT_MAX. */
int pq_left_ms(int64_t deadline);

/* Also ends every wait of this module with MOSAIC_INTERRUPTED once *flag is non-zero, which any thread or a signal's
 * handler may make it; NULL (the default): never. */
void pq_interrupt_flag(const volatile int *flag);
/* Between hold(true) and hold(false), which nest, waits of this thread go on: for a clean-up, or a commit that has
 * begun. */
void pq_hold_interrupts(bool hold);
/* The same flag for this thread alone; NULL: none. */
void pq_interrupt_thread(const volatile int *flag);
/* What this thread was told of interrupts, for threads that do a part of its work. */
struct pq_interrupts {
    const volatile int *flag;
    int held;
};
struct pq_interrupts pq_interrupts_of_thread(void);
void pq_interrupts_take(struct pq_interrupts interrupts);
/* MOSAIC_INTERRUPTED once the flag is set and not held, else MOSAIC_OK. */
MOSAIC_MUST_CHECK mosaic_status pq_interrupted(const char *what, mosaic_error *error);

/*
 * Waits until the connection's socket is ready. for_write also waits for room. MOSAIC_TIMEOUT or MOSAIC_INTERRUPTED;
 * `what` (e.g. "connecting") goes into the message.
 */
MOSAIC_MUST_CHECK mosaic_status pq_wait(PGconn *connection, bool for_write, int64_t deadline, const char *what,
                                        mosaic_error *error);

/*
 * Opens a connection with client_encoding UTF8, the application name, and the library's session settings (DateStyle
 * ISO with the server's order of day and month, search_path as the server has it, standard_conforming_strings on, no
 * notices printed). `shard` names it in errors. Sorts a failure into UNREACHABLE, AUTH, NOT_FOUND (no such database),
 * TIMEOUT, with a hint. On MOSAIC_OK PQfinish it.
 */
MOSAIC_MUST_CHECK mosaic_status pq_connect(const char *conninfo, const char *shard, const char *application_name,
                                           int64_t deadline, PGconn **connection, mosaic_error *error);
/* The same, and then runs `settings` there; where that fails, *connection is NULL. */
MOSAIC_MUST_CHECK mosaic_status pq_connect_with(const char *conninfo, const char *shard, const char *application_name,
                                                const char *settings, int64_t deadline, PGconn **connection,
                                                mosaic_error *error);
/* For it: what this session commits survives a crash, whatever the settings of role, database and server are. */
#define PQ_DURABLE                                                                 \
    "SELECT pg_catalog.set_config('synchronous_commit', 'on', false) WHERE "       \
    "pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) ANY " \
    "('{off,local,remote_write}')"
/*
 * Starts the same without blocking (but for the look-up of a host name): then drive it by PQconnectPoll, and call
 * pq_connected when that says OK, pq_connect_failure when it says FAILED. NULL when memory is out or the conninfo is
 * malformed.
 */
PGconn *pq_connect_start(const char *conninfo, const char *application_name, mosaic_error *error);
/* The same at once, for a connection that libpq was asked to start: waits until it is made. `address` names it. */
MOSAIC_MUST_CHECK mosaic_status pq_connect_wait(PGconn *connection, const char *shard, const char *address,
                                                int64_t deadline, mosaic_error *error);
/* Ends what pq_connect_start began: error texts of libpq are short again. pq_session_settings are still to be run. */
void pq_connected(PGconn *connection);
/*
 * Dates are shown as ISO, and read by the order of day and month that the session has. As an option of the connection
 * it would hide the order of ALTER DATABASE and ALTER ROLE … SET datestyle, since that counts less. To be said again
 * when a session was reset.
 */
extern const char pq_session_settings[];
/* Has the session them already, as the server has reported? Then there is nothing to run. */
bool pq_session_is_set(const PGconn *connection);
/* What a connection attempt that failed means; fills error. */
mosaic_status pq_connect_failure(const PGconn *connection, const char *shard, mosaic_error *error);

/*
 * Runs one statement, or several in one transaction, to the end of the last. A COPY is only begun: the result is
 * PGRES_COPY_IN or PGRES_COPY_OUT. With a result pointer the caller owns *result on MOSAIC_OK. A server error becomes
 * MOSAIC_SERVER (OWNERSHIP for a violated mosaic_owner), with SQLSTATE, the server's message, detail, hint. After
 * MOSAIC_TIMEOUT or MOSAIC_INTERRUPTED the statement was cancelled and the connection is to be closed.
 */
MOSAIC_MUST_CHECK mosaic_status pq_exec(PGconn *connection, const char *shard, const char *sql, int64_t deadline,
                                        PGresult **result, mosaic_error *error);
/* The same with text parameters (NULL: SQL NULL). */
MOSAIC_MUST_CHECK mosaic_status pq_exec_params(PGconn *connection, const char *shard, const char *sql, int count,
                                               const char *const *values, int64_t deadline, PGresult **result,
                                               mosaic_error *error);
/*
 * The rest of a statement that was sent (PQsendQuery … on a connection set to nonblocking): sends what is still to be
 * sent, and reads to the end, as pq_exec.
 */
MOSAIC_MUST_CHECK mosaic_status pq_finish_statement(PGconn *connection, const char *shard, int64_t deadline,
                                                    PGresult **result, mosaic_error *error);
/* The next result of a statement that was sent, NULL at its end; the caller's. Does not cancel on MOSAIC_TIMEOUT. */
MOSAIC_MUST_CHECK mosaic_status pq_next_result(PGconn *connection, const char *shard, int64_t deadline,
                                               PGresult **result, mosaic_error *error);
/* Fills error from a result that failed, or from the connection when result is NULL. Returns the status. */
mosaic_status pq_result_error(const PGconn *connection, const PGresult *result, const char *shard, mosaic_error *error);
/* Sends a cancel request for whatever the connection runs, waiting at most a second. Best effort. */
void pq_cancel(PGconn *connection);

/* The conninfo with its password, if any, replaced by ****; malloc'ed, freed by memory_free. NULL when memory is out.
 */
char *pq_conninfo_masked(const char *conninfo);
/*
 * The conninfo of the same login and database on another server. Holds the password, if there is one; malloc'ed, freed
 * by memory_free. NULL when memory is out or the conninfo is malformed.
 */
char *pq_conninfo_at(const char *conninfo, const char *host, int port);
/* "host:port/dbname" of a conninfo, for messages; into text. */
void pq_conninfo_address(const char *conninfo, char *text, size_t size);

#endif
