#define _GNU_SOURCE
#include "proxy/placement.h"

#include "base/memory.h"
#include "pq/pq.h"
#include "proxy/proxy.h"
#include "proxy/reload.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { RELOAD_MS = 60000, LOOK_MS = 5, LINE_MOST = 1024 };

struct placer {
    struct proxy *proxy;
    pthread_t thread;
    pthread_mutex_t mutex; /* of all below, but for `stops` */
    pthread_cond_t changed;
    struct list all;
    bool is_started;
    volatile int stops; /* atomic */
};

struct placing {
    struct list node; /* of placer->all */
    struct placer *placer;
    struct worker *worker;
    struct client *client; /* the worker's; NULL: gone */
    struct arena arena;    /* of the order's texts */
    struct placement_order order;
    struct placement_outcome outcome;
    mosaic_status status;
    mosaic_error error;
    bool was_taken;         /* by the thread */
    bool is_done;           /* the worker's: the answer is there */
    volatile int cancelled; /* atomic */
};

struct placement_message {
    struct message message; /* first */
    struct placing *placement;
    bool is_end;
    char line[LINE_MOST];
};

/* ---- on the worker's thread ---- */

static void release(struct placing *placement)
{
    pthread_mutex_lock(&placement->placer->mutex);
    list_remove(&placement->node);
    pthread_mutex_unlock(&placement->placer->mutex);
    arena_free(&placement->arena);
    memory_free(placement);
}

/* It is between two messages of its own, and no server is linked: what is told comes at its place. */
static void tell_line(struct client *client, const char *line)
{
    struct buffer out = BUFFER_INIT(4 * LINE_MOST);
    wire_notice(&out, line);
    if (buffer_failed(&out) || !channel_send(&client->channel, out.data, out.size)) {
        client->channel.readable = true; /* it will see the end */
        loop_again(&client->worker->loop, &client->channel.source);
    }
    buffer_free(&out);
}

static void tell(struct worker *worker, struct message *message)
{
    const struct placement_message *told = LIST_OWNER(struct placement_message, message, message);
    struct placing *placement = told->placement;
    struct client *client = placement->client;
    if (!told->is_end) {
        if (client)
            tell_line(client, told->line);
        return;
    }
    placement->is_done = true;
    if (client)
        loop_again(&worker->loop, &client->channel.source);
    else
        release(placement);
}

bool placement_is_busy(const struct client *client)
{
    return client->placement && !client->placement->is_done;
}

mosaic_status placement_end(struct client *client, struct placement_outcome *outcome, mosaic_error *error)
{
    struct placing *placement = client->placement;
    mosaic_status status = placement->status;
    *outcome = placement->outcome;
    *error = placement->error;
    client->placement = NULL;
    release(placement);
    return status;
}

void placement_cancel(struct client *client)
{
    __atomic_store_n(&client->placement->cancelled, 1, __ATOMIC_RELAXED);
}

void placement_leave(struct client *client)
{
    struct placing *placement = client->placement;
    client->placement = NULL;
    if (!placement)
        return;
    placement->client = NULL;
    if (placement->is_done)
        release(placement);
}

/* ---- on the thread ---- */

static void post(struct placing *placement, bool is_end, const char *line)
{
    struct placement_message *message = memory_zeroed(1, sizeof *message);
    if (!message)
        return; /* the client waits in vain: there is no memory to tell it */
    message->message.handle = tell;
    message->placement = placement;
    message->is_end = is_end;
    snprintf(message->line, sizeof message->line, "%s", line);
    worker_post(placement->worker, &message->message);
}

static void say(void *context, const char *line)
{
    post(context, false, line);
}

static bool pause_until(struct placer *placer, int64_t deadline)
{
    nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
    return pq_left_ms(deadline) && !__atomic_load_n(&placer->stops, __ATOMIC_RELAXED);
}

/* The map is read, and every worker has it: who asks any of them from now on is answered by it. */
static mosaic_status reload_all(struct placer *placer, mosaic_error *error)
{
    struct proxy *proxy = placer->proxy;
    int64_t deadline = pq_deadline(RELOAD_MS);
    uint64_t ticket = reload_ask(proxy->reload, false);
    bool is_done;
    while (!(is_done = reload_is_done(proxy->reload, ticket, error)) && pause_until(placer, deadline))
        ;
    if (!is_done)
        error_set(error, MOSAIC_TIMEOUT, "the new map was not read in time");
    if (error->status != MOSAIC_OK) {
        error_prefix(error, "the cluster and its config have been changed, and the proxy has not");
        error_hint(error, "RELOAD the proxy");
        return error->status;
    }
    while (!proxy_world_is_everywhere(proxy) && pause_until(placer, deadline))
        proxy_wake(proxy);
    return MOSAIC_OK;
}

