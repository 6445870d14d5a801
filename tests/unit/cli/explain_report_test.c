#include "cli/explain_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static struct explain_report report;

/* What is printed of one statement of each way. */
static char *printed(bool json)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    assert_non_null(stream);
    report = (struct explain_report){.statements = EXPLAIN_WAY_COUNT};
    for (int way = 0; way < EXPLAIN_WAY_COUNT; way++)
        report.ways[way] = 1;
    explain_report_print(&report, json, stream);
    fclose(stream);
    explain_report_free(&report);
    return text;
}

static void what_the_coordinator_combines_is_of_tier_3(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "1     one shard ",
        "2     several shards, merged ",
        "3     several shards, combined by the coordinator ",
        "4     the coordinator ",
        "-     refused ",
    };
    char *text = printed(false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strstr(text, rows[i]))
            fail_msg("no line \"%s\" in\n%s", rows[i], text);
    free(text);
    text = printed(true);
    json_t *root = json_loads(text, 0, NULL), *ways = json_object_get(root, "ways");
    assert_int_equal(json_array_size(ways), EXPLAIN_WAY_COUNT);
    const json_t *tier = json_object_get(json_array_get(ways, EXPLAIN_COMBINED), "tier");
    assert_int_equal(json_integer_value(tier), 3);
    assert_true(json_is_null(json_object_get(json_array_get(ways, EXPLAIN_REFUSED), "tier")));
    json_decref(root);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_the_coordinator_combines_is_of_tier_3)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
