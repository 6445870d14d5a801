/* Tier 3 of rows: which columns each shard gives, and what the coordinator makes of them. */
#include "../plan/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct world world;

struct row {
    const char *text;
    const char *first;  /* what each shard gives; "-" and a word of the reason why not tier 2: neither tier 3 */
    const char *second; /* what the coordinator is asked, where @ stands for FROM */
};

/* FROM of the second statement, of `count` columns whose collations are "C" where the bit is set. */
static void write_from(struct buffer *out, size_t count, size_t parameters, unsigned collated)
{
    buffer_text(out, " FROM (SELECT ");
    for (size_t i = 1; i <= count; i++)
        buffer_format(out, "%s\"mosaic:%zu\"::\1%zu\1%s AS \"mosaic:%zu\"", i == 1 ? "" : ", ", i, i,
                      collated >> i & 1 ? " COLLATE pg_catalog.\"C\"" : "", i);
    buffer_text(out, " FROM ROWS FROM (");
    for (size_t i = 1; i <= count; i++)
        buffer_format(out, "%spg_catalog.unnest($%zu)", i == 1 ? "" : ", ", parameters + i);
    buffer_text(out, ") AS \"mosaic\" (");
    for (size_t i = 1; i <= count; i++)
        buffer_format(out, "%s\"mosaic:%zu\"", i == 1 ? "" : ", ", i);
    buffer_text(out, ") ) AS \"mosaic\" ");
}

static void check(const struct row *rows, size_t count, unsigned collated)
{
    int wrong = 0;
    for (size_t r = 0; r < count; r++) {
        struct arena arena = ARENA_INIT;
        struct facts facts;
        struct plan plan;
        struct buffer second = BUFFER_INIT(10000);
        world_plan(&world, rows[r].text, NULL, 0, &arena, &facts, &plan);
        const struct fact_final *final = facts.scatter ? facts.scatter->final : NULL;
        const char *cannot = facts.scatter_cannot ? facts.scatter_cannot : "";
        for (const char *at = rows[r].second; at && *at; at++) {
            if (*at == '@')
                write_from(&second, facts.scatter ? facts.scatter->hidden : 0, facts.parameter_count, collated);
            else
                buffer_char(&second, *at);
        }
        bool right = *rows[r].first == '-' ? !facts.scatter && strstr(cannot, rows[r].first + 1)
                                           : final && strcmp(facts.scatter->text, rows[r].first) == 0 &&
                                                 strcmp(final->text, buffer_string(&second)) == 0;
        if (!right)
            fprintf(stderr, "%s\n    expected %s\n             %s\n    got      %s\n             %s\n", rows[r].text,
                    rows[r].first, buffer_string(&second), final ? facts.scatter->text : cannot,
                    final ? final->text : "");
        wrong += !right;
        buffer_free(&second);
        arena_free(&arena);
    }
    assert_int_equal(wrong, 0);
}

#define CHECK(rows, collated) check(rows, sizeof(rows) / sizeof *(rows), collated)

