#include "proxy/login_client.h"

#include "base/memory.h"
#include "proxy/proxy.h"
#include "proxy/saslprep.h"

#include <string.h>

struct login_client {
    struct account *account;
    const struct tls *tls;
    bool is_local;
    char *password; /* own copy, or NULL */
    struct scram_keys keys;
    char md5[MD5_PASSWORD + 1];
    bool has_keys, has_md5, was_checked;
    struct scram_client *exchange;
};

static void wipe(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    memory_free(secret);
}

static char *copied(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_allocate(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

struct login_client *login_client_new(struct account *account, const char *password, const struct tls *tls,
                                      bool is_local)
{
    struct login_client *login = memory_zeroed(1, sizeof *login);
    if (!login)
        return NULL;
    login->account = account;
    login->tls = tls;
    login->is_local = is_local;
    login->has_md5 = !password && account_md5(account, login->md5);
    pthread_mutex_lock(&account->mutex);
    const char *secret = password ? password : account->password;
    if (secret)
        login->password = copied(secret);
    login->keys = account->keys;
    login->has_keys = account->has_keys;
    pthread_mutex_unlock(&account->mutex);
    return login;
}

void login_client_free(struct login_client *login)
{
    if (!login)
        return;
    scram_client_free(login->exchange);
    wipe(login->password);
    explicit_bzero(login, sizeof *login);
    memory_free(login);
}

static enum login_answer refuse(mosaic_error *error, const char *what)
{
    (void)!error_set(error, MOSAIC_AUTH, "%s", what);
    return LOGIN_FAILED;
}

static enum login_answer lacks_password(struct login_client *login, const char *method, mosaic_error *error)
{
    (void)!error_set(error, MOSAIC_AUTH, "no password is known to log in as \"%s\"", login->account->name);
    error_detail(error, "The shard asks for %s.", method);
    error_hint(error, "give user %s a password in auth_file, or a verifier equal to the shard's", login->account->name);
    return LOGIN_FAILED;
}

void login_nonce(char nonce[SCRAM_NONCE + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char bytes[SCRAM_NONCE];
    proxy_random(bytes, sizeof bytes);
    for (size_t i = 0; i < SCRAM_NONCE; i++)
        nonce[i] = digits[bytes[i] & 63];
    nonce[SCRAM_NONCE] = '\0';
}

static enum login_answer begin_scram(struct login_client *login, const char *message, const struct wire_frame *frame,
                                     struct buffer *answer, mosaic_error *error)
{
    char nonce[SCRAM_NONCE + 1];
    unsigned char hash[TLS_HASH_MOST];
    struct buffer first = BUFFER_INIT(SCRAM_MESSAGE_MOST);
    size_t hash_size = login->tls ? tls_end_point(login->tls, hash) : 0;
    bool plus = hash_size && wire_read_mechanisms(message, frame, "SCRAM-SHA-256-PLUS");
    struct scram_channel channel = {plus, hash_size > 0, hash, plus ? hash_size : 0};
    if (!login->password && !login->has_keys)
        return lacks_password(login, "SCRAM-SHA-256", error);
    if (login->exchange || (!plus && !wire_read_mechanisms(message, frame, "SCRAM-SHA-256")))
        return refuse(error, "the shard offers no way to log in that the proxy knows");
    char *prepared = login->password ? saslprep(login->password) : NULL;
    if (login->password && !prepared) {
        (void)!error_memory(error);
        return LOGIN_FAILED;
    }
    login_nonce(nonce);
    mosaic_status status = scram_client_first(prepared, login->has_keys ? &login->keys : NULL, &channel, nonce, &first,
                                              &login->exchange, error);
    wipe(prepared);
    if (status == MOSAIC_OK)
        wire_sasl_initial(answer, plus ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256", buffer_string(&first), first.size);
    buffer_free(&first);
    return status == MOSAIC_OK ? LOGIN_MORE : LOGIN_FAILED;
}

static enum login_answer go_on_scram(struct login_client *login, struct wire_reader reader, struct buffer *answer,
                                     mosaic_error *error)
{
    struct buffer final = BUFFER_INIT(SCRAM_MESSAGE_MOST);
    if (!login->exchange)
        return refuse(error, "the shard goes on with a login that was not begun");
    mosaic_status status =
        scram_client_final(login->exchange, reader.at, (size_t)(reader.end - reader.at), &final, error);
    if (status == MOSAIC_OK)
        wire_password(answer, buffer_string(&final), final.size);
    buffer_free(&final);
    return status == MOSAIC_OK ? LOGIN_MORE : LOGIN_FAILED;
}

static enum login_answer end_scram(struct login_client *login, struct wire_reader reader, mosaic_error *error)
{
    if (!login->exchange)
        return refuse(error, "the shard ends a login that was not begun");
    if (scram_client_check(login->exchange, reader.at, (size_t)(reader.end - reader.at), error) != MOSAIC_OK)
        return LOGIN_FAILED;
    login->was_checked = true;
    account_set_keys(login->account, scram_client_keys(login->exchange));
    return LOGIN_MORE;
}

static enum login_answer answer_md5(struct login_client *login, struct wire_reader reader, struct buffer *answer,
                                    mosaic_error *error)
{
    char text[MD5_PASSWORD + 1];
    const char *salt = wire_read_bytes(&reader, 4);
    if (!salt || login->exchange)
        return refuse(error, "the shard's question for md5 is malformed");
    if (!login->has_md5 && login->password)
        login->has_md5 = md5_verifier(login->password, login->account->name, login->md5);
    if (!login->has_md5)
        return lacks_password(login, "md5", error);
    if (!md5_answer(login->md5, (const unsigned char *)salt, text))
        return refuse(error, "md5 is not available here");
    wire_password(answer, text, strlen(text) + 1);
    return LOGIN_MORE;
}

/* A password in the clear goes to whoever is at the other end: only where nobody is between. */
static enum login_answer answer_cleartext(struct login_client *login, struct buffer *answer, mosaic_error *error)
{
    if (!login->tls && !login->is_local) {
        (void)!error_set(error, MOSAIC_AUTH,
                         "the shard asks for a password in the clear, over a connection without TLS");
        error_hint(error, "let its pg_hba.conf ask for scram-sha-256, or use sslmode=verify-full");
        return LOGIN_FAILED;
    }
    if (!login->password)
        return lacks_password(login, "a password", error);
    wire_password(answer, login->password, strlen(login->password) + 1);
    return LOGIN_MORE;
}

enum login_answer login_client_message(struct login_client *login, const char *message, const struct wire_frame *frame,
                                       struct buffer *answer, mosaic_error *error)
{
    struct wire_reader reader = wire_body(message, frame);
    uint32_t kind = wire_read32(&reader);
    if (reader.failed)
        return refuse(error, "the shard's question for a login is malformed");
    switch (kind) {
    case WIRE_AUTH_OK:
        if (login->exchange && !login->was_checked)
            return refuse(error, "the shard has not proved that it knows the password");
        return LOGIN_DONE;
    case WIRE_AUTH_CLEARTEXT:
        return answer_cleartext(login, answer, error);
    case WIRE_AUTH_MD5:
        return answer_md5(login, reader, answer, error);
    case WIRE_AUTH_SASL:
        return begin_scram(login, message, frame, answer, error);
    case WIRE_AUTH_SASL_CONTINUE:
        return go_on_scram(login, reader, answer, error);
    case WIRE_AUTH_SASL_FINAL:
        return end_scram(login, reader, error);
    default:
        (void)!error_set(error, MOSAIC_AUTH, "the shard asks for a login of a kind that the proxy has not (%u)", kind);
        return LOGIN_FAILED;
    }
}
