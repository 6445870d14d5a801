/*
 * Look-ups: open addressing over the schema's own arrays.
 *
 *     slots[hash & mask] = {hash, index + 1} ── compare the names ──> relations[index]
 *
 * At most half of the slots are taken, so that every search ends at an empty one. Types are found by OID in the sorted
 * array itself. Invariant: nothing here points out of the schema's arena.
 */
#include "sql/schema.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* OIDs below are given out by PostgreSQL's own source files (access/transam.h, FirstUnpinnedObjectId): equal in every
 * database. */
enum { FIRST_UNPINNED_OID = 12000 };

struct slot {
    uint32_t hash, index; /* index + 1; 0: empty */
};

struct slots {
    struct slot *at;
    uint32_t mask;
};

struct oid_pair {
    uint32_t there, home;
};

struct schema_index {
    struct slots relations, relation_oids, types, functions, namespaces;
    struct oid_pair *from; /* of each shard, type_count pairs ascending by `there`; NULL where type_oids is */
};

/* FNV-1a, and a final mix for its low bits. */
static uint32_t hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return (uint32_t)(hash ^ hash >> 29);
}

static uint32_t hash_name(const char *namespace, const char *name)
{
    return hash_text(hash_text(UINT64_C(0xcbf29ce484222325), name) * UINT64_C(0x9E3779B97F4A7C15), namespace);
}

static uint32_t hash_word(const char *name)
{
    return hash_text(UINT64_C(0xcbf29ce484222325), name);
}

static uint32_t hash_oid(uint32_t oid)
{
    return (uint32_t)(oid * UINT64_C(0x9E3779B97F4A7C15) >> 32);
}

static bool make_slots(struct arena *arena, size_t count, struct slots *slots)
{
    uint32_t size = 8;
    while (size < count * 2)
        size *= 2;
    *slots = (struct slots){arena_zeroed(arena, size, sizeof *slots->at), size - 1};
    return slots->at != NULL;
}

/* The next slot of this hash from *at on; its index, or SIZE_MAX at the end. Usage: at = hash; then as often as needed.
 */
static size_t next_index(const struct slots *slots, uint32_t hash, uint32_t *at)
{
    for (;; ++*at) {
        const struct slot *slot = &slots->at[*at & slots->mask];
        if (!slot->index)
            return SIZE_MAX;
        if (slot->hash == hash) {
            ++*at;
            return slot->index - 1;
        }
    }
}

static void put(struct slots *slots, uint32_t hash, size_t index)
{
    uint32_t at = hash;
    while (slots->at[at & slots->mask].index)
        at++;
    slots->at[at & slots->mask] = (struct slot){hash, (uint32_t)index + 1};
}

const struct schema_relation *schema_relation(const struct schema *schema, const char *namespace, const char *name)
{
    uint32_t hash = hash_name(namespace, name), at = hash;
    for (size_t i; (i = next_index(&schema->index->relations, hash, &at)) != SIZE_MAX;) {
        const struct schema_relation *relation = &schema->relations[i];
        if (strcmp(relation->name, name) == 0 && strcmp(relation->schema, namespace) == 0)
            return relation;
    }
    return NULL;
}

const struct schema_relation *schema_relation_by_oid(const struct schema *schema, uint32_t oid)
{
    uint32_t hash = hash_oid(oid), at = hash;
    for (size_t i; (i = next_index(&schema->index->relation_oids, hash, &at)) != SIZE_MAX;)
        if (schema->relations[i].oid == oid)
            return &schema->relations[i];
    return NULL;
}

const struct schema_type *schema_type(const struct schema *schema, const char *namespace, const char *name)
{
    uint32_t hash = hash_name(namespace, name), at = hash;
    for (size_t i; (i = next_index(&schema->index->types, hash, &at)) != SIZE_MAX;) {
        const struct schema_type *type = &schema->types[i];
        if (strcmp(type->name, name) == 0 && strcmp(type->schema, namespace) == 0)
            return type;
    }
    return NULL;
}

