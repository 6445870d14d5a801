#include "sql/schema_place.h"

#include <string.h>

static bool is_system(const struct schema_relation *relation)
{
    return strcmp(relation->schema, "pg_catalog") == 0 || strcmp(relation->schema, "information_schema") == 0;
}

static struct schema_relation *relation_of(struct schema_relation *relations, size_t count, uint32_t oid)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (relations[middle].oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && relations[low].oid == oid ? &relations[low] : NULL;
}

/* Only what holds rows can be placed: a view of a configured table's name is no such table. */
static bool holds_rows(const struct schema_relation *relation)
{
    return relation->kind == 'r' || relation->kind == 'p';
}

/* A reference table that was never applied is the home shard's: nobody has compared what other shards have of it. */
static bool is_known(const struct model *model, const struct table *table)
{
    return table->kind != TABLE_REFERENCE || table->applied || !model->epoch;
}

static const struct table *configured(const struct model *model, const struct schema_relation *relation)
{
    for (size_t i = 0; i < model->table_count; i++)
        if (strcmp(model->tables[i].name, relation->name) == 0 &&
            strcmp(model->tables[i].schema, relation->schema) == 0)
            return is_known(model, &model->tables[i]) ? &model->tables[i] : NULL;
    return NULL;
}

static void place(struct schema_relation *relation, const struct table *table)
{
    relation->table = table;
    if (table)
        relation->placement = table->kind == TABLE_SHARDED ? PLACE_SHARDED : PLACE_REFERENCE;
}

void schema_place(const struct model *model, struct schema_relation *relations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        relations[i].placement = is_system(&relations[i]) ? PLACE_SYSTEM : PLACE_HOME;
        place(&relations[i], holds_rows(&relations[i]) ? configured(model, &relations[i]) : NULL);
    }
    /* A foreign table can be a partition too: its rows are elsewhere, and stay unplaced. */
    for (size_t i = 0; i < count; i++) {
        struct schema_relation *root = &relations[i];
        for (size_t depth = 0; root && root->is_partition && depth <= count; depth++)
            root = root->parent_count ? relation_of(relations, count, root->parents[0]) : NULL;
        if (root && root != &relations[i] && holds_rows(&relations[i]))
            place(&relations[i], root->table);
    }
}
