"""PREPARE, EXECUTE, DEALLOCATE and EXPLAIN (MOSAIC) as SQL, sent by the extended protocol, as drivers send everything.

On one shard test_proxy_exact.py compares them with PostgreSQL message by message. Here the values of EXECUTE name the
shard, of three; the streams are compared with those of one PostgreSQL that has all rows.
"""
import psycopg
import pytest
import rawwire
from proxies import STANDIN, direct_target, start_proxy
from rawwire import bind, close, describe, execute, parse, query, sync
from wireprograms import ran

LAB_SHARDS = 3

pytestmark = pytest.mark.light

SCHEMA = ("CREATE TABLE thing (id bigint PRIMARY KEY, name text); CREATE TABLE land (code int PRIMARY KEY);"
          "CREATE TABLE docs (tag text PRIMARY KEY)")
ROWS = "INSERT INTO thing VALUES ({0}, 'thing {0}')"


@pytest.fixture(scope="module")
def alone(make_lab):
    lab = make_lab(1, "alone")
    lab.everywhere(SCHEMA)
    target = direct_target(lab)
    with target.wire() as wire:
        for i in range(1, 10):
            wire.ask(ROWS.format(i))
    return target


@pytest.fixture(scope="module")
def proxy(lab):
    lab.everywhere(SCHEMA)
    lab.add_tables("  - {name: thing, key: id, function: modulo}\n  - {name: land, kind: reference}\n"
                   "  - {name: docs, key: tag}")
    lab.run("apply", "--yes", check=True)
    with start_proxy(lab, {"threads": 1, "pool_size": 2}) as started:
        with started.wire() as wire:
            for i in range(1, 10):
                wire.ask(ROWS.format(i))
        yield started


def plain(kind, body):
    """A message without what no two servers share: of which table a
    column is, and where in its source an error is."""
    if kind == "T":
        return kind, [(c[0], *c[3:]) for c in rawwire.columns(body)]
    if kind == "E":
        return kind, {name: value for name, value in rawwire.error_fields(body).items() if name not in "FLR"}
    return kind, body


def streams(target, steps):
    with target.wire() as wire:
        return [[plain(*message) for message in wire.exchange(step)] for step in steps]


def same(alone, proxy, steps):
    expected, got = streams(alone, steps), streams(proxy, steps)
    for step, left, right in zip(steps, expected, got):
        assert left == right, step


ONE = "PREPARE one (bigint) AS SELECT id, name FROM thing WHERE id = $1"


def test_execute_goes_where_its_values_say(alone, proxy):
    steps = [ran(ONE) + sync()]
    for key in range(1, 10):
        steps += [ran(f"EXECUTE one ({key})", results=[key % 2]) + sync(), query(f"EXECUTE one ({key})"),
                  parse(f"EXECUTE one ({key})", f"e{key}") + describe("S", f"e{key}") + sync()]
    steps += [bind((), f"e{key}") + describe() + execute(rows=1) + execute() + sync() for key in (1, 2, 3, 1)]
    steps += [bind(["5"], "one") + describe() + execute() + sync(), close("S", "one") + sync(),
              bind((), "e1") + execute() + sync(), ran(ONE.replace("id, name", "name")) + sync(),
              bind((), "e1") + describe() + execute() + sync(), ran("DEALLOCATE one") + sync(),
              ran("EXECUTE one (1)") + sync()]
    same(alone, proxy, steps)


@pytest.mark.parametrize("key", [1, 2, 3])
def test_in_one_pipeline(alone, proxy, key):
    """The types of an EXECUTE's parameters, and its statement, come just before it."""
    untyped = "PREPARE two AS SELECT name FROM thing WHERE id = $1"
    same(alone, proxy, [
        ran(untyped) + ran(f"EXECUTE two ({key})") + ran("DEALLOCATE two") + ran(f"EXECUTE two ({key})") + sync(),
        ran(untyped) + ran(f"EXECUTE two ({key})") + ran(f"EXECUTE two ({key})") + ran("SELECT 1/0") +
        ran("DEALLOCATE two") + sync(), ran(f"EXECUTE two ({key})") + sync(),
        ran("SELECT 1/0") + ran("DEALLOCATE ALL") + sync(), ran(f"EXECUTE two ({key})") + sync(),
        ran("DEALLOCATE ALL") + ran("DEALLOCATE ALL") + sync(), ran(f"EXECUTE two ({key})") + sync()])


