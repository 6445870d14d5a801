/*
 * The commands of the database `pgmosaic`, the admin console. The list stands once: reading, SHOW HELP, who may use
 * what, and docs/reference/proxy-admin.md come from it. Names and columns are PgBouncer's where the thing is the same
 * (https://www.pgbouncer.org/usage.html#admin-console).
 */
#ifndef MOSAIC_PROXY_ADMIN_COMMAND_H
#define MOSAIC_PROXY_ADMIN_COMMAND_H

#include "base/error.h"
#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What stands behind the words. */
enum admin_argument {
    ADMIN_NOTHING,
    ADMIN_SHARD,      /* a shard's name; none, or the cluster's name: all shards */
    ADMIN_TABLE,      /* a table's name; none: all */
    ADMIN_ID,         /* the number of a client, as SHOW CLIENTS has it */
    ADMIN_ASSIGNMENT, /* name = value */
};

/* X(identifier, words, argument, whoever may SHOW may use it, help) */
#define ADMIN_COMMAND_LIST(X)                                                                                       \
    X(SHOW_HELP, "SHOW HELP", NOTHING, true, "these commands")                                                      \
    X(SHOW_POOLS, "SHOW POOLS", NOTHING, true, "clients and server connections of each user and shard")             \
    X(SHOW_CLIENTS, "SHOW CLIENTS", NOTHING, true, "the clients, one a row")                                        \
    X(SHOW_SERVERS, "SHOW SERVERS", NOTHING, true, "the server connections, one a row")                             \
    X(SHOW_STATS, "SHOW STATS", NOTHING, true, "counters of each shard since the start, and over the last period")  \
    X(SHOW_STATS_TOTALS, "SHOW STATS_TOTALS", NOTHING, true, "of them, those since the start")                      \
    X(SHOW_STATS_AVERAGES, "SHOW STATS_AVERAGES", NOTHING, true, "of them, those over the last stats_period")       \
    X(SHOW_TOTALS, "SHOW TOTALS", NOTHING, true, "every counter of the proxy, one a row")                           \
    X(SHOW_TIERS, "SHOW TIERS", NOTHING, true, "statements by how many shards they need: time, rows, bytes")        \
    X(SHOW_SHARDS, "SHOW SHARDS", NOTHING, true, "the shards: address, state, connections against max_connections") \
    X(SHOW_MAP, "SHOW MAP", TABLE, true, "how many buckets of each sharded table each shard owns, and the epoch")   \
    X(SHOW_PLANS, "SHOW PLANS", NOTHING, true, "the statements that the plan caches hold, the most used first")     \
    X(SHOW_USERS, "SHOW USERS", NOTHING, true, "users that have logged in, their clients and server connections")   \
    X(SHOW_DATABASES, "SHOW DATABASES", NOTHING, true, "the cluster, as clients name it")                           \
    X(SHOW_LISTS, "SHOW LISTS", NOTHING, true, "how many there are of each kind of thing")                          \
    X(SHOW_CONFIG, "SHOW CONFIG", NOTHING, true, "the settings: value, default, and whether RELOAD changes it")     \
    X(SHOW_MEM, "SHOW MEM", NOTHING, true, "memory of the process and of the plan caches")                          \
    X(SHOW_STATE, "SHOW STATE", NOTHING, true, "active, paused or stopping")                                        \
    X(SHOW_VERSION, "SHOW VERSION", NOTHING, true, "the version of pgmosaic")                                       \
    X(RELOAD, "RELOAD", NOTHING, false, "read mosaic.yaml, certificates and users again; open the log anew")        \
    X(PAUSE, "PAUSE", SHARD, false,                                                                                 \
      "let transactions end, close the server connections, and hold back new ones; answers when all are closed")    \
    X(RESUME, "RESUME", SHARD, false, "end a PAUSE or KILL")                                                        \
    X(RECONNECT, "RECONNECT", SHARD, false,                                                                         \
      "find out anew where the shards are, and close each server connection when its transaction ends")             \
    X(WAIT_CLOSE, "WAIT_CLOSE", SHARD, false, "answer when the connections that RECONNECT named are closed")        \
    X(KILL, "KILL", SHARD, false, "close all server connections, and the clients in them, at once; then as PAUSE")  \
    X(KILL_CLIENT, "KILL_CLIENT", ID, false, "close one client")                                                    \
    X(DISABLE, "DISABLE", NOTHING, false, "refuse new logins, but to this database")                                \
    X(ENABLE, "ENABLE", NOTHING, false, "end a DISABLE")                                                            \
    X(SET, "SET", ASSIGNMENT, false, "change a setting until the next RELOAD or stop: SET pool_size = 30")          \
    X(SHUTDOWN_WAIT_FOR_CLIENTS, "SHUTDOWN WAIT_FOR_CLIENTS", NOTHING, false,                                       \
      "stop listening, and stop when the last client has gone")                                                     \
    X(SHUTDOWN_WAIT_FOR_SERVERS, "SHUTDOWN WAIT_FOR_SERVERS", NOTHING, false,                                       \
      "stop when the transactions have ended, at most after shutdown_timeout")                                      \
    X(SHUTDOWN, "SHUTDOWN", NOTHING, false, "stop at once")

enum admin_command {
#define X(identifier, words, argument, shows, help) ADMIN_##identifier,
    ADMIN_COMMAND_LIST(X)
#undef X
    /* What drivers send of their own accord, and expect to be done. */
    ADMIN_EMPTY,
    ADMIN_BEGIN,
    ADMIN_COMMIT,
    ADMIN_ROLLBACK,
    ADMIN_SET_DRIVER, /* SET client_encoding, extra_float_digits, application_name … */
    ADMIN_COMMAND_COUNT
};

struct admin_info {
    const char *words, *help;
    enum admin_argument argument;
    bool shows; /* who is in stats_users may use it too */
};

/* A command as read. */
struct admin_read {
    enum admin_command command;
    const char *argument; /* unquoted; NULL: none. Of ADMIN_ASSIGNMENT: the setting's name */
    const char *value;    /* of ADMIN_ASSIGNMENT */
    uint64_t id;          /* of ADMIN_ID */
};

/* Of the listed ones: NULL for what drivers send. */
const struct admin_info *admin_info(enum admin_command command);
/* The tag of its CommandComplete. */
const char *admin_tag(enum admin_command command);

/*
 * Reads one command: words in any case, blanks, an argument bare, in '' or in "", a final semicolon. MOSAIC_USAGE with
 * SQLSTATE 42601 and the nearest command for what is none; a second command behind the semicolon is refused. What
 * `read` points to lies in the arena.
 */
MOSAIC_MUST_CHECK mosaic_status admin_read(struct arena *arena, const char *text, struct admin_read *read,
                                           mosaic_error *error);

#endif
