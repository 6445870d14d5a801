#include "proxy/server.h"

#include "base/memory.h"
#include "proxy/branch.h"
#include "proxy/cancel.h"
#include "proxy/client.h"
#include "proxy/commit.h"
#include "proxy/doubt.h"
#include "proxy/effect.h"
#include "proxy/login_client.h"
#include "proxy/proxy.h"
#include "proxy/rowmap.h"
#include "proxy/scatter.h"

#include <string.h>

enum { FAILURE_MOST = 65536 };

/* ---- life ---- */

static void server_ready(struct source *source, uint32_t events);
static void server_again(struct source *source);

static void server_freed(struct source *source)
{
    struct server *server = LIST_OWNER(struct server, channel.source, source);
    memory_free(server);
}

struct server *server_new(struct pool *pool)
{
    struct server *server = memory_zeroed(1, sizeof *server);
    if (!server)
        return NULL;
    channel_init(&server->channel, &pool->worker->loop, -1);
    source_init(&server->channel.source, server_ready, server_again, server_freed);
    server->worker = pool->worker;
    server->pool = pool;
    server->number = (uint64_t)pool->worker->number << 32 | ++pool->worker->servers_made;
    list_init(&server->node);
    list_init(&server->kept_node);
    list_init(&server->cancellers);
    server->status = 'I';
    server->failure = BUFFER_INIT(FAILURE_MOST);
    server->session = settings_hold(pool->worker->settings_table.empty);
    server->session_next = NULL;
    list_append(&pool->connecting, &server->node);
    pool->connecting_count++;
    return server;
}

void server_check_free(struct server *server)
{
    if (!server->check)
        return;
    PQclear(server->check->answer);
    memory_free(server->check->given);
    memory_free(server->check);
    server->check = NULL;
}

static void leave_list(struct server *server)
{
    struct pool *pool = server->pool;
    if (server->state < SERVER_IDLE)
        pool->connecting_count--;
    else if (server->state == SERVER_IDLE)
        pool->idle_count--;
    else if (server->state == SERVER_KEPT)
        pool->kept_count--;
    else
        pool->active_count--;
    list_remove(&server->node);
    list_remove(&server->kept_node);
}

/* What an entry owns. A statement that was never parsed is none. */
void server_drop_entry(struct server *server, const struct expect_entry *entry)
{
    switch (entry->kind) {
    case EXPECT_PARSE:
    case EXPECT_PARSE_OURS:
    case EXPECT_PARSE_SQL:
        effect_parse_failed(server, entry);
        break;
    case EXPECT_SHAPE_HERE:
        /* Parsed, but an error came before it was described: its name is taken there, and what it is is not known. */
        if (server_statements_use(&server->statements, entry->subject)) {
            server_statements_remove(&server->statements, entry->subject);
            server->unfit = true;
        }
        prepared_release(entry->subject);
        break;
    case EXPECT_EXECUTE:
    case EXPECT_DESCRIBE_OURS:
        prepared_release(entry->subject);
        break;
    case EXPECT_SHAPE_PARSED:
        effect_shape(server, entry->subject, 0);
        break;
    case EXPECT_CLOSED_HERE:
        effect_closed(server, entry->subject, false);
        break;
    case EXPECT_HERE:
    case EXPECT_REFUSED:
        memory_free(entry->subject);
        break;
    default:
        break;
    }
}

static void drop_expected(struct server *server)
{
    while (server->expect.count) {
        server_drop_entry(server, expect_head(&server->expect));
        expect_pop(&server->expect);
    }
    expect_shrink(&server->expect, true);
}

void server_close(struct server *server, const mosaic_error *why)
{
    struct client *client = server->client, *keeper = server->keeper;
    struct commit_part *part = server->part;
    char status = server->status;
    bool cut = server->passing && server->passing_visible;
    if (server->state == SERVER_CLOSED)
        return;
    if (server->state >= SERVER_IDLE && server->channel.fd >= 0 && !server->channel.broken && server_is_clean(server)) {
        static const char terminate[] = {'X', 0, 0, 0, 4};
        channel_send(&server->channel, terminate, sizeof terminate);
    }
    mosaic_error doubt;
    if (client && doubt_of_loss(client, why, &doubt))
        why = &doubt;
    drop_expected(server);
    leave_list(server);
    cancel_forget(server);
    server->state = SERVER_CLOSED;
    server->client = NULL;
    server->keeper = NULL;
    server->part = NULL;
    timer_cancel(&server->timer);
    channel_close(&server->channel);
    loop_bury(&server->worker->loop, &server->channel.source);
    login_client_free(server->login);
    server->login = NULL;
    server_check_free(server);
    server_statements_clear(&server->statements);
    settings_release(server->session);
    settings_release(server->session_next);
    buffer_free(&server->failure);
    rowmap_free(server->rowmap);
    server->rowmap = NULL;
    server_forget_deadlock(server);
    pool_lost(server->pool);
    if (client) {
        client->server = NULL;
        client_server_lost(client, why, cut);
    } else if (part) {
        commit_part_lost(part, why);
    } else if (keeper && status != 'I') {
        branch_lost(keeper, why);
    } else if (keeper) {
        client_server_lost(keeper, why, cut);
    }
}

