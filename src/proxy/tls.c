/*
 * A BIO of our own between OpenSSL and the socket: it sends with MSG_NOSIGNAL, hands out first the bytes that were read
 * before TLS began, and notes when a read emptied the socket, so that no second read need find that out.
 */
#include "proxy/tls.h"

#include "base/memory.h"
#include "proxy/tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct tls {
    SSL *ssl;
    int fd;
    bool is_server;
    bool drained;    /* the last read from the socket took all there was */
    bool wants_room; /* the last write found none */
    bool has_failed;
    char *fed; /* bytes read before */
    size_t fed_at, fed_size;
    char problem[200];
};

/* ---- the BIO ---------------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *bytes, int size)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->fed) {
        size_t left = tls->fed_size - tls->fed_at, part = left < (size_t)size ? left : (size_t)size;
        memcpy(bytes, tls->fed + tls->fed_at, part);
        tls->fed_at += part;
        if (tls->fed_at == tls->fed_size) {
            memory_free(tls->fed);
            tls->fed = NULL;
        }
        return (int)part;
    }
    ssize_t got;
    do
        got = recv(tls->fd, bytes, (size_t)size, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    tls->drained = got < size;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(bio);
    return (int)got;
}

static int bio_write(BIO *bio, const char *bytes, int size)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t sent;
    BIO_clear_retry_flags(bio);
    do
        sent = send(tls->fd, bytes, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        tls->wants_room = true;
        BIO_set_retry_write(bio);
    }
    return (int)sent;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pgmosaic socket");
    if (method) {
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_write(method, bio_write);
        BIO_meth_set_ctrl(method, bio_control);
    }
}

/* ---- connections ------------------------------------------------------------------------------------ */

static bool name_server(SSL *ssl, const struct tls_context *context, const char *host)
{
    unsigned char address[16];
    bool is_address = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    if (!is_address && context->sends_name && *host && SSL_set_tlsext_host_name(ssl, host) != 1)
        return false;
    if (context->mode != TLS_VERIFY_FULL)
        return true;
    if (is_address)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    /* No name would be no check. */
    return *host && SSL_set1_host(ssl, host) == 1;
}

static struct tls *make(SSL_CTX *context, int fd, bool is_server)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    struct tls *tls = memory_zeroed(1, sizeof *tls);
    BIO *bio = tls && method ? BIO_new(method) : NULL;
    if (!bio) {
        memory_free(tls);
        return NULL;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    tls->fd = fd;
    tls->is_server = is_server;
    tls->ssl = SSL_new(context);
    if (!tls->ssl) {
        BIO_free(bio);
        memory_free(tls);
        return NULL;
    }
    SSL_set_bio(tls->ssl, bio, bio);
    if (is_server)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    return tls;
}

struct tls *tls_new(struct tls_context *context, int fd, const char *host)
{
    struct tls *tls = make(context->ssl, fd, context->is_server);
    if (!tls || context->is_server || name_server(tls->ssl, context, host ? host : ""))
        return tls;
    tls_free(tls);
    return NULL;
}

struct tls *tls_again(const struct tls *before, int fd)
{
    const char *name = SSL_get_servername(before->ssl, TLSEXT_NAMETYPE_host_name);
    struct tls *tls = make(SSL_get_SSL_CTX(before->ssl), fd, false);
    if (tls && SSL_set1_param(tls->ssl, SSL_get0_param(before->ssl)) == 1 &&
        (!name || SSL_set_tlsext_host_name(tls->ssl, name) == 1))
        return tls;
    tls_free(tls);
    return NULL;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    if (tls->ssl) {
        if (SSL_is_init_finished(tls->ssl) && !tls->has_failed)
            SSL_shutdown(tls->ssl);
        SSL_free(tls->ssl);
    }
    ERR_clear_error();
    memory_free(tls->fed);
    memory_free(tls);
}

bool tls_feed(struct tls *tls, const void *bytes, size_t size)
{
    if (size == 0)
        return true;
    tls->fed = memory_allocate(size);
    if (!tls->fed)
        return false;
    memcpy(tls->fed, bytes, size);
    tls->fed_size = size;
    return true;
}

static void fail(struct tls *tls, int kind)
{
    unsigned long code = ERR_peek_last_error();
    long verdict = SSL_get_verify_result(tls->ssl);
    int system = errno;
    tls->has_failed = true;
    if (tls->problem[0])
        return;
    if (verdict != X509_V_OK && !SSL_is_init_finished(tls->ssl))
        snprintf(tls->problem, sizeof tls->problem, "TLS: the certificate is not accepted: %s",
                 X509_verify_cert_error_string(verdict));
    else if (code != 0 && ERR_reason_error_string(code))
        snprintf(tls->problem, sizeof tls->problem, "TLS: %s", ERR_reason_error_string(code));
    else if (kind == SSL_ERROR_SYSCALL && system != 0)
        snprintf(tls->problem, sizeof tls->problem, "TLS: %s", strerror(system));
    else if (!SSL_is_init_finished(tls->ssl))
        snprintf(tls->problem, sizeof tls->problem, "TLS: the connection ended during the handshake");
}

