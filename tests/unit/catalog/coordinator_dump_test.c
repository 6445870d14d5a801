#include "catalog/coordinator_dump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../memory_out.h"

static struct dump_item read_item(struct arena *arena, const char *text)
{
    const struct statement statement = {.text = text, .size = strlen(text)};
    struct dump_item item;
    mosaic_error error = {.message = ""};
    mosaic_status status = dump_read(&statement, arena, &item, &error);
    assert_string_equal(error.message, "");
    assert_int_equal(status, MOSAIC_OK);
    return item;
}

static void check_names(const char *text, enum dump_action action, const char *schema, const char *name)
{
    struct arena arena = ARENA_INIT;
    struct dump_item item = read_item(&arena, text);
    assert_int_equal(item.action, action);
    if (schema)
        assert_string_equal(item.schema, schema);
    assert_string_equal(item.name, name);
    arena_free(&arena);
}

static void test_what_has_rows_gives_its_name(void **state)
{
    (void)state;
    check_names("CREATE TABLE \"public\".\"users\" (\n    \"id\" bigint\n)", DUMP_RELATION, "public", "users");
    check_names("CREATE UNLOGGED TABLE \"a\".\"b\" ()", DUMP_RELATION, "a", "b");
    check_names("CREATE FOREIGN TABLE \"a\".\"b\" ()\nSERVER \"x\"", DUMP_RELATION, "a", "b");
    check_names("CREATE MATERIALIZED VIEW \"O\"\"d.d\".\"T x\" AS\n SELECT 1", DUMP_RELATION, "O\"d.d", "T x");
    check_names("CREATE VIEW \"a\".\"v\" WITH (\"security_barrier\"='true') AS\n SELECT 1", DUMP_VIEW, "a", "v");
    check_names("CREATE OR REPLACE VIEW \"a\".\"v\" AS\n SELECT 1", DUMP_VIEW, "a", "v");
    check_names("CREATE SCHEMA \"Odd\"", DUMP_SCHEMA, NULL, "Odd");
}

static void check_object(const char *text, enum dump_action action, const char *object, const char *role)
{
    struct arena arena = ARENA_INIT;
    struct dump_item item = read_item(&arena, text);
    assert_int_equal(item.action, action);
    assert_string_equal(item.object, object);
    if (role)
        assert_string_equal(item.role, role);
    else
        assert_null(item.role);
    arena_free(&arena);
}

static void test_owners_and_grants_name_their_object_alike(void **state)
{
    (void)state;
    check_object("ALTER TABLE \"a\".\"t\" OWNER TO \"bob\"", DUMP_RELATION_OWNER, "TABLE \"a\".\"t\"", "\"bob\"");
    check_object("ALTER VIEW \"a\".\"t\" OWNER TO \"bob\"", DUMP_RELATION_OWNER, "TABLE \"a\".\"t\"", "\"bob\"");
    check_object("GRANT SELECT(\"id\") ON TABLE \"a\".\"t\" TO \"bob\"", DUMP_GRANT, "TABLE \"a\".\"t\"", NULL);
    check_object("ALTER FUNCTION \"a\".\"f\"(\"x\" integer) OWNER TO \"b OWNER TO c\"", DUMP_OWNER,
                 "FUNCTION \"a\".\"f\"(\"x\" integer)", "\"b OWNER TO c\"");
    check_object("REVOKE ALL ON FUNCTION \"a\".\"f\"(\"x\" integer) FROM PUBLIC", DUMP_GRANT,
                 "FUNCTION \"a\".\"f\"(\"x\" integer)", NULL);
    check_object("GRANT ALL ON TABLE \"a\".\" TO me\" TO \"x\" WITH GRANT OPTION", DUMP_GRANT, "TABLE \"a\".\" TO me\"",
                 NULL);
    check_object("ALTER TYPE \"a\".\"mood\" OWNER TO \"bob\"", DUMP_OWNER, "TYPE \"a\".\"mood\"", "\"bob\"");
}

