/* Tier 2: what is proved to be of one key each, what each shard is asked, and how it is put together. */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct world world;

struct row {
    const char *text;
    const char *asked; /* what each shard is asked; NULL: the same. No scatter: a part of why not, behind a minus */
    const char *merge; /* a word for each column to merge by: d(escending), f(irst NULLs), b(ytewise); or aggregates */
};

static const char *merge_of(const struct fact_scatter *scatter, char *to)
{
    static const char *const names[] = {"count",   "sum",     "min",    "max",    "bool_and",
                                        "bool_or", "bit_and", "bit_or", "bit_xor"};
    *to = '\0';
    for (size_t i = 0; i < scatter->sort_count; i++)
        sprintf(to + strlen(to), "%s%s%s%s%s", i ? " " : "", scatter->sorts[i].descending ? "d" : "a",
                scatter->sorts[i].nulls_first ? "f" : "", scatter->sorts[i].bytewise ? "b" : "", "");
    for (size_t i = 0; scatter->combines && i < scatter->columns; i++)
        sprintf(to + strlen(to), "%s%s%s", i ? " " : "", names[scatter->combines[i].function],
                scatter->combines[i].bytewise ? "/b" : "");
    return to;
}

static bool expect(const struct row *row)
{
    struct arena arena = ARENA_INIT;
    struct facts facts;
    struct plan plan;
    char merge[200];
    const char *got = world_plan(&world, row->text, NULL, 0, &arena, &facts, &plan);
    const struct fact_scatter *all = facts.scatter, *scatter = all && !all->final ? all : NULL;
    const char *asked = row->asked ? row->asked : row->text;
    const char *cannot = all && all->final ? all->why_combined : facts.scatter_cannot;
    bool right = *asked == '-'
                     ? !scatter && cannot && strstr(cannot, asked + 1)
                     : scatter && strcmp(scatter->text, asked) == 0 && strcmp(got, "scatter") == 0 && facts.text_bound;
    if (right && *asked != '-')
        right = strcmp(merge_of(scatter, merge), row->merge ? row->merge : "") == 0;
    if (!right)
        fprintf(stderr, "%s\n    expected %s %s\n    got      %s %s %s\n", row->text, asked,
                row->merge ? row->merge : "", scatter ? scatter->text : "", scatter ? merge_of(scatter, merge) : got,
                cannot ? cannot : "");
    arena_free(&arena);
    return right;
}

#define CHECK_ALL(rows)                                            \
    do {                                                           \
        int wrong = 0;                                             \
        for (size_t r = 0; r < sizeof(rows) / sizeof *(rows); r++) \
            wrong += !expect(&rows[r]);                            \
        assert_int_equal(wrong, 0);                                \
    } while (0)

