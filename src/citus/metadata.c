#include "citus/metadata.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "core/sqlexpr.h"

#include <stdlib.h>
#include <string.h>

/*
 * One row per fact, so that one statement reads them all at one moment. $1 and $2 are the schemas and names of the
 * config's tables; `at` is a table's place there. partmethod h is distributed by hash; n with repmodel t is a reference
 * table, other n are local or single-shard tables (src/include/distributed/pg_dist_partition.h of Citus). Of a shard
 * with several placements the oldest counts.
 */
static const char read_sql[] =
    "WITH wanted AS (SELECT at, c.oid FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, at)"
    " JOIN pg_catalog.pg_namespace n ON n.nspname = schema"
    " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = name),"
    " known AS (SELECT at, logicalrelid, partmethod, partkey, colocationid, repmodel"
    " FROM wanted JOIN pg_catalog.pg_dist_partition ON logicalrelid = oid) "
    "SELECT 1 AS part, nodeid::bigint AS a, groupid::bigint AS b, nodeport::bigint AS c, nodename::text AS d,"
    " isactive AS e, shouldhaveshards AS f, '' AS g FROM pg_catalog.pg_dist_node WHERE noderole = 'primary' "
    "UNION ALL SELECT 2, at, colocationid, coalesce(atttypid::bigint, 0), coalesce(attname::text, ''),"
    " partmethod = 'h', partmethod = 'n' AND repmodel = 't',"
    " coalesce((SELECT shardcount FROM pg_catalog.pg_dist_colocation c WHERE c.colocationid = k.colocationid), 0)"
    " || ' ' || coalesce((SELECT string_agg(p.logicalrelid::text, ', ' ORDER BY p.logicalrelid::text)"
    " FROM pg_catalog.pg_dist_partition p WHERE p.colocationid = k.colocationid AND k.partmethod = 'h'"
    " AND NOT EXISTS (SELECT FROM wanted WHERE oid = p.logicalrelid)), '')"
    " FROM known k LEFT JOIN pg_catalog.pg_attribute ON attrelid = logicalrelid AND partmethod = 'h'"
    " AND attname = pg_catalog.column_to_column_name(logicalrelid, partkey::text) "
    "UNION ALL SELECT 3, at, s.shardid, (SELECT groupid FROM pg_catalog.pg_dist_placement p"
    " WHERE p.shardid = s.shardid AND shardstate = 1 ORDER BY placementid LIMIT 1),"
    " coalesce(shardminvalue, '') || ' ' || coalesce(shardmaxvalue, ''), true, true, ''"
    " FROM known k JOIN pg_catalog.pg_dist_shard s ON s.logicalrelid = k.logicalrelid "
    "ORDER BY 1, 2, 3";

enum { PART_NODE = 1, PART_TABLE, PART_SHARD };
enum { COLUMN_PART, COLUMN_A, COLUMN_B, COLUMN_C, COLUMN_D, COLUMN_E, COLUMN_F, COLUMN_G };

static long long number(const PGresult *result, int row, int column)
{
    return atoll(PQgetvalue(result, row, column));
}

static bool yes(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column)[0] == 't';
}

mosaic_status citus_judge_group(const struct model *model, const PGresult *answer, mosaic_error *error)
{
    if (answer && PQntuples(answer) == 1 && number(answer, 0, 0) == 0)
        return MOSAIC_OK;
    if (answer) {
        error_set(error, MOSAIC_PREFLIGHT, "the database at the conninfo of the coordinator is a worker");
        error_hint(error, "name the coordinator in %s", model->source);
    } else {
        error_set(error, MOSAIC_PREFLIGHT, "the database at the conninfo of the coordinator has no extension citus");
        error_hint(error, "correct the conninfo in %s, or run there: CREATE EXTENSION citus", model->source);
    }
    return error_shard(error, model->shards[0].name);
}

