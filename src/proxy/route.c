#define _GNU_SOURCE
#include "proxy/route.h"

#include "base/utf8.h"
#include "plan/guard.h"
#include "plan/hint.h"
#include "plan/script.h"
#include "proxy/beside.h"
#include "proxy/branch.h"
#include "proxy/changed.h"
#include "proxy/follow.h"
#include "proxy/own_schema.h"
#include "proxy/proxy.h"
#include "proxy/server.h"
#include "proxy/unknown.h"

#include <string.h>

enum { COORDINATOR_WAIT_MS = 15000 };

static bool is_analysed(const struct worker *worker)
{
    return worker->world->model.engine == ENGINE_POSTGRES && worker->world->model.shard_count > 1;
}

bool route_is_analysed(const struct client *client)
{
    return is_analysed(client->worker);
}

/* ---- facts ---- */

static bool open_cache(struct worker *worker)
{
    uint64_t seed;
    if (worker->plans)
        return true;
    memcpy(&seed, worker->proxy->secret + 8, sizeof seed);
    worker->plan_seed = seed;
    worker->plans = plan_cache_new((size_t)worker->settings->plan_cache_size, seed);
    return worker->plans != NULL;
}

/* Of the text of a prepared statement: computed once for each context. */
static uint64_t text_hash(const struct worker *worker, const struct sql_context *context, uint64_t id,
                          struct prepared *prepared)
{
    if (prepared->plan_context != id) {
        prepared->plan_text_hash = plan_cache_hash(worker->plans, context, id, prepared->text, prepared->size);
        prepared->plan_context = id;
    }
    return prepared->plan_text_hash;
}

/* NULL and *way ROUTE_ASK: the search_path must be asked for. *context: what the facts are true of; NULL: never mind.
 */
/* `way`: ROUTE_ASK where the path is not known yet; NULL: it does not matter. */
static bool find_facts(struct client *client, const char *text, size_t size, struct prepared *prepared,
                       struct sql_context *given, struct plan_cached *found, enum route_way *way)
{
    static const char *const plain[] = {"pg_catalog", "public"};
    struct worker *worker = client->worker;
    struct sql_context context = {.schema = worker->world->schema, .path = plain, .path_count = 2};
    const struct session_path *path = NULL;
    mosaic_error error;
    if (!open_cache(worker))
        return false;
    if (worker->dropped_schemas)
        own_schemas_free_dropped(worker);
    if (is_analysed(worker)) {
        path = route_path(client);
        /* In a transaction that has failed nothing can be asked, and no name has to mean anything: only its end counts.
         */
        if (!path && client->status != 'E' && way) {
            client->asks_for = ASK_PATH;
            *way = ROUTE_ASK;
            return true;
        }
        if (path)
            context.path_count = route_path_names(path, &context.path);
    }
    struct plan_cache *own = own_schema_plans(client);
    if (own)
        context.schema = own_schema_of(client, worker);
    context.temporary = (const char *const *)client->temporary;
    context.temporary_count = client->temporary_count;
    if (prepared) {
        context.types = prepared->described ? prepared->described : prepared->types;
        context.type_count = prepared->described ? prepared->described_count : prepared->type_count;
    }
    uint64_t id = route_path_context(path, &context, worker->plan_seed);
    uint64_t hash = prepared ? text_hash(worker, &context, id, prepared) : 0;
    if (given)
        *given = context;
    return plan_cache_find(own ? own : worker->plans, &context, id, text, size, hash, found, &error) == MOSAIC_OK;
}

bool route_text_facts(struct client *client, const char *text, size_t size, struct route *route)
{
    struct plan_cached found = {0};
    *route = (struct route){.way = ROUTE_ANY, .bucket = PLAN_NO_BUCKET};
    if (!find_facts(client, text, size, NULL, NULL, &found, &route->way))
        return false;
    route->facts = found.list;
    return true;
}

