"""Tier 2: what several shards answer at once, merged by the proxy: the rows of one PostgreSQL, in its order, and what
happens when a shard, the client or a connection is slow, full or gone. The proof: test_proof.py."""
import concurrent.futures
import contextlib
import io
import os
import signal
import threading
import time

import psycopg
import psycopg2
import pytest
from proxies import STANDIN, ask, eventually, make_one, one_target, start_proxy
from rawwire import bind, close, columns, describe, error_fields, execute, parse, query, row_values, sync

LAB_SHARDS = 3
ROWS = 3000
SCHEMA = """
CREATE TABLE users (id bigint PRIMARY KEY, name text COLLATE "C", score numeric(10,2), f float8, born date, large text,
    city text);
CREATE TABLE orders (user_id bigint, n int, amount numeric, PRIMARY KEY (user_id, n));
CREATE TABLE countries (code text PRIMARY KEY, name text);
"""
TABLES = (" - {name: users, key: id}\n - {name: orders, key: user_id}\n - {name: countries, kind: reference}\n")
FILL = f"""
INSERT INTO users SELECT i, 'n' || i % 97, CASE WHEN i % 11 <> 0 THEN i % 500 / 4.0 END,
    CASE i % 5 WHEN 0 THEN 'NaN'::float8 WHEN 1 THEN -0.0 ELSE i / 3.0 END, date '2000-01-01' + i % 400, repeat('x', i % 50),
    (ARRAY['a', 'B', 'Á', 'ß', 'Zürich', 'zero', NULL])[i % 7 + 1] || CASE WHEN i % 3 = 0 THEN '' ELSE 'x' END
    FROM generate_series(1, {ROWS}) i;
INSERT INTO orders SELECT i % {ROWS} + 1, i, i % 1000 / 10.0 FROM generate_series(1, {2 * ROWS}) i;
"""

pytestmark = pytest.mark.skipif(bool(STANDIN), reason="only the proxy merges")


@pytest.fixture(scope="module")
def oracle(lab):
    with contextlib.closing(make_one(lab, SCHEMA + FILL)) as connection:
        yield connection


@pytest.fixture(scope="module")
def proxy(lab, oracle, module_directory):
    lab.everywhere(SCHEMA)
    lab.add_tables(TABLES)
    lab.run("apply", "--yes", check=True)
    for table in ("users", "orders"):
        path = module_directory / f"{table}.csv"
        with open(path, "w") as file:
            oracle.cursor().copy_expert(f"COPY {table} TO STDOUT (FORMAT csv)", file)
        lab.run("load", table, str(path), "--no-header", check=True)
    with start_proxy(lab) as proxy:
        yield proxy


@pytest.fixture
def wire(proxy):
    with proxy.wire() as wire:
        yield wire


def tier(session, sql):
    return session(f"EXPLAIN (MOSAIC) {sql}")[0][0]


ORDERED = [
    "SELECT id FROM users ORDER BY id",
    "SELECT * FROM users ORDER BY id DESC LIMIT 10",
    "SELECT id, name FROM users ORDER BY name, id LIMIT 100 OFFSET 50",
    "SELECT id FROM users ORDER BY score DESC NULLS LAST, id",
    "SELECT id FROM users ORDER BY score NULLS FIRST, id LIMIT 300",
    "SELECT id, f FROM users ORDER BY f, id",
    "SELECT name AS id, id AS name FROM users ORDER BY id, name LIMIT 20",
    "SELECT id FROM users ORDER BY id % 10, -id LIMIT 33",
    "SELECT u.id, o.n FROM users u JOIN orders o ON o.user_id = u.id WHERE o.amount > 50 ORDER BY 2 LIMIT 40",
    "SELECT u.id, o.n FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.n < 5 ORDER BY 1, 2",
    "SELECT user_id, count(*), sum(amount) FROM orders GROUP BY user_id HAVING sum(amount) > 90 ORDER BY 3 DESC, 1",
    "SELECT id FROM users u WHERE EXISTS (SELECT FROM orders o WHERE o.user_id = u.id AND o.amount > 99) ORDER BY id",
    "SELECT id, (SELECT max(amount) FROM orders o WHERE o.user_id = u.id) FROM users u ORDER BY id LIMIT 50",
    "SELECT id FROM users WHERE id IN (1, 2, 3, 4, 5) ORDER BY id",
    "SELECT count(*), sum(id), min(name), max(born), bool_and(id > 0), sum(score), min(f), max(f) FROM users",
    "SELECT count(*) FILTER (WHERE id % 2 = 0), count(score), sum(n) FROM users JOIN orders ON user_id = id",
    "SELECT count(*), sum(score), max(name) FROM users WHERE id < 0",
    "SELECT id FROM users WHERE false ORDER BY id",
    "SELECT id FROM users ORDER BY id LIMIT 0",
    "SELECT count(*) FROM users LIMIT 1 OFFSET 1",
    "SELECT DISTINCT id, name FROM users WHERE id < 50 ORDER BY id",
    "SELECT id, row_number() OVER (PARTITION BY id ORDER BY n) FROM users JOIN orders ON user_id = id ORDER BY 1, 2",
    "SELECT id, score FROM users UNION ALL SELECT user_id, amount FROM orders ORDER BY 2 DESC NULLS LAST, id LIMIT 70 OFFSET 5",
    "SELECT id FROM users EXCEPT SELECT user_id FROM orders WHERE n % 3 = 0 ORDER BY id DESC",
]


@pytest.mark.parametrize("sql", ORDERED)
def test_the_answer_is_one_postgresql_s(session, oracle, sql):
    assert tier(session, sql).startswith("tier 2: ")
    assert repr(session(sql)) == repr(ask(oracle, sql))


