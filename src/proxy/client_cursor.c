#include "proxy/client_cursor.h"

#include "proxy/client_extended.h"
#include "proxy/client_local.h"
#include "proxy/client_portal.h"
#include "proxy/client_scatter.h"
#include "proxy/lasting.h"
#include "proxy/proxy.h"
#include "proxy/route.h"
#include "proxy/scatter.h"

static struct scatter *scatter_of(struct client *client, const struct facts *facts)
{
    const struct bound *bound = facts->name && *facts->name ? portal_find(client, facts->name) : NULL;
    return bound ? bound->scatter : NULL;
}

bool cursor_is(struct client *client, const struct facts *facts)
{
    return facts->class == STATEMENT_CURSOR && client->portals && scatter_of(client, facts);
}

static enum taken refuse(struct client *client, const char *sqlstate, const char *format, const char *name)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_DATA, format, name);
    error_sqlstate(&error, sqlstate);
    return extended_refuse_any(client, &error);
}

enum taken cursor_check(struct client *client, const struct facts *facts)
{
    if (client->status == 'I')
        return refuse(client, "25P01", "%s can only be used in transaction blocks", "DECLARE CURSOR");
    if (portal_find(client, facts->name))
        return refuse(client, "42P03", "cursor \"%s\" already exists", facts->name);
    mosaic_error error;
    if (!lasting_allows(client, &(struct facts_list){facts, 1}, &error))
        return extended_refuse_any(client, &error);
    return REACHED;
}

/* ---- what is answered ---- */

static enum taken answer(struct client *client, const char *tag)
{
    struct buffer *out = client_answer(client);
    wire_complete(out, tag);
    if (!client->in_segment)
        wire_ready(out, client->status);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

/* Another way than forward, or MOVE: PostgreSQL could, where it is not asked of several shards. */
static enum taken refuse_way(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "a cursor over several shards is only fetched forward");
    error_hint(&error, "FETCH n, FETCH ALL and CLOSE are what it knows");
    return extended_refuse_any(client, &error);
}

/* Execute with a limit: PostgreSQL moves the cursor by all that FETCH names, and keeps for the portal what is over. */
static enum taken refuse_portions(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED,
                     "rows in portions (Execute with a limit) of FETCH from a cursor over several shards");
    error_hint(&error, "let FETCH name as many rows as are wanted at a time");
    return extended_refuse_any(client, &error);
}

static enum taken fetch(struct client *client, const struct facts *facts, struct scatter *scatter)
{
    const struct buffer *description = scatter_description(scatter);
    if (!facts->fetches)
        return refuse_way(client);
    if (scatter_state(scatter) == SCATTER_FAILED)
        return client_scatter_failed(client, scatter);
    if (!client->in_segment) {
        buffer_add(batch_make(&client->worker->to_client), description->data, description->size);
        client->awaits_ready = true;
    }
    client->fetching = scatter;
    scatter_fetch_sql(scatter, facts->fetches == INT64_MAX ? 0 : (uint64_t)facts->fetches);
    return client->state == CLIENT_CLOSED ? TAKEN_CLOSED : TAKEN;
}

static enum taken carry_out(struct client *client, const struct facts *facts, struct scatter *scatter)
{
    if (!facts->closes)
        return fetch(client, facts, scatter);
    portal_remove(client, facts->name);
    return answer(client, "CLOSE CURSOR");
}

/* ---- simple queries ---- */

enum taken cursor_declared(struct client *client, struct scatter *scatter)
{
    struct bound bound = {.is_local = true, .scatter = scatter};
    client->scatter = NULL;
    if (!portal_add(client, scatter_cursor(scatter), &bound))
        return client_out_of_memory(client);
    scatter_declared(scatter);
    return answer(client, "DECLARE CURSOR");
}

enum taken cursor_query(struct client *client, const struct facts *facts)
{
    return carry_out(client, facts, scatter_of(client, facts));
}

/* ---- the extended protocol ---- */

enum taken cursor_bind(struct client *client, const struct wire_bind *bind, struct prepared *prepared)
{
    enum taken taken = extended_send_before(client);
    if (taken != REACHED)
        return taken;
    for (uint16_t i = 0; i < bind->result_count; i++)
        if (bind->results[2 * i + 1] == 1)
            return refuse(client, "0A000", "FETCH in binary of a cursor over several shards%s", "");
    struct bound bound = {.is_cursor = true};
    return portal_bind_here(client, bind, prepared, &bound);
}

/* What FETCH gives; NULL: CLOSE. */
static const struct buffer *description_of(const struct facts *facts, const struct scatter *scatter)
{
    return facts->closes ? NULL : scatter_description(scatter);
}

enum taken cursor_describe(struct client *client, struct prepared *prepared)
{
    struct route route;
    if (!portal_has_scatter(client) || client->status == 'E')
        return REACHED;
    enum taken taken = local_route(client, prepared, &route);
    if (taken != REACHED)
        return taken;
    const struct facts *facts = route.facts && route.facts->count == 1 ? &route.facts->facts[0] : NULL;
    if (!facts || !cursor_is(client, facts))
        return REACHED;
    const struct buffer *description = description_of(facts, scatter_of(client, facts));
    taken = extended_send_before(client);
    if (taken != REACHED)
        return taken;
    return extended_answer_described(client, description);
}

enum taken cursor_portal(struct client *client, const struct bound *bound, const struct wire_named *named,
                         enum expect_kind kind)
{
    struct route route;
    if (kind == EXPECT_CLOSE)
        return extended_answer_empty(client, WIRE_B_CLOSE_COMPLETE);
    enum taken taken = client_leave_server(client);
    if (taken != REACHED)
        return taken;
    if (!route_facts(client, bound->prepared, &route))
        return client_out_of_memory(client);
    const struct facts *facts = route.facts && route.facts->count == 1 ? &route.facts->facts[0] : NULL;
    struct scatter *scatter = facts ? scatter_of(client, facts) : NULL;
    if (!scatter)
        return refuse(client, "34000", "cursor \"%s\" does not exist", facts && facts->name ? facts->name : "");
    if (kind == EXPECT_EXECUTE && named->rows && facts->fetches > named->rows)
        return refuse_portions(client);
    if (kind == EXPECT_EXECUTE)
        return carry_out(client, facts, scatter);
    struct buffer *out = client_answer(client);
    extended_describe(out, description_of(facts, scatter));
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

enum taken cursor_execute(struct client *client, struct scatter *scatter, const char *portal)
{
    const char *name = scatter_cursor(scatter);
    if (portal_find(client, name))
        return refuse(client, "42P03", "cursor \"%s\" already exists", name);
    if (!portal_give(client, portal, name))
        return client_out_of_memory(client);
    scatter_declared(scatter);
    return answer(client, "DECLARE CURSOR");
}
