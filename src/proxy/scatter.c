/*
 * The life of a scatter, and how its legs come to servers and go from them. leg.c has their answers.
 */
#include "base/memory.h"
#include "proxy/cancel.h"
#include "proxy/client_scatter.h"
#include "proxy/leg.h"
#include "proxy/proxy.h"
#include "proxy/server.h"
#include "proxy/tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { REQUEST_MOST = WIRE_LENGTH_MOST };
enum { LEFT_MS = 100 }; /* how long a shard may go on behind the end */

/* ---- its end ---- */

static void leg_freed(struct source *source)
{
    struct leg *leg = (struct leg *)LIST_OWNER(struct client, channel.source, source);
    struct scatter *scatter = leg->scatter;
    if (++scatter->buried < scatter->leg_count)
        return;
    arena_free(&scatter->arena);
    memory_free(scatter);
}

static void bury(struct scatter *scatter)
{
    timer_cancel(&scatter->timer);
    merge_free(scatter->merge);
    buffer_free(&scatter->request);
    buffer_free(&scatter->notices);
    buffer_free(&scatter->description);
    buffer_free(&scatter->failure);
    buffer_free(&scatter->lines);
    bound_values_free(&scatter->bound);
    combine_free(scatter);
    for (size_t i = 0; i < scatter->leg_count; i++) {
        struct leg *leg = &scatter->legs[i];
        buffer_free(&leg->rows);
        buffer_free(&leg->next);
        memory_free(leg->client.failure);
        settings_release(leg->client.session);
        leg->client.state = CLIENT_CLOSED;
        loop_bury(&scatter->worker->loop, &leg->client.channel.source);
    }
}

void leg_over(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    if (leg->state == LEG_OVER)
        return;
    leg->state = LEG_OVER;
    if (--scatter->active == 0 && !scatter->client)
        bury(scatter);
}

/* Of one that was asked. False: it cannot be told. Its server may be the one that is being read. */
static bool cancel_leg(struct leg *leg)
{
    if (leg->state != LEG_ASKED || leg->is_cancelled)
        return true;
    leg->is_cancelled = true;
    if (cancel_server(leg->client.server))
        return true;
    leg->client.server->unfit = true;
    return false;
}

/* Where no server is being read: who cannot be told is closed. */
static void cancel_legs(struct scatter *scatter)
{
    for (size_t i = 0; i < scatter->leg_count; i++)
        if (!cancel_leg(&scatter->legs[i]))
            server_close(scatter->legs[i].client.server, NULL); /* leg_lost */
}

/* Nobody wants its rows any more. */
static void drop_leg(struct leg *leg)
{
    struct client *client = &leg->client;
    switch (leg->state) {
    case LEG_NEW:
        pool_forget(client);
        if (client->server)
            server_unlink(client->server);
        leg_over(leg);
        break;
    case LEG_SENDING:
        server_close(client->server, NULL); /* leg_lost */
        break;
    case LEG_ASKED:
        if (leg->scatter->state != SCATTER_FINISHED)
            (void)cancel_leg(leg);
        break;
    default:
        break;
    }
}

/* What is asked of a shard beyond what was wanted ends by itself, or is ended soon. */
static void finish(struct scatter *scatter)
{
    bool goes_on = false;
    scatter->ended_us = scatter->worker->loop.now_us;
    timer_cancel(&scatter->timer);
    for (size_t i = 0; i < scatter->leg_count; i++) {
        struct leg *leg = &scatter->legs[i];
        goes_on |= leg->state == LEG_ASKED;
        if (leg->state == LEG_NEW)
            loop_again(&scatter->worker->loop, &leg->client.channel.source);
    }
    if (goes_on)
        timer_set(&scatter->worker->loop.timers, &scatter->timer, scatter->worker->loop.now + LEFT_MS);
    scatter_wake(scatter); /* rows that nobody wants are read over */
}

void scatter_drop(struct scatter *scatter)
{
    if (!scatter)
        return;
    if (scatter->client)
        tally_scatter(scatter);
    scatter->client = NULL;
    if (scatter->state < SCATTER_FINISHED)
        timer_cancel(&scatter->timer);
    scatter->active++; /* until all are looked at */
    for (size_t i = 0; i < scatter->leg_count; i++)
        drop_leg(&scatter->legs[i]);
    scatter_wake(scatter);
    if (--scatter->active == 0)
        bury(scatter);
}