bool route_facts(struct client *client, struct prepared *prepared, struct route *route)
{
    struct plan_cached found = {0};
    *route = (struct route){.way = ROUTE_ANY, .bucket = PLAN_NO_BUCKET};
    if (!find_facts(client, prepared->text, prepared->size, prepared, NULL, &found, &route->way))
        return false;
    route->facts = found.list;
    return true;
}

bool route_effect(struct client *client, struct prepared *prepared, struct route *route)
{
    struct plan_cached found = {0};
    *route = (struct route){.way = ROUTE_ANY, .bucket = PLAN_NO_BUCKET};
    if (!find_facts(client, prepared->text, prepared->size, prepared, NULL, &found, NULL))
        return false;
    route->facts = found.list;
    return true;
}

/* ---- plans ---- */

static bool is_down(const struct client *client, size_t shard)
{
    const struct pool *pool = pool_find(client->user, shard);
    return pool && pool_count(pool) == 0 && client->worker->loop.now < pool->retry_at;
}

size_t route_any(const struct client *client)
{
    const struct world *world = client->worker->world;
    size_t count = world->model.shard_count, shard = world->home;
    if (client->server && (client->status == 'I' || client->server->pool->shard < count))
        return client->server->pool->shard;
    if (branch_any(client) != SIZE_MAX)
        return branch_any(client);
    for (size_t i = 0; i < count && is_down(client, shard); i++)
        shard = (shard + 1) % count;
    return shard;
}

static mosaic_error *new_error(struct client *client)
{
    return arena_zeroed(&client->worker->scratch, 1, sizeof(mosaic_error));
}

const char *route_setting(const struct client *client, const char *name)
{
    const struct setting *setting = settings_lookup(client->session, name);
    return setting && setting->value && *setting->value ? setting->value : NULL;
}

/* SET, RESET and SHOW alone: they go where they must, so that a hint that is none any more can be taken back. */
static bool is_of_settings(const struct facts_list *list)
{
    bool all = list->count > 0;
    for (size_t i = 0; i < list->count; i++)
        all &= list->facts[i].class == STATEMENT_SET || list->facts[i].class == STATEMENT_SHOW;
    return all;
}

/* What the session has set, where the comment says nothing. */
static void take_choices(const struct client *client, struct plan_hint *hint)
{
    if (!hint->scatter)
        hint->scatter = route_setting(client, "mosaic.scatter");
    if (!hint->partial_results)
        hint->partial_results = route_setting(client, "mosaic.partial_results");
}

/* What the person who wrote it says; false: refused, with route->error. */
static bool find_hint(struct client *client, const char *text, size_t size, struct plan_hint *hint, struct route *route)
{
    struct arena *scratch = &client->worker->scratch;
    *hint = (struct plan_hint){0};
    if (!client->worker->settings->hints || is_of_settings(route->facts))
        return true;
    mosaic_error error;
    mosaic_status status = hint_from_text(text, size, scratch, hint, &error);
    if (status == MOSAIC_OK && hint_is_empty(hint) && client->session->has_ours) {
        static const char *const names[] = {"mosaic.shard", "mosaic.key", "mosaic.table"};
        for (size_t i = 0; i < 3 && status == MOSAIC_OK; i++) {
            const char *value = route_setting(client, names[i]);
            if (value)
                status = hint_set(&client->worker->world->model, names[i], value, scratch, hint, &error);
        }
    }
    if (status == MOSAIC_OK && client->session->has_ours)
        take_choices(client, hint);
    if (status == MOSAIC_OK && (hint->scatter || hint->partial_results || !hint_is_empty(hint)))
        status = hint_check(&client->worker->world->model, hint, &error);
    if (status == MOSAIC_OK)
        return true;
    route->way = ROUTE_REFUSED;
    route->error = new_error(client);
    if (route->error)
        *route->error = error;
    return false;
}

