#include "base/memory.h"
#include "pq/pq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void masks_to(const char *conninfo, const char *expected)
{
    char *masked = pq_conninfo_masked(conninfo);
    assert_non_null(masked);
    assert_string_equal(masked, expected);
    memory_free(masked);
}

static void passwords_are_masked(void **state)
{
    (void)state;
    masks_to("host=h password=secret dbname=d", "password=**** dbname=d host=h");
    masks_to("host=h password='sec ret'", "password=**** host=h");
    masks_to("postgresql://u:secret@h:5/d", "user=u password=**** dbname=d host=h port=5");
    masks_to("host=h sslpassword=secret", "host=h sslpassword=****");
    masks_to("host='a b' password=x", "password=**** host='a b'");
    masks_to("host=h password=my secret", "(malformed connection string)");
}

static void without_a_password_it_stays(void **state)
{
    (void)state;
    masks_to("  host=h   passfile='/a b/pgpass'", "  host=h   passfile='/a b/pgpass'");
    masks_to("", "");
}

static void memory_may_be_out(void **state)
{
    (void)state;
    for (long i = 0; i < 4; i++) {
        memory_fail_after(i);
        char *masked = pq_conninfo_masked("host=h password=secret");
        memory_fail_after(-1);
        if (masked)
            assert_string_equal(masked, "password=**** host=h");
        memory_free(masked);
    }
}

static void has_address(const char *conninfo, const char *expected)
{
    char text[64];
    pq_conninfo_address(conninfo, text, sizeof text);
    assert_string_equal(text, expected);
}

static void addresses_are_short(void **state)
{
    (void)state;
    unsetenv("PGHOST");
    unsetenv("PGPORT");
    unsetenv("PGDATABASE");
    unsetenv("PGUSER");
    has_address("host=h port=7 dbname=d user=u password=p", "h:7/d");
    has_address("hostaddr=1.2.3.4 user=u", "1.2.3.4:5432/u");
    has_address("dbname=d", "socket:5432/d");
    has_address("service=x", "service x");
    has_address("nonsense", "(malformed connection string)");
    char tiny[4];
    pq_conninfo_address("host=averylonghost", tiny, sizeof tiny);
    assert_string_equal(tiny, "ave");
}

static void what_cannot_be_connected_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *conninfo;
        mosaic_status status;
        const char *says;
    } cases[] = {
        {"nonsense", MOSAIC_CONFIG, "malformed"},
        {"host=127.0.0.1 port=abc user=u", MOSAIC_CONFIG, "port"},
        {"host=127.0.0.1 port=1 sslmode=nope user=u", MOSAIC_CONFIG, "sslmode"},
        {"host=127.0.0.1 port=1 user=u", MOSAIC_UNREACHABLE, "127.0.0.1:1"},
        {"host=/nonexistent user=u", MOSAIC_UNREACHABLE, "/nonexistent"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        PGconn *connection;
        mosaic_error error;
        assert_int_equal(pq_connect(cases[i].conninfo, "s0", "test", pq_deadline(2000), &connection, &error),
                         cases[i].status);
        assert_null(connection);
        assert_string_equal(error.shard, "s0");
        assert_non_null(strstr(error.message, cases[i].says));
        assert_null(strchr(error.message, '\n'));
        assert_true(*error.hint);
        assert_int_equal(pq_connect(cases[i].conninfo, "s0", "test", pq_deadline(2000), &connection, NULL),
                         cases[i].status);
    }
}

static void malformed_strings_do_not_show_passwords(void **state)
{
    (void)state;
    PGconn *connection;
    mosaic_error error;
    assert_int_equal(pq_connect("host=h password=top secret", "s0", "test", pq_deadline(100), &connection, &error),
                     MOSAIC_CONFIG);
    assert_null(strstr(error.message, "secret"));
    assert_null(strstr(error.detail, "secret"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords_are_masked),
        cmocka_unit_test(without_a_password_it_stays),
        cmocka_unit_test(memory_may_be_out),
        cmocka_unit_test(addresses_are_short),
        cmocka_unit_test(what_cannot_be_connected_says_why),
        cmocka_unit_test(malformed_strings_do_not_show_passwords),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
