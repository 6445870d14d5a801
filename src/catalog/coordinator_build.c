/*
 *     look      the home shard's relations, its fingerprint, its pg_dump, the fingerprint again: equal, else once more
 *     drop      what an earlier build has made: everything in the database but extensions and schema mosaic
 *     make      servers, then the dump's statements one by one, each behind a savepoint
 *     settle    settings of the database, and what must not be inlined
 *     again     what failed, in the same order, now that all else stands; what fails for good is replaced or noted
 *     record    fingerprint, epoch, what is lacking
 *
 * What must not happen is a statement that means something else here than on a shard: a function that is missing lets
 * another of its name be found, a missing relation one of another schema. So a missing view or a relation that cannot
 * be read is replaced by one that refuses, and where anything else is missing the coordinator is not used at all.
 */
#include "catalog/coordinator_build.h"

#include "base/control_point.h"
#include "base/memory.h"
#include "catalog/coordinator.h"
#include "catalog/coordinator_dump.h"
#include "catalog/coordinator_relations.h"
#include "catalog/coordinator_server.h"
#include "catalog/coordinator_settle.h"
#include "catalog/state.h"
#include "catalog_sql.h"
#include "core/sqlexpr.h"
#include "pq/dump.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    SQL_MOST = 64 * 1024 * 1024,
    DUMP_MOST = 256 * 1024 * 1024,
    LINES_MOST = 64 * 1024,
    LOOKS_MOST = 5, /* while definitions change */
    LOCK_MS = 500,  /* how long one attempt may make readers wait behind it */
    LOCK_TRIES = 60,
    PAUSE_MS = 500,
};

/* One statement of the dump that could not be run yet. */
struct failed {
    struct dump_item item;
    const char *sql;
    struct failed *next;
};

/* The rights of these are nobody's: their owner could not be kept, and its rights are not the applying role's. */
struct denied {
    const char *object;
    struct denied *next;
};

struct work {
    struct coordinator_build *build;
    struct arena arena;
    struct relations relations;
    char fingerprint[COORDINATOR_FINGERPRINT_SIZE];
    struct buffer dump, sql;
    struct failed *first, **last;
    struct denied *denied;
    bool definer_pending; /* the statement before was a function with its owner's rights: its owner comes next */
    bool warned;          /* by the server, since it was cleared */
    mosaic_error *error;
};

static void add_literal(struct buffer *sql, const char *text)
{
    sql_literal(sql, text, strlen(text));
}

/* The statement up to its first bracket, and why. */
static void add_line(struct buffer *lines, const char *what, const mosaic_error *why)
{
    size_t size = strcspn(what, "(\n");
    buffer_format(lines, "%.*s: %s\n", (int)(size && what[size - 1] == ' ' ? size - 1 : size), what, why->message);
}

/* ---- looking ---- */

/* Views and the like are not locked. */
static bool is_dumped(const struct relation *relation)
{
    return relation->is_readable || (relation->kind != 'r' && relation->kind != 'p');
}

static void add_quoted(struct buffer *text, const char *name)
{
    buffer_char(text, '"');
    for (; *name; name++) {
        if (*name == '"')
            buffer_char(text, '"');
        buffer_char(text, *name);
    }
    buffer_char(text, '"');
}

/* pg_dump locks all tables that it shows, and would fail on what the role may not read. NULL when memory is out. */
static const char **dump_options(struct work *work)
{
    static const char *const always[] = {
        "--schema-only",     "--quote-all-identifiers", "--no-comments",
        "--no-publications", "--no-subscriptions",      "--no-security-labels",
        "--no-tablespaces",  "--exclude-schema=mosaic", NULL,
    };
    size_t count = sizeof always / sizeof *always - 1;
    const char **options = arena_zeroed(&work->arena, count + work->relations.count + 2, sizeof *options);
    if (!options)
        return NULL;
    memcpy(options, always, count * sizeof *options);
    if (work->build->dump_lock_ms &&
        !(options[count++] = arena_format(&work->arena, "--lock-wait-timeout=%d", work->build->dump_lock_ms)))
        return NULL;
    for (size_t i = 0; i < work->relations.count; i++) {
        struct buffer option = BUFFER_INIT(4096);
        if (is_dumped(&work->relations.list[i]))
            continue;
        buffer_text(&option, "--exclude-table=");
        add_quoted(&option, work->relations.list[i].schema);
        buffer_char(&option, '.');
        add_quoted(&option, work->relations.list[i].name);
        options[count] = buffer_failed(&option) ? NULL : arena_string(&work->arena, buffer_string(&option));
        buffer_free(&option);
        if (!options[count++])
            return NULL;
    }
    return options;
}

