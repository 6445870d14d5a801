#include "proxy/tally.h"

#include "base/memory.h"
#include "proxy/cancel.h"
#include "proxy/leg.h"
#include "proxy/proxy.h"

#include <stdio.h>
#include <string.h>

static uint64_t limit_of(int64_t setting)
{
    return setting ? (uint64_t)setting : UINT64_MAX;
}

static bool warn(struct client *client, const mosaic_error *warning)
{
    record_client(client, EVENT_SCATTER, warning);
    wire_warning(client_answer(client), warning->sqlstate, warning->message, warning->detail, warning->hint);
    return client_answered(client);
}

bool tally_note(struct client *client, const char *text, size_t size, const struct route *route)
{
    const struct proxy_settings *settings = client->worker->settings;
    size_t kept = size <= LOG_STATEMENT_MOST ? size : LOG_STATEMENT_MOST + 1; /* more, so that it is cut off there */
    bool is_coordinator = route->tier == 4;
    if (client->tally && client->tally->tier == 1 && !is_coordinator) {
        client->tally->statements++;
        return true;
    }
    tally_end(client);
    struct tally *tally = memory_zeroed(1, sizeof *tally + kept);
    if (!tally)
        return false;
    tally->tier = is_coordinator ? 4 : 1;
    tally->statements = 1;
    tally->began_us = client->worker->loop.now_us;
    tally->rows_most = limit_of(is_coordinator ? settings->scatter_max_rows : 0);
    tally->bytes_most = limit_of(is_coordinator ? settings->scatter_max_bytes : 0);
    tally->size = kept;
    memcpy(tally->text, text, kept);
    record_plan(route, tally->plan);
    client->tally = tally;
    return !route->warning || warn(client, route->warning);
}

static void count(struct worker *worker, int tier, size_t shards, uint64_t rows, uint64_t bytes, int64_t duration_us)
{
    struct tier_counters *counters = &worker->tiers[tier];
    COUNT(counters, statements, 1);
    COUNT(counters, shards, shards);
    COUNT(counters, rows, rows);
    COUNT(counters, bytes, bytes);
    COUNT(counters, duration_us, duration_us);
}

static bool is_slow(const struct worker *worker, int64_t duration_us)
{
    int64_t least = worker->settings->log_min_duration;
    return least && duration_us >= least * 1000;
}

static const char *shard_of(const struct client *client)
{
    return client->server ? pool_shard_name(client->server->pool) : NULL;
}

void tally_end(struct client *client)
{
    struct tally *tally = client->tally;
    struct worker *worker = client->worker;
    if (!tally)
        return;
    client->tally = NULL;
    int64_t us = worker->loop.now_us - tally->began_us;
    if (tally->tier == 4)
        count(worker, 4, 0, tally->rows, tally->bytes, us);
    if (is_slow(worker, us)) {
        char plan[RECORD_PLAN_MOST + 60];
        if (tally->statements > 1)
            snprintf(plan, sizeof plan, "%s; the first of %u statements", tally->plan, tally->statements);
        else
            snprintf(plan, sizeof plan, "%s", tally->plan);
        record_slow(client, &(struct record_slow){.text = tally->text,
                                                  .size = tally->size,
                                                  .plan = plan,
                                                  .shard = tally->tier == 1 ? shard_of(client) : NULL,
                                                  .tier = tally->tier,
                                                  .shards = tally->tier == 1,
                                                  .rows = tally->rows,
                                                  .duration_us = us});
    }
    memory_free(tally);
}

size_t tally_read(struct tally *tally, uint32_t passing, const char *bytes, size_t size)
{
    size_t at = passing < size ? passing : size;
    struct wire_frame frame;
    for (; at < size && wire_peek(bytes + at, size - at, &frame) == WIRE_MESSAGE; at += frame.size) {
        if (frame.type != WIRE_B_DATA_ROW)
            continue;
        if (tally->rows == tally->rows_most || tally->bytes + at + frame.size > tally->bytes_most)
            return at;
        tally->rows++;
    }
    tally->bytes += size;
    return size;
}

/* Why it was stopped. */
static void tell(const struct tally *tally, mosaic_error *error)
{
    if (tally->stop == TALLY_ROWS) {
        (void)!error_set(error, MOSAIC_LIMIT, "this statement gives more rows than scatter_max_rows (%llu)",
                         (unsigned long long)tally->most);
        error_hint(error, "ask for less, by a key or LIMIT");
    } else if (tally->stop == TALLY_BYTES) {
        (void)!error_set(error, MOSAIC_LIMIT, "for this statement more bytes came than scatter_max_bytes (%llu)",
                         (unsigned long long)tally->most);
        error_hint(error, "ask for less: by a key, LIMIT, or fewer columns");
    } else {
        (void)!error_set(error, MOSAIC_TIMEOUT, "canceling statement due to scatter_timeout");
    }
    error_sqlstate(error, tally->stop == TALLY_TIME ? "57014" : "54000");
}

bool tally_exceeded(struct server *server)
{
    struct tally *tally = server->client->tally;
    mosaic_error error;
    tally->stop = tally->rows == tally->rows_most ? TALLY_ROWS : TALLY_BYTES;
    tally->most = tally->stop == TALLY_ROWS ? tally->rows_most : tally->bytes_most;
    tally->rows_most = tally->bytes_most = UINT64_MAX;
    (void)cancel_server(server);
    if (server->client->is_pinned)
        return false; /* without its connection it would be nobody: PostgreSQL's answer to the cancel ends it */
    tell(tally, &error);
    server_close(server, &error);
    return true;
}

void tally_look(struct server *server)
{
    struct tally *tally = server->client->tally;
    const struct worker *worker = server->worker;
    int64_t most = worker->settings->scatter_timeout;
    if (!tally || tally->tier != 4 || tally->stop || !most || worker->loop.now_us - tally->began_us <= most * 1000)
        return;
    if (cancel_server(server))
        tally->stop = TALLY_TIME;
}

bool tally_error(const struct client *client, const char *sqlstate, mosaic_error *error)
{
    if (!client->tally || !client->tally->stop || strcmp(sqlstate, "57014") != 0)
        return false;
    tell(client->tally, error);
    return true;
}

void tally_scatter(const struct scatter *scatter)
{
    struct worker *worker = scatter->worker;
    size_t shards = scatter->leg_count - (scatter->partials != NULL);
    int64_t us = (scatter->ended_us ? scatter->ended_us : worker->loop.now_us) - scatter->began_us;
    char plan[RECORD_PLAN_MOST];
    if (!scatter->began_us || scatter->state == SCATTER_UNFIT || scatter->state == SCATTER_STALE)
        return;
    count(worker, scatter->tier, shards, scatter->given, scatter->received, us);
    if (!is_slow(worker, us))
        return;
    snprintf(plan, sizeof plan, "tier %d: %zu shards", scatter->tier, shards);
    record_slow(scatter->client, &(struct record_slow){.text = scatter->text,
                                                       .size = scatter->size,
                                                       .plan = plan,
                                                       .tier = scatter->tier,
                                                       .shards = shards,
                                                       .rows = scatter->given,
                                                       .duration_us = us});
}
