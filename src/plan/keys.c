#include "plan/keys.h"

#include "base/error.h"
#include "plan/value.h"

mosaic_status keys_shard(const struct table *table, const struct key_value *key, uint32_t *bucket, uint16_t *shard,
                         mosaic_error *error)
{
    mosaic_status status = rule_bucket(&table->rule, key, bucket, error);
    if (status == MOSAIC_OK)
        *shard = table->map->owner[*bucket];
    return status;
}

static struct value_target target_of(const struct keys_input *input, const struct schema_relation *relation,
                                     size_t column)
{
    const struct table *table = relation->table;
    const struct schema_column *found = schema_column(relation, table->columns[column]);
    struct value_target target = {table->columns[column], table->rule.types[column], -1};
    if (!found)
        return target;
    /* A domain's modifier counts where the column has none of its own. */
    int32_t modifier = -1;
    schema_base_type(input->input->schema, found->type, &modifier);
    target.modifier = modifier != -1 ? modifier : found->modifier;
    return target;
}

static enum keys_outcome outcome_of(enum value_outcome outcome)
{
    return outcome == OUTCOME_MEMORY ? KEYS_MEMORY : outcome == OUTCOME_REFUSED ? KEYS_REFUSED : KEYS_READ;
}

static enum keys_outcome each_element(const struct keys_input *input, const struct schema_relation *relation,
                                      const struct fact_value *fact, keys_visit *visit, void *state)
{
    struct value_target target = target_of(input, relation, 0);
    struct value_list values;
    enum keys_outcome outcome =
        outcome_of(value_read_array(input->facts, input->input, fact, &target, input->arena, &values, input->error));
    for (size_t i = 0; i < values.count && outcome == KEYS_READ; i++)
        outcome = visit(state, relation->table, &values.list[i], false);
    return outcome;
}

enum keys_outcome keys_row(const struct keys_input *input, const struct schema_relation *relation,
                           const struct fact_value *row, size_t columns, struct key_value *key, bool *none)
{
    *none = false;
    for (size_t i = 0; i < columns; i++) {
        struct value_target target = target_of(input, relation, i);
        enum value_outcome outcome =
            value_read(input->facts, input->input, &row[i], &target, input->arena, &key[i], input->error);
        *none |= outcome == OUTCOME_NONE;
        if (outcome_of(outcome) != KEYS_READ)
            return outcome_of(outcome);
    }
    return KEYS_READ;
}

enum keys_outcome keys_each(const struct keys_input *input, const struct fact_relation *fact, keys_visit *visit,
                            void *state)
{
    const struct fact_keys *keys = &fact->keys;
    if (keys->columns != fact->relation->table->rule.columns) {
        error_set(input->error, MOSAIC_INTERNAL, "table %s: the rule and the key differ",
                  fact->relation->table->display);
        return KEYS_REFUSED;
    }
    enum keys_outcome outcome = KEYS_READ;
    for (size_t row = 0; row < keys->alternatives && outcome == KEYS_READ; row++) {
        const struct fact_value *values = &keys->values[row * keys->columns];
        struct key_value key[KEY_COLUMNS_MAX];
        bool none = false;
        for (size_t i = 0; i < keys->columns && keys->columns > 1; i++)
            if (values[i].is_array) {
                error_set(input->error, MOSAIC_INTERNAL, "table %s: an array for a part of the key",
                          fact->relation->table->display);
                return KEYS_REFUSED;
            }
        if (values[0].is_array) {
            outcome = each_element(input, fact->relation, values, visit, state);
            continue;
        }
        outcome = keys_row(input, fact->relation, values, keys->columns, key, &none);
        if (outcome == KEYS_READ && !none)
            outcome = visit(state, fact->relation->table, key, values[0].is_assigned);
    }
    return outcome;
}
