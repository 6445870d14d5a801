#include "proxy/hba.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RULES_FIRST = 16 };

struct place_in {
    const char *path;
    unsigned line;
    mosaic_error *error;
};

/* The line is refused, with what should be done. */
static PRINTF_LIKE(3, 4) mosaic_status refuse(const struct place_in *in, const char *hint, const char *format, ...)
{
    char what[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    error_set(in->error, MOSAIC_CONFIG, "%s:%u: %s", in->path, in->line, what);
    if (hint)
        error_hint(in->error, "%s", hint);
    return MOSAIC_CONFIG;
}

const char *hba_method_name(enum hba_method method)
{
    static const char *const names[] = {
#define X(identifier, name) [HBA_##identifier] = name,
        HBA_METHOD_LIST(X)
#undef X
    };
    return names[method];
}

/* ---- addresses -------------------------------------------------------------------------------------- */

static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool address_read(const char *text, unsigned char address[16], bool *is_v4)
{
    memcpy(address, mapped, sizeof mapped);
    *is_v4 = inet_pton(AF_INET, text, address + 12) == 1;
    return *is_v4 || inet_pton(AF_INET6, text, address) == 1;
}

/* The address of a socket in the same form; false for what is no IP address. */
static bool address_of(const struct sockaddr *socket, unsigned char address[16])
{
    if (socket && socket->sa_family == AF_INET) {
        memcpy(address, mapped, sizeof mapped);
        memcpy(address + 12, &((const struct sockaddr_in *)(const void *)socket)->sin_addr, 4);
        return true;
    }
    if (socket && socket->sa_family == AF_INET6) {
        memcpy(address, &((const struct sockaddr_in6 *)(const void *)socket)->sin6_addr, 16);
        return true;
    }
    return false;
}

static bool is_in(const struct hba_network *network, const unsigned char address[16])
{
    /* ::/0 is of no IPv4 address, though these are kept as IPv6 ones. */
    if (!network->is_v4 && memcmp(address, mapped, sizeof mapped) == 0)
        return false;
    for (size_t i = 0; i < 16; i++)
        if ((address[i] ^ network->address[i]) & network->mask[i])
            return false;
    return true;
}

/* No address of the network is of another machine. */
static bool is_loopback(const struct hba_network *network)
{
    static const unsigned char one[16] = {[15] = 1};
    if (network->is_v4)
        return network->mask[12] == 255 && network->address[12] == 127;
    for (size_t i = 0; i < 16; i++)
        if (network->mask[i] != 255)
            return false;
    return memcmp(network->address, one, 16) == 0;
}

static bool prefix_read(const char *text, bool is_v4, unsigned char mask[16])
{
    char *end;
    unsigned long bits = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || bits > (is_v4 ? 32 : 128))
        return false;
    bits += is_v4 ? 96 : 0;
    for (unsigned i = 0; i < 16; i++) {
        unsigned here = bits > 8 * i ? (unsigned)bits - 8 * i : 0;
        mask[i] = here >= 8 ? 255 : (unsigned char)(0xff00u >> here);
    }
    return true;
}

static mosaic_status network_read(const struct place_in *in, const char *text, const char *next, bool *took_next,
                                  struct hba_network *network)
{
    char address[INET6_ADDRSTRLEN + 1];
    const char *slash = strchr(text, '/');
    size_t size = slash ? (size_t)(slash - text) : strlen(text);
    bool mask_is_v4;
    *took_next = false;
    memcpy(address, text, size < sizeof address ? size : sizeof address - 1);
    address[size < sizeof address ? size : sizeof address - 1] = '\0';
    if (!address_read(address, network->address, &network->is_v4))
        return refuse(in, "Give an address: 10.0.0.0/8, all, or samehost; names of hosts are not resolved.",
                      "\"%.100s\" is no address", text);
    if (slash)
        return prefix_read(slash + 1, network->is_v4, network->mask)
                   ? MOSAIC_OK
                   : refuse(in, NULL, "\"%.100s\": the length of the network can't be read", text);
    if (!next || !address_read(next, network->mask, &mask_is_v4) || mask_is_v4 != network->is_v4)
        return refuse(in, "Write 10.0.0.0/8, or 10.0.0.0 255.0.0.0.", "the address \"%.100s\" has no network mask",
                      text);
    if (network->is_v4)
        memset(network->mask, 255, 12);
    *took_next = true;
    return MOSAIC_OK;
}

