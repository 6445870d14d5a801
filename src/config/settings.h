/*
 * The proxy's settings: the `proxy:` section of mosaic.yaml. The list stands once: parsing, defaults, bounds, RELOAD,
 * SHOW CONFIG and the reference page come from it. Names are PgBouncer's where the thing is the same.
 */
#ifndef MOSAIC_CONFIG_SETTINGS_H
#define MOSAIC_CONFIG_SETTINGS_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/model.h"

#include <stdint.h>

/* X(identifier, name as it is written) */
#define POOL_MODE_LIST(X)              \
    X(POOL_TRANSACTION, "transaction") \
    X(POOL_SESSION, "session")
#define AUTH_TYPE_LIST(X)          \
    X(AUTH_SCRAM, "scram-sha-256") \
    X(AUTH_MD5, "md5")             \
    X(AUTH_TRUST, "trust")         \
    X(AUTH_CERT, "cert")           \
    X(AUTH_HBA, "hba")
#define TLS_MODE_LIST(X)          \
    X(TLS_DISABLE, "disable")     \
    X(TLS_ALLOW, "allow")         \
    X(TLS_PREFER, "prefer")       \
    X(TLS_REQUIRE, "require")     \
    X(TLS_VERIFY_CA, "verify-ca") \
    X(TLS_VERIFY_FULL, "verify-full")
#define LOG_FORMAT_LIST(X) \
    X(LOG_TEXT, "text")    \
    X(LOG_JSON, "json")
#define LOG_LEVEL_LIST(X)           \
    X(LOG_LEVEL_DEBUG, "debug")     \
    X(LOG_LEVEL_INFO, "info")       \
    X(LOG_LEVEL_WARNING, "warning") \
    X(LOG_LEVEL_ERROR, "error")
#define SCATTER_MODE_LIST(X)  \
    X(SCATTER_ALLOW, "allow") \
    X(SCATTER_WARN, "warn")   \
    X(SCATTER_DENY, "deny")

#define X(identifier, name) identifier,
enum pool_mode { POOL_MODE_LIST(X) };
enum auth_type { AUTH_TYPE_LIST(X) };
enum tls_mode { TLS_MODE_LIST(X) };
enum log_format { LOG_FORMAT_LIST(X) };
enum log_level { LOG_LEVEL_LIST(X) };
enum scatter_mode { SCATTER_MODE_LIST(X) };
#undef X

/*
 * X(name, kind, default, least, most, reloads, help). Kinds: INT, MS and BYTES (with units: 5s, 500ms, 64kB; the value
 * is int64_t in milliseconds or bytes; a time without a unit is refused, for PgBouncer's are seconds and PostgreSQL's
 * mostly milliseconds), MODE (octal, of a file), BOOL, TEXT (NULL: not set), WORDS (a list of texts), and the enums
 * above. `reloads`: RELOAD applies a new value; else a restart or takeover does.
 */