static mosaic_status look_once(struct work *work, bool *stable)
{
    struct coordinator_build *build = work->build;
    PGconn *home = build->shards[build->home];
    char after[COORDINATOR_FINGERPRINT_SIZE];
    int64_t deadline = build->deadline;
    buffer_clear(&work->dump);
    mosaic_status status = coordinator_fingerprint(home, build->model, deadline, work->fingerprint, work->error);
    if (status == MOSAIC_OK)
        status = relations_read(home, deadline, &work->arena, &work->relations, work->error);
    const char **options = status == MOSAIC_OK ? dump_options(work) : NULL;
    if (status == MOSAIC_OK)
        status = options ? pq_dump(build->model->shards[build->home].conninfo, options, pq_left_ms(deadline),
                                   build->interrupted, &work->dump, work->error)
                         : error_memory(work->error);
    if (status == MOSAIC_OK)
        status = coordinator_fingerprint(home, build->model, deadline, after, work->error);
    *stable = status == MOSAIC_OK && strcmp(work->fingerprint, after) == 0;
    return status;
}

static mosaic_status look(struct work *work)
{
    bool stable = false;
    mosaic_status status = MOSAIC_OK;
    for (int i = 0; i < LOOKS_MOST && status == MOSAIC_OK && !stable; i++)
        status = look_once(work, &stable);
    if (status == MOSAIC_OK && !stable)
        status = error_set(work->error, MOSAIC_TIMEOUT, "definitions on the home shard change all the time");
    return status;
}

/* ---- running ---- */

static void take_notice(void *context, const PGresult *notice)
{
    struct work *work = context;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    work->warned |= severity && strcmp(severity, "WARNING") == 0;
}

static mosaic_status exec(struct work *work, const char *sql, mosaic_error *error)
{
    return pq_exec(work->build->coordinator, COORDINATOR_NAME, sql, work->build->deadline, NULL, error);
}

/* Runs it behind a savepoint. *done is false, and *why filled, when the server refused it. */
static mosaic_status attempt(struct work *work, const char *sql, bool *done, mosaic_error *why)
{
    buffer_clear(&work->sql);
    buffer_format(&work->sql, "SAVEPOINT s;%s\n;RELEASE s", sql);
    if (buffer_failed(&work->sql))
        return error_memory(work->error);
    work->warned = false;
    mosaic_status status = exec(work, buffer_string(&work->sql), why);
    *done = status == MOSAIC_OK;
    if (status == MOSAIC_OK || PQtransactionStatus(work->build->coordinator) != PQTRANS_INERROR) {
        if (status != MOSAIC_OK && work->error)
            *work->error = *why;
        return status;
    }
    return exec(work, "ROLLBACK TO s;RELEASE s", work->error);
}

/* ---- the dump's statements ---- */

static const struct relation *find(const struct work *work, const struct dump_item *item)
{
    return relations_find(&work->relations, item->schema, item->name);
}

