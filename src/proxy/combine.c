/*
 * Tier 3: the shards' rows are gathered by columns, and the coordinator runs the statement that combines them.
 *
 *     leg ─┐
 *     leg ─┼─ partials ── Parse, Bind (the client's values, an array a column), Execute ── the last leg ── client
 *     leg ─┘
 */
#include "base/memory.h"
#include "core/modifier.h"
#include "core/sqlexpr.h"
#include "proxy/copy_in.h"
#include "proxy/leg.h"
#include "proxy/proxy.h"
#include "proxy/stream.h"

#include <stdlib.h>
#include <string.h>

enum { FORMAT_BINARY = 1 };

bool combine_prepare(struct scatter *scatter, const struct scatter_order *order, size_t most)
{
    struct arena *arena = &scatter->arena;
    const struct fact_final *from = order->plan->scatter->final;
    const struct wire_bind *bind = order->bind;
    size_t columns = order->plan->scatter->hidden;
    scatter->partials = partials_new(columns, most);
    scatter->final.text = arena_string(arena, from->text);
    scatter->final.partials = arena_copy(arena, from->partials, columns * sizeof *from->partials);
    scatter->shown_count = order->plan->scatter->columns;
    scatter->final.shown = arena_copy(arena, from->shown, scatter->shown_count * sizeof *from->shown);
    scatter->element_types = arena_zeroed(arena, columns + 1, sizeof *scatter->element_types);
    scatter->column_count = columns;
    scatter->results = BUFFER_INIT(WIRE_LENGTH_MOST);
    bool is_text = !bind || order->plan->scatter->is_cursor;
    wire_16(&scatter->results, is_text ? 0 : bind->result_count);
    if (!is_text)
        buffer_add(&scatter->results, bind->results, 2 * (size_t)bind->result_count);
    bool taken = bound_values_take(&scatter->final_bound, arena, from->text, order->types, order->type_count, bind);
    /* Another number than the text has; or more, with the columns, than Bind counts. */
    if (scatter->final_bound.count != from->parameter_count || scatter->final_bound.count + columns > UINT16_MAX)
        scatter->state = SCATTER_UNFIT;
    return taken && scatter->partials && scatter->final.text && scatter->final.partials && scatter->final.shown &&
           scatter->element_types && !buffer_failed(&scatter->results);
}

bool scatter_combines(const struct scatter *scatter)
{
    return scatter->partials != NULL;
}

void combine_free(struct scatter *scatter)
{
    partials_free(scatter->partials);
    bound_values_free(&scatter->final_bound);
    buffer_free(&scatter->results);
}

size_t combine_reachable(const struct scatter *scatter)
{
    bool begins_with_one = scatter_begins_with_one(scatter) || stream_checks(scatter);
    if (begins_with_one && scatter->legs[0].state < LEG_COMPLETE &&
        !(scatter->copy_in && copy_in_has_begun(&scatter->legs[0])))
        return 1;
    if (scatter->in_turn)
        return scatter_turn_of(scatter);
    if (!scatter->partials)
        return scatter->leg_count;
    for (size_t i = 0; i + 1 < scatter->leg_count; i++)
        if (scatter->legs[i].state < LEG_COMPLETE)
            return scatter->leg_count - 1;
    return scatter->leg_count;
}

/* ---- what the shards say ---- */

/* Has the coordinator the types of the columns? Not those that the transaction has made. */
static bool coordinator_knows(const struct scatter *scatter)
{
    const struct schema *schema = scatter_schema(scatter);
    bool knows = true;
    for (size_t i = 0; i < scatter->column_count; i++)
        knows &= schema_oid_on(schema, schema->model->shard_count, partials_type(scatter->partials, i)) != 0;
    return knows;
}

void combine_describe(struct leg *leg, const char *body, size_t size)
{
    struct scatter *scatter = leg->scatter;
    uint64_t shape = prepared_shape(body, size);
    mosaic_error error;
    if (scatter->partial_shape) {
        if (scatter->partial_shape == shape)
            return;
        (void)!error_set(&error, MOSAIC_UNSUPPORTED, "shard %s has other columns than the others", leg->name);
        error_hint(&error, "pgmosaic status shows where definitions differ");
        scatter_fail(scatter, &error);
        return;
    }
    scatter->partial_shape = shape;
    mosaic_status status =
        partials_describe(scatter->partials, body, size, scatter_schema(scatter), scatter->final.partials, &error);
    if (status == MOSAIC_UNSUPPORTED || (status == MOSAIC_OK && !coordinator_knows(scatter)))
        scatter_turn(scatter, SCATTER_UNFIT);
    else if (status != MOSAIC_OK)
        scatter_fail(scatter, &error);
}

void combine_modify(struct scatter *scatter)
{
    char *message = scatter->description.data;
    struct wire_reader reader = {message + WIRE_HEADER, message + scatter->description.size, false};
    const char *name, *field;
    (void)wire_read16(&reader);
    for (size_t i = 0; i < scatter->shown_count && (field = wire_next_column(&reader, &name)); i++)
        if (scatter->final.shown[i])
            wire_put32(message + (field - message) + WIRE_COLUMN_MODIFIER,
                       partials_modifier(scatter->partials, scatter->final.shown[i] - 1));
}

