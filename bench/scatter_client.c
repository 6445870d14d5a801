/*
 * The clients of scatter_bench.py, of the proxy and of the baseline alike: each has a connection to every address, asks
 * all of them at once, and has its answer when the last one is complete.
 *
 *     scatter_client CLIENTS STATEMENTS simple|prepared KEYS TEXT CONNINFO…
 *
 * KEYS is 0, or each statement has a random key from 1 to KEYS as $1 (in simple mode: a number in its place), and goes
 * to address key % addresses alone. Prints seconds, rows of the last statement, bytes, and its own CPU seconds.
 *
 * libpq makes the connections; then bytes are read and nothing is parsed but the end of an answer, so that both sides
 * of a comparison cost the same here, and little.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "base/buffer.h"
#include "wire/wire.h"

enum { ADDRESSES = 64, CLIENTS = 64, SPACE = 1 << 18, TAIL = 64, READY = 6 };

struct connection {
    PGconn *made;
    int fd;
    bool is_done;
    char tail[TAIL]; /* the last bytes of the answer */
    size_t tail_size;
};

struct asker {
    pthread_t thread;
    struct connection connections[ADDRESSES];
    char *space;
    uint64_t state, rows, bytes;
};

static struct {
    size_t count; /* of addresses */
    long statements;
    bool is_prepared;
    uint32_t keys;
    const char *text;
    char **addresses;
    pthread_barrier_t start;
} plan;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "scatter_client: %s: %s\n", what, why);
    exit(1);
}

/* ---- answers ---- */

static void keep_tail(struct connection *connection, const char *bytes, size_t size)
{
    if (size >= TAIL) {
        memcpy(connection->tail, bytes + size - TAIL, TAIL);
        connection->tail_size = TAIL;
        return;
    }
    size_t kept = connection->tail_size + size > TAIL ? TAIL - size : connection->tail_size;
    memmove(connection->tail, connection->tail + connection->tail_size - kept, kept);
    memcpy(connection->tail + kept, bytes, size);
    connection->tail_size = kept + size;
}

/* Is ReadyForQuery the last thing that came? */
static bool is_ready(const struct connection *connection)
{
    return connection->tail_size >= READY &&
           memcmp(connection->tail + connection->tail_size - READY, "Z\0\0\0\5I", READY) == 0;
}

/* The rows that CommandComplete before it tells. */
static uint64_t count_rows(struct connection *connection)
{
    char *end = connection->tail + connection->tail_size - READY;
    for (char *at = end; at-- > connection->tail;)
        if (*at == WIRE_B_COMMAND_COMPLETE && end - at > 12 && memcmp(at + 5, "SELECT ", 7) == 0)
            return strtoull(at + 12, NULL, 10);
    fail("the answer has no rows", plan.text);
    return 0;
}

static void receive(struct asker *asker, struct connection *connection, int flags)
{
    ssize_t size = recv(connection->fd, asker->space, SPACE, flags);
    if (size < 0 && flags)
        return;
    if (size <= 0)
        fail("the connection was lost", plan.text);
    asker->bytes += (uint64_t)size;
    keep_tail(connection, asker->space, (size_t)size);
    connection->is_done = is_ready(connection);
}

/* Small answers come in one piece each: then it is cheapest to read one after the other. */
static void receive_all(struct asker *asker, struct connection *first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        receive(asker, &first[i], 0);
    for (;;) {
        struct pollfd waits[ADDRESSES];
        nfds_t open = 0;
        for (size_t i = 0; i < count; i++)
            if (!first[i].is_done)
                waits[open++] = (struct pollfd){first[i].fd, POLLIN, 0};
        if (!open)
            return;
        if (open > 1)
            (void)poll(waits, open, -1);
        for (size_t i = 0; i < count; i++)
            if (!first[i].is_done)
                receive(asker, &first[i], open > 1 ? MSG_DONTWAIT : 0);
    }
}

/* ---- statements ---- */

