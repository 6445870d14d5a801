/*
 * How legs come to servers, are asked, and lose them.
 */
#include "catalog/schema_read.h"
#include "proxy/branch.h"
#include "proxy/leg.h"
#include "proxy/proxy.h"
#include "proxy/server.h"
#include "proxy/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { REQUEST_MOST = WIRE_LENGTH_MOST };

/*
 * May its shard still be asked, by the plan that there is? Before anything was told, whatever was read anew is planned
 * anew. Later the rows of this shard must be those that the plan meant.
 */
bool leg_is_current(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    const struct world *world = scatter->worker->world;
    mosaic_error error;
    if (world->version == scatter->version)
        return true;
    if (scatter->state == SCATTER_STARTING && !scatter->write) {
        scatter_turn(scatter, SCATTER_STALE);
        return false;
    }
    if (world->model.epoch == scatter->epoch && leg->shard < world->model.shard_count &&
        world->slots[leg->shard] == leg->slot)
        return true;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "the map has changed before shard %s was asked", leg->name);
    error_sqlstate(&error, "40001");
    error_hint(&error, "run the statement again");
    scatter->is_stopped = true;
    scatter_fail(scatter, &error);
    return false;
}

static bool link_leg(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    struct client *client = &leg->client;
    mosaic_error error;
    if (!leg_is_current(leg))
        return false;
    struct server *branch = leg_joins(leg) ? branch_of(scatter->client, leg->shard) : NULL;
    leg->is_branch = branch && branch->status != 'I';
    if (branch) {
        branch_link(client, branch);
        return true;
    }
    struct pool *pool = pool_get(client->user, leg->shard);
    if (!pool)
        error_memory(&error);
    switch (pool ? pool_assign(pool, client, &error) : POOL_FAILED) {
    case POOL_LINKED:
        return true;
    case POOL_WAITS:
        return false;
    default:
        if (leg_is_left_out(leg, &error))
            return false;
        if (scatter_fails_last(scatter)) {
            leg->has_failed = true;
            leg_over(leg); /* the others go on */
        }
        scatter_fail(scatter, &error);
        return false;
    }
}

void leg_let_go(struct leg *leg)
{
    struct server *server = leg->client.server;
    struct client *owner = leg->scatter->client;
    if (server->status == 'I' && !server->keeper)
        server_unlink(server);
    else if (owner)
        server_park(server, owner);
    else
        server_roll_back(server, leg->client.session);
}

size_t leg_linked(const struct client *client, size_t *slots)
{
    const struct scatter *scatter = ((const struct leg *)client)->scatter;
    size_t count = 0;
    for (size_t i = 0; i < scatter->leg_count; i++) {
        const struct leg *leg = &scatter->legs[i];
        if (!leg->client.server || !leg_joins(leg))
            continue;
        if (slots)
            slots[count] = leg->client.server->pool->slot;
        count++;
    }
    return count;
}

/* A query of ours that comes before what it is asked. */
static bool ask_before(struct server *server, const char *sql, struct buffer *out)
{
    wire_query(out, sql);
    server->ours_failed = false;
    return expect_add(&server->expect, EXPECT_OURS, 0, NULL);
}

/* Parse of the client's own text. False: memory is out. */
static bool write_check(struct leg *leg, struct buffer *out)
{
    struct scatter *scatter = leg->scatter;
    uint32_t *types = arena_allocate(&scatter->arena, (scatter->checked_count + 1u) * sizeof *types);
    for (uint16_t i = 0; types && i < scatter->checked_count; i++)
        types[i] = schema_oid_on(scatter_schema(scatter), leg->shard, scatter->checked_types[i]);
    if (types)
        wire_parse(out, "", scatter->checked, strlen(scatter->checked), types, scatter->checked_count);
    return types != NULL;
}

/* The same by itself, where no shard has done that when the rows were read. */
static bool ask_check(struct leg *leg, struct buffer *out)
{
    bool done = write_check(leg, out);
    wire_empty(out, WIRE_SYNC);
    leg->client.server->ours_failed = false;
    return done && expect_add(&leg->client.server->expect, EXPECT_OURS, 0, NULL);
}

static const char schema_changed[] = "the schema has changed since this statement was planned";

/* An error where it is not that of the plan. */
static bool ask_schema(struct leg *leg, struct buffer *out)
{
    const struct scatter *scatter = leg->scatter;
    const char *sql = arena_format(
        &leg->scatter->arena,
        "DO LANGUAGE plpgsql $mosaic$BEGIN IF (%s) IS DISTINCT FROM '%" PRId64 "'::pg_catalog.int8 THEN RAISE EXCEPTION"
        " '%s' USING ERRCODE = '40001', HINT = 'run the transaction again'; END IF; END$mosaic$",
        schema_stamp_query(), (int64_t)scatter->stamp, schema_changed);
    return sql && ask_before(leg->client.server, sql, out);
}

