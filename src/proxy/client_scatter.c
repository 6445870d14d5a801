#include "proxy/client_scatter.h"

#include "base/memory.h"
#include "proxy/branch.h"
#include "proxy/changed.h"
#include "proxy/client_cursor.h"
#include "proxy/client_extended.h"
#include "proxy/client_local.h"
#include "proxy/client_portal.h"
#include "proxy/commit.h"
#include "proxy/proxy.h"
#include "proxy/record.h"
#include "proxy/route.h"
#include "proxy/stream.h"

#include <string.h>

/* ---- its begin ---- */

/* The shards answer in the client's transaction, or in one that is made for this statement. */
static bool join(struct client *client, const struct route *route)
{
    static const char begins[] = "BEGIN";
    struct transaction *transaction = &client->transaction;
    if (!transaction->is_open) {
        if (!local_begin(client, begins, sizeof begins - 1))
            return false;
        transaction->is_implicit = true;
        transaction->began = client->worker->loop.now;
    }
    transaction_replayed(transaction);
    bool reads = route->plan->kind == PLAN_SCATTER && !route->plan->scatter->locks && !route->facts->facts[0].is_write;
    transaction->has_written |= !reads;
    return true;
}

static bool note_changes(struct client *client, const struct route *route, const struct scatter_order *order)
{
    bool noted = true;
    for (size_t i = 0; i < route->facts->count && noted; i++) {
        const struct facts *facts = &route->facts->facts[i];
        const char *text = order->text + facts->start;
        size_t size = facts->length ? (size_t)facts->length : order->size - (size_t)facts->start;
        noted = changed_note(client, route->plan->write, facts, text, size);
    }
    return noted;
}

/* What the transaction itself may have changed on the home shard says nothing of others. */
static bool may_check_schema(const struct client *client)
{
    const struct server *home = branch_of(client, client->worker->world->home);
    bool may_have_written = client->transaction.has_written && home && home->status != 'I';
    return !client->schema_dirty && !may_have_written;
}

/*
 * The order has its text, and what is bound; the rest is the route's. No server is linked: the shards are asked beside
 * whatever the segment, or the transaction, had one for.
 */
static enum taken begin(struct client *client, struct scatter_order *order, const struct route *route)
{
    const struct facts *facts = &route->facts->facts[0];
    bool declares = facts->class == STATEMENT_DECLARE;
    mosaic_error error;
    enum taken taken = client_leave_server(client);
    if (taken == REACHED && declares)
        taken = cursor_check(client, facts); /* now that all before it is answered */
    if (taken != REACHED)
        return taken;
    order->plan = route->plan;
    order->cursor = declares ? facts->name : NULL;
    order->tier = route->tier;
    order->may_miss = route->may_miss;
    order->warning = route->warning;
    order->explanation = route->explanation;
    order->joins = route->joins;
    order->checks_schema = may_check_schema(client);
    if ((route->aside && !transaction_read(&client->transaction)) || (route->joins && !join(client, route)) ||
        (route->plan->kind == PLAN_WRITE && !note_changes(client, route, order)))
        return client_out_of_memory(client);
    if (route->joins && route->moment_us)
        client->transaction.moment_us = route->moment_us;
    client->scatter = scatter_new(client, order, &error);
    if (!client->scatter) {
        if (client->transaction.is_implicit)
            local_forget(client, false);
        return client_refuse(client, &error, true);
    }
    record_statement(client, order->text, order->size, route);
    if (route->warning)
        record_client(client, EVENT_SCATTER, route->warning);
    scatter_start(client->scatter);
    /* Settled at once: it failed. */
    if (!scatter_is_busy(client->scatter))
        loop_again(&client->worker->loop, &client->channel.source);
    return TAKEN_LATER;
}

enum taken client_scatter_query(struct client *client, const char *text, size_t size, const struct route *route)
{
    struct scatter_order order = {.text = text, .size = size};
    return begin(client, &order, route);
}

/*
 * What is within a transaction is run to its end at once, when it is bound: so it must be seen that it will be
 * executed. REACHED: it will. TAKEN_LATER: more must come.
 */
static enum taken await_execute(struct client *client, const struct wire_bind *bind)
{
    const char *at = client->behind, *end = at + client->behind_size;
    struct wire_frame frame;
    struct wire_named named;
    for (; wire_peek(at, (size_t)(end - at), &frame) == WIRE_MESSAGE && frame.size <= (size_t)(end - at);
         at += frame.size) {
        bool is_portal = (frame.type == WIRE_DESCRIBE || frame.type == WIRE_EXECUTE) &&
                         wire_read_named(at, &frame, &named) && strcmp(named.name, bind->portal) == 0 &&
                         (frame.type == WIRE_EXECUTE || named.kind == 'P');
        if (!is_portal || (frame.type == WIRE_EXECUTE && named.rows))
            return extended_fail(client, "0A000",
                                 "in a transaction, and to write, several shards do what is bound at once: Execute of "
                                 "all rows must follow Bind%s",
                                 "");
        if (frame.type == WIRE_EXECUTE)
            return REACHED;
    }
    return TAKEN_LATER;
}

