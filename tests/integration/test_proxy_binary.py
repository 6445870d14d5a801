"""Values in binary that name types: arrays, records and whatever holds them say the home shard's OIDs, whoever answers.

Each expression is asked of the home shard itself, and through the proxy of a row of every shard, and of the coordinator;
the bytes must be equal, in whichever way they are asked for.
"""
import struct

import psycopg
import pytest
import rawwire
from proxies import STANDIN, direct_target, start_proxy
from rawwire import bind, columns, describe, error_fields, execute, flush, parse, query, row_values, sync

LAB_SHARDS = 3
KEYS = range(7000001, 7000007)
SCHEMA = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN tone AS mood;
CREATE DOMAIN tones AS mood[];
CREATE DOMAIN kind AS regtype;
CREATE TYPE pair AS (n int, m mood, t tone);
CREATE TYPE nest AS (p pair, ps pair[], ts tones);
CREATE TYPE span AS RANGE (subtype = mood);
CREATE TYPE spread AS RANGE (subtype = pair, multirange_type_name = spreads);
CREATE TABLE thing (id bigint PRIMARY KEY, name text, m mood, ms mood[], t tone, ts tones, p pair, ps pair[], x nest,
                    s span, r spread, rs spreads);
CREATE TABLE plain (id bigint PRIMARY KEY, name text, words text[], k kind, ks regtype[]);
CREATE TABLE tongue (code text PRIMARY KEY, ms mood[]);
"""
ROW = """'a thing', 'ok', '{sad,NULL,happy}', 'sad', '{{ok,ok},{sad,happy}}', '(1,ok,sad)', '{"(2,,ok)",NULL}',
  ROW(ROW(3, 'happy', 'ok'), ARRAY[ROW(4, 'sad', NULL)::pair], '{ok}')::nest, '[sad,happy)',
  spread(ROW(1, 'ok', 'ok')::pair, ROW(2, 'ok', 'sad')::pair), '{["(1,ok,ok)","(2,sad,)"),["(5,,)",)}'"""
EXPRESSIONS = [
    "m", "ms", "t", "ts", "p", "ps", "x", "s", "r", "rs", "NULL::mood[]", "'{}'::mood[]", "enum_range(m)",
    "ARRAY[[m, m], [NULL, t]]", "ARRAY[1, 2]", "ROW()", "ROW(m)", "ROW(ROW(m, ms), ARRAY[ROW(t), NULL], ts, r, rs, name)",
    "ARRAY[x, NULL, x]", "ARRAY[thing]", "thing", "ROW(thing)", "ARRAY[s, NULL]", "ARRAY[rs]", "'empty'::spread",
    "spread(NULL, p)", "pg_typeof(m)", "ARRAY[pg_typeof(ms), pg_typeof(1)]", "1, ms, name, ps, NULL, x",
    "(SELECT array_agg(q) FROM (SELECT p AS q FROM generate_series(1, 60000)) y)",
    "(SELECT array_agg(q) FROM (SELECT ROW(ms, name) AS q FROM generate_series(1, 30000)) y), ms",
    "repeat(name, 40000), ms, repeat(name, 40000), ps", "name", "1",
]

pytestmark = [pytest.mark.plain, pytest.mark.skipif(bool(STANDIN), reason="only the proxy has shards")]


@pytest.fixture(scope="module")
def proxy(lab):
    for shard in range(1, LAB_SHARDS):  # so that OIDs differ
        lab.query(shard, "".join(f"CREATE TYPE other{i} AS ENUM ('x');" for i in range(shard)))
    lab.everywhere(SCHEMA)
    lab.add_tables(" - {name: thing, key: id, function: modulo}\n - {name: plain, key: id, function: modulo}\n"
                   " - {name: tongue, kind: reference}\n")
    lab.run("apply", "--yes", check=True)
    with start_proxy(lab) as proxy:
        with proxy.wire() as wire:
            for key in KEYS:
                wire.ask(f"INSERT INTO thing VALUES ({key}, {ROW})")
                wire.ask(f"INSERT INTO plain VALUES ({key}, 'a', '{{b}}', 'mood', '{{pair,int}}')")
        lab.everywhere("INSERT INTO tongue VALUES ('de', '{ok}')")
        yield proxy


@pytest.fixture(scope="module")
def home(lab, proxy):
    with direct_target(lab).wire() as wire:
        yield wire


@pytest.fixture(scope="module")
def home_key(home):
    return int(home.ask("SELECT min(id) FROM thing")[0][0])


@pytest.fixture(params=["key", "coordinator"])
def texts(request):
    """A statement for a key, which one shard answers, or the coordinator."""
    where = "id = {}" if request.param == "key" else "id + 0 = {}"
    return lambda expressions, key: f"SELECT {expressions} FROM thing WHERE " + where.format(key)


def content(messages):
    """Types of columns where they are told; rows; the error."""
    rows = [row_values(body, raw=True) for kind, body in messages if kind == "D"]
    types = [[column[3] for column in columns(body)] for kind, body in messages if kind == "T"]
    return types, rows, [error_fields(body) for kind, body in messages if kind == "E"]


def copied(messages):
    return b"".join(body for kind, body in messages if kind == "d"), [error_fields(body) for kind, body in messages if kind == "E"]


def is_refused(errors, *words):
    said = " ".join(str(error) for error in errors)
    return len(errors) == 1 and errors[0]["C"] == "0A000" and all(word in said for word in words)


def unnamed(sql):
    return parse(sql) + bind(results=[1]) + describe() + execute() + sync()


def undescribed(sql):
    return parse(sql) + bind(results=[1]) + execute() + sync()


def pipelined(sql):
    one = bind(portal="a", results=[1]) + bind(portal="b", results=[0]) + bind(portal="c", results=[1])
    return (parse(sql) + one + execute("a") + execute("b") + describe("P", "c") + describe("P", "a") + execute("c")
            + flush() + bind(results=[1]) + describe() + bind(results=[1]) + execute(rows=1) + execute() + sync())


def whole_cursor(sql):
    return query(f"BEGIN; DECLARE b BINARY CURSOR FOR {sql}; FETCH ALL FROM b; COMMIT")


def executed(sql):
    return query(f"PREPARE e AS {sql}") + parse("EXECUTE e") + bind(results=[1]) + execute() + sync() + query("DEALLOCATE e")


WAYS = {"unnamed": (unnamed, 1), "undescribed": (undescribed, 1), "pipelined": (pipelined, 1),
        "EXECUTE": (executed, 3), "a binary cursor": (whole_cursor, 1)}


def same(got, expected, key, home_key):
    """The keys within the values differ, and nothing else."""
    there, here = struct.pack("!q", home_key), struct.pack("!q", key)
    rows = [[value and value.replace(there, here).replace(str(home_key).encode(), str(key).encode()) for value in row]
            for row in expected[1]]
    return got == (expected[0], rows, expected[2])


@pytest.mark.parametrize("way", WAYS)
def test_as_the_home_shard_says(proxy, home, home_key, texts, way):
    make, ready = WAYS[way]
    if way in ("pipelined", "a binary cursor") and "+" in texts("", 1):
        pytest.skip("the coordinator has no cursors, and one portal at a time")
    with proxy.wire() as wire:
        for expressions in EXPRESSIONS:
            expected = content(home.exchange(make(f"SELECT {expressions} FROM thing WHERE id = {home_key}"), ready))
            assert not expected[2] and expected[1], (expressions, expected[2])
            for key in KEYS:
                got = content(wire.exchange(make(texts(expressions, key)), ready))
                assert same(got, expected, key, home_key), (expressions, key, got[2], str(got)[:600], str(expected)[:600])


def test_names_of_types_as_values(proxy, home):
    sql = "SELECT k, ks, ROW(k, ks), plain IS NULL FROM plain WHERE id = {}"
    expected = content(home.exchange(unnamed(sql.format(home.ask("SELECT min(id) FROM plain")[0][0]))))
    with proxy.wire() as wire:
        for key in KEYS:
            assert content(wire.exchange(unnamed(sql.format(key)))) == expected


def test_prepared_statements(proxy, home, home_key):
    """Of a named one it is known whether anything is to be mapped; several clients, and several servers."""
    for again in range(3):
        with proxy.wire() as wire:
            for number, expressions in enumerate(EXPRESSIONS):
                sql, name = f"SELECT {expressions} FROM thing WHERE id = $1", f"s{number}"
                once = bind([str(home_key)], name, results=[1]) + execute() + sync()
                expected = content(home.exchange(parse(sql, name) + once + rawwire.close("S", name) + sync(), 2))
                wire.exchange(parse(sql, name, [20]) + (describe("S", name) if again == 1 else b"") + sync())
                for key in KEYS:
                    got = content(wire.exchange(bind([str(key)], name, results=[1]) + execute() + sync()))
                    assert same(got, expected, key, home_key), (again, expressions, key, str(got)[:600], str(expected)[:600])


def test_rows_in_portions_and_a_large_bind(proxy, home, home_key):
    sql = "SELECT ms, p FROM thing, generate_series(1, 5) WHERE id = $1 AND name <> $2"
    values = [str(home_key), "x" * 300000]
    steps = describe() + execute(rows=2) + execute(rows=2) + execute() + sync()
    ask = parse(sql, types=[20, 25])
    for formats in ([1], [0, 1], [1, 0], []):
        expected = content(home.exchange(ask + bind(values, results=formats) + steps))
        with proxy.wire() as wire:
            for key in KEYS:
                got = content(wire.exchange(ask + bind([str(key), values[1]], results=formats) + steps))
                assert same(got, expected, key, home_key), (formats, key, got, expected)


def test_a_cursor_of_a_transaction(proxy, home, home_key):
    """FETCH, and the protocol's Execute, of a cursor that is BINARY."""
    def steps(key):
        declare = f"DECLARE b BINARY CURSOR FOR SELECT ms, ps FROM thing, generate_series(1, 9) WHERE id = {key}"
        return (query("BEGIN") + query(declare) + query("FETCH 2 FROM b") + execute("b", 3) + sync() + query("FETCH b; FETCH b")
                + parse("FETCH 2 FROM b") + bind(results=[1]) + execute() + sync() + query("COMMIT"))
    expected = content(home.exchange(steps(home_key), 7))
    assert len(expected[1]) == 9 and not expected[2]
    with proxy.wire() as wire:
        for key in KEYS:
            assert content(wire.exchange(steps(key), 7)) == expected, key


