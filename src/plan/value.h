/*
 * Values of keys: what a literal or parameter is as a value of the key column's type, as PostgreSQL compares or stores
 * it.
 */
#ifndef MOSAIC_PLAN_VALUE_H
#define MOSAIC_PLAN_VALUE_H

#include "plan/plan.h"

enum value_outcome {
    OUTCOME_VALUE,
    OUTCOME_NONE,    /* no row has such a key: 1.5 for an integer, NULL */
    OUTCOME_REFUSED, /* error says why */
    OUTCOME_MEMORY,
};

/* A key column, as values need it. */
struct value_target {
    const char *name;
    enum key_type type;
    int32_t modifier; /* of the column, -1: none; for values that are stored */
};

/* The type of parameter `number`, from 1, which must be one of the input's: what Parse said, else what its uses give
 * it; 0: neither. */
uint32_t value_parameter_type(const struct facts *facts, const struct plan_input *input, uint32_t number);
/* The value of a fact that is no array. */
enum value_outcome value_read(const struct facts *facts, const struct plan_input *input, const struct fact_value *fact,
                              const struct value_target *target, struct arena *arena, struct key_value *value,
                              mosaic_error *error);

/* Elements of = ANY(value). */
struct value_list {
    struct key_value *list;
    size_t count;
};
/* Elements that are values; those that no row has are left out. OUTCOME_VALUE, also for none; else as above. */
enum value_outcome value_read_array(const struct facts *facts, const struct plan_input *input,
                                    const struct fact_value *fact, const struct value_target *target,
                                    struct arena *arena, struct value_list *values, mosaic_error *error);

#endif
