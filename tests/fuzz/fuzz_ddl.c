/* DDL: any bytes are a schema that keeps its own rules, or an error with a message; nothing is left behind. */
#include "fuzz.h"
#include "sql/schema_file.h"

#include <string.h>

static struct table tables[] = {
    {.schema = "public", .name = "users", .display = "users", .columns = {"id"}, .column_count = 1},
    {.schema = "public", .name = "codes", .display = "codes", .kind = TABLE_REFERENCE},
};
static struct shard shards[] = {{.name = "s0"}};
static const struct model model = {.tables = tables, .table_count = 2, .shards = shards, .shard_count = 1};

/* Each relation is found by its name and OID, and a view has a text and a path. */
static void check(const struct schema *schema)
{
    for (size_t i = 0; i < schema->relation_count; i++) {
        const struct schema_relation *relation = &schema->relations[i];
        FUZZ_REQUIRE(schema_relation(schema, relation->schema, relation->name) == relation);
        FUZZ_REQUIRE(schema_relation_by_oid(schema, relation->oid) == relation);
        FUZZ_REQUIRE(schema_has_namespace(schema, relation->schema));
        FUZZ_REQUIRE(!relation->view || (relation->view_path && relation->view_path_count));
    }
    for (size_t i = 0; i < schema->type_count; i++)
        FUZZ_REQUIRE(schema_type(schema, schema->types[i].schema, schema->types[i].name) == &schema->types[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct schema schema;
    mosaic_error error = {.message = ""};
    mosaic_status status = schema_from_sql((const char *)data, size, "f", &model, &schema, &error);
    FUZZ_REQUIRE(status == MOSAIC_OK || (error.message[0] && error.status == status));
    if (status == MOSAIC_OK)
        check(&schema);
    schema_free(&schema);
    return 0;
}
