#include "proxy/bound_values.h"

#include "sql/words.h"

#include <stdlib.h>

enum { TEXT = 25 };

static void find_used(const char *text, bool *used, uint16_t count)
{
    struct word word;
    for (size_t at = 0, size = strlen(text); words_next(text, size, &at, &word);) {
        unsigned long number = word.kind == WORD_NAME && *word.text == '$' ? strtoul(word.text + 1, NULL, 10) : 0;
        if (number && number <= count)
            used[number - 1] = true;
    }
}

bool bound_values_take(struct bound_values *bound, struct arena *arena, const char *text, const uint32_t *types,
                       uint16_t type_count, const struct wire_bind *bind)
{
    const char *at = bind ? bind->values : NULL;
    *bound = (struct bound_values){.count = bind ? bind->value_count : 0};
    bound->formats = bound->values = BUFFER_INIT(WIRE_LENGTH_MOST);
    if (!bound->count)
        return true;
    bool *used = arena_zeroed(arena, bound->count, sizeof *used);
    bound->types = arena_zeroed(arena, bound->count, sizeof *bound->types);
    if (!used || !bound->types)
        return false;
    find_used(text, used, bound->count);
    for (uint16_t i = 0; i < bound->count; i++) {
        struct wire_value value;
        if (!wire_bind_value(bind, i, &at, &value))
            return false;
        bound->types[i] = !used[i] ? TEXT : i < type_count ? types[i] : 0;
        wire_16(&bound->formats, used[i] ? (uint16_t)value.format : 0);
        wire_32(&bound->values, used[i] ? (uint32_t)value.size : UINT32_MAX);
        if (used[i] && value.size > 0)
            buffer_add(&bound->values, value.data, (size_t)value.size);
    }
    return !buffer_failed(&bound->formats) && !buffer_failed(&bound->values);
}

bool bound_values_pick(struct bound_values *bound, struct arena *arena, const uint32_t *types, uint16_t type_count,
                       const struct wire_bind *bind, const uint16_t *numbers, uint16_t count)
{
    uint16_t all = bind ? bind->value_count : 0;
    const char *at = bind ? bind->values : NULL;
    struct wire_value *values = arena_zeroed(arena, all + (size_t)1, sizeof *values);
    *bound = (struct bound_values){.count = count};
    bound->formats = bound->values = BUFFER_INIT(WIRE_LENGTH_MOST);
    bound->types = arena_zeroed(arena, count + (size_t)1, sizeof *bound->types);
    bool read = values && bound->types;
    for (uint16_t i = 0; read && i < all; i++)
        read = wire_bind_value(bind, i, &at, &values[i]);
    for (uint16_t i = 0; read && i < count; i++) {
        uint16_t number = (uint16_t)(numbers[i] - 1);
        read = number < all;
        if (!read)
            break;
        bound->types[i] = number < type_count ? types[number] : 0;
        wire_16(&bound->formats, (uint16_t)values[number].format);
        wire_32(&bound->values, (uint32_t)values[number].size);
        if (values[number].size > 0)
            buffer_add(&bound->values, values[number].data, (size_t)values[number].size);
    }
    return read && !buffer_failed(&bound->formats) && !buffer_failed(&bound->values);
}

void bound_values_free(struct bound_values *bound)
{
    buffer_free(&bound->formats);
    buffer_free(&bound->values);
}
