#include "client/background.h"

#include <stdatomic.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct counted {
    struct job job;
    atomic_int *sum;
    int order, *next;
};

static void count(struct job *job)
{
    struct counted *counted = (struct counted *)job;
    if (counted->order == (*counted->next)++)
        atomic_fetch_add(counted->sum, 1);
    usleep(1000);
}

static void all_jobs_run_in_order_before_the_end(void **state)
{
    (void)state;
    struct background background;
    struct counted jobs[20];
    atomic_int sum = 0;
    int next = 0;
    background_init(&background);
    for (int i = 0; i < 20; i++) {
        jobs[i] = (struct counted){.job.run = count, .sum = &sum, .order = i, .next = &next};
        assert_true(background_add(&background, &jobs[i].job));
    }
    background_stop(&background);
    assert_int_equal(atomic_load(&sum), 20);
}

static void without_a_job_there_is_no_thread(void **state)
{
    (void)state;
    struct background background;
    background_init(&background);
    assert_false(background.started);
    background_stop(&background);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_jobs_run_in_order_before_the_end),
        cmocka_unit_test(without_a_job_there_is_no_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
