#define _GNU_SOURCE
/*
 * A server's bytes: read, and walked frame by frame. What a message means is server_take.h's, and of a leg leg.h's.
 */
#include "proxy/client.h"
#include "proxy/scatter.h"
#include "proxy/server.h"
#include "proxy/server_error.h"
#include "proxy/server_rows.h"
#include "proxy/server_take.h"
#include "proxy/tally.h"

enum { WHOLE_MOST = 1 << 20, ROW_MOST = 1 << 26 };

/* Is a leg of a scatter what it answers? */
static bool is_leg_answer(const struct server *server)
{
    return server->client && server->client->is_leg && server->expect.count &&
           expect_head(&server->expect)->kind == EXPECT_LEG;
}

/* What is merged must be whole. */
static bool leg_needs_whole(const struct server *server, char type)
{
    return !leg_is_row(type) || leg_wants_whole(server->client);
}

/* Merging takes whole rows. */
static void refuse_row(struct server *server, uint32_t size)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_LIMIT, "a row of shard %s has %u bytes, and one that is merged may have %d",
                     server->worker->world->model.shards[server->pool->shard].name, size, ROW_MOST);
    error_hint(&error, "leave ORDER BY out, or fetch large values one by one");
    server_close(server, &error);
}

/* Values of a row that is merged are mapped at once. */
static bool map_whole(struct server *server, const char *message, const struct wire_frame *frame)
{
    size_t size = frame->size - WIRE_HEADER;
    server->passing_mapped = false;
    if (server_map(server, message + WIRE_HEADER, size) == size)
        return true;
    server_violates(server, "a row in binary that cannot be read");
    return false;
}

/* Rows that a leg takes together. 0: one by one. */
static size_t take_run(struct server *server, const char *data, size_t size, const struct wire_frame *first)
{
    if (!leg_is_row(first->type) || first->size > size || (server_maps(server) && server_maps_rows(server)))
        return 0;
    return leg_take_run(server->client, data, size);
}

/* A message goes on with this piece; returns how many bytes of it were used, SIZE_MAX: the server is closed. */
static size_t pass_on(struct server *server, const char *data, size_t piece)
{
    if (server->passing_mapped)
        piece = server_map(server, data, piece);
    if (piece == SIZE_MAX) {
        server_violates(server, "a row in binary that cannot be read");
        return SIZE_MAX;
    }
    if (server->passing_visible && server->client)
        batch_pass(&server->worker->to_client, data, piece);
    server->passing -= (uint32_t)piece;
    return piece;
}

static bool is_told(char type)
{
    return type == WIRE_B_ERROR_RESPONSE || type == WIRE_B_NOTICE_RESPONSE;
}

static bool needs_whole(const struct server *server, char type, bool is_leg)
{
    return is_leg ? leg_needs_whole(server, type) : server_needs_whole(server, type);
}

static bool take(struct server *server, const char *message, const struct wire_frame *frame, size_t here, bool is_leg)
{
    return is_leg ? server_take_of_leg(server, message, frame, here) : server_take(server, message, frame, here);
}

/* An error that is longer than what is told of one: the rest is read over. False: the server is closed. */
static bool take_begin(struct server *server, const char *message, const struct wire_frame *frame, bool is_leg)
{
    struct wire_frame told = *frame;
    const char *cut = server_error_cut(server, message, &told);
    if (!cut)
        server_violates(server, "out of memory");
    if (!cut || !take(server, cut, &told, told.size, is_leg))
        return false;
    server->passing = frame->size - SERVER_ERROR_MOST;
    server->passing_visible = server->passing_mapped = false;
    return true;
}

/* A message of which `left` bytes are at hand; how many of them were used. 0: more must be; SIZE_MAX: the server is
 * closed. */
static size_t take_message(struct server *server, const char *message, const struct wire_frame *frame, size_t left,
                           bool is_leg)
{
    bool is_cut = frame->size > SERVER_ERROR_MOST && is_told(frame->type) && needs_whole(server, frame->type, is_leg);
    size_t wanted = is_cut ? SERVER_ERROR_MOST : frame->size, here = wanted < left ? wanted : left;
    if (wanted > WHOLE_MOST && !is_leg && needs_whole(server, frame->type, false)) {
        server_violates(server, "a message of an impossible size");
        return SIZE_MAX;
    }
    if (wanted > left && needs_whole(server, frame->type, is_leg)) {
        if (channel_expect(&server->channel, wanted))
            return 0;
        server_violates(server, "out of memory");
        return SIZE_MAX;
    }
    if (is_cut)
        return take_begin(server, message, frame, is_leg) ? here : SIZE_MAX;
    server->passing_mapped = server_maps(server) && server_may_map(frame->type) && server_maps_message(server, frame);
    if (server->passing_mapped && is_leg && leg_wants_whole(server->client) && !map_whole(server, message, frame))
        return SIZE_MAX;
    if (server->passing_mapped)
        here = WIRE_HEADER;
    return take(server, message, frame, here, is_leg) ? here : SIZE_MAX;
}

