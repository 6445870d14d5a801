#include "client/cluster.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "config/config.h"
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    CONFIG_MOST = 4 * 1024 * 1024, /* bytes; as config_read */
    POOL_SIZE_MOST = 10000,
};

/* ---- snapshots -------------------------------------------------------------------------------------- */

struct snapshot *cluster_snapshot(mosaic_cluster *cluster)
{
    pthread_mutex_lock(&cluster->mutex);
    struct snapshot *snapshot = cluster->current;
    atomic_fetch_add(&snapshot->references, 1);
    pthread_mutex_unlock(&cluster->mutex);
    return snapshot;
}

void snapshot_release(struct snapshot *snapshot)
{
    if (!snapshot || atomic_fetch_sub(&snapshot->references, 1) > 1)
        return;
    model_free(&snapshot->model);
    memory_free(snapshot);
}

/* Parses the config; *snapshot has one reference. */
static mosaic_status parse(const mosaic_cluster *cluster, struct snapshot **snapshot, mosaic_error *error)
{
    struct snapshot *parsed = memory_zeroed(1, sizeof *parsed);
    if (!parsed)
        return error_memory(error);
    mosaic_status status = config_parse(cluster->config, cluster->config_size, cluster->source, &parsed->model, error);
    if (status != MOSAIC_OK) {
        memory_free(parsed);
        return status;
    }
    atomic_store(&parsed->references, 1);
    *snapshot = parsed;
    return MOSAIC_OK;
}

/* Config and catalog together. The first shard is the catalog. */
static mosaic_status read_model(const mosaic_cluster *cluster, struct snapshot **snapshot, mosaic_error *error)
{
    struct snapshot *fresh = NULL;
    PGconn *catalog = NULL;
    mosaic_status status = parse(cluster, &fresh, error);
    if (status != MOSAIC_OK)
        return status;
    const struct shard *shard = &fresh->model.shards[0];
    status = pq_connect(shard->conninfo, shard->name, cluster->options.application_name,
                        pq_deadline(cluster->options.connect_timeout_ms), &catalog, error);
    if (status == MOSAIC_OK)
        status = engine_of(fresh->model.engine)
                     ->complete(&fresh->model, catalog, pq_deadline(cluster->options.default_timeout_ms), error);
    PQfinish(catalog);
    if (status == MOSAIC_OK)
        *snapshot = fresh;
    else
        snapshot_release(fresh);
    return status;
}

/* ---- refresh ---------------------------------------------------------------------------------------- */

static mosaic_status swap_in(mosaic_cluster *cluster, struct snapshot *fresh, mosaic_error *error)
{
    pthread_mutex_lock(&cluster->mutex);
    struct snapshot *old = cluster->current;
    uint64_t before = old->model.epoch, now = fresh->model.epoch;
    if (now >= before) {
        cluster->current = fresh;
        atomic_store(&cluster->epoch, now);
    }
    pthread_mutex_unlock(&cluster->mutex);
    snapshot_release(now >= before ? old : fresh);
    if (now >= before)
        return MOSAIC_OK;
    error_set(error, MOSAIC_STALE, "the catalog's epoch went back from %llu to %llu", (unsigned long long)before,
              (unsigned long long)now);
    error_hint(error, "was the catalog's shard restored from a backup? run pgmosaic doctor");
    return MOSAIC_STALE;
}

mosaic_status mosaic_refresh(mosaic_cluster *cluster, mosaic_error *error)
{
    if (!cluster)
        return error_set(error, MOSAIC_USAGE, "mosaic_refresh: no cluster given");
    struct snapshot *fresh = NULL;
    pthread_mutex_lock(&cluster->reading);
    mosaic_status status = read_model(cluster, &fresh, error);
    if (status == MOSAIC_OK)
        status = swap_in(cluster, fresh, error);
    pthread_mutex_unlock(&cluster->reading);
    return status;
}

