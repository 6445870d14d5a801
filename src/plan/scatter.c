#include "plan/scatter.h"

#include "base/error.h"
#include "plan/value.h"
#include "sql/words.h"

#include <string.h>

/* ---- shards ---- */

struct asked {
    const struct keys_input *input;
    bool *shards;
    size_t count; /* of those that are asked */
};

static void add_shard(struct asked *asked, uint16_t shard)
{
    asked->count += !asked->shards[shard];
    asked->shards[shard] = true;
}

static enum keys_outcome ask_owner(void *state, const struct table *table, const struct key_value *key, bool assigned)
{
    struct asked *asked = state;
    uint32_t bucket;
    uint16_t shard;
    (void)assigned;
    if (keys_shard(table, key, &bucket, &shard, asked->input->error) == MOSAIC_OK)
        add_shard(asked, shard); /* else no row of a list has this key */
    return KEYS_READ;
}

/* Buckets are mostly dealt out in turn: the first few name all shards. */
static enum keys_outcome ask_all(struct asked *asked, const struct table *table)
{
    size_t all = asked->input->input->schema->model->shard_count;
    for (uint32_t bucket = 0; bucket < table->map->buckets && asked->count < all; bucket++)
        add_shard(asked, table->map->owner[bucket]);
    return KEYS_READ;
}

enum keys_outcome scatter_shards(const struct keys_input *input, const struct fact_relation *driver,
                                 const uint16_t **shards, size_t *count)
{
    size_t all = input->input->schema->model->shard_count;
    struct asked asked = {.input = input, .shards = arena_zeroed(input->arena, all, sizeof *asked.shards)};
    uint16_t *list = arena_zeroed(input->arena, all, sizeof *list);
    *shards = list, *count = 0;
    if (!asked.shards || !list)
        return KEYS_MEMORY;
    enum keys_outcome outcome =
        driver->is_bound ? keys_each(input, driver, ask_owner, &asked) : ask_all(&asked, driver->relation->table);
    for (size_t i = 0; i < all; i++)
        if (asked.shards[i])
            list[(*count)++] = (uint16_t)i;
    return outcome;
}

/* ---- values ---- */

/* A bigint, smallint or integer parameter as it came; *is_null. False: it is none, or negative. */
static bool read_parameter(const struct keys_input *input, const struct fact_value *fact, bool *is_null,
                           uint64_t *number)
{
    struct key_value value;
    *is_null = fact->number > input->input->parameter_count;
    if (*is_null) /* EXPLAIN does not know it yet; where it is missing in earnest, the shards say so */
        return true;
    const struct plan_value *parameter = &input->input->parameters[fact->number - 1];
    uint32_t type = value_parameter_type(input->facts, input->input, fact->number);
    type = schema_base_type(input->input->schema, type ? type : fact->type ? fact->type : 20, NULL);
    enum key_type key;
    if (!type_by_oid(type, &key) || !type_is_integer(key))
        return false;
    *is_null = parameter->size < 0;
    if (*is_null)
        return true;
    size_t size = (size_t)parameter->size;
    mosaic_status status =
        parameter->format == 1
            ? key_from_binary(key, "LIMIT", parameter->data, size, input->arena, &value, input->error)
            : key_from_text(key, "LIMIT", parameter->data, size, input->arena, &value, input->error);
    if (status != MOSAIC_OK || value.integer < 0)
        return false;
    *number = (uint64_t)value.integer;
    return true;
}

static bool read_limit(const struct keys_input *input, bool has, const struct fact_value *fact, uint64_t *number)
{
    struct key_value value;
    bool is_null = false;
    if (!has)
        return true;
    if (fact->source == VALUE_PARAMETER)
        return read_parameter(input, fact, &is_null, number);
    if (key_from_text(KEY_INT8, "LIMIT", fact->text, strlen(fact->text), input->arena, &value, input->error) !=
        MOSAIC_OK)
        return false;
    *number = (uint64_t)value.integer;
    return true;
}

static bool read_limits(const struct keys_input *input, struct plan *plan)
{
    const struct fact_scatter *scatter = input->facts->scatter;
    plan->limit = UINT64_MAX, plan->offset = 0;
    if (!read_limit(input, scatter->has_limit, &scatter->limit, &plan->limit) ||
        !read_limit(input, scatter->has_offset, &scatter->offset, &plan->offset))
        return false;
    return plan->limit == UINT64_MAX || plan->limit + plan->offset <= INT64_MAX;
}

/* 'now' and its like as a date or time: each shard has its own. */
static bool names_moment(const struct keys_input *input)
{
    for (size_t i = 0; i < input->input->parameter_count; i++) {
        const struct plan_value *parameter = &input->input->parameters[i];
        if (parameter->size > 0 && words_name_moment(parameter->data, (size_t)parameter->size))
            return true;
    }
    return false;
}

enum keys_outcome scatter_plan(const struct keys_input *input, struct plan *plan)
{
    struct plan found = *plan;
    if (!read_limits(input, &found) || names_moment(input))
        return KEYS_REFUSED;
    enum keys_outcome outcome = scatter_shards(input, input->facts->scatter->driver, &found.shards, &found.shard_count);
    if (outcome != KEYS_READ)
        return outcome;
    found.kind = found.shard_count > 1 ? PLAN_SCATTER : found.shard_count ? PLAN_SHARD : PLAN_ANY;
    found.shard = found.shard_count ? found.shards[0] : (uint16_t)input->input->schema->home;
    found.bucket = PLAN_NO_BUCKET;
    found.relation = input->facts->scatter->driver->relation->table->display;
    found.scatter = input->facts->scatter;
    *plan = found;
    return KEYS_READ;
}
