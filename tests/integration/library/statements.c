/* statements CONFIG: results, failures, and what a session may leave behind. */
#include "check.h"

static mosaic_cluster *cluster;
static mosaic_error error;

static mosaic_status on(size_t shard, const char *sql)
{
    return mosaic_exec_shard(cluster, shard, &(mosaic_statement){.sql = sql}, 5000, NULL, &error);
}

static void failures_are_told(void)
{
    PGresult *result = (PGresult *)1;
    EXPECT(MOSAIC_SERVER, mosaic_exec_shard(cluster, 1, &(mosaic_statement){.sql = "SELECT 1/0"}, 0, &result, &error));
    CHECK(!result && strcmp(error.sqlstate, "22012") == 0 && strcmp(error.shard, "s1") == 0);
    EXPECT(MOSAIC_NOT_FOUND, on(3, "SELECT 1"));
    EXPECT(MOSAIC_USAGE, on(0, NULL));
    EXPECT(MOSAIC_USAGE, mosaic_exec_shard(cluster, 0, NULL, 0, NULL, &error));
    EXPECT(MOSAIC_USAGE,
           mosaic_exec_shard(cluster, 0, &(mosaic_statement){.sql = "SELECT $1", .count = 1}, 0, NULL, &error));
    EXPECT(MOSAIC_USAGE, mosaic_exec_shard(cluster, 0, &(mosaic_statement){.sql = "SELECT 1"}, -1, NULL, &error));
    EXPECT(MOSAIC_SERVER, on(0, "SELECT 1; SELECT 2"));
    EXPECT(MOSAIC_UNSUPPORTED, on(0, "COPY users TO STDOUT"));
    EXPECT(MOSAIC_UNSUPPORTED, on(0, "COPY users FROM STDIN"));
    EXPECT(MOSAIC_USAGE, on(0, "BEGIN"));
    CHECK(strstr(error.message, "transaction"));
    EXPECT(MOSAIC_OK, on(0, "SELECT 1"));
    CHECK(mosaic_exec_shard(cluster, 0, &(mosaic_statement){.sql = "SELECT 1/0"}, 0, NULL, NULL) == MOSAIC_SERVER);
    CHECK(mosaic_exec_shard(cluster, 9, &(mosaic_statement){.sql = "SELECT 1/0"}, 0, NULL, NULL) == MOSAIC_NOT_FOUND);
}

/* A row that another shard owns is refused by the server; the key has not moved, so the refusal is the answer. */
static void ownership_is_kept(void)
{
    mosaic_place place;
    EXPECT(MOSAIC_OK, mosaic_locate(cluster, "users", mosaic_key_int64(77), &place, &error));
    EXPECT(MOSAIC_OWNERSHIP, on((place.shard + 1) % 3, "INSERT INTO users VALUES (77, 'lost')"));
    EXPECT(MOSAIC_OWNERSHIP,
           mosaic_exec(cluster, "users", mosaic_key_int64(78),
                       &(mosaic_statement){.sql = "INSERT INTO users VALUES (77, 'lost')"}, 5000, NULL, &error));
    CHECK(strcmp(error.sqlstate, "23514") == 0);
    CHECK(sum_of(cluster, "SELECT count(*) FROM users WHERE id = 77") == 0);
}

/* With one connection, what one user of it sets must not reach the next. */
static void sessions_are_clean(void)
{
    PGconn *connection;
    EXPECT(MOSAIC_OK, on(0, "SET application_name = 'changed'"));
    EXPECT(MOSAIC_OK, on(0, "SET search_path = pg_catalog"));
    CHECK(number_on(cluster, 0, "SELECT (current_setting('application_name') = 'pgmosaic')::int") == 1);
    CHECK(number_on(cluster, 0, "SELECT count(*) FROM users WHERE false") == 0);
    EXPECT(MOSAIC_OK, on(0, "SELECT set_config('search_path', 'pg_catalog', false)"));
    CHECK(number_on(cluster, 0, "SELECT count(*) FROM users WHERE false") == 0);
    EXPECT(MOSAIC_OK, on(0, "CREATE FUNCTION login(who text) RETURNS void LANGUAGE sql"
                            " AS $$SELECT set_config('app.who', who, false)$$"));
    EXPECT(MOSAIC_OK, on(0, "SELECT login('bob')"));
    CHECK(number_on(cluster, 0, "SELECT (coalesce(current_setting('app.who', true), '') = '')::int") == 1);
    EXPECT(MOSAIC_OK, on(0, "DROP FUNCTION login"));
    EXPECT(MOSAIC_OK, mosaic_acquire(cluster, 0, 5000, &connection, &error));
    CHECK(PQtransactionStatus(connection) == PQTRANS_IDLE && !PQisnonblocking(connection));
    PQclear(PQexec(connection, "SET DateStyle = 'German'"));
    PQclear(PQexec(connection, "CREATE TEMP TABLE users (id int)"));
    mosaic_release(cluster, connection);
    CHECK(number_on(cluster, 0, "SELECT count(*) FROM pg_settings WHERE name = 'DateStyle' AND setting LIKE 'ISO%'"));
    CHECK(number_on(cluster, 0, "SELECT (to_regclass('users') = to_regclass('public.users'))::int") == 1);
}

