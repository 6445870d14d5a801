#include "catalog/introspect.h"

#include "catalog/session_settings.h"
#include "core/sqlexpr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MOST = 16 * 1024 * 1024 };

/* Columns that are not in every version of pg_database are read by name out of a JSON form of the row. */
static const char database_sql[] =
    "SELECT current_setting('server_version_num'), current_setting('server_version'), current_user, current_database(),"
    " pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,"
    " coalesce(to_jsonb(d)->>'datlocprovider', 'c'),"
    " coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale', ''),"
    " coalesce(to_jsonb(d)->>'datcollversion', ''),"
    " current_setting('max_prepared_transactions'), pg_is_in_recovery(), "
    "current_setting('default_transaction_read_only'),"
    " has_database_privilege(d.oid, 'CREATE'), to_regnamespace('mosaic') IS NOT NULL,"
    " coalesce((SELECT pg_has_role(n.nspowner, 'USAGE') FROM pg_namespace n WHERE n.nspname = 'mosaic'), false),"
    " EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'mosaic'"
    "  AND c.relname = 'epoch' AND NOT (has_schema_privilege('public', n.oid, 'USAGE')"
    "  AND has_table_privilege('public', c.oid, 'SELECT'))),"
    " to_regclass('mosaic.epoch') IS NOT NULL AND (SELECT count(*) FROM pg_proc p JOIN pg_namespace n"
    "  ON n.oid = p.pronamespace WHERE n.nspname = 'mosaic' AND p.proname IN ('decide', 'forget') AND p.prosecdef"
    "  AND has_function_privilege('public', p.oid, 'EXECUTE')) < 2,"
    " CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')"
    "  THEN (SELECT system_identifier::text FROM pg_control_system()) || '/' || d.oid ELSE '' END,"
    " pg_database_size(d.oid),"
    " (SELECT count(*) FROM pg_prepared_xacts x WHERE x.database = d.datname AND x.gid LIKE 'mosaic:%'),"
    " (SELECT count(*) FROM pg_prepared_xacts x WHERE x.database = d.datname AND x.gid LIKE 'mosaic:%'"
    "  AND x.prepared < now() - interval '1 minute'),"
    " ARRAY(SELECT x.gid FROM pg_prepared_xacts x WHERE x.database = d.datname AND x.gid LIKE 'mosaic:%' ORDER BY "
    "1)::text, coalesce(obj_description(to_regprocedure('mosaic.next_id()'), 'pg_proc'), ''),"
    " coalesce(has_table_privilege(to_regclass('mosaic.arrival'), 'SELECT'), false)"
    " FROM pg_database d WHERE d.datname = current_database()";

/*
 * reset_val is what this session was given, above whatever row it came from; where that is its own role's, only what
 * the database has is known of the others. DateStyle's style is ISO in every session of ours (pq.h): its order of day
 * and month is seen, the style where it is a database's or a role's.
 */
static const char settings_sql[] =
    "WITH s AS (SELECT coalesce(r.rolname, '') AS role, split_part(c, '=', 1) AS name,"
    "  substr(c, strpos(c, '=') + 1) AS value, d.setdatabase::bigint AS rank"
    "  FROM pg_db_role_setting d CROSS JOIN unnest(d.setconfig) c LEFT JOIN pg_roles r ON r.oid = d.setrole"
    "  WHERE d.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())))"
    " SELECT DISTINCT ON (role, name) role, name, value FROM (SELECT * FROM s UNION ALL"
    "  SELECT '', p.name, p.reset_val, 1::bigint << 32 FROM pg_settings p"
    "  WHERE NOT EXISTS (SELECT FROM s WHERE s.role = session_user AND s.name = p.name)) x"
    " WHERE name IN (''"
#define X(name) ", '" #name "'"
    SESSION_SETTING_LIST(X)
#undef X
        ")"
        " ORDER BY role, name, rank DESC";

