/*
 * What becomes of each setting of pgbouncer.ini's section [pgbouncer], as of PgBouncer 1.25.
 *
 * KEEP(its name, kind, ours): taken over. Kinds: TEXT as it is, SECONDS with a unit put behind, SPECIAL by code.
 * DROP(its name, reason): not taken over.
 */
#ifndef MOSAIC_CONFIG_PGBOUNCER_SETTINGS_H
#define MOSAIC_CONFIG_PGBOUNCER_SETTINGS_H

#define PGBOUNCER_SETTING_LIST(KEEP, DROP)                                                                            \
    KEEP("listen_addr", SPECIAL, "listen")                                                                            \
    KEEP("listen_port", SPECIAL, "listen")                                                                            \
    KEEP("unix_socket_dir", TEXT, "unix_socket_dir")                                                                  \
    KEEP("unix_socket_mode", TEXT, "unix_socket_mode")                                                                \
    KEEP("pidfile", TEXT, "pid_file")                                                                                 \
    KEEP("logfile", TEXT, "log_file")                                                                                 \
    KEEP("verbose", SPECIAL, "log_level")                                                                             \
    KEEP("log_connections", TEXT, "log_connections")                                                                  \
    KEEP("log_disconnections", TEXT, "log_disconnections")                                                            \
    KEEP("log_pooler_errors", TEXT, "log_pooler_errors")                                                              \
    KEEP("pool_mode", SPECIAL, "pool_mode")                                                                           \
    KEEP("default_pool_size", TEXT, "pool_size")                                                                      \
    KEEP("min_pool_size", TEXT, "min_pool_size")                                                                      \
    KEEP("reserve_pool_size", TEXT, "reserve_pool_size")                                                              \
    KEEP("reserve_pool_timeout", SECONDS, "reserve_pool_timeout")                                                     \
    KEEP("max_client_conn", TEXT, "max_client_conn")                                                                  \
    KEEP("max_db_connections", TEXT, "max_shard_connections")                                                         \
    KEEP("max_user_connections", TEXT, "max_user_connections")                                                        \
    KEEP("max_user_client_connections", TEXT, "max_user_client_connections")                                          \
    KEEP("max_prepared_statements", TEXT, "max_prepared_statements")                                                  \
    KEEP("application_name_add_host", TEXT, "application_name_add_host")                                              \
    KEEP("stats_period", SECONDS, "stats_period")                                                                     \
    KEEP("auth_type", SPECIAL, "auth_type")                                                                           \
    KEEP("auth_hba_file", TEXT, "auth_hba_file")                                                                      \
    KEEP("auth_ident_file", TEXT, "auth_ident_file")                                                                  \
    KEEP("auth_file", TEXT, "auth_file")                                                                              \
    KEEP("auth_user", TEXT, "auth_user")                                                                              \
    KEEP("auth_query", TEXT, "auth_query")                                                                            \
    KEEP("admin_users", TEXT, "admin_users")                                                                          \
    KEEP("stats_users", TEXT, "stats_users")                                                                          \
    KEEP("server_reset_query", TEXT, "server_reset_query")                                                            \
    KEEP("server_check_delay", SECONDS, "server_check_delay")                                                         \
    KEEP("server_lifetime", SECONDS, "server_lifetime")                                                               \
    KEEP("server_idle_timeout", SECONDS, "server_idle_timeout")                                                       \
    KEEP("server_connect_timeout", SECONDS, "server_connect_timeout")                                                 \
    KEEP("server_login_retry", SECONDS, "server_login_retry")                                                         \
    KEEP("client_login_timeout", SECONDS, "client_login_timeout")                                                     \
    KEEP("client_tls_sslmode", TEXT, "client_tls_sslmode")                                                            \
    KEEP("client_tls_key_file", TEXT, "client_tls_key_file")                                                          \
    KEEP("client_tls_cert_file", TEXT, "client_tls_cert_file")                                                        \
    KEEP("client_tls_ca_file", TEXT, "client_tls_ca_file")                                                            \
    KEEP("server_tls_sslmode", SPECIAL, "sslmode in conninfo")                                                        \
    KEEP("server_tls_ca_file", SPECIAL, "sslrootcert in conninfo")                                                    \
    KEEP("server_tls_key_file", SPECIAL, "sslkey in conninfo")                                                        \
    KEEP("server_tls_cert_file", SPECIAL, "sslcert in conninfo")                                                      \
    KEEP("query_timeout", SECONDS, "query_timeout")                                                                   \
    KEEP("query_wait_timeout", SECONDS, "query_wait_timeout")                                                         \
    KEEP("cancel_wait_timeout", SECONDS, "cancel_wait_timeout")                                                       \
    KEEP("client_idle_timeout", SECONDS, "client_idle_timeout")                                                       \
    KEEP("idle_transaction_timeout", SECONDS, "idle_transaction_timeout")                                             \
    KEEP("max_packet_size", SPECIAL, "max_packet_size")                                                               \
    DROP("unix_socket_group", "give the directory of the socket that group")                                          \
    DROP("user", "start pgmosaic as that user (User= of the systemd unit)")                                           \
    DROP("max_db_client_connections", "max_client_conn counts all clients of the one cluster")                        \
    DROP("server_round_robin", "the connection used last is used first, so that others can become idle and close")    \
    DROP("track_extra_parameters", "every setting that a client makes is kept for it")                                \
    DROP("ignore_startup_parameters", "startup parameters are set for that client alone, so none need be ignored")    \
    DROP("peer_id", "one process with several threads has all cancel keys")                                           \
    DROP("disable_pqexec", "several statements in one query are looked at one by one")                                \
    DROP("conffile", "pgmosaic proxy -c FILE names it")                                                               \
    DROP("service_name", "of Windows")                                                                                \
    DROP("job_name", "of Windows")                                                                                    \
    DROP("scram_iterations", "verifiers are made by PostgreSQL, and taken as they are")                               \
    DROP("auth_dbname", "auth_query runs on the home shard")                                                          \
    DROP("auth_ldap_options", "there is no LDAP here")                                                                \
    DROP("syslog", "the log goes to standard error, which systemd's journal takes, or to log_file")                   \
    DROP("syslog_ident", "as syslog")                                                                                 \
    DROP("syslog_facility", "as syslog")                                                                              \
    DROP("log_stats", "SHOW STATS and metrics_listen have the numbers")                                               \
    DROP("server_reset_query_always", "in transaction mode nothing is left on a server connection to be reset")       \
    DROP("server_check_query", "the check is the proxy's own: it also asks for the map's epoch")                      \
    DROP("server_fast_close", "RECONNECT closes connections when their transaction ends")                             \
    DROP("autodb_idle_timeout", "the cluster's databases are those of its shards")                                    \
    DROP("pool_idle_timeout", "an idle pool costs nothing but its connections, which server_idle_timeout closes")     \
    DROP("dns_max_ttl", "names are looked up when the config is read: RELOAD looks again")                            \
    DROP("dns_nxdomain_ttl", "as dns_max_ttl")                                                                        \
    DROP("dns_zone_check_period", "as dns_max_ttl")                                                                   \
    DROP("resolv_conf", "the system's resolver is used")                                                              \
    DROP("query_wait_notify", "SHOW POOLS and the metrics say who waits")                                             \
    DROP("login_notify_message", "there is no such message")                                                          \
    DROP("client_tls_protocols", "TLS 1.2 and 1.3")                                                                   \
    DROP("client_tls_ciphers", "OpenSSL's own choice")                                                                \
    DROP("client_tls13_ciphers", "OpenSSL's own choice")                                                              \
    DROP("client_tls_ecdhcurve", "OpenSSL's own choice")                                                              \
    DROP("client_tls_dheparams", "OpenSSL's own choice")                                                              \
    DROP("server_tls_protocols", "TLS 1.2 and 1.3")                                                                   \
    DROP("server_tls_ciphers", "OpenSSL's own choice")                                                                \
    DROP("server_tls13_ciphers", "OpenSSL's own choice")                                                              \
    DROP("transaction_timeout", "PostgreSQL 17 has it as a setting of its own: ALTER ROLE … SET transaction_timeout") \
    DROP("suspend_timeout", "a new version takes the sockets over: pgmosaic proxy --takeover")                        \
    DROP("pkt_buf", "buffers grow as they must, and are given back")                                                  \
    DROP("sbuf_loopcnt", "large and small results take turns of themselves")                                          \
    DROP("listen_backlog", "as large as the system allows")                                                           \
    DROP("so_reuseport", "one process uses every processor: threads")                                                 \
    DROP("tcp_defer_accept", "of no use with TLS and Unix sockets; the kernel's default holds")                       \
    DROP("tcp_socket_buffer", "the kernel sizes its buffers itself")                                                  \
    DROP("tcp_keepalive", "the kernel's default holds")                                                               \
    DROP("tcp_keepcnt", "the kernel's default holds")                                                                 \
    DROP("tcp_keepidle", "the kernel's default holds")                                                                \
    DROP("tcp_keepintvl", "the kernel's default holds")                                                               \
    DROP("tcp_user_timeout", "the kernel's default holds")

