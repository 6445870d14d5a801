#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct row {
    const char *text, *expected;
    const char *why; /* part of a refusal's message, detail or hint */
};

static struct world world;

#define CHECK_ALL(rows)                                                                           \
    do {                                                                                          \
        int wrong = 0;                                                                            \
        for (size_t r = 0; r < sizeof(rows) / sizeof *(rows); r++)                                \
            wrong += !world_expect(&world, rows[r].text, NULL, 0, rows[r].expected, rows[r].why); \
        assert_int_equal(wrong, 0);                                                               \
    } while (0)

/* What has no type gets that of the other side, which need not be the key's. */
static void untyped_values(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM t WHERE id::numeric = '5.0'", "s1"},
        {"SELECT * FROM t WHERE id::numeric IN ('5.0', '9')", "s1"},
        {"SELECT * FROM t WHERE id::numeric = ANY('{5.0,9}')", "s1"},
        {"SELECT * FROM t WHERE id::numeric = '5.5'", "any"},
        {"SELECT * FROM i WHERE id::bigint = '5000000000'", "any"},
        {"SELECT * FROM i WHERE (id::bigint, v) IN (('5000000000', 1), ('5', 2))", "s1"},
        {"SELECT * FROM i WHERE id = '5000000000'", "refused", "22003"},
        {"SELECT * FROM (SELECT id FROM i UNION ALL SELECT id FROM t) x WHERE id = '5000000001'", "s1"},
        {"SELECT * FROM (SELECT id FROM t UNION ALL SELECT id FROM i) x WHERE id = '5000000001'", "s1"},
        {"SELECT * FROM i JOIN t USING (id) WHERE id = '5000000001'", "refused", "0A000"},
        {"SELECT * FROM i JOIN t USING (id) WHERE id = 5", "s1"},
        {"SELECT * FROM i JOIN t USING (id) WHERE id = '5'::bigint", "s1"},
        {"SELECT * FROM t JOIN i USING (id) WHERE id = '5000000001'", "s1"},
        {"SELECT * FROM i RIGHT JOIN t USING (id) WHERE id = '5000000001'", "s1"},
        {"SELECT * FROM t JOIN u USING (tid) WHERE u.tid = '5' AND t.id = '5'", "s1"},
    };
    CHECK_ALL(rows);
}

/* A list of values for one column of several is none of keys. */
static void arrays_of_a_key_s_part(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM c2 WHERE (a = ANY('{1}') AND b = 5) OR (a = 1 AND b = 5)", "refused", "no condition"},
        {"SELECT * FROM c2 WHERE (a = 1 AND b = 5) OR (a = 1 AND b = ANY('{5}'))", "refused", "no condition"},
        {"SELECT * FROM c2 WHERE (a = ANY($1) AND b = 5) OR (a = 1 AND b = 5)", "refused", "no condition"},
        {"SELECT * FROM c2 WHERE a = ANY('{1}') AND b = 2", "refused", "no condition"},
        {"SELECT * FROM c2 WHERE (a IN (1) AND b = 2) OR (a = 1 AND b = ANY(ARRAY[2]))", "s1"},
        {"SELECT * FROM t WHERE (id = ANY('{1,5}') AND v = 5) OR (id = 1 AND v = 6)", "s1"},
    };
    CHECK_ALL(rows);
}

