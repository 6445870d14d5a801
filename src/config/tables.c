/* The tables of a config: kinds, keys, functions; and what each engine takes. */
#include "base/error.h"
#include "config/reading.h"

#include <string.h>

enum { CITUS_SHARDS_MOST = 64000 /* MAX_SHARD_COUNT, src/include/distributed/coordinator_protocol.h of Citus */ };

static mosaic_status shard_number(struct reading *reading, size_t entry, const char *key, const char *name,
                                  uint16_t *number)
{
    for (size_t i = 0; i < reading->model->shard_count; i++)
        if (strcmp(reading->model->shards[i].name, name) == 0) {
            *number = (uint16_t)i;
            return MOSAIC_OK;
        }
    return config_refuse(reading, "tables", entry, key, "there is no shard \"%s\"", name);
}

/* Room for the owners and bounds of a range or list rule of so many buckets. */
static mosaic_status make_room(struct reading *reading, struct table *table, size_t buckets, uint16_t **owners,
                               const char ***texts)
{
    *owners = arena_zeroed(&reading->model->arena, buckets, sizeof **owners);
    *texts = arena_zeroed(&reading->model->arena, buckets, sizeof **texts);
    table->rule.buckets = (uint32_t)buckets;
    table->rule.bound_texts = *texts;
    table->listed_owners = *owners;
    return *owners && *texts ? MOSAIC_OK : error_memory(reading->error);
}

static mosaic_status take_ranges(struct reading *reading, size_t at, const struct yaml_table *from, struct table *table)
{
    uint16_t *owners;
    const char **texts;
    mosaic_status status = make_room(reading, table, from->ranges_count, &owners, &texts);
    for (size_t i = 0; i < from->ranges_count && status == MOSAIC_OK; i++) {
        const struct yaml_range *range = &from->ranges[i];
        bool last = i + 1 == from->ranges_count;
        if (last != !range->below)
            return config_refuse(reading, "tables", at, "ranges",
                                 last ? "the last range takes what is left: it has no \"below\""
                                      : "range %zu has no \"below\": only the last one may leave it out",
                                 i + 1);
        if (range->below && !(texts[i] = config_copy(reading, range->below)))
            return error_memory(reading->error);
        status = shard_number(reading, at, "ranges", range->shard, &owners[i]);
    }
    return status;
}

static mosaic_status take_lists(struct reading *reading, size_t at, const struct yaml_table *from, struct table *table)
{
    uint16_t *owners, owner = 0;
    const char **texts;
    size_t values = 0, next = 0;
    for (size_t i = 0; i < from->lists_count; i++)
        values += from->lists[i].values_count;
    if (values > BUCKETS_MOST)
        return config_refuse(reading, "tables", at, "lists", "%zu values, more than %d", values, BUCKETS_MOST);
    mosaic_status status = make_room(reading, table, values, &owners, &texts);
    for (size_t i = 0; i < from->lists_count && status == MOSAIC_OK; i++) {
        const struct yaml_list *list = &from->lists[i];
        status = shard_number(reading, at, "lists", list->shard, &owner);
        for (size_t j = 0; j < list->values_count && status == MOSAIC_OK; j++, next++) {
            owners[next] = owner;
            texts[next] = config_copy(reading, list->values[j]);
            status = texts[next] ? MOSAIC_OK : error_memory(reading->error);
        }
    }
    return status;
}

static mosaic_status take_kind(struct reading *reading, size_t at, const struct yaml_table *from, struct table *table)
{
    if (!from->kind)
        return MOSAIC_OK;
    for (int kind = 0; kind < TABLE_KIND_COUNT; kind++)
        if (strcmp(table_kind_name((enum table_kind)kind), from->kind) == 0) {
            table->kind = (enum table_kind)kind;
            return MOSAIC_OK;
        }
    config_refuse(reading, "tables", at, "kind", "there is no kind \"%s\"", from->kind);
    return error_hint(reading->error, "sharded (the default) or reference");
}

