/*
 * memory CONFIG: every call fails cleanly when memory runs out at any point, and works again afterwards. The only
 * program here that looks behind the public header: it makes allocations fail.
 */
#include "base/memory.h"
#include "check.h"

static const char *config;

static mosaic_status use_batch(mosaic_cluster *cluster, mosaic_error *error)
{
    mosaic_batch *batch;
    mosaic_status status = mosaic_batch_new(cluster, &batch, error);
    if (status != MOSAIC_OK)
        return status;
    for (int i = 0; i < 5 && status == MOSAIC_OK; i++)
        status = mosaic_batch_add(batch, "users", mosaic_key_int64(i), &(mosaic_statement){.sql = "SELECT 1"}, error);
    if (status == MOSAIC_OK)
        status = mosaic_batch_run(batch, NULL, NULL, 5000, error);
    mosaic_batch_free(batch);
    return status;
}

static mosaic_status use_transaction(mosaic_cluster *cluster, mosaic_error *error)
{
    mosaic_transaction *transaction;
    mosaic_status status = mosaic_begin(cluster, MOSAIC_TWO_PHASE, &transaction, error);
    if (status != MOSAIC_OK)
        return status;
    mosaic_statement insert = {.sql = "INSERT INTO users VALUES (1, 'memory')"};
    mosaic_statement select = {.sql = "SELECT 1"};
    status = mosaic_transaction_exec(transaction, "users", mosaic_key_int64(1), &insert, 5000, NULL, error);
    if (status == MOSAIC_OK)
        status = mosaic_transaction_exec(transaction, "users", mosaic_key_int64(2), &select, 5000, NULL, error);
    mosaic_rollback(transaction);
    return status;
}

static mosaic_status use_call(mosaic_cluster *cluster, mosaic_error *error)
{
    mosaic_call *call;
    mosaic_key parts[] = {mosaic_key_int64(1), mosaic_key_text("x")};
    mosaic_statement statement = {.sql = "SELECT $1::text", .count = 1, .values = (const char *[]){"value"}};
    mosaic_status status =
        mosaic_call_exec(cluster, "pairs", mosaic_key_composite(parts, 2), &statement, 5000, &call, error);
    if (status != MOSAIC_OK)
        return status;
    while ((status = mosaic_call_step(call, error)) == MOSAIC_AGAIN)
        continue;
    mosaic_call_free(call);
    return status;
}

static mosaic_status use_all(mosaic_cluster *cluster, mosaic_error *error)
{
    mosaic_order order = {.column = 0};
    mosaic_scatter scatter = {.order = &order, .order_count = 1, .timeout_ms = 5000};
    return mosaic_exec_all(cluster, &(mosaic_statement){.sql = "SELECT generate_series(1, 5) ORDER BY 1"}, &scatter,
                           error);
}

static mosaic_status use_exec(mosaic_cluster *cluster, mosaic_error *error)
{
    return mosaic_exec(cluster, "users", mosaic_key_int64(3), &(mosaic_statement){.sql = "SELECT 1"}, 5000, NULL,
                       error);
}

static mosaic_status use_connection(mosaic_cluster *cluster, mosaic_error *error)
{
    PGconn *connection;
    mosaic_status status = mosaic_acquire_key(cluster, "members", mosaic_key_text("@a:b"), 5000, &connection, error);
    if (status == MOSAIC_OK)
        mosaic_release(cluster, connection);
    return status;
}

typedef mosaic_status use(mosaic_cluster *cluster, mosaic_error *error);

/* With a fresh pool each time, so that connecting is part of it. Returns how many allocations had to succeed. */
static long starve(use *one, const char *name)
{
    for (long after = 0;; after += 1 + after / 8) {
        mosaic_error error = {0};
        mosaic_cluster *cluster =
            open_cluster(config, &(mosaic_options){.pool_size = 1, .retry_base_ms = 1, .retry_max_ms = 1});
        memory_fail_after(after);
        mosaic_status status = one(cluster, &error);
        memory_fail_after(-1);
        if (status != MOSAIC_OK && status != MOSAIC_MEMORY) {
            fprintf(stderr, "%s after %ld: %s %s\n", name, after, mosaic_status_name(status), error.message);
            exit(1);
        }
        EXPECT(MOSAIC_OK, one(cluster, &error));
        mosaic_close(cluster);
        if (status == MOSAIC_OK)
            return after;
    }
}

int main(int count, char **words)
{
    CHECK(count == 2);
    config = words[1];
    CHECK(starve(use_exec, "exec") > 0);
    CHECK(starve(use_connection, "connection") > 0);
    CHECK(starve(use_all, "all") > 0);
    CHECK(starve(use_batch, "batch") > 0);
    CHECK(starve(use_transaction, "transaction") > 0);
    CHECK(starve(use_call, "call") > 0);
    for (long after = 0;; after += 1 + after / 6) {
        mosaic_error error = {0};
        mosaic_cluster *cluster;
        memory_fail_after(after);
        mosaic_status status = mosaic_open(config, NULL, &cluster, &error);
        memory_fail_after(-1);
        mosaic_close(cluster);
        if (status == MOSAIC_OK)
            break;
        EXPECT(MOSAIC_MEMORY, status);
        CHECK(!cluster);
    }
    puts("ok");
    return 0;
}
