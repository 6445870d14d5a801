/*
 * Cursors of SQL whose rows several shards give: DECLARE makes a portal that has a scatter, FETCH and CLOSE name it.
 * They are fetched forward, in text, and end with their transaction, beside which they run.
 */
#ifndef MOSAIC_PROXY_CLIENT_CURSOR_H
#define MOSAIC_PROXY_CLIENT_CURSOR_H

#include "proxy/client.h"

struct route;
struct scatter;

/* May this DECLARE begin? TAKEN: it was refused. */
enum taken cursor_check(struct client *client, const struct facts *facts);
/* Is it FETCH or CLOSE of such a cursor? */
bool cursor_is(struct client *client, const struct facts *facts);
/* A simple query: DECLARE whose scatter is there; FETCH or CLOSE. */
enum taken cursor_declared(struct client *client, struct scatter *scatter);
enum taken cursor_query(struct client *client, const struct facts *facts);
/* Describe of a statement, where that is FETCH or CLOSE of such a cursor, which no server knows. REACHED: it is not. */
enum taken cursor_describe(struct client *client, struct prepared *prepared);
/* Bind of FETCH or CLOSE, and Describe and Execute of its portal. */
enum taken cursor_bind(struct client *client, const struct wire_bind *bind, struct prepared *prepared);
enum taken cursor_portal(struct client *client, const struct bound *bound, const struct wire_named *named,
                         enum expect_kind kind);
/* Execute of DECLARE's portal, which is called `portal`. */
enum taken cursor_execute(struct client *client, struct scatter *scatter, const char *portal);

#endif
