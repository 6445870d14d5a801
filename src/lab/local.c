#include "lab/local.h"

#include "base/buffer.h"
#include "base/control_point.h"
#include "lab/files.h"
#include "lab/installation.h"
#include "lab/provider.h"
#include "lab/role.h"
#include "lab/server.h"
#include "lab/settings.h"
#include "pq/process.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    INITDB_TIMEOUT_MS = 120000,

    START_TIMEOUT_MS = 60000,
    PORT_ATTEMPTS = 10,
    MOST_TEXT = 64 * 1024
};

struct local {
    struct state *state;
    struct run_as as;
    const char *socket_directory;
    const volatile int *interrupted;
    pid_t children[LAB_MOST_SHARDS]; /* servers that this call started */
};

/* The directory of sockets: derived from the lab's path, so that every call finds it again. */
static const char *socket_directory(const struct state *state)
{
    char hash[17];

    return arena_format(state->arena, "/tmp/pgmosaic-%s", state_hash(state->directory, hash));
}

static const char *data_directory(const struct state *state, size_t shard)
{
    return arena_format(state->arena, "%s/s%zu", state->directory, shard);
}

/* A lab that is there keeps its version: data directories of one cannot be read by another. */
static mosaic_status check_major(const struct state *state, const char *found, int major, mosaic_error *error)
{
    if (!state->major || major == state->major)
        return MOSAIC_OK;
    error_set(error, MOSAIC_USAGE, "lab %s was made by PostgreSQL %d, and %s is %d", state->name, state->major, found,
              major);
    return error_hint(error, "give the directory of a PostgreSQL %d, or make the lab anew: pgmosaic lab down %s",
                      state->major, state->name);
}

static mosaic_status local_open(struct state *state, const struct provider_options *options, void **handle,
                                mosaic_error *error)
{
    struct local *local = arena_zeroed(state->arena, 1, sizeof *local);
    const char *found;
    int major;
    mosaic_status status;

    *handle = local;
    if (!local)
        return error_memory(error);
    local->state = state;
    local->interrupted = options->interrupted;
    status = run_as_find(state->arena, data_directory(state, 0), &local->as, error);
    if (status == MOSAIC_OK)
        status = installation_find(state->arena, options->postgres, options->postgres ? 0 : state->major,
                                   state->engine == LAB_CITUS, &found, &major, error);
    if (status == MOSAIC_OK)
        status = check_major(state, found, major, error);
    if (status != MOSAIC_OK)
        return status;
    state->postgres = found;
    state->major = major;
    local->socket_directory = socket_directory(state);
    return local->socket_directory ? MOSAIC_OK : error_memory(error);
}

static mosaic_status make_socket_directory(const struct local *local, mosaic_error *error)
{
    const char *path = local->socket_directory;
    struct stat found;

    if (mkdir(path, 0700) == 0 && local->as.change && lchown(path, local->as.uid, local->as.gid) != 0)
        return error_errno(error, "cannot give %s to %s", path, local->as.name);
    if (lstat(path, &found) != 0)
        return error_errno(error, "cannot make the directory %s for sockets", path);
    if (S_ISDIR(found.st_mode) && found.st_uid == geteuid() && local->as.change) { /* killed between the two calls */
        if (lchown(path, local->as.uid, local->as.gid) != 0)
            return error_errno(error, "cannot give %s to %s", path, local->as.name);
        found.st_uid = local->as.uid;
    }
    if (S_ISDIR(found.st_mode) && found.st_uid == local->as.uid && (found.st_mode & 077) == 0)
        return MOSAIC_OK;
    error_set(error, MOSAIC_IO, "%s, where sockets of this lab belong, is somebody else's", path);
    return error_hint(error, "remove it");
}

static void add_ident_user(struct buffer *text, const char *user)
{
    buffer_text(text, "lab \"");
    for (const char *at = user; *at; at++)
        if (*at != '"')
            buffer_char(text, *at);
    buffer_text(text, "\" postgres\n");
}

