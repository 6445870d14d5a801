#include "proxy/passfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void first_line_that_matches(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    static const char text[] = "# a comment:*:*:me:no\n"
                               "other:5432:*:me:one\r\n"
                               "*:5433:shop:me:t\\:w\\\\o\n"
                               "*:*:*:me:three\n"
                               "short:line";
    assert_string_equal(passfile_find(&arena, text, "other", "5432", "x", "me"), "one");
    assert_string_equal(passfile_find(&arena, text, "host", "5433", "shop", "me"), "t:w\\o");
    assert_string_equal(passfile_find(&arena, text, "host", "5432", "shop", "me"), "three");
    assert_null(passfile_find(&arena, text, "host", "5432", "shop", "you"));
    assert_null(passfile_find(&arena, "", "host", "5432", "shop", "me"));
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(first_line_that_matches)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
