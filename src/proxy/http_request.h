/* The few words of HTTP that the metrics' port understands. Pure. */
#ifndef MOSAIC_PROXY_HTTP_REQUEST_H
#define MOSAIC_PROXY_HTTP_REQUEST_H

#include <stddef.h>

enum { HTTP_REQUEST_MOST = 8192 };

/* What the first bytes of a request ask for: 200, 404 or 405; 0: more bytes are needed; 400: it is no HTTP. */
int http_request(const char *data, size_t size);

#endif
