/*
 * Metrics in Prometheus's text format, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format). Pure: values → text.
 */
#ifndef MOSAIC_PROXY_METRICS_H
#define MOSAIC_PROXY_METRICS_H

#include "base/buffer.h"
#include "proxy/admin_show.h"
#include "proxy/recover.h"

/* X(identifier, name behind "pgmosaic_", type, help). A counter's name ends in _total. Beside these, each counter of
 * PROXY_COUNTER_LIST is a metric of its own. */
#define METRIC_LIST(X)                                                                                              \
    X(INFO, "info", "gauge", "1, with the version as a label")                                                      \
    X(START, "start_time_seconds", "gauge", "when the proxy started, in seconds since 1970")                        \
    X(CPU, "cpu_seconds_total", "counter", "CPU time of the process, user and system")                              \
    X(MEMORY, "resident_memory_bytes", "gauge", "memory of the process")                                            \
    X(STOPPING, "stopping", "gauge", "1 while a graceful stop waits for transactions")                              \
    X(CLIENTS, "clients", "gauge", "clients connected")                                                             \
    X(CLIENTS_MOST, "clients_max", "gauge", "most clients: max_client_conn")                                        \
    X(EPOCH, "map_epoch", "gauge", "epoch of the map in use")                                                       \
    X(SHARD_UP, "shard_up", "gauge", "1 if the last connection to the shard succeeded")                             \
    X(SHARD_PAUSED, "shard_paused", "gauge", "1 while the shard is paused")                                         \
    X(SHARD_CONNECTIONS, "shard_connections", "gauge", "server connections to the shard")                           \
    X(SHARD_BUDGET, "shard_connections_budget", "gauge", "most that the pools of the known users may open")         \
    X(SHARD_ALLOWED, "shard_connections_allowed", "gauge", "what the shard allows, less its reserved connections")  \
    X(TRANSACTIONS, "transactions_total", "counter", "transactions ended, by tier and shard")                       \
    X(QUERIES, "queries_total", "counter", "statements answered, by tier and shard")                                \
    X(ASSIGNMENTS, "server_assignments_total", "counter", "times that a client got a server connection")            \
    X(RECEIVED, "shard_received_bytes_total", "counter", "bytes received from the shard")                           \
    X(SENT, "shard_sent_bytes_total", "counter", "bytes sent to the shard")                                         \
    X(WAITED, "wait_seconds_total", "counter", "time that clients waited for a server connection")                  \
    X(SHARD_ERRORS, "shard_errors_total", "counter", "errors that the shard sent")                                  \
    X(LATENCY, "transaction_seconds", "histogram", "how long transactions took, by tier and shard")                 \
    X(POOL_CLIENTS, "pool_clients", "gauge", "clients of a user at a shard; shard empty: at none")                  \
    X(POOL_SERVERS, "pool_servers", "gauge", "server connections of a user at a shard")                             \
    X(POOL_MAXWAIT, "pool_maxwait_seconds", "gauge", "how long the client that waits longest has waited")           \
    X(PLANS, "plans_total", "counter", "statements that ended, by tier; refused: those not answered")               \
    X(PLAN_SHARDS, "plan_shards_total", "counter", "shards that they asked")                                        \
    X(PLAN_ROWS, "plan_rows_total", "counter", "rows that they gave clients")                                       \
    X(PLAN_RECEIVED, "plan_received_bytes_total", "counter", "bytes received of servers for them")                  \
    X(PLAN_TIME, "plan_seconds_total", "counter", "how long they took; of tier 1: time in transactions")            \
    X(PLAN_LOOKUPS, "plan_cache_lookups_total", "counter", "statements looked up: found by text, by shape, or new") \
    X(PLAN_ENTRIES, "plan_cache_entries", "gauge", "statements in the plan caches")                                 \
    X(PLAN_BYTES, "plan_cache_bytes", "gauge", "memory of the plan caches")                                         \
    X(RECOVERED, "recovered_total", "counter", "prepared transactions that recovery has settled, by outcome")       \
    X(IN_DOUBT, "in_doubt", "gauge", "prepared transactions that its last round could not settle")                  \
    X(ERRORS, "errors_total", "counter", "errors told to clients, by SQLSTATE class, from shards and from the proxy")

struct metrics_view {
    struct admin_view admin; /* settings, model, snapshot, totals, shards, clients, stopping */
    int64_t started_us;      /* time of day */
    uint64_t cpu_us, memory;
    struct recover_totals recovered;
    const uint64_t *shard_errors, *own_errors; /* ERROR_CLASSES each */
};

/* Adds all of it. MOSAIC_LIMIT when the buffer's maximum is reached. */
MOSAIC_MUST_CHECK mosaic_status metrics_write(struct buffer *out, const struct metrics_view *view, mosaic_error *error);

#endif
