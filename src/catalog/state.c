#include "catalog/state.h"

#include "core/sqlexpr.h"

#include <stdlib.h>
#include <string.h>

/*
 * One row per fact, so that one statement reads them all at one moment. The first column sorts the parts: cluster,
 * shards, colocations, relations.
 */
static const char read_sql[] =
    "SELECT 1 AS part, schema_version AS number, name AS a, engine AS b, epoch::text AS c, '' AS d, '' AS e, '' AS f"
    " FROM mosaic.cluster "
    "UNION ALL SELECT 2, id, name, address, identity, '', '', '' FROM mosaic.shard "
    "UNION ALL SELECT 3, id, function, key_class::text, bounds::text, owners::text, '', '' FROM mosaic.colocation "
    "UNION ALL SELECT 4, coalesce(colocation, -1), schema_name, table_name, kind, key_columns::text, key_types::text, "
    "''"
    " FROM mosaic.relation "
    "ORDER BY 1, 2, 3, 4";

enum { PART_CLUSTER = 1, PART_SHARD, PART_COLOCATION, PART_RELATION };

bool state_split_array(struct arena *arena, const char *text, const char *const **items, size_t *count)
{
    size_t most = 1, size = strlen(text), used = 0;
    if (size < 2 || text[0] != '{' || text[size - 1] != '}')
        return false;
    for (const char *at = text; *at; at++)
        most += *at == ',';
    const char **list = arena_zeroed(arena, most, sizeof *list);
    char *copy = arena_allocate(arena, size + 1);
    *count = 0;
    *items = list;
    if (!list || !copy)
        return false;
    for (const char *at = text + 1; *at != '}';) {
        bool quoted = *at == '"';
        list[(*count)++] = copy + used;
        at += quoted;
        while (*at && (quoted ? *at != '"' : *at != ',' && *at != '}')) {
            at += *at == '\\' && at[1];
            copy[used++] = *at++;
        }
        at += quoted && *at == '"';
        copy[used++] = '\0';
        if (*at == ',')
            at++;
        else if (*at != '}')
            return false;
    }
    return true;
}

void state_add_array(struct buffer *sql, const char *const *items, size_t count)
{
    buffer_text(sql, "ARRAY[");
    for (size_t i = 0; i < count; i++) {
        if (i)
            buffer_char(sql, ',');
        sql_literal(sql, items[i], strlen(items[i]));
    }
    buffer_text(sql, "]::text[]");
}

const char *state_key_class(enum key_type type)
{
    if (type_is_integer(type))
        return "integer"; /* hashint2extended and hashint4extended agree with hashint8extended:
                             src/backend/access/hash/hashfunc.c */
    if (type == KEY_VARCHAR)
        return type_name(KEY_TEXT);
    return type_name(type);
}

static mosaic_status damaged(const char *shard, const char *what, mosaic_error *error)
{
    error_set(error, MOSAIC_INTERNAL, "the catalog in schema mosaic is damaged: %s", what);
    error_hint(error, "restore schema mosaic of the catalog database from a backup");
    error_shard(error, shard);
    return MOSAIC_INTERNAL;
}

/* The parts of a result: rows first..first+count of one part. */
static size_t part_rows(const PGresult *result, int part, int *first)
{
    size_t count = 0;
    for (int row = 0; row < PQntuples(result); row++) {
        if (atoi(PQgetvalue(result, row, 0)) != part)
            continue;
        if (!count++)
            *first = row;
    }
    return count;
}

struct reader {
    const PGresult *result;
    struct arena *arena;
    struct catalog_state *state;
};

static const char *text_of(const struct reader *reader, int row, int column)
{
    return arena_string(reader->arena, PQgetvalue(reader->result, row, column));
}

static bool read_shards(const struct reader *reader)
{
    int row = 0;
    struct catalog_state *state = reader->state;
    state->shard_count = part_rows(reader->result, PART_SHARD, &row);
    state->shards = arena_zeroed(reader->arena, state->shard_count, sizeof *state->shards);
    if (!state->shards)
        return false;
    for (size_t i = 0; i < state->shard_count; i++, row++)
        state->shards[i] = (struct catalog_shard){atoi(PQgetvalue(reader->result, row, 1)), text_of(reader, row, 2),
                                                  text_of(reader, row, 3), text_of(reader, row, 4)};
    return true;
}

