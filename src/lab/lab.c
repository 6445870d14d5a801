/*
 * lab up, down and list. The rule that makes an interruption harmless: lab.json is the last thing that is written and
 * the first that is removed. A directory without it is half made, and whoever comes next removes it; shards that it
 * does not count are removed likewise. Every call that changes something holds the lab's lock.
 */
#include "lab/lab.h"

#include "base/buffer.h"
#include "base/control_point.h"
#include "lab/citus.h"
#include "lab/config_text.h"
#include "lab/files.h"
#include "lab/passfile.h"
#include "lab/provider.h"
#include "lab/role.h"
#include "lab/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_CONFIG = 4 << 20, LOCK_ATTEMPTS = 20 };

/* One call on one lab. */
struct work {
    struct arena arena;
    struct state state;
    const struct provider *provider;
    lab_say_fn say;
    void *context;
    int lock;
    bool locked;
};

static void say(const struct work *work, const char *format, ...) PRINTF_LIKE(2, 3);

static void say(const struct work *work, const char *format, ...)
{
    char line[512];
    va_list values;

    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (work->say)
        work->say(work->context, line);
}

static void say_waiting(void *context)
{
    const struct work *work = context;

    say(work, "lab %s: waiting for another pgmosaic that works on it", work->state.name);
}

/* ---- opening and closing ---------------------------------------------------------------------------- */

/* For servers of another user to reach their data, root's directories can be entered by all. */
static mode_t directory_mode(void)
{
    return geteuid() == 0 ? 0755 : 0700;
}

/* Takes the lock. Somebody who removed the last lab may remove the directory under us: then again. */
static mosaic_status lock(struct work *work, const volatile int *interrupted, mosaic_error *error)
{
    const struct state *state = &work->state;
    mosaic_status status = MOSAIC_OK;

    for (int attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
        status = files_make_directories(state->checkout_directory, directory_mode(), error);
        if (status == MOSAIC_OK)
            status = files_lock(state->lock_path, interrupted, say_waiting, work, &work->lock, error);
        work->locked = status == MOSAIC_OK;
        if (status != MOSAIC_IO || access(state->checkout_directory, F_OK) == 0)
            break;
    }
    return status;
}

/* Checks the name and finds the paths; takes the lock, and reads the state under it. */
static mosaic_status begin(struct work *work, const char *name, const volatile int *interrupted, lab_say_fn say_line,
                           void *context, mosaic_error *error)
{
    mosaic_status status;

    *work = (struct work){.say = say_line, .context = context};
    status = state_open(&work->arena, name, &work->state, error);
    if (status == MOSAIC_OK || status == MOSAIC_CONFIG)
        status = lock(work, interrupted, error);
    if (status == MOSAIC_OK)
        status = state_open(&work->arena, name, &work->state, error);
    work->provider = provider_of(work->state.provider);
    return status;
}

static void end(struct work *work)
{
    if (work->locked) {
        files_unlock(work->state.lock_path, work->lock);
        if (rmdir(work->state.checkout_directory) == 0) { /* it was the last one */
            char *root = arena_string(&work->arena, work->state.checkout_directory);

            if (root) {
                *strrchr(root, '/') = '\0';
                rmdir(root);
            }
        }
    }
    arena_free(&work->arena);
}

/* ---- removing --------------------------------------------------------------------------------------- */

/* Which provider began a lab whose lab.json is missing or not readable; one without this file has no servers yet. */
static enum lab_provider provider_begun(const struct state *state)
{
    struct buffer text = BUFFER_INIT(64);
    enum lab_provider provider = LAB_LOCAL;

    if (files_read(state->provider_path, &text, NULL) == MOSAIC_OK && strncmp(buffer_string(&text), "docker", 6) == 0)
        provider = LAB_DOCKER;
    buffer_free(&text);
    return provider;
}

static mosaic_status remove_all(const struct state *state, mosaic_error *error)
{
    const struct provider *provider = provider_of(state->complete ? state->provider : provider_begun(state));
    mosaic_status status = provider->reach ? provider->reach(error) : MOSAIC_OK;

    if (status == MOSAIC_OK)
        status = files_remove(state->json_path, error);
    if (status == MOSAIC_OK)
        status = provider->remove(state, 0, error);
    control_point("lab.after_stop");
    return status == MOSAIC_OK ? files_remove(state->directory, error) : status;
}