COMBINED = [
    "SELECT name, avg(score), count(*) AS c FROM users WHERE id > 3 GROUP BY name HAVING count(*) > 3"
    " ORDER BY c DESC, name LIMIT 9",
    "SELECT DISTINCT name FROM users ORDER BY name",
    "SELECT DISTINCT id % 7 AS m, born FROM users ORDER BY m, 2 LIMIT 40 OFFSET 3",
    "SELECT city, id FROM users ORDER BY city, id LIMIT 10 OFFSET 3",
    "SELECT * FROM users ORDER BY city DESC NULLS LAST, id LIMIT 20",
    "SELECT id, city FROM users WHERE id BETWEEN 20 AND 90 ORDER BY city, name DESC, id",
    "SELECT count(DISTINCT name), round(avg(score) + 1, 3), sum(id) FROM users",
    "SELECT count(DISTINCT city), count(*) FROM users WHERE id < 0",
    "SELECT date_trunc('month', born) AS d, sum(id) * 2 AS x, rank() OVER (ORDER BY sum(id) DESC) FROM users GROUP BY 1"
    " ORDER BY d",
    "SELECT u.name, lower(u.name), max(o.amount) FROM users u JOIN orders o ON o.user_id = u.id GROUP BY u.name ORDER BY 1",
    "SELECT city, min(name), max(city), count(*), bool_or(id > 100), avg(id) FROM users GROUP BY city ORDER BY city",
    "SELECT id % 5, sum(n), avg(amount), min(amount), max(born) FROM users JOIN orders ON user_id = id GROUP BY id % 5"
    " ORDER BY 1",
    "SELECT (id % 5)::text || 'x', count(*) FROM users GROUP BY (id % 5)::text || 'x' ORDER BY 2, 1",
    "SELECT born, count(*) FILTER (WHERE id % 2 = 0) FROM users GROUP BY born HAVING sum(id) > 100 ORDER BY 2 DESC, 1 LIMIT 5",
    "SELECT name, count(*), sum(count(*)) OVER (ORDER BY name) FROM users GROUP BY name ORDER BY name",
    "SELECT DISTINCT ON (x) x, y FROM (SELECT 1) z, (SELECT id % 3 AS x, name AS y FROM users GROUP BY 1, 2) q ORDER BY x, y",
    "SELECT count(*) + 1 AS n, count(*) * 2 FROM users HAVING count(*) > 0",
    "SELECT left(city, 2) AS l, count(*), min(lower(city)) FROM users GROUP BY 1 ORDER BY 1",
    "SELECT upper(city) || 'é', count(*) FROM users GROUP BY 1 HAVING upper(city) || 'é' > 'b' ORDER BY 1 DESC",
    "SELECT left(name, 2) AS l, count(*) FROM users GROUP BY 1 ORDER BY 1",
    'SELECT "count" FROM (SELECT count(*) FROM users GROUP BY id % 3) s ORDER BY 1',
    "SELECT sum(f), avg(f) FROM users WHERE id % 5 > 1",
    "SELECT round(avg(f)::numeric, 6), bit_xor(id), sum(DISTINCT id % 10) FROM users WHERE id % 5 > 1",
    "SELECT city, id FROM users UNION ALL SELECT city, id FROM users ORDER BY city DESC, id LIMIT 12",
    "SELECT city, id FROM users UNION ALL SELECT city, id FROM users WHERE id < 50 ORDER BY 1, id",
]
# Of which the shards give their rows.
ROWS_GIVEN = [
    "SELECT name, string_agg(city, ',' ORDER BY city DESC, id), array_agg(DISTINCT city) FROM users GROUP BY name ORDER BY name",
    "SELECT percentile_cont(0.3) WITHIN GROUP (ORDER BY score), percentile_disc(0.7) WITHIN GROUP (ORDER BY city),"
    " mode() WITHIN GROUP (ORDER BY name) FROM users",
    "SELECT round(stddev(score), 6), count(DISTINCT city) FILTER (WHERE id % 2 = 0), jsonb_agg(born ORDER BY id) FROM users",
    "SELECT id, lag(city) OVER (PARTITION BY name ORDER BY id), rank() OVER (ORDER BY city, score) FROM users ORDER BY id",
    "SELECT *, sum(score) OVER (ORDER BY born, id ROWS 3 PRECEDING) FROM users ORDER BY city, id",
    "SELECT name, born, count(*), grouping(name, born) FROM users GROUP BY CUBE (name, born) ORDER BY 1, 2, 4",
    "SELECT city, min(city) || 'x', count(*) FROM users GROUP BY ROLLUP (city) HAVING count(*) > 9 ORDER BY 1 NULLS FIRST, 3",
    "SELECT DISTINCT ON (city) * FROM users ORDER BY city, name DESC, id",
    "SELECT array_agg(id), count(name), rank('a') WITHIN GROUP (ORDER BY city) FROM users WHERE id < 0",
    "SELECT count(*) OVER () FROM users WHERE id < 9",
    "SELECT u.city, array_agg(o.n ORDER BY o.n) FROM users u JOIN orders o ON o.user_id = u.id GROUP BY u.city ORDER BY 1",
]


@pytest.mark.parametrize("sql", [*COMBINED, *ROWS_GIVEN])
def test_what_the_coordinator_puts_together(session, oracle, sql):
    assert tier(session, sql)[5] in ("3" if sql in ROWS_GIVEN else "34")
    rows, expected = session(sql), ask(oracle, sql)
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected):
        for value, wanted in zip(row, other):
            is_near = isinstance(value, float) and abs(value - wanted) <= 1e-9 * abs(wanted)
            assert is_near or repr(value) == repr(wanted), (row, other)


UNORDERED = [
    "SELECT * FROM users",
    "TABLE users",
    "SELECT id FROM users WHERE score > 3",
    "SELECT user_id, count(*) FROM orders GROUP BY user_id",
    "SELECT id, c.name FROM users LEFT JOIN countries c ON c.code = users.name",
    "SELECT id, x.n FROM users, LATERAL (SELECT n FROM orders WHERE user_id = id ORDER BY n LIMIT 1) x",
]


@pytest.mark.parametrize("sql", UNORDERED)
def test_rows_without_an_order(session, oracle, sql):
    assert tier(session, sql).startswith("tier 2: ")
    assert sorted(map(repr, session(sql))) == sorted(map(repr, ask(oracle, sql)))