bool leg_replans(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    struct client *client = scatter->client;
    if (!scatter->checks_schema || strcmp(leg->client.server->error.message, schema_changed) != 0 || !client)
        return false;
    client->needs_reading = proxy_ask_reload(scatter->worker->proxy);
    if (scatter->state != SCATTER_STARTING || !client->transaction.is_implicit)
        return false;
    scatter_turn(scatter, SCATTER_STALE);
    return true;
}

/* What it was not told of the transaction. */
static bool write_untold(struct leg *leg, struct buffer *out)
{
    struct server *server = leg->client.server;
    struct client *owner = leg->scatter->client;
    struct buffer *kept = &owner->transaction.kept;
    size_t told = server->status == 'I' ? 0 : server->told;
    bool done = told >= kept->size || ask_before(server, kept->data + told, out);
    server->told = kept->size;
    settings_release(server->session);
    server->session = settings_hold(owner->session);
    if (!leg->number && stream_checks(leg->scatter))
        done = done && ask_check(leg, out);
    if (leg->scatter->turn && (!leg->number || leg->scatter->turns_everywhere))
        done = done && ask_before(server, leg->scatter->turn, out);
    if (leg->scatter->checks_schema && leg->shard == leg->scatter->worker->world->home)
        done = done && ask_schema(leg, out);
    return done;
}

/* What it is asked: of those that are asked in turn for so many rows, for no more than are lacking. */
static const char *text_of(const struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    const struct fact_scatter *facts = &scatter->facts;
    uint64_t lacks = facts->lacking_before ? merge_lacks(scatter->merge) : UINT64_MAX;
    if (lacks == UINT64_MAX || (lacks && !leg->number))
        return leg->asking->text;
    return arena_format(&scatter->arena, "%s%" PRIu64 "%s", facts->lacking_before, lacks, facts->lacking_after);
}

void leg_send_request(struct leg *leg)
{
    struct scatter *scatter = leg->scatter;
    struct worker *worker = scatter->worker;
    struct server *server = leg->client.server;
    struct buffer out = BUFFER_INIT(REQUEST_MOST);
    const struct asking *asking = leg->asking;
    uint16_t count = asking->bound.count;
    uint32_t *types = arena_allocate(&scatter->arena, (count + 1u) * sizeof *types);
    for (uint16_t i = 0; types && i < count; i++)
        types[i] = schema_oid_on(scatter_schema(scatter), leg->shard, asking->bound.types[i]);
    const char *leftovers = scatter->write ? scatter->write->leftovers : NULL;
    bool told = leg_joins(leg) ? write_untold(leg, &out) : !leftovers || ask_before(server, leftovers, &out);
    const char *text = text_of(leg);
    if (scatter->move)
        told &= move_write_request(leg, &out);
    if (stream_reads(scatter)) {
        leg->is_checking = true;
        told &= write_check(leg, &out);
    }
    if (!scatter->move && types && text && !scatter->copy_in && !asking->statements)
        leg_write_parse(leg, asking->kept, text, types, count, &out);
    buffer_add(&out, buffer_string(&asking->request), asking->request.size);
    if (asking->behind)
        wire_query(&out, asking->behind);
    leg->state = LEG_ASKED;
    mosaic_error error;
    bool failed = !types || !text || !told || buffer_failed(&out) || !expect_add(&server->expect, EXPECT_LEG, 0, NULL);
    if (!failed) {
        COUNT(&worker->shards[server->pool->slot], bytes_sent, out.size);
        if (!channel_send(&server->channel, out.data, out.size)) {
            server->channel.readable = true; /* it will see the end */
            loop_again(&worker->loop, &server->channel.source);
        }
    }
    buffer_free(&out);
    if (failed) {
        error_memory(&error);
        server_close(server, &error);
    }
}

void leg_ask_again(struct leg *leg, struct buffer *out)
{
    struct client *client = &leg->client;
    struct server *server = client->server;
    mosaic_error error;
    leg->is_idle = false;
    leg->state = LEG_ASKED;
    client->awaits_ready = true;
    client->since = client->worker->loop.now;
    client->began_us = client->worker->loop.now_us;
    if (buffer_failed(out) || !expect_add(&server->expect, EXPECT_LEG, 0, NULL)) {
        error_memory(&error);
        server_close(server, &error);
        return;
    }
    COUNT(&client->worker->shards[server->pool->slot], bytes_sent, out->size);
    if (!channel_send(&server->channel, out->data, out->size)) {
        server->channel.readable = true; /* it will see the end */
        loop_again(&client->worker->loop, &server->channel.source);
    }
}

