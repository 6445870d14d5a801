/*
 * A worker: one thread with its own loop, clients, servers and pools. It shares with the others what never changes (the
 * world), accounts' counters, and an inbox.
 */
#ifndef MOSAIC_PROXY_WORKER_H
#define MOSAIC_PROXY_WORKER_H

#include "config/settings.h"
#include "plan/cache.h"
#include "proxy/access.h"
#include "proxy/batch.h"
#include "proxy/ids.h"
#include "proxy/prepared.h"
#include "proxy/session.h"
#include "proxy/stats.h"
#include "proxy/world.h"

#include <pthread.h>

struct proxy;
struct worker;
struct client;

/* What others ask of a worker: handled on its own thread, in order. Freed by memory_free afterwards. */
struct message {
    struct list node;
    void (*handle)(struct worker *worker, struct message *message);
};

/* The settings as last read: immutable, shared, replaced whole by RELOAD. */
struct config {
    atomic_uint references;
    struct arena arena;
    struct proxy_settings settings;
    struct access access; /* files that the settings name */
};

enum { TEXT_MARKS = 1024 }; /* a power of two */

enum { UNKNOWN_MARKS = 64 };

/* A name that was looked for, and is not there: unknown.h. */
struct unknown_mark {
    uint64_t name, version; /* its hash; the world that did not have it */
    int64_t until;          /* loop.now */
};

struct worker {
    struct proxy *proxy;
    unsigned number;
    pthread_t thread;
    struct loop loop;
    struct world *world;                   /* held; taken anew when the proxy has another one */
    struct config *config;                 /* the same */
    const struct proxy_settings *settings; /* config's */

    struct list clients;    /* all of them */
    struct list cancellers; /* cancel requests on their way; cancel.h */
    struct list users;
    atomic_int client_count;
    struct client **slots; /* for cancel keys: slots[n] is the client whose pid names n, or NULL */
    uint32_t slot_count, slot_free_hint;

    char *space; /* SPACE bytes: every read goes here first */
    struct batch to_client, to_server;
    struct buffer local;  /* an answer being put together */
    struct arena scratch; /* of one message's work */
    struct ids ids;       /* for keys that are made here */
    const char *text;     /* of the statement that is being looked at, for the log; NULL: none */
    size_t text_size;
    struct settings_table settings_table;
    struct prepared_table prepared_table;
    uint64_t text_marks[TEXT_MARKS]; /* leg_statement.c's: of texts that may come again */
    struct plan_cache *plans;
    uint32_t servers_made, clients_made; /* number them */
    uint64_t plan_seed;
    size_t own_schemas; /* that transactions of its clients have: own_schema.h */
    struct own_schema *dropped_schemas;
    uint64_t meanings; /* drawn for what is prepared in such */
    struct unknown_mark unknown[UNKNOWN_MARKS];
    uint64_t readings;                  /* proxy->readings as it was seen last */
    atomic_uint_fast64_t world_version; /* of `world`, for other threads */
    struct counters counters;
    struct shard_counters *shards; /* by slot; SHARDS_MOST of them, of which only those that are used have memory */
    struct tier_counters tiers[TIER_MOST + 1]; /* by tier, from 2 on */
    struct leg_counters legs;
    struct error_counters *errors;

    struct source inbox; /* others' messages */
    int inbox_fd;
    pthread_mutex_t inbox_mutex;
    struct list inbox_list;
    struct timer housekeeping;
    bool has_own_timeouts; /* a transaction had one of its session: timeout_take_over */
    bool reports;          /* the detector has a report of its waits; waiting.h */
    bool stopping;         /* no new transactions */
    bool at_once;          /* and what is under way is not waited for */
    unsigned commits;      /* over several shards, under way: also of clients that are gone */
    bool is_started;
    atomic_bool has_ended; /* its thread has nothing more to do */
};

enum { WORKER_SPACE = 262144, READ_MOST = 65536 }; /* READ_MOST: at once, of what may have to be kept */

MOSAIC_MUST_CHECK mosaic_status worker_init(struct worker *worker, struct proxy *proxy, unsigned number,
                                            mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status worker_start(struct worker *worker, mosaic_error *error);
/* After its thread has ended. */
void worker_free(struct worker *worker);
/* From any thread: clients end when their transaction does, or at once. */
void worker_stop(struct worker *worker, bool at_once);
/* The worker has another world now: what was made by the old one is renewed. */
void worker_world_changed(struct worker *worker, const struct world *before);
/* From any thread. The message is the worker's from now on. */
void worker_post(struct worker *worker, struct message *message);

#endif
