/*
 * An open cluster: the map as it was read last, and a pool for each shard.
 *
 * The model is an immutable snapshot with a reference count. A refresh makes a new one and swaps it in; who holds the
 * old one keeps a consistent map until it lets go. The shards are those of the config at opening and never change.
 *
 *     struct snapshot *snapshot = cluster_snapshot(cluster);
 *     ... snapshot->model ...
 *     snapshot_release(snapshot);
 */
#ifndef MOSAIC_CLIENT_CLUSTER_H
#define MOSAIC_CLIENT_CLUSTER_H

#include "client/pool.h"
#include "core/model.h"

#include <stdatomic.h>

enum { LEASE_CHAINS = 64 };

struct snapshot {
    atomic_uint references;
    struct model model;
};

struct mosaic_cluster {
    mosaic_options options; /* with the defaults filled in */
    char *config;           /* its text, to be parsed again by a refresh, and its source's name; both owned */
    size_t config_size;
    char *source;

    struct snapshot *first; /* as opened: owns the names and conninfos of the shards */
    pthread_mutex_t mutex;  /* of all below, but for the pools */
    struct snapshot *current;
    _Atomic uint64_t epoch; /* current's */

    pthread_mutex_t reading; /* one refresh at a time; taken before `mutex` */
    struct job refresh;
    bool refresh_queued, refresh_again;
    uint64_t refreshes; /* done in the background */
    mosaic_status refresh_status;
    mosaic_error refresh_error;

    struct background refresher, reaper;
    struct pool *pools; /* shard_count */
    size_t shard_count;
    struct lease *handed_out[LEASE_CHAINS]; /* by mosaic_acquire; chained by the connection's address */
};

/* The current model; to be released. */
struct snapshot *cluster_snapshot(mosaic_cluster *cluster);
void snapshot_release(struct snapshot *snapshot);

/* now + timeout_ms, or + the cluster's default for 0. MOSAIC_USAGE when it is negative. */
MOSAIC_MUST_CHECK mosaic_status cluster_deadline(const mosaic_cluster *cluster, int timeout_ms, int64_t *deadline,
                                                 mosaic_error *error);

/* The sharded table of this name, with its map. */
MOSAIC_MUST_CHECK mosaic_status cluster_sharded_table(const struct model *model, const char *name,
                                                      const struct table **found, mosaic_error *error);
/* Bucket and shard of a key by this model. */
MOSAIC_MUST_CHECK mosaic_status cluster_locate(const struct model *model, const char *table, mosaic_key key,
                                               mosaic_place *place, mosaic_error *error);

/* Asks for a refresh in the background; the ticket is for cluster_refreshed. */
uint64_t cluster_refresh_begin(mosaic_cluster *cluster);
/* AGAIN until the refresh of the ticket is done (look again in REFRESH_LOOK_MS), then how it went. */
MOSAIC_MUST_CHECK mosaic_status cluster_refreshed(mosaic_cluster *cluster, uint64_t ticket, mosaic_error *error);

enum { REFRESH_LOOK_MS = 5 };

#endif
