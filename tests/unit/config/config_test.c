#include "config/config.h"

#include "../random.h"
#include "base/memory.h"
#include "config/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SHARDS                                                                       \
    "shards:\n"                                                                      \
    "  - {name: s0, conninfo: \"host=127.0.0.1 port=7101 dbname=shop user=shop\"}\n" \
    "  - {name: s1, conninfo: \"host=127.0.0.1 port=7102 dbname=shop user=shop\"}\n"

static mosaic_status parse(const char *text, struct model *model, mosaic_error *error)
{
    return config_parse(text, strlen(text), "mosaic.yaml", model, error);
}

static void test_the_whole_format(void **state)
{
    (void)state;
    struct model model;
    mosaic_error error = {.message = ""};
    mosaic_status status = parse(
        "cluster: shop # a comment\n"
        "engine: postgres\n"
        "shards:\n"
        "  - {name: s0, conninfo: \"host=127.0.0.1 port=7101 dbname=shop user=shop\"}\n"
        "  - name: s1\n"
        "    conninfo: postgresql://shop@127.0.0.1:7102/shop\n"
        "    weight: 3\n"
        "tables:\n"
        "  - {name: public.users, key: id, function: modulo}\n"
        "  - {name: members, key: user_id, function: hash, buckets: 4096}\n"
        "  - {name: countries, kind: reference}\n"
        "  - {name: events, key: day, function: range, ranges: [{below: \"2025-01-01\", shard: s0}, {shard: s1}]}\n"
        "  - name: customers\n"
        "    key: country\n"
        "    function: list\n"
        "    lists: [{values: [de, fr], shard: s0}, {values: it, shard: s1}]\n"
        "  - {name: '\"Odd\".\"Na me\"', key: [a, \"b c\"]}\n",
        &model, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, MOSAIC_OK);
    assert_string_equal(model.name, "shop");
    assert_int_equal(model.engine, ENGINE_POSTGRES);
    assert_int_equal(model.shard_count, 2);
    assert_int_equal(model.shards[0].weight, 1);
    assert_int_equal(model.shards[1].weight, 3);
    assert_string_equal(model.shards[1].conninfo, "postgresql://shop@127.0.0.1:7102/shop");
    assert_int_equal(model.table_count, 6);
    const struct table *users = &model.tables[0], *odd = &model.tables[5];
    assert_string_equal(users->schema, "public");
    assert_string_equal(users->display, "users");
    assert_int_equal(users->rule.function, FUNCTION_MODULO);
    assert_int_equal(users->rule.buckets, 0);
    assert_string_equal(users->columns[0], "id");
    assert_int_equal(users->line, 9);
    assert_int_equal(model.tables[1].rule.buckets, 4096);
    assert_int_equal(model.tables[2].kind, TABLE_REFERENCE);
    assert_int_equal(model.tables[3].rule.buckets, 2);
    assert_string_equal(model.tables[3].rule.bound_texts[0], "2025-01-01");
    assert_int_equal(model.tables[3].listed_owners[1], 1);
    assert_int_equal(model.tables[4].rule.buckets, 3);
    assert_string_equal(model.tables[4].rule.bound_texts[1], "fr");
    assert_int_equal(model.tables[4].listed_owners[2], 1);
    assert_string_equal(odd->schema, "Odd");
    assert_string_equal(odd->name, "Na me");
    assert_int_equal(odd->column_count, 2);
    assert_string_equal(odd->columns[1], "b c");
    assert_int_equal(odd->rule.function, FUNCTION_HASH);
    model_free(&model);
}

