/*
 * Parse, and what holds it back; how a server gets a statement; refusals behind it.
 */
#include "base/memory.h"
#include "proxy/changed.h"
#include "proxy/client_extended.h"
#include "proxy/client_local.h"
#include "proxy/own_schema.h"
#include "proxy/placement.h"
#include "proxy/route.h"
#include "proxy/server.h"
#include "sql/behind.h"

#include <string.h>

enum { HELD_KEPT = 2 }; /* of the Parses held, so many have their room for the next segment */

enum taken extended_refuse(struct client *client, const mosaic_error *error)
{
    mosaic_error kept = *error;
    if (client->held_count) {
        enum taken taken = extended_reach_any(client);
        if (taken != REACHED)
            return taken;
    }
    return client_refuse(client, &kept, true);
}

enum taken extended_refuse_any(struct client *client, const mosaic_error *error)
{
    return client->in_segment ? extended_refuse(client, error) : client_refuse(client, error, true);
}

enum taken extended_fail(struct client *client, const char *sqlstate, const char *format, const char *name)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_DATA, format, name);
    error_sqlstate(&error, sqlstate);
    return extended_refuse(client, &error);
}

enum taken client_malformed(struct client *client)
{
    return extended_fail(client, "08P01", "invalid message format%s", "");
}

