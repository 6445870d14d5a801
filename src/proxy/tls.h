/*
 * TLS over a non-blocking socket, both sides (OpenSSL).
 *
 *     tls = tls_new(context, fd, host);  from now on:
 *     tls_read / tls_write instead of recv / send; the handshake happens inside of them
 *
 * A context is made of files, once (tls_context_server at each RELOAD, tls_context_client with each target), and shared
 * by all threads; connections made before keep the old one alive. At least TLS 1.2. No renegotiation, no compression,
 * no session tickets. Buffers are given back while a connection is idle.
 */
#ifndef MOSAIC_PROXY_TLS_H
#define MOSAIC_PROXY_TLS_H

#include "base/error.h"
#include "config/settings.h"

#include <sys/types.h>

struct tls_context;
struct tls;

enum { TLS_HASH_MOST = 64, TLS_NAME_MOST = 1024 };

/* ---- contexts --------------------------------------------------------------------------------------- */

struct tls_server_files {
    const char *certificate, *key;
    const char *authority; /* who signs clients' certificates; NULL: none are asked for */
};

/* mode: VERIFY_CA and VERIFY_FULL demand a certificate of each client. *context is NULL for DISABLE. */
MOSAIC_MUST_CHECK mosaic_status tls_context_server(enum tls_mode mode, const struct tls_server_files *files,
                                                   struct tls_context **context, mosaic_error *error);

/* As in a conninfo; NULL: not given, so libpq's defaults (~/.postgresql/root.crt …) count where they exist. */
struct tls_client_files {
    const char *sslmode, *sslrootcert, *sslcert, *sslkey, *sslcrl, *sslsni;
};

/* *context is NULL for disable. MOSAIC_CONFIG names the file or the mode. */
MOSAIC_MUST_CHECK mosaic_status tls_context_client(const struct tls_client_files *files, struct tls_context **context,
                                                   mosaic_error *error);
enum tls_mode tls_context_mode(const struct tls_context *context); /* TLS_DISABLE for NULL */
void tls_context_free(struct tls_context *context);                /* NULL is fine */

/* ---- connections ------------------------------------------------------------------------------------ */

/* The socket stays the caller's. host: of a server, whose name is checked as sslmode says; else NULL. NULL: no memory.
 */
struct tls *tls_new(struct tls_context *context, int fd, const char *host);
/* Another connection as this one of ours to a server: with its certificates, name and checks, on another socket to the
 * same address. NULL: no memory. */
struct tls *tls_again(const struct tls *tls, int fd);
/* Says good-bye if that costs no waiting, and frees it. NULL is fine. */
void tls_free(struct tls *tls);
/* Bytes that were read from the socket already: of a client that began with TLS. False: memory is out. */
MOSAIC_MUST_CHECK bool tls_feed(struct tls *tls, const void *bytes, size_t size);

/* How many bytes were read; 0: none are there; -1: the end, or a failure. *more: there may be more without an event. */
ssize_t tls_read(struct tls *tls, void *bytes, size_t size, bool *more);
/* How many were taken, also 0; -1: a failure. What was not taken must be given again, in front of what follows. */
ssize_t tls_write(struct tls *tls, const void *bytes, size_t size);
/* The last call waits until the socket has room: ask for that event. */
bool tls_wants_room(const struct tls *tls);
bool tls_is_ready(const struct tls *tls); /* the handshake is over */
/* What went wrong, for people; "" for nothing. Valid as long as tls is. */
const char *tls_problem(const struct tls *tls);

/* ---- what is known of the other side ---------------------------------------------------------------- */

/* Did both agree on ALPN's "postgresql"? */
bool tls_has_alpn(const struct tls *tls);
/* The verified certificate's common name, or distinguished name (RFC 2253); false: none, or one with a zero byte. */
bool tls_peer_name(const struct tls *tls, bool distinguished, char name[TLS_NAME_MOST]);
/* The tls-server-end-point hash of the server's certificate (RFC 5929); 0: the certificate's signature has no hash. */
size_t tls_end_point(const struct tls *tls, unsigned char hash[TLS_HASH_MOST]);
const char *tls_version(const struct tls *tls); /* "TLSv1.3" */
const char *tls_cipher(const struct tls *tls);

#endif
