/*
 * The simple protocol: a text of one statement or several, answered up to ReadyForQuery. And function calls.
 */
#include "proxy/client.h"
#include "proxy/client_cursor.h"
#include "proxy/client_local.h"
#include "proxy/client_scatter.h"
#include "proxy/constraints.h"
#include "proxy/copy_binary.h"
#include "proxy/effect.h"
#include "proxy/explain_rows.h"
#include "proxy/placement.h"
#include "proxy/prepare_sql.h"
#include "proxy/proxy.h"
#include "proxy/reset.h"
#include "proxy/route.h"
#include "proxy/server.h"
#include "proxy/tally.h"
#include "sql/behind.h"

#include <string.h>

/* Held Parses come before the query, as they were sent. */
static enum taken send_held(struct client *client)
{
    if (!client->held_count)
        return TAKEN;
    enum taken taken = client_reach(client, route_any(client));
    return taken == REACHED ? client_send_held(client) : taken;
}

static enum taken send_query(struct client *client, const char *message, const struct wire_frame *frame,
                             enum expect_kind kind, uint32_t detail, const char *pruned)
{
    struct server *server = client->server;
    if (pruned)
        wire_query(batch_make(&client->worker->to_server), pruned);
    else
        batch_pass(&client->worker->to_server, message, frame->size);
    server->unnamed = 0;
    client->in_segment = false;
    client->awaits_ready = true;
    if (!expect_add(&server->expect, kind, detail, NULL))
        return client_out_of_memory(client);
    if (pruned)
        expect_shift(&server->expect, EXPECT_NO_PLACE);
    return TAKEN;
}

static enum taken answer_here(struct client *client, const struct facts *facts, const char *text, size_t size)
{
    enum taken taken = local_end_branches(client, facts);
    if (taken != REACHED)
        return taken;
    struct buffer *answer = client_answer(client);
    bool failed;
    if (!local_carry_out(client, facts, text, size, answer, &failed))
        return client_out_of_memory(client);
    if (client->status == 'I')
        client_portals_clear(client);
    wire_ready(answer, client->status);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

static enum taken explain_here(struct client *client, const struct explanation *explanation)
{
    struct buffer *answer = client_answer(client);
    explain_rows(explanation, answer);
    wire_ready(answer, client->status);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

static enum taken call_function(struct client *client, const char *message, const struct wire_frame *frame)
{
    const struct model *model = &client->worker->world->model;
    if (model->engine == ENGINE_POSTGRES && model->shard_count > 1) {
        mosaic_error error;
        (void)!error_set(&error, MOSAIC_UNSUPPORTED, "function calls by number are not supported on several shards");
        error_hint(&error, "call the function in a SELECT");
        return client_refuse(client, &error, true);
    }
    enum taken taken = client_reach(client, route_any(client));
    client->transaction.has_written = true;
    return taken == REACHED ? send_query(client, message, frame, EXPECT_FUNCTION, 0, NULL) : taken;
}

/* What must be known before it is sent: effects, and whether the connection stays this client's own. */
static bool prepare_effects(struct client *client, const struct route *route, const char *text, size_t size)
{
    bool any = false;
    for (size_t i = 0; route->facts && i < route->facts->count; i++) {
        const struct facts *facts = &route->facts->facts[i];
        any |= effect_is(facts);
        if (facts->changes_session)
            client_pin(client, facts);
    }
    return !any || effect_note(client, route->facts, text, size);
}

/* Where a failed transaction is ended, or goes back: what stands behind that must be looked at by itself. */
static bool ends_failure(const struct client *client, const struct facts *first)
{
    bool ends = first->class == STATEMENT_ROLLBACK || first->class == STATEMENT_COMMIT;
    bool goes_back = first->class == STATEMENT_ROLLBACK_TO;
    if (local_has_failed(client))
        return ends || goes_back;
    return goes_back && client->status == 'E' && route_is_analysed(client);
}

/* The transaction failed: what stands behind its end, or behind ROLLBACK TO, would be a text of its own. */
static enum taken refuse_end_with_more(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "the end of a failed transaction, with other statements in one text");
    error_hint(&error, "send ROLLBACK by itself; nothing of the text was done");
    return client_refuse(client, &error, true);
}

/*
 * Behind the end of a transaction that has changed what names mean, they mean what they did before it; behind a hint
 * that is set or taken back, a statement goes elsewhere.
 */
static bool means_else_behind(const struct client *client, const struct facts_list *list, const char *text)
{
    const struct transaction *transaction = &client->transaction;
    bool local = client->path_is_local, behind = false;
    bool undone = local || transaction->changes_schema || client->schema_dirty ||
                  (transaction->before && transaction->before != client->session);
    for (size_t i = 0; i < list->count; i++) {
        const struct facts *facts = &list->facts[i];
        bool goes_back = facts->class == STATEMENT_ROLLBACK || facts->class == STATEMENT_ROLLBACK_TO;
        if (behind && behind_names_others(client->worker->world->schema, text + facts->start, (size_t)facts->length))
            return true;
        behind |= (undone && goes_back) || (local && facts->class == STATEMENT_COMMIT) || behind_is_hint(facts);
    }
    return false;
}

static enum taken refuse_names_else(struct client *client)
{
    mosaic_error error;
    (void)!error_set(
        &error, MOSAIC_UNSUPPORTED,
        "tables are named in one text behind what changes where they are: a hint, or the end of a transaction");
    error_hint(&error, "send SET, COMMIT or ROLLBACK by itself; nothing of the text was done");
    return client_refuse(client, &error, true);
}

/* Is one of several statements mosaic.shard_table, or its like? */
static bool places(const struct facts_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->facts[i].placement)
            return true;
    return false;
}

