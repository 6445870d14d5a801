/*
 * Containers of a lab, through the `docker` command: one container and one named volume for each shard, and one
 * network, all with the labels
 *
 *     pgmosaic.checkout=<path>  pgmosaic.lab=<name>  pgmosaic.id=<hash of the lab's directory>
 *
 * and named pgmosaic-<id>-s0 …; in the network a shard is known as s0 …. Of Citus the containers have the machine's
 * network, and listen on its 127.0.0.1. The image must obey the environment of the
 * official one (POSTGRES_PASSWORD, POSTGRES_INITDB_ARGS, PGDATA, arguments for the server).
 *
 * The superuser's password, which the image wants, is random, goes in by an env file, and is taken from the role as
 * soon as the lab's own role is made: what `docker inspect` shows opens nothing.
 */
#include "base/buffer.h"
#include "base/control_point.h"
#include "lab/container.h"
#include "lab/files.h"
#include "lab/passfile.h"
#include "lab/provider.h"
#include "lab/role.h"
#include "lab/server.h"
#include "pq/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    CALL_MS = DOCKER_CALL_MS,
    PULL_MS = 900000,
    HEALTHY_MS = 120000,
    PORT_ATTEMPTS = 10,
    MOST_OUTPUT = DOCKER_MOST_OUTPUT
};

/* ---- what must be there ----------------------------------------------------------------------------- */

static mosaic_status docker_reach(mosaic_error *error)
{
    const char *const argv[] = {"docker", "version", "--format", "{{.Server.Version}}", NULL};
    struct buffer output = BUFFER_INIT(MOST_OUTPUT);
    mosaic_status status = docker_call(argv, CALL_MS, NULL, "the Docker daemon does not answer", &output, error);

    if (status == MOSAIC_NOT_FOUND) {
        error_set(error, MOSAIC_NOT_FOUND, "there is no program docker");
        error_hint(error, "install it (Debian: apt-get install docker.io), or use --with local");
    } else if (status == MOSAIC_IO && strstr(buffer_string(&output), "permission denied")) {
        error_set(error, MOSAIC_IO, "this user may not talk to the Docker daemon");
        error_hint(error,
                   "join the group docker (sudo usermod -aG docker $USER, then log in again), or use --with local");
    } else if (status == MOSAIC_IO)
        error_hint(error, "start it (sudo systemctl start docker), or use --with local");
    buffer_free(&output);
    return status;
}

static mosaic_status need_image(const struct docker *docker, mosaic_error *error)
{
    const char *image = docker->state->image;
    const char *const look[] = {"docker", "image", "inspect", "--format", "{{.Id}}", image, NULL};
    const char *const pull[] = {"docker", "pull", "--quiet", image, NULL};
    mosaic_error first;
    char what[300];
    mosaic_status status = docker_call(look, CALL_MS, docker->interrupted, "there is no such image", NULL, &first);

    if (status != MOSAIC_IO) {
        if (status != MOSAIC_OK && error)
            *error = first;
        return status;
    }
    snprintf(what, sizeof what, "image %.200s is not on this machine, and pulling it failed", image);
    status = docker_call(pull, PULL_MS, docker->interrupted, what, NULL, error);
    if (status == MOSAIC_IO)
        error_hint(error, "pull or load it by hand, or name another by --image");
    return status;
}

static const char *usual_image(const struct state *state)
{
    return state->engine == LAB_CITUS ? LAB_CITUS_IMAGE : LAB_IMAGE;
}

static mosaic_status docker_open(struct state *state, const struct provider_options *options, void **handle,
                                 mosaic_error *error)
{
    struct docker *docker = arena_zeroed(state->arena, 1, sizeof *docker);
    mosaic_status status;

    *handle = docker;
    if (!docker || !container_name(state, 0) || !container_env_file(state))
        return error_memory(error);
    *docker = (struct docker){.state = state, .interrupted = options->interrupted};
    if (!state->complete)
        state->image = arena_string(state->arena, options->image ? options->image : usual_image(state));
    if (!state->image)
        return error_memory(error);
    if (!*state->image || *state->image == '-')
        return error_set(error, MOSAIC_USAGE, "\"%s\" cannot be the name of an image", state->image);
    status = docker_reach(error);
    return status == MOSAIC_OK ? need_image(docker, error) : status;
}

