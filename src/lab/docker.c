/* Containers of a lab, through the `docker` command. */
#include "lab/provider.h"

static mosaic_status docker_open(struct state *state, const struct provider_options *options, void **handle,
                                 mosaic_error *error)
{
    (void)options;
    *handle = NULL;
    return error_set(error, MOSAIC_UNSUPPORTED, "lab %s: containers are not supported in this build", state->name);
}

static bool docker_running(const struct state *state, size_t shard)
{
    (void)state;
    (void)shard;
    return false;
}

static mosaic_status docker_crash(const struct state *state, size_t shard, mosaic_error *error)
{
    (void)state;
    (void)shard;
    (void)error;
    return MOSAIC_OK;
}

const struct provider provider_docker = {
    .open = docker_open, .running = docker_running, .crash = docker_crash, .remove = docker_crash};
