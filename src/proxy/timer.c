#include "proxy/timer.h"

enum { SLOT_MASK = TIMER_SLOTS - 1 };

static int64_t tick_of(int64_t deadline)
{
    /* Rounded up: never early. */
    return (deadline + (1 << TIMER_TICK_BITS) - 1) >> TIMER_TICK_BITS;
}

void timers_init(struct timers *timers, int64_t now)
{
    timers->tick = now >> TIMER_TICK_BITS;
    for (int level = 0; level < TIMER_LEVELS; level++) {
        timers->taken[level] = 0;
        for (int slot = 0; slot < TIMER_SLOTS; slot++)
            list_init(&timers->slots[level][slot]);
    }
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer))
{
    list_init(&timer->node);
    timer->deadline = 0;
    timer->fire = fire;
}

/* Where a tick in the future belongs, seen from timers->tick. */
static void place(const struct timers *timers, int64_t tick, int *level, int *slot)
{
    int64_t ahead = tick - timers->tick;
    int64_t farthest = (INT64_C(1) << (TIMER_SLOT_BITS * TIMER_LEVELS)) - 1;
    if (ahead > farthest)
        tick = timers->tick + farthest; /* it will be placed again on its way down */
    *level = 0;
    while (*level < TIMER_LEVELS - 1 && (ahead >> (TIMER_SLOT_BITS * (*level + 1))) != 0)
        ++*level;
    *slot = (int)(tick >> (TIMER_SLOT_BITS * *level)) & SLOT_MASK;
}

static void insert(struct timers *timers, struct timer *timer)
{
    int64_t tick = tick_of(timer->deadline);
    int level, slot;
    if (tick <= timers->tick)
        tick = timers->tick + 1;
    place(timers, tick, &level, &slot);
    list_append(&timers->slots[level][slot], &timer->node);
    timers->taken[level] |= UINT64_C(1) << slot;
}

void timer_set(struct timers *timers, struct timer *timer, int64_t deadline)
{
    list_remove(&timer->node);
    timer->deadline = deadline;
    insert(timers, timer);
}

void timer_cancel(struct timer *timer)
{
    list_remove(&timer->node);
}

/* The slots of higher levels that begin at this tick come down. */
static void cascade(struct timers *timers)
{
    for (int level = 1; level < TIMER_LEVELS; level++) {
        if (timers->tick & ((INT64_C(1) << (TIMER_SLOT_BITS * level)) - 1))
            return;
        int slot = (int)(timers->tick >> (TIMER_SLOT_BITS * level)) & SLOT_MASK;
        struct list moved, *node;
        list_take(&timers->slots[level][slot], &moved);
        timers->taken[level] &= ~(UINT64_C(1) << slot);
        while ((node = list_first(&moved))) {
            struct timer *timer = LIST_OWNER(struct timer, node, node);
            list_remove(node);
            /* Due at this very tick: below, slot 0 is about to be run. */
            if (tick_of(timer->deadline) <= timers->tick) {
                int now = (int)timers->tick & SLOT_MASK;
                list_append(&timers->slots[0][now], node);
                timers->taken[0] |= UINT64_C(1) << now;
            } else {
                insert(timers, timer);
            }
        }
    }
}

static void run_slot(struct timers *timers)
{
    int slot = (int)timers->tick & SLOT_MASK;
    struct list due, *node;
    if (!(timers->taken[0] & UINT64_C(1) << slot))
        return;
    list_take(&timers->slots[0][slot], &due);
    timers->taken[0] &= ~(UINT64_C(1) << slot);
    while ((node = list_first(&due))) {
        struct timer *timer = LIST_OWNER(struct timer, node, node);
        list_remove(node);
        timer->fire(timer);
    }
}

/* Ticks up to which nothing is due or cascades: the end of level 0's round, or the next taken slot. */
static int64_t quiet_until(const struct timers *timers)
{
    int64_t round_end = (timers->tick | SLOT_MASK) + 1;
    int at = (int)timers->tick & SLOT_MASK;
    uint64_t later = at == SLOT_MASK ? 0 : timers->taken[0] >> (at + 1);
    if (!later)
        return round_end;
    return timers->tick + 1 + __builtin_ctzll(later);
}

static bool none_set(const struct timers *timers)
{
    uint64_t taken = 0;
    for (int level = 0; level < TIMER_LEVELS; level++)
        taken |= timers->taken[level];
    return taken == 0;
}

void timers_run(struct timers *timers, int64_t now)
{
    int64_t target = now >> TIMER_TICK_BITS;
    while (timers->tick < target) {
        if (none_set(timers)) {
            timers->tick = target;
            return;
        }
        int64_t next = quiet_until(timers);
        timers->tick = next < target ? next : target;
        cascade(timers);
        run_slot(timers);
    }
}

int timers_wait(const struct timers *timers, int64_t now, int most)
{
    if (none_set(timers))
        return most;
    /* Level 0 alone is looked at: a wake-up at the end of its round, twice a second at most, is cheap. */
    int64_t left = (quiet_until(timers) << TIMER_TICK_BITS) - now;
    return left < 0 ? 0 : left > most ? most : (int)left;
}

bool timers_validate(const struct timers *timers)
{
    for (int level = 0; level < TIMER_LEVELS; level++) {
        for (int slot = 0; slot < TIMER_SLOTS; slot++) {
            const struct list *head = &timers->slots[level][slot];
            for (const struct list *node = head->next; node != head; node = node->next) {
                const struct timer *timer = LIST_OWNER(const struct timer, node, node);
                if (node->next->previous != node || !(timers->taken[level] & UINT64_C(1) << slot))
                    return false;
                if (level == 0 && tick_of(timer->deadline) > timers->tick + TIMER_SLOTS)
                    return false;
            }
        }
    }
    return true;
}
