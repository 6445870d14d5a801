/*
 * How servers become a Citus cluster. The order matters: a node added before the coordinator knows its own address
 * would leave the coordinator off its list for good; and a worker is registered only after lab.json counts it, since a
 * node on the list whose server is gone stops every CREATE TABLE.
 */
#include "lab/citus.h"

#include "base/buffer.h"
#include "base/control_point.h"
#include "lab/installation.h"
#include "lab/role.h"
#include "pq/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SYNC_TIMEOUT_MS = 75000 };  /* the daemon itself may wait 30 s for an old port: citus.node_connection_timeout */
enum { CITUS_ADVISED_MAJOR = 17 }; /* where no PostgreSQL is installed at all */

static const char extension_version[] = "SELECT extversion FROM pg_extension WHERE extname = 'citus'";

static const char host[] = "127.0.0.1"; /* of all nodes, also seen from a container: it has the machine's network */

/* Runs one statement; *value, if wanted, becomes its first column, "" for no row; valid in the arena. */
static mosaic_status ask(const struct state *state, PGconn *connection, size_t node, const char *sql,
                         const char **value, mosaic_error *error)
{
    PGresult *result = sql ? PQexec(connection, sql) : NULL;
    ExecStatusType got = PQresultStatus(result);
    const char *name = state->shards[node].name;
    mosaic_status status = sql ? MOSAIC_OK : error_memory(error);

    if (status == MOSAIC_OK && got != PGRES_TUPLES_OK && got != PGRES_COMMAND_OK) {
        const char *said = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

        said = said ? said : PQerrorMessage(connection);
        error_set(error, MOSAIC_SERVER, "%.*s", (int)strcspn(said, "\n"), said);
        error_detail(error, "while running %s", sql);
        status = error_shard(error, name);
    } else if (status == MOSAIC_OK && value) {
        *value = arena_string(state->arena, PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
        status = *value ? MOSAIC_OK : error_memory(error);
    }
    PQclear(result);
    return status;
}

static PGconn *connect_node(const struct state *state, size_t node, mosaic_error *error)
{
    const char *conninfo = state_conninfo(state, node);

    if (conninfo)
        return role_connect(conninfo, state->shards[node].name, error);
    error_memory(error);
    return NULL;
}

/* One statement on a connection of its own. */
static mosaic_status ask_node(const struct state *state, size_t node, const char *sql, const char **value,
                              mosaic_error *error)
{
    PGconn *connection = connect_node(state, node, error);
    mosaic_status status;

    if (!connection)
        return error ? error->status : MOSAIC_SERVER;
    status = ask(state, connection, node, sql, value, error);
    PQfinish(connection);
    return status;
}

/*
 * Since 15.19 and the other minor releases of its day a server names in output_plugin_libraries the plugins that may
 * decode changes, and Citus is not among them. The setting's text is a list of identifiers, as ALTER SYSTEM wants it;
 * in quotes it would be one name.
 */
static mosaic_status allow_plugin(const struct state *state, PGconn *connection, size_t node, mosaic_error *error)
{
    const char *list;
    mosaic_status status = ask(state, connection, node,
                               "SELECT ' = ' || setting FROM pg_settings WHERE name = 'output_plugin_libraries' "
                               "AND setting !~ '\\mcitus\\M'",
                               &list, error);

    if (status != MOSAIC_OK || !*list)
        return status;
    status = ask(state, connection, node,
                 arena_format(state->arena, "ALTER SYSTEM SET output_plugin_libraries%s%scitus", list,
                              strcmp(list, " = ") == 0 ? "" : ", "),
                 NULL, error);
    return status == MOSAIC_OK ? ask(state, connection, node, "SELECT pg_reload_conf()", NULL, error) : status;
}

static mosaic_status prepare_node(const struct state *state, size_t node, mosaic_error *error)
{
    PGconn *connection = connect_node(state, node, error);
    const char *version;
    mosaic_status status;

    if (!connection)
        return error ? error->status : MOSAIC_SERVER;
    status = ask(state, connection, node, extension_version, &version, error);
    if (status == MOSAIC_OK && !*version)
        status = ask(state, connection, node, "CREATE EXTENSION citus", NULL, error);
    /* The extension has a schema citus: a role of that name would make its tables there, by "$user". */
    if (status == MOSAIC_OK && !*version)
        status = ask(state, connection, node,
                     arena_format(state->arena,
                                  "SET citus.enable_ddl_propagation = off;"
                                  " ALTER DATABASE \"%s\" SET search_path = public;"
                                  " RESET citus.enable_ddl_propagation",
                                  state->database),
                     NULL, error);
    if (status == MOSAIC_OK)
        status = allow_plugin(state, connection, node, error);
    PQfinish(connection);
    return status;
}

mosaic_status citus_prepare(const struct state *state, size_t first, size_t end, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;

    for (size_t i = first; status == MOSAIC_OK && i < end; i++)
        status = prepare_node(state, i, error);
    control_point("lab.after_extension");
    return status;
}

mosaic_status citus_set_shard_count(const struct state *state, int count, mosaic_error *error)
{
    const char *sql =
        arena_format(state->arena, "ALTER DATABASE \"%s\" SET citus.shard_count = %d", state->database, count);

    return ask_node(state, 0, sql, NULL, error);
}

/* ---- registration ------------------------------------------------------------------------------------ */

/* Changes the address of the node for which the condition holds; the nodes hear of it from the coordinator's daemon. */
static mosaic_status move_node(const struct state *state, PGconn *coordinator, int port, const char *condition,
                               mosaic_error *error)
{
    return ask(state, coordinator, 0,
               condition ? arena_format(state->arena,
                                        "SELECT citus_update_node(nodeid, '%s', %d) FROM pg_dist_node "
                                        "WHERE %s",
                                        host, port, condition)
                         : NULL,
               NULL, error);
}

/* citus_set_coordinator_host would tell the workers at once, and fail while one of them is registered elsewhere. */
static mosaic_status register_coordinator(struct state *state, PGconn *coordinator, bool *moved, mosaic_error *error)
{
    int port = state->shards[0].port;
    const char *found, *wanted = arena_format(state->arena, "%s:%d", host, port);
    mosaic_status status = ask(state, coordinator, 0,
                               "SELECT nodename || ':' || nodeport FROM pg_dist_node WHERE groupid = 0", &found, error);

    if (status != MOSAIC_OK || (wanted && strcmp(found, wanted) == 0))
        return status;
    *moved = *found;
    if (*found)
        return move_node(state, coordinator, port, "groupid = 0", error);
    return ask(state, coordinator, 0,
               arena_format(state->arena, "SELECT citus_set_coordinator_host('%s', %d)", host, port), NULL, error);
}

/* Until every node knows the others' new addresses: the daemon tries every few seconds. */
static mosaic_status wait_for_daemon(const struct state *state, PGconn *coordinator, mosaic_error *error)
{
    long long deadline = process_clock() + SYNC_TIMEOUT_MS;
    const char *waiting;

    for (;;) {
        mosaic_status status =
            ask(state, coordinator, 0,
                "SELECT nodeid FROM pg_dist_node WHERE hasmetadata AND NOT metadatasynced LIMIT 1", &waiting, error);

        if (status != MOSAIC_OK || !*waiting)
            return status;
        if (process_clock() > deadline) {
            error_set(error, MOSAIC_TIMEOUT, "a node of lab %s has not heard of the others' new ports within %d s",
                      state->name, SYNC_TIMEOUT_MS / 1000);
            return error_hint(error,
                              "look at SELECT * FROM pg_dist_node WHERE NOT metadatasynced, and at the log of the "
                              "coordinator");
        }
        usleep(100 * 1000);
    }
}

/* Anything that a person could have made; what belongs to an extension does not count. */
static const char count_relations[] =
    "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT LIKE 'pg\\_%' "
    "AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend d "
    "WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') LIMIT 1";

static mosaic_status check_worker(const struct state *state, PGconn *coordinator, size_t node, mosaic_error *error)
{
    PGconn *worker = connect_node(state, node, error);
    const char *own, *theirs, *table, *name = state->shards[node].name;
    mosaic_status status;

    if (!worker)
        return error ? error->status : MOSAIC_SERVER;
    status = ask(state, coordinator, 0, extension_version, &theirs, error);
    if (status == MOSAIC_OK)
        status = ask(state, worker, node, extension_version, &own, error);
    if (status == MOSAIC_OK)
        status = ask(state, worker, node, count_relations, &table, error);
    PQfinish(worker);
    if (status != MOSAIC_OK)
        return status;
    if (strcmp(own, theirs) != 0) {
        error_set(error, MOSAIC_SERVER, "%s has version %s of the extension citus, the coordinator %s", name,
                  *own ? own : "none", theirs);
        return error_hint(error, "run ALTER EXTENSION citus UPDATE in database %s of each node, then lab up again",
                          state->database);
    }
    if (*table) {
        error_set(error, MOSAIC_SERVER, "the database %s of %s is not empty: it has %s", state->database, name, table);
        return error_hint(error, "Citus replaces tables that have the names of distributed ones: drop what is there, "
                                 "then lab up again");
    }
    return MOSAIC_OK;
}

static mosaic_status add_worker(const struct state *state, PGconn *coordinator, size_t node, mosaic_error *error)
{
    const char *known;
    int port = state->shards[node].port;
    mosaic_status status =
        ask(state, coordinator, 0,
            arena_format(state->arena, "SELECT nodeid FROM pg_dist_node WHERE nodename = '%s' AND nodeport = %d", host,
                         port),
            &known, error);

    if (status != MOSAIC_OK || *known) /* added by a call that was cut off before it could say so in lab.json */
        return status;
    status = check_worker(state, coordinator, node, error);
    if (status == MOSAIC_OK)
        status = ask(state, coordinator, 0, arena_format(state->arena, "SELECT citus_add_node('%s', %d)", host, port),
                     NULL, error);
    return status;
}

/* A worker that was taken off the list by hand has no row there, and nothing is done. */
static mosaic_status move_worker(const struct state *state, PGconn *coordinator, size_t node, mosaic_error *error)
{
    const struct state_shard *server = &state->shards[node];

    return move_node(state, coordinator, server->port,
                     arena_format(state->arena, "nodename = '%s' AND nodeport = %d", host, server->config_port), error);
}

mosaic_status citus_register(struct state *state, bool wait, bool *changed, mosaic_error *error)
{
    PGconn *coordinator = connect_node(state, 0, error);
    bool moved = false;
    mosaic_status status;

    *changed = false;
    if (!coordinator)
        return error ? error->status : MOSAIC_SERVER;
    status = register_coordinator(state, coordinator, &moved, error);
    for (size_t i = 1; status == MOSAIC_OK && i < state->shard_count; i++) {
        struct state_shard *server = &state->shards[i];

        if (server->port == server->config_port || server->config_port == 0)
            continue;
        status = move_worker(state, coordinator, i, error);
        moved = true;
        if (status == MOSAIC_OK) {
            server->config_port = server->port;
            *changed = true;
        }
    }
    if (status == MOSAIC_OK && moved && wait)
        status = wait_for_daemon(state, coordinator, error);
    for (size_t i = 1; status == MOSAIC_OK && i < state->shard_count; i++) {
        struct state_shard *server = &state->shards[i];

        if (server->config_port != 0)
            continue;
        status = add_worker(state, coordinator, i, error);
        control_point("lab.after_registration");
        if (status == MOSAIC_OK) {
            server->config_port = server->port;
            *changed = true;
        }
    }
    PQfinish(coordinator);
    return status;
}

/* ---- a machine without Citus ------------------------------------------------------------------------- */

/* True if ID or ID_LIKE in os-release(5) has the word. */
static bool system_is_like(const char *word)
{
    FILE *file = fopen("/etc/os-release", "re");
    char line[512];
    bool found = false;

    while (file && !found && fgets(line, sizeof line, file))
        found = (strncmp(line, "ID=", 3) == 0 || strncmp(line, "ID_LIKE=", 8) == 0) && strstr(line, word);
    if (file)
        fclose(file);
    return found;
}

/* The last release of Citus for a PostgreSQL, as its change log says; its packages have the number in their names. */
static const char *citus_release(int major)
{
    if (major >= 18)
        return "14.0";
    return major >= 15 ? "13.2" : major == 14 ? "12.1" : "11.3";
}

/* "citus132" of "13.2": so its packages for rpm are called. */
static const char *rpm_name(const char *release, char name[24])
{
    snprintf(name, 24, "citus%.*s%s", (int)strcspn(release, "."), release, strchr(release, '.') + 1);
    return name;
}

static void advise(struct buffer *text, int major)
{
    const char *release = citus_release(major);
    char name[24];

    if (system_is_like("debian") || system_is_like("ubuntu"))
        buffer_format(
            text,
            "this system's own archive has no Citus: add its own (curl https://install.citusdata.com/community/deb.sh "
            "| sudo bash), then sudo apt-get install postgresql-%d-citus-%s",
            major, release);
    else if (system_is_like("fedora") || system_is_like("rhel"))
        buffer_format(text,
                      "add Citus's repository (curl https://install.citusdata.com/community/rpm.sh | sudo bash), then "
                      "sudo yum install %s_%d",
                      rpm_name(release, name), major);
    else
        buffer_format(text, "build Citus %s for PostgreSQL %d from its source, https://github.com/citusdata/citus",
                      release, major);
}

/* What Docker's own hint says to do, without the way back to local servers. */
static void advise_docker(struct buffer *text, const mosaic_error *docker)
{
    const char *end = docker ? strstr(docker->hint, ", or use --with local") : NULL;

    buffer_text(text, "; or use Docker's image " LAB_CITUS_IMAGE " (--with docker)");
    if (docker)
        buffer_format(text, ", with Docker in order: %.*s",
                      (int)(end ? end - docker->hint : (long)strlen(docker->hint)), docker->hint);
}

mosaic_status citus_explain_absence(struct arena *arena, const mosaic_error *docker, mosaic_error *error)
{
    struct buffer text = BUFFER_INIT(4096);
    const char *directory;
    char own[256];
    int major = 0;

    if (!error)
        return MOSAIC_NOT_FOUND;
    if (installation_find(arena, NULL, 0, false, &directory, &major, NULL) != MOSAIC_OK)
        major = CITUS_ADVISED_MAJOR;
    snprintf(own, sizeof own, "%.255s", error->message);
    if (docker)
        error_set(error, MOSAIC_NOT_FOUND, "%s, and Docker cannot give it (%.200s)", own, docker->message);
    error_detail(error,
                 "what works without Citus: make run, make run-matrix, and every command on servers of PostgreSQL "
                 "alone (engine: postgres)");
    advise(&text, major);
    advise_docker(&text, docker);
    error_hint(error, "%s", buffer_string(&text));
    buffer_free(&text);
    return error->status;
}
