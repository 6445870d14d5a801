"""INSERT of a query's rows that are not where they belong: they are read first, then given to their shards."""
import concurrent.futures
import contextlib
import os
import socket

import psycopg
import psycopg2
import pytest
from proxies import STANDIN, ask, direct_target, eventually, nothing_is_left, start_proxy

LAB_SHARDS = 3
COMMON = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN small AS int CHECK (VALUE < 1000);
CREATE TABLE a (id bigint PRIMARY KEY, n int, word text, ratio float8, at timestamptz, mood mood, tags text[]);
CREATE TABLE b (id bigint NOT NULL, n int DEFAULT 7, word varchar(5) DEFAULT 'none', price numeric(8,2), mood mood,
    low small, day date, tags text[], fixed char(4), twice int GENERATED ALWAYS AS (n * 2) STORED, CHECK (n <> 13));
CREATE TABLE words (word text PRIMARY KEY, n int);
CREATE TABLE tags (id int PRIMARY KEY, word varchar(20));
CREATE TABLE notes (id serial, n bigint, word text);
CREATE TABLE ruled (id bigint, n int);
CREATE RULE more AS ON INSERT TO ruled DO ALSO NOTHING;
CREATE TABLE counted (id bigint, number int GENERATED ALWAYS AS IDENTITY);
"""
TABLES = """ - {name: a, key: id, function: modulo}
 - {name: b, key: id, function: modulo}
 - {name: words, key: word}
 - {name: counted, key: id, function: modulo}
 - {name: tags, kind: reference}
"""
ROWS = """
INSERT INTO a SELECT i, i * 3 % 7, 'w' || i, i / 3.0, '2024-01-02 03:04:05.678901+02', 'ok', ARRAY['x', NULL, i::text]
FROM generate_series(1, 20) i
"""
NAMES = "a, b, words, tags, notes, ruled"

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.apply_tables(COMMON, TABLES)
    with start_proxy(lab, {"schema_check_interval": "200ms", "scatter_memory": "64kB"}) as proxy:
        yield proxy


@pytest.fixture
def both(proxy, whole, lab):
    """The proxy's connection and one PostgreSQL's, with equal rows."""
    lab.everywhere(f"TRUNCATE {NAMES} RESTART IDENTITY")
    ask(whole, f"TRUNCATE {NAMES} RESTART IDENTITY")
    with contextlib.closing(proxy.psycopg2()) as connection:
        rows = ask(whole, ROWS + " RETURNING *")
        assert len(rows) == 20
        with connection.cursor() as cursor:
            for row in rows:
                cursor.execute("INSERT INTO a VALUES (%s, %s, %s, %s, %s, %s, %s)", row)
        yield connection, whole
    nothing_is_left(lab)


def outcome(connection, sql):
    """Rows or a tag; or an error's SQLSTATE."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return sorted(map(repr, cursor.fetchall())) if cursor.description else cursor.statusmessage
    except psycopg2.Error as error:
        return error.pgcode


def same(both, sql):
    through, one = (outcome(connection, sql) for connection in both)
    assert through == one, sql
    for table in NAMES.split(", "):
        assert outcome(both[0], f"SELECT * FROM {table}") == outcome(both[1], f"SELECT * FROM {table}"), (sql, table)
    return through


def refused(connection, sql, words):
    with pytest.raises(psycopg2.Error) as caught:
        ask(connection, sql)
    error = caught.value
    assert error.pgcode == "0A000", error
    assert words in f"{error.diag.message_primary} {error.diag.message_detail} {error.diag.message_hint}", error