static void run_refresh(struct job *job)
{
    mosaic_cluster *cluster = (mosaic_cluster *)((char *)job - offsetof(mosaic_cluster, refresh));
    bool again;
    do {
        mosaic_error error;
        mosaic_status status = mosaic_refresh(cluster, &error);
        pthread_mutex_lock(&cluster->mutex);
        cluster->refresh_status = status;
        if (status != MOSAIC_OK)
            cluster->refresh_error = error;
        cluster->refreshes++;
        again = cluster->refresh_again;
        cluster->refresh_again = false;
        cluster->refresh_queued = again;
        pthread_mutex_unlock(&cluster->mutex);
    } while (again);
}

uint64_t cluster_refresh_begin(mosaic_cluster *cluster)
{
    pthread_mutex_lock(&cluster->mutex);
    uint64_t ticket = cluster->refreshes + 1;
    if (cluster->refresh_queued) {
        /* It may have read the catalog before the news that our caller has. */
        cluster->refresh_again = true;
        ticket++;
    } else if (background_add(&cluster->refresher, &cluster->refresh)) {
        cluster->refresh_queued = true;
    } else {
        cluster->refresh_status = error_memory(&cluster->refresh_error);
        cluster->refreshes++;
    }
    pthread_mutex_unlock(&cluster->mutex);
    return ticket;
}

