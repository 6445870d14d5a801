#include "lab/role.h"

#include "base/buffer.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

static const char connect_settings[] = " connect_timeout=10 sslmode=disable application_name='pgmosaic lab'";

static void ignore_notice(void *context, const PGresult *notice)
{
    (void)context;
    (void)notice;
}

static PGconn *connect_to(const char *conninfo)
{
    struct buffer text = BUFFER_INIT(16 * 1024);
    PGconn *connection;

    buffer_format(&text, "%s%s", conninfo, connect_settings);
    connection = buffer_failed(&text) ? NULL : PQconnectdb(buffer_string(&text));
    buffer_free(&text);
    if (connection)
        PQsetNoticeReceiver(connection, ignore_notice, NULL);
    return connection;
}

static mosaic_status failed(const PGconn *connection, const char *shard, const char *what, mosaic_error *error)
{
    const char *said = connection ? PQerrorMessage(connection) : "out of memory";
    int size = (int)strcspn(said, "\n");

    error_set(error, MOSAIC_SERVER, "%s: %.*s", what, size, said);
    return error_shard(error, shard);
}

static mosaic_status run(PGconn *connection, const char *shard, const char *sql, mosaic_error *error)
{
    PGresult *result = PQexec(connection, sql);
    ExecStatusType got = PQresultStatus(result);
    mosaic_status status = MOSAIC_OK;

    if (got != PGRES_COMMAND_OK && got != PGRES_TUPLES_OK)
        status = failed(connection, shard, "making the lab's role and database failed", error);
    PQclear(result);
    return status;
}

bool role_superuser_answers(const char *socket_directory, int port)
{
    char conninfo[256];
    PGconn *connection;
    bool answers;

    snprintf(conninfo, sizeof conninfo, "host=%s port=%d user=postgres dbname=postgres", socket_directory, port);
    connection = connect_to(conninfo);
    answers = run(connection, "", "SELECT 1", NULL) == MOSAIC_OK;
    PQfinish(connection);
    return answers;
}

mosaic_status role_make(const char *conninfo, const char *shard, const char *user, const char *database,
                        const char *password, bool superuser, mosaic_error *error)
{
    PGconn *connection = connect_to(conninfo);
    struct buffer sql = BUFFER_INIT(8 * 1024);
    char *verifier = NULL;
    mosaic_status status = MOSAIC_OK;

    if (PQstatus(connection) != CONNECTION_OK)
        status = failed(connection, shard, "the new server refuses its superuser", error);
    if (status == MOSAIC_OK)
        verifier = PQencryptPasswordConn(connection, password, user, "scram-sha-256");
    if (status == MOSAIC_OK && !verifier)
        status = failed(connection, shard, "hashing the password failed", error);
    if (status == MOSAIC_OK) {
        /* Names of labs hold letters, digits, - and _ only; a verifier holds no quote. */
        buffer_format(&sql, "CREATE ROLE \"%s\" LOGIN%s PASSWORD '%s'", user, superuser ? " SUPERUSER" : "", verifier);
        status = buffer_failed(&sql) ? error_memory(error) : run(connection, shard, buffer_string(&sql), error);
    }
    if (status == MOSAIC_OK) {
        buffer_clear(&sql);
        buffer_format(&sql, "GRANT pg_monitor, pg_signal_backend TO \"%s\"", user);
        status = buffer_failed(&sql) ? error_memory(error) : run(connection, shard, buffer_string(&sql), error);
    }
    if (status == MOSAIC_OK) {
        buffer_clear(&sql);
        buffer_format(&sql, "CREATE DATABASE \"%s\" OWNER \"%s\"", database, user);
        status = buffer_failed(&sql) ? error_memory(error) : run(connection, shard, buffer_string(&sql), error);
    }
    PQfreemem(verifier);
    buffer_free(&sql);
    PQfinish(connection);
    return status;
}

mosaic_status role_make_coordinator(const char *conninfo, const char *shard, const char *user, const char *database,
                                    mosaic_error *error)
{
    char sql[512], there[512];
    mosaic_status status;

    snprintf(sql, sizeof sql, "CREATE DATABASE \"%s_coordinator\" OWNER \"%s\"", database, user);
    snprintf(there, sizeof there, "%s dbname=%s_coordinator", conninfo, database);
    status = role_run(conninfo, shard, sql, error);
    snprintf(sql, sizeof sql,
             "CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO \"%s\"", user);
    if (status == MOSAIC_OK)
        status = role_run(there, shard, sql, error);
    explicit_bzero(there, sizeof there);
    return status;
}

PGconn *role_connect(const char *conninfo, const char *shard, mosaic_error *error)
{
    PGconn *connection = connect_to(conninfo);

    if (PQstatus(connection) == CONNECTION_OK)
        return connection;
    failed(connection, shard, "logging in failed", error);
    PQfinish(connection);
    return NULL;
}

mosaic_status role_run(const char *conninfo, const char *shard, const char *sql, mosaic_error *error)
{
    PGconn *connection = role_connect(conninfo, shard, error);
    mosaic_status status;

    if (!connection)
        return MOSAIC_SERVER;
    status = run(connection, shard, sql, error);
    PQfinish(connection);
    return status;
}

mosaic_status role_check(const char *conninfo, const char *shard, mosaic_error *error)
{
    return role_run(conninfo, shard, "SELECT 1", error);
}
