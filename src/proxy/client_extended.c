/*
 * The extended protocol: a segment of messages up to Sync, on one server.
 *
 * A Parse is held until something behind it says which shard is to have it: a Bind, by its values; Describe, Flush or
 * Sync, any. Statements have the client's names here and the proxy's on servers (prepared.h).
 */
#include "proxy/client_extended.h"

#include "proxy/branch.h"
#include "proxy/client_cursor.h"
#include "proxy/client_local.h"
#include "proxy/client_portal.h"
#include "proxy/placement.h"
#include "proxy/prepare_sql.h"
#include "proxy/route.h"
#include "proxy/server.h"
#include "proxy/server_rows.h"

#include <string.h>

/* Of BEGIN, DEALLOCATE and their like, just parsed and not sent, it is known what a server would say. */
static bool describes_here(struct client *client, struct prepared *prepared)
{
    struct route route;
    if (!extended_is_alone(client, prepared))
        return false;
    if (!route_facts(client, prepared, &route) || !route.facts || route.facts->count != 1)
        return false;
    const struct facts *only = &route.facts->facts[0];
    return (local_applies(client, only) || only->class == STATEMENT_DEALLOCATE) && !client->transaction.has_failed;
}

void extended_describe(struct buffer *out, const struct buffer *description)
{
    if (description)
        buffer_add(out, description->data, description->size);
    else
        wire_empty(out, WIRE_B_NO_DATA);
}

