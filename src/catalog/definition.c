#include "catalog/definition.h"

#include "core/sqlexpr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQL_MOST = 16 * 1024 * 1024 };

/* Expressions as the catalogs keep them: pg_get_expr's text depends on settings. */
static const char parts_sql[] =
    " v(n, s, r) JOIN pg_catalog.pg_namespace ns ON ns.nspname = v.s"
    " JOIN pg_catalog.pg_class c ON c.relnamespace = ns.oid AND c.relname = v.r),"
    " t AS (SELECT n, oid FROM root UNION SELECT n, p.relid FROM root, pg_catalog.pg_partition_tree(root.oid) p),"
    " part(n, what) AS ("
    "SELECT t.n, ROW('table', c.oid, c.relkind, c.relpersistence, c.relowner, c.relrowsecurity, c.relforcerowsecurity,"
    " c.relpartbound::text)::text"
    " FROM t JOIN pg_catalog.pg_class c ON c.oid = t.oid"
    " UNION ALL SELECT t.n, ROW('column', t.oid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull,"
    " a.attidentity, a.attgenerated, a.attcollation, d.adbin::text)::text"
    " FROM t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
    " UNION ALL SELECT t.n, ROW('constraint', k.oid, k.conname, k.contype, k.conrelid, k.confrelid, k.conkey,"
    " k.confkey, k.confdeltype, k.confupdtype, k.convalidated, k.conexclop, k.conbin::text)::text"
    " FROM t JOIN (SELECT conrelid AS relid, oid FROM pg_catalog.pg_constraint"
    "  UNION SELECT confrelid, oid FROM pg_catalog.pg_constraint) x ON x.relid = t.oid"
    " JOIN pg_catalog.pg_constraint k ON k.oid = x.oid AND k.conname <> '" OWNER_CONSTRAINT "'"
    " UNION ALL SELECT t.n, ROW('index', i.indexrelid, i.indisvalid, i.indkey, i.indclass, i.indcollation,"
    " i.indexprs::text, i.indpred::text)::text"
    " FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid AND i.indisunique"
    " UNION ALL SELECT t.n, ROW('trigger', g.oid, g.tgname, g.tgtype, g.tgenabled, g.tgattr,"
    " pg_catalog.encode(g.tgargs, 'hex'), g.tgqual::text, p.oid, p.prosrc)::text"
    " FROM t JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal"
    " JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid"
    " UNION ALL SELECT t.n, ROW('rule', w.oid, w.ev_type, w.ev_enabled, w.ev_qual::text, w.ev_action::text)::text"
    " FROM t JOIN pg_catalog.pg_rewrite w ON w.ev_class = t.oid"
    " UNION ALL SELECT t.n, ROW('policy', p.oid, p.polname, p.polcmd, p.polroles, p.polqual::text,"
    " p.polwithcheck::text)::text FROM t JOIN pg_catalog.pg_policy p ON p.polrelid = t.oid"
    " UNION ALL SELECT t.n, ROW('publication', p.prpubid)::text"
    " FROM t JOIN pg_catalog.pg_publication_rel p ON p.prrelid = t.oid)"
    " SELECT n, pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to("
    "pg_catalog.string_agg(what, ' ' ORDER BY what COLLATE \"C\"), 'UTF8')), 'hex') FROM part GROUP BY n";

mosaic_status definition_read(PGconn *connection, const char *shard, const struct table_name *names, size_t count,
                              int64_t deadline, struct definition *definitions, mosaic_error *error)
{
    struct buffer sql = BUFFER_INIT(SQL_MOST);
    PGresult *result = NULL;
    if (!count)
        return MOSAIC_OK;
    memset(definitions, 0, count * sizeof *definitions);
    buffer_text(&sql, "WITH root AS (SELECT v.n, c.oid FROM ");
    introspect_add_names(&sql, names, count);
    buffer_text(&sql, parts_sql);
    mosaic_status status = buffer_failed(&sql)
                               ? error_memory(error)
                               : pq_exec(connection, shard, buffer_string(&sql), deadline, &result, error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++)
        snprintf(definitions[atoi(PQgetvalue(result, row, 0))].digest, DEFINITION_DIGEST_SIZE, "%s",
                 PQgetvalue(result, row, 1));
    PQclear(result);
    buffer_free(&sql);
    return status;
}
