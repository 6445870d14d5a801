/*
 * The event loop of one thread: epoll, timers, and what is to be gone on with although no socket says so.
 *
 * Sockets are registered once, edge-triggered, so that a transaction costs no epoll_ctl; room for writing is asked for
 * only while the kernel's buffer is full (channel.h). docs/design/proxy.md says why this is no library's loop.
 *
 *     loop_init(&loop, &error); loop_add(&loop, &source, fd, EPOLLIN);
 *     while (…) loop_turn(&loop, 1000);
 */
#ifndef MOSAIC_PROXY_LOOP_H
#define MOSAIC_PROXY_LOOP_H

#include "base/error.h"
#include "proxy/timer.h"

#include <sys/epoll.h>

/* What the loop calls; embedded in who owns it. */
struct source {
    void (*ready)(struct source *source, uint32_t events);
    void (*again)(struct source *source); /* asked for by loop_again */
    void (*free)(struct source *source);  /* after loop_bury, once no event can name it any more */
    struct list node;                     /* of loop->again or loop->buried */
    bool buried;
};

struct loop {
    int epoll;
    int64_t now;    /* ms, monotonic: as of this turn */
    int64_t now_us; /* the same in microseconds, for what is only measured */
    struct timers timers;
    struct list again, buried;
    uint64_t turns;
    struct outbox *outbox;
};

MOSAIC_MUST_CHECK mosaic_status loop_init(struct loop *loop, mosaic_error *error);
void loop_free(struct loop *loop);
void source_init(struct source *source, void (*ready)(struct source *, uint32_t), void (*again)(struct source *),
                 void (*free)(struct source *));
/* Edge-triggered but for EPOLLEXCLUSIVE. */
MOSAIC_MUST_CHECK bool loop_add(struct loop *loop, struct source *source, int fd, uint32_t events);
MOSAIC_MUST_CHECK bool loop_change(struct loop *loop, struct source *source, int fd, uint32_t events);
/*
 * Before its socket is closed: that alone does not end its events while another process has it as well, as one that is
 * about to become pg_dump has for a moment.
 */
void loop_remove(struct loop *loop, int fd);
/* source->again is called once before the loop waits next, or next looks for events: this turn's others come first. */
void loop_again(struct loop *loop, struct source *source);
/* No more calls; freed at the end of this turn. Its socket must be closed. */
void loop_bury(struct loop *loop, struct source *source);
/* Waits at most so long, and handles what came. */
void loop_turn(struct loop *loop, int most_ms);
int64_t loop_clock(void);
int64_t loop_clock_us(void);

#endif
