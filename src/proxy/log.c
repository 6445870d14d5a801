#include "proxy/log.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE_MOST = 1 << 20, LAST_WAIT_S = 1 };

struct log {
    pthread_t thread;
    pthread_mutex_t mutex; /* of what stands below; never held while a file is written */
    pthread_cond_t ready, over;
    struct buffer queue; /* whole lines */
    uint64_t dropped;
    bool ending, ended;
    int file; /* to be written to from the next batch on; -1: standard error */
    int old;  /* to be closed by the thread before it writes again; -1: none */
    atomic_int format;
    atomic_bool to_journal;
    atomic_bool wants[EVENT_COUNT];
};

static int64_t time_of_day(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* systemd says by $JOURNAL_STREAM (device:inode) which stream its journal reads. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat found;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &found) == 0 &&
           found.st_dev == device && found.st_ino == inode;
}

static bool wanted(const struct proxy_settings *settings, enum log_event event)
{
    const bool NONE = true;
    bool on = true;
    switch (event) {
#define X(identifier, name, level, setting, what) \
    case EVENT_##identifier:                      \
        on = EVENT_SETTING_##setting(setting);    \
        break;
#define EVENT_SETTING_NONE(setting) NONE
#define EVENT_SETTING_log_connections(setting) settings->setting
#define EVENT_SETTING_log_disconnections(setting) settings->setting
#define EVENT_SETTING_log_pooler_errors(setting) settings->setting
#define EVENT_SETTING_log_statements(setting) settings->setting
        LOG_EVENT_LIST(X)
#undef X
    case EVENT_COUNT:
        break;
    }
    return on && log_event_level(event) >= settings->log_level;
}

