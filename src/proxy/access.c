#include "proxy/access.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MOST = 64 * 1024 * 1024 };

/* ---- loading ---------------------------------------------------------------------------------------- */

static mosaic_status read_whole(struct arena *arena, const char *path, bool is_secret, char **text, size_t *size,
                                mosaic_error *error)
{
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &status) != 0) {
        (void)!error_errno(error, "%s can't be read", path);
        if (file)
            fclose(file);
        return MOSAIC_IO;
    }
    if (is_secret && status.st_mode & S_IRWXO) {
        fclose(file);
        (void)!error_set(error, MOSAIC_CONFIG, "%s has secrets, and everybody can read it", path);
        return error_hint(error, "chmod 0600 %s", path);
    }
    *text = status.st_size <= FILE_MOST ? arena_allocate(arena, (size_t)status.st_size + 1) : NULL;
    *size = *text ? fread(*text, 1, (size_t)status.st_size, file) : 0;
    fclose(file);
    return *text ? MOSAIC_OK : error_memory(error);
}

mosaic_status access_load(const struct proxy_settings *settings, struct access *access, mosaic_error *error)
{
    struct tls_server_files files = {settings->client_tls_cert_file, settings->client_tls_key_file,
                                     settings->client_tls_ca_file};
    char *text;
    size_t size;
    mosaic_status status = MOSAIC_OK;
    *access = (struct access){.arena = ARENA_INIT};
    if (settings->auth_file) {
        status = read_whole(&access->arena, settings->auth_file, true, &text, &size, error);
        if (!status)
            status = auth_file_parse(&access->arena, settings->auth_file, text, size, &access->users, error);
    }
    if (!status && settings->auth_hba_file) {
        status = read_whole(&access->arena, settings->auth_hba_file, false, &text, &size, error);
        if (!status)
            status = hba_parse(&access->arena, settings->auth_hba_file, text, size, &access->hba, error);
    }
    if (!status && settings->auth_ident_file) {
        status = read_whole(&access->arena, settings->auth_ident_file, false, &text, &size, error);
        if (!status)
            status = ident_parse(&access->arena, settings->auth_ident_file, text, size, &access->ident, error);
    }
    if (!status)
        status = tls_context_server(settings->client_tls_sslmode, &files, &access->tls, error);
    if (status)
        access_free(access);
    return status;
}

void access_free(struct access *access)
{
    ident_free(&access->ident);
    tls_context_free(access->tls);
    arena_free(&access->arena);
    *access = (struct access){.arena = ARENA_INIT};
}

/* ---- judging ---------------------------------------------------------------------------------------- */

static void address_text(const struct sockaddr *address, char text[INET6_ADDRSTRLEN])
{
    memcpy(text, "[local]", sizeof "[local]");
    if (address && address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, text, INET6_ADDRSTRLEN);
    else if (address && address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, text, INET6_ADDRSTRLEN);
}

static mosaic_status not_allowed(const struct access_request *request, const char *what, mosaic_error *error)
{
    char host[INET6_ADDRSTRLEN];
    address_text(request->is_unix ? NULL : request->where.client, host);
    (void)!error_set(error, MOSAIC_AUTH, "%s for host \"%s\", user \"%s\", database \"%s\", %s", what, host,
                     request->where.user, request->where.database, request->where.is_tls ? "TLS" : "no encryption");
    return error_sqlstate(error, "28000");
}

mosaic_status access_rule(const struct access *access, const struct access_request *request, struct hba_rule *rule,
                          mosaic_error *error)
{
    bool wants_tls = !request->is_unix && tls_context_mode(access->tls) >= TLS_REQUIRE;
    *rule = (struct hba_rule){0};
    if (wants_tls && !request->tls) {
        (void)!error_set(error, MOSAIC_AUTH, "TLS is required");
        (void)!error_hint(error, "Connect with sslmode=require, or stricter.");
        return error_sqlstate(error, "28000");
    }
    switch (request->auth_type) {
    case AUTH_TRUST:
        rule->method = HBA_TRUST;
        if (!request->is_unix && !request->is_loopback)
            return not_allowed(request, "auth_type trust is for this machine only:", error);
        return MOSAIC_OK;
    case AUTH_MD5:
        rule->method = HBA_MD5;
        return MOSAIC_OK;
    case AUTH_CERT:
        rule->method = HBA_CERT;
        rule->certificate = HBA_CERT_FULL;
        return MOSAIC_OK;
    case AUTH_SCRAM:
        rule->method = HBA_SCRAM;
        return MOSAIC_OK;
    default:
        break;
    }
    const struct hba_rule *found = hba_match(&access->hba, &request->where);
    if (!found)
        return not_allowed(request, "no rule of auth_hba_file", error);
    if (found->method == HBA_REJECT)
        return not_allowed(request, "auth_hba_file rejects the connection", error);
    *rule = *found;
    return MOSAIC_OK;
}

mosaic_status access_certificate(const struct access *access, const struct access_request *request,
                                 const struct hba_rule *rule, mosaic_error *error)
{
    char name[TLS_NAME_MOST];
    const char *user = request->where.user;
    if (rule->certificate == HBA_CERT_NONE)
        return MOSAIC_OK;
    if (!request->tls || !tls_peer_name(request->tls, rule->by_distinguished_name, name)) {
        (void)!error_set(error, MOSAIC_AUTH, "connection requires a valid client certificate");
        return error_sqlstate(error, "28000");
    }
    if (rule->certificate == HBA_CERT_CA || ident_allows(&access->ident, rule->map, name, user))
        return MOSAIC_OK;
    (void)!error_set(error, MOSAIC_AUTH, "certificate authentication failed for user \"%s\"", user);
    return error_sqlstate(error, "28000");
}
