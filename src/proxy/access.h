/*
 * Who gets in: the files of authentication and the proxy's certificate, read together with the settings, at the start
 * and at each RELOAD. Immutable; shared by all threads; freed with the settings that it belongs to.
 */
#ifndef MOSAIC_PROXY_ACCESS_H
#define MOSAIC_PROXY_ACCESS_H

#include "config/settings.h"
#include "proxy/auth_file.h"
#include "proxy/hba.h"
#include "proxy/ident.h"
#include "proxy/tls.h"

struct access {
    struct arena arena;
    struct auth_users users;
    struct hba hba;
    struct ident ident;
    struct tls_context *tls; /* NULL: clients can't do TLS */
};

MOSAIC_MUST_CHECK mosaic_status access_load(const struct proxy_settings *settings, struct access *access,
                                            mosaic_error *error);
void access_free(struct access *access);

/* How a client proves who he is. */
struct access_request {
    enum auth_type auth_type;
    struct hba_request where;
    const struct tls *tls; /* NULL: plain */
    bool is_unix, is_loopback;
};
/* The rule for him: of the file, or what auth_type says. MOSAIC_AUTH: he may not, with PostgreSQL's words. */
MOSAIC_MUST_CHECK mosaic_status access_rule(const struct access *access, const struct access_request *request,
                                            struct hba_rule *rule, mosaic_error *error);
/* Is the client's certificate what the rule asks for? */
MOSAIC_MUST_CHECK mosaic_status access_certificate(const struct access *access, const struct access_request *request,
                                                   const struct hba_rule *rule, mosaic_error *error);

#endif
