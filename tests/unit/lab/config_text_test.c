#include "../random.h"
#include "base/memory.h"
#include "lab/config_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mosaic_error error;

static const char plain[] = "cluster: demo\n"
                            "shards:\n"
                            "  - {name: s0, conninfo: \"port=7101 user=demo\"}\n"
                            "  - {name: s1, conninfo: \"port=71010 user=demo\"}\n"
                            "# about tables\n"
                            "tables:\n"
                            "  - {name: s2, key: id}\n";

/* The text after the addition, or "" with the error; valid until the next call. */
static const char *added(const char *old, const char *name, const char *conninfo)
{
    static char kept[65536];
    struct buffer text = BUFFER_INIT(sizeof kept - 1);
    mosaic_status status = config_text_add(old, name, conninfo, false, &text, &error);
    snprintf(kept, sizeof kept, "%s", status == MOSAIC_OK ? buffer_string(&text) : "");
    buffer_free(&text);
    return kept;
}

static void a_new_config_names_every_shard_and_ends_with_tables(void **state)
{
    (void)state;
    const char *const conninfos[] = {"port=1", "passfile='a \\\\ \"b\"'"};
    struct buffer text = BUFFER_INIT(65536);
    config_text_new(&text, "null", conninfos, 2, false);
    const char *made = buffer_string(&text);
    assert_non_null(
        strstr(made, "\ncluster: \"null\"\nengine: postgres\nshards:\n  - {name: s0, conninfo: \"port=1\"}\n"));
    assert_non_null(strstr(made, "  - {name: s1, conninfo: \"passfile='a \\\\\\\\ \\\"b\\\"'\"}\n"));
    assert_string_equal(made + text.size - strlen("\ntables:\n"), "\ntables:\n");
    buffer_free(&text);
}

static void shards_in_a_network_say_how_they_reach_each_other(void **state)
{
    (void)state;
    const char *const conninfos[] = {"port=7101"};
    struct buffer text = BUFFER_INIT(65536), more = BUFFER_INIT(65536);
    config_text_new(&text, "c", conninfos, 1, true);
    assert_non_null(
        strstr(buffer_string(&text), "  - {name: s0, conninfo: \"port=7101\", internal: \"host=s0 port=5432\"}\n"));
    assert_int_equal(config_text_add(buffer_string(&text), "s1", "port=1", true, &more, &error), MOSAIC_OK);
    assert_non_null(
        strstr(buffer_string(&more), "  - {name: s1, conninfo: \"port=1\", internal: \"host=s1 port=5432\"}\n"));
    buffer_free(&text);
    buffer_free(&more);
}

static void a_config_of_citus_names_the_coordinator_whose_port_can_change(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT(65536), changed = BUFFER_INIT(65536);
    config_text_new_citus(&text, "c", "port=100 user=\"c\"");
    const char *made = buffer_string(&text);
    assert_non_null(strstr(made, "\nengine: citus\ncoordinator: \"port=100 user=\\\"c\\\"\"\n"));
    assert_string_equal(made + text.size - strlen("\ntables:\n"), "\ntables:\n");
    buffer_text(&text, "  - {name: t, key: id} # port=100\n");
    made = buffer_string(&text);
    assert_true(config_text_change_port(made, "coordinator", 100, 2000, &changed));
    assert_non_null(strstr(buffer_string(&changed), "\ncoordinator: \"port=2000 user="));
    assert_non_null(strstr(buffer_string(&changed), "# port=100\n"));
    buffer_clear(&changed);
    assert_false(config_text_change_port(made, "coordinator", 10, 2000, &changed));
    buffer_clear(&changed);
    assert_false(config_text_change_port(made, "s0", 100, 2000, &changed));
    buffer_free(&text);
    buffer_free(&changed);
}