mosaic_status lab_down(const char *name, lab_say_fn say_line, void *context, mosaic_error *error)
{
    struct work work;
    mosaic_status status = begin(&work, name, NULL, say_line, context, error);

    if (status == MOSAIC_CONFIG) /* a lab.json that is not readable must not keep a lab from being removed */
        status = MOSAIC_OK;
    if (status == MOSAIC_OK && !work.state.directory_exists)
        status = state_not_found(&work.arena, name, error);
    else if (status == MOSAIC_OK) {
        status = remove_all(&work.state, error);
        if (status == MOSAIC_OK)
            say(&work, "lab %s: %s", name,
                work.state.complete ? "servers stopped, everything removed" : "it was half made; removed");
    }
    end(&work);
    return status;
}

/* ---- making ----------------------------------------------------------------------------------------- */

static mosaic_status check_logins(const struct state *state, size_t first, size_t end_shard, mosaic_error *error)
{
    for (size_t i = first; i < end_shard; i++) {
        const char *conninfo = state_conninfo(state, i);
        mosaic_status status = conninfo ? role_check(conninfo, state->shards[i].name, error) : error_memory(error);

        if (status != MOSAIC_OK)
            return status;
    }
    return MOSAIC_OK;
}

/* How many servers mosaic.yaml names: of Citus only the coordinator, which knows its workers. */
static size_t config_count(const struct state *state)
{
    return state->engine == LAB_CITUS ? 1 : state->shard_count;
}

static mosaic_status write_new_config(struct state *state, mosaic_error *error)
{
    struct buffer text = BUFFER_INIT(MOST_CONFIG);
    const char *conninfos[LAB_MOST_SHARDS];
    mosaic_status status;

    for (size_t i = 0; i < config_count(state); i++) {
        conninfos[i] = state_conninfo(state, i);
        if (!conninfos[i])
            return error_memory(error);
        state->shards[i].config_port = state->shards[i].port;
    }
    if (state->engine == LAB_CITUS)
        config_text_new_citus(&text, state->name, conninfos[0]);
    else
        config_text_new(&text, state->name, conninfos, state->shard_count, state->provider == LAB_DOCKER);
    status = buffer_failed(&text) ? error_memory(error)
                                  : files_replace(state->config_path, buffer_string(&text), 0644, error);
    buffer_free(&text);
    return status;
}

/* Makes servers a Citus cluster, or brings one in line with the lab; of other engines nothing is to do. */
static mosaic_status register_nodes(struct work *work, bool save, mosaic_error *error)
{
    struct state *state = &work->state;
    bool changed = false, all_run = true;
    mosaic_status status, saved = MOSAIC_OK;

    if (state->engine != LAB_CITUS)
        return MOSAIC_OK;
    for (size_t i = 0; i < state->shard_count; i++)
        all_run = all_run && work->provider->running(state, i);
    status = citus_register(state, all_run, &changed, error);
    if (save && changed)
        saved = state_save(state, status == MOSAIC_OK ? error : NULL);
    return status == MOSAIC_OK ? saved : status;
}

static mosaic_status make_new(struct work *work, size_t shards, int shard_count, void *handle, mosaic_error *error)
{
    struct state *state = &work->state;
    char password[PASSWORD_SIZE] = "";
    mosaic_status status;

    if (mkdir(state->directory, directory_mode()) != 0)
        return error_errno(error, "cannot make the directory %s", state->directory);
    control_point("lab.after_directory");
    status = files_replace(state->provider_path, lab_provider_name(state->provider), 0644, error);
    if (status == MOSAIC_OK)
        status = password_make(password, error);
    if (status == MOSAIC_OK)
        status = passfile_write(state, password, error);
    if (status == MOSAIC_OK)
        status = work->provider->make(handle, 0, shards, password, error);
    explicit_bzero(password, sizeof password);
    if (status == MOSAIC_OK)
        status = check_logins(state, 0, shards, error);
    state->shard_count = shards;
    if (status == MOSAIC_OK && state->engine == LAB_CITUS)
        status = citus_prepare(state, 0, shards, error);
    if (status == MOSAIC_OK)
        status = register_nodes(work, false, error);
    if (status == MOSAIC_OK && shard_count)
        status = citus_set_shard_count(state, shard_count, error);
    if (status == MOSAIC_OK)
        status = write_new_config(state, error);
    control_point("lab.before_commit");
    if (status == MOSAIC_OK)
        status = state_save(state, error);
    control_point("lab.after_commit");
    return status;
}