def test_rows_go_to_the_shards_of_their_own_keys(both):
    for sql, count in (
            ("INSERT INTO b (id, n) SELECT id + 1, n FROM a", 20),
            ("INSERT INTO b (id, n) SELECT n, id FROM a WHERE id < 9", 8),
            ("INSERT INTO b (id) SELECT id * 3 FROM a ORDER BY n DESC, id LIMIT 5", 5),
            ("INSERT INTO b (id, n, word) SELECT n, count(*), min(word) FROM a GROUP BY n", 7),
            ("INSERT INTO b (id, price) SELECT 100, avg(ratio) FROM a", 1),
            ("INSERT INTO b (id, n) SELECT 7, n FROM a WHERE id = 5", 1),
            ("INSERT INTO words SELECT DISTINCT word, 1 FROM a", 20),
            ("INSERT INTO b (id, n) (SELECT id + 1, n FROM a UNION ALL SELECT id + 2, n FROM a WHERE id = 3);", 21),
            ("INSERT INTO b (id, n) WITH x AS (SELECT id FROM a WHERE n = 3) SELECT x.id + 1, 4 FROM x -- so", 3),
            ("INSERT INTO b (id, n) SELECT x.id, y.n FROM a x JOIN a y ON x.id = y.n", 18),
            ("INSERT INTO public.b AS set (id, n) SELECT i, i FROM generate_series(1, 9) i", 9),
            ("INSERT INTO b (id, n) SELECT ALL x.n, (x.id IS DISTINCT FROM 5)::int FROM a x WHERE x.n > 2", 12),
            ("INSERT INTO b (id, word, n) SELECT n/* , */, 'a,b' -- , from\n, CASE WHEN id > 3 THEN 1 ELSE 2 END FROM a", 20),
            ("INSERT INTO b (id, n) SELECT x.n, count(DISTINCT x.id) FROM a x GROUP BY x.n", 7),
            ("INSERT INTO b (id, n) SELECT n AS x, id + 20 y FROM a ORDER BY x", 20),
            ("INSERT INTO b (id) SELECT n FROM a WHERE false", 0)):
        assert same(both, sql) == f"INSERT 0 {count}", sql


def test_values_are_assigned_as_the_columns_have_it(both):
    for sql in ("INSERT INTO b (id, n, price, word, fixed) SELECT ratio, ratio, ratio, 'ab', n::text FROM a",
                "INSERT INTO b (id, n, day, mood, low) SELECT n, '5', '2024-01-02', 'sad', id FROM a",
                "INSERT INTO b (id, n, word, day) SELECT n, NULL, NULL, at FROM a",
                "INSERT INTO b (id, tags, mood) SELECT n, tags, mood FROM a",
                "INSERT INTO words SELECT id, n FROM a"):
        assert same(both, sql) == "INSERT 0 20", sql


def test_reference_and_home_tables(both):
    for sql, count in (("INSERT INTO tags SELECT id, word FROM a", 20),
                       ("INSERT INTO tags SELECT n + 100, max(word) FROM a GROUP BY n", 7),
                       ("INSERT INTO notes (n, word) SELECT n, word FROM a ORDER BY id", 20),
                       ("INSERT INTO notes (n, word) SELECT id, word FROM a ORDER BY n, id DESC", 20),
                       ("INSERT INTO notes (n) SELECT id FROM a WHERE id = 5", 1),
                       ("INSERT INTO b (id, n) SELECT n, 1 FROM notes WHERE n > 2", 31),
                       ("INSERT INTO a (id, word) SELECT id + 1000, word FROM tags", 27)):
        assert same(both, sql) == f"INSERT 0 {count}", sql


def test_what_it_writes_it_does_not_read(both):
    for _ in range(2):
        same(both, "INSERT INTO b (id, n) SELECT id + 1, n FROM a")
        same(both, "INSERT INTO b (id, n) SELECT id + 1, n FROM b")
        same(both, "INSERT INTO a (id, n) SELECT id + (SELECT max(id) FROM a), n FROM a")


def test_errors_are_those_of_one_postgresql(both):
    for sql in ("INSERT INTO a (id) SELECT id + 1 FROM a",                     # UNIQUE
                "INSERT INTO b (id, n) SELECT n, 13 FROM a",                   # CHECK
                "INSERT INTO b (id, n) SELECT NULL::bigint, n FROM a",
                "INSERT INTO b (id, word) SELECT n, 'too long' FROM a",
                "INSERT INTO b (id, low) SELECT n, id * 500 FROM a",
                "INSERT INTO b (id, price) SELECT n, id * 1000000 FROM a",
                "INSERT INTO b (id, n) SELECT n, 1 / (id - 7) FROM a",
                "INSERT INTO b (id, n) SELECT n, 3000000000 FROM a",
                "INSERT INTO b (id, n) SELECT n, word FROM a",
                "INSERT INTO b (id, n) SELECT n, 'x' FROM a",
                "INSERT INTO b (id, n) SELECT n FROM a",
                "INSERT INTO b (id) SELECT n, n FROM a",
                "INSERT INTO b (id, twice) SELECT n, n FROM a",
                "INSERT INTO b (id, mood) SELECT n, 'angry' FROM a",
                "INSERT INTO b (id, nowhere) SELECT n, n FROM a",
                "INSERT INTO b (id, id) SELECT n, n FROM a",
                "INSERT INTO counted SELECT n, n FROM a",
                "INSERT INTO counted SELECT n + 1, id FROM a",
                "INSERT INTO tags SELECT n, word FROM a"):
        assert len(same(both, sql)) == 5, sql


