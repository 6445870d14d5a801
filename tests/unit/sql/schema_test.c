#include "../random.h"
#include "sql/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct schema_column id_column[] = {{.name = "id", .type = 20, .modifier = -1, .number = 1},
                                                 {.name = "Name", .type = 25, .modifier = -1, .number = 3}};
static struct table users = {.schema = "public", .name = "users", .columns = {"id"}, .column_count = 1};
static const uint32_t oid_of_part[] = {101}, oid_of_root[] = {100};
static struct shard shards[2] = {{.name = "s0"}, {.name = "s1"}};
static struct model model = {.shards = shards, .shard_count = 2};

static const struct schema_relation relations[] = {
    {.schema = "public",
     .name = "users",
     .oid = 100,
     .kind = 'p',
     .placement = PLACE_SHARDED,
     .table = &users,
     .columns = id_column,
     .column_count = 2,
     .children = oid_of_part,
     .child_count = 1},
    {.schema = "public",
     .name = "users_1",
     .oid = 101,
     .kind = 'r',
     .placement = PLACE_SHARDED,
     .table = &users,
     .columns = id_column,
     .column_count = 2,
     .parents = oid_of_root,
     .parent_count = 1},
    {.schema = "other", .name = "users", .oid = 102, .kind = 'r'},
};
static const struct schema_type types[] = {
    {.schema = "pg_catalog", .name = "int8", .oid = 20, .kind = 'b'},
    {.schema = "public", .name = "mood", .oid = 16400, .kind = 'e'},
    {.schema = "public", .name = "small", .oid = 16402, .kind = 'd', .base = 16404, .base_modifier = -1},
    {.schema = "public", .name = "money2", .oid = 16404, .kind = 'd', .base = 20, .base_modifier = 7},
};
static const struct schema_function functions[] = {
    {.schema = "pg_catalog", .name = "abs", .oid = 1},
    {.schema = "pg_catalog", .name = "lower", .oid = 2},
    {.schema = "public", .name = "lower", .oid = 3},
    {.schema = "public", .name = "zero", .oid = 4},
};
static const uint32_t type_oids[] = {20, 16400, 16402, 16404, 20, 16402, 0, 16400};
static const char *const namespaces[] = {"pg_catalog", "public", "other"};

static struct schema filled(void)
{
    return (struct schema){.version = 1,
                           .model = &model,
                           .relations = relations,
                           .relation_count = 3,
                           .types = types,
                           .type_count = 4,
                           .functions = functions,
                           .function_count = 4,
                           .namespaces = namespaces,
                           .namespace_count = 3,
                           .type_oids = type_oids};
}

static void names_and_oids_find_what_they_name(void **state)
{
    (void)state;
    mosaic_error error;
    struct schema schema = filled();
    size_t count;
    assert_int_equal(schema_index(&schema, &error), MOSAIC_OK);
    assert_ptr_equal(schema_relation(&schema, "public", "users"), &relations[0]);
    assert_ptr_equal(schema_relation(&schema, "other", "users"), &relations[2]);
    assert_null(schema_relation(&schema, "public", "Users"));
    assert_null(schema_relation(&schema, "nowhere", "users"));
    assert_ptr_equal(schema_relation_by_oid(&schema, 101), &relations[1]);
    assert_null(schema_relation_by_oid(&schema, 103));
    assert_ptr_equal(schema_type(&schema, "public", "mood"), &types[1]);
    assert_null(schema_type(&schema, "pg_catalog", "mood"));
    assert_ptr_equal(schema_type_by_oid(&schema, 16404), &types[3]);
    assert_null(schema_type_by_oid(&schema, 16403));
    assert_ptr_equal(schema_functions(&schema, "lower", &count), &functions[1]);
    assert_int_equal(count, 2);
    assert_null(schema_functions(&schema, "upper", &count));
    assert_int_equal(count, 0);
    assert_true(schema_has_namespace(&schema, "other"));
    assert_false(schema_has_namespace(&schema, "mosaic"));
    assert_ptr_equal(schema_column(&relations[0], "Name"), &id_column[1]);
    assert_null(schema_column(&relations[0], "name"));
    schema_free(&schema);
    assert_null(schema.relations);
}

static void a_domain_of_a_domain_has_a_base_and_the_innermost_modifier(void **state)
{
    (void)state;
    mosaic_error error;
    struct schema schema = filled();
    int32_t modifier = -1;
    assert_int_equal(schema_index(&schema, &error), MOSAIC_OK);
    assert_int_equal(schema_base_type(&schema, 16402, &modifier), 20);
    assert_int_equal(modifier, 7);
    modifier = 3;
    assert_int_equal(schema_base_type(&schema, 20, &modifier), 20);
    assert_int_equal(modifier, 3);
    assert_int_equal(schema_base_type(&schema, 99999, NULL), 99999);
    schema_free(&schema);
}

