/*
 * A client's connection and session.
 *
 *     startup ─> login ─> welcome (the settings of a new session are asked of a shard) ─> ready ─> closed
 *
 * A ready client is between cycles, or in one: a simple query, or a segment of the extended protocol up to Sync. In a
 * cycle it is linked to at most one server; messages that come behind the end of a cycle wait until ReadyForQuery.
 * What the handlers of messages share is here; client.c has its life, client_startup.c the login, client_query.c and
 * client_extended.c the two protocols, transaction.c BEGIN without a server.
 */
#ifndef MOSAIC_PROXY_CLIENT_H
#define MOSAIC_PROXY_CLIENT_H

#include "proxy/expect.h"
#include "proxy/pool.h"
#include "proxy/prepared.h"
#include "proxy/session.h"
#include "proxy/trace.h"
#include "proxy/transaction.h"
#include "sql/facts.h"
#include "wire/wire.h"

enum client_state { CLIENT_STARTUP, CLIENT_LOGIN, CLIENT_WELCOME, CLIENT_READY, CLIENT_CLOSED };

struct commit;
struct console;
struct login_server;
struct placement_portal;
struct placing;
struct lookup_question;
struct effects;
struct report;
struct explain_portal;
struct scatter;
struct starving;
struct tally;

/* A Parse that was taken and waits for the shard that the Bind behind it will name. */
struct held_parse {
    struct prepared *prepared;          /* held */
    struct client_statement *statement; /* NULL: the unnamed one */
};

/* What a portal was bound to. */
struct bound {
    struct prepared *prepared;   /* held; NULL: there is no such portal */
    uint64_t server;             /* the number of that which has it; 0: is_local */
    bool is_local;               /* answered here: BEGIN before a shard is open, PREPARE, what says EXPLAIN (MOSAIC) */
    bool has_effect;             /* Execute does something to the session */
    bool ends_transaction;       /* COMMIT and the like */
    bool moves_names;            /* and by that may change what names mean: sql/behind.h */
    bool names_types;            /* its rows may, in binary, by OIDs that are not the home shard's: rowmap.h */
    int32_t shift;               /* of Execute's errors: expect.h */
    struct explain_portal *rows; /* of EXPLAIN (MOSAIC): the answer; explain_rows.h */
    struct scatter *scatter;     /* its own: of what several shards answer */
    struct placement_portal *placement; /* its own: mosaic.shard_table and its like; placement.h */
    bool is_cursor;                     /* FETCH or CLOSE of one that has such a scatter */
};

/* A named portal: from Bind to the end of the transaction. */
struct portal {
    struct portal *next;
    struct bound bound;
    unsigned savepoints; /* how many its transaction had made before */
    char name[];
};

/* What a server may have to be asked before a statement can be planned. */
enum client_asks {
    ASK_PATH,   /* the session's search_path */
    ASK_IDS,    /* new ids: ids.h */
    ASK_SCHEMA, /* the schema as the transaction has changed it: own_schema.h */
    ASK_CHECKS, /* whether constraints hold on a shard: constraints.h */
};

