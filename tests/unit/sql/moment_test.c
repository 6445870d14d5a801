#include "sql/moment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct arena arena;

static const char *filled(const char *text)
{
    size_t size;
    const char *made = moment_fill(&arena, text, strlen(text), "M", &size);
    assert_non_null(made);
    assert_int_equal(size, strlen(made));
    return made;
}

static void each_is_told_by_its_type(void **state)
{
    (void)state;
    assert_string_equal(filled("SET a = now(), b = NOW ( /* */ ) + $1"),
                        "SET a = ('M'::pg_catalog.timestamptz), b = ('M'::pg_catalog.timestamptz) + $1");
    assert_string_equal(filled("pg_catalog.now()::date"), "('M'::pg_catalog.timestamptz)::date");
    assert_string_equal(filled("CURRENT_DATE"), "('M'::pg_catalog.timestamptz::pg_catalog.date)");
    assert_string_equal(filled("(localtime, Current_Time(2))"), "(('M'::pg_catalog.timestamptz::pg_catalog.time), "
                                                                "('M'::pg_catalog.timestamptz::pg_catalog.timetz(2)))");
    assert_string_equal(filled("CURRENT_TIMESTAMP(0) LOCALTIMESTAMP"),
                        "('M'::pg_catalog.timestamptz::pg_catalog.timestamptz(0)) "
                        "('M'::pg_catalog.timestamptz::pg_catalog.timestamp)");
}

static void names_and_strings_are_none(void **state)
{
    static const char text[] = "now, x.now(), a AS current_date, 'now()', \"now\"(), x.current_date, now(1), -- now()\n"
                               "nowadays(), $$now()$$, current_timestamp(now)";
    (void)state;
    assert_int_equal(moment_count(text, strlen(text)), 0);
    assert_string_equal(filled(text), text);
    assert_int_equal(moment_count("now() now() x", 9), 1);
    assert_int_equal(moment_count("", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_told_by_its_type),
        cmocka_unit_test(names_and_strings_are_none),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(&arena);
    return failed;
}
