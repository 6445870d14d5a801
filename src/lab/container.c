#include "lab/container.h"

#include "pq/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_MS = DOCKER_CALL_MS, MOST_OUTPUT = DOCKER_MOST_OUTPUT, MOST_WORDS = 64 };
/* On the server's volume: it stays when the container is made again. */
#define CONTAINER_PASSFILE "/var/lib/pgmosaic/nodes.pgpass"

const char *container_lab_id(const struct state *state)
{
    char hash[17];

    return arena_string(state->arena, state_hash(state->directory, hash));
}

/* pgmosaic-<id>-s3: the container's and the volume's name. */
const char *container_name(const struct state *state, size_t shard)
{
    return arena_format(state->arena, "pgmosaic-%s-s%zu", container_lab_id(state), shard);
}

static const char *network_name(const struct state *state)
{
    return arena_format(state->arena, "pgmosaic-%s", container_lab_id(state));
}

const char *container_env_file(const struct state *state)
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
mosaic_status docker_call(const char *const *argv, int timeout_ms, const volatile int *interrupted, const char *what,
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

struct labels {
    const char *checkout, *lab, *id;
};

static struct labels make_labels(const struct state *state)
{
    return (struct labels){arena_format(state->arena, "pgmosaic.checkout=%s", state->checkout),
                           arena_format(state->arena, "pgmosaic.lab=%s", state->name),
                           arena_format(state->arena, "pgmosaic.id=%s", container_lab_id(state))};
}

mosaic_status container_need_network(const struct docker *docker, mosaic_error *error)
{
    const char *name = network_name(docker->state);
    const struct labels labels = make_labels(docker->state);
    const char *const look[] = {"docker", "network", "inspect", "--format", "{{.Id}}", name, NULL};
    const char *const make[] = {"docker",  "network", "create", "--label", labels.checkout, "--label", labels.lab,
                                "--label", labels.id, name,     NULL};

    if (docker->state->engine == LAB_CITUS)
        return MOSAIC_OK;
    if (!name)
        return error_memory(error);
    if (docker_call(look, CALL_MS, docker->interrupted, "there is no network", NULL, NULL) == MOSAIC_OK)
        return MOSAIC_OK;
    return docker_call(make, CALL_MS, docker->interrupted, "making the lab's network failed", NULL, error);
}

mosaic_status container_make_volume(const struct docker *docker, size_t shard, mosaic_error *error)
{
    const struct labels labels = make_labels(docker->state);
    const char *const argv[] = {"docker",  "volume",   "create",  "--label", labels.checkout,
                                "--label", labels.lab, "--label", labels.id, container_name(docker->state, shard),
                                NULL};

    return docker_call(argv, CALL_MS, docker->interrupted, "making the shard's volume failed", NULL, error);
}

/* The words of a command that is put together. */
struct words {
    const char *list[MOST_WORDS + 1];
    size_t count;
    bool failed; /* memory, or the room, was out */
};

static void add_word(struct words *words, const char *word)
{
    words->failed = words->failed || !word || words->count == MOST_WORDS;
    if (!words->failed)
        words->list[words->count++] = word;
}

static void add_words(struct words *words, const char *const *more)
{
    for (; *more; more++)
        add_word(words, *more);
}

/*
 * The nodes of Citus have the machine's own network: an address that the coordinator hands out is then good for every
 * node and for programs outside, which load straight into workers.
 */
static void add_network(struct words *words, const struct state *state, size_t shard)
{
    int port = state->shards[shard].port;

    if (state->engine == LAB_CITUS) {
        add_word(words, "--network=host");
        add_word(words, arena_format(state->arena, "--label=pgmosaic.port=%d", port));
        add_word(words, arena_format(state->arena, "--env=PGPORT=%d", port)); /* of the image's own psql */
        add_word(words, "--env=PGPASSFILE=" CONTAINER_PASSFILE);
        return;
    }
    add_word(words, arena_format(state->arena, "--network=%s", network_name(state)));
    add_word(words, arena_format(state->arena, "--network-alias=%s", state->shards[shard].name));
    add_word(words, arena_format(state->arena, "--publish=127.0.0.1:%d:5432", port));
}

/* As settings.c says of local servers. */
static void add_settings(struct words *words, const struct state *state, size_t shard)
{
    static const char *const all[] = {"wal_level=logical",
                                      "shared_buffers=32MB",
                                      "min_wal_size=32MB",
                                      "max_wal_size=1GB",
                                      "password_encryption=scram-sha-256",
                                      "timezone=UTC",
                                      "log_timezone=UTC"};
    static const char *const postgres[] = {"-c", "listen_addresses=*",  "-c", "max_prepared_transactions=64",
                                           "-c", "max_connections=100", NULL};
    static const char *const citus[] = {"-c", "listen_addresses=127.0.0.1",
                                        "-c", "max_prepared_transactions=200",
                                        "-c", "max_connections=200",
                                        "-c", "shared_preload_libraries=citus",
                                        "-c", "citus.node_conninfo=sslmode=disable",
                                        "-c", NULL};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        add_word(words, "-c");
        add_word(words, all[i]);
    }
    add_words(words, state->engine == LAB_CITUS ? citus : postgres);
    if (state->engine == LAB_CITUS)
        add_word(words, arena_format(state->arena, "port=%d", state->shards[shard].port));
    add_word(words, "-c");
    add_word(words, arena_format(state->arena, "cluster_name=%s %s", state->name, state->shards[shard].name));
}

