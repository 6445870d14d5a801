#include "proxy/admin_show.h"

#include "core/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A small world: two shards, a table, two threads. */
struct fixture {
    struct arena arena;
    struct proxy_settings settings;
    struct model model;
    struct shard shards[2];
    struct table tables[1];
    struct snapshot_part parts[2];
    struct snapshot snapshot;
    struct shard_view views[2];
    struct shard_totals since[2], grown[2];
    struct tier_totals tiers[TIER_MOST + 1];
    struct totals totals;
    struct user_view users[1];
    struct admin_view view;
    struct buffer out;
    char text[4000];
};

static void fill_pools(struct fixture *fixture)
{
    for (unsigned i = 0; i < 2; i++) {
        struct snapshot_part *part = &fixture->parts[i];
        part->thread = i;
        struct pool_row *pool = snapshot_pool(part);
        *pool = (struct pool_row){.user = "zoe", .shard = "s1", .cl_active = 2, .sv_active = 2, .sv_idle = i};
        pool = snapshot_pool(part);
        *pool = (struct pool_row){.user = "ann", .shard = "s0", .cl_waiting = 1, .maxwait = 1500000 + 1000000 * i};
        pool = snapshot_pool(part);
        *pool = (struct pool_row){.user = "ann", .cl_active = 5};
        struct client_row *client = snapshot_client(part);
        *client = (struct client_row){.id = 7 + i,
                                      .user = snapshot_text(part, "ann"),
                                      .database = "shop",
                                      .state = "idle",
                                      .address = "unix",
                                      .local_address = "unix",
                                      .connected_at = 1000000};
        struct server_row *server = snapshot_server(part);
        *server = (struct server_row){.id = 70 + i, .user = "ann", .shard = "s1", .state = "active", .link = 7 + i};
    }
}

static int setup(void **state)
{
    static struct fixture fixture;
    mosaic_error error;
    fixture = (struct fixture){.out = BUFFER_INIT(1 << 20)};
    *state = &fixture;
    if (settings_default(&fixture.arena, &fixture.settings, &error) != MOSAIC_OK)
        return -1;
    fixture.shards[0] = (struct shard){"s0", "dbname=a", 1};
    fixture.shards[1] = (struct shard){"s1", "dbname=b", 1};
    fixture.tables[0] = (struct table){.schema = "public",
                                       .name = "users",
                                       .display = "users",
                                       .columns = {"id"},
                                       .column_count = 1,
                                       .map = map_initial(&fixture.arena, 8, 2, 3)};
    fixture.tables[0].rule.function = FUNCTION_HASH;
    fixture.model = (struct model){.source = "mosaic.yaml",
                                   .name = "shop",
                                   .shards = fixture.shards,
                                   .shard_count = 2,
                                   .tables = fixture.tables,
                                   .table_count = 1,
                                   .epoch = 3};
    fixture.snapshot = (struct snapshot){fixture.parts, 2};
    fill_pools(&fixture);
    fixture.views[0] = (struct shard_view){"127.0.0.1", "7101", "a", "active", true, false, 3, 40, 97};
    fixture.views[1] = (struct shard_view){"127.0.0.1", "7102", "b", "active", false, true, 0, 400, -1};
    fixture.since[1].counts[SHARD_COUNT_transactions] = 100;
    fixture.grown[1].counts[SHARD_COUNT_transactions] = 50;
    fixture.grown[1].counts[SHARD_COUNT_transaction_us] = 5000;
    fixture.tiers[0].counts[TIER_COUNT_statements] = 7;
    fixture.tiers[1] = (struct tier_totals){{10, 10, 0, 500, 1000}};
    fixture.tiers[2] = (struct tier_totals){{4, 10, 100, 900, 4400}};
    fixture.tiers[4] = (struct tier_totals){{1, 0, 5, 30, 999}};
    fixture.totals = (struct totals){.shards = fixture.since,
                                     .grown = fixture.grown,
                                     .period_us = 10000000,
                                     .shard_count = 2,
                                     .tiers = fixture.tiers};
    fixture.users[0] = (struct user_view){"ann", 4, 9};
    fixture.view = (struct admin_view){.settings = &fixture.settings,
                                       .defaults = &fixture.settings,
                                       .model = &fixture.model,
                                       .snapshot = &fixture.snapshot,
                                       .totals = &fixture.totals,
                                       .shards = fixture.views,
                                       .users = fixture.users,
                                       .user_count = 1,
                                       .clients = 9};
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    memory_fail_after(-1);
    snapshot_part_free(&fixture->parts[0]);
    snapshot_part_free(&fixture->parts[1]);
    arena_free(&fixture->arena);
    buffer_free(&fixture->out);
    return 0;
}