/* A lab that could not be made leaves nothing; what hinders the removal is said in the detail. */
static void undo(struct work *work, mosaic_error *error)
{
    mosaic_error second;

    if (remove_all(&work->state, &second) != MOSAIC_OK)
        error_detail(error, "removing what was made failed too: %s", second.message);
    else if (error && error->status == MOSAIC_INTERRUPTED)
        error_detail(error, "what was made is removed again");
}

/* ---- a lab that is there ---------------------------------------------------------------------------- */

/* Brings shards that the config lacks, and ports that moved, into mosaic.yaml, leaving every other byte as it is. */
static mosaic_status update_config(const struct work *work, struct state_shard *shards, const char *old,
                                   struct buffer *text, mosaic_error *error)
{
    const struct state *state = &work->state;
    struct buffer next = BUFFER_INIT(MOST_CONFIG);
    mosaic_status status = MOSAIC_OK;

    buffer_text(text, old);
    for (size_t i = 0; status == MOSAIC_OK && i < config_count(state); i++) {
        const char *conninfo = state_conninfo(state, i), *name = shards[i].name;

        if (!conninfo || buffer_failed(text))
            status = error_memory(error);
        else if (shards[i].config_port == 0)
            status = config_text_add(buffer_string(text), name, conninfo,
                                     state->provider == LAB_DOCKER && state->engine == LAB_POSTGRES, &next, error);
        else if (shards[i].config_port != shards[i].port) {
            if (!config_text_change_port(buffer_string(text), name, shards[i].config_port, shards[i].port, &next))
                say(work, "lab %s: %s moved to port %d; %s names it otherwise, so change it there by hand", state->name,
                    name, shards[i].port, state->config_path);
            else
                say(work, "lab %s: port %d was taken; %s moved to %d, also in mosaic.yaml", state->name,
                    shards[i].config_port, name, shards[i].port);
        } else
            continue;
        shards[i].config_port = shards[i].port;
        buffer_free(text);
        *text = next;
        next = BUFFER_INIT(MOST_CONFIG);
    }
    buffer_free(&next);
    return status;
}

static mosaic_status sync_config(struct work *work, mosaic_error *error)
{
    struct state *state = &work->state;
    struct buffer old = BUFFER_INIT(MOST_CONFIG), text = BUFFER_INIT(MOST_CONFIG);
    bool wanted = false;
    mosaic_status status;

    for (size_t i = 0; i < config_count(state); i++)
        wanted = wanted || state->shards[i].port != state->shards[i].config_port;
    status = files_read(state->config_path, &old, error);
    if (status == MOSAIC_NOT_FOUND) {
        status = write_new_config(state, error);
        wanted = true;
    } else if (status == MOSAIC_OK && wanted) {
        status = update_config(work, state->shards, buffer_string(&old), &text, error);
        if (status == MOSAIC_OK)
            status = files_replace(state->config_path, buffer_string(&text), 0644, error);
        control_point("lab.after_config");
    }
    if (status == MOSAIC_OK && wanted)
        status = state_save(state, error);
    buffer_free(&old);
    buffer_free(&text);
    return status;
}

static mosaic_status add_shards(struct work *work, size_t shards, void *handle, mosaic_error *error)
{
    struct state *state = &work->state;
    size_t before = state->shard_count;
    char password[PASSWORD_SIZE] = "";
    mosaic_error second;
    mosaic_status status = work->provider->remove(state, before, error);

    if (status == MOSAIC_OK)
        status = passfile_read(state, password, error);
    if (status == MOSAIC_OK)
        status = work->provider->make(handle, before, shards, password, error);
    explicit_bzero(password, sizeof password);
    if (status == MOSAIC_OK)
        status = check_logins(state, before, shards, error);
    if (status == MOSAIC_OK && state->engine == LAB_CITUS)
        status = citus_prepare(state, before, shards, error);
    control_point("lab.before_commit");
    if (status == MOSAIC_OK) {
        state->shard_count = shards;
        status = state_save(state, error);
    }
    control_point("lab.after_commit");
    if (status != MOSAIC_OK) {
        state->shard_count = before;
        if (work->provider->remove(state, before, &second) != MOSAIC_OK)
            error_detail(error, "removing what was made failed too: %s", second.message);
    }
    return status;
}

