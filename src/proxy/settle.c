#define _GNU_SOURCE
#include "proxy/settle.h"

#include "base/memory.h"
#include "catalog/outcome.h"
#include "proxy/proxy.h"
#include "proxy/recover.h"
#include "proxy/until.h"

#include <string.h>

enum {
    TRY_MS = 5000,   /* one try: other deciders' commits wait for it */
    PAUSE_MS = 200,  /* between two */
    ENOUGH_MS = 2000 /* to drop a row that nobody needs any more */
};

struct settle {
    struct proxy *proxy;
    pthread_t thread;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t changed;
    struct list asked;    /* questions that wait */
    struct list answered; /* those on the way to their workers */
    bool is_started, stops;
};

struct question {
    struct message message; /* first: freed as the worker's message */
    struct list node;
    struct settle *settle;
    struct settlement *settlement;
    int64_t deadline, due; /* pq_now_ms: the end, and the next try */
    bool was_tried;
};

struct settle *settle_new(struct proxy *proxy)
{
    struct settle *settle = memory_zeroed(1, sizeof *settle);
    if (!settle)
        return NULL;
    settle->proxy = proxy;
    list_init(&settle->asked);
    list_init(&settle->answered);
    pthread_mutex_init(&settle->mutex, NULL);
    until_init(&settle->changed);
    return settle;
}

/* The workers have ended: their inboxes, where `answered` are too, are not looked at any more. */
static void end_questions(struct settle *settle)
{
    struct list *node;
    while ((node = list_first(&settle->answered))) {
        struct question *question = LIST_OWNER(struct question, node, node);
        list_remove(node);
        question->settlement->done(question->settlement);
    }
    while ((node = list_first(&settle->asked))) {
        struct question *question = LIST_OWNER(struct question, node, node);
        list_remove(node);
        question->settlement->done(question->settlement); /* SETTLED_UNKNOWN, with its error, from the beginning */
        memory_free(question);
    }
}

void settle_free(struct settle *settle)
{
    if (!settle)
        return;
    pthread_mutex_lock(&settle->mutex);
    settle->stops = true;
    pthread_cond_signal(&settle->changed);
    pthread_mutex_unlock(&settle->mutex);
    if (settle->is_started)
        pthread_join(settle->thread, NULL);
    end_questions(settle);
    pthread_cond_destroy(&settle->changed);
    pthread_mutex_destroy(&settle->mutex);
    memory_free(settle);
}

/* ---- the answer ---- */

static void tell(struct worker *worker, struct message *message)
{
    struct question *question = LIST_OWNER(struct question, message, message);
    (void)worker;
    pthread_mutex_lock(&question->settle->mutex);
    list_remove(&question->node);
    pthread_mutex_unlock(&question->settle->mutex);
    question->settlement->done(question->settlement);
}

static void answer(struct settle *settle, struct question *question, enum settlement_outcome outcome)
{
    question->settlement->outcome = outcome;
    pthread_mutex_lock(&settle->mutex);
    list_append(&settle->answered, &question->node);
    pthread_mutex_unlock(&settle->mutex);
    worker_post(question->settlement->worker, &question->message);
}

/* Says it as if no later try would tell more. */
static void set_unknown(const struct settle *settle, struct settlement *settlement, const mosaic_error *why)
{
    struct config *config = proxy_config(settle->proxy);
    settlement->outcome = SETTLED_UNKNOWN;
    outcome_in_doubt(&settlement->gid, why, &settlement->error);
    if (config->settings.recovery_interval)
        error_hint(&settlement->error,
                   "look whether the rows stand when shard %s is up: the proxy settles it then, one way for all shards",
                   settlement->gid.decider);
    config_release(config);
}

/* ---- the thread ---- */

static const struct shard *shard_of(const struct world *world, const char *name)
{
    for (size_t i = 0; i < world->model.shard_count; i++)
        if (strcmp(world->model.shards[i].name, name) == 0)
            return &world->model.shards[i];
    return NULL;
}

/* By the connection strings of now. A row that says "aborted" to nobody any more is dropped at once. */
static mosaic_status ask(const struct world *world, const struct settlement *settlement, enum outcome *outcome,
                         mosaic_error *why)
{
    const struct shard *decider = shard_of(world, settlement->gid.decider);
    size_t count = 0;
    PGconn *connection;
    mosaic_error ignored;
    if (!decider)
        return error_set(why, MOSAIC_NOT_FOUND, "the config has no shard %s any more", settlement->gid.decider);
    struct outcome_part *parts = memory_zeroed(settlement->part_count + 1, sizeof *parts);
    if (!parts)
        return error_memory(why);
    for (size_t i = 0; i < settlement->part_count; i++) {
        parts[count] = (struct outcome_part){shard_of(world, settlement->parts[i].shard), settlement->parts[i].xid};
        count += parts[count].shard != NULL;
    }
    mosaic_status status =
        outcome_ask(decider, &settlement->gid, parts, count, pq_deadline(TRY_MS), &connection, outcome, why);
    memory_free(parts);
    if (status != MOSAIC_OK)
        return status;
    if (*outcome == OUTCOME_ABORTED)
        (void)!decision_drop_aborted(connection, &settlement->gid, pq_deadline(ENOUGH_MS), &ignored);
    PQfinish(connection);
    return MOSAIC_OK;
}

