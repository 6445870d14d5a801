#include "proxy/log.h"

#include "../random.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char *line(enum log_format format, bool journal, enum log_event event, const struct log_entry *entry)
{
    static char text[40000];
    struct buffer out = BUFFER_INIT(sizeof text - 1);
    log_line(&out, format, journal, event, INT64_C(1764088262123456), 3, entry);
    assert_false(buffer_failed(&out));
    strcpy(text, buffer_string(&out));
    buffer_free(&out);
    return text;
}

static void a_line_says_when_who_and_what(void **state)
{
    (void)state;
    mosaic_error error;
    (void)!error_set(&error, MOSAIC_UNSUPPORTED, "needs \"two\" shards");
    error_detail(&error, "id is not bound");
    error_hint(&error, "say\nid = 5");
    struct log_entry entry = {.error = &error,
                              .client = 12,
                              .user = "ann",
                              .database = "shop",
                              .address = "127.0.0.1:5555",
                              .application_name = "app",
                              .statement = "SELECT 1\nFROM t",
                              .statement_size = 15,
                              .plan = "refused",
                              .tier = 2,
                              .shards = 3,
                              .has_rows = true,
                              .duration_us = 1500};
    assert_string_equal(
        line(LOG_TEXT, false, EVENT_REFUSED, &entry),
        "2025-11-25 16:31:02.123 UTC [3] WARNING client 12 ann@shop 127.0.0.1:5555 (app): refused: needs \"two\" "
        "shards "
        "[0A000]; id is not bound; hint: say\\nid = 5; 1.500 ms; plan: refused; 0 rows; statement: SELECT 1\\nFROM "
        "t\n");
    assert_string_equal(line(LOG_TEXT, true, EVENT_SHARD_DOWN, &(struct log_entry){.message = "no", .shard = "s1"}),
                        "<3>[3] ERROR shard s1: shard_down: no\n");
    assert_string_equal(
        line(LOG_JSON, false, EVENT_REFUSED, &entry),
        "{\"time\":\"2025-11-25T16:31:02.123Z\",\"level\":\"warning\",\"event\":\"refused\",\"thread\":3,\"client\":12,"
        "\"user\":\"ann\",\"database\":\"shop\",\"address\":\"127.0.0.1:5555\",\"application_name\":\"app\","
        "\"sqlstate\":\"0A000\",\"error\":\"needs \\\"two\\\" shards\",\"detail\":\"id is not "
        "bound\",\"hint\":\"say\\nid "
        "= 5\",\"duration_us\":1500,\"plan\":\"refused\",\"tier\":2,\"shards\":3,\"rows\":0,\"statement\":\"SELECT "
        "1\\nFROM t\"}\n");
    assert_string_equal(line(LOG_JSON, false, EVENT_START, &(struct log_entry){.message = "x"}),
                        "{\"time\":\"2025-11-25T16:31:02.123Z\",\"level\":\"info\",\"event\":\"start\",\"thread\":3,"
                        "\"message\":\"x\"}\n");
}

