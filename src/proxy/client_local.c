#include "proxy/client_local.h"

#include "base/memory.h"
#include "proxy/branch.h"
#include "proxy/client_portal.h"
#include "proxy/commit.h"
#include "proxy/effect.h"
#include "proxy/lasting.h"
#include "proxy/own_schema.h"
#include "proxy/proxy.h"
#include "proxy/reported.h"
#include "proxy/route.h"
#include "proxy/server.h"
#include "proxy/timeout.h"

#include <string.h>
#include <strings.h>

enum { PATH_TRIES = 5 }; /* then it is used for this statement, whatever changes meanwhile */

static bool has_no_server(const struct client *client)
{
    return !client->server || client->is_fresh;
}

bool local_has_failed(const struct client *client)
{
    return client->transaction.has_failed && has_no_server(client);
}

/* Lazy is worth it where there is a choice of shards. */
static bool may_be_lazy(const struct client *client)
{
    const struct model *model = &client->worker->world->model;
    return model->engine == ENGINE_POSTGRES && model->shard_count > 1;
}

/* Is it the end of a transaction that is open on several shards, and to be waited for? */
static bool ends_branches(const struct client *client)
{
    return client->commit || ((client->status == 'T' || local_has_failed(client)) && branch_is_parked(client));
}

bool local_applies(const struct client *client, const struct facts *facts)
{
    const struct transaction *transaction = &client->transaction;
    bool lazy = transaction->is_lazy && has_no_server(client);
    if (local_has_failed(client))
        return true;
    switch (facts->class) {
    case STATEMENT_BEGIN:
        return has_no_server(client) && ((lazy && !facts->has_modes) || (client->status == 'I' && may_be_lazy(client)));
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
        return (lazy && transaction->is_plain && !facts->chain) || ends_branches(client);
    case STATEMENT_SAVEPOINT:
    case STATEMENT_RELEASE:
    case STATEMENT_ROLLBACK_TO:
        return lazy;
    case STATEMENT_SET_TRANSACTION:
        return lazy && !transaction->has_read;
    case STATEMENT_CONSTRAINTS:
        return lazy && !facts->name; /* of ALL none can be missing, nor is one broken yet */
    default:
        return false;
    }
}

bool local_is_tried(const struct facts *facts)
{
    return facts->class == STATEMENT_SET || facts->class == STATEMENT_SHOW ||
           facts->class == STATEMENT_SET_TRANSACTION || facts->class == STATEMENT_CONSTRAINTS;
}

bool local_is_tentative(const struct client *client, const struct facts *facts)
{
    return client->transaction.is_lazy && has_no_server(client) && !client->is_pinned && local_is_tried(facts);
}

bool local_is_beside(struct client *client, const struct facts *facts)
{
    const struct transaction *transaction = &client->transaction;
    if (!facts->is_constant || !transaction->is_lazy || !transaction->is_bare || client->status != 'T')
        return false;
    if (transaction->has_failed || client->is_pinned || client->is_tentative || client->path_is_local ||
        client->session != transaction->before || (!has_no_server(client) && !client->is_aside))
        return false;
    return !route_wants_snapshot(client);
}

static bool fail(struct client *client, struct buffer *answer, bool *failed, const char *sqlstate, const char *message)
{
    wire_error_response(answer, "ERROR", sqlstate, message, NULL, NULL);
    *failed = true;
    if (client->transaction.is_open && client->status != 'I') {
        client->transaction.has_failed = true;
        client->status = 'E';
    }
    return !buffer_failed(answer);
}

static bool begins_with(const char *text, size_t size, const char *word)
{
    while (size && (*text == ' ' || *text == '\t' || *text == '\n' || *text == '\r')) {
        text++;
        size--;
    }
    return size >= strlen(word) && strncasecmp(text, word, strlen(word)) == 0;
}

bool local_begin(struct client *client, const char *text, size_t size)
{
    return transaction_begin(&client->transaction, client->session, text, size) && timeout_take_over(client);
}

static bool begin(struct client *client, const char *text, size_t size, struct buffer *answer)
{
    const char *tag = begins_with(text, size, "start") ? "START TRANSACTION" : "BEGIN";
    if (client->transaction.is_lazy) {
        wire_warning(answer, "25001", "there is already a transaction in progress", NULL, NULL);
    } else {
        if (!local_begin(client, text, size))
            return false;
        reported_settle(client);
        client->status = 'T';
        client->since = client->transaction.began = client->worker->loop.now;
    }
    wire_complete(answer, tag);
    return true;
}

