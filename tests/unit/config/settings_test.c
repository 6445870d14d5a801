#include "config/settings.h"

#include "../random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct arena arena;
    struct proxy_settings settings;
    mosaic_error error;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.arena = ARENA_INIT};
    *state = &fixture;
    return settings_default(&fixture.arena, &fixture.settings, &fixture.error) == MOSAIC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    memory_fail_after(-1);
    arena_free(&fixture->arena);
    return 0;
}

static mosaic_status set(struct fixture *fixture, const char *name, const char *value)
{
    return settings_set(&fixture->arena, &fixture->settings, name, value, &fixture->error);
}

static void the_defaults_are_those_of_the_list_and_go_together(void **state)
{
    struct fixture *fixture = *state;
    const struct proxy_settings *settings = &fixture->settings;
    assert_string_equal(settings->listen[0], "127.0.0.1:6432");
    assert_null(settings->listen[1]);
    assert_int_equal(settings->unix_socket_mode, 0777);
    assert_int_equal(settings->pool_mode, POOL_TRANSACTION);
    assert_int_equal(settings->query_wait_timeout, 120000);
    assert_int_equal(settings->max_packet_size, 1 << 30);
    assert_int_equal(settings->auth_type, AUTH_SCRAM);
    assert_true(settings->hints);
    assert_null(settings->auth_file);
    assert_null(settings->admin_users[0]);
    assert_string_equal(settings->server_reset_query, "DISCARD ALL");
    assert_int_equal(settings_check(settings, &fixture->error), MOSAIC_OK);
}

static void values_have_units(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *name, *text;
        int64_t value;
        const char *shown;
    } good[] = {
        {"query_timeout", "0", 0, "0"},
        {"query_timeout", "500ms", 500, "500ms"},
        {"query_timeout", "5s", 5000, "5s"},
        {"query_timeout", "5 S", 5000, "5s"},
        {"query_timeout", "90s", 90000, "90s"},
        {"query_timeout", "120s", 120000, "2min"},
        {"query_timeout", "24h", 86400000, "1d"},
        {"max_packet_size", "4096", 4096, "4kB"},
        {"max_packet_size", "1025", 1025, "1025B"},
        {"max_packet_size", "64kb", 65536, "64kB"},
        {"max_packet_size", "1GB", 1 << 30, "1GB"},
        {"pool_size", "10000", 10000, "10000"},
        {"unix_socket_mode", "0700", 0700, "0700"},
        {"unix_socket_mode", "770", 0770, "0770"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (set(fixture, good[i].name, good[i].text) != MOSAIC_OK)
            fail_msg("%s: %s", good[i].text, fixture->error.message);
        size_t at = settings_find(good[i].name);
        int64_t value = strcmp(good[i].name, "query_timeout") == 0     ? fixture->settings.query_timeout
                        : strcmp(good[i].name, "max_packet_size") == 0 ? fixture->settings.max_packet_size
                        : strcmp(good[i].name, "pool_size") == 0       ? fixture->settings.pool_size
                                                                       : fixture->settings.unix_socket_mode;
        assert_int_equal(value, good[i].value);
        assert_string_equal(settings_value(&fixture->arena, &fixture->settings, at), good[i].shown);
    }
}