/* ---- containers ------------------------------------------------------------------------------------- */

/*
 * A port can be taken between its choice and the start: then the container is made again with another, over the same
 * volume. On the machine's own network a container would start all the same, and only its server end.
 */
static mosaic_status start_or_move(const struct docker *docker, size_t shard, bool with_password, mosaic_error *error)
{
    struct state_shard *server = &docker->state->shards[shard];
    bool own_network = docker->state->engine != LAB_CITUS;
    mosaic_status status;

    for (int attempt = 0;; attempt++) {
        if (own_network || port_is_free(server->port))
            status = container_start(docker, shard, error);
        else
            status = error_set(error, MOSAIC_IO, "port %d of 127.0.0.1 is taken", server->port);
        if (status != MOSAIC_IO || port_is_free(server->port) || attempt == PORT_ATTEMPTS)
            return status;
        server->port = free_port(docker->state);
        status = container_remove(docker->state, shard, docker->interrupted, error);
        if (status == MOSAIC_OK)
            status = container_create(docker, shard, with_password, error);
        if (status != MOSAIC_OK)
            return status;
    }
}

static mosaic_status not_healthy(const struct docker *docker, size_t shard, mosaic_status kind, mosaic_error *error)
{
    const char *name = container_name(docker->state, shard);
    const char *const argv[] = {"docker", "logs", "--tail", "8", name, NULL};
    struct buffer output = BUFFER_INIT(MOST_OUTPUT);
    char line[401];

    if (docker_call(argv, CALL_MS, NULL, "there are no logs", &output, NULL) != MOSAIC_OK)
        buffer_clear(&output);
    error_set(error, kind, "the container of shard %s did not become healthy: %s", docker->state->shards[shard].name,
              process_last_line(buffer_string(&output), line));
    error_detail(error, "the end of its log: %.800s", buffer_string(&output));
    error_hint(error, "the image must obey the environment of the official postgres image");
    buffer_free(&output);
    return kind;
}

static mosaic_status wait_healthy(const struct docker *docker, size_t shard, mosaic_error *error)
{
    long long deadline = process_clock() + HEALTHY_MS;
    char run[32], health[32];

    for (;;) {
        if (container_inspect(docker->state, shard, run, health) && strcmp(health, "healthy") == 0 &&
            strcmp(run, "running") == 0)
            return MOSAIC_OK;
        if (strcmp(run, "exited") == 0 || strcmp(run, "dead") == 0)
            return not_healthy(docker, shard, MOSAIC_IO, error);
        if (docker->interrupted && *docker->interrupted)
            return error_set(error, MOSAIC_INTERRUPTED, "interrupted while the container of shard %s started",
                             docker->state->shards[shard].name);
        if (process_clock() > deadline)
            return not_healthy(docker, shard, MOSAIC_TIMEOUT, error);
        usleep(200 * 1000);
    }
}

static mosaic_status wait_all(const struct docker *docker, size_t first, size_t end, mosaic_error *error)
{
    mosaic_status status = MOSAIC_OK;

    for (size_t i = first; status == MOSAIC_OK && i < end; i++) {
        status = wait_healthy(docker, i, error);
        if (status == MOSAIC_OK && docker->state->engine == LAB_CITUS)
            status = container_give_passfile(docker, i, error);
    }
    return status;
}

/* ---- the provider's functions ------------------------------------------------------------------------ */

