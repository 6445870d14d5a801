/*
 * The life of a scatter: its states, its end, what its client wants of it. scatter_new.c begins it, leg_server.c gets
 * its legs servers, leg.c has their answers, scatter_rows.c puts these together.
 */
#include "base/memory.h"
#include "proxy/cancel.h"
#include "proxy/client_scatter.h"
#include "proxy/copy_in.h"
#include "proxy/given.h"
#include "proxy/leg.h"
#include "proxy/proxy.h"
#include "proxy/server.h"
#include "proxy/spool.h"
#include "proxy/stream.h"
#include "proxy/tally.h"

#include <inttypes.h>
#include <stdio.h>

enum { LEFT_MS = 100 }; /* how long a shard may go on behind the end */

/* ---- its end ---- */

void leg_freed(struct source *source)
{
    struct leg *leg = (struct leg *)LIST_OWNER(struct client, channel.source, source);
    struct scatter *scatter = leg->scatter;
    if (++scatter->buried < scatter->leg_count)
        return;
    copy_in_free(scatter->copy_in);
    spool_free(scatter->spool);
    given_free(scatter->rows_given);
    arena_free(&scatter->arena);
    memory_free(scatter);
}

static void free_asking(struct asking *asking)
{
    if (!asking)
        return;
    prepared_release(asking->kept);
    buffer_free(&asking->request);
    bound_values_free(&asking->bound);
}

static void bury(struct scatter *scatter)
{
    timer_cancel(&scatter->timer);
    merge_free(scatter->merge);
    prepared_release(scatter->final_kept);
    free_asking(&scatter->asking);
    buffer_free(&scatter->notices);
    buffer_free(&scatter->description);
    buffer_free(&scatter->failure);
    buffer_free(&scatter->script);
    buffer_free(&scatter->lines);
    combine_free(scatter);
    move_free(scatter);
    pick_free(scatter);
    for (size_t i = 0; i < scatter->leg_count; i++) {
        struct leg *leg = &scatter->legs[i];
        if (leg->asking != &scatter->asking)
            free_asking(leg->asking);
        buffer_free(&leg->rows);
        buffer_free(&leg->next);
        memory_free(leg->client.failure);
        settings_release(leg->client.session);
        leg->client.state = CLIENT_CLOSED;
        loop_bury(&scatter->worker->loop, &leg->client.channel.source);
    }
}

static void settled(struct scatter *scatter);

void leg_over(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    if (leg->state == LEG_OVER)
        return;
    leg->state = LEG_OVER;
    if (--scatter->active == 0 && scatter->client && scatter->fails_last) {
        write_tell_done(scatter);
        scatter_turn(scatter, SCATTER_FAILED);
    } else if (scatter->active == 0 && !scatter->client)
        bury(scatter);
    else if (scatter->active == 0 && scatter->is_settling)
        settled(scatter);
}

/* Of one that was asked. False: it cannot be told. Its server may be the one that is being read, or be lost already,
 * which leg_again is to tell. */
static bool cancel_leg(struct leg *leg)
{
    if (leg->state != LEG_ASKED || leg->is_cancelled || !leg->client.server)
        return true;
    leg->is_cancelled = true;
    if (leg->scatter->copy_in)
        copy_in_stop(leg); /* a server that waits for data does not look at what cancels it */
    if (cancel_server(leg->client.server))
        return true;
    leg->client.server->unfit = true;
    return false;
}

/* Where no server is being read: who cannot be told is closed. */
static void cancel_legs(struct scatter *scatter)
{
    for (size_t i = 0; i < scatter->leg_count; i++)
        if (!cancel_leg(&scatter->legs[i]))
            server_close(scatter->legs[i].client.server, NULL); /* leg_lost */
}

