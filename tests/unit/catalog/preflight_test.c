#include "catalog/preflight.h"

#include "catalog/difference.h"
#include "catalog/owner.h"
#include "catalog/sequence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/*
 * Two shards with one table, as introspect_shard would tell of them; each test changes one fact, and asks what is said
 * of it. What real servers tell is tested by tests/integration/test_apply.py; here stand those that a test can't make
 * of a lab.
 */
struct bench {
    struct arena arena;
    struct model model;
    struct shard shards[2];
    struct table table;
    struct shard_facts facts[2];
    struct table_facts tables[2];
    struct column_facts columns[2][2];
    struct findings findings;
};

static void start(struct bench *bench)
{
    *bench = (struct bench){0};
    bench->findings.arena = &bench->arena;
    bench->table = (struct table){.schema = "public",
                                  .name = "t",
                                  .display = "t",
                                  .columns = {"id"},
                                  .column_count = 1,
                                  .rule = {.function = FUNCTION_MODULO, .columns = 1},
                                  .line = 7};
    for (int i = 0; i < 2; i++) {
        bench->shards[i] = (struct shard){i ? "s1" : "s0", i ? "dbname=b" : "dbname=a", 1};
        bench->columns[i][0] = (struct column_facts){.name = "id",
                                                     .type = "bigint",
                                                     .type_oid = 20,
                                                     .type_kind = 'b',
                                                     .default_text = "",
                                                     .collation = "",
                                                     .deterministic = true};
        bench->columns[i][1] = (struct column_facts){.name = "n",
                                                     .type = "bigint",
                                                     .type_oid = 20,
                                                     .type_kind = 'b',
                                                     .default_text = "",
                                                     .collation = "",
                                                     .deterministic = true};
        bench->tables[i] = (struct table_facts){.exists = true,
                                                .kind = 'r',
                                                .persistence = 'p',
                                                .may_alter = true,
                                                .rules = "",
                                                .policies = "",
                                                .columns = bench->columns[i],
                                                .column_count = 2};
        bench->facts[i] = (struct shard_facts){.shard = bench->shards[i].name,
                                               .version_number = 150005,
                                               .version = "15.5",
                                               .user = "u",
                                               .database = "d",
                                               .ids = "",
                                               .encoding = "UTF8",
                                               .collate = "C.UTF-8",
                                               .ctype = "C.UTF-8",
                                               .provider = "c",
                                               .icu_locale = "",
                                               .collation_version = "",
                                               .max_prepared_transactions = 10,
                                               .may_create = true,
                                               .identity = i ? "1/2" : "1/1",
                                               .tables = &bench->tables[i]};
    }
    bench->model = (struct model){.source = "f",
                                  .name = "shop",
                                  .shards = bench->shards,
                                  .shard_count = 2,
                                  .tables = &bench->table,
                                  .table_count = 1};
}

static void run(struct bench *bench, bool *types_known)
{
    const struct shard_facts *facts[] = {&bench->facts[0], &bench->facts[1]};
    preflight_shards(&bench->model, facts, &bench->findings);
    preflight_tables(&bench->model, facts, types_known, &bench->findings);
    assert_false(bench->findings.failed);
}

static void stop(struct bench *bench)
{
    arena_free(&bench->arena);
    arena_free(&bench->model.arena);
}

/* Exactly one finding, fatal or not, that says the words. */
static void expect(struct bench *bench, bool fatal, const char *shard, const char *words)
{
    bool known;
    run(bench, &known);
    if (bench->findings.count != 1 || bench->findings.list[0].fatal != fatal ||
        strcmp(bench->findings.list[0].shard, shard) != 0 || !strstr(bench->findings.list[0].what, words))
        fail_msg("not one finding \"%s\", but %zu: %s", words, bench->findings.count,
                 bench->findings.count ? bench->findings.list[0].what : "");
    assert_true(!fatal || *bench->findings.list[0].fix);
    stop(bench);
}

static void test_nothing_speaks_against_what_is_right(void **state)
{
    (void)state;
    struct bench bench;
    bool known;
    start(&bench);
    run(&bench, &known);
    assert_int_equal(bench.findings.count, 0);
    assert_true(known);
    assert_int_equal(bench.table.rule.types[0], KEY_INT8);
    stop(&bench);
}

#define CASE(change, fatal, shard, words)    \
    do {                                     \
        struct bench bench;                  \
        start(&bench);                       \
        change;                              \
        expect(&bench, fatal, shard, words); \
    } while (0)