static void what_a_setting_does_not_take_is_named(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *name, *text, *message, *detail, *hint;
    } bad[] = {
        {"query_timeout", "5", "query_timeout: \"5\" has no unit", "a time from 0 to 1d", "as in 5s"},
        {"query_timeout", "5 weeks", "unknown unit", "", "one of ms, s"},
        {"query_timeout", "", "is no number", "", "as in 500ms"},
        {"query_timeout", "-5s", "is no number", "", ""},
        {"query_timeout", "1.5s", "unknown unit", "", ""},
        {"query_timeout", "2d", "is out of range", "from 0 to 1d", ""},
        {"query_timeout", "99999999999999999999s", "out of range", "", ""},
        {"query_timeout", "9223372036854775807d", "out of range", "", ""},
        {"server_connect_timeout", "0", "out of range", "from 1ms to 1d", ""},
        {"max_packet_size", "1000", "out of range", "a size from 1kB to 1GB", ""},
        {"max_packet_size", "1 kib", "unknown unit", "", "one of B, kB"},
        {"pool_size", "5s", "is no number", "a whole number from 1 to 10000", ""},
        {"pool_size", "0", "out of range", "", ""},
        {"unix_socket_mode", "0888", "is no number", "in octal, from 0000 to 0777", ""},
        {"hints", "maybe", "neither true nor false", "true or false", ""},
        {"scatter", "never", "none of its values", "allow, warn or deny", ""},
        {"pool_mode", "statement", "none of its values", "transaction or session", ""},
        {"client_tls_sslmode", "on", "none of its values", "disable, allow, prefer, require, verify-ca or verify-full",
         ""},
        {"listen", "\"a", "never closed", "one or several", ""},
        {"pol_size", "5", "there is no setting \"pol_size\": did you mean \"pool_size\"?", "", "proxy-settings.md"},
        {"xyzzy", "5", "there is no setting \"xyzzy\"", "", ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct proxy_settings before = fixture->settings;
        mosaic_status status = set(fixture, bad[i].name, bad[i].text);
        if (status != MOSAIC_CONFIG || !strstr(fixture->error.message, bad[i].message) ||
            !strstr(fixture->error.detail, bad[i].detail) || !strstr(fixture->error.hint, bad[i].hint))
            fail_msg("%s = %s: %d %s | %s | %s", bad[i].name, bad[i].text, status, fixture->error.message,
                     fixture->error.detail, fixture->error.hint);
        assert_memory_equal(&before, &fixture->settings, sizeof before);
    }
}

static void lists_have_words(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(set(fixture, "admin_users", " ann,bob ,, \"c d\" \"e\"\"f\" \"\" "), MOSAIC_OK);
    const char *const *users = fixture->settings.admin_users;
    static const char *const wanted[] = {"ann", "bob", "c d", "e\"f", NULL};
    for (size_t i = 0; i < 5; i++)
        assert_true(wanted[i] ? users[i] && strcmp(users[i], wanted[i]) == 0 : !users[i]);
    assert_string_equal(settings_value(&fixture->arena, &fixture->settings, settings_find("admin_users")),
                        "ann, bob, \"c d\", \"e\"\"f\"");
    assert_int_equal(set(fixture, "listen", ""), MOSAIC_OK);
    assert_null(fixture->settings.listen[0]);
}

static void an_empty_text_is_not_set_where_that_is_the_default(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(set(fixture, "auth_file", "/x"), MOSAIC_OK);
    assert_string_equal(fixture->settings.auth_file, "/x");
    assert_int_equal(set(fixture, "auth_file", ""), MOSAIC_OK);
    assert_null(fixture->settings.auth_file);
    assert_int_equal(set(fixture, "unix_socket_dir", ""), MOSAIC_OK);
    assert_string_equal(fixture->settings.unix_socket_dir, "");
}

static void addresses_are_host_and_port(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        int port;
        bool loopback;
    } good[] = {
        {"127.0.0.1:6432", "127.0.0.1", 6432, true},
        {"127.9.8.7:1", "127.9.8.7", 1, true},
        {"[::1]:65535", "::1", 65535, true},
        {"localhost:5432", "localhost", 5432, true},
        {"*:6432", "*", 6432, false},
        {"0.0.0.0:6432", "0.0.0.0", 6432, false},
        {"[2001:db8::1]:6432", "2001:db8::1", 6432, false},
        {"127.0.0.example.org:1", "127.0.0.example.org", 1, false},
        {"127.1:5", "127.1", 5, false},
    };
    static const char *const bad[] = {"",     ":",    ":6432",    "a",    "a:",     "a:0",      "a:65536",
                                      "a:1x", "a:-1", "::1:6432", "[]:1", "[::1:5", "[a]b]:5x", "a:999999"};
    struct listen_address address;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(settings_address(good[i].text, &address));
        assert_string_equal(address.host, good[i].host);
        assert_int_equal(address.port, good[i].port);
        assert_int_equal(settings_is_loopback(&address), good[i].loopback);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (settings_address(bad[i], &address))
            fail_msg("%s", bad[i]);
}

