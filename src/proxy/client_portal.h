/*
 * Portals, as the proxy knows them: what their Execute does to the session, and those that it answers itself.
 */
#ifndef MOSAIC_PROXY_CLIENT_PORTAL_H
#define MOSAIC_PROXY_CLIENT_PORTAL_H

#include "proxy/client.h"

/* NULL: there is none of this name that is known here. */
const struct bound *portal_find(struct client *client, const char *name);
/* Holds bound->prepared, and takes over its rows. False: memory is out. */
bool portal_add(struct client *client, const char *name, const struct bound *bound);
void portal_remove(struct client *client, const char *name);
/* bound.names_types, of a Bind for the linked server; `shape`: of the statement, 0 where it is not known. */
bool portal_names_types(const struct client *client, const struct wire_bind *bind, bool is_whole, uint64_t shape);
/* Its scatter is another portal's from now on. False: memory is out. */
bool portal_give(struct client *client, const char *from, const char *to);
/* The one that has this scatter. */
void portal_forget(struct client *client, const struct scatter *scatter);
/*
 * Those that several shards answer end with their transaction, or by ROLLBACK TO `savepoint`, its number, where they
 * were made behind that; 0: all do.
 */
void portals_drop_scattered(struct client *client, unsigned savepoint);
/* Is there one that several shards answer? */
bool portal_has_scatter(const struct client *client);

/* A Bind that is answered here; all Parses were sent. The portal is `bound`, of `prepared`; its rows are taken over. */
enum taken portal_bind_here(struct client *client, const struct wire_bind *bind, struct prepared *prepared,
                            struct bound *bound);
/* Describe, Execute or Close of a portal that is answered here. */
enum taken portal_here(struct client *client, const struct bound *bound, const struct wire_named *named,
                       enum expect_kind kind);

#endif
