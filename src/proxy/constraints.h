/*
 * SET CONSTRAINTS IMMEDIATE in a transaction that is open on several shards: what was deferred is checked on each of
 * them before the linked server says that all is well.
 */
#ifndef MOSAIC_PROXY_CONSTRAINTS_H
#define MOSAIC_PROXY_CONSTRAINTS_H

#include "proxy/client.h"
#include "sql/facts.h"

/* REACHED: it is none such, or all shards have said yes. TAKEN: one has not, or it was refused. */
enum taken constraints_check(struct client *client, const struct facts_list *list);

#endif