/*
 * The nodes of Citus log in to each other, and to themselves, as the lab's role: with a copy of its passfile, which
 * their user may read, named in the environment of every server.
 */
static mosaic_status give_passfile(struct local *local, mosaic_error *error)
{
    const struct state *state = local->state;
    const char *path = arena_format(state->arena, "%s/nodes.pgpass", state->directory);
    struct buffer text = BUFFER_INIT(MOST_TEXT);
    mosaic_status status = path ? files_read(state->passfile, &text, error) : error_memory(error);

    if (status == MOSAIC_OK)
        status = files_replace(path, buffer_string(&text), 0600, error);
    if (status == MOSAIC_OK && local->as.change && lchown(path, local->as.uid, local->as.gid) != 0)
        status = error_errno(error, "cannot give %s to %s", path, local->as.name);
    if (text.data)
        explicit_bzero(text.data, text.size);
    buffer_free(&text);
    local->as.passfile = path;
    return status;
}

/* Writes what all servers share: socket directory, hba.conf, ident.conf. */
static mosaic_status prepare(const struct local *local, mosaic_error *error)
{
    const struct state *state = local->state;
    struct buffer ident = BUFFER_INIT(MOST_TEXT);
    const char *path = arena_format(state->arena, "%s/hba.conf", state->directory);
    mosaic_status status = make_socket_directory(local, error);

    if (status == MOSAIC_OK && !path)
        status = error_memory(error);
    if (status == MOSAIC_OK)
        status = files_replace(path,
                               "# Written by pgmosaic lab up at each start.\n"
                               "local all postgres peer map=lab\n"
                               "local all all scram-sha-256\n"
                               "host all postgres 127.0.0.1/32 reject\n"
                               "host all all 127.0.0.1/32 scram-sha-256\n"
                               "host replication all 127.0.0.1/32 scram-sha-256\n",
                               0644, error);
    add_ident_user(&ident, local->as.name);
    if (local->as.change)
        add_ident_user(&ident, "root");
    path = arena_format(state->arena, "%s/ident.conf", state->directory);
    if (status == MOSAIC_OK && (!path || buffer_failed(&ident)))
        status = error_memory(error);
    if (status == MOSAIC_OK)
        status = files_replace(path, buffer_string(&ident), 0644, error);
    buffer_free(&ident);
    return status;
}

static mosaic_status make_data_directory(const struct local *local, const char *path, mosaic_error *error)
{
    mosaic_status status = files_remove(path, error);

    if (status != MOSAIC_OK)
        return status;
    if (mkdir(path, 0700) != 0)
        return error_errno(error, "cannot make the directory %s", path);
    if (local->as.change && lchown(path, local->as.uid, local->as.gid) != 0)
        return error_errno(error, "cannot give %s to %s", path, local->as.name);
    if (!run_as_reaches(&local->as, path)) {
        error_set(error, MOSAIC_IO, "servers run as %s, who may not enter %s", local->as.name, path);
        return error_hint(error, "set PGMOSAIC_STATE to a directory that %s may go through", local->as.name);
    }
    return MOSAIC_OK;
}

/* C.UTF-8: the one locale that every system has, and whose order no library upgrade changes. */
static mosaic_status start_initdb(const struct local *local, size_t shard, struct process *process, mosaic_error *error)
{
    const struct state *state = local->state;
    const char *data = data_directory(state, shard);
    const char *argv[] = {arena_format(state->arena, "%s/initdb", state->postgres),
                          "--pgdata",
                          data,
                          "--username=postgres",
                          "--encoding=UTF8",
                          "--locale=C.UTF-8",
                          "--auth-local=peer",
                          "--auth-host=reject",
                          "--no-sync",
                          NULL};
    mosaic_status status;

    if (!argv[0] || !data)
        return error_memory(error);
    status = make_data_directory(local, data, error);
    return status == MOSAIC_OK ? process_start(argv, &local->as, process, error) : status;
}

/* The line behind `at`, into line. */
static const char *line_at(const char *at, char line[401])
{
    snprintf(line, 401, "%.*s", (int)strcspn(at, "\n"), at);
    return line;
}

