/*
 * Three steps: the ini file's lines become values by section and name; those go into proxy_settings, where each is
 * checked as a person's would be; what differs from pgmosaic's defaults is written out. So the result always reads.
 *
 * Where PgBouncer's default is another than ours, PgBouncer's is written: a config that said nothing of it relied on
 * it.
 */
#include "config/pgbouncer.h"

#include "config/pgbouncer_ini.h"
#include "config/pgbouncer_settings.h"
#include "config/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SETTINGS_MOST = 128, DATABASES_MOST = 1024, VALUE_SHOWN = 80, CONNINFO_MOST = 1 << 20 };

enum kind { KIND_TEXT, KIND_SECONDS, KIND_SPECIAL, KIND_CONNINFO, KIND_DROP };

struct carry {
    const char *name;
    enum kind kind;
    const char *target; /* our name, or the reason */
};

#define KEEP(name, kind, ours) {name, KIND_##kind, ours},
#define DROP(name, reason) {name, KIND_DROP, reason},
#define CONNINFO(name, ours) {name, KIND_CONNINFO, ours},
static const struct carry general_rules[] = {PGBOUNCER_SETTING_LIST(KEEP, DROP){NULL}};
static const struct carry database_rules[] = {PGBOUNCER_DATABASE_LIST(CONNINFO, KEEP, DROP){NULL}};

/* What PgBouncer does where the file says nothing, and pgmosaic does not. */
static const char *const defaults[][2] = {
    {"pool_mode", "session"}, {"auth_type", "md5"}, {"max_client_conn", "100"}, {"server_login_retry", "15"}};

struct conversion {
    const struct pgbouncer_options *options;
    struct arena arena;
    struct ini_entry entries[SETTINGS_MOST]; /* of [pgbouncer], the last of a name */
    size_t entry_count;
    struct ini_entry databases[DATABASES_MOST];
    size_t database_count;
    struct proxy_settings settings, initial;
    const char *from[SETTINGS_MOST]; /* by our setting: what it was made from */
    const char *port;
    const char *tls[4]; /* sslmode, sslrootcert, sslkey, sslcert */
    struct buffer notes;
    struct ini_reader reader;
    mosaic_error *error;
};

__attribute__((format(printf, 2, 3))) static void note(struct conversion *conversion, const char *format, ...)
{
    va_list arguments;
    char text[1024];
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    buffer_format(&conversion->notes, "#   %s\n", text);
}

static mosaic_status take_entry(void *context, const char *section, const struct ini_entry *entry)
{
    struct conversion *conversion = context;
    if (strcmp(section, "pgbouncer") == 0) {
        size_t at = 0;
        while (at < conversion->entry_count && strcmp(conversion->entries[at].name, entry->name) != 0)
            at++;
        if (at == SETTINGS_MOST)
            return ini_refuse(&conversion->reader, entry->line, "too many settings");
        conversion->entries[at] = *entry;
        conversion->entry_count += at == conversion->entry_count;
    } else if (strcmp(section, "databases") == 0) {
        if (conversion->database_count == DATABASES_MOST)
            return ini_refuse(&conversion->reader, entry->line, "too many databases");
        conversion->databases[conversion->database_count++] = *entry;
    } else if (strcmp(section, "users") == 0) {
        note(conversion, "[users] %s = %.*s: limits and modes are the same for all users", entry->name, VALUE_SHOWN,
             entry->value);
    } else if (strcmp(section, "peers") == 0) {
        note(conversion, "[peers] %s: one process with several threads has all cancel keys", entry->name);
    } else {
        return ini_refuse(&conversion->reader, entry->line, "a setting before the first section, or in an unknown one");
    }
    return MOSAIC_OK;
}

static void take_directive(void *context, const char *line)
{
    note(context, "%.*s: its settings are not here: put them into one file and convert that", VALUE_SHOWN, line);
}

static const char *find_entry(const struct conversion *conversion, const char *name)
{
    for (size_t i = 0; i < conversion->entry_count; i++)
        if (strcmp(conversion->entries[i].name, name) == 0)
            return conversion->entries[i].value;
    return NULL;
}

/* ---- values into settings ---- */