static void aggregates_that_have_no_parts(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT v, string_agg(name, ',' ORDER BY t.name DESC) FROM t WHERE id > 3 GROUP BY v ORDER BY 1 LIMIT 2",
         "SELECT (v) AS \"mosaic:1\", (name) AS \"mosaic:2\"  FROM t WHERE id > 3 ",
         "SELECT \"mosaic:1\" AS \"v\", string_agg(\"mosaic:2\", ',' ORDER BY \"mosaic:2\" DESC) AS "
         "\"string_agg\"@GROUP BY \"mosaic:1\" ORDER BY 1 LIMIT 2"},
        {"SELECT array_agg(v) FILTER (WHERE id > 1), jsonb_object_agg(id, name) AS o FROM t HAVING count(*) > 1 LIMIT "
         "$1",
         "SELECT (v) AS \"mosaic:1\", (id) AS \"mosaic:2\", (name) AS \"mosaic:3\"  FROM t ",
         "SELECT array_agg(\"mosaic:1\") FILTER (WHERE \"mosaic:2\" > 1) AS \"array_agg\", "
         "jsonb_object_agg(\"mosaic:2\", \"mosaic:3\") AS o@HAVING count(*) > 1 LIMIT $1"},
        {"SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY v), mode() WITHIN GROUP (ORDER BY name) FROM t;",
         "SELECT (v) AS \"mosaic:1\", (name) AS \"mosaic:2\"  FROM t",
         "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY \"mosaic:1\") AS \"percentile_cont\", mode() WITHIN GROUP "
         "(ORDER BY \"mosaic:2\") AS \"mode\"@"},
        {"SELECT count(DISTINCT v) FILTER (WHERE id > 1), stddev(v) + 1 FROM t",
         "SELECT (v) AS \"mosaic:1\", (id) AS \"mosaic:2\"  FROM t",
         "SELECT count(DISTINCT \"mosaic:1\") FILTER (WHERE \"mosaic:2\" > 1) AS \"count\", stddev(\"mosaic:1\") + 1 "
         "AS \"?column?\"@"},
        {"SELECT stddev(u.w), max(t.name) FROM t JOIN u ON u.tid = t.id",
         "SELECT (u.w) AS \"mosaic:1\", (t.name) AS \"mosaic:2\"  FROM t JOIN u ON u.tid = t.id",
         "SELECT stddev(\"mosaic:1\") AS \"stddev\", max(\"mosaic:2\") AS \"max\"@"},
        {"SELECT v % 3 + 1, t.v % 3 FROM t GROUP BY v % 3", "SELECT (v) AS \"mosaic:1\"  FROM t ",
         "SELECT \"mosaic:1\" % 3 + 1 AS \"?column?\", \"mosaic:1\" % 3 AS \"?column?\"@GROUP BY \"mosaic:1\" % 3"},
        {"WITH x AS (SELECT id, v FROM t) SELECT array_agg(v) FROM x",
         "WITH x AS (SELECT id, v FROM t) SELECT (v) AS \"mosaic:1\"  FROM x",
         "SELECT array_agg(\"mosaic:1\") AS \"array_agg\"@"},
        {"SELECT v, array_agg(vid) FROM tv GROUP BY v", "SELECT (v) AS \"mosaic:1\", (vid) AS \"mosaic:2\"  FROM tv ",
         "SELECT \"mosaic:1\" AS \"v\", array_agg(\"mosaic:2\") AS \"array_agg\"@GROUP BY \"mosaic:1\""},
        {"SELECT x.n, array_agg(x.i) FROM (SELECT id AS i, name AS n FROM t UNION ALL SELECT id, name FROM t) x GROUP "
         "BY x.n",
         "SELECT (x.n) AS \"mosaic:1\", (x.i) AS \"mosaic:2\"  FROM (SELECT id AS i, name AS n FROM t UNION ALL SELECT "
         "id, name FROM t) x ",
         "SELECT \"mosaic:1\" AS \"n\", array_agg(\"mosaic:2\") AS \"array_agg\"@GROUP BY \"mosaic:1\""},
        {"SELECT array_agg(v + $1) FROM t WHERE id > $2", "SELECT (v) AS \"mosaic:1\"  FROM t WHERE id > $2",
         "SELECT array_agg(\"mosaic:1\" + $1) AS \"array_agg\"@"},
        {"SELECT array_agg(v), (SELECT 1) FROM t", "-put together"},
        {"SELECT array_agg(v) FROM t UNION ALL SELECT 1", "-no sharded table"},
        {"SELECT v, array_agg(now()) FROM t GROUP BY v", "-time"},
        {"SELECT v, array_agg(random()) FROM t GROUP BY v", "-volatile"},
    };
    CHECK(rows, 0);
}

static void groups_of_many_kinds(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT v, GROUPING (v, t.name), count(*) FROM t GROUP BY ROLLUP (v), CUBE (name, (v, 2)), GROUPING SETS ((), "
         "(v + 1)) HAVING GROUPING (v) = 0",
         "SELECT (v) AS \"mosaic:1\", (name) AS \"mosaic:2\"  FROM t ",
         "SELECT \"mosaic:1\" AS \"v\", GROUPING (\"mosaic:1\", \"mosaic:2\") AS \"grouping\", count(*) AS "
         "\"count\"@GROUP BY ROLLUP (\"mosaic:1\"), CUBE (\"mosaic:2\", (\"mosaic:1\", 2)), GROUPING SETS ((), "
         "(\"mosaic:1\" + 1)) HAVING GROUPING (\"mosaic:1\") = 0"},
        {"SELECT v FROM t GROUP BY DISTINCT ROLLUP (v, name), v",
         "SELECT (v) AS \"mosaic:1\", (name) AS \"mosaic:2\"  FROM t ",
         "SELECT \"mosaic:1\" AS \"v\"@GROUP BY DISTINCT ROLLUP (\"mosaic:1\", \"mosaic:2\"), \"mosaic:1\""},
        {"SELECT v AS x, count(*) FROM t GROUP BY ROLLUP (x)", "-GROUPING SETS"},
    };
    CHECK(rows, 0);
}

