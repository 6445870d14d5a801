#include "proxy/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static int manager(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    size_t size = strlen(name);
    memcpy(address.sun_path, name, size);
    if (*name == '@')
        address.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
                     0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static const char *told(int fd)
{
    static char text[1000];
    ssize_t size = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

static void systemd_is_told(void **state)
{
    (void)state;
    char names[2][80], wanted[200];
    snprintf(names[0], sizeof names[0], "/tmp/mosaic-notify-test-%ld", (long)getpid());
    snprintf(names[1], sizeof names[1], "@mosaic-notify-test-%ld", (long)getpid());
    for (size_t i = 0; i < 2; i++) {
        int fd = manager(names[i]);
        notify_ready("serving");
        snprintf(wanted, sizeof wanted, "READY=1\nMAINPID=%ld\nSTATUS=serving", (long)getpid());
        assert_string_equal(told(fd), wanted);
        notify_reloading();
        assert_int_equal(strncmp(told(fd), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
        notify_stopping("3 clients");
        assert_string_equal(told(fd), "STOPPING=1\nSTATUS=3 clients");
        notify_watchdog();
        assert_string_equal(told(fd), "WATCHDOG=1");
        close(fd);
        notify_status("nobody listens"); /* must not fail */
    }
    unlink(names[0]);
    unsetenv("NOTIFY_SOCKET");
    notify_status("nobody is there");
    setenv("NOTIFY_SOCKET", "relative", 1);
    notify_status("no address");
}

static void the_watchdogs_time_is_ours_alone(void **state)
{
    (void)state;
    char pid[24];
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(notify_watchdog_interval(), 0);
    setenv("WATCHDOG_USEC", "30000000", 1);
    assert_int_equal(notify_watchdog_interval(), 30000);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_watchdog_interval(), 0);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_watchdog_interval(), 30000);
    setenv("WATCHDOG_USEC", "x", 1);
    assert_int_equal(notify_watchdog_interval(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(systemd_is_told),
        cmocka_unit_test(the_watchdogs_time_is_ours_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
