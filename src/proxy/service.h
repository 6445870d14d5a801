/*
 * The proxy as a process: what its main thread does while the workers serve. Signals, the control socket, takeover,
 * systemd, the pid file, samples for averages, and the end.
 *
 *     SIGHUP: RELOAD. SIGTERM, SIGINT: stop when transactions have ended, at most after shutdown_timeout; the second
 *     one stops at once. A new process that has taken the sockets over: stop when the last client has gone, at most
 *     after shutdown_timeout.
 */
#ifndef MOSAIC_PROXY_SERVICE_H
#define MOSAIC_PROXY_SERVICE_H

#include "proxy/proxy.h"

struct service_options {
    const char *config_path;
    const char *const *listen; /* NULL: the settings' */
    int threads;               /* 0: the settings' */
    bool takeover;             /* from the proxy that runs with this config, if one does */
    /* It serves: where it listens, and how many shards and threads it has. */
    void (*ready)(struct proxy *proxy);
};

/* Runs to the end. The signals named above must not be handled elsewhere: they are blocked here. */
MOSAIC_MUST_CHECK mosaic_status service_run(const struct service_options *options, mosaic_error *error);

#endif
