#define _GNU_SOURCE
#include "proxy/reload.h"

#include "base/memory.h"
#include "catalog/catalog.h"
#include "catalog/coordinator.h"
#include "catalog/schema_read.h"
#include "config/config.h"
#include "engine/engine.h"
#include "pq/pq.h"
#include "proxy/budget.h"
#include "proxy/follow.h"
#include "proxy/log.h"
#include "proxy/typemap.h"
#include "proxy/until.h"

#include <errno.h>
#include <string.h>

enum { READ_MS = 30000, CHANGES_MOST = 65536 };

struct reload {
    struct proxy *proxy;
    pthread_t thread;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t changed;
    bool is_asked, asks_settings, stops;
    uint64_t asked, taken, done; /* how often it was asked; the asking that is being done; that was done */
    mosaic_error state;
    uint64_t stamp; /* of the schema as it was read last */
};

static atomic_uint_fast64_t last_version;

/* ---- reading ---- */

static bool is_analysed(const struct model *model)
{
    return model->engine == ENGINE_POSTGRES && model->shard_count > 1;
}

/* What was never applied has no map: every table is the home shard's. */
static mosaic_status complete(struct model *model, PGconn *first, int64_t deadline, mosaic_error *error)
{
    const struct engine *engine = engine_of(model->engine);
    mosaic_status status = engine->complete(model, first, deadline, error);
    if (status == MOSAIC_PREFLIGHT && model->table_count == 0)
        return MOSAIC_OK;
    if (status == MOSAIC_OK)
        status = engine->check_owners(model, first, deadline, error);
    return status;
}

static mosaic_status read_schema(struct world *world, PGconn *home, int64_t deadline, uint64_t *stamp,
                                 mosaic_error *error)
{
    struct schema_report report;
    world->schema = memory_zeroed(1, sizeof *world->schema);
    if (!world->schema)
        return error_memory(error);
    mosaic_status status = MOSAIC_OK;
    if (is_analysed(&world->model)) {
        status = schema_read(&world->model, world->home, home, deadline, world->schema, &report, error);
        /* 0 is no stamp: while a shard's types are not known the schema is read again at each look. */
        *stamp = report.silent_count ? 0 : report.stamp;
        if (status == MOSAIC_OK)
            status = world_compare_types(world, error);
    } else {
        /* All is for one server: what analysis still tells is what a statement does to its session. */
        world->schema->model = &world->model;
        status = schema_index(world->schema, error);
    }
    world->schema->version = world->version;
    if (status == MOSAIC_OK)
        status = typemaps_make(world->schema, model_places(&world->model), &world->arena, &world->typemaps, error);
    return status;
}

/* A table that the catalog spreads and the config does not name would be taken for a home table, and read in part. */
static mosaic_status check_tables(const struct model *model, PGconn *home, int64_t deadline, mosaic_error *error)
{
    PGresult *rows = NULL;
    mosaic_status status = pq_exec(home, model->shards[0].name, "SELECT schema_name, table_name FROM mosaic.relation",
                                   deadline, &rows, error);
    for (int row = 0; status == MOSAIC_OK && row < PQntuples(rows); row++) {
        const char *schema = PQgetvalue(rows, row, 0), *name = PQgetvalue(rows, row, 1);
        bool found = false;
        for (size_t i = 0; i < model->table_count; i++)
            found |= strcmp(model->tables[i].schema, schema) == 0 && strcmp(model->tables[i].name, name) == 0;
        if (found)
            continue;
        status = error_set(error, MOSAIC_STALE, "%s does not name table %s.%s, which the cluster has spread",
                           model->source, schema, name);
        error_hint(error, "add it to the config, or run pgmosaic apply, which gives it up");
    }
    PQclear(rows);
    return status;
}

