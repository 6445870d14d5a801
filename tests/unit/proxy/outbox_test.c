/*
 * The outbox between channels and real sockets, three times: with io_uring, with one that is taken away while it is in
 * use, and where it is forbidden from the beginning (as containers do, by seccomp).
 */
#define _GNU_SOURCE
#include "proxy/outbox.h"

#include "../random.h"
#include "proxy/channel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINES = 70, PIECES = 64, SMALL = 100, FULL = 1024, LARGE = 5000 };

/* A channel, and the other side of its socket. */
struct line {
    struct channel channel; /* first */
    int peer;
    unsigned agains, events;
    size_t sent, received;
};

static struct loop loop;
static struct line lines[LINES];
static size_t line_count;

static void line_ready(struct source *source, uint32_t events)
{
    ((struct line *)(void *)source)->events++;
    channel_event((struct channel *)(void *)source, events);
}

static void line_again(struct source *source)
{
    ((struct line *)(void *)source)->agains++;
}

static void line_free(struct source *source)
{
    (void)source;
}

static int small_socket(int buffer)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Over TCP: of a Unix socket the kernel takes a piece whole or not at all. */
static struct line *connect_line(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct line *line = &lines[line_count++];
    int listener = small_socket(4096), fd = small_socket(4096);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
    line->peer = accept(listener, NULL, NULL);
    assert_true(line->peer >= 0);
    close(listener);
    source_init(&line->channel.source, line_ready, line_again, line_free);
    channel_init(&line->channel, &loop, fd);
    line->agains = line->events = 0;
    line->sent = line->received = 0;
    assert_true(channel_watch(&line->channel, false));
    return line;
}

static int begin(void **state)
{
    mosaic_error error;
    (void)state;
    line_count = 0;
    return loop_init(&loop, &error) == MOSAIC_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    for (size_t i = 0; i < line_count; i++) {
        channel_close(&lines[i].channel);
        loop_bury(&loop, &lines[i].channel.source);
        close(lines[i].peer);
    }
    loop_turn(&loop, 0);
    loop_free(&loop);
    return 0;
}

/* Bytes that tell where they stand. */
static char byte_at(const struct line *line, size_t at)
{
    return (char)(at * 7 + at / 251 + (size_t)(line - lines));
}

static bool send_some(struct line *line, size_t size)
{
    char *bytes = malloc(size ? size : 1); /* channels keep nobody's bytes */
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = byte_at(line, line->sent + i);
    line->sent += size;
    bool sent = channel_send(&line->channel, bytes, size);
    memset(bytes, 'x', size);
    free(bytes);
    return sent;
}

/* What has come, at most so much; it must be what was sent next. */
static size_t receive(struct line *line, size_t most)
{
    char bytes[LARGE];
    ssize_t got = recv(line->peer, bytes, most < sizeof bytes ? most : sizeof bytes, MSG_DONTWAIT);
    if (got < 0) {
        assert_true(errno == EAGAIN);
        return 0;
    }
    assert_true(line->received + (size_t)got <= line->sent);
    for (ssize_t i = 0; i < got; i++)
        assert_int_equal(bytes[i], byte_at(line, line->received + (size_t)i));
    line->received += (size_t)got;
    return (size_t)got;
}

static void receive_all(struct line *line)
{
    int64_t until = loop_clock() + 60000; /* the kernel asks a window that was closed ever more seldom */
    while (line->received < line->sent) {
        if (!receive(line, LARGE))
            loop_turn(&loop, 1);
        assert_true(loop_clock() < until);
    }
    assert_int_equal(receive(line, LARGE), 0);
    assert_false(channel_stuck(&line->channel));
}

static void pieces_wait_for_the_end_of_the_turn(void **state)
{
    (void)state;
    struct line *one = connect_line(), *other = connect_line();
    assert_true(send_some(one, SMALL) && send_some(other, SMALL));
    assert_true(one->channel.is_posted && other->channel.is_posted);
    assert_int_equal(receive(one, SMALL) + receive(other, SMALL), 0);
    outbox_flush(loop.outbox);
    assert_false(one->channel.is_posted || other->channel.is_posted);
    receive_all(one);
    receive_all(other);
    outbox_flush(loop.outbox); /* of nothing */
    assert_int_equal(receive(one, SMALL), 0);
}

static void what_comes_behind_a_piece_of_the_same_socket_comes_behind_it(void **state)
{
    (void)state;
    struct line *line = connect_line(), *other = connect_line();
    assert_true(send_some(other, SMALL));
    assert_true(send_some(line, SMALL) && send_some(line, 1));
    receive(line, SMALL);
    assert_int_equal(line->received, SMALL);
    assert_int_equal(receive(other, SMALL), SMALL); /* they all went */
    assert_true(send_some(line, LARGE));
    assert_false(line->channel.is_posted); /* too large to wait */
    assert_true(send_some(line, FULL) && line->channel.is_posted == !channel_stuck(&line->channel));
    assert_true(send_some(line, FULL + 1) && send_some(line, 0));
    receive_all(line);
    receive_all(other);
}