#define PROXY_SETTING_LIST(X)                                                                                          \
    X(listen, WORDS, "127.0.0.1:6432", 0, 0, false, "addresses to listen on, host:port each")                          \
    X(unix_socket_dir, TEXT, "/tmp", 0, 0, false, "directory of the Unix socket; empty: none")                         \
    X(unix_socket_mode, MODE, "0777", 0, 0777, false, "its permissions")                                               \
    X(threads, INT, "0", 0, 256, false, "threads; 0: one for each processor")                                          \
    X(pid_file, TEXT, NULL, 0, 0, false, "where its process number is written; not set: nowhere")                      \
    X(control_socket, TEXT, NULL, 0, 0, false,                                                                         \
      "Unix socket for takeover and pgmosaic reload; not set: .pgmosaic.CLUSTER.HASH in unix_socket_dir")              \
    X(metrics_listen, TEXT, NULL, 0, 0, false, "address of the metrics' HTTP port (Prometheus); not set: none")        \
    X(pool_mode, POOL_MODE, "transaction", 0, 0, true, "when a server connection goes back: transaction or session")   \
    X(pool_size, INT, "20", 1, 10000, true, "server connections for each user and shard, over all threads")            \
    X(min_pool_size, INT, "0", 0, 10000, true, "of them, kept open while the user has clients")                        \
    X(reserve_pool_size, INT, "0", 0, 10000, true, "more of them for clients that wait reserve_pool_timeout")          \
    X(reserve_pool_timeout, MS, "5s", 0, INT64_C(86400000), true, "how long a client waits before the reserve opens")  \
    X(max_shard_connections, INT, "0", 0, 100000, true, "server connections for each shard; 0: no limit")              \
    X(max_user_connections, INT, "0", 0, 100000, true, "server connections for each user; 0: no limit")                \
    X(max_client_conn, INT, "10000", 1, 1000000, true, "clients, over all")                                            \
    X(max_user_client_connections, INT, "0", 0, 1000000, true, "clients of each user; 0: no limit")                    \
    X(auth_type, AUTH_TYPE, "scram-sha-256", 0, 0, true, "scram-sha-256, md5, trust (loopback only), cert or hba")     \
    X(auth_hba_file, TEXT, NULL, 0, 0, true, "rules in the form of pg_hba.conf, for auth_type hba")                    \
    X(auth_ident_file, TEXT, NULL, 0, 0, true, "user maps in the form of pg_ident.conf, for certificates")             \
    X(auth_file, TEXT, NULL, 0, 0, true, "users, a line each: \"name\" \"verifier or password\"")                      \
    X(auth_user, TEXT, NULL, 0, 0, true, "role that runs auth_query on the home shard; not set: the conninfo's")       \
    X(auth_query, TEXT, NULL, 0, 0, true, "SELECT of name and verifier for $1, for users that auth_file has not")      \
    X(admin_users, WORDS, "", 0, 0, true, "who may use the admin database; also the conninfo's user")                  \
    X(stats_users, WORDS, "", 0, 0, true, "who may only SHOW there")                                                   \
    X(client_tls_sslmode, TLS_MODE, "disable", 0, 0, true,                                                             \
      "of clients: disable, allow, prefer, require, verify-ca, verify-full")                                           \
    X(client_tls_cert_file, TEXT, NULL, 0, 0, true, "the proxy's certificate")                                         \
    X(client_tls_key_file, TEXT, NULL, 0, 0, true, "its key")                                                          \
    X(client_tls_ca_file, TEXT, NULL, 0, 0, true, "who signs clients' certificates")                                   \
    X(query_wait_timeout, MS, "120s", 0, INT64_C(86400000), true, "how long a client waits for a server; 0: for ever") \
    X(query_timeout, MS, "0", 0, INT64_C(86400000), true, "how long a statement may run; 0: for ever")                 \
    X(idle_transaction_timeout, MS, "0", 0, INT64_C(86400000), true,                                                   \
      "how long a transaction may do nothing; 0: for ever")                                                            \
    X(client_idle_timeout, MS, "0", 0, INT64_C(864000000), true, "how long a client may do nothing; 0: for ever")      \
    X(client_login_timeout, MS, "60s", 0, INT64_C(86400000), true, "how long a login may take")                        \
    X(server_connect_timeout, MS, "15s", 1, INT64_C(86400000), true, "how long connecting to a shard may take")        \
    X(server_login_retry, MS, "1s", 0, INT64_C(86400000), true, "how long a shard that failed is left alone")          \
    X(server_idle_timeout, MS, "600s", 0, INT64_C(864000000), true,                                                    \
      "an idle server connection is closed after; 0: never")                                                           \
    X(server_lifetime, MS, "3600s", 0, INT64_C(864000000), true,                                                       \
      "an unused server connection this old is closed; 0: never")                                                      \
    X(server_check_delay, MS, "30s", 0, INT64_C(86400000), true,                                                       \
      "a server connection idle so long is asked before use")                                                          \
    X(server_reset_query, TEXT, "DISCARD ALL", 0, 0, true,                                                             \
      "what a server connection is sent between sessions (pool_mode session)")                                         \
    X(cancel_wait_timeout, MS, "10s", 0, INT64_C(86400000), true, "how long a cancel request may wait")                \
    X(shutdown_timeout, MS, "30s", 0, INT64_C(86400000), true, "how long a graceful stop waits for transactions")      \
    X(max_prepared_statements, INT, "200", 0, 100000, true,                                                            \
      "prepared statements kept on each server connection; 0: none")                                                   \
    X(max_packet_size, BYTES, "1GB", 1024, INT64_C(1073741824), true, "the largest message")                           \
    X(max_analysed_size, BYTES, "16MB", 1024, INT64_C(268435456), true,                                                \
      "the largest statement that is analysed; beyond: 54000")                                                         \
    X(scatter, SCATTER_MODE, "allow", 0, 0, true,                                                                      \
      "statements that several shards or the coordinator answer (tiers 2 to 4): allow, warn or deny")                  \
    X(scatter_users, WORDS, "", 0, 0, true, "the same of single users: NAME=allow, NAME=warn, NAME=deny")              \
    X(scatter_max_shards, INT, "0", 0, 65535, true, "shards that such a statement may ask; 0: no limit")               \
    X(scatter_max_rows, INT, "0", 0, INT64_MAX, true, "rows that it may give its client; 0: no limit")                 \
    X(scatter_max_bytes, BYTES, "0", 0, INT64_C(1) << 50, true, "bytes that it may receive of shards; 0: no limit")    \
    X(scatter_timeout, MS, "0", 0, INT64_C(86400000), true, "how long it may last, to its last row; 0: for ever")      \
    X(shard_clocks, BOOL, "false", 0, 0, true,                                                                         \
      "let now() be another moment on each shard of a transaction over several; else it is refused there; see also "   \
      "mosaic.clock")                                                                                                  \
    X(partial_results, BOOL, "false", 0, 0, true,                                                                      \
      "leave out the rows of shards that are not reached, with a warning; see also mosaic.partial_results")            \
    X(scatter_memory, BYTES, "16MB", 65536, INT64_C(1073741824), true,                                                 \
      "partial rows of a statement over several shards, before they go to a temporary file")                           \
    X(plan_cache_size, BYTES, "32MB", 0, INT64_C(17179869184), true, "of the plan cache of each thread")               \
    X(hints, BOOL, "true", 0, 0, true, "SET mosaic.shard, mosaic.key and leading comments are heard")                  \
    X(schema_check_interval, MS, "10s", 100, INT64_C(86400000), true,                                                  \
      "how often a change of the schema made elsewhere is looked for")                                                 \
    X(recovery_interval, MS, "10s", 0, INT64_C(86400000), true,                                                        \
      "how often prepared transactions that a commit over several shards left are settled; 0: never")                  \
    X(recovery_age, MS, "5s", 0, INT64_C(86400000), true, "younger ones are let alone: their commit is under way")     \
    X(deadlock_check_interval, MS, "1s", 0, INT64_C(86400000), true,                                                   \
      "how long a transaction over several shards waits before deadlocks are looked for, and how often; 0: never")     \
    X(settle_timeout, MS, "30s", 0, INT64_C(86400000), true,                                                           \
      "how long a client whose COMMIT a shard did not answer waits to be told its outcome")                            \
    X(application_name_add_host, BOOL, "false", 0, 0, true,                                                            \
      "put the client's address behind the application_name that it connects with")                                    \
    X(log_connections, BOOL, "true", 0, 0, true, "log logins")                                                         \
    X(log_disconnections, BOOL, "true", 0, 0, true, "log ends of connections")                                         \
    X(log_pooler_errors, BOOL, "true", 0, 0, true, "log what the proxy itself refuses")                                \
    X(log_statements, BOOL, "false", 0, 0, true, "log each statement, with its plan; parameters are never logged")     \
    X(log_min_duration, MS, "0", 0, INT64_C(86400000), true,                                                           \
      "log each statement that lasts so long or longer, with its tier, shards and rows; 0: none")                      \
    X(trace, BOOL, "false", 0, 0, true,                                                                                \
      "give each transaction a trace id: in the log, and at its shard in application_name")                            \
    X(log_format, LOG_FORMAT, "text", 0, 0, true, "text or json; one line an event")                                   \
    X(log_level, LOG_LEVEL, "info", 0, 0, true, "the least that is logged: debug, info, warning, error")               \
    X(log_file, TEXT, NULL, 0, 0, true, "where to; not set: standard error")                                           \
    X(stats_period, MS, "60s", 1000, INT64_C(86400000), true, "averages of SHOW STATS are over")