/* What is to be run for a statement; NULL: nothing. In the arena. */
static mosaic_status translate(struct work *work, const struct statement *statement, const struct dump_item *item,
                               const char **sql)
{
    struct buffer text = BUFFER_INIT(SQL_MOST);
    const struct relation *relation = item->name && item->schema ? find(work, item) : NULL;
    *sql = NULL;
    switch (item->action) {
    case DUMP_LEAVE_OUT:
        return MOSAIC_OK;
    case DUMP_SCHEMA:
        buffer_text(&text, "CREATE SCHEMA IF NOT EXISTS ");
        sql_identifier(&text, item->name);
        break;
    case DUMP_RELATION:
        if (!relation)
            return error_set(work->error, MOSAIC_INTERNAL, "pg_dump saw table %s.%s, and the catalogs did not",
                             item->schema, item->name);
        relation_sql(&text, work->build->model, work->build->home, &work->relations, relation);
        break;
    case DUMP_RELATION_OWNER:
        if (!relation) /* a sequence */
            return MOSAIC_OK;
        buffer_format(&text, "ALTER TABLE %s OWNER TO %s", relation->display, item->role);
        break;
    default:
        buffer_add(&text, statement->text, statement->size);
        break;
    }
    *sql = buffer_failed(&text) ? NULL : arena_string(&work->arena, buffer_string(&text));
    buffer_free(&text);
    return *sql ? MOSAIC_OK : error_memory(work->error);
}

static bool is_right(const struct dump_item *item)
{
    return item->action == DUMP_GRANT || item->action == DUMP_OWNER || item->action == DUMP_RELATION_OWNER;
}

/* A grant that the role may not make is a warning to PostgreSQL. */
static bool went_well(const struct work *work, const struct dump_item *item, bool done)
{
    return done && !(item->action == DUMP_GRANT && work->warned);
}

static mosaic_status keep_failed(struct work *work, const struct dump_item *item, const char *sql)
{
    struct failed *failed = arena_allocate(&work->arena, sizeof *failed);
    if (!failed)
        return error_memory(work->error);
    *failed = (struct failed){*item, sql, NULL};
    *work->last = failed;
    work->last = &failed->next;
    return MOSAIC_OK;
}

static mosaic_status run_statement(struct work *work, const struct statement *statement)
{
    struct dump_item item;
    const char *sql;
    bool done;
    mosaic_error why;
    mosaic_status status = dump_read(statement, &work->arena, &item, work->error);
    if (status == MOSAIC_OK)
        status = translate(work, statement, &item, &sql);
    if (status != MOSAIC_OK || !sql)
        return status;
    bool definer = item.is_definer;
    if (item.action == DUMP_OWNER)
        item.is_definer = work->definer_pending;
    work->definer_pending = definer;
    status = attempt(work, sql, &done, &why);
    if (status == MOSAIC_OK && !went_well(work, &item, done))
        status = keep_failed(work, &item, sql);
    return status;
}

static mosaic_status run_dump(struct work *work)
{
    struct script script = dump_script(buffer_string(&work->dump));
    struct statement statement;
    mosaic_status status;
    while ((status = script_next(&script, &statement, work->error)) == MOSAIC_OK && statement.size)
        if ((status = run_statement(work, &statement)) != MOSAIC_OK)
            break;
    return status;
}

/* Tables that the dump leaves out stand where they stood, and say why they cannot be read. */
static mosaic_status refuse_unreadable(struct work *work)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < work->relations.count && status == MOSAIC_OK; i++) {
        const struct relation *relation = &work->relations.list[i];
        struct buffer sql = BUFFER_INIT(SQL_MOST);
        bool done;
        mosaic_error why;
        if (is_dumped(relation))
            continue;
        relation_refused_sql(&sql, relation, "The role that applies may not read it.");
        buffer_format(&sql, "GRANT SELECT ON %s TO PUBLIC", relation->display);
        status = buffer_failed(&sql) ? error_memory(work->error) : attempt(work, buffer_string(&sql), &done, &why);
        if (status == MOSAIC_OK)
            buffer_format(done ? &work->build->notes : &work->build->lacks, "table %s: %s\n", relation->display,
                          done ? "the role that applies may not read it" : why.message);
        buffer_free(&sql);
    }
    return status;
}

/* ---- what failed ---- */

static mosaic_status deny(struct work *work, const char *object)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    struct denied *denied = arena_allocate(&work->arena, sizeof *denied);
    bool done = false;
    mosaic_error why;
    buffer_format(&sql, "REVOKE ALL ON %s FROM PUBLIC", object);
    mosaic_status status =
        !denied || buffer_failed(&sql) ? error_memory(work->error) : attempt(work, buffer_string(&sql), &done, &why);
    buffer_free(&sql);
    if (status != MOSAIC_OK)
        return status;
    *denied = (struct denied){object, work->denied};
    work->denied = denied;
    return MOSAIC_OK;
}