static void test_a_citus_cluster(void **state)
{
    (void)state;
    struct model model;
    mosaic_error error = {.message = ""};
    mosaic_status status = parse("cluster: big\n"
                                 "engine: citus\n"
                                 "coordinator: \"host=10.0.0.1 dbname=big\"\n"
                                 "tables:\n"
                                 "  - {name: orders, key: user_id, colocate_with: public.users}\n"
                                 "  - {name: users, key: id, shard_count: 64000}\n"
                                 "  - {name: notes, key: id}\n"
                                 "  - {name: countries, kind: reference}\n",
                                 &model, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, MOSAIC_OK);
    assert_int_equal(model.engine, ENGINE_CITUS);
    assert_int_equal(model.shard_count, 1);
    assert_string_equal(model.shards[0].name, "coordinator");
    assert_string_equal(model.shards[0].conninfo, "host=10.0.0.1 dbname=big");
    assert_ptr_equal(model.tables[0].colocate_with, &model.tables[1]); /* which stands further down */
    assert_int_equal(model.tables[1].shard_count, 64000);
    assert_int_equal(model.tables[1].rule.function, FUNCTION_CITUS);
    assert_null(model.tables[2].colocate_with);
    assert_int_equal(model.tables[2].shard_count, 0);
    assert_int_equal(model.tables[3].kind, TABLE_REFERENCE);
    model_free(&model);
}

/* What a config of these shards has for a coordinator. */
static void check_coordinator(const char *line, const char *shards, const char *expected)
{
    char text[2000];
    struct model model;
    mosaic_error error = {.message = ""};
    snprintf(text, sizeof text, "cluster: my.shop\n%sshards:\n%s", line, shards);
    assert_int_equal(parse(text, &model, &error), MOSAIC_OK);
    if (expected)
        assert_string_equal(model.coordinator, expected);
    else
        assert_null(model.coordinator);
    model_free(&model);
}

static void test_the_coordinator(void **state)
{
    (void)state;
#define SHARD(name, conninfo) "  - {name: " name ", conninfo: \"" conninfo "\"}\n"
#define TWO SHARD("s0", "host=a dbname=shop user=u") SHARD("s1", "host=b dbname=shop user=u")
    check_coordinator("", TWO, "user='u' dbname='shop_coordinator' host='a'");
    check_coordinator("", SHARD("s0", "host=a dbname=shop"), NULL);
    check_coordinator("coordinator: none\n", TWO, NULL);
    check_coordinator("coordinator: \"host=c dbname=x\"\n", TWO, "host=c dbname=x");
    check_coordinator("", SHARD("s0", "postgresql://u:a'b@h/d?sslmode=require") SHARD("s1", "host=b"),
                      "user='u' password='a\\'b' dbname='d_coordinator' host='h' sslmode='require'");
    check_coordinator("", SHARD("s0", "host=a user=u") SHARD("s1", "host=b"),
                      "user='u' dbname='u_coordinator' host='a'");
    check_coordinator("", SHARD("s0", "host=a") SHARD("s1", "host=b"), "dbname='my.shop_coordinator' host='a'");
    /* 63 bytes, and no half of an ä */
    check_coordinator("", SHARD("s0", "dbname=xääääääääääääääääääääääääää") SHARD("s1", "host=b"),
                      "dbname='xäääääääääääääääääääääääää_coordinator'");
#undef TWO
#undef SHARD
}

static void test_tables_may_be_missing_null_or_empty(void **state)
{
    (void)state;
    static const char *const ends[] = {"", "tables:\n", "tables: ~\n", "tables: null\n", "tables: []\n"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char text[1000];
        struct model model;
        mosaic_error error = {.message = ""};
        snprintf(text, sizeof text, "cluster: shop\n" SHARDS "%s", ends[i]);
        assert_int_equal(parse(text, &model, &error), MOSAIC_OK);
        assert_int_equal(model.table_count, 0);
        model_free(&model);
    }
}

struct wrong {
    const char *text;
    int line;
    const char *says;
};

#define TABLE(fields) "cluster: shop\n" SHARDS "tables:\n  - {name: t, " fields "}\n", 6

#define CITUS_TABLE(fields)                                              \
    "cluster: shop\nengine: citus\ncoordinator: \"dbname=x\"\ntables:\n" \
    "  - {name: t, " fields "}\n",                                       \
        5