void local_forget(struct client *client, bool committed)
{
    commit_leave(client); /* it has ended, unless nobody waits for that */
    if (!committed)
        branches_roll_back(client);
    if (committed)
        lasting_keep(client);
    struct settings_state *before = transaction_end(&client->transaction);
    client->status = 'I';
    client->path_is_local = false;
    if (committed)
        settings_release(before);
    else
        effect_set_session(client, before);
    client->path = NULL;
    client_settle_schema(client);
}

static void end(struct client *client, bool committed, struct buffer *answer)
{
    reported_undo(client, committed, answer);
    portals_drop_scattered(client, 0);
    local_forget(client, committed);
    wire_complete(answer, committed ? "COMMIT" : "ROLLBACK");
}

/* The same AND CHAIN: the next transaction begins as this one did. */
static bool chain(struct client *client, bool committed, struct buffer *answer)
{
    bool wants_snapshot = client->transaction.wants_snapshot;
    struct buffer begins = BUFFER_INIT(TRANSACTION_KEPT_MOST);
    transaction_first(&client->transaction, &begins);
    end(client, committed, answer);
    reported_settle(client);
    bool begun = !buffer_failed(&begins) && local_begin(client, buffer_string(&begins), begins.size);
    buffer_free(&begins);
    client->transaction.wants_snapshot = wants_snapshot;
    client->status = 'T';
    return begun;
}

/* What was set behind BEGIN is not kept apart from the rest. */
static enum taken refuse_chain(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "AND CHAIN of a transaction over several shards whose modes were set");
    error_detail(&error, "The next one would begin without what SET TRANSACTION said behind BEGIN.");
    error_hint(&error, "end it without AND CHAIN, or name the modes in BEGIN");
    return client_refuse(client, &error, false);
}

enum taken local_end_branches(struct client *client, const struct facts *facts)
{
    bool ends = facts->class == STATEMENT_COMMIT || facts->class == STATEMENT_ROLLBACK;
    mosaic_error error;
    if (!ends || !ends_branches(client))
        return REACHED;
    if (!client->commit && facts->chain && client->transaction.has_modes)
        return refuse_chain(client);
    if (!client->commit && client->server) {
        enum taken taken = client->is_aside ? client_leave_server(client) : branch_park(client);
        if (taken != REACHED)
            return taken;
    }
    bool undoes = facts->class == STATEMENT_ROLLBACK || local_has_failed(client);
    if (!client->commit && !(undoes ? commit_begin_undo(client) : commit_begin(client)))
        return client_out_of_memory(client);
    if (commit_is_busy(client))
        return TAKEN_LATER;
    if (commit_end(client, &error) || undoes)
        return REACHED;
    reported_undo(client, false, client_answer(client));
    if (!client_answered(client))
        return client_out_of_memory(client);
    local_forget(client, false);
    return client_refuse(client, &error, false);
}

/* What the segment did on the linked server is over. REACHED: *failed says how. */
static enum taken end_segment(struct client *client, bool *failed)
{
    enum taken taken = client->server ? branch_park(client) : REACHED;
    *failed |= taken == TAKEN;
    return taken == TAKEN ? REACHED : taken;
}

/* What a shard did of it is gone: it has failed, which is told where no other error was. */
static enum taken take_failure(struct client *client, bool *failed)
{
    enum taken taken = TAKEN;
    if (!client->failure)
        return REACHED;
    if (!*failed)
        taken = client_tell_failure(client);
    memory_free(client->failure);
    client->failure = NULL;
    *failed = true;
    return taken == TAKEN ? REACHED : taken;
}

enum taken local_end_implicit(struct client *client)
{
    mosaic_error error;
    bool failed = client->skips;
    if (!client->commit) {
        enum taken taken = end_segment(client, &failed);
        if (taken != REACHED)
            return taken;
        taken = take_failure(client, &failed);
        if (taken != REACHED)
            return taken;
        if (!(failed ? commit_begin_undo(client) : commit_begin(client)))
            return client_out_of_memory(client);
    }
    if (commit_is_busy(client))
        return TAKEN_LATER;
    bool was_wanted = commit_was_wanted(client), committed = commit_end(client, &error);
    local_forget(client, committed);
    if (committed || !was_wanted)
        return REACHED;
    struct buffer *answer = client_answer(client);
    wire_error_response(answer, "ERROR", error.sqlstate, error.message, error.detail, error.hint);
    return client_answered(client) ? REACHED : client_out_of_memory(client);
}