static mosaic_status set(struct conversion *conversion, const char *ours, const char *value, const char *theirs)
{
    mosaic_error problem;
    size_t at = settings_find(ours);
    mosaic_status status = settings_set(&conversion->arena, &conversion->settings, ours, value, &problem);
    if (status == MOSAIC_MEMORY)
        return error_memory(conversion->error);
    if (status != MOSAIC_OK)
        note(conversion, "%s = %.*s: %s; %s", theirs, VALUE_SHOWN, value, problem.message, problem.detail);
    else
        conversion->from[at] = theirs;
    return MOSAIC_OK;
}

/* Seconds, maybe with a fraction: 0.5 → 500ms. */
static mosaic_status set_seconds(struct conversion *conversion, const struct carry *rule, const char *value)
{
    char text[40], *end;
    double seconds = strtod(value, &end);
    if (end == value || *end || !(seconds >= 0 && seconds < 1e9)) {
        note(conversion, "%s = %.*s: no number of seconds", rule->name, VALUE_SHOWN, value);
        return MOSAIC_OK;
    }
    snprintf(text, sizeof text, "%.0fms", seconds * 1000);
    return set(conversion, rule->target, text, rule->name);
}

static mosaic_status set_listen(struct conversion *conversion, const char *addresses)
{
    struct buffer text = BUFFER_INIT(1 << 20);
    while (*addresses) {
        size_t size = strcspn(addresses, ", \t");
        bool bare6 = memchr(addresses, ':', size) != NULL && *addresses != '[';
        if (size)
            buffer_format(&text, bare6 ? "%s[%.*s]:%s" : "%s%.*s:%s", text.size ? " " : "", (int)size, addresses,
                          conversion->port);
        addresses += size + (addresses[size] != '\0');
    }
    mosaic_status status =
        buffer_failed(&text)
            ? error_memory(conversion->error)
            : set(conversion, "listen", buffer_string(&text),
                  *buffer_string(&text) ? "listen_addr, listen_port" : "listen_addr is empty: the Unix socket alone");
    buffer_free(&text);
    return status;
}

static mosaic_status set_auth_type(struct conversion *conversion, const char *value)
{
    static const char *const reasons[][2] = {
        {"any", "anybody could log in as anybody"},
        {"plain", "passwords would travel as they are"},
        {"pam", "there is no PAM here"},
        {"ldap", "there is no LDAP here"},
        {"peer", "there is no peer authentication of all users here: write auth_type hba"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (strcasecmp(value, reasons[i][0]) != 0)
            continue;
        note(conversion, "auth_type = %s: %s; scram-sha-256 is used", value, reasons[i][1]);
        return MOSAIC_OK;
    }
    return set(conversion, "auth_type", value, "auth_type");
}

static mosaic_status set_special(struct conversion *conversion, const struct carry *rule, const char *value)
{
    static const char *const tls[] = {"server_tls_sslmode", "server_tls_ca_file", "server_tls_key_file",
                                      "server_tls_cert_file"};
    for (size_t i = 0; i < 4; i++)
        if (strcmp(rule->name, tls[i]) == 0)
            conversion->tls[i] = *value ? value : NULL;
    if (strcmp(rule->name, "listen_addr") == 0)
        return set_listen(conversion, value);
    if (strcmp(rule->name, "auth_type") == 0)
        return set_auth_type(conversion, value);
    if (strcmp(rule->name, "verbose") == 0)
        return set(conversion, "log_level", strcmp(value, "0") == 0 ? "info" : "debug", "verbose");
    if (strcmp(rule->name, "max_packet_size") == 0) /* ours ends at a gigabyte, as PostgreSQL's values do */
        return set(conversion, rule->target, strtoull(value, NULL, 10) > 1 << 30 ? "1GB" : value, rule->name);
    if (strcmp(rule->name, "pool_mode") != 0)
        return MOSAIC_OK;
    if (strcasecmp(value, "statement") != 0)
        return set(conversion, "pool_mode", value, "pool_mode");
    note(conversion, "pool_mode = statement: transaction is the closest; transactions are not forbidden");
    return set(conversion, "pool_mode", "transaction", "pool_mode");
}

static mosaic_status apply_rule(struct conversion *conversion, const struct carry *rule, const char *value)
{
    switch (rule->kind) {
    case KIND_TEXT:
        return set(conversion, rule->target, value, rule->name);
    case KIND_SECONDS:
        return set_seconds(conversion, rule, value);
    case KIND_SPECIAL:
        return set_special(conversion, rule, value);
    case KIND_DROP:
        note(conversion, "%s%s%.*s: %s", rule->name, strcmp(rule->name, "password") == 0 ? "" : " = ", VALUE_SHOWN,
             strcmp(rule->name, "password") == 0 ? "" : value, rule->target);
        break;
    case KIND_CONNINFO:
        break;
    }
    return MOSAIC_OK;
}

static const struct carry *find_rule(const struct carry *rules, const char *name)
{
    while (rules->name && strcmp(rules->name, name) != 0)
        rules++;
    return rules->name ? rules : NULL;
}

static mosaic_status take_settings(struct conversion *conversion)
{
    mosaic_status status = settings_default(&conversion->arena, &conversion->settings, conversion->error);
    conversion->initial = conversion->settings;
    conversion->port = find_entry(conversion, "listen_port");
    if (!conversion->port)
        conversion->port = "6432";
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults && status == MOSAIC_OK; i++) {
        if (find_entry(conversion, defaults[i][0]))
            continue;
        status = apply_rule(conversion, find_rule(general_rules, defaults[i][0]), defaults[i][1]);
        conversion->from[settings_find(defaults[i][0])] = "PgBouncer's default";
    }
    if (status == MOSAIC_OK && !find_entry(conversion, "listen_addr"))
        status = set_listen(conversion, "");
    for (size_t i = 0; i < conversion->entry_count && status == MOSAIC_OK; i++) {
        const struct ini_entry *entry = &conversion->entries[i];
        const struct carry *rule = find_rule(general_rules, entry->name);
        if (rule)
            status = apply_rule(conversion, rule, entry->value);
        else
            note(conversion, "%s = %.*s: no setting of PgBouncer 1.25", entry->name, VALUE_SHOWN, entry->value);
    }
    return status;
}

