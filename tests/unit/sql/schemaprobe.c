/*
 * A schema as lines of text, for tests in other languages: `schemaprobe CONFIG` reads it from the cluster's servers,
 * `schemaprobe --stamp CONFIG` prints the stamp of its first shard alone, `schemaprobe CONFIG DDL` takes the schema
 * from a file. OIDs are said as names, so that schemas of different databases compare. What PostgreSQL has of its own
 * is left out.
 */
#include "base/error.h"
#include "catalog/schema_read.h"
#include "config/config.h"
#include "sql/schema_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *type_name_of(const struct schema *schema, uint32_t oid)
{
    static char names[4][256];
    static unsigned turn;
    char *name = names[turn++ % 4];
    const struct schema_type *type = schema_type_by_oid(schema, oid);
    if (type)
        snprintf(name, sizeof names[0], "%s.%s", type->schema, type->name);
    else
        snprintf(name, sizeof names[0], oid ? "?%u" : "-", oid);
    return name;
}

static const char *relation_name_of(const struct schema *schema, uint32_t oid)
{
    static char names[4][256];
    static unsigned turn;
    char *name = names[turn++ % 4];
    const struct schema_relation *relation = schema_relation_by_oid(schema, oid);
    snprintf(name, sizeof names[0], "%s.%s", relation ? relation->schema : "?", relation ? relation->name : "?");
    return name;
}

static bool is_system(const char *namespace)
{
    return strcmp(namespace, "pg_catalog") == 0 || strcmp(namespace, "information_schema") == 0 ||
           strcmp(namespace, "mosaic") == 0;
}

static void print_column(const struct schema *schema, const char *of, const struct schema_column *column)
{
    const char *value = column->default_same ? " default" : " default_elsewhere";
    printf("column %s.%s %s %d%s%s%s%s%s%s\n", of, column->name, type_name_of(schema, column->type), column->modifier,
           column->not_null ? " not_null" : "", column->is_generated ? " generated" : "",
           column->has_default ? value : "", column->default_clock ? " clock" : "",
           column->deterministic ? "" : " nondeterministic", column->bytewise ? " bytewise" : "");
}

static void print_relation(const struct schema *schema, const struct schema_relation *relation)
{
    static const char *const places[] = {"home", "sharded", "reference", "system"};
    char name[256];
    snprintf(name, sizeof name, "%s.%s", relation->schema, relation->name);
    printf("relation %s %c %s%s%s%s%s%s%s\n", name, relation->kind, places[relation->placement],
           relation->has_rules ? " rules" : "", relation->has_triggers ? " triggers" : "",
           relation->has_truncate_triggers ? " truncate_triggers" : "", relation->has_row_security ? " rls" : "",
           relation->has_policy_function ? " policy_function" : "", relation->is_partition ? " partition" : "");
    for (size_t i = 0; i < relation->column_count; i++)
        print_column(schema, name, &relation->columns[i]);
    for (size_t i = 0; i < relation->parent_count; i++)
        printf("parent %s %s\n", name, relation_name_of(schema, relation->parents[i]));
    for (size_t i = 0; i < relation->child_count; i++)
        printf("child %s %s\n", name, relation_name_of(schema, relation->children[i]));
    for (size_t i = 0; i < relation->policies_read_count; i++)
        printf("policy_reads %s %s\n", name, relation_name_of(schema, relation->policies_read[i]));
    for (size_t i = 0; i < relation->key_count; i++)
        printf("key %s %s -> %s %c%c\n", name, relation_name_of(schema, relation->keys[i].from),
               relation_name_of(schema, relation->keys[i].to), relation->keys[i].on_update,
               relation->keys[i].on_delete);
    if (relation->view)
        printf("view %s %s\n", name, relation->view);
}

static void print_type(const struct schema *schema, const struct schema_type *type)
{
    printf("type %s.%s %c %c base %s %d element %s array %s", type->schema, type->name, type->kind, type->category,
           type_name_of(schema, type->base), type->base_modifier, type_name_of(schema, type->element),
           type_name_of(schema, type->array));
    printf(" row %s%s\n", type->relation ? relation_name_of(schema, type->relation) : "-",
           type->default_varies ? " default_varies" : "");
}

static void print_function(const struct schema *schema, const struct schema_function *function)
{
    printf("function %s.%s(", function->schema, function->name);
    for (size_t i = 0; i < function->argument_count; i++)
        printf("%s%s", i ? ", " : "", type_name_of(schema, function->arguments[i]));
    printf(") %s %c%c%s%s\n", type_name_of(schema, function->result), function->kind, function->volatility,
           function->returns_set ? " set" : "", function->is_strict ? " strict" : "");
}

