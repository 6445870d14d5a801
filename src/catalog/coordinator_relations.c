#include "catalog/coordinator_relations.h"

#include "core/sqlexpr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MOST = 63, PART_NAME_MOST = 40, SERVER_NAME_MOST = 50 };

/* search_path is pg_catalog alone, so that format_type names every other schema. */
static const char relations_sql[] =
    "BEGIN READ ONLY; SET LOCAL search_path = pg_catalog;"
    " SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname), rn.nspname, r.relname, c.relkind,"
    "  c.relrowsecurity, has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),"
    "  coalesce(string_agg(a.definition || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY "
    "a.attnum),"
    "   ''), coalesce(string_agg(a.definition, ', ' ORDER BY a.attnum), '')"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_class r ON r.oid = CASE WHEN c.relispartition THEN pg_partition_root(c.oid) ELSE c.oid END"
    " JOIN pg_namespace rn ON rn.oid = r.relnamespace"
    " LEFT JOIN LATERAL (SELECT a.attnum, a.attnotnull,"
    "   format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)) || CASE"
    "    WHEN a.attcollation <> y.typcollation THEN format(' COLLATE %I.%I', ln.nspname, l.collname) ELSE '' END"
    "    AS definition"
    "  FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_collation l ON l.oid = a.attcollation"
    "  LEFT JOIN pg_namespace ln ON ln.oid = l.collnamespace"
    "  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) a ON true"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_'"
    "  AND n.nspname NOT IN ('mosaic', 'information_schema')"
    " GROUP BY n.oid, n.nspname, c.oid, c.relname, rn.nspname, r.relname, c.relkind, c.relrowsecurity"
    " ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\"";

static mosaic_status take(const PGresult *result, struct arena *arena, struct relations *relations, mosaic_error *error)
{
    size_t count = (size_t)PQntuples(result);
    bool failed = false;
    relations->count = count;
    relations->list = arena_zeroed(arena, count, sizeof *relations->list);
    if (!relations->list)
        return error_memory(error);
    for (size_t i = 0; i < count && !failed; i++) {
        struct relation *relation = &relations->list[i];
        const char **texts[] = {&relation->schema,
                                &relation->name,
                                &relation->display,
                                &relation->root_schema,
                                &relation->root_name,
                                NULL,
                                NULL,
                                NULL,
                                &relation->columns,
                                &relation->result_columns};
        for (int column = 0; column < (int)(sizeof texts / sizeof *texts); column++)
            if (texts[column])
                failed |= !(*texts[column] = arena_string(arena, PQgetvalue(result, (int)i, column)));
        relation->kind = PQgetvalue(result, (int)i, 5)[0];
        relation->has_row_security = PQgetvalue(result, (int)i, 6)[0] == 't';
        relation->is_readable = PQgetvalue(result, (int)i, 7)[0] == 't';
    }
    return failed ? error_memory(error) : MOSAIC_OK;
}

mosaic_status relations_read(PGconn *home, int64_t deadline, struct arena *arena, struct relations *relations,
                             mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_error ignored;
    mosaic_status status = pq_exec(home, "home", relations_sql, deadline, &result, error);
    if (status == MOSAIC_OK)
        status = take(result, arena, relations, error);
    PQclear(result);
    mosaic_status ended = pq_exec(home, "home", "ROLLBACK", deadline, NULL, status == MOSAIC_OK ? error : &ignored);
    return status == MOSAIC_OK ? ended : status;
}

static int compare(const void *a, const void *b)
{
    const struct relation *one = a, *two = b;
    int order = strcmp(one->schema, two->schema);
    return order ? order : strcmp(one->name, two->name);
}

const struct relation *relations_find(const struct relations *relations, const char *schema, const char *name)
{
    const struct relation wanted = {.schema = schema, .name = name};
    return bsearch(&wanted, relations->list, relations->count, sizeof wanted, compare);
}

static void add_literal(struct buffer *sql, const char *text)
{
    sql_literal(sql, text, strlen(text));
}

/* How many bytes of a name fit, no character cut in two. */
static int fitting(const char *name, size_t most)
{
    size_t size = strnlen(name, most);
    while (name[size] && ((unsigned char)name[size] & 0xC0) == 0x80)
        size--;
    return (int)size;
}

