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
CREATE TABLE numbered (id serial PRIMARY KEY, n int);
CREATE TABLE kinds (id bigint PRIMARY KEY, n int, small small, mood mood, fixed char(4), short varchar(3), price numeric(6,2),
    ratio float8, at timestamptz, day date, span interval, data jsonb, raw bytea, range int4range, net inet, code uuid,
    flag boolean, made timestamptz DEFAULT now(), twice int GENERATED ALWAYS AS (n * 2) STORED);
"""
TABLES = """ - {name: a, key: id, function: modulo}
 - {name: b, key: id, function: modulo}
 - {name: words, key: word}
 - {name: counted, key: id, function: modulo}
 - {name: kinds, key: id, function: modulo}
 - {name: tags, kind: reference}
 - {name: numbered, kind: reference}
"""
ROWS = """
INSERT INTO a SELECT i, i * 3 % 7, 'w' || i, i / 3.0, '2024-01-02 03:04:05.678901+02', 'ok', ARRAY['x', NULL, i::text]
FROM generate_series(1, 20) i
"""
NAMES = "a, b, words, tags, notes, ruled, numbered, kinds"

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


def shown(row):
    return repr([bytes(value) if isinstance(value, memoryview) else value for value in row])


def outcome(connection, sql):
    """Rows or a tag; or an error's SQLSTATE."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return sorted(map(shown, cursor.fetchall())) if cursor.description else cursor.statusmessage
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


def test_returning_and_conflicts(both):
    for sql, count in (
            ("INSERT INTO b (id, n) SELECT n, id + 20 FROM a RETURNING *", 20),
            ("INSERT INTO b (id, n) SELECT n, id + 20 FROM a ORDER BY id RETURNING b.n + 1 AS more, id, twice", 20),
            ("INSERT INTO b (id, n) SELECT n, 1 FROM a WHERE false RETURNING id", 0),
            ("INSERT INTO b (id, n) SELECT n, 1 FROM a WHERE id = 4 RETURNING id;", 1),
            ("INSERT INTO a (id, n) SELECT n, 77 FROM a ON CONFLICT DO NOTHING", "INSERT 0 1"),
            ("INSERT INTO a (id, n) SELECT i, 5 FROM generate_series(15, 30) i ON CONFLICT (id) DO NOTHING RETURNING id, n", 10),
            ("INSERT INTO a AS x (id, n) SELECT i, 5 FROM generate_series(25, 40) i ON CONFLICT (id) DO UPDATE"
             " SET n = x.n + excluded.n, word = 'it''s met' WHERE x.id <> 26 RETURNING x.id, n, word", 15),
            ("INSERT INTO a (id, n) SELECT n, id FROM a WHERE n > 0 ON CONFLICT (id) DO UPDATE SET n = 1", "21000"),
            ("INSERT INTO a (id, n) SELECT DISTINCT n + 100, 3 FROM a ON CONFLICT (id) DO UPDATE SET n = a.n + 1", None),
            ("INSERT INTO words SELECT word, id FROM a WHERE word IS NOT NULL AND id < 20 RETURNING word, n", None),
            ("INSERT INTO words (n, word) SELECT 1, word FROM a WHERE word > 'w1' AND id < 20"
             " ON CONFLICT (word) DO UPDATE SET n = words.n + excluded.n RETURNING *", None),
            ("INSERT INTO tags SELECT id, word FROM a ORDER BY id RETURNING id", None),
            ("INSERT INTO tags SELECT id, 'again' FROM a ORDER BY id ON CONFLICT (id) DO UPDATE SET word = excluded.word", None),
            ("INSERT INTO notes (n, word) SELECT n, word FROM a ORDER BY id RETURNING id, n", None),
            ("INSERT INTO counted (id, number) OVERRIDING SYSTEM VALUE SELECT n, 5 FROM a RETURNING number", None),
            ("INSERT INTO b (id, n) /* RETURNING */ SELECT n, 1 FROM a -- RETURNING id\nRETURNING ALL id", "42601"),
            ("INSERT INTO b (id, n) SELECT n, 1 AS returning FROM a RETURNING id AS returning", None),
            ('INSERT INTO b (id, n) SELECT n, 1 AS "returning" FROM a RETURNING id AS returning', None),
            ("INSERT INTO b (id, n) SELECT x.n, 1 FROM a x JOIN tags ON tags.id = x.id RETURNING (SELECT count(*) FROM tags)",
             None)):
        found = same(both, sql)
        assert count in (None, found) or len(found) == count, (sql, found)


def test_with_before_the_insert(both):
    for sql in ("WITH x AS (SELECT n FROM a) INSERT INTO b (id) SELECT n FROM x",
                "WITH RECURSIVE x (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x WHERE i < 9), insert AS (SELECT 5 AS more)"
                " INSERT INTO b (id, n) SELECT i, more + n FROM x, insert, a WHERE a.id = 2 -- so",
                "WITH x AS (SELECT n FROM a WHERE word <> 'it''s') INSERT INTO b (id, word) WITH y AS (SELECT 1 AS i) SELECT n,"
                " 'x' || i FROM x, y RETURNING id, word"):
        assert len(same(both, sql)) > 5, sql


