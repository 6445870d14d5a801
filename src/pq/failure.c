/*
 * What a failure of a server or of a login means: libpq's texts and SQLSTATEs sorted into our statuses, with hints.
 */
#include "pq/advice.h"
#include "pq/pq.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* PostgreSQL's src/backend/utils/errcodes.txt; what the postmaster and the login (postinit.c, auth.c) can answer. */
static const struct {
    const char *sqlstate; /* a prefix */
    mosaic_status status;
    const char *hint; /* %s: the shard */
} login_failures[] = {
    {"28P01", MOSAIC_AUTH, "check user and password (passfile=, ~/.pgpass or PGPASSWORD) for shard %s"},
    {"28000", MOSAIC_AUTH, "check that the role exists, may log in, and is allowed by pg_hba.conf of shard %s"},
    {"42501", MOSAIC_AUTH, "grant the role CONNECT on the database of shard %s"},
    {"3D000", MOSAIC_NOT_FOUND, "create the database, or correct dbname= of shard %s in the config"},
    {"53300", MOSAIC_UNREACHABLE, "all connections of shard %s are taken: end some, or raise max_connections"},
    {"57P03", MOSAIC_UNREACHABLE, "the server of shard %s is starting up or shutting down: try again in a moment"},
    {"57P01", MOSAIC_UNREACHABLE, "the server of shard %s is shutting down: start it again"},
    {"57P02", MOSAIC_UNREACHABLE, "the server of shard %s has crashed and recovers: try again in a moment"},
    {"", MOSAIC_UNREACHABLE, "see the log of the server of shard %s"},
};

static bool is_sqlstate(const char *text)
{
    for (int i = 0; i < 5; i++)
        if (!isdigit((unsigned char)text[i]) && !(text[i] >= 'A' && text[i] <= 'Z'))
            return false;
    return text[5] == ':';
}

/* Of "FATAL:  28P01: the text": the SQLSTATE, whatever the language of "FATAL"; NULL if there is none. */
static const char *find_sqlstate(const char *text)
{
    for (const char *at = text; (at = strstr(at, ":  ")); at++)
        if (is_sqlstate(at + 3))
            return at + 3;
    return NULL;
}

/* The part of libpq's text about the last address that was tried. */
static const char *last_attempt(const char *text)
{
    const char *last = text;
    for (const char *at = text; (at = strstr(at, "failed: ")); last = at)
        at += strlen("failed: ");
    return last;
}

/* The first line of a text, without a trailing blank; into line. */
static void first_line(const char *text, char *line, size_t size)
{
    size_t length = strcspn(text, "\r\n");
    while (length && isspace((unsigned char)text[length - 1]))
        length--;
    snprintf(line, size, "%.*s", (int)(length < size ? length : size - 1), text);
}

static void describe_address(const PGconn *connection, char *address, size_t size)
{
    const char *host = PQhost(connection), *port = PQport(connection), *database = PQdb(connection);
    snprintf(address, size, "%s:%s/%s", host && *host ? host : "socket", port && *port ? port : "5432",
             database && *database ? database : "?");
}

static bool is_bad_parameter(const char *line)
{
    return strstr(line, "invalid port number") || (strstr(line, "invalid ") && strstr(line, " value: \"")) ||
           strstr(line, "could not match ") || strstr(line, "definition of service ") ||
           strstr(line, "invalid integer value ") || strstr(line, "service file ");
}

/* A failure before the server said anything. */
static mosaic_status sort_unanswered(const PGconn *connection, const char *address, const char *shard, const char *line,
                                     mosaic_error *error)
{
    mosaic_status status = MOSAIC_UNREACHABLE;
    if (PQconnectionNeedsPassword(connection)) {
        status = error_set(error, MOSAIC_AUTH, "%s asks for a password and none was found", address);
        error_hint(error, "give one for shard %s: passfile= in the config, ~/.pgpass, or PGPASSWORD", shard);
    } else if (is_bad_parameter(line)) {
        status = error_set(error, MOSAIC_CONFIG, "the connection string of shard %s is not usable: %s", shard, line);
        error_hint(error, "correct its conninfo in the config");
    } else if (strstr(line, "host name")) {
        error_set(error, status, "cannot reach %s: %s", address, line);
        error_hint(error, "is the host of shard %s spelled right in the config, and does name resolution work?", shard);
    } else if (strstr(line, "SSL") || strstr(line, "certificate")) {
        error_set(error, status, "cannot reach %s: %s", address, line);
        error_hint(error, "make sslmode, sslrootcert, sslcert and sslkey of shard %s fit the server", shard);
    } else {
        error_set(error, status, "cannot reach %s: %s", address, *line ? line : "no connection");
        error_hint(error, "start the server of shard %s, or correct host and port in the config", shard);
    }
    return status;
}