mosaic_status citus_check_coordinator(const struct model *model, PGconn *connection, int64_t deadline,
                                      mosaic_error *error)
{
    const char *name = model->shards[0].name;
    PGresult *result = NULL;
    mosaic_status status =
        pq_exec(connection, name, "SELECT pg_catalog.to_regclass('pg_catalog.pg_dist_local_group') IS NULL", deadline,
                &result, error);
    if (status != MOSAIC_OK)
        return status;
    bool missing = yes(result, 0, 0);
    PQclear(result);
    if (missing)
        return citus_judge_group(model, NULL, error);
    status = pq_exec(connection, name, CITUS_GROUP_QUESTION, deadline, &result, error);
    if (status != MOSAIC_OK)
        return status;
    status = citus_judge_group(model, result, error);
    PQclear(result);
    return status;
}

static mosaic_status take_nodes(struct model *model, const PGresult *result, mosaic_error *error)
{
    struct citus_node *nodes = arena_zeroed(&model->arena, (size_t)PQntuples(result), sizeof *nodes);
    if (!nodes)
        return error_memory(error);
    model->node_count = 0;
    for (int row = 0; row < PQntuples(result) && number(result, row, COLUMN_PART) == PART_NODE; row++) {
        struct citus_node *node = &nodes[model->node_count++];
        struct buffer name = BUFFER_INIT(1024);
        *node = (struct citus_node){.host = arena_string(&model->arena, PQgetvalue(result, row, COLUMN_D)),
                                    .port = (int)number(result, row, COLUMN_C),
                                    .id = (int)number(result, row, COLUMN_A),
                                    .group = (int)number(result, row, COLUMN_B),
                                    .active = yes(result, row, COLUMN_E),
                                    .has_shards = yes(result, row, COLUMN_F)};
        buffer_format(&name, "%s:%d", PQgetvalue(result, row, COLUMN_D), node->port);
        node->name = buffer_failed(&name) ? NULL : arena_string(&model->arena, buffer_string(&name));
        buffer_free(&name);
        if (!node->host || !node->name)
            return error_memory(error);
    }
    model->nodes = nodes;
    return MOSAIC_OK;
}

/* Index of the node with this group, SIZE_MAX if there is none. */
static size_t node_of_group(const struct model *model, long long group)
{
    for (size_t i = 0; i < model->node_count; i++)
        if (model->nodes[i].group == group)
            return i;
    return SIZE_MAX;
}

static int compare_ranges(const void *left, const void *right)
{
    const struct citus_range *a = left, *b = right;
    return a->least != b->least ? (a->least < b->least ? -1 : 1) : (a->shard > b->shard) - (a->shard < b->shard);
}

static mosaic_status strange(const struct model *model, const char *table, const char *what, mosaic_error *error)
{
    error_set(error, MOSAIC_UNSUPPORTED, "table %s: %s in Citus's metadata", table, what);
    error_hint(error, "look at SELECT * FROM pg_dist_shard LEFT JOIN pg_dist_placement USING (shardid)");
    return error_shard(error, model->shards[0].name);
}

static mosaic_status take_table(const PGresult *result, int row, struct arena *arena, struct citus_table *tables,
                                mosaic_error *error)
{
    struct citus_table *table = &tables[number(result, row, COLUMN_A) - 1];
    const char *members = strchr(PQgetvalue(result, row, COLUMN_G), ' ');
    *table = (struct citus_table){
        .distributed = true,
        .hash = yes(result, row, COLUMN_E),
        .reference = yes(result, row, COLUMN_F),
        .key = arena_string(arena, PQgetvalue(result, row, COLUMN_D)),
        .type_oid = (unsigned)number(result, row, COLUMN_C),
        .colocation = (int)number(result, row, COLUMN_B),
        .asked_shards = (uint32_t)number(result, row, COLUMN_G),
        .other_members = arena_string(arena, members ? members + 1 : ""),
    };
    return table->key && table->other_members ? MOSAIC_OK : error_memory(error);
}

