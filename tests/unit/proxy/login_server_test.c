/*
 * The login of a client by login_server.c, answered by login_client.c, which logs in to shards the same way: every kind
 * of secret with every method, right and wrong passwords, keys that go through, and messages that are none.
 */
#include "../random.h"
#include "base/memory.h"
#include "proxy/login_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const unsigned char process_secret[32] = "of this process";
static const char password[] = "p\xc3\xa4ss w\xc2\xadrd";

static struct auth_user user_of(enum secret_kind kind, char *text, size_t size)
{
    struct buffer out = BUFFER_INIT(1000);
    struct scram_verifier verifier;
    if (kind == SECRET_PLAIN) {
        snprintf(text, size, "%s", password);
    } else if (kind == SECRET_MD5) {
        assert_true(md5_verifier(password, "anna", text));
    } else {
        assert_int_equal(
            scram_verifier_make("p\xc3\xa4ss wrd", (const unsigned char *)"0123456789abcdef", 16, 5, &verifier, NULL),
            MOSAIC_OK);
        scram_verifier_write(&verifier, &out);
        snprintf(text, size, "%s", buffer_string(&out));
        buffer_free(&out);
    }
    struct auth_user user = auth_user_of("anna", text);
    assert_int_equal(user.kind, kind);
    return user;
}

/* Each message of the one is given to the other, until one of them has an answer that ends it. */
static enum login_answer talk(struct login_server *server, struct login_client *client, struct buffer *from_server,
                              mosaic_error *error)
{
    struct wire_frame frame;
    enum login_answer answer = LOGIN_MORE;
    for (size_t at = 0; answer == LOGIN_MORE && at < from_server->size;) {
        struct buffer from_client = BUFFER_INIT(10000);
        assert_int_equal(wire_peek(from_server->data + at, from_server->size - at, &frame), WIRE_MESSAGE);
        enum login_answer theirs = login_client_message(client, from_server->data + at, &frame, &from_client, error);
        at += frame.size;
        if (theirs == LOGIN_FAILED)
            answer = LOGIN_FAILED;
        else if (from_client.size) {
            assert_int_equal(wire_peek(from_client.data, from_client.size, &frame), WIRE_MESSAGE);
            assert_int_equal(frame.size, from_client.size);
            answer = login_server_message(server, from_client.data, &frame, from_server, error);
        }
        buffer_free(&from_client);
    }
    return answer;
}

/* Logs in to `account` with what `own` knows, and a password where there is one. */
static enum login_answer log_in(struct account *account, enum hba_method method, struct account *own, const char *with)
{
    mosaic_error error = {.message = ""};
    struct buffer from_server = BUFFER_INIT(10000);
    struct login_server *server = login_server_new("anna", account, process_secret);
    struct login_client *client = login_client_new(own, with, NULL, false);
    assert_true(server && client);
    enum login_answer answer = login_server_start(server, method, NULL, &from_server, &error);
    if (answer == LOGIN_MORE)
        answer = talk(server, client, &from_server, &error);
    assert_true(answer != LOGIN_FAILED || error.message[0]);
    login_server_free(server);
    login_client_free(client);
    buffer_free(&from_server);
    return answer;
}

static void every_secret_with_every_method(void **state)
{
    (void)state;
    static const enum login_answer right[3][2] = {
        [SECRET_PLAIN] = {LOGIN_DONE, LOGIN_DONE},
        [SECRET_MD5] = {LOGIN_FAILED, LOGIN_DONE}, /* by SCRAM, by md5 */
        [SECRET_SCRAM] = {LOGIN_DONE, LOGIN_DONE},
    };
    for (int kind = 0; kind < 3; kind++) {
        for (int by_md5 = 0; by_md5 < 2; by_md5++) {
            enum hba_method method = by_md5 ? HBA_MD5 : HBA_SCRAM;
            struct accounts accounts, others;
            char secret[300];
            struct auth_user user = user_of((enum secret_kind)kind, secret, sizeof secret);
            accounts_init(&accounts);
            accounts_init(&others);
            struct account *account = account_get(&accounts, "anna"), *own = account_get(&others, "anna");
            account_learn(account, &user);
            assert_int_equal(log_in(account, method, own, password), right[kind][by_md5]);
            assert_int_equal(log_in(account, method, own, "wrong"), LOGIN_FAILED);
            assert_int_equal(log_in(account, method, own, ""), LOGIN_FAILED);
            assert_int_equal(log_in(NULL, method, own, password), LOGIN_FAILED);
            assert_int_equal(log_in(account, HBA_TRUST, own, "wrong"), LOGIN_DONE);
            assert_int_equal(log_in(account, HBA_REJECT, own, password), LOGIN_FAILED);
            accounts_free(&accounts);
            accounts_free(&others);
        }
    }
}