static void single_table(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM t WHERE id = 5", "s1"},
        {"SELECT * FROM t WHERE 6 = id", "s2"},
        {"SELECT * FROM t WHERE id = -1", "s3"},
        {"SELECT * FROM t WHERE id = 999999999999999999", "s3"},
        {"SELECT * FROM t WHERE id = -999999999999999999", "s1"},
        {"SELECT * FROM t WHERE id = 1000000000000000001", "s1"},
        {"SELECT * FROM t WHERE id = 9223372036854775807", "s3"},
        {"SELECT * FROM t WHERE id = -9223372036854775807", "s1"},
        {"SELECT * FROM t WHERE id = 9223372036854775808", "any"},
        {"SELECT * FROM t WHERE id = 0000000000000000000000005", "s1"},
        {"SELECT * FROM i WHERE id = 2147483647", "s3"},
        {"SELECT * FROM i WHERE id = 2147483648", "any"},
        {"SELECT * FROM i WHERE id = -2147483648", "s0"},
        {"SELECT * FROM i WHERE id = -2147483649", "any"},
        {"INSERT INTO i (id) VALUES (2147483648)", "refused"},
        {"SELECT * FROM t WHERE id = 1 + 2 * 3", "s3"},
        {"SELECT * FROM t WHERE id = -(2 - 7)", "s1"},
        {"SELECT * FROM t WHERE (5 OPERATOR(pg_catalog.-) 7)::bigint = id", "s2"},
        {"SELECT * FROM t WHERE id = 2147483647 + 1", "refused"},
        {"SELECT * FROM t WHERE id = 2147483647 + 1::bigint", "s0"},
        {"SELECT * FROM t WHERE id = 2147483648 * 2 + 1", "s1"},
        {"SELECT * FROM t WHERE id = 9223372036854775807 + 1", "refused"},
        {"SELECT * FROM t WHERE id = - -9223372036854775808", "refused"},
        {"SELECT * FROM t WHERE id = (4294967296 + 1)::int", "refused"},
        {"SELECT * FROM t WHERE id = 7 / 2", "refused"},
        {"SELECT * FROM t WHERE id = 1.5 + 1", "refused"},
        {"SELECT * FROM t WHERE id = 1 + '2'", "refused"},
        {"SELECT * FROM t WHERE id = 1 + NULL", "refused"},
        {"SELECT * FROM t WHERE id = $1 + 1", "refused"},
        {"SELECT * FROM t WHERE id = 2 * 3::smallint", "refused"},
        {"SELECT * FROM t WHERE id IN (2 - 1, 2 + 3, 9)", "s1"},
        {"SELECT * FROM c2 WHERE (a, b) = (1 + 0, 3 - 1)", "s1"},
        {"SELECT * FROM t WHERE id = '7'", "s3"},
        {"SELECT * FROM t WHERE id = '7'::bigint", "s3"},
        {"SELECT * FROM t WHERE id = bigint '7'", "s3"},
        {"SELECT * FROM t WHERE id = CAST('7' AS int)", "s3"},
        {"SELECT * FROM t WHERE id = 42.0", "s2"},
        {"SELECT * FROM t WHERE id = 1.5", "any"},
        {"SELECT * FROM t WHERE id = 1e1", "s2"},
        {"SELECT * FROM t WHERE id = 99999999999999999999999", "any"},
        {"SELECT * FROM t WHERE id = NULL", "any"},
        {"SELECT * FROM t WHERE id = 5::float8", "refused", "float8"},
        {"SELECT * FROM t WHERE id = 'x'", "refused", "22P02"},
        {"SELECT * FROM t WHERE id::int8 = 5", "s1"},
        {"SELECT * FROM i WHERE id::bigint = 5", "s1"},
        {"SELECT * FROM i WHERE id = 5000000000", "any"},
        {"SELECT * FROM i WHERE id = '5000000000'", "refused", "22003"},
        {"SELECT * FROM i WHERE id = 'range'", "refused", "22P02"},
        {"SELECT * FROM uu WHERE id = 'range'", "refused", "22P02"},
        {"SELECT * FROM dd WHERE d = 'range'", "refused", "0A000"},
        {"SELECT * FROM i WHERE id::float8 = 5", "refused"},
        {"SELECT * FROM i WHERE id::smallint = 5", "refused"},
        {"SELECT * FROM t WHERE id IN (1, 5, 9)", "s1"},
        {"SELECT * FROM t WHERE id IN (1, 2)", "refused", "more than one shard"},
        {"SELECT * FROM t WHERE id IN (1, 3+4)", "refused"},
        {"SELECT * FROM t WHERE id = ANY(ARRAY[1,5])", "s1"},
        {"SELECT * FROM t WHERE id = ANY('{2,6}')", "s2"},
        {"SELECT * FROM t WHERE id = ANY('{2,6,NULL}'::bigint[])", "s2"},
        {"SELECT * FROM t WHERE id = ANY('{}'::bigint[])", "any"},
        {"SELECT * FROM t WHERE id = ANY(ARRAY[1,5]::int[])", "s1"},
        {"SELECT * FROM t WHERE id = ALL(ARRAY[1])", "refused"},
        {"SELECT * FROM t WHERE id IS NOT DISTINCT FROM 5", "s1"},
        {"SELECT * FROM t WHERE id IS NOT DISTINCT FROM NULL", "refused"},
        {"SELECT * FROM t WHERE id = 1 OR id = 5", "s1"},
        {"SELECT * FROM t WHERE id = 1 OR v = 5", "refused"},
        {"SELECT * FROM t WHERE (id = 1 AND v = 2) OR (v = 3 AND id = 5)", "s1"},
        {"SELECT * FROM t WHERE NOT id = 1", "refused"},
        {"SELECT * FROM t WHERE (id = 1) IS TRUE", "s1"},
        {"SELECT * FROM t WHERE (id = 1) IS NOT TRUE", "refused"},
        {"SELECT * FROM t WHERE CASE WHEN id = 1 THEN true END", "refused"},
        {"SELECT * FROM t WHERE coalesce(id, 1) = 1", "refused"},
        {"SELECT * FROM t WHERE id >= 1 AND id <= 1", "refused"},
        {"SELECT * FROM t WHERE id <> 1", "refused"},
        {"SELECT * FROM t WHERE id NOT IN (1)", "refused"},
        {"SELECT * FROM t WHERE id = id", "refused"},
        {"SELECT * FROM t WHERE v = 1", "refused", "id = "},
        {"SELECT * FROM t", "refused", "no condition id"},
        {"SELECT * FROM t LIMIT 10", "refused"},
        {"SELECT count(*) FILTER (WHERE id = 5), count(*) FROM t", "refused"},
        {"SELECT count(*) FROM t GROUP BY id HAVING id = 5", "refused"},
        {"SELECT count(*), max(v) FROM t WHERE id = 5 GROUP BY v HAVING count(*) > 1 ORDER BY 1 LIMIT 3", "s1"},
        {"SELECT row_number() OVER () FROM t WHERE id = 5", "s1"},
        {"SELECT id FROM t WHERE id = 5 FOR UPDATE", "s1"},
        {"TABLE t", "refused"},
        {"SELECT * FROM public.t AS x(a) WHERE x.a = 5", "s1"},
        {"SELECT * FROM t AS x(a) WHERE id = 5", "refused"},
        {"SELECT * FROM t x WHERE t.id = 5", "refused"},
        {"SELECT * FROM ONLY t WHERE id = 5", "s1"},
        {"SELECT * FROM \"t\" WHERE \"id\" = 5", "s1"},
        {"SELECT * FROM other.t WHERE id = 5", "s0"},
        {"SELECT * FROM db.public.t WHERE id = 5", "refused"},
        {"SELECT * FROM nosuch WHERE id = 5", "s0"},
        {"SELECT * FROM t WHERE id = 5 AND random() < 0.5", "s1"},
        {"SELECT pure(v) FROM t WHERE id = 5", "s1"},
        {"SELECT reader(v) FROM t WHERE id = 5", "refused", "IMMUTABLE"},
        {"SELECT nosuch(v) FROM t WHERE id = 5", "refused"},
        {"SELECT * FROM part WHERE id = 5", "s1"},
        {"SELECT * FROM part1 WHERE id = 5", "s1"},
        {"SELECT * FROM part1", "refused"},
        {"SELECT * FROM dom WHERE id = 5", "s1"},
        {"SELECT * FROM dom WHERE id = 5::did", "s1"},
        {"SELECT * FROM t TABLESAMPLE SYSTEM (10) WHERE id = 5", "refused"},
        {"SELECT * FROM t WHERE id OPERATOR(pg_catalog.=) 5", "s1"},
        {"SELECT * FROM t WHERE id = $1 COLLATE \"C\"", "refused"},
        {"SELECT 1+1+id FROM t WHERE (((id))) = ((5))", "s1"},
        {"SELECT nextval('seq'), id FROM t WHERE id = 5", "refused", "home"},
        {"SELECT nextval('seq'), id FROM t WHERE id = 4", "s0"},
        {"SELECT 'id = 5' FROM t -- WHERE id = 5", "refused"},
    };
    CHECK_ALL(rows);
}