/* The shards of one table, which begin at this row; *next is the row behind them. */
static mosaic_status take_ranges(const struct model *model, const PGresult *result, int row, struct arena *arena,
                                 struct citus_table *tables, int *next, mosaic_error *error)
{
    long long at = number(result, row, COLUMN_A);
    struct citus_table *table = &tables[at - 1];
    for (*next = row; *next < PQntuples(result) && number(result, *next, COLUMN_A) == at;)
        ++*next;
    table->count = (uint32_t)(*next - row);
    table->ranges = arena_zeroed(arena, table->count, sizeof *table->ranges);
    if (!table->ranges)
        return error_memory(error);
    for (uint32_t i = 0; i < table->count; i++, row++) {
        const char *bounds = PQgetvalue(result, row, COLUMN_D), *most = strchr(bounds, ' ');
        size_t node = node_of_group(model, number(result, row, COLUMN_C));
        if (PQgetisnull(result, row, COLUMN_C) || node == SIZE_MAX)
            return strange(model, model->tables[at - 1].display, "a shard has no placement on a known node", error);
        table->ranges[i] = (struct citus_range){atoi(bounds), most ? atoi(most + 1) : 0, number(result, row, COLUMN_B),
                                                (uint16_t)node};
    }
    qsort(table->ranges, table->count, sizeof *table->ranges, compare_ranges);
    return MOSAIC_OK;
}

static mosaic_status take(struct model *model, const PGresult *result, struct arena *arena, struct citus_table *tables,
                          mosaic_error *error)
{
    mosaic_status status = take_nodes(model, result, error);
    for (int row = 0, next; row < PQntuples(result) && status == MOSAIC_OK; row = next) {
        next = row + 1;
        if (number(result, row, COLUMN_PART) == PART_TABLE)
            status = take_table(result, row, arena, tables, error);
        else if (number(result, row, COLUMN_PART) == PART_SHARD)
            status = take_ranges(model, result, row, arena, tables, &next, error);
    }
    return status;
}

void citus_add_relation(struct buffer *sql, const struct table *table)
{
    struct buffer name = BUFFER_INIT(4096);
    sql_qualified(&name, table->schema, table->name);
    sql_literal(sql, buffer_string(&name), name.size);
    buffer_free(&name);
}

/* The tables' schemas, or names, as the text form of a text[]. */
static void add_names(const struct model *model, bool schemas, struct buffer *array)
{
    buffer_char(array, '{');
    for (size_t i = 0; i < model->table_count; i++) {
        const char *name = schemas ? model->tables[i].schema : model->tables[i].name;
        buffer_text(array, i ? ",\"" : "\"");
        for (; *name; name++) {
            if (*name == '"' || *name == '\\')
                buffer_char(array, '\\');
            buffer_char(array, *name);
        }
        buffer_char(array, '"');
    }
    buffer_char(array, '}');
}

mosaic_status citus_read(struct model *model, PGconn *coordinator, int64_t deadline, struct arena *arena,
                         struct citus_table **tables, mosaic_error *error)
{
    enum { NAMES_MOST = 4 * 1024 * 1024 };
    mosaic_status status = citus_check_coordinator(model, coordinator, deadline, error);
    if (status != MOSAIC_OK)
        return status;
    struct buffer schemas = BUFFER_INIT(NAMES_MOST), names = BUFFER_INIT(NAMES_MOST);
    PGresult *result = NULL;
    *tables = arena_zeroed(arena, model->table_count, sizeof **tables);
    add_names(model, true, &schemas);
    add_names(model, false, &names);
    if (buffer_failed(&schemas) || buffer_failed(&names) || !*tables) {
        status = error_memory(error);
    } else {
        const char *values[] = {buffer_string(&schemas), buffer_string(&names)};
        status = pq_exec_params(coordinator, model->shards[0].name, read_sql, 2, values, deadline, &result, error);
    }
    buffer_free(&schemas);
    buffer_free(&names);
    if (status == MOSAIC_OK)
        status = take(model, result, arena, *tables, error);
    PQclear(result);
    return status;
}

/* ---- completing a model ------------------------------------------------------------------------------- */

