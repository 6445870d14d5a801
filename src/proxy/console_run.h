/* What the commands of the admin console do; console.c has the sessions. */
#ifndef MOSAIC_PROXY_CONSOLE_RUN_H
#define MOSAIC_PROXY_CONSOLE_RUN_H

#include "proxy/admin_session.h"
#include "proxy/console.h"
#include "proxy/snapshot.h"
#include "proxy/timer.h"

/* What a command waits for; looked at by a timer. */
enum console_wait {
    CONSOLE_NOTHING,
    CONSOLE_PAUSED, /* PAUSE: no server connection to the shards is left */
    CONSOLE_CLOSED, /* WAIT_CLOSE: none is left that is to be closed */
    CONSOLE_FOUND,  /* RECONNECT: it is known anew where the shards are */
    CONSOLE_RELOADED
};

struct console {
    struct client *client; /* NULL: it has gone */
    struct worker *worker;
    struct admin_session session;
    struct timer timer;
    enum console_wait waits_for;
    bool is_away;    /* another thread has it as the context of what it does; console_returned */
    uint64_t ticket; /* of the reload */
};

/* Runs session.run: answers by console_done or console_gather, at once or later. */
void console_run(struct console *console);
/* Adds the rows of a SHOW. */
MOSAIC_MUST_CHECK mosaic_status console_show(struct console *console, const struct snapshot *snapshot,
                                             struct admin_table *table, mosaic_error *error);
/* Has what is waited for come? Answers then. */
void console_look(struct console *console, const struct snapshot *snapshot);

/* console.c, for the commands: */
void console_gather(struct console *console, unsigned wants);
/* The other thread's work came back. False: the client has gone meanwhile, and so has the console. */
bool console_returned(struct console *console);
void console_wait(struct console *console, enum console_wait waits_for);
void console_done(struct console *console, mosaic_status status, const mosaic_error *error);

#endif