static bool savepoint(struct client *client, const struct facts *facts, const char *text, size_t size,
                      struct buffer *answer, bool *failed)
{
    struct transaction *transaction = &client->transaction;
    const char *name = facts->name ? facts->name : "";
    static const struct {
        enum statement_class class;
        const char *tag;
    } tags[] = {{STATEMENT_SAVEPOINT, "SAVEPOINT"},
                {STATEMENT_RELEASE, "RELEASE"},
                {STATEMENT_ROLLBACK_TO, "ROLLBACK"},
                {STATEMENT_SET_TRANSACTION, "SET"},
                {STATEMENT_CONSTRAINTS, "SET CONSTRAINTS"}};
    bool sets = facts->class == STATEMENT_SET_TRANSACTION || facts->class == STATEMENT_CONSTRAINTS;
    bool known = sets || facts->class == STATEMENT_SAVEPOINT || transaction_has_savepoint(transaction, name);
    if (!known) {
        mosaic_error error;
        (void)!error_set(&error, MOSAIC_USAGE, "savepoint \"%s\" does not exist", name);
        return fail(client, answer, failed, "3B001", error.message);
    }
    bool plain = facts->class == STATEMENT_SET_TRANSACTION && !transaction->savepoints;
    if (transaction->is_lazy &&
        !transaction_keep(transaction, text, size, plain || facts->class != STATEMENT_SET_TRANSACTION))
        return false;
    transaction->is_bare &= !sets;
    if (facts->class == STATEMENT_ROLLBACK_TO)
        reported_undo_to(client, name, answer);
    effect_apply(client, facts, text, size, "");
    if (facts->class == STATEMENT_ROLLBACK_TO) {
        client->status = 'T';
        transaction->has_failed = false;
    }
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++)
        if (tags[i].class == facts->class)
            wire_complete(answer, tags[i].tag);
    return true;
}

static bool carry_out_failed(struct client *client, const struct facts *facts, const char *text, size_t size,
                             struct buffer *answer, bool *failed)
{
    bool is_kept = transaction_may_spread(&client->transaction); /* what comes is told the shards later */
    bool ends = facts->class == STATEMENT_COMMIT || facts->class == STATEMENT_ROLLBACK;
    if (ends && facts->chain && is_kept)
        return chain(client, false, answer);
    if (ends && facts->chain)
        return fail(client, answer, failed, "0A000",
                    "AND CHAIN of a transaction that failed before a shard had it: end it by ROLLBACK, and BEGIN anew");
    if (ends) {
        end(client, false, answer);
        return true;
    }
    if (facts->class == STATEMENT_ROLLBACK_TO && is_kept)
        return savepoint(client, facts, text, size, answer, failed);
    return fail(client, answer, failed, "25P02",
                "current transaction is aborted, commands ignored until end of transaction block");
}

bool local_carry_out(struct client *client, const struct facts *facts, const char *text, size_t size,
                     struct buffer *answer, bool *failed)
{
    size_t start = facts->length ? (size_t)facts->start : 0, length = facts->length ? (size_t)facts->length : size;
    *failed = false;
    if (client->server && server_is_clean(client->server))
        server_unlink(client->server); /* fresh: not needed after all */
    if (local_has_failed(client))
        return carry_out_failed(client, facts, text + start, length, answer, failed);
    switch (facts->class) {
    case STATEMENT_BEGIN:
        return begin(client, text + start, length, answer);
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
        if (facts->chain)
            return chain(client, facts->class == STATEMENT_COMMIT, answer);
        end(client, facts->class == STATEMENT_COMMIT, answer);
        return true;
    default:
        return savepoint(client, facts, text + start, length, answer, failed);
    }
}

/* ---- what a server is asked first: the search_path, new ids, the schema ---- */

static const char *const asked_for[] = {
    [ASK_PATH] = "the session's search_path",
    [ASK_IDS] = "new ids",
    [ASK_SCHEMA] = "the schema as the transaction has changed it",
    [ASK_CHECKS] = "whether constraints hold",
};

static bool learn(struct client *client, const char *answer)
{
    mosaic_error ignored;
    switch (client->asks_for) {
    case ASK_IDS:
        return ids_learn(&client->worker->ids, answer, client->worker->loop.now);
    case ASK_SCHEMA:
        return own_schema_answered(client, &ignored) == MOSAIC_OK;
    case ASK_CHECKS:
        client->transaction.checked++;
        return true;
    default:
        return route_learn_path(client, answer);
    }
}

