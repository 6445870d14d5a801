/*
 * The inside of commit.h: what commit.c, which has its steps, shares with commit_ask.c, what parts are asked, and
 * commit_take.c, what they say.
 */
#ifndef MOSAIC_PROXY_COMMIT_PART_H
#define MOSAIC_PROXY_COMMIT_PART_H

#include "proxy/commit.h"
#include "proxy/server.h"
#include "proxy/settle.h"

enum { COMMIT_SQL_MOST = 1 << 21, TAG_SIZE = 24, ROLE_SIZE = 64 };

enum phase {
    LOOKS,    /* who has written; each is told what it lacks, and to commit under synchronous_commit = on at least */
    PREPARES, /* all that have written but the decider; those that have not, and may yet fail, commit */
    DECIDES,  /* the decider commits, with its word that the others are to */
    ASKS,     /* its answer was lost: settle.h */
    FINISHES, /* these do */
    FORGETS,  /* the decider drops its word, and is its client's own afterwards */
    TRIES,    /* mosaic.commit = best_effort: each by itself, one behind the other */
    UNDOES,
    UNKNOWN,
    OVER,
};

enum part_state {
    PART_OPEN,
    PART_PREPARED, /* or may be */
    PART_ENDED,
};

struct commit_part {
    struct commit *commit;
    struct server *server; /* NULL: it is gone */
    size_t shard;
    char name[SHARD_NAME_SIZE];
    char prepared[GID_SIZE];
    char xid[24];          /* "": it has written nothing */
    char owner[ROLE_SIZE]; /* current_user in the transaction, who alone may end what is prepared */
    char user[ROLE_SIZE];  /* current_user outside of it */
    char role[ROLE_SIZE];  /* the setting that says so */
    char setting[24];      /* synchronous_commit of its session, outside of the transaction */
    char tag[TAG_SIZE];
    bool has_held; /* a cursor WITH HOLD was declared on it: its COMMIT runs that one's query, and may yet fail */
    enum part_state state;
    unsigned awaited; /* answers */
    bool failed;      /* an error was among them */
    mosaic_error error;
};

struct commit {
    struct client *client; /* NULL: gone */
    uint64_t number;       /* its transaction's, then */
    int64_t began;         /* the loop's clock */
    struct worker *worker;
    struct settings_state *session, *before; /* held: of the servers when it is committed, or else */
    enum phase phase;
    char hex[GID_HEX_SIZE];
    struct gid gid;
    struct commit_part *decider; /* NULL: nobody has written */
    bool readers_first;          /* one that has written nothing may yet fail: where it wants one snapshot */
    bool is_single;              /* the decider alone has: its COMMIT is all */
    bool is_best_effort;
    bool spreads;   /* it changes the schema of all shards */
    bool is_pinned; /* its servers are the client's own */
    bool is_undo;   /* it was begun as one */
    bool committed;
    bool is_sending; /* answers that come meanwhile are looked at when all is sent */
    mosaic_error error;
    struct settlement settlement;
    struct settlement_part *prepared; /* its parts */
    size_t count;
    struct commit_part parts[];
};

static inline bool is_prepared_kind(const struct commit_part *part)
{
    return *part->xid && part != part->commit->decider;
}

/* ---- commit_ask.c: each sends what its phase says, which the commit is in from then on ---- */

/* A query of one part; more may be on their way. A server that cannot be sent it is closed. */
void part_ask(struct commit_part *part, const char *sql);
/* COMMIT PREPARED or ROLLBACK PREPARED, with a blank behind it, as the role that prepared it. */
void part_end_prepared(struct commit_part *part, const char *command);
void ask_look(struct commit *commit);
void ask_prepare(struct commit *commit);
void ask_decide(struct commit *commit);
/* The decider alone has written, or nobody has. */
void ask_commit_alone(struct commit *commit);
void ask_finish(struct commit *commit);
/* It has committed, and the transaction is undone: cursors that it holds since are closed. */
void ask_close_held(struct commit_part *part);

/* ---- commit_take.c ---- */

/* A part's query is answered to its end: how it went, and what state that leaves it in. */
void part_take_end(struct commit_part *part);

#endif
