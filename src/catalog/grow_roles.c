/*
 * Roles belong to a server, not to a database: before definitions name them they must be on every shard. Looked for
 * are the roles that own, or were granted, something in the home database, and who is a member of them; where one is
 * to be made, so are the groups that it is in.
 */
#include "catalog/grow_steps.h"
#include "core/sqlexpr.h"

#include <string.h>

/* Columns of both: name, attributes; %s is the password's verifier where the role may read it. Groups come behind all
 * of their members. */
#define ROLES_SQL(password, more)                                                                                 \
    "WITH RECURSIVE d AS (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())," \
    " r AS (SELECT s.refobjid AS oid FROM pg_catalog.pg_shdepend s, d WHERE s.refclassid = 'pg_authid'::regclass" \
    " AND (s.dbid = d.oid OR s.dbid = 0 AND s.classid = 'pg_database'::regclass AND s.objid = d.oid)"             \
    " UNION SELECT m.member FROM pg_catalog.pg_auth_members m JOIN r ON m.roleid = r.oid),"                       \
    " g AS (SELECT oid, 0 AS height FROM r"                                                                       \
    " UNION SELECT m.roleid, g.height + 1 FROM pg_catalog.pg_auth_members m JOIN g ON m.member = g.oid),"         \
    " h AS (SELECT oid, max(height) AS height FROM g GROUP BY oid)"                                               \
    " SELECT a.rolname, concat_ws(' ', CASE WHEN a.rolsuper THEN 'SUPERUSER' END,"                                \
    " CASE WHEN NOT a.rolinherit THEN 'NOINHERIT' END, CASE WHEN a.rolcreaterole THEN 'CREATEROLE' END,"          \
    " CASE WHEN a.rolcreatedb THEN 'CREATEDB' END, CASE WHEN a.rolcanlogin THEN 'LOGIN' END,"                     \
    " CASE WHEN a.rolbypassrls THEN 'BYPASSRLS' END, 'CONNECTION LIMIT ' || a.rolconnlimit" password "),"         \
    " ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m"                                                   \
    "  JOIN pg_catalog.pg_roles b ON b.oid = m.roleid WHERE m.member = a.oid)::text,"                             \
    " (SELECT count(*) FROM pg_catalog.pg_db_role_setting x WHERE x.setrole = a.oid),"                            \
    " a.oid IN (SELECT oid FROM r)"                                                                               \
    " FROM pg_catalog.pg_roles a JOIN h USING (oid) " more " WHERE a.rolname !~ '^pg_' ORDER BY h.height, 1"

static const char roles_sql[] = ROLES_SQL("", "");
static const char secret_roles_sql[] = ROLES_SQL(", 'PASSWORD ' || pg_catalog.quote_literal(p.rolpassword)",
                                                 "JOIN pg_catalog.pg_authid p ON p.oid = a.oid");
enum { NAME, ATTRIBUTES, GROUPS, SETTINGS, IS_USED };

static mosaic_status read_roles(struct apply *apply, PGresult **roles, mosaic_error *error)
{
    struct apply_shard *home = &apply->shards[apply->catalog_shard];
    PGresult *result = NULL;
    mosaic_status status =
        pq_exec(home->connection, home->facts.shard, "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')",
                pq_deadline(GROW_STEP_MS), &result, error);
    bool secrets = status == MOSAIC_OK && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    if (status == MOSAIC_OK)
        status = pq_exec(home->connection, home->facts.shard, secrets ? secret_roles_sql : roles_sql,
                         pq_deadline(GROW_STEP_MS), roles, error);
    return status;
}

struct mark {
    bool there, is_made; /* the shard has the role; it is to be made */
};

static struct mark *new_marks(struct apply *apply, const PGresult *roles)
{
    return arena_zeroed(&apply->arena, (size_t)PQntuples(roles) + 1, sizeof(struct mark));
}

/* What the shard lacks is made where it has something here, or is a group of what is made. */
static mosaic_status mark_made(struct apply *apply, const PGresult *roles, struct mark *marks, mosaic_error *error)
{
    for (int i = 0; i < PQntuples(roles); i++) {
        const char *const *groups;
        size_t count;
        marks[i].is_made |= PQgetvalue(roles, i, IS_USED)[0] == 't';
        marks[i].is_made &= !marks[i].there;
        if (!marks[i].is_made)
            continue;
        if (!state_split_array(&apply->arena, PQgetvalue(roles, i, GROUPS), &groups, &count))
            return error_memory(error);
        for (int group = i + 1; group < PQntuples(roles); group++)
            for (size_t g = 0; g < count; g++)
                marks[group].is_made |= strcmp(groups[g], PQgetvalue(roles, group, NAME)) == 0;
    }
    return MOSAIC_OK;
}

