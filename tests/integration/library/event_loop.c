/* event_loop CONFIG: a poll() loop with a hundred calls in flight on two connections a shard, and a merge among them.
 */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "check.h"

#include <poll.h>
#include <sys/resource.h>

enum { CALLS = 100, SOCKETS = 16 };

struct task {
    mosaic_call *call;
    bool over;
};

static bool in_order(void *context, size_t shard, const PGresult *result, int row)
{
    long long *last = context, value = atoll(PQgetvalue(result, row, 0));
    (void)shard;
    CHECK(value > *last);
    *last = value;
    return false;
}

/* How often this thread gave the processor away of itself, as who waits does; not who is only preempted. */
static long waits(void)
{
    struct rusage used;
    CHECK(getrusage(RUSAGE_THREAD, &used) == 0);
    return used.ru_nvcsw;
}

/* One round of the program's loop: waits for whatever any call waits for, then steps all. How often a step waited. */
static long turn(struct task *tasks, size_t count)
{
    static struct pollfd ready[(CALLS + 1) * SOCKETS];
    nfds_t sockets = 0;
    int wait = 1000;
    for (size_t i = 0; i < count; i++) {
        mosaic_io io[SOCKETS];
        if (tasks[i].over)
            continue;
        size_t found = mosaic_call_io(tasks[i].call, io, SOCKETS);
        CHECK(found <= SOCKETS);
        for (size_t j = 0; j < found; j++)
            ready[sockets++] = (struct pollfd){
                .fd = io[j].fd, .events = (short)((io[j].want_read ? POLLIN : 0) | (io[j].want_write ? POLLOUT : 0))};
        int wanted = mosaic_call_wait_ms(tasks[i].call);
        wait = wanted < wait ? wanted : wait;
    }
    CHECK(poll(ready, sockets, wait) >= 0);
    long before = waits();
    for (size_t i = 0; i < count; i++) {
        mosaic_error error;
        if (tasks[i].over)
            continue;
        mosaic_status status = mosaic_call_step(tasks[i].call, &error);
        tasks[i].over = status != MOSAIC_AGAIN;
        if (tasks[i].over)
            EXPECT(MOSAIC_OK, status);
    }
    return waits() - before;
}

int main(int count, char **words)
{
    CHECK(count == 2);
    mosaic_error error;
    struct task tasks[CALLS + 1] = {0};
    long long last = -1;
    mosaic_order order = {.column = 0};
    mosaic_scatter scatter = {
        .row = in_order, .context = &last, .order = &order, .order_count = 1, .timeout_ms = 30000};
    mosaic_cluster *cluster = open_cluster(words[1], &(mosaic_options){.pool_size = 2});
    for (size_t i = 0; i < CALLS; i++) {
        /* Nothing that the call was given is needed afterwards. */
        char sql[100], value[32], table[8] = "users";
        snprintf(sql, sizeof sql, "SELECT $1::bigint, pg_sleep(0.0%zu)", i % 10);
        snprintf(value, sizeof value, "%zu", i);
        mosaic_statement statement = {.sql = sql, .count = 1, .values = (const char *[]){value}};
        EXPECT(MOSAIC_OK,
               mosaic_call_exec(cluster, table, mosaic_key_text(value), &statement, 30000, &tasks[i].call, &error));
        memset(sql, 'x', sizeof sql), memset(value, 'x', sizeof value), memset(table, 'x', sizeof table);
    }
    EXPECT(MOSAIC_OK, mosaic_call_exec_all(
                          cluster,
                          &(mosaic_statement){.sql = "SELECT id * 3 + (SELECT substr(shard, 2)::int FROM mosaic.epoch) "
                                                     "FROM generate_series(0, 20000) id ORDER BY 1"},
                          &scatter, &tasks[CALLS].call, &error));
    double deadline = seconds() + 30;
    long waited = 0;
    for (size_t over = 0; over <= CALLS;) {
        CHECK(seconds() < deadline);
        waited += turn(tasks, CALLS + 1);
        over = 0;
        for (size_t i = 0; i <= CALLS; i++)
            over += tasks[i].over;
    }
    CHECK(waited < 10); /* it is none; of steps that wait for their shards it would be hundreds */
    for (size_t i = 0; i < CALLS; i++) {
        PGresult *result = mosaic_call_take_result(tasks[i].call);
        CHECK(PQntuples(result) == 1 && (size_t)atoll(PQgetvalue(result, 0, 0)) == i);
        PQclear(result);
        CHECK(!mosaic_call_take_result(tasks[i].call));
        CHECK(mosaic_call_step(tasks[i].call, &error) == MOSAIC_OK);
        mosaic_call_free(tasks[i].call);
    }
    CHECK(last == 20000 * 3 + 2 && !mosaic_call_take_result(tasks[CALLS].call));
    mosaic_call_free(tasks[CALLS].call);
    mosaic_close(cluster);
    puts("ok");
    return 0;
}
