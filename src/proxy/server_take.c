#define _GNU_SOURCE
#include "proxy/server_take.h"

#include "base/memory.h"
#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/commit.h"
#include "proxy/effect.h"
#include "proxy/reported.h"
#include "proxy/reset.h"
#include "proxy/scatter.h"
#include "proxy/server_error.h"
#include "proxy/server_rows.h"

#include <string.h>

/* An answer to ours is whole. False: the server is closed, or another's. */
static bool ours_done(struct server *server, char status)
{
    struct client *client = server->client;
    server->status = status;
    if (server->cancel_due)
        (void)cancel_server(server);
    if (server->expect.count)
        return true;
    if (client && client->replays) {
        client->replays = false;
        if (server->ours_failed) {
            mosaic_error error = server->error;
            client->server = NULL;
            server->client = NULL;
            server_close(server, NULL);
            client_server_refused(client, &error);
            return false;
        }
        settings_release(server->session);
        server->session = server->session_next;
        server->session_next = NULL;
        server->used_at = server->worker->loop.now;
        loop_again(&server->worker->loop, &client->channel.source);
        return true;
    }
    if (client) {
        loop_again(&server->worker->loop, &client->channel.source);
        return true;
    }
    if (server->state != SERVER_RESETTING || server->cancels)
        return true;
    if (status != 'I' || server->ours_failed)
        server_close(server, NULL);
    else
        pool_return(server);
    return server->state != SERVER_CLOSED;
}

static void remember_error(struct server *server, const char *message, const struct wire_frame *frame)
{
    struct wire_error found;
    server->ours_failed = true;
    if (!wire_read_error(message, frame, &found) || !found.message) {
        (void)!error_set(&server->error, MOSAIC_SERVER, "a malformed error");
        return;
    }
    (void)!error_set(&server->error, MOSAIC_SERVER, "%s", found.message);
    if (found.sqlstate && strlen(found.sqlstate) == 5)
        error_sqlstate(&server->error, found.sqlstate);
    if (found.detail)
        error_detail(&server->error, "%s", found.detail);
    if (found.hint)
        error_hint(&server->error, "%s", found.hint);
}

void server_violates(struct server *server, const char *what)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNREACHABLE, "shard %s broke the protocol: %s",
                     server->worker->world->model.shards[server->pool->shard].name, what);
    server_close(server, &error);
}

static void pass(struct server *server, const char *message, size_t size)
{
    if (server->client)
        batch_pass(&server->worker->to_client, message, size);
}

/* The head was answered; what we answer ourselves behind it follows. */
static void pop(struct server *server)
{
    expect_pop(&server->expect);
    for (struct expect_entry *head; (head = expect_head(&server->expect)) && head->kind >= EXPECT_COPY_END;) {
        struct buffer *out = batch_make(&server->worker->to_client);
        if (head->kind == EXPECT_COPY_END) {
            ; /* there was no COPY */
        } else if (head->kind == EXPECT_CLOSED_HERE) {
            if (head->detail != EXPECT_SILENT)
                wire_empty(out, WIRE_B_CLOSE_COMPLETE);
            effect_closed(server, head->subject, true);
        } else {
            buffer_add(out, head->subject, head->detail);
            memory_free(head->subject);
        }
        expect_pop(&server->expect);
    }
}

/* The segment has failed: the server answers nothing more up to Sync. */
static void segment_failed(struct server *server)
{
    while (server->expect.count) {
        struct expect_entry *head = expect_head(&server->expect);
        if (head->kind == EXPECT_SYNC_OURS && server->client && server->client->left_sync)
            client_segment_failed(server->client); /* the client's own Sync is still to come */
        if (head->kind == EXPECT_SYNC || head->kind == EXPECT_SYNC_OURS || head->kind == EXPECT_QUERY) {
            if (server->client)
                client_unnamed_settle(server->client, true);
            return;
        }
        server_drop_entry(server, head);
        expect_pop(&server->expect);
    }
    if (server->client)
        client_segment_failed(server->client);
}

