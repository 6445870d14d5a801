#include "catalog/coordinator_apply.h"

#include "catalog/coordinator.h"
#include "catalog/coordinator_build.h"
#include "catalog/coordinator_server.h"
#include "config/config.h"
#include "core/sqlexpr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MOST = 64 * 1024, BUILD_MS = 600000 };

const char *coordinator_state_name(enum coordinator_state state)
{
    static const char *const names[] = {
#define X(identifier, words) words,
        COORDINATOR_STATE_LIST(X)
#undef X
    };
    return names[state];
}

/* ---- what an administrator is asked for ---- */

static void add_identifier(struct buffer *text, const char *name)
{
    sql_identifier(text, name);
}

static void add_literal(struct buffer *text, const char *value)
{
    sql_literal(text, value, strlen(value));
}

/* Sorted as the home shard's: the coordinator's order is the cluster's. */
static void add_create_database(struct buffer *sql, const struct shard_facts *home, const char *name)
{
    buffer_text(sql, "CREATE DATABASE ");
    add_identifier(sql, name);
    buffer_text(sql, " TEMPLATE template0 ENCODING ");
    add_literal(sql, home->encoding);
    buffer_text(sql, " LC_COLLATE ");
    add_literal(sql, home->collate);
    buffer_text(sql, " LC_CTYPE ");
    add_literal(sql, home->ctype);
    if (home->provider[0] == 'i' || home->provider[0] == 'b') {
        buffer_text(sql, home->provider[0] == 'i' ? " LOCALE_PROVIDER icu ICU_LOCALE "
                                                  : " LOCALE_PROVIDER builtin BUILTIN_LOCALE ");
        add_literal(sql, home->icu_locale);
    }
    buffer_text(sql, " OWNER ");
    add_identifier(sql, home->user);
}

/* Statements for psql, as a superuser. */
static const char *administration(const struct coordinator_input *input, const char *database, bool exists)
{
    struct buffer text = BUFFER_INIT(SQL_MOST);
    buffer_text(&text, "an administrator runs, in psql:\n");
    if (!exists) {
        buffer_text(&text, "      ");
        add_create_database(&text, input->facts, database);
        buffer_text(&text, ";\n");
    }
    buffer_text(&text, "      \\connect ");
    add_identifier(&text, database);
    buffer_text(&text, "\n      CREATE EXTENSION IF NOT EXISTS postgres_fdw;\n"
                       "      GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO ");
    add_identifier(&text, input->facts->user);
    buffer_text(&text, ";");
    const char *copy = finding_text(input->findings, "%s", buffer_string(&text));
    buffer_free(&text);
    return copy;
}

/* ---- looking ---- */

static const char *database_of(const struct coordinator_input *input)
{
    const char *name = "";
    PQconninfoOption *options = PQconninfoParse(input->model->coordinator, NULL);
    for (const PQconninfoOption *option = options; option && option->keyword; option++)
        if (strcmp(option->keyword, "dbname") == 0 && option->val)
            name = finding_text(input->findings, "%s", option->val);
    PQconninfoFree(options);
    return name;
}

static void set(struct coordinator_look *look, enum coordinator_state state, const char *why, const char *fix)
{
    look->state = state;
    look->why = why;
    look->fix = fix;
}

/* Errors say "the coordinator is …"; here it is what is spoken of. */
static void set_error(const struct coordinator_input *input, struct coordinator_look *look,
                      enum coordinator_state state, const mosaic_error *error)
{
    static const char begin[] = "the coordinator ";
    bool ours = strncmp(error->message, begin, strlen(begin)) == 0;
    set(look, state,
        finding_text(input->findings, "%s%s%s%s", ours ? "it " : "", error->message + (ours ? strlen(begin) : 0),
                     *error->detail ? ": " : "", error->detail),
        finding_text(input->findings, "%s", error->hint));
}

static bool stops_all(mosaic_status status)
{
    return status == MOSAIC_MEMORY || status == MOSAIC_INTERRUPTED;
}

/* A role that may make databases does so through another database of that server. */
static PGconn *connect_beside(const struct coordinator_input *input, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    PGconn *connection = NULL;
    const char *conninfo = config_other_database(&arena, input->model->coordinator, "postgres");
    if (input->model->coordinator_is_default)
        conninfo = input->model->shards[input->home].conninfo;
    if (!conninfo || pq_connect(conninfo, COORDINATOR_NAME, "pgmosaic apply", pq_deadline(input->connect_ms),
                                &connection, error) != MOSAIC_OK)
        connection = NULL;
    arena_free(&arena);
    return connection;
}

