/*
 * A scatter: a statement that several shards answer at once, merged for one client (tier 2).
 *
 *     client ── scatter ──┬─ leg ── server of s0
 *                         ├─ leg ── server of s1
 *                         └─ leg ── server of s2
 *
 *     STARTING ─> HELD ⇄ RUNNING ─> FINISHED        or, at any time, FAILED; before anything was told, UNFIT or STALE
 *
 * A leg is a client that nobody is connected to: so it waits in its shard's pool, is given the client's settings, and
 * hears of a lost server as any client does. Legs ask for servers in the order of shards, one after the other, so that
 * no two scatters wait for each other. Each is sent Parse, Bind, Describe, Execute and Sync in one piece.
 *
 * Within a transaction that shards have, or that it makes (a write), its legs' servers are branches of that before or
 * behind: then its end is told when all of them have answered, and none is cancelled but where it has failed.
 *
 * Where the client has asked for it (partial_results), a shard to which there is no connection is left out, and named
 * in a warning: missing.c. One that has been asked and is lost then fails the statement, as ever.
 *
 * Rows go on as they come, from whatever leg, or in order: then each leg's rows are kept up to LEG_KEPT bytes, and no
 * more are read of it before they are used. What the client does not take is not read of the shards either.
 */
#ifndef MOSAIC_PROXY_SCATTER_H
#define MOSAIC_PROXY_SCATTER_H

#include "plan/explain.h"
#include "proxy/client.h"

enum scatter_state {
    SCATTER_STARTING, /* no shard has described the result yet */
    SCATTER_HELD,     /* described; no rows are wanted at the moment */
    SCATTER_RUNNING,  /* rows go to the client */
    SCATTER_FINISHED, /* all of them have */
    SCATTER_FAILED,   /* scatter_failure says why */
    SCATTER_UNFIT,    /* what is to be merged it cannot: another tier must answer */
    SCATTER_STALE,    /* the schema or the map is another one than that of the plan: to be planned again */
};

/* What is asked. */
struct scatter_order {
    const struct plan *plan; /* PLAN_SCATTER, PLAN_WRITE */
    const uint16_t *shards;  /* of the legs; one behind them is the coordinator */
    size_t shard_count;
    bool joins;            /* the shards answer within the client's transaction, which is open: branch.h */
    const uint32_t *types; /* of the parameters, as Parse gave them or a server found them; 0: not said */
    uint16_t type_count;
    const struct wire_bind *bind; /* NULL: no parameters, and all in text */
    const char *text;             /* the client's own, for places in errors */
    size_t size;
    const char *cursor; /* DECLARE: its name; NULL */
    int tier;
    bool may_miss;               /* shards that are not reached may be left out, where that is not a wrong value */
    const mosaic_error *warning; /* to be told before the result; NULL */
    bool checks_schema;          /* is the schema, when it is its turn to change it, that of the plan? */
    const struct explanation *explanation; /* EXPLAIN: what stands before the shards' plans */
};

/*
 * The client's session is the legs'. NULL: *error says why (a Bind that asks for formats of another number of columns;
 * memory). It lives until scatter_drop, and then as long as its shards still answer.
 */
struct scatter *scatter_new(struct client *client, struct scatter_order *order, mosaic_error *error);
/* Asks the shards. The client is called again (loop_again) once it is no more STARTING. */
void scatter_start(struct scatter *scatter);
enum scatter_state scatter_state(const struct scatter *scatter);
/* Does its client have to wait for it? */
bool scatter_is_busy(const struct scatter *scatter);
/* The RowDescription that the client is to have. Not of one that is STARTING, or failed then. */
const struct buffer *scatter_description(const struct scatter *scatter);
/* Warnings of ours, and what the shards have said so far; none the second time. */
void scatter_tell_notices(struct scatter *scatter, struct buffer *out);
/* Shards whose rows are missing, in a warning; none the second time. */
void scatter_tell_missing(struct scatter *scatter, struct buffer *out);
/* Has a shard taken the text? */
bool scatter_is_parsed(const struct scatter *scatter);
/* An ErrorResponse. */
const struct buffer *scatter_failure(const struct scatter *scatter);
/*
 * From HELD or FINISHED: up to `most` rows go to the client (0: all). It ends, maybe at once, by client_scatter_over
 * with the scatter HELD (so many came), FINISHED or FAILED.
 */