static void proof(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM t"},
        {"TABLE t"},
        {"SELECT * FROM t WHERE v = 5 ; -- all", "SELECT * FROM t WHERE v = 5"},
        {";; SELECT * FROM t;;", " SELECT * FROM t"},
        {"/* a */ SELECT * FROM t /* b */ ;", "/* a */ SELECT * FROM t"},
        {"SELECT * FROM t WHERE id IN (1, 2)"},
        {"SELECT * FROM t WHERE id <> 3 OR v > 1"},
        {"SELECT * FROM c2 WHERE a = 1"},
        {"SELECT t.v, u.w FROM t, u WHERE t.id = u.tid"},
        {"SELECT t.v, u.w FROM t LEFT JOIN u ON t.id = u.tid"},
        {"SELECT t.v, u.w FROM u RIGHT JOIN t ON t.id = u.tid AND u.w = 1"},
        {"SELECT t.v, u.w FROM t JOIN u USING (tid)", "-u are not tied to the key of t"},
        {"SELECT t.v, u.w FROM t, u", "-u are not tied to the key of t"},
        {"SELECT a.v FROM t a, t b WHERE a.id = b.v", "-have other keys"},
        {"SELECT t.v, i.v FROM t JOIN i ON t.id = i.id"},
        {"SELECT w.v, vc.v FROM w JOIN vc ON w.name = vc.name"},
        {"SELECT * FROM t JOIN nn ON t.id = nn.n", "-not split alike"},
        {"SELECT * FROM t FULL JOIN u ON t.id = u.tid", "-no sharded table"},
        {"SELECT * FROM t FULL JOIN u ON t.id = u.tid WHERE t.v = 1"},
        {"SELECT * FROM t FULL JOIN u ON t.id = u.tid WHERE t.id > 1 AND u.tid > 0", "-no sharded table"},
        {"SELECT * FROM t FULL JOIN u ON t.id = u.tid WHERE t.v IN (1, 2) AND t.id = u.tid"},
        {"SELECT * FROM ref"},
        {"SELECT * FROM ref r JOIN t ON r.tid = t.id"},
        {"SELECT * FROM t LEFT JOIN ref r ON r.tid = t.id"},
        {"SELECT * FROM ref r LEFT JOIN t ON r.tid = t.id", "-no sharded table"},
        {"SELECT * FROM ref r LEFT JOIN t ON r.tid = t.id WHERE t.v IN (1, 2)"},
        {"SELECT t.*, g FROM t, generate_series(1, t.v) g"},
        {"SELECT * FROM t, home", "-home shard"},
        {"SELECT * FROM t WHERE EXISTS (SELECT FROM u WHERE u.tid = t.id)"},
        {"SELECT * FROM t WHERE NOT EXISTS (SELECT FROM u WHERE u.tid = t.id AND w = 3)"},
        {"SELECT * FROM t WHERE id IN (SELECT tid FROM u WHERE w = 3)"},
        {"SELECT * FROM t WHERE id NOT IN (SELECT tid FROM u)", "-u are not tied"},
        {"SELECT * FROM t WHERE v IN (SELECT w FROM u)", "-u are not tied"},
        /* A subquery's column that is an outer query's filters nothing there. */
        {"SELECT * FROM t LEFT JOIN u ON u.tid = 3 AND u.tid IN (SELECT t.id)"},
        {"SELECT id, (SELECT count(*) FROM u WHERE tid = 3 AND tid IN (SELECT t.id)) FROM t"},
        {"SELECT * FROM t LEFT JOIN LATERAL (SELECT t.id AS x) q ON q.x = 3"},
        {"SELECT *, (SELECT count(*) FROM u WHERE u.tid = t.id) FROM t"},
        {"SELECT *, (SELECT max(w) FROM u WHERE u.tid = t.id) FROM t"},
        {"SELECT *, (SELECT count(*) FROM u) FROM t", "-u are not tied"},
        {"SELECT (SELECT max(t.v)) FROM t", "-aggregate"},
        {"SELECT (SELECT w FROM u WHERE tid = id ORDER BY w LIMIT 1) FROM t"},
        {"SELECT * FROM (SELECT id, v FROM t) x"},
        {"SELECT * FROM (SELECT tid, count(*) FROM u GROUP BY tid) x"},
        {"SELECT * FROM (SELECT tid, count(*) FROM u GROUP BY ROLLUP (tid)) x", "-no sharded table"},
        {"SELECT * FROM (SELECT w, count(*) FROM u GROUP BY w) x", "-no sharded table"},
        {"SELECT * FROM (SELECT id FROM t ORDER BY v LIMIT 3) x", "-have other keys"},
        {"SELECT * FROM (SELECT t.id, u.tid FROM t LEFT JOIN u ON u.tid = t.id) x JOIN u y ON y.tid = x.id"},
        {"SELECT * FROM (SELECT u.tid FROM t LEFT JOIN u ON u.tid = t.id) x", "-no sharded table"},
        {"SELECT * FROM tv"},
        {"SELECT * FROM tg WHERE n > 3"},
        {"SELECT * FROM tu"},
        {"SELECT * FROM tl", "-have other keys"},
        {"WITH x AS (SELECT id, v FROM t) SELECT * FROM x JOIN u ON u.tid = x.id"},
        {"WITH x AS (SELECT id, v FROM t) SELECT * FROM x JOIN x y USING (id)", "-no sharded table"},
        {"WITH r AS (SELECT random() AS r) SELECT t.*, r.r FROM t, r", "-volatile"},
        {"SELECT * FROM t WHERE v IN (SELECT rid FROM ref LIMIT 2)", "-of each copy"},
        {"SELECT (SELECT rid FROM ref WHERE ref.tid = t.id LIMIT 1) FROM t"},
        {"WITH RECURSIVE r AS (SELECT id, v FROM t UNION SELECT r.id, u.w FROM r JOIN u ON u.tid = r.id) SELECT * FROM "
         "r",
         "-"},
        {"SELECT id FROM t UNION ALL SELECT tid FROM u"},
        {"SELECT id FROM t UNION SELECT tid FROM u"},
        {"SELECT v FROM t UNION SELECT w FROM u", "-compares"},
        {"SELECT v FROM t UNION ALL SELECT w FROM u"},
        {"SELECT id, v FROM t EXCEPT ALL SELECT tid, w FROM u"},
        {"SELECT id, tid FROM t EXCEPT SELECT w, tid FROM u", "-compares"},
        {"SELECT a, b FROM c2 INTERSECT SELECT a, b FROM c2"},
        {"SELECT a, b FROM c2 EXCEPT SELECT b, a FROM c2", "-compares"},
        {"SELECT id FROM t INTERSECT SELECT x.tid FROM u x, u y WHERE y.tid = 0", "-not tied"},
        {"SELECT id FROM t EXCEPT ALL SELECT x.tid FROM u x, u y WHERE y.tid = 0", "-not tied"},
        {"SELECT id FROM t INTERSECT (SELECT id FROM t EXCEPT SELECT x.tid FROM u x, u y)", "-not tied"},
        {"SELECT id FROM t INTERSECT SELECT x.tid FROM u x JOIN u y ON y.tid = x.tid"},
        {"SELECT a, b FROM c2 UNION ALL (SELECT a, b FROM c2 INTERSECT SELECT b, a FROM c2)", "-compares"},
        {"SELECT id FROM t UNION ALL SELECT 1", "-no sharded table"},
        {"SELECT id FROM t UNION ALL SELECT name::bigint FROM w", "-not split alike"},
        {"(SELECT id FROM t LIMIT 2) UNION ALL SELECT tid FROM u", "-of its own"},
        {"(SELECT id FROM t UNION ALL SELECT tid FROM u LIMIT 2) UNION ALL SELECT id FROM t", "-of its own"},
        {"SELECT id FROM t UNION ALL (SELECT tid FROM u INTERSECT SELECT id FROM t ORDER BY 1)", "-of its own"},
        {"SELECT id FROM t EXCEPT ((SELECT tid FROM u UNION SELECT id FROM t OFFSET 1))", "-of its own"},
        {"(SELECT id FROM t UNION ALL SELECT tid FROM u ORDER BY 1)", "-target list"},
        {"SELECT id FROM t UNION ALL SELECT max(tid) FROM u", "-aggregates"},
        {"SELECT * FROM (SELECT id FROM t WHERE id IN (1, 2) UNION ALL SELECT tid FROM u) x"},
        {"SELECT now(), * FROM t", "-time"},
        {"SELECT * FROM t WHERE name = 'Now!'", "-time"},
        {"SELECT * FROM t WHERE name = 'nowhere'"},
        {"SELECT name::date FROM t", "-time"},
        {"SELECT date(name) FROM t", "-time"},
        {"SELECT (name || 'w')::date[] FROM t", "-time"},
        {"SELECT (name || 'w')::tstzrange FROM t", "-time"},
        {"SELECT (name || 'w')::int, v::text FROM t"},
        {"SELECT * FROM dd WHERE d::timestamp > '2020-01-01' AND date(date_trunc('day', d)) < (d + 1)::date"},
        {"SELECT random() FROM t", "-volatile"},
        {"SELECT ctid FROM t", "-system column"},
        {"SELECT pg_typeof(v) FROM t", "-each server"},
        {"SELECT 1; SELECT * FROM t", NULL},
        {"SELECT * FROM t FOR UPDATE"},
        {"EXPLAIN (MOSAIC) SELECT * FROM t LIMIT 3;", "SELECT * FROM t LIMIT 3"},
        {"EXPLAIN (COSTS off) SELECT * FROM t", "SELECT * FROM t"},
        {"DECLARE c CURSOR FOR SELECT * FROM t", "SELECT * FROM t"},
        {"DECLARE c SCROLL CURSOR FOR SELECT * FROM t", NULL},
        {"COPY t TO STDOUT;", "COPY t TO STDOUT"},
        {"; /* a */ ; COPY t TO STDOUT ; ;", " COPY t TO STDOUT"},
        {"COPY (SELECT * FROM t) TO STDOUT CSV HEADER", "COPY (SELECT * FROM t) TO STDOUT CSV HEADER"},
        {"COPY secured TO STDOUT", "-row security"},
        {"SELECT * FROM secured", "-row security"},
        {"COPY t TO STDOUT (FORMAT binary)", NULL},
        {"EXPLAIN (FORMAT json) SELECT * FROM t", NULL},
    };
    int wrong = 0;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct arena arena = ARENA_INIT;
        struct facts facts;
        struct plan plan;
        bool none = strstr(rows[r].text, "FORMAT") || strstr(rows[r].text, " SCROLL") ||
                    strstr(rows[r].text, "SELECT 1;") || strcmp(rows[r].text, "SELECT * FROM ref") == 0;
        if (!none) {
            wrong += !expect(&rows[r]);
            continue;
        }
        world_plan(&world, rows[r].text, NULL, 0, &arena, &facts, &plan);
        assert_null(facts.scatter);
        assert_null(facts.scatter_cannot);
        arena_free(&arena);
    }
    assert_int_equal(wrong, 0);
}