/* False: closed. */
static bool take_error(struct server *server, const char *message, const struct wire_frame *frame)
{
    struct expect_entry *head = expect_head(&server->expect);
    struct wire_frame told = *frame;
    if (__builtin_expect(server->deadlock != NULL, 0)) {
        message = server_error_replace(server, message, &told);
        frame = &told;
    }
    if (!head || server_error_is_fatal(message, frame)) {
        /* It is about to close: the error goes with that. */
        remember_error(server, message, frame);
        return true;
    }
    COUNT(&server->worker->shards[server->pool->slot], errors, 1);
    server_error_count(server, message, frame);
    switch (head->kind) {
    case EXPECT_OURS:
    case EXPECT_COMMIT:
        remember_error(server, message, frame);
        return true;
    case EXPECT_QUERY:
    case EXPECT_FUNCTION:
        effect_failed(server);
        server_error_pass(server, message, frame, head);
        return true;
    case EXPECT_SYNC:
    case EXPECT_SYNC_OURS:
        effect_failed(server);
        pass(server, message, frame->size); /* a deferred constraint, at the commit that Sync is */
        return true;
    case EXPECT_REFUSED:
        if (server->client)
            buffer_add(batch_make(&server->worker->to_client), head->subject, head->detail);
        break;
    default:
        if (head->kind == EXPECT_PARSE && !head->detail && server->client)
            client_unnamed_answered(server->client, NULL); /* it takes the place of the one before, though it fails */
        server_error_pass(server, message, frame, head);
        break;
    }
    effect_failed(server);
    segment_failed(server);
    return true;
}

/* The cycle is answered. False: the server is closed. */
static bool take_ready(struct server *server, const char *message, const struct wire_frame *frame)
{
    struct expect_entry *head = expect_head(&server->expect);
    struct client *client = server->client;
    char status = frame->size == WIRE_HEADER + 1 ? message[WIRE_HEADER] : '?';
    if (!head || (status != 'I' && status != 'T' && status != 'E')) {
        server_violates(server, "ReadyForQuery where none was due");
        return false;
    }
    enum expect_kind kind = head->kind;
    if (kind == EXPECT_COMMIT) {
        expect_pop(&server->expect);
        server->status = status;
        commit_answered(server->part);
        return server->state != SERVER_CLOSED;
    }
    if (kind == EXPECT_OURS || kind == EXPECT_SYNC_OURS) {
        pop(server);
        return ours_done(server, status);
    }
    if (kind != EXPECT_QUERY && kind != EXPECT_FUNCTION && kind != EXPECT_SYNC) {
        server_violates(server, "ReadyForQuery before the end");
        return false;
    }
    server->status = status;
    server->sees_copy = false;
    expect_pop(&server->expect);
    if (!client) {
        server_close(server, NULL);
        return false;
    }
    if (client->is_aside) {
        status = client_end_aside(client);
        wire_ready(batch_make(&server->worker->to_client), status);
    } else {
        effect_ready(server, status);
        pass(server, message, frame->size);
    }
    if (kind == EXPECT_SYNC)
        client_unnamed_settle(client, false);
    client_cycle_ended(client, status);
    return server->state != SERVER_CLOSED;
}

/* CopyInResponse in a segment: the server reads over a Sync that came with it, another one will follow the data. */
static void take_copy_in(struct server *server)
{
    struct expect_entry *head = expect_head(&server->expect);
    server->sees_copy = true;
    if (head->kind != EXPECT_EXECUTE)
        return;
    prepared_release(head->subject);
    head->subject = NULL;
    /* What was sent before the end of the data is read over; what came behind it holds. */
    struct expect *expect = &server->expect;
    uint32_t end = 1;
    while (end < expect->count && expect_at(expect, end)->kind != EXPECT_COPY_END)
        server_drop_entry(server, expect_at(expect, end++));
    uint32_t behind = end < expect->count ? expect->count - end - 1 : 0;
    for (uint32_t i = 0; i < behind; i++)
        *expect_at(expect, 1 + i) = *expect_at(expect, end + 1 + i);
    expect->count = 1 + behind;
    if (server->client && !behind)
        server->client->awaits_ready = false;
}

enum { FITS_NOT = -1, STAYS, ENDS };

/* Does an answer of this type belong to what is expected, and does it end it? */
static int answers(enum expect_kind kind, char type)
{
    switch (kind) {
    case EXPECT_QUERY:
    case EXPECT_OURS:
    case EXPECT_COMMIT:
    case EXPECT_FUNCTION:
        return STAYS;
    case EXPECT_PARSE:
    case EXPECT_PARSE_OURS:
    case EXPECT_PARSE_SQL:
        return type == WIRE_B_PARSE_COMPLETE ? ENDS : FITS_NOT;
    case EXPECT_BIND:
        return type == WIRE_B_BIND_COMPLETE ? ENDS : FITS_NOT;
    case EXPECT_DESCRIBE_STATEMENT:
    case EXPECT_DESCRIBE_OURS:
    case EXPECT_SHAPE_PARSED:
    case EXPECT_SHAPE_HERE:
    case EXPECT_SHAPE_UNNAMED:
    case EXPECT_COLUMNS:
        if (type == WIRE_B_PARAMETER_DESCRIPTION)
            return STAYS;
        return type == WIRE_B_ROW_DESCRIPTION || type == WIRE_B_NO_DATA ? ENDS : FITS_NOT;
    case EXPECT_DESCRIBE_PORTAL:
        return type == WIRE_B_ROW_DESCRIPTION || type == WIRE_B_NO_DATA ? ENDS : FITS_NOT;
    case EXPECT_EXECUTE:
        return type == WIRE_B_COMMAND_COMPLETE || type == WIRE_B_EMPTY_QUERY_RESPONSE || type == WIRE_B_PORTAL_SUSPENDED
                   ? ENDS
                   : STAYS;
    case EXPECT_CLOSE:
    case EXPECT_CLOSE_OURS:
        return type == WIRE_B_CLOSE_COMPLETE ? ENDS : FITS_NOT;
    default:
        return FITS_NOT;
    }
}