static void oids_of_types_are_mapped_between_shards(void **state)
{
    (void)state;
    mosaic_error error;
    struct schema schema = filled();
    assert_int_equal(schema_index(&schema, &error), MOSAIC_OK);
    assert_int_equal(schema_oid_on(&schema, 0, 16400), 16400);
    assert_int_equal(schema_oid_on(&schema, 1, 16400), 16402);
    assert_int_equal(schema_oid_on(&schema, 1, 16404), 16400);
    assert_int_equal(schema_oid_on(&schema, 1, 16402), 0); /* s1 has none */
    assert_int_equal(schema_oid_on(&schema, 1, 17000), 0); /* nobody knows */
    assert_int_equal(schema_oid_on(&schema, 1, 25), 25);   /* PostgreSQL's own */
    assert_int_equal(schema_oid_from(&schema, 1, 16402), 16400);
    assert_int_equal(schema_oid_from(&schema, 1, 16400), 16404);
    assert_int_equal(schema_oid_from(&schema, 1, 16404), 0);
    assert_int_equal(schema_oid_from(&schema, 0, 16404), 16404);
    schema.type_oids = NULL;
    assert_int_equal(schema_oid_on(&schema, 1, 17000), 17000);
    schema_free(&schema);
}

static void expect_refusal(struct schema *schema, const char *words)
{
    mosaic_error error;
    assert_int_equal(schema_index(schema, &error), MOSAIC_INTERNAL);
    assert_non_null(strstr(error.message, words));
    schema_free(schema);
}

static void what_contradicts_itself_is_named(void **state)
{
    (void)state;
    struct schema schema = filled();
    struct schema_relation copies[3];
    struct schema_type typed[4];
    memcpy(copies, relations, sizeof copies);
    memcpy(typed, types, sizeof typed);
    schema.relations = copies;
    copies[2].schema = "public";
    expect_refusal(&schema, "relation public.users stands twice");
    memcpy(copies, relations, sizeof copies);
    copies[2].oid = 100;
    schema = filled(), schema.relations = copies;
    expect_refusal(&schema, "OID 100 of relation other.users stands twice");
    memcpy(copies, relations, sizeof copies);
    copies[1].table = NULL;
    schema = filled(), schema.relations = copies;
    expect_refusal(&schema, "public.users_1 has a placement, and no table");
    memcpy(copies, relations, sizeof copies);
    copies[1].column_count = 0;
    schema = filled(), schema.relations = copies;
    expect_refusal(&schema, "public.users_1 lacks its sharding key's column id");
    schema = filled(), schema.relations = relations, schema.relation_count = 1;
    expect_refusal(&schema, "a child of public.users, OID 101");
    typed[3].kind = 'd', typed[3].base = 16402;
    schema = filled(), schema.types = typed;
    expect_refusal(&schema, "domain public.small has no type below it");
    typed[0].oid = 20000;
    schema = filled(), schema.types = typed;
    expect_refusal(&schema, "type public.mood, OID 16400, stands behind OID 20000");
    struct schema_function other[2] = {functions[1], functions[0]};
    schema = filled(), schema.functions = other, schema.function_count = 2;
    expect_refusal(&schema, "function abs stands behind lower");
}

enum { MANY = 3000 };

/* Names of few letters collide often; what is found is what a walk over all finds. */
static void many_names_are_found_as_by_a_walk(void **state)
{
    (void)state;
    struct random random = random_start();
    static struct schema_relation many[MANY];
    static char names[MANY][8];
    static const char *const spaces[] = {"a", "b", "ab"};
    mosaic_error error;
    struct schema schema = {.relations = many};
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "%x", random_below(&random, MANY));
        struct schema_relation made = {
            .schema = spaces[random_below(&random, 3)], .name = names[i], .oid = random_below(&random, 1 << 20)};
        bool taken = false;
        for (size_t j = 0; j < schema.relation_count && !taken; j++)
            taken = many[j].oid == made.oid ||
                    (strcmp(many[j].name, made.name) == 0 && strcmp(many[j].schema, made.schema) == 0);
        if (!taken)
            many[schema.relation_count++] = made;
    }
    assert_int_equal(schema_index(&schema, &error), MOSAIC_OK);
    for (size_t i = 0; i < schema.relation_count; i++) {
        assert_ptr_equal(schema_relation(&schema, many[i].schema, many[i].name), &many[i]);
        assert_ptr_equal(schema_relation_by_oid(&schema, many[i].oid), &many[i]);
    }
    for (uint32_t i = 0; i < 10000; i++) {
        char name[16];
        uint32_t oid = random_below(&random, 1 << 20);
        const struct schema_relation *by_oid = NULL, *by_name = NULL;
        snprintf(name, sizeof name, "%x", random_below(&random, MANY));
        for (size_t j = 0; j < schema.relation_count; j++) {
            if (many[j].oid == oid)
                by_oid = &many[j];
            if (strcmp(many[j].name, name) == 0 && strcmp(many[j].schema, "a") == 0)
                by_name = &many[j];
        }
        assert_ptr_equal(schema_relation(&schema, "a", name), by_name);
        assert_ptr_equal(schema_relation_by_oid(&schema, oid), by_oid);
    }
    schema_free(&schema);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    mosaic_error error;
    long failed = 0;
    for (mosaic_status status = MOSAIC_MEMORY; status != MOSAIC_OK; failed++) {
        struct schema schema = filled();
        memory_fail_after(failed);
        status = schema_index(&schema, &error);
        memory_fail_after(-1);
        assert_true(status == MOSAIC_OK || status == MOSAIC_MEMORY);
        schema_free(&schema);
    }
    assert_true(failed > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_oids_find_what_they_name),
        cmocka_unit_test(a_domain_of_a_domain_has_a_base_and_the_innermost_modifier),
        cmocka_unit_test(oids_of_types_are_mapped_between_shards),
        cmocka_unit_test(what_contradicts_itself_is_named),
        cmocka_unit_test(many_names_are_found_as_by_a_walk),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
