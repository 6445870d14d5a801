/*
 * The inside of scatter.h: what scatter.c, which has its life, shares with scatter_new.c, its begin, leg_server.c, the
 * servers of its legs, leg.c, their answers, and scatter_rows.c, their rows.
 */
#ifndef MOSAIC_PROXY_LEG_H
#define MOSAIC_PROXY_LEG_H

#include "merge/merge.h"
#include "proxy/bound_values.h"
#include "proxy/own_schema.h"
#include "proxy/partials.h"
#include "proxy/scatter.h"
#include "proxy/server.h"

enum leg_state {
    LEG_NEW,      /* it has no server, or one that is given the settings */
    LEG_SENDING,  /* of the last leg: the partial rows go to it piece by piece */
    LEG_ASKED,    /* rows may come */
    LEG_COMPLETE, /* the last one came */
    LEG_OVER,     /* its server serves others again, or is lost */
};

enum {
    TOLD_MOST = 1 << 20,             /* bytes of what is said beside rows: notices, a description */
    LEG_ERROR_MOST = 2 * TOLD_MOST,  /* of an error: SERVER_ERROR_MOST, and what is added to it */
    LEG_KEPT = 64 * 1024,            /* bytes of rows that wait to be merged */
    LEG_ROW_MOST = 64 * 1024 * 1024, /* of a row that must be whole */
    LEG_DRAINED = 256 * 1024,        /* bytes that are read over before a shard is told to stop */
};

/* What a shard is asked. */
struct asking {
    const char *text; /* zero-terminated */
    struct bound_values bound;
    struct buffer request; /* Bind, Describe, Execute, Sync */
    struct prepared *kept; /* held; NULL: it is parsed each time */
    size_t statements;     /* of a script: that many tags come */
    const char *behind;    /* what comes behind it, a query of ours; NULL: nothing */
};

struct leg {
    struct client client; /* first: nobody is connected to it */
    struct scatter *scatter;
    struct asking *asking; /* the scatter's, or, of a write, its own */
    size_t number;
    size_t shard, slot; /* its place in the model, and its number: of the world that the plan was made in */
    const char *name;   /* of the shard */
    enum leg_state state;
    bool is_branch;        /* its server was in the client's transaction before */
    bool has_failed;       /* with an error */
    size_t answered;       /* statements of a script */
    bool is_behind;        /* it has answered, and is at asking->behind */
    bool is_missing;       /* there was no connection: its rows are left out */
    bool is_held;          /* rows wait at its server */
    bool is_cancelled;     /* its server was told to stop */
    unsigned looks;        /* since then, at which it went on: leg_cancel_again */
    bool is_returning;     /* it has answered, but what tells it to stop is still on its way */
    bool has_headed;       /* COPY … HEADER: its line of names came */
    bool is_idle;          /* it has answered, and waits for what else its shard is told: scatter_pick.c */
    bool is_suspended;     /* its shard has more candidates */
    uint64_t candidates;   /* so many came */
    bool is_parsing;       /* its server is being given `kept`, and may not want it */
    bool has_found;        /* its server had `kept` before it was asked this, and has not bound it yet */
    bool asks_again;       /* it is asked the same again when it is ready */
    bool is_checking;      /* its server is parsing the client's own text */
    bool joins;            /* its server is the client's transaction's */
    struct prepared *kept; /* the scatter's; NULL: the unnamed statement */
    /* In order: DataRow messages that merge is given one by one, and those behind them. */
    struct buffer rows, next;
    size_t at; /* in rows: of the first that merge has not yet */
    const char *head;
    size_t head_size; /* the body of the row that merge has */
    size_t drained;
};

struct copy_in;
struct given;