void scatter_fetch(struct scatter *scatter, uint64_t most);
/* The same for FETCH, whose answer has its own last word. */
void scatter_fetch_sql(struct scatter *scatter, uint64_t most);
bool scatter_is_fetched(const struct scatter *scatter);
/* Does the coordinator put it together? */
bool scatter_combines(const struct scatter *scatter);
/* Is it EXPLAIN? COPY? A write? */
bool scatter_explains(const struct scatter *scatter);
bool scatter_copies(const struct scatter *scatter);
bool scatter_writes(const struct scatter *scatter);
/* Is it COPY FROM? What scatter_description then says is CopyInResponse, and comes when it is executed. copy_in.h. */
bool scatter_copies_in(const struct scatter *scatter);
/* Does it run, and has the client not ended its data? */
bool scatter_takes_data(const struct scatter *scatter);
/* Do all shards take theirs? Else the client is called again once they do. */
bool scatter_has_room(const struct scatter *scatter);
/* Bytes of CopyData. They are kept; at the end of what was read of the client they are passed on. */
void scatter_take_data(struct scatter *scatter, const char *bytes, size_t size);
void scatter_pass_data(struct scatter *scatter);
/* CopyDone; or CopyFail: why. */
void scatter_end_data(struct scatter *scatter, const char *why);
/* DECLARE: the cursor's name; NULL: it is none, or has been declared. */
const char *scatter_cursor(const struct scatter *scatter);
void scatter_declared(struct scatter *scatter);
enum { SCATTER_TAG = 32 };
/* What CommandComplete says. */
void scatter_tag(const struct scatter *scatter, char tag[SCATTER_TAG]);
/* Of a text of several statements: CommandComplete of all that come before that. */
void scatter_tell_script(const struct scatter *scatter, struct buffer *out);
/* Has the client but the begin of a row? */
bool scatter_is_talking(const struct scatter *scatter);
/* The client has room again, or was merely called: what waited for that goes on. */
void scatter_resume(struct scatter *scatter);
/* The client's wish: every shard is told; what still waits for a server fails at once. */
void scatter_cancel(struct scatter *scatter);
/* The client needs it no more: what still runs is cancelled, or read over. NULL is nothing. */
void scatter_drop(struct scatter *scatter);

/* ---- for the servers of legs: `client` is one ---- */

/* A row of a result, or of COPY. */
static inline bool leg_is_row(char type)
{
    return type == WIRE_B_DATA_ROW || type == WIRE_B_COPY_OUT_DATA;
}
/* May no message of this type be taken now? Then its server is called again once one may be. */
bool leg_holds(struct client *client, char type);
/* Whose statement it is a part of; NULL: it was dropped. */
struct client *leg_owner(const struct client *client);
/* How many servers its statement has in the client's transaction, linked to legs. slots: those of their shards; NULL.
 */
size_t leg_linked(const struct client *client, size_t *slots);
/* Does anybody wait for it, or is it to end? Not while its portal is left alone. */
bool leg_is_awaited(const struct client *client);
/* Once more, and then ever more rarely, who was told to stop and goes on: a backend that had not begun yet took no
 * notice (postgres.c, DoingCommandRead). */
void leg_cancel_again(struct client *client);
/* The same as leg_holds found last. */
bool leg_is_held(const struct client *client);
/* How much of its server's answer is to be read at once: more of rows that go on as they come. Up to WORKER_SPACE. */
size_t leg_room(const struct client *client);
/* Must a row be whole before it is taken? */
bool leg_wants_whole(const struct client *client);
/* Whole rows at the beginning of what was read, taken together: their bytes. 0: they must be taken one by one. */
size_t leg_take_run(struct client *client, const char *data, size_t size);
/* A message; of a row, its first `here` bytes. False: the server is closed. */
bool leg_take(struct server *server, const char *message, const struct wire_frame *frame, size_t here);
/* What was read of a server, so many bytes, is used up: what it made goes to the client. */
void leg_walked(struct client *client, size_t size);
/* No request to stop its server is on its way any more. */
void leg_cancel_ended(struct client *client);
/* Its server is gone. */
void leg_lost(struct client *client, const mosaic_error *why, bool cut);
/* Memory was out. */
void leg_closed(struct client *client);

#endif
