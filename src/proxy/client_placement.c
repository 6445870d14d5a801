/* SELECT mosaic.shard_table(…) and its like, as clients say it. */
#include "core/model.h"
#include "proxy/admin_table.h"
#include "proxy/client_extended.h"
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
    return facts->placement && !facts->refusal;
}

static enum taken refuse(struct client *client, const mosaic_error *error)
{
    return client->in_segment ? extended_refuse(client, error) : client_refuse(client, error, true);
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
    *order = (struct placement_order){placement->kind,
                                      NULL,
                                      texts[PLACEMENT_KEY],
                                      texts[PLACEMENT_COLOCATE_WITH],
                                      texts[PLACEMENT_FUNCTION],
                                      texts[PLACEMENT_BUCKETS],
                                      false};
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
    if (client->status != 'I' || client->transaction.is_open) {
        (void)!error_set(error, MOSAIC_USAGE, "mosaic.%s cannot run inside a transaction block", function);
        error_sqlstate(error, "25001");
        return false;
    }
    return true;
}

static enum taken begin(struct client *client, const struct fact_placement *placement, const struct plan_value *values,
                        size_t value_count)
{
    struct placement_order order;
    char message[400];
    mosaic_error error;
    const char *function = function_of(placement->kind);
    if (!check(client, function, &error) ||
        !read_order(client, placement, values, value_count, &order, &error))
        return refuse(client, &error);
    /* No connection of its own waits meanwhile: the shards' sessions are ended. */
    enum taken taken = client_leave_server(client);
    if (taken != REACHED)
        return taken;
    if (!client_flush(client))
        return TAKEN_CLOSED;
    if (placement_begin(client, &order, &error) != MOSAIC_OK)
        return refuse(client, &error);
    snprintf(message, sizeof message, "mosaic.%s(%s)", function, order.table);
    log_event(client->worker->proxy->log, EVENT_ADMIN, (int)client->worker->number,
              &(struct log_entry){.message = message, .client = client->number, .user = client->user->account->name});
    return TAKEN_LATER;
}

/* ---- what is answered ---- */

enum taken client_placement_run(struct client *client, const struct fact_placement *placement,
                                const struct plan_value *values, size_t value_count)
{
    struct placement_outcome outcome;
    mosaic_error error;
    if (!client->placement)
        return begin(client, placement, values, value_count);
    if (placement_is_busy(client))
        return TAKEN_LATER;
    if (placement_end(client, &outcome, &error) != MOSAIC_OK)
        return refuse(client, &error);
    struct buffer *answer = client_answer(client);
    struct admin_table table = admin_table_start(answer, columns, 2, NULL, 0);
    admin_table_describe(&table);
    admin_row(&table);
    admin_text(&table, outcome.table);
    admin_number(&table, (int64_t)outcome.rows);
    admin_row_end(&table);
    wire_complete(answer, "SELECT 1");
    wire_ready(answer, client->status);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}
