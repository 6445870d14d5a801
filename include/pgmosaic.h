/*
 * pgmosaic: many PostgreSQL databases that behave as one.
 *
 * The whole API of libpgmosaic, readable in one sitting. A cluster is opened from a mosaic.yaml; a key is
 * computed to a bucket and the map gives the bucket's shard; statements go to that shard, to all shards,
 * or into a transaction.
 *
 *     mosaic_cluster *cluster;
 *     mosaic_error error;
 *     PGresult *result;
 *
 *     if (mosaic_open("mosaic.yaml", NULL, &cluster, &error) != MOSAIC_OK)
 *         die(error.message);
 *     if (mosaic_exec(cluster, "users", mosaic_key_int64(42),
 *                     &(mosaic_statement){.sql = "SELECT name FROM users WHERE id = 42"},
 *                     5000, &result, &error) == MOSAIC_OK)
 *         puts(PQgetvalue(result, 0, 0));
 *     PQclear(result);
 *     mosaic_close(cluster);
 *
 * Rules that hold for every function:
 *   - a failure is the returned status; what is known of it stands in *error (which may be NULL);
 *   - every wait has a deadline, given in milliseconds; 0 means the cluster's default_timeout_ms;
 *   - nothing is printed, logged or exited; no signal handler is installed;
 *   - a mosaic_cluster may be used by many threads at once, everything else by one thread at a time;
 *   - text is UTF-8; pointers given in are not kept after the call returns unless it says so.
 */
#ifndef PGMOSAIC_H
#define PGMOSAIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOSAIC_MUST_CHECK __attribute__((warn_unused_result))
#define MOSAIC_API __attribute__((visibility("default")))
#else
#define MOSAIC_MUST_CHECK
#define MOSAIC_API
#endif

/* libpq's own types; include <libpq-fe.h> to use them. */
typedef struct pg_conn PGconn;
typedef struct pg_result PGresult;

/* ---- status and error ------------------------------------------------------------------------------- */

/* X(identifier, SQLSTATE where none comes from a server, what it means). docs/runbook.md has an entry for each. */
#define MOSAIC_STATUS_LIST(X)                                                                         \
    X(OK, "00000", "done")                                                                            \
    X(AGAIN, "00000", "not finished: wait for the sockets of mosaic_call_io and step again")          \
    X(STOPPED, "00000", "ended early because a callback asked for it")                                \
    X(USAGE, "22023", "an argument of the call is not usable")                                        \
    X(CONFIG, "F0000", "the config (mosaic.yaml) is not usable")                                      \
    X(KEY, "22P02", "the sharding key is missing, NULL, or not a value of its type")                  \
    X(DATA, "22P04", "the input data is malformed")                                                   \
    X(NOT_FOUND, "42P01", "no such table, column, shard, lab or file")                                \
    X(OWNERSHIP, "23514", "a row would stand on a shard that does not own it")                        \
    X(UNREACHABLE, "08006", "a shard does not answer")                                                \
    X(AUTH, "28000", "a shard refused the login")                                                     \
    X(TIMEOUT, "57014", "the deadline passed")                                                        \
    X(SERVER, "XX000", "PostgreSQL refused the statement; SQLSTATE and message are the server's")     \
    X(STALE, "55000", "the map has changed since it was read")                                        \
    X(IN_DOUBT, "40003", "a commit over several shards was cut off and its outcome is not known yet") \
    X(PREFLIGHT, "55000", "the shards are not in a state that allows this change")                    \
    X(LIMIT, "54000", "a configured limit was reached")                                               \
    X(UNSUPPORTED, "0A000", "not supported, or not proved to give the answer of one PostgreSQL")      \
    X(IO, "58030", "a file or the terminal could not be read or written")                             \
    X(MEMORY, "53200", "out of memory")                                                               \
    X(INTERRUPTED, "57014", "interrupted by a signal; nothing was left half done")                    \
    X(INTERNAL, "XX000", "a bug in pgmosaic: please report it")

typedef enum mosaic_status {
#define X(name, sqlstate, meaning) MOSAIC_##name,
    MOSAIC_STATUS_LIST(X)
#undef X
} mosaic_status;

