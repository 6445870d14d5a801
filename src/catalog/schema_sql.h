/* What schema_read.c asks. Catalogs of PostgreSQL 13 to 18; every name is looked up in pg_catalog alone. */
#ifndef MOSAIC_CATALOG_SCHEMA_SQL_H
#define MOSAIC_CATALOG_SCHEMA_SQL_H

#define OF_NO_SESSION "n.nspname OPERATOR(pg_catalog.!~) '^pg_(temp|toast)'"

static const char schema_begin_sql[] =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = pg_catalog;"
    " SET LOCAL jit = off";

/*
 * What a session has before it sets anything, of roles and of this database; and what roles are to each other, by which
 * it sees the schemas of its search_path, or does not. A connection of before that does not look again (PostgreSQL
 * keeps a path until a schema or the role changes, namespace.c) is of no use for either.
 */
#define DEFAULTS                                                                                                       \
    "(SELECT pg_catalog.hashtextextended(pg_catalog.concat(pg_catalog.string_agg(pg_catalog.concat_ws(' ', s.setrole," \
    " s.setdatabase, s.setconfig), ';' ORDER BY s.setrole, s.setdatabase), ' ', " MEMBERS                              \
    "), 12) FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::"            \
    "pg_catalog.oid, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=)"               \
    " pg_catalog.current_database())]))"
#define MEMBERS                                                                                                      \
    "(SELECT pg_catalog.string_agg(m::pg_catalog.text, ';' ORDER BY m.roleid, m.member, m.grantor) FROM"             \
    " pg_catalog.pg_auth_members m), ' ', (SELECT pg_catalog.string_agg(pg_catalog.concat(r.oid, r.rolinherit), ';'" \
    " ORDER BY r.oid) FROM pg_catalog.pg_roles r WHERE r.rolsuper OR NOT r.rolinherit)"

/* The same, and which schemas there are and who may see them. Right under any search_path. */
#define SIGHT                                                                                         \
    "(SELECT pg_catalog.hashtextextended(pg_catalog.concat(" DEFAULTS ", ' ', pg_catalog.string_agg(" \
    "pg_catalog.concat_ws(' ', n.nspname, n.nspowner, n.nspacl), ';' ORDER BY n.oid)), 13)"           \
    " FROM pg_catalog.pg_namespace n WHERE " OF_NO_SESSION ")"
static const char schema_sight_sql[] = SIGHT;

/*
 * Of relations that ANALYZE, VACUUM, TRUNCATE and the like touch, what we read is hashed; of the others, where the row
 * stands and who wrote it: half the price.
 */
static const char schema_stamp_sql[] =
    "WITH n AS MATERIALIZED (SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n "
    "WHERE " OF_NO_SESSION "),"
    " c AS MATERIALIZED (SELECT c.oid, hashtextextended(concat_ws(' ', c.oid, c.relname, c.relnamespace, c.relkind,"
    "  c.relrowsecurity, c.relispartition), 1) AS h FROM pg_catalog.pg_class c JOIN n ON n.oid = c.relnamespace"
    "  WHERE c.oid >= 16384 AND c.relkind NOT IN ('i', 'I', 't'))"
    " SELECT hashtextextended(coalesce(sum(h), 0)::text, 0) FROM (SELECT h FROM c"
    " UNION ALL SELECT hashtextextended(concat_ws(' ', n.nspname, n.nspowner, n.nspacl), n.oid::int8) FROM n"
    " UNION ALL SELECT hashtextextended(concat(x.xmin, x.ctid), 2) FROM pg_catalog.pg_attribute x"
    "  JOIN c ON c.oid = x.attrelid WHERE x.attnum > 0"
    " UNION ALL SELECT hashtextextended(concat(x.xmin, x.ctid), 3) FROM pg_catalog.pg_type x"
    "  JOIN n ON n.oid = x.typnamespace WHERE x.oid >= 16384"
    " UNION ALL SELECT hashtextextended(concat(x.xmin, x.ctid), 4) FROM pg_catalog.pg_proc x WHERE x.oid >= 16384"
    " UNION ALL SELECT hashtextextended(concat(x.xmin, x.ctid), 5) FROM pg_catalog.pg_operator x WHERE x.oid >= 16384"
    " UNION ALL SELECT hashtextextended(concat(x.xmin, x.ctid), 6) FROM pg_catalog.pg_collation x WHERE x.oid >= 16384"
    " UNION ALL SELECT hashtextextended(concat(x.xmin, x.ctid), 7) FROM pg_catalog.pg_rewrite x WHERE x.oid >= 16384"
    " UNION ALL SELECT hashtextextended(concat(x.xmin, x.ctid), 8) FROM pg_catalog.pg_trigger x WHERE NOT "
    "x.tgisinternal"
    " UNION ALL SELECT hashtextextended(concat(x.xmin, x.ctid), 9) FROM pg_catalog.pg_policy x"
    " UNION ALL SELECT hashtextextended(concat(x.xmin, x.ctid), 10) FROM pg_catalog.pg_inherits x"
    " UNION ALL SELECT hashtextextended(concat(x.xmin, x.ctid), 11) FROM pg_catalog.pg_constraint x"
    "  JOIN c ON c.oid = x.conrelid WHERE x.contype = 'f'"
    " UNION ALL SELECT " DEFAULTS ") q";