def test_copy(proxy, home, home_key, texts):
    with proxy.wire() as wire:
        for expressions in EXPRESSIONS:
            for options in ("(FORMAT binary)", "WITH BINARY"):
                sql = f"COPY (SELECT {expressions} FROM thing WHERE id = {home_key}) TO STDOUT {options}"
                expected, errors = copied(home.exchange(query(sql)))
                assert not errors
                for key in KEYS:
                    got, errors = copied(wire.exchange(query(f"COPY ({texts(expressions, key)}) TO STDOUT {options}")))
                    wanted = expected.replace(struct.pack("!q", home_key), struct.pack("!q", key))
                    assert got == wanted.replace(str(home_key).encode(), str(key).encode()), (expressions, key, errors)


def test_copy_of_rows_and_in_transactions(proxy, home, home_key):
    sql = ("COPY /* ( */ (SELECT ')', ms, p FROM thing, generate_series(1, {}) WHERE id = {} AND name <> ')''(')"
           " TO STDOUT (FORMAT binary)")
    with proxy.wire() as wire:
        for rows in (0, 1, 3, 20000):
            expected, _ = copied(home.exchange(query(sql.format(rows, home_key))))
            for key in KEYS:
                for before, after in (("", ""), ("BEGIN", "COMMIT")):
                    got = wire.exchange((query(before) if before else b"") + query(sql.format(rows, key)) +
                                        (query(after) if after else b""), 3 if before else 1)
                    assert copied(got) == (expected, []), (rows, key)
                    assert got[-1] == ("Z", b"I")


