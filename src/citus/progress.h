/*
 * What a rebalance of Citus's is doing, judged from its rows: pg_dist_background_job and pg_dist_background_task. Pure:
 * rebalance.c reads them.
 *
 * A job is a list of tasks, most of them moves of one shard (with all its colocated ones). The server runs them one
 * after another; a task that fails becomes runnable again and is tried later (not_before), so that a job that cannot
 * get on says "running" for hours: that is what is called stuck here.
 */
#ifndef MOSAIC_CITUS_PROGRESS_H
#define MOSAIC_CITUS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A task that runs, or that failed at least once and is not done. Strings are "" where nothing is known. */
struct rebalance_task {
    bool running;
    int64_t shard;               /* 0: not a move but the copying of reference tables */
    const char *table;           /* of the shard, one of the colocated ones */
    const char *from, *to;       /* host:port */
    const char *phase;           /* "Copying Data" …, Citus's words */
    int64_t source_bytes, bytes; /* of the shard and its colocated ones: on the source, on the target by now */
    int64_t lag_bytes;           /* of write-ahead log that the target has not got yet; -1: not known */
    int retries;                 /* how often it failed */
    double next_seconds;         /* until the next attempt, when not running; below 0: due */
    const char *message;         /* of the last failure, one line */
};

struct rebalance_job {
    int64_t id;        /* 0: there never was one; nothing else is set then */
    const char *state; /* as citus_job_status names it: scheduled, running, finished, failed … */
    double seconds;    /* since it was made, or from then to its end */
    size_t total, done, failed, running, waiting, cancelled; /* tasks; waiting: blocked or runnable */
    const struct rebalance_task *tasks;                      /* the running ones first */
    size_t task_count;
};

/* X(identifier, name in JSON) */
#define REBALANCE_LIST(X)   \
    X(NONE, "none")         \
    X(MOVING, "moving")     \
    X(STUCK, "stuck")       \
    X(STOPPING, "stopping") \
    X(FINISHED, "finished") \
    X(FAILED, "failed")     \
    X(CANCELLED, "stopped")
enum rebalance_outcome {
#define X(identifier, name) REBALANCE_##identifier,
    REBALANCE_LIST(X)
#undef X
};

const char *rebalance_outcome_name(enum rebalance_outcome outcome);
/* What the job is in: STUCK when nothing runs and something waits after it failed. */
enum rebalance_outcome rebalance_judge(const struct rebalance_job *job);
/* It goes on by itself or is about to end: moving, stuck, stopping. */
bool rebalance_is_open(enum rebalance_outcome outcome);
/* What to do about a failure of Citus's, by its words; never NULL. Static storage. */
const char *rebalance_advice(const char *message);
/* The task that explains why a job is stuck or failed: the one that failed most often; NULL where none did. */
const struct rebalance_task *rebalance_culprit(const struct rebalance_job *job);
/* "shard 102014 of users, 127.0.0.1:5433 -> 127.0.0.1:5434", or what else the task does. Returns text. */
const char *rebalance_describe(const struct rebalance_task *task, char *text, size_t size);

#endif