static const struct wrong wrongs[] = {
    {"[]\n", 1, "found a list"},
    {"foo\n", 1, "keys with values"},
    {"cluster: a\n" SHARDS "tabels: []\n", 5, "\"tabels\", did you mean \"tables\"?"},
    {"cluster: a\n" SHARDS "xyzzy: []\n", 5, "there is no key \"xyzzy\""},
    {"cluster: a\ncluster: b\n" SHARDS, 2, "stands twice"},
    {"cluster: a\nshards:\n\t- {name: s0}\n", 3, "a tab"},
    {"cluster: a\nshards:\n  - name: s0\n\tconninfo: x\n", 4, "a tab"},
    {"cluster: &x a\n" SHARDS, 1, "anchors (&x)"},
    {"cluster: a\nshards: *a\n", 2, "aliases (*a)"},
    {"a: &a [*a]\n", 1, "\"a\""},
    {"cluster: !!str a\n" SHARDS, 1, "tags"},
    {"cluster: a\n" SHARDS "---\nb: c\n", 5, "second document"},
    {"cluster: a\xff\n" SHARDS, 1, "UTF-8"},
    {"cluster: a\n# caf\xc3\xa9\nshards: [\xc3\n", 3, "UTF-8"},
    {"cluster: \"a\\0b\"\n" SHARDS, 1, "zero byte"},
    {"cluster:\n" SHARDS, 1, "a value is missing"},
    {"cluster: a\n", 1, "shards"},
    {"cluster: a\nshards:\n", 2, "missing"},
    {"cluster: a\nshards: []\n", 2, "Insufficient"},
    {"cluster: a\nshards: s0\n", 2, "expected a list"},
    {"cluster: a\nshards: {name: s0}\n", 2, "expected a list"},
    {"cluster: a\nshards:\n  - {name: s0}\n", 3, "conninfo"},
    {"cluster: a\nshards:\n  - {name: [s0], conninfo: x}\n", 3, "a single value"},
    {"cluster: a\nshards:\n  - {name: \"s 0\", conninfo: \"dbname=x\"}\n", 3, "characters"},
    {"cluster: a\nshards:\n  - {name: \"s:0\", conninfo: \"dbname=x\"}\n", 3, "characters"},
    {"cluster: a b\n" SHARDS, 1, "characters"},
    {"cluster: a\nshards:\n  - {name: s0, conninfo: \"hots=x\"}\n", 3, "invalid connection option \"hots\""},
    {"cluster: a\nshards:\n  - {name: s0, conninfo: \"dbname=x\", weight: -1}\n", 3, "whole number"},
    {"cluster: a\nshards:\n  - {name: s0, conninfo: \"dbname=x\", weight: 1.5}\n", 3, "not a whole number"},
    {"cluster: a\nshards:\n  - {name: s0, conninfo: \"dbname=x\", weight: 2000000}\n", 3, "weight 2000000"},
    {"cluster: a\nshards:\n  - {name: s0, conninfo: \"dbname=x\", weight: 99999999999999999999}\n", 3, "whole number"},
    {"cluster: a\nshards:\n  - {name: s0, conninfo: \"dbname=x\", weight: 0}\n", 3, "every shard has weight 0"},
    {"cluster: a\nshards:\n  - {name: s0, conninfo: \"dbname=x\"}\n  - {name: s0, conninfo: \"dbname=y\"}\n", 4,
     "two shards are called \"s0\""},
    {"cluster: a\nshards:\n  - {name: s0, conninfo: \"dbname=x\"}\n  - {name: s1, conninfo: \"dbname=x port=5432\"}\n",
     4, "s0 and s1 have one address"},
    {"cluster: a\nshards:\n  - {name: s0, conninfo: \"host=localhost dbname=x\"}\n"
     "  - name: s1\n    conninfo: postgresql://127.0.0.1/x\n",
     5, "have one address"},
    {"cluster: a\nshards:\n  - {name: s0, conninfo: service=x}\n  - {name: s1, conninfo: service=x}\n", 4,
     "one address"},
    {"cluster: a\nengine: mysql\n" SHARDS, 2, "there is no engine \"mysql\""},
    {TABLE("kind: home"), "there is no kind \"home\""},
    {TABLE("function: hash"), "no sharding key"},
    {TABLE("key: [a, a]"), "stands twice in the key"},
    {TABLE("key: []"), "key"},
    {TABLE("key: [a, [b]]"), "a single value"},
    {TABLE("key: [a, b, c, d, e, f, g, h, i]"), "key"},
    {TABLE("key: a, function: crc"), "there is no sharding function \"crc\""},
    {TABLE("key: [a, b], function: modulo"), "takes one key column"},
    {TABLE("key: a, buckets: 1000"), "no power of two"},
    {TABLE("key: a, buckets: 0"), "not in 1 to 65536"},
    {TABLE("key: a, buckets: 131072"), "not in 1 to 65536"},
    {TABLE("key: a, buckets: 1e9"), "\"1e9\" is not a whole number"},
    {TABLE("key: a, buckets: 010"), "\"010\" is not a whole number"},
    {TABLE("key: a, buckets: 99999999999999999999"), "whole number"},
    {TABLE("key: a, buckets: 4294967297"), "whole number"},
    {TABLE("key: a, function: range"), "needs ranges"},
    {TABLE("key: a, function: list"), "needs lists"},
    {TABLE("key: a, ranges: [{shard: s0}]"), "ranges belong to"},
    {TABLE("key: a, function: range, ranges: [{below: 1, shard: s0}]"), "the last range"},
    {TABLE("key: a, function: range, ranges: [{shard: s0}, {shard: s1}]"), "only the last one"},
    {TABLE("key: a, function: range, ranges: [{shard: s9}]"), "there is no shard \"s9\""},
    {TABLE("key: a, function: range, buckets: 8, ranges: [{shard: s0}]"), "leave buckets out"},
    {TABLE("key: a, function: list, lists: [{values: [], shard: s0}]"), "Insufficient"},
    {TABLE("kind: reference, key: a"), "takes no key"},
    {"cluster: a\n" SHARDS "tables:\n  - {name: a.b.c, key: a}\n", 6, "\"a.b.c\" is no table name"},
    {"cluster: a\n" SHARDS "tables:\n  - {name: pg_catalog.pg_class, key: a}\n", 6, "cannot be sharded"},
    {"cluster: a\n" SHARDS "tables:\n  - {name: mosaic.epoch, key: a}\n", 6, "cannot be sharded"},
    {"cluster: a\n" SHARDS "tables:\n  - {name: t, key: a}\n  - {name: public.T, key: a}\n", 7, "table t stands twice"},
    {"cluster: a\n" SHARDS "tables:\n  - name: t\n    kye: a\n", 7, "did you mean \"key\"?"},
    {"cluster: a\nengine: citus\n", 2, "engine citus needs its coordinator"},
    {"cluster: a\nengine: citus\n" SHARDS, 4, "engine citus has no shards here"},
    {"cluster: a\ncoordinator: \"host=localhost port=7102 dbname=shop\"\n" SHARDS, 2, "has the address of shard s1"},
    {"cluster: a\ncoordinator: \"hots=x\"\n" SHARDS, 2, "invalid connection option \"hots\""},
    {"cluster: a\nengine: citus\ncoordinator: \"hots=x\"\n", 3, "invalid connection option \"hots\""},
    {TABLE("key: a, shard_count: 4"), "shard_count belongs to engine: citus"},
    {TABLE("key: a, colocate_with: u"), "colocate_with belongs to engine: citus"},
    {CITUS_TABLE("key: a, function: hash"), "takes no function"},
    {CITUS_TABLE("key: a, buckets: 8"), "takes no buckets"},
    {CITUS_TABLE("key: [a, b]"), "distributes by one column"},
    {CITUS_TABLE("key: a, shard_count: 0"), "shard_count: 0 is not in"},
    {CITUS_TABLE("key: a, shard_count: 64001"), "shard_count: 64001 is not in"},
    {CITUS_TABLE("key: a, shard_count: 4, colocate_with: u"), "exclude each other"},
    {CITUS_TABLE("key: a, colocate_with: v"), "\"v\" is no other sharded table"},
    {CITUS_TABLE("key: a, colocate_with: t"), "\"t\" is no other sharded table"},
    {"cluster: a\n" SHARDS "proxy: []\n", 5, "keys with values"},
    {"cluster: a\n" SHARDS "proxy:\n  threads: 1\n  pol_size: 5\n", 7, "did you mean \"pool_size\"?"},
    {"cluster: a\n" SHARDS "proxy:\n  threads: 1\n  pool_size: 5s\n", 7, "pool_size: \"5s\" is no number"},
    {"cluster: a\n" SHARDS "proxy:\n  threads: [1, 2]\n", 6, "a single value"},
    {"cluster: a\n" SHARDS "proxy:\n  threads: {}\n", 6, "a single value"},
    {"cluster: a\n" SHARDS "proxy:\n  threads: 1\n  threads: 2\n", 7, "stands twice"},
    {"cluster: a\n" SHARDS "proxy:\n  stats_period: 2s\n  threads: 1\n  stats_period: 2s\n", 8, "stands twice"},
    {"cluster: a\n" SHARDS "proxy:\n  query_timeout: 5\n", 6, "has no unit"},
    {"cluster: a\n" SHARDS "proxy:\n  listen: []\n", 6, "Insufficient"},
};

