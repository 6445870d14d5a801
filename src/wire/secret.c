#include "wire/secret.h"

#include "wire/base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

static const char scheme[] = "SCRAM-SHA-256$";

/* ---- SCRAM ------------------------------------------------------------------------------------------ */

bool scram_hmac(const unsigned char key[SCRAM_KEY], const struct secret_piece *pieces, size_t count,
                unsigned char result[SCRAM_KEY])
{
    struct buffer text = BUFFER_INIT(64 * 1024);
    unsigned size = 0;
    for (size_t i = 0; i < count; i++)
        buffer_add(&text, pieces[i].bytes, pieces[i].size);
    bool done = !buffer_failed(&text) && HMAC(EVP_sha256(), key, SCRAM_KEY, (const unsigned char *)buffer_string(&text),
                                              text.size, result, &size);
    buffer_free(&text);
    return done && size == SCRAM_KEY;
}

bool scram_stored_key(const unsigned char client_key[SCRAM_KEY], unsigned char stored_key[SCRAM_KEY])
{
    return SHA256(client_key, SCRAM_KEY, stored_key);
}

static bool derive(const unsigned char salted[SCRAM_KEY], const char *what, unsigned char key[SCRAM_KEY])
{
    return scram_hmac(salted, &(struct secret_piece){what, strlen(what)}, 1, key);
}

mosaic_status scram_keys_make(const char *password, const unsigned char *salt, size_t salt_size, uint32_t iterations,
                              struct scram_keys *keys, mosaic_error *error)
{
    unsigned char salted[SCRAM_KEY];
    if (iterations < 1 || iterations > SCRAM_ITERATIONS_MOST)
        return error_set(error, MOSAIC_AUTH, "SCRAM with %u iterations: 1 to %d are accepted", iterations,
                         SCRAM_ITERATIONS_MOST);
    if (salt_size < 1 || salt_size > SCRAM_SALT_MOST)
        return error_set(error, MOSAIC_AUTH, "SCRAM with a salt of %zu bytes: 1 to %d are accepted", salt_size,
                         SCRAM_SALT_MOST);
    bool done = PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)salt_size, (int)iterations, EVP_sha256(),
                                  SCRAM_KEY, salted) == 1;
    done = done && derive(salted, "Client Key", keys->client_key) && derive(salted, "Server Key", keys->server_key);
    secret_forget(salted, sizeof salted);
    if (!done)
        return error_set(error, MOSAIC_INTERNAL, "libcrypto could not compute SCRAM's keys");
    keys->iterations = iterations;
    keys->salt_size = (uint32_t)salt_size;
    memcpy(keys->salt, salt, salt_size);
    return MOSAIC_OK;
}

mosaic_status scram_verifier_make(const char *password, const unsigned char *salt, size_t salt_size,
                                  uint32_t iterations, struct scram_verifier *verifier, mosaic_error *error)
{
    struct scram_keys keys;
    mosaic_status status = scram_keys_make(password, salt, salt_size, iterations, &keys, error);
    *verifier = (struct scram_verifier){.iterations = iterations, .salt_size = (uint32_t)salt_size};
    if (status)
        return status;
    memcpy(verifier->salt, salt, salt_size);
    memcpy(verifier->server_key, keys.server_key, SCRAM_KEY);
    bool done = scram_stored_key(keys.client_key, verifier->stored_key);
    secret_forget(&keys, sizeof keys);
    return done ? MOSAIC_OK : error_set(error, MOSAIC_INTERNAL, "libcrypto could not compute SCRAM's keys");
}

/* The part of a verifier up to `end`, as base64 of exactly SCRAM_KEY bytes. */
static bool read_key(const char *text, const char *end, unsigned char key[SCRAM_KEY])
{
    size_t size;
    return base64_read(text, (size_t)(end - text), key, SCRAM_KEY, &size) && size == SCRAM_KEY;
}