static void passwords_are_masked(void **state)
{
    (void)state;
    static const struct {
        const char *text, *masked;
        bool is_statement;
    } cases[] = {
        {"ALTER ROLE a PASSWORD 'secret'", "ALTER ROLE a PASSWORD ***", true},
        {"alter role a password  E'se\\'cret' valid until 'x'", "alter role a password  *** valid until ***", true},
        {"CREATE USER a ENCRYPTED PASSWORD $x$it's$x$;", "CREATE USER a ENCRYPTED PASSWORD ***;", true},
        {"ALTER ROLE a PASSWORD NULL", "ALTER ROLE a PASSWORD NULL", true},
        {"INSERT INTO u (name, password) VALUES ('a', 'b''c')", "INSERT INTO u (name, password) VALUES (***, ***)",
         true},
        {"UPDATE u SET password='x' WHERE n = 'y'", "UPDATE u SET password=*** WHERE n = ***", true},
        {"SELECT 'x' FROM passwords WHERE a = 'b'", "SELECT 'x' FROM passwords WHERE a = 'b'", true},
        {"SELECT password_hash = 'x'", "SELECT password_hash = 'x'", true},
        {"host=a password=se,cret dbname=b", "host=a password=***,cret dbname=b", false},
        {"host=a password = 'se cret' dbname=b", "host=a password = *** dbname=b", false},
        {"sslpassword=x user=y", "sslpassword=*** user=y", false},
        {"postgresql://ann:s:e@c@host:5/db", "postgresql://ann:***@c@host:5/db", false},
        {"postgresql://host:5/db", "postgresql://host:5/db", false},
        {"password authentication failed for user 'bob'", "password authentication failed for user 'bob'", false},
        {"password", "password", true},
        {"password=", "password=", true},
        {"PASSWORD 'never closed", "PASSWORD ***", true},
        {"PASSWORD $never closed", "PASSWORD $never closed", true},
        {"", "", true},
        {"://", "://", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out = BUFFER_INIT(1000);
        size_t size = strlen(cases[i].text);
        char *exact = malloc(size + 1);
        memcpy(exact, cases[i].text, size);
        log_mask(&out, exact, size, cases[i].is_statement);
        assert_string_equal(buffer_string(&out), cases[i].masked);
        free(exact);
        buffer_free(&out);
    }
}

static bool is_utf8(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t size = *at < 0x80 ? 1 : *at < 0xC2 ? 9 : *at < 0xE0 ? 2 : *at < 0xF0 ? 3 : *at < 0xF5 ? 4 : 9;
        for (size_t i = 1; i < size; i++)
            if (size == 9 || (at[i] & 0xC0) != 0x80)
                return false;
        at += size;
    }
    return true;
}

static void any_bytes_make_one_line_of_utf8(void **state)
{
    (void)state;
    struct random random = random_start();
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t size = random_below(&random, sizeof text - 1);
        for (size_t i = 0; i < size; i++)
            text[i] =
                "\x01\n\"\\'a$=:/@\x80\xC3\xA9\xE2\x82\xAC\xED\xA0\xF0\x9F\x98\x80pE\xFF"[random_below(&random, 25)];
        text[size] = '\0';
        struct log_entry entry = {.message = text, .user = text, .statement = text, .statement_size = size};
        for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
            const char *made = line((enum log_format)format, false, EVENT_STATEMENT, &entry);
            assert_ptr_equal(strchr(made, '\n'), made + strlen(made) - 1);
            assert_true(is_utf8(made));
        }
    }
}

static void a_long_statement_is_cut(void **state)
{
    (void)state;
    size_t size = 3 * LOG_STATEMENT_MOST;
    char *text = malloc(size);
    memset(text, 'a', size);
    const char *made =
        line(LOG_JSON, false, EVENT_STATEMENT, &(struct log_entry){.statement = text, .statement_size = size});
    assert_true(strlen(made) < LOG_LINE_MOST);
    assert_non_null(strstr(made, "aaa…\"}"));
    free(text);
}

struct fixture {
    struct arena arena;
    struct proxy_settings settings;
    char path[64], moved[80];
    mosaic_error error;
    struct log *log;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){0};
    *state = &fixture;
    if (settings_default(&fixture.arena, &fixture.settings, &fixture.error) != MOSAIC_OK)
        return -1;
    snprintf(fixture.path, sizeof fixture.path, "/tmp/mosaic-log-test-%d", (int)getpid());
    snprintf(fixture.moved, sizeof fixture.moved, "%s.1", fixture.path);
    fixture.settings.log_file = fixture.path;
    return log_open(&fixture.settings, &fixture.log, &fixture.error) == MOSAIC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    log_close(fixture->log);
    unlink(fixture->path);
    unlink(fixture->moved);
    arena_free(&fixture->arena);
    return 0;
}

