/*
 * What the readers of mosaic.yaml share: the values as libcyaml fills them in, and the state of one reading.
 */
#ifndef MOSAIC_CONFIG_READING_H
#define MOSAIC_CONFIG_READING_H

#include "config/outline.h"
#include "config/settings.h"
#include "core/model.h"

struct yaml_shard {
    char *name, *conninfo, *internal;
    uint32_t *weight;
};

struct yaml_range {
    char *below, *shard;
};

struct yaml_list {
    char **values;
    uint32_t values_count;
    char *shard;
};

struct yaml_table {
    char *name, *kind, *function;
    char **key;
    uint32_t key_count;
    uint32_t *buckets, *shard_count;
    char *colocate_with;
    struct yaml_range *ranges;
    uint32_t ranges_count;
    struct yaml_list *lists;
    uint32_t lists_count;
};

/* The section `proxy:`: all values are texts here, settings_set reads them. Parallel to PROXY_SETTING_LIST. */
struct yaml_setting {
    char *text;   /* NULL: not said */
    char **words; /* of a list, instead of text */
    uint32_t words_count;
};

struct yaml_proxy {
#define X(name, kind, initial, least, most, reloads, help) struct yaml_setting name;
    PROXY_SETTING_LIST(X)
#undef X
};

struct yaml_cluster {
    char *cluster, *engine, *coordinator;
    struct yaml_shard *shards;
    uint32_t shards_count;
    struct yaml_table *tables;
    uint32_t tables_count;
    struct yaml_proxy *proxy;
};

struct reading {
    const char *source;
    struct outline outline;
    struct model *model;
    mosaic_error *error;
};

/* Refuses with the line of the key. Returns MOSAIC_CONFIG. */
__attribute__((format(printf, 5, 6))) mosaic_status
config_refuse(struct reading *reading, const char *section, size_t entry, const char *key, const char *format, ...);
/* A copy in the model's arena; NULL when memory is out. */
char *config_copy(struct reading *reading, const char *text);

extern const cyaml_schema_field_t config_proxy_fields[];
/* Takes the section `proxy:` into the model, and refuses what no setting takes. */
MOSAIC_MUST_CHECK mosaic_status config_take_proxy(struct reading *reading, const struct yaml_proxy *yaml);

/* Takes all tables into the model, whose engine and shards are there. */
MOSAIC_MUST_CHECK mosaic_status config_take_tables(struct reading *reading, const struct yaml_cluster *yaml);

#endif
