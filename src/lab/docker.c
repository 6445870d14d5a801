/*
 * Containers of a lab, through the `docker` command: one container and one named volume for each shard, and one
 * network, all with the labels
 *
 *     pgmosaic.checkout=<path>  pgmosaic.lab=<name>  pgmosaic.id=<hash of the lab's directory>
 *
 * and named pgmosaic-<id>-s0 …; in the network a shard is known as s0 …. The image must obey the environment of the
 * official one (POSTGRES_PASSWORD, POSTGRES_INITDB_ARGS, PGDATA, arguments for the server).
 *
 * The superuser's password, which the image wants, is random, goes in by an env file, and is taken from the role as
 * soon as the lab's own role is made: what `docker inspect` shows opens nothing.
 */
#include "base/buffer.h"
#include "base/control_point.h"
#include "lab/files.h"
#include "lab/process.h"
#include "lab/provider.h"
#include "lab/role.h"
#include "lab/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { CALL_MS = 60000, PULL_MS = 900000, HEALTHY_MS = 120000, PORT_ATTEMPTS = 10, MOST_OUTPUT = 256 * 1024 };
enum { SECRET_BYTES = 24 };

struct docker {
    struct state *state;
    const volatile int *interrupted;
};

static const char *lab_id(const struct state *state)
{
    char hash[17];

    return arena_string(state->arena, state_hash(state->directory, hash));
}

/* pgmosaic-<id>-s3: the container's and the volume's name. */
static const char *server_name(const struct state *state, size_t shard)
{
    return arena_format(state->arena, "pgmosaic-%s-s%zu", lab_id(state), shard);
}

static const char *network_name(const struct state *state)
{
    return arena_format(state->arena, "pgmosaic-%s", lab_id(state));
}

static const char *env_file(const struct state *state)
{
    return arena_format(state->arena, "%s/docker.env", state->directory);
}

/* Fills a failure of the docker command with what it said, without its name and its "Error response from daemon:". */
static mosaic_status refused(const char *what, const struct buffer *output, mosaic_error *error)
{
    char line[401];
    const char *said = process_last_line(buffer_string(output), line), *daemon = "Error response from daemon: ";
    const char *found = strstr(said, daemon);

    error_set(error, MOSAIC_IO, "%s: %s", what, found ? found + strlen(daemon) : said);
    return error_detail(error, "docker said: %.*s", (int)strcspn(buffer_string(output), "\n"), buffer_string(output));
}

/* Runs docker; a non-zero exit becomes an error that begins with `what`. output: NULL or a buffer that is emptied
 * first. */
static mosaic_status call(const char *const *argv, int timeout_ms, const volatile int *interrupted, const char *what,
                          struct buffer *output, mosaic_error *error)
{
    struct buffer own = BUFFER_INIT(MOST_OUTPUT);
    struct process process;
    int exit_code = 0;
    mosaic_status status;

    if (!output)
        output = &own;
    buffer_clear(output);
    status = process_start(argv, NULL, &process, error);
    if (status == MOSAIC_OK)
        status = process_finish(&process, timeout_ms, interrupted, output, &exit_code, error);
    if (status == MOSAIC_OK && exit_code != 0)
        status = refused(what, output, error);
    buffer_free(&own);
    return status;
}

/* ---- what must be there ----------------------------------------------------------------------------- */

static mosaic_status docker_reach(mosaic_error *error)
{
    const char *const argv[] = {"docker", "version", "--format", "{{.Server.Version}}", NULL};
    struct buffer output = BUFFER_INIT(MOST_OUTPUT);
    mosaic_status status = call(argv, CALL_MS, NULL, "the Docker daemon does not answer", &output, error);

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
    mosaic_status status = call(look, CALL_MS, docker->interrupted, "there is no such image", NULL, &first);

    if (status != MOSAIC_IO) {
        if (status != MOSAIC_OK && error)
            *error = first;
        return status;
    }
    snprintf(what, sizeof what, "image %.200s is not on this machine, and pulling it failed", image);
    status = call(pull, PULL_MS, docker->interrupted, what, NULL, error);
    if (status == MOSAIC_IO)
        error_hint(error, "pull or load it by hand, or name another by --image");
    return status;
}

static mosaic_status docker_open(struct state *state, const struct provider_options *options, void **handle,
                                 mosaic_error *error)
{
    struct docker *docker = arena_zeroed(state->arena, 1, sizeof *docker);
    mosaic_status status;

    *handle = docker;
    if (!docker || !server_name(state, 0) || !network_name(state) || !env_file(state))
        return error_memory(error);
    *docker = (struct docker){.state = state, .interrupted = options->interrupted};
    if (!state->complete)
        state->image = arena_string(state->arena, options->image ? options->image : LAB_IMAGE);
    if (!state->image)
        return error_memory(error);
    if (!*state->image || *state->image == '-')
        return error_set(error, MOSAIC_USAGE, "\"%s\" cannot be the name of an image", state->image);
    status = docker_reach(error);
    return status == MOSAIC_OK ? need_image(docker, error) : status;
}

