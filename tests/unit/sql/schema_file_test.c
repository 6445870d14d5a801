#include "base/error.h"
#include "sql/schema_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct table tables[] = {
    {.schema = "public", .name = "users", .display = "users", .columns = {"id"}, .column_count = 1},
    {.schema = "public", .name = "codes", .display = "codes", .kind = TABLE_REFERENCE},
};
static struct shard shards[] = {{.name = "s0"}};
static const struct model model = {.tables = tables, .table_count = 2, .shards = shards, .shard_count = 1};

static struct schema read_text(const char *text)
{
    struct schema schema;
    mosaic_error error;
    mosaic_status status = schema_from_sql(text, strlen(text), "a.sql", &model, &schema, &error);
    if (status != MOSAIC_OK)
        print_error("%s\n", error.message);
    assert_int_equal(status, MOSAIC_OK);
    return schema;
}

static void expect_refusal(const char *text, mosaic_status expected, const char *message)
{
    struct schema schema;
    mosaic_error error;
    assert_int_equal(schema_from_sql(text, strlen(text), "a.sql", &model, &schema, &error), expected);
    assert_string_equal(error.message, message);
}

static const struct schema_relation *relation_of(const struct schema *schema, const char *namespace, const char *name)
{
    const struct schema_relation *relation = schema_relation(schema, namespace, name);
    assert_non_null(relation);
    return relation;
}

static void a_table_has_its_columns_and_place(void **state)
{
    (void)state;
    struct schema schema = read_text("CREATE TABLE users (id bigserial, name varchar(10) NOT NULL, price numeric(10,2) "
                                     "DEFAULT 0, PRIMARY KEY (id), tags text[], none int DEFAULT NULL);"
                                     "CREATE TABLE codes (code char(3) PRIMARY KEY); CREATE TABLE \"Other\" ();");
    const struct schema_relation *users = relation_of(&schema, "public", "users");
    assert_int_equal(users->placement, PLACE_SHARDED);
    assert_ptr_equal(users->table, &tables[0]);
    assert_int_equal(users->column_count, 5);
    const struct schema_column *id = schema_column(users, "id"), *name = schema_column(users, "name");
    assert_true(id->type == 20 && id->not_null && id->has_default);
    assert_true(name->type == 1043 && name->modifier == 14 && name->not_null && !name->has_default);
    assert_int_equal(schema_column(users, "price")->modifier, (10 << 16 | 2) + 4);
    assert_int_equal(schema_column(users, "tags")->type, 1009);
    assert_false(schema_column(users, "none")->has_default);
    assert_int_equal(relation_of(&schema, "public", "users_id_seq")->kind, 'S');
    assert_int_equal(relation_of(&schema, "public", "codes")->placement, PLACE_REFERENCE);
    assert_int_equal(relation_of(&schema, "public", "Other")->placement, PLACE_HOME);
    assert_int_equal(relation_of(&schema, "pg_catalog", "pg_class")->placement, PLACE_SYSTEM);
    assert_int_equal(schema_type(&schema, "public", "users")->relation, users->oid);
    schema_free(&schema);
}

static void search_path_says_where_names_are(void **state)
{
    (void)state;
    struct schema schema =
        read_text("SET search_path = app, public; CREATE TABLE a (x int); CREATE TYPE mood AS ENUM ('x');"
                  "SET search_path = \"$user\", public; CREATE TABLE b (m app.mood);"
                  "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE app.c (m app.mood, t text);"
                  "RESET search_path; CREATE TABLE d (); CREATE SCHEMA further CREATE TABLE e (); CREATE TABLE f ();");
    const struct schema_relation *b = relation_of(&schema, "public", "b");
    assert_non_null(relation_of(&schema, "app", "a"));
    assert_int_equal(b->columns[0].type, schema_type(&schema, "app", "mood")->oid);
    assert_int_equal(relation_of(&schema, "app", "c")->column_count, 2);
    assert_non_null(relation_of(&schema, "public", "d"));
    assert_non_null(relation_of(&schema, "further", "e"));
    assert_non_null(relation_of(&schema, "public", "f"));
    assert_true(schema_has_namespace(&schema, "further"));
    schema_free(&schema);
}

static void alterations_are_followed(void **state)
{
    (void)state;
    struct schema schema = read_text(
        "CREATE TABLE users (id int, gone int, f int); ALTER TABLE users DROP gone, ADD late text DEFAULT 'x',"
        " ALTER id TYPE bigint, ALTER id SET NOT NULL, ALTER f SET DEFAULT 1, ALTER late DROP DEFAULT;"
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE users OWNER TO x;"
        "CREATE TABLE p (id int, d date) PARTITION BY RANGE (d); CREATE TABLE p1 (id int, d date);"
        "ALTER TABLE ONLY p ATTACH PARTITION p1 DEFAULT; ALTER TABLE p ADD further int;");
    const struct schema_relation *users = relation_of(&schema, "public", "users");
    const struct schema_relation *part = relation_of(&schema, "public", "p1");
    assert_int_equal(users->column_count, 3);
    assert_true(users->columns[0].type == 20 && users->columns[0].not_null && users->has_row_security);
    assert_true(schema_column(users, "f")->has_default && !schema_column(users, "late")->has_default);
    assert_int_equal(schema_column(users, "late")->number, 4);
    assert_true(part->is_partition && part->parent_count == 1 && part->column_count == 3);
    schema_free(&schema);
}

