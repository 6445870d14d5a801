#define _GNU_SOURCE /* pipe2 */

#include "pq/process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 100, GRACE_MS = 1000, LAST_LINE = 400 };

long long process_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static mosaic_status fill_from(struct arena *arena, const struct passwd *entry, struct run_as *as, mosaic_error *error)
{
    *as = (struct run_as){.uid = entry->pw_uid,
                          .gid = entry->pw_gid,
                          .name = arena_string(arena, entry->pw_name),
                          .home = arena_string(arena, entry->pw_dir),
                          .change = geteuid() == 0};
    return as->name && as->home ? MOSAIC_OK : error_memory(error);
}

mosaic_status run_as_find(struct arena *arena, const char *existing, struct run_as *as, mosaic_error *error)
{
    const char *wanted = getenv("PGMOSAIC_RUN_AS");
    const struct passwd *entry;
    struct stat found;

    if (geteuid() != 0) {
        entry = getpwuid(geteuid());
        if (!entry)
            return error_set(error, MOSAIC_USAGE,
                             "user id %ld has no name in the system's list of users, and initdb wants one",
                             (long)geteuid());
        return fill_from(arena, entry, as, error);
    }
    if (existing && lstat(existing, &found) == 0 && found.st_uid != 0) {
        entry = getpwuid(found.st_uid);
        if (entry)
            return fill_from(arena, entry, as, error);
    }
    if (!wanted || !*wanted)
        wanted = "postgres";
    entry = getpwnam(wanted);
    if (!entry) {
        error_set(error, MOSAIC_USAGE, "there is no user %s to run servers as; PostgreSQL refuses root", wanted);
        return error_hint(error, "set PGMOSAIC_RUN_AS to an unprivileged user, or run pgmosaic as an ordinary user");
    }
    if (entry->pw_uid == 0)
        return error_set(error, MOSAIC_USAGE, "PGMOSAIC_RUN_AS=%s is root, and PostgreSQL refuses root", wanted);
    return fill_from(arena, entry, as, error);
}

/* In the child: becomes that user for good. */
static bool become(const struct run_as *as)
{
    if (as->change &&
        (setgroups(0, NULL) != 0 || initgroups(as->name, as->gid) != 0 || setgid(as->gid) != 0 || setuid(as->uid) != 0))
        return false;
    return true;
}

static void set_environment(const struct run_as *as)
{
    static const char *const kept[] = {"PATH", "LD_LIBRARY_PATH", NULL};
    char values[2][4096];

    for (int i = 0; kept[i]; i++)
        snprintf(values[i], sizeof values[i], "%s", getenv(kept[i]) ? getenv(kept[i]) : "");
    clearenv();
    for (int i = 0; kept[i]; i++)
        if (values[i][0])
            setenv(kept[i], values[i], 1);
    setenv("HOME", as->home, 1);
    setenv("LANG", "C.UTF-8", 1);
    if (as->passfile)
        setenv("PGPASSFILE", as->passfile, 1);
}

static void close_from(int first)
{
    long most = sysconf(_SC_OPEN_MAX);

    for (int file = first; file < (most > 65536 || most < 0 ? 65536 : (int)most); file++)
        close(file);
}

