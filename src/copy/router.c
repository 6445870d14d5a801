#include "copy/router.h"

#include "base/error.h"
#include "core/modifier.h"

#include <string.h>

enum { DIGITS_MOST = 18 /* of a number that cannot leave int8 */ };

static enum copy_key_path choose_path(const struct rule *rule)
{
    enum key_type type = rule->types[0];
    if (rule->columns != 1)
        return COPY_KEY_ONE_BY_ONE;
    if (type_is_integer(type) && (rule->function == FUNCTION_MODULO || rule->function == FUNCTION_HASH))
        return COPY_KEY_INTEGER;
    bool bytes = type == KEY_TEXT || type == KEY_VARCHAR || type == KEY_BYTEA || type == KEY_UUID;
    return bytes && rule->function == FUNCTION_HASH ? COPY_KEY_BYTES : COPY_KEY_ONE_BY_ONE;
}

bool copy_router_init(struct copy_router *router, const struct rule *rule, const char *const *names,
                      const int *modifiers, const struct copy_format *format, size_t most, struct arena *arena)
{
    const char *null_text = format->kind == MOSAIC_BINARY ? "" : format->null_text;
    *router = (struct copy_router){.rule = rule, .names = names, .modifiers = modifiers, .format = format};
    router->path = choose_path(rule);
    router->plain_numbers =
        format->kind != MOSAIC_BINARY && strspn(null_text, "-0123456789") < strlen(null_text) + !*null_text;
    router->integers = arena_allocate(arena, most * sizeof *router->integers);
    router->slices = arena_allocate(arena, most * sizeof *router->slices);
    router->places = arena_allocate(arena, most * sizeof *router->places);
    return router->integers && router->slices && router->places;
}

void copy_router_free(struct copy_router *router)
{
    arena_free(&router->keys);
}

void copy_router_begin(struct copy_router *router, const char *bytes, uint32_t *buckets)
{
    arena_reset(&router->keys);
    router->bytes = bytes;
    router->buckets = buckets;
    router->count = 0;
}

/* A plain number in text; false where key_from_text shall have a look. */
static bool plain_number(enum key_type type, const char *text, size_t size, int64_t *number)
{
    bool minus = size > 0 && text[0] == '-';
    size_t at = minus;
    int64_t value = 0;
    if (at == size || size - at > DIGITS_MOST)
        return false;
    for (; at < size; at++) {
        unsigned digit = (unsigned char)text[at] - (unsigned)'0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    *number = minus ? -value : value;
    return type == KEY_INT8 || (type == KEY_INT4 && *number == (int32_t)*number) ||
           (type == KEY_INT2 && *number == (int16_t)*number);
}

static mosaic_status null_key(const char *name, mosaic_error *error)
{
    error_set(error, MOSAIC_KEY, "the sharding key \"%s\" is NULL", name);
    error_hint(error, "give it a value: a row without a key belongs to no shard");
    return MOSAIC_KEY;
}

/* As it was given. */
static mosaic_status given_value_of(struct copy_router *router, const struct copy_slice *slice, size_t column,
                                    struct key_value *value, mosaic_error *error)
{
    enum key_type type = router->rule->types[column];
    const char *name = router->names[column], *bytes = router->bytes;
    if (slice->start > slice->end || slice->start == UINT32_MAX)
        return null_key(name, error);
    if (router->format->kind == MOSAIC_BINARY)
        return key_from_binary(type, name, bytes + slice->start, slice->end - slice->start, &router->keys, value,
                               error);
    const char *text;
    size_t size;
    bool is_null;
    if (!copy_field_value(router->format, bytes + slice->start, slice->end - slice->start, &router->keys, &text, &size,
                          &is_null))
        return error_memory(error);
    if (is_null)
        return null_key(name, error);
    return key_from_text(type, name, text, size, &router->keys, value, error);
}

/* As it will be stored. */
static mosaic_status key_value_of(struct copy_router *router, const struct copy_slice *slice, size_t column,
                                  struct key_value *value, mosaic_error *error)
{
    mosaic_status status = given_value_of(router, slice, column, value, error);
    if (status == MOSAIC_OK && !modifier_apply(router->modifiers[column], &router->keys, value))
        status = error_memory(error);
    return status;
}

mosaic_status copy_router_row(struct copy_router *router, const struct copy_slice *slices, size_t i,
                              mosaic_error *error)
{
    const struct rule *rule = router->rule;
    struct key_value values[KEY_COLUMNS_MAX];
    if (router->path == COPY_KEY_INTEGER && router->plain_numbers && slices->start < slices->end &&
        plain_number(rule->types[0], router->bytes + slices->start, slices->end - slices->start,
                     &router->integers[router->count])) {
        router->places[router->count++] = (uint32_t)i;
        return MOSAIC_OK;
    }
    values[0] = (struct key_value){0};
    for (size_t column = 0; column < rule->columns; column++) {
        mosaic_status status = key_value_of(router, &slices[column], column, &values[column], error);
        if (status != MOSAIC_OK)
            return status;
    }
    if (router->path == COPY_KEY_ONE_BY_ONE)
        return rule_bucket(rule, values, &router->buckets[i], error);
    if (router->path == COPY_KEY_INTEGER)
        router->integers[router->count] = values[0].integer;
    else
        router->slices[router->count] = (struct key_slice){values[0].bytes.data, values[0].bytes.size};
    router->places[router->count++] = (uint32_t)i;
    return MOSAIC_OK;
}

void copy_router_end(struct copy_router *router)
{
    uint32_t found[256];
    for (size_t done = 0; done < router->count;) {
        size_t left = router->count - done, count = left < 256 ? left : 256;
        if (router->path == COPY_KEY_INTEGER)
            rule_buckets_int8(router->rule, router->integers + done, count, found);
        else
            rule_buckets_bytes(router->rule, router->slices + done, count, found);
        for (size_t i = 0; i < count; i++)
            router->buckets[router->places[done + i]] = found[i];
        done += count;
    }
    router->count = 0;
}
