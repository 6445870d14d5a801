/*
 * What the servers of legs say. Whatever is made goes into the worker's batch, and from there to the client
 * when what was read is used up (leg_walked).
 */
#include "proxy/leg.h"

#include "proxy/cancel.h"
#include "proxy/copy_in.h"
#include "proxy/proxy.h"
#include "proxy/server_error.h"
#include "proxy/stream.h"

#include <stdlib.h>
#include <string.h>

/* ---- what waits ---- */

/* Another leg is in the middle of a row that goes to the client piece by piece. */
static bool is_interrupted(const struct scatter *scatter, const struct leg *leg)
{
    return leg_is_talking(scatter->talking) && scatter->talking != leg;
}

/* What goes to the client at once has no room there. */
static bool is_stuck(const struct scatter *scatter)
{
    return scatter->state == SCATTER_RUNNING && !stream_reads(scatter) && channel_stuck(&scatter->client->channel);
}

bool leg_holds(struct client *client, char type)
{
    struct leg *leg = leg_of(client);
    const struct scatter *scatter = leg->scatter;
    bool holds = is_interrupted(scatter, leg); /* nothing may stand within another's row */
    if (!scatter->client || scatter->state >= SCATTER_FINISHED)
        return false;
    if (type == WIRE_B_NOTICE_RESPONSE)
        return leg->is_held = holds || is_stuck(scatter);
    if (leg_is_partial(leg) || scatter_explains(scatter) || leg_moves_rows(leg) || leg_peeks(leg))
        return false;
    if (holds || !leg_is_row(type))
        return leg->is_held = holds;
    switch (scatter_way(scatter)) {
    case MERGE_AS_THEY_COME:
        holds = scatter->state != SCATTER_RUNNING || is_stuck(scatter);
        break;
    case MERGE_IN_ORDER:
        holds = leg->next.size >= LEG_KEPT;
        break;
    default:
        break;
    }
    leg->is_held = holds;
    return holds;
}

bool leg_is_held(const struct client *client)
{
    return ((const struct leg *)client)->is_held;
}

struct client *leg_owner(const struct client *client)
{
    return ((const struct leg *)client)->scatter->client;
}

bool leg_is_awaited(const struct client *client)
{
    const struct scatter *scatter = ((const struct leg *)client)->scatter;
    return !scatter->client || scatter->state != SCATTER_HELD;
}

void leg_cancel_again(struct client *client)
{
    struct leg *leg = leg_of(client);
    struct server *server = client->server;
    if (!leg->is_cancelled || leg->is_held || server->cancels || !server->expect.count)
        return;
    leg->looks++;
    if ((leg->looks & (leg->looks - 1)) == 0)
        (void)!cancel_server(server);
}

size_t leg_room(const struct client *client)
{
    const struct scatter *scatter = ((const struct leg *)client)->scatter;
    bool streams = scatter->state == SCATTER_RUNNING && scatter_way(scatter) == MERGE_AS_THEY_COME;
    return streams ? WORKER_SPACE : READ_MOST;
}

bool leg_wants_whole(const struct client *client)
{
    const struct leg *leg = (const struct leg *)client;
    const struct scatter *scatter = leg->scatter;
    if (!scatter->client || scatter->state >= SCATTER_FINISHED)
        return false;
    if (leg_is_partial(leg) || scatter_explains(scatter) || leg_moves_rows(leg) || leg_peeks(leg))
        return true;
    return scatter_way(scatter) != MERGE_AS_THEY_COME || scatter->most;
}

/* ---- rows ---- */

/* LIMIT has all its rows: nobody waits for the other shards. */
static void finish_full(struct scatter *scatter)
{
    if (scatter->client && merge_is_full(scatter->merge))
        scatter_turn(scatter, SCATTER_FINISHED);
}