static void other_keys(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM w WHERE name = 123", "refused", "int4"},
        {"SELECT * FROM w WHERE name = 'a' AND name COLLATE \"C\" = 'a'", "s2"},
        {"SELECT * FROM w WHERE name::varchar = 'a'", "s2"},
        {"SELECT * FROM w WHERE name::varchar(1) = 'a'", "refused"},
        {"SELECT * FROM w WHERE name = E'a'", "s2"},
        {"SELECT * FROM w WHERE name = 'a'::dtext", "refused"}, /* whose collation may be one where 'A' is equal */
        {"SELECT * FROM w WHERE name = $1::dtext2", "refused"},
        {"SELECT * FROM w WHERE name = ANY ('{a}'::dtext[])", "refused"},
        {"SELECT * FROM w WHERE name IN ('a'::dtext, 'a')", "refused"},
        {"PREPARE p (dtext) AS SELECT * FROM w WHERE name = $1", "refused", "domain over a text"},
        {"PREPARE p (dtext[]) AS SELECT * FROM w WHERE name = ANY ($1)", "refused", "domain over a text"},
        {"SELECT * FROM w WHERE name = $$a$$", "s2"},
        {"SELECT * FROM w WHERE lower(name) = 'a'", "refused"},
        {"SELECT * FROM w WHERE name = 'a'::char(3)", "refused"},
        {"SELECT * FROM w WHERE name = U&'a'", "refused"},
        {"SELECT * FROM w WHERE name = upper('a')", "refused"},
        {"SELECT * FROM vc WHERE name = 'a'", "s2"},
        {"SELECT * FROM bp WHERE code = 'a  '", "s2"},
        {"SELECT * FROM bp WHERE code = 'a'", "s2"},
        {"SELECT * FROM uu WHERE id = '{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}'::uuid AND id = "
         "'a0eebc999c0b4ef8bb6d6bb9bd380a11'",
         "s0"},
        {"SELECT * FROM dd WHERE d = '01/02/2024'", "refused"},
        {"SELECT * FROM dd WHERE d = current_date", "refused"},
        {"SELECT * FROM dd WHERE d = timestamp '2024-01-02 00:00'", "refused"},
        {"SELECT * FROM nn WHERE n = 1.50 AND n = 1.5", "s2"},
        {"SELECT * FROM nn WHERE n = 5", "s1"},
        {"SELECT * FROM c2 WHERE a = 1", "refused", "b = "},
        {"SELECT * FROM c2 WHERE a = 1 AND b = 2", "s1"},
        {"SELECT * FROM c2 WHERE (a, b) = (1, 2)", "s1"},
        {"SELECT * FROM c2 WHERE (b, a) IN ((2, 1))", "s1"},
        {"SELECT * FROM c2 WHERE (a = 1 AND b = 2) OR (a = 1 AND b = 2)", "s1"},
        {"SELECT * FROM c2 WHERE a = 1 AND (b = 2 OR b = 2)", "s1"},
        {"SELECT * FROM c2 WHERE (a, b) < (1, 2)", "refused"},
        {"SELECT * FROM c2 WHERE (a = 1 AND b = 2) OR a = 1", "refused"},
    };
    CHECK_ALL(rows);
}

