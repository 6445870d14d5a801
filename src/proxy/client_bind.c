/*
 * Bind: where the values say that a statement belongs.
 */
#include "base/memory.h"
#include "proxy/client_cursor.h"
#include "proxy/client_extended.h"
#include "proxy/client_local.h"
#include "proxy/client_portal.h"
#include "proxy/client_scatter.h"
#include "proxy/constraints.h"
#include "proxy/copy_binary.h"
#include "proxy/effect.h"
#include "proxy/explain_rows.h"
#include "proxy/placement.h"
#include "proxy/prepare_sql.h"
#include "proxy/reset.h"
#include "proxy/route.h"
#include "proxy/server.h"
#include "proxy/tally.h"
#include "sql/behind.h"

#include <string.h>

/* A Bind, of which `here` bytes are at hand; the others follow. */
struct bind_message {
    const char *bytes;
    const struct wire_frame *frame;
    size_t here;
    struct wire_bind bind;
};

/* `name`: of the statement on the server. */
static void pass_bind(struct client *client, const struct bind_message *message, const char *name)
{
    const struct wire_bind *bind = &message->bind;
    if (message->here < message->frame->size)
        client->passing = WIRE_BIND;
    if (strcmp(name, bind->statement) == 0) {
        batch_pass(&client->worker->to_server, message->bytes, message->here);
        return;
    }
    struct buffer *out = batch_make(&client->worker->to_server);
    const char *rest = bind->statement + strlen(bind->statement) + 1;
    char type = WIRE_BIND;
    buffer_add(out, &type, 1);
    wire_32(out, (uint32_t)(message->frame->size - 1 + strlen(name) - strlen(bind->statement)));
    wire_text(out, bind->portal);
    wire_text(out, name);
    buffer_add(out, rest, (size_t)(message->bytes + message->here - rest));
}

/* The values, for a plan; into the worker's scratch arena. */
static bool read_values(struct client *client, const struct wire_bind *bind, struct prepared *prepared,
                        struct route_parameters *parameters)
{
    const char *at = bind->values;
    struct plan_value *values = arena_allocate(&client->worker->scratch, (bind->value_here + 1u) * sizeof *values);
    if (!values)
        return false;
    for (uint16_t i = 0; i < bind->value_here; i++) {
        struct wire_value value;
        if (!wire_bind_value(bind, i, &at, &value))
            return false;
        uint32_t type = i < prepared->type_count ? prepared->types[i] : 0;
        if (!type && i < prepared->described_count)
            type = prepared->described[i];
        values[i] = (struct plan_value){value.data, value.size, value.format, type};
    }
    *parameters = (struct route_parameters){prepared, values, bind->value_here, bind->value_here < bind->value_count};
    return true;
}

/* The segment goes on where the plan then says. */
enum taken extended_ask_types(struct client *client, struct prepared *prepared, const struct client_statement *named)
{
    enum taken taken = extended_reach_any(client);
    if (taken != REACHED)
        return taken;
    taken = extended_ensure(client, prepared, named);
    if (taken != REACHED)
        return taken;
    struct buffer *out = batch_make(&client->worker->to_server);
    wire_describe(out, 'S', named ? prepared_name(prepared) : "");
    wire_empty(out, WIRE_FLUSH);
    client->asks_types = true;
    if (expect_add(&client->server->expect, EXPECT_DESCRIBE_OURS, 0, prepared_hold(prepared)))
        return TAKEN_LATER;
    return client_out_of_memory(client);
}

/* BEGIN and its like, bound here. */
static enum taken bind_here(struct client *client, const struct wire_bind *bind, struct prepared *prepared,
                            const struct facts *facts)
{
    bool ends =
        facts->class == STATEMENT_COMMIT || facts->class == STATEMENT_ROLLBACK || facts->class == STATEMENT_ROLLBACK_TO;
    if (client->transaction.has_failed && !ends)
        return extended_fail(client, "25P02",
                             "current transaction is aborted, commands ignored until end of transaction block%s", "");
    struct buffer *answer = client_answer(client);
    client_held_answered(client, answer);
    wire_empty(answer, WIRE_B_BIND_COMPLETE);
    struct bound bound = {.prepared = prepared, .is_local = true};
    if (!portal_add(client, bind->portal, &bound) || !client_answered(client))
        return client_out_of_memory(client);
    return TAKEN;
}