void scatter_cancel(struct scatter *scatter)
{
    mosaic_error error;
    bool waits = false;
    for (size_t i = 0; i < scatter->leg_count; i++)
        waits |= scatter->legs[i].state <= LEG_SENDING;
    if (!waits) {
        cancel_legs(scatter);
        return;
    }
    (void)!error_set(&error, MOSAIC_INTERRUPTED, "canceling statement due to user request");
    scatter_fail(scatter, &error);
    scatter_flush(scatter);
}

/* ---- states ---- */

void scatter_turn(struct scatter *scatter, enum scatter_state state)
{
    bool was_running = scatter->state == SCATTER_RUNNING;
    if (!scatter->client || scatter->state >= SCATTER_FINISHED)
        return;
    scatter->state = state;
    if (state >= SCATTER_FINISHED)
        finish(scatter);
    if (was_running)
        client_scatter_over(scatter->client, scatter);
    else
        loop_again(&scatter->worker->loop, &scatter->client->channel.source);
}

/* The first failure counts. */
static bool may_fail(const struct scatter *scatter)
{
    return scatter->client && scatter->state < SCATTER_FINISHED && !scatter->fails;
}

static void fail(struct scatter *scatter)
{
    if (leg_is_talking(scatter->talking))
        scatter->fails = true;
    else
        scatter_turn(scatter, SCATTER_FAILED);
}

void scatter_fail_by(struct scatter *scatter, const char *message, size_t size)
{
    if (!may_fail(scatter))
        return;
    buffer_clear(&scatter->failure);
    buffer_add(&scatter->failure, message, size);
    fail(scatter);
}

void scatter_fail(struct scatter *scatter, const mosaic_error *error)
{
    if (!may_fail(scatter))
        return;
    COUNT(scatter->worker->errors, from_proxy[error_class(error->sqlstate)], 1);
    buffer_clear(&scatter->failure);
    wire_error_response(&scatter->failure, "ERROR", error->sqlstate, error->message, error->detail, error->hint);
    fail(scatter);
}

void scatter_stop(struct scatter *scatter, const mosaic_error *error)
{
    if (!may_fail(scatter))
        return;
    for (size_t i = 0; i < scatter->leg_count; i++)
        (void)cancel_leg(&scatter->legs[i]);
    scatter_fail(scatter, error);
}

static void time_out(struct timer *timer)
{
    struct scatter *scatter = LIST_OWNER(struct scatter, timer, timer);
    mosaic_error error;
    if (scatter->state >= SCATTER_FINISHED) {
        cancel_legs(scatter);
        return;
    }
    if (scatter->fails) {
        client_close(scatter->client, NULL); /* it has a part of a row, and the rest does not come */
        return;
    }
    (void)!error_set(&error, MOSAIC_TIMEOUT, "canceling statement due to scatter_timeout");
    error_sqlstate(&error, "57014");
    COUNT(&scatter->worker->counters, query_timeouts, 1);
    scatter_stop(scatter, &error);
    if (scatter->fails && scatter->state < SCATTER_FINISHED)
        timer_set(&scatter->worker->loop.timers, timer,
                  scatter->worker->loop.now + scatter->worker->settings->cancel_wait_timeout);
    scatter_flush(scatter);
}

enum scatter_state scatter_state(const struct scatter *scatter)
{
    return scatter->state;
}

bool scatter_is_busy(const struct scatter *scatter)
{
    return scatter->state == SCATTER_STARTING || scatter->state == SCATTER_RUNNING;
}

const struct buffer *scatter_description(const struct scatter *scatter)
{
    return &scatter->description;
}

void scatter_tell_notices(struct scatter *scatter, struct buffer *out)
{
    if (scatter->notices.size)
        buffer_add(out, scatter->notices.data, scatter->notices.size);
    buffer_clear(&scatter->notices);
}

bool scatter_explains(const struct scatter *scatter)
{
    return scatter->facts.explains != NULL;
}