/* Takes the address, one field or two, from fields[*at]. */
static mosaic_status take_address(const struct place_in *in, const struct auth_line *line, size_t *at,
                                  struct hba_rule *rule)
{
    if (*at >= line->count || line->fields[*at].count != 1)
        return refuse(in, NULL, "one address is needed behind the users");
    const struct auth_word *word = line->fields[*at].words;
    const char *next = *at + 1 < line->count ? line->fields[*at + 1].words->text : NULL;
    bool took_next = false;
    mosaic_status status = MOSAIC_OK;
    if (auth_word_is(word, "all"))
        rule->place = HBA_ALL;
    else if (auth_word_is(word, "samehost"))
        rule->place = HBA_SAMEHOST;
    else if (auth_word_is(word, "samenet"))
        return refuse(in, "Write the network itself: 10.0.0.0/8.", "samenet is not supported");
    else {
        rule->place = HBA_NETWORK;
        status = network_read(in, word->text, next, &took_next, &rule->network);
    }
    *at += took_next ? 2 : 1;
    return status;
}

/* ---- the other fields ------------------------------------------------------------------------------- */

static mosaic_status take_type(const struct place_in *in, const struct auth_field *field, struct hba_rule *rule)
{
    static const struct {
        const char *name;
        unsigned types;
    } types[] = {
        {"local", HBA_LOCAL},          {"host", HBA_HOST_PLAIN | HBA_HOST_TLS},         {"hostssl", HBA_HOST_TLS},
        {"hostnossl", HBA_HOST_PLAIN}, {"hostnogssenc", HBA_HOST_PLAIN | HBA_HOST_TLS},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0] && field->count == 1; i++)
        if (strcmp(field->words->text, types[i].name) == 0) {
            rule->types = types[i].types;
            return MOSAIC_OK;
        }
    if (strncmp(field->words->text, "include", 7) == 0)
        return refuse(in, "Put the rules into this file.", "other files are not included");
    return refuse(in, "A rule begins with local, host, hostssl or hostnossl.", "\"%.100s\" is no type of connection",
                  field->words->text);
}

static mosaic_status check_names(const struct place_in *in, const struct auth_field *field, bool of_users)
{
    for (size_t i = 0; i < field->count; i++) {
        const struct auth_word *word = &field->words[i];
        if (word->quoted)
            continue;
        if (word->text[0] == '+' && of_users)
            return refuse(in, "List the users by name, or write all: what they may do is up to the shards' grants.",
                          "\"%.100s\": who is a member of a role is not known to the proxy", word->text);
        if (word->text[0] == '@')
            return refuse(in, "Put the names into this file.", "\"%.100s\": other files are not included", word->text);
        if (word->text[0] == '/')
            return refuse(in, NULL, "\"%.100s\": regular expressions for names are not supported", word->text);
        if (!of_users && (strcmp(word->text, "samerole") == 0 || strcmp(word->text, "samegroup") == 0))
            return refuse(in, NULL, "%s: who is a member of a role is not known to the proxy", word->text);
    }
    return MOSAIC_OK;
}

static mosaic_status take_method(const struct place_in *in, const struct auth_field *field, struct hba_rule *rule)
{
    static const char *const names[] = {
#define X(identifier, name) [HBA_##identifier] = name,
        HBA_METHOD_LIST(X)
#undef X
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0] && field->count == 1; i++)
        if (strcmp(field->words->text, names[i]) == 0) {
            rule->method = (enum hba_method)i;
            return MOSAIC_OK;
        }
    return refuse(in, "Use trust, reject, md5, scram-sha-256 or cert.", "the method \"%.100s\" is not supported",
                  field->words->text);
}

static mosaic_status take_option(const struct place_in *in, struct arena *arena, const char *text,
                                 struct hba_rule *rule)
{
    if (strncmp(text, "map=", 4) == 0 && text[4] && rule->method == HBA_CERT) {
        rule->map = arena_string(arena, text + 4);
        return rule->map ? MOSAIC_OK : error_memory(in->error);
    }
    if (strcmp(text, "clientcert=verify-ca") == 0 && rule->method != HBA_CERT)
        rule->certificate = HBA_CERT_CA;
    else if (strcmp(text, "clientcert=verify-full") == 0)
        rule->certificate = HBA_CERT_FULL;
    else if (strcmp(text, "clientname=DN") == 0)
        rule->by_distinguished_name = true;
    else if (strcmp(text, "clientname=CN") == 0)
        rule->by_distinguished_name = false;
    else
        return refuse(in,
                      "Known are map= (of cert), clientcert=verify-ca, clientcert=verify-full, clientname=CN and "
                      "clientname=DN.",
                      "the option \"%.100s\" is not supported for %s", text, hba_method_name(rule->method));
    if (rule->types != HBA_HOST_TLS)
        return refuse(in, "Make it a hostssl rule.", "\"%s\" needs TLS", text);
    return MOSAIC_OK;
}

