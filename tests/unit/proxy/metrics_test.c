#include "proxy/metrics.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct proxy_settings settings;
    struct arena arena;
    struct shard shards[2];
    struct model model;
    struct snapshot_part part;
    struct snapshot snapshot;
    struct shard_view views[2];
    struct shard_totals since[2];
    struct tier_totals tiers[TIER_MOST + 1];
    struct totals totals;
    uint64_t shard_errors[ERROR_CLASSES], own_errors[ERROR_CLASSES], counts[2];
    struct metrics_view view;
    struct buffer out;
};

static const char *const names[] = {"cancels", "waits"}, *const helps[] = {"cancel requests", "times waited"};

static int setup(void **state)
{
    static struct fixture fixture;
    mosaic_error error;
    fixture = (struct fixture){.out = BUFFER_INIT(1 << 20), .counts = {5, 6}};
    *state = &fixture;
    if (settings_default(&fixture.arena, &fixture.settings, &error) != MOSAIC_OK)
        return -1;
    fixture.shards[0].name = "s0";
    fixture.shards[1].name = "s\"1";
    fixture.model = (struct model){.name = "shop", .shards = fixture.shards, .shard_count = 2, .epoch = 9};
    fixture.snapshot = (struct snapshot){&fixture.part, 1};
    fixture.part.plan_counts = (struct plan_cache_counts){1, 2, 3, 4, 5};
    *snapshot_pool(&fixture.part) =
        (struct pool_row){.user = "an\\n\n", .shard = "s0", .sv_idle = 3, .maxwait = 1500000};
    *snapshot_pool(&fixture.part) = (struct pool_row){.user = "bob", .cl_active = 7};
    fixture.views[0] = (struct shard_view){.state = "active", .connections = 3, .server_max = -1};
    fixture.views[1] = (struct shard_view){.state = "no answer", .connections = 4, .server_max = 97};
    fixture.since[0].latency[histogram_bucket(1)] = 1;
    fixture.since[0].latency[histogram_bucket(3)] = 2;
    fixture.since[0].latency[histogram_bucket(UINT64_MAX)] = 4;
    fixture.since[0].counts[SHARD_COUNT_transactions] = 7;
    fixture.since[0].counts[SHARD_COUNT_transaction_us] = 2500000;
    fixture.totals =
        (struct totals){names, helps, fixture.counts, 2, fixture.since, fixture.since, 0, 2, fixture.tiers};
    fixture.tiers[0].counts[TIER_COUNT_statements] = 7;
    fixture.tiers[2] = (struct tier_totals){{4, 10, 100, 900, 4400}};
    fixture.own_errors[error_class("0A000")] = 8;
    fixture.shard_errors[error_class("23505")] = 9;
    fixture.view = (struct metrics_view){.admin = {.settings = &fixture.settings,
                                                   .model = &fixture.model,
                                                   .snapshot = &fixture.snapshot,
                                                   .totals = &fixture.totals,
                                                   .shards = fixture.views,
                                                   .clients = 12},
                                         .started_us = 1500000000500000,
                                         .cpu_us = 1230000,
                                         .recovered = {3, 2, 1},
                                         .shard_errors = fixture.shard_errors,
                                         .own_errors = fixture.own_errors};
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    memory_fail_after(-1);
    snapshot_part_free(&fixture->part);
    arena_free(&fixture->arena);
    buffer_free(&fixture->out);
    return 0;
}

static const char *written(struct fixture *fixture)
{
    mosaic_error error;
    buffer_clear(&fixture->out);
    assert_int_equal(metrics_write(&fixture->out, &fixture->view, &error), MOSAIC_OK);
    return buffer_string(&fixture->out);
}

