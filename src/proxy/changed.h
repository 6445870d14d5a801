/*
 * A transaction that has changed the schema of all shards, until its end: statements are still understood by the schema
 * before, as every other client's are. So it may go on with more such changes, and with home tables; rows of sharded
 * and reference tables it may read and write again behind its COMMIT.
 */
#ifndef MOSAIC_PROXY_CHANGED_H
#define MOSAIC_PROXY_CHANGED_H

#include "proxy/route.h"

/* The plan that is about to be carried out changes the schema. False: memory is out. */
bool changed_note(struct client *client, const struct plan_write *write, const struct facts *facts);
/* Refuses what the schema may misunderstand: route->way. And what can, or must, not be within a transaction. */
void changed_check(struct client *client, struct route *route);

#endif
