#include "proxy/admin_session.h"

#include "proxy/admin_show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct admin_session session;
    struct buffer in, out;
    struct proxy_settings settings;
    struct arena arena;
};

static int setup(void **state)
{
    static struct fixture fixture;
    mosaic_error error;
    fixture = (struct fixture){.session.changes = true, .in = BUFFER_INIT(1 << 20), .out = BUFFER_INIT(1 << 24)};
    *state = &fixture;
    return settings_default(&fixture.arena, &fixture.settings, &error) == MOSAIC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    memory_fail_after(-1);
    admin_session_free(&fixture->session);
    buffer_free(&fixture->in);
    buffer_free(&fixture->out);
    arena_free(&fixture->arena);
    return 0;
}

/* Gives all messages of `in` to the session, runs what is to be run, and writes the types of the answers to `types`. */
static const char *answers(struct fixture *fixture)
{
    static char types[200];
    struct wire_frame frame = {0};
    mosaic_error error;
    size_t at = 0, count = 0;
    buffer_clear(&fixture->out);
    while (at < fixture->in.size && wire_peek(fixture->in.data + at, fixture->in.size - at, &frame) == WIRE_MESSAGE) {
        enum admin_step step = admin_session_take(&fixture->session, fixture->in.data + at, &frame, &fixture->out);
        at += frame.size;
        if (step == ADMIN_CLOSE)
            break;
        if (step == ADMIN_ANSWERED)
            continue;
        mosaic_status status = MOSAIC_OK;
        uint16_t columns;
        if (admin_columns(fixture->session.run.command, &columns)) {
            struct admin_view view = {.settings = &fixture->settings, .defaults = &fixture->settings};
            struct admin_table table = admin_session_table(&fixture->session, &fixture->out);
            status = admin_show(fixture->session.run.command, &view, &table, &error);
        }
        admin_session_end(&fixture->session, &fixture->out, status, &error);
    }
    buffer_clear(&fixture->in);
    assert_false(buffer_failed(&fixture->out));
    for (at = 0; at < fixture->out.size; at += frame.size) {
        assert_int_equal(wire_peek(fixture->out.data + at, fixture->out.size - at, &frame), WIRE_MESSAGE);
        assert_true(frame.size <= fixture->out.size - at);
        assert_non_null(wire_backend_name(frame.type));
        if (!count || types[count - 1] != 'D' || frame.type != 'D') /* rows once */
            types[count++] = frame.type;
    }
    types[count] = '\0';
    return types;
}

static struct wire_error first_error(struct fixture *fixture)
{
    struct wire_frame frame = {0};
    struct wire_error error = {.message = "none"};
    for (size_t at = 0; at < fixture->out.size; at += frame.size) {
        assert_int_equal(wire_peek(fixture->out.data + at, fixture->out.size - at, &frame), WIRE_MESSAGE);
        if (frame.type == 'E' && wire_read_error(fixture->out.data + at, &frame, &error))
            break;
    }
    return error;
}

static void parse(struct fixture *fixture, const char *name, const char *sql)
{
    wire_parse(&fixture->in, name, sql, strlen(sql), NULL, 0);
}

static void bind(struct fixture *fixture, const char *portal, const char *statement, uint16_t format)
{
    size_t began = wire_begin(&fixture->in, WIRE_BIND);
    wire_text(&fixture->in, portal);
    wire_text(&fixture->in, statement);
    wire_16(&fixture->in, 0);
    wire_16(&fixture->in, 0);
    wire_16(&fixture->in, 1);
    wire_16(&fixture->in, format);
    wire_end(&fixture->in, began);
}

static void execute(struct fixture *fixture, const char *portal)
{
    wire_execute(&fixture->in, portal);
}

static void sync_message(struct fixture *fixture)
{
    wire_empty(&fixture->in, WIRE_SYNC);
}

static void simple_queries_are_answered(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *sql, *types;
    } cases[] = {
        {"SHOW VERSION", "TDCZ"},
        {"SHOW HELP", "TDCZ"},
        {"SHOW CONFIG", "TDCZ"},
        {"PAUSE", "CZ"},
        {"", "IZ"},
        {"BEGIN", "CZ"},
        {"COMMIT", "CZ"},
        {"SELECT 1", "EZ"},
        {";", "IZ"},
        {"SHOW STATE", "TDCZ"},
        {"SET datestyle=iso", "CZ"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wire_query(&fixture->in, cases[i].sql);
        assert_string_equal(answers(fixture), cases[i].types);
        bool open = strcmp(cases[i].sql, "BEGIN") == 0;
        assert_int_equal(fixture->out.data[fixture->out.size - 1], open ? 'T' : 'I');
    }
}

