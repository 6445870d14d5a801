#include "citus/steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/*
 * Three tables as mosaic.yaml and a coordinator would tell of them: users, orders beside it, countries. Each test
 * changes what it is about. That Citus does what the steps say is tested by tests/integration/test_citus.py.
 */
enum { USERS, ORDERS, COUNTRIES, TABLES };

struct bench {
    struct arena arena;
    struct model model;
    struct shard shard;
    struct table tables[TABLES];
    struct citus_table found[TABLES];
    struct table_facts facts[TABLES];
    struct column_facts columns[TABLES];
    struct shard_facts coordinator;
    int64_t rows[TABLES];
    struct citus_steps steps;
    struct findings findings;
};

static void start(struct bench *bench)
{
    static const char *const names[] = {"users", "orders", "countries"};
    *bench = (struct bench){.shard = {"coordinator", "dbname=a", 1}};
    bench->findings.arena = &bench->arena;
    for (int i = 0; i < TABLES; i++) {
        bench->tables[i] = (struct table){.schema = "public",
                                          .name = names[i],
                                          .display = names[i],
                                          .kind = i == COUNTRIES ? TABLE_REFERENCE : TABLE_SHARDED,
                                          .columns = {"id"},
                                          .column_count = i == COUNTRIES ? 0 : 1,
                                          .rule = {.function = FUNCTION_CITUS, .columns = i == COUNTRIES ? 0 : 1}};
        bench->found[i] = (struct citus_table){.key = "", .other_members = ""};
        bench->columns[i] = (struct column_facts){.name = "id",
                                                  .type = "bigint",
                                                  .type_oid = 20,
                                                  .type_kind = 'b',
                                                  .default_text = "",
                                                  .collation = "",
                                                  .deterministic = true};
        bench->facts[i] = (struct table_facts){.exists = true,
                                               .kind = 'r',
                                               .persistence = 'p',
                                               .may_alter = true,
                                               .rules = "",
                                               .policies = "",
                                               .columns = &bench->columns[i],
                                               .column_count = 1};
    }
    bench->tables[USERS].shard_count = 8;
    bench->tables[ORDERS].colocate_with = &bench->tables[USERS];
    bench->coordinator = (struct shard_facts){.shard = "coordinator",
                                              .version_number = 150005,
                                              .version = "15.5",
                                              .user = "u",
                                              .database = "d",
                                              .encoding = "UTF8",
                                              .collate = "C.UTF-8",
                                              .ctype = "C.UTF-8",
                                              .provider = "c",
                                              .icu_locale = "",
                                              .collation_version = "",
                                              .may_create = true,
                                              .identity = "1/1",
                                              .tables = bench->facts};
    bench->model = (struct model){.source = "f",
                                  .name = "c",
                                  .engine = ENGINE_CITUS,
                                  .shards = &bench->shard,
                                  .shard_count = 1,
                                  .tables = bench->tables,
                                  .table_count = TABLES};
}

/* All three are there as the config says. */
static void distribute(struct bench *bench)
{
    for (int i = 0; i < TABLES; i++)
        bench->found[i] = (struct citus_table){.distributed = true,
                                               .hash = i != COUNTRIES,
                                               .reference = i == COUNTRIES,
                                               .key = i == COUNTRIES ? "" : "id",
                                               .type_oid = 20,
                                               .colocation = i == COUNTRIES ? 1 : 2,
                                               .asked_shards = i == COUNTRIES ? 1 : 8,
                                               .other_members = ""};
}

static void make(struct bench *bench)
{
    const struct citus_input input = {.model = &bench->model,
                                      .tables = bench->found,
                                      .facts = &bench->coordinator,
                                      .rows = bench->rows,
                                      .default_shards = 32};
    mosaic_error error;
    assert_int_equal(citus_steps_make(&input, &bench->arena, &bench->steps, &bench->findings, &error), MOSAIC_OK);
}

static void end(struct bench *bench)
{
    arena_free(&bench->arena);
}

static void reference_tables_come_first_and_colocated_ones_last(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench);
    bench.rows[USERS] = 7;
    make(&bench);
    assert_int_equal(bench.findings.count, 0);
    assert_int_equal(bench.steps.count, 3);
    assert_string_equal(bench.steps.list[0].sql, "SELECT pg_catalog.create_reference_table('public.countries')");
    assert_string_equal(bench.steps.list[1].sql, "SELECT pg_catalog.create_distributed_table('public.users', 'id',"
                                                 " colocate_with => 'none', shard_count => 8)");
    assert_non_null(strstr(bench.steps.list[1].line, "its 7 rows are kept"));
    assert_string_equal(bench.steps.list[2].sql,
                        "SELECT pg_catalog.create_distributed_table('public.orders', 'id', colocate_with => "
                        "'public.users')");
    assert_true(bench.steps.list[2].creates);
    end(&bench);
}

