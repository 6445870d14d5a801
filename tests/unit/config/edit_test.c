#include "config/edit.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ENTRY "{name: b, kind: reference}"

/* expected: NULL where the file is not to be changed by a program. */
static void assert_changed(mosaic_status status, const mosaic_error *error, struct buffer *changed,
                           const char *expected)
{
    if (expected) {
        assert_string_equal(error->message, "");
        assert_string_equal(buffer_string(changed), expected);
    } else {
        assert_int_equal(status, MOSAIC_UNSUPPORTED);
    }
    buffer_free(changed);
}

static void assert_added(const char *text, const char *expected)
{
    struct buffer changed = BUFFER_INIT(1 << 16);
    mosaic_error error = {.message = ""};
    mosaic_status status = config_add_table(text, strlen(text), ENTRY, &changed, &error);
    assert_changed(status, &error, &changed, expected);
}

static void assert_removed(const char *text, size_t number, const char *expected)
{
    struct buffer changed = BUFFER_INIT(1 << 16);
    mosaic_error error = {.message = ""};
    mosaic_status status = config_remove_table(text, strlen(text), number, &changed, &error);
    assert_changed(status, &error, &changed, expected);
}

static void test_a_line_is_added(void **state)
{
    (void)state;
    assert_added("cluster: é\n", "cluster: é\ntables:\n  - " ENTRY "\n");
    assert_added("cluster: a", "cluster: a\ntables:\n  - " ENTRY "\n");
    assert_added("tables: # none\ncluster: a\n", "tables: # none\n  - " ENTRY "\ncluster: a\n");
    assert_added("tables: []\nx: y\n", "tables: \n  - " ENTRY "\nx: y\n");
    assert_added("tables: [{name: a}] # one\n", "tables: [{name: a}, " ENTRY "] # one\n");
    assert_added("# é\ntables:\n  # first\n  - {name: \"ä\"} # a\n\n# end\nx:\n  tables: 1\n",
                 "# é\ntables:\n  # first\n  - {name: \"ä\"} # a\n  - " ENTRY "\n\n# end\nx:\n  tables: 1\n");
    assert_added("tables:\n- name: a\n  key: [b,\n    c]\n  # more\nx: y",
                 "tables:\n- name: a\n  key: [b,\n    c]\n- " ENTRY "\n  # more\nx: y");
    assert_added("x: [{tables: 1}]\ntables:\n    - {name: a}",
                 "x: [{tables: 1}]\ntables:\n    - {name: a}\n    - " ENTRY);
    assert_added("tables:\n  -\n    name: a\n", NULL);
    assert_added("\xEF\xBB\xBFtables:\n", NULL);
}

static void test_a_line_is_removed(void **state)
{
    (void)state;
    static const char block[] =
        "tables: # é\n  # ä\n  - {name: a} # one\n  - name: b\n    key: c # d\n  - {name: e}\nx: y\n";
    assert_removed(block, 0, "tables: # é\n  # ä\n  - name: b\n    key: c # d\n  - {name: e}\nx: y\n");
    assert_removed(block, 1, "tables: # é\n  # ä\n  - {name: a} # one\n  - {name: e}\nx: y\n");
    assert_removed(block, 2, "tables: # é\n  # ä\n  - {name: a} # one\n  - name: b\n    key: c # d\nx: y\n");
    assert_removed(block, 3, NULL);
    assert_removed("tables:\n  - {name: a}", 0, "tables:\n");
    assert_removed("tables: [{name: a}]\n", 0, "tables: []\n");
    assert_removed("tables: [{name: a}, {name: b}, {name: c}]\n", 0, "tables: [{name: b}, {name: c}]\n");
    assert_removed("tables: [{name: a}, {name: b}, {name: c}]\n", 1, "tables: [{name: a}, {name: c}]\n");
    assert_removed("tables: [{name: a}, {name: b}, {name: c}]\n", 2, "tables: [{name: a}, {name: b}]\n");
    assert_removed("tables:\n  -\n    name: a\n", 0, NULL);
}

static void test_words_are_quoted_where_they_need_it(void **state)
{
    (void)state;
    static const char *const words[][2] = {{"sales.orders", "sales.orders"},
                                           {"true", "\"true\""},
                                           {"A b", "\"A b\""},
                                           {"a\"\\\n", "\"a\\\"\\\\\\x0a\""},
                                           {"", "\"\""},
                                           {"é", "\"é\""},
                                           {"1a", "\"1a\""}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct buffer out = BUFFER_INIT(1 << 16);
        config_add_text(&out, words[i][0]);
        assert_string_equal(buffer_string(&out), words[i][1]);
        buffer_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_is_added),
        cmocka_unit_test(test_a_line_is_removed),
        cmocka_unit_test(test_words_are_quoted_where_they_need_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
