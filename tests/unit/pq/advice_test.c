#include "pq/advice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void says(const char *sqlstate, const char *message, const char *words)
{
    const char *hint = pq_advice(sqlstate, message);
    assert_non_null(hint);
    assert_non_null(strstr(hint, words));
}

/* Each as Citus 13.2 says it. */
static void what_citus_says_without_a_hint_gets_one(void **state)
{
    (void)state;
    says("0A000", "modifying the partition value of rows is not allowed", "INSERT it with its new key");
    says("0A000", "creating unique indexes on non-partition columns is currently unsupported", "distribution column");
    says("0A000", "cannot create constraint on \"users\"", "distribution column");
    says("0A000", "functions used in UPDATE queries on distributed tables must not be VOLATILE", "constant");
    says("XX000", "cannot execute ALTER TABLE command involving partition column", "new table");
    says("22004", "cannot perform an INSERT without a partition column value", "its key");
    says("08006", "connection to the remote node citus@127.0.0.1:5433 failed with the following error: …", "status");
}

static void another_statement_that_cannot_be_spread_gets_the_general_one(void **state)
{
    (void)state;
    says("0A000", "subquery in OFFSET is not supported in multi-shard queries of distributed tables", "spread");
}

static void what_is_not_citus_s_gets_none(void **state)
{
    (void)state;
    assert_null(pq_advice("0A000", "cannot insert a non-DEFAULT value into column \"id\""));
    assert_null(pq_advice("23505", "duplicate key value violates unique constraint \"users_pkey_102008\""));
    assert_null(pq_advice("42P01", "relation \"shards\" does not exist"));
    assert_null(pq_advice("", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_citus_says_without_a_hint_gets_one),
        cmocka_unit_test(another_statement_that_cannot_be_spread_gets_the_general_one),
        cmocka_unit_test(what_is_not_citus_s_gets_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