static mosaic_status write_env_file(const struct docker *docker, const char *secret, mosaic_error *error)
{
    struct buffer text = BUFFER_INIT(4096);
    mosaic_status status;

    buffer_format(&text,
                  "POSTGRES_USER=postgres\nPOSTGRES_DB=postgres\nPOSTGRES_PASSWORD=%s\n"
                  "POSTGRES_INITDB_ARGS=--encoding=UTF8 --locale=C.UTF-8 --auth-host=scram-sha-256 --no-sync\n"
                  "POSTGRES_HOST_AUTH_METHOD=scram-sha-256\n",
                  secret);
    status = buffer_failed(&text) ? error_memory(error)
                                  : files_replace(container_env_file(docker->state), buffer_string(&text), 0600, error);
    buffer_free(&text);
    return status;
}

static mosaic_status make_role(const struct docker *docker, size_t shard, const char *secret, const char *password,
                               mosaic_error *error)
{
    const struct state *state = docker->state;
    char conninfo[256];
    const char *name = state->shards[shard].name;
    mosaic_status status;

    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=postgres dbname=postgres password=%s",
             state->shards[shard].port, secret);
    status = role_make(conninfo, name, state->user, state->database, password, state->engine == LAB_CITUS, error);
    if (status == MOSAIC_OK && shard == 0 && state->engine == LAB_POSTGRES)
        status = role_make_coordinator(conninfo, name, state->user, state->database, error);
    if (status == MOSAIC_OK)
        status = role_run(conninfo, name, "ALTER ROLE postgres PASSWORD NULL", error);
    explicit_bzero(conninfo, sizeof conninfo);
    return status;
}

static mosaic_status make_servers(const struct docker *docker, size_t first, size_t end, mosaic_error *error)
{
    mosaic_status status = container_need_network(docker, error);

    for (size_t i = first; status == MOSAIC_OK && i < end; i++) {
        docker->state->shards[i].port = free_port(docker->state);
        if (docker->state->shards[i].port < 0)
            return error_set(error, MOSAIC_IO, "no port of 127.0.0.1 from 10000 to 29999 is free");
        status = container_make_volume(docker, i, error);
        if (status == MOSAIC_OK)
            status = container_create(docker, i, true, error);
        if (status == MOSAIC_OK)
            status = start_or_move(docker, i, true, error);
    }
    return status;
}

static mosaic_status docker_make(void *handle, size_t first, size_t end, const char *password, mosaic_error *error)
{
    const struct docker *docker = handle;
    char secret[PASSWORD_SIZE] = "";
    mosaic_status status = password_make(secret, error);

    if (status == MOSAIC_OK)
        status = write_env_file(docker, secret, error);
    if (status == MOSAIC_OK)
        status = make_servers(docker, first, end, error);
    control_point("lab.after_start");
    if (files_remove(container_env_file(docker->state), status == MOSAIC_OK ? error : NULL) != MOSAIC_OK &&
        status == MOSAIC_OK)
        status = MOSAIC_IO;
    if (status == MOSAIC_OK)
        status = wait_all(docker, first, end, error);
    for (size_t i = first; status == MOSAIC_OK && i < end; i++)
        status = make_role(docker, i, secret, password, error);
    explicit_bzero(secret, sizeof secret);
    control_point("lab.after_role");
    return status;
}

/* A container that somebody removed is made again over its volume, which holds the data. */
static mosaic_status need_container(const struct docker *docker, size_t shard, mosaic_error *error)
{
    const char *name = container_name(docker->state, shard);
    const char *const volume[] = {"docker", "volume", "inspect", "--format", "{{.Name}}", name, NULL};
    int port = container_port(docker->state, shard);
    mosaic_status status;

    if (port > 0) {
        docker->state->shards[shard].port = port;
        return MOSAIC_OK;
    }
    status = docker_call(volume, CALL_MS, docker->interrupted, "there is no volume", NULL, NULL);
    if (status != MOSAIC_OK) {
        error_set(error, MOSAIC_NOT_FOUND, "container and volume %s of shard %s are gone, and its data with them", name,
                  docker->state->shards[shard].name);
        return error_hint(error, "make the lab anew: pgmosaic lab down %s", docker->state->name);
    }
    status = container_need_network(docker, error);
    return status == MOSAIC_OK ? container_create(docker, shard, false, error) : status;
}