/* *wanted is what it is to be made from; empty where it does not answer. */
static mosaic_status check_coordinator(const struct model *model, PGconn *home, int64_t deadline,
                                       char wanted[COORDINATOR_FINGERPRINT_SIZE], mosaic_error *error)
{
    const struct shard *place = &model->shards[model->shard_count];
    PGconn *coordinator;
    PGresult *answer = NULL;
    char fingerprint[COORDINATOR_FINGERPRINT_SIZE];
    *wanted = '\0';
    mosaic_status status = pq_connect(place->conninfo, place->name, "pgmosaic proxy", deadline, &coordinator, error);
    if (status != MOSAIC_OK)
        return status;
    status = coordinator_fingerprint(home, model, deadline, fingerprint, error);
    if (status == MOSAIC_OK)
        status = coordinator_ask(coordinator, deadline, &answer, error);
    if (status == MOSAIC_OK) {
        memcpy(wanted, fingerprint, sizeof fingerprint);
        status = coordinator_judge(model, answer, fingerprint, error);
    }
    PQclear(answer);
    PQfinish(coordinator);
    return status;
}

static bool may_have_coordinator(const struct model *model)
{
    return model->coordinator && is_analysed(model) && model->epoch;
}

/* Is the coordinator there, and as the home shard is? If not tier 4 is off, and everything else as it was. */
static void look_at_coordinator(struct reload *reload, struct world *world, PGconn *home, int64_t deadline)
{
    mosaic_error error;
    if (!may_have_coordinator(&world->model))
        return;
    mosaic_status status = check_coordinator(&world->model, home, deadline, world->coordinator_fingerprint, &error);
    world->has_coordinator = status == MOSAIC_OK;
    if (status == MOSAIC_OK)
        return;
    const char *failure = follow_failure(reload->proxy->follow, world->coordinator_fingerprint, &world->arena);
    world->no_coordinator =
        failure ? arena_format(&world->arena, "%s, and the proxy could not make it anew (%s): run pgmosaic apply",
                               error.message, failure)
                : arena_string(&world->arena, error.message);
}

static mosaic_status fill(struct reload *reload, struct world *world, uint64_t *stamp, mosaic_error *error)
{
    struct model *model = &world->model;
    const struct shard *shard = &model->shards[0];
    int64_t deadline = pq_deadline(READ_MS);
    PGconn *first, *opened = NULL;
    mosaic_status status = pq_connect(shard->conninfo, shard->name, "pgmosaic proxy", deadline, &first, error);
    if (status != MOSAIC_OK)
        return status;
    status = complete(model, first, deadline, error);
    if (status == MOSAIC_OK && model->engine == ENGINE_POSTGRES && model->epoch)
        status = catalog_find(model, first, deadline, &world->arena, &opened, &world->home, error);
    if (status == MOSAIC_OK && is_analysed(model) && model->epoch)
        status = check_tables(model, opened ? opened : first, deadline, error);
    if (status == MOSAIC_OK)
        status = world_targets(world, error);
    if (status == MOSAIC_OK)
        status = read_schema(world, opened ? opened : first, deadline, stamp, error);
    if (status == MOSAIC_OK)
        look_at_coordinator(reload, world, opened ? opened : first, deadline);
    PQfinish(opened);
    PQfinish(first);
    return status;
}

static mosaic_status read_world(struct reload *reload, struct world **made, uint64_t *stamp, mosaic_error *error)
{
    struct world *world = memory_zeroed(1, sizeof *world);
    *stamp = 0;
    if (!world)
        return error_memory(error);
    atomic_init(&world->references, 1);
    world->version = atomic_fetch_add(&last_version, 1) + 1;
    mosaic_status status = config_read(reload->proxy->config_path, &world->model, error);
    if (status != MOSAIC_OK) {
        memory_free(world);
        return status;
    }
    status = fill(reload, world, stamp, error);
    if (status == MOSAIC_OK)
        *made = world;
    else
        world_release(world);
    return status;
}

/* ---- the thread ---- */

