"""A few hundred SELECTs by theme, and the numbered cases of what other sharding proxies answer wrongly.

A statement with an outermost ORDER BY has a total order. t is the table of the numbered cases.
"""
import random

from fixed import FixedSchema, table

VIEWS = """
CREATE VIEW v_users AS SELECT id, name, mood, score FROM users;
CREATE VIEW v_spent AS SELECT u.id, u.name, count(o.k) AS n, sum(o.total) AS total FROM users u LEFT JOIN orders o ON
  o.user_id = u.id GROUP BY u.id, u.name;
CREATE VIEW v_happy AS SELECT * FROM v_users WHERE mood = 'happy';
CREATE VIEW v_all AS SELECT id, name FROM users UNION ALL SELECT n::bigint, tag FROM docs;
CREATE VIEW v_top AS SELECT id, score FROM users WHERE score IS NOT NULL ORDER BY score DESC, id LIMIT 5;
CREATE VIEW v_rank AS SELECT id, mood, rank() OVER (PARTITION BY mood ORDER BY score NULLS FIRST, id) AS place FROM users;
CREATE VIEW v_region AS SELECT c.region, count(*) AS n, avg(u.score) AS mean FROM users u JOIN countries c ON c.code =
  u.country GROUP BY c.region;
CREATE VIEW v_nested AS SELECT s.id, s.n, r.place FROM v_spent s JOIN v_rank r ON r.id = s.id WHERE s.n > 0;
CREATE VIEW v_series AS SELECT g, g * 2 AS twice FROM generate_series(1, 5) g
"""
EVENTS = """CREATE TABLE events (id int, day date, what text, n int) PARTITION BY RANGE (day);
CREATE TABLE events_22 PARTITION OF events FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
CREATE TABLE events_23 PARTITION OF events FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT;"""
JSONS = ['{"n": 1, "o": {"k": [1, 2]}}', '{"n": 2, "t": "x"}', "[]", "{}", '{"a": [3, 1, 2], "n": -1}']
NAMES = ["a", "B", "Á", "ß", "b", "A", "", "a ", "é", "zoe", "Zoe", "ss", "o'x", "co-op", "coop", "ä"]


def schema():
    made = [
        table("users", "sharded", "id bigint, name text, mood mood, score numeric(12,2), born date, tags text[], data jsonb, "
              "ratio float8, seen timestamptz, country int, label label", "id"),
        table("orders", "sharded", "user_id bigint, k int, total amount, at timestamptz, item text", "user_id"),
        table("events", "sharded", "id int, day date, what text, n int", "id", "hash", EVENTS),
        table("docs", "sharded", "tag text, n int, body text", "tag", "hash"),
        table("pairs", "sharded", "a int, b text, v int, w int[], m mood[]", "a b", "hash"),
        table("t", "sharded", "id bigint, a int, b text, g int, x numeric(12,2)", "id"),
        table("countries", "reference", "code int, name text, region text"),
        table("settings", "home", "k int, v text, more jsonb"),
    ]
    rng = random.Random(7)
    for i in range(1, 41):
        for each in made:
            each.rows += rows(rng, each.name, i)
    return FixedSchema(made, VIEWS)


def rows(rng, name, i):
    """What the i-th turn adds to a table."""
    def some(share, *values):
        return rng.choice(values) if rng.random() > share else None
    if name == "users":
        return [[str(i), some(0.1, *NAMES), some(0.1, "sad", "ok", "happy"), some(0.1, f"{rng.randrange(0, 900) / 4:.2f}"),
                 some(0.1, f"19{rng.randrange(60, 99)}-0{rng.randrange(1, 9)}-11"), some(0.2, "{}", "{a,b}", "{B}", "{b,NULL,a}"),
                 some(0.1, *JSONS), some(0.1, "NaN", "-0", "0", "1.5", "-Infinity", "2.25"),
                 some(0.1, f"2023-0{rng.randrange(1, 9)}-1{rng.randrange(9)} 0{rng.randrange(9)}:00:00+00"),
                 str(rng.randrange(1, 7)), some(0.3, "new", "old")]]
    if name == "orders":
        return [[str(i), str(k), some(0.1, str(rng.randrange(1, 90))), f"2023-0{1 + k}-02 10:00:00+00", rng.choice(["pen", "ink"])]
                for k in range(rng.choice([0, 0, 1, 2, 4]))]
    if name == "events":
        day = f"202{rng.randrange(1, 5)}-06-1{i % 10}"
        return [[str(rng.randrange(1, 20)), day, rng.choice(["login", "buy", "leave"]), str(i)]]
    if name == "docs":
        return [[f"{rng.choice(NAMES)}{i % 7}", some(0.1, str(rng.randrange(12))), some(0.1, "Some text", "other", "%")]]
    if name == "pairs":
        return [[str(i % 6), rng.choice(NAMES), some(0.2, str(rng.randrange(9))), some(0.2, "{1,2}", "{}", "{3,NULL}"),
                 some(0.3, "{sad,ok}", "{}", "{happy}")]]
    if name == "t":
        return [[str(i), some(0.1, str(rng.randrange(6))), rng.choice(NAMES), some(0.1, str(rng.randrange(4))),
                 some(0.1, f"{rng.randrange(99)}.50")]]
    if i > 7:
        return []
    return [[str(i), f"land {i}", rng.choice(["north", "south"])]] if name == "countries" else \
        [[str(i), some(0.2, *NAMES), '{"on": true}']]