struct client {
    struct channel channel; /* first */
    struct worker *worker;
    struct list node; /* of worker->clients */
    enum client_state state;
    char status;       /* as told in the last ReadyForQuery */
    bool waits;        /* in a pool's queue */
    bool holds;        /* …while its transaction has servers of other shards */
    bool is_let_in;    /* …of a pool that is paused, which does not hold it back: pause.h */
    bool awaits_ready; /* the cycle's last message was sent: nothing else until ReadyForQuery */
    bool names_ahead;  /* such an Execute is on its way, or was */
    bool in_segment;   /* messages of the extended protocol since the last Sync */
    bool is_opening;   /* the server is being given BEGIN and what came after it */
    bool is_tentative; /* the server is rolled back behind this cycle, whose statement is kept to be replayed */
    bool probes;       /* client_reach is for a question alone: no transaction is opened */
    bool is_aside;     /* in a transaction that the linked server does not have: what it is asked is outside of it */
    bool asks_types;   /* the same, for the types of a statement's parameters */
    bool asks_shape;   /* the same, for what its result is on the linked server */
    bool asks;         /* a question of ours is on its way to the linked server */
    enum client_asks asks_for; /* what it is, or is to be, for */
    size_t ids_wanted;         /* ASK_IDS: so many */
    unsigned path_tries;       /* so often a search_path was told that is not of this world */
    bool left_sync;            /* the segment is being ended on the linked server, to go on elsewhere */
    bool cycle_failed;         /* an error came in this cycle */
    bool path_is_local;        /* the transaction has changed the search_path for itself */
    bool schema_dirty;         /* the transaction has changed the schema */
    bool schema_spread;        /* of all shards */
    bool is_fresh;             /* linked, but nothing was sent to the server yet */
    bool skips;                /* an error in the segment: nothing until Sync */
    bool replays;              /* the server is being given this client's settings */
    bool is_harmless;          /* the segment has but parsed and described: it may go on on another shard */
    bool is_pinned;    /* the session has what no list knows, or pool_mode is session: its servers are its own */
    bool has_unlisted; /* the first of these */
    bool went_back;    /* ROLLBACK TO is on its way to a server whose transaction has failed: what is behind it waits */
    bool has_unknown;  /* the connection to the shard of unknown_slot has a setting that is not known */
    bool is_leg;       /* nobody is connected: it is a part of a scatter; scatter.h */
    bool avoids_scatter; /* the message in hand cannot be merged here: once */
    bool is_admin;
    bool is_direct_tls;    /* it began with TLS */
    uint8_t login_method;  /* enum hba_method */
    char passing;          /* type of a message that goes through in pieces; 0: none */
    uint32_t passing_size; /* bytes of it still to come */
    struct user *user;
    struct server *server; /* linked */
    struct list kept;      /* servers of its own that are not linked */
    struct pool *pool;     /* whose queue it is in */
    struct list wait_node;
    struct starving *starving; /* while it waits and holds; NULL: it does not; starve.h */
    unsigned starved;          /* it, and legs of its statement, that wait so */
    mosaic_error *failure;     /* why the server that it waited for cannot be had */
    struct effects *effects;   /* of the cycle's statements, awaited; effect.h */
    struct tally *tally;       /* of what the linked server answers; NULL: nothing is measured; tally.h */
    struct scatter *scatter;   /* its own: of the message in hand */
    struct scatter *fetching;  /* a portal's, whose rows are on their way */
    struct commit *commit;     /* of its transaction over several shards, under way; commit.h */
    struct placing *placement; /* of the message in hand, under way; placement.h */
    int64_t since;             /* ms: of waiting, or of the transaction, or of the last activity */
    struct timer timer;
    struct settings_state *session; /* as of the last statement that was confirmed */
    struct settings_state *startup; /* what RESET goes back to */
    struct transaction transaction;
    struct report *reports;          /* parameters that it was told of, the newest first; reported.h */
    struct cursor_place *lasting;    /* cursors that outlast their transactions; lasting.h */
    const struct session_path *path; /* route.h; NULL: to be looked for */
    char **temporary;                /* names of temporary tables */
    size_t temporary_count;
    const char *behind; /* what was read behind the message in hand */
    size_t behind_size;
    uint32_t error_position; /* of the error that client_refuse is to tell; 0: none */
    char *tentative;         /* the text of the statement that is tried */
    size_t tentative_size;
    int64_t awaits_until;   /* loop.now: so long it waits for the coordinator, which is behind; 0: it does not */
    bool has_looked;        /* for names of the message in hand: unknown.h */
    uint64_t needs_reading; /* of the schema, before the next statement: reload.h; 0: none */
    struct client_statements statements;
    struct prepared *unnamed;      /* held */
    struct prepared *unnamed_sure; /* unnamed_is_unsure: that which stays if the segment fails; held */
    bool unnamed_is_unsure;        /* its Parse, or Close, is not answered yet */
    uint64_t unnamed_number;       /* of the Parse that made it; of prepared_table.last_unnamed */
    uint64_t unnamed_shape;        /* as it was described to this client; 0: it was not */
    struct held_parse *held;
    uint32_t held_count, held_capacity;
    struct portal *portals; /* those named */
    struct bound bound;     /* of the unnamed portal */
    struct login_server *login;
    char *login_name;                 /* as the startup packet has it, until it is logged in */
    struct lookup_question *question; /* auth_query's answer is awaited */
    struct startup *start;            /* until it is ready */
    struct console *console;          /* of an admin; console.h */
    size_t unknown_slot;
    uint32_t slot;  /* of worker->slots; 0: none */
    uint16_t minor; /* of the protocol */
    uint16_t port;  /* of its address */
    uint8_t family, is_unix;
    unsigned char address[16];
    unsigned char key[32]; /* of cancel requests */
    uint64_t number;       /* as SHOW CLIENTS and the log have it; never another client's */
    int64_t connected_at;
    int64_t began_us; /* of the transaction at the server; loop->now_us */
    char application_name[64];
    char trace[TRACE_ID + 1]; /* of the linked server's transaction, where trace is on */
};