mosaic_status container_create(const struct docker *docker, size_t shard, bool with_password, mosaic_error *error)
{
    const struct state *state = docker->state;
    const struct labels labels = make_labels(state);
    const char *name = container_name(state, shard);
    const int port = state->engine == LAB_CITUS ? state->shards[shard].port : 5432;
    const char *const first[] = {"docker",  "create",   "--name",  name,      "--label", labels.checkout,
                                 "--label", labels.lab, "--label", labels.id, NULL};
    const char *const health[] = {"--env=PGDATA=/var/lib/pgmosaic/data",
                                  "--shm-size=128m",
                                  "--health-interval=1s",
                                  "--health-timeout=5s",
                                  "--health-retries=60",
                                  NULL};
    struct words words = {.count = 0};

    add_words(&words, first);
    add_network(&words, state, shard);
    add_word(&words, arena_format(state->arena, "--volume=%s:/var/lib/pgmosaic", name));
    add_words(&words, health);
    add_word(&words, arena_format(state->arena, "--health-cmd=pg_isready -q -h 127.0.0.1 -p %d", port));
    add_word(&words, "--env-file");
    add_word(&words, with_password ? container_env_file(state) : "/dev/null");
    add_word(&words, state->image);
    add_word(&words, "postgres");
    add_settings(&words, state, shard);
    if (words.failed)
        return error_memory(error);
    return docker_call(words.list, CALL_MS, docker->interrupted, "making the shard's container failed", NULL, error);
}

mosaic_status container_remove(const struct state *state, size_t shard, const volatile int *interrupted,
                               mosaic_error *error)
{
    const char *const argv[] = {"docker", "rm", "--force", "--volumes", container_name(state, shard), NULL};

    return docker_call(argv, CALL_MS, interrupted, "removing the shard's container failed", NULL, error);
}

/* The state of the container ("running", "exited" …) and its health ("starting", "healthy" …; "" if it has none). */
bool container_inspect(const struct state *state, size_t shard, char run[32], char health[32])
{
    const char *const argv[] = {"docker",
                                "container",
                                "inspect",
                                "--format",
                                "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}",
                                container_name(state, shard),
                                NULL};
    struct buffer output = BUFFER_INIT(MOST_OUTPUT);
    bool known = docker_call(argv, CALL_MS, NULL, "there is no container", &output, NULL) == MOSAIC_OK;

    run[0] = health[0] = '\0';
    known = known && sscanf(buffer_string(&output), "%31s %31s", run, health) >= 1;
    buffer_free(&output);
    return known;
}

bool container_running(const struct state *state, size_t shard)
{
    char run[32], health[32];

    return container_inspect(state, shard, run, health) && strcmp(run, "running") == 0;
}

/* The host's port that the container publishes; 0 when there is no container. */
int container_port(const struct state *state, size_t shard)
{
    static const char format[] = "{{range index .HostConfig.PortBindings \"5432/tcp\"}}{{.HostPort}}{{end}}"
                                 "{{with index .Config.Labels \"pgmosaic.port\"}}{{.}}{{end}}";
    const char *const argv[] = {"docker", "container", "inspect", "--format", format, container_name(state, shard),
                                NULL};
    struct buffer output = BUFFER_INIT(MOST_OUTPUT);
    int port = 0;

    if (docker_call(argv, CALL_MS, NULL, "there is no container", &output, NULL) == MOSAIC_OK)
        port = atoi(buffer_string(&output));
    buffer_free(&output);
    return port;
}

mosaic_status container_start(const struct docker *docker, size_t shard, mosaic_error *error)
{
    const char *const argv[] = {"docker", "start", container_name(docker->state, shard), NULL};

    return docker_call(argv, CALL_MS, docker->interrupted, "starting the shard's container failed", NULL, error);
}

mosaic_status container_give_passfile(const struct docker *docker, size_t shard, mosaic_error *error)
{
    const struct state *state = docker->state;
    const char *name = container_name(state, shard), *what = "giving a node its passfile failed";
    const char *const copy[] = {"docker", "cp", state->passfile,
                                arena_format(state->arena, "%s:" CONTAINER_PASSFILE, name), NULL};
    const char *const own[] = {"docker", "exec", "--user=root", name, "chown", "postgres", CONTAINER_PASSFILE, NULL};
    mosaic_status status = name && copy[3] ? MOSAIC_OK : error_memory(error);

    if (status == MOSAIC_OK)
        status = docker_call(copy, CALL_MS, docker->interrupted, what, NULL, error);
    if (status == MOSAIC_OK)
        status = docker_call(own, CALL_MS, docker->interrupted, what, NULL, error);
    return status;
}