static const char may_create_sql[] =
    "SELECT rolsuper OR rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER";

static void look_for_right(const struct coordinator_input *input, struct coordinator_look *look)
{
    mosaic_error ignored;
    PGresult *result = NULL;
    const char *database = database_of(input);
    PGconn *beside = connect_beside(input, &ignored);
    bool may = beside &&
               pq_exec(beside, COORDINATOR_NAME, may_create_sql, pq_deadline(input->look_ms), &result, &ignored) ==
                   MOSAIC_OK &&
               PQntuples(result) && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    PQfinish(beside);
    if (may)
        set(look, COORDINATOR_MISSING, finding_text(input->findings, "there is no database %s", database), "");
    else
        set(look, COORDINATOR_UNFIT,
            finding_text(input->findings, "there is no database %s, and role %s may not make it", database,
                         input->facts->user),
            administration(input, database, false));
}

/* How a database sorts, as a text. */
#define SORTING(d)                                                                                                \
    "pg_catalog.concat_ws(' ', pg_catalog.pg_encoding_to_char(" d ".encoding), " d ".datcollate, " d ".datctype," \
    " pg_catalog.to_jsonb(" d ") ->> 'datlocprovider', pg_catalog.to_jsonb(" d ") ->> 'daticulocale',"            \
    " pg_catalog.to_jsonb(" d ") ->> 'datlocale', pg_catalog.to_jsonb(" d ") ->> 'datcollversion')"

static const char sorting_sql[] =
    "SELECT " SORTING("d") " FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

/* rolsuper, or what clouds give instead of it: who may make the extension. */
static const char fitness_sql[] = "SELECT " SORTING(
    "d") ","
         " f.oid IS NOT NULL AND pg_catalog.has_foreign_data_wrapper_privilege(f.oid, 'USAGE')"
         "  OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE (r.rolname = CURRENT_USER AND r.rolsuper"
         "   OR r.rolname IN ('rds_superuser', 'cloudsqlsuperuser', 'alloydbsuperuser', 'azure_pg_admin'))"
         "   AND pg_catalog.pg_has_role(r.oid, 'USAGE')),"
         " pg_catalog.has_database_privilege(d.oid, 'CREATE') AND coalesce((SELECT"
         "  pg_catalog.has_schema_privilege(n.oid, 'CREATE') FROM pg_catalog.pg_namespace n WHERE n.nspname = "
         "'public'),"
         "  true),"
         " (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
         "  WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
         "  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.classid = "
         "'pg_catalog.pg_class'::pg_catalog.regclass"
         "   AND x.objid = c.oid AND x.deptype = 'e')),"
         " (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER), d.datname"
         " FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_foreign_data_wrapper f ON f.fdwname = 'postgres_fdw'"
         " WHERE d.datname = pg_catalog.current_database()";

/* postgres_fdw lets nobody but a superuser's mappings do without. */
static const struct shard *without_password(const struct coordinator_input *input)
{
    for (size_t i = 0; i < input->model->shard_count; i++)
        if (!PQconnectionUsedPassword(input->shards[i]))
            return &input->model->shards[i];
    return NULL;
}

static void judge_fitness(const struct coordinator_input *input, struct coordinator_look *look, const PGresult *found,
                          const char *sorting, bool made)
{
    const char *database = PQgetvalue(found, 0, 5), *user = input->facts->user;
    const struct shard *open = without_password(input);
    if (strcmp(PQgetvalue(found, 0, 0), sorting) != 0)
        set(look, COORDINATOR_UNFIT,
            finding_text(input->findings, "database %s sorts otherwise (%s) than the home shard's (%s)", database,
                         PQgetvalue(found, 0, 0), sorting),
            finding_text(input->findings, "drop that database and run pgmosaic apply again"));
    else if (!made && strcmp(PQgetvalue(found, 0, 3), "0") != 0)
        set(look, COORDINATOR_UNFIT, finding_text(input->findings, "database %s has tables of its own", database),
            "give the coordinator a database of its own: coordinator: in the config");
    else if (PQgetvalue(found, 0, 1)[0] != 't')
        set(look, COORDINATOR_UNFIT,
            finding_text(input->findings, "role %s may not use postgres_fdw in database %s", user, database),
            administration(input, database, true));
    else if (PQgetvalue(found, 0, 2)[0] != 't')
        set(look, COORDINATOR_UNFIT,
            finding_text(input->findings, "role %s may not create in database %s", user, database),
            finding_text(input->findings, "ALTER DATABASE \"%s\" OWNER TO \"%s\"", database, user));
    else if (open && PQgetvalue(found, 0, 4)[0] != 't')
        set(look, COORDINATOR_UNFIT,
            finding_text(input->findings, "shard %s asks for no password, and postgres_fdw demands one", open->name),
            "have pg_hba.conf of the shards ask for one (scram-sha-256) from the coordinator's address");
}