/* Filled by every call that fails; undefined after a call that succeeded, but for the hint of
 * mosaic_commit and mosaic_load_table. No ownership: plain arrays. */
typedef struct mosaic_error {
    mosaic_status status;
    char sqlstate[6];  /* the server's where a server answered, else the status's own */
    char shard[64];    /* name of the shard it happened on, or "" */
    char message[512]; /* what happened, and where; one line, no final full stop */
    char detail[1024]; /* more, or "" */
    char hint[512];    /* what to do next, or "" */
} mosaic_error;

/* "UNREACHABLE" for MOSAIC_UNREACHABLE; "?" for a value that is none. Static storage. */
MOSAIC_API const char *mosaic_status_name(mosaic_status status);
/* The one-line meaning from MOSAIC_STATUS_LIST. Static storage. */
MOSAIC_API const char *mosaic_status_meaning(mosaic_status status);
/* The library's version, e.g. "0.1.0". Static storage. */
MOSAIC_API const char *mosaic_version(void);

/* ---- keys ------------------------------------------------------------------------------------------- */

typedef enum mosaic_key_kind {
    MOSAIC_KEY_INT64,    /* for int2, int4, int8 key columns */
    MOSAIC_KEY_TEXT,     /* the text form PostgreSQL reads, for a key column of any supported type */
    MOSAIC_KEY_BYTES,    /* the raw bytes of a bytea */
    MOSAIC_KEY_UUID,     /* 16 bytes */
    MOSAIC_KEY_COMPOSITE /* parts, in the order of the table's key columns */
} mosaic_key_kind;

/* A sharding key by value; it points to, and does not own, text, bytes and parts. */
typedef struct mosaic_key {
    mosaic_key_kind kind;
    int64_t integer;
    const void *data; /* TEXT, BYTES: size bytes; UUID: 16 bytes; COMPOSITE: size parts */
    size_t size;
} mosaic_key;

MOSAIC_API mosaic_key mosaic_key_int64(int64_t value);
MOSAIC_API mosaic_key mosaic_key_text(const char *zero_terminated);
MOSAIC_API mosaic_key mosaic_key_bytes(const void *bytes, size_t size);
MOSAIC_API mosaic_key mosaic_key_uuid(const unsigned char bytes[16]);
MOSAIC_API mosaic_key mosaic_key_composite(const mosaic_key *parts, size_t count);

/* ---- clusters --------------------------------------------------------------------------------------- */

typedef struct mosaic_cluster mosaic_cluster;

/* Zero means the default, which stands in brackets. */
typedef struct mosaic_options {
    int default_timeout_ms;       /* deadline of a call that gives none [30000] */
    int connect_timeout_ms;       /* deadline of one connection attempt [5000] */
    int pool_size;                /* connections per shard, at most [8] */
    int idle_check_ms;            /* a pooled connection idle for longer is checked before use [10000] */
    int retry_base_ms;            /* backoff after a failed connect: base, doubled up to retry_max_ms [50] */
    int retry_max_ms;             /* [5000] */
    const char *application_name; /* as the shards see it ["pgmosaic"] */
} mosaic_options;

/*
 * Opens the cluster that config describes: parses it, connects to the catalog (the first shard) and reads the map.
 * The tables must have been applied (`pgmosaic apply`). On MOSAIC_OK *cluster must be closed by mosaic_close.
 */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_open(const char *config_path, const mosaic_options *options,
                                                       mosaic_cluster **cluster, mosaic_error *error);
/* The same from the text of a config in memory. */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_open_text(const char *config, size_t size,
                                                            const mosaic_options *options, mosaic_cluster **cluster,
                                                            mosaic_error *error);
/* Closes all pooled connections. Calls, transactions and acquired connections must be ended before. NULL is fine. */
MOSAIC_API void mosaic_close(mosaic_cluster *cluster);
/* Reads the map again from the catalog; every call does so by itself when a shard says that its epoch has moved on. */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_refresh(mosaic_cluster *cluster, mosaic_error *error);