static void writes(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"INSERT INTO t (id, v) VALUES (5, 1)", "s1"},
        {"INSERT INTO t VALUES (5, 1, 'a', 2)", "s1"},
        {"INSERT INTO t VALUES (1,1),(5,1),(9,1)", "s1"},
        {"INSERT INTO t VALUES (1,1),(2,1)", "refused", "more than one shard"},
        {"INSERT INTO t (v) VALUES (1)", "refused", "id"},
        {"INSERT INTO t (id) VALUES (DEFAULT)", "refused"},
        {"INSERT INTO t DEFAULT VALUES", "refused"},
        {"INSERT INTO t (id) VALUES (NULL)", "refused", "23502"},
        {"INSERT INTO t (id) VALUES (1.5)", "refused"},
        {"INSERT INTO t (id) VALUES (5.0)", "s1"},
        {"INSERT INTO t (id) VALUES ('5')", "s1"},
        {"INSERT INTO i (id) VALUES (5000000000)", "refused", "22003"},
        {"INSERT INTO t (id) VALUES (2+3)", "refused", "no literal"},
        {"INSERT INTO t (id) VALUES (5) RETURNING id", "s1"},
        {"INSERT INTO w VALUES (123)", "refused"},
        {"INSERT INTO nn VALUES (1.504)", "s2"},
        {"INSERT INTO vc VALUES ('a       ')", "s0"},
        {"SELECT * FROM vc WHERE name = 'a    '", "s0"},
        {"INSERT INTO t (id, v) SELECT 5, rid FROM ref", "s1"},
        {"INSERT INTO t (id, v) SELECT id, v FROM t WHERE id = 5", "s1"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t WHERE id = 5", "s1"},
        {"INSERT INTO u (tid, uid) SELECT v, id FROM t WHERE id = 5", "refused"},
        {"INSERT INTO u (tid, uid) SELECT id, v FROM t", "refused"},
        {"INSERT INTO t (id) SELECT 5 UNION ALL SELECT 9", "s1"},
        {"INSERT INTO t (id) SELECT '5'", "s1"},
        {"INSERT INTO t (id, v) VALUES (5, (SELECT max(v) FROM u))", "refused"},
        {"INSERT INTO t (id, v) VALUES (5, (SELECT max(w) FROM u WHERE tid = 9))", "s1"},
        {"INSERT INTO t (id, v) VALUES (5, 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v", "s1"},
        {"INSERT INTO t (id, v) VALUES (5, 1) ON CONFLICT (id) DO UPDATE SET id = 6", "refused"},
        {"INSERT INTO t (id, v) VALUES (5, 1) ON CONFLICT (id) DO UPDATE SET id = excluded.id", "s1"},
        {"INSERT INTO t (id, v) VALUES (5, 1) ON CONFLICT DO NOTHING", "s1"},
        {"INSERT INTO ref VALUES (1)", "refused", "reference"},
        {"INSERT INTO home VALUES (1)", "s0"},
        {"INSERT INTO home SELECT id FROM t WHERE id = 4", "s0"},
        {"INSERT INTO home SELECT id FROM t WHERE id = 5", "refused"},
        {"INSERT INTO trig VALUES (5)", "refused", "triggers"},
        {"INSERT INTO tv VALUES (5)", "refused", "view"},
        {"UPDATE t SET v = 1 WHERE id = 5", "s1"},
        {"UPDATE t SET v = 1", "refused"},
        {"UPDATE t SET id = 5 WHERE id = 5", "s1"},
        {"UPDATE t SET id = 6 WHERE id = 5", "refused", "key"},
        {"UPDATE t SET id = 9 WHERE id = 5", "s1"},
        {"UPDATE t SET id = id WHERE id = 5", "s1"},
        {"UPDATE t SET id = id + 1 WHERE id = 5", "refused"},
        {"UPDATE t SET (id, v) = (5, 1) WHERE id = 5", "refused"},
        {"UPDATE t SET v = u.w FROM u WHERE u.tid = t.id AND t.id = 5", "s1"},
        {"UPDATE t SET v = (SELECT max(w) FROM u WHERE u.tid = t.id) WHERE id = 5", "s1"},
        {"UPDATE t SET v = (SELECT max(w) FROM u) WHERE id = 5", "refused"},
        {"UPDATE ref SET label = 'x'", "refused"},
        {"DELETE FROM t WHERE id = 5", "s1"},
        {"DELETE FROM t USING u WHERE t.id = u.tid AND u.tid = 6", "s2"},
        {"DELETE FROM t WHERE id = 5 RETURNING *", "s1"},
        {"DELETE FROM t WHERE CURRENT OF c", "refused"},
        {"MERGE INTO t USING (VALUES (5, 1)) AS s(id, v) ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v "
         "WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)",
         "s1"},
        {"MERGE INTO t USING (SELECT tid FROM u WHERE tid = 5) s ON t.id = s.tid WHEN MATCHED THEN DELETE", "s1"},
        {"MERGE INTO t USING u ON t.id = u.tid AND u.tid = 5 WHEN MATCHED THEN DELETE", "s1"},
        {"MERGE INTO t USING u ON t.id = u.tid AND u.tid = 5 WHEN NOT MATCHED THEN DO NOTHING", "s1"},
        {"MERGE INTO t USING u ON t.id = u.tid AND u.tid = 5 WHEN NOT MATCHED AND w > 1 THEN DO NOTHING", "refused"},
        {"MERGE INTO t USING ref ON t.id = 5 WHEN MATCHED AND v = 1 THEN UPDATE SET id = 9 WHEN MATCHED THEN UPDATE "
         "SET "
         "id = t.id",
         "refused", "change the key"},
        {"MERGE INTO t USING ref ON t.id = 5 WHEN NOT MATCHED THEN INSERT (id) OVERRIDING USER VALUE VALUES (9)",
         "refused", "OVERRIDING"},
        {"MERGE INTO t USING ref ON t.id = 5 WHEN MATCHED THEN DELETE", "s1"},
        {"MERGE INTO t USING ref ON t.id = 5 WHEN NOT MATCHED THEN INSERT (id) VALUES (6)", "refused"},
        {"MERGE INTO t USING ref ON t.id = 5 WHEN NOT MATCHED THEN INSERT (id) VALUES (9)", "s1"},
        {"MERGE INTO t USING ref ON t.id = 5 WHEN MATCHED THEN UPDATE SET id = 6", "refused"},
        {"WITH x AS (DELETE FROM t WHERE id = 5 RETURNING id, v) INSERT INTO u (tid, uid) SELECT id, v FROM x", "s1"},
        {"WITH x AS (INSERT INTO t (id) VALUES (5) RETURNING id) INSERT INTO u (tid, uid) SELECT id, 1 FROM x", "s1"},
        {"WITH x AS (UPDATE t SET v = 1 RETURNING id) SELECT * FROM x WHERE id = 5", "refused"},
        {"UPDATE tp SET v = 1 WHERE id = 5", "s1"},
        {"UPDATE tp AS x SET v = 1 WHERE x.id = 5 AND x.v = 2", "s1"},
        {"UPDATE tp SET v = 1", "refused", "no condition id"},
        {"UPDATE tp SET id = 6 WHERE id = 5", "refused"},
        {"UPDATE tp SET v = 1 WHERE name = 'a' AND id = 5", "s1"},
        {"DELETE FROM tp WHERE id = 5", "s1"},
        {"INSERT INTO tp VALUES (5, 1)", "s1"},
        {"INSERT INTO tp (v, id) VALUES (1, 5) RETURNING *", "s1"},
        {"INSERT INTO tp (id, v) VALUES (5, 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v", "s1"},
        {"INSERT INTO tp (v) VALUES (5)", "refused"},
        {"WITH w AS (UPDATE tp SET v = 1 WHERE id = 5 RETURNING *) SELECT * FROM w JOIN u ON u.tid = w.id", "s1"},
        {"UPDATE ts SET v = 1 WHERE id = 5", "refused", "is a view"},
        {"UPDATE ti SET v = 1 WHERE id = 5", "refused", "is a view"},
        {"UPDATE tv SET v = 1 WHERE vid = 5", "refused", "is a view"},
        {"UPDATE tg SET n = 1 WHERE id = 5", "refused", "is a view"},
        {"UPDATE tl SET v = 1 WHERE id = 5", "refused", "is a view"},
        {"DELETE FROM t7", "refused", "is a view"},
        {"DELETE FROM tq WHERE id = 5", "s0"},
        {"INSERT INTO c2v VALUES (1)", "refused"},
        {"INSERT INTO c2 VALUES (1)", "refused"},
        {"DELETE FROM c2v WHERE a = 1", "refused"},
        {"DELETE FROM refv WHERE rid = 1", "refused", "reference table"},
        {"DELETE FROM hv", "s0"},
    };
    CHECK_ALL(rows);
}

