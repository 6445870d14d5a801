/*
 * A scatter in the making: what its shards are asked, copied of a plan that does not live as long.
 */
#include "base/memory.h"
#include "proxy/leg.h"
#include "proxy/proxy.h"
#include "proxy/stream.h"

#include <string.h>

enum { REQUEST_MOST = WIRE_LENGTH_MOST };

static void leg_ready_event(struct source *source, uint32_t events)
{
    (void)source;
    (void)events; /* it has no socket */
}

/* The formats of the client's columns, as Bind says them, then binary for those that only the merge sees. */
static bool write_formats(struct scatter *scatter, const struct wire_bind *bind, struct buffer *out,
                          mosaic_error *error)
{
    size_t columns = scatter->facts.columns, hidden = scatter->facts.hidden;
    bool is_text = !bind || scatter->facts.is_cursor || scatter->facts.is_copy; /* whatever a Bind of DECLARE says */
    uint16_t count = is_text ? 0 : bind->result_count;
    if (!scatter->write && count > 1 && count != columns) {
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

bool asking_write(struct scatter *scatter, struct asking *asking, const struct wire_bind *bind, mosaic_error *error)
{
    struct buffer *out = &asking->request;
    const struct bound_values *bound = &asking->bound;
    asking->kept = leg_statement(scatter, asking->text, bound->types, bound->count, !bound->count);
    *out = BUFFER_INIT(REQUEST_MOST);
    size_t at = wire_begin(out, WIRE_BIND);
    wire_text(out, "");
    wire_text(out, asking->kept ? prepared_name(asking->kept) : "");
    wire_16(out, bound->count);
    buffer_add(out, buffer_string(&bound->formats), bound->formats.size);
    wire_16(out, bound->count);
    buffer_add(out, buffer_string(&bound->values), bound->values.size);
    if (!write_formats(scatter, bind, out, error))
        return false;
    wire_end(out, at);
    wire_describe(out, 'P', "");
    wire_execute(out, "");
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
    if (from->lacking_before) {
        to->lacking_before = arena_string(arena, from->lacking_before);
        to->lacking_after = arena_string(arena, from->lacking_after);
    }
    scatter->asking.text = from->explains ? arena_format(arena, "%s%s", from->explains, from->text) : to->text;
    if (from->explains)
        to->columns = 1, to->hidden = to->sort_count = 0, to->combines = NULL;
    if (from->pick && !from->explains) /* what the client gets comes of what is tried, in its order */
        to->hidden = to->sort_count = 0, to->has_limit = false;
    if (to->sort_count)
        to->sorts = arena_copy(arena, from->sorts, from->sort_count * sizeof *from->sorts);
    if (to->combines)
        to->combines = arena_copy(arena, from->combines, from->columns * sizeof *from->combines);
    if (order->cursor)
        scatter->cursor = arena_string(arena, order->cursor);
    bool has_lacking = !from->lacking_before || (to->lacking_before && to->lacking_after);
    return to->text && has_lacking && (to->sorts || !to->sort_count) && scatter->asking.text &&
           bound_values_take(&scatter->asking.bound, arena, to->text, order->types, order->type_count, order->bind);
}

static bool leg_init(struct scatter *scatter, size_t number, size_t shard)
{
    struct leg *leg = &scatter->legs[number];
    struct client *client = &leg->client, *owner = scatter->client;
    leg->scatter = scatter;
    leg->asking = &scatter->asking;
    leg->number = number;
    leg->joins = scatter->joins && shard < owner->worker->world->model.shard_count;
    leg->shard = shard;
    leg->slot = owner->worker->world->slots[shard];
    leg->name = arena_string(&scatter->arena, owner->worker->world->model.shards[shard].name);
    leg->rows = leg->next = BUFFER_INIT(LEG_ROW_MOST + READ_MOST);
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
    bool begins = owner->transaction.is_lazy || leg->joins; /* what it is told of the transaction is the rest */
    client->session = settings_hold(begins ? owner->transaction.before : owner->session);
    return leg->name;
}

static uint64_t limit_of(int64_t setting)
{
    return setting ? (uint64_t)setting : UINT64_MAX;
}

struct scatter *scatter_make(struct client *client, const struct scatter_order *order, size_t count,
                             mosaic_error *error)
{
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
    made->joins = order->joins;
    made->given_most = limit_of(client->worker->settings->scatter_max_rows);
    made->received_most = limit_of(client->worker->settings->scatter_max_bytes);
    timer_init(&made->timer, scatter_timed_out);
    made->notices = made->description = made->lines = BUFFER_INIT(TOLD_MOST);
    made->failure = BUFFER_INIT(LEG_ERROR_MOST);
    if (order->warning)
        wire_warning(&made->notices, order->warning->sqlstate, order->warning->message, order->warning->detail,
                     order->warning->hint);
    made->size = order->size;
    made->text = arena_copy(&made->arena, order->text, order->size);
    bool done = made->text != NULL;
    for (size_t i = 0; i < count; i++)
        done &= leg_init(made, i, i < order->shard_count ? order->shards[i] : client->worker->world->model.shard_count);
    if (done)
        return made;
    error_memory(error);
    scatter_drop(made);
    return NULL;
}

void scatter_add_lines(struct scatter *scatter, const struct scatter_order *order)
{
    for (size_t i = 0; order->explanation && i < order->explanation->line_count; i++)
        wire_text_row(&scatter->lines, &order->explanation->lines[i], 1);
}

static struct scatter *new_read(struct client *client, struct scatter_order *order, mosaic_error *error)
{
    const struct plan *plan = order->plan;
    bool explains = plan->scatter->explains != NULL, combines = plan->scatter->final && !explains;
    const struct fact_pick *pick = explains ? NULL : plan->scatter->pick;
    bool counts = !combines && !explains && !pick; /* LIMIT's and OFFSET's rows are counted here */
    order->shards = plan->shards;
    order->shard_count = plan->shard_count;
    struct scatter *made = scatter_make(client, order, plan->shard_count + combines, error);
    if (!made)
        return NULL;
    made->in_turn = plan->scatter->locks && !pick;
    made->is_prepared = order->bind && *order->bind->statement && !explains && !plan->scatter->lacking_before && !pick;
    made->may_keep = !order->joins && !order->cursor && !explains && !plan->scatter->lacking_before &&
                     !plan->scatter->is_copy && !plan->scatter->locks;
    if ((combines && !combine_prepare(made, order, (size_t)client->worker->settings->scatter_memory)) ||
        !copy_facts(made, order) ||
        !(made->merge =
              merge_new(&made->facts, counts ? plan->limit : UINT64_MAX, counts ? plan->offset : 0, made->leg_count)) ||
        (pick && !pick_new(made, order, pick, plan->limit))) {
        error_memory(error);
        scatter_drop(made);
        return NULL;
    }
    made->may_miss =
        order->may_miss && !order->joins && !combines && !explains && merge_way(made->merge) != MERGE_AGGREGATES;
    if (explains)
        scatter_add_lines(made, order);
    if (pick || asking_write(made, &made->asking, order->bind, error))
        return made;
    scatter_drop(made);
    return NULL;
}

struct scatter *scatter_new(struct client *client, struct scatter_order *order, mosaic_error *error)
{
    if (order->plan->kind != PLAN_WRITE)
        return new_read(client, order, error);
    return order->plan->write->source ? stream_new(client, order, error) : scatter_new_write(client, order, error);
}