static void settings_that_contradict_each_other_are_refused(void **state)
{
    struct fixture *fixture = *state;
    /* Each: settings, alternately names and values; what the message has, NULL: nothing is wrong. */
    static const char *const cases[][8] = {
        {"auth_type", "trust", NULL, NULL},
        {"auth_type", "trust", "listen", "0.0.0.0:6432", NULL, "anybody could log in"},
        {"auth_type", "trust", "listen", "127.0.0.1:1 *:6432", NULL, "anybody could log in"},
        {"auth_type", "md5", "listen", "*:6432", NULL, NULL},
        {"listen", "localhost", NULL, "\"localhost\" is no address"},
        {"listen", "", "unix_socket_dir", "", NULL, "nobody could connect"},
        {"listen", "", NULL, NULL},
        {"metrics_listen", "127.0.0.1:9127", NULL, NULL},
        {"metrics_listen", "9127", NULL, "is no address"},
        {"metrics_listen", "*:9127", NULL, "is not loopback"},
        {"auth_type", "hba", NULL, "auth_hba_file is not set"},
        {"auth_type", "hba", "auth_hba_file", "/x", NULL, NULL},
        {"auth_type", "cert", NULL, "certificates that are verified"},
        {"client_tls_sslmode", "allow", NULL, "client_tls_cert_file is not set"},
        {"client_tls_sslmode", "require", "client_tls_cert_file", "/c", NULL, "client_tls_key_file is not set"},
        {"auth_user", "pooler", NULL, "auth_query is not set"},
        {"min_pool_size", "21", NULL, "min_pool_size 21 is over pool_size 20"},
        {"min_pool_size", "11", "max_user_connections", "10", NULL, "is over max_user_connections 10"},
        {"min_pool_size", "11", "max_shard_connections", "10", NULL, "is over max_shard_connections 10"},
        {"max_packet_size", "1MB", NULL, "max_analysed_size is over"},
        {"scatter_users", "ann=allow, b=c=DENY", NULL, NULL},
        {"scatter_users", "ann=allow, bob", NULL, "\"bob\" is no NAME=allow"},
        {"scatter_users", "ann=maybe", NULL, "\"ann=maybe\" is no NAME=allow"},
        {"scatter_users", "=deny", NULL, "\"=deny\" is no NAME=allow"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const *at = cases[i];
        assert_int_equal(settings_default(&fixture->arena, &fixture->settings, &fixture->error), MOSAIC_OK);
        for (; *at; at += 2)
            assert_int_equal(set(fixture, at[0], at[1]), MOSAIC_OK);
        mosaic_status status = settings_check(&fixture->settings, &fixture->error);
        if (status != (at[1] ? MOSAIC_CONFIG : MOSAIC_OK) ||
            (at[1] && (!strstr(fixture->error.message, at[1]) || !fixture->error.hint[0])))
            fail_msg("case %zu: %d %s", i, status, status ? fixture->error.message : "");
    }
    static const char *const tls[] = {"client_tls_cert_file", "client_tls_key_file"};
    assert_int_equal(settings_default(&fixture->arena, &fixture->settings, &fixture->error), MOSAIC_OK);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(set(fixture, tls[i], "/x"), MOSAIC_OK);
    assert_int_equal(set(fixture, "client_tls_sslmode", "verify-ca"), MOSAIC_OK);
    assert_int_equal(settings_check(&fixture->settings, &fixture->error), MOSAIC_CONFIG);
    assert_int_equal(set(fixture, "client_tls_ca_file", "/x"), MOSAIC_OK);
    assert_int_equal(set(fixture, "auth_type", "cert"), MOSAIC_OK);
    assert_int_equal(settings_check(&fixture->settings, &fixture->error), MOSAIC_OK);
}

static void every_setting_says_what_it_takes(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < settings_count(); i++) {
        const struct proxy_setting_info *info = settings_info(i);
        assert_int_equal(settings_find(info->name), i);
        assert_true(info->help[0] && settings_takes(&fixture->arena, i)[0]);
        const char *value = settings_value(&fixture->arena, &fixture->settings, i);
        assert_int_equal(value == NULL, info->initial == NULL);
    }
    assert_true(settings_find("nothing") == SIZE_MAX);
}

