#include "proxy/world.h"

#include "base/buffer.h"
#include "pq/conninfo.h"
#include "proxy/passfile.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PASSFILE_MOST = 1 << 20 };

/* ---- the password file ---- */

static const char *passfile_path(struct arena *arena, const PQconninfoOption *options)
{
    const char *given = conninfo_value(options, "passfile");
    if (!given)
        given = getenv("PGPASSFILE");
    if (given && *given)
        return given;
    const char *home = getenv("HOME");
    return home ? arena_format(arena, "%s/.pgpass", home) : NULL;
}

/* As libpq: a file that others may read is not used. NULL where there is none. */
static const char *read_passfile(struct arena *arena, const PQconninfoOption *options)
{
    struct stat found;
    const char *path = passfile_path(arena, options);
    FILE *file = path ? fopen(path, "re") : NULL;
    char *text = NULL;
    if (!file)
        return NULL;
    if (fstat(fileno(file), &found) == 0 && S_ISREG(found.st_mode) && !(found.st_mode & (S_IRWXG | S_IRWXO)) &&
        found.st_size < PASSFILE_MOST && (text = arena_allocate(arena, (size_t)found.st_size + 1)))
        text[fread(text, 1, (size_t)found.st_size, file)] = '\0';
    fclose(file);
    return text;
}

/* ---- addresses ---- */

static bool add_unix(struct target *target, const char *directory, const char *port)
{
    struct endpoint *endpoint = &target->endpoints[target->endpoint_count];
    struct sockaddr_un *address = (struct sockaddr_un *)(void *)&endpoint->address;
    int size = snprintf(address->sun_path, sizeof address->sun_path, "%s/.s.PGSQL.%s", directory, port);
    if (size < 0 || (size_t)size >= sizeof address->sun_path)
        return false;
    address->sun_family = AF_UNIX;
    if (directory[0] == '@')
        address->sun_path[0] = '\0';
    endpoint->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)size + (directory[0] != '@'));
    endpoint->host = directory;
    endpoint->port = port;
    target->endpoint_count++;
    return true;
}

static bool is_number(const char *host)
{
    struct in6_addr ignored;
    return inet_pton(AF_INET, host, &ignored) == 1 || inet_pton(AF_INET6, host, &ignored) == 1;
}

static mosaic_status add_name(struct target *target, const char *shard, const char *host, const char *name,
                              const char *port, mosaic_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC}, *found, *each;
    target->has_names |= !is_number(name);
    int code = getaddrinfo(name, port, &hints, &found);
    if (code != 0) {
        (void)!error_set(error, MOSAIC_UNREACHABLE, "cannot find the address of host \"%s\": %s", name,
                         gai_strerror(code));
        return error_shard(error, shard);
    }
    for (each = found; each && target->endpoint_count < ENDPOINTS_MOST; each = each->ai_next) {
        struct endpoint *endpoint = &target->endpoints[target->endpoint_count];
        if (each->ai_addrlen > sizeof endpoint->address)
            continue;
        memcpy(&endpoint->address, each->ai_addr, each->ai_addrlen);
        endpoint->size = each->ai_addrlen;
        endpoint->host = host;
        endpoint->port = port;
        target->endpoint_count++;
    }
    freeaddrinfo(found);
    return MOSAIC_OK;
}

/* The i-th of a list parted by commas; a list of one serves every i. */
static const char *part_of(struct arena *arena, const char *list, size_t i)
{
    if (!strchr(list, ','))
        return list;
    for (; i; i--) {
        const char *comma = strchr(list, ',');
        if (!comma)
            return "";
        list = comma + 1;
    }
    return arena_copy(arena, list, strcspn(list, ","));
}

static size_t parts_in(const char *list)
{
    size_t count = 1;
    for (; *list; list++)
        count += *list == ',';
    return count;
}

struct place_lists {
    const char *hosts, *addresses, *ports;
};