/* RowDescription or NoData: what the result of a statement is. */
static void take_shape(struct server *server, const struct expect_entry *head, const char *message,
                       const struct wire_frame *frame)
{
    struct client *client = server->client;
    bool has_rows = frame->type == WIRE_B_ROW_DESCRIPTION;
    uint64_t shape = prepared_shape(has_rows ? message + WIRE_HEADER : NULL, frame->size - WIRE_HEADER), *here;
    if (head->kind == EXPECT_SHAPE_PARSED) {
        effect_shape(server, head->subject, shape);
    } else if (head->kind == EXPECT_SHAPE_HERE) {
        struct prepared *prepared = head->subject;
        here = server_statements_shape(&server->statements, prepared);
        if (here)
            *here = shape;
        if (!prepared->shape)
            prepared->shape = shape;
        prepared_release(prepared);
    } else if (head->kind == EXPECT_SHAPE_UNNAMED) {
        server->unnamed_shape = shape;
    } else if (client && head->detail == (uint32_t)client->unnamed_number) {
        client->unnamed_shape = shape; /* DESCRIBE_STATEMENT, of the unnamed one */
    }
}

static bool ends_shape(const struct expect_entry *head, char type)
{
    return (type == WIRE_B_ROW_DESCRIPTION || type == WIRE_B_NO_DATA) &&
           ((head->kind >= EXPECT_SHAPE_PARSED && head->kind <= EXPECT_SHAPE_UNNAMED) ||
            (head->kind == EXPECT_DESCRIBE_STATEMENT && head->detail));
}

/* Answers to our own questions. */
static void take_asked(struct server *server, const struct expect_entry *head, const char *message,
                       const struct wire_frame *frame)
{
    struct wire_reader reader = wire_body(message, frame);
    if (head->kind == EXPECT_COMMIT)
        commit_take(server->part, message, frame);
    if ((head->kind == EXPECT_DESCRIBE_OURS || head->kind == EXPECT_SHAPE_HERE) &&
        frame->type == WIRE_B_PARAMETER_DESCRIPTION) {
        prepared_describe(head->subject, message + WIRE_HEADER, frame->size - WIRE_HEADER);
    } else if (head->kind == EXPECT_OURS && server->client && server->client->asks &&
               server->client->asks_for == ASK_SCHEMA) {
        own_schema_take(server->client, message, frame);
    } else if (head->kind == EXPECT_OURS && frame->type == WIRE_B_DATA_ROW && server->client && server->client->asks &&
               wire_read16(&reader) == 1) {
        uint32_t size = wire_read32(&reader);
        const char *bytes = wire_read_bytes(&reader, size);
        if (bytes && size < UINT16_MAX) {
            buffer_clear(&server->failure);
            buffer_add(&server->failure, bytes, size);
        }
    }
}

static bool take_answer(struct server *server, const char *message, const struct wire_frame *frame, size_t here)
{
    struct expect_entry *head = expect_head(&server->expect);
    int fits = head ? answers(head->kind, frame->type) : FITS_NOT;
    if (fits == FITS_NOT) {
        server_violates(server, wire_backend_name(frame->type) ? wire_backend_name(frame->type) : "an unknown message");
        return false;
    }
    bool visible = expect_visible(head->kind) && server->client;
    if (frame->type == WIRE_B_COPY_IN_RESPONSE)
        take_copy_in(server);
    if (!visible && here == frame->size)
        take_asked(server, head, message, frame);
    if (ends_shape(head, frame->type) && here == frame->size)
        take_shape(server, head, message, frame);
    bool resets = frame->type == WIRE_B_COMMAND_COMPLETE && reset_is_answered(head, message + WIRE_HEADER);
    if (visible && resets)
        wire_complete(batch_make(&server->worker->to_client), reset_tag(server->client, head));
    else if (visible)
        batch_pass(&server->worker->to_client, message, here);
    server->passing = frame->size - (uint32_t)here;
    server->passing_visible = visible;
    if (frame->type == WIRE_B_COMMAND_COMPLETE && head->kind != EXPECT_OURS)
        effect_complete(server, head, message + WIRE_HEADER);
    if (fits == ENDS) {
        if (head->kind == EXPECT_PARSE || head->kind == EXPECT_PARSE_OURS || head->kind == EXPECT_PARSE_SQL)
            effect_parsed(server, head);
        else if (head->kind == EXPECT_EXECUTE || head->kind == EXPECT_DESCRIBE_OURS)
            prepared_release(head->subject);
        pop(server);
    }
    return true;
}

