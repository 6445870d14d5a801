/*
 * What stands on one shard: the server's and the database's settings, and of each table asked for everything that
 * decides whether it can be sharded. Values only, in the caller's arena: preflight.c and difference.c judge them
 * without a server.
 */
#ifndef MOSAIC_CATALOG_INTROSPECT_H
#define MOSAIC_CATALOG_INTROSPECT_H

#include "catalog/state.h"

#define OWNER_CONSTRAINT "mosaic_owner"

struct table_name {
    const char *schema, *name, *display;
};

struct sequence_facts {
    const char *name; /* NULL: the column has none */
    int64_t increment, start, least, most;
    bool cycles;
    bool is_owned; /* by this table: it comes and goes with it */
};

struct column_facts {
    const char *name, *type; /* type as format_type says it, with modifier */
    unsigned type_oid;
    char type_kind; /* pg_type.typtype: b base, d domain, e enum, c composite, r range */
    bool not_null;
    const char *default_text; /* or the generation expression; "" for none */
    const char *collation;    /* "" where it is the type's own */
    bool deterministic;       /* the collation is */
    char identity, generated; /* pg_attribute's letters; 0 for none */
    struct sequence_facts sequence;
};

struct constraint_facts {
    const char *name, *definition;
    const char *partition; /* that has it alone, as SQL; "": the table has it */
    char type;             /* pg_constraint.contype: p u f c x t */
    bool validated;
    const char *const *columns; /* "" for an expression */
    size_t column_count;
    const char *const *unlike; /* columns that an exclusion constraint compares by another equality than their own */
    size_t unlike_count;
    const char *const *operators; /* of an exclusion constraint, parallel to columns */
    size_t operator_count;
    const char *foreign_schema, *foreign_table; /* of a foreign key, else ""; of a partition, its root's */
    const char *const *foreign_columns;
    size_t foreign_column_count;
    const char *comment;
};

struct index_facts {
    const char *name, *definition;
    const char *partition; /* that has it alone, as SQL: known of unique ones; "": the table has it */
    bool unique, partial_or_expression, of_constraint, valid;
    const char *const *columns;
    size_t column_count;
    const char *const *unlike; /* columns that it compares by another equality than their own */
    size_t unlike_count;
};

struct trigger_facts {
    const char *name, *definition, *source, *language;
    const char *schema, *table; /* that it is on: the table's, or a partition of it */
    char enabled;               /* pg_trigger.tgenabled */
    char parent;                /* the same of the one that it was made from, on the partition's parent; 0: none */
};

struct table_facts {
    bool exists;
    bool grows;       /* of the home shard: it stands there alone, and the config spreads it (grow.h) */
    bool arrives;     /* of another shard: it grows, and is still to be made here; nothing else of it is known */
    bool returns;     /* of the home shard: the config does not spread it any more (homeward.h) */
    char kind;        /* pg_class.relkind */
    char persistence; /* pg_class.relpersistence */
    bool is_partition, has_children, has_parents, may_alter, row_security;
    const char *rules, *policies; /* names, comma separated; "" for none */
    double estimated_rows;        /* -1: never analysed */
    uint64_t bytes;
    struct column_facts *columns;
    struct constraint_facts *constraints;
    struct index_facts *indexes;
    struct trigger_facts *triggers;
    size_t column_count, constraint_count, index_count, trigger_count;
};

/* What a new session is given: whoever logs in, or the role. */
struct setting_facts {
    const char *role; /* "": who has none of its own */
    const char *name, *value;
};

struct shard_facts {
    const char *shard;
    int version_number;
    const char *version, *user, *database;
    const char *encoding, *collate, *ctype, *provider, *icu_locale, *collation_version;
    int max_prepared_transactions;
    bool in_recovery, read_only, may_create, has_schema, schema_usable;
    bool epoch_hidden;    /* there is a mosaic.epoch, and not every role may read it */
    bool cannot_decide;   /* there is one, but not mosaic.decide and mosaic.forget for every role */
    const char *ids;      /* comment of mosaic.next_id(), which says its version and shard; "" where there is none */
    const char *identity; /* system identifier/OID of the database; "" where the role may not read it */
    uint64_t bytes;
    uint64_t prepared, prepared_old; /* transactions of ours prepared here; those older than a minute */
    const char *const *prepared_gids;
    size_t prepared_gid_count;
    struct setting_facts *settings; /* of SESSION_SETTING_LIST (session_settings.h) */
    size_t setting_count;
    const char *const *roles; /* of the server */
    size_t role_count;
    struct shard_identity mosaic;
    struct table_facts *tables; /* parallel to the names asked for */
    struct table_name *owned;   /* every table that has a constraint mosaic_owner of its own */
    size_t owned_count;
    bool arrivals_known;         /* there is a mosaic.arrival, and the role may read it */
    struct table_name *arrivals; /* tables that stand in it */
    size_t arrival_count;
};

/* Appends (VALUES (0, schema, name), …), or as many rows as there are names: none. */
void introspect_add_names(struct buffer *sql, const struct table_name *names, size_t count);
/* Reads it all, in one read-only REPEATABLE READ transaction. */
MOSAIC_MUST_CHECK mosaic_status introspect_shard(PGconn *connection, const char *shard, const struct table_name *names,
                                                 size_t count, int64_t deadline, struct arena *arena,
                                                 struct shard_facts *facts, mosaic_error *error);
const struct column_facts *facts_column(const struct table_facts *table, const char *name);
/* The names of its columns, a comma between two, without the generated ones. */
void facts_add_columns(struct buffer *sql, const struct table_facts *table);
/* Does the table stand in the shard's mosaic.arrival? */
bool facts_arrival(const struct shard_facts *facts, const char *schema, const char *name);
/* The constraint mosaic_owner; NULL if there is none. */
const struct constraint_facts *facts_owner(const struct table_facts *table);

#endif