static void a_view_keeps_its_text_and_path(void **state)
{
    (void)state;
    struct schema schema = read_text(
        "CREATE TABLE users (id bigint, \"As\" text);"
        "CREATE VIEW v (renamed) WITH (security_barrier) AS SELECT id /* as */, u.*, 'a as b'::text AS x, count(*)"
        " FROM users u WITH LOCAL CHECK OPTION;"
        "CREATE MATERIALIZED VIEW m AS WITH q AS (SELECT 1 AS one) SELECT * FROM q WITH NO DATA;"
        "CREATE TABLE t AS SELECT id FROM users;");
    const struct schema_relation *view = relation_of(&schema, "public", "v");
    assert_string_equal(view->view, " SELECT id /* as */, u.*, 'a as b'::text AS x, count(*) FROM users u ");
    assert_int_equal(view->view_path_count, 2);
    assert_string_equal(view->view_path[0], "pg_catalog");
    assert_string_equal(view->view_path[1], "public");
    static const char *const names[] = {"renamed", "id", "As", "x", "count"};
    static const uint32_t types[] = {20, 20, 25, 25, 20};
    assert_int_equal(view->column_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(view->columns[i].name, names[i]);
        assert_int_equal(view->columns[i].type, types[i]);
    }
    const struct schema_relation *heap = relation_of(&schema, "public", "m");
    assert_string_equal(heap->view, " WITH q AS (SELECT 1 AS one) SELECT * FROM q ");
    assert_int_equal(heap->column_count, 0); /* not known */
    assert_int_equal(relation_of(&schema, "public", "t")->columns[0].type, 20);
    schema_free(&schema);
}

static void policies_say_what_they_read(void **state)
{
    (void)state;
    struct schema schema = read_text(
        "CREATE TABLE a (x int); CREATE TABLE b (y int); CREATE TABLE c (z int); CREATE TABLE d (z int);"
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE POLICY p ON a USING (x = ANY (ARRAY(SELECT y FROM b JOIN c ON y = z WHERE lower('A') = 'a')));"
        "CREATE POLICY p ON c WITH CHECK (z = mine()); CREATE POLICY p ON b USING (y IS NOT NULL OR y > abs(-1));"
        "CREATE POLICY p ON d USING (EXISTS (WITH q AS (SELECT 1) SELECT FROM q));");
    const struct schema_relation *a = relation_of(&schema, "public", "a");
    assert_int_equal(a->policies_read_count, 2);
    assert_int_equal(a->policies_read[0], relation_of(&schema, "public", "b")->oid);
    assert_false(a->has_policy_function);
    assert_true(relation_of(&schema, "public", "c")->has_policy_function);
    assert_false(relation_of(&schema, "public", "b")->has_policy_function);
    assert_true(relation_of(&schema, "public", "d")->has_policy_function);
    schema_free(&schema);
}

static void functions_and_types_of_all_kinds(void **state)
{
    (void)state;
    size_t count;
    struct schema schema = read_text(
        "CREATE TYPE floats AS RANGE (subtype = float8); CREATE TYPE shell;"
        "CREATE FUNCTION f(int, OUT a int, OUT b text, VARIADIC c text[] DEFAULT '{}') IMMUTABLE LANGUAGE sql AS '';"
        "CREATE FUNCTION g() RETURNS TABLE (a int) STABLE STRICT LANGUAGE sql AS '';"
        "CREATE OR REPLACE FUNCTION g() RETURNS TABLE (a int) IMMUTABLE LANGUAGE sql AS '';"
        "CREATE PROCEDURE h(int) LANGUAGE sql AS ''; CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int);"
        "CREATE OPERATOR === (leftarg = int, rightarg = text, function = f);"
        "CREATE COLLATION blind (provider = icu, locale = 'und', deterministic = false);"
        "CREATE TABLE t (a text COLLATE blind, b text COLLATE \"C\");");
    assert_int_equal(schema_type(&schema, "public", "floats")->kind, 'r');
    assert_int_equal(schema_type(&schema, "public", "floats_multirange")->kind, 'm');
    const struct schema_function *f = schema_functions(&schema, "f", &count);
    assert_true(count == 1 && f->argument_count == 2 && f->arguments[1] == 1009 && f->result == 2249);
    assert_true(f->volatility == 'i' && !f->is_system);
    const struct schema_function *g = schema_functions(&schema, "g", &count);
    assert_true(count == 1 && g->returns_set && g->result == 23 && g->volatility == 'i' && !g->is_strict);
    assert_int_equal(schema_functions(&schema, "h", &count)->kind, 'p');
    const struct schema_function *total = schema_functions(&schema, "total", &count);
    assert_true(total->kind == 'a' && total->result == 23);
    assert_true(schema.operator_count == 1 && schema.operators[0].left == 23 && schema.operators[0].right == 25);
    const struct schema_relation *t = relation_of(&schema, "public", "t");
    assert_true(!t->columns[0].deterministic && t->columns[1].deterministic);
    schema_free(&schema);
}

