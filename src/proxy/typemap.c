#include "proxy/typemap.h"

#include "base/error.h"
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>

static int by_there(const void *left, const void *right)
{
    const struct typemap_pair *a = (const struct typemap_pair *)left, *b = (const struct typemap_pair *)right;
    return a->there < b->there ? -1 : a->there > b->there;
}

static mosaic_status make_one(const struct schema *schema, size_t shard, struct arena *arena, struct typemap *map,
                              mosaic_error *error)
{
    map->pairs = (struct typemap_pair *)arena_zeroed(arena, schema->type_count + 1, sizeof *map->pairs);
    if (!map->pairs)
        return error_memory(error);
    for (size_t i = 0; i < schema->type_count; i++) {
        uint32_t home = schema->types[i].oid, there = schema_oid_on(schema, shard, home);
        if (there && there != home)
            map->pairs[map->count++] = (struct typemap_pair){there, home};
    }
    qsort(map->pairs, map->count, sizeof *map->pairs, by_there);
    return MOSAIC_OK;
}

mosaic_status typemaps_make(const struct schema *schema, size_t shard_count, struct arena *arena, struct typemap **maps,
                            mosaic_error *error)
{
    *maps = (struct typemap *)arena_zeroed(arena, shard_count, sizeof **maps);
    if (!*maps)
        return error_memory(error);
    for (size_t shard = 0; shard < shard_count; shard++) {
        (*maps)[shard].is_home = shard_count == 1 || shard == schema->home;
        if ((*maps)[shard].is_home)
            continue;
        mosaic_status status = make_one(schema, shard, arena, &(*maps)[shard], error);
        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}

uint32_t typemap_home(const struct typemap *map, uint32_t there)
{
    if (there < TYPEMAP_FIRST_OF_USERS || map->count == 0)
        return there;
    const struct typemap_pair key = {.there = there};
    const struct typemap_pair *found =
        (const struct typemap_pair *)bsearch(&key, map->pairs, map->count, sizeof key, by_there);
    return found ? found->home : there;
}

void typemap_row_description(const struct typemap *map, char *body, size_t size)
{
    struct wire_reader reader = {body, body + size, false};
    const char *name, *found;
    (void)wire_read16(&reader);
    while ((found = wire_next_column(&reader, &name))) {
        char *field = body + (found - body), *type = field + WIRE_COLUMN_TYPE;
        if (wire_get32(field + WIRE_COLUMN_TABLE) >= TYPEMAP_FIRST_OF_USERS)
            memset(field + WIRE_COLUMN_TABLE, 0, WIRE_COLUMN_TYPE);
        wire_put32(type, typemap_home(map, wire_get32(type)));
    }
}

void typemap_parameter_description(const struct typemap *map, char *body, size_t size)
{
    for (size_t at = 2; at + 4 <= size; at += 4)
        wire_put32(body + at, typemap_home(map, wire_get32(body + at)));
}