/* What initdb complained of: a full disk, whatever follows from it; else the first error. */
static const char *initdb_reason(const char *text, char line[401])
{
    static const char *const marks[] = {"PANIC:  ", "FATAL:  ", "initdb: error: "};
    const char *full = strstr(text, "No space left"), *first = NULL;

    if (full) {
        while (full > text + 1 && full[-1] != '\n' && !(full[-1] == ' ' && full[-2] == ' '))
            full--;
        return line_at(full, line);
    }
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        const char *at = strstr(text, marks[i]);

        if (at && (!first || at + strlen(marks[i]) < first))
            first = at + strlen(marks[i]);
    }
    return first ? line_at(first, line) : process_last_line(text, line);
}

/* What a server's log says last of why it ended, answers to clients ("the database system is starting up") aside. */
static const char *server_reason(const char *text, char line[401])
{
    static const char *const marks[] = {"PANIC:  ", "FATAL:  "};
    static const char answer[] = "the database system is ";
    const char *last = NULL;

    for (size_t i = 0; !last && i < sizeof marks / sizeof *marks; i++)
        for (const char *at = strstr(text, marks[i]); at; at = strstr(at + 1, marks[i]))
            if (strncmp(at + strlen(marks[i]), answer, strlen(answer)) != 0)
                last = at + strlen(marks[i]);
    return last ? line_at(last, line) : process_last_line(text, line);
}

static mosaic_status finish_initdb(const struct local *local, struct process *process, mosaic_error *error)
{
    struct buffer output = BUFFER_INIT(MOST_TEXT);
    char line[401];
    int exit_code = 0;
    mosaic_status status = process_finish(process, INITDB_TIMEOUT_MS, local->interrupted, &output, &exit_code, error);

    if (status == MOSAIC_OK && exit_code != 0) {
        status = error_set(error, MOSAIC_IO, "initdb failed: %s", initdb_reason(buffer_string(&output), line));
        error_detail(error, "exit code %d, as user %s, in %s", exit_code, local->as.name, local->state->directory);
        if (strstr(line, "No space left"))
            error_hint(error, "free some space there, or set PGMOSAIC_STATE to another place");
        else if (strstr(line, "locale"))
            error_hint(error, "the system must have the locale C.UTF-8");
    }
    buffer_free(&output);
    return status;
}

/* Makes data directories, several at once; what stood there is removed. */
static mosaic_status initialize(const struct local *local, size_t first, size_t end, mosaic_error *error)
{
    struct process processes[LAB_MOST_SHARDS];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t at_once = processors > 2 ? (size_t)processors : 2, started = first, finished = first;
    mosaic_status status = MOSAIC_OK;

    while (status == MOSAIC_OK && finished < end) {
        if (started < end && started - finished < at_once) {
            status = start_initdb(local, started, &processes[started], error);
            started += status == MOSAIC_OK;
        } else {
            status = finish_initdb(local, &processes[finished], error);
            finished++;
        }
    }
    for (; finished < started; finished++)
        process_kill(&processes[finished]);
    return status;
}

/*
 * postgres refuses to start where the number in a stale postmaster.pid, or in the lock file beside its socket, belongs
 * by now to another process. No process works in the data directory: then they are stale.
 */
static mosaic_status remove_stale_files(const struct local *local, size_t shard, mosaic_error *error)
{
    const struct state *state = local->state;
    const char *data = data_directory(state, shard);
    const char *paths[] = {
        arena_format(state->arena, "%s/postmaster.pid", data ? data : ""),
        arena_format(state->arena, "%s/.s.PGSQL.%d", local->socket_directory, state->shards[shard].port),
        arena_format(state->arena, "%s/.s.PGSQL.%d.lock", local->socket_directory, state->shards[shard].port)};
    mosaic_status status = MOSAIC_OK;

    if (!data || !paths[0] || !paths[1] || !paths[2])
        return error_memory(error);
    if (processes_in(data, NULL, 0) > 0)
        return MOSAIC_OK;
    for (size_t i = 0; status == MOSAIC_OK && i < sizeof paths / sizeof *paths; i++)
        status = files_remove(paths[i], error);
    return status;
}

