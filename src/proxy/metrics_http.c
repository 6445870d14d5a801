#define _GNU_SOURCE
#include "proxy/metrics_http.h"

#include "base/memory.h"
#include "proxy/gather.h"
#include "proxy/http_request.h"
#include "proxy/metrics.h"
#include "proxy/operation.h"
#include "proxy/view.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { BACKLOG = 16, WAIT_S = 5, ACCEPT_AGAIN_MS = 100, METRICS_MOST = 64 << 20 };

struct metrics_http {
    struct proxy *proxy;
    pthread_t thread;
    int fd, stop; /* stop: eventfd */
};

static mosaic_status write_metrics(struct proxy *proxy, struct buffer *out, mosaic_error *error)
{
    uint64_t *errors = memory_zeroed(2 * (size_t)ERROR_CLASSES, sizeof *errors);
    struct gather *gather = errors ? gather_wait(proxy, SNAPSHOT_POOLS | SNAPSHOT_PLANS) : NULL;
    struct metrics_view view = {.started_us = proxy->operation->started_us,
                                .shard_errors = errors,
                                .own_errors = errors ? errors + ERROR_CLASSES : NULL};
    struct arena arena = ARENA_INIT;
    if (!gather) {
        memory_free(errors);
        return error_set(error, MOSAIC_TIMEOUT, "the threads did not answer");
    }
    struct world *world = proxy_world(proxy);
    struct config *config = proxy_config(proxy);
    operation_errors(proxy->operation, errors, errors + ERROR_CLASSES);
    view_process(&view.cpu_us, &view.memory);
    recover_count(proxy->recover, &view.recovered);
    mosaic_status status = view_make(proxy, world, config, &gather->snapshot, &arena, &view.admin, error);
    if (status == MOSAIC_OK)
        status = metrics_write(out, &view, error);
    config_release(config);
    world_release(world);
    arena_free(&arena);
    gather_free(gather);
    memory_free(errors);
    return status;
}

static void send_all(int fd, const char *bytes, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return;
        bytes += sent;
        size -= (size_t)sent;
    }
}

static void answer(struct metrics_http *http, int fd, int code, bool head)
{
    static const char *const reasons[] = {"Bad Request", "Not Found", "Method Not Allowed"};
    struct buffer body = BUFFER_INIT(METRICS_MOST);
    mosaic_error error;
    char header[300];
    if (code == 200 && write_metrics(http->proxy, &body, &error) != MOSAIC_OK) {
        buffer_clear(&body);
        buffer_format(&body, "%s\n", error.message);
        code = 503;
    }
    const char *reason = code == 200   ? "OK"
                         : code == 503 ? "Service Unavailable"
                                       : reasons[code == 404   ? 1
                                                 : code == 405 ? 2
                                                               : 0];
    if (code != 200 && code != 503)
        buffer_format(&body, "%s: the metrics are at /metrics\n", reason);
    int size = snprintf(header, sizeof header,
                        "HTTP/1.1 %d %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                        "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                        code, reason, body.size);
    send_all(fd, header, (size_t)size);
    if (!head)
        send_all(fd, buffer_string(&body), body.size);
    buffer_free(&body);
}

/* What the client still sends is read before it is closed: else the kernel would drop the answer with it. */
static void finish(int fd)
{
    char rest[512];
    int64_t until = loop_clock() + WAIT_S * 1000;
    shutdown(fd, SHUT_WR);
    while (loop_clock() < until && recv(fd, rest, sizeof rest, 0) > 0)
        ;
    close(fd);
}

static void serve(struct metrics_http *http, int fd)
{
    char request[HTTP_REQUEST_MOST];
    size_t size = 0;
    int code = 0;
    struct timeval wait = {.tv_sec = WAIT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    int64_t until = loop_clock() + WAIT_S * 1000;
    while (!code && size < sizeof request && loop_clock() < until) {
        ssize_t got = recv(fd, request + size, sizeof request - size, 0);
        if (got <= 0)
            break;
        size += (size_t)got;
        code = http_request(request, size);
    }
    if (code)
        answer(http, fd, code, size >= 4 && memcmp(request, "HEAD", 4) == 0);
    finish(fd);
}

static void *run(void *context)
{
    struct metrics_http *http = context;
    struct pollfd polled[2] = {{.fd = http->fd, .events = POLLIN}, {.fd = http->stop, .events = POLLIN}};
    for (;;) {
        if (poll(polled, 2, -1) < 0 && errno != EINTR)
            break;
        if (polled[1].revents)
            break;
        int fd = polled[0].revents ? accept4(http->fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd >= 0)
            serve(http, fd);
        else if (polled[0].revents) /* out of descriptors: not at once again */
            (void)poll(polled + 1, 1, ACCEPT_AGAIN_MS);
    }
    return NULL;
}

static mosaic_status open_socket(const char *text, int *fd, mosaic_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    struct listen_address address;
    char port[8];
    int one = 1;
    if (!settings_address(text, &address))
        return error_set(error, MOSAIC_CONFIG, "metrics_listen: \"%.100s\" is no address", text);
    snprintf(port, sizeof port, "%u", address.port);
    int code = getaddrinfo(address.host, port, &hints, &found);
    if (code != 0)
        return error_set(error, MOSAIC_CONFIG, "metrics_listen %.100s: %s", text, gai_strerror(code));
    *fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound = *fd >= 0 && setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
                 bind(*fd, found->ai_addr, found->ai_addrlen) == 0 && listen(*fd, BACKLOG) == 0;
    freeaddrinfo(found);
    if (bound)
        return MOSAIC_OK;
    (void)!error_errno(error, "cannot listen on metrics_listen %.100s", text);
    if (*fd >= 0)
        close(*fd);
    return error->status;
}

mosaic_status metrics_http_start(struct proxy *proxy, const char *address, int fd, struct metrics_http **started,
                                 mosaic_error *error)
{
    *started = NULL;
    if (!address)
        return MOSAIC_OK;
    mosaic_status status = fd >= 0 ? MOSAIC_OK : open_socket(address, &fd, error);
    if (status != MOSAIC_OK)
        return status;
    struct metrics_http *http = memory_zeroed(1, sizeof *http);
    if (!http) {
        close(fd);
        return error_memory(error);
    }
    *http = (struct metrics_http){.proxy = proxy, .fd = fd, .stop = eventfd(0, EFD_CLOEXEC)};
    errno = http->stop < 0 ? errno : pthread_create(&http->thread, NULL, run, http);
    if (http->stop >= 0 && errno == 0) {
        pthread_setname_np(http->thread, "metrics");
        *started = http;
        return MOSAIC_OK;
    }
    status = error_errno(error, "cannot start the metrics' thread");
    if (http->stop >= 0)
        close(http->stop);
    close(fd);
    memory_free(http);
    return status;
}

int metrics_http_socket(const struct metrics_http *http)
{
    return http ? http->fd : -1;
}

void metrics_http_stop(struct metrics_http *http)
{
    uint64_t one = 1;
    if (!http)
        return;
    while (write(http->stop, &one, sizeof one) < 0 && errno == EINTR)
        ;
    pthread_join(http->thread, NULL);
    close(http->fd);
    close(http->stop);
    memory_free(http);
}