static void joins_and_subqueries(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM t JOIN u ON u.tid = t.id WHERE t.id = 5", "s1"},
        {"SELECT * FROM t, u WHERE u.tid = t.id AND u.tid = 5", "s1"},
        {"SELECT * FROM t a JOIN t b ON a.id = b.id JOIN u ON u.tid = b.id WHERE a.id = 6", "s2"},
        {"SELECT * FROM t JOIN u ON true WHERE t.id = 5", "refused", "tid"},
        {"SELECT * FROM t JOIN u ON u.uid = t.id WHERE t.id = 5", "refused"},
        {"SELECT * FROM t LEFT JOIN u ON u.tid = t.id WHERE t.id = 5", "s1"},
        {"SELECT * FROM t LEFT JOIN u ON u.tid = t.id AND t.id = 5", "refused"},
        {"SELECT * FROM t LEFT JOIN u ON u.tid = t.id AND u.tid = 5", "refused"},
        {"SELECT * FROM t LEFT JOIN u ON u.tid = t.id WHERE u.tid = 5", "s1"},
        {"SELECT * FROM t LEFT JOIN u ON u.tid = t.id WHERE u.tid IS NOT DISTINCT FROM 5", "refused"},
        {"SELECT * FROM t LEFT JOIN u ON u.tid = t.id JOIN u x ON x.tid = u.tid WHERE x.tid = 5", "s1"},
        {"SELECT * FROM (SELECT t.id, u.tid FROM t LEFT JOIN u ON u.tid = t.id) s WHERE s.tid = 5", "s1"},
        {"SELECT * FROM (SELECT t.id, u.tid FROM t LEFT JOIN u ON u.tid = t.id) s LEFT JOIN t y ON s.tid = y.id AND "
         "y.id = 5",
         "refused"},
        {"SELECT * FROM ref LEFT JOIN (t LEFT JOIN u ON u.tid = t.id) ON ref.rid = u.tid AND u.tid = 5", "s1"},
        {"SELECT * FROM (t LEFT JOIN u ON u.tid = t.id) LEFT JOIN ref ON ref.rid = u.tid AND u.tid = 5", "refused"},
        {"SELECT * FROM u RIGHT JOIN t ON u.tid = t.id WHERE t.id = 5", "s1"},
        {"SELECT * FROM t FULL JOIN u ON u.tid = t.id WHERE t.id = 5", "s1"},
        {"SELECT * FROM t FULL JOIN u ON u.tid = t.id WHERE u.tid = 5", "s1"},
        {"SELECT * FROM t FULL JOIN u ON u.tid = t.id AND t.id = 5 AND u.tid = 5", "refused"},
        {"SELECT * FROM t x FULL JOIN t y USING (id) WHERE id = 5", "s1"},
        {"SELECT * FROM t x JOIN t y USING (id) WHERE id = 5", "s1"},
        {"SELECT * FROM t x LEFT JOIN t y USING (id) WHERE id = 5", "s1"},
        {"SELECT * FROM t x LEFT JOIN t y USING (id) WHERE y.id = 5", "s1"},
        {"SELECT * FROM t x NATURAL JOIN (SELECT id FROM t) y WHERE id = 5", "s1"},
        {"SELECT * FROM (t JOIN u ON u.tid = t.id) AS j WHERE j.id = 5", "s1"},
        {"SELECT * FROM t, LATERAL (SELECT * FROM u WHERE u.tid = t.id) x WHERE t.id = 5", "s1"},
        {"SELECT * FROM t, (SELECT * FROM u WHERE u.tid = id) x WHERE t.id = 5", "refused"},
        {"SELECT * FROM t JOIN ref ON ref.tid = t.id WHERE ref.tid = 5", "s1"},
        {"SELECT * FROM t JOIN ref USING (tid) WHERE t.id = 5", "s1"},
        {"SELECT * FROM t JOIN home ON home.tid = t.id WHERE t.id = 5", "refused", "home"},
        {"SELECT * FROM t JOIN home ON home.tid = t.id WHERE t.id = 8", "s0"},
        {"SELECT * FROM (SELECT id, v FROM t) s WHERE s.id = 5", "s1"},
        {"SELECT * FROM (SELECT id + 0 AS id, v FROM t) s WHERE s.id = 5", "refused"},
        {"SELECT * FROM (SELECT id, v FROM t LIMIT 10) s WHERE s.id = 5", "refused"},
        {"SELECT * FROM (SELECT id, v FROM t OFFSET 1) s WHERE s.id = 5", "refused"},
        {"SELECT * FROM (SELECT DISTINCT id, v FROM t) s WHERE s.id = 5", "s1"},
        {"SELECT * FROM (SELECT DISTINCT ON (v) id, v FROM t) s WHERE s.id = 5", "refused"},
        {"SELECT * FROM (SELECT id, row_number() OVER () FROM t) s WHERE s.id = 5", "refused"},
        {"SELECT * FROM (SELECT id, generate_series(1,2) FROM t) s WHERE s.id = 5", "refused"},
        {"SELECT * FROM (SELECT id, random() FROM t) s WHERE s.id = 5", "refused"},
        {"SELECT * FROM (SELECT id, count(*) FROM t GROUP BY id) s WHERE s.id = 5", "s1"},
        {"SELECT * FROM (SELECT max(id) AS id, count(*) FROM t GROUP BY v) s WHERE s.id = 5", "refused"},
        {"SELECT * FROM (SELECT id, count(*) FROM t GROUP BY ROLLUP (id)) s WHERE s.id = 5", "refused"},
        {"SELECT * FROM (SELECT id FROM t UNION ALL SELECT tid FROM u) s WHERE s.id = 5", "s1"},
        {"SELECT * FROM (SELECT id FROM t EXCEPT SELECT tid FROM u) s WHERE s.id = 5", "s1"},
        {"SELECT id FROM t WHERE id = 1 UNION ALL SELECT id FROM t WHERE id = 2", "refused"},
        {"SELECT id FROM t WHERE id = 1 UNION ALL SELECT id FROM t WHERE id = 5", "s1"},
        {"SELECT id FROM t WHERE id = 1 UNION ALL SELECT id FROM t", "refused"},
        {"SELECT (SELECT count(*) FROM u WHERE tid = t.id) FROM t WHERE id = 5", "s1"},
        {"SELECT (SELECT count(*) FROM u) FROM t WHERE id = 5", "refused"},
        {"SELECT (SELECT v FROM t WHERE id = 1), (SELECT v FROM t WHERE id = 2)", "refused"},
        {"SELECT * FROM t WHERE id = 5 AND EXISTS (SELECT 1 FROM u WHERE u.tid = t.id)", "s1"},
        {"SELECT * FROM t WHERE id = 5 AND NOT EXISTS (SELECT 1 FROM u WHERE u.tid = t.id)", "s1"},
        {"SELECT * FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.tid = t.id AND t.id = 5)", "refused"},
        {"SELECT * FROM t WHERE id = 5 AND id IN (SELECT tid FROM u)", "s1"},
        {"SELECT * FROM t WHERE id IN (SELECT tid FROM u WHERE tid = 5)", "s1"},
        {"SELECT * FROM t WHERE id = 5 AND v IN (SELECT w FROM u)", "refused"},
        {"SELECT * FROM t WHERE id = 5 AND id NOT IN (SELECT tid FROM u)", "refused"},
        {"SELECT * FROM t WHERE id = 5 AND id IN (SELECT tid FROM u LIMIT 1)", "refused"},
        {"SELECT * FROM t WHERE id = (SELECT tid FROM u WHERE tid = 5 LIMIT 1)", "s1"},
        {"SELECT * FROM t WHERE id = (SELECT max(tid) FROM u WHERE tid = 5)", "refused"},
        {"WITH x AS (SELECT * FROM t) SELECT * FROM x WHERE id = 5", "s1"},
        {"WITH x AS (SELECT * FROM t) SELECT * FROM x a JOIN x b USING (id) WHERE id = 5", "refused"},
        {"WITH x AS (SELECT * FROM t WHERE id = 5) SELECT * FROM x a, x b", "s1"},
        {"WITH t AS (SELECT 1 AS id) SELECT * FROM t", "any"},
        {"WITH t AS (SELECT 1 AS id) SELECT * FROM public.t", "refused"},
        {"WITH x AS (SELECT * FROM t WHERE id = 5) SELECT * FROM u WHERE tid IN (SELECT id FROM x)", "s1"},
        {"WITH RECURSIVE r AS (SELECT id, v FROM t WHERE id = 5 UNION ALL SELECT t.id, t.v FROM t JOIN r ON t.id = "
         "r.id AND t.v > r.v) SELECT * FROM r",
         "s1"},
        {"WITH RECURSIVE r AS (SELECT id, tid FROM t WHERE id = 5 UNION ALL SELECT t.id, t.tid FROM t JOIN r ON t.id = "
         "r.tid) SELECT * FROM r",
         "refused"},
        {"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 9) SELECT * FROM r", "any"},
        {"WITH RECURSIVE x AS (SELECT * FROM t), t AS (SELECT 1 AS id) SELECT * FROM x", "refused"},
        {"SELECT * FROM tv WHERE vid = 5", "s1"},
        {"SELECT * FROM tv", "refused"},
        {"SELECT * FROM tg WHERE id = 5", "s1"},
        {"SELECT * FROM tl WHERE id = 5", "refused"},
        {"SELECT * FROM (SELECT *, count(*) OVER (PARTITION BY id) FROM t) x WHERE id = 5", "s1"},
        {"SELECT * FROM (SELECT id, count(*) OVER w FROM t WINDOW v AS (PARTITION BY v, id), w AS (v ORDER BY v)) x "
         "WHERE id = 5",
         "s1"},
        {"SELECT * FROM (SELECT id, sum(v) OVER (w ORDER BY v) FROM t WINDOW w AS (PARTITION BY id)) x WHERE id = 5",
         "s1"},
        {"SELECT * FROM (SELECT id, v FROM t WINDOW w AS (PARTITION BY v)) x WHERE id = 5", "s1"},
        {"SELECT * FROM (SELECT id, count(*) OVER (PARTITION BY v) FROM t) x WHERE id = 5", "refused"},
        {"SELECT * FROM (SELECT id, count(*) OVER () FROM t) x WHERE id = 5", "refused"},
        {"SELECT * FROM (SELECT id, count(*) OVER (PARTITION BY id + 0) FROM t) x WHERE id = 5", "refused"},
        {"SELECT * FROM (SELECT id, count(*) OVER (PARTITION BY id), rank() OVER (ORDER BY v) FROM t) x WHERE id = 5",
         "refused"},
        {"SELECT * FROM (SELECT id FROM t ORDER BY rank() OVER (PARTITION BY v)) x WHERE id = 5", "refused"},
        {"SELECT * FROM (SELECT id, count(*) OVER (PARTITION BY id) FROM t LIMIT 3) x WHERE id = 5", "refused"},
        {"SELECT * FROM (SELECT id, count(*) OVER (PARTITION BY id), random() FROM t) x WHERE id = 5", "refused"},
        {"SELECT * FROM (SELECT id, count(*), count(*) OVER (PARTITION BY id) FROM t GROUP BY id) x WHERE id = 5",
         "s1"},
        {"SELECT * FROM (SELECT v, count(*) OVER (PARTITION BY v) FROM t) x WHERE v = 5", "refused"},
        {"SELECT * FROM (SELECT id::int8 AS k, v FROM i) x WHERE k = 5", "s1"},
        {"SELECT * FROM (SELECT CAST(id AS bigint), v FROM i) x WHERE x.id = 5", "s1"},
        {"SELECT * FROM (SELECT id::int8 AS k, v FROM i) x WHERE k = 5000000000", "any"},
        {"SELECT * FROM (SELECT id::int8 AS k, v FROM i) x WHERE k = '5000000000'", "any"},
        {"SELECT * FROM (SELECT id::smallint AS k, v FROM i) x WHERE k = 5", "refused"},
        {"SELECT * FROM (SELECT id::text AS k, v FROM i) x WHERE k = '5'", "refused"},
        {"SELECT id FROM t WHERE id = 5 UNION SELECT id::bigint FROM i WHERE id = 5", "s1"},
        {"SELECT * FROM (SELECT id FROM t UNION ALL SELECT id::bigint FROM i) x WHERE id = 5", "s1"},
        {"SELECT * FROM t7", "s3"},
        {"SELECT * FROM t7 JOIN u ON u.tid = t7.id", "s3"},
        {"SELECT * FROM tu WHERE id = 5", "s1"},
        {"SELECT * FROM hv", "s0"},
        {"SELECT * FROM (VALUES (1), (5)) v(id) JOIN t ON t.id = v.id", "s1"},
        {"SELECT * FROM (VALUES (1), (2)) v(id) JOIN t ON t.id = v.id", "refused"},
        {"SELECT * FROM generate_series(1,3) g JOIN t ON t.id = g WHERE t.id = 5", "s1"},
        {"SELECT t.* FROM t JOIN (SELECT lower('x') , 5 AS id) x ON x.id = t.id", "s1"},
        {"SELECT * FROM t a JOIN t b ON a.id = b.id AND b.id = (SELECT 5) WHERE a.id = 5", "s1"},
        {"SELECT * FROM t WHERE id = 5 AND (SELECT true FROM u WHERE u.tid = t.id LIMIT 1)", "s1"},
        {"SELECT count(*) OVER () FROM t WHERE id = 5", "s1"},
        {"SELECT * FROM (SELECT id FROM t WHERE id = 5 UNION SELECT rid FROM ref) s", "s1"},
        {"SELECT * FROM t LEFT JOIN (SELECT 5 AS k) s ON t.id = s.k", "refused"},
        {"SELECT * FROM t RIGHT JOIN (SELECT 5 AS k) s ON t.id = s.k", "s1"},
    };
    CHECK_ALL(rows);
}

