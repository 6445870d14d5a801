#include "proxy/prepare_sql.h"

#include "base/utf8.h"
#include "proxy/client_extended.h"
#include "proxy/client_local.h"
#include "proxy/effect.h"
#include "proxy/server.h"
#include "proxy/tally.h"

#include <string.h>
#include <strings.h>

enum { TEXT_MOST = 1 << 28 };

bool prepare_sql_is(const struct facts *facts)
{
    return facts->class == STATEMENT_PREPARE || facts->class == STATEMENT_EXECUTE ||
           facts->class == STATEMENT_DEALLOCATE;
}

/* Ends the cycle: Sync, whose ReadyForQuery the client sees. */
static enum taken send_sync(struct client *client)
{
    wire_empty(batch_make(&client->worker->to_server), WIRE_SYNC);
    client->awaits_ready = true;
    return expect_add(&client->server->expect, EXPECT_SYNC, 0, NULL) ? TAKEN : client_out_of_memory(client);
}

/* ---- PREPARE ---- */

static struct prepared *intern(struct client *client, const struct facts *facts, const char *text, size_t size)
{
    size_t start = (size_t)facts->inner_start;
    size_t length = facts->inner_length ? (size_t)facts->inner_length : size - start;
    char *types = arena_allocate(&client->worker->scratch, facts->prepare_type_count * 4 + 1);
    if (!types || start > size)
        return NULL;
    for (size_t i = 0; i < facts->prepare_type_count; i++)
        for (size_t byte = 0; byte < 4; byte++)
            types[4 * i + byte] = (char)(facts->prepare_types[i] >> (24 - 8 * byte));
    return prepared_intern(&client->worker->prepared_table, text + start, length, types,
                           (uint16_t)facts->prepare_type_count, client_sense(client));
}

/* A name that is taken: what is wrong with the text comes first. */
static enum taken prepare_again(struct client *client, struct prepared *prepared, const char *name, int32_t shift)
{
    mosaic_error error;
    if (!extended_send_unnamed(client, prepared, EXPECT_PARSE_OURS))
        return client_out_of_memory(client);
    expect_shift(&client->server->expect, shift);
    (void)!error_set(&error, MOSAIC_USAGE, "prepared statement \"%s\" already exists", name);
    error_sqlstate(&error, "42P05");
    return client_refuse(client, &error, true);
}