struct scatter {
    struct client *client; /* NULL: dropped */
    struct worker *worker;
    enum scatter_state state;
    int tier; /* 2 or 3 */
    struct merge *merge;
    struct arena arena; /* of what follows, as the plan had it */
    struct fact_scatter facts;
    struct asking asking; /* of each shard */
    const char *text;     /* the client's own */
    size_t size;
    struct buffer lines;         /* EXPLAIN: rows that come first */
    bool is_prepared;            /* the client has prepared it under a name: so do servers */
    bool may_keep;               /* so do they of a text that comes again and again */
    struct prepared *final_kept; /* held; NULL: none */
    /* In the client's transaction: servers are its branches before, or are from then on (branch.h). */
    bool joins;
    bool in_turn;     /* a shard is asked when the one before it has answered: who locks rows finds them in one order */
    bool is_settling; /* it has ended, and its servers come back */
    bool was_running; /* before that */
    /* A write. */
    const struct plan_write *write; /* NULL: it is none. Of its members, those that hold: tags, tag, has_returning */
    const char *target_name;        /* of the table that is written, as a person types it; NULL */
    uint64_t written;               /* the sum of the shards' tags, or what each of them must say */
    bool has_tag;                   /* one has said it */
    struct scatter_pick *pick;      /* rows that ORDER BY and LIMIT pick, and that are locked or changed; NULL: none */
    struct scatter_move *move;      /* rows that leave the first leg's shard for the second one's; NULL: none */
    char words[SCATTER_TAG];        /* TAGS_WORDS: the tag */
    struct buffer script;           /* the tags of all statements but the last, as messages */
    const char *turn;               /* asks for the locks of what takes_turns, or of reference tables; NULL */
    bool turns_everywhere;          /* on each shard; else on the first leg's */
    bool checks_schema;             /* behind that lock: is the schema still `stamp`? */
    uint64_t stamp;
    struct copy_in *copy_in; /* COPY FROM; NULL: it is none */
    /* INSERT of a query's rows: stream.h. Of the one that reads: */
    struct scatter *next; /* the one that writes, not started; NULL: it is none such */
    const char *checked;  /* the client's text: each server parses it first; of the one that writes the first, if any */
    const uint32_t *checked_types; /* of its parameters: the home shard's OIDs; 0: not said */
    uint16_t checked_count;
    /* Of the one that writes: */
    struct spool *spool;      /* what was read; NULL: its rows are the client's, or it is none such */
    struct given *rows_given; /* an INSERT takes them; NULL: COPY does */
    bool has_passed;          /* rows have begun */
    bool lacks_rows;          /* not all could be kept */
    const uint16_t *order;    /* RETURNING: of each row of the client's, whose leg it is; NULL: as they come */
    size_t order_size, order_at;
    /* Tier 3: the rows of all legs but the last go to the coordinator, which is that last leg. */
    struct partials *partials; /* NULL: tier 2 */
    uint64_t partial_shape;    /* of the legs' columns; 0: none was described yet */
    struct fact_final final;
    struct bound_values final_bound;
    struct buffer results;   /* the formats of the result, as they stand in Bind */
    size_t column_count;     /* of partials */
    size_t shown_count;      /* of final.shown */
    uint32_t *element_types; /* of partials, as the coordinator has them */
    struct buffer notices, description, failure;
    uint64_t version, epoch; /* of the world that the plan was made in */
    const char *cursor;      /* to be declared; NULL */
    bool is_fetched;         /* by FETCH */
    uint64_t most, fetched;
    uint64_t copied;                    /* COPY: rows, as the shards count them */
    bool has_headed;                    /* COPY … HEADER: the client has the line of names */
    uint64_t given, received;           /* rows, bytes: of all of it */
    uint64_t given_most, received_most; /* UINT64_MAX: no limit */
    struct timer timer;                 /* scatter_timeout */
    int64_t began_us, ended_us;         /* 0: it has not ended */
    struct leg *talking;                /* in the middle of a row that goes on in pieces */
    bool fails;                         /* as soon as that row is whole */
    bool fails_last;                    /* by_itself: when all have answered */
    bool is_stopped;                    /* nothing is waited for any more */
    bool is_parsed;                     /* by a shard: what failed then is no error of the text */
    bool may_miss;                      /* shards that are not reached are left out */
    bool has_missed;                    /* one was, and the client is to be told */
    mosaic_error missed;                /* why the last one was */
    size_t reached;                     /* legs before this one have servers */
    size_t active;                      /* legs that are not OVER */
    size_t buried;
    size_t leg_count;
    struct leg legs[];
};

static inline struct leg *leg_of(struct client *client)
{
    return (struct leg *)client;
}

/* Is its server the client's transaction's? The coordinator only puts together what the others say. */
static inline bool leg_joins(const struct leg *leg)
{
    return leg->joins;
}

/* Of a message. */
static inline const char *leg_body(const char *message)
{
    return message + WIRE_HEADER;
}

static inline bool leg_is_talking(const struct leg *leg)
{
    return leg && leg->client.server && leg->client.server->passing;
}

