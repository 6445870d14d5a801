#include "citus/candidate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GAPS_MOST = 64 };

struct looking {
    PGconn *coordinator, *node;
    const struct members *members;
    const char *host;
    int port;
    int64_t deadline;
    struct arena *arena;
    struct candidate *candidate;
    struct candidate_gap *gaps;
    mosaic_error *error;
};

/* ---- who reaches whom ---------------------------------------------------------------------------------- */

/* The first warning of a statement: citus_check_connection_to_node says there why it answers false. */
struct heard {
    char text[300];
};

static void hear(void *context, const PGresult *notice)
{
    static const char mark[] = "following error: ";
    struct heard *heard = context;
    const char *message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
    const char *cut = message ? strstr(message, mark) : NULL;
    if (!message || heard->text[0])
        return;
    message = cut ? cut + sizeof mark - 1 : message;
    snprintf(heard->text, sizeof heard->text, "%.*s", (int)strcspn(message, "\n"), message);
}

static void ignore_notice(void *context, const PGresult *notice)
{
    (void)context;
    (void)notice;
}

static mosaic_status add_gap(struct looking *looking, const char *from, const char *to, const char *why)
{
    struct candidate *candidate = looking->candidate;
    if (candidate->gap_count == GAPS_MOST)
        return MOSAIC_OK;
    struct candidate_gap gap = {arena_string(looking->arena, from), arena_string(looking->arena, to),
                                arena_string(looking->arena, *why ? why : "it does not say why")};
    if (!gap.from || !gap.to || !gap.why)
        return error_memory(looking->error);
    looking->gaps[candidate->gap_count++] = gap;
    return MOSAIC_OK;
}

/* Lets one server, that `connection` leads to, try another. */
static mosaic_status try_from(struct looking *looking, PGconn *connection, const char *from, const char *host, int port,
                              const char *to)
{
    char text[16];
    struct heard heard = {""};
    PGresult *result = NULL;
    snprintf(text, sizeof text, "%d", port);
    const char *values[] = {host, text};
    PQsetNoticeReceiver(connection, hear, &heard);
    mosaic_status status =
        pq_exec_params(connection, from, "SELECT pg_catalog.citus_check_connection_to_node($1::text, $2::integer)", 2,
                       values, looking->deadline, &result, looking->error);
    PQsetNoticeReceiver(connection, ignore_notice, NULL);
    if (status == MOSAIC_OK && PQgetvalue(result, 0, 0)[0] != 't')
        status = add_gap(looking, from, to, heard.text);
    PQclear(result);
    return status;
}

/* All nodes of the cluster try the new one; those that are down are not its fault, and are said by add_node. */
static mosaic_status try_from_members(struct looking *looking)
{
    char text[16];
    PGresult *result = NULL;
    snprintf(text, sizeof text, "%d", looking->port);
    const char *values[] = {looking->host, text};
    mosaic_status status =
        pq_exec_params(looking->coordinator, "coordinator",
                       "SELECT nodename || ':' || nodeport, success, result FROM pg_catalog.run_command_on_workers("
                       "pg_catalog.format('SELECT pg_catalog.citus_check_connection_to_node(%L, %s)', $1::text,"
                       " $2::integer))",
                       2, values, looking->deadline, &result, looking->error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++)
        if (PQgetvalue(result, row, 1)[0] != 't')
            status = add_gap(looking, "coordinator", PQgetvalue(result, row, 0), PQgetvalue(result, row, 2));
        else if (PQgetvalue(result, row, 2)[0] != 't')
            status = add_gap(looking, PQgetvalue(result, row, 0), looking->candidate->name, "");
    PQclear(result);
    return status;
}

static mosaic_status try_all(struct looking *looking)
{
    const char *name = looking->candidate->name;
    mosaic_status status = try_from(looking, looking->coordinator, "coordinator", looking->host, looking->port, name);
    /* One that the coordinator cannot reach, the others need not try. */
    if (status == MOSAIC_OK && looking->candidate->gap_count == 0)
        status = try_from_members(looking);
    for (size_t i = 0; i < looking->members->count && status == MOSAIC_OK; i++) {
        const struct member *member = &looking->members->list[i];
        if (member->active && member->reachable)
            status = try_from(looking, looking->node, name, member->host, member->port, member->name);
    }
    return status;
}

/* ---- what it is ---------------------------------------------------------------------------------------- */

static const char server_sql[] =
    "SELECT pg_catalog.current_setting('server_version_num')::integer / 10000, pg_catalog.pg_is_in_recovery(),"
    " pg_catalog.current_setting('wal_level') = 'logical',"
    " coalesce((SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'citus'), ''),"
    " EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'citus'), pg_catalog.current_database()";