/* `shift`: the server is sent so much less than the client's text. */
static enum taken prepare_interned(struct client *client, const char *name, struct prepared *prepared, int32_t shift)
{
    struct expect *expect = &client->server->expect;
    uint32_t before = expect->count;
    if (client_statements_find(&client->statements, name))
        return prepare_again(client, prepared, name, shift);
    struct client_statement *statement = client_statements_add(&client->statements, name, prepared);
    if (!statement || !client_parse_statement(client, statement, EXPECT_PARSE_SQL))
        return client_out_of_memory(client);
    for (uint32_t i = before; i < expect->count; i++)
        if (expect_at(expect, i)->kind == EXPECT_PARSE_SQL && shift > -EXPECT_SHIFT_MOST)
            expect_at(expect, i)->shift = shift;
    wire_complete(client_answer(client), "PREPARE");
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

static enum taken prepare(struct client *client, const struct facts *facts, const char *text, size_t size)
{
    if (!facts->name || facts->prepare_type_count > 65535)
        return extended_fail(client, "0A000", "this PREPARE cannot be read%s", "");
    enum taken taken = extended_reach_any(client);
    if (taken != REACHED)
        return taken;
    struct prepared *prepared = intern(client, facts, text, size);
    if (!prepared)
        return client_out_of_memory(client);
    int32_t shift = -(int32_t)utf8_count(text, (size_t)facts->inner_start);
    taken = prepare_interned(client, facts->name, prepared, shift);
    prepared_release(prepared);
    return taken;
}

/* ---- DEALLOCATE ---- */

/* An error that is still to come would have the server pass over it. */
static bool close_behind(void *context, struct client_statement *statement)
{
    struct client *client = context;
    statement->is_closing = true;
    statement->in_flight++;
    return expect_add(&client->server->expect, EXPECT_CLOSED_HERE, EXPECT_SILENT, statement);
}

static enum taken deallocate(struct client *client, const struct facts *facts)
{
    struct client_statements *statements = &client->statements;
    enum taken taken = extended_send_before(client);
    if (taken != REACHED)
        return taken;
    bool waits = client->server && client->server->expect.count, done = true;
    struct client_statement *found = facts->name ? client_statements_find(statements, facts->name) : NULL;
    if (facts->name && !found)
        return extended_fail(client, "26000", "prepared statement \"%s\" does not exist", facts->name);
    if (waits)
        done = found ? close_behind(client, found) : client_statements_visit(statements, close_behind, client);
    else if (found)
        client_statements_drop(statements, found);
    else
        client_statements_clear(statements);
    wire_complete(client_answer(client), found ? "DEALLOCATE" : "DEALLOCATE ALL");
    return done && client_answered(client) ? TAKEN : client_out_of_memory(client);
}

/* ---- EXECUTE ---- */

static const char *skip_blank(const char *at, const char *end)
{
    while (at < end) {
        if (*at == ' ' || (*at >= '\t' && *at <= '\r')) {
            at++;
        } else if (end - at > 1 && at[0] == '-' && at[1] == '-') {
            while (at < end && *at != '\n')
                at++;
        } else if (end - at > 1 && at[0] == '/' && at[1] == '*') {
            int depth = 0;
            do {
                bool opens = end - at > 1 && at[0] == '/' && at[1] == '*';
                bool closes = end - at > 1 && at[0] == '*' && at[1] == '/';
                depth += opens - closes;
                at += opens || closes ? 2 : 1;
            } while (at < end && depth);
        } else {
            return at;
        }
    }
    return end;
}

bool prepare_sql_may_execute(const char *text, size_t size)
{
    static const char word[] = "execute";
    const char *end = text + size, *at = skip_blank(text, end);
    return (size_t)(end - at) >= sizeof word - 1 && strncasecmp(at, word, sizeof word - 1) == 0;
}

static const char *skip_name(const char *at, const char *end)
{
    if (at < end && *at == '"') {
        for (at++; at < end; at++) {
            if (*at != '"')
                continue;
            if (at + 1 < end && at[1] == '"')
                at++;
            else
                return at + 1;
        }
        return end;
    }
    while (at < end && (*at == '_' || *at == '$' || (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') ||
                        (*at >= 'A' && *at <= 'Z') || (unsigned char)*at >= 0x80))
        at++;
    return at;
}

/* The arguments as parameters. Where a key is one, the plan refuses what is not the same in its parameter's type. */
static bool read_arguments(struct client *client, const struct route *route, struct plan_value **values)
{
    const struct facts *facts = &route->facts->facts[0];
    struct arena *scratch = &client->worker->scratch;
    *values = arena_zeroed(scratch, facts->argument_count + 1, sizeof **values);
    for (size_t i = 0; *values && i < facts->argument_count; i++) {
        const struct fact_value *argument = &facts->arguments[i];
        struct plan_value *value = &(*values)[i];
        *value = (struct plan_value){.size = -1};
        if (argument->source != VALUE_LITERAL)
            continue;
        value->is_argument = true, value->is_cast = argument->is_cast;
        value->written = UINT32_MAX;
        if (argument->number >= route->literal_count || !route->literals[argument->number].data)
            continue;
        value->written = argument->type;
        const struct plan_value *literal = &route->literals[argument->number];
        const char *sign = argument->is_negative ? "-" : "";
        value->data = arena_format(scratch, "%s%.*s", sign, literal->size, literal->data);
        if (!value->data)
            return false;
        value->size = (int32_t)strlen(value->data);
    }
    return *values != NULL;
}

/* EXECUTE under the proxy's name, and a zero. Returns by how many characters it is longer. */
static int32_t write_execute(struct prepared *prepared, const char *text, size_t size, struct buffer *out)
{
    const char *end = text + size, *at = skip_blank(text, end);
    at = skip_blank(at + strlen("execute"), end);
    const char *rest = skip_name(at, end), *name = prepared_name(prepared);
    int32_t longer = (int32_t)strlen(name) - (int32_t)utf8_count(at, (size_t)(rest - at));
    buffer_add(out, text, (size_t)(at - text));
    buffer_text(out, name);
    buffer_add(out, rest, (size_t)(end - rest));
    buffer_char(out, '\0');
    return longer;
}

bool prepare_sql_parse(struct client *client, struct prepared *executed, const struct prepared *own, int32_t *longer)
{
    struct buffer *out = batch_make(&client->worker->to_server);
    size_t begun = wire_begin(out, WIRE_PARSE);
    wire_text(out, "");
    int32_t shift = write_execute(executed, own->text, own->size, out);
    wire_16(out, 0);
    wire_end(out, begun);
    if (longer)
        *longer = shift;
    client->server->unnamed = 0;
    return expect_add(&client->server->expect, EXPECT_PARSE_OURS, 0, NULL);
}

struct client_statement *prepare_sql_find(struct client *client, const struct facts *facts)
{
    return facts->name ? client_statements_find(&client->statements, facts->name) : NULL;
}

/* By the protocol any statement can be prepared; these could not be followed where EXECUTE hides them. */
static bool may_run(const struct facts *facts)
{
    switch (facts->class) {
    case STATEMENT_SELECT:
    case STATEMENT_INSERT:
    case STATEMENT_UPDATE:
    case STATEMENT_DELETE:
    case STATEMENT_MERGE:
    case STATEMENT_SET: /* also set_config, which PREPARE takes */
    case STATEMENT_SHOW:
    case STATEMENT_UNREADABLE:
        return true;
    case STATEMENT_EXPLAIN:
        return !facts->explain_mosaic;
    default:
        return false;
    }
}

/* A plan of the statement for EXECUTE's arguments. REACHED: there is one. */
static enum taken plan_execution(struct client *client, const struct route *own, struct execution *found)
{
    struct client_statement *statement = found->statement;
    struct prepared *prepared = statement->prepared;
    struct plan_value *values;
    size_t count = own->facts->facts[0].argument_count;
    if (!read_arguments(client, own, &values))
        return client_out_of_memory(client);
    for (size_t i = 0; i < count; i++) {
        if (i < prepared->type_count)
            values[i].type = prepared->types[i];
        if (!values[i].type && i < prepared->described_count)
            values[i].type = prepared->described[i];
    }
    struct route_parameters parameters = {prepared, values, count, .is_executed = true};
    if (!route_text(client, prepared->text, prepared->size, &parameters, &found->route))
        return client_out_of_memory(client);
    if (found->route.way == ROUTE_ASK)
        return local_ask_path(client);
    if (found->route.way == ROUTE_WAIT)
        return TAKEN_LATER;
    if (found->route.way == ROUTE_TYPES && client->in_segment)
        return extended_ask_types(client, prepared, statement);
    if (found->route.way == ROUTE_TYPES)
        return extended_fail(client, "0A000",
                             "the types of the parameters of prepared statement \"%s\" are not known: "
                             "give them in PREPARE",
                             statement->name);
    return REACHED;
}

/* REACHED: found->route has a shard. */
static enum taken find_place(struct client *client, const struct route *own, struct execution *found)
{
    const char *name = found->statement->name;
    bool is_proved = own->facts->facts[0].refusal == NULL;
    struct route *route = &found->route, hinted = *own;
    mosaic_error error;
    enum taken taken = plan_execution(client, own, found);
    if (taken != REACHED)
        return taken;
    found->facts = route->facts && route->facts->count == 1 ? &route->facts->facts[0] : NULL;
    if (!found->facts || !may_run(found->facts))
        return extended_fail(client, "0A000", "EXECUTE of \"%s\" is not supported: it is no query", name);
    if (found->facts->class == STATEMENT_SET && !effect_set_is_allowed(client, found->facts, &error))
        return extended_refuse(client, &error);
    if (hinted.way == ROUTE_SHARD) {
        route->way = ROUTE_SHARD;
        route->shard = hinted.shard;
        route->aside = false;
        route->tier = 0;
        return REACHED;
    }
    bool by_key =
        route->way == ROUTE_REFUSED || route->aside || (route->way == ROUTE_SHARD && route->bucket != PLAN_NO_BUCKET);
    if (by_key && !is_proved)
        return extended_fail(client, "0A000",
                             "the arguments of EXECUTE \"%s\" are not plain values, so its shard is not proved", name);
    return route->way == ROUTE_REFUSED ? extended_refuse(client, route->error) : REACHED;
}

enum taken prepare_sql_reach(struct client *client, const struct route *own, struct execution *found)
{
    found->statement = prepare_sql_find(client, &own->facts->facts[0]);
    enum taken taken = extended_check_reading(client, found->statement->name, found->statement->prepared);
    if (taken == REACHED)
        taken = find_place(client, own, found);
    if (taken != REACHED)
        return taken;
    taken = route_reach(client, &found->route);
    if (taken != REACHED)
        return taken;
    taken = client_send_held(client);
    if (taken != TAKEN)
        return taken;
    bool in_segment = client->in_segment;
    client->in_segment = true; /* as far as errors go */
    taken = extended_ensure(client, found->statement->prepared, found->statement);
    client->in_segment = in_segment;
    if (taken == REACHED && found->facts->changes_session)
        client_pin(client, found->facts);
    return taken;
}

/* EXECUTE of a simple query, which stays one. */
static enum taken execute(struct client *client, const struct route *own, const char *text, size_t size, bool asked)
{
    struct execution found = {0};
    enum taken taken = prepare_sql_reach(client, own, &found);
    struct server *server = client->server;
    if (taken == TAKEN && client->skips)
        return prepare_sql_failed(client);
    if (taken != REACHED)
        return taken;
    struct prepared *prepared = found.statement->prepared;
    if (effect_is(found.facts) && !effect_note(client, found.route.facts, prepared->text, prepared->size))
        return client_out_of_memory(client);
    if (asked || server->expect.count) {
        wire_empty(batch_make(&client->worker->to_server), WIRE_SYNC);
        if (!expect_add(&server->expect, EXPECT_SYNC_OURS, 0, NULL))
            return client_out_of_memory(client);
    }
    if (!tally_begin(client, prepared->text, prepared->size, &found.route))
        return client_out_of_memory(client);
    struct buffer *out = batch_make(&client->worker->to_server);
    size_t begun = wire_begin(out, WIRE_QUERY);
    int32_t longer = write_execute(prepared, text, size, out);
    wire_end(out, begun);
    server->unnamed = 0;
    client->awaits_ready = true;
    if (!expect_add(&server->expect, EXPECT_QUERY, 0, NULL))
        return client_out_of_memory(client);
    expect_shift(&server->expect, longer);
    return TAKEN;
}

/* ---- all ---- */

enum taken prepare_sql_failed(struct client *client)
{
    client->skips = false;
    return send_sync(client);
}

enum taken prepare_sql_run(struct client *client, const struct facts *facts, const char *text, size_t size)
{
    if (facts->class == STATEMENT_PREPARE)
        return prepare(client, facts, text, size);
    if (facts->class == STATEMENT_DEALLOCATE)
        return deallocate(client, facts);
    return extended_fail(client, "26000", "prepared statement \"%s\" does not exist", facts->name ? facts->name : "");
}

enum taken prepare_sql(struct client *client, const struct route *route, const char *text, size_t size, bool asked)
{
    const struct facts *facts = &route->facts->facts[0];
    if (facts->class == STATEMENT_EXECUTE && prepare_sql_find(client, facts))
        return execute(client, route, text, size, asked);
    client->in_segment = true; /* as far as errors go */
    enum taken taken = prepare_sql_run(client, facts, text, size);
    client->in_segment = false;
    if (taken != TAKEN)
        return taken;
    if (client->server && client->server->expect.count)
        return prepare_sql_failed(client);
    client->skips = false;
    if (client->server && client->is_fresh && server_is_clean(client->server))
        server_unlink(client->server);
    wire_ready(client_answer(client), client->status);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}
