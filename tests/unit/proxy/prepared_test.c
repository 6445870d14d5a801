#include "proxy/prepared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct prepared_table table;

static struct prepared *intern(const char *text)
{
    return prepared_intern(&table, text, strlen(text), "\0\0\0\x14", 1, (struct settings_sense){.meaning = 7});
}

static int setup(void **state)
{
    (void)state;
    return prepared_table_init(&table, 1) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(table.count, 0);
    prepared_table_free(&table);
    return 0;
}

static void equal_texts_are_one(void **state)
{
    (void)state;
    struct prepared *a = intern("SELECT $1"), *b = intern("SELECT $1"), *c = intern("SELECT $1 + 1");
    struct prepared *d =
        prepared_intern(&table, "SELECT $1", 9, "\0\0\0\x17", 1, (struct settings_sense){.meaning = 7});
    struct prepared *e =
        prepared_intern(&table, "SELECT $1", 9, "\0\0\0\x14", 1, (struct settings_sense){.meaning = 8});
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
    assert_ptr_not_equal(a, d);
    assert_ptr_not_equal(a, e);
    assert_int_equal(a->types[0], 20);
    prepared_release(a), prepared_release(b), prepared_release(c), prepared_release(d), prepared_release(e);
}

/* A server that kept it for another client would tell yesterday's date. */
static void a_moment_is_never_shared(void **state)
{
    (void)state;
    struct prepared *a = intern("SELECT 'Today'::date, $1"), *b = intern("SELECT 'Today'::date, $1");
    assert_ptr_not_equal(a, b);
    prepared_release(a);
    prepared_release(b);
}

static uint64_t shape_of(const char *name, char type, char origin)
{
    char body[64] = {0, 1};
    size_t length = strlen(name) + 1;
    memcpy(body + 2, name, length);
    body[2 + length + 3] = origin;
    body[2 + length + 9] = type;
    return prepared_shape(body, 2 + length + 18);
}

static void a_shape_is_names_and_types(void **state)
{
    (void)state;
    assert_int_equal(shape_of("id", 20, 1), shape_of("id", 20, 2));
    assert_int_not_equal(shape_of("id", 20, 1), shape_of("id", 23, 1));
    assert_int_not_equal(shape_of("id", 20, 1), shape_of("no", 20, 1));
    assert_int_not_equal(shape_of("id", 20, 1), prepared_shape(NULL, 0));
    assert_int_not_equal(prepared_shape(NULL, 0), 0);
}

static void another_shape_is_another_statement(void **state)
{
    (void)state;
    struct prepared *a = intern("SELECT * FROM t WHERE id = $1"), *first = prepared_reshape(a, 5);
    assert_ptr_equal(first, a);
    struct prepared *same = prepared_reshape(a, 5), *other = prepared_reshape(a, 6), *again = prepared_reshape(a, 6);
    assert_ptr_equal(same, a);
    assert_ptr_not_equal(other, a);
    assert_ptr_equal(again, other);
    assert_int_equal(other->types[0], 20);
    struct prepared *found = intern("SELECT * FROM t WHERE id = $1");
    assert_ptr_equal(found, other);
    struct prepared *back = prepared_reshape(other, 5);
    assert_ptr_not_equal(back, a);
    struct prepared *all[] = {a, first, same, other, again, found, back};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        prepared_release(all[i]);
}

static void names_of_a_client(void **state)
{
    (void)state;
    struct client_statements names = {0};
    struct prepared *a = intern("SELECT $1");
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "s%d", i);
        assert_non_null(client_statements_add(&names, name, a));
    }
    assert_non_null(client_statements_find(&names, "s999"));
    client_statements_remove(&names, "s999");
    assert_null(client_statements_find(&names, "s999"));
    assert_int_equal(names.count, 999);
    struct client_statement *closing = client_statements_find(&names, "s1");
    closing->is_closing = true;
    assert_null(client_statements_find(&names, "s1"));
    closing->in_flight++;
    client_statements_drop(&names, closing);
    client_statement_landed(closing);
    assert_string_not_equal(client_statements_name(&names, a->number, 0), "s1");
    assert_string_equal(client_statements_name(&names, a->number, client_statements_mark("s77")), "s77");
    assert_string_equal(client_statements_name(&names, a->number, client_statements_mark("s500")), "s500");
    client_statements_clear(&names);
    prepared_release(a);
}

static void the_one_used_least_leaves(void **state)
{
    (void)state;
    struct server_statements have = {0};
    struct prepared *a = intern("SELECT $1"), *b = intern("SELECT $1, 2"), *c = intern("SELECT $1, 3");
    assert_false(server_statements_use(&have, a));
    assert_true(server_statements_add(&have, a));
    assert_true(server_statements_add(&have, b));
    assert_true(server_statements_use(&have, a));
    assert_null(server_statements_oldest(&have, 3));
    assert_ptr_equal(server_statements_oldest(&have, 2), b);
    server_statements_remove(&have, b);
    assert_true(server_statements_add(&have, c));
    assert_ptr_equal(server_statements_oldest(&have, 2), a);
    assert_null(server_statements_since(&have, b));
    *server_statements_since(&have, a) = 7;
    assert_ptr_equal(server_statements_oldest(&have, 2), c);
    assert_int_equal(*server_statements_since(&have, a), 7);
    assert_int_equal(*server_statements_since(&have, c), 0);
    server_statements_clear(&have);
    prepared_release(a), prepared_release(b), prepared_release(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(equal_texts_are_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_moment_is_never_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(a_shape_is_names_and_types, setup, teardown),
        cmocka_unit_test_setup_teardown(another_shape_is_another_statement, setup, teardown),
        cmocka_unit_test_setup_teardown(names_of_a_client, setup, teardown),
        cmocka_unit_test_setup_teardown(the_one_used_least_leaves, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
