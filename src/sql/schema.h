/*
 * The schema as analysis must know it: relations, types, functions, operators. A value: read whole by
 * catalog/schema_read.h (or from a file of DDL by sql/schema_file.h), indexed once, never changed afterwards, shared by
 * all threads.
 *
 * What is not in it is not known, and what is not known proves nothing: analysis treats a relation, function or
 * operator that it does not find as one PostgreSQL would (42P01 comes from the home shard) or as unproved.
 *
 * OIDs are those of the home shard; schema_oid_on maps the types whose OIDs differ elsewhere.
 */
#ifndef MOSAIC_SQL_SCHEMA_H
#define MOSAIC_SQL_SCHEMA_H

#include "core/model.h"

/* Where a relation's rows are. */
enum placement {
    PLACE_HOME,      /* on the home shard only: every table, view or sequence that is not configured */
    PLACE_SHARDED,   /* each row on one shard: relation->table says how */
    PLACE_REFERENCE, /* whole on every shard */
    PLACE_SYSTEM,    /* pg_catalog, information_schema: each server's own; asked of the home shard */
};

struct schema_column {
    const char *name;
    uint32_t type;    /* OID */
    int32_t modifier; /* atttypmod */
    int16_t number;   /* attnum, from 1 */
    bool not_null;
    bool is_generated; /* GENERATED ALWAYS AS (…) STORED */
    bool has_default;  /* or an identity */
    /* Its default is the same wherever it is computed in one moment: of constants, and of the transaction's time. */
    bool default_same;
    bool default_clock; /* the default reads the time */
    bool default_id;    /* the default is mosaic.next_id() */
    bool deterministic; /* collation's pg_collation.collisdeterministic; true where it has none */
    bool plain;         /* its collation is the database's default */
    bool bytewise;      /* its collation compares bytes: C or POSIX, or the database's default where that is one */
};

/* A foreign key in which the relation takes part, on either side. */
struct schema_foreign_key {
    uint32_t from, to;         /* OIDs of the referencing and the referenced relation */
    char on_update, on_delete; /* pg_constraint.confupdtype, confdeltype: a r c n d */
};

struct schema_relation {
    const char *schema, *name;
    uint32_t oid;
    char kind; /* pg_class.relkind: r p v m f S i t c */
    enum placement placement;
    const struct table
        *table; /* of schema->model, for PLACE_SHARDED (of a partition: its root's) and PLACE_REFERENCE */
    const struct schema_column *columns; /* without dropped ones, by attnum */
    size_t column_count;
    /* A view's SELECT as pg_get_viewdef gives it under search_path = pg_catalog: every name in it is qualified. */
    const char *view;
    /* From a file of DDL, the search_path of those names; NULL: pg_catalog alone, as above. */
    const char *const *view_path;
    size_t view_path_count;
    bool has_rules;                /* other than a view's own _RETURN */
    bool has_triggers;             /* of the user: not internal ones */
    bool has_truncate_triggers;    /* some are for TRUNCATE */
    bool has_row_security;         /* relrowsecurity */
    const uint32_t *policies_read; /* OIDs of relations that its policies' expressions name (pg_depend) */
    size_t policies_read_count;
    bool has_policy_function; /* a policy calls a function that is not PostgreSQL's own */
    const struct schema_foreign_key *keys;
    size_t key_count;
    const uint32_t *parents; /* pg_inherits: partitions and children have one or more */
    size_t parent_count;
    const uint32_t *children;
    size_t child_count;
    bool is_partition;
};

struct schema_type {
    const char *schema, *name;
    uint32_t oid;
    char kind;     /* pg_type.typtype: b c d e p r m */
    char category; /* pg_type.typcategory */
    uint32_t base; /* of a domain, else 0 */
    int32_t base_modifier;
    uint32_t element;    /* of an array (typcategory A), else 0 */
    uint32_t array;      /* its array type, or 0 */
    uint32_t relation;   /* of a row type, else 0 */
    uint32_t within;     /* of a range its subtype, of a multirange its range, else 0 */
    bool default_varies; /* a domain that has a default, which could be another value on each shard */
    bool text_alone;     /* it has no binary form: typsend or typreceive is 0 */
};

struct schema_function {
    const char *schema, *name;
    uint32_t oid;
    const uint32_t *arguments;
    size_t argument_count;
    uint32_t result;
    char kind;       /* pg_proc.prokind: f a w p */
    char volatility; /* pg_proc.provolatile: i s v */
    bool returns_set;
    bool is_system; /* in pg_catalog: PostgreSQL's own */
    bool is_strict;
};

/* An operator outside pg_catalog: it may be what an unqualified `=` means. PostgreSQL's own are known by heart. */
struct schema_operator {
    const char *schema, *name;
    uint32_t left, right; /* OIDs; 0: none */
    bool may_read;        /* its function is not IMMUTABLE */
};

struct schema {
    struct arena arena;        /* owns all below, but the model */
    uint64_t version;          /* differs for each reading */
    const struct model *model; /* completed by the catalog: rules, maps, epoch; lives at least as long */
    size_t home;               /* index of the home shard in the model */
    const struct schema_relation *relations;
    size_t relation_count;
    const struct schema_type *types; /* ascending by oid */
    size_t type_count;
    const struct schema_function *functions; /* ascending by name */
    size_t function_count;
    const struct schema_operator *operators;
    size_t operator_count;
    const char *const *namespaces;
    size_t namespace_count;
    int64_t defaults; /* a number over what ALTER ROLE … SET and the like give to new sessions; 0: not read */
    int64_t sight;    /* and over what shows each role its schemas; 0: not read */
    /* types[i]'s OID at place s (model_places): type_oids[s * type_count + i], 0 where it has none; NULL: all equal. */
    const uint32_t *type_oids;
    struct schema_index *index; /* made by schema_index */
};

/* Builds the look-up tables of a filled schema, in its arena. MOSAIC_INTERNAL names what contradicts itself. */
MOSAIC_MUST_CHECK mosaic_status schema_index(struct schema *schema, mosaic_error *error);

/* NULL where there is none. Names are unquoted. */
const struct schema_relation *schema_relation(const struct schema *schema, const char *namespace, const char *name);
const struct schema_relation *schema_relation_by_oid(const struct schema *schema, uint32_t oid);
const struct schema_type *schema_type(const struct schema *schema, const char *namespace, const char *name);
const struct schema_type *schema_type_by_oid(const struct schema *schema, uint32_t oid);
/* The functions of a name in all schemas, adjacent; *count may be 0. */
const struct schema_function *schema_functions(const struct schema *schema, const char *name, size_t *count);
bool schema_has_namespace(const struct schema *schema, const char *namespace);
const struct schema_column *schema_column(const struct schema_relation *relation, const char *name);
/* The type below all domains: its OID, and its modifier into *modifier where that is not -1. */
uint32_t schema_base_type(const struct schema *schema, uint32_t type, int32_t *modifier);
/* The type of an array's elements, below all domains; 0: it is no array. */
uint32_t schema_element_type(const struct schema *schema, uint32_t array);
/* Is it a domain over a text, or an array of such? Its collation is what is compared by, and not known here: it may be
 * one in which different texts are equal. */
bool schema_is_text_domain(const struct schema *schema, uint32_t type);
/* The home shard's type OID as another shard has it, and back. The same OID where they agree; 0 where it has none. */
uint32_t schema_oid_on(const struct schema *schema, size_t shard, uint32_t oid);
uint32_t schema_oid_from(const struct schema *schema, size_t shard, uint32_t oid);

/* Frees the arena; not the model. */
void schema_free(struct schema *schema);

#endif