static mosaic_status start_server(struct local *local, size_t shard, mosaic_error *error)
{
    const struct state *state = local->state;
    const char *data = data_directory(state, shard);
    const char *settings = arena_format(state->arena, "%s/s%zu.conf", state->directory, shard);
    const char *log = arena_format(state->arena, "%s/s%zu/start.log", state->directory, shard);
    const char *argv[] = {arena_format(state->arena, "%s/postgres", state->postgres),
                          "-D",
                          data,
                          "-c",
                          arena_format(state->arena, "config_file=%s", settings ? settings : ""),
                          NULL};
    mosaic_status status;

    if (!data || !settings || !log || !argv[0] || !argv[4])
        return error_memory(error);
    status = remove_stale_files(local, shard, error);
    if (status == MOSAIC_OK)
        status = settings_write(state, shard, local->socket_directory, settings, error);
    if (status == MOSAIC_OK)
        status = process_detach(argv, &local->as, log, &local->children[shard], error);
    return status;
}

/* True when the server that we started has ended. */
static bool has_ended(struct local *local, size_t shard)
{
    if (local->children[shard] <= 0 || waitpid(local->children[shard], NULL, WNOHANG) == 0)
        return false;
    local->children[shard] = 0;
    return true;
}

/* The log's text; true if it says why a server ended. */
static bool log_tells(const char *path, struct buffer *text)
{
    buffer_clear(text);
    if (files_read(path, text, NULL) != MOSAIC_OK)
        buffer_clear(text);
    return strstr(buffer_string(text), "FATAL:") || strstr(buffer_string(text), "PANIC:");
}

/* The first lines of a server go to start.log, later ones to this hour's file in log/ (log_filename, log_timezone). */
static mosaic_status start_failed(const struct local *local, size_t shard, mosaic_error *error)
{
    const char *data = data_directory(local->state, shard);
    time_t now = time(NULL);
    char line[401], log[4300], hour[32];
    struct buffer text = BUFFER_INIT(16 << 20);
    struct tm parts;

    strftime(hour, sizeof hour, "log/server-%H.log", gmtime_r(&now, &parts));
    snprintf(log, sizeof log, "%s/start.log", data ? data : "");
    if (!log_tells(log, &text)) {
        snprintf(log, sizeof log, "%s/%s", data ? data : "", hour);
        log_tells(log, &text);
    }
    error_set(error, MOSAIC_IO, "the server of shard %s did not start: %s", local->state->shards[shard].name,
              server_reason(buffer_string(&text), line));
    error_hint(error, "its log: %.400s", log);
    buffer_free(&text);
    return MOSAIC_IO;
}

static mosaic_status wait_for_server(struct local *local, size_t shard, bool *ended, mosaic_error *error)
{
    long long deadline = process_clock() + START_TIMEOUT_MS;

    *ended = false;
    while (!role_superuser_answers(local->socket_directory, local->state->shards[shard].port)) {
        if (has_ended(local, shard)) {
            *ended = true;
            return start_failed(local, shard, error);
        }
        if (local->interrupted && *local->interrupted)
            return error_set(error, MOSAIC_INTERRUPTED, "interrupted while the server of shard %s started",
                             local->state->shards[shard].name);
        if (process_clock() > deadline) {
            start_failed(local, shard, error);
            return error_set(error, MOSAIC_TIMEOUT, "the server of shard %s did not answer within %d s",
                             local->state->shards[shard].name, START_TIMEOUT_MS / 1000);
        }
        usleep(50 * 1000);
    }
    return MOSAIC_OK;
}