static void test_each_mistake_is_named_with_its_line(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        struct model model;
        mosaic_error error = {.message = ""};
        char place[40];
        mosaic_status status = parse(wrongs[i].text, &model, &error);
        snprintf(place, sizeof place, "mosaic.yaml:%d: ", wrongs[i].line);
        if (status != MOSAIC_CONFIG || strncmp(error.message, place, strlen(place)) != 0 ||
            !strstr(error.message, wrongs[i].says))
            failed += printf("case %zu: status %d, \"%s\", not \"%s…%s\"\n%s\n", i, status, error.message, place,
                             wrongs[i].says, wrongs[i].text);
    }
    assert_int_equal(failed, 0);
}

static void test_the_proxys_settings_are_kept_as_texts(void **state)
{
    (void)state;
    struct model model;
    mosaic_error error = {.message = ""};
    struct arena arena = ARENA_INIT;
    struct proxy_settings settings;
    if (parse("cluster: shop\n" SHARDS "proxy:\n  listen: [127.0.0.1:6432, \"[::1]:6432\"]\n  query_timeout: 5s\n"
              "  admin_users: 'a b'\n  unix_socket_dir: \"\"\n  pool_size: 7\n",
              &model, &error) != MOSAIC_OK)
        fail_msg("%s", error.message);
    assert_int_equal(model.setting_count, 5);
    assert_int_equal(settings_read(&arena, &model, &settings, &error), MOSAIC_OK);
    assert_string_equal(settings.listen[1], "[::1]:6432");
    assert_string_equal(settings.admin_users[0], "a b");
    assert_null(settings.admin_users[1]);
    assert_string_equal(settings.unix_socket_dir, "");
    assert_int_equal(settings.query_timeout, 5000);
    assert_int_equal(settings.pool_size, 7);
    for (size_t i = 0; i < model.setting_count; i++)
        if (strcmp(model.settings[i].name, "pool_size") == 0)
            assert_int_equal(model.settings[i].line, 10);
    arena_free(&arena);
    model_free(&model);
    assert_int_equal(parse("cluster: shop\n" SHARDS "proxy:\n", &model, &error), MOSAIC_OK);
    assert_int_equal(model.setting_count, 0);
    model_free(&model);
}

