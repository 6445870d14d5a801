/* deadlines CONFIG: no call outlives its deadline, and what it ran is cancelled on the server. */
#include "check.h"

#include <unistd.h>

static mosaic_cluster *cluster;
static mosaic_error error;

/* The calls before end at once; what they ran on the servers must be gone shortly after. */
static void nothing_sleeps(void)
{
    for (int tries = 0; tries < 50; tries++) {
        if (sum_of(cluster, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(' "
                            "|| '60)%'") == 0)
            return;
        usleep(100000);
    }
    CHECK(!"a statement still runs on a server");
}

#define WITHIN(least, most, statement)                                                                            \
    do {                                                                                                          \
        double start_ = seconds();                                                                                \
        statement;                                                                                                \
        double took_ = seconds() - start_;                                                                        \
        if (took_ < (least) || took_ > (most)) {                                                                  \
            fprintf(stderr, "%s:%d: took %.3f s, not %.1f to %.1f\n", __FILE__, __LINE__, took_, (double)(least), \
                    (double)(most));                                                                              \
            exit(1);                                                                                              \
        }                                                                                                         \
    } while (0)

static const mosaic_statement nap = {.sql = "SELECT pg_sleep(60)"};

int main(int count, char **words)
{
    CHECK(count == 2);
    cluster = open_cluster(words[1], &(mosaic_options){.pool_size = 2});
    WITHIN(0.29, 2,
           EXPECT(MOSAIC_TIMEOUT, mosaic_exec(cluster, "users", mosaic_key_int64(1), &nap, 300, NULL, &error)));
    CHECK(error.shard[0] == 's' && strcmp(error.sqlstate, "57014") == 0);
    WITHIN(0.29, 2,
           EXPECT(MOSAIC_TIMEOUT, mosaic_exec_all(cluster, &nap, &(mosaic_scatter){.timeout_ms = 300}, &error)));
    nothing_sleeps();

    /* A cancel may reach the server before it has begun with the statement, and must be said again then. */
    for (int i = 0; i < 60; i++)
        EXPECT(MOSAIC_TIMEOUT, mosaic_exec(cluster, "users", mosaic_key_int64(1), &nap, 2 + i % 20, NULL, &error));
    nothing_sleeps();

    mosaic_batch *batch;
    EXPECT(MOSAIC_OK, mosaic_batch_new(cluster, &batch, &error));
    for (int i = 0; i < 3; i++)
        EXPECT(MOSAIC_OK, mosaic_batch_add(batch, "users", mosaic_key_int64(i), &nap, &error));
    WITHIN(0.29, 2, EXPECT(MOSAIC_TIMEOUT, mosaic_batch_run(batch, NULL, NULL, 300, &error)));
    mosaic_batch_free(batch);
    nothing_sleeps();

    mosaic_transaction *transaction;
    EXPECT(MOSAIC_OK, mosaic_begin(cluster, MOSAIC_ONE_SHARD, &transaction, &error));
    WITHIN(0.29, 2.5, EXPECT(MOSAIC_TIMEOUT, mosaic_transaction_exec_shard(transaction, 0, &nap, 300, NULL, &error)));
    mosaic_rollback(transaction);
    nothing_sleeps();

    /* A full pool: waiting for it has the deadline too; and what comes free is given to who waits. */
    PGconn *one, *two, *three;
    EXPECT(MOSAIC_OK, mosaic_acquire(cluster, 0, 5000, &one, &error));
    EXPECT(MOSAIC_OK, mosaic_acquire(cluster, 0, 5000, &two, &error));
    WITHIN(0.19, 1, EXPECT(MOSAIC_TIMEOUT, mosaic_acquire(cluster, 0, 200, &three, &error)));
    CHECK(!three && strstr(error.message, "pool") && strcmp(error.shard, "s0") == 0);
    WITHIN(0.19, 1,
           EXPECT(MOSAIC_TIMEOUT,
                  mosaic_exec_shard(cluster, 0, &(mosaic_statement){.sql = "SELECT 1"}, 200, NULL, &error)));
    WITHIN(0.19, 1,
           EXPECT(MOSAIC_TIMEOUT, mosaic_exec_all(cluster, &(mosaic_statement){.sql = "SELECT 1"},
                                                  &(mosaic_scatter){.timeout_ms = 200}, &error)));
    CHECK(number_on(cluster, 1, "SELECT 42") == 42);
    mosaic_release(cluster, two);
    EXPECT(MOSAIC_OK, mosaic_acquire(cluster, 0, 5000, &three, &error));
    mosaic_release(cluster, three);
    mosaic_release(cluster, one);
    CHECK(number_on(cluster, 0, "SELECT 42") == 42);
    mosaic_close(cluster);
    puts("ok");
    return 0;
}