/* A row that goes on as it is, if it is wanted. */
static void take_as_it_comes(struct server *server, const char *message, const struct wire_frame *frame, size_t here)
{
    struct leg *leg = leg_of(server->client);
    struct scatter *scatter = leg->scatter;
    if (scatter->facts.has_header && !leg->has_headed) {
        bool is_second = scatter->has_headed;
        leg->has_headed = scatter->has_headed = true;
        if (is_second)
            return;
    }
    switch (merge_admit(scatter->merge)) {
    case MERGE_SKIP:
        return;
    case MERGE_FULL:
        scatter_turn(scatter, SCATTER_FINISHED);
        return;
    default:
        break;
    }
    if (!scatter_may_give(scatter))
        return;
    batch_pass(&scatter->worker->to_client, message, here);
    if (here < frame->size) {
        server->passing_visible = true;
        scatter->talking = leg;
        return;
    }
    if (scatter->most && scatter->fetched == scatter->most)
        scatter_turn(scatter, SCATTER_HELD);
    else
        finish_full(scatter);
}

/* Read over, for nobody; a shard that goes on for long is told to stop. */
static void drain(struct leg *leg, size_t size)
{
    leg->drained += size;
    if (leg->drained < LEG_DRAINED || leg->is_cancelled || !leg->client.server || leg_joins(leg))
        return;
    leg->is_cancelled = true;
    if (!cancel_server(leg->client.server))
        leg->client.server->unfit = true;
}

/* What RETURNING gives of a reference table is told once. */
static bool is_another_copy(const struct leg *leg)
{
    return leg->number > (leg->scatter->move != NULL) && scatter_copies_writes(leg->scatter) &&
           !scatter_explains(leg->scatter);
}

static void take_row(struct server *server, const char *message, const struct wire_frame *frame, size_t here)
{
    struct leg *leg = leg_of(server->client);
    struct scatter *scatter = leg->scatter;
    mosaic_error error;
    server->passing = frame->size - (uint32_t)here;
    server->passing_visible = false;
    if (!scatter->client || scatter->state >= SCATTER_FINISHED || is_another_copy(leg)) {
        drain(leg, frame->size);
        return;
    }
    if (leg_is_partial(leg)) {
        combine_add(leg, leg_body(message), frame->size - WIRE_HEADER);
        return;
    }
    if (leg_moves_rows(leg)) {
        move_take_row(leg, leg_body(message), frame->size - WIRE_HEADER);
        return;
    }
    if (leg_peeks(leg)) {
        pick_take_row(leg, message, frame->size);
        return;
    }
    switch (scatter_explains(scatter) ? MERGE_IN_ORDER : scatter_way(scatter)) { /* plans are kept as well */
    case MERGE_AS_THEY_COME:
        take_as_it_comes(server, message, frame, here);
        break;
    case MERGE_IN_ORDER:
        buffer_add(&leg->next, message, frame->size);
        if (buffer_failed(&leg->next)) {
            error_memory(&error);
            scatter_fail(scatter, &error);
        }
        break;
    default:
        if (merge_offer(scatter->merge, leg->number, leg_body(message), frame->size - WIRE_HEADER, &error) != MOSAIC_OK)
            scatter_fail(scatter, &error);
        break;
    }
}

/* Whole rows from the beginning of the bytes on, until there are `most` bytes or rows of them. */
static size_t count_run(const char *data, size_t size, size_t most_bytes, uint64_t most_rows, uint64_t *rows)
{
    struct wire_frame frame;
    size_t at = 0;
    for (*rows = 0; at < most_bytes && *rows < most_rows; ++*rows, at += frame.size)
        if (wire_peek(data + at, size - at, &frame) != WIRE_MESSAGE || !leg_is_row(frame.type) ||
            frame.size > size - at)
            break;
    return at;
}

static size_t pass_run(struct scatter *scatter, const char *data, size_t size)
{
    uint64_t left = scatter->given_most - scatter->given, admitted = merge_admits(scatter->merge), rows;
    if (scatter->most)
        return 0;
    size_t run = count_run(data, size, size, left < admitted ? left : admitted, &rows);
    merge_admitted(scatter->merge, rows);
    scatter->given += rows;
    scatter->fetched += rows;
    batch_pass(&scatter->worker->to_client, data, run);
    if (run)
        finish_full(scatter);
    return run;
}

static size_t keep_run(struct leg *leg, const char *data, size_t size)
{
    uint64_t rows;
    size_t run = count_run(data, size, LEG_KEPT - leg->next.size, UINT64_MAX, &rows);
    buffer_add(&leg->next, data, run);
    return buffer_failed(&leg->next) ? 0 : run;
}