static mosaic_status ask_servers(struct looking *looking)
{
    struct candidate *candidate = looking->candidate;
    PGresult *ours = NULL, *its = NULL;
    mosaic_status status =
        pq_exec(looking->coordinator, "coordinator", server_sql, looking->deadline, &ours, looking->error);
    if (status == MOSAIC_OK)
        status = pq_exec(looking->node, candidate->name, server_sql, looking->deadline, &its, looking->error);
    if (status == MOSAIC_OK) {
        candidate->coordinator_major = atoi(PQgetvalue(ours, 0, 0));
        candidate->coordinators_extension = arena_string(looking->arena, PQgetvalue(ours, 0, 3));
        candidate->major = atoi(PQgetvalue(its, 0, 0));
        candidate->standby = PQgetvalue(its, 0, 1)[0] == 't';
        candidate->logical = PQgetvalue(its, 0, 2)[0] == 't';
        candidate->extension = arena_string(looking->arena, PQgetvalue(its, 0, 3));
        candidate->available = PQgetvalue(its, 0, 4)[0] == 't';
        candidate->database = arena_string(looking->arena, PQgetvalue(its, 0, 5));
        if (!candidate->extension || !candidate->coordinators_extension || !candidate->database)
            status = error_memory(looking->error);
    }
    PQclear(ours);
    PQclear(its);
    return status;
}

/*
 * A node that was removed keeps its list of nodes: if the coordinator on it is ours, it was ours. The coordinator of
 * another cluster, even one that never registered itself, has other nodes on the list.
 */
static mosaic_status ask_cluster(struct looking *looking)
{
    struct candidate *candidate = looking->candidate;
    PGresult *result = NULL;
    mosaic_status status = pq_exec(looking->node, candidate->name,
                                   "SELECT nodename, nodeport, groupid FROM pg_catalog.pg_dist_node ORDER BY groupid",
                                   looking->deadline, &result, looking->error);
    candidate->other_cluster = "";
    if (status == MOSAIC_OK && PQntuples(result)) {
        const char *host = PQgetvalue(result, 0, 0);
        int port = atoi(PQgetvalue(result, 0, 1));
        const struct member *own = membership_find(looking->members, host, port);
        if (!own || own->group != atoi(PQgetvalue(result, 0, 2)))
            candidate->other_cluster = arena_format(looking->arena, "%s:%d", host, port);
    }
    PQclear(result);
    return candidate->other_cluster ? status : error_memory(looking->error);
}

/* Its tables that Citus would replace. The empty shells that a removed node keeps are on its own list of distributed
 * tables, and are no loss. */
static mosaic_status ask_tables(struct looking *looking)
{
    struct candidate *candidate = looking->candidate;
    PGresult *names = NULL, *result = NULL;
    mosaic_status status =
        pq_exec(looking->coordinator, "coordinator",
                "SELECT coalesce(pg_catalog.array_agg(n.nspname::text), '{}'),"
                " coalesce(pg_catalog.array_agg(c.relname::text), '{}') FROM pg_catalog.pg_dist_partition p"
                " JOIN pg_catalog.pg_class c ON c.oid = p.logicalrelid"
                " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
                looking->deadline, &names, looking->error);
    if (status == MOSAIC_OK) {
        const char *values[] = {PQgetvalue(names, 0, 0), PQgetvalue(names, 0, 1)};
        status = pq_exec_params(looking->node, candidate->name,
                                "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)"
                                " FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) u(s, t)"
                                " JOIN pg_catalog.pg_namespace n ON n.nspname = u.s"
                                " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = u.t"
                                " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p"
                                " WHERE p.logicalrelid = c.oid) ORDER BY 1",
                                2, values, looking->deadline, &result, looking->error);
    }
    if (status == MOSAIC_OK) {
        const char **clashes = arena_zeroed(looking->arena, (size_t)PQntuples(result) + 1, sizeof *clashes);
        candidate->clashes = clashes;
        status = clashes ? MOSAIC_OK : error_memory(looking->error);
        for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++) {
            clashes[candidate->clash_count] = arena_string(looking->arena, PQgetvalue(result, row, 0));
            if (!clashes[candidate->clash_count++])
                status = error_memory(looking->error);
        }
    }
    PQclear(names);
    PQclear(result);
    return status;
}

