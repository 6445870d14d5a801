/*
 * Which processes a server is, and which ports are free: what the system says, rather than what a pid file says. A
 * server's processes are those whose current directory is its data directory.
 */
#include "lab/server.h"

#include "lab/local.h"
#include "pq/process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT_FIRST = 10000, PORT_COUNT = 20000, MOST_PROCESSES = 256, QUIT_MS = 10000, KILL_MS = 5000 };

static bool works_in(pid_t pid, const char *directory)
{
    char link[64], target[4096];
    ssize_t size;

    snprintf(link, sizeof link, "/proc/%ld/cwd", (long)pid);
    size = readlink(link, target, sizeof target - 1);
    if (size < 0)
        return false;
    target[size] = '\0';
    return strcmp(target, directory) == 0;
}

size_t processes_in(const char *directory, pid_t *pids, size_t most)
{
    char *real = realpath(directory, NULL);
    DIR *stream = real ? opendir("/proc") : NULL;
    const struct dirent *entry;
    size_t count = 0;

    while (stream && (entry = readdir(stream)) != NULL) {
        long pid = strtol(entry->d_name, NULL, 10);

        if (pid <= 0 || !works_in((pid_t)pid, real))
            continue;
        if (count < most)
            pids[count] = (pid_t)pid;
        count++;
    }
    if (stream)
        closedir(stream);
    free(real);
    return count;
}

/* Reads pid (line 1) and port (line 4, see src/include/utils/pidfile.h); false unless that process is the server. */
static bool read_pid_file(const struct state *state, size_t shard, pid_t *postmaster, int *port)
{
    char path[4200], line[4200], *real;
    long pid = 0;
    int descriptor;
    FILE *file;

    *port = 0;
    snprintf(path, sizeof path, "%s/s%zu/postmaster.pid", state->directory, shard);
    descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    file = descriptor < 0 ? NULL : fdopen(descriptor, "r");
    if (!file)
        return false;
    for (int number = 1; number <= 4 && fgets(line, sizeof line, file); number++) {
        if (number == 1)
            pid = strtol(line, NULL, 10);
        else if (number == 4)
            *port = (int)strtol(line, NULL, 10);
    }
    fclose(file);
    *strrchr(path, '/') = '\0';
    real = realpath(path, NULL);
    *postmaster = (pid_t)pid;
    if (!real || pid <= 0 || !works_in((pid_t)pid, real))
        *postmaster = 0;
    free(real);
    return *postmaster > 0;
}

pid_t local_postmaster(const struct state *state, size_t shard)
{
    pid_t pid;
    int port;

    return read_pid_file(state, shard, &pid, &port) ? pid : 0;
}

int local_running_port(const struct state *state, size_t shard)
{
    pid_t pid;
    int port;

    return read_pid_file(state, shard, &pid, &port) ? port : 0;
}

/* False if some are left after so many milliseconds. */
static bool wait_gone(const char *directory, int milliseconds)
{
    long long deadline = process_clock() + milliseconds;

    while (processes_in(directory, NULL, 0) > 0) {
        if (process_clock() > deadline)
            return false;
        usleep(20 * 1000);
    }
    return true;
}

mosaic_status local_crash(const struct state *state, size_t shard, mosaic_error *error)
{
    char directory[4200];
    pid_t postmaster = local_postmaster(state, shard), pids[MOST_PROCESSES];
    size_t count;

    snprintf(directory, sizeof directory, "%s/s%zu", state->directory, shard);
    if (access(directory, F_OK) != 0)
        return MOSAIC_OK;
    if (postmaster > 0 && kill(postmaster, SIGQUIT) == 0 && wait_gone(directory, QUIT_MS))
        return MOSAIC_OK;
    count = processes_in(directory, pids, MOST_PROCESSES);
    for (size_t i = 0; i < count && i < MOST_PROCESSES; i++)
        kill(pids[i], SIGKILL);
    if (count == 0 || wait_gone(directory, KILL_MS))
        return MOSAIC_OK;
    error_set(error, MOSAIC_TIMEOUT, "processes that work in %s do not end", directory);
    return error_hint(error, "see them: fuser -v '%s'", directory);
}

bool port_is_free(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free;

    if (probe < 0)
        return false;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* as postgres does */
    is_free = bind(probe, (struct sockaddr *)&address, sizeof address) == 0 && listen(probe, 1) == 0;
    close(probe);
    return is_free;
}

int free_port(const struct state *state)
{
    uint32_t start = 0;

    if (getrandom(&start, sizeof start, 0) != sizeof start)
        start = (uint32_t)getpid();
    for (uint32_t i = 0; i < PORT_COUNT; i++) {
        int port = PORT_FIRST + (int)((start + i) % PORT_COUNT);
        bool ours = false;

        for (size_t s = 0; s < LAB_MOST_SHARDS; s++)
            ours = ours || state->shards[s].port == port;
        if (!ours && port_is_free(port))
            return port;
    }
    return -1;
}