/* Marks the roles for a shard. *may: ours may make more. */
static mosaic_status compare(struct apply *apply, size_t shard, const PGresult *roles, struct mark *marks, bool *may,
                             mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_status status =
        pq_exec(apply->shards[shard].connection, apply->model->shards[shard].name,
                "SELECT rolname, false FROM pg_catalog.pg_roles UNION ALL SELECT '', rolsuper OR rolcreaterole"
                " FROM pg_catalog.pg_roles WHERE rolname = current_user",
                pq_deadline(GROW_STEP_MS), &result, error);
    for (int i = 0; status == MOSAIC_OK && i < PQntuples(roles); i++)
        marks[i] = (struct mark){false, false};
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++) {
        if (!*PQgetvalue(result, row, 0))
            *may = PQgetvalue(result, row, 1)[0] == 't';
        for (int i = 0; i < PQntuples(roles); i++)
            marks[i].there |= strcmp(PQgetvalue(roles, i, NAME), PQgetvalue(result, row, 0)) == 0;
    }
    PQclear(result);
    return status == MOSAIC_OK ? mark_made(apply, roles, marks, error) : status;
}

static void judge(struct apply *apply, size_t shard, const PGresult *roles, int role, bool may)
{
    const char *name = PQgetvalue(roles, role, NAME), *at = apply->model->shards[shard].name;
    if (!may || strstr(PQgetvalue(roles, role, ATTRIBUTES), "SUPERUSER") ||
        strstr(PQgetvalue(roles, role, ATTRIBUTES), "BYPASSRLS"))
        finding_add(&apply->findings, true, at, "",
                    "as an administrator: CREATE ROLE, with its attributes and password",
                    "role %s of the home shard is missing, and this role may not make it", name);
    else
        buffer_format(&apply->difference.plan, "+ role %s on %s\n", name, at);
    if (strcmp(PQgetvalue(roles, role, SETTINGS), "0") != 0)
        finding_add(&apply->findings, false, at, "", "ALTER ROLE … SET them there, too",
                    "role %s has settings of its own on the home shard, which are not carried", name);
}

mosaic_status grow_check_roles(struct apply *apply, mosaic_error *error)
{
    PGresult *roles = NULL;
    mosaic_status status = read_roles(apply, &roles, error);
    struct mark *marks = status == MOSAIC_OK ? new_marks(apply, roles) : NULL;
    if (status == MOSAIC_OK && !marks)
        status = error_memory(error);
    for (size_t shard = 0; status == MOSAIC_OK && shard < apply->model->shard_count; shard++) {
        bool may = false;
        if (shard == apply->catalog_shard)
            continue;
        status = compare(apply, shard, roles, marks, &may, error);
        for (int i = 0; status == MOSAIC_OK && i < PQntuples(roles); i++)
            if (marks[i].is_made)
                judge(apply, shard, roles, i, may);
    }
    PQclear(roles);
    return status;
}

/* First all roles, then who is in which. */
static mosaic_status make(struct grow *grow, size_t shard, const PGresult *roles, const struct mark *marks,
                          mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(GROW_SQL_MOST);
    for (int i = 0; i < PQntuples(roles); i++) {
        if (!marks[i].is_made)
            continue;
        buffer_text(&sql, "CREATE ROLE ");
        sql_identifier(&sql, PQgetvalue(roles, i, NAME));
        buffer_format(&sql, " %s; ", PQgetvalue(roles, i, ATTRIBUTES));
    }
    for (int i = 0; i < PQntuples(roles); i++) {
        const char *const *groups;
        size_t count = 0;
        if (!marks[i].is_made)
            continue;
        if (!state_split_array(&grow->apply->arena, PQgetvalue(roles, i, GROUPS), &groups, &count)) {
            buffer_free(&sql);
            return error_memory(error);
        }
        for (size_t g = 0; g < count; g++) {
            buffer_text(&sql, "GRANT ");
            sql_identifier(&sql, groups[g]);
            buffer_text(&sql, " TO ");
            sql_identifier(&sql, PQgetvalue(roles, i, NAME));
            buffer_text(&sql, "; ");
        }
    }
    if (!sql.size && !buffer_failed(&sql))
        return MOSAIC_OK;
    mosaic_status status = grow_run_buffer(grow, shard, &sql, GROW_STEP_MS, NULL);
    if (status != MOSAIC_OK)
        *error = grow->apply->shards[shard].error;
    return status;
}

mosaic_status grow_roles(struct grow *grow, mosaic_error *error)
{
    struct apply *apply = grow->apply;
    PGresult *roles = NULL;
    mosaic_status status = read_roles(apply, &roles, error);
    struct mark *marks = status == MOSAIC_OK ? new_marks(apply, roles) : NULL;
    if (status == MOSAIC_OK && !marks)
        status = error_memory(error);
    for (size_t shard = 0; status == MOSAIC_OK && shard < apply->model->shard_count; shard++) {
        bool may;
        if (shard == grow->home)
            continue;
        status = compare(apply, shard, roles, marks, &may, error);
        if (status == MOSAIC_OK)
            status = make(grow, shard, roles, marks, error);
    }
    PQclear(roles);
    return status;
}
