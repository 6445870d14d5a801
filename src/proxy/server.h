/*
 * A connection to a shard.
 *
 *     connecting ─> login ─> checking (epoch, settings of a new session) ─> idle ⇄ active, kept
 *
 * Its answers are walked frame by frame against what is expected (expect.h); what the client is to see goes to him
 * untouched. Only ReadyForQuery ends a cycle.
 */
#ifndef MOSAIC_PROXY_SERVER_H
#define MOSAIC_PROXY_SERVER_H

#include "proxy/channel.h"
#include "proxy/expect.h"
#include "proxy/pool.h"
#include "proxy/prepared.h"
#include "proxy/session.h"

#include <libpq-fe.h>

struct commit_part;
struct login_client;

/* What a new connection says of itself. */
struct server_check {
    unsigned answered;
    PGresult *answer; /* to engine->question; NULL: no such table */
    bool read_only, standby, keeps_snapshot, reads_otherwise, equals_null;
    int64_t idle_timeout; /* ms */
    char *given;          /* agree.h */
};

enum server_state {
    SERVER_CONNECTING, /* the socket, or TLS */
    SERVER_LOGIN,      /* until the first ReadyForQuery */
    SERVER_CHECKING,   /* is it the shard it should be? */
    SERVER_IDLE,
    SERVER_ACTIVE,    /* linked to a client */
    SERVER_KEPT,      /* a client's own, not in use at the moment */
    SERVER_RESETTING, /* being made fit for others */
    SERVER_CLOSED
};

struct server {
    struct channel channel; /* first */
    struct worker *worker;
    uint64_t number; /* as SHOW SERVERS has it */
    struct pool *pool;
    struct list node; /* of one of the pool's lists */
    enum server_state state;
    char status;       /* of its last ReadyForQuery: I, T, E */
    bool awaits_tls;   /* SSLRequest was sent, and is not answered */
    bool tls_retried;  /* sslmode allow or prefer: this is the other try, with TLS or without */
    bool unfit;        /* close it as soon as it is free */
    bool ours_failed;  /* a query of ours was answered by an error */
    bool cancel_due;   /* as soon as its transaction is open */
    bool sees_copy;    /* CopyInResponse came: the client may send data */
    char passing_type; /* of a message that goes through in pieces */
    bool passing_visible;
    bool passing_mapped;      /* rowmap is to see it */
    uint32_t passing;         /* bytes of it still to come */
    struct list cancellers;   /* those requests */
    unsigned cancels;         /* cancel requests on their way to it: it must not serve another client before they end */
    struct client *client;    /* linked */
    struct client *keeper;    /* whose own it is */
    struct list kept_node;    /* of keeper->kept */
    size_t told;              /* while parked: bytes of keeper->transaction.kept that it has run */
    int64_t silent_since;     /* ms: since then it owes an answer, and has said nothing; 0: not seen so; waiting.h */
    char *deadlock;           /* it is being cancelled as part of this one: what the client is told; NULL */
    struct commit_part *part; /* of a commit over several shards, which has it then; commit.h */
    struct expect expect;
    struct settings_state *session;      /* the settings it has; held */
    struct settings_state *session_next; /* being replayed; held */
    struct server_statements statements;
    uint64_t unnamed;           /* client.unnamed_number of what its unnamed statement is; 0: none that is known */
    uint64_t unnamed_shape;     /* what was told of its result; 0: nothing */
    struct rowmap *rowmap;      /* of the rows that come; NULL: none had anything to map */
    struct login_client *login; /* until it is over */
    struct server_check *check; /* the same */
    struct timer timer;         /* of connecting */
    size_t endpoint, endpoints_tried;
    struct sockaddr_storage address; /* of the endpoint */
    socklen_t address_size;
    uint32_t pid, key_size;
    unsigned char key[256];
    uint64_t epoch;
    int64_t connected_at, used_at; /* ms */
    struct buffer failure;         /* the error that ended it, for whom it concerns: an ErrorResponse */
    mosaic_error error;
};

/* In the pool's list of those that connect; NULL when memory is out. */
struct server *server_new(struct pool *pool);
void server_check_free(struct server *server);
/* Starts to connect; the pool is told how it went. False when memory or descriptors are out. */
MOSAIC_MUST_CHECK bool server_open(struct pool *pool);
/* Closes it whatever it does; its client, if any, is told. `why` may be NULL. */
void server_close(struct server *server, const mosaic_error *why);
void server_link(struct server *server, struct client *client);
/* Ends the link; the server goes back to the pool, or stays the client's own. */
void server_unlink(struct server *server);
/* A server that a client kept for itself is made fit for others. */
void server_release_kept(struct server *server);
/* Sends a query of the proxy's own, answered by nothing that a client sees. */
bool server_ask(struct server *server, const char *sql);
/* The client's settings on this connection? */
static inline bool server_is_clean(const struct server *server)
{
    return server->status == 'I' && server->expect.count == 0 && server->passing == 0;
}
/* Its client is linked to it no more, and `keeper`, that one or whose leg it is, keeps it. */
void server_park(struct server *server, struct client *keeper);
/* Its client lets go of it in a transaction, which is rolled back: `session` is what it then has; then it is free for
 * others. */
void server_roll_back(struct server *server, struct settings_state *session);
/* Its transaction is undone, before which it had these settings: what of the user's own was set stays known, and empty.
 * False: memory is out. */
MOSAIC_MUST_CHECK bool server_has_gone_back(struct server *server, struct settings_state *session);
/* It is in no transaction and nobody is linked to it. One that is a client's own stays so, or is made fit for others
 * where the client is gone (NULL); else it is anybody's. */
void server_free(struct server *server, struct client *client, bool is_own);
/* A cancel request to it has ended; frees it for others when it was the last. */
void server_cancel_ended(struct server *server);
/* What it is told to end next is no deadlock's victim any more. */
void server_forget_deadlock(struct server *server);
/* server_read.c: reads once, and deals with what came. */
void server_run(struct server *server);
/* The client has read what there was, or a message to it is whole: so are those that it keeps, and that waited. */
void server_wake_kept(const struct client *client);
/* Frees what an entry of what is expected owns; a statement of a Parse that was not answered is none. */
void server_drop_entry(struct server *server, const struct expect_entry *entry);
/* server_connect.c: until a server is idle for the first time. */
void server_login_event(struct server *server);
void server_fail_login(struct server *server, const mosaic_error *why);

#endif