static bool is_denied(const struct work *work, const char *object)
{
    for (const struct denied *denied = work->denied; denied; denied = denied->next)
        if (strcmp(denied->object, object) == 0)
            return true;
    return false;
}

/*
 * An owner that could not be kept. A table's gets its rights as grants. What runs with its owner's rights would run
 * with those of the applying role, so nobody may use it.
 */
static mosaic_status replace_owner(struct work *work, const struct failed *failed, const mosaic_error *why)
{
    const struct dump_item *item = &failed->item;
    const struct relation *relation = item->action == DUMP_RELATION_OWNER ? find(work, item) : NULL;
    bool done;
    mosaic_error ignored;
    add_line(&work->build->notes, failed->sql, why);
    if (relation && relation->kind == 'v')
        return deny(work, item->object);
    if (!relation)
        return item->is_definer ? deny(work, item->object) : MOSAIC_OK;
    const char *sql = arena_format(&work->arena, "GRANT ALL ON TABLE %s TO %s", relation->display, item->role);
    return sql ? attempt(work, sql, &done, &ignored) : error_memory(work->error);
}

/* A view that cannot be made. */
static mosaic_status replace_view(struct work *work, const struct failed *failed, const mosaic_error *why)
{
    const struct relation *relation = find(work, &failed->item);
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    bool done = false;
    mosaic_error again;
    mosaic_status status = MOSAIC_OK;
    if (relation) {
        relation_refused_sql(&sql, relation, arena_format(&work->arena, "It cannot be made there: %s", why->message));
        status = buffer_failed(&sql) ? error_memory(work->error) : attempt(work, buffer_string(&sql), &done, &again);
    }
    buffer_free(&sql);
    add_line(done ? &work->build->notes : &work->build->lacks, failed->sql, why);
    return status;
}

static mosaic_status try_again(struct work *work, const struct failed *failed)
{
    const struct dump_item *item = &failed->item;
    bool done;
    mosaic_error why = {.message = "the role that applies may not grant it"};
    if (item->action == DUMP_GRANT && is_denied(work, item->object))
        return MOSAIC_OK;
    mosaic_status status = attempt(work, failed->sql, &done, &why);
    if (status != MOSAIC_OK || went_well(work, item, done))
        return status;
    if (item->action == DUMP_RELATION_OWNER || item->action == DUMP_OWNER)
        return replace_owner(work, failed, &why);
    if (item->action == DUMP_VIEW)
        return replace_view(work, failed, &why);
    if (!item->is_optional)
        add_line(is_right(item) ? &work->build->notes : &work->build->lacks, failed->sql, &why);
    return MOSAIC_OK;
}

/* ---- the transaction ---- */