mosaic_status pq_connect_failure(const PGconn *connection, const char *shard, mosaic_error *error)
{
    if (!connection)
        return error_memory(error);
    char address[200], line[400];
    const char *attempt = last_attempt(PQerrorMessage(connection));
    const char *sqlstate = find_sqlstate(attempt);
    describe_address(connection, address, sizeof address);
    if (!sqlstate) {
        first_line(attempt, line, sizeof line);
        mosaic_status status = sort_unanswered(connection, address, shard, line, error);
        error_shard(error, shard);
        return status;
    }
    size_t i = 0;
    while (strncmp(login_failures[i].sqlstate, sqlstate, strlen(login_failures[i].sqlstate)) != 0)
        i++;
    char state[6];
    snprintf(state, sizeof state, "%.5s", sqlstate);
    first_line(sqlstate + 6 + (sqlstate[6] == ' '), line, sizeof line);
    mosaic_status status = login_failures[i].status;
    error_set(error, status, "%s %s: %s", address,
              status == MOSAIC_AUTH        ? "refused the login"
              : status == MOSAIC_NOT_FOUND ? "has no such database"
                                           : "takes no connection",
              line);
    if (error)
        snprintf(error->hint, sizeof error->hint, login_failures[i].hint, shard);
    error_sqlstate(error, state);
    error_shard(error, shard);
    return status;
}

static void lines_to_one(char *text)
{
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    for (; *text; text++)
        if (*text == '\n' || *text == '\r')
            *text = ' ';
}

static mosaic_status lost(const PGconn *connection, const char *shard, const char *why, mosaic_error *error)
{
    char address[200], line[300];
    describe_address(connection, address, sizeof address);
    first_line(why, line, sizeof line);
    error_set(error, MOSAIC_UNREACHABLE, "the connection to %s was lost%s%s", address, *line ? ": " : "", line);
    error_hint(error, "is the server of shard %s up? pgmosaic status shows all shards", shard);
    error_shard(error, shard);
    return MOSAIC_UNREACHABLE;
}

/* A backend that is told to go, or whose server crashed: as good as a lost connection. */
static bool ends_session(const char *sqlstate)
{
    return !strcmp(sqlstate, "57P01") || !strcmp(sqlstate, "57P02") || !strcmp(sqlstate, "57P04") ||
           !strcmp(sqlstate, "57P05") || !strncmp(sqlstate, "08", 2);
}

static const char *field(const PGresult *result, int code)
{
    const char *text = PQresultErrorField(result, code);
    return text ? text : "";
}

static mosaic_status server_error(const PGresult *result, const char *shard, mosaic_error *error)
{
    const char *sqlstate = field(result, PG_DIAG_SQLSTATE);
    const char *constraint = field(result, PG_DIAG_CONSTRAINT_NAME);
    const char *advice = pq_advice(sqlstate, field(result, PG_DIAG_MESSAGE_PRIMARY));
    bool foreign = !strcmp(sqlstate, "23514") && !strcmp(constraint, "mosaic_owner");
    mosaic_status status = foreign ? MOSAIC_OWNERSHIP : ends_session(sqlstate) ? MOSAIC_UNREACHABLE : MOSAIC_SERVER;
    error_set(error, status, "%s", field(result, PG_DIAG_MESSAGE_PRIMARY));
    error_detail(error, "%s", field(result, PG_DIAG_MESSAGE_DETAIL));
    error_hint(error, "%s", field(result, PG_DIAG_MESSAGE_HINT));
    if (foreign)
        error_hint(error,
                   "the row belongs to another shard: pgmosaic route %s KEY names it; write through the library, "
                   "pgmosaic load, or exec --key",
                   field(result, PG_DIAG_TABLE_NAME));
    else if (advice && !*field(result, PG_DIAG_MESSAGE_HINT))
        error_hint(error, "%s", advice);
    else if (status == MOSAIC_UNREACHABLE)
        error_hint(error, "the server of shard %s ended the session: pgmosaic status shows if it is up", shard);
    error_sqlstate(error, sqlstate);
    error_shard(error, shard);
    if (error) {
        lines_to_one(error->message);
        lines_to_one(error->detail);
        lines_to_one(error->hint);
    }
    return status;
}

mosaic_status pq_result_error(const PGconn *connection, const PGresult *result, const char *shard, mosaic_error *error)
{
    if (result && PQresultErrorField(result, PG_DIAG_SQLSTATE))
        return server_error(result, shard, error);
    const char *why = result ? PQresultErrorMessage(result) : PQerrorMessage(connection);
    if (!connection || PQstatus(connection) == CONNECTION_BAD)
        return connection ? lost(connection, shard, why, error) : error_memory(error);
    if (strstr(why, "out of memory"))
        return error_memory(error);
    /* libpq itself was not content: a wrong call order, a message too large, bytes that are no protocol. */
    char line[400];
    first_line(why, line, sizeof line);
    error_set(error, MOSAIC_INTERNAL, "libpq: %s", *line ? line : "no result");
    error_shard(error, shard);
    return MOSAIC_INTERNAL;
}
