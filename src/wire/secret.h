/*
 * What stands in pg_authid.rolpassword, and what is computed from it: SCRAM's verifiers and keys (RFC 5802, RFC 7677;
 * src/common/scram-common.c), and md5.
 *
 * Passwords are bytes here. A password in Unicode is to be normalised first (proxy/saslprep.h), as PostgreSQL does it
 * for SCRAM, not for md5.
 */
#ifndef MOSAIC_WIRE_SECRET_H
#define MOSAIC_WIRE_SECRET_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdint.h>

enum {
    SCRAM_KEY = 32,
    SCRAM_SALT = 16, /* bytes of the salt of verifiers made here, as PostgreSQL's */
    SCRAM_SALT_MOST = 64,
    SCRAM_ITERATIONS = 4096, /* of verifiers made here, as PostgreSQL's scram_iterations */
    SCRAM_ITERATIONS_MOST = 1000000,
    MD5_PASSWORD = 35, /* "md5" and 32 digits */
};

/* ---- SCRAM ------------------------------------------------------------------------------------------ */

/* SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> */
struct scram_verifier {
    uint32_t iterations;
    uint32_t salt_size;
    unsigned char salt[SCRAM_SALT_MOST];
    unsigned char stored_key[SCRAM_KEY], server_key[SCRAM_KEY];
};

/* The keys to log in with. salt_size is 0 where it is not known which verifier they belong to. */
struct scram_keys {
    unsigned char client_key[SCRAM_KEY], server_key[SCRAM_KEY];
    uint32_t iterations, salt_size;
    unsigned char salt[SCRAM_SALT_MOST];
};

MOSAIC_MUST_CHECK bool scram_verifier_read(const char *text, struct scram_verifier *verifier);
void scram_verifier_write(const struct scram_verifier *verifier, struct buffer *text);
/* Takes about 2 ms for 4,096 iterations. */
MOSAIC_MUST_CHECK mosaic_status scram_verifier_make(const char *password, const unsigned char *salt, size_t salt_size,
                                                    uint32_t iterations, struct scram_verifier *verifier,
                                                    mosaic_error *error);
/*
 * A verifier for a user that does not exist, so that the exchange looks alike and then fails: the salt depends on the
 * name and on the process's secret only.
 */
void scram_verifier_mock(const char *user, const unsigned char secret[32], struct scram_verifier *verifier);
/* As expensive as scram_verifier_make. */
MOSAIC_MUST_CHECK mosaic_status scram_keys_make(const char *password, const unsigned char *salt, size_t salt_size,
                                                uint32_t iterations, struct scram_keys *keys, mosaic_error *error);

/* HMAC-SHA-256 over up to three pieces; a piece is NULL where there is none. False when libcrypto fails. */
struct secret_piece {
    const void *bytes;
    size_t size;
};
MOSAIC_MUST_CHECK bool scram_hmac(const unsigned char key[SCRAM_KEY], const struct secret_piece *pieces, size_t count,
                                  unsigned char result[SCRAM_KEY]);
MOSAIC_MUST_CHECK bool scram_stored_key(const unsigned char client_key[SCRAM_KEY], unsigned char stored_key[SCRAM_KEY]);

/* ---- md5 -------------------------------------------------------------------------------------------- */

/* "md5" || md5(password || user): what pg_authid holds. text has room for MD5_PASSWORD + 1. */
MOSAIC_MUST_CHECK bool md5_verifier(const char *password, const char *user, char *text);
/* The answer to a challenge: "md5" || md5(verifier without "md5" || salt). */
MOSAIC_MUST_CHECK bool md5_answer(const char *verifier, const unsigned char salt[4], char *text);
/* "md5" and 32 hexadecimal digits? */
bool md5_is_verifier(const char *text);

/* ---- all -------------------------------------------------------------------------------------------- */

/* Equal without telling by time where they differ. */
bool secret_equal(const void *a, const void *b, size_t size);
/* Overwrites memory in a way that no compiler leaves out. */
void secret_forget(void *secret, size_t size);

#endif