/* In the child, after its three streams are set: exec, or the errno into the pipe `failed`. */
static _Noreturn void child_exec(const char *const *argv, const struct run_as *as, const char *password, int failed)
{
    static const int defaulted[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGPIPE, SIGCHLD};
    sigset_t none;
    int code;

    for (size_t i = 0; i < sizeof defaulted / sizeof *defaulted; i++)
        signal(defaulted[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (as && chdir("/") == 0)
        set_environment(as);
    if (password)
        setenv("PGPASSWORD", password, 1);
    umask(077);
    if (failed != 3) {
        dup2(failed, 3);
        failed = 3;
    }
    fcntl(failed, F_SETFD, FD_CLOEXEC);
    close_from(4);
    execvp(argv[0], (char *const *)(const void *)argv);
    code = errno;
    if (write(failed, &code, sizeof code) < 0)
        _exit(126);
    _exit(127);
}

static _Noreturn void child_fail(int failed)
{
    int code = errno;

    if (write(failed, &code, sizeof code) < 0)
        _exit(126);
    _exit(127);
}

/* In the parent: 0 when the exec went well, else its errno. */
static int exec_outcome(int failed)
{
    int code = 0;
    ssize_t got;

    do
        got = read(failed, &code, sizeof code);
    while (got < 0 && errno == EINTR);
    close(failed);
    return got == sizeof code ? code : 0;
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

static mosaic_status exec_failed(int code, pid_t pid, const char *program, mosaic_error *error)
{
    reap(pid);
    errno = code;
    error_errno(error, "cannot run %s", program);
    return code == ENOENT ? error_set(error, MOSAIC_NOT_FOUND, "there is no program %s", program) : MOSAIC_IO;
}

static bool null_input(void)
{
    int null = open("/dev/null", O_RDONLY);

    return null >= 0 && dup2(null, STDIN_FILENO) >= 0;
}

static mosaic_status start(const char *const *argv, const struct run_as *as, const char *password,
                           struct process *process, mosaic_error *error)
{
    int output[2], failed[2], code;

    *process = (struct process){.output = -1, .name = argv[0]};
    if (pipe2(output, O_CLOEXEC) != 0)
        return error_errno(error, "cannot make a pipe for %s", argv[0]);
    if (pipe2(failed, O_CLOEXEC) != 0) {
        error_errno(error, "cannot make a pipe for %s", argv[0]);
        close(output[0]);
        close(output[1]);
        return MOSAIC_IO;
    }
    process->pid = fork();
    if (process->pid == 0) {
        if (!null_input() || dup2(output[1], STDOUT_FILENO) < 0 || dup2(output[1], STDERR_FILENO) < 0 ||
            (as && !become(as)))
            child_fail(failed[1]);
        /* After the change of user, which would clear it. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child_exec(argv, as, password, failed[1]);
    }
    close(output[1]);
    close(failed[1]);
    process->output = output[0];
    if (process->pid < 0) {
        process->pid = 0;
        error_errno(error, "cannot start %s", argv[0]);
        close(failed[0]);
        process_kill(process);
        return MOSAIC_IO;
    }
    code = exec_outcome(failed[0]);
    if (code != 0) {
        pid_t pid = process->pid;

        process->pid = 0;
        process_kill(process);
        return exec_failed(code, pid, argv[0], error);
    }
    return MOSAIC_OK;
}

mosaic_status process_start(const char *const *argv, const struct run_as *as, struct process *process,
                            mosaic_error *error)
{
    return start(argv, as, NULL, process, error);
}

void process_kill(struct process *process)
{
    if (process->output >= 0)
        close(process->output);
    if (process->pid > 0) {
        kill(process->pid, SIGKILL);
        reap(process->pid);
    }
    process->output = -1;
    process->pid = 0;
}

/* Adds what there is to the output; false at its end. Output over the buffer's maximum is dropped. */
static bool read_some(struct process *process, struct buffer *output)
{
    char piece[4096];
    ssize_t got = read(process->output, piece, sizeof piece);

    if (got > 0 && output)
        buffer_add(output, piece, (size_t)got);
    return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

/* As a user would: so pg_dump tells its server, which else would wait on for a lock. Killed where that takes long. */
static void end(struct process *process)
{
    long long deadline = process_clock() + GRACE_MS;
    kill(process->pid, SIGTERM);
    while (process_clock() < deadline) {
        struct pollfd wait = {.fd = process->output, .events = POLLIN};
        if (poll(&wait, 1, (int)(deadline - process_clock())) > 0 && !read_some(process, NULL))
            break; /* its output has ended with it */
    }
    process_kill(process);
}

mosaic_status process_finish(struct process *process, int timeout_ms, const volatile int *interrupted,
                             struct buffer *output, int *exit_code, mosaic_error *error)
{
    long long deadline = process_clock() + timeout_ms;
    bool open = true;
    int status = 0;

    while (open) {
        struct pollfd wait = {.fd = process->output, .events = POLLIN};

        if (poll(&wait, 1, POLL_MS) > 0)
            open = read_some(process, output);
        if (interrupt_is_set(interrupted)) {
            end(process);
            return error_set(error, MOSAIC_INTERRUPTED, "interrupted while %s ran", process->name);
        }
        if (process_clock() > deadline) {
            process_kill(process);
            return error_set(error, MOSAIC_TIMEOUT, "%s did not end within %d s", process->name, timeout_ms / 1000);
        }
    }
    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
        ;
    process->pid = 0;
    process_kill(process);
    /* A terminal sends Ctrl-C to both: then how the program ended is of no interest. */
    if (interrupt_is_set(interrupted))
        return error_set(error, MOSAIC_INTERRUPTED, "interrupted while %s ran", process->name);
    *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return MOSAIC_OK;
}

const char *process_last_line(const char *text, char *line)
{
    size_t end = strlen(text), start;

    while (end > 0 && strchr(" \t\r\n", text[end - 1]))
        end--;
    start = end;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    snprintf(line, LAST_LINE + 1, "%.*s", (int)(end - start), text + start);
    return line;
}

mosaic_status process_run(const char *const *argv, const struct run_as *as, const char *password, int timeout_ms,
                          const volatile int *interrupted, struct buffer *output, mosaic_error *error)
{
    struct buffer own = BUFFER_INIT(64 * 1024);
    struct process process;
    int exit_code = 0;
    char line[LAST_LINE + 1];
    mosaic_status status;

    if (!output)
        output = &own;
    status = start(argv, as, password, &process, error);
    if (status == MOSAIC_OK)
        status = process_finish(&process, timeout_ms, interrupted, output, &exit_code, error);
    if (status == MOSAIC_OK && exit_code != 0) {
        status = error_set(error, MOSAIC_IO, "%s failed: %s", argv[0], process_last_line(buffer_string(output), line));
        error_detail(error, "exit code %d; it said: %.800s", exit_code, buffer_string(output));
    }
    buffer_free(&own);
    return status;
}

mosaic_status process_detach(const char *const *argv, const struct run_as *as, const char *log, pid_t *pid,
                             mosaic_error *error)
{
    int failed[2], code;

    if (pipe2(failed, O_CLOEXEC) != 0)
        return error_errno(error, "cannot make a pipe for %s", argv[0]);
    *pid = fork();
    if (*pid == 0) {
        int file;

        if (setsid() < 0 || !become(as) || !null_input())
            child_fail(failed[1]);
        file = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (file < 0 || dup2(file, STDOUT_FILENO) < 0 || dup2(file, STDERR_FILENO) < 0)
            child_fail(failed[1]);
        child_exec(argv, as, NULL, failed[1]);
    }
    close(failed[1]);
    if (*pid < 0) {
        error_errno(error, "cannot start %s", argv[0]);
        close(failed[0]);
        return MOSAIC_IO;
    }
    code = exec_outcome(failed[0]);
    return code == 0 ? MOSAIC_OK : exec_failed(code, *pid, argv[0], error);
}

bool run_as_reaches(const struct run_as *as, const char *path)
{
    int status = 1;
    pid_t pid = fork();

    if (pid < 0)
        return true; /* not known: the server itself will say */
    if (pid == 0)
        _exit(become(as) && access(path, X_OK) == 0 ? 0 : 1);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0;
}