/* Of another connection; and behind a reading of the world, where this one knows another. */
static enum taken ask_path_again(struct client *client)
{
    struct worker *worker = client->worker;
    client->asks = false;
    client->path_tries++;
    if (client->server->unfit)
        loop_again(&worker->loop, &client->channel.source);
    else
        client->needs_reading = proxy_ask_reload(worker->proxy);
    client->server->unfit = true;
    server_unlink(client->server);
    return TAKEN_LATER;
}

/* The answer is there: remembers it, and lets go of a server that was reached for it alone. */
static enum taken take_path(struct client *client)
{
    struct server *server = client->server;
    bool is_answered = server && !server->ours_failed && server->expect.count == 0 &&
                       (server->failure.size || client->asks_for >= ASK_SCHEMA);
    if (is_answered && client->asks_for == ASK_PATH && client->path_tries < PATH_TRIES &&
        !route_path_agrees(client, buffer_string(&server->failure)))
        return ask_path_again(client);
    bool known = is_answered && learn(client, buffer_string(&server->failure));
    client->asks = false;
    if (!known)
        client->transaction.checked = 0;
    if (!known && client->asks_for == ASK_SCHEMA)
        own_schema_drop(&client->transaction);
    if (!server) { /* lost: it is told, if it has not been */
        loop_again(&client->worker->loop, &client->channel.source);
        return TAKEN_LATER;
    }
    if (!known) {
        mosaic_error error = server->error;
        if (!server->ours_failed)
            (void)!error_set(&error, MOSAIC_INTERNAL, "%s could not be found out", asked_for[client->asks_for]);
        return client_refuse(client, &error, true);
    }
    return REACHED;
}

static bool add_question(struct client *client, struct buffer *sql)
{
    if (client->asks_for == ASK_IDS)
        ids_query(client->ids_wanted, sql);
    else if (client->asks_for == ASK_SCHEMA)
        own_schema_question(client, sql);
    else if (client->asks_for == ASK_CHECKS)
        buffer_add(sql, client->worker->text, client->worker->text_size);
    else
        route_path_question(client, sql);
    return !buffer_failed(sql);
}

enum taken local_ask_path(struct client *client)
{
    if (client->asks)
        return take_path(client);
    bool was_fresh = has_no_server(client);
    size_t shard = client->asks_for == ASK_SCHEMA   ? own_schema_shard(client)
                   : client->asks_for == ASK_CHECKS ? client->transaction.checked
                   : client->server                 ? client->server->pool->shard
                                                    : route_any(client);
    if (!client_flush(client))
        return TAKEN_CLOSED;
    /* A segment that is under way may fail, and what is asked within it would never be answered. */
    enum taken taken = client->in_segment && client->status == 'T' && client->asks_for != ASK_PATH && client->server &&
                               client->server->expect.count
                           ? client_leave_server(client)
                           : REACHED;
    if (taken != REACHED)
        return taken;
    client->probes = true; /* no transaction is opened for it */
    taken = client_reach(client, shard);
    client->probes = false;
    if (taken != REACHED)
        return taken;
    struct buffer sql = BUFFER_INIT(TRANSACTION_KEPT_MOST + 256);
    /* A server that comes to it only now has the settings from before the transaction. */
    bool sets = client->path_is_local || client->session != client->transaction.before;
    bool replays = was_fresh && client->transaction.is_lazy && sets;
    if (replays)
        buffer_text(&sql, buffer_string(&client->transaction.kept));
    bool added = add_question(client, &sql);
    if (replays)
        buffer_text(&sql, ";ROLLBACK");
    buffer_clear(&client->server->failure);
    client->asks = added && !buffer_failed(&sql) && server_ask(client->server, sql.data);
    buffer_free(&sql);
    if (!client->asks) {
        server_close(client->server, NULL);
        return TAKEN_LATER;
    }
    return TAKEN_LATER;
}

enum taken local_route(struct client *client, struct prepared *prepared, struct route *route)
{
    enum taken taken = client->asks ? local_ask_path(client) : REACHED;
    if (taken != REACHED)
        return taken;
    if (!route_facts(client, prepared, route))
        return client_out_of_memory(client);
    return route->way == ROUTE_ASK ? local_ask_path(client) : REACHED;
}