ssize_t tls_read(struct tls *tls, void *bytes, size_t size, bool *more)
{
    size_t got = 0;
    *more = false;
    if (tls->has_failed)
        return -1;
    tls->drained = tls->wants_room = false;
    ERR_clear_error();
    errno = 0;
    if (SSL_read_ex(tls->ssl, bytes, size, &got) == 1) {
        *more = !tls->drained || SSL_has_pending(tls->ssl);
        return (ssize_t)got;
    }
    int kind = SSL_get_error(tls->ssl, 0);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
        return 0;
    fail(tls, kind);
    return -1;
}

ssize_t tls_write(struct tls *tls, const void *bytes, size_t size)
{
    size_t sent = 0;
    if (tls->has_failed)
        return -1;
    tls->wants_room = false;
    ERR_clear_error();
    errno = 0;
    if (SSL_write_ex(tls->ssl, bytes, size, &sent) == 1)
        return (ssize_t)sent;
    int kind = SSL_get_error(tls->ssl, 0);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
        return 0;
    fail(tls, kind);
    return -1;
}

bool tls_wants_room(const struct tls *tls)
{
    return tls->wants_room;
}

bool tls_is_ready(const struct tls *tls)
{
    return SSL_is_init_finished(tls->ssl);
}

const char *tls_problem(const struct tls *tls)
{
    return tls->problem;
}

/* ---- what is known of the other side ---------------------------------------------------------------- */

bool tls_has_alpn(const struct tls *tls)
{
    const unsigned char *name;
    unsigned size;
    SSL_get0_alpn_selected(tls->ssl, &name, &size);
    return size == strlen(TLS_ALPN) && memcmp(name, TLS_ALPN, size) == 0;
}

static bool copy_common_name(X509_NAME *subject, char name[TLS_NAME_MOST])
{
    int size = X509_NAME_get_text_by_NID(subject, NID_commonName, name, TLS_NAME_MOST);
    return size > 0 && size < TLS_NAME_MOST - 1 && strlen(name) == (size_t)size;
}

static bool copy_distinguished_name(X509_NAME *subject, char name[TLS_NAME_MOST])
{
    BIO *text = BIO_new(BIO_s_mem());
    char *bytes;
    bool done = false;
    if (text && X509_NAME_print_ex(text, subject, 0, XN_FLAG_RFC2253) >= 0) {
        long size = BIO_get_mem_data(text, &bytes);
        done = size > 0 && size < TLS_NAME_MOST && !memchr(bytes, '\0', (size_t)size);
        if (done) {
            memcpy(name, bytes, (size_t)size);
            name[size] = '\0';
        }
    }
    BIO_free(text);
    return done;
}

bool tls_peer_name(const struct tls *tls, bool distinguished, char name[TLS_NAME_MOST])
{
    X509 *certificate = SSL_get0_peer_certificate(tls->ssl);
    if (!certificate || SSL_get_verify_result(tls->ssl) != X509_V_OK)
        return false;
    X509_NAME *subject = X509_get_subject_name(certificate);
    return distinguished ? copy_distinguished_name(subject, name) : copy_common_name(subject, name);
}

size_t tls_end_point(const struct tls *tls, unsigned char hash[TLS_HASH_MOST])
{
    X509 *certificate = tls->is_server ? SSL_get_certificate(tls->ssl) : SSL_get0_peer_certificate(tls->ssl);
    int algorithm = NID_undef;
    unsigned size = 0;
    if (!certificate || !X509_get_signature_info(certificate, &algorithm, NULL, NULL, NULL) || algorithm == NID_undef)
        return 0;
    /* RFC 5929: MD5 and SHA-1 are replaced by SHA-256. */
    const EVP_MD *digest =
        algorithm == NID_md5 || algorithm == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(algorithm);
    if (!digest || EVP_MD_get_size(digest) > TLS_HASH_MOST || !X509_digest(certificate, digest, hash, &size))
        return 0;
    return size;
}

const char *tls_version(const struct tls *tls)
{
    return SSL_get_version(tls->ssl);
}

const char *tls_cipher(const struct tls *tls)
{
    return SSL_get_cipher_name(tls->ssl);
}