def test_a_copy_that_fails(proxy, home, home_key):
    """The error is PostgreSQL's, at its place, and the session goes on."""
    with proxy.wire() as wire:
        for sql in ("COPY (SELECT ms, nope FROM thing WHERE id = {}) TO STDOUT (FORMAT binary)",
                    "COPY (SELECT ms, 1 / (id - id) FROM thing WHERE id = {}) TO STDOUT (FORMAT binary)"):
            _, (expected,) = copied(home.exchange(query(sql.format(home_key))))
            for key in KEYS:
                for steps in (query("SELECT 1"), query("ROLLBACK")):
                    begin = query("BEGIN") if steps == query("ROLLBACK") else b""
                    got = wire.exchange(begin + query(sql.format(key)) + steps, 3 if begin else 2)
                    _, (error,) = copied(got)
                    assert [error.get(field) for field in "CMP"] == [expected.get(field) for field in "CMP"]
                    assert got[-1] == ("Z", b"I")


def test_what_cannot_be_told_of_a_copy_is_refused(proxy, lab, home_key):
    texts = [f"COPY (SELECT ms FROM thing WHERE id = {{}}) TO STDOUT (FORMAT binary){rest}" for rest in ("", "; SELECT 1")]
    with proxy.wire() as wire:
        for key in KEYS:
            answers = [wire.exchange(parse(texts[0].format(key)) + bind() + execute() + sync()),
                       wire.exchange(query(texts[1].format(key)))]
            for answer in answers:
                _, errors = copied(answer)
                assert answer[-1] == ("Z", b"I")
                assert bool(errors) == (key % LAB_SHARDS != home_key % LAB_SHARDS)
                assert not errors or is_refused(errors, "home shard", "as a simple query")
            # A reference table is copied from the shard that has the transaction.
            for table, refuses in (("plain", False), ("tongue", True)):
                sql = f"SELECT name FROM {table} WHERE id = {key}" if table == "plain" else "TABLE tongue"
                wire.exchange(query("BEGIN") + query(f"SELECT 1 FROM thing WHERE id = {key}"), 2)
                if table == "tongue":
                    _, errors = copied(wire.exchange(query("COPY tongue TO STDOUT (FORMAT binary)")))
                    assert bool(errors) == (refuses and key % LAB_SHARDS != home_key % LAB_SHARDS), (key, errors)
                else:
                    data, errors = copied(wire.exchange(parse(f"COPY ({sql}) TO STDOUT") + bind() + execute() + sync()))
                    assert data == b"a\n", errors
                wire.exchange(query("ROLLBACK"))
                assert wire.ask("SELECT 1") == [["1"]]


