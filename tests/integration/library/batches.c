/* batches CONFIG: ten thousand keyed statements; a batch with a failure; large values; the order of callbacks. */
#include "check.h"

enum { MANY = 10000 };

static mosaic_cluster *cluster;
static mosaic_error error;

struct seen {
    size_t calls, failures;
    size_t last[3]; /* index + 1, of each shard */
    bool disordered;
};

static void note(void *context, size_t index, size_t shard, const PGresult *result)
{
    struct seen *seen = context;
    seen->calls++;
    seen->failures += PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK;
    seen->disordered |= index + 1 <= seen->last[shard];
    seen->last[shard] = index + 1;
}

static void add_user(mosaic_batch *batch, long long id, const char *name)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", id);
    mosaic_statement insert = {
        .sql = "INSERT INTO users VALUES ($1, $2)", .count = 2, .values = (const char *[]){text, name}};
    EXPECT(MOSAIC_OK, mosaic_batch_add(batch, "users", mosaic_key_int64(id), &insert, &error));
}

static void many(mosaic_batch *batch)
{
    struct seen seen = {0};
    for (int i = 0; i < MANY; i++)
        add_user(batch, 100000 + i, "batch");
    double start = seconds();
    EXPECT(MOSAIC_OK, mosaic_batch_run(batch, note, &seen, 60000, &error));
    printf("%d statements in %.3f s\n", MANY, seconds() - start);
    CHECK(seen.calls == MANY && !seen.failures && !seen.disordered);
    CHECK(sum_of(cluster, "SELECT count(*) FROM users WHERE name = 'batch'") == MANY);
}

/* One shard's part fails: nothing of it stays, the other parts do. */
static void one_fails(mosaic_batch *batch)
{
    mosaic_place place;
    struct seen seen = {0};
    for (int i = 0; i < 300; i++)
        add_user(batch, 200000 + i, "part");
    add_user(batch, 100000, "twice");
    for (int i = 300; i < 3000; i++)
        add_user(batch, 200000 + i, "part");
    EXPECT(MOSAIC_OK, mosaic_locate(cluster, "users", mosaic_key_int64(100000), &place, &error));
    EXPECT(MOSAIC_SERVER, mosaic_batch_run(batch, note, &seen, 60000, &error));
    CHECK(strcmp(error.sqlstate, "23505") == 0 && strstr(error.message, "statement 300 "));
    CHECK(strcmp(error.shard, mosaic_shard_name(cluster, place.shard)) == 0);
    CHECK(seen.failures == 1 && !seen.disordered);
    for (size_t shard = 0; shard < 3; shard++) {
        long long rows = number_on(cluster, shard, "SELECT count(*) FROM users WHERE name = 'part'");
        CHECK(shard == place.shard ? rows == 0 : rows > 900);
    }
}

/* A deferred constraint is checked by COMMIT, after every statement has succeeded. */
static void commit_fails(mosaic_batch *batch)
{
    struct seen seen = {0};
    mosaic_statement insert = {.sql = "INSERT INTO parents VALUES (1, 1, 2)"};
    EXPECT(MOSAIC_OK, mosaic_batch_add(batch, "parents", mosaic_key_int64(1), &insert, &error));
    EXPECT(MOSAIC_SERVER, mosaic_batch_run(batch, note, &seen, 5000, &error));
    CHECK(strcmp(error.sqlstate, "23503") == 0 && strstr(error.message, "COMMIT") && seen.failures == 0);
    CHECK(sum_of(cluster, "SELECT count(*) FROM parents") == 0);
}

static void large(mosaic_batch *batch)
{
    enum { SIZE = 1 << 20 };
    char *value = malloc(SIZE + 1);
    CHECK(value);
    memset(value, 'x', SIZE);
    value[SIZE] = '\0';
    for (int i = 0; i < 40; i++) {
        char text[32];
        snprintf(text, sizeof text, "%d", 300000 + i);
        /* Both ways: what comes back has to be read while more is sent. */
        mosaic_statement insert = {.sql = "INSERT INTO users VALUES ($1, $2) RETURNING name",
                                   .count = 2,
                                   .values = (const char *[]){text, value}};
        EXPECT(MOSAIC_OK, mosaic_batch_add(batch, "users", mosaic_key_int64(300000 + i), &insert, &error));
    }
    struct seen seen = {0};
    EXPECT(MOSAIC_OK, mosaic_batch_run(batch, note, &seen, 60000, &error));
    CHECK(seen.calls == 40);
    CHECK(sum_of(cluster, "SELECT coalesce(sum(length(name)), 0) FROM users WHERE id >= 300000") == 40LL * SIZE);
    mosaic_status status = MOSAIC_OK;
    for (int i = 0; i < 400 && status == MOSAIC_OK; i++) {
        mosaic_statement insert = {.sql = "SELECT $1", .count = 1, .values = (const char *[]){value}};
        status = mosaic_batch_add(batch, "users", mosaic_key_int64(1), &insert, &error);
    }
    EXPECT(MOSAIC_LIMIT, status);
    free(value);
}

static void refused(mosaic_batch *batch)
{
    mosaic_statement commit = {.sql = " /* a /* nested */ comment */ COMMIT"};
    EXPECT(MOSAIC_USAGE, mosaic_batch_add(batch, "users", mosaic_key_int64(1), &commit, &error));
    EXPECT(MOSAIC_KEY,
           mosaic_batch_add(batch, "users", mosaic_key_text("x"), &(mosaic_statement){.sql = "SELECT 1"}, &error));
    EXPECT(MOSAIC_OK, mosaic_batch_run(batch, NULL, NULL, 0, &error)); /* empty */
    EXPECT(MOSAIC_OK, mosaic_batch_add(batch, "users", mosaic_key_int64(1),
                                       &(mosaic_statement){.sql = "COPY users TO STDOUT"}, &error));
    EXPECT(MOSAIC_UNSUPPORTED, mosaic_batch_run(batch, NULL, NULL, 5000, &error));
    CHECK(number_on(cluster, 0, "SELECT 42") == 42);
}

int main(int count, char **words)
{
    CHECK(count == 2);
    cluster = open_cluster(words[1], &(mosaic_options){.pool_size = 1});
    mosaic_batch *batch;
    EXPECT(MOSAIC_OK, mosaic_batch_new(cluster, &batch, &error));
    many(batch);
    one_fails(batch);
    commit_fails(batch);
    refused(batch);
    large(batch);
    mosaic_batch_free(batch);
    mosaic_batch_free(NULL);
    mosaic_close(cluster);
    puts("ok");
    return 0;
}
