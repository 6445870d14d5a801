#include "catalog/coordinator_settle.h"

#include "base/error.h"
#include "catalog/coordinator.h"

#include <string.h>

enum { SQL_MOST = 4 * 1024 * 1024 };

/*
 * Settings of this database, a row each, in an order of their own: as text to be compared, and as statements that give
 * them to a database whose name stands in for %1$I. A list such as search_path keeps its form only by way of FROM
 * CURRENT, as pg_dump's makeAlterConfigCommand explains.
 */
static const char settings_sql[] =
    "SELECT pg_catalog.format('%s %s = %s', coalesce(r.rolname, '*'), s.name, s.value),"
    " CASE WHEN s.name NOT IN ('role', 'session_authorization') THEN"
    "  pg_catalog.format('SELECT pg_catalog.set_config(%L, %L, true)', s.name, s.value) END,"
    " CASE WHEN r.rolname IS NULL THEN 'ALTER DATABASE %1$I'"
    "  ELSE pg_catalog.format('ALTER ROLE %I IN DATABASE %%1$I', r.rolname) END"
    "  || pg_catalog.format(' SET %I FROM CURRENT', s.name)"
    " FROM (SELECT d.setrole, pg_catalog.split_part(c, '=', 1) AS name,"
    "   pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1) AS value"
    "  FROM pg_catalog.pg_db_role_setting d CROSS JOIN LATERAL pg_catalog.unnest(d.setconfig) c"
    "  WHERE d.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())) s"
    " LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole"
    " WHERE s.name NOT IN ('jit', 'enable_async_append') ORDER BY 1";

/* Forgets what the database had. A role whose settings may not be changed keeps them, and the comparison finds it. */
static const char forget_sql[] =
    "DO $do$ DECLARE r name; BEGIN"
    " EXECUTE pg_catalog.format('ALTER DATABASE %I RESET ALL', pg_catalog.current_database());"
    " FOR r IN SELECT a.rolname FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_roles a ON a.oid = s.setrole"
    "  WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
    " LOOP BEGIN EXECUTE pg_catalog.format('ALTER ROLE %I IN DATABASE %I RESET ALL', r, pg_catalog.current_database());"
    "  EXCEPTION WHEN insufficient_privilege THEN NULL; END; END LOOP;"
    /*
     * Without statistics nearly every join over foreign tables seems worth compiling, at 50 to 500 ms each. And an
     * asynchronous scan whose pushed-down condition has a subquery that stops early leaves a request on the connection
     * that the scan itself then needs: "another command is already in progress" (postgres_fdw of PostgreSQL 15).
     */
    " EXECUTE pg_catalog.format('ALTER DATABASE %I SET jit = off', pg_catalog.current_database());"
    " EXECUTE pg_catalog.format('ALTER DATABASE %I SET enable_async_append = off', pg_catalog.current_database());"
    " EXCEPTION WHEN insufficient_privilege THEN NULL; END $do$";

/*
 * postgres_fdw leaves implicit casts out of what it sends. That is the same expression again, unless the planner has
 * put the body of an SQL function in its call's place: length($1) of a text is another function than length(c) of a
 * char(5). A function with a setting is never inlined: this one is VACUUM's alone, and any role may set it.
 */
static const char functions_sql[] =
    "SELECT pg_catalog.format('ALTER ROUTINE %s SET vacuum_cost_limit = 200', p.oid::pg_catalog.regprocedure)"
    " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang"
    " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    " WHERE l.lanname = 'sql' AND p.prokind = 'f' AND p.oid >= 16384 AND n.nspname <> 'mosaic'"
    " AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass"
    "  AND e.objid = p.oid AND e.deptype = 'e')";

struct settling {
    PGconn *home, *coordinator;
    int64_t deadline;
    struct buffer *lacks;
    mosaic_error *error;
};

static mosaic_status run(const struct settling *settling, const char *sql)
{
    return pq_exec(settling->coordinator, COORDINATOR_NAME, sql, settling->deadline, NULL, settling->error);
}

/* Where the role may not, nothing is done. */
static mosaic_status run_if_allowed(const struct settling *settling, const char *statement)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_format(&sql,
                  "DO $mosaic_do$ BEGIN EXECUTE pg_catalog.format($mosaic_sql$%s$mosaic_sql$, "
                  "pg_catalog.current_database());"
                  " EXCEPTION WHEN insufficient_privilege OR undefined_object THEN NULL; END $mosaic_do$",
                  statement);
    mosaic_status status = buffer_failed(&sql) ? error_memory(settling->error) : run(settling, buffer_string(&sql));
    buffer_free(&sql);
    return status;
}

static mosaic_status ask_settings(const struct settling *settling, PGconn *connection, const char *name,
                                  PGresult **rows)
{
    return pq_exec(connection, name, settings_sql, settling->deadline, rows, settling->error);
}

static bool are_equal(const PGresult *left, const PGresult *right)
{
    bool equal = PQntuples(left) == PQntuples(right);
    for (int row = 0; equal && row < PQntuples(left); row++)
        equal = strcmp(PQgetvalue(left, row, 0), PQgetvalue(right, row, 0)) == 0;
    return equal;
}

static mosaic_status settle_settings(const struct settling *settling)
{
    PGresult *wanted = NULL, *got = NULL;
    mosaic_status status = ask_settings(settling, settling->home, "home", &wanted);
    if (status == MOSAIC_OK)
        status = run(settling, forget_sql);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(wanted); row++) {
        if (PQgetisnull(wanted, row, 1))
            continue; /* who one is cannot be given this way; the comparison will find it */
        status = run(settling, PQgetvalue(wanted, row, 1));
        if (status == MOSAIC_OK)
            status = run_if_allowed(settling, PQgetvalue(wanted, row, 2));
    }
    if (status == MOSAIC_OK)
        status = ask_settings(settling, settling->coordinator, COORDINATOR_NAME, &got);
    if (status == MOSAIC_OK && !are_equal(wanted, got))
        buffer_text(settling->lacks,
                    "settings of the home shard's database (ALTER DATABASE … SET, ALTER ROLE … IN DATABASE "
                    "… SET): the role may not give them to the coordinator's\n");
    PQclear(wanted);
    PQclear(got);
    return status;
}

static mosaic_status settle_functions(const struct settling *settling)
{
    PGresult *rows = NULL;
    mosaic_status status =
        pq_exec(settling->coordinator, COORDINATOR_NAME, functions_sql, settling->deadline, &rows, settling->error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(rows); row++)
        status = run(settling, PQgetvalue(rows, row, 0));
    PQclear(rows);
    return status;
}

mosaic_status coordinator_settle(PGconn *home, PGconn *coordinator, int64_t deadline, struct buffer *lacks,
                                 mosaic_error *error)
{
    struct settling settling = {home, coordinator, deadline, lacks, error};
    mosaic_status status = settle_functions(&settling);
    return status == MOSAIC_OK ? settle_settings(&settling) : status;
}