static mosaic_status check_wish(const struct state *state, const struct lab_options *options, mosaic_error *error)
{
    size_t coordinators = state->engine == LAB_CITUS;

    if (options->engine_given && options->engine != state->engine) {
        error_set(error, MOSAIC_USAGE, "lab %s has the engine %s already", state->name, lab_engine_name(state->engine));
        return error_hint(error, "make it anew (its data is lost): pgmosaic lab down %s; or give another name",
                          state->name);
    }
    if (options->provider_given && options->provider != state->provider) {
        error_set(error, MOSAIC_USAGE, "lab %s is made of %s servers already", state->name,
                  lab_provider_name(state->provider));
        return error_hint(error, "make it anew (its data is lost): pgmosaic lab down %s; or give another name",
                          state->name);
    }
    if (options->image && strcmp(options->image, state->image) != 0) {
        error_set(error, MOSAIC_USAGE, "lab %s was made from image %s", state->name,
                  *state->image ? state->image : "none: its servers are local");
        return error_hint(error, "make it anew (its data is lost): pgmosaic lab down %s; or give another name",
                          state->name);
    }
    if (options->servers != 0 && options->servers < state->shard_count) {
        const char *what = coordinators ? "workers" : "shards";

        error_set(error, MOSAIC_USAGE, "lab %s has %zu %s; fewer would lose their data", state->name,
                  state->shard_count - coordinators, what);
        return error_hint(
            error, "make it anew (its data is lost): pgmosaic lab down %s, then pgmosaic lab up %s%s --%s %zu",
            state->name, state->name, coordinators ? " --engine citus" : "", what, options->servers - coordinators);
    }
    return MOSAIC_OK;
}

static mosaic_status bring_up(struct work *work, const struct lab_options *options, void *handle, mosaic_error *error)
{
    struct state *state = &work->state;
    size_t down = 0;
    mosaic_status status;

    for (size_t i = 0; i < state->shard_count; i++)
        down += !work->provider->running(state, i);
    if (down > 0)
        say(work, "lab %s: starting %zu server%s", state->name, down, down == 1 ? "" : "s");
    status = work->provider->start(handle, 0, state->shard_count, error);
    if (status == MOSAIC_OK)
        status = check_logins(state, 0, state->shard_count, error);
    for (size_t i = 0; status == MOSAIC_OK && i < state->shard_count; i++)
        if (state->shards[i].config_port && state->shards[i].port != state->shards[i].config_port) {
            status = state_save(state, error);
            break;
        }
    if (status == MOSAIC_OK && state->engine == LAB_CITUS)
        status = citus_prepare(state, 0, state->shard_count, error);
    if (status == MOSAIC_OK && options->servers > state->shard_count) {
        say(work, "lab %s: adding %zu more", state->name, options->servers - state->shard_count);
        status = add_shards(work, options->servers, handle, error);
    }
    if (status == MOSAIC_OK)
        status = register_nodes(work, true, error);
    if (status == MOSAIC_OK && options->shard_count)
        status = citus_set_shard_count(state, options->shard_count, error);
    return status == MOSAIC_OK ? sync_config(work, error) : status;
}

/* ---- up --------------------------------------------------------------------------------------------- */

/* Finds who is to make a new lab's servers. Citus, unless told otherwise: this machine where it has it, else Docker. */
static mosaic_status open_new(struct work *work, const struct lab_options *options, const struct provider_options *wish,
                              void **handle, mosaic_error *error)
{
    struct state *state = &work->state;
    mosaic_error docker;
    mosaic_status status;

    state_set_engine(state, options->engine_given ? options->engine : LAB_POSTGRES);
    state->provider = options->provider_given ? options->provider : LAB_LOCAL;
    work->provider = provider_of(state->provider);
    status = work->provider->open(state, wish, handle, error);
    if (state->engine != LAB_CITUS || status != MOSAIC_NOT_FOUND || state->provider != LAB_LOCAL)
        return status;
    if (options->postgres && access(options->postgres, F_OK) != 0)
        return status;
    if (options->provider_given)
        return citus_explain_absence(state->arena, NULL, error);
    state->provider = LAB_DOCKER;
    work->provider = provider_of(LAB_DOCKER);
    status = work->provider->open(state, wish, handle, &docker);
    if (status == MOSAIC_OK || status == MOSAIC_INTERRUPTED) {
        if (error)
            *error = docker;
        return status;
    }
    return citus_explain_absence(state->arena, &docker, error);
}

