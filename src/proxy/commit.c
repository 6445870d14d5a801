#include "base/control_point.h"
#include "base/memory.h"
#include "core/sqlexpr.h"
#include "proxy/branch.h"
#include "proxy/cancel.h"
#include "proxy/commit_part.h"
#include "proxy/lasting.h"
#include "proxy/proxy.h"
#include "proxy/route.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the end ---- */

static void free_commit(struct commit *commit)
{
    commit->worker->commits--;
    memory_free(commit->prepared);
    settings_release(commit->session);
    settings_release(commit->before);
    memory_free(commit);
}

/* PREPARE keeps what was SET, as COMMIT does, whatever becomes of the rows (src/backend/access/transam/xact.c). */
static bool keeps_settings(const struct commit_part *part)
{
    return part->commit->committed || part->state != PART_OPEN;
}

/* Its servers serve others again. */
static void let_go(struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        struct server *server = part->server;
        if (!server)
            continue;
        part->server = NULL;
        server->part = NULL;
        bool keeps = keeps_settings(part), knows = keeps || server_has_gone_back(server, commit->before);
        if (keeps) {
            settings_release(server->session);
            server->session = settings_hold(commit->session);
        }
        bool is_unsure = part->failed && part->state == PART_PREPARED; /* what was SET for its end may still be */
        if (knows && !is_unsure && server_is_clean(server))
            server_free(server, commit->client, commit->is_pinned);
        else
            server_close(server, NULL);
    }
}

/*
 * Other proxies are told before the client is: whoever hears from it that the change is made finds it everywhere. So
 * are they where the client has gone.
 */
static void tell_schema(struct commit *commit)
{
    struct client *client = commit->client;
    uint64_t reading = proxy_schema_changed(commit->worker->proxy, true);
    if (!client)
        return;
    client->needs_reading = reading;
    client->schema_dirty = client->schema_spread = false;
}

static void over(struct commit *commit)
{
    bool is_undone = commit->phase == UNDOES && !commit->is_best_effort;
    if (commit->spreads && !is_undone)
        tell_schema(commit);
    commit->phase = OVER;
    let_go(commit);
    if (commit->client)
        loop_again(&commit->worker->loop, &commit->client->channel.source);
    else
        free_commit(commit);
}

static void undo(struct commit *commit, const struct commit_part *failed)
{
    commit->phase = UNDOES;
    commit->error = failed->error;
    error_shard(&commit->error, failed->name);
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        if (!part->server && part->state == PART_PREPARED)
            settle_soon(commit->worker->proxy);
        if (!part->server)
            continue;
        if (part->state == PART_PREPARED && part->server->status == 'I')
            part_end_prepared(part, "ROLLBACK PREPARED ");
        else if (part->server->status != 'I')
            part_ask(part, "ROLLBACK");
        else if (part->has_held && part->state == PART_ENDED)
            ask_close_held(part);
    }
}

/* ---- the steps ---- */

static bool parts_have_ended(const struct commit *commit)
{
    bool all = true;
    for (size_t i = 0; i < commit->count; i++)
        all &= !is_prepared_kind(&commit->parts[i]) || commit->parts[i].state == PART_ENDED;
    return all;
}

static bool is_own(const struct commit *commit)
{
    return commit->client && commit->is_pinned;
}

/*
 * All have acknowledged: the word is not needed any more; what this leaves, recovery drops. True: it is waited for, as
 * the server stays its client's own.
 */
static bool forget(struct commit *commit)
{
    struct commit_part *decider = commit->decider;
    struct server *server = decider ? decider->server : NULL;
    struct buffer sql = BUFFER_INIT(4 * GID_SIZE);
    bool all = server && !commit->is_single && parts_have_ended(commit), waits = all && is_own(commit);
    control_point("commit.done");
    if (commit->count > 1 && !commit->is_single && !parts_have_ended(commit))
        settle_soon(commit->worker->proxy);
    if (!all)
        return false;
    buffer_text(&sql, "SELECT mosaic.forget(");
    sql_literal(&sql, commit->gid.base, strlen(commit->gid.base));
    buffer_text(&sql, ")");
    if (waits) {
        commit->phase = FORGETS;
        part_ask(decider, buffer_string(&sql));
    } else {
        decider->server = NULL;
        server->part = NULL;
        settings_release(server->session);
        server->session = settings_hold(commit->session);
        if (!server_ask(server, buffer_string(&sql)))
            server_close(server, NULL);
    }
    buffer_free(&sql);
    return waits;
}