/* The rows as lines of values parted by |. */
static const char *shown(struct fixture *fixture, enum admin_command command)
{
    uint16_t count;
    mosaic_error error;
    const struct admin_column *columns = admin_columns(command, &count);
    buffer_clear(&fixture->out);
    struct admin_table table = admin_table_start(&fixture->out, columns, count, NULL, 0);
    assert_int_equal(admin_show(command, &fixture->view, &table, &error), MOSAIC_OK);
    char *to = fixture->text;
    struct wire_frame frame = {0};
    for (size_t at = 0; at < fixture->out.size; at += frame.size) {
        assert_int_equal(wire_peek(fixture->out.data + at, fixture->out.size - at, &frame), WIRE_MESSAGE);
        struct wire_reader reader = wire_body(fixture->out.data + at, &frame);
        assert_int_equal(wire_read16(&reader), count);
        for (uint16_t i = 0; i < count; i++) {
            int32_t size = (int32_t)wire_read32(&reader);
            const char *value = size < 0 ? "~" : wire_read_bytes(&reader, (size_t)size);
            to += snprintf(to, fixture->text + sizeof fixture->text - to, "%s%.*s", i ? "|" : "", size < 0 ? 1 : size,
                           value);
        }
        assert_true(wire_read_all(&reader));
        to += snprintf(to, fixture->text + sizeof fixture->text - to, "\n");
    }
    *to = '\0';
    return fixture->text;
}

static void pools_are_added_up_over_threads(void **state)
{
    assert_string_equal(shown(*state, ADMIN_SHOW_POOLS), "shop|ann|10|0|0|0|0|0|0|0|0|0|0|0|0|transaction|\n"
                                                         "shop|ann|0|2|0|0|0|0|0|0|0|0|0|2|500000|transaction|s0\n"
                                                         "shop|zoe|4|0|0|0|4|0|0|1|0|0|0|0|0|transaction|s1\n");
}

static void clients_and_servers_are_listed_thread_by_thread(void **state)
{
    assert_string_equal(shown(*state, ADMIN_SHOW_CLIENTS),
                        "C|ann|shop|idle|unix|0|unix|0|1970-01-01 00:00:01 UTC|~|0|0|~|0|||0|7||0\n"
                        "C|ann|shop|idle|unix|0|unix|0|1970-01-01 00:00:01 UTC|~|0|0|~|0|||0|8||1\n");
    assert_string_equal(shown(*state, ADMIN_SHOW_SERVERS), "S|ann|~|active|~|0|~|0|~|~|0|7|0|||0|70|s1|0\n"
                                                           "S|ann|~|active|~|0|~|0|~|~|0|8|0|||0|71|s1|1\n");
}

static void counters_have_totals_and_averages(void **state)
{
    assert_string_equal(shown(*state, ADMIN_SHOW_STATS_TOTALS), "shop|s0|0|0|0|0|0|0|0|0\n"
                                                                "shop|s1|100|0|0|0|0|0|0|0\n");
    assert_string_equal(shown(*state, ADMIN_SHOW_STATS_AVERAGES), "shop|s0|0|0|0|0|0|0|0|0\n"
                                                                  "shop|s1|5|0|0|0|0|100|0|0\n");
    assert_string_equal(shown(*state, ADMIN_SHOW_STATS), "shop|s0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
                                                         "shop|s1|100|0|0|0|0|0|0|0|5|0|0|0|0|100|0|0\n");
}