static void locks(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM t WHERE v > 2 FOR NO KEY UPDATE OF t SKIP LOCKED"},
        {"SELECT v FROM t FOR SHARE NOWAIT; ", "SELECT v FROM t FOR SHARE NOWAIT"},
        {"SELECT v FROM t LIMIT 3 FOR UPDATE SKIP LOCKED", "SELECT v FROM t LIMIT 3 FOR UPDATE SKIP LOCKED"},
        {"SELECT v FROM t FOR UPDATE SKIP LOCKED LIMIT 3", "SELECT v FROM t LIMIT 3 FOR UPDATE SKIP LOCKED"},
        {"SELECT v FROM t FOR UPDATE OF t OFFSET 2 FETCH NEXT 3 ROWS ONLY", "SELECT v FROM t LIMIT 5 FOR UPDATE OF t"},
        {"SELECT v FROM t ORDER BY v DESC FOR UPDATE OFFSET 4",
         "SELECT v, (v) AS \"mosaic:1\" FROM t ORDER BY v DESC FOR UPDATE", "df"},
        {"SELECT v FROM t ORDER BY id FOR UPDATE LIMIT 1", "-which rows its ORDER BY and LIMIT pick"},
        {"SELECT t.v FROM t JOIN u ON u.tid = t.id FOR UPDATE OF u FOR SHARE OF t"},
        {"SELECT v FROM t JOIN ref ON ref.code = t.v FOR UPDATE", "-not sharded"},
        {"SELECT v FROM t JOIN ref ON ref.code = t.v FOR UPDATE OF t"},
        {"SELECT * FROM (SELECT * FROM t FOR UPDATE) x", "-a subquery of it locks"},
        {"SELECT * FROM t WHERE id IN (SELECT tid FROM u FOR UPDATE) FOR UPDATE", "-a subquery of it locks"},
        {"SELECT name, rank() OVER (ORDER BY v) FROM t FOR UPDATE", "-a window function"},
        {"SELECT * FROM t x ORDER BY v FOR UPDATE FETCH FIRST 2 ROWS WITH TIES", "-TIES"},
        {"SELECT \"for\", t.v AS for FROM (SELECT v AS \"for\", id FROM t) t FOR SHARE"},
    };
    CHECK_ALL(rows);
    struct arena arena = ARENA_INIT;
    struct facts facts;
    struct plan plan;
    world_plan(&world, "SELECT v FROM t FOR UPDATE LIMIT $1::int OFFSET 2", NULL, 0, &arena, &facts, &plan);
    assert_true(facts.scatter && facts.scatter->locks);
    assert_string_equal(facts.scatter->lacking_before,
                        "SELECT v FROM t LIMIT LEAST($1::integer::bigint OPERATOR(pg_catalog.+) 2, ");
    assert_string_equal(facts.scatter->lacking_after, ") FOR UPDATE");
    world_plan(&world, "SELECT v FROM t LIMIT 9223372036854775807 OFFSET 1 FOR UPDATE", NULL, 0, &arena, &facts, &plan);
    assert_true(facts.scatter && facts.scatter->has_limit && !facts.scatter->lacking_before);
    world_plan(&world, "EXPLAIN SELECT v FROM t FOR UPDATE", NULL, 0, &arena, &facts, &plan);
    assert_true(facts.scatter && !facts.scatter->locks);
    arena_free(&arena);
}

static void above(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT id, count(*), avg(v) FROM t GROUP BY id HAVING count(*) > 1"},
        {"SELECT tid, count(*) FROM u GROUP BY 1"},
        {"SELECT tid AS k, count(*) FROM u GROUP BY k"},
        {"SELECT tid AS w, count(*) FROM u GROUP BY w", "-GROUP BY"},
        {"SELECT u.tid, count(*) FROM t JOIN u ON u.tid = t.id GROUP BY u.tid"},
        {"SELECT u.tid, count(*) FROM t LEFT JOIN u ON u.tid = t.id GROUP BY u.tid", "-GROUP BY"},
        {"SELECT v, count(*) FROM t GROUP BY v", "-GROUP BY"},
        {"SELECT id, v, count(*) FROM t GROUP BY GROUPING SETS ((id), (v))", "-GROUPING SETS"},
        {"SELECT a, count(*) FROM c2 GROUP BY a", "-GROUP BY"},
        {"SELECT a, b, count(*) FROM c2 GROUP BY b, a"},
        {"SELECT tid, row_number() OVER (PARTITION BY tid ORDER BY w) FROM u"},
        {"SELECT tid, row_number() OVER x FROM u WINDOW x AS (PARTITION BY tid, w)"},
        {"SELECT tid, row_number() OVER (ORDER BY w) FROM u", "-window"},
        {"SELECT DISTINCT id, v FROM t"},
        {"SELECT DISTINCT v FROM t", "-DISTINCT"},
        {"SELECT DISTINCT ON (tid) * FROM u"},
        {"SELECT DISTINCT ON (w) * FROM u", "-DISTINCT"},
        {"SELECT DISTINCT ON (id) CASE WHEN v = 1 THEN 0 ELSE id END FROM t", "-DISTINCT"},
        {"SELECT DISTINCT ON (id) CASE WHEN v = 1 THEN 0 ELSE v END FROM t"},
        {"SELECT DISTINCT ON (t.id) CASE WHEN v = 1 THEN 0 ELSE id END FROM t"},
        {"SELECT generate_series(1, v) FROM t"},
        {"SELECT count(*) FROM t", "SELECT count(*), (count(*)) AS \"mosaic:1\" FROM t", "count"},
        {"SELECT count(*) AS n, sum(v) total FROM t",
         "SELECT count(*) AS n, sum(v) total, (count(*)) AS \"mosaic:1\", (sum(v)) AS \"mosaic:2\" FROM t",
         "count sum"},
        {"SELECT max(v) FILTER (WHERE v < 3), every(v > 1), bit_or(v) FROM t LIMIT 5",
         "SELECT max(v) FILTER (WHERE v < 3), every(v > 1), bit_or(v), (max(v) FILTER (WHERE v < 3)) AS \"mosaic:1\", "
         "(every(v > 1)) AS \"mosaic:2\", (bit_or(v)) AS \"mosaic:3\" FROM t",
         "max bool_and bit_or"},
        {"SELECT avg(v) FROM t", "-aggregate"},
        {"SELECT max(*) FROM t", "-aggregate"},
        {"SELECT count(*) + 1 FROM t", "-aggregate"},
        {"SELECT count(*), 1 FROM t", "-aggregate"},
        {"SELECT count(DISTINCT v) FROM t", "-DISTINCT"},
        {"SELECT count(DISTINCT id) FROM t", "SELECT count(DISTINCT id), (count(DISTINCT id)) AS \"mosaic:1\" FROM t",
         "count"},
        {"SELECT max(DISTINCT v) FROM t", "SELECT max(DISTINCT v), (max(DISTINCT v)) AS \"mosaic:1\" FROM t", "max"},
        {"SELECT bit_xor(DISTINCT v) FROM t", "-DISTINCT"},
        {"SELECT max(name) FROM t", "-collation"},
        {"SELECT max(name COLLATE \"C\") FROM t",
         "SELECT max(name COLLATE \"C\"), (max(name COLLATE \"C\")) AS \"mosaic:1\" FROM t", "max/b"},
        {"SELECT max(v) FROM t HAVING count(*) > 1", "-aggregates"},
        {"SELECT sum(v) OVER () FROM t", "-window"},
    };
    CHECK_ALL(rows);
}