/* Does its next statement wait until the schema has been read anew? */
bool client_awaits_reading(const struct client *client);
/* Takes over a socket that was accepted. */
bool client_new(struct worker *worker, int fd, const struct sockaddr *address, bool is_unix);
/* Closes it; `why`, if any, is told as a FATAL error first. */
void client_close(struct client *client, const mosaic_error *why);
void client_run(struct client *client);
/* Its timer, and the end of the proxy. */
void client_timeout(struct client *client);
void client_stop(struct client *client);
/* In a transaction or a cycle, which a stop waits for? */
bool client_is_busy(const struct client *client);

/* What a handler of a message says. */
enum taken {
    TAKEN,        /* it was dealt with */
    TAKEN_LATER,  /* the client must wait; the message will be given again */
    TAKEN_CLOSED, /* the client is gone */
    TAKEN_MORE,   /* of client_bind_begun: more of the message must be there */
    REACHED,      /* of client_reach: client->server is ready for it */
};

/*
 * Gets the client a server of this shard that has its settings and its transaction: REACHED. TAKEN: it was refused, and
 * the client was told.
 */
enum taken client_reach(struct client *client, size_t shard);
/* The same for what does not need the transaction: Parse and Describe. One that no shard has stays so. */
enum taken client_reach_aside(struct client *client, size_t shard);
/* The same for what is asked, and executed, beside an open transaction: no shard has that, or those that do are parked.
 */
enum taken client_reach_beside(struct client *client, size_t shard);
/*
 * What the coordinator has executed in this segment is ended before it is asked again: each statement sees what is
 * committed when it begins. REACHED: there was nothing, or it is over. TAKEN: it had failed.
 */
enum taken client_leave_coordinator(struct client *client, size_t shard);
/* The answer to whatever comes next, when the client's server was lost, or could not be had: client->failure. */
enum taken client_tell_failure(struct client *client);
/* An error of this client's, where its protocol wants it: in a segment, everything up to Sync is skipped; a simple
 * query ends. `fails`: an open transaction has failed by it. */
enum taken client_refuse(struct client *client, const mosaic_error *error, bool fails);
/* What breaks the protocol: it is closed. */
void client_violates(struct client *client, const char *what);
/* A message that cannot be read: refused. */
enum taken client_malformed(struct client *client);
/* Closes it for want of memory. */
enum taken client_out_of_memory(struct client *client);
/*
 * No server is linked any more: what the segment did there, parsing alone, is ended; in a transaction it is parked.
 * REACHED, or as client_reach.
 */