/* ---- databases ---- */

/* A value of a conninfo: in quotes where it must be. */
static void add_conninfo(struct buffer *out, const char *name, const char *value)
{
    buffer_format(out, "%s%s=", out->size ? " " : "", name);
    bool plain = *value && !strpbrk(value, " \t'\\");
    if (plain) {
        buffer_text(out, value);
        return;
    }
    buffer_char(out, '\'');
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\')
            buffer_char(out, '\\');
        buffer_char(out, *value);
    }
    buffer_char(out, '\'');
}

static mosaic_status take_pair(struct conversion *conversion, const struct ini_entry *database, bool first,
                               const char *name, const char *value, struct buffer *conninfo)
{
    const struct carry *rule = find_rule(database_rules, name);
    if (!rule) {
        note(conversion, "database %s: %s: no setting of PgBouncer 1.25", database->name, name);
        return MOSAIC_OK;
    }
    if (rule->kind == KIND_CONNINFO) {
        add_conninfo(conninfo, rule->target, value);
        if (strcmp(name, "user") == 0)
            note(conversion,
                 "database %s: user = %s is the proxy's own role: each client reaches the shard as the role it logged "
                 "in "
                 "as",
                 database->name, value);
        return MOSAIC_OK;
    }
    if (rule->kind == KIND_DROP || first)
        return apply_rule(conversion, rule, value);
    note(conversion, "database %s: %s = %.*s: settings are the same for all shards; those of the first are used",
         database->name, name, VALUE_SHOWN, value);
    return MOSAIC_OK;
}

/* Adds the conninfo of an entry of [databases]. */
static mosaic_status take_database(struct conversion *conversion, const struct ini_entry *database, bool first,
                                   struct buffer *conninfo)
{
    static const char *const ssl[] = {"sslmode", "sslrootcert", "sslkey", "sslcert"};
    const char *at = database->value, *name, *value;
    bool bad = false, has_dbname = false;
    mosaic_status status = MOSAIC_OK;
    while (status == MOSAIC_OK && ini_pair(&conversion->arena, &at, &name, &value, &bad)) {
        has_dbname |= strcmp(name, "dbname") == 0;
        status = take_pair(conversion, database, first, name, value, conninfo);
    }
    if (status == MOSAIC_OK && bad)
        return !name || !value ? error_memory(conversion->error)
                               : ini_refuse(&conversion->reader, database->line, "the connect string is malformed");
    if (!has_dbname)
        add_conninfo(conninfo, "dbname", database->name);
    for (size_t i = 0; i < 4; i++)
        if (conversion->tls[i])
            add_conninfo(conninfo, ssl[i], conversion->tls[i]);
    return status;
}