/* Tier 3: what each shard is asked, and what the coordinator is; "-" and a word of the reason why neither. */
struct combined {
    const char *text, *first, *second;
};

#define FROM_1(at) " FROM ROWS FROM (pg_catalog.unnest($" at ")) AS \"mosaic\" (\"mosaic:1\") "
#define FROM_2 \
    " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS \"mosaic\" (\"mosaic:1\", \"mosaic:2\") "
#define COUNT(k) "(coalesce(pg_catalog.sum(\"mosaic:" k "\"), 0)::pg_catalog.int8)"

static void what_is_combined(void **state)
{
    (void)state;
    static const struct combined rows[] = {
        {"SELECT v, count(*) FROM t GROUP BY v",
         "SELECT (v) AS \"mosaic:1\", pg_catalog.count(*) AS \"mosaic:2\"  FROM t  GROUP BY 1",
         "SELECT \"mosaic:1\" AS \"v\", " COUNT("2") " AS \"count\"" FROM_2 "GROUP BY \"mosaic:1\""},
        {"SELECT DISTINCT v FROM t WHERE id > 3 ORDER BY v DESC LIMIT 5",
         "SELECT (v) AS \"mosaic:1\"  FROM t WHERE id > 3  GROUP BY 1",
         "SELECT DISTINCT \"mosaic:1\" AS \"v\"" FROM_1("1") "ORDER BY v DESC LIMIT 5"},
        {"SELECT avg(v) a FROM t;",
         "SELECT pg_catalog.sum(v) AS \"mosaic:1\", pg_catalog.count(v) AS \"mosaic:2\"  FROM t",
         "SELECT (pg_catalog.sum(\"mosaic:1\") OPERATOR(pg_catalog./) nullif(pg_catalog.sum(\"mosaic:2\"), 0)) "
         "a" FROM_2},
        {"SELECT sum(v), avg( v ), count(v) FROM t", /* parts in the same words are computed once */
         "SELECT pg_catalog.sum(v) AS \"mosaic:1\", pg_catalog.count( v ) AS \"mosaic:2\"  FROM t",
         "SELECT (pg_catalog.sum(\"mosaic:1\")::\1"
         "1\1) AS \"sum\", (pg_catalog.sum(\"mosaic:1\") OPERATOR(pg_catalog./) "
         "nullif(pg_catalog.sum(\"mosaic:2\"), 0)) AS \"avg\", " COUNT("2") " AS \"count\"" FROM_2},
        {"SELECT avg(v), sum(v) FILTER (WHERE v > 1) AS x FROM t",
         "SELECT pg_catalog.sum(v) AS \"mosaic:1\", pg_catalog.count(v) AS \"mosaic:2\", pg_catalog.sum(v) FILTER "
         "(WHERE "
         "v > 1) AS \"mosaic:3\"  FROM t",
         "SELECT (pg_catalog.sum(\"mosaic:1\") OPERATOR(pg_catalog./) nullif(pg_catalog.sum(\"mosaic:2\"), 0)) AS "
         "\"avg\", (pg_catalog.sum(\"mosaic:3\")::\1"
         "3\1) AS x FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS \"mosaic\" "
         "(\"mosaic:1\", \"mosaic:2\", \"mosaic:3\") "},
        {"SELECT count(*) + count ( * ) FROM t HAVING count(*) > $1",
         "SELECT pg_catalog.count(*) AS \"mosaic:1\"  FROM t ",
         "SELECT " COUNT("1") " + " COUNT("1") " AS \"?column?\"" FROM_1("2") "HAVING " COUNT("1") " > $1"},
        {"SELECT sum(v) FILTER (WHERE v > 1) + 1 AS x FROM t",
         "SELECT pg_catalog.sum(v) FILTER (WHERE v > 1) AS \"mosaic:1\"  FROM t",
         "SELECT (pg_catalog.sum(\"mosaic:1\")::\1"
         "1\1) + 1 AS x" FROM_1("1")},
        {"SELECT count(DISTINCT v), max(v) FROM t",
         "SELECT (v) AS \"mosaic:1\", pg_catalog.max(v) AS \"mosaic:2\"  FROM t GROUP BY 1",
         "SELECT pg_catalog.count(DISTINCT \"mosaic:1\") AS \"count\", pg_catalog.max(\"mosaic:2\") AS \"max\"" FROM_2},
        {"SELECT abs(v) AS a, rank() OVER (ORDER BY sum(v)) FROM t GROUP BY abs(v) ORDER BY abs( v ), a",
         "SELECT (abs(v)) AS \"mosaic:1\", pg_catalog.sum(v) AS \"mosaic:2\"  FROM t  GROUP BY 1",
         "SELECT \"mosaic:1\" AS a, rank() OVER (ORDER BY (pg_catalog.sum(\"mosaic:2\")::\1"
         "2\1)) AS \"rank\"" FROM_2 "GROUP BY \"mosaic:1\" ORDER BY \"mosaic:1\", a"},
        {"SELECT v, 1 FROM t GROUP BY ALL v, 2", /* ALL is no part of the first item */
         "SELECT (v) AS \"mosaic:1\", (1) AS \"mosaic:2\"  FROM t  GROUP BY 1, 2",
         "SELECT \"mosaic:1\" AS \"v\", \"mosaic:2\" AS \"?column?\"" FROM_2 "GROUP BY ALL \"mosaic:1\", 2"},
        {"SELECT v AS \"mosaic:1\" FROM t GROUP BY v", "-hidden columns"},
        {"SELECT v, max(name) = '\1' FROM t GROUP BY v", "-stands for a type"},
        {"SELECT v FROM t ORDER BY name LIMIT 1 /* \1"
         "9\1 */",
         "-stands for a type"},
        {"SELECT DISTINCT v + 1, v FROM t ORDER BY v + 1 USING < NULLS LAST, t.v",
         "SELECT (v + 1) AS \"mosaic:1\", (v) AS \"mosaic:2\"  FROM t  GROUP BY 1, 2",
         "SELECT DISTINCT \"mosaic:1\" AS \"?column?\", \"mosaic:2\" AS \"v\"" FROM_2
         "ORDER BY \"mosaic:1\" USING < NULLS LAST, \"mosaic:2\""},
        {"SELECT v, (SELECT count(*)) FROM t GROUP BY v", "-several keys"},
        {"SELECT v, (SELECT 1) FROM t GROUP BY v", "-several keys"},
        {"SELECT name, id FROM t ORDER BY name LIMIT 3 OFFSET 1",
         "SELECT name, id, (name) AS \"mosaic:1\" FROM t ORDER BY name LIMIT 4",
         "SELECT \"mosaic:1\" AS \"name\", \"mosaic:2\" AS \"id\" FROM ROWS FROM (pg_catalog.unnest($1), "
         "pg_catalog.unnest($2), pg_catalog.unnest($3)) AS \"mosaic\" (\"mosaic:1\", \"mosaic:2\", \"mosaic:3\") "
         "ORDER BY \"mosaic:3\" ASC NULLS LAST LIMIT 3 OFFSET 1"},
        {"SELECT name FROM t ORDER BY name", "SELECT name, (name) AS \"mosaic:1\" FROM t ORDER BY name",
         "SELECT \"mosaic:1\" AS \"name\"" FROM_2 "ORDER BY \"mosaic:2\" ASC NULLS LAST"},
        {"SELECT name FROM t UNION ALL SELECT name FROM t ORDER BY name",
         "SELECT \"mosaic:1\" AS \"name\", (\"mosaic:1\") AS \"mosaic:2\" FROM (SELECT name FROM t UNION ALL "
         "SELECT name FROM t ) AS \"mosaic\" (\"mosaic:1\") ORDER BY name",
         "SELECT \"mosaic:1\" AS \"name\"" FROM_2 "ORDER BY \"mosaic:2\" ASC NULLS LAST"},
        {"SELECT id FROM t ORDER BY name FOR UPDATE", "-collation"},
        {"SELECT v FROM t GROUP BY v UNION ALL SELECT v FROM t", "-several keys"},
    };
    int wrong = 0;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct arena arena = ARENA_INIT;
        struct facts facts;
        struct plan plan;
        world_plan(&world, rows[r].text, NULL, 0, &arena, &facts, &plan);
        const struct fact_final *final = facts.scatter ? facts.scatter->final : NULL;
        const char *cannot = facts.scatter_cannot ? facts.scatter_cannot : "";
        bool right = *rows[r].first == '-' ? !facts.scatter && strstr(cannot, rows[r].first + 1)
                                           : final && strcmp(facts.scatter->text, rows[r].first) == 0 &&
                                                 strcmp(final->text, rows[r].second) == 0;
        if (!right)
            fprintf(stderr, "%s\n    expected %s\n             %s\n    got      %s\n             %s\n", rows[r].text,
                    rows[r].first, rows[r].second ? rows[r].second : "", final ? facts.scatter->text : cannot,
                    final ? final->text : "");
        wrong += !right;
        arena_free(&arena);
    }
    assert_int_equal(wrong, 0);
}