static mosaic_status take_key(struct reading *reading, size_t at, const struct yaml_table *from, struct table *table)
{
    if (!from->key_count) {
        config_refuse(reading, "tables", at, NULL, "table %s has no sharding key", from->name);
        return error_hint(reading->error, "say key: COLUMN, or kind: reference for a copy on every shard");
    }
    for (size_t i = 0; i < from->key_count; i++) {
        for (size_t j = 0; j < i; j++)
            if (strcmp(from->key[i], from->key[j]) == 0)
                return config_refuse(reading, "tables", at, "key", "column \"%s\" stands twice in the key",
                                     from->key[i]);
        table->columns[i] = config_copy(reading, from->key[i]);
        if (!table->columns[i])
            return error_memory(reading->error);
    }
    table->column_count = table->rule.columns = from->key_count;
    return MOSAIC_OK;
}

/* What only the other engine takes. */
static mosaic_status check_engine_keys(struct reading *reading, size_t at, const struct yaml_table *from)
{
    if (reading->model->engine == ENGINE_POSTGRES) {
        if (!from->shard_count && !from->colocate_with)
            return MOSAIC_OK;
        const char *key = from->shard_count ? "shard_count" : "colocate_with";
        config_refuse(reading, "tables", at, key, "%s belongs to engine: citus", key);
        return error_hint(reading->error, from->shard_count
                                              ? "say buckets"
                                              : "tables of equal function, buckets and kind of key share their map");
    }
    const struct {
        bool given;
        const char *key, *instead;
    } foreign[] = {
        {from->function != NULL, "function", "leave it out: Citus spreads by the type's hash"},
        {from->buckets != NULL, "buckets", "say shard_count"},
        {from->ranges != NULL, "ranges", "leave them out: Citus spreads by the type's hash"},
        {from->lists != NULL, "lists", "leave them out: Citus spreads by the type's hash"},
    };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        if (!foreign[i].given)
            continue;
        config_refuse(reading, "tables", at, foreign[i].key, "engine citus takes no %s", foreign[i].key);
        return error_hint(reading->error, "%s", foreign[i].instead);
    }
    return MOSAIC_OK;
}

static mosaic_status take_citus(struct reading *reading, size_t at, const struct yaml_table *from, struct table *table)
{
    table->rule.function = FUNCTION_CITUS;
    if (from->key_count > 1) {
        config_refuse(reading, "tables", at, "key", "Citus distributes by one column, not by %u", from->key_count);
        return error_hint(reading->error, "name the one by which most queries look");
    }
    if (from->shard_count && from->colocate_with) {
        config_refuse(reading, "tables", at, "shard_count", "shard_count and colocate_with exclude each other");
        return error_hint(reading->error, "a colocated table has as many shards as %s", from->colocate_with);
    }
    if (!from->shard_count)
        return MOSAIC_OK;
    if (!*from->shard_count || *from->shard_count > CITUS_SHARDS_MOST)
        return config_refuse(reading, "tables", at, "shard_count", "shard_count: %u is not in 1 to %d",
                             *from->shard_count, CITUS_SHARDS_MOST);
    table->shard_count = *from->shard_count;
    return MOSAIC_OK;
}

static mosaic_status take_function(struct reading *reading, size_t at, const struct yaml_table *from,
                                   struct table *table)
{
    struct rule *rule = &table->rule;
    rule->function = FUNCTION_HASH;
    bool known = !from->function || function_by_name(from->function, &rule->function);
    if (!known || rule->function == FUNCTION_CITUS) {
        config_refuse(reading, "tables", at, "function", "there is no sharding function \"%s\"", from->function);
        return error_hint(reading->error, "modulo, hash, sha256, range or list");
    }
    const char *name = function_name(rule->function);
    bool range = rule->function == FUNCTION_RANGE, list = rule->function == FUNCTION_LIST;
    if (from->key_count > 1 && rule->function != FUNCTION_HASH)
        return config_refuse(reading, "tables", at, "key", "%s takes one key column, not %u; hash takes several", name,
                             from->key_count);
    if (from->ranges && !range)
        return config_refuse(reading, "tables", at, "ranges", "ranges belong to function: range, not to %s", name);
    if (from->lists && !list)
        return config_refuse(reading, "tables", at, "lists", "lists belong to function: list, not to %s", name);
    if ((range && !from->ranges) || (list && !from->lists))
        return config_refuse(reading, "tables", at, "function", "function %s needs %s", name,
                             range ? "ranges" : "lists");
    if (from->buckets && (range || list))
        return config_refuse(reading, "tables", at, "buckets", "%s has a bucket for each entry: leave buckets out",
                             name);
    if (range)
        return take_ranges(reading, at, from, table);
    if (list)
        return take_lists(reading, at, from, table);
    if (!from->buckets)
        return MOSAIC_OK;
    uint32_t buckets = *from->buckets;
    if (!buckets || buckets > BUCKETS_MOST)
        return config_refuse(reading, "tables", at, "buckets", "buckets: %u is not in 1 to %d", buckets, BUCKETS_MOST);
    if (rule->function == FUNCTION_HASH && (buckets & (buckets - 1)))
        return config_refuse(reading, "tables", at, "buckets", "buckets: %u is no power of two, as hash needs",
                             buckets);
    rule->buckets = buckets;
    return MOSAIC_OK;
}

