#define _GNU_SOURCE
#include "proxy/server_error.h"

#include "proxy/branch.h"
#include "proxy/proxy.h"
#include "proxy/scatter.h"
#include "proxy/tally.h"

#include <stdlib.h>
#include <string.h>

enum { DEADLOCK_MOST = 1 << 20 };

bool server_error_is_fatal(const char *message, const struct wire_frame *frame)
{
    struct wire_error found;
    return wire_read_error(message, frame, &found) && found.severity &&
           (strcmp(found.severity, "FATAL") == 0 || strcmp(found.severity, "PANIC") == 0);
}

void server_error_count(struct server *server, const char *message, const struct wire_frame *frame)
{
    struct wire_error found;
    if (wire_read_error(message, frame, &found) && found.sqlstate)
        COUNT(server->worker->errors, from_shards[error_class(found.sqlstate)], 1);
}

/* As PostgreSQL tells its own, with what it says of the place (CONTEXT). */
static void write_deadlock(const struct server *server, const char *message, const struct wire_frame *frame,
                           struct buffer *out)
{
    const char *const fields[][2] = {
        {"C", "40P01"}, {"M", "deadlock detected"}, {"D", server->deadlock}, {"H", "run the transaction again"}};
    struct wire_reader reader = wire_body(message, frame);
    size_t begun = wire_begin(out, WIRE_B_ERROR_RESPONSE);
    for (char field; (field = (char)wire_read8(&reader));) {
        const char *text = wire_read_text(&reader);
        if (field != 'S' && field != 'V' && field != 'W')
            continue;
        buffer_char(out, field);
        wire_text(out, text);
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        buffer_char(out, *fields[i][0]);
        wire_text(out, fields[i][1]);
    }
    buffer_char(out, '\0');
    wire_end(out, begun);
}

const char *server_error_replace(struct server *server, const char *message, struct wire_frame *frame)
{
    struct buffer out = BUFFER_INIT(DEADLOCK_MOST);
    struct client *client = server->client;
    struct wire_error found;
    if (!wire_read_error(message, frame, &found) || !found.sqlstate || strcmp(found.sqlstate, "57014") != 0)
        return message;
    write_deadlock(server, message, frame, &out);
    char *told = buffer_failed(&out) ? NULL : arena_copy(&server->worker->scratch, out.data, out.size);
    if (told && wire_peek(told, out.size, frame) == WIRE_MESSAGE)
        message = told;
    buffer_free(&out);
    server_forget_deadlock(server);
    if (client)
        branch_yield(client->is_leg ? leg_owner(client) : client, client->is_leg);
    return message;
}

const char *server_error_cut(struct server *server, const char *message, struct wire_frame *frame)
{
    struct buffer out = BUFFER_INIT(SERVER_ERROR_MOST + WIRE_HEADER);
    wire_error_begun(&out, message, SERVER_ERROR_MOST);
    char *told = buffer_failed(&out) ? NULL : arena_copy(&server->worker->scratch, out.data, out.size);
    frame->size = (uint32_t)out.size;
    buffer_free(&out);
    return told;
}

/* A statement's name on the server is no word that its client knows: his own stands in the error instead. */
static void add_renamed(struct server *server, const struct expect_entry *head, struct buffer *out, const char *text)
{
    static const char ours[] = "mosaic_";
    const char *at = strstr(text, ours), *digits = at ? at + sizeof ours - 1 : NULL;
    char *after = NULL;
    uint32_t mark = head->kind == EXPECT_BIND ? head->detail : 0;
    const char *name =
        at ? client_statements_name(&server->client->statements, strtoull(digits, &after, 10), mark) : NULL;
    if (!name || after == digits) {
        wire_text(out, text);
        return;
    }
    buffer_add(out, text, (size_t)(at - text));
    buffer_text(out, name);
    wire_text(out, after);
}

/*
 * The coordinator's foreign tables have no primary keys, so a column that depends on one is no grouped one there: an
 * error of its own, where one PostgreSQL may have an answer.
 */
static bool refuse_ungrouped(struct server *server, const char *message, const struct wire_frame *frame)
{
    struct wire_error found;
    bool is_coordinator = server->pool->shard == server->worker->world->model.shard_count;
    if (!is_coordinator || !wire_read_error(message, frame, &found) || !found.sqlstate ||
        strcmp(found.sqlstate, "42803") != 0)
        return false;
    wire_error_response(batch_make(&server->worker->to_client), "ERROR", "0A000", found.message,
                        "It is the coordinator that answers, and its tables have no primary keys to tell which columns "
                        "a GROUP BY decides.",
                        "name every column that stands outside of aggregates in GROUP BY");
    return true;
}

/* The server was told to stop because of a limit: the client is told of that. */
static bool tell_limit(struct server *server, const char *message, const struct wire_frame *frame)
{
    struct wire_error found;
    mosaic_error error;
    if (__builtin_expect(!server->client->tally, 1) || !wire_read_error(message, frame, &found) || !found.sqlstate ||
        !tally_error(server->client, found.sqlstate, &error))
        return false;
    wire_error_response(batch_make(&server->worker->to_client), "ERROR", error.sqlstate, error.message, error.detail,
                        error.hint);
    return true;
}

/* The client sees an error as it would be of what it sent: names of statements, and places in the text. */
void server_error_pass(struct server *server, const char *message, const struct wire_frame *frame,
                       const struct expect_entry *head)
{
    const int32_t shift = head->shift;
    struct wire_reader reader = wire_body(message, frame);
    if (!server->client || refuse_ungrouped(server, message, frame) || tell_limit(server, message, frame))
        return;
    if (!shift && !memmem(message, frame->size, "mosaic_", 7)) {
        batch_pass(&server->worker->to_client, message, frame->size);
        return;
    }
    struct buffer *out = batch_make(&server->worker->to_client);
    size_t begun = wire_begin(out, WIRE_B_ERROR_RESPONSE);
    for (char field; (field = (char)wire_read8(&reader));) {
        const char *text = wire_read_text(&reader);
        if (field == 'P' && shift == EXPECT_NO_PLACE)
            continue;
        buffer_char(out, field);
        if (field == 'P' && shift)
            buffer_format(out, "%ld%c", strtol(text, NULL, 10) - shift, '\0');
        else
            add_renamed(server, head, out, text);
    }
    buffer_char(out, '\0');
    wire_end(out, begun);
}