void leg_drop(struct leg *leg)
{
    struct client *client = &leg->client;
    if (leg->is_idle) {
        leg->is_idle = false;
        leg_let_go(leg);
        leg_over(leg);
        return;
    }
    switch (leg->state) {
    case LEG_NEW:
        pool_forget(client);
        if (client->server)
            leg_let_go(leg);
        leg_over(leg);
        break;
    case LEG_SENDING:
        if (client->server)
            server_close(client->server, NULL); /* leg_lost */
        break;
    case LEG_ASKED:
        if (leg->scatter->state != SCATTER_FINISHED)
            (void)cancel_leg(leg);
        break;
    default:
        break;
    }
}

/* Of a transaction's servers none is stopped, but where that has failed: they are read over. */
static void stop_legs(struct scatter *scatter)
{
    for (size_t i = 0; i < scatter->leg_count && scatter->state == SCATTER_FAILED; i++)
        (void)cancel_leg(&scatter->legs[i]);
}

/* What is asked of a shard beyond what was wanted ends by itself, or is ended soon. */
static void finish(struct scatter *scatter)
{
    bool goes_on = false;
    scatter->ended_us = scatter->worker->loop.now_us;
    timer_cancel(&scatter->timer);
    for (size_t i = 0; i < scatter->leg_count; i++) {
        struct leg *leg = &scatter->legs[i];
        goes_on |= leg->state == LEG_ASKED;
        if (leg->state == LEG_NEW)
            loop_again(&scatter->worker->loop, &leg->client.channel.source);
        if (leg->is_idle)
            leg_drop(leg);
    }
    if (scatter->joins)
        stop_legs(scatter);
    else if (goes_on)
        timer_set(&scatter->worker->loop.timers, &scatter->timer, scatter->worker->loop.now + LEFT_MS);
    scatter_wake(scatter); /* rows that nobody wants are read over */
}

void scatter_drop(struct scatter *scatter)
{
    if (!scatter)
        return;
    if (scatter->client)
        tally_scatter(scatter);
    scatter_drop(scatter->next);
    scatter->next = NULL;
    scatter->client = NULL;
    if (scatter->state < SCATTER_FINISHED)
        timer_cancel(&scatter->timer);
    scatter->active++; /* until all are looked at */
    for (size_t i = 0; i < scatter->leg_count; i++)
        leg_drop(&scatter->legs[i]);
    scatter_wake(scatter);
    if (--scatter->active == 0)
        bury(scatter);
}

/* What has failed, and waits for the others, is told now. */
static void end_wait(struct scatter *scatter)
{
    scatter->is_stopped = true;
    scatter->fails_last = false;
}

void scatter_cancel(struct scatter *scatter)
{
    mosaic_error error;
    bool waits = false;
    for (size_t i = 0; i < scatter->leg_count; i++)
        waits |= scatter->legs[i].state <= LEG_SENDING || scatter->copy_in;
    if (!waits) {
        cancel_legs(scatter);
        return;
    }
    (void)!error_set(&error, MOSAIC_INTERRUPTED, "canceling statement due to user request");
    end_wait(scatter);
    scatter_fail(scatter, &error);
    scatter_flush(scatter);
}

/* ---- states ---- */

/* What is still to come in this turn, as ReadyForQuery, goes with what was put together. */
static void over(struct scatter *scatter)
{
    struct client *client = scatter->client;
    client_scatter_over(client, scatter);
    channel_release(&client->channel);
}

static void tell(struct scatter *scatter, bool was_running)
{
    if (was_running)
        over(scatter);
    else
        loop_again(&scatter->worker->loop, &scatter->client->channel.source);
}

/* The servers of its transaction have all come back. */
static void settled(struct scatter *scatter)
{
    scatter->is_settling = false;
    tell(scatter, scatter->was_running);
}

void scatter_turn(struct scatter *scatter, enum scatter_state state)
{
    bool was_running = scatter->state == SCATTER_RUNNING;
    if (!scatter->client || scatter->state >= SCATTER_FINISHED)
        return;
    if (state == SCATTER_FINISHED && scatter->fails_last)
        return;
    scatter->state = state;
    if (state >= SCATTER_FINISHED)
        finish(scatter);
    if (state >= SCATTER_FINISHED && scatter->joins && scatter->active) {
        scatter->is_settling = true;
        scatter->was_running = was_running;
        return;
    }
    tell(scatter, was_running);
}

