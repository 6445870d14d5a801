/*
 * A transaction that has changed the schema of all shards, until its end. What it says next of tables that it may have
 * changed needs the schema as it has it (own_schema.h); every other client has the schema before.
 */
#ifndef MOSAIC_PROXY_CHANGED_H
#define MOSAIC_PROXY_CHANGED_H

#include "proxy/route.h"

/* The plan that is about to be carried out changes the schema. False: memory is out. */
bool changed_note(struct client *client, const struct plan_write *write, const struct facts *facts, const char *text,
                  size_t size);
/* Has the transaction another schema than others, which was not read yet? */
bool changed_may_differ(const struct client *client);
/* Must the schema be read, as the transaction has it, before these are understood? */
bool changed_wants_schema(const struct client *client, const struct facts_list *list, const char *text, size_t size);
/* Refuses what the schema may misunderstand: route->way. And what can, or must, not be within a transaction. */
void changed_check(struct client *client, struct route *route);

#endif