/* Of an entry in [databases]. conninfo: its name there. */
#define PGBOUNCER_DATABASE_LIST(CONNINFO, KEEP, DROP)                                                                  \
    CONNINFO("dbname", "dbname")                                                                                       \
    CONNINFO("host", "host")                                                                                           \
    CONNINFO("port", "port")                                                                                           \
    CONNINFO("user", "user")                                                                                           \
    KEEP("auth_user", TEXT, "auth_user")                                                                               \
    KEEP("auth_query", TEXT, "auth_query")                                                                             \
    KEEP("pool_size", TEXT, "pool_size")                                                                               \
    KEEP("min_pool_size", TEXT, "min_pool_size")                                                                       \
    KEEP("reserve_pool_size", TEXT, "reserve_pool_size")                                                               \
    KEEP("reserve_pool", TEXT, "reserve_pool_size")                                                                    \
    KEEP("pool_mode", SPECIAL, "pool_mode")                                                                            \
    KEEP("max_db_connections", TEXT, "max_shard_connections")                                                          \
    KEEP("query_wait_timeout", SECONDS, "query_wait_timeout")                                                          \
    KEEP("server_lifetime", SECONDS, "server_lifetime")                                                                \
    DROP("password", "a password does not belong here: put it into a passfile (passfile= in the conninfo, mode 0600)") \
    DROP("auth_dbname", "auth_query runs on the home shard")                                                           \
    DROP("connect_query", "use ALTER ROLE … SET or ALTER DATABASE … SET")                                              \
    DROP("load_balance_hosts", "of several hosts the first that answers is used, as libpq does")                       \
    DROP("max_db_client_connections", "max_client_conn counts all clients of the one cluster")                         \
    DROP("client_encoding", "clients speak UTF8")                                                                      \
    DROP("datestyle", "use ALTER ROLE … SET or ALTER DATABASE … SET")                                                  \
    DROP("timezone", "use ALTER ROLE … SET or ALTER DATABASE … SET")                                                   \
    DROP("application_name", "each client's own is used")

#endif
