#include "config/pgbouncer.h"

#include "config/config.h"
#include "config/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct buffer yaml;
    struct model model;
    struct arena arena;
    struct proxy_settings settings;
    mosaic_error error;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.yaml = BUFFER_INIT(1 << 20)};
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    memory_fail_after(-1);
    buffer_free(&fixture->yaml);
    model_free(&fixture->model);
    arena_free(&fixture->arena);
    return 0;
}

static mosaic_status convert(struct fixture *fixture, const char *ini, const char *cluster,
                             const char *const *databases)
{
    struct pgbouncer_options options = {"pgbouncer.ini", cluster, databases};
    buffer_clear(&fixture->yaml);
    return pgbouncer_convert(ini, strlen(ini), &options, &fixture->yaml, &fixture->error);
}

/* Converts, reads the result as a config, and gives its text. */
static const char *converted(struct fixture *fixture, const char *ini, const char *cluster,
                             const char *const *databases)
{
    if (convert(fixture, ini, cluster, databases) != MOSAIC_OK)
        fail_msg("%s", fixture->error.message);
    model_free(&fixture->model);
    const char *text = buffer_string(&fixture->yaml);
    if (config_parse(text, fixture->yaml.size, "mosaic.yaml", &fixture->model, &fixture->error) != MOSAIC_OK)
        fail_msg("%s\n%s", fixture->error.message, text);
    if (settings_read(&fixture->arena, &fixture->model, &fixture->settings, &fixture->error) != MOSAIC_OK)
        fail_msg("%s\n%s", fixture->error.message, text);
    return text;
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("missing: %s\n%s", part, text);
}

static const char realistic[] = ";;; PgBouncer of the shop\n"
                                "[databases]\n"
                                "shop = host=10.0.0.5 port=5433 dbname=shop_live user=pooler password='se cret' "
                                "pool_size=50 connect_query='SELECT 1'\n"
                                "\n"
                                "[users]\n"
                                "batch = pool_mode=session max_user_connections=10\n"
                                "[pgbouncer]\n"
                                "logfile = /var/log/pgbouncer/pgbouncer.log\n"
                                "pidfile = /run/pgbouncer/pgbouncer.pid\n"
                                "listen_addr = 127.0.0.1, ::1\n"
                                "listen_port = 6433\n"
                                "unix_socket_dir = /var/run/postgresql\n"
                                "unix_socket_mode = 0770\n"
                                "client_tls_sslmode = require\n"
                                "client_tls_key_file = /etc/tls/key.pem\n"
                                "client_tls_cert_file = /etc/tls/cert.pem\n"
                                "server_tls_sslmode = verify-full\n"
                                "server_tls_ca_file = /etc/tls/my ca.pem\n"
                                "auth_type = scram-sha-256\n"
                                "auth_file = /etc/pgbouncer/userlist.txt\n"
                                "auth_user = pooler\n"
                                "admin_users = ann, \"bob b\"\n"
                                "pool_mode = transaction\n"
                                "max_client_conn = 2000\n"
                                "default_pool_size = 20\n"
                                "reserve_pool_timeout = 0.5\n"
                                "server_lifetime = 1200\n"
                                "query_wait_timeout = 30\n"
                                "max_packet_size = 2147483647\n"
                                "tcp_keepalive = 1\n"
                                "ignore_startup_parameters = extra_float_digits\n"
                                "stats_period = 60\n"
                                "verbose = 0\n"
                                "nonsense = 1\n"
                                "query_timeout = soon\n"
                                "max_user_connections = -5\n";

