#include "proxy/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "traceparent='00-" ID "-00f067aa0ba902b7-01'"

static void a_traceparent_is_found_in_a_comment(void **state)
{
    (void)state;
    static const char *const texts[] = {"SELECT 1 /*" PARENT "*/", "/*" PARENT "*/ SELECT 1",
                                        "SELECT 1 /*db_driver='x',traceparent='bad'," PARENT ",tracestate='a'*/"};
    char id[TRACE_ID + 1];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_true(trace_find(texts[i], strlen(texts[i]), id));
        assert_string_equal(id, ID);
    }
}

static void what_is_malformed_or_cut_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "SELECT 1",
        "traceparent=",
        "traceparent='00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01'",
        "traceparent='00-00000000000000000000000000000000-00f067aa0ba902b7-01'",
        "traceparent='ff-" ID "-00f067aa0ba902b7-01'",
        "traceparent='00_" ID "-00f067aa0ba902b7-01'",
        "traceparent='00-" ID "-00f067aa0ba902bz-01'",
    };
    char id[TRACE_ID + 1];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(trace_find(texts[i], strlen(texts[i]), id));
    /* Cut anywhere: no byte behind is looked at. */
    for (size_t size = 0; size < strlen(PARENT) - 1; size++) {
        char *cut = malloc(size ? size : 1);
        memcpy(cut, PARENT, size);
        assert_false(trace_find(cut, size, id));
        free(cut);
    }
}

static void of_a_long_text_both_ends_are_looked_at(void **state)
{
    (void)state;
    enum { LONG = 1 << 20 };
    char id[TRACE_ID + 1], *text = malloc(LONG);
    const size_t places[] = {0, LONG - sizeof PARENT}, middle = LONG / 2;
    for (size_t i = 0; i < 2; i++) {
        memset(text, ' ', LONG);
        memcpy(text + places[i], PARENT, sizeof PARENT - 1);
        assert_true(trace_find(text, LONG, id));
    }
    memset(text, ' ', LONG);
    memcpy(text + middle, PARENT, sizeof PARENT - 1);
    assert_false(trace_find(text, LONG, id));
    free(text);
}

static void the_name_is_quoted_and_cut_between_characters(void **state)
{
    (void)state;
    static const struct {
        const char *name, *sql;
    } cases[] = {
        {"", "SET application_name = '" ID "'"},
        {"app", "SET application_name = 'app " ID "'"},
        {"o'neil", "SET application_name = 'o''neil " ID "'"},
        {"a name of exactly thirty bytes", "SET application_name = 'a name of exactly thirty bytes " ID "'"},
        {"a name of more than thirty bytes", "SET application_name = 'a name of more than thirty byt " ID "'"},
        {"twenty nine bytes and then a \xc3\xa4", "SET application_name = 'twenty nine bytes and then a  " ID "'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer sql = BUFFER_INIT(512);
        trace_statement(&sql, cases[i].name, ID);
        assert_string_equal(buffer_string(&sql), cases[i].sql);
        buffer_free(&sql);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_traceparent_is_found_in_a_comment),
        cmocka_unit_test(what_is_malformed_or_cut_is_none),
        cmocka_unit_test(of_a_long_text_both_ends_are_looked_at),
        cmocka_unit_test(the_name_is_quoted_and_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