/* They are read in the role's own order, and shown as ISO, in a session that is new and in one that was cleaned. */
static void dates_are_the_roles(const char *config)
{
    EXPECT(MOSAIC_OK, on(0, "ALTER ROLE CURRENT_USER SET DateStyle = 'SQL, DMY'"));
    mosaic_cluster *fresh = open_cluster(config, &(mosaic_options){.pool_size = 1});
    for (int i = 0; i < 2; i++) {
        CHECK(number_on(fresh, 0, "SELECT (current_setting('DateStyle') = 'ISO, DMY')::int") == 1);
        EXPECT(MOSAIC_OK,
               mosaic_exec_shard(fresh, 0, &(mosaic_statement){.sql = "SET DateStyle = 'German'"}, 0, NULL, &error));
    }
    mosaic_close(fresh);
    EXPECT(MOSAIC_OK, on(0, "ALTER ROLE CURRENT_USER RESET DateStyle"));
}

/* Whatever state a connection comes back in, the next user gets an idle one. */
static void broken_ones_are_replaced(void)
{
    static const char *const ruins[] = {"BEGIN", "BEGIN; SELECT 1/0", "SELECT pg_terminate_backend(pg_backend_pid())",
                                        "COPY users TO STDOUT", "COPY users FROM STDIN"};
    PGconn *connection;
    for (size_t i = 0; i < sizeof ruins / sizeof ruins[0]; i++) {
        EXPECT(MOSAIC_OK, mosaic_acquire(cluster, 0, 5000, &connection, &error));
        PQclear(PQexec(connection, ruins[i]));
        mosaic_release(cluster, connection);
        CHECK(number_on(cluster, 0, "SELECT 41 + 1") == 42);
    }
    EXPECT(MOSAIC_OK, mosaic_acquire(cluster, 0, 5000, &connection, &error));
    CHECK(PQenterPipelineMode(connection) == 1);
    mosaic_release(cluster, connection);
    CHECK(number_on(cluster, 0, "SELECT 41 + 1") == 42);
    EXPECT(MOSAIC_OK, mosaic_acquire(cluster, 0, 5000, &connection, &error));
    CHECK(PQsendQuery(connection, "SELECT pg_sleep(60)") == 1);
    mosaic_release(cluster, connection);
    mosaic_release(cluster, NULL);
    CHECK(number_on(cluster, 0, "SELECT 41 + 1") == 42);
    /* The session ends between two calls: the pool notices before it hands it out. */
    long long backend = number_on(cluster, 0, "SELECT pg_backend_pid()");
    PGconn *other = PQconnectdb(mosaic_shard_conninfo(cluster, 0));
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT pg_terminate_backend(%lld, 5000)", backend);
    PQclear(PQexec(other, sql));
    PQfinish(other);
    CHECK(number_on(cluster, 0, "SELECT pg_backend_pid()") != backend);
}

static void options_are_checked(const char *config)
{
    mosaic_cluster *none = (mosaic_cluster *)1;
    EXPECT(MOSAIC_USAGE, mosaic_open(config, &(mosaic_options){.pool_size = -1}, &none, &error));
    CHECK(!none);
    EXPECT(MOSAIC_NOT_FOUND, mosaic_open("/nowhere/mosaic.yaml", NULL, &none, &error));
    EXPECT(MOSAIC_USAGE, mosaic_open(NULL, NULL, &none, &error));
    EXPECT(MOSAIC_CONFIG, mosaic_open_text("cluster: [", 10, NULL, &none, &error));
    mosaic_close(NULL);
}

static void call_frees_what_it_left(void)
{
    mosaic_call *call;
    EXPECT(MOSAIC_OK, mosaic_call_exec(cluster, "users", mosaic_key_int64(0),
                                       &(mosaic_statement){.sql = "SELECT pg_sleep(60)"}, 0, &call, &error));
    for (int i = 0; i < 50; i++)
        EXPECT(MOSAIC_AGAIN, mosaic_call_step(call, &error));
    CHECK(!mosaic_call_take_result(call));
    mosaic_call_free(call);
    mosaic_call_free(NULL);
    for (size_t shard = 0; shard < 3; shard++)
        CHECK(number_on(cluster, shard, "SELECT 41 + 1") == 42);
}

int main(int count, char **words)
{
    CHECK(count == 2);
    options_are_checked(words[1]);
    cluster = open_cluster(words[1], &(mosaic_options){.pool_size = 1});
    failures_are_told();
    ownership_is_kept();
    sessions_are_clean();
    dates_are_the_roles(words[1]);
    broken_ones_are_replaced();
    call_frees_what_it_left();
    EXPECT(MOSAIC_OK, mosaic_refresh(cluster, &error));
    mosaic_close(cluster);
    puts("ok");
    return 0;
}
