/*
 * What a statement's success changes in a session: settings, prepared statements, savepoints.
 *
 * The effects of a simple query are noted when it is sent, and take hold as CommandComplete comes for each of its
 * statements; those of the extended protocol are found again from the statement executed. What the end of a transaction
 * undoes is undone by the tag that ends it, or at ReadyForQuery.
 */
#ifndef MOSAIC_PROXY_EFFECT_H
#define MOSAIC_PROXY_EFFECT_H

#include "proxy/server.h"
#include "sql/facts.h"
#include "wire/wire.h"

/* The statements of a simple query that do something to the session. */
struct effect {
    struct effect *next;
    size_t number;      /* of the statement in the text */
    struct facts facts; /* name and value are own copies; other pointers are not to be used */
    size_t size;
    char text[]; /* the statement */
};

struct effects {
    struct effect *first;
    size_t completed; /* statements of the cycle */
};

/* Does a statement of this class do anything to the session? */
/* May it change what a later statement of its transaction reads, rows or settings? What no list here knows may. */
bool effect_writes(const struct facts *facts);
bool effect_is(const struct facts *facts);
/*
 * SET of what would change the meaning of a literal's bytes is refused: the encoding, and backslashes in strings. So is
 * that of transform_null_equals, which makes IS NULL of `= NULL`. And a hint (mosaic.shard …) that names what the
 * cluster has not.
 */
MOSAIC_MUST_CHECK bool effect_is_allowed(const struct model *model, const char *name, const char *value,
                                         mosaic_error *error);
/*
 * The same of a statement of the client's. Nor RESET, in a transaction, of what the startup packet has set: the shards
 * know of no such value.
 */
MOSAIC_MUST_CHECK bool effect_set_is_allowed(const struct client *client, const struct facts *facts,
                                             mosaic_error *error);
/* Notes the effects of a text that is about to be sent as a simple query. False when memory is out. */
bool effect_note(struct client *client, const struct facts_list *list, const char *text, size_t size);
/* What a statement does to the session, at once: it was answered, here or by the linked server with this tag. */
void effect_apply(struct client *client, const struct facts *facts, const char *text, size_t size, const char *tag);
/* The session's settings are these now, for the linked server as well; takes over the reference. */
void effect_set_session(struct client *client, struct settings_state *session);

/* CommandComplete came for the head of what is expected. */
void effect_complete(struct server *server, const struct expect_entry *head, const char *tag);
/* An error: the effects still awaited of this cycle do not come. */
void effect_failed(struct server *server);
/* ReadyForQuery: transactions begin and end. */
void effect_ready(struct server *server, char status);
/* ParseComplete, or none: entry->subject is what was parsed. Frees what the entry holds. */
void effect_parsed(struct server *server, const struct expect_entry *entry);
void effect_parse_failed(struct server *server, const struct expect_entry *entry);
/* A statement's Close was answered, or passed over. */
void effect_closed(struct server *server, struct client_statement *statement, bool is_closed);
/*
 * May a server go on that reports this ParameterStatus? A function, or a setting of the role, may change what a literal
 * is where no SET is read. False: `error` says so.
 */
MOSAIC_MUST_CHECK bool effect_report_is_allowed(const struct server *server, const char *message,
                                                const struct wire_frame *frame, mosaic_error *error);
/* The shape of what was parsed for it was told; 0: it was not. The statement becomes the one that has this shape. */
void effect_shape(struct server *server, struct client_statement *statement, uint64_t shape);
/* ParameterStatus while settings are replayed. */
void effect_reported(struct server *server, const char *message, const struct wire_frame *frame);
/* Forgets what is awaited. */
void effects_free(struct client *client);

#endif