enum taken extended_answer_described(struct client *client, const struct buffer *description)
{
    struct buffer *answer = client_answer(client);
    size_t at = wire_begin(answer, WIRE_B_PARAMETER_DESCRIPTION);
    wire_16(answer, 0);
    wire_end(answer, at);
    extended_describe(answer, description);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

/* EXECUTE, where the statement that it names is there: that one's result. REACHED: it is none of these. */
static enum taken describe_execute(struct client *client, struct prepared *prepared)
{
    struct route route;
    if (!prepare_sql_may_execute(prepared->text, prepared->size))
        return REACHED;
    enum taken taken = local_route(client, prepared, &route);
    if (taken != REACHED)
        return taken;
    if (!route.facts || route.facts->count != 1 || route.facts->facts[0].class != STATEMENT_EXECUTE)
        return REACHED;
    struct client_statement *statement = prepare_sql_find(client, &route.facts->facts[0]);
    if (client->status == 'E' && client->server)
        return REACHED; /* the server has its own words */
    taken = extended_reach_any(client);
    if (taken != REACHED)
        return taken;
    if (!statement)
        return extended_answer_described(client, NULL);
    taken = extended_ensure(client, statement->prepared, statement);
    if (taken != REACHED)
        return taken;
    if (!prepare_sql_parse(client, statement->prepared, prepared, NULL))
        return client_out_of_memory(client);
    wire_describe(batch_make(&client->worker->to_server), 'S', "");
    return expect_add(&client->server->expect, EXPECT_DESCRIBE_STATEMENT, 0, NULL) ? TAKEN
                                                                                   : client_out_of_memory(client);
}

static enum taken describe_statement(struct client *client, const struct wire_named *named)
{
    enum taken taken = TAKEN;
    const struct client_statement *statement;
    struct prepared *prepared = extended_find(client, named->name, &statement, &taken);
    if (!prepared)
        return taken;
    taken = client_know_schema(client, prepared);
    if (taken != REACHED)
        return taken;
    if (describes_here(client, prepared)) {
        client_held_answered(client, client_answer(client));
        return client_answered(client) ? extended_answer_described(client, NULL) : client_out_of_memory(client);
    }
    if (client_placement_names(client, prepared)) {
        taken = extended_send_before(client);
        return taken == REACHED ? client_placement_describe(client, prepared) : taken;
    }
    taken = cursor_describe(client, prepared);
    if (taken == REACHED)
        taken = describe_execute(client, prepared);
    if (taken != REACHED)
        return taken;
    taken = extended_reach_for(client, prepared);
    if (taken != REACHED)
        return taken;
    taken = extended_ensure(client, prepared, statement);
    if (taken != REACHED)
        return taken;
    wire_describe(batch_make(&client->worker->to_server), 'S', *named->name ? prepared_name(prepared) : "");
    uint32_t number = statement ? 0 : (uint32_t)client->unnamed_number; /* what is told of the unnamed one is kept */
    return expect_add(&client->server->expect, EXPECT_DESCRIBE_STATEMENT, number, NULL) ? TAKEN
                                                                                        : client_out_of_memory(client);
}

/* Execute of a portal whose rows may name types: what they are is told just before them, as the client asked, or we. */
static bool tell_columns(struct client *client, const char *name)
{
    struct expect *expect = &client->server->expect;
    const struct expect_entry *last = expect->count ? expect_at(expect, expect->count - 1) : NULL;
    if (last && !*name && last->kind == EXPECT_DESCRIBE_PORTAL && last->detail == EXPECT_UNNAMED)
        return true;
    wire_describe(batch_make(&client->worker->to_server), 'P', name);
    return expect_add(expect, EXPECT_COLUMNS, 0, NULL);
}

/* Describe and Execute of a portal; Close of one. */
static enum taken pass_portal(struct client *client, const char *message, const struct wire_frame *frame,
                              const struct wire_named *named, enum expect_kind kind)
{
    if (client->held_count && kind == EXPECT_CLOSE) {
        enum taken taken = extended_reach_any(client); /* what came before is answered before */
        if (taken != REACHED)
            return taken;
    }
    const struct bound *bound = portal_find(client, named->name);
    if (bound && bound->is_local)
        return portal_here(client, bound, named, kind);
    bool in_transaction = client->status == 'T' || client->transaction.is_implicit;
    if (kind == EXPECT_EXECUTE && bound && bound->ends_transaction && in_transaction && branch_is_parked(client))
        return route_refuse_end(client); /* it was bound before the others joined */
    const struct server *has_it = bound && in_transaction ? branch_by_number(client, bound->server) : NULL;
    if (has_it) {
        enum taken taken = client_reach(client, has_it->pool->shard);
        if (taken != REACHED)
            return taken;
    }
    bool is_gone = client->server && bound && bound->server && bound->server != client->server->number;
    bool open = client->server && !client->is_fresh && !is_gone;
    if (!open && kind == EXPECT_CLOSE)
        return extended_answer_empty(client, WIRE_B_CLOSE_COMPLETE);
    if (!open)
        return extended_fail(client, "34000", "portal \"%s\" does not exist", named->name);
    if (kind == EXPECT_EXECUTE && named->rows && client->is_aside)
        return extended_fail(
            client, "0A000",
            "rows in portions (Execute with a limit) of what the coordinator answers beside a transaction%s", "");
    enum taken taken = client_send_held(client);
    if (taken != TAKEN)
        return taken;
    /* A portal that is not known here is a cursor that DECLARE has made: it may be BINARY. */
    bool maps = kind == EXPECT_EXECUTE && (bound ? bound->names_types : server_typemap(client->server)->count > 0);
    if (maps && !tell_columns(client, named->name))
        return client_out_of_memory(client);
    batch_pass(&client->worker->to_server, message, frame->size);
    bool executes = kind == EXPECT_EXECUTE && bound;
    void *subject = executes && bound->has_effect ? prepared_hold(bound->prepared) : NULL;
    uint32_t detail = maps ? EXPECT_MAPPED : kind == EXPECT_DESCRIBE_PORTAL && !*named->name ? EXPECT_UNNAMED : 0;
    if (!expect_add(&client->server->expect, kind, detail, subject))
        return client_out_of_memory(client);
    client->names_ahead |= executes && bound->moves_names;
    if (executes)
        expect_shift(&client->server->expect, bound->shift);
    return TAKEN;
}

static enum taken close_statement(struct client *client, const struct wire_named *named)
{
    if (client->held_count) {
        enum taken taken = extended_reach_any(client);
        if (taken != REACHED)
            return taken;
    }
    struct client_statement *found = *named->name ? client_statements_find(&client->statements, named->name) : NULL;
    if (found && client->server && client->server->expect.count) {
        /* An error before it would have the server pass over it. */
        found->is_closing = true;
        found->in_flight++;
        return expect_add(&client->server->expect, EXPECT_CLOSED_HERE, 0, found) ? TAKEN : client_out_of_memory(client);
    }
    if (*named->name) {
        client_statements_remove(&client->statements, named->name);
    } else {
        client_unnamed_set(client, NULL);
        if (client->server && client->server->expect.count)
            return expect_add(&client->server->expect, EXPECT_CLOSED_HERE, 0, NULL) ? TAKEN
                                                                                    : client_out_of_memory(client);
        client_unnamed_answered(client, NULL);
    }
    return extended_answer_empty(client, WIRE_B_CLOSE_COMPLETE);
}

static enum taken take_flush(struct client *client, const char *message, const struct wire_frame *frame)
{
    if (client->held_count) {
        enum taken taken = extended_reach_any(client);
        if (taken != REACHED)
            return taken;
    }
    if (client->server && !client->is_fresh)
        batch_pass(&client->worker->to_server, message, frame->size);
    return TAKEN;
}

static enum taken take_sync(struct client *client, const char *message, const struct wire_frame *frame)
{
    if (client->held_count && !client->skips) {
        enum taken taken = extended_reach_any(client);
        if (taken != REACHED && taken != TAKEN)
            return taken;
    }
    extended_drop_held(client);
    if (client->transaction.is_implicit) {
        enum taken taken = local_end_implicit(client);
        if (taken != REACHED)
            return taken;
    }
    struct server *server = client->server;
    if (server && !client->is_fresh) {
        batch_pass(&client->worker->to_server, message, frame->size);
        client->awaits_ready = true;
        client->skips = false;
        return expect_add(&server->expect, EXPECT_SYNC, 0, NULL) ? TAKEN : client_out_of_memory(client);
    }
    if (server && server_is_clean(server))
        server_unlink(server);
    client_unnamed_settle(client, client->skips);
    client->in_segment = client->skips = false;
    if (client->status == 'I')
        client_portals_clear(client);
    wire_ready(client_answer(client), client->status);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

static enum taken take_named(struct client *client, const char *message, const struct wire_frame *frame)
{
    struct wire_named named;
    if (!wire_read_named(message, frame, &named))
        return client_malformed(client);
    switch (frame->type) {
    case WIRE_DESCRIBE:
        return named.kind == 'S' ? describe_statement(client, &named)
                                 : pass_portal(client, message, frame, &named, EXPECT_DESCRIBE_PORTAL);
    case WIRE_EXECUTE:
        return pass_portal(client, message, frame, &named, EXPECT_EXECUTE);
    default:
        break;
    }
    if (named.kind == 'S')
        return close_statement(client, &named);
    enum taken taken = pass_portal(client, message, frame, &named, EXPECT_CLOSE);
    if (taken == TAKEN)
        portal_remove(client, named.name);
    return taken;
}

enum taken client_extended(struct client *client, const char *message, const struct wire_frame *frame)
{
    client->asks_shape = false;
    if (client->skips && frame->type != WIRE_SYNC)
        return TAKEN;
    client->in_segment = true;
    if (client->failure && frame->type != WIRE_SYNC)
        return client_tell_failure(client);
    switch (frame->type) {
    case WIRE_PARSE:
        return extended_parse(client, message, frame);
    case WIRE_BIND:
        return extended_bind(client, message, frame);
    case WIRE_FLUSH:
        return take_flush(client, message, frame);
    case WIRE_SYNC:
        return take_sync(client, message, frame);
    default:
        return take_named(client, message, frame);
    }
}
