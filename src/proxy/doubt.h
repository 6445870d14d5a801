/*
 * A server is lost that had been told to commit, and has not answered: whether it has is not known.
 */
#ifndef MOSAIC_PROXY_DOUBT_H
#define MOSAIC_PROXY_DOUBT_H

#include "base/error.h"
#include "proxy/client.h"
#include "proxy/server.h"

/*
 * Before what the client's linked server owes is dropped. True: a COMMIT is among it, or what commits by itself, and
 * `doubt` (MOSAIC_IN_DOUBT) is what the client is to be told in place of `why`, which may be NULL. Where its
 * transaction is over in any case, it has none from now on.
 */
MOSAIC_MUST_CHECK bool doubt_of_loss(struct client *client, const mosaic_error *why, mosaic_error *doubt);

#endif