static mosaic_status docker_start(void *handle, size_t first, size_t end, mosaic_error *error)
{
    const struct docker *docker = handle;
    mosaic_status status = MOSAIC_OK;

    for (size_t i = first; status == MOSAIC_OK && i < end; i++) {
        status = need_container(docker, i, error);
        if (status == MOSAIC_OK && !container_running(docker->state, i))
            status = start_or_move(docker, i, false, error);
    }
    return status == MOSAIC_OK ? wait_all(docker, first, end, error) : status;
}

static mosaic_status docker_crash(const struct state *state, size_t shard, mosaic_error *error)
{
    const char *const argv[] = {"docker", "kill", container_name(state, shard), NULL};
    mosaic_status status = docker_reach(error);

    if (status != MOSAIC_OK || !container_running(state, shard))
        return status;
    return docker_call(argv, CALL_MS, NULL, "stopping the shard's container failed", NULL, error);
}

/* ---- removing --------------------------------------------------------------------------------------- */

/* The shard's number from "pgmosaic-<id>-s12"; the network, without one, counts as 0. */
static size_t number_in(const char *name)
{
    const char *dash = strrchr(name, '-');

    return dash && dash[1] == 's' ? strtoul(dash + 2, NULL, 10) : 0;
}

/* Runs `remove` with each name (appended) that `look` prints, one a line, for shards from `first` on. */
static mosaic_status remove_each(const struct state *state, const char *const *look, const char *const *remove,
                                 size_t first, mosaic_error *error)
{
    struct buffer names = BUFFER_INIT(MOST_OUTPUT);
    mosaic_status status = docker_call(look, CALL_MS, NULL, "listing what the lab has in Docker failed", &names, error);
    char *copy = status == MOSAIC_OK ? arena_string(state->arena, buffer_string(&names)) : NULL, *rest = NULL;

    buffer_free(&names);
    if (status == MOSAIC_OK && !copy)
        return error_memory(error);
    for (char *name = copy ? strtok_r(copy, "\n", &rest) : NULL; name && status == MOSAIC_OK;
         name = strtok_r(NULL, "\n", &rest)) {
        const char *argv[8] = {NULL};
        size_t words = 0;

        if (number_in(name) < first)
            continue;
        for (; remove[words] && words < 6; words++)
            argv[words] = remove[words];
        argv[words] = name;
        status = docker_call(argv, CALL_MS, NULL, "removing what the lab has in Docker failed", NULL, error);
    }
    return status;
}

static mosaic_status docker_remove(const struct state *state, size_t first, mosaic_error *error)
{
    const char *filter = arena_format(state->arena, "label=pgmosaic.id=%s", container_lab_id(state));
    const char *const containers[] = {"docker", "ps", "--all", "--filter", filter, "--format", "{{.Names}}", NULL};
    const char *const volumes[] = {"docker", "volume", "ls", "--filter", filter, "--format", "{{.Name}}", NULL};
    const char *const networks[] = {"docker", "network", "ls", "--filter", filter, "--format", "{{.Name}}", NULL};
    const char *const remove_container_words[] = {"docker", "rm", "--force", "--volumes", NULL};
    const char *const remove_volume_words[] = {"docker", "volume", "rm", "--force", NULL};
    const char *const remove_network_words[] = {"docker", "network", "rm", NULL};
    const char *secrets = container_env_file(state);
    mosaic_status status = filter && secrets ? files_remove(secrets, error) : error_memory(error);

    if (status == MOSAIC_OK)
        status = docker_reach(error);
    if (status == MOSAIC_OK)
        status = remove_each(state, containers, remove_container_words, first, error);
    if (status == MOSAIC_OK)
        status = remove_each(state, volumes, remove_volume_words, first, error);
    if (status == MOSAIC_OK && first == 0)
        status = remove_each(state, networks, remove_network_words, 0, error);
    return status;
}

const struct provider provider_docker = {
    .reach = docker_reach,
    .open = docker_open,
    .make = docker_make,
    .start = docker_start,
    .running = container_running,
    .crash = docker_crash,
    .remove = docker_remove,
};