static void a_realistic_file_becomes_a_config(void **state)
{
    struct fixture *fixture = *state;
    const char *text = converted(fixture, realistic, NULL, NULL);
    const struct proxy_settings *settings = &fixture->settings;
    assert_string_equal(fixture->model.name, "shop");
    assert_int_equal(fixture->model.shard_count, 1);
    assert_string_equal(fixture->model.shards[0].name, "shop");
    assert_string_equal(fixture->model.shards[0].conninfo,
                        "host=10.0.0.5 port=5433 dbname=shop_live user=pooler sslmode=verify-full "
                        "sslrootcert='/etc/tls/my ca.pem'");
    assert_string_equal(settings->listen[0], "127.0.0.1:6433");
    assert_string_equal(settings->listen[1], "[::1]:6433");
    assert_int_equal(settings->unix_socket_mode, 0770);
    assert_int_equal(settings->client_tls_sslmode, TLS_REQUIRE);
    assert_int_equal(settings->auth_type, AUTH_SCRAM);
    assert_string_equal(settings->admin_users[1], "bob b");
    assert_int_equal(settings->pool_size, 50); /* the database's own */
    assert_int_equal(settings->reserve_pool_timeout, 500);
    assert_int_equal(settings->server_lifetime, 1200000);
    assert_int_equal(settings->query_wait_timeout, 30000);
    assert_int_equal(settings->server_login_retry, 15000);
    assert_int_equal(settings->max_client_conn, 2000);
    assert_non_null(settings->auth_query);
    assert_int_equal(settings_check(settings, &fixture->error), MOSAIC_OK);
    has(text, "server_login_retry: 15s # PgBouncer's default\n");
    has(text, "  pool_size: 50\n");
    has(text, "  log_file: /var/log/pgbouncer/pgbouncer.log # logfile\n");
    has(text, "#   tcp_keepalive = 1: the kernel's default holds\n");
    has(text, "#   ignore_startup_parameters = extra_float_digits: ");
    has(text, "#   connect_query = SELECT 1: use ALTER ROLE");
    has(text, "#   password: a password does not belong here");
    has(text, "#   [users] batch = pool_mode=session max_user_connections=10: limits and modes");
    has(text, "#   nonsense = 1: no setting of PgBouncer 1.25\n");
    has(text, "#   query_timeout = soon: no number of seconds\n");
    has(text, "#   max_user_connections = -5: max_user_connections: \"-5\" is no number; it takes a whole number");
    assert_null(strstr(text, "cret"));
    assert_null(strstr(text, "max_packet_size")); /* ours by default */
}

static void what_the_file_does_not_say_is_pgbouncers(void **state)
{
    struct fixture *fixture = *state;
    const char *text = converted(fixture, "[databases]\na=\n[pgbouncer]\n", NULL, NULL);
    assert_int_equal(fixture->settings.pool_mode, POOL_SESSION);
    assert_int_equal(fixture->settings.auth_type, AUTH_MD5);
    assert_int_equal(fixture->settings.max_client_conn, 100);
    assert_null(fixture->settings.listen[0]);
    assert_string_equal(fixture->model.shards[0].conninfo, "dbname=a");
    has(text, "  listen: \"\" # listen_addr is empty: the Unix socket alone\n");
}

static void several_databases_need_a_choice(void **state)
{
    struct fixture *fixture = *state;
    static const char ini[] =
        "[databases]\na = host=h1\n\"b \"\"x\" = host=h2 pool_size=7\nc = host=h3 reserve_pool=1\n";
    assert_int_equal(convert(fixture, ini, NULL, NULL), MOSAIC_USAGE);
    assert_non_null(strstr(fixture->error.message, "has 3 databases"));
    assert_non_null(strstr(fixture->error.hint, "a, b \"x, c"));
    assert_int_equal(convert(fixture, ini, NULL, (const char *[]){"d", NULL}), MOSAIC_USAGE);
    assert_non_null(strstr(fixture->error.message, "has no database d"));
    const char *text = converted(fixture, ini, "shop", (const char *[]){"c", "b \"x", NULL});
    assert_string_equal(fixture->model.name, "shop");
    assert_int_equal(fixture->model.shard_count, 2);
    assert_string_equal(fixture->model.shards[0].name, "c");
    assert_string_equal(fixture->model.shards[1].name, "s1");
    assert_string_equal(fixture->model.shards[1].conninfo, "host=h2 dbname='b \"x'");
    assert_int_equal(fixture->settings.reserve_pool_size, 1);
    assert_int_equal(fixture->settings.pool_size, 20);
    has(text, "#   database b \"x: pool_size = 7: settings are the same for all shards");
    assert_int_equal(convert(fixture, ini, "a b", (const char *[]){"a", NULL}), MOSAIC_USAGE);
    assert_int_equal(convert(fixture, "[pgbouncer]\n", NULL, NULL), MOSAIC_USAGE);
}

