#include "catalog/coordinator_server.h"

#include "base/memory.h"
#include "catalog/coordinator.h"
#include "catalog/coordinator_relations.h"
#include "core/sqlexpr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MOST = 16 * 1024 * 1024, ASYNC_SINCE = 140000 };

/* What of a conninfo says where a server is; files are the coordinator's machine's. */
static const char *const carried[] = {
    "host",
    "hostaddr",
    "port",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcrl",
    "ssl_min_protocol_version",
    "gssencmode",
    "channel_binding",
    "connect_timeout",
    "target_session_attrs",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
};

static bool is_carried(const PQconninfoOption *option)
{
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++)
        if (strcmp(option->keyword, carried[i]) == 0)
            return option->val && *option->val &&
                   (i < 4 || !option->compiled || strcmp(option->val, option->compiled) != 0);
    return false;
}

struct pair {
    const char *name, *value;
};

/* What comes later counts. */
static void add_pair(struct pair *pairs, size_t *count, const char *name, const char *value)
{
    size_t at = 0;
    while (at < *count && strcmp(pairs[at].name, name) != 0)
        at++;
    *count += at == *count;
    pairs[at] = (struct pair){name, value};
}

/* The options of a server, in the order in which they are given. Values live as long as `options` and `internal`. */
static size_t server_options(const PQconninfoOption *options, const PQconninfoOption *internal, int version,
                             struct pair *pairs)
{
    size_t count = 0;
    pairs[count++] = (struct pair){"connect_timeout", "10"};
    for (; options->keyword; options++) {
        /* Our address of a host is not the coordinator's. */
        if (is_carried(options) && !(internal && strcmp(options->keyword, "hostaddr") == 0))
            add_pair(pairs, &count, options->keyword, options->val);
    }
    for (; internal && internal->keyword; internal++)
        if (is_carried(internal))
            add_pair(pairs, &count, internal->keyword, internal->val);
    pairs[count++] = (struct pair){"application_name", "pgmosaic coordinator"};
    pairs[count++] = (struct pair){"options", "-c default_transaction_read_only=on -c lock_timeout=10s"
                                              " -c idle_in_transaction_session_timeout=0"};
    pairs[count++] = (struct pair){"updatable", "false"};
    pairs[count++] = (struct pair){"fetch_size", "1000"};
    pairs[count++] = (struct pair){"use_remote_estimate", "true"};
    if (version >= ASYNC_SINCE)
        pairs[count++] = (struct pair){"async_capable", "true"};
    return count;
}

enum { PAIRS_MOST = sizeof carried / sizeof *carried + 7 };

/* Of a shard's `internal`; NULL where it has none. PQconninfoFree it. */
static PQconninfoOption *internal_options(const struct shard *shard)
{
    return shard->internal ? PQconninfoParse(shard->internal, NULL) : NULL;
}

/* The login: libpq found the password in the conninfo, the environment, or a passfile. */
static size_t login_options(const PGconn *connection, struct pair *pairs)
{
    size_t count = 0;
    const char *password = PQpass(connection);
    pairs[count++] = (struct pair){"user", PQuser(connection)};
    if (password && *password)
        pairs[count++] = (struct pair){"password", password};
    return count;
}

static void add_options(struct buffer *sql, const struct pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buffer_format(sql, "%s%s ", i ? ", " : " OPTIONS (", pairs[i].name);
        sql_literal(sql, pairs[i].value, strlen(pairs[i].value));
    }
    buffer_text(sql, ");\n");
}

/* The same as the catalogs have it: ARRAY['host=…', …]::text[]. */
static void add_array(struct buffer *sql, const struct pair *pairs, size_t count)
{
    struct buffer text = BUFFER_INIT(64 * 1024);
    for (size_t i = 0; i < count; i++) {
        buffer_clear(&text);
        buffer_format(&text, "%s=%s", pairs[i].name, pairs[i].value);
        buffer_text(sql, i ? "," : "ARRAY[");
        sql_literal(sql, buffer_string(&text), text.size);
    }
    buffer_text(sql, "]::pg_catalog.text[]");
    if (text.data)
        explicit_bzero(text.data, text.size);
    buffer_free(&text);
}

void coordinator_server_sql(struct buffer *sql, const struct model *model, size_t shard, const PGconn *connection,
                            int coordinator_version)
{
    struct pair pairs[PAIRS_MOST];
    PQconninfoOption *options = PQconninfo((PGconn *)connection);
    PQconninfoOption *internal = internal_options(&model->shards[shard]);
    if (!options) {
        sql->failed = true;
        return;
    }
    buffer_text(sql, "CREATE SERVER ");
    coordinator_server_name(sql, model, shard);
    buffer_text(sql, " FOREIGN DATA WRAPPER postgres_fdw");
    add_options(sql, pairs, server_options(options, internal, coordinator_version, pairs));
    buffer_text(sql, "CREATE USER MAPPING FOR PUBLIC SERVER ");
    coordinator_server_name(sql, model, shard);
    add_options(sql, pairs, login_options(connection, pairs));
    PQconninfoFree(options);
    PQconninfoFree(internal);
}

mosaic_status coordinator_servers_match(PGconn *coordinator, const struct model *model, PGconn *const *shards,
                                        int64_t deadline, bool *match, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST), name = BUFFER_INIT(4096);
    struct pair pairs[PAIRS_MOST];
    PGresult *result = NULL;
    buffer_text(&sql, "SELECT pg_catalog.count(*) FROM (VALUES ");
    for (size_t i = 0; i < model->shard_count; i++) {
        PQconninfoOption *options = PQconninfo(shards[i]);
        PQconninfoOption *internal = internal_options(&model->shards[i]);
        if (!options) {
            buffer_free(&sql);
            return error_memory(error);
        }
        buffer_clear(&name);
        coordinator_server_name(&name, model, i);
        buffer_text(&sql, i ? ", (" : "(");
        sql_literal(&sql, buffer_string(&name), name.size);
        buffer_text(&sql, ", ");
        add_array(&sql, pairs, server_options(options, internal, PQserverVersion(coordinator), pairs));
        buffer_text(&sql, ", ");
        add_array(&sql, pairs, login_options(shards[i], pairs));
        buffer_char(&sql, ')');
        PQconninfoFree(options);
        PQconninfoFree(internal);
    }
    buffer_text(&sql, ") w(n, o, u) JOIN pg_catalog.pg_foreign_server s ON pg_catalog.quote_ident(s.srvname) = w.n"
                      " AND s.srvoptions = w.o JOIN pg_catalog.pg_user_mappings u ON u.srvid = s.oid"
                      " AND u.umuser = 0 AND u.umoptions = w.u");
    mosaic_status status = buffer_failed(&sql) || buffer_failed(&name)
                               ? error_memory(error)
                               : pq_exec(coordinator, COORDINATOR_NAME, buffer_string(&sql), deadline, &result, error);
    *match = status == MOSAIC_OK && strtoull(PQgetvalue(result, 0, 0), NULL, 10) == model->shard_count;
    PQclear(result);
    if (sql.data)
        explicit_bzero(sql.data, sql.size);
    buffer_free(&sql);
    buffer_free(&name);
    return status;
}