size_t leg_take_run(struct client *client, const char *data, size_t size)
{
    struct leg *leg = leg_of(client);
    struct scatter *scatter = leg->scatter;
    bool lacks_header = scatter->facts.has_header && !leg->has_headed;
    if (!scatter->client || scatter->state >= SCATTER_FINISHED || leg_is_partial(leg) || scatter_explains(scatter) ||
        lacks_header || is_another_copy(leg) || leg_moves_rows(leg) || leg_peeks(leg))
        return 0;
    switch (scatter_way(scatter)) {
    case MERGE_AS_THEY_COME:
        return pass_run(scatter, data, size);
    case MERGE_IN_ORDER:
        return keep_run(leg, data, size);
    default:
        return 0;
    }
}

/* ---- the result's columns ---- */

static uint64_t shape_of(const struct buffer *description)
{
    return prepared_shape(leg_body(description->data), description->size - WIRE_HEADER);
}

static void take_description(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    struct scatter *scatter = leg->scatter;
    const char *body = leg_body(message);
    size_t size = frame->size - WIRE_HEADER;
    struct buffer described = BUFFER_INIT(frame->size + 64);
    mosaic_error error;
    if (!scatter->client || scatter->state >= SCATTER_FINISHED)
        return;
    if (leg_is_partial(leg)) {
        combine_describe(leg, body, size);
        return;
    }
    if (leg_moves_rows(leg)) {
        move_describe(leg, body, size);
        return;
    }
    if (leg_peeks(leg)) {
        pick_describe(leg, body, size);
        return;
    }
    if (scatter->write) {
        write_describe(leg, message, frame);
        if (scatter->move && move_is_empty(leg))
            leg->state = LEG_COMPLETE;
        return;
    }
    if (scatter->state == SCATTER_STARTING) {
        mosaic_status status = merge_describe(scatter->merge, body, size, &error);
        merge_describe_row(scatter->merge, body, size, &scatter->description);
        if (scatter->partials && !buffer_failed(&scatter->description))
            combine_modify(scatter);
        if (status == MOSAIC_UNSUPPORTED)
            scatter_turn(scatter, SCATTER_UNFIT);
        else if (status != MOSAIC_OK)
            scatter_fail(scatter, &error);
        else
            scatter_turn(scatter, SCATTER_HELD);
        return;
    }
    /* The others must say the same, of hidden columns too, or their rows mean something else. */
    bool same = merge_describe(scatter->merge, body, size, &error) == MOSAIC_OK;
    if (same)
        merge_describe_row(scatter->merge, body, size, &described);
    if (!same || buffer_failed(&described) || shape_of(&described) != shape_of(&scatter->description)) {
        (void)!error_set(&error, MOSAIC_UNSUPPORTED, "shard %s has other columns than the others", leg->name);
        error_hint(&error, "pgmosaic status shows where definitions differ");
        scatter_fail(scatter, &error);
    }
    buffer_free(&described);
}

/* CopyOutResponse: how many columns there are, and in which format. */
static void take_copy(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    struct scatter *scatter = leg->scatter;
    mosaic_error error;
    if (!scatter->client || scatter->state >= SCATTER_FINISHED)
        return;
    if (scatter->state == SCATTER_STARTING) {
        buffer_add(&scatter->description, message, frame->size);
        scatter_turn(scatter, SCATTER_HELD);
    } else if (frame->size != scatter->description.size ||
               memcmp(message, scatter->description.data, frame->size) != 0) {
        (void)!error_set(&error, MOSAIC_UNSUPPORTED, "shard %s has other columns than the others", leg->name);
        error_hint(&error, "pgmosaic status shows where definitions differ");
        scatter_fail(scatter, &error);
    }
}

/* ---- messages ---- */

/* False: the server is closed. */
static bool take_error(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    struct scatter *scatter = leg->scatter;
    struct server *server = leg->client.server;
    bool is_sending = leg->state == LEG_SENDING;
    if (leg_asks_again(leg, message, frame))
        return true;
    COUNT(&scatter->worker->shards[server->pool->slot], errors, 1);
    server_error_count(server, message, frame);
    leg->has_failed = true;
    if (leg->state < LEG_COMPLETE && !leg->asking->behind)
        leg->state = LEG_COMPLETE; /* nothing but ReadyForQuery comes now */
    if (server->ours_failed) {     /* of what it was to be told first */
        server->ours_failed = false;
        if (!leg_replans(leg))
            scatter_fail(scatter, &server->error);
    } else if (leg_is_stale(leg, message, frame)) {
        scatter_turn(scatter, SCATTER_STALE);
    } else if (scatter->client && scatter->state < SCATTER_FINISHED && !write_refuses_move(leg, message, frame)) {
        leg_pass_error(leg, message, frame);
    }
    if (scatter->copy_in)
        copy_in_settle(scatter);
    if (is_sending)
        server_close(server, NULL); /* it waits for the rest of a message, which will not come */
    return !is_sending;
}

