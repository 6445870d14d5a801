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

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { READ_MS = 30000, AGAIN_MS = 1000, TELL_MS = 5000, FIND_MS = 5000, CHANGES_MOST = 65536 };

/* What is asked of the thread. */
struct wish {
    bool is_asked;
    bool reads;           /* whether or not anything has changed */
    bool settings;        /* those as well */
    bool finds;           /* where the shards' names do not mean what they did */
    bool holds;           /* no client's statement begins before */
    enum announced tells; /* others */
};

struct reload {
    struct proxy *proxy;
    pthread_t thread;
    int wake_fd;                  /* it is asked, or is to end */
    struct announce announce;     /* the thread's */
    atomic_bool listens;          /* what others announce */
    atomic_int_fast64_t finds_at; /* pq_now_ms: names are not resolved before only since a shard cannot be reached */
    uint64_t stamp;               /* the thread's: of the schema as it was read last */
    pthread_mutex_t mutex;        /* of all below */
    bool stops;
    struct wish wish;
    uint64_t asked, taken, done; /* how often it was asked; the asking that is being done; that was done */
    mosaic_error state;
};

static atomic_uint_fast64_t last_version;

/* ---- what is asked ---- */

static void wake(struct reload *reload)
{
    uint64_t one = 1;
    (void)!write(reload->wake_fd, &one, sizeof one);
}

static uint64_t ask(struct reload *reload, struct wish wish)
{
    pthread_mutex_lock(&reload->mutex);
    uint64_t ticket = ++reload->asked;
    reload->wish.is_asked = true;
    reload->wish.reads |= wish.reads;
    reload->wish.settings |= wish.settings;
    reload->wish.finds |= wish.finds;
    if (wish.tells > reload->wish.tells)
        reload->wish.tells = wish.tells;
    if (wish.holds)
        proxy_hold_for_reading(reload->proxy, ticket);
    pthread_mutex_unlock(&reload->mutex);
    wake(reload);
    return ticket;
}

/* What was made elsewhere is read before any client of ours goes on. Others wait for that: so it is done between the
 * steps of a reading, too. */
static void hear(struct reload *reload)
{
    enum announced heard = announce_hear(&reload->announce);
    atomic_store_explicit(&reload->listens, reload->announce.listens, memory_order_relaxed);
    if (heard == ANNOUNCED_ALL) {
        (void)ask(reload, (struct wish){.reads = true, .holds = true});
        announce_confirm(&reload->announce, pq_deadline(TELL_MS));
    } else if (heard == ANNOUNCED_HOME) {
        (void)ask(reload, (struct wish){.reads = false});
    }
}

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
        world->stamp = report.stamp;
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
    hear(reload);
    status = complete(model, first, deadline, error);
    if (status == MOSAIC_OK && model->engine == ENGINE_POSTGRES && model->epoch)
        status = catalog_find(model, first, deadline, &world->arena, &opened, &world->home, error);
    if (status == MOSAIC_OK && is_analysed(model) && model->epoch)
        status = check_tables(model, opened ? opened : first, deadline, error);
    if (status == MOSAIC_OK)
        status = world_targets(world, error);
    hear(reload);
    if (status == MOSAIC_OK)
        status = read_schema(world, opened ? opened : first, deadline, stamp, error);
    hear(reload);
    if (status == MOSAIC_OK)
        look_at_coordinator(reload, world, opened ? opened : first, deadline);
    hear(reload);
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

/*
 * Has anything changed? Asks the home shard for its epoch and the schema's stamp; `all`: the coordinator as well. On
 * failure: no, and the reason.
 */
static bool has_changed(struct reload *reload, bool all, mosaic_error *error)
{
    struct world *world = proxy_world(reload->proxy);
    const struct shard *shard = &world->model.shards[world->home];
    int64_t deadline = pq_deadline(READ_MS);
    uint64_t epoch = 0, stamp = 0;
    bool changed = false;
    mosaic_status status = announce_open(&reload->announce, shard, deadline, error);
    PGconn *home = reload->announce.home;
    if (status == MOSAIC_OK) {
        status = engine_of(world->model.engine)->check_shard(&world->model, world->home, home, deadline, &epoch, error);
        changed = status == MOSAIC_STALE || (status == MOSAIC_OK && epoch != world->model.epoch);
        if (status == MOSAIC_OK && !changed && is_analysed(&world->model)) {
            status = schema_stamp(home, shard->name, deadline, &stamp, error);
            changed = status == MOSAIC_OK && stamp != reload->stamp;
        }
        if (status == MOSAIC_OK && !changed && all) {
            char fingerprint[COORDINATOR_FINGERPRINT_SIZE];
            mosaic_error why;
            bool has = may_have_coordinator(&world->model) &&
                       check_coordinator(&world->model, home, deadline, fingerprint, &why) == MOSAIC_OK;
            changed = has != world->has_coordinator;
        }
    }
    if (status == MOSAIC_TIMEOUT)
        announce_close(&reload->announce); /* what was asked may still be answered */
    atomic_store_explicit(&reload->listens, reload->announce.listens, memory_order_relaxed);
    if (status == MOSAIC_OK)
        error->status = MOSAIC_OK;
    world_release(world);
    return changed;
}

static bool has_moved(struct reload *reload)
{
    struct world *world = proxy_world(reload->proxy);
    bool moved = world_has_moved(world);
    world_release(world);
    return moved;
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
    if (world->has_coordinator)
        follow_found(reload->proxy->follow);
    else if (*world->coordinator_fingerprint)
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
    announce_keep(&reload->announce, &world->model.shards[world->home]);
    proxy_set_world(reload->proxy, world);
    budget_check(reload->proxy);
    error->status = MOSAIC_OK; /* what was overcome on the way does not count */
}