/* What is bound to a server that was linked for a try only makes it the transaction's. */
static void settle(struct client *client, const struct facts *only)
{
    if (!client->is_tentative || (only && local_is_tried(only)))
        return;
    client->is_tentative = false;
    transaction_replayed(&client->transaction);
    if (client->tentative)
        (void)transaction_follow(&client->transaction, client->tentative, client->tentative_size);
    memory_free(client->tentative);
    client->tentative = NULL;
}

/* Is the rest of the segment at hand, and nothing but an Execute of all rows? Then the portal is not needed later. */
static bool ends_segment(const struct client *client, const struct wire_bind *bind)
{
    const char *at = client->behind, *end = at + client->behind_size;
    struct wire_frame frame;
    struct wire_named named;
    for (; !*bind->portal && wire_peek(at, (size_t)(end - at), &frame) == WIRE_MESSAGE; at += frame.size) {
        if (frame.size > (size_t)(end - at) || frame.type == WIRE_SYNC)
            return frame.type == WIRE_SYNC;
        if ((frame.type != WIRE_DESCRIBE && frame.type != WIRE_EXECUTE) || !wire_read_named(at, &frame, &named) ||
            named.kind != 'P' || *named.name || (frame.type == WIRE_EXECUTE && named.rows))
            return false;
    }
    return false;
}

/* May names mean something else behind it? A transaction's end takes back what was set in it. */
static bool moves_names(const struct facts *facts)
{
    return behind_means_else(facts) || route_ends_transaction(facts) || facts->class == STATEMENT_ROLLBACK_TO;
}

static enum taken bind_on_server(struct client *client, const struct bind_message *message, struct prepared *prepared,
                                 const struct client_statement *named, const struct route *route)
{
    const struct wire_bind *bind = &message->bind;
    const struct facts *only = route->facts && route->facts->count == 1 ? &route->facts->facts[0] : NULL;
    struct route way = *route;
    way.aside |= only && local_is_beside(client, only) && ends_segment(client, bind);
    client->is_tentative |= only && local_is_tentative(client, only);
    enum taken taken = route_reach(client, &way);
    if (taken != REACHED)
        return taken;
    if (way.aside && !transaction_read(&client->transaction))
        return client_out_of_memory(client);
    taken = client_send_held(client);
    if (taken != TAKEN)
        return taken;
    taken = extended_ensure(client, prepared, named);
    if (taken != REACHED)
        return taken;
    if (route->pruned && !extended_send_pruned(client, prepared, route->pruned))
        return client_out_of_memory(client);
    mosaic_error error;
    if (only && !copy_binary_may_bind(client, only, &error))
        return extended_refuse(client, &error);
    settle(client, only);
    if (client->is_tentative && !client_keep_tentative(client, only, prepared->text, prepared->size))
        return client_out_of_memory(client);
    struct bound bound = {
        .prepared = prepared, .server = client->server->number, .has_effect = only && effect_is(only)};
    bound.moves_names = only && moves_names(only);
    bound.ends_transaction = only && route_ends_transaction(only);
    bound.shift = route->pruned ? EXPECT_NO_PLACE : 0;
    bound.names_types = portal_names_types(client, bind, message->here == message->frame->size,
                                           named ? prepared->shape : client->unnamed_shape);
    if (only && only->changes_session)
        client_pin(client, only);
    if (!portal_add(client, bind->portal, &bound))
        return client_out_of_memory(client);
    client->is_harmless = false;
    if (!tally_begin(client, prepared->text, prepared->size, route))
        return client_out_of_memory(client);
    pass_bind(client, message, named && !route->pruned ? prepared_name(prepared) : "");
    uint32_t mark = named ? client_statements_mark(bind->statement) : 0;
    return expect_add(&client->server->expect, EXPECT_BIND, mark, NULL) ? TAKEN : client_out_of_memory(client);
}

/*
 * Where the segment will go: what any shard can do goes where the first Bind behind it belongs, as far as that has been
 * read already. SIZE_MAX: not known.
 */