#define SETTING_FIELD_INT(name) int64_t name;
#define SETTING_FIELD_MS(name) int64_t name;
#define SETTING_FIELD_BYTES(name) int64_t name;
#define SETTING_FIELD_MODE(name) int64_t name;
#define SETTING_FIELD_BOOL(name) bool name;
#define SETTING_FIELD_TEXT(name) const char *name;
#define SETTING_FIELD_WORDS(name) const char *const *name; /* NULL-terminated */
#define SETTING_FIELD_POOL_MODE(name) enum pool_mode name;
#define SETTING_FIELD_AUTH_TYPE(name) enum auth_type name;
#define SETTING_FIELD_TLS_MODE(name) enum tls_mode name;
#define SETTING_FIELD_LOG_FORMAT(name) enum log_format name;
#define SETTING_FIELD_LOG_LEVEL(name) enum log_level name;
#define SETTING_FIELD_SCATTER_MODE(name) enum scatter_mode name;

struct proxy_settings {
#define X(name, kind, initial, least, most, reloads, help) SETTING_FIELD_##kind(name)
    PROXY_SETTING_LIST(X)
#undef X
};

struct proxy_setting_info {
    const char *name;
    const char *initial; /* NULL: not set */
    const char *help;
    bool reloads, many; /* many: a list of texts */
};