/* What an earlier build has made, and what else is there: the database is ours alone. */
#define DROP_IN(catalog, schema, more) "SELECT '" catalog "'::regclass, oid, " schema " FROM " catalog " " more
static const char drop_sql[] =
    "SELECT sql FROM (SELECT 1 AS place, format('DROP %s IF EXISTS %s CASCADE', CASE WHEN i.type IN"
    "   ('function', 'procedure', 'aggregate') THEN 'routine' ELSE i.type END, i.identity) AS sql"
    "  FROM (" DROP_IN("pg_class", "relnamespace",
                       "WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
                       " AND NOT relispartition")        //
    " UNION ALL " DROP_IN("pg_proc", "pronamespace", "") //
    " UNION ALL " DROP_IN("pg_type", "typnamespace",
                          "WHERE typtype <> 'm' AND NOT (typcategory = 'A'"
                          " AND typelem <> 0)")                //
    " UNION ALL " DROP_IN("pg_operator", "oprnamespace", "")   //
    " UNION ALL " DROP_IN("pg_collation", "collnamespace", "") //
    " UNION ALL " DROP_IN("pg_opfamily", "opfnamespace", "")   //
    " UNION ALL " DROP_IN("pg_conversion", "connamespace", "") //
    " UNION ALL " DROP_IN("pg_ts_config", "cfgnamespace", "")  //
    " UNION ALL " DROP_IN("pg_ts_dict", "dictnamespace", "")   //
    " UNION ALL " DROP_IN("pg_ts_parser", "prsnamespace", "")  //
    " UNION ALL " DROP_IN(
        "pg_ts_template", "tmplnamespace",
        "") ") x(c, o, n)"
            "  JOIN pg_namespace n ON n.oid = x.n, pg_identify_object(x.c, x.o, 0) i"
            "  WHERE x.o >= 16384 AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('mosaic', 'information_schema')"
            "   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = x.c AND d.objid = x.o AND d.objsubid = 0"
            "    AND d.deptype IN ('e', 'i'))"
            " UNION ALL SELECT 2, format('DROP SERVER %I CASCADE', srvname) FROM pg_foreign_server"
            /* A schema in which an extension stands is kept. */
            " UNION ALL SELECT 3, format('DROP SCHEMA %I', n.nspname) FROM pg_namespace n WHERE n.nspname !~ '^pg_'"
            "  AND n.nspname NOT IN ('mosaic', 'information_schema', 'public') AND NOT EXISTS (SELECT FROM pg_depend d"
            "   WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid AND (d.classid = "
            "'pg_extension'::regclass"
            "    OR EXISTS (SELECT FROM pg_depend m WHERE m.classid = d.classid AND m.objid = d.objid AND m.deptype = "
            "'e')))"
            /* A dump tells how the rights on public differ from those of a new database. */
            " UNION ALL SELECT 4, format('REVOKE ALL ON SCHEMA public FROM %s', coalesce(quote_ident(r.rolname), "
            "'PUBLIC'))"
            "  FROM pg_namespace n, aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee"
            "  WHERE n.nspname = 'public' AND a.grantee <> n.nspowner AND pg_has_role(n.nspowner, 'USAGE')"
            " UNION ALL SELECT 5, 'GRANT USAGE ON SCHEMA public TO PUBLIC' FROM pg_namespace n WHERE n.nspname = "
            "'public'"
            "  AND pg_has_role(n.nspowner, 'USAGE')) d ORDER BY place";

static mosaic_status drop(struct work *work)
{
    PGresult *result = NULL;
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    mosaic_status status =
        pq_exec(work->build->coordinator, COORDINATOR_NAME, drop_sql, work->build->deadline, &result, work->error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++)
        buffer_format(&sql, "%s;", PQgetvalue(result, row, 0));
    PQclear(result);
    if (status == MOSAIC_OK && sql.size)
        status = buffer_failed(&sql) ? error_memory(work->error) : exec(work, buffer_string(&sql), work->error);
    buffer_free(&sql);
    return status;
}

static mosaic_status begin(struct work *work)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    const struct coordinator_build *build = work->build;
    buffer_format(&sql,
                  "BEGIN READ WRITE; SET LOCAL lock_timeout = %d; SET LOCAL search_path = pg_catalog;"
                  " SET LOCAL check_function_bodies = off; SET LOCAL client_min_messages = warning;"
                  " SET LOCAL xmloption = content;",
                  LOCK_MS);
    buffer_text(&sql, catalog_sql_schema);
    buffer_text(&sql, catalog_sql_shard);
    buffer_text(&sql, catalog_sql_coordinator);
    buffer_text(&sql, "CREATE EXTENSION IF NOT EXISTS postgres_fdw WITH SCHEMA mosaic;");
    mosaic_status status =
        buffer_failed(&sql) ? error_memory(work->error) : exec(work, buffer_string(&sql), work->error);
    if (status == MOSAIC_OK)
        status = drop(work);
    buffer_clear(&sql);
    buffer_text(&sql, "CREATE SCHEMA " COORDINATOR_PARTS ";");
    for (size_t i = 0; i < build->model->shard_count; i++)
        coordinator_server_sql(&sql, build->model, i, build->shards[i], PQserverVersion(build->coordinator));
    if (status == MOSAIC_OK)
        status = buffer_failed(&sql) ? error_memory(work->error) : exec(work, buffer_string(&sql), work->error);
    if (sql.data)
        explicit_bzero(sql.data, sql.size);
    buffer_free(&sql);
    return status;
}

