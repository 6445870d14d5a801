#define _GNU_SOURCE
#include "proxy/listener.h"

#include "base/memory.h"
#include "proxy/client.h"
#include "proxy/control.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, ACCEPTS_A_TURN = 64, ACCEPT_AGAIN_MS = 100 };

/* ---- accepting ---- */

struct handed {
    struct message message; /* first */
    int fd;
    bool is_unix;
    struct sockaddr_storage address;
};

static void take(struct worker *worker, struct message *message)
{
    const struct handed *handed = LIST_OWNER(struct handed, message, message);
    if (worker->stopping || !client_new(worker, handed->fd, (const struct sockaddr *)&handed->address, handed->is_unix))
        close(handed->fd);
}

static struct worker *least_busy(struct proxy *proxy)
{
    struct worker *least = &proxy->workers[0];
    for (unsigned i = 1; i < proxy->worker_count; i++)
        if (atomic_load_explicit(&proxy->workers[i].client_count, memory_order_relaxed) <
            atomic_load_explicit(&least->client_count, memory_order_relaxed))
            least = &proxy->workers[i];
    return least;
}

static void hand_over(struct listener *listener, int fd, const struct sockaddr_storage *address)
{
    struct worker *worker = least_busy(listener->worker->proxy);
    if (worker == listener->worker) {
        if (!client_new(worker, fd, (const struct sockaddr *)address, listener->is_unix))
            close(fd);
        return;
    }
    struct handed *handed = memory_zeroed(1, sizeof *handed);
    if (!handed) {
        close(fd);
        return;
    }
    handed->message.handle = take;
    handed->fd = fd;
    handed->is_unix = listener->is_unix;
    handed->address = *address;
    worker_post(worker, &handed->message);
}

static void accept_some(struct source *source)
{
    struct listener *listener = LIST_OWNER(struct listener, source, source);
    for (int i = 0; i < ACCEPTS_A_TURN && listener->fd >= 0; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int fd = accept4(listener->fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == ECONNABORTED || errno == EINTR))
            continue;
        if (fd < 0) {
            /* Out of descriptors, or memory: who waits is told of once only, so no event would try again. */
            if (errno != EAGAIN)
                timer_set(&listener->worker->loop.timers, &listener->timer,
                          listener->worker->loop.now + ACCEPT_AGAIN_MS);
            return;
        }
        hand_over(listener, fd, &address);
    }
    loop_again(&listener->worker->loop, source);
}

static void listener_ready(struct source *source, uint32_t events)
{
    (void)events;
    accept_some(source);
}

static void listener_again(struct timer *timer)
{
    accept_some(&LIST_OWNER(struct listener, timer, timer)->source);
}

static void listener_freed(struct source *source)
{
    (void)source; /* listeners_free does */
}

/* ---- opening ---- */

static mosaic_status add(struct proxy *proxy, int fd, const char *path, const char *address, mosaic_error *error)
{
    struct listener *listener = memory_zeroed(1, sizeof *listener);
    if (!listener || listen(fd, BACKLOG) < 0) {
        memory_free(listener);
        close(fd);
        return error_errno(error, "cannot listen on %s", address);
    }
    source_init(&listener->source, listener_ready, accept_some, listener_freed);
    timer_init(&listener->timer, listener_again);
    listener->worker = &proxy->workers[0];
    listener->fd = fd;
    listener->is_unix = path != NULL;
    listener->path = path ? strdup(path) : NULL;
    listener->address = strdup(address);
    list_append(&proxy->listeners, &listener->node);
    if (!loop_add(&listener->worker->loop, &listener->source, fd, EPOLLIN))
        return error_errno(error, "cannot watch %s", address);
    return MOSAIC_OK;
}

