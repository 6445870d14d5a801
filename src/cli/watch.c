#include "cli/watch.h"

#include "cli/context.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    STOP_MS = 120000,
    LOOK_MS = 60000, /* a node that drops packets holds the question for Citus's own 30 s */
    PAUSE_MS = 500,
    SLICE_MS = 50,
    PLAIN_MS = 5000, /* between plain lines of one move */
    BAR_WIDTH = 20,
    LINE_MOST = 1024,
};

/* What was last shown. */
struct shown {
    bool terminal, drawn;
    int64_t at;    /* of the last plain line */
    size_t done;   /* then */
    int complaint; /* retries of the culprit when it was last said; -1: not stuck */
};

static bool pause_between(void)
{
    struct timespec slice = {0, SLICE_MS * 1000000L};
    for (int waited = 0; waited < PAUSE_MS && !context_interrupted; waited += SLICE_MS)
        nanosleep(&slice, NULL);
    return !context_interrupted;
}

const char *watch_line(const struct rebalance_job *job, char *text, size_t size)
{
    const struct rebalance_task *task = job->task_count && job->tasks[0].running ? &job->tasks[0] : NULL;
    char what[300], bytes[32], of[32], lag[32];
    int used = snprintf(text, size, "%zu of %zu steps done", job->done, job->total);
    if (!task || used < 0 || (size_t)used >= size)
        return text;
    used += snprintf(text + used, size - (size_t)used, "  %s", rebalance_describe(task, what, sizeof what));
    if (*task->phase && (size_t)used < size)
        used += snprintf(text + used, size - (size_t)used, "  %s", task->phase);
    if (task->source_bytes > 0 && (size_t)used < size)
        used += snprintf(text + used, size - (size_t)used, "  %s of %s",
                         output_bytes((uint64_t)(task->bytes > 0 ? task->bytes : 0), bytes),
                         output_bytes((uint64_t)task->source_bytes, of));
    if (task->lag_bytes >= 0 && (size_t)used < size)
        snprintf(text + used, size - (size_t)used, "  lag %s", output_bytes((uint64_t)task->lag_bytes, lag));
    return text;
}

/* Cuts the text to what a line of the terminal has room for: a line that wraps could not be redrawn in place. */
static void fit(char *text)
{
    struct winsize window;
    size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col ? window.ws_col : 80;
    size_t width = 0;
    for (char *at = text; *at; at++) {
        if (((unsigned char)*at & 0xC0) == 0x80)
            continue;
        if (++width == columns) {
            *at = '\0';
            return;
        }
    }
}

static void draw(const struct watch *watch, struct shown *shown, const struct rebalance_job *job)
{
    char line[LINE_MOST], text[LINE_MOST + 400], bar[4 * BAR_WIDTH + 1];
    int64_t now = pq_now_ms();
    watch_line(job, line, sizeof line);
    if (shown->terminal) {
        snprintf(text, sizeof text, "%s  %s  %s", watch->label,
                 output_bar(job->total ? (double)job->done / (double)job->total : 0, BAR_WIDTH, bar), line);
        fit(text);
        fprintf(stderr, "\r\033[K%s", text);
    } else if (!shown->drawn || shown->done != job->done || now - shown->at >= PLAIN_MS) {
        fprintf(stderr, "%s: %s\n", watch->label, line);
        shown->at = now;
    }
    shown->done = job->done;
    shown->drawn = true;
    fflush(stderr);
}

static void clear_line(const struct shown *shown)
{
    if (shown->terminal && shown->drawn)
        fputs("\r\033[K", stderr);
}

void watch_complain(const struct rebalance_job *job)
{
    const struct rebalance_task *task = rebalance_culprit(job);
    char what[300];
    if (!task)
        return;
    fprintf(stderr, "%sjob %" PRId64 " is stuck%s: %s: failed %d time%s", output_colour(stderr, COLOUR_YELLOW), job->id,
            output_colour(stderr, COLOUR_NONE), rebalance_describe(task, what, sizeof what), task->retries,
            task->retries == 1 ? "" : "s");
    if (task->next_seconds > 0)
        fprintf(stderr, ", tried again in %.0f s", task->next_seconds);
    fprintf(stderr, "\n    Citus says: %s\n    fix: %s\n", task->message, rebalance_advice(task->message));
}

/* Once for each failed attempt. */
static void complain(struct shown *shown, const struct rebalance_job *job)
{
    const struct rebalance_task *task = rebalance_culprit(job);
    if (rebalance_judge(job) != REBALANCE_STUCK || !task || task->retries == shown->complaint)
        return;
    clear_line(shown);
    watch_complain(job);
    shown->complaint = task->retries;
}

