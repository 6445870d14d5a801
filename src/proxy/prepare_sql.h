/*
 * PREPARE, EXECUTE and DEALLOCATE as SQL: the same statements as those of the protocol, under the same names, as
 * PostgreSQL has it. A server gets the statement by Parse, and EXECUTE under the proxy's name for it.
 *
 * In the extended protocol PREPARE and DEALLOCATE are portals that are answered here. EXECUTE's is the server's own, of
 * the statement that its name means when it is bound; so its rows, formats, limits and errors are PostgreSQL's.
 */
#ifndef MOSAIC_PROXY_PREPARE_SQL_H
#define MOSAIC_PROXY_PREPARE_SQL_H

#include "proxy/client.h"
#include "proxy/route.h"

bool prepare_sql_is(const struct facts *facts);
/* The same of EXECUTE, seen by its first word: true of what may be one. */
bool prepare_sql_may_execute(const char *text, size_t size);

/* ---- a simple query whose one statement is one of them ---- */

/* `route` is its own: facts and literals. `asked`: the message is given again, because a server had to be asked. */
enum taken prepare_sql(struct client *client, const struct route *route, const char *text, size_t size, bool asked);
/* The server that was asked has answered by an error, which the client has: ends the cycle. */
enum taken prepare_sql_failed(struct client *client);

/* ---- both protocols ---- */

/* What EXECUTE runs. */
struct execution {
    struct client_statement *statement;
    struct route route; /* of that statement, with the arguments as its values */
    const struct facts *facts;
};

/* The statement that EXECUTE names; NULL: there is none. */
struct client_statement *prepare_sql_find(struct client *client, const struct facts *facts);
/* REACHED: the linked server is the one that EXECUTE is for, and has the statement. Otherwise as client_reach. */
enum taken prepare_sql_reach(struct client *client, const struct route *own, struct execution *found);
/* `own` is EXECUTE: the linked server parses it as its unnamed statement, under the proxy's name for the one executed.
 * *longer (may be NULL): by so many characters. False: memory is out. */
bool prepare_sql_parse(struct client *client, struct prepared *executed, const struct prepared *own, int32_t *longer);

/* Execute of PREPARE, DEALLOCATE, or EXECUTE of what is not there: up to CommandComplete or the error. */
enum taken prepare_sql_run(struct client *client, const struct facts *facts, const char *text, size_t size);

#endif
