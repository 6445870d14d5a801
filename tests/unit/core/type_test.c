#include "core/type.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool found(const char *name, enum key_type expected)
{
    enum key_type type = KEY_TYPE_COUNT;
    return type_by_name(name, strlen(name), &type) && type == expected;
}

static void names_and_aliases_are_found(void **state)
{
    (void)state;
    for (int i = 0; i < KEY_TYPE_COUNT; i++) {
        enum key_type type;
        assert_true(found(type_name((enum key_type)i), (enum key_type)i));
        assert_true(type_by_oid(type_oid((enum key_type)i), &type));
        assert_int_equal(type, i);
    }
    assert_true(found("int8", KEY_INT8));
    assert_true(found("INT", KEY_INT4));
    assert_true(found("Varchar", KEY_VARCHAR));
    assert_true(found("char", KEY_BPCHAR));
    assert_true(found("timestamptz", KEY_TIMESTAMPTZ));
    assert_true(found("decimal", KEY_NUMERIC));
}

static void other_names_are_not_found(void **state)
{
    (void)state;
    enum key_type type;
    static const char *const others[] = {"", "int3", "bigint ", "bigin", "bigints", "varchar(10)", "float8"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(type_by_name(others[i], strlen(others[i]), &type));
    assert_false(type_by_name("int8\0", 5, &type));
    assert_true(type_by_name("int8xx", 4, &type));
    assert_false(type_by_oid(701, &type));
}

static void families(void **state)
{
    (void)state;
    int integers = 0, texts = 0;
    for (int i = 0; i < KEY_TYPE_COUNT; i++) {
        integers += type_is_integer((enum key_type)i);
        texts += type_is_text((enum key_type)i);
    }
    assert_int_equal(integers, 3);
    assert_int_equal(texts, 3);
    assert_true(type_is_text(KEY_BPCHAR) && type_is_integer(KEY_INT2));
    assert_true(type_oid_is_text(25) && type_oid_is_text(1042) && type_oid_is_text(1043));
    assert_false(type_oid_is_text(19) || type_oid_is_text(20));
    assert_string_equal(type_integer_name(23), "integer");
    assert_null(type_integer_name(1700));
    assert_null(type_integer_name(701));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_aliases_are_found),
        cmocka_unit_test(other_names_are_not_found),
        cmocka_unit_test(families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
