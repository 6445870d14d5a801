/* Analysis of texts that are long, deep or hostile; what hides tables; what is hidden behind them; memory that is out.
 */
#include "../plan/world.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct world world;

static enum statement_class class_of(const char *text, size_t size, const char **sqlstate)
{
    struct arena arena = ARENA_INIT;
    struct facts_list list;
    mosaic_error error;
    if (facts_find(&world.context, text, size, &arena, &list, &error) != MOSAIC_OK)
        abort();
    enum statement_class class = list.facts[0].class;
    *sqlstate = list.facts[0].refusal ? list.facts[0].refusal->sqlstate : "";
    /* They are "0A000" and the like: static, but a copy in an arena would be gone. */
    arena_free(&arena);
    return class;
}

/* SELECT, `count` times a piece, and an end. */
static char *repeated(const char *start, const char *piece, size_t count, const char *end, size_t *size)
{
    size_t a = strlen(start), b = strlen(piece), c = strlen(end);
    char *text = malloc(a + b * count + c + 1), *to = text;
    memcpy(to, start, a), to += a;
    for (size_t i = 0; i < count; i++)
        memcpy(to, piece, b), to += b;
    memcpy(to, end, c + 1);
    *size = a + b * count + c;
    return text;
}

static void *long_texts(void *unused)
{
    (void)unused;
    static const struct {
        const char *start, *piece;
        size_t count;
        const char *end;
        enum statement_class class;
        const char *sqlstate; /* "" : analysed */
    } rows[] = {
        {"SELECT ", "1+", 50000, "1", STATEMENT_SELECT, ""},
        {"SELECT ", "(", 10000, "1", STATEMENT_UNREADABLE, "42601"},
        {"SELECT ", "((((((1))))))+", 5000, "1", STATEMENT_SELECT, ""},
        {"SELECT ", "NOT ", 5000, "true", STATEMENT_SELECT, "0A000"},
        {"SELECT 1", " UNION SELECT 1", 5000, "", STATEMENT_SELECT, "0A000"},
        {"SELECT * FROM t WHERE id = 1", " OR id = 1", 20000, "", STATEMENT_SELECT, ""},
        {"SELECT * FROM t WHERE id = 1", " AND id = 1", 10000, "", STATEMENT_SELECT, ""},
        {"SELECT * FROM t WHERE id IN (1", ",1", 100000, ")", STATEMENT_SELECT, ""},
        {"INSERT INTO t (id, v) VALUES (1,1)", ",(1,1)", 50000, "", STATEMENT_INSERT, ""},
        {"SELECT 1", ",1 AS a", 20000, "", STATEMENT_SELECT, ""},
        {"SELECT * FROM t", " JOIN t USING (id)", 400, " WHERE id = 1", STATEMENT_SELECT, ""},
        {"SELECT * FROM ", "(SELECT * FROM ", 300, "t", STATEMENT_UNREADABLE, "42601"},
        {"SELECT ", "+", 100000, "1", STATEMENT_UNREADABLE, "0A000"},
        {"SELECT ", "/*", 100000, "1", STATEMENT_UNREADABLE, "0A000"},
        {"SELECT ", "1,", 3000000, "1", STATEMENT_UNREADABLE, "54000"},
        {"SELECT '", "x", 64 << 20, "'", STATEMENT_UNREADABLE, "54000"},
        {"SELECT '", "x", 12 << 20, "'", STATEMENT_SELECT, ""},
        {"", ";", 100000, "", STATEMENT_EMPTY, ""},
        {"", "SELECT 1;", 20000, "", STATEMENT_SELECT, ""},
        {"SELECT a", ".a", 20000, "", STATEMENT_SELECT, ""},
        {"SELECT name", " COLLATE \"C\"", 20000, " FROM t ORDER BY v", STATEMENT_SELECT, ""},
        {"SELECT ", "t.*, ", 2000, "1 FROM t ORDER BY 9, 8, 7, 6, 5, 4, 3, 2, 1", STATEMENT_SELECT, ""},
        {"SELECT id FROM t", " UNION SELECT id FROM t", 300, "", STATEMENT_SELECT, ""},
        {"WITH a AS (SELECT id FROM t)", ", a AS (SELECT id FROM a UNION ALL SELECT id FROM a)", 40, " SELECT * FROM a",
         STATEMENT_SELECT, ""},
        {"SELECT a", "[1]", 20000, "", STATEMENT_SELECT, ""},
        {"SELECT ", "CASE WHEN true THEN ", 3000, "1", STATEMENT_UNREADABLE, "42601"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t size;
        const char *sqlstate;
        char *text = repeated(rows[i].start, rows[i].piece, rows[i].count, rows[i].end, &size);
        enum statement_class class = class_of(text, size, &sqlstate);
        free(text);
        if (class == rows[i].class && strcmp(sqlstate, rows[i].sqlstate) == 0)
            continue;
        fprintf(stderr, "%s%s…: %s %s\n", rows[i].start, rows[i].piece, statement_class_name(class), sqlstate);
        abort();
    }
    return NULL;
}

#ifdef __SANITIZE_THREAD__
enum { STACK = 16 << 20 }; /* its frames are larger by far */
#else
enum { STACK = 1 << 20 };
#endif

static void a_stack_of_one_mebibyte_does(void **state)
{
    (void)state;
    pthread_attr_t attributes;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, STACK), 0);
    assert_int_equal(pthread_create(&thread, &attributes, long_texts, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

static const char *plan_of(const char *text)
{
    struct arena arena = ARENA_INIT;
    struct facts facts;
    struct plan plan;
    const char *got = world_plan(&world, text, NULL, 0, &arena, &facts, &plan);
    arena_free(&arena);
    return got;
}

static void names_that_hide_others(void **state)
{
    (void)state;
    static const char *const temporary[] = {"t"};
    static const char *const other_first[] = {"pg_catalog", "other", "public"}, *const nowhere[] = {"pg_catalog"};
    struct sql_context before = world.context;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "s1");
    world.context.temporary = temporary, world.context.temporary_count = 1;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "s0");
    assert_string_equal(plan_of("SELECT * FROM public.t WHERE id = 5"), "s1");
    assert_string_equal(plan_of("SELECT * FROM tv WHERE vid = 5"), "s1"); /* a view keeps its table */
    assert_string_equal(plan_of("INSERT INTO t VALUES (5)"), "s0");
    assert_string_equal(plan_of("SELECT * FROM pg_temp.t"), "s0");
    world.context = before;
    world.context.path = other_first, world.context.path_count = 3;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "s0");
    assert_string_equal(plan_of("SELECT * FROM public.t WHERE id = 5"), "s1");
    assert_string_equal(plan_of("SELECT * FROM u WHERE tid = 5"), "s1");
    world.context.path = nowhere, world.context.path_count = 1;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "s0");
    assert_string_equal(plan_of("SELECT * FROM public.t WHERE id = 5"), "s1");
    world.context = before;
}

