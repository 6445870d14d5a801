/*
 * Listening sockets. Worker 0 accepts, and hands each connection to the worker with the fewest clients: so that a few
 * clients are spread evenly, which the kernel's own spreading (SO_REUSEPORT) does only for many.
 */
#ifndef MOSAIC_PROXY_LISTENER_H
#define MOSAIC_PROXY_LISTENER_H

#include "proxy/proxy.h"

struct listener {
    struct source source; /* first */
    struct list node;     /* of proxy->listeners */
    struct timer timer;   /* until it tries again, having had no descriptor */
    struct worker *worker;
    int fd;
    atomic_bool is_handed_over;
    bool is_unix;
    char *path;    /* of a Unix socket; removed at the end */
    char *address; /* as it is shown: 127.0.0.1:6432 */
};

/* Opens what the settings and options say, before the threads start. */
MOSAIC_MUST_CHECK mosaic_status listeners_open(struct proxy *proxy, const struct proxy_options *options,
                                               mosaic_error *error);
/* All that are open, for another process (control.h); returns how many. The descriptors stay ours. */
size_t listeners_list(const struct proxy *proxy, struct control_socket *sockets, size_t most);
/* They are another process's now: their paths stay when they are closed. Any thread. */
void listeners_disown(struct proxy *proxy);
/* On worker 0's thread: no new connections. */
void listeners_close(struct proxy *proxy);
void listeners_free(struct proxy *proxy);

#endif
