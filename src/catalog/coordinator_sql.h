/* What the coordinator's modules ask. Catalogs of PostgreSQL 13 to 18. */
#ifndef MOSAIC_CATALOG_COORDINATOR_SQL_H
#define MOSAIC_CATALOG_COORDINATOR_SQL_H

/* Where a row of a catalog stands and who wrote it: it changes with every change of the row, and costs little. */
#define VERSIONS(catalog, more) \
    ", (SELECT sum(hashtextextended(concat(x.xmin, x.ctid), 0)) FROM pg_catalog." catalog " x " more ")"
#define IN_SCHEMA(column) "JOIN n ON n.oid = x." column
#define MADE_HERE "WHERE x.oid >= 16384"

/*
 * Of relations and schemas, which are also updated by what changes no definition, what is read is hashed. What apply
 * itself makes on a shard (schema mosaic, constraints of tables) is left out.
 */
static const char coordinator_fingerprint_sql[] =
    "WITH n AS MATERIALIZED (SELECT n.oid, n.nspname, n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n"
    "  WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('mosaic', 'information_schema')),"
    " c AS MATERIALIZED (SELECT c.oid, hashtextextended(concat_ws(' ', c.oid, c.relname, c.relnamespace, c.relkind,"
    "  c.relowner, c.relrowsecurity, c.relispartition, coalesce(c.relacl::text, '-'),"
    "  coalesce(c.reloptions::text, '-')), 0) AS h FROM pg_catalog.pg_class c JOIN n ON n.oid = c.relnamespace"
    "  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c'))"
    " SELECT pg_catalog.md5(concat_ws(' ', (SELECT sum(h) FROM c),"
    " (SELECT sum(hashtextextended(concat_ws(' ', oid, nspname, nspowner, nspacl), 0)) FROM n)" //
    VERSIONS("pg_attribute", "JOIN c ON c.oid = x.attrelid WHERE x.attnum > 0")                 //
    VERSIONS("pg_type", IN_SCHEMA("typnamespace"))                                              //
    VERSIONS("pg_enum", MADE_HERE)                                                              //
    VERSIONS("pg_constraint", "WHERE x.contypid <> 0")                                          //
    VERSIONS("pg_proc", IN_SCHEMA("pronamespace"))                                              //
    VERSIONS("pg_operator", IN_SCHEMA("oprnamespace"))                                          //
    VERSIONS("pg_collation", IN_SCHEMA("collnamespace"))                                        //
    VERSIONS("pg_rewrite", "JOIN c ON c.oid = x.ev_class WHERE x.rulename = '_RETURN'")         //
    VERSIONS("pg_inherits", "JOIN c ON c.oid = x.inhrelid")                                     //
    VERSIONS("pg_cast", MADE_HERE)                                                              //
    VERSIONS("pg_opclass", MADE_HERE)                                                           //
    VERSIONS("pg_amop", MADE_HERE)                                                              //
    VERSIONS("pg_ts_config", MADE_HERE)                                                         //
    VERSIONS("pg_ts_dict", MADE_HERE)                                                           //
    VERSIONS("pg_ts_config_map", "WHERE x.mapcfg >= 16384")                                     //
    VERSIONS("pg_extension", MADE_HERE)                                                         //
    VERSIONS("pg_language", MADE_HERE)                                                          //
    VERSIONS("pg_db_role_setting", "JOIN pg_catalog.pg_database d ON d.oid = x.setdatabase"
                                   " WHERE d.datname = pg_catalog.current_database()") //
    "))";

#endif
