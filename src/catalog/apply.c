#include "catalog/apply.h"

#include "base/control_point.h"
#include "catalog/adopt.h"
#include "catalog/apply_steps.h"
#include "catalog/grow.h"
#include "catalog/homeward.h"
#include "catalog/parallel.h"
#include "catalog/preflight.h"
#include "catalog/sequence.h"
#include "config/config.h"
#include "core/sqlexpr.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LOCK_WAIT_MS = 10000, LOCK_RETRY_MS = 200 };

const char apply_lock_sql[] = "SELECT pg_try_advisory_lock(hashtext('pgmosaic apply'), 1)";

mosaic_status apply_connect(struct apply *apply, size_t at, PGconn **connection)
{
    const struct shard *config = &apply->model->shards[at];
    return pq_connect_with(config->conninfo, config->name, "pgmosaic apply", PQ_DURABLE,
                           pq_deadline(apply->options.connect_ms), connection, &apply->shards[at].error);
}

static void connect_and_identify(void *context, size_t at)
{
    struct apply *apply = context;
    struct apply_shard *shard = &apply->shards[at];
    shard->status = apply_connect(apply, at, &shard->connection);
    if (shard->status == MOSAIC_OK)
        shard->status =
            state_identity(shard->connection, apply->model->shards[at].name, pq_deadline(apply->options.look_ms),
                           &shard->arena, &shard->identity, &shard->error);
}

static mosaic_status read_definitions(struct apply *apply, size_t at)
{
    struct apply_shard *shard = &apply->shards[at];
    shard->definitions = arena_zeroed(&shard->arena, apply->name_count, sizeof *shard->definitions);
    if (!shard->definitions)
        return error_memory(&shard->error);
    return definition_read(shard->connection, apply->model->shards[at].name, apply->names, apply->name_count,
                           pq_deadline(apply->options.look_ms), shard->definitions, &shard->error);
}

static void introspect(void *context, size_t at)
{
    struct apply *apply = context;
    struct apply_shard *shard = &apply->shards[at];
    if (shard->status == MOSAIC_OK && apply->options.lock)
        shard->status = read_definitions(apply, at);
    if (shard->status == MOSAIC_OK)
        shard->status =
            introspect_shard(shard->connection, apply->model->shards[at].name, apply->names, apply->name_count,
                             pq_deadline(apply->options.look_ms), &shard->arena, &shard->facts, &shard->error);
}

/* The shard that has the catalog: what the shards say, else the first one. */
static void find_catalog(struct apply *apply)
{
    const struct model *model = apply->model;
    const char *named = NULL;
    apply->catalog_shard = 0;
    for (size_t i = 0; i < model->shard_count; i++) {
        const struct shard_identity *identity = &apply->shards[i].identity;
        if (!identity->present || strcmp(identity->cluster, model->name) != 0)
            continue;
        if (strcmp(identity->shard, identity->catalog) == 0) {
            apply->catalog_shard = i; /* also where it was renamed */
            return;
        }
        named = identity->catalog;
    }
    if (!named)
        return;
    for (size_t i = 0; i < model->shard_count; i++)
        if (strcmp(model->shards[i].name, named) == 0) {
            apply->catalog_shard = i;
            return;
        }
    finding_add(&apply->findings, true, "", "", "put the shard back",
                "the catalog is on shard %s, which is not in the config", named);
}

/* Who holds the lock: "pid 123 of postgres, since 12:00:01". */
static mosaic_status refuse_lock(const struct apply *apply, PGconn *connection, const char *shard, mosaic_error *error)
{
    PGresult *result = NULL;
    mosaic_error ignored;
    char who[200] = "?";
    static const char sql[] =
        "SELECT format('process %s of role %s, connected since %s', a.pid, a.usename, a.backend_start::timestamptz(0))"
        " FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND l.classid = hashtext('pgmosaic apply')::oid AND l.objsubid = 2";
    if (pq_exec(connection, shard, sql, pq_deadline(apply->options.look_ms), &result, &ignored) == MOSAIC_OK &&
        PQntuples(result))
        snprintf(who, sizeof who, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    error_set(error, MOSAIC_PREFLIGHT, "another apply is running on this cluster");
    error_detail(error, "%s", who);
    error_hint(error, "wait until it is done, then run apply again");
    error_shard(error, shard);
    return MOSAIC_PREFLIGHT;
}

static mosaic_status take_lock(struct apply *apply, mosaic_error *error)
{
    PGconn *connection = apply->shards[apply->catalog_shard].connection;
    const char *shard = apply->model->shards[apply->catalog_shard].name;
    int64_t deadline = pq_deadline(LOCK_WAIT_MS);
    for (;;) {
        PGresult *result = NULL;
        mosaic_status status =
            pq_exec(connection, shard, apply_lock_sql, pq_deadline(apply->options.look_ms), &result, error);
        bool taken = status == MOSAIC_OK && PQgetvalue(result, 0, 0)[0] == 't';
        PQclear(result);
        if (status != MOSAIC_OK || taken)
            return status;
        if (!pq_left_ms(deadline))
            return refuse_lock(apply, connection, shard, error);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_RETRY_MS * 1000000L}, NULL);
    }
}

