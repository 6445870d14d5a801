#include "proxy/prepare_sql.h"

#include "proxy/client_extended.h"
#include "proxy/effect.h"
#include "proxy/server.h"

#include <string.h>

enum { TEXT_MOST = 1 << 28 };

static enum taken fail(struct client *client, const char *sqlstate, const char *format, const char *name)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_USAGE, format, name);
    error_sqlstate(&error, sqlstate);
    return client_refuse(client, &error, true);
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
                           (uint16_t)facts->prepare_type_count, client->session->meaning);
}

static enum taken prepare(struct client *client, const struct facts *facts, const char *text, size_t size)
{
    if (!facts->name || facts->prepare_type_count > 65535)
        return fail(client, "0A000", "this PREPARE cannot be read%s", "");
    if (client_statements_find(&client->statements, facts->name))
        return fail(client, "42P05", "prepared statement \"%s\" already exists", facts->name);
    enum taken taken = client_reach(client, route_any(client));
    if (taken != REACHED)
        return taken;
    struct prepared *prepared = intern(client, facts, text, size);
    struct client_statement *statement =
        prepared ? client_statements_add(&client->statements, facts->name, prepared) : NULL;
    prepared_release(prepared);
    if (!statement)
        return client_out_of_memory(client);
    if (!client_parse_statement(client, statement, EXPECT_PARSE_SQL))
        return client_out_of_memory(client);
    wire_complete(client_answer(client), "PREPARE");
    return client_answered(client) ? send_sync(client) : client_out_of_memory(client);
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

/* The arguments as parameters. A literal that its parameter's type does not read as it stands is refused by the plan.
 */
static bool read_arguments(struct client *client, const struct route *route, struct plan_value **values)
{
    const struct facts *facts = &route->facts->facts[0];
    struct arena *scratch = &client->worker->scratch;
    *values = arena_zeroed(scratch, facts->argument_count + 1, sizeof **values);
    for (size_t i = 0; *values && i < facts->argument_count; i++) {
        const struct fact_value *argument = &facts->arguments[i];
        struct plan_value *value = &(*values)[i];
        *value = (struct plan_value){.size = -1};
        if (argument->source != VALUE_LITERAL || argument->number >= route->literal_count)
            continue;
        const struct plan_value *literal = &route->literals[argument->number];
        if (literal->size < 0)
            continue;
        const char *sign = argument->is_negative ? "-" : "";
        value->data = arena_format(scratch, "%s%.*s", sign, literal->size, literal->data);
        if (!value->data)
            return false;
        value->size = (int32_t)strlen(value->data);
    }
    return *values != NULL;
}

static void write_execute(struct client *client, const struct prepared *prepared, const char *text, size_t size)
{
    struct buffer *out = batch_make(&client->worker->to_server);
    char name[PREPARED_NAME];
    const char *end = text + size, *at = skip_blank(text, end);
    at = skip_blank(at + strlen("execute"), end);
    const char *rest = skip_name(at, end);
    prepared_name(prepared, name);
    size_t begun = wire_begin(out, WIRE_QUERY);
    buffer_add(out, text, (size_t)(at - text));
    buffer_text(out, name);
    buffer_add(out, rest, (size_t)(end - rest));
    buffer_char(out, '\0');
    wire_end(out, begun);
}

static enum taken execute(struct client *client, const struct route *own, const char *text, size_t size, bool asked)
{
    const struct facts *facts = &own->facts->facts[0];
    struct client_statement *statement = facts->name ? client_statements_find(&client->statements, facts->name) : NULL;
    struct plan_value *values;
    struct route route;
    if (!statement)
        return fail(client, "26000", "prepared statement \"%s\" does not exist", facts->name ? facts->name : "");
    size_t count = facts->argument_count;
    bool is_proved = facts->refusal == NULL;
    if (!read_arguments(client, own, &values))
        return client_out_of_memory(client);
    struct prepared *prepared = statement->prepared;
    for (size_t i = 0; i < count && i < prepared->type_count; i++)
        values[i].type = prepared->types[i];
    struct route_parameters parameters = {prepared, values, count};
    if (!route_text(client, prepared->text, prepared->size, &parameters, &route))
        return client_out_of_memory(client);
    if (route.way == ROUTE_TYPES)
        return fail(client, "0A000",
                    "the types of the parameters of prepared statement \"%s\" are not known: "
                    "give them in PREPARE",
                    statement->name);
    if (route.way == ROUTE_REFUSED)
        return client_refuse(client, route.error, true);
    if (route.way == ROUTE_SHARD && route.bucket != PLAN_NO_BUCKET && !is_proved)
        return fail(client, "0A000", "the arguments of EXECUTE \"%s\" are not plain values, so its shard is not proved",
                    statement->name);
    enum taken taken = client_reach(client, route.shard);
    if (taken != REACHED)
        return taken;
    struct server *server = client->server;
    client->in_segment = true; /* as far as errors go */
    taken = extended_ensure(client, prepared, statement);
    client->in_segment = false;
    if (taken == TAKEN)
        return prepare_sql_failed(client);
    if (taken != REACHED)
        return taken;
    if (asked || server->expect.count) {
        wire_empty(batch_make(&client->worker->to_server), WIRE_SYNC);
        if (!expect_add(&server->expect, EXPECT_SYNC_OURS, 0, NULL))
            return client_out_of_memory(client);
    }
    write_execute(client, prepared, text, size);
    server->unnamed = 0;
    client->awaits_ready = true;
    return expect_add(&server->expect, EXPECT_QUERY, 0, NULL) ? TAKEN : client_out_of_memory(client);
}

enum taken prepare_sql_failed(struct client *client)
{
    client->skips = false;
    return send_sync(client);
}

enum taken prepare_sql(struct client *client, const struct route *route, const char *text, size_t size, bool asked)
{
    const struct facts *facts = &route->facts->facts[0];
    return facts->class == STATEMENT_PREPARE ? prepare(client, facts, text, size)
                                             : execute(client, route, text, size, asked);
}