/* Each of these starts with the number of the table asked for, and is sorted by it. */
static const char tables_sql[] =
    "SELECT t.n, c.relkind, c.relpersistence, c.relispartition, c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i"
    "  WHERE i.inhparent = c.oid), EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid),"
    " pg_has_role(c.relowner, 'USAGE'), c.relrowsecurity,"
    " coalesce((SELECT string_agg(r.rulename, ', ' ORDER BY 1) FROM pg_rewrite r WHERE r.ev_class = c.oid"
    "  AND r.rulename <> '_RETURN'), ''),"
    " coalesce((SELECT string_agg(p.polname, ', ' ORDER BY 1) FROM pg_policy p WHERE p.polrelid = c.oid), ''),"
    " CASE WHEN c.relkind = 'p' THEN (SELECT CASE WHEN bool_or(l.reltuples < 0) THEN -1 ELSE sum(l.reltuples) END"
    "  FROM pg_partition_tree(c.oid) p JOIN pg_class l ON l.oid = p.relid WHERE p.isleaf) ELSE c.reltuples END,"
    " CASE WHEN c.relkind = 'p' THEN (SELECT sum(pg_total_relation_size(p.relid)) FROM pg_partition_tree(c.oid) p)"
    "  WHEN c.relkind = 'r' THEN pg_total_relation_size(c.oid) END";
static const char columns_sql[] =
    "SELECT t.n, a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid, y.typtype, a.attnotnull,"
    " coalesce(pg_get_expr(ad.adbin, ad.adrelid), ''),"
    " CASE WHEN a.attcollation IN (0, y.typcollation) THEN '' ELSE a.attcollation::regcollation::text END,"
    " coalesce(co.collisdeterministic, true), a.attidentity, a.attgenerated,"
    " s.seqrelid::regclass::text, s.seqincrement, s.seqstart, s.seqmin, s.seqmax, s.seqcycle,"
    " EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid"
    "  AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.deptype IN ('a', 'i'))";
static const char columns_from[] =
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_collation co ON co.oid = a.attcollation"
    " LEFT JOIN pg_attrdef ad ON ad.adrelid = c.oid AND ad.adnum = a.attnum"
    " LEFT JOIN LATERAL (SELECT q.* FROM pg_sequence q WHERE q.seqrelid IN (SELECT d.objid FROM pg_depend d"
    "   WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid"
    "   AND d.refobjsubid = a.attnum AND d.deptype = 'i')"
    "  OR q.seqrelid IN (SELECT d.refobjid FROM pg_depend d WHERE d.classid = 'pg_attrdef'::regclass"
    "   AND d.objid = ad.oid AND d.refclassid = 'pg_class'::regclass) ORDER BY q.seqrelid LIMIT 1) s ON true"
    " ORDER BY t.n, a.attnum";
/* The table, and its partitions behind it. */
#define WITH_PARTITIONS                                                  \
    " CROSS JOIN LATERAL (SELECT c.oid AS relid, 0 AS level"             \
    "  UNION SELECT x.relid, x.level FROM pg_partition_tree(c.oid) x) w" \
    " JOIN pg_class wc ON wc.oid = w.relid JOIN pg_namespace wn ON wn.oid = wc.relnamespace"