static void test_servers_and_databases(void **state)
{
    (void)state;
    CASE(bench.facts[1].max_prepared_transactions = 0, true, "s1", "max_prepared_transactions is 0");
    CASE(bench.facts[0].in_recovery = true, true, "s0", "standby");
    CASE(bench.facts[0].read_only = true, true, "s0", "default_transaction_read_only");
    CASE(bench.facts[1].may_create = false, true, "s1", "role u may not create schema mosaic");
    CASE(bench.facts[1].has_schema = true, true, "s1", "does not own schema mosaic");
    CASE(bench.facts[1].collate = "de_DE.UTF-8", true, "s1",
         "collation (LC_COLLATE) is \"de_DE.UTF-8\", on shard s0 \"C.UTF-8\"");
    CASE(bench.facts[1].ctype = "C", true, "s1", "LC_CTYPE");
    CASE(bench.facts[1].provider = "i", true, "s1", "locale provider");
    CASE(bench.facts[1].icu_locale = "de", true, "s1", "ICU locale");
    CASE(bench.facts[1].collation_version = "153.1", true, "s1", "collation version");
    CASE(bench.facts[1].version_number = 160001, true, "s1", "PostgreSQL is 15.5");
    CASE(bench.facts[1].identity = "1/1", true, "s1", "the same database as shard s0");
    CASE((bench.facts[0].encoding = bench.facts[1].encoding = "LATIN1", bench.facts[1].encoding = "UTF8",
          bench.model.shard_count = 1),
         true, "s0", "encoding is LATIN1");
    CASE((bench.facts[0].version_number = 120000, bench.model.shard_count = 1), true, "s0", "too old");
}

/* Sessions of every role, and of two that each shard has. */
static void give(struct bench *bench, int shard, struct setting_facts *settings, size_t count)
{
    static const char *const roles[] = {"app", "reader"};
    bench->facts[shard].settings = settings;
    bench->facts[shard].setting_count = count;
    bench->facts[shard].roles = roles;
    bench->facts[shard].role_count = 2;
}

static void test_what_sessions_are_given(void **state)
{
    (void)state;
    struct setting_facts first[] = {
        {"", "TimeZone", "Europe/Berlin"}, {"", "search_path", "a, b"}, {"app", "TimeZone", "UTC"}};
    struct setting_facts equal[] = {
        {"", "search_path", "a, b"}, {"", "TimeZone", "Europe/Berlin"}, {"app", "TimeZone", "UTC"}};
    struct setting_facts own[] = {{"", "TimeZone", "Europe/Berlin"}, {"", "search_path", "a, b"}};
    struct setting_facts path[] = {
        {"", "TimeZone", "Europe/Berlin"}, {"", "search_path", "b"}, {"app", "TimeZone", "UTC"}};
    struct setting_facts more[] = {{"", "TimeZone", "Europe/Berlin"},
                                   {"", "search_path", "a, b"},
                                   {"app", "TimeZone", "UTC"},
                                   {"gone", "TimeZone", "UTC"},
                                   {"reader", "search_path", "c"}};
#define GIVE(second) (give(&bench, 0, first, 3), give(&bench, 1, second, sizeof second / sizeof *second))
    CASE(GIVE(own), true, "s1", "TimeZone is \"Europe/Berlin\" for role app, on shard s0 \"UTC\"");
    CASE(GIVE(path), true, "s1", "search_path is \"b\", on shard s0 \"a, b\"");
    CASE(GIVE(more), true, "s1", "search_path is \"c\" for role reader, on shard s0 \"a, b\"");
    struct bench bench;
    bool known;
    start(&bench);
    GIVE(equal);
    run(&bench, &known);
    assert_int_equal(bench.findings.count, 0);
    GIVE(path);
    run(&bench, &known);
    assert_string_equal(bench.findings.list[0].fix, "ALTER DATABASE \"d\" SET search_path = a, b");
    GIVE(own);
    run(&bench, &known);
    assert_string_equal(bench.findings.list[1].fix, "ALTER ROLE \"app\" IN DATABASE \"d\" SET TimeZone = 'UTC'");
    stop(&bench);
#undef GIVE
}

static void test_rights_and_kinds_of_a_table(void **state)
{
    (void)state;
    CASE(bench.tables[1].may_alter = false, true, "s1", "does not own the table");
    CASE(bench.tables[1].row_security = true, false, "s1", "row level security");
    CASE((bench.tables[0].kind = bench.tables[1].kind = 'f', bench.model.shard_count = 1), true, "s0", "foreign table");
    CASE((bench.tables[0].persistence = 't', bench.model.shard_count = 1), true, "s0", "temporary");
}

static void test_columns_stand_in_one_order(void **state)
{
    (void)state;
    struct column_facts first;
    CASE((first = bench.columns[1][0], bench.columns[1][0] = bench.columns[1][1], bench.columns[1][1] = first), true,
         "s1", "column 1 is n, on shard s0 id");
}