@pytest.mark.parametrize("binary", [False, True])
def test_by_the_extended_protocol(lab, proxy, binary):
    with psycopg.connect(proxy.dsn, autocommit=True) as connection, psycopg.connect(one_target(lab).dsn) as one:
        for sql, parameters in [("SELECT id, name, score, born, f FROM users WHERE score > %s ORDER BY id", (10,)),
                                ("SELECT id FROM users WHERE id = ANY(%s) ORDER BY id", ([1, 2, 3, 77],)),
                                ("SELECT count(*), sum(amount), max(amount) FROM orders WHERE amount BETWEEN %s AND %s", (5, 50)),
                                ("SELECT id FROM users ORDER BY name DESC, id LIMIT %s OFFSET %s", (20, 7)),
                                ("SELECT id FROM users WHERE name = %s ORDER BY id DESC", ("n3",))]:
            for _ in range(7):  # from the sixth time on psycopg prepares it
                got = connection.cursor(binary=binary).execute(sql, parameters)
                expected = one.cursor(binary=binary).execute(sql, parameters)
                assert [(c.name, c.type_code) for c in got.description] == [(c.name, c.type_code) for c in expected.description]
                assert repr(got.fetchall()) == repr(expected.fetchall())
                assert got.statusmessage == expected.statusmessage


def test_parameters_that_a_shard_is_not_told(lab, proxy):
    """They stand where only the merge, or the coordinator, looks; their types are as PostgreSQL finds them."""
    with psycopg.connect(proxy.dsn, autocommit=True) as connection, psycopg.connect(one_target(lab).dsn) as one:
        for sql, parameters in [("SELECT count(*) FROM users WHERE id > %s LIMIT %s", (10, 1)),
                                ("SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > %s ORDER BY 1", (3,)),
                                ("SELECT name, %s::text FROM users WHERE id < %s GROUP BY name ORDER BY 1 LIMIT %s",
                                 ("x", 90, 5)),
                                ("SELECT string_agg(city || %s, %s ORDER BY id) FROM users WHERE id > %s", ("é", ", ", 2900)),
                                ("SELECT name, array_agg(id + %s ORDER BY id) FROM users WHERE id < %s GROUP BY ROLLUP (name)"
                                 " HAVING count(*) > %s ORDER BY 1", (7, 100, 1)),
                                ("SELECT id, city FROM users WHERE id > %s ORDER BY city, id LIMIT %s OFFSET %s", (5, 3, 2))]:
            for _ in range(7):
                for binary in (False, True):
                    got = connection.cursor(binary=binary).execute(sql, parameters)
                    expected = one.cursor(binary=binary).execute(sql, parameters)
                    assert [column[:2] for column in got.description] == [column[:2] for column in expected.description]
                    assert got.fetchall() == expected.fetchall()


def test_parameters_that_leave_no_number_for_the_columns(wire):
    """The coordinator is given the shards' columns as parameters behind the client's, of which Bind counts 65,535."""
    sql = "SELECT id % 2, count(*) FROM users WHERE id > $65534 GROUP BY 1 ORDER BY 1"
    messages = wire.exchange(parse(sql, types=[20] * 65534) + bind([None] * 65533 + ["10"]) + execute() + sync(), ready=1)
    assert kinds(messages) == "12DDCZ"
    assert [row_values(body) for kind, body in messages if kind == "D"] == [["0", "1495"], ["1", "1495"]]


# ---- the protocol --------------------------------------------------------------------------------------------------


def kinds(messages):
    return "".join(kind for kind, _ in messages)


def test_messages_of_a_simple_query(wire):
    messages = wire.exchange(query("SELECT id FROM users ORDER BY id LIMIT 3"), ready=1)
    assert kinds(messages) == "TDDDCZ" and messages[-2][1] == b"SELECT 3\0"


def test_messages_of_a_pipeline(wire):
    sql = "SELECT id FROM users ORDER BY id LIMIT 3"
    messages = wire.exchange(parse(sql) + bind() + describe() + execute() + sync(), ready=1)
    assert kinds(messages) == "12TDDDCZ"
    messages = wire.exchange(parse(sql, "named") + describe("S", "named") + sync(), ready=1)
    assert kinds(messages) == "1tTZ"
    messages = wire.exchange(bind(statement="named") + execute() + bind(statement="named", portal="p") + describe("P", "p")
                             + execute("p") + close("P", "p") + sync(), ready=1)
    assert kinds(messages) == "2DDDC2TDDDC3Z"


@pytest.mark.parametrize("sql, modifiers", [
    ("SELECT DISTINCT score, name FROM users", [(10 << 16 | 2) + 4, -1]),
    ("SELECT max(score), score + 0, score AS s FROM users GROUP BY score, score + 0", [-1, -1, (10 << 16 | 2) + 4]),
    ("SELECT city, score FROM users ORDER BY city, id LIMIT 1", [-1, (10 << 16 | 2) + 4]),
    ("SELECT coalesce(score, score), array_agg(score), greatest(score, 1.5) FROM users GROUP BY score",
     [(10 << 16 | 2) + 4, -1, -1]),
    ("SELECT *, lag(score) OVER (ORDER BY id) FROM users", [-1, -1, (10 << 16 | 2) + 4, -1, -1, -1, -1, -1]),
    ("SELECT score FROM users UNION ALL SELECT score FROM users ORDER BY 1", [(10 << 16 | 2) + 4]),
])
def test_modifiers_of_columns_that_were_arrays(wire, sql, modifiers):
    """numeric(10,2) is one behind GROUP BY, too."""
    messages = wire.exchange(parse(sql) + bind() + describe("P") + execute() + sync() + query(sql), ready=2)
    assert [[column[5] for column in columns(body)] for kind, body in messages if kind == "T"] == [modifiers] * 2


def test_a_prepared_statement_has_the_columns_that_it_was_told_to_have(wire):
    """What tier 3 cannot know of coalesce is no change of the statement's result."""
    sql = "SELECT coalesce(score, score), count(*) FROM users GROUP BY score"
    messages = wire.exchange(parse(sql, "p") + describe("S", "p") + sync() + bind(statement="p") + describe("P") + execute()
                             + close("S", "p") + sync(), ready=2)
    assert [[column[5] for column in columns(body)] for kind, body in messages if kind == "T"] == [[(10 << 16 | 2) + 4, -1]] * 2