@pytest.mark.parametrize("key", [1, 2, 3])
def test_in_a_transaction(alone, proxy, key):
    same(alone, proxy, [
        ran("BEGIN") + sync(), ran(ONE) + sync(), ran(f"EXECUTE one ({key})") + sync(),
        ran("PREPARE put (bigint, text) AS UPDATE thing SET name = $2 WHERE id = $1 RETURNING name") + sync(),
        ran("SAVEPOINT s") + sync(), ran(f"EXECUTE put ({key}, 'changed')") + sync(), ran("DEALLOCATE nothing") + sync(),
        ran(f"EXECUTE one ({key})") + sync(), ran("ROLLBACK TO s") + sync(), ran(f"EXECUTE one ({key})") + sync(),
        ran("DEALLOCATE one") + sync(), ran("PREPARE one AS SELECT nothing") + sync(), ran("SELECT 1") + sync(),
        ran("ROLLBACK") + sync(), ran(f"EXECUTE one ({key})") + sync(), ran("EXECUTE put (4, 'thing 4')") + sync(),
        ran("BEGIN") + ran(f"EXECUTE put ({key}, 'other')") + ran("SELECT 1/0") + sync(), ran("SELECT 1") + sync(),
        ran("COMMIT") + sync(), query(f"SELECT name FROM thing WHERE id = {key}")])


def test_an_error_of_deallocate_fails_the_servers_transaction(alone, proxy):
    """It is said here, and the transaction is a shard's."""
    same(alone, proxy, [query("BEGIN"), query("SELECT name FROM thing WHERE id = 2"), query("DEALLOCATE nothing"),
                        query("UPDATE thing SET name = 'wrong' WHERE id = 2"), query("COMMIT"),
                        query("SELECT name FROM thing WHERE id = 2")])


def test_prepare_alone_opens_no_transaction_on_a_shard(alone, proxy):
    for way in (lambda sql: query(sql), lambda sql: ran(sql) + sync()):
        for key in (1, 2, 3):
            same(alone, proxy, [query("BEGIN"), way(ONE), way(f"EXECUTE one ({key})"), query("COMMIT")])


def code(messages):
    return next((rawwire.error_fields(body)["C"] for kind, body in messages if kind == "E"), None)


TAGS = ["7", "-7", "0", "007", "7.0", "7  ", "a\\b"]
ARGUMENTS = [
    # What PostgreSQL makes of it is what is written; or another text; or a number.
    ("text", True, ["7", "-7", "0", "'7'", "'007'", "'7.0'", "'7  '", "E'a\\\\b'", "$$007$$", "text '7'", "'007'::text",
                    "'7  '::varchar", "NULL", "'a\\b'", "(-7)"]),
    ("text", False, ["007", "-0", "7.0", "'7  '::bpchar", "'007'::int", "'7.0'::numeric", "0700"]),
    ("bigint", True, ["7", "007", "-7", "'7'", "'7'::int", "7::bigint", "'007'::smallint", "NULL"]),
    ("bigint", False, ["7.0", "7e0", "'7.4'::numeric", "'7'::float8"]),
    ("numeric", True, ["7", "7.0", "'7.0'", "'7'::int"]),
    ("int", False, ["6.6"]),
]


def insert_tags(target):
    with target.wire() as wire:
        for tag in TAGS:
            wire.ask(f"INSERT INTO docs VALUES ('{tag}') ON CONFLICT DO NOTHING")