enum taken client_scatter_bind(struct client *client, const struct wire_bind *bind, struct prepared *prepared,
                               const struct route *route)
{
    if (!extended_is_alone(client, prepared)) {
        enum taken taken = extended_send_before(client);
        if (taken != REACHED)
            return taken;
    }
    if (*bind->portal && portal_find(client, bind->portal))
        return extended_fail(client, "42P03", "portal \"%s\" already exists", bind->portal);
    if (route->plan->kind == PLAN_WRITE || route->joins) {
        enum taken taken = await_execute(client, bind);
        if (taken != REACHED)
            return taken;
    }
    struct scatter_order order = {.types = prepared->described ? prepared->described : prepared->types,
                                  .type_count = prepared->described ? prepared->described_count : prepared->type_count,
                                  .bind = bind,
                                  .text = prepared->text,
                                  .size = prepared->size};
    return begin(client, &order, route);
}

/* ---- its end ---- */

/* A transaction that nobody began has failed: its shards have let go of their locks before the client may go on.
 * REACHED: they have. */
static enum taken undo_implicit(struct client *client)
{
    mosaic_error error;
    if (!client->transaction.is_implicit || client->server || (!client->commit && !branch_is_parked(client)))
        return REACHED;
    if (!client->commit && !commit_begin_undo(client))
        return client_out_of_memory(client);
    if (commit_is_busy(client))
        return TAKEN_LATER;
    (void)!commit_end(client, &error);
    return REACHED;
}

/* The transaction that it stands in has failed; one that nobody began is over, in a segment with its Sync. */
static void fail_transaction(struct client *client)
{
    if (client->transaction.is_implicit) {
        if (!client->in_segment || undo_implicit(client) == REACHED)
            local_forget(client, false);
    } else if (client->status != 'I') {
        client->transaction.has_failed = true;
        client->status = 'E';
        if (client->transaction.is_broken)
            branches_break(client);
    }
}

/* The error goes to the client. */
static enum taken tell_failure(struct client *client, struct scatter *scatter)
{
    fail_transaction(client);
    if (client->state == CLIENT_CLOSED)
        return TAKEN_CLOSED;
    struct buffer *answer = client_answer(client);
    const struct buffer *failure = scatter_failure(scatter);
    if (buffer_failed(failure))
        return client_out_of_memory(client);
    if (scatter_is_parsed(scatter))
        client_held_answered(client, answer); /* the shards have taken their text */
    scatter_tell_notices(scatter, answer);
    buffer_add(answer, failure->data, failure->size);
    client->skips = client->in_segment;
    client->awaits_ready = false;
    if (!client->in_segment)
        wire_ready(answer, client->status);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

/* What settled without a result. REACHED: the message is to be routed anew. */
static enum taken settle(struct client *client)
{
    struct scatter *scatter = client->scatter;
    enum taken taken = REACHED;
    if (scatter_state(scatter) == SCATTER_FAILED && !client->in_segment)
        taken = undo_implicit(client);
    if (taken != REACHED)
        return taken;
    client->scatter = NULL;
    client->avoids_scatter = scatter_state(scatter) == SCATTER_UNFIT;
    if (scatter_state(scatter) == SCATTER_FAILED)
        taken = tell_failure(client, scatter);
    else if (client->transaction.is_implicit)
        local_forget(client, false); /* which it began */
    scatter_drop(scatter);
    return taken;
}

/* An INSERT's rows are read first, then written by another one. REACHED: that one, or what is none such, has settled.
 */
static enum taken read_first(struct client *client)
{
    struct scatter *scatter = client->scatter;
    if (!stream_reads(scatter) || scatter_state(scatter) > SCATTER_FINISHED)
        return REACHED;
    if (scatter_state(scatter) == SCATTER_HELD) {
        if (!batch_send(&client->worker->to_client, &client->channel)) {
            client_close(client, NULL);
            return TAKEN_CLOSED;
        }
        stream_fetch(scatter);
    } else if (scatter_state(scatter) == SCATTER_FINISHED) {
        client->scatter = stream_go_on(scatter);
        if (!scatter_is_busy(client->scatter))
            loop_again(&client->worker->loop, &client->channel.source);
    }
    return TAKEN_LATER;
}

/* A cursor that was described is there; what became of its rows is FETCH's to say. */
static bool fails_later(const struct scatter *scatter)
{
    return scatter_cursor(scatter) && scatter_state(scatter) == SCATTER_FAILED && scatter_description(scatter)->size;
}

enum taken client_scatter_queried(struct client *client)
{
    enum taken taken = read_first(client);
    if (taken != REACHED)
        return taken;
    struct scatter *scatter = client->scatter;
    const struct buffer *description = scatter_description(scatter);
    if (scatter_state(scatter) == SCATTER_STARTING)
        return TAKEN_LATER;
    if (scatter_state(scatter) != SCATTER_HELD && !fails_later(scatter))
        return settle(client);
    scatter_tell_notices(scatter, batch_make(&client->worker->to_client));
    if (scatter_cursor(scatter))
        return cursor_declared(client, scatter);
    if (!stream_writes(scatter))
        buffer_add(batch_make(&client->worker->to_client), description->data, description->size);
    client->awaits_ready = true;
    scatter_fetch(scatter, 0);
    stream_pass(scatter);
    return client->state == CLIENT_CLOSED ? TAKEN_CLOSED : TAKEN;
}

static enum taken refuse_shape(struct client *client)
{
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "cached plan must not change result type");
    return client_refuse(client, &error, true);
}