#define PARTITION " CASE WHEN w.level > 0 THEN format('%I.%I', wn.nspname, wc.relname) ELSE '' END"
/* What operators and operator classes of a column's own type take. */
#define OWN_TYPE " CASE a.atttypid WHEN 'varchar'::regtype THEN 'text'::regtype ELSE a.atttypid END"
static const char constraints_sql[] =
    "SELECT t.n, k.conname, k.contype, pg_get_constraintdef(k.oid), k.convalidated,"
    " ARRAY(SELECT coalesce(a.attname, '') FROM unnest(k.conkey) WITH ORDINALITY u(num, o) LEFT JOIN pg_attribute a"
    "  ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.o)::text,"
    " ARRAY(SELECT o.oprname FROM unnest(k.conexclop) WITH ORDINALITY u(op, o) JOIN pg_operator o ON o.oid = u.op"
    "  ORDER BY u.o)::text,"
    " coalesce(fn.nspname, ''), coalesce(f.relname, ''),"
    " ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY u(num, o) JOIN pg_attribute a"
    "  ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.o)::text,"
    " coalesce(obj_description(k.oid, 'pg_constraint'), '')," PARTITION ","
    " ARRAY(SELECT a.attname FROM pg_index i"
    "  CROSS JOIN unnest(k.conkey, k.conexclop, i.indcollation::oid[]) u(num, op, co)"
    "  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num JOIN pg_operator o ON o.oid = u.op"
    "  LEFT JOIN pg_collation co ON co.oid = u.co WHERE i.indexrelid = k.conindid AND o.oprname = '='"
    "  AND (o.oprnamespace <> 'pg_catalog'::regnamespace OR o.oprleft <>" OWN_TYPE
    "   OR NOT coalesce(co.collisdeterministic, true)))::text";
static const char constraints_from[] =
    WITH_PARTITIONS " JOIN pg_constraint k ON k.conrelid = w.relid AND k.conparentid = 0 AND k.contype <> 'n'"
                    " AND (w.level = 0 OR k.contype IN ('p', 'u', 'x', 'f'))"
                    " LEFT JOIN pg_class f ON f.oid = coalesce(pg_partition_root(k.confrelid), k.confrelid)"
                    " LEFT JOIN pg_namespace fn ON fn.oid = f.relnamespace"
                    " ORDER BY t.n, w.level, wn.nspname, wc.relname, k.conname, k.oid";
static const char indexes_sql[] =
    "SELECT t.n, ic.relname, pg_get_indexdef(i.indexrelid), i.indisunique,"
    " i.indexprs IS NOT NULL OR i.indpred IS NOT NULL,"
    " EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')),"
    " i.indisvalid, ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY u(num, o) JOIN pg_attribute a"
    "  ON a.attrelid = i.indrelid AND a.attnum = u.num WHERE u.o <= i.indnkeyatts ORDER BY u.o)::text," PARTITION ","
    " ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[], i.indcollation::oid[], i.indclass::oid[]) u(num, co, class)"
    "  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.num JOIN pg_opclass oc ON oc.oid = u.class"
    "  LEFT JOIN pg_collation co ON co.oid = u.co WHERE oc.opcnamespace <> 'pg_catalog'::regnamespace"
    "   OR oc.opcintype <>" OWN_TYPE " OR NOT coalesce(co.collisdeterministic, true))::text";
static const char indexes_from[] =
    WITH_PARTITIONS " JOIN pg_index i ON i.indrelid = w.relid JOIN pg_class ic ON ic.oid = i.indexrelid"
                    " AND (w.level = 0 OR i.indisunique AND NOT ic.relispartition)"
                    " ORDER BY t.n, w.level, wn.nspname, wc.relname, ic.relname";
static const char triggers_sql[] =
    "SELECT t.n, g.tgname, pg_get_triggerdef(g.oid), p.prosrc, l.lanname, g.tgenabled, wn.nspname, wc.relname,"
    " coalesce((SELECT o.tgenabled FROM pg_trigger o WHERE o.oid = g.tgparentid)::text, '')";
static const char triggers_from[] = WITH_PARTITIONS
    " JOIN pg_trigger g ON g.tgrelid = w.relid AND NOT g.tgisinternal JOIN pg_proc p ON p.oid = g.tgfoid"
    " JOIN pg_language l ON l.oid = p.prolang ORDER BY t.n, w.level, wn.nspname, wc.relname, g.tgname";
static const char owned_sql[] = "SELECT n.nspname, c.relname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
                                " JOIN pg_namespace n ON n.oid = c.relnamespace"
                                " WHERE k.conname = '" OWNER_CONSTRAINT "' AND k.contype = 'c' AND k.coninhcount = 0"
                                " AND obj_description(k.oid, 'pg_constraint') LIKE 'pgmosaic %' ORDER BY 1, 2";

