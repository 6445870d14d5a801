/*
 * What becomes of commits, asked as a worker asks it (proxy/settle.h), for tests/integration/test_proxy_recovery.py.
 *
 *     settleprobe CONFIG [stop | soon]
 *
 * Reads lines of a gid and SHARD:XID of each part from standard input, asks for all at once, and writes a line for each
 * answer as it comes. With `stop` the proxy is stopped when they are asked. With `soon` nothing is asked: recovery is,
 * for a round at once, and what it commits is counted until it is as many as there were lines.
 */
#include "pq/pq.h"
#include "proxy/proxy.h"
#include "proxy/recover.h"
#include "proxy/settle.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ASKED_MOST = 200, PARTS_MOST = 8 };

struct asked {
    struct settlement settlement;
    struct settlement_part parts[PARTS_MOST];
};

static struct asked all[ASKED_MOST];
static size_t count;
static sem_t asked, answered;
static int over;

static void stop(const char *what)
{
    fprintf(stderr, "settleprobe: %s\n", what);
    exit(1);
}

static void done(struct settlement *settlement)
{
    static const char *const words[] = {"committed", "aborted", "unknown"};
    const mosaic_error *error = &settlement->error;
    bool unknown = settlement->outcome == SETTLED_UNKNOWN;
    printf("%s %s%s%s%s%s%s%s\n", settlement->gid.base, words[settlement->outcome], unknown ? ": " : "",
           unknown ? error->message : "", unknown ? "; " : "", unknown ? error->detail : "", unknown ? "; " : "",
           unknown ? error->hint : "");
    fflush(stdout);
    sem_post(&answered);
}

static void ask(struct worker *worker, struct message *message)
{
    (void)message;
    for (size_t i = 0; i < count; i++) {
        all[i].settlement.worker = worker;
        if (!settle_ask(worker->proxy, &all[i].settlement))
            stop("cannot ask");
    }
    sem_post(&asked);
}

static void read_line(char *line)
{
    char none[SHARD_NAME_SIZE];
    struct asked *one = &all[count++];
    if (!gid_parse(strtok(line, " \n"), &one->settlement.gid, none))
        stop("no gid");
    one->settlement.done = done;
    one->settlement.parts = one->parts;
    for (char *part = strtok(NULL, " \n"); part; part = strtok(NULL, " \n")) {
        struct settlement_part *into = &one->parts[one->settlement.part_count++];
        if (sscanf(part, "%63[^:]:%23s", into->shard, into->xid) != 2)
            stop("no part");
    }
}

static void wait_for_recovery(struct proxy *proxy)
{
    struct recover_totals totals = {0};
    settle_soon(proxy);
    for (int tries = 0; totals.committed < count && tries < 1000; tries++) {
        decision_sleep_ms(10);
        recover_count(proxy->recover, &totals);
    }
    printf("%d committed\n", (int)totals.committed);
}

static void ask_all(struct proxy *proxy, bool waits)
{
    struct message *message = memory_zeroed(1, sizeof *message);
    if (!message)
        stop("no memory");
    message->handle = ask;
    worker_post(&proxy->workers[1], message);
    sem_wait(&asked);
    for (size_t i = 0; waits && i < count; i++)
        sem_wait(&answered);
}

int main(int arguments, char **words)
{
    const char *mode = arguments > 2 ? words[2] : "";
    char line[1024];
    struct proxy_options options = {.config_path = words[1], .threads = 2};
    struct proxy *proxy;
    mosaic_error error;
    while (arguments > 1 && count < ASKED_MOST && fgets(line, sizeof line, stdin))
        read_line(line);
    sem_init(&asked, 0, 0);
    sem_init(&answered, 0, 0);
    pq_interrupt_flag(&over);
    if (proxy_start(&options, &proxy, &error) != MOSAIC_OK)
        stop(error.message);
    if (strcmp(mode, "soon") == 0)
        wait_for_recovery(proxy);
    else
        ask_all(proxy, strcmp(mode, "stop") != 0);
    __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
    proxy_stop(proxy, true);
    proxy_wait(proxy);
    proxy_free(proxy);
    return 0;
}