/* Types whose OIDs differ somewhere, with the OID's name as the shard's number says it when asked back. */
static void print_oids(const struct schema *schema)
{
    for (size_t shard = 0; shard < schema->model->shard_count; shard++)
        for (size_t i = 0; i < schema->type_count; i++) {
            const struct schema_type *type = &schema->types[i];
            uint32_t there = schema_oid_on(schema, shard, type->oid);
            if (there == type->oid)
                continue;
            printf("oid %s %s.%s %u %s\n", schema->model->shards[shard].name, type->schema, type->name, there,
                   there && schema_oid_from(schema, shard, there) == type->oid ? "and back" : "gone");
        }
}

static void print_schema(const struct schema *schema)
{
    for (size_t i = 0; i < schema->namespace_count; i++)
        if (!is_system(schema->namespaces[i]))
            printf("namespace %s\n", schema->namespaces[i]);
    for (size_t i = 0; i < schema->relation_count; i++)
        if (!is_system(schema->relations[i].schema))
            print_relation(schema, &schema->relations[i]);
    for (size_t i = 0; i < schema->type_count; i++)
        if (!is_system(schema->types[i].schema))
            print_type(schema, &schema->types[i]);
    for (size_t i = 0; i < schema->function_count; i++)
        if (!is_system(schema->functions[i].schema))
            print_function(schema, &schema->functions[i]);
    for (size_t i = 0; i < schema->operator_count; i++)
        printf("operator %s.%s %s %s\n", schema->operators[i].schema, schema->operators[i].name,
               type_name_of(schema, schema->operators[i].left), type_name_of(schema, schema->operators[i].right));
    print_oids(schema);
}

static int print_stamp(const char *config)
{
    struct model model;
    PGconn *connection = NULL;
    uint64_t stamp;
    mosaic_error error;
    int64_t deadline = pq_deadline(60000);
    mosaic_status status = config_read(config, &model, &error);
    if (status == MOSAIC_OK)
        status =
            pq_connect(model.shards[0].conninfo, model.shards[0].name, "schemaprobe", deadline, &connection, &error);
    if (status == MOSAIC_OK)
        status = schema_stamp(connection, model.shards[0].name, deadline, &stamp, &error);
    if (status == MOSAIC_OK)
        printf("stamp %" PRIu64 "\n", stamp);
    else
        fprintf(stderr, "%s\n", error.message);
    PQfinish(connection);
    model_free(&model);
    return status != MOSAIC_OK;
}

static mosaic_status read_file(const char *path, const struct model *model, struct schema *schema, mosaic_error *error)
{
    static char text[16 * 1024 * 1024];
    FILE *stream = fopen(path, "r");
    size_t size = stream ? fread(text, 1, sizeof text, stream) : 0;
    if (stream)
        fclose(stream);
    return schema_from_sql(text, size, path, model, schema, error);
}

static mosaic_status read_servers(struct model *model, struct schema *schema, mosaic_error *error)
{
    struct schema_report report;
    int64_t started = pq_now_ms();
    mosaic_status status = schema_read_cluster(model, "schemaprobe", pq_deadline(60000), schema, &report, error);
    if (status != MOSAIC_OK)
        return status;
    fprintf(stderr, "%" PRId64 " ms, %zu bytes\n", pq_now_ms() - started, schema->arena.total);
    printf("stamp %" PRIu64 "\n", report.stamp);
    if (report.silent_count)
        printf("silent %zu %s: %s\n", report.silent_count, model->shards[report.silent].name, report.reason.message);
    return MOSAIC_OK;
}

int main(int count, char **arguments)
{
    struct model model;
    struct schema schema;
    mosaic_error error;
    if (count < 2)
        return 2;
    if (count > 2 && strcmp(arguments[1], "--stamp") == 0)
        return print_stamp(arguments[2]);
    mosaic_status status = config_read(arguments[1], &model, &error);
    if (status == MOSAIC_OK)
        status = count > 2 ? read_file(arguments[2], &model, &schema, &error) : read_servers(&model, &schema, &error);
    if (status != MOSAIC_OK) {
        fprintf(stderr, "%s\n%s\n", error.message, error.detail);
        return 1;
    }
    print_schema(&schema);
    schema_free(&schema);
    model_free(&model);
    return 0;
}
