/*
 * COPY FROM STDIN into a table that is on several shards: a write (scatter.h) whose rows come from the client once all
 * shards take them.
 *
 *     CopyData ──> input ──> rows ──> the queue of each row's shard ──> CopyData
 *
 * Each shard runs the client's own statement, with a header of its own if there is one. Rows go on byte by byte as they
 * came; a shard that takes no more keeps the client from being read, so that the queues stay at some 64 KiB, or one
 * row.
 *
 * PostgreSQL shall say what is wrong with a row. One whose shard cannot be told (it is malformed, its key is NULL or no
 * value) is given to some shard as the last of its rows, and nothing of the statement can succeed any more. When a row
 * was refused, the other shards are told to fail behind what they have already: of all that they then refuse the row
 * that the client sent first is told, with the client's number of its line.
 */
#ifndef MOSAIC_PROXY_COPY_IN_H
#define MOSAIC_PROXY_COPY_IN_H

#include "client/load_lines.h"
#include "copy/router.h"
#include "proxy/leg.h"
#include "sql/facts.h"

enum {
    COPY_ROWS_MOST = 1024,       /* in one go */
    COPY_READ_MOST = 256 * 1024, /* bytes of the client's that come before they are looked at */
};

enum copy_leg_state {
    COPY_WAITS, /* for CopyInResponse */
    COPY_TAKES,
    COPY_DONE,   /* CopyDone was sent */
    COPY_FAILED, /* CopyFail was; or it has refused a row */
};

struct copy_leg {
    enum copy_leg_state state;
    bool is_unwanted;
    struct buffer queue; /* a CopyData in the making */
    struct line_log lines;
    uint64_t line; /* so many it has */
};

struct copy_in {
    struct scatter *scatter;
    struct world *world;       /* held: the rule and the map are its own */
    const struct table *table; /* NULL: one of the home shard alone */
    const char *name;          /* of the relation */
    struct fact_copy fact;
    struct copy_splitter splitter;
    struct copy_router router;
    struct copy_rows rows;
    uint32_t *buckets;
    uint16_t *legs; /* of each shard of the model */
    struct buffer input;
    size_t wanted;    /* bytes of input, before it is split again */
    uint64_t line;    /* of the client's, as PostgreSQL counts them */
    bool any_moment;  /* 'now' may be each shard's own */
    bool has_header;  /* that one is still to come */
    bool has_started; /* binary: the shards have the header */
    bool is_over;     /* the client has said CopyDone or CopyFail */
    bool by_client;   /* CopyFail */
    bool fails;       /* all that is left is to find out what is told */
    bool is_told;
    struct buffer own;  /* an ErrorResponse: why, if no shard says so */
    struct buffer best; /* a shard's */
    uint64_t best_line;
    struct copy_leg each[];
};

/* `write` is copied as far as it is needed. `any_moment`: 'now' may be each shard's own. NULL: memory is out. */
struct copy_in *copy_in_new(struct scatter *scatter, const struct plan_write *write, bool any_moment);
void copy_in_free(struct copy_in *copy);

/* ---- of its legs ---- */

/* CopyInResponse. */
void copy_in_begun(struct leg *leg, const char *message, const struct wire_frame *frame);
/* May the others be asked, which of a reference table wait for the first? */
bool copy_in_has_begun(const struct leg *leg);
/* An ErrorResponse, as the client is to have it, of a row on this line of the client's (0: not known). */
void copy_in_refused(struct leg *leg, const char *message, size_t size, uint64_t line);
/* Something of it was answered: if it has failed, and this was the last, it is told. */
void copy_in_settle(struct scatter *scatter);
/* The leg is not wanted any more. */
void copy_in_stop(struct leg *leg);
/*
 * The line of the client's that an error's context is about: "COPY users, line 12, column id: …"; 0: none is named, or
 * it is not known any more. *start, *end: where the number stands.
 */
uint64_t copy_in_line(const struct leg *leg, const char *context, size_t *start, size_t *end);
/* Have the rows all been sent? Then what the shards say is the end. */
bool copy_in_is_sent(const struct copy_in *copy);

/* ---- copy_in.c, for copy_in_rows.c ---- */

static inline struct copy_leg *copy_leg_of(const struct leg *leg)
{
    return &leg->scatter->copy_in->each[leg->number];
}
static inline bool copy_in_is_sharded(const struct copy_in *copy)
{
    return copy->table && copy->table->kind == TABLE_SHARDED;
}
/* Bytes of rows go into its queue. False: memory is out. */
MOSAIC_MUST_CHECK bool copy_in_queue(struct leg *leg, const char *bytes, size_t size);
void copy_in_send_queue(struct leg *leg);
/* It gets no more rows. */
void copy_in_end(struct leg *leg, bool with_trailer);
/* Those that still take rows are told to fail. NULL: because another one has refused a row. */
void copy_in_fail(struct copy_in *copy, const char *why);
/* By an error of ours that counts whatever shards say: memory is out. */
void copy_in_fail_at_once(struct copy_in *copy);
void copy_in_fail_by(struct copy_in *copy, const mosaic_error *error);
/* By an error of ours, of this line, if no shard says it better. */
void copy_in_write_own(struct copy_in *copy, const mosaic_error *error, uint64_t line);

/* ---- copy_in_rows.c ---- */

/* What is looked for in rows, once they have begun. */
void copy_in_watch_fields(struct copy_in *copy);

#endif
