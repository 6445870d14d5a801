#include "catalog/coordinator_follow.h"

#include "catalog/apply.h"
#include "catalog/coordinator.h"
#include "catalog/coordinator_build.h"
#include "catalog/introspect.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONNECT_MS = 5000, LOOK_MS = 10000, LOCK_WAIT_MS = 3000, LOCK_RETRY_MS = 50, DUMP_LOCK_MS = 500 };

struct follow {
    const struct model *model;
    size_t home;
    int64_t deadline;
    const volatile int *interrupted;
    PGconn **shards;
    struct shard_facts facts;
    struct findings findings;
    struct coordinator_look look;
    struct arena arena;
    mosaic_error *error;
};

static int64_t within(const struct follow *follow, int ms)
{
    int64_t least = pq_deadline(ms);
    return least < follow->deadline ? least : follow->deadline;
}

static mosaic_status connect(struct follow *follow)
{
    const struct model *model = follow->model;
    mosaic_status status = MOSAIC_OK;
    for (size_t i = 0; i < model->shard_count && status == MOSAIC_OK; i++)
        status = pq_connect(model->shards[i].conninfo, model->shards[i].name, "pgmosaic proxy",
                            within(follow, CONNECT_MS), &follow->shards[i], follow->error);
    return status;
}

static mosaic_status take_lock(struct follow *follow)
{
    const char *name = follow->model->shards[follow->home].name;
    int64_t deadline = within(follow, LOCK_WAIT_MS);
    for (;;) {
        PGresult *result = NULL;
        mosaic_status status = pq_exec(follow->shards[follow->home], name, apply_lock_sql, within(follow, LOOK_MS),
                                       &result, follow->error);
        bool taken = status == MOSAIC_OK && PQgetvalue(result, 0, 0)[0] == 't';
        PQclear(result);
        if (status != MOSAIC_OK || taken)
            return status;
        if (!pq_left_ms(deadline))
            return error_set(follow->error, MOSAIC_PREFLIGHT, "an apply is running on this cluster");
        nanosleep(&(struct timespec){.tv_nsec = LOCK_RETRY_MS * 1000000L}, NULL);
    }
}

/*
 * Behind the definitions' part of a fingerprint stands that of map and addresses. An apply that was cut off has left a
 * later epoch and the old fingerprint (grow_fence): none is at work now, so the home shard says which of the two it is.
 */
static bool has_our_map(const struct follow *follow, const PGresult *answer, const char *fingerprint)
{
    uint64_t ours = follow->model->epoch, home = follow->facts.mosaic.present ? follow->facts.mosaic.epoch : 0;
    if (!answer || PQntuples(answer) != 1)
        return false;
    uint64_t theirs = strtoull(PQgetvalue(answer, 0, 0), NULL, 10);
    const char *their_map = strchr(PQgetvalue(answer, 0, 3), '-'), *our_map = strchr(fingerprint, '-');
    return (theirs == ours || (theirs > ours && home == ours)) && their_map && our_map &&
           strcmp(their_map, our_map) == 0;
}

static mosaic_status check_map(struct follow *follow)
{
    char fingerprint[COORDINATOR_FINGERPRINT_SIZE];
    PGresult *answer = NULL;
    mosaic_status status = coordinator_fingerprint(follow->shards[follow->home], follow->model, within(follow, LOOK_MS),
                                                   fingerprint, follow->error);
    if (status == MOSAIC_OK)
        status = coordinator_ask(follow->look.connection, within(follow, LOOK_MS), &answer, follow->error);
    if (status == MOSAIC_OK && !has_our_map(follow, answer, fingerprint) &&
        (status = coordinator_judge(follow->model, answer, fingerprint, follow->error)) == MOSAIC_OK)
        status = error_set(follow->error, MOSAIC_STALE, "the coordinator is not known to be of this map");
    PQclear(answer);
    return status;
}

static mosaic_status build(struct follow *follow)
{
    struct coordinator_build build = {.model = follow->model,
                                      .home = follow->home,
                                      .shards = follow->shards,
                                      .coordinator = follow->look.connection,
                                      .deadline = follow->deadline,
                                      .dump_lock_ms = DUMP_LOCK_MS,
                                      .interrupted = follow->interrupted};
    mosaic_status status = coordinator_build(&build, follow->error);
    buffer_free(&build.lacks);
    buffer_free(&build.notes);
    return status;
}

/* What apply would say of it, and do. */
static mosaic_status bring_up(struct follow *follow)
{
    const struct coordinator_input input = {follow->model,     follow->home, follow->shards, &follow->facts,
                                            &follow->findings, CONNECT_MS,   LOOK_MS};
    mosaic_status status =
        introspect_shard(follow->shards[follow->home], follow->model->shards[follow->home].name, NULL, 0,
                         within(follow, LOOK_MS), &follow->arena, &follow->facts, follow->error);
    if (status == MOSAIC_OK)
        status = coordinator_look(&input, &follow->look, follow->error);
    if (status != MOSAIC_OK || follow->look.state == COORDINATOR_IN_STEP)
        return status;
    if (follow->look.state != COORDINATOR_BEHIND) {
        status = follow->look.state == COORDINATOR_UNREACHABLE ? MOSAIC_UNREACHABLE : MOSAIC_STALE;
        error_set(follow->error, status, "the coordinator: %s", follow->look.why);
        return error_hint(follow->error, "%s", follow->look.fix);
    }
    status = check_map(follow);
    return status == MOSAIC_OK ? build(follow) : status;
}

mosaic_status coordinator_follow(const struct model *model, size_t home, int64_t deadline,
                                 const volatile int *interrupted, mosaic_error *error)
{
    struct follow follow = {.model = model,
                            .home = home,
                            .deadline = deadline,
                            .interrupted = interrupted,
                            .arena = ARENA_INIT,
                            .error = error};
    follow.look = (struct coordinator_look){.why = "", .fix = ""};
    follow.findings.arena = &follow.arena;
    follow.shards = arena_zeroed(&follow.arena, model->shard_count, sizeof *follow.shards);
    if (!follow.shards)
        return error_memory(error);
    mosaic_status status = connect(&follow);
    if (status == MOSAIC_OK)
        status = take_lock(&follow);
    if (status == MOSAIC_OK)
        status = bring_up(&follow);
    PQfinish(follow.look.connection);
    for (size_t i = 0; i < model->shard_count; i++)
        PQfinish(follow.shards[i]);
    arena_free(&follow.arena);
    return status;
}
