/*
 * A client and its servers: getting one of a shard, making it have the client's session and transaction, losing it.
 */
#include "base/memory.h"
#include "proxy/branch.h"
#include "proxy/client.h"
#include "proxy/client_local.h"
#include "proxy/effect.h"
#include "proxy/follow.h"
#include "proxy/own_schema.h"
#include "proxy/proxy.h"
#include "proxy/scatter.h"
#include "proxy/server.h"
#include "proxy/tally.h"
#include "proxy/trace.h"

#include <string.h>

enum { REPLAY_MOST = 1 << 20 };

void client_server_refused(struct client *client, const mosaic_error *error)
{
    if (!client->failure)
        client->failure = memory_allocate(sizeof *client->failure);
    if (!client->failure) {
        client_close(client, error);
        return;
    }
    *client->failure = *error;
    loop_again(&client->worker->loop, &client->channel.source);
}

void client_server_lost(struct client *client, const mosaic_error *why, bool cut)
{
    mosaic_error error;
    if (client->is_leg) {
        leg_lost(client, why, cut);
        return;
    }
    bool was_open = client->status != 'I';
    bool busy = client->awaits_ready || client->in_segment;
    if (client->state == CLIENT_CLOSED)
        return;
    if (why)
        error = *why;
    else
        (void)!error_set(&error, MOSAIC_UNREACHABLE, "the connection to the shard was lost");
    batch_drop(&client->worker->to_server);
    tally_end(client);
    if (cut || client->is_pinned || client->state != CLIENT_READY) {
        batch_send(&client->worker->to_client, &client->channel);
        client_close(client, cut ? NULL : &error);
        return;
    }
    bool pending = client->replays || client->asks || client->asks_types || client->asks_shape || client->is_opening ||
                   client->left_sync;
    client->replays = client->asks = client->asks_types = client->asks_shape = client->left_sync = client->is_opening =
        false;
    client->is_tentative = client->cycle_failed = client->is_aside = false;
    effects_free(client);
    if (client->transaction.is_implicit)
        local_forget(client, false);
    else if (!was_open && client->transaction.is_open)
        settings_release(transaction_end(&client->transaction));
    if (was_open) {
        /* What the transaction did is gone. It is not over for the client: nothing more may run outside of it. */
        if (error.status != MOSAIC_IN_DOUBT)
            error_detail(&error, "The transaction was rolled back by the end of the connection.");
        if (!client->transaction.is_open)
            transaction_opened(&client->transaction, client->session);
        client->transaction.has_failed = true;
        client->transaction.is_lazy = false;
        client->status = 'E';
        branches_break(client);
    }
    if (!busy) {
        if (!was_open && !pending)
            return;
        client_server_refused(client, &error); /* told as the answer to what comes next */
        return;
    }
    struct buffer *answer = client_answer(client);
    bool ends = client->awaits_ready;
    wire_error_response(answer, "ERROR", error.sqlstate, error.message, error.detail, error.hint);
    if (ends) {
        client->awaits_ready = client->in_segment = client->skips = false;
        wire_ready(answer, client->status);
    } else {
        client->skips = true;
    }
    client_portals_clear(client);
    client_held_clear(client);
    client_unnamed_settle(client, true);
    if (!client_answered(client) || !batch_send(&client->worker->to_client, &client->channel))
        client_close(client, NULL);
    else
        loop_again(&client->worker->loop, &client->channel.source);
}

static enum taken refuse_second(struct client *client, size_t shard, const char *why)
{
    const struct model *model = &client->worker->world->model;
    mosaic_error error;
    COUNT(&client->worker->counters, second_shard, 1);
    (void)!error_set(&error, MOSAIC_UNSUPPORTED,
                     "this statement belongs to shard %s, but the transaction is open on shard %s",
                     model->shards[shard].name, model->shards[client->server->pool->shard].name);
    error_detail(&error, "%s", why);
    error_hint(&error, client->status == 'T' ? "what the transaction did so far stands: COMMIT or ROLLBACK it first"
                                             : "send Sync between statements of different shards");
    return client_refuse(client, &error, client->status != 'T');
}