/* ---- answers ---- */

static bool name_parts(struct commit *commit)
{
    struct commit_part *decider = commit->decider;
    mosaic_error error;
    if (gid_make(&commit->gid, commit->hex, decider->name, decider->xid, &error) != MOSAIC_OK)
        return false;
    for (size_t i = 0; i < commit->count; i++)
        if (!gid_part_name(&commit->gid, commit->parts[i].name, commit->parts[i].prepared))
            return false;
    return true;
}

static void looked(struct commit *commit)
{
    size_t writers = 0;
    for (size_t i = 0; i < commit->count; i++)
        if (*commit->parts[i].xid) {
            commit->decider = &commit->parts[i]; /* the last one that has written */
            writers++;
        }
    commit->is_single = writers <= 1;
    if (!commit->is_single && commit->is_best_effort) {
        commit->phase = TRIES;
        return;
    }
    if (writers > 1 && !name_parts(commit)) {
        (void)!error_set(&commit->decider->error, MOSAIC_UNSUPPORTED,
                         "the name of a shard cannot stand in the name of a prepared transaction");
        undo(commit, commit->decider);
        return;
    }
    ask_prepare(commit);
}

static bool go_on(struct commit *commit);

static void was_settled(struct settlement *settlement)
{
    struct commit *commit = (struct commit *)(void *)((char *)settlement - offsetof(struct commit, settlement));
    struct commit_part *decider = commit->decider;
    commit->is_sending = true;
    switch (settlement->outcome) {
    case SETTLED_COMMITTED:
        ask_finish(commit);
        break;
    case SETTLED_ABORTED:
        undo(commit, decider);
        break;
    default:
        commit->error = settlement->error;
        error_sqlstate(&commit->error, "08007");
        error_shard(&commit->error, decider->name);
        commit->phase = UNKNOWN;
        break;
    }
    commit->is_sending = false;
    (void)go_on(commit);
}

/* The answer to the COMMIT that decides was lost: it is asked again, on another connection. False: it cannot be. */
static bool ask_again(struct commit *commit)
{
    struct settlement *settlement = &commit->settlement;
    *settlement = (struct settlement){.gid = commit->gid, .worker = commit->worker, .done = was_settled};
    commit->prepared = memory_zeroed(commit->count, sizeof *commit->prepared);
    for (size_t i = 0; commit->prepared && i < commit->count; i++) {
        const struct commit_part *part = &commit->parts[i];
        struct settlement_part *to = &commit->prepared[settlement->part_count];
        if (!is_prepared_kind(part))
            continue;
        memcpy(to->shard, part->name, sizeof to->shard);
        memcpy(to->xid, part->xid, sizeof to->xid);
        settlement->part_count++;
    }
    settlement->parts = commit->prepared;
    commit->phase = ASKS;
    return commit->prepared && settle_ask(commit->worker->proxy, settlement);
}

/* Nobody can say how it ended. */
static void in_doubt(struct commit *commit)
{
    const struct commit_part *decider = commit->decider;
    (void)!error_set(&commit->error, MOSAIC_IN_DOUBT,
                     "the outcome of the transaction is not known: shard %s did not answer its COMMIT", decider->name);
    error_detail(&commit->error, "%s", decider->error.message);
    error_hint(&commit->error, "look whether its rows are there before it is run again");
    error_sqlstate(&commit->error, "08007");
    error_shard(&commit->error, decider->name);
    over(commit);
}

/* False: it is over. */
static bool decided(struct commit *commit)
{
    struct commit_part *decider = commit->decider;
    if (decider && !decider->server && !commit->is_single && ask_again(commit))
        return true;
    if (decider && !decider->server) {
        in_doubt(commit);
        return false;
    }
    if (decider && decider->failed)
        undo(commit, decider);
    else
        ask_finish(commit);
    return true;
}

/* False: it is over. */
static bool finished(struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        if (is_prepared_kind(part) && part->server && !part->failed)
            part->state = PART_ENDED;
    }
    control_point("commit.finished");
    if (forget(commit))
        return true;
    over(commit);
    return false;
}