enum taken extended_answer_empty(struct client *client, char type)
{
    wire_empty(client_answer(client), type);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

/* ---- Parse ---- */

void client_held_answered(struct client *client, struct buffer *answer)
{
    for (uint32_t i = 0; i < client->held_count; i++) {
        wire_empty(answer, WIRE_B_PARSE_COMPLETE);
        if (!client->held[i].statement)
            client_unnamed_answered(client, client->held[i].prepared);
    }
    client_held_clear(client);
}

void client_held_clear(struct client *client)
{
    for (uint32_t i = 0; i < client->held_count; i++)
        prepared_release(client->held[i].prepared);
    client->held_count = 0;
    if (client->held_capacity <= HELD_KEPT && client->state != CLIENT_CLOSED)
        return;
    memory_free(client->held);
    client->held = NULL;
    client->held_capacity = 0;
}

static bool hold(struct client *client, struct prepared *prepared, struct client_statement *statement)
{
    if (client->held_count == client->held_capacity) {
        uint32_t capacity = client->held_capacity ? client->held_capacity * 2 : HELD_KEPT;
        struct held_parse *held = memory_resize(client->held, capacity * sizeof *held);
        if (!held)
            return false;
        client->held = held;
        client->held_capacity = capacity;
    }
    client->held[client->held_count++] = (struct held_parse){prepared_hold(prepared), statement};
    return true;
}

static void put_unnamed(struct client *client, struct prepared *prepared)
{
    client->unnamed = prepared;
    client->unnamed_number = ++client->worker->prepared_table.last_unnamed;
    client->unnamed_shape = 0;
}

void client_unnamed_set(struct client *client, struct prepared *prepared)
{
    if (client->unnamed_is_unsure)
        prepared_release(client->unnamed);
    else
        client->unnamed_sure = client->unnamed;
    client->unnamed_is_unsure = true;
    put_unnamed(client, prepared);
}

void client_unnamed_answered(struct client *client, struct prepared *prepared)
{
    if (!client->unnamed_is_unsure)
        return;
    prepared_release(client->unnamed_sure);
    client->unnamed_sure = prepared ? prepared_hold(prepared) : NULL;
}

void client_unnamed_settle(struct client *client, bool failed)
{
    if (!client->unnamed_is_unsure)
        return;
    client->unnamed_is_unsure = false;
    prepared_release(failed ? client->unnamed : client->unnamed_sure);
    if (failed)
        put_unnamed(client, client->unnamed_sure);
    client->unnamed_sure = NULL;
}

/* A name that is taken: what is wrong with the text comes first. */
static enum taken parse_again(struct client *client, const struct wire_parse *parse)
{
    mosaic_error error;
    enum taken taken = extended_reach_any(client);
    if (taken != REACHED)
        return taken;
    struct prepared *prepared = prepared_intern(&client->worker->prepared_table, parse->sql, strlen(parse->sql),
                                                parse->types, parse->type_count, client_sense(client));
    if (!prepared || !extended_send_unnamed(client, prepared, EXPECT_PARSE_OURS))
        return client_out_of_memory(client);
    prepared_release(prepared);
    (void)!error_set(&error, MOSAIC_USAGE, "prepared statement \"%s\" already exists", parse->name);
    error_sqlstate(&error, "42P05");
    return client_refuse(client, &error, true);
}

/* In a transaction that failed here, and that no server has: may this be parsed at all? What cannot be read is told by
 * a server that tries it. */
static bool is_aborted(struct client *client, struct prepared *prepared)
{
    struct route route;
    if (!client->transaction.has_failed || (client->server && !client->is_fresh))
        return false;
    if (!route_facts(client, prepared, &route) || !route.facts || route.facts->count != 1)
        return false;
    switch (route.facts->facts[0].class) {
    case STATEMENT_EMPTY:
    case STATEMENT_UNREADABLE:
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
    case STATEMENT_ROLLBACK_TO:
    case STATEMENT_TWO_PHASE:
        return false;
    default:
        return true;
    }
}

enum taken client_know_schema(struct client *client, struct prepared *prepared)
{
    struct route route;
    if (__builtin_expect(!changed_may_differ(client), 1) && !client->asks)
        return REACHED;
    enum taken taken = local_route(client, prepared, &route);
    if (taken != REACHED)
        return taken;
    if (!route.facts || !changed_wants_schema(client, route.facts, prepared->text, prepared->size))
        return REACHED;
    client->asks_for = ASK_SCHEMA;
    return own_schema_begin(client) ? local_ask_path(client) : client_out_of_memory(client);
}

static enum taken wait_for_shape(struct client *client)
{
    wire_empty(batch_make(&client->worker->to_server), WIRE_FLUSH);
    client->asks_shape = true;
    return TAKEN_LATER;
}

/* What comes behind these may be read in another way, or mean something else, than it does now. */
enum ahead { AHEAD_READING, AHEAD_NAMES };

static bool set_changes(const struct facts *facts, enum ahead what)
{
    return what == AHEAD_NAMES ? behind_means_else(facts)
                               : facts->class == STATEMENT_SET || facts->class == STATEMENT_DISCARD;
}

/* The transaction's end, or a way back in it. */
static bool end_changes(const struct client *client, enum ahead what)
{
    const struct transaction *transaction = &client->transaction;
    const struct settings_state *before = transaction->before;
    if (what == AHEAD_READING)
        return before && before->sense.reading != client->session->sense.reading;
    return (before && before != client->session) || client->path_is_local || transaction->changes_schema ||
           client->schema_dirty;
}

/* Is a statement on its way that changes this? */
static bool settings_are_ahead(struct client *client, enum ahead what)
{
    const struct expect *expect = client->server ? &client->server->expect : NULL;
    struct route route;
    for (uint32_t i = 0; expect && i < expect->count; i++) {
        const struct expect_entry *entry = expect_at(expect, i);
        if (entry->kind != EXPECT_EXECUTE || !entry->subject)
            continue;
        if (!route_facts(client, entry->subject, &route) || !route.facts || route.facts->count != 1)
            return true;
        switch (route.facts->facts[0].class) {
        case STATEMENT_COMMIT:
        case STATEMENT_ROLLBACK:
        case STATEMENT_ROLLBACK_TO:
            if (end_changes(client, what))
                return true;
            break;
        default:
            if (set_changes(&route.facts->facts[0], what))
                return true;
            break;
        }
    }
    return false;
}

/* Has an Execute that is on its way to say first what names mean? */
static bool names_are_ahead(struct client *client)
{
    if (__builtin_expect(!client->names_ahead, 1))
        return false;
    client->names_ahead = settings_are_ahead(client, AHEAD_NAMES);
    return client->names_ahead;
}

enum taken extended_parse(struct client *client, const char *message, const struct wire_frame *frame)
{
    struct wire_parse parse;
    struct client_statement *statement = NULL;
    if (!wire_read_parse(message, frame, &parse))
        return client_malformed(client);
    if (*parse.name && client_statements_find(&client->statements, parse.name))
        return parse_again(client, &parse);
    if (names_are_ahead(client))
        return wait_for_shape(client);
    struct prepared *prepared = prepared_intern(&client->worker->prepared_table, parse.sql, strlen(parse.sql),
                                                parse.types, parse.type_count, client_sense(client));
    if (!prepared)
        return client_out_of_memory(client);
    if (__builtin_expect(prepared->has_dates, 0) && settings_are_ahead(client, AHEAD_READING)) {
        prepared_release(prepared);
        return wait_for_shape(client);
    }
    if (__builtin_expect(prepared->may_place, 0)) {
        struct route route; /* what the text is must be known before a server is given it */
        enum taken taken = local_route(client, prepared, &route);
        if (taken != REACHED) {
            prepared_release(prepared);
            return taken;
        }
    }
    if (__builtin_expect(client->transaction.has_failed, 0) && is_aborted(client, prepared)) {
        prepared_release(prepared);
        return extended_fail(client, "25P02",
                             "current transaction is aborted, commands ignored until end of transaction block%s", "");
    }
    if (*parse.name) {
        statement = client_statements_add(&client->statements, parse.name, prepared);
    } else {
        client_unnamed_set(client, prepared_hold(prepared));
    }
    bool held = (statement || !*parse.name) && hold(client, prepared, statement);
    prepared_release(prepared);
    return held ? TAKEN : client_out_of_memory(client);
}

static bool make_room(struct client *client)
{
    struct server *server = client->server;
    size_t most = (size_t)client->worker->settings->max_prepared_statements;
    bool closes = server_statements_make_room(&server->statements, most, batch_make(&client->worker->to_server));
    return !closes || expect_add(&server->expect, EXPECT_CLOSE_OURS, 0, NULL);
}

static void write_parse(struct client *client, const char *name, const struct prepared *prepared)
{
    const struct world *world = client->worker->world;
    size_t shard = client->server->pool->shard;
    const uint32_t *types = prepared->types;
    uint16_t count = prepared->type_count;
    if (count && shard != world->home) {
        uint32_t *there = arena_allocate(&client->worker->scratch, count * sizeof *there);
        for (uint16_t i = 0; there && i < count; i++)
            there[i] = schema_oid_on(own_schema_of(client, client->worker), shard, prepared->types[i]);
        types = there;
        count = there ? count : 0; /* the shard finds them itself */
    }
    wire_parse(batch_make(&client->worker->to_server), name, prepared->text, prepared->size, types, count);
}

/* The server gets a statement under the proxy's name for it. */
bool client_send_statement(struct client *client, struct prepared *prepared, enum expect_kind kind, uint32_t detail,
                           void *subject)
{
    struct server *server = client->server;
    COUNT(&client->worker->counters, prepared_parses, 1);
    if (!make_room(client) || !server_statements_add(&server->statements, prepared))
        return false;
    write_parse(client, prepared_name(prepared), prepared);
    if (!expect_add(&server->expect, kind, detail, subject))
        return false;
    wire_describe(batch_make(&client->worker->to_server), 'S', prepared_name(prepared));
    return expect_add(&server->expect, EXPECT_SHAPE_HERE, 0, prepared_hold(prepared));
}

/*
 * A text that others have parsed before is parsed anew, as PostgreSQL would: the schema may have changed since. If its
 * result is another one now, the client's statement becomes another one as well.
 */
static bool check(struct client *client, struct client_statement *statement, enum expect_kind kind)
{
    struct server *server = client->server;
    statement->in_flight++;
    server->unnamed = 0;
    write_parse(client, "", statement->prepared);
    if (!expect_add(&server->expect, kind, 2, statement))
        return false;
    if (client->status == 'E')
        return true; /* whether this may be parsed at all is the server's to say */
    statement->in_flight++;
    statement->is_checked = true;
    wire_describe(batch_make(&client->worker->to_server), 'S', "");
    return expect_add(&server->expect, EXPECT_SHAPE_PARSED, 0, statement);
}

bool client_parse_statement(struct client *client, struct client_statement *statement, enum expect_kind kind)
{
    struct prepared *prepared = statement->prepared;
    if (prepared->shape || server_statements_use(&client->server->statements, prepared)) {
        COUNT(&client->worker->counters, prepared_hits, 1);
        return check(client, statement, kind);
    }
    statement->in_flight++;
    return client_send_statement(client, prepared, kind, 1, statement);
}

bool extended_send_unnamed(struct client *client, struct prepared *prepared, enum expect_kind kind)
{
    struct server *server = client->server;
    server->unnamed = client->unnamed_number;
    server->unnamed_shape = 0;
    write_parse(client, "", prepared);
    return expect_add(&server->expect, kind, 0, kind == EXPECT_PARSE ? prepared_hold(prepared) : NULL);
}

bool extended_send_pruned(struct client *client, const struct prepared *prepared, const char *text)
{
    struct prepared pruned = *prepared;
    pruned.text = text;
    pruned.size = (uint32_t)strlen(text);
    client->server->unnamed = 0; /* it is not the client's */
    write_parse(client, "", &pruned);
    return expect_add(&client->server->expect, EXPECT_PARSE_OURS, 0, NULL);
}

static bool send_held_one(struct client *client, const struct held_parse *held)
{
    if (__builtin_expect(held->prepared->may_place, 0) && client_placement_names(client, held->prepared)) {
        wire_empty(client_answer(client), WIRE_B_PARSE_COMPLETE);
        if (!held->statement)
            client_unnamed_answered(client, held->prepared);
        return client_answered(client);
    }
    if (!held->statement)
        return extended_send_unnamed(client, held->prepared, EXPECT_PARSE);
    return client_parse_statement(client, held->statement, EXPECT_PARSE);
}

enum taken client_send_held(struct client *client)
{
    for (uint32_t i = 0; i < client->held_count; i++) {
        if (!send_held_one(client, &client->held[i]))
            return client_out_of_memory(client);
        prepared_release(client->held[i].prepared);
        client->held[i].prepared = NULL;
    }
    client->held_count = 0;
    return TAKEN;
}

/* Does it name what the home shard alone has? That one can describe it, whatever else it names. */
static bool is_of_home(struct client *client, struct prepared *prepared)
{
    struct route route;
    if (!prepared || !route_facts(client, prepared, &route) || !route.facts)
        return false;
    for (size_t i = 0; i < route.facts->count; i++)
        if (route.facts->facts[i].needs_home)
            return true;
    return false;
}

static bool names_home(struct client *client, struct prepared *prepared)
{
    bool names = is_of_home(client, prepared);
    for (uint32_t i = 0; !names && i < client->held_count; i++)
        names = is_of_home(client, client->held[i].prepared);
    return names;
}

enum taken extended_reach_for(struct client *client, struct prepared *prepared)
{
    size_t home = client->worker->world->home, shard = route_any(client);
    if (shard != home && client->status != 'E' && names_home(client, prepared))
        shard = home;
    enum taken taken = client_reach_aside(client, shard);
    if (taken == REACHED && client_send_held(client) != TAKEN)
        return TAKEN_CLOSED;
    return taken;
}

enum taken extended_reach_any(struct client *client)
{
    return extended_reach_for(client, NULL);
}

enum taken extended_send_before(struct client *client)
{
    return client->held_count ? extended_reach_any(client) : REACHED;
}

bool extended_is_alone(const struct client *client, const struct prepared *prepared)
{
    return client->held_count == 1 && client->held[0].prepared == prepared && (!client->server || client->is_fresh);
}

static enum taken refuse_shape(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "cached plan must not change result type");
    return client_refuse(client, &error, true);
}