MOSAIC_API size_t mosaic_shard_count(const mosaic_cluster *cluster);
/* Name of the shard as in the config; NULL for an index out of range. Lives as long as the cluster. */
MOSAIC_API const char *mosaic_shard_name(const mosaic_cluster *cluster, size_t shard);
/* The libpq connection string of a shard, as in the config. Lives as long as the cluster. */
MOSAIC_API const char *mosaic_shard_conninfo(const mosaic_cluster *cluster, size_t shard);
/* The map's epoch: grows at each change of the map. */
MOSAIC_API uint64_t mosaic_epoch(const mosaic_cluster *cluster);

/* Where a key lives. */
typedef struct mosaic_place {
    uint32_t bucket;
    size_t shard;
} mosaic_place;

/* Computes, without asking a server, where a row of a table with this key lives. */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_locate(mosaic_cluster *cluster, const char *table, mosaic_key key,
                                                         mosaic_place *place, mosaic_error *error);

/*
 * What if the cluster had `shards` shards of equal weight: the owner of each bucket of the table, by the fewest moves
 * from today's map. Writes at most `capacity` owners (NULL for capacity 0); *buckets says how many there are.
 */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_plan_shards(mosaic_cluster *cluster, const char *table, size_t shards,
                                                              uint16_t *owners, size_t capacity, size_t *buckets,
                                                              mosaic_error *error);

/* ---- connections ------------------------------------------------------------------------------------ */

/*
 * A connection from the shard's pool, idle and outside a transaction. Waits while the pool is empty and full in use,
 * at most timeout_ms. It must go back by mosaic_release, in whatever state: a connection that is broken, in a
 * transaction or busy is closed there rather than reused.
 */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_acquire(mosaic_cluster *cluster, size_t shard, int timeout_ms,
                                                          PGconn **connection, mosaic_error *error);
/* The same for the shard that owns a key. */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_acquire_key(mosaic_cluster *cluster, const char *table,
                                                              mosaic_key key, int timeout_ms, PGconn **connection,
                                                              mosaic_error *error);
MOSAIC_API void mosaic_release(mosaic_cluster *cluster, PGconn *connection);

/* ---- statements ------------------------------------------------------------------------------------- */

/* As the arguments of libpq's PQexecParams. With count 0, types, values, lengths and formats may be NULL. */
typedef struct mosaic_statement {
    const char *sql;
    int count;
    const unsigned int *types; /* OIDs, or NULL: the server infers them */
    const char *const *values;
    const int *lengths;
    const int *formats;
    int result_format; /* 0 text, 1 binary */
} mosaic_statement;

/* One parameterised statement on the shard that owns the key. On MOSAIC_OK the caller owns *result (PQclear). */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_exec(mosaic_cluster *cluster, const char *table, mosaic_key key,
                                                       const mosaic_statement *statement, int timeout_ms,
                                                       PGresult **result, mosaic_error *error);
/* The same on a shard given by its index. */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_exec_shard(mosaic_cluster *cluster, size_t shard,
                                                             const mosaic_statement *statement, int timeout_ms,
                                                             PGresult **result, mosaic_error *error);

/*
 * Called for each row: `row` is the row's number in `result`, which is only valid during the call.
 * Returning true stops the statement on all shards; the call then ends with MOSAIC_STOPPED.
 */
typedef bool (*mosaic_row_fn)(void *context, size_t shard, const PGresult *result, int row);

/*
 * Called once for each shard, at the end of its rows: `result` has the command tag (PQcmdTuples: rows affected) and the
 * columns, but no rows. It is only valid during the call. Not called for shards that were stopped early.
 */
typedef void (*mosaic_end_fn)(void *context, size_t shard, const PGresult *result);

/* DEFAULT is PostgreSQL's: NULLs come last, and first when descending. */
typedef enum mosaic_nulls { MOSAIC_NULLS_DEFAULT, MOSAIC_NULLS_FIRST, MOSAIC_NULLS_LAST } mosaic_nulls;

/* One column of the order in which rows of all shards are handed out. */
typedef struct mosaic_order {
    int column; /* of the result, from 0 */
    bool descending;
    mosaic_nulls nulls;
} mosaic_order;