static size_t type_index(const struct schema *schema, uint32_t oid)
{
    size_t low = 0, high = schema->type_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (schema->types[middle].oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < schema->type_count && schema->types[low].oid == oid ? low : SIZE_MAX;
}

const struct schema_type *schema_type_by_oid(const struct schema *schema, uint32_t oid)
{
    size_t i = type_index(schema, oid);
    return i == SIZE_MAX ? NULL : &schema->types[i];
}

const struct schema_function *schema_functions(const struct schema *schema, const char *name, size_t *count)
{
    uint32_t hash = hash_word(name), at = hash;
    *count = 0;
    for (size_t i; (i = next_index(&schema->index->functions, hash, &at)) != SIZE_MAX;) {
        if (strcmp(schema->functions[i].name, name) != 0)
            continue;
        size_t end = i + 1;
        while (end < schema->function_count && strcmp(schema->functions[end].name, name) == 0)
            end++;
        *count = end - i;
        return &schema->functions[i];
    }
    return NULL;
}

bool schema_has_namespace(const struct schema *schema, const char *namespace)
{
    uint32_t hash = hash_word(namespace), at = hash;
    for (size_t i; (i = next_index(&schema->index->namespaces, hash, &at)) != SIZE_MAX;)
        if (strcmp(schema->namespaces[i], namespace) == 0)
            return true;
    return false;
}

const struct schema_column *schema_column(const struct schema_relation *relation, const char *name)
{
    for (size_t i = 0; i < relation->column_count; i++)
        if (strcmp(relation->columns[i].name, name) == 0)
            return &relation->columns[i];
    return NULL;
}

uint32_t schema_base_type(const struct schema *schema, uint32_t type, int32_t *modifier)
{
    if (type < FIRST_UNPINNED_OID)
        return type; /* none of PostgreSQL's own is a domain (pg_type.dat) */
    /* schema_index has looked that a domain's base stands before it in no circle. */
    for (const struct schema_type *domain; (domain = schema_type_by_oid(schema, type)) && domain->kind == 'd';) {
        if (modifier && domain->base_modifier != -1)
            *modifier = domain->base_modifier;
        type = domain->base;
    }
    return type;
}

uint32_t schema_element_type(const struct schema *schema, uint32_t array)
{
    const struct schema_type *type = schema_type_by_oid(schema, array);
    return type ? schema_base_type(schema, type->element, NULL) : 0;
}

bool schema_is_text_domain(const struct schema *schema, uint32_t type)
{
    uint32_t base = schema_base_type(schema, type, NULL);
    const struct schema_type *found = schema_type_by_oid(schema, base);
    if (found && found->element && base == type) /* an array of domains; no domain is an array of itself */
        return schema_is_text_domain(schema, found->element);
    return found && base != type && found->category == 'S';
}

uint32_t schema_oid_on(const struct schema *schema, size_t shard, uint32_t oid)
{
    if (!schema->type_oids || oid < FIRST_UNPINNED_OID || shard == schema->home)
        return oid;
    size_t i = type_index(schema, oid);
    return i == SIZE_MAX ? 0 : schema->type_oids[shard * schema->type_count + i];
}

uint32_t schema_oid_from(const struct schema *schema, size_t shard, uint32_t oid)
{
    if (!schema->type_oids || oid < FIRST_UNPINNED_OID || shard == schema->home)
        return oid;
    const struct oid_pair *pairs = schema->index->from + shard * schema->type_count;
    size_t low = 0, high = schema->type_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pairs[middle].there < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < schema->type_count && pairs[low].there == oid ? pairs[low].home : 0;
}

static mosaic_status check_references(const struct schema *schema, const struct schema_relation *relation,
                                      mosaic_error *error)
{
    const struct {
        const char *what;
        const uint32_t *oids;
        size_t count;
    } lists[] = {{"parent", relation->parents, relation->parent_count},
                 {"child", relation->children, relation->child_count}};
    for (size_t list = 0; list < 2; list++)
        for (size_t i = 0; i < lists[list].count; i++)
            if (!schema_relation_by_oid(schema, lists[list].oids[i]))
                return error_set(error, MOSAIC_INTERNAL, "schema: a %s of %s.%s, OID %u, is no relation of it",
                                 lists[list].what, relation->schema, relation->name, lists[list].oids[i]);
    return MOSAIC_OK;
}

static mosaic_status check_placement(const struct schema *schema, const struct schema_relation *relation,
                                     mosaic_error *error)
{
    bool placed = relation->placement == PLACE_SHARDED || relation->placement == PLACE_REFERENCE;
    if (placed != (relation->table != NULL))
        return error_set(error, MOSAIC_INTERNAL, "schema: relation %s.%s has %s", relation->schema, relation->name,
                         placed ? "a placement, and no table of the model" : "a table of the model, and no placement");
    if (relation->placement != PLACE_SHARDED)
        return MOSAIC_OK;
    for (size_t i = 0; i < relation->table->column_count; i++)
        if (!schema_column(relation, relation->table->columns[i]))
            return error_set(error, MOSAIC_INTERNAL, "schema: relation %s.%s lacks its sharding key's column %s",
                             relation->schema, relation->name, relation->table->columns[i]);
    return check_references(schema, relation, error);
}

static mosaic_status index_relations(struct schema *schema, mosaic_error *error)
{
    struct schema_index *index = schema->index;
    for (size_t i = 0; i < schema->relation_count; i++) {
        const struct schema_relation *relation = &schema->relations[i];
        if (schema_relation(schema, relation->schema, relation->name))
            return error_set(error, MOSAIC_INTERNAL, "schema: relation %s.%s stands twice in it", relation->schema,
                             relation->name);
        if (schema_relation_by_oid(schema, relation->oid))
            return error_set(error, MOSAIC_INTERNAL, "schema: OID %u of relation %s.%s stands twice in it",
                             relation->oid, relation->schema, relation->name);
        put(&index->relations, hash_name(relation->schema, relation->name), i);
        put(&index->relation_oids, hash_oid(relation->oid), i);
    }
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; status == MOSAIC_OK && i < schema->relation_count; i++)
        status = check_placement(schema, &schema->relations[i], error);
    return status;
}

