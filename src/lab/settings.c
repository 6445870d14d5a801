#include "lab/settings.h"

#include "base/buffer.h"
#include "lab/files.h"

enum { MOST_TEXT = 64 * 1024 };

/* 'value' as postgresql.conf wants it. */
static void add_setting(struct buffer *text, const char *name, const char *value)
{
    buffer_format(text, "%s = '", name);
    for (const char *at = value; *at; at++) {
        if (*at == '\'' || *at == '\\')
            buffer_char(text, *at);
        buffer_char(text, *at);
    }
    buffer_text(text, "'\n");
}

static void add_path(struct buffer *text, const char *name, const struct state *state, const char *file)
{
    const char *path = arena_format(state->arena, "%s/%s", state->directory, file);

    if (path)
        add_setting(text, name, path);
    else
        text->failed = true;
}

/*
 * Citus must be the first library of shared_preload_libraries. sslmode=disable: by default nodes want TLS of each
 * other, and CREATE EXTENSION turns it on with a certificate made on the spot; on loopback SCRAM alone does.
 * A transaction that writes to many shards is prepared once for each of a worker's connections. Between the steps of a
 * rebalance Citus would wait 5 s, however small the shards are.
 */
static void add_citus(struct buffer *text)
{
    buffer_text(text, "shared_preload_libraries = 'citus'\n"
                      "citus.node_conninfo = 'sslmode=disable'\n"
                      "citus.background_task_queue_interval = '500ms'\n"
                      "max_prepared_transactions = 200\n"
                      "max_connections = 200\n");
}

mosaic_status settings_write(const struct state *state, size_t shard, const char *socket_directory, const char *path,
                             mosaic_error *error)
{
    struct buffer text = BUFFER_INIT(MOST_TEXT);
    mosaic_status status;

    buffer_text(
        &text, "# Written by pgmosaic lab up at each start. Settings of your own: ALTER SYSTEM, as superuser, through\n"
               "# the Unix socket.\n"
               "listen_addresses = '127.0.0.1'\n");
    buffer_format(&text, "port = %d\n", state->shards[shard].port);
    add_setting(&text, "unix_socket_directories", socket_directory);
    add_path(&text, "hba_file", state, "hba.conf");
    add_path(&text, "ident_file", state, "ident.conf");
    buffer_format(&text, "cluster_name = '%s %s'\n", state->name, state->shards[shard].name);
    buffer_text(&text, "password_encryption = 'scram-sha-256'\n"
                       "wal_level = logical\n"
                       "max_prepared_transactions = 64\n"
                       "max_connections = 100\n"
                       "shared_buffers = '32MB'\n"
                       "min_wal_size = '32MB'\n"
                       "max_wal_size = '1GB'\n"
                       "timezone = 'UTC'\n"
                       "log_timezone = 'UTC'\n"
                       "lc_messages = 'C'\n"
                       "lc_monetary = 'C.UTF-8'\n"
                       "lc_numeric = 'C.UTF-8'\n"
                       "lc_time = 'C.UTF-8'\n"
                       "default_text_search_config = 'pg_catalog.english'\n"
                       "logging_collector = on\n"
                       "log_directory = 'log'\n"
                       "log_filename = 'server-%H.log'\n"
                       "log_truncate_on_rotation = on\n"
                       "log_rotation_age = '1h'\n"
                       "log_rotation_size = 0\n"
                       "log_line_prefix = '%m [%p] %q%u@%d '\n");
    if (state->engine == LAB_CITUS)
        add_citus(&text);
    status = buffer_failed(&text) ? error_memory(error) : files_replace(path, buffer_string(&text), 0644, error);
    buffer_free(&text);
    return status;
}