/* "{0,1,2}" of shard ids → indexes into state.shards. */
static bool read_owners(const struct reader *reader, const char *text, struct colocation *group)
{
    size_t most = 1;
    for (const char *at = text; *at; at++)
        most += *at == ',';
    uint16_t *owners = arena_zeroed(reader->arena, most, sizeof *owners);
    if (!owners || *text != '{' || most > BUCKETS_MOST)
        return false;
    const char *at = text + 1;
    for (size_t i = 0; i < most; i++) {
        char *end;
        long id = strtol(at, &end, 10);
        size_t shard = 0;
        while (shard < reader->state->shard_count && reader->state->shards[shard].id != id)
            shard++;
        if (end == at || shard == reader->state->shard_count)
            return false;
        owners[i] = (uint16_t)shard;
        at = end + 1;
    }
    group->owners = owners;
    group->buckets = (uint32_t)most;
    return true;
}

static bool read_colocations(const struct reader *reader)
{
    int row = 0;
    struct catalog_state *state = reader->state;
    state->colocation_count = part_rows(reader->result, PART_COLOCATION, &row);
    state->colocations = arena_zeroed(reader->arena, state->colocation_count, sizeof *state->colocations);
    if (!state->colocations)
        return false;
    for (size_t i = 0; i < state->colocation_count; i++, row++) {
        struct colocation *group = &state->colocations[i];
        group->id = atoi(PQgetvalue(reader->result, row, 1));
        if (!function_by_name(PQgetvalue(reader->result, row, 2), &group->function) ||
            !state_split_array(reader->arena, PQgetvalue(reader->result, row, 3), &group->key_class, &group->columns) ||
            !state_split_array(reader->arena, PQgetvalue(reader->result, row, 4), &group->bounds,
                               &group->bound_count) ||
            !read_owners(reader, PQgetvalue(reader->result, row, 5), group))
            return false;
    }
    return true;
}

static bool read_types(const struct reader *reader, const char *text, struct catalog_table *table)
{
    const char *const *names;
    size_t count;
    if (!state_split_array(reader->arena, text, &names, &count) || count != table->column_count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!type_by_name(names[i], strlen(names[i]), &table->types[i]))
            return false;
    return true;
}

static bool read_tables(const struct reader *reader)
{
    int row = 0;
    struct catalog_state *state = reader->state;
    state->table_count = part_rows(reader->result, PART_RELATION, &row);
    state->tables = arena_zeroed(reader->arena, state->table_count, sizeof *state->tables);
    if (!state->tables)
        return false;
    for (size_t i = 0; i < state->table_count; i++, row++) {
        struct catalog_table *table = &state->tables[i];
        int group = atoi(PQgetvalue(reader->result, row, 1));
        table->schema = text_of(reader, row, 2);
        table->name = text_of(reader, row, 3);
        bool sharded = strcmp(PQgetvalue(reader->result, row, 4), "sharded") == 0;
        table->kind = sharded ? TABLE_SHARDED : TABLE_REFERENCE;
        for (size_t j = 0; j < state->colocation_count; j++)
            if (state->colocations[j].id == group)
                table->colocation = &state->colocations[j];
        if (!table->schema || !table->name || sharded != (table->colocation != NULL) ||
            !state_split_array(reader->arena, PQgetvalue(reader->result, row, 5), &table->columns,
                               &table->column_count) ||
            table->column_count > KEY_COLUMNS_MAX || !read_types(reader, PQgetvalue(reader->result, row, 6), table) ||
            (sharded && table->column_count != table->colocation->columns))
            return false;
    }
    return true;
}

static mosaic_status none_here(const char *shard, mosaic_error *error)
{
    error_set(error, MOSAIC_PREFLIGHT, "there is no catalog here: nothing was applied yet");
    error_hint(error, "run pgmosaic apply");
    error_shard(error, shard);
    return MOSAIC_PREFLIGHT;
}