static void refuse_mixture(struct client *client, struct route *route, size_t shard)
{
    const struct model *model = &client->worker->world->model;
    route->error = new_error(client);
    if (!route->error)
        return;
    (void)!error_set(route->error, MOSAIC_UNSUPPORTED,
                     "the statements of this message belong to different shards, %s and %s",
                     model->shards[route->shard].name, model->shards[shard].name);
    error_hint(route->error, "send each statement by itself");
    route->way = ROUTE_REFUSED;
}

/* The place of a refusal in the text, as PostgreSQL counts: characters, from 1. 0: none. */
static uint32_t position_of(const struct facts *facts, const char *text, size_t size)
{
    if (!facts->refusal || facts->refusal->location < 0 || (size_t)facts->refusal->location > size)
        return 0;
    return 1 + (uint32_t)utf8_count(text, (size_t)facts->refusal->location);
}

static void combine(struct client *client, struct route *route, const struct plan *plan, uint32_t position)
{
    switch (plan->kind) {
    case PLAN_REFUSED:
        route->way = ROUTE_REFUSED;
        route->error = plan->error;
        client->error_position = position;
        COUNT(&client->worker->counters, refusals, 1);
        break;
    case PLAN_SHARD:
        if (route->way == ROUTE_SHARD && route->shard != plan->shard) {
            refuse_mixture(client, route, plan->shard);
            break;
        }
        route->way = ROUTE_SHARD;
        route->shard = plan->shard;
        route->bucket = plan->bucket;
        route->relation = plan->relation;
        break;
    case PLAN_SCATTER:
        route->way = ROUTE_SCATTER;
        route->tier = plan->scatter->final ? 3 : 2;
        route->joins = plan->scatter->locks;
        route->error = plan->error;
        route->position = position;
        route->plan = arena_copy(&client->worker->scratch, plan, sizeof *plan);
        break;
    case PLAN_WRITE:
        route->way = ROUTE_SCATTER;
        route->tier = 2;
        route->joins = !plan->write->by_itself && (!plan->write->explains || plan->write->explain_runs);
        route->error = plan->error;
        route->position = position;
        route->plan = arena_copy(&client->worker->scratch, plan, sizeof *plan);
        break;
    case PLAN_COORDINATOR:
        if (route->way == ROUTE_SHARD && route->shard != client->worker->world->model.shard_count) {
            refuse_mixture(client, route, client->worker->world->model.shard_count);
            break;
        }
        route->way = ROUTE_SHARD;
        route->shard = client->worker->world->model.shard_count;
        route->tier = 4;
        route->error = plan->error;
        route->position = position;
        route->pruned = plan->pruned;
        break;
    default:
        break;
    }
}

static bool explain(struct client *client, const char *text, size_t size, const struct plan_input *values,
                    struct route *route)
{
    struct arena *scratch = &client->worker->scratch;
    struct explain_input input = {&route->facts->facts[0], values, text, size};
    mosaic_error error;
    route->explanation = arena_zeroed(scratch, 1, sizeof *route->explanation);
    return route->explanation && explain_make(&input, scratch, route->explanation, &error) == MOSAIC_OK;
}

/* Does a value that decides have a type that only a server can tell? */
static bool lacks_types(const struct facts *facts, const struct route_parameters *parameters)
{
    return parameters && parameters->values && facts->untyped_count && !parameters->prepared->described;
}

/*
 * Tier 3 is two statements, as what picks rows is, an INSERT that is dealt out is several, and each would find its own
 * type for a parameter that Parse left open. PostgreSQL finds one for the whole, which a server is asked for.
 */