static void more_than_there_is_room_for_goes_at_once(void **state)
{
    (void)state;
    size_t posted = 0;
    for (size_t i = 0; i < LINES; i++) {
        assert_true(send_some(connect_line(), SMALL));
        posted += lines[i].channel.is_posted;
    }
    assert_int_equal(posted, PIECES);
    loop_turn(&loop, 0);
    for (size_t i = 0; i < LINES; i++)
        receive_all(&lines[i]);
}

static void what_the_kernel_has_no_room_for_is_kept(void **state)
{
    (void)state;
    struct line *line = connect_line(), *other = connect_line();
    /* No room at all: the piece is posted while nobody knows that, so another one has filled the socket. */
    for (unsigned turn = 0; turn < 2; turn++) {
        assert_true(send_some(line, SMALL) && send_some(other, SMALL));
        assert_true(line->channel.is_posted);
        char filling[LARGE] = {0};
        size_t filled = 0;
        ssize_t took;
        while ((took = send(line->channel.fd, filling, sizeof filling, MSG_DONTWAIT)) > 0)
            filled += (size_t)took;
        outbox_flush(loop.outbox);
        assert_true(channel_stuck(&line->channel) && line->channel.wants_room && !line->channel.broken);
        assert_true(send_some(line, SMALL)); /* behind it, and not by the outbox */
        assert_false(line->channel.is_posted);
        receive_all(other);
        while (filled) {
            took = recv(line->peer, filling, filled < sizeof filling ? filled : sizeof filling, 0);
            assert_true(took > 0);
            filled -= (size_t)took;
            loop_turn(&loop, 0);
        }
        receive_all(line);
        loop_turn(&loop, 0);
        assert_false(line->channel.wants_room);
    }
}

static void a_broken_socket_is_told_once(void **state)
{
    (void)state;
    struct line *gone = connect_line(), *other = connect_line();
    assert_true(send_some(gone, SMALL) && send_some(other, SMALL));
    shutdown(gone->channel.fd, SHUT_WR);
    outbox_flush(loop.outbox); /* and no SIGPIPE */
    assert_true(gone->channel.broken && gone->channel.readable && !gone->channel.is_posted);
    assert_false(send_some(gone, SMALL));
    loop_turn(&loop, 0);
    assert_int_equal(gone->agains, 1);
    assert_int_equal(other->agains, 0);
    receive_all(other);
    /* By a reset, which is heard while a piece waits. */
    struct line *reset = connect_line();
    struct linger at_once = {.l_onoff = 1};
    setsockopt(reset->peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    assert_true(send_some(reset, SMALL) && send_some(other, SMALL));
    close(reset->peer);
    reset->peer = -1;
    outbox_flush(loop.outbox);
    loop_turn(&loop, 0);
    assert_true(reset->channel.broken && reset->agains == 1);
    receive_all(other);
}

static void what_is_corked_goes_together(void **state)
{
    (void)state;
    struct line *line = connect_line(), *other = connect_line();
    assert_true(send_some(line, SMALL));
    channel_cork(&line->channel);
    assert_true(send_some(line, SMALL) && send_some(line, FULL + 1) && send_some(other, SMALL));
    loop_turn(&loop, 0);
    assert_int_equal(receive(line, LARGE), SMALL); /* from before */
    assert_false(channel_stuck(&line->channel));
    channel_release(&line->channel);
    channel_release(&line->channel);
    assert_true(send_some(line, SMALL));
    assert_int_equal(receive(line, LARGE), 0);
    loop_turn(&loop, 0);
    assert_int_equal(receive(line, LARGE), 2 * SMALL + FULL + 1);
    assert_true(send_some(line, SMALL)); /* as ever */
    loop_turn(&loop, 0);
    assert_int_equal(receive(line, LARGE), SMALL);
    channel_cork(&line->channel);
    for (size_t i = 0; i < 16; i++)
        assert_true(send_some(line, FULL));
    assert_true(receive(line, FULL) > 0); /* it was too much */
    channel_release(&line->channel);
    receive_all(line);
    receive_all(other);
}

static void closing_sends_first(void **state)
{
    (void)state;
    struct line *line = connect_line(), *other = connect_line(), *corked = connect_line();
    channel_cork(&corked->channel);
    assert_true(send_some(corked, SMALL));
    channel_release(&corked->channel);
    channel_close(&corked->channel);
    assert_int_equal(receive(corked, LARGE), SMALL);
    loop_turn(&loop, 0);
    assert_true(send_some(line, SMALL) && send_some(other, SMALL));
    channel_close(&line->channel);
    assert_int_equal(receive(line, SMALL), SMALL);
    char byte;
    assert_int_equal(recv(line->peer, &byte, 1, 0), 0);
    assert_false(channel_send(&line->channel, "x", 1));
    outbox_flush(loop.outbox);
    receive_all(other);
}

static void what_is_closed_is_silent_though_another_process_has_it(void **state)
{
    (void)state;
    struct line *line = connect_line();
    int other = dup(line->channel.fd); /* as between fork and exec */
    assert_true(other >= 0);
    loop_turn(&loop, 0);
    unsigned before = line->events;
    channel_close(&line->channel);
    assert_int_equal(send(line->peer, "x", 1, 0), 1);
    loop_turn(&loop, 10);
    assert_int_equal(line->events, before);
    close(other);
}

/* Against what each line was given, with readers so slow that sockets are full most of the time. */
static void like_a_list_of_bytes(void **state)
{
    (void)state;
    struct random random = random_start();
    size_t stuck = 0, partly = 0;
    for (size_t i = 0; i < 12; i++)
        connect_line();
    for (size_t turn = 0; turn < 50000; turn++) {
        struct line *line = &lines[random_below(&random, 12)];
        uint32_t what = random_below(&random, 10);
        if (what < 5 && line->sent - line->received < 40000)
            assert_true(send_some(line, random_below(&random, what ? FULL + 1 : LARGE)));
        else if (what < 8)
            receive(line, random_below(&random, 2000));
        else if (what < 9)
            loop_turn(&loop, 0);
        else
            (random_below(&random, 2) ? channel_cork : channel_release)(&line->channel);
        stuck += channel_stuck(&line->channel);
        partly += line->channel.out_size && line->channel.out_size < FULL;
    }
    assert_true(stuck > 100 && partly > 10);
    for (size_t i = 0; i < 12; i++) {
        channel_release(&lines[i].channel);
        receive_all(&lines[i]);
    }
}

/* ---- with io_uring, and without ---- */

static bool has_ring(void)
{
    for (int fd = 0; fd < 1024; fd++) {
        char path[32], target[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target - 1) > 0 && strstr(target, "io_uring"))
            return true;
    }
    return false;
}

