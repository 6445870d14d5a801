#include "catalog/catalog.h"

#include "catalog/state.h"
#include "config/config.h"

#include <string.h>

static mosaic_status stale(mosaic_error *error, const struct table *table, const char *what)
{
    error_set(error, MOSAIC_STALE, "table %s: the config differs from what was applied: %s", table->display, what);
    error_hint(error, "run pgmosaic apply --dry-run to see the difference");
    return MOSAIC_STALE;
}

/* What of a table's config contradicts the catalog; NULL when nothing does. */
static const char *contradiction(const struct table *table, const struct catalog_table *applied)
{
    const struct rule *rule = &table->rule;
    if (table->kind != applied->kind)
        return "its kind";
    if (table->kind == TABLE_REFERENCE)
        return NULL;
    if (!state_same_texts(table->columns, table->column_count, applied->columns, applied->column_count))
        return "its sharding key";
    if (rule->function != applied->colocation->function)
        return "its sharding function";
    if (rule->buckets && rule->buckets != applied->colocation->buckets)
        return rule->bound_texts ? "its ranges or lists" : "its number of buckets";
    if (!state_same_texts(rule->bound_texts, state_bound_count(rule), applied->colocation->bounds,
                          applied->colocation->bound_count))
        return "its ranges or lists";
    return NULL;
}

/* The map of a colocation in terms of the model's shards; NULL when a shard that owns buckets is not in the model. */
static const struct map *translate(struct model *model, const struct catalog_state *state,
                                   const struct colocation *group, mosaic_error *error)
{
    uint16_t *owner = arena_zeroed(&model->arena, group->buckets, sizeof *owner);
    struct map *map = arena_allocate(&model->arena, sizeof *map);
    if (!owner || !map) {
        error_memory(error);
        return NULL;
    }
    for (uint32_t bucket = 0; bucket < group->buckets; bucket++) {
        const char *name = state->shards[group->owners[bucket]].name;
        size_t shard = 0;
        while (shard < model->shard_count && strcmp(model->shards[shard].name, name) != 0)
            shard++;
        if (shard == model->shard_count) {
            error_set(error, MOSAIC_STALE, "shard %s owns buckets and is not in the config %s", name, model->source);
            error_hint(error, "put the shard back; one that owns buckets cannot be left out");
            return NULL;
        }
        owner[bucket] = (uint16_t)shard;
    }
    *map = (struct map){state->epoch, group->buckets, (uint32_t)model->shard_count, owner};
    return map;
}

/* The bounds of a range or list rule as values, from its texts. */
mosaic_status catalog_fill_bounds(struct model *model, struct table *table, mosaic_error *error)
{
    size_t count = state_bound_count(&table->rule);
    struct key_value *bounds = arena_zeroed(&model->arena, count, sizeof *bounds);
    if (!bounds)
        return error_memory(error);
    for (size_t i = 0; i < count; i++) {
        const char *text = table->rule.bound_texts[i];
        mosaic_status status = key_from_text(table->rule.types[0], table->columns[0], text, strlen(text), &model->arena,
                                             &bounds[i], error);
        if (status != MOSAIC_OK)
            return error_prefix(error, "bound %zu of table %s", i + 1, table->display);
    }
    table->rule.bounds = bounds;
    return MOSAIC_OK;
}

/* Fills the tables of one colocation, or of none (reference tables), which share one map. */
static mosaic_status complete_table(struct model *model, struct table *table, const struct catalog_table *applied,
                                    const struct map *map, mosaic_error *error)
{
    const char *differs = contradiction(table, applied);
    if (differs)
        return stale(error, table, differs);
    table->applied = true;
    if (table->kind == TABLE_REFERENCE)
        return MOSAIC_OK;
    table->rule.buckets = applied->colocation->buckets;
    memcpy(table->rule.types, applied->types, sizeof table->rule.types);
    mosaic_status status = catalog_fill_bounds(model, table, error);
    if (status == MOSAIC_OK)
        table->map = map;
    return status;
}

static mosaic_status complete(struct model *model, const struct catalog_state *state, mosaic_error *error)
{
    if (strcmp(model->name, state->cluster) != 0) {
        error_set(error, MOSAIC_STALE, "these databases belong to cluster %s; the config %s is for cluster %s",
                  state->cluster, model->source, model->name);
        error_hint(error, "correct the conninfo of the shards, or the cluster's name");
        return MOSAIC_STALE;
    }
    const struct map **maps = arena_zeroed(&model->arena, state->colocation_count, sizeof *maps);
    if (!maps)
        return error_memory(error);
    for (size_t i = 0; i < state->colocation_count; i++)
        if (!(maps[i] = translate(model, state, &state->colocations[i], error)))
            return error ? error->status : MOSAIC_STALE;
    for (size_t i = 0; i < model->table_count; i++) {
        struct table *table = &model->tables[i];
        const struct catalog_table *applied = state_table(state, table->schema, table->name);
        if (!applied)
            continue;
        const struct map *map = applied->colocation ? maps[applied->colocation - state->colocations] : NULL;
        mosaic_status status = complete_table(model, table, applied, map, error);
        if (status != MOSAIC_OK)
            return status;
    }
    model->epoch = state->epoch;
    return MOSAIC_OK;
}