static const struct ini_entry *find_database(const struct conversion *conversion, const char *name)
{
    const struct ini_entry *found = NULL;
    for (size_t i = 0; i < conversion->database_count; i++)
        if (strcmp(conversion->databases[i].name, name) == 0)
            found = &conversion->databases[i];
    return found;
}

static mosaic_status refuse_databases(struct conversion *conversion, const char *missing)
{
    struct buffer names = BUFFER_INIT(400);
    for (size_t i = 0; i < conversion->database_count; i++)
        buffer_format(&names, "%s%s", i ? ", " : "", conversion->databases[i].name);
    if (missing)
        (void)!error_set(conversion->error, MOSAIC_USAGE, "%s has no database %s", conversion->options->source,
                         missing);
    else if (!conversion->database_count)
        (void)!error_set(conversion->error, MOSAIC_USAGE, "%s has no databases", conversion->options->source);
    else
        (void)!error_set(conversion->error, MOSAIC_USAGE,
                         "%s has %zu databases: a cluster is one of them, or several as its shards",
                         conversion->options->source, conversion->database_count);
    if (conversion->database_count)
        error_hint(conversion->error, "name it, or them, by --databases; there are: %s",
                   buffer_failed(&names) ? "many" : buffer_string(&names));
    else
        error_hint(conversion->error, "they stand below [databases]");
    buffer_free(&names);
    return MOSAIC_USAGE;
}

/* ---- writing ---- */

static void add_quoted(struct buffer *yaml, const char *text)
{
    buffer_char(yaml, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buffer_format(yaml, "\\%c", *text);
        else if ((unsigned char)*text < ' ' || *text == 0x7f)
            buffer_format(yaml, "\\x%02x", (unsigned char)*text);
        else
            buffer_char(yaml, *text);
    }
    buffer_char(yaml, '"');
}

/* Plain where that is safe. */
static void add_scalar(struct buffer *yaml, const char *text)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
    bool plain = *text && *text != '-' && *text != '.' && !text[strspn(text, safe)] && strcasecmp(text, "null") != 0;
    if (plain)
        buffer_text(yaml, text);
    else
        add_quoted(yaml, text);
}

static void add_words(struct buffer *yaml, const char *const *words)
{
    buffer_char(yaml, '[');
    for (size_t i = 0; words[i]; i++) {
        if (i)
            buffer_text(yaml, ", ");
        add_scalar(yaml, words[i]);
    }
    buffer_char(yaml, ']');
}

static mosaic_status write_settings(struct conversion *conversion, struct buffer *yaml)
{
    buffer_text(yaml, "proxy:\n");
    for (size_t i = 0; i < settings_count(); i++) {
        const struct proxy_setting_info *info = settings_info(i);
        if (settings_equal(&conversion->settings, &conversion->initial, i))
            continue;
        const char *value = settings_value(&conversion->arena, &conversion->settings, i);
        buffer_format(yaml, "  %s: ", info->name);
        bool listen = strcmp(info->name, "listen") == 0;
        const char *const *words = listen                                   ? conversion->settings.listen
                                   : strcmp(info->name, "admin_users") == 0 ? conversion->settings.admin_users
                                                                            : conversion->settings.stats_users;
        if (info->many && words[0])
            add_words(yaml, words);
        else
            add_scalar(yaml, value ? value : "");
        if (conversion->from[i] && strcmp(conversion->from[i], info->name) != 0)
            buffer_format(yaml, " # %s", conversion->from[i]);
        buffer_char(yaml, '\n');
    }
    return MOSAIC_OK;
}

static bool is_plain_name(const char *name)
{
    return *name && strlen(name) < 64 &&
           !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")];
}

