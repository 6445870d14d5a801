#include "client/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void backoff_doubles_up_to_the_most(void **state)
{
    (void)state;
    const int expected[] = {0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
    for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(pool_backoff_ms(i, 50, 5000), expected[i]);
    assert_int_equal(pool_backoff_ms(4000000000u, 50, 5000), 5000);
    assert_int_equal(pool_backoff_ms(1, 9000, 5000), 5000);
    assert_int_equal(pool_backoff_ms(100, INT32_MAX / 2 + 1, INT32_MAX), INT32_MAX);
}

static struct background reaper;
static const mosaic_options settings = {.pool_size = 2, .retry_base_ms = 60000, .retry_max_ms = 60000};

static void places_are_given_in_the_order_of_asking(void **state)
{
    (void)state;
    struct pool pool;
    struct lease *first, *second, *none;
    struct waiter one = WAITER_INIT, two = WAITER_INIT, three = WAITER_INIT;
    mosaic_error error;
    pool_init(&pool, 0, "s0", "", &settings, &reaper);
    assert_int_equal(pool_take(&pool, NULL, &first, &error), MOSAIC_OK);
    assert_int_equal(pool_take(&pool, NULL, &second, &error), MOSAIC_OK);
    assert_null(first->connection);
    assert_int_equal(pool_take(&pool, NULL, &none, &error), MOSAIC_AGAIN);
    assert_int_equal(pool_take(&pool, &one, &none, &error), MOSAIC_AGAIN);
    assert_int_equal(pool_take(&pool, &two, &none, &error), MOSAIC_AGAIN);
    assert_int_equal(pool_take(&pool, &three, &none, &error), MOSAIC_AGAIN);
    pool_leave(&pool, &two); /* one that gives up is passed over */
    assert_null(pool_granted(&pool, &one));
    pool_give(first);
    assert_null(pool_granted(&pool, &three));
    pool_give(second);
    struct lease *third = pool_granted(&pool, &one);
    assert_non_null(third);
    assert_null(pool_granted(&pool, &one));
    pool_leave(&pool, &one);
    pool_leave(&pool, &three); /* what it was granted goes back */
    assert_int_equal(pool.open, 1);
    pool_give(third);
    assert_int_equal(pool.open, 0);
    assert_null(pool.first);
    pool_close(&pool);
}

static void failures_are_told_again_until_the_next_attempt(void **state)
{
    (void)state;
    struct pool pool;
    mosaic_error error = {.status = MOSAIC_UNREACHABLE, .message = "refused"}, again = {0};
    pool_init(&pool, 0, "s0", "", &settings, &reaper);
    assert_true(pool_may_connect(&pool, &again));
    pool_connect_failed(&pool, &error);
    pool_connect_failed(&pool, &error); /* two attempts at once count as one failure */
    assert_int_equal(pool.failures, 1);
    assert_false(pool_may_connect(&pool, &again));
    assert_int_equal(again.status, MOSAIC_UNREACHABLE);
    assert_string_equal(again.message, "refused");
    assert_false(pool_may_connect(&pool, NULL));
    pool.retry_at = pq_now_ms();
    assert_true(pool_may_connect(&pool, &again));
    pool_connected(&pool);
    assert_int_equal(pool.failures, 0);
    pool_close(&pool);
}

int main(void)
{
    background_init(&reaper);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_doubles_up_to_the_most),
        cmocka_unit_test(places_are_given_in_the_order_of_asking),
        cmocka_unit_test(failures_are_told_again_until_the_next_attempt),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    background_stop(&reaper);
    return failed;
}