static void carry_out(struct placer *placer, struct placing *placement)
{
    pq_interrupt_thread(&placement->cancelled);
    placement->status = placement_run(placer->proxy->config_path, &placement->order, say, placement,
                                      &placement->outcome, &placement->error);
    pq_interrupt_thread(NULL);
    /* A try for a lock may fail for that reason, or for the other. */
    bool ended = placement->status == MOSAIC_SERVER || placement->status == MOSAIC_TIMEOUT;
    if (ended && __atomic_load_n(&placement->cancelled, __ATOMIC_RELAXED))
        placement->status = MOSAIC_INTERRUPTED;
    if (placement->status == MOSAIC_INTERRUPTED) {
        error_set(&placement->error, MOSAIC_INTERRUPTED, "canceling statement due to user request");
        error_detail(&placement->error, "Nothing was changed.");
        error_sqlstate(&placement->error, "57014");
    }
    if (placement->status == MOSAIC_OK)
        placement->status = reload_all(placer, &placement->error);
    post(placement, true, "");
}

/* The next that nobody has taken; NULL: the thread is to end. */
static struct placing *next(struct placer *placer)
{
    struct placing *found = NULL;
    pthread_mutex_lock(&placer->mutex);
    while (!placer->stops) {
        struct list *node = placer->all.next;
        while (node != &placer->all && LIST_OWNER(struct placing, node, node)->was_taken)
            node = node->next;
        if (node != &placer->all) {
            found = LIST_OWNER(struct placing, node, node);
            found->was_taken = true;
            break;
        }
        pthread_cond_wait(&placer->changed, &placer->mutex);
    }
    pthread_mutex_unlock(&placer->mutex);
    return found;
}

static void *run(void *context)
{
    struct placer *placer = context;
    struct placing *placement;
    while ((placement = next(placer)))
        carry_out(placer, placement);
    return NULL;
}

/* ---- asking ---- */

bool placement_copy(struct arena *arena, const struct placement_order *from, struct placement_order *to)
{
    const char *const texts[] = {from->table, from->key, from->colocate_with, from->function, from->buckets};
    const char **copies[] = {&to->table, &to->key, &to->colocate_with, &to->function, &to->buckets};
    bool whole = true;
    *to = *from;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i])
            whole &= (*copies[i] = arena_string(arena, texts[i])) != NULL;
    return whole;
}

mosaic_status placement_begin(struct client *client, const struct placement_order *order, mosaic_error *error)
{
    struct placer *placer = client->worker->proxy->placer;
    struct placing *placement = memory_zeroed(1, sizeof *placement);
    if (!placement)
        return error_memory(error);
    placement->placer = placer;
    placement->worker = client->worker;
    placement->client = client;
    placement->arena = ARENA_INIT;
    bool copied = placement_copy(&placement->arena, order, &placement->order), started = false;
    if (copied) {
        pthread_mutex_lock(&placer->mutex);
        if (!placer->is_started && pthread_create(&placer->thread, NULL, run, placer) == 0) {
            pthread_setname_np(placer->thread, "placer");
            placer->is_started = true;
        }
        started = placer->is_started;
        if (started)
            list_append(&placer->all, &placement->node);
        pthread_cond_signal(&placer->changed);
        pthread_mutex_unlock(&placer->mutex);
    }
    if (started) {
        client->placement = placement;
        return MOSAIC_OK;
    }
    arena_free(&placement->arena);
    memory_free(placement);
    return error_memory(error);
}

/* ---- life ---- */

struct placer *placer_new(struct proxy *proxy)
{
    struct placer *placer = memory_zeroed(1, sizeof *placer);
    if (!placer)
        return NULL;
    placer->proxy = proxy;
    list_init(&placer->all);
    pthread_mutex_init(&placer->mutex, NULL);
    pthread_cond_init(&placer->changed, NULL);
    return placer;
}

void placer_stop(struct placer *placer)
{
    if (!placer)
        return;
    pthread_mutex_lock(&placer->mutex);
    __atomic_store_n(&placer->stops, 1, __ATOMIC_RELAXED);
    for (struct list *node = placer->all.next; node != &placer->all; node = node->next)
        __atomic_store_n(&LIST_OWNER(struct placing, node, node)->cancelled, 1, __ATOMIC_RELAXED);
    pthread_cond_signal(&placer->changed);
    pthread_mutex_unlock(&placer->mutex);
    if (placer->is_started)
        pthread_join(placer->thread, NULL);
    placer->is_started = false;
}

void placer_free(struct placer *placer)
{
    struct list *node;
    if (!placer)
        return;
    while ((node = list_first(&placer->all))) {
        struct placing *placement = LIST_OWNER(struct placing, node, node);
        list_remove(node);
        arena_free(&placement->arena);
        memory_free(placement);
    }
    pthread_cond_destroy(&placer->changed);
    pthread_mutex_destroy(&placer->mutex);
    memory_free(placer);
}
