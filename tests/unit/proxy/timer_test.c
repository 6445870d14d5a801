#include "proxy/timer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "random.h"

enum { TIMERS = 200, TICK = 1 << TIMER_TICK_BITS };

static int64_t fired_at[TIMERS], now;
static struct timer timers_of[TIMERS];

static void fire(struct timer *timer)
{
    fired_at[timer - timers_of] = now;
}

static void fires_once_and_not_early(void **state)
{
    (void)state;
    struct timers timers;
    now = 1000;
    timers_init(&timers, now);
    timer_init(&timers_of[0], fire);
    fired_at[0] = 0;
    timer_set(&timers, &timers_of[0], 1100);
    for (; now < 1099; now++)
        timers_run(&timers, now);
    assert_int_equal(fired_at[0], 0);
    for (; now < 1100 + 2 * TICK; now++)
        timers_run(&timers, now);
    assert_in_range(fired_at[0], 1100, 1100 + TICK);
    assert_false(timer_is_set(&timers_of[0]));
}

static void cancelled_does_not_fire(void **state)
{
    (void)state;
    struct timers timers;
    now = 0;
    timers_init(&timers, now);
    timer_init(&timers_of[0], fire);
    fired_at[0] = -1;
    timer_set(&timers, &timers_of[0], 50);
    timer_cancel(&timers_of[0]);
    now = 1000;
    timers_run(&timers, now);
    assert_int_equal(fired_at[0], -1);
}

/* Against a plain list of deadlines: each fires in [deadline, deadline + what time jumped + a tick]. */
static void like_a_list(void **state)
{
    (void)state;
    struct timers timers;
    int64_t deadline[TIMERS];
    struct random seed = random_start();
    now = 5;
    timers_init(&timers, now);
    for (int i = 0; i < TIMERS; i++) {
        timer_init(&timers_of[i], fire);
        deadline[i] = -1;
    }
    for (int step = 0; step < 20000; step++) {
        int i = (int)random_below(&seed, TIMERS);
        if (random_below(&seed, 3) == 0) {
            deadline[i] = now + (int64_t)random_below(&seed, 1u << random_below(&seed, 22));
            fired_at[i] = -1;
            timer_set(&timers, &timers_of[i], deadline[i]);
        } else if (random_below(&seed, 10) == 0) {
            timer_cancel(&timers_of[i]);
            deadline[i] = -1;
        }
        now += (int64_t)random_below(&seed, 1u << random_below(&seed, 12));
        assert_in_range(timers_wait(&timers, now, 1000), 0, 1000);
        timers_run(&timers, now);
        assert_true(timers_validate(&timers));
        for (int j = 0; j < TIMERS; j++) {
            if (deadline[j] < 0)
                continue;
            if (fired_at[j] >= 0) {
                assert_true(fired_at[j] >= deadline[j]);
                deadline[j] = -1;
            } else {
                assert_true(deadline[j] + TICK > now);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_once_and_not_early),
        cmocka_unit_test(cancelled_does_not_fire),
        cmocka_unit_test(like_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