/* The port may have been taken since it was chosen: then another one is. */
static mosaic_status wait_or_move(struct local *local, size_t shard, mosaic_error *error)
{
    struct state_shard *server = &local->state->shards[shard];
    bool ended;
    mosaic_status status = wait_for_server(local, shard, &ended, error);

    for (int attempt = 0; ended && !port_is_free(server->port) && attempt < PORT_ATTEMPTS; attempt++) {
        server->port = free_port(local->state);
        status = start_server(local, shard, error);
        if (status != MOSAIC_OK)
            return status;
        status = wait_for_server(local, shard, &ended, error);
    }
    return status;
}

static mosaic_status local_start(void *handle, size_t first, size_t end, mosaic_error *error)
{
    struct local *local = handle;
    mosaic_status status = prepare(local, error);

    if (status == MOSAIC_OK && local->state->engine == LAB_CITUS)
        status = give_passfile(local, error);

    for (size_t i = first; status == MOSAIC_OK && i < end; i++) {
        int port = local_running_port(local->state, i);

        if (port > 0)
            local->state->shards[i].port = port;
        else
            status = start_server(local, i, error);
    }
    control_point("lab.after_start");
    for (size_t i = first; status == MOSAIC_OK && i < end; i++)
        status = wait_or_move(local, i, error);
    return status;
}

static mosaic_status make_role(const struct local *local, size_t shard, const char *password, mosaic_error *error)
{
    char conninfo[128];
    const struct state *state = local->state;
    const char *name = state->shards[shard].name;
    mosaic_status status;

    snprintf(conninfo, sizeof conninfo, "host=%s port=%d user=postgres dbname=postgres", local->socket_directory,
             state->shards[shard].port);
    status = role_make(conninfo, name, state->user, state->database, password, state->engine == LAB_CITUS, error);
    if (status == MOSAIC_OK && shard == 0 && state->engine == LAB_POSTGRES)
        status = role_make_coordinator(conninfo, name, state->user, state->database, error);
    return status;
}

static mosaic_status local_make(void *handle, size_t first, size_t end, const char *password, mosaic_error *error)
{
    struct local *local = handle;
    mosaic_status status = initialize(local, first, end, error);

    control_point("lab.after_initdb");
    for (size_t i = first; status == MOSAIC_OK && i < end; i++) {
        local->state->shards[i].port = free_port(local->state);
        if (local->state->shards[i].port < 0)
            status = error_set(error, MOSAIC_IO, "no port of 127.0.0.1 from 10000 to 29999 is free");
    }
    if (status == MOSAIC_OK)
        status = local_start(local, first, end, error);
    for (size_t i = first; status == MOSAIC_OK && i < end; i++) {
        if (local->interrupted && *local->interrupted)
            return error_set(error, MOSAIC_INTERRUPTED, "interrupted while the lab's role was made");
        status = make_role(local, i, password, error);
    }
    control_point("lab.after_role");
    return status;
}

static bool local_running(const struct state *state, size_t shard)
{
    return local_postmaster(state, shard) > 0;
}

static mosaic_status local_remove(const struct state *state, size_t first, mosaic_error *error)
{
    const char *sockets = socket_directory(state);
    struct stat found;
    mosaic_status status = MOSAIC_OK;

    for (size_t i = first; status == MOSAIC_OK && i < LAB_MOST_SHARDS; i++) {
        const char *data = data_directory(state, i);
        const char *settings = arena_format(state->arena, "%s/s%zu.conf", state->directory, i);

        if (!data || !settings)
            return error_memory(error);
        status = local_crash(state, i, error);
        if (status == MOSAIC_OK)
            status = files_remove(data, error);
        if (status == MOSAIC_OK)
            status = files_remove(settings, error);
    }
    if (status != MOSAIC_OK || first > 0)
        return status;
    if (!sockets)
        return error_memory(error);
    /* Somebody else's directory of that name is none of ours. */
    if (lstat(sockets, &found) != 0 || (geteuid() != 0 && found.st_uid != geteuid()))
        return MOSAIC_OK;
    return files_remove(sockets, error);
}

const struct provider provider_local = {
    .open = local_open,
    .make = local_make,
    .start = local_start,
    .running = local_running,
    .crash = local_crash,
    .remove = local_remove,
};