/* The next one commits. False: all have, or it is over for want of one. */
static bool try_next(struct commit *commit)
{
    struct buffer done = BUFFER_INIT(256);
    for (size_t i = 0; i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        if (part->state == PART_OPEN && !part->failed && part->server && part->server->status != 'I') {
            buffer_free(&done);
            part_ask(part, "COMMIT");
            buffer_free(&done);
            return true;
        }
        if (part->failed || !part->server) {
            undo(commit, part);
            if (!part->server)
                error_sqlstate(&commit->error, "08007");
            if (done.size) {
                error_detail(&commit->error, "It is committed on %s, and not elsewhere (mosaic.commit is best_effort).",
                             buffer_string(&done));
                error_sqlstate(&commit->error, "08007");
            }
            buffer_free(&done);
            return true;
        }
        buffer_format(&done, "%s%s", done.size ? ", " : "", part->name);
    }
    buffer_free(&done);
    commit->committed = true;
    over(commit);
    return false;
}

static const struct commit_part *first_failed(const struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++)
        if (commit->parts[i].failed || (!commit->parts[i].server && commit->phase <= PREPARES))
            return &commit->parts[i];
    return NULL;
}

/* A cancel request is on its way to it, which must not meet what is not to be stopped. */
static bool is_to_be_stopped(const struct commit_part *part)
{
    return part->server && part->server->cancels && part->commit->phase <= PREPARES;
}

static bool awaits(const struct commit *commit)
{
    bool any = commit->phase == ASKS;
    for (size_t i = 0; i < commit->count; i++)
        any |= commit->parts[i].awaited > 0 || is_to_be_stopped(&commit->parts[i]);
    return any;
}

/* All that was asked is answered: the next step. False: it is over. */
static bool step(struct commit *commit)
{
    const struct commit_part *failed = commit->phase <= PREPARES ? first_failed(commit) : NULL;
    if (failed) {
        undo(commit, failed);
        return true;
    }
    switch (commit->phase) {
    case LOOKS:
        looked(commit);
        return true;
    case PREPARES:
        if (commit->is_single)
            ask_commit_alone(commit);
        else
            ask_decide(commit);
        return true;
    case DECIDES:
        return decided(commit);
    case TRIES:
        return try_next(commit);
    case FINISHES:
        return finished(commit);
    default:
        over(commit);
        return false;
    }
}

static bool go_on(struct commit *commit)
{
    while (!commit->is_sending && !awaits(commit)) {
        commit->is_sending = true;
        if (!step(commit))
            return false;
        commit->is_sending = false;
    }
    return true;
}

void commit_answered(struct commit_part *part)
{
    const struct commit *commit = part->commit;
    part_take_end(part);
    if (commit->phase == PREPARES)
        control_point("commit.prepared_one");
    if (commit->phase == FINISHES)
        control_point("commit.committed_one");
    (void)go_on(part->commit);
}

void commit_cancel_ended(struct commit_part *part)
{
    (void)go_on(part->commit);
}

void commit_part_lost(struct commit_part *part, const mosaic_error *why)
{
    struct commit *commit = part->commit;
    part->server = NULL;
    part->awaited = 0;
    if (why)
        part->error = *why;
    else
        (void)!error_set(&part->error, MOSAIC_UNREACHABLE, "the connection to shard %s was lost", part->name);
    (void)go_on(commit);
}

const void *commit_owner(const struct commit_part *part, uint64_t **number)
{
    struct commit *commit = part->commit;
    *number = commit->client ? &commit->client->transaction.number : &commit->number;
    return commit->client ? (const void *)commit->client : commit;
}

/* ---- its client ---- */

static void take_part(struct commit *commit, struct server *server)
{
    struct commit_part *part = &commit->parts[commit->count++];
    const struct model *model = &commit->worker->world->model;
    part->commit = commit;
    part->server = server;
    part->shard = server->pool->shard;
    snprintf(part->name, sizeof part->name, "%s", model->shards[part->shard].name);
    part->has_held = lasting_is_declared_on(commit->client, server->number);
    size_t told = server->told;
    branch_link(commit->client, server);
    commit->client->server = NULL;
    server->client = NULL;
    server->keeper = NULL;
    server->state = SERVER_RESETTING;
    server->part = part;
    server->told = told;
}

static int by_shard(const void *left, const void *right)
{
    const struct server *const *a = left, *const *b = right;
    return ((*a)->pool->shard > (*b)->pool->shard) - ((*a)->pool->shard < (*b)->pool->shard);
}