/* Shards' names can be as long as names may be; a shortened one gets the shard's number. */
void coordinator_server_name(struct buffer *sql, const struct model *model, size_t shard)
{
    char name[NAME_MOST + 1];
    const char *called = model->shards[shard].name;
    if (strlen(called) <= SERVER_NAME_MOST)
        snprintf(name, sizeof name, "mosaic_%s", called);
    else
        snprintf(name, sizeof name, "mosaic_%.*s:%zu", SERVER_NAME_MOST - 8, called, shard); /* ':' is in no name */
    sql_identifier(sql, name);
}

static void add_foreign(struct buffer *sql, const struct model *model, size_t shard, const struct relation *relation)
{
    buffer_text(sql, " SERVER ");
    coordinator_server_name(sql, model, shard);
    buffer_text(sql, " OPTIONS (schema_name ");
    add_literal(sql, relation->schema);
    buffer_text(sql, ", table_name ");
    add_literal(sql, relation->name);
    buffer_text(sql, ");\n");
}

/* The partition of one shard. Its name tells a person table and shard, its numbers make it the only one. */
static void add_part(struct buffer *sql, const struct model *model, size_t shard, const struct relation *relation,
                     size_t number, unsigned part)
{
    char name[NAME_MOST + 1];
    snprintf(name, sizeof name, "%.*s_%zu_%zu", fitting(relation->name, PART_NAME_MOST), relation->name, number, shard);
    buffer_text(sql, "CREATE FOREIGN TABLE " COORDINATOR_PARTS ".");
    sql_identifier(sql, name);
    buffer_format(sql, " PARTITION OF %s FOR VALUES IN (%u)", relation->display, part);
    add_foreign(sql, model, shard, relation);
}

static void add_sharded(struct buffer *sql, const struct model *model, const struct table *table,
                        const struct relation *relation, size_t number)
{
    uint16_t part_of_shard[SHARDS_MOST];
    struct buffer quoted[KEY_COLUMNS_MAX];
    const char *columns[KEY_COLUMNS_MAX];
    for (size_t i = 0; i < table->column_count; i++) {
        quoted[i] = BUFFER_INIT(4096);
        sql_identifier(&quoted[i], table->columns[i]);
        columns[i] = buffer_string(&quoted[i]);
    }
    sql_support_functions(sql, &table->rule);
    buffer_format(sql, "CREATE TABLE %s (%s) PARTITION BY LIST ((", relation->display, relation->columns);
    sql_part(sql, &table->rule, columns, table->map);
    buffer_text(sql, "));\n");
    for (size_t i = 0; i < table->column_count; i++)
        buffer_free(&quoted[i]);
    map_parts(table->map, part_of_shard);
    for (size_t shard = 0; shard < model->shard_count; shard++)
        if (part_of_shard[shard] != MAP_NO_PART)
            add_part(sql, model, shard, relation, number, part_of_shard[shard]);
}

void relation_refused_sql(struct buffer *sql, const struct relation *relation, const char *reason)
{
    bool has_columns = *relation->result_columns;
    buffer_format(sql, "CREATE OR REPLACE VIEW %s AS SELECT %s FROM mosaic.refused(", relation->display,
                  has_columns ? "r.*" : "");
    add_literal(sql, relation->display);
    buffer_text(sql, ", ");
    add_literal(sql, reason);
    buffer_format(sql, ") AS r(%s);\n", has_columns ? relation->result_columns : "nothing integer");
}

void relation_sql(struct buffer *sql, const struct model *model, size_t home, const struct relations *relations,
                  const struct relation *relation)
{
    const struct table *table = NULL;
    for (size_t i = 0; i < model->table_count && !table; i++)
        if (model->tables[i].map && strcmp(model->tables[i].schema, relation->root_schema) == 0 &&
            strcmp(model->tables[i].name, relation->root_name) == 0)
            table = &model->tables[i];
    if (relation->has_row_security) {
        relation_refused_sql(sql, relation, "It has row level security, and policies do not stand on the coordinator.");
    } else if (table) {
        add_sharded(sql, model, table, relation, (size_t)(relation - relations->list));
    } else {
        buffer_format(sql, "CREATE FOREIGN TABLE %s (%s)", relation->display, relation->columns);
        add_foreign(sql, model, home, relation);
    }
}
