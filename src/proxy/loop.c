#include "proxy/loop.h"

#include "proxy/outbox.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

/*
 * What one source leads others to do is most often done in two or three rounds: then it is sent by one call, and none
 * asks for events in between. Where a round takes long, as rows that stream through do, the sockets come first.
 */
enum { EVENTS_MOST = 128, ROUNDS_MOST = 4, ROUNDS_US = 100 };

int64_t loop_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t loop_clock(void)
{
    return loop_clock_us() / 1000;
}

mosaic_status loop_init(struct loop *loop, mosaic_error *error)
{
    *loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC), .now = loop_clock()};
    if (loop->epoll < 0)
        return error_errno(error, "cannot make an event loop");
    loop->outbox = outbox_new();
    if (!loop->outbox)
        return error_memory(error);
    timers_init(&loop->timers, loop->now);
    list_init(&loop->again);
    list_init(&loop->buried);
    return MOSAIC_OK;
}

static void free_buried(struct loop *loop)
{
    struct list *node;
    while ((node = list_first(&loop->buried))) {
        struct source *source = LIST_OWNER(struct source, node, node);
        list_remove(node);
        source->free(source);
    }
}

void loop_free(struct loop *loop)
{
    free_buried(loop);
    if (loop->epoll >= 0)
        close(loop->epoll);
    loop->epoll = -1;
    outbox_free(loop->outbox);
    loop->outbox = NULL;
}

void source_init(struct source *source, void (*ready)(struct source *, uint32_t), void (*again)(struct source *),
                 void (*free)(struct source *))
{
    *source = (struct source){.ready = ready, .again = again, .free = free};
    list_init(&source->node);
}

bool loop_add(struct loop *loop, struct source *source, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events | (events & EPOLLEXCLUSIVE ? 0 : EPOLLET), .data.ptr = source};
    return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool loop_change(struct loop *loop, struct source *source, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.ptr = source};
    return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &event) == 0;
}

void loop_remove(struct loop *loop, int fd)
{
    (void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL); /* one that was never added is none */
}

void loop_again(struct loop *loop, struct source *source)
{
    if (!source->buried && list_empty(&source->node))
        list_append(&loop->again, &source->node);
}

void loop_bury(struct loop *loop, struct source *source)
{
    if (source->buried)
        return;
    source->buried = true;
    list_remove(&source->node);
    list_append(&loop->buried, &source->node);
}

/* Who asks again in it has the next round. */
static void run_again(struct loop *loop)
{
    struct list round, *node;
    list_take(&loop->again, &round);
    while ((node = list_first(&round))) {
        struct source *source = LIST_OWNER(struct source, node, node);
        list_remove(node);
        source->again(source);
    }
}

static void run_rounds(struct loop *loop)
{
    for (int round = 0; round < ROUNDS_MOST && !list_empty(&loop->again); round++) {
        if (round && loop_clock_us() - loop->now_us > ROUNDS_US)
            return;
        run_again(loop);
    }
}

void loop_turn(struct loop *loop, int most_ms)
{
    struct epoll_event events[EVENTS_MOST];
    outbox_end(loop->outbox); /* what was sent between two turns */
    int wait = list_empty(&loop->again) ? timers_wait(&loop->timers, loop->now, most_ms) : 0;
    int count = epoll_wait(loop->epoll, events, EVENTS_MOST, wait);
    loop->now_us = loop_clock_us();
    loop->now = loop->now_us / 1000;
    loop->turns++;
    for (int i = 0; i < count; i++) {
        struct source *source = events[i].data.ptr;
        if (!source->buried)
            source->ready(source, events[i].events);
    }
    timers_run(&loop->timers, loop->now);
    if (!list_empty(&loop->again))
        run_rounds(loop);
    outbox_end(loop->outbox);
    free_buried(loop);
}