static void the_extended_protocol_as_drivers_use_it(void **state)
{
    struct fixture *fixture = *state;
    parse(fixture, "", "SHOW VERSION");
    wire_describe(&fixture->in, 'S', "");
    sync_message(fixture);
    assert_string_equal(answers(fixture), "1tTZ");
    bind(fixture, "", "", 0);
    wire_describe(&fixture->in, 'P', "");
    execute(fixture, "");
    sync_message(fixture);
    assert_string_equal(answers(fixture), "2TDCZ");
    parse(fixture, "st1", "RESUME");
    bind(fixture, "p", "st1", 1);
    wire_describe(&fixture->in, 'P', "p");
    execute(fixture, "p");
    wire_close(&fixture->in, 'P', "p");
    wire_close(&fixture->in, 'S', "st1");
    sync_message(fixture);
    assert_string_equal(answers(fixture), "12nC33Z");
}

static void an_error_skips_to_sync(void **state)
{
    struct fixture *fixture = *state;
    parse(fixture, "", "SHOW NOTHING");
    bind(fixture, "", "", 0);
    execute(fixture, "");
    sync_message(fixture);
    assert_string_equal(answers(fixture), "EZ");
    bind(fixture, "", "missing", 0);
    execute(fixture, "");
    sync_message(fixture);
    assert_string_equal(answers(fixture), "EZ");
    assert_string_equal(first_error(fixture).sqlstate, "26000");
    execute(fixture, "missing");
    sync_message(fixture);
    assert_string_equal(answers(fixture), "EZ");
    assert_string_equal(first_error(fixture).sqlstate, "34000");
    parse(fixture, "x", "SHOW STATE");
    parse(fixture, "x", "SHOW STATE");
    sync_message(fixture);
    assert_string_equal(answers(fixture), "1EZ");
    assert_string_equal(first_error(fixture).sqlstate, "42P05");
}

static void numbers_come_in_binary_where_that_is_asked_for(void **state)
{
    struct fixture *fixture = *state;
    static const struct admin_column columns[] = {{"a", false}, {"b", true}};
    struct admin_table table = admin_table_start(&fixture->out, columns, 2, "\0\1", 1);
    admin_row(&table);
    admin_text(&table, "x");
    admin_number(&table, -2);
    admin_row_end(&table);
    static const char row[] = "D\0\0\0\x17\0\2\0\0\0\1x\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xfe";
    assert_int_equal(fixture->out.size, sizeof row - 1);
    assert_memory_equal(fixture->out.data, row, sizeof row - 1);
}

static void who_may_only_show_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    fixture->session.changes = false;
    wire_query(&fixture->in, "SHUTDOWN");
    assert_string_equal(answers(fixture), "EZ");
    assert_string_equal(first_error(fixture).sqlstate, "42501");
    wire_query(&fixture->in, "SHOW VERSION");
    assert_string_equal(answers(fixture), "TDCZ");
    fixture->session.changes = true;
    parse(fixture, "", "RELOAD");
    bind(fixture, "", "", 0);
    (void)answers(fixture);
    fixture->session.changes = false; /* RELOAD took the right away: what was bound before is refused too */
    execute(fixture, "");
    sync_message(fixture);
    assert_string_equal(answers(fixture), "EZ");
}

static void what_no_client_sends_ends_the_session(void **state)
{
    struct fixture *fixture = *state;
    wire_empty(&fixture->in, WIRE_COPY_DONE);
    assert_string_equal(answers(fixture), "E");
    wire_empty(&fixture->in, WIRE_PARSE);
    assert_string_equal(answers(fixture), "E");
    wire_empty(&fixture->in, WIRE_TERMINATE);
    assert_string_equal(answers(fixture), "");
}

static void statements_have_a_bound(void **state)
{
    struct fixture *fixture = *state;
    char name[20];
    for (int i = 0; i <= ADMIN_STATEMENTS_MOST; i++) {
        snprintf(name, sizeof name, "s%d", i);
        parse(fixture, name, "SHOW STATE");
        sync_message(fixture);
        assert_string_equal(answers(fixture), i < ADMIN_STATEMENTS_MOST ? "1Z" : "EZ");
    }
    assert_string_equal(first_error(fixture).sqlstate, "54000");
    char *text = malloc(ADMIN_TEXT_MOST + 10);
    memset(text, ' ', ADMIN_TEXT_MOST + 9);
    text[ADMIN_TEXT_MOST + 9] = '\0';
    wire_query(&fixture->in, text);
    assert_string_equal(answers(fixture), "EZ");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(simple_queries_are_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(the_extended_protocol_as_drivers_use_it, setup, teardown),
        cmocka_unit_test_setup_teardown(an_error_skips_to_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_come_in_binary_where_that_is_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(who_may_only_show_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_no_client_sends_ends_the_session, setup, teardown),
        cmocka_unit_test_setup_teardown(statements_have_a_bound, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
