/*
 * Do the shards agree on what a new session of a role is given? Else one value is read, shown or found in two ways, and
 * what one shard says of a row is not what another would.
 */
#ifndef MOSAIC_PROXY_AGREE_H
#define MOSAIC_PROXY_AGREE_H

#include "proxy/server.h"

/* An expression of SQL: the values of SESSION_SETTING_LIST (catalog/session_settings.h), a line each. */
extern const char agree_question[];
/*
 * The server's login got this answer. False: on the home shard the role is given something else, as `error` says; that
 * shard is asked anew, since it may have been mended. What it has not said yet nobody differs from.
 */
MOSAIC_MUST_CHECK bool agree_check(struct server *server, const char *given, mosaic_error *error);

#endif
