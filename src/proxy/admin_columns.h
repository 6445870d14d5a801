/*
 * The columns of SHOW: X(name, TEXT or NUMBER, what it says). Names are PgBouncer's where the thing is the same; what
 * is pgmosaic's own comes last. Descriptions of result sets and docs/reference/proxy-admin.md come from these lists.
 */
#ifndef MOSAIC_PROXY_ADMIN_COLUMNS_H
#define MOSAIC_PROXY_ADMIN_COLUMNS_H

#include "proxy/admin_command.h"
#include "proxy/admin_table.h"

#define SHOW_HELP_COLUMNS(X)         \
    X(command, TEXT, "what to type") \
    X(meaning, TEXT, "what it does") \
    X(users, TEXT, "who may: stats_users and admin_users, or admin_users alone")

#define SHOW_POOLS_COLUMNS(X)                                                                                     \
    X(database, TEXT, "the cluster")                                                                              \
    X(user, TEXT, "who logged in")                                                                                \
    X(cl_active, NUMBER, "clients that use a server connection, or (shard is empty) use none and wait for none")  \
    X(cl_waiting, NUMBER, "clients that wait for a server connection")                                            \
    X(cl_active_cancel_req, NUMBER, "cancel requests that were sent to the shard and have not ended")             \
    X(cl_waiting_cancel_req, NUMBER, "cancel requests not sent yet")                                              \
    X(sv_active, NUMBER, "server connections in use by a client")                                                 \
    X(sv_active_cancel, NUMBER, "server connections that carry a cancel request")                                 \
    X(sv_being_canceled, NUMBER, "server connections that wait for cancel requests sent to them to end")          \
    X(sv_idle, NUMBER, "server connections ready for use")                                                        \
    X(sv_used, NUMBER, "server connections that belong to one client's session and are not in use at the moment") \
    X(sv_tested, NUMBER, "server connections that are being reset or asked whether they are well")                \
    X(sv_login, NUMBER, "server connections that are being made")                                                 \
    X(maxwait, NUMBER, "how long the client that waits longest has waited, in whole seconds")                     \
    X(maxwait_us, NUMBER, "its rest, in microseconds")                                                            \
    X(pool_mode, TEXT, "transaction or session")                                                                  \
    X(shard, TEXT, "where the server connections lead; empty: clients that use none")

#define SHOW_CLIENTS_COLUMNS(X)                                                            \
    X(type, TEXT, "C")                                                                     \
    X(user, TEXT, "who logged in")                                                         \
    X(database, TEXT, "the database that was asked for")                                   \
    X(state, TEXT, "active (uses a server connection), idle, waiting (for one), or login") \
    X(addr, TEXT, "the client's address; unix: a Unix socket")                             \
    X(port, NUMBER, "and port")                                                            \
    X(local_addr, TEXT, "the proxy's end")                                                 \
    X(local_port, NUMBER, "and port")                                                      \
    X(connect_time, TEXT, "when it connected")                                             \
    X(request_time, TEXT, "when its last transaction or wait began")                       \
    X(wait, NUMBER, "how long it has waited for a server connection, in whole seconds")    \
    X(wait_us, NUMBER, "the rest of that, in microseconds")                                \
    X(link, NUMBER, "id of the server connection that it uses; NULL: none")                \
    X(remote_pid, NUMBER, "process number that its cancel key names")                      \
    X(tls, TEXT, "version and cipher; empty: no TLS")                                      \
    X(application_name, TEXT, "as the client calls itself")                                \
    X(prepared_statements, NUMBER, "statements that it has prepared")                      \
    X(id, NUMBER, "the number that KILL_CLIENT takes")                                     \
    X(shard, TEXT, "where its transaction is; empty: nowhere")                             \
    X(thread, NUMBER, "the thread that serves it, from 0")

#define SHOW_SERVERS_COLUMNS(X)                                             \
    X(type, TEXT, "S")                                                      \
    X(user, TEXT, "the role on the shard")                                  \
    X(database, TEXT, "the database on the shard")                          \
    X(state, TEXT, "active, idle, used (one client's own), tested, or new") \
    X(addr, TEXT, "the shard's address")                                    \
    X(port, NUMBER, "and port")                                             \
    X(local_addr, TEXT, "the proxy's end")                                  \
    X(local_port, NUMBER, "and port")                                       \
    X(connect_time, TEXT, "when the connection was begun")                  \
    X(request_time, TEXT, "when it was last in use")                        \
    X(close_needed, NUMBER, "1: it is closed as soon as it is free")        \
    X(link, NUMBER, "id of the client that uses it; NULL: none")            \
    X(remote_pid, NUMBER, "process number of the backend")                  \
    X(tls, TEXT, "version and cipher; empty: no TLS")                       \
    X(application_name, TEXT, "of the client that uses it")                 \
    X(prepared_statements, NUMBER, "statements that are prepared on it")    \
    X(id, NUMBER, "its number")                                             \
    X(shard, TEXT, "the shard")                                             \
    X(thread, NUMBER, "the thread that has it, from 0")

