/*
 * stale CONFIG write|read|batch: opens, waits for a line on stdin while a bucket moves from shard 1 to shard 2, then
 * goes on with the old map.
 */
#include "check.h"

int main(int count, char **words)
{
    CHECK(count == 3);
    char line[100];
    mosaic_error error;
    mosaic_place place;
    PGresult *result;
    mosaic_cluster *cluster = open_cluster(words[1], NULL);
    uint64_t epoch = mosaic_epoch(cluster);
    CHECK(number_on(cluster, 1, "SELECT 42") == 42); /* an old connection of the source */
    EXPECT(MOSAIC_OK, mosaic_locate(cluster, "users", mosaic_key_int64(1), &place, &error));
    printf("opened shard %zu\n", place.shard);
    fflush(stdout);
    CHECK(fgets(line, sizeof line, stdin));

    if (strcmp(words[2], "write") == 0) {
        /* The old connection serves, the constraint refuses the row, the map is read again, the row finds its shard. */
        mosaic_statement insert = {.sql = "INSERT INTO users VALUES (1, 'moved')"};
        EXPECT(MOSAIC_OK, mosaic_exec(cluster, "users", mosaic_key_int64(1), &insert, 10000, NULL, &error));
    } else if (strcmp(words[2], "batch") == 0) {
        mosaic_batch *batch;
        mosaic_statement insert = {.sql = "INSERT INTO users VALUES (1, 'moved')"};
        EXPECT(MOSAIC_OK, mosaic_batch_new(cluster, &batch, &error));
        EXPECT(MOSAIC_OK, mosaic_batch_add(batch, "users", mosaic_key_int64(1), &insert, &error));
        EXPECT(MOSAIC_OK, mosaic_batch_run(batch, NULL, NULL, 10000, &error));
        mosaic_batch_free(batch);
    }
    /* A read too goes where the row is now. */
    mosaic_statement select = {.sql = "SELECT name FROM users WHERE id = 1"};
    EXPECT(MOSAIC_OK, mosaic_exec(cluster, "users", mosaic_key_int64(1), &select, 10000, &result, &error));
    printf("read %d row\n", PQntuples(result));
    PQclear(result);
    CHECK(mosaic_epoch(cluster) == epoch + 1);
    EXPECT(MOSAIC_OK, mosaic_locate(cluster, "users", mosaic_key_int64(1), &place, &error));
    CHECK(place.shard == 2);
    mosaic_close(cluster);
    puts("ok");
    return 0;
}
