#include "proxy/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A name that begins with @ is of the abstract namespace: its first byte is zero there. */
static void notify(const char *text)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t size = path ? strlen(path) : 0;
    if (!size || size >= sizeof address.sun_path || (*path != '/' && *path != '@'))
        return;
    memcpy(address.sun_path, path, size);
    if (*path == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    /* Nobody is to be told when it fails: a service manager that does not listen is as none. */
    (void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
    close(fd);
}

void notify_ready(const char *status)
{
    char text[512];
    snprintf(text, sizeof text, "READY=1\nMAINPID=%ld\nSTATUS=%.400s", (long)getpid(), status);
    notify(text);
}

void notify_reloading(void)
{
    char text[80];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
             (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    notify(text);
}

void notify_stopping(const char *status)
{
    char text[512];
    snprintf(text, sizeof text, "STOPPING=1\nSTATUS=%.400s", status);
    notify(text);
}

void notify_status(const char *status)
{
    char text[512];
    snprintf(text, sizeof text, "STATUS=%.400s", status);
    notify(text);
}

void notify_watchdog(void)
{
    notify("WATCHDOG=1");
}

int64_t notify_watchdog_interval(void)
{
    const char *interval = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (!interval || (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    int64_t us = strtoll(interval, NULL, 10);
    return us > 0 ? us / 1000 : 0;
}
