/*
 * Rows that wait are put together for the client, as far as there are some and they are wanted.
 */
#include "proxy/copy_in.h"
#include "proxy/leg.h"
#include "proxy/proxy.h"
#include "proxy/stream.h"

#include <string.h>

enum { MADE_MOST = 128 * 1024 }; /* of merged rows, before they are sent */

enum leg_row leg_next_row(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    struct wire_frame frame = {0};
    if (leg->at == leg->rows.size) {
        struct buffer used = leg->rows;
        leg->rows = leg->next;
        leg->next = used;
        buffer_clear(&leg->next);
        leg->at = 0;
        if (leg->is_held) {
            leg->is_held = false;
            if (leg->client.server)
                loop_again(&scatter->worker->loop, &leg->client.server->channel.source);
        }
    }
    if (leg->at == leg->rows.size)
        return leg->state < LEG_COMPLETE ? LEG_ROW_LATER : LEG_NO_ROW;
    const char *message = leg->rows.data + leg->at;
    (void)wire_peek(message, leg->rows.size - leg->at, &frame);
    leg->at += frame.size;
    leg->head = leg_body(message);
    leg->head_size = frame.size - WIRE_HEADER;
    return LEG_ROW;
}

/* The next row of a leg for the merge, or its end. False: neither is there. */
static bool offer_next(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    mosaic_error error;
    switch (leg_next_row(leg)) {
    case LEG_ROW_LATER:
        return false;
    case LEG_NO_ROW:
        merge_end(scatter->merge, leg->number);
        return true;
    default:
        break;
    }
    if (merge_offer(scatter->merge, leg->number, leg->head, leg->head_size, &error) == MOSAIC_OK)
        return true;
    scatter_fail(scatter, &error);
    return false;
}

bool scatter_may_give(struct scatter *scatter)
{
    mosaic_error error;
    if (scatter->given < scatter->given_most) {
        scatter->given++;
        scatter->fetched++;
        return true;
    }
    (void)!error_set(&error, MOSAIC_LIMIT, "this statement gives more rows than scatter_max_rows (%llu)",
                     (unsigned long long)scatter->given_most);
    error_sqlstate(&error, "54000");
    error_hint(&error, "ask for less, by a key or LIMIT");
    scatter_stop(scatter, &error);
    return false;
}

bool scatter_wants_row(struct scatter *scatter)
{
    if (scatter->state != SCATTER_RUNNING)
        return false;
    if (batch_make(&scatter->worker->to_client)->size > MADE_MOST)
        scatter_flush(scatter);
    if (!scatter->client || (!stream_reads(scatter) && channel_stuck(&scatter->client->channel)))
        return false; /* scatter_resume */
    if (!scatter->most || scatter->fetched < scatter->most)
        return true;
    scatter_turn(scatter, SCATTER_HELD);
    return false;
}

static void merge_in_order(struct scatter *scatter)
{
    struct buffer *out = batch_make(&scatter->worker->to_client);
    while (scatter_wants_row(scatter)) {
        size_t number = 0;
        switch (merge_next(scatter->merge, &number)) {
        case MERGE_NEEDS:
            if (!offer_next(&scatter->legs[number]))
                return;
            break;
        case MERGE_ROW:
            if (!scatter_may_give(scatter))
                return;
            merge_row(scatter->merge, scatter->legs[number].head, scatter->legs[number].head_size, out);
            break;
        case MERGE_DROP:
            break;
        default:
            scatter_turn(scatter, SCATTER_FINISHED);
            return;
        }
    }
}

/* Does a write go no further, since a shard has found what it changes? */
static bool is_found(const struct scatter *scatter)
{
    return scatter->write && scatter->write->until_found && scatter->written;
}

bool scatter_all_complete(const struct scatter *scatter)
{
    if (is_found(scatter))
        return true;
    if (scatter->pick)
        return pick_is_done(scatter);
    for (size_t i = 0; i < scatter->leg_count; i++)
        if (scatter->legs[i].state < LEG_COMPLETE)
            return false;
    return true;
}

size_t scatter_turn_of(const struct scatter *scatter)
{
    size_t count = 0;
    if (is_found(scatter))
        return 0;
    while (count < scatter->leg_count &&
           (scatter->legs[count].state >= LEG_COMPLETE || scatter->legs[count].next.size >= LEG_KEPT))
        count++;
    return count < scatter->leg_count ? count + 1 : count;
}

static void add_line(struct buffer *out, const char *before, const char *text, size_t size)
{
    size_t at = wire_begin(out, WIRE_B_DATA_ROW);
    wire_16(out, 1);
    wire_32(out, (uint32_t)(strlen(before) + size));
    buffer_text(out, before);
    buffer_add(out, text, size);
    wire_end(out, at);
}

/* EXPLAIN: why so, and each shard's own plan below its name. */
static void merge_plans(struct scatter *scatter)
{
    struct buffer *out = batch_make(&scatter->worker->to_client);
    buffer_add(out, buffer_string(&scatter->lines), scatter->lines.size);
    for (size_t i = 0; i < scatter->leg_count; i++) {
        const struct leg *leg = &scatter->legs[i];
        struct wire_frame frame;
        add_line(out, "  shard ", leg->name, strlen(leg->name));
        for (size_t at = 0; at < leg->next.size; at += frame.size) {
            const char *row = leg->next.data + at;
            if (wire_peek(row, leg->next.size - at, &frame) != WIRE_MESSAGE)
                break;
            uint32_t size = frame.size - WIRE_HEADER > 6 ? wire_get32(leg_body(row) + 2) : 0;
            add_line(out, "    ", leg_body(row) + 6, size);
        }
    }
    scatter_turn(scatter, SCATTER_FINISHED);
}

static void merge_aggregated(struct scatter *scatter)
{
    mosaic_error error;
    bool has_row;
    size_t number;
    for (size_t i = 0; i < scatter->leg_count; i++)
        merge_end(scatter->merge, i);
    if (merge_next(scatter->merge, &number) != MERGE_DONE)
        return;
    mosaic_status status = merge_aggregates(scatter->merge, batch_make(&scatter->worker->to_client), &has_row, &error);
    if (status != MOSAIC_OK) {
        scatter_fail(scatter, &error);
        return;
    }
    scatter->fetched = scatter->given = has_row;
    scatter_turn(scatter, SCATTER_FINISHED);
}

void scatter_merge(struct scatter *scatter)
{
    if (!scatter->client || scatter->state != SCATTER_RUNNING)
        return;
    if (scatter->copy_in && !copy_in_is_sent(scatter->copy_in))
        return;
    if (scatter_explains(scatter)) {
        if (scatter_all_complete(scatter))
            merge_plans(scatter);
        return;
    }
    switch (scatter_way(scatter)) {
    case MERGE_IN_ORDER:
        if (scatter->order)
            write_merge(scatter);
        else
            merge_in_order(scatter);
        break;
    case MERGE_AGGREGATES:
        if (scatter_all_complete(scatter))
            merge_aggregated(scatter);
        break;
    default:
        if (scatter_all_complete(scatter))
            scatter_turn(scatter, SCATTER_FINISHED);
        break;
    }
}
