#define _GNU_SOURCE
#include "proxy/lookup.h"

#include "base/memory.h"
#include "pq/pq.h"
#include "proxy/client.h"
#include "proxy/proxy.h"

#include <libpq-fe.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

enum { CONNECT_MS = 5000, QUERY_MS = 10000 };

struct lookup {
    struct proxy *proxy;
    pthread_t thread;
    pthread_mutex_t mutex; /* of all below */
    pthread_cond_t changed;
    struct list questions;
    bool is_started, stops;
    /* The thread's own. */
    PGconn *connection;
    uint64_t version; /* of the world that it was made by */
};

static struct lookup_question *question_of(struct list *node)
{
    struct message *message = LIST_OWNER(struct message, node, node);
    return LIST_OWNER(struct lookup_question, message, message);
}

struct lookup *lookup_new(struct proxy *proxy)
{
    struct lookup *lookup = memory_zeroed(1, sizeof *lookup);
    if (!lookup)
        return NULL;
    lookup->proxy = proxy;
    pthread_mutex_init(&lookup->mutex, NULL);
    pthread_cond_init(&lookup->changed, NULL);
    list_init(&lookup->questions);
    return lookup;
}

void lookup_free(struct lookup *lookup)
{
    struct list *node;
    if (!lookup)
        return;
    pthread_mutex_lock(&lookup->mutex);
    lookup->stops = true;
    pthread_cond_signal(&lookup->changed);
    pthread_mutex_unlock(&lookup->mutex);
    if (lookup->is_started)
        pthread_join(lookup->thread, NULL);
    while ((node = list_first(&lookup->questions))) {
        list_remove(node);
        memory_free(question_of(node));
    }
    PQfinish(lookup->connection);
    pthread_cond_destroy(&lookup->changed);
    pthread_mutex_destroy(&lookup->mutex);
    memory_free(lookup);
}

/* ---- the thread ------------------------------------------------------------------------------------- */

static void forget_connection(struct lookup *lookup)
{
    PQfinish(lookup->connection);
    lookup->connection = NULL;
}

/* One address at a time, as each has its own time; the waits end when the proxy stops (interrupt.h). */
static mosaic_status connect_endpoint(struct lookup *lookup, const struct world *world, const struct endpoint *endpoint,
                                      const char *user, mosaic_error *error)
{
    char address[NI_MAXHOST] = "";
    const struct sockaddr *socket = (const struct sockaddr *)(const void *)&endpoint->address;
    if (socket->sa_family != AF_UNIX)
        getnameinfo(socket, endpoint->size, address, sizeof address, NULL, 0, NI_NUMERICHOST);
    /* What stands behind dbname overrides what the conninfo in it says. */
    const char *names[] = {"dbname",           "host",    "hostaddr", "port", "user", "application_name",
                           "tcp_user_timeout", "options", NULL};
    const char *values[] = {world->model.shards[world->home].conninfo,
                            endpoint->host,
                            address,
                            endpoint->port,
                            user ? user : world->targets[world->home].user,
                            "pgmosaic auth_query",
                            "10000",
                            "-c statement_timeout=5000",
                            NULL};
    lookup->connection = PQconnectStartParams(names, values, 1);
    return pq_connect_wait(lookup->connection, world->model.shards[world->home].name, endpoint->host,
                           pq_deadline(CONNECT_MS), error);
}

static bool connect_home(struct lookup *lookup, const struct world *world, const char *user, mosaic_error *error)
{
    const struct target *target = &world->targets[world->home];
    mosaic_status status = MOSAIC_UNREACHABLE;
    mosaic_error why;
    if (lookup->connection && lookup->version == world->version && PQstatus(lookup->connection) == CONNECTION_OK)
        return true;
    (void)!error_set(&why, MOSAIC_UNREACHABLE, "the home shard has no address");
    lookup->version = world->version;
    for (size_t i = 0; i < target->endpoint_count && status != MOSAIC_OK && status != MOSAIC_INTERRUPTED; i++) {
        forget_connection(lookup);
        status = connect_endpoint(lookup, world, &target->endpoints[i], user, &why);
    }
    if (status == MOSAIC_OK)
        return true;
    (void)!error_set(error, MOSAIC_UNREACHABLE, "auth_query: %s", why.message);
    forget_connection(lookup);
    return false;
}

