/*
 * What a client's transaction is apart from its shards, and what of the session's settings its end undoes.
 *
 * BEGIN, SET LOCAL, SET TRANSACTION and SAVEPOINT that come before a statement needs a shard are answered here and
 * kept, word for word, to be replayed in order on the shard that is then opened. What of this kind comes later is kept
 * behind them, so that a further shard can join (branch.h): each branch is brought up to date when it is used next.
 */
#ifndef MOSAIC_PROXY_TRANSACTION_H
#define MOSAIC_PROXY_TRANSACTION_H

#include "base/buffer.h"
#include "proxy/session.h"

struct own_schema;
struct savepoint;

struct cursor_place {
    struct cursor_place *next;
    uint64_t server; /* server.number */
    bool is_sure;    /* it was not undone by ROLLBACK TO */
    bool is_held;    /* WITH HOLD: it outlasts its transaction; lasting.h */
    char name[];
};

struct transaction {
    bool is_open;                  /* BEGIN was answered */
    bool is_implicit;              /* nobody said BEGIN: it is of one statement that several shards do */
    bool has_clock;                /* a shard was asked for the time at which it began: it has its own */
    int64_t moment_us;             /* when it began, as shards were told in its place: Unix time; 0: none was */
    bool is_lazy;                  /* by us: no shard has it */
    bool has_written;              /* rows or settings, or may have: effect_writes */
    bool wants_snapshot;           /* REPEATABLE READ or SERIALIZABLE, as far as it was said */
    bool has_modes;                /* some were set, or may be, behind its BEGIN */
    bool has_failed;               /* by an error of ours: only its end, or ROLLBACK TO, is left */
    bool is_broken;                /* what it did on a shard is gone */
    bool is_plain;                 /* the statements kept are such that cannot fail */
    bool is_bare;                  /* they are BEGIN and savepoints alone: nothing was set by itself */
    bool has_read;                 /* a query was answered beside it: transaction_read */
    bool notifies;                 /* NOTIFY, which cannot be prepared */
    bool changes_schema;           /* of all shards: changed.h */
    struct own_schema *own_schema; /* as it has changed it: own_schema.h; NULL: it has not, or is to be read */
    uint64_t meaning;              /* settings_sense.schema of what is prepared behind that */
    bool changes_code;             /* types or functions, which the coordinator has as they were */
    struct buffer made;            /* relations that it has made there, or renamed: each name with its zero */
    struct buffer kept;            /* statements, each with a semicolon and a newline; freed: not all are known */
    int64_t began;                 /* by BEGIN, or its statement; the loop's clock; 0: not known */
    int64_t idle_timeout;          /* ms: timeout_take_over; 0: none */
    uint64_t number;               /* as others know it that may wait for it; waiting.h; 0: not drawn yet */
    struct settings_state *before; /* the session's settings when it began; held */
    struct savepoint *savepoints;  /* the innermost first */
    unsigned savepoint_count;      /* all that were made in it */
    struct cursor_place *cursors;  /* declared by SQL */
    size_t checked;                /* so many shards were seen by the SET CONSTRAINTS in hand; constraints.h */
};

enum { TRANSACTION_KEPT_MOST = 1 << 20 };

/* `text`: BEGIN as the client wrote it. False when memory is out. */
bool transaction_begin(struct transaction *transaction, struct settings_state *session, const char *text, size_t size);
/* The server began it: only settings are to be remembered. */
void transaction_opened(struct transaction *transaction, struct settings_state *session);
/* A statement to be replayed. False when memory, or TRANSACTION_KEPT_MOST, is out. */
bool transaction_keep(struct transaction *transaction, const char *text, size_t size, bool is_plain);
/*
 * A query is answered by a server that the transaction is not on. While no shard has that, another one takes its place
 * where it is replayed: SET TRANSACTION must come before any query, and is refused there as it would have been. False:
 * no memory.
 */
bool transaction_read(struct transaction *transaction);
/* The statement that began it, as it was kept. */
void transaction_first(const struct transaction *transaction, struct buffer *text);
/* A shard has it now. */
void transaction_replayed(struct transaction *transaction);
/* The linked server has run this: so must those that join, or that are used again. False: it cannot be kept, and
 * nothing is any more. */
bool transaction_follow(struct transaction *transaction, const char *text, size_t size);
/* Is all known that a further shard must be given? */
static inline bool transaction_may_spread(const struct transaction *transaction)
{
    return transaction->is_open && transaction->kept.size > 0;
}

bool transaction_savepoint(struct transaction *transaction, const char *name, struct settings_state *session);
bool transaction_has_savepoint(const struct transaction *transaction, const char *name);
/* Which one of those made in it this is, from 1, and the settings at it; 0: there is none. */
unsigned transaction_savepoint_number(const struct transaction *transaction, const char *name,
                                      const struct settings_state **session);
void transaction_release(struct transaction *transaction, const char *name);
/* ROLLBACK TO: the settings that it brings back; a reference of the caller's. NULL: no such savepoint. */
struct settings_state *transaction_rollback_to(struct transaction *transaction, const char *name);
/* A cursor was declared on this server (server.number). False when memory is out. */
bool transaction_declare(struct transaction *transaction, const char *name, uint64_t server, bool is_held);
struct cursor_place *cursors_find(struct cursor_place *places, const char *name);
/* NULL: all. */
void cursors_remove(struct cursor_place **places, const char *name);
/* The server that has it; 0: none is known. *is_sure: it was not undone by ROLLBACK TO. */
uint64_t transaction_cursor(const struct transaction *transaction, const char *name, bool *is_sure);
/* It is over. Returns the settings before it, a reference of the caller's (NULL: it was not open). */
struct settings_state *transaction_end(struct transaction *transaction);

#endif
