/*
 * The model of a cluster: what mosaic.yaml says and what the catalog knows, as one value in one arena.
 */
#ifndef MOSAIC_CORE_MODEL_H
#define MOSAIC_CORE_MODEL_H

#include "core/map.h"
#include "core/rule.h"

/* X(identifier, name in the config) */
#define ENGINE_LIST(X)      \
    X(POSTGRES, "postgres") \
    X(CITUS, "citus")
enum engine_kind {
#define X(identifier, name) ENGINE_##identifier,
    ENGINE_LIST(X)
#undef X
        ENGINE_COUNT
};

/* X(identifier, name in the config) */
#define TABLE_KIND_LIST(X) \
    X(SHARDED, "sharded")  \
    X(REFERENCE, "reference")
enum table_kind {
#define X(identifier, name) TABLE_##identifier,
    TABLE_KIND_LIST(X)
#undef X
        TABLE_KIND_COUNT
};

const char *engine_name(enum engine_kind engine);
const char *table_kind_name(enum table_kind kind);

/* A Citus cluster has one, called "coordinator": it spreads the rows itself. */
struct shard {
    const char *name;
    const char *conninfo; /* for libpq; may hold a password: never print it, use pq_conninfo_masked */
    uint32_t weight;      /* of its share of buckets; 1 by default */
    const char *internal; /* what of the conninfo is otherwise for the coordinator (host, port); NULL: nothing */
};

/* A node of a Citus cluster, as pg_dist_node has it. */
struct citus_node {
    const char *name; /* host:port */
    const char *host;
    int port, id, group;
    bool active, has_shards; /* pg_dist_node.isactive, shouldhaveshards */
};

/* The shards of a table on Citus: shard i holds bucket i of its rule; a reference table has one. */
struct citus_shards {
    uint32_t count;
    const int64_t *ids;
    const uint16_t *nodes; /* index into model->nodes of each one's placement; a reference table's: the first */
    int colocation;        /* pg_dist_partition.colocationid */
};

struct table {
    const char *schema, *name; /* unquoted; schema "public" unless the config says another */
    const char *display;       /* schema.name, without "public.", quoted where needed */
    enum table_kind kind;
    const char *columns[KEY_COLUMNS_MAX]; /* sharding key columns, unquoted; none for a reference table */
    size_t column_count;
    /*
     * rule.types and rule.bounds are known after the columns' types are (catalog or --type); the config alone has the
     * function, buckets (0: not said) and bound_texts.
     */
    struct rule rule;
    const uint16_t *listed_owners;     /* range and list: owner of each bucket as the config says; else NULL */
    bool applied;                      /* the catalog has it as the config says it */
    const struct map *map;             /* of an applied sharded table; colocated tables share one */
    uint32_t shard_count;              /* citus: as the config has it; 0: not said */
    const struct table *colocate_with; /* citus: the table of this model whose shards it shares; NULL: its own group */
    const struct citus_shards *citus;  /* of an applied table on Citus */
    int line;                          /* in the config, 0 if not from there */
};

/* A setting of the config's `proxy:` section, as written: config/settings.h knows what it means, and checked it. A list
 * has its words as settings_set reads them. */
struct model_setting {
    const char *name, *value;
    int line;
};

struct model {
    struct arena arena; /* owns everything below */
    const char *source; /* file name for messages */
    const char *name;   /* of the cluster */
    enum engine_kind engine;
    struct shard *shards;
    size_t shard_count;
    /*
     * engine postgres: conninfo of the database that sees the whole cluster (catalog/coordinator.h); may hold a
     * password. NULL: there is none. Where the config does not say, it is the one beside the home shard.
     */
    const char *coordinator;
    bool coordinator_is_default;
    const struct citus_node *nodes; /* of a Citus cluster, once it was asked */
    size_t node_count;
    struct table *tables;
    size_t table_count;
    uint64_t epoch; /* 0 until applied */
    const struct model_setting *settings;
    size_t setting_count;
};

/* As which shard the coordinator's database knows itself, and what errors call it. '@' is in no shard's name. */
#define COORDINATOR_NAME "@coordinator"

/* Shards, and behind them, in `shards`, the coordinator, where there is one: it owns no bucket. */
static inline size_t model_places(const struct model *model)
{
    return model->shard_count + (model->coordinator != NULL);
}
/* By a name as a person types it: users, public.users, "Users". NULL if there is none. */
const struct table *model_table(const struct model *model, const char *name);
/* By name or, if no name matches, by a number from 0; SIZE_MAX if there is none. */
size_t model_shard(const struct model *model, const char *name);
/* Splits a typed table name into unquoted schema (or "public") and name. MOSAIC_USAGE if it is malformed. */
MOSAIC_MUST_CHECK mosaic_status model_table_name(struct arena *arena, const char *typed, const char **schema,
                                                 const char **name, mosaic_error *error);
/* schema.name as it is shown and typed: without "public.", quoted where needed. NULL when memory is out. */
const char *model_display_name(struct arena *arena, const char *schema, const char *name);
/* Frees the model's arena. */
void model_free(struct model *model);

#endif