static void a_shard_goes_behind_the_last_one(void **state)
{
    (void)state;
    const char *text = added(plain, "s2", "port=7103");
    assert_non_null(strstr(text, "user=demo\"}\n  - {name: s2, conninfo: \"port=7103\"}\n# about tables\n"));
    assert_int_equal(strlen(text), strlen(plain) + strlen("  - {name: s2, conninfo: \"port=7103\"}\n"));
}

static void a_shard_that_is_named_already_changes_nothing(void **state)
{
    (void)state;
    static const char styles[][80] = {
        "shards:\n- name: s1\n  conninfo: x\n", "shards:\n  - {name: 's1', conninfo: x}\n",
        "shards:\n  - conninfo: x\n    name:   \"s1\"\n", "shards: # a comment\n\n  - {conninfo: x, name: s1}"};
    for (size_t i = 0; i < sizeof styles / sizeof *styles; i++)
        assert_string_equal(added(styles[i], "s1", "y"), styles[i]);
    assert_string_not_equal(added("shards:\n  - {name: s10, conninfo: x}\n", "s1", "y"), "");
    assert_non_null(strstr(added("shards:\n  - {name: s10, conninfo: x}\n", "s1", "y"), "{name: s1, conninfo: \"y\"}"));
    assert_non_null(strstr(added("shards:\n  # name: s1\n  - {name: s0, conninfo: x}\n", "s1", "y"), "{name: s1,"));
}

static void the_style_of_the_list_is_kept(void **state)
{
    (void)state;
    assert_string_equal(added("shards:\n- name: s0\n  conninfo: x\ntables: []\n", "s1", "y"),
                        "shards:\n- name: s0\n  conninfo: x\n- {name: s1, conninfo: \"y\"}\ntables: []\n");
    assert_string_equal(added("shards:\n      - {name: s0, conninfo: x}", "s1", "y"),
                        "shards:\n      - {name: s0, conninfo: x}\n      - {name: s1, conninfo: \"y\"}\n");
    assert_string_equal(added("shards:\ntables:\n", "s0", "y"), "shards:\n  - {name: s0, conninfo: \"y\"}\ntables:\n");
}

static void a_list_in_another_form_is_refused_with_the_line_to_add(void **state)
{
    (void)state;
    static const char forms[][64] = {"", "cluster: x\n", "shards: [{name: s0, conninfo: x}]\n", "# shards:\n",
                                     "shards: []"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        error.status = MOSAIC_OK;
        assert_string_equal(added(forms[i], "s1", "port=9"), "");
        assert_int_equal(error.status, MOSAIC_CONFIG);
        assert_non_null(strstr(error.hint, "- {name: s1, conninfo: \"port=9\"}"));
    }
}

static void only_the_port_of_the_named_shard_changes(void **state)
{
    (void)state;
    struct buffer text = BUFFER_INIT(65536);
    assert_true(config_text_change_port(plain, "s0", 7101, 9, &text));
    assert_non_null(strstr(buffer_string(&text), "{name: s0, conninfo: \"port=9 user=demo\"}"));
    assert_non_null(strstr(buffer_string(&text), "{name: s1, conninfo: \"port=71010 user=demo\"}"));
    assert_int_equal(text.size, strlen(plain) - 3);
    buffer_clear(&text);
    assert_false(config_text_change_port(plain, "s1", 7101, 9, &text));
    assert_string_equal(buffer_string(&text), plain);
    buffer_clear(&text);
    assert_false(config_text_change_port(plain, "s7", 7101, 9, &text));
    buffer_clear(&text);
    assert_true(config_text_change_port("shards:\n- name: s0\n  # mine\n  conninfo: port=1\n", "s0", 1, 22, &text));
    assert_string_equal(buffer_string(&text), "shards:\n- name: s0\n  # mine\n  conninfo: port=22\n");
    buffer_free(&text);
}

/* A config as a person might have it: comments, blank lines and shards in mixed styles; the model is its list of lines.
 */