def test_rows_in_portions(wire):
    messages = wire.exchange(parse("SELECT id FROM users ORDER BY id LIMIT 5") + bind() + execute(rows=2) + execute(rows=2)
                             + execute(rows=2) + execute(rows=2) + sync(), ready=1)
    assert kinds(messages) == "12DDsDDsDCCZ"
    assert [body for kind, body in messages if kind == "C"] == [b"SELECT 1\0", b"SELECT 0\0"]
    messages = wire.exchange(parse("SELECT id FROM users") + bind() + execute(rows=7) + sync(), ready=1)
    assert kinds(messages) == "12DDDDDDDsZ"
    assert kinds(wire.exchange(query("SELECT count(*) FROM users"), ready=1)) == "TDCZ"


def test_a_portal_outlives_sync_in_a_transaction(wire):
    wire.exchange(query("BEGIN"), ready=1)
    wire.exchange(parse("SELECT id FROM users ORDER BY id") + bind(portal="p") + execute("p", rows=2) + sync(), ready=1)
    messages = wire.exchange(execute("p", rows=3) + sync(), ready=1)
    assert kinds(messages) == "DDDsZ" and messages[-1][1] == b"T"
    assert kinds(wire.exchange(query("COMMIT"), ready=1)) == "CZ"
    assert kinds(wire.exchange(execute("p") + sync(), ready=1)) == "EZ"


def test_an_error_of_a_shard_is_the_client_s_own(wire, lab):
    sql = "SELECT id, 1 / (id - 700) FROM users ORDER BY id"
    assert "22012" in [error_fields(body)["C"] for kind, body in wire.exchange(query(sql), ready=1) if kind == "E"]
    messages = wire.exchange(query("SELECT id FROM users WHERE nosuch > 1 ORDER BY id LIMIT 3"), ready=1)
    fields = error_fields(messages[0][1])
    assert (fields["C"], fields.get("P")) == ("42703", "28") and kinds(messages) == "EZ"
    messages = wire.exchange(parse(sql) + bind() + execute() + sync(), ready=1)
    assert kinds(messages)[-2:] == "EZ"
    messages = wire.exchange(parse("SELECT id FROM users WHERE id > $1 ORDER BY id", types=[20]) + bind(["no"]) + execute()
                             + sync(), ready=1)
    assert kinds(messages) == "1EZ" and error_fields(messages[1][1])["C"] == "22P02"
    messages = wire.exchange(parse("SELECT id, name FROM users ORDER BY id") + bind(results=[0, 0, 0]) + sync(), ready=1)
    assert kinds(messages)[-2:] == "EZ" and error_fields(messages[-2][1])["C"] == "08P01"
    assert kinds(wire.exchange(query("SELECT count(*) FROM users"), ready=1)) == "TDCZ"


def test_settings_of_the_session_hold_on_every_shard(session):
    session("SET datestyle = 'German'")
    assert all(row[0].count(".") == 2 for row in session("SELECT born::text FROM users"))
    session("RESET datestyle")


def test_explain_shows_each_shard_s_plan(session, wire, proxy):
    lines = [line for line, in session("EXPLAIN SELECT id FROM users WHERE id > 5 ORDER BY id LIMIT 3")]
    assert lines[0] == "tier 2: all 3 shards, merged here" and any(line.startswith("  merge: in order") for line in lines)
    places = [lines.index(f"  shard s{number}") for number in range(LAB_SHARDS)]
    assert places == sorted(places) and all("Limit" in lines[place + 1] for place in places)
    lines = [line for line, in session("EXPLAIN (ANALYZE, COSTS off, TIMING off) SELECT name, count(*) FROM users GROUP BY name")]
    assert lines[0].startswith("tier 3: ") and sum("Execution Time" in line for line in lines) == LAB_SHARDS
    assert session("EXPLAIN (FORMAT json) SELECT id FROM users")[0][0][0]["Plan"]["Node Type"] == "Append"
    with psycopg.connect(proxy.dsn, autocommit=True) as connection:
        found = connection.execute("EXPLAIN SELECT id FROM users WHERE id > %s", (7,))
        assert found.fetchone() == ("tier 2: all 3 shards, merged here",) and found.statusmessage == "EXPLAIN"
    assert kinds(wire.exchange(query("EXPLAIN SELECT nosuch FROM users"), ready=1)) == "EZ"


@pytest.mark.parametrize("sql", ["COPY users TO STDOUT", "COPY users (id, city) TO STDOUT (FORMAT csv, HEADER)",
                                 "COPY orders TO STDOUT WITH CSV HEADER", "COPY users TO STDOUT (FORMAT csv, HEADER 'False')",
                                 "COPY users TO STDOUT (FORMAT csv, HEADER OFF)",
                                 "COPY (SELECT id, name FROM users WHERE id > 7) TO STDOUT", "; ; COPY users TO STDOUT;",
                                 "COPY (SELECT * FROM users WHERE id < 0) TO STDOUT (FORMAT csv, HEADER true)"])
def test_copy_has_one_header_and_every_row_once(proxy, oracle, sql):
    outputs = []
    with contextlib.closing(proxy.psycopg2()) as connection:
        for side in (connection, oracle):
            out = io.StringIO()
            with side.cursor() as cursor:
                cursor.copy_expert(sql, out)
                outputs.append((out.getvalue().splitlines(), cursor.rowcount))
    (lines, count), (expected, wanted) = outputs
    assert count == wanted and sorted(lines) == sorted(expected)
    assert "id" not in expected[0] or lines[0] == expected[0]


