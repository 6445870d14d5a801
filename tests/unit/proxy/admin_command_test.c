#include "proxy/admin_command.h"

#include "../random.h"
#include "proxy/admin_columns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void commands_are_read_in_any_case_and_with_any_blanks(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum admin_command command;
        const char *argument, *value;
        uint64_t id;
    } good[] = {
        {"SHOW POOLS", ADMIN_SHOW_POOLS, NULL, NULL, 0},
        {"  show\n pools ;; ", ADMIN_SHOW_POOLS, NULL, NULL, 0},
        {"-- a note\nshow /* x */ stats;", ADMIN_SHOW_STATS, NULL, NULL, 0},
        {"SHOW STATS_TOTALS", ADMIN_SHOW_STATS_TOTALS, NULL, NULL, 0},
        {"show map", ADMIN_SHOW_MAP, NULL, NULL, 0},
        {"show map users;", ADMIN_SHOW_MAP, "users", NULL, 0},
        {"show map \"Us\"\"ers\"", ADMIN_SHOW_MAP, "Us\"ers", NULL, 0},
        {"PAUSE", ADMIN_PAUSE, NULL, NULL, 0},
        {"pause s1;", ADMIN_PAUSE, "s1", NULL, 0},
        {"RESUME 's 1'", ADMIN_RESUME, "s 1", NULL, 0},
        {"kill_client 12", ADMIN_KILL_CLIENT, "12", NULL, 12},
        {"KILL", ADMIN_KILL, NULL, NULL, 0},
        {"shutdown", ADMIN_SHUTDOWN, NULL, NULL, 0},
        {"shutdown wait_for_clients", ADMIN_SHUTDOWN_WAIT_FOR_CLIENTS, NULL, NULL, 0},
        {"SET pool_size = 30", ADMIN_SET, "pool_size", "30", 0},
        {"SET pool_size=30;", ADMIN_SET, "pool_size", "30", 0},
        {"set query_timeout to '5s' ;", ADMIN_SET, "query_timeout", "5s", 0},
        {"set admin_users = ann, bob ; ", ADMIN_SET, "admin_users", "ann, bob", 0},
        {"set log_file = ''", ADMIN_SET, "log_file", "", 0},
        {"set log_file = 'it''s'", ADMIN_SET, "log_file", "it's", 0},
        {"", ADMIN_EMPTY, NULL, NULL, 0},
        {" ; ", ADMIN_EMPTY, NULL, NULL, 0},
        {"-- only this", ADMIN_EMPTY, NULL, NULL, 0},
        {"BEGIN", ADMIN_BEGIN, NULL, NULL, 0},
        {"begin read only", ADMIN_BEGIN, NULL, NULL, 0},
        {"rollback", ADMIN_ROLLBACK, NULL, NULL, 0},
        {"SET extra_float_digits = 3", ADMIN_SET_DRIVER, NULL, NULL, 0},
        {"SET DateStyle='ISO'", ADMIN_SET_DRIVER, NULL, NULL, 0},
        {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", ADMIN_SET_DRIVER, NULL, NULL, 0},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct arena arena = ARENA_INIT;
        struct admin_read read;
        mosaic_error error = {.message = ""};
        if (admin_read(&arena, good[i].text, &read, &error) != MOSAIC_OK)
            fail_msg("%s: %s", good[i].text, error.message);
        if (read.command != good[i].command)
            fail_msg("%s is command %d", good[i].text, read.command);
        if (good[i].argument)
            assert_string_equal(read.argument, good[i].argument);
        else
            assert_null(read.argument);
        if (good[i].value)
            assert_string_equal(read.value, good[i].value);
        assert_int_equal(read.id, good[i].id);
        arena_free(&arena);
    }
}