/* UNFIT, or not. *made: it is a coordinator already. */
static mosaic_status look_at_fitness(const struct coordinator_input *input, struct coordinator_look *look, bool made,
                                     mosaic_error *error)
{
    PGresult *found = NULL, *sorting = NULL;
    int64_t deadline = pq_deadline(input->look_ms);
    mosaic_status status = pq_exec(look->connection, COORDINATOR_NAME, fitness_sql, deadline, &found, error);
    if (status == MOSAIC_OK)
        status = pq_exec(input->shards[input->home], input->facts->shard, sorting_sql, deadline, &sorting, error);
    if (status == MOSAIC_OK)
        judge_fitness(input, look, found, PQgetvalue(sorting, 0, 0), made);
    PQclear(found);
    PQclear(sorting);
    return status;
}

/* For the plan's line. */
static mosaic_status count_tables(const struct coordinator_input *input, struct coordinator_look *look,
                                  mosaic_error *error)
{
    static const char sql[] = "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                              " ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm', 'f')"
                              " AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('mosaic', 'information_schema')";
    PGresult *result = NULL;
    mosaic_status status =
        pq_exec(input->shards[input->home], input->facts->shard, sql, pq_deadline(input->look_ms), &result, error);
    if (status == MOSAIC_OK)
        look->tables = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return status;
}

static mosaic_status look_at_contents(const struct coordinator_input *input, struct coordinator_look *look,
                                      const PGresult *answer, mosaic_error *error)
{
    char fingerprint[COORDINATOR_FINGERPRINT_SIZE];
    int64_t deadline = pq_deadline(input->look_ms);
    bool match = true;
    mosaic_error why;
    mosaic_status status =
        coordinator_fingerprint(input->shards[input->home], input->model, deadline, fingerprint, error);
    if (status != MOSAIC_OK)
        return status;
    if (coordinator_judge(input->model, answer, fingerprint, &why) != MOSAIC_OK)
        set_error(input, look, COORDINATOR_BEHIND, &why);
    else
        status = coordinator_servers_match(look->connection, input->model, input->shards, deadline, &match, error);
    if (status == MOSAIC_OK && !match)
        set(look, COORDINATOR_BEHIND, "the way to a shard, or its login, has changed", "run pgmosaic apply");
    return status == MOSAIC_OK && look->state == COORDINATOR_BEHIND ? count_tables(input, look, error) : status;
}

/* Is it another cluster's, or a shard? */
static bool is_ours(const struct coordinator_input *input, struct coordinator_look *look, const PGresult *answer)
{
    if (!answer || !PQntuples(answer) || strcmp(PQgetvalue(answer, 0, 2), input->model->name) == 0)
        return true;
    set(look, COORDINATOR_UNFIT,
        finding_text(input->findings, "its database is the coordinator of cluster %s", PQgetvalue(answer, 0, 2)),
        "correct coordinator: in the config");
    return false;
}

static mosaic_status look_inside(const struct coordinator_input *input, struct coordinator_look *look,
                                 mosaic_error *error)
{
    PGresult *answer = NULL;
    mosaic_status status = coordinator_ask(look->connection, pq_deadline(input->look_ms), &answer, error);
    look->state = COORDINATOR_IN_STEP;
    if (status == MOSAIC_OK && is_ours(input, look, answer)) {
        status = look_at_fitness(input, look, answer && PQntuples(answer), error);
        if (status == MOSAIC_OK && look->state == COORDINATOR_IN_STEP)
            status = look_at_contents(input, look, answer, error);
    }
    PQclear(answer);
    return status;
}