/* Tier 4: where a condition of buckets may stand, and of which columns. NULL: nowhere. */
struct pruned {
    const char *text, *before, *condition, *after, *columns;
};

static void what_is_pruned(void **state)
{
    (void)state;
    static const struct pruned rows[] = {
        {"SELECT * FROM t, home WHERE t.id = 5", "SELECT * FROM t, home ", " t.id = 5", "", "\"t\".\"id\""},
        {"SELECT count(*) FROM t x JOIN u ON u.w = x.v AND x.id IN (1, 2) -- both\n GROUP BY x.v ORDER BY 1;",
         "SELECT count(*) FROM t x JOIN u ON u.w = x.v AND x.id IN (1, 2) -- both\n ", NULL, "GROUP BY x.v ORDER BY 1",
         "\"x\".\"id\""},
        {"SELECT * FROM t AS \"A\" (k), u WHERE k = 5 AND w = 1 LIMIT 3", "SELECT * FROM t AS \"A\" (k), u ",
         " k = 5 AND w = 1", " LIMIT 3", "\"A\".\"k\""},
        {"SELECT * FROM c2, u WHERE a = 1 AND b = 2", "SELECT * FROM c2, u ", " a = 1 AND b = 2", "",
         "\"c2\".\"a\" \"c2\".\"b\""},
        {"SELECT * FROM u LEFT JOIN t ON t.id = 5", NULL},
        {"SELECT * FROM home LEFT JOIN t ON t.id = 5", NULL},
        {"SELECT * FROM (SELECT * FROM t WHERE id = 5) x, u", NULL},
        {"SELECT * FROM t, u WHERE t.id > 5", NULL},
        {"SELECT * FROM tv, u WHERE tv.id = 5", NULL},
        {"SELECT * FROM t WHERE id = 5", NULL},
        {"SELECT * FROM t, u WHERE t.id = 5 UNION SELECT * FROM t, u", NULL},
    };
    int wrong = 0;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        struct arena arena = ARENA_INIT;
        struct facts facts;
        struct plan plan;
        char columns[200] = "";
        world_plan(&world, rows[r].text, NULL, 0, &arena, &facts, &plan);
        const struct fact_pruning *got = facts.pruning;
        const struct fact_prune *prune = got ? &got->prunes[0] : NULL;
        for (size_t i = 0; prune && i < prune->relation->relation->table->column_count; i++)
            sprintf(columns + strlen(columns), "%s%s", i ? " " : "", prune->columns[i]);
        bool same = got && rows[r].before && strcmp(got->before, rows[r].before) == 0 &&
                    strcmp(got->after, rows[r].after) == 0 && strcmp(columns, rows[r].columns) == 0 &&
                    !got->condition == !rows[r].condition &&
                    (!got->condition || strcmp(got->condition, rows[r].condition) == 0) && facts.text_bound;
        if (!(rows[r].before ? same : !got))
            fprintf(stderr, "%s\n    got %s|%s|%s of %s\n", rows[r].text, got ? got->before : "nothing",
                    got && got->condition ? got->condition : "", got ? got->after : "", columns);
        wrong += !(rows[r].before ? same : !got);
        arena_free(&arena);
    }
    assert_int_equal(wrong, 0);
}

