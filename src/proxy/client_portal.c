#include "proxy/client_portal.h"

#include "base/memory.h"
#include "proxy/client_cursor.h"
#include "proxy/client_extended.h"
#include "proxy/client_local.h"
#include "proxy/client_scatter.h"
#include "proxy/explain_rows.h"
#include "proxy/placement.h"
#include "proxy/prepare_sql.h"
#include "proxy/route.h"
#include "proxy/scatter.h"
#include "proxy/server_rows.h"

#include <string.h>

static struct portal **find_portal(struct client *client, const char *name)
{
    struct portal **at = &client->portals;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    return at;
}

static void release(struct bound *bound)
{
    prepared_release(bound->prepared);
    explain_portal_free(bound->rows);
    scatter_drop(bound->scatter);
    placement_portal_free(bound->placement);
    *bound = (struct bound){0};
}

void portal_remove(struct client *client, const char *name)
{
    if (!*name) {
        release(&client->bound);
        return;
    }
    struct portal **at = find_portal(client, name), *found = *at;
    if (!found)
        return;
    *at = found->next;
    release(&found->bound);
    memory_free(found);
}

void portal_forget(struct client *client, const struct scatter *scatter)
{
    struct portal *portal = client->portals;
    while (portal && portal->bound.scatter != scatter)
        portal = portal->next;
    if (client->bound.scatter == scatter || portal)
        portal_remove(client, portal ? portal->name : "");
}

bool portal_give(struct client *client, const char *from, const char *to)
{
    struct bound *bound = *from ? &(*find_portal(client, from))->bound : &client->bound;
    struct bound given = {.is_local = true, .scatter = bound->scatter};
    bound->scatter = NULL;
    return portal_add(client, to, &given);
}

bool portal_has_scatter(const struct client *client)
{
    const struct portal *portal = client->portals;
    while (portal && !portal->bound.scatter)
        portal = portal->next;
    return client->bound.scatter || portal;
}

void portals_drop_scattered(struct client *client, unsigned savepoint)
{
    if (!savepoint && client->bound.scatter)
        release(&client->bound);
    for (struct portal *portal = client->portals, *next; portal; portal = next) {
        next = portal->next;
        if (portal->bound.scatter && portal->savepoints >= savepoint)
            portal_remove(client, portal->name);
    }
}

bool portal_add(struct client *client, const char *name, const struct bound *bound)
{
    size_t size = strlen(name) + 1;
    struct bound kept = *bound;
    if (kept.prepared)
        prepared_hold(kept.prepared);
    if (!*name) {
        release(&client->bound);
        client->bound = kept;
        return true;
    }
    struct portal *made = memory_zeroed(1, sizeof *made + size);
    if (!made) {
        release(&kept);
        return false;
    }
    memcpy(made->name, name, size);
    made->bound = kept;
    made->savepoints = client->transaction.savepoint_count;
    made->next = client->portals;
    client->portals = made;
    return true;
}

void client_portals_clear(struct client *client)
{
    portal_remove(client, "");
    while (client->portals)
        portal_remove(client, client->portals->name);
}

const struct bound *portal_find(struct client *client, const char *name)
{
    if (!*name)
        return client->bound.prepared ? &client->bound : NULL;
    const struct portal *portal = *find_portal(client, name);
    return portal ? &portal->bound : NULL;
}

bool portal_names_types(const struct client *client, const struct wire_bind *bind, bool is_whole, uint64_t shape)
{
    if (!server_typemap(client->server)->count || prepared_is_plain(shape))
        return false;
    bool is_binary = !is_whole; /* what it asks for stands at its end */
    for (uint16_t i = 0; is_whole && i < bind->result_count; i++)
        is_binary |= bind->results[2 * i + 1] == 1;
    return is_binary;
}

/* ---- those that are answered here ---- */

enum taken portal_bind_here(struct client *client, const struct wire_bind *bind, struct prepared *prepared,
                            struct bound *bound)
{
    if (*bind->portal && portal_find(client, bind->portal)) {
        explain_portal_free(bound->rows);
        placement_portal_free(bound->placement);
        return extended_fail(client, "42P03", "portal \"%s\" already exists", bind->portal);
    }
    bound->prepared = prepared;
    bound->is_local = true;
    if (!portal_add(client, bind->portal, bound))
        return client_out_of_memory(client);
    return extended_answer_empty(client, WIRE_B_BIND_COMPLETE);
}

static enum taken execute_rows(struct client *client, struct explain_portal *rows, uint32_t most)
{
    enum taken taken = extended_send_before(client);
    if (taken != REACHED)
        return taken;
    explain_portal_fetch(rows, most, client_answer(client));
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

static enum taken describe_rows(struct client *client, const struct explain_portal *rows)
{
    enum taken taken = extended_send_before(client);
    if (taken != REACHED)
        return taken;
    explain_portal_describe(rows, client_answer(client));
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

static enum taken execute_here(struct client *client, const struct bound *bound, uint32_t most)
{
    struct route route;
    bool failed;
    if (client->status == 'E' && client->server)
        return extended_fail(client, "25P02",
                             "current transaction is aborted, commands ignored until end of transaction block%s", "");
    if (bound->rows)
        return execute_rows(client, bound->rows, most);
    if (bound->placement)
        return client_placement_execute(client, bound->placement);
    struct prepared *prepared = bound->prepared;
    enum taken taken = local_route(client, prepared, &route);
    if (taken != REACHED)
        return taken;
    const struct facts *only = route.facts && route.facts->count == 1 ? &route.facts->facts[0] : NULL;
    if (only && prepare_sql_is(only))
        return prepare_sql_run(client, only, prepared->text, prepared->size);
    if (!only || !local_applies(client, only))
        return extended_fail(client, "0A000", "this statement was bound before the transaction was open on a shard%s",
                             "");
    taken = local_end_branches(client, only);
    if (taken != REACHED)
        return taken;
    struct buffer *answer = client_answer(client);
    if (!local_carry_out(client, only, prepared->text, prepared->size, answer, &failed))
        return client_out_of_memory(client);
    client->skips |= failed;
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

enum taken portal_here(struct client *client, const struct bound *bound, const struct wire_named *named,
                       enum expect_kind kind)
{
    if (bound->scatter)
        return client_scatter_portal(client, bound, named, kind);
    if (bound->is_cursor)
        return cursor_portal(client, bound, named, kind);
    if (kind == EXPECT_DESCRIBE_PORTAL && bound->rows)
        return describe_rows(client, bound->rows);
    if (kind == EXPECT_DESCRIBE_PORTAL && bound->placement)
        return client_placement_columns(client, bound->placement);
    if (kind == EXPECT_DESCRIBE_PORTAL)
        return extended_answer_empty(client, WIRE_B_NO_DATA);
    if (kind == EXPECT_CLOSE)
        return extended_answer_empty(client, WIRE_B_CLOSE_COMPLETE);
    return execute_here(client, bound, named->rows);
}
