/*
 * Pools: for each user and shard, the server connections of one worker, and the clients that wait for one.
 *
 *     connecting ──> idle <──> active (linked to a client)     kept (a client's own, between its transactions)
 *
 * Who waits is served in order of arrival. Limits hold over all workers, by counters of the account and the proxy.
 */
#ifndef MOSAIC_PROXY_POOL_H
#define MOSAIC_PROXY_POOL_H

#include "proxy/account.h"
#include "proxy/worker.h"

struct server;

#define POOL_GONE SIZE_MAX

/* A user as one worker knows him. */
struct user {
    struct list node; /* of worker->users */
    struct worker *worker;
    struct account *account;
    struct pool **pools; /* by slot (world.h); NULL until first used */
    size_t pool_count;
    unsigned clients; /* logged in, here */
    /* Of a new session of this role, on some place: another isolation than READ COMMITTED; settings by which values are
     * read otherwise than by default (route.c). */
    bool keeps_snapshot, reads_otherwise;
    struct session_path *paths; /* route.h: search paths by settings */
    size_t path_count;
};

struct pool {
    struct user *user;
    struct worker *worker;
    size_t slot;  /* as long as it lives */
    size_t shard; /* in the worker's world, which a reload may change; POOL_GONE: it has none such any more */
    struct list connecting, idle, active, kept; /* of servers; idle: the one used last comes first */
    struct list waiting;                        /* of clients */
    unsigned connecting_count, idle_count, active_count, kept_count, waiting_count;
    int blocked, blocked_told; /* connections: waiting.h; as counted last, as told the others */
    atomic_bool exceeds;       /* one beyond its size is on its way */
    int64_t retry_at;          /* no connection is tried before */
    size_t endpoint;           /* of the target: where the last login succeeded */
    mosaic_error error;        /* why the last one failed; status OK: it did not */
    /* What a new session is told, ready to be sent: ParameterStatus messages. Empty until the first login. */
    struct buffer welcome;
    char *given;          /* what the last login found it to be given: given_question (agree.h); NULL: nothing yet */
    int64_t asked_at;     /* pool_ask_anew */
    int64_t idle_timeout; /* ms: idle_in_transaction_session_timeout that the last login found; 0: none */
};

/* The worker's record of a user; NULL when memory is out. */
struct user *user_get(struct worker *worker, const char *name);
/* Its search paths are asked for anew. */
void user_forget_paths(struct user *user);
/* NULL: the shard was never used. */
static inline struct pool *pool_find(const struct user *user, size_t shard)
{
    size_t slot = user->worker->world->slots[shard];
    return slot < user->pool_count ? user->pools[slot] : NULL;
}
/* Of its shard, whether or not the worker's world still has it. */
const char *pool_shard_name(const struct pool *pool);
/* NULL when memory is out. */
struct pool *pool_get(struct user *user, size_t shard);

enum pool_answer {
    POOL_LINKED, /* client->server is set */
    POOL_WAITS,  /* the client is called again (loop_again) when it is linked, or has failed */
    POOL_FAILED  /* error says why */
};
enum pool_answer pool_assign(struct pool *pool, struct client *client, mosaic_error *error);
/* How many connections there may be; 0: no limit. */
struct pool_limits {
    int64_t pool;        /* of the user's to the shard: unless transactions starve each other, starve.h */
    int64_t user, shard; /* of the user's to all shards; of all users' to this one */
};
struct pool_limits pool_limits(const struct pool *pool);
/* One connection beyond the pool's size is opened for the first that waits. False: the other limits forbid it. */
bool pool_exceed(struct pool *pool);
/* Who comes next; NULL: nobody waits. */
const struct client *pool_first_waiting(const struct pool *pool);
/* The same: who came first. */
struct client *pool_waits_longest(const struct pool *pool);
/* It has waited in vain, and is told why: its transaction lets go of what others may wait for. */
void pool_refuse(struct client *client, const mosaic_error *error);
/* The client waits no more. */
void pool_forget(struct client *client);
/* A server that is free to serve anyone: gives it to who comes first of those that wait, else it is idle. */
void pool_return(struct server *server);
/* A server is gone from the pool: more may be opened. */
void pool_lost(struct pool *pool);
/* A login failed: clients that have no other hope are told so. */
void pool_failed(struct pool *pool, const mosaic_error *error);
/* Closes and opens connections as the settings' times and minimum say. */
void pool_tend(struct pool *pool);
/* Closes idle connections, and others as soon as they are free: RECONNECT, a new password, another epoch. */
void pool_renew(struct pool *pool);
/* One more is opened, or where there is no room all are renewed: what a session is given may be another by now. At most
 * every few seconds. */
void pool_ask_anew(struct pool *pool);
unsigned pool_count(const struct pool *pool);
void worker_free_users(struct worker *worker);

#endif
