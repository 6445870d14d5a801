/*
 * The proxy as a whole: its threads, what they share, its life from start to stop.
 *
 *     proxy_start(&options, &proxy, &error); … proxy_stop(proxy, true); proxy_wait(proxy); proxy_free(proxy);
 */
#ifndef MOSAIC_PROXY_PROXY_H
#define MOSAIC_PROXY_PROXY_H

#include "proxy/account.h"
#include "proxy/worker.h"

enum { WORKERS_MOST = 256 };

struct deadlock;
struct follow;
struct listener;
struct lookup;
struct log;
struct operation;
struct placer;
struct recover;
struct settle;
struct starvation;
struct control_socket;

struct proxy {
    char *config_path;
    struct config *_Atomic config;
    struct world *_Atomic world;
    pthread_mutex_t swap; /* of the two pointers above: who takes a reference, and who replaces one */
    struct accounts accounts;
    atomic_int client_count;
    atomic_int *shard_connections; /* SHARDS_MOST: over all users and threads; by slot */
    atomic_int *shard_blocked;     /* the same, of accounts' shard_blocked */
    char **slot_names; /* SHARDS_MOST: of the shards that were ever there; whoever knows a slot may read its name */
    atomic_size_t slot_count;
    struct worker *workers;
    unsigned worker_count;
    struct list listeners;    /* worker 0's */
    unsigned char secret[32]; /* of this process: mock salts, seeds */
    atomic_bool stopping;
    atomic_int elder; /* connection to the process that was taken over from (control.h); -1: it has gone, or was none */
    struct reload *reload;
    struct lookup *lookup;
    struct operation *operation; /* operation.h */
    struct placer *placer;       /* placement.h */
    struct recover *recover;
    struct settle *settle;
    struct deadlock *deadlock;
    struct follow *follow;
    struct starvation *starvation;
    struct log *log;
    atomic_uint_fast64_t readings;     /* number of the last reading of map and schema that has ended, well or not */
    atomic_uint_fast64_t readings_due; /* before that one no client's statement begins */
    int64_t started;                   /* loop_clock */
};

struct proxy_options {
    const char *config_path;
    const char *const *listen;            /* NULL: the settings' */
    int threads;                          /* 0: the settings' */
    const struct control_socket *sockets; /* taken over from another process (control.h), or NULL */
    size_t socket_count;
};

MOSAIC_MUST_CHECK mosaic_status proxy_start(const struct proxy_options *options, struct proxy **proxy,
                                            mosaic_error *error);
/* Graceful: clients end when their transaction does. From any thread, not from a signal handler. */
void proxy_stop(struct proxy *proxy, bool at_once);
/* No new connections; those that are there go on. From any thread. */
void proxy_close_listeners(struct proxy *proxy);
/* Until every worker has ended. */
void proxy_wait(struct proxy *proxy);
void proxy_free(struct proxy *proxy);

/* A reference to what is current; released by world_release, config_release. */
struct world *proxy_world(struct proxy *proxy);
struct config *proxy_config(struct proxy *proxy);
void config_release(struct config *config);
/* Fills world->slots. On the thread that reads worlds alone. */
MOSAIC_MUST_CHECK mosaic_status proxy_number_shards(struct proxy *proxy, struct world *world, mosaic_error *error);
/* Every worker makes a turn, and looks at what is shared. */
void proxy_wake(struct proxy *proxy);
/* Has every worker that runs taken over the current world? */
bool proxy_world_is_everywhere(struct proxy *proxy);
/* Replace what is current, taking over the caller's reference. */
void proxy_set_world(struct proxy *proxy, struct world *world);
void proxy_set_config(struct proxy *proxy, struct config *config);
/*
 * The map is out of date: it is read again in the background. From any thread. Returns the number of the reading that
 * will have seen what is there now: proxy->readings reaches it.
 */
uint64_t proxy_ask_reload(struct proxy *proxy);
/* The same; a client of ours has changed the schema, which other proxies are told. */
uint64_t proxy_schema_changed(struct proxy *proxy, bool of_all_shards);
/* All clients wait for this reading: whoever hears of a change that was made here must see it. From any thread. */
void proxy_hold_for_reading(struct proxy *proxy, uint64_t reading);
void proxy_random(void *bytes, size_t size);

#endif
