/*
 * The exchanges of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, both sides (RFC 5802, RFC 7677;
 * src/backend/libpq/auth-scram.c, src/interfaces/libpq/fe-auth-scram.c). Pure: nonces and salts are given in.
 *
 *     client                                    server
 *     scram_client_first  ─ n,,n=,r=… ───────►  scram_server_first
 *     scram_client_final  ◄─ r=…,s=…,i=… ─────
 *                         ─ c=…,r=…,p=… ─────►  scram_server_final
 *     scram_client_check  ◄─ v=… ─────────────
 *
 * The keys of a client who has proved himself serve to log in to the shards as him, so that no plain password need be
 * stored: his ClientKey is his proof XOR the signature; the ServerKey is in the verifier. It works where the shard has
 * the same verifier (salt, iterations) that the client was checked against; where not, the error says so.
 */
#ifndef MOSAIC_WIRE_SCRAM_H
#define MOSAIC_WIRE_SCRAM_H

#include "wire/secret.h"

enum {
    SCRAM_NONCE = 24,          /* characters of our part of a nonce: base64 of 18 random bytes */
    SCRAM_NONCE_MOST = 512,    /* of the other's part */
    SCRAM_MESSAGE_MOST = 2048, /* of any message of an exchange */
    SCRAM_BINDING_MOST = 64,   /* of a channel's hash: SHA-512's size */
};

/* What is known of the channel. */
struct scram_channel {
    bool is_plus; /* the mechanism is SCRAM-SHA-256-PLUS */
    /* Server: PLUS was offered, so that a client that says "the server does not do it" was tampered with.
     * Client: PLUS could be done, but the server did not offer it. */
    bool could_plus;
    const unsigned char *binding; /* of PLUS: the tls-server-end-point hash (RFC 5929) */
    size_t binding_size;
};

/* ---- the server's side ------------------------------------------------------------------------------ */

struct scram_server; /* of one exchange; freed by scram_server_free */

/*
 * Takes the client-first-message and writes the server-first-message. is_mock: the verifier is of nobody, and no proof
 * will do. `nonce`: printable, without commas. MOSAIC_DATA: malformed, with SQLSTATE 08P01; MOSAIC_AUTH: of the
 * channel.
 */
MOSAIC_MUST_CHECK mosaic_status scram_server_first(const void *message, size_t size,
                                                   const struct scram_verifier *verifier, bool is_mock,
                                                   const struct scram_channel *channel, const char *nonce,
                                                   struct buffer *answer, struct scram_server **exchange,
                                                   mosaic_error *error);
/* Takes the client-final-message and writes the server-final-message. MOSAIC_AUTH when the proof is wrong. */
MOSAIC_MUST_CHECK mosaic_status scram_server_final(struct scram_server *exchange, const void *message, size_t size,
                                                   struct buffer *answer, struct scram_keys *keys, mosaic_error *error);
void scram_server_free(struct scram_server *exchange); /* NULL is fine */

/* ---- the client's side ------------------------------------------------------------------------------ */

struct scram_client;

/* Starts with a password, with keys, or with both (then keys that fit the server's salt save the time of the password's
 * computation); both are copied, and NULL where there is none. Writes the client-first-message. */
MOSAIC_MUST_CHECK mosaic_status scram_client_first(const char *password, const struct scram_keys *keys,
                                                   const struct scram_channel *channel, const char *nonce,
                                                   struct buffer *message, struct scram_client **exchange,
                                                   mosaic_error *error);
/*
 * Takes the server-first-message and writes the client-final-message. A malicious server is refused, not believed: a
 * nonce that is not ours, no or too many iterations. With a password this takes about 2 ms (4,096 iterations).
 */
MOSAIC_MUST_CHECK mosaic_status scram_client_final(struct scram_client *exchange, const void *message, size_t size,
                                                   struct buffer *answer, mosaic_error *error);
/* Takes the server-final-message: is it a server that knows the verifier? */
MOSAIC_MUST_CHECK mosaic_status scram_client_check(struct scram_client *exchange, const void *message, size_t size,
                                                   mosaic_error *error);
/* The keys that were used: good for the next login with the same salt, without the 2 ms. NULL before _final. */
const struct scram_keys *scram_client_keys(const struct scram_client *exchange);
void scram_client_free(struct scram_client *exchange); /* NULL is fine */

#endif