def test_values_go_in(proxy, home, home_key):
    """PostgreSQL reads arrays and records whose types' OIDs are another database's, from 14 on: they are none of its own."""
    value = content(home.exchange(unnamed(f"SELECT ms, ps, x FROM thing WHERE id = {home_key}")))[1][0]
    if int(home.ask("SHOW server_version_num")[0][0]) < 140000:
        pytest.skip("PostgreSQL 13 refuses them")
    with proxy.wire() as wire:
        for key in KEYS:
            types = [int(home.ask(f"SELECT '{name}'::regtype::oid")[0][0]) for name in ("mood[]", "pair[]", "nest")]
            sql = "UPDATE thing SET ms = $2, ps = $3, x = $4 WHERE id = $1 RETURNING ms, ps, x"
            given = bind([struct.pack("!q", key), *value], formats=[1], results=[1])
            got = content(wire.exchange(parse(sql, types=[20, *types]) + given + describe() + execute() + sync()))
            assert got == ([types], [value], [])


def test_psycopg_reads_them(proxy):
    from psycopg.types.composite import CompositeInfo, register_composite
    from psycopg.types.enum import EnumInfo, register_enum
    with psycopg.connect(proxy.dsn, autocommit=True) as connection:
        register_enum(EnumInfo.fetch(connection, "mood"), connection)
        register_composite(CompositeInfo.fetch(connection, "pair"), connection)
        for key in KEYS:
            for sql in (f"SELECT ms, p FROM thing WHERE id = {key}", f"SELECT ms, p FROM thing WHERE id + 0 = {key}"):
                moods, pair = connection.cursor(binary=True).execute(sql).fetchone()
                assert [mood and mood.name for mood in moods] == ["sad", None, "happy"]
                assert (pair.n, pair.m.name) == (1, "ok")