/* ---- containers ------------------------------------------------------------------------------------- */

struct labels {
    const char *checkout, *lab, *id;
};

static struct labels make_labels(const struct state *state)
{
    return (struct labels){arena_format(state->arena, "pgmosaic.checkout=%s", state->checkout),
                           arena_format(state->arena, "pgmosaic.lab=%s", state->name),
                           arena_format(state->arena, "pgmosaic.id=%s", lab_id(state))};
}

static mosaic_status need_network(const struct docker *docker, mosaic_error *error)
{
    const char *name = network_name(docker->state);
    const struct labels labels = make_labels(docker->state);
    const char *const look[] = {"docker", "network", "inspect", "--format", "{{.Id}}", name, NULL};
    const char *const make[] = {"docker",  "network", "create", "--label", labels.checkout, "--label", labels.lab,
                                "--label", labels.id, name,     NULL};

    if (call(look, CALL_MS, docker->interrupted, "there is no network", NULL, NULL) == MOSAIC_OK)
        return MOSAIC_OK;
    return call(make, CALL_MS, docker->interrupted, "making the lab's network failed", NULL, error);
}

static mosaic_status make_volume(const struct docker *docker, size_t shard, mosaic_error *error)
{
    const struct labels labels = make_labels(docker->state);
    const char *const argv[] = {"docker",  "volume",   "create",  "--label", labels.checkout,
                                "--label", labels.lab, "--label", labels.id, server_name(docker->state, shard),
                                NULL};

    return call(argv, CALL_MS, docker->interrupted, "making the shard's volume failed", NULL, error);
}

/* PGDATA is a place of ours, since the image's own has moved between major versions. */
static mosaic_status create_container(const struct docker *docker, size_t shard, bool with_password,
                                      mosaic_error *error)
{
    const struct state *state = docker->state;
    const struct labels labels = make_labels(state);
    const char *name = server_name(state, shard);
    const char *const argv[] = {"docker",
                                "create",
                                "--name",
                                name,
                                "--label",
                                labels.checkout,
                                "--label",
                                labels.lab,
                                "--label",
                                labels.id,
                                "--network",
                                network_name(state),
                                arena_format(state->arena, "--network-alias=s%zu", shard),
                                arena_format(state->arena, "--publish=127.0.0.1:%d:5432", state->shards[shard].port),
                                arena_format(state->arena, "--volume=%s:/var/lib/pgmosaic", name),
                                "--env=PGDATA=/var/lib/pgmosaic/data",
                                "--shm-size=128m",
                                "--health-cmd=pg_isready -q -h 127.0.0.1 -p 5432",
                                "--health-interval=1s",
                                "--health-timeout=5s",
                                "--health-retries=60",
                                "--env-file",
                                with_password ? env_file(state) : "/dev/null",
                                state->image,
                                "postgres",
                                "-c",
                                "listen_addresses=*",
                                "-c",
                                "wal_level=logical",
                                "-c",
                                "max_prepared_transactions=64",
                                "-c",
                                "max_connections=100",
                                "-c",
                                "shared_buffers=32MB",
                                "-c",
                                "min_wal_size=32MB",
                                "-c",
                                "max_wal_size=1GB",
                                "-c",
                                "password_encryption=scram-sha-256",
                                "-c",
                                "timezone=UTC",
                                "-c",
                                "log_timezone=UTC",
                                "-c",
                                arena_format(state->arena, "cluster_name=%s s%zu", state->name, shard),
                                NULL};

    return call(argv, CALL_MS, docker->interrupted, "making the shard's container failed", NULL, error);
}

static mosaic_status remove_container(const struct state *state, size_t shard, const volatile int *interrupted,
                                      mosaic_error *error)
{
    const char *const argv[] = {"docker", "rm", "--force", "--volumes", server_name(state, shard), NULL};

    return call(argv, CALL_MS, interrupted, "removing the shard's container failed", NULL, error);
}

/* The state of the container ("running", "exited" …) and its health ("starting", "healthy" …; "" if it has none). */
static bool inspect(const struct state *state, size_t shard, char run[32], char health[32])
{
    const char *const argv[] = {"docker",
                                "container",
                                "inspect",
                                "--format",
                                "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}",
                                server_name(state, shard),
                                NULL};
    struct buffer output = BUFFER_INIT(MOST_OUTPUT);
    bool known = call(argv, CALL_MS, NULL, "there is no container", &output, NULL) == MOSAIC_OK;

    run[0] = health[0] = '\0';
    known = known && sscanf(buffer_string(&output), "%31s %31s", run, health) >= 1;
    buffer_free(&output);
    return known;
}