static const char schema_namespaces_sql[] =
    "SELECT n.nspname, " DEFAULTS ", " SIGHT " FROM pg_namespace n WHERE " OF_NO_SESSION " ORDER BY 1";

/* A view of PostgreSQL's own needs no text: each server answers it for itself. */
static const char schema_relations_sql[] =
    "SELECT n.nspname, c.relname, c.oid, c.relkind, c.relrowsecurity, c.relispartition,"
    " r.ev_class IS NOT NULL, t.tgrelid IS NOT NULL, CASE WHEN c.relkind IN ('v', 'm') AND n.nspname NOT IN"
    "  ('pg_catalog', 'information_schema') THEN pg_get_viewdef(c.oid) END,"
    " coalesce(t.truncates, false)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN (SELECT DISTINCT ev_class FROM pg_rewrite WHERE rulename <> '_RETURN') r ON r.ev_class = c.oid"
    " LEFT JOIN (SELECT tgrelid, bool_or(tgtype & 32 <> 0) AS truncates FROM pg_trigger WHERE NOT tgisinternal"
    "  GROUP BY tgrelid) t ON t.tgrelid = c.oid"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND " OF_NO_SESSION " ORDER BY c.oid";

/*
 * A default (sql/schema_file_default.c tells the same of a file): first its literals are emptied, then what calls
 * nothing is taken off, a type's modifier and the transaction's time. What still looks like a call may give anything.
 */
#define DEFAULT_BARE                                                                          \
    "regexp_replace(regexp_replace(regexp_replace(s.said, '''([^'']|'''')*''', '''''', 'g')," \
    " '::[a-z ]+[(]', '::(', 'g'), '[[:<:]](now|transaction_timestamp|timezone|date_trunc|"   \
    "CURRENT_TIMESTAMP|CURRENT_TIME|LOCALTIME|LOCALTIMESTAMP)[(]', '(', 'g')"
#define DEFAULT_CLOCK                                                                                         \
    "f.said ~* '[[:<:]](now|today|tomorrow|yesterday|transaction_timestamp|statement_timestamp|current_date|" \
    "current_time|current_timestamp|localtime|localtimestamp)[[:>:]]'"
#define DEFAULT_IS_SAME                  \
    "f.bare !~ '[A-Za-z0-9_\".][(]' AND" \
    " f.bare !~ '[[:<:]](CURRENT_(USER|ROLE|CATALOG|SCHEMA)|SESSION_USER|USER)[[:>:]]'"

static const char schema_columns_sql[] =
    "SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, a.attnum, a.attnotnull, a.attgenerated <> '',"
    " a.atthasdef AND a.attgenerated = '' OR a.attidentity <> '' OR y.typdefault IS NOT NULL AND y.typtype = 'd',"
    " coalesce(co.collisdeterministic, true), a.attcollation = 100," /* DEFAULT_COLLATION_OID */
    " coalesce(CASE co.collprovider WHEN 'd' THEN d.bytewise WHEN 'c' THEN co.collcollate IN ('C', 'POSIX')"
    "  WHEN 'b' THEN to_jsonb(co) ->> 'colllocale' IN ('C', 'C.UTF-8') END, false),"
    " coalesce(" DEFAULT_IS_SAME ", false),"
    " coalesce(" DEFAULT_CLOCK ", false),"
    " coalesce(f.said = 'mosaic.next_id()', false)"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_collation co ON co.oid = a.attcollation"
    /* Some columns are of later versions: datlocprovider of 15, datlocale and colllocale of 17. */
    " CROSS JOIN (SELECT CASE coalesce(j ->> 'datlocprovider', 'c') WHEN 'c' THEN j ->> 'datcollate' IN ('C', 'POSIX')"
    "  WHEN 'b' THEN j ->> 'datlocale' IN ('C', 'C.UTF-8') END AS bytewise"
    "  FROM (SELECT to_jsonb(q) AS j FROM pg_database q WHERE q.datname = current_database()) k) d"
    " LEFT JOIN LATERAL (SELECT s.said, " DEFAULT_BARE " AS bare FROM (SELECT coalesce((SELECT pg_get_expr(e.adbin,"
    "  e.adrelid) FROM pg_attrdef e WHERE e.adrelid = a.attrelid AND e.adnum = a.attnum),"
    "  CASE y.typtype WHEN 'd' THEN y.typdefault END) AS said) s) f ON a.attgenerated = ''"
    " WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')"
    " AND " OF_NO_SESSION " ORDER BY a.attrelid, a.attnum";

