/* threads CONFIG: eight threads share two connections a shard; all come through. */
#include "check.h"

#include <pthread.h>

enum { THREADS = 8, ROUNDS = 60 };

static mosaic_cluster *cluster;

static void *work(void *context)
{
    long number = (long)(size_t)context;
    mosaic_error error;
    for (int round = 0; round < ROUNDS; round++) {
        PGconn *connection;
        PGresult *result;
        long long id = 1000 + number * ROUNDS + round;
        char text[32];
        snprintf(text, sizeof text, "%lld", id);
        mosaic_statement insert = {
            .sql = "INSERT INTO users VALUES ($1, 'thread')", .count = 1, .values = (const char *[]){text}};
        EXPECT(MOSAIC_OK, mosaic_exec(cluster, "users", mosaic_key_int64(id), &insert, 20000, NULL, &error));
        EXPECT(MOSAIC_OK, mosaic_acquire(cluster, (size_t)(round % 3), 20000, &connection, &error));
        result = PQexec(connection, "SELECT 1");
        CHECK(PQntuples(result) == 1);
        PQclear(result);
        mosaic_release(cluster, connection);
        if (round % 10 == 0)
            CHECK(sum_of(cluster, "SELECT count(*) FROM users WHERE name = 'thread'") > 0);
        if (round % 20 == number)
            EXPECT(MOSAIC_OK, mosaic_refresh(cluster, &error));
    }
    return NULL;
}

int main(int count, char **words)
{
    CHECK(count == 2);
    cluster = open_cluster(words[1], &(mosaic_options){.pool_size = 2, .application_name = "threads test"});
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(sum_of(cluster, "SELECT count(*) FROM users WHERE name = 'thread'") == THREADS * ROUNDS);
    /* Never more connections than the pool may have. */
    for (size_t shard = 0; shard < 3; shard++)
        CHECK(number_on(cluster, shard,
                        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'threads test'") <= 2);
    mosaic_close(cluster);
    puts("ok");
    return 0;
}
