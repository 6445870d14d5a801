#include "lab/state.h"

#include "base/buffer.h"
#include "lab/files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_NAME = 32, MOST_BASENAME = 40, MOST_LABS = 1000, VERSION = 1 };

static const char *const provider_names[] = {[LAB_LOCAL] = "local", [LAB_DOCKER] = "docker"};

static const char *const engine_names[] = {[LAB_POSTGRES] = "postgres", [LAB_CITUS] = "citus"};

const char *lab_provider_name(enum lab_provider provider)
{
    return provider_names[provider];
}

const char *state_hash(const char *of, char *text)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)of, strlen(of), digest);
    for (int i = 0; i < 8; i++)
        snprintf(text + (size_t)2 * (size_t)i, 3, "%02x", digest[i]);
    return text;
}

const char *lab_engine_name(enum lab_engine engine)
{
    return engine_names[engine];
}

void state_set_engine(struct state *state, enum lab_engine engine)
{
    state->engine = engine;
    for (size_t i = 0; i < LAB_MOST_SHARDS; i++) {
        if (engine == LAB_CITUS && i == 0)
            snprintf(state->shards[i].name, STATE_NAME_SIZE, "coordinator");
        else
            snprintf(state->shards[i].name, STATE_NAME_SIZE, "%c%zu", engine == LAB_CITUS ? 'w' : 's', i);
    }
}

/* The nearest directory above `from` (or itself) that holds .git; else `from`. */
static const char *find_checkout(struct arena *arena, const char *from)
{
    char *path = arena_string(arena, from);

    while (path && *path) {
        const char *git = arena_format(arena, "%s/.git", path);
        char *slash = strrchr(path, '/');
        struct stat found;

        if (git && stat(git, &found) == 0)
            return path;
        if (!slash)
            break;
        *slash = '\0';
    }
    return arena_string(arena, from);
}

static mosaic_status find_root(struct arena *arena, const char **root, mosaic_error *error)
{
    const char *forced = getenv("PGMOSAIC_STATE"), *xdg = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (forced && *forced)
        *root = arena_string(arena, forced);
    else if (geteuid() == 0)
        *root = arena_string(arena, "/var/lib/pgmosaic");
    else if (xdg && *xdg == '/') /* the XDG specification says to ignore a relative one */
        *root = arena_format(arena, "%s/pgmosaic", xdg);
    else if (home && *home == '/')
        *root = arena_format(arena, "%s/.local/state/pgmosaic", home);
    else
        return error_set(error, MOSAIC_USAGE, "no place for the state of labs: HOME is not set"),
               error_hint(error, "set PGMOSAIC_STATE to a directory");
    if (!*root)
        return error_memory(error);
    if (**root != '/')
        return error_set(error, MOSAIC_USAGE, "PGMOSAIC_STATE=%s is not an absolute path", *root);
    for (const char *at = *root; *at; at++)
        if (iscntrl((unsigned char)*at))
            return error_set(error, MOSAIC_USAGE, "the state directory's path has a control character in it");
    return MOSAIC_OK;
}

mosaic_status state_checkout(struct arena *arena, const char **checkout, const char **directory, mosaic_error *error)
{
    const char *root = NULL, *base;
    char *here = realpath(".", NULL), shown[MOST_BASENAME + 1], hash[17];
    size_t size = 0;
    mosaic_status status = find_root(arena, &root, error);

    if (!here)
        return error_errno(error, "cannot tell the current directory");
    *checkout = find_checkout(arena, here);
    free(here);
    if (status != MOSAIC_OK)
        return status;
    if (!*checkout)
        return error_memory(error);
    base = strrchr(*checkout, '/') ? strrchr(*checkout, '/') + 1 : *checkout;
    for (; base[size] && size < MOST_BASENAME; size++)
        shown[size] = isalnum((unsigned char)base[size]) && (unsigned char)base[size] < 128 ? base[size] : '_';
    shown[size] = '\0';
    *directory = arena_format(arena, "%s/%s-%s", root, shown, state_hash(*checkout, hash));
    return *directory ? MOSAIC_OK : error_memory(error);
}