static mosaic_status write_shards(struct conversion *conversion, const struct ini_entry *const *chosen, size_t count,
                                  struct buffer *yaml)
{
    mosaic_status status = MOSAIC_OK;
    buffer_text(yaml, "shards:\n");
    for (size_t i = 0; i < count && status == MOSAIC_OK; i++) {
        struct buffer conninfo = BUFFER_INIT(CONNINFO_MOST);
        char name[24];
        snprintf(name, sizeof name, "s%zu", i);
        status = take_database(conversion, chosen[i], i == 0, &conninfo);
        if (status == MOSAIC_OK && buffer_failed(&conninfo))
            status = error_memory(conversion->error);
        buffer_text(yaml, "  - {name: ");
        add_quoted(yaml, is_plain_name(chosen[i]->name) ? chosen[i]->name : name);
        buffer_text(yaml, ", conninfo: ");
        add_quoted(yaml, buffer_string(&conninfo));
        buffer_text(yaml, "}\n");
        buffer_free(&conninfo);
    }
    return status;
}

static mosaic_status choose(struct conversion *conversion, const struct ini_entry **chosen, size_t *count)
{
    const char *const *names = conversion->options->databases;
    *count = 0;
    if (!names) {
        if (conversion->database_count != 1)
            return refuse_databases(conversion, NULL);
        chosen[(*count)++] = &conversion->databases[0];
        return MOSAIC_OK;
    }
    for (; *names && *count < DATABASES_MOST; names++) {
        chosen[*count] = find_database(conversion, *names);
        if (!chosen[(*count)++])
            return refuse_databases(conversion, *names);
    }
    return *count ? MOSAIC_OK : refuse_databases(conversion, NULL);
}

static mosaic_status write_all(struct conversion *conversion, struct buffer *yaml)
{
    const struct ini_entry *chosen[DATABASES_MOST];
    size_t count;
    mosaic_status status = choose(conversion, chosen, &count);
    if (status != MOSAIC_OK)
        return status;
    const char *name = conversion->options->cluster ? conversion->options->cluster : chosen[0]->name;
    if (!is_plain_name(name)) {
        (void)!error_set(conversion->error, MOSAIC_USAGE, "\"%.60s\" cannot be the name of a cluster", name);
        return error_hint(conversion->error, "give one by --cluster: letters, digits, _ . -");
    }
    status = take_settings(conversion);
    if (status != MOSAIC_OK)
        return status;
    buffer_format(yaml,
                  "# Made by pgmosaic config from-pgbouncer. Clients ask for the database \"%s\".\ncluster: ", name);
    add_quoted(yaml, name);
    buffer_text(yaml, "\nengine: postgres\n");
    status = write_shards(conversion, chosen, count, yaml);
    if (count > 1)
        buffer_text(yaml, "# Name the tables that are spread over these shards, then: pgmosaic apply\ntables: []\n");
    if (status == MOSAIC_OK && conversion->settings.auth_user && !conversion->settings.auth_query)
        status = set(conversion, "auth_query",
                     "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin AND (rolvaliduntil "
                     "IS NULL OR rolvaliduntil > now())",
                     "PgBouncer has a default query");
    if (status == MOSAIC_OK)
        status = write_settings(conversion, yaml);
    mosaic_error problem;
    if (status == MOSAIC_OK && settings_check(&conversion->settings, &problem) != MOSAIC_OK)
        note(conversion, "the proxy will refuse this: %s; %s", problem.message, problem.hint);
    if (conversion->notes.size)
        buffer_format(yaml, "\n# Not taken over, or to be looked at:\n%s", buffer_string(&conversion->notes));
    return status;
}

mosaic_status pgbouncer_convert(const char *text, size_t size, const struct pgbouncer_options *options,
                                struct buffer *yaml, mosaic_error *error)
{
    struct conversion *conversion = memory_zeroed(1, sizeof *conversion);
    if (!conversion)
        return error_memory(error);
    conversion->options = options;
    conversion->error = error;
    conversion->notes = BUFFER_INIT(1 << 20);
    conversion->reader =
        (struct ini_reader){&conversion->arena, options->source, take_entry, take_directive, conversion, error};
    mosaic_status status = ini_read(&conversion->reader, text, size);
    if (status == MOSAIC_OK)
        status = write_all(conversion, yaml);
    if (status == MOSAIC_OK && (buffer_failed(yaml) || buffer_failed(&conversion->notes)))
        status = error_memory(error);
    buffer_free(&conversion->notes);
    arena_free(&conversion->arena);
    memory_free(conversion);
    return status;
}
