/*
 * The `docker` command: what a lab's containers, volumes and network are called, and the calls that make, ask and
 * remove one of them.
 */
#ifndef MOSAIC_LAB_CONTAINER_H
#define MOSAIC_LAB_CONTAINER_H

#include "base/buffer.h"
#include "lab/state.h"

enum { DOCKER_CALL_MS = 60000, DOCKER_MOST_OUTPUT = 256 * 1024 };

struct docker {
    struct state *state;
    const volatile int *interrupted;
};

/* Names, in the state's arena; NULL when memory is out. */
const char *container_lab_id(const struct state *state);
/* pgmosaic-<id>-s3: the container's and the volume's name. */
const char *container_name(const struct state *state, size_t shard);
/* The file with the superuser's password, there only while a server is made. */
const char *container_env_file(const struct state *state);

/*
 * Runs docker; a non-zero exit becomes an MOSAIC_IO error that begins with `what`. output: NULL or a buffer that is
 * emptied first.
 */
MOSAIC_MUST_CHECK mosaic_status docker_call(const char *const *argv, int timeout_ms, const volatile int *interrupted,
                                            const char *what, struct buffer *output, mosaic_error *error);

/* The lab's own network, made where it is missing. Citus has none: its nodes use the machine's. */
MOSAIC_MUST_CHECK mosaic_status container_need_network(const struct docker *docker, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status container_make_volume(const struct docker *docker, size_t shard, mosaic_error *error);
/* PGDATA is a place of ours, since the image's own has moved between major versions. */
MOSAIC_MUST_CHECK mosaic_status container_create(const struct docker *docker, size_t shard, bool with_password,
                                                 mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status container_start(const struct docker *docker, size_t shard, mosaic_error *error);
/* Gives a running node of Citus the lab's passfile, with which nodes log in to each other. */
MOSAIC_MUST_CHECK mosaic_status container_give_passfile(const struct docker *docker, size_t shard, mosaic_error *error);
MOSAIC_MUST_CHECK mosaic_status container_remove(const struct state *state, size_t shard,
                                                 const volatile int *interrupted, mosaic_error *error);
/* Its state ("running", "exited" …) and its health ("starting", "healthy" …; "" if it has none). False: none. */
bool container_inspect(const struct state *state, size_t shard, char run[32], char health[32]);
bool container_running(const struct state *state, size_t shard);
/* The port of this machine that its server has; 0 when there is no container. */
int container_port(const struct state *state, size_t shard);

#endif
