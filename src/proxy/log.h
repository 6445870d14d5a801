/*
 * The log of the proxy: standard error, or a file that is opened anew on RELOAD (for logrotate).
 *
 *     log_event(log, EVENT_LOGIN, worker->number, &(struct log_entry){.user = user, .client = id});
 *
 * Threads put lines into a queue and a thread of its own writes them, so a full disk or a slow terminal stalls nobody:
 * when QUEUE_MOST bytes wait, lines are dropped, and their number is logged. Which events are wanted is decided by the
 * level and the log_… settings, here alone: callers need not look.
 */
#ifndef MOSAIC_PROXY_LOG_H
#define MOSAIC_PROXY_LOG_H

#include "proxy/log_line.h"

#include <stdatomic.h>

struct log;

/* Starts the thread. The settings are those of now: nothing of them is kept. */
MOSAIC_MUST_CHECK mosaic_status log_open(const struct proxy_settings *settings, struct log **log, mosaic_error *error);
/* Opens the file anew, and takes over format, level and what is wanted. On failure the old file goes on. */
MOSAIC_MUST_CHECK mosaic_status log_reopen(struct log *log, const struct proxy_settings *settings, mosaic_error *error);
/* Writes what waits, for at most a second, and ends the thread. log may be NULL. */
void log_close(struct log *log);
/* Would it be written? For who must work to make the entry. False for log == NULL. */
bool log_wants(const struct log *log, enum log_event event);
/* From any thread; thread < 0: none of the workers. */
void log_event(struct log *log, enum log_event event, int thread, const struct log_entry *entry);
/* An event with a message alone. */
void log_message(struct log *log, enum log_event event, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