static void what_is_no_command_is_refused_with_the_nearest(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"SHOW POLS", "there is no command \"SHOW POLS\" in this database: did you mean SHOW POOLS?"},
        {"show cleints;", "did you mean SHOW CLIENTS?"},
        {"SELECT 1", "there is no command \"SELECT 1\" in this database"},
        {"SHOW", "there is no command \"SHOW\""},
        {"SHOW POOLS; SHOW CLIENTS", "SHOW POOLS is followed by more than it takes: \"SHOW CLIENTS\""},
        {"SHOW POOLS now", "is followed by more"},
        {"PAUSE s1 s2", "is followed by more"},
        {"PAUSE 's1", "malformed"},
        {"PAUSE 's1'x", "malformed"},
        {"PAUSE =", "malformed"},
        {"KILL_CLIENT", "takes the number of a client"},
        {"KILL_CLIENT -1", "takes the number of a client"},
        {"KILL_CLIENT 1x", "takes the number of a client"},
        {"KILL_CLIENT 99999999999999999999999", "takes the number of a client"},
        {"SET", "SET needs a setting and a value"},
        {"SET pool_size", "SET needs a setting and a value"},
        {"SET pool_size 5", "SET needs a setting and a value"},
        {"SET pool_size = 'x", "SET needs a setting and a value"},
        {"SET pool_size = '1' '2'", "is followed by more"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct arena arena = ARENA_INIT;
        struct admin_read read;
        mosaic_error error = {.message = ""};
        mosaic_status status = admin_read(&arena, bad[i].text, &read, &error);
        if (status != MOSAIC_USAGE || !strstr(error.message, bad[i].says) || !error.hint[0])
            fail_msg("%s: %d %s", bad[i].text, status, error.message);
        arena_free(&arena);
    }
}

static void every_command_reads_as_itself_and_has_its_columns(void **state)
{
    (void)state;
    const struct admin_info *info;
    for (unsigned i = 0; (info = admin_info((enum admin_command)i)); i++) {
        struct arena arena = ARENA_INIT;
        struct admin_read read;
        mosaic_error error = {.message = ""};
        char text[100];
        uint16_t count;
        snprintf(text, sizeof text, "%s%s", info->words,
                 info->argument == ADMIN_ID           ? " 1"
                 : info->argument == ADMIN_ASSIGNMENT ? " a = b"
                                                      : "");
        assert_int_equal(admin_read(&arena, text, &read, &error), MOSAIC_OK);
        assert_int_equal(read.command, i);
        bool shows = strncmp(info->words, "SHOW", 4) == 0;
        const struct admin_column *columns = admin_columns((enum admin_command)i, &count);
        assert_int_equal(columns != NULL, shows);
        assert_int_equal(info->shows, shows);
        for (uint16_t at = 0; at < count; at++)
            assert_true(columns[at].name[0] && admin_column_help((enum admin_command)i, at)[0]);
        assert_string_equal(admin_tag((enum admin_command)i), shows                                      ? "SHOW"
                                                              : strncmp(info->words, "SHUTDOWN", 8) == 0 ? "SHUTDOWN"
                                                                                                         : info->words);
        arena_free(&arena);
    }
    assert_null(admin_info(ADMIN_EMPTY));
    assert_string_equal(admin_tag(ADMIN_SET_DRIVER), "SET");
}

/* Pieces put together at random: read or refused, never beyond the end (the sanitizers' builds see that). */
static void random_texts_are_read_or_refused(void **state)
{
    (void)state;
    static const char *const pieces[] = {"SHOW", " ",  "POOLS", ";", "'",           "\"",    "=",   "SET", "--", "/*",
                                         "*/",   "\n", "a",     "5", "KILL_CLIENT", "PAUSE", "MAP", "to ", ","};
    struct random random = random_start();
    for (int round = 0; round < 20000; round++) {
        char text[200] = "";
        for (unsigned n = random_below(&random, 12); n > 0; n--)
            strcat(text, pieces[random_below(&random, sizeof pieces / sizeof *pieces)]);
        size_t size = strlen(text) + 1;
        char *exact = memcpy(malloc(size), text, size);
        struct arena arena = ARENA_INIT;
        struct admin_read read;
        mosaic_error error = {.message = ""};
        mosaic_status status = admin_read(&arena, exact, &read, &error);
        assert_true(status == MOSAIC_OK || (status == MOSAIC_USAGE && error.message[0]));
        arena_free(&arena);
        free(exact);
    }
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
    static const char *const texts[] = {"PAUSE s1", "SET a = b", "SET a = 'b'"};
    for (size_t i = 0; i < 3; i++) {
        struct arena arena = ARENA_INIT;
        struct admin_read read;
        mosaic_error error;
        memory_fail_after(0);
        assert_int_equal(admin_read(&arena, texts[i], &read, &error), MOSAIC_MEMORY);
        memory_fail_after(-1);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_read_in_any_case_and_with_any_blanks),
        cmocka_unit_test(what_is_no_command_is_refused_with_the_nearest),
        cmocka_unit_test(every_command_reads_as_itself_and_has_its_columns),
        cmocka_unit_test(random_texts_are_read_or_refused),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