static mosaic_status add_place(struct arena *arena, struct target *target, const char *shard,
                               const struct place_lists *lists, size_t i, mosaic_error *error)
{
    const char *host = lists->hosts ? part_of(arena, lists->hosts, i) : "";
    const char *address = lists->addresses ? part_of(arena, lists->addresses, i) : "";
    const char *port = part_of(arena, lists->ports, i);
    if (!host || !address || !port)
        return error_memory(error);
    if (!*port)
        port = "5432";
    if (!*address && (!*host || *host == '/' || *host == '@')) {
        if (!add_unix(target, *host ? host : "/var/run/postgresql", port))
            return error_set(error, MOSAIC_CONFIG, "shard %s: the path of the socket in %s is too long", shard, host);
        return MOSAIC_OK;
    }
    return add_name(target, shard, *host ? host : address, *address ? address : host, port, error);
}

static mosaic_status add_places(struct arena *arena, struct target *target, const char *shard,
                                const PQconninfoOption *options, mosaic_error *error)
{
    struct place_lists lists = {conninfo_value(options, "host"), conninfo_value(options, "hostaddr"),
                                conninfo_value(options, "port")};
    if (!lists.hosts && !lists.addresses)
        lists.hosts = getenv("PGHOST");
    if (!lists.ports)
        lists.ports = getenv("PGPORT") ? getenv("PGPORT") : "5432";
    const char *longest = lists.addresses ? lists.addresses : lists.hosts ? lists.hosts : "";
    size_t count = parts_in(longest);
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < count && target->endpoint_count < ENDPOINTS_MOST; i++) {
        status = add_place(arena, target, shard, &lists, i, error);
        if (status == MOSAIC_CONFIG || status == MOSAIC_MEMORY)
            return status;
    }
    return target->endpoint_count ? MOSAIC_OK : status;
}

/* ---- a target ---- */

static const char *current_user(struct arena *arena)
{
    struct passwd *entry = getpwuid(geteuid());
    return arena_string(arena, entry ? entry->pw_name : "postgres");
}

static const char *text_of(struct arena *arena, const PQconninfoOption *options, const char *keyword,
                           const char *variable)
{
    const char *value = conninfo_value(options, keyword);
    if (!value && variable)
        value = getenv(variable);
    return value && *value ? arena_string(arena, value) : NULL;
}

static void find_passwords(struct arena *arena, struct target *target, const PQconninfoOption *options)
{
    const char *given = text_of(arena, options, "password", "PGPASSWORD");
    const char *text = given ? NULL : read_passfile(arena, options);
    for (size_t i = 0; i < target->endpoint_count; i++) {
        struct endpoint *endpoint = &target->endpoints[i];
        const char *host = endpoint->address.ss_family == AF_UNIX ? "localhost" : endpoint->host;
        endpoint->password = given;
        if (text)
            endpoint->password = passfile_find(arena, text, host, endpoint->port, target->database, target->user);
    }
}

static mosaic_status fill_target(struct arena *arena, struct target *target, const struct shard *shard,
                                 mosaic_error *error)
{
    PQconninfoOption *options = conninfo_parse(shard->conninfo, error);
    if (!options)
        return error_shard(error, shard->name);
    target->user = text_of(arena, options, "user", "PGUSER");
    if (!target->user)
        target->user = current_user(arena);
    target->database = text_of(arena, options, "dbname", "PGDATABASE");
    if (!target->database)
        target->database = target->user;
    target->options = text_of(arena, options, "options", "PGOPTIONS");
    target->session_attrs = text_of(arena, options, "target_session_attrs", "PGTARGETSESSIONATTRS");
    target->files.sslmode = text_of(arena, options, "sslmode", "PGSSLMODE");
    target->files.sslrootcert = text_of(arena, options, "sslrootcert", "PGSSLROOTCERT");
    target->files.sslcert = text_of(arena, options, "sslcert", "PGSSLCERT");
    target->files.sslkey = text_of(arena, options, "sslkey", "PGSSLKEY");
    target->files.sslcrl = text_of(arena, options, "sslcrl", "PGSSLCRL");
    target->files.sslsni = text_of(arena, options, "sslsni", "PGSSLSNI");
    /* What the lists are cut into must outlive the options. */
    mosaic_status status = add_places(arena, target, shard->name, options, error);
    for (size_t i = 0; i < target->endpoint_count; i++) {
        struct endpoint *endpoint = &target->endpoints[i];
        endpoint->host = arena_string(arena, endpoint->host);
        endpoint->port = arena_string(arena, endpoint->port);
    }
    find_passwords(arena, target, options);
    PQconninfoFree(options);
    if (status != MOSAIC_OK && status != MOSAIC_UNREACHABLE)
        return status;
    bool has_network = false;
    for (size_t i = 0; i < target->endpoint_count; i++)
        has_network |= target->endpoints[i].address.ss_family != AF_UNIX;
    if (!has_network || tls_context_client(&target->files, &target->tls, error) == MOSAIC_OK)
        return status;
    error_prefix(error, "shard %s", shard->name);
    return MOSAIC_CONFIG;
}