static mosaic_status make_or_bring_up(struct work *work, const struct lab_options *options, mosaic_error *error)
{
    struct state *state = &work->state;
    const struct provider_options wish = {
        .image = options->image, .postgres = options->postgres, .interrupted = options->interrupted};
    size_t servers = options->servers;
    void *handle;
    mosaic_status status;

    if (state->complete) {
        status = check_wish(state, options, error);
        if (status == MOSAIC_OK)
            status = work->provider->open(state, &wish, &handle, error);
        return status == MOSAIC_OK ? bring_up(work, options, handle, error) : status;
    }
    status = open_new(work, options, &wish, &handle, error);
    if (status != MOSAIC_OK)
        return status;
    if (!servers)
        servers = state->engine == LAB_CITUS ? 1 + LAB_WORKERS : LAB_SHARDS;
    if (state->provider == LAB_LOCAL)
        say(work, "lab %s: making %zu server%s of PostgreSQL %d%s", state->name, servers, servers == 1 ? "" : "s",
            state->major, state->engine == LAB_CITUS ? " with Citus" : "");
    else
        say(work, "lab %s: making %zu container%s of %s", state->name, servers, servers == 1 ? "" : "s", state->image);
    status = make_new(work, servers, options->shard_count, handle, error);
    if (status != MOSAIC_OK)
        undo(work, error);
    return status;
}

mosaic_status lab_up(const struct lab_options *options, lab_say_fn say_line, void *context, mosaic_error *error)
{
    struct work work;
    mosaic_status status = begin(&work, options->name, options->interrupted, say_line, context, error);

    if (status == MOSAIC_OK && options->servers > LAB_MOST_SHARDS)
        status =
            error_set(error, MOSAIC_USAGE, "a lab has 1 to %d servers, not %zu", LAB_MOST_SHARDS, options->servers);
    if (status == MOSAIC_OK && work.state.directory_exists && !work.state.complete) {
        say(&work, "lab %s: removing what an interrupted call left", options->name);
        status = remove_all(&work.state, error);
    }
    if (status == MOSAIC_OK)
        status = make_or_bring_up(&work, options, error);
    end(&work);
    return status;
}

/* ---- one server ------------------------------------------------------------------------------------- */

/* A server by its name; by its number too where the names are s0, s1 …. */
static size_t find_server(const struct state *state, const char *wanted)
{
    size_t i;

    for (i = 0; i < state->shard_count; i++)
        if (strcmp(state->shards[i].name, wanted) == 0 ||
            (state->engine == LAB_POSTGRES && strcmp(state->shards[i].name + 1, wanted) == 0))
            break;
    return i;
}

/* begin() on a complete lab, and the number of the shard in it. */
static mosaic_status begin_shard(struct work *work, const char *name, const char *shard, size_t *number,
                                 mosaic_error *error)
{
    mosaic_status status = begin(work, name, NULL, NULL, NULL, error);
    const struct state *state = &work->state;

    if (status == MOSAIC_OK && !state->complete)
        return state_not_found(&work->arena, name, error);
    if (status != MOSAIC_OK)
        return status;
    *number = find_server(state, shard);
    if (*number < state->shard_count)
        return MOSAIC_OK;
    error_set(error, MOSAIC_NOT_FOUND, "lab %s has no %s %s", name, state->engine == LAB_CITUS ? "node" : "shard",
              shard);
    if (state->engine == LAB_CITUS)
        return error_hint(error, "its nodes are coordinator and w1 to w%zu", state->shard_count - 1);
    return error_hint(error, "its shards are s0 to s%zu", state->shard_count - 1);
}

mosaic_status lab_stop_shard(const char *name, const char *shard, mosaic_error *error)
{
    struct work work;
    size_t number;
    mosaic_status status = begin_shard(&work, name, shard, &number, error);

    if (status == MOSAIC_OK)
        status = work.provider->crash(&work.state, number, error);
    end(&work);
    return status;
}

mosaic_status lab_start_shard(const char *name, const char *shard, mosaic_error *error)
{
    struct work work;
    const struct provider_options options = {0};
    size_t number;
    void *handle;
    mosaic_status status = begin_shard(&work, name, shard, &number, error);

    if (status == MOSAIC_OK)
        status = work.provider->open(&work.state, &options, &handle, error);
    if (status == MOSAIC_OK)
        status = work.provider->start(handle, number, number + 1, error);
    if (status == MOSAIC_OK)
        status = check_logins(&work.state, number, number + 1, error);
    if (status == MOSAIC_OK && work.state.shards[number].port != work.state.shards[number].config_port) {
        status = state_save(&work.state, error);
        if (status == MOSAIC_OK && work.provider->running(&work.state, 0))
            status = register_nodes(&work, true, error);
        if (status == MOSAIC_OK)
            status = sync_config(&work, error);
    }
    end(&work);
    return status;
}
