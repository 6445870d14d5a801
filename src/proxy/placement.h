/*
 * SELECT mosaic.shard_table(…), mosaic.reference_table(…), mosaic.home_table(…): carried out by a thread of its own,
 * one after the other, while other clients go on (placement_run.h). The client waits; then every worker has the new
 * map.
 *
 *     placement_begin(client, &order, error)
 *     placement_is_busy(client)              it is under way: the message is given again when it is over
 *     placement_end(client, &outcome, error)
 */
#ifndef MOSAIC_PROXY_PLACEMENT_H
#define MOSAIC_PROXY_PLACEMENT_H

#include "proxy/client.h"
#include "proxy/placement_run.h"

struct placer;

struct placer *placer_new(struct proxy *proxy);
/* What is under way is interrupted, and its clients wait no more: before the workers' threads are waited for. */
void placer_stop(struct placer *placer);
/* After the workers were freed; NULL is fine. */
void placer_free(struct placer *placer);

/* A copy, in the arena. False: memory is out. */
bool placement_copy(struct arena *arena, const struct placement_order *from, struct placement_order *to);
/* The order is copied. */
MOSAIC_MUST_CHECK mosaic_status placement_begin(struct client *client, const struct placement_order *order,
                                                mosaic_error *error);
bool placement_is_busy(const struct client *client);
/* How it ended; the client has none any more. */
MOSAIC_MUST_CHECK mosaic_status placement_end(struct client *client, struct placement_outcome *outcome,
                                              mosaic_error *error);
/* As a cancel request asks: it ends where nothing is changed yet. */
void placement_cancel(struct client *client);
/* The client goes; what is under way goes on. */
void placement_leave(struct client *client);

/* client_placement.c: the statement, as a simple query or as a portal. */
bool client_placement_is(const struct facts *facts);
/* A simple query. TAKEN_LATER: it is to be given again; then facts may be NULL. */
enum taken client_placement_query(struct client *client, const struct facts *facts);
/* In the extended protocol no server has such a statement: is this one? */
bool client_placement_names(struct client *client, struct prepared *prepared);
enum taken client_placement_describe(struct client *client, const struct prepared *prepared);
enum taken client_placement_bind(struct client *client, const struct wire_bind *bind, struct prepared *prepared,
                                 const struct fact_placement *placement, const struct plan_value *values, size_t count);
enum taken client_placement_columns(struct client *client, const struct placement_portal *portal);
enum taken client_placement_execute(struct client *client, const struct placement_portal *portal);
void placement_portal_free(struct placement_portal *portal); /* NULL is nothing */

#endif