static bool run_query(struct lookup *lookup, const struct world *world, const char *query,
                      struct lookup_question *question)
{
    const char *values[] = {question->user};
    PGresult *result;
    mosaic_error why;
    mosaic_status status = pq_exec_params(lookup->connection, world->model.shards[world->home].name, query, 1, values,
                                          pq_deadline(QUERY_MS), &result, &why);
    if (status != MOSAIC_OK) {
        (void)!error_set(&question->error, MOSAIC_CONFIG, "auth_query: %s", why.message);
        if (status == MOSAIC_TIMEOUT || status == MOSAIC_INTERRUPTED)
            forget_connection(lookup); /* an answer is still to come on it */
        return status == MOSAIC_TIMEOUT || status == MOSAIC_INTERRUPTED;
    }
    if (PQresultStatus(result) != PGRES_TUPLES_OK || (PQntuples(result) > 0 && PQnfields(result) < 2)) {
        (void)!error_set(&question->error, MOSAIC_CONFIG, "auth_query must give two columns: name and verifier");
    } else if (PQntuples(result) > 0 && !PQgetisnull(result, 0, 1)) {
        int size = snprintf(question->secret, sizeof question->secret, "%s", PQgetvalue(result, 0, 1));
        question->is_found = size >= 0 && (size_t)size < sizeof question->secret;
    }
    PQclear(result);
    return true;
}

/* A connection that broke since the last question is made again, once. */
static void answer(struct lookup *lookup, struct lookup_question *question)
{
    struct world *world = proxy_world(lookup->proxy);
    struct config *config = proxy_config(lookup->proxy);
    const struct proxy_settings *settings = &config->settings;
    question->error.status = MOSAIC_OK;
    for (int i = 0; settings->auth_query && i < 2; i++) {
        question->error.status = MOSAIC_OK;
        if (!connect_home(lookup, world, settings->auth_user, &question->error) ||
            run_query(lookup, world, settings->auth_query, question) || PQstatus(lookup->connection) == CONNECTION_OK)
            break;
    }
    config_release(config);
    world_release(world);
}

/* The first that waits, and behind it all others of the same user: what is asked now is as new as each of them wants.
 */
static bool next(struct lookup *lookup, struct list *taken)
{
    struct list *node = NULL, *after;
    const char *user = NULL;
    list_init(taken);
    pthread_mutex_lock(&lookup->mutex);
    while (!lookup->stops && list_empty(&lookup->questions))
        pthread_cond_wait(&lookup->changed, &lookup->mutex);
    for (node = lookup->questions.next; !lookup->stops && node != &lookup->questions; node = after) {
        after = node->next;
        if (user && strcmp(question_of(node)->user, user) != 0)
            continue;
        user = question_of(node)->user;
        list_remove(node);
        list_append(taken, node);
    }
    pthread_mutex_unlock(&lookup->mutex);
    return user != NULL;
}

static void post(struct lookup_question *question, const struct lookup_question *asked)
{
    if (question != asked) {
        question->is_found = asked->is_found;
        question->error = asked->error;
        memcpy(question->secret, asked->secret, sizeof question->secret);
    }
    worker_post(question->worker, &question->message);
}

static void *run(void *context)
{
    struct lookup *lookup = context;
    struct list taken, *node;
    while (next(lookup, &taken)) {
        struct lookup_question *asked = question_of(taken.next);
        answer(lookup, asked);
        /* The one that was asked goes last: the others have its answer. */
        while ((node = taken.previous) != &taken) {
            list_remove(node);
            post(question_of(node), asked);
        }
    }
    return NULL;
}

/* ---- asking ----------------------------------------------------------------------------------------- */

struct lookup_question *lookup_ask(struct lookup *lookup, struct client *client, const char *user,
                                   void (*answered)(struct worker *worker, struct message *message))
{
    struct lookup_question *question = memory_zeroed(1, sizeof *question);
    if (!question)
        return NULL;
    question->message.handle = answered;
    question->worker = client->worker;
    question->client = client;
    snprintf(question->user, sizeof question->user, "%s", user);
    pthread_mutex_lock(&lookup->mutex);
    if (!lookup->is_started && pthread_create(&lookup->thread, NULL, run, lookup) == 0) {
        pthread_setname_np(lookup->thread, "auth_query");
        lookup->is_started = true;
    }
    bool started = lookup->is_started;
    list_init(&question->message.node);
    if (started)
        list_append(&lookup->questions, &question->message.node);
    pthread_cond_signal(&lookup->changed);
    pthread_mutex_unlock(&lookup->mutex);
    if (started)
        return question;
    memory_free(question);
    return NULL;
}
