#include "base/memory.h"
#include "cli/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static const struct option_spec load_options[] = {
    {"format", 'F', "FORMAT", "of the file", "csv|text|binary"},
    {"no-header", 0, NULL, "the first row is data", NULL},
    {"quiet", 'q', NULL, "no progress", NULL},
    {"jobs", 'j', "N", "how many", NULL},
    {NULL},
};
static const struct command load = {
    .name = "load",
    .usage = "TABLE [FILE]",
    .options = load_options,
    .takes_config = true,
    .takes_json = true,
    .least_arguments = 1,
    .most_arguments = 2,
};
static const struct option_spec no_options[] = {{NULL}};
static const struct command lab_up = {.name = "up", .usage = "[NAME]", .options = no_options, .most_arguments = 1};
static const struct command lab_down = {.name = "down", .usage = "[NAME]", .options = no_options, .most_arguments = 1};
static const struct command *const lab_subcommands[] = {&lab_up, &lab_down, NULL};
static const struct command lab = {.name = "lab", .usage = "SUBCOMMAND", .subcommands = lab_subcommands};
static const struct command route = {.name = "route",
                                     .usage = "TABLE KEY...",
                                     .options = no_options,
                                     .least_arguments = 1,
                                     .most_arguments = (size_t)-1};
static const struct command *const commands[] = {&load, &lab, &route, NULL};

static struct invocation invocation;
static mosaic_error error;

/* Parses up to ten words, the last one followed by NULL. */
static enum parse_outcome parse(const char *first, ...)
{
    const char *words[16];
    size_t count = 0;
    va_list more;
    va_start(more, first);
    for (const char *word = first; word; word = va_arg(more, const char *))
        words[count++] = word;
    va_end(more);
    invocation_free(&invocation);
    memset(&error, 0, sizeof error);
    return command_parse(commands, words, count, &invocation, &error);
}

static int teardown(void **state)
{
    (void)state;
    invocation_free(&invocation);
    return 0;
}

static void options_may_stand_anywhere(void **state)
{
    (void)state;
    assert_int_equal(parse("load", "--format", "text", "users", "-q", "f.csv", "-j4", "-c", "x.yaml", "--json", NULL),
                     PARSE_RUN);
    assert_ptr_equal(invocation.command, &load);
    assert_null(invocation.parent);
    assert_int_equal(invocation.argument_count, 2);
    assert_string_equal(invocation.arguments[0], "users");
    assert_string_equal(invocation.arguments[1], "f.csv");
    assert_null(invocation.arguments[2]);
    assert_string_equal(invocation_option(&invocation, "format"), "text");
    assert_string_equal(invocation_option(&invocation, "quiet"), "");
    assert_string_equal(invocation_option(&invocation, "jobs"), "4");
    assert_false(invocation_has(&invocation, "no-header"));
    assert_string_equal(invocation.config, "x.yaml");
    assert_true(invocation.json);
}

static void a_value_may_follow_an_equals_sign(void **state)
{
    (void)state;
    assert_int_equal(parse("load", "t", "--jobs=", "--config=a=b", NULL), PARSE_RUN);
    assert_string_equal(invocation_option(&invocation, "jobs"), "");
    assert_string_equal(invocation.config, "a=b");
}

static void flags_may_be_joined(void **state)
{
    (void)state;
    assert_int_equal(parse("load", "t", "-qj", "7", NULL), PARSE_RUN);
    assert_true(invocation_has(&invocation, "quiet"));
    assert_string_equal(invocation_option(&invocation, "jobs"), "7");
}

static void negative_numbers_are_arguments(void **state)
{
    (void)state;
    assert_int_equal(parse("route", "users", "-5", "-.5", "-", NULL), PARSE_RUN);
    assert_int_equal(invocation.argument_count, 4);
    assert_string_equal(invocation.arguments[1], "-5");
    assert_string_equal(invocation.arguments[3], "-");
    assert_int_equal(parse("load", "users", "--jobs", "-5", NULL), PARSE_RUN);
    assert_string_equal(invocation_option(&invocation, "jobs"), "-5");
}

static void after_two_dashes_all_are_arguments(void **state)
{
    (void)state;
    assert_int_equal(parse("route", "users", "--", "--json", "-h", "--", NULL), PARSE_RUN);
    assert_int_equal(invocation.argument_count, 4);
    assert_string_equal(invocation.arguments[1], "--json");
    assert_string_equal(invocation.arguments[3], "--");
}

static void subcommands_are_found(void **state)
{
    (void)state;
    assert_int_equal(parse("lab", "up", "demo", NULL), PARSE_RUN);
    assert_ptr_equal(invocation.command, &lab_up);
    assert_ptr_equal(invocation.parent, &lab);
}

static void help_is_asked_for_at_every_level(void **state)
{
    (void)state;
    assert_int_equal(parse("--help", NULL), PARSE_HELP);
    assert_null(invocation.command);
    assert_int_equal(parse("load", "--nonsense-later", "-h", NULL), PARSE_FAILED);
    assert_int_equal(parse("load", "-h", "--nonsense-later", NULL), PARSE_HELP);
    assert_ptr_equal(invocation.command, &load);
    assert_int_equal(parse("lab", "-h", NULL), PARSE_HELP);
    assert_ptr_equal(invocation.command, &lab);
    assert_int_equal(parse("lab", "up", "--help", NULL), PARSE_HELP);
    assert_ptr_equal(invocation.command, &lab_up);
    assert_int_equal(parse("--version", NULL), PARSE_VERSION);
}

/* The words fail to parse, with this message and hint. */
#define assert_refused(message_, hint_, ...)                      \
    do {                                                          \
        assert_int_equal(parse(__VA_ARGS__, NULL), PARSE_FAILED); \
        assert_int_equal(error.status, MOSAIC_USAGE);             \
        assert_string_equal(error.message, message_);             \
        assert_string_equal(error.hint, hint_);                   \
    } while (0)