/* The segment goes on elsewhere: what it did here, parsing alone, is ended. */
static enum taken leave_harmlessly(struct client *client)
{
    struct server *server = client->server;
    if (client->left_sync) {
        if (server->expect.count)
            return TAKEN_LATER;
        client->left_sync = false;
        tally_end(client);
        server_unlink(server);
        return TAKEN;
    }
    client->left_sync = true;
    wire_empty(batch_make(&client->worker->to_server), WIRE_SYNC);
    if (!expect_add(&server->expect, EXPECT_SYNC_OURS, 0, NULL))
        return client_out_of_memory(client);
    return TAKEN_LATER;
}

static enum taken link_any(struct client *client, size_t shard)
{
    struct server *own = list_empty(&client->kept) ? NULL : branch_of(client, shard);
    mosaic_error error;
    if (own) {
        branch_link(client, own);
        return REACHED;
    }
    struct pool *pool = pool_get(client->user, shard);
    if (!pool)
        return client_out_of_memory(client);
    switch (pool_assign(pool, client, &error)) {
    case POOL_LINKED:
        return REACHED;
    case POOL_WAITS:
        return TAKEN_LATER;
    default:
        return client_refuse(client, &error, client->status != 'I');
    }
}

enum taken client_prepare_server(struct client *client)
{
    struct server *server = client->server;
    struct worker *worker = client->worker;
    int64_t delay = worker->settings->server_check_delay;
    bool stale = delay && worker->loop.now - server->used_at > delay;
    /* A transaction that is to be replayed begins with the settings from before it. */
    struct settings_state *wanted = *branch_untold(client) ? client->transaction.before : client->session;
    if ((server->session == wanted && !stale) || server->status != 'I')
        return REACHED; /* a branch is told what it lacks */
    if (!settings_can_become(server->session, wanted)) {
        /* It was given to a client that waited: it cannot serve this one. */
        client->server = NULL;
        server->client = NULL;
        server_close(server, NULL);
        loop_again(&worker->loop, &client->channel.source);
        return TAKEN_LATER;
    }
    struct buffer sql = BUFFER_INIT(REPLAY_MOST);
    settings_difference(server->session, wanted, &sql);
    if (sql.size == 0 && stale)
        buffer_text(&sql, ";");
    bool failed = buffer_failed(&sql);
    if (sql.size && !failed) {
        settings_release(server->session_next);
        server->session_next = settings_hold(wanted);
        client->replays = true;
        COUNT(&worker->counters, replays, 1);
        if (!server_ask(server, sql.data))
            failed = true;
    } else if (!failed) {
        settings_release(server->session);
        server->session = settings_hold(wanted);
    }
    buffer_free(&sql);
    if (failed) {
        client->replays = false;
        server_close(server, NULL);
        loop_again(&worker->loop, &client->channel.source);
        return TAKEN_LATER;
    }
    return client->replays ? TAKEN_LATER : REACHED;
}

/* The server has the transaction; it stays to be replayed where it is but tried. */
static void transaction_is_there(struct client *client)
{
    struct server *server = client->server;
    settings_release(server->session);
    server->session = settings_hold(client->session);
    if (!client->is_tentative)
        transaction_replayed(&client->transaction);
}

/* The server has answered BEGIN and its like: did it do them? */
static enum taken transaction_was_replayed(struct client *client)
{
    struct server *server = client->server;
    client->is_opening = false;
    if (server->status == 'T' && !server->ours_failed) {
        transaction_is_there(client);
        return REACHED;
    }
    mosaic_error error = server->error;
    client->is_tentative = false;
    if (server->status == 'E') {
        transaction_replayed(&client->transaction);
        client->status = 'E';
        client->is_fresh = false;
        return client_refuse(client, &error, false);
    }
    server_unlink(server);
    return client_refuse(client, &error, true);
}