def test_copy_as_messages(wire):
    messages = wire.exchange(query("COPY users TO STDOUT"), ready=1)
    assert kinds(messages) == "H" + "d" * ROWS + "cCZ" and messages[-2][1] == f"COPY {ROWS}\0".encode()
    messages = wire.exchange(parse("COPY users (id) TO STDOUT") + bind() + describe() + execute() + sync(), ready=1)
    assert kinds(messages) == "12nH" + "d" * ROWS + "cCZ"
    assert kinds(wire.exchange(query("COPY users (nosuch) TO STDOUT"), ready=1)) == "EZ"
    messages = wire.exchange(query("COPY (SELECT 1 / (id - 700) FROM users) TO STDOUT"), ready=1)
    assert kinds(messages)[-2:] == "EZ" and error_fields(messages[-2][1])["C"] == "22012"
    assert kinds(wire.exchange(query("SELECT id FROM users WHERE id = 5"), ready=1)) == "TDCZ"


def test_what_a_client_prepares_is_prepared_once_at_each_shard(lab, proxy):
    sql = "SELECT id, name FROM users WHERE id > %s ORDER BY name, id LIMIT 3"
    with start_proxy(lab, {"pool_size": 1}) as small:
        with psycopg.connect(small.dsn, autocommit=True) as connection, psycopg.connect(one_target(lab).dsn) as one:
            for least in (5, 900, 2000):
                assert connection.execute(sql, (least,), prepare=True).fetchall() == one.execute(sql, (least,)).fetchall()
            kept = "SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%mosaic:1%'"
            assert len(connection.execute(kept).fetchall()) == 1


def test_servers_keep_no_more_statements_than_they_may(lab, proxy):
    with start_proxy(lab, {"max_prepared_statements": 2, "pool_size": 1}) as small, small.wire() as wire:
        for number in range(5):
            wire.exchange(parse(f"SELECT id, {number} FROM users ORDER BY id LIMIT 2", f"s{number}") + sync(), ready=1)
        for number in (0, 1, 2, 3, 4, 4, 0, 2):
            messages = wire.exchange(bind(statement=f"s{number}") + execute() + sync(), ready=1)
            assert kinds(messages) == "2DDCZ" and messages[1][1].endswith(str(number).encode())
        sql = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'mosaic%'"
        assert int(wire.exchange(query(sql), ready=1)[1][1][6:]) <= 2


def take_back(lab, wire):
    """The coordinator is made of the definitions; that the proxy knows it again shows where it combines."""
    lab.everywhere("ALTER TABLE orders ALTER n TYPE int")
    lab.run("apply", "--yes", check=True)
    eventually(lambda: kinds(wire.exchange(query("SELECT name FROM users GROUP BY name LIMIT 1"), ready=1)) == "TDCZ", 30)


def test_statements_that_are_kept_follow_the_definitions(lab, proxy):
    def run(name):
        return kinds(wire.exchange(bind(statement=name) + describe() + execute() + sync(), ready=1))

    with proxy.wire() as wire:
        wire.exchange(parse("SELECT user_id FROM orders ORDER BY n, user_id LIMIT 3", "hidden") + sync(), ready=1)
        wire.exchange(parse("SELECT n FROM orders ORDER BY n, user_id LIMIT 3", "seen") + describe("S", "seen") + sync(), ready=1)
        assert [run("hidden"), run("seen")] == ["2TDDDCZ"] * 2
        lab.everywhere("ALTER TABLE orders ALTER n TYPE bigint")
        try:
            assert run("hidden") == "2TDDDCZ"
            messages = wire.exchange(bind(statement="seen") + describe() + execute() + sync(), ready=1)
            assert error_fields(messages[0][1])["M"] == "cached plan must not change result type"
            assert run("hidden") == "2TDDDCZ"
        finally:
            take_back(lab, wire)


KEPT = "SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%n, user_id LIMIT%'"


def test_a_text_that_comes_again_and_again_is_kept_at_each_shard(lab, proxy, oracle):
    sql = "SELECT user_id, n FROM orders WHERE n > {} ORDER BY n, user_id LIMIT 3"
    with start_proxy(lab, {"pool_size": 1}) as small, contextlib.closing(small.psycopg2()) as connection:
        for number in (1, 2, 3):
            assert ask(connection, sql.format(number)) == ask(oracle, sql.format(number))
        assert ask(connection, KEPT) == []
        for _ in range(5):
            assert ask(connection, sql.format(7)) == ask(oracle, sql.format(7))
        assert len(ask(connection, KEPT)) == 1
        ask(connection, "SET enable_sort = off")  # as it is planned then
        for _ in range(5):
            assert ask(connection, sql.format(7)) == ask(oracle, sql.format(7))
        assert len(ask(connection, KEPT)) == 2


def test_a_text_that_is_kept_follows_the_definitions_without_an_error(lab, proxy):
    sql = "SELECT n, user_id FROM orders ORDER BY n, user_id LIMIT 3"
    with start_proxy(lab, {"pool_size": 1}) as small, small.wire() as wire:
        before = [wire.exchange(query(sql), ready=1) for _ in range(5)]
        assert [kinds(messages) for messages in before] == ["TDDDCZ"] * 5
        lab.everywhere("ALTER TABLE orders ALTER n TYPE bigint")
        try:
            # This shard has it no more, so it answers first: the others are asked again behind that.
            lab.query(0, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                         " AND pid <> pg_backend_pid() AND datname = current_database()")
            there = f"SELECT id FROM users WHERE id = {lab.query(0, 'SELECT min(id) FROM users')[0][0]}"
            eventually(lambda: kinds(wire.exchange(query(there), ready=1)) == "TDCZ")
            after = wire.exchange(query(sql), ready=1)
            assert kinds(after) == "TDDDCZ", after
            assert after[1:] == before[0][1:] and columns(after[0][1]) != columns(before[0][0][1])
            assert wire.exchange(query(sql), ready=1)[1:] == after[1:]
        finally:
            with proxy.wire() as others:
                take_back(lab, others)


NOT_SUPPORTED = "extract(timezone FROM timestamp '2000-01-01'{})"


