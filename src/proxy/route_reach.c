/*
 * From a route to the server that has it: what must be looked at where a transaction is open on several shards.
 */
#include "proxy/beside.h"
#include "proxy/branch.h"
#include "proxy/client_extended.h"
#include "proxy/client_portal.h"
#include "proxy/effect.h"
#include "proxy/lasting.h"
#include "proxy/proxy.h"
#include "proxy/route.h"
#include "proxy/server.h"

bool route_ends_transaction(const struct facts *facts)
{
    return facts->class == STATEMENT_COMMIT || facts->class == STATEMENT_ROLLBACK ||
           facts->class == STATEMENT_TWO_PHASE;
}

/* The end of a transaction that is open on several shards, where it would end on one of them alone. */
static bool ends_one(const struct client *client, const struct facts_list *list)
{
    bool ends = false;
    for (size_t i = 0; list && i < list->count; i++)
        ends |= route_ends_transaction(&list->facts[i]);
    return ends && client->status == 'T' && branch_is_parked(client);
}

enum taken route_refuse_end(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED,
                     "the end of a transaction that is open on several shards must be a COMMIT or ROLLBACK by itself");
    error_hint(&error, "send it as a text of its own");
    return extended_refuse_any(client, &error);
}

/* Does it ask for the time of a transaction that is open on another shard as well? */
static bool reads_another_clock(struct client *client, const struct route *route)
{
    bool reads = false;
    for (size_t i = 0; route->facts && i < route->facts->count; i++)
        reads |= route->facts->facts[i].reads_clock;
    if (!reads || client->status != 'T' || route->aside || route_has_shard_clocks(client))
        return false;
    client->transaction.has_clock = true;
    if (client->transaction.moment_us)
        return true;
    bool leaves = client->server && !client->is_fresh && client->server->pool->shard != route->shard;
    return leaves || branch_is_parked(client);
}

static enum taken refuse_clock(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED,
                     "this statement asks for the time of a transaction that is open on several shards");
    error_detail(&error, "Each of them has its own.");
    error_hint(&error, BESIDE_CLOCK_HINT);
    return extended_refuse_any(client, &error);
}

static enum taken refuse_declared(struct client *client, const char *name)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_DATA, "cursor \"%s\" already exists", name);
    error_sqlstate(&error, "42P03");
    return extended_refuse_any(client, &error);
}

/* The shard where a cursor was declared, of a transaction that is on others as well; SIZE_MAX: it does not matter. */
static size_t place_of_cursor(const struct client *client, const struct facts_list *list, bool *is_sure)
{
    const struct facts *only = list && list->count == 1 ? &list->facts[0] : NULL;
    bool is_cursor = only && only->name && (only->class == STATEMENT_CURSOR || only->class == STATEMENT_DECLARE);
    if (!is_cursor || client->status == 'E' || !client->transaction.cursors || !branch_is_parked(client))
        return SIZE_MAX;
    uint64_t number = transaction_cursor(&client->transaction, only->name, is_sure);
    const struct server *server = number ? branch_by_number(client, number) : NULL;
    return server ? server->pool->shard : SIZE_MAX;
}

/* Does it declare a cursor whose name one over several shards has, of which no server knows? That is its name; NULL. */
static const char *declared_twice(struct client *client, const struct facts_list *list)
{
    for (size_t i = 0; client->portals && client->status != 'E' && list && i < list->count; i++) {
        const struct facts *facts = &list->facts[i];
        enum statement_class class = facts->class;
        bool may_end_it = class == STATEMENT_COMMIT || class == STATEMENT_ROLLBACK || class == STATEMENT_ROLLBACK_TO ||
                          (class == STATEMENT_CURSOR && facts->closes);
        const struct bound *bound = class == STATEMENT_DECLARE && facts->name ? portal_find(client, facts->name) : NULL;
        if (may_end_it)
            return NULL;
        if (bound && bound->scatter)
            return facts->name;
    }
    return NULL;
}

static bool notifies(const struct facts_list *list)
{
    bool found = false;
    for (size_t i = 0; list && i < list->count; i++)
        found |= list->facts[i].notifies;
    return found;
}

/* Has another shard than the home one a part in the transaction? */
static bool is_spread(const struct client *client)
{
    const struct server *server = client->server;
    bool elsewhere = server && !client->is_fresh && server->pool->shard != client->worker->world->home;
    bool is_in = client->transaction.is_open || client->transaction.is_implicit;
    return is_in && ((elsewhere && !client->is_aside) || branch_is_parked(client));
}

static enum taken refuse_notify(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "NOTIFY in a transaction of several shards");
    error_detail(&error, "PostgreSQL does not prepare a transaction that has sent one.");
    error_hint(&error, "send it by itself, behind COMMIT");
    return extended_refuse_any(client, &error);
}

enum taken route_reach(struct client *client, const struct route *way)
{
    struct route found = *way;
    const struct route *route = &found;
    bool is_sure;
    size_t place = place_of_cursor(client, way->facts, &is_sure);
    if (place != SIZE_MAX && way->facts->facts[0].class == STATEMENT_DECLARE && is_sure)
        return refuse_declared(client, way->facts->facts[0].name);
    const char *declared = declared_twice(client, way->facts);
    if (declared)
        return refuse_declared(client, declared);
    if (place != SIZE_MAX && way->facts->facts[0].class == STATEMENT_CURSOR)
        found.shard = place;
    if (place == SIZE_MAX && client->status != 'E' && lasting_shard(client, way->facts) != SIZE_MAX)
        found.shard = lasting_shard(client, way->facts);
    mosaic_error error;
    if (client->status != 'E' && !lasting_allows(client, way->facts, &error))
        return extended_refuse_any(client, &error);
    if (reads_another_clock(client, route))
        return refuse_clock(client);
    if (ends_one(client, route->facts))
        return route_refuse_end(client);
    bool sends = notifies(route->facts);
    if (sends && is_spread(client))
        return refuse_notify(client);
    if (route->aside)
        return client_reach_beside(client, route->shard);
    enum taken taken = client_leave_coordinator(client, route->shard);
    if (taken != REACHED)
        return taken;
    taken = client_reach(client, route->shard);
    client->transaction.notifies |= taken == REACHED && sends && client->transaction.is_open;
    for (size_t i = 0; taken == REACHED && route->facts && i < route->facts->count; i++) {
        client->transaction.has_written |= effect_writes(&route->facts->facts[i]);
        if (route->facts->facts[i].sets_unknown) {
            client->has_unknown = true;
            client->unknown_slot = client->server->pool->slot;
        }
    }
    return taken;
}