static enum taken ensure_unnamed(struct client *client, struct prepared *prepared)
{
    struct server *server = client->server;
    if (server->unnamed == client->unnamed_number) {
        if (!client->unnamed_shape || !server->unnamed_shape || server->unnamed_shape == client->unnamed_shape)
            return REACHED;
        server->unnamed = 0;
        return refuse_shape(client);
    }
    if (!extended_send_unnamed(client, prepared, EXPECT_PARSE_OURS))
        return client_out_of_memory(client);
    if (!client->unnamed_shape)
        return REACHED; /* its client was told nothing that could be different here */
    wire_describe(batch_make(&client->worker->to_server), 'S', "");
    if (!expect_add(&server->expect, EXPECT_SHAPE_UNNAMED, 0, NULL))
        return client_out_of_memory(client);
    return wait_for_shape(client);
}

static enum taken ensure_named(struct client *client, struct prepared *prepared)
{
    struct server *server = client->server;
    const uint64_t *shape = server_statements_shape(&server->statements, prepared);
    if (shape && (*shape == prepared->shape || !prepared->shape))
        return REACHED;
    if (shape && !*shape)
        return wait_for_shape(client);
    if (shape) {
        wire_close(batch_make(&client->worker->to_server), 'S', prepared_name(prepared));
        server_statements_remove(&server->statements, prepared);
        if (!expect_add(&server->expect, EXPECT_CLOSE_OURS, 0, NULL))
            return client_out_of_memory(client);
        return refuse_shape(client);
    }
    if (!client_send_statement(client, prepared, EXPECT_PARSE_OURS, 0, prepared_hold(prepared)))
        return client_out_of_memory(client);
    return prepared->shape ? wait_for_shape(client) : REACHED;
}