mosaic_status coordinator_look(const struct coordinator_input *input, struct coordinator_look *look,
                               mosaic_error *error)
{
    mosaic_error why;
    PQfinish(look->connection);
    *look = (struct coordinator_look){.state = COORDINATOR_NONE, .why = "", .fix = ""};
    if (!input->model->coordinator)
        return MOSAIC_OK;
    mosaic_status status = pq_connect_with(input->model->coordinator, COORDINATOR_NAME, "pgmosaic apply", PQ_DURABLE,
                                           pq_deadline(input->connect_ms), &look->connection, &why);
    if (status == MOSAIC_OK)
        status = look_inside(input, look, &why);
    else if (status == MOSAIC_NOT_FOUND) {
        look_for_right(input, look);
        return MOSAIC_OK;
    }
    if (stops_all(status)) {
        if (error)
            *error = why;
        return status;
    }
    if (status != MOSAIC_OK)
        set_error(input, look, COORDINATOR_UNREACHABLE, &why);
    return MOSAIC_OK;
}

void coordinator_plan(const struct coordinator_input *input, const struct coordinator_look *look, struct buffer *plan)
{
    switch (look->state) {
    case COORDINATOR_MISSING:
        buffer_format(plan, "+ coordinator: database %s\n", database_of(input));
        break;
    case COORDINATOR_BEHIND:
        buffer_format(plan, "~ coordinator: definitions of %zu table%s are brought up to date\n", look->tables,
                      look->tables == 1 ? "" : "s");
        break;
    case COORDINATOR_UNFIT:
    case COORDINATOR_UNREACHABLE:
        finding_add(input->findings, false, "", "", look->fix, "tier 4 is not available: the coordinator: %s",
                    look->why);
        break;
    default:
        break;
    }
}

/* ---- doing ---- */

static mosaic_status make_database(const struct coordinator_input *input, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    PGconn *beside = connect_beside(input, error);
    if (!beside)
        return error ? error->status : MOSAIC_UNREACHABLE;
    add_create_database(&sql, input->facts, database_of(input));
    mosaic_status status =
        pq_exec(beside, COORDINATOR_NAME, buffer_string(&sql), pq_deadline(input->look_ms), NULL, error);
    PQfinish(beside);
    buffer_free(&sql);
    return status;
}

static void report_lines(const struct coordinator_input *input, const char *lines, const char *fix, const char *format)
{
    while (*lines) {
        size_t size = strcspn(lines, "\n");
        finding_add(input->findings, false, "", "", fix, "%s: %.*s", format, (int)size, lines);
        lines += size + (lines[size] == '\n');
    }
}

static mosaic_status build(const struct coordinator_input *input, struct coordinator_look *look, mosaic_error *error)
{
    struct coordinator_build build = {.model = input->model,
                                      .home = input->home,
                                      .shards = input->shards,
                                      .coordinator = look->connection,
                                      .deadline = pq_deadline(BUILD_MS)};
    mosaic_status status = coordinator_build(&build, error);
    if (status == MOSAIC_OK) {
        report_lines(input, buffer_string(&build.lacks), "make it possible on the coordinator, then run pgmosaic apply",
                     "tier 4 is not available: the coordinator lacks what could not be made");
        report_lines(input, buffer_string(&build.notes), "", "the coordinator goes without");
    }
    buffer_free(&build.lacks);
    buffer_free(&build.notes);
    return status;
}

mosaic_status coordinator_bring_up(const struct coordinator_input *input, struct coordinator_look *look,
                                   mosaic_error *error)
{
    mosaic_error why;
    mosaic_status status = MOSAIC_OK;
    if (look->state == COORDINATOR_MISSING) {
        status = make_database(input, &why);
        if (status == MOSAIC_OK)
            status = coordinator_look(input, look, &why);
        if (status == MOSAIC_OK)
            coordinator_plan(input, look, &(struct buffer){0}); /* its findings */
    }
    if (status == MOSAIC_OK && look->state == COORDINATOR_BEHIND)
        status = build(input, look, &why);
    if (status == MOSAIC_OK)
        return MOSAIC_OK;
    if (stops_all(status)) {
        if (error)
            *error = why;
        return status;
    }
    finding_add(input->findings, false, "", "", finding_text(input->findings, "%s", why.hint),
                "the coordinator could not be brought up to date, so tier 4 is not available: %s%s%s", why.message,
                *why.detail ? ": " : "", why.detail);
    return MOSAIC_OK;
}
