/*
 * Counters of the proxy, for SHOW and for metrics. Each worker has its own, which it alone writes: readers take them
 * with relaxed atomic loads and add them up.
 */
#ifndef MOSAIC_PROXY_STATS_H
#define MOSAIC_PROXY_STATS_H

#include "proxy/histogram.h"

#include <stdatomic.h>
#include <stdint.h>

/* X(name, what it counts) */
#define PROXY_COUNTER_LIST(X)                                                               \
    X(clients_accepted, "connections accepted")                                             \
    X(clients_logged_in, "logins that succeeded")                                           \
    X(clients_refused, "logins that failed, or were over a limit")                          \
    X(bytes_from_clients, "bytes received from clients")                                    \
    X(waits, "times that a client had to wait for a server")                                \
    X(refusals, "statements refused because of where their rows are, or of scatter")        \
    X(second_shard, "statements refused because the transaction was open on another shard") \
    X(server_logins, "server connections made")                                             \
    X(server_login_failures, "server connections that failed")                              \
    X(cancels, "cancel requests that reached a server")                                     \
    X(replays, "times that settings were replayed on a server connection")                  \
    X(prepared_hits, "statements that the server had already when a client prepared them")  \
    X(prepared_parses, "statements that had to be prepared on a server")                    \
    X(deadlocks, "statements ended because of a deadlock over several shards")              \
    X(query_timeouts, "statements cancelled by query_timeout")                              \
    X(wait_timeouts, "clients that waited longer than query_wait_timeout")                  \
    X(idle_timeouts, "clients closed by client_idle_timeout or idle_transaction_timeout")

struct counters {
#define X(name, help) _Atomic uint64_t name;
    PROXY_COUNTER_LIST(X)
#undef X
};

/* X(name, what it counts): of each shard */
#define SHARD_COUNTER_LIST(X)                                              \
    X(transactions, "transactions ended")                                  \
    X(queries, "statements answered")                                      \
    X(assignments, "times that a client got a server connection")          \
    X(bytes_received, "bytes received from the shard")                     \
    X(bytes_sent, "bytes sent to the shard")                               \
    X(transaction_us, "microseconds in transactions")                      \
    X(wait_us, "microseconds that clients waited for a server connection") \
    X(errors, "errors that the shard sent")

/* A worker has one for each shard, by its slot (world.h). */
struct shard_counters {
#define X(name, help) _Atomic uint64_t name;
    SHARD_COUNTER_LIST(X)
#undef X
    struct histogram latency; /* of transactions */
};

/* X(name, what it counts): of each tier */
#define TIER_COUNTER_LIST(X)               \
    X(statements, "statements that ended") \
    X(shards, "shards that they asked")    \
    X(rows, "rows given to clients")       \
    X(bytes, "bytes received of servers")  \
    X(duration_us, "microseconds from asking to the end of answers")

/* Of tiers 2 to 4. What tier 1 did is what the shards did otherwise: nothing is counted for it. */
struct tier_counters {
#define X(name, help) _Atomic uint64_t name;
    TIER_COUNTER_LIST(X)
#undef X
};

/* What of the shards' counters (not the coordinator's) is of tiers 2 and 3. */
struct leg_counters {
    _Atomic uint64_t queries, bytes, duration_us;
};

enum { TIER_MOST = 4 };

/* SQLSTATE classes: two characters of 0-9 and A-Z. */
enum { ERROR_CLASSES = 36 * 36 };
struct error_counters {
    _Atomic uint64_t from_shards[ERROR_CLASSES], from_proxy[ERROR_CLASSES];
};
/* The number of an SQLSTATE's class; what is malformed counts as XX. */
static inline unsigned error_class(const char *sqlstate)
{
    unsigned number = 0;
    for (unsigned i = 0; i < 2; i++) {
        char c = sqlstate[i];
        if (c >= '0' && c <= '9')
            number = number * 36 + (unsigned)(c - '0');
        else if (c >= 'A' && c <= 'Z')
            number = number * 36 + (unsigned)(c - 'A' + 10);
        else
            return error_class("XX");
    }
    return number;
}

/* Of the worker that owns the counters: a plain add, no locked instruction. */
#define COUNT(counters, name, amount)                                                                         \
    atomic_store_explicit(&(counters)->name,                                                                  \
                          atomic_load_explicit(&(counters)->name, memory_order_relaxed) + (uint64_t)(amount), \
                          memory_order_relaxed)

/* Of any thread. */
#define COUNTED(counters, name) atomic_load_explicit(&(counters)->name, memory_order_relaxed)

#endif