struct reader {
    PGconn *connection;
    const char *shard;
    struct arena *arena;
    int64_t deadline;
    struct shard_facts *facts;
    const char *targets; /* " FROM (VALUES …) t JOIN pg_class c …" */
    PGresult *result;
    bool failed; /* memory was out, or an array was malformed */
    mosaic_error *error;
};

static const char *text_at(struct reader *reader, int row, int column)
{
    const char *copy = arena_string(reader->arena, PQgetvalue(reader->result, row, column));
    reader->failed |= !copy;
    return copy ? copy : "";
}

static bool is_true(const struct reader *reader, int row, int column)
{
    return PQgetvalue(reader->result, row, column)[0] == 't';
}

static int64_t number_at(const struct reader *reader, int row, int column)
{
    return strtoll(PQgetvalue(reader->result, row, column), NULL, 10);
}

static char letter_at(const struct reader *reader, int row, int column)
{
    return PQgetvalue(reader->result, row, column)[0];
}

static void array_at(struct reader *reader, int row, int column, const char *const **items, size_t *count)
{
    reader->failed |= !state_split_array(reader->arena, PQgetvalue(reader->result, row, column), items, count);
}

static mosaic_status ask(struct reader *reader, const char *select, const char *targets, const char *rest)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    buffer_text(&sql, select);
    buffer_text(&sql, targets);
    buffer_text(&sql, rest);
    PQclear(reader->result);
    reader->result = NULL;
    mosaic_status status = buffer_failed(&sql) ? error_memory(reader->error)
                                               : pq_exec(reader->connection, reader->shard, buffer_string(&sql),
                                                         reader->deadline, &reader->result, reader->error);
    buffer_free(&sql);
    return status;
}

static mosaic_status read_database(struct reader *reader)
{
    struct shard_facts *facts = reader->facts;
    mosaic_status status = ask(reader, database_sql, "", "");
    if (status != MOSAIC_OK)
        return status;
    facts->version_number = (int)number_at(reader, 0, 0);
    facts->version = text_at(reader, 0, 1);
    facts->user = text_at(reader, 0, 2);
    facts->database = text_at(reader, 0, 3);
    facts->encoding = text_at(reader, 0, 4);
    facts->collate = text_at(reader, 0, 5);
    facts->ctype = text_at(reader, 0, 6);
    facts->provider = text_at(reader, 0, 7);
    facts->icu_locale = text_at(reader, 0, 8);
    facts->collation_version = text_at(reader, 0, 9);
    facts->max_prepared_transactions = (int)number_at(reader, 0, 10);
    facts->in_recovery = is_true(reader, 0, 11);
    facts->read_only = strcmp(PQgetvalue(reader->result, 0, 12), "on") == 0;
    facts->may_create = is_true(reader, 0, 13);
    facts->has_schema = is_true(reader, 0, 14);
    facts->schema_usable = is_true(reader, 0, 15);
    facts->epoch_hidden = is_true(reader, 0, 16);
    facts->cannot_decide = is_true(reader, 0, 17);
    facts->identity = text_at(reader, 0, 18);
    facts->bytes = (uint64_t)number_at(reader, 0, 19);
    facts->prepared = (uint64_t)number_at(reader, 0, 20);
    facts->prepared_old = (uint64_t)number_at(reader, 0, 21);
    array_at(reader, 0, 22, &facts->prepared_gids, &facts->prepared_gid_count);
    facts->ids = text_at(reader, 0, 23);
    facts->arrivals_known = is_true(reader, 0, 24);
    return MOSAIC_OK;
}