enum taken client_leave_server(struct client *client);
/* A server just linked gets what it lacks of the client's session: REACHED; TAKEN_LATER: it is called again. */
enum taken client_prepare_server(struct client *client);
/* Bytes of our own, behind what a linked server still has to answer. */
struct buffer *client_answer(struct client *client);
/* …which is between these two: the answer is queued, or sent at once where nothing comes before it. */
bool client_answered(struct client *client);
/* Sends what was put together for its server and for it. False: it is closed. */
bool client_flush(struct client *client);
/* The server has answered the whole cycle. */
void client_cycle_ended(struct client *client, char status);
/* The cycle was beside the transaction: what the client is told of that one's status. */
char client_end_aside(struct client *client);
/* A server that it waited for cannot be had. */
void client_server_refused(struct client *client, const mosaic_error *error);
/* Its server is gone; `cut`: in the middle of a message to the client. */
void client_server_lost(struct client *client, const mosaic_error *error, bool cut);

/* The session has what no list knows: from now on its servers are its own. */
void client_pin(struct client *client, const struct facts *facts);
void client_forget_temporary(struct client *client);
void client_schema_changed(struct client *client);
/* Who shares what it prepares: those to whom literals mean the same, and all names, which its transaction may have
 * changed. */
struct settings_sense client_sense(const struct client *client);
/* The transaction that has changed the schema is over: it is read anew. */
void client_settle_schema(struct client *client);
/* The statement that is tried, to be kept if it succeeds. False: memory is out. */
bool client_keep_tentative(struct client *client, const struct facts *facts, const char *text, size_t size);
/* Clients that waited for a reading of the schema go on. */
void clients_world_changed(struct worker *worker);

/* client_startup.c */
enum taken client_startup(struct client *client, const char *data, size_t size, size_t *used);
enum taken client_logged_in(struct client *client);
enum taken client_refuse_login(struct client *client, const mosaic_error *error);

/* client_login.c */
/* An SSLRequest, with so many bytes behind it; a TLS handshake without one. */
enum taken client_ask_tls(struct client *client, size_t behind);
enum taken client_direct_tls(struct client *client, const char *data, size_t size, size_t *used);
enum taken client_identify(struct client *client, const char *user, const char *database);
void client_login_free(struct client *client);
enum taken client_login_message(struct client *client, const char *message, const struct wire_frame *frame);
void client_welcome(struct client *client);
void client_startup_free(struct client *client);

/* client_query.c, client_extended.c, client_parse.c, client_bind.c, client_portal.c */
enum taken client_query(struct client *client, const char *message, const struct wire_frame *frame);
/* A Bind of which `here` bytes are at hand. TAKEN: the rest is passed on, or dropped, as client->passing says. */
enum taken client_bind_begun(struct client *client, const char *bytes, const struct wire_frame *frame, size_t here);
enum taken client_extended(struct client *client, const char *message, const struct wire_frame *frame);
/* A Parse under the proxy's name, and what it is expected as. False: memory is out. */
bool client_send_statement(struct client *client, struct prepared *prepared, enum expect_kind kind, uint32_t detail,
                           void *subject);
/* The linked server parses what its client does; kind: PARSE or PARSE_SQL. False: memory is out. */
bool client_parse_statement(struct client *client, struct client_statement *statement, enum expect_kind kind);
/* The Parses taken and not sent yet go to the linked server. */
enum taken client_send_held(struct client *client);
void client_segment_failed(struct client *client);
/* Has the schema been read, where the transaction has changed it, by which this is understood? */
enum taken client_know_schema(struct client *client, struct prepared *prepared);
/* The unnamed statement is replaced by what was parsed (a reference that is taken over), or closed: NULL. If an error
 * comes before the answer, it is what it was. */
void client_unnamed_set(struct client *client, struct prepared *prepared);
/* So far it is answered. */
void client_unnamed_answered(struct client *client, struct prepared *prepared);
/* The segment is over. */
void client_unnamed_settle(struct client *client, bool failed);
void client_portals_clear(struct client *client);
void client_held_clear(struct client *client);
/* They are answered here. */
void client_held_answered(struct client *client, struct buffer *answer);

#endif