#define STATS_TOTAL_COLUMNS(X)                                                              \
    X(total_xact_count, NUMBER, "transactions ended")                                       \
    X(total_query_count, NUMBER, "statements answered")                                     \
    X(total_server_assignment_count, NUMBER, "times that a client got a server connection") \
    X(total_received, NUMBER, "bytes received from the shard")                              \
    X(total_sent, NUMBER, "bytes sent to the shard")                                        \
    X(total_xact_time, NUMBER, "microseconds in transactions")                              \
    X(total_wait_time, NUMBER, "microseconds that clients waited for a server connection")  \
    X(total_errors, NUMBER, "errors that the shard sent")

#define STATS_AVERAGE_COLUMNS(X)                                                                   \
    X(avg_xact_count, NUMBER, "transactions a second")                                             \
    X(avg_query_count, NUMBER, "statements a second")                                              \
    X(avg_server_assignment_count, NUMBER, "times a second that a client got a server connection") \
    X(avg_recv, NUMBER, "bytes received a second")                                                 \
    X(avg_sent, NUMBER, "bytes sent a second")                                                     \
    X(avg_xact_time, NUMBER, "microseconds of a transaction")                                      \
    X(avg_wait_time, NUMBER, "microseconds waited for each server connection given")               \
    X(avg_errors, NUMBER, "errors a second")

#define STATS_NAME_COLUMNS(X)        \
    X(database, TEXT, "the cluster") \
    X(shard, TEXT, "the shard; empty: all of them")

#define SHOW_STATS_TOTALS_COLUMNS(X) STATS_NAME_COLUMNS(X) STATS_TOTAL_COLUMNS(X)
#define SHOW_STATS_AVERAGES_COLUMNS(X) STATS_NAME_COLUMNS(X) STATS_AVERAGE_COLUMNS(X)
#define SHOW_STATS_COLUMNS(X) STATS_NAME_COLUMNS(X) STATS_TOTAL_COLUMNS(X) STATS_AVERAGE_COLUMNS(X)

#define SHOW_TOTALS_COLUMNS(X)          \
    X(name, TEXT, "the counter")        \
    X(value, NUMBER, "since the start") \
    X(meaning, TEXT, "what it counts")

#define SHOW_TIERS_COLUMNS(X)                                                                             \
    X(tier, TEXT, "1: one shard; 2: several, merged; 3: the same, combined; 4: the coordinator; refused") \
    X(statements, NUMBER, "statements that ended, since the start")                                       \
    X(shards, TEXT, "how many shards one asked, the mean; NULL: not known, or none")                      \
    X(rows, NUMBER, "rows given to clients; NULL: not counted")                                           \
    X(bytes, NUMBER, "bytes received of servers; NULL: none")                                             \
    X(total_time, NUMBER, "microseconds, of all; of tier 1: in transactions")                             \
    X(mean_time, NUMBER, "microseconds of one; NULL: there was none")

#define SHOW_SHARDS_COLUMNS(X)                                                                                     \
    X(shard, TEXT, "its name in mosaic.yaml")                                                                      \
    X(host, TEXT, "where it is: hosts of its conninfo")                                                            \
    X(port, TEXT, "and ports")                                                                                     \
    X(database, TEXT, "the database there")                                                                        \
    X(state, TEXT, "active, paused, or the reason why it is not reached")                                          \
    X(current_connections, NUMBER, "server connections of this proxy")                                             \
    X(max_connections, NUMBER, "most that this proxy opens (max_shard_connections); 0: no limit")                  \
    X(budget, NUMBER, "most that the pools of the users known so far may open: users times pool_size and reserve") \
    X(server_max, NUMBER, "what the shard allows: max_connections less the reserved ones; NULL: not known")        \
    X(over_budget, NUMBER, "1: budget is above server_max; the log says what to set")                              \
    X(role, TEXT, "home: where tables that are not sharded are; empty: any other")

#define SHOW_MAP_COLUMNS(X)                               \
    X(table, TEXT, "the sharded table")                   \
    X(function, TEXT, "its sharding function")            \
    X(key, TEXT, "its key")                               \
    X(shard, TEXT, "a shard that owns buckets of it")     \
    X(buckets, NUMBER, "how many")                        \
    X(share, TEXT, "the part of all buckets, in percent") \
    X(first_bucket, NUMBER, "the lowest of them")         \
    X(epoch, NUMBER, "of the map; it grows with each change")

#define SHOW_PLANS_COLUMNS(X)                                                        \
    X(uses, NUMBER, "how often it was asked for by this text")                       \
    X(plan, TEXT, "what is known of it: what it does, and the tables that it names") \
    X(query, TEXT, "the text, its first 500 bytes")                                  \
    X(thread, NUMBER, "the thread whose cache has it")

