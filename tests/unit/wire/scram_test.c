/* The exchanges: RFC 7677's example, our client against our server, what is tampered with, malicious servers. */
#include "../random.h"
#include "base/memory.h"
#include "wire/base64.h"
#include "wire/scram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct scram_channel plain = {0};
static const unsigned char hash[32] = "the hash of a certificate ......";
static const struct scram_channel plus = {true, true, hash, sizeof hash};

static struct scram_verifier verifier_of(const char *password, const char *salt, size_t salt_size, uint32_t iterations)
{
    struct scram_verifier verifier;
    mosaic_error error;
    assert_int_equal(
        scram_verifier_make(password, (const unsigned char *)salt, salt_size, iterations, &verifier, &error),
        MOSAIC_OK);
    return verifier;
}

/* ---- RFC 7677, section 3 ---------------------------------------------------------------------------- */

static const char rfc_client_first[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char rfc_server_first[] =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
static const char rfc_client_final[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                       "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char rfc_server_final[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

static void example_of_the_rfc(void **state)
{
    (void)state;
    char salt[16];
    size_t salt_size;
    assert_true(base64_read("W22ZaJ0SNY7soEsUEjb6gQ==", 24, salt, sizeof salt, &salt_size));
    struct scram_verifier verifier = verifier_of("pencil", salt, salt_size, 4096);
    struct buffer answer = BUFFER_INIT(1000);
    struct scram_server *server;
    struct scram_keys keys, right;
    mosaic_error error;
    assert_int_equal(scram_server_first(rfc_client_first, strlen(rfc_client_first), &verifier, false, &plain,
                                        "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", &answer, &server, &error),
                     MOSAIC_OK);
    assert_string_equal(buffer_string(&answer), rfc_server_first);
    buffer_clear(&answer);
    assert_int_equal(scram_server_final(server, rfc_client_final, strlen(rfc_client_final), &answer, &keys, &error),
                     MOSAIC_OK);
    assert_string_equal(buffer_string(&answer), rfc_server_final);
    assert_int_equal(scram_keys_make("pencil", verifier.salt, verifier.salt_size, 4096, &right, &error), MOSAIC_OK);
    assert_memory_equal(keys.client_key, right.client_key, SCRAM_KEY);
    assert_memory_equal(keys.server_key, right.server_key, SCRAM_KEY);
    scram_server_free(server);
    buffer_free(&answer);
}

/* ---- both sides against each other ------------------------------------------------------------------ */

struct exchange {
    const char *password; /* of the client; NULL: keys */
    const struct scram_keys *keys;
    struct scram_verifier verifier;
    bool is_mock;
    struct scram_channel client_channel, server_channel;
    void (*tamper)(struct exchange *, int step, struct buffer *message); /* step 0 to 3 */
    struct random *random;
    int tampered_step;
    struct scram_keys got;
    mosaic_error error;
};

static mosaic_status exchange_steps(struct exchange *this, struct scram_client **client, struct scram_server **server,
                                    struct buffer message[4])
{
    mosaic_status status = scram_client_first(this->password, this->keys, &this->client_channel,
                                              "abcdefghijklmnopqrstuvwx", &message[0], client, &this->error);
    if (this->tamper && !status)
        this->tamper(this, 0, &message[0]);
    if (!status)
        status =
            scram_server_first(buffer_string(&message[0]), message[0].size, &this->verifier, this->is_mock,
                               &this->server_channel, "012345678901234567890123", &message[1], server, &this->error);
    if (this->tamper && !status)
        this->tamper(this, 1, &message[1]);
    if (!status)
        status = scram_client_final(*client, buffer_string(&message[1]), message[1].size, &message[2], &this->error);
    if (this->tamper && !status)
        this->tamper(this, 2, &message[2]);
    if (!status)
        status = scram_server_final(*server, buffer_string(&message[2]), message[2].size, &message[3], &this->got,
                                    &this->error);
    if (this->tamper && !status)
        this->tamper(this, 3, &message[3]);
    if (!status)
        status = scram_client_check(*client, buffer_string(&message[3]), message[3].size, &this->error);
    return status;
}

static mosaic_status exchange_run(struct exchange *this)
{
    struct scram_client *client = NULL;
    struct scram_server *server = NULL;
    struct buffer message[4];
    for (int i = 0; i < 4; i++)
        message[i] = BUFFER_INIT(SCRAM_MESSAGE_MOST);
    this->error = (mosaic_error){0};
    mosaic_status status = exchange_steps(this, &client, &server, message);
    assert_true(status == MOSAIC_OK || (this->error.status == status && this->error.message[0]));
    for (int i = 0; i < 4; i++)
        buffer_free(&message[i]);
    scram_client_free(client);
    scram_server_free(server);
    return status;
}

static void right_and_wrong_passwords(void **state)
{
    (void)state;
    struct exchange this = {.password = "geheim", .verifier = verifier_of("geheim", "salt", 4, 10)};
    assert_int_equal(exchange_run(&this), MOSAIC_OK);
    struct scram_keys keys = this.got;
    this.password = "geheim ";
    assert_int_equal(exchange_run(&this), MOSAIC_AUTH);
    this.password = "";
    assert_int_equal(exchange_run(&this), MOSAIC_AUTH);
    this.password = "geheim";
    this.is_mock = true;
    assert_int_equal(exchange_run(&this), MOSAIC_AUTH);
    this.is_mock = false;
    /* The keys that the server got are enough to log in, and only with the same verifier. */
    this.password = NULL;
    this.keys = &keys;
    assert_int_equal(exchange_run(&this), MOSAIC_OK);
    this.verifier = verifier_of("geheim", "tlas", 4, 10);
    assert_int_equal(exchange_run(&this), MOSAIC_AUTH);
    assert_non_null(strstr(this.error.message, "another SCRAM verifier"));
    assert_true(this.error.hint[0]);
    keys.salt_size = 0; /* not known: the server finds out */
    assert_int_equal(exchange_run(&this), MOSAIC_AUTH);
    assert_non_null(strstr(this.error.message, "password is wrong"));
}

/* With both, keys that fit save the computation, and others do no harm. */
static void password_and_keys(void **state)
{
    (void)state;
    struct scram_keys keys;
    mosaic_error error;
    struct exchange this = {.password = "geheim", .keys = &keys, .verifier = verifier_of("geheim", "salt", 4, 10)};
    assert_int_equal(scram_keys_make("geheim", (const unsigned char *)"tlas", 4, 10, &keys, &error), MOSAIC_OK);
    assert_int_equal(exchange_run(&this), MOSAIC_OK);
    assert_int_equal(scram_keys_make("geheim", (const unsigned char *)"salt", 4, 10, &keys, &error), MOSAIC_OK);
    this.password = "not needed";
    assert_int_equal(exchange_run(&this), MOSAIC_OK);
}

static void channels(void **state)
{
    (void)state;
    struct exchange this = {.password = "geheim",
                            .verifier = verifier_of("geheim", "salt", 4, 10),
                            .client_channel = plus,
                            .server_channel = plus};
    assert_int_equal(exchange_run(&this), MOSAIC_OK);
    /* Somebody in the middle has another certificate. */
    static const unsigned char other[32] = "another";
    this.server_channel.binding = other;
    assert_int_equal(exchange_run(&this), MOSAIC_AUTH);
    assert_non_null(strstr(this.error.message, "channel binding"));
    /* Somebody in the middle took PLUS out of the server's offer. */
    this.client_channel = (struct scram_channel){.could_plus = true};
    this.server_channel = (struct scram_channel){.could_plus = true};
    assert_int_equal(exchange_run(&this), MOSAIC_AUTH);
    this.client_channel.could_plus = false; /* one that can't do it */
    assert_int_equal(exchange_run(&this), MOSAIC_OK);
    this.client_channel.could_plus = true;
    this.server_channel.could_plus = false;
    assert_int_equal(exchange_run(&this), MOSAIC_OK);
    /* Mechanism and header do not agree. */
    this.server_channel = plus;
    assert_int_equal(exchange_run(&this), MOSAIC_DATA);
    this.client_channel = plus;
    this.server_channel = plain;
    assert_int_equal(exchange_run(&this), MOSAIC_DATA);
    this.client_channel.binding_size = 0;
    assert_int_equal(exchange_run(&this), MOSAIC_INTERNAL);
}

static void change_a_byte(struct exchange *this, int step, struct buffer *message)
{
    if (this->tampered_step != step)
        return;
    size_t at = random_below(this->random, (uint32_t)message->size);
    message->data[at] = (char)(message->data[at] ^ (1 << random_below(this->random, 7)));
}

/* A byte changed anywhere never ends in a login, but for the user's name, which does not count (there is none here),
 * and what PostgreSQL does not look at either. */
static void random_tampering(void **state)
{
    (void)state;
    struct random random = random_start();
    struct exchange this = {.password = "geheim", .tamper = change_a_byte, .random = &random};
    for (int round = 0; round < 2000; round++) {
        bool is_plus = random_below(&random, 2);
        this.verifier = verifier_of("geheim", "salt", 4, 1 + random_below(&random, 3));
        this.client_channel = this.server_channel = is_plus ? plus : plain;
        this.tampered_step = (int)random_below(&random, 4);
        assert_int_not_equal(exchange_run(&this), MOSAIC_OK);
    }
}

static void random_exchanges(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 300; round++) {
        char password[3][20], salt[SCRAM_SALT_MOST];
        for (int p = 0; p < 3; p++) {
            size_t size = random_below(&random, sizeof password[p]);
            for (size_t i = 0; i < size; i++)
                password[p][i] = (char)(1 + random_below(&random, 255));
            password[p][size] = '\0';
        }
        uint32_t salt_size = 1 + random_below(&random, sizeof salt);
        for (uint32_t i = 0; i < salt_size; i++)
            salt[i] = (char)random_bits(&random);
        struct exchange this = {.verifier = verifier_of(password[0], salt, salt_size, 1 + random_below(&random, 5))};
        this.client_channel = this.server_channel = random_below(&random, 2) ? plus : plain;
        this.password = password[random_below(&random, 3)];
        bool right = strcmp(this.password, password[0]) == 0;
        assert_int_equal(exchange_run(&this), right ? MOSAIC_OK : MOSAIC_AUTH);
    }
}

/* ---- malformed and malicious ------------------------------------------------------------------------ */

static mosaic_status server_takes_first(const char *message, size_t size)
{
    struct scram_verifier verifier = verifier_of("geheim", "salt", 4, 1);
    struct buffer answer = BUFFER_INIT(SCRAM_MESSAGE_MOST);
    struct scram_server *server;
    mosaic_error error;
    mosaic_status status =
        scram_server_first(message, size, &verifier, false, &plain, "servernonce", &answer, &server, &error);
    assert_true((status == MOSAIC_OK) == (server != NULL));
    scram_server_free(server);
    buffer_free(&answer);
    return status;
}

static void first_messages(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        mosaic_status status;
    } cases[] = {
        {"n,,n=,r=abc", MOSAIC_OK},
        {"n,,n=anyone,r=abc", MOSAIC_OK},
        {"n,,n=,r=abc,x=extension", MOSAIC_OK},
        {"y,,n=,r=abc", MOSAIC_OK},
        {"", MOSAIC_DATA},
        {"n", MOSAIC_DATA},
        {"n,", MOSAIC_DATA},
        {"n,,", MOSAIC_DATA},
        {"n,,n=", MOSAIC_DATA},
        {"n,,n=,", MOSAIC_DATA},
        {"n,,n=,r", MOSAIC_DATA},
        {"n,,n=,r=", MOSAIC_DATA},
        {"n,,n=,r=,x=y", MOSAIC_DATA},
        {"n,,r=abc,n=", MOSAIC_DATA},
        {"n,,n=,r=a\x7f", MOSAIC_DATA},
        {"n,,n=,r=a b", MOSAIC_DATA},
        {"n,,n=,r=a\xc3\xa4", MOSAIC_DATA},
        {"x,,n=,r=abc", MOSAIC_DATA},
        {"p=tls-server-end-point,,n=,r=abc", MOSAIC_DATA},
        {"p=tls-unique,,n=,r=abc", MOSAIC_DATA},
        {"n,a=bob,n=,r=abc", MOSAIC_UNSUPPORTED},
        {"n,,m=must,n=,r=abc", MOSAIC_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (server_takes_first(cases[i].message, strlen(cases[i].message)) != cases[i].status)
            fail_msg("%s", cases[i].message);
    assert_int_equal(server_takes_first("n,,n=,r=a\0c", 11), MOSAIC_DATA);
    char text[SCRAM_MESSAGE_MOST + 1];
    memset(text, 'r', sizeof text);
    memcpy(text, "n,,n=,r=", 8);
    assert_int_equal(server_takes_first(text, 8 + SCRAM_NONCE_MOST), MOSAIC_OK);
    assert_int_equal(server_takes_first(text, 9 + SCRAM_NONCE_MOST), MOSAIC_DATA);
    assert_int_equal(server_takes_first(text, sizeof text), MOSAIC_DATA);
}

static void final_messages(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        mosaic_status status;
    } cases[] = {
        {"c=biws,r=abcS,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", MOSAIC_AUTH},
        {"c=biws,r=abcS,x=y,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", MOSAIC_AUTH},
        {"c=eSws,r=abcS,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", MOSAIC_AUTH}, /* y, where it was n */
        {"c=biws,r=abcT,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", MOSAIC_DATA},
        {"c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", MOSAIC_DATA},
        {"c=biws,r=abcS,p=AAAA", MOSAIC_DATA},
        {"c=biws,r=abcS,p=", MOSAIC_DATA},
        {"c=biws,r=abcS,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,", MOSAIC_DATA},
        {"c=biws,r=abcS,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,x=y", MOSAIC_DATA},
        {"c=biws,r=abcS", MOSAIC_DATA},
        {"c=biws", MOSAIC_DATA},
        {"r=abcS,c=biws", MOSAIC_DATA},
        {"", MOSAIC_DATA},
    };
    struct scram_verifier verifier = verifier_of("geheim", "salt", 4, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer answer = BUFFER_INIT(SCRAM_MESSAGE_MOST);
        struct scram_server *server;
        struct scram_keys keys;
        mosaic_error error;
        assert_int_equal(scram_server_first("n,,n=,r=abc", 11, &verifier, false, &plain, "S", &answer, &server, &error),
                         MOSAIC_OK);
        if (scram_server_final(server, cases[i].message, strlen(cases[i].message), &answer, &keys, &error) !=
            cases[i].status)
            fail_msg("%s: %s", cases[i].message, error.message);
        scram_server_free(server);
        buffer_free(&answer);
    }
}

static void malicious_servers(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        mosaic_status status;
    } cases[] = {
        {"r=mineYours,s=c2FsdA==,i=1", MOSAIC_OK},
        {"r=mineYours,s=c2FsdA==,i=0", MOSAIC_AUTH},
        {"r=mineYours,s=c2FsdA==,i=1000001", MOSAIC_AUTH},
        {"r=mineYours,s=c2FsdA==,i=2147483647", MOSAIC_AUTH},
        {"r=mineYours,s=c2FsdA==,i=4294967297", MOSAIC_AUTH},
        {"r=mineYours,s=c2FsdA==,i=-1", MOSAIC_AUTH},
        {"r=mineYours,s=c2FsdA==,i=", MOSAIC_AUTH},
        {"r=mineYours,s=c2FsdA==,i=1x", MOSAIC_AUTH},
        {"r=mineYours,s=,i=1", MOSAIC_DATA},
        {"r=mineYours,s=?,i=1", MOSAIC_DATA},
        {"r=mine,s=c2FsdA==,i=1", MOSAIC_DATA}, /* nothing of its own */
        {"r=yours,s=c2FsdA==,i=1", MOSAIC_DATA},
        {"r=min", MOSAIC_DATA},
        {"r=mineYours\x01,s=c2FsdA==,i=1", MOSAIC_DATA},
        {"m=must,r=mineYours,s=c2FsdA==,i=1", MOSAIC_UNSUPPORTED},
        {"", MOSAIC_DATA},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer answer = BUFFER_INIT(SCRAM_MESSAGE_MOST);
        struct scram_client *client;
        mosaic_error error;
        assert_int_equal(scram_client_first("geheim", NULL, &plain, "mine", &answer, &client, &error), MOSAIC_OK);
        assert_null(scram_client_keys(client));
        assert_int_equal(scram_client_check(client, rfc_server_final, strlen(rfc_server_final), &error), MOSAIC_DATA);
        if (scram_client_final(client, cases[i].message, strlen(cases[i].message), &answer, &error) != cases[i].status)
            fail_msg("%s: %s", cases[i].message, error.message);
        /* The signature is of somebody who does not know the verifier. */
        if (cases[i].status == MOSAIC_OK) {
            assert_non_null(scram_client_keys(client));
            assert_int_equal(scram_client_check(client, rfc_server_final, strlen(rfc_server_final), &error),
                             MOSAIC_AUTH);
            assert_int_equal(scram_client_check(client, "v=AAAA", 6, &error), MOSAIC_DATA);
            assert_int_equal(scram_client_check(client, "", 0, &error), MOSAIC_DATA);
            assert_int_equal(scram_client_check(client, "e=other-error", 13, &error), MOSAIC_AUTH);
            assert_non_null(strstr(error.message, "other-error"));
        }
        scram_client_free(client);
        buffer_free(&answer);
    }
}

static void memory_out(void **state)
{
    (void)state;
    struct exchange this = {.password = "geheim", .verifier = verifier_of("geheim", "salt", 4, 1)};
    long after = 0;
    for (mosaic_status status = MOSAIC_MEMORY; status; after++) {
        memory_fail_after(after);
        status = exchange_run(&this);
        memory_fail_after(-1);
        assert_true(after < 1000);
    }
    assert_true(after > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_of_the_rfc), cmocka_unit_test(right_and_wrong_passwords),
        cmocka_unit_test(password_and_keys),  cmocka_unit_test(channels),
        cmocka_unit_test(random_tampering),   cmocka_unit_test(random_exchanges),
        cmocka_unit_test(first_messages),     cmocka_unit_test(final_messages),
        cmocka_unit_test(malicious_servers),  cmocka_unit_test(memory_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