static size_t random_config(struct random *random, char *text, size_t size)
{
    static const char *const between[] = {"", "\n", "  # a note\n", "# name: s7\n", "   \n"};
    static const char *const indents[] = {"", "  ", "    "};
    const char *indent = indents[random_below(random, 3)];
    size_t shards = 1 + random_below(random, 5), at = 0;
    at += (size_t)snprintf(text + at, size - at, "%scluster: x\nshards:%s\n", random_below(random, 2) ? "# top\n" : "",
                           random_below(random, 2) ? "   # here" : "");
    for (size_t i = 0; i < shards; i++) {
        at += (size_t)snprintf(text + at, size - at, "%s", between[random_below(random, 5)]);
        if (random_below(random, 2))
            at += (size_t)snprintf(text + at, size - at, "%s- {name: s%zu, conninfo: \"port=%zu x\"}\n", indent, i,
                                   500 + i);
        else
            at += (size_t)snprintf(text + at, size - at, "%s- name: s%zu\n%s  conninfo: port=%zu\n", indent, i, indent,
                                   500 + i);
    }
    snprintf(text + at, size - at, "%stables:\n  - {name: s9, key: id}\n", between[random_below(random, 5)]);
    return shards;
}

static void whatever_a_person_wrote_stays(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 2000; round++) {
        char old[4096], name[24], line[128];
        size_t shards = random_config(&random, old, sizeof old);
        snprintf(name, sizeof name, "s%zu", shards);
        char *text = strdup(added(old, name, "port=600"));
        snprintf(line, sizeof line, "- {name: %s, conninfo: \"port=600\"}\n", name);
        char *found = strstr(text, line);
        assert_non_null(found);
        assert_null(strstr(found + 1, line));
        assert_true(found < strstr(text, "\ntables:"));
        /* without the new line, every byte is as it was */
        char *start = found;
        while (start > text && start[-1] == ' ')
            start--;
        memmove(start, found + strlen(line), strlen(found + strlen(line)) + 1);
        assert_string_equal(text, old);
        free(text);

        struct buffer there = BUFFER_INIT(65536), back = BUFFER_INIT(65536);
        size_t moved = random_below(&random, (uint32_t)shards);
        snprintf(name, sizeof name, "s%zu", moved);
        assert_true(config_text_change_port(old, name, (int)(500 + moved), 77777, &there));
        assert_true(config_text_change_port(buffer_string(&there), name, 77777, (int)(500 + moved), &back));
        assert_string_equal(buffer_string(&back), old);
        buffer_free(&there);
        buffer_free(&back);
    }
}

static void memory_that_is_out_is_said(void **state)
{
    (void)state;
    for (long allowed = 0; allowed < 20; allowed++) {
        struct buffer text = BUFFER_INIT(65536), moved = BUFFER_INIT(65536);
        memory_fail_after(allowed);
        mosaic_status status = config_text_add(plain, "s2", "port=7103", false, &text, &error);
        bool changed = config_text_change_port(plain, "s0", 7101, 9, &moved);
        memory_fail_after(-1);
        assert_true(status == MOSAIC_OK ? !buffer_failed(&text) : status == MOSAIC_MEMORY && buffer_failed(&text));
        assert_true(changed != buffer_failed(&moved));
        if (allowed == 0)
            assert_int_equal(status, MOSAIC_MEMORY);
        buffer_free(&text);
        buffer_free(&moved);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_config_names_every_shard_and_ends_with_tables),
        cmocka_unit_test(shards_in_a_network_say_how_they_reach_each_other),
        cmocka_unit_test(a_config_of_citus_names_the_coordinator_whose_port_can_change),
        cmocka_unit_test(a_shard_goes_behind_the_last_one),
        cmocka_unit_test(a_shard_that_is_named_already_changes_nothing),
        cmocka_unit_test(the_style_of_the_list_is_kept),
        cmocka_unit_test(a_list_in_another_form_is_refused_with_the_line_to_add),
        cmocka_unit_test(only_the_port_of_the_named_shard_changes),
        cmocka_unit_test(whatever_a_person_wrote_stays),
        cmocka_unit_test(memory_that_is_out_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