@pytest.mark.parametrize("sql", [
    f"SELECT {NOT_SUPPORTED.format('')}, id FROM users ORDER BY id",  # when it is planned, at Bind
    f"SELECT name, sum({NOT_SUPPORTED.format(' + id * interval $$1 day$$')}) FROM users GROUP BY name",
])
def test_what_a_shard_never_supports_is_told_of_statements_that_are_kept(wire, sql):
    wire.exchange(parse(sql, "never") + sync(), ready=1)
    for _ in range(3):
        messages = wire.exchange(bind(statement="never") + describe() + execute() + sync(), ready=1)
        error = error_fields(next(body for kind, body in messages if kind == "E"))
        assert error["C"] == "0A000" and "timezone" in error["M"]
    assert kinds(wire.exchange(query("SELECT id FROM users WHERE id = 5"), ready=1)) == "TDCZ"


# ---- transactions --------------------------------------------------------------------------------------------------


def test_beside_a_transaction_that_no_shard_has(session):
    session("BEGIN")
    assert session("SELECT id FROM users ORDER BY id LIMIT 2") == [(1,), (2,)]
    assert session("SELECT count(*) FROM users") == [(ROWS,)]
    assert session("SELECT name FROM users WHERE id = 8") == [("n8",)]
    assert session("SELECT id FROM users ORDER BY id LIMIT 2") == [(1,), (2,)]
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="needs several shards"):
        session("DECLARE late CURSOR FOR SELECT id FROM users ORDER BY id")
    session("ROLLBACK")
    session("BEGIN ISOLATION LEVEL REPEATABLE READ")
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        session("SELECT id FROM users ORDER BY id")
    session("ROLLBACK")


def test_an_error_fails_the_transaction(session):
    session("BEGIN")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        session("SELECT 1 / (id - 8) FROM users ORDER BY id")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        session("SELECT id FROM users WHERE id = 8")
    assert session("COMMIT") == "ROLLBACK"
    assert session("SELECT id FROM users ORDER BY id LIMIT 1") == [(1,)]


