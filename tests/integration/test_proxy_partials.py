"""Tier 3: over what the shards give an expression means what it meant over the tables' own columns, as to types, domains,
collations and the order of rows; what cannot be had so is left to the coordinator."""
import contextlib

import psycopg2
import pytest
from conftest import superuser
from proxies import STANDIN, ask, make_one, start_proxy

LAB_SHARDS = 3
ROWS = 30
SCHEMA = """
CREATE DOMAIN amount AS int;
CREATE FUNCTION kind(amount) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'amount'$$;
CREATE FUNCTION kind(int) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'int'$$;
CREATE FUNCTION priced(int) RETURNS amount LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2';
CREATE TYPE labelled AS (label text COLLATE "en-x-icu");
CREATE TABLE users (id bigint PRIMARY KEY, country int, c text COLLATE "C", b text, book isbn, total amount,
    tags text[] COLLATE "en-x-icu", mark labelled);
CREATE TABLE rates (country numeric PRIMARY KEY, name text);
CREATE TABLE countries (code int PRIMARY KEY, name text, region text, weight numeric, f float8);
CREATE VIEW firsts AS SELECT DISTINCT ON (region) region, name FROM countries;
"""
TABLES = (" - {name: users, key: id, function: modulo}\n - {name: rates, kind: reference}\n"
          " - {name: countries, kind: reference}\n")
COUNTRIES = ("INSERT INTO countries SELECT i, 'n' || i, CASE i % 2 WHEN 0 THEN 'north' ELSE 'south' END, i, i / 3.0"
             " FROM generate_series(1, 9) i")
RATES = "INSERT INTO rates SELECT i, 'r' || i FROM generate_series(1, 9) i"
USERS = [f"INSERT INTO users VALUES ({i}, {i % 5 + 1}, 'c{i % 4}', 'b{i % 3}', '97808044291{i % 7}0!'::isbn, {i % 6},"
         f" '{{{'aBcD'[i % 4]}}}', '({'aBcD'[i % 4]})')"
         for i in range(1, ROWS + 1)]

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy combines"), pytest.mark.light]


def extend(lab, database=None):
    for shard in range(LAB_SHARDS if database is None else 1):
        with superuser(lab, shard, database) as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS isn SCHEMA public")


@pytest.fixture(scope="module")
def oracle(lab):
    with contextlib.closing(make_one(lab, "SELECT 1")) as connection:
        extend(lab, "one")
        ask(connection, "SET client_min_messages = error;" + SCHEMA + ";".join([*USERS, RATES, COUNTRIES]))
        yield connection


@pytest.fixture(scope="module")
def proxy(lab, oracle):
    extend(lab)
    lab.everywhere(SCHEMA)
    lab.add_tables(TABLES)
    lab.run("apply", "--yes", check=True)
    lab.everywhere(f"{RATES}; {COUNTRIES}")
    for shard in range(LAB_SHARDS):
        lab.query(shard, ";".join(row for i, row in enumerate(USERS, 1) if i % LAB_SHARDS == shard))
    with start_proxy(lab) as proxy:
        yield proxy


def tier(session, sql):
    return session(f"EXPLAIN (MOSAIC) {sql}")[0][0][:6]


def outcome(run, sql):
    """Rows, or the error's code."""
    try:
        return repr(sorted(run(sql), key=repr))
    except psycopg2.Error as error:
        return error.pgcode


JOINED = "FROM users u LEFT JOIN rates r USING (country)"