const char *scatter_cursor(const struct scatter *scatter)
{
    return scatter->cursor;
}

void scatter_declared(struct scatter *scatter)
{
    scatter->cursor = NULL;
}

bool scatter_is_fetched(const struct scatter *scatter)
{
    return scatter->is_fetched;
}

bool scatter_copies(const struct scatter *scatter)
{
    return scatter->facts.is_copy;
}

void scatter_tag(const struct scatter *scatter, char tag[SCATTER_TAG])
{
    if (scatter->is_fetched)
        snprintf(tag, SCATTER_TAG, "FETCH %" PRIu64, scatter->fetched);
    else if (scatter_explains(scatter))
        snprintf(tag, SCATTER_TAG, "EXPLAIN");
    else if (scatter_copies(scatter))
        snprintf(tag, SCATTER_TAG, "COPY %" PRIu64, scatter->copied);
    else
        snprintf(tag, SCATTER_TAG, "SELECT %" PRIu64, scatter->fetched);
}

bool scatter_is_parsed(const struct scatter *scatter)
{
    return scatter->is_parsed;
}

const struct buffer *scatter_failure(const struct scatter *scatter)
{
    return &scatter->failure;
}

uint64_t scatter_fetched(const struct scatter *scatter)
{
    return scatter->fetched;
}

static void fetch(struct scatter *scatter, uint64_t most, bool is_sql)
{
    scatter->is_fetched = is_sql;
    scatter->fetched = 0;
    scatter->most = most;
    if (scatter->state != SCATTER_HELD) {
        client_scatter_over(scatter->client, scatter); /* there are none behind the end */
        return;
    }
    scatter->state = SCATTER_RUNNING;
    scatter_tell_notices(scatter, batch_make(&scatter->worker->to_client));
    for (size_t i = 0; i < scatter->leg_count; i++)
        scatter->legs[i].client.since = scatter->worker->loop.now;
    scatter_merge(scatter);
    if (scatter->state == SCATTER_RUNNING)
        scatter_wake(scatter);
}

void scatter_fetch(struct scatter *scatter, uint64_t most)
{
    fetch(scatter, most, false);
}

void scatter_fetch_sql(struct scatter *scatter, uint64_t most)
{
    fetch(scatter, most, true);
}

void scatter_resume(struct scatter *scatter)
{
    if (scatter->state != SCATTER_RUNNING || channel_stuck(&scatter->client->channel))
        return;
    scatter_merge(scatter);
    if (scatter->client && scatter->state == SCATTER_RUNNING)
        scatter_wake(scatter);
    scatter_flush(scatter);
}

void scatter_wake(struct scatter *scatter)
{
    for (size_t i = 0; i < scatter->leg_count; i++) {
        struct leg *leg = &scatter->legs[i];
        if (!leg->is_held)
            continue;
        leg->is_held = false;
        if (leg->client.server)
            loop_again(&scatter->worker->loop, &leg->client.server->channel.source);
    }
}

void scatter_flush(struct scatter *scatter)
{
    struct batch *batch = &scatter->worker->to_client;
    struct client *client = scatter->client;
    if (!client) {
        batch_drop(batch);
        return;
    }
    if (!batch_send(batch, &client->channel))
        client_close(client, NULL); /* which drops it */
}

/* ---- servers ---- */

/*
 * May its shard still be asked, by the plan that there is? Before anything was told, whatever was read anew is planned
 * anew. Later the rows of this shard must be those that the plan meant.
 */
static bool is_current(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    const struct world *world = scatter->worker->world;
    mosaic_error error;
    if (world->version == scatter->version)
        return true;
    if (scatter->state == SCATTER_STARTING) {
        scatter_turn(scatter, SCATTER_STALE);
        return false;
    }
    if (world->model.epoch == scatter->epoch && leg->shard < world->model.shard_count &&
        world->slots[leg->shard] == leg->slot)
        return true;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "the map has changed before shard %s was asked", leg->name);
    error_sqlstate(&error, "40001");
    error_hint(&error, "run the statement again");
    scatter_fail(scatter, &error);
    return false;
}

