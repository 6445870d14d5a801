#include "proxy/login_server.h"

#include "base/memory.h"
#include "proxy/proxy.h"

#include <string.h>

static const char plain_name[] = "SCRAM-SHA-256", plus_name[] = "SCRAM-SHA-256-PLUS";

struct login_server {
    const char *name;
    struct account *account;        /* NULL: not known */
    struct scram_verifier verifier; /* at first the mock one */
    bool is_mock, is_begun;
    size_t hash_size; /* of the channel; 0: no channel binding */
    unsigned char hash[TLS_HASH_MOST];
    bool asks_md5;
    unsigned char salt[4];
    char md5[MD5_PASSWORD + 1];
    struct scram_server *exchange;
};

struct login_server *login_server_new(const char *name, struct account *account, const unsigned char secret[32])
{
    struct login_server *login = memory_zeroed(1, sizeof *login);
    if (!login)
        return NULL;
    login->name = name;
    login->account = account;
    scram_verifier_mock(name, secret, &login->verifier);
    return login;
}

void login_server_free(struct login_server *login)
{
    if (!login)
        return;
    scram_server_free(login->exchange);
    explicit_bzero(login, sizeof *login);
    memory_free(login);
}

static enum login_answer failed(struct login_server *login, mosaic_error *error)
{
    /* What was wrong is not told: PostgreSQL's own words. */
    (void)!error_set(error, MOSAIC_AUTH, "password authentication failed for user \"%s\"", login->name);
    error_sqlstate(error, "28P01");
    return LOGIN_FAILED;
}

static enum login_answer malformed(mosaic_error *error, const char *what)
{
    (void)!error_set(error, MOSAIC_DATA, "%s", what);
    error_sqlstate(error, "08P01");
    return LOGIN_FAILED;
}

/* A verifier from a plain password has the mock one's salt: so whether a user exists is not to be seen. */
static void find_verifier(struct login_server *login)
{
    struct scram_verifier found;
    unsigned char salt[SCRAM_SALT];
    memcpy(salt, login->verifier.salt, sizeof salt);
    login->is_mock = !login->account || !account_verifier(login->account, salt, &found);
    if (!login->is_mock)
        login->verifier = found;
}

static enum login_answer ask_scram(struct login_server *login, const struct tls *tls, struct buffer *answer)
{
    static const char both[] = "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0", one[] = "SCRAM-SHA-256\0";
    find_verifier(login);
    login->hash_size = tls ? tls_end_point(tls, login->hash) : 0;
    if (login->hash_size)
        wire_authentication(answer, WIRE_AUTH_SASL, both, sizeof both);
    else
        wire_authentication(answer, WIRE_AUTH_SASL, one, sizeof one);
    return LOGIN_MORE;
}

static enum login_answer ask_md5(struct login_server *login, struct buffer *answer)
{
    login->asks_md5 = true;
    proxy_random(login->salt, sizeof login->salt);
    wire_authentication(answer, WIRE_AUTH_MD5, login->salt, sizeof login->salt);
    return LOGIN_MORE;
}

enum login_answer login_server_start(struct login_server *login, enum hba_method method, const struct tls *tls,
                                     struct buffer *answer, mosaic_error *error)
{
    switch (method) {
    case HBA_TRUST:
    case HBA_CERT:
        return LOGIN_DONE;
    case HBA_MD5:
        if (login->account && account_md5(login->account, login->md5))
            return ask_md5(login, answer);
        return ask_scram(login, tls, answer);
    case HBA_SCRAM:
        return ask_scram(login, tls, answer);
    default:
        return failed(login, error);
    }
}

static enum login_answer check_md5(struct login_server *login, struct wire_reader reader, mosaic_error *error)
{
    char right[MD5_PASSWORD + 1];
    const char *given = wire_read_text(&reader);
    if (!wire_read_all(&reader))
        return malformed(error, "invalid password packet size");
    bool equal = md5_answer(login->md5, login->salt, right) && strlen(given) == MD5_PASSWORD &&
                 secret_equal(given, right, MD5_PASSWORD);
    return equal ? LOGIN_DONE : failed(login, error);
}

static enum login_answer begin_scram(struct login_server *login, const char *message, const struct wire_frame *frame,
                                     struct buffer *answer, mosaic_error *error)
{
    char nonce[SCRAM_NONCE + 1];
    struct wire_sasl_initial initial;
    struct buffer first = BUFFER_INIT(SCRAM_MESSAGE_MOST);
    login->is_begun = true;
    if (!wire_read_sasl_initial(message, frame, &initial) || !initial.data)
        return malformed(error, "malformed SASL message");
    bool plus = login->hash_size && strcmp(initial.mechanism, plus_name) == 0;
    if (!plus && strcmp(initial.mechanism, plain_name) != 0)
        return malformed(error, "client selected an invalid SASL authentication mechanism");
    struct scram_channel channel = {plus, login->hash_size > 0, login->hash, plus ? login->hash_size : 0};
    login_nonce(nonce);
    mosaic_status status = scram_server_first(initial.data, initial.size, &login->verifier, login->is_mock, &channel,
                                              nonce, &first, &login->exchange, error);
    if (status == MOSAIC_OK)
        wire_authentication(answer, WIRE_AUTH_SASL_CONTINUE, buffer_string(&first), first.size);
    buffer_free(&first);
    return status == MOSAIC_OK ? LOGIN_MORE : LOGIN_FAILED;
}

/* Where a plain password is known, logins to the shards are by it: these keys are of another salt. */
static void keep_keys(struct login_server *login, const struct scram_keys *keys)
{
    pthread_mutex_lock(&login->account->mutex);
    bool has_password = login->account->password;
    pthread_mutex_unlock(&login->account->mutex);
    if (!has_password)
        account_set_keys(login->account, keys);
}

static enum login_answer end_scram(struct login_server *login, struct wire_reader reader, struct buffer *answer,
                                   mosaic_error *error)
{
    struct scram_keys keys;
    struct buffer final = BUFFER_INIT(SCRAM_MESSAGE_MOST);
    mosaic_status status =
        scram_server_final(login->exchange, reader.at, (size_t)(reader.end - reader.at), &final, &keys, error);
    if (status == MOSAIC_OK) {
        wire_authentication(answer, WIRE_AUTH_SASL_FINAL, buffer_string(&final), final.size);
        keep_keys(login, &keys);
    }
    buffer_free(&final);
    explicit_bzero(&keys, sizeof keys);
    if (status == MOSAIC_AUTH)
        return failed(login, error);
    return status == MOSAIC_OK ? LOGIN_DONE : LOGIN_FAILED;
}

enum login_answer login_server_message(struct login_server *login, const char *message, const struct wire_frame *frame,
                                       struct buffer *answer, mosaic_error *error)
{
    struct wire_reader reader = wire_body(message, frame);
    if (login->asks_md5)
        return check_md5(login, reader, error);
    if (!login->is_begun)
        return begin_scram(login, message, frame, answer, error);
    return login->exchange ? end_scram(login, reader, answer, error) : failed(login, error);
}