/* The file, once it has so many lines. */
static const char *content(const char *path, int lines)
{
    static char text[100000];
    for (int tries = 0; tries < 500; tries++) {
        FILE *file = fopen(path, "r");
        size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
        text[size] = '\0';
        if (file)
            fclose(file);
        int found = 0;
        for (size_t i = 0; i < size; i++)
            found += text[i] == '\n';
        if (found >= lines)
            return text;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    fail_msg("%s has not %d lines:\n%s", path, lines, text);
    return text;
}

static void a_file_is_opened_anew(void **state)
{
    struct fixture *fixture = *state;
    log_message(fixture->log, EVENT_START, "one %d", 1);
    assert_non_null(strstr(content(fixture->path, 1), "INFO: start: one 1\n"));
    assert_int_equal(rename(fixture->path, fixture->moved), 0);
    log_message(fixture->log, EVENT_START, "two");
    assert_non_null(strstr(content(fixture->moved, 2), "two\n"));
    fixture->settings.log_format = LOG_JSON;
    for (int i = 0; i < 3; i++)
        assert_int_equal(log_reopen(fixture->log, &fixture->settings, &fixture->error), MOSAIC_OK);
    log_message(fixture->log, EVENT_START, "three");
    assert_non_null(strstr(content(fixture->path, 1), "\"message\":\"three\"}\n"));
    fixture->settings.log_file = "/nowhere/log";
    assert_int_equal(log_reopen(fixture->log, &fixture->settings, &fixture->error), MOSAIC_IO);
    assert_non_null(strstr(fixture->error.message, "/nowhere/log"));
    log_message(fixture->log, EVENT_START, "four");
    assert_non_null(strstr(content(fixture->path, 2), "four"));
}

static void settings_say_what_is_wanted(void **state)
{
    struct fixture *fixture = *state;
    assert_true(log_wants(fixture->log, EVENT_LOGIN));
    assert_false(log_wants(fixture->log, EVENT_STATEMENT));
    assert_false(log_wants(fixture->log, EVENT_CANCEL));
    assert_false(log_wants(NULL, EVENT_START));
    fixture->settings.log_connections = false;
    fixture->settings.log_statements = true;
    fixture->settings.log_level = LOG_LEVEL_DEBUG;
    assert_int_equal(log_reopen(fixture->log, &fixture->settings, &fixture->error), MOSAIC_OK);
    assert_false(log_wants(fixture->log, EVENT_LOGIN));
    assert_true(log_wants(fixture->log, EVENT_STATEMENT));
    assert_true(log_wants(fixture->log, EVENT_CANCEL));
    fixture->settings.log_level = LOG_LEVEL_ERROR;
    assert_int_equal(log_reopen(fixture->log, &fixture->settings, &fixture->error), MOSAIC_OK);
    assert_false(log_wants(fixture->log, EVENT_STATEMENT));
    assert_true(log_wants(fixture->log, EVENT_SHARD_DOWN));
}

/* Nobody reads: lines are dropped, nobody waits, and the number of lines that are missing is said afterwards. */
static void a_reader_that_does_not_read_stalls_nobody(void **state)
{
    struct fixture *fixture = *state;
    int pipes[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(pipes), 0);
    dup2(pipes[1], STDERR_FILENO);
    close(pipes[1]);
    fixture->settings.log_file = NULL;
    assert_int_equal(log_reopen(fixture->log, &fixture->settings, &fixture->error), MOSAIC_OK);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < 20000; i++)
        log_message(fixture->log, EVENT_START, "%0200d", i);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_true(to.tv_sec - from.tv_sec < 60); /* one that waits for the reader waits for ever */
    static char text[1 << 16];
    bool said = false;
    for (ssize_t got; !said && (got = read(pipes[0], text, sizeof text - 1)) > 0;) {
        text[got] = '\0';
        said = strstr(text, "dropped: ") != NULL;
    }
    assert_true(said);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pipes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_says_when_who_and_what),
        cmocka_unit_test(passwords_are_masked),
        cmocka_unit_test(any_bytes_make_one_line_of_utf8),
        cmocka_unit_test(a_long_statement_is_cut),
        cmocka_unit_test_setup_teardown(a_file_is_opened_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(settings_say_what_is_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_that_does_not_read_stalls_nobody, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
