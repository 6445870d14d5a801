#include "catalog/state.h"

#include "../random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_arrays_as_postgresql_writes_them(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    const char *const *items;
    size_t count;
    assert_true(state_split_array(&arena, "{}", &items, &count));
    assert_int_equal(count, 0);
    assert_true(state_split_array(&arena, "{a,\"b c\",\"\",\"q\\\"\\\\,}\"}", &items, &count));
    assert_int_equal(count, 4);
    assert_string_equal(items[0], "a");
    assert_string_equal(items[1], "b c");
    assert_string_equal(items[2], "");
    assert_string_equal(items[3], "q\"\\,}");
    static const char *const wrong[] = {"", "{", "}", "a", "{a", "{a}x", "{\"a}", "{\"a\"b}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(state_split_array(&arena, wrong[i], &items, &count));
    arena_free(&arena);
}

/* Model-based: random texts, written as array_out does (always quoted), must come back. */
static void test_random_arrays_come_back(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 2000; round++) {
        struct arena arena = ARENA_INIT;
        char text[2000], wanted[8][40];
        size_t used = 0, count = random_below(&random, 8), found;
        const char *const *items;
        text[used++] = '{';
        for (size_t i = 0; i < count; i++) {
            size_t size = random_below(&random, 30);
            if (i)
                text[used++] = ',';
            text[used++] = '"';
            for (size_t j = 0; j < size; j++) {
                char letter = "ab,\"\\{} \t"[random_below(&random, 9)];
                if (letter == '"' || letter == '\\')
                    text[used++] = '\\';
                text[used++] = wanted[i][j] = letter;
            }
            wanted[i][size] = '\0';
            text[used++] = '"';
        }
        text[used++] = '}';
        text[used] = '\0';
        assert_true(state_split_array(&arena, text, &items, &found));
        assert_int_equal(found, count);
        for (size_t i = 0; i < count; i++)
            assert_string_equal(items[i], wanted[i]);
        arena_free(&arena);
    }
}

static void test_an_array_for_sql(void **state)
{
    (void)state;
    struct buffer sql = BUFFER_INIT(1000);
    static const char *const items[] = {"a", "it's"};
    state_add_array(&sql, items, 2);
    assert_string_equal(buffer_string(&sql), "ARRAY['a','it''s']::text[]");
    buffer_clear(&sql);
    state_add_array(&sql, NULL, 0);
    assert_string_equal(buffer_string(&sql), "ARRAY[]::text[]");
    buffer_free(&sql);
}

static void test_classes_of_keys_that_hash_alike(void **state)
{
    (void)state;
    assert_string_equal(state_key_class(KEY_INT2), state_key_class(KEY_INT8));
    assert_string_equal(state_key_class(KEY_TEXT), state_key_class(KEY_VARCHAR));
    assert_string_not_equal(state_key_class(KEY_TEXT), state_key_class(KEY_BPCHAR));
    assert_string_not_equal(state_key_class(KEY_DATE), state_key_class(KEY_INT4));
}

static void test_failed_allocations(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    const char *const *items;
    size_t count;
    memory_fail_after(0);
    assert_false(state_split_array(&arena, "{a,b}", &items, &count));
    memory_fail_after(-1);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays_as_postgresql_writes_them),
        cmocka_unit_test(test_random_arrays_come_back),
        cmocka_unit_test(test_an_array_for_sql),
        cmocka_unit_test(test_classes_of_keys_that_hash_alike),
        cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