static mosaic_status read_result(const struct reader *reader, const char *shard, mosaic_error *error)
{
    int row = 0;
    struct catalog_state *state = reader->state;
    if (part_rows(reader->result, PART_CLUSTER, &row) != 1)
        return none_here(shard, error);
    int version = atoi(PQgetvalue(reader->result, row, 1));
    if (version > CATALOG_SCHEMA_VERSION) {
        error_set(error, MOSAIC_UNSUPPORTED, "the catalog has version %d; this pgmosaic (%s) knows %d", version,
                  mosaic_version(), CATALOG_SCHEMA_VERSION);
        error_hint(error, "use the newer pgmosaic that wrote it");
        error_shard(error, shard);
        return MOSAIC_UNSUPPORTED;
    }
    state->cluster = text_of(reader, row, 2);
    state->engine = text_of(reader, row, 3);
    state->epoch = strtoull(PQgetvalue(reader->result, row, 4), NULL, 10);
    if (!state->cluster || !state->engine)
        return error_memory(error);
    if (!read_shards(reader))
        return damaged(shard, "mosaic.shard", error);
    if (!read_colocations(reader))
        return damaged(shard, "mosaic.colocation", error);
    return read_tables(reader) ? MOSAIC_OK : damaged(shard, "mosaic.relation", error);
}

/* Does the error say that schema or table is not there? */
static bool is_undefined(const mosaic_error *error)
{
    return strcmp(error->sqlstate, "42P01") == 0 || strcmp(error->sqlstate, "3F000") == 0;
}

mosaic_status state_read(PGconn *connection, const char *shard, int64_t deadline, struct arena *arena,
                         struct catalog_state *state, mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_error local;
    *state = (struct catalog_state){0};
    mosaic_status status = pq_exec(connection, shard, read_sql, deadline, &result, &local);
    if (status != MOSAIC_OK) {
        if (is_undefined(&local))
            return none_here(shard, error);
        if (error)
            *error = local;
        return status;
    }
    status = read_result(&(struct reader){result, arena, state}, shard, error);
    PQclear(result);
    return status;
}

mosaic_status state_identity(PGconn *connection, const char *shard, int64_t deadline, struct arena *arena,
                             struct shard_identity *identity, mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_error local;
    *identity = (struct shard_identity){0};
    mosaic_status status = pq_exec(connection, shard, "SELECT cluster, shard, catalog, epoch FROM mosaic.epoch",
                                   deadline, &result, &local);
    if (status != MOSAIC_OK) {
        if (is_undefined(&local))
            return MOSAIC_OK;
        if (error)
            *error = local;
        return status;
    }
    if (PQntuples(result) == 1) {
        identity->present = true;
        identity->cluster = arena_string(arena, PQgetvalue(result, 0, 0));
        identity->shard = arena_string(arena, PQgetvalue(result, 0, 1));
        identity->catalog = arena_string(arena, PQgetvalue(result, 0, 2));
        identity->epoch = strtoull(PQgetvalue(result, 0, 3), NULL, 10);
        if (!identity->cluster || !identity->shard || !identity->catalog)
            status = error_memory(error);
    }
    PQclear(result);
    return status;
}

const struct catalog_table *state_table(const struct catalog_state *state, const char *schema, const char *name)
{
    for (size_t i = 0; i < state->table_count; i++)
        if (strcmp(state->tables[i].schema, schema) == 0 && strcmp(state->tables[i].name, name) == 0)
            return &state->tables[i];
    return NULL;
}

size_t state_shard(const struct catalog_state *state, const char *name)
{
    for (size_t i = 0; i < state->shard_count; i++)
        if (strcmp(state->shards[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

uint64_t state_owned(const struct catalog_state *state, size_t shard)
{
    uint64_t owned = 0;
    for (size_t i = 0; i < state->colocation_count; i++)
        for (uint32_t bucket = 0; bucket < state->colocations[i].buckets; bucket++)
            owned += state->colocations[i].owners[bucket] == shard;
    return owned;
}

size_t state_bound_count(const struct rule *rule)
{
    if (rule->function == FUNCTION_RANGE)
        return rule->buckets - 1;
    return rule->function == FUNCTION_LIST ? rule->buckets : 0;
}

bool state_same_texts(const char *const *a, size_t a_count, const char *const *b, size_t b_count)
{
    if (a_count != b_count)
        return false;
    for (size_t i = 0; i < a_count; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}