static void picks_of_copies(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT id, d.label FROM t, (SELECT DISTINCT ON (tid) tid, label FROM ref) d", "-each copy"},
        {"SELECT id, d.label FROM t, refd d", "-each copy"},
        {"SELECT id, (SELECT label FROM refd LIMIT 1) FROM t", "-each copy"},
        {"SELECT id, d.tid FROM t, refs d"},
        {"SELECT id, d.x FROM t, (SELECT label AS x, count(*) FROM ref GROUP BY x) d"},
        {"SELECT id, (SELECT label FROM ref r WHERE r.tid = t.tid LIMIT 1) FROM t"},
        {"SELECT id, (SELECT x FROM (SELECT label AS x FROM ref r WHERE r.tid = t.tid LIMIT 1) q) FROM t"},
        {"SELECT id, l.label FROM t, LATERAL (SELECT label FROM ref r WHERE r.tid = t.tid LIMIT 1) l"},
        {"SELECT id, s.n FROM t, (SELECT r.tid, (SELECT c.label FROM ref c WHERE c.tid = r.tid LIMIT 1) AS n FROM "
         "(SELECT "
         "DISTINCT tid FROM ref) r) s",
         "-each copy"},
        {"SELECT id, s.n FROM t, (SELECT r.tid, ARRAY(SELECT c.label FROM ref c WHERE c.tid = r.tid) AS n FROM refs r) "
         "s",
         "-each copy"},
        {"SELECT id, s.n FROM t, (SELECT r.tid, l.label AS n FROM refs r, LATERAL (SELECT label FROM ref c WHERE c.tid "
         "= "
         "r.tid LIMIT 1) l) s",
         "-each copy"},
        {"SELECT id, d.x FROM t, (SELECT rid AS x FROM ref ORDER BY x LIMIT 1) d", "-each copy"},
        {"SELECT id, s.n FROM t, LATERAL (SELECT r.tid, (SELECT c.label FROM ref c WHERE c.tid = r.tid LIMIT 1) AS n "
         "FROM "
         "refs r WHERE r.tid = t.v) s"},
    };
    CHECK_ALL(rows);
}

static void order_and_limit(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT v FROM t ORDER BY id", "SELECT v, (id) AS \"mosaic:1\" FROM t ORDER BY id", "a"},
        {"SELECT v FROM t ORDER BY id DESC, v + 1 NULLS FIRST, t.v DESC NULLS LAST",
         "SELECT v, (id) AS \"mosaic:1\", (v + 1) AS \"mosaic:2\", (t.v) AS \"mosaic:3\" FROM t ORDER BY id DESC, v + "
         "1 NULLS FIRST, t.v DESC NULLS LAST",
         "df af d"},
        {"SELECT v AS id, id x, lower(name) FROM t ORDER BY 1, id, x asc",
         "SELECT v AS id, id x, lower(name), (v) AS \"mosaic:1\", (v) AS \"mosaic:2\", (id) AS \"mosaic:3\" FROM t "
         "ORDER BY 1, id, x asc",
         "a a a"},
        {"SELECT * FROM t ORDER BY 2", "SELECT *, (\"v\") AS \"mosaic:1\" FROM t ORDER BY 2", "a"},
        {"SELECT t.*, u.* FROM t JOIN u ON u.tid = t.id ORDER BY v, 4",
         "SELECT t.*, u.*, (\"v\") AS \"mosaic:1\", (\"t\".\"tid\") AS \"mosaic:2\" FROM t JOIN u ON u.tid = t.id "
         "ORDER BY v, 4",
         "a a"},
        {"SELECT v AS \"mosaic:1\" FROM t ORDER BY id", "-hidden columns"},
        {"SELECT * FROM (SELECT id, v AS \"mosaic:2\" FROM t) x ORDER BY id", "-hidden columns"},
        {"SELECT v FROM t ORDER BY name COLLATE \"C\"",
         "SELECT v, (name COLLATE \"C\") AS \"mosaic:1\" FROM t ORDER BY name COLLATE \"C\"", "ab"},
        {"SELECT v FROM t ORDER BY lower(name)", "SELECT v, (lower(name)) AS \"mosaic:1\" FROM t ORDER BY lower(name)",
         "a"},
        {"SELECT v FROM t ORDER BY v USING <", "-USING"},
        {"SELECT v FROM t ORDER BY 'a'::text", "SELECT v, ('a'::text) AS \"mosaic:1\" FROM t ORDER BY 'a'::text", "a"},
        {"SELECT v FROM t ORDER BY v + $1", "-parameter"},
        {"SELECT DISTINCT id, v FROM t ORDER BY v, t.id",
         "SELECT DISTINCT id, v, (v) AS \"mosaic:1\", (t.id) AS \"mosaic:2\" FROM t ORDER BY v, t.id", "a a"},
        {"SELECT DISTINCT id FROM t ORDER BY v", "-not understood"},
        {"SELECT (p).*, id FROM k ORDER BY 2", "-columns are not known"},
        {"SELECT DISTINCT ON (id) id FROM t ORDER BY id, v",
         "SELECT DISTINCT ON (id) id, (id) AS \"mosaic:1\", (v) AS \"mosaic:2\" FROM t ORDER BY id, v", "a a"},
        {"SELECT CASE WHEN a IS DISTINCT FROM b THEN a END AS \"from\", a IS NOT DISTINCT FROM b AS from FROM c2 ORDER "
         "BY a",
         "SELECT CASE WHEN a IS DISTINCT FROM b THEN a END AS \"from\", a IS NOT DISTINCT FROM b AS from, (a) AS "
         "\"mosaic:1\" FROM c2 ORDER BY a",
         "a"},
        {"SELECT v, -- FROM x\n $$ FROM $$ /* LIMIT */, (SELECT 1 LIMIT 1) FROM t ORDER BY id -- LIMIT\n LIMIT 3 -- x",
         "SELECT v, -- FROM x\n $$ FROM $$ /* LIMIT */, (SELECT 1 LIMIT 1), (id) AS \"mosaic:1\" FROM t ORDER BY id "
         "LIMIT 3",
         "a"},
        {"SELECT q.as AS x, q.from, q.as as \"as\" FROM (SELECT id, v AS from, v AS as FROM t) q ORDER BY x, q.from",
         "SELECT q.as AS x, q.from, q.as as \"as\", (q.as) AS \"mosaic:1\", (q.from) AS \"mosaic:2\" FROM (SELECT id, "
         "v AS "
         "from, v AS as FROM t) q ORDER BY x, q.from",
         "a a"},
        {"SELECT ARRAY[v, id], extract(year FROM date '2020-01-01') FROM t ORDER BY id",
         "SELECT ARRAY[v, id], extract(year FROM date '2020-01-01'), (id) AS \"mosaic:1\" FROM t ORDER BY id", "a"},
        {"SELECT id, count(*) FROM t GROUP BY id ORDER BY count(*) DESC, 1 LIMIT 10 OFFSET 20",
         "SELECT id, count(*), (count(*)) AS \"mosaic:1\", (id) AS \"mosaic:2\" FROM t GROUP BY id ORDER BY count(*) "
         "DESC, 1 LIMIT 30",
         "df a"},
        {"SELECT * FROM t LIMIT 5", "SELECT * FROM t LIMIT 5"},
        {"SELECT * FROM t OFFSET 5", "SELECT * FROM t"},
        {"SELECT * FROM t OFFSET 5 ROWS FETCH FIRST ROW ONLY", "SELECT * FROM t LIMIT 6"},
        {"SELECT * FROM t FETCH NEXT 7 ROWS ONLY", "SELECT * FROM t LIMIT 7"},
        {"SELECT * FROM t ORDER BY id FETCH NEXT 7 ROWS WITH TIES", "-TIES"},
        {"SELECT * FROM t LIMIT ALL", "SELECT * FROM t"},
        {"SELECT * FROM t LIMIT 9223372036854775808", "-LIMIT"},
        {"SELECT * FROM t LIMIT 0000000000000007", "SELECT * FROM t LIMIT 7"},
        {"SELECT (SELECT v), v COLLATE \"C\", CASE WHEN true THEN 1 ELSE id::int END FROM t ORDER BY v, id, \"case\"",
         "-not understood"},
        {"SELECT (SELECT 1), 1::int, CASE WHEN true THEN id END FROM t ORDER BY v, t.id",
         "SELECT (SELECT 1), 1::int, CASE WHEN true THEN id END, (v) AS \"mosaic:1\", (t.id) AS \"mosaic:2\" FROM t "
         "ORDER BY v, t.id",
         "a a"},
        {"SELECT * FROM t LIMIT -1", "-LIMIT"},
        {"SELECT * FROM t LIMIT 1 + 1", "-LIMIT"},
        {"SELECT * FROM t LIMIT 1.5", "-LIMIT"},
        {"SELECT * FROM t LIMIT (SELECT 1)", "-LIMIT"},
        {"TABLE t LIMIT 3"},
        {"TABLE t ORDER BY id", "-target list"},
        {"(SELECT * FROM t) LIMIT 3"},
        {"(SELECT * FROM t ORDER BY id)", "-target list"},
        {"(SELECT * FROM t LIMIT 3)", "-not sure"},
        {"SELECT id FROM t UNION ALL SELECT tid FROM u LIMIT 3 OFFSET 1",
         "SELECT id FROM t UNION ALL SELECT tid FROM u LIMIT 4"},
        {"SELECT generate_series(1, 3) FROM t ORDER BY id", "-set-returning"},
    };
    CHECK_ALL(rows);
}

