/*
 * Other programs: started without a shell, as another user where we are root, with nothing of ours left open in them.
 */
#ifndef MOSAIC_PQ_PROCESS_H
#define MOSAIC_PQ_PROCESS_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/memory.h"

#include <stdbool.h>
#include <sys/types.h>

/* Who servers run as. */
struct run_as {
    uid_t uid;
    gid_t gid;
    const char *name, *home;
    bool change;          /* we are root, and it is somebody else */
    const char *passfile; /* PGPASSFILE of what runs as it, or NULL */
};

/*
 * Ourselves, or, as root, the owner of the directory `existing` (NULL or not there: the user named by $PGMOSAIC_RUN_AS,
 * default: postgres), who must not be root: PostgreSQL refuses root. Strings in the arena.
 */
MOSAIC_MUST_CHECK mosaic_status run_as_find(struct arena *arena, const char *existing, struct run_as *as,
                                            mosaic_error *error);

/* A program that was started and whose output (both streams) is to be read. */
struct process {
    pid_t pid;  /* 0: not running */
    int output; /* -1: none */
    const char *name;
};

/*
 * Starts argv[0], found by PATH, with stdin closed. as: NULL keeps our user and environment; else the environment is
 * only PATH, HOME and LANG, and the directory is "/". The process dies with us.
 */
MOSAIC_MUST_CHECK mosaic_status process_start(const char *const *argv, const struct run_as *as, struct process *process,
                                              mosaic_error *error);
/* By a signal's handler, or by another thread. NULL: nobody can. */
static inline bool interrupt_is_set(const volatile int *flag)
{
    return flag && __atomic_load_n(flag, __ATOMIC_RELAXED);
}
/*
 * Reads its output up to its end and waits for it. exit_code: 128 + N for signal N. After timeout_ms, or when
 * *interrupted is set (may be NULL), it is ended: by SIGTERM where it is interrupted and heeds that.
 */
MOSAIC_MUST_CHECK mosaic_status process_finish(struct process *process, int timeout_ms, const volatile int *interrupted,
                                               struct buffer *output, int *exit_code, mosaic_error *error);
/* Kills and forgets it. A process that is not running is fine. */
void process_kill(struct process *process);
/*
 * process_start and process_finish; a non-zero exit is an error that ends with its last line of output. password: the
 * program's PGPASSWORD, which our own environment, and so our other threads, never have; NULL: none.
 */
MOSAIC_MUST_CHECK mosaic_status process_run(const char *const *argv, const struct run_as *as, const char *password,
                                            int timeout_ms, const volatile int *interrupted, struct buffer *output,
                                            mosaic_error *error);
/* Starts a server in a session of its own, that outlives us; its output replaces the file log (opened as that user). */
MOSAIC_MUST_CHECK mosaic_status process_detach(const char *const *argv, const struct run_as *as, const char *log,
                                               pid_t *pid, mosaic_error *error);
/* True if a user may go through every directory above path and into it. */
bool run_as_reaches(const struct run_as *as, const char *path);
/* The last line in the text that is not blank, at most 400 bytes, into line (at least 401 bytes); returns line. */
const char *process_last_line(const char *text, char *line);
/* Milliseconds of the monotonic clock. */
long long process_clock(void);

#endif
