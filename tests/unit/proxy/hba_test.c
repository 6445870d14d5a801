/* Rules: examples, a model that matches addresses bit by bit, what is refused. */
#include "../random.h"
#include "base/memory.h"
#include "proxy/hba.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "../memory_out.h"

union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
};

static union socket_address address_of(const char *text)
{
    union socket_address address = {.any = {.sa_family = AF_UNIX}};
    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1)
        address.any.sa_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1)
        address.any.sa_family = AF_INET6;
    return address;
}

static mosaic_status parse(struct arena *arena, const char *text, struct hba *hba, mosaic_error *error)
{
    return hba_parse(arena, "hba.conf", text, strlen(text), hba, error);
}

/* The line of the rule that matches; 0: none. */
static unsigned match(const struct hba *hba, const char *client, bool is_tls, const char *database, const char *user)
{
    union socket_address theirs = address_of(client), ours = address_of("10.1.1.1");
    struct hba_request request = {is_tls, &theirs.any, &ours.any, database, user};
    const struct hba_rule *rule = hba_match(hba, &request);
    return rule ? rule->line : 0;
}

static void first_match_counts(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct hba hba;
    mosaic_error error;
    assert_int_equal(parse(&arena,
                           "# type database user address method\n"                           /* 1 */
                           "local all all trust\n"                                           /* 2 */
                           "hostssl demo anna,bob 10.0.0.0/8 cert map=staff clientname=DN\n" /* 3 */
                           "host demo \"all\" 0.0.0.0/0 reject\n"                            /* 4 */
                           "hostnossl sameuser all 192.168.0.0 255.255.0.0 md5\n"            /* 5 */
                           "host all carl samehost scram-sha-256\n"                          /* 6 */
                           "host db1, db2 \\\n all fe80::/10 scram-sha-256\n"                /* 7, 8 */
                           "hostssl all all all scram-sha-256 clientcert=verify-ca\n",       /* 9 */
                           &hba, &error),
                     MOSAIC_OK);
    assert_int_equal(hba.count, 7);
    assert_int_equal(match(&hba, "socket", false, "any", "one"), 2);
    assert_int_equal(match(&hba, "10.255.0.1", true, "demo", "bob"), 3);
    assert_int_equal(match(&hba, "11.255.0.1", true, "demo", "bob"), 9);
    assert_int_equal(match(&hba, "10.255.0.1", false, "demo", "bob"), 0);
    assert_int_equal(match(&hba, "10.255.0.1", false, "demo", "all"), 4);
    assert_int_equal(match(&hba, "192.168.7.7", false, "x", "x"), 5);
    assert_int_equal(match(&hba, "192.168.7.7", false, "x", "y"), 0);
    assert_int_equal(match(&hba, "192.168.7.7", true, "x", "x"), 9);
    assert_int_equal(match(&hba, "10.1.1.1", false, "x", "carl"), 6);
    assert_int_equal(match(&hba, "10.1.1.2", false, "x", "carl"), 0);
    assert_int_equal(match(&hba, "fe80::1", false, "db2", "x"), 7);
    assert_int_equal(match(&hba, "fe00::1", false, "db2", "x"), 0);
    assert_int_equal(match(&hba, "::ffff:192.168.7.7", false, "x", "x"), 5);
    assert_true(hba.rules[1].by_distinguished_name);
    assert_string_equal(hba.rules[1].map, "staff");
    assert_int_equal(hba.rules[1].certificate, HBA_CERT_FULL);
    assert_int_equal(hba.rules[6].certificate, HBA_CERT_CA);
    assert_string_equal(hba_method_name(hba.rules[6].method), "scram-sha-256");
    arena_free(&arena);
}

