#include "proxy/control.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char path[CONTROL_PATH_MOST];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/.mosaic-control-test-%ld", (long)getpid());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static void the_path_comes_from_the_settings(void **state)
{
    (void)state;
    struct proxy_settings settings = {.unix_socket_dir = "/run/p"};
    char found[CONTROL_PATH_MOST];
    mosaic_error error;
    assert_int_equal(control_path(&settings, "shop", "/etc/shop.yaml", found, &error), MOSAIC_OK);
    assert_string_equal(found, "/run/p/.pgmosaic.shop.9515ea12");
    char other[CONTROL_PATH_MOST];
    assert_int_equal(control_path(&settings, "shop", "/srv/shop.yaml", other, &error), MOSAIC_OK);
    assert_string_not_equal(found, other);
    settings.control_socket = "/x/control";
    assert_int_equal(control_path(&settings, "shop", "/etc/shop.yaml", found, &error), MOSAIC_OK);
    assert_string_equal(found, "/x/control");
    settings = (struct proxy_settings){.unix_socket_dir = ""};
    assert_int_equal(control_path(&settings, "shop", "/etc/shop.yaml", found, &error), MOSAIC_CONFIG);
    char longer[200];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    settings.unix_socket_dir = longer;
    assert_int_equal(control_path(&settings, "shop", "/etc/shop.yaml", found, &error), MOSAIC_CONFIG);
}

/* What the old process does: takes one connection, hands two sockets over, and waits for "ready". */
struct old {
    int listener, sockets[2];
    bool ready;
};

static void *run_old(void *context)
{
    struct old *old = context;
    char line[CONTROL_LINE_MOST];
    mosaic_error error;
    int fd = -1;
    while (fd < 0)
        fd = control_accept(old->listener);
    struct control_socket given[2] = {{"127.0.0.1:6432", old->sockets[0]}, {"/tmp/a b", old->sockets[1]}};
    if (control_read(fd, line, NULL, &error) == MOSAIC_OK && strcmp(line, "takeover") == 0 &&
        control_give(fd, given, 2, &error) == MOSAIC_OK && control_read(fd, line, NULL, &error) == MOSAIC_OK)
        old->ready = strcmp(line, "ready") == 0;
    close(fd);
    return NULL;
}

static void listening_sockets_are_handed_over(void **state)
{
    (void)state;
    struct old old = {0};
    pthread_t thread;
    mosaic_error error;
    struct stat found;
    assert_int_equal(control_listen(path, &old.listener, &error), MOSAIC_OK);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, old.sockets), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_old, &old), 0);
    struct control_socket taken[CONTROL_SOCKETS_MOST];
    size_t count;
    int fd;
    assert_int_equal(control_take(path, &fd, taken, &count, &error), MOSAIC_OK);
    assert_int_equal(count, 2);
    assert_string_equal(taken[0].address, "127.0.0.1:6432");
    assert_string_equal(taken[1].address, "/tmp/a b");
    /* They are the same sockets: what is written into one comes out of the other's. */
    char byte = 'x';
    assert_int_equal(write(taken[0].fd, &byte, 1), 1);
    byte = 0;
    assert_int_equal(read(old.sockets[1], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    assert_int_equal(control_write(fd, "ready", -1, &error), MOSAIC_OK);
    pthread_join(thread, NULL);
    close(fd);
    assert_true(old.ready);
    for (size_t i = 0; i < 2; i++) {
        close(taken[i].fd);
        close(old.sockets[i]);
    }
    close(old.listener);
}

static void a_cancel_request_goes_through_with_its_key(void **state)
{
    (void)state;
    unsigned char key[32], read_key[32];
    uint32_t pid, size;
    char line[CONTROL_LINE_MOST];
    mosaic_error error;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (unsigned char)(i * 37 + 5);
    for (uint32_t given = 4; given <= 32; given += 28) {
        control_cancel(fds[0], 0xfff00001u, key, given);
        assert_int_equal(control_read(fds[1], line, NULL, &error), MOSAIC_OK);
        assert_true(control_is_cancel(line, &pid, read_key, &size));
        assert_int_equal(pid, 0xfff00001u);
        assert_int_equal(size, given);
        assert_memory_equal(read_key, key, given);
    }
    static const char *const wrong[] = {"ready", "cancel", "cancel 1", "cancel x 00", "cancel 1 0g", "cancel 1 00 00"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(control_is_cancel(wrong[i], &pid, read_key, &size));
    close(fds[1]);
    control_cancel(fds[0], 1, key, 4); /* nobody is there: no signal, no wait */
    close(fds[0]);
}

static void a_second_listener_takes_the_place_of_the_first(void **state)
{
    (void)state;
    int first, second, fd;
    mosaic_error error;
    assert_int_equal(control_listen(path, &first, &error), MOSAIC_OK);
    assert_int_equal(control_listen(path, &second, &error), MOSAIC_OK);
    assert_int_equal(control_connect(path, &fd, &error), MOSAIC_OK);
    assert_true(control_accept(first) < 0);
    int accepted = control_accept(second);
    assert_true(accepted >= 0);
    close(accepted);
    close(fd);
    close(first);
    close(second);
}

static void nobody_there_is_said(void **state)
{
    (void)state;
    int fd;
    mosaic_error error;
    assert_int_equal(control_connect("/tmp/mosaic-nowhere", &fd, &error), MOSAIC_NOT_FOUND);
    assert_non_null(strstr(error.message, "/tmp/mosaic-nowhere"));
    assert_int_equal(control_listen("/nowhere/x", &fd, &error), MOSAIC_IO);
}

static void lines_end_and_are_bounded(void **state)
{
    (void)state;
    int pair[2];
    char line[CONTROL_LINE_MOST];
    static char text[CONTROL_LINE_MOST + 100];
    mosaic_error error;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(write(pair[0], "one\ntwo\n", 8), 8);
    assert_int_equal(control_read(pair[1], line, NULL, &error), MOSAIC_OK);
    assert_string_equal(line, "one");
    assert_int_equal(control_read(pair[1], line, NULL, &error), MOSAIC_OK);
    assert_string_equal(line, "two");
    memset(text, 'a', sizeof text);
    assert_true(write(pair[0], text, sizeof text) > 0);
    assert_int_equal(control_read(pair[1], line, NULL, &error), MOSAIC_IO);
    close(pair[0]);
    while (control_read(pair[1], line, NULL, &error) == MOSAIC_OK)
        ;
    assert_non_null(strstr(error.message, "closed"));
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_path_comes_from_the_settings),
        cmocka_unit_test_setup_teardown(listening_sockets_are_handed_over, setup, teardown),
        cmocka_unit_test(a_cancel_request_goes_through_with_its_key),
        cmocka_unit_test_setup_teardown(a_second_listener_takes_the_place_of_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_there_is_said, setup, teardown),
        cmocka_unit_test(lines_end_and_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