static mosaic_status leave(const struct watch *watch, int64_t id, mosaic_error *error)
{
    if (error->status == MOSAIC_INTERRUPTED)
        error_set(error, MOSAIC_INTERRUPTED, "interrupted: only the watching, job %" PRId64 " goes on in the server",
                  id);
    return error_hint(error, "the job goes on in the server: watch it by %s, stop it by %s", watch->again, watch->stop);
}

mosaic_status watch_job(const struct watch *watch, PGconn *coordinator, struct arena *arena, struct rebalance_job *job,
                        mosaic_error *error)
{
    struct shown shown = {.terminal = isatty(STDERR_FILENO) && output_is_colourful(stderr), .complaint = -1};
    int64_t id = 0;
    for (;;) {
        arena_reset(arena);
        mosaic_status status = rebalance_look(coordinator, pq_deadline(LOOK_MS), arena, job, error);
        if (status == MOSAIC_OK && !rebalance_is_open(rebalance_judge(job))) {
            clear_line(&shown);
            return MOSAIC_OK;
        }
        if (status == MOSAIC_OK) {
            id = job->id;
            if (!watch->quiet)
                draw(watch, &shown, job);
            complain(&shown, job);
            status = pause_between() ? MOSAIC_OK : pq_interrupted("watching", error);
        }
        if (status == MOSAIC_OK)
            continue;
        clear_line(&shown);
        return leave(watch, id, error);
    }
}

mosaic_status watch_verdict(const struct watch *watch, const struct rebalance_job *job, mosaic_error *error)
{
    enum rebalance_outcome outcome = rebalance_judge(job);
    if (outcome == REBALANCE_FINISHED)
        return MOSAIC_OK;
    error_set(error, MOSAIC_SERVER, "%s: job %" PRId64 " %s after %zu of %zu steps", watch->label, job->id,
              outcome == REBALANCE_CANCELLED ? "was stopped" : "failed", job->done, job->total);
    const struct rebalance_task *task = rebalance_culprit(job);
    char what[300];
    if (outcome == REBALANCE_CANCELLED || !task)
        return error_hint(error, "what was moved stays; go on with the rest: %s", watch->again);
    error_detail(error, "%s: %s", rebalance_describe(task, what, sizeof what), task->message);
    return error_hint(error, "%s; then go on with the rest: %s", rebalance_advice(task->message), watch->again);
}

mosaic_status watch_stop(PGconn *coordinator, struct arena *arena, struct rebalance_job *job, mosaic_error *error)
{
    int64_t deadline = pq_deadline(STOP_MS);
    mosaic_status status = rebalance_stop(coordinator, pq_deadline(LOOK_MS), error);
    while (status == MOSAIC_OK) {
        arena_reset(arena);
        status = rebalance_look(coordinator, pq_deadline(LOOK_MS), arena, job, error);
        if (status != MOSAIC_OK || !rebalance_is_open(rebalance_judge(job)))
            break;
        if (pq_left_ms(deadline) == 0)
            return error_set(error, MOSAIC_TIMEOUT, "job %" PRId64 " was told to stop, and has not stopped yet",
                             job->id);
        status = pause_between() ? MOSAIC_OK : pq_interrupted("waiting for the job to stop", error);
    }
    return status;
}

/* ---- JSON ---------------------------------------------------------------------------------------------- */

static json_t *json_task(const struct rebalance_task *task)
{
    json_t *object = json_pack("{s:b, s:o, s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:i, s:s}", "running", task->running,
                               "shard", task->shard ? json_integer(task->shard) : json_null(), "table", task->table,
                               "from", task->from, "to", task->to, "phase", task->phase, "source_bytes",
                               (json_int_t)task->source_bytes, "bytes", (json_int_t)task->bytes, "lag_bytes",
                               task->lag_bytes < 0 ? json_null() : json_integer(task->lag_bytes), "failures",
                               task->retries, "message", task->message);
    if (*task->message)
        json_object_set_new(object, "fix", json_string(rebalance_advice(task->message)));
    return object;
}

json_t *watch_json(const struct rebalance_job *job)
{
    json_t *tasks = json_array();
    const char *state = rebalance_outcome_name(rebalance_judge(job));
    for (size_t i = 0; i < job->task_count; i++)
        json_array_append_new(tasks, json_task(&job->tasks[i]));
    return json_pack("{s:o, s:s, s:I, s:I, s:I, s:f, s:o}", "job", job->id ? json_integer(job->id) : json_null(),
                     "state", state, "total", (json_int_t)job->total, "done", (json_int_t)job->done, "failed",
                     (json_int_t)job->failed, "seconds", job->seconds, "tasks", tasks);
}