enum taken extended_ensure(struct client *client, struct prepared *prepared, const struct client_statement *named)
{
    if (!named)
        return ensure_unnamed(client, prepared);
    return named->is_checked ? wait_for_shape(client) : ensure_named(client, prepared);
}

enum taken extended_check_reading(struct client *client, const char *name, const struct prepared *prepared)
{
    mosaic_error error;
    if (__builtin_expect(!prepared->has_dates, 1))
        return REACHED;
    if (settings_are_ahead(client, AHEAD_READING))
        return wait_for_shape(client);
    if (prepared->sense.reading == client->session->sense.reading)
        return REACHED;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED,
                     "prepared statement \"%s\" was parsed under other settings of DateStyle, TimeZone or the like",
                     name);
    error_detail(&error,
                 "Its literals have the meaning of then; a server that has not parsed it yet would read them by "
                 "the settings of now.");
    error_hint(&error, "Prepare it again behind SET, or give dates, times and the like as parameters.");
    return extended_refuse(client, &error);
}

/*
 * What was prepared before the transaction changed the schema nobody shares from then on: what servers say of it behind
 * that is true of this transaction alone. The types of its parameters, and of its result, are those it was told.
 */
static struct prepared *keep_apart(struct client *client, struct client_statement *statement, struct prepared *found)
{
    struct settings_sense sense = found->sense;
    bool is_described = found->described != NULL;
    uint16_t count = is_described ? found->described_count : found->type_count;
    struct buffer types = BUFFER_INIT(4 * (size_t)UINT16_MAX);
    sense.schema = client->transaction.meaning;
    for (uint16_t i = 0; i < count; i++)
        wire_32(&types, is_described ? found->described[i] : found->types[i]);
    struct prepared *own = buffer_failed(&types) ? NULL
                                                 : prepared_intern(&client->worker->prepared_table, found->text,
                                                                   found->size, buffer_string(&types), count, sense);
    buffer_free(&types);
    if (!own)
        return NULL;
    if (!own->shape)
        own->shape = found->shape;
    if (statement)
        statement->prepared = own;
    else
        client->unnamed = own;
    prepared_release(found);
    return own;
}