/* Has anything changed? Asks the home shard for its epoch and the schema's stamp. On failure: no, and the reason. */
static bool has_changed(struct reload *reload, mosaic_error *error)
{
    struct world *world = proxy_world(reload->proxy);
    const struct shard *shard = &world->model.shards[world->home];
    int64_t deadline = pq_deadline(READ_MS);
    PGconn *home;
    uint64_t epoch = 0, stamp = 0;
    bool changed = false;
    mosaic_status status = pq_connect(shard->conninfo, shard->name, "pgmosaic proxy", deadline, &home, error);
    if (status == MOSAIC_OK) {
        status = engine_of(world->model.engine)->check_shard(&world->model, world->home, home, deadline, &epoch, error);
        changed = status == MOSAIC_STALE || (status == MOSAIC_OK && epoch != world->model.epoch);
        if (status == MOSAIC_OK && !changed && is_analysed(&world->model)) {
            status = schema_stamp(home, shard->name, deadline, &stamp, error);
            changed = status == MOSAIC_OK && stamp != reload->stamp;
        }
        if (status == MOSAIC_OK && !changed) {
            char fingerprint[COORDINATOR_FINGERPRINT_SIZE];
            mosaic_error why;
            bool has = may_have_coordinator(&world->model) &&
                       check_coordinator(&world->model, home, deadline, fingerprint, &why) == MOSAIC_OK;
            changed = has != world->has_coordinator;
        }
        PQfinish(home);
    }
    if (status == MOSAIC_OK)
        error->status = MOSAIC_OK;
    world_release(world);
    return changed;
}

/* The settings of the file, but for those that need a restart. */
static mosaic_status read_settings(struct proxy *proxy, mosaic_error *error)
{
    struct buffer changes = BUFFER_INIT(CHANGES_MOST);
    struct config *config = NULL, *before = proxy_config(proxy);
    mosaic_status status = reload_read_config(proxy->config_path, &config, error);
    if (status == MOSAIC_OK)
        status = reload_keep(config, before, &changes, error);
    if (status == MOSAIC_OK)
        status = settings_check(&config->settings, error);
    config_release(before);
    if (status == MOSAIC_OK) {
        status = reload_use(proxy, config, error);
        config = NULL;
    }
    config_release(config);
    if (status == MOSAIC_OK)
        log_message(proxy->log, EVENT_RELOAD, "%s", changes.size ? buffer_string(&changes) : "no setting has changed");
    buffer_free(&changes);
    return status;
}

static mosaic_status read_numbered(struct reload *reload, struct world **world, uint64_t *stamp, mosaic_error *error)
{
    mosaic_status status = read_world(reload, world, stamp, error);
    if (status == MOSAIC_OK && (status = proxy_number_shards(reload->proxy, *world, error)) != MOSAIC_OK)
        world_release(*world);
    return status;
}

static void ask_to_follow(struct reload *reload, struct world *world)
{
    if (!world->has_coordinator && *world->coordinator_fingerprint)
        follow_ask(reload->proxy->follow, world);
}

static void read_again(struct reload *reload, bool settings, mosaic_error *error)
{
    struct world *world;
    uint64_t stamp;
    error->status = MOSAIC_OK;
    if (settings && read_settings(reload->proxy, error) != MOSAIC_OK)
        return;
    if (read_numbered(reload, &world, &stamp, error) != MOSAIC_OK)
        return;
    reload->stamp = stamp;
    log_message(reload->proxy->log, EVENT_MAP, "epoch %llu, %zu shards, %zu tables",
                (unsigned long long)world->model.epoch, world->model.shard_count, world->model.table_count);
    ask_to_follow(reload, world); /* before: who finds no coordinator must find that it is being worked at */
    proxy_set_world(reload->proxy, world);
    budget_check(reload->proxy);
    error->status = MOSAIC_OK; /* what was overcome on the way does not count */
}

/* Waits for the interval, or until it is asked. False: it is to end. */
static bool wait(struct reload *reload, bool *asked, bool *settings)
{
    struct config *config = proxy_config(reload->proxy);
    int64_t due = pq_now_ms() + config->settings.schema_check_interval;
    config_release(config);
    pthread_mutex_lock(&reload->mutex);
    while (!reload->is_asked && !reload->stops && pq_now_ms() < due)
        until_wait(&reload->changed, &reload->mutex, due);
    *asked = reload->is_asked;
    *settings = reload->asks_settings;
    reload->taken = reload->asked;
    reload->is_asked = reload->asks_settings = false;
    bool goes_on = !reload->stops;
    pthread_mutex_unlock(&reload->mutex);
    return goes_on;
}