static void statements_without_keys(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT 1", "any"},
        {"SELECT now(), current_user, random()", "any"},
        {"SELECT * FROM ref", "any"},
        {"SELECT * FROM ref FOR UPDATE", "refused", "reference"},
        {"SELECT * FROM ref JOIN home ON home.hid = ref.rid", "s0"},
        {"SELECT * FROM pg_class", "s0"},
        {"SELECT * FROM information_schema.tables", "s0"},
        {"SELECT nextval('seq')", "s0"},
        {"SELECT pg_advisory_lock(1)", "s0"},
        {"SELECT set_config('a.b', 'c', false)", "any"}, /* SET in other words */
        {"SELECT set_config('a.b', 'c' || 'd', false)", "s0"},
        {"SELECT reader(1)", "refused"},
        {"SELECT nosuch(1)", "s0"},
        {"SELECT query_to_xml('select * from t', true, true, '')", "refused"},
        {"SELECT current_database()", "s0"},
        {"SELECT pg_relation_size('t')", "refused", "one shard's part of t"},
        {"SELECT pg_total_relation_size('public.T'::regclass::oid)", "refused", "mosaic.shard"},
        {"SELECT pg_table_size('tv')", "s0"},
        {"SELECT pg_relation_size('home', 'main')", "s0"},
        {"SELECT pg_size_pretty(pg_table_size('ref'))", "s0"},
        {"SELECT pg_table_size('part1')", "refused", "one shard's part of part"},
        {"SELECT pg_relation_filenode('pg_class')", "s0"},
        {"SELECT pg_indexes_size($1)", "refused", "asked of a sharded table"},
        {"SELECT pg_relation_size('t_pkey')", "refused", "asked of a sharded table"},
        {"SELECT pg_relation_size('\"t\"')", "refused"},
        {"SELECT relname, pg_table_size(oid) FROM pg_class", "refused", "exec --all"},
        {"SELECT pg_stat_get_live_tuples('t'::regclass)", "refused"},
        {"SELECT gin_clean_pending_list('t')", "refused"},
        {"SELECT pg_relation_size('t') FROM t WHERE id = 5", "refused"},
        {"SELECT pg_database_size(current_database())", "refused"},
        {"SELECT * FROM pg_stat_user_tables", "refused", "each sharded table"},
        {"SELECT * FROM pg_stat_sys_tables", "s0"},
        {"SELECT reltuples, relpages FROM pg_class", "s0"},
        {"SELECT * FROM pg_stat_activity", "s0"},
        {"SELECT pg_column_size(v) FROM t WHERE id = 5", "s1"},
        {"SELECT lastval()", "refused", "RETURNING"},
        {"SELECT currval('seq')", "refused", "RETURNING"},
        {"SELECT 't'::regclass", "s0"},
        {"VALUES (1), (2)", "any"},
        {"EXPLAIN SELECT * FROM t WHERE id = 5", "s1"},
        {"EXPLAIN (ANALYZE, COSTS off) UPDATE t SET v = 1 WHERE id = 5", "s1"},
        {"DECLARE c CURSOR FOR SELECT * FROM t WHERE id = 5", "s1"},
        {"COPY (SELECT * FROM t WHERE id = 5) TO STDOUT", "s1"},
        {"COPY t TO STDOUT", "refused"},
        {"COPY ref TO STDOUT", "any"},
        {"COPY t FROM STDIN", "refused", "load"},
        {"COPY home FROM STDIN", "s0"},
        {"LISTEN x", "s0"},
        {"NOTIFY x", "s0"},
        {"LOCK TABLE home", "s0"},
        {"LOCK TABLE t", "refused", "exec --all"},
        {"CREATE TABLE new (id int)", "s0"},
        {"CREATE TABLE new (id int REFERENCES t)", "refused"},
        {"CREATE TABLE other.i (id int)", "s0"},
        {"CREATE TABLE public.i (id int)", "refused"},
        {"CREATE TABLE IF NOT EXISTS u (id int)", "refused"},
        {"CREATE MATERIALIZED VIEW m AS SELECT * FROM t WHERE id = 4", "refused"},
        {"CREATE MATERIALIZED VIEW m AS SELECT * FROM home", "s0"},
        {"ALTER TABLE home RENAME TO u", "refused"},
        {"ALTER TABLE home RENAME TO home2", "s0"},
        {"DROP TABLE home CASCADE", "s0"},
        {"CREATE TEMP TABLE x AS SELECT * FROM t WHERE id = 4", "s0"},
        {"CREATE INDEX ON t (v)", "refused", "exec --all"},
        {"CREATE INDEX ON home (v)", "s0"},
        {"DROP TABLE home", "s0"},
        {"DROP TABLE t", "refused"},
        {"TRUNCATE t", "refused"},
        {"CREATE TYPE x AS ENUM ('a')", "refused", "exec --all"},
        {"CREATE VIEW x AS SELECT * FROM t", "refused"},
        {"CREATE VIEW x AS SELECT * FROM home", "s0"},
        {"VACUUM t", "refused"},
        {"DO 'BEGIN END'", "refused"},
        {"SELEC 1", "refused", "42601"},
        {"SELECT * INTO x FROM t WHERE id = 4", "refused"},
    };
    CHECK_ALL(rows);
}

