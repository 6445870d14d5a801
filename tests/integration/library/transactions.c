/* transactions CONFIG: on one shard and on three; committed, rolled back, refused, failed. */
#include "check.h"

static mosaic_cluster *cluster;
static mosaic_error error;

static mosaic_status insert(mosaic_transaction *transaction, long long id, const char *name)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", id);
    mosaic_statement statement = {
        .sql = "INSERT INTO users VALUES ($1, $2)", .count = 2, .values = (const char *[]){text, name}};
    return mosaic_transaction_exec(transaction, "users", mosaic_key_int64(id), &statement, 5000, NULL, &error);
}

static long long rows(const char *name)
{
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM users WHERE name = '%s'", name);
    return sum_of(cluster, sql);
}

static mosaic_transaction *begin(mosaic_atomicity atomicity)
{
    mosaic_transaction *transaction;
    EXPECT(MOSAIC_OK, mosaic_begin(cluster, atomicity, &transaction, &error));
    return transaction;
}

static void three_shards(void)
{
    mosaic_transaction *transaction = begin(MOSAIC_TWO_PHASE);
    for (long long id = 500000; id < 500012; id++)
        EXPECT(MOSAIC_OK, insert(transaction, id, "three"));
    CHECK(rows("three") == 0);
    EXPECT(MOSAIC_OK, mosaic_commit(transaction, 10000, &error));
    CHECK(rows("three") == 12);
    for (size_t shard = 0; shard < 3; shard++)
        CHECK(number_on(cluster, shard, "SELECT count(*) FROM users WHERE name = 'three'") > 0);
    CHECK(sum_of(cluster, "SELECT count(*) FROM pg_prepared_xacts") == 0);

    transaction = begin(MOSAIC_TWO_PHASE);
    for (long long id = 510000; id < 510012; id++)
        EXPECT(MOSAIC_OK, insert(transaction, id, "undone"));
    mosaic_rollback(transaction);
    CHECK(rows("undone") == 0);
    mosaic_rollback(NULL);

    /* It sees its own rows, and each shard joins once. */
    transaction = begin(MOSAIC_TWO_PHASE);
    EXPECT(MOSAIC_OK, insert(transaction, 520000, "seen"));
    PGresult *result;
    EXPECT(MOSAIC_OK, mosaic_transaction_exec(transaction, "users", mosaic_key_int64(520000),
                                              &(mosaic_statement){.sql = "SELECT name FROM users WHERE id = 520000"},
                                              5000, &result, &error));
    CHECK(PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "seen") == 0);
    PQclear(result);
    EXPECT(MOSAIC_OK, mosaic_commit(transaction, 0, &error));
    EXPECT(MOSAIC_OK, mosaic_commit(begin(MOSAIC_TWO_PHASE), 0, &error)); /* an empty one */
}

static void one_shard(void)
{
    mosaic_place first, place;
    long long other = 600001;
    EXPECT(MOSAIC_OK, mosaic_locate(cluster, "users", mosaic_key_int64(600000), &first, &error));
    for (;; other++) {
        EXPECT(MOSAIC_OK, mosaic_locate(cluster, "users", mosaic_key_int64(other), &place, &error));
        if (place.shard != first.shard)
            break;
    }
    mosaic_transaction *transaction = begin(MOSAIC_ONE_SHARD);
    EXPECT(MOSAIC_OK, insert(transaction, 600000, "one"));
    EXPECT(MOSAIC_UNSUPPORTED, insert(transaction, other, "one"));
    CHECK(strstr(error.hint, "TWO_PHASE"));
    EXPECT(MOSAIC_UNSUPPORTED, mosaic_transaction_exec_shard(transaction, place.shard,
                                                             &(mosaic_statement){.sql = "SELECT 1"}, 0, NULL, &error));
    EXPECT(MOSAIC_KEY, mosaic_transaction_exec(transaction, "users", mosaic_key_text("x"),
                                               &(mosaic_statement){.sql = "SELECT 1"}, 0, NULL, &error));
    EXPECT(MOSAIC_USAGE, mosaic_transaction_exec_shard(transaction, first.shard, &(mosaic_statement){.sql = "COMMIT"},
                                                       0, NULL, &error));
    /* None of that did harm. */
    EXPECT(MOSAIC_OK,
           mosaic_transaction_exec_shard(
               transaction, first.shard,
               &(mosaic_statement){.sql = "UPDATE users SET name = 'harmless' WHERE id = 600000"}, 0, NULL, &error));
    EXPECT(MOSAIC_OK, mosaic_commit(transaction, 0, &error));
    CHECK(rows("harmless") == 1);
}

static void failed(void)
{
    mosaic_transaction *transaction = begin(MOSAIC_TWO_PHASE);
    EXPECT(MOSAIC_OK, insert(transaction, 700000, "failed"));
    EXPECT(MOSAIC_OK, insert(transaction, 700001, "failed"));
    EXPECT(MOSAIC_SERVER, insert(transaction, 700000, "failed"));
    EXPECT(MOSAIC_USAGE, insert(transaction, 700002, "failed"));
    EXPECT(MOSAIC_USAGE, mosaic_commit(transaction, 0, &error));
    CHECK(strcmp(error.sqlstate, "25P02") == 0 && rows("failed") == 0);

    /* A deferred constraint on one of three shards: PREPARE fails there, nothing stays anywhere. */
    transaction = begin(MOSAIC_TWO_PHASE);
    for (long long id = 710000; id < 710012; id++)
        EXPECT(MOSAIC_OK, insert(transaction, id, "deferred"));
    EXPECT(MOSAIC_OK, mosaic_transaction_exec(transaction, "parents", mosaic_key_int64(1),
                                              &(mosaic_statement){.sql = "INSERT INTO parents VALUES (1, 1, 2)"}, 0,
                                              NULL, &error));
    EXPECT(MOSAIC_SERVER, mosaic_commit(transaction, 0, &error));
    CHECK(strcmp(error.sqlstate, "23503") == 0);
    CHECK(rows("deferred") == 0 && sum_of(cluster, "SELECT count(*) FROM parents") == 0);
    CHECK(sum_of(cluster, "SELECT count(*) FROM pg_prepared_xacts") == 0);

    transaction = begin(MOSAIC_ONE_SHARD);
    EXPECT(MOSAIC_OK, insert(transaction, 720000, "copied"));
    EXPECT(MOSAIC_OWNERSHIP,
           mosaic_transaction_exec(transaction, "users", mosaic_key_int64(720000),
                                   &(mosaic_statement){.sql = "INSERT INTO users VALUES (720001, 'copied')"}, 0, NULL,
                                   &error));
    mosaic_rollback(transaction);
    CHECK(rows("copied") == 0);
    mosaic_transaction *none;
    EXPECT(MOSAIC_USAGE, mosaic_begin(cluster, (mosaic_atomicity)7, &none, &error));
    EXPECT(MOSAIC_USAGE, mosaic_commit(NULL, 0, &error));
}

int main(int count, char **words)
{
    CHECK(count == 2);
    /* One for the transaction, one for looking on: a transaction that leaked its own would stop the next. */
    cluster = open_cluster(words[1], &(mosaic_options){.pool_size = 2, .default_timeout_ms = 10000});
    three_shards();
    one_shard();
    failed();
    mosaic_close(cluster);
    puts("ok");
    return 0;
}