static enum taken refuse_placement_with_more(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "mosaic.shard_table and its like, with other statements in one text");
    error_hint(&error, "send it by itself; nothing of the text was done");
    return client_refuse(client, &error, true);
}

/* Is one of several statements PREPARE, EXECUTE or DEALLOCATE? Their names are the proxy's, of which no server knows.
 */
static bool prepares(const struct facts_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (prepare_sql_is(&list->facts[i]))
            return true;
    return false;
}

static enum taken refuse_prepare_with_more(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "PREPARE, EXECUTE or DEALLOCATE, with other statements in one text");
    error_hint(&error, "send each by itself; nothing of the text was done");
    return client_refuse(client, &error, true);
}

/* A segment that was not ended by Sync has written on several shards. */
static enum taken refuse_within(struct client *client)
{
    mosaic_error error;
    if (client->server)
        server_close(client->server, NULL);
    local_forget(client, false);
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "a query behind a write over several shards, without Sync in between");
    error_hint(&error, "send Sync; the write was rolled back");
    return client_refuse(client, &error, false);
}

enum taken client_query(struct client *client, const char *message, const struct wire_frame *frame)
{
    struct route route;
    const char *text = message + WIRE_HEADER;
    size_t size = frame->size - WIRE_HEADER - 1;
    bool asked = client->asks_shape;
    if (client->placement)
        return client_placement_query(client, NULL);
    if (client->scatter) {
        enum taken begun = client_scatter_queried(client);
        if (begun != REACHED)
            return begun;
    }
    client->asks_shape = false;
    if (asked && client->skips)
        return prepare_sql_failed(client);
    enum taken taken = send_held(client);
    if (taken != TAKEN || client->skips)
        return taken;
    client->in_segment = false;
    if (client->failure)
        return client_tell_failure(client);
    if (client->transaction.is_implicit && !client->scatter)
        return refuse_within(client);
    if (frame->type == WIRE_FUNCTION_CALL)
        return call_function(client, message, frame);
    if (frame->size == WIRE_HEADER || memchr(text, '\0', size + 1) != text + size)
        return client_malformed(client);
    client_unnamed_settle(client, false);
    prepared_release(client->unnamed);
    client->unnamed = NULL;
    if (client->asks && (taken = local_ask_path(client)) != REACHED)
        return taken;
    client->worker->text = text;
    client->worker->text_size = size;
    if (!route_text(client, text, size, NULL, &route))
        return client_out_of_memory(client);
    if (route.way == ROUTE_ASK)
        return local_ask_path(client);
    if (route.way == ROUTE_WAIT)
        return TAKEN_LATER;
    const struct facts *only = route.facts && route.facts->count == 1 ? &route.facts->facts[0] : NULL;
    if (only && client_placement_is(only) && client->status != 'E' && !local_has_failed(client))
        return client_placement_query(client, only);
    if (route.facts && route.facts->count > 1 && places(route.facts))
        return refuse_placement_with_more(client);
    if (route.facts && route.facts->count > 1 && client->status != 'E' && prepares(route.facts))
        return refuse_prepare_with_more(client);
    if (only && local_applies(client, only))
        return answer_here(client, only, text, size);
    if (route.facts && route.facts->count > 1 && ends_failure(client, &route.facts->facts[0]))
        return refuse_end_with_more(client);
    if (route.facts && route.facts->count > 1 && means_else_behind(client, route.facts, text))
        return refuse_names_else(client);
    if (route.facts && route.facts->count && local_has_failed(client))
        return answer_here(client, &route.facts->facts[0], text, size);
    if (client->status == 'E' && client->server)
        route = (struct route){.way = ROUTE_ANY, .shard = client->server->pool->shard, .facts = route.facts};
    if (only && prepare_sql_is(only) && client->status != 'E')
        return prepare_sql(client, &route, text, size, asked);
    if (only && cursor_is(client, only) && client->status != 'E')
        return cursor_query(client, only);
    if (route.way == ROUTE_REFUSED)
        return client_refuse(client, route.error, true);
    if (route.way == ROUTE_EXPLAIN)
        return explain_here(client, route.explanation);
    if (route.way == ROUTE_SCATTER)
        return client_scatter_query(client, text, size, &route);
    mosaic_error error;
    for (size_t i = 0; route.facts && i < route.facts->count; i++) {
        const struct facts *facts = &route.facts->facts[i];
        if (facts->class == STATEMENT_SET && !effect_set_is_allowed(client, facts, &error))
            return client_refuse(client, &error, true);
    }
    taken = constraints_check(client, route.facts);
    if (taken != REACHED)
        return taken;
    if (!reset_route(client, only, &route))
        return client_out_of_memory(client);
    bool tentative = only && local_is_tentative(client, only);
    client->is_tentative |= tentative;
    route.aside |= only && local_is_beside(client, only);
    taken = route_reach(client, &route);
    if (taken != REACHED)
        return taken;
    bool mapped;
    taken = copy_binary_prepare(client, route.facts, text, asked, &mapped);
    if (taken != REACHED)
        return taken;
    if (route.aside && !transaction_read(&client->transaction))
        return client_out_of_memory(client);
    if (tentative && !client_keep_tentative(client, only, text, size))
        return client_out_of_memory(client);
    if (!prepare_effects(client, &route, text, size))
        return client_out_of_memory(client);
    if (!tally_begin(client, text, size, &route))
        return client_out_of_memory(client);
    return send_query(client, message, frame, EXPECT_QUERY, mapped ? EXPECT_MAPPED : 0, route.pruned);
}
