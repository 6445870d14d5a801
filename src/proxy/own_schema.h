/*
 * The schema as one client's transaction has changed it: what it says next is understood by that, not by the schema
 * that all others still have.
 *
 *     ALTER TABLE users ADD COLUMN seen date    on all shards, uncommitted
 *     UPDATE users SET seen = …                 own_schema_question: the home shard's server of the transaction is
 * asked for its catalogs, each other one for its types' OIDs; then it is planned
 *
 * It is read when it is needed first, and dropped by whatever may change it: the next such change, ROLLBACK TO, a new
 * map, the transaction's end. Its plans are in a cache of its own.
 */
#ifndef MOSAIC_PROXY_OWN_SCHEMA_H
#define MOSAIC_PROXY_OWN_SCHEMA_H

#include "proxy/client.h"
#include "proxy/typemap.h"

struct own_schema;

/* Of a client, or of a leg for the one whose statement it is a part of; NULL: of nobody. */
const struct schema *own_schema_of(const struct client *client, const struct worker *worker);
/* The same of the types of a place. */
const struct typemap *own_schema_typemap(const struct client *client, const struct worker *worker, size_t shard);
/* Its plans; NULL: the client has no schema of its own. */
struct plan_cache *own_schema_plans(const struct client *client);
/* Has it been read, and is it still that of the transaction? */
bool own_schema_is_read(const struct client *client);
/* It may be another one now. What was found by it stays until own_schemas_free_dropped. */
void own_schema_drop(struct transaction *transaction);
/* Before anything is looked up, as in the plan cache; and at the worker's end. */
void own_schemas_free_dropped(struct worker *worker);

/* ---- reading: one question for each shard, the home shard first ---- */

/* Begins, or goes on with the next question. False: memory is out. */
MOSAIC_MUST_CHECK bool own_schema_begin(struct client *client);
/* Whose server is to be asked, and what: a simple query. */
size_t own_schema_shard(const struct client *client);
void own_schema_question(const struct client *client, struct buffer *sql);
/* A whole message of the answer. */
void own_schema_take(struct client *client, const char *message, const struct wire_frame *frame);
/* It has all come. After the last question it is read. */
MOSAIC_MUST_CHECK mosaic_status own_schema_answered(struct client *client, mosaic_error *error);

#endif