static void test_what_is_left_out_and_what_is_run(void **state)
{
    static const struct {
        const char *text;
        enum dump_action action;
    } cases[] = {
        {"SET statement_timeout = 0", DUMP_LEAVE_OUT},
        {"SELECT pg_catalog.set_config('search_path', '', false)", DUMP_LEAVE_OUT},
        {"CREATE SEQUENCE \"a\".\"s\"", DUMP_LEAVE_OUT},
        {"ALTER TABLE \"a\".\"t\" ALTER COLUMN \"id\" ADD GENERATED ALWAYS AS IDENTITY", DUMP_LEAVE_OUT},
        {"ALTER TABLE ONLY \"a\".\"t\"\n    ADD CONSTRAINT \"t_pkey\" PRIMARY KEY (\"id\")", DUMP_LEAVE_OUT},
        {"ALTER TABLE ONLY \"a\".\"t\" ATTACH PARTITION \"a\".\"u\" DEFAULT", DUMP_LEAVE_OUT},
        {"ALTER TABLE \"a\".\"t\" ENABLE ROW LEVEL SECURITY", DUMP_LEAVE_OUT},
        {"ALTER SEQUENCE \"a\".\"s\" OWNED BY \"a\".\"t\".\"id\"", DUMP_LEAVE_OUT},
        {"CREATE UNIQUE INDEX \"i\" ON \"a\".\"t\" USING \"btree\" (\"x\")", DUMP_LEAVE_OUT},
        {"CREATE TRIGGER \"x\" BEFORE INSERT ON \"a\".\"t\"", DUMP_LEAVE_OUT},
        {"CREATE POLICY \"p\" ON \"a\".\"t\"", DUMP_LEAVE_OUT},
        {"CREATE SERVER \"x\" FOREIGN DATA WRAPPER \"y\"", DUMP_LEAVE_OUT},
        {"GRANT USAGE ON FOREIGN SERVER \"x\" TO \"y\"", DUMP_LEAVE_OUT},
        {"GRANT ALL ON SEQUENCE \"a\".\"s\" TO \"y\"", DUMP_LEAVE_OUT},
        {"ALTER DEFAULT PRIVILEGES FOR ROLE \"x\" GRANT SELECT ON TABLES  TO \"y\"", DUMP_LEAVE_OUT},
        {"CREATE TYPE \"a\".\"mood\" AS ENUM (\n    'sad'\n)", DUMP_RUN},
        {"CREATE DOMAIN \"a\".\"p\" AS integer", DUMP_RUN},
        {"ALTER TEXT SEARCH CONFIGURATION \"a\".\"c\"\n    ADD MAPPING FOR \"word\" WITH \"simple\"", DUMP_RUN},
        {"CREATE EXTENSION IF NOT EXISTS \"pg_trgm\" WITH SCHEMA \"public\"", DUMP_RUN},
        {"CREATE SOMETHING NEW", DUMP_RUN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena arena = ARENA_INIT;
        if (read_item(&arena, cases[i].text).action != cases[i].action)
            fail_msg("%s", cases[i].text);
        arena_free(&arena);
    }
}

static void check_function(const char *text, bool is_definer, bool is_optional)
{
    struct arena arena = ARENA_INIT;
    struct dump_item item = read_item(&arena, text);
    assert_int_equal(item.action, DUMP_RUN);
    assert_int_equal(item.is_definer, is_definer);
    assert_int_equal(item.is_optional, is_optional);
    arena_free(&arena);
}

static void test_functions_of_triggers_and_with_their_owner_s_rights(void **state)
{
    (void)state;
    check_function("CREATE FUNCTION \"a\".\"f\"() RETURNS integer\n    LANGUAGE \"sql\"\n    AS 'SELECT 1'", false,
                   false);
    check_function("CREATE FUNCTION \"a\".\"f\"() RETURNS integer\n    LANGUAGE \"sql\" SECURITY DEFINER\n", true,
                   false);
    check_function("CREATE FUNCTION \"a\".\"f\"() RETURNS \"trigger\"\n    LANGUAGE \"c\"\n", false, true);
    check_function("CREATE OPERATOR CLASS \"a\".\"o\"\n    DEFAULT FOR TYPE", false, true);
}

/* A table that could not be read as one must never be run as it is: it would be an empty table. */
static void test_a_table_without_a_name_is_refused(void **state)
{
    struct arena arena = ARENA_INIT;
    struct dump_item item;
    mosaic_error error;
    (void)state;
    static const char *const texts[] = {"CREATE TABLE users (id bigint)", "CREATE TABLE \"users\" ()",
                                        "CREATE VIEW v AS SELECT 1", "CREATE SCHEMA odd"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct statement statement = {.text = texts[i], .size = strlen(texts[i])};
        assert_int_equal(dump_read(&statement, &arena, &item, &error), MOSAIC_INTERNAL);
    }
    arena_free(&arena);
}

static void check_script(const char *text, const char *first, size_t count)
{
    struct script script = dump_script(text);
    struct statement statement;
    mosaic_error error;
    size_t found = 0;
    while (script_next(&script, &statement, &error) == MOSAIC_OK && statement.size)
        if (!found++)
            assert_memory_equal(statement.text, first, strlen(first));
    assert_int_equal(found, count);
}

static void test_commands_of_psql_around_a_dump(void **state)
{
    (void)state;
    check_script("--\n-- dump\n--\n\n\\restrict abc\n\n-- more\nSET x = 0;\nSELECT 1;\n\n--\n\n\\unrestrict abc\n\n",
                 "SET x", 2);
    check_script("--\n-- older\n--\n\nSET x = 0;\nSELECT 1;\n", "SET x", 2);
    check_script("\\restrict a\nCREATE FUNCTION f() AS '\n\\unrestrict b\n';\nSELECT 1;\n\\unrestrict a\n",
                 "CREATE FUNCTION", 2);
}

static mosaic_status read_owner(struct arena *arena, mosaic_error *error)
{
    static const char text[] = "ALTER TABLE \"a\".\"t\" OWNER TO \"bob\"";
    const struct statement statement = {.text = text, .size = strlen(text)};
    struct dump_item item;
    return dump_read(&statement, arena, &item, error);
}

static void test_failed_allocations(void **state)
{
    (void)state;
    memory_out_each(read_owner);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_has_rows_gives_its_name),
        cmocka_unit_test(test_owners_and_grants_name_their_object_alike),
        cmocka_unit_test(test_what_is_left_out_and_what_is_run),
        cmocka_unit_test(test_functions_of_triggers_and_with_their_owner_s_rights),
        cmocka_unit_test(test_a_table_without_a_name_is_refused),
        cmocka_unit_test(test_commands_of_psql_around_a_dump),
        cmocka_unit_test(test_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