static mosaic_status check_name(const char *name, mosaic_error *error)
{
    static const char *const taken[] = {"postgres", "template0", "template1", "public", "none"};
    size_t size = strlen(name);
    bool good = size > 0 && size <= MOST_NAME && isalnum((unsigned char)name[0]) != 0;

    for (size_t i = 0; good && i < size; i++)
        good = (isalnum((unsigned char)name[i]) && (unsigned char)name[i] < 128) || name[i] == '-' || name[i] == '_';
    if (!good)
        return error_set(
            error, MOSAIC_USAGE,
            "\"%.40s\" cannot name a lab: use letters, digits, - and _, at most %d, with a letter or digit "
            "first",
            name, MOST_NAME);
    /* The name is a role's and a database's too. */
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        good = good && strcmp(name, taken[i]) != 0;
    if (!good || strncmp(name, "pg_", 3) == 0)
        return error_set(error, MOSAIC_USAGE, "\"%s\" cannot name a lab: PostgreSQL keeps this name for itself", name);
    return MOSAIC_OK;
}

static mosaic_status malformed(const struct state *state, const char *what, mosaic_error *error)
{
    error_set(error, MOSAIC_CONFIG, "%s is not readable: %s", state->json_path, what);
    return error_hint(error, "pgmosaic lab down %s removes the lab", state->name);
}

static const char *text_of(const struct state *state, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return arena_string(state->arena, text ? text : "");
}

static mosaic_status decode(struct state *state, const json_t *json, mosaic_error *error)
{
    const json_t *shards = json_object_get(json, "shards");
    const char *provider = text_of(state, json, "provider"), *engine = text_of(state, json, "engine");

    if (json_integer_value(json_object_get(json, "version")) != VERSION)
        return malformed(state, "it was written by another version of pgmosaic", error);
    if (!provider || (strcmp(provider, "local") != 0 && strcmp(provider, "docker") != 0))
        return malformed(state, "provider is neither local nor docker", error);
    state->provider = strcmp(provider, "docker") == 0 ? LAB_DOCKER : LAB_LOCAL;
    if (!engine || (*engine && strcmp(engine, "postgres") != 0 && strcmp(engine, "citus") != 0))
        return malformed(state, "engine is neither postgres nor citus", error);
    state_set_engine(state, strcmp(engine, "citus") == 0 ? LAB_CITUS : LAB_POSTGRES); /* none: before there were two */
    state->postgres = text_of(state, json, "postgres");
    state->image = text_of(state, json, "image");
    state->major = (int)json_integer_value(json_object_get(json, "major"));
    state->shard_count = json_array_size(shards);
    if (!state->postgres || !state->image)
        return error_memory(error);
    if (state->shard_count < 1 || state->shard_count > LAB_MOST_SHARDS)
        return malformed(state, "shards is not a list of 1 to 64", error);
    for (size_t i = 0; i < state->shard_count; i++) {
        const json_t *shard = json_array_get(shards, i);
        json_int_t port = json_integer_value(json_object_get(shard, "port"));
        json_int_t config_port = json_integer_value(json_object_get(shard, "config_port"));

        if (port < 1 || port > 65535 || config_port < 0 || config_port > 65535)
            return malformed(state, "a shard has no port", error);
        state->shards[i].port = (int)port;
        state->shards[i].config_port = (int)config_port;
    }
    return MOSAIC_OK;
}

static mosaic_status read_json(struct state *state, mosaic_error *error)
{
    struct buffer text = BUFFER_INIT(1 << 20);
    json_error_t reason;
    json_t *json = NULL;
    mosaic_status status = files_read(state->json_path, &text, error);

    if (status == MOSAIC_NOT_FOUND) {
        buffer_free(&text);
        return MOSAIC_OK;
    }
    if (status == MOSAIC_OK) {
        json = json_loadb(buffer_string(&text), text.size, 0, &reason);
        status = json ? decode(state, json, error) : malformed(state, reason.text, error);
    }
    state->complete = status == MOSAIC_OK;
    json_decref(json);
    buffer_free(&text);
    return status;
}

