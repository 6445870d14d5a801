/* The keys that facts bind a relation to, one by one, as values of its key columns. */
#ifndef MOSAIC_PLAN_KEYS_H
#define MOSAIC_PLAN_KEYS_H

#include "plan/plan.h"

enum keys_outcome {
    KEYS_READ,
    KEYS_REFUSED, /* the error says why */
    KEYS_MEMORY,
};

struct keys_input {
    const struct facts *facts;
    const struct plan_input *input;
    struct arena *arena;
    mosaic_error *error;
};

/* One key of table->rule.columns values. Anything but KEYS_READ ends the reading. */
typedef enum keys_outcome keys_visit(void *state, const struct table *table, const struct key_value *key,
                                     bool assigned);

/* Visits each key of a relation that is_bound; those that no row has (NULL, 1.5 for an integer) are left out. */
enum keys_outcome keys_each(const struct keys_input *input, const struct fact_relation *fact, keys_visit *visit,
                            void *state);
/* One row of values as a key; *none: no row has it. */
enum keys_outcome keys_row(const struct keys_input *input, const struct schema_relation *relation,
                           const struct fact_value *row, size_t columns, struct key_value *key, bool *none);
/* Where a key is, by the map: plan_make has seen that there is one. As rule_bucket fails where no shard has the key. */
mosaic_status keys_shard(const struct table *table, const struct key_value *key, uint32_t *bucket, uint16_t *shard,
                         mosaic_error *error);

#endif
