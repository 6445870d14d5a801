/*
 * The schema from the servers: one query a catalog, each read straight into the schema's arrays.
 *
 * What names a relation by its OID (columns, keys, parents …) comes sorted by it or is counted first, so that each
 * relation gets one piece of one array.
 */
#include "catalog/schema_read.h"

#include "base/buffer.h"
#include "base/error.h"
#include "catalog/catalog.h"
#include "catalog/schema_oids.h"
#include "catalog/schema_sql.h"
#include "sql/schema_place.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    const struct model *model;
    const char *shard;
    PGconn *connection;
    int64_t deadline;
    struct schema *schema;
    struct schema_relation *relations;
    size_t relation_count;
    PGresult *result;
    bool failed; /* memory was out */
    mosaic_error *error;
};

static const char *value(const struct reader *reader, int row, int column)
{
    return PQgetvalue(reader->result, row, column);
}

static const char *text(struct reader *reader, int row, int column)
{
    const char *copy = arena_copy(&reader->schema->arena, value(reader, row, column),
                                  (size_t)PQgetlength(reader->result, row, column));
    reader->failed |= !copy;
    return copy ? copy : "";
}

static uint32_t oid(const struct reader *reader, int row, int column)
{
    return (uint32_t)strtoul(value(reader, row, column), NULL, 10);
}

static int number(const struct reader *reader, int row, int column)
{
    return (int)strtol(value(reader, row, column), NULL, 10);
}

static bool is_true(const struct reader *reader, int row, int column)
{
    return value(reader, row, column)[0] == 't';
}

/* Zeroed, and never NULL: an array that memory had no room for is one that nobody writes to, since `failed` is set. */
static void *rows_of(struct reader *reader, int *rows, size_t size)
{
    *rows = PQntuples(reader->result);
    void *array = arena_zeroed(&reader->schema->arena, (size_t)*rows, size);
    if (!array)
        reader->failed = true, *rows = 0;
    return array;
}

/* The namespace's name, shared with the row before where it is the same. */
static const char *shared(struct reader *reader, int row, const char *before)
{
    return before && strcmp(before, value(reader, row, 0)) == 0 ? before : text(reader, row, 0);
}

static void read_namespaces(struct reader *reader)
{
    int rows;
    const char **names = rows_of(reader, &rows, sizeof *names);
    for (int row = 0; row < rows; row++)
        names[row] = text(reader, row, 0);
    if (rows) {
        reader->schema->defaults = strtoll(value(reader, 0, 1), NULL, 10);
        reader->schema->sight = strtoll(value(reader, 0, 2), NULL, 10);
    }
    reader->schema->namespaces = names;
    reader->schema->namespace_count = (size_t)rows;
}

static void read_relations(struct reader *reader)
{
    int rows;
    struct schema_relation *relations = rows_of(reader, &rows, sizeof *relations);
    for (int row = 0; row < rows; row++) {
        relations[row] = (struct schema_relation){
            .schema = shared(reader, row, row ? relations[row - 1].schema : NULL),
            .name = text(reader, row, 1),
            .oid = oid(reader, row, 2),
            .kind = value(reader, row, 3)[0],
            .has_row_security = is_true(reader, row, 4),
            .is_partition = is_true(reader, row, 5),
            .has_rules = is_true(reader, row, 6),
            .has_triggers = is_true(reader, row, 7),
            .view = PQgetisnull(reader->result, row, 8) ? NULL : text(reader, row, 8),
            .has_truncate_triggers = is_true(reader, row, 9),
        };
    }
    reader->relations = relations;
    reader->schema->relations = relations;
    reader->schema->relation_count = reader->relation_count = (size_t)rows;
}