static mosaic_status index_types(struct schema *schema, mosaic_error *error)
{
    for (size_t i = 0; i < schema->type_count; i++) {
        const struct schema_type *type = &schema->types[i];
        if (i && type[-1].oid >= type->oid)
            return error_set(error, MOSAIC_INTERNAL, "schema: type %s.%s, OID %u, stands behind OID %u", type->schema,
                             type->name, type->oid, type[-1].oid);
        if (schema_type(schema, type->schema, type->name))
            return error_set(error, MOSAIC_INTERNAL, "schema: type %s.%s stands twice in it", type->schema, type->name);
        put(&schema->index->types, hash_name(type->schema, type->name), i);
    }
    for (size_t i = 0; i < schema->type_count; i++) {
        const struct schema_type *type = &schema->types[i];
        size_t steps = 0;
        while (type && type->kind == 'd' && steps++ <= schema->type_count)
            type = schema_type_by_oid(schema, type->base);
        if (!type || type->kind == 'd')
            return error_set(error, MOSAIC_INTERNAL, "schema: domain %s.%s has no type below it",
                             schema->types[i].schema, schema->types[i].name);
    }
    return MOSAIC_OK;
}

static mosaic_status index_functions(struct schema *schema, mosaic_error *error)
{
    for (size_t i = 0; i < schema->function_count; i++) {
        int order = i ? strcmp(schema->functions[i - 1].name, schema->functions[i].name) : -1;
        if (order > 0)
            return error_set(error, MOSAIC_INTERNAL, "schema: function %s stands behind %s", schema->functions[i].name,
                             schema->functions[i - 1].name);
        if (order < 0)
            put(&schema->index->functions, hash_word(schema->functions[i].name), i);
    }
    for (size_t i = 0; i < schema->namespace_count; i++)
        if (!schema_has_namespace(schema, schema->namespaces[i]))
            put(&schema->index->namespaces, hash_word(schema->namespaces[i]), i);
    return MOSAIC_OK;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct oid_pair *left = a, *right = b;
    return (left->there > right->there) - (left->there < right->there);
}

/* type_oids the other way round, shard by shard. */
static mosaic_status index_oids(struct schema *schema, mosaic_error *error)
{
    size_t shards = schema->model ? model_places(schema->model) : 0;
    if (!schema->type_oids || !shards || !schema->type_count)
        return MOSAIC_OK;
    struct oid_pair *pairs = arena_allocate(&schema->arena, shards * schema->type_count * sizeof *pairs);
    if (!pairs)
        return error_memory(error);
    for (size_t i = 0; i < shards * schema->type_count; i++)
        pairs[i] = (struct oid_pair){schema->type_oids[i], schema->types[i % schema->type_count].oid};
    for (size_t shard = 0; shard < shards; shard++)
        qsort(pairs + shard * schema->type_count, schema->type_count, sizeof *pairs, compare_pairs);
    schema->index->from = pairs;
    return MOSAIC_OK;
}

mosaic_status schema_index(struct schema *schema, mosaic_error *error)
{
    struct arena *arena = &schema->arena;
    struct schema_index *index = schema->index = arena_zeroed(arena, 1, sizeof *schema->index);
    if (!index || !make_slots(arena, schema->relation_count, &index->relations) ||
        !make_slots(arena, schema->relation_count, &index->relation_oids) ||
        !make_slots(arena, schema->type_count, &index->types) ||
        !make_slots(arena, schema->function_count, &index->functions) ||
        !make_slots(arena, schema->namespace_count, &index->namespaces))
        return error_memory(error);
    mosaic_status status = index_relations(schema, error);
    if (status == MOSAIC_OK)
        status = index_types(schema, error);
    if (status == MOSAIC_OK)
        status = index_functions(schema, error);
    return status == MOSAIC_OK ? index_oids(schema, error) : status;
}

void schema_free(struct schema *schema)
{
    arena_free(&schema->arena);
    *schema = (struct schema){0};
}