static bool may_change(mosaic_status status)
{
    return status == MOSAIC_UNREACHABLE || status == MOSAIC_TIMEOUT || status == MOSAIC_SERVER;
}

/* All others of the same decider have had their try too: of many that wait for a shard that is down, one asks. */
static void hold_back(struct settle *settle, const char *decider, const mosaic_error *why)
{
    int64_t due = pq_deadline(PAUSE_MS);
    for (struct list *node = settle->asked.next; node != &settle->asked; node = node->next) {
        struct question *question = LIST_OWNER(struct question, node, node);
        if (strcmp(question->settlement->gid.decider, decider) != 0)
            continue;
        set_unknown(settle, question->settlement, why);
        question->was_tried = true;
        question->due = due < question->deadline ? due : question->deadline;
    }
}

/* False: it is known that it cannot be known in time. */
static bool put_back(struct settle *settle, struct question *question, mosaic_status status, const mosaic_error *why)
{
    bool again = may_change(status) && pq_left_ms(question->deadline) > 0;
    pthread_mutex_lock(&settle->mutex);
    if (again)
        list_append(&settle->asked, &question->node);
    if (may_change(status))
        hold_back(settle, question->settlement->gid.decider, why);
    pthread_mutex_unlock(&settle->mutex);
    return again;
}

static void try_it(struct settle *settle, struct question *question)
{
    struct world *world = proxy_world(settle->proxy);
    enum outcome outcome = OUTCOME_ABORTED;
    mosaic_error why;
    mosaic_status status = ask(world, question->settlement, &outcome, &why);
    world_release(world);
    if (status == MOSAIC_OK) {
        answer(settle, question, outcome == OUTCOME_COMMITTED ? SETTLED_COMMITTED : SETTLED_ABORTED);
    } else if (!put_back(settle, question, status, &why)) {
        set_unknown(settle, question->settlement, &why);
        answer(settle, question, SETTLED_UNKNOWN);
    }
}

static struct question *first_due(const struct settle *settle)
{
    struct question *first = NULL;
    for (struct list *node = settle->asked.next; node != &settle->asked; node = node->next) {
        struct question *question = LIST_OWNER(struct question, node, node);
        if (!first || question->due < first->due)
            first = question;
    }
    return first;
}

/* Waits for the next question whose time has come, and takes it; NULL: the thread is to end. */
static struct question *next(struct settle *settle)
{
    struct question *question = NULL;
    pthread_mutex_lock(&settle->mutex);
    while (!settle->stops && (!(question = first_due(settle)) || question->due > pq_now_ms()))
        until_wait(&settle->changed, &settle->mutex, question ? question->due : INT64_MAX);
    if (settle->stops)
        question = NULL;
    else
        list_remove(&question->node);
    pthread_mutex_unlock(&settle->mutex);
    return question;
}

static void *run(void *context)
{
    struct settle *settle = context;
    struct question *question;
    while ((question = next(settle))) {
        if (question->was_tried && pq_left_ms(question->deadline) == 0)
            answer(settle, question, SETTLED_UNKNOWN);
        else
            try_it(settle, question);
    }
    return NULL;
}

/* ---- asking ---- */

bool settle_ask(struct proxy *proxy, struct settlement *settlement)
{
    struct settle *settle = proxy->settle;
    mosaic_error why;
    struct question *question = settle ? memory_zeroed(1, sizeof *question) : NULL;
    if (!question)
        return false;
    question->message.handle = tell;
    question->settle = settle;
    question->settlement = settlement;
    question->due = pq_now_ms();
    question->deadline = question->due + settlement->worker->settings->settle_timeout;
    error_set(&why, MOSAIC_INTERRUPTED, "the proxy ended before it was asked");
    set_unknown(settle, settlement, &why);
    pthread_mutex_lock(&settle->mutex);
    if (!settle->is_started && pthread_create(&settle->thread, NULL, run, settle) == 0) {
        pthread_setname_np(settle->thread, "settle");
        settle->is_started = true;
    }
    bool started = settle->is_started;
    if (started)
        list_append(&settle->asked, &question->node);
    pthread_cond_signal(&settle->changed);
    pthread_mutex_unlock(&settle->mutex);
    if (!started)
        memory_free(question);
    return started;
}

void settle_soon(struct proxy *proxy)
{
    if (proxy->recover)
        recover_soon(proxy->recover);
}