static mosaic_status read_state(struct apply *apply, mosaic_error *error)
{
    const struct apply_shard *catalog = &apply->shards[apply->catalog_shard];
    const char *name = apply->model->shards[apply->catalog_shard].name;
    mosaic_error local;
    mosaic_status status = state_read(catalog->connection, name, pq_deadline(apply->options.look_ms), &apply->arena,
                                      &apply->state, &local);
    apply->has_state = status == MOSAIC_OK;
    if (status == MOSAIC_OK)
        return MOSAIC_OK;
    if (status != MOSAIC_PREFLIGHT) {
        if (error)
            *error = local;
        return status;
    }
    for (size_t i = 0; i < apply->model->shard_count; i++)
        if (apply->shards[i].identity.present && apply->shards[i].identity.epoch)
            finding_add(&apply->findings, true, name, "", "bring schema mosaic of that database back from a backup",
                        "the catalog is missing, and shard %s was at epoch %" PRIu64, apply->model->shards[i].name,
                        apply->shards[i].identity.epoch);
    return MOSAIC_OK;
}

static mosaic_status report_unreachable(struct apply *apply, mosaic_error *error)
{
    for (size_t i = 0; i < apply->model->shard_count; i++) {
        struct apply_shard *shard = &apply->shards[i];
        if (shard->status == MOSAIC_INTERRUPTED || shard->status == MOSAIC_MEMORY) {
            if (error)
                *error = shard->error;
            return shard->status;
        }
        if (shard->status != MOSAIC_OK && !shard->reported)
            finding_add(&apply->findings, true, apply->model->shards[i].name, "",
                        finding_text(&apply->findings, "%s", shard->error.hint), "%s%s%s", shard->error.message,
                        *shard->error.detail ? ": " : "", shard->error.detail);
        shard->reported = shard->status != MOSAIC_OK;
    }
    return MOSAIC_OK;
}

/* Connections, model and epoch as the coordinator's functions take them; NULL when memory is out. */
static const struct coordinator_input *coordinator_input(struct apply *apply)
{
    const struct model *model = apply->model;
    struct coordinator_input *input = arena_zeroed(&apply->arena, 1, sizeof *input);
    PGconn **shards = arena_zeroed(&apply->arena, model->shard_count, sizeof *shards);
    struct model *wanted = arena_zeroed(&apply->arena, 1, sizeof *wanted);
    if (!input || !shards || !wanted)
        return NULL;
    for (size_t i = 0; i < model->shard_count; i++)
        shards[i] = apply->shards[i].connection;
    *wanted = *model; /* a view of it: the arena stays the model's */
    wanted->epoch = apply->difference.wanted.epoch;
    *input = (struct coordinator_input){wanted,
                                        apply->catalog_shard,
                                        shards,
                                        &apply->shards[apply->catalog_shard].facts,
                                        &apply->findings,
                                        apply->options.connect_ms,
                                        apply->options.look_ms};
    return input;
}

static mosaic_status look_at_coordinator(struct apply *apply, mosaic_error *error)
{
    if (apply->options.coordinator == APPLY_COORDINATOR_NOT)
        return MOSAIC_OK;
    mosaic_status status = config_place_coordinator(apply->model, apply->catalog_shard, error);
    const struct coordinator_input *input = status == MOSAIC_OK ? coordinator_input(apply) : NULL;
    if (!input)
        return status == MOSAIC_OK ? error_memory(error) : status;
    status = coordinator_look(input, &apply->coordinator, error);
    if (status == MOSAIC_OK && apply->options.coordinator == APPLY_COORDINATOR_PLAN)
        coordinator_plan(input, &apply->coordinator, &apply->difference.plan);
    return status;
}