static bool lacks_common_types(const struct plan *plan, const struct facts *facts,
                               const struct route_parameters *parameters)
{
    enum { UNKNOWN = 705 };
    const struct plan_write *write = plan->kind == PLAN_WRITE ? plan->write : NULL;
    bool is_split = (plan->kind == PLAN_SCATTER && (plan->scatter->final || plan->scatter->pick)) ||
                    (write && (write->parts->parameters || write->pick || write->source || write->move));
    if (!is_split || !parameters || !parameters->values || parameters->prepared->described)
        return false;
    const struct prepared *prepared = parameters->prepared;
    bool lacks = prepared->type_count < facts->parameter_count;
    for (uint16_t i = 0; i < prepared->type_count; i++)
        lacks |= prepared->types[i] == 0 || prepared->types[i] == UNKNOWN;
    return lacks;
}

/*
 * Catalogs are asked of the home shard. In a transaction that is open on another one they are read there, where they
 * say the same of tables and functions (apply sees to it); of types only if their OIDs agree.
 */
static bool may_read_here(const struct client *client)
{
    return client->status == 'T' && client->server && !client->is_fresh && !client->is_aside &&
           !client->transaction.changes_schema && client->worker->world->types_agree[client->server->pool->shard];
}

/* What set_config has set of no literal, one connection knows alone: elsewhere the statement would run without it. */
static void stay_with_unknown(struct client *client, struct route *route)
{
    const struct world *world = client->worker->world;
    if (route->way != ROUTE_SCATTER && world->slots[route->shard] == client->unknown_slot)
        return;
    for (size_t i = 0; route->way == ROUTE_ANY && i < world->model.shard_count; i++)
        if (world->slots[i] == client->unknown_slot) {
            route->shard = i;
            return;
        }
    route->way = ROUTE_REFUSED;
    route->error = new_error(client);
    if (!route->error)
        return;
    (void)!error_set(route->error, MOSAIC_UNSUPPORTED,
                     "this statement belongs to %s, which lacks a setting of the session",
                     route->plan ? "several shards" : world->model.shards[route->shard].name);
    error_detail(route->error,
                 "set_config with a name or value that is no literal, or SET SESSION CHARACTERISTICS, was run "
                 "on another shard's connection.");
    error_hint(route->error, "say SET, or set_config with literals; DISCARD ALL forgets it");
    error_sqlstate(route->error, "0A000");
}

static size_t shards_of(const struct worker *worker, const struct plan *plan)
{
    if (!plan)
        return worker->world->model.shard_count;
    return plan->kind == PLAN_WRITE ? plan->write->part_count : plan->shard_count;
}

/* What one shard cannot answer: may it run at all, and is the client to be warned? */
static void guard(struct client *client, const struct plan_hint *hint, struct route *route)
{
    struct worker *worker = client->worker;
    struct guard_input input = {.settings = worker->settings,
                                .user = client->user->account->name,
                                .said = hint->scatter,
                                .tier = route->tier,
                                .shards = shards_of(worker, route->plan),
                                .why = route->error};
    mosaic_error told;
    route->may_miss = worker->settings->partial_results;
    if (hint->partial_results)
        (void)settings_bool(hint->partial_results, &route->may_miss);
    switch (guard_look(&input, &told)) {
    case GUARD_REFUSES:
        COUNT(&worker->counters, refusals, 1);
        client->error_position = route->position;
        route->way = ROUTE_REFUSED;
        route->error = arena_copy(&worker->scratch, &told, sizeof told);
        break;
    case GUARD_WARNS:
        route->warning = arena_copy(&worker->scratch, &told, sizeof told);
        break;
    default:
        break;
    }
}

/* What was tried and could not be merged goes elsewhere, this once. */
static bool may_scatter(struct client *client, const struct facts_list *list, const struct route_parameters *parameters)
{
    bool avoids = client->avoids_scatter;
    client->avoids_scatter = false;
    return !avoids && list->count == 1 && !(parameters && parameters->is_executed);
}

/* It is being brought up to date, and what follows is read then: not for longer than clients have patience. */
static bool awaits_coordinator(struct client *client)
{
    struct worker *worker = client->worker;
    if (client->status == 'E' || !follow_hurry(worker->proxy->follow))
        return false;
    if (!client->awaits_until)
        client->awaits_until = worker->loop.now + COORDINATOR_WAIT_MS;
    if (worker->loop.now >= client->awaits_until)
        return false;
    client->needs_reading = worker->readings + 1;
    return true;
}