static void tiers_say_what_is_known_of_them(void **state)
{
    assert_string_equal(shown(*state, ADMIN_SHOW_TIERS), "1|10|1.0|~|500|1000|100\n"
                                                         "2|4|2.5|100|900|4400|1100\n"
                                                         "3|0|~|0|0|0|~\n"
                                                         "4|1|~|5|30|999|999\n"
                                                         "refused|7|~|~|~|~|~\n");
}

static void the_cluster_is_shown(void **state)
{
    struct fixture *fixture = *state;
    mosaic_error error;
    uint16_t count;
    assert_string_equal(shown(fixture, ADMIN_SHOW_SHARDS), "s0|127.0.0.1|7101|a|active|3|0|40|97|0|home\n"
                                                           "s1|127.0.0.1|7102|b|paused|0|0|400|~|0|\n");
    assert_string_equal(shown(fixture, ADMIN_SHOW_MAP), "users|hash|id|s0|4|50.0|0|3\nusers|hash|id|s1|4|50.0|1|3\n");
    fixture->view.table = "Users";
    assert_non_null(strstr(shown(fixture, ADMIN_SHOW_MAP), "users|hash"));
    fixture->view.table = "nothing";
    const struct admin_column *columns = admin_columns(ADMIN_SHOW_MAP, &count);
    struct admin_table table = admin_table_start(&fixture->out, columns, count, NULL, 0);
    assert_int_equal(admin_show(ADMIN_SHOW_MAP, &fixture->view, &table, &error), MOSAIC_NOT_FOUND);
    assert_string_equal(shown(fixture, ADMIN_SHOW_USERS), "ann|20|0|transaction|0|4|0|9\n");
    assert_string_equal(shown(fixture, ADMIN_SHOW_DATABASES),
                        "shop|127.0.0.1|7101|a|~|20|0|0|transaction|0|3|10000|9|0|0|2\n");
    assert_string_equal(shown(fixture, ADMIN_SHOW_STATE), "active|yes\npaused|no\nstopping|no\n");
}

static void settings_are_shown_with_their_defaults(void **state)
{
    struct fixture *fixture = *state;
    mosaic_error error;
    struct proxy_settings defaults;
    assert_int_equal(settings_default(&fixture->arena, &defaults, &error), MOSAIC_OK);
    fixture->view.defaults = &defaults;
    assert_int_equal(settings_set(&fixture->arena, &fixture->settings, "pool_size", "7", &error), MOSAIC_OK);
    static char config[sizeof fixture->text];
    buffer_clear(&fixture->out);
    memcpy(config, shown(fixture, ADMIN_SHOW_CONFIG), sizeof config);
    assert_non_null(strstr(config, "\npool_size|7|20|yes\n"));
    assert_non_null(strstr(config, "\nthreads|0|0|no\n"));
    assert_non_null(strstr(config, "\nauth_file|~|~|yes\n"));
}

static void a_part_without_memory_says_so(void **state)
{
    struct fixture *fixture = *state;
    struct snapshot_part part = {0};
    memory_fail_after(0);
    assert_null(snapshot_client(&part));
    assert_true(part.failed);
    memory_fail_after(-1);
    assert_null(snapshot_client(&part)); /* not whole: nothing more is added */
    snapshot_part_free(&part);
    for (int i = 0; i < 1000; i++)
        snapshot_client(&part)->id = (uint64_t)i;
    assert_int_equal(part.client_count, 1000);
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(part.clients[i].id, i);
    snapshot_part_free(&part);
    struct arena arena = ARENA_INIT;
    struct pool_row *pools;
    size_t count;
    mosaic_error error;
    memory_fail_after(0);
    assert_int_equal(snapshot_pools(&fixture->snapshot, &arena, &pools, &count, &error), MOSAIC_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pools_are_added_up_over_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(clients_and_servers_are_listed_thread_by_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(tiers_say_what_is_known_of_them, setup, teardown),
        cmocka_unit_test_setup_teardown(counters_have_totals_and_averages, setup, teardown),
        cmocka_unit_test_setup_teardown(the_cluster_is_shown, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_are_shown_with_their_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(a_part_without_memory_says_so, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
