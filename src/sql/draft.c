#include "sql/draft.h"

#include "base/error.h"
#include "sql/schema_place.h"

#include <stdlib.h>
#include <string.h>

/* The first OID of what users make (access/transam.h, FirstNormalObjectId). */
enum { FIRST_OID = 16384 };

struct draft_name {
    const char *schema, *name;
    void *thing;
    struct draft_name *next;
};

void *draft_append(struct draft *draft, struct draft_list *list, size_t size)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 8;
        void *items = arena_allocate(draft->arena, capacity * size);
        if (!items) {
            draft->failed = true;
            return NULL;
        }
        if (list->count)
            memcpy(items, list->items, list->count * size);
        list->items = items;
        list->capacity = capacity;
    }
    return memset((char *)list->items + list->count++ * size, 0, size);
}

bool draft_append_oid(struct draft *draft, struct draft_list *list, uint32_t oid)
{
    for (size_t i = 0; i < list->count; i++)
        if (((uint32_t *)list->items)[i] == oid)
            return true;
    uint32_t *added = draft_append(draft, list, sizeof *added);
    if (added)
        *added = oid;
    return added != NULL;
}

static bool append_pointer(struct draft *draft, struct draft_list *list, void *pointer)
{
    void **added = draft_append(draft, list, sizeof *added);
    if (added)
        *added = pointer;
    return added != NULL;
}