# A statement a line; a line that begins with blanks goes on with the one before.
# Of what other proxies answer wrongly, the numbers as they are listed there; what is not a SELECT is tested elsewhere.
PEERS = {
    1: """
SELECT * FROM t ORDER BY id LIMIT 10
SELECT count(*) FROM (SELECT * FROM t LIMIT 10) s""",
    3: """
SELECT * FROM docs WHERE tag = '123'
SELECT * FROM docs WHERE tag = 'a1'
SELECT * FROM t WHERE id IS NULL
SELECT * FROM docs WHERE tag IS NULL OR n = 3""",
    4: """
SELECT * FROM t WHERE id = 1 UNION ALL SELECT * FROM t WHERE id = 2
SELECT * FROM t WHERE id IN (1, 3+4)
SELECT * FROM t WHERE id IN (2, length('abcde'))
SELECT id FROM t WHERE id = 1 UNION SELECT id FROM t WHERE id = 9 ORDER BY 1""",
    5: """
SELECT * FROM t WHERE (id=1) IS NOT TRUE
SELECT a.id, t.id FROM t a LEFT JOIN t ON t.a = a.a AND t.id=5
SELECT count(*) FILTER (WHERE id=5), count(*) FROM t
SELECT id = 5 FROM t
SELECT * FROM t WHERE NOT (id = 5)
SELECT CASE WHEN id = 5 THEN 'five' ELSE 'other' END, count(*) FROM t GROUP BY 1
SELECT * FROM t WHERE id = 5 OR a = 1""",
    6: """
SELECT count(*) OVER () FROM t
SELECT id, row_number() OVER (ORDER BY id) FROM t
SELECT g, id, row_number() OVER (PARTITION BY g ORDER BY id) FROM t
SELECT id, sum(x) OVER (ORDER BY id) FROM t ORDER BY id""",
    7: """
SELECT coalesce(sum(x),0) FROM t
SELECT round(avg(x),2) FROM t
SELECT sum(a)/sum(g) FROM t
SELECT max(id) - min(id) + 1 FROM t
SELECT coalesce(sum(x),0) FROM t WHERE false
SELECT avg(a), avg(x), stddev(a) FROM t
SELECT count(*) + 1 FROM t
SELECT -sum(a) FROM t""",
    8: """
SELECT g, count(*) FROM t GROUP BY g ORDER BY count(*) DESC, g LIMIT 2
SELECT b, count(*) FROM t GROUP BY b ORDER BY 2 DESC, 1 LIMIT 3
SELECT id FROM t ORDER BY id OFFSET 10
SELECT id FROM t ORDER BY id LIMIT 5 OFFSET 10
SELECT a, sum(x) FROM t GROUP BY a ORDER BY sum(x), a LIMIT 2""",
    9: """
SELECT DISTINCT ON (lower(b)) lower(b), id FROM t ORDER BY lower(b), id
SELECT b, id FROM t ORDER BY lower(b), id
SELECT b FROM t ORDER BY id
SELECT b, id FROM t ORDER BY b, id
SELECT b, id FROM t ORDER BY b COLLATE "C" DESC, id
SELECT min(b), max(b) FROM t
SELECT DISTINCT b FROM t ORDER BY b
SELECT id FROM t ORDER BY x DESC NULLS LAST, id DESC
SELECT id FROM t ORDER BY a + g, id""",
    11: """
SELECT * FROM (SELECT id, a FROM t) s WHERE s.a > 2
SELECT * FROM t a, t b WHERE a.a = b.g AND a.id < b.id""",
    12: """
SELECT * FROM tt
SELECT * FROM userss WHERE id = 1
SELECT nope FROM t
SELECT * FROM public.tt ORDER BY 1""",
    13: """
SELECT * FROM t WHERE id >= 1
SELECT * FROM t WHERE id <= 20
SELECT * FROM t WHERE id BETWEEN 3 AND 9
SELECT * FROM t WHERE id > 38 OR id < 2
SELECT * FROM t WHERE id <> 4
SELECT * FROM t WHERE id % 2 = 1""",
    14: """
SELECT id, b FROM t ORDER BY b, id
SELECT id FROM t ORDER BY id DESC LIMIT 3
SELECT b, count(*), sum(x) FROM t GROUP BY b
SELECT id FROM t UNION SELECT id FROM users
SELECT id FROM t EXCEPT SELECT user_id FROM orders
SELECT id FROM t INTERSECT SELECT user_id FROM orders
SELECT count(*) FROM t a JOIN t b ON true
SELECT a.id, b.id FROM t a JOIN t b ON a.g = b.g AND a.id < b.id""",
    15: """
SELECT (SELECT b FROM t WHERE id = 1), (SELECT b FROM t WHERE id = 2)
SELECT '/* mosaic: shard=s1 */ x', count(*) FROM t
SELECT b, '/* mosaic: key=1 */' FROM t WHERE id = 2
SELECT count(*), '/* pgdog_shard: 0 */' FROM t""",
}
THEMES = {
    "joins": """
SELECT u.name, o.item FROM users u JOIN orders o ON o.user_id = u.id
SELECT u.id, o.k FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.total > 30
SELECT u.id, o.k FROM users u RIGHT JOIN orders o ON o.user_id = u.id AND u.mood = 'ok'
SELECT u.id, d.tag FROM users u FULL JOIN docs d ON d.n = u.id
SELECT u.id, c.name FROM users u JOIN countries c ON c.code = u.country ORDER BY u.id
SELECT c.name, u.id FROM countries c LEFT JOIN users u ON u.country = c.code AND u.score > 100
SELECT c.name, s.v FROM countries c JOIN settings s ON s.k = c.code
SELECT u.id, s.v FROM users u LEFT JOIN settings s ON s.k = u.id
SELECT s.k, u.id FROM settings s LEFT JOIN users u ON u.id = s.k
SELECT u.id, e.n FROM users u JOIN events e ON e.id = u.id
SELECT a.id, b.id FROM users a JOIN users b ON a.name = b.name AND a.id < b.id
SELECT count(*) FROM users a CROSS JOIN docs b
SELECT u.id, o.k, e.n FROM users u JOIN orders o ON o.user_id = u.id JOIN events e ON e.id = u.id AND e.n > o.k
SELECT * FROM users u JOIN orders o ON o.user_id = u.id AND u.id = 3
SELECT id, k FROM users JOIN orders ON user_id = id WHERE name = 'a' OR item = 'ink'
SELECT a, b, n FROM pairs NATURAL JOIN (SELECT n AS a, tag AS b, n FROM docs) d
SELECT p.a, q.b FROM pairs p JOIN pairs q USING (a, b) WHERE p.v > 3
SELECT x.id, y.g FROM users x LEFT JOIN (t y JOIN docs d ON d.n = y.a) ON y.id = x.id
SELECT u.id FROM users u JOIN t ON t.id = u.id JOIN countries c ON c.code = t.a WHERE c.region = 'north'
SELECT u.id, l.total FROM users u LEFT JOIN LATERAL (SELECT sum(total) AS total FROM orders o WHERE o.user_id = u.id) l ON true
SELECT u.id, l.item FROM users u CROSS JOIN LATERAL (SELECT item FROM orders o WHERE o.user_id = u.id ORDER BY k DESC LIMIT 1) l
SELECT d.tag, l.id FROM docs d, LATERAL (SELECT id FROM users WHERE id > d.n ORDER BY id LIMIT 2) l
SELECT u.id, g FROM users u, generate_series(1, u.country) g WHERE u.id < 10
SELECT v.x, u.name FROM (VALUES (1), (2), (99)) v(x) LEFT JOIN users u ON u.id = v.x
""",
    "subqueries": """
SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id)
SELECT id FROM users u WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = u.id AND e.what = 'buy')
SELECT id FROM users WHERE id IN (SELECT user_id FROM orders WHERE total > 50)
SELECT id FROM users WHERE country NOT IN (SELECT n FROM docs WHERE n IS NOT NULL)
SELECT id FROM users WHERE country NOT IN (SELECT n FROM docs)
SELECT id FROM users WHERE score > (SELECT avg(score) FROM users)
SELECT id FROM users u WHERE score >= ALL (SELECT score FROM users v WHERE v.mood = u.mood AND v.score IS NOT NULL)
SELECT id FROM users WHERE id = ANY (SELECT n FROM docs)
SELECT id, (SELECT count(*) FROM orders o WHERE o.user_id = u.id) FROM users u
SELECT id, (SELECT max(n) FROM events e WHERE e.id < u.id) FROM users u ORDER BY id
SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM docs), (SELECT v FROM settings WHERE k = 1)
SELECT id FROM users ORDER BY (SELECT count(*) FROM orders o WHERE o.user_id = users.id) DESC, id
SELECT mood, count(*) FROM users GROUP BY mood HAVING count(*) > (SELECT count(*) FROM countries)
SELECT id FROM users ORDER BY id LIMIT (SELECT count(*) FROM countries WHERE region = 'north')
SELECT * FROM (SELECT id, score FROM users ORDER BY score DESC NULLS LAST, id LIMIT 5) s WHERE s.score > 10
SELECT avg(n) FROM (SELECT count(*) AS n FROM orders GROUP BY user_id) s
SELECT ARRAY(SELECT id FROM users WHERE mood = 'sad' ORDER BY id)
SELECT u.id, ARRAY(SELECT item FROM orders o WHERE o.user_id = u.id ORDER BY 1) FROM users u WHERE u.id < 9
SELECT id FROM users WHERE (country, mood) IN (SELECT a, 'ok'::mood FROM pairs)
SELECT id FROM users WHERE (id, country) = (SELECT min(id), min(country) FROM users WHERE country = 1)
SELECT CASE WHEN EXISTS (SELECT 1 FROM docs WHERE n > 10) THEN 'yes' ELSE 'no' END
SELECT coalesce((SELECT name FROM users WHERE id = 999), 'nobody')
SELECT (SELECT name FROM users WHERE id > 38)
SELECT id FROM users u WHERE (SELECT count(*) FROM orders o WHERE o.user_id = u.id) = (SELECT count(*) FROM events e WHERE
  e.id = u.id)
""",
    "with": """
WITH w AS (SELECT mood, count(*) AS n FROM users GROUP BY mood) SELECT * FROM w WHERE n > 2
WITH w AS MATERIALIZED (SELECT id FROM users WHERE score > 50) SELECT count(*) FROM w a JOIN w b ON a.id <= b.id
WITH w AS NOT MATERIALIZED (SELECT id, name FROM users) SELECT a.id FROM w a JOIN w b ON a.name = b.name AND a.id <> b.id
WITH a AS (SELECT user_id, sum(total) AS s FROM orders GROUP BY user_id), b AS (SELECT max(s) AS m FROM a) SELECT user_id FROM
  a, b WHERE s = m
WITH users AS (SELECT 1 AS id) SELECT * FROM users
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT r.n, u.name FROM r LEFT JOIN users u ON
  u.id = r.n
WITH RECURSIVE r(id, d) AS (SELECT id, 0 FROM users WHERE id = 1 UNION SELECT u.id, d + 1 FROM r JOIN users u ON u.id = r.id *
  2 WHERE d < 6) SELECT * FROM r
WITH RECURSIVE r(g, d) AS (SELECT g, 0 FROM t WHERE id = 2 UNION SELECT t.a, d + 1 FROM r JOIN t ON t.g = r.g WHERE d < 3)
  SELECT count(*), max(d) FROM r
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL (SELECT n + 1 FROM r WHERE n < (SELECT count(*) FROM countries))) SELECT sum(n)
  FROM r
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 4) SEARCH DEPTH FIRST BY n SET o SELECT n FROM r JOIN
  users u ON u.id = r.n ORDER BY o
WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n % 3 + 1 FROM r) CYCLE n SET c USING p SELECT r.n, c, count(u.id) FROM r
  LEFT JOIN users u ON u.id = n GROUP BY 1, 2
SELECT * FROM (WITH w AS (SELECT id FROM users WHERE mood = 'ok') SELECT count(*) FROM w) s
WITH w AS (SELECT * FROM v_spent) SELECT name, n FROM w WHERE total > (SELECT avg(total) FROM w)
""",
    "sets": """
SELECT id FROM users UNION SELECT id FROM events
SELECT id FROM users UNION ALL SELECT user_id FROM orders ORDER BY 1 LIMIT 7
SELECT id FROM users INTERSECT SELECT user_id FROM orders
SELECT id FROM users EXCEPT SELECT user_id FROM orders ORDER BY 1 DESC
SELECT name FROM users INTERSECT ALL SELECT b FROM pairs
SELECT name FROM users EXCEPT ALL SELECT b FROM t
(SELECT id FROM users ORDER BY id LIMIT 3) UNION ALL (SELECT id FROM t ORDER BY id DESC LIMIT 3)
SELECT 1, 'a' UNION SELECT country, name FROM users
SELECT code FROM countries EXCEPT SELECT country FROM users WHERE id < 20
SELECT k FROM settings UNION SELECT code FROM countries ORDER BY 1
SELECT mood::text FROM users UNION SELECT what FROM events UNION SELECT region FROM countries
SELECT count(*) FROM (SELECT name FROM users UNION SELECT b FROM pairs) s
SELECT id, NULL AS x FROM users UNION ALL SELECT NULL, n FROM docs
SELECT score FROM users UNION SELECT x FROM t ORDER BY 1 NULLS FIRST
VALUES (1, 'one'), (2, 'two') UNION ALL SELECT code, name FROM countries
SELECT id::int FROM users WHERE id < 4 UNION ALL (SELECT id FROM events EXCEPT SELECT n FROM docs)
""",
    "windows": """
SELECT id, row_number() OVER (ORDER BY score DESC NULLS LAST, id) FROM users
SELECT id, rank() OVER (PARTITION BY mood ORDER BY score), dense_rank() OVER (ORDER BY country) FROM users
SELECT id, sum(score) OVER (PARTITION BY country ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM users
SELECT id, lag(id) OVER w, lead(id, 2, -1::bigint) OVER w FROM users WINDOW w AS (ORDER BY id)
SELECT id, first_value(name) OVER w, last_value(name) OVER w, nth_value(name, 2) OVER w FROM users WINDOW w AS (PARTITION BY
  mood ORDER BY id)
SELECT user_id, k, total, sum(total) OVER (PARTITION BY user_id ORDER BY k) FROM orders
SELECT id, count(*) OVER (PARTITION BY mood), count(*) OVER () FROM users
SELECT id, ntile(4) OVER (ORDER BY id), percent_rank() OVER (ORDER BY id), cume_dist() OVER (ORDER BY country) FROM users
SELECT id, avg(score) OVER (ORDER BY id RANGE BETWEEN 3 PRECEDING AND CURRENT ROW) FROM users
SELECT id, sum(country) OVER (ORDER BY country GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE GROUP) FROM users
SELECT mood, sum(count(*)) OVER (ORDER BY mood) FROM users GROUP BY mood
SELECT mood, rank() OVER (ORDER BY count(*) DESC, mood) FROM users GROUP BY mood
SELECT * FROM (SELECT id, mood, row_number() OVER (PARTITION BY mood ORDER BY score, id) AS r FROM users) s WHERE r <= 2
SELECT id, count(*) FILTER (WHERE score > 50) OVER (PARTITION BY country) FROM users
SELECT DISTINCT count(*) OVER (PARTITION BY what) FROM events
SELECT id, array_agg(country) OVER (ORDER BY id ROWS 2 PRECEDING) FROM users ORDER BY id
SELECT day, n, max(n) OVER (PARTITION BY extract(year FROM day) ORDER BY n) FROM events
SELECT id, string_agg(name, ',') OVER (PARTITION BY mood ORDER BY id) FROM users
SELECT id, row_number() OVER (ORDER BY name, id) FROM users ORDER BY row_number() OVER (ORDER BY name, id) LIMIT 5
""",
    "groups": """
SELECT mood, count(*), sum(score), avg(score), min(name), max(born) FROM users GROUP BY mood
SELECT id, count(*) FROM orders JOIN users ON id = user_id GROUP BY id
SELECT country, mood, count(*) FROM users GROUP BY GROUPING SETS ((country), (mood), ())
SELECT country, mood, count(*), grouping(country, mood) FROM users GROUP BY ROLLUP (country, mood) ORDER BY 1, 2, 4
SELECT what, extract(year FROM day) AS y, sum(n) FROM events GROUP BY CUBE (what, extract(year FROM day))
SELECT mood FROM users GROUP BY mood HAVING avg(score) > 90 AND count(*) > 2
SELECT lower(name), count(*) FROM users GROUP BY lower(name) ORDER BY 2 DESC, 1
SELECT count(DISTINCT country), count(DISTINCT name), sum(DISTINCT country) FROM users
SELECT mood, string_agg(name, '|' ORDER BY name, id), array_agg(id ORDER BY id DESC) FROM users GROUP BY mood
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY score), percentile_disc(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY score),
  mode() WITHIN GROUP (ORDER BY country) FROM users
SELECT bool_and(score > 1), bool_or(mood = 'sad'), every(id > 0), bit_and(country), bit_or(country), bit_xor(country) FROM users
SELECT count(*), count(score), count(*) FILTER (WHERE mood = 'ok'), sum(score) FILTER (WHERE id < 0) FROM users
SELECT stddev(score), variance(score), stddev_pop(country), round(corr(country, id)::numeric, 9),
  round(regr_slope(country, id)::numeric, 9), round(covar_pop(id, country)::numeric, 6) FROM users
SELECT sum(ratio), avg(ratio), min(ratio), max(ratio) FROM users
SELECT sum(ratio), avg(ratio) FROM users WHERE ratio <> 'NaN' AND abs(ratio) < 'Infinity'
SELECT jsonb_agg(id ORDER BY id), jsonb_object_agg(id, name ORDER BY id) FROM users WHERE id < 6
SELECT mood, count(*) FROM users WHERE false GROUP BY mood
SELECT count(*), sum(id), max(name) FROM users WHERE false
SELECT country % 2, mood, max(score) - min(score) FROM users GROUP BY 1, mood
SELECT user_id, item, sum(total) FROM orders GROUP BY user_id, item HAVING sum(total) > 20
SELECT c.region, mood, count(*) FROM users JOIN countries c ON c.code = country GROUP BY c.region, mood ORDER BY 1, 2
SELECT a, b, count(*) FROM pairs GROUP BY a, b
SELECT b, sum(v) FROM pairs GROUP BY b
SELECT 1 FROM users HAVING count(*) > 3
SELECT max(id) FROM users GROUP BY ()
SELECT country, array_agg(DISTINCT mood ORDER BY mood) FROM users GROUP BY country
SELECT rank(20) WITHIN GROUP (ORDER BY id), cume_dist(20) WITHIN GROUP (ORDER BY id) FROM users
SELECT range_agg(int4range(n, n + 1)) FROM events
SELECT mood, (array_agg(name ORDER BY id))[1:2] FROM users GROUP BY mood
""",
    "distinct": """
SELECT DISTINCT mood FROM users
SELECT DISTINCT country, mood FROM users ORDER BY country DESC, mood LIMIT 5
SELECT DISTINCT ON (mood) mood, id FROM users ORDER BY mood, score DESC NULLS LAST, id
SELECT DISTINCT ON (country % 3) country % 3, name FROM users ORDER BY country % 3, id
SELECT DISTINCT name FROM users ORDER BY name
SELECT DISTINCT score IS NULL, mood FROM users
SELECT count(*) FROM (SELECT DISTINCT item FROM orders) s
SELECT DISTINCT id FROM users UNION SELECT DISTINCT n FROM docs
SELECT DISTINCT tags FROM users
SELECT DISTINCT u.mood, c.region FROM users u JOIN countries c ON c.code = u.country
""",
    "order": """
SELECT id, name FROM users ORDER BY name, id
SELECT id, name FROM users ORDER BY name DESC NULLS LAST, id LIMIT 6
SELECT id FROM users ORDER BY ratio, id
SELECT id FROM users ORDER BY ratio DESC, id LIMIT 9 OFFSET 3
SELECT id FROM users ORDER BY mood DESC, born NULLS FIRST, id
SELECT id FROM users ORDER BY score, id FETCH FIRST 4 ROWS ONLY
SELECT country FROM users ORDER BY country FETCH FIRST 2 ROWS WITH TIES
SELECT id FROM users ORDER BY tags, id
SELECT id FROM users ORDER BY data, id
SELECT id FROM users ORDER BY seen DESC, id
SELECT id, score * 2 AS double FROM users ORDER BY double DESC NULLS LAST, id LIMIT 3
SELECT tag FROM docs ORDER BY tag COLLATE "C", n
SELECT tag, n FROM docs ORDER BY lower(tag), tag, n
SELECT name || '!' FROM users ORDER BY 1
SELECT id FROM users ORDER BY id USING >
SELECT * FROM t ORDER BY id LIMIT 0
SELECT id FROM t ORDER BY id OFFSET 38
SELECT id FROM t ORDER BY id LIMIT NULL
SELECT what, n FROM events ORDER BY what, n DESC LIMIT 5
SELECT a, b, v FROM pairs ORDER BY b, a, v LIMIT 10
SELECT name FROM users WHERE id < 20 ORDER BY (id * 7) % 20
""",
    "views": """
SELECT * FROM v_users
SELECT * FROM v_users WHERE id = 4
SELECT * FROM v_spent ORDER BY id
SELECT * FROM v_spent WHERE n > 1
SELECT count(*) FROM v_happy
SELECT * FROM v_all WHERE name > 'b'
SELECT * FROM v_top ORDER BY score DESC, id
SELECT * FROM v_rank WHERE place <= 2
SELECT * FROM v_region
SELECT * FROM v_nested
SELECT h.id, t.score FROM v_happy h JOIN v_top t ON t.id = h.id
SELECT r.mood, max(r.place) FROM v_rank r GROUP BY r.mood
SELECT s.g, u.name FROM v_series s LEFT JOIN v_users u ON u.id = s.twice
SELECT id FROM v_users EXCEPT SELECT id FROM v_happy
SELECT (SELECT count(*) FROM v_all), (SELECT sum(n) FROM v_spent)
SELECT v.* FROM v_spent v WHERE v.total = (SELECT max(total) FROM v_spent)
SELECT u FROM v_users u WHERE u.id = 7
""",
    "partitions": """
SELECT * FROM events ORDER BY n
SELECT count(*) FROM events WHERE day >= '2022-06-01' AND day < '2023-06-15'
SELECT * FROM events_22
SELECT count(*) FROM events_23 WHERE id = 5
SELECT e.id FROM events_22 e JOIN events_23 f ON f.id = e.id
SELECT what, count(*) FROM events_rest GROUP BY what
SELECT day, sum(n) FROM events WHERE what <> 'buy' GROUP BY day ORDER BY day
SELECT u.name, e.what FROM users u LEFT JOIN events e ON e.id = u.id AND e.day < '2022-12-31'
SELECT max(day) FROM events WHERE id = 7
SELECT id FROM events_22 INTERSECT SELECT id FROM events_rest
SELECT * FROM events WHERE day = '2022-06-12'
SELECT extract(year FROM day), count(DISTINCT id) FROM events GROUP BY 1
""",
    "enums and domains": """
SELECT mood, id FROM users WHERE mood > 'sad' ORDER BY mood, id
SELECT max(mood), min(mood) FROM users
SELECT mood::text FROM users WHERE mood::text LIKE '%a%'
SELECT id FROM users WHERE mood = ANY ('{sad,happy}'::mood[])
SELECT enum_range(NULL::mood), enum_first(NULL::mood)
SELECT a, m FROM pairs WHERE 'ok' = ANY (m)
SELECT a, unnest(m) FROM pairs
SELECT count(*) FROM users a JOIN users b ON a.mood = b.mood
SELECT CASE mood WHEN 'sad' THEN 0 WHEN 'ok' THEN 1 ELSE 2 END, count(*) FROM users GROUP BY 1
SELECT id, coalesce(mood, 'ok') FROM users
SELECT total, total + 1 FROM orders WHERE total > 50
SELECT sum(total), avg(total), max(total) FROM orders
SELECT label, count(*) FROM users GROUP BY label
SELECT id FROM users WHERE label = 'new'
SELECT total::amount, label::label FROM orders JOIN users ON id = user_id
SELECT 'sad'::mood < 'ok'::mood, 5::amount, 'x'::label
SELECT pg_typeof(mood)::text, pg_typeof(label)::text, pg_typeof(score)::text FROM users LIMIT 1
SELECT array_agg(mood ORDER BY id) FROM users WHERE id < 8
SELECT id FROM users WHERE mood IN (SELECT unnest(m) FROM pairs)
SELECT 'grumpy'::mood FROM users
""",
    "arrays": """
SELECT id, tags FROM users WHERE tags @> '{a}'
SELECT id FROM users WHERE 'b' = ANY (tags)
SELECT id FROM users WHERE tags && ARRAY['B', 'x']
SELECT unnest(tags), count(*) FROM users GROUP BY 1
SELECT id, t.x, t.o FROM users, unnest(tags) WITH ORDINALITY AS t(x, o)
SELECT id, tags[1], tags[2], cardinality(tags), array_length(tags, 1) FROM users
SELECT id, tags || 'z', array_remove(tags, 'a'), array_position(tags, 'b') FROM users
SELECT array_agg(tags ORDER BY id) FROM users WHERE tags = '{a,b}'
SELECT id, array_to_string(tags, '-', '?') FROM users
SELECT a, w, w[1:1], (SELECT sum(x) FROM unnest(w) x) FROM pairs
SELECT id FROM users WHERE id = ANY ('{1,5,9}')
SELECT id FROM users WHERE id <> ALL (ARRAY[1, 2, 3]::bigint[])
SELECT ARRAY[id, country] FROM users WHERE id < 4
SELECT ARRAY[[1, 2], [3, id::int]] FROM users WHERE id < 3
SELECT tags, count(*) FROM users GROUP BY tags ORDER BY tags
SELECT string_to_array(name, 'o') FROM users
""",
    "jsonb": """
SELECT id, data -> 'n', data ->> 't' FROM users
SELECT id FROM users WHERE data @> '{"n": 1}'
SELECT id FROM users WHERE data ? 'a'
SELECT id, data #>> '{o,k,0}' FROM users
SELECT jsonb_typeof(data), count(*) FROM users GROUP BY 1
SELECT id, e FROM users, jsonb_array_elements(data -> 'a') e
SELECT id, k, v FROM users, jsonb_each(CASE WHEN jsonb_typeof(data) = 'object' THEN data END) AS x(k, v)
SELECT data, count(*) FROM users GROUP BY data
SELECT sum((data ->> 'n')::int) FROM users
SELECT jsonb_build_object('id', id, 'tags', tags) FROM users
SELECT to_jsonb(u) FROM (SELECT id, name FROM users) u
SELECT row_to_json(u) FROM (SELECT id, mood FROM users WHERE id < 5) u
SELECT jsonb_path_query_array(data, '$.a[*] ? (@ > 1)') FROM users
SELECT id FROM users WHERE data @? '$.o.k[*] ? (@ == 2)'
SELECT jsonb_agg(data ORDER BY id) FROM users WHERE data <> '{}'
SELECT jsonb_object_agg(name, id ORDER BY id) FROM users WHERE name IS NOT NULL
SELECT DISTINCT data -> 'n' FROM users
SELECT x.n, count(*) FROM users, jsonb_to_record(CASE WHEN jsonb_typeof(data) = 'object' THEN data END) AS x(n int) GROUP BY x.n
SELECT jsonb_set(data, '{z}', '1') FROM users WHERE jsonb_typeof(data) = 'object'
SELECT more ->> 'on', count(*) FROM settings GROUP BY 1
""",
    "text": """
SELECT id FROM users WHERE name LIKE 'a%'
SELECT id FROM users WHERE name ILIKE '%OP'
SELECT id FROM users WHERE name ~* '^z'
SELECT id FROM users WHERE name = 'ß'
SELECT id FROM users WHERE name < 'b'
SELECT id FROM users WHERE name BETWEEN 'A' AND 'c'
SELECT id FROM users WHERE lower(name) = 'á'
SELECT upper(name), lower(name), initcap(name), length(name), reverse(name), md5(name) FROM users
SELECT name || '-' || mood, concat(name, NULL, id), concat_ws(',', name, id), format('%I %L', name, name) FROM users
SELECT substring(name FROM 1 FOR 2), left(name, -1), right(name, 1), lpad(name, 5, '.'), trim(name) FROM users
SELECT regexp_replace(name, '[aeiou]', '_', 'g'), split_part(name, 'o', 2), translate(name, 'ao', 'xy') FROM users
SELECT min(name), max(name), min(name COLLATE "C"), max(name COLLATE "C") FROM users
SELECT name, count(*) FROM users GROUP BY name ORDER BY name
SELECT tag FROM docs WHERE tag > 'a' ORDER BY tag, n
SELECT * FROM docs WHERE tag = 'B1'
SELECT body, string_agg(tag, ' ' ORDER BY tag) FROM docs GROUP BY body
SELECT u.id, d.n FROM users u JOIN docs d ON d.tag LIKE u.name || '%' WHERE u.name <> ''
SELECT name COLLATE "C" < 'b' COLLATE "C", count(*) FROM users GROUP BY 1
SELECT ascii(name), chr(64 + id::int), repeat('ab', 2), quote_literal(name), quote_nullable(name), to_hex(id) FROM users
SELECT id FROM users WHERE name SIMILAR TO '(a|b|B)%'
SELECT id FROM users WHERE (name, id) > ('b', 10) ORDER BY name, id
SELECT encode(convert_to(name, 'UTF8'), 'base64'), octet_length(name) FROM users
SELECT position('o' IN name), strpos(name, 'e'), starts_with(name, 'Z') FROM users
SELECT normalize(name, NFD) = name FROM users
""",
    "dates": """
SELECT id, born, born + 1, born - date '1970-01-01', age(date '2000-01-01', born) FROM users
SELECT extract(year FROM born), count(*) FROM users GROUP BY 1
SELECT date_trunc('month', seen), count(*) FROM users GROUP BY 1 ORDER BY 1
SELECT id FROM users WHERE born BETWEEN '1970-01-01' AND '1985-12-31'
SELECT id FROM users WHERE seen > '2023-03-01 00:00:00+02'
SELECT seen AT TIME ZONE 'America/New_York', seen::date, to_char(seen, 'YYYY-MM-DD HH24:MI TZ') FROM users
SELECT max(seen) - min(seen), min(born), max(born) FROM users
SELECT id, make_date(2020, country, 3), make_interval(days => country) FROM users
SELECT g::date, count(u.id) FROM generate_series(timestamp '2023-01-01', '2023-08-01', interval '1 month') g LEFT JOIN users u
  ON date_trunc('month', u.seen AT TIME ZONE 'UTC') = g GROUP BY g ORDER BY g
SELECT id FROM users WHERE (born, born + 400) OVERLAPS (date '1975-01-01', date '1980-01-01')
SELECT justify_days(interval '40 day' * country), extract(epoch FROM seen) FROM users
SELECT date_part('dow', born), to_date('2020 02', 'YYYY MM') FROM users
SELECT sum(seen - timestamptz '2023-01-01'), avg(born - date '1960-01-01') FROM users
SELECT now() = now(), current_date = now()::date, count(*) FROM users
SELECT at, lead(at) OVER (ORDER BY at, user_id, k) - at FROM orders
""",
    "numbers": """
SELECT score, score * 2, score / 3, round(score), trunc(score, 1), ceil(score), floor(score), sign(score) FROM users
SELECT ratio, ratio + 1, ratio = 'NaN', abs(ratio), -ratio FROM users
SELECT id % 7, id / 3, id << 1, id & 5, id # 3, ~id FROM users
SELECT sum(id), avg(id), sum(country), sum(score), sum(country::smallint), sum(id::numeric) FROM users
SELECT ratio + 0, count(*) FROM users GROUP BY ratio + 0 ORDER BY 1
SELECT width_bucket(score, 0, 250, 5), count(*) FROM users GROUP BY 1 ORDER BY 1
SELECT greatest(score, 50), least(score, id, 20), coalesce(score, -1), nullif(country, 3) FROM users
SELECT power(country, 2), sqrt(country), exp(0), ln(country), mod(country, 4), gcd(country, 12), factorial(country) FROM users
SELECT 10000000000 * country, country::numeric / 7, country / 2.0, 1e3 * country FROM users
SELECT random() >= 0, pi() > 3 FROM users
SELECT id FROM users WHERE score = 25 OR score IN (1.5, 2.25)
SELECT id FROM users WHERE ratio > 1
SELECT id FROM users WHERE ratio >= 'NaN'
SELECT id FROM users WHERE id = 3.0
SELECT id FROM users WHERE id = 3.5
SELECT id FROM users WHERE id = '3'
SELECT id::text, id::numeric(12,1), country::float8, score::int, (score > 9)::int FROM users
""",
    "nulls and rows": """
SELECT id FROM users WHERE name IS NULL OR score IS NULL
SELECT id FROM users WHERE name = NULL
SELECT id FROM users WHERE name IS DISTINCT FROM 'a'
SELECT count(*) FROM users WHERE NOT (mood = 'ok')
SELECT count(*) FROM users WHERE mood <> 'ok' OR mood IS NULL
SELECT id FROM users WHERE (name, mood) IS NULL
SELECT id FROM users WHERE (country, id) < (3, 20)
SELECT id FROM users WHERE ROW(country, mood) = ROW(2, 'ok')
SELECT (u.id, u.name) FROM users u WHERE u.id < 5
SELECT u FROM (SELECT id, name FROM users WHERE id < 5) u
SELECT u.* FROM users u WHERE u.id = 6
SELECT count(u), count(*) FROM users u
SELECT o IS NULL, count(*) FROM users u LEFT JOIN orders o ON o.user_id = u.id GROUP BY 1
SELECT num_nulls(name, mood, score), count(*) FROM users GROUP BY 1
SELECT id FROM users WHERE score IS NOT NULL IS TRUE AND (mood = 'ok') IS NOT FALSE
SELECT NULL, NULL::int, count(NULL) FROM users
SELECT id FROM users WHERE CASE WHEN mood IS NULL THEN true ELSE score > 100 END
""",
    "rows from nothing": """
VALUES (1, 'a'), (2, NULL)
SELECT * FROM (VALUES (1, 'x'), (2, 'y')) v(a, b) JOIN t ON t.id = v.a
SELECT generate_series(1, 3), count(*) FROM users
SELECT id, generate_series(1, 2) FROM users WHERE id < 4
SELECT * FROM generate_series(1, 4) WITH ORDINALITY
SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY['a', 'b', 'c'])) AS r(a, b)
SELECT u.id, s.n FROM users u, LATERAL (SELECT generate_series(1, 2) AS n) s WHERE u.id < 3
SELECT 1
SELECT 1 WHERE EXISTS (SELECT 1 FROM users WHERE id = 5)
SELECT FROM users
SELECT count(*) FROM (SELECT FROM users) s
TABLE countries
TABLE t
SELECT regexp_split_to_table('a b c', ' '), max(id) FROM users
SELECT string_to_table(name, 'o') FROM users
SELECT current_database() IS NOT NULL, current_setting('server_version_num')::int > 1, count(*) FROM users
""",
    "errors": """
SELECT 1 / 0 FROM users
SELECT 'x'::int FROM t
SELECT nope FROM users
SELECT * FROM no_table
SELECT id FROM users GROUP BY name
SELECT sum(name) FROM users
SELECT no_function(id) FROM users
SELECT id, id FROM users ORDER BY 3
SELECT * FROM users WHERE mood = 'grumpy'
SELECT * FROM users u JOIN orders o ON o.nope = u.id
SELECT (SELECT id, name FROM users)
SELECT id FROM users UNION SELECT name FROM users
SELECT id FROM users WHERE sum(id) > 1
SELEC id FROM users
SELECT id FROM users WHERE
SELECT id FROM users, orders WHERE k = id AND user_id = t.id
SELECT row_number() FROM users
SELECT DISTINCT ON (mood) id FROM users ORDER BY id
SELECT name FROM users ORDER BY name COLLATE "nope"
SELECT ARRAY[1, 'x'] FROM users
SELECT '2020-13-01'::date FROM users
""",
}


def lines(texts):
    return texts.strip().replace("\n  ", " ").splitlines()


def statements():
    """(theme, text) of all."""
    for number, texts in PEERS.items():
        yield from ((f"peers {number}", text) for text in lines(texts))
    for theme, texts in THEMES.items():
        yield from ((theme, text) for text in lines(texts))
