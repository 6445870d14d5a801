#include "proxy/tls_context.h"

#include "base/memory.h"

#include <errno.h>
#include <openssl/err.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_MOST = 4096 };

static const unsigned char alpn_list[] = "\x0a" TLS_ALPN;

/* ---- both sides ------------------------------------------------------------------------------------- */

static mosaic_status openssl_failed(mosaic_error *error, const char *what, const char *path)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return error_set(error, MOSAIC_CONFIG, "%s \"%s\" can't be used: %s", what, path,
                     reason ? reason : "OpenSSL does not say why");
}

/* A key that others can read is no secret (as libpq and PostgreSQL see it). */
static mosaic_status check_key_file(const char *path, mosaic_error *error)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return error_set(error, MOSAIC_CONFIG, "key file \"%s\" can't be read: %s", path, strerror(errno));
    mode_t others = status.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if (!S_ISREG(status.st_mode) || (status.st_mode & others) == 0)
        return MOSAIC_OK;
    error_set(error, MOSAIC_CONFIG, "key file \"%s\" can be read by others", path);
    return error_hint(error, "chmod 0600 it; one of root's may be 0640.");
}

static mosaic_status use_certificate(SSL_CTX *ssl, const char *certificate, const char *key, mosaic_error *error)
{
    mosaic_status status = check_key_file(key, error);
    if (status)
        return status;
    if (SSL_CTX_use_certificate_chain_file(ssl, certificate) != 1)
        return openssl_failed(error, "certificate file", certificate);
    if (SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1)
        return openssl_failed(error, "key file", key);
    if (SSL_CTX_check_private_key(ssl) != 1)
        return error_set(error, MOSAIC_CONFIG, "key file \"%s\" is not that of certificate \"%s\"", key, certificate);
    return MOSAIC_OK;
}

/* A key with a passphrase is an error, not a question at a terminal. */
static int no_passphrase(char *text, int size, int writing, void *context)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static struct tls_context *context_new(bool is_server, enum tls_mode mode, mosaic_error *error)
{
    struct tls_context *context = memory_zeroed(1, sizeof *context);
    if (!context) {
        (void)!error_memory(error);
        return NULL;
    }
    context->is_server = is_server;
    context->mode = mode;
    context->ssl = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (!context->ssl || SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION) != 1) {
        tls_context_free(context);
        (void)!error_memory(error);
        return NULL;
    }
    SSL_CTX_set_default_passwd_cb(context->ssl, no_passphrase);
    SSL_CTX_set_options(context->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                          SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context->ssl,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context->ssl, 1);
    return context;
}

enum tls_mode tls_context_mode(const struct tls_context *context)
{
    return context ? context->mode : TLS_DISABLE;
}

void tls_context_free(struct tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ssl);
    memory_free(context);
}

/* ---- the server's side ------------------------------------------------------------------------------ */

/* A client that offers protocols must offer ours, as with PostgreSQL 17: so that no other server's client ends up here.
 */