static mosaic_status read_settings(struct reader *reader)
{
    struct shard_facts *facts = reader->facts;
    mosaic_status status = ask(reader, settings_sql, "", "");
    if (status != MOSAIC_OK)
        return status;
    facts->setting_count = (size_t)PQntuples(reader->result);
    facts->settings = arena_zeroed(reader->arena, facts->setting_count, sizeof *facts->settings);
    if (!facts->settings)
        return error_memory(reader->error);
    for (int row = 0; row < PQntuples(reader->result); row++)
        facts->settings[row] =
            (struct setting_facts){text_at(reader, row, 0), text_at(reader, row, 1), text_at(reader, row, 2)};
    status = ask(reader, "SELECT ARRAY(SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_')::text", "", "");
    if (status == MOSAIC_OK)
        array_at(reader, 0, 0, &facts->roles, &facts->role_count);
    return status;
}

static mosaic_status read_tables(struct reader *reader)
{
    mosaic_status status = ask(reader, tables_sql, reader->targets, " ORDER BY t.n");
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(reader->result); row++) {
        struct table_facts *table = &reader->facts->tables[number_at(reader, row, 0)];
        table->exists = true;
        table->kind = letter_at(reader, row, 1);
        table->persistence = letter_at(reader, row, 2);
        table->is_partition = is_true(reader, row, 3);
        table->has_children = is_true(reader, row, 4);
        table->has_parents = is_true(reader, row, 5);
        table->may_alter = is_true(reader, row, 6);
        table->row_security = is_true(reader, row, 7);
        table->rules = text_at(reader, row, 8);
        table->policies = text_at(reader, row, 9);
        table->estimated_rows = strtod(PQgetvalue(reader->result, row, 10), NULL);
        table->bytes = (uint64_t)number_at(reader, row, 11);
    }
    return status;
}

static void read_column(struct reader *reader, int row, struct column_facts *column)
{
    *column = (struct column_facts){
        .name = text_at(reader, row, 1),
        .type = text_at(reader, row, 2),
        .type_oid = (unsigned)number_at(reader, row, 3),
        .type_kind = letter_at(reader, row, 4),
        .not_null = is_true(reader, row, 5),
        .default_text = text_at(reader, row, 6),
        .collation = text_at(reader, row, 7),
        .deterministic = is_true(reader, row, 8),
        .identity = letter_at(reader, row, 9),
        .generated = letter_at(reader, row, 10),
    };
    if (!PQgetisnull(reader->result, row, 11))
        column->sequence =
            (struct sequence_facts){text_at(reader, row, 11),   number_at(reader, row, 12), number_at(reader, row, 13),
                                    number_at(reader, row, 14), number_at(reader, row, 15), is_true(reader, row, 16),
                                    is_true(reader, row, 17)};
}

static void read_constraint(struct reader *reader, int row, struct constraint_facts *constraint)
{
    *constraint = (struct constraint_facts){
        .name = text_at(reader, row, 1),
        .type = letter_at(reader, row, 2),
        .definition = text_at(reader, row, 3),
        .validated = is_true(reader, row, 4),
        .foreign_schema = text_at(reader, row, 7),
        .foreign_table = text_at(reader, row, 8),
        .comment = text_at(reader, row, 10),
        .partition = text_at(reader, row, 11),
    };
    array_at(reader, row, 5, &constraint->columns, &constraint->column_count);
    array_at(reader, row, 6, &constraint->operators, &constraint->operator_count);
    array_at(reader, row, 9, &constraint->foreign_columns, &constraint->foreign_column_count);
    array_at(reader, row, 12, &constraint->unlike, &constraint->unlike_count);
}

static void read_index(struct reader *reader, int row, struct index_facts *index)
{
    *index = (struct index_facts){
        .name = text_at(reader, row, 1),
        .definition = text_at(reader, row, 2),
        .unique = is_true(reader, row, 3),
        .partial_or_expression = is_true(reader, row, 4),
        .of_constraint = is_true(reader, row, 5),
        .valid = is_true(reader, row, 6),
        .partition = text_at(reader, row, 8),
    };
    array_at(reader, row, 7, &index->columns, &index->column_count);
    array_at(reader, row, 9, &index->unlike, &index->unlike_count);
}