def test_given_values_are_assigned_as_the_columns_have_it(both):
    columns = "id, n, small, mood, fixed, short, price, ratio, at, day, span, data, raw, range, net, code, flag"
    values = ("i, NULLIF(i % 5, 0), i % 900, (ARRAY['sad', 'ok', NULL])[1 + i % 3]::mood, 'x' || i % 7, NULLIF('y' || i % 4, 'y1'),"
              " i / 3.0, CASE i % 4 WHEN 0 THEN 'NaN' ELSE i / 7.0 END,"
              " '2024-02-03 04:05:06.789012+02'::timestamptz + i * '1 h'::interval,"
              " date '2024-02-28' + i, i * interval '1 month -3 days 0.5 s', jsonb_build_object('a', i, 'b', NULL),"
              " decode('00ff5c', 'hex'), int4range(i, i + 3), '10.0.0.1'::inet + i, md5(i::text)::uuid, i % 2 = 0")
    assert len(same(both, f"INSERT INTO kinds ({columns}, made) SELECT {values}, NULL FROM generate_series(1, 40) i"
                          f" RETURNING {columns}, twice")) == 40
    assert len(same(both, f"INSERT INTO kinds ({columns}, made) SELECT id + 20, {columns[4:]}, made FROM kinds"
                          f" ON CONFLICT (id) DO UPDATE SET n = -1 RETURNING {columns}, twice")) == 40
    for sql, state in (("INSERT INTO kinds (id, short) SELECT id + 99, 'long one' FROM a RETURNING id", "22001"),
                       ("INSERT INTO kinds (id, price) SELECT id + 99, id * 1000 FROM a RETURNING id", "22003"),
                       ("INSERT INTO kinds (id, small) SELECT id + 99, 2000 FROM a RETURNING id", "23514"),
                       ("INSERT INTO kinds (id, n) SELECT id + 99, word FROM a RETURNING id", "42804"),
                       ("INSERT INTO kinds (id, n) SELECT NULL::bigint, n FROM a RETURNING id", "23502"),
                       ("INSERT INTO kinds (id, n) SELECT id + 99, n FROM a RETURNING 1 / (id - 106)", "22012"),
                       ("INSERT INTO kinds (id, n) SELECT id + 99, n FROM a RETURNING nothing", "42703"),
                       ("INSERT INTO kinds (id, n) SELECT id + 99, n FROM a ON CONFLICT (n) DO NOTHING", "42P10"),
                       ("INSERT INTO kinds (id, twice) SELECT id + 99, n FROM a RETURNING id", "428C9")):
        assert same(both, sql) == state, sql


def test_returning_is_in_the_order_of_the_query(both):
    for sql in ("INSERT INTO b (id, n) SELECT n, id + 20 FROM a ORDER BY n DESC, id RETURNING n",
                "INSERT INTO words SELECT word, id FROM a ORDER BY id DESC RETURNING n",
                "INSERT INTO words SELECT 'k' || id % 5, id FROM a ORDER BY id DESC ON CONFLICT (word) DO NOTHING RETURNING n"):
        through, one = (ask(connection, sql) for connection in both)
        assert through == one if "CONFLICT" not in sql else sorted(through) == sorted(one), sql
    assert len(same(both, "SELECT * FROM words")) == 25


def test_many_rows_are_returned(both, whole):
    """More than a shard may be ahead of the others by; the coordinator reads them."""
    for connection in both:
        ask(connection, "INSERT INTO a (id, n) SELECT i, i % 50 FROM generate_series(1000, 2999) i")
    sql = ("INSERT INTO b (id, n) SELECT n, id + 20 FROM a WHERE id > 999 ORDER BY n DESC, id"
           " RETURNING id, repeat('x', 200), n")
    assert ask(both[0], sql) == ask(both[1], sql)


def test_one_moment_for_what_is_given(both):
    through = both[0]
    assert len(ask(through, "INSERT INTO kinds (id, n) SELECT id, n FROM a RETURNING id")) == 20
    sql = ("INSERT INTO kinds (id, n) SELECT id, 1 FROM a ON CONFLICT (id) DO UPDATE SET made = now(), n = 2"
           " RETURNING made, kinds.n")
    rows = ask(through, sql)
    assert len(rows) == 20 and len(set(rows)) == 1 and rows[0][1] == 2
    refused(through, "INSERT INTO kinds (id, at) SELECT id + 1, now() FROM a ON CONFLICT (id) DO UPDATE SET made = now()",
            "time")
    refused(through, "INSERT INTO kinds (id, n) SELECT id + 1, 1 FROM a ON CONFLICT (id) DO UPDATE SET made = 'now'", "time")
    rows = ask(through, "INSERT INTO kinds (id, n) SELECT id + 10, 1 FROM a ON CONFLICT (id) DO UPDATE SET made = now(), n = 3"
                        " RETURNING made, kinds.n")
    assert len({made for made, n in rows if n == 3}) == 1 and len(rows) == 20