bool scram_verifier_read(const char *text, struct scram_verifier *verifier)
{
    char *salt;
    size_t salt_size;
    *verifier = (struct scram_verifier){0};
    if (strncmp(text, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *iterations = text + sizeof scheme - 1;
    if (*iterations < '0' || *iterations > '9')
        return false;
    unsigned long count = strtoul(iterations, &salt, 10);
    const char *stored = *salt == ':' ? strchr(salt, '$') : NULL;
    const char *server = stored ? strchr(stored, ':') : NULL;
    if (!server || count < 1 || count > SCRAM_ITERATIONS_MOST ||
        !base64_read(salt + 1, (size_t)(stored - salt - 1), verifier->salt, SCRAM_SALT_MOST, &salt_size) ||
        salt_size == 0)
        return false;
    verifier->iterations = (uint32_t)count;
    verifier->salt_size = (uint32_t)salt_size;
    return read_key(stored + 1, server, verifier->stored_key) &&
           read_key(server + 1, server + strlen(server), verifier->server_key);
}

void scram_verifier_write(const struct scram_verifier *verifier, struct buffer *text)
{
    buffer_format(text, "%s%u:", scheme, verifier->iterations);
    base64_write(verifier->salt, verifier->salt_size, text);
    buffer_char(text, '$');
    base64_write(verifier->stored_key, SCRAM_KEY, text);
    buffer_char(text, ':');
    base64_write(verifier->server_key, SCRAM_KEY, text);
}

void scram_verifier_mock(const char *user, const unsigned char secret[32], struct scram_verifier *verifier)
{
    unsigned char salt[SCRAM_KEY] = {0};
    *verifier = (struct scram_verifier){.iterations = SCRAM_ITERATIONS, .salt_size = SCRAM_SALT};
    /* Where it fails the salt is one for all: no proof is right for it either way. */
    if (!scram_hmac(secret, &(struct secret_piece){user, strlen(user)}, 1, salt))
        memset(salt, 0, sizeof salt);
    memcpy(verifier->salt, salt, SCRAM_SALT);
}

/* ---- md5 -------------------------------------------------------------------------------------------- */

static bool md5_text(const void *bytes, size_t size, char *text)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_size = 0;
    if (EVP_Digest(bytes, size, digest, &digest_size, EVP_md5(), NULL) != 1 || digest_size != 16)
        return false; /* as where only what FIPS allows is there */
    memcpy(text, "md5", 3);
    for (size_t i = 0; i < 16; i++) {
        text[3 + 2 * i] = "0123456789abcdef"[digest[i] >> 4];
        text[4 + 2 * i] = "0123456789abcdef"[digest[i] & 15];
    }
    text[MD5_PASSWORD] = '\0';
    return true;
}

bool md5_verifier(const char *password, const char *user, char *text)
{
    struct buffer both = BUFFER_INIT(64 * 1024);
    buffer_text(&both, password);
    buffer_text(&both, user);
    bool done = !buffer_failed(&both) && md5_text(buffer_string(&both), both.size, text);
    if (both.data)
        secret_forget(both.data, both.size);
    buffer_free(&both);
    return done;
}

bool md5_answer(const char *verifier, const unsigned char salt[4], char *text)
{
    char both[MD5_PASSWORD - 3 + 4];
    if (!md5_is_verifier(verifier))
        return false;
    memcpy(both, verifier + 3, MD5_PASSWORD - 3);
    memcpy(both + MD5_PASSWORD - 3, salt, 4);
    return md5_text(both, sizeof both, text);
}

bool md5_is_verifier(const char *text)
{
    return strncmp(text, "md5", 3) == 0 && strlen(text) == MD5_PASSWORD &&
           strspn(text + 3, "0123456789abcdef") == MD5_PASSWORD - 3;
}

/* ---- all -------------------------------------------------------------------------------------------- */

bool secret_equal(const void *a, const void *b, size_t size)
{
    return CRYPTO_memcmp(a, b, size) == 0;
}

void secret_forget(void *secret, size_t size)
{
    OPENSSL_cleanse(secret, size);
}