@pytest.mark.parametrize("type, exact, arguments", ARGUMENTS)
def test_an_argument_is_what_postgresql_casts_it_to(alone, proxy, type, exact, arguments):
    """EXECUTE gives it to the parameter by an assignment's cast: 007 is the text 7."""
    insert_tags(alone)
    insert_tags(proxy)
    table, column, key = ("docs", "tag", "tag") if type == "text" else ("thing", "name", "id")
    select = f"PREPARE p ({type}) AS SELECT {column} FROM {table} WHERE {key} = $1"
    delete = f"PREPARE p ({type}) AS DELETE FROM {table} WHERE {key} = $1"
    for argument in arguments:
        for way in (query, lambda sql: ran(sql) + sync()):
            execution = f"EXECUTE p({argument})"
            same(alone, proxy, [way(select), way(execution)])
            if exact:
                same(alone, proxy, [query("BEGIN"), way(delete), way(execution), query("ROLLBACK")])
                continue
            with proxy.wire() as wire:  # what no shard is known for the coordinator reads; it does not write
                assert code(wire.exchange(way(delete))) is None
                assert code(wire.exchange(way(execution))) == "0A000", argument


def test_an_argument_that_names_no_shard_may_be_anything(alone, proxy):
    for argument in ("7", "'7'::bpchar", "007", "7.5", "'1.5'::numeric"):
        same(alone, proxy, [query("PREPARE p (bigint, text) AS SELECT name || $2 FROM thing WHERE id = $1"),
                            query(f"EXECUTE p(3, {argument})")])


def test_what_is_not_proved_is_refused(proxy):
    with proxy.wire() as wire:
        for sql, expected in (("PREPARE every AS DELETE FROM thing", None), ("EXECUTE every", "0A000"), (ONE, None),
                              ("EXECUTE one (1 + (SELECT 1))", "0A000"), ("EXECUTE one (2)", None),
                              ("EXECUTE one (U&'2')", "0A000"), ("EXECUTE one (N'2')", "0A000")):
            assert code(wire.exchange(ran(sql) + sync())) == expected, sql
        # By the protocol anything can be prepared.
        wire.exchange(parse("BEGIN", "begins") + parse("SET search_path = other", "sets") + sync())
        for way in (query, lambda sql: ran(sql) + sync()):
            assert code(wire.exchange(way("EXECUTE begins"))) == "0A000"


@pytest.mark.parametrize("way", [query, lambda sql: ran(sql) + sync()], ids=["simple", "extended"])
def test_what_execute_sets_is_this_sessions_own(proxy, way):
    """Of two clients that share one connection."""
    with proxy.wire() as one, proxy.wire() as other:
        for wire in (one, other):
            wire.exchange(query("SELECT 1"))
        prepared = "PREPARE setting AS SELECT set_config('work_mem', '7MB', false)"
        assert code(one.exchange(way(prepared))) is None
        for _ in range(3):
            assert code(one.exchange(way("EXECUTE setting"))) is None
            assert one.ask("SHOW work_mem") == [["7MB"]]
            assert other.ask("SHOW work_mem") != [["7MB"]]
        one.exchange(parse("SET work_mem = '9MB'", "by_protocol") + sync())
        assert code(one.exchange(way("EXECUTE by_protocol"))) is None
        assert one.ask("SHOW work_mem") == [["9MB"]] and other.ask("SHOW work_mem") != [["9MB"]]


def test_locks_of_execute_stay_with_their_session(proxy):
    with proxy.wire() as one, proxy.wire() as other:
        assert code(one.exchange(query("PREPARE lock AS SELECT pg_try_advisory_lock(4711)"))) is None
        assert one.ask("EXECUTE lock") == [["t"]]
        assert other.ask("SELECT pg_try_advisory_lock(4711)") == [["f"]]