/* ---- plans ---- */

static struct plan plan_of(const char *text, const struct plan_value *parameters, size_t count, struct facts *facts)
{
    static struct arena arena;
    struct plan plan;
    arena_free(&arena);
    world_plan(&world, text, parameters, count, &arena, facts, &plan);
    return plan;
}

static void a_set_operation_is_ordered_around(void **state)
{
    (void)state;
#define AS_2 ") AS \"mosaic\" (\"mosaic:1\", \"mosaic:2\") "
    static const struct row rows[] = {
        {"SELECT id FROM t UNION ALL SELECT tid FROM u -- all\n ORDER BY 1 -- in order",
         "SELECT \"mosaic:1\" AS \"id\", (\"mosaic:1\") AS \"mosaic:2\" FROM (SELECT id FROM t UNION ALL SELECT tid "
         "FROM u "
         "-- all\n ) AS \"mosaic\" (\"mosaic:1\") ORDER BY 1",
         "a"},
        {"SELECT id, v + 1 FROM t UNION SELECT tid, w FROM u ORDER BY 2 DESC NULLS LAST, id LIMIT 3 OFFSET 1",
         "SELECT \"mosaic:1\" AS \"id\", \"mosaic:2\" AS \"?column?\", (\"mosaic:2\") AS \"mosaic:3\", (\"mosaic:1\") "
         "AS "
         "\"mosaic:4\" FROM (SELECT id, v + 1 FROM t UNION SELECT tid, w FROM u " AS_2
         "ORDER BY 2 DESC NULLS LAST, id LIMIT 4",
         "d a"},
        {"WITH x AS (SELECT id, v FROM t) (SELECT * FROM x EXCEPT ALL SELECT * FROM i) ORDER BY v",
         "SELECT \"mosaic:1\" AS \"id\", \"mosaic:2\" AS \"v\", (\"mosaic:2\") AS \"mosaic:3\" FROM (WITH x AS (SELECT "
         "id, v "
         "FROM t) (SELECT * FROM x EXCEPT ALL SELECT * FROM i) " AS_2 "ORDER BY v",
         "a"},
        {"SELECT x.order by FROM (SELECT id, id AS order FROM t) x UNION ALL SELECT tid FROM u ORDER BY by",
         "SELECT \"mosaic:1\" AS \"by\", (\"mosaic:1\") AS \"mosaic:2\" FROM (SELECT x.order by FROM (SELECT id, id AS "
         "order FROM t) x UNION ALL SELECT tid FROM u ) AS \"mosaic\" (\"mosaic:1\") ORDER BY by",
         "a"},
        {"SELECT c, id FROM k UNION ALL SELECT c, id FROM k ORDER BY c",
         "SELECT \"mosaic:1\" AS \"c\", \"mosaic:2\" AS \"id\", (\"mosaic:1\") AS \"mosaic:3\" FROM (SELECT c, id FROM "
         "k UNION "
         "ALL SELECT c, id FROM k " AS_2 "ORDER BY c",
         "ab"},
        {"SELECT v FROM t UNION SELECT w FROM u ORDER BY 1", "-compares"},
        {"SELECT id FROM t UNION ALL SELECT tid FROM u ORDER BY 1 USING <", "-USING"},
        {"SELECT id FROM t UNION ALL SELECT tid FROM u ORDER BY id + 1", "-not understood"},
    };
    CHECK_ALL(rows);
}