/* It fails with a message of a shard's own, or with an error. */
void scatter_fail_by(struct scatter *scatter, const char *message, size_t size);
void scatter_fail(struct scatter *scatter, const mosaic_error *error);
/* A limit is passed: the shards are stopped, and it fails. */
void scatter_stop(struct scatter *scatter, const mosaic_error *error);
/* The state is another one: the client is told, or called. */
void scatter_turn(struct scatter *scatter, enum scatter_state state);
/* Rows that wait are merged, as far as there are some and they are wanted. */
void scatter_merge(struct scatter *scatter);
/* What was made for the client is sent. */
void scatter_flush(struct scatter *scatter);
/* Servers that were held are read again. */
void scatter_wake(struct scatter *scatter);
/* The first leg that has not answered, nor waits for others before it goes on. */
size_t scatter_turn_of(const struct scatter *scatter);
void leg_over(struct leg *leg);
/* Its server, which has answered, is a branch of the client's transaction again, or serves others. */
void leg_let_go(struct leg *leg);
/* By the plan that there is: may its shard still be asked? Else the scatter has failed. */
bool leg_is_current(struct leg *leg);
/* More messages for a leg that has answered: it is asked again. */
void leg_ask_again(struct leg *leg, struct buffer *out);
/* Nobody wants its rows any more. */
void leg_drop(struct leg *leg);
/* It is called: it has been given a server, or its settings; or the server is lost. */
void leg_again(struct source *source);
void leg_freed(struct source *source);
void scatter_timed_out(struct timer *timer);
/* May one more row go to the client? Else it has failed. */
bool scatter_may_give(struct scatter *scatter);
/* Is one more wanted, and is there room for it? Else what there is to be done then is done. */
bool scatter_wants_row(struct scatter *scatter);
/* Has every leg said its last, as far as it is asked at all? */
bool scatter_all_complete(const struct scatter *scatter);
/* Those which have no server yet get one, in order. */
void scatter_reach(struct scatter *scatter);
/* What its server was to be told first has failed. Since the schema is another one than the plan's, which is then to be
 * made anew? It is read in any case. */
bool leg_replans(struct leg *leg);
/* Its server is asked, whatever it was asked before. May close that. */
void leg_send_request(struct leg *leg);

/* ---- scatter_new.c ---- */

/* With `count` legs, which ask what is to be said. NULL: memory is out. */
struct scatter *scatter_make(struct client *client, const struct scatter_order *order, size_t count,
                             mosaic_error *error);
/* The messages, of what is bound. `bind`: as the client asks for the result; NULL: a simple query. */
MOSAIC_MUST_CHECK bool asking_write(struct scatter *scatter, struct asking *asking, const struct wire_bind *bind,
                                    mosaic_error *error);

/* EXPLAIN: the lines before the shards' plans. */
void scatter_add_lines(struct scatter *scatter, const struct scatter_order *order);

/* ---- scatter_write.c: writes ---- */

struct scatter *scatter_new_write(struct client *client, const struct scatter_order *order, mosaic_error *error);
/* Of a reference table, whose copies are written after the first one, which others wait for. */
static inline bool scatter_copies_writes(const struct scatter *scatter)
{
    return scatter->write && scatter->write->tags == TAGS_SAME;
}
/* The first shard does it before the others are asked. */
static inline bool scatter_begins_with_one(const struct scatter *scatter)
{
    return scatter->write && scatter->write->tags != TAGS_SUM && scatter->joins;
}
/* Of what each shard does for itself: the error, once all have answered, says which have done it. */
void write_tell_done(struct scatter *scatter);
/* Does one that failed go on, since the others do? */
static inline bool scatter_fails_last(const struct scatter *scatter)
{
    return scatter->write && scatter->write->by_itself && !scatter->is_stopped;
}
/* A shard has said what it has done. */
void write_take_tag(struct leg *leg, const char *tag);
/*
 * A shard's error. True: its ownership constraint speaks of a row that would get another shard's key; then the
 * statement has failed, and says so in our words.
 */
bool write_refuses_move(struct leg *leg, const char *message, const struct wire_frame *frame);
/* One of several statements is complete. Do more of them come? */
bool write_goes_on(struct leg *leg, const char *tag);
/* What RETURNING gives; NULL: nothing. */
void write_describe(struct leg *leg, const char *message, const struct wire_frame *frame);
/* Rows that RETURNING gives in the client's order of theirs. */
void write_merge(struct scatter *scatter);

/* ---- scatter_move.c: rows that go to another shard ---- */