/* Does a table change its place, so that nobody may go on by the old map? Before the first apply there is none. */
static bool must_fence(const struct apply *apply)
{
    return grow_has(apply) || homeward_has(apply) || adopt_has(apply);
}

static mosaic_status judge(struct apply *apply, mosaic_error *error)
{
    const struct model *model = apply->model;
    struct shard_facts **found = arena_zeroed(&apply->arena, model->shard_count, sizeof *found);
    const struct shard_facts *const *facts = (const struct shard_facts *const *)found;
    bool *types_known = arena_zeroed(&apply->arena, model->table_count, sizeof *types_known);
    if (!found || !types_known)
        return error_memory(error);
    for (size_t i = 0; i < model->shard_count; i++)
        found[i] = apply->shards[i].status == MOSAIC_OK ? &apply->shards[i].facts : NULL;
    /* Who leaves the coordinator alone only wants to know where tables are. */
    if (apply->options.coordinator != APPLY_COORDINATOR_NOT) {
        grow_find(model, apply->has_state ? &apply->state : NULL, apply->catalog_shard, found);
        homeward_find(apply, found);
    }
    preflight_shards(model, facts, &apply->findings);
    preflight_tables(apply->model, facts, types_known, &apply->findings);
    /* Without the catalog nothing is known of what was applied. */
    if (!facts[apply->catalog_shard])
        return finding_merge(&apply->findings), MOSAIC_OK;
    const struct difference_input input = {apply->model,
                                           apply->has_state ? &apply->state : NULL,
                                           apply->catalog_shard,
                                           facts,
                                           types_known,
                                           apply->names + model->table_count,
                                           apply->name_count - model->table_count};
    mosaic_status status = difference_make(&input, &apply->arena, &apply->difference, &apply->findings, error);
    if (apply->options.coordinator == APPLY_COORDINATOR_NOT)
        sequence_refuse(&apply->difference, &apply->findings);
    if (status == MOSAIC_OK && apply->options.read_rows)
        status = steps_check_rows(apply, error);
    if (status == MOSAIC_OK && apply->options.read_rows && apply->difference.catalog_changes)
        status = steps_check_copies(apply, error);
    if (status == MOSAIC_OK)
        status = report_unreachable(apply, error);
    if (status == MOSAIC_OK && apply->options.read_rows)
        status = grow_check_taken(apply, error);
    if (status == MOSAIC_OK && grow_has(apply) && apply->options.read_rows)
        status = grow_check(apply, error);
    if (status == MOSAIC_OK && homeward_has(apply) && apply->options.read_rows)
        status = homeward_check(apply, error);
    if (status == MOSAIC_OK && adopt_has(apply) && apply->options.read_rows)
        status = adopt_check(apply, error);
    if (status == MOSAIC_OK && !apply->findings.fatal)
        status = look_at_coordinator(apply, error);
    if (status == MOSAIC_OK && apply->coordinator.state == COORDINATOR_UNREACHABLE && must_fence(apply))
        finding_add(&apply->findings, true, "", "", apply->coordinator.fix,
                    "it changes where tables stand, and the coordinator, which reads them on the home shard, is out of "
                    "reach: %s",
                    apply->coordinator.why);
    finding_merge(&apply->findings);
    return status == MOSAIC_OK && apply->findings.failed ? error_memory(error) : status;
}

/* The model's tables, and those that were applied and are not in it any more. */
static mosaic_status name_tables(struct apply *apply, mosaic_error *error)
{
    const struct model *model = apply->model;
    apply->names = arena_zeroed(&apply->arena, model->table_count + apply->state.table_count, sizeof *apply->names);
    if (!apply->names)
        return error_memory(error);
    for (size_t i = 0; i < model->table_count; i++)
        apply->names[apply->name_count++] =
            (struct table_name){model->tables[i].schema, model->tables[i].name, model->tables[i].display};
    for (size_t i = 0; i < apply->state.table_count; i++) {
        const struct catalog_table *table = &apply->state.tables[i];
        const char *display = model_display_name(&apply->arena, table->schema, table->name);
        if (!display)
            return error_memory(error);
        if (!model_table(model, display))
            apply->names[apply->name_count++] = (struct table_name){table->schema, table->name, display};
    }
    return MOSAIC_OK;
}

