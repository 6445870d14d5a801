#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* a, two bytes, three bytes, four bytes, b */
static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"
                           "b";
enum { SIZE = sizeof text - 1 };

static void characters_are_counted(void **state)
{
    (void)state;
    assert_int_equal(utf8_count(text, 0), 0);
    assert_int_equal(utf8_count(text, SIZE), 5);
    assert_int_equal(utf8_count(text, 3), 2);
    assert_int_equal(utf8_count(text + 2, 1), 0);
}

static void characters_are_found(void **state)
{
    (void)state;
    static const size_t offsets[] = {0, 1, 3, 6, 10, 11, 11};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++)
        assert_int_equal(utf8_offset(text, SIZE, i), offsets[i]);
    assert_int_equal(utf8_offset(text, 0, 3), 0);
}

static void no_character_is_cut(void **state)
{
    (void)state;
    static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        assert_int_equal(utf8_cut(text, SIZE, i), cuts[i]);
    assert_int_equal(utf8_cut("\x80\x80", 2, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_are_counted),
        cmocka_unit_test(characters_are_found),
        cmocka_unit_test(no_character_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