static bool docker_running(const struct state *state, size_t shard)
{
    char run[32], health[32];

    return inspect(state, shard, run, health) && strcmp(run, "running") == 0;
}

/* The host's port that the container publishes; 0 when there is no container. */
static int published_port(const struct state *state, size_t shard)
{
    const char *const argv[] = {"docker",
                                "container",
                                "inspect",
                                "--format",
                                "{{range index .HostConfig.PortBindings \"5432/tcp\"}}{{.HostPort}}{{end}}",
                                server_name(state, shard),
                                NULL};
    struct buffer output = BUFFER_INIT(MOST_OUTPUT);
    int port = 0;

    if (call(argv, CALL_MS, NULL, "there is no container", &output, NULL) == MOSAIC_OK)
        port = atoi(buffer_string(&output));
    buffer_free(&output);
    return port;
}

static mosaic_status start_container(const struct docker *docker, size_t shard, mosaic_error *error)
{
    const char *const argv[] = {"docker", "start", server_name(docker->state, shard), NULL};

    return call(argv, CALL_MS, docker->interrupted, "starting the shard's container failed", NULL, error);
}

/* A port can be taken between its choice and the start: then the container is made again with another, over the same
 * volume. */
static mosaic_status start_or_move(const struct docker *docker, size_t shard, bool with_password, mosaic_error *error)
{
    struct state_shard *server = &docker->state->shards[shard];
    mosaic_status status = start_container(docker, shard, error);

    for (int attempt = 0; status == MOSAIC_IO && !port_is_free(server->port) && attempt < PORT_ATTEMPTS; attempt++) {
        server->port = free_port(docker->state);
        status = remove_container(docker->state, shard, docker->interrupted, error);
        if (status == MOSAIC_OK)
            status = create_container(docker, shard, with_password, error);
        if (status != MOSAIC_OK)
            return status;
        status = start_container(docker, shard, error);
    }
    return status;
}

static mosaic_status not_healthy(const struct docker *docker, size_t shard, mosaic_status kind, mosaic_error *error)
{
    const char *name = server_name(docker->state, shard);
    const char *const argv[] = {"docker", "logs", "--tail", "8", name, NULL};
    struct buffer output = BUFFER_INIT(MOST_OUTPUT);
    char line[401];

    if (call(argv, CALL_MS, NULL, "there are no logs", &output, NULL) != MOSAIC_OK)
        buffer_clear(&output);
    error_set(error, kind, "the container of shard s%zu did not become healthy: %s", shard,
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
        if (inspect(docker->state, shard, run, health) && strcmp(health, "healthy") == 0 && strcmp(run, "running") == 0)
            return MOSAIC_OK;
        if (strcmp(run, "exited") == 0 || strcmp(run, "dead") == 0)
            return not_healthy(docker, shard, MOSAIC_IO, error);
        if (docker->interrupted && *docker->interrupted)
            return error_set(error, MOSAIC_INTERRUPTED, "interrupted while the container of shard s%zu started", shard);
        if (process_clock() > deadline)
            return not_healthy(docker, shard, MOSAIC_TIMEOUT, error);
        usleep(200 * 1000);
    }
}

/* ---- the provider's functions ------------------------------------------------------------------------ */

static mosaic_status make_secret(char secret[2 * SECRET_BYTES + 1], mosaic_error *error)
{
    unsigned char bytes[SECRET_BYTES];

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return error_errno(error, "cannot get random bytes for a password");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(secret + 2 * i, 3, "%02x", bytes[i]);
    return MOSAIC_OK;
}

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
                                  : files_replace(env_file(docker->state), buffer_string(&text), 0600, error);
    buffer_free(&text);
    return status;
}

static mosaic_status make_role(const struct docker *docker, size_t shard, const char *secret, const char *password,
                               mosaic_error *error)
{
    const struct state *state = docker->state;
    char conninfo[256], name[24];
    mosaic_status status;

    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=postgres dbname=postgres password=%s",
             state->shards[shard].port, secret);
    snprintf(name, sizeof name, "s%zu", shard);
    status = role_make(conninfo, name, state->user, state->database, password, error);
    if (status == MOSAIC_OK)
        status = role_run(conninfo, name, "ALTER ROLE postgres PASSWORD NULL", error);
    explicit_bzero(conninfo, sizeof conninfo);
    return status;
}

