/*
 * Labs: throwaway clusters on this machine, made by one command.
 *
 * A lab has a name, per checkout: its state stands in a directory keyed by the checkout's path, under
 * $XDG_STATE_HOME/pgmosaic
 * (~/.local/state/pgmosaic), for root under /var/lib/pgmosaic:
 *
 *     <state>/<basename>-<hash of the path>/<lab>/mosaic.yaml    made to be edited, tables last
 *                                                 pgpass         0600
 *                                                 lab.json       provider, shards, ports: written last
 *                                                 provider       "local" or "docker": written first
 *                                                 s0/, s1/ …     data directories (local); of Citus, s0 is the
 *                                                                coordinator's, s1 that of w1 …
 *
 * $PGMOSAIC_STATE, an absolute path, stands for <state> where it is set. The checkout is the nearest directory above
 * the current one that holds .git, else the current one.
 */
#ifndef MOSAIC_LAB_LAB_H
#define MOSAIC_LAB_LAB_H

#include "base/error.h"
#include "base/memory.h"

#include <stdbool.h>
#include <stddef.h>

enum lab_provider { LAB_LOCAL, LAB_DOCKER };
/* What spreads the rows: pgmosaic over servers that know nothing of each other, or Citus over a coordinator's workers.
 */
enum lab_engine { LAB_POSTGRES, LAB_CITUS };

enum { LAB_MOST_SHARDS = 64, LAB_SHARDS = 4, LAB_WORKERS = 2, LAB_MOST_CITUS_SHARDS = 64000 };
#define LAB_IMAGE "postgres"
#define LAB_CITUS_IMAGE "citusdata/citus"

const char *lab_provider_name(enum lab_provider provider); /* "local", "docker" */
const char *lab_engine_name(enum lab_engine engine);       /* "postgres", "citus" */

struct lab_options {
    const char *name;  /* "demo" by default; letters, digits, - and _ , at most 32 */
    bool engine_given; /* else a lab that is there keeps its own, and a new one is of PostgreSQL alone */
    enum lab_engine engine;
    size_t servers;      /* 1 to LAB_MOST_SHARDS, a coordinator counts too; 0: as many as there are, for a new lab
                            LAB_SHARDS, or a coordinator and LAB_WORKERS */
    int shard_count;     /* citus: shards of a table that does not say how many; 0: as it is (Citus's own: 32) */
    bool provider_given; /* else a lab that is there keeps its own; a new one is local, or where Citus is not
                            installed in containers */
    enum lab_provider provider;
    const char *image;               /* docker; NULL: LAB_IMAGE or LAB_CITUS_IMAGE, or what the lab has */
    const char *postgres;            /* local: directory with initdb and postgres, or NULL: the newest of 13 to 18 */
    const volatile int *interrupted; /* non-zero asks to stop and to remove what was made; or NULL */
};

struct lab_shard {
    const char *name; /* s0, s1 …; of Citus: coordinator, w1, w2 … */
    int port;
    const char *conninfo; /* with passfile= in it */
    bool running;
};

struct lab {
    const char *name, *directory, *config_path, *passfile;
    enum lab_provider provider;
    enum lab_engine engine;
    const char *user, *database;
    struct lab_shard *shards; /* the servers; of Citus the coordinator first */
    size_t shard_count;
    bool up;        /* every server runs */
    bool half_made; /* lab up was cut off: it has no shards to use; the next lab up or lab down removes it */
};

/* Called with one line about each step, for the command to print. May be NULL. */
typedef void (*lab_say_fn)(void *context, const char *line);

/*
 * Makes the lab, or repairs and starts what is there; idempotent. More shards than before are added; fewer is refused.
 * Interrupted or failed: what this call made is removed again.
 */
MOSAIC_MUST_CHECK mosaic_status lab_up(const struct lab_options *options, lab_say_fn say, void *context,
                                       mosaic_error *error);
/* Stops and removes everything of the lab. MOSAIC_NOT_FOUND if there is none. */
MOSAIC_MUST_CHECK mosaic_status lab_down(const char *name, lab_say_fn say, void *context, mosaic_error *error);
/* Stops (immediately, as a crash would) or starts one server of a lab. */
MOSAIC_MUST_CHECK mosaic_status lab_stop_shard(const char *name, const char *shard, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status lab_start_shard(const char *name, const char *shard, mosaic_error *error);
/* All labs of this checkout, running or not, in the arena. */
MOSAIC_MUST_CHECK mosaic_status lab_list(struct arena *arena, struct lab **labs, size_t *count, mosaic_error *error);
/* One lab. MOSAIC_NOT_FOUND lists those there are. */
MOSAIC_MUST_CHECK mosaic_status lab_find(struct arena *arena, const char *name, struct lab *lab, mosaic_error *error);

#endif
