/*
 * Citus: distributed PostgreSQL. A coordinator knows which worker holds which shard of a table; clients ask it as they
 * would ask one PostgreSQL.
 *
 *     shard = the range that hash(key) falls into, node = where the shard stands
 *
 * `make run-citus` starts coordinator and workers, creates the tables (citus.sql), has pgmosaic distribute them
 * (`pgmosaic apply`), and runs this program. Everything it prints was read back from a server. It stands on the public
 * library alone: the calls are those of the other examples.
 */
#include "people.h"
#include "questions.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 120000, COORDINATOR = 0 /* the only shard of such a cluster, as the library sees it */ };

static PGresult *ask(mosaic_cluster *cluster, const char *sql)
{
    mosaic_error error;
    PGresult *result;
    if (mosaic_exec_shard(cluster, COORDINATOR, &(mosaic_statement){.sql = sql}, TIMEOUT_MS, &result, &error) !=
        MOSAIC_OK)
        story_fail("asking the coordinator", &error);
    return result;
}

/* Every row of an answer as a line, columns apart by two spaces. */
static void show(mosaic_cluster *cluster, const char *sql)
{
    PGresult *result = ask(cluster, sql);
    for (int row = 0; row < PQntuples(result); row++) {
        char line[512] = "";
        for (int column = 0; column < PQnfields(result); column++) {
            size_t used = strlen(line);
            snprintf(line + used, sizeof line - used, "%s%s", column ? "  " : "", PQgetvalue(result, row, column));
        }
        story_line("%s", line);
    }
    PQclear(result);
}

static void load(mosaic_cluster *cluster, const char *table, ptrdiff_t (*generate)(void *, void *, size_t))
{
    mosaic_error error;
    mosaic_progress done;
    int made = 0;
    double started = story_seconds();
    mosaic_load load = {.read = generate, .context = &made, .replace = true};
    if (mosaic_load_table(cluster, table, &load, &done, &error) != MOSAIC_OK)
        story_fail("loading", &error);
    story_line("%s rows of %s loaded in %.1f s", story_count(done.rows), table, story_seconds() - started);
}

/* Rows and bytes of users on each worker, as the workers say. */
static void show_placements(mosaic_cluster *cluster)
{
    PGresult *result =
        ask(cluster, "SELECT s.nodename || ':' || s.nodeport, count(*), sum(r.result::bigint),"
                     " sum(s.shard_size), max(sum(r.result::bigint)) OVER ()"
                     " FROM citus_shards s JOIN run_command_on_shards('users', 'SELECT count(*) FROM %s') r"
                     " USING (shardid) WHERE s.table_name = 'users'::regclass GROUP BY 1 ORDER BY 1");
    for (int row = 0; row < PQntuples(result); row++) {
        char name[64];
        snprintf(name, sizeof name, "%s, %s shards", PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
        story_bar(name, strtoull(PQgetvalue(result, row, 2), NULL, 10), strtoull(PQgetvalue(result, row, 4), NULL, 10),
                  strtoull(PQgetvalue(result, row, 3), NULL, 10));
    }
    PQclear(result);
}

/* Where one user is, as the planner says: the lines of EXPLAIN that name task, node and shard. */
static void show_routing(mosaic_cluster *cluster)
{
    static const char *const telling[] = {"Task Count", "Node:", "Scan using"};
    PGresult *result = ask(cluster, "EXPLAIN (COSTS OFF) SELECT name FROM users WHERE id = 42");
    story_line("SELECT name FROM users WHERE id = 42");
    for (int row = 0; row < PQntuples(result); row++)
        for (size_t i = 0; i < sizeof telling / sizeof *telling; i++)
            if (strstr(PQgetvalue(result, row, 0), telling[i]))
                story_line("  %s", strstr(PQgetvalue(result, row, 0), "->") ? strstr(PQgetvalue(result, row, 0), "->")
                                                                            : PQgetvalue(result, row, 0));
    PQclear(result);
}

static void rebalance(mosaic_cluster *cluster, const char *workers)
{
    const char *lab = getenv("PGDATABASE");
    story_pgmosaic((const char *[]){"lab", "up", lab, "--workers", workers, NULL});
    story_show_pgmosaic((const char *[]){"rebalance", NULL});
    show_placements(cluster);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: citus SHARDS.yaml ALONE.yaml WORKERS   (make run-citus)\n");
        return 2;
    }
    const char *config = getenv("PGMOSAIC_CONFIG");
    mosaic_cluster *cluster = questions_open(config ? config : "mosaic.yaml");

    story_heading("The nodes");
    show(cluster, "SELECT nodename || ':' || nodeport, CASE WHEN groupid = 0 THEN 'coordinator' ELSE 'worker' END,"
                  " split_part(citus_version(), ' on ', 1) FROM pg_dist_node ORDER BY groupid");
    story_heading("The tables");
    show(cluster, "SELECT rpad(table_name::text, 10), citus_table_type, CASE WHEN citus_table_type = 'distributed' THEN"
                  " format('by %s, %s shards, colocation group %s', distribution_column, shard_count, colocation_id)"
                  " ELSE 'a copy on every node' END FROM citus_tables ORDER BY table_name::text");
    load(cluster, "users", people_users);
    load(cluster, "members", people_members);
    questions_make_orders(cluster);
    story_heading("Where the users are");
    show_placements(cluster);
    story_heading("One user: one task, one worker asked");
    show_routing(cluster);
    story_heading("All users: every worker counts its shards; orders join where their users are");
    show(cluster, "SELECT format('count(*) = %s, newest %s', count(*), max(created)) FROM users");
    show(cluster, "SELECT format('%s: %s orders, %s', c.name, count(*), sum(o.amount)) FROM users u JOIN orders o"
                  " ON o.user_id = u.id JOIN countries c ON c.code = o.country GROUP BY c.name ORDER BY c.name");
    story_heading("One worker more, and a rebalance");
    rebalance(cluster, argv[3]);

    struct place places[PLACES_MOST] = {{.name = "one PostgreSQL", .cluster = questions_open(argv[2])},
                                        {.name = "modulo shards", .cluster = questions_open(argv[1])},
                                        {.name = "Citus", .cluster = cluster}};
    story_heading("The same questions, each the best of five");
    for (size_t i = 0; i < 2; i++) {
        mosaic_error error;
        int made = 0;
        mosaic_load users = {.read = people_users, .context = &made, .replace = true};
        if (mosaic_load_table(places[i].cluster, "users", &users, NULL, &error) != MOSAIC_OK)
            story_fail("loading", &error);
        questions_make_orders(places[i].cluster);
    }
    questions_compare(places, PLACES_MOST);
    story_what_next("users", "route users 42 43 44", "status");
    for (size_t i = 0; i < PLACES_MOST; i++)
        mosaic_close(places[i].cluster);
    return 0;
}
