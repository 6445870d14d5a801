/*
 * Where labs stand on disk, and lab.json, which is written last: a lab's directory without it is half made, and is
 * removed by the next `lab up` or `lab down`.
 */
#ifndef MOSAIC_LAB_STATE_H
#define MOSAIC_LAB_STATE_H

#include "lab/lab.h"

enum { STATE_NAME_SIZE = 24 };

struct state_shard {
    char name[STATE_NAME_SIZE]; /* s0, s1 …; of Citus: coordinator, w1 … */
    int port;
    /* As mosaic.yaml has it, if nobody edited it; for a worker of Citus: as the coordinator's pg_dist_node has it. 0:
     * the shard is not written there yet. */
    int config_port;
};

/* What lab.json holds, and the paths that follow from the name. Strings live in the arena. */
struct state {
    struct arena *arena;
    const char *name;
    const char *checkout_directory; /* <state>/<basename>-<hash>: the labs of this checkout */
    const char *checkout;           /* realpath of the checkout */
    const char *directory, *json_path, *config_path, *passfile, *lock_path, *provider_path;
    bool directory_exists, complete; /* complete: lab.json was read */

    enum lab_provider provider;
    enum lab_engine engine;
    const char *user, *database; /* both are the lab's name */
    const char *postgres;        /* local: the directory of initdb and postgres */
    int major;                   /* local: version of what is in it */
    const char *image;           /* docker */
    size_t shard_count;
    struct state_shard shards[LAB_MOST_SHARDS];
};

/* The directory of this checkout's labs, which need not be there yet. MOSAIC_USAGE where no place can be found. */
MOSAIC_MUST_CHECK mosaic_status state_checkout(struct arena *arena, const char **checkout, const char **directory,
                                               mosaic_error *error);
/* Checks the name, fills the paths, and reads lab.json if there is one. */
MOSAIC_MUST_CHECK mosaic_status state_open(struct arena *arena, const char *name, struct state *state,
                                           mosaic_error *error);
/* Sets the engine, and the names of all servers after it. */
void state_set_engine(struct state *state, enum lab_engine engine);
/* Writes lab.json, whole or not at all. */
MOSAIC_MUST_CHECK mosaic_status state_save(const struct state *state, mosaic_error *error);
/* The names of this checkout's labs, half-made ones too, sorted, in the arena. */
MOSAIC_MUST_CHECK mosaic_status state_names(struct arena *arena, const char *const **names, size_t *count,
                                            mosaic_error *error);
/* The error for a lab that is not there, with those that are in its hint. Returns MOSAIC_NOT_FOUND. */
mosaic_status state_not_found(struct arena *arena, const char *name, mosaic_error *error);
/* The conninfo of a shard, libpq-quoted. NULL when memory is out. */
const char *state_conninfo(const struct state *state, size_t shard);
/* 16 hexadecimal digits of a hash of the text; into text (at least 17 bytes); returns text. */
const char *state_hash(const char *of, char *text);

#endif