static void what_is_there_as_the_config_says_needs_no_step(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench);
    distribute(&bench);
    make(&bench);
    assert_int_equal(bench.steps.count + bench.findings.count, 0);
    end(&bench);
}

static void without_a_count_it_is_the_database_s(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench);
    bench.tables[USERS].shard_count = 0;
    make(&bench);
    assert_non_null(strstr(bench.steps.list[1].sql, "shard_count => 32"));
    end(&bench);
}

static void another_count_takes_the_group_along(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench);
    distribute(&bench);
    bench.found[USERS].other_members = "notes";
    bench.tables[USERS].shard_count = 12;
    make(&bench);
    assert_int_equal(bench.steps.count, 1);
    assert_string_equal(bench.steps.list[0].sql, "SELECT pg_catalog.alter_distributed_table('public.users',"
                                                 " shard_count => 12, cascade_to_colocated => true)");
    assert_false(bench.steps.list[0].creates);
    assert_int_equal(bench.findings.count, 1); /* a warning: notes changes too */
    assert_int_equal(bench.findings.fatal, 0);
    assert_non_null(strstr(bench.findings.list[0].what, "notes"));
    end(&bench);
}

static void tables_that_share_a_group_by_accident_are_parted(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench);
    distribute(&bench);
    bench.tables[ORDERS].colocate_with = NULL;
    make(&bench);
    assert_int_equal(bench.steps.count, 1);
    assert_string_equal(bench.steps.list[0].sql,
                        "SELECT pg_catalog.alter_distributed_table('public.orders', colocate_with => 'none')");
    end(&bench);
}

static void a_group_to_join_is_joined(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench);
    distribute(&bench);
    bench.found[ORDERS].colocation = 3;
    make(&bench);
    assert_int_equal(bench.steps.count, 1);
    assert_non_null(strstr(bench.steps.list[0].sql, "colocate_with => 'public.users'"));
    end(&bench);
}

static void another_kind_is_refused_with_the_way_out(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench);
    distribute(&bench);
    bench.found[USERS].hash = false;
    bench.found[USERS].reference = true;
    make(&bench);
    assert_int_equal(bench.findings.fatal, 1);
    assert_int_equal(bench.steps.count, 0);
    assert_non_null(strstr(bench.findings.list[0].fix, "undistribute_table('users')"));
    end(&bench);
}

static void keys_of_other_types_cannot_be_colocated(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench);
    bench.columns[ORDERS].type = "text";
    bench.columns[ORDERS].type_oid = 25;
    make(&bench);
    assert_int_equal(bench.findings.fatal, 1);
    assert_non_null(strstr(bench.findings.list[0].what, "colocates equal types only"));
    assert_int_equal(bench.steps.count, 0);
    end(&bench);
}

static void a_trigger_is_refused(void **state)
{
    (void)state;
    struct bench bench;
    struct trigger_facts trigger = {.name = "t1",
                                    .definition = "",
                                    .source = "",
                                    .language = "c",
                                    .schema = "public",
                                    .table = "users",
                                    .enabled = 'O'};
    start(&bench);
    bench.facts[USERS].triggers = &trigger;
    bench.facts[USERS].trigger_count = 1;
    make(&bench);
    bool said = false;
    for (size_t i = 0; i < bench.findings.count; i++)
        said |= bench.findings.list[i].fatal && strstr(bench.findings.list[i].what, "Citus has no triggers");
    assert_true(said);
    end(&bench);
}

static void a_table_that_is_not_there_keeps_everything_as_it_is(void **state)
{
    (void)state;
    struct bench bench;
    start(&bench);
    bench.facts[ORDERS].exists = false;
    make(&bench);
    assert_int_equal(bench.findings.fatal, 1);
    assert_int_equal(bench.steps.count, 0);
    end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_tables_come_first_and_colocated_ones_last),
        cmocka_unit_test(what_is_there_as_the_config_says_needs_no_step),
        cmocka_unit_test(without_a_count_it_is_the_database_s),
        cmocka_unit_test(another_count_takes_the_group_along),
        cmocka_unit_test(tables_that_share_a_group_by_accident_are_parted),
        cmocka_unit_test(a_group_to_join_is_joined),
        cmocka_unit_test(another_kind_is_refused_with_the_way_out),
        cmocka_unit_test(keys_of_other_types_cannot_be_colocated),
        cmocka_unit_test(a_trigger_is_refused),
        cmocka_unit_test(a_table_that_is_not_there_keeps_everything_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