static void test_a_single_key_after_text_that_is_not_ascii(void **state)
{
    (void)state;
    struct model model;
    mosaic_error error = {.message = ""};
    assert_int_equal(
        parse("cluster: shop # überall €𝄞\r\n" SHARDS "tables: [{name: \"täble\", key: \"kéy\"}]\n", &model, &error),
        MOSAIC_OK);
    assert_string_equal(model.tables[0].name, "täble");
    assert_string_equal(model.tables[0].columns[0], "kéy");
    model_free(&model);
}

static void test_an_empty_a_huge_and_a_missing_file(void **state)
{
    (void)state;
    struct model model;
    mosaic_error error = {.message = ""};
    assert_int_equal(config_parse("", 0, "f", &model, &error), MOSAIC_CONFIG);
    assert_non_null(strstr(error.message, "f: the file is empty"));
    assert_int_equal(parse("# nothing\n", &model, &error), MOSAIC_CONFIG);
    size_t size = 4 * 1024 * 1024 + 1;
    char *text = malloc(size);
    memset(text, '#', size);
    assert_int_equal(config_parse(text, size, "f", &model, &error), MOSAIC_CONFIG);
    assert_non_null(strstr(error.message, "larger than 4 MiB"));
    memset(text, '[', size - 1); /* nested without end */
    assert_int_equal(config_parse(text, size - 1, "f", &model, &error), MOSAIC_CONFIG);
    free(text);
    assert_int_equal(config_read("/nowhere/mosaic.yaml", &model, &error), MOSAIC_NOT_FOUND);
    assert_non_null(strstr(error.message, "/nowhere/mosaic.yaml"));
    assert_int_equal(config_read("/", &model, &error), MOSAIC_IO);
}

