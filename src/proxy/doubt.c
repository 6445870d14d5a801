#include "proxy/doubt.h"

#include "proxy/effect.h"
#include "proxy/proxy.h"
#include "proxy/route.h"

#include <string.h>

/* What is owed. */
struct owed {
    bool ends;    /* that which ends what was sent outside of a transaction */
    bool commits; /* a COMMIT */
    bool opens;   /* a transaction is open behind all of it */
};

static void look(struct owed *owed, const struct facts *facts)
{
    switch (facts->class) {
    case STATEMENT_COMMIT:
        owed->commits = true;
        owed->opens = facts->chain;
        break;
    case STATEMENT_BEGIN:
        owed->opens = true;
        break;
    case STATEMENT_ROLLBACK:
        owed->opens = facts->chain;
        break;
    default:
        break;
    }
}

static void look_at_entry(struct client *client, const struct expect_entry *entry, struct owed *owed)
{
    struct route route;
    switch (entry->kind) {
    case EXPECT_QUERY:
        owed->ends = true;
        for (const struct effect *at = client->effects ? client->effects->first : NULL; at; at = at->next)
            look(owed, &at->facts);
        break;
    case EXPECT_FUNCTION:
    case EXPECT_SYNC:
    case EXPECT_SYNC_OURS:
        owed->ends = true;
        break;
    case EXPECT_EXECUTE:
        if (entry->subject && route_effect(client, entry->subject, &route) && route.facts && route.facts->count == 1)
            look(owed, &route.facts->facts[0]);
        break;
    default:
        break;
    }
}

/* Not within BEGIN: never begun, or ended by what came before in the same message. */
static bool is_outside(const struct client *client)
{
    return client->status == 'I' ? !client->transaction.is_implicit : !client->transaction.is_open;
}

/* A statement that was ended for a reason has told it. */
static bool is_of_connection(const mosaic_error *why)
{
    return !why || strncmp(why->sqlstate, "08", 2) == 0;
}

bool doubt_of_loss(struct client *client, const mosaic_error *why, mosaic_error *doubt)
{
    const struct server *server = client->server;
    const char *name = pool_shard_name(server->pool);
    struct owed owed = {0};
    if (client->is_leg || client->is_aside || client->is_tentative || client->state == CLIENT_CLOSED)
        return false;
    for (uint32_t i = 0; i < server->expect.count; i++)
        look_at_entry(client, expect_at(&server->expect, i), &owed);
    bool is_behind = client->status != 'I' && is_outside(client);
    bool writes = owed.ends && is_outside(client) && (client->transaction.has_written || is_behind);
    if (!owed.commits && !(writes && is_of_connection(why)))
        return false;
    (void)!error_set(doubt, MOSAIC_IN_DOUBT,
                     owed.commits ? "the outcome of the transaction is not known: shard %s did not answer its COMMIT"
                                  : "the outcome of the statement is not known: shard %s did not answer it",
                     name);
    error_sqlstate(doubt, "08007");
    error_shard(doubt, name);
    if (why)
        error_detail(doubt, "%s", why->message);
    error_hint(doubt, "look whether its rows are there before it is run again");
    client->transaction.has_written = false;
    if (client->status != 'I' && !owed.opens) {
        client->status = 'I';
        client->path_is_local = false;
        client->path = NULL;
        client_settle_schema(client);
    }
    return true;
}