static void write_statement(struct buffer *out, uint32_t key)
{
    char digits[16];
    buffer_clear(out);
    snprintf(digits, sizeof digits, "%" PRIu32, key);
    if (!plan.is_prepared) {
        const char *mark = plan.keys ? strstr(plan.text, "$1") : NULL;
        size_t at = wire_begin(out, WIRE_QUERY);
        buffer_add(out, plan.text, mark ? (size_t)(mark - plan.text) : strlen(plan.text));
        if (mark) {
            buffer_text(out, digits);
            buffer_text(out, mark + 2);
        }
        buffer_char(out, '\0');
        wire_end(out, at);
        return;
    }
    size_t at = wire_begin(out, WIRE_BIND);
    wire_text(out, "");
    wire_text(out, "s");
    wire_16(out, 0);
    wire_16(out, plan.keys ? 1 : 0);
    if (plan.keys) {
        wire_32(out, (uint32_t)strlen(digits));
        buffer_text(out, digits);
    }
    wire_16(out, 0);
    wire_end(out, at);
    wire_describe(out, 'P', "");
    wire_execute(out, "");
    wire_empty(out, WIRE_SYNC);
}

static uint32_t random_key(struct asker *asker)
{
    asker->state = asker->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((asker->state >> 33) % plan.keys) + 1;
}

static void ask(struct asker *asker, struct buffer *out)
{
    uint32_t key = plan.keys ? random_key(asker) : 0;
    struct connection *first = asker->connections + (plan.keys ? key % plan.count : 0);
    size_t count = plan.keys ? 1 : plan.count;
    write_statement(out, key);
    for (size_t i = 0; i < count; i++) {
        first[i].tail_size = 0;
        first[i].is_done = false;
        if (send(first[i].fd, out->data, out->size, MSG_NOSIGNAL) != (ssize_t)out->size)
            fail("the connection was lost", plan.text);
    }
    receive_all(asker, first, count);
    asker->rows = 0;
    for (size_t i = 0; i < count; i++)
        asker->rows += count_rows(&first[i]);
}

static void *run(void *argument)
{
    struct asker *asker = argument;
    struct buffer out = BUFFER_INIT(1 << 20);
    if (plan.statements > 1)
        ask(asker, &out); /* servers and caches are warm then */
    pthread_barrier_wait(&plan.start);
    for (long i = 0; i < plan.statements; i++)
        ask(asker, &out);
    buffer_free(&out);
    return NULL;
}

static void open_connections(struct asker *asker)
{
    asker->space = malloc(SPACE);
    for (size_t i = 0; i < plan.count; i++) {
        struct connection *connection = &asker->connections[i];
        connection->made = PQconnectdb(plan.addresses[i]);
        if (PQstatus(connection->made) != CONNECTION_OK)
            fail(plan.addresses[i], PQerrorMessage(connection->made));
        connection->fd = PQsocket(connection->made);
        if (!plan.is_prepared)
            continue;
        PGresult *result = PQprepare(connection->made, "s", plan.text, 0, NULL);
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            fail(plan.text, PQerrorMessage(connection->made));
        PQclear(result);
    }
    for (size_t i = 0; i < plan.count; i++) {
        int flags = fcntl(asker->connections[i].fd, F_GETFL);
        (void)fcntl(asker->connections[i].fd, F_SETFL, flags & ~O_NONBLOCK);
    }
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

int main(int count, char **words)
{
    static struct asker askers[CLIENTS];
    if (count < 7 || count - 6 > ADDRESSES || atoi(words[1]) < 1 || atoi(words[1]) > CLIENTS)
        fail("usage", "scatter_client CLIENTS STATEMENTS simple|prepared KEYS TEXT CONNINFO...");
    size_t clients = (size_t)atoi(words[1]);
    plan.statements = atol(words[2]);
    plan.is_prepared = strcmp(words[3], "prepared") == 0;
    plan.keys = (uint32_t)atol(words[4]);
    plan.text = words[5];
    plan.addresses = words + 6;
    plan.count = (size_t)count - 6;
    pthread_barrier_init(&plan.start, NULL, (unsigned)clients + 1);
    for (size_t i = 0; i < clients; i++) {
        askers[i].state = i + 1;
        open_connections(&askers[i]);
    }
    for (size_t i = 0; i < clients; i++)
        pthread_create(&askers[i].thread, NULL, run, &askers[i]);
    pthread_barrier_wait(&plan.start);
    struct timespec began, ended;
    struct rusage usage;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (size_t i = 0; i < clients; i++)
        pthread_join(askers[i].thread, NULL);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    getrusage(RUSAGE_SELF, &usage);
    uint64_t bytes = 0;
    for (size_t i = 0; i < clients; i++)
        bytes += askers[i].bytes;
    printf("%.6f %" PRIu64 " %" PRIu64 " %.6f\n",
           (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9, askers[0].rows, bytes,
           seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
    return 0;
}