/* Not of more than are kept at once; nor in a transaction that has failed, where whatever comes is refused. */
static bool may_ask_ids(const struct client *client, size_t wanted)
{
    return wanted <= IDS_MOST && client->status != 'E' && !client->transaction.has_failed && !client->asks;
}

/*
 * The moment at which the client's transaction began, to be told to shards that each have another one. NULL: one of
 * them has told its own already, or is to.
 */
static const char *find_moment(const struct client *client, struct route *route)
{
    const struct transaction *transaction = &client->transaction;
    struct timespec now;
    struct tm date;
    char text[64];
    if (route_has_shard_clocks(client) || (transaction->is_open && transaction->has_clock && !transaction->moment_us))
        return NULL;
    clock_gettime(CLOCK_REALTIME, &now);
    route->moment_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    if (transaction->is_open && transaction->began)
        route->moment_us -= (client->worker->loop.now - transaction->began) * 1000;
    if (transaction->is_open && transaction->moment_us)
        route->moment_us = transaction->moment_us;
    time_t seconds = (time_t)(route->moment_us / 1000000);
    if (!gmtime_r(&seconds, &date) || !strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &date))
        return NULL;
    return arena_format(&client->worker->scratch, "%s.%06d+00", text, (int)(route->moment_us % 1000000));
}

static bool ask_schema(struct client *client, struct route *route)
{
    client->asks_for = ASK_SCHEMA;
    route->way = ROUTE_ASK;
    return own_schema_begin(client);
}

static bool may_tell_clock(const struct facts *facts)
{
    return facts->write ? facts->write->tells_clock : facts->stream && facts->stream->names_moment;
}

