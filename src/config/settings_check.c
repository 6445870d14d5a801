/*
 * What settings forbid together. The rule behind most of it: who reaches the proxy from elsewhere must show who he is.
 */
#include "config/settings.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool settings_address(const char *text, struct listen_address *address)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text)
        return false;
    size_t digits = strspn(colon + 1, "0123456789"), size = (size_t)(colon - text);
    long port = digits && digits <= 5 && !colon[1 + digits] ? strtol(colon + 1, NULL, 10) : 0;
    if (port < 1 || port > UINT16_MAX)
        return false;
    bool bracketed = text[0] == '[' && size > 2 && colon[-1] == ']';
    if (bracketed) {
        text++;
        size -= 2;
    }
    if (size >= sizeof address->host || (memchr(text, ':', size) && !bracketed) || memchr(text, '[', size))
        return false;
    memcpy(address->host, text, size);
    address->host[size] = '\0';
    address->port = (uint16_t)port;
    return true;
}

/* 127.0.0.0/8 in the form that has four numbers: 127.1.example.org is a name. */
static bool is_127(const char *host)
{
    if (strncmp(host, "127.", 4) != 0 || host[strspn(host, "0123456789.")])
        return false;
    int dots = 0;
    for (; *host; host++)
        dots += *host == '.';
    return dots == 3;
}

bool settings_is_loopback(const struct listen_address *address)
{
    return is_127(address->host) || strcmp(address->host, "::1") == 0 || strcasecmp(address->host, "localhost") == 0;
}

static mosaic_status check_addresses(const struct proxy_settings *settings, mosaic_error *error)
{
    struct listen_address address;
    bool socket = settings->unix_socket_dir && settings->unix_socket_dir[0];
    for (const char *const *each = settings->listen; *each; each++) {
        if (!settings_address(*each, &address)) {
            (void)!error_set(error, MOSAIC_CONFIG, "listen: \"%.100s\" is no address", *each);
            return error_hint(error, "as in 127.0.0.1:6432, \"[::1]:6432\", or *:6432 for every address");
        }
        if (settings->auth_type == AUTH_TRUST && !settings_is_loopback(&address)) {
            (void)!error_set(error, MOSAIC_CONFIG,
                             "auth_type trust does not go with listen %.100s: anybody could log in", *each);
            return error_hint(error, "listen on 127.0.0.1, or set auth_type to scram-sha-256");
        }
    }
    if (!settings->listen[0] && !socket) {
        (void)!error_set(error, MOSAIC_CONFIG, "listen and unix_socket_dir are both empty: nobody could connect");
        return error_hint(error, "set listen, as in 127.0.0.1:6432");
    }
    if (!settings->metrics_listen)
        return MOSAIC_OK;
    if (!settings_address(settings->metrics_listen, &address)) {
        (void)!error_set(error, MOSAIC_CONFIG, "metrics_listen: \"%.100s\" is no address", settings->metrics_listen);
        return error_hint(error, "as in 127.0.0.1:9127");
    }
    if (settings_is_loopback(&address))
        return MOSAIC_OK;
    (void)!error_set(error, MOSAIC_CONFIG, "metrics_listen %.100s is not loopback: the port asks for no password",
                     settings->metrics_listen);
    return error_hint(error, "set it to 127.0.0.1:9127, and put a server that authenticates in front of it");
}

static mosaic_status refuse_missing(const char *missing, const char *needs, const char *value, mosaic_error *error)
{
    (void)!error_set(error, MOSAIC_CONFIG, "%s is not set, and %s %s needs it", missing, needs, value);
    return error_hint(error, "name the file by %s", missing);
}

static mosaic_status check_files(const struct proxy_settings *settings, mosaic_error *error)
{
    bool verify = settings->client_tls_sslmode >= TLS_VERIFY_CA;
    if (settings->auth_type == AUTH_HBA && !settings->auth_hba_file)
        return refuse_missing("auth_hba_file", "auth_type", "hba", error);
    if (settings->auth_type == AUTH_CERT && !verify) {
        (void)!error_set(error, MOSAIC_CONFIG, "auth_type cert needs certificates that are verified");
        return error_hint(error, "set client_tls_sslmode to verify-ca or verify-full, and client_tls_ca_file");
    }
    if (settings->client_tls_sslmode != TLS_DISABLE) {
        if (!settings->client_tls_cert_file)
            return refuse_missing("client_tls_cert_file", "client_tls_sslmode", "other than disable", error);
        if (!settings->client_tls_key_file)
            return refuse_missing("client_tls_key_file", "client_tls_sslmode", "other than disable", error);
    }
    if (verify && !settings->client_tls_ca_file)
        return refuse_missing("client_tls_ca_file", "client_tls_sslmode", "verify-ca or verify-full", error);
    if (settings->auth_user && !settings->auth_query)
        return refuse_missing("auth_query", "auth_user", settings->auth_user, error);
    return MOSAIC_OK;
}

static mosaic_status check_pools(const struct proxy_settings *settings, mosaic_error *error)
{
    const struct {
        const char *name;
        int64_t most;
    } limits[] = {
        {"pool_size", settings->pool_size},
        {"max_shard_connections", settings->max_shard_connections},
        {"max_user_connections", settings->max_user_connections},
    };
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (!limits[i].most || settings->min_pool_size <= limits[i].most)
            continue;
        (void)!error_set(error, MOSAIC_CONFIG, "min_pool_size %lld is over %s %lld", (long long)settings->min_pool_size,
                         limits[i].name, (long long)limits[i].most);
        return error_hint(error, "lower min_pool_size, or raise %s", limits[i].name);
    }
    if (settings->max_analysed_size > settings->max_packet_size) {
        (void)!error_set(error, MOSAIC_CONFIG, "max_analysed_size is over max_packet_size");
        return error_hint(error, "no statement is larger than max_packet_size: lower max_analysed_size to it");
    }
    return MOSAIC_OK;
}

static mosaic_status check_scatter(const struct proxy_settings *settings, mosaic_error *error)
{
    enum scatter_mode mode;
    for (const char *const *each = settings->scatter_users; *each; each++) {
        const char *equals = strrchr(*each, '=');
        if (equals && equals > *each && settings_scatter_mode(equals + 1, &mode))
            continue;
        (void)!error_set(error, MOSAIC_CONFIG, "scatter_users: \"%.100s\" is no NAME=allow, NAME=warn or NAME=deny",
                         *each);
        return error_hint(error, "as in scatter_users: [report=allow, web=deny]");
    }
    return MOSAIC_OK;
}

mosaic_status settings_check(const struct proxy_settings *settings, mosaic_error *error)
{
    mosaic_status status = check_addresses(settings, error);
    if (status == MOSAIC_OK)
        status = check_files(settings, error);
    if (status == MOSAIC_OK)
        status = check_pools(settings, error);
    return status == MOSAIC_OK ? check_scatter(settings, error) : status;
}