/* All defaults. */
MOSAIC_MUST_CHECK mosaic_status settings_default(struct arena *arena, struct proxy_settings *settings,
                                                 mosaic_error *error);
/*
 * Sets one from its text; lists have words parted by blanks or commas, a word that holds such in double quotes. The
 * value is copied into the arena. MOSAIC_CONFIG names the setting, the value and what it takes; for an unknown name,
 * the nearest.
 */
MOSAIC_MUST_CHECK mosaic_status settings_set(struct arena *arena, struct proxy_settings *settings, const char *name,
                                             const char *value, mosaic_error *error);
/* Defaults, and over them what a config's `proxy:` section says (config/config.h has read and checked it). */
MOSAIC_MUST_CHECK mosaic_status settings_read(struct arena *arena, const struct model *model,
                                              struct proxy_settings *settings, mosaic_error *error);
/* The text of the i-th setting's value, as it would be written; into the arena. NULL: not set, or no memory. */
const char *settings_value(struct arena *arena, const struct proxy_settings *settings, size_t i);
size_t settings_count(void);
const struct proxy_setting_info *settings_info(size_t i);
/* What its value may be: "a time from 0 to 1d", "transaction or session"; into the arena. NULL: no memory. */
const char *settings_takes(struct arena *arena, size_t i);
/* The number of the setting of this name; SIZE_MAX if there is none. */
size_t settings_find(const char *name);
bool settings_equal(const struct proxy_settings *a, const struct proxy_settings *b, size_t i);
/* Gives `to` the value that `from` has; lists and texts are shared. */
void settings_take(struct proxy_settings *to, const struct proxy_settings *from, size_t i);
/* One word of a list as settings_set reads it: in double quotes where it must be. */
void settings_quote_word(struct buffer *out, const char *word);

/* true, false, on, off, yes, no, 1, 0, in any case. False for what is none. */
bool settings_bool(const char *text, bool *flag);
/* allow, warn or deny, in any case. False for what is none. */
bool settings_scatter_mode(const char *text, enum scatter_mode *mode);
/* What `scatter_users`, or else `scatter`, says for this user. */
enum scatter_mode settings_scatter_of(const struct proxy_settings *settings, const char *user);

/*
 * What several settings together forbid: trust, no password or metrics on an address that is not loopback; TLS without
 * its files; pool sizes that contradict each other; nothing to listen on; an entry of scatter_users that is no
 * NAME=CHOICE.
 */
MOSAIC_MUST_CHECK mosaic_status settings_check(const struct proxy_settings *settings, mosaic_error *error);

/* host:port as `listen` has it: 127.0.0.1:6432, [::1]:6432, localhost:6432, *:6432. */
struct listen_address {
    char host[256]; /* without brackets; "*": every address of this machine */
    uint16_t port;
};
/* False for what is none. */
bool settings_address(const char *text, struct listen_address *address);
bool settings_is_loopback(const struct listen_address *address);

#endif