mosaic_status catalog_find(const struct model *model, PGconn *first, int64_t deadline, struct arena *arena,
                           PGconn **opened, size_t *shard, mosaic_error *error)
{
    struct shard_identity identity;
    *opened = NULL;
    *shard = 0;
    mosaic_status status = state_identity(first, model->shards[0].name, deadline, arena, &identity, error);
    if (status != MOSAIC_OK || !identity.present)
        return status;
    if (strcmp(identity.shard, model->shards[0].name) != 0) {
        error_set(error, MOSAIC_STALE, "the database at the conninfo of shard %s is shard %s of cluster %s",
                  model->shards[0].name, identity.shard, identity.cluster);
        error_hint(error, "correct the conninfo, or the shard's name, in %s", model->source);
        return MOSAIC_STALE;
    }
    size_t at = 0;
    while (at < model->shard_count && strcmp(model->shards[at].name, identity.catalog) != 0)
        at++;
    if (at == model->shard_count) {
        error_set(error, MOSAIC_STALE, "the catalog is on shard %s, which is not in the config %s", identity.catalog,
                  model->source);
        error_hint(error, "put the shard back");
        return MOSAIC_STALE;
    }
    *shard = at;
    if (!at)
        return MOSAIC_OK;
    return pq_connect(model->shards[at].conninfo, model->shards[at].name, "pgmosaic", deadline, opened, error);
}

/* The whole catalog, wherever it is; in the arena. */
static mosaic_status read_catalog(const struct model *model, PGconn *first, int64_t deadline, struct arena *arena,
                                  struct catalog_state *state, size_t *shard, mosaic_error *error)
{
    PGconn *opened = NULL;
    mosaic_status status = catalog_find(model, first, deadline, arena, &opened, shard, error);
    if (status == MOSAIC_OK)
        status = state_read(opened ? opened : first, model->shards[*shard].name, deadline, arena, state, error);
    PQfinish(opened);
    return status;
}

mosaic_status catalog_complete(struct model *model, PGconn *catalog, int64_t deadline, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct catalog_state state;
    size_t home;
    mosaic_status status = read_catalog(model, catalog, deadline, &arena, &state, &home, error);
    if (status == MOSAIC_OK)
        status = complete(model, &state, error);
    if (status == MOSAIC_OK)
        status = config_place_coordinator(model, home, error);
    arena_free(&arena);
    return status;
}

mosaic_status catalog_check_owners(struct model *model, PGconn *first, int64_t deadline, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct catalog_state state;
    size_t home;
    mosaic_status status = read_catalog(model, first, deadline, &arena, &state, &home, error);
    for (size_t i = 0; status == MOSAIC_OK && i < state.colocation_count; i++)
        if (!translate(model, &state, &state.colocations[i], error))
            status = MOSAIC_STALE;
    arena_free(&arena);
    return status == MOSAIC_PREFLIGHT ? MOSAIC_OK : status; /* nothing was ever applied: nobody owns anything */
}

mosaic_status catalog_judge_shard(const struct model *model, size_t at, const char *cluster, const char *shard,
                                  mosaic_error *error)
{
    const char *name = model->shards[at].name;
    if (!shard) {
        if (model->epoch == 0)
            return MOSAIC_OK;
        error_set(error, MOSAIC_STALE, "nothing was ever applied to the database at the conninfo of shard %s", name);
        error_hint(error, "correct the conninfo in the config, or run pgmosaic apply if the shard is new");
    } else if (strcmp(cluster, model->name) != 0) {
        error_set(error, MOSAIC_STALE, "the database at the conninfo of shard %s is shard %s of cluster %s, not of %s",
                  name, shard, cluster, model->name);
        error_hint(error, "correct the conninfo, or the cluster's name, in the config");
    } else if (strcmp(shard, name) != 0) {
        error_set(error, MOSAIC_STALE, "the database at the conninfo of shard %s is shard %s", name, shard);
        error_hint(error, "correct the conninfo, or the shard's name, in the config; a new name is taken on by "
                          "pgmosaic apply");
    } else {
        return MOSAIC_OK;
    }
    return error_shard(error, name);
}

mosaic_status catalog_check_shard(const struct model *model, size_t shard, PGconn *connection, int64_t deadline,
                                  uint64_t *epoch, mosaic_error *error)
{
    struct arena arena = ARENA_INIT;
    struct shard_identity identity;
    mosaic_status status = state_identity(connection, model->shards[shard].name, deadline, &arena, &identity, error);
    *epoch = identity.epoch;
    if (status == MOSAIC_OK)
        status = catalog_judge_shard(model, shard, identity.present ? identity.cluster : NULL,
                                     identity.present ? identity.shard : NULL, error);
    arena_free(&arena);
    return status;
}
