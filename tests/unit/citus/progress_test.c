#include "citus/progress.h"

#include "../random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct rebalance_task moving = {.running = true,
                                             .shard = 102014,
                                             .table = "users",
                                             .from = "a:5432",
                                             .to = "b:5432",
                                             .phase = "Copying Data",
                                             .message = ""};
static const struct rebalance_task tried = {.shard = 102015,
                                            .table = "users",
                                            .from = "a:5432",
                                            .to = "b:5432",
                                            .phase = "",
                                            .retries = 2,
                                            .next_seconds = 12,
                                            .message = "all replication slots are in use HINT: Free one"};

static void test_states(void **state)
{
    (void)state;
    static const struct {
        const char *state;
        enum rebalance_outcome outcome;
        bool open;
    } cases[] = {
        {"scheduled", REBALANCE_MOVING, true},     {"running", REBALANCE_MOVING, true},
        {"cancelling", REBALANCE_STOPPING, true},  {"failing", REBALANCE_STOPPING, true},
        {"finished", REBALANCE_FINISHED, false},   {"failed", REBALANCE_FAILED, false},
        {"cancelled", REBALANCE_CANCELLED, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rebalance_job job = {.id = 3, .state = cases[i].state, .total = 4, .waiting = 4};
        assert_int_equal(rebalance_judge(&job), cases[i].outcome);
        assert_int_equal(rebalance_is_open(rebalance_judge(&job)), cases[i].open);
    }
    struct rebalance_job none = {.state = ""};
    assert_int_equal(rebalance_judge(&none), REBALANCE_NONE);
    assert_false(rebalance_is_open(REBALANCE_NONE));
    assert_string_equal(rebalance_outcome_name(REBALANCE_CANCELLED), "stopped");
}

static void test_stuck_is_what_waits_after_a_failure_while_nothing_runs(void **state)
{
    (void)state;
    struct rebalance_task tasks[] = {tried, tried};
    struct rebalance_job job = {.id = 1, .state = "running", .total = 3, .waiting = 3, .tasks = tasks, .task_count = 2};
    tasks[1].retries = 5;
    assert_int_equal(rebalance_judge(&job), REBALANCE_STUCK);
    assert_ptr_equal(rebalance_culprit(&job), &tasks[1]);
    tasks[0] = moving; /* another move gets on */
    job.running = 1;
    assert_int_equal(rebalance_judge(&job), REBALANCE_MOVING);
    job.task_count = 1;
    assert_null(rebalance_culprit(&job));
}

static void test_advice_names_what_to_do(void **state)
{
    (void)state;
    assert_non_null(strstr(rebalance_advice(tried.message), "max_replication_slots"));
    assert_non_null(strstr(rebalance_advice("Could not fetch disk stats for node: 127.0.0.1-57703"), "start it"));
    assert_non_null(strstr(rebalance_advice("logical decoding requires wal_level >= logical"), "wal_level = logical"));
    assert_non_null(strstr(rebalance_advice("t doesn't have a REPLICA IDENTITY or PRIMARY KEY"), "block_writes"));
    assert_non_null(strstr(rebalance_advice("connection to the remote node a@b:1 failed with the following error: "
                                            "fe_sendauth: no password supplied"),
                           "passfile"));
    assert_non_null(strstr(rebalance_advice("something new"), "logs"));
}

static void test_description(void **state)
{
    (void)state;
    char text[100];
    assert_string_equal(rebalance_describe(&moving, text, sizeof text), "shard 102014 of users, a:5432 -> b:5432");
    struct rebalance_task copies = {.table = "", .from = "", .to = ""};
    assert_string_equal(rebalance_describe(&copies, text, sizeof text),
                        "the reference tables, to the nodes that lack them");
    char small[10];
    assert_string_equal(rebalance_describe(&moving, small, sizeof small), "shard 102");
}

/* Whatever the rows: an ended job is not open, and stuck means that nothing runs and something was tried. */
static void test_random_jobs(void **state)
{
    (void)state;
    static const char *const states[] = {"scheduled", "running", "finished", "cancelling",
                                         "cancelled", "failing", "failed",   "a state of a later Citus"};
    struct random random = random_start();
    for (int round = 0; round < 2000; round++) {
        struct rebalance_task tasks[6];
        struct rebalance_job job = {.id = 1 + random_below(&random, 9), .state = states[random_below(&random, 8)]};
        bool was_tried = false;
        job.task_count = random_below(&random, 7);
        job.tasks = tasks;
        for (size_t i = 0; i < job.task_count; i++) {
            bool runs = random_below(&random, 3) == 0;
            tasks[i] = runs ? moving : tried;
            tasks[i].retries = runs ? 0 : (int)random_below(&random, 3);
            job.running += runs;
            was_tried |= tasks[i].retries > 0;
        }
        enum rebalance_outcome outcome = rebalance_judge(&job);
        bool ended = !strcmp(job.state, "finished") || !strcmp(job.state, "failed") || !strcmp(job.state, "cancelled");
        assert_int_equal(rebalance_is_open(outcome), !ended);
        if (outcome == REBALANCE_STUCK)
            assert_true(was_tried && job.running == 0);
        const struct rebalance_task *culprit = rebalance_culprit(&job);
        for (size_t i = 0; culprit && i < job.task_count; i++)
            assert_true(tasks[i].running || tasks[i].retries <= culprit->retries);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_stuck_is_what_waits_after_a_failure_while_nothing_runs),
        cmocka_unit_test(test_advice_names_what_to_do),
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_random_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
