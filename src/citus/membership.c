#include "citus/membership.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char where[] = "coordinator"; /* all statements go there */

static const char read_sql[] =
    "SELECT n.nodename, n.nodeport, n.nodeid, n.groupid, n.isactive, n.shouldhaveshards,"
    " (SELECT count(*) FROM pg_catalog.pg_dist_placement q JOIN pg_catalog.pg_dist_shard s USING (shardid)"
    " JOIN pg_catalog.pg_dist_partition p USING (logicalrelid)"
    " WHERE q.groupid = n.groupid AND NOT (p.partmethod = 'n' AND p.repmodel = 't')),"
    " coalesce(a.success, false), coalesce(a.result, '')"
    " FROM pg_catalog.pg_dist_node n LEFT JOIN pg_catalog.run_command_on_all_nodes($$"
    "SELECT pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) || ' ' ||"
    " (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'citus') || ' ' ||"
    " pg_catalog.pg_database_size(pg_catalog.current_database())$$) a USING (nodeid)"
    " WHERE n.noderole = 'primary' ORDER BY n.groupid <> 0, n.nodename, n.nodeport";

static int number(const PGresult *result, int row, int column)
{
    return atoi(PQgetvalue(result, row, column));
}

/* "15.4 13.2-1 12345678", or what libpq said. */
static mosaic_status take_answer(const char *answer, struct arena *arena, struct member *member, mosaic_error *error)
{
    char server[64] = "", extension[64] = "";
    long long bytes = 0;
    if (member->reachable && sscanf(answer, "%63s %63s %lld", server, extension, &bytes) != 3)
        member->reachable = false;
    member->bytes = bytes;
    member->server = arena_string(arena, server);
    member->extension = arena_string(arena, extension);
    member->failure = member->reachable ? "" : arena_copy(arena, answer, strcspn(answer, "\n"));
    return member->server && member->extension && member->failure ? MOSAIC_OK : error_memory(error);
}

mosaic_status membership_read(PGconn *coordinator, int64_t deadline, struct arena *arena, struct members *members,
                              mosaic_error *error)
{
    PGresult *result = NULL;
    *members = (struct members){0};
    mosaic_status status = pq_exec(coordinator, where, read_sql, deadline, &result, error);
    if (status != MOSAIC_OK)
        return status;
    struct member *list = arena_zeroed(arena, (size_t)PQntuples(result) + 1, sizeof *list);
    if (!list)
        status = error_memory(error);
    members->list = list;
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++) {
        struct member *member = &list[members->count++];
        member->host = arena_string(arena, PQgetvalue(result, row, 0));
        member->port = number(result, row, 1);
        member->name = member->host ? arena_format(arena, "%s:%d", member->host, member->port) : NULL;
        member->id = number(result, row, 2);
        member->group = number(result, row, 3);
        member->active = PQgetvalue(result, row, 4)[0] == 't';
        member->has_shards = PQgetvalue(result, row, 5)[0] == 't';
        member->shards = strtoul(PQgetvalue(result, row, 6), NULL, 10);
        member->reachable = PQgetvalue(result, row, 7)[0] == 't';
        members->registered |= member->group == 0;
        status = member->name ? take_answer(PQgetvalue(result, row, 8), arena, member, error) : error_memory(error);
    }
    PQclear(result);
    return status;
}

/* ---- judgement ----------------------------------------------------------------------------------------- */

const struct member *membership_find(const struct members *members, const char *host, int port)
{
    for (size_t i = 0; i < members->count; i++)
        if (members->list[i].port == port && strcmp(members->list[i].host, host) == 0)
            return &members->list[i];
    return NULL;
}

size_t membership_takers(const struct members *members, const struct member *leaving)
{
    size_t count = 0;
    for (size_t i = 0; i < members->count; i++)
        count += &members->list[i] != leaving && members->list[i].active && members->list[i].has_shards;
    return count;
}

mosaic_status membership_address(struct arena *arena, const char *typed, const char **host, int *port,
                                 mosaic_error *error)
{
    const char *colon = strrchr(typed, ':'), *start = typed;
    size_t size = colon ? (size_t)(colon - typed) : 0;
    bool bracketed = size >= 2 && typed[0] == '[' && typed[size - 1] == ']';
    char *end = NULL;
    long value = colon && colon[1] >= '0' && colon[1] <= '9' ? strtol(colon + 1, &end, 10) : 0;
    if (bracketed) {
        start++;
        size -= 2;
    }
    bool plain = size > 0 && size <= 255 && (bracketed || !memchr(start, ':', size));
    for (size_t i = 0; plain && i < size; i++)
        plain = (unsigned char)start[i] > ' ' && start[i] != '/' && start[i] != '\'' && start[i] != ',';
    if (!plain || value < 1 || value > 65535 || !end || *end)
        return error_set(error, MOSAIC_USAGE, "a node is written HOST:PORT, such as 10.0.0.2:5432, not \"%s\"", typed);
    *host = arena_copy(arena, start, size);
    *port = (int)value;
    return *host ? MOSAIC_OK : error_memory(error);
}