static void usage_errors_name_what_and_the_nearest(void **state)
{
    (void)state;
    const char *all = "see pgmosaic --help", *of_load = "see pgmosaic load --help";
    assert_refused("no command \"laod\": did you mean \"load\"?", all, "laod");
    assert_refused("no command \"xyzzy\"", all, "xyzzy");
    assert_refused("no option --formt: did you mean --format?", of_load, "load", "t", "--formt=csv");
    assert_refused("no option --jsn: did you mean --json?", of_load, "load", "t", "--jsn");
    assert_refused("no option -x", of_load, "load", "t", "-x");
    assert_refused("--format takes one of csv|text|binary, not \"tex\"", of_load, "load", "t", "--format=tex");
    assert_refused("--format takes one of csv|text|binary, not \"\"", of_load, "load", "t", "--format=");
    assert_refused("--jobs needs a value: --jobs N", of_load, "load", "t", "--jobs");
    assert_refused("--jobs is given twice", of_load, "load", "t", "-j1", "-j2");
    assert_refused("--quiet takes no value", of_load, "load", "t", "--quiet=yes");
    assert_refused("one argument too many: \"c\"", of_load, "load", "a", "b", "c");
    assert_refused("an argument is missing: pgmosaic load TABLE [FILE]", of_load, "load");
    assert_refused("no subcommand \"upp\": did you mean \"up\"?", "see pgmosaic lab --help", "lab", "upp");
    assert_refused("a subcommand is missing: pgmosaic lab SUBCOMMAND", "see pgmosaic lab --help", "lab");
    assert_refused("no option --config", "see pgmosaic route --help", "route", "t", "--config=x");
    assert_refused("one argument too many: \"b\"", "see pgmosaic lab up --help", "lab", "up", "a", "b");
    assert_refused("command comes first, then its options: not \"--json\"", all, "--json", "load");
}

static void nothing_typed_is_a_usage_error(void **state)
{
    (void)state;
    assert_int_equal(command_parse(commands, NULL, 0, &invocation, &error), PARSE_FAILED);
    assert_string_equal(error.message, "a command is missing");
}

static void numbers_are_checked(void **state)
{
    (void)state;
    long number;
    assert_int_equal(parse("load", "t", NULL), PARSE_RUN);
    assert_int_equal(invocation_number(&invocation, "jobs", 1, 8, 3, &number, &error), MOSAIC_OK);
    assert_int_equal(number, 3);
    assert_int_equal(parse("load", "t", "-j8", NULL), PARSE_RUN);
    assert_int_equal(invocation_number(&invocation, "jobs", 1, 8, 3, &number, &error), MOSAIC_OK);
    assert_int_equal(number, 8);
    const char *bad[] = {"9", "0", "-1", "", " 5", "+5", "5x", "0x5", "99999999999999999999", "five"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse("load", "t", "--jobs", bad[i], NULL), PARSE_RUN);
        assert_int_equal(invocation_number(&invocation, "jobs", 1, 8, 3, &number, &error), MOSAIC_USAGE);
        assert_non_null(strstr(error.message, "from 1 to 8"));
        assert_string_equal(error.hint, "see pgmosaic load --help");
    }
}

static void failed_memory_is_an_error(void **state)
{
    (void)state;
    invocation_free(&invocation);
    memory_fail_after(0);
    enum parse_outcome outcome = parse("load", "t", NULL);
    memory_fail_after(-1);
    assert_int_equal(outcome, PARSE_FAILED);
    assert_int_equal(error.status, MOSAIC_MEMORY);
}

/* Random words in random order: what was put in comes out, wherever the options stood. */
static void random_lines_parse_as_built(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    printf("SEED=%u\n", seed);
    srand(seed);
    for (int round = 0; round < 2000; round++) {
        const char *words[12] = {"route"}, *expected[12];
        size_t count = 1, arguments = 0;
        bool over = false;
        for (int i = rand() % 9; i >= 0; i--) {
            static const char *const plain[] = {"users", "-1", "-", "", "-.9", "a b", "--", "--json", "-h"};
            size_t pick = (size_t)rand() % (over ? 9 : 7);
            words[count++] = plain[pick];
            if (pick == 6 && !over)
                over = true;
            else
                expected[arguments++] = plain[pick];
        }
        invocation_free(&invocation);
        enum parse_outcome outcome = command_parse(commands, words, count, &invocation, &error);
        assert_int_equal(outcome, arguments ? PARSE_RUN : PARSE_FAILED);
        assert_int_equal(invocation.argument_count, arguments);
        for (size_t i = 0; i < arguments; i++)
            assert_ptr_equal(invocation.arguments[i], expected[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(options_may_stand_anywhere, teardown),
        cmocka_unit_test_teardown(a_value_may_follow_an_equals_sign, teardown),
        cmocka_unit_test_teardown(flags_may_be_joined, teardown),
        cmocka_unit_test_teardown(negative_numbers_are_arguments, teardown),
        cmocka_unit_test_teardown(after_two_dashes_all_are_arguments, teardown),
        cmocka_unit_test_teardown(subcommands_are_found, teardown),
        cmocka_unit_test_teardown(help_is_asked_for_at_every_level, teardown),
        cmocka_unit_test_teardown(usage_errors_name_what_and_the_nearest, teardown),
        cmocka_unit_test_teardown(nothing_typed_is_a_usage_error, teardown),
        cmocka_unit_test_teardown(numbers_are_checked, teardown),
        cmocka_unit_test_teardown(failed_memory_is_an_error, teardown),
        cmocka_unit_test_teardown(random_lines_parse_as_built, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
