#include "proxy/record.h"

#include "proxy/operation.h"
#include "proxy/proxy.h"
#include "proxy/route.h"
#include "proxy/server.h"

#include <arpa/inet.h>
#include <stdio.h>

const char *record_address(const struct client *client, char text[RECORD_ADDRESS_MOST])
{
    char host[INET6_ADDRSTRLEN];
    if (client->is_unix || !inet_ntop(client->family, client->address, host, sizeof host))
        return "unix";
    snprintf(text, RECORD_ADDRESS_MOST, client->family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, client->port);
    return text;
}

static struct log_entry entry_of(const struct client *client, char address[RECORD_ADDRESS_MOST])
{
    return (struct log_entry){
        .client = client->number,
        .user = client->user ? client->user->account->name : client->login_name,
        .database = !client->user      ? NULL
                    : client->is_admin ? "pgmosaic"
                                       : client->worker->world->model.name,
        .address = record_address(client, address),
        .application_name = client->application_name,
        .trace = client->worker->settings->trace && client->server ? client->trace : NULL,
    };
}

void record_client(const struct client *client, enum log_event event, const mosaic_error *error)
{
    const struct worker *worker = client->worker;
    char address[RECORD_ADDRESS_MOST];
    if (!log_wants(worker->proxy->log, event))
        return;
    struct log_entry entry = entry_of(client, address);
    entry.error = error;
    if (event == EVENT_REFUSED || event == EVENT_SCATTER) {
        entry.statement = worker->text;
        entry.statement_size = worker->text_size;
    }
    log_event(worker->proxy->log, event, (int)worker->number, &entry);
}

void record_end(const struct client *client, const mosaic_error *why)
{
    const struct worker *worker = client->worker;
    enum log_event event = why ? EVENT_CLIENT_CLOSED : EVENT_DISCONNECT;
    char address[RECORD_ADDRESS_MOST];
    if (client->state != CLIENT_READY || !log_wants(worker->proxy->log, event))
        return;
    struct log_entry entry = entry_of(client, address);
    entry.error = why;
    entry.duration_us = (worker->loop.now - client->connected_at) * 1000;
    log_event(worker->proxy->log, event, (int)worker->number, &entry);
}

void record_plan(const struct route *route, char plan[RECORD_PLAN_MOST])
{
    const char *relation = route->relation;
    if (route->tier == 4)
        snprintf(plan, RECORD_PLAN_MOST, "tier 4: the coordinator");
    else if (route->tier)
        snprintf(plan, RECORD_PLAN_MOST, "tier %d: %zu shards", route->tier, route->plan->shard_count);
    else if (route->way == ROUTE_ANY)
        snprintf(plan, RECORD_PLAN_MOST, "any shard");
    else if (route->bucket == PLAN_NO_BUCKET)
        snprintf(plan, RECORD_PLAN_MOST, "by %.100s", relation ? relation : "what only this shard has");
    else
        snprintf(plan, RECORD_PLAN_MOST, "bucket %u of %.100s", route->bucket, relation ? relation : "?");
}

void record_statement(const struct client *client, const char *text, size_t size, const struct route *route)
{
    const struct worker *worker = client->worker;
    const struct model *model = &worker->world->model;
    char address[RECORD_ADDRESS_MOST], plan[RECORD_PLAN_MOST];
    if (!log_wants(worker->proxy->log, EVENT_STATEMENT))
        return;
    struct log_entry entry = entry_of(client, address);
    record_plan(route, plan);
    entry.statement = text;
    entry.statement_size = size;
    entry.plan = plan;
    entry.tier = route->tier ? route->tier : 1;
    entry.shards = !route->tier ? 1 : route->plan ? route->plan->shard_count : 0;
    entry.shard =
        route->way != ROUTE_SCATTER && route->shard < model_places(model) ? model->shards[route->shard].name : NULL;
    log_event(worker->proxy->log, EVENT_STATEMENT, (int)worker->number, &entry);
}

void record_slow(const struct client *client, const struct record_slow *slow)
{
    const struct worker *worker = client->worker;
    char address[RECORD_ADDRESS_MOST];
    if (!log_wants(worker->proxy->log, EVENT_SLOW))
        return;
    struct log_entry entry = entry_of(client, address);
    entry.statement = slow->text;
    entry.statement_size = slow->size;
    entry.plan = slow->plan;
    entry.shard = slow->shard;
    entry.tier = slow->tier;
    entry.shards = slow->shards;
    entry.has_rows = true;
    entry.rows = slow->rows;
    entry.duration_us = slow->duration_us;
    log_event(worker->proxy->log, EVENT_SLOW, (int)worker->number, &entry);
}

static struct log_entry entry_of_server(const struct server *server)
{
    const struct worker *worker = server->worker;
    const struct model *model = &worker->world->model;
    size_t shard = server->pool->shard;
    return (struct log_entry){.server = server->number,
                              .user = server->pool->user->account->name,
                              .shard = shard < model_places(model) ? model->shards[shard].name : NULL};
}

void record_failure(const struct server *server, const mosaic_error *why)
{
    const struct worker *worker = server->worker;
    struct proxy *proxy = worker->proxy;
    struct log_entry entry = entry_of_server(server);
    bool is_down = why->status == MOSAIC_UNREACHABLE || why->status == MOSAIC_TIMEOUT;
    entry.error = why;
    if (is_down && !atomic_exchange(&proxy->operation->failing[server->pool->slot], true))
        log_event(proxy->log, EVENT_SHARD_DOWN, (int)worker->number, &entry);
    else
        log_event(proxy->log, EVENT_SERVER_FAILED, (int)worker->number, &entry);
}

void record_success(const struct server *server)
{
    const struct worker *worker = server->worker;
    struct proxy *proxy = worker->proxy;
    atomic_bool *failing = &proxy->operation->failing[server->pool->slot];
    bool was_down = atomic_load_explicit(failing, memory_order_relaxed) && atomic_exchange(failing, false);
    enum log_event event = was_down ? EVENT_SHARD_UP : EVENT_SERVER_OPENED;
    if (!log_wants(proxy->log, event))
        return;
    struct log_entry entry = entry_of_server(server);
    log_event(proxy->log, event, (int)worker->number, &entry);
}
