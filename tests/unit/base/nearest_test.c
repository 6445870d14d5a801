#include "base/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static size_t distance(const char *a, const char *b)
{
    return nearest_distance(a, strlen(a), b, strlen(b));
}

static void distances_count_edits(void **state)
{
    (void)state;
    assert_int_equal(distance("", ""), 0);
    assert_int_equal(distance("route", "route"), 0);
    assert_int_equal(distance("", "abc"), 3);
    assert_int_equal(distance("abc", ""), 3);
    assert_int_equal(distance("rotue", "route"), 1); /* neighbours swapped */
    assert_int_equal(distance("rout", "route"), 1);
    assert_int_equal(distance("rooute", "route"), 1);
    assert_int_equal(distance("kitten", "sitting"), 3);
}

static void a_long_text_is_far_from_everything(void **state)
{
    (void)state;
    char text[200];
    memset(text, 'a', sizeof text);
    assert_true(nearest_distance(text, 64, "a", 1) == SIZE_MAX);
    assert_int_equal(nearest_distance(text, 63, text, 63), 0);
}

static const char *best_of(const char *typed)
{
    struct nearest nearest = nearest_start(typed, strlen(typed));
    nearest_offer(&nearest, "route");
    nearest_offer(&nearest, "load");
    nearest_offer(&nearest, "lab");
    nearest_offer(&nearest, "on-error");
    return nearest.best;
}

static void the_nearest_wins(void **state)
{
    (void)state;
    assert_string_equal(best_of("ruote"), "route");
    assert_string_equal(best_of("laod"), "load");
    assert_string_equal(best_of("lob"), "lab");
    assert_string_equal(best_of("on"), "on-error"); /* a beginning */
}

static void what_is_far_from_all_has_no_nearest(void **state)
{
    (void)state;
    assert_null(best_of("xyzzy"));
    assert_null(best_of("q"));
    assert_null(best_of(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_count_edits),
        cmocka_unit_test(a_long_text_is_far_from_everything),
        cmocka_unit_test(the_nearest_wins),
        cmocka_unit_test(what_is_far_from_all_has_no_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
