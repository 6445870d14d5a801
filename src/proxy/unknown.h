/*
 * Names that the schema does not have. PostgreSQL says at the home shard that there is none such; but another proxy, or
 * somebody at the servers, may have made it on all shards a moment ago. So whether the schema has changed is looked at
 * first, once, while the client waits.
 *
 * So is it before a transaction's first change of the schema, which could not be planned anew when it is its turn.
 *
 * A name that stays unknown is not looked for again within a second. That is right as far as reload_listens: whatever
 * a proxy makes is announced, and read before any statement begins. Where nothing is heard each statement looks.
 */
#ifndef MOSAIC_PROXY_UNKNOWN_H
#define MOSAIC_PROXY_UNKNOWN_H

#include "proxy/client.h"

/* Is the client to wait for a look first? The message is then to be given again. */
bool unknown_awaits_look(struct client *client, const struct facts_list *list);

#endif
