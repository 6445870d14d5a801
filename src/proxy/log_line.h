/*
 * A line of the log: an event with what is known of it → text or JSON, always one line, valid UTF-8, without passwords.
 * Pure: the time is given in.
 */
#ifndef MOSAIC_PROXY_LOG_LINE_H
#define MOSAIC_PROXY_LOG_LINE_H

#include "base/buffer.h"
#include "base/error.h"
#include "config/settings.h"

/* X(identifier, name in JSON, level, the setting that turns it off, what happened) */
#define LOG_EVENT_LIST(X)                                                                                           \
    X(START, "start", INFO, NONE, "the proxy starts")                                                               \
    X(READY, "ready", INFO, NONE, "it listens, and serves clients")                                                 \
    X(STOP, "stop", INFO, NONE, "it was asked to stop, or has stopped")                                             \
    X(RELOAD, "reload", INFO, NONE, "the config was read again: what has changed, and what needs a restart")        \
    X(RELOAD_FAILED, "reload_failed", ERROR, NONE, "it could not be read, or is wrong: what was in force stays")    \
    X(TAKEOVER, "takeover", INFO, NONE, "listening sockets were handed over to another process, or taken from one") \
    X(LOGIN, "login", INFO, log_connections, "a client logged in")                                                  \
    X(LOGIN_FAILED, "login_failed", WARNING, NONE, "a login was refused")                                           \
    X(DISCONNECT, "disconnect", INFO, log_disconnections, "a client's connection ended")                            \
    X(CLIENT_CLOSED, "client_closed", WARNING, log_disconnections, "the proxy ended a client's connection")         \
    X(REFUSED, "refused", WARNING, log_pooler_errors, "the proxy answered a statement by an error of its own")      \
    X(STATEMENT, "statement", INFO, log_statements, "a statement, with its plan")                                   \
    X(PARTIAL, "partial", WARNING, NONE, "rows of shards that are not reached were left out: partial_results")      \
    X(SLOW, "slow", INFO, NONE, "a statement lasted log_min_duration or longer")                                    \
    X(SCATTER, "scatter", WARNING, NONE, "a statement that one shard cannot answer, where `scatter` is warn")       \
    X(SERVER_OPENED, "server_opened", DEBUG, NONE, "a server connection was made")                                  \
    X(SERVER_CLOSED, "server_closed", DEBUG, NONE, "a server connection was closed")                                \
    X(SERVER_FAILED, "server_failed", WARNING, NONE, "a server connection could not be made, or broke")             \
    X(SHARD_DOWN, "shard_down", ERROR, NONE, "a shard is not reached: its statements fail, all others go on")       \
    X(SHARD_UP, "shard_up", INFO, NONE, "it is reached again")                                                      \
    X(MAP, "map", INFO, NONE, "the map or the schema was read, or has changed")                                     \
    X(COORDINATOR, "coordinator", WARNING, NONE, "the coordinator could not be brought up to date: tiers 3 and 4")  \
    X(CATALOG, "catalog", WARNING, NONE, "the catalog is not reached: the last map serves on")                      \
    X(BUDGET, "budget", WARNING, NONE, "the pools may open more connections than a shard allows")                   \
    X(ADMIN, "admin", INFO, NONE, "a command was given in the admin database")                                      \
    X(CANCEL, "cancel", DEBUG, NONE, "a cancel request came")                                                       \
    X(RECOVERY, "recovery", INFO, NONE, "a transaction that a commit over several shards left was settled")         \
    X(IN_DOUBT, "in_doubt", WARNING, NONE, "such a one cannot be settled yet, or a shard not be asked for them")    \
    X(DEADLOCK, "deadlock", WARNING, NONE, "a statement was ended because of a deadlock over several shards")       \
    X(DROPPED, "dropped", WARNING, NONE, "lines were left out: the log could not be written fast enough")           \
    X(PROBLEM, "problem", ERROR, NONE, "something of the operating system's failed")

enum log_event {
#define X(identifier, name, level, setting, what) EVENT_##identifier,
    LOG_EVENT_LIST(X)
#undef X
        EVENT_COUNT
};

/* What is known; zero and NULL: not. */
struct log_entry {
    const char *message;       /* without a full stop */
    const mosaic_error *error; /* its message, SQLSTATE, detail, hint and shard are logged */
    uint64_t client, server;   /* their numbers, as SHOW has them */
    const char *user, *database, *shard, *address, *application_name;
    const char *statement; /* its text: passwords are masked, and what is too long is cut off */
    size_t statement_size;
    const char *plan;
    int tier;      /* of the statement's plan */
    size_t shards; /* that it asks, or has asked */
    bool has_rows; /* `rows` is known */
    uint64_t rows;
    const char *trace;   /* trace id */
    int64_t duration_us; /* of a session, a statement, a wait */
};

enum { LOG_LINE_MOST = 16384, LOG_STATEMENT_MOST = 8192 };

/* Adds the line with its newline. `us` is the time of day; thread < 0: none of the workers. `journal`: systemd's
 * journal reads it, and knows the time itself. */
void log_line(struct buffer *out, enum log_format format, bool journal, enum log_event event, int64_t us, int thread,
              const struct log_entry *entry);
/*
 * A text with what may be a password replaced by ***: user:secret@ of a URI, password=… of a connection string, and in
 * a statement, once it has named a password, every literal behind.
 */
void log_mask(struct buffer *out, const char *text, size_t size, bool is_statement);
const char *log_event_name(enum log_event event);
enum log_level log_event_level(enum log_event event);

#endif