static void what_would_let_anybody_in_is_said(void **state)
{
    struct fixture *fixture = *state;
    has(converted(fixture, "[databases]\na=\n[pgbouncer]\nauth_type=any\n", NULL, NULL),
        "#   auth_type = any: anybody could log in as anybody; scram-sha-256 is used\n");
    assert_int_equal(fixture->settings.auth_type, AUTH_SCRAM);
    has(converted(fixture, "[databases]\na=\n[pgbouncer]\nauth_type=trust\nlisten_addr=*\n", NULL, NULL),
        "#   the proxy will refuse this: auth_type trust does not go with listen *:6432");
    has(converted(fixture, "[databases]\na=\n[pgbouncer]\npool_mode=statement\n%include other.ini\n", NULL, NULL),
        "#   %include other.ini: its settings are not here");
    assert_int_equal(fixture->settings.pool_mode, POOL_TRANSACTION);
}

static void mistakes_are_named_with_their_line(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *ini, *says;
    } cases[] = {
        {"a = b\n", "pgbouncer.ini:1: a setting before the first section"},
        {"; x\n[other]\na = b\n", "pgbouncer.ini:3: a setting before"},
        {"[databases\n", "pgbouncer.ini:1: a section that is not closed"},
        {"[pgbouncer]\nlisten_port\n", "pgbouncer.ini:2: neither"},
        {"[pgbouncer]\na b = c\n", "pgbouncer.ini:2: neither"},
        {"[databases]\n\"a = b\n", "pgbouncer.ini:2: neither"},
        {"[databases]\na = host\n", "pgbouncer.ini:2: the connect string is malformed"},
        {"[databases]\na = host='x\n", "pgbouncer.ini:2: the connect string is malformed"},
        {"[databases]\na = =x\n", "pgbouncer.ini:2: the connect string is malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(convert(fixture, cases[i].ini, NULL, NULL), MOSAIC_CONFIG);
        if (!strstr(fixture->error.message, cases[i].says))
            fail_msg("%s: %s", cases[i].ini, fixture->error.message);
    }
}

static void users_are_looked_through(void **state)
{
    struct fixture *fixture = *state;
    static const char list[] = "; users\n\"ann\" \"SCRAM-SHA-256$4096:c2FsdA==$a:b\"\n"
                               "\"bob\" \"md501234567890123456789012345678901\"\n\n\"c\"\"d\" \"plain\"\n\"e\" \"\"";
    assert_int_equal(pgbouncer_userlist(list, sizeof list - 1, "u", &fixture->yaml, &fixture->error), MOSAIC_OK);
    const char *notes = buffer_string(&fixture->yaml);
    assert_null(strstr(notes, "user ann"));
    assert_null(strstr(notes, "plain\""));
    has(notes, "user bob has an md5 hash");
    has(notes, "user c\"d has a plain password");
    has(notes, "user e has no password");
    has(notes, "4 users");
    assert_int_equal(pgbouncer_userlist("\"a\" b", 5, "u", &fixture->yaml, &fixture->error), MOSAIC_CONFIG);
    assert_non_null(strstr(fixture->error.message, "u:1:"));
}

static void without_memory_it_says_so(void **state)
{
    struct fixture *fixture = *state;
    mosaic_status status = MOSAIC_MEMORY;
    for (long n = 0; status != MOSAIC_OK; n++) {
        buffer_free(&fixture->yaml);
        memory_fail_after(n);
        status = convert(fixture, realistic, NULL, NULL);
        memory_fail_after(-1);
        if (status != MOSAIC_OK)
            assert_int_equal(status, MOSAIC_MEMORY);
        assert_true(n < 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_realistic_file_becomes_a_config, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_file_does_not_say_is_pgbouncers, setup, teardown),
        cmocka_unit_test_setup_teardown(several_databases_need_a_choice, setup, teardown),
        cmocka_unit_test_setup_teardown(what_would_let_anybody_in_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(mistakes_are_named_with_their_line, setup, teardown),
        cmocka_unit_test_setup_teardown(users_are_looked_through, setup, teardown),
        cmocka_unit_test_setup_teardown(without_memory_it_says_so, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