static size_t look_ahead(struct client *client)
{
    const char *at = client->behind, *end = at + client->behind_size;
    struct prepared *unnamed = client->unnamed ? prepared_hold(client->unnamed) : NULL;
    size_t shard = SIZE_MAX;
    struct wire_frame frame;
    for (; shard == SIZE_MAX && wire_peek(at, (size_t)(end - at), &frame) == WIRE_MESSAGE; at += frame.size) {
        struct route_parameters parameters;
        struct wire_parse parse;
        struct wire_bind bind;
        struct route route;
        if (frame.size > (size_t)(end - at) || frame.type == WIRE_SYNC || frame.type == WIRE_QUERY)
            break;
        if (frame.type == WIRE_PARSE && wire_read_parse(at, &frame, &parse) && !*parse.name) {
            prepared_release(unnamed);
            unnamed = prepared_intern(&client->worker->prepared_table, parse.sql, strlen(parse.sql), parse.types,
                                      parse.type_count, client_sense(client));
        }
        if (frame.type != WIRE_BIND || !wire_read_bind(at, &frame, &bind))
            continue;
        struct client_statement *named =
            *bind.statement ? client_statements_find(&client->statements, bind.statement) : NULL;
        struct prepared *prepared = *bind.statement ? (named ? named->prepared : NULL) : unnamed;
        if (prepared && read_values(client, &bind, prepared, &parameters) &&
            route_text(client, prepared->text, prepared->size, &parameters, &route) && route.way == ROUTE_SHARD)
            shard = route.shard;
    }
    prepared_release(unnamed);
    return shard;
}

/* EXPLAIN (MOSAIC): a server has parsed it, the portal is answered here. */
static enum taken bind_explanation(struct client *client, const struct wire_bind *bind, struct prepared *prepared,
                                   const struct explanation *explanation)
{
    enum taken taken = extended_send_before(client);
    if (taken != REACHED)
        return taken;
    if (bind->result_count > 1) {
        mosaic_error error;
        (void)!error_set(&error, MOSAIC_DATA, "bind message has %u result formats but query has 1 columns",
                         bind->result_count);
        error_sqlstate(&error, "08P01");
        return client_refuse(client, &error, true);
    }
    struct bound bound = {.rows = explain_portal_new(explanation, bind->result_count && bind->results[1])};
    return bound.rows ? portal_bind_here(client, bind, prepared, &bound) : client_out_of_memory(client);
}

/* EXECUTE as SQL: the portal is the server's, of what the name means now. */
static enum taken bind_execute(struct client *client, const struct bind_message *message, struct prepared *prepared,
                               const struct route *own)
{
    struct execution found = {0};
    enum taken taken = prepare_sql_reach(client, own, &found);
    if (taken != REACHED)
        return taken;
    settle(client, NULL);
    struct prepared *executed = found.statement->prepared;
    struct bound bound = {.prepared = executed, .server = client->server->number, .has_effect = effect_is(found.facts)};
    bound.names_types = portal_names_types(client, &message->bind, message->here == message->frame->size, 0);
    if (!prepare_sql_parse(client, executed, prepared, &bound.shift) ||
        !portal_add(client, message->bind.portal, &bound))
        return client_out_of_memory(client);
    client->is_harmless = false;
    if (!tally_begin(client, executed->text, executed->size, &found.route))
        return client_out_of_memory(client);
    pass_bind(client, message, "");
    return expect_add(&client->server->expect, EXPECT_BIND, 0, NULL) ? TAKEN : client_out_of_memory(client);
}

/* PREPARE, EXECUTE and DEALLOCATE. */
static enum taken bind_sql(struct client *client, const struct bind_message *message, struct prepared *prepared,
                           const struct route *own)
{
    const struct wire_bind *bind = &message->bind;
    const struct facts *facts = &own->facts->facts[0];
    if (bind->value_count) {
        mosaic_error error;
        (void)!error_set(&error, MOSAIC_DATA,
                         "bind message supplies %u parameters, but prepared statement \"%s\" requires 0",
                         bind->value_count, bind->statement);
        error_sqlstate(&error, "08P01");
        return extended_refuse(client, &error);
    }
    if (facts->class == STATEMENT_EXECUTE && prepare_sql_find(client, facts))
        return bind_execute(client, message, prepared, own);
    bool alone = facts->class == STATEMENT_DEALLOCATE && extended_is_alone(client, prepared);
    enum taken taken = alone ? REACHED : extended_send_before(client);
    if (taken != REACHED)
        return taken;
    if (alone)
        client_held_answered(client, client_answer(client));
    if (alone && !client_answered(client))
        return client_out_of_memory(client);
    struct bound bound = {0};
    return portal_bind_here(client, bind, prepared, &bound);
}