void combine_add(struct leg *leg, const char *row, size_t size)
{
    struct scatter *scatter = leg->scatter;
    mosaic_error error;
    mosaic_status status = partials_add(scatter->partials, row, size, &error);
    if (status == MOSAIC_LIMIT)
        scatter_turn(scatter, SCATTER_UNFIT); /* the coordinator fetches them in portions */
    else if (status != MOSAIC_OK)
        scatter_fail(scatter, &error);
}

/* ---- what the coordinator is asked ---- */

/* The text with the types that the shards' columns turned out to have, and their modifiers. */
static void write_text(const struct scatter *scatter, struct buffer *out)
{
    const struct schema *schema = scatter_schema(scatter);
    const char *at = scatter->final.text;
    for (const char *mark; (mark = strchr(at, '\1')); at = strchr(mark + 1, '\1') + 1) {
        size_t column = strtoul(mark + 1, NULL, 10) - 1;
        const struct schema_type *type = schema_type_by_oid(schema, partials_type(scatter->partials, column));
        buffer_add(out, at, (size_t)(mark - at));
        sql_qualified(out, type->schema, type->name);
        modifier_write(type->oid, (int)partials_modifier(scatter->partials, column), out);
    }
    buffer_text(out, at);
}

/* The statement, of the client's parameters and an array of each column. False: memory is out. */
static bool write_parse(struct leg *leg, struct buffer *out)
{
    struct scatter *scatter = leg->scatter;
    const struct schema *schema = scatter_schema(scatter);
    const struct bound_values *bound = &scatter->final_bound;
    size_t count = bound->count + scatter->column_count;
    struct buffer text = BUFFER_INIT(WIRE_LENGTH_MOST);
    uint32_t *types = arena_allocate(&scatter->arena, (count + 1) * sizeof *types);
    uint32_t *there = arena_allocate(&scatter->arena, (count + 1) * sizeof *there);
    for (size_t i = 0; types && there && i < count; i++) {
        uint32_t type = i < bound->count ? bound->types[i] : partials_type(scatter->partials, i - bound->count);
        types[i] = i < bound->count ? type : schema_type_by_oid(schema, type)->array;
        there[i] = schema_oid_on(schema, leg->shard, types[i]);
        if (i >= bound->count)
            scatter->element_types[i - bound->count] = schema_oid_on(schema, leg->shard, type);
    }
    write_text(scatter, &text);
    bool failed = !types || !there || buffer_failed(&text);
    if (!failed) {
        scatter->final_kept = leg_statement(scatter, text.data, types, (uint16_t)count, true);
        leg_write_parse(leg, scatter->final_kept, text.data, there, (uint16_t)count, out);
    }
    buffer_free(&text);
    return !failed;
}

/* Bind up to the client's values; the arrays and the formats of the result are still to come. */
static void write_bind(struct scatter *scatter, struct buffer *out)
{
    const struct bound_values *bound = &scatter->final_bound;
    const char *name = scatter->final_kept ? prepared_name(scatter->final_kept) : "";
    size_t count = bound->count + scatter->column_count;
    size_t size = 4 + 1 + strlen(name) + 1 + 2 + 2 * count + 2 + bound->values.size +
                  partials_finish(scatter->partials) + scatter->results.size;
    buffer_char(out, WIRE_BIND);
    wire_32(out, (uint32_t)size);
    wire_text(out, "");
    wire_text(out, name);
    wire_16(out, (uint16_t)count);
    buffer_add(out, buffer_string(&bound->formats), bound->formats.size);
    for (size_t i = 0; i < scatter->column_count; i++)
        wire_16(out, FORMAT_BINARY);
    wire_16(out, (uint16_t)count);
    buffer_add(out, buffer_string(&bound->values), bound->values.size);
}

static void write_end(const struct scatter *scatter, struct buffer *out)
{
    buffer_add(out, scatter->results.data, scatter->results.size);
    wire_describe(out, 'P', "");
    wire_execute(out, "");
    wire_empty(out, WIRE_SYNC);
}

static bool begin(struct leg *leg, struct buffer *out)
{
    struct scatter *scatter = leg->scatter;
    if (!write_parse(leg, out))
        return false;
    write_bind(scatter, out);
    leg->state = LEG_SENDING;
    return expect_add(&leg->client.server->expect, EXPECT_LEG, 0, NULL);
}

void combine_send(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    struct server *server = leg->client.server;
    struct worker *worker = scatter->worker;
    struct buffer out = BUFFER_INIT(WIRE_LENGTH_MOST);
    mosaic_error error;
    mosaic_status status = MOSAIC_OK;
    bool more = true;
    if (leg->state == LEG_NEW && !begin(leg, &out))
        status = error_memory(&error);
    while (status == MOSAIC_OK && more && !channel_stuck(&server->channel)) {
        status = partials_write(scatter->partials, scatter->element_types, &out, &more, &error);
        if (status == MOSAIC_OK && !more) {
            write_end(scatter, &out);
            leg->state = LEG_ASKED;
        }
        if (status == MOSAIC_OK && buffer_failed(&out))
            status = error_memory(&error);
        if (status != MOSAIC_OK)
            break;
        COUNT(&worker->shards[server->pool->slot], bytes_sent, out.size);
        if (!channel_send(&server->channel, out.data, out.size)) {
            server->channel.readable = true; /* it will see the end */
            loop_again(&worker->loop, &server->channel.source);
            break;
        }
        buffer_clear(&out);
    }
    buffer_free(&out);
    if (status != MOSAIC_OK)
        server_close(server, &error);
}
