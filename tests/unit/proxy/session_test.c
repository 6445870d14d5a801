#include "proxy/session.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct settings_table table;

static int setup(void **state)
{
    (void)state;
    return settings_table_init(&table, 42) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(table.count, 1); /* nothing but the empty state was left */
    settings_table_free(&table);
    return 0;
}

static void equal_settings_are_one_state(void **state)
{
    (void)state;
    struct settings_state *a = settings_with(table.empty, "timezone", "SET timezone = 'UTC'", "UTC");
    struct settings_state *b = settings_with(table.empty, "timezone", "SET timezone = 'UTC'", "UTC");
    struct settings_state *c = settings_with(a, "datestyle", "SET datestyle = 'ISO'", "ISO");
    struct settings_state *d = settings_without(c, "datestyle");
    assert_ptr_equal(a, b);
    assert_ptr_equal(a, d);
    assert_ptr_not_equal(a, c);
    assert_string_equal(settings_lookup(c, "timezone")->value, "UTC");
    assert_null(settings_lookup(a, "datestyle"));
    settings_release(a);
    settings_release(b);
    settings_release(c);
    settings_release(d);
}

static void application_name_means_nothing(void **state)
{
    (void)state;
    struct settings_state *a = settings_with(table.empty, "application_name", "SET application_name = 'x'", "x");
    struct settings_state *b = settings_with(table.empty, "datestyle", "SET datestyle = 'German'", "German");
    assert_int_equal(a->sense.meaning, table.empty->sense.meaning);
    assert_int_not_equal(b->sense.meaning, table.empty->sense.meaning);
    settings_release(a);
    settings_release(b);
}

static void difference_leads_from_one_to_the_other(void **state)
{
    (void)state;
    struct buffer sql = BUFFER_INIT(4096);
    struct settings_state *a = settings_with(table.empty, "datestyle", "SET datestyle = 'German'", "German");
    struct settings_state *b = settings_with(table.empty, "timezone", "SET timezone = 'UTC'", "UTC");
    settings_difference(a, b, &sql);
    assert_string_equal(buffer_string(&sql), "RESET \"datestyle\";SET timezone = 'UTC';");
    buffer_clear(&sql);
    settings_difference(a, a, &sql);
    assert_string_equal(buffer_string(&sql), "");
    buffer_free(&sql);
    settings_release(a);
    settings_release(b);
}

static struct settings_state *after(struct settings_state *state, const char *value)
{
    struct settings_state *next = settings_with(state, "datestyle", "SET datestyle = …", value);
    settings_release(state);
    return next;
}

static void a_part_of_datestyle_leaves_the_other(void **state)
{
    (void)state;
    static const struct {
        const char *first, *then, *whole;
    } cases[] = {
        {"ISO", "ISO", "ISO, DEFAULT"},
        {"dmy", "dmy", "DMY, DEFAULT"},
        {"SQL, DMY", "ISO", "ISO, DMY"},
        {"ISO", "European", "ISO, DMY"},
        {"ISO, YMD", "us", "ISO, MDY"},
        {"ISO, MDY", "German", "German, DMY"},
        {"SQL", "YMD , \"German\"", "German, YMD"},
        {"SQL, DMY", "iso,DEFAULT", "ISO, DEFAULT"},
        {"SQL, DMY", "DEFAULT", "DEFAULT"},
        {"SQL, DMY", "", "SQL, DMY"},
        {"Postgres, DMY", "nonsense", "nonsense"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings_state *made = after(after(settings_hold(table.empty), cases[i].first), cases[i].then);
        const struct setting *setting = settings_lookup(made, "datestyle");
        assert_string_equal(setting->value, cases[i].whole);
        struct settings_state *again = settings_with(table.empty, "datestyle", setting->replay, setting->value);
        assert_ptr_equal(again, made); /* a whole one needs nothing that stands */
        settings_release(again);
        settings_release(made);
    }
}

static void ones_own_setting_stays_known(void **state)
{
    (void)state;
    struct settings_state *a = settings_with(table.empty, "app.user", "SET app.user = 'x'", "x");
    struct settings_state *left = settings_leave_empty(table.empty, a);
    assert_false(settings_can_become(a, table.empty));
    assert_true(settings_can_become(table.empty, a));
    assert_true(settings_can_become(a, left));
    assert_string_equal(settings_lookup(left, "app.user")->value, "");
    settings_release(a);
    settings_release(left);
}

static void quoted(void **state)
{
    (void)state;
    struct buffer sql = BUFFER_INIT(4096);
    settings_quote_text(&sql, "a'b");
    settings_quote_text(&sql, "a\\b");
    settings_quote_name(&sql, "app.us\"er");
    assert_string_equal(buffer_string(&sql), "'a''b'E'a\\\\b'\"app\".\"us\"\"er\"");
    buffer_free(&sql);
}

static void memory_is_out(void **state)
{
    (void)state;
    for (long after = 0; after < 4; after++) {
        memory_fail_after(after);
        struct settings_state *made = settings_with(table.empty, "timezone", "SET timezone = 'UTC'", "UTC");
        memory_fail_after(-1);
        settings_release(made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equal_settings_are_one_state, setup, teardown),
        cmocka_unit_test_setup_teardown(application_name_means_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(difference_leads_from_one_to_the_other, setup, teardown),
        cmocka_unit_test_setup_teardown(a_part_of_datestyle_leaves_the_other, setup, teardown),
        cmocka_unit_test_setup_teardown(ones_own_setting_stays_known, setup, teardown),
        cmocka_unit_test_setup_teardown(quoted, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_is_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