static bool take_ready(struct server *server, const char *message, const struct wire_frame *frame)
{
    struct leg *leg = leg_of(server->client);
    struct worker *worker = server->worker;
    struct shard_counters *counters = &worker->shards[server->pool->slot];
    mosaic_error error;
    char status = frame->size == WIRE_HEADER + 1 ? message[WIRE_HEADER] : '?';
    if (leg_joins(leg) ? status != 'T' && status != 'E' : status != 'I') {
        (void)!error_set(&error, MOSAIC_UNREACHABLE, "shard %s broke the protocol: ReadyForQuery with status %c",
                         leg->name, status);
        server_close(server, &error);
        return false;
    }
    if (leg->asking->behind && !leg->is_behind) {
        leg->is_behind = true;
        return true;
    }
    if (leg->is_behind)
        leg->state = LEG_COMPLETE;
    int64_t us = worker->loop.now_us - leg->client.began_us;
    COUNT(counters, queries, 1);
    COUNT(counters, transactions, 1);
    COUNT(counters, transaction_us, us);
    if (leg->shard < worker->world->model.shard_count) {
        COUNT(&worker->legs, queries, 1);
        COUNT(&worker->legs, duration_us, us);
    }
    histogram_add(&counters->latency, (uint64_t)us);
    server->status = status;
    expect_pop(&server->expect);
    if (leg->asks_again && leg->scatter->client && leg->scatter->state < SCATTER_FINISHED) {
        leg->asks_again = false;
        leg_send_request(leg);
        return server->state != SERVER_CLOSED;
    }
    /* Before the server can be another's: what was read of it is this client's. */
    scatter_merge(leg->scatter);
    scatter_flush(leg->scatter);
    /* The next statement of the transaction must not be stopped by what was meant for this one. */
    if (leg_joins(leg) && server->cancels) {
        leg->is_returning = true;
        return true;
    }
    if (pick_keeps(leg)) {
        pick_go(leg->scatter);
        return server->state != SERVER_CLOSED;
    }
    leg_let_go(leg);
    leg_over(leg);
    return server->state != SERVER_CLOSED;
}

static bool breaks(struct server *server, char type)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNREACHABLE, "shard %s broke the protocol: a message of type %d",
                     server->worker->world->model.shards[server->pool->shard].name, (unsigned char)type);
    server_close(server, &error);
    return false;
}

/* What comes before the client wants rows is kept for then, as much as there is room for. */
static void take_notice(struct leg *leg, const char *message, const struct wire_frame *frame)
{
    struct scatter *scatter = leg->scatter;
    bool is_repeated =
        scatter->write && scatter->write->tags == TAGS_WORDS && leg->shard != scatter->worker->world->home;
    if (!scatter->client || scatter->state >= SCATTER_FINISHED || is_repeated)
        return;
    if (scatter->state == SCATTER_RUNNING && !stream_reads(scatter)) {
        batch_pass(&scatter->worker->to_client, message, frame->size);
        channel_release(&scatter->client->channel); /* whoever watches is told at once */
    } else if (scatter->notices.size + frame->size <= TOLD_MOST) {
        buffer_add(&scatter->notices, message, frame->size);
    }
}

static void take_complete(struct leg *leg, const char *tag)
{
    struct scatter *scatter = leg->scatter;
    if (!leg->asking->behind)
        leg->state = LEG_COMPLETE;
    if (scatter->pick && scatter->client) {
        pick_complete(leg, tag);
        return;
    }
    if (scatter_copies(scatter) && strncmp(tag, "COPY ", 5) == 0)
        scatter->copied += strtoull(tag + 5, NULL, 10);
    if (scatter->write && scatter->client && (!scatter->copy_in || copy_in_is_sent(scatter->copy_in)))
        write_take_tag(leg, tag);
    if (scatter->copy_in)
        copy_in_settle(scatter);
}