static struct schema_relation *relation_of(const char *name)
{
    return (struct schema_relation *)schema_relation(&world.schema, "public", name);
}

static void what_is_hidden_behind_a_table(void **state)
{
    (void)state;
    struct schema_relation *t = relation_of("t"), before = *t;
    const uint32_t home = relation_of("home")->oid, u = relation_of("u")->oid, ref = relation_of("ref")->oid;
    t->has_rules = true;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "s1");
    assert_string_equal(plan_of("UPDATE t SET v = 1 WHERE id = 5"), "refused");
    *t = before;
    t->has_row_security = true;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "s1");
    t->policies_read_count = 1;
    t->policies_read = &ref;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "s1");
    t->policies_read = &u;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "refused");
    t->policies_read = &home;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "refused");
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 4"), "s0");
    t->policies_read_count = 0;
    t->has_policy_function = true;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "refused");
    *t = before;
    const struct schema_foreign_key key = {.from = home, .to = t->oid, .on_update = 'a', .on_delete = 'c'};
    t->keys = &key, t->key_count = 1;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "s1");
    assert_string_equal(plan_of("DELETE FROM t WHERE id = 5"), "refused");
    *t = before;
    t->children = &home, t->child_count = 1;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "refused");
    assert_string_equal(plan_of("SELECT * FROM ONLY t WHERE id = 5"), "s1");
    *t = before;
}