/* From now on this call fails, as where containers forbid it. */
static void forbid(unsigned call)
{
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof steps / sizeof *steps, steps};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static bool open_ring(void)
{
    struct line *line = connect_line(), *other = connect_line();
    assert_true(send_some(line, SMALL) && send_some(other, SMALL));
    outbox_flush(loop.outbox);
    receive_all(line);
    receive_all(other);
    return has_ring();
}

/* A container may forbid it to these tests as well: then they are of sending one by one, both times. */
static void a_ring_is_opened_for_two_pieces(void **state)
{
    (void)state;
    struct line *line = connect_line();
    assert_true(send_some(line, SMALL));
    outbox_flush(loop.outbox);
    receive_all(line);
    if (!open_ring())
        skip();
}

static void a_ring_that_takes_nothing_any_more_goes(void **state)
{
    (void)state;
    if (!open_ring())
        skip();
    forbid(SYS_io_uring_enter);
    struct line *line = &lines[0], *other = &lines[1];
    for (unsigned turn = 0; turn < 3; turn++) {
        assert_true(send_some(line, SMALL) && send_some(other, SMALL));
        outbox_flush(loop.outbox);
        assert_false(has_ring());
        receive_all(line);
        receive_all(other);
    }
}

static void it_may_be_forbidden(void **state)
{
    (void)state;
    forbid(SYS_io_uring_setup);
    assert_false(open_ring());
}

#define TEST(function, how)                       \
    {                                             \
#function how, function, begin, end, NULL \
    }
#define TESTS(how)                                                                                               \
    TEST(pieces_wait_for_the_end_of_the_turn, how),                                                              \
        TEST(what_comes_behind_a_piece_of_the_same_socket_comes_behind_it, how),                                 \
        TEST(more_than_there_is_room_for_goes_at_once, how), TEST(what_the_kernel_has_no_room_for_is_kept, how), \
        TEST(a_broken_socket_is_told_once, how), TEST(what_is_corked_goes_together, how),                        \
        TEST(closing_sends_first, how), TEST(what_is_closed_is_silent_though_another_process_has_it, how),       \
        TEST(like_a_list_of_bytes, how)

int main(void)
{
    /* In this order: what is forbidden stays so. */
    const struct CMUnitTest tests[] = {
        TEST(a_ring_is_opened_for_two_pieces, ""),
        TESTS(""),
        TEST(a_ring_that_takes_nothing_any_more_goes, ""),
        TEST(it_may_be_forbidden, ""),
        TESTS(", without io_uring"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
