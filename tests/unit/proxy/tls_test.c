/*
 * Both sides in one process, over a pair of sockets: handshakes, whom a client believes, whom a server lets in, large
 * data both ways through small socket buffers, damage. The certificates are made here.
 */
#include "../random.h"
#include "base/memory.h"
#include "proxy/tls.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- certificates ----------------------------------------------------------------------------------- */

struct identity {
    char certificate[64], key[64]; /* paths */
    X509 *x509;
    EVP_PKEY *pkey;
};

static char directory[] = "/tmp/tls_test_XXXXXX";
static struct identity authority, other, server_identity, client_identity;

static void write_pem(struct identity *identity, const char *name)
{
    snprintf(identity->certificate, sizeof identity->certificate, "%s/%s.crt", directory, name);
    snprintf(identity->key, sizeof identity->key, "%s/%s.key", directory, name);
    FILE *file = fopen(identity->certificate, "w");
    assert_non_null(file);
    assert_true(PEM_write_X509(file, identity->x509));
    fclose(file);
    file = fopen(identity->key, "w");
    assert_non_null(file);
    assert_true(PEM_write_PrivateKey(file, identity->pkey, NULL, NULL, 0, NULL, NULL));
    fclose(file);
    chmod(identity->key, 0600);
}

static void identity_make(struct identity *identity, const char *name, const char *host, struct identity *signer)
{
    static long serial;
    identity->pkey = EVP_EC_gen("P-256");
    identity->x509 = X509_new();
    assert_true(identity->pkey && identity->x509);
    X509_set_version(identity->x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(identity->x509), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(identity->x509), -60);
    X509_gmtime_adj(X509_getm_notAfter(identity->x509), 3600);
    X509_set_pubkey(identity->x509, identity->pkey);
    X509_NAME *subject = X509_get_subject_name(identity->x509);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"Shop", -1, -1, 0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    const struct identity *by = signer ? signer : identity;
    X509_set_issuer_name(identity->x509, X509_get_subject_name(by->x509));
    X509_EXTENSION *extension = signer ? X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, host)
                                       : X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    if (extension)
        X509_add_ext(identity->x509, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(identity->x509, by->pkey, EVP_sha256()));
    write_pem(identity, name);
}

static int make_certificates(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    identity_make(&authority, "authority", NULL, NULL);
    identity_make(&other, "other", NULL, NULL);
    identity_make(&server_identity, "server", "DNS:db.example.org,IP:10.1.2.3", &authority);
    identity_make(&client_identity, "anna", "DNS:nowhere", &authority);
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    struct identity *all[] = {&authority, &other, &server_identity, &client_identity};
    for (size_t i = 0; i < 4; i++) {
        unlink(all[i]->certificate);
        unlink(all[i]->key);
        X509_free(all[i]->x509);
        EVP_PKEY_free(all[i]->pkey);
    }
    return rmdir(directory);
}

/* ---- a connection ----------------------------------------------------------------------------------- */

struct pair {
    int fd[2]; /* 0: the server's */
    struct tls *server, *client;
};

static struct tls_context *server_context(enum tls_mode mode, const char *ca)
{
    struct tls_server_files files = {server_identity.certificate, server_identity.key, ca};
    struct tls_context *context;
    mosaic_error error;
    assert_int_equal(tls_context_server(mode, &files, &context, &error), MOSAIC_OK);
    return context;
}

static struct tls_context *client_context(const char *mode, const char *root, const struct identity *own)
{
    struct tls_client_files files = {.sslmode = mode,
                                     .sslrootcert = root ? root : "",
                                     .sslcert = own ? own->certificate : "",
                                     .sslkey = own ? own->key : NULL,
                                     .sslcrl = ""};
    struct tls_context *context;
    mosaic_error error;
    if (tls_context_client(&files, &context, &error) != MOSAIC_OK)
        fail_msg("%s", error.message);
    return context;
}

