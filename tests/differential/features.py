"""What SQL has, with a statement each, over the tables of themes.py. scripts/features makes docs/features.md of it;
test_corpora.py compares each answer with one PostgreSQL's, and the tier with what the page says.

A section a key; a line each: feature | statement; a line that begins with blanks goes on with the one before. The tier is not
written here: EXPLAIN says it. Behind the feature, in parentheses with an equals sign: the tier at run time, where only then
the type of an expression is known.
"""

SECTIONS = {
    "Tables, joins, subqueries in FROM": """
one key | SELECT name, score FROM users WHERE id = 7
several keys | SELECT name FROM users WHERE id IN (3, 4, 5) ORDER BY id
no key at all | SELECT id, name FROM users WHERE score > 50
a table under two names, by key | SELECT a.id, b.name FROM users a JOIN users b ON b.id = a.id
a join by key | SELECT u.name, o.item FROM users u JOIN orders o ON o.user_id = u.id
a LEFT JOIN by key | SELECT u.id, o.k FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.total > 30
a join by key and more | SELECT u.id, o.k, t.a FROM users u JOIN orders o ON o.user_id = u.id LEFT JOIN t ON t.id = u.id
a FULL JOIN by key | SELECT u.id, o.k FROM users u FULL JOIN orders o ON o.user_id = u.id
a FULL JOIN by key, of which WHERE wants one side | SELECT u.id, o.k FROM users u FULL JOIN orders o ON o.user_id = u.id WHERE
  u.country = 1
a join by another column | SELECT a.id, b.id FROM users a JOIN users b ON a.name = b.name AND a.id < b.id
a join of tables that are split in different ways | SELECT u.id, e.n FROM users u JOIN events e ON e.id = u.id
CROSS JOIN | SELECT count(*) FROM users a CROSS JOIN docs b
a join with a reference table | SELECT u.id, c.name FROM users u JOIN countries c ON c.code = u.country
a LEFT JOIN that keeps a reference table whole | SELECT c.name, u.id FROM countries c LEFT JOIN users u ON u.country = c.code
a reference table alone | SELECT code, name FROM countries
a home table alone | SELECT k, v FROM settings
a home table and all rows of a sharded one | SELECT u.id, s.v FROM users u JOIN settings s ON s.k = u.id
a subquery in FROM | SELECT s.id, s.low FROM (SELECT id, lower(name) AS low FROM users WHERE mood = 'ok') s WHERE s.low > 'a'
a subquery with GROUP BY key | SELECT s.user_id, s.n FROM (SELECT user_id, count(*) AS n FROM orders GROUP BY user_id) s WHERE
  s.n > 1
a subquery with another GROUP BY | SELECT s.mood, s.n FROM (SELECT mood, count(*) AS n FROM users GROUP BY mood) s WHERE s.n > 1
a subquery with LIMIT | SELECT * FROM (SELECT id, score FROM users ORDER BY score DESC NULLS LAST, id LIMIT 5) s WHERE s.score > 10
UNION ALL in FROM | SELECT s.id, s.x FROM (SELECT id, name AS x FROM users UNION ALL SELECT user_id, item FROM orders) s WHERE
  s.x > 'b'
LATERAL by key | SELECT u.id, l.item FROM users u CROSS JOIN LATERAL (SELECT item FROM orders o WHERE o.user_id = u.id ORDER BY k
  LIMIT 1) l
LATERAL by another column | SELECT d.tag, l.id FROM docs d, LATERAL (SELECT id FROM users WHERE id > d.n ORDER BY id LIMIT 2) l
a view | SELECT * FROM v_users WHERE mood = 'sad'
a view that groups by key | SELECT name, total FROM v_spent WHERE n > 1
a view with LIMIT | SELECT * FROM v_top
a partitioned table | SELECT id, what FROM events WHERE day >= '2022-06-01'
one partition | SELECT count(*) FROM events_23
VALUES, joined | SELECT v.x, u.name FROM users u JOIN (VALUES (1), (2), (99)) v(x) ON u.id = v.x
rows of a function beside each row | SELECT u.id, g FROM users u, generate_series(1, u.country) g
rows of a function that all rows are joined to | SELECT g, u.name FROM generate_series(1, 4) g LEFT JOIN users u ON u.id = g
""",
    "WITH": """
WITH, used once | WITH w AS (SELECT id, name FROM users WHERE score > 50) SELECT w.name, o.item FROM w JOIN orders o ON
  o.user_id = w.id
WITH, used twice | WITH w AS (SELECT id, name FROM users) SELECT a.id FROM w a JOIN w b ON a.id = b.id
WITH that aggregates | WITH w AS (SELECT mood, count(*) AS n FROM users GROUP BY mood) SELECT * FROM w WHERE n > 2
WITH RECURSIVE | WITH RECURSIVE r(id, d) AS (SELECT id, 0 FROM users WHERE id = 1 UNION SELECT u.id, d + 1 FROM r JOIN users u
  ON u.id
  = r.id * 2 WHERE d < 6) SELECT * FROM r
""",
    "Conditions and subqueries in expressions": """
any condition | SELECT id FROM users WHERE name LIKE 'a%' OR (score, id) > (10, 3) OR 'b' = ANY (tags) OR data @> '{"n": 1}'
EXISTS by key | SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id)
NOT EXISTS by key | SELECT id FROM users u WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND o.item = 'pen')
key IN (SELECT key) | SELECT id FROM users WHERE id IN (SELECT user_id FROM orders WHERE total > 50)
key NOT IN (SELECT key) | SELECT id FROM users WHERE id NOT IN (SELECT user_id FROM orders)
a scalar subquery by key | SELECT id, (SELECT count(*) FROM orders o WHERE o.user_id = u.id) FROM users u
an ARRAY subquery by key | SELECT id, ARRAY(SELECT item FROM orders o WHERE o.user_id = u.id ORDER BY item) FROM users u
a subquery over all rows | SELECT id FROM users WHERE score > (SELECT avg(score) FROM users)
a subquery of a reference table | SELECT id FROM users WHERE country IN (SELECT code FROM countries WHERE region = 'north')
IN (SELECT …) of another column | SELECT id FROM users WHERE country IN (SELECT n FROM docs)
""",
    "Target list": """
expressions, stars | SELECT u.*, score * 2 AS double, upper(name) FROM users u
a set-returning function | SELECT id, generate_series(1, 2) FROM users
a window with PARTITION BY key | SELECT user_id, k, sum(total) OVER (PARTITION BY user_id ORDER BY k) FROM orders
another window | SELECT id, rank() OVER (PARTITION BY mood ORDER BY score, id) FROM users
another window, beside a star | SELECT *, sum(x) OVER (ORDER BY g, id) FROM t ORDER BY b, id
another window, LIMIT | SELECT id, rank() OVER (ORDER BY score, id) FROM users ORDER BY 2 LIMIT 3
a window over texts by bytes and a named one | SELECT tag, n, row_number() OVER w, lag(body) OVER (w ROWS 2 PRECEDING) FROM docs
  WINDOW w AS (PARTITION BY n % 2 ORDER BY tag COLLATE "C", n, body COLLATE "C")
a window over groups | SELECT mood, rank() OVER (ORDER BY count(*) DESC, mood) FROM users GROUP BY mood
the present time | SELECT id, now() > seen FROM users
a volatile function | SELECT id, random() < 2 FROM users
a setting | SELECT id, current_setting('TimeZone') FROM users
""",
    "Aggregates of all rows": """
count, sum, min, max, bool_and, bool_or, bit_and, bit_or, bit_xor | SELECT count(*), sum(country), min(score),
  max(born), bool_and(id > 0), bit_or(country) FROM users
sum of floats (=4) | SELECT sum(ratio) FROM users WHERE ratio > 0 AND ratio < 100
min and max of texts in the database's collation | SELECT min(name), max(name) FROM users
min and max of texts by bytes | SELECT min(name COLLATE "C"), max(name COLLATE "C") FROM users
min and max of an enum | SELECT min(mood), max(mood) FROM users
FILTER | SELECT count(*) FILTER (WHERE mood = 'ok'), sum(score) FILTER (WHERE id > 9) FROM users
avg | SELECT avg(score), avg(country) FROM users
expressions of aggregates | SELECT max(id) - min(id) + 1, round(avg(score), 2), coalesce(sum(score), 0) FROM users
HAVING without GROUP BY | SELECT sum(score) FROM users HAVING count(*) > 3
count(DISTINCT key) | SELECT count(DISTINCT user_id) FROM orders
count, sum, avg (DISTINCT …) of another column | SELECT count(DISTINCT country), sum(DISTINCT country) FROM users
DISTINCT with FILTER | SELECT count(DISTINCT country) FILTER (WHERE mood = 'ok') FROM users
stddev, variance, corr | SELECT round(stddev(country), 6), round(corr(id, country)::numeric, 6) FROM users
string_agg, array_agg | SELECT string_agg(name, ',' ORDER BY name, id), array_agg(mood ORDER BY id) FROM users
json_agg, jsonb_agg, jsonb_object_agg | SELECT json_agg(born ORDER BY id), jsonb_agg(data ORDER BY id DESC) FILTER (WHERE id < 9),
  jsonb_object_agg(id, name) FROM users
percentile_cont, percentile_disc, mode | SELECT percentile_cont(0.25) WITHIN GROUP (ORDER BY id), percentile_disc(0.5) WITHIN
  GROUP (ORDER BY score), mode() WITHIN GROUP (ORDER BY country) FROM users
rank of a value | SELECT rank(15) WITHIN GROUP (ORDER BY country), dense_rank(15) WITHIN GROUP (ORDER BY country) FROM users
such an aggregate of arrays, of a domain | SELECT array_agg(total ORDER BY total, user_id, k) FROM orders
such an aggregate beside a subquery | SELECT array_agg(id ORDER BY id), (SELECT max(code) FROM countries) FROM users
""",
    "GROUP BY": """
by key | SELECT user_id, count(*), avg(total), string_agg(item, ',' ORDER BY k) FROM orders GROUP BY user_id HAVING count(*) > 1
by key and more | SELECT user_id, item, sum(total) FROM orders GROUP BY user_id, item
by another column | SELECT mood, count(*), sum(score), avg(score), max(born) FROM users GROUP BY mood
by a text in the database's collation | SELECT name, count(*) FROM users GROUP BY name
by a function's result | SELECT extract(year FROM born), count(*) FROM users GROUP BY extract(year FROM born)
by position or label | SELECT country % 2 AS odd, mood, max(score) FROM users GROUP BY odd, 2
a part of what it groups by | SELECT country % 2 + 1, count(*) FROM users GROUP BY country % 2
HAVING | SELECT mood FROM users GROUP BY mood HAVING avg(score) > 90 AND count(*) > 2
ORDER BY an aggregate, LIMIT | SELECT country, count(*) AS n FROM users GROUP BY country ORDER BY n DESC, country LIMIT 3
a column of a reference table | SELECT c.region, count(*) FROM users JOIN countries c ON c.code = country GROUP BY c.region
with count(DISTINCT …) | SELECT mood, count(DISTINCT country) FROM users GROUP BY mood
with string_agg, array_agg | SELECT mood, array_agg(id ORDER BY id) FROM users GROUP BY mood
with a column's modifier | SELECT coalesce(score, score), array_agg(id ORDER BY id) FROM users GROUP BY 1
ROLLUP | SELECT country, mood, count(*) FROM users GROUP BY ROLLUP (country, mood)
CUBE, GROUPING SETS | SELECT country % 3, mood, GROUPING (mood), sum(score) FROM users GROUP BY CUBE (country % 3), GROUPING SETS
  ((mood), ()) HAVING count(*) > 1
""",
    "DISTINCT": """
with the key | SELECT DISTINCT user_id, item FROM orders
without | SELECT DISTINCT country, mood FROM users ORDER BY country DESC, mood LIMIT 5
DISTINCT ON key | SELECT DISTINCT ON (user_id) user_id, item FROM orders ORDER BY user_id, k DESC
DISTINCT ON another column | SELECT DISTINCT ON (mood) mood, id FROM users ORDER BY mood, score DESC NULLS LAST, id
DISTINCT ON a text in the database's collation | SELECT DISTINCT ON (b) * FROM t ORDER BY b, x DESC NULLS LAST, id
DISTINCT ON another column, LIMIT | SELECT DISTINCT ON (mood) mood, id FROM users ORDER BY mood, id LIMIT 2
""",
    "ORDER BY, LIMIT": """
numbers, dates, times, uuid, bytea, booleans | SELECT id FROM users ORDER BY score DESC NULLS LAST, born, seen, id
an enum | SELECT id, mood FROM users ORDER BY mood DESC, id
NaN, infinity, -0 | SELECT id, ratio FROM users ORDER BY ratio, id
texts by bytes | SELECT tag, n FROM docs ORDER BY tag COLLATE "C", n, body COLLATE "C"
texts in the database's collation | SELECT name, id FROM users ORDER BY name, id
texts in the database's collation, LIMIT | SELECT name, id FROM users ORDER BY name, id LIMIT 6
an expression | SELECT id FROM users ORDER BY (id * 7) % 20, id
an expression that is a text (=4) | SELECT id FROM users ORDER BY lower(name), id
arrays, jsonb, ranges, inet (=4) | SELECT id FROM users ORDER BY tags, data, id
USING an operator | SELECT id FROM users ORDER BY id USING >
LIMIT, OFFSET | SELECT id FROM users ORDER BY id LIMIT 5 OFFSET 10
FETCH FIRST | SELECT id FROM users ORDER BY score, id FETCH FIRST 4 ROWS ONLY
FETCH … WITH TIES | SELECT country FROM users ORDER BY country FETCH FIRST 2 ROWS WITH TIES
LIMIT of an expression | SELECT id FROM users ORDER BY id LIMIT 2 + 3
LIMIT of a subquery | SELECT id FROM users ORDER BY id LIMIT (SELECT count(*) FROM countries)
""",
    "UNION, INTERSECT, EXCEPT": """
UNION ALL | SELECT id, name FROM users UNION ALL SELECT user_id, item FROM orders
UNION ALL with ORDER BY | SELECT id, score FROM users UNION ALL SELECT user_id, total FROM orders ORDER BY score DESC, 1 LIMIT 20
UNION ALL with ORDER BY of a text in the database's collation, LIMIT | SELECT name, id FROM users UNION ALL SELECT b, id FROM t
  ORDER BY name, id LIMIT 5
UNION ALL of tables that are split in different ways | SELECT id FROM users UNION ALL SELECT n FROM docs
UNION, with the key | SELECT id, name FROM users UNION SELECT user_id, item FROM orders
UNION, without | SELECT name FROM users UNION SELECT item FROM orders
INTERSECT, EXCEPT, with the key | SELECT id FROM users EXCEPT SELECT user_id FROM orders ORDER BY id DESC
a set operation with its own LIMIT | (SELECT id FROM users UNION ALL SELECT user_id FROM orders ORDER BY 1 LIMIT 3) UNION ALL
  SELECT id FROM t
a SELECT with its own LIMIT | (SELECT id FROM users ORDER BY id LIMIT 3) UNION ALL (SELECT id FROM t ORDER BY id DESC LIMIT 3)
""",
    "What servers tell of themselves": """
the catalogs | SELECT count(*) FROM pg_class WHERE relname = 'users'
the catalogs beside all rows of a sharded table | SELECT count(*) FROM users u JOIN pg_class c ON c.relname = u.name
system columns | SELECT ctid IS NOT NULL, id FROM users
TABLESAMPLE | SELECT id FROM users TABLESAMPLE BERNOULLI (100)
a type's name | SELECT pg_typeof(mood)::text FROM users WHERE id = 1
a type's name, of all rows | SELECT pg_typeof(mood)::text, id FROM users
""",
}
# What is not a SELECT: its answers are compared elsewhere.
OTHERS = {
    "Statements around a SELECT": """
EXPLAIN | EXPLAIN SELECT id FROM users WHERE score > 50
COPY (SELECT …) TO STDOUT | COPY (SELECT id, name FROM users ORDER BY id) TO STDOUT
COPY of a sharded table TO STDOUT | COPY users TO STDOUT
a cursor | DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id
FOR UPDATE, of one key | SELECT id FROM users WHERE id = 7 FOR UPDATE
FOR UPDATE, of all rows | SELECT id FROM users FOR UPDATE
FOR UPDATE with ORDER BY | SELECT id FROM users WHERE score > 50 ORDER BY id FOR NO KEY UPDATE NOWAIT
a queue: some rows that nobody has | SELECT id FROM users WHERE mood = 'ok' FOR UPDATE SKIP LOCKED LIMIT 3
a queue in an order | SELECT id FROM users WHERE mood = 'ok' ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 3
FOR UPDATE of a reference table's rows | SELECT u.id FROM users u JOIN countries c ON c.code = u.country FOR UPDATE
FOR UPDATE OF the sharded table | SELECT u.id FROM users u JOIN countries c ON c.code = u.country FOR UPDATE OF u
SELECT INTO, CREATE TABLE AS | CREATE TABLE copied AS SELECT id FROM users
""",
    "Writes": """
INSERT of one key's rows | INSERT INTO orders VALUES (42, 1, 9, now(), 'pen'), (42, 2, 5, now(), 'ink')
INSERT of several keys' rows | INSERT INTO orders VALUES (42, 1, 9, now(), 'pen'), (43, 1, 5, now(), 'ink')
INSERT … ON CONFLICT | INSERT INTO users (id, name) VALUES (42, 'ann') ON CONFLICT (id) DO UPDATE SET name = excluded.name
INSERT … SELECT of one key | INSERT INTO t (id, b) SELECT id, name FROM users WHERE id = 42
INSERT … SELECT of rows that belong elsewhere | INSERT INTO t (id, b) SELECT id + 1, name FROM users
INSERT … SELECT … ON CONFLICT, RETURNING of such | INSERT INTO t (id, b) SELECT id + 1, name FROM users
  ON CONFLICT (id) DO UPDATE SET b = excluded.b RETURNING id
INSERT … SELECT of all rows | INSERT INTO t (id, b) SELECT id, name FROM users
UPDATE of one key | UPDATE users SET score = score + 1 WHERE id = 42
UPDATE of all rows | UPDATE users SET score = 0
UPDATE of the first row of a queue | UPDATE users SET score = 0 WHERE id = (SELECT id FROM users WHERE mood = 'ok' ORDER BY id
  FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING *
UPDATE of the one row that a queue gives | UPDATE users SET score = 0 WHERE id = (SELECT id FROM users
  WHERE mood = 'ok' FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING *
UPDATE of the key itself | UPDATE users SET id = 43, score = score + 1 WHERE id = 42
UPDATE of the key by its own value | UPDATE users SET id = id + 1 WHERE id = 42
DELETE of one key | DELETE FROM users WHERE id = 42 RETURNING *
DELETE of all rows | DELETE FROM users
MERGE of rows of several keys | MERGE INTO t USING (VALUES (1, 'a'), (2, 'b')) v (id, b) ON t.id = v.id
  WHEN MATCHED THEN UPDATE SET b = v.b WHEN NOT MATCHED THEN INSERT (id, b) VALUES (v.id, v.b)
MERGE of one key | MERGE INTO t USING users u ON t.id = u.id AND u.id = 42 WHEN MATCHED AND t.id = 42 THEN UPDATE SET b = u.name
writes to a home table | UPDATE settings SET v = 'x' WHERE k = 1
writes to a reference table | UPDATE countries SET name = 'x' WHERE code = 1
TRUNCATE | TRUNCATE users
DDL of a sharded table | ALTER TABLE users ADD COLUMN more int
DDL of a home table | ALTER TABLE settings ADD COLUMN further int
""",
}


def rows(sections):
    """(section, feature, tier at run time or None, statement) each."""
    for section, text in sections.items():
        for line in text.strip().replace("\n  ", " ").splitlines():
            feature, statement = line.split(" | ", 1)
            name, _, at_run_time = feature.partition(" (=")
            yield section, name, int(at_run_time[0]) if at_run_time else None, statement