static void all_of_ipv6_is_not_ipv4(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct hba hba;
    mosaic_error error;
    assert_int_equal(parse(&arena, "host all all ::/0 md5\nhost all all 0.0.0.0/0 reject\n", &hba, &error), MOSAIC_OK);
    assert_int_equal(match(&hba, "::1", false, "x", "x"), 1);
    assert_int_equal(match(&hba, "1.2.3.4", false, "x", "x"), 2);
    assert_int_equal(match(&hba, "::ffff:1.2.3.4", false, "x", "x"), 2);
    arena_free(&arena);
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *where;
    } cases[] = {
        {"host all all\n", "hba.conf:1: the rule is not whole"},
        {"\n\nremote all all all md5\n", "hba.conf:3: \"remote\" is no type"},
        {"local all all peer\n", "\"peer\" is not supported"},
        {"host all all all password\n", "\"password\" is not supported"},
        {"host all +staff all md5\n", "member of a role"},
        {"host samerole all all md5\n", "member of a role"},
        {"host @dbs all all md5\n", "not included"},
        {"include other.conf\n", "not included"},
        {"host /^a all all md5\n", "regular expressions"},
        {"host all all example.org md5\n", "is no address"},
        {"host all all .example.org md5\n", "is no address"},
        {"host all all samenet md5\n", "samenet"},
        {"host all all 10.0.0.0 md5\n", "no network mask"},
        {"host all all 10.0.0.0 ffff:: md5\n", "no network mask"},
        {"host all all 10.0.0.0/33 md5\n", "can't be read"},
        {"host all all 10.0.0.0/ md5\n", "can't be read"},
        {"host all all ::1/129 md5\n", "can't be read"},
        {"host all all 10.0.0.0/8\n", "hba.conf:1: "},
        {"host all all 10.0.0.0/8 trust\n", "trust is for this machine"},
        {"host all all all trust\n", "trust is for this machine"},
        {"host all all 127.0.0.0/7 trust\n", "trust is for this machine"},
        {"host all all ::/0 trust\n", "trust is for this machine"},
        {"host all all all cert\n", "cert needs TLS"},
        {"hostssl all all all md5 map=x\n", "\"map=x\" is not supported for md5"},
        {"host all all all md5 clientcert=verify-ca\n", "needs TLS"},
        {"hostssl all all all cert clientcert=verify-ca\n", "is not supported"},
        {"host all all all md5 ldapserver=x\n", "is not supported"},
        {"host \"all all all md5\n", "a quote is not closed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct arena arena = ARENA_INIT;
        struct hba hba;
        mosaic_error error;
        if (parse(&arena, cases[i].text, &hba, &error) != MOSAIC_CONFIG)
            fail_msg("%s", cases[i].text);
        if (!strstr(error.message, cases[i].where))
            fail_msg("%s: %s", cases[i].text, error.message);
        arena_free(&arena);
    }
}

static void trust_on_this_machine(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct hba hba;
    mosaic_error error;
    assert_int_equal(parse(&arena,
                           "host all all 127.0.0.1/32 trust\nhost all all 127.0.0.0/8 trust\n"
                           "host all all ::1/128 trust\nhost all all samehost trust\nlocal all all trust\n",
                           &hba, &error),
                     MOSAIC_OK);
    assert_int_equal(match(&hba, "127.7.7.7", false, "x", "x"), 2);
    assert_int_equal(match(&hba, "8.8.8.8", false, "x", "x"), 0);
    arena_free(&arena);
}

static void random_networks(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 1000; round++) {
        struct arena arena = ARENA_INIT;
        struct hba hba;
        mosaic_error error;
        char text[100], client[INET_ADDRSTRLEN];
        uint32_t network = (uint32_t)random_bits(&random), bits = random_below(&random, 33);
        uint32_t theirs = network ^ (uint32_t)(random_bits(&random) >> random_below(&random, 64));
        struct in_addr network_address = {htonl(network)}, their_address = {htonl(theirs)};
        inet_ntop(AF_INET, &their_address, client, sizeof client);
        char written[INET_ADDRSTRLEN];
        snprintf(text, sizeof text, "host all all %s/%u md5\n",
                 inet_ntop(AF_INET, &network_address, written, sizeof written), bits);
        assert_int_equal(parse(&arena, text, &hba, &error), MOSAIC_OK);
        bool inside = bits == 0 || (network ^ theirs) >> (32 - bits) == 0;
        assert_int_equal(match(&hba, client, false, "x", "x"), inside);
        arena_free(&arena);
    }
}

static mosaic_status attempt(struct arena *arena, mosaic_error *error)
{
    struct hba hba;
    return parse(arena, "hostssl a,b all 10.0.0.0/8 cert map=x\nlocal all all md5\n", &hba, error);
}

static void memory_out(void **state)
{
    (void)state;
    memory_out_each(attempt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_match_counts),
        cmocka_unit_test(all_of_ipv6_is_not_ipv4),
        cmocka_unit_test(refused),
        cmocka_unit_test(trust_on_this_machine),
        cmocka_unit_test(random_networks),
        cmocka_unit_test(memory_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