void server_forget_deadlock(struct server *server)
{
    memory_free(server->deadlock);
    server->deadlock = NULL;
}

void server_link(struct server *server, struct client *client)
{
    server_forget_deadlock(server);
    server->silent_since = 0;
    server->state = SERVER_ACTIVE;
    server->client = client;
    client->server = server;
}

/* Between two transactions of others: the session's state is the proxy's to restore, the rest is reset. */
static void reset(struct server *server)
{
    server->state = SERVER_RESETTING;
    server_statements_clear(&server->statements);
    struct settings_state *empty = server->worker->settings_table.empty;
    struct settings_state *left = settings_leave_empty(empty, server->session);
    settings_release(server->session);
    server->session = left ? left : settings_hold(empty);
    const char *query = server->worker->settings->server_reset_query;
    if (!server_ask(server, query && *query ? query : "DISCARD ALL"))
        server_close(server, NULL);
}

/* Its client keeps it, without being linked to it. */
static void keep(struct server *server, struct client *client)
{
    server->keeper = client;
    server->state = SERVER_KEPT;
    server->pool->active_count--;
    server->pool->kept_count++;
    list_remove(&server->node);
    list_append(&server->pool->kept, &server->node);
    list_remove(&server->kept_node);
    list_append(&client->kept, &server->kept_node);
}

bool server_has_gone_back(struct server *server, struct settings_state *session)
{
    struct settings_state *left = settings_leave_empty(session, server->session);
    if (!left)
        return false;
    settings_release(server->session);
    server->session = left;
    return true;
}

void server_unlink(struct server *server)
{
    struct client *client = server->client;
    server->client = NULL;
    client->server = NULL;
    if (!server_is_clean(server)) {
        bool can_end = server->expect.count == 0 && server->passing == 0 && client->state == CLIENT_CLOSED;
        struct settings_state *before = client->transaction.is_open ? client->transaction.before : client->session;
        if (can_end && !server->keeper && server_has_gone_back(server, before) && server_ask(server, "ROLLBACK"))
            server->state = SERVER_RESETTING;
        else
            server_close(server, NULL);
        return;
    }
    if (client->state != CLIENT_CLOSED && (client->is_pinned || server->keeper == client)) {
        keep(server, client);
        return;
    }
    if (server->keeper || client->is_pinned) {
        server->keeper = NULL;
        reset(server);
        return;
    }
    if (server->cancels)
        server->state = SERVER_RESETTING; /* cancel_ended gives it */
    else
        pool_return(server);
}

void server_park(struct server *server, struct client *keeper)
{
    server->client->server = NULL;
    server->client = NULL;
    keep(server, keeper);
}

void server_roll_back(struct server *server, struct settings_state *session)
{
    server->client->server = NULL;
    server->client = NULL;
    server->keeper = NULL;
    server->state = SERVER_RESETTING;
    if (!server_has_gone_back(server, session) || !server_ask(server, "ROLLBACK"))
        server_close(server, NULL);
}

void server_free(struct server *server, struct client *client, bool is_own)
{
    server->state = SERVER_RESETTING;
    if (is_own && client)
        keep(server, client);
    else if (is_own)
        reset(server);
    else if (!server->cancels)
        pool_return(server); /* else cancel_ended does */
}

void server_release_kept(struct server *server)
{
    struct pool *pool = server->pool;
    list_remove(&server->kept_node);
    server->keeper = NULL;
    pool->kept_count--;
    pool->active_count++;
    list_remove(&server->node);
    list_append(&pool->active, &server->node);
    server->state = SERVER_RESETTING;
    if (server_is_clean(server))
        reset(server);
    else
        server_close(server, NULL);
}

void server_cancel_ended(struct server *server)
{
    if (--server->cancels)
        return;
    if (server->client && server->client->is_leg)
        leg_cancel_ended(server->client);
    else if (server->part)
        commit_cancel_ended(server->part);
    else if (server->state == SERVER_RESETTING && server_is_clean(server))
        pool_return(server);
}

bool server_ask(struct server *server, const char *sql)
{
    struct buffer query = BUFFER_INIT(FAILURE_MOST * 16);
    wire_query(&query, sql);
    server->ours_failed = false;
    server->unnamed = 0; /* a simple query ends it */
    bool sent = !buffer_failed(&query) && expect_add(&server->expect, EXPECT_OURS, 0, NULL) &&
                channel_send(&server->channel, query.data, query.size);
    buffer_free(&query);
    return sent;
}

/* ---- events ---- */

static void server_again(struct source *source)
{
    struct server *server = LIST_OWNER(struct server, channel.source, source);
    if (server->state < SERVER_IDLE)
        server_login_event(server);
    else if (server->state != SERVER_CLOSED)
        server_run(server);
}

static void server_ready(struct source *source, uint32_t events)
{
    struct server *server = LIST_OWNER(struct server, channel.source, source);
    bool was_stuck = channel_stuck(&server->channel);
    channel_event(&server->channel, events);
    server_again(source);
    if (was_stuck && server->state != SERVER_CLOSED && !channel_stuck(&server->channel) && server->client)
        loop_again(&server->worker->loop, &server->client->channel.source);
}
