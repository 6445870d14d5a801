#include "base/error.h"
#include "catalog/assume.h"
#include "config/config.h"
#include "sql/schema_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SHARDS                                                                                                     \
    "cluster: shop\nshards:\n - {name: s0, conninfo: 'host=a'}\n - {name: s1, conninfo: 'host=b'}\n - {name: s2, " \
    "conninfo: 'host=c'}\ntables:\n"

static mosaic_status assume(const char *tables, const char *ddl, struct model *model, struct schema *schema,
                            mosaic_error *error)
{
    char config[2048];
    size_t size = (size_t)snprintf(config, sizeof config, "%s%s", SHARDS, tables);
    mosaic_status status = config_parse(config, size, "mosaic.yaml", model, error);
    assert_int_equal(status, MOSAIC_OK);
    status = schema_from_sql(ddl, strlen(ddl), "a.sql", model, schema, error);
    assert_int_equal(status, MOSAIC_OK);
    return catalog_assume(model, schema, error);
}

static void tables_of_one_rule_share_a_map(void **state)
{
    (void)state;
    struct model model;
    struct schema schema;
    mosaic_error error;
    assert_int_equal(assume(" - {name: users, key: id}\n - {name: orders, key: user_id}\n - {name: tags, key: tag}\n"
                            " - {name: codes, kind: reference}\n",
                            "CREATE TABLE users (id bigint); CREATE TABLE orders "
                            "(user_id int); CREATE TABLE tags (tag text); CREATE TABLE codes ()",
                            &model, &schema, &error),
                     MOSAIC_OK);
    const struct table *users = model_table(&model, "users"), *orders = model_table(&model, "orders");
    const struct table *tags = model_table(&model, "tags");
    assert_int_equal(users->rule.types[0], KEY_INT8);
    assert_ptr_equal(users->map, orders->map);
    assert_ptr_not_equal(users->map, tags->map);
    assert_true(map_validate(users->map) && map_validate(tags->map));
    assert_int_equal(users->rule.buckets, rule_default_buckets(users->rule.function, 3));
    assert_int_equal(users->map->owner[4], 1);
    assert_true(model_table(&model, "codes")->applied && !model_table(&model, "codes")->map);
    assert_int_equal(model.epoch, 1);
    schema_free(&schema);
    model_free(&model);
}

static void ranges_have_the_owners_of_the_config(void **state)
{
    (void)state;
    struct model model;
    struct schema schema;
    mosaic_error error;
    assert_int_equal(assume(" - {name: events, key: day, function: range, ranges: [{below: \"2025-01-01\", shard: s2}, "
                            "{shard: s1}]}\n",
                            "CREATE TABLE events (day date)", &model, &schema, &error),
                     MOSAIC_OK);
    const struct map *map = model_table(&model, "events")->map;
    assert_int_equal(map->buckets, 2);
    assert_int_equal(map->owner[0], 2);
    assert_int_equal(map->owner[1], 1);
    schema_free(&schema);
    model_free(&model);
}

static void what_apply_would_refuse_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *ddl, *message;
    } cases[] = {
        {"", "the schema has no users"},
        {"CREATE DOMAIN d AS int; CREATE TABLE users (id d)",
         "column id of users has a type that is no sharding key's"},
        {"CREATE TABLE users (id jsonb)", "column id of users has a type that is no sharding key's"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model model;
        struct schema schema;
        mosaic_error error;
        assert_int_not_equal(assume(" - {name: users, key: id}\n", cases[i].ddl, &model, &schema, &error), MOSAIC_OK);
        assert_string_equal(error.message, cases[i].message);
        schema_free(&schema);
        model_free(&model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_of_one_rule_share_a_map),
        cmocka_unit_test(ranges_have_the_owners_of_the_config),
        cmocka_unit_test(what_apply_would_refuse_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