bool leg_take(struct server *server, const char *message, const struct wire_frame *frame, size_t here)
{
    struct leg *leg = leg_of(server->client);
    if (leg->is_behind && frame->type != WIRE_B_READY_FOR_QUERY)
        return frame->type == WIRE_B_ERROR_RESPONSE && !leg->has_failed && leg_joins(leg)
                   ? take_error(leg, message, frame)
                   : true;
    switch (frame->type) {
    case WIRE_B_DATA_ROW:
    case WIRE_B_COPY_OUT_DATA:
        take_row(server, message, frame, here);
        return true;
    case WIRE_B_COPY_OUT_RESPONSE:
        take_copy(leg, message, frame);
        return true;
    case WIRE_B_NO_DATA:
        if (leg->scatter->write)
            write_describe(leg, NULL, frame);
        if (leg->scatter->move && move_is_empty(leg))
            leg->state = LEG_COMPLETE;
        return leg->scatter->write || scatter_copies(leg->scatter) || breaks(server, frame->type);
    case WIRE_B_COPY_OUT_DONE:
        return scatter_copies(leg->scatter) || breaks(server, frame->type);
    case WIRE_B_ROW_DESCRIPTION:
        take_description(leg, message, frame);
        return true;
    case WIRE_B_PARSE_COMPLETE:
        leg->scatter->is_parsed = true;
        if (leg->is_checking) {
            leg->is_checking = false;
            return true;
        }
        leg->is_parsing = false;
        if (leg->scatter->move)
            move_parsed(leg);
        return true;
    case WIRE_B_BIND_COMPLETE:
        leg->has_found = false; /* what it had is what it runs */
        return true;
    case WIRE_B_CLOSE_COMPLETE:
        return true;
    case WIRE_B_PORTAL_SUSPENDED:
        if (!leg->scatter->pick)
            break;
        take_complete(leg, NULL);
        return true;
    case WIRE_B_COMMAND_COMPLETE:
        if (leg->scatter->move && move_goes_on(leg))
            return true;
        if (leg->asking->statements && write_goes_on(leg, leg_body(message)))
            return true;
        take_complete(leg, leg_body(message));
        return true;
    case WIRE_B_COPY_IN_RESPONSE:
        if (!leg->scatter->copy_in)
            break;
        copy_in_begun(leg, message, frame);
        return true;
    case WIRE_B_ERROR_RESPONSE:
        return take_error(leg, message, frame);
    case WIRE_B_READY_FOR_QUERY:
        return take_ready(server, message, frame);
    case WIRE_B_NOTICE_RESPONSE:
        take_notice(leg, message, frame);
        return true;
    case WIRE_B_PARAMETER_STATUS:
    case WIRE_B_NOTIFICATION_RESPONSE:
        return true;
    default:
        break;
    }
    return breaks(server, frame->type);
}

/* Bytes that were read of its server. */
static void receive(struct leg *leg, size_t size)
{
    struct scatter *scatter = leg->scatter;
    mosaic_error error;
    if (leg->shard < scatter->worker->world->model.shard_count)
        COUNT(&scatter->worker->legs, bytes, size);
    scatter->received += size;
    if (scatter->received <= scatter->received_most || !scatter->client)
        return;
    (void)!error_set(&error, MOSAIC_LIMIT, "for this statement more bytes came than scatter_max_bytes (%llu)",
                     (unsigned long long)scatter->received_most);
    error_sqlstate(&error, "54000");
    error_hint(&error, "ask for less: by a key, LIMIT, or fewer columns");
    scatter_stop(scatter, &error);
}

void leg_walked(struct client *client, size_t size)
{
    struct leg *leg = leg_of(client);
    struct scatter *scatter = leg->scatter;
    receive(leg, size);
    scatter_merge(scatter);
    if (scatter->partials || scatter->write || scatter->in_turn)
        scatter_reach(scatter);
    if (scatter->talking == leg && !leg_is_talking(leg)) {
        scatter->talking = NULL;
        if (scatter->fails)
            scatter_turn(scatter, SCATTER_FAILED);
        else
            finish_full(scatter);
        scatter_wake(scatter);
    }
    scatter_flush(scatter);
}
