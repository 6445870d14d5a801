/*
 * A hierarchical timer wheel: setting and cancelling cost a list operation, whatever the number of timers.
 *
 *     level 0: 64 slots of 8 ms   level 1: 64 of 512 ms   level 2: 64 of 33 s   level 3: 64 of 35 min   level 4: 64 of
 * 37 h
 *
 * A timer stands on the lowest level whose span reaches its deadline and moves down as time goes on. It fires at the
 * first run at or after its deadline, at most one tick late. Time is given in: milliseconds of any monotonic clock.
 */
#ifndef MOSAIC_PROXY_TIMER_H
#define MOSAIC_PROXY_TIMER_H

#include "proxy/list.h"

#include <stdint.h>

enum { TIMER_TICK_BITS = 3, TIMER_SLOT_BITS = 6, TIMER_SLOTS = 1 << TIMER_SLOT_BITS, TIMER_LEVELS = 5 };

struct timer {
    struct list node;
    int64_t deadline; /* ms; meaningful while set */
    void (*fire)(struct timer *timer);
};

struct timers {
    int64_t tick; /* the last that was run */
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
    uint64_t taken[TIMER_LEVELS]; /* bit s: slot s may have timers */
};

void timers_init(struct timers *timers, int64_t now);
void timer_init(struct timer *timer, void (*fire)(struct timer *timer));
/* Sets or moves it. */
void timer_set(struct timers *timers, struct timer *timer, int64_t deadline);
void timer_cancel(struct timer *timer);
static inline bool timer_is_set(const struct timer *timer)
{
    return timer->node.next != &timer->node;
}
/* Fires what is due; a timer is unset before its function is called, which may set and cancel any. */
void timers_run(struct timers *timers, int64_t now);
/* Milliseconds until timers_run should be called again, at most `most`. May be too early, never too late by a tick. */
int timers_wait(const struct timers *timers, int64_t now, int most);
/* Every timer on the level and slot where its deadline belongs? For tests and debug builds. */
bool timers_validate(const struct timers *timers);

#endif