mosaic_status state_open(struct arena *arena, const char *name, struct state *state, mosaic_error *error)
{
    struct stat found;
    mosaic_status status;

    *state = (struct state){.arena = arena};
    state_set_engine(state, LAB_POSTGRES);
    status = check_name(name, error);
    if (status == MOSAIC_OK)
        status = state_checkout(arena, &state->checkout, &state->checkout_directory, error);
    if (status != MOSAIC_OK)
        return status;
    state->name = state->user = state->database = arena_string(arena, name);
    state->directory = arena_format(arena, "%s/%s", state->checkout_directory, name);
    state->json_path = arena_format(arena, "%s/lab.json", state->directory);
    state->config_path = arena_format(arena, "%s/mosaic.yaml", state->directory);
    state->passfile = arena_format(arena, "%s/pgpass", state->directory);
    state->lock_path = arena_format(arena, "%s/%s.lock", state->checkout_directory, name);
    state->provider_path = arena_format(arena, "%s/provider", state->directory);
    state->postgres = state->image = "";
    if (!state->name || !state->directory || !state->json_path || !state->config_path || !state->passfile ||
        !state->lock_path || !state->provider_path)
        return error_memory(error);
    state->directory_exists = lstat(state->directory, &found) == 0;
    return read_json(state, error);
}

mosaic_status state_save(const struct state *state, mosaic_error *error)
{
    json_t *shards = json_array(), *json;
    char *text;
    mosaic_status status;

    for (size_t i = 0; i < state->shard_count; i++)
        json_array_append_new(shards, json_pack("{s:s, s:i, s:i}", "name", state->shards[i].name, "port",
                                                state->shards[i].port, "config_port", state->shards[i].config_port));
    json =
        json_pack("{s:i, s:s, s:s, s:s%, s:s, s:s%, s:i, s:s%, s:o}", "version", VERSION, "name", state->name, "engine",
                  lab_engine_name(state->engine), "checkout", state->checkout, strlen(state->checkout), "provider",
                  lab_provider_name(state->provider), "postgres", state->postgres, strlen(state->postgres), "major",
                  state->major, "image", state->image, strlen(state->image), "shards", shards);
    if (!json) /* a path that is not UTF-8 */
        return error_set(error, MOSAIC_USAGE, "the path %s is not valid UTF-8", state->checkout);
    text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    if (!text)
        return error_memory(error);
    status = files_replace(state->json_path, text, 0644, error);
    free(text);
    return status;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

mosaic_status state_names(struct arena *arena, const char *const **names, size_t *count, mosaic_error *error)
{
    const char *checkout, *directory, **found = arena_allocate(arena, MOST_LABS * sizeof *found);
    const struct dirent *entry;
    mosaic_status status = state_checkout(arena, &checkout, &directory, error);
    DIR *stream;

    *count = 0;
    *names = found;
    if (status != MOSAIC_OK)
        return status;
    if (!found)
        return error_memory(error);
    stream = opendir(directory);
    if (!stream && errno == ENOENT)
        return MOSAIC_OK;
    if (!stream)
        return error_errno(error, "cannot list %s", directory);
    while (status == MOSAIC_OK && *count < MOST_LABS && (entry = readdir(stream)) != NULL) {
        const char *path = arena_format(arena, "%s/%s", directory, entry->d_name);
        struct stat kind;

        if (!path || entry->d_name[0] == '.' || lstat(path, &kind) != 0 || !S_ISDIR(kind.st_mode))
            continue;
        found[*count] = arena_string(arena, entry->d_name);
        if (!found[*count])
            status = error_memory(error);
        else
            ++*count;
    }
    closedir(stream);
    qsort(found, *count, sizeof *found, compare_names);
    return status;
}

/* 'value' for libpq, with ' and \ escaped, where it has anything but plain characters. */
static void add_value(struct buffer *buffer, const char *value)
{
    bool plain = *value != '\0';

    for (const char *at = value; *at; at++)
        plain = plain && (isalnum((unsigned char)*at) || strchr("/._-+,:@", *at));
    if (plain) {
        buffer_text(buffer, value);
        return;
    }
    buffer_char(buffer, '\'');
    for (const char *at = value; *at; at++) {
        if (*at == '\'' || *at == '\\')
            buffer_char(buffer, '\\');
        buffer_char(buffer, *at);
    }
    buffer_char(buffer, '\'');
}

const char *state_conninfo(const struct state *state, size_t shard)
{
    struct buffer text = BUFFER_INIT(16 * 1024);
    const char *conninfo;

    buffer_format(&text, "host=127.0.0.1 port=%d dbname=%s user=%s passfile=", state->shards[shard].port,
                  state->database, state->user);
    add_value(&text, state->passfile);
    conninfo = buffer_failed(&text) ? NULL : arena_string(state->arena, buffer_string(&text));
    buffer_free(&text);
    return conninfo;
}