static struct schema_relation *relation_of(const struct reader *reader, uint32_t wanted)
{
    size_t low = 0, high = reader->relation_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (reader->relations[middle].oid < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low < reader->relation_count && reader->relations[low].oid == wanted ? &reader->relations[low] : NULL;
}

static void read_columns(struct reader *reader)
{
    int rows;
    struct schema_column *columns = rows_of(reader, &rows, sizeof *columns);
    struct schema_relation *relation = NULL;
    for (int row = 0; row < rows; row++) {
        columns[row] = (struct schema_column){
            .name = text(reader, row, 1),
            .type = oid(reader, row, 2),
            .modifier = number(reader, row, 3),
            .number = (int16_t)number(reader, row, 4),
            .not_null = is_true(reader, row, 5),
            .is_generated = is_true(reader, row, 6),
            .has_default = is_true(reader, row, 7),
            .deterministic = is_true(reader, row, 8),
            .plain = is_true(reader, row, 9),
            .bytewise = is_true(reader, row, 10),
            .default_same = is_true(reader, row, 11),
            .default_clock = is_true(reader, row, 12),
            .default_id = is_true(reader, row, 13),
        };
        uint32_t of = oid(reader, row, 0);
        if (!relation || relation->oid != of) {
            relation = relation_of(reader, of);
            if (relation)
                relation->columns = &columns[row];
        }
        if (relation)
            relation->column_count++;
    }
}

static void read_types(struct reader *reader)
{
    int rows;
    struct schema_type *types = rows_of(reader, &rows, sizeof *types);
    for (int row = 0; row < rows; row++) {
        types[row] = (struct schema_type){
            .schema = shared(reader, row, row ? types[row - 1].schema : NULL),
            .name = text(reader, row, 1),
            .oid = oid(reader, row, 2),
            .kind = value(reader, row, 3)[0],
            .category = value(reader, row, 4)[0],
            .base = oid(reader, row, 5),
            .base_modifier = number(reader, row, 6),
            .element = oid(reader, row, 7),
            .array = oid(reader, row, 8),
            .relation = oid(reader, row, 9),
            .within = oid(reader, row, 10),
            .default_varies = is_true(reader, row, 11),
            .text_alone = is_true(reader, row, 12),
        };
    }
    reader->schema->types = types;
    reader->schema->type_count = (size_t)rows;
}

/* An oidvector: OIDs parted by blanks. */
static void read_arguments(struct reader *reader, int row, struct schema_function *function)
{
    const char *at = value(reader, row, 9);
    size_t count = *at != '\0';
    for (const char *blank = at; (blank = strchr(blank, ' ')) != NULL; blank++)
        count++;
    if (!count)
        return;
    uint32_t *arguments = arena_allocate(&reader->schema->arena, count * sizeof *arguments);
    if (!arguments) {
        reader->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *end;
        arguments[i] = (uint32_t)strtoul(at, &end, 10);
        at = end;
    }
    function->arguments = arguments;
    function->argument_count = count;
}

static void read_functions(struct reader *reader)
{
    int rows;
    struct schema_function *functions = rows_of(reader, &rows, sizeof *functions);
    for (int row = 0; row < rows; row++) {
        functions[row] = (struct schema_function){
            .schema = shared(reader, row, row ? functions[row - 1].schema : NULL),
            .name = text(reader, row, 1),
            .oid = oid(reader, row, 2),
            .kind = value(reader, row, 3)[0],
            .volatility = value(reader, row, 4)[0],
            .returns_set = is_true(reader, row, 5),
            .is_strict = is_true(reader, row, 6),
            .is_system = is_true(reader, row, 7),
            .result = oid(reader, row, 8),
        };
        read_arguments(reader, row, &functions[row]);
    }
    reader->schema->functions = functions;
    reader->schema->function_count = (size_t)rows;
}

static void read_operators(struct reader *reader)
{
    int rows;
    struct schema_operator *operators = rows_of(reader, &rows, sizeof *operators);
    for (int row = 0; row < rows; row++)
        operators[row] = (struct schema_operator){text(reader, row, 0), text(reader, row, 1), oid(reader, row, 2),
                                                  oid(reader, row, 3), is_true(reader, row, 4)};
    reader->schema->operators = operators;
    reader->schema->operator_count = (size_t)rows;
}

/* Each key stands in the lists of both its sides, of a relation that refers to itself once. */
static void read_keys(struct reader *reader)
{
    int rows = PQntuples(reader->result);
    struct schema_foreign_key *keys = arena_zeroed(&reader->schema->arena, (size_t)rows * 2, sizeof *keys);
    if (!keys) {
        reader->failed = true;
        return;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int row = 0; row < rows; row++) {
            struct schema_foreign_key key = {oid(reader, row, 0), oid(reader, row, 1), value(reader, row, 2)[0],
                                             value(reader, row, 3)[0]};
            struct schema_relation *sides[2] = {relation_of(reader, key.from), relation_of(reader, key.to)};
            for (int side = 0; side < 2; side++) {
                if (!sides[side] || (side && sides[1] == sides[0]))
                    continue;
                if (pass)
                    ((struct schema_foreign_key *)sides[side]->keys)[sides[side]->key_count] = key;
                sides[side]->key_count++;
            }
        }
        for (size_t i = 0; !pass && i < reader->relation_count; i++) {
            reader->relations[i].keys = reader->relations[i].key_count ? keys : NULL;
            keys += reader->relations[i].key_count;
            reader->relations[i].key_count = 0;
        }
    }
}

