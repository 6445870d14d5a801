#include "catalog/assume.h"

#include "base/error.h"
#include "catalog/catalog.h"
#include "catalog/state.h"

#include <string.h>

static mosaic_status assume_type(struct table *table, const struct schema *schema, size_t i, mosaic_error *error)
{
    const struct schema_relation *relation = schema_relation(schema, table->schema, table->name);
    const struct schema_column *column = relation ? schema_column(relation, table->columns[i]) : NULL;
    if (!column) {
        error_set(error, MOSAIC_NOT_FOUND, "the schema has no %s%s%s", relation ? table->columns[i] : table->display,
                  relation ? " in table " : "", relation ? table->display : "");
        return error_hint(error, "line %d of the config names it", table->line);
    }
    if (!type_by_oid(column->type, &table->rule.types[i])) /* a domain is none either */
        return error_set(error, MOSAIC_CONFIG, "column %s of %s has a type that is no sharding key's",
                         table->columns[i], table->display);
    return MOSAIC_OK;
}

/* As apply does it: the config's owners, else bucket mod shards, shifted to the weights where they differ. */
static const struct map *initial_map(struct model *model, const struct table *table)
{
    uint32_t shards = (uint32_t)model->shard_count;
    uint32_t *weights = arena_zeroed(&model->arena, shards, sizeof *weights);
    struct map *made = arena_zeroed(&model->arena, 1, sizeof *made);
    bool equal = true;
    if (!weights || !made)
        return NULL;
    for (size_t i = 0; i < shards; i++) {
        weights[i] = model->shards[i].weight;
        equal &= weights[i] == weights[0];
    }
    const struct map *map = map_initial(&model->arena, table->rule.buckets, shards, 1);
    if (map && !equal && !table->listed_owners)
        map = map_rebalance(&model->arena, map, shards, weights);
    if (!map)
        return NULL;
    *made = *map;
    made->epoch = 1;
    if (table->listed_owners)
        made->owner = table->listed_owners;
    return made;
}

static bool same_rule(const struct table *a, const struct table *b)
{
    const struct rule *left = &a->rule, *right = &b->rule;
    if (left->function != right->function || left->buckets != right->buckets || left->columns != right->columns)
        return false;
    for (size_t i = 0; i < left->columns; i++)
        if (strcmp(state_key_class(left->types[i]), state_key_class(right->types[i])) != 0)
            return false;
    if (!state_same_texts(left->bound_texts, state_bound_count(left), right->bound_texts, state_bound_count(right)))
        return false;
    return !a->listed_owners == !b->listed_owners &&
           (!a->listed_owners || memcmp(a->listed_owners, b->listed_owners, left->buckets * sizeof(uint16_t)) == 0);
}

static mosaic_status assume_table(struct model *model, struct table *table, const struct schema *schema,
                                  mosaic_error *error)
{
    table->applied = true;
    if (table->kind == TABLE_REFERENCE)
        return MOSAIC_OK;
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; status == MOSAIC_OK && i < table->column_count; i++)
        status = assume_type(table, schema, i, error);
    if (status != MOSAIC_OK)
        return status;
    if (!table->rule.buckets)
        table->rule.buckets = rule_default_buckets(table->rule.function, model->shard_count);
    status = catalog_fill_bounds(model, table, error);
    if (status == MOSAIC_OK)
        status = rule_check(&table->rule, model->shard_count, error);
    if (status != MOSAIC_OK)
        return status == MOSAIC_MEMORY ? status : error_prefix(error, "table %s", table->display);
    for (const struct table *other = model->tables; other < table && !table->map; other++)
        if (other->kind == TABLE_SHARDED && same_rule(other, table))
            table->map = other->map;
    if (!table->map)
        table->map = initial_map(model, table);
    return table->map ? MOSAIC_OK : error_memory(error);
}

mosaic_status catalog_assume(struct model *model, const struct schema *schema, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; status == MOSAIC_OK && i < model->table_count; i++)
        status = assume_table(model, &model->tables[i], schema, error);
    if (status == MOSAIC_OK)
        model->epoch = 1;
    return status;
}