mosaic_status world_targets(struct world *world, mosaic_error *error)
{
    const struct model *model = &world->model;
    world->targets = arena_zeroed(&world->arena, model_places(model), sizeof *world->targets);
    if (!world->targets)
        return error_memory(error);
    for (size_t i = 0; i < model_places(model); i++) {
        mosaic_status status = fill_target(&world->arena, &world->targets[i], &model->shards[i], error);
        /* A name that is not found now may be later: the shard is down, the others are not. */
        if (status != MOSAIC_OK && status != MOSAIC_UNREACHABLE)
            return status;
    }
    return MOSAIC_OK;
}

static bool has_endpoint(const struct target *target, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < target->endpoint_count; i++)
        if (target->endpoints[i].size == endpoint->size &&
            memcmp(&target->endpoints[i].address, &endpoint->address, endpoint->size) == 0)
            return true;
    return false;
}

bool world_has_moved(const struct world *world)
{
    struct world now = {.model = world->model}; /* which stays the other one's */
    mosaic_error ignored;
    bool moved = false, known = world_targets(&now, &ignored) == MOSAIC_OK;
    for (size_t i = 0; now.targets && i < model_places(&now.model); i++) {
        for (size_t j = 0; known && j < now.targets[i].endpoint_count; j++)
            moved |= !has_endpoint(&world->targets[i], &now.targets[i].endpoints[j]);
        tls_context_free(now.targets[i].tls);
    }
    arena_free(&now.arena);
    return moved;
}

static bool is_row(const struct schema *schema, const struct schema_type *type)
{
    const struct schema_type *element = type->element ? schema_type_by_oid(schema, type->element) : NULL;
    return type->kind == 'c' || (element && element->kind == 'c');
}

mosaic_status world_compare_types(struct world *world, mosaic_error *error)
{
    const struct schema *schema = world->schema;
    world->types_agree = arena_zeroed(&world->arena, model_places(&world->model), sizeof *world->types_agree);
    if (!world->types_agree)
        return error_memory(error);
    for (size_t shard = 0; shard < model_places(&world->model); shard++) {
        world->types_agree[shard] = true;
        for (size_t i = 0; i < schema->type_count && schema->type_oids; i++) {
            const struct schema_type *type = &schema->types[i];
            if (schema_oid_on(schema, shard, type->oid) != type->oid && !is_row(schema, type))
                world->types_agree[shard] = false;
        }
    }
    return MOSAIC_OK;
}

const char *world_password(const struct world *world, const char *user)
{
    for (size_t i = 0; i < world->model.shard_count; i++) {
        const struct target *target = &world->targets[i];
        if (strcmp(target->user, user) == 0 && target->endpoint_count && target->endpoints[0].password)
            return target->endpoints[0].password;
    }
    return NULL;
}

bool world_share_server(const struct world *world, size_t a, size_t b)
{
    const struct target *one = &world->targets[a], *other = &world->targets[b];
    for (size_t i = 0; i < one->endpoint_count; i++)
        if (has_endpoint(other, &one->endpoints[i]))
            return true;
    return false;
}

struct world *world_hold(struct world *world)
{
    atomic_fetch_add(&world->references, 1);
    return world;
}

void world_release(struct world *world)
{
    if (!world || atomic_fetch_sub(&world->references, 1) != 1)
        return;
    for (size_t i = 0; world->targets && i < model_places(&world->model); i++)
        tls_context_free(world->targets[i].tls);
    if (world->schema)
        schema_free(world->schema);
    memory_free(world->schema);
    model_free(&world->model);
    arena_free(&world->arena);
    memory_free(world);
}