static mosaic_status look(struct apply *apply, mosaic_error *error)
{
    const struct model *model = apply->model;
    parallel_run(model->shard_count, connect_and_identify, apply);
    mosaic_status status = report_unreachable(apply, error);
    if (status != MOSAIC_OK)
        return status;
    find_catalog(apply);
    const struct apply_shard *catalog = &apply->shards[apply->catalog_shard];
    if (catalog->status == MOSAIC_OK) {
        if (apply->options.lock && !apply->findings.fatal && (status = take_lock(apply, error)) != MOSAIC_OK)
            return status;
        status = read_state(apply, error);
    }
    if (status == MOSAIC_OK)
        status = name_tables(apply, error);
    if (status != MOSAIC_OK)
        return status;
    parallel_run(model->shard_count, introspect, apply);
    status = report_unreachable(apply, error);
    return status == MOSAIC_OK ? judge(apply, error) : status;
}

mosaic_status apply_look(struct model *model, const struct apply_options *options, struct apply **result,
                         mosaic_error *error)
{
    struct apply *apply = memory_zeroed(1, sizeof *apply);
    *result = NULL;
    if (!apply)
        return error_memory(error);
    apply->options = *options;
    apply->model = model;
    apply->findings.arena = &apply->arena;
    apply->coordinator = (struct coordinator_look){.why = "", .fix = ""};
    apply->shards = arena_zeroed(&apply->arena, model->shard_count, sizeof *apply->shards);
    mosaic_status status = apply->shards ? look(apply, error) : error_memory(error);
    if (status != MOSAIC_OK) {
        apply_close(apply);
        return status;
    }
    *result = apply;
    return MOSAIC_OK;
}

const struct findings *apply_findings(const struct apply *apply)
{
    return &apply->findings;
}

const struct difference *apply_difference(const struct apply *apply)
{
    return &apply->difference;
}

const struct coordinator_look *apply_coordinator(const struct apply *apply)
{
    return &apply->coordinator;
}

uint64_t apply_moved(const struct apply *apply)
{
    return apply->moved;
}

/* Its failure is a finding. */
static mosaic_status bring_up_coordinator(struct apply *apply, mosaic_error *error)
{
    const struct coordinator_input *input = coordinator_input(apply);
    size_t before = apply->findings.count;
    if (!input)
        return error_memory(error);
    mosaic_status status = coordinator_bring_up(input, &apply->coordinator, error);
    for (size_t i = before; apply->say && i < apply->findings.count; i++) {
        const struct finding *finding = &apply->findings.list[i];
        apply->say(apply->say_context, finding_text(&apply->findings, "warning: %s%s%s", finding->what,
                                                    *finding->fix ? "\n    fix: " : "", finding->fix));
    }
    return status;
}

mosaic_status apply_do(struct apply *apply, apply_say_fn say, void *context, mosaic_error *error)
{
    apply->say = say;
    apply->say_context = context;
    if (apply->findings.fatal)
        return error_set(error, MOSAIC_PREFLIGHT, "the preflight found %zu reasons against it", apply->findings.fatal);
    mosaic_status status = steps_schema(apply, error);
    if (status == MOSAIC_OK)
        status = steps_owners(apply, error);
    if (status == MOSAIC_OK)
        status = sequence_step(apply, error);
    if (status == MOSAIC_OK)
        status = grow_drop_leftovers(apply, error);
    control_point("apply.before_catalog");
    if (status == MOSAIC_OK && grow_has(apply))
        status = grow_tables(apply, error);
    else if (status == MOSAIC_OK && homeward_has(apply))
        status = homeward_tables(apply, error);
    else if (status == MOSAIC_OK && adopt_has(apply))
        status = adopt_tables(apply, error);
    else if (status == MOSAIC_OK && apply->difference.catalog_changes)
        status = steps_catalog(apply, error);
    control_point("apply.after_catalog");
    if (status == MOSAIC_OK)
        status = steps_epoch(apply, error);
    if (status == MOSAIC_OK)
        status = steps_drop(apply, error);
    if (status == MOSAIC_OK && apply->options.coordinator == APPLY_COORDINATOR_PLAN)
        status = bring_up_coordinator(apply, error);
    return status;
}

void apply_close(struct apply *apply)
{
    if (!apply)
        return;
    PQfinish(apply->coordinator.connection);
    for (size_t i = 0; apply->shards && i < apply->model->shard_count; i++) {
        PQfinish(apply->shards[i].connection);
        arena_free(&apply->shards[i].arena);
    }
    buffer_free(&apply->difference.plan);
    arena_free(&apply->arena);
    memory_free(apply);
}