/* A random value's text, written out, reads as the same value; and equal settings are equal one by one. */
static void random_values_are_written_as_they_read(void **state)
{
    struct fixture *fixture = *state;
    struct random random = random_start();
    static const char *const texts[] = {"0",    "1",         "5s",      "77min", "3h",        "64kB", "12345",
                                        "true", "off",       "session", "hba",   "verify-ca", "json", "error",
                                        "a b",  "\"x y\" z", "0640",    "20",    "/tmp/x",    ""};
    struct proxy_settings other;
    assert_int_equal(settings_default(&fixture->arena, &other, &fixture->error), MOSAIC_OK);
    for (int round = 0; round < 20000; round++) {
        size_t i = random_below(&random, (uint32_t)settings_count());
        const char *text = texts[random_below(&random, sizeof texts / sizeof *texts)];
        if (set(fixture, settings_info(i)->name, text) != MOSAIC_OK)
            continue;
        const char *shown = settings_value(&fixture->arena, &fixture->settings, i);
        if (settings_set(&fixture->arena, &other, settings_info(i)->name, shown ? shown : "", &fixture->error))
            fail_msg("%s: %s, from %s: %s", settings_info(i)->name, shown, text, fixture->error.message);
        assert_true(settings_equal(&fixture->settings, &other, i));
        if (round % 1000 == 0)
            arena_free(&fixture->arena), setup(state),
                assert_int_equal(settings_default(&fixture->arena, &other, &fixture->error), MOSAIC_OK);
    }
}

static void one_setting_can_be_taken_from_another_set(void **state)
{
    struct fixture *fixture = *state;
    struct proxy_settings other;
    assert_int_equal(settings_default(&fixture->arena, &other, &fixture->error), MOSAIC_OK);
    assert_int_equal(set(fixture, "listen", "localhost:1 localhost:2"), MOSAIC_OK);
    assert_int_equal(set(fixture, "log_file", "/x"), MOSAIC_OK);
    size_t listen = settings_find("listen"), file = settings_find("log_file");
    assert_false(settings_equal(&fixture->settings, &other, listen));
    assert_false(settings_equal(&fixture->settings, &other, file));
    settings_take(&other, &fixture->settings, listen);
    assert_true(settings_equal(&fixture->settings, &other, listen));
    assert_false(settings_equal(&fixture->settings, &other, file));
}

static void without_memory_it_says_so(void **state)
{
    struct fixture *fixture = *state;
    arena_free(&fixture->arena);
    for (long n = 0;; n++) {
        memory_fail_after(n);
        mosaic_status status = settings_default(&fixture->arena, &fixture->settings, &fixture->error);
        for (size_t i = 0; i < 8 && status == MOSAIC_OK; i++)
            status = set(fixture, "admin_users",
                         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                         " bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
        memory_fail_after(-1);
        arena_free(&fixture->arena);
        if (status == MOSAIC_OK)
            break;
        assert_int_equal(status, MOSAIC_MEMORY);
        assert_int_equal(fixture->error.status, MOSAIC_MEMORY);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_defaults_are_those_of_the_list_and_go_together, setup, teardown),
        cmocka_unit_test_setup_teardown(values_have_units, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_setting_does_not_take_is_named, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_have_words, setup, teardown),
        cmocka_unit_test_setup_teardown(an_empty_text_is_not_set_where_that_is_the_default, setup, teardown),
        cmocka_unit_test(addresses_are_host_and_port),
        cmocka_unit_test_setup_teardown(settings_that_contradict_each_other_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_setting_says_what_it_takes, setup, teardown),
        cmocka_unit_test_setup_teardown(random_values_are_written_as_they_read, setup, teardown),
        cmocka_unit_test_setup_teardown(one_setting_can_be_taken_from_another_set, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory_it_says_so, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
