#define _GNU_SOURCE /* struct ucred */
#include "proxy/control.h"

#include "config/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { WAIT_S = 10, BACKLOG = 16, CANCEL_KEY_MOST = 32 };

/* FNV-1a, of the path without links; of the path as given where it leads nowhere. */
static uint32_t hash_path(const char *path)
{
    char *real = realpath(path, NULL);
    uint32_t hash = 2166136261;
    for (const char *at = real ? real : path; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 16777619;
    free(real);
    return hash;
}

mosaic_status control_path(const struct proxy_settings *settings, const char *cluster, const char *config_path,
                           char path[CONTROL_PATH_MOST], mosaic_error *error)
{
    const char *directory = settings->unix_socket_dir;
    int size;
    if (settings->control_socket) {
        size = snprintf(path, CONTROL_PATH_MOST, "%s", settings->control_socket);
    } else if (directory && *directory) {
        size =
            snprintf(path, CONTROL_PATH_MOST, "%s/.pgmosaic.%s.%08" PRIx32, directory, cluster, hash_path(config_path));
    } else {
        (void)!error_set(error, MOSAIC_CONFIG, "there is no control socket: unix_socket_dir is empty");
        return error_hint(error, "set control_socket to a path, as in /run/pgmosaic/control");
    }
    if (size < CONTROL_PATH_MOST)
        return MOSAIC_OK;
    (void)!error_set(error, MOSAIC_CONFIG, "the path of the control socket is longer than %d bytes",
                     CONTROL_PATH_MOST - 1);
    return error_hint(error, "set control_socket to a shorter one");
}

mosaic_status control_find(const char *config_path, char path[CONTROL_PATH_MOST], mosaic_error *error)
{
    struct model model;
    struct arena arena = ARENA_INIT;
    struct proxy_settings settings;
    mosaic_status status = config_read(config_path, &model, error);
    if (status != MOSAIC_OK)
        return status;
    status = settings_read(&arena, &model, &settings, error);
    if (status == MOSAIC_OK)
        status = control_path(&settings, model.name, config_path, path, error);
    arena_free(&arena);
    model_free(&model);
    return status;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    memcpy(address.sun_path, path, size < sizeof address.sun_path ? size : sizeof address.sun_path - 1);
    return address;
}

/* Is the other end the same user, or root? */
static bool is_trusted(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == geteuid() || peer.uid == 0);
}

static void set_waits(int fd)
{
    struct timeval wait = {.tv_sec = WAIT_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
}

/* Bound under a name of its own, then renamed: at no moment is there no socket, and none is there that does not
 * listen. */
mosaic_status control_listen(const char *path, int *fd, mosaic_error *error)
{
    char own[CONTROL_PATH_MOST + 16];
    snprintf(own, sizeof own, "%s.%ld", path, (long)getpid());
    struct sockaddr_un address = address_of(own);
    if (strlen(own) >= sizeof address.sun_path) {
        (void)!error_set(error, MOSAIC_CONFIG, "the path of the control socket is too long: %s", path);
        return error_hint(error, "set control_socket to a shorter one");
    }
    unlink(own);
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    bool bound = made >= 0 && bind(made, (const struct sockaddr *)&address, sizeof address) == 0;
    umask(before);
    if (bound && listen(made, BACKLOG) == 0 && rename(own, path) == 0) {
        *fd = made;
        return MOSAIC_OK;
    }
    (void)!error_errno(error, "cannot make the control socket %s", path);
    if (bound)
        unlink(own);
    if (made >= 0)
        close(made);
    return error_hint(error,
                      "its directory must be there and belong to the proxy's user; control_socket names another");
}

int control_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return -1;
    if (is_trusted(fd)) {
        set_waits(fd);
        return fd;
    }
    close(fd);
    return -1;
}

mosaic_status control_connect(const char *path, int *fd, mosaic_error *error)
{
    struct sockaddr_un address = address_of(path);
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0)
        return error_errno(error, "cannot make a socket");
    set_waits(made);
    if (connect(made, (const struct sockaddr *)&address, sizeof address) < 0) {
        bool none = errno == ENOENT || errno == ECONNREFUSED;
        (void)!error_errno(error, "cannot reach a proxy at %s", path);
        close(made);
        if (none)
            error->status = MOSAIC_NOT_FOUND;
        error_hint(error, "is it running with this config? Its log says where it listens");
        return error->status;
    }
    if (is_trusted(made)) {
        *fd = made;
        return MOSAIC_OK;
    }
    close(made);
    (void)!error_set(error, MOSAIC_AUTH, "the socket %s belongs to another user", path);
    return error_hint(error, "run this as the user that the proxy runs as, or set control_socket");
}

/* ---- lines ---- */

/* The descriptor that came with a message; -1: none. */
static int passed_with(struct msghdr *message)
{
    int fd = -1;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each)) {
        if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS)
            continue;
        if (fd >= 0)
            close(fd);
        memcpy(&fd, CMSG_DATA(each), sizeof fd);
    }
    return fd;
}

