/*
 * Where a statement goes: the plan of each statement of a text, and one shard for all of them.
 */
#ifndef MOSAIC_PROXY_ROUTE_H
#define MOSAIC_PROXY_ROUTE_H

#include "plan/explain.h"
#include "proxy/client.h"

enum route_way {
    ROUTE_SHARD,   /* it belongs to `shard`, which may be the coordinator (model_places) */
    ROUTE_SCATTER, /* several shards answer at once: `plan` */
    ROUTE_ANY,     /* `shard` does as well as any */
    ROUTE_REFUSED, /* `error` says why */
    ROUTE_MORE,    /* not by the values that are there: more of them must be */
    ROUTE_ASK,     /* a server must be asked first: client_ask_path */
    ROUTE_TYPES,   /* a server must be asked for the types of the parameters */
    ROUTE_WAIT,    /* for the coordinator, or a look at the schema: the message is to be given again */
    ROUTE_EXPLAIN, /* it is EXPLAIN (MOSAIC): `explanation` is the answer */
};

struct route {
    enum route_way way;
    size_t shard;
    bool joins;              /* the shards answer within the transaction; or, of a write, in one of its own */
    bool may_miss;           /* of tier 2: shards that are not reached may be left out */
    int64_t moment_us;       /* what the shards are told of the time at which the transaction began; 0: nothing */
    bool aside;              /* beside the open transaction, which no shard has yet */
    int tier;                /* 2 to 4 where one shard is not enough; 0: one is, or it is refused */
    const struct plan *plan; /* of ROUTE_SCATTER; as long as `facts` */
    const char *pruned;      /* what the coordinator is sent instead; NULL: the text as it is */
    uint32_t bucket;         /* PLAN_NO_BUCKET: none */
    const char *relation;    /* whose key decided; NULL: none */
    const struct facts_list *facts;    /* NULL: nothing was analysed. Valid until the next look-up */
    const struct plan_value *literals; /* of the text; the same */
    size_t literal_count;
    uint32_t position;               /* in the text, of what one shard does not have; 0: none */
    mosaic_error *error;             /* in the worker's scratch arena: of ROUTE_REFUSED; of a tier, why not one shard */
    const mosaic_error *warning;     /* the same: to be told before the answer; NULL: none */
    struct explanation *explanation; /* the same; also of EXPLAIN that several shards answer */
};

/* A text with parameters: the statement prepared, and a Bind's values; NULL: a simple query. */
struct route_parameters {
    struct prepared *prepared;
    const struct plan_value *values;
    size_t count;
    bool more;        /* values are still to come behind these */
    bool is_executed; /* by EXECUTE as SQL: one server runs it */
};

/* False when memory is out. */
MOSAIC_MUST_CHECK bool route_text(struct client *client, const char *text, size_t size,
                                  const struct route_parameters *parameters, struct route *route);
/* client_reach for what was routed, which is then noted as the transaction's. */
enum taken route_reach(struct client *client, const struct route *route);
/* The facts alone, of a text or of a prepared statement. */
MOSAIC_MUST_CHECK bool route_text_facts(struct client *client, const char *text, size_t size, struct route *route);
MOSAIC_MUST_CHECK bool route_facts(struct client *client, struct prepared *prepared, struct route *route);
/* The same of what was executed: what it does to the session says its text, whatever the search_path is meanwhile. */
MOSAIC_MUST_CHECK bool route_effect(struct client *client, struct prepared *prepared, struct route *route);
/* A shard that serves what every shard can: the one that is open, else one that is up; the home shard first. */
size_t route_any(const struct client *client);

/* A setting of the session; NULL: it is not set, or empty. */
const char *route_setting(const struct client *client, const char *name);
bool route_ends_transaction(const struct facts *facts);
/* Such a statement would end a transaction of several shards on one of them. */
enum taken route_refuse_end(struct client *client);
/* Is the client's transaction REPEATABLE READ or SERIALIZABLE, by BEGIN, SET TRANSACTION, a setting, or the role's own?
 */
bool route_keeps_snapshot(const struct client *client);
/* The same, where it may not have one on each shard. */
bool route_wants_snapshot(const struct client *client);

/* Are there several shards, so that statements are looked at? */
bool route_is_analysed(const struct client *client);
/* May the time of a transaction be another one on each of its shards? mosaic.clock, or the setting shard_clocks. */
bool route_has_shard_clocks(const struct client *client);

/* ---- search paths ---- */

/* What current_schemas(true) is for a user with these settings. */
struct session_path;
/* Of the client's session; NULL: not known. */
const struct session_path *route_path(struct client *client);
/* Its schemas; NULL has none. */
size_t route_path_names(const struct session_path *path, const char *const **names);
/* plan_cache_context of what has this path, computed once where there are no temporary tables; NULL: of no path. */
uint64_t route_path_context(const struct session_path *path, const struct sql_context *context, uint64_t seed);
/* Adds what the client's server is asked: its search_path, and on the home shard schema_sight_query(). */
void route_path_question(const struct client *client, struct buffer *sql);
/*
 * Does the answer stand behind what the world was read from? False: its connection is of before, or the home shard
 * shows roles other schemas by now. A path that was kept then would stay if that were taken back before anybody looks.
 */
bool route_path_agrees(const struct client *client, const char *text);
/* Takes the answer, {pg_catalog,public} and a number. False: memory is out, or it is malformed. */
MOSAIC_MUST_CHECK bool route_learn_path(struct client *client, const char *text);
void route_free_paths(struct user *user);

#endif