typedef struct mosaic_scatter {
    mosaic_row_fn row; /* may be NULL */
    mosaic_end_fn end; /* may be NULL */
    void *context;     /* of both */
    /*
     * With order_count > 0 the statement's own ORDER BY must ask for the same order on each shard, and rows are merged
     * into it. Columns may be integers, numeric, float, bool, date, timestamp, timestamptz, uuid, bytea, and text whose
     * ORDER BY says COLLATE "C". A shard whose rows are found out of that order fails the call (UNSUPPORTED): a wrong
     * order is never handed out.
     */
    const mosaic_order *order;
    size_t order_count;
    uint64_t limit; /* of rows over all shards; 0: none. The shards are stopped when it is reached */
    int timeout_ms;
} mosaic_scatter;

/*
 * The statement on all shards at once. Rows come as they arrive, or merged. A shard that fails, fails the call and
 * stops the others; what a statement that writes has already committed on them stays (for all or nothing, use a
 * transaction). With scatter NULL, rows are thrown away.
 */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_exec_all(mosaic_cluster *cluster, const mosaic_statement *statement,
                                                           const mosaic_scatter *scatter, mosaic_error *error);

/* ---- batches ---------------------------------------------------------------------------------------- */

/* Keyed statements, grouped by shard and sent in libpq's pipeline mode, all shards at once. */
typedef struct mosaic_batch mosaic_batch;

/*
 * Called for each statement, in the order added per shard, up to and including the first that fails there (nothing of
 * that shard's part stays then). `result` is only valid during the call; the part is not committed before
 * mosaic_batch_run returns.
 */
typedef void (*mosaic_batch_fn)(void *context, size_t index, size_t shard, const PGresult *result);

MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_batch_new(mosaic_cluster *cluster, mosaic_batch **batch,
                                                            mosaic_error *error);
/* Adds a statement (copied). Its index is the count of those added before. MOSAIC_LIMIT beyond 64 MiB. */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_batch_add(mosaic_batch *batch, const char *table, mosaic_key key,
                                                            const mosaic_statement *statement, mosaic_error *error);
/*
 * Runs and empties the batch. Each shard's part is one transaction on that shard; the parts are not atomic together
 * (use a transaction for that). The first failure is reported; parts on other shards run to their end and are
 * committed, unless the failure came before anything was sent (a key, a shard that is down) or the deadline passed.
 */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_batch_run(mosaic_batch *batch, mosaic_batch_fn done, void *context,
                                                            int timeout_ms, mosaic_error *error);
MOSAIC_API void mosaic_batch_free(mosaic_batch *batch);

/* ---- transactions ----------------------------------------------------------------------------------- */

typedef struct mosaic_transaction mosaic_transaction;

typedef enum mosaic_atomicity {
    MOSAIC_ONE_SHARD, /* a statement for a second shard is refused, without harm to what was done */
    MOSAIC_TWO_PHASE  /* COMMIT is two-phase when more than one shard was used */
} mosaic_atomicity;

MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_begin(mosaic_cluster *cluster, mosaic_atomicity atomicity,
                                                        mosaic_transaction **transaction, mosaic_error *error);
/*
 * A shard joins the transaction at its first statement. After a statement has failed only mosaic_rollback is left; a
 * call that was refused before anything was sent does no harm. Statements that begin or end transactions are refused.
 */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_transaction_exec(mosaic_transaction *transaction, const char *table,
                                                                   mosaic_key key, const mosaic_statement *statement,
                                                                   int timeout_ms, PGresult **result,
                                                                   mosaic_error *error);
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_transaction_exec_shard(mosaic_transaction *transaction, size_t shard,
                                                                         const mosaic_statement *statement,
                                                                         int timeout_ms, PGresult **result,
                                                                         mosaic_error *error);
/*
 * Ends and frees the transaction, also on failure. MOSAIC_IN_DOUBT only where the decider could not be asked within the
 * deadline: `pgmosaic doctor`, or any later open of the cluster by `doctor`, settles it one way for all shards.
 * On MOSAIC_OK error->hint is "", or a warning to pass on: all is committed, but a shard went down before it could be
 * told to finish its part, whose rows stay locked and unseen until `pgmosaic doctor` is run when it is up.
 */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_commit(mosaic_transaction *transaction, int timeout_ms,
                                                         mosaic_error *error);
/* Ends and frees the transaction without a trace. NULL is fine. */
MOSAIC_API void mosaic_rollback(mosaic_transaction *transaction);

/* ---- event loops ------------------------------------------------------------------------------------ */