def test_in_a_transaction(lab, both):
    for end in ("COMMIT", "ROLLBACK"):
        for sql in ("BEGIN", "INSERT INTO a (id, n) VALUES (501, 1), (502, 2), (503, 3)",
                    "INSERT INTO b (id, n) SELECT n, id FROM a", "SAVEPOINT s",
                    "INSERT INTO b (id, n) SELECT n + 1, id FROM a", "INSERT INTO b (id, n) SELECT n, 13 FROM a",
                    "SELECT 1", "ROLLBACK TO s", "INSERT INTO b (id, n) SELECT n + 2, id FROM a WHERE id > 400",
                    "UPDATE b SET word = 'x' WHERE n > 500"):
            assert outcome(both[0], sql) == outcome(both[1], sql), sql
        same(both, end)
    same(both, "INSERT INTO b (id, n) SELECT n, id FROM a")


def test_rows_that_are_not_kept_in_memory(both):
    assert same(both, "INSERT INTO a (id, n, word) SELECT i, i, repeat('x', 1000) || i FROM generate_series(100, 3099) i") \
        == "INSERT 0 3000"
    assert same(both, "INSERT INTO words SELECT word, n FROM a") == "INSERT 0 3020"


def test_parameters(both, proxy):
    with psycopg.connect(proxy.dsn, autocommit=True) as connection:
        for prepare in (False, True, True):
            cursor = connection.execute("INSERT INTO b (id, n, word) SELECT n, %s, %s FROM a WHERE id > %s", (5, "abc", 9),
                                        prepare=prepare)
            assert cursor.statusmessage == "INSERT 0 11"
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO b (id, n) SELECT n, %s FROM a", (13,))
        with connection.transaction():
            connection.execute("INSERT INTO b (id, n) SELECT n, %s FROM a", (14,))
            assert connection.execute("SELECT count(*) FROM b WHERE n = %s", (14,)).fetchone() == (20,)
    for _ in range(3):
        ask(both[1], "INSERT INTO b (id, n, word) SELECT n, 5, 'abc' FROM a WHERE id > 9")


def test_what_cannot_be_is_refused(both):
    through = both[0]
    for sql, words in (("INSERT INTO b (id, n) SELECT n, id FROM a RETURNING id", "RETURNING"),
                       ("INSERT INTO a (id, n) SELECT n, 1 FROM a ON CONFLICT DO NOTHING", "ON CONFLICT"),
                       ("WITH x AS (SELECT n FROM a) INSERT INTO b (id) SELECT n FROM x", "WITH"),
                       ("INSERT INTO b (n) SELECT id FROM a", "key column id"),
                       ("INSERT INTO ruled SELECT n, id FROM a", "rules"),
                       ("INSERT INTO b (id, n) SELECT n, id FROM a FOR UPDATE", "locks")):
        refused(through, sql, words)


def test_explain_says_it(both):
    lines = [line for line, in ask(both[0], "EXPLAIN (MOSAIC) INSERT INTO b (id, n) SELECT n, id FROM a")]
    assert lines[0] == "tier 2: writes on all 3 shards: s0, s1, s2"
    assert any("reads first, by tier 2: SELECT" in line for line in lines), lines


@pytest.mark.parametrize("table", ["a", "b"])  # what is read, what is written
@pytest.mark.parametrize("how", ["cancel", "leave"])
def test_one_that_waits_can_be_stopped(lab, both, proxy, table, how):
    through = both[0]
    with contextlib.closing(direct_target(lab, 1).psycopg2()) as other, contextlib.closing(proxy.psycopg2()) as waiting:
        for sql in ("BEGIN", f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"):
            ask(other, sql)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            found = pool.submit(outcome, waiting, "INSERT INTO b (id, n) SELECT id + 1, n FROM a")
            eventually(lambda: lab.query(1, f"SELECT 1 FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"))
            if how == "cancel":
                waiting.cancel()
            else:
                socket.socket(fileno=os.dup(waiting.fileno())).shutdown(socket.SHUT_RDWR)
            assert found.result(20) == ("57014" if how == "cancel" else None)
        ask(other, "ROLLBACK")
    assert same(both, "INSERT INTO b (id, n) SELECT id + 1, n FROM a") == "INSERT 0 20"
    assert ask(through, "SELECT count(*) FROM b") == [(20,)]
