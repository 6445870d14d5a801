/*
 * What the catalog database says, read in one statement and so at one moment. All of it lives in the given arena.
 */
#ifndef MOSAIC_CATALOG_STATE_H
#define MOSAIC_CATALOG_STATE_H

#include "base/buffer.h"
#include "core/model.h"
#include "pq/pq.h"

enum { CATALOG_SCHEMA_VERSION = 1 };

struct catalog_shard {
    int id;
    const char *name, *address, *identity;
};

/* Tables with the same function, buckets, bounds and class of key, so that equal keys share a shard. */
struct colocation {
    int id;
    enum sharding_function function;
    const char *const *key_class;
    size_t columns;
    const char *const *bounds;
    size_t bound_count;
    const uint16_t *owners; /* index into state.shards of each bucket */
    uint32_t buckets;
};

struct catalog_table {
    const char *schema, *name;
    enum table_kind kind;
    const char *const *columns;
    enum key_type types[KEY_COLUMNS_MAX];
    size_t column_count;
    const struct colocation *colocation; /* NULL for a reference table */
};

struct catalog_state {
    const char *cluster, *engine;
    uint64_t epoch;
    struct catalog_shard *shards;
    size_t shard_count;
    struct colocation *colocations;
    size_t colocation_count;
    struct catalog_table *tables;
    size_t table_count;
};

/* Who this database says it is (mosaic.epoch). */
struct shard_identity {
    bool present;
    const char *cluster, *shard, *catalog;
    uint64_t epoch;
};

/*
 * Reads the catalog. MOSAIC_PREFLIGHT when this database has none (and says in *error that apply makes one);
 * MOSAIC_UNSUPPORTED when a newer pgmosaic wrote it; MOSAIC_INTERNAL naming what is damaged.
 */
MOSAIC_MUST_CHECK mosaic_status state_read(PGconn *connection, const char *shard, int64_t deadline, struct arena *arena,
                                           struct catalog_state *state, mosaic_error *error);
/* Reads mosaic.epoch; present is false when there is none. */
MOSAIC_MUST_CHECK mosaic_status state_identity(PGconn *connection, const char *shard, int64_t deadline,
                                               struct arena *arena, struct shard_identity *identity,
                                               mosaic_error *error);
const struct catalog_table *state_table(const struct catalog_state *state, const char *schema, const char *name);
/* Index by name; SIZE_MAX if there is none. */
size_t state_shard(const struct catalog_state *state, const char *name);
/* How many buckets of how many colocations the shard owns. */
uint64_t state_owned(const struct catalog_state *state, size_t shard);

/* The class of a key type: types of one class give equal keys equal buckets. Static storage. */
const char *state_key_class(enum key_type type);

/* How many bound texts a rule has: one less than buckets for range, as many for list, else none. */
size_t state_bound_count(const struct rule *rule);
bool state_same_texts(const char *const *a, size_t a_count, const char *const *b, size_t b_count);

/* Splits the text form of a text[] without NULLs. False when it is malformed or memory is out. */
bool state_split_array(struct arena *arena, const char *text, const char *const **items, size_t *count);
/* Appends a text[] literal with its quotes, as an SQL expression: ARRAY['a','b']::text[]. */
void state_add_array(struct buffer *sql, const char *const *items, size_t count);

#endif