static int choose_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *size, const unsigned char *offered,
                       unsigned offered_size, void *context)
{
    (void)ssl;
    (void)context;
    unsigned char *found;
    if (SSL_select_next_proto(&found, size, alpn_list, sizeof alpn_list - 1, offered, offered_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

static mosaic_status use_authority(SSL_CTX *ssl, const char *path, bool demands, mosaic_error *error)
{
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
    if (!names || SSL_CTX_load_verify_file(ssl, path) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return openssl_failed(error, "client_tls_ca_file", path);
    }
    SSL_CTX_set_client_CA_list(ssl, names);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE | (demands ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
    return MOSAIC_OK;
}

mosaic_status tls_context_server(enum tls_mode mode, const struct tls_server_files *files, struct tls_context **made,
                                 mosaic_error *error)
{
    bool demands = mode == TLS_VERIFY_CA || mode == TLS_VERIFY_FULL;
    *made = NULL;
    if (mode == TLS_DISABLE)
        return MOSAIC_OK;
    if (!files->certificate || !files->key) {
        error_set(error, MOSAIC_CONFIG,
                  "client_tls_sslmode is set, but not client_tls_cert_file and client_tls_key_file");
        return error_hint(error, "TLS needs the proxy's certificate and its key, both in PEM.");
    }
    if (demands && !files->authority)
        return error_set(error, MOSAIC_CONFIG,
                         "client_tls_sslmode verifies clients, but client_tls_ca_file is not set");
    struct tls_context *context = context_new(true, mode, error);
    if (!context)
        return MOSAIC_MEMORY;
    mosaic_status status = use_certificate(context->ssl, files->certificate, files->key, error);
    if (!status && files->authority)
        status = use_authority(context->ssl, files->authority, demands, error);
    SSL_CTX_set_num_tickets(context->ssl, 0);
    SSL_CTX_set_alpn_select_cb(context->ssl, choose_alpn, NULL);
    if (status)
        tls_context_free(context);
    else
        *made = context;
    return status;
}

/* ---- the client's side ------------------------------------------------------------------------------ */

static mosaic_status mode_read(const char *text, enum tls_mode *mode, mosaic_error *error)
{
    static const struct {
        const char *name;
        enum tls_mode mode;
    } modes[] = {
        {"disable", TLS_DISABLE}, {"allow", TLS_ALLOW},         {"prefer", TLS_PREFER},
        {"require", TLS_REQUIRE}, {"verify-ca", TLS_VERIFY_CA}, {"verify-full", TLS_VERIFY_FULL},
    };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(text, modes[i].name) == 0) {
            *mode = modes[i].mode;
            return MOSAIC_OK;
        }
    return error_set(error, MOSAIC_CONFIG,
                     "sslmode \"%s\" is none of disable, allow, prefer, require, verify-ca, "
                     "verify-full",
                     text);
}

/* The file given, else libpq's default where that exists. "" for neither. */
static const char *file_of(const char *given, const char *name, char path[PATH_MOST])
{
    struct passwd *user = getpwuid(geteuid());
    const char *home = getenv("HOME");
    if (given)
        return given;
    if (!home && user)
        home = user->pw_dir;
    int size = home ? snprintf(path, PATH_MOST, "%s/.postgresql/%s", home, name) : PATH_MOST;
    return size < PATH_MOST && access(path, R_OK) == 0 ? path : "";
}

static mosaic_status use_revocations(SSL_CTX *ssl, const char *given, mosaic_error *error)
{
    char path[PATH_MOST];
    const char *list = file_of(given, "root.crl", path);
    if (!*list)
        return MOSAIC_OK;
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    if (X509_STORE_load_file(store, list) != 1)
        return openssl_failed(error, "sslcrl", list);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return MOSAIC_OK;
}

static mosaic_status use_roots(struct tls_context *context, const struct tls_client_files *files, mosaic_error *error)
{
    char path[PATH_MOST];
    bool verifies = context->mode == TLS_VERIFY_CA || context->mode == TLS_VERIFY_FULL;
    const char *roots = file_of(files->sslrootcert, "root.crt", path);
    if (strcmp(roots, "system") == 0) {
        if (context->mode != TLS_VERIFY_FULL)
            return error_set(error, MOSAIC_CONFIG, "sslrootcert=system needs sslmode=verify-full");
        if (SSL_CTX_set_default_verify_paths(context->ssl) != 1)
            return openssl_failed(error, "sslrootcert", roots);
    } else if (*roots && access(roots, R_OK) == 0) {
        if (SSL_CTX_load_verify_file(context->ssl, roots) != 1)
            return openssl_failed(error, "sslrootcert", roots);
        /* As libpq: where there are roots, require is verify-ca. */
        if (context->mode == TLS_REQUIRE)
            context->mode = TLS_VERIFY_CA;
        verifies |= context->mode == TLS_VERIFY_CA;
    } else if (verifies) {
        error_set(error, MOSAIC_CONFIG, "sslrootcert \"%s\" does not exist, and sslmode=%s needs it",
                  *roots ? roots : "~/.postgresql/root.crt", files->sslmode);
        return error_hint(error, "Give sslrootcert=FILE with the authority's certificate, or use sslmode=require.");
    }
    if (!verifies)
        return MOSAIC_OK;
    SSL_CTX_set_verify(context->ssl, SSL_VERIFY_PEER, NULL);
    return use_revocations(context->ssl, files->sslcrl, error);
}

static mosaic_status use_own(SSL_CTX *ssl, const struct tls_client_files *files, mosaic_error *error)
{
    char certificate_path[PATH_MOST], key_path[PATH_MOST];
    const char *certificate = file_of(files->sslcert, "postgresql.crt", certificate_path);
    if (!*certificate || access(certificate, R_OK) != 0)
        return MOSAIC_OK; /* as libpq: the server says whether it needs one */
    const char *key = file_of(files->sslkey, "postgresql.key", key_path);
    if (!*key)
        return error_set(error, MOSAIC_CONFIG, "sslcert \"%s\" has no key: sslkey is not given", certificate);
    return use_certificate(ssl, certificate, key, error);
}

mosaic_status tls_context_client(const struct tls_client_files *files, struct tls_context **made, mosaic_error *error)
{
    enum tls_mode mode = TLS_PREFER;
    mosaic_status status = files->sslmode ? mode_read(files->sslmode, &mode, error) : MOSAIC_OK;
    *made = NULL;
    if (status || mode == TLS_DISABLE)
        return status;
    struct tls_context *context = context_new(false, mode, error);
    if (!context)
        return MOSAIC_MEMORY;
    context->sends_name = !files->sslsni || strcmp(files->sslsni, "0") != 0;
    status = use_roots(context, files, error);
    if (!status)
        status = use_own(context->ssl, files, error);
    if (!status && SSL_CTX_set_alpn_protos(context->ssl, alpn_list, sizeof alpn_list - 1) != 0)
        status = error_memory(error);
    if (status)
        tls_context_free(context);
    else
        *made = context;
    return status;
}
