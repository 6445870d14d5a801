/* SELECT mosaic.shard_table(…) and its like, as clients say it. */
#include "base/memory.h"
#include "core/model.h"
#include "proxy/admin_table.h"
#include "proxy/client_extended.h"
#include "proxy/client_portal.h"
#include "proxy/console.h"
#include "proxy/log.h"
#include "proxy/placement.h"
#include "proxy/proxy.h"
#include "proxy/route.h"

#include <stdio.h>
#include <string.h>

static const struct admin_column columns[] = {{"table", false}, {"rows", true}};

static const char *function_of(enum placement_kind kind)
{
    return kind == PLACEMENT_SHARDED ? "shard_table" : kind == PLACEMENT_REFERENCE ? "reference_table" : "home_table";
}

bool client_placement_is(const struct facts *facts)
{
    return facts->placement && !facts->refusal && facts->class == STATEMENT_SELECT;
}

static enum taken refuse(struct client *client, const mosaic_error *error)
{
    return extended_refuse_any(client, error);
}

/* ---- what is asked ---- */

/* A parameter's text; binary where it is that of a text, or a whole number. False: it is neither. */
static bool read_value(struct client *client, const struct plan_value *value, const char **text)
{
    int64_t number = 0;
    *text = NULL;
    if (value->size < 0)
        return true;
    bool is_number = value->format == 1 && (value->type == 21 || value->type == 23 || value->type == 20);
    if (!is_number) {
        *text = memchr(value->data, '\0', (size_t)value->size)
                    ? NULL
                    : arena_copy(&client->worker->scratch, value->data, (size_t)value->size);
        return *text != NULL;
    }
    for (int32_t i = 0; i < value->size; i++)
        number = (int64_t)((uint64_t)number << 8 | (unsigned char)value->data[i]);
    *text = arena_format(&client->worker->scratch, "%lld", (long long)number);
    return *text != NULL;
}

/* An unqualified name is what the session's search_path makes of it; else as in the config, of schema public. */
static const char *find_table(struct client *client, const char *typed, bool *is_known)
{
    struct arena *arena = &client->worker->scratch;
    const struct schema *read = client->worker->world->schema;
    const char *schema, *name, *const *names;
    mosaic_error ignored;
    const char *within = arena_format(arena, "public.%s", typed);
    *is_known = false;
    if (!within)
        return typed;
    bool is_bare = model_table_name(arena, within, &schema, &name, &ignored) == MOSAIC_OK;
    size_t count = is_bare ? route_path_names(route_path(client), &names) : 0;
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], "pg_catalog") != 0 && schema_relation(read, names[i], name)) {
            const char *display = model_display_name(arena, names[i], name);
            *is_known = true;
            return display ? display : typed;
        }
    if (model_table_name(arena, typed, &schema, &name, &ignored) == MOSAIC_OK)
        *is_known = read && schema_relation(read, schema, name);
    return typed;
}

/* NULL: the client is told what is wrong. */
static bool read_order(struct client *client, const struct fact_placement *placement, const struct plan_value *values,
                       size_t value_count, struct placement_order *order, mosaic_error *error)
{
    const char *texts[PLACEMENT_ARGUMENT_COUNT] = {NULL};
    for (size_t i = 0; i < PLACEMENT_ARGUMENT_COUNT; i++) {
        const struct placement_argument *argument = &placement->arguments[i];
        texts[i] = argument->text;
        if (!argument->parameter)
            continue;
        if (argument->parameter <= value_count && read_value(client, &values[argument->parameter - 1], &texts[i]))
            continue;
        (void)!error_set(error, MOSAIC_DATA, "parameter $%u is no text", argument->parameter);
        error_sqlstate(error, "22023");
        return false;
    }
    if (!texts[PLACEMENT_TABLE]) {
        (void)!error_set(error, MOSAIC_DATA, "the table's name is NULL");
        error_sqlstate(error, "22004");
        return false;
    }
    *order = (struct placement_order){
        placement->kind,          NULL, texts[PLACEMENT_KEY], texts[PLACEMENT_COLOCATE_WITH], texts[PLACEMENT_FUNCTION],
        texts[PLACEMENT_BUCKETS], false};
    order->table = find_table(client, texts[PLACEMENT_TABLE], &order->is_known);
    if (order->colocate_with) {
        bool known;
        order->colocate_with = find_table(client, order->colocate_with, &known);
    }
    return true;
}

/* May it be done here and now? */
static bool check(const struct client *client, const char *function, mosaic_error *error)
{
    if (!console_may_change(client->worker, client->user->account->name)) {
        (void)!error_set(error, MOSAIC_AUTH, "permission denied for function mosaic.%s", function);
        error_hint(error, "name the user in the proxy's admin_users");
        error_sqlstate(error, "42501");
        return false;
    }
    bool began = client->in_segment && client->server && !client->is_fresh && !client->is_harmless;
    if (client->status != 'I' || client->transaction.is_open || began) {
        (void)!error_set(error, MOSAIC_USAGE, "mosaic.%s cannot run inside a transaction block", function);
        error_sqlstate(error, "25001");
        return false;
    }
    return true;
}