#define SHOW_USERS_COLUMNS(X)                                                               \
    X(name, TEXT, "the user")                                                               \
    X(pool_size, NUMBER, "server connections at each shard")                                \
    X(reserve_pool_size, NUMBER, "more of them, for clients that wait")                     \
    X(pool_mode, TEXT, "transaction or session")                                            \
    X(max_user_connections, NUMBER, "most server connections over all shards; 0: no limit") \
    X(current_connections, NUMBER, "server connections now")                                \
    X(max_user_client_connections, NUMBER, "most clients; 0: no limit")                     \
    X(current_client_connections, NUMBER, "clients now")

#define SHOW_DATABASES_COLUMNS(X)                                                     \
    X(name, TEXT, "what clients ask for")                                             \
    X(host, TEXT, "hosts of the home shard")                                          \
    X(port, TEXT, "and ports")                                                        \
    X(database, TEXT, "the database there")                                           \
    X(force_user, TEXT, "always NULL: each client reaches the shards as himself")     \
    X(pool_size, NUMBER, "server connections of each user at each shard")             \
    X(min_pool_size, NUMBER, "of them, kept open")                                    \
    X(reserve_pool_size, NUMBER, "more of them, for clients that wait")               \
    X(pool_mode, TEXT, "transaction or session")                                      \
    X(max_connections, NUMBER, "most server connections for each shard; 0: no limit") \
    X(current_connections, NUMBER, "server connections now, over all shards")         \
    X(max_client_connections, NUMBER, "most clients")                                 \
    X(current_client_connections, NUMBER, "clients now")                              \
    X(paused, NUMBER, "1: every shard is paused")                                     \
    X(disabled, NUMBER, "1: new logins are refused")                                  \
    X(shards, NUMBER, "how many shards it has")

#define SHOW_LISTS_COLUMNS(X)        \
    X(list, TEXT, "what is counted") \
    X(items, NUMBER, "how many")

#define SHOW_CONFIG_COLUMNS(X)                                    \
    X(key, TEXT, "the setting")                                   \
    X(value, TEXT, "what it is; NULL: not set")                   \
    X(default, TEXT, "what it is where mosaic.yaml says nothing") \
    X(changeable, TEXT, "yes: SET and RELOAD change it; no: a restart or takeover does")

#define SHOW_MEM_COLUMNS(X)      \
    X(name, TEXT, "what has it") \
    X(bytes, NUMBER, "how much")

#define SHOW_STATE_COLUMNS(X)                   \
    X(key, TEXT, "active, paused, or stopping") \
    X(value, TEXT, "yes or no")

#define SHOW_VERSION_COLUMNS(X) X(version, TEXT, "pgmosaic and its version")

/* X(command, its list) */
#define SHOW_LIST(X)                                    \
    X(SHOW_HELP, SHOW_HELP_COLUMNS)                     \
    X(SHOW_POOLS, SHOW_POOLS_COLUMNS)                   \
    X(SHOW_CLIENTS, SHOW_CLIENTS_COLUMNS)               \
    X(SHOW_SERVERS, SHOW_SERVERS_COLUMNS)               \
    X(SHOW_STATS, SHOW_STATS_COLUMNS)                   \
    X(SHOW_STATS_TOTALS, SHOW_STATS_TOTALS_COLUMNS)     \
    X(SHOW_STATS_AVERAGES, SHOW_STATS_AVERAGES_COLUMNS) \
    X(SHOW_TOTALS, SHOW_TOTALS_COLUMNS)                 \
    X(SHOW_TIERS, SHOW_TIERS_COLUMNS)                   \
    X(SHOW_SHARDS, SHOW_SHARDS_COLUMNS)                 \
    X(SHOW_MAP, SHOW_MAP_COLUMNS)                       \
    X(SHOW_PLANS, SHOW_PLANS_COLUMNS)                   \
    X(SHOW_USERS, SHOW_USERS_COLUMNS)                   \
    X(SHOW_DATABASES, SHOW_DATABASES_COLUMNS)           \
    X(SHOW_LISTS, SHOW_LISTS_COLUMNS)                   \
    X(SHOW_CONFIG, SHOW_CONFIG_COLUMNS)                 \
    X(SHOW_MEM, SHOW_MEM_COLUMNS)                       \
    X(SHOW_STATE, SHOW_STATE_COLUMNS)                   \
    X(SHOW_VERSION, SHOW_VERSION_COLUMNS)

/* The columns of a command; NULL and count 0 for one that has no rows. */
const struct admin_column *admin_columns(enum admin_command command, uint16_t *count);
/* What the i-th column says. */
const char *admin_column_help(enum admin_command command, uint16_t i);

#endif