/* BEGIN, and what came after it, on the shard that is to have the transaction. */
static enum taken open_transaction(struct client *client)
{
    struct transaction *transaction = &client->transaction;
    struct server *server = client->server;
    if (client->is_opening)
        return transaction_was_replayed(client);
    if (!expect_add(&server->expect, EXPECT_OURS, 0, NULL))
        return client_out_of_memory(client);
    wire_query(batch_make(&client->worker->to_server), branch_untold(client));
    if (transaction->is_plain) {
        transaction_is_there(client);
        return REACHED;
    }
    server->ours_failed = false;
    client->is_opening = true;
    return TAKEN_LATER;
}

/* The transaction has failed here, and this server may not know it: it would tell the client that nothing has happened,
 * and take what comes next. has_begun: it has been told BEGIN. */
static enum taken fail_there(struct client *client, bool has_begun)
{
    struct server *server = client->server;
    struct buffer *out = batch_make(&client->worker->to_server);
    if (server->status == 'E')
        return REACHED;
    for (int begun = has_begun || server->status == 'T'; begun < 2; begun++) {
        wire_query(out, begun ? "pgmosaic refused this statement" : "BEGIN");
        if (!expect_add(&server->expect, EXPECT_OURS, 0, NULL))
            return client_out_of_memory(client);
    }
    return REACHED;
}

enum taken client_tell_failure(struct client *client)
{
    mosaic_error error = *client->failure;
    memory_free(client->failure);
    client->failure = NULL;
    if (client->transaction.is_broken) {
        bool is_asked = client->server && client->server->expect.count;
        if (is_asked)
            server_close(client->server, &error); /* which tells it, behind what was answered */
        branches_break(client);
        if (is_asked)
            return client->state == CLIENT_CLOSED ? TAKEN_CLOSED : TAKEN;
    }
    return client_refuse(client, &error, client->status != 'I');
}

/* What was asked beside the transaction is over. If it failed, so has the transaction, and the rest of the segment. */
static enum taken leave_aside(struct client *client)
{
    enum taken taken = leave_harmlessly(client);
    if (taken != TAKEN)
        return taken;
    client->is_aside = false;
    if (!client->cycle_failed)
        return REACHED;
    client_end_aside(client);
    client->skips = true;
    return TAKEN;
}

static enum taken refuse_several(struct client *client, const char *why)
{
    const struct model *model = &client->worker->world->model;
    mosaic_error error;
    COUNT(&client->worker->counters, second_shard, 1);
    (void)!error_set(&error, MOSAIC_UNSUPPORTED,
                     "this statement is answered by several shards, but the transaction is open on shard %s",
                     model->shards[client->server->pool->shard].name);
    if (why)
        error_detail(&error, "%s", why);
    error_hint(&error, client->status == 'T' ? "what the transaction did so far stands: COMMIT or ROLLBACK it first"
                                             : "send Sync before a statement of several shards");
    return client_refuse(client, &error, client->status != 'T');
}

enum taken client_leave_server(struct client *client)
{
    if (client->is_aside)
        return leave_aside(client);
    enum taken taken = client_leave_coordinator(client, client->worker->world->model.shard_count);
    if (taken != REACHED || !client->server)
        return taken;
    if (client->is_fresh && server_is_clean(client->server)) {
        server_unlink(client->server);
        return REACHED;
    }
    if (client->status != 'I' || client->transaction.is_implicit) {
        const char *why = branch_why_not(client, 0);
        return why ? refuse_several(client, why) : branch_park(client);
    }
    if (!client->is_harmless) /* a simple query may come behind a segment that had no Sync */
        return refuse_several(client, NULL);
    taken = leave_harmlessly(client);
    return taken == TAKEN ? REACHED : taken;
}

enum taken client_leave_coordinator(struct client *client, size_t shard)
{
    const struct server *server = client->server;
    if (client->status != 'I' || !client->in_segment || !server || client->is_fresh || client->is_harmless ||
        server->pool->shard != shard || shard != client->worker->world->model.shard_count)
        return REACHED;
    enum taken taken = leave_harmlessly(client);
    if (taken != TAKEN)
        return taken;
    bool failed = client->cycle_failed;
    client->cycle_failed = false;
    client->skips |= failed;
    return failed ? TAKEN : REACHED;
}