static void a_person_s_file_and_a_dump_with_data_are_read(void **state)
{
    (void)state;
    struct schema schema = read_text(
        "\\set ON_ERROR_STOP on\n-- people\nBEGIN;\nDROP TABLE IF EXISTS users CASCADE;\nCREATE EXTENSION citext;\n"
        "CREATE TABLE users (id int, mail citext);\nCOPY users (id, mail) FROM stdin;\n1\tit's; CREATE TABLE x ();\n"
        "\\.\n\nCREATE INDEX ON users (mail);\nCOMMENT ON TABLE users IS 'a; \\b';\nGRANT SELECT ON users TO PUBLIC;\n"
        "INSERT INTO users VALUES (1, 'a');\nSELECT setval('s', 1);\nCREATE TEMP TABLE mine (a int);\nCOMMIT;\n");
    const struct schema_relation *users = relation_of(&schema, "public", "users");
    assert_string_equal(schema_type_by_oid(&schema, users->columns[1].type)->name, "citext");
    assert_null(schema_relation(&schema, "public", "mine"));
    schema_free(&schema);
    schema = read_text("");
    assert_int_equal(schema.namespace_count, 3);
    schema_free(&schema);
}

static void what_is_wrong_is_refused_with_its_line(void **state)
{
    (void)state;
    expect_refusal("\n\nCREATE TABEL x ();", MOSAIC_DATA, "a.sql:3: syntax error at or near \"TABEL\"");
    expect_refusal("CREATE TABLE t (a nothing)", MOSAIC_DATA, "a.sql:1: type nothing was not created before");
    expect_refusal("CREATE TABLE t ();\n  /* once\n more */ CREATE TABLE t ()", MOSAIC_DATA,
                   "a.sql:3: relation public.t is created twice");
    expect_refusal("ALTER TABLE app.t ADD a int", MOSAIC_DATA, "a.sql:1: relation app.t was not created before");
    expect_refusal("CREATE TABLE t (); \nDROP TABLE t", MOSAIC_UNSUPPORTED,
                   "a.sql:2: DROP of t, which the file creates, is not understood here");
    expect_refusal("SELECT 1; DO 'BEGIN END'", MOSAIC_UNSUPPORTED, "a.sql:1: this DO is not understood here");
    expect_refusal("ALTER TABLE t RENAME TO u", MOSAIC_UNSUPPORTED, "a.sql:1: this ALTER is not understood here");
    expect_refusal("CREATE TABLE users (name text)", MOSAIC_INTERNAL,
                   "schema: relation public.users lacks its sharding key's column id");
    expect_refusal("SET search_path = ''; CREATE TABLE t ()", MOSAIC_DATA,
                   "a.sql:1: search_path is empty: no schema is named for what is created");
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static const char text[] = "CREATE TABLE users (id bigserial PRIMARY KEY, m numeric(3)); CREATE TYPE e AS ENUM ();"
                               "CREATE VIEW v AS SELECT * FROM users; CREATE FUNCTION f(e) RETURNS e LANGUAGE c;"
                               "CREATE POLICY p ON users USING (id IN (SELECT id FROM v))";
    mosaic_error error;
    long failed = 0;
    for (mosaic_status status = MOSAIC_MEMORY; status != MOSAIC_OK; failed++) {
        struct schema schema;
        memory_fail_after(failed);
        status = schema_from_sql(text, sizeof text - 1, "a.sql", &model, &schema, &error);
        memory_fail_after(-1);
        assert_true(status == MOSAIC_OK || status == MOSAIC_MEMORY);
        if (status == MOSAIC_OK)
            schema_free(&schema);
    }
    assert_true(failed > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_has_its_columns_and_place),
        cmocka_unit_test(search_path_says_where_names_are),
        cmocka_unit_test(alterations_are_followed),
        cmocka_unit_test(a_view_keeps_its_text_and_path),
        cmocka_unit_test(policies_say_what_they_read),
        cmocka_unit_test(functions_and_types_of_all_kinds),
        cmocka_unit_test(a_person_s_file_and_a_dump_with_data_are_read),
        cmocka_unit_test(what_is_wrong_is_refused_with_its_line),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