static void pair_open(struct pair *pair, struct tls_context *server, struct tls_context *client, const char *host)
{
    int small = 4096;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair->fd), 0);
    for (int i = 0; i < 2; i++)
        setsockopt(pair->fd[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    pair->server = tls_new(server, pair->fd[0], NULL);
    pair->client = tls_new(client, pair->fd[1], host);
    assert_non_null(pair->server);
    assert_non_null(pair->client);
}

static void pair_close(struct pair *pair)
{
    tls_free(pair->client);
    tls_free(pair->server);
    close(pair->fd[0]);
    close(pair->fd[1]);
}

/* Runs both handshakes; true when both are done, false when one failed. */
static bool shake_hands(struct pair *pair)
{
    char byte;
    bool more;
    for (int i = 0; i < 20; i++) {
        ssize_t theirs = tls_read(pair->client, &byte, 1, &more);
        ssize_t ours = tls_read(pair->server, &byte, 1, &more);
        if (ours < 0 || theirs < 0)
            return false;
    }
    return tls_is_ready(pair->client) && tls_is_ready(pair->server);
}

/* How it ends with this client: "" for well, else what the client or the server says. */
static const char *outcome(const char *mode, const char *root, const struct identity *own, const char *host,
                           enum tls_mode server_mode, const char *server_ca)
{
    static char text[200];
    struct tls_context *server = server_context(server_mode, server_ca), *client = client_context(mode, root, own);
    struct pair pair;
    pair_open(&pair, server, client, host);
    bool done = shake_hands(&pair);
    snprintf(text, sizeof text, "%s%s", tls_problem(pair.client), tls_problem(pair.server));
    assert_int_equal(done, !*text);
    pair_close(&pair);
    tls_context_free(server);
    tls_context_free(client);
    return text;
}

static void whom_a_client_believes(void **state)
{
    (void)state;
    const char *ca = authority.certificate, *wrong = other.certificate;
    assert_string_equal(outcome("require", NULL, NULL, "anything", TLS_PREFER, NULL), "");
    assert_string_equal(outcome("verify-ca", ca, NULL, "anything", TLS_PREFER, NULL), "");
    assert_string_equal(outcome("verify-full", ca, NULL, "db.example.org", TLS_PREFER, NULL), "");
    assert_string_equal(outcome("verify-full", ca, NULL, "10.1.2.3", TLS_PREFER, NULL), "");
    assert_non_null(strstr(outcome("verify-full", ca, NULL, "example.org", TLS_PREFER, NULL), "not accepted"));
    assert_non_null(strstr(outcome("verify-full", ca, NULL, "10.1.2.4", TLS_PREFER, NULL), "not accepted"));
    assert_non_null(strstr(outcome("verify-ca", wrong, NULL, "db.example.org", TLS_PREFER, NULL), "not accepted"));
    assert_non_null(strstr(outcome("verify-full", wrong, NULL, "db.example.org", TLS_PREFER, NULL), "not accepted"));
    /* As libpq: with roots, require is verify-ca. */
    assert_non_null(strstr(outcome("require", wrong, NULL, "db.example.org", TLS_PREFER, NULL), "not accepted"));
    struct tls_context *context = client_context("verify-full", ca, NULL);
    assert_null(tls_new(context, -1, "")); /* no name is no check */
    tls_context_free(context);
}

static void whom_a_server_lets_in(void **state)
{
    (void)state;
    const char *ca = authority.certificate;
    assert_string_equal(outcome("require", NULL, &client_identity, "x", TLS_VERIFY_CA, ca), "");
    assert_string_equal(outcome("require", NULL, NULL, "x", TLS_REQUIRE, ca), ""); /* the rules decide */
    assert_string_not_equal(outcome("require", NULL, NULL, "x", TLS_VERIFY_FULL, ca), "");
    assert_string_not_equal(outcome("require", NULL, &other, "x", TLS_REQUIRE, ca), "");
    assert_string_not_equal(outcome("require", NULL, &client_identity, "x", TLS_VERIFY_CA, other.certificate), "");
}

static void what_is_known_of_each_other(void **state)
{
    (void)state;
    struct tls_context *server = server_context(TLS_REQUIRE, authority.certificate),
                       *client = client_context("require", NULL, &client_identity);
    struct pair pair;
    char name[TLS_NAME_MOST];
    unsigned char ours[TLS_HASH_MOST], theirs[TLS_HASH_MOST], right[EVP_MAX_MD_SIZE];
    unsigned size;
    pair_open(&pair, server, client, "x");
    assert_false(tls_peer_name(pair.server, false, name));
    assert_true(shake_hands(&pair));
    assert_true(tls_peer_name(pair.server, false, name));
    assert_string_equal(name, "anna");
    assert_true(tls_peer_name(pair.server, true, name));
    assert_string_equal(name, "CN=anna,O=Shop");
    assert_true(tls_has_alpn(pair.server) && tls_has_alpn(pair.client));
    assert_string_equal(tls_version(pair.server), "TLSv1.3");
    assert_non_null(tls_cipher(pair.client));
    assert_true(X509_digest(server_identity.x509, EVP_sha256(), right, &size));
    assert_int_equal(tls_end_point(pair.server, ours), 32);
    assert_int_equal(tls_end_point(pair.client, theirs), 32);
    assert_memory_equal(ours, right, 32);
    assert_memory_equal(theirs, right, 32);
    pair_close(&pair);
    tls_context_free(server);
    tls_context_free(client);
}

/* ---- data ------------------------------------------------------------------------------------------- */

enum { STREAM = 300000 };

/* Byte i of either stream. */
static unsigned char stream_byte(size_t i)
{
    return (unsigned char)(i * 2654435761u >> 13);
}

struct end {
    struct tls *tls;
    size_t sent, received;
};

static void end_step(struct end *end, struct random *random)
{
    unsigned char bytes[40000];
    size_t size = 1 + random_below(random, sizeof bytes);
    bool more = true;
    if (end->sent < STREAM) {
        size = size < STREAM - end->sent ? size : STREAM - end->sent;
        /* What was not taken is given again, in front of what follows: as a channel does it. */
        for (size_t i = 0; i < STREAM - end->sent && i < sizeof bytes; i++)
            bytes[i] = stream_byte(end->sent + i);
        size_t given = STREAM - end->sent < sizeof bytes ? STREAM - end->sent : sizeof bytes;
        ssize_t took = tls_write(end->tls, bytes, given);
        assert_true(took >= 0);
        end->sent += (size_t)took;
    }
    while (more) {
        size_t want = 1 + random_below(random, 20000);
        ssize_t got = tls_read(end->tls, bytes, want, &more);
        assert_true(got >= 0);
        for (ssize_t i = 0; i < got; i++)
            assert_int_equal(bytes[i], stream_byte(end->received + (size_t)i));
        end->received += (size_t)got;
    }
}

static void large_data_both_ways(void **state)
{
    (void)state;
    struct random random = random_start();
    struct tls_context *server = server_context(TLS_REQUIRE, NULL), *client = client_context("require", NULL, NULL);
    struct pair pair;
    pair_open(&pair, server, client, "x");
    struct end ends[2] = {{pair.server, 0, 0}, {pair.client, 0, 0}};
    for (int turn = 0; ends[0].received < STREAM || ends[1].received < STREAM; turn++) {
        end_step(&ends[random_below(&random, 2)], &random);
        assert_true(turn < 100000);
    }
    bool more;
    char byte;
    tls_free(pair.client);
    pair.client = NULL;
    assert_int_equal(tls_read(pair.server, &byte, 1, &more), -1);
    pair_close(&pair);
    tls_context_free(server);
    tls_context_free(client);
}

/* A hello that was read before anybody knew that it is TLS, up to each of some places. */
static void a_hello_that_was_read_before(void **state)
{
    (void)state;
    struct tls_context *server = server_context(TLS_REQUIRE, NULL), *client = client_context("require", NULL, NULL);
    for (size_t cut = 0; cut < 300; cut += 37) {
        struct pair pair;
        char hello[2000], byte;
        bool more;
        pair_open(&pair, server, client, "x");
        assert_int_equal(tls_read(pair.client, &byte, 1, &more), 0);
        ssize_t got = cut ? recv(pair.fd[0], hello, cut, 0) : 0;
        assert_true(got >= 0 && tls_feed(pair.server, hello, (size_t)got));
        assert_true(shake_hands(&pair));
        pair_close(&pair);
    }
    tls_context_free(server);
    tls_context_free(client);
}

static void garbage(void **state)
{
    (void)state;
    struct random random = random_start();
    struct tls_context *server = server_context(TLS_REQUIRE, NULL), *client = client_context("require", NULL, NULL);
    for (int round = 0; round < 100; round++) {
        struct pair pair;
        unsigned char bytes[600];
        bool more;
        pair_open(&pair, server, client, "x");
        tls_read(pair.client, bytes, 1, &more);
        ssize_t size = recv(pair.fd[0], bytes, sizeof bytes, 0);
        assert_true(size > 0);
        for (uint32_t i = 0; i <= random_below(&random, 10); i++)
            bytes[random_below(&random, (uint32_t)size)] = (unsigned char)random_bits(&random);
        assert_true(tls_feed(pair.server, bytes, (size_t)size));
        for (int i = 0; i < 3; i++)
            if (tls_read(pair.server, bytes, 1, &more) < 0)
                assert_true(*tls_problem(pair.server));
        pair_close(&pair);
    }
    tls_context_free(server);
    tls_context_free(client);
}

/* ---- files ------------------------------------------------------------------------------------------ */

static void expect_refused(const struct tls_client_files *files, const char *what)
{
    struct tls_context *context;
    mosaic_error error;
    assert_int_equal(tls_context_client(files, &context, &error), MOSAIC_CONFIG);
    if (!strstr(error.message, what))
        fail_msg("%s", error.message);
}

static void files_that_cannot_be_used(void **state)
{
    (void)state;
    struct tls_context *context;
    mosaic_error error;
    expect_refused(&(struct tls_client_files){.sslmode = "full"}, "sslmode \"full\"");
    expect_refused(&(struct tls_client_files){.sslmode = "verify-ca", .sslrootcert = "/nonexistent"}, "/nonexistent");
    expect_refused(&(struct tls_client_files){.sslmode = "verify-ca", .sslrootcert = authority.key}, "can't be used");
    expect_refused(&(struct tls_client_files){.sslmode = "require", .sslrootcert = "system"}, "verify-full");
    expect_refused(
        &(struct tls_client_files){
            .sslmode = "require", .sslrootcert = "", .sslcert = client_identity.certificate, .sslkey = other.key},
        "mismatch");
    chmod(client_identity.key, 0644);
    expect_refused(&(struct tls_client_files){.sslmode = "require",
                                              .sslrootcert = "",
                                              .sslcert = client_identity.certificate,
                                              .sslkey = client_identity.key},
                   "can be read by others");
    chmod(client_identity.key, 0600);
    struct tls_server_files files = {server_identity.certificate, NULL, NULL};
    assert_int_equal(tls_context_server(TLS_REQUIRE, &files, &context, &error), MOSAIC_CONFIG);
    files.key = server_identity.key;
    assert_int_equal(tls_context_server(TLS_VERIFY_CA, &files, &context, &error), MOSAIC_CONFIG);
    files.authority = "/nonexistent";
    assert_int_equal(tls_context_server(TLS_REQUIRE, &files, &context, &error), MOSAIC_CONFIG);
    assert_int_equal(tls_context_server(TLS_DISABLE, &files, &context, &error), MOSAIC_OK);
    assert_null(context);
    assert_int_equal(tls_context_mode(context), TLS_DISABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whom_a_client_believes),       cmocka_unit_test(whom_a_server_lets_in),
        cmocka_unit_test(what_is_known_of_each_other),  cmocka_unit_test(large_data_both_ways),
        cmocka_unit_test(a_hello_that_was_read_before), cmocka_unit_test(garbage),
        cmocka_unit_test(files_that_cannot_be_used),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