static mosaic_status hint_connect(const struct looking *looking)
{
    mosaic_error *error = looking->error;
    const char *name = looking->candidate->name;
    error->shard[0] = '\0'; /* the message names it, and it is no shard */
    if (error->status == MOSAIC_NOT_FOUND)
        return error_hint(error,
                          "make on %s the database and in it the extension: CREATE DATABASE %s, then CREATE "
                          "EXTENSION citus",
                          name, PQdb(looking->coordinator));
    if (error->status == MOSAIC_AUTH)
        return error_hint(error,
                          "let the login of the config's coordinator: work on %s too: the role with its "
                          "password, pg_hba.conf, and a line for it in the passfile",
                          name);
    if (error->status == MOSAIC_UNREACHABLE || error->status == MOSAIC_TIMEOUT)
        return error_hint(error, "is PostgreSQL up on %s, and does listen_addresses let others in?", name);
    return error->status;
}

mosaic_status candidate_look(const char *conninfo, PGconn *coordinator, const struct members *members, const char *host,
                             int port, int64_t deadline, struct arena *arena, struct candidate *candidate,
                             mosaic_error *error)
{
    struct looking looking = {
        .coordinator = coordinator,
        .members = members,
        .host = host,
        .port = port,
        .deadline = deadline,
        .arena = arena,
        .candidate = candidate,
        .error = error,
    };
    *candidate = (struct candidate){.name = arena_format(arena, "%s:%d", host, port), .other_cluster = ""};
    candidate->gaps = looking.gaps = arena_zeroed(arena, GAPS_MOST, sizeof *looking.gaps);
    char *there = pq_conninfo_at(conninfo, host, port);
    if (!there || !candidate->name || !looking.gaps) {
        memory_free(there);
        return error_memory(error);
    }
    mosaic_status status = pq_connect(there, candidate->name, "pgmosaic", pq_deadline(5000), &looking.node, error);
    memory_free(there);
    if (status != MOSAIC_OK)
        return hint_connect(&looking);
    status = ask_servers(&looking);
    if (status == MOSAIC_OK && *candidate->extension)
        status = ask_cluster(&looking);
    if (status == MOSAIC_OK && *candidate->extension)
        status = ask_tables(&looking);
    if (status == MOSAIC_OK && strcmp(candidate->extension, candidate->coordinators_extension) == 0 &&
        *candidate->extension)
        status = try_all(&looking);
    PQfinish(looking.node);
    return status;
}

/* ---- judgement ----------------------------------------------------------------------------------------- */

static void check_extension(const struct candidate *candidate, struct findings *findings)
{
    const char *name = candidate->name;
    if (*candidate->extension && strcmp(candidate->extension, candidate->coordinators_extension) != 0)
        finding_add(findings, true, name, "",
                    finding_text(findings,
                                 "install the same Citus on all nodes, then there: ALTER EXTENSION citus "
                                 "UPDATE TO '%s'",
                                 candidate->coordinators_extension),
                    "it has Citus %s, and the coordinator has %s", candidate->extension,
                    candidate->coordinators_extension);
    if (*candidate->extension)
        return;
    if (candidate->available)
        finding_add(findings, true, name, "",
                    "put citus first in shared_preload_libraries, restart it, and in that database: CREATE EXTENSION "
                    "citus",
                    "its database %s has no extension citus", candidate->database);
    else
        finding_add(findings, true, name, "", "install the package of Citus that the coordinator has",
                    "Citus is not installed there");
}

void candidate_check(const struct candidate *candidate, struct findings *findings)
{
    const char *name = candidate->name;
    if (candidate->major != candidate->coordinator_major)
        finding_add(findings, true, name, "", "use the same major version of PostgreSQL on all nodes",
                    "it runs PostgreSQL %d, and the coordinator runs %d", candidate->major,
                    candidate->coordinator_major);
    if (candidate->standby)
        finding_add(findings, true, name, "", "name its primary", "it is a standby, and takes no writes");
    check_extension(candidate, findings);
    if (*candidate->other_cluster)
        finding_add(findings, true, name, "", "remove it there first, or use a fresh database",
                    "it belongs to another Citus cluster: %s is on its list of nodes", candidate->other_cluster);
    for (size_t i = 0; i < candidate->clash_count; i++)
        finding_add(findings, true, name, candidate->clashes[i],
                    finding_text(findings, "rename or drop it there: DROP TABLE %s", candidate->clashes[i]),
                    "a table of that name is distributed, and Citus would replace the one that stands there");
    for (size_t i = 0; i < candidate->gap_count; i++)
        finding_add(findings, true, candidate->gaps[i].from, "",
                    "every node logs in to every other one: see listen_addresses, pg_hba.conf, citus.node_conninfo "
                    "(sslmode) and the passfile of its servers (or pg_dist_authinfo)",
                    "it cannot log in to %s: %s", candidate->gaps[i].to, candidate->gaps[i].why);
    if (!candidate->logical)
        finding_add(findings, false, name, "", "ALTER SYSTEM SET wal_level = logical there, and restart it",
                    "wal_level is not logical: shards that it gets can later leave it only with writes blocked");
}