enum taken client_scatter_bound(struct client *client, const struct wire_bind *bind, struct prepared *prepared)
{
    enum taken taken = read_first(client);
    if (taken != REACHED)
        return taken;
    struct scatter *scatter = client->scatter;
    const struct buffer *description = scatter_description(scatter);
    if (scatter_state(scatter) == SCATTER_STARTING)
        return TAKEN_LATER;
    if (scatter_state(scatter) != SCATTER_HELD && !fails_later(scatter))
        return settle(client);
    client->scatter = NULL;
    bool has_shape = !scatter_copies(scatter) && !scatter_copies_in(scatter) && !scatter_cursor(scatter) &&
                     !scatter_explains(scatter) && description->size;
    if (*bind->statement && prepared->shape && has_shape &&
        prepared->shape != prepared_shape(description->data + WIRE_HEADER, description->size - WIRE_HEADER)) {
        client->avoids_scatter = scatter_combines(scatter);
        scatter_drop(scatter);
        return client->avoids_scatter ? REACHED : refuse_shape(client);
    }
    struct buffer *answer = client_answer(client);
    client_held_answered(client, answer); /* the shards have taken their text */
    scatter_tell_notices(scatter, answer);
    wire_empty(answer, WIRE_B_BIND_COMPLETE);
    struct bound bound = {.prepared = prepared, .is_local = true, .scatter = scatter};
    if (!portal_add(client, bind->portal, &bound) || !client_answered(client))
        return client_out_of_memory(client);
    return TAKEN;
}

/* ---- portals ---- */

static enum taken describe(struct client *client, const struct scatter *scatter)
{
    struct buffer *answer = client_answer(client);
    if (scatter_copies(scatter) || scatter_copies_in(scatter) || scatter_cursor(scatter) ||
        !scatter_description(scatter)->size)
        wire_empty(answer, WIRE_B_NO_DATA);
    else
        buffer_add(answer, scatter_description(scatter)->data, scatter_description(scatter)->size);
    return client_answered(client) ? TAKEN : client_out_of_memory(client);
}

enum taken client_scatter_failed(struct client *client, struct scatter *scatter)
{
    enum taken taken = tell_failure(client, scatter);
    if (taken == TAKEN)
        portal_forget(client, scatter);
    return taken;
}

enum taken client_scatter_portal(struct client *client, const struct bound *bound, const struct wire_named *named,
                                 enum expect_kind kind)
{
    struct scatter *scatter = bound->scatter;
    if (kind == EXPECT_CLOSE)
        return extended_answer_empty(client, WIRE_B_CLOSE_COMPLETE);
    if (client->status == 'E')
        return extended_fail(client, "25P02",
                             "current transaction is aborted, commands ignored until end of transaction block%s", "");
    enum taken taken = client_leave_server(client);
    if (taken != REACHED)
        return taken;
    if (scatter_state(scatter) == SCATTER_FAILED)
        return client_scatter_failed(client, scatter);
    if (kind == EXPECT_DESCRIBE_PORTAL)
        return describe(client, scatter);
    if (scatter_cursor(scatter))
        return cursor_execute(client, scatter, named->name);
    const struct buffer *description = scatter_description(scatter);
    bool copies = scatter_copies(scatter) || scatter_copies_in(scatter);
    if (copies && scatter_state(scatter) == SCATTER_HELD && !stream_writes(scatter))
        buffer_add(batch_make(&client->worker->to_client), description->data, description->size);
    client->fetching = scatter;
    scatter_fetch(scatter, copies ? 0 : named->rows);
    stream_pass(scatter);
    return client->state == CLIENT_CLOSED ? TAKEN_CLOSED : TAKEN;
}

