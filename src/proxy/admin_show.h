/*
 * SHOW: what is known of the proxy, as values → rows. Pure but for the form of times of day.
 */
#ifndef MOSAIC_PROXY_ADMIN_SHOW_H
#define MOSAIC_PROXY_ADMIN_SHOW_H

#include "config/settings.h"
#include "proxy/admin_columns.h"
#include "proxy/snapshot.h"
#include "proxy/totals.h"

/* A shard as SHOW SHARDS has it. */
struct shard_view {
    const char *host, *port, *database; /* those of its conninfo, by commas */
    const char *state;
    bool is_home, is_paused;
    int64_t connections;
    int64_t budget;     /* most that the pools may open */
    int64_t server_max; /* -1: not known */
    bool is_coordinator;
};

struct user_view {
    const char *name;
    int64_t connections, clients;
};

struct list_view {
    const char *name;
    int64_t items;
};

/* Everything that SHOW may need; only what the command reads must be there. */
struct admin_view {
    const struct proxy_settings *settings, *defaults;
    const struct model *model;
    const struct snapshot *snapshot;
    const struct totals *totals;
    const struct shard_view *shards; /* model_places */
    const struct user_view *users;
    size_t user_count;
    const struct list_view *lists, *memory;
    size_t list_count, memory_count;
    int64_t clients;
    bool paused, disabled, stopping;
    const char *table; /* SHOW MAP: of this one alone; NULL: all */
};

/* Adds the rows to a started table. MOSAIC_NOT_FOUND: no such table. */
MOSAIC_MUST_CHECK mosaic_status admin_show(enum admin_command command, const struct admin_view *view,
                                           struct admin_table *table, mosaic_error *error);

#endif
