/* citus CONFIG: the library's calls on a Citus cluster, which is one shard for it. users: id bigint, name text, born.
 */
#include "check.h"

static mosaic_cluster *cluster;
static mosaic_error error;

static mosaic_statement insert_user(const char *const *values)
{
    return (mosaic_statement){.sql = "INSERT INTO users (id, name) VALUES ($1, $2)", .count = 2, .values = values};
}

static void one_statement(void)
{
    PGresult *result;
    mosaic_place place;
    const char *values[] = {"900001", "keyed"};
    mosaic_statement insert = insert_user(values);
    EXPECT(MOSAIC_OK, mosaic_locate(cluster, "users", mosaic_key_int64(900001), &place, &error));
    CHECK(place.shard == 0 && place.bucket < 64);
    EXPECT(MOSAIC_OK, mosaic_exec(cluster, "users", mosaic_key_int64(900001), &insert, 10000, &result, &error));
    PQclear(result);
    EXPECT(MOSAIC_SERVER, mosaic_exec(cluster, "users", mosaic_key_int64(900001), &insert, 10000, &result, &error));
    CHECK(strstr(error.message, "duplicate key"));
    CHECK(sum_of(cluster, "SELECT count(*) FROM users WHERE id = 900001") == 1);
}

/* Keys of several workers in one batch, and in one transaction: Citus makes it one. */
static void many_workers(void)
{
    mosaic_batch *batch;
    EXPECT(MOSAIC_OK, mosaic_batch_new(cluster, &batch, &error));
    for (int i = 0; i < 200; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", 910000 + i);
        mosaic_statement insert = insert_user((const char *[]){id, "batch"});
        EXPECT(MOSAIC_OK, mosaic_batch_add(batch, "users", mosaic_key_int64(910000 + i), &insert, &error));
    }
    EXPECT(MOSAIC_OK, mosaic_batch_run(batch, NULL, NULL, 60000, &error));
    mosaic_batch_free(batch);
    CHECK(sum_of(cluster, "SELECT count(*) FROM users WHERE name = 'batch'") == 200);
    for (int commit = 0; commit < 2; commit++) {
        mosaic_transaction *transaction;
        EXPECT(MOSAIC_OK, mosaic_begin(cluster, MOSAIC_TWO_PHASE, &transaction, &error));
        for (int i = 0; i < 20; i++) {
            char id[16];
            PGresult *result;
            snprintf(id, sizeof id, "%d", 920000 + i);
            mosaic_statement insert = insert_user((const char *[]){id, "transaction"});
            EXPECT(MOSAIC_OK, mosaic_transaction_exec(transaction, "users", mosaic_key_int64(920000 + i), &insert,
                                                      10000, &result, &error));
            PQclear(result);
        }
        if (commit)
            EXPECT(MOSAIC_OK, mosaic_commit(transaction, 10000, &error));
        else
            mosaic_rollback(transaction);
        CHECK(sum_of(cluster, "SELECT count(*) FROM users WHERE name = 'transaction'") == (commit ? 20 : 0));
    }
}

int main(int count, char **words)
{
    CHECK(count == 2);
    cluster = open_cluster(words[1], &(mosaic_options){.pool_size = 2});
    CHECK(mosaic_shard_count(cluster) == 1 && strcmp(mosaic_shard_name(cluster, 0), "coordinator") == 0);
    one_statement();
    many_workers();
    EXPECT(MOSAIC_OK, mosaic_refresh(cluster, &error));
    mosaic_close(cluster);
    puts("ok");
    return 0;
}
