/* What stands on the home shard beside a table that is spread, does not come along, and would no longer do: */
#include "catalog/grow_steps.h"
#include "core/sqlexpr.h"

#include <string.h>

/* Views, also those of views, that read it; by name. */
static const char views_sql[] =
    "WITH RECURSIVE v(oid) AS (SELECT $1::regclass::oid UNION SELECT r.ev_class FROM v"
    " JOIN pg_catalog.pg_depend d ON d.refobjid = v.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass"
    " AND d.classid = 'pg_catalog.pg_rewrite'::regclass JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid)"
    " SELECT n.nspname, c.relname, c.relkind FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid IN (SELECT oid FROM v)"
    " AND c.relkind IN ('v', 'm') ORDER BY 1, 2";

/* Publications of it, and whether they tell their subscribers of deletions and of insertions. */
static const char publications_sql[] =
    "SELECT DISTINCT p.pubname, p.pubdelete, p.pubinsert FROM pg_catalog.pg_publication p"
    " JOIN pg_catalog.pg_publication_tables t ON t.pubname = p.pubname"
    " JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname"
    " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename WHERE c.oid IN"
    " (SELECT $1::regclass UNION SELECT f.relid FROM pg_catalog.pg_partition_tree($1::regclass) f) ORDER BY 1";

static mosaic_status ask(struct apply *apply, const struct table *table, const char *sql, PGresult **result,
                         mosaic_error *error)
{
    struct apply_shard *home = &apply->shards[apply->catalog_shard];
    struct buffer name = BUFFER_INIT(4096);
    grow_add_name(&name, table);
    const char *text = buffer_string(&name);
    mosaic_status status = pq_exec_params(home->connection, home->facts.shard, sql, 1, &text,
                                          pq_deadline(apply->options.look_ms), result, error);
    buffer_free(&name);
    return status;
}

static mosaic_status check_views(struct apply *apply, const struct table *table, mosaic_error *error)
{
    const char *home = apply->model->shards[apply->catalog_shard].name;
    PGresult *result = NULL;
    mosaic_status status = ask(apply, table, views_sql, &result, error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++) {
        const char *schema = PQgetvalue(result, row, 0), *view = PQgetvalue(result, row, 1);
        if (PQgetvalue(result, row, 2)[0] == 'm')
            finding_add(&apply->findings, false, home, table->display, "drop it when nobody needs it any more",
                        "materialized view %s.%s of the table stays as it is: it cannot be refreshed any more", schema,
                        view);
        else
            finding_add(&apply->findings, false, home, table->display,
                        "afterwards make it on every shard: pgmosaic exec --all \"CREATE OR REPLACE VIEW …\"",
                        "view %s.%s reads the table and does not come along: statements that other shards answer fail "
                        "until it is there (SQLSTATE 42P01)",
                        schema, view);
    }
    PQclear(result);
    return status;
}

mosaic_status grow_check_publications(struct apply *apply, const struct table *table, bool returns, mosaic_error *error)
{
    const char *home = apply->model->shards[apply->catalog_shard].name;
    PGresult *result = NULL;
    mosaic_status status = ask(apply, table, publications_sql, &result, error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(result); row++) {
        const char *publication = PQgetvalue(result, row, 0);
        if (!returns && PQgetvalue(result, row, 1)[0] == 't')
            finding_add(&apply->findings, true, home, table->display,
                        "take it out of the publication; afterwards publish it on every shard",
                        "publication %s would tell its subscribers that the rows which move are deleted", publication);
        if (returns && PQgetvalue(result, row, 2)[0] == 't')
            finding_add(&apply->findings, true, home, table->display,
                        "take it out of the publication, and put it back when it is home",
                        "publication %s would tell its subscribers of the rows which come home as if they were new",
                        publication);
    }
    PQclear(result);
    return status;
}

mosaic_status grow_check_beside(struct apply *apply, const struct table *table, mosaic_error *error)
{
    mosaic_status status = check_views(apply, table, error);
    if (status == MOSAIC_OK && table->kind == TABLE_SHARDED)
        status = grow_check_publications(apply, table, false, error);
    return status;
}