static void somebody_s_operator_may_be_meant(void **state)
{
    (void)state;
    static const struct schema_operator plus = {"public", "+", 23, 20}, other = {"public", "+", 1700, 20};
    static const struct row hidden[] = {
        {"SELECT * FROM t WHERE id = 1 + 2", "refused"},
        {"SELECT * FROM t WHERE id = 1 OPERATOR(public.+) 2", "refused"},
        {"SELECT * FROM t WHERE id = 1 OPERATOR(pg_catalog.+) 2", "s3"},
        {"SELECT * FROM t WHERE id = 4 - 1", "s3"},
    };
    static const struct row plain[] = {{"SELECT * FROM t WHERE id = 1 + 2", "s3"}};
    world.schema.operators = &plus, world.schema.operator_count = 1;
    CHECK_ALL(hidden);
    world.schema.operators = &other;
    CHECK_ALL(plain);
    world.schema.operators = NULL, world.schema.operator_count = 0;
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

/* What no shard is proved for, where there is a coordinator. `why`: of what it cannot say. */
static void the_coordinator_answers(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM t WHERE id = 5", "s1"},
        {"SELECT * FROM ref", "any"},
        {"SELECT * FROM home", "s0"},
        {"SELECT 1", "any"},
        {"SELECT count(*) FROM t", "coordinator", "no condition id"},
        {"TABLE t", "coordinator"},
        {"SELECT * FROM t WHERE id IN (1, 2)", "coordinator", "more than one shard"},
        {"SELECT * FROM t WHERE id = 'x'", "refused", "22P02"},
        {"SELECT * FROM t, home WHERE t.id = 5", "coordinator", "home"},
        {"SELECT * FROM t JOIN u USING (tid) AS j WHERE j.tid = 1", "coordinator"},
        {"SELECT * FROM t, ref, i, home", "coordinator"},
        {"WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r LIMIT 9) SELECT * FROM r, t", "coordinator"},
        {"WITH RECURSIVE r AS ((SELECT 1 AS n) INTERSECT SELECT n FROM t, r) SELECT * FROM r, t", "coordinator"},
        {"WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1 AS x) SELECT * FROM a, t", "coordinator"},
        {"SELECT (SELECT max(v) FROM i WHERE i.v = t.v) FROM t", "coordinator"},
        {"SELECT v, count(*) OVER (PARTITION BY v) FROM t", "coordinator"},
        {"SELECT v, name, count(*) FROM t GROUP BY GROUPING SETS ((v), (name))", "coordinator"},
        {"SELECT * FROM t, LATERAL (SELECT * FROM u WHERE u.w = t.v) x", "coordinator"},
        {"SELECT id FROM t UNION SELECT hid FROM home EXCEPT SELECT id FROM i", "coordinator"},
        {"SELECT * FROM tv", "coordinator"},
        {"SELECT * FROM hv, tv", "coordinator"},
        {"SELECT random(), now(), clock_timestamp() FROM t", "coordinator"},
        {"SELECT pure(v) FROM t", "coordinator"},
        {"EXPLAIN SELECT * FROM t", "coordinator"},
        {"EXPLAIN (ANALYZE) SELECT * FROM t", "coordinator"},
        {"COPY (SELECT * FROM t) TO STDOUT", "coordinator"},
        {"SELECT * FROM part", "coordinator"},
        {"SELECT * FROM part1", "coordinator"},
        {"SELECT * FROM t UNION ALL SELECT 1, 2, 'a', nextval('seq')", "refused"},
        {"SELECT ctid FROM t", "refused", "system column"},
        {"SELECT x.tableoid::regclass FROM t x", "refused"},
        {"SELECT max(xmin::text) FROM t", "refused", "system column"},
        {"SELECT * FROM t FOR UPDATE", "refused", "no condition id"},
        {"SELECT * FROM t WHERE id IN (SELECT id FROM i FOR SHARE)", "refused", "no condition id"},
        {"SELECT * FROM ONLY t", "refused", "ONLY"},
        {"SELECT * FROM t TABLESAMPLE SYSTEM (10)", "refused", "TABLESAMPLE"},
        {"SELECT * FROM t, ref TABLESAMPLE SYSTEM (10)", "refused", "TABLESAMPLE"},
        {"SELECT relname FROM pg_class, t", "refused", "catalogs"},
        {"SELECT current_database(), count(*) FROM t", "refused", "of itself"},
        {"SELECT pg_column_size(name) FROM t", "refused", "of itself"},
        {"SELECT pg_backend_pid() FROM t", "refused", "of itself"},
        {"SELECT * FROM t WHERE bit_length(name) > v", "refused", "blanks"},
        {"SELECT * FROM bp, vc WHERE bp.code = vc.name", "refused", "trailing blanks"},
        {"SELECT * FROM bp JOIN (SELECT name AS code FROM vc) x USING (code)", "refused", "trailing blanks"},
        {"SELECT * FROM bp WHERE code IN (SELECT name FROM vc)", "refused", "trailing blanks"},
        {"SELECT * FROM bp, w WHERE bp.code = w.name", "coordinator", NULL},
        {"SELECT 't'::regclass, id FROM t", "refused", "of itself"},
        {"SELECT 't'::regclass::oid, id FROM t WHERE id = 5", "refused", "of the home shard"},
        {"SELECT pg_typeof(v)::oid::bigint, id FROM t WHERE id = 5", "refused", "of the home shard"},
        {"SELECT pg_typeof(v), id FROM t WHERE id = 5", "s1"},
        {"SELECT 't'::regclass::oid", "s0"},
        {"SELECT last_value FROM seq, t", "refused", "sequences"},
        {"SELECT * FROM t, nosuch", "refused", "not known"},
        {"SELECT reader(v) FROM t", "refused", "IMMUTABLE"},
        {"SELECT nosuch(v) FROM t", "refused"},
        {"SELECT set_config('a.b', name, true) FROM t", "refused"},
        {"COPY t TO STDOUT", "refused", "COPY (SELECT"},
        {"COPY secured TO STDOUT", "refused", "row security"},
        {"COPY (SELECT * FROM secured) TO STDOUT", "refused", "row security"},
        {"COPY (SELECT * FROM t) TO '/tmp/x'", "refused"},
        {"UPDATE t SET v = 1", "refused", "no condition id"},
        {"DELETE FROM t", "refused"},
        {"INSERT INTO home SELECT id, v, tid FROM t", "refused"},
        {"WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d", "refused"},
        {"EXPLAIN DELETE FROM t", "refused"},
        {"DECLARE c CURSOR FOR SELECT * FROM t", "refused"},
        {"SELECT * INTO x FROM t", "refused"},
        {"CREATE TABLE x AS SELECT * FROM t", "refused"},
        {"LOCK TABLE t", "refused"},
    };
    world.has_coordinator = true;
    CHECK_ALL(rows);
    world.has_coordinator = false;
}