static void write_all(int file, const char *bytes, size_t size)
{
    while (size) {
        ssize_t written = write(file, bytes, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* nobody is left to be told */
        bytes += written;
        size -= (size_t)written;
    }
}

static void add_dropped(struct log *log, uint64_t dropped)
{
    char message[64];
    struct log_entry entry = {.message = message};
    snprintf(message, sizeof message, "%llu lines", (unsigned long long)dropped);
    log_line(&log->queue, (enum log_format)atomic_load(&log->format), atomic_load(&log->to_journal), EVENT_DROPPED,
             time_of_day(), -1, &entry);
}

static void *run(void *context)
{
    struct log *log = context;
    struct buffer batch = BUFFER_INIT(2 * QUEUE_MOST);
    pthread_mutex_lock(&log->mutex);
    for (;;) {
        while (!log->queue.size && !log->ending && log->old < 0)
            pthread_cond_wait(&log->ready, &log->mutex);
        if (log->dropped) {
            add_dropped(log, log->dropped);
            log->dropped = 0;
        }
        struct buffer empty = batch;
        batch = log->queue;
        log->queue = empty;
        int file = log->file < 0 ? STDERR_FILENO : log->file, old = log->old;
        log->old = -1;
        bool ending = log->ending && !batch.size;
        pthread_mutex_unlock(&log->mutex);
        write_all(file, buffer_string(&batch), batch.size);
        if (old >= 0)
            close(old);
        buffer_clear(&batch);
        pthread_mutex_lock(&log->mutex);
        if (ending)
            break;
    }
    log->ended = true;
    pthread_cond_broadcast(&log->over);
    pthread_mutex_unlock(&log->mutex);
    buffer_free(&batch);
    return NULL;
}

/* 0640: a log has names, addresses and statements. */
static mosaic_status open_file(const struct proxy_settings *settings, int *file, mosaic_error *error)
{
    *file = -1;
    if (!settings->log_file)
        return MOSAIC_OK;
    *file = open(settings->log_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (*file >= 0)
        return MOSAIC_OK;
    (void)!error_errno(error, "log_file %s", settings->log_file);
    return error_hint(error, "its directory must exist, and the proxy's user must be allowed to write there");
}

static void take_settings(struct log *log, const struct proxy_settings *settings)
{
    atomic_store(&log->format, (int)settings->log_format);
    atomic_store(&log->to_journal, !settings->log_file && stderr_is_journal());
    for (unsigned i = 0; i < EVENT_COUNT; i++)
        atomic_store_explicit(&log->wants[i], wanted(settings, (enum log_event)i), memory_order_relaxed);
}

mosaic_status log_open(const struct proxy_settings *settings, struct log **opened, mosaic_error *error)
{
    struct log *log = memory_zeroed(1, sizeof *log);
    if (!log)
        return error_memory(error);
    mosaic_status status = open_file(settings, &log->file, error);
    if (status != MOSAIC_OK) {
        memory_free(log);
        return status;
    }
    log->old = -1;
    log->queue = BUFFER_INIT(2 * QUEUE_MOST);
    take_settings(log, settings);
    pthread_mutex_init(&log->mutex, NULL);
    pthread_cond_init(&log->ready, NULL);
    pthread_cond_init(&log->over, NULL);
    errno = pthread_create(&log->thread, NULL, run, log);
    if (errno != 0) {
        status = error_errno(error, "starting the log's thread");
        if (log->file >= 0)
            close(log->file);
        memory_free(log);
        return status;
    }
    *opened = log;
    return MOSAIC_OK;
}

mosaic_status log_reopen(struct log *log, const struct proxy_settings *settings, mosaic_error *error)
{
    int file;
    mosaic_status status = open_file(settings, &file, error);
    if (status != MOSAIC_OK)
        return status;
    pthread_mutex_lock(&log->mutex);
    if (log->old < 0)
        log->old = log->file;
    else if (log->file >= 0) /* the thread has not taken it up yet, and never will */
        close(log->file);
    log->file = file;
    take_settings(log, settings);
    pthread_cond_signal(&log->ready);
    pthread_mutex_unlock(&log->mutex);
    return MOSAIC_OK;
}

void log_close(struct log *log)
{
    struct timespec until;
    if (!log)
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LAST_WAIT_S;
    pthread_mutex_lock(&log->mutex);
    log->ending = true;
    pthread_cond_signal(&log->ready);
    int waited = 0;
    while (!log->ended && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&log->over, &log->mutex, &until);
    bool ended = log->ended;
    pthread_mutex_unlock(&log->mutex);
    if (!ended) {
        pthread_detach(log->thread); /* who reads the log does not: the process ends without him, and it */
        return;
    }
    pthread_join(log->thread, NULL);
    if (log->file >= 0)
        close(log->file);
    if (log->old >= 0)
        close(log->old);
    buffer_free(&log->queue);
    pthread_cond_destroy(&log->ready);
    pthread_cond_destroy(&log->over);
    pthread_mutex_destroy(&log->mutex);
    memory_free(log);
}

bool log_wants(const struct log *log, enum log_event event)
{
    return log && atomic_load_explicit(&log->wants[event], memory_order_relaxed);
}

void log_event(struct log *log, enum log_event event, int thread, const struct log_entry *entry)
{
    if (!log_wants(log, event))
        return;
    struct buffer line = BUFFER_INIT(LOG_LINE_MOST * 4);
    log_line(&line, (enum log_format)atomic_load(&log->format), atomic_load(&log->to_journal), event, time_of_day(),
             thread, entry);
    pthread_mutex_lock(&log->mutex);
    if (buffer_failed(&line) || log->queue.size + line.size > QUEUE_MOST)
        log->dropped++;
    else
        buffer_add(&log->queue, line.data, line.size);
    if (buffer_failed(&log->queue)) {
        buffer_clear(&log->queue);
        log->dropped++;
    }
    pthread_cond_signal(&log->ready);
    pthread_mutex_unlock(&log->mutex);
    buffer_free(&line);
}

void log_message(struct log *log, enum log_event event, const char *format, ...)
{
    char message[1024];
    va_list arguments;
    if (!log_wants(log, event))
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    log_event(log, event, -1, &(struct log_entry){.message = message});
}
