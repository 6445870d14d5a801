/*
 * Rules in the form of pg_hba.conf (https://www.postgresql.org/docs/current/auth-pg-hba-conf.html): who may come from
 * where, and how he proves who he is. The first rule that matches counts; where none does, nobody may.
 *
 *     local    all   all                     scram-sha-256
 *     hostssl  demo  anna   10.0.0.0/8       cert map=staff
 *     host     all   all    samehost         md5
 *
 * What the proxy cannot do as PostgreSQL does is refused with the line: members of roles, host names, samenet, included
 * files, other methods; and trust from anywhere but this machine.
 */
#ifndef MOSAIC_PROXY_HBA_H
#define MOSAIC_PROXY_HBA_H

#include "base/error.h"
#include "base/memory.h"
#include "proxy/auth_lines.h"

#include <stdint.h>
#include <sys/socket.h>

/* X(identifier, name): the methods that are known */
#define HBA_METHOD_LIST(X)    \
    X(TRUST, "trust")         \
    X(REJECT, "reject")       \
    X(MD5, "md5")             \
    X(SCRAM, "scram-sha-256") \
    X(CERT, "cert")

enum hba_method {
#define X(identifier, name) HBA_##identifier,
    HBA_METHOD_LIST(X)
#undef X
};

enum hba_type { HBA_LOCAL = 1, HBA_HOST_PLAIN = 2, HBA_HOST_TLS = 4 };
enum hba_certificate { HBA_CERT_NONE, HBA_CERT_CA, HBA_CERT_FULL };

/* An IPv4 address is kept as the IPv6 address that maps it. */
struct hba_network {
    unsigned char address[16], mask[16];
    bool is_v4;
};

struct hba_rule {
    unsigned line;
    unsigned types; /* of hba_type, together */
    struct auth_field databases, users;
    enum { HBA_ALL, HBA_NETWORK, HBA_SAMEHOST } place;
    struct hba_network network;
    enum hba_method method;
    const char *map;                  /* of ident.h; NULL: the names are equal */
    enum hba_certificate certificate; /* clientcert=; of CERT always FULL */
    bool by_distinguished_name;       /* clientname=DN */
};

struct hba {
    const struct hba_rule *rules;
    size_t count;
};

struct hba_request {
    bool is_tls;
    const struct sockaddr *client, *server; /* both ends of the connection; AF_UNIX: local */
    const char *database, *user;
};

MOSAIC_MUST_CHECK mosaic_status hba_parse(struct arena *arena, const char *path, const char *text, size_t size,
                                          struct hba *hba, mosaic_error *error);
/* NULL where no rule matches. */
const struct hba_rule *hba_match(const struct hba *hba, const struct hba_request *request);
const char *hba_method_name(enum hba_method method);

#endif
