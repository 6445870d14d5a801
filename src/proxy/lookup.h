/*
 * auth_query: secrets of users that auth_file has not, asked of the home shard by a thread of its own, one after the
 * other, over one connection that is kept. A login waits for its answer; no worker does. Logins of the same user that
 * wait at the same time have one answer, asked for after the last of them came: nothing is kept (docs/design/proxy.md).
 */
#ifndef MOSAIC_PROXY_LOOKUP_H
#define MOSAIC_PROXY_LOOKUP_H

#include "proxy/worker.h"

struct lookup;

/* One question; it comes back to its worker as a message. */
struct lookup_question {
    struct message message; /* first */
    struct worker *worker;
    struct client *client; /* the worker's: NULL once that is gone */
    char user[64];
    bool is_found; /* no: there is no such user, or `error` says why it is not known */
    char secret[2048];
    mosaic_error error;
};

struct lookup *lookup_new(struct proxy *proxy);
/* Ends the thread and frees it; NULL is fine. */
void lookup_free(struct lookup *lookup);
/* Starts the thread at the first time. NULL when memory or threads are out. */
struct lookup_question *lookup_ask(struct lookup *lookup, struct client *client, const char *user,
                                   void (*answered)(struct worker *worker, struct message *message));

#endif