static bool link_leg(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    struct client *client = &leg->client;
    mosaic_error error;
    if (!is_current(leg))
        return false;
    struct pool *pool = pool_get(client->user, leg->shard);
    if (!pool)
        error_memory(&error);
    switch (pool ? pool_assign(pool, client, &error) : POOL_FAILED) {
    case POOL_LINKED:
        return true;
    case POOL_WAITS:
        return false;
    default:
        if (!leg_is_left_out(leg, &error))
            scatter_fail(scatter, &error);
        return false;
    }
}

static void send_request(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    struct worker *worker = scatter->worker;
    struct server *server = leg->client.server;
    struct buffer out = BUFFER_INIT(REQUEST_MOST);
    uint16_t count = scatter->bound.count;
    uint32_t *types = arena_allocate(&scatter->arena, (count + 1u) * sizeof *types);
    for (uint16_t i = 0; types && i < count; i++)
        types[i] = schema_oid_on(worker->world->schema, leg->shard, scatter->bound.types[i]);
    wire_parse(&out, "", scatter->asked, strlen(scatter->asked), types, count);
    buffer_add(&out, scatter->request.data, scatter->request.size);
    leg->state = LEG_ASKED;
    mosaic_error error;
    bool failed = !types || buffer_failed(&out) || !expect_add(&server->expect, EXPECT_LEG, 0, NULL);
    if (!failed) {
        COUNT(&worker->shards[server->pool->slot], bytes_sent, out.size);
        if (!channel_send(&server->channel, out.data, out.size)) {
            server->channel.readable = true; /* it will see the end */
            loop_again(&worker->loop, &server->channel.source);
        }
    }
    buffer_free(&out);
    if (failed) {
        error_memory(&error);
        server_close(server, &error);
    }
}

/* A leg that has a server gets the client's settings there, then its statement. */
static void ask(struct leg *leg)
{
    if (leg->state != LEG_NEW || !leg->client.server || leg->client.replays || !is_current(leg) ||
        client_prepare_server(&leg->client) != REACHED)
        return;
    leg->client.is_fresh = false;
    leg->client.awaits_ready = true;
    leg->client.since = leg->client.worker->loop.now;
    leg->client.began_us = leg->client.worker->loop.now_us;
    leg->client.server->unnamed = 0;
    if (leg->scatter->partials && !leg_is_partial(leg))
        combine_send(leg);
    else
        send_request(leg);
}

void scatter_reach(struct scatter *scatter)
{
    while (scatter->client && scatter->state < SCATTER_FINISHED && scatter->reached < combine_reachable(scatter)) {
        struct leg *leg = &scatter->legs[scatter->reached];
        if (leg->state != LEG_OVER && !leg->client.server &&
            (leg->client.waits || leg->client.failure || !link_leg(leg)) && !leg->is_missing)
            return;
        scatter->reached++;
        ask(leg);
    }
}

void scatter_start(struct scatter *scatter)
{
    struct worker *worker = scatter->worker;
    int64_t timeout = worker->settings->scatter_timeout;
    scatter->began_us = worker->loop.now_us;
    if (timeout)
        timer_set(&worker->loop.timers, &scatter->timer, worker->loop.now + timeout);
    scatter_reach(scatter);
}

/* It has been given a server, or its settings; or the server is lost. */
static void leg_again(struct source *source)
{
    struct leg *leg = (struct leg *)LIST_OWNER(struct client, channel.source, source);
    struct scatter *scatter = leg->scatter;
    struct client *client = &leg->client;
    if (leg->state == LEG_OVER)
        return;
    if (leg->state == LEG_NEW && scatter->state >= SCATTER_FINISHED) {
        drop_leg(leg);
        return;
    }
    if (client->failure) {
        mosaic_error error = *client->failure;
        if (!leg_is_left_out(leg, &error)) {
            leg_over(leg);
            scatter_fail(scatter, &error);
        }
    } else if (leg->state == LEG_SENDING) {
        combine_send(leg);
    } else if (leg->state == LEG_NEW && client->server) {
        ask(leg);
    } else if (leg->state == LEG_NEW && leg->number < scatter->reached && !client->waits && link_leg(leg)) {
        ask(leg);
    }
    if (!scatter->client)
        return;
    scatter_reach(scatter);
    scatter_flush(scatter);
}

