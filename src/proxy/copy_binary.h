/*
 * COPY TO in binary: its rows may name types (rowmap.h), and nothing tells what they are. Where the server's OIDs are
 * others than the home shard's it is asked first, what the columns of the query copied are.
 */
#ifndef MOSAIC_PROXY_COPY_BINARY_H
#define MOSAIC_PROXY_COPY_BINARY_H

#include "proxy/client.h"

/*
 * Before a simple query is sent to the linked server. REACHED: there is nothing to map, or what comes is `*mapped`.
 * TAKEN_LATER: it is asked; `asked`: it was. TAKEN: refused.
 */
enum taken copy_binary_prepare(struct client *client, const struct facts_list *list, const char *text, bool asked,
                               bool *mapped);
/* By the extended protocol it is not asked. False: refused, with why. */
MOSAIC_MUST_CHECK bool copy_binary_may_bind(const struct client *client, const struct facts *facts,
                                            mosaic_error *error);

#endif