static mosaic_status open_tcp(struct proxy *proxy, const char *given, mosaic_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    char host[256];
    int one = 1;
    const char *colon = strrchr(given, ':');
    size_t size = colon ? (size_t)(colon - given) : strlen(given);
    const char *start = given;
    if (size >= 2 && *start == '[' && start[size - 1] == ']') {
        start++;
        size -= 2;
    }
    if (size >= sizeof host)
        return error_set(error, MOSAIC_CONFIG, "the address to listen on is too long: %s", given);
    snprintf(host, sizeof host, "%.*s", (int)size, start);
    const char *port = colon ? colon + 1 : "6432";
    bool any = !*host || strcmp(host, "*") == 0;
    int code = getaddrinfo(any ? NULL : host, port, &hints, &found);
    if (code != 0)
        return error_set(error, MOSAIC_CONFIG, "cannot listen on %s: %s", given, gai_strerror(code));
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool bound = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
                 bind(fd, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    if (bound)
        return add(proxy, fd, NULL, given, error);
    (void)!error_errno(error, "cannot listen on %s", given);
    if (fd >= 0)
        close(fd);
    return error_hint(error, "is another proxy running there? Choose another address: --listen HOST:PORT");
}

/* A socket that another process has handed over, of this address; -1: none. */
static int handed_over(const struct proxy_options *options, const char *address)
{
    for (size_t i = 0; i < options->socket_count; i++)
        if (strcmp(options->sockets[i].address, address) == 0)
            return options->sockets[i].fd;
    return -1;
}

/* A socket file that nobody listens on any more is left over: it is removed. */
static bool is_left_over(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool refused =
        fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

static mosaic_status open_unix(struct proxy *proxy, const struct proxy_options *options, const char *directory,
                               const char *port, int64_t mode, mosaic_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.%s", directory, port);
    if (size < 0 || (size_t)size >= sizeof address.sun_path)
        return error_set(error, MOSAIC_CONFIG, "the path of the Unix socket is too long: %s", directory);
    int given = handed_over(options, address.sun_path);
    if (given >= 0)
        return add(proxy, given, address.sun_path, address.sun_path, error);
    if (is_left_over(&address))
        unlink(address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        (void)!error_errno(error, "cannot make the Unix socket %s", address.sun_path);
        if (fd >= 0)
            close(fd);
        return error_hint(error, "choose another directory: unix_socket_dir");
    }
    chmod(address.sun_path, (mode_t)mode);
    return add(proxy, fd, address.sun_path, address.sun_path, error);
}

mosaic_status listeners_open(struct proxy *proxy, const struct proxy_options *options, mosaic_error *error)
{
    const struct proxy_settings *settings = &atomic_load(&proxy->config)->settings;
    const char *const *listen = options->listen, *const *addresses = listen ? listen : settings->listen;
    const char *port = "6432";
    for (const char *const *each = addresses; each && *each; each++) {
        int fd = handed_over(options, *each);
        mosaic_status status = fd >= 0 ? add(proxy, fd, NULL, *each, error)
                               : **each == '/'
                                   ? open_unix(proxy, options, *each, port, settings->unix_socket_mode, error)
                                   : open_tcp(proxy, *each, error);
        if (status != MOSAIC_OK)
            return status;
        if (**each != '/' && strrchr(*each, ':'))
            port = strrchr(*each, ':') + 1;
    }
    if (listen || !settings->unix_socket_dir || !*settings->unix_socket_dir)
        return MOSAIC_OK;
    return open_unix(proxy, options, settings->unix_socket_dir, port, settings->unix_socket_mode, error);
}

size_t listeners_list(const struct proxy *proxy, struct control_socket *sockets, size_t most)
{
    size_t count = 0;
    for (struct list *node = proxy->listeners.next; node != &proxy->listeners && count < most; node = node->next) {
        const struct listener *listener = LIST_OWNER(struct listener, node, node);
        if (listener->fd < 0 || !listener->address)
            continue;
        sockets[count].fd = listener->fd;
        snprintf(sockets[count].address, sizeof sockets[count].address, "%s", listener->address);
        count++;
    }
    return count;
}

void listeners_disown(struct proxy *proxy)
{
    for (struct list *node = proxy->listeners.next; node != &proxy->listeners; node = node->next)
        atomic_store(&LIST_OWNER(struct listener, node, node)->is_handed_over, true);
}

void listeners_close(struct proxy *proxy)
{
    for (struct list *node = proxy->listeners.next; node != &proxy->listeners; node = node->next) {
        struct listener *listener = LIST_OWNER(struct listener, node, node);
        if (listener->fd < 0)
            continue;
        loop_remove(&listener->worker->loop, listener->fd);
        close(listener->fd);
        listener->fd = -1;
        timer_cancel(&listener->timer);
        list_remove(&listener->source.node);
        listener->source.buried = true;
        if (listener->path && !atomic_load(&listener->is_handed_over))
            unlink(listener->path);
    }
}

void listeners_free(struct proxy *proxy)
{
    struct list *node;
    listeners_close(proxy);
    while ((node = list_first(&proxy->listeners))) {
        struct listener *listener = LIST_OWNER(struct listener, node, node);
        list_remove(node);
        free(listener->path);
        free(listener->address);
        memory_free(listener);
    }
}