static void leg_ready_event(struct source *source, uint32_t events)
{
    (void)source;
    (void)events; /* it has no socket */
}

void leg_lost(struct client *client, const mosaic_error *why, bool cut)
{
    struct leg *leg = leg_of(client);
    struct scatter *scatter = leg->scatter;
    mosaic_error error;
    client->replays = false;
    if (!scatter->client || leg->state == LEG_OVER) {
        leg_over(leg);
        return;
    }
    if (cut) {
        client_close(scatter->client, NULL); /* it has a part of a message */
        leg_over(leg);
        return;
    }
    if (leg->state == LEG_NEW && !why) {
        loop_again(&scatter->worker->loop, &client->channel.source); /* another one will do */
        return;
    }
    if (why)
        error = *why;
    else
        (void)!error_set(&error, MOSAIC_UNREACHABLE, "the connection to shard %s was lost", leg->name);
    client_server_refused(client, &error); /* told by leg_again: whose bytes are being put together now is not known */
}

void leg_closed(struct client *client)
{
    struct leg *leg = leg_of(client);
    if (leg->scatter->client)
        client_close(leg->scatter->client, NULL);
}

/* ---- its begin ---- */

/* The formats of the client's columns, as Bind says them, then binary for those that only the merge sees. */
static bool write_formats(struct scatter *scatter, const struct wire_bind *bind, mosaic_error *error)
{
    struct buffer *out = &scatter->request;
    size_t columns = scatter->facts.columns, hidden = scatter->facts.hidden;
    bool is_text = !bind || scatter->facts.is_cursor || scatter->facts.is_copy; /* whatever a Bind of DECLARE says */
    uint16_t count = is_text ? 0 : bind->result_count;
    if (count > 1 && count != columns) {
        (void)!error_set(error, MOSAIC_DATA, "bind message has %u result formats but query has %zu columns", count,
                         columns);
        error_sqlstate(error, "08P01");
        return false;
    }
    if (scatter->partials) {
        wire_16(out, 1);
        wire_16(out, 1);
        return true;
    }
    if (!hidden) {
        wire_16(out, count);
        buffer_add(out, count ? bind->results : "", count * (size_t)2);
        return true;
    }
    wire_16(out, (uint16_t)(columns + hidden));
    for (size_t i = 0; i < columns; i++)
        wire_16(out, count ? wire_get16(bind->results + (count == 1 ? 0 : 2 * i)) : 0);
    for (size_t i = 0; i < hidden; i++)
        wire_16(out, 1);
    return true;
}

static bool write_request(struct scatter *scatter, const struct wire_bind *bind, mosaic_error *error)
{
    struct buffer *out = &scatter->request;
    size_t at = wire_begin(out, WIRE_BIND);
    wire_text(out, "");
    wire_text(out, "");
    wire_16(out, scatter->bound.count);
    buffer_add(out, buffer_string(&scatter->bound.formats), scatter->bound.formats.size);
    wire_16(out, scatter->bound.count);
    buffer_add(out, buffer_string(&scatter->bound.values), scatter->bound.values.size);
    if (!write_formats(scatter, bind, error))
        return false;
    wire_end(out, at);
    wire_describe(out, 'P', "");
    at = wire_begin(out, WIRE_EXECUTE);
    wire_text(out, "");
    wire_32(out, 0);
    wire_end(out, at);
    wire_empty(out, WIRE_SYNC);
    return !buffer_failed(out) || (error_memory(error), false);
}

/* A copy of what the plan says: that one goes with the plan cache's entry. */
static bool copy_facts(struct scatter *scatter, const struct scatter_order *order)
{
    const struct fact_scatter *from = order->plan->scatter;
    struct fact_scatter *to = &scatter->facts;
    struct arena *arena = &scatter->arena;
    *to = *from;
    to->driver = NULL;
    to->final = NULL;
    if (from->final)
        to->hidden = 0; /* of the result, which the coordinator gives */
    to->text = arena_string(arena, from->text);
    scatter->asked = from->explains ? arena_format(arena, "%s%s", from->explains, from->text) : to->text;
    if (from->explains)
        to->columns = 1, to->hidden = to->sort_count = 0, to->combines = NULL;
    if (to->sort_count)
        to->sorts = arena_copy(arena, from->sorts, from->sort_count * sizeof *from->sorts);
    if (to->combines)
        to->combines = arena_copy(arena, from->combines, from->columns * sizeof *from->combines);
    scatter->text = arena_copy(arena, order->text, order->size);
    if (order->cursor)
        scatter->cursor = arena_string(arena, order->cursor);
    scatter->size = order->size;
    return to->text && (to->sorts || !to->sort_count) && scatter->asked && scatter->text &&
           bound_values_take(&scatter->bound, arena, to->text, order->types, order->type_count, order->bind);
}