static enum taken begin(struct client *client, const struct placement_order *order)
{
    char message[400];
    mosaic_error error;
    const char *function = function_of(order->kind);
    if (!check(client, function, &error))
        return refuse(client, &error);
    /* No connection of its own waits meanwhile: the shards' sessions are ended. */
    enum taken taken = client_leave_server(client);
    if (taken != REACHED)
        return taken;
    if (!client_flush(client))
        return TAKEN_CLOSED;
    if (placement_begin(client, order, &error) != MOSAIC_OK)
        return refuse(client, &error);
    snprintf(message, sizeof message, "mosaic.%s(%s)", function, order->table);
    log_event(client->worker->proxy->log, EVENT_ADMIN, (int)client->worker->number,
              &(struct log_entry){.message = message, .client = client->number, .user = client->user->account->name});
    return TAKEN_LATER;
}

/* ---- what is answered ---- */

static void add_row(const struct placement_outcome *outcome, struct admin_table *table)
{
    admin_row(table);
    admin_text(table, outcome->table);
    admin_number(table, (int64_t)outcome->rows);
    admin_row_end(table);
    wire_complete(table->out, "SELECT 1");
}

/* REACHED: it has ended well. */
static enum taken await(struct client *client, struct placement_outcome *outcome)
{
    mosaic_error error;
    if (placement_is_busy(client))
        return TAKEN_LATER;
    return placement_end(client, outcome, &error) == MOSAIC_OK ? REACHED : refuse(client, &error);
}

static enum taken answered(struct client *client)
{
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

enum taken client_placement_query(struct client *client, const struct facts *facts)
{
    struct placement_outcome outcome;
    if (!client->placement) {
        struct placement_order order;
        mosaic_error error;
        if (!read_order(client, facts->placement, NULL, 0, &order, &error))
            return client_refuse(client, &error, true);
        return begin(client, &order);
    }
    enum taken taken = await(client, &outcome);
    if (taken != REACHED)
        return taken;
    struct admin_table table = admin_table_start(client_answer(client), columns, 2, NULL, 0);
    admin_table_describe(&table);
    add_row(&outcome, &table);
    wire_ready(table.out, client->status);
    return answered(client);
}

/* ---- the extended protocol ---- */

struct placement_portal {
    struct arena arena; /* of the order's texts */
    struct placement_order order;
    char formats[4]; /* of the columns, as Bind asked */
    uint16_t format_count;
};

void placement_portal_free(struct placement_portal *portal)
{
    if (!portal)
        return;
    arena_free(&portal->arena);
    memory_free(portal);
}

bool client_placement_names(struct client *client, struct prepared *prepared)
{
    struct route route;
    return prepared->may_place && route_facts(client, prepared, &route) && route.facts && route.facts->count == 1 &&
           client_placement_is(&route.facts->facts[0]);
}

/* Parameters that Parse left open are texts. */
enum taken client_placement_describe(struct client *client, const struct prepared *prepared)
{
    enum { TEXT = 25 };
    struct route route;
    if (!route_facts(client, (struct prepared *)prepared, &route) || !route.facts)
        return client_out_of_memory(client);
    uint16_t count = (uint16_t)route.facts->facts[0].parameter_count;
    count = count > prepared->type_count ? count : prepared->type_count;
    struct buffer *answer = client_answer(client);
    size_t at = wire_begin(answer, WIRE_B_PARAMETER_DESCRIPTION);
    wire_16(answer, count);
    for (uint16_t i = 0; i < count; i++)
        wire_32(answer, i < prepared->type_count && prepared->types[i] ? prepared->types[i] : TEXT);
    wire_end(answer, at);
    struct admin_table table = admin_table_start(answer, columns, 2, NULL, 0);
    admin_table_describe(&table);
    return answered(client);
}

static struct placement_portal *make_portal(const struct placement_order *order, const struct wire_bind *bind)
{
    struct placement_portal *portal = memory_zeroed(1, sizeof *portal);
    if (!portal)
        return NULL;
    portal->arena = ARENA_INIT;
    portal->format_count = bind->result_count;
    memcpy(portal->formats, bind->results, 2u * bind->result_count);
    if (placement_copy(&portal->arena, order, &portal->order))
        return portal;
    placement_portal_free(portal);
    return NULL;
}

enum taken client_placement_bind(struct client *client, const struct wire_bind *bind, struct prepared *prepared,
                                 const struct fact_placement *placement, const struct plan_value *values, size_t count)
{
    struct placement_order order;
    mosaic_error error;
    if (bind->result_count > 2) {
        (void)!error_set(&error, MOSAIC_DATA, "bind message has %u result formats but query has 2 columns",
                         bind->result_count);
        error_sqlstate(&error, "08P01");
        return extended_refuse(client, &error);
    }
    if (!read_order(client, placement, values, count, &order, &error))
        return extended_refuse(client, &error);
    struct bound bound = {.placement = make_portal(&order, bind)};
    if (!bound.placement)
        return client_out_of_memory(client);
    enum taken taken = extended_send_before(client);
    if (taken == REACHED)
        return portal_bind_here(client, bind, prepared, &bound);
    placement_portal_free(bound.placement);
    return taken;
}

static struct admin_table portal_table(struct client *client, const struct placement_portal *portal)
{
    return admin_table_start(client_answer(client), columns, 2, portal->formats, portal->format_count);
}

enum taken client_placement_columns(struct client *client, const struct placement_portal *portal)
{
    struct admin_table table = portal_table(client, portal);
    admin_table_describe(&table);
    return answered(client);
}

enum taken client_placement_execute(struct client *client, const struct placement_portal *portal)
{
    struct placement_outcome outcome;
    if (!client->placement)
        return begin(client, &portal->order);
    enum taken taken = await(client, &outcome);
    if (taken != REACHED)
        return taken;
    struct admin_table table = portal_table(client, portal);
    add_row(&outcome, &table);
    return answered(client);
}