static void shards_are_those_that_own_a_key(void **state)
{
    (void)state;
    struct facts facts;
    struct plan plan = plan_of("SELECT * FROM t", NULL, 0, &facts);
    assert_int_equal(plan.kind, PLAN_SCATTER);
    assert_int_equal(plan.shard_count, 4);
    assert_int_equal(plan.shards[3], 3);
    assert_string_equal(plan.error->sqlstate, "0A000");
    plan = plan_of("SELECT * FROM t WHERE id IN (1, 3, 5, NULL)", NULL, 0, &facts);
    assert_int_equal(plan.kind, PLAN_SCATTER);
    assert_int_equal(plan.shard_count, 2);
    assert_int_equal(plan.shards[0], 1);
    assert_int_equal(plan.shards[1], 3);
    struct plan_value keys = {"{0,2,4}", 7, 0, 1016};
    plan = plan_of("SELECT * FROM t LEFT JOIN u ON u.tid = t.id WHERE id = ANY($1)", &keys, 1, &facts);
    assert_int_equal(plan.kind, PLAN_SCATTER);
    assert_int_equal(plan.shard_count, 2);
    /* The bound of one side of a union says nothing of the other. */
    plan =
        plan_of("SELECT * FROM (SELECT id FROM t WHERE id IN (1, 2) UNION ALL SELECT tid FROM u) x", NULL, 0, &facts);
    assert_int_equal(plan.shard_count, 4);
    plan = plan_of("SELECT id FROM t WHERE id IN (1, 2) UNION ALL SELECT tid FROM u", NULL, 0, &facts);
    assert_int_equal(plan.shard_count, 4);
    world.has_scatter = false;
    assert_int_equal(plan_of("SELECT * FROM t", NULL, 0, &facts).kind, PLAN_REFUSED);
    assert_non_null(facts.scatter);
    world.has_scatter = true;
}

static void limits_are_read_of_parameters(void **state)
{
    (void)state;
    static const char text[] = "SELECT * FROM t LIMIT $1 OFFSET $2";
    struct facts facts;
    struct plan_value values[2] = {{"10", 2, 0, 0}, {"\0\0\0\x05", 4, 1, 23}};
    struct plan plan = plan_of(text, values, 2, &facts);
    assert_int_equal(plan.kind, PLAN_SCATTER);
    assert_int_equal(plan.limit, 10);
    assert_int_equal(plan.offset, 5);
    assert_string_equal(facts.scatter->text,
                        "SELECT * FROM t LIMIT $1::bigint OPERATOR(pg_catalog.+) coalesce($2::bigint, 0)");
    values[0].size = -1;
    plan = plan_of(text, values, 2, &facts);
    assert_int_equal(plan.kind, PLAN_SCATTER);
    assert_true(plan.limit == UINT64_MAX);
    values[0] = (struct plan_value){"-1", 2, 0, 20};
    assert_int_equal(plan_of(text, values, 2, &facts).kind, PLAN_REFUSED);
    values[0] = (struct plan_value){"9223372036854775807", 19, 0, 20};
    assert_int_equal(plan_of(text, values, 2, &facts).kind, PLAN_REFUSED);
    values[0] = (struct plan_value){"x", 1, 0, 20};
    assert_int_equal(plan_of(text, values, 2, &facts).kind, PLAN_REFUSED);
    values[0] = (struct plan_value){"1", 1, 0, 20};
    plan = plan_of(text, values, 1, &facts);
    assert_int_equal(plan.kind, PLAN_SCATTER);
    assert_int_equal(plan.offset, 0);
    assert_int_equal(plan_of("SELECT * FROM t LIMIT 9223372036854775807 OFFSET 1", NULL, 0, &facts).kind, PLAN_REFUSED);
    plan = plan_of("SELECT * FROM t LIMIT 3 OFFSET 4", NULL, 0, &facts);
    assert_int_equal(plan.limit, 3);
    assert_int_equal(plan.offset, 4);
    plan = plan_of("SELECT * FROM t", NULL, 0, &facts);
    assert_true(plan.limit == UINT64_MAX);
    assert_int_equal(plan.offset, 0);
}

static void a_parameter_that_says_now_is_not_for_several(void **state)
{
    (void)state;
    struct facts facts;
    struct plan_value value = {" now ", 5, 0, 1184};
    assert_int_equal(plan_of("SELECT * FROM t WHERE v::text > $1", &value, 1, &facts).kind, PLAN_REFUSED);
    value = (struct plan_value){"known", 5, 0, 25};
    assert_int_equal(plan_of("SELECT * FROM t WHERE v::text > $1", &value, 1, &facts).kind, PLAN_SCATTER);
}

/* The facts of point queries serve each text of their shape. */
static void what_is_one_shards_stays_as_it_was(void **state)
{
    (void)state;
    static const char *const texts[] = {"SELECT * FROM t WHERE id = 5",
                                        "SELECT * FROM t JOIN u ON u.tid = t.id WHERE t.id = 5 ORDER BY v LIMIT 3",
                                        "SELECT count(*) FROM t WHERE id = 5", "SELECT * FROM ref LIMIT 3"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct facts facts;
        plan_of(texts[i], NULL, 0, &facts);
        assert_false(facts.text_bound);
        assert_null(facts.scatter);
        assert_null(facts.scatter_cannot);
    }
}

static void memory_runs_out(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "WITH x AS (SELECT * FROM tv) SELECT x.*, w FROM x JOIN u ON u.tid = x.vid ORDER BY 2, w DESC LIMIT 3 OFFSET "
        "$1",
        "SELECT count(*), max(v) FROM t WHERE id IN (1, 2)",
        "SELECT id FROM t UNION SELECT tid FROM u",
    };
    struct plan_value value = {"1", 1, 0, 20};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        mosaic_status status = MOSAIC_MEMORY;
        for (long after = 0; status != MOSAIC_OK; after++) {
            struct arena arena = ARENA_INIT;
            struct facts_list list;
            struct plan plan;
            mosaic_error error;
            struct plan_value literals[4] = {{"1", 1, 0, 23}, {"2", 1, 0, 23}};
            struct plan_input input = {&world.schema, literals, 2, &value, 1, .has_scatter = true};
            memory_fail_after(after);
            status = facts_find(&world.context, texts[t], strlen(texts[t]), &arena, &list, &error);
            if (status == MOSAIC_OK)
                status = plan_make(&list.facts[0], &input, &arena, &plan, &error);
            memory_fail_after(-1);
            assert_true(status == MOSAIC_MEMORY || plan.kind == PLAN_SCATTER);
            arena_free(&arena);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(proof),
        cmocka_unit_test(locks),
        cmocka_unit_test(above),
        cmocka_unit_test(what_is_combined),
        cmocka_unit_test(what_is_pruned),
        cmocka_unit_test(order_and_limit),
        cmocka_unit_test(picks_of_copies),
        cmocka_unit_test(a_set_operation_is_ordered_around),
        cmocka_unit_test(shards_are_those_that_own_a_key),
        cmocka_unit_test(limits_are_read_of_parameters),
        cmocka_unit_test(a_parameter_that_says_now_is_not_for_several),
        cmocka_unit_test(what_is_one_shards_stays_as_it_was),
        cmocka_unit_test(memory_runs_out),
    };
    world_open(&world);
    world.has_scatter = true;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    world_close(&world);
    return failed;
}