static bool leg_init(struct scatter *scatter, size_t number, size_t shard)
{
    struct leg *leg = &scatter->legs[number];
    struct client *client = &leg->client, *owner = scatter->client;
    leg->scatter = scatter;
    leg->number = number;
    leg->shard = shard;
    leg->slot = owner->worker->world->slots[shard];
    leg->name = arena_string(&scatter->arena, owner->worker->world->model.shards[shard].name);
    leg->rows = leg->next = BUFFER_INIT(LEG_ROW_MOST + WORKER_SPACE);
    channel_init(&client->channel, &owner->worker->loop, -1);
    source_init(&client->channel.source, leg_ready_event, leg_again, leg_freed);
    client->worker = owner->worker;
    client->user = owner->user;
    client->number = owner->number;
    client->state = CLIENT_READY;
    client->status = 'I';
    client->is_leg = true;
    client->is_fresh = true;
    list_init(&client->node);
    list_init(&client->kept);
    list_init(&client->wait_node);
    timer_init(&client->timer, NULL);
    client->session = settings_hold(owner->transaction.is_lazy ? owner->transaction.before : owner->session);
    return leg->name;
}

static uint64_t limit_of(int64_t setting)
{
    return setting ? (uint64_t)setting : UINT64_MAX;
}

struct scatter *scatter_new(struct client *client, const struct scatter_order *order, mosaic_error *error)
{
    const struct plan *plan = order->plan;
    bool explains = plan->scatter->explains != NULL, combines = plan->scatter->final && !explains;
    size_t count = plan->shard_count + combines;
    struct scatter *made = memory_zeroed(1, sizeof *made + count * sizeof(struct leg));
    if (!made) {
        error_memory(error);
        return NULL;
    }
    made->client = client;
    made->worker = client->worker;
    made->version = client->worker->world->version;
    made->epoch = client->worker->world->model.epoch;
    made->leg_count = made->active = count;
    made->tier = order->tier;
    made->given_most = limit_of(client->worker->settings->scatter_max_rows);
    made->received_most = limit_of(client->worker->settings->scatter_max_bytes);
    timer_init(&made->timer, time_out);
    made->request = BUFFER_INIT(REQUEST_MOST);
    made->notices = made->description = made->failure = BUFFER_INIT(TOLD_MOST);
    bool named = true;
    for (size_t i = 0; i < count; i++)
        named &= leg_init(made, i, i < plan->shard_count ? plan->shards[i] : client->worker->world->model.shard_count);
    if (!named || (combines && !combine_prepare(made, order, (size_t)client->worker->settings->scatter_memory)) ||
        !copy_facts(made, order) ||
        !(made->merge = merge_new(&made->facts, combines || explains ? UINT64_MAX : plan->limit,
                                  combines || explains ? 0 : plan->offset, count))) {
        error_memory(error);
        scatter_drop(made);
        return NULL;
    }
    made->may_miss = order->may_miss && !combines && !explains && merge_way(made->merge) != MERGE_AGGREGATES;
    made->lines = BUFFER_INIT(TOLD_MOST);
    for (size_t i = 0; explains && order->explanation && i < order->explanation->line_count; i++)
        wire_text_row(&made->lines, &order->explanation->lines[i], 1);
    if (order->warning)
        wire_warning(&made->notices, order->warning->sqlstate, order->warning->message, order->warning->detail,
                     order->warning->hint);
    if (!write_request(made, order->bind, error)) {
        scatter_drop(made);
        return NULL;
    }
    return made;
}
