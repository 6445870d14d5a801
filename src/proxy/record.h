/*
 * What is logged of clients and servers: entries for the log, made from their records.
 */
#ifndef MOSAIC_PROXY_RECORD_H
#define MOSAIC_PROXY_RECORD_H

#include "proxy/client.h"
#include "proxy/log.h"

struct route;
struct server;

enum { RECORD_ADDRESS_MOST = 64, RECORD_PLAN_MOST = 200 };

/* 127.0.0.1:5555, [::1]:5555, or unix. */
const char *record_address(const struct client *client, char text[RECORD_ADDRESS_MOST]);
/* An event of a client's: who it is, and the error, which may be NULL. */
void record_client(const struct client *client, enum log_event event, const mosaic_error *error);
/* Its connection ends: why NULL is the client's own wish. */
void record_end(const struct client *client, const mosaic_error *why);
/* A statement that goes to a shard, as it came, with where it goes and why. Costs a look at a flag when that is not
 * wanted (log_statements). */
void record_statement(const struct client *client, const char *text, size_t size, const struct route *route);
/* What record_statement says of its plan. */
void record_plan(const struct route *route, char plan[RECORD_PLAN_MOST]);
/* It has ended, and took long. */
struct record_slow {
    const char *text;
    size_t size;
    const char *plan, *shard; /* NULL: several, or the coordinator */
    int tier;
    size_t shards;
    uint64_t rows;
    int64_t duration_us;
};
void record_slow(const struct client *client, const struct record_slow *slow);
/* A connection to a shard could not be made, or could: a shard that is down is told once, and when it is back. */
void record_failure(const struct server *server, const mosaic_error *why);
void record_success(const struct server *server);

#endif