struct prepared *extended_find(struct client *client, const char *name, const struct client_statement **named,
                               enum taken *taken)
{
    *named = *name ? client_statements_find(&client->statements, name) : NULL;
    struct prepared *found = *named ? (*named)->prepared : *name ? NULL : client->unnamed;
    uint64_t schema = client->transaction.meaning;
    if (__builtin_expect(schema && found && found->sense.schema != schema, 0) && !(*named && (*named)->in_flight) &&
        !(found = keep_apart(client, (struct client_statement *)*named, found))) {
        *taken = client_out_of_memory(client);
        return NULL;
    }
    enum taken checked = !found                    ? REACHED
                         : names_are_ahead(client) ? wait_for_shape(client)
                                                   : extended_check_reading(client, name, found);
    if (!found)
        *taken = *name ? extended_fail(client, "26000", "prepared statement \"%s\" does not exist", name)
                       : extended_fail(client, "26000", "unnamed prepared statement does not exist%s", "");
    if (checked == REACHED)
        return found;
    *taken = checked;
    return NULL;
}

void extended_drop_held(struct client *client)
{
    for (uint32_t i = 0; i < client->held_count; i++) {
        struct held_parse *held = &client->held[i];
        if (held->statement)
            client_statements_remove(&client->statements, held->statement->name);
    }
    client_held_clear(client);
}

void client_segment_failed(struct client *client)
{
    client->skips = true;
    extended_drop_held(client);
    client_unnamed_settle(client, true);
}
