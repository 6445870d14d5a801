/*
 * Tables that are dropped on a shard. With a table goes what is its own: indexes, constraints, triggers, sequences, its
 * partitions, the type of its rows. What others have made of it is in the way of DROP TABLE (2BP01): views, foreign
 * keys, and functions, types and columns over its rows.
 */
#include "catalog/grow_steps.h"
#include "core/sqlexpr.h"

/* Of the tables t(oid). */
#define OWN                                                                                               \
    "own(classid, objid) AS (SELECT 'pg_catalog.pg_class'::regclass::oid, t.oid FROM t"                   \
    " UNION SELECT d.classid, d.objid FROM own JOIN pg_catalog.pg_depend d ON d.refclassid = own.classid" \
    "  AND d.refobjid = own.objid AND d.deptype <> 'n')"
#define NOT_OWN " (d.classid, d.objid) NOT IN (SELECT classid, objid FROM own)"

static const char dependents_sql[] =
    "WITH RECURSIVE t(oid) AS (SELECT $1::regclass::oid), " OWN
    " SELECT DISTINCT n.nspname, c.relname, k.conname, pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)"
    " FROM own JOIN pg_catalog.pg_depend d ON d.refclassid = own.classid AND d.refobjid = own.objid AND" NOT_OWN
    " LEFT JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objid"
    "  AND k.contype = 'f'"
    " LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid"
    " LEFT JOIN pg_catalog.pg_class c ON c.oid = coalesce(pg_catalog.pg_partition_root(k.conrelid), k.conrelid)"
    "  OR c.oid = r.ev_class AND c.relkind IN ('v', 'm')"
    " LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE coalesce(k.conparentid, 0) = 0 ORDER BY 1, 2, 3, 4";

mosaic_status grow_read_dependents(PGconn *connection, const char *shard, const char *table, int timeout_ms,
                                   PGresult **result, mosaic_error *error)
{
    return pq_exec_params(connection, shard, dependents_sql, 1, &table, pq_deadline(timeout_ms), result, error);
}

void grow_drop_add(struct grow_drop *drop, const char *schema, const char *name)
{
    struct buffer quoted = BUFFER_INIT(4096);
    sql_qualified(&quoted, schema, name);
    buffer_text(&drop->names, drop->names.size ? ", " : "");
    buffer_add(&drop->names, quoted.data, quoted.size);
    buffer_text(&drop->texts, drop->texts.size ? ", " : "");
    sql_literal(&drop->texts, buffer_string(&quoted), quoted.size);
    buffer_free(&quoted);
}

/*
 * Functions over rows have come with the tables, as all functions do. They go by CASCADE; columns, views and foreign
 * keys of others, which would go by it too, are refused.
 */
static void add_refusal(struct buffer *sql, const struct buffer *texts)
{
    struct buffer body = BUFFER_INIT(GROW_SQL_MOST);
    buffer_text(&body, "DECLARE other text; BEGIN WITH RECURSIVE t(oid) AS (SELECT pg_catalog.to_regclass(name)::oid"
                       " FROM pg_catalog.unnest(ARRAY[");
    buffer_add(&body, texts->data, texts->size);
    buffer_text(&body, "]) name WHERE pg_catalog.to_regclass(name) IS NOT NULL), " OWN ", "
                       "gone(classid, objid, part) AS (SELECT classid, objid, 0 FROM own"
                       " UNION SELECT d.classid, d.objid, d.objsubid FROM gone JOIN pg_catalog.pg_depend d"
                       "  ON d.refclassid = gone.classid AND d.refobjid = gone.objid)"
                       " SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.part) INTO other FROM gone d"
                       " WHERE" NOT_OWN " AND d.classid NOT IN ('pg_catalog.pg_proc'::regclass,"
                       " 'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_operator'::regclass,"
                       " 'pg_catalog.pg_cast'::regclass) LIMIT 1; IF other IS NOT NULL THEN"
                       " RAISE dependent_objects_still_exist USING MESSAGE = pg_catalog.format('%s depends on a table"
                       " that was left by an apply that was cut off', other), HINT = 'drop it, then run pgmosaic apply"
                       " again'; END IF; END");
    buffer_text(sql, "DO ");
    sql_literal(sql, buffer_string(&body), body.size);
    buffer_text(sql, "; ");
    sql->failed |= body.failed;
    buffer_free(&body);
}

bool grow_drop_end(struct buffer *sql, struct grow_drop *drop)
{
    bool any = drop->names.size > 0;
    if (any) {
        add_refusal(sql, &drop->texts);
        buffer_text(sql, "DROP TABLE IF EXISTS ");
        buffer_add(sql, drop->names.data, drop->names.size);
        buffer_text(sql, " CASCADE; ");
    }
    sql->failed |= drop->names.failed || drop->texts.failed;
    buffer_free(&drop->names);
    buffer_free(&drop->texts);
    return any;
}
