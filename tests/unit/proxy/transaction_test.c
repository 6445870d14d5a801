#include "proxy/transaction.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct settings_table table;

static int setup(void **state)
{
    (void)state;
    return settings_table_init(&table, 3) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(table.count, 1);
    settings_table_free(&table);
    return 0;
}

static void what_came_before_a_shard_is_kept_in_order(void **state)
{
    (void)state;
    struct transaction transaction = {0};
    assert_true(transaction_begin(&transaction, table.empty, "BEGIN -- now", 12));
    assert_true(transaction_keep(&transaction, "SET LOCAL x = 1", 15, false));
    assert_string_equal(buffer_string(&transaction.kept), "BEGIN -- now\n;SET LOCAL x = 1\n;");
    assert_false(transaction.is_plain);
    transaction_replayed(&transaction);
    assert_false(transaction.is_lazy);
    settings_release(transaction_end(&transaction));
}

static void rollback_to_brings_settings_back(void **state)
{
    (void)state;
    struct transaction transaction = {0};
    struct settings_state *set = settings_with(table.empty, "x.y", "SET x.y = 1", "1");
    transaction_opened(&transaction, table.empty);
    assert_true(transaction_savepoint(&transaction, "a", table.empty));
    assert_true(transaction_savepoint(&transaction, "b", set));
    assert_true(transaction_savepoint(&transaction, "c", set));
    struct settings_state *back = transaction_rollback_to(&transaction, "b");
    assert_ptr_equal(back, set);
    settings_release(back);
    assert_false(transaction_has_savepoint(&transaction, "c"));
    transaction_release(&transaction, "a");
    assert_false(transaction_has_savepoint(&transaction, "b"));
    assert_null(transaction_rollback_to(&transaction, "a"));
    back = transaction_end(&transaction);
    assert_ptr_equal(back, table.empty);
    settings_release(back);
    settings_release(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_came_before_a_shard_is_kept_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(rollback_to_brings_settings_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