/* What the proxy knows of a client after his login opens a shard with the same verifier, and no other. */
static void keys_go_through(void **state)
{
    (void)state;
    struct accounts accounts, shard;
    char secret[300], plain[300];
    struct auth_user user = user_of(SECRET_SCRAM, secret, sizeof secret);
    struct auth_user another = user_of(SECRET_PLAIN, plain, sizeof plain);
    accounts_init(&accounts);
    accounts_init(&shard);
    struct account *account = account_get(&accounts, "anna"), *there = account_get(&shard, "anna");
    account_learn(account, &user);
    account_learn(there, &user);
    assert_int_equal(log_in(there, HBA_SCRAM, account, NULL), LOGIN_FAILED); /* before */
    assert_int_equal(log_in(account, HBA_SCRAM, account_get(&shard, "client"), password), LOGIN_DONE);
    assert_int_equal(log_in(there, HBA_SCRAM, account, NULL), LOGIN_DONE);
    assert_int_equal(log_in(there, HBA_MD5, account, NULL), LOGIN_DONE);
    account_learn(account, &user); /* the same: nothing is forgotten */
    assert_int_equal(log_in(there, HBA_SCRAM, account, NULL), LOGIN_DONE);
    account_learn(there, &another); /* the same password, another salt */
    assert_int_equal(log_in(there, HBA_SCRAM, account, NULL), LOGIN_FAILED);
    account_learn(account, &another);
    assert_int_equal(log_in(there, HBA_SCRAM, account, NULL), LOGIN_DONE); /* by the password */
    assert_int_equal(log_in(there, HBA_SCRAM, account, NULL), LOGIN_DONE); /* by the keys computed from it */
    accounts_free(&accounts);
    accounts_free(&shard);
}

static void messages_that_are_none(void **state)
{
    (void)state;
    struct random random = random_start();
    struct accounts accounts;
    char secret[300];
    struct auth_user user = user_of(SECRET_SCRAM, secret, sizeof secret);
    accounts_init(&accounts);
    struct account *account = account_get(&accounts, "anna");
    account_learn(account, &user);
    for (int round = 0; round < 3000; round++) {
        struct login_server *server =
            login_server_new("anna", random_below(&random, 4) ? account : NULL, process_secret);
        struct buffer out = BUFFER_INIT(10000), in = BUFFER_INIT(10000);
        mosaic_error error;
        assert_non_null(server);
        assert_int_equal(login_server_start(server, HBA_SCRAM, NULL, &out, &error), LOGIN_MORE);
        for (int i = 0; i < 3; i++) {
            static const char first[] = "n,,n=,r=abcdefgh";
            struct wire_frame frame;
            buffer_clear(&in);
            wire_sasl_initial(&in, "SCRAM-SHA-256", first, sizeof first - 1);
            for (uint32_t damage = random_below(&random, 3); damage > 0; damage--)
                in.data[WIRE_HEADER + random_below(&random, (uint32_t)in.size - WIRE_HEADER)] =
                    (char)random_bits(&random);
            assert_int_equal(wire_peek(in.data, in.size, &frame), WIRE_MESSAGE);
            assert_int_not_equal(login_server_message(server, in.data, &frame, &out, &error), LOGIN_DONE);
        }
        buffer_free(&in);
        buffer_free(&out);
        login_server_free(server);
    }
    accounts_free(&accounts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_secret_with_every_method),
        cmocka_unit_test(keys_go_through),
        cmocka_unit_test(messages_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