static void operators_and_collations(void **state)
{
    (void)state;
    struct schema before = world.schema;
    const struct schema_operator own = {.schema = "public", .name = "=", .left = 20, .right = 23},
                                 other = {.schema = "public", .name = "=", .left = 600, .right = 600};
    world.schema.operators = &own, world.schema.operator_count = 1;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "refused");
    assert_string_equal(plan_of("SELECT * FROM t WHERE id OPERATOR(pg_catalog.=) 5"), "s1");
    assert_string_equal(plan_of("SELECT * FROM w WHERE name = 'a'"), "s2");
    world.schema.operators = &other;
    assert_string_equal(plan_of("SELECT * FROM t WHERE id = 5"), "s1");
    world.schema = before;
    struct schema_column *name = (struct schema_column *)schema_column(relation_of("w"), "name");
    name->deterministic = false;
    assert_string_equal(plan_of("SELECT * FROM w WHERE name = 'a'"), "refused");
    name->deterministic = true;
}

/* The numbered cases of wrong answers that routers have given. */
static void wrong_answers_of_others(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "SELECT * FROM t LIMIT 10",
        "INSERT INTO t (id, name) VALUES (1,'a'),(2,'b')",
        "INSERT INTO w VALUES (123)",
        "INSERT INTO t VALUES (NULL)",
        "SELECT * FROM t WHERE id=1 UNION ALL SELECT * FROM t WHERE id=2",
        "SELECT * FROM t WHERE id IN (1, 3+4)",
        "SELECT * FROM t WHERE (id=1) IS NOT TRUE",
        "SELECT * FROM t a LEFT JOIN t ON a.id = t.id AND t.id=5",
        "SELECT count(*) FILTER (WHERE id=5), count(*) FROM t",
        "SELECT count(*) OVER () FROM t",
        "SELECT row_number() OVER (ORDER BY id) FROM t",
        "SELECT coalesce(sum(v),0) FROM t",
        "SELECT round(avg(v),2) FROM t",
        "SELECT v, count(*) FROM t GROUP BY v ORDER BY count(*) DESC LIMIT 10",
        "SELECT * FROM t OFFSET 10",
        "SELECT DISTINCT ON (lower(name)) * FROM t ORDER BY lower(name)",
        "COPY t FROM STDIN",
        "COPY t TO STDOUT (FORMAT csv, HEADER)",
        "MERGE INTO t USING u ON t.id = u.tid WHEN MATCHED THEN DELETE",
        "DECLARE c CURSOR FOR SELECT * FROM t",
        "INSERT INTO t (id) SELECT tid FROM u",
        "SELECT * FROM t WHERE id >= 1",
        "SELECT * FROM t WHERE id <= 20",
        "SELECT * FROM t ORDER BY id",
        "SELECT id FROM t EXCEPT SELECT tid FROM u",
        "SELECT * FROM t a JOIN t b ON true",
        "SELECT (SELECT v FROM t WHERE id = 1), (SELECT v FROM t WHERE id = 2)",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strcmp(plan_of(refused[i]), "refused") != 0) {
            print_error("%s\n", refused[i]);
            fail();
        }
    assert_string_equal(plan_of("SELECT * FROM w WHERE name = '123'"), plan_of("INSERT INTO w VALUES ('123')"));
    assert_string_equal(plan_of("SELECT * FROM mistyped"), "s0"); /* its error is PostgreSQL's */
    assert_string_equal(plan_of("SELECT '/* mosaic: shard=s3 */' FROM t WHERE id = 5"), "s1");
}