/* What a rule says is possible, and safe. */
static mosaic_status check_rule(const struct place_in *in, struct hba_rule *rule)
{
    if (rule->method == HBA_CERT) {
        rule->certificate = HBA_CERT_FULL;
        if (rule->types != HBA_HOST_TLS)
            return refuse(in, "Make it a hostssl rule.", "cert needs TLS");
    }
    if (rule->method != HBA_TRUST || rule->types == HBA_LOCAL || rule->place == HBA_SAMEHOST)
        return MOSAIC_OK;
    if (rule->place == HBA_NETWORK && is_loopback(&rule->network))
        return MOSAIC_OK;
    return refuse(in, "Use scram-sha-256, or an address such as 127.0.0.1/32 or ::1/128.",
                  "trust is for this machine only, and the address has others");
}

static mosaic_status rule_read(struct arena *arena, const char *path, const struct auth_line *line,
                               struct hba_rule *rule, mosaic_error *error)
{
    struct place_in in = {path, line->number, error};
    size_t at = 3;
    *rule = (struct hba_rule){.line = line->number};
    mosaic_status status = take_type(&in, &line->fields[0], rule);
    if (!status && line->count < 4)
        return refuse(&in, "A rule is: type, databases, users, address (not of local), method, options.",
                      "the rule is not whole");
    if (!status)
        status = check_names(&in, &line->fields[1], false);
    if (!status)
        status = check_names(&in, &line->fields[2], true);
    rule->databases = line->fields[1];
    rule->users = line->fields[2];
    if (!status && rule->types != HBA_LOCAL)
        status = take_address(&in, line, &at, rule);
    if (!status && at >= line->count)
        return refuse(&in, "Use trust, reject, md5, scram-sha-256 or cert.", "the rule has no method");
    if (!status)
        status = take_method(&in, &line->fields[at++], rule);
    for (; !status && at < line->count; at++)
        for (size_t w = 0; !status && w < line->fields[at].count; w++)
            status = take_option(&in, arena, line->fields[at].words[w].text, rule);
    return status ? status : check_rule(&in, rule);
}

mosaic_status hba_parse(struct arena *arena, const char *path, const char *text, size_t size, struct hba *hba,
                        mosaic_error *error)
{
    struct auth_reader reader = auth_reader_start(path, text, size);
    struct hba_rule *rules = NULL;
    size_t capacity = 0;
    *hba = (struct hba){0};
    for (size_t count = 0;; count++) {
        struct auth_line line;
        mosaic_status status = auth_lines_next(&reader, arena, &line, error);
        if (status)
            return status;
        if (line.count == 0) {
            *hba = (struct hba){rules, count};
            return MOSAIC_OK;
        }
        if (count == capacity) {
            capacity = capacity ? 2 * capacity : RULES_FIRST;
            struct hba_rule *grown = arena_zeroed(arena, capacity, sizeof *grown);
            if (!grown)
                return error_memory(error);
            if (count)
                memcpy(grown, rules, count * sizeof *grown);
            rules = grown;
        }
        status = rule_read(arena, path, &line, &rules[count], error);
        if (status)
            return status;
    }
}

/* ---- matching --------------------------------------------------------------------------------------- */

static bool has_name(const struct auth_field *field, const char *name, const char *same)
{
    for (size_t i = 0; i < field->count; i++) {
        const struct auth_word *word = &field->words[i];
        if (auth_word_is(word, "all") || (same && auth_word_is(word, "sameuser") && strcmp(same, name) == 0))
            return true;
        /* "replication" without quotes is no database: replication is refused before. */
        if (strcmp(word->text, name) == 0 && !(same && auth_word_is(word, "replication")))
            return true;
    }
    return false;
}

static bool place_matches(const struct hba_rule *rule, const struct hba_request *request)
{
    unsigned char client[16], server[16];
    if (rule->types == HBA_LOCAL || rule->place == HBA_ALL)
        return true;
    if (!address_of(request->client, client))
        return false;
    if (rule->place == HBA_NETWORK)
        return is_in(&rule->network, client);
    /* Who comes from an address of this machine has it at both ends. */
    return address_of(request->server, server) && memcmp(client, server, 16) == 0;
}

const struct hba_rule *hba_match(const struct hba *hba, const struct hba_request *request)
{
    unsigned type = !request->client || request->client->sa_family == AF_UNIX ? HBA_LOCAL
                    : request->is_tls                                         ? HBA_HOST_TLS
                                                                              : HBA_HOST_PLAIN;
    for (size_t i = 0; i < hba->count; i++) {
        const struct hba_rule *rule = &hba->rules[i];
        if (rule->types & type && has_name(&rule->users, request->user, NULL) &&
            has_name(&rule->databases, request->database, request->user) && place_matches(rule, request))
            return rule;
    }
    return NULL;
}