static void read_trigger(struct reader *reader, int row, struct trigger_facts *trigger)
{
    *trigger = (struct trigger_facts){
        .name = text_at(reader, row, 1),
        .definition = text_at(reader, row, 2),
        .source = text_at(reader, row, 3),
        .language = text_at(reader, row, 4),
        .enabled = letter_at(reader, row, 5),
        .schema = text_at(reader, row, 6),
        .table = text_at(reader, row, 7),
        .parent = letter_at(reader, row, 8),
    };
}

/* Reads the rows of one kind of part into an array for each table; rows are sorted by table. */
#define READ_PARTS(members, count, read)                                                               \
    do {                                                                                               \
        int rows = PQntuples(reader->result);                                                          \
        for (int row = 0; row < rows;) {                                                               \
            int64_t number = number_at(reader, row, 0);                                                \
            int end = row;                                                                             \
            while (end < rows && number_at(reader, end, 0) == number)                                  \
                end++;                                                                                 \
            struct table_facts *table = &reader->facts->tables[number];                                \
            table->members = arena_zeroed(reader->arena, (size_t)(end - row), sizeof *table->members); \
            if (!table->members)                                                                       \
                return error_memory(reader->error);                                                    \
            table->count = (size_t)(end - row);                                                        \
            for (size_t i = 0; row < end; row++, i++)                                                  \
                read(reader, row, &table->members[i]);                                                 \
        }                                                                                              \
    } while (0)

static mosaic_status read_columns(struct reader *reader)
{
    mosaic_status status = ask(reader, columns_sql, reader->targets, columns_from);
    if (status == MOSAIC_OK)
        READ_PARTS(columns, column_count, read_column);
    return status;
}

static mosaic_status read_constraints(struct reader *reader)
{
    mosaic_status status = ask(reader, constraints_sql, reader->targets, constraints_from);
    if (status == MOSAIC_OK)
        READ_PARTS(constraints, constraint_count, read_constraint);
    return status;
}

static mosaic_status read_triggers(struct reader *reader)
{
    mosaic_status status = ask(reader, triggers_sql, reader->targets, triggers_from);
    if (status == MOSAIC_OK)
        READ_PARTS(triggers, trigger_count, read_trigger);
    return status;
}

static mosaic_status read_indexes(struct reader *reader)
{
    mosaic_status status = ask(reader, indexes_sql, reader->targets, indexes_from);
    if (status == MOSAIC_OK)
        READ_PARTS(indexes, index_count, read_index);
    return status;
}

static mosaic_status read_names(struct reader *reader, const char *sql, struct table_name **names, size_t *count)
{
    mosaic_status status = ask(reader, sql, "", "");
    if (status != MOSAIC_OK)
        return status;
    *count = (size_t)PQntuples(reader->result);
    *names = arena_zeroed(reader->arena, *count, sizeof **names);
    if (!*names)
        return error_memory(reader->error);
    for (size_t i = 0; i < *count; i++) {
        struct table_name *name = &(*names)[i];
        name->schema = text_at(reader, (int)i, 0);
        name->name = text_at(reader, (int)i, 1);
        name->display = model_display_name(reader->arena, name->schema, name->name);
        reader->failed |= !name->display;
    }
    return MOSAIC_OK;
}

static mosaic_status read_owned(struct reader *reader)
{
    return read_names(reader, owned_sql, &reader->facts->owned, &reader->facts->owned_count);
}

static mosaic_status read_arrivals(struct reader *reader)
{
    if (!reader->facts->arrivals_known)
        return MOSAIC_OK;
    return read_names(reader, "SELECT schema_name, table_name FROM mosaic.arrival ORDER BY 1, 2",
                      &reader->facts->arrivals, &reader->facts->arrival_count);
}