/* With all that take part. NULL: memory is out. */
static struct commit *commit_new(struct client *client)
{
    size_t count = 0;
    mosaic_error error;
    for (struct list *node = client->kept.next; node != &client->kept; node = node->next)
        count++;
    struct commit *commit = memory_zeroed(1, sizeof *commit + count * sizeof *commit->parts);
    struct server **servers = memory_zeroed(count + 1, sizeof *servers);
    if (!commit || !servers || gid_draw(commit->hex, &error) != MOSAIC_OK) {
        memory_free(commit);
        memory_free(servers);
        return NULL;
    }
    count = 0;
    for (struct list *node = client->kept.next; node != &client->kept; node = node->next) {
        struct server *server = LIST_OWNER(struct server, kept_node, node);
        if (server->status != 'I')
            servers[count++] = server;
    }
    qsort(servers, count, sizeof *servers, by_shard);
    commit->client = client;
    commit->worker = client->worker;
    commit->is_pinned = client->is_pinned;
    commit->spreads = client->schema_spread;
    commit->readers_first = route_keeps_snapshot(client);
    commit->is_best_effort = branch_commit_way(client) == COMMIT_BEST_EFFORT;
    commit->session = settings_hold(client->session);
    commit->before = settings_hold(client->transaction.before);
    client->commit = commit;
    commit->worker->commits++;
    for (size_t i = 0; i < count; i++)
        take_part(commit, servers[i]);
    memory_free(servers);
    commit->began = commit->worker->loop.now;
    return commit;
}

/* Nothing of it is left to be committed. */
static void begin_undo(struct commit *commit)
{
    commit->phase = UNDOES;
    for (size_t i = 0; i < commit->count; i++)
        part_ask(&commit->parts[i], "ROLLBACK");
}

bool commit_begin(struct client *client)
{
    struct commit *commit = commit_new(client);
    if (!commit)
        return false;
    commit->is_sending = true;
    if (client->transaction.is_broken) {
        (void)!error_set(&commit->error, MOSAIC_UNREACHABLE, "what the transaction did on a shard is gone");
        begin_undo(commit);
    } else {
        ask_look(commit);
    }
    commit->is_sending = false;
    (void)go_on(commit);
    return true;
}

bool commit_begin_undo(struct client *client)
{
    struct commit *commit = commit_new(client);
    if (!commit)
        return false;
    commit->is_undo = true;
    commit->is_sending = true;
    begin_undo(commit);
    commit->is_sending = false;
    (void)go_on(commit);
    return true;
}

bool commit_was_wanted(const struct client *client)
{
    return !client->commit->is_undo;
}

bool commit_undoes(const struct client *client)
{
    return client->commit && client->commit->phase == UNDOES;
}

/* Not a word that others follow: a wait for its replicas that is cut short would leave it to be lost in a failover. */
static bool may_be_cancelled(const struct commit *commit)
{
    return commit->phase <= PREPARES || (commit->phase == DECIDES && commit->is_single);
}

bool commit_cancel(struct client *client)
{
    struct commit *commit = client->commit;
    bool any = false;
    for (size_t i = 0; may_be_cancelled(commit) && i < commit->count; i++) {
        struct commit_part *part = &commit->parts[i];
        if (part->server && part->awaited && !part->server->cancels)
            any |= cancel_server(part->server);
    }
    return any;
}

static void give_up_part(struct commit_part *part)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNREACHABLE, "shard %s did not answer %s within %s", part->name,
                     part->commit->phase == UNDOES ? "ROLLBACK" : "COMMIT",
                     part->commit->worker->settings->query_timeout ? "query_timeout" : "cancel_wait_timeout");
    if (part->commit->phase <= PREPARES)
        error_detail(&error, "Nothing of the transaction is committed.");
    error_shard(&error, part->name);
    server_close(part->server, &error); /* commit_part_lost */
}

void commit_give_up(struct client *client)
{
    struct commit *commit = client->commit;
    commit->is_sending = true;
    for (size_t i = 0; i < commit->count; i++)
        if (commit->parts[i].server && commit->parts[i].awaited)
            give_up_part(&commit->parts[i]);
    commit->is_sending = false;
    commit->began = commit->worker->loop.now;
    (void)go_on(commit);
}

int64_t commit_began(const struct client *client)
{
    return client->commit->began;
}

bool commit_is_busy(const struct client *client)
{
    return client->commit && client->commit->phase != OVER;
}

bool commit_end(struct client *client, mosaic_error *error)
{
    struct commit *commit = client->commit;
    bool committed = commit->committed;
    *error = commit->error;
    client->commit = NULL;
    free_commit(commit);
    return committed;
}

void commit_leave(struct client *client)
{
    struct commit *commit = client->commit;
    client->commit = NULL;
    if (!commit)
        return;
    commit->client = NULL;
    commit->number = client->transaction.number;
    if (commit->phase == OVER)
        free_commit(commit);
}