/* Byte by byte: a descriptor belongs to the line it came with, and lines are few. */
mosaic_status control_read(int fd, char line[CONTROL_LINE_MOST], int *passed, mosaic_error *error)
{
    int came = -1;
    size_t size = 0;
    for (;;) {
        char control[CMSG_SPACE(sizeof(int))], byte;
        struct iovec part = {&byte, 1};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR)
            continue;
        int with = got > 0 ? passed_with(&message) : -1;
        if (with >= 0 && came >= 0)
            close(came);
        came = with >= 0 ? with : came;
        if (got > 0 && byte == '\n')
            break;
        if (got <= 0 || size + 1 == CONTROL_LINE_MOST) {
            mosaic_status status = got < 0 ? error_errno(error, "the control socket")
                                           : error_set(error, MOSAIC_IO, "the control socket was closed");
            if (came >= 0)
                close(came);
            return status;
        }
        line[size++] = byte;
    }
    line[size] = '\0';
    if (passed)
        *passed = came;
    else if (came >= 0)
        close(came);
    return MOSAIC_OK;
}

mosaic_status control_write(int fd, const char *line, int passed, mosaic_error *error)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    char text[CONTROL_LINE_MOST + 1];
    int size = snprintf(text, sizeof text, "%.*s\n", CONTROL_LINE_MOST - 2, line);
    struct iovec part = {text, (size_t)size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (passed >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof passed);
        memcpy(CMSG_DATA(header), &passed, sizeof passed);
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent == size)
        return MOSAIC_OK;
    return sent < 0 ? error_errno(error, "the control socket")
                    : error_set(error, MOSAIC_IO, "the control socket takes nothing more");
}

/* ---- takeover ---- */

mosaic_status control_give(int fd, const struct control_socket *sockets, size_t count, mosaic_error *error)
{
    char line[64];
    snprintf(line, sizeof line, "sockets %zu", count);
    mosaic_status status = control_write(fd, line, -1, error);
    for (size_t i = 0; i < count && status == MOSAIC_OK; i++)
        status = control_write(fd, sockets[i].address, sockets[i].fd, error);
    return status;
}

static mosaic_status take_all(int fd, struct control_socket *sockets, size_t *count, mosaic_error *error)
{
    char line[CONTROL_LINE_MOST];
    size_t wanted;
    mosaic_status status = control_write(fd, "takeover", -1, error);
    if (status == MOSAIC_OK)
        status = control_read(fd, line, NULL, error);
    if (status != MOSAIC_OK)
        return status;
    if (sscanf(line, "sockets %zu", &wanted) != 1 || wanted > CONTROL_SOCKETS_MOST)
        return error_set(error, MOSAIC_IO, "the running proxy does not hand its sockets over: %.200s", line);
    while (*count < wanted && status == MOSAIC_OK) {
        struct control_socket *socket = &sockets[*count];
        status = control_read(fd, line, &socket->fd, error);
        if (status == MOSAIC_OK && socket->fd < 0)
            status = error_set(error, MOSAIC_IO, "the running proxy sent no socket for %.200s", line);
        if (status == MOSAIC_OK) {
            snprintf(socket->address, sizeof socket->address, "%.255s", line);
            ++*count;
        }
    }
    return status;
}

mosaic_status control_take(const char *path, int *fd, struct control_socket *sockets, size_t *count,
                           mosaic_error *error)
{
    *count = 0;
    mosaic_status status = control_connect(path, fd, error);
    if (status != MOSAIC_OK)
        return status;
    status = take_all(*fd, sockets, count, error);
    if (status == MOSAIC_OK)
        return status;
    while (*count)
        close(sockets[--*count].fd);
    close(*fd);
    return status;
}

/* ---- cancel requests ---- */

void control_cancel(int fd, uint32_t pid, const unsigned char *key, uint32_t size)
{
    char line[128];
    int used = snprintf(line, sizeof line, "cancel %" PRIu32 " ", pid);
    for (uint32_t i = 0; i < size && i < CANCEL_KEY_MOST; i++)
        used += snprintf(line + used, sizeof line - (size_t)used, "%02x", key[i]);
    line[used++] = '\n';
    /* So short that it goes whole, or not at all. */
    (void)!send(fd, line, (size_t)used, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int digit(char c)
{
    const char *digits = "0123456789abcdef", *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

bool control_is_cancel(const char *line, uint32_t *pid, unsigned char key[CANCEL_KEY_MOST], uint32_t *size)
{
    int at = 0;
    *size = 0;
    if (sscanf(line, "cancel %" SCNu32 " %n", pid, &at) != 1 || at == 0)
        return false;
    for (; *size < CANCEL_KEY_MOST && digit(line[at]) >= 0 && digit(line[at + 1]) >= 0; at += 2)
        key[(*size)++] = (unsigned char)(digit(line[at]) << 4 | digit(line[at + 1]));
    return *size && line[at] == '\0';
}