/* The first failure counts. */
static bool may_fail(const struct scatter *scatter)
{
    return scatter->client && scatter->state < SCATTER_FINISHED && !scatter->fails && !scatter->fails_last;
}

static void fail(struct scatter *scatter)
{
    if (scatter_fails_last(scatter) && scatter->active) {
        scatter->fails_last = true;
        return;
    }
    if (scatter_fails_last(scatter))
        write_tell_done(scatter);
    if (leg_is_talking(scatter->talking))
        scatter->fails = true;
    else
        scatter_turn(scatter, SCATTER_FAILED);
}

void scatter_fail_by(struct scatter *scatter, const char *message, size_t size)
{
    if (!may_fail(scatter))
        return;
    buffer_clear(&scatter->failure);
    buffer_add(&scatter->failure, message, size);
    fail(scatter);
}

void scatter_fail(struct scatter *scatter, const mosaic_error *error)
{
    if (!may_fail(scatter))
        return;
    COUNT(scatter->worker->errors, from_proxy[error_class(error->sqlstate)], 1);
    buffer_clear(&scatter->failure);
    wire_error_response(&scatter->failure, "ERROR", error->sqlstate, error->message, error->detail, error->hint);
    fail(scatter);
}

void scatter_stop(struct scatter *scatter, const mosaic_error *error)
{
    end_wait(scatter);
    if (!may_fail(scatter))
        return;
    for (size_t i = 0; i < scatter->leg_count; i++)
        (void)cancel_leg(&scatter->legs[i]);
    scatter_fail(scatter, error);
}

void scatter_timed_out(struct timer *timer)
{
    struct scatter *scatter = LIST_OWNER(struct scatter, timer, timer);
    mosaic_error error;
    if (scatter->state >= SCATTER_FINISHED) {
        cancel_legs(scatter);
        return;
    }
    if (scatter->fails) {
        client_close(scatter->client, NULL); /* it has a part of a row, and the rest does not come */
        return;
    }
    (void)!error_set(&error, MOSAIC_TIMEOUT, "canceling statement due to scatter_timeout");
    error_sqlstate(&error, "57014");
    COUNT(&scatter->worker->counters, query_timeouts, 1);
    scatter_stop(scatter, &error);
    if (scatter->fails && scatter->state < SCATTER_FINISHED)
        timer_set(&scatter->worker->loop.timers, timer,
                  scatter->worker->loop.now + scatter->worker->settings->cancel_wait_timeout);
    scatter_flush(scatter);
}

enum scatter_state scatter_state(const struct scatter *scatter)
{
    return scatter->state;
}

bool scatter_is_busy(const struct scatter *scatter)
{
    return scatter->state == SCATTER_STARTING || scatter->state == SCATTER_RUNNING || scatter->is_settling;
}

bool scatter_is_talking(const struct scatter *scatter)
{
    return leg_is_talking(scatter->talking);
}

const struct buffer *scatter_description(const struct scatter *scatter)
{
    return &scatter->description;
}

void scatter_tell_notices(struct scatter *scatter, struct buffer *out)
{
    if (scatter->notices.size)
        buffer_add(out, scatter->notices.data, scatter->notices.size);
    buffer_clear(&scatter->notices);
}

bool scatter_explains(const struct scatter *scatter)
{
    return scatter->facts.explains != NULL;
}

const char *scatter_cursor(const struct scatter *scatter)
{
    return scatter->cursor;
}

void scatter_declared(struct scatter *scatter)
{
    scatter->cursor = NULL;
}

bool scatter_is_fetched(const struct scatter *scatter)
{
    return scatter->is_fetched;
}

bool scatter_copies(const struct scatter *scatter)
{
    return scatter->facts.is_copy;
}