static mosaic_status take_table(struct reading *reading, const struct yaml_table *from, size_t at)
{
    struct model *model = reading->model;
    struct table *table = &model->tables[at];
    table->line = outline_line(&reading->outline, "tables", at, NULL);
    mosaic_status status = model_table_name(&model->arena, from->name, &table->schema, &table->name, reading->error);
    if (status != MOSAIC_OK)
        return status == MOSAIC_MEMORY
                   ? status
                   : config_refuse(reading, "tables", at, "name", "\"%s\" is no table name", from->name);
    table->display = model_display_name(&model->arena, table->schema, table->name);
    if (!table->display)
        return error_memory(reading->error);
    if (strcmp(table->schema, "mosaic") == 0 || strncmp(table->schema, "pg_", 3) == 0 ||
        strcmp(table->schema, "information_schema") == 0)
        return config_refuse(reading, "tables", at, "name", "schema %s cannot be sharded", table->schema);
    for (size_t i = 0; i < at; i++)
        if (strcmp(model->tables[i].schema, table->schema) == 0 && strcmp(model->tables[i].name, table->name) == 0) {
            config_refuse(reading, "tables", at, "name", "table %s stands twice", table->display);
            return error_detail(reading->error, "the first one stands in line %d", model->tables[i].line);
        }
    status = take_kind(reading, at, from, table);
    if (status != MOSAIC_OK)
        return status;
    if (table->kind == TABLE_REFERENCE) {
        if (from->key || from->function || from->buckets || from->ranges || from->lists || from->shard_count ||
            from->colocate_with)
            return config_refuse(reading, "tables", at, NULL, "reference table %s takes no key, function or %s",
                                 table->display, model->engine == ENGINE_CITUS ? "shard_count" : "buckets");
        return MOSAIC_OK;
    }
    status = take_key(reading, at, from, table);
    if (status == MOSAIC_OK)
        status = check_engine_keys(reading, at, from);
    if (status != MOSAIC_OK)
        return status;
    return model->engine == ENGINE_CITUS ? take_citus(reading, at, from, table)
                                         : take_function(reading, at, from, table);
}

/* colocate_with may name a table that stands further down. */
static mosaic_status take_colocations(struct reading *reading, const struct yaml_cluster *yaml)
{
    const struct model *model = reading->model;
    for (size_t i = 0; i < yaml->tables_count; i++) {
        const char *typed = yaml->tables[i].colocate_with;
        if (!typed)
            continue;
        const struct table *with = model_table(model, typed);
        if (!with || with->kind != TABLE_SHARDED || with == &model->tables[i]) {
            config_refuse(reading, "tables", i, "colocate_with", "\"%s\" is no other sharded table of this config",
                          typed);
            return error_hint(reading->error, "name the table whose shards %s is to share", model->tables[i].display);
        }
        if (yaml->tables[with - model->tables].colocate_with) {
            config_refuse(reading, "tables", i, "colocate_with", "%s itself shares the shards of %s", with->display,
                          yaml->tables[with - model->tables].colocate_with);
            return error_hint(reading->error, "name %s here too", yaml->tables[with - model->tables].colocate_with);
        }
        model->tables[i].colocate_with = with;
    }
    return MOSAIC_OK;
}

mosaic_status config_take_tables(struct reading *reading, const struct yaml_cluster *yaml)
{
    struct model *model = reading->model;
    model->tables = arena_zeroed(&model->arena, yaml->tables_count, sizeof *model->tables);
    if (!model->tables)
        return error_memory(reading->error);
    model->table_count = yaml->tables_count;
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < yaml->tables_count && status == MOSAIC_OK; i++)
        status = take_table(reading, &yaml->tables[i], i);
    return status == MOSAIC_OK ? take_colocations(reading, yaml) : status;
}
