/* The judgements of membership.c, candidate.c and rebalance.c: what the rows mean, without a server. */
#include "citus/candidate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      "w3",    "a:",     ":5432",    "a:0",  "a:65536", "a:5x",
        "a b:1", "a,b:1", "/tmp:1", "::1:5432", "[]:1", "a:-1",    "a:99999999999999999999",
        "a'b:1"};
    struct arena arena = ARENA_INIT;
    mosaic_error error;
    const char *host;
    int port;
    assert_int_equal(membership_address(&arena, "db2.example:5433", &host, &port, &error), MOSAIC_OK);
    assert_string_equal(host, "db2.example");
    assert_int_equal(port, 5433);
    assert_int_equal(membership_address(&arena, "[fe80::1]:1", &host, &port, &error), MOSAIC_OK);
    assert_string_equal(host, "fe80::1");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(membership_address(&arena, bad[i], &host, &port, &error), MOSAIC_USAGE);
        assert_non_null(strstr(error.message, "HOST:PORT"));
    }
    arena_free(&arena);
    memory_fail_after(0);
    assert_int_equal(membership_address(&arena, "a:1", &host, &port, &error), MOSAIC_MEMORY);
    memory_fail_after(-1);
    arena_free(&arena);
}

static void test_who_may_leave_and_be_drained(void **state)
{
    (void)state;
    struct member list[] = {
        {.name = "c:1", .host = "c", .port = 1, .group = 0, .active = true},
        {.name = "a:1", .host = "a", .port = 1, .group = 1, .active = true, .has_shards = true, .shards = 4},
        {.name = "b:1", .host = "b", .port = 1, .group = 2, .active = true, .has_shards = true, .shards = 1},
    };
    struct members members = {list, 3, true};
    mosaic_error error;
    assert_ptr_equal(membership_find(&members, "b", 1), &list[2]);
    assert_null(membership_find(&members, "b", 2));
    assert_int_equal(membership_may_leave(&list[0], &error), MOSAIC_PREFLIGHT);
    assert_int_equal(membership_may_leave(&list[2], &error), MOSAIC_PREFLIGHT);
    assert_non_null(strstr(error.message, "1 shard that stands"));
    assert_non_null(strstr(error.hint, "node drain b:1"));
    assert_int_equal(membership_may_drain(&members, &list[1], &error), MOSAIC_OK);
    list[2].has_shards = false;
    assert_int_equal(membership_may_drain(&members, &list[1], &error), MOSAIC_PREFLIGHT);
    assert_non_null(strstr(error.hint, "--cancel"));
    list[2].shards = 0;
    assert_int_equal(membership_may_leave(&list[2], &error), MOSAIC_OK);
    list[1].shards = 0;
    assert_int_equal(membership_may_drain(&members, &list[1], &error), MOSAIC_OK);
}

static const struct candidate good = {.name = "n:1",
                                      .database = "shop",
                                      .major = 15,
                                      .coordinator_major = 15,
                                      .extension = "13.2-1",
                                      .coordinators_extension = "13.2-1",
                                      .available = true,
                                      .logical = true,
                                      .other_cluster = ""};

/* The only finding, fatal or not, has these words in what or fix. */
static void assert_found(const struct candidate *candidate, bool fatal, const char *words)
{
    struct arena arena = ARENA_INIT;
    struct findings findings = {.arena = &arena};
    candidate_check(candidate, &findings);
    assert_int_equal(findings.count, words ? 1 : 0);
    if (words) {
        assert_int_equal(findings.list[0].fatal, fatal);
        assert_true(strstr(findings.list[0].what, words) || strstr(findings.list[0].fix, words));
    }
    arena_free(&arena);
}

