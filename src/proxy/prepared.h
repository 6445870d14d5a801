/*
 * Prepared statements in transaction pooling.
 *
 *     client: name ──> prepared (text, parameter types, meaning of the settings) <── server: what it has, by LRU
 *
 * A prepared statement is interned: clients that prepare the same text share it, and a server is sent each but once.
 * On servers it is called mosaic_<number>. Whatever can change what a text means is part of what identifies it.
 *
 * So is the shape of its result: names and types of the columns, as a hash that is never 0. All clients that share a
 * statement know the same shape of it; a server that finds another one does not get to answer them.
 */
#ifndef MOSAIC_PROXY_PREPARED_H
#define MOSAIC_PROXY_PREPARED_H

#include "proxy/list.h"
#include "proxy/session.h"

#include <stdbool.h>
#include <stdint.h>

struct prepared_table;

enum { PREPARED_NAME = 28 }; /* mosaic_, 20 digits, and a zero */

struct prepared {
    struct prepared_table *table;
    struct prepared *next; /* of the same chain */
    unsigned references;
    uint64_t hash;
    struct settings_sense sense; /* of the session that prepared it */
    uint64_t number;
    const char *text; /* zero-terminated */
    uint32_t size;
    uint16_t type_count;
    const uint32_t *types; /* host order */
    /* What the types turned out to be, once a server was asked: ParameterDescription; NULL: not known. */
    uint32_t *described;
    uint16_t described_count;
    bool is_retired; /* the text has another shape now: nobody finds it any more */
    bool may_place;  /* it may be mosaic.shard_table or its like (placement.h): it has the words */
    bool has_dates;  /* literals of it may be read by settings: dates, times, money */
    bool is_alone;   /* the same text parsed later means something else: nobody else finds it */
    uint64_t shape;  /* 0: no server has told it yet */
    /* Caches of whoever needs them; zero: not computed. */
    char name[PREPARED_NAME];              /* prepared_name */
    uint64_t plan_context, plan_text_hash; /* route.c's, of the plan cache */
};

struct prepared_table {
    struct prepared **chains;
    size_t chain_count, count;
    uint64_t seed, last_number, last_unnamed;
};

bool prepared_table_init(struct prepared_table *table, uint64_t seed);
void prepared_table_free(struct prepared_table *table);
/* A reference to be released; NULL when memory is out. `types`: as in Parse, big endian. */
struct prepared *prepared_intern(struct prepared_table *table, const char *text, size_t size, const char *types,
                                 uint16_t type_count, struct settings_sense sense);
struct prepared *prepared_hold(struct prepared *prepared);
void prepared_release(struct prepared *prepared);

/* Keeps what a ParameterDescription (its body) says of it; nothing for a malformed one. */
void prepared_describe(struct prepared *prepared, const char *body, size_t size);
/* Of a RowDescription's body; of none, for NoData, with NULL. Tables' OIDs differ between shards and do not count. */
uint64_t prepared_shape(const char *body, size_t size);
/* Is it known of such rows that their values name no types (rowmap.h)? Not of a shape that is not known. */
static inline bool prepared_is_plain(uint64_t shape)
{
    return shape & 1;
}
/*
 * The same text for those who parse it from now on, when it has this shape (0: one that is not known): the same one, or
 * another one, in whose favour this is retired. A reference to be released; NULL when memory is out.
 */
struct prepared *prepared_reshape(struct prepared *prepared, uint64_t shape);

/* What servers call it: "mosaic_12". */
const char *prepared_name(struct prepared *prepared);

/* ---- a client's names ---- */

struct client_statements {
    struct client_statement **chains;
    size_t chain_count, count;
};

struct client_statement {
    struct client_statement *next;
    struct prepared *prepared; /* held */
    unsigned in_flight;        /* Parse messages sent for it and not answered */
    bool is_checked;           /* its shape is being asked for: nothing is bound to it before it is known */
    bool is_closing;           /* Close was taken; it holds unless an error before it makes it be passed over */
    bool is_removed;           /* its name is free again; freed when the last answer came */
    char name[];
};

struct client_statement *client_statements_find(const struct client_statements *statements, const char *name);
/* The name must not be there. Takes a reference of its own. NULL when memory is out. */
struct client_statement *client_statements_add(struct client_statements *statements, const char *name,
                                               struct prepared *prepared);
void client_statements_remove(struct client_statements *statements, const char *name);
/* The same by itself, also where it is closing. */
void client_statements_drop(struct client_statements *statements, struct client_statement *statement);
/* All that can be found; false as soon as visit is, which may let none go. */
bool client_statements_visit(const struct client_statements *statements,
                             bool (*visit)(void *context, struct client_statement *statement), void *context);
/* Tells a client's names for one statement apart. */
uint32_t client_statements_mark(const char *name);
/* A name of the statement of this number: that of this mark, where there is one; NULL: none. Looks at all. */
const char *client_statements_name(const struct client_statements *statements, uint64_t number, uint32_t mark);
/* The answer to a Parse that was sent for it (which had in_flight counted). */
void client_statement_landed(struct client_statement *statement);
void client_statements_clear(struct client_statements *statements);

/* ---- a server's ---- */

struct server_statements {
    struct server_statement **chains;
    size_t chain_count, count;
    struct list recent; /* used last first; initialised by the first add */
};

/* Is it there? Then it is now the one used last. */
bool server_statements_use(struct server_statements *statements, const struct prepared *prepared);
/* The same, and the shape that it has on this server (0: not told yet), to be kept there; NULL: it is not there. */
uint64_t *server_statements_shape(struct server_statements *statements, const struct prepared *prepared);
/* Is it there? When it was parsed, to be kept there by who parses it anew after a while; 0: not told; NULL: it is not.
 */
int64_t *server_statements_since(struct server_statements *statements, const struct prepared *prepared);
/* Holds it. False when memory is out. */
bool server_statements_add(struct server_statements *statements, struct prepared *prepared);
/* The one used least recently, when there are `most` or more; NULL otherwise. It stays until it is removed. */
struct prepared *server_statements_oldest(const struct server_statements *statements, size_t most);
void server_statements_remove(struct server_statements *statements, struct prepared *prepared);
/* The one used least recently leaves a server that has `most`: its Close goes into *out. False: there was room. */
bool server_statements_make_room(struct server_statements *statements, size_t most, struct buffer *out);
void server_statements_clear(struct server_statements *statements);

#endif
