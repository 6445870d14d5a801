/*
 * A schema while it is made, thing by thing: what exists already can be found and changed. For schema_file.c.
 *
 *     draft_open(&draft, schema, model);
 *     relation = draft_add_relation(&draft, "public", "users", 'r');
 *     column = draft_add_column(&draft, relation, "id");
 *     column->type = …;
 *     status = draft_finish(&draft, error);
 *
 * Everything is in the schema's arena. When memory is out, `failed` is set, calls return NULL, and draft_finish says
 * so; names are not copied.
 */
#ifndef MOSAIC_SQL_DRAFT_H
#define MOSAIC_SQL_DRAFT_H

#include "sql/builtin.h"

/* Grows by doubling. */
struct draft_list {
    void *items;
    size_t count, capacity;
};

struct draft_relation {
    struct schema_relation made;                        /* its arrays are filled by draft_finish */
    struct draft_list columns;                          /* of struct schema_column */
    struct draft_list parents, children, policies_read; /* of uint32_t */
    struct draft_list keys;                             /* of struct schema_foreign_key */
};

enum { DRAFT_BUCKETS = 8192 };

struct draft {
    struct schema *schema;
    struct arena *arena;
    struct draft_list relations; /* of struct draft_relation * */
    struct draft_list types;     /* of struct schema_type *, by OID */
    struct draft_list functions; /* of struct schema_function */
    struct draft_list operators; /* of struct schema_operator */
    struct draft_list namespaces;
    struct draft_name *relation_names[DRAFT_BUCKETS], *type_names[DRAFT_BUCKETS];
    uint32_t next_oid;
    bool failed;
};

/* Begins with what every PostgreSQL has. MOSAIC_MEMORY is the only failure. */
MOSAIC_MUST_CHECK mosaic_status draft_open(struct draft *draft, struct schema *schema, const struct model *model,
                                           mosaic_error *error);
/* A zeroed item at the list's end; NULL when memory is out. Earlier items may move. */
void *draft_append(struct draft *draft, struct draft_list *list, size_t size);
bool draft_append_oid(struct draft *draft, struct draft_list *list, uint32_t oid);

void draft_add_namespace(struct draft *draft, const char *name);
bool draft_has_namespace(const struct draft *draft, const char *name);

struct draft_relation *draft_relation(const struct draft *draft, const char *namespace, const char *name);
struct draft_relation *draft_relation_by_oid(const struct draft *draft, uint32_t oid);
/* With its row type, and the array type of that, where its kind has one. */
struct draft_relation *draft_add_relation(struct draft *draft, const char *namespace, const char *name, char kind);
struct schema_column *draft_column(const struct draft_relation *relation, const char *name);
struct schema_column *draft_add_column(struct draft *draft, struct draft_relation *relation, const char *name);
void draft_drop_column(struct draft_relation *relation, const char *name);

struct schema_type *draft_type(const struct draft *draft, const char *namespace, const char *name);
struct schema_type *draft_type_by_oid(const struct draft *draft, uint32_t oid);
/* With its array type. */
struct schema_type *draft_add_type(struct draft *draft, const char *namespace, const char *name, char kind,
                                   char category);

/* Fills and indexes the schema. */
MOSAIC_MUST_CHECK mosaic_status draft_finish(struct draft *draft, mosaic_error *error);

#endif