void introspect_add_names(struct buffer *sql, const struct table_name *names, size_t count)
{
    buffer_text(sql, count ? "(VALUES " : "(SELECT 0, '', '' WHERE false");
    for (size_t i = 0; i < count; i++) {
        buffer_format(sql, "%s(%zu, ", i ? ", " : "", i);
        sql_literal(sql, names[i].schema, strlen(names[i].schema));
        buffer_text(sql, ", ");
        sql_literal(sql, names[i].name, strlen(names[i].name));
        buffer_char(sql, ')');
    }
    buffer_char(sql, ')');
}

static void add_targets(struct buffer *sql, const struct table_name *names, size_t count)
{
    buffer_text(sql, " FROM ");
    introspect_add_names(sql, names, count);
    buffer_text(sql, " t(n, s, r) JOIN pg_namespace ns ON ns.nspname = t.s"
                     " JOIN pg_class c ON c.relnamespace = ns.oid AND c.relname = t.r"
                     " AND c.relkind IN ('r', 'p', 'v', 'm', 'f')");
}

static mosaic_status read_all(struct reader *reader)
{
    static mosaic_status (*const parts[])(struct reader *) = {
        read_database, read_settings, read_tables, read_columns,  read_constraints,
        read_indexes,  read_triggers, read_owned,  read_arrivals,
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        mosaic_status status = parts[i](reader);
        if (status != MOSAIC_OK)
            return status;
        if (reader->failed)
            return error_memory(reader->error);
    }
    return MOSAIC_OK;
}

mosaic_status introspect_shard(PGconn *connection, const char *shard, const struct table_name *names, size_t count,
                               int64_t deadline, struct arena *arena, struct shard_facts *facts, mosaic_error *error)
{
    struct buffer targets = BUFFER_INIT(SQL_MOST);
    *facts = (struct shard_facts){.shard = shard, .tables = arena_zeroed(arena, count, sizeof *facts->tables)};
    add_targets(&targets, names, count);
    if (!facts->tables || buffer_failed(&targets)) {
        buffer_free(&targets);
        return error_memory(error);
    }
    struct reader reader = {
        .connection = connection, .shard = shard, .arena = arena, .deadline = deadline, .facts = facts, .error = error};
    reader.targets = buffer_string(&targets);
    mosaic_status status = state_identity(connection, shard, deadline, arena, &facts->mosaic, error);
    if (status == MOSAIC_OK)
        status = pq_exec(connection, shard,
                         "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog",
                         deadline, NULL, error);
    if (status == MOSAIC_OK) {
        mosaic_error ignored;
        status = read_all(&reader);
        mosaic_status ended =
            pq_exec(connection, shard, "ROLLBACK", deadline, NULL, status == MOSAIC_OK ? error : &ignored);
        if (status == MOSAIC_OK)
            status = ended;
    }
    PQclear(reader.result);
    buffer_free(&targets);
    return status;
}

const struct column_facts *facts_column(const struct table_facts *table, const char *name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (strcmp(table->columns[i].name, name) == 0)
            return &table->columns[i];
    return NULL;
}

bool facts_arrival(const struct shard_facts *facts, const char *schema, const char *name)
{
    for (size_t i = 0; i < facts->arrival_count; i++)
        if (strcmp(facts->arrivals[i].schema, schema) == 0 && strcmp(facts->arrivals[i].name, name) == 0)
            return true;
    return false;
}

const struct constraint_facts *facts_owner(const struct table_facts *table)
{
    for (size_t i = 0; i < table->constraint_count; i++)
        if (table->constraints[i].type == 'c' && strcmp(table->constraints[i].name, OWNER_CONSTRAINT) == 0)
            return &table->constraints[i];
    return NULL;
}

void facts_add_columns(struct buffer *sql, const struct table_facts *table)
{
    bool first = true;
    for (size_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].generated)
            continue;
        buffer_text(sql, first ? "" : ", ");
        sql_identifier(sql, table->columns[i].name);
        first = false;
    }
}