/* Its rows are where they were before, or on their way: none of its shards is asked. */
static void a_table_that_was_never_applied_is_nobody_s(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"SELECT * FROM gone WHERE id = 5", "refused", "has no map"},
        {"SELECT * FROM gone WHERE id = ANY ('{1,2}')", "refused", "has no map"},
        {"SELECT count(*) FROM gone", "refused", "has no map"},
        {"SELECT * FROM t JOIN gone USING (id) WHERE t.id = 5", "refused", "has no map"},
        {"SELECT * FROM t WHERE id IN (SELECT v FROM gone)", "refused", "has no map"},
        {"SELECT rank() OVER (ORDER BY v) FROM gone WHERE id = 5 OR v = 1", "refused", "has no map"},
        {"INSERT INTO gone VALUES (5)", "refused", "has no map"},
        {"INSERT INTO gone VALUES (5), (6)", "refused", "has no map"},
        {"UPDATE gone SET v = 1", "refused", "has no map"},
        {"UPDATE gone SET id = 6 WHERE id = 5", "refused", "has no map"},
        {"DELETE FROM gone WHERE id = 5", "refused", "has no map"},
        {"COPY gone FROM STDIN", "refused", "has no map"},
        {"SELECT * FROM t WHERE id = 5", "s1"},
    };
    world.has_coordinator = world.has_scatter = world.has_writes = true;
    CHECK_ALL(rows);
    world.has_coordinator = world.has_scatter = world.has_writes = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_table),
        cmocka_unit_test(arrays_of_a_key_s_part),
        cmocka_unit_test(untyped_values),
        cmocka_unit_test(other_keys),
        cmocka_unit_test(writes),
        cmocka_unit_test(joins_and_subqueries),
        cmocka_unit_test(statements_without_keys),
        cmocka_unit_test(somebody_s_operator_may_be_meant),
        cmocka_unit_test(the_coordinator_answers),
        cmocka_unit_test(a_table_that_was_never_applied_is_nobody_s),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