static mosaic_status make_servers(const struct docker *docker, size_t first, size_t end, mosaic_error *error)
{
    mosaic_status status = need_network(docker, error);

    for (size_t i = first; status == MOSAIC_OK && i < end; i++) {
        docker->state->shards[i].port = free_port(docker->state);
        if (docker->state->shards[i].port < 0)
            return error_set(error, MOSAIC_IO, "no port of 127.0.0.1 from 10000 to 29999 is free");
        status = make_volume(docker, i, error);
        if (status == MOSAIC_OK)
            status = create_container(docker, i, true, error);
        if (status == MOSAIC_OK)
            status = start_or_move(docker, i, true, error);
    }
    return status;
}

static mosaic_status docker_make(void *handle, size_t first, size_t end, const char *password, mosaic_error *error)
{
    const struct docker *docker = handle;
    char secret[2 * SECRET_BYTES + 1] = "";
    mosaic_status status = make_secret(secret, error);

    if (status == MOSAIC_OK)
        status = write_env_file(docker, secret, error);
    if (status == MOSAIC_OK)
        status = make_servers(docker, first, end, error);
    control_point("lab.after_start");
    if (files_remove(env_file(docker->state), status == MOSAIC_OK ? error : NULL) != MOSAIC_OK && status == MOSAIC_OK)
        status = MOSAIC_IO;
    for (size_t i = first; status == MOSAIC_OK && i < end; i++)
        status = wait_healthy(docker, i, error);
    for (size_t i = first; status == MOSAIC_OK && i < end; i++)
        status = make_role(docker, i, secret, password, error);
    explicit_bzero(secret, sizeof secret);
    control_point("lab.after_role");
    return status;
}

/* A container that somebody removed is made again over its volume, which holds the data. */
static mosaic_status need_container(const struct docker *docker, size_t shard, mosaic_error *error)
{
    const char *name = server_name(docker->state, shard);
    const char *const volume[] = {"docker", "volume", "inspect", "--format", "{{.Name}}", name, NULL};
    int port = published_port(docker->state, shard);
    mosaic_status status;

    if (port > 0) {
        docker->state->shards[shard].port = port;
        return MOSAIC_OK;
    }
    status = call(volume, CALL_MS, docker->interrupted, "there is no volume", NULL, NULL);
    if (status != MOSAIC_OK) {
        error_set(error, MOSAIC_NOT_FOUND, "container and volume %s of shard s%zu are gone, and its data with them",
                  name, shard);
        return error_hint(error, "make the lab anew: pgmosaic lab down %s", docker->state->name);
    }
    status = need_network(docker, error);
    return status == MOSAIC_OK ? create_container(docker, shard, false, error) : status;
}

static mosaic_status docker_start(void *handle, size_t first, size_t end, mosaic_error *error)
{
    const struct docker *docker = handle;
    mosaic_status status = MOSAIC_OK;

    for (size_t i = first; status == MOSAIC_OK && i < end; i++) {
        status = need_container(docker, i, error);
        if (status == MOSAIC_OK && !docker_running(docker->state, i))
            status = start_or_move(docker, i, false, error);
    }
    for (size_t i = first; status == MOSAIC_OK && i < end; i++)
        status = wait_healthy(docker, i, error);
    return status;
}

static mosaic_status docker_crash(const struct state *state, size_t shard, mosaic_error *error)
{
    const char *const argv[] = {"docker", "kill", server_name(state, shard), NULL};
    mosaic_status status = docker_reach(error);

    if (status != MOSAIC_OK || !docker_running(state, shard))
        return status;
    return call(argv, CALL_MS, NULL, "stopping the shard's container failed", NULL, error);
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
    mosaic_status status = call(look, CALL_MS, NULL, "listing what the lab has in Docker failed", &names, error);
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
        status = call(argv, CALL_MS, NULL, "removing what the lab has in Docker failed", NULL, error);
    }
    return status;
}

static mosaic_status docker_remove(const struct state *state, size_t first, mosaic_error *error)
{
    const char *filter = arena_format(state->arena, "label=pgmosaic.id=%s", lab_id(state));
    const char *const containers[] = {"docker", "ps", "--all", "--filter", filter, "--format", "{{.Names}}", NULL};
    const char *const volumes[] = {"docker", "volume", "ls", "--filter", filter, "--format", "{{.Name}}", NULL};
    const char *const networks[] = {"docker", "network", "ls", "--filter", filter, "--format", "{{.Name}}", NULL};
    const char *const remove_container_words[] = {"docker", "rm", "--force", "--volumes", NULL};
    const char *const remove_volume_words[] = {"docker", "volume", "rm", "--force", NULL};
    const char *const remove_network_words[] = {"docker", "network", "rm", NULL};
    const char *secrets = env_file(state);
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
    .running = docker_running,
    .crash = docker_crash,
    .remove = docker_remove,
};