static void test_candidates(void **state)
{
    (void)state;
    struct candidate candidate = good;
    assert_found(&candidate, true, NULL);
    candidate.major = 14;
    assert_found(&candidate, true, "PostgreSQL 14, and the coordinator runs 15");
    candidate = good;
    candidate.extension = "13.1-1";
    assert_found(&candidate, true, "UPDATE TO '13.2-1'");
    candidate.extension = "";
    assert_found(&candidate, true, "CREATE EXTENSION citus");
    candidate.available = false;
    assert_found(&candidate, true, "not installed");
    candidate = good;
    candidate.standby = true;
    assert_found(&candidate, true, "standby");
    candidate = good;
    candidate.other_cluster = "x:5432";
    assert_found(&candidate, true, "x:5432");
    candidate = good;
    candidate.logical = false;
    assert_found(&candidate, false, "wal_level");
    candidate = good;
    static const char *const clashes[] = {"public.users"};
    candidate.clashes = clashes;
    candidate.clash_count = 1;
    assert_found(&candidate, true, "replace");
    candidate = good;
    static const struct candidate_gap gaps[] = {{"coordinator", "n:1", "Connection refused"}};
    candidate.gaps = gaps;
    candidate.gap_count = 1;
    assert_found(&candidate, true, "n:1: Connection refused");
}

static void check_moves(struct move_facts *facts, enum move_mode mode, size_t fatal, const char *words)
{
    struct arena arena = ARENA_INIT;
    struct findings findings = {.arena = &arena};
    bool found = !words;
    rebalance_check(facts, mode, &findings);
    assert_int_equal(findings.fatal, fatal);
    for (size_t i = 0; i < findings.count; i++)
        found |= (words && strstr(findings.list[i].what, words)) || (words && strstr(findings.list[i].fix, words));
    assert_true(found);
    arena_free(&arena);
}

static void test_what_stops_moves(void **state)
{
    (void)state;
    struct move_node nodes[] = {
        {.name = "a:1", .active = true, .reachable = true, .gives = true, .logical = true, .most_slots = 10},
        {.name = "b:1", .active = true, .reachable = true, .failure = ""},
    };
    struct unmarked_table unmarked[] = {{"notes", false}, {"countries", true}, {"logs", false}};
    const char *foreign[] = {"theirs"};
    struct move_facts facts = {.nodes = nodes, .node_count = 2, .takers = 2, .role = "app"};
    check_moves(&facts, MOVE_AUTO, 0, NULL);
    facts.unmarked = unmarked;
    facts.unmarked_count = 3;
    check_moves(&facts, MOVE_AUTO, 3, "ALTER TABLE logs REPLICA IDENTITY FULL");
    check_moves(&facts, MOVE_FORCE_LOGICAL, 0, NULL);
    struct planned_move moves[] = {{.shard = 1, .table = "logs"}, {.shard = 2, .table = "users"}};
    rebalance_heed_plan(&facts, moves, 2); /* notes stays where it is, and does not hinder */
    assert_int_equal(facts.unmarked_count, 2);
    assert_string_equal(facts.unmarked[0].name, "countries");
    assert_string_equal(facts.unmarked[1].name, "logs");
    facts.unmarked_count = 0;
    nodes[0].slots = 10;
    check_moves(&facts, MOVE_AUTO, 1, "all 10 of max_replication_slots");
    check_moves(&facts, MOVE_BLOCK_WRITES, 0, NULL);
    nodes[0].logical = false;
    check_moves(&facts, MOVE_AUTO, 1, "wal_level = logical");
    check_moves(&facts, MOVE_BLOCK_WRITES, 0, NULL);
    nodes[1].reachable = false;
    nodes[1].failure = "Connection refused";
    check_moves(&facts, MOVE_BLOCK_WRITES, 1, "Connection refused");
    nodes[1].reachable = true;
    facts.foreign = foreign;
    facts.foreign_count = 1;
    check_moves(&facts, MOVE_BLOCK_WRITES, 1, "app does not own it");
    facts.takers = 0;
    check_moves(&facts, MOVE_BLOCK_WRITES, 2, "node add");
}

static void test_memory_that_is_out_is_not_hidden(void **state)
{
    (void)state;
    struct candidate candidate = good;
    candidate.major = 14;
    candidate.extension = "";
    for (long after = 0; after < 3; after++) {
        struct arena arena = ARENA_INIT;
        struct findings findings = {.arena = &arena};
        memory_fail_after(after);
        candidate_check(&candidate, &findings);
        memory_fail_after(-1);
        assert_true(findings.failed || findings.fatal == 2);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_who_may_leave_and_be_drained),
        cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_what_stops_moves),
        cmocka_unit_test(test_memory_that_is_out_is_not_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