/* An output behind a star has another place in the target list than in the result. */
static void groups_behind_a_star(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT r.*, t.v AS m, count(*) FROM t JOIN ref r ON r.rid = t.v GROUP BY r.rid, r.tid, r.label, m",
         "SELECT (\"rid\") AS \"mosaic:1\", (\"r\".\"tid\") AS \"mosaic:2\", (\"label\") AS \"mosaic:3\", (t.v) AS "
         "\"mosaic:4\"  FROM t JOIN ref r ON r.rid = t.v ",
         "SELECT \"mosaic:1\" AS \"rid\", \"mosaic:2\" AS \"tid\", \"mosaic:3\" AS \"label\", \"mosaic:4\" AS m, "
         "count(*) AS \"count\"@GROUP BY \"mosaic:1\", \"mosaic:2\", \"mosaic:3\", m"},
        {"SELECT r.*, count(*) FROM t JOIN ref r ON r.rid = t.v GROUP BY 3, 2, 1",
         "SELECT (\"rid\") AS \"mosaic:1\", (\"r\".\"tid\") AS \"mosaic:2\", (\"label\") AS \"mosaic:3\"  FROM t JOIN "
         "ref r "
         "ON r.rid = t.v ",
         "SELECT \"mosaic:1\" AS \"rid\", \"mosaic:2\" AS \"tid\", \"mosaic:3\" AS \"label\", count(*) AS "
         "\"count\"@GROUP BY 3, 2, 1"},
        {"SELECT (p).*, v, count(*) FROM k GROUP BY 2, 1", "-", NULL},
    };
    CHECK(rows, 0);
}

static void windows(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT id, sum(v) OVER w, row_number() OVER (w ORDER BY id) FROM t WINDOW w AS (PARTITION BY name) ORDER BY "
         "lower(name)",
         "SELECT (name) AS \"mosaic:1\", (id) AS \"mosaic:2\", (v) AS \"mosaic:3\"  FROM t ",
         "SELECT \"mosaic:2\" AS \"id\", sum(\"mosaic:3\") OVER w AS \"sum\", row_number() OVER (w ORDER BY "
         "\"mosaic:2\") AS \"row_number\"@WINDOW w AS (PARTITION BY \"mosaic:1\") ORDER BY lower(\"mosaic:1\")"},
        {"SELECT *, rank() OVER (ORDER BY v) FROM t",
         "SELECT (\"id\") AS \"mosaic:1\", (\"v\") AS \"mosaic:2\", (\"name\") AS \"mosaic:3\", (\"tid\") AS "
         "\"mosaic:4\"  FROM t",
         "SELECT \"mosaic:1\" AS \"id\", \"mosaic:2\" AS \"v\", \"mosaic:3\" AS \"name\", \"mosaic:4\" AS \"tid\", "
         "rank() OVER (ORDER BY \"mosaic:2\") AS \"rank\"@"},
        {"SELECT u.*, rank() OVER (ORDER BY t.v) FROM t JOIN u ON u.tid = t.id ORDER BY tid",
         "SELECT (\"uid\") AS \"mosaic:1\", (\"u\".\"tid\") AS \"mosaic:2\", (\"w\") AS \"mosaic:3\", (t.v) AS "
         "\"mosaic:4\"  FROM t JOIN u ON u.tid = t.id ",
         "SELECT \"mosaic:1\" AS \"uid\", \"mosaic:2\" AS \"tid\", \"mosaic:3\" AS \"w\", rank() OVER (ORDER BY "
         "\"mosaic:4\") AS \"rank\"@ORDER BY tid"},
        {"SELECT rank() OVER (ORDER BY v) FROM t LIMIT 3", "-window"},
    };
    CHECK(rows, 0);
}

