/* What tls.c and tls_context.c share. */
#ifndef MOSAIC_PROXY_TLS_CONTEXT_H
#define MOSAIC_PROXY_TLS_CONTEXT_H

#include "proxy/tls.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>

#define TLS_ALPN "postgresql"

struct tls_context {
    SSL_CTX *ssl;
    enum tls_mode mode;
    bool is_server;
    bool sends_name; /* SNI */
};

#endif