/* A leg that has a server gets the client's settings there, then its statement. */
static void ask(struct leg *leg)
{
    if (leg->state != LEG_NEW || !leg->client.server || leg->client.replays || !leg_is_current(leg) ||
        client_prepare_server(&leg->client) != REACHED)
        return;
    leg->client.is_fresh = false;
    leg->client.awaits_ready = true;
    leg->client.since = leg->client.worker->loop.now;
    leg->client.began_us = leg->client.worker->loop.now_us;
    leg->client.server->unnamed = 0;
    if (leg->scatter->partials && !leg_is_partial(leg))
        combine_send(leg);
    else
        leg_send_request(leg);
}

void scatter_reach(struct scatter *scatter)
{
    while (scatter->client && scatter->state < SCATTER_FINISHED && scatter->reached < combine_reachable(scatter)) {
        struct leg *leg = &scatter->legs[scatter->reached];
        if (leg->state != LEG_OVER && !leg->client.server &&
            (leg->client.waits || leg->client.failure || !link_leg(leg)) && !leg->is_missing && leg->state != LEG_OVER)
            return;
        scatter->reached++;
        ask(leg);
    }
}

void leg_again(struct source *source)
{
    struct leg *leg = (struct leg *)LIST_OWNER(struct client, channel.source, source);
    struct scatter *scatter = leg->scatter;
    struct client *client = &leg->client;
    if (leg->state == LEG_OVER)
        return;
    if (scatter->client && (scatter_takes_data(scatter) || stream_has_rows(scatter))) /* there may be room for more */
        loop_again(&scatter->worker->loop, &scatter->client->channel.source);
    if (leg->state == LEG_NEW && scatter->state >= SCATTER_FINISHED) {
        leg_drop(leg);
        return;
    }
    if (client->failure) {
        mosaic_error error = *client->failure;
        if (!leg_is_left_out(leg, &error)) {
            if (!strcmp(error.sqlstate, "53300") || !strcmp(error.sqlstate, "40P01"))
                branch_yield(scatter->client, true); /* it has waited in vain, and others may wait for what it holds */
            leg->has_failed = true;
            leg_over(leg);
            scatter_fail(scatter, &error);
        }
    } else if (leg->state == LEG_SENDING) {
        combine_send(leg);
    } else if (leg->state == LEG_NEW && client->server) {
        ask(leg);
    } else if (leg->state == LEG_NEW && leg->number < scatter->reached && !client->waits && link_leg(leg)) {
        ask(leg);
    }
    if (!scatter->client)
        return;
    scatter_reach(scatter);
    scatter_flush(scatter);
}

void leg_cancel_ended(struct client *client)
{
    struct leg *leg = leg_of(client);
    mosaic_error error;
    if (!leg->is_returning)
        return;
    leg->is_returning = false;
    if (client->server->unfit) { /* it is not known whether it is still to be stopped */
        (void)!error_set(&error, MOSAIC_UNREACHABLE, "shard %s did not answer a cancel request", leg->name);
        server_close(client->server, &error); /* leg_lost */
        return;
    }
    leg_let_go(leg);
    leg_over(leg);
}

void leg_lost(struct client *client, const mosaic_error *why, bool cut)
{
    struct leg *leg = leg_of(client);
    struct scatter *scatter = leg->scatter;
    mosaic_error error;
    client->replays = false;
    leg->is_idle = false;
    if (!scatter->client || leg->state == LEG_OVER) {
        leg_over(leg);
        return;
    }
    scatter->client->transaction.is_broken |= leg_joins(leg) && (leg->state != LEG_NEW || leg->is_branch);
    if (cut) {
        client_close(scatter->client, NULL); /* it has a part of a message */
        leg_over(leg);
        return;
    }
    if (leg->state == LEG_NEW && !leg->is_branch && !why) {
        loop_again(&scatter->worker->loop, &client->channel.source); /* another one will do */
        return;
    }
    if (why)
        error = *why;
    else
        (void)!error_set(&error, MOSAIC_UNREACHABLE, "the connection to shard %s was lost", leg->name);
    client_server_refused(client, &error); /* told by leg_again: whose bytes are being put together now is not known */
}

void leg_closed(struct client *client)
{
    struct leg *leg = leg_of(client);
    if (leg->scatter->client)
        client_close(leg->scatter->client, NULL);
}