def test_too_many_rows_to_give(both):
    """scatter_memory is 64 kB here."""
    with pytest.raises(psycopg2.errors.ProgramLimitExceeded, match="the INSERT's query have more than"):
        ask(both[0], "INSERT INTO words SELECT repeat('x', 100) || i, i FROM generate_series(1, 3000) i RETURNING n")
    assert ask(both[0], "SELECT count(*) FROM words") == [(0,)]
    assert len(same(both, "INSERT INTO words SELECT repeat('x', 100) || i, i FROM generate_series(1, 300) i RETURNING n")) == 300


def test_in_a_transaction(lab, both):
    for end in ("COMMIT", "ROLLBACK"):
        for sql in ("BEGIN", "INSERT INTO a (id, n) VALUES (501, 1), (502, 2), (503, 3)",
                    "INSERT INTO b (id, n) SELECT n, id FROM a", "SAVEPOINT s",
                    "INSERT INTO b (id, n) SELECT n + 1, id FROM a", "INSERT INTO b (id, n) SELECT n, 13 FROM a",
                    "SELECT 1", "ROLLBACK TO s",
                    "INSERT INTO a (id, n) SELECT id, 0 FROM a ON CONFLICT (id) DO UPDATE SET n = a.n + 1",
                    "INSERT INTO b (id, n) SELECT n, id FROM a WHERE id > 500 RETURNING id, n",
                    "INSERT INTO b (id, n) SELECT n + 2, id FROM a WHERE id > 400",
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
        for prepare, binary in ((False, False), (True, True), (True, False), (True, True)):
            cursor = connection.cursor(binary=binary)
            cursor.execute("INSERT INTO a (id, n, word) SELECT i, 5, %s FROM generate_series(1, %s) i ON CONFLICT (id) DO UPDATE"
                           " SET n = a.n + %s RETURNING id, n, %s || word", ("abc", 21, 0, "x"), prepare=prepare)
            rows = cursor.fetchall()
            assert sorted(row[0] for row in rows) == list(range(1, 22)) and rows[0][2].startswith("x")
        connection.execute("DELETE FROM a WHERE id = 21")
        with connection.transaction():
            connection.execute("INSERT INTO b (id, n) SELECT n, %s FROM a", (14,))
            assert connection.execute("SELECT count(*) FROM b WHERE n = %s", (14,)).fetchone() == (20,)
    for _ in range(3):
        ask(both[1], "INSERT INTO b (id, n, word) SELECT n, 5, 'abc' FROM a WHERE id > 9")


def test_what_cannot_be_is_refused(both):
    through = both[0]
    for sql, words in (("INSERT INTO b (id, tags) SELECT n, tags FROM a RETURNING id", "tags is one"),
                       ("INSERT INTO a (id, n) SELECT n, 1 FROM a ON CONFLICT (id) DO UPDATE SET id = 5", "sets the key column id"),
                       ("INSERT INTO a (id, n) SELECT n, 1 FROM a ON CONFLICT (id) DO UPDATE SET n = (SELECT max(n) FROM b)",
                        "not whole on every shard"),
                       ("WITH x AS (SELECT n FROM a) INSERT INTO b (id) SELECT n FROM x RETURNING (SELECT max(n) FROM x)",
                        "what WITH has"),
                       ("WITH x AS (DELETE FROM a RETURNING n) INSERT INTO b (id) SELECT n FROM x", "writes or locks"),
                       ("INSERT INTO numbered (n) SELECT n FROM a RETURNING id", "default of id"),
                       ("INSERT INTO b (n) SELECT id FROM a", "key column id"),
                       ("INSERT INTO ruled SELECT n, id FROM a", "rules"),
                       ("INSERT INTO b (id, n) SELECT n, id FROM a FOR UPDATE", "locks")):
        refused(through, sql, words)


def test_explain_says_it(both):
    lines = [line for line, in ask(both[0], "EXPLAIN (MOSAIC) INSERT INTO b (id, n) SELECT n, id FROM a")]
    assert lines[0] == "tier 2: writes on all 3 shards: s0, s1, s2"
    assert any("reads first, by tier 2: SELECT" in line for line in lines), lines
    lines = [line for line, in ask(both[0], "EXPLAIN (MOSAIC) INSERT INTO b (id, n) SELECT n, id FROM a RETURNING id")]
    assert any("tells each shard: INSERT INTO b (id, n) SELECT r1, r2 FROM ROWS FROM (" in line for line in lines), lines
    assert any("rows of RETURNING: in the order of the query" in line for line in lines), lines


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
