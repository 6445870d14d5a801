#include "sql/builtin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* All of it as a schema: schema_index also looks at the order, and for what stands twice. */
static struct schema read_all(void)
{
    struct schema schema = {0};
    struct builtin builtin;
    mosaic_error error;
    assert_int_equal(builtin_read(&schema.arena, &builtin, &error), MOSAIC_OK);
    schema.relations = builtin.relations, schema.relation_count = builtin.relation_count;
    schema.types = builtin.types, schema.type_count = builtin.type_count;
    schema.functions = builtin.functions, schema.function_count = builtin.function_count;
    assert_int_equal(schema_index(&schema, &error), MOSAIC_OK);
    return schema;
}

static void the_facts_are_those_of_postgresql_15(void **state)
{
    (void)state;
    struct schema schema = read_all();
    assert_int_equal(schema.relation_count, 208);
    assert_in_range(schema.type_count, 500, 700);
    assert_int_equal(schema.function_count, 3245);
    schema_free(&schema);
}

static void relations_have_their_columns(void **state)
{
    (void)state;
    struct schema schema = read_all();
    const struct schema_relation *class = schema_relation(&schema, "pg_catalog", "pg_class");
    assert_non_null(class);
    assert_int_equal(class->oid, 1259);
    assert_int_equal(class->kind, 'r');
    assert_int_equal(class->placement, PLACE_SYSTEM);
    assert_int_equal(class->column_count, 33);
    assert_string_equal(class->columns[0].name, "oid");
    const struct schema_column *last = schema_column(class, "relpartbound");
    assert_int_equal(last->number, 33);
    assert_int_equal(last->type, 194);
    assert_false(last->not_null);
    assert_true(last->deterministic);
    assert_non_null(schema_relation(&schema, "information_schema", "tables"));
    schema_free(&schema);
}

static void types_have_arrays_elements_and_bases(void **state)
{
    (void)state;
    struct schema schema = read_all();
    const struct schema_type *int8 = schema_type(&schema, "pg_catalog", "int8");
    assert_int_equal(int8->oid, 20);
    assert_int_equal(int8->kind, 'b');
    assert_int_equal(int8->category, 'N');
    assert_int_equal(int8->array, 1016);
    assert_int_equal(schema_type_by_oid(&schema, 1016)->element, 20);
    assert_int_equal(schema_type_by_oid(&schema, 19)->element, 0); /* name can be subscripted, and is no array */
    int32_t modifier = -1;
    const struct schema_type *domain = schema_type(&schema, "information_schema", "yes_or_no");
    assert_int_equal(schema_base_type(&schema, domain->oid, &modifier), 1043);
    assert_int_equal(modifier, 7);
    schema_free(&schema);
}

static void functions_say_what_they_may_do(void **state)
{
    (void)state;
    struct schema schema = read_all();
    size_t count;
    const struct schema_function *abs = schema_functions(&schema, "abs", &count);
    assert_int_equal(count, 6);
    assert_int_equal(abs[0].argument_count, 1);
    assert_int_equal(abs[0].arguments[0], 700);
    assert_int_equal(abs[0].result, 700);
    assert_int_equal(abs[0].volatility, 'i');
    assert_true(abs[0].is_strict && abs[0].is_system && !abs[0].returns_set);
    const struct schema_function *now = schema_functions(&schema, "now", &count);
    assert_int_equal(count, 1);
    assert_int_equal(now->argument_count, 0);
    assert_int_equal(now->volatility, 's');
    const struct schema_function *series = schema_functions(&schema, "generate_series", &count);
    assert_true(count > 3 && series->returns_set);
    assert_int_equal(schema_functions(&schema, "count", &count)->kind, 'a');
    assert_int_equal(schema_functions(&schema, "row_number", &count)->kind, 'w');
    schema_free(&schema);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    mosaic_error error;
    long failed = 0;
    for (mosaic_status status = MOSAIC_MEMORY; status != MOSAIC_OK; failed++) {
        struct arena arena = ARENA_INIT;
        struct builtin builtin;
        memory_fail_after(failed);
        status = builtin_read(&arena, &builtin, &error);
        memory_fail_after(-1);
        assert_true(status == MOSAIC_OK || status == MOSAIC_MEMORY);
        arena_free(&arena);
    }
    assert_true(failed > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_facts_are_those_of_postgresql_15), cmocka_unit_test(relations_have_their_columns),
        cmocka_unit_test(types_have_arrays_elements_and_bases), cmocka_unit_test(functions_say_what_they_may_do),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