static void memory_runs_out(void **state)
{
    (void)state;
    static const char text[] =
        "WITH x AS (SELECT * FROM tv WHERE vid = 5) SELECT count(*), max(w) FROM x JOIN u ON u.tid "
        "= x.vid WHERE u.w IN (1, 2) OR x.v = 3 GROUP BY x.v";
    bool done = false;
    for (long after = 0; !done; after++) {
        struct arena arena = ARENA_INIT;
        struct facts_list list;
        mosaic_error error;
        memory_fail_after(after);
        mosaic_status status = facts_find(&world.context, text, sizeof text - 1, &arena, &list, &error);
        memory_fail_after(-1);
        assert_true(status == MOSAIC_OK || status == MOSAIC_MEMORY);
        done = status == MOSAIC_OK;
        arena_free(&arena);
    }
}

static bool is_constant(const char *text)
{
    struct arena arena = ARENA_INIT;
    struct facts_list list;
    mosaic_error error;
    assert_int_equal(facts_find(&world.context, text, strlen(text), &arena, &list, &error), MOSAIC_OK);
    bool found = list.count == 1 && list.facts[0].is_constant;
    arena_free(&arena);
    return found;
}

static void what_any_server_says_alike(void **state)
{
    static const char *const alike[] = {"SELECT 1",
                                        "SELECT $1",
                                        "SELECT $1::int, '5'::bigint, NULL, true AS yes",
                                        "SELECT version()",
                                        "SELECT pg_catalog.version()",
                                        "SELECT current_schema(), current_schema",
                                        "SELECT 1.5::numeric, 'x'::text"};
    static const char *const other[] = {"SELECT now()",
                                        "SELECT 'now'::timestamptz",
                                        "SELECT current_timestamp",
                                        "SELECT 1 + 1",
                                        "SELECT random()",
                                        "SELECT pg_backend_pid()",
                                        "SELECT 1 FROM t WHERE id = 1",
                                        "SELECT 1 WHERE true",
                                        "SELECT (SELECT 1)",
                                        "SELECT 1 UNION SELECT 2",
                                        "VALUES (1)",
                                        "SELECT current_setting('x')",
                                        "SELECT 'pg_class'::regclass",
                                        "SELECT 1 FOR UPDATE",
                                        "SELECT 1 INTO x",
                                        "SELECT",
                                        "SELECT *",
                                        "SELECT ARRAY[1]",
                                        "SELECT version(1)",
                                        "SELECT public.version()",
                                        "SELECT '{1}'::int[]",
                                        "SELECT set_config('a.b', 'c', true)",
                                        "SELECT 1; SELECT 2",
                                        "WITH x AS (SELECT 1) SELECT 1",
                                        "SELECT 'x'::text::regclass",
                                        "SELECT current_user",
                                        "SELECT version() OVER ()",
                                        "EXPLAIN SELECT 1",
                                        "SELECT 'x'::public.text",
                                        "SELECT txid_current()",
                                        "SELECT 1 LIMIT 1"};
    struct sql_context before = world.context;
    static const char *const other_first[] = {"public", "pg_catalog"};
    (void)state;
    for (size_t i = 0; i < sizeof alike / sizeof *alike; i++)
        if (!is_constant(alike[i]))
            fail_msg("%s is alike everywhere", alike[i]);
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (is_constant(other[i]))
            fail_msg("%s is not", other[i]);
    world.context.path = other_first, world.context.path_count = 2;
    assert_false(is_constant("SELECT version()"));
    world.context = before;
}

static int open_world(void **state)
{
    (void)state;
    world_open(&world);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stack_of_one_mebibyte_does),  cmocka_unit_test(names_that_hide_others),
        cmocka_unit_test(what_is_hidden_behind_a_table), cmocka_unit_test(operators_and_collations),
        cmocka_unit_test(wrong_answers_of_others),       cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(what_any_server_says_alike),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
