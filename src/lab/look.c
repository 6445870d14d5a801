/* Looking at labs, without a lock: lab.json is replaced whole, so what is read was true at some moment. */
#include "lab/lab.h"

#include "lab/provider.h"
#include "lab/state.h"

const struct provider *provider_of(enum lab_provider provider)
{
    return provider == LAB_DOCKER ? &provider_docker : &provider_local;
}

mosaic_status state_not_found(struct arena *arena, const char *name, mosaic_error *error)
{
    const char *const *names, *text = "";
    size_t count;
    mosaic_status status = state_names(arena, &names, &count, error);

    if (status != MOSAIC_OK)
        return status;
    for (size_t i = 0; text && i < count; i++)
        text = arena_format(arena, "%s%s%s", text, i ? ", " : "", names[i]);
    error_set(error, MOSAIC_NOT_FOUND, "there is no lab %s in this checkout", name);
    if (count > 0 && text)
        error_hint(error, "there are: %s", text);
    else
        error_hint(error, "there are none; make one: pgmosaic lab up %s", name);
    return MOSAIC_NOT_FOUND;
}

static mosaic_status describe(const struct state *state, struct lab *lab, mosaic_error *error)
{
    const struct provider *provider = provider_of(state->provider);

    *lab = (struct lab){.name = state->name,
                        .directory = state->directory,
                        .config_path = state->config_path,
                        .passfile = state->passfile,
                        .provider = state->provider,
                        .engine = state->engine,
                        .user = state->user,
                        .database = state->database,
                        .shard_count = state->shard_count,
                        .up = state->complete,
                        .half_made = !state->complete};
    lab->shards = arena_zeroed(state->arena, state->shard_count + 1, sizeof *lab->shards);
    if (!lab->shards)
        return error_memory(error);
    for (size_t i = 0; i < state->shard_count; i++) {
        struct lab_shard *shard = &lab->shards[i];

        shard->name = arena_string(state->arena, state->shards[i].name);
        shard->port = state->shards[i].port;
        shard->conninfo = state_conninfo(state, i);
        shard->running = provider->running(state, i);
        lab->up = lab->up && shard->running;
        if (!shard->name || !shard->conninfo)
            return error_memory(error);
    }
    return MOSAIC_OK;
}

mosaic_status lab_find(struct arena *arena, const char *name, struct lab *lab, mosaic_error *error)
{
    struct state state;
    mosaic_status status = state_open(arena, name, &state, error);

    if (status == MOSAIC_OK && !state.directory_exists)
        return state_not_found(arena, name, error);
    if (status == MOSAIC_OK && !state.complete) {
        error_set(error, MOSAIC_NOT_FOUND, "lab %s is half made", name);
        return error_hint(error, "make it: pgmosaic lab up %s", name);
    }
    return status == MOSAIC_OK ? describe(&state, lab, error) : status;
}

mosaic_status lab_list(struct arena *arena, struct lab **labs, size_t *count, mosaic_error *error)
{
    const char *const *names;
    size_t name_count;
    mosaic_status status = state_names(arena, &names, &name_count, error);

    *count = 0;
    if (status != MOSAIC_OK)
        return status;
    *labs = arena_zeroed(arena, name_count + 1, sizeof **labs);
    if (!*labs)
        return error_memory(error);
    for (size_t i = 0; status == MOSAIC_OK && i < name_count; i++) {
        struct state state;

        status = state_open(arena, names[i], &state, error);
        if (status == MOSAIC_USAGE) { /* a directory that cannot be a lab's */
            status = MOSAIC_OK;
            continue;
        }
        if (status == MOSAIC_OK || status == MOSAIC_CONFIG)
            status = describe(&state, &(*labs)[(*count)++], error);
    }
    return status;
}