/* A server that reads literals in another way is no longer one whose statements are understood. False: it is closed. */
static bool take_report(struct server *server, const char *message, const struct wire_frame *frame)
{
    mosaic_error error;
    if (effect_report_is_allowed(server, message, frame, &error))
        return true;
    server_close(server, &error);
    return false;
}

/* Messages that may come at any time; of one that the client gets at once its first `here` bytes. */
static void take_side(struct server *server, const char *message, const struct wire_frame *frame, size_t here)
{
    struct expect_entry *head = expect_head(&server->expect);
    if (head && !expect_visible(head->kind) && frame->type != WIRE_B_NOTIFICATION_RESPONSE) {
        bool unreported = head->kind == EXPECT_OURS && head->detail == EXPECT_UNREPORTED;
        if (frame->type == WIRE_B_PARAMETER_STATUS && !unreported && !(server->client && server->client->asks))
            effect_reported(server, message, frame);
        return;
    }
    if (server->client) {
        if (frame->type == WIRE_B_PARAMETER_STATUS)
            reported_note(server->client, message, frame);
        pass(server, message, here);
        server->passing = frame->size - (uint32_t)here;
        server->passing_visible = true;
    } else if (server->keeper && server->keeper->state == CLIENT_READY) {
        channel_send(&server->keeper->channel, message, frame->size);
    }
}

bool server_needs_whole(const struct server *server, char type)
{
    const struct expect_entry *head = expect_head(&server->expect);
    if (head && (!expect_visible(head->kind) || ends_shape(head, type)))
        return true;
    if (type == WIRE_B_NOTICE_RESPONSE)
        return !server->client;
    /* Behind what ends an answer may stand what we answer ourselves. */
    return type == WIRE_B_READY_FOR_QUERY || type == WIRE_B_PARAMETER_STATUS || type == WIRE_B_ERROR_RESPONSE ||
           type == WIRE_B_NOTIFICATION_RESPONSE || type == WIRE_B_COMMAND_COMPLETE || type == WIRE_B_ROW_DESCRIPTION ||
           type == WIRE_B_PARAMETER_DESCRIPTION;
}

bool server_take_of_leg(struct server *server, const char *message, const struct wire_frame *frame, size_t here)
{
    if (frame->type == WIRE_B_ERROR_RESPONSE && server_error_is_fatal(message, frame)) {
        remember_error(server, message, frame);
        return true;
    }
    if (frame->type == WIRE_B_PARAMETER_STATUS)
        return take_report(server, message, frame);
    if (frame->type == WIRE_B_ROW_DESCRIPTION && !server_described(server, message, frame)) {
        server_violates(server, "out of memory");
        return false;
    }
    if (frame->type == WIRE_B_ERROR_RESPONSE && server->deadlock) {
        struct wire_frame told = *frame;
        message = server_error_replace(server, message, &told);
        return leg_take(server, message, &told, told.size);
    }
    return leg_take(server, message, frame, here);
}

bool server_take(struct server *server, const char *message, const struct wire_frame *frame, size_t here)
{
    switch (frame->type) {
    case WIRE_B_READY_FOR_QUERY:
        return take_ready(server, message, frame);
    case WIRE_B_ERROR_RESPONSE:
        return take_error(server, message, frame);
    case WIRE_B_PARAMETER_STATUS:
        if (!take_report(server, message, frame))
            return false;
        take_side(server, message, frame, here);
        return true;
    case WIRE_B_NOTICE_RESPONSE:
    case WIRE_B_NOTIFICATION_RESPONSE:
        take_side(server, message, frame, here);
        return true;
    case WIRE_B_ROW_DESCRIPTION:
    case WIRE_B_PARAMETER_DESCRIPTION:
    case WIRE_B_NO_DATA:
        if (!server_described(server, message, frame)) {
            server_violates(server, "out of memory");
            return false;
        }
        return take_answer(server, message, frame, here);
    default:
        return take_answer(server, message, frame, here);
    }
}