enum taken client_reach(struct client *client, size_t shard)
{
    enum taken taken = TAKEN;
    if (client->failure)
        return client_tell_failure(client);
    if (client->is_aside && !client->probes) {
        taken = leave_aside(client);
        if (taken != REACHED)
            return taken;
    }
    struct server *server = client->server;
    if (server && server->pool->shard != shard) {
        if (client->is_fresh && server_is_clean(server)) {
            server_unlink(server);
        } else if (client->status == 'I' && !client->transaction.is_implicit && client->in_segment &&
                   client->is_harmless) {
            taken = leave_harmlessly(client);
            if (taken != TAKEN)
                return taken;
        } else {
            const char *why = branch_why_not(client, shard);
            taken = why ? refuse_second(client, shard, why) : branch_park(client);
            if (taken != REACHED)
                return taken;
        }
    }
    if (!client->server) {
        if (!client_flush(client))
            return TAKEN_CLOSED;
        client->is_fresh = true;
        client->is_harmless = true;
        taken = link_any(client, shard);
        if (taken != REACHED)
            return taken;
    }
    if (!client->is_fresh)
        return REACHED;
    taken = client_prepare_server(client);
    if (taken == REACHED && __builtin_expect(client->worker->settings->trace, 0) && !client->probes &&
        !client->is_opening && !trace_begin(client))
        return client_out_of_memory(client);
    bool probes = client->probes && client->server && client->server->status == 'I'; /* outside of the transaction */
    bool opens = client->is_opening || *branch_untold(client);
    if (taken == REACHED && !probes && opens)
        taken = open_transaction(client);
    if (taken == REACHED && !probes && client->transaction.has_failed)
        taken = fail_there(client, opens);
    if (taken == REACHED && !probes) {
        client->is_fresh = false;
        client->left_sync = false;
        client->since = client->worker->loop.now;
        client->began_us = client->worker->loop.now_us;
    }
    return taken;
}

/* Without the transaction, which stays where it is: with no shard. */
static enum taken link_aside(struct client *client, size_t shard)
{
    client->probes = true;
    enum taken taken = client_reach(client, shard);
    client->probes = false;
    if (taken == REACHED) {
        client->is_fresh = client->left_sync = false;
        client->is_aside = client->is_harmless = true; /* until something is bound */
    }
    return taken;
}

enum taken client_reach_aside(struct client *client, size_t shard)
{
    if (client->is_aside)
        return REACHED;
    if (!client->transaction.is_lazy || client->status != 'T' || (client->server && !client->is_fresh))
        return client_reach(client, shard);
    return link_aside(client, shard);
}

enum taken client_reach_beside(struct client *client, size_t shard)
{
    struct server *server = client->server;
    if (client->failure)
        return client_tell_failure(client);
    if (client->is_aside && client->is_harmless && server->pool->shard == shard)
        return REACHED;
    if (client->is_aside) {
        enum taken left = leave_aside(client);
        if (left != REACHED)
            return left;
    }
    if (client->server && !client->is_fresh) { /* the transaction's, which has but read there */
        enum taken parked = branch_park(client);
        if (parked != REACHED)
            return parked;
    }
    server = client->server;
    if (server && server->pool->shard != shard)
        server_unlink(server);
    return link_aside(client, shard);
}

/* ---- statements that are tried ---- */

bool client_keep_tentative(struct client *client, const struct facts *facts, const char *text, size_t size)
{
    size_t start = facts->length ? (size_t)facts->start : 0, length = facts->length ? (size_t)facts->length : size;
    if (facts->class == STATEMENT_SHOW)
        return true;
    size_t before = client->tentative ? client->tentative_size : 0;
    char *kept = memory_resize(client->tentative, before + 2 + length + 1);
    if (!kept)
        return false;
    client->tentative = kept;
    if (before) { /* the semicolon on a line of its own: the text may end in a comment */
        memcpy(kept + before, "\n;", 2);
        before += 2;
    }
    memcpy(kept + before, text + start, length);
    client->tentative_size = before + length;
    return true;
}