bool route_text(struct client *client, const char *text, size_t size, const struct route_parameters *parameters,
                struct route *route)
{
    struct worker *worker = client->worker;
    struct plan_cached found = {0};
    struct plan_hint hint = {0};
    struct sql_context context = {0};
    mosaic_error error;
    *route = (struct route){.way = ROUTE_ANY, .bucket = PLAN_NO_BUCKET};
    if (!find_facts(client, text, size, parameters ? parameters->prepared : NULL, &context, &found, &route->way))
        return false;
    route->facts = found.list;
    route->literals = found.literals;
    route->literal_count = found.literal_count;
    if (route->way == ROUTE_ASK)
        return true;
    if (changed_wants_schema(client, found.list, text, size))
        return ask_schema(client, route);
    beside_note_isolation(client, found.list, text, size);
    if (is_analysed(worker) && unknown_awaits_look(client, found.list)) {
        route->way = ROUTE_WAIT;
        return true;
    }
    if (!is_analysed(worker)) {
        /* One shard: a hint chooses nothing, but must not name another one. */
        route->shard = route_any(client);
        return worker->world->model.engine != ENGINE_POSTGRES || find_hint(client, text, size, &hint, route) ||
               route->error != NULL;
    }
    if (!find_hint(client, text, size, &hint, route))
        return route->error != NULL;
    struct plan_input input = {.schema = context.schema,
                               .literals = found.literals,
                               .literal_count = found.literal_count,
                               .parameters = parameters ? parameters->values : NULL,
                               .parameter_count = parameters ? parameters->count : 0,
                               .hint = hint_is_empty(&hint) ? NULL : &hint,
                               .has_coordinator = worker->world->has_coordinator,
                               .no_coordinator = worker->world->no_coordinator,
                               .has_scatter = may_scatter(client, found.list, parameters),
                               .text = text,
                               .size = size};
    input.has_writes = input.has_scatter;
    input.has_streams = found.list->count == 1 && !(parameters && parameters->is_executed);
    input.context = &context;
    input.id_count = ids_there(&worker->ids, worker->loop.now, &input.ids);
    if (found.list->count == 1 && may_tell_clock(&found.list->facts[0]))
        input.moment = find_moment(client, route);
    if (found.list->count == 1 && found.list->facts[0].explain_mosaic && !lacks_types(found.list->facts, parameters)) {
        route->way = ROUTE_EXPLAIN;
        bool done = explain(client, text, size, &input, route);
        if (done && route->explanation->plan.ids_wanted && may_ask_ids(client, route->explanation->plan.ids_wanted)) {
            client->asks_for = ASK_IDS;
            client->ids_wanted = route->explanation->plan.ids_wanted;
            route->way = ROUTE_ASK;
        }
        return done;
    }
    struct plan script = {.kind = PLAN_REFUSED};
    if (found.list->count > 1 && !parameters && hint_is_empty(&hint) &&
        script_plan(found.list->facts, found.list->count, &input, &worker->scratch, &script, &error) != MOSAIC_OK)
        return false;
    if (script.kind == PLAN_WRITE)
        combine(client, route, &script, 0);
    for (size_t i = 0; i < found.list->count && route->way != ROUTE_REFUSED && script.kind != PLAN_WRITE; i++) {
        struct plan plan;
        if (lacks_types(&found.list->facts[i], parameters)) {
            route->way = ROUTE_TYPES;
            return true;
        }
        if (plan_make(&found.list->facts[i], &input, &worker->scratch, &plan, &error) != MOSAIC_OK)
            return false;
        if (lacks_common_types(&plan, &found.list->facts[i], parameters)) {
            route->way = ROUTE_TYPES;
            return true;
        }
        if (plan.ids_wanted && may_ask_ids(client, plan.ids_wanted)) {
            client->asks_for = ASK_IDS;
            client->ids_wanted = plan.ids_wanted;
            route->way = ROUTE_ASK;
            return true;
        }
        ids_give(&worker->ids, plan.kind == PLAN_WRITE ? plan.write->ids_used : 0);
        bool unproved = plan.kind != PLAN_SHARD && plan.kind != PLAN_ANY;
        if (unproved && parameters && parameters->more) {
            route->way = ROUTE_MORE;
            return true;
        }
        if (plan.kind == PLAN_SHARD && found.list->facts[i].reads_catalogs && may_read_here(client))
            plan.kind = PLAN_ANY;
        /* What a role was granted it has there too, until the coordinator has followed. */
        bool is_of_roles = plan.kind == PLAN_WRITE && plan.write->once_a_server && input.no_coordinator;
        if ((plan.wants_coordinator || is_of_roles) && awaits_coordinator(client)) {
            route->way = ROUTE_WAIT;
            return true;
        }
        combine(client, route, &plan, position_of(&found.list->facts[i], text, size));
        bool explains =
            (plan.kind == PLAN_SCATTER && plan.scatter->explains) || (plan.kind == PLAN_WRITE && plan.write->explains);
        if (explains && !explain(client, text, size, &input, route))
            return false;
    }
    client->awaits_until = 0;
    if (route->way == ROUTE_REFUSED && changed_may_differ(client))
        return ask_schema(client, route);
    if (route->way != ROUTE_REFUSED && client->status != 'E')
        changed_check(client, route);
    if (route->tier && route->way != ROUTE_REFUSED)
        beside_check(client, text, size, parameters, route);
    bool asks = route->tier && !(route->plan && route->plan->kind == PLAN_WRITE && !route->plan->write->target);
    if (asks && route->way != ROUTE_REFUSED && client->status != 'E')
        guard(client, &hint, route);
    if (route->way == ROUTE_ANY)
        route->shard = route_any(client);
    if (route->way != ROUTE_REFUSED && client->has_unknown && client->status != 'E')
        stay_with_unknown(client, route);
    return route->way != ROUTE_REFUSED || route->error;
}