static size_t bucket_of(const char *namespace, const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *at = name; *at; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    for (const char *at = namespace; *at; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    return (hash ^ hash >> 32) % DRAFT_BUCKETS;
}

static void *find(struct draft_name *const *names, const char *namespace, const char *name)
{
    for (const struct draft_name *at = names[bucket_of(namespace, name)]; at; at = at->next)
        if (strcmp(at->name, name) == 0 && strcmp(at->schema, namespace) == 0)
            return at->thing;
    return NULL;
}

static void put(struct draft *draft, struct draft_name **names, const char *namespace, const char *name, void *thing)
{
    struct draft_name *made = arena_allocate(draft->arena, sizeof *made), **bucket = &names[bucket_of(namespace, name)];
    if (!made) {
        draft->failed = true;
        return;
    }
    *made = (struct draft_name){namespace, name, thing, *bucket};
    *bucket = made;
}

bool draft_has_namespace(const struct draft *draft, const char *name)
{
    for (size_t i = 0; i < draft->namespaces.count; i++)
        if (strcmp(((const char **)draft->namespaces.items)[i], name) == 0)
            return true;
    return false;
}

void draft_add_namespace(struct draft *draft, const char *name)
{
    if (!draft_has_namespace(draft, name))
        append_pointer(draft, &draft->namespaces, (void *)name);
}

/* ---- relations ---- */

static struct draft_relation *relation_at(const struct draft *draft, size_t i)
{
    return ((struct draft_relation **)draft->relations.items)[i];
}

struct draft_relation *draft_relation(const struct draft *draft, const char *namespace, const char *name)
{
    return find((struct draft_name *const *)draft->relation_names, namespace, name);
}

struct draft_relation *draft_relation_by_oid(const struct draft *draft, uint32_t oid)
{
    size_t low = 0, high = draft->relations.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (relation_at(draft, middle)->made.oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < draft->relations.count && relation_at(draft, low)->made.oid == oid ? relation_at(draft, low) : NULL;
}

static struct draft_relation *take_relation(struct draft *draft, const struct schema_relation *made)
{
    struct draft_relation *relation = arena_zeroed(draft->arena, 1, sizeof *relation);
    if (!relation || !append_pointer(draft, &draft->relations, relation)) {
        draft->failed = true;
        return NULL;
    }
    relation->made = *made;
    put(draft, draft->relation_names, made->schema, made->name, relation);
    return relation;
}

struct draft_relation *draft_add_relation(struct draft *draft, const char *namespace, const char *name, char kind)
{
    draft_add_namespace(draft, namespace);
    struct schema_relation made = {.schema = namespace, .name = name, .oid = draft->next_oid++, .kind = kind};
    struct draft_relation *relation = take_relation(draft, &made);
    if (!relation || kind == 'S')
        return relation;
    struct schema_type *row = draft_add_type(draft, namespace, name, 'c', 'C');
    if (row)
        row->relation = made.oid;
    return relation;
}

struct schema_column *draft_column(const struct draft_relation *relation, const char *name)
{
    struct schema_column *columns = relation->columns.items;
    for (size_t i = 0; i < relation->columns.count; i++)
        if (strcmp(columns[i].name, name) == 0)
            return &columns[i];
    return NULL;
}

struct schema_column *draft_add_column(struct draft *draft, struct draft_relation *relation, const char *name)
{
    size_t count = relation->columns.count;
    int number = count ? ((struct schema_column *)relation->columns.items)[count - 1].number + 1 : 1;
    struct schema_column *column = draft_append(draft, &relation->columns, sizeof *column);
    if (column)
        *column =
            (struct schema_column){.name = name, .modifier = -1, .number = (int16_t)number, .deterministic = true};
    return column;
}

void draft_drop_column(struct draft_relation *relation, const char *name)
{
    struct schema_column *column = draft_column(relation, name), *columns = relation->columns.items;
    if (!column)
        return;
    memmove(column, column + 1, (size_t)(columns + relation->columns.count - column - 1) * sizeof *column);
    relation->columns.count--;
}

/* ---- types ---- */

static struct schema_type *type_at(const struct draft *draft, size_t i)
{
    return ((struct schema_type **)draft->types.items)[i];
}

struct schema_type *draft_type(const struct draft *draft, const char *namespace, const char *name)
{
    return find((struct draft_name *const *)draft->type_names, namespace, name);
}

struct schema_type *draft_type_by_oid(const struct draft *draft, uint32_t oid)
{
    size_t low = 0, high = draft->types.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (type_at(draft, middle)->oid < oid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < draft->types.count && type_at(draft, low)->oid == oid ? type_at(draft, low) : NULL;
}

static struct schema_type *take_type(struct draft *draft, const struct schema_type *made)
{
    struct schema_type *type = arena_allocate(draft->arena, sizeof *type);
    if (!type || !append_pointer(draft, &draft->types, type)) {
        draft->failed = true;
        return NULL;
    }
    *type = *made;
    put(draft, draft->type_names, made->schema, made->name, type);
    return type;
}

struct schema_type *draft_add_type(struct draft *draft, const char *namespace, const char *name, char kind,
                                   char category)
{
    draft_add_namespace(draft, namespace);
    struct schema_type made = {.schema = namespace,
                               .name = name,
                               .oid = draft->next_oid++,
                               .kind = kind,
                               .category = category,
                               .base_modifier = -1};
    struct schema_type *type = take_type(draft, &made);
    const char *array_name = arena_format(draft->arena, "_%s", name);
    while (array_name && draft_type(draft, namespace, array_name))
        array_name = arena_format(draft->arena, "_%s", array_name); /* as makeArrayTypeName does */
    if (!type || !array_name) {
        draft->failed = true;
        return NULL;
    }
    struct schema_type array = {.schema = namespace,
                                .name = array_name,
                                .oid = draft->next_oid++,
                                .kind = 'b',
                                .category = 'A',
                                .base_modifier = -1,
                                .element = type->oid};
    type->array = array.oid;
    return take_type(draft, &array) ? type : NULL;
}

/* ---- begin and end ---- */

mosaic_status draft_open(struct draft *draft, struct schema *schema, const struct model *model, mosaic_error *error)
{
    static const char *const namespaces[] = {"pg_catalog", "information_schema", "public"};
    struct builtin builtin;
    *schema = (struct schema){.model = model};
    *draft = (struct draft){.schema = schema, .arena = &schema->arena, .next_oid = FIRST_OID};
    mosaic_status status = builtin_read(draft->arena, &builtin, error);
    if (status != MOSAIC_OK)
        return status;
    for (size_t i = 0; i < builtin.relation_count; i++) {
        struct draft_relation *relation = take_relation(draft, &builtin.relations[i]);
        if (relation) /* never appended to */
            relation->columns = (struct draft_list){(void *)relation->made.columns, relation->made.column_count,
                                                    relation->made.column_count};
    }
    for (size_t i = 0; i < builtin.type_count; i++)
        take_type(draft, &builtin.types[i]);
    draft->functions = (struct draft_list){builtin.functions, builtin.function_count, builtin.function_count};
    for (size_t i = 0; i < 3; i++)
        draft_add_namespace(draft, namespaces[i]);
    return draft->failed ? error_memory(error) : MOSAIC_OK;
}

static void append_key(struct draft *draft, struct draft_relation *relation, struct schema_foreign_key key)
{
    struct schema_foreign_key *added = relation ? draft_append(draft, &relation->keys, sizeof *added) : NULL;
    if (added)
        *added = key;
}

/* The partition takes the place of its parent in a copy of each key, which stands with both sides. */
static void inherit_keys(struct draft *draft, struct draft_relation *relation, struct draft_relation *child)
{
    size_t count = relation->keys.count;
    for (size_t i = 0; i < count; i++) {
        struct schema_foreign_key key = ((struct schema_foreign_key *)relation->keys.items)[i];
        bool refers = key.from == relation->made.oid;
        *(refers ? &key.from : &key.to) = child->made.oid;
        append_key(draft, child, key);
        append_key(draft, draft_relation_by_oid(draft, refers ? key.to : key.from), key);
    }
}

/* What a partitioned table says holds for its partitions too: PostgreSQL copies triggers and foreign keys to them. */
static void inherit(struct draft *draft, struct draft_relation *relation, size_t depth)
{
    for (size_t i = 0; i < relation->children.count && depth < 100; i++) {
        struct draft_relation *child = draft_relation_by_oid(draft, ((uint32_t *)relation->children.items)[i]);
        /* By its first parent alone, so that no file of DDL makes this walk in circles. */
        if (!child || !child->made.is_partition || *(uint32_t *)child->parents.items != relation->made.oid)
            continue;
        child->made.has_triggers |= relation->made.has_triggers;
        inherit_keys(draft, relation, child);
        inherit(draft, child, depth + 1);
    }
}

static bool fill_relations(struct draft *draft)
{
    size_t count = draft->relations.count;
    struct schema_relation *relations = arena_allocate(draft->arena, count * sizeof *relations);
    for (size_t i = 0; i < count; i++)
        if (!relation_at(draft, i)->made.is_partition)
            inherit(draft, relation_at(draft, i), 0);
    for (size_t i = 0; relations && i < count; i++) {
        const struct draft_relation *draft_one = relation_at(draft, i);
        relations[i] = draft_one->made;
        relations[i].columns = draft_one->columns.items, relations[i].column_count = draft_one->columns.count;
        relations[i].parents = draft_one->parents.items, relations[i].parent_count = draft_one->parents.count;
        relations[i].children = draft_one->children.items, relations[i].child_count = draft_one->children.count;
        relations[i].policies_read = draft_one->policies_read.items;
        relations[i].policies_read_count = draft_one->policies_read.count;
        relations[i].keys = draft_one->keys.items, relations[i].key_count = draft_one->keys.count;
    }
    if (!relations || draft->failed)
        return false;
    schema_place(draft->schema->model, relations, count);
    draft->schema->relations = relations;
    draft->schema->relation_count = count;
    return true;
}

static int compare_functions(const void *a, const void *b)
{
    const struct schema_function *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    return order ? order : (left->oid > right->oid) - (left->oid < right->oid);
}

static bool fill_types(struct draft *draft)
{
    struct schema_type *types = arena_allocate(draft->arena, draft->types.count * sizeof *types);
    for (size_t i = 0; types && i < draft->types.count; i++)
        types[i] = *type_at(draft, i);
    draft->schema->types = types;
    draft->schema->type_count = draft->types.count;
    return types != NULL;
}

mosaic_status draft_finish(struct draft *draft, mosaic_error *error)
{
    struct schema *schema = draft->schema;
    if (draft->failed || !fill_relations(draft) || !fill_types(draft))
        return error_memory(error);
    qsort(draft->functions.items, draft->functions.count, sizeof(struct schema_function), compare_functions);
    schema->functions = draft->functions.items, schema->function_count = draft->functions.count;
    schema->operators = draft->operators.items, schema->operator_count = draft->operators.count;
    schema->namespaces = draft->namespaces.items, schema->namespace_count = draft->namespaces.count;
    return schema_index(schema, error);
}