/* SET or SHOW in a transaction that no shard has: it was run, and now the server forgets it again. */
static void end_tentative(struct client *client, char status)
{
    struct server *server = client->server;
    client->is_tentative = false;
    if (status == 'T' && client->tentative &&
        !transaction_keep(&client->transaction, client->tentative, client->tentative_size, false))
        status = 'E';
    if (client->tentative)
        client->transaction.is_bare = false;
    if (status == 'E')
        client->transaction.has_failed = true;
    memory_free(client->tentative);
    client->tentative = NULL;
    server_roll_back(server, client->transaction.before);
}

/* ---- what changes of the schema ---- */

void client_schema_changed(struct client *client)
{
    const struct model *model = &client->worker->world->model;
    client->schema_dirty = model->engine == ENGINE_POSTGRES && model->shard_count > 1;
    own_schema_drop(&client->transaction);
    if (client->transaction.is_open) {
        client->transaction.meaning = ++client->worker->meanings * UINT64_C(0x9e3779b97f4a7c15);
        client->path = NULL; /* a schema that it names may be there now, or be gone */
        client->path_is_local = true;
    }
    if (client->schema_dirty)
        follow_give_way(client->worker->proxy->follow);
}

struct settings_sense client_sense(const struct client *client)
{
    struct settings_sense sense = client->session->sense;
    sense.schema = client->transaction.meaning;
    return sense;
}

void client_settle_schema(struct client *client)
{
    if (!client->schema_dirty)
        return;
    client->needs_reading = proxy_schema_changed(client->worker->proxy, client->schema_spread);
    client->schema_dirty = client->schema_spread = false;
}

void clients_world_changed(struct worker *worker)
{
    for (struct list *node = worker->clients.next; node != &worker->clients; node = node->next) {
        struct client *client = LIST_OWNER(struct client, node, node);
        bool welcomes = client->state == CLIENT_WELCOME; /* it has nothing to say, and waits */
        if (client->needs_reading || welcomes || client->channel.in_size || client->channel.readable)
            loop_again(&worker->loop, &client->channel.source);
    }
}

/* ---- the end of a cycle ---- */

char client_end_aside(struct client *client)
{
    client->is_aside = false;
    if (client->cycle_failed) {
        client->cycle_failed = false;
        client->transaction.has_failed = true;
        client->status = 'E';
    }
    return client->status;
}

void client_cycle_ended(struct client *client, char status)
{
    struct worker *worker = client->worker;
    bool was_aside = client->status != 'I' && client->server->status == 'I' && status != 'I';
    client->status = status;
    client->awaits_ready = client->in_segment = client->skips = client->is_opening = client->left_sync = false;
    client->went_back = false;
    struct shard_counters *counters = &worker->shards[client->server->pool->slot];
    COUNT(counters, queries, 1);
    if (__builtin_expect(client->tally != NULL, 0))
        tally_end(client);
    /* Before the server can be another's: what was read of it is this client's. */
    if (!batch_send(&worker->to_client, &client->channel)) {
        client_close(client, NULL);
        return;
    }
    if (client->is_tentative)
        end_tentative(client, status);
    if (was_aside)
        server_unlink(client->server);
    if (status == 'I') {
        client->transaction.has_written = false;
        int64_t us = worker->loop.now_us - client->began_us;
        COUNT(counters, transactions, 1);
        COUNT(counters, transaction_us, us);
        histogram_add(&counters->latency, (uint64_t)us);
        client_settle_schema(client);
        if (client->portals || client->bound.prepared)
            client_portals_clear(client);
        server_unlink(client->server);
        branches_roll_back(client); /* of a transaction that ended elsewhere than by its COMMIT: it had failed */
        if (worker->stopping) {
            client_stop(client);
            return;
        }
    }
    if (status == 'E' && client->server && transaction_may_spread(&client->transaction))
        branch_park_failed(client);
    if (client->channel.in_size || client->channel.readable)
        loop_again(&worker->loop, &client->channel.source);
}