static const char schema_types_sql[] =
    "SELECT n.nspname, t.typname, t.oid, t.typtype, t.typcategory, t.typbasetype, t.typtypmod,"
    " CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END, t.typarray, t.typrelid,"
    " CASE t.typtype WHEN 'r' THEN (SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid)"
    /* PostgreSQL 13 has no multiranges, and no such column. */
    "  WHEN 'm' THEN (SELECT r.rngtypid FROM pg_range r WHERE (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid)"
    "  ELSE 0 END, t.typtype = 'd' AND f.said IS NOT NULL AND (NOT (" DEFAULT_IS_SAME ") OR " DEFAULT_CLOCK "),"
    " t.typsend = 0 OR t.typreceive = 0"
    " FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace"
    " CROSS JOIN LATERAL (SELECT s.said, " DEFAULT_BARE
    " AS bare FROM (SELECT t.typdefault AS said) s) f WHERE " OF_NO_SESSION " ORDER BY t.oid";

/* FirstNormalObjectId: a function that somebody put into pg_catalog later is not PostgreSQL's own. */
static const char schema_functions_sql[] =
    "SELECT n.nspname, p.proname, p.oid, p.prokind,"
    /* pg_proc calls every aggregate immutable; it is what its functions are. Of i, s, v the greatest is the worst. */
    " CASE WHEN p.prokind = 'a' AND p.oid >= 16384 THEN (SELECT max(f.provolatile::text) FROM pg_aggregate a JOIN "
    "pg_proc f"
    "  ON f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)"
    "  WHERE a.aggfnoid = p.oid) ELSE p.provolatile::text END, p.proretset, p.proisstrict,"
    " n.nspname = 'pg_catalog' AND p.oid < 16384, p.prorettype, p.proargtypes"
    " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE " OF_NO_SESSION
    " ORDER BY p.proname COLLATE \"C\", p.oid";

static const char schema_operators_sql[] =
    "SELECT n.nspname, o.oprname, o.oprleft, o.oprright, coalesce(f.provolatile <> 'i', true) FROM pg_operator o"
    " LEFT JOIN pg_proc f ON f.oid = o.oprcode JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE (o.oid >= 16384 OR "
    "n.nspname <> 'pg_catalog')"
    " AND " OF_NO_SESSION " ORDER BY 1, 2, 3, 4";

static const char schema_keys_sql[] =
    "SELECT k.conrelid, k.confrelid, k.confupdtype, k.confdeltype FROM pg_constraint k WHERE k.contype = 'f' ORDER BY "
    "k.oid";

static const char schema_inherits_sql[] =
    "SELECT i.inhrelid, i.inhparent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE c.relkind IN ('r', 'p', 'f') ORDER BY i.inhrelid, i.inhseqno";

/* An operator of a user calls a function of a user. */
static const char schema_policies_sql[] =
    "SELECT DISTINCT p.polrelid, CASE WHEN d.refclassid = 'pg_class'::regclass THEN d.refobjid ELSE 0 END"
    " FROM pg_policy p JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid"
    " WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)"
    " OR d.refclassid = 'pg_class'::regclass AND d.refobjid <> p.polrelid ORDER BY 1, 2";

/* The types of a shard whose OIDs are its own (access/transam.h, FirstUnpinnedObjectId). */
static const char schema_oids_sql[] =
    "SELECT n.nspname, t.typname, t.oid FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n"
    " ON n.oid = t.typnamespace WHERE t.oid >= 12000 AND " OF_NO_SESSION;

#endif