/*
 * A call in flight, for programs with a loop of their own. Start it, wait for what mosaic_call_io says, step it,
 * until the step answers something other than MOSAIC_AGAIN; then take the result, and free it.
 */
typedef struct mosaic_call mosaic_call;

typedef struct mosaic_io {
    int fd;
    bool want_read;
    bool want_write;
} mosaic_io;

MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_call_exec(mosaic_cluster *cluster, const char *table, mosaic_key key,
                                                            const mosaic_statement *statement, int timeout_ms,
                                                            mosaic_call **call, mosaic_error *error);
/* The scatter's row callback runs inside mosaic_call_step. */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_call_exec_all(mosaic_cluster *cluster,
                                                                const mosaic_statement *statement,
                                                                const mosaic_scatter *scatter, mosaic_call **call,
                                                                mosaic_error *error);
/* Never blocks. MOSAIC_AGAIN, or how the call ended. */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_call_step(mosaic_call *call, mosaic_error *error);
/* Writes at most `capacity` entries and returns how many there are; they change with every step. */
MOSAIC_API size_t mosaic_call_io(const mosaic_call *call, mosaic_io *io, size_t capacity);
/* Milliseconds until the call wants to be stepped even if no socket is ready (deadline, backoff). */
MOSAIC_API int mosaic_call_wait_ms(const mosaic_call *call);
/* The result of a finished mosaic_call_exec, now the caller's; NULL for mosaic_call_exec_all. */
MOSAIC_API PGresult *mosaic_call_take_result(mosaic_call *call);
/* Also cancels a call that has not finished. NULL is fine. */
MOSAIC_API void mosaic_call_free(mosaic_call *call);

/* ---- loading ---------------------------------------------------------------------------------------- */

typedef enum mosaic_format { MOSAIC_CSV, MOSAIC_TEXT, MOSAIC_BINARY } mosaic_format;

/* Progress of a load, for a bar. */
typedef struct mosaic_progress {
    uint64_t rows; /* sent; at the end of a load that is kept: stored, without those that a trigger has left out */
    uint64_t bytes;
    uint64_t bad_rows;
} mosaic_progress;

typedef struct mosaic_load {
    /* Writes at most `size` bytes (at least 16 KiB) to `buffer` and returns how many; 0 at the end, -1 on failure. */
    ptrdiff_t (*read)(void *context, void *buffer, size_t size);
    void *context;
    mosaic_format format;
    bool no_header;             /* CSV: the first row is data */
    bool replace;               /* empty the table first (TRUNCATE), in the same transactions */
    char delimiter;             /* 0: the format's own */
    char quote;                 /* CSV; 0: " */
    char escape;                /* CSV; 0: the quote */
    const char *null_text;      /* NULL: the format's own */
    const char *const *columns; /* of the rows, in order; NULL: the header's, else the table's */
    size_t column_count;
    size_t row_limit;   /* bytes; 0: 32 MiB */
    const char *source; /* name of the input, for messages ("users.csv:12: ..."); NULL: "input" */
    int timeout_ms;     /* a shard that takes nothing for so long fails the load; 0: the cluster's default */
    /* With bad_row set, rows that are refused go there and the good ones are kept; else the first one fails the load.
     */
    void (*bad_row)(void *context, uint64_t line, const char *row, size_t size, const mosaic_error *why);
    void (*progress)(void *context, const mosaic_progress *progress); /* a few times a second; may be NULL */
    void *callback_context;                                           /* of bad_row and progress */
    const volatile int *interrupted; /* when it becomes non-zero, the load stops and nothing is kept; may be NULL */
} mosaic_load;

/*
 * Splits rows by key and streams them to all shards at once; a reference table is loaded on every shard. All or
 * nothing across shards, by two-phase commit. *done (may be NULL) has the counts, also after a failure. On MOSAIC_OK
 * error->hint is as mosaic_commit leaves it.
 */
MOSAIC_API MOSAIC_MUST_CHECK mosaic_status mosaic_load_table(mosaic_cluster *cluster, const char *table,
                                                             const mosaic_load *load, mosaic_progress *done,
                                                             mosaic_error *error);

#ifdef __cplusplus
}
#endif
#endif