static void test_a_trigger_is_judged_by_its_words(void **state)
{
    (void)state;
    static const struct {
        const char *source, *language;
        bool fatal;
    } cases[] = {
        {"BEGIN NEW.updated_at := now(); RETURN NEW; END", "plpgsql", false},
        {"BEGIN IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END -- insert", "plpgsql", false},
        {"BEGIN /* copy */ NEW.a := 'it''s an update'; RETURN NEW; END", "plpgsql", false},
        {"BEGIN Insert INTO log VALUES (1); RETURN NEW; END", "plpgsql", true},
        {"BEGIN PERFORM f(); RETURN NEW; END", "plpgsql", true},
        {"BEGIN EXECUTE 'x'; RETURN NEW; END", "plpgsql", true},
        {"BEGIN RETURN NEW; END /* never closed insert", "plpgsql", true},
        {"anything", "plpython3u", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trigger_facts trigger = {"g", "", cases[i].source, cases[i].language, "public", "t", 'O', 0};
        CASE((bench.tables[0].triggers = &trigger, bench.tables[0].trigger_count = 1), cases[i].fatal, "s0",
             "trigger g");
        trigger.enabled = 'D';
        struct bench bench;
        bool known;
        start(&bench);
        bench.tables[0].triggers = &trigger;
        bench.tables[0].trigger_count = 1;
        run(&bench, &known);
        assert_int_equal(bench.findings.count, 0);
        stop(&bench);
    }
}

static void test_findings_that_differ_in_the_shard_alone_are_joined(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct findings findings = {.arena = &arena};
    for (int i = 0; i < 40; i++) {
        finding_add(&findings, true, i % 2 ? "s1" : "s0", "t", "fix", "reason %d", i / 2);
        finding_add(&findings, false, "", "t", "fix", "reason %d", i);
    }
    assert_int_equal(findings.fatal, 40);
    finding_merge(&findings);
    assert_int_equal(findings.count, 20 + 40);
    assert_int_equal(findings.fatal, 20);
    assert_string_equal(findings.list[0].shard, "s0, s1");
    arena_free(&arena);
}

/* ---- the difference: a change of one thing gives the work for that thing ---- */

static mosaic_status differ(struct bench *bench, const struct catalog_state *state, struct difference *difference)
{
    const struct shard_facts *facts[] = {&bench->facts[0], &bench->facts[1]};
    bool known = false;
    mosaic_error error;
    preflight_tables(&bench->model, facts, &known, &bench->findings);
    const struct difference_input input = {&bench->model, state, 0, facts, &known};
    return difference_make(&input, &bench->arena, difference, &bench->findings, &error);
}

/* Sequences of a column that is no key must not meet: by residues of one increment, or by ranges. */
static void test_sequences_that_meet_and_that_do_not(void **state)
{
    (void)state;
    static const struct {
        struct sequence_facts s0, s1;
        bool collide;
    } cases[] = {
        {{"q", 1, 1, 1, INT64_MAX}, {"q", 1, 1, 1, INT64_MAX}, true},
        {{"q", 2, 1, 1, INT64_MAX}, {"q", 2, 2, 1, INT64_MAX}, false},
        {{"q", 2, 1, 1, INT64_MAX}, {"q", 2, 3, 1, INT64_MAX}, true},
        {{"q", 2, 1, 1, INT64_MAX}, {"q", 3, 2, 1, INT64_MAX}, true},
        {{"q", 1, 1, 1, 999}, {"q", 1, 1000, 1000, 1999}, false},
        {{"q", 1, 1, 1, 1000000000000}, {"q", 1, 1000, 1000, 1999999999999}, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench bench;
        struct difference difference;
        start(&bench);
        bench.columns[0][1].sequence = cases[i].s0;
        bench.columns[1][1].sequence = cases[i].s1;
        assert_int_equal(differ(&bench, NULL, &difference), MOSAIC_OK);
        assert_int_equal(bench.findings.fatal, 0);
        assert_int_equal(difference.sequence_count, cases[i].collide);
        assert_true(!cases[i].collide || difference.sequences[0].width == 1024);
        sequence_refuse(&difference, &bench.findings);
        assert_int_equal(bench.findings.fatal, cases[i].collide);
        buffer_free(&difference.plan);
        stop(&bench);
    }
    static const struct sequence_facts unfit[] = {
        {"q", 1, 1, 1, INT64_MAX, .cycles = true}, {"q", -1, 1, 1, INT64_MAX}, {"q", 1, 1, 1, 15999}};
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++) {
        struct bench bench;
        struct difference difference;
        start(&bench);
        bench.columns[0][1].sequence = bench.columns[1][1].sequence = unfit[i];
        assert_int_equal(differ(&bench, NULL, &difference), MOSAIC_OK);
        assert_int_equal(bench.findings.fatal, 1);
        assert_non_null(strstr(bench.findings.list[0].what, "cannot be unique over the shards"));
        buffer_free(&difference.plan);
        stop(&bench);
    }
    CASE(bench.columns[0][0].sequence = bench.columns[1][0].sequence = cases[0].s0, false, "",
         "key column id takes its default");
}

static void test_the_first_apply_and_the_second(void **state)
{
    (void)state;
    struct bench bench;
    struct difference first, second;
    start(&bench);
    assert_int_equal(differ(&bench, NULL, &first), MOSAIC_OK);
    assert_int_equal(bench.findings.fatal, 0);
    assert_true(first.catalog_changes);
    assert_int_equal(first.wanted.epoch, 1);
    assert_int_equal(first.wanted.table_count, 1);
    assert_int_equal(first.wanted.colocations[0].buckets, 1024);
    assert_int_equal(first.work_count, 2);
    assert_int_equal(first.works[0].action, OWNER_ADD);
    assert_non_null(strstr(first.works[1].expression, "id"));
    assert_string_not_equal(first.works[0].comment, first.works[1].comment);

    struct constraint_facts owners[2];
    for (int i = 0; i < 2; i++) {
        owners[i] = (struct constraint_facts){.name = OWNER_CONSTRAINT,
                                              .partition = "",
                                              .type = 'c',
                                              .definition = "",
                                              .validated = i == 0,
                                              .comment = first.works[i].comment,
                                              .foreign_schema = "",
                                              .foreign_table = ""};
        bench.tables[i].constraints = &owners[i];
        bench.tables[i].constraint_count = 1;
        bench.facts[i].mosaic = (struct shard_identity){true, "shop", bench.shards[i].name, "s0", 1};
        bench.facts[i].ids = i ? "pgmosaic ids.2 shard 1" : "pgmosaic ids.2 shard 0";
    }
    bench.table.rule.buckets = 0;
    assert_int_equal(differ(&bench, &first.wanted, &second), MOSAIC_OK);
    assert_false(second.catalog_changes);
    assert_int_equal(second.work_count, 1); /* the one that was not validated */
    assert_int_equal(second.works[0].action, OWNER_VALIDATE);
    assert_int_equal(second.works[0].shard, 1);
    assert_false(second.shard_changes[0] || second.shard_changes[1]);
    buffer_free(&second.plan);

    bench.facts[1].epoch_hidden = true;
    assert_int_equal(differ(&bench, &first.wanted, &second), MOSAIC_OK);
    assert_false(second.catalog_changes || second.shard_changes[0]);
    assert_true(second.shard_changes[1]);
    assert_non_null(strstr(buffer_string(&second.plan), "+ every role may read mosaic.epoch on "));
    buffer_free(&second.plan);

    bench.facts[1].epoch_hidden = false;
    bench.facts[0].cannot_decide = true;
    assert_int_equal(differ(&bench, &first.wanted, &second), MOSAIC_OK);
    assert_false(second.catalog_changes || second.shard_changes[1]);
    assert_true(second.shard_changes[0]);
    assert_non_null(strstr(buffer_string(&second.plan), "+ functions mosaic.decide and mosaic.forget on s0\n"));
    buffer_free(&second.plan);

    bench.facts[0].cannot_decide = false;
    bench.facts[0].ids = bench.facts[1].ids; /* of another shard */
    assert_int_equal(differ(&bench, &first.wanted, &second), MOSAIC_OK);
    assert_true(second.shard_changes[0] && !second.shard_changes[1]);
    assert_non_null(strstr(buffer_string(&second.plan), "+ function mosaic.next_id() on s0\n"));
    buffer_free(&first.plan);
    buffer_free(&second.plan);
    stop(&bench);
}

static void test_failed_allocations(void **state)
{
    (void)state;
    for (long countdown = 0;; countdown++) {
        struct bench bench;
        struct difference difference = {0};
        start(&bench);
        memory_fail_after(countdown);
        mosaic_status status = differ(&bench, NULL, &difference);
        memory_fail_after(-1);
        bool failed = status != MOSAIC_OK || bench.findings.failed;
        if (status != MOSAIC_OK)
            assert_int_equal(status, MOSAIC_MEMORY);
        buffer_free(&difference.plan);
        stop(&bench);
        if (!failed && countdown)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_speaks_against_what_is_right),
        cmocka_unit_test(test_servers_and_databases),
        cmocka_unit_test(test_what_sessions_are_given),
        cmocka_unit_test(test_rights_and_kinds_of_a_table),
        cmocka_unit_test(test_sequences_that_meet_and_that_do_not),
        cmocka_unit_test(test_columns_stand_in_one_order),
        cmocka_unit_test(test_a_trigger_is_judged_by_its_words),
        cmocka_unit_test(test_findings_that_differ_in_the_shard_alone_are_joined),
        cmocka_unit_test(test_the_first_apply_and_the_second),
        cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