static void what_is_known_is_there(void **state)
{
    const char *text = written(*state);
    static const char *const lines[] = {
        "pgmosaic_info{version=\"" MOSAIC_VERSION "\",cluster=\"shop\"} 1\n",
        "pgmosaic_start_time_seconds 1500000000.500000\n",
        "pgmosaic_cpu_seconds_total 1.230000\n",
        "pgmosaic_clients 12\n",
        "pgmosaic_map_epoch 9\n",
        "pgmosaic_shard_up{shard=\"s0\"} 1\n",
        "pgmosaic_shard_up{shard=\"s\\\"1\"} 0\n",
        "pgmosaic_shard_connections_allowed{shard=\"s\\\"1\"} 97\n",
        "pgmosaic_transactions_total{tier=\"1\",shard=\"s0\"} 7\n",
        "pgmosaic_transaction_seconds_bucket{tier=\"1\",shard=\"s0\",le=\"0.000001\"} 1\n",
        "pgmosaic_transaction_seconds_bucket{tier=\"1\",shard=\"s0\",le=\"0.000002\"} 1\n",
        "pgmosaic_transaction_seconds_bucket{tier=\"1\",shard=\"s0\",le=\"0.000004\"} 3\n",
        "pgmosaic_transaction_seconds_bucket{tier=\"1\",shard=\"s0\",le=\"+Inf\"} 7\n",
        "pgmosaic_transaction_seconds_sum{tier=\"1\",shard=\"s0\"} 2.500000\n",
        "pgmosaic_transaction_seconds_count{tier=\"1\",shard=\"s0\"} 7\n",
        "pgmosaic_pool_servers{user=\"an\\\\n\\n\",shard=\"s0\",state=\"idle\"} 3\n",
        "pgmosaic_pool_maxwait_seconds{user=\"an\\\\n\\n\",shard=\"s0\"} 1.500000\n",
        "pgmosaic_pool_clients{user=\"bob\",shard=\"\",state=\"active\"} 7\n",
        "pgmosaic_plans_total{tier=\"refused\"} 7\n",
        "pgmosaic_plans_total{tier=\"2\"} 4\n",
        "pgmosaic_plan_shards_total{tier=\"2\"} 10\n",
        "pgmosaic_plan_rows_total{tier=\"2\"} 100\n",
        "pgmosaic_plan_received_bytes_total{tier=\"2\"} 900\n",
        "pgmosaic_plan_seconds_total{tier=\"2\"} 0.004400\n",
        "pgmosaic_plan_cache_lookups_total{found=\"shape\"} 2\n",
        "pgmosaic_errors_total{class=\"0A\",from=\"proxy\"} 8\n",
        "pgmosaic_errors_total{class=\"23\",from=\"shard\"} 9\n",
        "pgmosaic_recovered_total{outcome=\"committed\"} 3\n",
        "pgmosaic_recovered_total{outcome=\"rolled back\"} 2\n",
        "pgmosaic_in_doubt 1\n",
        "pgmosaic_cancels_total 5\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i]))
            fail_msg("missing: %s\n%s", lines[i], text);
    assert_null(strstr(text, "plan_rows_total{tier=\"1\"}"));
    assert_null(strstr(text, "connections_allowed{shard=\"s0\"}"));
}

/* name{label="value",…} number: by the format's own grammar. */
static bool is_sample(const char *at, const char *name)
{
    size_t size = strlen(name);
    if (strncmp(at, name, size) != 0)
        return false;
    at += size;
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    for (size_t i = 0; i < 3; i++)
        if (strncmp(at, suffixes[i], strlen(suffixes[i])) == 0) {
            at += strlen(suffixes[i]);
            break;
        }
    if (*at == '{') {
        do {
            at++;
            while (islower((unsigned char)*at) || *at == '_')
                at++;
            if (*at++ != '=' || *at++ != '"')
                return false;
            for (; *at && *at != '"'; at++)
                at += *at == '\\';
            if (*at++ != '"')
                return false;
        } while (*at == ',');
        if (*at++ != '}')
            return false;
    }
    char *end;
    if (*at++ != ' ')
        return false;
    (void)strtod(at, &end);
    return end > at && *end == '\n';
}

static void every_line_is_of_the_format_and_no_name_stands_twice(void **state)
{
    char *text = strdup(written(*state)), name[100] = "", type[100] = "", seen[20000] = "";
    assert_int_equal(text[strlen(text) - 1], '\n');
    for (char *line = text; *line; line = strchr(line, '\n') + 1) {
        char help[100];
        if (sscanf(line, "# HELP %99s", help) == 1) {
            char mark[120];
            snprintf(mark, sizeof mark, " %s ", help);
            assert_null(strstr(seen, mark));
            strcat(seen, mark);
        } else if (sscanf(line, "# TYPE %99s %99s", name, type) == 2) {
            bool total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
            assert_int_equal(total, strcmp(type, "counter") == 0);
        } else if (!is_sample(line, name)) {
            fail_msg("below %s: %.100s", name, line);
        }
    }
    free(text);
}

static void durations_fall_into_buckets(void **state)
{
    (void)state;
    assert_int_equal(histogram_bucket(0), 0);
    assert_int_equal(histogram_bucket(1), 0);
    assert_int_equal(histogram_bucket(2), 1);
    assert_int_equal(histogram_bucket(3), 2);
    assert_int_equal(histogram_bucket(4), 2);
    assert_int_equal(histogram_bucket(5), 3);
    assert_int_equal(histogram_bucket(UINT64_C(1) << 26), 26);
    assert_int_equal(histogram_bucket((UINT64_C(1) << 26) + 1), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
    for (uint64_t us = 1; us < 100000; us += 7) {
        unsigned bucket = histogram_bucket(us);
        assert_true(us <= UINT64_C(1) << bucket && (!bucket || us > UINT64_C(1) << (bucket - 1)));
    }
    struct histogram histogram = {0};
    histogram_add(&histogram, 3);
    assert_int_equal(atomic_load(&histogram.buckets[2]), 1);
    assert_int_equal(error_class("XX000"), error_class(""));
    assert_int_equal(error_class("0a000"), error_class("XX000"));
}

static void what_does_not_fit_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    mosaic_error error;
    buffer_free(&fixture->out);
    fixture->out = BUFFER_INIT(1000);
    assert_int_equal(metrics_write(&fixture->out, &fixture->view, &error), MOSAIC_LIMIT);
    memory_fail_after(0);
    assert_int_equal(metrics_write(&fixture->out, &fixture->view, &error), MOSAIC_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_known_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(every_line_is_of_the_format_and_no_name_stands_twice, setup, teardown),
        cmocka_unit_test(durations_fall_into_buckets),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
