#include "proxy/branch.h"

#include "base/memory.h"
#include "proxy/proxy.h"
#include "proxy/route.h"
#include "proxy/server.h"
#include "proxy/starve.h"
#include "proxy/tally.h"

#include <strings.h>

static struct server *kept_server(struct list *node)
{
    return LIST_OWNER(struct server, kept_node, node);
}

bool branch_is_parked(const struct client *client)
{
    for (struct list *node = client->kept.next; node != &client->kept; node = node->next)
        if (kept_server(node)->status != 'I')
            return true;
    return false;
}

struct server *branch_of(const struct client *client, size_t shard)
{
    for (struct list *node = client->kept.next; node != &client->kept; node = node->next)
        if (kept_server(node)->pool->shard == shard)
            return kept_server(node);
    return NULL;
}

size_t branch_any(const struct client *client)
{
    bool is_parked = branch_is_parked(client);
    for (struct list *node = client->kept.next; node != &client->kept; node = node->next) {
        const struct server *server = kept_server(node);
        if (server->pool->shard < client->worker->world->model.shard_count && (!is_parked || server->status != 'I'))
            return server->pool->shard;
    }
    return SIZE_MAX;
}

struct server *branch_by_number(const struct client *client, uint64_t number)
{
    for (struct list *node = client->kept.next; node != &client->kept; node = node->next)
        if (kept_server(node)->number == number)
            return kept_server(node);
    return NULL;
}

enum commit_way branch_commit_way(const struct client *client)
{
    const char *way = client->session->has_ours ? route_setting(client, "mosaic.commit") : NULL;
    if (!way || strcasecmp(way, "two_phase") == 0)
        return COMMIT_TWO_PHASE;
    return strcasecmp(way, "best_effort") == 0 ? COMMIT_BEST_EFFORT : COMMIT_ONE_SHARD;
}

const char *branch_why_not(const struct client *client, size_t shard)
{
    const struct model *model = &client->worker->world->model;
    if (shard >= model->shard_count)
        return "The coordinator does not see what a transaction has not committed.";
    if (client->status != 'T' && !client->transaction.is_implicit)
        return "A transaction over several shards must begin by BEGIN.";
    if (branch_commit_way(client) == COMMIT_ONE_SHARD)
        return BRANCH_ONE_SHARD;
    if (!transaction_may_spread(&client->transaction))
        return "Not all that the transaction began with is known, so that no other shard can be told.";
    if (client->has_unlisted)
        return "The session has temporary tables, or what else only its connection knows: such a transaction cannot be "
               "prepared.";
    if (client->transaction.notifies)
        return "The transaction has sent NOTIFY, and such a one cannot be prepared.";
    if (route_wants_snapshot(client))
        return "The transaction wants one snapshot for all its statements, and over several shards there is none.";
    return NULL;
}

/* What the segment did on the linked server is ended there. REACHED: it is. */
static enum taken end_segment(struct client *client)
{
    struct server *server = client->server;
    if (client->left_sync || !client->in_segment) {
        client->left_sync &= server->expect.count > 0;
        return server->expect.count ? TAKEN_LATER : REACHED;
    }
    client->left_sync = true;
    wire_empty(batch_make(&client->worker->to_server), WIRE_SYNC);
    return expect_add(&server->expect, EXPECT_SYNC_OURS, 0, NULL) ? TAKEN_LATER : client_out_of_memory(client);
}

enum taken branch_park(struct client *client)
{
    struct server *server = client->server;
    if (client->is_fresh && server_is_clean(server)) {
        server_unlink(server);
        return REACHED;
    }
    enum taken taken = end_segment(client);
    if (taken != REACHED)
        return taken;
    bool failed = server->status != 'T';
    tally_end(client);
    server->told = client->transaction.kept.size;
    server_park(server, client);
    if (!failed)
        return REACHED;
    client->cycle_failed = false;
    client->transaction.has_failed = true;
    client->status = 'E';
    client->skips = client->in_segment;
    return TAKEN;
}

void branch_park_failed(struct client *client)
{
    struct server *server = client->server;
    server->told = client->transaction.kept.size;
    server_park(server, client);
    client->cycle_failed = false;
    client->transaction.has_failed = true;
}

void branch_overflow(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_LIMIT,
                     "the transaction's savepoints and settings are more than %d bytes, which its other shards are to "
                     "be told",
                     TRANSACTION_KEPT_MOST);
    error_sqlstate(&error, "54000");
    error_hint(&error, "it is rolled back; do it in smaller transactions, or on one shard");
    client->transaction.is_broken = true;
    client_server_refused(client, &error);
}

void branch_link(struct client *client, struct server *server)
{
    struct pool *pool = server->pool;
    list_remove(&server->kept_node);
    list_remove(&server->node);
    list_append(&pool->active, &server->node);
    pool->kept_count--;
    pool->active_count++;
    if (!client->is_leg && !client->is_pinned)
        server->keeper = NULL; /* it is anybody's again if the transaction ends here */
    server_link(server, client);
}

const char *branch_untold(const struct client *client)
{
    const struct buffer *kept = &client->transaction.kept;
    size_t told = client->server->status == 'I' ? 0 : client->server->told;
    return kept->size > told ? kept->data + told : "";
}

void branches_roll_back(struct client *client)
{
    struct settings_state *before = client->transaction.is_open ? client->transaction.before : client->session;
    struct list *node, *next;
    client->is_opening = client->asks = client->asks_types = client->asks_shape = false; /* nobody answers now */
    if (client->server && client->server->status != 'I')
        server_roll_back(client->server, before);
    for (node = client->kept.next; node != &client->kept; node = next) {
        struct server *server = kept_server(node);
        next = node->next;
        if (server->status == 'I')
            continue; /* of a session's own servers one that was not in it */
        branch_link(client, server);
        server_roll_back(server, before);
    }
}

void branches_leave(struct client *client)
{
    struct server *linked = client->server;
    struct list *node, *next;
    for (node = client->kept.next; node != &client->kept; node = next) {
        struct server *server = kept_server(node);
        next = node->next;
        if (server->status == 'I')
            continue;
        branch_link(client, server);
        server_roll_back(server, client->transaction.before);
    }
    client->server = linked;
}

void branch_yield(struct client *client, bool scatters)
{
    if (!client || !client->transaction.is_open || client->transaction.savepoints)
        return;
    if (scatters)
        client->transaction.is_broken = true; /* whoever tells the failure breaks it */
    else
        branches_leave(client);
}

void branches_break(struct client *client)
{
    branches_roll_back(client);
    buffer_free(&client->transaction.kept);
}

void branch_lost(struct client *client, const mosaic_error *why)
{
    mosaic_error error;
    if (client->state == CLIENT_CLOSED)
        return;
    if (why)
        error = *why;
    else
        (void)!error_set(&error, MOSAIC_UNREACHABLE, "the connection to the shard was lost");
    starve_end(client); /* it has not what is listed */
    error_detail(&error, "What the transaction did there was rolled back by the end of the connection.");
    client->transaction.is_broken = true;
    client_server_refused(client, &error);
}