/*
 * Pairs (relation, other): counts them, gives each relation its piece of one array, and fills it. `which` finds a
 * relation's list.
 */
struct oid_list {
    const uint32_t **oids;
    size_t *count;
};

static struct oid_list parents_of(struct schema_relation *relation)
{
    return (struct oid_list){&relation->parents, &relation->parent_count};
}

static struct oid_list children_of(struct schema_relation *relation)
{
    return (struct oid_list){&relation->children, &relation->child_count};
}

static struct oid_list policies_of(struct schema_relation *relation)
{
    return (struct oid_list){&relation->policies_read, &relation->policies_read_count};
}

static void read_pairs(struct reader *reader, int from, struct oid_list (*which)(struct schema_relation *))
{
    int rows;
    uint32_t *oids = rows_of(reader, &rows, sizeof *oids);
    for (int pass = 0; pass < 2; pass++) {
        for (int row = 0; row < rows; row++) {
            struct schema_relation *relation = relation_of(reader, oid(reader, row, from));
            uint32_t other = oid(reader, row, !from);
            if (!relation || !other)
                continue;
            struct oid_list list = which(relation);
            if (pass)
                ((uint32_t *)*list.oids)[*list.count] = other;
            ++*list.count;
        }
        for (size_t i = 0; !pass && i < reader->relation_count; i++) {
            struct oid_list list = which(&reader->relations[i]);
            *list.oids = *list.count ? oids : NULL;
            oids += *list.count;
            *list.count = 0;
        }
    }
}

static void read_inherits(struct reader *reader)
{
    read_pairs(reader, 0, parents_of);
    read_pairs(reader, 1, children_of);
}

static void read_policies(struct reader *reader)
{
    read_pairs(reader, 0, policies_of);
    for (int row = 0; row < PQntuples(reader->result); row++) {
        struct schema_relation *relation = relation_of(reader, oid(reader, row, 0));
        if (relation && !oid(reader, row, 1))
            relation->has_policy_function = true;
    }
}

static void read_stamp(struct reader *reader, struct schema_report *report)
{
    report->stamp = strtoull(value(reader, 0, 0), NULL, 10);
}

static mosaic_status ask(struct reader *reader, const char *sql)
{
    PQclear(reader->result);
    reader->result = NULL;
    return pq_exec(reader->connection, reader->shard, sql, reader->deadline, &reader->result, reader->error);
}

static const struct {
    const char *sql;
    void (*read)(struct reader *);
} catalogs[] = {
    {schema_namespaces_sql, read_namespaces},
    {schema_relations_sql, read_relations},
    {schema_columns_sql, read_columns},
    {schema_types_sql, read_types},
    {schema_functions_sql, read_functions},
    {schema_operators_sql, read_operators},
    {schema_keys_sql, read_keys},
    {schema_inherits_sql, read_inherits},
    {schema_policies_sql, read_policies},
};
_Static_assert(sizeof catalogs / sizeof *catalogs == SCHEMA_ANSWERS, "as many answers as questions");

static mosaic_status read_catalogs(struct reader *reader, struct schema_report *report)
{
    mosaic_status status = ask(reader, schema_stamp_sql);
    if (status == MOSAIC_OK)
        read_stamp(reader, report);
    for (size_t i = 0; status == MOSAIC_OK && i < SCHEMA_ANSWERS; i++) {
        status = ask(reader, catalogs[i].sql);
        if (status == MOSAIC_OK)
            catalogs[i].read(reader);
        if (reader->failed)
            status = error_memory(reader->error);
    }
    return status;
}

