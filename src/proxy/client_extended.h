/*
 * What the parts of the extended protocol share: client_parse.c has Parse and how a server gets a statement,
 * client_bind.c Bind, client_portal.h portals, client_extended.c the rest.
 */
#ifndef MOSAIC_PROXY_CLIENT_EXTENDED_H
#define MOSAIC_PROXY_CLIENT_EXTENDED_H

#include "proxy/client.h"

/* ---- client_parse.c ---- */

enum taken extended_parse(struct client *client, const char *message, const struct wire_frame *frame);
/* Behind the Parses that came before it, which may fail first. */
enum taken extended_refuse(struct client *client, const mosaic_error *error);
/* The same where a statement may be a simple query, too. */
enum taken extended_refuse_any(struct client *client, const mosaic_error *error);
enum taken extended_fail(struct client *client, const char *sqlstate, const char *format, const char *name);
/* One message without a body, of ours. */
enum taken extended_answer_empty(struct client *client, char type);
/* The description of a result, as sent: NULL: there is none. */
void extended_describe(struct buffer *out, const struct buffer *description);
/* To Describe of a statement without parameters. */
enum taken extended_answer_described(struct client *client, const struct buffer *description);
/* A server for what any shard can say, with all Parses sent. TAKEN without a server: refused. */
enum taken extended_reach_any(struct client *client);
/* The same to describe a statement: the home shard where it, or a Parse, names what that one alone has. NULL: none. */
enum taken extended_reach_for(struct client *client, struct prepared *prepared);
/* The Parses that came before, if any, are sent: REACHED. */
enum taken extended_send_before(struct client *client);
/* Is it all that was parsed, and not sent, and has no server been sent anything? */
bool extended_is_alone(const struct client *client, const struct prepared *prepared);
/*
 * REACHED: the linked server has the statement, and its result there is what the client knows; or it is sent it, where
 * nobody knows yet. TAKEN_LATER: it is asked. TAKEN: the result is another one; the client was told.
 */
enum taken extended_ensure(struct client *client, struct prepared *prepared, const struct client_statement *named);
/* The linked server parses it as its unnamed statement; kind: PARSE, or PARSE_OURS. False: memory is out. */
bool extended_send_unnamed(struct client *client, struct prepared *prepared, enum expect_kind kind);
/* Of a statement that the linked server has, another text, as its unnamed statement. False: memory is out. */
bool extended_send_pruned(struct client *client, const struct prepared *prepared, const char *text);
/* By the client's name for it; NULL: there is none, and the client was told. *named: NULL for the unnamed one. */
struct prepared *extended_find(struct client *client, const char *name, const struct client_statement **named,
                               enum taken *taken);
/* What was never parsed is no statement. */
void extended_drop_held(struct client *client);

/*
 * REACHED: every server reads the statement's literals as at its Parse. Else the client was told: PostgreSQL keeps
 * their meaning when DateStyle or TimeZone changes later, but a server that parses it only now has those of now.
 */
enum taken extended_check_reading(struct client *client, const char *name, const struct prepared *prepared);

/* ---- client_bind.c ---- */

enum taken extended_bind(struct client *client, const char *message, const struct wire_frame *frame);

/* The types of a statement's parameters, asked of any shard: TAKEN_LATER; else as extended_ensure. */
enum taken extended_ask_types(struct client *client, struct prepared *prepared, const struct client_statement *named);

#endif