static enum taken take_bind(struct client *client, const struct bind_message *message)
{
    const struct wire_bind *bind = &message->bind;
    struct route route;
    struct route_parameters parameters;
    const struct client_statement *named;
    enum taken taken = TAKEN;
    struct prepared *prepared = extended_find(client, bind->statement, &named, &taken);
    if (!prepared)
        return taken;
    if (client->scatter && (taken = client_scatter_bound(client, bind, prepared)) != REACHED)
        return taken;
    if (client->asks_types) {
        client->asks_types = false; /* answered: described, or an error that was told */
        if (client->skips)
            return TAKEN;
    }
    if (client->asks && (taken = local_ask_path(client)) != REACHED)
        return taken;
    if (!read_values(client, bind, prepared, &parameters))
        return client_malformed(client);
    client->worker->text = prepared->text;
    client->worker->text_size = prepared->size;
    if (!route_text(client, prepared->text, prepared->size, &parameters, &route))
        return client_out_of_memory(client);
    if (route.way == ROUTE_ANY && !client->server && client->behind_size) {
        size_t ahead = look_ahead(client);
        if (!route_text(client, prepared->text, prepared->size, &parameters, &route))
            return client_out_of_memory(client);
        if (ahead != SIZE_MAX)
            route.shard = ahead;
    }
    if (route.way == ROUTE_ASK)
        return local_ask_path(client);
    if (route.way == ROUTE_WAIT)
        return TAKEN_LATER;
    if (route.way == ROUTE_TYPES)
        return extended_ask_types(client, prepared, named);
    const struct facts *only = route.facts && route.facts->count == 1 ? &route.facts->facts[0] : NULL;
    if (only && client->transaction.is_implicit && effect_is(only))
        return extended_fail(client, "0A000", "%s behind a write over several shards, without Sync in between",
                             statement_class_name(only->class));
    if (only && client_placement_is(only) && client->status != 'E' && !local_has_failed(client))
        return bind->results
                   ? client_placement_bind(client, bind, prepared, only->placement, parameters.values, parameters.count)
                   : TAKEN_MORE;
    if (only && local_applies(client, only))
        return bind_here(client, bind, prepared, only);
    if (client->status == 'E' && client->server) {
        if (client->went_back)
            return extended_fail(client, "0A000", "%s behind ROLLBACK TO, without Sync in between",
                                 only ? statement_class_name(only->class) : "a statement");
        client->went_back = only && only->class == STATEMENT_ROLLBACK_TO && route_is_analysed(client);
        route = (struct route){.way = ROUTE_ANY, .shard = client->server->pool->shard, .facts = route.facts};
    }
    if (route.way == ROUTE_MORE || ((route.way == ROUTE_EXPLAIN || route.way == ROUTE_SCATTER) && !bind->results))
        return TAKEN_MORE;
    if (only && prepare_sql_is(only) && client->status != 'E')
        return bind_sql(client, message, prepared, &route);
    if (only && cursor_is(client, only) && client->status != 'E')
        return cursor_bind(client, bind, prepared);
    if (route.way == ROUTE_REFUSED)
        return extended_refuse(client, route.error);
    if (route.way == ROUTE_EXPLAIN)
        return bind_explanation(client, bind, prepared, route.explanation);
    if (route.way == ROUTE_SCATTER)
        return client_scatter_bind(client, bind, prepared, &route);
    mosaic_error error;
    if (only && only->class == STATEMENT_SET && !effect_set_is_allowed(client, only, &error))
        return extended_refuse(client, &error);
    taken = constraints_check(client, route.facts);
    if (taken != REACHED)
        return taken;
    if (!reset_route(client, only, &route))
        return client_out_of_memory(client);
    return bind_on_server(client, message, prepared, named, &route);
}

enum taken extended_bind(struct client *client, const char *bytes, const struct wire_frame *frame)
{
    struct bind_message message = {.bytes = bytes, .frame = frame, .here = frame->size};
    return wire_read_bind(bytes, frame, &message.bind) ? take_bind(client, &message) : client_malformed(client);
}

enum taken client_bind_begun(struct client *client, const char *bytes, const struct wire_frame *frame, size_t here)
{
    struct bind_message message = {.bytes = bytes, .frame = frame, .here = here};
    client->passing = 'x';
    client->asks_shape = false;
    if (client->skips)
        return TAKEN;
    client->in_segment = true;
    if (client->failure)
        return client_tell_failure(client);
    switch (wire_read_bind_begun(bytes, frame, here, &message.bind)) {
    case WIRE_MORE:
        return TAKEN_MORE;
    case WIRE_BAD:
        return client_malformed(client);
    default:
        return take_bind(client, &message);
    }
}