def test_cursors_are_fetched_forward(session, oracle, proxy):
    with contextlib.closing(proxy.psycopg2()) as connection:
        connection.autocommit = False
        with connection.cursor("named") as cursor:  # DECLARE, FETCH FORWARD, CLOSE
            cursor.itersize = 700
            cursor.execute("SELECT id, name FROM users WHERE id > %s ORDER BY id", (5,))
            assert [row[0] for row in cursor] == list(range(6, ROWS + 1))
        connection.commit()
    session("BEGIN")
    assert session("DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id") == "DECLARE CURSOR"
    assert session("FETCH c") == [(1,)] and session("FETCH 2 FROM c") == [(2,), (3,)]
    assert session("UPDATE users SET large = large WHERE id = 5") == "UPDATE 1"
    assert session("FETCH FORWARD 2 IN c") == [(4,), (5,)]
    assert len(session("FETCH ALL c")) == ROWS - 5 and session("FETCH 3 c") == []
    assert session("CLOSE c") == "CLOSE CURSOR"
    with pytest.raises(psycopg2.errors.InvalidCursorName):
        session("FETCH c")
    session("ROLLBACK")
    with pytest.raises(psycopg2.errors.NoActiveSqlTransaction):
        session("DECLARE c CURSOR FOR SELECT id FROM users")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="is not WITH HOLD"):
        session("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM users")
    session("BEGIN")
    session("DECLARE c NO SCROLL CURSOR FOR SELECT id, 1 / (id - 700) FROM users ORDER BY id")
    with pytest.raises(psycopg2.errors.DuplicateCursor):
        session("DECLARE c CURSOR FOR SELECT id FROM users")
    session("ROLLBACK")
    session("BEGIN")
    session("DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="forward"):
        session("FETCH BACKWARD 1 FROM c")
    session("COMMIT")
    for end in ("CLOSE ALL", "ROLLBACK TO a"):
        session("BEGIN")
        session("SAVEPOINT a")
        session("DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id")
        session(end)
        with pytest.raises(psycopg2.errors.InvalidCursorName):
            session("FETCH c")
        session("ROLLBACK")
    session("BEGIN")
    session("DECLARE c CURSOR FOR SELECT 1 / (id - 700) FROM users ORDER BY id")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        session("FETCH ALL c")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        session("FETCH c")
    assert session("COMMIT") == "ROLLBACK"
    assert session("SELECT count(*) FROM users") == [(ROWS,)]


def test_cursors_outlast_what_is_undone_behind_them(session, wire):
    def fails_and_goes_back(name):
        with pytest.raises(psycopg2.errors.UniqueViolation):
            session("INSERT INTO users SELECT * FROM users WHERE id = 5")
        session(f"ROLLBACK TO {name}")
    session("BEGIN")
    session("DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id")
    assert session("FETCH c") == [(1,)]
    session("SAVEPOINT a")
    session("DECLARE d CURSOR FOR SELECT id FROM users ORDER BY id")
    fails_and_goes_back("a")
    assert session("FETCH c") == [(2,)]
    with pytest.raises(psycopg2.errors.InvalidCursorName):
        session("FETCH d")
    session("ROLLBACK TO a")
    assert session("FETCH c") == [(3,)]
    session("ROLLBACK")
    session("BEGIN")
    session("DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id")
    session("SAVEPOINT a")
    session("DECLARE d CURSOR FOR SELECT id FROM users ORDER BY id")
    session("SAVEPOINT a")
    session("DECLARE e CURSOR FOR SELECT id FROM users ORDER BY id")
    with pytest.raises(psycopg2.errors.InvalidSavepointSpecification):
        session("ROLLBACK TO nosuch")
    session("ROLLBACK TO a")
    assert session("FETCH c") == [(1,)] and session("FETCH d") == [(1,)]
    with pytest.raises(psycopg2.errors.InvalidCursorName):
        session("FETCH e")
    session("ROLLBACK")
    wire.exchange(query("BEGIN"), ready=1)  # rows of a portal, some at a time
    messages = wire.exchange(parse("SELECT id FROM users ORDER BY id") + bind(portal="p") + execute("p", 1) + sync(), ready=1)
    assert kinds(messages) == "12DsZ"
    wire.exchange(query("SAVEPOINT a") + query("SELECT nosuch") + query("ROLLBACK TO a"), ready=3)
    assert kinds(wire.exchange(execute("p", 1) + sync(), ready=1)) == "DsZ"
    wire.exchange(query("ROLLBACK"), ready=1)


@pytest.mark.parametrize("opened", ["", "SELECT id FROM users WHERE id = 8"])
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_cursors_end_with_a_transaction_that_is_chained(session, opened, end):
    session("BEGIN")
    session("DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id")
    assert session("FETCH c") == [(1,)]
    if opened:
        session(opened)
    session(f"{end} AND CHAIN")
    with pytest.raises(psycopg2.errors.InvalidCursorName):
        session("FETCH c")
    session("ROLLBACK")


def test_cursors_by_the_extended_protocol(proxy, oracle, wire):
    with psycopg.connect(proxy.dsn) as connection:
        with connection.cursor("named") as cursor:
            cursor.itersize = 900
            cursor.execute("SELECT id, city FROM users WHERE id > %s ORDER BY city, id LIMIT 2500", (5,))
            assert cursor.fetchmany(3) + cursor.fetchall() == ask(
                oracle, "SELECT id, city FROM users WHERE id > 5 ORDER BY city, id LIMIT 2500")
    wire.exchange(query("BEGIN"), ready=1)
    messages = wire.exchange(parse("DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id") + bind() + describe() + execute()
                             + sync(), ready=1)
    assert kinds(messages) == "12nCZ" and messages[-1][1] == b"T"
    messages = wire.exchange(parse("FETCH 2 FROM c") + bind() + describe() + execute() + sync(), ready=1)
    assert kinds(messages) == "12TDDCZ" and messages[-2][1] == b"FETCH 2\0"
    messages = wire.exchange(parse("FETCH 1 FROM c", "f") + describe("S", "f") + sync() + bind(statement="f") + execute()
                             + sync(), ready=2)
    assert kinds(messages) == "1tTZ2DCZ" and [column[0] for column in columns(messages[2][1])] == ["id"]
    assert kinds(wire.exchange(execute("c", rows=1) + sync(), ready=1)) == "DsZ"
    assert kinds(wire.exchange(parse("CLOSE c", "g") + describe("S", "g") + sync(), ready=1)) == "1tnZ"
    assert kinds(wire.exchange(parse("CLOSE c") + bind() + execute() + sync(), ready=1)) == "12CZ"
    assert kinds(wire.exchange(query("COMMIT"), ready=1)) == "CZ"


@pytest.mark.parametrize("fetch, limit, outcome", [("FETCH 3", 3, "12DDDCZ"), ("FETCH 3", 5, "12DDDCZ"), ("FETCH 3", 2, "12EZ"),
                                                   ("FETCH ALL", 100000, "12EZ")])
def test_a_limit_on_what_fetch_gives(wire, fetch, limit, outcome):
    """Rows beyond it would have to be kept for the portal: the cursor is behind them all."""
    wire.exchange(query("BEGIN") + query("DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id"), ready=2)
    messages = wire.exchange(parse(f"{fetch} FROM c") + bind() + execute(rows=limit) + sync(), ready=1)
    assert kinds(messages) == outcome
    assert [error_fields(body)["C"] for kind, body in messages if kind == "E"] == ["0A000"] * outcome.count("E")


# ---- slow, full, gone ----------------------------------------------------------------------------------------------


def test_a_cancel_reaches_all_shards(proxy, lab):
    sql = "SELECT id FROM users u WHERE (SELECT count(*) FROM generate_series(1, 200000) x WHERE x % 7 = u.id) > -1"
    with contextlib.closing(proxy.psycopg2()) as connection:
        timer = threading.Timer(0.4, connection.cancel)
        timer.start()
        started = time.monotonic()
        with pytest.raises(psycopg2.errors.QueryCanceled):
            ask(connection, sql)
        assert time.monotonic() - started < 5
        assert ask(connection, "SELECT count(*) FROM users") == [(ROWS,)]
    eventually(lambda: not any(lab.query(shard, "SELECT FROM pg_stat_activity WHERE query LIKE '%generate_series%'"
                                         " AND state = 'active' AND pid <> pg_backend_pid()") for shard in range(LAB_SHARDS)))


def test_a_limit_stops_the_shards(session, lab):
    started = time.monotonic()
    assert len(session("SELECT id FROM users a LIMIT 3")) == 3
    assert time.monotonic() - started < 2


def test_a_client_that_leaves_leaves_nothing_behind(proxy, lab, session):
    for _ in range(5):
        with proxy.wire() as wire:
            wire.send(query("SELECT a.id, repeat('y', 1000) FROM users a, generate_series(1, 100) ORDER BY a.id"))
            time.sleep(0.05)
    busy = ("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%repeat(%' AND state <> 'idle'"
            " AND pid <> pg_backend_pid()")
    assert eventually(lambda: all(lab.query(shard, busy) == [(0,)] for shard in range(LAB_SHARDS)), seconds=15)
    assert session("SELECT count(*) FROM users") == [(ROWS,)]


@pytest.mark.parametrize("order", ["", " ORDER BY id"])
def test_memory_is_bounded_while_a_client_does_not_read(proxy, order):
    with proxy.wire() as wire:
        before = proxy.memory()
        wire.send(query(f"SELECT id, repeat('z', 20000) FROM users, generate_series(1, 5){order}"))  # 300 MB
        time.sleep(1.5)
        assert proxy.memory() - before < 16 << 20
        kinds_seen = "".join(iter(lambda: wire.read()[0], "Z"))
        assert kinds_seen == "T" + "D" * 5 * ROWS + "C"


def test_partial_rows_beyond_memory_go_to_a_file(lab, oracle, module_directory):
    wide = "SELECT id / 2 AS half, repeat('x', 300)::bytea AS x, count(*), sum(n) FROM users JOIN orders ON user_id = id" \
             " GROUP BY id / 2, repeat('x', 300)::bytea ORDER BY 1"
    with start_proxy(lab, {"scatter_memory": "64kB"}, env={"TMPDIR": str(module_directory)}) as small:
        with contextlib.closing(small.psycopg2()) as connection:
            assert tier(lambda sql: ask(connection, sql), wide).startswith("tier 3: ")
            rows = ask(connection, wide)
            assert len(rows) == ROWS // 2 + 1
            assert [(*row[:1], bytes(row[1]), *row[2:]) for row in rows] == \
                [(*row[:1], bytes(row[1]), *row[2:]) for row in ask(oracle, wide)]
    with start_proxy(lab, {"scatter_memory": "64kB"}, env={"TMPDIR": str(module_directory / "missing")}) as broken:
        with contextlib.closing(broken.psycopg2()) as connection:
            with pytest.raises(psycopg2.Error, match="temporary file") as full:
                ask(connection, wide)
            assert full.value.pgcode == "58030"
            assert ask(connection, "SELECT count(*) FROM users") == [(ROWS,)]


def test_large_rows_come_whole(session):
    rows = session("SELECT id, repeat(chr((id % 26 + 65)::int), 3000000) FROM users WHERE id <= 12")
    assert sorted(row[0] for row in rows) == list(range(1, 13))
    assert all(row[1] == chr(row[0] % 26 + 65) * 3000000 for row in rows)
    ordered = session("SELECT id, repeat('x', 3000000) FROM users WHERE id <= 12 ORDER BY id")
    assert [row[0] for row in ordered] == list(range(1, 13))


def test_many_clients_on_small_pools_all_finish(lab, proxy):
    failures = []

    def work(number):
        try:
            with contextlib.closing(small.psycopg2()) as connection:
                for _ in range(10):
                    assert ask(connection, "SELECT count(*) FROM users") == [(ROWS,)]
                    assert len(ask(connection, "SELECT id FROM users ORDER BY id LIMIT 5")) == 5
                    assert ask(connection, f"SELECT id FROM users WHERE id = {number + 1}") == [(number + 1,)]
        except Exception as error:  # noqa: BLE001 - what it is is told below
            failures.append(repr(error))

    with start_proxy(lab, {"pool_size": 2}) as small:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not failures and not any(thread.is_alive() for thread in threads)


def test_a_sort_key_of_another_type_on_one_shard_is_no_order(session, lab):
    """As bytes, integer and real have the same size, and an order that differs: a hidden column's type counts, too."""
    lab.query(1, "ALTER TABLE orders ALTER n TYPE real")
    try:
        with pytest.raises(psycopg2.Error, match="shard s. has other columns than the others"):
            session("SELECT user_id FROM orders ORDER BY n")
    finally:
        lab.query(1, "ALTER TABLE orders ALTER n TYPE int")


def test_who_waits_too_long_for_a_server_is_told(lab, session):
    with start_proxy(lab, {"pool_size": 1, "query_wait_timeout": "4s"}) as small:
        with contextlib.closing(small.psycopg2()) as holder, contextlib.closing(small.psycopg2()) as other:
            ask(holder, "BEGIN")
            ask(holder, "SELECT id FROM users WHERE id = 1 FOR UPDATE")
            with pytest.raises(psycopg2.Error) as found:
                ask(other, "SELECT count(*) FROM users")
            assert found.value.pgcode == "53300"
            ask(holder, "ROLLBACK")
            assert ask(other, "SELECT count(*) FROM users") == [(ROWS,)]


def test_a_shard_that_is_down_is_named_and_the_others_go_on(lab, session):
    lab.run("lab", "stop", lab.name, "s2", check=True)
    try:
        with pytest.raises(psycopg2.Error) as down:
            session("SELECT id FROM users ORDER BY id")
        assert down.value.pgcode[:2] in ("08", "57") and "s2" in str(down.value)
    finally:
        lab.run("lab", "start", lab.name, "s2", check=True)
    assert eventually(lambda: attempt(session, "SELECT count(*) FROM users"), seconds=20) == [(ROWS,)]


def attempt(session, sql):
    with contextlib.suppress(psycopg2.Error):
        return session(sql)


def test_a_shard_that_dies_in_the_middle_fails_the_statement(lab, proxy):
    sql = "SELECT id, (SELECT count(*) FROM generate_series(1, 30000) x WHERE x % 5 = id % 5) AS slow FROM users"
    with contextlib.closing(proxy.psycopg2()) as connection:
        kill = threading.Timer(0.3, lambda: lab.query(
            1, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%AS slow%'"
               " AND pid <> pg_backend_pid()"))
        kill.start()
        with pytest.raises(psycopg2.Error) as lost:
            ask(connection, sql)
        assert "s1" in str(lost.value) or lost.value.pgcode in ("57P01", "08006")
        kill.join()
        assert ask(connection, "SELECT count(*) FROM users") == [(ROWS,)]


def test_shards_that_die_at_once_fail_a_transaction_s_statement(lab, proxy):
    """One fails it and the others are told to stop, of which some are lost already, which nobody has looked at yet."""
    sql = "SELECT id, (SELECT count(*) FROM generate_series(1, 90000) x WHERE x % 5 = id % 5) AS slow FROM users"
    backend = ("SELECT pid FROM pg_stat_activity WHERE query LIKE '%AS slow%' AND state = 'active'"
               " AND pid <> pg_backend_pid()")
    with contextlib.closing(proxy.psycopg2()) as connection, concurrent.futures.ThreadPoolExecutor(1) as pool:
        ask(connection, "BEGIN")
        ask(connection, "UPDATE users SET large = 'z' WHERE id IN (1, 2, 3)")
        waiting = pool.submit(ask, connection, sql)
        pids = [eventually(lambda i=i: lab.query(i, backend))[0][0] for i in range(LAB_SHARDS)]
        os.kill(proxy.process.pid, signal.SIGSTOP)
        try:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.5)
        finally:
            os.kill(proxy.process.pid, signal.SIGCONT)
        with pytest.raises(psycopg2.Error):
            waiting.result(timeout=30)
    assert proxy.alive()
    eventually(lambda: answers(proxy), 30)


def answers(proxy):
    try:
        with contextlib.closing(proxy.psycopg2()) as connection:
            return ask(connection, "SELECT count(*) FROM users WHERE large = 'z'") == [(0,)]
    except psycopg2.Error:
        return False