static mosaic_status differs(const struct model *model, const struct table *table, const char *is, mosaic_error *error)
{
    error_set(error, MOSAIC_STALE, "table %s is %s on the cluster, and not so in %s", table->display, is,
              model->source);
    error_hint(error, "run pgmosaic apply, or correct the config");
    return error_shard(error, model->shards[0].name);
}

/* Does the cluster have the table as the config says? Fills in the key's type. */
static mosaic_status check_table(const struct model *model, struct table *table, const struct citus_table *found,
                                 mosaic_error *error)
{
    if (found->reference != (table->kind == TABLE_REFERENCE))
        return differs(model, table,
                       found->reference ? "a reference table"
                       : found->hash    ? "distributed"
                                        : "a local table that Citus manages",
                       error);
    if (found->reference)
        return MOSAIC_OK;
    if (!found->hash)
        return differs(model, table, "not distributed by hash", error);
    if (strcmp(found->key, table->columns[0]) != 0) {
        error_set(error, MOSAIC_STALE, "table %s is distributed by \"%s\" on the cluster, and by \"%s\" in %s",
                  table->display, found->key, table->columns[0], model->source);
        error_hint(error, "run pgmosaic apply, or correct the config");
        return error_shard(error, model->shards[0].name);
    }
    if (type_by_oid(found->type_oid, &table->rule.types[0]))
        return MOSAIC_OK;
    error_set(error, MOSAIC_UNSUPPORTED, "table %s: column \"%s\" has a type by which pgmosaic cannot route",
              table->display, found->key);
    error_hint(error, "take the table out of %s: statements reach it by Citus all the same", model->source);
    return error_shard(error, model->shards[0].name);
}

/* Every hash must belong to exactly one shard. */
static bool ranges_cover(const struct citus_range *ranges, uint32_t count)
{
    if (!count || ranges[0].least != INT32_MIN || ranges[count - 1].most != INT32_MAX)
        return false;
    for (uint32_t i = 0; i + 1 < count; i++)
        if ((int64_t)ranges[i].most + 1 != ranges[i + 1].least)
            return false;
    return true;
}

static mosaic_status take_shards(struct model *model, struct table *table, const struct citus_table *found,
                                 mosaic_error *error)
{
    struct citus_shards *shards = arena_zeroed(&model->arena, 1, sizeof *shards);
    int64_t *ids = arena_zeroed(&model->arena, found->count, sizeof *ids);
    uint16_t *nodes = arena_zeroed(&model->arena, found->count, sizeof *nodes);
    int32_t *lowest = arena_zeroed(&model->arena, found->count, sizeof *lowest);
    if (!shards || !ids || !nodes || !lowest)
        return error_memory(error);
    for (uint32_t i = 0; i < found->count; i++) {
        ids[i] = found->ranges[i].shard;
        nodes[i] = found->ranges[i].node;
        lowest[i] = found->ranges[i].least;
    }
    *shards = (struct citus_shards){found->count, ids, nodes, found->colocation};
    table->citus = shards;
    table->applied = true;
    if (table->kind == TABLE_REFERENCE)
        return MOSAIC_OK;
    table->rule.buckets = found->count;
    table->rule.lowest = lowest;
    table->map = map_initial(&model->arena, found->count, 1, 1);
    return table->map ? MOSAIC_OK : error_memory(error);
}

mosaic_status citus_complete(struct model *model, PGconn *coordinator, int64_t deadline, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct citus_table *found = NULL;
    mosaic_status status = citus_read(model, coordinator, deadline, &arena, &found, error);
    for (size_t i = 0; i < model->table_count && status == MOSAIC_OK; i++) {
        struct table *table = &model->tables[i];
        if (!found[i].distributed)
            continue;
        status = check_table(model, table, &found[i], error);
        if (status != MOSAIC_OK)
            break;
        bool sharded = table->kind == TABLE_SHARDED;
        if (sharded && (found[i].count > BUCKETS_MOST || !ranges_cover(found[i].ranges, found[i].count)))
            status = strange(model, table->display, "the ranges of its shards leave gaps or overlap", error);
        else
            status = take_shards(model, table, &found[i], error);
    }
    arena_free(&arena);
    return status;
}