static mosaic_status read_home(struct reader *reader, struct schema_report *report)
{
    mosaic_status status =
        pq_exec(reader->connection, reader->shard, schema_begin_sql, reader->deadline, NULL, reader->error);
    if (status != MOSAIC_OK)
        return status;
    mosaic_error ignored;
    status = read_catalogs(reader, report);
    PQclear(reader->result);
    mosaic_status ended = pq_exec(reader->connection, reader->shard, "ROLLBACK", reader->deadline, NULL,
                                  status == MOSAIC_OK ? reader->error : &ignored);
    return status == MOSAIC_OK ? ended : status;
}

mosaic_status schema_read(const struct model *model, size_t home, PGconn *connection, int64_t deadline,
                          struct schema *schema, struct schema_report *report, mosaic_error *error)
{
    struct schema_report unasked;
    report = report ? report : &unasked;
    *report = (struct schema_report){0};
    *schema = (struct schema){.model = model, .home = home};
    struct reader reader = {.model = model,
                            .shard = model->shards[home].name,
                            .connection = connection,
                            .deadline = deadline,
                            .schema = schema,
                            .error = error};
    mosaic_status status = read_home(&reader, report);
    if (status == MOSAIC_OK) {
        schema_place(model, reader.relations, reader.relation_count);
        status = schema_read_oids(schema, deadline, report, error);
    }
    if (status == MOSAIC_OK)
        status = schema_index(schema, error);
    if (status != MOSAIC_OK)
        schema_free(schema);
    return status;
}

void schema_question(struct buffer *sql)
{
    for (size_t i = 0; i < SCHEMA_ANSWERS; i++)
        buffer_format(sql, "%s;\n", catalogs[i].sql);
}

const char *schema_oids_question(void)
{
    return schema_oids_sql;
}

mosaic_status schema_take(const struct schema *before, PGresult *const *answers, PGresult *const *oids,
                          struct schema *schema, mosaic_error *error)
{
    const struct model *model = before->model;
    *schema = (struct schema){.model = model, .home = before->home};
    struct reader reader = {
        .model = model, .shard = model->shards[before->home].name, .schema = schema, .error = error};
    for (size_t i = 0; i < SCHEMA_ANSWERS; i++) {
        reader.result = answers[i];
        catalogs[i].read(&reader);
    }
    mosaic_status status = reader.failed ? error_memory(error) : MOSAIC_OK;
    if (status == MOSAIC_OK) {
        schema_place(model, reader.relations, reader.relation_count);
        status = schema_take_oids(schema, oids, before) ? schema_index(schema, error) : error_memory(error);
    }
    if (status != MOSAIC_OK)
        schema_free(schema);
    return status;
}

mosaic_status schema_stamp(PGconn *connection, const char *shard, int64_t deadline, uint64_t *stamp,
                           mosaic_error *error)
{
    PGresult *result;
    mosaic_status status = pq_exec(connection, shard, schema_stamp_sql, deadline, &result, error);
    if (status != MOSAIC_OK)
        return status;
    *stamp = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return MOSAIC_OK;
}

const char *schema_sight_query(void)
{
    return schema_sight_sql;
}

const char *schema_stamp_query(void)
{
    return schema_stamp_sql;
}

mosaic_status schema_read_cluster(struct model *model, const char *application_name, int64_t deadline,
                                  struct schema *schema, struct schema_report *report, mosaic_error *error)
{
    PGconn *first, *opened = NULL;
    size_t home = 0;
    struct arena arena = ARENA_INIT;
    const struct shard *shard = &model->shards[0];
    mosaic_status status = pq_connect(shard->conninfo, shard->name, application_name, deadline, &first, error);
    if (status != MOSAIC_OK)
        return status;
    status = catalog_complete(model, first, deadline, error);
    if (status == MOSAIC_OK)
        status = catalog_find(model, first, deadline, &arena, &opened, &home, error);
    if (status == MOSAIC_OK)
        status = schema_read(model, home, opened ? opened : first, deadline, schema, report, error);
    PQfinish(opened);
    PQfinish(first);
    arena_free(&arena);
    return status;
}
