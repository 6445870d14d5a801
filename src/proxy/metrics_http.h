/*
 * The metrics' HTTP port: GET /metrics on metrics_listen, for Prometheus. A thread of its own serves one request after
 * the other and closes each connection; a client that is slow is left after five seconds.
 */
#ifndef MOSAIC_PROXY_METRICS_HTTP_H
#define MOSAIC_PROXY_METRICS_HTTP_H

#include "proxy/proxy.h"

struct metrics_http;

/* *http is NULL afterwards where no address is set. fd: a listening socket taken over; -1: none. */
MOSAIC_MUST_CHECK mosaic_status metrics_http_start(struct proxy *proxy, const char *address, int fd,
                                                   struct metrics_http **http, mosaic_error *error);
/* Its listening socket; -1 for NULL. */
int metrics_http_socket(const struct metrics_http *http);
/* Ends the thread; to be called before the workers end, which it asks. NULL is fine. */
void metrics_http_stop(struct metrics_http *http);

#endif