static void names_of_outputs(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT v AS name, array_agg(id) FROM t GROUP BY 1 ORDER BY name",
         "SELECT (v) AS \"mosaic:1\", (id) AS \"mosaic:2\"  FROM t ",
         "SELECT \"mosaic:1\" AS name, array_agg(\"mosaic:2\") AS \"array_agg\"@GROUP BY 1 ORDER BY name"},
        {"SELECT coalesce(v, 0), array_agg(id) FROM t GROUP BY v ORDER BY coalesce",
         "SELECT (v) AS \"mosaic:1\", (id) AS \"mosaic:2\"  FROM t ",
         "SELECT coalesce(\"mosaic:1\", 0) AS \"coalesce\", array_agg(\"mosaic:2\") AS \"array_agg\"@GROUP BY "
         "\"mosaic:1\" ORDER BY coalesce"},
        {"SELECT array_agg(x.id), nullif(x.v, 1) FROM (SELECT id, v, v + 1 AS nullif FROM t) x GROUP BY v ORDER BY "
         "\"nullif\"",
         "SELECT (v) AS \"mosaic:1\", (x.id) AS \"mosaic:2\"  FROM (SELECT id, v, v + 1 AS nullif FROM t) x ",
         "SELECT array_agg(\"mosaic:2\") AS \"array_agg\", nullif(\"mosaic:1\", 1) AS \"nullif\"@GROUP BY \"mosaic:1\" "
         "ORDER BY \"nullif\""},
        {"SELECT v, t.v FROM t GROUP BY v, t.v ORDER BY v", "SELECT (v) AS \"mosaic:1\"  FROM t ",
         "SELECT \"mosaic:1\" AS \"v\", \"mosaic:1\" AS \"v\"@GROUP BY \"mosaic:1\", \"mosaic:1\" ORDER BY v"},
        {"SELECT DISTINCT ON (v) v, id FROM t ORDER BY v, name DESC",
         "SELECT (name) AS \"mosaic:1\", (v) AS \"mosaic:2\", (id) AS \"mosaic:3\"  FROM t ",
         "SELECT DISTINCT ON (v) \"mosaic:2\" AS \"v\", \"mosaic:3\" AS \"id\"@ORDER BY v, \"mosaic:1\" DESC"},
        {"SELECT DISTINCT ON (name) v AS name, id FROM t", "SELECT (v) AS \"mosaic:1\", (id) AS \"mosaic:2\"  FROM t",
         "SELECT DISTINCT ON (name) \"mosaic:1\" AS name, \"mosaic:2\" AS \"id\"@"},
        {"SELECT DISTINCT ON (v) id FROM t LIMIT 1", "-DISTINCT"},
        {"SELECT DISTINCT v, t.v FROM t ORDER BY v", "SELECT (v) AS \"mosaic:1\"  FROM t ",
         "SELECT DISTINCT \"mosaic:1\" AS \"v\", \"mosaic:1\" AS \"v\"@ORDER BY v"},
        {"SELECT DISTINCT (v + 1), v FROM t ORDER BY v + 1", "SELECT (v) AS \"mosaic:1\"  FROM t ",
         "SELECT DISTINCT (\"mosaic:1\" + 1) AS \"?column?\", \"mosaic:1\" AS \"v\"@ORDER BY \"mosaic:1\" + 1"},
    };
    CHECK(rows, 0);
}

static void columns_are_what_they_were(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT array_agg(e), array_agg(c ORDER BY c), max(k.j['a']) FROM k",
         "SELECT (e) AS \"mosaic:1\", (c) AS \"mosaic:2\", (k.j) AS \"mosaic:3\"  FROM k",
         "SELECT array_agg(\"mosaic:1\") AS \"array_agg\", array_agg(\"mosaic:2\" ORDER BY \"mosaic:2\") AS "
         "\"array_agg\", max(\"mosaic:3\"['a']) AS \"max\"@"},
        {"SELECT array_agg(de) FROM k", "-put together"},
        {"SELECT array_agg(a) FROM k", "-put together"},
        {"SELECT array_agg(d) FROM k", "-put together"},
        {"SELECT array_agg(p) FROM k", "-put together"},
        {"SELECT array_agg((p).one) FROM k", "-put together"},
        {"SELECT array_agg(sys) FROM k", "-put together"},
        {"SELECT array_agg(k) FROM k", "-put together"},
        {"SELECT count(k.*), array_agg(id) FROM k", "-put together"},
        {"SELECT array_agg(r) FROM k", "SELECT (r) AS \"mosaic:1\"  FROM k",
         "SELECT array_agg(\"mosaic:1\") AS \"array_agg\"@"},
        {"SELECT array_agg(v) FROM t JOIN i USING (id)", "-put together"},
        {"SELECT x.n, array_agg(x.i) FROM (SELECT id AS i, name AS n FROM t UNION ALL SELECT id, c FROM k) x GROUP BY "
         "x.n",
         "-GROUP BY"},
    };
    CHECK(rows, 4);
}

/* As many rows as there are, though none of their columns. */
static void rows_without_columns_are_counted(void **state)
{
    (void)state;
    struct arena arena = ARENA_INIT;
    struct facts facts;
    struct plan plan;
    world_plan(&world, "SELECT rank() OVER () FROM t WHERE v > $1", NULL, 0, &arena, &facts, &plan);
    assert_string_equal(facts.scatter->text, "SELECT 1 AS \"mosaic:1\"  FROM t WHERE v > $1");
    assert_string_equal(facts.scatter->final->text,
                        "SELECT rank() OVER () AS \"rank\" FROM ROWS FROM (pg_catalog.unnest($2)) "
                        "AS \"mosaic\" (\"mosaic:1\") ");
    assert_int_equal(facts.scatter->columns, 1);
    assert_int_equal(facts.scatter->hidden, 1);
    arena_free(&arena);
}

static int open_world(void **state)
{
    (void)state;
    world_open(&world);
    world.has_scatter = world.has_coordinator = true;
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
        cmocka_unit_test(aggregates_that_have_no_parts),
        cmocka_unit_test(groups_of_many_kinds),
        cmocka_unit_test(groups_behind_a_star),
        cmocka_unit_test(windows),
        cmocka_unit_test(names_of_outputs),
        cmocka_unit_test(columns_are_what_they_were),
        cmocka_unit_test(rows_without_columns_are_counted),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