/* Model-based: a config is made from random values, written in random style, and must read as those values. */
static void test_random_configs_read_as_written(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 300; round++) {
        static char text[64 * 1024];
        char *at = text;
        unsigned shards = 1 + random_below(&random, 20), tables = random_below(&random, 20);
        unsigned weights[20], buckets[20], keys[20], seed = random_below(&random, 1000);
        at += sprintf(at, "%scluster: c%u\nshards:\n", random_below(&random, 2) ? "# é\n" : "", seed);
        for (unsigned i = 0; i < shards; i++) {
            weights[i] = 1 + random_below(&random, 5);
            at += sprintf(at,
                          random_below(&random, 2) ? "  - {name: s%u, conninfo: 'port=%u', weight: %u}\n"
                                                   : "  - name: s%u\n    conninfo: port=%u\n    weight: %u\n",
                          i, 7000 + i, weights[i]);
        }
        at += sprintf(at, "tables:\n");
        for (unsigned i = 0; i < tables; i++) {
            static const char *const forms[] = {"k0", "[k0]", "[k0, k1]", "\"k0\"", "['k0', \"k1\", k2]"};
            static const unsigned counts[] = {1, 1, 2, 1, 3};
            unsigned form = random_below(&random, 5);
            keys[i] = counts[form];
            buckets[i] = 1u << random_below(&random, 17);
            at += sprintf(at,
                          random_below(&random, 2) ? "  - {name: t%u, key: %s, buckets: %u}\n"
                                                   : "  - name: t%u\n    key: %s\n    buckets: %u\n",
                          i, forms[form], buckets[i]);
        }
        struct model model;
        mosaic_error error = {.message = ""};
        if (parse(text, &model, &error) != MOSAIC_OK)
            fail_msg("%s\n%s", error.message, text);
        assert_int_equal(model.shard_count, shards);
        assert_int_equal(model.table_count, tables);
        for (unsigned i = 0; i < shards; i++)
            assert_int_equal(model.shards[i].weight, weights[i]);
        for (unsigned i = 0; i < tables; i++) {
            assert_int_equal(model.tables[i].rule.buckets, buckets[i]);
            assert_int_equal(model.tables[i].column_count, keys[i]);
        }
        model_free(&model);
    }
}

static void test_failed_allocations_leave_nothing(void **state)
{
    (void)state;
    static const char text[] =
        "cluster: shop\n" SHARDS "tables:\n  - {name: a.t, key: [a, b]}\n  - {name: e, key: d, function: range, "
        "ranges: [{below: x, shard: s0}, {shard: s1}]}\n"
        "proxy:\n  listen: [a:1, b:2]\n  threads: 2\n  pool_size: 0\n";
    for (long countdown = 0;; countdown++) {
        struct model model;
        mosaic_error error = {.message = ""};
        memory_fail_after(countdown);
        mosaic_status status = parse(text, &model, &error);
        memory_fail_after(-1);
        if (status == MOSAIC_CONFIG && countdown > 5)
            break; /* came as far as the mistake at the end */
        assert_int_equal(status, MOSAIC_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_whole_format),
        cmocka_unit_test(test_a_citus_cluster),
        cmocka_unit_test(test_the_coordinator),
        cmocka_unit_test(test_tables_may_be_missing_null_or_empty),
        cmocka_unit_test(test_each_mistake_is_named_with_its_line),
        cmocka_unit_test(test_the_proxys_settings_are_kept_as_texts),
        cmocka_unit_test(test_a_single_key_after_text_that_is_not_ascii),
        cmocka_unit_test(test_an_empty_a_huge_and_a_missing_file),
        cmocka_unit_test(test_random_configs_read_as_written),
        cmocka_unit_test(test_failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