/* A catalog that stays out of reach is logged once, and again when it is back. */
static void log_outcome(struct reload *reload, bool asked, const mosaic_error *error)
{
    struct log *log = reload->proxy->log;
    bool failed = error->status != MOSAIC_OK, failed_before = reload->state.status != MOSAIC_OK;
    if (failed && asked)
        log_event(log, EVENT_RELOAD_FAILED, -1, &(struct log_entry){.error = error});
    else if (failed && !failed_before)
        log_event(log, EVENT_CATALOG, -1, &(struct log_entry){.error = error, .message = "the last map serves on"});
    else if (!failed && failed_before)
        log_message(log, EVENT_MAP, "the catalog is reached again");
}

static void *run(void *context)
{
    struct reload *reload = context;
    bool asked, settings;
    budget_check(reload->proxy);
    while (wait(reload, &asked, &settings)) {
        mosaic_error error = {.status = MOSAIC_OK};
        if (asked || has_changed(reload, &error)) {
            bool follows = follow_begin(reload->proxy->follow);
            read_again(reload, settings, &error);
            follow_read(reload->proxy->follow, follows);
        }
        log_outcome(reload, asked, &error);
        pthread_mutex_lock(&reload->mutex);
        reload->state = error;
        if (asked)
            reload->done = reload->taken;
        pthread_mutex_unlock(&reload->mutex);
        if (asked) {
            atomic_store_explicit(&reload->proxy->readings, reload->taken, memory_order_release);
            proxy_wake(reload->proxy);
        }
    }
    return NULL;
}

mosaic_status reload_start(struct proxy *proxy, mosaic_error *error)
{
    struct world *world;
    struct reload *reload = memory_zeroed(1, sizeof *reload);
    if (!reload)
        return error_memory(error);
    reload->proxy = proxy;
    mosaic_status status = read_numbered(reload, &world, &reload->stamp, error);
    if (status != MOSAIC_OK) {
        memory_free(reload);
        return status;
    }
    proxy_set_world(proxy, world);
    pthread_mutex_init(&reload->mutex, NULL);
    until_init(&reload->changed);
    int code = pthread_create(&reload->thread, NULL, run, reload);
    if (code != 0) {
        memory_free(reload);
        errno = code;
        return error_errno(error, "cannot start a thread");
    }
    pthread_setname_np(reload->thread, "reload");
    proxy->reload = reload;
    ask_to_follow(reload, world);
    return MOSAIC_OK;
}

uint64_t reload_ask(struct reload *reload, bool settings)
{
    pthread_mutex_lock(&reload->mutex);
    uint64_t ticket = ++reload->asked;
    reload->is_asked = true;
    reload->asks_settings |= settings;
    pthread_cond_signal(&reload->changed);
    pthread_mutex_unlock(&reload->mutex);
    return ticket;
}

bool reload_is_done(struct reload *reload, uint64_t ticket, mosaic_error *error)
{
    pthread_mutex_lock(&reload->mutex);
    bool is_done = reload->done >= ticket;
    *error = reload->state;
    pthread_mutex_unlock(&reload->mutex);
    return is_done;
}

void reload_state(struct reload *reload, mosaic_error *error)
{
    pthread_mutex_lock(&reload->mutex);
    *error = reload->state;
    pthread_mutex_unlock(&reload->mutex);
}

void reload_stop(struct reload *reload)
{
    if (!reload)
        return;
    pthread_mutex_lock(&reload->mutex);
    reload->stops = true;
    pthread_cond_signal(&reload->changed);
    pthread_mutex_unlock(&reload->mutex);
    pthread_join(reload->thread, NULL);
    pthread_cond_destroy(&reload->changed);
    pthread_mutex_destroy(&reload->mutex);
    memory_free(reload);
}