/* What is put together is sent, and what comes behind the end is looked at. */
static void end_answer(struct client *client, struct scatter *scatter, bool is_query)
{
    struct worker *worker = client->worker;
    if (!batch_send(&worker->to_client, &client->channel)) {
        client_close(client, NULL);
        return;
    }
    if (is_query && !scatter_is_fetched(scatter)) {
        client->scatter = NULL;
        scatter_drop(scatter);
        if (client->status == 'I')
            client_portals_clear(client);
    } else if (scatter_state(scatter) == SCATTER_FAILED) {
        portal_forget(client, scatter);
    }
    if (is_query && worker->stopping && client->status == 'I')
        client_stop(client);
    else if (client->channel.in_size || client->channel.readable)
        loop_again(&worker->loop, &client->channel.source);
}

/* A simple query of its own transaction, which is over. */
static void end_query(struct client *client, bool committed, const mosaic_error *error)
{
    struct buffer *out = batch_make(&client->worker->to_client);
    char tag[SCATTER_TAG];
    local_forget(client, committed);
    if (committed) {
        scatter_tell_script(client->scatter, out);
        scatter_tag(client->scatter, tag);
        wire_complete(out, tag);
    } else {
        wire_error_response(out, "ERROR", error->sqlstate, error->message, error->detail, error->hint);
    }
    client->awaits_ready = false;
    wire_ready(out, client->status);
    end_answer(client, client->scatter, true);
}

/* What its shards have done stands before that is told. */
static void commit_query(struct client *client)
{
    if (client->failure) {
        mosaic_error error = *client->failure; /* one was lost behind its answer */
        memory_free(client->failure);
        client->failure = NULL;
        end_query(client, false, &error);
    } else if (!batch_send(&client->worker->to_client, &client->channel))
        client_close(client, NULL);
    else if (!commit_begin(client))
        (void)client_out_of_memory(client);
}

void client_scatter_committed(struct client *client)
{
    mosaic_error error;
    bool was_wanted = commit_was_wanted(client), committed = commit_end(client, &error);
    if (was_wanted)
        end_query(client, committed, &error);
    else if (tell_failure(client, client->scatter) != TAKEN_CLOSED)
        end_answer(client, client->scatter, true);
}

/* Is its failure told later? Or the client is gone. */
static bool fails_first(struct client *client, const struct scatter *scatter)
{
    if (scatter_state(scatter) != SCATTER_FAILED || client->scatter != scatter || !client->awaits_ready)
        return false;
    if (batch_send(&client->worker->to_client, &client->channel))
        return undo_implicit(client) != REACHED;
    client_close(client, NULL);
    return true;
}

void client_scatter_over(struct client *client, struct scatter *scatter)
{
    struct worker *worker = client->worker;
    struct buffer *out = batch_make(&worker->to_client);
    bool is_fetch = scatter_is_fetched(scatter), is_query = client->awaits_ready;
    char tag[SCATTER_TAG];
    if (stream_reads(scatter)) {
        loop_again(&worker->loop, &client->channel.source);
        return;
    }
    client->fetching = NULL;
    if (is_query && client->transaction.is_implicit && scatter_state(scatter) == SCATTER_FINISHED) {
        commit_query(client);
        return;
    }
    if (fails_first(client, scatter))
        return;
    if (scatter_state(scatter) != SCATTER_FAILED)
        scatter_tell_missing(scatter, out);
    if (scatter_state(scatter) == SCATTER_FAILED) {
        (void)tell_failure(client, scatter);
        if (client->state == CLIENT_CLOSED)
            return;
    } else if (scatter_state(scatter) == SCATTER_HELD && !is_fetch) {
        wire_empty(out, WIRE_B_PORTAL_SUSPENDED);
    } else {
        scatter_tell_script(scatter, out);
        scatter_tag(scatter, tag);
        if (scatter_copies(scatter))
            wire_empty(out, WIRE_B_COPY_OUT_DONE);
        wire_complete(out, tag);
    }
    if (is_query && scatter_state(scatter) != SCATTER_FAILED) {
        client->awaits_ready = false;
        wire_ready(out, client->status);
    }
    end_answer(client, scatter, is_query);
}