@pytest.mark.parametrize("sql, expected", [
    # USING makes one column of an integer and a numeric.
    (f"SELECT country / 2 AS half, count(*) {JOINED} GROUP BY u.country", "tier 4"),
    (f"SELECT country / 2 AS half, count(*) {JOINED} GROUP BY country", "tier 4"),
    (f"SELECT u.country, count(*) {JOINED} GROUP BY country", "0A000"),  # 42803, which the coordinator may say wrongly
    (f"SELECT country, count(*) {JOINED} GROUP BY country", "tier 4"),
    (f"SELECT r.name, count(*), max(u.id) {JOINED} GROUP BY r.name", "tier 3"),
    # A column's collation is no explicit one: another that is said wins.
    ("SELECT c < b, count(*) FROM users GROUP BY c, b", "tier 3"),
    ("SELECT id % 2 FROM users GROUP BY 1 HAVING max(c) < max(b)", "tier 3"),
    ("SELECT id % 2 FROM users GROUP BY 1 HAVING max(c) < 'c3' COLLATE \"C.utf8\"", "tier 3"),
    ("SELECT c, count(*) FROM users GROUP BY c HAVING c < 'c3' COLLATE \"C.utf8\"", "tier 3"),
    ("SELECT c, count(DISTINCT b), min(c) FROM users GROUP BY c ORDER BY c, min(c)", "tier 3"),
    # An element's, or a field's, which an expression takes on.
    ("SELECT tags[1] || '' AS t, count(*) FROM users GROUP BY 1 ORDER BY 1 LIMIT 1", "tier 3"),
    ("SELECT max(tags[1]), max((mark).label), avg(country) FROM users", "tier 3"),
    ("SELECT (mark).label || '' AS l, count(*) FROM users GROUP BY 1 ORDER BY 1 LIMIT 1", "tier 3"),
    # A domain.
    ("SELECT kind(total), count(*) FROM users GROUP BY total", "tier 4"),
    ("SELECT total, count(*), sum(id) FROM users GROUP BY total", "tier 3"),
    ("SELECT u.total, count(*) FROM users u GROUP BY total", "tier 3"),
    ("SELECT kind(priced(country)), count(*) FROM users GROUP BY priced(country)", "tier 3"),
    ("SELECT priced(country), count(*) FROM users GROUP BY priced(country)", "tier 3"),
    # An output behind a star, by its label and by its place.
    ("SELECT r.*, u.id % 2 AS m, count(*) FROM users u JOIN rates r ON r.country = u.id % 4 GROUP BY r.country, r.name, m",
     "tier 3"),
    ("SELECT r.*, count(*) FROM users u JOIN rates r ON r.country = u.id % 4 GROUP BY 2, 1", "tier 3"),
    # ORDER BY names what PostgreSQL calls the CASE.
    ("SELECT CASE WHEN country = 1 THEN 9 ELSE country END, count(*) FROM users GROUP BY country ORDER BY country LIMIT 2",
     "tier 3"),
    # What has no type gets that of the other side.
    ("SELECT id FROM users WHERE id::numeric IN ('5.0', '8')", "tier 1"),
    ("SELECT id FROM (SELECT country AS id FROM users UNION ALL SELECT id FROM users) u WHERE id = '5000000000'", "tier 4"),
    # A type that nothing sends in binary: it is seen when the shards describe it, and then tier 4 answers.
    ("SELECT * FROM users ORDER BY b, id", "tier 3"),
    ("SELECT book, count(*) FROM users GROUP BY book", "tier 3"),
    ("SELECT id, b FROM users ORDER BY b, id LIMIT 4", "tier 3"),
])
def test_the_answer_is_one_postgresql_s(session, oracle, sql, expected):
    if expected[:4] != "tier":
        assert outcome(session, sql) == expected
        return
    assert outcome(session, sql) == outcome(lambda text: ask(oracle, text), sql)
    assert tier(session, sql) == expected


REGIONS = "SELECT d.name, count(*) FROM users u, ({}) d WHERE d.region = 'north' GROUP BY d.name"
COUNTED = "SELECT count(*), max(u.id) FROM users u, ({}) d WHERE d.region = 'north' AND d.name > ''"


@pytest.mark.parametrize("subquery", [
    "SELECT DISTINCT ON (region) region, name FROM countries",
    "SELECT region, name FROM (SELECT region, name, row_number() OVER () AS n FROM countries) c WHERE n = 4",
    "SELECT region, string_agg(name, ',') AS name FROM countries GROUP BY region",
    "SELECT region, (array_agg(name))[1] AS name FROM countries GROUP BY region",
    "SELECT 'north' AS region, (ARRAY(SELECT name FROM countries))[2] AS name",
    "SELECT 'north' AS region, sum(f)::text AS name FROM countries",
    "SELECT 'north' AS region, name FROM countries LIMIT 1",
    "SELECT * FROM firsts",
    "SELECT r.region, (SELECT c.name FROM countries c WHERE c.region = r.region LIMIT 1) AS name"
    " FROM (SELECT DISTINCT region FROM countries) r",
])
def test_each_copy_of_a_reference_table_has_an_order_of_its_own(lab, session, oracle, subquery):
    """One PostgreSQL picks once for all keys."""
    lab.query(1, "UPDATE countries SET name = name WHERE code < 5")
    assert [count for _, count in session(REGIONS.format(subquery))] == [ROWS]
    assert tier(session, COUNTED.format(subquery)) == "tier 4"


@pytest.mark.parametrize("subquery", [
    "SELECT region, max(name) AS name, sum(weight), count(*), avg(code) FROM countries GROUP BY region",
    "SELECT DISTINCT region, region AS name FROM countries",
    "SELECT region, string_agg(name, ',' ORDER BY name) AS name FROM countries GROUP BY 1",
    "SELECT region, name FROM (SELECT region, name, rank() OVER (PARTITION BY region ORDER BY name) AS n FROM countries) c"
    " WHERE n = 1",
    "SELECT region, region AS name FROM countries UNION SELECT region, name FROM countries",
])
def test_what_is_the_same_in_any_order_every_shard_answers(session, oracle, subquery):
    sql = COUNTED.format(subquery)
    assert tier(session, sql) == "tier 2"
    assert session(sql) == ask(oracle, sql)