/* False: memory is out. */
bool move_new(struct scatter *scatter, const struct scatter_order *order, const struct fact_move *fact);
void move_free(struct scatter *scatter);
/* Are there as many parameters as there may be? */
MOSAIC_MUST_CHECK mosaic_status move_check(const struct scatter *scatter, mosaic_error *error);
/* What a leg is told, up to Sync. False: memory is out. */
bool move_write_request(struct leg *leg, struct buffer *out);
/* Are its rows those which the other leg is to insert? */
static inline bool leg_moves_rows(const struct leg *leg)
{
    return leg->scatter->move && leg->number == 0;
}
void move_describe(struct leg *leg, const char *body, size_t size);
void move_take_row(struct leg *leg, const char *body, size_t size);
/* A text was read. The first one is the client's own: what fails before is an error of that. */
void move_parsed(struct leg *leg);
bool move_is_checked(const struct scatter *scatter);
/* A statement is complete. Do more of them come? */
bool move_goes_on(struct leg *leg);
/* Is there no row to be inserted, so that the leg is only to describe what it would give? */
bool move_is_empty(const struct leg *leg);

/* ---- scatter_pick.c: rows that are picked in an order, and locked ---- */

/* `most`: so many are wanted. Fills scatter->asking. False: memory is out. */
bool pick_new(struct scatter *scatter, const struct scatter_order *order, const struct fact_pick *fact, uint64_t most);
void pick_free(struct scatter *scatter);
/* Are its rows candidates, not the client's? */
bool leg_peeks(const struct leg *leg);
void pick_describe(struct leg *leg, const char *body, size_t size);
void pick_take_row(struct leg *leg, const char *message, size_t size);
/* What it was told is done. `tag` NULL: there are more candidates. */
void pick_complete(struct leg *leg, const char *tag);
/* Does the leg keep its server, for what may come? Then it is idle. */
bool pick_keeps(struct leg *leg);
/* What is to be done next, as far as the shards have answered. */
void pick_go(struct scatter *scatter);
bool pick_is_done(const struct scatter *scatter);

/* By which its statement was understood. */
static inline const struct schema *scatter_schema(const struct scatter *scatter)
{
    return own_schema_of(scatter->client, scatter->worker);
}

enum leg_row { LEG_ROW, LEG_ROW_LATER, LEG_NO_ROW };
/* The next row that a leg has kept: leg->head. */
enum leg_row leg_next_row(struct leg *leg);
static inline enum merge_way scatter_way(const struct scatter *scatter)
{
    return scatter->order ? MERGE_IN_ORDER : merge_way(scatter->merge);
}

/* ---- missing.c: shards that are left out ---- */

/* A leg was refused a connection. True: its rows are left out, and the others go on. */
bool leg_is_left_out(struct leg *leg, const mosaic_error *why);

/* ---- leg_error.c ---- */

/* A shard's error goes to the client, or, of one of several that were given rows, waits for what the others say. */
void leg_pass_error(struct leg *leg, const char *message, const struct wire_frame *frame);

/* ---- leg_statement.c: what servers keep ---- */

/* The statement that servers keep of a text. NULL: none, it is parsed each time. `types`: the home shard's OIDs.
 * `for_all`: whatever the parameters' values are, the same plan does. A reference to be released. */
struct prepared *leg_statement(struct scatter *scatter, const char *text, const uint32_t *types, uint16_t count,
                               bool for_all);
/* Parse, unless the leg's server has it already. `there`: the types' OIDs on that one. */
void leg_write_parse(struct leg *leg, struct prepared *kept, const char *text, const uint32_t *there, uint16_t count,
                     struct buffer *out);
/* An error of a leg. True: what its server kept cannot be run any more, and nothing was told yet: to be planned anew.
 */
bool leg_is_stale(struct leg *leg, const char *message, const struct wire_frame *frame);
/* The same of a text, which is nobody's to fail with: its server is to be asked again, when it is ready, and parses it.
 */
bool leg_asks_again(struct leg *leg, const char *message, const struct wire_frame *frame);

/* ---- combine.c: tier 3 ---- */

/* What the statement that combines needs of the client's Bind. False: memory is out. */
bool combine_prepare(struct scatter *scatter, const struct scatter_order *order, size_t most);
void combine_free(struct scatter *scatter);
/* Is it one whose rows are partial? */
static inline bool leg_is_partial(const struct leg *leg)
{
    return leg->scatter->partials && leg->number + 1 < leg->scatter->leg_count;
}
/* How many legs may have servers now: the last one waits for the others' rows. */
size_t combine_reachable(const struct scatter *scatter);
void combine_describe(struct leg *leg, const char *body, size_t size);
/* A column of the result that one of the shards' is has its modifier: numeric(12,2), which an array has lost. */
void combine_modify(struct scatter *scatter);
void combine_add(struct leg *leg, const char *row, size_t size);
/* Sends the statement to the last leg's server, or goes on with it. */
void combine_send(struct leg *leg);

#endif