def test_explain_mosaic_by_the_extended_protocol(proxy):
    if STANDIN:
        pytest.skip("a stand-in knows no EXPLAIN (MOSAIC)")
    sql = "EXPLAIN (MOSAIC) SELECT * FROM thing WHERE id = $1"
    with proxy.wire() as wire:
        lines = wire.ask("EXPLAIN (MOSAIC) SELECT * FROM thing WHERE id = 4")
        for key, shard in ((4, "s1"), (5, "s2"), (6, "s0")):
            got = wire.exchange(parse(sql) + describe("S") + bind([str(key)]) + describe() + execute() + sync())
            assert [kind for kind, _ in got] == ["1", "t", "T", "2", "T"] + ["D"] * len(lines) + ["C", "Z"]
            assert rawwire.row_values(got[5][1])[0].startswith(f"tier 1: one shard, {shard}")
        # Rows some at a time; formats; in a transaction, which it does not open on a shard.
        assert wire.exchange(query("BEGIN"))[-1][1] == b"T"
        got = wire.exchange(parse(sql, "x") + bind([b"\0" * 7 + b"\4"], "x", "p", formats=[1], results=[1]) +
                            describe("P", "p") + execute("p", 1) + execute("p", len(lines) - 1) + execute("p") +
                            execute("p") + close("P", "p") + sync())
        rows = [rawwire.row_values(body) for kind, body in got if kind == "D"]
        assert "".join(kind for kind, _ in got) == "12T" + "Ds" + "D" * (len(lines) - 1) + "s" + "C" + "C" + "3Z"
        assert rows[0][0].startswith("tier 1: one shard, s1") and rawwire.columns(got[2][1])[0][-1] == 1
        assert got[-1] == ("Z", b"T")
        assert wire.ask("SELECT name FROM thing WHERE id = 5") == [["thing 5"]]
        wire.exchange(query("COMMIT"))
        for wrong, expected in (("EXPLAIN (MOSAIC) SELECT nothing FROM thing", "42703"), ("EXPLAIN (MOSAIC) SELEC", "42601")):
            assert code(wire.exchange(ran(wrong) + sync())) == expected
        assert code(wire.exchange(parse(sql) + bind(["1"], results=[1, 1]) + sync())) == "08P01"


def test_psycopg3(proxy):
    """Which sends each of these by the extended protocol when it has to."""
    with psycopg.connect(proxy.dsn, autocommit=True) as connection:
        cursor = connection.cursor(binary=True)
        cursor.execute(ONE, prepare=True)
        for key in range(1, 10):
            assert cursor.execute(f"EXECUTE one ({key})", prepare=True).fetchall() == [(key, f"thing {key}")]
        if not STANDIN:
            lines = cursor.execute("EXPLAIN (MOSAIC) SELECT * FROM thing WHERE id = %s", (5,)).fetchall()
            assert lines[0][0].startswith("tier 1: one shard, s2")
        with connection.pipeline():
            got = [connection.execute(f"EXECUTE one ({key})") for key in (3, 3, 3)]
        assert [each.fetchall() for each in got] == [[(3, "thing 3")]] * 3
        cursor.execute("DEALLOCATE one")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            cursor.execute("EXECUTE one (1)")


@pytest.mark.parametrize("sql", ["PREPARE many AS SELECT count(*) FROM thing; EXECUTE many", "SELECT 1; EXECUTE other",
                                 "PREPARE gone AS DELETE FROM thing WHERE name = 'thing 4'; EXECUTE gone",
                                 "DEALLOCATE ALL; SELECT 1", "EXECUTE row(1); EXECUTE row(2)"])
def test_with_other_statements_in_one_text_they_are_refused(proxy, sql):
    """A server would be told of names that are the proxy's."""
    with proxy.wire() as wire, proxy.wire() as other:
        assert code(other.exchange(query("PREPARE other AS SELECT 2"))) is None
        wire.exchange(query("PREPARE row (int) AS SELECT name FROM thing WHERE id = $1"))
        assert code(wire.exchange(query(sql))) == "0A000"
        assert len(wire.ask("SELECT id FROM thing")) == 9 and wire.ask("EXECUTE row(3)") == [["thing 3"]]
        assert other.ask("EXECUTE other") == [["2"]]