void scatter_tag(const struct scatter *scatter, char tag[SCATTER_TAG])
{
    if (scatter->is_fetched)
        snprintf(tag, SCATTER_TAG, "FETCH %" PRIu64, scatter->fetched);
    else if (scatter_explains(scatter))
        snprintf(tag, SCATTER_TAG, "EXPLAIN");
    else if (scatter->write && scatter->write->tags == TAGS_WORDS)
        snprintf(tag, SCATTER_TAG, "%s", scatter->words);
    else if (scatter->write)
        snprintf(tag, SCATTER_TAG, "%s %" PRIu64, scatter->write->tag, scatter->written);
    else if (scatter_copies(scatter))
        snprintf(tag, SCATTER_TAG, "COPY %" PRIu64, scatter->copied);
    else
        snprintf(tag, SCATTER_TAG, "SELECT %" PRIu64, scatter->fetched);
}

bool scatter_is_parsed(const struct scatter *scatter)
{
    return scatter->is_parsed;
}

void scatter_tell_script(const struct scatter *scatter, struct buffer *out)
{
    if (scatter->script.size)
        buffer_add(out, scatter->script.data, scatter->script.size);
}

const struct buffer *scatter_failure(const struct scatter *scatter)
{
    return &scatter->failure;
}

void scatter_start(struct scatter *scatter)
{
    struct worker *worker = scatter->worker;
    int64_t timeout = worker->settings->scatter_timeout;
    scatter->began_us = worker->loop.now_us;
    if (timeout)
        timer_set(&worker->loop.timers, &scatter->timer, worker->loop.now + timeout);
    scatter_reach(scatter);
}

static void fetch(struct scatter *scatter, uint64_t most, bool is_sql)
{
    scatter->is_fetched = is_sql;
    scatter->fetched = 0;
    scatter->most = most;
    if (scatter->state != SCATTER_HELD) {
        client_scatter_over(scatter->client, scatter); /* there are none behind the end */
        return;
    }
    scatter->state = SCATTER_RUNNING;
    if (!scatter->notices.size && !scatter->copy_in)
        channel_cork(&scatter->client->channel);
    if (!stream_reads(scatter))
        scatter_tell_notices(scatter, batch_make(&scatter->worker->to_client));
    for (size_t i = 0; i < scatter->leg_count; i++)
        scatter->legs[i].client.since = scatter->worker->loop.now;
    scatter_merge(scatter);
    if (scatter->state == SCATTER_RUNNING)
        scatter_wake(scatter);
}

void scatter_fetch(struct scatter *scatter, uint64_t most)
{
    fetch(scatter, most, false);
}

void scatter_fetch_sql(struct scatter *scatter, uint64_t most)
{
    fetch(scatter, most, true);
}

void scatter_resume(struct scatter *scatter)
{
    if (scatter->state != SCATTER_RUNNING || stream_reads(scatter) || channel_stuck(&scatter->client->channel))
        return;
    stream_pass(scatter);
    scatter_merge(scatter);
    if (scatter->client && scatter->state == SCATTER_RUNNING)
        scatter_wake(scatter);
    scatter_flush(scatter);
}

void scatter_wake(struct scatter *scatter)
{
    for (size_t i = 0; i < scatter->leg_count; i++) {
        struct leg *leg = &scatter->legs[i];
        if (!leg->is_held)
            continue;
        leg->is_held = false;
        if (leg->client.server)
            loop_again(&scatter->worker->loop, &leg->client.server->channel.source);
    }
}

void scatter_flush(struct scatter *scatter)
{
    struct batch *batch = &scatter->worker->to_client;
    struct client *client = scatter->client;
    if (stream_reads(scatter)) {
        stream_keep(scatter);
        return;
    }
    if (!client) {
        batch_drop(batch);
        return;
    }
    if (!batch_send(batch, &client->channel))
        client_close(client, NULL); /* which drops it */
}