/* Walks the frames; returns how many bytes were used, SIZE_MAX when the server is closed. */
static size_t walk(struct server *server, const char *data, size_t size)
{
    size_t at = 0, used;
    for (; at < size; at += used) {
        struct wire_frame frame;
        size_t left = size - at;
        if (server->passing) {
            size_t piece = left < server->passing ? left : server->passing;
            used = pass_on(server, data + at, piece);
            if (used == SIZE_MAX)
                return SIZE_MAX;
            if (used < piece)
                return at + used;
            continue;
        }
        enum wire_state found = wire_peek(data + at, left, &frame);
        if (found == WIRE_MORE)
            break;
        if (found == WIRE_BAD) {
            server_violates(server, "a message of an impossible size");
            return SIZE_MAX;
        }
        bool is_leg = __builtin_expect(is_leg_answer(server), 0);
        if (is_leg) {
            if (leg_holds(server->client, frame.type))
                break;
            used = take_run(server, data + at, left, &frame);
            if (used)
                continue;
            if (leg_is_row(frame.type) && frame.size > ROW_MOST && leg_wants_whole(server->client)) {
                refuse_row(server, frame.size);
                return SIZE_MAX;
            }
        }
        used = take_message(server, data + at, &frame, left, is_leg);
        if (used == SIZE_MAX)
            return SIZE_MAX;
        if (!used)
            break;
    }
    return at;
}

/* ---- events ---- */

static void lost(struct server *server)
{
    mosaic_error error;
    const char *name = server->worker->world->model.shards[server->pool->shard].name;
    if (server->ours_failed && server->error.message[0]) {
        (void)!error_set(&error, MOSAIC_UNREACHABLE, "the connection to shard %s was ended: %s", name,
                         server->error.message);
    } else {
        (void)!error_set(&error, MOSAIC_UNREACHABLE, "the connection to shard %s was lost", name);
    }
    error_shard(&error, name);
    server_close(server, &error);
}

/* Has the client but the begin of a message? */
static bool is_in_the_midst(const struct client *client)
{
    const struct server *server = client->server;
    const struct scatter *scatter = client->fetching ? client->fetching : client->scatter;
    return (server && server->passing && server->passing_visible) || (scatter && scatter_is_talking(scatter));
}

/*
 * Until its client has read what there is, nothing more is read of it. What a server says that is kept beside others,
 * as for LISTEN, may not stand within a message of theirs either.
 */
static bool is_held(const struct server *server)
{
    const struct client *client = server->client, *keeper = server->keeper;
    if (client)
        return client->is_leg ? leg_is_held(client) : channel_stuck(&client->channel);
    return keeper && (channel_stuck(&keeper->channel) || is_in_the_midst(keeper));
}

void server_wake_kept(const struct client *client)
{
    for (struct list *node = client->kept.next; node != &client->kept; node = node->next) {
        struct server *server = LIST_OWNER(struct server, kept_node, node);
        if (server->channel.readable)
            loop_again(&server->worker->loop, &server->channel.source);
    }
}

void server_run(struct server *server)
{
    struct worker *worker = server->worker;
    struct client *client = server->client, *owner = client && client->is_leg ? leg_owner(client) : client;
    bool was_in_the_midst = owner && is_in_the_midst(owner);
    char *data;
    if (is_held(server))
        return;
    size_t kept = server->channel.in_size, room = client && client->is_leg ? leg_room(client) : READ_MOST;
    ssize_t size = channel_read(&server->channel, worker->space, room, &data);
    if (size == CHANNEL_DEAD) {
        lost(server);
        return;
    }
    server->silent_since = 0;
    COUNT(&worker->shards[server->pool->slot], bytes_received, (size_t)size - kept);
    size_t most = (size_t)size;
    if (__builtin_expect(client && client->tally, 0))
        most = tally_read(client->tally, server->passing, data, most);
    size_t used = walk(server, data, most);
    if (client && client->is_leg)
        leg_walked(client, used == SIZE_MAX ? 0 : used);
    if (__builtin_expect(most < (size_t)size, 0) && used == most && server->client && server->client->tally) {
        if (tally_exceeded(server)) {
            batch_drop(&worker->to_client);
            return;
        }
        server->channel.readable = true;
    }
    client = used == SIZE_MAX ? client : server->client;
    if (client && client->state != CLIENT_CLOSED && !client->is_leg &&
        !batch_send(&worker->to_client, &client->channel))
        client_close(client, NULL);
    batch_drop(&worker->to_client);
    if (was_in_the_midst)
        server_wake_kept(owner);
    if (used == SIZE_MAX || server->state == SERVER_CLOSED)
        return;
    if (__builtin_expect(server->deadlock != NULL, 0) && !server->expect.count && !server->cancels)
        server_forget_deadlock(server); /* it had ended before */
    if (server->client && (server->client->asks_types || server->client->asks_shape) && !server->expect.count)
        loop_again(&worker->loop, &server->client->channel.source);
    if (!channel_keep(&server->channel, data + used, (size_t)size - used))
        server_violates(server, "out of memory");
    else if (server->channel.readable)
        loop_again(&worker->loop, &server->channel.source);
}