static mosaic_status record(struct work *work)
{
    struct coordinator_build *build = work->build;
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_text(&sql, "DELETE FROM mosaic.epoch; DELETE FROM mosaic.coordinator;");
    buffer_format(&sql, "INSERT INTO mosaic.epoch (schema_version, cluster, shard, catalog, epoch) VALUES (%d, ",
                  CATALOG_SCHEMA_VERSION);
    add_literal(&sql, build->model->name);
    buffer_text(&sql, ", '" COORDINATOR_NAME "', ");
    add_literal(&sql, build->model->shards[build->home].name);
    buffer_format(&sql, ", %" PRIu64 "); INSERT INTO mosaic.coordinator (fingerprint, lacks) VALUES ('%s', ",
                  build->model->epoch, work->fingerprint);
    if (build->lacks.size) {
        buffer_text(&sql, "pg_catalog.string_to_array(pg_catalog.rtrim(");
        add_literal(&sql, buffer_string(&build->lacks));
        buffer_text(&sql, ", E'\\n'), E'\\n'))");
    } else {
        buffer_text(&sql, "NULL)");
    }
    mosaic_status status = buffer_failed(&sql) || buffer_failed(&build->lacks) || buffer_failed(&build->notes)
                               ? error_memory(work->error)
                               : exec(work, buffer_string(&sql), work->error);
    buffer_free(&sql);
    control_point("coordinator.before_commit");
    return status == MOSAIC_OK ? exec(work, "COMMIT", work->error) : status;
}

static mosaic_status build_once(struct work *work)
{
    work->first = NULL;
    work->last = &work->first;
    work->denied = NULL;
    buffer_clear(&work->build->lacks);
    buffer_clear(&work->build->notes);
    mosaic_status status = begin(work);
    control_point("coordinator.begun");
    if (status == MOSAIC_OK)
        status = run_dump(work);
    if (status == MOSAIC_OK)
        status = refuse_unreadable(work);
    for (const struct failed *failed = work->first; failed && status == MOSAIC_OK; failed = failed->next)
        status = try_again(work, failed);
    if (status == MOSAIC_OK)
        status = coordinator_settle(work->build->shards[work->build->home], work->build->coordinator,
                                    work->build->deadline, &work->build->lacks, work->error);
    return status == MOSAIC_OK ? record(work) : status;
}

/* Readers hold locks on what is dropped: then the whole is tried again. */
static mosaic_status build_all(struct work *work)
{
    for (int tries = 0;; tries++) {
        mosaic_error ignored, *error = work->error ? work->error : &ignored;
        work->error = error;
        mosaic_status status = build_once(work);
        if (status == MOSAIC_OK)
            return MOSAIC_OK;
        mosaic_status ended = exec(work, "ROLLBACK", &ignored);
        bool is_lock = status == MOSAIC_SERVER && strcmp(error->sqlstate, "55P03") == 0;
        if (ended != MOSAIC_OK || !is_lock || tries == LOCK_TRIES || !pq_left_ms(work->build->deadline))
            return status;
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
    }
}

mosaic_status coordinator_build(struct coordinator_build *build, mosaic_error *error)
{
    struct work work = {.build = build, .dump = BUFFER_INIT(DUMP_MOST), .sql = BUFFER_INIT(SQL_MOST), .error = error};
    build->lacks = BUFFER_INIT(LINES_MOST);
    build->notes = BUFFER_INIT(LINES_MOST);
    PQnoticeReceiver before = PQsetNoticeReceiver(build->coordinator, take_notice, &work);
    mosaic_status status = look(&work);
    if (status == MOSAIC_OK)
        status = build_all(&work);
    PQsetNoticeReceiver(build->coordinator, before, NULL);
    buffer_free(&work.dump);
    buffer_free(&work.sql);
    arena_free(&work.arena);
    return status;
}