mosaic_status membership_may_leave(const struct member *member, mosaic_error *error)
{
    if (member->group == 0) {
        error_set(error, MOSAIC_PREFLIGHT, "node %s is the coordinator: the cluster cannot be without it",
                  member->name);
        return error_hint(error, "to take shards off it: pgmosaic node drain %s", member->name);
    }
    if (member->shards) {
        error_set(error, MOSAIC_PREFLIGHT, "node %s has %zu shard%s that stand%s nowhere else", member->name,
                  member->shards, member->shards == 1 ? "" : "s", member->shards == 1 ? "s" : "");
        return error_hint(error, "move them to the other nodes first: pgmosaic node drain %s", member->name);
    }
    return MOSAIC_OK;
}

mosaic_status membership_may_drain(const struct members *members, const struct member *member, mosaic_error *error)
{
    if (member->shards == 0 || membership_takers(members, member))
        return MOSAIC_OK;
    error_set(error, MOSAIC_PREFLIGHT, "node %s has %zu shard%s, and no other node may hold shards", member->name,
              member->shards, member->shards == 1 ? "" : "s");
    return error_hint(error, "add a node first (pgmosaic node add HOST:PORT), or let a drained one hold shards again "
                             "(pgmosaic node drain HOST:PORT --cancel)");
}

/* ---- changes ------------------------------------------------------------------------------------------- */

/* A statement with the node's host and port as $1 and $2. */
static mosaic_status about(PGconn *coordinator, const char *sql, const char *host, int port, int64_t deadline,
                           PGresult **result, mosaic_error *error)
{
    char text[16];
    snprintf(text, sizeof text, "%d", port);
    const char *values[] = {host, text};
    return pq_exec_params(coordinator, where, sql, 2, values, deadline, result, error);
}

mosaic_status membership_add(PGconn *coordinator, const char *host, int port, int64_t deadline, int *id,
                             mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_status status = about(coordinator, "SELECT pg_catalog.citus_add_node($1::text, $2::integer)", host, port,
                                 deadline, &result, error);
    *id = status == MOSAIC_OK ? number(result, 0, 0) : 0;
    PQclear(result);
    return status;
}

mosaic_status membership_register(PGconn *coordinator, const char *host, int port, int64_t deadline,
                                  mosaic_error *error)
{
    return about(coordinator, "SELECT pg_catalog.citus_set_coordinator_host($1::text, $2::integer)", host, port,
                 deadline, NULL, error);
}

mosaic_status membership_remove(PGconn *coordinator, const struct member *member, int64_t deadline, mosaic_error *error)
{
    return about(coordinator, "SELECT pg_catalog.citus_remove_node($1::text, $2::integer)", member->host, member->port,
                 deadline, NULL, error);
}

mosaic_status membership_keep(PGconn *coordinator, const struct member *member, int64_t deadline, mosaic_error *error)
{
    return about(coordinator,
                 "SELECT pg_catalog.citus_set_node_property($1::text, $2::integer, 'shouldhaveshards', true)",
                 member->host, member->port, deadline, NULL, error);
}

mosaic_status membership_drain(PGconn *coordinator, const struct member *member, enum move_mode mode, int64_t deadline,
                               int64_t *job, mosaic_error *error)
{
    *job = 0;
    mosaic_status status = pq_exec(coordinator, where, "BEGIN", deadline, NULL, error);
    if (status == MOSAIC_OK)
        status = about(coordinator,
                       "SELECT pg_catalog.citus_set_node_property($1::text, $2::integer, 'shouldhaveshards', false)",
                       member->host, member->port, deadline, NULL, error);
    if (status == MOSAIC_OK && member->shards)
        status = rebalance_start(coordinator, true, mode, deadline, job, error);
    if (status == MOSAIC_OK && member->shards && !*job)
        status = error_set(error, MOSAIC_SERVER, "Citus finds no node that could take the %zu shards of %s",
                           member->shards, member->name);
    if (status == MOSAIC_OK)
        return pq_exec(coordinator, where, "COMMIT", deadline, NULL, error);
    if (PQtransactionStatus(coordinator) == PQTRANS_INERROR || PQtransactionStatus(coordinator) == PQTRANS_INTRANS)
        (void)!pq_exec(coordinator, where, "ROLLBACK", pq_deadline(5000), NULL, NULL);
    return status;
}