mosaic_status cluster_refreshed(mosaic_cluster *cluster, uint64_t ticket, mosaic_error *error)
{
    pthread_mutex_lock(&cluster->mutex);
    mosaic_status status = cluster->refreshes < ticket ? MOSAIC_AGAIN : cluster->refresh_status;
    if (status != MOSAIC_OK && status != MOSAIC_AGAIN && error)
        *error = cluster->refresh_error;
    pthread_mutex_unlock(&cluster->mutex);
    return status;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static char *copy_text(const char *text, size_t size)
{
    char *copy = memory_allocate(size + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

static mosaic_status set_option(int *option, const char *name, int given, int otherwise, mosaic_error *error)
{
    *option = given ? given : otherwise;
    if (given < 0)
        return error_set(error, MOSAIC_USAGE, "option %s is %d: it must not be negative", name, given);
    return MOSAIC_OK;
}

static mosaic_status set_options(mosaic_cluster *cluster, const mosaic_options *given, mosaic_error *error)
{
    const mosaic_options none = {0};
    if (!given)
        given = &none;
    mosaic_options *options = &cluster->options;
    const struct {
        int *option;
        const char *name;
        int given, otherwise;
    } settings[] = {
        {&options->default_timeout_ms, "default_timeout_ms", given->default_timeout_ms, 30000},
        {&options->connect_timeout_ms, "connect_timeout_ms", given->connect_timeout_ms, 5000},
        {&options->pool_size, "pool_size", given->pool_size, 8},
        {&options->idle_check_ms, "idle_check_ms", given->idle_check_ms, 10000},
        {&options->retry_base_ms, "retry_base_ms", given->retry_base_ms, 50},
        {&options->retry_max_ms, "retry_max_ms", given->retry_max_ms, 5000},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        mosaic_status status =
            set_option(settings[i].option, settings[i].name, settings[i].given, settings[i].otherwise, error);
        if (status != MOSAIC_OK)
            return status;
    }
    if (options->pool_size > POOL_SIZE_MOST)
        return error_set(error, MOSAIC_USAGE, "option pool_size is %d: at most %d", options->pool_size, POOL_SIZE_MOST);
    const char *name = given->application_name ? given->application_name : "pgmosaic";
    options->application_name = copy_text(name, strlen(name));
    return options->application_name ? MOSAIC_OK : error_memory(error);
}

static mosaic_status open_pools(mosaic_cluster *cluster, mosaic_error *error)
{
    const struct model *model = &cluster->first->model;
    cluster->pools = memory_zeroed(model->shard_count, sizeof *cluster->pools);
    if (!cluster->pools)
        return error_memory(error);
    cluster->shard_count = model->shard_count;
    for (size_t i = 0; i < model->shard_count; i++)
        pool_init(&cluster->pools[i], i, model->shards[i].name, model->shards[i].conninfo, &cluster->options,
                  &cluster->reaper);
    return MOSAIC_OK;
}

/* Takes over config, which came from memory_allocate. */
static mosaic_status open_config(char *config, size_t size, const char *source, const mosaic_options *options,
                                 mosaic_cluster **opened, mosaic_error *error)
{
    mosaic_cluster *cluster = memory_zeroed(1, sizeof *cluster);
    if (!cluster) {
        memory_free(config);
        return error_memory(error);
    }
    pthread_mutex_init(&cluster->mutex, NULL);
    pthread_mutex_init(&cluster->reading, NULL);
    background_init(&cluster->refresher);
    background_init(&cluster->reaper);
    cluster->refresh.run = run_refresh;
    cluster->config = config;
    cluster->config_size = size;
    cluster->source = copy_text(source, strlen(source));
    mosaic_status status = cluster->source ? set_options(cluster, options, error) : error_memory(error);
    if (status == MOSAIC_OK)
        status = read_model(cluster, &cluster->first, error);
    if (status == MOSAIC_OK) {
        cluster->current = cluster->first;
        atomic_fetch_add(&cluster->first->references, 1);
        atomic_store(&cluster->epoch, cluster->first->model.epoch);
        status = open_pools(cluster, error);
    }
    if (status == MOSAIC_OK)
        *opened = cluster;
    else
        mosaic_close(cluster);
    return status;
}

static mosaic_status read_file(const char *path, struct buffer *text, mosaic_error *error)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT) {
        error_set(error, MOSAIC_NOT_FOUND, "there is no config %s", path);
        return error_hint(error, "give the path of a mosaic.yaml; pgmosaic lab up makes one"), MOSAIC_NOT_FOUND;
    }
    if (file < 0)
        return error_errno(error, "cannot open the config %s", path);
    mosaic_status status = MOSAIC_OK;
    char piece[16 * 1024];
    ssize_t got;
    while ((got = read(file, piece, sizeof piece)) > 0)
        buffer_add(text, piece, (size_t)got);
    if (got < 0)
        status = error_errno(error, "cannot read the config %s", path);
    else if (text->size + sizeof piece > CONFIG_MOST && buffer_failed(text))
        status = error_set(error, MOSAIC_LIMIT, "the config %s has more than %d MiB", path, CONFIG_MOST >> 20);
    else if (buffer_failed(text))
        status = error_memory(error);
    close(file);
    return status;
}

mosaic_status mosaic_open(const char *config_path, const mosaic_options *options, mosaic_cluster **cluster,
                          mosaic_error *error)
{
    if (!config_path || !cluster)
        return error_set(error, MOSAIC_USAGE, "mosaic_open: a config's path and a place for the cluster are needed");
    *cluster = NULL;
    struct buffer text = BUFFER_INIT(CONFIG_MOST);
    mosaic_status status = read_file(config_path, &text, error);
    if (status == MOSAIC_OK) {
        char *copy = copy_text(buffer_string(&text), text.size);
        status = copy ? open_config(copy, text.size, config_path, options, cluster, error) : error_memory(error);
    }
    buffer_free(&text);
    return status;
}

mosaic_status mosaic_open_text(const char *config, size_t size, const mosaic_options *options, mosaic_cluster **cluster,
                               mosaic_error *error)
{
    if (!config || !cluster)
        return error_set(error, MOSAIC_USAGE, "mosaic_open_text: a config and a place for the cluster are needed");
    *cluster = NULL;
    if (size > CONFIG_MOST)
        return error_set(error, MOSAIC_LIMIT, "the config has more than %d MiB", CONFIG_MOST >> 20);
    char *copy = copy_text(config, size);
    return copy ? open_config(copy, size, "config", options, cluster, error) : error_memory(error);
}

void mosaic_close(mosaic_cluster *cluster)
{
    if (!cluster)
        return;
    background_stop(&cluster->refresher);
    background_stop(&cluster->reaper);
    for (size_t i = 0; i < cluster->shard_count; i++)
        pool_close(&cluster->pools[i]);
    memory_free(cluster->pools);
    snapshot_release(cluster->current);
    snapshot_release(cluster->first);
    pthread_mutex_destroy(&cluster->reading);
    pthread_mutex_destroy(&cluster->mutex);
    memory_free((char *)cluster->options.application_name);
    memory_free(cluster->source);
    memory_free(cluster->config);
    memory_free(cluster);
}

/* ---- what it knows ---------------------------------------------------------------------------------- */

size_t mosaic_shard_count(const mosaic_cluster *cluster)
{
    return cluster ? cluster->shard_count : 0;
}

const char *mosaic_shard_name(const mosaic_cluster *cluster, size_t shard)
{
    return cluster && shard < cluster->shard_count ? cluster->pools[shard].name : NULL;
}

const char *mosaic_shard_conninfo(const mosaic_cluster *cluster, size_t shard)
{
    return cluster && shard < cluster->shard_count ? cluster->pools[shard].conninfo : NULL;
}

uint64_t mosaic_epoch(const mosaic_cluster *cluster)
{
    return cluster ? atomic_load(&cluster->epoch) : 0;
}

mosaic_status cluster_deadline(const mosaic_cluster *cluster, int timeout_ms, int64_t *deadline, mosaic_error *error)
{
    if (timeout_ms < 0)
        return error_set(error, MOSAIC_USAGE, "the timeout is %d ms: it must not be negative", timeout_ms);
    *deadline = pq_deadline(timeout_ms ? timeout_ms : cluster->options.default_timeout_ms);
    return MOSAIC_OK;
}

mosaic_status cluster_sharded_table(const struct model *model, const char *name, const struct table **found,
                                    mosaic_error *error)
{
    const struct table *table = name ? model_table(model, name) : NULL;
    if (!name)
        return error_set(error, MOSAIC_USAGE, "no table given");
    if (!table) {
        error_set(error, MOSAIC_NOT_FOUND, "table %s is not in the config of cluster %s", name, model->name);
        return error_hint(error, "add it to tables: and run pgmosaic apply");
    }
    if (table->kind != TABLE_SHARDED) {
        error_set(error, MOSAIC_USAGE, "table %s is no sharded table: it has no sharding key", table->display);
        return error_hint(error, "it is the same on every shard: read it on any one, write it on all");
    }
    if (!table->map) {
        error_set(error, MOSAIC_PREFLIGHT, "table %s was never applied: it has no map yet", table->display);
        return error_hint(error, "run pgmosaic apply");
    }
    *found = table;
    return MOSAIC_OK;
}

mosaic_status cluster_locate(const struct model *model, const char *name, mosaic_key key, mosaic_place *place,
                             mosaic_error *error)
{
    mosaic_error ignored;
    error = error ? error : &ignored; /* error_hint answers with its status */
    const struct table *table = NULL;
    mosaic_status status = cluster_sharded_table(model, name, &table, error);
    if (status != MOSAIC_OK)
        return status;
    struct arena arena = ARENA_INIT;
    struct key_value values[KEY_COLUMNS_MAX];
    uint32_t bucket = 0;
    status = key_from_public(table->rule.types, table->columns, table->column_count, key, &arena, values, error);
    if (status == MOSAIC_OK)
        status = rule_bucket(&table->rule, values, &bucket, error);
    arena_free(&arena);
    if (status == MOSAIC_OK)
        *place = (mosaic_place){.bucket = bucket, .shard = table->map->owner[bucket]};
    else
        error_prefix(error, "table %s", table->display);
    return status;
}

mosaic_status mosaic_locate(mosaic_cluster *cluster, const char *table, mosaic_key key, mosaic_place *place,
                            mosaic_error *error)
{
    if (!cluster || !place)
        return error_set(error, MOSAIC_USAGE, "mosaic_locate: a cluster and a room for the place are needed");
    struct snapshot *snapshot = cluster_snapshot(cluster);
    mosaic_status status = cluster_locate(&snapshot->model, table, key, place, error);
    snapshot_release(snapshot);
    return status;
}