static int64_t interval_of(const struct reload *reload)
{
    struct config *config = proxy_config(reload->proxy);
    int64_t interval = config->settings.schema_check_interval;
    config_release(config);
    bool is_lost = !reload->announce.home;
    return is_lost && interval > AGAIN_MS ? AGAIN_MS : interval;
}

/* False: it is to end. */
static bool take_wish(struct reload *reload, struct wish *wish)
{
    pthread_mutex_lock(&reload->mutex);
    *wish = reload->wish;
    reload->wish = (struct wish){0};
    reload->taken = reload->asked;
    bool goes_on = !reload->stops;
    pthread_mutex_unlock(&reload->mutex);
    return goes_on;
}

/* Waits for the interval, or until it is asked, or told something. False: it is to end. */
static bool wait(struct reload *reload, struct wish *wish)
{
    int64_t until = pq_now_ms() + interval_of(reload);
    bool had = reload->announce.home != NULL;
    for (;;) {
        hear(reload);
        bool is_lost = had && !reload->announce.home;
        if (!take_wish(reload, wish))
            return false;
        int64_t left = until - pq_now_ms();
        if (wish->is_asked || is_lost || left <= 0)
            return true;
        struct pollfd sources[] = {{.fd = reload->wake_fd, .events = POLLIN},
                                   {.fd = announce_socket(&reload->announce), .events = POLLIN}};
        uint64_t count;
        if (poll(sources, 2, (int)left) > 0 && sources[0].revents)
            (void)!read(reload->wake_fd, &count, sizeof count);
    }
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

static void tell(struct reload *reload, enum announced what)
{
    struct world *world = proxy_world(reload->proxy);
    int64_t deadline = pq_deadline(TELL_MS);
    mosaic_error ignored;
    if (announce_open(&reload->announce, &world->model.shards[world->home], deadline, &ignored) == MOSAIC_OK)
        announce_tell(&reload->announce, what, deadline);
    world_release(world);
}

/* One reading, or a look. */
static void work(struct reload *reload, const struct wish *wish)
{
    mosaic_error error = {.status = MOSAIC_OK};
    if (wish->tells != ANNOUNCED_NOTHING)
        tell(reload, wish->tells);
    if (wish->reads || (wish->finds && has_moved(reload)) || has_changed(reload, !wish->is_asked, &error)) {
        bool follows = follow_begin(reload->proxy->follow);
        read_again(reload, wish->settings, &error);
        follow_read(reload->proxy->follow, follows);
    }
    log_outcome(reload, wish->reads, &error);
    pthread_mutex_lock(&reload->mutex);
    reload->state = error;
    if (wish->is_asked)
        reload->done = reload->taken;
    pthread_mutex_unlock(&reload->mutex);
    if (wish->is_asked) {
        atomic_store_explicit(&reload->proxy->readings, reload->taken, memory_order_release);
        proxy_wake(reload->proxy);
    }
}

static void *run(void *context)
{
    struct reload *reload = context;
    struct wish wish;
    budget_check(reload->proxy);
    while (wait(reload, &wish))
        work(reload, &wish);
    announce_close(&reload->announce);
    return NULL;
}

mosaic_status reload_start(struct proxy *proxy, mosaic_error *error)
{
    struct world *world;
    struct reload *reload = memory_zeroed(1, sizeof *reload);
    if (!reload)
        return error_memory(error);
    reload->proxy = proxy;
    reload->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reload->wake_fd < 0) {
        memory_free(reload);
        return error_errno(error, "cannot make an eventfd");
    }
    mosaic_status status = read_numbered(reload, &world, &reload->stamp, error);
    if (status != MOSAIC_OK) {
        close(reload->wake_fd);
        memory_free(reload);
        return status;
    }
    proxy_set_world(proxy, world);
    pthread_mutex_init(&reload->mutex, NULL);
    proxy->reload = reload;
    (void)ask(reload, (struct wish){.holds = true}); /* a look, behind which changes are heard of */
    int code = pthread_create(&reload->thread, NULL, run, reload);
    if (code != 0) {
        close(reload->wake_fd);
        memory_free(reload);
        proxy->reload = NULL;
        errno = code;
        return error_errno(error, "cannot start a thread");
    }
    pthread_setname_np(reload->thread, "reload");
    ask_to_follow(reload, world);
    return MOSAIC_OK;
}

uint64_t reload_ask(struct reload *reload, bool settings)
{
    return ask(reload, (struct wish){.reads = true, .settings = settings});
}

uint64_t reload_ask_and_tell(struct reload *reload, enum announced what)
{
    return ask(reload, (struct wish){.reads = true, .tells = what, .holds = what == ANNOUNCED_ALL});
}

uint64_t reload_ask_look(struct reload *reload)
{
    return ask(reload, (struct wish){.reads = false});
}

void reload_ask_addresses(struct reload *reload)
{
    int64_t now = pq_now_ms();
    int_fast64_t at = atomic_load(&reload->finds_at);
    if (now >= at && atomic_compare_exchange_strong(&reload->finds_at, &at, now + FIND_MS))
        (void)ask(reload, (struct wish){.finds = true});
}

bool reload_listens(struct reload *reload)
{
    return atomic_load_explicit(&reload->listens, memory_order_relaxed);
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
    pthread_mutex_unlock(&reload->mutex);
    wake(reload);
    pthread_join(reload->thread, NULL);
    close(reload->wake_fd);
    pthread_mutex_destroy(&reload->mutex);
    memory_free(reload);
}
